//! A strict double of Elasticsearch 9: it answers as the product's documentation says, where the product itself can't be had.
//!
//! It knows one login at a time and what that login may do, data streams with their backing indices, `_bulk` with `create`, `_mget`,
//! index templates, index lifecycle policies and the failure store. What it is not asked for by Waybill it answers with 400.

mod bulk;
mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::certificates::Certificate;
use crate::web::{Reply, Request, Server, Service};

/// Status and body of an answer.
type Answer = (u16, Value);

/// What the double holds and demands.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The value of the `Authorization` header that is let in; `None` = everybody.
    pub login: Option<String>,
    /// What the login may do; empty = everything. Names of Elasticsearch's privileges.
    pub privileges: BTreeSet<String>,
    /// Data streams keep what they refuse in a failure store.
    pub failure_store: bool,
    /// Records with this text do not map.
    pub refused_text: Option<String>,
    /// So many items of a hundred are answered with 429 or 503.
    pub busy: u64,
    /// Data streams are read-only.
    pub block: bool,
    /// How much later answers come.
    pub delay: Duration,
    /// Data streams by name.
    pub streams: BTreeMap<String, Stream>,
    /// Index templates by name.
    pub templates: BTreeMap<String, Value>,
    /// Lifecycle policies by name.
    pub policies: BTreeMap<String, Value>,
    /// Requests so far, as `METHOD /path`.
    pub requests: Vec<String>,
    /// What a request did that no client may do.
    pub offences: Vec<String>,
    /// Items so far.
    items: u64,
}

impl Cluster {
    /// Installs a template, so that a data stream of this name is made by what is written to it.
    pub fn allow(&mut self, stream: &str) {
        self.templates.insert(stream.to_owned(), serde_json::json!({"index_patterns": [stream]}));
    }

    /// Makes a data stream with one backing index.
    pub fn make(&mut self, stream: &str) {
        self.allow(stream);
        self.streams.entry(stream.to_owned()).or_default().roll_over(stream);
    }
}

/// A data stream.
#[derive(Debug, Default, Clone)]
pub struct Stream {
    /// Its backing indices, the newest last: documents by id.
    pub indices: Vec<(String, BTreeMap<String, Value>)>,
    /// Ids of what stands in the failure store.
    pub failures: Vec<String>,
    /// The lifecycle policy of its backing indices.
    pub lifecycle: Option<String>,
}

/// The double; ended when dropped.
#[derive(Debug)]
pub struct Elasticsearch {
    server: Server,
    cluster: Arc<Mutex<Cluster>>,
}

/// What answers.
struct Rest(Arc<Mutex<Cluster>>);

impl Service for Rest {
    fn answer(&self, request: &Request) -> Reply {
        let mut cluster = lock(&self.0);
        let (status, body) = cluster::answer(&mut cluster, request);
        let headers = &[("X-Elastic-Product", "Elasticsearch"), ("Content-Type", "application/json")];
        Reply { status, headers, body: body.to_string(), delay: cluster.delay, cut: false }
    }
}

impl Elasticsearch {
    /// A double that speaks plain HTTP.
    pub fn start() -> Result<Self> {
        Self::with(None)
    }

    /// A double that speaks TLS with this certificate; with an authority it wants a client certificate of it.
    pub fn secure(certificate: &Certificate, clients: Option<&std::path::Path>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(authority)?)?;
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = vec![CertificateDer::from_pem_file(&certificate.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
        Self::with(Some(Arc::new(builder.with_single_cert(chain, key)?)))
    }

    fn with(tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let cluster: Arc<Mutex<Cluster>> = Arc::default();
        Ok(Self { server: Server::start(tls, Arc::new(Rest(Arc::clone(&cluster))))?, cluster })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its URL, by the name `localhost`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every document of a data stream: its `_id` and its source.
    pub fn documents(&self, stream: &str) -> Vec<(String, Value)> {
        let cluster = self.cluster();
        let stream = cluster.streams.get(stream);
        stream.into_iter().flat_map(|stream| stream.indices.clone()).flat_map(|(_, documents)| documents).collect()
    }

    /// What it holds.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.cluster)
    }
}

fn lock(cluster: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}
