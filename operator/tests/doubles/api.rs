//! A double of the API server: it keeps what it is given, and tells whoever watches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Notify;

const COLLECTIONS: [&str; 13] = [
    "auditpolicies",
    "configmaps",
    "serviceaccounts",
    "secrets",
    "pods",
    "events",
    "daemonsets",
    "networkpolicies",
    "leases",
    "customresourcedefinitions",
    "nodes",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Value>,
    /// The paths of pods by their addresses.
    addresses: BTreeMap<String, String>,
    version: u64,
    /// Every change: version, path, kind of change, object.
    history: Vec<(u64, String, &'static str, Value)>,
    requests: Vec<String>,
    /// Requests of a method with this in their path that are answered with an error.
    failing: Option<(Method, String)>,
}

/// The double.
#[derive(Clone, Default)]
pub(crate) struct Api {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
}

impl Api {
    /// Serves on a free port.
    pub(crate) async fn serve(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer).with_state(self)).await });
        address
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.inner.lock().unwrap().objects.get(path).cloned()
    }

    /// The objects below a path.
    pub(crate) fn list(&self, collection: &str) -> Vec<Value> {
        let start = format!("{collection}/");
        let inner = self.inner.lock().unwrap();
        inner.objects.iter().filter(|(path, _)| path.starts_with(&start)).map(|(_, object)| object.clone()).collect()
    }

    /// The pod that has an address.
    pub(crate) fn pod_at(&self, address: &str) -> Option<Value> {
        let inner = self.inner.lock().unwrap();
        inner.objects.get(inner.addresses.get(address)?).cloned()
    }

    /// How many objects below a path pass a test.
    pub(crate) fn number(&self, collection: &str, test: impl Fn(&Value) -> bool) -> usize {
        let start = format!("{collection}/");
        let inner = self.inner.lock().unwrap();
        inner.objects.iter().filter(|(path, object)| path.starts_with(&start) && test(object)).count()
    }

    /// Makes an object what is given; the generation grows with the spec.
    pub(crate) fn put(&self, path: &str, mut object: Value) -> Value {
        let mut inner = self.inner.lock().unwrap();
        let old = inner.objects.get(path).cloned();
        let metadata = &mut object["metadata"];
        metadata["uid"] =
            old.as_ref().map_or_else(|| json!(format!("uid-{}", inner.version)), |old| old["metadata"]["uid"].clone());
        metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        let same = old.as_ref().is_some_and(|old| old["spec"] == object["spec"]);
        let generation = old.as_ref().and_then(|old| old["metadata"]["generation"].as_i64()).unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + i64::from(!same));
        if let Some(old) = &old {
            object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            if *old == object {
                return object;
            }
        }
        inner.version += 1;
        object["metadata"]["resourceVersion"] = json!(inner.version.to_string());
        let version = inner.version;
        inner.history.push((
            version,
            path.to_owned(),
            if old.is_some() { "MODIFIED" } else { "ADDED" },
            object.clone(),
        ));
        inner.objects.insert(path.to_owned(), object.clone());
        if let Some(address) = object["status"]["podIP"].as_str() {
            inner.addresses.insert(address.to_owned(), path.to_owned());
        }
        drop(inner);
        self.changed.notify_waiters();
        object
    }

    /// Merges into an object, as a JSON merge patch does.
    pub(crate) fn merge(&self, path: &str, patch: &Value) -> Option<Value> {
        let mut object = self.get(path)?;
        merge(&mut object, patch);
        Some(self.put(path, object))
    }

    pub(crate) fn remove(&self, path: &str) -> bool {
        let mut inner = self.inner.lock().unwrap();
        let Some(object) = inner.objects.remove(path) else { return false };
        inner.version += 1;
        let version = inner.version;
        inner.history.push((version, path.to_owned(), "DELETED", object));
        drop(inner);
        self.changed.notify_waiters();
        true
    }

    /// Answers such requests with an error from now on, or none any more.
    pub(crate) fn fail(&self, requests: Option<(Method, &str)>) {
        self.inner.lock().unwrap().failing = requests.map(|(method, part)| (method, part.to_owned()));
    }

    pub(crate) fn forget_requests(&self) {
        self.inner.lock().unwrap().requests.clear();
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.inner.lock().unwrap().requests.clone()
    }

    /// The requests that wrote something.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|request| !request.starts_with("GET ")).collect()
    }

    /// How many requests were of a method and had this in their path.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.requests().iter().filter(|request| request.starts_with(method) && request.contains(part)).count()
    }
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut object[key.as_str()], value);
        }
    }
}

async fn answer(State(api): State<Api>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().trim_end_matches('/').to_owned();
    let query = members(uri.query().unwrap_or_default());
    let accept = headers.get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    api.inner.lock().unwrap().requests.push(format!("{method} {path} {accept}"));
    let failing = api.inner.lock().unwrap().failing.clone();
    if failing.is_some_and(|(failing, part)| failing == method && path.contains(&part)) {
        return refuse(500, "InternalError");
    }
    let last = path.rsplit('/').next().unwrap_or_default().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let found = |object: Option<Value>| object.map_or_else(|| refuse(404, "NotFound"), |object| json_of(&object));
    if COLLECTIONS.contains(&last.as_str()) {
        return match method {
            Method::GET if query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => {
                watch(api, path, &query)
            }
            Method::GET => {
                let mut items: Vec<Value> =
                    api.list(&path).into_iter().filter(|object| selected(object, &query)).collect();
                // As the real one: the list says what its items are.
                for item in items.iter_mut().filter_map(Value::as_object_mut) {
                    item.remove("apiVersion");
                    item.remove("kind");
                }
                let version = api.inner.lock().unwrap().version.to_string();
                json_of(
                    &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
                )
            }
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if api.get(&path).is_some() { refuse(409, "AlreadyExists") } else { json_of(&api.put(&path, body)) }
            }
            _ => refuse(405, "MethodNotAllowed"),
        };
    }
    match method {
        Method::GET => found(api.get(&path)),
        Method::DELETE => {
            if api.remove(&path) {
                json_of(&json!({"kind": "Status", "status": "Success"}))
            } else {
                refuse(404, "NotFound")
            }
        }
        Method::PUT => {
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            match api.get(&path) {
                Some(old) if version(&old) != version(&body) => refuse(409, "Conflict"),
                _ => json_of(&api.put(&path, body)),
            }
        }
        Method::PATCH => {
            if let Some(path) = path.strip_suffix("/status") {
                return found(api.get(path).map(|mut object| {
                    object["status"] = body["status"].clone();
                    api.put(path, object)
                }));
            }
            let applies = headers.get("content-type").is_some_and(|kind| kind == "application/apply-patch+yaml");
            match api.get(&path) {
                None if applies => json_of(&api.put(&path, body)),
                _ => found(api.merge(&path, &body)),
            }
        }
        _ => refuse(405, "MethodNotAllowed"),
    }
}

/// The members of a query, decoded.
fn members(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        let mut parts = text.split('%');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
            out.push_str(&part[2..]);
        }
        out
    };
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), decoded(value)))
        .collect()
}

fn selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some((label, value)) = query.get("labelSelector").and_then(|selector| selector.split_once('=')) else {
        return true;
    };
    object["metadata"]["labels"][label] == value
}

fn watch(api: Api, collection: String, query: &BTreeMap<String, String>) -> Response {
    let from = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let query = query.clone();
    let start = format!("{collection}/");
    let stream = futures::stream::unfold(from, move |seen: u64| {
        let (api, start, query) = (api.clone(), start.clone(), query.clone());
        async move {
            loop {
                let changed = api.changed.notified();
                let (lines, version) = {
                    let inner = api.inner.lock().unwrap();
                    let first = inner.history.partition_point(|(version, ..)| *version <= seen);
                    let mut lines = String::new();
                    for (_, path, kind, object) in &inner.history[first..] {
                        if path.starts_with(&start) && selected(object, &query) {
                            lines.push_str(&json!({"type": kind, "object": object}).to_string());
                            lines.push('\n');
                        }
                    }
                    (lines, inner.version)
                };
                if !lines.is_empty() {
                    return Some((Ok::<_, Infallible>(lines), version));
                }
                changed.await;
            }
        }
    });
    Body::from_stream(stream).into_response()
}

fn json_of(object: &Value) -> Response {
    ([("content-type", "application/json")], object.to_string()).into_response()
}

fn refuse(code: u16, reason: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code});
    (StatusCode::from_u16(code).unwrap(), [("content-type", "application/json")], status.to_string()).into_response()
}
