//! Wires the rest: start, reload, stop.
//!
//! Threads: the engine, the state's writer, one for each local sink, inotify's reader, and this one, which watches the policy's file, the
//! local kill switches and the signals.

mod files;
mod machine;
mod sinks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::json;

use crate::engine::report::Report;
use crate::engine::{Engine, Event, Now, Setup};
use crate::lane::kill_switch::{Effect, Scope, Switch};
use crate::plan::resolve::{Resolved, resolve};
use crate::rotate::worker::Archivist;
use crate::sink::Secrets;
use crate::source::lease;
use crate::source::receive::Receivers;
use crate::source::watch::Watch;
use crate::state::commit::Committer;
use crate::state::ledger::Action;
use crate::state::store::{self, Store};
use crate::state::{lock, log};

use files::{SwitchFile, Watched};
use sinks::Sinks;

/// How often the policy's file and the local switches are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Events that can wait for the engine; inotify's are dropped above that, the others wait.
const EVENTS: usize = 65_536;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The policy's file.
    pub file: PathBuf,
    /// Where the state lives; `None` = `/var/lib/waybill/<policy>`.
    pub state_dir: Option<PathBuf>,
    /// Where secrets are mounted.
    pub secrets_dir: Option<PathBuf>,
    /// Where kill switches are ordered apart from the policy, such as by the annotation of a pod.
    pub switch_file: Option<PathBuf>,
    /// Folders below which paths are opened from.
    pub read_roots: Vec<PathBuf>,
    /// `WAYBILL_ENABLED=false`.
    pub disabled: bool,
    /// `WAYBILL_FILE`: where the default archive goes.
    pub archive: Option<PathBuf>,
    /// inotify may be used.
    pub inotify: bool,
}

/// The file in the state directory that says that the clock is right; the agent takes it away.
pub const CLOCK_CONFIRMED: &str = "clock-confirmed";

/// Why the agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy cannot be put in force.
    #[error("the policy {} cannot be used", path.display())]
    Policy {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        findings: Vec<waybill_crds::Finding>,
    },
    /// The policy cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Unreadable {
        /// Its file.
        path: PathBuf,
        /// The answer.
        source: std::io::Error,
    },
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] store::Error),
    /// The operating system refused.
    #[error("failed to {what}: {source}; {remedy}")]
    Io {
        /// What was tried.
        what: String,
        /// The answer.
        source: std::io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl Error {
    /// The operating system refused to do something for which `remedy` helps.
    pub fn io(what: impl Into<String>, remedy: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source, remedy }
    }

    /// A thread or what it needs could not be made.
    pub fn start(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("start {what}"), "allow more processes and open files (ulimit -u, ulimit -n, pids.max)")
    }
}

/// What to do where the state directory cannot be used.
const STATE: &str = "let the agent write there, or name another folder with --state-dir";

/// A running agent, for whoever asks how it is.
#[derive(Clone)]
pub struct Handle {
    events: Sender<Event>,
}

impl Handle {
    /// Asks the engine; `None` if it does not answer within two seconds.
    pub fn report(&self) -> Option<Box<Report>> {
        let (answer, report) = bounded(1);
        self.events.send_timeout(Event::Report(answer), Duration::from_secs(2)).ok()?;
        report.recv_timeout(Duration::from_secs(2)).ok()
    }
}

/// An agent that is ready to run.
pub struct Agent {
    options: Options,
    state_dir: PathBuf,
    engine: Engine,
    sinks: Sinks,
    receivers: Receivers,
    inbox: Receiver<Event>,
    events: Sender<Event>,
    watched: Watched,
    switch_file: SwitchFile,
    drain: Duration,
    _lock: lock::Lock,
}

impl Agent {
    /// Reads the policy, takes the state over and prepares everything. Waits for the state's lock as long as it takes, or until `stop`.
    pub fn prepare(options: Options, stop: &AtomicBool) -> Result<Option<Self>, Error> {
        lease::ignore_sigio();
        let mut watched = Watched::new(&options.file, options.secrets_dir.as_deref());
        let text = match watched.read() {
            Ok(text) => text,
            Err(source) => return Err(Error::Unreadable { path: options.file, source }),
        };
        let Resolved { plan, findings, .. } = resolve(&text, options.state_dir.as_deref(), options.archive.as_deref());
        let Some(mut plan) = plan else { return Err(Error::Policy { path: options.file, findings }) };
        let mut switch_file = SwitchFile::new(options.switch_file.as_deref());
        let notice = switch_file.changed().unwrap_or_default();
        plan.heed(&notice);
        findings.iter().for_each(|f| tracing::warn!(path = f.path, line = f.line, "{}; {}", f.message, f.remedy));
        let state_dir = options.state_dir.clone().unwrap_or_else(|| Path::new("/var/lib/waybill").join(&plan.policy));
        std::fs::create_dir_all(&state_dir)
            .map_err(Error::io(format!("make the state directory {}", state_dir.display()), STATE))?;
        let Some(lock) = wait_for_lock(&state_dir, stop)? else { return Ok(None) };
        let machine = machine::identity();
        let (opened, store, events, inbox) = open_state(&state_dir, &machine)?;
        let watch = if options.inotify { start_watch(&events) } else { None };
        // Only a pod is told its switches apart from its policy.
        let secrets = Secrets::new(options.secrets_dir.clone()).in_pod(options.switch_file.is_some());
        let mut sinks = Sinks::new(events.clone(), &state_dir, machine::host_name(), secrets);
        let outlets = sinks.apply(&plan);
        let mut receivers = Receivers::default();
        receivers.apply(&plan.listens());
        let setup = Setup {
            host: machine::host_name(),
            machine,
            read_roots: options.read_roots.clone(),
            own: vec![state_dir.clone()],
            own_stems: machine::own_logs().into_iter().collect(),
            own_files: machine::own_outputs(),
            in_pod: options.switch_file.is_some(),
            slice: None,
        };
        let drain = Duration::from_secs(plan.limits.drain_seconds);
        let mut store = store;
        let now = Now::read();
        if opened.fresh {
            store.enter(
                now.wall,
                Action::StateEmpty,
                "the state begins empty",
                &json!({"dir": state_dir.to_string_lossy()}),
            );
        }
        if let Some(aside) = &opened.set_aside {
            let message = format!("the state of another machine was set aside as {}", aside.display());
            store.enter(now.wall, Action::StateSetAside, message, &json!({"as": aside.to_string_lossy()}));
        }
        let fields = json!({"version": env!("CARGO_PKG_VERSION"), "pid": std::process::id(), "torn": opened.torn});
        store.enter(now.wall, Action::Started, format!("waybill {} started", env!("CARGO_PKG_VERSION")), &fields);
        let mut engine = Engine::new(store, setup, plan, outlets, watch, now);
        engine.handle(Event::Notice(notice), now);
        let tell = events.clone();
        engine.set_archivist(
            Archivist::spawn(move |done| {
                let _sent = tell.send(Event::Rotated(done));
            })
            .map_err(Error::start("the archivist"))?,
        );
        engine.handle(Event::Local(local_switch(&options, &state_dir)), now);
        Ok(Some(Self {
            options,
            state_dir,
            engine,
            sinks,
            receivers,
            inbox,
            events,
            watched,
            switch_file,
            drain,
            _lock: lock,
        }))
    }

    /// For whoever asks how the agent is.
    pub fn handle(&self) -> Handle {
        Handle { events: self.events.clone() }
    }

    /// Ships until `stop`, then brings home what is under way.
    pub fn run(self, stop: &AtomicBool) -> Result<(), Error> {
        let Self {
            options,
            state_dir,
            engine,
            mut sinks,
            mut receivers,
            inbox,
            events,
            mut watched,
            mut switch_file,
            drain,
            _lock,
        } = self;
        let (done, finished) = bounded(1);
        let ended = Arc::new(AtomicBool::new(false));
        let engine_stop = Arc::clone(&ended);
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || {
                let engine = drive(engine, &inbox, &engine_stop);
                let _told = done.send(());
                engine
            })
            .map_err(Error::start("the engine"))?;
        let mut local = local_switch(&options, &state_dir);
        while !stop.load(Ordering::Relaxed) && finished.is_empty() {
            let now = local_switch(&options, &state_dir);
            if now != local {
                local.clone_from(&now);
                let _sent = events.send(Event::Local(now));
            }
            if std::fs::remove_file(state_dir.join(CLOCK_CONFIRMED)).is_ok() {
                let _sent = events.send(Event::ClockConfirmed);
            }
            if let Some(notice) = switch_file.changed() {
                let _sent = events.send(Event::Notice(notice));
            }
            if let Some(text) = watched.changed() {
                reload(&text, &options, (&mut sinks, &mut receivers), &events);
            }
            std::thread::park_timeout(LOOK);
        }
        // What was received by now is on disk; what is sent from now on finds no one.
        drop(receivers);
        let deadline = Instant::now() + drain;
        let _sent = events.send(Event::Drain(deadline));
        ended.store(true, Ordering::Relaxed);
        let _sent = events.send(Event::Committed);
        let engine = thread.join().map_err(|_| {
            Error::io("finish", "start it again; nothing is lost")(std::io::Error::other("the engine panicked"))
        })?;
        finish(engine, &state_dir);
        sinks.finish();
        Ok(())
    }
}

/// Turns the engine until it is told to end and everything is home, or the time for that is over.
fn drive(mut engine: Engine, inbox: &Receiver<Event>, ended: &AtomicBool) -> Engine {
    loop {
        let turn = engine.turn(Now::read());
        if ended.load(Ordering::Relaxed) {
            // The event that says until when may still be on its way.
            let until = engine.drain_until();
            if until.is_some_and(|until| engine.is_home() || Instant::now() >= until) {
                return engine;
            }
        }
        let first = if turn.busy { inbox.try_recv().ok() } else { wait(&mut engine, inbox, turn.next) };
        let Some(first) = first else { continue };
        let mut gather = matches!(first, Event::Hint(_));
        engine.handle(first, Now::read());
        for event in inbox.try_iter().take(EVENTS) {
            gather |= matches!(event, Event::Hint(_));
            engine.handle(event, Now::read());
        }
        // A busy writer makes an event a line: what comes within a moment is read in one go.
        if gather && !turn.busy {
            let until = Instant::now() + crate::engine::GATHER;
            while let Ok(event) = inbox.recv_deadline(until) {
                engine.handle(event, Now::read());
            }
        }
    }
}

/// The next event, if one comes until then.
fn wait(engine: &mut Engine, inbox: &Receiver<Event>, until: Instant) -> Option<Event> {
    loop {
        let pulse = until.min(Instant::now() + crate::engine::PULSE);
        match inbox.recv_deadline(pulse) {
            Ok(event) => return Some(event),
            Err(_) if pulse < until => engine.notice_gap(Now::read()),
            Err(_) => return None,
        }
    }
}

/// The last entry, with what is still pending.
fn finish(engine: Engine, state_dir: &Path) {
    let now = Now::read();
    let report = engine.report(now);
    let pending: Vec<_> = report
        .lanes
        .iter()
        .map(|l| json!({"lane": l.name, "bytes": l.pending.bytes, "records": l.pending.records}))
        .collect();
    let bytes: u64 = report.lanes.iter().map(|l| l.pending.bytes).sum();
    engine.stop(
        now,
        &format!("waybill stopped with {bytes} bytes pending in {}", state_dir.display()),
        &json!({"pending": pending}),
    );
}

fn reload(
    text: &std::io::Result<String>,
    options: &Options,
    (sinks, receivers): (&mut Sinks, &mut Receivers),
    events: &Sender<Event>,
) {
    let event = match text {
        Ok(text) => {
            let Resolved { plan, findings, generation, switches } =
                resolve(text, options.state_dir.as_deref(), options.archive.as_deref());
            findings.iter().for_each(|f| tracing::warn!(path = f.path, line = f.line, "{}; {}", f.message, f.remedy));
            match plan {
                Some(plan) => {
                    let outlets = sinks.apply(&plan);
                    receivers.apply(&plan.listens());
                    Event::Apply(Box::new(plan), outlets)
                }
                None => Event::Refused(findings.iter().map(ToString::to_string).collect(), switches, generation),
            }
        }
        Err(error) => Event::Refused(vec![crate::input::explain(&options.file, error)], Vec::new(), 0),
    };
    let _sent = events.send(event);
}

/// `WAYBILL_ENABLED=false` and the file `KILL` in the state directory, whose text is the reason.
fn local_switch(options: &Options, state_dir: &Path) -> Option<Switch> {
    let path = state_dir.join("KILL");
    let file = std::fs::symlink_metadata(&path).is_ok();
    if !file && !options.disabled {
        return None;
    }
    let reason = if file {
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[..text.len().min(1024)]).trim().to_owned();
        if text.is_empty() { format!("the file {} is there", path.display()) } else { text }
    } else {
        "WAYBILL_ENABLED=false".to_owned()
    };
    Some(Switch { scope: Scope::Local, effect: Effect::Hold, reason, requested_by: "local".to_owned(), verified: true })
}

fn wait_for_lock(dir: &Path, stop: &AtomicBool) -> Result<Option<lock::Lock>, Error> {
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        match lock::try_lock(dir).map_err(Error::io(format!("lock {}", dir.display()), STATE))? {
            Ok(lock) => return Ok(Some(lock)),
            Err(owner) => {
                if !told {
                    tracing::warn!(dir = %dir.display(), owner, "another agent has this state directory; waiting for it");
                    told = true;
                }
                std::thread::park_timeout(LOOK);
            }
        }
    }
    Ok(None)
}

struct OpenedState {
    fresh: bool,
    torn: bool,
    set_aside: Option<PathBuf>,
}

fn open_state(dir: &Path, machine: &str) -> Result<(OpenedState, Store, Sender<Event>, Receiver<Event>), Error> {
    let (mut log, mut model, mut opened) = store::load(dir, false)?;
    let mut set_aside = None;
    if !model.node.machine.is_empty() && model.node.machine != machine {
        // A cloned image: its identities belong to the other machine.
        drop(log);
        let aside = dir.join(format!("other-machine-{}", Now::read().wall));
        std::fs::create_dir(&aside).map_err(Error::io("set the state of another machine aside", STATE))?;
        for name in log::FILES {
            std::fs::rename(dir.join(name), aside.join(name))
                .map_err(Error::io("set the state of another machine aside", STATE))?;
        }
        (log, model, opened) = store::load(dir, false)?;
        set_aside = Some(aside);
    }
    let (events, inbox) = unbounded();
    let wake = events.clone();
    let committer = Committer::spawn(log, move || {
        let _sent = wake.send(Event::Committed);
    })
    .map_err(Error::start("the state's writer"))?;
    let told = OpenedState { fresh: opened.fresh, torn: opened.torn, set_aside };
    Ok((told, Store::resume(model, &opened, committer), events, inbox))
}

fn start_watch(events: &Sender<Event>) -> Option<Watch> {
    let hints = events.clone();
    // Hints beyond the bound are not needed: everything is looked at anyway.
    let watch =
        Watch::start(move |hint| if hints.len() < EVENTS { hints.send(Event::Hint(hint)).is_ok() } else { true });
    match watch {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(%error, "inotify cannot be used; files are looked at every half second instead");
            None
        }
    }
}
