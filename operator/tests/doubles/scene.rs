//! A cluster of doubles with the operator in it.

use std::any::Any;
use std::time::{Duration, Instant};

use clap::Parser as _;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;
use waybill_operator::fleet::Pace;
use waybill_operator::run::run;
use waybill_operator::settings::Settings;

use crate::agents::Agents;
use crate::api::Api;

const POLICIES: &str = "/apis/waybill.dev/v1alpha1/auditpolicies";
const PATIENCE: Duration = Duration::from_secs(120);
/// From so many nodes on a scene has the machine to itself.
const MANY: usize = 100;
static MACHINE: RwLock<()> = RwLock::const_new(());

pub(crate) struct Scene {
    pub(crate) api: Api,
    pub(crate) agents: Agents,
    client: Client,
    settings: Settings,
    nodes: usize,
    operator: Option<JoinHandle<anyhow::Result<()>>>,
    stop: watch::Sender<bool>,
    _turn: Box<dyn Any + Send>,
}

impl Scene {
    /// A cluster of so many nodes, and an operator that leads.
    pub(crate) async fn start(nodes: usize) -> Self {
        let turn: Box<dyn Any + Send> =
            if nodes < MANY { Box::new(MACHINE.read().await) } else { Box::new(MACHINE.write().await) };
        // Another test may have been first.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let api = Api::default();
        let definition = serde_json::to_value(waybill_crds::crd()).unwrap();
        api.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/auditpolicies.waybill.dev", definition);
        for node in 0..nodes {
            api.put(&format!("/api/v1/nodes/node-{node}"), json!({"metadata": {"name": format!("node-{node}")}}));
        }
        let address = api.clone().serve().await;
        let (agents, port) = Agents::serve(api.clone()).await;
        let client = Client::try_from(Config::new(format!("http://{address}").parse().unwrap())).unwrap();
        let listen = format!("--agents-listen=0.0.0.0:{port}");
        let settings = Settings::parse_from([
            "waybill-operator",
            "--listen=127.0.0.1:0",
            "--namespace=waybill-system",
            "--write-roots=/var/lib/waybill,/var/log/v2ray",
            &listen,
        ]);
        let (stop, _) = watch::channel(false);
        let mut scene = Self { api, agents, client, settings, nodes, operator: None, stop, _turn: turn };
        scene.run();
        scene.leads().await;
        scene
    }

    fn run(&mut self) {
        let (stop, stopped) = watch::channel(false);
        self.stop = stop;
        let pace = Pace { calm: Duration::from_millis(500), nodes: Duration::from_millis(500), ..Pace::default() };
        self.operator = Some(tokio::spawn(run(self.client.clone(), self.settings.clone(), pace, stopped)));
    }

    /// Ends the operator gracefully and starts it anew.
    pub(crate) async fn restart(&mut self) {
        self.stop.send(true).unwrap();
        self.operator.take().unwrap().await.unwrap().unwrap();
        self.run();
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send(true).unwrap();
        self.operator.take().unwrap().await.unwrap().unwrap();
    }

    pub(crate) async fn leads(&self) {
        let path = "/apis/coordination.k8s.io/v1/namespaces/waybill-system/leases/waybill-operator";
        let holder =
            || self.api.get(path).and_then(|lease| lease["spec"]["holderIdentity"].as_str().map(str::to_owned));
        self.until("the operator leads", || holder().is_some_and(|holder| !holder.is_empty())).await;
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> String {
        let group = match kind {
            "daemonsets" => "apis/apps/v1",
            "networkpolicies" => "apis/networking.k8s.io/v1",
            _ => "api/v1",
        };
        format!("/{group}/namespaces/{}/{kind}/{name}", self.settings.agents_namespace)
    }

    pub(crate) fn policy(&self, name: &str) -> Value {
        self.api.get(&format!("{POLICIES}/{name}")).unwrap_or_default()
    }

    /// Writes a policy: the quickstart with other members. Then plays the DaemonSet controller and the scheduler.
    pub(crate) async fn apply(&self, name: &str, members: &Value) {
        let archive = format!("/var/lib/waybill/{name}/archive/audit.log");
        let mut spec = json!({
            "sources": [{"name": "pods", "format": "Text", "file": {"paths": ["/var/log/pods/kube-system_*/*/*.log"], "envelope": "Cri"}}],
            "sinks": [{"name": "archive", "type": "File", "file": {"path": archive}}],
        });
        spec.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let path = format!("{POLICIES}/{name}");
        let mut object = self.api.get(&path).unwrap_or_else(|| json!({"metadata": {"name": name}}));
        object["apiVersion"] = json!("waybill.dev/v1alpha1");
        object["kind"] = json!("AuditPolicy");
        object["spec"] = spec;
        self.api.put(&path, object);
        let daemon_set = self.object("daemonsets", &format!("waybill-{name}"));
        self.until("there is a DaemonSet", || self.api.get(&daemon_set).is_some()).await;
        let all = self.nodes;
        let generation = self.api.get(&daemon_set).unwrap()["metadata"]["generation"].clone();
        self.api.merge(&daemon_set, &json!({"status": {
            "desiredNumberScheduled": all, "currentNumberScheduled": all, "numberReady": all, "updatedNumberScheduled": all,
            "observedGeneration": generation,
        }}));
        let block = 1 + name.len() % 100;
        for node in 0..all {
            let pod = self.object("pods", &format!("agent-{name}-{node}"));
            if self.api.get(&pod).is_none() {
                let labels = self.api.get(&daemon_set).unwrap()["spec"]["template"]["metadata"]["labels"].clone();
                let ip = format!("127.{block}.{}.{}", node / 250, 1 + node % 250);
                self.api.put(&pod, json!({
                    "metadata": {"name": format!("agent-{name}-{node}"), "namespace": "waybill-agents", "labels": labels},
                    "spec": {"nodeName": format!("node-{node}"), "containers": []},
                    "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
                }));
            }
        }
    }

    /// How many pods' annotations have a text in them.
    pub(crate) fn pods_with(&self, text: &str) -> usize {
        let switches = |pod: &Value| {
            pod["metadata"]["annotations"]["waybill.dev/switches"].as_str().is_some_and(|one| one.contains(text))
        };
        self.api.number("/api/v1/namespaces/waybill-agents/pods", switches)
    }

    /// Waits until a condition has a reason, and gives back its message.
    pub(crate) async fn condition(&self, policy: &str, kind: &str, reason: &str) -> String {
        let find = || {
            let policy = self.policy(policy);
            let generation = policy["metadata"]["generation"].clone();
            let conditions = policy["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions
                .into_iter()
                .find(|one| one["type"] == kind && one["reason"] == reason && one["observedGeneration"] == generation)
        };
        let start = Instant::now();
        loop {
            if let Some(found) = find() {
                return found["message"].as_str().unwrap_or_default().to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "{kind} is not {reason}: {:#}", self.policy(policy)["status"]);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until(&self, what: &str, test: impl Fn() -> bool) {
        let start = Instant::now();
        while !test() {
            assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; writes: {:#?}", self.api.writes());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until nothing but the Lease was written for a while: what was written is looked at once more after 11 s.
    pub(crate) async fn settle(&self) {
        let count = || self.api.writes().iter().filter(|write| !write.contains("/leases/")).count();
        let (mut last, mut since) = (count(), Instant::now());
        let start = Instant::now();
        while since.elapsed() < Duration::from_secs(13) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if count() != last {
                (last, since) = (count(), Instant::now());
            }
            assert!(start.elapsed() < 2 * PATIENCE, "the operator does not come to rest: {:#?}", self.api.writes());
        }
    }
}
