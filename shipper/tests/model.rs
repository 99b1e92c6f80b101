//! The engine against a simple model of what a writer and its rotator do to files, in steps and in made-up time.
//!
//! The model remembers every byte of every content that a file ever had. Whatever the order of writes, rotations, looks, answers
//! and crashes: what is still there arrives, under one id, at its offset; what was destroyed arrived or is in the ledger, unless
//! it came and went between two looks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, unbounded};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::Value;

use waybill::engine::{Engine, Event, Now, Setup};
use waybill::lane::{Delivery, Fate, Gate, Outlet, Settlement};
use waybill::plan::resolve::resolve;
use waybill::state::commit::Committer;
use waybill::state::store::{self, Store};

/// What can happen.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The writer appends so many lines.
    Write(u8),
    /// The writer appends half a line, which its next write completes.
    WriteHalf,
    /// `app.log` becomes `app.log.1`, that `app.log.2` …; with `late`, the writer goes on in the old file for some lines.
    Rotate { late: bool },
    /// The file is copied, and truncated.
    CopyTruncate,
    /// The file is truncated.
    Truncate,
    /// A longer copy takes its place.
    ReplaceByCopy,
    /// A file of other content takes its place.
    ReplaceByOther,
    /// It is deleted, and begun anew.
    Delete,
    /// A rotated file is compressed: its compressed form appears beside it, only half of it with `slowly`.
    Compress { which: u8, slowly: bool },
    /// What was compressed slowly is complete, and the original goes.
    Complete,
    /// The oldest rotated file is deleted.
    Prune,
    /// Time passes, in hundredths of a second.
    Pass(u16),
    /// The sink stops to answer, or answers again.
    Stall(bool),
    /// The agent is gone from one moment to the next.
    Crash,
    /// It comes back.
    Start,
}

/// One content from its first byte on.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// Files that hold it.
    files: BTreeSet<PathBuf>,
    /// Bytes that the engine must have seen.
    seen: usize,
}

struct World {
    _room: tempfile::TempDir,
    logs: PathBuf,
    state: PathBuf,
    alike: bool,
    /// Bytes of unknown files that a turn reads.
    slice: Option<u64>,
    began: (Instant, SystemTime),
    passed: Duration,
    agent: Option<(Engine, Receiver<Delivery>)>,
    stalled: bool,
    unanswered: Vec<Delivery>,
    contents: Vec<Content>,
    writer: File,
    current: usize,
    half: bool,
    /// Rotated files, the newest first: content, and whether it is compressed.
    rotated: Vec<(usize, bool)>,
    /// A compressed file that is being written: name, its bytes, original, content.
    slow: Option<(PathBuf, Vec<u8>, PathBuf, usize)>,
    copies: usize,
    lines: usize,
    /// What came: stream and offset, to the text and the id.
    came: BTreeMap<(String, u64), (String, String)>,
    wrong: Vec<String>,
}

const POLICY: &str = "apiVersion: waybill.dev/v1alpha1
kind: AuditPolicy
metadata: {name: model}
spec:
  sources:
    - name: app
      type: File
      format: Text
      file: {paths: [\"LOGS/app*\"]}
  sinks:
    - name: archive
      type: File
      file: {path: \"STATE/out.log\"}
";

impl World {
    fn new(alike: bool, slice: Option<u64>) -> Self {
        let shm = PathBuf::from("/dev/shm");
        let parent = if shm.is_dir() { shm } else { std::env::temp_dir() };
        let room = tempfile::Builder::new().prefix("waybill-model-").tempdir_in(parent).expect("a folder");
        let (logs, state) = (room.path().join("logs"), room.path().join("state"));
        fs::create_dir(&logs).expect("logs");
        fs::create_dir(&state).expect("state");
        let writer = append(&logs.join("app.log"));
        let mut world = Self {
            _room: room,
            logs,
            state,
            alike,
            slice,
            began: (Instant::now(), SystemTime::now()),
            passed: Duration::ZERO,
            agent: None,
            stalled: false,
            unanswered: Vec::new(),
            contents: Vec::new(),
            writer,
            current: 0,
            half: false,
            rotated: Vec::new(),
            slow: None,
            copies: 0,
            lines: 0,
            came: BTreeMap::new(),
            wrong: Vec::new(),
        };
        world.begin();
        world.start();
        world
    }

    fn now(&self) -> Now {
        let wall = (self.began.1 + self.passed).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.began.0 + self.passed, wall: wall.as_nanos() as i64 }
    }

    fn live(&self) -> PathBuf {
        self.logs.join("app.log")
    }

    /// A new content in the live file, which is empty.
    fn begin(&mut self) {
        let files = BTreeSet::from([self.live()]);
        self.contents.push(Content { files, ..Content::default() });
        self.current = self.contents.len() - 1;
        self.half = false;
        if self.alike {
            self.write_bytes(format!("{}\n", "=".repeat(700)).as_bytes());
        }
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).expect("a write");
        self.contents[self.current].bytes.extend_from_slice(bytes);
        self.touch();
    }

    fn touch(&self) {
        self.writer.set_modified(self.began.1 + self.passed).expect("a time");
    }

    fn write(&mut self, lines: usize) {
        let mut bytes = Vec::new();
        if std::mem::take(&mut self.half) {
            bytes.extend_from_slice(b" whole\n");
        }
        for _ in 0..lines {
            self.lines += 1;
            bytes.extend_from_slice(format!("{:05} line {}\n", self.lines, "x".repeat(self.lines * 7 % 60)).as_bytes());
        }
        self.write_bytes(&bytes);
    }

    fn holds(&mut self, content: usize, path: PathBuf) {
        self.contents[content].files.insert(path);
    }

    fn gone(&mut self, content: usize, path: &PathBuf) {
        self.contents[content].files.remove(path);
    }

    fn name(&self, at: usize) -> PathBuf {
        let end = if self.rotated[at].1 { ".gz" } else { "" };
        self.logs.join(format!("app.log.{}{end}", at + 1))
    }

    fn rename(&mut self, content: usize, from: PathBuf, to: PathBuf) {
        fs::rename(&from, &to).expect("a rename");
        self.gone(content, &from);
        self.holds(content, to);
    }

    fn rotate(&mut self, late: bool) {
        self.complete();
        for at in (0..self.rotated.len()).rev() {
            let from = self.name(at);
            let end = if self.rotated[at].1 { ".gz" } else { "" };
            self.rename(self.rotated[at].0, from, self.logs.join(format!("app.log.{}{end}", at + 2)));
        }
        self.rename(self.current, self.live(), self.logs.join("app.log.1"));
        self.rotated.insert(0, (self.current, false));
        if late {
            self.write(2);
        }
        self.writer = append(&self.live());
        self.begin();
    }

    fn copy_truncate(&mut self) {
        self.copies += 1;
        let copy = self.logs.join(format!("app-copy.{:03}", self.copies));
        fs::copy(self.live(), &copy).expect("a copy");
        File::open(&copy).and_then(|f| f.set_modified(self.began.1 + self.passed)).expect("a time");
        self.holds(self.current, copy);
        self.truncate();
    }

    fn truncate(&mut self) {
        let live = self.live();
        self.gone(self.current, &live);
        self.writer.set_len(0).expect("a truncation");
        self.touch();
        self.begin();
    }

    fn replace(&mut self, by_copy: bool) {
        if by_copy {
            // The old file ends here for good: half a line in it would be a record.
            self.write(1);
        }
        let fresh = self.logs.join(".fresh");
        let live = self.live();
        if by_copy {
            fs::copy(&live, &fresh).expect("a copy");
            fs::rename(&fresh, &live).expect("a rename");
            self.writer = append(&live);
            self.touch();
            self.write(1);
        } else {
            self.gone(self.current, &live);
            self.writer = append(&fresh);
            fs::rename(&fresh, &live).expect("a rename");
            self.begin();
        }
    }

    fn delete(&mut self) {
        let live = self.live();
        self.gone(self.current, &live);
        fs::remove_file(&live).expect("a removal");
        self.writer = append(&live);
        self.begin();
    }

    fn compress(&mut self, which: u8, slowly: bool) {
        self.complete();
        let Some(at) = (0..self.rotated.len()).filter(|at| !self.rotated[*at].1).nth(usize::from(which)) else {
            return;
        };
        let (content, from) = (self.rotated[at].0, self.name(at));
        let to = from.with_extension(format!("{}.gz", at + 1));
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.contents[content].bytes).expect("compressed bytes");
        let bytes = encoder.finish().expect("compressed bytes");
        fs::write(&to, &bytes[..bytes.len() / 2]).expect("a compressed file");
        self.rotated[at].1 = true;
        self.slow = Some((to, bytes, from, content));
        if !slowly {
            self.complete();
        }
    }

    fn complete(&mut self) {
        let Some((to, bytes, from, content)) = self.slow.take() else { return };
        let mut file = OpenOptions::new().append(true).open(&to).expect("the compressed file");
        file.write_all(&bytes[bytes.len() / 2..]).expect("the rest");
        file.set_modified(self.began.1 + self.passed).expect("a time");
        self.holds(content, to);
        fs::remove_file(&from).expect("a removal");
        self.gone(content, &from);
    }

    fn prune(&mut self) {
        self.complete();
        if let Some(last) = self.rotated.len().checked_sub(1) {
            let path = self.name(last);
            let (content, _) = self.rotated.remove(last);
            fs::remove_file(&path).expect("a removal");
            self.gone(content, &path);
        }
    }

    fn start(&mut self) {
        if self.agent.is_some() {
            return;
        }
        let text = POLICY
            .replace("LOGS", &self.logs.display().to_string())
            .replace("STATE", &self.state.display().to_string());
        let resolved = resolve(&text, Some(&self.state), None);
        let plan = resolved.plan.unwrap_or_else(|| unreachable!("{:?}", resolved.findings));
        let (log, model, _) = store::load(&self.state, false).expect("the state");
        let (deliveries, inbox) = unbounded();
        let outlet =
            Outlet { deliveries, health: std::sync::Arc::default(), gate: Gate::default(), letters: Gate::default() };
        let setup = Setup { own: vec![self.state.clone()], slice: self.slice, ..Setup::default() };
        let store = Store::new(model, Committer::inline(log));
        let engine = Engine::new(store, setup, plan, vec![("archive".to_owned(), outlet)], None, self.now());
        self.agent = Some((engine, inbox));
    }

    fn crash(&mut self) {
        self.agent = None;
        self.unanswered.clear();
    }

    fn pass(&mut self, hundredths: u16) {
        let end = self.passed + Duration::from_millis(u64::from(hundredths) * 10);
        let looked_for = Duration::from_millis(1100);
        let long = end.saturating_sub(self.passed) >= looked_for;
        while self.passed < end {
            self.passed += Duration::from_millis(50);
            for _ in 0..if self.slice.is_some() { 40 } else { 4 } {
                self.turn();
            }
        }
        if long && self.agent.is_some() {
            for content in self.contents.iter_mut().filter(|c| !c.files.is_empty()) {
                content.seen = content.bytes.len();
            }
        }
    }

    fn turn(&mut self) {
        let now = self.now();
        let Some((engine, inbox)) = &mut self.agent else { return };
        engine.turn(now);
        self.unanswered.extend(inbox.try_iter());
        if self.stalled {
            return;
        }
        for delivery in std::mem::take(&mut self.unanswered) {
            let fate = if delivery.may_pass() { Fate::Acknowledged } else { Fate::Recalled };
            if fate == Fate::Acknowledged {
                take(&mut self.came, &mut self.wrong, &delivery);
            }
            let settlement = Settlement { lane: delivery.lane(), delivery: delivery.id, fate };
            engine.handle(Event::Settled(settlement), now);
        }
    }

    fn step(&mut self, step: Step) {
        // No two things happen at the same instant.
        self.passed += Duration::from_millis(10);
        match step {
            Step::Write(lines) => self.write(usize::from(lines)),
            Step::WriteHalf => {
                self.write(0);
                self.lines += 1;
                self.write_bytes(format!("{:05} half", self.lines).as_bytes());
                self.half = true;
            }
            Step::Rotate { late } => self.rotate(late),
            Step::CopyTruncate => self.copy_truncate(),
            Step::Truncate => self.truncate(),
            Step::ReplaceByCopy => self.replace(true),
            Step::ReplaceByOther => self.replace(false),
            Step::Delete => self.delete(),
            Step::Compress { which, slowly } => self.compress(which, slowly),
            Step::Complete => self.complete(),
            Step::Prune => self.prune(),
            Step::Pass(hundredths) => self.pass(hundredths),
            Step::Stall(stalled) => self.stalled = stalled,
            Step::Crash => self.crash(),
            Step::Start => self.start(),
        }
    }

    /// Lets everything come home, and judges.
    fn judge(mut self) -> Result<(), String> {
        self.complete();
        self.stalled = false;
        self.start();
        // The live file ends here.
        self.write(1);
        self.pass(2000);
        let mut wrong = std::mem::take(&mut self.wrong);
        let (engine, _) = self.agent.take().ok_or("no agent")?;
        let losses = losses(&engine);
        let by_line = self.by_line();
        // Which content a stream is, told by the first unique line that came of it.
        let mut homes: HashMap<&str, usize> = HashMap::new();
        let mut ids: HashMap<&str, &str> = HashMap::new();
        for ((stream, offset), (text, id)) in &self.came {
            let Some((content, at)) = by_line.get(text) else {
                if !text.starts_with('=') {
                    wrong.push(format!("no one wrote {text:?}, which came as {id}"));
                }
                continue;
            };
            let home = *homes.entry(stream).or_insert(*content);
            if home != *content {
                wrong.push(format!("{text:?} of content {content} came in a stream of content {home}"));
            }
            if at != offset {
                wrong.push(format!("{text:?} was written at {at} and came as {id}"));
            }
            if let Some(other) = ids.insert(text, id) {
                wrong.push(format!("{text:?} came as {other} and as {id}"));
            }
        }
        let mut nameless: Vec<&Loss> = losses.iter().filter(|loss| !homes.contains_key(loss.stream.as_str())).collect();
        let mut unnamed = Vec::new();
        for (number, content) in self.contents.iter().enumerate() {
            let mine: Vec<&Loss> = losses.iter().filter(|l| homes.get(l.stream.as_str()) == Some(&number)).collect();
            if !content.files.is_empty() && !mine.is_empty() {
                wrong.push(format!("content {number} is there, and the ledger says that it is lost: {mine:?}"));
            }
            let mut owed = Vec::new();
            for (text, at) in lines_of(&content.bytes) {
                if ids.contains_key(text) || text.starts_with('=') {
                    continue;
                }
                let end = at + text.len() as u64 + 1;
                let entered = mine.iter().any(|l| l.from <= at && (l.to >= end || l.more));
                if !content.files.is_empty() {
                    wrong.push(format!("{text:?} at {at} of content {number}, which is there, did not come"));
                } else if !entered && end <= content.seen as u64 {
                    owed.push(end);
                }
            }
            unnamed.extend(owed.into_iter().max().map(|end| (end, number)));
        }
        // Nothing of it came: a loss whose stream nothing is known of stands for it. What fits a longer one fits a shorter one as well:
        // with the longest first, each finds one if there is one for each.
        unnamed.sort_unstable_by(|a, b| b.cmp(a));
        for (end, number) in unnamed {
            let fits = nameless.iter().position(|l| l.to >= end || l.more);
            let known = homes.values().any(|home| *home == number);
            match fits.filter(|_| !known) {
                Some(at) => _ = nameless.remove(at),
                None => wrong.push(format!("content {number} up to {end} went away unseen: {losses:?}")),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Every unique line: its content, and its offset there.
    fn by_line(&self) -> HashMap<String, (usize, u64)> {
        let lines = self.contents.iter().enumerate().flat_map(|(number, content)| {
            lines_of(&content.bytes).map(move |(text, at)| (text.to_owned(), (number, at)))
        });
        lines.filter(|(text, _)| !text.starts_with('=')).collect()
    }
}

fn take(came: &mut BTreeMap<(String, u64), (String, String)>, wrong: &mut Vec<String>, delivery: &Delivery) {
    for line in delivery.chunk.data.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let record: Value = serde_json::from_slice(line).unwrap_or_default();
        let waybill = &record["waybill"];
        if waybill["source"] != "app" {
            continue;
        }
        let text = record["event"]["original"].as_str().unwrap_or_default().to_owned();
        let id = waybill["id"].as_str().unwrap_or_default().to_owned();
        let stream = waybill["stream"].as_str().unwrap_or_default().to_owned();
        let offset = waybill["offset"].as_u64().unwrap_or(u64::MAX);
        let had = came.entry((stream, offset)).or_insert_with(|| (text.clone(), id.clone()));
        if had.0 != text {
            wrong.push(format!("{:?} and {text:?} stand at one place: {} and {id}", had.0, had.1));
        }
    }
}

#[derive(Debug)]
struct Loss {
    stream: String,
    from: u64,
    to: u64,
    more: bool,
}

fn losses(engine: &Engine) -> Vec<Loss> {
    let entries = engine.store().model().ledger.iter().filter(|e| e.action == "loss");
    let losses = entries.filter_map(|entry| {
        let fields: Value = serde_json::from_str(&entry.fields).ok()?;
        Some(Loss {
            stream: fields["stream"].as_str()?.to_owned(),
            from: fields["from"].as_u64()?,
            to: fields["to"].as_u64()?,
            more: fields["more"].as_bool()?,
        })
    });
    losses.collect()
}

fn lines_of(bytes: &[u8]) -> impl Iterator<Item = (&str, u64)> {
    let mut at = 0;
    bytes.split_inclusive(|b| *b == b'\n').map(move |line| {
        let offset = at;
        at += line.len() as u64;
        (std::str::from_utf8(line).unwrap_or_default().trim_end_matches('\n'), offset)
    })
}

fn append(path: &PathBuf) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("a log file")
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6u8).prop_map(Step::Write),
        1 => Just(Step::WriteHalf),
        3 => any::<bool>().prop_map(|late| Step::Rotate { late }),
        2 => Just(Step::CopyTruncate),
        1 => Just(Step::Truncate),
        2 => Just(Step::ReplaceByCopy),
        1 => Just(Step::ReplaceByOther),
        1 => Just(Step::Delete),
        2 => (0..3u8, any::<bool>()).prop_map(|(which, slowly)| Step::Compress { which, slowly }),
        1 => Just(Step::Complete),
        1 => Just(Step::Prune),
        6 => prop_oneof![Just(5), Just(30), Just(120), Just(200), Just(500)].prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Stall),
        2 => Just(Step::Crash),
        3 => Just(Step::Start),
    ]
}

/// All at once, or so slowly that the files move on while they are read.
fn slice() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), (20..400_u64).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_the_model(alike: bool, slice in slice(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new(alike, slice);
        for step in steps {
            world.step(step);
        }
        if let Err(wrong) = world.judge() {
            prop_assert!(false, "{wrong}");
        }
    }
}

/// What random steps found once, each with the reason that it went wrong.
#[test]
fn what_went_wrong_once() {
    use Step::{
        Compress, CopyTruncate, Crash, Pass, Prune, ReplaceByCopy, ReplaceByOther, Rotate, Stall, Start, Truncate,
        Write, WriteHalf,
    };
    let cases: [(bool, &[Step]); 7] = [
        // A copy of a file that was met with half a line, and of which nothing was handed out.
        (false, &[WriteHalf, Pass(5), ReplaceByCopy]),
        // The file was truncated before anything of it was handed out, and its content went on elsewhere.
        (false, &[WriteHalf, Pass(5), CopyTruncate, ReplaceByCopy]),
        // A rotated file with half a line at its end, met together with the one that followed it.
        (true, &[WriteHalf, Rotate { late: false }]),
        // Half a line behind lines that another file began with is no copy of that file.
        (true, &[Write(1), Pass(5), Truncate, WriteHalf, CopyTruncate]),
        // The original was renamed while the agent was away.
        (
            false,
            &[
                WriteHalf,
                Rotate { late: false },
                ReplaceByCopy,
                Write(6),
                Pass(5),
                Rotate { late: false },
                Crash,
                WriteHalf,
                Compress { which: 2, slowly: false },
                ReplaceByCopy,
            ],
        ),
        (false, &[WriteHalf, Rotate { late: false }, Write(1), Pass(5), Crash, Write(1), Start, Prune, ReplaceByCopy]),
        // Two contents were lost of which nothing came: the longer loss is the longer one's.
        (
            false,
            &[
                ReplaceByCopy,
                Rotate { late: false },
                Stall(true),
                Compress { which: 0, slowly: false },
                Write(2),
                Pass(120),
                ReplaceByOther,
                Crash,
                Prune,
            ],
        ),
    ];
    for (number, (alike, steps)) in cases.into_iter().enumerate() {
        for slice in [None, Some(50)] {
            let mut world = World::new(alike, slice);
            for step in steps {
                world.step(*step);
            }
            if let Err(wrong) = world.judge() {
                unreachable!("case {number}, {slice:?}: {wrong}");
            }
        }
    }
}
