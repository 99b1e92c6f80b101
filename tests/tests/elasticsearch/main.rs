//! The Elasticsearch sink.

mod access;
mod delivery;
mod place;
mod refusals;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use waybill_tests::shipment::Shipment;

/// The data stream of tests that have a server of their own.
const STREAM: &str = "logs-waybill-default";

/// A sink without login.
fn sink(urls: &[String]) -> Value {
    sink_to(urls, STREAM)
}

/// The same, to another data stream.
fn sink_to(urls: &[String], stream: &str) -> Value {
    json!({"name": "search", "type": "Elasticsearch", "elasticsearch": {"endpoints": urls, "dataStream": stream}})
}

/// Each line is there, byte for byte, under its own id and once.
fn judge(shipment: &Shipment, documents: Vec<(String, Value)>) -> Result<()> {
    let arrived = shipment.logs.check_documents(documents)?;
    ensure!(arrived.repeats == 0, "{} records are there twice", arrived.repeats);
    println!("{} lines, each once", arrived.lines);
    Ok(())
}
