//! A network namespace with nothing but the loopback, so that no request and no name can leave the machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::skip;

const INSIDE: &str = "WAYBILL_DEMO_NAMESPACE";

/// Runs this program again in a namespace of its own and gives back true when it is through; false if this is that run, or if
/// there can be no namespace here.
pub(super) fn entered() -> Result<bool> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(false);
    }
    let kind = if skip::is_root() { "--net" } else { "--map-root-user" };
    let enter = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([kind, "--net", "sh", "-c", script]);
        command
    };
    let possible = enter("ip link set lo up").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !possible {
        println!(
            "(no network namespace can be made here: names are fixed in the proxy's configuration, nothing is looked up)"
        );
        return Ok(false);
    }
    let this = std::env::current_exe()?;
    let status = enter("ip link set lo up && exec \"$0\"").arg(this).env(INSIDE, "1").status();
    if !status.context("failed to start unshare")?.success() {
        bail!("the demonstration failed");
    }
    Ok(true)
}
