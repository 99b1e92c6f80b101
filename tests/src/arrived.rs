//! What a server holds of one file, held against the file itself: complete, in order, byte for byte.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::output::{Id, Output, Record, Text};

/// What came, and how often something came again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Different records.
    pub records: usize,
    /// Records that came again under the same id.
    pub repeats: usize,
}

/// Checks that each line of a file arrived: the first arrivals in the file's order, and every repeat the same under the same id.
pub fn whole(output: &Output, file: &Path) -> Result<Arrived> {
    let (first, repeats) = first_arrivals(output)?;
    let content = std::fs::read(file)?;
    let lines: Vec<&[u8]> = content.strip_suffix(b"\n").unwrap_or(&content).split(|byte| *byte == b'\n').collect();
    for (at, (line, record)) in lines.iter().zip(&first).enumerate() {
        ensure!(
            record.text.bytes() == *line,
            "arrival {at} is {:?}, the line is {:?}",
            String::from_utf8_lossy(record.text.bytes()),
            String::from_utf8_lossy(line)
        );
    }
    ensure!(first.len() == lines.len(), "{} different records of {} lines arrived", first.len(), lines.len());
    Ok(Arrived { records: first.len(), repeats })
}

/// How many different records arrived.
pub fn count(output: &Output) -> Result<usize> {
    Ok(first_arrivals(output)?.0.len())
}

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

/// The records of canonical JSON lines.
pub fn output<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Output {
    let mut output = Output::default();
    for (at, line) in lines.into_iter().enumerate() {
        let mut line = line.to_vec();
        line.push(b'\n');
        output.take(&line, 0, at + 1);
    }
    output
}

/// Reads a record's number out of a line that a test wrote as `… number …`: for tests that ask which are missing.
pub fn number(text: &[u8], at: usize) -> Result<u64> {
    let text = std::str::from_utf8(text)?;
    text.split(' ').nth(at).and_then(|word| word.parse().ok()).with_context(|| format!("no number in {text:?}"))
}
