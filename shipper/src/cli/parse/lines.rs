//! From bytes to frames, for input that nobody writes to any more.

use std::io::{self, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::format::{Extent, Fragment, Frame, extent, record_hash};

/// Longer lines become numbered fragments.
const LONGEST: usize = 1024 * 1024;
/// One byte more than a fragment, so that a full buffer always gives something.
const BUFFER: usize = 2 * LONGEST;

/// Frames of an input. [`Lines::fill`] reads, [`Lines::next`] hands out what is there.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Logical offset of `start`.
    offset: u64,
    seq: u64,
    observed: i64,
    finished: bool,
    /// The line that is being cut: its offset, and the index of the next piece.
    cut: Option<(u64, u32)>,
    /// What a Go program prints over several lines is one record.
    stacks: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, stacks: bool) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            offset: 0,
            seq: 0,
            observed: 0,
            finished: false,
            cut: None,
            stacks,
        }
    }

    /// Reads on. False at the end, when the last frame has been handed out.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if self.finished {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let read = loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        self.finished = read == 0;
        self.observed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|elapsed| i64::try_from(elapsed.as_nanos()).ok())
            .unwrap_or_default();
        if self.offset == 0 && self.buffer[..self.end].starts_with(b"\xef\xbb\xbf") {
            (self.start, self.offset) = (3, 3);
        }
        Ok(true)
    }

    /// The next frame that is complete.
    pub(super) fn next(&mut self) -> Option<Frame<'_>> {
        let pending = &self.buffer[self.start..self.end];
        // What is taken, and how much of it is text.
        let (taken, length, last) = match memchr::memchr(b'\n', &pending[..pending.len().min(LONGEST + 1)]) {
            Some(newline) => (newline + 1, newline, true),
            None if pending.len() > LONGEST => (LONGEST, LONGEST, false),
            None if self.finished && !pending.is_empty() => (pending.len(), pending.len(), true),
            None => return None,
        };
        let (taken, length) =
            match (self.stacks && last && self.cut.is_none()).then(|| extent(pending, LONGEST, self.finished)) {
                Some(Extent::Lines(bytes)) => (bytes, bytes - 1),
                Some(Extent::Unknown) => return None,
                Some(Extent::Line) | None => (taken, length),
            };
        let text = &pending[..length];
        let text = if last { text.strip_suffix(b"\r").unwrap_or(text) } else { text };
        let offset = self.offset;
        self.start += taken;
        self.offset += taken as u64;
        self.seq += 1;
        let fragment = match (self.cut, last) {
            (None, true) => None,
            (cut, last) => {
                let (line, index) = cut.unwrap_or((offset, 0));
                Some(Fragment { line, index, last })
            }
        };
        self.cut = fragment.filter(|fragment| !fragment.last).map(|fragment| (fragment.line, fragment.index + 1));
        Some(Frame {
            text,
            seq: self.seq,
            offset,
            hash: record_hash(text),
            observed: self.observed,
            envelope: None,
            fragment,
            partial: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(input: &[u8]) -> Vec<(Vec<u8>, u64, Option<Fragment>)> {
        let mut lines = Lines::new(input, false);
        let mut frames = Vec::new();
        while lines.fill().unwrap() {
            while let Some(frame) = lines.next() {
                frames.push((frame.text.to_vec(), frame.offset, frame.fragment));
            }
        }
        frames
    }

    #[test]
    fn lines_end_in_either_way_and_the_last_need_not() {
        let found = frames(b"\xef\xbb\xbfa\r\n\nb\r\nlast");
        let found: Vec<(&[u8], u64)> = found.iter().map(|(text, offset, _)| (text.as_slice(), *offset)).collect();
        assert_eq!(found, [(&b"a"[..], 3), (b"", 6), (b"b", 7), (b"last", 10)]);
        assert!(frames(b"").is_empty());
    }

    #[test]
    fn a_long_line_is_cut_into_pieces_that_can_be_joined() {
        let mut input = vec![b'x'; 5 * LONGEST + 7];
        input.extend_from_slice(b"\nnext\n");
        let found = frames(&input);
        assert_eq!(found.len(), 7);
        let joined: usize = found[..6].iter().map(|(text, ..)| text.len()).sum();
        assert_eq!(joined, 5 * LONGEST + 7);
        for (index, (_, _, fragment)) in found[..6].iter().enumerate() {
            assert_eq!(*fragment, Some(Fragment { line: 0, index: index as u32, last: index == 5 }));
        }
        assert_eq!(found[6], (b"next".to_vec(), 5 * LONGEST as u64 + 8, None));
    }
}
