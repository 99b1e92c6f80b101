//! What every writer has: a folder, a book, its own randomness, and the stage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Live;
use crate::book::{How, SharedBook};
use crate::rng::Rng;
use crate::stage::Stage;

/// How long a writer waits for the agent to be away, or to be through, before it goes on without the deed.
const PATIENCE: Duration = Duration::from_secs(6);

/// The equal beginning of all files of a writer: 2 KB.
const HEADER_LINES: usize = 20;

/// The common part of the writers.
#[derive(Debug)]
pub struct Scribe {
    /// Name.
    pub name: String,
    /// The writer's own folder.
    pub folder: PathBuf,
    /// Its randomness.
    pub rng: Rng,
    /// Its book.
    pub book: SharedBook,
    /// What it shares with the others.
    pub stage: Arc<Stage>,
    count: u64,
}

impl Scribe {
    /// A scribe in a new folder.
    pub fn new(name: &str, folder: &Path, rng: Rng, stage: &Arc<Stage>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let book = SharedBook::new(name, folder);
        Ok(Self { name: name.to_owned(), folder: folder.to_owned(), rng, book, stage: Arc::clone(stage), count: 0 })
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A number that no other line of this writer has.
    pub fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A line that is written once only.
    pub fn text(&mut self) -> String {
        let len = self.rng.within(1..160) as usize;
        let number = self.number();
        format!("{} {number} {}", self.name, self.rng.text(len))
    }

    /// Several such lines.
    pub fn texts(&mut self, most: u64) -> Vec<String> {
        (0..self.rng.within(1..most + 1)).map(|_| self.text()).collect()
    }

    /// Appends a few lines.
    pub fn burst(&mut self, live: &mut Live) -> Result<()> {
        let texts = self.texts(25);
        live.lines(&self.book, &texts)
    }

    /// Begins a file as all of this writer's files begin, and ends the beginning with a line of its own.
    pub fn header(&mut self, live: &mut Live) -> Result<()> {
        let common: Vec<String> =
            (0..HEADER_LINES).map(|at| format!("{} header {at:02} {}", self.name, "=".repeat(80))).collect();
        let own = self.text();
        live.header(&self.book, &common, own.as_bytes())
    }

    /// Does something that destroys the content of incarnations: while the agent is down, or once it is through with them.
    /// False if neither came about; then nothing is done.
    pub fn destroy(&mut self, doomed: &[usize], deed: impl FnOnce(&mut Self) -> Result<()>) -> Result<bool> {
        if self.rng.chance(50) { self.destroy_down(doomed, deed) } else { self.destroy_ahead(doomed, deed) }
    }

    /// The same, while the agent is down.
    pub fn destroy_down(&mut self, doomed: &[usize], deed: impl FnOnce(&mut Self) -> Result<()>) -> Result<bool> {
        let stage = Arc::clone(&self.stage);
        let Some(_down) = stage.gate.while_down(PATIENCE) else { return Ok(false) };
        deed(self)?;
        self.gone(doomed, How::Down);
        Ok(true)
    }

    /// The same, after every line has come.
    pub fn destroy_ahead(&mut self, doomed: &[usize], deed: impl FnOnce(&mut Self) -> Result<()>) -> Result<bool> {
        if !self.ahead(doomed, PATIENCE) {
            return Ok(false);
        }
        deed(self)?;
        self.gone(doomed, How::Ahead);
        Ok(true)
    }

    /// Enters that content is gone.
    pub fn gone(&self, doomed: &[usize], how: How) {
        let mut book = self.book.open();
        for incarnation in doomed {
            book.gone(*incarnation, how);
        }
    }

    /// Whether every line of these incarnations came within the time.
    pub fn ahead(&self, incarnations: &[usize], within: Duration) -> bool {
        let began = Instant::now();
        loop {
            if self.stage.watch.has(&self.book.open(), incarnations) {
                return true;
            }
            if began.elapsed() > within || self.stage.over() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
