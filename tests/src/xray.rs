//! Genuine Xray, built once from the registry of Go modules.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use crate::jars::{self, succeed};

/// The module's version; the program calls itself 26.3.27.
const VERSION: &str = "v1.260327.0";

/// Why there can be none here; `None` if there can.
pub fn missing() -> Option<String> {
    let built = home().is_ok_and(|home| home.join("xray").exists());
    let go = Command::new("go").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    (!built && !go.is_ok_and(|status| status.success())).then(|| "Go is not installed".to_owned())
}

fn home() -> Result<PathBuf> {
    Ok(jars::cache()?.join("servers").join(format!("xray-{VERSION}")))
}

/// The program. Where it is not in the cache yet, it is built: some minutes of two processors.
pub fn program() -> Result<PathBuf> {
    let home = home()?;
    let servers = home.parent().context("the cache has folders")?;
    fs::create_dir_all(servers)?;
    let lock = File::create(servers.join("xray.lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let program = home.join("xray");
    if !program.exists() {
        println!("building Xray {VERSION} from the registry of Go modules");
        let fresh = servers.join("xray.new");
        succeed(
            Command::new("go")
                .args(["install", "-trimpath", "-ldflags=-s -w"])
                .arg(format!("github.com/xtls/xray-core/main@{VERSION}"))
                .current_dir(servers)
                .env("GOTOOLCHAIN", "local")
                .env("CGO_ENABLED", "0")
                .env("GOBIN", &fresh),
        )?;
        fs::create_dir_all(&home)?;
        fs::rename(fresh.join("main"), &program)?;
    }
    Ok(program)
}
