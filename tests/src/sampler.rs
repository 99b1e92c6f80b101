//! Asks for the lanes' accounts again and again, as `/status` and as `/metrics`, and holds each answer against the conservation
//! equation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};

use crate::agent::Asker;
use crate::face::balance_of_metrics;

/// A thread that asks; ended when dropped.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Findings>>,
}

#[derive(Debug, Default)]
struct Findings {
    samples: usize,
    wrong: Vec<String>,
}

impl Sampler {
    /// Starts to ask. An agent that does not answer is no finding: it may just have been killed.
    pub fn start(asker: Asker) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut findings = Findings::default();
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(status) = asker.status() {
                    findings.take(&status);
                }
                if let Ok(metrics) = asker.metrics() {
                    findings.wrong.extend(balance_of_metrics(&metrics).err().map(|error| format!("{error:#}")));
                }
                thread::sleep(Duration::from_millis(100));
            }
            findings
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends; an error if any sample was out of balance or there were fewer than `least`.
    pub fn finish(mut self, least: usize) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| anyhow!("the sampler was ended before"))?;
        let findings = thread.join().map_err(|_| anyhow!("the sampler panicked"))?;
        if let Some(first) = findings.wrong.first() {
            bail!("{} of {} samples are out of balance, the first: {first}", findings.wrong.len(), findings.samples);
        }
        ensure!(findings.samples >= least, "only {} samples of the lanes' accounts", findings.samples);
        Ok(findings.samples)
    }
}

impl Findings {
    fn take(&mut self, status: &serde_json::Value) {
        self.samples += 1;
        match crate::face::lanes(status) {
            Ok(lanes) => {
                let wrong = lanes.iter().filter_map(|lane| lane.balance().err());
                self.wrong.extend(wrong.map(|error| error.to_string()));
            }
            Err(error) => self.wrong.push(format!("{error:#}")),
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
