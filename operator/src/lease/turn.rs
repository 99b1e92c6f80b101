//! Whose turn it is. Pure: time and what is seen come from outside.

use std::time::{Duration, Instant};

use super::Lost;

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who holds it; empty if it was given back.
    pub holder: String,
    /// How long it holds without a change.
    pub duration: Duration,
    /// Changes with each write.
    pub version: String,
}

/// What to do with the Lease now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none.
    Create,
    /// It is ours.
    Renew,
    /// Its holder is gone.
    Take,
    /// Its holder may still act.
    Wait,
}

/// What one replica knows of the Lease.
#[derive(Clone, Debug)]
pub struct Turn {
    identity: String,
    duration: Duration,
    deadline: Duration,
    /// The version that was seen last, and since when.
    unchanged: Option<(String, Instant)>,
    /// Until when this replica may act.
    until: Option<Instant>,
    /// Who took the Lease from us.
    taken_by: Option<String>,
}

impl Turn {
    /// A replica that has seen nothing yet. `deadline` is shorter than `duration`.
    pub fn new(identity: String, duration: Duration, deadline: Duration) -> Self {
        Self { identity, duration, deadline, unchanged: None, until: None, taken_by: None }
    }

    /// Decides from a Lease that was read after `now`.
    pub fn step(&mut self, seen: Option<&Seen>, now: Instant) -> Step {
        let Some(seen) = seen else {
            return Step::Create;
        };
        if seen.holder == self.identity {
            return Step::Renew;
        }
        if self.until.is_some() {
            self.taken_by = Some(seen.holder.clone());
            return Step::Wait;
        }
        let since = match &self.unchanged {
            Some((version, since)) if *version == seen.version => *since,
            _ => {
                self.unchanged = Some((seen.version.clone(), now));
                now
            }
        };
        let free = seen.holder.is_empty() || now.saturating_duration_since(since) > seen.duration.max(self.duration);
        if free { Step::Take } else { Step::Wait }
    }

    /// The Lease was written by this replica; the request left at `asked`.
    pub fn held(&mut self, version: &str, asked: Instant) {
        self.unchanged = Some((version.to_owned(), asked));
        self.until = Some(asked + self.deadline);
    }

    /// Until when this replica may act; `None` if it may not.
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.until.is_some()
    }

    /// Why this replica must end, if it led and does no more.
    pub fn lost(&self, now: Instant) -> Option<Lost> {
        let until = self.until?;
        match &self.taken_by {
            Some(holder) => Some(Lost::Taken(holder.clone())),
            None => (now >= until).then_some(Lost::Expired),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);
    const DEADLINE: Duration = Duration::from_secs(10);

    /// What a replica does next in the model.
    #[derive(Clone, Debug)]
    enum Act {
        /// Reads and decides; its write, if it decides on one, lands after so many seconds, or gets lost.
        Round { replica: usize, delay: u64, lost: bool },
        /// Time goes by.
        Wait(u64),
        /// Ends and is started anew.
        Restart(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => (0..3_usize, 0..6_u64, prop::bool::weighted(0.2))
                .prop_map(|(replica, delay, lost)| Act::Round { replica, delay, lost }),
            4 => (1..9_u64).prop_map(Act::Wait),
            1 => (0..3_usize).prop_map(Act::Restart),
        ]
    }

    struct Model {
        turns: Vec<Turn>,
        lives: usize,
        lease: Option<Seen>,
        writes: u64,
        now: Instant,
    }

    impl Model {
        fn replica(&mut self) -> Turn {
            self.lives += 1;
            Turn::new(format!("replica-{}", self.lives), DURATION, DEADLINE)
        }

        /// Fail-stop: whoever may act no more is replaced by a fresh process.
        fn reap(&mut self) {
            for index in 0..self.turns.len() {
                if self.turns[index].lost(self.now).is_some() {
                    self.turns[index] = self.replica();
                }
            }
        }

        fn act(&mut self, act: &Act) {
            match *act {
                Act::Wait(seconds) => self.now += Duration::from_secs(seconds),
                Act::Restart(replica) => self.turns[replica] = self.replica(),
                Act::Round { replica, delay, lost } => {
                    let (asked, read) = (self.now, self.lease.clone());
                    let step = self.turns[replica].step(read.as_ref(), asked);
                    self.now += Duration::from_secs(delay);
                    // A request is cut off at the deadline of whoever sent it; it may have been taken up all the same.
                    let unchanged =
                        read.as_ref().map(|seen| &seen.version) == self.lease.as_ref().map(|seen| &seen.version);
                    if step != Step::Wait && unchanged {
                        self.writes += 1;
                        let version = self.writes.to_string();
                        let holder = self.turns[replica].identity.clone();
                        self.lease = Some(Seen { holder, duration: DURATION, version: version.clone() });
                        if !lost && self.turns[replica].lost(self.now).is_none() {
                            self.turns[replica].held(&version, asked);
                        }
                    }
                }
            }
            self.reap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn two_never_lead_at_once(acts in prop::collection::vec(act(), 1..120)) {
            let mut model = Model { turns: Vec::new(), lives: 0, lease: None, writes: 0, now: Instant::now() };
            for _ in 0..3 {
                let replica = model.replica();
                model.turns.push(replica);
            }
            for act in &acts {
                model.act(act);
                let now = model.now;
                let leaders = model.turns.iter().filter(|turn| turn.deadline().is_some_and(|until| now < until)).count();
                prop_assert!(leaders <= 1, "{leaders} after {act:?}");
            }
            // And someone leads again once the world is calm.
            for _ in 0..20 {
                model.act(&Act::Wait(2));
                (0..3).for_each(|replica| model.act(&Act::Round { replica, delay: 0, lost: false }));
            }
            prop_assert!(model.turns.iter().any(Turn::leads));
        }
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let mut turn = Turn::new("a".to_owned(), DURATION, DEADLINE);
        let seen = |holder: &str| Seen { holder: holder.to_owned(), duration: DURATION, version: "1".to_owned() };
        assert_eq!(turn.step(Some(&seen("b")), Instant::now()), Step::Wait);
        assert_eq!(turn.step(Some(&seen("")), Instant::now()), Step::Take);
    }

    #[test]
    fn a_lease_with_our_name_that_we_did_not_take_is_renewed_first() {
        let mut turn = Turn::new("a".to_owned(), DURATION, DEADLINE);
        let seen = Seen { holder: "a".to_owned(), duration: DURATION, version: "1".to_owned() };
        assert_eq!(turn.step(Some(&seen), Instant::now()), Step::Renew);
        assert!(!turn.leads());
        turn.held("2", Instant::now());
        assert!(turn.leads() && turn.lost(Instant::now()).is_none());
        assert!(matches!(turn.lost(Instant::now() + DEADLINE), Some(Lost::Expired)));
    }
}
