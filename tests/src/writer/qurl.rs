//! Writes as the qURL Connector does: JSON lines through a buffer whose chunks do not align with lines, over a rotator that looks
//! at whole chunks. So a line may begin in `audit-<time>.log` and end in the next `audit.log`. Backups are compressed later.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use jiff::{Timestamp, tz::TimeZone};

use super::pack::{Packing, pack};
use super::{Actor, Live, Scribe};
use crate::book::{Span, hash};

/// How large the buffer, the file and the number of backups are.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Bytes of a chunk; 64 KiB in the genuine program.
    pub chunk: usize,
    /// Bytes of a file.
    pub file: u64,
    /// Backups that stay.
    pub backups: usize,
}

/// The writer; also used for the demo.
#[derive(Debug)]
pub struct Connector {
    sizes: Sizes,
    live: Live,
    buffer: Vec<u8>,
    /// Lines that are not wholly written yet.
    pending: VecDeque<Pending>,
    backups: VecDeque<(PathBuf, Packing, usize)>,
}

#[derive(Debug)]
struct Pending {
    text: String,
    written: usize,
    parts: Vec<Span>,
}

/// A writer with small chunks, so that it rotates often.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    Ok(Box::new(Connector::new(scribe, Sizes { chunk: 4 << 10, file: 40 << 10, backups: 8 })?))
}

impl Connector {
    /// A connector with a fresh `audit.log`.
    pub fn new(scribe: &Scribe, sizes: Sizes) -> Result<Self> {
        let live = Live::create(&scribe.book, &scribe.path("audit.log"))?;
        Ok(Self { sizes, live, buffer: Vec::new(), pending: VecDeque::new(), backups: VecDeque::new() })
    }

    /// One event through the buffer.
    pub fn event(&mut self, scribe: &mut Scribe) -> Result<()> {
        let text = event(scribe);
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
        self.pending.push_back(Pending { text, written: 0, parts: Vec::new() });
        while self.buffer.len() >= self.sizes.chunk {
            // A split between a text and its newline would leave an empty line; it says nothing about joining.
            let newline_next = self.buffer.get(self.sizes.chunk) == Some(&b'\n');
            self.chunk(scribe, self.sizes.chunk - usize::from(newline_next))?;
        }
        Ok(())
    }

    /// What the program's timer does once a second.
    pub fn flush(&mut self, scribe: &mut Scribe) -> Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.chunk(scribe, self.buffer.len()) }
    }

    fn chunk(&mut self, scribe: &mut Scribe, len: usize) -> Result<()> {
        let size = scribe.book.open().incarnations[self.live.incarnation].size;
        if size + len as u64 > self.sizes.file {
            self.rotate(scribe)?;
        }
        let chunk: Vec<u8> = self.buffer.drain(..len).collect();
        self.live.raw(&chunk)?;
        let (mut left, mut book) = (len, scribe.book.open());
        while left > 0 {
            let Some(line) = self.pending.front_mut() else { break };
            let take = left.min(line.text.len() + 1 - line.written);
            let span = book.extend(self.live.incarnation, take as u64);
            match line.parts.last_mut() {
                Some(last) if last.incarnation == span.incarnation => last.len += span.len,
                _ => line.parts.push(span),
            }
            line.written += take;
            left -= take;
            if line.written > line.text.len() {
                line.enter(&mut book);
                self.pending.pop_front();
            }
        }
        Ok(())
    }

    fn rotate(&mut self, scribe: &mut Scribe) -> Result<()> {
        let mut backup;
        loop {
            let now = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
            backup = scribe.path(&format!("audit-{now}.log"));
            if !backup.exists() {
                break;
            }
        }
        fs::rename(&self.live.path, &backup)?;
        self.backups.push_back((backup, Packing::None, self.live.incarnation));
        self.live = Live::create(&scribe.book, &scribe.path("audit.log"))?;
        Ok(())
    }

    /// Compresses the newest backup that is not yet, and removes those that are too many.
    pub fn tidy(&mut self, scribe: &mut Scribe) -> Result<()> {
        if let Some((path, packing, _)) =
            self.backups.iter_mut().rev().find(|(_, packing, _)| *packing == Packing::None)
        {
            *path = pack(path, Packing::Gzip, &mut scribe.rng)?;
            *packing = Packing::Gzip;
        }
        if self.backups.len() > self.sizes.backups {
            let (path, _, doomed) = &self.backups[0];
            if scribe.destroy(&[*doomed], |_| Ok(fs::remove_file(path)?))? {
                self.backups.pop_front();
            }
        }
        Ok(())
    }
}

impl Pending {
    fn enter(&self, book: &mut crate::book::Book) {
        if let [whole] = self.parts[..] {
            book.lines.push(crate::book::Line {
                text: hash(self.text.as_bytes()),
                at: whole,
                pieces: None,
                common: false,
            });
            return;
        }
        let mut rest = self.text.as_bytes();
        let piece = |span: &Span| {
            let (piece, left) = rest.split_at(rest.len().min(span.len as usize));
            rest = left;
            (*span, hash(piece))
        };
        let pieces = self.parts.iter().map(piece).collect();
        book.split(self.text.as_bytes(), pieces);
    }
}

/// An event in the program's order of fields, empty ones left out.
fn event(scribe: &mut Scribe) -> String {
    const KINDS: [(&str, &str, &str); 5] = [
        ("knock.success", "allow", "success"),
        ("login.success", "allow", "success"),
        ("proxy.allow", "allow", "allow"),
        ("knock.deny", "deny_invalid_signature", "deny"),
        ("proxy.error", "error", "error"),
    ];
    let (kind, action, outcome) = *scribe.rng.pick(&KINDS);
    let now = Timestamp::now();
    let number = scribe.number();
    let rest = match outcome {
        "deny" => r#","reason":"signature_mismatch""#,
        "error" => r#","error":"dial tcp 10.0.0.9:443: i/o timeout""#,
        _ => r#","latency_ms":12"#,
    };
    let (len, host) = (scribe.rng.within(1..90) as usize, scribe.rng.within(1..6));
    format!(
        r#"{{"ts":"{now:.9}","event":"qurl.connector.{kind}","action":"{action}","outcome":"{outcome}","actor":"user-{}","trace_id":"{}-{number:08}","session_id":"{}","source_ip":"203.0.113.{host}","source_port":{}{rest},"machine_id":"gw-1","proxy_version":"0.12.{number}"}}"#,
        scribe.rng.within(1..20),
        scribe.name,
        scribe.rng.text(len),
        scribe.rng.within(1024..65536),
    )
}

impl Actor for Connector {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        for _ in 0..scribe.rng.within(1..12) {
            self.event(scribe)?;
        }
        if scribe.rng.chance(10) {
            self.flush(scribe)?;
        }
        if scribe.rng.chance(10) {
            self.tidy(scribe)?;
        }
        Ok(())
    }

    fn finish(&mut self, scribe: &mut Scribe) -> Result<()> {
        self.flush(scribe)
    }
}
