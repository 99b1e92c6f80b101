//! From bytes in a file to the very same bytes in a record.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::output::{Output, Record};
use waybill_tests::policy::Policy;
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::{await_true, holds_for};

/// The texts that come of a file's bytes; the file is renamed within the pattern, so that its end is final.
fn texts(name: &str, bytes: &[u8], wanted: &[&[u8]]) -> Result<()> {
    room::within(name, |room| {
        let mut scene = Scene::new(room)?;
        fs::write(scene.scribe.path("app.log"), bytes)?;
        scene.start()?;
        fs::rename(scene.scribe.path("app.log"), scene.scribe.path("app.log.1"))?;
        fs::write(scene.scribe.path("app.log"), "")?;
        await_true("all records come", SOON, || Ok(scene.output()?.records.len() >= wanted.len()))?;
        scene.await_idle()?;
        let output = scene.output()?;
        let had: Vec<String> = output.texts("app").iter().map(|text| text.escape_ascii().to_string()).collect();
        let wanted: Vec<String> = wanted.iter().map(|text| text.escape_ascii().to_string()).collect();
        ensure!(had == wanted, "records {had:?}, not {wanted:?}");
        ensure!(output.malformed.is_empty(), "{:?}", output.malformed);
        scene.stop()
    })
}

#[test]
fn newlines_of_both_kinds() -> Result<()> {
    texts("crlf", b"one\r\ntwo\nthree\r\n", &[b"one", b"two", b"three"])
}

#[test]
fn nul_bytes_and_control_characters() -> Result<()> {
    texts("nul", b"a\0b\nc\x1b[31md\x07\n\"quoted\\\"\t\n", &[b"a\0b", b"c\x1b[31md\x07", b"\"quoted\\\"\t"])
}

#[test]
fn invalid_utf8_comes_as_it_was() -> Result<()> {
    texts("invalid", b"good\n\xff\xfebad\xc3\ngood again\n", &[b"good", b"\xff\xfebad\xc3", b"good again"])
}

#[test]
fn a_utf8_mark_is_no_text() -> Result<()> {
    texts("bom", b"\xef\xbb\xbfone\ntwo\n", &[b"one", b"two"])
}

#[test]
fn utf16_is_read() -> Result<()> {
    let text = "one\ngrüße\n";
    let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    texts("utf16-le", &little, &[b"one", "grüße".as_bytes()])?;
    let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    texts("utf16-be", &big, &[b"one", "grüße".as_bytes()])
}

#[test]
fn the_unterminated_end_of_a_renamed_file() -> Result<()> {
    texts("unterminated", b"one\nthe end", &[b"one", b"the end"])
}

#[test]
fn a_line_is_not_flushed_by_a_timer() -> Result<()> {
    room::within("unfinished", |room| {
        let mut scene = Scene::new(room)?;
        let path = scene.scribe.path("app.log");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(b"one\nunfin")?;
        scene.start()?;
        await_true("the first line comes", SOON, || Ok(scene.output()?.records.len() == 1))?;
        holds_for("the second waits", std::time::Duration::from_secs(4), || Ok(scene.output()?.records.len() == 1))?;
        file.write_all(b"ished\n")?;
        await_true("the second comes whole", SOON, || {
            Ok(scene.output()?.texts("app").get(1).is_some_and(|text| text == b"unfinished"))
        })?;
        scene.stop()
    })
}

fn bounded(room: &Room) -> Policy {
    Policy::plain("bounded", &format!("{}/app/app*", room.logs().display()), &room.archive())
        .with("limits", json!({"line": "64Ki"}))
}

#[test]
fn long_lines_come_in_fragments_that_rejoin() -> Result<()> {
    room::within("long", |room| {
        let mut scene = Scene::with(room, &bounded(room))?;
        let mut live = scene.create("app.log")?;
        let bound = 64 << 10;
        for len in [bound - 1, bound, bound + 1, 3 * bound, 3 * bound + 7, 1 << 20] {
            let text = scene.scribe.rng.text(len);
            live.lines(&scene.scribe.book, &[text])?;
            scene.write(&mut live, 3)?;
        }
        scene.start()?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.rejoined >= 4 && totals.delivered == totals.lines, "{totals}");
        let whole = |record: &Record| record.fragment.is_some() || record.text.bytes().len() <= bound;
        ensure!(scene.output()?.records.iter().all(whole), "a record is longer than the bound");
        Ok(())
    })
}

#[test]
fn a_long_line_that_is_killed_in_the_middle_rejoins() -> Result<()> {
    room::within("long-killed", |room| {
        let mut scene = Scene::with(room, &bounded(room))?;
        let mut live = scene.create("app.log")?;
        let text = scene.scribe.rng.text(900_000);
        scene.start()?;
        scene.scribe.book.open().line(live.incarnation, text.as_bytes(), text.len() as u64 + 1, false);
        for piece in text.as_bytes().chunks(130_000) {
            live.raw(piece)?;
            scene.kill()?;
            scene.start()?;
        }
        live.raw(b"\n")?;
        scene.write(&mut live, 3)?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.rejoined == 1, "{totals}");
        Ok(())
    })
}

fn packed(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    fs::write(path, bytes)?;
    let done = std::process::Command::new("gzip").arg(path).status()?;
    ensure!(done.success(), "failed to gzip {}", path.display());
    Ok(path.with_extension("log.gz"))
}

#[test]
fn compressed_files_are_read_once() -> Result<()> {
    room::within("compressed", |room| {
        let mut scene = Scene::new(room)?;
        let text = (0..50_000).map(|at| format!("packed line {at}\n")).collect::<Vec<_>>().concat();
        let first = packed(&scene.scribe.path("app-old.log"), text.as_bytes())?;
        scene.start()?;
        await_true("some of it comes", SOON, || Ok(!scene.output()?.records.is_empty()))?;
        scene.kill()?;
        scene.start()?;
        fs::copy(&first, scene.scribe.path("app-copy.log.gz"))?;
        let distinct = |output: &Output| {
            output.records.iter().map(|record| record.id).collect::<std::collections::HashSet<_>>().len()
        };
        await_true("all of it comes", SOON, || Ok(distinct(&scene.output()?) >= 50_000))?;
        scene.await_idle()?;
        scene.stop()?;
        let output = scene.output()?;
        ensure!(distinct(&output) == 50_000, "{} ids of 50,000 lines", distinct(&output));
        Ok(())
    })
}

#[test]
fn a_torn_archive_waits_until_it_is_whole() -> Result<()> {
    room::within("torn-gzip", |room| {
        let mut scene = Scene::new(room)?;
        let text = (0..5000).map(|at| format!("packed line {at} {}\n", at * 7919)).collect::<Vec<_>>().concat();
        let whole = packed(&room.elsewhere().join("x.log"), text.as_bytes())?;
        let bytes = fs::read(whole)?;
        let (front, back) = bytes.split_at(bytes.len() / 2);
        let mut file = OpenOptions::new().create(true).append(true).open(scene.scribe.path("app.log.gz"))?;
        file.write_all(front)?;
        scene.start()?;
        let count = || Ok::<_, anyhow::Error>(scene.room.output()?.records.len());
        holds_for("half an archive is not read", std::time::Duration::from_secs(2), || Ok(count()? == 0))?;
        file.write_all(back)?;
        drop(file);
        await_true("the whole is", SOON, || Ok(count()? == 5000))?;
        scene.stop()
    })
}
