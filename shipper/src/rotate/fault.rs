//! Places where a test ends the process, to see what a crash there leaves behind.
//!
//! In a build with debug assertions `WAYBILL_FAULT=<point>` or `<point>:<n>` kills the process when it comes to that point, or comes to
//! it for the n-th time. A release build does not read the variable.

/// The points, in the order in which a rotation comes to them.
pub const POINTS: [&str; 11] = [
    "archive-written",
    "archive-entered",
    "archive-renamed",
    "intent-entered",
    "collapsed",
    "collapse-synced",
    "base-committed",
    "rename-renamed",
    "rename-reopened",
    "prune-entered",
    "pruned",
];

/// The process ends here if a test asked for it.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static SEEN: AtomicU32 = AtomicU32::new(0);
    debug_assert!(POINTS.contains(&name));
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("WAYBILL_FAULT").ok()?;
        let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((point.to_owned(), nth.parse().ok()?))
    });
    let Some((wanted, nth)) = wanted else { return };
    if wanted == name && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == *nth {
        // As a crash would: no destructor runs, and nothing that is not on disk by now gets there.
        let _killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// The process ends here if a test asked for it: never in a release build.
#[cfg(not(debug_assertions))]
pub fn point(_name: &'static str) {}
