//! Programs that write logs and rotators that move them, each in a file of its own.
//!
//! Every kind keeps a [`Book`](crate::book::Book). Where content is destroyed, it is destroyed either while the agent is down or
//! after the agent is through with it, so that the oracle knows which losses it may forgive.

pub mod append;
pub mod chain;
pub mod copytruncate;
pub mod cri;
pub mod dated;
pub mod live;
pub mod logrotate;
pub mod pack;
pub mod pieces;
pub mod qurl;
pub mod replace;
pub mod scribe;
pub mod shell;
pub mod truncate;
pub mod unlink;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::book::Book;
use crate::rng::Rng;
use crate::stage::Stage;
pub use live::Live;
pub use scribe::Scribe;
pub use shell::Shell;

/// One kind of writer.
pub trait Actor: Send {
    /// Writes some lines and now and then does what is particular to the kind.
    fn step(&mut self, scribe: &mut Scribe) -> Result<()>;

    /// Writes out what it holds back.
    fn finish(&mut self, _scribe: &mut Scribe) -> Result<()> {
        Ok(())
    }
}

/// Makes an actor for a scribe.
pub type Make = fn(&mut Scribe) -> Result<Box<dyn Actor>>;

/// A kind of writer: its name, which is also its folder, and how it is made.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Name.
    pub name: &'static str,
    /// Constructor.
    pub make: Make,
}

/// The kinds whose lines are plain text, in files `<folder>/app*`.
pub const PLAIN: &[Kind] = &[
    Kind { name: "append", make: append::make },
    Kind { name: "chain", make: chain::plain },
    Kind { name: "chain-alike", make: chain::alike },
    Kind { name: "chain-gzip", make: chain::gzip },
    Kind { name: "chain-zstd", make: chain::zstd },
    Kind { name: "copy-inside", make: copytruncate::inside },
    Kind { name: "copy-outside", make: copytruncate::outside },
    Kind { name: "truncate", make: truncate::make },
    Kind { name: "truncate-alike", make: truncate::alike },
    Kind { name: "replace", make: replace::make },
    Kind { name: "unlink", make: unlink::make },
    Kind { name: "inode", make: unlink::reuse },
    Kind { name: "dated", make: dated::make },
    Kind { name: "pieces", make: pieces::make },
];

/// Writers at work in threads of their own.
#[derive(Debug)]
pub struct Troupe {
    stage: Arc<Stage>,
    threads: Vec<(String, JoinHandle<Result<Book>>)>,
}

impl Troupe {
    /// An empty troupe.
    pub fn new(stage: &Arc<Stage>) -> Self {
        Self { stage: Arc::clone(stage), threads: Vec::new() }
    }

    /// Sets a writer to work in `<logs>/<its name>`.
    pub fn engage(&mut self, kind: Kind, logs: &std::path::Path, rng: &mut Rng) -> Result<()> {
        let mut scribe = Scribe::new(kind.name, &logs.join(kind.name), rng.fork(), &self.stage)?;
        let mut actor = (kind.make)(&mut scribe).with_context(|| format!("failed to make the writer {}", kind.name))?;
        let stage = Arc::clone(&self.stage);
        let thread = thread::spawn(move || {
            while !stage.over() {
                actor.step(&mut scribe)?;
                // The pace of the writer.
                thread::sleep(Duration::from_millis(scribe.rng.within(1..40)));
            }
            actor.finish(&mut scribe)?;
            Ok(scribe.book.copy())
        });
        self.threads.push((kind.name.to_owned(), thread));
        Ok(())
    }

    /// Ends all writers and gives back their books.
    pub fn finish(mut self) -> Result<Vec<Book>> {
        self.stage.end();
        let threads = std::mem::take(&mut self.threads);
        let join = |(name, thread): (String, JoinHandle<Result<Book>>)| {
            thread
                .join()
                .map_err(|_| anyhow!("the writer {name} panicked"))?
                .with_context(|| format!("the writer {name} failed"))
        };
        threads.into_iter().map(join).collect()
    }
}

impl Drop for Troupe {
    fn drop(&mut self) {
        self.stage.end();
    }
}
