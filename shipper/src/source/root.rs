//! Every path is opened from its root's descriptor, and nothing outside of the root can be reached.
//!
//! `openat2(2)` with `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS` does the walking, so that a link that someone swaps in while we
//! walk leads nowhere. An absolute link is refused by the kernel even if it points back below the root; such links (the kubelet's
//! /var/log/containers is made of them) are followed by hand, each step from the root again.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, openat2, readlinkat, statx};
use rustix::io::Errno;

use crate::state::entry::FileKey;

/// Absolute links that are followed for one path.
const MAX_LINKS: usize = 16;

/// What a file is and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where to look for it.
    pub key: FileKey,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified: i64,
    /// Names that it has; 0 = it is deleted.
    pub links: u32,
    /// What kind of file.
    pub kind: FileKind,
}

/// The kinds of file that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

const MASK: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

impl Look {
    fn new(s: &rustix::fs::Statx) -> Self {
        let nanos =
            |t: rustix::fs::StatxTimestamp| t.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(t.tv_nsec));
        let born =
            if StatxFlags::from_bits_retain(s.stx_mask).contains(StatxFlags::BTIME) { nanos(s.stx_btime) } else { 0 };
        let kind = match u32::from(s.stx_mode) & 0o170_000 {
            0o100_000 => FileKind::File,
            0o040_000 => FileKind::Folder,
            0o120_000 => FileKind::Link,
            _ => FileKind::Other,
        };
        Self {
            key: FileKey { dev: u64::from(s.stx_dev_major) << 32 | u64::from(s.stx_dev_minor), ino: s.stx_ino, born },
            size: s.stx_size,
            modified: nanos(s.stx_mtime),
            links: s.stx_nlink,
            kind,
        }
    }

    /// Looks at an open file.
    pub fn at_file(file: &File) -> io::Result<Self> {
        Ok(Self::new(&statx(file, "", AtFlags::EMPTY_PATH, MASK)?))
    }
}

/// Why a path cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A link on the way leads out of the root.
    #[error("a link leads out of {}", root.display())]
    Outside {
        /// The root.
        root: PathBuf,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// Nothing is there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    }
}

/// A folder below which files may be read.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    fd: OwnedFd,
}

impl Root {
    /// Opens the folder itself; its own path may hold links, because whoever configured it chose it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), fd })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn below<'a>(&self, path: &'a Path) -> Result<&'a Path, Error> {
        match path.strip_prefix(&self.path) {
            Ok(rest) if rest.as_os_str().is_empty() => Ok(Path::new(".")),
            Ok(rest) => Ok(rest),
            Err(_) => Err(Error::Outside { root: self.path.clone() }),
        }
    }

    fn beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
        let mut path = self.below(path)?.to_owned();
        for _ in 0..MAX_LINKS {
            match openat2(&self.fd, &path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
                Ok(fd) => return Ok(fd),
                // The kernel asks to try again when the tree moved while it walked.
                Err(Errno::AGAIN) => {}
                Err(Errno::XDEV) => path = self.resolve_absolute(&path)?,
                Err(error) => return Err(Error::Io(error.into())),
            }
        }
        Err(Error::Io(Errno::LOOP.into()))
    }

    /// Replaces the first absolute link in `path` by its target below the root.
    fn resolve_absolute(&self, path: &Path) -> Result<PathBuf, Error> {
        let outside = || Error::Outside { root: self.path.clone() };
        let mut walked = PathBuf::new();
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                continue;
            };
            walked.push(name);
            let Ok(target) = readlinkat(&self.fd, &walked, Vec::new()) else {
                continue;
            };
            let target = Path::new(OsStr::from_bytes(target.as_bytes()));
            if target.is_absolute() {
                let inside = target.strip_prefix(&self.path).map_err(|_| outside())?;
                let rest = parts.as_path();
                return Ok(if rest.as_os_str().is_empty() { inside.to_owned() } else { inside.join(rest) });
            }
        }
        Err(outside())
    }

    /// Opens a file for reading, never blocking on a pipe.
    pub fn open_file(&self, path: &Path) -> Result<File, Error> {
        Ok(File::from(self.beneath(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK)?))
    }

    /// Opens a folder for listing.
    pub fn open_folder(&self, path: &Path) -> Result<OwnedFd, Error> {
        self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    /// Looks at a path without following a link in its last component.
    pub fn look(&self, path: &Path) -> Result<Look, Error> {
        let below = self.below(path)?;
        Ok(Look::new(&statx(&self.fd, below, AtFlags::SYMLINK_NOFOLLOW, MASK).map_err(io::Error::from)?))
    }

    /// Looks at what a link leads to, within the root.
    pub fn look_through(&self, path: &Path) -> Result<Look, Error> {
        let fd = self.beneath(path, OFlags::PATH | OFlags::CLOEXEC)?;
        Ok(Look::new(&statx(&fd, "", AtFlags::EMPTY_PATH, MASK).map_err(io::Error::from)?))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_within_the_root_are_followed_and_others_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs");
        std::fs::create_dir_all(path.join("pods")).unwrap();
        std::fs::write(path.join("pods/0.log"), "x").unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        symlink(path.join("pods/0.log"), path.join("absolute.log")).unwrap();
        symlink("pods/0.log", path.join("relative.log")).unwrap();
        symlink(dir.path().join("secret"), path.join("outside.log")).unwrap();
        symlink("../secret", path.join("up.log")).unwrap();
        symlink(path.join("pods"), path.join("folder")).unwrap();
        let root = Root::open(&path).unwrap();
        for good in ["absolute.log", "relative.log", "folder/0.log", "pods/0.log"] {
            assert!(root.open_file(&path.join(good)).is_ok(), "{good}");
        }
        for bad in ["outside.log", "up.log"] {
            assert!(matches!(root.open_file(&path.join(bad)), Err(Error::Outside { .. })), "{bad}");
        }
        assert_eq!(root.look(&path.join("relative.log")).unwrap().kind, FileKind::Link);
        assert_eq!(root.look_through(&path.join("absolute.log")).unwrap().size, 1);
        assert!(root.open_file(&path.join("none")).err().unwrap().is_absent());
        assert!(matches!(root.open_file(dir.path()), Err(Error::Outside { .. })));
    }
}
