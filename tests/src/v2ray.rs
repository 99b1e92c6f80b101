//! Genuine V2Ray with an access log, a proxy that leads nowhere, and its own logger API.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::wait::await_true;

/// A running V2Ray, ended when dropped.
#[derive(Debug)]
pub struct V2Ray {
    /// Its access log.
    pub access: PathBuf,
    /// Where its API listens.
    pub api: u16,
    proxy: u16,
    child: Child,
}

/// Whether it is installed.
pub fn is_installed() -> bool {
    Command::new("v2ray")
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl V2Ray {
    /// Starts it with its log and its configuration in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let access = folder.join("access.log");
        let (proxy, api) = (free_port()?, free_port()?);
        // Everything goes to the outbound that blocks, so that no name is looked up and nothing leaves the machine.
        let config = json!({
            "log": {"access": access, "error": folder.join("error.txt"), "loglevel": "warning"},
            "api": {"tag": "api", "services": ["LoggerService"]},
            "inbounds": [
                {"tag": "in-socks", "listen": "127.0.0.1", "port": proxy, "protocol": "socks", "settings": {"auth": "noauth"}},
                {"tag": "in-api", "listen": "127.0.0.1", "port": api, "protocol": "dokodemo-door", "settings": {"address": "127.0.0.1"}},
            ],
            "outbounds": [{"tag": "block", "protocol": "blackhole"}],
            "routing": {"domainStrategy": "AsIs",
                "rules": [{"type": "field", "inboundTag": ["in-api"], "outboundTag": "api"}]},
        });
        let path = folder.join("config.json");
        fs::write(&path, format!("{config:#}\n"))?;
        let said = File::create(folder.join("stdout"))?;
        let child = Command::new("v2ray")
            .args(["-config".as_ref(), path.as_os_str()])
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .context("failed to start v2ray")?;
        let mut this = Self { access, api, proxy, child };
        await_true("V2Ray listens", Duration::from_secs(10), || {
            this.check_alive()?;
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, proxy)).is_ok()
                && TcpStream::connect((Ipv4Addr::LOCALHOST, api)).is_ok())
        })?;
        Ok(this)
    }

    /// Fails if it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "V2Ray has ended");
        Ok(())
    }

    /// Asks it for a host, and waits until it has taken the request: by then it has a line for it.
    pub fn request(&self, host: &str) -> Result<()> {
        let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, self.proxy)).context("failed to reach V2Ray")?;
        peer.set_read_timeout(Some(Duration::from_secs(10)))?;
        peer.write_all(&[5, 1, 0])?;
        peer.read_exact(&mut [0; 2])?;
        let mut command = vec![5, 1, 0, 3, host.len() as u8];
        command.extend_from_slice(host.as_bytes());
        command.extend_from_slice(&80_u16.to_be_bytes());
        peer.write_all(&command)?;
        peer.read_exact(&mut [0; 10])?;
        Ok(())
    }
}

impl Drop for V2Ray {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            println!("failed to end V2Ray: {error}");
        }
    }
}
