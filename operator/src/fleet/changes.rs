//! That something changed, for whoever waits for it and for whoever asks later.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Counts changes and wakes those who wait for one.
#[derive(Debug, Default)]
pub struct Changes {
    number: AtomicU64,
    waiting: Notify,
}

impl Changes {
    /// Something changed.
    pub fn tell(&self) {
        self.number.fetch_add(1, Ordering::AcqRel);
        self.waiting.notify_waiters();
    }

    /// How many changes there were.
    pub fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Waits for the next one.
    pub fn notified(&self) -> Notified<'_> {
        self.waiting.notified()
    }
}
