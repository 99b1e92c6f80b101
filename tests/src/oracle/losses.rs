//! The ledger's losses: which incarnation each is about, whether it is justified, and what it covers.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::Case;
use super::index::{Index, Place};
use super::matching::matching;
use super::report::{Kind, Verdict};
use crate::book::{DISCOVERY, Incarnation, Span};
use crate::output::{Entry, Loss};

/// How far the time of a turn, which an entry has, may be from the look at a file in it.
const LOOK: Duration = Duration::from_secs(1);

/// The losses by incarnation.
pub(super) struct Ledger<'a> {
    by_home: HashMap<Place, Vec<&'a Loss>>,
    by_stream: HashMap<u128, Vec<&'a Loss>>,
    /// Bytes at an incarnation's beginning that were lost with the record of another file that they end.
    tails: HashMap<Place, u64>,
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
        let joins: Vec<Join> = case.output.actions("joined").filter_map(Join::of).collect();
        let mut ledger = Self { by_home: HashMap::new(), by_stream, tails: HashMap::new() };
        let (named, mut nameless): (Vec<u128>, Vec<u128>) =
            order.into_iter().partition(|stream| index.homes.contains_key(stream));
        for stream in named {
            ledger.by_home.entry(index.homes[&stream]).or_insert_with(|| ledger.by_stream[&stream].clone());
        }
        nameless.sort_unstable();
        nameless.dedup();
        let mut guessed = HashMap::new();
        for (stream, home) in ledger.guess(case, index, &nameless) {
            let losses = ledger.by_stream[&stream].clone();
            if let Some(home) = home {
                guessed.insert(stream, home);
                ledger.by_home.insert(home, losses);
            } else {
                verdict.add(Kind::Unjustified, format!("no content of that name went away: {:?}", losses[0]));
            }
        }
        for join in &joins {
            let lost = ledger.by_stream.get(&join.stream).into_iter().flatten().map(|loss| loss.to).max().unwrap_or(0);
            let home = index.homes.get(&join.with).or_else(|| guessed.get(&join.with));
            if let Some(home) = home.filter(|_| lost > join.at) {
                ledger.tails.insert(*home, (lost - join.at).min(join.bytes));
            }
        }
        for (home, losses) in &ledger.by_home {
            let size = case.books[home.0].incarnations[home.1].size;
            for loss in losses {
                verdict.totals.lost_bytes += loss.to.saturating_sub(loss.from);
                let joined: u64 = joins.iter().filter(|j| j.stream == loss.stream).map(|j| j.bytes).sum();
                if loss.to > size + joined || loss.from > loss.to {
                    verdict.add(Kind::Unjustified, format!("{loss:?} is not within {}", case.incarnation(*home)));
                } else if !case.justified(*home) {
                    verdict.add(Kind::Unjustified, format!("{loss:?} is of {}", case.incarnation(*home)));
                }
            }
        }
        ledger
    }

    /// Which incarnations the streams may be of which nothing arrived: those that were there when they began, went away, and are
    /// long enough. If there is a way to find one for each stream, and a stream for each that the agent must have seen, it is found.
    fn guess(&self, case: &Case<'_>, index: &Index, nameless: &[u128]) -> Vec<(u128, Option<Place>)> {
        let taken: HashSet<Place> = index.homes.values().copied().collect();
        let begun = Begun::all(case);
        let mut places: Vec<Place> = Vec::new();
        let mut first = Vec::new();
        for (at, book) in case.books.iter().enumerate() {
            for (number, incarnation) in book.incarnations.iter().enumerate() {
                if let Some((gone, _)) = incarnation.gone.filter(|_| !taken.contains(&(at, number))) {
                    if case.history.awake(incarnation.created, gone) >= DISCOVERY {
                        first.push(places.len());
                    }
                    places.push((at, number));
                }
            }
        }
        let edges: Vec<Vec<usize>> = nameless
            .iter()
            .map(|stream| {
                let losses = &self.by_stream[stream];
                let fits = |(at, number): &Place| {
                    let book = &case.books[*at];
                    let incarnation = &book.incarnations[*number];
                    Path::new(&losses[0].path).starts_with(&book.folder)
                        && incarnation.size >= end(losses)
                        && begun.get(stream).is_none_or(|begun| begun.may_be(incarnation))
                };
                places.iter().enumerate().filter(|(_, place)| fits(place)).map(|(at, _)| at).collect()
            })
            .collect();
        let found = matching(&edges, places.len(), &first);
        nameless.iter().zip(found).map(|(stream, at)| (*stream, at.map(|at| places[at]))).collect()
    }

    /// Whether the ledger gives all bytes of a span up.
    pub(super) fn covers(&self, home: Place, span: Span) -> bool {
        if self.tails.get(&home).is_some_and(|len| span.offset + span.len <= *len) {
            return true;
        }
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

/// How a stream began, as the ledger says.
struct Begun {
    at: Instant,
    size: u64,
}

impl Begun {
    /// By stream. The clocks of the agent and of the writers are one, and nothing sets it meanwhile.
    fn all(case: &Case<'_>) -> HashMap<u128, Self> {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let begun = case.output.actions("stream_begun").filter_map(|entry| {
            let stream = u128::from_str_radix(entry.details.get("stream")?.as_str()?, 16).ok()?;
            let at = now.checked_sub(wall.duration_since(entry.time?).ok()?)?;
            Some((stream, Self { at, size: entry.details.get("size")?.as_u64()? }))
        });
        begun.collect()
    }

    /// Whether a content was there then.
    fn may_be(&self, incarnation: &Incarnation) -> bool {
        incarnation.size >= self.size
            && incarnation.created <= self.at + LOOK
            && incarnation.gone.is_none_or(|(gone, _)| gone + LOOK >= self.at)
    }
}

/// Where the losses of a stream end.
fn end(losses: &[&Loss]) -> u64 {
    losses.iter().map(|loss| loss.to).max().unwrap_or(0)
}

/// A record that begins in one stream and ends in another.
struct Join {
    stream: u128,
    at: u64,
    with: u128,
    bytes: u64,
}

impl Join {
    fn of(entry: &Entry) -> Option<Self> {
        let stream = |name: &str| u128::from_str_radix(entry.details.get(name)?.as_str()?, 16).ok();
        let number = |name: &str| entry.details.get(name)?.as_u64();
        Some(Self { stream: stream("stream")?, at: number("at")?, with: stream("with")?, bytes: number("bytes")? })
    }
}
