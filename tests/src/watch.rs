//! Follows the File sink's output while the agent runs, so that a writer can wait until its lines are through.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

use crate::book::{Book, Hash, hash};
use crate::output::{self, Output, Record};

/// A thread that reads what the sink writes; ended when dropped.
#[derive(Debug)]
pub struct Watch {
    came: Arc<Mutex<HashSet<Hash>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to follow a File sink.
    pub fn start(live: &Path) -> Self {
        let (came, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut follower = Follower {
            live: live.to_owned(),
            came: Arc::clone(&came),
            open: HashMap::new(),
            fragments: HashMap::new(),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Err(error) = follower.look() {
                    println!("failed to follow the sink: {error:#}");
                }
                thread::sleep(Duration::from_millis(40));
            }
        });
        Self { came, stop, thread: Some(thread) }
    }

    fn came(&self) -> MutexGuard<'_, HashSet<Hash>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every line of these incarnations came.
    pub fn has(&self, book: &Book, incarnations: &[usize]) -> bool {
        let Some(first) = incarnations.iter().min() else { return true };
        let came = self.came();
        let late = book.lines.iter().rev().take_while(|line| line.at.incarnation + 2 >= *first);
        late.filter(|line| line.spans().any(|span| incarnations.contains(&span.incarnation))).all(|line| {
            let pieces = line.pieces.as_ref().is_some_and(|pieces| pieces.iter().all(|(_, hash)| came.contains(hash)));
            pieces || came.contains(&line.text)
        })
    }

    /// How many different texts came.
    pub fn count(&self) -> usize {
        self.came().len()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            println!("the watch of the sink panicked");
        }
    }
}

/// The files are held open, so that what is written to one just before it is compressed and removed is read as well.
struct Follower {
    live: PathBuf,
    came: Arc<Mutex<HashSet<Hash>>>,
    open: HashMap<u64, BufReader<File>>,
    fragments: HashMap<(u128, u64), Vec<u8>>,
}

impl Follower {
    fn look(&mut self) -> Result<()> {
        for path in output::files(&self.live)? {
            if path.extension().is_some_and(|end| end == "gz" || end == "zst") {
                continue;
            }
            match File::open(&path) {
                Ok(file) => _ = self.open.entry(file.metadata()?.ino()).or_insert_with(|| BufReader::new(file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut output = Output { files: vec![self.live.clone()], ..Output::default() };
        for reader in self.open.values_mut() {
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                if !line.ends_with(b"\n") {
                    reader.seek_relative(-(line.len() as i64))?;
                    break;
                }
                output.take(&line, 0, 0);
                line.clear();
            }
        }
        let mut done = Vec::new();
        for (inode, reader) in &mut self.open {
            let meta = reader.get_ref().metadata()?;
            if meta.nlink() == 0 && reader.stream_position()? >= meta.size() {
                done.push(*inode);
            }
        }
        for inode in done {
            self.open.remove(&inode);
        }
        for record in output.records {
            self.take(&record);
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) {
        let text = match record.fragment {
            None => record.text.hash(),
            Some(fragment) => {
                let held = self.fragments.entry((record.id.stream, fragment.line)).or_default();
                if fragment.index == 0 {
                    held.clear();
                }
                held.extend_from_slice(record.text.bytes());
                if !fragment.last {
                    return;
                }
                hash(held)
            }
        };
        self.came.lock().unwrap_or_else(PoisonError::into_inner).insert(text);
    }
}
