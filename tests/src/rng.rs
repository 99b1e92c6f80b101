//! A small generator of pseudo-random numbers, so that a run can be repeated from its seed.

use std::ops::Range;

/// `SplitMix64`: every seed is good, and a fork is independent of its parent.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Starts from `WAYBILL_SEED`, or from the clock, and prints which, so that a failure can be run again.
    pub fn from_env(test: &str) -> Self {
        let seed = std::env::var("WAYBILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64 % 1_000_000_000)
        });
        println!("{test}: WAYBILL_SEED={seed}");
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number of the range.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.bits() % (range.end - range.start).max(1)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    /// One of the slice; the slice must not be empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0..from.len() as u64) as usize]
    }

    /// A generator of its own for a thread.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.bits())
    }

    /// So many printable characters, never a newline.
    pub fn text(&mut self, len: usize) -> String {
        const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        (0..len).map(|_| char::from(LETTERS[(self.bits() % 64) as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let (mut one, mut other) = (Rng::new(7), Rng::new(7));
        assert!((0..100).all(|_| one.bits() == other.bits()));
        assert_ne!(Rng::new(7).bits(), Rng::new(8).bits());
    }

    #[test]
    fn a_range_is_kept() {
        let mut rng = Rng::new(1);
        assert!((0..1000).map(|_| rng.within(3..9)).all(|n| (3..9).contains(&n)));
    }
}
