//! How the engine is: what `/status`, `/metrics`, `/report` and `waybill status` are made of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::format::{Outcome, Verdict};
use crate::plan::{SinkKind, SinkPlan};
use crate::source::decompress::Compression;
use crate::source::stream::Place;
use crate::state::entry::{Count, LedgerRecord};

use super::{Engine, Now};

/// What the engine counts beside what the state keeps.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records handed out first, by outcome; the last is "none".
    pub outcomes: [u64; 5],
    /// Records whose line did not parse.
    pub unparsed: u64,
    /// Records whose line may not be its program's.
    pub suspect: u64,
    /// Records that say that lines of their own log are missing.
    pub incomplete: u64,
    /// Files that started over.
    pub started_over: u64,
    /// Files that were copies.
    pub copies: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Policies that were refused.
    pub policies_refused: u64,
    /// Why the newest policy is not in force.
    pub refused_policy: Option<Vec<String>>,
    /// Control records that a sink refused.
    pub control_refused: u64,
    /// Refusals that are not entered yet, by lane.
    pub refusals: HashMap<u32, Refusals>,
}

/// Refusals of one lane.
#[derive(Debug, Default)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// Since when.
    pub since: Option<Instant>,
    /// One of the reasons.
    pub example: String,
}

impl Counters {
    /// Counts a record that was handed out first.
    pub fn record(&mut self, verdict: &Verdict) {
        let index = match verdict.outcome {
            Some(Outcome::Success) => 0,
            Some(Outcome::Allow) => 1,
            Some(Outcome::Deny) => 2,
            Some(Outcome::Error) => 3,
            None => 4,
        };
        self.outcomes[index] += 1;
        self.unparsed += u64::from(!verdict.parsed);
        self.suspect += u64::from(verdict.suspect);
        self.incomplete += u64::from(verdict.incomplete);
    }
}

/// Bytes and records, as JSON has them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct Amount {
    /// Bytes as they lie in the files.
    pub bytes: u64,
    /// Records.
    pub records: u64,
}

impl From<Count> for Amount {
    fn from(count: Count) -> Self {
        Self { bytes: count.bytes, records: count.records }
    }
}

/// A lane. In bytes, `seen` = `acknowledged` + `dropped` + `refused` + `lost` + `pending`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LaneReport {
    /// Name of the sink.
    pub name: String,
    /// Type of the sink.
    #[serde(rename = "type")]
    pub kind: String,
    /// Retention waits for it.
    pub required: bool,
    /// `Delivering`, `Behind`, `Held`, `Misconfigured` or `AwaitingRestart`.
    pub state: Cow<'static, str>,
    /// What holds it, with the remedy.
    pub trouble: Option<String>,
    /// Times that the sink had to try again.
    pub retries: u64,
    /// Records that the sink delivered without their end, since the start.
    #[serde(default)]
    pub cut_records: u64,
    /// All that was seen of the streams that it takes, the ledger included.
    pub seen: Amount,
    /// The sink has it.
    pub acknowledged: Amount,
    /// Left out by a rule or a kill switch.
    pub dropped: Amount,
    /// Refused by the sink: dead letters.
    pub refused: Amount,
    /// Gone before it was delivered.
    pub lost: Amount,
    /// Still to be settled.
    pub pending: Amount,
    /// Age of the oldest file content that is pending, in seconds.
    pub oldest_pending_seconds: f64,
    /// Bytes of memory under way to the sink.
    pub in_flight_bytes: u64,
    /// What bounds the files that it writes, if it writes files.
    pub archive: Option<ArchiveReport>,
}

/// The file that a sink writes, and what bounds it and its archives; 0 = no such bound.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ArchiveReport {
    /// The live file.
    pub path: String,
    /// It is rotated before it grows beyond this, in bytes.
    pub max_size: u64,
    /// `None`, `Gzip` or `Zstd`.
    pub compression: Cow<'static, str>,
    /// Days that an archive is kept.
    pub max_age_days: u32,
    /// Archives that are kept.
    pub max_files: u32,
    /// Bytes of archives that are kept.
    pub max_total_size: u64,
    /// What there is; counted for whoever asks, not by the engine, whose thread waits for no folder.
    pub found: Option<BackupsReport>,
}

/// The archives beside a live file.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
pub struct BackupsReport {
    /// Size of the live file, in bytes.
    pub live_bytes: u64,
    /// How many archives.
    pub files: u64,
    /// Their size, in bytes.
    pub bytes: u64,
    /// Those of them that are not compressed.
    pub plain: u64,
}

impl ArchiveReport {
    /// What the plan says of a sink's files.
    pub fn of(plan: &SinkPlan) -> Option<Self> {
        let SinkKind::File(file) = &plan.kind else { return None };
        Some(Self {
            path: file.path.display().to_string(),
            max_size: file.max_size,
            compression: match file.compression {
                Compression::None => "None",
                Compression::Gzip => "Gzip",
                Compression::Zstd => "Zstd",
            }
            .into(),
            max_age_days: file.retention.max_age_days,
            max_files: file.retention.max_files,
            max_total_size: file.retention.max_total_size,
            found: None,
        })
    }
}

/// A stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StreamReport {
    /// Its identity.
    pub id: String,
    /// Name of its source.
    pub source: String,
    /// Where it is, or was last.
    pub path: String,
    /// `live`, `aside`, `deleted`, `missing` or `ended`.
    pub state: Cow<'static, str>,
    /// Logical end.
    pub size: u64,
    /// How far it was handed out, in bytes.
    pub frontier: u64,
    /// How far it was handed out, in records.
    pub records: u64,
    /// When its file was last changed, nanoseconds since 1970 UTC.
    pub modified: i64,
    /// The end is confirmed.
    pub finished: bool,
    /// What is wrong with it.
    pub trouble: Option<String>,
    /// The cursors by lane name, in bytes.
    pub cursors: std::collections::BTreeMap<String, u64>,
}

/// How a source's files are rotated and kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RotationReport {
    /// Name of the source.
    pub source: String,
    /// `Observe`, `Rename` or `Collapse`.
    pub mode: Cow<'static, str>,
    /// Size of its largest live file, in bytes.
    pub live_bytes: u64,
    /// A live file is rotated when it is as large as this, in bytes; 0 = the agent does not rotate for size.
    pub bound_bytes: u64,
    /// Archives that are there.
    pub archives: u64,
    /// Their size on disk, in bytes.
    pub archive_bytes: u64,
    /// When the last of them was made, nanoseconds since 1970 UTC; 0 = none is there.
    pub last_archive: i64,
    /// Live files that cannot be rotated at the moment.
    pub refused: u64,
    /// Why one of them cannot.
    pub refusal: Option<String>,
    /// Live files that are rotated from the pod's next start on, which mounts their folders for writing.
    pub awaiting_restart: u64,
    /// Renamed files that their writers still hold open.
    pub not_reopened: u64,
    /// Why one of their writers does not let go of it, once that has lasted.
    pub held_open: Option<String>,
    /// What keeps files that would go otherwise; words of [`HOLDS`].
    pub holds: Vec<Cow<'static, str>>,
    /// The file system has less free than `minFree` asks for.
    pub pressed: bool,
}

/// An entry of the ledger.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LedgerReport {
    /// Its number.
    pub number: u64,
    /// Nanoseconds since 1970 UTC.
    pub time: i64,
    /// What it is about.
    pub action: String,
    /// A sentence.
    pub message: String,
    /// The details.
    pub fields: serde_json::Value,
}

impl From<&LedgerRecord> for LedgerReport {
    fn from(record: &LedgerRecord) -> Self {
        Self {
            number: record.number,
            time: record.time,
            action: record.action.clone(),
            message: record.message.clone(),
            fields: serde_json::from_str(&record.fields).unwrap_or_default(),
        }
    }
}

/// A kill switch that is engaged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SwitchReport {
    /// Whose.
    pub scope: String,
    /// `Hold` or `Discard`.
    pub mode: Cow<'static, str>,
    /// Why.
    pub reason: String,
    /// Who.
    pub requested_by: String,
    /// Since when, nanoseconds since 1970 UTC.
    pub since: i64,
}

/// Everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Report {
    /// The policy's name.
    pub policy: String,
    /// BLAKE3 of the policy's text that is in force.
    pub digest: String,
    /// The generation of the kill switches in force; 0 on a bare host.
    pub switch_generation: i64,
    /// Why the newest policy is not in force.
    pub refused_policy: Option<Vec<String>>,
    /// Policies refused since the start.
    pub policies_refused: u64,
    /// The first scan is done.
    pub ready: bool,
    /// Why the state cannot be written at the moment.
    pub state_trouble: Option<String>,
    /// Writes of the state that failed since the start.
    pub state_failures: u64,
    /// Names of the sources, in the policy's order.
    pub sources: Vec<String>,
    /// How their files are rotated and kept, in the same order.
    pub rotations: Vec<RotationReport>,
    /// The clock was set: so long nothing goes for its age, in seconds.
    pub age_paused_seconds: f64,
    /// The lanes.
    pub lanes: Vec<LaneReport>,
    /// The streams, those that ended lately not included.
    pub streams: Vec<StreamReport>,
    /// Files open at the moment.
    pub open_files: u64,
    /// Files that are copies of streams.
    pub copies: u64,
    /// Files of which it is not said yet which stream they are: they are still to be read, or someone still writes them. Their bytes
    /// are not among those seen.
    pub waiting_files: u64,
    /// Files that started over since the start.
    pub started_over: u64,
    /// Reads that failed since the start.
    pub read_errors: u64,
    /// Records handed out since the start, by outcome: success, allow, deny, error, none.
    pub outcomes: [u64; 5],
    /// Of these, records whose line did not parse.
    pub unparsed: u64,
    /// And records whose line may not be its program's.
    pub suspect: u64,
    /// And records that say that lines of their own log are missing.
    pub incomplete: u64,
    /// Engaged kill switches.
    pub switches: Vec<SwitchReport>,
    /// The newest entries of the ledger, oldest first.
    pub ledger: Vec<LedgerReport>,
    /// Number of the last ledger entry.
    pub ledger_last: u64,
    /// Control records that sinks refused since the start.
    pub control_refused: u64,
}

/// What [`LaneReport::state`] can say.
pub const LANE_STATES: [&str; 5] = ["Delivering", "Behind", "Held", "Misconfigured", "AwaitingRestart"];
/// What [`StreamReport::state`] can say.
pub const STREAM_STATES: [&str; 5] = ["live", "aside", "deleted", "missing", "ended"];
/// What [`RotationReport::holds`] can say: a required lane has not settled them, a kill switch holds them, or the clock was set.
pub const HOLDS: [&str; 3] = ["Owed", "KillSwitch", "Clock"];
/// The names in the order of [`Report::outcomes`].
pub const OUTCOMES: [&str; 5] = ["success", "allow", "deny", "error", "none"];

/// Ledger entries in a report.
const NEWEST: usize = 200;

impl Engine {
    /// How it is.
    pub fn report(&self, now: Now) -> Report {
        let model = self.store.model();
        let mut report = Report {
            policy: self.plan.policy.clone(),
            digest: self.plan.digest.clone(),
            switch_generation: self.plan.generation,
            refused_policy: self.counters.refused_policy.clone(),
            policies_refused: self.counters.policies_refused,
            ready: !self.first_scan,
            state_trouble: self.store.progress().trouble(),
            state_failures: self.store.progress().failures(),
            sources: self.plan.sources.iter().map(|s| s.name.clone()).collect(),
            open_files: self.streams.values().filter(|s| s.is_open()).count() as u64,
            copies: model.copies.len() as u64,
            waiting_files: self.waiting_files.len() as u64,
            started_over: self.counters.started_over,
            read_errors: self.counters.read_errors,
            outcomes: self.counters.outcomes,
            unparsed: self.counters.unparsed,
            suspect: self.counters.suspect,
            incomplete: self.counters.incomplete,
            ledger_last: model.ledger_last,
            control_refused: self.counters.control_refused,
            ..Report::default()
        };
        report.rotations = self.plan.sources.iter().map(|s| self.report_rotation(s)).collect();
        report.age_paused_seconds = self.age_pause(now).map_or(0.0, |left| left.as_secs_f64());
        report.lanes = self.lanes.iter().map(|l| self.report_lane(l, now)).collect();
        for (id, stream) in self.streams.iter() {
            let Some(record) = model.streams.get(id) else { continue };
            report.streams.push(StreamReport {
                id: id.to_string(),
                source: record.source.clone(),
                path: String::from_utf8_lossy(record.extents.last().map_or(&[][..], |e| &e.path)).into_owned(),
                state: match stream.place {
                    Place::At(_) => "live",
                    Place::Moved(_) => "aside",
                    Place::Unlinked => "deleted",
                    Place::Gone => "missing",
                }
                .into(),
                size: stream.size,
                frontier: record.frontier.offset,
                records: record.frontier.seq,
                modified: stream.modified,
                finished: stream.finished,
                trouble: stream.trouble.clone(),
                cursors: self
                    .lanes
                    .iter()
                    .filter_map(|l| Some((l.plan.name.clone(), l.tracks.get(id)?.settled.offset)))
                    .collect(),
            });
        }
        report.streams.sort_by(|a, b| a.path.cmp(&b.path));
        for record in model.switches.values() {
            report.switches.push(SwitchReport {
                scope: record.scope.clone(),
                mode: if record.mode == 1 { "Discard" } else { "Hold" }.into(),
                reason: record.reason.clone(),
                requested_by: record.requested_by.clone(),
                since: record.since,
            });
        }
        let skip = model.ledger.len().saturating_sub(NEWEST);
        report.ledger = model.ledger.iter().skip(skip).map(LedgerReport::from).collect();
        report
    }

    fn report_lane(&self, lane: &super::Lane, now: Now) -> LaneReport {
        let model = self.store.model();
        let mut tally = model.lanes.get(&lane.number).map(|l| l.closed).unwrap_or_default();
        let mut seen = tally.settled();
        let mut seen_records =
            tally.acknowledged.records + tally.dropped.records + tally.refused.records + tally.lost.records;
        let control = self.control_id();
        let mut oldest = None;
        for (id, track) in lane.tracks.iter() {
            tally.add(track.tally);
            if *id == control {
                seen += model.ledger_offset;
                seen_records += model.ledger_last;
                continue;
            }
            let (Some(stream), Some(record)) = (self.streams.get(id), model.streams.get(id)) else { continue };
            seen += stream.size.max(track.settled.offset).saturating_sub(record.begins_at);
            seen_records += record.frontier.seq.max(track.settled.seq);
            if stream.size > track.settled.offset {
                oldest = Some(oldest.unwrap_or(i64::MAX).min(stream.modified));
            }
        }
        // Streams that ended lately: everything of them is settled, and their totals are not closed yet.
        for ((number, id), cursor) in model.cursors.iter() {
            if *number == lane.number && !lane.tracks.contains_key(id) {
                tally.add(cursor.tally);
                seen += cursor.tally.settled();
                let t = cursor.tally;
                seen_records += t.acknowledged.records + t.dropped.records + t.refused.records + t.lost.records;
            }
        }
        let health = lane.outlet.as_ref().map(|outlet| outlet.health().clone()).unwrap_or_default();
        let settled = tally.settled();
        let records = tally.acknowledged.records + tally.dropped.records + tally.refused.records + tally.lost.records;
        let pending = Amount { bytes: seen.saturating_sub(settled), records: seen_records.saturating_sub(records) };
        let age = oldest.map_or(0.0, |at| (now.wall.saturating_sub(at)).max(0) as f64 / 1e9);
        let held = crate::lane::kill_switch::covering(model.switches.values(), None, &lane.plan.name)
            != crate::lane::kill_switch::Effect::Pass
            || model.switches.contains_key("policy");
        LaneReport {
            name: lane.plan.name.clone(),
            kind: lane.plan.type_name().to_owned(),
            required: lane.plan.required,
            state: match (&health.trouble, held) {
                (_, true) => "Held",
                (Some(_), _) if health.awaits_restart => "AwaitingRestart",
                (Some(_), _) if health.misconfigured => "Misconfigured",
                (Some(_), _) if pending.bytes > 0 => "Behind",
                _ if pending.bytes > 0 && age > 30.0 => "Behind",
                _ => "Delivering",
            }
            .into(),
            trouble: health.trouble,
            retries: health.retries,
            cut_records: health.cut,
            seen: Amount { bytes: seen, records: seen_records },
            acknowledged: tally.acknowledged.into(),
            dropped: tally.dropped.into(),
            refused: tally.refused.into(),
            lost: tally.lost.into(),
            pending,
            oldest_pending_seconds: age,
            in_flight_bytes: lane.weight as u64,
            archive: ArchiveReport::of(&lane.plan),
        }
    }
}
