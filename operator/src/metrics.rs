//! The operator's own metrics. Names and labels are listed in `METRICS.md` beside this crate, and a test holds them to it.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct What {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Whose {
    policy: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Agents {
    policy: String,
    state: &'static str,
}

/// How many agents of a policy are how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// Pods that should be.
    pub desired: i64,
    /// Agents that answer.
    pub answering: i64,
    /// Agents with the newest document in force.
    pub up_to_date: i64,
    /// Agents with the newest kill switches in force.
    pub switched: i64,
}

/// What the operator counts.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Outcome, Counter>,
    errors: Family<Why, Counter>,
    seconds: Histogram,
    writes: Family<What, Counter>,
    questions: Family<Outcome, Counter>,
    tellings: Family<Outcome, Counter>,
    leading: Gauge,
    ready: Gauge,
    accepted: Family<Whose, Gauge>,
    switches: Family<Whose, Gauge>,
    lost_nodes: Family<Whose, Gauge>,
    agents: Family<Agents, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("waybill_operator");
        let buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0];
        let metrics = Self {
            reconciles: Family::default(),
            errors: Family::default(),
            seconds: Histogram::new(buckets),
            writes: Family::default(),
            questions: Family::default(),
            tellings: Family::default(),
            leading: Gauge::default(),
            ready: Gauge::default(),
            accepted: Family::default(),
            switches: Family::default(),
            lost_nodes: Family::default(),
            agents: Family::default(),
            registry: Registry::default(),
        };
        registry.register("reconciles", "Looks at a policy", metrics.reconciles.clone());
        registry.register("errors", "Looks at a policy that failed", metrics.errors.clone());
        registry.register("reconcile_seconds", "How long a look at a policy took", metrics.seconds.clone());
        registry.register("writes", "Objects that were written, the Lease not included", metrics.writes.clone());
        registry.register("questions", "Questions to agents", metrics.questions.clone());
        registry.register("annotations", "Pods that were annotated with kill switches", metrics.tellings.clone());
        registry.register("leading", "1 while this replica leads", metrics.leading.clone());
        registry.register("ready", "1 once the caches hold what the API server has", metrics.ready.clone());
        registry.register(
            "policy_accepted",
            "1 if the policy is accepted, 0 if it is refused",
            metrics.accepted.clone(),
        );
        registry.register("policy_kill_switches_engaged", "Kill switches that are engaged", metrics.switches.clone());
        registry.register("policy_lost_nodes", "Nodes that are gone and had bytes pending", metrics.lost_nodes.clone());
        registry.register("policy_agents", "Agents of the policy, by state", metrics.agents.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A look at a policy ended.
    pub fn reconciled(&self, took: Duration, error: Option<&'static str>) {
        self.seconds.observe(took.as_secs_f64());
        self.reconciles.get_or_create(&Outcome { result: result(error.is_none()) }).inc();
        if let Some(reason) = error {
            self.errors.get_or_create(&Why { reason }).inc();
        }
    }

    /// An object was written.
    pub fn wrote(&self, kind: &'static str) {
        self.writes.get_or_create(&What { kind }).inc();
    }

    /// An agent was asked.
    pub fn asked(&self, answered: bool) {
        self.questions.get_or_create(&Outcome { result: result(answered) }).inc();
    }

    /// A pod was annotated.
    pub fn told(&self, written: bool) {
        self.tellings.get_or_create(&Outcome { result: result(written) }).inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leading.set(leads.into());
    }

    /// Whether this replica is ready.
    pub fn is_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    /// How a policy is.
    pub fn policy(&self, policy: &str, accepted: bool, switches: usize, lost_nodes: usize, agents: AgentCounts) {
        let whose = Whose { policy: policy.to_owned() };
        self.accepted.get_or_create(&whose).set(accepted.into());
        self.switches.get_or_create(&whose).set(i64::try_from(switches).unwrap_or(i64::MAX));
        self.lost_nodes.get_or_create(&whose).set(i64::try_from(lost_nodes).unwrap_or(i64::MAX));
        for (state, count) in states(agents) {
            self.agents.get_or_create(&Agents { policy: policy.to_owned(), state }).set(count);
        }
    }

    /// Forgets a policy.
    pub fn forget(&self, policy: &str) {
        let whose = Whose { policy: policy.to_owned() };
        self.accepted.remove(&whose);
        self.switches.remove(&whose);
        self.lost_nodes.remove(&whose);
        for (state, _) in states(AgentCounts::default()) {
            self.agents.remove(&Agents { policy: policy.to_owned(), state });
        }
    }

    /// The page.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn states(agents: AgentCounts) -> [(&'static str, i64); 4] {
    let AgentCounts { desired, answering, up_to_date, switched } = agents;
    [("desired", desired), ("answering", answering), ("up-to-date", up_to_date), ("switched", switched)]
}

fn result(good: bool) -> &'static str {
    if good { "success" } else { "error" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_on_the_page_and_in_the_documentation() {
        let metrics = Metrics::default();
        metrics.reconciled(Duration::from_millis(3), Some("InvalidSpec"));
        metrics.wrote("DaemonSet");
        metrics.asked(true);
        metrics.told(false);
        metrics.policy("a", true, 1, 0, AgentCounts::default());
        let page = metrics.render().unwrap();
        let documented = include_str!("../METRICS.md");
        let mut names: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        names = names.into_iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), 12);
        for name in &names {
            assert!(
                documented.contains(&format!("`{name}`")) || documented.contains(&format!("`{name}_total`")),
                "{name}"
            );
        }
        let rows = documented.lines().filter(|line| line.starts_with("| `waybill_operator_")).count();
        assert_eq!(rows, names.len());
        metrics.forget("a");
        assert!(!metrics.render().unwrap().contains("policy=\"a\""));
    }
}
