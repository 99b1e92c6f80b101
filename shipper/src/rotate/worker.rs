//! Does what takes long beside the engine, one job at a time: rotation costs the node no more than one thread.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::sink::file::archive::Listed;
use crate::source::archived;
use crate::source::root::Look;
use crate::state::StreamId;
use crate::state::entry::{Cut, FileKey};

use super::collapse::{self, Block, Site};
use super::cycle::LiveName;
use super::fault;
use super::immutable::{self, Flag};
use super::piece::{self, Piece, Written};
use super::reopen::{self, Reopen};
use super::suit::{self, Unsuited};

/// How much the thread yields to the others, 0 to 19.
const NICE: i32 = 10;

/// What the engine wants done. A stream has one job at a time, so that streams bound the queue.
#[derive(Debug)]
pub enum Job {
    /// Say whether a live file can be cut.
    Examine {
        /// The stream.
        stream: StreamId,
        /// Its live file.
        site: Site,
        /// Where its archives go.
        folder: Arc<OwnedFd>,
        /// Its front is to be cut off.
        collapses: bool,
        /// What is to be protected.
        protect: waybill_crds::Protect,
    },
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
    /// Rename a live file and ask its writer to open a new one.
    Rename {
        /// The stream.
        stream: StreamId,
        /// Its live file.
        site: Site,
        /// The live file's name, from which the new one is made.
        live: LiveName,
        /// The cycle and when its content began, in the source's time zone.
        cycle: waybill_crds::Cycle,
        /// See `cycle`.
        began: Box<jiff::Zoned>,
        /// Names that are taken though no file has them.
        taken: Vec<String>,
        /// How the writer is asked.
        reopen: Reopen,
    },
    /// Digest a renamed file that is an archive as it is.
    Seal(StreamId, File),
    /// Ask a writer again.
    Reopen(StreamId, Reopen),
    /// Remove a file whose retention is over.
    Remove(Victim),
    /// Put an attribute on a file.
    Guard(Guard),
    /// Digest a finished archive of a sink.
    Digest {
        /// The sink's name.
        sink: String,
        /// Its live file.
        live: PathBuf,
        /// The archive.
        file: Box<Listed>,
    },
}

/// A file that is to have an attribute.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The archive's number; `None` for a live file.
    pub archive: Option<u64>,
    /// Its path.
    pub path: PathBuf,
    /// The file: another one in its place is left alone.
    pub key: FileKey,
    /// Which attribute.
    pub flag: Flag,
}

/// A file that is to be removed.
#[derive(Debug, Clone)]
pub struct Victim {
    /// The archive's number, if the state knows it as one.
    pub archive: Option<u64>,
    /// Its path.
    pub path: PathBuf,
    /// The file: another one in its place stays.
    pub key: FileKey,
    /// Its folder, if that is open.
    pub folder: Option<Arc<OwnedFd>>,
}

/// What was done, or why not.
#[derive(Debug)]
pub enum Done {
    /// The block size in which the file can be cut, and whether it and its archives can be protected as the policy says.
    Examined(StreamId, Result<u64, Unsuited>, Result<(), String>),
    /// The archive; `None` if there was no whole record.
    Archived(StreamId, io::Result<Option<Written>>),
    /// The archive has its name; the block at the cut.
    Named(StreamId, io::Result<Option<Block>>),
    /// The cut is on disk. After an error the file has to be looked at.
    Cut(StreamId, io::Result<()>),
    /// The file has another name; whether its writer could be asked.
    Renamed(StreamId, io::Result<Result<(), String>>),
    /// Size in bytes and BLAKE3 of the file.
    Sealed(StreamId, io::Result<(u64, Vec<u8>)>),
    /// The writer was asked again.
    Reopened(StreamId, Result<(), String>),
    /// The file is gone, or was not there any more.
    Removed(Victim, io::Result<()>),
    /// The file has its attribute.
    Guarded(Guard, io::Result<()>),
    /// BLAKE3 of a sink's archive, and whether it is immutable.
    Digested {
        /// The sink's name.
        sink: String,
        /// Its live file.
        live: PathBuf,
        /// The archive.
        file: Box<Listed>,
        /// What was found.
        result: io::Result<(Vec<u8>, bool)>,
    },
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
    // Delivery comes first. On Linux this is about the calling thread alone.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the archivist keeps its priority");
    }
    for job in queue {
        tell(match job {
            Job::Examine { stream, site, folder, collapses, protect } => {
                let archives = if protect.archives { immutable::trial(&folder, Flag::Immutable) } else { Ok(()) };
                let live = if protect.live { immutable::trial(&site.folder, Flag::AppendOnly) } else { Ok(()) };
                let suited = if suit::is_read_only(&site.folder) || suit::is_read_only(&folder) {
                    Err(Unsuited::read_only())
                } else if collapses {
                    examine(&site)
                } else {
                    Ok(0)
                };
                Done::Examined(stream, suited, archives.and(live))
            }
            Job::Guard(guard) => {
                let done = self::guard(&guard);
                Done::Guarded(guard, done)
            }
            Job::Archive(piece) => Done::Archived(piece.stream, piece::write(&piece)),
            Job::Name { stream, folder, temporary, name, cut } => {
                let named = piece::name(&folder, &temporary, &name);
                let block = named.and_then(|()| match &cut {
                    Some((file, at, len)) => Block::at(file, *at, *len),
                    None => Ok(None),
                });
                Done::Named(stream, block)
            }
            Job::Rename { stream, site, live, cycle, began, taken, reopen } => {
                let renamed = rename(&site, &live, cycle, &began, taken).map(|()| {
                    fault::point("rename-renamed");
                    let asked = reopen::reopen(&reopen);
                    fault::point("rename-reopened");
                    asked
                });
                Done::Renamed(stream, renamed)
            }
            Job::Seal(stream, file) => {
                let sealed = archived::digest(&file).and_then(|digest| Ok((file.metadata()?.len(), digest)));
                Done::Sealed(stream, sealed)
            }
            Job::Reopen(stream, how) => Done::Reopened(stream, reopen::reopen(&how)),
            Job::Remove(victim) => {
                let removed = remove(&victim);
                Done::Removed(victim, removed)
            }
            Job::Digest { sink, live, file } => {
                let result = digest(&file);
                Done::Digested { sink, live, file, result }
            }
            Job::Cut(stream, site, cut) => Done::Cut(stream, collapse::collapse(&site, &cut)),
        });
    }
}

/// The digest of a sink's archive, if it is still the one that was told of, and whether it is immutable.
fn digest(listed: &Listed) -> io::Result<(Vec<u8>, bool)> {
    let (Some(parent), Some(name)) = (listed.path.parent(), listed.path.file_name()) else {
        return Err(io::Error::other("it has no name"));
    };
    let file = immutable::open(File::open(parent)?, Path::new(name), &listed.key)?;
    if file.metadata()?.len() != listed.size {
        return Err(io::Error::other("it changed meanwhile"));
    }
    // File systems without attributes have none.
    Ok((archived::digest(&file)?, immutable::has(&file, Flag::Immutable).unwrap_or(false)))
}

/// Gives a live file the name of its next archive, durably and without taking a name from another.
fn rename(
    site: &Site,
    live: &LiveName,
    cycle: waybill_crds::Cycle,
    began: &jiff::Zoned,
    mut taken: Vec<String>,
) -> io::Result<()> {
    let file = immutable::open(&site.folder, Path::new(&site.name), &site.key)?;
    for entry in rustix::fs::Dir::read_from(&site.folder)? {
        taken.extend(entry?.file_name().to_str().ok().map(str::to_owned));
    }
    let protected = immutable::has(&file, Flag::AppendOnly).unwrap_or(false);
    if protected {
        immutable::set(&file, Flag::AppendOnly, false)?;
    }
    let name = live.next(cycle, began, taken.iter().map(String::as_str));
    let renamed = piece::rename(&site.folder, &site.name, std::ffi::OsStr::new(&name));
    // If it still has its name, it goes on as the live file.
    if protected && renamed.is_err() && immutable::open(&site.folder, Path::new(&site.name), &site.key).is_ok() {
        immutable::set(&file, Flag::AppendOnly, true)?;
    }
    renamed
}

/// Puts an attribute on a file, if it is still the one that is meant.
fn guard(guard: &Guard) -> io::Result<()> {
    let (Some(parent), Some(name)) = (guard.path.parent(), guard.path.file_name()) else { return Ok(()) };
    let folder = File::open(parent)?;
    let file = immutable::open(&folder, Path::new(name), &guard.key)?;
    immutable::set(&file, guard.flag, true)?;
    fault::point("archive-protected");
    Ok(())
}

/// Removes a file, if it is still the one that is meant; an attribute that forbids it is taken off first.
pub fn remove(victim: &Victim) -> io::Result<()> {
    let (Some(parent), Some(name)) = (victim.path.parent(), victim.path.file_name()) else { return Ok(()) };
    let folder = match &victim.folder {
        Some(folder) => Arc::clone(folder),
        None => match File::open(parent) {
            Ok(folder) => Arc::new(folder.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        },
    };
    let file = match immutable::open(&folder, Path::new(name), &victim.key) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // File systems without attributes have none to take off.
    if immutable::has(&file, Flag::Immutable).unwrap_or(false) {
        immutable::set(&file, Flag::Immutable, false)?;
    }
    fault::point("prune-unprotected");
    piece::remove(&folder, name)?;
    rustix::fs::fsync(&folder)?;
    Ok(())
}

fn examine(site: &Site) -> Result<u64, Unsuited> {
    // For reading only: an append-only file is opened for writing at the moment of the cut.
    let file = immutable::open(&site.folder, Path::new(&site.name), &site.key).map_err(|e| Unsuited {
        reason: format!("it cannot be opened: {e}"),
        remedy: "name the file itself, and let the agent read it",
    })?;
    let look = Look::at_file(&file)
        .map_err(|e| Unsuited { reason: format!("it cannot be looked at: {e}"), remedy: "look at the disk" })?;
    suit::examine(&site.folder, &look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_file_that_cannot_be_renamed_stays_append_only() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let folder = Arc::new(OwnedFd::from(File::open(dir.path()).unwrap()));
        if let Err(why) = immutable::trial(&folder, Flag::AppendOnly) {
            return println!("SKIPPED: {why}");
        }
        let path = dir.path().join("app.log");
        std::fs::write(&path, "one\n").unwrap();
        let (file, frozen) = (File::open(&path).unwrap(), File::open(dir.path()).unwrap());
        let site = Site { folder, name: "app.log".into(), key: Look::at_file(&file).unwrap().key };
        let attempt =
            || rename(&site, &LiveName::of(&path), waybill_crds::Cycle::None, &jiff::Zoned::now(), Vec::new());
        immutable::set(&file, Flag::AppendOnly, true).unwrap();
        immutable::set(&frozen, Flag::Immutable, true).unwrap();
        let failed = attempt();
        let kept = immutable::has(&file, Flag::AppendOnly).unwrap();
        immutable::set(&frozen, Flag::Immutable, false).unwrap();
        let done = attempt();
        let lifted = !immutable::has(&file, Flag::AppendOnly).unwrap();
        immutable::set(&file, Flag::AppendOnly, false).unwrap();
        assert!(failed.is_err() && kept);
        assert!(done.is_ok() && lifted && !path.exists());
    }
}
