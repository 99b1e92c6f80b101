//! Files that wait to be read before it can be said which stream they are.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

/// One folder after the other, and in each the order in which its files were met: that is the order of their lines.
#[derive(Debug, Default)]
pub(super) struct Line {
    folders: VecDeque<PathBuf>,
    files: HashMap<PathBuf, VecDeque<PathBuf>>,
}

impl Line {
    /// No file waits.
    pub(super) fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Whether files of the same folder wait.
    pub(super) fn holds_up(&self, path: &Path) -> bool {
        path.parent().is_some_and(|folder| self.files.contains_key(folder))
    }

    /// A file comes last in its folder.
    pub(super) fn join(&mut self, path: &Path) {
        let Some(folder) = path.parent() else { return };
        if !self.files.contains_key(folder) {
            self.folders.push_back(folder.to_owned());
        }
        self.files.entry(folder.to_owned()).or_default().push_back(path.to_owned());
    }

    /// The file whose turn it was is not done yet.
    pub(super) fn return_to_front(&mut self, path: &Path) {
        let Some(folder) = path.parent() else { return };
        if !self.files.contains_key(folder) {
            self.folders.push_front(folder.to_owned());
        }
        self.files.entry(folder.to_owned()).or_default().push_front(path.to_owned());
    }

    /// The file whose turn it is leaves the line.
    pub(super) fn next(&mut self) -> Option<PathBuf> {
        let folder = self.folders.front()?;
        let files = self.files.get_mut(folder)?;
        let path = files.pop_front();
        if files.is_empty() {
            self.files.remove(folder);
            self.folders.pop_front();
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_one_after_the_other_and_their_files_in_order() {
        let mut line = Line::default();
        for path in ["/b/1", "/a/1", "/b/2", "/a/2"] {
            line.join(Path::new(path));
        }
        assert!(line.holds_up(Path::new("/a/3")) && !line.holds_up(Path::new("/c/1")));
        let first = line.next().unwrap();
        line.return_to_front(&first);
        let order: Vec<PathBuf> = std::iter::from_fn(|| line.next()).collect();
        assert_eq!(order, ["/b/1", "/b/2", "/a/1", "/a/2"].map(PathBuf::from));
        assert!(line.is_empty() && !line.holds_up(Path::new("/a/3")));
        // Its folder is still the first when the last one of it is not done.
        line.join(Path::new("/b/1"));
        line.join(Path::new("/a/1"));
        let first = line.next().unwrap();
        line.return_to_front(&first);
        assert_eq!(line.next(), Some(first));
    }
}
