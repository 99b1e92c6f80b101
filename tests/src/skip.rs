//! Saying loudly that a test could not be made here, and counting it.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Prints why a test is skipped and counts it in the file that `WAYBILL_SKIPS` names.
pub fn skip(test: &str, why: &str) -> Result<()> {
    println!("SKIPPED: {test}: {why}");
    if let Some(path) = std::env::var_os("WAYBILL_SKIPS") {
        let mut list =
            OpenOptions::new().create(true).append(true).open(&path).context("failed to open WAYBILL_SKIPS")?;
        list.write_all(format!("{test}: {why}\n").as_bytes())?;
    }
    Ok(())
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program can be started.
pub fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
