//! How much of the client library's log is passed on.

use std::time::{Duration, Instant};

/// Lines passed on in a span.
const LINES: u32 = 5;
/// The span.
const SPAN: Duration = Duration::from_secs(30);

/// Passes on so many lines a span and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Limit {
    since: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Limit {
    /// Whether a line may pass; if so, how many before it did not.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= SPAN) {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said == LINES {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_next_span_tells_of_it() {
        let (mut limit, now) = (Limit::default(), Instant::now());
        let passed = (0..100).filter(|_| limit.admit(now).is_some()).count();
        assert_eq!(passed, LINES as usize);
        assert_eq!(limit.admit(now + SPAN), Some(95));
        assert_eq!(limit.admit(now + SPAN), Some(0));
    }
}
