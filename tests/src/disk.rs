//! A small ext4 of its own, which can be filled to the last block and can lose its power.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::mount::{self, quiet};
use crate::skip;
use crate::wait::await_true;

/// How long a file system may take to be let go of.
const LETTING_GO: Duration = Duration::from_secs(20);

/// An ext4 in a file, mounted through a loop device; unmounted when dropped.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes one of so many bytes in the file `image` and mounts it at a folder, which is made; the reason if this machine cannot.
    pub fn new(image: &Path, at: &Path, bytes: u64) -> Result<std::result::Result<Self, String>> {
        if !skip::is_root() {
            return Ok(Err("it needs root to mount".to_owned()));
        }
        if !["mkfs.ext4", "xfs_io"].iter().all(|program| skip::has(program)) {
            return Ok(Err("it needs e2fsprogs and xfsprogs".to_owned()));
        }
        fs::create_dir_all(at)?;
        File::create(image)?.set_len(bytes)?;
        // No block is kept for root: the agent must meet the end of the disk as everyone does.
        ensure!(quiet(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(image))?, "failed to make an ext4");
        let disk = Self { image: image.to_owned(), at: at.to_owned() };
        if disk.mount()? { Ok(Ok(disk)) } else { Ok(Err("a loop device cannot be mounted here".to_owned())) }
    }

    /// Nothing reaches the disk by the passing of time alone, only by fsync.
    fn mount(&self) -> Result<bool> {
        quiet(Command::new("mount").args(["-o", "loop,commit=300"]).arg(&self.image).arg(&self.at))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Fills it to the last block; gives back the file to remove for making room again.
    pub fn fill(&self) -> Result<PathBuf> {
        mount::fill(&self.at)
    }

    /// The power goes: what was not written to the device by now, pages and journal alike, never gets there, and every access fails
    /// until [`come_back`](Self::come_back). (The `shutdown` call of ext4, as its own tests of recovery use it. The device itself
    /// loses nothing that it was given.)
    pub fn lose_power(&self) -> Result<()> {
        ensure!(quiet(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&self.at))?, "shutdown failed");
        Ok(())
    }

    /// Mounts it again, as after a crash: ext4 replays its journal. Nobody may hold a file of it open.
    pub fn come_back(&self) -> Result<()> {
        await_true("the file system can be unmounted", LETTING_GO, || quiet(Command::new("umount").arg(&self.at)))?;
        ensure!(self.mount()?, "failed to mount the file system again");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !quiet(Command::new("umount").arg("-l").arg(&self.at)).is_ok_and(|done| done) {
            println!("failed to unmount {}", self.at.display());
        }
    }
}
