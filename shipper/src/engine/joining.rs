//! A line that its writer split over two files.
//!
//! Only for formats that declare it. The stream that lies aside ends without a newline, and the stream that follows it in the same
//! folder begins with a line that does not parse alone. If the piece at the end does not parse alone either and both together do,
//! they are one record of the first stream; otherwise both go out as they are.

use std::ops::ControlFlow;

use serde_json::json;

use crate::format::{self, Kind as FormatKind};
use crate::source::digest::Digest;
use crate::source::envelope::Output;
use crate::source::frame::{Scratch, frame};
use crate::source::stream::{Place, ReadError, Stream, bytes_path};
use crate::state::StreamId;
use crate::state::entry::{Kind, Position, StreamRecord};
use crate::state::ledger::Action;

use super::ending::folder;
use super::{Engine, Now};

impl Engine {
    /// Whether a stream must wait, because its first line may be the end of another stream's last.
    pub(super) fn holds_for_predecessor(&mut self, id: StreamId) -> bool {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return false };
        if !record.joining || self.streams.get(&id).is_none_or(|s| s.head_checked) {
            return false;
        }
        // In a container's files every line is whole; it is the piece before it that may not be.
        let wrapped = record.envelope != 0;
        let alone = !wrapped && {
            let Some(line) = self.first_line(id, &record) else { return false };
            self.format_of(&record).is_none_or(|kind| format::parses_alone(kind, &line))
        };
        let held = !alone && self.predecessor(id, &record).is_some();
        self.held |= held;
        if !held && let Some(stream) = self.streams.get_mut(&id) {
            stream.head_checked = true;
        }
        held
    }

    fn format_of(&self, record: &StreamRecord) -> Option<FormatKind> {
        self.plan.sources.iter().find(|s| s.name == record.source).map(|s| s.settings.format)
    }

    /// The stream before this one in the same folder, if it has an end about which nothing was decided.
    fn predecessor(&self, id: StreamId, record: &StreamRecord) -> Option<StreamId> {
        let (other, before) = self.stream_before(id, record)?;
        let stream = self.streams.get(&other)?;
        let undecided = before.phase == 0 && before.joined_len == 0;
        // Renamed, or not written any more since this one began: a writer that goes on there does not go on here.
        let renamed = stream.place != Place::At(bytes_path(&before.first_path));
        let lies_aside = renamed || stream.finished || stream.modified < record.begun;
        (undecided && lies_aside && (stream.size > before.frontier.read_from() || stream.is_busy())).then_some(other)
    }

    fn first_line(&mut self, id: StreamId, record: &StreamRecord) -> Option<Vec<u8>> {
        self.line_at(id, record, Position::at(record.begins_at), false).map(|(line, _)| line)
    }

    /// The line at a place, and the place behind it.
    fn line_at(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        at: Position,
        finished: bool,
    ) -> Option<(Vec<u8>, Position)> {
        self.open(id).ok()?;
        let stream = self.streams.get_mut(&id)?;
        let mut buffer = vec![0; stream.framing.window()];
        let n = stream.read(record, at.read_from(), &mut buffer).ok()?;
        let mut out = None;
        frame(&stream.framing, &mut Scratch::default(), at, &buffer[..n], at.read_from(), finished, |r| {
            out = Some((r.text.to_vec(), r.after));
            ControlFlow::Break(())
        });
        out
    }

    /// Decides about the unterminated end of a finished stream, as soon as the stream that follows it shows its first line.
    pub(super) fn decide_join(&mut self, id: StreamId, now: Now) {
        let Some(record) = self.store.model().streams.get(&id) else { return };
        let Some(stream) = self.streams.get(&id) else { return };
        // What a lane that can take nothing still wants of it does not matter here.
        let tail = stream.size > record.frontier.read_from() && stream.finished && !stream.is_busy();
        let (waits, deleted) = (stream.active, stream.place == Place::Unlinked);
        if !record.joining || record.joined_len != 0 || !tail {
            return;
        }
        let record = record.clone();
        if waits && self.line_at(id, &record, record.frontier, false).is_some() {
            // It is not only its end that is left: no lane can take the rest at the moment.
            return;
        }
        let Some((next, follower)) = self.follower(id, &record) else {
            if deleted {
                self.decided(id, record, u64::MAX, None);
            }
            return;
        };
        if self.may_lie_between(id, next) {
            return;
        }
        let Some(kind) = self.format_of(&record).filter(|_| self.is_fresh_follower(&record, next, &follower)) else {
            return self.decided(id, record, u64::MAX, None);
        };
        let head = if record.envelope == 0 {
            self.split_line(kind, (id, &record), (next, &follower))
        } else {
            self.open_pieces((id, &record), (next, &follower))
        };
        match head {
            Head::NotYet => {}
            Head::Another => self.decided(id, record, u64::MAX, None),
            Head::Ends(parts) => self.join(id, record, &parts, now),
        }
    }

    /// Enters that a stream's last record ends in the first bytes of others.
    fn join(&mut self, id: StreamId, record: StreamRecord, parts: &[(StreamId, u64)], now: Now) {
        let own = self.streams.get(&id).map_or(0, |s| s.size);
        let mut digests = Vec::new();
        for (next, len) in parts {
            let Some(follower) = self.store.model().streams.get(next).cloned() else { return };
            let Ok(digest) = self.digest_of(*next, &follower, *len) else { return };
            digests.push((follower, digest));
        }
        let mut at = own;
        for ((next, len), (follower, digest)) in parts.iter().zip(digests) {
            self.begin_behind(*next, follower, *len, &digest);
            let fields = json!({
                "stream": id.to_string(), "at": at, "with": next.to_string(), "bytes": len, "source": record.source,
            });
            self.store.enter(
                now.wall,
                Action::Joined,
                "a line that its writer split over two files was joined",
                &fields,
            );
            at += len;
        }
        let joined_to = parts.iter().flat_map(|(next, _)| next.0).collect();
        let joined_lens = parts.iter().map(|(_, len)| *len).collect();
        self.decided(id, StreamRecord { joined_to, joined_lens, joined_at: own, ..record }, at - own, Some(at));
    }

    /// The first bytes of a stream belong to another one's last record: it begins behind them.
    fn begin_behind(&mut self, id: StreamId, record: StreamRecord, len: u64, digest: &Digest) {
        self.store.put(Kind::StreamPut(StreamRecord {
            begins_at: len,
            frontier: Position::at(len),
            chain: digest.chain().to_vec(),
            digest: digest.digest().to_vec(),
            ..record
        }));
        if let Some(stream) = self.streams.get_mut(&id) {
            // The digest at its beginning is another one now.
            stream.forget_front();
            stream.framed = len;
            stream.head_checked = true;
            stream.wake();
        }
        for lane in &mut self.lanes {
            if let Some(track) = lane.tracks.get_mut(&id) {
                track.settled = Position::at(len);
                track.sent = track.settled;
                self.any_moved = true;
                track.dirty = true;
            }
        }
    }

    /// Whether what follows may be joined: nothing of it was handed out, and the same run of a container wrote it.
    fn is_fresh_follower(&self, record: &StreamRecord, next: StreamId, follower: &StreamRecord) -> bool {
        // If the container was started anew, whoever wrote the piece is gone.
        let same_run = record.envelope == 0 || instance(record) == instance(follower);
        let fresh = follower.frontier == Position::at(follower.begins_at) && follower.begins_at == 0;
        same_run && fresh && self.streams.contains_key(&next)
    }

    /// Whether a line was split by its writer: neither piece parses alone, and the whole does.
    fn split_line(
        &mut self,
        kind: FormatKind,
        before: (StreamId, &StreamRecord),
        next: (StreamId, &StreamRecord),
    ) -> Head {
        let Some((end, _)) = self.line_at(before.0, before.1, before.1.frontier, true) else {
            return Head::NotYet;
        };
        let Some((head, after)) = self.line_at(next.0, next.1, Position::at(0), false) else {
            return Head::NotYet;
        };
        let whole = [end.as_slice(), &head].concat();
        let joins = !format::parses_alone(kind, &end)
            && !format::parses_alone(kind, &head)
            && format::parses_alone(kind, &whole);
        if joins { Head::Ends(vec![(next.0, after.offset)]) } else { Head::Another }
    }

    /// Whether the pieces of a container's line go on at the beginning of the next file, or of more files that hold nothing else,
    /// with nothing in between.
    fn open_pieces(&mut self, before: (StreamId, &StreamRecord), next: (StreamId, &StreamRecord)) -> Head {
        let Some((output, mut last)) = self.open_output(before.0, before.1) else { return Head::Another };
        let (mut id, mut record) = (next.0, next.1.clone());
        let mut parts = Vec::new();
        let mut taken = 0;
        loop {
            if self.open(id).is_err() {
                return Head::NotYet;
            }
            let Some(stream) = self.streams.get_mut(&id) else { return Head::Another };
            let mut buffer = vec![0; stream.framing.window()];
            let Ok(n) = stream.read(&record, 0, &mut buffer) else { return Head::NotYet };
            let mut at = 0;
            while let Some(end) = memchr::memchr(b'\n', &buffer[at..n]) {
                let line = &buffer[at..at + end];
                at += end + 1;
                let piece = stream.framing.envelope.unwrap(line).filter(|piece| piece.output == output);
                let Some(piece) = piece else { return Head::Another };
                // Pieces of another line may follow, if files between the two came and went unseen.
                let time = written(&piece.time);
                if time.zip(last).is_none_or(|(time, last)| time.duration_since(last).abs() > AT_ONCE) {
                    return Head::Another;
                }
                if piece.ends {
                    parts.push((id, at as u64));
                    return Head::Ends(parts);
                }
                last = time;
            }
            taken += n;
            if taken >= stream.framing.window() || at < n && stream.finished {
                return Head::Another;
            }
            if !stream.finished {
                return Head::NotYet;
            }
            // All of it is pieces of the one line.
            let Some((next, follower)) = self.follower(id, &record) else { return Head::NotYet };
            if self.may_lie_between(id, next) {
                return Head::NotYet;
            }
            if !self.is_fresh_follower(&record, next, &follower) {
                return Head::Another;
            }
            parts.push((id, n as u64));
            (id, record) = (next, follower);
        }
    }

    /// The output of a finished stream's unfinished line, if there is just one, and when its last piece was written.
    fn open_output(&mut self, id: StreamId, record: &StreamRecord) -> Option<(Output, Option<jiff::Timestamp>)> {
        self.open(id).ok()?;
        let stream = self.streams.get_mut(&id)?;
        let from = record.frontier.read_from();
        let mut buffer = vec![0; (stream.size.saturating_sub(from) as usize).min(2 * stream.framing.window())];
        let n = stream.read(record, from, &mut buffer).ok()?;
        let mut open = Vec::new();
        frame(&stream.framing, &mut Scratch::default(), record.frontier, &buffer[..n], from, true, |r| {
            open.extend(r.envelope.filter(|_| r.partial).map(|(_, output)| output));
            ControlFlow::Continue(())
        });
        let [output] = open[..] else { return None };
        let pieces = buffer[..n].split(|b| *b == b'\n').rev().filter_map(|line| stream.framing.envelope.unwrap(line));
        let last = pieces.filter(|piece| piece.output == output).find_map(|piece| written(&piece.time));
        Some((output, last))
    }

    fn decided(&mut self, id: StreamId, record: StreamRecord, joined_len: u64, size: Option<u64>) {
        self.store.put(Kind::StreamPut(StreamRecord { joined_len, ..record }));
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.wake();
            if let Some(size) = size {
                stream.size = size;
            }
        }
        self.streams.values_mut().filter(|s| !s.head_checked).for_each(Stream::wake);
        self.stuck = false;
    }

    /// The content of a stream that held the rest of a joined record is lost: if the record was not handed out whole, its beginning
    /// goes out as it is.
    fn part(&mut self, record: &StreamRecord) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(id) = StreamId::from_slice(&record.id) else { return Ok(None) };
        if record.frontier.offset > record.joined_at {
            return Err(ReadError::Missing { to: record.frontier });
        }
        let path = bytes_path(&record.first_path);
        let fields = json!({
            "stream": id.to_string(), "source": record.source, "path": path.to_string_lossy(),
            "lane": "*", "from": record.joined_at, "to": record.joined_at + record.joined_len, "bytes": 0, "more": false,
            "reason": "the file that held the rest of a line was removed before it was delivered",
        });
        let message = format!("the rest of a line of {} is lost with the file that held it", path.display());
        let now = self.last_turn.unwrap_or_else(Now::read);
        self.store.enter(now.wall, Action::Loss, message, &fields);
        let apart = StreamRecord { joined_to: Vec::new(), joined_lens: Vec::new(), ..record.clone() };
        self.decided(id, apart, u64::MAX, Some(record.joined_at));
        Ok(None)
    }

    /// Whether a stream's first bytes end another one's last record, which some lane has not settled.
    pub(super) fn is_lent(&self, id: StreamId) -> bool {
        self.store.model().streams.iter().any(|(borrower, r)| {
            let to = r.joined_at + r.joined_len;
            r.phase == 0
                && r.is_joined()
                && r.joins().iter().any(|(lender, _)| *lender == id)
                && self.lanes.iter().filter_map(|l| l.tracks.get(borrower)).any(|t| t.settled.offset < to)
        })
    }

    fn digest_of(&mut self, id: StreamId, record: &StreamRecord, len: u64) -> Result<Digest, ReadError> {
        let mut digest = Digest::default();
        let mut buffer = vec![0; len as usize];
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.read(record, 0, &mut buffer)?;
            digest.update(&buffer);
        }
        Ok(digest)
    }

    /// The bytes that another stream holds of this one's last record.
    pub(super) fn joined_suffix(&mut self, record: &StreamRecord) -> Result<Option<Vec<u8>>, ReadError> {
        if !record.is_joined() {
            return Ok(None);
        }
        let mut suffix = Vec::new();
        for (next, len) in record.joins() {
            let follower = self.store.model().streams.get(&next).filter(|r| r.phase == 0).cloned();
            let Some(follower) = follower else { return self.part(record) };
            self.open(next)?;
            let Some(stream) = self.streams.get_mut(&next) else { return self.part(record) };
            let mut part = vec![0; len as usize];
            let n = stream.read(&follower, 0, &mut part)?;
            suffix.extend_from_slice(&part[..n]);
        }
        Ok(Some(suffix))
    }
}

/// How far apart two pieces of a container's line may be written: the runtime cuts a long line as it reads it.
const AT_ONCE: jiff::SignedDuration = jiff::SignedDuration::from_millis(200);

/// When the runtime wrote a piece.
fn written(time: &[u8]) -> Option<jiff::Timestamp> {
    std::str::from_utf8(time).ok()?.parse().ok()
}

/// What the next file's beginning is to the unfinished line before it.
enum Head {
    /// Not enough of it is there to say.
    NotYet,
    /// Nothing.
    Another,
    /// Its first bytes, this many, end the line; or all bytes of some files and the first of the last one.
    Ends(Vec<(StreamId, u64)>),
}

/// What the files of one run of a container have in common: `0` of `0.log` and of `0.log.20261122-101500`. The next run's is `1.log`.
fn instance(record: &StreamRecord) -> &[u8] {
    let name = &record.first_path[folder(record).len()..];
    let end = memchr::memmem::find(name, b".log").unwrap_or(name.len());
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_one_run_of_a_container_belong_together() {
        let at = |path: &str| StreamRecord { first_path: path.into(), ..StreamRecord::default() };
        assert_eq!(instance(&at("/p/c/0.log")), instance(&at("/p/c/0.log.20261122-000009.gz")));
        assert_ne!(instance(&at("/p/c/0.log")), instance(&at("/p/c/1.log")));
        assert_eq!(instance(&at("/d/ab-json.log")), instance(&at("/d/ab-json.log.1")));
    }
}
