//! Lines of text: the line is the message.

use super::record::{Field, Record};

/// Every line is understood.
pub(super) fn parse<'a>(record: &mut Record<'a>, text: &'a [u8]) {
    record.parsed = true;
    record.set(Field::Message, text);
}
