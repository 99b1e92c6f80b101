//! inotify as a hint: it makes reading prompt, and nothing depends on it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// Something happened in a folder that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A file's bytes changed.
    Written(PathBuf),
    /// Names appeared, vanished or moved in a folder.
    Listed(PathBuf),
    /// Events were lost: look at everything.
    Everything,
}

type Folders = Arc<Mutex<HashMap<i32, PathBuf>>>;

/// The watches. A thread of its own reads the events and hands them on.
pub struct Watch {
    fd: Arc<OwnedFd>,
    folders: Folders,
    by_path: HashMap<PathBuf, i32>,
    refused: bool,
}

impl Watch {
    /// Starts watching nothing yet. `tell` is called from the watch's own thread.
    pub fn start(tell: impl Fn(Hint) -> bool + Send + 'static) -> std::io::Result<Self> {
        let fd = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let folders = Folders::default();
        let (reader, names) = (Arc::clone(&fd), Arc::clone(&folders));
        std::thread::Builder::new().name("inotify".into()).spawn(move || read(&reader, &names, &tell))?;
        Ok(Self { fd, folders, by_path: HashMap::new(), refused: false })
    }

    /// Watches a folder, if the system allows one more.
    pub fn add(&mut self, folder: &Path) {
        if self.by_path.contains_key(folder) {
            return;
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MODIFY
            | WatchFlags::ONLYDIR
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        match inotify::add_watch(&*self.fd, folder, flags) {
            Ok(descriptor) => {
                self.by_path.insert(folder.to_owned(), descriptor);
                self.folders.lock().unwrap_or_else(PoisonError::into_inner).insert(descriptor, folder.to_owned());
            }
            Err(error) if !self.refused => {
                self.refused = true;
                tracing::warn!(folder = %folder.display(), %error, "failed to watch a folder; it is looked at every second instead (raise fs.inotify.max_user_watches)");
            }
            Err(_) => {}
        }
    }

    /// Watches a folder no longer.
    pub fn remove(&mut self, folder: &Path) {
        if let Some(descriptor) = self.by_path.remove(folder) {
            // It fails if the folder is gone already: then the watch is gone too.
            let _gone = inotify::remove_watch(&*self.fd, descriptor);
            self.folders.lock().unwrap_or_else(PoisonError::into_inner).remove(&descriptor);
        }
    }

    /// Whether a folder is watched.
    pub fn has(&self, folder: &Path) -> bool {
        self.by_path.contains_key(folder)
    }
}

fn read(fd: &OwnedFd, folders: &Folders, tell: &dyn Fn(Hint) -> bool) {
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    loop {
        let Ok(event) = events.next() else { return };
        let hint = if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            Hint::Everything
        } else {
            let Some(folder) = folders.lock().unwrap_or_else(PoisonError::into_inner).get(&event.wd()).cloned() else {
                continue;
            };
            match event.file_name() {
                Some(name) if event.events().contains(ReadFlags::MODIFY) => {
                    Hint::Written(folder.join(OsStr::from_bytes(name.to_bytes())))
                }
                _ => Hint::Listed(folder),
            }
        };
        if !tell(hint) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_names_and_of_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let (told, heard) = crossbeam_channel::unbounded();
        let mut watch = Watch::start(move |hint| told.send(hint).is_ok()).unwrap();
        watch.add(dir.path());
        let path = dir.path().join("a.log");
        std::fs::write(&path, "x").unwrap();
        let limit = std::time::Duration::from_secs(5);
        assert_eq!(heard.recv_timeout(limit).unwrap(), Hint::Listed(dir.path().to_owned()));
        assert_eq!(heard.recv_timeout(limit).unwrap(), Hint::Written(path));
    }
}
