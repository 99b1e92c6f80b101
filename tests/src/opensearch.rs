//! A real OpenSearch: one node on the loopback, with data in a folder of the test.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::http::Caller;
use crate::jars;
use crate::process::Process;
use crate::wait::await_true;

/// How long a node may take to answer after its start, on a busy machine.
const START: Duration = Duration::from_mins(5);

/// A node. Killed when dropped; it also ends when the test does.
#[derive(Debug)]
pub struct OpenSearch {
    home: PathBuf,
    java: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    settings: Vec<String>,
    caller: Caller,
    process: Process,
}

/// What a node is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Secure,
}

/// Why there can be no node of this kind here; `None` if there can.
fn missing(kind: Kind) -> Option<String> {
    if !crate::skip::has("mvn") {
        return Some("Maven is not installed".to_owned());
    }
    if kind == Kind::Secure && Command::new("unzip").arg("-v").stdout(Stdio::null()).status().is_err() {
        return Some("unzip is not installed".to_owned());
    }
    jars::java(kind.java()).err().map(|error| error.to_string())
}

impl Kind {
    /// The oldest Java that it runs on.
    fn java(self) -> u32 {
        if self == Self::Secure { 21 } else { 17 }
    }

    fn folder(self) -> PathBuf {
        let name = if self == Self::Secure { "opensearch-secure" } else { "opensearch" };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(name)
    }
}

/// A port that is free now.
pub fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl OpenSearch {
    /// Why there can be no node here; `None` if there can.
    pub fn missing() -> Option<String> {
        missing(Kind::Plain)
    }

    /// Fetches what a node is made of, so that one can be started later where there is no network.
    pub fn fetch() -> Result<PathBuf> {
        let java = jars::java(Kind::Plain.java())?;
        jars::jars(&Kind::Plain.folder(), &Kind::Plain.folder().join("Node.java"), &java.join("bin/javac"))
    }

    /// A running node with an empty data folder, and these settings, such as `http.max_content_length=2mb`.
    pub fn start(folder: &Path, settings: &[&str]) -> Result<Self> {
        let mut node = Self::prepare(Kind::Plain, folder, settings)?;
        node.resume()?;
        Ok(node)
    }

    /// Why there can be no node with TLS and logins here; `None` if there can.
    pub fn missing_secure() -> Option<String> {
        missing(Kind::Secure)
    }

    /// A running node with TLS and logins, that has its certificates from `authority`. Its administrator is a client certificate, and
    /// requests of this type are made with it.
    pub fn start_secure(folder: &Path, authority: &Authority) -> Result<Self> {
        let names = "DNS:localhost,IP:127.0.0.1";
        let (own, client) = (authority.sign("node", names)?, authority.sign("administrator", names)?);
        let mut settings = vec![
            "plugins.security.ssl.transport.enforce_hostname_verification=false",
            "plugins.security.ssl.http.enabled=true",
            "plugins.security.authcz.admin_dn=CN=administrator",
            "plugins.security.nodes_dn=CN=node",
            "plugins.security.allow_default_init_securityindex=true",
            "plugins.security.ssl.http.clientauth_mode=OPTIONAL",
        ];
        let pem = ["pemcert_filepath=own.crt", "pemkey_filepath=own.key", "pemtrustedcas_filepath=ca.crt"];
        let layers = ["transport", "http"].iter().flat_map(|layer| pem.map(|file| (layer, file)));
        let files: Vec<String> = layers.map(|(layer, file)| format!("plugins.security.ssl.{layer}.{file}")).collect();
        settings.extend(files.iter().map(String::as_str));
        let mut node = Self::prepare(Kind::Secure, folder, &settings)?;
        node.caller = Caller::secure(node.address, &authority.certificate(), &client)?;
        let config = folder.join("config");
        fs::create_dir_all(config.join("opensearch-security"))?;
        for (from, to) in [(&own.certificate, "own.crt"), (&own.key, "own.key"), (&authority.certificate(), "ca.crt")] {
            fs::copy(from, config.join(to))?;
        }
        for file in fs::read_dir(node.home.join("unpacked/config"))? {
            let path = file?.path();
            let name = path.file_name().context("a file has a name")?;
            fs::copy(&path, config.join("opensearch-security").join(name))?;
        }
        node.resume()?;
        // It answers before it has made the index of its users and roles.
        await_true("OpenSearch has its users", START, || {
            node.process.check_alive()?;
            let users = node.caller.get("/_plugins/_security/api/internalusers");
            Ok(users.is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(node)
    }

    /// A node that does not run yet.
    pub fn absent(folder: &Path) -> Result<Self> {
        Self::prepare(Kind::Plain, folder, &[])
    }

    fn prepare(kind: Kind, folder: &Path, settings: &[&str]) -> Result<Self> {
        let java = jars::java(kind.java())?;
        let program = Kind::Plain.folder().join("Node.java");
        let home = jars::jars(&kind.folder(), &program, &java.join("bin/javac"))?;
        let address = free_port()?;
        Ok(Self {
            home,
            java,
            folder: folder.to_owned(),
            address,
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            caller: Caller::new(address),
            process: Process::new("OpenSearch", &folder.join("node.log")),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = if self.settings.iter().any(|s| s.contains("ssl.http.enabled=true")) { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// Starts the node, with the data that it had, and waits until it takes requests.
    pub fn resume(&mut self) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut command = Command::new(self.java.join("bin/java"));
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms128m", "-Xmx512m", "-cp"]);
        command.arg(format!("{0}/classes:{0}/lib/*", self.home.display()));
        command.arg("Node").arg(&self.folder).arg(self.address.port().to_string()).args(&self.settings);
        self.process.start(&mut command)?;
        await_true("OpenSearch answers", START, || {
            self.process.check_alive()?;
            let health = self.caller.get("/_cluster/health?wait_for_status=yellow&timeout=1s");
            Ok(health.is_ok_and(|(status, _)| status == 200))
        })
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill(&mut self) -> Result<()> {
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

    /// Makes a request and wants an answer below 300.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.caller.call(method, path, "application/json", &text)?;
        ensure!(status < 300, "{method} {path} answered {status}: {answer}");
        serde_json::from_str(&answer).with_context(|| format!("{method} {path} did not answer JSON"))
    }

    /// Every document of a data stream or index: its `_id` and its source.
    pub fn documents(&self, name: &str) -> Result<Vec<(String, Value)>> {
        self.call("POST", &format!("/{name}/_refresh"), &Value::Null)?;
        let mut found = Vec::new();
        let first = json!({"size": 5000, "sort": ["_doc"], "version": false, "query": {"match_all": {}}});
        let mut page = self.call("POST", &format!("/{name}/_search?scroll=2m"), &first)?;
        loop {
            let hits = page["hits"]["hits"].as_array().context("an answer without hits")?;
            if hits.is_empty() {
                break;
            }
            for hit in hits {
                found.push((hit["_id"].as_str().unwrap_or_default().to_owned(), hit["_source"].clone()));
            }
            let next = json!({"scroll": "2m", "scroll_id": page["_scroll_id"]});
            page = self.call("POST", "/_search/scroll", &next)?;
        }
        self.call("DELETE", "/_search/scroll", &json!({"scroll_id": page["_scroll_id"]}))?;
        Ok(found)
    }

    /// How many documents a data stream or index holds; 0 if there is none of that name.
    pub fn count(&self, name: &str) -> Result<u64> {
        let (status, _) = self.caller.call("POST", &format!("/{name}/_refresh"), "application/json", "")?;
        if status == 404 {
            return Ok(0);
        }
        self.call("GET", &format!("/{name}/_count"), &Value::Null)?["count"].as_u64().context("no count")
    }
}
