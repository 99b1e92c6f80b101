//! What must survive: one checksummed log in the state directory.
//!
//! The log is the ledger and the cursors' write-ahead log at once. An entry that moves a cursor *is* the move; every entry
//! carries absolute values, so that replaying it twice moves it once. *Entered* means appended and fsynced here.
//!
//! - [`entry`] is the format: what an entry can say.
//! - [`model`] is what the entries add up to.
//! - [`log`] keeps them on disk: two preallocated files, a snapshot and what followed it.
//! - [`commit`] writes in the background, many entries to one fsync.
//! - [`store`] joins the four: put an entry, learn when it is entered.
//! - [`dead_letter`] keeps what a sink refused, in files of its own.

pub mod commit;
pub mod dead_letter;
pub mod entry;
pub mod ledger;
pub mod lock;
pub mod log;
pub mod model;
pub mod store;

use std::fmt;

/// A stream's identity: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StreamId(pub [u8; 16]);

impl StreamId {
    /// A new identity from the system's random numbers.
    ///
    /// # Panics
    /// Never on Linux 3.17 and later, where `getrandom` cannot fail once the pool is ready.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        #[expect(clippy::expect_used, reason = "an identity that is not random would break every promise")]
        getrandom::fill(&mut bytes).expect("the system has no random numbers");
        Self(bytes)
    }

    /// Reads the 16 bytes that an entry holds; other lengths are not an identity.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
