//! A program that writes a log on one node, and where its lines arrive there.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Node;
use crate::book::Book;
use crate::history::History;
use crate::oracle::{Case, Leniency, Totals, judge};
use crate::output::Output;
use crate::rng::Rng;
use crate::scene::SOON;
use crate::stage::Stage;
use crate::wait::await_true;
use crate::writer::{Live, Scribe};

/// The files that the writers of a name write, as a source names them.
pub fn pattern(name: &str) -> String {
    format!("/var/log/{name}/app/*.log")
}

/// Where their lines arrive on each node, as a File sink names it.
pub fn archive(name: &str) -> String {
    format!("/var/lib/waybill/{name}/archive/audit.log")
}

/// A writer.
#[derive(Debug)]
pub struct NodeWriter {
    scribe: Scribe,
    live: Live,
    archive: PathBuf,
}

/// A writer on each node; what an earlier one of the same name left there is removed.
pub fn on_each(nodes: &[Node], name: &str) -> Result<Vec<NodeWriter>> {
    nodes.iter().map(|node| NodeWriter::new(node, name)).collect()
}

/// Waits until all that was written has come.
pub fn all_came(writers: &[NodeWriter]) -> Result<()> {
    await_true("all that was written has come", SOON, || Ok(writers.iter().all(NodeWriter::came)))
}

impl NodeWriter {
    fn new(node: &Node, name: &str) -> Result<Self> {
        node.fresh_folder(&format!("/var/lib/waybill/{name}"))?;
        let folder = node.fresh_folder(&format!("/var/log/{name}"))?;
        let archive = node.path(&archive(name));
        let stage = Stage::new(&archive);
        stage.gate.up();
        let scribe = Scribe::new(node.name(), &folder.join("app"), Rng::from_env(node.name()), &stage)?;
        let live = Live::create(&scribe.book, &scribe.path("app.log"))?;
        Ok(Self { scribe, live, archive })
    }

    /// Writes lines.
    pub fn write(&mut self, count: usize) -> Result<()> {
        let texts: Vec<String> = (0..count).map(|_| self.scribe.text()).collect();
        self.live.lines(&self.scribe.book, &texts)
    }

    /// Whether every line has come.
    pub fn came(&self) -> bool {
        self.scribe.stage.watch.has(&self.scribe.book.open(), &[self.live.incarnation])
    }

    /// The File sink's live file, seen from outside.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// What the File sink holds.
    pub fn output(&self) -> Result<Output> {
        Output::read(&self.archive)
    }

    /// How many records the File sink holds.
    pub fn records(&self) -> Result<usize> {
        Ok(self.output()?.records.len())
    }

    /// Whether the ledger that came has an entry of this kind that contains a text.
    pub fn has_entry(&self, action: &str, text: &str) -> Result<bool> {
        Ok(self.output()?.actions(action).any(|entry| entry.details.to_string().contains(text)))
    }

    /// Where the writer writes on its node, seen from outside.
    pub fn folder(&self) -> &Path {
        &self.scribe.folder
    }

    /// Holds what was written on this node against what came there.
    pub fn judge(&self, leniency: Leniency) -> Result<Totals> {
        let books: [Book; 1] = [self.scribe.book.copy()];
        let output = self.output()?;
        let history = History::default();
        judge(&Case { books: &books, output: &output, history: &history, leniency }).check()
    }
}
