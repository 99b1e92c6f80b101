//! The names under which the agent shows its numbers, all in one place.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Pages of the agent's listener.
pub mod page {
    /// Answers as soon as the agent serves.
    pub const HEALTH: &str = "/healthz";
    /// Answers 200 once the agent ships.
    pub const READY: &str = "/readyz";
    /// The full state, as JSON.
    pub const STATUS: &str = "/status";
    /// Prometheus text.
    pub const METRICS: &str = "/metrics";
}

/// `event.dataset` of a ledger entry.
pub const CONTROL: &str = "waybill.control";
/// `event.action` of a loss.
pub const LOSS: &str = "loss";

/// `event.action` when the state is empty although the files have content.
pub const EMPTY_STATE: &str = "state_empty";
/// `event.action` of a kill switch that is thrown, changed or lifted.
pub const SWITCH: &str = "kill_switch";
/// `event.action` of a range that no lane wants any more.
pub const ABANDONED: &str = "abandoned";
/// `event.action` of a policy that is taken over.
pub const APPLIED: &str = "policy_applied";
/// `event.action` of a policy that is not.
pub const REFUSED: &str = "policy_refused";
/// `event.action` at a start.
pub const STARTED: &str = "started";
/// `event.action` at an end.
pub const STOPPED: &str = "stopped";

/// The terms of the conservation equation that add up to what was seen, as fields and as the middle of a metric's name.
pub const TERMS: [&str; 5] = ["acknowledged", "dropped", "refused", "lost", "pending"];

/// Name of the metric that carries a term in bytes.
pub fn metric(term: &str) -> String {
    if term == "pending" { format!("waybill_lane_{term}_bytes") } else { format!("waybill_lane_{term}_bytes_total") }
}

/// Reads a field whether its name is dotted or nested.
pub fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = value.get(name) {
        return Some(found);
    }
    name.match_indices('.').find_map(|(dot, _)| field(value.get(&name[..dot])?, &name[dot + 1..]))
}

/// Bytes and records of one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Bytes of the files.
    pub bytes: u64,
    /// Records.
    pub records: u64,
}

/// One lane's account.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Its sink's name.
    pub name: String,
    /// What it has been offered.
    pub seen: Count,
    /// What became of it, in the order of [`TERMS`].
    pub terms: [Count; 5],
}

impl Lane {
    /// One of [`TERMS`] by its name.
    pub fn term(&self, name: &str) -> Count {
        TERMS.iter().position(|term| *term == name).map_or_else(Count::default, |at| self.terms[at])
    }

    /// Fails where bytes have appeared or vanished.
    pub fn balance(&self) -> Result<()> {
        let sum: u64 = self.terms.iter().map(|count| count.bytes).sum();
        ensure!(
            sum == self.seen.bytes,
            "lane {}: seen {} bytes, accounted for {sum}: {}",
            self.name,
            self.seen.bytes,
            self
        );
        Ok(())
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seen {}", self.seen.bytes)?;
        for (index, (term, count)) in TERMS.iter().zip(&self.terms).enumerate() {
            write!(f, " {} {term} {}", if index == 0 { '=' } else { '+' }, count.bytes)?;
        }
        Ok(())
    }
}

/// The lanes of `/status` or of `inspect --json`.
pub fn lanes(answer: &Value) -> Result<Vec<Lane>> {
    let list = answer.get("lanes").and_then(Value::as_array).context("the answer has no lanes")?;
    list.iter().map(lane).collect()
}

fn lane(value: &Value) -> Result<Lane> {
    let name = value.get("name").and_then(Value::as_str).context("a lane has no name")?;
    let count = |term: &str| -> Result<Count> {
        let part = |unit: &str| value.get(term).and_then(|counts| counts.get(unit)).and_then(Value::as_u64);
        let bytes = part("bytes").with_context(|| format!("lane {name} does not say {term}.bytes"))?;
        let records = part("records").with_context(|| format!("lane {name} does not say {term}.records"))?;
        Ok(Count { bytes, records })
    };
    let mut terms = [Count::default(); 5];
    for (slot, term) in terms.iter_mut().zip(TERMS) {
        *slot = count(term)?;
    }
    Ok(Lane { name: name.to_owned(), seen: count("seen")?, terms })
}

/// The value of a series in Prometheus text, by its name and one label.
pub fn sample(metrics: &str, name: &str, label: &str, value: &str) -> Option<f64> {
    let wanted = format!("{label}=\"{value}\"");
    metrics.lines().find_map(|line| {
        let (series, number) = line.rsplit_once(' ')?;
        let (found, labels) = series.split_once('{')?;
        (found == name && labels.trim_end_matches('}').split(',').any(|pair| pair == wanted))
            .then(|| number.parse().ok())?
    })
}

/// Holds the lanes of `/metrics` against the conservation equation as its documentation writes it.
pub fn balance_of_metrics(metrics: &str) -> Result<()> {
    let seen = "waybill_lane_seen_bytes_total";
    let lanes: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(seen)?.strip_prefix("{lane=\"")?.split('"').next())
        .collect();
    ensure!(!lanes.is_empty(), "/metrics shows no lane");
    for lane in lanes {
        let value = |name: &str| {
            sample(metrics, name, "lane", lane).with_context(|| format!("/metrics shows no {name} of the lane {lane}"))
        };
        let sum = TERMS.iter().try_fold(0.0, |sum, term| anyhow::Ok(sum + value(&metric(term))?))?;
        let seen = value(seen)?;
        // Whole numbers, both.
        ensure!((seen - sum).abs() < 0.5, "lane {lane}: /metrics shows {seen} bytes seen and {sum} accounted for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(lost: u64) -> Value {
        let count = |bytes: u64| json!({"bytes": bytes, "records": 1});
        json!({"lanes": [{"name": "archive", "seen": count(100), "acknowledged": count(90), "dropped": count(0),
            "refused": count(0), "lost": count(lost), "pending": count(3)}]})
    }

    #[test]
    fn an_account_that_does_not_add_up_is_told() {
        assert!(lanes(&answer(7)).unwrap()[0].balance().is_ok());
        assert!(lanes(&answer(6)).unwrap()[0].balance().is_err());
        assert!(lanes(&json!({})).is_err());
    }

    #[test]
    fn fields_are_found_dotted_and_nested() {
        assert_eq!(field(&json!({"waybill.id": 1}), "waybill.id"), Some(&json!(1)));
        assert_eq!(field(&json!({"waybill": {"fragment.line": 2}}), "waybill.fragment.line"), Some(&json!(2)));
        assert_eq!(field(&json!({"waybill": {}}), "waybill.id"), None);
    }

    #[test]
    fn a_series_is_found_by_its_label() {
        let text = "# TYPE a counter\na_total{lane=\"x\"} 1\na_total{lane=\"y\",b=\"c\"} 2\n";
        assert_eq!(sample(text, "a_total", "lane", "y"), Some(2.0));
        assert_eq!(sample(text, "a_total", "lane", "z"), None);
    }

    #[test]
    fn metrics_that_do_not_add_up_are_found() {
        let shown = |seen: u64| {
            let terms: Vec<String> = TERMS.iter().map(|term| format!("{}{{lane=\"x\"}} 2", metric(term))).collect();
            format!("waybill_lane_seen_bytes_total{{lane=\"x\"}} {seen}\n{}", terms.join("\n"))
        };
        balance_of_metrics(&shown(10)).unwrap();
        assert!(balance_of_metrics(&shown(11)).is_err());
        assert!(balance_of_metrics("").is_err());
    }
}
