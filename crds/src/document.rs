//! From text to a policy, with every mistake on its way.

mod entries;
mod path;
mod scalar;
mod shape;
mod structure;
mod suggest;
mod switches;
mod tree;

use std::sync::LazyLock;

use serde_json::Value;

use self::entries::Entries;
use self::structure::Walk;
pub use self::switches::Switches;
use self::tree::{Kind, Node, Tree};
use crate::bounds::{DOCUMENT_BYTES, NAME_LENGTH};
use crate::finding::{Finding, Severity};
use crate::policy::AuditPolicySpec;
use crate::schema;
use crate::validate::judge;

const API_VERSION: &str = "waybill.dev/v1alpha1";
const KIND: &str = "AuditPolicy";

/// The annotation of a document by which the operator says that the API server holds the authors of kill switches against the users
/// who throw them. On a bare host, and without the chart's admission policy, it is not there: whoever writes a document writes any name.
pub const AUTHORS_ANNOTATION: &str = "waybill.dev/switch-authors";
/// The value of [`AUTHORS_ANNOTATION`].
pub const AUTHORS_VERIFIED: &str = "verified";

static SCHEMA: LazyLock<Value> = LazyLock::new(schema::annotated);

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// `metadata.name`; empty if it can't be read.
    pub name: String,
    /// `metadata.generation`, which the API server raises with each change of the spec; `None` on a bare host.
    pub generation: Option<i64>,
    /// Whoever wrote the document vouches for `requestedBy` of its kill switches: see [`AUTHORS_ANNOTATION`].
    pub authors_verified: bool,
    /// The spec, if no finding is an error. Entries that were skipped are not in it, but the lists of sinks may name them.
    pub spec: Option<AuditPolicySpec>,
    /// Everything that is wrong, in the order of the text.
    pub findings: Vec<Finding>,
    /// The kill switches, whatever else is wrong.
    pub switches: Switches,
}

impl Document {
    /// Whether any finding is an error, so that there is no spec.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Reads a policy from YAML or JSON. Never fails: what is wrong is a finding.
///
/// An unknown field is a warning, and a source or sink of an unknown kind is skipped, so that a policy of the next release
/// runs as far as this one can. Anything else that is wrong is an error, and all errors are reported, not the first alone.
///
/// ```
/// let document = waybill_crds::read(
///     "apiVersion: waybill.dev/v1alpha1
/// kind: AuditPolicy
/// metadata: {name: gateways}
/// spec:
///   sources:
///     - {name: access, format: V2RayAccess, file: {paths: [/var/log/v2ray/access.log]}}
///     - {name: error, format: V2RayError, file: {paths: [log/error.log]}}
/// ",
/// );
/// assert_eq!(document.name, "gateways");
/// assert_eq!(document.findings[0].path, "spec.sources[1].file.paths[0]");
/// assert_eq!(document.findings[0].line, Some(7));
/// ```
pub fn read(text: &str) -> Document {
    let kept = &text[..text.floor_char_boundary(DOCUMENT_BYTES)];
    let Tree { root, mut findings } = tree::load(kept);
    if kept.len() < text.len() {
        // The cut makes mistakes of its own.
        findings.clear();
        findings.push(Finding::error(
            "",
            format!("the document has {} bytes", text.len()),
            format!("write at most {DOCUMENT_BYTES}; split the policy"),
        ));
    }
    let Some(root) = root else {
        if findings.is_empty() {
            findings.push(Finding::error("", "the document is empty", "write an AuditPolicy"));
        }
        return Document { findings, ..Document::default() };
    };
    let switches = switches::switches(&root);
    let name = root.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::as_str);
    let name = name.unwrap_or_default().to_owned();
    let generation = root.get("metadata").and_then(|metadata| metadata.get("generation"));
    let generation = generation.and_then(|generation| generation.to_value().as_i64());
    let annotations = root.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let authors = annotations.and_then(|annotations| annotations.get(AUTHORS_ANNOTATION)).and_then(Node::as_str);
    let authors_verified = authors == Some(AUTHORS_VERIFIED);

    let mut walk = Walk { findings, ..Walk::default() };
    // What follows a broken place is not there to be judged.
    let spec = if root.complete { judged(&mut walk, &root) } else { None };
    let mut findings = walk.findings;
    findings.sort_by_key(|finding| finding.line);
    let broken = findings.iter().any(|finding| finding.severity == Severity::Error);
    Document { name, generation, authors_verified, spec: spec.filter(|_| !broken), findings, switches }
}

fn judged(walk: &mut Walk, root: &Node) -> Option<AuditPolicySpec> {
    if !matches!(root.kind, Kind::Mapping(_)) {
        let remedy = "write an object with apiVersion, kind, metadata and spec";
        walk.error("", root.line, "this is no AuditPolicy".to_owned(), remedy.to_owned());
        return None;
    }
    envelope(walk, root);
    let Some(spec) = root.get("spec").filter(|spec| !spec.is_null()) else {
        walk.error(
            "spec",
            root.line,
            "this is missing".to_owned(),
            "write spec: with at least one of sources".to_owned(),
        );
        return None;
    };
    let line = root.entries().iter().find(|entry| entry.key == "spec").map_or(root.line, |entry| entry.line);
    if !matches!(spec.kind, Kind::Mapping(_)) {
        let (message, remedy) = shape::wrong_type(spec, &SCHEMA);
        walk.error("spec", line, message, remedy);
        return None;
    }
    let Entries { spec, places } = entries::read(walk, spec, &SCHEMA, line);
    for mut finding in judge(&spec, &places) {
        finding.line = walk.line_of(&finding.path);
        walk.findings.push(finding);
    }
    Some(spec)
}

/// Checks what stands around the spec.
fn envelope(walk: &mut Walk, root: &Node) {
    let fields = ["apiVersion", "kind", "metadata", "spec", "status"];
    for entry in root.entries().iter().filter(|entry| !fields.contains(&entry.key.as_str())) {
        walk.unknown_field(&entry.key, fields.into_iter(), &path::member("", &entry.key), entry.line);
    }
    for (field, expected) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let (line, found) = match root.entries().iter().find(|entry| entry.key == field) {
            Some(entry) if entry.value.as_str() == Some(expected) => continue,
            Some(entry) => (entry.line, shape::shown(&entry.value.to_value())),
            None => (root.line, "missing".to_owned()),
        };
        walk.error(field, line, format!("this is {found}"), format!("write {field}: {expected}"));
    }
    let metadata = root.entries().iter().find(|entry| entry.key == "metadata");
    let line = metadata.map_or(root.line, |entry| entry.line);
    let name = metadata.and_then(|entry| entry.value.get("name"));
    let (line, found) = match (name, name.and_then(Node::as_str)) {
        (_, Some(text)) if is_policy_name(text) => return,
        (Some(node), _) => (node.line, format!("{} is no name of a policy", shape::shown(&node.to_value()))),
        (None, _) => (line, "this is missing".to_owned()),
    };
    walk.error(
        "metadata.name",
        line,
        found,
        format!("write at most {NAME_LENGTH} lower-case letters, digits and hyphens, beginning with a letter"),
    );
}

fn is_policy_name(text: &str) -> bool {
    shape::is_name(text) && text.len() <= NAME_LENGTH && text.starts_with(|first: char| first.is_ascii_lowercase())
}
