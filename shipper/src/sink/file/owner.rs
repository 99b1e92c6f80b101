//! One writer a live file, and one at a time who tidies its archives: when a policy changes a sink, the one before ends beside the one
//! that follows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

/// The rights that go with a live file's path, in this process.
#[derive(Debug, Default)]
pub(super) struct Owner {
    live: Mutex<()>,
    archives: Mutex<()>,
}

static OWNERS: Mutex<BTreeMap<PathBuf, Weak<Owner>>> = Mutex::new(BTreeMap::new());

impl Owner {
    /// The rights of this path, which all share who ask for it.
    pub(super) fn of(live: &Path) -> Arc<Self> {
        let mut owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, owner| owner.strong_count() > 0);
        if let Some(owner) = owners.get(live).and_then(Weak::upgrade) {
            return owner;
        }
        let owner = Arc::default();
        owners.insert(live.to_owned(), Arc::downgrade(&owner));
        owner
    }

    /// The right to write to the live file and to rename it; `None` while another has it.
    pub(super) fn live(&self) -> Option<MutexGuard<'_, ()>> {
        match self.live.try_lock() {
            Ok(right) => Some(right),
            // It guards nothing in memory that could be half done.
            Err(TryLockError::Poisoned(right)) => Some(right.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The right to compress, protect and list the archives. Waits until nobody else has it.
    pub(super) fn archives(&self) -> MutexGuard<'_, ()> {
        self.archives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
