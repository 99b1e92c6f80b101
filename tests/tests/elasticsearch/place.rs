//! A data stream of a test's own on a real OpenSearch.

use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use waybill_tests::opensearch::OpenSearch;

use super::sink_to;

/// The data stream, on a node that other tests may use as well.
pub(super) struct Place<'a> {
    pub(super) node: &'a OpenSearch,
    pub(super) stream: String,
}

impl<'a> Place<'a> {
    /// A data stream with the name of the test in it, and its template.
    pub(super) fn new(node: &'a OpenSearch, test: &str) -> Result<Self> {
        let place = Self { node, stream: format!("logs-{test}-default") };
        place.template(&json!({}))?;
        Ok(place)
    }

    /// Installs the template anew with these mappings.
    pub(super) fn template(&self, mappings: &Value) -> Result<()> {
        let body = json!({"index_patterns": [self.stream], "data_stream": {}, "priority": 500, "template": {"mappings": mappings}});
        self.node.call("PUT", &format!("/_index_template/{}", self.stream), &body)?;
        Ok(())
    }

    /// A sink to this data stream.
    pub(super) fn sink(&self, urls: &[String]) -> Value {
        sink_to(urls, &self.stream)
    }

    /// A sink straight to the node.
    pub(super) fn straight(&self) -> Value {
        self.sink(&[self.node.url()])
    }

    /// Makes a new backing index.
    pub(super) fn roll_over(&self) -> Result<()> {
        self.node.call("POST", &format!("/{}/_rollover", self.stream), &Value::Null).map(|_| ())
    }

    /// Changes settings of the backing indices.
    pub(super) fn set(&self, settings: &Value) -> Result<()> {
        self.node.call("PUT", &format!("/{}/_settings", self.stream), settings).map(|_| ())
    }

    pub(super) fn documents(&self) -> Result<Vec<(String, Value)>> {
        self.node.documents(&self.stream)
    }

    pub(super) fn count(&self) -> Result<u64> {
        self.node.count(&self.stream)
    }
}

/// One node serves all tests that only ship to it, because to start one takes longer than most of them. It ends with this program.
pub(super) fn shared() -> Result<&'static OpenSearch> {
    static STARTING: Mutex<()> = Mutex::new(());
    static NODE: OnceLock<OpenSearch> = OnceLock::new();
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = NODE.get() {
        return Ok(node);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("opensearch");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("failed to remove the data of the last run")?;
    }
    let node = OpenSearch::start(&folder, &[])?;
    Ok(NODE.get_or_init(|| node))
}
