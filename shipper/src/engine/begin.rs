//! Begins streams, and lets them go on in another file.

use std::path::Path;

use serde_json::json;

use crate::format;
use crate::source::decompress::Compression;
use crate::source::digest;
use crate::source::discover::Found;
use crate::source::envelope::Envelope;
use crate::source::frame::Encoding;
use crate::source::root::Look;
use crate::source::stream::{Place, Stream, path_bytes};
use crate::state::StreamId;
use crate::state::entry::{Capture, CursorRecord, Extent, Kind, Position, Range, StreamRecord};
use crate::state::ledger::Action;

use super::classify::Work;
use super::{Engine, Now};

impl Engine {
    /// Begins a stream, if need be behind another one's frontier. `fresh`: the size of a file that was there before its source.
    pub(super) fn begin(
        &mut self,
        (path, found, look): (&Path, &Found, &Look),
        work: Work,
        behind: Option<StreamId>,
        fresh: Option<u64>,
        now: Now,
    ) {
        let Work { candidate, examination, .. } = work;
        // None: it shrank a moment ago, and will be looked at again.
        let (seen, mark_at, mark_hash) = match examination.end(&candidate) {
            Ok(Some((end, mark))) => (end, end, mark),
            Ok(None) => (candidate.len, 0, 0),
            Err(error) => return self.cannot_use(path, look, &error.to_string(), now),
        };
        // Up to where it begins it is that stream.
        let (begins_at, chain, digest) = behind
            .and_then(|other| self.store.model().streams.get(&other))
            .map(|other| (other.frontier.offset, other.chain.clone(), other.digest.clone()))
            .unwrap_or_default();
        let Some(source) = self.plan.sources.get(found.source) else { return };
        let id = StreamId::random();
        // No two streams begin at the same instant: the order in which they were met is the order of their lines. And what was written
        // before a file was met has an earlier time than that, also if it was written in this turn.
        self.last_begun = now.wall_by_now().max(self.last_begun + 1);
        let encoding = match source.envelope {
            Envelope::None => Encoding::detect(&candidate.head).of(source.settings.format),
            _ => Encoding::Bytes,
        };
        let mut record = StreamRecord {
            id: id.0.to_vec(),
            source: source.name.clone(),
            first_path: path_bytes(path),
            captures: found
                .captures
                .iter()
                .map(|(name, value)| Capture { name: name.clone(), value: value.clone() })
                .collect(),
            line_bound: self.plan.limits.line as u64,
            envelope: source.envelope.number(),
            encoding: encoding.number(),
            joining: format::joins(source.settings.format) || source.envelope != Envelope::None,
            begins_at,
            chain,
            digest,
            begun: self.last_begun,
            frontier: Position::at(begins_at),
            seen,
            mark_at,
            mark_hash,
            modified: look.modified,
            extents: vec![Extent {
                path: path_bytes(path),
                file: look.key,
                compression: candidate.compression.number(),
                ..Extent::default()
            }],
            ..StreamRecord::default()
        };
        record.head_len = candidate.head.len() as u32;
        record.head_hash = digest::head_hash(&candidate.head);
        record.lead_hash = candidate.lead();
        let previous = self.orphans.keys().find(|o| {
            self.store
                .model()
                .streams
                .get(o)
                .and_then(|r| r.extents.last())
                .is_some_and(|e| e.path == record.extents[0].path)
        });
        record.continues = previous.map(|p| p.0.to_vec()).unwrap_or_default();
        let skipped = fresh.filter(|_| source.start_now);
        let source_name = source.name.clone();
        let message = format!("stream {id} begins: {}", path.display());
        let fields = json!({
            "stream": id.to_string(), "source": source_name, "path": path.to_string_lossy(), "size": record.seen,
            "continues": previous.map(ToString::to_string), "begins_at": begins_at,
        });
        let mut stream = Stream::new(&record, id, now.mono);
        stream.source = Some(found.source);
        stream.size = record.seen;
        if stream.compression == Compression::None || begins_at == 0 {
            stream.open(candidate.file);
        }
        stream.finished = stream.compression != Compression::None;
        stream.sure = Some(now.mono);
        self.by_key.insert(look.key, id);
        self.by_path.insert(path.to_owned(), look.key);
        self.index_lead(id, record.lead_hash);
        let skipped = skipped.map(|size| if stream.finished { record.seen } else { record.seen.min(size) });
        self.store.put(Kind::StreamPut(record));
        self.store.enter(now.wall, Action::StreamBegun, message, &fields);
        self.newest_stale = true;
        self.streams.insert(id, stream);
        self.add_tracks(id);
        if let Some(end) = skipped {
            self.skip_backlog(id, end, now);
        }
        self.hot.insert(id);
        self.stuck = false;
    }

    /// `startAt: Now`: what is there already is left out, up to its last whole record.
    fn skip_backlog(&mut self, id: StreamId, end: u64, now: Now) {
        let lanes: Vec<u32> = self.lanes.iter().filter(|l| l.tracks.contains_key(&id)).map(|l| l.number).collect();
        for lane in lanes {
            let cursor = self.store.model().cursors.get(&(lane, id)).cloned();
            let mut cursor =
                cursor.unwrap_or_else(|| CursorRecord { lane, stream: id.0.to_vec(), ..CursorRecord::default() });
            cursor.discard.push(Range { from: 0, to: end });
            self.store.put(Kind::CursorPut(cursor));
        }
        let fields = json!({"stream": id.to_string(), "to": end});
        self.store.enter(now.wall, Action::SkippedBacklog, "existing content is left out: startAt is Now", &fields);
    }

    /// A stream goes on in another file.
    pub(super) fn continue_in(&mut self, id: StreamId, path: &Path, look: &Look, work: Work, now: Now) {
        let Work { candidate, examination, .. } = work;
        let end = examination.end(&candidate).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "failed to read the end of a file");
            None
        });
        let Some(mut record) = self.store.model().streams.get(&id).cloned() else { return };
        let revived = record.phase != 0;
        record.phase = 0;
        record.ended = 0;
        record.sealed = false;
        let compressed = candidate.compression != Compression::None;
        let stream = self.streams.get_or_insert_with(id, || Stream::new(&record, id, now.mono));
        let before = stream.key;
        stream.key = look.key;
        stream.place = Place::At(path.to_owned());
        stream.compression = candidate.compression;
        // What was cut away is in archives: the file goes on where the cut left it.
        let cut = record.base > 0 && self.cut_continues.take() == Some((id, look.key));
        stream.base = if cut { record.base } else { 0 };
        stream.finished = compressed;
        stream.modified = look.modified;
        stream.changed = now.mono;
        stream.wake();
        stream.sure.get_or_insert(stream.met);
        stream.size = stream.base + end.map_or(candidate.len, |(len, _)| len);
        // With its front cut off, a file's place tells nothing of where the stream stood.
        (record.mark_at, record.mark_hash) = end.filter(|_| stream.base == 0).unwrap_or_default();
        if record.is_joined() {
            stream.size += record.joined_len;
        }
        stream.open(candidate.file);
        record.seen = stream.size;
        self.store.put(Kind::StreamPut(record.clone()));
        let name = record.source.clone();
        stream.source = self.plan.sources.iter().position(|s| s.name == name);
        let size = stream.size;
        self.orphans.remove(&id);
        if self.by_key.get(&before) == Some(&id) {
            self.by_key.remove(&before);
        }
        self.by_key.insert(look.key, id);
        self.by_path.insert(path.to_owned(), look.key);
        self.put_place(id);
        let message = format!("stream {id} goes on in {}", path.display());
        let fields = json!({
            "stream": id.to_string(), "path": path.to_string_lossy(), "at": record.frontier.offset, "size": size, "revived": revived,
        });
        self.store.enter(now.wall, Action::StreamContinued, message, &fields);
        self.add_tracks(id);
        self.hot.insert(id);
        self.stuck = false;
    }
}
