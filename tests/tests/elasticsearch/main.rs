//! The Elasticsearch sink.

mod access;
mod delivery;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use waybill_tests::shipment::Shipment;

/// The data stream that all tests ship to, each on a server of its own.
const STREAM: &str = "logs-waybill-default";

/// A sink without login.
fn sink(urls: &[String]) -> Value {
    json!({"name": "search", "type": "Elasticsearch", "elasticsearch": {"endpoints": urls, "dataStream": STREAM}})
}

/// Each line is there, byte for byte, under its own id and once.
fn judge(shipment: &Shipment, documents: Vec<(String, Value)>) -> Result<()> {
    let arrived = shipment.logs.check_documents(documents)?;
    ensure!(arrived.repeats == 0, "{} records are there twice", arrived.repeats);
    println!("{} lines, each once", arrived.lines);
    Ok(())
}
