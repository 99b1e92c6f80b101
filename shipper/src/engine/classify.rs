//! Says which stream a file is that no stream holds yet: a new one, the continuation of one, or a copy of one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::source::decompress::Compression;
use crate::source::digest;
use crate::source::discover::Found;
use crate::source::examine::{EndsWithin, Examination, Within};
use crate::source::identity::Candidate;
use crate::source::lease::{self, Writers};
use crate::source::root::{Look, Root};
use crate::source::stream::{Place, Stream};
use crate::state::StreamId;
use crate::state::entry::{CopyRecord, Kind, Position, StreamRecord};
use crate::state::ledger::Action;

use super::{Engine, Now};

/// A file that grew out of a copy of a living stream begins behind the copied part if that is at least this long, in bytes. A shorter
/// common beginning is a header that its writer wrote again.
const HEADER: u64 = 4096;
/// A compressed file whose writers cannot be asked for is taken up when it has not changed for this long.
const AT_REST: Duration = Duration::from_secs(3);
/// How long a file that was replaced by a longer copy of itself may still be held open by who replaced it.
const LETTING_GO: Duration = Duration::from_secs(3);

/// A file that is not judged yet.
pub(super) struct Waiting {
    /// Its source.
    pub(super) source: String,
    /// Since when.
    since: Instant,
    /// Its size when it was met, if it was there before its source.
    fresh: Option<u64>,
    /// It is among the files that are read one after the other.
    pub(super) in_line: bool,
    /// How far it was read.
    work: Option<Box<Work>>,
}

impl Waiting {
    fn new(source: String, fresh: Option<u64>, now: Now) -> Self {
        Self { source, since: now.mono, fresh, in_line: false, work: None }
    }
}

/// A file that is being read, to say which stream it is.
pub(super) struct Work {
    pub(super) candidate: Candidate,
    pub(super) examination: Examination,
    /// Its size and time when reading began.
    met: (u64, i64),
}

impl Work {
    /// Opens a file; `None` if another one has its name by now.
    fn begin(root: &Root, path: &Path, look: &Look) -> Result<Option<Box<Self>>, String> {
        let file = root.open_file(path).map_err(|e| e.to_string())?;
        let opened = Look::at_file(&file).map_err(|e| e.to_string())?;
        if opened.key != look.key {
            return Ok(None);
        }
        let candidate = Candidate::open(file, opened.size).map_err(|e| e.to_string())?;
        Ok(Some(Box::new(Self { candidate, examination: Examination::default(), met: (look.size, look.modified) })))
    }

    /// Whether what was read counts for the file as it is now; then it is as long as it is now.
    fn goes_on(&mut self, look: &Look) -> bool {
        if self.candidate.compression != Compression::None {
            return self.met == (look.size, look.modified);
        }
        let grown = look.size >= self.candidate.len;
        self.candidate.len = look.size;
        grown
    }
}

#[derive(Debug)]
enum Decision {
    /// A stream of its own, of what lies behind that other stream's frontier, if it begins like one.
    New { behind: Option<StreamId> },
    /// It is that stream's own file, which was taken for one that had the same inode.
    Itself(StreamId),
    /// The stream goes on here.
    Continues(StreamId),
    /// Everything in it is in that stream already.
    Copy(StreamId),
    /// Not to be judged yet.
    Wait,
    /// To be read on in the next turn.
    ReadOn,
}

impl Engine {
    /// Takes a file up that no stream holds: at once, or behind those of its folder that were met before and are not judged yet.
    pub(super) fn meet(&mut self, path: &Path, found: &Found, look: &Look, now: Now) {
        if !self.line.holds_up(path) && !self.allowance.is_used_up() {
            return self.classify(path, found, look, now);
        }
        if self.is_judged(look) {
            return;
        }
        let (source, fresh) = self.origin(found, look);
        let waiting = self.waiting_files.entry(look.key).or_insert_with(|| Waiting::new(source, fresh, now));
        if !waiting.in_line {
            waiting.in_line = true;
            self.line.join(path);
        }
    }

    /// Nothing is to be said of this file, or nothing new.
    fn is_judged(&self, look: &Look) -> bool {
        let copy = self.store.model().copies.get(&look.key);
        look.size == 0
            || self.unusable.get(&look.key) == Some(&(look.size, look.modified))
            || copy.is_some_and(|copy| (copy.size, copy.modified) == (look.size, look.modified))
    }

    /// The source of a file, and its size if it was there before that.
    fn origin(&self, found: &Found, look: &Look) -> (String, Option<u64>) {
        let source = self.plan.sources.get(found.source).map(|s| s.name.clone()).unwrap_or_default();
        let fresh = self.fresh_sources.contains(&source).then_some(look.size);
        (source, fresh)
    }

    /// Says which stream a file is.
    pub(super) fn classify(&mut self, path: &Path, found: &Found, look: &Look, now: Now) {
        let waiting = self.waiting_files.remove(&look.key);
        if self.is_judged(look) {
            return;
        }
        let Some(root) = self.discovery.root(found.root).cloned() else { return };
        let mut waiting = waiting.unwrap_or_else(|| {
            let (source, fresh) = self.origin(found, look);
            Waiting::new(source, fresh, now)
        });
        let work = waiting.work.take().and_then(|mut work| work.goes_on(look).then_some(work));
        let opened = work.map_or_else(|| Work::begin(&root, path, look), |work| Ok(Some(work)));
        let mut work = match opened {
            Ok(Some(work)) => work,
            Ok(None) => {
                self.relook.insert(path.to_owned());
                return;
            }
            Err(error) => {
                // Rights may change without a change of the file: it is tried again at each full look.
                self.cannot_use(path, look, &error, now);
                self.unusable.remove(&look.key);
                return;
            }
        };
        if work.candidate.is_archive {
            self.unusable.insert(look.key, (look.size, look.modified));
            return;
        }
        let decision = self.decide(&mut work, found, look, waiting.since, now);
        tracing::debug!(path = %path.display(), size = work.candidate.len, ?decision, "looked at a new file");
        match decision {
            Ok(Decision::New { behind }) => self.begin((path, found, look), *work, behind, waiting.fresh, now),
            Ok(Decision::Itself(id)) => {
                self.by_key.insert(look.key, id);
                self.seen_at(id, path, look, now);
            }
            Ok(Decision::Continues(id)) => self.continue_in(id, path, look, *work, now),
            // It was written to while it was read: what was read first may be another content.
            Ok(Decision::Copy(_)) if work.met != (look.size, look.modified) => {
                self.judge_later();
                self.waiting_files.insert(look.key, Waiting { in_line: false, ..waiting });
            }
            Ok(Decision::Copy(id)) => {
                let record =
                    CopyRecord { file: look.key, size: look.size, modified: look.modified, stream: id.0.to_vec() };
                if !self.store.model().copies.contains_key(&look.key) {
                    self.counters.copies += 1;
                    tracing::info!(path = %path.display(), stream = %id, "this file is a copy of what was read already");
                }
                self.store.put(Kind::CopyPut(record));
            }
            Ok(Decision::Wait) => {
                self.waiting_files.insert(look.key, Waiting { in_line: false, ..waiting });
            }
            Ok(Decision::ReadOn) => {
                // Only the one whose turn it is stays open.
                let first = waiting.in_line || self.line.is_empty();
                if first {
                    self.line.return_to_front(path);
                } else {
                    self.line.join(path);
                }
                let work = first.then_some(work);
                self.waiting_files.insert(look.key, Waiting { in_line: true, work, ..waiting });
            }
            Err(error) => self.cannot_use(path, look, &error.to_string(), now),
        }
    }

    /// Says once what is wrong with a file, and waits until it changes.
    pub(super) fn cannot_use(&mut self, path: &Path, look: &Look, error: &str, now: Now) {
        self.unusable.insert(look.key, (look.size, look.modified));
        if self.told.len() < crate::source::discover::MAX_FOLDERS && self.told.insert(look.key) {
            let message = format!("{} cannot be read yet: {error}", path.display());
            self.store.enter(
                now.wall,
                Action::PathRefused,
                message,
                &json!({"path": path.to_string_lossy(), "reason": error}),
            );
        }
    }

    fn decide(
        &mut self,
        work: &mut Work,
        found: &Found,
        look: &Look,
        waits_since: Instant,
        now: Now,
    ) -> std::io::Result<Decision> {
        let Work { candidate, examination, .. } = work;
        let candidate = &*candidate;
        let compressed = candidate.compression != Compression::None;
        if compressed && !at_rest(candidate, look, now) {
            return Ok(self.judge_later());
        }
        let source = self.plan.sources.get(found.source).map(|s| s.name.clone()).unwrap_or_default();
        let alike = |engine: &Self| -> Vec<StreamId> {
            let model = engine.store.model();
            let begins_like = |r: &StreamRecord| r.source == source && candidate.begins_like(r);
            // A stream of which nothing was handed out is known by the bytes that it had when it was met.
            let ids = digest::leads(&candidate.head).filter_map(|lead| engine.by_lead.get(&lead)).flatten();
            ids.copied().filter(|id| model.streams.get(id).is_some_and(begins_like)).collect()
        };
        // What is known of the originals must be fresh: one that was truncated a moment ago is no original any more.
        for id in alike(self) {
            self.refresh(id, now);
        }
        let alike = alike(self);
        let own = |id: &StreamId| self.streams.get(id).is_some_and(|s| s.is_open() && s.key == look.key);
        if let Some(id) = alike.iter().copied().find(own) {
            return Ok(Decision::Itself(id));
        }
        let records: Vec<(StreamId, StreamRecord)> =
            alike.into_iter().filter_map(|id| Some((id, self.store.model().streams.get(&id)?.clone()))).collect();
        if let Some(id) = self.cut_stream(candidate, &source, &look.key, now) {
            return Ok(Decision::Continues(id));
        }
        if records.is_empty() && !compressed {
            return Ok(Decision::New { behind: None });
        }
        let Some(comparison) = examination.compare(candidate, &records, &mut self.allowance)? else {
            return Ok(Decision::ReadOn);
        };
        let equal = comparison.equal.filter(|(id, frontier)| {
            // Files that begin alike beyond the frontier differ where the stream ended when it was met.
            let other = |r: &StreamRecord| {
                r.phase == 0
                    && *frontier < r.mark_at
                    && comparison.len >= r.mark_at
                    && !examination.holds_mark(candidate, r).unwrap_or(true)
            };
            !records.iter().any(|(known, r)| known == id && other(r))
        });
        let patient = now.mono.duration_since(waits_since) < LETTING_GO;
        if let Some((id, frontier)) = equal {
            return self.judge_equal(work, id, frontier, comparison.len, patient);
        }
        for (id, record) in &records {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            // Nothing of it was handed out, and nothing is left of it: whatever goes on here cannot contradict it.
            if !stream.is_readable() && record.frontier.offset == 0 && examination.holds_mark(candidate, record)? {
                return Ok(Decision::Continues(*id));
            }
            // Nothing of it was handed out, so there is no digest to compare with; but its file is here.
            let unread = stream.is_open() && record.frontier.offset == 0 && stream.size > 0;
            if unread {
                let len = comparison.len.min(stream.size);
                match examination.is_within(candidate, stream, record, len, &mut self.allowance)? {
                    Within::Yes => return Ok(self.judge_open(*id, record, 0, comparison.len, true, patient)),
                    Within::No => {}
                    Within::StartedOver => return Ok(self.judge_later()),
                    Within::NotRead => return Ok(Decision::ReadOn),
                }
            }
            if comparison.len >= record.frontier.offset && !(stream.is_open() && comparison.len <= stream.size) {
                continue;
            }
            let left = &mut self.allowance;
            if stream.is_open() {
                match examination.is_within(candidate, stream, record, comparison.len, left)? {
                    Within::Yes => return Ok(Decision::Copy(*id)),
                    Within::No => {}
                    Within::StartedOver => return Ok(self.judge_later()),
                    Within::NotRead => return Ok(Decision::ReadOn),
                }
            } else {
                match examination.ends_within(candidate, stream, record, left)? {
                    EndsWithin::Yes => return Ok(Decision::Copy(*id)),
                    EndsWithin::No => {}
                    // Half a line is the end of a file of its own, unless someone is still copying.
                    EndsWithin::Unfinished if !patient => {}
                    EndsWithin::Unfinished => return Ok(self.judge_later()),
                    EndsWithin::NotRead => return Ok(Decision::ReadOn),
                }
            }
        }
        Ok(Decision::New { behind: None })
    }

    /// The candidate is this stream up to its frontier.
    fn judge_equal(
        &mut self,
        work: &mut Work,
        id: StreamId,
        frontier: u64,
        len: u64,
        patient: bool,
    ) -> std::io::Result<Decision> {
        let Some(record) = self.store.model().streams.get(&id).cloned() else {
            return Ok(Decision::New { behind: None });
        };
        if record.phase != 0 {
            // It ended, and everything of it was settled: only what is new is of interest.
            return Ok(if len > frontier { Decision::Continues(id) } else { Decision::Copy(id) });
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(Decision::Continues(id)) };
        if !stream.is_readable() {
            return Ok(Decision::Continues(id));
        }
        if len <= frontier {
            return Ok(Decision::Copy(id));
        }
        if !stream.is_open() {
            return Ok(if patient { self.judge_later() } else { Decision::Continues(id) });
        }
        let both = len.min(stream.size);
        let within = work.examination.is_within(&work.candidate, stream, &record, both, &mut self.allowance)?;
        let same = match within {
            Within::Yes => true,
            Within::No => false,
            Within::StartedOver => return Ok(self.judge_later()),
            Within::NotRead => return Ok(Decision::ReadOn),
        };
        Ok(self.judge_open(id, &record, frontier, len, same, patient))
    }

    /// The candidate is this stream up to its frontier; `same`: also as far as both the candidate and the stream's open file go.
    fn judge_open(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        frontier: u64,
        len: u64,
        same: bool,
        patient: bool,
    ) -> Decision {
        let Some(stream) = self.streams.get(&id) else { return Decision::Continues(id) };
        if same && len <= stream.size {
            return Decision::Copy(id);
        }
        // Replaced by a longer one: it goes on there, if nobody can write to what has no name any more.
        if same && stream.place == Place::Unlinked && stream.writers() == Writers::None {
            return Decision::Continues(id);
        }
        // Whoever replaced it may let go of it in a moment.
        if patient && (frontier < stream.size || stream.place == Place::Unlinked) {
            return self.judge_later();
        }
        let whole = Position { seq: record.frontier.seq, ..Position::at(frontier) };
        Decision::New { behind: (frontier >= HEADER && record.frontier == whole).then_some(id) }
    }

    /// Opens a stream's file if need be and looks whether it is still what it was.
    pub(super) fn refresh(&mut self, id: StreamId, now: Now) {
        let Some(record) = self.store.model().streams.get(&id).cloned() else { return };
        if record.phase != 0 || !self.streams.get(&id).is_some_and(Stream::is_readable) {
            return;
        }
        if self.open(id).is_err() {
            let Some(stream) = self.streams.get_mut(&id) else { return };
            // Its path does not lead to it: it was renamed or removed a moment ago.
            if let Some(path) = stream.path().map(std::borrow::ToOwned::to_owned) {
                self.by_path.remove(&path);
                self.displace_stream(id, &path, now);
                self.relook.insert(path);
                self.listed = true;
            }
            // It may have been found under its new name.
            if self.open(id).is_err() {
                return;
            }
        }
        let Some(stream) = self.streams.get_mut(&id) else { return };
        match stream.look() {
            Ok(Some(look)) => {
                if look.links == 0 {
                    stream.place = Place::Unlinked;
                }
                self.grown(id, &look, now);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(stream = %id, %error, "failed to look at an open file"),
        }
        if self.streams.get(&id).is_some_and(Stream::is_open) {
            self.compare(id, &record, now);
        }
    }

    fn judge_later(&mut self) -> Decision {
        // The next full look comes by itself; the folder must be listed again even if its time does not change.
        self.discovery.touch_all();
        Decision::Wait
    }
}

fn at_rest(candidate: &Candidate, look: &Look, now: Now) -> bool {
    use std::os::fd::AsFd as _;
    match lease::writers(candidate.file.as_fd()) {
        Writers::None => true,
        Writers::Some => false,
        Writers::Unknown => now.wall - look.modified > AT_REST.as_nanos() as i64,
    }
}
