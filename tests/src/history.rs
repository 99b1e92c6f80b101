//! What was done to the agent, and when: the ground on which a loss or a repeat is justified.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Something that befell the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It answered for the first time since its start.
    Ready,
    /// SIGKILL, or an exit that nobody asked for.
    Killed,
    /// SIGTERM, from which it drains and exits.
    Terminated,
    /// SIGSTOP.
    Frozen,
    /// SIGCONT.
    Thawed,
}

/// The events in order.
#[derive(Debug, Default)]
pub struct History(Mutex<Vec<(Instant, Event)>>);

impl History {
    fn events(&self) -> MutexGuard<'_, Vec<(Instant, Event)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an event that happens now.
    pub fn enter(&self, event: Event) {
        self.enter_at(Instant::now(), event);
    }

    /// Enters an event that happened at a given time; events must be entered in order.
    pub fn enter_at(&self, at: Instant, event: Event) {
        self.events().push((at, event));
    }

    /// How many times an event happened.
    pub fn count(&self, event: Event) -> usize {
        self.events().iter().filter(|(_, had)| *had == event).count()
    }

    /// Whether the agent was killed, ended or stopped between two instants.
    pub fn disturbed(&self, from: Instant, to: Instant) -> bool {
        let disturbs = |event| matches!(event, Event::Killed | Event::Terminated | Event::Frozen);
        self.events().iter().any(|(at, event)| disturbs(*event) && (from..=to).contains(at))
    }

    /// Whether the agent was up and answering at an instant.
    pub fn up(&self, at: Instant) -> bool {
        let events = self.events();
        events
            .iter()
            .take_while(|(when, _)| *when <= at)
            .last()
            .is_some_and(|(_, event)| matches!(event, Event::Ready | Event::Thawed))
    }

    /// How long the agent was up and answering at a stretch, at most, between two instants: what it promises within a time, it does
    /// within one life.
    pub fn awake(&self, from: Instant, to: Instant) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since: Option<Instant> = None;
        let end = (to, Event::Killed);
        for (at, event) in self.events().iter().copied().chain([end]) {
            match (event, since) {
                (Event::Ready | Event::Thawed, None) => since = Some(at),
                (Event::Killed | Event::Terminated | Event::Frozen, Some(began)) => {
                    longest = longest.max(at.min(to).saturating_duration_since(began.max(from)));
                    since = None;
                }
                _ => {}
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_longest_time_that_it_was_up_counts() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let history = History::default();
        for (seconds, event) in
            [(1, Event::Ready), (4, Event::Killed), (6, Event::Ready), (7, Event::Frozen), (9, Event::Thawed)]
        {
            history.enter_at(at(seconds), event);
        }
        assert_eq!(history.awake(at(0), at(10)), Duration::from_secs(3));
        assert_eq!(history.awake(at(2), at(3)), Duration::from_secs(1));
        assert_eq!(history.awake(at(4), at(6)), Duration::ZERO);
        assert!(history.up(at(2)) && !history.up(at(5)) && !history.up(at(8)) && history.up(at(9)));
        assert!(history.disturbed(at(3), at(5)) && !history.disturbed(at(5), at(6)));
    }
}
