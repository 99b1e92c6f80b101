//! Order within a stream: `seq` rises with the offset, skips only what was lost, and goes back only after a kill.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::index::Index;
use super::report::{Kind, Verdict};
use super::{Case, shown};
use crate::history::Event;
use crate::output::Record;

/// Where a stream stands while the output is walked.
#[derive(Default)]
struct Walk<'a> {
    highest: u64,
    repeating: bool,
    rewinds: usize,
    numbers: BTreeMap<u64, &'a Record>,
}

pub(super) fn check(case: &Case<'_>, index: &Index, verdict: &mut Verdict) {
    let mut streams: HashMap<u128, Walk<'_>> = HashMap::new();
    for record in &case.output.records {
        let walk = streams.entry(record.id.stream).or_default();
        if let Some(had) = walk.numbers.get(&record.seq) {
            if had.id != record.id {
                verdict.add(Kind::Order, format!("{} has the number of {}", shown(case, record), had.id));
                continue;
            }
            walk.rewinds += usize::from(!walk.repeating);
            walk.repeating = true;
            continue;
        }
        if record.seq < walk.highest {
            verdict.add(Kind::Order, format!("{} came after number {}", shown(case, record), walk.highest));
        }
        walk.repeating = false;
        walk.highest = walk.highest.max(record.seq);
        walk.numbers.insert(record.seq, record);
    }
    let kills = case.history.count(Event::Killed);
    for (stream, walk) in &streams {
        verdict.totals.streams += 1;
        if walk.rewinds > kills && !case.leniency.repeats {
            let home = index.homes.get(stream).map(|home| case.incarnation(*home)).unwrap_or_default();
            verdict.add(
                Kind::Repeat,
                format!("stream {stream:032x} went back {} times in {kills} kills: {home}", walk.rewinds),
            );
        }
        gaps(case, *stream, &walk.numbers, verdict);
    }
}

fn gaps(case: &Case<'_>, stream: u128, numbers: &BTreeMap<u64, &Record>, verdict: &mut Verdict) {
    let mut before: (u64, u64) = (0, 0);
    for (seq, record) in numbers {
        let (last, end) = before;
        if last > 0 && record.id.offset < end {
            verdict.add(Kind::Order, format!("{} lies before the end of number {last}", shown(case, record)));
        }
        let excused = || {
            case.output
                .losses()
                .any(|loss| loss.stream == stream && loss.from < record.id.offset.max(1) && loss.to >= end)
        };
        if *seq != last + 1 && !excused() {
            verdict.add(Kind::Gap, format!("{} follows number {last}", shown(case, record)));
        }
        before = (*seq, record.id.offset + 1);
    }
}
