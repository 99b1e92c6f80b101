//! How long to wait before the next try.

use std::time::Duration;

/// Exponential waiting times with jitter: from `FIRST` to `LAST`, each up to half longer or shorter at random.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    tries: u32,
}

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(10);

impl Backoff {
    /// The next waiting time.
    pub fn next(&mut self) -> Duration {
        let base = FIRST.saturating_mul(1 << self.tries.min(10)).min(LAST);
        self.tries = self.tries.saturating_add(1);
        let mut random = [0];
        // Without random numbers all wait alike, which is no harm here.
        let _filled = getrandom::fill(&mut random);
        base.mul_f64(0.5 + f64::from(random[0]) / 255.0)
    }

    /// It worked: the next failure waits shortly again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_bound_and_starts_again() {
        let mut backoff = Backoff::default();
        assert!(backoff.next() <= FIRST * 2);
        for _ in 0..50 {
            assert!(backoff.next() <= LAST * 2);
        }
        assert!(backoff.next() >= LAST / 2);
        backoff.reset();
        assert!(backoff.next() <= FIRST * 2);
    }
}
