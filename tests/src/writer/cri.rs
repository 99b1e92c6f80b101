//! Lines as a container runtime wraps them, long ones in pieces, rotated as the kubelet does: rename, and compress the one before.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::pack::{Packing, pack};
use super::{Actor, Live, Scribe};
use crate::book::{Hash, Span, hash};

/// Rotated files that the kubelet keeps.
const KEEP: usize = 4;
/// Between two rotations at least: the kubelet looks every ten seconds.
const APART: Duration = Duration::from_millis(400);

struct Runtime {
    live: Live,
    folder: PathBuf,
    rotations: u64,
    rotated: Instant,
    old: VecDeque<(PathBuf, Packing, usize)>,
}

/// A container that writes to standard output.
pub fn make(scribe: &mut Scribe) -> Result<Box<dyn Actor>> {
    let folder = scribe.path("default_gateway-0_8b1f7a52-9f0c-4f9e-8a64-0f3f3a6f2d11/proxy");
    fs::create_dir_all(&folder)?;
    let live = Live::create(&scribe.book, &folder.join("0.log"))?;
    Ok(Box::new(Runtime { live, folder, rotations: 0, rotated: Instant::now(), old: VecDeque::new() }))
}

/// Wraps a piece of a line.
pub fn wrap(output: &str, tag: char, text: &[u8]) -> Vec<u8> {
    let mut raw = format!("{:.9} {output} {tag} ", Timestamp::now()).into_bytes();
    raw.extend_from_slice(text);
    raw.push(b'\n');
    raw
}

impl Runtime {
    fn line(&mut self, scribe: &mut Scribe) -> Result<()> {
        let mut text = scribe.text();
        if scribe.rng.chance(20) {
            let more = scribe.rng.within(100..40_000) as usize;
            text += &scribe.rng.text(more);
        }
        let mut parts: Vec<(Span, Vec<u8>)> = Vec::new();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let most = if rest.len() < 200 { rest.len() } else { 16 << 10 };
            let (piece, left) =
                rest.split_at(rest.len().min(scribe.rng.within(1..most as u64 + 1).max(most as u64 / 2) as usize));
            rest = left;
            if parts.last().is_some() && scribe.rng.chance(3) && self.rotated.elapsed() > APART {
                // The runtime reopens its log between two pieces of a line.
                self.rotate(scribe)?;
            }
            let raw = wrap("stdout", if rest.is_empty() { 'F' } else { 'P' }, piece);
            self.live.raw(&raw)?;
            let span = scribe.book.open().extend(self.live.incarnation, raw.len() as u64);
            match parts.last_mut() {
                Some((last, held)) if last.incarnation == span.incarnation => {
                    last.len += span.len;
                    held.extend_from_slice(piece);
                }
                _ => parts.push((span, piece.to_vec())),
            }
        }
        let mut book = scribe.book.open();
        if let [(whole, _)] = &parts[..] {
            book.lines.push(crate::book::Line { text: hash(text.as_bytes()), at: *whole, pieces: None, common: false });
        } else {
            let pieces: Vec<(Span, Hash)> = parts.iter().map(|(span, piece)| (*span, hash(piece))).collect();
            book.split(text.as_bytes(), pieces);
        }
        Ok(())
    }

    fn rotate(&mut self, scribe: &mut Scribe) -> Result<()> {
        self.rotations += 1;
        self.rotated = Instant::now();
        let name = format!("0.log.20261122-{:06}", self.rotations);
        let rotated = self.folder.join(name);
        fs::rename(&self.live.path, &rotated)?;
        let was = self.live.incarnation;
        self.live = Live::create(&scribe.book, &self.folder.join("0.log"))?;
        if let Some((path, packing, _)) = self.old.back_mut() {
            *path = pack(path, Packing::Gzip, &mut scribe.rng)?;
            *packing = Packing::Gzip;
        }
        self.old.push_back((rotated, Packing::None, was));
        Ok(())
    }
}

impl Actor for Runtime {
    fn step(&mut self, scribe: &mut Scribe) -> Result<()> {
        for _ in 0..scribe.rng.within(1..15) {
            self.line(scribe)?;
        }
        if scribe.rng.chance(6) && self.rotated.elapsed() > APART {
            self.rotate(scribe)?;
        }
        if self.old.len() > KEEP {
            let (path, _, doomed) = &self.old[0];
            if scribe.destroy(&[*doomed], |_| Ok(fs::remove_file(path)?))? {
                self.old.pop_front();
            }
        }
        Ok(())
    }
}
