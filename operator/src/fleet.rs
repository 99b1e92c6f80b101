//! The agents: what they are told, and what they say.
//!
//! A policy's [`Order`] is what its agents should have in force. Whoever is known not to have it gets the kill switches as an
//! annotation of its pod, which also makes the kubelet refresh the pod's `ConfigMap` at once; it is asked until it has
//! acknowledged. All of that is bounded: [`IN_FLIGHT`] writes and as many questions at a time, and one entry a pod.

mod agent;
mod changes;
mod job;
pub mod report;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::Store;

pub use agent::Agent;
pub use changes::Changes;
pub use report::Report;

use crate::queue::Queue;

/// Writes, and questions, at a time.
pub const IN_FLIGHT: usize = 50;

/// How often agents are asked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In quiet times.
    pub calm: Duration,
    /// While an order is fresh and not acknowledged.
    pub urgent: Duration,
    /// How long an order counts as fresh.
    pub fresh: Duration,
    /// How long to wait before an agent is told again.
    pub again: Duration,
    /// How long to wait before it is looked again whether a node is there whose agent vanished.
    pub nodes: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            calm: Duration::from_secs(15),
            urgent: Duration::from_millis(250),
            fresh: Duration::from_secs(30),
            again: Duration::from_secs(2),
            nodes: Duration::from_secs(60),
        }
    }
}

/// What the agents of a policy should have in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The policy's generation.
    pub generation: i64,
    /// What tells the document apart.
    pub digest: String,
    /// The kill switches, for the annotation.
    pub switches: String,
}

/// What one agent said.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The agent's policy.
    pub policy: String,
    /// Its node.
    pub node: String,
    /// What it said last; `None` if it never answered.
    pub report: Option<Report>,
    /// When it said so.
    pub at: Option<Instant>,
    /// Questions without an answer since then.
    pub silent: u32,
}

/// How one agent stands to its order.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The agent's node.
    pub node: String,
    /// What it said last, unless it has fallen silent.
    pub report: Option<Report>,
    /// It has the policy's document in force.
    pub up_to_date: bool,
    /// It has the kill switches of this generation in force.
    pub switched: bool,
}

/// A node that is gone, with what its agent had pending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The node.
    pub node: String,
    /// Bytes that were pending when its agent was last heard.
    pub bytes: u64,
}

#[derive(Default)]
struct State {
    orders: HashMap<String, (Order, Instant)>,
    /// By the pod's uid.
    heard: HashMap<String, Heard>,
    next_question: HashMap<String, Instant>,
    next_telling: HashMap<String, Instant>,
    asking: HashSet<String>,
    telling: HashSet<String>,
    /// Pods that vanished with bytes pending, until another agent of the policy answers on that node, or the node is gone.
    vanished: BTreeMap<String, Vec<Vanished>>,
}

/// A pod that vanished with bytes pending.
struct Vanished {
    gone: Gone,
    since: Instant,
    /// When to look whether its node is there.
    look: Instant,
}

/// The agents as they were read last, and which change of the pods that was.
#[derive(Default)]
struct Known {
    number: Option<u64>,
    agents: Arc<Vec<Agent>>,
}

/// The agents of all policies.
pub struct Fleet {
    pods: Store<Pod>,
    queue: Arc<Queue>,
    changed: Arc<Changes>,
    pace: Pace,
    began: Instant,
    known: Mutex<Known>,
    state: Mutex<State>,
}

/// How long an operator that has just begun may take to ask every agent once.
const ACQUAINTANCE: Duration = Duration::from_secs(10);
/// Nodes of vanished agents that one look asks for.
const NODES: usize = 20;
/// Questions without an answer after which what an agent said before counts no more.
const SILENT: u32 = 3;

impl Fleet {
    /// Agents whose pods are in `pods`. `changed` is notified when those change.
    pub fn new(pods: Store<Pod>, queue: Arc<Queue>, changed: Arc<Changes>, pace: Pace) -> Self {
        Self { pods, queue, changed, pace, began: Instant::now(), known: Mutex::default(), state: Mutex::default() }
    }

    /// Says what a policy's agents should have in force.
    pub fn order(&self, policy: &str, order: Order) {
        let mut state = self.lock();
        if state.orders.get(policy).is_some_and(|(before, _)| *before == order) {
            return;
        }
        state.orders.insert(policy.to_owned(), (order, Instant::now()));
        let agents = self.agents();
        for agent in agents.iter().filter(|agent| agent.policy == policy) {
            state.next_question.remove(&agent.uid);
            state.next_telling.remove(&agent.uid);
        }
        drop(state);
        self.changed.tell();
    }

    /// Forgets a policy.
    pub fn forget(&self, policy: &str) {
        let mut state = self.lock();
        state.orders.remove(policy);
        state.vanished.remove(policy);
        state.heard.retain(|_, heard| heard.policy != policy);
    }

    /// How the agents of a policy stand to what it orders.
    pub fn standings(&self, policy: &str) -> Vec<Standing> {
        let state = self.lock();
        let order = state.orders.get(policy).map(|(order, _)| order);
        let mut standings: Vec<Standing> = self
            .agents()
            .iter()
            .filter(|agent| agent.policy == policy)
            .map(|agent| {
                let heard = state.heard.get(&agent.uid).filter(|heard| heard.silent < SILENT);
                let report = heard.and_then(|heard| heard.report.clone());
                let has = |test: fn(&Report, &Order) -> bool| {
                    report.as_ref().zip(order).is_some_and(|(report, order)| test(report, order))
                };
                let (up_to_date, switched) = (has(Report::has_policy), has(Report::has_switches));
                Standing { node: agent.node.clone(), report, up_to_date, switched }
            })
            .collect();
        standings.sort_by(|left, right| left.node.cmp(&right.node));
        standings
    }

    /// Whether each agent of a policy was asked at least once. An operator that has just begun knows nothing of them, and would
    /// report that as if it were news.
    pub fn is_acquainted(&self, policy: &str) -> bool {
        if self.began.elapsed() > ACQUAINTANCE {
            return true;
        }
        let state = self.lock();
        self.agents().iter().all(|agent| agent.policy != policy || state.heard.contains_key(&agent.uid))
    }

    /// The pods of a policy that vanished with bytes pending and whose nodes are to be looked for now, a few at a time.
    pub fn vanished(&self, policy: &str, now: Instant) -> Vec<Gone> {
        let mut state = self.lock();
        let State { vanished, heard, .. } = &mut *state;
        let Some(vanished) = vanished.get_mut(policy) else { return Vec::new() };
        // What another agent on that node has taken up is not gone.
        let answers = |v: &Vanished| {
            let on_node = heard.values().filter(|heard| heard.policy == policy && heard.node == v.gone.node);
            on_node.filter_map(|heard| heard.at).any(|at| at > v.since)
        };
        vanished.retain(|v| !answers(v));
        vanished.sort_by_key(|v| v.look);
        vanished.iter().filter(|v| v.look <= now).take(NODES).map(|v| v.gone.clone()).collect()
    }

    /// Its node is there, and may go yet.
    pub fn look_later(&self, policy: &str, gone: &Gone) {
        let look = Instant::now() + self.pace.nodes;
        let mut state = self.lock();
        let vanished = state.vanished.get_mut(policy).into_iter().flatten();
        vanished.filter(|v| v.gone == *gone).for_each(|v| v.look = look);
    }

    /// How long until a node is to be looked for.
    pub fn next_look(&self, policy: &str, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let next = state.vanished.get(policy)?.iter().map(|v| v.look).min()?;
        Some(next.saturating_duration_since(now).max(Duration::from_secs(1).min(self.pace.nodes)))
    }

    /// These need no further look: the status names them.
    pub fn settle(&self, policy: &str, settled: &[Gone]) {
        let mut state = self.lock();
        if let Some(vanished) = state.vanished.get_mut(policy) {
            vanished.retain(|v| !settled.contains(&v.gone));
            if vanished.is_empty() {
                state.vanished.remove(policy);
            }
        }
    }

    /// The pods that can be told and asked something. Read once for each change of them: this is asked for all the time.
    fn agents(&self) -> Arc<Vec<Agent>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A change after this is seen the next time.
        let number = self.changed.number();
        if known.number != Some(number) {
            let agents = self.pods.state().iter().filter_map(|pod| Agent::new(pod)).collect();
            *known = Known { number: Some(number), agents: Arc::new(agents) };
        }
        Arc::clone(&known.agents)
    }

    /// Notes which pods are gone, if any pod changed since the change of that number. Returns the number of the last one.
    fn bury(&self, since: Option<u64>) -> Option<u64> {
        let number = Some(self.changed.number());
        if number == since {
            return number;
        }
        let present: HashSet<String> = self.pods.state().iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        let mut state = self.lock();
        let gone: Vec<String> = state.heard.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
        for uid in gone {
            state.next_question.remove(&uid);
            state.next_telling.remove(&uid);
            let Some(heard) = state.heard.remove(&uid) else { continue };
            let bytes = heard.report.as_ref().map_or(0, Report::pending_bytes);
            if bytes > 0 {
                let vanished = state.vanished.entry(heard.policy.clone()).or_default();
                // One a node: what counts is what its last agent said.
                vanished.retain(|v| v.gone.node != heard.node);
                let since = Instant::now();
                vanished.push(Vanished { gone: Gone { node: heard.node, bytes }, since, look: since });
                self.queue.add(&heard.policy, Duration::ZERO);
            }
        }
        number
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
