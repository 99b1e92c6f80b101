//! The tables that `status` and `inspect` share.

use crate::cli::text::{Table, moment, number, safe};
use crate::engine::report::{Amount, LaneReport, LedgerReport};

/// Each lane's account, in bytes and in records.
pub(super) fn accounts(lanes: &[LaneReport], out: &mut String) {
    let mut table =
        Table::new(2, &["SINK", "", "SEEN", "= ACKNOWLEDGED", "+ DROPPED", "+ REFUSED", "+ LOST", "+ PENDING"]);
    for lane in lanes {
        let terms = [lane.seen, lane.acknowledged, lane.dropped, lane.refused, lane.lost, lane.pending];
        let mut row = |name: &str, unit: &str, part: fn(&Amount) -> u64| {
            let numbers = terms.iter().map(|term| number(part(term)));
            table.row([name.to_owned(), unit.to_owned()].into_iter().chain(numbers));
        };
        row(&lane.name, "bytes", |amount| amount.bytes);
        row("", "records", |amount| amount.records);
    }
    table.write(out);
}

/// Entries of the ledger, one a line.
pub(super) fn ledger<'a>(entries: impl IntoIterator<Item = &'a LedgerReport>, out: &mut String) {
    for entry in entries {
        let line = format!("    {} {} {}: {}", entry.number, moment(entry.time), entry.action, entry.message);
        out.push_str(&safe(&line));
        out.push('\n');
    }
}
