//! What a writer knows: every line it wrote, where its bytes went, and what became of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_128;

/// Stands for a text.
pub type Hash = u128;

/// The hash of a text.
pub fn hash(text: &[u8]) -> Hash {
    xxh3_128(text)
}

/// Bytes of one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the incarnation in its book.
    pub incarnation: usize,
    /// Where the bytes begin.
    pub offset: u64,
    /// How many they are, with their newline.
    pub len: u64,
}

/// A line as its writer meant it.
#[derive(Debug, Clone)]
pub struct Line {
    /// The text that must arrive, without newline and envelope.
    pub text: Hash,
    /// Its bytes, or the first of them if it was split over two files.
    pub at: Span,
    /// Its pieces, if it was split.
    pub pieces: Option<Box<[(Span, Hash)]>>,
    /// The same text stands elsewhere too, as in a header that all files begin with.
    pub common: bool,
}

impl Line {
    /// All spans of the line.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        let split = self.pieces.iter().flat_map(|pieces| pieces.iter().map(|(span, _)| *span));
        self.pieces.is_none().then_some(self.at).into_iter().chain(split)
    }
}

/// How content went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// While the agent was dead or stopped.
    Down,
    /// After all of it had been seen in the output.
    Ahead,
    /// Its last name was removed while the agent was up, which may read on through its open file.
    Unlinked,
    /// Truncated while the agent was up and perhaps behind.
    Blind,
}

/// One content of a file from its first byte on: what the agent should see as one stream.
#[derive(Debug, Clone)]
pub struct Incarnation {
    /// Its first name.
    pub path: PathBuf,
    /// When it began.
    pub created: Instant,
    /// Bytes written so far.
    pub size: u64,
    /// When and how its content went away, if it did.
    pub gone: Option<(Instant, How)>,
}

/// How long a new file may go unseen: a second as promised, and what a busy machine takes on top.
pub const DISCOVERY: Duration = Duration::from_millis(1500);

/// The lines and incarnations of one writer.
#[derive(Debug, Clone)]
pub struct Book {
    /// The writer's name.
    pub name: String,
    /// The folder of its own that it writes in.
    pub folder: PathBuf,
    /// Its incarnations in order.
    pub incarnations: Vec<Incarnation>,
    /// Its lines in order.
    pub lines: Vec<Line>,
}

impl Book {
    /// An empty book.
    pub fn new(name: &str, folder: &Path) -> Self {
        Self { name: name.to_owned(), folder: folder.to_owned(), incarnations: Vec::new(), lines: Vec::new() }
    }

    /// Enters a new incarnation and gives back its index.
    pub fn begin(&mut self, path: &Path) -> usize {
        self.incarnations.push(Incarnation { path: path.to_owned(), created: Instant::now(), size: 0, gone: None });
        self.incarnations.len() - 1
    }

    /// Takes the next `len` bytes of an incarnation.
    pub fn extend(&mut self, incarnation: usize, len: u64) -> Span {
        let size = &mut self.incarnations[incarnation].size;
        let offset = *size;
        *size += len;
        Span { incarnation, offset, len }
    }

    /// Enters a line whose raw form takes `len` bytes.
    pub fn line(&mut self, incarnation: usize, text: &[u8], len: u64, common: bool) {
        let at = self.extend(incarnation, len);
        self.lines.push(Line { text: hash(text), at, pieces: None, common });
    }

    /// Enters a line that lies in several places.
    pub fn split(&mut self, text: &[u8], pieces: Vec<(Span, Hash)>) {
        let at = pieces[0].0;
        self.lines.push(Line { text: hash(text), at, pieces: Some(pieces.into()), common: false });
    }

    /// The incarnations that did not come and go faster than a new file is promised to be seen.
    pub fn seeable(&self) -> Vec<usize> {
        let stayed = |i: &Incarnation| i.gone.is_none_or(|(at, _)| at.duration_since(i.created) >= DISCOVERY);
        self.incarnations.iter().enumerate().filter(|(_, i)| stayed(i)).map(|(number, _)| number).collect()
    }

    /// Enters that an incarnation's content went away.
    pub fn gone(&mut self, incarnation: usize, how: How) {
        self.incarnations[incarnation].gone = Some((Instant::now(), how));
    }
}

/// A book that its writer and others hold.
#[derive(Debug, Clone)]
pub struct SharedBook(Arc<Mutex<Book>>);

impl SharedBook {
    /// An empty book.
    pub fn new(name: &str, folder: &Path) -> Self {
        Self(Arc::new(Mutex::new(Book::new(name, folder))))
    }

    /// Opens the book.
    pub fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the book as it stands.
    pub fn copy(&self) -> Book {
        self.open().clone()
    }
}
