//! `_bulk` on a data stream, item by item.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::cluster::{error, matching};
use super::{Answer, Cluster};
use crate::web::Request;

/// The longest `_id`, in bytes.
const ID: usize = 512;

pub(super) fn answer(cluster: &mut Cluster, request: &Request, stream: &str) -> Answer {
    let kind = request.headers.get("content-type").map_or("", |kind| kind.split(';').next().unwrap_or_default());
    if !["application/x-ndjson", "application/json"].contains(&kind) {
        return error(406, "media_type_header_exception", "Content-Type header is not supported");
    }
    if request.body.last() != Some(&b'\n') {
        return error(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]");
    }
    if !cluster.streams.contains_key(stream) {
        if matching(cluster, stream).is_none() {
            return error(404, "index_not_found_exception", "no such index and auto-creation is not allowed");
        }
        let mut fresh = super::Stream::default();
        fresh.roll_over(stream);
        cluster.streams.insert(stream.to_owned(), fresh);
    }
    let mut lines = request.body.split(|byte| *byte == b'\n');
    let mut items = Vec::new();
    while let Some(action) = lines.next().filter(|line| !line.is_empty()) {
        let action: Value = match serde_json::from_slice(action) {
            Ok(action) => action,
            Err(e) => return error(400, "illegal_argument_exception", &format!("Malformed action/metadata line: {e}")),
        };
        let Some(id) = action["create"]["_id"].as_str() else {
            return error(400, "illegal_argument_exception", "only write ops with an op_type of create are allowed");
        };
        let document = lines.next().unwrap_or_default();
        items.push(json!({"create": item(cluster, stream, id, document)}));
    }
    let errors = items.iter().any(|item| item["create"]["status"] != 201);
    (200, json!({"took": 1, "errors": errors, "items": items}))
}

fn item(cluster: &mut Cluster, name: &str, id: &str, document: &[u8]) -> Value {
    let keeps_failures = cluster.failure_store;
    cluster.items += 1;
    // Spreads over the numbers; which items are hit does not matter.
    let dice = cluster.items.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let busy = (dice % 100 < cluster.busy).then_some(if dice.is_multiple_of(2) { 429 } else { 503 });
    let (block, refused_text) = (cluster.block, cluster.refused_text.clone());
    let Some(stream) = cluster.streams.get_mut(name) else { return json!({"status": 404}) };
    let Some((index, documents)) = stream.indices.last_mut() else { return json!({"status": 404}) };
    let failed = |status: u16, kind: &str, reason: &str| json!({"_index": index.as_str(), "_id": id, "status": status, "error": {"type": kind, "reason": reason}});
    if id.is_empty() || id.len() > ID {
        return failed(400, "illegal_argument_exception", "id is too long");
    }
    if let Some(status) = busy {
        return failed(status, "es_rejected_execution_exception", "rejected execution of coordinating operation");
    }
    if block {
        return failed(403, "cluster_block_exception", "blocked by: [FORBIDDEN/8/index write (api)];");
    }
    if documents.contains_key(id) {
        return failed(409, "version_conflict_engine_exception", "version conflict, document already exists");
    }
    match parse(document, refused_text.as_deref()) {
        Ok(document) => {
            let created = json!({"_index": index.as_str(), "_id": id, "status": 201, "result": "created"});
            documents.insert(id.to_owned(), document);
            created
        }
        Err(_) if keeps_failures => {
            let failure = format!(".fs-{name}-2026.01.01-000001");
            stream.failures.push(id.to_owned());
            json!({"_index": failure, "_id": "made-up", "status": 201, "failure_store": "used"})
        }
        Err(reason) => failed(400, "document_parsing_exception", &reason),
    }
}

/// What a data stream with our template takes.
fn parse(document: &[u8], refused_text: Option<&str>) -> Result<Value, String> {
    let line = String::from_utf8_lossy(document);
    if refused_text.is_some_and(|text| line.contains(text)) {
        return Err("failed to parse field [x] of type [long]".to_owned());
    }
    let document: Value = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    if document["@timestamp"].as_str().is_none_or(|time| time.parse::<jiff::Timestamp>().is_err()) {
        return Err("data stream timestamp field [@timestamp] is missing".to_owned());
    }
    match document["source"]["ip"].as_str() {
        Some(ip) if ip.parse::<IpAddr>().is_err() => {
            Err(format!("failed to parse field [source.ip] of type [ip]: {ip}"))
        }
        _ => Ok(document),
    }
}
