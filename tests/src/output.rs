//! What the File sink holds: every record and every ledger entry, in the order in which they were written.

mod record;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

pub use record::{Entry, Fragment, Id, Loss, Record, Text};

use record::Parsed;

/// The sink's content.
#[derive(Debug, Default, Clone)]
pub struct Output {
    /// Its files, the oldest first.
    pub files: Vec<PathBuf>,
    /// The records of sources.
    pub records: Vec<Record>,
    /// The ledger entries.
    pub entries: Vec<Entry>,
    /// Lines that are no record at all, with their place and the reason.
    pub malformed: Vec<String>,
}

impl Output {
    /// Reads a File sink's live file and everything that was rotated away from it.
    pub fn read(live: &Path) -> Result<Self> {
        let mut output = Self::default();
        for path in files(live)? {
            output.read_file(&path).with_context(|| format!("failed to read {}", path.display()))?;
        }
        Ok(output)
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let number = self.files.len();
        self.files.push(path.to_owned());
        let mut reader = BufReader::with_capacity(1 << 16, open(path)?);
        let mut line = Vec::new();
        for at in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            self.take(&line, number, at);
        }
        Ok(())
    }

    /// Takes one line of a file.
    pub fn take(&mut self, line: &[u8], file: usize, at: usize) {
        let parsed = match line.strip_suffix(b"\n") {
            None => Err("torn".to_owned()),
            Some(whole) => serde_json::from_slice::<Value>(whole)
                .map_err(|error| error.to_string())
                .and_then(|value| Parsed::new(&value, file, at)),
        };
        match parsed {
            Ok(Parsed::Record(record)) => self.records.push(record),
            Ok(Parsed::Entry(entry)) => self.entries.push(entry),
            Err(why) => {
                let shown = String::from_utf8_lossy(&line[..line.len().min(160)]).into_owned();
                self.malformed.push(format!("{}:{at}: {why}: {shown:?}", self.files[file].display()));
            }
        }
    }

    /// The ledger's losses.
    pub fn losses(&self) -> impl Iterator<Item = &Loss> {
        self.entries.iter().filter_map(|entry| entry.loss.as_ref())
    }

    /// The ledger entries of one action.
    pub fn actions<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.action == action)
    }

    /// The texts of all records of a source, in order; text that is not UTF-8 is given as it was.
    pub fn texts(&self, source: &str) -> Vec<Vec<u8>> {
        self.records
            .iter()
            .filter(|record| &*record.source == source)
            .map(|record| record.text.bytes().to_vec())
            .collect()
    }
}

/// The files of a sink: the rotated ones by their names, then the live one.
pub fn files(live: &Path) -> Result<Vec<PathBuf>> {
    let folder = live.parent().context("a sink's file has a folder")?;
    let stem = live.file_stem().context("a sink's file has a name")?;
    let mut found = Vec::new();
    if folder.exists() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
            if name.starts_with(stem.as_bytes()) && path != live && path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort_by_key(|path| turn(path));
    if live.exists() {
        found.push(live.to_owned());
    }
    Ok(found)
}

/// The place of a rotated file among the others: its cycle, and its number in it, of which the hundredth has more digits.
fn turn(path: &Path) -> (String, u64) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split(['~', '.']).next().unwrap_or_default().to_owned();
    let number = name.split_once('~').and_then(|(_, rest)| rest.split('.').next()?.parse().ok());
    (stem, number.unwrap_or(0))
}

/// Opens a file for reading, decompressed by what its name says.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = BufReader::with_capacity(1 << 16, File::open(path)?);
    Ok(match path.extension().and_then(OsStr::to_str) {
        Some("gz") => Box::new(MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hundredth_file_comes_after_the_ninety_ninth() {
        let mut names = ["audit_2~01.log", "audit_1~100.log.gz", "audit_1~99.log", "audit_1.log.gz"].map(PathBuf::from);
        names.sort_by_key(|path| turn(path));
        assert_eq!(
            names,
            ["audit_1.log.gz", "audit_1~99.log", "audit_1~100.log.gz", "audit_2~01.log"].map(PathBuf::from)
        );
    }
}
