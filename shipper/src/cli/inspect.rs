//! `waybill inspect`: the state on disk.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::engine::report::{Amount, LedgerReport};
use crate::state::StreamId;
use crate::state::store;

/// Show what the state directory holds: streams, cursors, what is pending, the ledger.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The state directory.
    #[arg(long, value_name = "DIR")]
    pub state_dir: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

impl InspectArgs {
    /// Prints it.
    pub fn run(self) -> ExitCode {
        let (_, model, _) = match store::load(&self.state_dir, false) {
            Ok(loaded) => loaded,
            Err(error) => {
                eprintln!("waybill: {error}");
                return ExitCode::FAILURE;
            }
        };
        let control = StreamId::from_slice(&model.node.control).unwrap_or_default();
        let mut lanes = Vec::new();
        for (number, lane) in &model.lanes {
            let tally = model.tally(*number);
            let mut seen = lane.closed.settled();
            for ((n, id), cursor) in &model.cursors {
                if n != number {
                    continue;
                }
                seen += if *id == control {
                    model.ledger_offset
                } else {
                    model.streams.get(id).map_or(cursor.tally.settled(), |r| if r.phase != 0 { cursor.tally.settled() } else { r.seen.max(cursor.position.offset) - r.begins_at })
                };
            }
            let pending = Amount { bytes: seen.saturating_sub(tally.settled()), records: 0 };
            lanes.push(json!({
                "name": lane.name, "type": lane.kind, "seen": Amount { bytes: seen, records: 0 },
                "acknowledged": Amount::from(tally.acknowledged), "dropped": Amount::from(tally.dropped),
                "refused": Amount::from(tally.refused), "lost": Amount::from(tally.lost), "pending": pending,
            }));
        }
        let streams: Vec<_> = model.streams.iter().map(|(id, r)| json!({
            "id": id.to_string(), "source": r.source, "path": String::from_utf8_lossy(r.extents.last().map_or(&[][..], |e| &e.path)),
            "size": r.seen, "frontier": r.frontier.offset, "records": r.frontier.seq, "state": if r.phase == 0 { "live" } else { "ended" },
        })).collect();
        let ledger: Vec<_> = model.ledger.iter().map(LedgerReport::from).collect();
        println!("{}", json!({"streams": streams, "lanes": lanes, "ledger": ledger}));
        ExitCode::SUCCESS
    }
}
