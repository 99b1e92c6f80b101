//! A real Apache Kafka on the loopback, with data in a folder of the test: a broker that is its own controller, and peers if wanted.

mod reader;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command};

use anyhow::{Context, Result, ensure};

use crate::certificates::{Authority, Certificate};
use crate::process::Process;
use crate::{jars, skip};
pub use reader::{Message, read};

/// The oldest Java that the broker runs on.
const JAVA: u32 = 17;
/// The user of the PLAIN login, and its password.
pub const PLAIN: (&str, &str) = ("plain-user", "plain-secret");

/// A listener, by what it asks of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Nothing. Whoever comes here may do everything.
    Plain,
    /// TLS and a login.
    Login,
    /// TLS and a certificate.
    Mutual,
    /// TLS; the broker's certificate is for another host.
    Elsewhere,
    /// TLS; the broker's certificate is valid no more.
    Expired,
    /// Nothing, like `Plain`; clients are told to come back through a proxy.
    Proxied,
}

const LISTENERS: [(Listener, &str, &str); 6] = [
    (Listener::Plain, "PLAIN", "PLAINTEXT"),
    (Listener::Login, "LOGIN", "SASL_SSL"),
    (Listener::Mutual, "MUTUAL", "SSL"),
    (Listener::Elsewhere, "ELSEWHERE", "SSL"),
    (Listener::Expired, "EXPIRED", "SSL"),
    (Listener::Proxied, "PROXIED", "PLAINTEXT"),
];

/// A broker. Killed when dropped; it also ends when the test does.
#[derive(Debug)]
pub struct Broker {
    home: PathBuf,
    java: PathBuf,
    folder: PathBuf,
    /// Its number in its cluster, the cluster's id, and where the controller is.
    node: u32,
    cluster: String,
    controller: u16,
    host: Ipv4Addr,
    ports: Vec<u16>,
    /// Where the clients of `Listener::Proxied` are sent.
    proxy: Option<SocketAddr>,
    authority: Authority,
    /// For the listeners, for the one that shows another's name, for the one whose time is over, and for a client.
    certificates: [Certificate; 4],
    process: Process,
    /// What it is commanded by while it runs, and where it answers.
    talk: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

/// Ports that are free now, all different.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

impl Broker {
    /// Why there can be no broker here; `None` if there can.
    pub fn missing() -> Option<String> {
        for program in ["mvn", "openssl"] {
            if !skip::has(program) {
                return Some(format!("{program} is not installed"));
            }
        }
        jars::java(JAVA).err().map(|error| error.to_string())
    }

    /// A running broker without topics.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut broker = Self::absent(folder)?;
        broker.resume()?;
        Ok(broker)
    }

    /// Fetches what a broker is made of, so that one can be started later where there is no network.
    pub fn fetch() -> Result<PathBuf> {
        let java = jars::java(JAVA)?;
        let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/kafka");
        jars::jars(&servers, &servers.join("Broker.java"), &java.join("bin/javac"))
    }

    /// A broker that does not run yet.
    pub fn absent(folder: &Path) -> Result<Self> {
        Self::absent_at(folder, Ipv4Addr::LOCALHOST)
    }

    /// A broker that does not run yet, for clients that reach this machine at another address.
    pub fn absent_at(folder: &Path, host: Ipv4Addr) -> Result<Self> {
        let java = jars::java(JAVA)?;
        let home = Self::fetch()?;
        let authority = Authority::new(&folder.join("tls"))?;
        let certificates = [
            authority.sign("broker", &format!("DNS:localhost,IP:127.0.0.1,IP:{host}"))?,
            authority.sign("elsewhere", "DNS:elsewhere.example")?,
            authority.sign_expired("expired", "DNS:localhost,IP:127.0.0.1")?,
            authority.sign("client", "DNS:client")?,
        ];
        let ports = free_ports(LISTENERS.len() + 1)?;
        let controller = ports[LISTENERS.len()];
        Ok(Self {
            home,
            java,
            folder: folder.to_owned(),
            node: 1,
            // Sixteen bytes in base64, as a cluster is named.
            cluster: format!("waybill{:08}{controller:06}A", std::process::id()),
            controller,
            host,
            ports,
            proxy: None,
            authority,
            certificates,
            process: Process::new("the broker", &folder.join("broker.log")),
            talk: None,
        })
    }

    /// Another broker of this one's cluster, which does not run yet. Its controller is this one.
    pub fn peer(&self, node: u32, folder: &Path) -> Result<Self> {
        ensure!(node > 1, "node {node} is the controller");
        Ok(Self {
            home: self.home.clone(),
            java: self.java.clone(),
            folder: folder.to_owned(),
            node,
            cluster: self.cluster.clone(),
            controller: self.controller,
            host: self.host,
            ports: free_ports(LISTENERS.len())?,
            proxy: None,
            authority: self.authority.clone(),
            certificates: self.certificates.clone(),
            process: Process::new("the broker", &folder.join("broker.log")),
            talk: None,
        })
    }

    /// Where it listens.
    pub fn address(&self, listener: Listener) -> String {
        format!("{}:{}", self.host, self.port(listener))
    }

    /// The port of a listener.
    pub fn port(&self, listener: Listener) -> u16 {
        let at = LISTENERS.iter().position(|(other, _, _)| *other == listener).unwrap_or_default();
        self.ports[at]
    }

    /// The same as a socket's address.
    pub fn socket(&self, listener: Listener) -> SocketAddr {
        SocketAddr::from((self.host, self.port(listener)))
    }

    /// Where clients of a listener are told to come.
    pub fn advertised(&self, listener: Listener) -> String {
        match self.proxy {
            Some(proxy) if listener == Listener::Proxied => proxy.to_string(),
            _ => self.address(listener),
        }
    }

    /// Sends the clients of `Listener::Proxied` to a proxy, from the next start on.
    pub fn behind(&mut self, proxy: SocketAddr) {
        self.proxy = Some(proxy);
    }

    /// What signed its certificates, and the one of a client named `client`.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A client's certificate that it knows.
    pub fn client(&self) -> &Certificate {
        &self.certificates[3]
    }

    /// Starts it with the data that it had, and waits until it takes requests.
    pub fn resume(&mut self) -> Result<()> {
        fs::write(self.folder.join("server.properties"), self.properties()?)?;
        let mut command = Command::new(self.java.join("bin/java"));
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx384m", "-cp"]);
        command.arg(format!("{0}/classes:{0}/lib/*", self.home.display())).arg("Broker");
        command.arg(self.folder.join("server.properties")).arg(self.data());
        command.arg(self.port(Listener::Plain).to_string()).arg(&self.cluster);
        command.args((self.node == 1).then_some("--standalone"));
        let (commands, answers) = self.process.converse(&mut command)?;
        self.talk = Some((commands, BufReader::new(answers)));
        self.command("ready")
    }

    /// Has it do something and waits until it is done; `Broker.java` has the commands.
    pub fn command(&mut self, command: &str) -> Result<()> {
        let (commands, answers) = self.talk.as_mut().context("the broker is not running")?;
        commands.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        let log = self.folder.join("broker.log");
        ensure!(answer == "ok\n", "{command}: the broker answered {answer:?}; its log is {}", log.display());
        Ok(())
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.talk = None;
        self.process.kill()
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn properties(&self) -> Result<String> {
        let controller = format!("CONTROLLER://127.0.0.1:{}", self.controller);
        let (roles, controller) = match self.node {
            1 => ("broker,controller", format!(",{controller}")),
            _ => ("broker", String::new()),
        };
        // Commands come by the loopback in any case.
        let bound = if self.host.is_loopback() { self.host } else { Ipv4Addr::UNSPECIFIED };
        let join =
            |each: &dyn Fn(&(Listener, &str, &str)) -> String| LISTENERS.iter().map(each).collect::<Vec<_>>().join(",");
        let listeners = join(&|(listener, name, _)| format!("{name}://{bound}:{}", self.port(*listener)));
        let advertised = join(&|(listener, name, _)| format!("{name}://{}", self.advertised(*listener)));
        let protocols = join(&|(_, name, protocol)| format!("{name}:{protocol}"));
        let mut text = format!(
            "process.roles={roles}\n\
            node.id={}\n\
            listeners={listeners}{controller}\n\
            advertised.listeners={advertised}\n\
            listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT\n\
            controller.listener.names=CONTROLLER\n\
            controller.quorum.bootstrap.servers=127.0.0.1:{}\n\
            inter.broker.listener.name=PLAIN\n\
            log.dirs={}\n\
            auto.create.topics.enable=false\n\
            offsets.topic.replication.factor=1\n\
            offsets.topic.num.partitions=1\n\
            transaction.state.log.replication.factor=1\n\
            transaction.state.log.min.isr=1\n\
            transaction.state.log.num.partitions=1\n\
            share.coordinator.state.topic.replication.factor=1\n\
            share.coordinator.state.topic.min.isr=1\n\
            num.network.threads=2\n\
            num.io.threads=2\n\
            log.cleaner.dedupe.buffer.size=2097152\n\
            authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
            super.users=User:ANONYMOUS;User:CN=client\n\
            sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
            ssl.truststore.type=PEM\n\
            ssl.truststore.location={}\n\
            ssl.keystore.type=PEM\n\
            ssl.keystore.location={}\n\
            listener.name.mutual.ssl.client.auth=required\n\
            listener.name.elsewhere.ssl.keystore.type=PEM\n\
            listener.name.elsewhere.ssl.keystore.location={}\n\
            listener.name.expired.ssl.keystore.type=PEM\n\
            listener.name.expired.ssl.keystore.location={}\n",
            self.node,
            self.controller,
            self.data().display(),
            self.authority.certificate().display(),
            self.certificates[0].bundle.display(),
            self.certificates[1].bundle.display(),
            self.certificates[2].bundle.display(),
        );
        // A broker that was killed may register again only after its old session ended.
        text.push_str("broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=500\n");
        let security = "org.apache.kafka.common.security";
        writeln!(
            text,
            "listener.name.login.plain.sasl.jaas.config={security}.plain.PlainLoginModule required user_{}=\"{}\";",
            PLAIN.0, PLAIN.1
        )?;
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            writeln!(
                text,
                "listener.name.login.{mechanism}.sasl.jaas.config={security}.scram.ScramLoginModule required;"
            )?;
        }
        Ok(text)
    }
}
