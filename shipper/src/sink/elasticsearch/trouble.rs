//! What is wrong when a request fails as a whole: one clear sentence, and whether it may pass by itself.

use std::error::Error as _;

use serde::Deserialize;
use waybill_crds::Elasticsearch;

use super::super::{Failure, tls};
use super::client::Reply;

/// Characters of a server's text that are passed on.
const CLIP: usize = 300;

/// What a request without an answer means.
pub(super) fn explain(error: &reqwest::Error, endpoint: &str, timeout: u32) -> Failure {
    if let Some(found) = tls::find(error) {
        return tls::explain(found, endpoint);
    }
    if error.is_timeout() && !error.is_connect() {
        return Failure::again(format!("{endpoint}: no answer within {timeout} s"));
    }
    if error.is_timeout() {
        return Failure::again(format!("{endpoint}: no connection within 10 s; look at the address and at firewalls"));
    }
    let cause = root(error);
    if error.is_connect() {
        let plain = cause.to_lowercase();
        if plain.contains("refused") {
            return Failure::again(format!("{endpoint}: nothing listens there; look at the port and at the server"));
        }
        if plain.contains("lookup") || plain.contains("resolve") || plain.contains("name or service") {
            return Failure::again(format!("{endpoint}: the host name is not known ({cause}); look at its spelling"));
        }
        return Failure::again(format!("{endpoint}: no connection: {cause}"));
    }
    if endpoint.starts_with("http:") {
        return Failure::again(format!(
            "{endpoint}: the connection ended without a whole answer ({cause}); if the server speaks TLS, write https"
        ));
    }
    Failure::again(format!("{endpoint}: the connection ended without a whole answer ({cause})"))
}

/// The innermost error, which names the cause.
fn root(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        next = cause.source();
    }
    if text.is_empty() { "no cause is given".to_owned() } else { clip(&text) }
}

#[derive(Deserialize)]
struct Body {
    error: Cause,
}

/// An error as the servers write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Cause {
    Full {
        #[serde(rename = "type", default)]
        kind: String,
        #[serde(default)]
        reason: Option<String>,
    },
    Text(String),
}

/// What an answer means that is no success.
pub(super) fn of_reply(config: &Elasticsearch, reply: &Reply) -> Failure {
    let Reply { endpoint, status, .. } = reply;
    let text = said(&reply.body);
    let stream = &config.data_stream;
    match status {
        401 => Failure::held(format!("{endpoint}: the login is refused (401{text})"), login(config)),
        403 => Failure::held(
            format!("{endpoint}: the login may not do this (403{text})"),
            format!("give it the right to create documents in {stream} (index privilege create_doc)"),
        ),
        404 | 405 => Failure::held(
            format!("{endpoint}: it does not know the data stream {stream} ({status}{text})"),
            "correct the endpoint if this is no Elasticsearch or OpenSearch; run `waybill setup` if the data stream is missing",
        ),
        408 | 429 | 500..=599 => {
            Failure::again(format!("{endpoint}: the server is busy or in trouble ({status}{text})"))
        }
        300..=399 => Failure::held(
            format!("{endpoint}: it sends elsewhere, to {}", clip(reply.location.as_deref().unwrap_or("no address"))),
            "redirects are not followed; write the server's own address as the endpoint",
        ),
        _ => Failure::held(
            format!("{endpoint}: the answer is not known here ({status}{text})"),
            "correct the endpoint if this is no Elasticsearch or OpenSearch",
        ),
    }
}

fn login(config: &Elasticsearch) -> String {
    let key = |key: &waybill_crds::SecretKey| format!("secret {}, key {}", key.secret, key.key);
    let auth = config.auth.as_ref();
    match (auth.and_then(|a| a.api_key.as_ref()), auth.and_then(|a| a.password.as_ref())) {
        (Some(api), _) => format!("put a valid API key into {}", key(api)),
        (_, Some(password)) => format!("correct the user name, or the password in {}", key(password)),
        _ => "write auth: with an API key, or with a user and a password".to_owned(),
    }
}

/// What the body says, as a part of a sentence.
fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { error: Cause::Full { kind, reason } }) => {
            format!(", {}: {}", clip(&kind), clip(reason.as_deref().unwrap_or("no reason")))
        }
        Ok(Body { error: Cause::Text(text) }) => format!(", {}", clip(&text)),
        Err(_) => String::new(),
    }
}

/// Foreign text, short and on one line.
pub(super) fn clip(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CLIP).collect();
    if text.chars().nth(CLIP).is_some() {
        short.push('…');
    }
    short
}
