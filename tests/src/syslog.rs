//! Genuine syslog receivers, rsyslog and syslog-ng, as children of a test; and a reader of RFC 5424 that forgives nothing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::certificates::Certificate;
use crate::process::Process;
use crate::wait::await_true;

/// How long a receiver may take to listen.
const START: Duration = Duration::from_secs(20);

/// Which program receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// rsyslogd.
    Rsyslog,
    /// syslog-ng.
    SyslogNg,
}

impl Program {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rsyslog, Self::SyslogNg];

    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsyslog => "rsyslogd",
            Self::SyslogNg => "syslog-ng",
        }
    }

    /// Whether it is there.
    pub fn is_there(self) -> bool {
        let version = if self == Self::Rsyslog { "-v" } else { "-V" };
        let asked = Command::new(self.name()).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    }
}

/// What a receiver listens for.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Octet counting without encryption.
    Tcp,
    /// Octet counting over TLS.
    Tls {
        /// The server's certificate.
        server: Certificate,
        /// The authority; clients must show a certificate of it if `mutual`.
        authority: PathBuf,
        /// Ask for the client's certificate.
        mutual: bool,
    },
}

/// A receiver. Killed when dropped.
#[derive(Debug)]
pub struct Receiver {
    program: Program,
    transport: Transport,
    folder: PathBuf,
    port: u16,
    process: Process,
}

impl Receiver {
    /// A receiver with a folder and a port of its own, not started yet.
    pub fn new(program: Program, transport: Transport, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let process = Process::new(program.name(), &folder.join("log"));
        Ok(Self { program, transport, folder: folder.to_owned(), port, process })
    }

    /// Where it listens, as a policy names it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Listens with another certificate, from the next start on.
    pub fn certify(&mut self, new: Certificate) {
        if let Transport::Tls { server, .. } = &mut self.transport {
            *server = new;
        }
    }

    /// Starts it and waits until it listens.
    pub fn start(&mut self) -> Result<()> {
        let config = self.folder.join("receiver.conf");
        let at = |name: &str| self.folder.join(name);
        let mut command = Command::new(self.program.name());
        match self.program {
            Program::Rsyslog => {
                fs::write(&config, self.rsyslog())?;
                command.arg("-n").arg("-f").arg(&config).arg("-i").arg(at("pid"));
                if let Some(modules) = modules(self.program) {
                    command.arg("-M").arg(modules);
                }
            }
            Program::SyslogNg => {
                fs::write(&config, self.syslog_ng())?;
                command.args(["-F", "--no-caps", "-f"]).arg(&config);
                command.arg("--persist-file").arg(at("persist")).arg("--pidfile").arg(at("pid"));
                command.arg("--control").arg(at("control"));
                if let Some(modules) = modules(self.program) {
                    command.arg(format!("--module-path={}", modules.display()));
                }
            }
        }
        self.process.start(&mut command)?;
        await_true("the receiver listens", START, || {
            self.process.check_alive()?;
            Ok(match self.transport {
                // Whoever binds the port says whether it is taken.
                Transport::Udp => UdpSocket::bind((Ipv4Addr::LOCALHOST, self.port)).is_err(),
                _ => TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok(),
            })
        })
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGSTOP: its kernel takes what it has room for.
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze()
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw()
    }

    /// The messages that it wrote, in its order. A message without its end, which a kill leaves, is not one.
    pub fn messages(&self) -> Result<Vec<Vec<u8>>> {
        let path = self.folder.join("messages");
        let content = if path.exists() { fs::read(path)? } else { Vec::new() };
        let mut lines: Vec<Vec<u8>> = content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.pop();
        Ok(lines)
    }

    /// What the receiver itself read as structured data of each message, in its order.
    pub fn structured(&self) -> Result<Vec<String>> {
        let content = fs::read_to_string(self.folder.join("structured"))?;
        Ok(content.lines().map(str::to_owned).collect())
    }

    fn rsyslog(&self) -> String {
        let folder = self.folder.display();
        let (mut global, mut module) = (String::new(), String::new());
        let input = if matches!(self.transport, Transport::Udp) { "imudp" } else { "imtcp" };
        if let Transport::Tls { server, authority, mutual } = &self.transport {
            let (certificate, key) = (server.certificate.display(), server.key.display());
            global = format!(
                "DefaultNetstreamDriver=\"ossl\" DefaultNetstreamDriverCAFile=\"{}\" \
                 DefaultNetstreamDriverCertFile=\"{certificate}\" DefaultNetstreamDriverKeyFile=\"{key}\"",
                authority.display()
            );
            let mode = if *mutual { "x509/certvalid" } else { "anon" };
            module = format!("StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"{mode}\"");
        }
        format!(
            "global(workDirectory=\"{folder}\" maxMessageSize=\"2m\" parser.escapeControlCharactersOnReceive=\"off\" \
             processInternalMessages=\"off\" {global})\n\
             module(load=\"{input}\" {module})\n\
             template(name=\"whole\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             template(name=\"parts\" type=\"string\" string=\"%app-name% %msgid% %structured-data%\\n\")\n\
             input(type=\"{input}\" address=\"127.0.0.1\" port=\"{}\" ruleset=\"keep\")\n\
             ruleset(name=\"keep\") {{\n\
             action(type=\"omfile\" file=\"{folder}/messages\" template=\"whole\")\n\
             action(type=\"omfile\" file=\"{folder}/structured\" template=\"parts\")\n}}\n",
            self.port
        )
    }

    fn syslog_ng(&self) -> String {
        let folder = self.folder.display();
        let (transport, tls) = match &self.transport {
            Transport::Udp => ("udp", String::new()),
            Transport::Tcp => ("tcp", String::new()),
            Transport::Tls { server, authority, mutual } => (
                "tls",
                format!(
                    "tls(key-file(\"{}\") cert-file(\"{}\") ca-file(\"{}\") peer-verify({}))",
                    server.key.display(),
                    server.certificate.display(),
                    authority.display(),
                    if *mutual { "required-trusted" } else { "optional-untrusted" }
                ),
            ),
        };
        format!(
            "@version: 3.38\n\
             options {{ log-msg-size(2097152); keep-hostname(yes); stats-freq(0); flush-lines(1); }};\n\
             source net {{ syslog(ip(127.0.0.1) port({}) transport({transport}) flags(store-raw-message) {tls}); }};\n\
             destination whole {{ file(\"{folder}/messages\" template(\"${{RAWMSG}}\\n\")); }};\n\
             destination parts {{ file(\"{folder}/structured\" template(\"${{PROGRAM}} ${{MSGID}} ${{SDATA}}\\n\")); }};\n\
             log {{ source(net); destination(whole); destination(parts); }};\n",
            self.port,
        )
    }
}

/// The folder of a program's modules, if the program was unpacked beside the machine's own: `ROOT/bin/PROGRAM` and `ROOT/usr/lib/…`.
pub fn modules(program: Program) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join(program.name())).find(|path| path.exists())?;
    let libraries = found.parent()?.parent()?.join("usr/lib");
    let below = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let (places, module) = match program {
        Program::Rsyslog => (below(&libraries).iter().map(|place| place.join("rsyslog")).collect(), "lmnet.so"),
        Program::SyslogNg => (below(&libraries.join("syslog-ng")), "libaffile.so"),
    };
    places.into_iter().find(|place| place.join(module).exists())
}

/// A message of RFC 5424, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Facility times 8 plus severity.
    pub priority: u16,
    /// Time as it stands there.
    pub time: String,
    /// Host, application, process id, message id.
    pub names: [String; 4],
    /// Parameters of the one element of structured data, unescaped.
    pub params: Vec<(String, String)>,
    /// The body, without the mark of UTF-8.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a message; every deviation from the grammar is an error.
    pub fn parse(raw: &[u8]) -> Result<Self> {
        let rest = raw.strip_prefix(b"<").context("no priority")?;
        let at = rest.iter().position(|b| *b == b'>').context("no end of the priority")?;
        let priority: u16 = std::str::from_utf8(&rest[..at])?.parse()?;
        ensure!(priority <= 191, "priority {priority}");
        let mut rest = rest[at + 1..].strip_prefix(b"1 ").context("not version 1")?;
        let mut word = |most: usize| -> Result<String> {
            let at = rest.iter().position(|b| *b == b' ').context("the header ends early")?;
            let word = &rest[..at];
            ensure!((1..=most).contains(&at) && word.iter().all(u8::is_ascii_graphic), "{word:?} is no header field");
            rest = &rest[at + 1..];
            Ok(String::from_utf8(word.to_vec())?)
        };
        let time = word(32)?;
        if time != "-" {
            let _valid: jiff::Timestamp = time.parse().with_context(|| format!("the time {time:?}"))?;
            let fraction = time.split_once('.').map_or("", |(_, f)| f);
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            ensure!(digits <= 6, "{digits} digits of a second");
        }
        let names = [word(255)?, word(48)?, word(128)?, word(32)?];
        let (params, rest) = structured(rest)?;
        let body = match rest {
            [] => rest,
            [b' ', body @ ..] => body,
            _ => bail!("no blank before the body"),
        };
        let body = match body.strip_prefix(b"\xEF\xBB\xBF") {
            Some(text) => {
                ensure!(std::str::from_utf8(text).is_ok(), "marked as UTF-8, and is not");
                text
            }
            None => body,
        };
        Ok(Self { priority, time, names, params, body: body.to_vec() })
    }

    /// A parameter.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(had, _)| had == name).map(|(_, value)| value.as_str())
    }
}

type Params = Vec<(String, String)>;

fn structured(raw: &[u8]) -> Result<(Params, &[u8])> {
    if let Some(rest) = raw.strip_prefix(b"-") {
        return Ok((Vec::new(), rest));
    }
    let mut rest = raw.strip_prefix(b"[waybill@32473").context("no structured data of ours")?;
    let mut params = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix(b"]") {
            return Ok((params, rest));
        }
        rest = rest.strip_prefix(b" ").context("no blank before a parameter")?;
        let at = rest.iter().position(|b| *b == b'=').context("no value")?;
        let name = std::str::from_utf8(&rest[..at])?.to_owned();
        rest = rest[at + 1..].strip_prefix(b"\"").context("no quote")?;
        let mut value = Vec::new();
        loop {
            let (byte, tail) = rest.split_first().context("the value does not end")?;
            rest = tail;
            match byte {
                b'"' => break,
                b']' => bail!("a bracket that is not escaped"),
                b'\\' => {
                    let (escaped, tail) = rest.split_first().context("the value does not end")?;
                    ensure!(matches!(escaped, b'"' | b'\\' | b']'), "an escape that is none");
                    value.push(*escaped);
                    rest = tail;
                }
                byte => value.push(*byte),
            }
        }
        let value = String::from_utf8(value).context("a value that is not UTF-8")?;
        ensure!(!value.contains(char::is_control), "a control character in {value:?}");
        params.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_right_and_refuses_the_rest() {
        let good = b"<86>1 2026-01-02T03:04:05.123456Z h a - deny [waybill@32473 user=\"a\\\"\\]\"] \xEF\xBB\xBFx";
        let message = Message::parse(good).unwrap();
        assert_eq!((message.priority, message.param("user"), message.body.clone()), (86, Some("a\"]"), b"x".to_vec()));
        for bad in [
            &b"<192>1 - h a - - -"[..],
            b"<86>2 - h a - - -",
            b"<86>1 yesterday h a - - -",
            b"<86>1 - h  - - -",
            b"<86>1 - h a - - [waybill@32473 user=\"a]\"] x",
            b"<86>1 - h a - - [waybill@32473 user=\"a\n\"] x",
            b"<86>1 - h a - - [waybill@32473 user=\"a\\n\"] x",
            b"<86>1 - h a - - -x",
        ] {
            assert!(Message::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
