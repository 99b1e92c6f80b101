//! The wrapping of container runtimes is taken off, its pieces are joined, and the kubelet's rotation is followed.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::{await_true, holds_for};
use waybill_tests::writer::cri;

fn wrapped(room: &Room, envelope: &str, pattern: &str) -> Policy {
    let source = policy::text("app", &format!("{}/{pattern}", room.logs().display()));
    Policy::new("wrapped")
        .source(with(source, "/file/envelope", json!(envelope)))
        .sink(policy::file("archive", &room.archive()))
}

#[test]
fn cri_pieces_are_joined_over_kills_and_rotations() -> Result<()> {
    room::within("cri", |room| {
        let mut scene = Scene::with(room, &wrapped(room, "Cri", "app/*/*/*.log*"))?;
        let mut actor = cri::make(&mut scene.scribe)?;
        for _ in 0..4 {
            scene.start()?;
            holds_for("the container writes", Duration::from_secs(1), || actor.step(&mut scene.scribe).map(|()| true))?;
            scene.kill()?;
        }
        scene.start()?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.delivered + totals.entered + totals.unseen == totals.lines, "{totals}");
        Ok(())
    })
}

#[test]
fn stdout_and_stderr_are_joined_apart() -> Result<()> {
    room::within("cri-two", |room| {
        let mut scene = Scene::with(room, &wrapped(room, "Cri", "app/*.log"))?;
        let mut raw = Vec::new();
        for (output, tag, text) in [
            ("stdout", 'P', "out one, "),
            ("stderr", 'P', "err one, "),
            ("stdout", 'F', "out two"),
            ("stderr", 'F', "err two"),
            ("stdout", 'F', "alone"),
            ("stdout", 'F', ""),
        ] {
            raw.extend(cri::wrap(output, tag, text.as_bytes()));
        }
        fs::write(scene.scribe.path("0.log"), raw)?;
        scene.start()?;
        let wanted: [&[u8]; 3] = [b"out one, out two", b"err one, err two", b"alone"];
        await_true("the joined lines come", SOON, || {
            let texts = scene.output()?.texts("app");
            Ok(wanted.iter().all(|text| texts.iter().filter(|had| had == text).count() == 1))
        })?;
        scene.await_idle()?;
        scene.stop()
    })
}

#[test]
fn dockers_json_is_taken_off() -> Result<()> {
    room::within("docker", |room| {
        let mut scene = Scene::with(room, &wrapped(room, "Docker", "app/*.log"))?;
        let line = |log: &str| {
            json!({"log": log, "stream": "stdout", "time": "2026-11-22T01:02:03.000000004Z"}).to_string() + "\n"
        };
        let raw = [line("whole \"quoted\" grüße\n"), line("first, "), line("second\n"), line("\u{0}nul\n")].concat();
        fs::write(scene.scribe.path("json.log"), raw)?;
        scene.start()?;
        await_true("three records come", SOON, || Ok(scene.output()?.records.len() >= 3))?;
        scene.await_idle()?;
        let texts = scene.output()?.texts("app");
        let wanted = ["whole \"quoted\" grüße", "first, second", "\0nul"].map(|text| text.as_bytes().to_vec());
        ensure!(texts == wanted, "{texts:?}");
        scene.stop()
    })
}
