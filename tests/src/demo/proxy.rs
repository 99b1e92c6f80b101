//! V2Ray itself, or, where it is not installed, lines in its form.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Zoned;
use serde_json::json;

use super::client::{Request, ask};
use crate::wait::await_true;

/// A proxy with an access log.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Its access log.
    pub(super) access: PathBuf,
    /// What it is.
    pub(super) version: String,
    site: u16,
    genuine: Option<(Child, u16)>,
    requests: usize,
}

/// What a request comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Through to the web server.
    Site,
    /// To a host that the routing blocks.
    Blocked,
    /// A wrong password.
    Refused,
}

impl Proxy {
    /// Starts V2Ray with its own configuration in `folder`.
    pub(super) fn start(folder: &Path, site: u16) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let access = folder.join("access.log");
        let version = Command::new("v2ray").arg("-version").output().ok().filter(|done| done.status.success());
        let Some(version) = version else {
            println!("   SKIPPED: V2Ray is not installed: its lines are made up here instead of being written by it");
            return Ok(Self { access, version: "a stand-in for V2Ray".to_owned(), site, genuine: None, requests: 0 });
        };
        let version = String::from_utf8_lossy(&version.stdout).split(' ').take(2).collect::<Vec<_>>().join(" ");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = json!({
            "log": {"access": access, "error": folder.join("error.log"), "loglevel": "warning"},
            "policy": {"levels": {"0": {"uplinkOnly": 0, "downlinkOnly": 0}}},
            "dns": {"hosts": {"domain:ok.test": "127.0.0.1"}},
            "inbounds": [{"tag": "in-socks", "listen": "127.0.0.1", "port": port, "protocol": "socks",
                "settings": {"auth": "password", "accounts": [{"user": "sam", "pass": "secret"}]}}],
            "outbounds": [{"tag": "direct", "protocol": "freedom", "settings": {"domainStrategy": "UseIPv4"}},
                {"tag": "block", "protocol": "blackhole"}],
            "routing": {"domainStrategy": "AsIs",
                "rules": [{"type": "field", "domain": ["domain:blocked.test"], "outboundTag": "block"}]},
        });
        let path = folder.join("config.json");
        fs::write(&path, format!("{config:#}\n"))?;
        let log = fs::File::create(folder.join("stdout"))?;
        let mut child = Command::new("v2ray")
            .args(["-config".as_ref(), path.as_os_str()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("failed to start v2ray")?;
        let listens = await_true("V2Ray listens", Duration::from_secs(10), || {
            Ok(child.try_wait()?.is_none() && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        });
        let mut proxy = Self { access, version, site, genuine: Some((child, port)), requests: 0 };
        listens?;
        // The attempt above is in the log as well, if V2Ray writes a line of it.
        proxy.requests = 0;
        Ok(proxy)
    }

    /// Makes a request from an address.
    pub(super) fn request(&mut self, from: Ipv4Addr, want: Want) -> Result<()> {
        self.requests += 1;
        let name = format!("{}{}.test", self.requests, if want == Want::Blocked { ".blocked" } else { ".ok" });
        if let Some((_, port)) = self.genuine {
            let password = if want == Want::Refused { "guess" } else { "secret" };
            return ask(port, Request { from, password, host: &name, port: self.site });
        }
        let now = Zoned::now().strftime("%Y/%m/%d %H:%M:%S");
        let port = 40_000 + self.requests;
        let rest = match want {
            Want::Site => format!("accepted tcp:{name}:{} [direct]", self.site),
            Want::Blocked => format!("accepted tcp:{name}:{} [block]", self.site),
            Want::Refused => "rejected  v2ray.com/core/proxy/socks: invalid username or password".to_owned(),
        };
        let mut file = OpenOptions::new().create(true).append(true).open(&self.access)?;
        Ok(file.write_all(format!("{now} tcp:{from}:{port} {rest}\n").as_bytes())?)
    }

    /// How many lines the access logs hold, the copies included.
    pub(super) fn lines(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in crate::output::files(&self.access)? {
            lines.extend(fs::read_to_string(path)?.lines().map(str::to_owned));
        }
        Ok(lines)
    }

    /// Copies the log and truncates it, for V2Ray does not reopen it. It must be quiet meanwhile.
    pub(super) fn rotate(&self, number: usize) -> Result<()> {
        let mut name = self.access.clone().into_os_string();
        name.push(format!(".{number}"));
        fs::copy(&self.access, name)?;
        Ok(OpenOptions::new().write(true).open(&self.access)?.set_len(0)?)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.genuine.take()
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            println!("failed to end V2Ray: {error}");
        }
    }
}
