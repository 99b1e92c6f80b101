//! Confirms the ends of files, ends streams, and counts what is lost.

use std::time::Duration;

use serde_json::json;

use crate::source::decompress::Compression;
use crate::source::digest::hex;
use crate::source::lease::Writers;
use crate::source::stream::{Place, bytes_path};
use crate::state::StreamId;
use crate::state::entry::{Kind, Position, StreamGone, StreamRecord};
use crate::state::ledger::Action;

use super::succession::Rank;
use super::{Engine, Now};

/// Content that vanished may turn up in another file: it is given up after this long, or later while a file that may hold it is not
/// yet readable.
const GIVE_UP: Duration = Duration::from_millis(1500);
/// How often ends are looked at while a stream waits for one.
pub(super) const SOON: Duration = Duration::from_millis(50);
const GIVE_UP_AT_LAST: Duration = Duration::from_secs(600);
/// How long, and how many, ended streams are remembered, to recognise their copies.
const REMEMBER_NS: i64 = 7 * 86_400 * 1_000_000_000;
const REMEMBER: usize = 4096;

impl Engine {
    pub(super) fn end_streams(&mut self, now: Now) {
        // While a stream waits for the end of another, ends are looked at more often.
        let soon =
            std::mem::take(&mut self.held) && self.ends_looked.is_none_or(|at| now.mono.duration_since(at) >= SOON);
        if self.reconciled != Some(now.mono) && !soon {
            return;
        }
        self.ends_looked = Some(now.mono);
        self.enter_refusals(now);
        let aside: Vec<StreamId> = self
            .streams
            .values()
            // One that waits for the stream before it has an end too: a line may reach over all of it.
            .filter(|s| {
                !matches!(s.place, Place::At(_))
                    || ((!s.is_busy() || !s.head_checked) && s.size > s.framed)
                    || s.finished
            })
            .map(|s| s.id)
            .collect();
        if !aside.is_empty() {
            self.note_newest();
        }
        for id in aside {
            if self.orphans.contains_key(&id) {
                self.give_up(id, now);
            } else {
                self.confirm_end(id, now);
                self.decide_join(id, now);
                self.end_if_settled(id, now);
            }
        }
        self.forget_old(now);
    }

    /// When the youngest stream of each source and folder began.
    pub(super) fn note_newest(&mut self) {
        if !std::mem::take(&mut self.newest_stale) {
            return;
        }
        self.newest.clear();
        for record in self.store.model().streams.values() {
            let begun = self.newest.entry((record.source.clone(), folder(record).to_vec())).or_default();
            *begun = record.begun.max(*begun);
        }
    }

    /// Whether a file lies aside: its writer has gone on elsewhere.
    pub(super) fn is_aside(&self, id: StreamId, record: &StreamRecord) -> bool {
        let Some(stream) = self.streams.get(&id) else { return false };
        match &stream.place {
            Place::Moved(_) | Place::Unlinked => true,
            Place::Gone => false,
            Place::At(path) => {
                *path != bytes_path(&record.first_path)
                    || matches!(Rank::of(path), Rank::Numbered(_))
                    // A younger stream in the same folder, begun after this one was last written: a switch by date.
                    || self.newest.get(&(record.source.clone(), folder(record).to_vec())).is_some_and(|begun| *begun > record.begun && *begun > stream.modified)
                    // The same, told by the names: it was met late, under the name that rotation gave it.
                    || (record.joining
                        && matches!(Rank::of(path), Rank::Dated(_))
                        && self.follower(id, record).is_some_and(|(_, next)| next.begun > stream.modified))
            }
        }
    }

    /// An end is confirmed when the file lies aside and no one has it open for writing.
    pub(super) fn confirm_end(&mut self, id: StreamId, now: Now) {
        let done = self.streams.get(&id).is_none_or(|s| s.finished || s.compression != Compression::None);
        let aside = |record| self.is_aside(id, record);
        if done || !self.store.model().streams.get(&id).is_some_and(aside) || self.open(id).is_err() {
            return;
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.writers() != Writers::None {
            return;
        }
        // What was written before the writer let go counts.
        if let Ok(Some(look)) = stream.look() {
            self.grown(id, &look, now);
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_open() && stream.writers() == Writers::None {
            stream.finished = true;
            stream.wake();
        }
    }

    /// Everything of a stream is settled in every lane.
    pub(super) fn is_settled(&self, id: StreamId, record: &StreamRecord) -> bool {
        let mut tracks = self.lanes.iter().filter_map(|l| l.tracks.get(&id)).peekable();
        tracks.peek().is_some() && tracks.all(|t| t.under_way() == 0 && t.settled == record.frontier)
    }

    fn end_if_settled(&mut self, id: StreamId, now: Now) {
        let Some(stream) = self.streams.get(&id) else { return };
        let reason = match stream.place {
            Place::Unlinked => "deleted",
            Place::Moved(_) => "renamed",
            Place::At(_) | Place::Gone => return,
        };
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        if stream.finished
            && stream.size <= record.frontier.read_from()
            && self.is_settled(id, &record)
            && !self.is_lent(id)
        {
            self.end(id, &record, reason, false, now);
        }
    }

    /// A stream whose content is nowhere: what no lane has settled is lost.
    fn give_up(&mut self, id: StreamId, now: Now) {
        let Some(since) = self.orphans.get(&id).copied() else { return };
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        let age = now.mono.duration_since(since);
        if age < GIVE_UP {
            return;
        }
        // A file of the same source may still prove to hold it: soon if it is being read, or when someone has finished writing it.
        let mut unjudged = self.waiting_files.values().filter(|file| file.source == record.source);
        if unjudged.any(|file| file.in_line || age < GIVE_UP_AT_LAST) {
            return;
        }
        if self.owes_archived(id, &record) {
            return;
        }
        let Some(stream) = self.streams.get(&id) else { return };
        // After its end was confirmed no one wrote to it, and what was compressed is not written to any more.
        let grows = record.extents.last().is_none_or(|extent| extent.compression == Compression::None.number());
        let grows = grows && !record.sealed && record.joined_len == 0;
        let unseen = grows && stream.sure.is_none_or(|sure| self.was_blind_since(sure));
        let whole = stream.whole;
        let to = Position { offset: stream.size.max(record.seen).max(record.frontier.offset), ..record.frontier };
        let path = bytes_path(&record.extents.last().map(|e| e.path.clone()).unwrap_or_default());
        let mut losses = Vec::new();
        for lane in &mut self.lanes {
            let Some(track) = lane.tracks.get_mut(&id) else { continue };
            // What is under way may still be acknowledged.
            if track.under_way() > 0 {
                return;
            }
            if track.settled == to {
                continue;
            }
            let from = track.settled.offset;
            self.any_moved = true;
            let count = track.lose(to, record.begins_at);
            if count.bytes > 0 {
                losses.push((lane.plan.name.clone(), from, count.bytes));
            }
        }
        if losses.is_empty() && unseen {
            losses.push(("*".to_owned(), to.offset, 0));
        }
        // Between the last look and its end a writer that was quicker than a lane may have written more.
        let more = unseen || (grows && !whole && !losses.is_empty());
        let lost = !losses.is_empty();
        for (lane, from, bytes) in losses {
            let fields = json!({
                "stream": id.to_string(), "source": record.source, "path": path.to_string_lossy(), "lane": lane,
                "from": from, "to": to.offset, "bytes": bytes, "more": more,
                "reason": "the content was removed before it was delivered",
            });
            let tail = if more { ", and what was written to it unseen" } else { "" };
            let message = format!("{} bytes of {} are lost for {}{tail}", bytes, path.display(), lane);
            self.store.enter(now.wall, Action::Loss, message, &fields);
        }
        let record = StreamRecord { frontier: to, seen: to.offset, ..record };
        self.end(id, &record, if lost { "lost" } else { "started over or removed" }, more, now);
    }

    fn was_blind_since(&self, since: std::time::Instant) -> bool {
        self.blind.iter().any(|until| *until >= since)
    }

    /// Ends a stream.
    pub(super) fn end(&mut self, id: StreamId, record: &StreamRecord, reason: &str, more: bool, now: Now) {
        self.put_cursors();
        let path = bytes_path(&record.extents.last().map(|e| e.path.clone()).unwrap_or_default());
        let fields = json!({
            "stream": id.to_string(), "source": record.source, "path": path.to_string_lossy(), "reason": reason,
            "bytes": record.frontier.offset, "records": record.frontier.seq, "digest": hex(&record.digest), "more": more,
        });
        let message = format!("stream {id} ends: {} was {reason}", path.display());
        let modified = self.streams.get(&id).map_or(record.modified, |s| s.modified);
        self.store.put(Kind::StreamPut(StreamRecord { phase: 1, ended: now.wall, modified, ..record.clone() }));
        self.store.enter(now.wall, Action::StreamEnded, message, &fields);
        if let Some(stream) = self.streams.remove(&id)
            && self.by_key.get(&stream.key) == Some(&id)
        {
            self.by_key.remove(&stream.key);
            self.by_path.retain(|_, key| *key != stream.key);
        }
        self.orphans.remove(&id);
        self.hot.remove(&id);
        for lane in &mut self.lanes {
            lane.tracks.remove(&id);
        }
    }

    /// Forgets streams that ended long ago, and the oldest if there are too many.
    fn forget_old(&mut self, now: Now) {
        if self.store.model().streams.len() <= self.streams.len() {
            return;
        }
        let mut ended: Vec<(i64, StreamId, u64)> = self
            .store
            .model()
            .streams
            .iter()
            .filter(|(_, r)| r.phase != 0)
            .map(|(id, r)| (r.ended, *id, r.lead_hash))
            .collect();
        let over = ended.len().saturating_sub(REMEMBER);
        if over > 0 {
            ended.sort_unstable();
        }
        for (index, (at, id, lead)) in ended.into_iter().enumerate() {
            if index >= over && now.wall.saturating_sub(at) < REMEMBER_NS {
                continue;
            }
            self.store.put(Kind::StreamGone(StreamGone { id: id.0.to_vec() }));
            self.forget_lead(id, lead);
        }
    }
}

/// The folder in which a stream was found first.
pub(super) fn folder(record: &StreamRecord) -> &[u8] {
    let at = record.first_path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    &record.first_path[..at]
}
