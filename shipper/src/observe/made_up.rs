//! A report that has something of everything, for tests.

use crate::engine::report::{
    Amount, ArchiveReport, LaneReport, LedgerReport, Report, RotationReport, StreamReport, SwitchReport,
};

/// A stream's path.
pub(crate) const PATH: &str = "/var/log/v2ray/access.log";
/// What holds a lane.
pub(crate) const TROUBLE: &str = "failed to write /var/lib/waybill/audit.log: no space left; free some";
/// Why a switch is engaged.
pub(crate) const REASON: &str = "maintenance of node-17";
/// Who engaged it.
pub(crate) const PERSON: &str = "alice@example.com";

fn amount(bytes: u64, records: u64) -> Amount {
    Amount { bytes, records }
}

/// The report.
pub(crate) fn report() -> Report {
    let lane = LaneReport {
        name: "archive".into(),
        kind: "File".into(),
        required: true,
        state: "Misconfigured".into(),
        trouble: Some(TROUBLE.into()),
        retries: 3,
        cut_records: 2,
        seen: amount(1000, 100),
        acknowledged: amount(700, 70),
        dropped: amount(100, 10),
        refused: amount(60, 6),
        lost: amount(40, 4),
        pending: amount(100, 10),
        oldest_pending_seconds: 61.5,
        in_flight_bytes: 4096,
        archive: Some(ArchiveReport {
            path: "/var/lib/waybill/audit.log".into(),
            max_size: 100_000_000,
            compression: "Gzip".into(),
            max_age_days: 90,
            max_files: 14,
            max_total_size: 0,
            found: None,
        }),
    };
    let mirror = LaneReport {
        name: "mirror".into(),
        kind: "Stdout".into(),
        state: "Delivering".into(),
        seen: amount(10, 1),
        acknowledged: amount(10, 1),
        ..LaneReport::default()
    };
    let stream = StreamReport {
        id: "00112233445566778899aabbccddeeff".into(),
        source: "v2ray".into(),
        path: PATH.into(),
        state: "live".into(),
        size: 1000,
        frontier: 900,
        records: 90,
        modified: 1_700_000_000_000_000_000,
        cursors: [("archive".to_owned(), 800)].into(),
        ..StreamReport::default()
    };
    Report {
        switch_generation: 3,
        policy: "edge".into(),
        digest: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into(),
        refused_policy: Some(vec!["/spec/sinks/0: unknown type".into()]),
        policies_refused: 2,
        ready: true,
        state_trouble: Some("failed to append to /state/state-0.log: disk full".into()),
        state_failures: 5,
        sources: vec!["v2ray".into(), "qurl".into()],
        rotations: vec![
            RotationReport {
                source: "v2ray".into(),
                mode: "Collapse".into(),
                live_bytes: 1000,
                bound_bytes: 100_000_000,
                archives: 3,
                archive_bytes: 5000,
                last_archive: 1_700_000_000_000_000_000,
                holds: vec!["Owed".into()],
                ..RotationReport::default()
            },
            RotationReport {
                source: "qurl".into(),
                mode: "Rename".into(),
                bound_bytes: 100_000_000,
                refused: 1,
                refusal: Some("its file system cannot cut files".into()),
                not_reopened: 1,
                held_open: Some("it still holds the renamed file open for writing".into()),
                pressed: true,
                ..RotationReport::default()
            },
        ],
        age_paused_seconds: 3600.0,
        lanes: vec![lane, mirror],
        streams: vec![stream],
        open_files: 1,
        copies: 2,
        waiting_files: 3,
        started_over: 1,
        read_errors: 7,
        outcomes: [1, 80, 7, 2, 10],
        unparsed: 4,
        suspect: 3,
        incomplete: 1,
        switches: vec![SwitchReport {
            scope: "source/qurl".into(),
            mode: "Hold".into(),
            reason: REASON.into(),
            requested_by: PERSON.into(),
            since: 1_700_000_100_000_000_000,
        }],
        ledger: vec![LedgerReport {
            number: 12,
            time: 1_700_000_100_000_000_000,
            action: "kill_switch".into(),
            message: "kill switch source/qurl thrown".into(),
            fields: serde_json::json!({"scope": "source/qurl"}),
        }],
        ledger_last: 12,
        control_refused: 1,
    }
}
