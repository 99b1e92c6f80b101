//! Notices that a mounted file changed, also where Kubernetes swaps the link behind it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::plan::{Notice, resolve};

/// A policy longer than this is not one, in bytes.
const MAX: u64 = 2 << 20;

type Stamp = Vec<(u64, u64, i64, i64, u64)>;

/// The policy's file, and the secrets beside it.
pub(super) struct Watched {
    file: PathBuf,
    secrets: Option<PathBuf>,
    stamp: Option<Stamp>,
    secrets_stamp: Stamp,
    text: Option<String>,
}

impl Watched {
    pub(super) fn new(file: &Path, secrets: Option<&Path>) -> Self {
        Self {
            file: file.to_owned(),
            secrets: secrets.map(Path::to_owned),
            stamp: None,
            secrets_stamp: Stamp::new(),
            text: None,
        }
    }

    /// Reads the policy.
    pub(super) fn read(&mut self) -> std::io::Result<String> {
        self.stamp = Some(stamp_of(&self.file));
        self.secrets_stamp = self.secrets.as_deref().map(stamp_of_tree).unwrap_or_default();
        let text = read_bounded(&self.file)?;
        self.text = Some(text.clone());
        Ok(text)
    }

    /// The policy's text, if it or a secret changed since it was read.
    pub(super) fn changed(&mut self) -> Option<std::io::Result<String>> {
        let stamp = stamp_of(&self.file);
        let secrets = self.secrets.as_deref().map(stamp_of_tree).unwrap_or_default();
        let same_secrets = secrets == self.secrets_stamp;
        if self.stamp.as_ref() == Some(&stamp) && same_secrets {
            return None;
        }
        let before = self.text.clone();
        let text = self.read();
        match &text {
            // Touched, or swapped for the same: nothing to do.
            Ok(now) if before.as_ref() == Some(now) && same_secrets => None,
            Err(_) => {
                self.text = None;
                Some(text)
            }
            Ok(_) => Some(text),
        }
    }
}

/// The kill switches that are ordered apart from the policy, in a file of their own.
#[derive(Default)]
pub(super) struct SwitchFile {
    path: Option<PathBuf>,
    stamp: Stamp,
}

impl SwitchFile {
    pub(super) fn new(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), stamp: Stamp::new() }
    }

    /// What the file orders, if it changed since it was read. An empty file, as Kubernetes makes it without an annotation, orders
    /// nothing.
    pub(super) fn changed(&mut self) -> Option<Notice> {
        let path = self.path.as_deref()?;
        let stamp = stamp_of(path);
        if self.stamp == stamp {
            return None;
        }
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "failed to read the ordered kill switches; it is tried again");
                return None;
            }
        };
        self.stamp = stamp;
        let notice = resolve::notice(&text);
        if notice.is_none() && !text.trim().is_empty() {
            tracing::warn!(path = %path.display(), "the ordered kill switches cannot be read; those of the policy count");
        }
        notice
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))
}

fn stamp_of(path: &Path) -> Stamp {
    std::fs::metadata(path).map(|m| vec![(m.dev(), m.ino(), m.mtime(), m.mtime_nsec(), m.size())]).unwrap_or_default()
}

fn stamp_of_tree(path: &Path) -> Stamp {
    let mut out = stamp_of(path);
    let Ok(entries) = std::fs::read_dir(path) else { return out };
    let mut children: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    children.sort();
    for child in children.iter().take(256) {
        if child.is_dir() && child.parent() != Some(Path::new("/")) && out.len() < 4096 {
            let Ok(entries) = std::fs::read_dir(child) else { continue };
            let mut keys: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
            keys.sort();
            keys.iter().take(64).for_each(|k| out.extend(stamp_of(k)));
        } else {
            out.extend(stamp_of(child));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_an_edit_and_the_swap_of_a_link_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (folder, text) in [("v1", "a"), ("v2", "b"), ("v3", "b")] {
            std::fs::create_dir(path(folder)).unwrap();
            std::fs::write(path(folder).join("policy.yaml"), text).unwrap();
        }
        let swap = |to: &str| {
            std::os::unix::fs::symlink(to, path("new")).unwrap();
            std::fs::rename(path("new"), path("..data")).unwrap();
        };
        swap("v1");
        std::os::unix::fs::symlink("..data/policy.yaml", path("policy.yaml")).unwrap();
        let mut watched = Watched::new(&path("policy.yaml"), None);
        assert_eq!(watched.read().unwrap(), "a");
        assert!(watched.changed().is_none());
        swap("v2");
        assert_eq!(watched.changed().unwrap().unwrap(), "b");
        swap("v3");
        assert!(watched.changed().is_none());
        std::fs::write(path("v3/policy.yaml"), "c").unwrap();
        assert_eq!(watched.changed().unwrap().unwrap(), "c");
        std::fs::remove_file(path("v3/policy.yaml")).unwrap();
        assert!(watched.changed().unwrap().is_err());
    }

    #[test]
    fn ordered_switches_are_read_once_and_nothing_is_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("switches.json");
        let mut file = SwitchFile::new(Some(&path));
        assert_eq!(file.changed(), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.changed(), None);
        std::fs::write(
            &path,
            r#"{"metadata": {"generation": 7}, "spec": {"killSwitch": {"engaged": true, "reason": "leak", "requestedBy": "me"}}}"#,
        )
        .unwrap();
        let notice = file.changed().unwrap();
        assert_eq!((notice.generation, notice.switches.len(), notice.switches[0].reason.as_str()), (7, 1, "leak"));
        assert_eq!(file.changed(), None);
        std::fs::write(&path, "{\"metadata\": {\"generation\": \"x\"}, ").unwrap();
        assert_eq!(file.changed(), None);
        assert_eq!(SwitchFile::new(None).changed(), None);
    }
}
