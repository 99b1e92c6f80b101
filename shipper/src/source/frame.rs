//! From bytes to records, synchronously and without I/O.
//!
//! A record ends at its newline and never by a timer; only where the caller knows that a file is finished does an unterminated
//! end become a record. A line longer than the bound leaves in numbered fragments that concatenate to the line. The result depends
//! on the bytes and the framing alone, never on where reads begin and end, so that ids hold.

use std::ops::ControlFlow;

use crate::format::{self, Extent, Fragment, Kind};
use crate::state::entry::{Open, Position};

use super::envelope::{Envelope, Output};

/// How the text of a stream is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encoding {
    /// Bytes, as a rule UTF-8; a UTF-8 mark at the beginning is not part of the first line.
    #[default]
    Bytes,
    /// UTF-16, least significant byte first.
    Utf16Le,
    /// UTF-16, most significant byte first.
    Utf16Be,
    /// Bytes, of which a Go program's panic with its stacks is one record, and its banner another.
    Stacked,
}

impl Encoding {
    /// Recognises a stream's encoding by its first bytes.
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            _ => Self::Bytes,
        }
    }

    /// The same, for the lines of a format.
    #[must_use]
    pub fn of(self, format: Kind) -> Self {
        if self == Self::Bytes && format::stacks(format) { Self::Stacked } else { self }
    }

    /// The number in [`crate::state::entry::StreamRecord::encoding`].
    pub fn number(self) -> u32 {
        match self {
            Self::Bytes => 0,
            Self::Utf16Le => 1,
            Self::Utf16Be => 2,
            Self::Stacked => 3,
        }
    }

    /// Reads that number.
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Utf16Le,
            2 => Self::Utf16Be,
            3 => Self::Stacked,
            _ => Self::Bytes,
        }
    }
}

/// What a stream's records depend on, beside its bytes. Kept with the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// Longest line that stays whole, in bytes of text; at least 16.
    pub bound: usize,
    /// What is taken off each line.
    pub envelope: Envelope,
    /// How the text is written.
    pub encoding: Encoding,
}

/// Bytes beyond the bound that a wrapped line may take before it is treated as not wrapped: 16 KiB of text, escaped.
const WRAPPING: usize = 128 << 10;

impl Framing {
    /// Bytes that a buffer must offer for a record to be found for certain.
    pub fn window(&self) -> usize {
        self.line_bound() + 4
    }

    fn line_bound(&self) -> usize {
        match self.envelope {
            Envelope::None => self.bound.max(16) & !1,
            Envelope::Cri | Envelope::Docker => self.bound.max(16) + WRAPPING,
        }
    }
}

/// A record as it was framed.
#[derive(Debug)]
pub struct Framed<'a> {
    /// The text, unwrapped, without its terminator.
    pub text: &'a [u8],
    /// Offset of its first byte.
    pub offset: u64,
    /// Bytes of the stream that it takes, terminators and wrapping included.
    pub bytes: u64,
    /// Its place in the stream, from 1.
    pub seq: u64,
    /// The place behind it.
    pub after: Position,
    /// RFC 3339 time and output of a container's line.
    pub envelope: Option<(&'a [u8], Output)>,
    /// A piece of a longer line.
    pub fragment: Option<Fragment>,
    /// Its writer did not finish it.
    pub partial: bool,
}

/// Buffers that framing reuses.
#[derive(Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
    stdout: Pieces,
    stderr: Pieces,
}

#[derive(Debug, Default)]
struct Pieces {
    text: Vec<u8>,
    time: Vec<u8>,
    bytes: u64,
}

impl Pieces {
    fn clear(&mut self) {
        self.text.clear();
        self.time.clear();
        self.bytes = 0;
    }

    fn push(&mut self, piece: &super::envelope::Piece<'_>, bytes: u64) {
        if self.text.is_empty() && self.bytes == 0 {
            self.time.clear();
            self.time.extend_from_slice(&piece.time);
        }
        self.text.extend_from_slice(&piece.text);
        self.bytes += bytes;
    }
}

/// One line of the file.
struct Line<'a> {
    text: &'a [u8],
    bytes: usize,
    end: End,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum End {
    Newline,
    /// Longer than the bound: this is as much as fits.
    Bound,
    /// The end of a finished file.
    File,
}

/// Frames the records that `buffer` holds from `start` on, and returns the place behind the last one.
///
/// `buffer` begins at the stream's offset `at`, which is [`Position::read_from`] of `start`. `finished` says that the stream ends with
/// the buffer and that nobody will write more. `each` may stop the framing.
pub fn frame<F>(
    framing: &Framing,
    scratch: &mut Scratch,
    start: Position,
    buffer: &[u8],
    at: u64,
    finished: bool,
    mut each: F,
) -> Position
where
    F: FnMut(&Framed<'_>) -> ControlFlow<()>,
{
    match framing.envelope {
        Envelope::None => plain(framing, scratch, start, buffer, at, finished, &mut each),
        Envelope::Cri | Envelope::Docker => wrapped(framing, scratch, start, buffer, at, finished, &mut each),
    }
}

fn next_line<'a>(rest: &'a [u8], bound: usize, encoding: Encoding, finished: bool) -> Option<Line<'a>> {
    let window = &rest[..rest.len().min(bound + 4)];
    if let Some((content, terminated)) = newline(window, encoding) {
        if content <= bound {
            return Some(Line { text: &rest[..content], bytes: terminated, end: End::Newline });
        }
        return Some(Line { text: &rest[..bound], bytes: bound, end: End::Bound });
    }
    if rest.len() >= bound + 4 {
        return Some(Line { text: &rest[..bound], bytes: bound, end: End::Bound });
    }
    if !finished || rest.is_empty() {
        return None;
    }
    if rest.len() > bound {
        return Some(Line { text: &rest[..bound], bytes: bound, end: End::Bound });
    }
    Some(Line { text: rest, bytes: rest.len(), end: End::File })
}

/// Length of the first line's text and of the text with its terminator.
fn newline(window: &[u8], encoding: Encoding) -> Option<(usize, usize)> {
    let (low, high) = match encoding {
        Encoding::Bytes | Encoding::Stacked => {
            let at = memchr::memchr(b'\n', window)?;
            let content = if at > 0 && window[at - 1] == b'\r' { at - 1 } else { at };
            return Some((content, at + 1));
        }
        Encoding::Utf16Le => (0, 1),
        Encoding::Utf16Be => (1, 0),
    };
    let unit = |at: usize| window.get(at..at + 2).map(|u| u16::from(u[low]) | u16::from(u[high]) << 8);
    let at = memchr::memchr_iter(b'\n', window).map(|at| at & !1).find(|at| unit(*at) == Some(0x0a))?;
    let content = if at >= 2 && unit(at - 2) == Some(0x0d) { at - 2 } else { at };
    Some((content, at + 2))
}

fn decode<'a>(text: &'a [u8], encoding: Encoding, first: bool, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let big = match encoding {
        Encoding::Bytes | Encoding::Stacked if first => return text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
        Encoding::Bytes | Encoding::Stacked => return text,
        Encoding::Utf16Le => false,
        Encoding::Utf16Be => true,
    };
    scratch.clear();
    let units = text
        .chunks_exact(2)
        .map(|u| if big { u16::from_be_bytes([u[0], u[1]]) } else { u16::from_le_bytes([u[0], u[1]]) });
    let skip = usize::from(first);
    for unit in char::decode_utf16(units.skip(skip)) {
        let mut utf8 = [0; 4];
        scratch.extend_from_slice(unit.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut utf8).as_bytes());
    }
    // Half a unit at the end of a finished file is kept visible.
    if text.len() % 2 == 1 {
        scratch.extend_from_slice("\u{fffd}".as_bytes());
    }
    scratch
}

fn plain(
    framing: &Framing,
    scratch: &mut Scratch,
    start: Position,
    buffer: &[u8],
    at: u64,
    finished: bool,
    each: &mut dyn FnMut(&Framed<'_>) -> ControlFlow<()>,
) -> Position {
    let mut position = start;
    let bound = framing.line_bound();
    while let Some(rest) = buffer.get((position.offset - at) as usize..) {
        let Some(mut line) = next_line(rest, bound, framing.encoding, finished) else {
            break;
        };
        if framing.encoding == Encoding::Stacked && line.end == End::Newline && position.long.is_none() {
            match format::extent(rest, bound, finished) {
                Extent::Line => {}
                Extent::Lines(bytes) => {
                    let text = &rest[..bytes - 1];
                    line = Line { text: text.strip_suffix(b"\r").unwrap_or(text), bytes, end: End::Newline };
                }
                Extent::Unknown => break,
            }
        }
        let offset = position.offset;
        let open = position.long.unwrap_or(Open { from: offset, line: offset, index: 0 });
        let goes_on = line.end == End::Bound;
        position.offset += line.bytes as u64;
        position.seq += 1;
        position.long = goes_on.then_some(Open { from: position.offset, line: open.line, index: open.index + 1 });
        let fragment =
            (goes_on || open.index > 0).then_some(Fragment { line: open.line, index: open.index, last: !goes_on });
        let framed = Framed {
            text: decode(line.text, framing.encoding, offset == 0, &mut scratch.text),
            offset,
            bytes: line.bytes as u64,
            seq: position.seq,
            after: position,
            envelope: None,
            fragment,
            partial: line.end == End::File,
        };
        if each(&framed).is_break() {
            break;
        }
    }
    position
}

fn wrapped(
    framing: &Framing,
    scratch: &mut Scratch,
    start: Position,
    buffer: &[u8],
    at: u64,
    finished: bool,
    each: &mut dyn FnMut(&Framed<'_>) -> ControlFlow<()>,
) -> Position {
    scratch.stdout.clear();
    scratch.stderr.clear();
    let mut position = start;
    let mut offset = at;
    while let Some(rest) = buffer.get((offset - at) as usize..) {
        let Some(line) = next_line(rest, framing.line_bound(), Encoding::Bytes, finished) else {
            break;
        };
        let from = offset;
        offset += line.bytes as u64;
        let piece = if line.end == End::Newline { framing.envelope.unwrap(line.text) } else { None };
        if from < start.offset {
            // Passed before: only what belongs to an open line is of interest.
            if let Some(piece) = piece {
                let (open, pieces) = side(&mut position, scratch, piece.output);
                if open.is_some_and(|o| from >= o.from) {
                    pieces.push(&piece, line.bytes as u64);
                }
            }
            continue;
        }
        position.offset = offset;
        let Some(piece) = piece else {
            // Not wrapped, or not whole: a record of its own, so that nothing is left out.
            position.seq += 1;
            let framed = Framed {
                text: line.text,
                offset: from,
                bytes: line.bytes as u64,
                seq: position.seq,
                after: position,
                envelope: None,
                fragment: None,
                partial: line.end != End::Newline,
            };
            if each(&framed).is_break() {
                return position;
            }
            continue;
        };
        let (open, pieces) = side(&mut position, scratch, piece.output);
        let mut current = open.unwrap_or(Open { from, line: from, index: 0 });
        if pieces.bytes > 0 && pieces.text.len() + piece.text.len() > framing.bound {
            let last = current;
            current = Open { from, line: current.line, index: current.index + 1 };
            *open = Some(current);
            let fragment = Fragment { line: last.line, index: last.index, last: false };
            // What follows the fragment begins with this line, which must be read again from there.
            let before = Position { offset: from, ..position };
            position.seq += 1;
            let after = Position { seq: position.seq, ..before };
            if emit(scratch, piece.output, last.from, after, Some(fragment), false, each).is_break() {
                return after;
            }
            let (_, pieces) = side(&mut position, scratch, piece.output);
            pieces.clear();
        }
        let (open, pieces) = side(&mut position, scratch, piece.output);
        pieces.push(&piece, line.bytes as u64);
        *open = Some(current);
        if piece.ends {
            *open = None;
            position.seq += 1;
            let fragment =
                (current.index > 0).then_some(Fragment { line: current.line, index: current.index, last: true });
            let flow = emit(scratch, piece.output, current.from, position, fragment, false, each);
            side(&mut position, scratch, piece.output).1.clear();
            if flow.is_break() {
                return position;
            }
        }
    }
    if finished {
        for output in [Output::Stdout, Output::Stderr] {
            let (open, pieces) = side(&mut position, scratch, output);
            let Some(last) = open.take() else { continue };
            if pieces.bytes == 0 {
                continue;
            }
            position.seq += 1;
            let fragment = (last.index > 0).then_some(Fragment { line: last.line, index: last.index, last: true });
            if emit(scratch, output, last.from, position, fragment, true, each).is_break() {
                return position;
            }
        }
    }
    position
}

fn side<'a>(
    position: &'a mut Position,
    scratch: &'a mut Scratch,
    output: Output,
) -> (&'a mut Option<Open>, &'a mut Pieces) {
    match output {
        Output::Stdout => (&mut position.stdout, &mut scratch.stdout),
        Output::Stderr => (&mut position.stderr, &mut scratch.stderr),
    }
}

fn emit(
    scratch: &mut Scratch,
    output: Output,
    offset: u64,
    after: Position,
    fragment: Option<Fragment>,
    partial: bool,
    each: &mut dyn FnMut(&Framed<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let pieces = match output {
        Output::Stdout => &scratch.stdout,
        Output::Stderr => &scratch.stderr,
    };
    let text = pieces.text.strip_suffix(b"\r").unwrap_or(&pieces.text);
    each(&Framed {
        text,
        offset,
        bytes: pieces.bytes,
        seq: after.seq,
        after,
        envelope: Some((&pieces.time, output)),
        fragment,
        partial,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Framing = Framing { bound: 16, envelope: Envelope::None, encoding: Encoding::Bytes };

    #[derive(Debug, PartialEq, Clone)]
    struct Seen {
        text: Vec<u8>,
        offset: u64,
        bytes: u64,
        seq: u64,
        fragment: Option<Fragment>,
        partial: bool,
    }

    /// Frames `data` in reads that end at the given places, resuming each time from the last record's place.
    fn in_reads(framing: &Framing, data: &[u8], ends: &[usize], finished: bool) -> Vec<Seen> {
        let mut out = Vec::new();
        let mut position = Position::default();
        for (i, end) in ends.iter().chain([&data.len()]).enumerate() {
            let from = position.read_from() as usize;
            if from > *end {
                continue;
            }
            let done = finished && i == ends.len();
            let mut last = position;
            let mut scratch = Scratch::default();
            frame(framing, &mut scratch, position, &data[from..*end], from as u64, done, |r| {
                out.push(Seen {
                    text: r.text.to_vec(),
                    offset: r.offset,
                    bytes: r.bytes,
                    seq: r.seq,
                    fragment: r.fragment,
                    partial: r.partial,
                });
                last = r.after;
                ControlFlow::Continue(())
            });
            position = last;
        }
        out
    }

    fn texts(seen: &[Seen]) -> Vec<String> {
        seen.iter().map(|s| String::from_utf8_lossy(&s.text).into_owned()).collect()
    }

    #[test]
    fn lines_end_at_their_newline_only() {
        let seen = in_reads(&BYTES, b"one\r\ntwo\n\nthr", &[], false);
        assert_eq!(texts(&seen), ["one", "two", ""]);
        assert_eq!(
            seen.iter().map(|s| (s.offset, s.bytes, s.seq)).collect::<Vec<_>>(),
            [(0, 5, 1), (5, 4, 2), (9, 1, 3)]
        );
        let seen = in_reads(&BYTES, b"one\nthr", &[], true);
        assert_eq!(texts(&seen), ["one", "thr"]);
        assert!(seen[1].partial);
    }

    #[test]
    fn the_bound_is_inclusive_and_fragments_join_to_the_line() {
        let exact = in_reads(&BYTES, b"0123456789abcdef\r\n", &[], false);
        assert_eq!(texts(&exact), ["0123456789abcdef"]);
        assert_eq!(exact[0].fragment, None);
        let long = in_reads(&BYTES, b"0123456789abcdefghijklmnopqrstuvwxyz\nnext\n", &[], false);
        assert_eq!(texts(&long), ["0123456789abcdef", "ghijklmnopqrstuv", "wxyz", "next"]);
        assert_eq!(long[2].fragment, Some(Fragment { line: 0, index: 2, last: true }));
        assert_eq!(long[3].fragment, None);
    }

    #[test]
    fn marks_and_utf16() {
        assert_eq!(texts(&in_reads(&BYTES, b"\xef\xbb\xbfa\nb\n", &[], false)), ["a", "b"]);
        for (encoding, mark) in [(Encoding::Utf16Le, [0xff, 0xfe]), (Encoding::Utf16Be, [0xfe, 0xff])] {
            // U+0A0A holds the newline's byte twice and is none.
            let mut data = mark.to_vec();
            for unit in "aä\u{a0a}\r\nb\n".encode_utf16() {
                data.extend(if encoding == Encoding::Utf16Le { unit.to_le_bytes() } else { unit.to_be_bytes() });
            }
            assert_eq!(Encoding::detect(&data), encoding);
            let framing = Framing { encoding, ..BYTES };
            assert_eq!(texts(&in_reads(&framing, &data, &[], false)), ["aä\u{a0a}", "b"]);
        }
    }

    #[test]
    fn pieces_of_a_container_are_joined_and_outputs_may_alternate() {
        let framing = Framing { envelope: Envelope::Cri, bound: 64, ..BYTES };
        let data = b"2026-11-21T22:31:45.1Z stdout P one \n2026-11-21T22:31:45.2Z stderr F err\n2026-11-21T22:31:45.3Z stdout F two\nraw\n";
        let seen = in_reads(&framing, data, &[], false);
        assert_eq!(texts(&seen), ["err", "one two", "raw"]);
        assert_eq!(seen[1].offset, 0);
        assert_eq!(seen.iter().map(|s| s.bytes).sum::<u64>(), data.len() as u64);
        let open = in_reads(&framing, &data[..37], &[], true);
        assert_eq!(texts(&open), ["one "]);
        assert!(open[0].partial);
    }

    proptest::proptest! {
        #[test]
        fn reads_do_not_matter(lines in proptest::collection::vec("[a-z\r]{0,40}", 0..12), mut ends in proptest::collection::vec(0usize..500, 0..8), finished: bool) {
            let data = lines.join("\n").into_bytes();
            ends.iter_mut().for_each(|e| *e = (*e).min(data.len()));
            ends.sort_unstable();
            let whole = in_reads(&BYTES, &data, &[], finished);
            proptest::prop_assert_eq!(&whole, &in_reads(&BYTES, &data, &ends, finished));
            let covered: u64 = whole.iter().map(|s| s.bytes).sum();
            proptest::prop_assert!(!finished || covered == data.len() as u64);
        }

        #[test]
        fn reads_do_not_matter_for_stacks(lines in proptest::collection::vec("(panic: x|goroutine 7 \\[x\\]:|a.b\\(\\)|\t/x.go:1|Xray 1 \\(x\\)|A unified platform for anti-censorship||2026/01/01 x)", 0..14), mut ends in proptest::collection::vec(0usize..400, 0..8), finished: bool) {
            let framing = Framing { encoding: Encoding::Stacked, bound: 64, ..BYTES };
            let data = lines.join("\n").into_bytes();
            ends.iter_mut().for_each(|e| *e = (*e).min(data.len()));
            ends.sort_unstable();
            let whole = in_reads(&framing, &data, &[], finished);
            proptest::prop_assert_eq!(&whole, &in_reads(&framing, &data, &ends, finished));
            let covered: u64 = whole.iter().map(|s| s.bytes).sum();
            proptest::prop_assert!(!finished || covered == data.len() as u64);
        }

        #[test]
        fn reads_do_not_matter_for_containers(pieces in proptest::collection::vec((proptest::bool::ANY, proptest::bool::ANY, "[a-z]{0,30}"), 0..14), mut ends in proptest::collection::vec(0usize..900, 0..8), finished: bool) {
            let framing = Framing { envelope: Envelope::Cri, bound: 50, ..BYTES };
            let data: Vec<u8> = pieces.iter().flat_map(|(out, full, text)| {
                format!("2026-11-21T22:31:45.1Z {} {} {text}\n", if *out { "stdout" } else { "stderr" }, if *full { 'F' } else { 'P' }).into_bytes()
            }).collect();
            ends.iter_mut().for_each(|e| *e = (*e).min(data.len()));
            ends.sort_unstable();
            let whole = in_reads(&framing, &data, &[], finished);
            proptest::prop_assert_eq!(&whole, &in_reads(&framing, &data, &ends, finished));
            let covered: u64 = whole.iter().map(|s| s.bytes).sum();
            proptest::prop_assert!(!finished || covered == data.len() as u64);
        }
    }
}
