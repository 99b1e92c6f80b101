//! In which order the files of one folder were written: told by their names, and where those say nothing, by the order in which
//! they were met.
//!
//! Only files that may share a line are put in order. A file that is met late, because it was being compressed or was renamed while
//! the folder was listed, still has its place between the others.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::envelope::Envelope;
use crate::source::stream::bytes_path;
use crate::state::StreamId;
use crate::state::entry::StreamRecord;

use super::Engine;
use super::ending::folder;

/// What a name says about when a file was written, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Rotated, with a date in its name, and what digits follow it.
    Dated(String),
    /// Rotated, with a number at its end, which grows as it ages.
    Numbered(Reverse<u32>),
    /// The one that is being written.
    Live,
}

impl Rank {
    /// Reads a file's name.
    pub(super) fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        let begins = |at: usize| at == 0 || matches!(name.as_bytes()[at - 1], b'-' | b'.' | b'_');
        let mut places = (0..name.len()).filter(|at| begins(*at) && name.is_char_boundary(*at));
        if let Some(at) = places.find(|at| is_date(&name[*at..])) {
            return Self::Dated(name[at..].chars().filter(char::is_ascii_digit).collect());
        }
        let end = name.rsplit_once('.').map(|(_, end)| end).filter(|end| end.bytes().all(|b| b.is_ascii_digit()));
        match end.and_then(|end| end.parse().ok()) {
            Some(number) => Self::Numbered(Reverse(number)),
            None => Self::Live,
        }
    }
}

/// Whether a text begins with a date, `2026-11-22` or `20261122`.
fn is_date(text: &str) -> bool {
    let digits: String = text.chars().take(10).filter(|c| *c != '-').take(8).collect();
    let within = |range: std::ops::Range<usize>, lowest: u32, highest: u32| {
        digits.get(range).and_then(|d| d.parse::<u32>().ok()).is_some_and(|n| (lowest..=highest).contains(&n))
    };
    digits.len() == 8
        && digits.bytes().all(|b| b.is_ascii_digit())
        && within(0..4, 1970, 2199)
        && within(4..6, 1, 12)
        && within(6..8, 1, 31)
}

/// When a stream was written, as far as it can be told.
#[derive(Debug)]
struct Age {
    /// What its name says, if it has one.
    rank: Option<Rank>,
    /// When it was met.
    begun: i64,
}

impl Age {
    fn is_before(&self, other: &Self) -> bool {
        match (&self.rank, &other.rank) {
            (Some(a), Some(b)) => (a, self.begun) < (b, other.begun),
            _ => self.begun < other.begun,
        }
    }
}

impl Engine {
    /// Files that may share a line are met in the order in which they were written: compressing one gives it a new time.
    pub(super) fn order_joining(&self, looks: &mut [(i64, PathBuf)]) {
        let joins = |path: &Path| {
            let source = self.discovery.found().get(path).and_then(|f| self.plan.sources.get(f.source));
            source.is_some_and(|s| crate::format::joins(s.settings.format) || s.envelope != Envelope::None)
        };
        let mut groups: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
        for (index, (_, path)) in looks.iter().enumerate().filter(|(_, (_, path))| joins(path)) {
            groups.entry(path.parent().unwrap_or(path).to_owned()).or_default().push(index);
        }
        for places in groups.into_values() {
            let mut files: Vec<(i64, PathBuf)> = places.iter().map(|i| looks[*i].clone()).collect();
            files.sort_by_cached_key(|(_, path)| (Rank::of(path), path.clone()));
            for (place, file) in places.into_iter().zip(files) {
                looks[place] = file;
            }
        }
    }

    /// A stream's place among those of its folder. Its name is the one under which it lies now, or that of its copy; what has no name
    /// any more may have been renamed before it went.
    fn age_of(&self, id: StreamId, record: &StreamRecord) -> Age {
        let here = self.streams.get(&id).and_then(|s| s.path().map(Rank::of));
        let copied = || {
            let copy = self.store.model().copies.values().find(|copy| copy.stream == record.id)?;
            self.by_path.iter().find(|(_, key)| **key == copy.file).map(|(path, _)| Rank::of(path))
        };
        let rotated = || {
            let rank = Rank::of(&bytes_path(&record.extents.last()?.path));
            Some(rank).filter(|rank| *rank != Rank::Live)
        };
        Age { rank: here.or_else(copied).or_else(rotated), begun: record.begun }
    }

    /// The other streams that may share a line with one, with their places.
    fn beside<'a>(
        &'a self,
        id: StreamId,
        record: &'a StreamRecord,
    ) -> impl Iterator<Item = (StreamId, &'a StreamRecord, Age)> {
        let streams = self.store.model().streams.iter();
        streams
            .filter(move |(other, r)| {
                **other != id && r.joining && r.source == record.source && folder(r) == folder(record)
            })
            .map(|(other, r)| (*other, r, self.age_of(*other, r)))
    }

    /// The stream that was written next in the same folder.
    pub(super) fn follower(&self, id: StreamId, record: &StreamRecord) -> Option<(StreamId, StreamRecord)> {
        let own = self.age_of(id, record);
        let later = self.beside(id, record).filter(|(.., age)| own.is_before(age));
        let (next, follower, _) = later.reduce(|a, b| if b.2.is_before(&a.2) { b } else { a })?;
        Some((next, follower.clone()))
    }

    /// The stream that was written before in the same folder.
    pub(super) fn stream_before<'a>(
        &'a self,
        id: StreamId,
        record: &'a StreamRecord,
    ) -> Option<(StreamId, &'a StreamRecord)> {
        let own = self.age_of(id, record);
        let earlier = self.beside(id, record).filter(|(.., age)| age.is_before(&own));
        earlier.reduce(|a, b| if a.2.is_before(&b.2) { b } else { a }).map(|(before, record, _)| (before, record))
    }

    /// Whether a file that nothing was decided about yet may lie between two: one that is still being compressed, or one whose name
    /// was not yet listed since the later of the two was met.
    pub(super) fn may_lie_between(&mut self, before: StreamId, next: StreamId) -> bool {
        let Some(met) = self.streams.get(&next).map(|s| s.met) else { return false };
        if self.listed_at.is_none_or(|at| at <= met) {
            self.listed = true;
            return true;
        }
        let model = self.store.model();
        let (Some(first), Some(last)) = (model.streams.get(&before), model.streams.get(&next)) else { return false };
        let (from, to) = (self.age_of(before, first).rank, self.age_of(next, last).rank);
        let place = bytes_path(folder(first));
        let beside = self.by_path.range(place.clone()..).take_while(|(path, _)| path.starts_with(&place));
        let mut undecided =
            beside.filter(|(path, key)| self.waiting_files.contains_key(key) && path.parent() == Some(&place));
        undecided.any(|(path, _)| {
            let rank = Rank::of(path);
            from.as_ref().is_none_or(|from| *from <= rank) && to.as_ref().is_none_or(|to| rank < *to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_ordered_by_their_names() {
        for names in [
            &["/l/0.log.20261122-000039.gz", "/l/0.log.20261122-000040", "/l/0.log"][..],
            &["/l/audit-2026-05-26T12-00-00.000.log", "/l/audit-2026-05-26T12-00-00.001.log.gz", "/l/audit.log"],
            &["/l/9f3b20161208-json.log.3", "/l/9f3b20161208-json.log.1", "/l/9f3b20161208-json.log"],
        ] {
            let mut sorted: Vec<&&str> = names.iter().rev().collect();
            sorted.sort_by_key(|name| Rank::of(Path::new(name)));
            assert_eq!(sorted, names.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_number_is_no_date() {
        for name in ["gateway-12345678.log", "0.log", "ab20261122.log"] {
            assert_eq!(Rank::of(Path::new(name)), Rank::Live, "{name}");
        }
        assert_eq!(Rank::of(Path::new("a.20269922")), Rank::Numbered(Reverse(20_269_922)));
        assert_eq!(Rank::of(Path::new("audit.log-20261122")), Rank::Dated("20261122".into()));
    }
}
