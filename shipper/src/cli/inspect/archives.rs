//! `waybill inspect archives`: whether the archives are what the ledger says.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::text;
use crate::source::archived;
use crate::source::root::Look;
use crate::source::stream::bytes_path;
use crate::state::StreamId;
use crate::state::entry::ArchiveRecord;

use super::{fail, read};

/// Read every archive of a state, and compare its size and digest with the ledger
///
/// Exit status: 0 all are as they were made, 1 one is altered, cut, replaced or missing.
#[derive(Debug, Args)]
pub struct ArchivesArgs {}

/// What was found of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Found {
    /// As it was made.
    Whole,
    /// As large as it was, with other bytes, or larger.
    Altered,
    /// Shorter than it was.
    Cut,
    /// Another file with other bytes.
    Replaced,
    /// Nothing is there.
    Missing,
    /// It cannot be read.
    Unreadable,
}

/// Whose bytes an archive holds.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Holds {
    /// What a sink wrote.
    Sink { sink: String },
    /// A stretch of a stream.
    Stretch { source: String, stream: String, from: u64, to: u64, first_record: u64, last_record: u64 },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    archive: u64,
    path: String,
    state: Found,
    #[serde(flatten)]
    holds: Holds,
    size: u64,
    digest: String,
    immutable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Checks all and prints what was found.
pub(super) fn run(dir: &Path, json: bool) -> ExitCode {
    let rows = match rows(dir) {
        Ok(rows) => rows,
        Err(error) => return fail(&error),
    };
    let bad = rows.iter().filter(|row| row.state != Found::Whole).count();
    let shown = if json {
        serde_json::to_string_pretty(&rows).map(|json| json + "\n").map_err(|e| e.to_string())
    } else {
        Ok(page(&rows, bad))
    };
    match shown {
        Err(error) => fail(&error),
        Ok(shown) => match (text::print(&shown), bad) {
            (printed, 0) => printed,
            _ => ExitCode::FAILURE,
        },
    }
}

fn rows(dir: &Path) -> Result<Vec<Row>, String> {
    let (state, _) = read(dir)?;
    let there = |a: &&ArchiveRecord| a.phase == ArchiveRecord::THERE;
    let mut rows: Vec<Row> = state.archives.values().filter(there).map(examine).collect();
    if rows.iter().any(|row| row.state != Found::Whole) {
        // The agent may have removed it in good order since the state was read.
        let (now, _) = read(dir)?;
        rows.retain(|row| row.state == Found::Whole || now.archives.get(&row.archive).as_ref().is_some_and(there));
    }
    Ok(rows)
}

fn page(rows: &[Row], bad: usize) -> String {
    use std::fmt::Write as _;
    let mut page = String::new();
    for row in rows {
        let state = match row.state {
            Found::Whole if row.immutable => "whole, immutable",
            Found::Whole => "whole",
            Found::Altered => "ALTERED",
            Found::Cut => "CUT",
            Found::Replaced => "REPLACED",
            Found::Missing => "MISSING",
            Found::Unreadable => "UNREADABLE",
        };
        let what = match &row.holds {
            Holds::Sink { sink } => format!("written by sink {}", text::safe(sink)),
            Holds::Stretch { first_record, last_record, .. } => format!("{} records", last_record + 1 - first_record),
        };
        let _written = write!(page, "{state:18} {}  {what}, {} bytes on disk", text::safe(&row.path), row.size);
        if let Some(error) = &row.error {
            let _written = write!(page, ": {}", text::safe(error));
        }
        page.push('\n');
    }
    let _written = writeln!(page, "{} archives, {bad} of them not as they were made", rows.len());
    page
}

fn examine(record: &ArchiveRecord) -> Row {
    let path = bytes_path(&record.extent.path);
    let (state, error) = match look(&path, record) {
        Ok(found) => (found, None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Found::Missing, None),
        Err(error) => (Found::Unreadable, Some(error.to_string())),
    };
    let digest = blake3::Hash::from_slice(&record.extent.digest);
    let holds = if record.sink.is_empty() {
        Holds::Stretch {
            source: record.source.clone(),
            stream: StreamId::from_slice(&record.stream).unwrap_or_default().to_string(),
            from: record.extent.from,
            to: record.extent.to,
            first_record: record.begin.seq + 1,
            last_record: record.end.seq,
        }
    } else {
        Holds::Sink { sink: record.sink.clone() }
    };
    Row {
        archive: record.number,
        path: path.display().to_string(),
        state,
        holds,
        size: record.size,
        digest: digest.map(|h| h.to_hex().to_string()).unwrap_or_default(),
        immutable: record.immutable,
        error,
    }
}

fn look(path: &Path, record: &ArchiveRecord) -> std::io::Result<Found> {
    // A link in its place is not the archive, wherever it leads.
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(Found::Replaced);
    }
    let file = File::open(path)?;
    let look = Look::at_file(&file)?;
    if look.size == record.size && archived::digest(&file)? == record.extent.digest {
        return Ok(Found::Whole);
    }
    let same = (look.key.ino, look.key.born) == (record.extent.file.ino, record.extent.file.born);
    Ok(match same {
        false => Found::Replaced,
        true if look.size < record.size => Found::Cut,
        true => Found::Altered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stream::path_bytes;
    use crate::state::entry::Extent;

    #[test]
    fn names_what_was_done_to_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gz");
        std::fs::write(&path, "as it was made").unwrap();
        let file = File::open(&path).unwrap();
        let extent = Extent {
            path: path_bytes(&path),
            file: Look::at_file(&file).unwrap().key,
            digest: archived::digest(&file).unwrap(),
            ..Extent::default()
        };
        let record = ArchiveRecord { extent, size: 14, ..ArchiveRecord::default() };
        let state = || examine(&record).state;
        assert_eq!(state(), Found::Whole);
        std::fs::write(&path, "as it was MADE").unwrap();
        assert_eq!(state(), Found::Altered);
        std::fs::write(&path, "as it was").unwrap();
        assert_eq!(state(), Found::Cut);
        // The file itself is kept open, so that its inode is not given to the next one.
        std::fs::remove_file(&path).unwrap();
        assert_eq!(state(), Found::Missing);
        std::fs::write(&path, "as it was MADE").unwrap();
        assert_eq!(state(), Found::Replaced);
        std::fs::write(&path, "as it was made").unwrap();
        assert_eq!(state(), Found::Whole);
        std::fs::rename(&path, dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink("b", &path).unwrap();
        assert_eq!(state(), Found::Replaced);
    }
}
