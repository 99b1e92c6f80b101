//! Finding a line by its text, and what is known of the streams so far.

use std::collections::{HashMap, HashSet};

use crate::book::{Book, Hash, Line};
use crate::output::Id;

/// An incarnation: index of its book, index in the book.
pub(super) type Place = (usize, usize);

/// Where a text was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) home: Place,
    pub(super) offset: u64,
    /// It is the n-th piece of a line that its writer split.
    pub(super) piece: Option<usize>,
    pub(super) common: bool,
}

/// How a text came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) id: Id,
}

/// All that is looked up while judging.
#[derive(Debug)]
pub(super) struct Index {
    texts: HashMap<Hash, Written>,
    /// Incarnations that hold more than common lines.
    unique: HashSet<Place>,
    /// The streams that an incarnation came as.
    streams: HashMap<Place, Vec<u128>>,
    /// Unique texts that came.
    pub(super) seen: HashMap<Hash, Seen>,
    /// Common texts that came: stream, offset, text.
    pub(super) common: HashSet<(u128, u64, Hash)>,
    /// Which incarnation a stream is.
    pub(super) homes: HashMap<u128, Place>,
    /// Fragments that make no whole line: stream, offset, what to say.
    pub(super) torn: Vec<(u128, u64, String)>,
}

impl Index {
    pub(super) fn of(books: &[Book]) -> Self {
        let (mut texts, mut unique) = (HashMap::new(), HashSet::new());
        for (at, book) in books.iter().enumerate() {
            for line in &book.lines {
                let home = (at, line.at.incarnation);
                if !line.common {
                    unique.insert(home);
                }
                texts.insert(line.text, Written { home, offset: line.at.offset, piece: None, common: line.common });
                for (number, (span, hash)) in line.pieces.iter().flatten().enumerate() {
                    let home = (at, span.incarnation);
                    texts.insert(*hash, Written { home, offset: span.offset, piece: Some(number), common: false });
                }
            }
        }
        Self {
            texts,
            unique,
            streams: HashMap::new(),
            seen: HashMap::new(),
            common: HashSet::new(),
            homes: HashMap::new(),
            torn: Vec::new(),
        }
    }

    pub(super) fn find(&self, text: Hash) -> Option<Written> {
        self.texts.get(&text).copied()
    }

    /// Notes of which incarnation a stream is, and gives back what was known before.
    pub(super) fn settle(&mut self, stream: u128, place: Place) -> Place {
        *self.homes.entry(stream).or_insert_with(|| {
            self.streams.entry(place).or_default().push(stream);
            place
        })
    }

    /// The streams that an incarnation came as: one, unless the agent's memory was taken away.
    pub(super) fn streams(&self, home: Place) -> &[u128] {
        self.streams.get(&home).map_or(&[], Vec::as_slice)
    }

    /// Whether a common line came in the stream of its incarnation. Where nothing unique of the incarnation came, there is no
    /// such stream, and the unique lines tell what is lost.
    pub(super) fn common_arrived(&self, book: usize, line: &Line) -> bool {
        let home = (book, line.at.incarnation);
        let streams = self.streams(home);
        if streams.is_empty() {
            return self.unique.contains(&home)
                || self.common.iter().any(|(_, offset, text)| (*offset, *text) == (line.at.offset, line.text));
        }
        streams.iter().any(|stream| self.common.contains(&(*stream, line.at.offset, line.text)))
    }
}
