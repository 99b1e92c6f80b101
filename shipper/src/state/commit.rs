//! Writes the state log in the background: however many batches wait, they cost one fsync.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::log::Log;

/// How long the writer waits before it tries again after the disk refused.
const RETRY: Duration = Duration::from_millis(500);
/// Jobs that can wait; more make the engine wait.
const QUEUE: usize = 64;

/// Something to make durable. Tickets rise by one.
pub enum Job {
    /// A batch's bytes.
    Append {
        /// Its ticket.
        ticket: u64,
        /// Its bytes; batches can be concatenated.
        payload: Vec<u8>,
    },
    /// The whole state.
    Snapshot {
        /// Its ticket.
        ticket: u64,
        /// Payloads of the snapshot's frames.
        payloads: Vec<Vec<u8>>,
    },
}

/// How far the log is durable, and what is in its way.
#[derive(Default)]
pub struct Progress {
    durable: AtomicU64,
    failures: AtomicU64,
    trouble: std::sync::Mutex<Option<String>>,
}

impl Progress {
    /// The last ticket that is durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Writes that the disk refused so far. Each is tried again until it succeeds.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why the log cannot be written at this moment.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, text: Option<String>) {
        *self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
    }
}

/// The writer.
pub enum Committer {
    /// A thread of its own, as the agent runs it.
    Thread {
        /// Jobs for it; dropped to end it.
        jobs: Option<Sender<Job>>,
        /// To wait for its end.
        thread: Option<JoinHandle<()>>,
        /// Where it got to.
        progress: Arc<Progress>,
    },
    /// At once, for tests that step through time.
    Inline {
        /// The log.
        log: Box<Log>,
        /// Where it got to.
        progress: Arc<Progress>,
    },
}

impl Committer {
    /// Starts the writer; `wake` is called after each commit.
    pub fn spawn(log: Log, wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let progress = Arc::new(Progress::default());
        let (jobs, queue) = bounded(QUEUE);
        let shared = Arc::clone(&progress);
        let thread =
            std::thread::Builder::new().name("state".into()).spawn(move || run(log, &queue, &shared, &wake))?;
        Ok(Self::Thread { jobs: Some(jobs), thread: Some(thread), progress })
    }

    /// A writer that writes at once.
    pub fn inline(log: Log) -> Self {
        Self::Inline { log: Box::new(log), progress: Arc::default() }
    }

    /// Where the writer got to.
    pub fn progress(&self) -> &Arc<Progress> {
        match self {
            Self::Thread { progress, .. } | Self::Inline { progress, .. } => progress,
        }
    }

    /// Hands over a job. Waits if too many wait already.
    pub fn submit(&mut self, job: Job) {
        match self {
            Self::Thread { jobs, .. } => {
                // The thread ends only after this sender is gone.
                if let Some(jobs) = jobs {
                    let _sent = jobs.send(job);
                }
            }
            Self::Inline { log, progress } => {
                let ticket = ticket(&job);
                match write(log, job) {
                    Ok(()) => progress.durable.store(ticket, Ordering::Release),
                    Err((_, error)) => {
                        progress.failures.fetch_add(1, Ordering::Relaxed);
                        progress.set_trouble(Some(error));
                    }
                }
            }
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if let Self::Thread { jobs, thread, .. } = self {
            jobs.take();
            if let Some(thread) = thread.take() {
                let _joined = thread.join();
            }
        }
    }
}

fn ticket(job: &Job) -> u64 {
    match job {
        Job::Append { ticket, .. } | Job::Snapshot { ticket, .. } => *ticket,
    }
}

fn write(log: &mut Log, job: Job) -> Result<(), (Job, String)> {
    let done = match &job {
        Job::Append { payload, .. } => log.append(payload),
        Job::Snapshot { payloads, .. } => log.snapshot(payloads),
    };
    done.map_err(|error| (job, error.to_string()))
}

fn run(mut log: Log, queue: &Receiver<Job>, progress: &Progress, wake: &dyn Fn()) {
    let mut next: Option<Job> = None;
    while let Some(mut job) = next.take().or_else(|| queue.recv().ok()) {
        // Batches that wait already go along in the same frame, so that one fsync serves them all.
        while let Job::Append { ticket, payload } = &mut job {
            match queue.try_recv() {
                Ok(Job::Append { ticket: later, payload: more }) => {
                    payload.extend_from_slice(&more);
                    *ticket = later;
                }
                Ok(snapshot @ Job::Snapshot { .. }) => {
                    next = Some(snapshot);
                    break;
                }
                Err(_) => break,
            }
        }
        let ticket = ticket(&job);
        while let Err((again, error)) = write(&mut log, job) {
            if progress.trouble().as_deref() != Some(&error) {
                tracing::error!(%error, "failed to commit the state; nothing is delivered until it can be written");
            }
            progress.failures.fetch_add(1, Ordering::Relaxed);
            progress.set_trouble(Some(error));
            wake();
            job = again;
            if abandoned(queue) {
                return;
            }
            std::thread::sleep(RETRY);
        }
        if progress.trouble().is_some() {
            tracing::info!("the state can be written again");
            progress.set_trouble(None);
        }
        progress.durable.store(ticket, Ordering::Release);
        wake();
    }
}

/// The engine is gone: a disk that refuses must not keep the process from ending.
fn abandoned(queue: &Receiver<Job>) -> bool {
    queue.is_empty() && matches!(queue.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Kind, NodeRecord};
    use super::super::model::{Model, encode_entry};
    use super::*;

    #[test]
    fn tickets_become_durable_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(dir.path(), false).unwrap();
        let (told, heard) = crossbeam_channel::unbounded();
        let mut committer = Committer::spawn(log, move || told.send(()).unwrap()).unwrap();
        for ticket in 1..=20 {
            let mut payload = Vec::new();
            encode_entry(
                Kind::NodePut(NodeRecord { machine: ticket.to_string(), ..NodeRecord::default() }),
                &mut payload,
            );
            committer.submit(Job::Append { ticket, payload });
        }
        while committer.progress().durable() < 20 {
            heard.recv().unwrap();
        }
        drop(committer);
        let (_, recovered) = Log::open(dir.path(), false).unwrap();
        let mut model = Model::default();
        recovered.payloads.iter().for_each(|p| model.replay(p).unwrap());
        assert_eq!(model.node.machine, "20");
    }
}
