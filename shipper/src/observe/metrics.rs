//! A report as Prometheus text. Pure: whoever serves it brings the report.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::engine::report::{
    Amount, HOLDS, LANE_STATES, LaneReport, OUTCOMES, Report, RotationReport, STREAM_STATES, SwitchReport,
};

use super::process::Process;
use super::table::{self, Kind, Metric};

/// `Content-Type` of what [`render`] makes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Numbers as they are shown: whole ones stay exact.
#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Whole(u64::from(yes))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// Samples by metric, in the order of the table.
#[derive(Debug)]
struct Samples(Vec<(&'static Metric, Vec<(Labels, Value)>)>);

impl Samples {
    fn add(&mut self, metric: &Metric, labels: &[&str], value: impl Into<Value>) {
        let labels = metric.labels.iter().copied().zip(labels.iter().map(|text| (*text).to_owned())).collect();
        if let Some((_, samples)) = self.0.iter_mut().find(|(m, _)| *m == metric) {
            samples.push((labels, value.into()));
        }
    }

    fn lane(&mut self, lane: &LaneReport) {
        let name = [lane.name.as_str()];
        let mut amount = |bytes: &Metric, records: &Metric, amount: Amount| {
            self.add(bytes, &name, amount.bytes);
            self.add(records, &name, amount.records);
        };
        amount(&table::LANE_SEEN_BYTES, &table::LANE_SEEN_RECORDS, lane.seen);
        amount(&table::LANE_ACKNOWLEDGED_BYTES, &table::LANE_ACKNOWLEDGED_RECORDS, lane.acknowledged);
        amount(&table::LANE_DROPPED_BYTES, &table::LANE_DROPPED_RECORDS, lane.dropped);
        amount(&table::LANE_REFUSED_BYTES, &table::LANE_REFUSED_RECORDS, lane.refused);
        amount(&table::LANE_LOST_BYTES, &table::LANE_LOST_RECORDS, lane.lost);
        amount(&table::LANE_PENDING_BYTES, &table::LANE_PENDING_RECORDS, lane.pending);
        self.add(&table::LANE_OLDEST_PENDING, &name, lane.oldest_pending_seconds);
        self.add(&table::LANE_IN_FLIGHT, &name, lane.in_flight_bytes);
        self.add(&table::LANE_RETRIES, &name, lane.retries);
        self.add(&table::LANE_CUT_RECORDS, &name, lane.cut_records);
        self.add(&table::LANE_REQUIRED, &name, lane.required);
        for state in LANE_STATES {
            self.add(&table::LANE_STATE, &[&lane.name, state], lane.state == state);
        }
    }

    fn rotation(&mut self, rotation: &RotationReport) {
        let source = [rotation.source.as_str()];
        self.add(&table::ARCHIVES, &source, rotation.archives);
        self.add(&table::ARCHIVE_BYTES, &source, rotation.archive_bytes);
        self.add(&table::LAST_ARCHIVE, &source, rotation.last_archive.max(0) as f64 / 1e9);
        self.add(&table::LIVE_BYTES, &source, rotation.live_bytes);
        self.add(&table::LIVE_BOUND, &source, rotation.bound_bytes);
        self.add(&table::ROTATION_REFUSED, &source, rotation.refused);
        self.add(&table::NOT_REOPENED, &source, rotation.not_reopened);
        for reason in HOLDS {
            self.add(&table::RETENTION_HELD, &[&rotation.source, reason], rotation.holds.iter().any(|h| *h == reason));
        }
        self.add(&table::DISK_PRESSURE, &source, rotation.pressed);
    }

    fn switch(&mut self, switch: &SwitchReport) {
        let (scope, name) = switch.scope.split_once('/').unwrap_or((&switch.scope, ""));
        self.add(&table::KILL_SWITCH, &[scope, name, &switch.mode], true);
    }

    fn report(&mut self, report: &Report) {
        self.add(&table::BUILD, &[env!("CARGO_PKG_VERSION")], true);
        self.add(&table::POLICY, &[&report.policy, &report.digest], true);
        self.add(&table::READY, &[], report.ready);
        self.add(&table::POLICIES_REFUSED, &[], report.policies_refused);
        self.add(&table::POLICY_REFUSED, &[], report.refused_policy.is_some());
        report.lanes.iter().for_each(|lane| self.lane(lane));
        for (outcome, count) in OUTCOMES.iter().zip(report.outcomes) {
            self.add(&table::RECORDS, &[outcome], count);
        }
        self.add(&table::UNPARSED, &[], report.unparsed);
        self.add(&table::SUSPECT, &[], report.suspect);
        self.add(&table::INCOMPLETE, &[], report.incomplete);
        for state in STREAM_STATES {
            let count = report.streams.iter().filter(|stream| stream.state == state).count();
            self.add(&table::STREAMS, &[state], count as u64);
        }
        self.add(&table::OPEN_FILES, &[], report.open_files);
        self.add(&table::COPIES, &[], report.copies);
        self.add(&table::WAITING_FILES, &[], report.waiting_files);
        self.add(&table::STARTED_OVER, &[], report.started_over);
        self.add(&table::READ_ERRORS, &[], report.read_errors);
        report.rotations.iter().for_each(|rotation| self.rotation(rotation));
        self.add(&table::AGE_PAUSED, &[], report.age_paused_seconds);
        self.add(&table::KILL_SWITCHES, &[], report.switches.len() as u64);
        report.switches.iter().for_each(|switch| self.switch(switch));
        self.add(&table::LEDGER_ENTRIES, &[], report.ledger_last);
        self.add(&table::LEDGER_REFUSED, &[], report.control_refused);
        self.add(&table::STATE_FAILURES, &[], report.state_failures);
        self.add(&table::STATE_BLOCKED, &[], report.state_trouble.is_some());
    }

    fn process(&mut self, process: &Process) {
        self.add(&table::PROCESS_MEMORY, &[], process.resident_bytes);
        self.add(&table::PROCESS_VIRTUAL, &[], process.virtual_bytes);
        self.add(&table::PROCESS_CPU, &[], process.cpu_seconds);
        self.add(&table::PROCESS_START, &[], process.started);
        self.add(&table::PROCESS_FDS, &[], process.open_fds);
        self.add(&table::PROCESS_MAX_FDS, &[], process.max_fds);
        self.add(&table::PROCESS_THREADS, &[], process.threads);
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (metric, samples) in self.0.iter().filter(|(_, samples)| !samples.is_empty()) {
            let unit = metric.unit();
            let mut family = encoder.encode_descriptor(metric.stem, metric.help, unit.as_ref(), metric.kind.into())?;
            if let ([], [(_, value)]) = (metric.labels, samples.as_slice()) {
                one(family, metric.kind, *value)?;
                continue;
            }
            for (labels, value) in samples {
                match metric.kind {
                    Kind::Info => family.encode_info(labels)?,
                    kind => one(family.encode_family(labels)?, kind, *value)?,
                }
            }
        }
        Ok(())
    }
}

/// One sample.
fn one(encoder: MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(number)) => ConstCounter::new(number).encode(encoder),
        (Kind::Counter, Value::Real(number)) => ConstCounter::new(number).encode(encoder),
        (_, Value::Whole(number)) => ConstGauge::new(number).encode(encoder),
        (_, Value::Real(number)) => ConstGauge::new(number).encode(encoder),
    }
}

/// The report as Prometheus reads it, in the order of the [table](super::table).
pub fn render(report: &Report, process: &Process) -> String {
    let mut samples = Samples(table::ALL.iter().map(|metric| (metric, Vec::new())).collect());
    samples.report(report);
    samples.process(process);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(samples));
    let mut out = String::new();
    if encode(&mut out, &registry).is_err() {
        tracing::error!("failed to encode the metrics");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::observe::made_up;

    /// Name, label names and value of each sample.
    fn samples(text: &str) -> Vec<(String, Vec<String>, f64)> {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split(',').filter_map(|l| l.split_once('='));
            (name.to_owned(), labels.map(|(name, _)| name.to_owned()).collect(), value.parse().unwrap())
        };
        text.lines().filter(|l| !l.starts_with('#')).map(sample).collect()
    }

    #[test]
    fn everything_in_the_table_is_shown_and_nothing_else() {
        let text = render(&made_up::report(), &Process::read());
        let shown: BTreeSet<_> = samples(&text).into_iter().map(|(name, labels, _)| (name, labels)).collect();
        let labels = |m: &Metric| m.labels.iter().map(|l| (*l).to_owned()).collect();
        let named: BTreeSet<_> = table::ALL.iter().map(|m| (m.name(), labels(m))).collect();
        assert_eq!(shown, named);
        assert!(text.ends_with("# EOF\n") && text.contains("\nwaybill_ready 1\n"));
    }

    #[test]
    fn the_conservation_equation_can_be_read() {
        let text = render(&made_up::report(), &Process::default());
        let value = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(&format!("{name}{{lane=\"archive\"}} "))).unwrap();
            line.parse::<u64>().unwrap()
        };
        for unit in ["bytes", "records"] {
            let terms = ["acknowledged", "dropped", "refused", "lost"]
                .map(|t| value(&format!("waybill_lane_{t}_{unit}_total")));
            let pending = value(&format!("waybill_lane_pending_{unit}"));
            assert_eq!(value(&format!("waybill_lane_seen_{unit}_total")), terms.iter().sum::<u64>() + pending);
            assert!(terms.iter().all(|t| *t > 0) && pending > 0);
        }
    }

    #[test]
    fn names_cannot_forge_samples_and_no_path_or_text_of_a_user_is_shown() {
        let mut report = made_up::report();
        report.lanes[0].name = "a\"} 1\nforged_total{x=\"\\".to_owned();
        report.switches[0].scope = "sink/b\"} 1\nforged_total{x=\"".to_owned();
        let text = render(&report, &Process::default());
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
        for secret in [made_up::PATH, made_up::TROUBLE, made_up::REASON, made_up::PERSON] {
            assert!(!text.contains(secret), "{secret}");
        }
    }
}
