//! One record as a message: payload, key and headers.

use rdkafka::message::{Header, OwnedHeaders};
use waybill_crds::PartitionBy;

use crate::lane::chunk::Chunk;
use crate::plan::Encoding;
use crate::sink::View;

/// Bytes of a header's value at most. Users and hubs are the log's own text; the payload has them whole.
const HEADER_VALUE: usize = 512;
/// What a header takes beside its name and value, in bytes, at least.
const HEADER_OVERHEAD: usize = 2;

/// A message. Its time is left to the producer: a record's own can be forged, and brokers refuse or delete by it.
pub(super) struct Message<'a> {
    /// What is delivered of the record.
    pub(super) payload: &'a [u8],
    /// What the partition is chosen by, and the record id.
    pub(super) key: String,
    /// The record id, the content type, and what consumers filter by.
    pub(super) headers: OwnedHeaders,
    headers_size: usize,
}

impl<'a> Message<'a> {
    /// The message for a record; `None` if it is no canonical record, which only damage can bring about.
    pub(super) fn of(chunk: &'a Chunk, record: usize, encoding: Encoding, by: PartitionBy) -> Option<Self> {
        let encoded = chunk.encoded(record);
        let view = View::of(encoded)?;
        let payload = chunk.payload(record, encoding);
        // An entry of the ledger has no line and goes as it is, whatever the encoding.
        let is_json = std::ptr::eq(payload.as_ptr(), encoded.as_ptr());
        let mut message = Self { payload, key: key(&view, by), headers: OwnedHeaders::new(), headers_size: 0 };
        message.header("waybill-id", view.id);
        message.header("content-type", if is_json { "application/json" } else { "text/plain" });
        message.header("waybill-source", &view.source);
        let optional = [
            ("waybill-outcome", view.outcome),
            ("waybill-user", view.user.as_deref()),
            ("waybill-hub", view.hub.as_deref()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                message.header(name, value);
            }
        }
        Some(message)
    }

    /// Bytes of the message without the protocol's framing: never more than what goes over the wire uncompressed.
    pub(super) fn size(&self) -> usize {
        self.payload.len() + self.key.len() + self.headers_size
    }

    fn header(&mut self, key: &str, value: &str) {
        let value = value.get(..value.floor_char_boundary(HEADER_VALUE)).unwrap_or_default();
        self.headers_size += key.len() + value.len() + HEADER_OVERHEAD;
        let headers = std::mem::take(&mut self.headers);
        self.headers = headers.insert(Header { key, value: Some(value) });
    }
}

/// By stream, the record id alone, which begins with the stream; by source, its name, a slash and the record id.
fn key(view: &View<'_>, by: PartitionBy) -> String {
    match by {
        PartitionBy::Stream => view.id.to_owned(),
        PartitionBy::Source => format!("{}/{}", view.source, view.id),
    }
}
