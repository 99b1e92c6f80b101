//! What the API server has, watched and kept in memory, so that a look at a policy asks it nothing.
//!
//! Of Secrets only the metadata is asked for: the operator never sees what is in them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use waybill_crds::AuditPolicy;

use crate::build::Kind;
use crate::fleet::Changes;
use crate::names;
use crate::queue::Queue;
use crate::settings::Settings;

/// How long changes of what a policy owns are gathered before it is looked at.
const GATHER: Duration = Duration::from_millis(50);
/// How long changes that concern several policies are gathered.
const GATHER_ALL: Duration = Duration::from_millis(250);
/// How long a watch that failed waits, the first time and at most. Short: a kill switch that is thrown when the API server is
/// back must not wait for it. Two replicas with a dozen watches each are no load to speak of.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// How long to wait for the admission policy to be known: an API server without such policies never tells.
const ADMISSION: Duration = Duration::from_secs(5);

/// The caches.
#[derive(Clone)]
pub struct Caches {
    /// The policies.
    pub policies: Store<DynamicObject>,
    /// What the operator made, by kind.
    pub owned: BTreeMap<Kind, Store<DynamicObject>>,
    /// The metadata of the Secrets in the agents' namespace.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// The agents' pods.
    pub pods: Store<Pod>,
    /// The chart's admission policy, if it is there.
    pub admission: Admission,
}

/// What holds the author of a kill switch against the user who throws it.
#[derive(Clone)]
pub struct Admission {
    policies: Store<ValidatingAdmissionPolicy>,
    bindings: Store<ValidatingAdmissionPolicyBinding>,
}

impl Admission {
    /// Whether the API server refuses whoever writes another one's name into a kill switch.
    pub fn is_in_force(&self) -> bool {
        let denies = |binding: &ValidatingAdmissionPolicyBinding| {
            binding.spec.as_ref().is_some_and(|spec| {
                spec.policy_name.as_deref() == Some(names::ADMISSION)
                    && spec.match_resources.is_none()
                    && spec.validation_actions.iter().flatten().any(|action| action == "Deny")
            })
        };
        !self.policies.is_empty() && self.bindings.state().iter().any(|binding| denies(binding))
    }
}

/// Where policies are.
pub fn policy_resource() -> ApiResource {
    ApiResource::erase::<AuditPolicy>(&())
}

impl Caches {
    /// Makes the caches. They are filled by the tasks that come with them, which never end; `pods_changed` is told of every
    /// change of a pod.
    pub fn new(
        client: &Client,
        settings: &Settings,
        queue: &Arc<Queue>,
        pods_changed: &Arc<Changes>,
    ) -> (Self, Vec<BoxFuture<'static, ()>>) {
        let namespace = &settings.agents_namespace;
        let mut tasks = Vec::new();
        let ours = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGER);

        let resource = policy_resource();
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        let policies = Writer::new(resource);
        let known = policies.as_reader();
        let (told, own) = (known.clone(), Arc::clone(queue));
        tasks.push(watch(api, watcher::Config::default(), policies, move |object| {
            own.add(&object.name_any(), Duration::ZERO);
            // What one policy owns, another may not.
            told.state().iter().for_each(|other| own.add(&other.name_any(), GATHER_ALL));
        }));

        let mut owned = BTreeMap::new();
        for kind in Kind::ALL {
            let resource = kind.resource();
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
            let writer = Writer::new(resource);
            owned.insert(kind, writer.as_reader());
            let (queue, told) = (Arc::clone(queue), known.clone());
            tasks.push(watch(api, watcher::Config::default().labels(&ours), writer, move |object| {
                // The policy has no namespace, whatever that of its objects is.
                if let Some(policy) = object.labels().get(names::POLICY_LABEL) {
                    queue.add(policy, GATHER);
                }
                // What one policy's agents let go of, another may have.
                if kind == Kind::ConfigMap {
                    told.state().iter().for_each(|other| queue.add(&other.name_any(), GATHER_ALL));
                }
            }));
        }

        let secrets = Writer::<PartialObjectMeta<Secret>>::new(());
        let (reader, told, all) = (secrets.as_reader(), known.clone(), Arc::clone(queue));
        let api = Api::<PartialObjectMeta<Secret>>::namespaced(client.clone(), namespace);
        tasks.push(watch(api, watcher::Config::default(), secrets, move |_| {
            told.state().iter().for_each(|policy| all.add(&policy.name_any(), GATHER_ALL));
        }));

        let pods = Writer::<Pod>::new(());
        let (pods_reader, changed) = (pods.as_reader(), Arc::clone(pods_changed));
        let api = Api::<Pod>::namespaced(client.clone(), namespace);
        tasks.push(watch(api, watcher::Config::default().labels(&ours), pods, move |_| changed.tell()));

        let admission = Self::admission(client, queue, &known, &mut tasks);
        (Self { policies: known, owned, secrets: reader, pods: pods_reader, admission }, tasks)
    }

    /// Watches the chart's admission policy and its binding; every policy is looked at when they come and go.
    fn admission(
        client: &Client,
        queue: &Arc<Queue>,
        known: &Store<DynamicObject>,
        tasks: &mut Vec<BoxFuture<'static, ()>>,
    ) -> Admission {
        let named = watcher::Config::default().fields(&format!("metadata.name={}", names::ADMISSION));
        let (policies, bindings) = (Writer::new(()), Writer::new(()));
        let admission = Admission { policies: policies.as_reader(), bindings: bindings.as_reader() };
        let (told, all) = (known.clone(), Arc::clone(queue));
        let look = move || told.state().iter().for_each(|policy| all.add(&policy.name_any(), GATHER_ALL));
        let look_too = look.clone();
        tasks.push(watch(Api::all(client.clone()), named.clone(), policies, move |_| look()));
        tasks.push(watch(Api::all(client.clone()), named, bindings, move |_| look_too()));
        admission
    }

    /// Waits until every cache holds what the API server had.
    pub async fn synced(&self) {
        let mut all: Vec<BoxFuture<'_, bool>> = vec![
            self.policies.wait_until_ready().map(|ready| ready.is_ok()).boxed(),
            self.secrets.wait_until_ready().map(|ready| ready.is_ok()).boxed(),
            self.pods.wait_until_ready().map(|ready| ready.is_ok()).boxed(),
        ];
        all.extend(self.owned.values().map(|store| store.wait_until_ready().map(|ready| ready.is_ok()).boxed()));
        if !join_all(all).await.into_iter().all(|ready| ready) {
            // A watch ends only with the process.
            std::future::pending::<()>().await;
        }
        let known = async {
            let Admission { policies, bindings } = &self.admission;
            policies.wait_until_ready().await.is_ok() && bindings.wait_until_ready().await.is_ok()
        };
        if !tokio::time::timeout(ADMISSION, known).await.unwrap_or(false) {
            tracing::warn!(
                "the admission policy {} can't be read: authors of kill switches count as unverified",
                names::ADMISSION
            );
        }
    }
}

/// Keeps a cache, and tells of each object that changed, or may have.
fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    mut writer: Writer<K>,
    changed: impl Fn(&K) + Send + 'static,
) -> BoxFuture<'static, ()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash + Send + Sync,
{
    let known = writer.as_reader();
    async move {
        let mut events = watcher(api, config).backoff(Waits::default()).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let event = event.modify(|object| object.managed_fields_mut().clear());
                    let before = if matches!(event, Event::InitDone) { known.state() } else { Vec::new() };
                    writer.apply_watcher_event(&event);
                    match &event {
                        Event::Apply(object) | Event::Delete(object) => changed(object),
                        // A list takes effect with its end. What is not in it any more has changed too.
                        Event::InitDone => known.state().iter().chain(&before).for_each(|object| changed(object)),
                        Event::Init | Event::InitApply(_) => {}
                    }
                }
                Err(error) => tracing::warn!(%error, "a watch was interrupted; it goes on"),
            }
        }
    }
    .boxed()
}

/// The waits between the failures of one watch: each twice as long as the one before, with some chance in it.
#[derive(Default)]
struct Waits {
    failures: u32,
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let (first, most) = BACKOFF;
        let wait = first.saturating_mul(1 << self.failures.min(8)).min(most);
        self.failures = self.failures.saturating_add(1);
        // Watches that broke together don't come back in one instant.
        let chance = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 64;
        Some(wait.saturating_sub(wait * chance / 256))
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
