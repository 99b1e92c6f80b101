//! File systems of a test's own: small ones that can be filled up, and those of an image file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::skip;

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
        fill(&self.0)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// A file system of a kind of the kernel's, unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    /// The file whose content it is, but for `tmpfs` and `overlay`.
    pub image: PathBuf,
}

impl Mounted {
    /// Mounts one at a folder, which is made, with its parts in another; the inner error says why this machine cannot.
    pub fn mount(kind: &str, at: &Path, parts: &Path) -> Result<std::result::Result<Self, String>> {
        fs::create_dir_all(at)?;
        let image = parts.join(format!("{kind}.image"));
        let made = match kind {
            "tmpfs" => quiet(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "waybill-test"]).arg(at))?,
            "overlay" => {
                let part = |name: &str| parts.join(format!("overlay-{name}"));
                for name in ["lower", "upper", "work"] {
                    fs::create_dir_all(part(name))?;
                }
                let options = format!(
                    "lowerdir={},upperdir={},workdir={}",
                    part("lower").display(),
                    part("upper").display(),
                    part("work").display()
                );
                quiet(Command::new("mount").args(["-t", "overlay", "-o", &options, "waybill-test"]).arg(at))?
            }
            _ => {
                // What xfs and btrfs ask for at least.
                File::create(&image)?.set_len(400 << 20)?;
                let mkfs = format!("mkfs.{kind}");
                if !skip::has(&mkfs) {
                    return Ok(Err(format!("{mkfs} is not installed")));
                }
                quiet(Command::new(&mkfs).arg("-q").arg(&image))?
                    && quiet(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))?
            }
        };
        Ok(if made { Ok(Self { at: at.to_owned(), image }) } else { Err(format!("{kind} cannot be mounted here")) })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

/// Fills a file system to the last block, by a file in this folder, which is given back.
pub fn fill(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("ballast");
    let mut ballast = File::create(&path)?;
    let mut block = vec![0_u8; 1 << 20];
    while !block.is_empty() {
        match ballast.write(&block) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => block.truncate(block.len() / 2),
            Err(error) => return Err(error).context("failed to fill a file system"),
        }
    }
    ballast.sync_all()?;
    Ok(path)
}

/// Runs a program and shows nothing of what it says; whether it succeeded.
pub(crate) fn quiet(command: &mut Command) -> Result<bool> {
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status().context("failed to start a program")?.success())
}

fn unmount(at: &Path) {
    let done = Command::new("umount").arg("-l").arg(at).status();
    if !done.is_ok_and(|status| status.success()) {
        println!("failed to unmount {}", at.display());
    }
}
