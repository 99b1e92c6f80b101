//! Writes a canonical record: Elastic Common Schema 9 as one line of nested JSON.
//!
//! What does not change within a stream is rendered once. The rest is copied from slices of the line; the only work for a byte
//! of text is the question whether it has to be escaped.

use super::object::{Object, key, list, string};
use super::record::{Field, Record, Shape, write_id_tail};
use super::settings::Outcome;
use super::time::Stamp;
use super::{Frame, StreamInfo, address, base, escape};

/// The schema's version, as `ecs.version`.
const VERSION: &str = "9.0.0";

/// What all records of a stream have in common.
#[derive(Debug)]
struct Constants {
    /// The rest of `log`, and the members from `host` up to and including `waybill.id`'s stream part.
    tail: Vec<u8>,
}

impl Constants {
    /// `orchestrator` says whether the pod's is written: a format may say one of its own.
    fn new(info: &StreamInfo, orchestrator: bool) -> Self {
        let mut tail = Vec::with_capacity(512);
        let out = &mut tail;
        key(out, "file");
        out.extend_from_slice(b"{\"path\":");
        string(out, &info.path);
        out.extend_from_slice(b"}},\"host\":{\"hostname\":");
        string(out, info.host.as_bytes());
        out.push(b'}');
        if let Some(pod) = &info.kubernetes {
            if orchestrator {
                out.extend_from_slice(b",\"orchestrator\":{\"type\":\"kubernetes\",\"namespace\":");
                string(out, pod.namespace.as_bytes());
                out.extend_from_slice(b",\"resource\":{\"type\":\"pod\",\"name\":");
                string(out, pod.pod.as_bytes());
                out.extend_from_slice(b",\"id\":");
                string(out, pod.uid.as_bytes());
                out.extend_from_slice(b"}}");
            }
            out.extend_from_slice(b",\"container\":{\"name\":");
            string(out, pod.container.as_bytes());
            out.extend_from_slice(b"},\"kubernetes\":{\"namespace\":");
            string(out, pod.namespace.as_bytes());
            out.extend_from_slice(b",\"pod\":{\"name\":");
            string(out, pod.pod.as_bytes());
            out.extend_from_slice(b",\"uid\":");
            string(out, pod.uid.as_bytes());
            out.extend_from_slice(b"},\"container\":{\"name\":");
            string(out, pod.container.as_bytes());
            out.extend_from_slice(b"}}");
        }
        out.extend_from_slice(b",\"waybill\":{\"policy\":");
        string(out, info.policy.as_bytes());
        out.extend_from_slice(b",\"source\":");
        string(out, info.source.as_bytes());
        if !info.captures.is_empty() {
            let mut captures = Object::member_after(out, "captures");
            for (index, (name, value)) in info.captures.iter().enumerate() {
                if info.captures[..index].iter().all(|(earlier, _)| earlier != name) {
                    string(captures.escaped_key(name.as_bytes()), value.as_bytes());
                }
            }
        }
        out.extend_from_slice(b",\"stream\":\"");
        base::hex(out, &info.stream);
        out.extend_from_slice(b"\",\"id\":\"");
        base::hex(out, &info.stream);
        Self { tail }
    }
}

/// What is written beside the record.
pub(super) struct Line<'a> {
    pub(super) frame: &'a Frame<'a>,
    /// The line, if it is kept: redacted if need be.
    pub(super) original: Option<&'a [u8]>,
    /// Short hashes of what was redacted.
    pub(super) secrets: &'a [u32],
    /// Further members of the record: `,"name":…`, ready to write.
    pub(super) members: &'a [u8],
    /// Further members of `waybill`: `,"name":…`, ready to write.
    pub(super) detail: &'a [u8],
}

/// Writes the records of one stream.
#[derive(Debug)]
pub(super) struct Writer {
    constants: Constants,
    heads: Heads,
    stamp: Stamp,
}

impl Writer {
    pub(super) fn new(info: &StreamInfo) -> Self {
        Self { constants: Constants::new(info, true), heads: Heads::default(), stamp: Stamp::new() }
    }

    /// For a format that says what each record is about.
    pub(super) fn without_orchestrator(info: &StreamInfo) -> Self {
        Self { constants: Constants::new(info, false), ..Self::new(info) }
    }

    /// Appends the record and a newline.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, time: i64, record: &Record<'_>, line: &Line<'_>) {
        out.reserve(1024 + self.constants.tail.len() + line.detail.len() + 2 * line.frame.text.len());
        out.extend_from_slice(b"{\"@timestamp\":\"");
        self.stamp.write(out, time);
        self.heads.write(out, record);
        let valid = event(out, record, line.original);
        out.push(b'}');
        objects(out, record);
        out.extend_from_slice(line.members);
        log(out, record);
        out.extend_from_slice(&self.constants.tail);
        waybill(out, record, line);
        if !valid && let Some(original) = line.original {
            out.extend_from_slice(b",\"original_base64\":\"");
            base::base64(out, original);
            out.push(b'"');
        }
        out.extend_from_slice(b"}}\n");
    }
}

/// The beginnings of `event`, rendered once for each combination of what formats say.
#[derive(Debug, Default)]
struct Heads(Vec<(Head, Vec<u8>)>);

/// What a beginning depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    outcome: Option<Outcome>,
    dataset: &'static str,
    types: &'static str,
    category: &'static str,
    kind: &'static str,
    module: &'static str,
}

impl Heads {
    fn write(&mut self, out: &mut Vec<u8>, record: &Record<'_>) {
        let &Record { outcome, dataset, types, category, kind, module, .. } = record;
        let head = Head { outcome, dataset, types, category, kind, module };
        if let Some((_, text)) = self.0.iter().find(|(known, _)| *known == head) {
            out.extend_from_slice(text);
            return;
        }
        let text = head.render();
        out.extend_from_slice(&text);
        self.0.push((head, text));
    }
}

impl Head {
    fn render(&self) -> Vec<u8> {
        let mut text = format!("\",\"ecs\":{{\"version\":\"{VERSION}\"}},\"event\":{{\"kind\":\"{}\"", self.kind);
        let mut member = |name: &str, value: String| {
            if !value.is_empty() {
                text = format!("{text},\"{name}\":{value}");
            }
        };
        let listed = |items: &str| if items.is_empty() { String::new() } else { format!("[{items}]") };
        let (outcome, decision) = match self.outcome {
            None => ("", ""),
            Some(Outcome::Success) => ("\"success\"", ""),
            Some(Outcome::Allow) => ("\"success\"", "\"allowed\""),
            Some(Outcome::Deny) => ("\"failure\"", "\"denied\""),
            Some(Outcome::Error) => ("\"failure\"", "\"error\""),
        };
        let separator = if self.types.is_empty() || decision.is_empty() { "" } else { "," };
        member("category", listed(self.category));
        member("type", listed(&format!("{}{separator}{decision}", self.types)));
        member("outcome", outcome.to_owned());
        member("module", format!("\"{}\"", self.module));
        member("dataset", format!("\"{}\"", self.dataset));
        text.into_bytes()
    }
}

/// Writes the rest of `event`. Says whether the original was valid UTF-8.
fn event(out: &mut Vec<u8>, record: &Record<'_>, original: Option<&[u8]>) -> bool {
    if let Some(id) = record.event_id {
        out.extend_from_slice(b",\"id\":\"");
        base::hex(out, &id.to_be_bytes());
        out.push(b'"');
    }
    if let Some(nanos) = record.duration {
        out.extend_from_slice(b",\"duration\":");
        base::decimal(out, nanos);
    }
    for field in [Field::EventAction, Field::EventCode, Field::EventId, Field::EventReason] {
        if let Some(value) = record.get(field) {
            out.extend_from_slice(field.place().text.as_bytes());
            text(out, value, record.escaped);
        }
    }
    let mut valid = true;
    if let Some(original) = original {
        out.extend_from_slice(b",\"original\":\"");
        valid = escape::text(out, original);
        out.push(b'"');
    }
    valid
}

/// Writes the objects between `event` and `log`.
fn objects(out: &mut Vec<u8>, record: &Record<'_>) {
    let mut open: &[&str] = &[];
    for (field, value) in record.fields() {
        let place = field.place();
        let lead = if place.shape == Shape::Text { place.text } else { place.number }.as_bytes();
        if open == place.parents {
            out.extend_from_slice(lead);
        } else {
            enter(out, open, place.parents, lead);
            open = place.parents;
        }
        match place.shape {
            Shape::Text => text(out, value, record.escaped),
            Shape::Number => out.extend_from_slice(value),
            Shape::Arguments => list(out, value.split(|byte| *byte == 0)),
            Shape::Mac => mac(out, value),
            Shape::IpList => {
                let addresses = value.split(|byte| matches!(byte, b',' | b' ' | b'[' | b']'));
                list(out, addresses.filter(|address| address::Version::of(address).is_some()));
            }
        }
    }
    for _ in open {
        out.push(b'}');
    }
}

/// Writes twelve digits as the schema wants a hardware address.
fn mac(out: &mut Vec<u8>, digits: &[u8]) {
    for (index, pair) in digits.chunks(2).enumerate() {
        out.push(if index == 0 { b'"' } else { b'-' });
        out.extend(pair.iter().map(u8::to_ascii_uppercase));
    }
    out.push(b'"');
}

/// Leaves the objects that are open and enters others. Something always stands before: `event` outside, a sibling inside.
fn enter(out: &mut Vec<u8>, open: &[&str], parents: &[&str], lead: &[u8]) {
    let shared = open.iter().zip(parents).take_while(|(left, right)| left == right).count();
    for _ in shared..open.len() {
        out.push(b'}');
    }
    if shared == parents.len() {
        out.extend_from_slice(lead);
        return;
    }
    out.push(b',');
    for parent in &parents[shared..] {
        out.extend_from_slice(parent.as_bytes());
    }
    out.extend_from_slice(&lead[1..]);
}

/// Writes `log` up to where the constants go on.
fn log(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(b",\"log\":{");
    for field in [Field::LogLevel, Field::LogLogger] {
        if let Some(value) = record.get(field) {
            out.extend_from_slice(&field.place().text.as_bytes()[1..]);
            text(out, value, record.escaped);
            out.push(b',');
        }
    }
    syslog(out, record);
}

/// Writes `log.syslog` and a comma, if there is any of it.
fn syslog(out: &mut Vec<u8>, record: &Record<'_>) {
    let mut first = true;
    for field in [Field::SyslogHostname, Field::SyslogAppname] {
        if let Some(value) = record.get(field) {
            out.extend_from_slice(if first { b"\"syslog\":{" } else { b"," });
            first = false;
            out.extend_from_slice(&field.place().text.as_bytes()[1..]);
            text(out, value, record.escaped);
        }
    }
    if !first {
        out.extend_from_slice(b"},");
    }
}

/// Writes the rest of `waybill`, behind the stream part of the id.
fn waybill(out: &mut Vec<u8>, record: &Record<'_>, line: &Line<'_>) {
    let frame = line.frame;
    write_id_tail(out, frame.offset, frame.hash);
    out.extend_from_slice(b"\",\"seq\":");
    base::decimal(out, frame.seq);
    out.extend_from_slice(b",\"offset\":");
    base::decimal(out, frame.offset);
    if let Some(outcome) = record.outcome {
        out.extend_from_slice(b",\"outcome\":\"");
        out.extend_from_slice(outcome.as_str().as_bytes());
        out.push(b'"');
    }
    if !record.parsed {
        out.extend_from_slice(b",\"parsed\":false");
    }
    if frame.partial {
        out.extend_from_slice(b",\"partial\":true");
    }
    if let Some(fragment) = frame.fragment {
        out.extend_from_slice(b",\"fragment\":{\"line\":");
        base::decimal(out, fragment.line);
        out.extend_from_slice(b",\"index\":");
        base::decimal(out, fragment.index);
        out.extend_from_slice(if fragment.last { b",\"last\":true}" } else { b",\"last\":false}" });
    }
    if let Some(envelope) = frame.envelope {
        out.extend_from_slice(b",\"output\":");
        string(out, envelope.output);
    }
    if record.ambiguous {
        out.extend_from_slice(b",\"time_ambiguous\":true");
    }
    for (name, reason) in [(&b",\"suspect\":\""[..], record.suspect), (b",\"integrity\":\"", record.integrity)] {
        if let Some(reason) = reason {
            out.extend_from_slice(name);
            out.extend_from_slice(reason.as_bytes());
            out.push(b'"');
        }
    }
    if !line.secrets.is_empty() {
        out.extend_from_slice(b",\"redacted\":[");
        for (index, secret) in line.secrets.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
            base::hex(out, &secret.to_be_bytes()[1..]);
            out.push(b'"');
        }
        out.push(b']');
    }
    out.extend_from_slice(line.detail);
}

/// Writes text behind its opening quote.
fn text(out: &mut Vec<u8>, value: &[u8], escaped: bool) {
    if escaped {
        escape::inner(out, value);
    } else {
        escape::text(out, value);
    }
    out.push(b'"');
}
