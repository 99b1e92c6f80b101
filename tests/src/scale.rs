//! How much the tests of sinks do: with `WAYBILL_FULL` set what is promised in full, without it the same in small, for every day.

use std::time::Duration;

fn full() -> bool {
    std::env::var_os("WAYBILL_FULL").is_some_and(|value| !value.is_empty())
}

/// Records of a long stream: a million.
pub fn records() -> usize {
    if full() { 1_000_000 } else { 50_000 }
}

/// How long a right or a server is missing: a minute.
pub fn absence() -> Duration {
    Duration::from_secs(if full() { 60 } else { 5 })
}

/// How late a late answer comes: 30 s.
pub fn late() -> Duration {
    Duration::from_secs(if full() { 30 } else { 4 })
}

/// How long such a delivery may take.
pub fn patience() -> Duration {
    Duration::from_secs(if full() { 1_800 } else { 180 })
}
