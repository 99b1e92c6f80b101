//! A double of CloudWatch Logs that enforces each limit of the service's reference, and misbehaves on demand.
//!
//! It speaks AWS JSON 1.1 over plain HTTP. Its state outlives [`Double::kill`], as the service's does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::http::Caller;
use crate::rng::Rng;
use crate::web::{Reply, Request, Server, Service};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const MOST_BYTES: usize = 1_048_576;
const MOST_EVENTS: usize = 10_000;
const RETENTIONS: [i64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// An event as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The message.
    pub message: String,
}

/// A log group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Days that it keeps events.
    pub retention: Option<i64>,
    /// Its streams, with their events in the order in which they came.
    pub streams: BTreeMap<String, Vec<Event>>,
}

/// How it misbehaves, in so many of a hundred requests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// `ThrottlingException`.
    pub throttle: u64,
    /// 500 or 503 without a body that can be read.
    pub fail: u64,
    /// The connection is cut in the middle of the request.
    pub cut_request: u64,
    /// The request takes effect, and the connection is cut in the middle of the answer.
    pub cut_answer: u64,
    /// Every request takes effect, and the answer comes so much later.
    pub delay: Duration,
}

/// What it holds and how it behaves.
#[derive(Debug, Default)]
pub struct State {
    /// The log groups.
    pub groups: BTreeMap<String, Group>,
    /// Faults.
    pub faults: Faults,
    /// The one access key that it knows; empty = any.
    pub access_key: String,
    /// Operations that are not allowed.
    pub denied: BTreeSet<&'static str>,
    /// What its clock is ahead of ours, in milliseconds.
    pub ahead: i64,
    /// Requests that broke a documented limit.
    pub breaches: Vec<String>,
    /// `PutLogEvents` requests that took effect.
    pub puts: usize,
}

/// The double. Killed when dropped.
#[derive(Debug)]
pub struct Double {
    server: Server,
    state: Arc<Mutex<State>>,
}

/// What answers.
struct Logs {
    state: Arc<Mutex<State>>,
    rng: Mutex<Rng>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Double {
    /// A double that serves.
    pub fn start() -> Result<Self> {
        let state: Arc<Mutex<State>> = Arc::default();
        let service = Logs { state: Arc::clone(&state), rng: Mutex::new(Rng::from_env("double")) };
        Ok(Self { server: Server::start(None, Arc::new(service))?, state })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What it holds and how it behaves.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// All connections break, and nobody listens any more.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Serves again, at the same address and with what it held.
    pub fn restart(&mut self) -> Result<()> {
        self.server.restart()
    }

    /// The events of all streams of a group, each stream in the order of time, equal times in the order of arrival.
    pub fn events(&self, group: &str) -> Vec<Event> {
        let state = self.state();
        let mut all = Vec::new();
        for events in state.groups.get(group).iter().flat_map(|group| group.streams.values()) {
            let mut events = events.clone();
            events.sort_by_key(|event| event.time);
            all.append(&mut events);
        }
        all
    }
}

impl Service for Logs {
    fn cuts(&self) -> bool {
        let faults = lock(&self.state).faults;
        lock(&self.rng).chance(faults.cut_request)
    }

    fn answer(&self, request: &Request) -> Reply {
        let faults = lock(&self.state).faults;
        let mut rng = lock(&self.rng).fork();
        let operation = request.header("x-amz-target").strip_prefix("Logs_20140328.").unwrap_or_default();
        let (status, body) = if rng.chance(faults.throttle) {
            (400, Fault::new("ThrottlingException", "Rate exceeded").text())
        } else if rng.chance(faults.fail) {
            (*rng.pick(&[500, 503]), "oops!".to_owned())
        } else {
            match serve(&mut lock(&self.state), operation, request) {
                Ok(body) => (200, body.to_string()),
                Err(fault) => (400, fault.text()),
            }
        };
        let headers = &[("Content-Type", "application/x-amz-json-1.1")];
        Reply { status, headers, body, delay: faults.delay, cut: rng.chance(faults.cut_answer) }
    }
}

/// An error of the service.
struct Fault {
    kind: &'static str,
    message: String,
}

impl Fault {
    fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn text(&self) -> String {
        json!({"__type": self.kind, "message": self.message}).to_string()
    }
}

fn serve(state: &mut State, operation: &str, request: &Request) -> Result<Value, Fault> {
    let authorization = request.header("authorization");
    let key = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if key.is_empty() {
        return Err(Fault::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    if key.starts_with("EXPIRED") {
        return Err(Fault::new("ExpiredTokenException", "The security token included in the request is expired"));
    }
    if key.starts_with("MISSIGNED") {
        let token = request.header("x-amz-security-token");
        return Err(Fault::new(
            "InvalidSignatureException",
            format!(
                "The request signature we calculated does not match the signature you provided.\n\nThe Canonical String for \
                 this request should have been\n'POST\n/\n\nx-amz-security-token:{token}\n'"
            ),
        ));
    }
    if !state.access_key.is_empty() && state.access_key != key {
        return Err(Fault::new(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ));
    }
    if state.denied.contains(operation) {
        let message = format!("User: arn:aws:iam::1:user/u is not authorized to perform: logs:{operation}");
        return Err(Fault::new("AccessDeniedException", message));
    }
    let Ok(request) = serde_json::from_slice::<Value>(&request.body) else {
        return Err(Fault::new("SerializationException", "not JSON"));
    };
    let done = match operation {
        "CreateLogGroup" => create_group(state, &request),
        "CreateLogStream" => create_stream(state, &request),
        "PutRetentionPolicy" => put_retention(state, &request),
        "DescribeLogGroups" => Ok(describe_groups(state, &request)),
        "PutLogEvents" => put_events(state, &request),
        "GetLogEvents" => get_events(state, &request),
        _ => Err(Fault::new("UnknownOperationException", operation)),
    };
    if let Err(fault) = &done
        && fault.kind == "InvalidParameterException"
    {
        state.breaches.push(format!("{operation}: {}", fault.message));
    }
    done
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterException", message)
}

fn missing(what: &str) -> Fault {
    Fault::new("ResourceNotFoundException", format!("The specified log {what} does not exist."))
}

fn text<'a>(request: &'a Value, field: &str) -> Result<&'a str, Fault> {
    request[field].as_str().ok_or_else(|| invalid(format!("{field} is missing")))
}

fn group_name(request: &Value) -> Result<&str, Fault> {
    let name = text(request, "logGroupName")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
    if !(1..=512).contains(&name.len()) || !name.chars().all(fits) {
        return Err(invalid(format!("logGroupName {name:?}")));
    }
    Ok(name)
}

fn stream_name(request: &Value) -> Result<&str, Fault> {
    let name = text(request, "logStreamName")?;
    if !(1..=512).contains(&name.chars().count()) || name.contains([':', '*']) {
        return Err(invalid(format!("logStreamName {name:?}")));
    }
    Ok(name)
}

fn create_group(state: &mut State, request: &Value) -> Result<Value, Fault> {
    let name = group_name(request)?;
    if state.groups.contains_key(name) {
        return Err(Fault::new("ResourceAlreadyExistsException", "The specified log group already exists"));
    }
    state.groups.insert(name.to_owned(), Group::default());
    Ok(json!({}))
}

fn create_stream(state: &mut State, request: &Value) -> Result<Value, Fault> {
    let (group, stream) = (group_name(request)?, stream_name(request)?);
    let streams = &mut state.groups.get_mut(group).ok_or_else(|| missing("group"))?.streams;
    if streams.contains_key(stream) {
        return Err(Fault::new("ResourceAlreadyExistsException", "The specified log stream already exists"));
    }
    streams.insert(stream.to_owned(), Vec::new());
    Ok(json!({}))
}

fn put_retention(state: &mut State, request: &Value) -> Result<Value, Fault> {
    let name = group_name(request)?;
    let days = request["retentionInDays"].as_i64().filter(|days| RETENTIONS.contains(days));
    let days = days.ok_or_else(|| invalid("retentionInDays"))?;
    state.groups.get_mut(name).ok_or_else(|| missing("group"))?.retention = Some(days);
    Ok(json!({}))
}

fn describe_groups(state: &State, request: &Value) -> Value {
    let prefix = request["logGroupNamePrefix"].as_str().unwrap_or_default();
    let found = state.groups.iter().filter(|(name, _)| name.starts_with(prefix)).take(50);
    let groups: Vec<Value> = found
        .map(|(name, group)| match group.retention {
            Some(days) => json!({"logGroupName": name, "retentionInDays": days}),
            None => json!({"logGroupName": name}),
        })
        .collect();
    json!({"logGroups": groups})
}

fn put_events(state: &mut State, request: &Value) -> Result<Value, Fault> {
    let (group, stream) = (group_name(request)?, stream_name(request)?);
    let list = request["logEvents"].as_array().ok_or_else(|| invalid("logEvents is missing"))?;
    if !(1..=MOST_EVENTS).contains(&list.len()) {
        return Err(invalid(format!("{} events", list.len())));
    }
    let mut events = Vec::with_capacity(list.len());
    let (mut bytes, mut last) = (0, i64::MIN);
    for event in list {
        let time = event["timestamp"].as_i64().filter(|time| *time >= 0).ok_or_else(|| invalid("timestamp"))?;
        let message = text(event, "message")?;
        if message.is_empty() {
            return Err(invalid("an empty message"));
        }
        bytes += message.len() + 26;
        if time < last {
            return Err(invalid("Log events in a single PutLogEvents request must be in chronological order."));
        }
        last = time;
        events.push(Event { time, message: message.to_owned() });
    }
    if bytes > MOST_BYTES {
        return Err(invalid(format!("Upload too large: {bytes} bytes exceeds limit of {MOST_BYTES}")));
    }
    let now = jiff::Timestamp::now().as_millisecond() + state.ahead;
    let stored = state.groups.get_mut(group).ok_or_else(|| missing("group"))?;
    let oldest_kept = stored.retention.map_or(i64::MIN, |days| now - days * DAY);
    let kept = stored.streams.get_mut(stream).ok_or_else(|| missing("stream"))?;
    let too_old = events.iter().take_while(|event| event.time < now - 14 * DAY).count();
    let expired = events.iter().take_while(|event| event.time < oldest_kept).count();
    let too_new = events.iter().position(|event| event.time > now + 2 * HOUR).unwrap_or(events.len());
    let valid = &events[too_old.max(expired).min(too_new)..too_new];
    if let (Some(first), Some(last)) = (valid.first(), valid.last())
        && last.time - first.time > DAY
    {
        return Err(invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    kept.extend_from_slice(valid);
    state.puts += 1;
    let mut rejected = serde_json::Map::new();
    if too_old > 0 {
        rejected.insert("tooOldLogEventEndIndex".to_owned(), json!(too_old));
    }
    if expired > 0 {
        rejected.insert("expiredLogEventEndIndex".to_owned(), json!(expired));
    }
    if too_new < events.len() {
        rejected.insert("tooNewLogEventStartIndex".to_owned(), json!(too_new));
    }
    Ok(if rejected.is_empty() { json!({}) } else { json!({"rejectedLogEventsInfo": rejected}) })
}

fn get_events(state: &State, request: &Value) -> Result<Value, Fault> {
    let group = state.groups.get(group_name(request)?).ok_or_else(|| missing("group"))?;
    let mut events = group.streams.get(stream_name(request)?).ok_or_else(|| missing("stream"))?.clone();
    events.sort_by_key(|event| event.time);
    let from =
        request["nextToken"].as_str().and_then(|token| token.strip_prefix("f/")?.parse().ok()).unwrap_or(0_usize);
    let page: Vec<Value> = events
        .iter()
        .skip(from)
        .take(MOST_EVENTS)
        .map(|event| json!({"timestamp": event.time, "message": event.message, "ingestionTime": event.time}))
        .collect();
    let next = from + page.len();
    Ok(json!({"events": page, "nextForwardToken": format!("f/{next}"), "nextBackwardToken": "b/0"}))
}

/// Reads a log stream through the service's own operation, as a reader of the logs would.
pub fn read(address: SocketAddr, group: &str, stream: &str) -> Result<Vec<Event>> {
    let mut all = Vec::new();
    let mut token = Value::Null;
    loop {
        let mut request =
            json!({"logGroupName": group, "logStreamName": stream, "startFromHead": true, "limit": MOST_EVENTS});
        if !token.is_null() {
            request["nextToken"] = token.clone();
        }
        let answer = post(address, "GetLogEvents", &request)?;
        let page = answer["events"].as_array().context("no events in the answer")?;
        for event in page {
            let time = event["timestamp"].as_i64().context("an event without time")?;
            let message = event["message"].as_str().context("an event without message")?.to_owned();
            all.push(Event { time, message });
        }
        if page.is_empty() || answer["nextForwardToken"] == token {
            return Ok(all);
        }
        token = answer["nextForwardToken"].clone();
    }
}

/// Asks a service that checks no signature.
pub fn post(address: SocketAddr, operation: &str, request: &Value) -> Result<Value> {
    let headers = format!(
        "X-Amz-Target: Logs_20140328.{operation}\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=reader/20260101/eu-central-1/logs/aws4_request, SignedHeaders=host, Signature=0\r\n"
    );
    let caller = Caller::new(address).with(&headers);
    let (status, body) = caller.call("POST", "/", "application/x-amz-json-1.1", &request.to_string())?;
    ensure!(status == 200, "{operation} answered {status}: {body}");
    Ok(serde_json::from_str(&body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(times: &[i64]) -> Value {
        let list: Vec<Value> = times.iter().map(|time| json!({"timestamp": time, "message": "x"})).collect();
        json!({"logGroupName": "g", "logStreamName": "s", "logEvents": list})
    }

    #[test]
    fn the_double_is_strict() {
        let mut state = State::default();
        let named = json!({"logGroupName": "g", "logStreamName": "s"});
        let now = jiff::Timestamp::now().as_millisecond();
        let kind = |done: Result<Value, Fault>| done.err().map(|fault| fault.kind);
        assert_eq!(kind(put_events(&mut state, &events(&[now]))), Some("ResourceNotFoundException"));
        assert!(create_group(&mut state, &named).is_ok() && create_stream(&mut state, &named).is_ok());
        assert_eq!(kind(create_group(&mut state, &named)), Some("ResourceAlreadyExistsException"));
        let mut refused = |times: &[i64]| kind(put_events(&mut state, &events(times)));
        assert_eq!(refused(&[]), Some("InvalidParameterException"));
        assert_eq!(refused(&[now, now - 1]), Some("InvalidParameterException"));
        assert_eq!(refused(&[now - DAY - 1, now]), Some("InvalidParameterException"));
        assert_eq!(refused(&vec![now; 10_001]), Some("InvalidParameterException"));
        assert_eq!(refused(&[now - DAY, now]), None);
        let long = "x".repeat(MOST_BYTES - 25);
        let large =
            json!({"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": now, "message": long}]});
        assert_eq!(kind(put_events(&mut state, &large)), Some("InvalidParameterException"));
        let mixed = put_events(&mut state, &events(&[0, 1, now, now + 3 * HOUR])).ok().unwrap();
        assert_eq!(mixed["rejectedLogEventsInfo"], json!({"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 3}));
        state.groups.get_mut("g").unwrap().retention = Some(1);
        let expired = put_events(&mut state, &events(&[now - 2 * DAY, now])).ok().unwrap();
        assert_eq!(expired["rejectedLogEventsInfo"], json!({"expiredLogEventEndIndex": 1}));
        assert_eq!(state.groups["g"].streams["s"].len(), 4);
    }
}
