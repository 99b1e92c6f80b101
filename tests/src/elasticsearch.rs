//! A strict double of Elasticsearch 9: it answers as the product's documentation says, where the product itself can't be had.
//!
//! It knows one login at a time and what that login may do, data streams with their backing indices, `_bulk` with `create`, `_mget`,
//! index templates, index lifecycle policies and the failure store. What it is not asked for by Waybill it answers with 400.

mod bulk;
mod cluster;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::certificates::Certificate;

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
    address: SocketAddr,
    secure: bool,
    cluster: Arc<Mutex<Cluster>>,
    stop: Arc<AtomicBool>,
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let it = Self {
            address: listener.local_addr().context("no address")?,
            secure: tls.is_some(),
            cluster: Arc::default(),
            stop: Arc::default(),
        };
        server::serve(listener, tls, Arc::clone(&it.cluster), Arc::clone(&it.stop));
        Ok(it)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, by the name `localhost`.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", if self.secure { "https" } else { "http" }, self.address.port())
    }

    /// What it holds.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.cluster)
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener; if it is gone already, so much the better.
        let _woken = std::net::TcpStream::connect(self.address);
    }
}

fn lock(cluster: &Mutex<Cluster>) -> MutexGuard<'_, Cluster> {
    cluster.lock().unwrap_or_else(PoisonError::into_inner)
}
