//! Some of the lanes, for who waits for them.

/// Some of the lanes, by their places in the list. Those from the 64th on share a bit with others: a look too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lanes(u64);

impl Lanes {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// The lane at a place in the list.
    pub fn one(index: usize) -> Self {
        Self(1 << (index % 64))
    }

    /// With others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// There is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both have one in common.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
