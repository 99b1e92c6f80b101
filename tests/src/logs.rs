//! Log files that only grow, and whether what a sink gave back is what was written: complete, in order, byte for byte.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::output::{Id, Output, Record, Text};
use crate::rng::Rng;

/// Lines that are written with one call.
const BLOCK: usize = 5_000;

/// Files in one folder, each of which is one stream.
#[derive(Debug)]
pub struct Logs {
    folder: PathBuf,
    rng: Rng,
    files: BTreeMap<PathBuf, Log>,
}

#[derive(Debug)]
struct Log {
    file: File,
    bytes: u64,
    written: usize,
    /// What a sink is to have of it, in order.
    lines: Vec<Vec<u8>>,
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrived {
    /// Lines, each counted once.
    pub lines: usize,
    /// Records that came again, under the same id.
    pub repeats: usize,
}

impl Logs {
    /// No files yet, in a folder that is made.
    pub fn new(folder: &Path, rng: Rng) -> Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), rng, files: BTreeMap::new() })
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lines that a sink is to have.
    pub fn len(&self) -> usize {
        self.files.values().map(|log| log.lines.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that were written.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|log| log.bytes).sum()
    }

    /// Appends lines of random text to a file, numbered so that no two are alike.
    pub fn write(&mut self, name: &str, count: usize) -> Result<()> {
        self.write_long(name, count, 1..160)
    }

    /// The same, with texts of so many characters.
    pub fn write_long(&mut self, name: &str, count: usize, length: std::ops::Range<u64>) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let first = self.files.get(&self.folder.join(name)).map_or(0, |log| log.written);
            let block: Vec<String> = (first..first + left.min(BLOCK))
                .map(|number| {
                    let length = self.rng.within(length.clone()) as usize;
                    format!("{name} {number} {}", self.rng.text(length))
                })
                .collect();
            self.lines(name, &block)?;
            left -= block.len();
        }
        Ok(())
    }

    /// Appends these lines to a file with one call.
    pub fn lines(&mut self, name: &str, lines: &[impl AsRef<[u8]>]) -> Result<()> {
        let path = self.folder.join(name);
        if !self.files.contains_key(&path) {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            self.files.insert(path.clone(), Log { file, bytes: 0, written: 0, lines: Vec::new() });
        }
        let log = self.files.get_mut(&path).context("the file was just made")?;
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.as_ref());
            bytes.push(b'\n');
            log.lines.push(line.as_ref().to_vec());
        }
        log.bytes += bytes.len() as u64;
        log.written += lines.len();
        log.file.write_all(&bytes).context("failed to write a log")
    }

    /// No sink is to have these lines: it refuses them.
    pub fn except(&mut self, refused: impl Fn(&[u8]) -> bool) {
        for log in self.files.values_mut() {
            log.lines.retain(|line| !refused(line));
        }
    }

    /// Holds canonical records, in the order in which a sink has them, against what was written: every line once, byte for byte, in the
    /// order of its file, and nothing else. Records that come again must be the same under the same id.
    pub fn check<'a>(&self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Arrived> {
        self.compare(&output(payloads))
    }

    /// The same for documents of an index, which have ids of their own and no order.
    pub fn check_documents(&self, documents: impl IntoIterator<Item = (String, Value)>) -> Result<Arrived> {
        let mut output = Output { files: vec![PathBuf::from("index")], ..Output::default() };
        for (at, (id, record)) in documents.into_iter().enumerate() {
            ensure!(record["waybill"]["id"] == id.as_str(), "{id} holds the record {}", record["waybill"]["id"]);
            output.take(format!("{record}\n").as_bytes(), 0, at);
        }
        output.records.sort_by_key(|record| record.id);
        self.compare(&output)
    }

    fn compare(&self, output: &Output) -> Result<Arrived> {
        let (first, repeats) = first_arrivals(output)?;
        let mut by_path: HashMap<&Path, Vec<&Record>> = HashMap::new();
        for record in &first {
            by_path.entry(Path::new(&*record.path)).or_default().push(record);
        }
        for (path, log) in &self.files {
            let records = by_path.remove(path.as_path()).unwrap_or_default();
            for (at, (record, line)) in records.iter().zip(&log.lines).enumerate() {
                ensure!(
                    record.text.bytes() == line,
                    "{} line {at}: {:?} arrived instead of {:?}",
                    path.display(),
                    String::from_utf8_lossy(record.text.bytes()),
                    String::from_utf8_lossy(line)
                );
            }
            let (came, all) = (records.len(), log.lines.len());
            ensure!(came == all, "{}: {came} records of {all} lines arrived", path.display());
        }
        ensure!(by_path.is_empty(), "records of files that no one wrote: {:?}", by_path.keys());
        Ok(Arrived { lines: first.len(), repeats })
    }
}

/// How many different records arrived.
pub fn count(output: &Output) -> Result<usize> {
    Ok(first_arrivals(output)?.0.len())
}

/// The records without those that came again, each stream in its order.
fn first_arrivals(output: &Output) -> Result<(Vec<&Record>, usize)> {
    ensure!(output.malformed.is_empty(), "no record: {:?}", &output.malformed[..output.malformed.len().min(3)]);
    let (mut first, mut seen, mut repeats) = (Vec::new(), HashMap::<Id, &Text>::new(), 0);
    for record in &output.records {
        match seen.insert(record.id, &record.text) {
            None => first.push(record),
            Some(before) => {
                ensure!(*before == record.text, "two contents under the id {}", record.id);
                repeats += 1;
            }
        }
    }
    let mut last: HashMap<u128, u64> = HashMap::new();
    for record in &first {
        let before = last.insert(record.id.stream, record.seq).unwrap_or(0);
        ensure!(before < record.seq, "{} came first after {before} had come", record.seq);
    }
    Ok((first, repeats))
}

/// The records and ledger entries of canonical JSON texts.
pub fn output<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Output {
    let mut output = Output { files: vec![PathBuf::from("sink")], ..Output::default() };
    let mut line = Vec::new();
    for (at, payload) in payloads.into_iter().enumerate() {
        line.clear();
        line.extend_from_slice(payload);
        line.push(b'\n');
        output.take(&line, 0, at);
    }
    output
}

/// The number of a line that [`Logs::write`] wrote.
pub fn number(line: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(line)?;
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).with_context(|| format!("no number in {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_changed_or_out_of_order_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = Logs::new(&dir.path().join("app"), Rng::new(1)).unwrap();
        logs.write("a.log", 3).unwrap();
        let path = dir.path().join("app/a.log");
        let content = fs::read_to_string(&path).unwrap();
        assert_eq!(logs.bytes(), content.len() as u64);
        let mut offset = 0;
        let records: Vec<String> = content
            .lines()
            .enumerate()
            .map(|(at, line)| {
                let (stream, start) = (format!("{:032x}", 7), offset);
                offset += line.len() + 1;
                let record = serde_json::json!({
                    "event": {"original": line}, "log": {"file": {"path": path}},
                    "waybill": {"id": format!("{stream}-{start:016x}-{at:016x}"), "stream": stream, "offset": start,
                        "seq": at + 1, "source": "app"}});
                record.to_string()
            })
            .collect();
        let bytes = |order: &[usize]| order.iter().map(|at| records[*at].as_bytes()).collect::<Vec<_>>();
        assert_eq!(logs.check(bytes(&[0, 1, 1, 2])).unwrap(), Arrived { lines: 3, repeats: 1 });
        assert!(logs.check(bytes(&[0, 1])).is_err());
        assert!(logs.check(bytes(&[0, 2, 1])).is_err());
        let changed = records[1].replace("a.log 1", "a.log 9");
        assert!(logs.check([records[0].as_bytes(), changed.as_bytes(), records[2].as_bytes()]).is_err());
        logs.except(|line| line.starts_with(b"a.log 1 "));
        assert_eq!(logs.check(bytes(&[0, 2])).unwrap(), Arrived { lines: 2, repeats: 0 });
    }
}
