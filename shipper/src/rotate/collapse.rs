//! Cutting the front off a live file, atomically against a writer that appends.
//!
//! `fallocate(2)` with `FALLOC_FL_COLLAPSE_RANGE` takes whole blocks out of a file under the inode's lock; an `O_APPEND` write takes place
//! either before it or after it, at the end that the file then has. There is no other way to cut here: copying and truncating
//! loses what is written in between, and punching holes leaves a file that other programs read as zeros.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, openat};

use crate::source::digest;
use crate::source::identity::read_full;
use crate::source::root::{FileKind, Look};
use crate::state::entry::{Cut, FileKey};

use super::fault;
use super::fiemap;
use super::immutable::{self, Flag};

/// Bytes before the frontier's digest block that stay too: what every read compares may begin there.
const WITNESS: u64 = 64;

/// How far a file may be cut: the highest block boundary below the end of what is archived that leaves what reading on at the
/// frontier needs. Offsets are logical; the answer is `base` if nothing can be cut.
pub fn cut_at(base: u64, archived: u64, frontier: u64, block: u64) -> u64 {
    let kept = digest::block_start(frontier).saturating_sub(WITNESS);
    let most = archived.min(kept).saturating_sub(base);
    base + most / block.max(1) * block.max(1)
}

/// A block as it is told again: where it lies on the device, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Its physical address.
    pub physical: u64,
    /// BLAKE3 of its bytes.
    pub hash: digest::Hash,
}

impl Block {
    /// Looks at the block at a place in a file. `None`: it is not whole, or has no address of its own.
    pub fn at(file: &File, offset: u64, len: u64) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; len as usize];
        if read_full(file, &mut bytes, offset)? < bytes.len() {
            return Ok(None);
        }
        let hash = *blake3::hash(&bytes).as_bytes();
        Ok(fiemap::physical(file, offset)?.map(|physical| Self { physical, hash }))
    }

    fn is_in(&self, cut: &Cut) -> bool {
        self.physical == cut.physical && digest::hash_from(&cut.hash) == Some(self.hash)
    }
}

/// What became of an intended cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened: the block is the first now.
    Done,
    /// It did not: the block is where it was.
    NotDone,
    /// The file is not the one that was to be cut.
    Neither,
}

/// Tells it from the first block and the block at the cut, as they are now.
pub fn outcome(cut: &Cut, first: Option<Block>, at_cut: Option<Block>) -> Outcome {
    let is = |block: Option<Block>| block.is_some_and(|b| b.is_in(cut));
    match (is(first), is(at_cut)) {
        (true, false) => Outcome::Done,
        (false, true) => Outcome::NotDone,
        _ => Outcome::Neither,
    }
}

/// Looks at a file to tell what became of an intended cut.
pub fn look(file: &File, cut: &Cut) -> io::Result<Outcome> {
    let first = Block::at(file, 0, cut.block)?;
    let at_cut = Block::at(file, cut.to.saturating_sub(cut.base), cut.block)?;
    Ok(outcome(cut, first, at_cut))
}

/// The file to cut: its folder, its name there, and which file it has to be.
#[derive(Debug)]
pub struct Site {
    /// The folder.
    pub folder: std::sync::Arc<OwnedFd>,
    /// The file's name in it.
    pub name: std::ffi::OsString,
    /// The file.
    pub key: FileKey,
}

impl Site {
    /// Opens it for writing, if it is still that file and has no other name.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(openat(self.folder.as_fd(), Path::new(&self.name), flags, Mode::empty())?);
        let look = Look::at_file(&file)?;
        if look.key != self.key || look.kind != FileKind::File || look.links != 1 {
            return Err(io::Error::other("the file was replaced or has another name meanwhile"));
        }
        Ok(file)
    }
}

/// Cuts, and returns when the cut is on disk. An error says nothing about whether the file was cut: ask [`look`].
pub fn collapse(site: &Site, cut: &Cut) -> io::Result<()> {
    // An append-only file can be neither opened like this nor cut.
    let guarded = immutable::open(&site.folder, Path::new(&site.name), &site.key)?;
    let was_guarded = immutable::has(&guarded, Flag::AppendOnly).unwrap_or(false)
        && immutable::set(&guarded, Flag::AppendOnly, false)?;
    fault::point("live-unprotected");
    let done = site.open().and_then(|file| {
        if look(&file, cut)? != Outcome::NotDone {
            return Err(io::Error::other("the file changed meanwhile"));
        }
        // The kernel writes out what is dirty while it holds the inode's lock, for which the writer waits: leave it little to do.
        file.sync_all()?;
        fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, cut.to - cut.base)?;
        fault::point("collapsed");
        file.sync_all()
    });
    if was_guarded {
        immutable::set(&guarded, Flag::AppendOnly, true)?;
    }
    done?;
    fault::point("collapse-synced");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    #[test]
    fn the_cut_is_a_block_boundary_that_leaves_what_the_frontier_needs() {
        assert_eq!(cut_at(0, 10_000, 1 << 20, BLOCK), 8192);
        assert_eq!(cut_at(8192, 10_000, 1 << 20, BLOCK), 8192);
        assert_eq!(cut_at(0, 1 << 20, 1 << 20, BLOCK), (1 << 20) - 65_536 - BLOCK);
        assert_eq!(cut_at(0, 4000, 1 << 20, BLOCK), 0);
        assert_eq!(cut_at(0, 0, 0, BLOCK), 0);
    }

    proptest::proptest! {
        #[test]
        fn nothing_needed_is_cut(blocks in 0u64..400, archived in 0u64..4_000_000, beyond in 0u64..300_000) {
            let base = blocks * BLOCK;
            let archived = base.max(archived);
            let frontier = archived + beyond;
            let cut = cut_at(base, archived, frontier, BLOCK);
            proptest::prop_assert!(cut >= base && cut <= archived.max(base) && (cut - base).is_multiple_of(BLOCK));
            if cut > base {
                proptest::prop_assert!(cut + WITNESS <= digest::block_start(frontier));
                // The block at the cut is whole: it is what recovery looks for.
                proptest::prop_assert!(cut + BLOCK <= frontier);
            }
        }

        /// The two places are told apart whatever they hold; when in doubt the answer is neither.
        #[test]
        fn a_crash_is_never_guessed_at(first in proptest::option::of((0u64..3, 0u8..2)), at_cut in proptest::option::of((0u64..3, 0u8..2))) {
            let block = |found: Option<(u64, u8)>| found.map(|(physical, byte)| Block { physical, hash: [byte; 32] });
            let cut = Cut { base: 0, to: BLOCK, physical: 1, hash: vec![1; 32], block: BLOCK };
            let expected = match (first == Some((1, 1)), at_cut == Some((1, 1))) {
                (true, false) => Outcome::Done,
                (false, true) => Outcome::NotDone,
                _ => Outcome::Neither,
            };
            proptest::prop_assert_eq!(outcome(&cut, block(first), block(at_cut)), expected);
        }
    }

    /// Every block alike: only the addresses differ.
    #[test]
    fn a_cut_is_recognised_in_a_file_of_equal_blocks() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, vec![b'\n'; 10 * BLOCK as usize]).unwrap();
        let folder = std::sync::Arc::new(OwnedFd::from(File::open(dir.path()).unwrap()));
        let file = File::open(&path).unwrap();
        if let Err(why) = super::super::suit::trial(&folder) {
            return println!("SKIPPED: {why}");
        }
        let site = Site { folder, name: "log".into(), key: Look::at_file(&file).unwrap().key };
        let block = Block::at(&file, 4 * BLOCK, BLOCK).unwrap().unwrap();
        let cut = Cut { base: 0, to: 4 * BLOCK, physical: block.physical, hash: block.hash.to_vec(), block: BLOCK };
        assert_eq!(look(&file, &cut).unwrap(), Outcome::NotDone);
        collapse(&site, &cut).unwrap();
        assert_eq!(look(&file, &cut).unwrap(), Outcome::Done);
        assert_eq!(file.metadata().unwrap().len(), 6 * BLOCK);
        // Not twice.
        assert!(collapse(&site, &cut).is_err());
        std::fs::write(&path, vec![b'\n'; 10 * BLOCK as usize]).unwrap();
        assert_ne!(look(&file, &cut).unwrap(), Outcome::Done);
    }
}
