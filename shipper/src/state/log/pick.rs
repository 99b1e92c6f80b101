//! Says which of the two files is the log, and reads it. Pure.

use std::path::{Path, PathBuf};

use super::{Error, FRAME_HEADER, FRAMES_AT, Flag, Header, Parsed, SECTOR, VERSION, frame_at, parse};

/// What the two files are.
pub(super) enum Picked {
    /// A log was never begun here, or nothing of it is left, which a repair says.
    Nothing {
        /// What a repair leaves out.
        left_out: Vec<String>,
    },
    /// A log.
    Log {
        /// Which file is active.
        active: usize,
        /// Its generation.
        generation: u64,
        /// What it holds.
        parsed: Parsed,
        /// The file that a repair must give a header again.
        unheaded: Option<usize>,
    },
}

/// Picks the active file of the two by their bytes; `None` = there is no such file.
pub(super) fn pick(paths: &[PathBuf; 2], contents: &[Option<Vec<u8>>; 2], repair: bool) -> Result<Picked, Error> {
    let damaged = |index: usize, what| Error::Damaged { path: paths[index].clone(), at: 0, what };
    let bytes = |index: usize| contents[index].as_deref().unwrap_or_default();
    let slots = [headers(&paths[0], bytes(0))?, headers(&paths[1], bytes(1))?];
    let newest = slots.map(|slots| slots[0].max(slots[1]));
    let mut left_out = Vec::new();
    let mut unheaded = None;
    let (active, generation) = match newest {
        [Some(first), Some(second)] => {
            if second > first {
                (1, second)
            } else {
                (0, first)
            }
        }
        [None, None] => {
            // The end of the first, empty snapshot may be there: nothing was ever entered behind it.
            let entered = FRAMES_AT as usize + FRAME_HEADER;
            let blank = [0, 1].iter().all(|index| bytes(*index).iter().skip(entered).all(|b| *b == 0));
            return match (blank, repair) {
                (true, _) => Ok(Picked::Nothing { left_out }),
                (false, true) => {
                    left_out.push("neither file had a header that checked: everything".to_owned());
                    Ok(Picked::Nothing { left_out })
                }
                (false, false) => Err(damaged(0, "neither of the two files has a header that checks")),
            };
        }
        [Some(found), None] | [None, Some(found)] => {
            let headed = usize::from(newest[0].is_none());
            let other = 1 - headed;
            let newer = was_active(bytes(other), found + 1);
            // Both files are made before the first header is written, and the second generation heads the second file.
            if contents[other].is_some() && found == 1 && !newer {
                (headed, found)
            } else if !repair {
                let gone = contents[other].is_none();
                return Err(damaged(other, if gone { "it is gone" } else { "its header does not check" }));
            } else {
                left_out.push(format!("{}: its header", paths[other].display()));
                unheaded = Some(other);
                if newer { (other, found + 1) } else { (headed, found) }
            }
        }
    };
    let (active, generation, mut parsed) = match parse(&paths[active], bytes(active), generation, repair) {
        // A header of which one copy alone was renewed when the machine stopped: the other file is still the whole one.
        Err(error @ Error::Damaged { .. }) => match newest[1 - active] {
            Some(older) if slots[active][0] != slots[active][1] => {
                (1 - active, older, parse(&paths[1 - active], bytes(1 - active), older, repair)?)
            }
            _ => return Err(error),
        },
        parsed => (active, generation, parsed?),
    };
    if repair && !parsed.whole {
        // The other file holds all that led up to the snapshot; entries have absolute values, so what checks here goes over it.
        let older = newest[1 - active].filter(|older| older + 1 == generation);
        if let Some(Ok(base)) = older.map(|older| parse(&paths[1 - active], bytes(1 - active), older, true)) {
            left_out.extend(base.left_out);
            parsed.payloads = [base.payloads, parsed.payloads].concat();
        }
    }
    left_out.append(&mut parsed.left_out);
    parsed.left_out = left_out;
    Ok(Picked::Log { active, generation, parsed, unheaded })
}

/// The generations that the two copies of a header name.
fn headers(path: &Path, bytes: &[u8]) -> Result<[Option<u64>; 2], Error> {
    let mut found = [None; 2];
    for (slot, at) in found.iter_mut().zip([0, SECTOR as usize]) {
        match Header::decode(bytes.get(at..).unwrap_or_default()) {
            Some((version, _)) if version > VERSION => {
                return Err(Error::Version { path: path.to_owned(), found: version });
            }
            header => *slot = header.map(|(_, header)| header.generation),
        }
    }
    Ok(found)
}

/// Whether a file without a header was once active: entries are written only behind a header. Whatever else of it is destroyed, one
/// entry is enough.
fn was_active(bytes: &[u8], generation: u64) -> bool {
    let entry = |at| frame_at(bytes, at, generation, None).is_some_and(|frame| frame.flag == Flag::Entries);
    (FRAMES_AT as usize..bytes.len()).any(entry)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::super::{FILES, Log, Recovered};
    use super::*;

    fn filled(dir: &Path) {
        let (mut log, _) = Log::open(dir, false).unwrap();
        log.append(b"one").unwrap();
        log.append(b"two").unwrap();
        log.snapshot(&[b"one".to_vec(), b"two".to_vec()]).unwrap();
        log.append(b"three").unwrap();
    }

    fn write(dir: &Path, file: usize, at: u64, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).open(dir.join(FILES[file])).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    fn texts(recovered: &Recovered) -> Vec<&str> {
        recovered.payloads.iter().map(|p| std::str::from_utf8(p).unwrap()).collect()
    }

    #[test]
    fn a_file_that_lost_its_header_is_damage_and_no_step_back_in_time() {
        for generations in 2..5 {
            let dir = tempfile::tempdir().unwrap();
            filled(dir.path());
            let (mut log, _) = Log::open(dir.path(), false).unwrap();
            for _ in 2..generations {
                log.snapshot(&[b"one".to_vec(), b"two".to_vec()]).unwrap();
                log.append(b"three").unwrap();
            }
            drop(log);
            // The generations alternate, and the first one is in the first file.
            let active = usize::from(generations % 2 == 0);
            write(dir.path(), active, 0, &[0; FRAMES_AT as usize]);
            assert!(matches!(Log::read(dir.path()), Err(Error::Damaged { .. })));
            assert!(matches!(Log::open(dir.path(), false), Err(Error::Damaged { .. })));
            let (mut log, recovered) = Log::open(dir.path(), true).unwrap();
            assert_eq!(texts(&recovered), ["one", "two", "three"], "{generations}");
            assert_eq!(recovered.left_out.len(), 1);
            log.snapshot(&[b"all".to_vec()]).unwrap();
            assert_eq!(texts(&Log::open(dir.path(), false).unwrap().1), ["all"]);
        }
    }

    #[test]
    fn a_file_whose_beginning_was_zeroed_is_damage_too() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        write(dir.path(), 1, 0, &[0; FRAMES_AT as usize + 20]);
        assert!(matches!(Log::open(dir.path(), false), Err(Error::Damaged { .. })));
        let (_, recovered) = Log::open(dir.path(), true).unwrap();
        assert_eq!(texts(&recovered), ["one", "two", "two", "three"]);
    }

    #[test]
    fn a_damaged_snapshot_is_made_good_from_the_file_before_it() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        write(dir.path(), 1, FRAMES_AT + 24, b"X");
        assert!(Log::open(dir.path(), false).is_err());
        let (_, recovered) = Log::open(dir.path(), true).unwrap();
        assert_eq!(texts(&recovered), ["one", "two", "two", "three"]);
        assert_eq!(recovered.left_out.len(), 1);
    }

    #[test]
    fn nothing_of_a_destroyed_log_passes_for_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        for file in [0, 1] {
            write(dir.path(), file, 0, &[1; FRAMES_AT as usize]);
        }
        let (log, recovered) = Log::open(dir.path(), true).unwrap();
        assert!(recovered.fresh && recovered.left_out.len() == 1);
        drop(log);
        let (mut log, recovered) = Log::open(dir.path(), false).unwrap();
        assert!(recovered.payloads.is_empty());
        log.snapshot(&[b"new".to_vec()]).unwrap();
        assert_eq!(texts(&Log::open(dir.path(), false).unwrap().1), ["new"]);
    }
}
