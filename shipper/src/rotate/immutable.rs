//! The attributes of the file system behind `chattr +i` and `chattr +a`.
//!
//! An immutable file cannot be written, renamed, linked or removed by anyone, root included, until the attribute is taken off; an append-only
//! one only grows. Both need `CAP_LINUX_IMMUTABLE`, which is why a gateway that was broken into, without it, cannot change them.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, ioctl_setflags, openat};

use crate::source::root::Look;
use crate::state::entry::FileKey;

/// What is protected against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Every change.
    Immutable,
    /// Every change but growth.
    AppendOnly,
}

impl Flag {
    fn bit(self) -> IFlags {
        match self {
            Self::Immutable => IFlags::IMMUTABLE,
            Self::AppendOnly => IFlags::APPEND,
        }
    }
}

/// Puts a flag on a file or takes it off; says whether that changed anything.
pub fn set(file: &File, flag: Flag, on: bool) -> io::Result<bool> {
    let before = ioctl_getflags(file)?;
    let after = if on { before | flag.bit() } else { before - flag.bit() };
    if before == after {
        return Ok(false);
    }
    ioctl_setflags(file, after)?;
    Ok(true)
}

/// Whether a file has a flag.
pub fn has(file: &File, flag: Flag) -> io::Result<bool> {
    Ok(ioctl_getflags(file)?.contains(flag.bit()))
}

/// Opens a file of a folder for reading, if it is still the one that is meant: whatever is done to it next is done to that inode.
pub fn open(folder: impl std::os::fd::AsFd, name: &Path, key: &FileKey) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(openat(folder.as_fd(), name, flags, Mode::empty())?);
    let look = Look::at_file(&file)?;
    // The device may have another number after a reboot.
    if (look.key.ino, look.key.born) != (key.ino, key.born) {
        return Err(io::Error::other("another file has its name"));
    }
    Ok(file)
}

/// Tries the flag on a file without a name in a folder: whether it would work there.
pub fn trial(folder: impl std::os::fd::AsFd, flag: Flag) -> Result<(), String> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let tried = openat(folder.as_fd(), Path::new("."), flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        .and_then(|fd| {
            let file = File::from(fd);
            set(&file, flag, true)?;
            let kept = has(&file, flag)?;
            set(&file, flag, false)?;
            Ok(kept)
        });
    match tried {
        Ok(true) => Ok(()),
        Ok(false) => Err("its file system forgets the attribute".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(format!("the agent may not set the attribute ({error}): it needs CAP_LINUX_IMMUTABLE"))
        }
        Err(error) => Err(format!("its file system does not know the attribute ({error})")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn an_immutable_file_cannot_be_removed_and_another_in_its_place_is_not_touched() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folder = OwnedFd::from(File::open(dir.path()).unwrap());
        if let Err(why) = trial(&folder, Flag::Immutable) {
            return println!("SKIPPED: {why}");
        }
        let path = dir.path().join("archive");
        std::fs::write(&path, "x").unwrap();
        let key = Look::at_file(&File::open(&path).unwrap()).unwrap().key;
        let file = open(&folder, Path::new("archive"), &key).unwrap();
        assert!(set(&file, Flag::Immutable, true).unwrap());
        assert!(!set(&file, Flag::Immutable, true).unwrap());
        assert!(std::fs::remove_file(&path).is_err() && std::fs::write(&path, "y").is_err());
        assert!(set(&file, Flag::Immutable, false).unwrap());
        std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
        std::fs::write(&path, "z").unwrap();
        assert!(open(&folder, Path::new("archive"), &key).is_err());
    }
}
