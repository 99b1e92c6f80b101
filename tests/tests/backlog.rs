//! A heap of compressed files, which have to be read before anything can be said of them, holds nothing else up.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::Scene;
use waybill_tests::wait::await_true;
use waybill_tests::writer::qurl::{Connector, Sizes};

/// Plain bytes of each file.
const PLAIN: usize = 600 << 20;
const FILES: usize = 3;

fn policy(room: &Room, heap: bool) -> Policy {
    let path = |folder: &str| format!("{}/{folder}/app*", room.logs().display());
    let policy = Policy::new("backlog").source(policy::text("app", &path("app")));
    // They are read, but what is in them is none of its business.
    let heaped = with(policy::text("heap", &path("heap")), "/file/startAt", json!("Now"));
    let policy = if heap { policy.source(heaped) } else { policy };
    policy.sink(policy::file("archive", &room.archive()))
}

#[test]
fn a_heap_of_compressed_files_holds_nothing_up() -> Result<()> {
    room::within("backlog", |room| {
        let heap = room.logs().join("heap");
        fs::create_dir_all(&heap)?;
        for number in 1..=FILES {
            let mut file = zstd::Encoder::new(File::create(heap.join(format!("app.log.{number}.zst")))?, 1)?;
            let block = format!("a line of file {number} that is there many times\n").repeat(20_000);
            for _ in 0..PLAIN / block.len() {
                file.write_all(block.as_bytes())?;
            }
            file.finish()?;
        }
        let mut scene = Scene::with(room, &policy(room, false))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        scene.write(&mut live, 10)?;
        scene.came(&live)?;
        let waiting = |scene: &Scene<'_>| -> Result<u64> {
            let status = scene.agent.asker().status()?;
            status.get("waitingFiles").and_then(serde_json::Value::as_u64).context("/status has no waitingFiles")
        };
        policy(room, true).write(&room.policy())?;
        await_true("the heap is being read", Duration::from_secs(10), || Ok(waiting(&scene)? > 0))?;
        let (mut slowest, mut rounds) = (Duration::ZERO, 0);
        while waiting(&scene)? > 0 {
            let written = Instant::now();
            scene.write(&mut live, 10)?;
            scene.came(&live)?;
            slowest = slowest.max(written.elapsed());
            rounds += 1;
        }
        println!("{rounds} times lines came while the heap was read, the slowest after {slowest:?}");
        ensure!(rounds >= 3, "lines came only {rounds} times while the heap was read: nothing is proved");
        ensure!(slowest < Duration::from_secs(2), "lines came only after {slowest:?}");
        await_true("the heap is left out", Duration::from_secs(10), || {
            Ok(scene.output()?.actions("skipped_backlog").count() == FILES)
        })?;
        let totals = scene.judge()?;
        ensure!(totals.losses == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}

/// Compressed files that one sink has and another one owes: what unpacks them is not kept for each.
#[test]
fn compressed_files_that_a_dead_sink_owes_take_no_memory() -> Result<()> {
    const OWED: usize = 400;
    room::within("owed-compressed", |room| {
        let folder = room.logs().join("app");
        fs::create_dir_all(&folder)?;
        // A folder in which nothing can be made: it is a file.
        let dead = room.path().join("dead");
        fs::write(&dead, "")?;
        let limits = json!({"inFlight": "2Mi", "line": "64Ki"});
        let policy = policy(room, false).with("limits", limits).sink(policy::file("dead", &dead.join("audit.log")));
        let mut scene = Scene::with(room, &policy)?;
        let mut live = scene.create("app.log")?;
        for number in 1..=OWED {
            let name = folder.join(format!("app.log.{number}.zst"));
            let mut file = zstd::Encoder::new(File::create(name)?, 1)?;
            (0..500).try_for_each(|line| writeln!(file, "line {line} of the compressed file {number}"))?;
            file.finish()?;
        }
        scene.start()?;
        let before = scene.agent.resident()?;
        scene.write(&mut live, 10)?;
        await_true("the living sink has all of it", Duration::from_mins(2), || {
            let lanes = scene.agent.asker().lanes()?;
            Ok(lanes.iter().any(|lane| lane.term("acknowledged").records >= (500 * OWED + 10) as u64))
        })?;
        let after = scene.agent.resident()?;
        println!("{OWED} compressed files owed: {} KiB resident, {} at the start", after >> 10, before >> 10);
        ensure!(after < before + (32 << 20), "{} KiB more than at the start", (after - before) >> 10);
        Ok(())
    })
}

/// A sink that takes nothing is full after a while. For the other a line that was split over two files is joined all the same.
#[test]
fn a_dead_sink_holds_back_no_split_line() -> Result<()> {
    room::within("owed-split", |room| {
        let dead = room.path().join("dead");
        fs::write(&dead, "")?;
        let pattern = format!("{}/app/audit*.log*", room.logs().display());
        let policy = Policy::new("owed-split")
            .with("limits", json!({"inFlight": "1Mi", "line": "64Ki", "drainSeconds": 1}))
            .source(policy::source("qurl", &pattern, "QurlConnector"))
            .sink(policy::file("archive", &room.archive()))
            .sink(policy::file("dead", &dead.join("audit.log")));
        let mut scene = Scene::with(room, &policy)?;
        let sizes = Sizes { chunk: 4 << 10, file: 100 << 10, backups: usize::MAX };
        let mut connector = Connector::new(&scene.scribe, sizes)?;
        scene.start()?;
        (0..10_000).try_for_each(|_| connector.event(&mut scene.scribe))?;
        connector.flush(&mut scene.scribe)?;
        let book = scene.scribe.book.copy();
        let all: Vec<usize> = (0..book.incarnations.len()).collect();
        await_true("the living sink has all of it", Duration::from_secs(40), || {
            Ok(scene.stage.watch.has(&book, &all))
        })?;
        let totals = scene.judge()?;
        println!("{totals}");
        ensure!(totals.losses == 0 && totals.delivered == totals.lines, "{totals}");
        ensure!(totals.joined > 3, "only {} lines were joined: nothing is proved", totals.joined);
        Ok(())
    })
}
