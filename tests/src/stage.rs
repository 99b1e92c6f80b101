//! What the writers of one test share: the gate, the watch, and the word that it is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::gate::Gate;
use crate::watch::Watch;

/// The stage on which writers act.
#[derive(Debug)]
pub struct Stage {
    /// Tells whether the agent is away.
    pub gate: Gate,
    /// Tells what came.
    pub watch: Watch,
    over: AtomicBool,
}

impl Stage {
    /// A stage whose output goes to this File sink.
    pub fn new(live: &Path) -> Arc<Self> {
        Arc::new(Self { gate: Gate::default(), watch: Watch::start(live), over: AtomicBool::new(false) })
    }

    /// Asks the writers to come to an end.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether they were asked.
    pub fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
