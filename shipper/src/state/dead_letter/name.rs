//! From a lane's name to its files and back. A name can hold anything; a file name cannot.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Error, FOLDER, io};

/// Ending of a lane's letters.
pub(super) const LOG: &str = "log";
/// Ending of letters that are set aside to be sent again.
pub(super) const ASIDE: &str = "retrying";
/// Ending of a request to send them again.
pub(super) const REQUEST: &str = "retry";

/// Name of a lane's file with this ending. Everything but letters, digits, `-` and `_` is written as `%` and two digits.
pub(super) fn file_of(lane: &str, ending: &str) -> String {
    let mut out = String::new();
    for byte in lane.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(out, "%{byte:02x}");
        }
    }
    format!("{out}.{ending}")
}

/// The lane and the ending of a file name, if it is one of ours.
fn lane_of(file: &str) -> Option<(String, &str)> {
    let (name, ending) = file.rsplit_once('.')?;
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    Some((String::from_utf8(bytes).ok()?, ending))
}

/// The files with a lane's letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The lane.
    pub lane: String,
    /// Those set aside to be sent again first, then the others.
    pub files: Vec<PathBuf>,
}

/// The lanes that have files of letters, by name.
pub fn kept(state_dir: &Path) -> Result<Vec<Kept>, Error> {
    let folder = state_dir.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("list", &folder)(error)),
    };
    let mut lanes = std::collections::BTreeMap::<String, Vec<PathBuf>>::new();
    for entry in entries {
        let entry = entry.map_err(io("list", &folder))?;
        let file = entry.file_name();
        match file.to_str().and_then(lane_of) {
            Some((lane, ASIDE)) => lanes.entry(lane).or_default().insert(0, entry.path()),
            Some((lane, LOG)) => lanes.entry(lane).or_default().push(entry.path()),
            _ => {}
        }
    }
    Ok(lanes.into_iter().map(|(lane, files)| Kept { lane, files }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_file_of_its_own_inside_the_folder() {
        for lane in ["archive", "a.b", "a%2eb", "../../etc/passwd", "", "ü", "a.log", "\n"] {
            let file = file_of(lane, LOG);
            assert!(!file.contains('/') && !file.starts_with(".."), "{file}");
            assert_eq!(lane_of(&file), Some((lane.to_owned(), LOG)), "{file}");
        }
        assert_eq!(lane_of("a%zz.log"), None);
        assert_eq!(lane_of("lock"), None);
    }
}
