//! The state as the engine uses it: put an entry, learn when it is entered.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::commit::{Committer, Job, Progress};
use super::entry::{Kind, LedgerRecord, LedgerTrim};
use super::ledger::{self, Action};
use super::log::{self, Log, Recovered};
use super::model::{Model, encode_entry};

/// Entries above this many bytes since the last snapshot call for the next one.
const SNAPSHOT_AFTER: usize = 512 << 10;

/// Entries of so many bytes are handed to the writer before the turn is over: thousands of files can be met in one.
const FLUSH: usize = 256 << 10;

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log itself.
    #[error(transparent)]
    Log(#[from] log::Error),
    /// A frame checks but does not hold what it should.
    #[error("the state in {} holds an entry that cannot be read ({source}); run `waybill inspect repair --state-dir {}`", dir.display(), dir.display())]
    Entry {
        /// The state directory.
        dir: PathBuf,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
}

/// What opening the state found.
#[derive(Debug, Default)]
pub struct Opened {
    /// There was no state before.
    pub fresh: bool,
    /// A last write that a crash tore was dropped.
    pub torn: bool,
    /// What a repair left out.
    pub left_out: Vec<String>,
    /// Bytes of the last snapshot.
    pub snapshot_size: usize,
    /// Bytes of the entries since then.
    pub since_snapshot: usize,
}

/// Reads the state in `dir` without changing more than opening must.
pub fn load(dir: &Path, repair: bool) -> Result<(Log, Model, Opened), Error> {
    let (log, recovered) = Log::open(dir, repair)?;
    let mut model = Model::default();
    let mut opened = opened(&recovered);
    for payload in &recovered.payloads {
        if let Err(source) = model.replay(payload) {
            if !repair {
                return Err(Error::Entry { dir: dir.to_owned(), source });
            }
            opened.left_out.push(format!("a frame whose entries cannot be read: {source}"));
        }
    }
    Ok((log, model, opened))
}

/// Reads the state in `dir` and leaves it as it is, whoever owns it.
pub fn read(dir: &Path) -> Result<(Model, Opened), Error> {
    let recovered = Log::read(dir)?;
    let mut model = Model::default();
    for payload in &recovered.payloads {
        model.replay(payload).map_err(|source| Error::Entry { dir: dir.to_owned(), source })?;
    }
    Ok((model, opened(&recovered)))
}

fn opened(recovered: &Recovered) -> Opened {
    Opened {
        fresh: recovered.fresh,
        torn: recovered.torn,
        left_out: recovered.left_out.clone(),
        snapshot_size: recovered.payloads.iter().map(Vec::len).sum::<usize>() - recovered.since_snapshot,
        since_snapshot: recovered.since_snapshot,
    }
}

/// The state: a model, and the log that makes it survive.
pub struct Store {
    model: Model,
    committer: Committer,
    pending: Vec<u8>,
    ticket: u64,
    since_snapshot: usize,
    snapshot_size: usize,
}

impl Store {
    /// Joins a model with a way to write it. Begins with a snapshot: after a repair the damaged file must not stay in use.
    pub fn new(model: Model, committer: Committer) -> Self {
        Self { model, committer, pending: Vec::new(), ticket: 0, since_snapshot: SNAPSHOT_AFTER, snapshot_size: 0 }
    }

    /// Joins what [`load`] gave with a way to write it, and goes on behind what was read.
    pub fn resume(model: Model, opened: &Opened, committer: Committer) -> Self {
        let Opened { since_snapshot, snapshot_size, .. } = *opened;
        Self { since_snapshot, snapshot_size, ..Self::new(model, committer) }
    }

    /// What the state knows, entries that are not yet durable included.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Takes an entry in. It is entered when the ticket of the next [`flush`](Self::flush) is durable.
    pub fn put(&mut self, kind: Kind) {
        encode_entry(kind.clone(), &mut self.pending);
        self.model.apply(kind);
    }

    /// Makes a ledger entry. `fields` is a JSON object.
    pub fn enter(&mut self, time: i64, action: Action, message: impl Into<String>, fields: &Value) {
        let record = LedgerRecord {
            number: self.model.ledger_last + 1,
            time,
            action: action.name().to_owned(),
            message: message.into(),
            fields: fields.to_string(),
            offset: self.model.ledger_offset,
        };
        tracing::info!(action = record.action, fields = record.fields, "{}", record.message);
        self.put(Kind::Ledger(record));
    }

    /// Keeps the ledger within its bound, given the last entry that every lane has.
    pub fn trim_ledger(&mut self, time: i64, delivered: u64) {
        let Some(first) = self.model.ledger.front().map(|r| r.number) else {
            return;
        };
        let kept = self.model.ledger_last.saturating_sub(ledger::KEEP as u64);
        let through = delivered.min(kept);
        // Not one at a time: each trim is an entry too.
        if through >= first + ledger::KEEP as u64 / 4 {
            self.put(Kind::LedgerTrim(LedgerTrim { through }));
        }
        if self.model.ledger.len() > ledger::BOUND {
            let half: Vec<_> = self.model.ledger.iter().take(ledger::BOUND / 2).cloned().collect();
            let mut hasher = blake3::Hasher::new();
            half.iter().for_each(|r| {
                hasher.update(&ledger::bytes(r));
            });
            let (Some(first), Some(last)) = (half.first(), half.last()) else {
                return;
            };
            let fields = serde_json::json!({
                "from": first.number, "through": last.number, "count": half.len(),
                "since": first.time, "until": last.time, "digest": hasher.finalize().to_hex().as_str(),
            });
            self.put(Kind::LedgerTrim(LedgerTrim { through: last.number }));
            self.enter(
                time,
                Action::Summary,
                "the oldest ledger entries were summarised because no room was left for them",
                &fields,
            );
        }
    }

    /// Hands everything that was put to the writer. The ticket says when it is entered: compare with [`durable`](Self::durable).
    pub fn flush(&mut self) -> u64 {
        if self.pending.is_empty() {
            return self.ticket;
        }
        self.ticket += 1;
        let payload = std::mem::take(&mut self.pending);
        self.since_snapshot += payload.len();
        if self.since_snapshot > SNAPSHOT_AFTER.max(self.snapshot_size) {
            let payloads = self.model.snapshot();
            self.snapshot_size = payloads.iter().map(Vec::len).sum();
            self.since_snapshot = 0;
            self.committer.submit(Job::Snapshot { ticket: self.ticket, payloads });
        } else {
            self.committer.submit(Job::Append { ticket: self.ticket, payload });
        }
        self.ticket
    }

    /// The same, if enough was put to be worth it: between two things that need not be entered together.
    pub fn flush_if_large(&mut self) {
        if self.pending.len() > FLUSH {
            self.flush();
        }
    }

    /// Something was put since the last flush.
    pub fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The last ticket that is durable.
    pub fn durable(&self) -> u64 {
        self.committer.progress().durable()
    }

    /// The last ticket that was handed out.
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// How the writer gets on.
    pub fn progress(&self) -> &Progress {
        self.committer.progress()
    }
}
