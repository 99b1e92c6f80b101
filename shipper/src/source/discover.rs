//! Finds the files that the policy's patterns name.
//!
//! Folders are listed again when their modification time changed or inotify says so, and now and then anyway; nothing depends on
//! inotify. A path belongs to the first source that matches it. What is ours (state, archives, sinks' files) is never found.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, FileType};

use crate::rotate::piece::TEMPORARY;

use super::pattern::{Captures, Pattern};
use super::root::{Error, FileKind, Look, Root};

/// A folder is listed again after this long even if nothing seems to have changed.
const RELIST: Duration = Duration::from_secs(60);
/// A folder that changed this shortly before it was listed may have changed again within the same tick of its clock.
const TICK_NS: i64 = 100_000_000;
/// Folders that one policy can watch; more are a mistake in a pattern.
pub const MAX_FOLDERS: usize = 65_536;

/// What a source looks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The source's place in the policy.
    pub source: usize,
    /// What it names.
    pub patterns: Vec<Pattern>,
    /// What it leaves out.
    pub exclude: Vec<Pattern>,
}

/// A path that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The source's place in the policy.
    pub source: usize,
    /// What the pattern captured.
    pub captures: Captures,
    /// The root from which it is opened: an index into [`Discovery::root`].
    pub root: usize,
    /// The path is a link.
    pub link: bool,
}

#[derive(Debug)]
struct Folder {
    root: usize,
    modified: i64,
    listed: Instant,
    restless: bool,
    children: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

/// What a look at the folders brought.
#[derive(Debug, Default)]
pub struct Changes {
    /// Paths that are new, or whose folder changed: each may be another file now.
    pub look: BTreeSet<PathBuf>,
    /// Paths that are gone.
    pub gone: Vec<PathBuf>,
    /// Folders met first, to be watched.
    pub folders: Vec<PathBuf>,
    /// Folders that are gone.
    pub folders_gone: Vec<PathBuf>,
    /// Things that a person should know, each once.
    pub refused: Vec<(PathBuf, String)>,
    /// Paths that a later source names too: path, first source, later source. Each pair of sources once.
    pub overlaps: Vec<(PathBuf, usize, usize)>,
}

/// The paths that the policy names at this moment.
pub struct Discovery {
    targets: Vec<Target>,
    roots: Vec<Arc<Root>>,
    wanted_roots: Vec<PathBuf>,
    folders: BTreeMap<PathBuf, Folder>,
    found: BTreeMap<PathBuf, Found>,
    own: Vec<PathBuf>,
    own_stems: Vec<PathBuf>,
    told: HashSet<PathBuf>,
    told_overlaps: HashSet<(usize, usize)>,
}

impl Discovery {
    /// Looks for `targets`. Paths below `read_roots` are opened from there, others from their pattern's folder. Nothing in the folders
    /// `own` is ever found, nor any file whose path begins with one of `own_stems`.
    pub fn new(targets: Vec<Target>, read_roots: &[PathBuf], own: Vec<PathBuf>, own_stems: Vec<PathBuf>) -> Self {
        let mut wanted_roots: Vec<PathBuf> = Vec::new();
        for target in &targets {
            for pattern in &target.patterns {
                let prefix = pattern.prefix();
                let root = read_roots.iter().filter(|r| prefix.starts_with(r)).max_by_key(|r| r.as_os_str().len());
                let root = root.map_or(prefix, PathBuf::as_path);
                if !wanted_roots.iter().any(|r| r == root) {
                    wanted_roots.push(root.to_owned());
                }
            }
        }
        Self {
            targets,
            roots: Vec::new(),
            wanted_roots,
            folders: BTreeMap::new(),
            found: BTreeMap::new(),
            own,
            own_stems,
            told: HashSet::new(),
            told_overlaps: HashSet::new(),
        }
    }

    /// The root of a path that was found.
    pub fn root(&self, index: usize) -> Option<&Arc<Root>> {
        self.roots.get(index)
    }

    /// All paths that are named at this moment.
    pub fn found(&self) -> &BTreeMap<PathBuf, Found> {
        &self.found
    }

    /// The folders that were listed.
    pub fn folders(&self) -> impl Iterator<Item = (&Path, &Arc<Root>)> {
        self.folders.iter().filter_map(|(path, f)| Some((path.as_path(), self.roots.get(f.root)?)))
    }

    /// A folder has to be listed again.
    pub fn touch(&mut self, folder: &Path) {
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.modified = i64::MIN;
        }
    }

    /// Everything has to be listed again.
    pub fn touch_all(&mut self) {
        self.folders.values_mut().for_each(|f| f.modified = i64::MIN);
    }

    /// Looks at every folder whose time changed.
    pub fn scan(&mut self, now: Instant, wall: i64) -> Changes {
        let mut changes = Changes::default();
        self.open_roots(&mut changes);
        let mut queue: Vec<PathBuf> = self.folders.keys().cloned().collect();
        while let Some(path) = queue.pop() {
            self.visit(&path, now, wall, &mut changes, &mut queue);
        }
        changes
    }

    fn open_roots(&mut self, changes: &mut Changes) {
        let missing: Vec<PathBuf> =
            self.wanted_roots.iter().filter(|w| !self.roots.iter().any(|r| r.path() == w.as_path())).cloned().collect();
        for path in missing {
            match Root::open(&path) {
                Ok(root) => self.roots.push(Arc::new(root)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.tell(&path, &format!("cannot be opened: {error}"), changes),
            }
        }
        for target in &self.targets {
            for pattern in &target.patterns {
                let prefix = pattern.prefix();
                let best = (0..self.roots.len()).filter(|i| prefix.starts_with(self.roots[*i].path()));
                let Some(root) = best.max_by_key(|i| self.roots[*i].path().as_os_str().len()) else {
                    continue;
                };
                if !self.folders.contains_key(prefix) && self.roots[root].open_folder(prefix).is_ok() {
                    self.folders.insert(prefix.to_owned(), Folder::new(root));
                    changes.folders.push(prefix.to_owned());
                }
            }
        }
    }

    fn tell(&mut self, path: &Path, what: &str, changes: &mut Changes) {
        if self.told.len() < MAX_FOLDERS && self.told.insert(path.to_owned()) {
            changes.refused.push((path.to_owned(), what.to_owned()));
        }
    }

    fn visit(&mut self, path: &Path, now: Instant, wall: i64, changes: &mut Changes, queue: &mut Vec<PathBuf>) {
        let Some(folder) = self.folders.get(path) else {
            return;
        };
        let Some(root) = self.roots.get(folder.root).cloned() else {
            return;
        };
        let look = match root
            .look(path)
            .and_then(|l| if l.kind == FileKind::Link { root.look_through(path) } else { Ok(l) })
        {
            Ok(look) if look.kind == FileKind::Folder => look,
            _ => return self.drop_folder(path, changes),
        };
        let quiet = folder.modified == look.modified && !folder.restless && now.duration_since(folder.listed) < RELIST;
        if quiet {
            return;
        }
        let index = folder.root;
        let (children, files) = match self.list(&root, path, changes) {
            Ok(listing) => listing,
            Err(error) if error.is_absent() => return self.drop_folder(path, changes),
            Err(error) => return self.tell(path, &format!("cannot be listed: {error}"), changes),
        };
        let fresh = Folder {
            root: index,
            modified: look.modified,
            listed: now,
            restless: wall - look.modified < TICK_NS,
            children: children.clone(),
            files: files.iter().map(|(p, _)| p.clone()).collect(),
        };
        let Some(before) = self.folders.insert(path.to_owned(), fresh) else {
            return;
        };
        let kept: HashSet<&PathBuf> = files.iter().map(|(p, _)| p).collect();
        for gone in before.files.iter().filter(|p| !kept.contains(p)) {
            if self.found.remove(gone).is_some() {
                changes.gone.push(gone.clone());
            }
        }
        for (file, found) in files {
            changes.look.insert(file.clone());
            self.found.insert(file, found);
        }
        let kept: HashSet<PathBuf> = children.iter().cloned().collect();
        for gone in before.children.iter().filter(|p| !kept.contains(*p)) {
            self.drop_folder(gone, changes);
        }
        for child in children {
            if self.folders.contains_key(&child) {
                continue;
            }
            if self.folders.len() >= MAX_FOLDERS {
                self.tell(
                    &child,
                    "is left out: the patterns reach more than 65,536 folders; name them more closely",
                    changes,
                );
                return;
            }
            self.folders.insert(child.clone(), Folder::new(index));
            changes.folders.push(child.clone());
            queue.push(child);
        }
    }

    fn drop_folder(&mut self, path: &Path, changes: &mut Changes) {
        let Some(folder) = self.folders.remove(path) else {
            return;
        };
        changes.folders_gone.push(path.to_owned());
        for file in folder.files {
            if self.found.remove(&file).is_some() {
                changes.gone.push(file);
            }
        }
        for child in folder.children {
            self.drop_folder(&child, changes);
        }
    }

    #[expect(clippy::type_complexity, reason = "two lists that only `visit` takes apart")]
    fn list(
        &mut self,
        root: &Arc<Root>,
        path: &Path,
        changes: &mut Changes,
    ) -> Result<(Vec<PathBuf>, Vec<(PathBuf, Found)>), Error> {
        let fd = root.open_folder(path)?;
        let mut children = Vec::new();
        let mut files = Vec::new();
        for entry in Dir::read_from(&fd).map_err(std::io::Error::from)? {
            let entry = entry.map_err(std::io::Error::from)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let child = path.join(name);
            if self.is_own(&child) {
                continue;
            }
            let mut link = false;
            let mut kind = entry.file_type();
            if matches!(kind, FileType::Symlink | FileType::Unknown) {
                link = kind == FileType::Symlink;
                if self.found_by(&child, &mut Vec::new()).is_none() && !self.may_descend(&child) {
                    continue;
                }
                // The kubelet links every container's log once more, in /var/log/containers.
                if link && std::fs::read_link(&child).is_ok_and(|target| self.is_own(&target)) {
                    continue;
                }
                kind = match root.look_through(&child).map(|l| l.kind) {
                    Ok(FileKind::File) => FileType::RegularFile,
                    Ok(FileKind::Folder) => FileType::Directory,
                    Ok(_) => FileType::Unknown,
                    Err(error) if error.is_absent() => continue,
                    Err(error) => {
                        self.tell(&child, &format!("is refused: {error}"), changes);
                        continue;
                    }
                };
            }
            match kind {
                // A link to a folder is not followed: it would be found twice, or for ever.
                FileType::Directory if !link && self.may_descend(&child) => children.push(child),
                FileType::RegularFile => {
                    let mut later = Vec::new();
                    let Some((source, captures)) = self.found_by(&child, &mut later) else {
                        continue;
                    };
                    for other in later {
                        if self.told_overlaps.insert((source, other)) {
                            changes.overlaps.push((child.clone(), source, other));
                        }
                    }
                    let index = self.roots.iter().position(|r| Arc::ptr_eq(r, root)).unwrap_or(0);
                    files.push((child, Found { source, captures, root: index, link }));
                }
                FileType::Directory => {}
                _ if self.found_by(&child, &mut Vec::new()).is_some() => {
                    self.tell(&child, "is refused: not a regular file", changes)
                }
                _ => {}
            }
        }
        Ok((children, files))
    }

    fn found_by(&self, path: &Path, later: &mut Vec<usize>) -> Option<(usize, Captures)> {
        let mut first = None;
        for target in &self.targets {
            if let Some(captures) = target.matches(path) {
                if first.is_none() {
                    first = Some((target.source, captures));
                } else {
                    later.push(target.source);
                }
            }
        }
        first
    }

    fn may_descend(&self, path: &Path) -> bool {
        self.targets.iter().flat_map(|t| &t.patterns).any(|p| p.may_descend(path))
    }

    fn is_own(&self, path: &Path) -> bool {
        // An archive that is being written, of whatever agent.
        let temporary = path.file_name().is_some_and(|n| n.as_bytes().starts_with(TEMPORARY.as_bytes()));
        temporary
            // What the agent received lies with its state, and is there to be read.
            || self.own.iter().any(|o| path.starts_with(o) && !path.starts_with(o.join(super::receive::FOLDER)))
            || self.own_stems.iter().any(|s| path.as_os_str().as_bytes().starts_with(s.as_os_str().as_bytes()))
    }
}

impl Folder {
    fn new(root: usize) -> Self {
        Self {
            root,
            modified: i64::MIN,
            listed: Instant::now(),
            restless: true,
            children: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Target {
    /// Whether this source names a path, and what its pattern captured.
    pub fn matches(&self, path: &Path) -> Option<Captures> {
        let captures = self.patterns.iter().find_map(|p| p.matches(path))?;
        (!self.exclude.iter().any(|p| p.matches(path).is_some())).then_some(captures)
    }
}

/// Looks at a path that was found, through a link if it is one.
pub fn look(root: &Root, path: &Path, found: &Found) -> Result<Look, Error> {
    if found.link { root.look_through(path) } else { root.look(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(source: usize, pattern: &str) -> Target {
        Target { source, patterns: vec![Pattern::new(pattern).unwrap()], exclude: Vec::new() }
    }

    fn names(changes: &Changes) -> Vec<String> {
        changes.look.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn finds_new_files_folders_and_overlaps_and_loses_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("log");
        let own = base.join("own");
        let text = base.to_str().unwrap();
        let targets = vec![target(0, &format!("{text}/{{hub}}/*.log")), target(1, &format!("{text}/**/*.log"))];
        let mut discovery = Discovery::new(targets, &[], vec![own.clone()], vec![base.join("a/sink")]);
        let mut wall = 0;
        let mut scan = |d: &mut Discovery| {
            wall += 1_000_000_000;
            d.scan(Instant::now(), wall)
        };
        assert!(scan(&mut discovery).look.is_empty());
        std::fs::create_dir_all(base.join("a/deep")).unwrap();
        std::fs::create_dir_all(&own).unwrap();
        for file in ["a/1.log", "a/sink.log", "a/deep/2.log", "own/3.log", "a/no.txt"] {
            std::fs::write(base.join(file), "x").unwrap();
        }
        let changes = scan(&mut discovery);
        assert_eq!(names(&changes), ["1.log", "2.log"]);
        assert_eq!(changes.overlaps.len(), 1);
        assert_eq!(discovery.found()[&base.join("a/1.log")].captures, [("hub".to_owned(), "a".to_owned())]);
        std::fs::rename(base.join("a"), base.join("b")).unwrap();
        discovery.touch_all();
        let changes = scan(&mut discovery);
        assert_eq!(changes.gone.len(), 2);
        assert_eq!(names(&changes), ["1.log", "2.log", "sink.log"]);
    }
}
