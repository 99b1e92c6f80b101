//! Doubles of agents: one server stands for all, and knows each by the address that it is asked at.
//!
//! What an agent has in force follows from the double of the API server, as a kubelet would have brought it there: the document that
//! there is when the pod starts, and a newer one when the pod's annotation changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::IncomingStream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::api::Api;

#[derive(Clone)]
pub(crate) struct Agents {
    api: Api,
    lane: Arc<Mutex<Value>>,
    deaf: Arc<Mutex<BTreeSet<String>>>,
    /// By the pod's address: its annotation and the document when the kubelet last looked.
    looks: Arc<Mutex<BTreeMap<String, (Value, String)>>>,
    questions: Arc<AtomicUsize>,
}

/// The address that was asked.
#[derive(Clone, Copy)]
struct Asked(SocketAddr);

impl Connected<IncomingStream<'_, TcpListener>> for Asked {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(stream.io().local_addr().unwrap())
    }
}

impl Agents {
    /// Serves on every address of this machine; gives back the port.
    pub(crate) async fn serve(api: Api) -> (Self, u16) {
        let lane =
            json!({"name": "archive", "state": "Delivering", "pendingBytes": 0, "oldestPendingSeconds": 0, "lost": 0});
        let agents = Self {
            api,
            lane: Arc::new(Mutex::new(lane)),
            deaf: Arc::default(),
            looks: Arc::default(),
            questions: Arc::default(),
        };
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/report", get(report)).with_state(agents.clone());
        let service = router.into_make_service_with_connect_info::<Asked>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        (agents, port)
    }

    /// Changes what every agent says of its lane.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.lane.lock().unwrap());
    }

    /// The agent of a node hears nothing of what is ordered.
    pub(crate) fn deafen(&self, node: &str) {
        self.deaf.lock().unwrap().insert(node.to_owned());
    }

    pub(crate) fn hear(&self, node: &str) {
        self.deaf.lock().unwrap().remove(node);
    }

    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }
}

async fn report(
    State(agents): State<Agents>,
    ConnectInfo(Asked(address)): ConnectInfo<Asked>,
) -> Result<String, StatusCode> {
    agents.questions.fetch_add(1, Ordering::Relaxed);
    let ip = address.ip().to_string();
    let pod = agents.api.pod_at(&ip).ok_or(StatusCode::NOT_FOUND)?;
    let policy = pod["metadata"]["labels"]["waybill.dev/policy"].as_str().unwrap_or_default();
    let path = format!("/api/v1/namespaces/waybill-agents/configmaps/waybill-{policy}");
    let config_map = agents.api.get(&path).ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    let newest = config_map["data"]["policy.yaml"].as_str().unwrap_or_default().to_owned();
    let annotation = pod["metadata"]["annotations"]["waybill.dev/switches"].clone();
    let mut looks = agents.looks.lock().unwrap();
    let look = looks.entry(ip).or_insert_with(|| (annotation.clone(), newest.clone()));
    if look.0 != annotation {
        *look = (annotation, newest);
    }
    let text = look.1.clone();
    drop(looks);
    let deaf = agents.deaf.lock().unwrap().contains(pod["spec"]["nodeName"].as_str().unwrap_or_default());
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let (digest, generation) = if deaf {
        ("deaf".to_owned(), 0)
    } else {
        (blake3::hash(text.as_bytes()).to_hex().to_string(), document["metadata"]["generation"].as_i64().unwrap_or(0))
    };
    let lane = agents.lane.lock().unwrap().clone();
    Ok(json!({"policy": policy, "digest": digest, "switchGeneration": generation, "ready": true, "lanes": [lane]})
        .to_string())
}
