//! The parts of a spec, each read on its own, so that a mistake in one hides none in another.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::path;
use super::shape::shown;
use super::structure::{CHECKED, Walk};
use super::suggest::nearest;
use super::tree::{Kind, Node};
use crate::finding::{Finding, Severity};
use crate::format::Format;
use crate::policy::AuditPolicySpec;
use crate::sink::SinkType;
use crate::validate::Places;

const SOURCE_TYPES: [&str; 2] = ["File", "Syslog"];

/// A spec as far as it could be read, and where its entries stand in the text.
pub(super) struct Entries {
    pub(super) spec: AuditPolicySpec,
    pub(super) places: Places,
}

/// Reads a spec, which is an object.
pub(super) fn read(walk: &mut Walk, spec: &Node, schema: &Value, line: usize) -> Entries {
    let mut places = Places::default();
    let parts = Parts { node: spec, schema, line };

    let sources = parts.list(walk, "sources", unknown_source);
    places.other_sources = sources.others;
    places.sources = sources.indices;
    let sinks = parts.list(walk, "sinks", unknown_sink);
    places.sinks = sinks.indices;

    parts.rest(walk);
    let spec = AuditPolicySpec {
        kill_switch: part(walk, spec, "killSwitch").unwrap_or_default(),
        limits: part(walk, spec, "limits").unwrap_or_default(),
        agent: part(walk, spec, "agent").unwrap_or_default(),
        sources: sources.entries,
        sinks: sinks.entries,
    };
    Entries { spec, places }
}

struct Parts<'a> {
    node: &'a Node,
    schema: &'a Value,
    line: usize,
}

struct List<T> {
    entries: Vec<T>,
    /// Where each of `entries` stands in the text.
    indices: Vec<usize>,
    /// Names of entries that are not among `entries`.
    others: Vec<String>,
}

impl Parts<'_> {
    /// Reads a list whose entries have names.
    fn list<T: DeserializeOwned>(
        &self,
        walk: &mut Walk,
        field: &str,
        unknown: fn(&Node) -> Option<Unknown>,
    ) -> List<T> {
        let mut list = List { entries: Vec::new(), indices: Vec::new(), others: Vec::new() };
        let Some(entry) = self.node.entries().iter().find(|entry| entry.key == field) else {
            return list;
        };
        let at = path::member("spec", field);
        walk.lines.insert(at.clone(), entry.line);
        let schema = &self.schema["properties"][field];
        let items = entry.value.items();
        if let Kind::Sequence(_) = entry.value.kind {
            walk.count(items.len(), schema, &at, entry.line);
        }
        let mut names: Vec<(&str, usize)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = path::index(&at, index);
            let name = item.get("name").and_then(Node::as_str);
            if let Some(name) = name {
                match names.iter().find(|(other, _)| *other == name) {
                    Some((_, first)) => walk.error(
                        &path::member(&place, "name"),
                        item.get("name").map_or(item.line, |name| name.line),
                        format!("{} is the name of {at}[{first}] too", shown(&Value::from(name))),
                        "give each entry a name of its own".to_owned(),
                    ),
                    None => names.push((name, index)),
                }
            }
            let read = match unknown(item) {
                Some(unknown) => {
                    unknown.report(walk, &place);
                    None
                }
                None => one(walk, item, &schema["items"], &place),
            };
            match read {
                Some(entry) => {
                    list.entries.push(entry);
                    list.indices.push(index);
                }
                None => list.others.extend(name.map(str::to_owned)),
            }
        }
        list
    }

    /// Checks everything beside the entries of lists.
    fn rest(&self, walk: &mut Walk) {
        let mut schema = self.schema.clone();
        for field in ["sources", "sinks"] {
            // Their entries have been checked: only that they are lists is left.
            schema["properties"][field] = serde_json::json!({"type": "array", "items": {"x-waybill": CHECKED}});
        }
        walk.check(self.node, &schema, "spec", self.line);
    }
}

/// Reads one entry, if nothing in it is wrong.
fn one<T: DeserializeOwned>(walk: &mut Walk, node: &Node, schema: &Value, at: &str) -> Option<T> {
    let errors = |walk: &Walk| walk.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let before = errors(walk);
    walk.check(node, schema, at, node.line);
    if errors(walk) > before {
        return None;
    }
    deserialize(walk, node.to_value(), at, node.line)
}

/// Reads one of the parts that have a default.
fn part<T: DeserializeOwned>(walk: &mut Walk, spec: &Node, field: &str) -> Option<T> {
    let entry = spec.entries().iter().find(|entry| entry.key == field && !entry.value.is_null())?;
    let at = path::member("spec", field);
    let inside = |finding: &Finding| finding.severity == Severity::Error && finding.path.starts_with(&at);
    if walk.findings.iter().any(inside) {
        return None;
    }
    deserialize(walk, entry.value.to_value(), &at, entry.line)
}

fn deserialize<T: DeserializeOwned>(walk: &mut Walk, value: Value, at: &str, line: usize) -> Option<T> {
    match serde_json::from_value(value) {
        Ok(value) => Some(value),
        Err(error) => {
            walk.error(at, line, error.to_string(), "compare with the documentation of the field".to_owned());
            None
        }
    }
}

/// A kind of source or sink that this release does not know.
struct Unknown {
    field: &'static str,
    value: String,
    line: usize,
    near: Option<&'static str>,
}

impl Unknown {
    fn of(node: &Node, field: &'static str, known: impl Iterator<Item = &'static str> + Clone) -> Option<Self> {
        let entry = node.entries().iter().find(|entry| entry.key == field)?;
        let value = entry.value.as_str()?;
        if known.clone().any(|known| known == value) {
            return None;
        }
        Some(Self { field, value: shown(&Value::from(value)), line: entry.line, near: nearest(value, known) })
    }

    fn report(self, walk: &mut Walk, at: &str) {
        let Self { field, value, line, near } = self;
        let remedy = match near {
            Some(near) => format!("did you mean {near}?"),
            None => "run a release that knows it".to_owned(),
        };
        let message = format!("{value} is not known to this release; the entry is left out, the others run");
        walk.findings.push(Finding::new(Severity::Skipped, path::member(at, field), message, remedy).at(line));
    }
}

fn unknown_source(node: &Node) -> Option<Unknown> {
    Unknown::of(node, "type", SOURCE_TYPES.into_iter())
        .or_else(|| Unknown::of(node, "format", Format::ALL.into_iter().map(Format::name)))
}

fn unknown_sink(node: &Node) -> Option<Unknown> {
    Unknown::of(node, "type", SinkType::ALL.into_iter().map(SinkType::name))
}
