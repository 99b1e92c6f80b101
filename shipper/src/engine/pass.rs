//! Reads, frames, parses and encodes once for all lanes that stand at the same place, and hands over.
//!
//! There is no difference between a lane that keeps up and one that lags: the lanes of a stream are grouped by where they stand, and
//! each group is read for on its own, at most up to where the next group stands, so that they meet there and go on as one.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::format::{self, Envelope as FrameEnvelope, Frame, StreamInfo, record_hash};
use crate::lane::chunk::Chunk;
use crate::lane::kill_switch::{self, Effect};
use crate::lane::set::Lanes;
use crate::lane::track::Track;
use crate::plan::{Encoding, SinkKind};
use crate::source::frame::frame;
use crate::source::kubernetes;
use crate::source::stream::{ReadError, Stream, bytes_path};
use crate::state::StreamId;
use crate::state::entry::{CursorRecord, Kind, Position, StreamRecord};

use super::{Engine, Lane, Now, READ};

/// Bytes that one turn may read, so that answers and switches are heard in between; a chunk counts as at least `SMALL`.
const TURN: usize = 16 * READ;
const SMALL: usize = 16 << 10;
/// What one turn may take of the time: where bytes cost much, or the processor is not there, fewer make a turn.
const SPELL: Duration = Duration::from_millis(100);
/// Encoded bytes that fill a chunk, and room for the record that does.
const FULL: usize = 2 * READ;
const LAST: usize = 32 << 10;
/// Bytes that are read at a time at least, if there are so many.
const LEAST: usize = 64 << 10;
/// Bytes under way to a sink on this machine, at most: it answers within milliseconds, and more would only wait.
const LOCAL: usize = 16 << 20;
/// Streams for which what unpacks their files is kept, so that it need not begin anew for each chunk; one for each source, if that is more.
const UNPACKING: usize = 16;
/// After an error of the operating system a stream is not read from for so long.
const PAUSE: Duration = Duration::from_secs(1);
/// Chunks for one stream before another source has its turn, if there is one.
const CHUNKS_EACH: usize = 8;

/// Lanes that stand at the same place of a stream.
#[derive(Debug)]
struct Group {
    at: Position,
    lanes: Vec<u32>,
    /// A kill switch leaves out what lies before this offset: it is framed, counted and not delivered.
    discard: Option<u64>,
    /// From here on a kill switch leaves out: nothing is delivered beyond.
    upto: Option<u64>,
}

enum Step {
    /// A chunk was made, or a range passed, of so many bytes.
    Moved(usize),
    /// Nothing more to read for now.
    Drained,
    /// There is more for these lanes, which are full, or held; `None`: or it cannot be read at the moment.
    Blocked(Option<Lanes>),
}

impl Engine {
    /// Reads for every stream that may have something: a source's oldest first, and the sources in turn, so that the backlog of one
    /// does not hold up another. Says whether there is more to do.
    pub(super) fn pass_all(&mut self, now: Now) -> bool {
        let freed = std::mem::take(&mut self.freed);
        let due = self.streams.values().filter(|s| {
            s.active && (s.waits.is_empty() || s.waits.meets(freed)) && s.pause.is_none_or(|until| until <= now.mono)
        });
        let mut order: Vec<(Option<usize>, i64, StreamId)> = due.map(|s| (s.source, s.modified, s.id)).collect();
        order.sort_unstable();
        let mut queues: VecDeque<VecDeque<StreamId>> =
            order.chunk_by(|a, b| a.0 == b.0).map(|source| source.iter().map(|(.., id)| *id).collect()).collect();
        if !queues.is_empty() {
            self.turns = self.turns.wrapping_add(1);
            let first = self.turns % queues.len();
            queues.rotate_left(first);
        }
        let mut left = TURN;
        let mut busy = false;
        let began = Instant::now();
        while let Some(mut queue) = queues.pop_front() {
            let Some(id) = queue.front().copied() else { continue };
            if left == 0 || began.elapsed() > SPELL {
                // The next turn goes on with those that this one did not come to.
                for id in queue.iter().chain(queues.iter().flatten()) {
                    self.streams.get_mut(id).into_iter().for_each(Stream::wake);
                }
                return true;
            }
            // What a lane had room for, others may have taken.
            let waits = self.streams.get(&id).map(|s| s.waits).unwrap_or_default();
            let in_vain = !waits.is_empty() && !waits.meets(self.with_room());
            if in_vain || !self.pass_some(id, &mut left, &mut busy, now) {
                queue.pop_front();
            }
            queues.push_back(queue);
        }
        busy
    }

    /// Some chunks for one stream. Says whether there may be more.
    fn pass_some(&mut self, id: StreamId, left: &mut usize, busy: &mut bool, now: Now) -> bool {
        for _ in 0..CHUNKS_EACH {
            match self.pass(id, now) {
                Step::Moved(bytes) => {
                    *left = left.saturating_sub(bytes.max(SMALL));
                    *busy = true;
                }
                Step::Drained => {
                    // To find that out took some reading, too.
                    *left = left.saturating_sub(SMALL);
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.active = false;
                        stream.waits = Lanes::default();
                        stream.stop_unpacking();
                    }
                    return false;
                }
                Step::Blocked(lanes) => {
                    if let Some(stream) = self.streams.get_mut(&id) {
                        stream.waits = lanes.unwrap_or_default();
                    }
                    return false;
                }
            }
        }
        true
    }

    /// One chunk for one stream.
    fn pass(&mut self, id: StreamId, now: Now) -> Step {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return Step::Drained };
        let Some(source) = self.streams.get(&id).and_then(|s| s.source) else { return Step::Drained };
        let Some(name) = self.plan.sources.get(source).map(|s| s.name.clone()) else { return Step::Drained };
        if self.streams.get(&id).is_some_and(|s| s.cutting) || self.holds_for_predecessor(id) {
            return Step::Blocked(None);
        }
        // A lane that is full or held now still wants the rest later, also if nothing else happens to the file.
        let (groups, others) = self.groups(id, &name);
        let mut unread = false;
        let stops: Vec<u64> = self.lanes.iter().filter_map(|l| l.tracks.get(&id)).map(|t| t.sent.offset).collect();
        for group in groups {
            if self.streams.get(&id).is_some_and(|s| s.is_used_up(&group.at)) {
                continue;
            }
            // Up to where the next lane stands, whether it can take anything or not.
            let stop = stops.iter().copied().filter(|o| *o > group.at.offset).min();
            let frontier = Some(record.frontier.offset).filter(|at| *at > group.at.offset);
            let stop = stop.into_iter().chain(group.discard).chain(group.upto).chain(frontier).min();
            match self.read_for(id, &record, &group, stop, now) {
                Ok(true) => return Step::Moved(self.last_read),
                Ok(false) => {}
                Err(ReadError::StartedOver) => {
                    self.started_over(id, now);
                    // Another lane may have more of it to read in archives.
                    return Step::Blocked(None);
                }
                Err(ReadError::Missing { to }) => {
                    unread = true;
                    self.lose_missing(id, &record, &group.lanes, to, now);
                }
                Err(ReadError::NotReached) => return Step::Moved(TURN),
                Err(ReadError::Io(error)) => {
                    unread = true;
                    self.in_trouble(id, &error);
                }
            }
        }
        let blocked = unread || !others.is_empty();
        if blocked && self.reads_ahead(id, &record) {
            // No lane takes anything, but what is to leave the live file must be known record by record.
            let ahead = Group { at: record.frontier, lanes: Vec::new(), discard: None, upto: None };
            if matches!(self.read_for(id, &record, &ahead, None, now), Ok(true)) {
                return Step::Moved(self.last_read);
            }
        }
        if blocked { Step::Blocked((!unread).then_some(others)) } else { Step::Drained }
    }

    /// Whether as much is under way for a lane as may be: its share of what all may have, and for a sink on this machine no more than
    /// keeps it busy while it syncs.
    fn is_full(&self, lane: &Lane) -> bool {
        let most = match lane.plan.kind {
            SinkKind::File(_) | SinkKind::Stdout => LOCAL,
            _ => usize::MAX,
        };
        lane.weight >= (self.plan.limits.in_flight / self.lanes.len().max(1)).min(most).max(READ / 4)
    }

    /// The lanes that can take more.
    fn with_room(&self) -> Lanes {
        let able = self.lanes.iter().enumerate().filter(|(_, lane)| lane.outlet.is_some() && !self.is_full(lane));
        able.fold(Lanes::default(), |all, (index, _)| all.and(Lanes::one(index)))
    }

    /// A stream keeps what reading and unpacking need, also while it waits for a lane, unless too many others were read since.
    fn note_reading(&mut self, id: StreamId, from: u64) {
        let cold = self.warm.note(id, self.plan.limits.open_files);
        if let Some(stream) = cold.and_then(|cold| self.streams.get_mut(&cold)) {
            stream.rest();
        }
        if !self.streams.get(&id).is_some_and(|s| s.unpacks(from)) {
            return;
        }
        let closed = self.unpacking.note(id, UNPACKING.max(self.plan.sources.len()));
        if let Some(stream) = closed.and_then(|closed| self.streams.get_mut(&closed)) {
            stream.stop_unpacking();
        }
    }

    fn in_trouble(&mut self, id: StreamId, error: &std::io::Error) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if error.kind() == std::io::ErrorKind::NotFound {
            // It was renamed or removed a moment ago, as rotation does: where it is comes out when the folder is looked at.
            tracing::debug!(stream = %id, path = ?stream.path(), "the file is no longer where it was");
            self.hot.insert(id);
            return;
        }
        // A disk may take long to refuse: others have their turn meanwhile.
        stream.pause = self.last_turn.map(|turn| turn.mono + PAUSE);
        let text = error.to_string();
        if stream.trouble.as_deref() != Some(&text) {
            tracing::warn!(stream = %id, path = ?stream.path(), %error, "failed to read; it is tried again");
            stream.trouble = Some(text);
        }
        self.counters.read_errors += 1;
        self.hot.insert(id);
    }

    /// The lanes that can take something of a stream, by where they stand, the farthest first; and the others, that cannot at
    /// the moment.
    fn groups(&self, id: StreamId, source: &str) -> (Vec<Group>, Lanes) {
        let mut groups: Vec<Group> = Vec::new();
        let mut others = Lanes::default();
        for (index, lane) in self.lanes.iter().enumerate() {
            let Some(track) = lane.tracks.get(&id).filter(|_| lane.outlet.is_some()) else { continue };
            let effect = kill_switch::covering(self.store.model().switches.values(), Some(source), &lane.plan.name);
            let cursor = self.store.model().cursors.get(&(lane.number, id));
            let range = cursor.and_then(|c| c.discard.iter().find(|r| r.to > track.sent.offset));
            let discard = range.filter(|r| r.from <= track.sent.offset).map(|r| r.to);
            let upto = range.filter(|r| r.from > track.sent.offset).map(|r| r.from);
            let pressed = self.is_pressed(&lane.plan.kind, lane.plan.required);
            let held = pressed
                || self.is_recalled(lane.number, id)
                || effect == Effect::Hold
                || (effect == Effect::Discard && discard.is_none());
            let full = if discard.is_some() { track.under_way() > 0 } else { self.is_full(lane) };
            if held || full {
                others = others.and(Lanes::one(index));
                continue;
            }
            match groups.iter_mut().find(|g| g.at == track.sent && g.discard == discard && g.upto == upto) {
                Some(group) => group.lanes.push(lane.number),
                None => groups.push(Group { at: track.sent, lanes: vec![lane.number], discard, upto }),
            }
        }
        // Those in front first: they decide how far the stream is handed out, the others follow.
        groups.sort_by_key(|g| std::cmp::Reverse(g.at.offset));
        (groups, others)
    }

    /// Reads a chunk for a group. `Ok(false)`: there is no whole record.
    fn read_for(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        group: &Group,
        stop: Option<u64>,
        now: Now,
    ) -> Result<bool, ReadError> {
        let from = group.at.read_from();
        let archived = self.streams.get(&id).is_some_and(|s| s.is_archived(from));
        if !archived {
            self.open(id)?;
        }
        self.note_reading(id, from);
        if group.discard.is_none() {
            self.prepare_encoder(id, record, group.at, !archived, now)?;
        }
        let suffix = self.joined_suffix(record)?;
        let mut filled;
        let appetite = self.streams.get(&id).and_then(|s| s.appetite).unwrap_or(READ);
        self.buffer.resize(appetite, 0);
        loop {
            let Some(stream) = self.streams.get_mut(&id) else { return Ok(false) };
            filled = if archived {
                stream.read_archived(from, &mut self.buffer)?
            } else {
                stream.read(record, from, &mut self.buffer)?
            };
            // The end of an archive is not the end of the stream.
            let at_end = !archived && filled < self.buffer.len();
            if let Some(suffix) = suffix.as_ref().filter(|_| at_end) {
                // Its own bytes end where the joined ones begin; what was passed of those is not needed again.
                let passed = from.saturating_sub(record.joined_at) as usize;
                self.buffer.truncate(filled);
                self.buffer.extend_from_slice(suffix.get(passed..).unwrap_or_default());
                filled = self.buffer.len();
                self.buffer.resize(appetite.max(filled), 0);
            }
            // What was handed to another lane already ends where it ended then, also where no newline is.
            let handed = (record.frontier.offset.saturating_sub(from)) as usize;
            let lags = group.at != record.frontier && handed <= filled && record.frontier.long.is_none();
            if lags {
                filled = handed;
            }
            let finished = lags || (stream.finished && at_end && record.may_finish());
            if let Some(done) = self.frame_for(id, record, group, stop, filled, finished, now) {
                if self.buffer.len() > READ {
                    self.buffer.truncate(READ);
                    self.buffer.shrink_to_fit();
                }
                return Ok(done);
            }
            // Not one record in all of the buffer: its line is longer.
            let Some(stream) = self.streams.get(&id) else { return Ok(false) };
            let window = stream.framing.window() + (group.at.offset - from) as usize;
            if at_end || self.buffer.len() >= window {
                return Ok(false);
            }
            self.buffer.resize(window, 0);
        }
    }

    /// Frames and encodes what the buffer holds, and hands it to the group. `None`: no whole record.
    #[expect(clippy::too_many_arguments, reason = "one step of `read_for`, split for reading")]
    fn frame_for(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        group: &Group,
        stop: Option<u64>,
        filled: usize,
        finished: bool,
        now: Now,
    ) -> Option<bool> {
        let stream = self.streams.get_mut(&id)?;
        if group.discard.is_none() && stream.encoder.is_none() {
            return None;
        }
        let from = group.at.read_from();
        self.last_read = filled;
        let bytes = &self.buffer[..filled];
        let mut chunk = Chunk::new(id, group.at);
        if stream.appetite.is_some() {
            chunk.data.reserve(FULL + LAST);
        }
        let is_front = group.at == record.frontier;
        let framing = stream.framing;
        let mut encoder = stream.encoder.take();
        let mut ends: Vec<(u64, u64, u64)> = Vec::new();
        let mut last = group.at;
        let mut crossed = false;
        let mut full = false;
        let wants_original =
            self.lanes.iter().any(|l| l.plan.encoding == Encoding::Original && group.lanes.contains(&l.number));
        // The end of a line whose beginning is in a file of which nothing is known.
        let piece_at = (record.joining && record.envelope == 0 && record.begins_at == 0).then_some(0);
        let kind = stream.source.and_then(|i| self.plan.sources.get(i)).map(|s| s.settings.format);
        let counters = &mut self.counters;
        frame(&framing, &mut self.scratch, group.at, bytes, from, finished, |r| {
            // What was not whole when the switch was lifted is not left out.
            if group.discard.is_some_and(|to| r.after.offset > to) {
                crossed = true;
                return ControlFlow::Break(());
            }
            let hash = record_hash(r.text);
            let mut dropped = r.text.is_empty() && r.fragment.is_none();
            if let Some(encoder) = encoder.as_deref_mut().filter(|_| !dropped && group.discard.is_none()) {
                let originals = wants_original.then_some(&mut chunk.originals);
                let verdict = encoder.encode_both(
                    &Frame {
                        text: r.text,
                        seq: r.seq,
                        offset: r.offset,
                        hash,
                        observed: now.wall,
                        envelope: r.envelope.map(|(time, output)| FrameEnvelope { time, output: output.name() }),
                        fragment: r.fragment,
                        partial: r.partial
                            || (Some(r.offset) == piece_at
                                && r.fragment.is_none()
                                && kind.is_some_and(|kind| !format::parses_alone(kind, r.text))),
                    },
                    &mut chunk.data,
                    originals,
                );
                dropped = verdict.dropped;
                if is_front {
                    counters.record(&verdict);
                }
            }
            chunk.push(&r.after, r.bytes, dropped || group.discard.is_some());
            last = r.after;
            if is_front {
                ends.push((r.after.offset, hash, r.bytes));
            }
            full = chunk.data.len() + chunk.originals.len() >= FULL;
            if full || stop.is_some_and(|s| r.after.offset >= s) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        stream.encoder = encoder;
        stream.trouble = None;
        stream.pause = None;
        // What is read and does not go into a chunk is read again for the next one.
        let taken = last.read_from().saturating_sub(from) as usize;
        stream.appetite = full.then(|| (taken + taken / 4).clamp(LEAST, READ));
        if crossed && chunk.records.is_empty() {
            self.close_discard(id, group.at.offset, &group.lanes);
            return Some(true);
        }
        if chunk.records.is_empty() {
            return None;
        }
        if is_front {
            // The bytes of a joined line's end are another stream's.
            let own_end = if record.is_joined() { last.offset.min(record.joined_at) } else { last.offset };
            let begin = (record.frontier.offset - from) as usize;
            let end = own_end.saturating_sub(from) as usize;
            let put = stream.advance(record, bytes.get(begin..end).unwrap_or_default(), last)?;
            for (at, hash, len) in ends {
                stream.record_end(at, hash, len);
            }
            stream.framed = last.read_from();
            let lead = put.lead_hash;
            self.store.put(Kind::FrontierPut(put));
            if lead != record.lead_hash {
                self.forget_lead(id, record.lead_hash);
                self.index_lead(id, lead);
            }
        }
        self.hand(id, Arc::new(chunk), group);
        Some(true)
    }

    /// Hands a chunk to the lanes of a group.
    fn hand(&mut self, id: StreamId, chunk: Arc<Chunk>, group: &Group) {
        let name = self
            .streams
            .get(&id)
            .and_then(|s| self.plan.sources.get(s.source?))
            .map(|s| s.name.clone())
            .unwrap_or_default();
        let gate = self.source_gates.entry(name).or_default().clone();
        let silent = chunk.data.is_empty();
        for number in &group.lanes {
            let Some(lane) = self.lanes.iter_mut().find(|l| l.number == *number) else { continue };
            if silent {
                let track = lane.tracks.get_or_insert_with(id, Track::default);
                lane.weight += chunk.weight();
                let effect = track.passed_over(&chunk);
                self.moved.insert((*number, id));
                lane.weight = lane.weight.saturating_sub(effect.freed);
            } else {
                let delivery = lane.deliver(id, &chunk, &gate);
                self.undelivered.push((*number, delivery));
            }
        }
        self.cursors_due.get_or_insert(self.last_turn.map_or_else(Instant::now, |n| n.mono) + super::CURSOR_COMMIT);
    }

    /// A range that a kill switch left out ends here: what follows is delivered again.
    fn close_discard(&mut self, id: StreamId, at: u64, lanes: &[u32]) {
        for lane in lanes {
            let Some(mut cursor) = self.store.model().cursors.get(&(*lane, id)).cloned() else { continue };
            cursor.discard.retain(|r| !(r.from <= at && r.to > at));
            self.store.put(Kind::CursorPut(cursor));
        }
    }

    /// Enters the cursors that moved.
    pub(super) fn put_cursors(&mut self) {
        self.cursors_due = None;
        if std::mem::take(&mut self.any_moved) {
            let all =
                self.lanes.iter().flat_map(|l| l.tracks.iter().filter(|(_, t)| t.dirty).map(|(id, _)| (l.number, *id)));
            self.moved.extend(all);
        }
        for (number, id) in std::mem::take(&mut self.moved) {
            let lane = self.lanes.iter_mut().find(|l| l.number == number);
            if let Some((lane, track)) = lane.and_then(|l| Some((l.number, l.tracks.get_mut(&id)?))) {
                if !std::mem::take(&mut track.dirty) {
                    continue;
                }
                let before = self.store.model().cursors.get(&(lane, id));
                let mut discard = before.map(|c| c.discard.clone()).unwrap_or_default();
                discard.retain(|r| r.to > track.settled.offset);
                let record =
                    CursorRecord { lane, stream: id.0.to_vec(), position: track.settled, tally: track.tally, discard };
                self.store.put(Kind::CursorPut(record));
            }
        }
    }
}

/// What all records of a stream have in common.
pub(super) fn stream_info(record: &StreamRecord, policy: &str, host: &str) -> StreamInfo {
    StreamInfo {
        stream: record.id.as_slice().try_into().unwrap_or_default(),
        policy: policy.to_owned(),
        source: record.source.clone(),
        path: record.first_path.clone(),
        captures: record.captures.iter().map(|c| (c.name.clone(), c.value.clone())).collect(),
        host: host.to_owned(),
        kubernetes: kubernetes::from_path(&bytes_path(&record.first_path)),
    }
}
