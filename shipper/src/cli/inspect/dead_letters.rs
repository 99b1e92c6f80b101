//! `waybill inspect dead-letters`: what sinks refused, and why; and sends it again.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::fail;
use crate::cli::text::{self, Table, count, moment, number, safe, size};
use crate::state::dead_letter::{Error, Kept, Letter, Letters, kept, request};

/// Show the records that sinks refused, with the reasons
///
/// They wait in the state directory, at most 256 MiB a sink; when that is full, the sink holds. Correct what made the sink refuse them
/// (a mapping, a limit), then send them again with --retry: they keep their ids, so that nothing is in the sink twice.
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    /// Only this sink's
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
    /// Send them again: at once if the agent runs, else when it starts
    #[arg(long)]
    pub retry: bool,
    /// How many of the newest to print with their records, for each sink
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "retry")]
    pub last: usize,
}

impl DeadLettersArgs {
    pub(super) fn run(&self, dir: &Path, json: bool) -> ExitCode {
        let lanes = match kept(dir) {
            Ok(lanes) => lanes,
            Err(error) => return fail(&error),
        };
        let lanes: Vec<Kept> = lanes.into_iter().filter(|k| self.sink.as_ref().is_none_or(|s| *s == k.lane)).collect();
        if lanes.is_empty() {
            if json {
                return ExitCode::SUCCESS;
            }
            let whose = self.sink.as_ref().map_or("there are".to_owned(), |sink| format!("sink {} has", safe(sink)));
            return text::print(&format!("{whose} no dead letters in {}\n", safe(&dir.display().to_string())));
        }
        if self.retry {
            return retry(dir, &lanes);
        }
        if json {
            return finish(write_json(&lanes, &mut BufWriter::new(io::stdout().lock())));
        }
        match lanes.iter().map(|lane| Survey::of(lane, self.last)).collect::<Result<Vec<_>, _>>() {
            Ok(surveys) => text::print(&surveys.iter().map(Survey::page).collect::<String>()),
            Err(error) => fail(&error),
        }
    }
}

fn retry(dir: &Path, lanes: &[Kept]) -> ExitCode {
    let mut page = String::new();
    for lane in lanes {
        if let Err(error) = request(dir, &lane.lane) {
            return fail(&error);
        }
        let lane = safe(&lane.lane);
        let _written =
            writeln!(page, "the dead letters of {lane} are sent again, at once if the agent runs, else when it starts");
    }
    text::print(&page)
}

fn finish(written: Result<(), Failure>) -> ExitCode {
    match written {
        Err(Failure::Write(error)) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error),
        Err(Failure::Read(error)) => fail(&error),
        _ => ExitCode::SUCCESS,
    }
}

enum Failure {
    Read(Error),
    Write(io::Error),
}

/// One JSON object a line. The record is text: JSON itself, as the sink was given it.
fn write_json(lanes: &[Kept], out: &mut impl Write) -> Result<(), Failure> {
    for lane in lanes {
        for file in &lane.files {
            for letter in Letters::open(file).map_err(Failure::Read)? {
                let letter = letter.map_err(Failure::Read)?;
                let line = serde_json::json!({
                    "sink": lane.lane, "id": letter.id, "reason": letter.reason, "time": letter.time,
                    "record": String::from_utf8_lossy(&letter.record),
                });
                writeln!(out, "{line}").map_err(Failure::Write)?;
            }
        }
    }
    out.flush().map_err(Failure::Write)
}

/// What a lane's letters are about.
#[derive(Debug, Default)]
struct Survey {
    lane: String,
    letters: u64,
    bytes: u64,
    damaged: u64,
    /// By reason: how many, and when first and last.
    reasons: BTreeMap<String, (u64, i64, i64)>,
    newest: VecDeque<Letter>,
}

/// Reasons that are told apart: a hostile record can make each of its refusals a little different.
const REASONS: usize = 50;
/// What is shown of one record, in characters.
const SHOWN: usize = 400;

impl Survey {
    fn of(kept: &Kept, last: usize) -> Result<Self, Error> {
        let mut survey = Self { lane: kept.lane.clone(), ..Self::default() };
        for file in &kept.files {
            let mut letters = Letters::open(file)?;
            for letter in letters.by_ref() {
                survey.take(letter?, last);
            }
            survey.damaged += letters.damaged();
        }
        Ok(survey)
    }

    fn take(&mut self, letter: Letter, last: usize) {
        self.letters += 1;
        self.bytes += letter.record.len() as u64;
        let known = self.reasons.len() < REASONS || self.reasons.contains_key(&letter.reason);
        let reason = if known { letter.reason.clone() } else { "(other reasons)".to_owned() };
        let seen = self.reasons.entry(reason).or_insert((0, letter.time, letter.time));
        *seen = (seen.0 + 1, seen.1.min(letter.time), seen.2.max(letter.time));
        self.newest.push_back(letter);
        if self.newest.len() > last {
            self.newest.pop_front();
        }
    }

    /// Writing to a string cannot fail.
    fn page(&self) -> String {
        let mut out = format!(
            "{}: {}, {}\n",
            safe(&self.lane),
            count(self.letters, "dead letter", "dead letters"),
            size(self.bytes)
        );
        if self.damaged > 0 {
            let _written = writeln!(out, "  ! {} between them do not check and are passed over", size(self.damaged));
        }
        let mut table = Table::new(3, &["REASON", "FIRST", "LAST", "LETTERS"]);
        for (reason, (letters, first, last)) in &self.reasons {
            table.row([shorten(reason), moment(*first), moment(*last), number(*letters)]);
        }
        table.write(&mut out);
        for letter in &self.newest {
            let record = String::from_utf8_lossy(&letter.record);
            let _written = writeln!(out, "  {} {}", moment(letter.time), safe(&letter.id));
            let _written = writeln!(out, "    {}", safe(&shorten(record.trim_end())));
        }
        out
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::dead_letter::{BOUND, DeadLetters};

    fn filled(dir: &Path) -> Vec<Kept> {
        let letter = |n: i64, reason: &str| Letter {
            id: format!("id-{n}"),
            reason: reason.into(),
            time: n * 1_000_000_000,
            record: format!("{{\"n\":{n},\"evil\":\"\x1b[2J\"}}\n").into_bytes(),
            original: Vec::new(),
        };
        let mut letters = DeadLetters::open(dir, "search", BOUND).unwrap();
        letters.append(&[letter(1, "too large"), letter(2, "does not map"), letter(3, "too large")]).unwrap();
        DeadLetters::open(dir, "a/b", BOUND).unwrap().append(&[letter(4, "x\n  ! forged")]).unwrap();
        kept(dir).unwrap()
    }

    #[test]
    fn a_page_has_reasons_and_the_newest_records_and_steers_no_terminal() {
        let dir = tempfile::tempdir().unwrap();
        let lanes = filled(dir.path());
        let pages: String = lanes.iter().map(|lane| Survey::of(lane, 2).unwrap().page()).collect();
        insta::assert_snapshot!(pages);
        assert!(pages.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn json_is_one_letter_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        assert!(write_json(&filled(dir.path()), &mut out).is_ok());
        let lines: Vec<serde_json::Value> =
            out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            (&lines[1]["sink"], &lines[1]["id"], &lines[1]["time"]),
            (&"search".into(), &"id-1".into(), &1_000_000_000.into())
        );
    }

    #[test]
    fn a_retry_is_asked_for_each_lane() {
        let dir = tempfile::tempdir().unwrap();
        let lanes = filled(dir.path());
        retry(dir.path(), &lanes);
        for lane in ["search", "a/b"] {
            let taken = DeadLetters::open(dir.path(), lane, BOUND).unwrap().take_retry().unwrap();
            assert!(taken.is_some(), "{lane}");
        }
    }
}
