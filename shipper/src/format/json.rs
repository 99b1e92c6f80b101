//! Any JSONL, with a field map.
//!
//! A mapped field is one that the canonical record has, or any other dotted name outside of the objects that Waybill writes
//! itself. Members that are mapped as a whole leave; the others are kept in `waybill.json`, up to a bound.

use super::members::{Members, elements, member, value};
use super::object::{Object, key};
use super::record::{Field, Record};
use super::scan::{Type, Value};
use super::settings::{Error, JsonMap, Outcome};
use super::time::{Clock, Moment, epoch};

/// Objects that are Waybill's to write; of their fields only those of [`Field`] can be mapped.
const RESERVED: [&str; 20] = [
    "@timestamp",
    "ecs",
    "event",
    "source",
    "destination",
    "network",
    "user",
    "url",
    "http",
    "observer",
    "dns",
    "rule",
    "trace",
    "service",
    "log",
    "host",
    "error",
    "message",
    "waybill",
    "",
];
/// Written by Waybill for streams of a pod.
const RESERVED_POD: [&str; 3] = ["orchestrator", "container", "kubernetes"];

/// A field map, made ready.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    time: Option<Path>,
    outcome: Option<Path>,
    fields: Vec<(Field, Path)>,
    /// Other fields, sorted by their segments.
    others: Vec<(Vec<String>, Path)>,
}

impl Mapping {
    pub(super) fn new(map: Option<&JsonMap>) -> Result<Self, Error> {
        let Some(map) = map else { return Ok(Self::default()) };
        let path = |text: &Option<String>| text.as_deref().map(Path::new).transpose();
        let mut mapping = Self { time: path(&map.time)?, outcome: path(&map.outcome)?, ..Self::default() };
        for (name, text) in &map.fields {
            let path = Path::new(text)?;
            if let Some(field) = Field::named(name) {
                if field == Field::DnsResolvedIp {
                    return Err(Error::ReservedField(name.clone()));
                }
                mapping.fields.push((field, path));
                continue;
            }
            let segments: Vec<String> = name.split('.').map(str::to_owned).collect();
            if RESERVED.iter().chain(&RESERVED_POD).any(|reserved| segments[0] == *reserved) {
                return Err(Error::ReservedField(name.clone()));
            }
            let plain = |segment: &String| {
                !segment.is_empty()
                    && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'@'))
            };
            if !segments.iter().all(plain) {
                return Err(Error::InvalidField(name.clone()));
            }
            mapping.others.push((segments, path));
        }
        mapping.others.sort_by(|left, right| left.0.cmp(&right.0));
        if let Some(pair) = mapping.others.windows(2).find(|pair| pair[1].0.starts_with(&pair[0].0)) {
            return Err(Error::InvalidField(pair[1].0.join(".")));
        }
        Ok(mapping)
    }
}

/// `$.a.b[0]`
#[derive(Debug)]
struct Path(Vec<Step>);

#[derive(Debug)]
enum Step {
    Name(Vec<u8>),
    Index(usize),
}

impl Path {
    fn new(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidPath(text.to_owned());
        let mut rest = text.strip_prefix('$').ok_or_else(invalid)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(behind) = rest.strip_prefix('.') {
                let end = behind.find(['.', '[']).unwrap_or(behind.len());
                if end == 0 {
                    return Err(invalid());
                }
                steps.push(Step::Name(behind.as_bytes()[..end].to_vec()));
                rest = &behind[end..];
            } else if let Some((inside, behind)) = rest.strip_prefix('[').and_then(|behind| behind.split_once(']')) {
                steps.push(match inside.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')) {
                    Some(name) => Step::Name(name.as_bytes().to_vec()),
                    None => Step::Index(inside.parse().map_err(|_| invalid())?),
                });
                rest = behind;
            } else {
                return Err(invalid());
            }
        }
        // The line is an object.
        if matches!(steps.first(), Some(Step::Name(_))) { Ok(Self(steps)) } else { Err(invalid()) }
    }

    /// The value at the end of the path, unless it is null.
    fn find(&self, text: &[u8], members: &mut Members) -> Option<Value> {
        let (Step::Name(first), steps) = self.0.split_first()? else { return None };
        let mut found = members.get(text, first)?.clone();
        for step in steps {
            found = match step {
                Step::Name(name) => member(text, found.span.start, name)?,
                Step::Index(index) => elements(text, found.span.start).nth(*index)?,
            };
        }
        if steps.is_empty() {
            members.take(text, first);
        }
        (found.kind != Type::Null).then_some(found)
    }

    fn give_back(&self, text: &[u8], members: &mut Members) {
        if let [Step::Name(name)] = self.0.as_slice() {
            members.give_back(text, name);
        }
    }
}

/// Reads a line. Mapped fields that the record does not have go to `objects`.
pub(super) fn parse<'a>(
    record: &mut Record<'a>,
    line: &'a [u8],
    mapping: &Mapping,
    clock: &mut Clock,
    members: &mut Members,
    objects: &mut Vec<u8>,
    detail: &mut Vec<u8>,
) {
    if members.read(line).is_none() {
        return;
    }
    record.parsed = true;
    record.escaped = true;
    if let Some(path) = &mapping.time {
        match path.find(line, members).and_then(|found| moment(&found, line, clock)) {
            Some(moment) => (record.time, record.ambiguous) = (Some(moment.time), moment.ambiguous),
            None => path.give_back(line, members),
        }
    }
    if let Some(path) = &mapping.outcome {
        record.outcome = path.find(line, members).and_then(|found| outcome(found.inner(line)));
        if record.outcome.is_none() {
            path.give_back(line, members);
        }
    }
    for (field, path) in &mapping.fields {
        let scalar = path.find(line, members).filter(|found| !matches!(found.kind, Type::Object | Type::Array));
        if !scalar.is_some_and(|found| record.set_checked(*field, found.inner(line))) {
            path.give_back(line, members);
        }
    }
    others(&mapping.others, line, members, objects);
    let mut waybill = Object::member_after(detail, "json");
    members.write_unknown(waybill.rest(), line, true);
}

/// Writes the fields that the record does not have, as nested objects.
fn others(fields: &[(Vec<String>, Path)], line: &[u8], members: &mut Members, out: &mut Vec<u8>) {
    let mut open: &[String] = &[];
    for (segments, path) in fields {
        let Some(found) = path.find(line, members) else { continue };
        let Some((name, parents)) = segments.split_last() else { continue };
        let shared = open.iter().zip(parents).take_while(|(left, right)| left == right).count();
        out.extend(std::iter::repeat_n(b'}', open.len() - shared));
        out.push(b',');
        for parent in &parents[shared..] {
            key(out, parent);
            out.push(b'{');
        }
        key(out, name);
        value(out, line, &found);
        open = parents;
    }
    out.extend(std::iter::repeat_n(b'}', open.len()));
}

fn moment(found: &Value, line: &[u8], clock: &mut Clock) -> Option<Moment> {
    let text = found.inner(line);
    match found.kind {
        Type::String => clock
            .rfc3339(text)
            .or_else(|| clock.slashed(text).filter(|(_, read)| *read == text.len()).map(|(moment, _)| moment)),
        _ => None,
    }
    .or_else(|| Some(Moment { time: epoch(text)?, ambiguous: false }))
}

/// The outcome that a program's word stands for.
fn outcome(word: &[u8]) -> Option<Outcome> {
    const WORDS: [(&str, Outcome); 23] = [
        ("success", Outcome::Success),
        ("succeeded", Outcome::Success),
        ("successful", Outcome::Success),
        ("ok", Outcome::Success),
        ("true", Outcome::Success),
        ("allow", Outcome::Allow),
        ("allowed", Outcome::Allow),
        ("accept", Outcome::Allow),
        ("accepted", Outcome::Allow),
        ("grant", Outcome::Allow),
        ("granted", Outcome::Allow),
        ("permit", Outcome::Allow),
        ("permitted", Outcome::Allow),
        ("deny", Outcome::Deny),
        ("denied", Outcome::Deny),
        ("block", Outcome::Deny),
        ("blocked", Outcome::Deny),
        ("reject", Outcome::Deny),
        ("rejected", Outcome::Deny),
        ("error", Outcome::Error),
        ("failed", Outcome::Error),
        ("failure", Outcome::Error),
        ("false", Outcome::Error),
    ];
    WORDS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word)).map(|(_, outcome)| *outcome)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::format::tests::encode;
    use crate::format::{Encoder, Kind, Settings, StreamInfo};

    fn mapped(map: JsonMap) -> Settings {
        Settings { json: Some(map), ..Settings::new(Kind::Json) }
    }

    #[test]
    fn a_line_is_mapped_and_the_rest_is_kept() {
        let fields = [
            ("user.name", "$.who"),
            ("source.ip", "$.client.ip"),
            ("source.port", "$.client.port"),
            ("event.action", "$.verbs[1]"),
            ("process.name", "$.proc"),
            ("process.parent.name", "$.parent"),
            ("labels.a", "$.absent"),
        ];
        let settings = mapped(JsonMap {
            time: Some("$.ts".to_owned()),
            outcome: Some("$.result".to_owned()),
            fields: fields.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
        });
        let line = r#"{"ts":1795298229250,"who":"al\u0022ice","result":"Denied","client":{"ip":"192.0.2.1","port":99999},"verbs":["a","b"],"proc":"x","parent":7,"n":-1.5e3,"t":true,"z":null}"#;
        let (verdict, record) = encode(&settings, line.as_bytes());
        let record = record.unwrap();
        assert!(verdict.parsed);
        assert_eq!(record["@timestamp"], "2026-11-21T21:57:09.250Z");
        assert_eq!((&record["user"]["name"], &record["source"]), (&json!("al\"ice"), &json!({"ip": "192.0.2.1"})));
        assert_eq!((&record["event"]["action"], &record["event"]["type"]), (&json!("b"), &json!(["denied"])));
        assert_eq!(record["process"], json!({"name": "x", "parent": {"name": 7}}));
        assert_eq!(
            record["waybill"]["json"],
            json!({"client": {"ip": "192.0.2.1", "port": 99999}, "verbs": ["a", "b"], "n": -1500.0, "t": true, "z": null})
        );
    }

    #[test]
    fn without_a_map_everything_is_kept() {
        let (_, record) = encode(&mapped(JsonMap::default()), br#" {"a":{"b":[1,"\ud800"]}} "#);
        assert_eq!(record.unwrap()["waybill"]["json"], json!({"a": {"b": [1, "\u{fffd}"]}}));
        let (verdict, _) = encode(&mapped(JsonMap::default()), b"[1]");
        assert!(!verdict.parsed);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let line = json!({"a": "x".repeat(20_000), "b": "y".repeat(20_000), "c": 1}).to_string();
        let (verdict, record) = encode(&mapped(JsonMap::default()), line.as_bytes());
        let kept = &record.unwrap()["waybill"]["json"];
        assert!(verdict.parsed);
        assert_eq!((&kept["b"], &kept["c"], &kept["truncated"]), (&json!(null), &json!(1), &json!(true)));
    }

    #[test]
    fn mistakes_are_found_at_once() {
        let settings = mapped(JsonMap { time: Some("ts".to_owned()), ..JsonMap::default() });
        assert_eq!(Encoder::new(&settings, &StreamInfo::default()).err(), Some(Error::InvalidPath("ts".to_owned())));
    }

    #[test]
    fn paths() {
        for good in ["$.ts", "$.a.b[0]", "$['a.b'].c", "$.a[1][2]"] {
            assert!(Path::new(good).is_ok(), "{good}");
        }
        for bad in ["", "$", "ts", "$ts", "$.", "$..a", "$.a[", "$.a[x]", "$[0]", "$.a.[0]"] {
            assert_eq!(Path::new(bad).unwrap_err(), Error::InvalidPath(bad.to_owned()));
        }
    }

    #[test]
    fn fields_that_cannot_be_mapped() {
        let mapping = |names: &[&str]| {
            let fields = names.iter().map(|name| ((*name).to_owned(), "$.x".to_owned())).collect();
            Mapping::new(Some(&JsonMap { fields, ..JsonMap::default() })).err()
        };
        assert_eq!(mapping(&["user.name", "process.name", "labels.a-b"]), None);
        for name in ["waybill.id", "event.original", "source.nat.ip", "host.name", "@timestamp"] {
            assert_eq!(mapping(&[name]), Some(Error::ReservedField(name.to_owned())));
        }
        assert_eq!(mapping(&["process..name"]), Some(Error::InvalidField("process..name".to_owned())));
        assert_eq!(mapping(&["a.b", "a-b.c", "a.b.c"]), Some(Error::InvalidField("a.b.c".to_owned())));
    }
}
