//! Which partition a message goes to: by the stream's or the source's part of its key, never by the record id.

use rdkafka::producer::Partitioner;
use waybill_crds::PartitionBy;
use xxhash_rust::xxh3::xxh3_64;

/// Chooses partitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placement(pub(super) PartitionBy);

impl Placement {
    /// The part of a key that all messages share whose order is kept.
    fn common<'k>(self, key: &'k [u8]) -> &'k [u8] {
        let end = match self.0 {
            PartitionBy::Stream => key.iter().position(|b| *b == b'-'),
            PartitionBy::Source => key.iter().rposition(|b| *b == b'/'),
        };
        key.get(..end.unwrap_or(key.len())).unwrap_or_default()
    }
}

impl Partitioner for Placement {
    // Whether the partition's leader is there just now does not matter: going elsewhere meanwhile would break the order.
    fn partition(&self, _: &str, key: Option<&[u8]>, partitions: i32, _: impl Fn(i32) -> bool) -> i32 {
        let hash = xxh3_64(self.common(key.unwrap_or_default()));
        (hash % u64::from(partitions.max(1).unsigned_abs())) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(by: PartitionBy, key: &str) -> i32 {
        Placement(by).partition("audit", Some(key.as_bytes()), 12, |_| false)
    }

    #[test]
    fn a_stream_stays_in_one_partition() {
        let stream = "0123456789abcdef0123456789abcdef";
        let first = place(PartitionBy::Stream, &format!("{stream}-0000000000000000-1111111111111111"));
        for offset in 1..100 {
            let key = format!("{stream}-{offset:016x}-{:016x}", offset * 7);
            assert_eq!(place(PartitionBy::Stream, &key), first);
            assert_eq!(place(PartitionBy::Source, &format!("gate/{key}")), place(PartitionBy::Source, "gate/x"));
        }
    }

    #[test]
    fn the_choice_is_the_same_in_every_release() {
        assert_eq!(place(PartitionBy::Stream, "0123456789abcdef0123456789abcdef-0-0"), 9);
        assert_eq!(place(PartitionBy::Source, "gate/0-0-0"), 3);
    }

    #[test]
    fn streams_spread() {
        let used: std::collections::HashSet<i32> =
            (0..200_u32).map(|n| place(PartitionBy::Stream, &format!("{n:032x}-0-0"))).collect();
        assert_eq!(used.len(), 12);
        assert!(used.iter().all(|p| (0..12).contains(p)));
    }
}
