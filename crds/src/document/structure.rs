//! Holds a document against the schema: types, bounds, missing and unknown fields, each with its line.

use std::collections::HashMap;

use serde_json::Value;

use super::path;
use super::shape;
use super::suggest::nearest;
use super::tree::{Kind, Node};
use crate::finding::Finding;

/// Characters of a map's key: a label with its prefix.
const KEY_LENGTH: usize = 317;

/// Marks in a schema what has been checked already.
pub(super) const CHECKED: &str = "checked";

/// What the walk found.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) findings: Vec<Finding>,
    /// Where each place stands.
    pub(super) lines: HashMap<String, usize>,
}

impl Walk {
    /// Checks `node`, which stands at `path`.
    pub(super) fn check(&mut self, node: &Node, schema: &Value, at: &str, line: usize) {
        self.lines.insert(at.to_owned(), line);
        if schema["x-waybill"] == CHECKED {
            return;
        }
        if let Kind::Scalar(value) = &node.kind
            && shape::is_text_or_number(schema)
        {
            if let Some((message, remedy)) = shape::text_or_number(value, schema) {
                self.error(at, line, message, remedy);
            }
            return;
        }
        match (schema["type"].as_str(), &node.kind) {
            (Some("object"), Kind::Mapping(_)) => self.object(node, schema, at, line),
            (Some("array"), Kind::Sequence(_)) => self.array(node, schema, at, line),
            (Some("string" | "integer" | "boolean"), Kind::Scalar(value)) => {
                if let Some((message, remedy)) = shape::scalar(value, schema) {
                    self.error(at, line, message, remedy);
                }
            }
            _ => {
                let (message, remedy) = shape::wrong_type(node, schema);
                self.error(at, line, message, remedy);
            }
        }
    }

    fn object(&mut self, node: &Node, schema: &Value, at: &str, line: usize) {
        let properties = schema["properties"].as_object();
        let required = schema["required"].as_array();
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|required| required == name));
        let additional = schema.get("additionalProperties").filter(|additional| additional.is_object());
        for entry in node.entries() {
            let place = path::member(at, &entry.key);
            let known = properties.and_then(|properties| properties.get(&entry.key)).or(additional);
            let Some(known) = known else {
                let names = properties.map(|properties| properties.keys()).into_iter().flatten().map(String::as_str);
                self.unknown_field(&entry.key, names, &place, entry.line);
                continue;
            };
            if additional.is_some() && entry.key.chars().count() > KEY_LENGTH {
                self.error(
                    &place,
                    entry.line,
                    format!("the key is longer than {KEY_LENGTH} characters"),
                    "shorten it".to_owned(),
                );
            }
            if entry.value.is_null() {
                if additional.is_some() {
                    let (message, remedy) = shape::wrong_type(&entry.value, known);
                    self.error(&place, entry.line, message, remedy);
                } else if known["default"].is_null() && !is_required(&entry.key) {
                    let message = "this is nothing; here it counts as absent, and an API server refuses it";
                    self.findings.push(Finding::warning(&place, message, "leave the field out").at(entry.line));
                }
                continue;
            }
            self.check(&entry.value, known, &place, entry.line);
        }
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if node.get(name).is_none_or(Node::is_null) {
                let remedy = shape::how_to_write(name, &schema["properties"][name]);
                self.error(&path::member(at, name), line, "this is missing".to_owned(), remedy);
            }
        }
        if let Some(most) = schema["maxProperties"].as_u64()
            && node.entries().len() as u64 > most
        {
            self.error(at, line, format!("more than {most} entries"), format!("write at most {most}"));
        }
    }

    fn array(&mut self, node: &Node, schema: &Value, at: &str, line: usize) {
        self.count(node.items().len(), schema, at, line);
        for (index, item) in node.items().iter().enumerate() {
            self.check(item, &schema["items"], &path::index(at, index), item.line);
        }
    }

    /// Checks how many items a list has.
    pub(super) fn count(&mut self, count: usize, schema: &Value, at: &str, line: usize) {
        if let Some(least) = schema["minItems"].as_u64()
            && (count as u64) < least
        {
            self.error(at, line, "the list is empty".to_owned(), format!("write at least {least} entry"));
        }
        if let Some(most) = schema["maxItems"].as_u64()
            && count as u64 > most
        {
            self.error(
                at,
                line,
                format!("the list has {count} entries, more than {most}"),
                format!("write at most {most}"),
            );
        }
    }

    /// Reports a field that no release so far knows, and what it may have been meant for.
    pub(super) fn unknown_field<'a>(&mut self, key: &str, known: impl Iterator<Item = &'a str>, at: &str, line: usize) {
        let remedy = match nearest(key, known) {
            Some(name) => format!("did you mean {name}?"),
            None => "leave it out, or run a release that knows it".to_owned(),
        };
        self.lines.insert(at.to_owned(), line);
        self.findings.push(Finding::warning(at, "not known to this release, ignored", remedy).at(line));
    }

    pub(super) fn error(&mut self, at: &str, line: usize, message: String, remedy: String) {
        self.findings.push(Finding::error(at, message, remedy).at(line));
    }

    /// The line of a place, or of the innermost place around it that is in the text.
    pub(super) fn line_of(&self, at: &str) -> Option<usize> {
        let mut at = at;
        loop {
            if let Some(line) = self.lines.get(at) {
                return Some(*line);
            }
            at = path::parent(at)?;
        }
    }
}
