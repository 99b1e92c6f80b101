//! The oracle is fed made-up output and must find each kind of offence, and nothing else.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::book::hash;

/// A writer with one file of three lines, the agent's faithful output, and the means to spoil either.
struct Scene {
    books: Vec<Book>,
    history: History,
    lines: Vec<Value>,
}

const STREAM: u128 = 0xa;

fn record(stream: u128, seq: u64, offset: u64, text: &str) -> Value {
    let id = format!("{stream:032x}-{offset:016x}-{:016x}", hash(text.as_bytes()) as u64);
    json!({"event": {"original": text}, "log": {"file": {"path": "/logs/a/app.log"}},
        "waybill": {"id": id, "stream": format!("{stream:032x}"), "seq": seq, "offset": offset, "source": "app", "outcome": "success"}})
}

fn loss(stream: u128, from: u64, to: u64, more: bool) -> Value {
    json!({"event": {"dataset": "waybill.control", "action": "loss"}, "waybill": {
        "id": format!("{:032x}-{from:016x}-{to:016x}", 0xc0), "stream": format!("{:032x}", 0xc0), "seq": 1, "offset": 0,
        "control": {"stream": format!("{stream:032x}"), "source": "app", "path": "/logs/a/app.log", "from": from, "to": to,
            "more": more, "reason": "truncated", "lane": "*"}}})
}

impl Scene {
    fn new() -> Self {
        let mut book = Book::new("a", Path::new("/logs/a"));
        let file = book.begin(Path::new("/logs/a/app.log"));
        let mut lines = Vec::new();
        for (seq, text) in (1..).zip(["one", "two", "three"]) {
            lines.push(record(STREAM, seq, book.incarnations[file].size, text));
            book.line(file, text.as_bytes(), text.len() as u64 + 1, false);
        }
        Self { books: vec![book], history: History::default(), lines }
    }

    fn judge(&self) -> Verdict {
        self.judge_with(Leniency::default())
    }

    fn judge_with(&self, leniency: Leniency) -> Verdict {
        let mut output = Output { files: vec!["audit.log".into()], ..Output::default() };
        for (at, line) in self.lines.iter().enumerate() {
            output.take(format!("{line}\n").as_bytes(), 0, at + 1);
        }
        judge(&Case { books: &self.books, output: &output, history: &self.history, leniency })
    }

    fn offends(&self, kind: Kind) {
        let verdict = self.judge();
        assert!(verdict.count(kind) > 0, "{kind:?} was not found: {verdict}");
        assert_eq!(verdict.offences.len(), verdict.count(kind), "{verdict}");
        assert!(verdict.check().is_err());
    }

    fn passes(&self) -> Totals {
        self.judge().check().unwrap()
    }

    fn gone(&mut self, how: How) {
        self.books[0].gone(0, how);
    }
}

#[test]
fn a_faithful_output_passes() {
    let totals = Scene::new().passes();
    assert_eq!((totals.lines, totals.delivered, totals.streams), (3, 3, 1));
}

#[test]
fn a_lost_line_is_found() {
    let mut scene = Scene::new();
    scene.lines.pop();
    scene.offends(Kind::Lost);
    scene.gone(How::Down);
    scene.offends(Kind::Lost);
}

#[test]
fn a_loss_is_forgiven_only_where_content_went_away() {
    let mut scene = Scene::new();
    scene.lines.pop();
    scene.lines.push(loss(STREAM, 8, 14, false));
    scene.offends(Kind::Unjustified);
    scene.gone(How::Down);
    assert_eq!(scene.passes().entered, 1);
}

#[test]
fn a_loss_needs_a_kill_if_the_agent_was_up() {
    for how in [How::Ahead, How::Unlinked] {
        let mut scene = Scene::new();
        scene.history.enter(Event::Ready);
        scene.lines.pop();
        scene.lines.push(loss(STREAM, 8, 14, false));
        scene.gone(how);
        scene.offends(Kind::Unjustified);
        scene.history.enter(Event::Killed);
        scene.passes();
    }
}

#[test]
fn a_loss_must_reach_as_far_as_what_is_missing() {
    let mut scene = Scene::new();
    scene.gone(How::Down);
    scene.lines.pop();
    scene.lines.push(loss(STREAM, 8, 9, false));
    scene.offends(Kind::Lost);
    scene.lines.pop();
    scene.lines.push(loss(STREAM, 8, 9, true));
    scene.passes();
}

#[test]
fn a_loss_beyond_what_was_written_is_found() {
    let mut scene = Scene::new();
    scene.gone(How::Down);
    scene.lines.push(loss(STREAM, 8, 99, false));
    scene.offends(Kind::Unjustified);
}

#[test]
fn a_loss_of_a_stream_that_never_delivered_finds_its_file() {
    let mut scene = Scene::new();
    scene.gone(How::Down);
    scene.lines = vec![loss(0xb, 0, 14, false)];
    assert_eq!(scene.passes().entered, 3);
}

#[test]
fn a_file_that_came_and_went_unseen_needs_no_entry() {
    let mut scene = Scene::new();
    scene.lines.clear();
    scene.gone(How::Down);
    assert_eq!(scene.passes().unseen, 3);
    let began = scene.books[0].incarnations[0].created;
    scene.history.enter_at(began, Event::Ready);
    scene.books[0].incarnations[0].gone = Some((began + DISCOVERY * 2, How::Down));
    scene.offends(Kind::Lost);
}

#[test]
fn two_contents_at_one_offset_are_found() {
    let mut scene = Scene::new();
    let mut other = record(STREAM, 2, 4, "two");
    other["event"]["original"] = json!("not two");
    scene.history.enter(Event::Killed);
    scene.lines.push(other);
    scene.offends(Kind::TwoContents);
}

#[test]
fn one_line_under_two_ids_is_found() {
    let mut scene = Scene::new();
    scene.lines.push(record(0xb, 1, 0, "one"));
    scene.offends(Kind::TwoIds);
    scene.judge_with(Leniency { new_ids: true, repeats: false }).check().unwrap();
}

#[test]
fn a_repeat_needs_a_kill() {
    let mut scene = Scene::new();
    scene.lines.extend([record(STREAM, 2, 4, "two"), record(STREAM, 3, 8, "three")]);
    scene.offends(Kind::Repeat);
    scene.history.enter(Event::Killed);
    assert_eq!(scene.passes().repeats, 2);
    scene.lines.push(record(STREAM, 2, 4, "two"));
    scene.passes();
}

#[test]
fn a_second_rewind_needs_a_second_kill() {
    let mut scene = Scene::new();
    scene.lines.insert(1, record(STREAM, 1, 0, "one"));
    scene.lines.insert(3, record(STREAM, 2, 4, "two"));
    scene.history.enter(Event::Killed);
    scene.offends(Kind::Repeat);
    scene.history.enter(Event::Killed);
    scene.passes();
}

#[test]
fn disorder_is_found() {
    let mut scene = Scene::new();
    scene.lines.swap(1, 2);
    scene.offends(Kind::Order);
}

#[test]
fn a_number_that_is_used_twice_is_found() {
    let mut scene = Scene::new();
    scene.lines[2] = record(STREAM, 2, 8, "three");
    scene.offends(Kind::Order);
}

#[test]
fn a_skipped_number_is_found() {
    let mut scene = Scene::new();
    scene.lines[2] = record(STREAM, 4, 8, "three");
    scene.offends(Kind::Gap);
}

#[test]
fn a_gap_is_excused_by_a_loss_there() {
    let mut scene = Scene::new();
    scene.gone(How::Down);
    scene.lines.remove(1);
    scene.lines.push(loss(STREAM, 4, 8, false));
    scene.passes();
}

#[test]
fn a_stream_of_two_files_is_found() {
    let mut scene = Scene::new();
    let next = scene.books[0].begin(Path::new("/logs/a/app.log"));
    scene.books[0].extend(next, 14);
    scene.books[0].line(next, b"four", 5, false);
    scene.lines.push(record(STREAM, 4, 14, "four"));
    scene.offends(Kind::Mixed);
}

#[test]
fn a_wrong_offset_is_found() {
    let mut scene = Scene::new();
    scene.lines[2] = record(STREAM, 3, 9, "three");
    scene.offends(Kind::WrongOffset);
}

#[test]
fn what_nobody_wrote_is_found() {
    let mut scene = Scene::new();
    scene.lines.push(record(STREAM, 4, 14, "fo"));
    scene.offends(Kind::Alien);
}

#[test]
fn a_broken_line_of_the_sink_is_found() {
    let mut scene = Scene::new();
    scene.lines.push(json!({"waybill": {"id": "x"}}));
    scene.offends(Kind::Malformed);
    scene.lines.pop();
    let mut other = record(STREAM, 4, 14, "four");
    other["waybill"]["offset"] = json!(15);
    scene.lines.push(other);
    scene.offends(Kind::Malformed);
}

#[test]
fn a_header_must_come_for_every_file() {
    let mut scene = Scene::new();
    for stream in [0xb, 0xc] {
        let book = &mut scene.books[0];
        let file = book.begin(Path::new("/logs/a/app.log"));
        book.line(file, b"header", 7, true);
        book.line(file, format!("body of {stream}").as_bytes(), 11, false);
        scene.lines.extend([record(stream, 1, 0, "header"), record(stream, 2, 7, &format!("body of {stream}"))]);
    }
    scene.passes();
    scene.lines.truncate(5);
    scene.lines.push(record(0xc, 1, 7, "body of 12"));
    scene.offends(Kind::Lost);
}

fn split(scene: &mut Scene) {
    let book = &mut scene.books[0];
    let first = book.extend(0, 2);
    let file = book.begin(Path::new("/logs/a/app.log"));
    let second = book.extend(file, 3);
    book.split(b"four", vec![(first, hash(b"fo")), (second, hash(b"ur"))]);
}

#[test]
fn a_split_line_may_come_joined_or_in_marked_pieces() {
    let mut scene = Scene::new();
    split(&mut scene);
    scene.offends(Kind::Lost);
    scene.lines.push(record(STREAM, 4, 14, "four"));
    assert_eq!(scene.passes().joined, 1);
    let (mut first, mut second) = (record(STREAM, 4, 14, "fo"), record(0xb, 1, 0, "ur"));
    scene.lines.truncate(3);
    scene.lines.extend([first.clone(), second.clone()]);
    scene.offends(Kind::Unmarked);
    scene.lines.truncate(3);
    first["waybill"]["partial"] = json!(true);
    second["waybill"]["partial"] = json!(true);
    scene.lines.push(first);
    scene.offends(Kind::Lost);
    scene.lines.push(second);
    assert_eq!(scene.passes().in_pieces, 1);
}

#[test]
fn a_split_line_that_comes_joined_and_in_pieces_is_found() {
    let mut scene = Scene::new();
    split(&mut scene);
    let mut second = record(0xb, 1, 0, "ur");
    second["waybill"]["partial"] = json!(true);
    scene.lines.extend([record(STREAM, 4, 14, "four"), second]);
    scene.offends(Kind::TwoIds);
}

#[test]
fn fragments_are_joined() {
    let mut scene = Scene::new();
    scene.books[0].line(0, b"four", 5, false);
    let piece = |seq, offset, text, index, last| {
        let mut piece = record(STREAM, seq, offset, text);
        piece["waybill"]["fragment"] = json!({"line": 14, "index": index, "last": last});
        piece
    };
    scene.lines.push(piece(4, 14, "fo", 0, false));
    let verdict = scene.judge();
    assert_eq!((verdict.count(Kind::Torn), verdict.count(Kind::Lost)), (1, 1), "{verdict}");
    scene.lines.push(piece(5, 16, "ur", 1, true));
    assert_eq!(scene.passes().rejoined, 1);
}

#[test]
fn the_report_says_where_to_look() {
    let mut scene = Scene::new();
    scene.lines.push(record(STREAM, 4, 14, "forged"));
    let report = scene.judge().to_string();
    assert!(
        report.contains("forged") && report.contains("audit.log:4") && report.contains("lines 3: 3 delivered"),
        "{report}"
    );
}
