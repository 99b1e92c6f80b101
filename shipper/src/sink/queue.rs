//! The deliveries that wait for a sink which works in a thread of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::engine::Event;
use crate::lane::{Delivery, Fate, Health, Outlet, Settlement};

/// The sink's end of a lane.
pub struct Queue {
    deliveries: Receiver<Delivery>,
    waiting: VecDeque<Delivery>,
    answers: Sender<Event>,
    health: Arc<Mutex<Health>>,
    closed: bool,
}

impl Queue {
    /// The two ends: for the sink and for the engine.
    pub fn new(answers: Sender<Event>) -> (Self, Outlet) {
        let (sender, deliveries) = unbounded();
        let health = Arc::new(Mutex::new(Health::default()));
        let outlet = Outlet { deliveries: sender, health: Arc::clone(&health) };
        (Self { deliveries, waiting: VecDeque::new(), answers, health, closed: false }, outlet)
    }

    /// Takes what there is, up to `bytes`; waits for the first if there is none. `None`: the engine let go of the sink.
    pub fn take(&mut self, bytes: usize, patience: Duration) -> Option<Vec<Delivery>> {
        if self.waiting.is_empty() && !self.closed {
            match self.deliveries.recv_timeout(patience) {
                Ok(delivery) => self.waiting.push_back(delivery),
                Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
        }
        self.waiting.extend(self.deliveries.try_iter());
        if self.waiting.is_empty() && self.closed {
            return None;
        }
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some(next) = self.waiting.front() {
            if !next.may_pass() {
                self.answer(next.lane(), next.id, Fate::Recalled);
                self.waiting.pop_front();
                continue;
            }
            size += next.chunk.data.len();
            if size > bytes && !taken.is_empty() {
                break;
            }
            taken.extend(self.waiting.pop_front());
        }
        Some(taken)
    }

    /// Puts back what could not be delivered, waits, and says whether the sink is still wanted.
    pub fn retry(&mut self, deliveries: Vec<Delivery>, after: Duration, trouble: String) -> bool {
        {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.retries += 1;
            health.trouble = Some(trouble);
        }
        for delivery in deliveries.into_iter().rev() {
            self.waiting.push_front(delivery);
        }
        let deadline = std::time::Instant::now() + after;
        loop {
            match self.deliveries.recv_deadline(deadline) {
                Ok(delivery) => self.waiting.push_back(delivery),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => {
                    self.closed = true;
                    return false;
                }
            }
        }
    }

    /// The deliveries are where they belong.
    pub fn acknowledge(&self, deliveries: &[Delivery]) {
        deliveries.iter().for_each(|d| self.answer(d.lane(), d.id, Fate::Acknowledged));
    }

    /// Nothing is in the way any more.
    pub fn healthy(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health.trouble.take().is_some() {
            tracing::info!("the sink works again");
        }
    }

    fn answer(&self, lane: u32, delivery: u64, fate: Fate) {
        // The engine is gone only when the process ends.
        let _sent = self.answers.send(Event::Settled(Settlement { lane, delivery, fate }));
    }
}
