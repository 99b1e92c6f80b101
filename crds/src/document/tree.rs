//! From YAML (or JSON, which is YAML) to a tree that knows its lines.
//!
//! The parser hands out events, so that what stands before a syntax error is kept: a kill switch can be read from a document
//! that is broken further down. Everything is bounded: size, depth, and the number of nodes after aliases are resolved.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::scalar;
use crate::finding::Finding;

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 50_000;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// Whether its end was seen.
    pub(super) complete: bool,
    pub(super) kind: Kind,
    nodes: usize,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Never an array or an object.
    Scalar(Value),
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Rc<Node>,
}

impl Node {
    /// The first value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &*entry.value)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        if let Kind::Mapping(entries) = &self.kind { entries } else { &[] }
    }

    pub(super) fn items(&self) -> &[Rc<Self>] {
        if let Kind::Sequence(items) = &self.kind { items } else { &[] }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        if let Kind::Scalar(value) = &self.kind { value.as_str() } else { None }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null))
    }

    /// As JSON. A null in a mapping is an absent value.
    pub(super) fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Sequence(items) => items.iter().map(|item| item.to_value()).collect(),
            Kind::Mapping(entries) => {
                let present = entries.iter().filter(|entry| !entry.value.is_null());
                Value::Object(present.map(|entry| (entry.key.clone(), entry.value.to_value())).collect::<Map<_, _>>())
            }
        }
    }
}

/// What a text holds: as much of it as could be read.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Option<Rc<Node>>,
    pub(super) findings: Vec<Finding>,
}

/// Reads a text.
pub(super) fn load(text: &str) -> Tree {
    let mut loader = Loader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let step = match event {
            Ok((event, span)) => loader.event(event, span),
            Err(error) => Err(Finding::error(
                loader.path(),
                format!("this is not YAML: {}", error.info()),
                "mind the indentation, quotes and brackets here and in the line above",
            )
            .at(error.marker().line())),
        };
        if let Err(finding) = step {
            loader.tree.findings.push(finding);
            loader.close_all();
            break;
        }
    }
    loader.tree
}

/// A collection whose end has not been seen.
enum Open {
    Sequence(Vec<Rc<Node>>),
    Mapping { entries: Vec<Entry>, keys: HashSet<String>, key: Option<(String, usize)> },
}

struct Frame {
    line: usize,
    anchor: usize,
    open: Open,
}

#[derive(Default)]
struct Loader {
    tree: Tree,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Rc<Node>>,
    document_line: usize,
    nodes: usize,
}

impl Loader {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Finding> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => self.document_line = line,
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), line)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), line);
                self.push(Frame { line, anchor, open: Open::Sequence(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), line);
                let open = Open::Mapping { entries: Vec::new(), keys: HashSet::new(), key: None };
                self.push(Frame { line, anchor, open })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.pop(true)?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.fatal(line, "this alias stands inside of its own anchor", "write the value out"));
                };
                if self.wants_key() {
                    return Err(self.fatal(line, "an alias is no key", "write the key out"));
                }
                self.place(node)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        line: usize,
    ) -> Result<(), Finding> {
        let plain = style == ScalarStyle::Plain;
        if let Some(Frame { open: Open::Mapping { keys, key, .. }, .. }) = self.stack.last_mut()
            && key.is_none()
        {
            let repeated = !keys.insert(text.to_owned());
            *key = Some((text.to_owned(), line));
            if repeated {
                self.soft(line, "this key stands here twice", "keep one of them");
            }
            if text == "<<" && plain {
                self.soft(line, "merge keys are not read", "write the fields out");
            }
            return Ok(());
        }
        let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        self.tag(tag, line);
        let value = if plain && !forced_text { scalar::resolve(text) } else { Value::from(text) };
        let node = Rc::new(Node { line, complete: true, kind: Kind::Scalar(value), nodes: 1 });
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node)
    }

    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Mapping { key: None, .. }, .. }))
    }

    fn push(&mut self, frame: Frame) -> Result<(), Finding> {
        if self.wants_key() {
            return Err(self.fatal(frame.line, "a list or an object is no key", "write a plain name before the colon"));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.fatal(
                frame.line,
                "this is nested too deeply",
                "a policy is never nested more than 64 levels",
            ));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn pop(&mut self, complete: bool) -> Result<(), Finding> {
        let Some(Frame { line, anchor, open }) = self.stack.pop() else {
            return Ok(());
        };
        let (nodes, kind) = match open {
            Open::Sequence(items) => (items.iter().map(|item| item.nodes).sum::<usize>(), Kind::Sequence(items)),
            Open::Mapping { entries, .. } => {
                (entries.iter().map(|entry| entry.value.nodes).sum::<usize>(), Kind::Mapping(entries))
            }
        };
        let node = Rc::new(Node { line, complete, kind, nodes: nodes.saturating_add(1) });
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.nodes = self.nodes.saturating_sub(nodes);
        self.place(node)
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Rc<Node>) -> Result<(), Finding> {
        let line = node.line;
        self.nodes = self.nodes.saturating_add(node.nodes);
        if self.nodes > MAX_NODES {
            return Err(self.fatal(
                line,
                "this holds too many values",
                "a policy holds at most 50,000 of them, each alias counted in full",
            ));
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => {
                if let Some((key, line)) = key.take() {
                    entries.push(Entry { key, line, value: node });
                }
            }
            None if node.is_null() => {}
            None if self.tree.root.is_none() => self.tree.root = Some(node),
            None => {
                return Err(Finding::error("", "a second document begins here", "write one AuditPolicy a file")
                    .at(self.document_line));
            }
        }
        Ok(())
    }

    /// Closes what is open after an error, so that what was read is kept.
    fn close_all(&mut self) {
        self.nodes = 0;
        while !self.stack.is_empty() {
            if self.pop(false).is_err() {
                self.stack.clear();
            }
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, line: usize) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema() && !tag.suffix.is_empty()) {
            self.soft(line, "tags mean nothing here", "leave the tag out");
        }
    }

    fn soft(&mut self, line: usize, message: &str, remedy: &str) {
        let finding = self.fatal(line, message, remedy);
        self.tree.findings.push(finding);
    }

    fn fatal(&self, line: usize, message: &str, remedy: &str) -> Finding {
        Finding::error(self.path(), message, remedy).at(line)
    }

    /// Where the loader stands.
    fn path(&self) -> String {
        self.stack.iter().fold(String::new(), |path, frame| match &frame.open {
            Open::Sequence(items) => super::path::index(&path, items.len()),
            Open::Mapping { key: Some((key, _)), .. } => super::path::member(&path, key),
            Open::Mapping { .. } => path,
        })
    }
}
