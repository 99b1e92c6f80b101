//! Which policies are to be looked at, and when. It holds each name once, so it is bounded by the policies that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Names of policies with the time at which each is due.
#[derive(Debug, Default)]
pub struct Queue {
    due: Mutex<BTreeMap<String, Instant>>,
    added: Notify,
}

impl Queue {
    /// Has a policy looked at in `delay`, or before if that was said already.
    pub fn add(&self, policy: &str, delay: Duration) {
        let at = Instant::now() + delay;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let before = due.get(policy).copied();
        if before.is_none_or(|before| at < before) {
            due.insert(policy.to_owned(), at);
            drop(due);
            self.added.notify_one();
        }
    }

    /// Waits for a policy that is due and not among `running`, and takes it out.
    pub async fn next(&self, running: &BTreeSet<String>) -> String {
        loop {
            let added = self.added.notified();
            let wait = match self.take(running, Instant::now()) {
                Ok(policy) => return policy,
                Err(wait) => wait,
            };
            tokio::select! {
                () = added => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The policy that is due for longest, or how long to wait.
    fn take(&self, running: &BTreeSet<String>, now: Instant) -> Result<String, Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let first = due.iter().filter(|(policy, _)| !running.contains(*policy)).min_by_key(|(_, at)| **at);
        let Some((policy, at)) = first.map(|(policy, at)| (policy.clone(), *at)) else {
            return Err(Duration::from_secs(3600));
        };
        if at > now {
            return Err(at - now);
        }
        due.remove(&policy);
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_once_at_its_earliest_time_and_not_given_out_while_it_runs() {
        let queue = Queue::default();
        queue.add("a", Duration::from_secs(100));
        queue.add("b", Duration::ZERO);
        queue.add("b", Duration::from_secs(50));
        let now = Instant::now();
        let running = BTreeSet::from(["b".to_owned()]);
        assert!(queue.take(&running, now).is_err_and(|wait| wait > Duration::from_secs(90)));
        assert_eq!(queue.take(&BTreeSet::new(), now), Ok("b".to_owned()));
        queue.add("a", Duration::ZERO);
        assert_eq!(queue.take(&BTreeSet::new(), Instant::now()), Ok("a".to_owned()));
        assert!(queue.take(&BTreeSet::new(), Instant::now()).is_err());
    }
}
