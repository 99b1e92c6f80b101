//! Sizes and what they bound.

use std::ops::RangeInclusive;

use crate::finding::Finding;
use crate::limits::Limits;
use crate::quantity::ByteSize;
use crate::retention::Retention;

const IN_FLIGHT: RangeInclusive<ByteSize> = ByteSize::mib(1)..=ByteSize::gib(16);
const LINE: RangeInclusive<ByteSize> = ByteSize::kib(1)..=ByteSize::mib(64);
const ROTATED: RangeInclusive<ByteSize> = ByteSize::kib(64)..=ByteSize::gib(64);
const LEAST_TOTAL: ByteSize = ByteSize::mib(1);

pub(super) fn limits(found: &mut Vec<Finding>, limits: &Limits, at: &str) {
    within(found, limits.in_flight, &IN_FLIGHT, format!("{at}.inFlight"));
    within(found, limits.line, &LINE, format!("{at}.line"));
    if limits.line.bytes().saturating_mul(2) > limits.in_flight.bytes() {
        found.push(Finding::error(
            format!("{at}.inFlight"),
            format!("{} does not hold two lines of {}", limits.in_flight, limits.line),
            "write at least twice limits.line",
        ));
    }
}

/// The size at which a file is rotated.
pub(super) fn rotated(found: &mut Vec<Finding>, size: ByteSize, at: &str) {
    within(found, size, &ROTATED, format!("{at}.maxSize"));
}

pub(super) fn retention(found: &mut Vec<Finding>, retention: &Retention, at: &str) {
    if let Some(size) = retention.max_total_size
        && size < LEAST_TOTAL
    {
        found.push(Finding::error(
            format!("{at}.maxTotalSize"),
            format!("{size} is too little"),
            format!("write at least {LEAST_TOTAL}, or leave it out for no bound"),
        ));
    }
}

fn within(found: &mut Vec<Finding>, size: ByteSize, bounds: &RangeInclusive<ByteSize>, at: String) {
    if !bounds.contains(&size) {
        found.push(Finding::error(
            at,
            format!("{size} is out of bounds"),
            format!("write a size from {} to {}", bounds.start(), bounds.end()),
        ));
    }
}
