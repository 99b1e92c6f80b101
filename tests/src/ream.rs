//! Plain log files for a sink that is read back: what was written, and whether that is what arrived.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::output::{Output, Record};
use crate::rng::Rng;

/// Files that only grow, each of which is one stream.
#[derive(Debug)]
pub struct Ream {
    folder: PathBuf,
    rng: Rng,
    files: BTreeMap<PathBuf, (File, Vec<Vec<u8>>)>,
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// Lines, each counted once.
    pub lines: usize,
    /// Records that came again, under the same id.
    pub repeats: usize,
}

impl Ream {
    /// No files yet.
    pub fn new(folder: &Path, rng: Rng) -> Self {
        Self { folder: folder.to_owned(), rng, files: BTreeMap::new() }
    }

    /// Lines that were written.
    pub fn len(&self) -> usize {
        self.files.values().map(|(_, lines)| lines.len()).sum()
    }

    /// Bytes that were written.
    pub fn bytes(&self) -> u64 {
        self.files.values().flat_map(|(_, lines)| lines).map(|line| line.len() as u64 + 1).sum()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends lines of random text to a file.
    pub fn write(&mut self, name: &str, count: usize) -> Result<()> {
        let mut rng = self.rng.fork();
        let text = move |_| {
            let len = rng.within(1..160) as usize;
            rng.text(len).into_bytes()
        };
        self.append(name, (0..count).map(text))
    }

    /// Appends a line with this text.
    pub fn write_text(&mut self, name: &str, text: &[u8]) -> Result<()> {
        self.append(name, std::iter::once(text.to_vec()))
    }

    /// Appends lines, numbered so that no two are alike.
    fn append(&mut self, name: &str, texts: impl Iterator<Item = Vec<u8>>) -> Result<()> {
        let path = self.folder.join(name);
        if !self.files.contains_key(&path) {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            self.files.insert(path.clone(), (file, Vec::new()));
        }
        let (file, lines) = self.files.get_mut(&path).context("the file was just made")?;
        let mut bytes = Vec::new();
        for text in texts {
            let line = [format!("{name} {} ", lines.len()).as_bytes(), &text].concat();
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
            lines.push(line);
        }
        Ok(file.write_all(&bytes)?)
    }

    /// Holds canonical records, as a sink gave them back, against what was written: every line, byte for byte, in the order of its file,
    /// and nothing else. Records that come again must bear the same id.
    pub fn check<'a>(&self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Arrived> {
        let mut output = Output { files: vec![PathBuf::from("sink")], ..Output::default() };
        for (at, payload) in payloads.into_iter().enumerate() {
            output.take(&[payload, b"\n"].concat(), 0, at);
        }
        ensure!(output.malformed.is_empty(), "no record: {}", output.malformed[0]);
        let mut arrived = Arrived::default();
        let mut by_path: HashMap<&Path, Vec<&Record>> = HashMap::new();
        let mut seen = HashSet::new();
        for record in &output.records {
            if seen.insert(record.id) {
                by_path.entry(Path::new(&*record.path)).or_default().push(record);
            } else {
                arrived.repeats += 1;
            }
        }
        for (path, (_, lines)) in &self.files {
            let records = by_path.remove(path.as_path()).unwrap_or_default();
            for (at, (record, line)) in records.iter().zip(lines).enumerate() {
                ensure!(
                    record.text.bytes() == line,
                    "{} line {at}: {:?} arrived instead of {:?}",
                    path.display(),
                    String::from_utf8_lossy(record.text.bytes()),
                    String::from_utf8_lossy(line)
                );
            }
            ensure!(
                records.len() == lines.len(),
                "{}: {} records of {} lines arrived",
                path.display(),
                records.len(),
                lines.len()
            );
            arrived.lines += lines.len();
        }
        ensure!(by_path.is_empty(), "records of files that no one wrote: {:?}", by_path.keys());
        Ok(arrived)
    }
}
