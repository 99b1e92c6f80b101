//! The limits of one `PutLogEvents` request, and how records are divided among requests so that none breaks one.
//!
//! The numbers are those of the service's API reference, `PutLogEvents`.

/// Largest request in bytes, each event counted with [`OVERHEAD`].
pub const MOST_BYTES: usize = 1_048_576;
/// What an event counts beside its message.
pub const OVERHEAD: usize = 26;
/// Largest message: one that fills a request alone.
pub const MOST_MESSAGE: usize = MOST_BYTES - OVERHEAD;
/// Most events of a request.
pub const MOST_EVENTS: usize = 10_000;
/// Longest time between the first and the last event of a request, in milliseconds.
pub const MOST_SPAN: i64 = 24 * 3_600_000;

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970 UTC.
    pub time: i64,
    /// What is delivered.
    pub message: String,
    /// Which parcel it is of, and which record there.
    pub parcel: usize,
    /// The record's index.
    pub record: u32,
}

/// Divides the events of one log stream among requests. They are put into chronological order first, which the service demands within a
/// request; events of the same time keep theirs. Events longer than [`MOST_MESSAGE`] must not be among them.
pub fn divide(mut events: Vec<Event>) -> Vec<Vec<Event>> {
    events.sort_by_key(|event| event.time);
    let mut requests: Vec<Vec<Event>> = Vec::new();
    let (mut bytes, mut first) = (0, 0);
    for event in events {
        let size = event.message.len() + OVERHEAD;
        match requests.last_mut() {
            Some(open)
                if bytes + size <= MOST_BYTES
                    && open.len() < MOST_EVENTS
                    && event.time.saturating_sub(first) <= MOST_SPAN =>
            {
                bytes += size;
                open.push(event);
            }
            _ => {
                (bytes, first) = (size, event.time);
                requests.push(vec![event]);
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(time: i64, len: usize, record: u32) -> Event {
        Event { time, message: "x".repeat(len), parcel: 0, record }
    }

    #[test]
    fn limits_are_reached_and_not_passed() {
        let sizes = |requests: Vec<Vec<Event>>| requests.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(divide(vec![event(0, MOST_MESSAGE, 0)])), [1]);
        assert_eq!(sizes(divide(vec![event(0, MOST_MESSAGE - 27, 0), event(0, 1, 1)])), [2]);
        assert_eq!(sizes(divide(vec![event(0, MOST_MESSAGE - 26, 0), event(0, 1, 1)])), [1, 1]);
        assert_eq!(sizes(divide((0..10_001).map(|n| event(0, 1, n)).collect())), [10_000, 1]);
        assert_eq!(sizes(divide(vec![event(0, 1, 0), event(MOST_SPAN, 1, 1)])), [2]);
        assert_eq!(sizes(divide(vec![event(0, 1, 0), event(MOST_SPAN + 1, 1, 1)])), [1, 1]);
        assert_eq!(divide(Vec::new()).len(), 0);
    }

    #[test]
    fn equal_times_keep_their_order() {
        let requests = divide(vec![event(5, 1, 0), event(3, 1, 1), event(5, 1, 2), event(3, 1, 3)]);
        assert_eq!(requests[0].iter().map(|e| e.record).collect::<Vec<_>>(), [1, 3, 0, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_request_breaks_a_limit(
            events in prop::collection::vec(
                (prop_oneof![-1_000_000_i64..1_000_000, any::<i64>(), Just(0_i64)], prop_oneof![1_usize..200, 100_000..MOST_MESSAGE]),
                0..60,
            ),
            many in prop_oneof![9 => Just(0_usize), 1 => 9_000_usize..21_000],
        ) {
            let mut all: Vec<Event> =
                events.iter().enumerate().map(|(n, (time, len))| event(*time, *len, n as u32)).collect();
            all.extend((0..many).map(|n| event(7, 1, (60 + n) as u32)));
            let total = all.len();
            let requests = divide(all);
            prop_assert_eq!(requests.iter().map(Vec::len).sum::<usize>(), total);
            for request in &requests {
                let bytes: usize = request.iter().map(|e| e.message.len() + OVERHEAD).sum();
                prop_assert!(bytes <= MOST_BYTES && (1..=MOST_EVENTS).contains(&request.len()));
                prop_assert!(request.windows(2).all(|pair| pair[0].time <= pair[1].time));
                prop_assert!(request[request.len() - 1].time.saturating_sub(request[0].time) <= MOST_SPAN);
            }
        }
    }
}
