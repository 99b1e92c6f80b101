//! Debian's own `logrotate` in its modes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Actor, Kind, Live, Scribe};

/// A writer for each mode.
pub const MODES: &[Kind] = &[
    Kind { name: "logrotate-create", make: |scribe| make(scribe, "create") },
    Kind { name: "logrotate-copytruncate", make: |scribe| make(scribe, "copytruncate") },
    Kind { name: "logrotate-compress", make: |scribe| make(scribe, "create\n  compress") },
    Kind { name: "logrotate-copytruncate-compress", make: |scribe| make(scribe, "copytruncate\n  compress") },
    Kind { name: "logrotate-delaycompress", make: |scribe| make(scribe, "create\n  compress\n  delaycompress") },
    Kind { name: "logrotate-dateext", make: |scribe| make(scribe, "create\n  dateext\n  dateformat -%Y%m%d-%s") },
];

/// `dateformat` counts seconds, and a name that is taken is not rotated to.
const APART: Duration = Duration::from_millis(1300);

struct Rotated {
    live: Live,
    copies: bool,
    /// The rotated file may still be written to for a while.
    late: bool,
    last: Instant,
}

fn make(scribe: &mut Scribe, mode: &str) -> Result<Box<dyn Actor>> {
    let live = Live::create(&scribe.book, &scribe.path("app.log"))?;
    let conf = scribe.path(".conf");
    fs::write(&conf, format!("{} {{\n  rotate 1000\n  {mode}\n}}\n", live.path.display()))?;
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o644))?;
    let late = !mode.contains("compress") || mode.contains("delaycompress");
    Ok(Box::new(Rotated { live, copies: mode.contains("copytruncate"), late, last: Instant::now() }))
}

impl Rotated {
    fn rotate(&mut self, scribe: &mut Scribe) -> Result<()> {
        let before = fs::metadata(&self.live.path)?;
        let done =
            Command::new("logrotate").arg("-f").arg("-s").args([scribe.path(".state"), scribe.path(".conf")]).output();
        let done = done.context("failed to start logrotate")?;
        ensure!(done.status.success(), "logrotate failed: {}", String::from_utf8_lossy(&done.stderr));
        let after = fs::metadata(&self.live.path)?;
        if self.copies {
            ensure!(
                after.ino() == before.ino() && after.len() == 0,
                "logrotate did not truncate {}",
                self.live.path.display()
            );
            self.live.begin(&scribe.book);
            return Ok(());
        }
        ensure!(
            after.ino() != before.ino() && after.len() == 0,
            "logrotate did not rename {}",
            self.live.path.display()
        );
        if self.late && scribe.rng.chance(50) {
            scribe.burst(&mut self.live)?;
        }
        self.live = Live::adopt(&scribe.book, &self.live.path)?;
        Ok(())
    }
}

impl Actor for Rotated {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        scribe.burst(&mut self.live)?;
        if self.last.elapsed() > APART && scribe.rng.chance(10) {
            self.rotate(scribe)?;
            self.last = Instant::now();
        }
        Ok(())
    }
}
