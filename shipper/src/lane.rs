//! Who gets what, and how far.
//!
//! A lane is one sink with a cursor for each stream. The engine hands [`chunk`]s to the lanes that stand at the same place;
//! [`track`] turns what the sink answers, in whatever order, into cursors; [`kill_switch`] decides what may pass at all; a
//! [`set`] of lanes is what a stream waits for.

pub mod chunk;
pub mod kill_switch;
pub mod set;
pub mod track;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use chunk::Chunk;

/// Stops what is queued: a delivery passes only while the gate still has the value that the delivery was made with, and is not held.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<AtomicU64>, Arc<AtomicBool>);

impl Gate {
    /// The value now.
    pub fn epoch(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Stops everything that was made before.
    pub fn shut(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// Says whether nothing passes at the moment, whenever it was made.
    pub fn hold(&self, held: bool) {
        self.1.store(held, Ordering::Release);
    }

    /// Whether nothing passes at the moment.
    pub fn is_held(&self) -> bool {
        self.1.load(Ordering::Acquire)
    }
}

/// A chunk on its way to one sink.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Rises by one with each delivery of the lane.
    pub id: u64,
    number: u32,
    /// What to deliver.
    pub chunk: Arc<Chunk>,
    lane: (Gate, u64),
    source: (Gate, u64),
}

impl Delivery {
    /// A delivery that the two gates let pass at this moment.
    pub fn new(number: u32, id: u64, chunk: Arc<Chunk>, lane: &Gate, source: &Gate) -> Self {
        Self { id, number, chunk, lane: (lane.clone(), lane.epoch()), source: (source.clone(), source.epoch()) }
    }

    /// The lane's number.
    pub fn lane(&self) -> u32 {
        self.number
    }

    /// Whether it may still go out. A sink asks right before it sends.
    pub fn may_pass(&self) -> bool {
        let passes = |(gate, epoch): &(Gate, u64)| gate.epoch() == *epoch && !gate.is_held();
        passes(&self.lane) && passes(&self.source)
    }
}

/// What a sink says of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The lane's number.
    pub lane: u32,
    /// Which delivery.
    pub delivery: u64,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Every record was acknowledged.
    Acknowledged,
    /// It was stopped before it went out.
    Recalled,
    /// The records named were acknowledged or refused; others may follow.
    Records(Vec<(u32, RecordFate)>),
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFate {
    /// The sink has it.
    Acknowledged,
    /// The sink refused the record itself, for this reason; it is among the dead letters.
    Refused(String),
}

/// How a sink is doing, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// What holds the lane, with the remedy; `None` = nothing does.
    pub trouble: Option<String>,
    /// A person has to do something: it does not pass by itself.
    pub misconfigured: bool,
    /// What is missing is brought by the agent's next start.
    pub awaits_restart: bool,
    /// Times that the sink had to try again.
    pub retries: u64,
    /// Records that were delivered without their end, because the sink has no room for longer ones.
    pub cut: u64,
}

/// The engine's end of a sink.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Where deliveries go. The engine bounds what is under way in bytes.
    pub deliveries: Sender<Delivery>,
    /// How the sink is doing.
    pub health: Arc<Mutex<Health>>,
    /// Stops what is queued.
    pub gate: Gate,
    /// Stops dead letters that the sink sends again of its own accord; held until the engine has looked at the switches.
    pub letters: Gate,
}

impl Outlet {
    /// How the sink is doing now.
    pub fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
