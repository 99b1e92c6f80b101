//! Starts and ends the sinks that a plan names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use crate::engine::Event;
use crate::lane::Outlet;
use crate::plan::{Encoding, Plan, SinkKind};
use crate::sink::{self, Queue, Secrets};

/// The sinks that run.
pub(super) struct Sinks {
    answers: Sender<Event>,
    state_dir: PathBuf,
    host: String,
    secrets: Secrets,
    running: HashMap<String, (SinkKind, Encoding)>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    pub(super) fn new(answers: Sender<Event>, state_dir: &Path, host: String, secrets: Secrets) -> Self {
        let state_dir = state_dir.to_owned();
        Self { answers, state_dir, host, secrets, running: HashMap::new(), threads: Vec::new() }
    }

    /// Starts what is new or changed. What the plan no longer names ends when the engine lets go of it.
    pub(super) fn apply(&mut self, plan: &Plan) -> Vec<(String, Outlet)> {
        self.running.retain(|name, (kind, encoding)| {
            plan.sinks.iter().any(|s| s.name == *name && s.kind == *kind && s.encoding == *encoding)
        });
        self.threads.retain(|t| !t.is_finished());
        let mut outlets = Vec::new();
        for sink in &plan.sinks {
            if self.running.contains_key(&sink.name) {
                continue;
            }
            let (queue, outlet) = Queue::new(&sink.name, self.state_dir.clone(), self.answers.clone());
            let kind = sink.kind.clone();
            let context = sink.context(plan, &self.host, &self.secrets);
            let name = format!("sink-{}", sink.name);
            let started = std::thread::Builder::new().name(name).spawn(move || sink::run(queue, kind, context));
            match started {
                Ok(thread) => {
                    self.threads.push(thread);
                    self.running.insert(sink.name.clone(), (sink.kind.clone(), sink.encoding));
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
