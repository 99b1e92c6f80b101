//! moto's CloudWatch Logs: a stand-in of the service that others wrote. It enforces few of the limits.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use rustix::fs::{FlockOperation, flock};

use crate::http;
use crate::jars::{self, succeed};
use crate::process::Process;
use crate::wait::await_true;

/// What is installed, from the Python Package Index.
const PACKAGES: [&str; 3] = ["moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];
/// How long it may take to answer after its start.
const START: Duration = Duration::from_secs(60);

/// A server. Killed when dropped.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    process: Process,
}

/// The server's program, installed once, in an environment of its own in the cache.
fn program() -> Result<PathBuf> {
    let servers = jars::cache()?.join("servers");
    fs::create_dir_all(&servers)?;
    let home = servers.join(PACKAGES[0].replace("==", "-"));
    let lock = File::create(servers.join("moto.lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if !home.join("done").exists() {
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        println!("fetching moto from the Python Package Index");
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        succeed(
            Command::new(home.join("bin/pip")).args(["install", "-q", "--disable-pip-version-check"]).args(PACKAGES),
        )?;
        File::create(home.join("done"))?;
    }
    Ok(home.join("bin/moto_server"))
}

impl Moto {
    /// Why there can be none here; `None` if there can.
    pub fn missing() -> Option<String> {
        // Debian keeps the part of venv that installs pip in a package of its own.
        let asked = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
        (!asked.is_ok_and(|status| status.success())).then(|| "Python with venv is not installed".to_owned())
    }

    /// A running server without log groups.
    pub fn start(log: &Path) -> Result<Self> {
        let program = program()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let mut new = Self { address, process: Process::new("moto", log) };
        new.process.start(&mut command)?;
        await_true("moto answers", START, || {
            new.check_alive()?;
            Ok(http::get(address, "/moto-api/").is_ok_and(|(status, _)| status == 200))
        })?;
        Ok(new)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Fails if it has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        self.process.check_alive()
    }
}
