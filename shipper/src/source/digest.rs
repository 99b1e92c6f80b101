//! The digest of a stream up to its frontier, which says whether a file is the stream so far.
//!
//! The stream is cut into blocks of 64 KiB. The chain value before the first block is 32 zero bytes; after a block it is the
//! BLAKE3 of the value before it followed by the block. The digest is the BLAKE3 of the chain value before the last block
//! followed by what there is of that block (1 to 65,536 bytes). So it can be resumed from the chain value and at most 64 KiB of
//! the file, and resuming compares those bytes with what was there before.

/// Bytes of a block.
pub const BLOCK: u64 = 1 << 16;

/// A chain value or a digest.
pub type Hash = [u8; 32];

/// A running digest.
#[derive(Clone)]
pub struct Digest {
    chain: Hash,
    block: blake3::Hasher,
    filled: u64,
    len: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self::resume([0; 32], 0)
    }
}

/// Where the block that holds the last byte before `len` begins.
pub fn block_start(len: u64) -> u64 {
    len.saturating_sub(1) / BLOCK * BLOCK
}

impl Digest {
    /// Goes on from the beginning of a block: `chain` is the value before it, `at` its offset. The caller feeds the block's
    /// bytes again.
    pub fn resume(chain: Hash, at: u64) -> Self {
        debug_assert_eq!(at % BLOCK, 0);
        let mut block = blake3::Hasher::new();
        block.update(&chain);
        Self { chain, block, filled: 0, len: at }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // A block is closed only when a byte follows it, so that resuming always has bytes to compare.
            if self.filled == BLOCK {
                self.chain = *self.block.finalize().as_bytes();
                self.block.reset();
                self.block.update(&self.chain);
                self.filled = 0;
            }
            let (now, later) = bytes.split_at(bytes.len().min((BLOCK - self.filled) as usize));
            self.block.update(now);
            self.filled += now.len() as u64;
            self.len += now.len() as u64;
            bytes = later;
        }
    }

    /// Bytes taken in.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Nothing was taken in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chain value before the last block.
    pub fn chain(&self) -> Hash {
        self.chain
    }

    /// The digest of all bytes taken in.
    pub fn digest(&self) -> Hash {
        *self.block.finalize().as_bytes()
    }
}

/// The hash of a stream's first bytes, by which candidates for a stream are found.
pub fn head_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Bytes at the most that [`head_hash`] covers.
pub const HEAD: usize = 256;

/// Bytes at the most that [`lead_hash`] covers.
const LEAD: usize = 64;

/// The hash by which streams that may begin alike are looked up.
pub fn lead_hash(head: &[u8]) -> u64 {
    head_hash(&head[..head.len().min(LEAD)])
}

/// What [`lead_hash`] was, or may have been, when a file that begins like this had fewer bytes.
pub fn leads(head: &[u8]) -> impl Iterator<Item = u64> + '_ {
    (1..=head.len().min(LEAD)).map(|len| head_hash(&head[..len]))
}

/// Reads 32 bytes as an entry holds them; anything else is no hash.
pub fn hash_from(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok()
}

/// A digest as entries and commands show it.
pub fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut out, byte| {
        let _written = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Digest {
        let mut digest = Digest::default();
        digest.update(bytes);
        digest
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        for piece in [1, 63, 65_536, 65_537, 100_000] {
            let mut digest = Digest::default();
            bytes.chunks(piece).for_each(|c| digest.update(c));
            assert_eq!(digest.digest(), whole(&bytes).digest(), "pieces of {piece}");
            assert_eq!(digest.chain(), whole(&bytes).chain());
        }
    }

    #[test]
    fn resumes_at_every_kind_of_place() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i % 253) as u8).collect();
        for len in [1usize, 65_535, 65_536, 65_537, 131_072, 131_073, 199_999] {
            let before = whole(&bytes[..len]);
            let from = block_start(len as u64) as usize;
            let mut again = Digest::resume(before.chain(), from as u64);
            again.update(&bytes[from..len]);
            assert_eq!(again.digest(), before.digest(), "at {len}");
            again.update(&bytes[len..]);
            assert_eq!(again.digest(), whole(&bytes).digest(), "from {len} on");
        }
    }

    #[test]
    fn one_byte_changes_it() {
        let mut bytes = vec![7; 70_000];
        let before = whole(&bytes).digest();
        bytes[3] = 8;
        assert_ne!(before, whole(&bytes).digest());
    }
}
