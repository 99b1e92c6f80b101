//! Small file systems that can be filled up.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A tmpfs of a bounded size, unmounted when dropped.
#[derive(Debug)]
pub struct Small(PathBuf);

impl Small {
    /// Mounts one at `path`, which is made.
    pub fn mount(path: &Path, bytes: u64) -> Result<Self> {
        fs::create_dir_all(path)?;
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "waybill-test"])
            .arg(path)
            .status();
        ensure!(done.context("failed to start mount")?.success(), "failed to mount a tmpfs at {}", path.display());
        Ok(Self(path.to_owned()))
    }

    /// Fills it to the last block and gives back the file to remove for making room again.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("ballast");
        let mut ballast = File::create(&path)?;
        let mut block = vec![0_u8; 1 << 16];
        while !block.is_empty() {
            match ballast.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => block.truncate(block.len() / 2),
                Err(error) => return Err(error).context("failed to fill a file system"),
            }
        }
        Ok(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("failed to unmount {}", self.0.display());
        }
    }
}
