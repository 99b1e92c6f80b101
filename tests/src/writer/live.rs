//! A log file as its writer holds it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::book::SharedBook;

/// An open log file, appended to.
#[derive(Debug)]
pub struct Live {
    /// Its name.
    pub path: PathBuf,
    /// Which incarnation is being written.
    pub incarnation: usize,
    file: File,
}

impl Live {
    /// Creates a file, which must not exist, as a new incarnation.
    pub fn create(book: &SharedBook, path: &Path) -> Result<Self> {
        let made = OpenOptions::new().create_new(true).append(true).open(path);
        let file = made.with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { path: path.to_owned(), incarnation: book.open().begin(path), file })
    }

    /// Opens an empty file that someone else created, as a new incarnation.
    pub fn adopt(book: &SharedBook, path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().append(true).open(path).with_context(|| format!("failed to open {}", path.display()))?;
        Ok(Self { path: path.to_owned(), incarnation: book.open().begin(path), file })
    }

    /// Opens the file that now has the name and holds the same content.
    pub fn reopen(&mut self) -> Result<()> {
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(())
    }

    /// Lets go of the file; the next write needs another.
    pub fn close(&mut self) -> Result<()> {
        self.file = File::open("/dev/null")?;
        Ok(())
    }

    /// Truncates the file; what comes next is a new incarnation.
    pub fn truncate(&mut self, book: &SharedBook) -> Result<()> {
        self.file.set_len(0)?;
        self.begin(book);
        Ok(())
    }

    /// Begins a new incarnation in the same file, which someone else has emptied.
    pub fn begin(&mut self, book: &SharedBook) {
        self.incarnation = book.open().begin(&self.path);
    }

    /// Writes lines with one call and enters them.
    pub fn lines<T: AsRef<[u8]>>(&mut self, book: &SharedBook, texts: &[T]) -> Result<()> {
        self.all(book, texts, false)
    }

    /// Writes lines that stand elsewhere too, followed by one that does not, with one call.
    pub fn header<T: AsRef<[u8]>>(&mut self, book: &SharedBook, common: &[T], own: &[u8]) -> Result<()> {
        let mut raw = Vec::new();
        {
            let mut book = book.open();
            for text in common {
                book.line(self.incarnation, text.as_ref(), text.as_ref().len() as u64 + 1, true);
                raw.extend_from_slice(text.as_ref());
                raw.push(b'\n');
            }
            book.line(self.incarnation, own, own.len() as u64 + 1, false);
        }
        raw.extend_from_slice(own);
        raw.push(b'\n');
        self.raw(&raw)
    }

    fn all<T: AsRef<[u8]>>(&mut self, book: &SharedBook, texts: &[T], common: bool) -> Result<()> {
        let mut raw = Vec::new();
        {
            let mut book = book.open();
            for text in texts {
                book.line(self.incarnation, text.as_ref(), text.as_ref().len() as u64 + 1, common);
                raw.extend_from_slice(text.as_ref());
                raw.push(b'\n');
            }
        }
        self.raw(&raw)
    }

    /// Makes everything durable that was written so far.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("failed to sync {}", self.path.display()))
    }

    /// Writes bytes that the caller enters.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("failed to write {}", self.path.display()))
    }
}
