//! Whether a file can be rotated by cutting its front off, found out before anything is done to it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, StatVfsMountFlags, fallocate, fstatfs, fstatvfs, openat};

use crate::source::root::{FileKind, Look};

use super::fiemap;

/// Why a file cannot be cut, with what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {remedy}")]
pub struct Unsuited {
    /// What is in the way.
    pub reason: String,
    /// What would do.
    pub remedy: &'static str,
}

/// What is said of a folder that the agent sees read-only.
pub const READ_ONLY: &str = "its folder is mounted read-only; on a cluster a pod gets the right with its next start, which is due; on a host let the agent write there";

const OTHER_MODE: &str =
    "use mode Rename if its writer can be made to reopen it, or mode Observe and let its writer rotate";

impl Unsuited {
    fn new(reason: impl Into<String>, remedy: &'static str) -> Self {
        Self { reason: reason.into(), remedy }
    }

    /// Nothing can be done in its folder, or in that of its archives.
    pub fn read_only() -> Self {
        let (reason, remedy) = READ_ONLY.split_once("; ").unwrap_or((READ_ONLY, ""));
        Self::new(reason, remedy)
    }
}

/// Says whether the front of this file can be cut off, and in blocks of how many bytes. `folder` is the one that it lies in.
pub fn examine(folder: &OwnedFd, look: &Look) -> Result<u64, Unsuited> {
    if look.kind != FileKind::File {
        return Err(Unsuited::new("it is not a regular file", "name the file itself"));
    }
    if look.links > 1 {
        return Err(Unsuited::new(
            format!("it has {} names", look.links),
            "remove the other links: whoever reads through them would see the file change",
        ));
    }
    let block = trial(folder)?;
    if let Some(process) = writer_without_append(look) {
        return Err(Unsuited::new(
            format!("process {process} writes to it without O_APPEND: after a cut it would leave a hole"),
            OTHER_MODE,
        ));
    }
    Ok(block)
}

/// Whether the agent sees a folder read-only.
pub fn is_read_only(folder: &OwnedFd) -> bool {
    // One that cannot be asked is found out by whoever writes to it.
    fstatvfs(folder).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Cuts a file without a name in the same folder, which shows what the file system can do. Returns its block size in bytes.
pub fn trial(folder: &OwnedFd) -> Result<u64, Unsuited> {
    let stat =
        fstatfs(folder).map_err(|e| Unsuited::new(format!("its file system cannot be asked: {e}"), OTHER_MODE))?;
    let system = system_name(stat.f_type as u64);
    let unable = |what: &str, error: &dyn std::fmt::Display| {
        Unsuited::new(format!("its file system ({system}) cannot {what}: {error}"), REMEDY)
    };
    if let Some(name) = refused(stat.f_type as u64) {
        return Err(Unsuited::new(
            format!("its file system is {name}, which cannot cut the front of a file off"),
            REMEDY,
        ));
    }
    if is_read_only(folder) {
        return Err(Unsuited::read_only());
    }
    let block = stat.f_bsize as u64;
    let tried = (|| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mut file = File::from(openat(folder.as_fd(), Path::new("."), flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(&vec![b'w'; 3 * block as usize])?;
        file.sync_data()?;
        let before = fiemap::physical(&file, block)?;
        fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, block)?;
        let after = fiemap::physical(&file, 0)?;
        io::Result::Ok((before, after))
    })();
    match tried {
        Ok((Some(before), Some(after))) if before == after => Ok(block),
        Ok(_) => Err(unable("tell where a block lies", &"its addresses change")),
        Err(error) => Err(unable("cut the front of a file off", &error)),
    }
}

const REMEDY: &str = "keep the log on ext4 or xfs, or use mode Rename if its writer can be made to reopen it, or mode Observe and let its writer rotate";

/// File systems of which it is known without a trial, and whose own answer would not say why.
fn refused(magic: u64) -> Option<&'static str> {
    let name = system_name(magic);
    matches!(name, "tmpfs" | "overlay" | "btrfs" | "NFS" | "CIFS" | "SMB" | "FUSE" | "ramfs").then_some(name)
}

/// The name that goes with `statfs(2)`'s type.
pub fn system_name(magic: u64) -> &'static str {
    match magic & 0xffff_ffff {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0xf2f5_2010 => "f2fs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x9123_683e => "btrfs",
        0x6969 => "NFS",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB",
        0x6573_5546 => "FUSE",
        0x8584_58f6 => "ramfs",
        _ => "unknown",
    }
}

/// A process that has the file open for writing without `O_APPEND`, as far as `/proc` lets us see other processes.
fn writer_without_append(look: &Look) -> Option<u32> {
    let own = std::process::id();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()).filter(|p| *p != own) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            // Through the link: this is the open file, whatever its name is now.
            let Ok(meta) = std::fs::metadata(descriptor.path()) else { continue };
            let dev = u64::from(rustix::fs::major(meta.dev())) << 32 | u64::from(rustix::fs::minor(meta.dev()));
            if meta.ino() != look.key.ino || dev != look.key.dev {
                continue;
            }
            let info = process.path().join("fdinfo").join(descriptor.file_name());
            if std::fs::read_to_string(info).ok().and_then(|text| flags(&text)).is_some_and(writes_without_append) {
                return Some(pid);
            }
        }
    }
    None
}

/// The flags of `/proc/<pid>/fdinfo/<fd>`, which are octal (proc(5)).
fn flags(info: &str) -> Option<u32> {
    let text = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(text.trim(), 8).ok()
}

fn writes_without_append(flags: u32) -> bool {
    let flags = flags as i32;
    matches!(flags & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR) && flags & libc::O_APPEND == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_descriptor() {
        assert_eq!(flags("pos:\t0\nflags:\t02102001\nmnt_id:\t9\n"), Some(0o2_102_001));
        assert!(!writes_without_append(0o2_102_001) && writes_without_append(0o100_001));
        assert!(!writes_without_append(0o100_000) && writes_without_append(0o100_002));
        assert_eq!(flags("pos:\t0\n"), None);
    }

    #[test]
    fn several_names_and_memory_are_refused() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "x").unwrap();
        let folder = OwnedFd::from(File::open(dir.path()).unwrap());
        std::fs::hard_link(&path, dir.path().join("other")).unwrap();
        let look = Look::at_file(&File::open(&path).unwrap()).unwrap();
        assert_eq!(examine(&folder, &look).unwrap_err().reason, "it has 2 names");
        if let Ok(memory) = File::open("/dev/shm") {
            let said = trial(&OwnedFd::from(memory)).unwrap_err();
            assert!(said.reason.contains("tmpfs"), "{said}");
        }
    }

    #[test]
    fn a_writer_without_append_is_found() {
        use std::process::{Command, Stdio};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (append, found) in [(true, false), (false, true)] {
            let file = std::fs::OpenOptions::new().create(true).append(append).write(true).open(&path).unwrap();
            let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
            let look = Look::at_file(&File::open(&path).unwrap()).unwrap();
            assert_eq!(writer_without_append(&look), found.then_some(child.id()));
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}
