//! Rules that leave records out.

use super::escape::decoded;
use super::members::{elements, member};
use super::record::{Field, Record, Shape};
use super::scan::Type;
use super::settings::DropRule;

/// A rule, made ready.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    field: Option<Field>,
    path: Vec<Vec<u8>>,
    equals: Vec<u8>,
}

impl Compiled {
    pub(super) fn new(rule: &DropRule) -> Self {
        Self {
            field: Field::named(&rule.field).filter(|field| matches!(field.place().shape, Shape::Text | Shape::Number)),
            path: rule.field.split('.').map(|name| name.as_bytes().to_vec()).collect(),
            equals: rule.equals.as_bytes().to_vec(),
        }
    }

    /// What the record alone says; `None` if the written line has to be asked.
    pub(super) fn matches_record(&self, record: &Record<'_>) -> Option<bool> {
        let value = record.get(self.field?);
        Some(value.is_some_and(|value| if record.escaped { self.equals(value) } else { value == self.equals }))
    }

    /// Whether the written line matches.
    pub(super) fn matches_line(&self, line: &[u8]) -> bool {
        let mut at = 0;
        let mut last = None;
        for name in &self.path {
            let Some(value) = member(line, at, name) else { return false };
            at = value.span.start;
            last = Some(value);
        }
        last.is_some_and(|value| match value.kind {
            Type::Array => elements(line, value.span.start).any(|element| self.equals(element.inner(line))),
            _ => self.equals(value.inner(line)),
        })
    }

    fn equals(&self, inner: &[u8]) -> bool {
        decoded(inner).eq(self.equals.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_written_field_can_be_matched() {
        let line = br#"{"a":{"b":"x\ny","n":53,"l":["p","q"]},"t":true,"a.b":"no"}"#;
        for (field, equals, expected) in [
            ("a.b", "x\ny", true),
            ("a.b", "x", false),
            ("a.n", "53", true),
            ("a.l", "q", true),
            ("a.l", "r", false),
            ("t", "true", true),
            ("a", "x", false),
            ("a.b.c", "x", false),
            ("", "", false),
        ] {
            let rule = Compiled::new(&DropRule { field: field.to_owned(), equals: equals.to_owned() });
            assert_eq!(rule.matches_line(line), expected, "{field}");
        }
    }
}
