//! What is asked, who may ask it, and what the answer is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Answer, Cluster, Stream, bulk};
use crate::web::Request;

/// The types of fields that Elasticsearch and OpenSearch share.
const TYPES: [&str; 7] = ["keyword", "long", "ip", "date", "boolean", "text", "object"];

pub(super) fn error(status: u16, kind: &str, reason: &str) -> Answer {
    (status, json!({"error": {"root_cause": [], "type": kind, "reason": reason}, "status": status}))
}

pub(super) fn answer(cluster: &mut Cluster, request: &Request) -> Answer {
    let (path, _query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    cluster.requests.push(format!("{} {path}", request.method));
    if let Some(login) = &cluster.login
        && request.headers.get("authorization") != Some(login)
    {
        return error(401, "security_exception", "unable to authenticate user for REST request");
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", [""]) => allowed(cluster, "monitor", |_| {
            (200, json!({"name": "double", "version": {"number": "9.0.0", "build_flavor": "default"}}))
        }),
        ("POST", ["_security", "user", "_has_privileges"]) => has_privileges(cluster, &body()),
        ("POST", [stream, "_bulk"]) => {
            let stream = (*stream).to_owned();
            allowed(cluster, "create_doc", |cluster| bulk::answer(cluster, request, &stream))
        }
        ("GET", ["_data_stream", stream]) => {
            allowed(cluster, "view_index_metadata", |cluster| describe(cluster, stream))
        }
        ("PUT", ["_data_stream", stream]) => allowed(cluster, "manage", |cluster| create(cluster, stream)),
        ("POST", [stream, "_rollover"]) => {
            allowed(cluster, "manage", |cluster| match cluster.streams.get_mut(*stream) {
                Some(found) => {
                    let index = found.roll_over(stream);
                    (200, json!({"rolled_over": true, "new_index": index}))
                }
                None => error(404, "index_not_found_exception", "no such index"),
            })
        }
        ("PUT", [stream, "_settings"]) => allowed(cluster, "manage", |cluster| {
            let name = body()["index.lifecycle.name"].as_str().map(str::to_owned);
            match cluster.streams.get_mut(*stream) {
                Some(found) => {
                    found.lifecycle = name;
                    (200, json!({"acknowledged": true}))
                }
                None => error(404, "index_not_found_exception", "no such index"),
            }
        }),
        ("GET", [stream, "_settings", _]) => {
            allowed(cluster, "view_index_metadata", |cluster| settings(cluster, stream))
        }
        ("POST", [index, "_mget"]) => allowed(cluster, "read", |cluster| mget(cluster, index, &body())),
        ("GET", ["_index_template", name]) => {
            allowed(cluster, "manage_index_templates", |cluster| match cluster.templates.get(*name) {
                Some(found) => (200, json!({"index_templates": [{"name": name, "index_template": found}]})),
                None => error(404, "resource_not_found_exception", "index template matching [x] not found"),
            })
        }
        ("PUT", ["_index_template", name]) => {
            allowed(cluster, "manage_index_templates", |cluster| put_template(cluster, name, body()))
        }
        ("GET", ["_ilm", "policy", name]) => {
            allowed(cluster, "manage_ilm", |cluster| match cluster.policies.get(*name) {
                Some(found) => (200, json!({(*name): {"version": 1, "policy": found["policy"]}})),
                None => error(404, "resource_not_found_exception", "Lifecycle policy not found"),
            })
        }
        ("PUT", ["_ilm", "policy", name]) => {
            allowed(cluster, "manage_ilm", |cluster| put_policy(cluster, name, body()))
        }
        ("GET", [_]) => error(404, "index_not_found_exception", "no such index"),
        _ => {
            cluster.offences.push(format!("nobody asked the double for {} {path} before", request.method));
            error(400, "illegal_argument_exception", "no handler found for uri")
        }
    }
}

fn allowed(cluster: &mut Cluster, privilege: &str, then: impl FnOnce(&mut Cluster) -> Answer) -> Answer {
    if cluster.privileges.is_empty() || cluster.privileges.contains(privilege) {
        return then(cluster);
    }
    let reason =
        format!("action is unauthorized for this login, this action is granted by the privileges [{privilege}]");
    error(403, "security_exception", &reason)
}

fn has_privileges(cluster: &Cluster, body: &Value) -> Answer {
    let wanted = body["index"][0]["privileges"].as_array().cloned().unwrap_or_default();
    let has =
        |name: &Value| cluster.privileges.is_empty() || name.as_str().is_some_and(|n| cluster.privileges.contains(n));
    (200, json!({"username": "double", "has_all_requested": wanted.iter().all(has)}))
}

fn describe(cluster: &Cluster, name: &str) -> Answer {
    let Some(stream) = cluster.streams.get(name) else {
        return error(404, "index_not_found_exception", "no such index");
    };
    let indices: Vec<Value> = stream.indices.iter().map(|(name, _)| json!({"index_name": name})).collect();
    (200, json!({"data_streams": [{"name": name, "indices": indices}]}))
}

fn settings(cluster: &Cluster, name: &str) -> Answer {
    let blocks = if cluster.block { json!({"index": {"blocks": {"write": "true"}}}) } else { json!({}) };
    let indices = cluster.streams.get(name).into_iter().flat_map(|s| &s.indices);
    (
        200,
        indices
            .map(|(index, _)| (index.clone(), json!({"settings": blocks})))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    )
}

fn create(cluster: &mut Cluster, name: &str) -> Answer {
    let Some(template) = matching(cluster, name) else {
        return error(400, "illegal_argument_exception", "no matching index template found for data stream");
    };
    let lifecycle = template["template"]["settings"]["index.lifecycle.name"].as_str().map(str::to_owned);
    let mut stream = Stream { lifecycle, ..Stream::default() };
    stream.roll_over(name);
    cluster.streams.insert(name.to_owned(), stream);
    (200, json!({"acknowledged": true}))
}

/// The template of a data stream.
pub(super) fn matching(cluster: &Cluster, name: &str) -> Option<Value> {
    let fits = |template: &&Value| template["index_patterns"].as_array().is_some_and(|all| all.contains(&json!(name)));
    cluster.templates.values().find(fits).cloned()
}

fn mget(cluster: &Cluster, index: &str, body: &Value) -> Answer {
    let found = cluster.streams.values().flat_map(|s| &s.indices).find(|(name, _)| name == index);
    let Some((_, documents)) = found else { return error(404, "index_not_found_exception", "no such index") };
    let ids = body["ids"].as_array().cloned().unwrap_or_default();
    let docs: Vec<Value> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(|id| json!({"_index": index, "_id": id, "found": documents.contains_key(id)}))
        .collect();
    (200, json!({"docs": docs}))
}

fn put_template(cluster: &mut Cluster, name: &str, body: Value) -> Answer {
    if let Some(wrong) = wrong_type(&body["template"]["mappings"]) {
        return error(400, "mapper_parsing_exception", &format!("no handler for type [{wrong}]"));
    }
    let lifecycle = body["template"]["settings"]["index.lifecycle.name"].as_str();
    if lifecycle.is_some_and(|name| !cluster.policies.contains_key(name)) {
        cluster.offences.push("a template names a lifecycle policy that is not there".to_owned());
    }
    cluster.templates.insert(name.to_owned(), body);
    (200, json!({"acknowledged": true}))
}

/// A type that one of the products does not take.
fn wrong_type(mapping: &Value) -> Option<String> {
    let kind = mapping["type"].as_str();
    if let Some(kind) = kind.filter(|kind| !TYPES.contains(kind)) {
        return Some(kind.to_owned());
    }
    mapping["properties"].as_object()?.values().find_map(wrong_type)
}

fn put_policy(cluster: &mut Cluster, name: &str, body: Value) -> Answer {
    let phases = body["policy"]["phases"].as_object().cloned().unwrap_or_default();
    let known = |name: &String| ["hot", "warm", "cold", "frozen", "delete"].contains(&name.as_str());
    if phases.is_empty() || !phases.keys().all(known) {
        return error(400, "x_content_parse_exception", "[lifecycle_policy] failed to parse field [phases]");
    }
    let rollover = &phases["hot"]["actions"]["rollover"];
    let age = rollover["max_age"].as_str().unwrap_or_default();
    if !age.ends_with('d') || age.trim_end_matches('d').parse::<u32>().is_err() {
        return error(400, "illegal_argument_exception", "failed to parse setting [max_age]");
    }
    cluster.policies.insert(name.to_owned(), body);
    (200, json!({"acknowledged": true}))
}

impl Stream {
    /// Makes a new backing index, which is written to from now on.
    pub fn roll_over(&mut self, name: &str) -> String {
        let index = format!(".ds-{name}-2026.01.01-{:06}", self.indices.len() + 1);
        self.indices.push((index.clone(), BTreeMap::new()));
        index
    }
}
