//! Reads the log without touching it, even while its owner writes.

use std::path::Path;
use std::time::Duration;

use super::pick::{Picked, pick};
use super::{Error, FILES, Log, Recovered, contents};

/// An owner that writes meanwhile can make what was read look damaged: it is read again this often before that is believed.
const ATTEMPTS: u32 = 10;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(30);

impl Log {
    /// What the log in `dir` holds. Changes nothing and needs no lock.
    pub fn read(dir: &Path) -> Result<Recovered, Error> {
        let mut attempt = 1;
        loop {
            match read_once(dir) {
                Err(Error::Damaged { .. }) if attempt < ATTEMPTS => {
                    attempt += 1;
                    std::thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }
}

fn read_once(dir: &Path) -> Result<Recovered, Error> {
    let paths = FILES.map(|name| dir.join(name));
    let contents = [contents(&paths[0])?, contents(&paths[1])?];
    Ok(match pick(&paths, &contents, false)? {
        Picked::Nothing { .. } => Recovered { fresh: true, ..Recovered::default() },
        Picked::Log { parsed, .. } => parsed.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::super::FRAMES_AT;
    use super::*;

    fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    #[test]
    fn gives_what_opening_gives_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Log::read(dir.path()).unwrap().fresh);
        assert!(files(dir.path()).is_empty());
        let (mut log, _) = Log::open(dir.path(), false).unwrap();
        for round in 0..3 {
            log.append(b"entry").unwrap();
            log.snapshot(&[vec![round; 10]]).unwrap();
            log.append(b"one").unwrap();
            log.append(b"two").unwrap();
            let before = files(dir.path());
            let read = Log::read(dir.path()).unwrap();
            assert_eq!(read.payloads, [vec![round; 10], b"one".to_vec(), b"two".to_vec()]);
            assert_eq!(files(dir.path()), before);
        }
    }

    #[test]
    fn damage_is_told_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), false).unwrap();
        log.snapshot(&[b"all".to_vec()]).unwrap();
        drop(log);
        for name in FILES {
            let path = dir.path().join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[FRAMES_AT as usize + 17] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
        let before = files(dir.path());
        assert!(matches!(Log::read(dir.path()), Err(Error::Damaged { .. })));
        assert_eq!(files(dir.path()), before);
        std::fs::remove_file(dir.path().join(FILES[1])).unwrap();
        assert!(matches!(Log::read(dir.path()), Err(Error::Damaged { .. })));
        assert!(!dir.path().join(FILES[1]).exists());
    }

    #[test]
    fn an_owner_that_writes_meanwhile_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), false).unwrap();
        log.snapshot(&[vec![1; 5000]]).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0_u8;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    round = round.wrapping_add(1);
                    log.append(&[round; 3000]).unwrap();
                    if round.is_multiple_of(16) {
                        log.snapshot(&[vec![round; 5000]]).unwrap();
                    }
                }
            });
            let read: Vec<_> = (0..8).map(|_| Log::read(dir.path())).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            for result in read {
                let payloads = result.unwrap().payloads;
                assert!(payloads.iter().all(|p| p.windows(2).all(|w| w[0] == w[1])));
            }
        });
    }
}
