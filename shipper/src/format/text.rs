//! Lines of text: the line is the message.

use super::record::{Field, Record};

/// Every line is understood.
pub(super) fn parse(text: &[u8]) -> Record<'_> {
    let mut record = Record::new("text", "text");
    record.parsed = true;
    record.set(Field::Message, text);
    record
}
