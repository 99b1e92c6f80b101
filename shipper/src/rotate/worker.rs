//! Does what takes long beside the engine, one job at a time: rotation costs the node no more than one thread.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::source::root::Look;
use crate::state::StreamId;
use crate::state::entry::Cut;

use super::collapse::{self, Block, Site};
use super::piece::{self, Piece, Written};
use super::suit::{self, Unsuited};

/// What the engine wants done. A stream has one job at a time, so that streams bound the queue.
#[derive(Debug)]
pub enum Job {
    /// Say whether a live file can be cut.
    Examine(StreamId, Site),
    /// Write an archive.
    Archive(Box<Piece>),
    /// Give an archive its name, and look at the block where the live file may be cut.
    Name {
        /// The stream.
        stream: StreamId,
        /// The archive's folder.
        folder: Arc<OwnedFd>,
        /// Its name so far.
        temporary: OsString,
        /// Its name from now on.
        name: OsString,
        /// The live file, open for reading, and where it may be cut: place in the file and block size. `None`: not now.
        cut: Option<(File, u64, u64)>,
    },
    /// Cut the front of a live file off.
    Cut(StreamId, Site, Cut),
}

/// What was done, or why not.
#[derive(Debug)]
pub enum Done {
    /// The block size in which the file can be cut.
    Examined(StreamId, Result<u64, Unsuited>),
    /// The archive; `None` if there was no whole record.
    Archived(StreamId, io::Result<Option<Written>>),
    /// The archive has its name; the block at the cut.
    Named(StreamId, io::Result<Option<Block>>),
    /// The cut is on disk. After an error the file has to be looked at.
    Cut(StreamId, io::Result<()>),
}

/// The engine's end of the thread, which ends when this is dropped and the job under way is done.
#[derive(Debug)]
pub struct Archivist {
    jobs: Sender<Job>,
}

impl Archivist {
    /// Starts the thread; `tell` gets what it did.
    pub fn spawn(tell: impl Fn(Done) + Send + 'static) -> io::Result<Self> {
        let (jobs, queue) = unbounded();
        std::thread::Builder::new().name("archivist".into()).spawn(move || run(&queue, &tell))?;
        Ok(Self { jobs })
    }

    /// Hands a job over; false if the thread is gone.
    pub fn submit(&self, job: Job) -> bool {
        self.jobs.send(job).is_ok()
    }
}

fn run(queue: &Receiver<Job>, tell: &dyn Fn(Done)) {
    for job in queue {
        tell(match job {
            Job::Examine(stream, site) => Done::Examined(stream, examine(&site)),
            Job::Archive(piece) => Done::Archived(piece.stream, piece::write(&piece)),
            Job::Name { stream, folder, temporary, name, cut } => {
                let named = piece::name(&folder, &temporary, &name);
                let block = named.and_then(|()| match &cut {
                    Some((file, at, len)) => Block::at(file, *at, *len),
                    None => Ok(None),
                });
                Done::Named(stream, block)
            }
            Job::Cut(stream, site, cut) => Done::Cut(stream, collapse::collapse(&site, &cut)),
        });
    }
}

fn examine(site: &Site) -> Result<u64, Unsuited> {
    let file = site.open().map_err(|e| Unsuited {
        reason: format!("it cannot be opened for writing: {e}"),
        remedy: "let the agent write to it, and name a file that has no other name",
    })?;
    let look = Look::at_file(&file).map_err(|e| Unsuited {
        reason: format!("it cannot be looked at: {e}"),
        remedy: "look at the disk",
    })?;
    suit::examine(&site.folder, &look)
}
