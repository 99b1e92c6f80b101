//! Lets a writer do something while the agent is certainly not running.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Knows whether the agent runs, and holds its return off while a writer is at work.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    up: bool,
    holders: usize,
}

/// As long as this lives, the agent does not come back.
#[derive(Debug)]
pub struct Down<'a>(&'a Gate);

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called once the agent is dead or stopped.
    pub fn down(&self) {
        self.state().up = false;
        self.changed.notify_all();
    }

    /// Called before the agent is started or continued: waits for the writers that are at work.
    pub fn up(&self) {
        let state = self.state();
        let mut state =
            self.changed.wait_while(state, |state| state.holders > 0).unwrap_or_else(PoisonError::into_inner);
        state.up = true;
    }

    /// Waits until the agent is down and keeps it down; nothing if it stays up for so long.
    pub fn while_down(&self, within: Duration) -> Option<Down<'_>> {
        let deadline = Instant::now() + within;
        let mut state = self.state();
        while state.up {
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.holders += 1;
        Some(Down(self))
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.state().holders -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_agent_waits_for_who_holds_it_down() {
        let gate = Gate::default();
        let held = gate.while_down(Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let returning = scope.spawn(|| gate.up());
            thread::sleep(Duration::from_millis(20));
            assert!(!returning.is_finished());
            drop(held);
        });
        assert!(gate.while_down(Duration::from_millis(5)).is_none());
        gate.down();
        assert!(gate.while_down(Duration::ZERO).is_some());
    }
}
