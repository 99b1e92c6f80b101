//! One JSON line a record on standard output, at INFO whatever the outcome.

use std::io::{self, Write};

use super::{Backoff, Failure, PATIENCE, Queue};
use crate::plan::Encoding;

/// Bytes written at a time.
const BATCH: usize = 1 << 20;

/// Runs until the engine lets go of the sink. A record counts as delivered when it is written.
pub fn run(mut queue: Queue, mut out: impl Write, encoding: Encoding) {
    let mut backoff = Backoff::default();
    let mut line = Vec::new();
    while let Some(batch) = queue.take(BATCH, PATIENCE) {
        if batch.is_empty() {
            continue;
        }
        line.clear();
        for delivery in &batch {
            for payload in delivery.chunk.payloads(encoding) {
                // A canonical record is one JSON object on one line: its first byte is the brace.
                match payload.strip_prefix(b"{").filter(|_| encoding == Encoding::Ecs) {
                    Some(rest) => {
                        line.extend_from_slice(b"{\"level\":\"INFO\",");
                        line.extend_from_slice(rest);
                    }
                    None => line.extend_from_slice(payload),
                }
                line.push(b'\n');
            }
        }
        match write_all(&mut out, &line) {
            Ok(()) => {
                queue.acknowledge(&batch);
                queue.healthy();
                backoff.reset();
            }
            Err(error) => {
                let failure = Failure::held(
                    format!("standard output refused: {error}"),
                    "restart the agent with a standard output that is read",
                );
                if !queue.retry(batch, backoff.next(), &failure) {
                    return;
                }
            }
        }
    }
}

fn write_all(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}
