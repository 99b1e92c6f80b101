//! A policy under the operator, with a writer on each node and the means to judge what the agents made of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::node_writer::{self, NodeWriter, all_came};
use super::{BAR, Kubectl, PATIENCE, Site, chart, daemon_set_pods, starts, within_bar};
use crate::face::{self, Lane};
use crate::oracle::Leniency;
use crate::policy::Policy;
use crate::scene::SOON;
use crate::wait::{await_condition, await_true};

/// The policy's scene.
#[derive(Debug)]
pub struct PolicyScene<'a> {
    site: &'a Site,
    name: String,
    agents: Kubectl,
    starts: Vec<String>,
    /// The writers, one a node.
    pub writers: Vec<NodeWriter>,
}

impl<'a> PolicyScene<'a> {
    /// Installs the operator, applies the plain policy of that name, and waits until it is in force on every node.
    pub fn begin(site: &'a Site, name: &str) -> Result<Self> {
        chart::install(site.cluster())?;
        let agents = site.cluster().kubectl().namespace(chart::AGENTS);
        let mut scene = Self { site, name: name.to_owned(), agents, starts: Vec::new(), writers: Vec::new() };
        scene.remove()?;
        scene.writers = node_writer::on_each(site.nodes(), name)?;
        scene.put(&scene.plain())?;
        scene.await_up_to_date()?;
        scene.starts = starts(&scene.pods()?)?;
        Ok(scene)
    }

    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's `kubectl` in the agents' namespace.
    pub fn agents(&self) -> &Kubectl {
        &self.agents
    }

    /// One source, `app`, and one sink, `archive`.
    pub fn plain(&self) -> Policy {
        Policy::plain(&self.name, &node_writer::pattern(&self.name), node_writer::archive(&self.name).as_ref())
    }

    /// Applies a policy.
    pub fn put(&self, policy: &Policy) -> Result<()> {
        self.site.kubectl().apply(&policy.value())
    }

    /// The policy as it is in the cluster.
    pub fn policy(&self) -> Result<Value> {
        self.site.kubectl().json(&["get", "auditpolicies", &self.name])
    }

    /// One of its conditions.
    pub fn condition(&self, kind: &str) -> Result<Value> {
        let policy = self.policy()?;
        let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default())
    }

    /// Waits until a condition of the newest generation has a status and a reason.
    pub fn await_condition(&self, kind: &str, status: &str, reason: &str) -> Result<Value> {
        await_condition(&format!("{kind} is {status}: {reason}"), PATIENCE, || {
            let condition = self.condition(kind)?;
            let current = condition["observedGeneration"] == self.policy()?["metadata"]["generation"];
            Ok((current && condition["status"] == status && condition["reason"] == reason).then_some(condition))
        })
    }

    /// Waits until every node's agent runs the newest generation.
    pub fn await_up_to_date(&self) -> Result<()> {
        let all = self.site.nodes().len();
        await_true("every node runs the newest generation", PATIENCE, || {
            let policy = self.policy()?;
            let status = &policy["status"];
            let newest = status["observedGeneration"] == policy["metadata"]["generation"];
            Ok(newest && status["nodes"]["upToDate"] == all && status["nodes"]["ready"] == all)
        })
    }

    /// Applies a policy, waits for its effect on every node, and prints and bounds the time that it took.
    pub fn edit(&self, what: &str, policy: &Policy, effect: impl FnMut() -> Result<bool>) -> Result<Duration> {
        let began = Instant::now();
        self.put(policy)?;
        await_true(what, SOON, effect)?;
        let took = began.elapsed();
        within_bar(what, took, BAR);
        Ok(took)
    }

    /// Writes lines on every node.
    pub fn write(&mut self, count: usize) -> Result<()> {
        self.writers.iter_mut().try_for_each(|writer| writer.write(count))
    }

    /// Waits until all that was written has come.
    pub fn settle(&self) -> Result<()> {
        all_came(&self.writers)
    }

    /// Writes lines and waits for them.
    pub fn flow(&mut self, count: usize) -> Result<()> {
        self.write(count)?;
        self.settle()
    }

    /// How many records each node's sink holds.
    pub fn records(&self) -> Result<Vec<usize>> {
        self.writers.iter().map(NodeWriter::records).collect()
    }

    /// Whether a kill switch with that reason is in every node's ledger.
    pub fn entered(&self, reason: &str) -> Result<bool> {
        self.writers.iter().try_fold(true, |all, writer| Ok(all && writer.has_entry(face::SWITCH, reason)?))
    }

    /// The agents' pods.
    pub fn pods(&self) -> Result<Vec<Value>> {
        daemon_set_pods(&self.agents, &format!("waybill-{}", self.name), self.site.nodes().len())
    }

    /// The pods were made anew, as they should be: from now on they are the ones that must stay.
    pub fn renewed(&mut self) -> Result<()> {
        self.starts = starts(&self.pods()?)?;
        Ok(())
    }

    /// Fails if any agent was restarted since the beginning.
    pub fn untouched(&self) -> Result<()> {
        let now = starts(&self.pods()?)?;
        ensure!(now == self.starts, "a pod was restarted: {now:?} instead of {:?}", self.starts);
        Ok(())
    }

    /// The lanes of each agent by the agent's name, asked in its pod.
    fn lanes(&self) -> Result<Vec<(String, Vec<Lane>)>> {
        let ask = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
            let text = self.agents.run(&["exec", name, "--", "/waybill", "status", "--json"])?;
            let status = serde_json::from_str(&text).context("the status is not JSON")?;
            Ok((name.to_owned(), face::lanes(&status)?))
        };
        self.pods()?.iter().map(ask).collect()
    }

    /// Fails where bytes have appeared or vanished in an agent's own account.
    pub fn balance(&self) -> Result<()> {
        for (name, lanes) in self.lanes()? {
            for lane in lanes {
                lane.balance().with_context(|| format!("the agent {name}"))?;
                println!("{name}: {} {lane}", lane.name);
            }
        }
        Ok(())
    }

    /// Bytes that each agent says are pending, all lanes together.
    pub fn asked_pending(&self) -> Result<Vec<u64>> {
        let sum = |(_, lanes): &(String, Vec<Lane>)| lanes.iter().map(|lane| lane.term("pending").bytes).sum();
        Ok(self.lanes()?.iter().map(sum).collect())
    }

    /// Holds what was written on every node against what came there. Records may come again where agents were killed.
    pub fn judge(&self, leniency: Leniency) -> Result<()> {
        self.writers.iter().try_for_each(|writer| writer.judge(leniency).map(|_| ()))
    }

    /// Deletes the policy and waits until nothing of it is left in the cluster.
    pub fn remove(&self) -> Result<()> {
        self.site.kubectl().delete("auditpolicies", &self.name)?;
        let label = format!("waybill.dev/policy={}", self.name);
        await_true("nothing is left of the policy", PATIENCE, || {
            let kinds = "daemonsets,configmaps,serviceaccounts,networkpolicies,pods";
            Ok(self.agents.list(kinds, &label)?.is_empty())
        })
    }
}

/// A kill switch thrown by the tests' own user.
pub fn thrown(mode: &str, reason: &str) -> Value {
    json!({"engaged": true, "mode": mode, "reason": reason, "requestedBy": "tests"})
}

/// The same, lifted.
pub fn lifted(reason: &str) -> Value {
    json!({"engaged": false, "mode": "Hold", "reason": reason, "requestedBy": "tests"})
}
