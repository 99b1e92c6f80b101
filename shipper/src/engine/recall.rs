//! What lies before the place where a stream is read, for formats whose lines refer to earlier ones.

use std::ops::ControlFlow;

use crate::format::Encoder;
use crate::source::frame::{Scratch, frame};
use crate::source::stream::ReadError;
use crate::state::StreamId;
use crate::state::entry::{Position, StreamRecord};

use super::pass::stream_info;
use super::{Engine, Now};

impl Engine {
    /// Makes a stream's encoder, and lets it read the lines before `at` if it does not know them: after a start, and where a lane
    /// reads behind the others in the live file. As far as the format wants, and no farther than the live file reaches back.
    pub(super) fn prepare_encoder(
        &mut self,
        id: StreamId,
        record: &StreamRecord,
        at: Position,
        live: bool,
        now: Now,
    ) -> Result<(), ReadError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(source) = stream.source.and_then(|source| self.plan.sources.get(source)) else { return Ok(()) };
        let mut encoder = match stream.encoder.take() {
            Some(encoder) => encoder,
            None => match Encoder::new(&source.settings, &stream_info(record, &self.plan.policy, &self.setup.host)) {
                Ok(encoder) => Box::new(encoder),
                Err(error) => {
                    tracing::error!(source = source.name, %error, "failed to prepare the format");
                    return Ok(());
                }
            },
        };
        let next = at.seq + 1;
        let start = at.offset.saturating_sub(encoder.reach(next)).max(record.base);
        let length = at.offset.saturating_sub(start);
        if length == 0 || !live {
            stream.encoder = Some(encoder);
            return Ok(());
        }
        let mut before = vec![0; length as usize];
        let read = stream.read(record, start, &mut before);
        if let Ok(filled) = read {
            before.truncate(filled);
            // The first line is whole only where the file begins.
            let begins = match memchr::memchr(b'\n', &before) {
                Some(end) if start > record.base => end + 1,
                _ => 0,
            };
            let from = start + begins as u64;
            let place = Position { offset: from, ..Position::default() };
            encoder.recall_before(next);
            frame(&stream.framing, &mut Scratch::default(), place, &before[begins..], from, false, |line| {
                encoder.recall(line.text, now.wall);
                ControlFlow::Continue(())
            });
        }
        stream.encoder = Some(encoder);
        read.map(|_| ())
    }
}
