//! The connection: endpoints, login, TLS, and what is wrong when a request does not get through.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, redirect};
use rustls::{ClientConfig, RootCertStore};
use waybill_crds::{Elasticsearch, SecretKey};

use super::super::{Failure, Secrets, Stamp, tls};
use super::trouble;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is not used again: something in between may have dropped it.
const IDLE: Duration = Duration::from_secs(20);
/// An answer that is longer is none, in bytes.
const ANSWER: usize = 64 << 20;
/// What of a bulk answer is wanted.
const WANTED: &str = "filter_path=items.*.status,items.*._index,items.*.failure_store,items.*.error.type,\
    items.*.error.reason,items.*.error.caused_by.type,items.*.error.caused_by.reason,error,status";

/// What answers.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) endpoint: String,
    pub(super) status: u16,
    pub(super) location: Option<String>,
    /// The product by its header; Elasticsearch names itself.
    pub(super) product: Option<String>,
    pub(super) body: Vec<u8>,
}

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// The server may have got the request.
    pub(super) unknown: bool,
}

/// Speaks to one endpoint at a time.
pub(super) struct Client {
    http: reqwest::Client,
    config: Elasticsearch,
    authorization: Option<HeaderValue>,
    at: AtomicUsize,
}

/// The secrets that the connection needs.
fn keys(config: &Elasticsearch) -> impl Iterator<Item = &SecretKey> {
    let auth = config.auth.iter().flat_map(|auth| auth.api_key.iter().chain(&auth.password));
    auth.chain(tls::keys(config.tls.as_ref()))
}

/// What the files of the secrets look like now.
pub(super) fn stamp(config: &Elasticsearch, secrets: &Secrets) -> Stamp {
    secrets.stamp(keys(config))
}

impl Client {
    /// Reads the secrets; connects when the first request is made.
    pub(super) fn new(config: &Elasticsearch, secrets: &Secrets) -> Result<Self, Failure> {
        let authorization = login(config, secrets)?;
        Self::with(config, secrets, authorization)
    }

    /// The same with another login.
    pub(super) fn with(
        config: &Elasticsearch,
        secrets: &Secrets,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, Failure> {
        let tls = if config.endpoints.iter().any(|e| e.starts_with("https:")) {
            tls::client_config(config.tls.as_ref(), secrets)?
        } else {
            ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        };
        // A redirect is followed nowhere: it would carry the login with it.
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(Duration::from_secs(u64::from(config.timeout_seconds)))
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("waybill/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Failure::again(format!("no connection can be made: {e}")))?;
        // Agents spread over the endpoints.
        let mut random = [0; 8];
        let _filled = getrandom::fill(&mut random);
        let at = AtomicUsize::new(usize::from_ne_bytes(random) % config.endpoints.len().max(1));
        Ok(Self { http, config: config.clone(), authorization, at })
    }

    pub(super) fn config(&self) -> &Elasticsearch {
        &self.config
    }

    /// The endpoint that is spoken to.
    pub(super) fn endpoint(&self) -> &str {
        let at = self.at.load(Ordering::Relaxed);
        self.config.endpoints.get(at).map_or("", |e| e.trim_end_matches('/'))
    }

    /// Speaks to the next endpoint from now on.
    pub(super) fn next_endpoint(&self) {
        let next = (self.at.load(Ordering::Relaxed) + 1) % self.config.endpoints.len().max(1);
        self.at.store(next, Ordering::Relaxed);
    }

    /// Speaks to this endpoint from now on, by its index.
    pub(super) fn use_endpoint(&self, index: usize) {
        self.at.store(index, Ordering::Relaxed);
    }

    /// Sends a compressed bulk body to the data stream.
    pub(super) async fn bulk(&self, body: Vec<u8>) -> Result<Reply, Broken> {
        let path = format!("/{}/_bulk?{WANTED}", self.config.data_stream);
        let request = self
            .request(Method::POST, &path)
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header(CONTENT_ENCODING, "gzip")
            .body(body);
        self.send(request).await
    }

    /// Asks something that changes nothing.
    pub(super) async fn get(&self, path: &str) -> Result<Reply, Broken> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends JSON; nothing for null.
    pub(super) async fn json(&self, method: Method, path: &str, body: &serde_json::Value) -> Result<Reply, Broken> {
        let request = self.request(method, path);
        if body.is_null() {
            return self.send(request).await;
        }
        self.send(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.endpoint()));
        match &self.authorization {
            Some(login) => request.header(AUTHORIZATION, login.clone()),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Reply, Broken> {
        let endpoint = self.endpoint().to_owned();
        let broken = |error: reqwest::Error| Broken {
            unknown: !error.is_connect() && !error.is_builder(),
            failure: trouble::explain(&error, &endpoint, self.config.timeout_seconds),
        };
        let mut response = request.send().await.map_err(broken)?;
        let header = |name| {
            let value = response.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
            value.map(str::to_owned)
        };
        let status = response.status().as_u16();
        let (location, product) = (header(LOCATION.as_str()), header("x-elastic-product"));
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if body.len() + piece.len() > ANSWER {
                let failure = Failure::again(format!("{endpoint}: the answer is longer than {ANSWER} bytes"));
                return Err(Broken { failure, unknown: true });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Reply { endpoint, status, location, product, body })
    }

    /// What an answer means that is no success.
    pub(super) fn trouble(&self, reply: &Reply) -> Failure {
        trouble::of_reply(&self.config, reply)
    }
}

/// The header with the login that the policy names.
fn login(config: &Elasticsearch, secrets: &Secrets) -> Result<Option<HeaderValue>, Failure> {
    let Some(auth) = &config.auth else { return Ok(None) };
    if let Some(key) = &auth.api_key {
        return api_key(&secrets.text(key)?).map(Some);
    }
    match (&auth.username, &auth.password) {
        (Some(user), Some(password)) => basic(user, &secrets.text(password)?).map(Some),
        _ => Ok(None),
    }
}

/// A login by API key: as Elasticsearch hands it out encoded, or `id:key`.
pub(super) fn api_key(text: &str) -> Result<HeaderValue, Failure> {
    let encoded = if text.contains(':') { encode(text) } else { text.to_owned() };
    sensitive(&format!("ApiKey {encoded}"))
}

/// A login by user and password.
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    sensitive(&format!("Basic {}", encode(&format!("{user}:{password}"))))
}

fn encode(text: &str) -> String {
    let mut out = Vec::new();
    crate::format::base::base64(&mut out, text.as_bytes());
    out.into_iter().map(char::from).collect()
}

fn sensitive(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::held("the login holds characters that no header can", "correct the secret"))?;
    value.set_sensitive(true);
    Ok(value)
}
