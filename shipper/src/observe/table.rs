//! Every metric that the agent shows. `METRICS.md` documents the same list; a test holds the two against each other.
//!
//! Label values are names of the policy or words of this table. Paths, users' text and reasons are never among them.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Rises, and begins anew only where its meaning says so.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Always 1; what matters is in its labels.
    Info,
}

impl Kind {
    /// The name in the documentation and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
        }
    }
}

impl From<Kind> for MetricType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter,
            Kind::Gauge => Self::Gauge,
            Kind::Info => Self::Info,
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name without unit and suffix.
    pub stem: &'static str,
    /// What it is.
    pub kind: Kind,
    /// `bytes`, `records` or `seconds`; empty if it counts things that its name says.
    pub unit: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence, as it stands in the output.
    pub help: &'static str,
}

impl Metric {
    /// The name under which its samples appear.
    pub fn name(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!("_{}", self.unit) };
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        };
        format!("{}{unit}{suffix}", self.stem)
    }

    /// Its unit for the encoder.
    pub fn unit(&self) -> Option<Unit> {
        match self.unit {
            "" => None,
            "bytes" => Some(Unit::Bytes),
            "seconds" => Some(Unit::Seconds),
            other => Some(Unit::Other(other.to_owned())),
        }
    }
}

macro_rules! table {
    ($($id:ident = $stem:literal $kind:ident $unit:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric { stem: $stem, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help };
        )*
        /// All of them, in the order in which they appear.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

table! {
    BUILD = "waybill_build" Info "" ["version"] "The release that runs";
    POLICY = "waybill_policy" Info "" ["policy", "digest"] "The policy in force";
    READY = "waybill_ready" Gauge "" [] "1 once the first scan is done";
    POLICIES_REFUSED = "waybill_policies_refused" Counter "" [] "Policies that were refused since the start";
    POLICY_REFUSED = "waybill_policy_refused" Gauge "" [] "1 while the newest policy is not in force";

    LANE_SEEN_BYTES = "waybill_lane_seen" Counter "bytes" ["lane"] "Bytes that the lane was ever owed";
    LANE_SEEN_RECORDS = "waybill_lane_seen" Counter "records" ["lane"] "Records that the lane was ever owed";
    LANE_ACKNOWLEDGED_BYTES = "waybill_lane_acknowledged" Counter "bytes" ["lane"] "Bytes of records that the sink has";
    LANE_ACKNOWLEDGED_RECORDS = "waybill_lane_acknowledged" Counter "records" ["lane"] "Records that the sink has";
    LANE_DROPPED_BYTES = "waybill_lane_dropped" Counter "bytes" ["lane"] "Bytes left out by a rule or a kill switch";
    LANE_DROPPED_RECORDS = "waybill_lane_dropped" Counter "records" ["lane"] "Records left out by a rule or a kill switch";
    LANE_REFUSED_BYTES = "waybill_lane_refused" Counter "bytes" ["lane"] "Bytes of records that became dead letters";
    LANE_REFUSED_RECORDS = "waybill_lane_refused" Counter "records" ["lane"] "Records that became dead letters";
    LANE_LOST_BYTES = "waybill_lane_lost" Counter "bytes" ["lane"] "Bytes that were gone before they were delivered";
    LANE_LOST_RECORDS = "waybill_lane_lost" Counter "records" ["lane"] "Records that were gone before they were delivered";
    LANE_PENDING_BYTES = "waybill_lane_pending" Gauge "bytes" ["lane"] "Bytes that are still to be settled";
    LANE_PENDING_RECORDS = "waybill_lane_pending" Gauge "records" ["lane"] "Records read and still to be settled";
    LANE_OLDEST_PENDING = "waybill_lane_oldest_pending" Gauge "seconds" ["lane"] "Age of the oldest file content that is pending";
    LANE_IN_FLIGHT = "waybill_lane_in_flight" Gauge "bytes" ["lane"] "Memory under way to the sink";
    LANE_RETRIES = "waybill_lane_retries" Counter "" ["lane"] "Times that the sink had to try again";
    LANE_CUT_RECORDS = "waybill_lane_cut" Counter "records" ["lane"] "Records that were delivered without their end, since the start";
    LANE_STATE = "waybill_lane_state" Gauge "" ["lane", "state"] "1 for the state that the lane is in";
    LANE_REQUIRED = "waybill_lane_required" Gauge "" ["lane"] "1 if retention waits for the lane";

    RECORDS = "waybill_records" Counter "" ["outcome"] "Records handed out since the start";
    UNPARSED = "waybill_unparsed" Counter "records" [] "Records whose line did not parse, since the start";
    SUSPECT = "waybill_suspect" Counter "records" [] "Records whose line may not be its program's, since the start";
    INCOMPLETE = "waybill_source_incomplete" Counter "records" [] "Records that say that lines of their own log are missing, since the start";
    STREAMS = "waybill_streams" Gauge "" ["state"] "Streams that are known, those that ended lately not included";
    OPEN_FILES = "waybill_open_files" Gauge "" [] "Source files that are open";
    COPIES = "waybill_copies" Gauge "" [] "Files that hold what another stream has already";
    WAITING_FILES = "waybill_waiting_files" Gauge "" [] "Files of which it is not said yet which stream they are";
    STARTED_OVER = "waybill_files_started_over" Counter "" [] "Files that started over since the start";
    READ_ERRORS = "waybill_read_errors" Counter "" [] "Reads that failed since the start";

    ARCHIVES = "waybill_archives" Gauge "" ["source"] "Archives of the source that are there";
    ARCHIVE_BYTES = "waybill_archive" Gauge "bytes" ["source"] "Size of the source's archives on disk";
    LAST_ARCHIVE = "waybill_last_archive_timestamp" Gauge "seconds" ["source"] "When the newest archive that is there was made, seconds since 1970 UTC";
    LIVE_BYTES = "waybill_live_file" Gauge "bytes" ["source"] "Size of the source's largest live file";
    LIVE_BOUND = "waybill_live_file_bound" Gauge "bytes" ["source"] "A live file is rotated when it is as large as this";
    ROTATION_REFUSED = "waybill_rotation_refused_files" Gauge "" ["source"] "Live files that cannot be rotated at the moment";
    NOT_REOPENED = "waybill_not_reopened_files" Gauge "" ["source"] "Renamed files that their writers still hold open";
    RETENTION_HELD = "waybill_retention_held" Gauge "" ["source", "reason"] "1 while files stay that would go otherwise, for each reason";
    DISK_PRESSURE = "waybill_disk_pressure" Gauge "" ["source"] "1 while the source's file system has less free than minFree asks for";
    AGE_PAUSED = "waybill_retention_age_paused" Gauge "seconds" [] "How long nothing goes for its age, because the clock was set";

    KILL_SWITCHES = "waybill_kill_switches_engaged" Gauge "" [] "Kill switches that are engaged";
    KILL_SWITCH = "waybill_kill_switch_engaged" Gauge "" ["scope", "name", "mode"] "1 for each kill switch that is engaged";

    LEDGER_ENTRIES = "waybill_ledger_entries" Counter "" [] "Ledger entries ever made: the number of the last one";
    LEDGER_REFUSED = "waybill_ledger_refused" Counter "records" [] "Ledger records that a sink refused since the start";
    STATE_FAILURES = "waybill_state_write_failures" Counter "" [] "Writes of the state that failed since the start";
    STATE_BLOCKED = "waybill_state_blocked" Gauge "" [] "1 while the state cannot be written and nothing is delivered";

    PROCESS_MEMORY = "process_resident_memory" Gauge "bytes" [] "Resident memory of the agent";
    PROCESS_VIRTUAL = "process_virtual_memory" Gauge "bytes" [] "Virtual memory of the agent";
    PROCESS_CPU = "process_cpu" Counter "seconds" [] "Processor time that the agent used";
    PROCESS_START = "process_start_time" Gauge "seconds" [] "When the agent started, seconds since 1970 UTC";
    PROCESS_FDS = "process_open_fds" Gauge "" [] "File descriptors that are open";
    PROCESS_MAX_FDS = "process_max_fds" Gauge "" [] "File descriptors that may be open";
    PROCESS_THREADS = "process_threads" Gauge "" [] "Threads of the agent";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The documentation's rows: name, and the cells after it.
    fn documented() -> BTreeMap<String, Vec<String>> {
        let text = include_str!("../../METRICS.md");
        let mut rows = BTreeMap::new();
        for line in text.lines().filter(|l| l.starts_with("| `")) {
            let cells: Vec<String> = line.trim_matches('|').split('|').map(|c| c.trim().replace('`', "")).collect();
            assert!(rows.insert(cells[0].clone(), cells[1..].to_vec()).is_none(), "{} is documented twice", cells[0]);
        }
        rows
    }

    #[test]
    fn the_documentation_and_the_table_say_the_same() {
        let mut rows = documented();
        for metric in ALL {
            let row =
                rows.remove(&metric.name()).unwrap_or_else(|| panic!("METRICS.md does not have {}", metric.name()));
            assert_eq!(row[0], metric.kind.name(), "type of {}", metric.name());
            assert_eq!(row[1], metric.labels.join(", "), "labels of {}", metric.name());
            assert_eq!(row[2], metric.unit, "unit of {}", metric.name());
            assert!(
                row[3].starts_with(metric.help),
                "meaning of {} in METRICS.md begins: {}",
                metric.name(),
                metric.help
            );
        }
        assert!(rows.is_empty(), "METRICS.md has what the agent does not show: {:?}", rows.keys());
    }
}
