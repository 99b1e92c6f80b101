//! Starts and ends the sinks that a plan names.

use std::collections::HashMap;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use crate::engine::Event;
use crate::lane::Outlet;
use crate::plan::{Plan, SinkKind};
use crate::sink::{Queue, file, stdout};

/// The sinks that run.
pub(super) struct Sinks {
    answers: Sender<Event>,
    running: HashMap<String, SinkKind>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    pub(super) fn new(answers: Sender<Event>) -> Self {
        Self { answers, running: HashMap::new(), threads: Vec::new() }
    }

    /// Starts what is new or changed. What the plan no longer names ends when the engine lets go of it.
    pub(super) fn apply(&mut self, plan: &Plan) -> Vec<(String, Outlet)> {
        self.running.retain(|name, kind| plan.sinks.iter().any(|s| s.name == *name && s.kind == *kind));
        self.threads.retain(|t| !t.is_finished());
        let mut outlets = Vec::new();
        for sink in &plan.sinks {
            if self.running.contains_key(&sink.name) {
                continue;
            }
            let (queue, outlet) = Queue::new(self.answers.clone());
            let kind = sink.kind.clone();
            let started = std::thread::Builder::new().name(format!("sink-{}", sink.name)).spawn(move || match kind {
                SinkKind::File(plan) => file::run(queue, &plan),
                SinkKind::Stdout => stdout::run(queue, std::io::stdout()),
            });
            match started {
                Ok(thread) => {
                    self.threads.push(thread);
                    self.running.insert(sink.name.clone(), sink.kind.clone());
                    outlets.push((sink.name.clone(), outlet));
                }
                Err(error) => tracing::error!(sink = sink.name, %error, "failed to start a sink"),
            }
        }
        outlets
    }

    /// Waits for the sinks to end; the engine is gone by now. A sink that still tries to deliver is left to the end of the process.
    pub(super) fn finish(self) {
        drop(self.answers);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(2);
        for thread in self.threads {
            while !thread.is_finished() && std::time::Instant::now() < deadline {
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        }
    }
}
