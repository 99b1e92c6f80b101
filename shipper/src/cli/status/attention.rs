//! What a person should look at, the worst first.

use crate::cli::text::{count, moment, safe, size, span};
use crate::engine::report::{LaneReport, Report, RotationReport};

/// One line for each thing, harmless to print; some with lines below.
pub(super) fn list(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(trouble) = &report.state_trouble {
        out.push(format!("the state cannot be written, nothing is delivered: {}", safe(trouble)));
    }
    if let Some(reasons) = &report.refused_policy {
        let reasons = reasons.iter().fold(String::new(), |text, reason| text + "\n      " + &safe(reason));
        let what = "the newest policy is refused, the one before goes on; correct it (waybill check -f FILE):";
        out.push(format!("{what}{reasons}"));
    }
    for switch in &report.switches {
        let by = if switch.requested_by.is_empty() { "unknown" } else { &switch.requested_by };
        let what = format!("kill switch {} is engaged ({})", safe(&switch.scope), safe(&switch.mode));
        out.push(format!("{what} by {} since {}: {}", safe(by), moment(switch.since), safe(&switch.reason)));
    }
    if !report.ready {
        out.push("the first scan is not done yet".to_owned());
    }
    report.lanes.iter().for_each(|lane| of_lane(lane, &mut out));
    for source in &report.sources {
        if report.ready && !report.streams.iter().any(|stream| stream.source == *source) {
            out.push(format!(
                "source {} has no file; see what its paths match with waybill check -f FILE --probe",
                safe(source)
            ));
        }
    }
    report.rotations.iter().for_each(|rotation| of_rotation(rotation, &mut out));
    if report.age_paused_seconds > 0.0 {
        out.push(format!(
            "the clock was set: nothing goes for its age for {} more; if it is right: waybill inspect clock --confirm",
            span(report.age_paused_seconds)
        ));
    }
    let troubled: Vec<_> = report.streams.iter().filter_map(|s| Some((s, s.trouble.as_ref()?))).collect();
    for (stream, trouble) in troubled.iter().take(SHOWN) {
        out.push(format!("{}: {}", safe(&stream.path), safe(trouble)));
    }
    if let Some(more) = troubled.len().checked_sub(SHOWN + 1) {
        out.push(format!(
            "{} more in trouble; see them with waybill status --json",
            count(more as u64 + 1, "file", "files")
        ));
    }
    out
}

/// Files in trouble that are named.
const SHOWN: usize = 5;

fn of_rotation(rotation: &RotationReport, out: &mut Vec<String>) {
    let name = safe(&rotation.source);
    if let Some(why) = &rotation.refusal {
        let files = count(rotation.refused, "file of it is", "files of it are");
        out.push(format!("source {name}: {files} not rotated: {}", safe(why)));
    }
    if rotation.awaiting_restart > 0 {
        let files = count(rotation.awaiting_restart, "file of it is", "files of it are");
        out.push(format!(
            "source {name}: {files} rotated from the pod's next start on, which mounts the folder for writing"
        ));
    }
    if let Some(why) = &rotation.held_open {
        out.push(format!("source {name}: a writer did not open its file anew: {}", safe(why)));
    }
    if rotation.pressed {
        out.push(format!("source {name}: its file system has less free than minFree asks for"));
    }
}

fn of_lane(lane: &LaneReport, out: &mut Vec<String>) {
    let name = safe(&lane.name);
    if let Some(trouble) = &lane.trouble {
        out.push(format!("sink {name}: {}", safe(trouble)));
    } else if lane.state == "Behind" {
        let age = span(lane.oldest_pending_seconds);
        out.push(format!("sink {name} is behind: {} pending, the oldest for {age}", size(lane.pending.bytes)));
    }
    if lane.lost.bytes > 0 || lane.lost.records > 0 {
        let what = format!("{} ({})", count(lane.lost.records, "record", "records"), size(lane.lost.bytes));
        out.push(format!(
            "sink {name} has lost {what} in all; the ledger's entries named loss say which: waybill inspect"
        ));
    }
    if lane.refused.records > 0 {
        let what = count(lane.refused.records, "record", "records");
        out.push(format!("sink {name} refused {what}: waybill inspect dead-letters --sink {name}"));
    }
    let missing = unaccounted(lane);
    if missing != 0 {
        out.push(format!(
            "sink {name} does not add up by {missing} bytes: this is a mistake of waybill, please report it"
        ));
    }
}

/// By how many bytes the lane's account does not add up.
pub(super) fn unaccounted(lane: &LaneReport) -> i128 {
    let terms = [lane.acknowledged, lane.dropped, lane.refused, lane.lost, lane.pending];
    i128::from(lane.seen.bytes) - terms.iter().map(|term| i128::from(term.bytes)).sum::<i128>()
}
