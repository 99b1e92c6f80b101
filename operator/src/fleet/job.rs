//! Tells agents what is in their order, and asks them how they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::report::BYTES;
use super::{Agent, Fleet, Heard, IN_FLIGHT, Report};
use crate::metrics::Metrics;
use crate::names;

/// How long an agent may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long to sleep at most: pods that become too old for patience are found then.
const LOOK: Duration = Duration::from_secs(1);

impl Fleet {
    /// Tells agents their kill switches, for ever.
    pub async fn tell(self: Arc<Self>, client: Client, namespace: String, metrics: Arc<Metrics>) {
        let api = Api::<Pod>::namespaced(client, &namespace);
        let mut running = FuturesUnordered::new();
        loop {
            let changed = self.changed.notified();
            let (jobs, next) = self.to_tell(Instant::now(), IN_FLIGHT - running.len());
            for (agent, switches) in jobs {
                running.push(self.tell_one(&api, agent, switches, &metrics));
            }
            tokio::select! {
                // Who else is done is seen at once, so that the pods are gone through once for many.
                Some(()) = running.next(), if !running.is_empty() => while running.next().now_or_never().flatten().is_some() {},
                () = tokio::time::sleep_until(next.into()) => {}
                () = changed => {}
            }
        }
    }

    /// Asks agents how they are, for ever.
    pub async fn ask(self: Arc<Self>, port: u16, metrics: Arc<Metrics>) -> Result<(), reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()?;
        let (mut running, mut seen) = (FuturesUnordered::new(), None);
        loop {
            let changed = self.changed.notified();
            seen = self.bury(seen);
            let (agents, next) = self.to_ask(Instant::now(), IN_FLIGHT - running.len());
            for agent in agents {
                running.push(self.ask_one(&client, port, agent, &metrics));
            }
            tokio::select! {
                // Who else is done is seen at once, so that the pods are gone through once for many.
                Some(()) = running.next(), if !running.is_empty() => while running.next().now_or_never().flatten().is_some() {},
                () = tokio::time::sleep_until(next.into()) => {}
                () = changed => {}
            }
        }
    }

    /// The agents that are due to be told, and when the next one will be.
    fn to_tell(&self, now: Instant, room: usize) -> (Vec<(Agent, String)>, Instant) {
        let mut state = self.lock();
        let mut next = now + LOOK;
        let mut jobs = Vec::new();
        for agent in self.agents().iter() {
            let Some((order, since)) = state.orders.get(&agent.policy) else { continue };
            let fresh = now.saturating_duration_since(*since) < self.pace.fresh;
            let heard = state.heard.get(&agent.uid);
            let report = heard.and_then(|heard| heard.report.as_ref());
            let current = agent.switches.as_deref() == Some(&order.switches);
            let silent = heard.map_or(0, |heard| heard.silent);
            let due = match report {
                Some(report) if report.has_policy(order) => false,
                // It will find the annotation when it comes back.
                Some(_) if silent >= super::SILENT => !current,
                Some(report) => !current || fresh || !report.has_switches(order),
                // One that starts reads its document as it is; one that is ready and can't be asked is told.
                None => agent.ready && !current && silent > 0,
            };
            if !due || state.telling.contains(&agent.uid) {
                continue;
            }
            // The kubelet may have missed the last one: what is there already is written again, a little later.
            let at = state.next_telling.get(&agent.uid).copied().unwrap_or(now);
            if at > now || jobs.len() >= room {
                next = next.min(at.max(now + Duration::from_millis(10)));
                continue;
            }
            let switches = order.switches.clone();
            state.telling.insert(agent.uid.clone());
            state.next_telling.insert(agent.uid.clone(), now + if fresh { self.pace.again } else { self.pace.calm });
            jobs.push((agent.clone(), switches));
        }
        (jobs, next)
    }

    async fn tell_one(&self, api: &Api<Pod>, agent: Agent, switches: String, metrics: &Metrics) {
        // The same value again would be no write at all: a second annotation makes it one.
        let repeat = (agent.switches.as_deref() == Some(&switches)).then(|| jiff::Timestamp::now().to_string());
        let patch = json!({"metadata": {
            "uid": agent.uid,
            "annotations": {names::SWITCHES_ANNOTATION: switches, names::REPEATED_ANNOTATION: repeat},
        }});
        let result = api.patch_metadata(&agent.pod, &PatchParams::default(), &Patch::Merge(&patch)).await;
        metrics.told(result.is_ok());
        match result {
            Ok(_) => {}
            // Replaced meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => tracing::warn!(%error, pod = agent.pod, "failed to annotate a pod with its kill switches"),
        }
        self.lock().telling.remove(&agent.uid);
    }

    /// The agents that are due to be asked, and when the next one will be.
    fn to_ask(&self, now: Instant, room: usize) -> (Vec<Agent>, Instant) {
        let mut state = self.lock();
        let mut next = now + LOOK;
        let mut due = Vec::new();
        let agents = self.agents();
        for agent in agents.iter() {
            if state.asking.contains(&agent.uid) {
                continue;
            }
            let at = state.next_question.get(&agent.uid).copied().unwrap_or(now);
            if at > now {
                next = next.min(at);
            } else {
                let silent = state.heard.get(&agent.uid).map_or(0, |heard| heard.silent);
                due.push((silent, at, agent));
            }
        }
        // Whoever answers comes first: dead nodes must not keep the living waiting.
        due.sort_by_key(|(silent, at, _)| (*silent, *at));
        due.truncate(room);
        let agents: Vec<Agent> = due.into_iter().map(|(_, _, agent)| agent.clone()).collect();
        state.asking.extend(agents.iter().map(|agent| agent.uid.clone()));
        (agents, next)
    }

    async fn ask_one(&self, client: &reqwest::Client, port: u16, agent: Agent, metrics: &Metrics) {
        let answer = ask(client, port, &agent).await;
        metrics.asked(answer.is_ok());
        if let Err(error) = &answer {
            tracing::debug!(error, pod = agent.pod, node = agent.node, "an agent did not answer");
        }
        let now = Instant::now();
        let mut state = self.lock();
        state.asking.remove(&agent.uid);
        let order = state.orders.get(&agent.policy).cloned();
        let pending = match (&answer, &order) {
            (Ok(report), Some((order, _))) => !report.has_policy(order),
            _ => true,
        };
        let fresh = order.is_some_and(|(_, since)| now.saturating_duration_since(since) < self.pace.fresh);
        let heard = state.heard.entry(agent.uid.clone()).or_insert_with(|| Heard {
            policy: agent.policy.clone(),
            node: agent.node.clone(),
            report: None,
            at: None,
            silent: 0,
        });
        let before = heard.report.as_ref().filter(|_| heard.silent < super::SILENT).map(Report::signature);
        let amounts = heard.report.clone();
        match answer {
            Ok(report) => {
                heard.report = Some(report);
                heard.at = Some(now);
                heard.silent = 0;
            }
            Err(_) => heard.silent = heard.silent.saturating_add(1),
        }
        let after = heard.report.as_ref().filter(|_| heard.silent < super::SILENT).map(Report::signature);
        let changed = before != after;
        let counted = amounts != heard.report;
        // One that never answered has just started, or can't be reached: the first seconds are worth a closer look.
        let starting = heard.at.is_none() && heard.silent < 40;
        let wait = if (pending && fresh) || starting { self.pace.urgent } else { self.pace.calm };
        state.next_question.insert(agent.uid, now + wait);
        drop(state);
        if changed {
            self.queue.add(&agent.policy, Duration::from_millis(50));
        } else if counted {
            self.queue.add(&agent.policy, self.pace.calm);
        }
    }
}

async fn ask(client: &reqwest::Client, port: u16, agent: &Agent) -> Result<Report, String> {
    let address: std::net::IpAddr = agent.address.parse().map_err(|_| "the pod's address is none".to_owned())?;
    let url = format!("http://{}/report", std::net::SocketAddr::new(address, port));
    let mut response = client.get(url).send().await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        if bytes.len() + chunk.len() > BYTES {
            return Err("the answer is too long".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    Report::parse(&bytes, &agent.policy)
}
