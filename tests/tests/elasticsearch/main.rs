//! The Elasticsearch sink.

mod access;
mod delivery;

use serde_json::{Value, json};

/// The data stream that all tests ship to, each on a server of its own.
const STREAM: &str = "logs-waybill-default";

/// A sink without login.
fn sink(urls: &[String]) -> Value {
    json!({"name": "search", "type": "Elasticsearch", "elasticsearch": {"endpoints": urls, "dataStream": STREAM}})
}
