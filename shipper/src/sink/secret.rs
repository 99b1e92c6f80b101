//! Reads secrets where Kubernetes mounts them: `<secrets-dir>/<secret>/<key>`.
//!
//! They are read anew for each connection, and [`Secrets::stamp`] tells a sink that stays connected when to make a new one.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use waybill_crds::SecretKey;

use super::Failure;

/// A secret longer than this is not one, in bytes.
const MAX: u64 = 1 << 20;

/// Where the secrets are.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    dir: Option<PathBuf>,
    in_pod: bool,
}

/// A secret's bytes. Shows itself in no error and no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// The bytes as they are in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What the files of some secrets look like; differs as soon as one of them is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp(Vec<Option<[i64; 5]>>);

impl Secrets {
    /// Secrets below a folder; without one every secret is missing.
    pub fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, in_pod: false }
    }

    /// The same in a pod: a Secret that has no folder yet is mounted when the pod is made anew.
    #[must_use]
    pub fn in_pod(self, in_pod: bool) -> Self {
        Self { in_pod, ..self }
    }

    /// Whether this is a pod, which gets what its policy needs with its next start.
    pub fn is_in_pod(&self) -> bool {
        self.in_pod
    }

    /// Reads a secret whole: certificates and keys.
    pub fn read(&self, key: &SecretKey) -> Result<Secret, Failure> {
        let name = format!("secret {}, key {}", key.secret, key.key);
        let Some(path) = self.path(key) else {
            return Err(Failure::held(
                format!("{name}: there is no folder of secrets"),
                "start the agent with --secrets-dir",
            ));
        };
        if self.in_pod && path.parent().is_some_and(|folder| !folder.exists()) {
            return Err(Failure::AwaitingRestart { what: format!("{name}: this pod does not mount that Secret yet") });
        }
        let read = std::fs::File::open(&path).and_then(|file| {
            let mut bytes = Vec::new();
            file.take(MAX + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        match read {
            Ok(bytes) if bytes.len() as u64 > MAX => {
                Err(Failure::held(format!("{name}: {} is longer than 1 MiB", path.display()), "put the secret there"))
            }
            Ok(bytes) if bytes.is_empty() => {
                Err(Failure::held(format!("{name}: {} is empty", path.display()), "put the secret there"))
            }
            Ok(bytes) => Ok(Secret(bytes)),
            Err(error) => Err(Failure::held(
                format!("{name}: {} cannot be read: {error}", path.display()),
                "make the Secret with that key, or correct the name in the policy",
            )),
        }
    }

    /// Reads a password or token: text, without the line's end that editors leave.
    pub fn text(&self, key: &SecretKey) -> Result<String, Failure> {
        let secret = self.read(key)?;
        let name = || format!("secret {}, key {}", key.secret, key.key);
        let text = std::str::from_utf8(secret.bytes())
            .map_err(|_| Failure::held(format!("{}: is not UTF-8 text", name()), "put the plain text there"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.contains(char::is_control) {
            let what = format!("{}: has control characters inside", name());
            return Err(Failure::held(what, "put the plain text there, on one line"));
        }
        Ok(text.to_owned())
    }

    /// What the files look like now.
    pub fn stamp<'a>(&self, keys: impl IntoIterator<Item = &'a SecretKey>) -> Stamp {
        let look = |key: &SecretKey| {
            let found = std::fs::metadata(self.path(key)?).ok()?;
            Some([found.dev() as i64, found.ino() as i64, found.mtime(), found.mtime_nsec(), found.size() as i64])
        };
        Stamp(keys.into_iter().map(look).collect())
    }

    fn path(&self, key: &SecretKey) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(&key.secret).join(&key.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SecretKey {
        SecretKey { secret: "es".into(), key: name.into() }
    }

    #[test]
    fn reads_text_without_its_end_of_line_and_names_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().to_owned()));
        std::fs::create_dir(dir.path().join("es")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join("es").join(name), text).unwrap();
        write("password", "pass word\r\n");
        write("empty", "");
        write("lines", "a\nb");
        assert_eq!(secrets.text(&key("password")).unwrap(), "pass word");
        for (name, part) in [("empty", "is empty"), ("lines", "control characters"), ("none", "No such file")] {
            let failure = secrets.text(&key(name)).unwrap_err();
            assert!(failure.is_held());
            let text = failure.to_string();
            assert!(text.contains(part) && text.contains(&format!("secret es, key {name}")), "{text}");
        }
        assert!(Secrets::default().text(&key("password")).unwrap_err().to_string().contains("--secrets-dir"));
        assert!(!format!("{:?}", secrets.read(&key("password")).unwrap()).contains("pass"));
    }

    #[test]
    fn a_secret_that_the_pod_does_not_mount_comes_with_its_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let host = Secrets::new(Some(dir.path().to_owned()));
        assert!(!host.text(&key("password")).unwrap_err().awaits_restart());
        let pod = host.in_pod(true);
        let failure = pod.text(&key("password")).unwrap_err();
        assert!(failure.is_held() && failure.awaits_restart(), "{failure}");
        // An optional Secret that is not there is mounted as an empty folder: a person has to make it.
        std::fs::create_dir(dir.path().join("es")).unwrap();
        let failure = pod.text(&key("password")).unwrap_err();
        assert!(failure.is_held() && !failure.awaits_restart(), "{failure}");
    }

    #[test]
    fn the_stamp_tells_of_a_replaced_file() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(Some(dir.path().to_owned()));
        std::fs::create_dir(dir.path().join("es")).unwrap();
        let none = secrets.stamp([&key("a")]);
        std::fs::write(dir.path().join("es/a"), "1").unwrap();
        let one = secrets.stamp([&key("a")]);
        assert_ne!(none, one);
        assert_eq!(one, secrets.stamp([&key("a")]));
        std::fs::write(dir.path().join("es/b"), "1").unwrap();
        std::fs::rename(dir.path().join("es/b"), dir.path().join("es/a")).unwrap();
        assert_ne!(one, secrets.stamp([&key("a")]));
    }
}
