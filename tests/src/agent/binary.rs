//! Where the agent's binary is.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};

/// `WAYBILL_BIN`, or the one beside this executable, which is built first if need be.
pub fn binary() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
}

fn find() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("WAYBILL_BIN") {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "WAYBILL_BIN names {}, which is not a file", named.display());
        return named.canonicalize().context("failed to resolve WAYBILL_BIN");
    }
    let here = std::env::current_exe()?;
    let folder =
        here.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).context("this executable has no folder")?;
    let beside = folder.join("waybill");
    if !beside.is_file() {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.args(["build", "--package", "waybill-shipper", "--bin", "waybill"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("failed to start cargo")?;
        ensure!(status.success() && beside.is_file(), "failed to build {}", beside.display());
    }
    Ok(beside)
}
