//! One owner a state directory: a lock that is waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Name of the lock file in the state directory. It holds the owner's process id, for people.
pub const FILE: &str = "lock";

/// The right to write a state directory; given back when dropped, or when the process ends however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Tries to take the lock. `Ok(Err(pid))` says who has it, as far as that is known.
pub fn try_lock(dir: &Path) -> io::Result<Result<Lock, String>> {
    let path = dir.join(FILE);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0)?;
            // The text is for people only: on a full disk the lock holds without it.
            let _told = write!(file, "{}", std::process::id());
            Ok(Ok(Lock { _file: file }))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner)?;
            Ok(Err(owner))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_owner_waits_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = try_lock(dir.path()).unwrap().unwrap();
        assert_eq!(try_lock(dir.path()).unwrap().unwrap_err(), std::process::id().to_string());
        drop(first);
        assert!(try_lock(dir.path()).unwrap().is_ok());
    }
}
