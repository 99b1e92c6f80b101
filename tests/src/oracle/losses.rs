//! The ledger's losses: which incarnation each is about, whether it is justified, and what it covers.

use std::collections::{HashMap, HashSet};

use super::Case;
use super::index::{Index, Place};
use super::report::{Kind, Verdict};
use crate::book::Span;
use crate::output::Loss;

/// The losses by incarnation.
pub(super) struct Ledger<'a> {
    by_home: HashMap<Place, Vec<&'a Loss>>,
    by_stream: HashMap<u128, Vec<&'a Loss>>,
}

impl<'a> Ledger<'a> {
    /// Sorts the losses and reports those that nothing justifies.
    pub(super) fn new(case: &Case<'a>, index: &Index, verdict: &mut Verdict) -> Self {
        let mut by_stream: HashMap<u128, Vec<&'a Loss>> = HashMap::new();
        let mut order = Vec::new();
        let mut known = HashSet::new();
        for entry in &case.output.entries {
            let Some(loss) = &entry.loss else { continue };
            if known.insert(entry.id) {
                verdict.totals.losses += 1;
                order.push(loss.stream);
                by_stream.entry(loss.stream).or_default().push(loss);
            }
        }
        let mut ledger = Self { by_home: HashMap::new(), by_stream };
        let mut nameless = HashSet::new();
        for stream in order {
            let losses = ledger.by_stream[&stream].clone();
            if let Some(home) = index.homes.get(&stream) {
                ledger.by_home.entry(*home).or_insert(losses);
            } else if nameless.insert(stream) {
                if let Some(home) = ledger.guess(case, index, &losses) {
                    ledger.by_home.insert(home, losses);
                } else {
                    let what = format!("no content of that name went away: {:?}", losses[0]);
                    verdict.add(Kind::Unjustified, what);
                }
            }
        }
        for (home, losses) in &ledger.by_home {
            let size = case.books[home.0].incarnations[home.1].size;
            for loss in losses {
                verdict.totals.lost_bytes += loss.to.saturating_sub(loss.from);
                if loss.to > size || loss.from > loss.to {
                    verdict.add(Kind::Unjustified, format!("{loss:?} is not within {}", case.incarnation(*home)));
                } else if !case.justified(*home) {
                    verdict.add(Kind::Unjustified, format!("{loss:?} is of {}", case.incarnation(*home)));
                }
            }
        }
        ledger
    }

    /// The incarnation that a stream may be of which nothing arrived: the first in the folder of its path that went away, that
    /// no other stream is, and that is long enough.
    fn guess(&self, case: &Case<'_>, index: &Index, losses: &[&Loss]) -> Option<Place> {
        let end = losses.iter().map(|loss| loss.to).max()?;
        let taken: HashSet<Place> = index.homes.values().copied().collect();
        case.books
            .iter()
            .enumerate()
            .filter(|(_, book)| std::path::Path::new(&losses[0].path).starts_with(&book.folder))
            .find_map(|(at, book)| {
                let free =
                    |number: &usize| !taken.contains(&(at, *number)) && !self.by_home.contains_key(&(at, *number));
                let fits = |number: &usize| {
                    book.incarnations[*number].gone.is_some() && book.incarnations[*number].size >= end
                };
                (0..book.incarnations.len()).find(|number| free(number) && fits(number)).map(|number| (at, number))
            })
    }

    /// Whether the ledger gives all bytes of a span up.
    pub(super) fn covers(&self, home: Place, span: Span) -> bool {
        let Some(losses) = self.by_home.get(&home) else { return false };
        let mut ranges: Vec<(u64, u64)> =
            losses.iter().map(|loss| (loss.from, if loss.more { u64::MAX } else { loss.to })).collect();
        ranges.sort_unstable();
        let mut reached = span.offset;
        for (from, to) in ranges {
            if from <= reached {
                reached = reached.max(to);
            }
        }
        reached >= span.offset + span.len
    }

    /// Whether the ledger speaks of an incarnation.
    pub(super) fn knows(&self, home: Place) -> bool {
        self.by_home.contains_key(&home)
    }

    /// Whether the ledger gives something up at or after an offset of a stream.
    pub(super) fn touches(&self, stream: u128, offset: u64) -> bool {
        self.by_stream.get(&stream).is_some_and(|losses| losses.iter().any(|loss| loss.to > offset || loss.more))
    }
}
