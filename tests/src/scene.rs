//! One agent, one writer and the means to judge them: what the named tests are made of.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::agent::Agent;
use crate::book::Book;
use crate::oracle::{Case, Leniency, Totals, judge};
use crate::output::{Entry, Output};
use crate::policy::Policy;
use crate::rng::Rng;
use crate::room::Room;
use crate::stage::Stage;
use crate::wait::await_true;
use crate::writer::{Live, Scribe};

/// How long the agent may take for what it should do within seconds; generous, for the machine may be busy.
pub const SOON: Duration = Duration::from_secs(20);

/// The scene.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Its room.
    pub room: &'a Room,
    /// Its agent.
    pub agent: Agent,
    /// Where the writer learns how the agent fares.
    pub stage: Arc<Stage>,
    /// The writer, in `logs/app`.
    pub scribe: Scribe,
}

impl<'a> Scene<'a> {
    /// A scene whose agent ships `logs/app/app*` as `Text`.
    pub fn new(room: &'a Room) -> Result<Self> {
        let pattern = format!("{}/app/app*", room.logs().display());
        Self::with(room, &Policy::plain("scene", &pattern, &room.archive()))
    }

    /// A scene with a policy of its own.
    pub fn with(room: &'a Room, policy: &Policy) -> Result<Self> {
        let stage = Stage::new(&room.archive());
        let scribe = Scribe::new("app", &room.logs().join("app"), Rng::from_env("scene"), &stage)?;
        Ok(Self { room, agent: room.agent(policy)?, stage, scribe })
    }

    /// A new file of the writer.
    pub fn create(&self, name: &str) -> Result<Live> {
        Live::create(&self.scribe.book, &self.scribe.path(name))
    }

    /// Some lines.
    pub fn write(&mut self, live: &mut Live, count: usize) -> Result<()> {
        let texts: Vec<String> = (0..count).map(|_| self.scribe.text()).collect();
        live.lines(&self.scribe.book, &texts)
    }

    /// Starts the agent.
    pub fn start(&mut self) -> Result<()> {
        self.stage.gate.up();
        self.agent.start()
    }

    /// Kills the agent.
    pub fn kill(&mut self) -> Result<()> {
        self.agent.kill()?;
        self.stage.gate.down();
        Ok(())
    }

    /// Stops the agent in good order.
    pub fn stop(&mut self) -> Result<()> {
        self.agent.stop()?;
        self.stage.gate.down();
        Ok(())
    }

    /// Waits until every line of a file has come.
    pub fn came(&self, live: &Live) -> Result<()> {
        await_true("the file's lines come", SOON, || {
            Ok(self.stage.watch.has(&self.scribe.book.open(), &[live.incarnation]))
        })
    }

    /// Waits until every line of every file that is still there has come, and no lane owes anything.
    pub fn settle(&mut self) -> Result<()> {
        let book = self.scribe.book.copy();
        let there: Vec<usize> =
            (0..book.incarnations.len()).filter(|at| book.incarnations[*at].gone.is_none()).collect();
        await_true("all that is still there has come", SOON, || {
            self.agent.check_alive()?;
            Ok(self.stage.watch.has(&book, &there))
        })?;
        self.await_idle()
    }

    /// Waits until no lane owes anything.
    pub fn await_idle(&mut self) -> Result<()> {
        await_true("no lane owes anything", SOON, || {
            self.agent.check_alive()?;
            Ok(self.agent.asker().lanes()?.iter().all(|lane| lane.term("pending").bytes == 0))
        })
    }

    /// What the sink holds now.
    pub fn output(&self) -> Result<Output> {
        self.room.output()
    }

    /// Waits for a ledger entry and gives back the first.
    pub fn await_entry(&self, action: &str, wanted: impl Fn(&Entry) -> bool) -> Result<Entry> {
        crate::wait::await_condition(&format!("a ledger entry {action}"), SOON, || {
            Ok(self.output()?.actions(action).find(|entry| wanted(entry)).cloned())
        })
    }

    /// Stops the agent, checks the lanes' accounts, and judges.
    pub fn judge(&mut self) -> Result<Totals> {
        self.judge_with(Leniency::default())
    }

    /// The same, forgiving something.
    pub fn judge_with(&mut self, leniency: Leniency) -> Result<Totals> {
        self.stop()?;
        for lane in crate::face::lanes(&self.agent.inspect()?)? {
            lane.balance()?;
        }
        let books: [Book; 1] = [self.scribe.book.copy()];
        let output = self.output()?;
        judge(&Case { books: &books, output: &output, history: self.agent.history(), leniency }).check()
    }
}
