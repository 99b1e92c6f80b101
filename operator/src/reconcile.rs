//! One look at one policy: the phases in their order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use waybill_crds::{AuditPolicySpec, AuditPolicyStatus, read};

use crate::apply::{Applier, LATE};
use crate::build::{self, Desired, Input, Kind};
use crate::caches::{Caches, policy_resource};
use crate::dereference::{Progress, Reader, Secrets, World};
use crate::events::{Events, News, chain};
use crate::fleet::{Fleet, Gone, Order, Standing};
use crate::metrics::{AgentCounts, Metrics};
use crate::policy::{digest, with_switches};
use crate::settings::Settings;
use crate::validate::{Verdict, validate};
use crate::{names, orphans, status};

/// How soon to look again at a policy whose agents have not been asked yet.
const SOON: Duration = Duration::from_millis(500);

/// Why a look at a policy failed. The variant's name is the reason of the Event and the label of the metric.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object could not be written.
    #[error("failed to apply the {kind} {name}")]
    ApplyFailed {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// What no policy wants could not be removed.
    #[error("failed to remove what the policy no longer wants")]
    RemoveFailed(#[source] Box<kube::Error>),
    /// The status could not be written.
    #[error("failed to write the status")]
    StatusFailed(#[source] Box<kube::Error>),
    /// The API server did not say what was asked.
    #[error("failed to read {what}")]
    ReadFailed {
        /// What.
        what: &'static str,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object has no form as JSON.
    #[error("failed to build the objects")]
    BuildFailed(#[from] serde_json::Error),
}

impl Error {
    /// The variant's name.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ApplyFailed { .. } => "ApplyFailed",
            Self::RemoveFailed(_) => "RemoveFailed",
            Self::StatusFailed(_) => "StatusFailed",
            Self::ReadFailed { .. } => "ReadFailed",
            Self::BuildFailed(_) => "BuildFailed",
        }
    }
}

/// What a look at a policy works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The operator's arguments.
    pub settings: Arc<Settings>,
    /// What the API server has.
    pub caches: Caches,
    /// What a look needs of them.
    pub reader: Reader,
    /// What was written.
    pub applier: Applier,
    /// The agents.
    pub fleet: Arc<Fleet>,
    /// What people are told.
    pub events: Events,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The last status of each policy that was written, and when.
    pub statuses: Mutex<HashMap<String, (AuditPolicyStatus, Instant)>>,
}

/// What a look found out, for the next one.
struct Applied {
    wrote: bool,
    trouble: Option<Error>,
}

/// Looks at one policy. Returns when to look again even if nothing changes.
pub async fn reconcile(context: &Context, name: &str) -> Result<Option<Duration>, Error> {
    let Some(world) = context.reader.world(name) else {
        return forget(context, name).await.map(|()| None);
    };
    if world.policy.deleting {
        return Ok(None);
    }
    let policy = &world.policy;
    let verdict = validate(policy, &context.settings, &world.own, &world.others);
    // What the agents are to have: the newest document, or the last accepted one with the newest switches.
    let text = match &verdict {
        Verdict::Accepted(_) => Some(policy.text.clone()),
        Verdict::Refused(_) => context.reader.accepted(name).and_then(|accepted| with_switches(&accepted, policy)),
    };
    let spec = text.as_deref().and_then(|text| read(text).spec);
    let live = world.live.get(&Kind::DaemonSet);
    let secrets =
        spec.as_ref().map(|spec| context.reader.secrets(name, spec, live.map(|live| &**live))).unwrap_or_default();

    let mut applied = Applied { wrote: false, trouble: None };
    if let (Some(text), Some(spec)) = (&text, &spec) {
        applied = carry_out(context, &world, text, spec, &secrets).await?;
    }
    let wait = report(context, &world, &verdict, spec.as_ref(), &secrets, &applied).await?;
    match applied.trouble {
        Some(error) => Err(error),
        // The cache may be late: whether it shows what was written is looked at once more.
        None if applied.wrote => Ok(Some(wait.map_or(LATE, |wait| wait.min(LATE)) + Duration::from_secs(1))),
        None => Ok(wait),
    }
}

/// Makes the cluster what the policy says.
async fn carry_out(
    context: &Context,
    world: &World,
    text: &str,
    spec: &AuditPolicySpec,
    secrets: &Secrets,
) -> Result<Applied, Error> {
    let policy = &world.policy;
    let desired = build::build(&Input {
        settings: &context.settings,
        policy: &policy.name,
        uid: &policy.uid,
        text,
        spec,
        secrets: &secrets.mounted,
    })?;
    let mut applied = Applied { wrote: false, trouble: None };
    // The document first: touching the pods makes the kubelets fetch it.
    let (first, rest): (Vec<&Desired>, Vec<&Desired>) =
        desired.iter().partition(|desired| desired.kind == Kind::ConfigMap);
    for desired in first {
        one(context, world, desired, &mut applied).await;
    }
    // A kill switch travels even if nothing could be written.
    let order = Order { generation: policy.generation, digest: digest(text), switches: policy.switches() };
    context.fleet.order(&policy.name, order);
    for desired in rest {
        one(context, world, desired, &mut applied).await;
    }
    if applied.trouble.is_none() {
        let namespace = &context.settings.agents_namespace;
        orphans::remove(&context.client, &context.caches, &context.applier, namespace, &policy.name, &desired)
            .await
            .map_err(|error| Error::RemoveFailed(Box::new(error)))?;
    }
    Ok(applied)
}

async fn one(context: &Context, world: &World, desired: &Desired, applied: &mut Applied) {
    let live = world.live.get(&desired.kind).map(|live| &**live);
    match context.applier.apply(desired, live).await {
        Ok(true) => {
            tracing::info!(policy = world.policy.name, kind = desired.kind.name(), name = desired.name, "applied");
            context.metrics.wrote(desired.kind.name());
            applied.wrote = true;
        }
        Ok(false) => {}
        Err(error) => {
            let error =
                Error::ApplyFailed { kind: desired.kind.name(), name: desired.name.clone(), source: Box::new(error) };
            applied.trouble.get_or_insert(error);
        }
    }
}

/// Says how the policy is. Returns when there may be more to say.
async fn report(
    context: &Context,
    world: &World,
    verdict: &Verdict,
    spec: Option<&AuditPolicySpec>,
    secrets: &Secrets,
    applied: &Applied,
) -> Result<Option<Duration>, Error> {
    let policy = &world.policy;
    if !context.fleet.is_acquainted(&policy.name) {
        return Ok(Some(SOON));
    }
    let daemon_set = world.live.get(&Kind::DaemonSet);
    let progress = daemon_set.map(|daemon_set| Progress::of(daemon_set));
    let cannot_create = match (daemon_set, progress) {
        (Some(daemon_set), Some(progress)) if progress.observed && progress.scheduled < progress.desired => {
            why_no_pods(context, daemon_set).await?
        }
        _ => None,
    };
    let trouble = applied.trouble.as_ref().map(|error| chain(error));
    let standings = context.fleet.standings(&policy.name);
    let gone = gone(context, &policy.name).await?;
    // The cache may not have seen the last write yet.
    let mut before = policy.clone();
    if let Some((written, at)) = context.statuses().get(&policy.name)
        && at.elapsed() < LATE
    {
        before.status = written.clone();
    }
    let after = status::compute(&status::Facts {
        now: Timestamp::now(),
        policy: &before,
        spec,
        verdict,
        secrets,
        progress,
        cannot_create: cannot_create.as_deref(),
        trouble: trouble.as_deref(),
        standings: &standings,
        gone: &gone,
    });
    count(context, world, verdict, progress, &standings, &after);
    for news in status::news(&before.status, &after) {
        if context.events.tell(&policy.name, &policy.uid, news).await {
            context.metrics.wrote("Event");
        }
    }
    let waiting = (cannot_create.is_some()).then_some(Duration::from_secs(15));
    let waiting = waiting.into_iter().chain(context.fleet.next_look(&policy.name, Instant::now())).min();
    if before.status == after {
        context.fleet.settle(&policy.name, &gone);
        return Ok(waiting);
    }
    let since = context.statuses().get(&policy.name).map(|(_, at)| at.elapsed());
    if status::is_worth_writing(&before.status, &after, since) {
        write(context, &policy.name, &after).await?;
        context.fleet.settle(&policy.name, &gone);
        return Ok(waiting);
    }
    let rest = status::NUMBERS.saturating_sub(since.unwrap_or_default());
    Ok(Some(waiting.map_or(rest, |waiting| waiting.min(rest))))
}

async fn write(context: &Context, policy: &str, status: &AuditPolicyStatus) -> Result<(), Error> {
    let resource = policy_resource();
    let api = Api::<DynamicObject>::all_with(context.client.clone(), &resource);
    let patch = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": policy},
        "status": status,
    });
    let manager = PatchParams::apply(names::MANAGER).force();
    match api.patch_status(policy, &manager, &Patch::Apply(&patch)).await {
        Ok(_) => {
            context.metrics.wrote("Status");
            context.statuses().insert(policy.to_owned(), (status.clone(), Instant::now()));
            Ok(())
        }
        // Deleted meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(Error::StatusFailed(Box::new(error))),
    }
}

/// What the DaemonSet controller says about pods that it can't make.
async fn why_no_pods(context: &Context, daemon_set: &DynamicObject) -> Result<Option<String>, Error> {
    let api = Api::<Event>::namespaced(context.client.clone(), &context.settings.agents_namespace);
    let uid = daemon_set.uid().unwrap_or_default();
    let fields = format!("involvedObject.uid={uid},reason=FailedCreate");
    let events = api
        .list(&ListParams::default().fields(&fields).limit(50))
        .await
        .map_err(|source| Error::ReadFailed { what: "the DaemonSet's events", source: Box::new(source) })?;
    let time = |event: &Event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        series.or(event.last_timestamp.as_ref().map(|time| time.0)).or(event.event_time.as_ref().map(|time| time.0))
    };
    let newest = events.items.iter().max_by_key(|event| time(event));
    Ok(newest.and_then(|event| event.message.as_ref()).map(|text| text.chars().take(1000).collect()))
}

/// Of the pods that vanished with bytes pending, those whose node is gone too. A node may go long after its pod.
async fn gone(context: &Context, policy: &str) -> Result<Vec<Gone>, Error> {
    let mut gone = Vec::new();
    let nodes = Api::<Node>::all(context.client.clone());
    for vanished in context.fleet.vanished(policy, Instant::now()) {
        let node = nodes
            .get_metadata_opt(&vanished.node)
            .await
            .map_err(|source| Error::ReadFailed { what: "a node", source: Box::new(source) })?;
        match node {
            Some(_) => context.fleet.look_later(policy, &vanished),
            None => gone.push(vanished),
        }
    }
    Ok(gone)
}

fn count(
    context: &Context,
    world: &World,
    verdict: &Verdict,
    progress: Option<Progress>,
    standings: &[Standing],
    status: &AuditPolicyStatus,
) {
    let number = |test: fn(&Standing) -> bool| {
        i64::try_from(standings.iter().filter(|standing| test(standing)).count()).unwrap_or(i64::MAX)
    };
    let agents = AgentCounts {
        desired: progress.map_or(0, |progress| progress.desired.into()),
        answering: number(|standing| standing.report.is_some()),
        up_to_date: number(|standing| standing.up_to_date),
        switched: number(|standing| standing.switched),
    };
    let switches = &world.policy.document.switches;
    let entries = switches.sources.iter().chain(&switches.sinks).map(|(_, switch)| switch);
    let engaged = switches.policy.iter().chain(entries).filter(|switch| switch.engaged).count();
    let accepted = matches!(verdict, Verdict::Accepted(_));
    context.metrics.policy(&world.policy.name, accepted, engaged, status.nodes.lost.len(), agents);
}

/// A policy that is not there: what it left is removed, once the API server itself says that it is gone.
async fn forget(context: &Context, name: &str) -> Result<(), Error> {
    context.fleet.forget(name);
    context.events.forget(name);
    context.metrics.forget(name);
    context.statuses().remove(name);
    if !orphans::any(&context.caches, name) {
        return Ok(());
    }
    let read = |source| Error::ReadFailed { what: "the policy", source: Box::new(source) };
    if orphans::is_gone(&context.client, name).await.map_err(read)? {
        let namespace = &context.settings.agents_namespace;
        orphans::remove(&context.client, &context.caches, &context.applier, namespace, name, &[])
            .await
            .map_err(|error| Error::RemoveFailed(Box::new(error)))?;
    }
    Ok(())
}

impl Context {
    /// Tells of an error, once until it is another one.
    pub async fn complain(&self, policy: &str, error: &Error) {
        let Some(object) = self.reader.world(policy) else { return };
        let news = News { topic: "Error", reason: error.reason().to_owned(), note: chain(error), warning: true };
        if self.events.tell(policy, &object.policy.uid, news).await {
            self.metrics.wrote("Event");
        }
    }

    fn statuses(&self) -> std::sync::MutexGuard<'_, HashMap<String, (AuditPolicyStatus, Instant)>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
