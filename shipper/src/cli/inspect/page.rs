//! The page of `waybill inspect`. Pure, and harmless to a terminal.

use std::fmt::Write as _;

use crate::cli::tables;
use crate::cli::text::{Table, count, moment, number, safe, size, span};

use super::model::Inspection;

/// Writes the page. Writing to a string cannot fail.
pub(super) fn render(state: &Inspection) -> String {
    let mut out = String::new();
    let _written = writeln!(out, "State of machine {}, begun {}", safe(&state.machine), moment(state.created));
    if state.torn {
        out.push_str(
            "  ! the last write is not whole: the agent is writing, or was cut off; nothing entered is missing\n",
        );
    }
    if state.unknown > 0 {
        let _written =
            writeln!(out, "  ! {} of a later release cannot be shown", count(state.unknown, "entry", "entries"));
    }
    for switch in &state.switches {
        let by = if switch.requested_by.is_empty() { "unknown" } else { &switch.requested_by };
        let what = format!("kill switch {} is engaged ({})", safe(&switch.scope), safe(&switch.mode));
        let _written =
            writeln!(out, "  ! {what} by {} since {}: {}", safe(by), moment(switch.since), safe(&switch.reason));
    }
    out.push_str("\nSinks\n");
    let mut table = Table::new(3, &["SINK", "TYPE", "STATE", "PENDING", "OLDEST"]);
    for lane in &state.lanes {
        let oldest = if lane.pending.bytes == 0 { "-".to_owned() } else { span(lane.oldest_pending_seconds) };
        table.row([lane.name.clone(), lane.kind.clone(), lane.state.to_string(), size(lane.pending.bytes), oldest]);
    }
    table.write(&mut out);
    out.push_str("\nAccounts\n");
    tables::accounts(&state.lanes, &mut out);
    streams(&mut out, state);
    let _written = writeln!(out, "\nLedger, {}, the newest last", count(state.ledger_last, "entry", "entries"));
    tables::ledger(&state.ledger, &mut out);
    out
}

fn streams(out: &mut String, state: &Inspection) {
    let ended = count(state.ended, "ended one", "ended ones");
    let copies = count(state.copies, "copy", "copies");
    let _written =
        writeln!(out, "\nStreams, {}; and {ended} and {copies} remembered", number(state.streams.len() as u64));
    let lanes: Vec<&str> =
        state.lanes.iter().filter(|lane| lane.state != "Removed").map(|lane| lane.name.as_str()).collect();
    let mut heads = vec!["ID", "SOURCE", "PATH", "RECORDS", "SIZE", "READ"];
    heads.extend(&lanes);
    let heads: Vec<String> = heads.iter().map(|head| safe(head)).collect();
    let mut table = Table::new(3, &heads.iter().map(String::as_str).collect::<Vec<_>>());
    for stream in &state.streams {
        let fixed = [stream.id.clone(), stream.source.clone(), stream.path.clone(), number(stream.records)];
        let sizes = [number(stream.size), number(stream.frontier)];
        let cursors =
            lanes.iter().map(|lane| stream.cursors.get(*lane).map_or("-".to_owned(), |offset| number(*offset)));
        table.row(fixed.into_iter().chain(sizes).chain(cursors));
    }
    table.write(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::made_up;

    #[test]
    fn shows_everything_and_steers_no_terminal() {
        let report = made_up::report();
        let mut state = Inspection {
            machine: "m".into(),
            created: 0,
            torn: true,
            unknown: 1,
            lanes: report.lanes,
            streams: report.streams,
            ended: 2,
            copies: 1,
            switches: report.switches,
            ledger: report.ledger,
            ledger_last: 12,
        };
        insta::assert_snapshot!(render(&state));
        let evil = "x\x1b[2J\r\n  ! forged";
        state.machine = evil.into();
        state.lanes[0].name = evil.into();
        state.streams[0].path = evil.into();
        state.switches[0].reason = evil.into();
        state.ledger[0].message = evil.into();
        let page = render(&state);
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
        assert!(!page.lines().any(|line| line.starts_with("  ! forged")));
    }
}
