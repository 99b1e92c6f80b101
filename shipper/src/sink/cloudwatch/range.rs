//! Which times the service accepts, and what becomes of others.
//!
//! An event may be 14 days old, no older than its group's retention, and 2 hours ahead. A client of a proxy can forge the dates in its
//! log, so times outside are expected, and none may break a request.

use std::collections::HashMap;

use waybill_crds::OutOfRange;

use crate::state::StreamId;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// How old an event may be, in milliseconds.
pub const MOST_AGE: i64 = 14 * DAY;
/// How far ahead an event may be, in milliseconds.
pub const MOST_AHEAD: i64 = 2 * HOUR;
/// What a time that is moved stays away from the bounds: requests take time, and clocks differ.
const MARGIN: i64 = 5 * 60_000;
/// Streams whose last time is remembered.
const STREAMS: usize = 8192;

/// What the service accepts at a moment, and what is certain to be accepted for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The oldest time that times are moved to.
    pub earliest: i64,
    /// The latest time that is left as it is.
    pub latest: i64,
    now: i64,
}

impl Range {
    /// At a moment, for a group that keeps events for so many days; `None` = for ever.
    pub fn at(now: i64, retention_days: Option<i64>) -> Self {
        let age = retention_days.map_or(MOST_AGE, |days| days.saturating_mul(DAY).min(MOST_AGE));
        Self { earliest: now - age + MARGIN, latest: now + MOST_AHEAD - MARGIN, now }
    }

    /// The time moved into the range: the past to the oldest that is accepted, the future to now.
    fn clamp(&self, time: i64) -> i64 {
        if time > self.latest { self.now } else { time.max(self.earliest) }
    }

    /// Why the service would not accept a time. Where its clock sees it otherwise, it says so itself.
    fn fault(&self, time: i64) -> Option<&'static str> {
        if time > self.latest.saturating_add(MARGIN) {
            Some("its time is more than 2 hours ahead")
        } else if time < self.earliest.saturating_sub(MARGIN) {
            Some("its time is older than 14 days or than what the log group keeps")
        } else {
            None
        }
    }

    /// The time to send, of one that [`Times`] gave: the range has moved on since. An error says why there is none.
    pub fn admit(&self, time: i64, out_of_range: OutOfRange) -> Result<i64, &'static str> {
        match out_of_range {
            OutOfRange::Clamp => Ok(time.clamp(self.earliest, self.latest)),
            OutOfRange::DeadLetter => self.fault(time).map_or(Ok(time), Err),
        }
    }
}

/// Gives events their times: never earlier than the one before it in its stream.
#[derive(Debug, Default)]
pub struct Times {
    last: HashMap<StreamId, i64>,
}

impl Times {
    /// The time of the next event of a stream. What is out of range is moved into it, or left as it is to be refused.
    pub fn next(&mut self, stream: StreamId, time: i64, range: &Range, out_of_range: OutOfRange) -> i64 {
        if out_of_range == OutOfRange::DeadLetter && range.fault(time).is_some() {
            return time;
        }
        if self.last.len() >= STREAMS && !self.last.contains_key(&stream) {
            // A stream that is forgotten begins anew with the times of its records: no record suffers.
            self.last.clear();
        }
        let last = self.last.entry(stream).or_insert(i64::MIN);
        let time = if out_of_range == OutOfRange::Clamp { range.clamp(time) } else { time };
        *last = time.max(*last);
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn retention_narrows_the_range() {
        assert_eq!(Range::at(NOW, None), Range::at(NOW, Some(3653)));
        assert_eq!(Range::at(NOW, Some(1)).earliest, NOW - DAY + MARGIN);
        assert_eq!(Range::at(NOW, None).latest, NOW + 2 * HOUR - MARGIN);
    }

    #[test]
    fn forged_dates_are_moved_and_never_back() {
        let (mut times, range, stream) = (Times::default(), Range::at(NOW, None), StreamId::default());
        let mut next = |time| times.next(stream, time, &range, OutOfRange::Clamp);
        assert_eq!(next(0), range.earliest);
        assert_eq!(next(NOW - 1000), NOW - 1000);
        // The year 2099 does not drag what follows into the future.
        assert_eq!(next(4_070_908_800_000), NOW);
        assert_eq!(next(NOW - 500), NOW);
        assert_eq!(next(i64::MIN), NOW);
    }

    #[test]
    fn dead_letters_say_why() {
        let (mut times, range, stream) = (Times::default(), Range::at(NOW, None), StreamId::default());
        let mode = OutOfRange::DeadLetter;
        let mut next = |time| range.admit(times.next(stream, time, &range, mode), mode);
        assert!(next(0).unwrap_err().contains("14 days"));
        assert!(next(NOW + 3 * HOUR).unwrap_err().contains("ahead"));
        assert_eq!(next(NOW), Ok(NOW));
        assert_eq!(next(NOW - 1), Ok(NOW));
    }

    #[test]
    fn the_bounds_are_the_documented_ones() {
        let mode = OutOfRange::DeadLetter;
        for (days, age) in [(None, 14 * DAY), (Some(90), 14 * DAY), (Some(3), 3 * DAY)] {
            let range = Range::at(NOW, days);
            let given = |time| range.admit(Times::default().next(StreamId::default(), time, &range, mode), mode);
            assert_eq!((given(NOW - age), given(NOW + 2 * HOUR)), (Ok(NOW - age), Ok(NOW + 2 * HOUR)));
            assert!(given(NOW - age - 1).is_err() && given(NOW + 2 * HOUR + 1).is_err());
        }
    }

    #[test]
    fn what_waited_for_long_is_moved_along() {
        let old = Range::at(NOW, None).earliest;
        let later = Range::at(NOW + DAY, None);
        assert_eq!(later.admit(old, OutOfRange::Clamp), Ok(later.earliest));
        assert!(later.admit(old, OutOfRange::DeadLetter).is_err());
    }

    proptest! {
        #[test]
        fn every_time_is_accepted_and_none_goes_back(
            times in prop::collection::vec((prop_oneof![any::<i64>(), NOW - 40 * DAY..NOW + DAY], 0_u8..3), 0..100),
            days in prop::option::of(1_i64..400),
        ) {
            let (mut given, mut last) = (Times::default(), HashMap::new());
            let range = Range::at(NOW, days);
            for (time, stream) in times {
                let mut id = StreamId::default();
                id.0[0] = stream;
                let got = given.next(id, time, &range, OutOfRange::Clamp);
                prop_assert_eq!(range.admit(got, OutOfRange::Clamp), Ok(got));
                prop_assert!((range.earliest..=range.latest).contains(&got));
                prop_assert!(got >= *last.get(&stream).unwrap_or(&i64::MIN));
                last.insert(stream, got);
            }
        }
    }
}
