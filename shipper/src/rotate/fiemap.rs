//! Where a block of a file lies on its device, asked of the kernel by `FS_IOC_FIEMAP` (linux/fiemap.h).
//!
//! A file's front is cut off by moving its extents, not its bytes: the block that was at the cut has the same physical address when
//! it is the first. That tells whether a cut happened before a crash, also where every block holds the same bytes.

use std::fs::File;
use std::io;

use rustix::ioctl::{Updater, opcode};

/// Extents asked for at a time: one is enough, for the question is about one block.
const EXTENTS: usize = 1;
/// Write out what is not allocated yet, so that it has an address.
const SYNC: u32 = 1;
/// The address is not known, still to come, or of bytes that lie inside other structures: it tells nothing.
const USELESS: u32 = 0x2 | 0x4 | 0x100 | 0x200 | 0x400;

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// `struct fiemap`, with room for its extents.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; EXTENTS],
}

/// `_IOWR('f', 11, struct fiemap)`, where the size is that of the struct without extents.
const FIEMAP: rustix::ioctl::Opcode = opcode::read_write::<[u64; 4]>(b'f', 11);

/// The physical address of the byte at `offset`; `None` if it has none that could be told again: a hole, or bytes kept in the inode.
#[expect(unsafe_code, reason = "no safe wrapper has FIEMAP; the two structs above are the kernel's")]
pub fn physical(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let mut map = Map { start: offset, length: 1, flags: SYNC, count: EXTENTS as u32, ..Map::default() };
    // SAFETY: FS_IOC_FIEMAP reads the header at the pointer and writes it and at most `count` extents behind it, for which `Map` has
    // room; all fields are integers, so that any bytes are valid, and `map` outlives the call.
    unsafe { rustix::ioctl::ioctl(file, Updater::<FIEMAP, Map>::new(&mut map))? };
    let found = map.extents.first().filter(|_| map.mapped > 0);
    let usable = found.filter(|e| e.flags & USELESS == 0 && e.logical <= offset && offset < e.logical + e.length);
    Ok(usable.map(|e| e.physical + (offset - e.logical)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!((size_of::<Extent>(), size_of::<Map>()), (56, 32 + 56 * EXTENTS));
        assert_eq!(FIEMAP, 0xC020_660B);
    }

    #[test]
    fn blocks_have_addresses_and_holes_have_none() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&[b'x'; 8192]).unwrap();
        file.write_all_at(b"y", 65_536).unwrap();
        let at = match physical(&file, 0) {
            Ok(at) => at.unwrap(),
            Err(error) => return println!("SKIPPED: this file system does not tell where blocks lie: {error}"),
        };
        assert_eq!(physical(&file, 4096).unwrap().map(|p| p - at), Some(4096));
        assert_eq!(physical(&file, 32_768).unwrap(), None);
        assert_eq!(physical(&file, 1 << 30).unwrap(), None);
    }
}
