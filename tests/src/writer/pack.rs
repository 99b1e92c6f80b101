//! Compresses a file as `gzip` and `zstd` do: under the final name from the first byte, then the original goes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::rng::Rng;

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Packing {
    /// The name of the compressed file.
    pub fn name(self, path: &Path) -> PathBuf {
        let mut name = OsString::from(path);
        name.push(match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        });
        name.into()
    }
}

/// Compresses a file and removes the original. The result grows before everyone's eyes, with a rest in the middle.
pub fn pack(path: &Path, packing: Packing, rng: &mut Rng) -> Result<PathBuf> {
    let target = packing.name(path);
    if packing == Packing::None {
        return Ok(target);
    }
    let bytes = fs::read(path)?;
    let middle = rng.within(0..bytes.len() as u64 + 1) as usize;
    let rest = Duration::from_millis(rng.within(0..60));
    let file = File::create(&target)?;
    match packing {
        Packing::Gzip => halves(GzEncoder::new(file, Compression::default()), &bytes, middle, rest)?.finish()?,
        _ => halves(zstd::Encoder::new(file, 3)?, &bytes, middle, rest)?.finish()?,
    };
    fs::remove_file(path)?;
    Ok(target)
}

fn halves<W: Write>(mut encoder: W, bytes: &[u8], middle: usize, rest: Duration) -> Result<W> {
    encoder.write_all(&bytes[..middle])?;
    encoder.flush()?;
    thread::sleep(rest);
    encoder.write_all(&bytes[middle..])?;
    Ok(encoder)
}
