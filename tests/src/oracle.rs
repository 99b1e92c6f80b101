//! Holds what was written against what arrived and what the ledger says.
//!
//! Lines are recognised by their text, which is unique unless the writer said otherwise. The first recognised line of a stream
//! tells which incarnation of which file the stream is; from then on everything in the stream must be of that incarnation.

mod index;
mod losses;
mod matching;
mod order;
mod report;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::book::{Book, DISCOVERY, How, Line, Span};
use crate::history::{Event, History};
use crate::output::{Output, Record};

use index::{Index, Place, Seen};
pub use report::{Kind, Offence, Totals, Verdict};

/// How long after content was deleted a kill still explains that the agent is unsure about it: the time that it may take from
/// a record's write to its cursor's commit, on a busy machine.
const COMMIT: Duration = Duration::from_secs(5);

/// What to judge.
#[derive(Debug)]
pub struct Case<'a> {
    /// What was written.
    pub books: &'a [Book],
    /// What arrived.
    pub output: &'a Output,
    /// What was done to the agent.
    pub history: &'a History,
    /// What is forgiven.
    pub leniency: Leniency,
}

/// What is forgiven, in tests that take the agent's memory away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leniency {
    /// Streams begin anew, so a line may come again under another id.
    pub new_ids: bool,
    /// Records may come again although nothing was killed.
    pub repeats: bool,
}

/// Judges a case.
pub fn judge(case: &Case<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    verdict.totals.kills = case.history.count(Event::Killed);
    for line in &case.output.malformed {
        verdict.add(Kind::Malformed, line.clone());
    }
    let mut index = Index::of(case.books);
    recognise(case, &mut index, &mut verdict);
    order::check(case, &index, &mut verdict);
    let ledger = losses::Ledger::new(case, &index, &mut verdict);
    account(case, &index, &ledger, &mut verdict);
    verdict
}

/// Finds each record's line, and what contradicts another record.
fn recognise(case: &Case<'_>, index: &mut Index, verdict: &mut Verdict) {
    let mut contents: HashMap<(u128, u64), &Record> = HashMap::new();
    let mut fragments: HashMap<(u128, u64), Vec<&Record>> = HashMap::new();
    let mut unknown = Vec::new();
    for record in &case.output.records {
        verdict.totals.records += 1;
        match contents.entry((record.id.stream, record.id.offset)) {
            std::collections::hash_map::Entry::Occupied(had) if had.get().text != record.text => {
                verdict.add(Kind::TwoContents, format!("{} and {}", shown(case, had.get()), shown(case, record)));
                continue;
            }
            std::collections::hash_map::Entry::Occupied(_) => verdict.totals.repeats += 1,
            std::collections::hash_map::Entry::Vacant(free) => _ = free.insert(record),
        }
        if let Some(fragment) = record.fragment {
            fragments.entry((record.id.stream, fragment.line)).or_default().push(record);
        } else if !take(case, index, record, record.text.hash(), verdict) {
            unknown.push(record);
        }
    }
    for ((stream, offset), pieces) in fragments {
        rejoin(case, index, stream, offset, pieces, verdict);
    }
    for record in unknown {
        verdict.add(Kind::Alien, shown(case, record));
    }
}

/// Notes that a record with this text has come; false if no one wrote such a text.
fn take(case: &Case<'_>, index: &mut Index, record: &Record, text: u128, verdict: &mut Verdict) -> bool {
    let Some(place) = index.find(text) else { return false };
    if place.common {
        index.common.insert((record.id.stream, record.id.offset, text));
        return true;
    }
    let stream = record.id.stream;
    let home = index.settle(stream, place.home);
    if home != place.home {
        verdict.add(
            Kind::Mixed,
            format!(
                "{} is of {}, but its stream is {}",
                shown(case, record),
                case.incarnation(place.home),
                case.incarnation(home)
            ),
        );
    }
    if place.offset != record.id.offset {
        verdict.add(
            Kind::WrongOffset,
            format!("{} was written at {} of {}", shown(case, record), place.offset, case.incarnation(place.home)),
        );
    }
    // Nothing in the rest of a container's line tells that its beginning was in another file.
    let rest_of_wrapped = place.piece.is_some_and(|piece| piece > 0) && case.books[place.home.0].name == "cri";
    if place.piece.is_some() && !record.partial && !rest_of_wrapped {
        verdict.add(Kind::Unmarked, shown(case, record));
    }
    match index.seen.get(&text) {
        Some(seen) if seen.id != record.id => {
            if !case.leniency.new_ids {
                verdict.add(Kind::TwoIds, format!("{} came as {} before", shown(case, record), seen.id));
            }
        }
        Some(_) => {}
        None => _ = index.seen.insert(text, Seen { id: record.id }),
    }
    true
}

/// Puts the fragments of a long line together and takes the line.
fn rejoin(
    case: &Case<'_>,
    index: &mut Index,
    stream: u128,
    line: u64,
    mut pieces: Vec<&Record>,
    verdict: &mut Verdict,
) {
    let number = |record: &Record| record.fragment.map_or(0, |fragment| fragment.index);
    pieces.sort_by_key(|record| (number(record), record.id));
    pieces.dedup_by_key(|record| (number(record), record.id));
    let first = pieces[0];
    let in_order = pieces.iter().enumerate().all(|(at, record)| number(record) == at as u64);
    let ended = pieces.iter().position(|record| record.fragment.is_some_and(|fragment| fragment.last))
        == Some(pieces.len() - 1);
    let whole: Vec<u8> = pieces.iter().flat_map(|record| record.text.bytes()).copied().collect();
    if !in_order || !ended {
        let why = format!(
            "{} fragments of the line at {line} of stream {stream:032x} do not make a line, from {}",
            pieces.len(),
            shown(case, first)
        );
        index.torn.push((stream, line, why));
    } else if first.id.offset != line {
        verdict.add(Kind::WrongOffset, format!("{} is the first fragment of the line at {line}", shown(case, first)));
    } else if !take(case, index, first, crate::book::hash(&whole), verdict) {
        verdict.add(Kind::Alien, format!("{} rejoined fragments from {}", pieces.len(), shown(case, first)));
    } else {
        verdict.totals.rejoined += 1;
    }
}

/// Looks for each line that was written.
fn account(case: &Case<'_>, index: &Index, ledger: &losses::Ledger<'_>, verdict: &mut Verdict) {
    for (book_at, book) in case.books.iter().enumerate() {
        for line in &book.lines {
            verdict.totals.lines += 1;
            let arrived = if line.common { index.common_arrived(book_at, line) } else { arrived(index, line, verdict) };
            if arrived {
                verdict.totals.delivered += 1;
                let entered = line.spans().any(|span| ledger.covers((book_at, span.incarnation), span));
                verdict.totals.doubtful += u64::from(entered);
                continue;
            }
            let home = (book_at, line.at.incarnation);
            let missing: Vec<Span> = line
                .spans()
                .zip(0..)
                .filter(|(_, piece)| !piece_arrived(index, line, *piece))
                .map(|(span, _)| span)
                .collect();
            let unentered: Vec<&Span> =
                missing.iter().filter(|span| !ledger.covers((book_at, span.incarnation), **span)).collect();
            if unentered.is_empty() {
                verdict.totals.entered += 1;
            } else if unentered.iter().all(|span| unseeable(case, (book_at, span.incarnation), index, ledger)) {
                verdict.totals.unseen += 1;
                verdict.unseen.insert(case.incarnation(home));
            } else {
                let text =
                    format!("{} at {} (+{}) of {}", book.name, line.at.offset, line.at.len, case.incarnation(home));
                verdict.add(Kind::Lost, text);
            }
        }
    }
    for (stream, line, why) in &index.torn {
        if !ledger.touches(*stream, *line) {
            verdict.add(Kind::Torn, why.clone());
        }
    }
}

/// Whether a line came whole, or in all of its pieces.
fn arrived(index: &Index, line: &Line, verdict: &mut Verdict) -> bool {
    let whole = index.seen.contains_key(&line.text);
    let Some(pieces) = &line.pieces else { return whole };
    let came = pieces.iter().filter(|(_, hash)| index.seen.contains_key(hash)).count();
    if whole && came > 0 {
        verdict.add(
            Kind::TwoIds,
            format!("the line at {} of incarnation {} came joined and in pieces", line.at.offset, line.at.incarnation),
        );
    }
    if whole {
        verdict.totals.joined += 1;
    } else if came == pieces.len() {
        verdict.totals.in_pieces += 1;
    }
    whole || came == pieces.len()
}

fn piece_arrived(index: &Index, line: &Line, piece: usize) -> bool {
    line.pieces.as_ref().is_some_and(|pieces| index.seen.contains_key(&pieces[piece].1))
}

/// Whether the content came and went so fast, or while the agent was away, that the agent can't know of it.
fn unseeable(case: &Case<'_>, home: Place, index: &Index, ledger: &losses::Ledger<'_>) -> bool {
    let incarnation = &case.books[home.0].incarnations[home.1];
    let Some((gone, _)) = incarnation.gone else { return false };
    let known = !index.streams(home).is_empty() || ledger.knows(home);
    !known && case.history.awake(incarnation.created, gone) < DISCOVERY
}

impl Case<'_> {
    /// Names an incarnation for a reader.
    fn incarnation(&self, (book, number): Place) -> String {
        let book = &self.books[book];
        let incarnation = &book.incarnations[number];
        let gone = incarnation
            .gone
            .map_or("there".to_owned(), |(at, how)| format!("gone {how:?} after {:?}", at - incarnation.created));
        format!(
            "{} incarnation {number} ({}, {} bytes, {gone})",
            book.name,
            incarnation.path.display(),
            incarnation.size
        )
    }

    /// Whether a loss of an incarnation's content can be forgiven at all.
    fn justified(&self, (book, number): Place) -> bool {
        let Some((at, how)) = self.books[book].incarnations[number].gone else { return false };
        match how {
            How::Down | How::Blind => true,
            How::Unlinked => !self.history.up(at) || self.history.disturbed(at, at + Duration::from_hours(1)),
            How::Ahead => self.history.disturbed(earlier(at, COMMIT), at + COMMIT),
        }
    }
}

fn earlier(at: Instant, by: Duration) -> Instant {
    at.checked_sub(by).unwrap_or(at)
}

/// Names a record for a reader.
fn shown(case: &Case<'_>, record: &Record) -> String {
    let file = case.output.files.get(record.file).map(|path| path.display().to_string()).unwrap_or_default();
    let text = String::from_utf8_lossy(&record.text.bytes()[..record.text.bytes().len().min(80)]).into_owned();
    format!("{text:?} of {} as {} seq {} at {file}:{}", record.path, record.id, record.seq, record.at)
}
