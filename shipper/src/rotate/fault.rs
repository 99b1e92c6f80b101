//! Places where a test ends or halts the process, to see what a crash, a full disk or a power loss there leaves behind.
//!
//! In a build with debug assertions `WAYBILL_FAULT=<point>` or `<point>:<n>` kills the process when it comes to that point, or comes to
//! it for the n-th time; `<point>:<n>:stop` halts it there, until a test has done something to its disk and lets it go on. A release build
//! does not read the variable.

/// The points, in the order in which a rotation comes to them.
pub const POINTS: [&str; 20] = [
    "archive-filled",
    "archive-written",
    "archive-entered",
    "archive-named",
    "archive-renamed",
    "archive-protected",
    "intent-entered",
    "live-unprotected",
    "collapsed",
    "collapse-synced",
    "base-committed",
    "rename-renamed",
    "rename-reopened",
    "prune-entered",
    "prune-unprotected",
    "pruned",
    "sink-renamed",
    "sink-filled",
    "sink-compressed",
    "sink-protected",
];

/// The process ends or halts here if a test asked for it.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    static SEEN: AtomicU32 = AtomicU32::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not among the points");
    let wanted = WANTED.get_or_init(|| Wanted::parse(&std::env::var("WAYBILL_FAULT").ok()?));
    let Some(wanted) = wanted else { return };
    if wanted.point == name && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == wanted.nth {
        use rustix::process::{Signal, getpid, kill_process};
        if wanted.halts {
            let _halted = kill_process(getpid(), Signal::STOP);
            return;
        }
        // As a crash would: no destructor runs, and nothing that is not on disk by now gets there.
        let _killed = kill_process(getpid(), Signal::KILL);
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    point: String,
    nth: u32,
    halts: bool,
}

#[cfg(debug_assertions)]
impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let point = parts.next().filter(|point| !point.is_empty())?.to_owned();
        let nth = parts.next().map_or(Some(1), |n| n.parse().ok())?;
        let halts = parts.next() == Some("stop");
        Some(Self { point, nth, halts })
    }
}

/// The process ends or halts here if a test asked for it: never in a release build.
#[cfg(not(debug_assertions))]
pub fn point(_name: &'static str) {}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn says_where_how_often_and_what() {
        let wanted = |point: &str, nth, halts| Some(Wanted { point: point.into(), nth, halts });
        assert_eq!(Wanted::parse("pruned"), wanted("pruned", 1, false));
        assert_eq!(Wanted::parse("pruned:3"), wanted("pruned", 3, false));
        assert_eq!(Wanted::parse("pruned:3:stop"), wanted("pruned", 3, true));
        assert_eq!(Wanted::parse(""), None);
        assert_eq!(Wanted::parse("pruned:x"), None);
    }
}
