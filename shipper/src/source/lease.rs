//! Whether anyone has a file open for writing, asked of the kernel by a read lease.
//!
//! `fcntl(F_SETLEASE, F_RDLCK)` on a descriptor that is open for reading only is refused with `EAGAIN` while any process has the
//! file open for writing (fcntl(2), "Leases"). The lease is given back at once. It needs the file's owner or `CAP_LEASE`, and a
//! writer that opens the file in the instant between waits for that instant; the kernel then sends SIGIO, which [`ignore_sigio`]
//! keeps from ending the process.

use std::os::fd::{AsRawFd, BorrowedFd};

/// What the kernel says of a file's writers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writers {
    /// No process has the file open for writing at this moment.
    None,
    /// At least one has.
    Some,
    /// The file system or our rights do not allow the question: assume one.
    Unknown,
}

/// Asks whether anyone has the file behind `file`, which must be open for reading only, open for writing.
#[expect(unsafe_code, reason = "neither rustix nor nix wraps F_SETLEASE")]
pub fn writers(file: BorrowedFd<'_>) -> Writers {
    let fd = file.as_raw_fd();
    // SAFETY: fcntl with F_SETLEASE takes an integer and touches no memory of ours; the descriptor is borrowed, so it is open.
    let taken = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) };
    if taken == 0 {
        // SAFETY: as above.
        let _given_back = unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
        return Writers::None;
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Writers::Some,
        _ => Writers::Unknown,
    }
}

/// Keeps the SIGIO that a broken lease sends from ending the process. Call it once, before the first lease.
#[expect(unsafe_code, reason = "a disposition is set without a handler, which no safe wrapper offers")]
pub fn ignore_sigio() {
    // SAFETY: SIG_IGN installs no handler, so no code of ours runs in signal context; SIGIO is used by nothing else here.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sees_a_writer_and_its_end() {
        ignore_sigio();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(writers(reader.as_fd()), Writers::Some);
        drop(writer);
        assert_eq!(writers(reader.as_fd()), Writers::None);
        // The lease was given back: a writer can open without waiting.
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(writers(reader.as_fd()), Writers::Some);
        drop(writer);
    }

    #[test]
    fn a_descriptor_that_can_write_gets_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("log")).unwrap();
        assert_ne!(writers(file.as_fd()), Writers::None);
    }
}
