//! The places of a rotation at which a test can end the agent or halt it, as `WAYBILL_FAULT` names them.

/// Of archives in general.
pub const ARCHIVE: [&str; 6] =
    ["archive-filled", "archive-written", "archive-entered", "archive-named", "archive-renamed", "archive-protected"];
/// Of cutting the front of a live file off.
pub const COLLAPSE: [&str; 5] =
    ["intent-entered", "live-unprotected", "collapsed", "collapse-synced", "base-committed"];
/// Of renaming a live file.
pub const RENAME: [&str; 2] = ["rename-renamed", "rename-reopened"];
/// Of retention.
pub const PRUNE: [&str; 3] = ["prune-entered", "prune-unprotected", "pruned"];
/// Of the File sink's own files.
pub const SINK: [&str; 4] = ["sink-renamed", "sink-filled", "sink-compressed", "sink-protected"];

/// All of them.
pub fn all() -> Vec<&'static str> {
    [&ARCHIVE[..], &COLLAPSE, &RENAME, &PRUNE, &SINK].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_are_the_agents_points() {
        let code = include_str!("../../shipper/src/rotate/fault.rs");
        let list = code.split("= [").nth(1).and_then(|rest| rest.split("];").next()).unwrap();
        let mut theirs: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        let mut ours = all();
        theirs.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, theirs);
    }
}
