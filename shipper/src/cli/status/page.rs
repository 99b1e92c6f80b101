//! The page of `waybill status`. Pure: a report goes in, text that is harmless to a terminal comes out.

use std::fmt::Write as _;

use crate::cli::tables;
use crate::cli::text::{Table, count, number, safe, size, span};
use crate::engine::report::{ArchiveReport, OUTCOMES, Report, RotationReport};

use super::attention;

/// Ledger entries on the page.
const ENTRIES: usize = 5;

/// Writes the page; `now` is in nanoseconds since 1970 UTC. Writing to a string cannot fail.
pub(super) fn write(out: &mut String, report: &Report, now: i64) {
    let digest: String = report.digest.chars().take(12).collect();
    let _written = writeln!(out, "policy {} ({})", safe(&report.policy), safe(&digest));
    let things = attention::list(report);
    if things.is_empty() {
        out.push_str("Nothing needs attention.\n");
    } else {
        let _written =
            writeln!(out, "{}:", count(things.len() as u64, "thing needs attention", "things need attention"));
        for thing in things {
            let _written = writeln!(out, "  ! {thing}");
        }
    }
    flow(out, report, now);
    sinks(out, report);
    outcomes(out, report);
    backups(out, report, now);
    out.push_str("\nIs every byte accounted for?\n");
    tables::accounts(&report.lanes, out);
    let balanced = report.lanes.iter().all(|lane| attention::unaccounted(lane) == 0);
    out.push_str(if balanced { "    yes\n" } else { "    NO\n" });
    let _written = writeln!(out, "\nLedger, {}", count(report.ledger_last, "entry", "entries"));
    let skip = report.ledger.len().saturating_sub(ENTRIES);
    tables::ledger(report.ledger.iter().skip(skip), out);
}

fn flow(out: &mut String, report: &Report, now: i64) {
    out.push_str("\nDo events flow?\n");
    let mut names: Vec<&str> = report.sources.iter().map(String::as_str).collect();
    for stream in &report.streams {
        if !names.contains(&stream.source.as_str()) {
            names.push(&stream.source);
        }
    }
    let mut table = Table::new(1, &["SOURCE", "FILES", "RECORDS", "UNREAD", "LAST WRITTEN"]);
    for name in names {
        let streams = || report.streams.iter().filter(|stream| stream.source == name);
        let records = streams().map(|stream| stream.records).sum();
        let unread = streams().map(|stream| stream.size.saturating_sub(stream.frontier)).sum();
        let last = streams().map(|stream| stream.modified).filter(|at| *at > 0).max();
        let ago = last.map_or("never".to_owned(), |at| format!("{} ago", span(now.saturating_sub(at) as f64 / 1e9)));
        table.row([name.to_owned(), number(streams().count() as u64), number(records), size(unread), ago]);
    }
    table.write(out);
}

fn sinks(out: &mut String, report: &Report) {
    out.push_str("\nDo the sinks carry them?\n");
    let mut table = Table::new(3, &["SINK", "TYPE", "STATE", "REQUIRED", "PENDING", "OLDEST", "IN FLIGHT", "RETRIES"]);
    for lane in &report.lanes {
        let oldest = if lane.pending.bytes == 0 { "-".to_owned() } else { span(lane.oldest_pending_seconds) };
        table.row([
            lane.name.clone(),
            lane.kind.clone(),
            lane.state.to_string(),
            if lane.required { "yes" } else { "no" }.to_owned(),
            size(lane.pending.bytes),
            oldest,
            size(lane.in_flight_bytes),
            number(lane.retries),
        ]);
    }
    table.write(out);
}

fn outcomes(out: &mut String, report: &Report) {
    out.push_str("\nWhat were the outcomes? (since the agent started)\n   ");
    for (name, number) in OUTCOMES.iter().zip(report.outcomes) {
        let _written = write!(out, " {name} {}", self::number(number));
    }
    let _written = writeln!(out, "; not parsed {}", number(report.unparsed));
}

fn backups(out: &mut String, report: &Report, now: i64) {
    out.push_str("\nAre backups bounded and compressed, and what is open?\n");
    rotations(out, report, now);
    for lane in &report.lanes {
        if let Some(archive) = &lane.archive {
            let _written = writeln!(out, "    {}: {}", safe(&lane.name), backup(archive));
        }
    }
    if report.lanes.iter().all(|lane| lane.archive.is_none()) {
        out.push_str("    no sink of this policy writes files\n");
    }
    let _written = writeln!(
        out,
        "    {} open; {} of streams known, {} started over, {}",
        count(report.open_files, "source file", "source files"),
        count(report.copies, "copy", "copies"),
        number(report.started_over),
        count(report.read_errors, "failed read", "failed reads"),
    );
    if report.waiting_files > 0 {
        let files = count(report.waiting_files, "file", "files");
        let _written =
            writeln!(out, "    {files} still to be read to say which stream it is, its bytes not counted yet");
    }
}

/// The sources whose files the agent rotates, or has rotated.
fn rotations(out: &mut String, report: &Report, now: i64) {
    let mut table = Table::new(2, &["SOURCE", "ROTATION", "LIVE FILE", "BOUND", "ARCHIVES", "SIZE", "LAST", "HELD BY"]);
    let managed = |r: &&RotationReport| r.mode != "Observe" || r.archives > 0;
    for rotation in report.rotations.iter().filter(managed) {
        let ago = span(now.saturating_sub(rotation.last_archive) as f64 / 1e9);
        let or = |is: bool, text: String| if is { text } else { "-".to_owned() };
        table.row([
            rotation.source.clone(),
            rotation.mode.to_string(),
            size(rotation.live_bytes),
            or(rotation.bound_bytes > 0, size(rotation.bound_bytes)),
            number(rotation.archives),
            size(rotation.archive_bytes),
            or(rotation.last_archive > 0, format!("{ago} ago")),
            or(!rotation.holds.is_empty(), rotation.holds.join(", ")),
        ]);
    }
    if report.rotations.iter().any(|r| managed(&r)) {
        table.write(out);
    }
}

fn backup(archive: &ArchiveReport) -> String {
    let mut bounds = Vec::new();
    if archive.max_files > 0 {
        bounds.push(count(archive.max_files.into(), "archive", "archives"));
    }
    if archive.max_age_days > 0 {
        bounds.push(count(archive.max_age_days.into(), "day", "days"));
    }
    if archive.max_total_size > 0 {
        bounds.push(size(archive.max_total_size));
    }
    let bounds =
        if bounds.is_empty() { "kept WITHOUT BOUND".to_owned() } else { format!("at most {}", bounds.join(", ")) };
    let compressed = if archive.compression == "None" {
        "not compressed".to_owned()
    } else {
        safe(&archive.compression).to_lowercase()
    };
    let rotated = if archive.max_size == 0 { String::new() } else { format!(" of at most {}", size(archive.max_size)) };
    let found = archive.found.map_or("archives not counted".to_owned(), |found| {
        let plain = if found.plain == 0 || archive.compression == "None" {
            String::new()
        } else {
            format!(", {} yet to be compressed", number(found.plain))
        };
        format!("{} with {}{plain}", count(found.files, "archive", "archives"), size(found.bytes))
    });
    format!("{}{rotated}; {found}; {bounds}, {compressed}", safe(&archive.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::report::{BackupsReport, LaneReport};
    use crate::observe::made_up;

    const NOW: i64 = 1_700_000_005_000_000_000;

    fn page(report: &Report) -> String {
        let mut out = String::new();
        write(&mut out, report, NOW);
        out
    }

    #[test]
    fn everything_that_is_wrong_is_named_first_and_the_questions_are_answered() {
        let mut report = made_up::report();
        let found = BackupsReport { live_bytes: 5, files: 3, bytes: 30_000, plain: 1 };
        report.lanes[0].archive.as_mut().unwrap().found = Some(found);
        insta::assert_snapshot!(page(&report));
    }

    #[test]
    fn a_sound_agent_says_so() {
        let mut report = made_up::report();
        report.lanes.remove(0);
        report.switches.clear();
        report.sources.truncate(1);
        report.rotations.truncate(1);
        report.age_paused_seconds = 0.0;
        (report.state_trouble, report.refused_policy) = (None, None);
        let page = page(&report);
        assert!(
            page.contains("Nothing needs attention.\n") && page.contains("no sink of this policy writes files"),
            "{page}"
        );
    }

    #[test]
    fn an_account_that_does_not_add_up_is_shouted() {
        let report = Report {
            lanes: vec![LaneReport { name: "a".into(), ..made_up::report().lanes[0].clone() }],
            ..made_up::report()
        };
        assert!(page(&report).contains("\n    yes\n"));
        let mut broken = report;
        broken.lanes[0].seen.bytes += 1;
        assert!(page(&broken).contains("does not add up by 1 bytes") && page(&broken).contains("\n    NO\n"));
    }

    #[test]
    fn hostile_names_cannot_steer_the_terminal() {
        let mut report = made_up::report();
        let evil = "x\x1b]0;owned\x07\r\n  ! forged";
        report.policy = evil.into();
        report.sources[0] = evil.into();
        report.rotations[0].source = evil.into();
        report.rotations[1].refusal = Some(evil.into());
        report.rotations[1].held_open = Some(evil.into());
        report.refused_policy = Some(vec![evil.into()]);
        report.state_trouble = Some(evil.into());
        report.lanes[0].name = evil.into();
        report.lanes[0].trouble = Some(evil.into());
        report.lanes[0].archive.as_mut().unwrap().path = evil.into();
        report.streams[0].path = evil.into();
        report.streams[0].source = evil.into();
        report.streams[0].trouble = Some(evil.into());
        report.switches[0].reason = evil.into();
        report.switches[0].requested_by = evil.into();
        report.ledger[0].message = evil.into();
        let page = page(&report);
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
        assert!(!page.lines().any(|line| line.starts_with("  ! forged")));
    }
}
