//! The loop that moves everything: finds files, reads, hands chunks to lanes, takes answers, and keeps the state.
//!
//! One thread owns all of it, so there are no locks and one order of events. It does no work of its own: each phase is a file.
//! [`reconcile`] compares the folders with what is known, [`classify`] says which stream a file is, [`begin`] takes it up,
//! [`pass`] reads and hands over,
//! [`settle`] moves cursors, [`ending`] ends streams, [`rotate`] makes archives of live files,
//! [`retain`] removes what is no longer kept, [`protect`] keeps the file system's attributes on it, [`switches`] and [`reload`] change what may pass and what there is,
//! [`report`] says how it is.
//!
//! Nothing reaches a lane before the frontier that covers it is durable: whatever happens afterwards, no other content can come to
//! stand at the same stream and offset.

mod begin;
mod classify;
mod control;
mod ending;
mod joining;
mod line;
#[cfg(test)]
mod made_up;
mod pass;
mod protect;
mod recall;
mod recent;
mod reconcile;
mod reload;
pub mod report;
mod retain;
mod rotate;
mod settle;
mod sink_archives;
mod succession;
mod switches;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lane::kill_switch::Switch;
use crate::lane::set::Lanes;
use crate::lane::track::{Track, Tracks};
use crate::lane::{Delivery, Gate, Outlet, Settlement};
use crate::plan::{Notice, Plan, SinkPlan};
use crate::rotate::worker::Done;
use crate::sink::file::archive::Listing;
use crate::source::discover::Discovery;
use crate::source::examine::Allowance;
use crate::source::frame::Scratch;
use crate::source::stream::Stream;
use crate::source::watch::{Hint, Watch};
use crate::state::StreamId;
use crate::state::entry::{FileKey, Kind, NodeRecord};
use crate::state::store::Store;
use crate::table::Table;

use report::Report;

use recent::Recent;

/// Time, given from outside so that tests can step through it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For intervals.
    pub mono: Instant,
    /// Nanoseconds since 1970 UTC.
    pub wall: i64,
}

impl Now {
    /// The time now.
    pub fn read() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { mono: Instant::now(), wall: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX) }
    }

    /// What the wall's clock says at this moment: a turn takes its time, and files are written meanwhile.
    fn wall_by_now(&self) -> i64 {
        self.wall.saturating_add(i64::try_from(self.mono.elapsed().as_nanos()).unwrap_or(0))
    }
}

/// What happens to the engine from outside.
pub enum Event {
    /// inotify says where to look.
    Hint(Hint),
    /// The state log got further.
    Committed,
    /// A sink answered.
    Settled(Settlement),
    /// A new policy, and the sinks that are new or changed.
    Apply(Box<Plan>, Vec<(String, Outlet)>),
    /// A policy was refused, for these reasons. The kill switches that could be read in it count, unless others are of a later
    /// generation than this.
    Refused(Vec<String>, Vec<Switch>, i64),
    /// Kill switches were ordered apart from the policy.
    Notice(Notice),
    /// The local kill switch as it is now.
    Local(Option<Switch>),
    /// The archivist did something.
    Rotated(Done),
    /// A sink tells of its finished archives.
    Listed(Listing),
    /// Someone says that the clock is right.
    ClockConfirmed,
    /// Bring everything that is under way home, until then.
    Drain(Instant),
    /// Someone wants to know.
    Report(crossbeam_channel::Sender<Box<Report>>),
}

/// What the engine needs to know of its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The node's name in records.
    pub host: String,
    /// This machine, so that a cloned state is noticed.
    pub machine: String,
    /// Folders from which paths are opened; a pattern outside of all is opened from its own folder.
    pub read_roots: Vec<PathBuf>,
    /// Folders that are never read: ours.
    pub own: Vec<PathBuf>,
    /// Beginnings of paths that are never read: the outputs of sinks.
    pub own_stems: Vec<PathBuf>,
    /// Files that are never read, such as the one behind standard output.
    pub own_files: Vec<FileKey>,
    /// The agent runs in a pod, which gets what its policy needs with its next start.
    pub in_pod: bool,
    /// Plain bytes of files that no stream holds yet that one turn reads, to say which stream they are; 8 MiB if not given.
    pub slice: Option<u64>,
}

/// A sink's lane at run time.
struct Lane {
    number: u32,
    plan: SinkPlan,
    outlet: Option<Outlet>,
    gate: Gate,
    tracks: Tracks,
    weight: usize,
    next_delivery: u64,
    by_delivery: HashMap<u64, StreamId>,
}

/// What is handed over as soon as a ticket of the state is durable.
struct Waiting {
    ticket: u64,
    deliveries: Vec<(u32, Delivery)>,
}

/// How long the folders may go unlooked at.
const RECONCILE: Duration = Duration::from_millis(500);
/// Cursors that moved are entered at the latest after this.
const CURSOR_COMMIT: Duration = Duration::from_millis(5);
/// Small writes are gathered this long before they are read.
pub(crate) const GATHER: Duration = Duration::from_millis(10);
/// How often it is made sure that time did not pass unnoticed.
pub const PULSE: Duration = Duration::from_millis(200);
/// Plain bytes of files that no stream holds yet that one turn reads.
const SLICE: u64 = 8 << 20;
/// Bytes read at a time.
const READ: usize = 256 << 10;

/// What a turn of the engine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// There is more to do at once.
    pub busy: bool,
    /// When to look again if nothing happens before.
    pub next: Instant,
}

/// See the module.
pub struct Engine {
    store: Store,
    setup: Setup,
    plan: Plan,
    discovery: Discovery,
    watch: Option<Watch>,
    streams: Table<StreamId, Stream>,
    by_key: HashMap<FileKey, StreamId>,
    by_path: BTreeMap<PathBuf, FileKey>,
    by_lead: HashMap<u64, Vec<StreamId>>,
    /// Streams whose content is nowhere to be found, and since when.
    orphans: HashMap<StreamId, Instant>,
    /// Streams whose file is looked at whatever inotify says.
    hot: HashSet<StreamId>,
    /// Streams whose file changed and was not read since, and when that was seen first.
    doubtful: HashMap<StreamId, Instant>,
    /// Files whose bytes cannot be used at the moment: size and time when that was found.
    unusable: HashMap<FileKey, (u64, i64)>,
    /// Files of which it was said what is wrong with them.
    told: HashSet<FileKey>,
    lanes: Vec<Lane>,
    source_gates: HashMap<String, Gate>,
    waiting: VecDeque<Waiting>,
    undelivered: Vec<(u32, Delivery)>,
    /// Lanes that may be able to take more since it was last looked.
    freed: Lanes,
    /// Streams that keep what unpacks their files.
    unpacking: Recent,
    /// Streams that keep what reading needs; as many as files may be open.
    warm: Recent,
    buffer: Vec<u8>,
    scratch: Scratch,
    reconciled: Option<Instant>,
    first_scan: bool,
    /// Sources that the last scan was the first for.
    fresh_sources: HashSet<String>,
    relook: HashSet<PathBuf>,
    listed: bool,
    /// When the folders were last listed.
    listed_at: Option<Instant>,
    cursors_due: Option<Instant>,
    /// Cursors that moved since they were entered.
    moved: HashSet<(u32, StreamId)>,
    /// Any cursor may have moved.
    any_moved: bool,
    draining: Option<Instant>,
    polled: usize,
    last_turn: Option<Now>,
    /// When gaps ended in which the agent did not look, newest last.
    blind: VecDeque<Instant>,
    /// Files that are not judged yet: someone is still writing them, or they are still to be read.
    waiting_files: HashMap<FileKey, classify::Waiting>,
    /// Those that are still to be read.
    line: line::Line,
    /// What this turn may still read of them.
    allowance: Allowance,
    counters: report::Counters,
    /// Reads, retries and the like cost a turn nothing while this says that a lane is full.
    stuck: bool,
    /// When the youngest stream began.
    last_begun: i64,
    /// A stream waits for the end of another.
    held: bool,
    /// When ends were looked at.
    ends_looked: Option<Instant>,
    /// When the youngest stream of each source and folder began.
    newest: HashMap<(String, Vec<u8>), i64>,
    /// A stream was begun since that was looked.
    newest_stale: bool,
    /// Turns that read something, so that each source is the first one in its turn.
    turns: usize,
    /// Bytes of the last read.
    last_read: usize,
    /// The switches as they were last given, so that a reload keeps the local one.
    local: Option<Switch>,
    /// The switches that were last ordered apart from the policy, so that a reload of an older one keeps them.
    notice: Notice,
    /// Rotation of live files.
    rotations: rotate::Rotations,
    /// Attributes of the file system on what is protected.
    protection: protect::Protection,
    /// Archives of sinks that are being digested.
    digesting: HashSet<PathBuf>,
    /// Removal of what is no longer kept.
    retention: retain::Retention,
    /// A file that goes on with a stream whose front was cut off, as `decide` found it.
    cut_continues: Option<(StreamId, FileKey)>,
}

impl Engine {
    /// Goes on from a state. `watch` may be absent: everything works without.
    pub fn new(
        mut store: Store,
        setup: Setup,
        plan: Plan,
        outlets: Vec<(String, Outlet)>,
        watch: Option<Watch>,
        now: Now,
    ) -> Self {
        if store.model().node.control.len() != 16 {
            let control = StreamId::random().0.to_vec();
            let node =
                NodeRecord { machine: setup.machine.clone(), control, created: now.wall, ..NodeRecord::default() };
            store.put(Kind::NodePut(node));
        }
        let mut engine = Self {
            store,
            setup,
            plan: Plan {
                sources: Vec::new(),
                sinks: Vec::new(),
                switches: Vec::new(),
                lifted: Vec::new(),
                digest: String::new(),
                ..plan.clone()
            },
            discovery: Discovery::new(Vec::new(), &[], Vec::new(), Vec::new()),
            watch,
            streams: Table::default(),
            by_key: HashMap::new(),
            by_path: BTreeMap::new(),
            by_lead: HashMap::new(),
            orphans: HashMap::new(),
            hot: HashSet::new(),
            doubtful: HashMap::new(),
            unusable: HashMap::new(),
            told: HashSet::new(),
            lanes: Vec::new(),
            source_gates: HashMap::new(),
            waiting: VecDeque::new(),
            undelivered: Vec::new(),
            freed: Lanes::ALL,
            unpacking: Recent::default(),
            warm: Recent::default(),
            buffer: vec![0; READ],
            scratch: Scratch::default(),
            reconciled: None,
            first_scan: true,
            fresh_sources: HashSet::new(),
            relook: HashSet::new(),
            listed: true,
            listed_at: None,
            cursors_due: None,
            moved: HashSet::new(),
            any_moved: true,
            draining: None,
            polled: 0,
            last_turn: None,
            blind: VecDeque::new(),
            waiting_files: HashMap::new(),
            line: line::Line::default(),
            allowance: Allowance(0),
            counters: report::Counters::default(),
            stuck: false,
            last_begun: 0,
            held: false,
            ends_looked: None,
            turns: 0,
            last_read: 0,
            newest: HashMap::new(),
            newest_stale: true,
            local: None,
            notice: Notice::default(),
            rotations: rotate::Rotations::default(),
            protection: protect::Protection::default(),
            digesting: HashSet::new(),
            retention: retain::Retention::default(),
            cut_continues: None,
        };
        engine.resume_streams(now);
        engine.resume_archives(now);
        engine.apply(plan, outlets, now);
        engine
    }

    /// What the state knows.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes in something that happened.
    pub fn handle(&mut self, event: Event, now: Now) {
        match event {
            Event::Hint(Hint::Written(path)) => {
                self.relook.insert(path);
            }
            Event::Hint(Hint::Listed(folder)) => {
                self.discovery.touch(&folder);
                self.listed = true;
            }
            Event::Hint(Hint::Everything) => {
                self.discovery.touch_all();
                self.listed = true;
                self.reconciled = None;
            }
            Event::Committed => self.stuck = false,
            Event::Settled(settlement) => {
                self.stuck = false;
                self.settle(&settlement, now);
            }
            Event::Apply(plan, outlets) => self.apply(*plan, outlets, now),
            Event::Refused(reasons, switches, generation) => self.refuse(&reasons, switches, generation, now),
            Event::Notice(notice) => {
                self.plan.heed(&notice);
                self.notice = notice;
                self.set_switches(now);
            }
            Event::Local(switch) => {
                self.local = switch;
                self.set_switches(now);
            }
            Event::Rotated(done) => self.rotated(done, now),
            Event::Listed(listing) => self.list_archives(listing),
            Event::ClockConfirmed => self.confirm_clock(now),
            Event::Drain(until) => self.draining = Some(until),
            Event::Report(answer) => {
                // Whoever asked may have gone away meanwhile.
                let _sent = answer.send(Box::new(self.report(now)));
            }
        }
    }

    /// Does what there is to do, in bounded steps.
    pub fn turn(&mut self, now: Now) -> Turn {
        self.notice_gap(now);
        // inotify tells of most things at once; the full look is the truth, and what remains without it.
        let every = if self.watch.is_some() { 2 * RECONCILE } else { RECONCILE };
        let due = self.reconciled.is_none_or(|at| now.mono.duration_since(at) >= every);
        let slice = self.setup.slice.unwrap_or(SLICE);
        self.allowance = Allowance(if self.draining.is_none() { slice } else { 0 });
        let doubt = self.doubt_due().is_some_and(|at| at <= now.mono);
        if due || doubt || self.listed || !self.relook.is_empty() || !self.line.is_empty() {
            self.reconcile(due, now);
        }
        if due || self.held {
            // What could not be read or handed over is tried again, whether anything happened or not.
            self.stuck = false;
        }
        if due {
            self.freed = Lanes::ALL;
        }
        self.end_streams(now);
        self.rotate(now);
        self.retain(now);
        self.protect(now);
        let mut busy = false;
        if self.draining.is_none() && !self.stuck {
            busy = self.pass_all(now);
        }
        self.pass_control(now);
        self.commit(now);
        self.hand_over();
        self.stuck = !busy;
        busy |= !self.line.is_empty() && self.draining.is_none();
        let next = self.reconciled.unwrap_or(now.mono) + every;
        let next = self.cursors_due.map_or(next, |due| next.min(due));
        let next = self.doubt_due().map_or(next, |due| next.min(due));
        let next = if self.listed || !self.relook.is_empty() { next.min(now.mono + ending::SOON) } else { next };
        let next = if self.held { next.min(now.mono + ending::SOON) } else { next };
        Turn { busy, next }
    }

    /// Notices a stretch in which nothing was looked at, because the agent was stopped or starved. To be called every [`PULSE`].
    pub fn notice_gap(&mut self, now: Now) {
        const UNWATCHED: Duration = Duration::from_millis(500);
        if let Some(last) = self.last_turn
            && now.mono.duration_since(last.mono) > UNWATCHED
        {
            self.blind.push_back(now.mono);
            if self.blind.len() > 16 {
                self.blind.pop_front();
            }
        }
        self.last_turn = Some(now);
    }

    /// Hands what was put to the writer, and remembers what waits for it.
    fn commit(&mut self, now: Now) {
        if self.cursors_due.is_some_and(|due| now.mono >= due) || self.store.is_dirty() || !self.undelivered.is_empty()
        {
            self.put_cursors();
        }
        if !self.store.is_dirty() && self.undelivered.is_empty() {
            return;
        }
        let ticket = self.store.flush();
        let deliveries = std::mem::take(&mut self.undelivered);
        if !deliveries.is_empty() {
            self.waiting.push_back(Waiting { ticket, deliveries });
        }
    }

    /// Hands over what is durable.
    fn hand_over(&mut self) {
        let durable = self.store.durable();
        while self.waiting.front().is_some_and(|w| w.ticket <= durable) {
            let Some(waiting) = self.waiting.pop_front() else { return };
            for (number, delivery) in waiting.deliveries {
                let Some(lane) = self.lanes.iter().find(|l| l.number == number) else { continue };
                if let Some(outlet) = &lane.outlet {
                    // A sink that is gone is replaced by a reload, which goes back to the cursors.
                    let _sent = outlet.deliveries.send(delivery);
                }
            }
        }
    }

    /// Nothing is under way any more, and everything that was settled is durable. What a sink has that awaits the agent's restart is
    /// not waited for: it stays pending, and ending is what it needs.
    pub fn is_home(&self) -> bool {
        self.waiting.is_empty()
            && self.lanes.iter().all(|l| {
                let rests = l.outlet.as_ref().is_some_and(|outlet| outlet.health().awaits_restart);
                l.tracks.values().all(|t| (rests || t.under_way() == 0) && !t.dirty)
            })
            && !self.store.is_dirty()
            && self.store.durable() >= self.store.ticket()
    }

    /// Until when everything is to be brought home.
    pub fn drain_until(&self) -> Option<Instant> {
        self.draining
    }

    /// Enters the end, waits until it is durable, and lets go of the state.
    pub fn stop(mut self, now: Now, message: &str, fields: &serde_json::Value) {
        self.put_cursors();
        self.store.enter(now.wall, crate::state::ledger::Action::Stopped, message, fields);
        self.store.flush();
    }

    /// The plan that is in force.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn lane_mut(&mut self, number: u32) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|l| l.number == number)
    }
}

impl Lane {
    fn deliver(&mut self, stream: StreamId, chunk: &Arc<crate::lane::chunk::Chunk>, source: &Gate) -> Delivery {
        self.next_delivery += 1;
        let delivery = Delivery::new(self.number, self.next_delivery, Arc::clone(chunk), &self.gate, source);
        self.weight += chunk.weight();
        self.by_delivery.insert(delivery.id, stream);
        self.tracks.get_or_insert_with(stream, Track::default).sent(delivery.id, chunk);
        delivery
    }
}
