//! A disk that is full, or loses its power, at each step of a rotation: nothing that was on it is lost, and nothing comes under two ids.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::disk::Disk;
use waybill_tests::face;
use waybill_tests::fault;
use waybill_tests::oracle::{Case, Leniency, judge};
use waybill_tests::output::{Id, Output};
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};
use waybill_tests::writer::{Live, Shell};

/// Enough for the journal, the logs and their archives, and soon full.
const SIZE: u64 = 64 << 20;
/// A live file is rotated as soon as it is larger.
const SMALL: &str = "64Ki";

/// The log, its archives, the state and a sink's file are on the disk; another sink, which is judged, is elsewhere like a server.
fn policy(room: &Room, rotation: Value) -> Policy {
    let source = policy::text("app", &format!("{}/app/app*.log", room.logs().display()));
    let source = with(source, "/rotation", rotation);
    let source = with(source, "/retention", json!({"maxFiles": 2}));
    let source = with(source, "/protect", json!({"archives": true, "live": true}));
    let local =
        with(policy::file("local", &local(room)), "/file/rotation", json!({"maxSize": "256Ki", "compression": "Gzip"}));
    let local = with(local, "/file/retention", json!({"maxFiles": 1000}));
    let local = with(local, "/file/protect", json!({"archives": true}));
    Policy::new("disk").source(source).sink(policy::file("archive", &room.archive())).sink(local)
}

fn local(room: &Room) -> PathBuf {
    room.logs().join("local/audit.log")
}

/// A scene on a disk of its own, whose log is rotated as often as possible; it is skipped where that cannot be made.
fn on_disk(name: &str, test: impl FnOnce(&Disk, &mut Scene<'_>) -> Result<()>) -> Result<()> {
    on_disk_rotated(name, |_| Ok(collapse(SMALL)), test)
}

fn collapse(max_size: &str) -> Value {
    json!({"mode": "Collapse", "maxSize": max_size, "compression": "Zstd"})
}

fn on_disk_rotated(
    name: &str,
    rotation: impl FnOnce(&Room) -> Result<Value>,
    test: impl FnOnce(&Disk, &mut Scene<'_>) -> Result<()>,
) -> Result<()> {
    room::within(name, |room| {
        let disk = match Disk::new(&room.path().join("image"), &room.logs(), SIZE)? {
            Ok(disk) => disk,
            Err(why) => return skip::skip(name, &why),
        };
        let mut scene = Scene::with(room, &policy(room, rotation(room)?))?;
        scene.agent.state_at(&room.logs().join("state"));
        test(&disk, &mut scene)
    })
}

/// Writes lines durably; where the log has been renamed, into a new one.
fn put(scene: &mut Scene<'_>, live: &mut Live, count: usize) -> Result<()> {
    if !live.path.exists() {
        *live = scene.create("app.log")?;
    }
    scene.write(live, count)?;
    live.sync()
}

/// Starts the agent and writes until it stands still at a step.
fn halt_at(scene: &mut Scene<'_>, live: &mut Live, step: &str, nth: u32) -> Result<()> {
    scene.agent.set("WAYBILL_FAULT", &format!("{step}:{nth}:stop"));
    scene.start()?;
    await_true(&format!("the agent comes to {step}"), 2 * SOON, || {
        put(scene, live, 40)?;
        scene.agent.is_halted()
    })?;
    scene.agent.set("WAYBILL_FAULT", "");
    Ok(())
}

/// Goes on as if nothing had happened, and judges both sinks.
fn goes_on(scene: &mut Scene<'_>, live: &mut Live) -> Result<()> {
    for _ in 0..12 {
        put(scene, live, 60)?;
        scene.came(live)?;
    }
    scene.settle()?;
    let totals = scene.judge()?;
    scene.agent.inspect_archives()?;
    ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
    let (books, output) = ([scene.scribe.book.copy()], Output::read(&local(scene.room))?);
    let leniency = Leniency { repeats: true, ..Leniency::default() };
    let totals = judge(&Case { books: &books, output: &output, history: scene.agent.history(), leniency }).check()?;
    ensure!(totals.entered == 0 && totals.delivered == totals.lines, "the sink on the disk: {totals}");
    Ok(())
}

/// The disk loses its power, and the agent and the writer are there again when it is back.
fn without_power(disk: &Disk, scene: &mut Scene<'_>, live: &mut Live) -> Result<()> {
    disk.lose_power()?;
    scene.kill()?;
    live.close()?;
    disk.come_back()?;
    if live.path.exists() { live.reopen() } else { Ok(()) }
}

fn steps() -> Vec<&'static str> {
    [&fault::ARCHIVE[..], &fault::COLLAPSE, &fault::PRUNE, &fault::SINK].concat()
}

fn power_goes_at(step: &str, rotation: impl FnOnce(&Room) -> Result<Value>) -> Result<()> {
    on_disk_rotated(&format!("power-{step}"), rotation, |disk, scene| {
        let mut live = scene.create("app.log")?;
        halt_at(scene, &mut live, step, 2)?;
        without_power(disk, scene, &mut live)?;
        scene.start()?;
        goes_on(scene, &mut live)
    })
}

#[test]
fn power_that_goes_at_a_step_costs_nothing() -> Result<()> {
    steps().into_iter().try_for_each(|step| power_goes_at(step, |_| Ok(collapse(SMALL))))
}

/// The signal goes to a program that takes it; the log's writer is the test, which sees for itself that its log has another name.
#[test]
fn power_that_goes_while_a_log_is_renamed_costs_nothing() -> Result<()> {
    for step in [&fault::RENAME[..], &fault::ARCHIVE, &fault::PRUNE].concat() {
        let mut signalled = None;
        power_goes_at(step, |room| {
            let shell = Shell::start(room.path(), &room.path().join("elsewhere/shell.log"), "true", "0.5")?;
            let reopen = json!({"type": "Signal", "signal": "USR1", "process": {"executable": shell.program}});
            signalled = Some(shell);
            Ok(json!({"mode": "Rename", "maxSize": SMALL, "compression": "Zstd", "reopen": reopen}))
        })?;
    }
    Ok(())
}

/// While the agent works, at random times, again and again on one disk.
#[test]
fn power_that_goes_at_any_time_costs_nothing() -> Result<()> {
    on_disk("power-any", |disk, scene| {
        let mut live = scene.create("app.log")?;
        for _ in 0..8 {
            scene.start()?;
            let until = std::time::Instant::now() + Duration::from_millis(scene.scribe.rng.within(300..2500));
            while std::time::Instant::now() < until {
                put(scene, &mut live, 60)?;
            }
            without_power(disk, scene, &mut live)?;
        }
        scene.start()?;
        goes_on(scene, &mut live)
    })
}

#[test]
fn a_disk_that_is_full_at_a_step_costs_nothing() -> Result<()> {
    for step in steps() {
        on_disk(&format!("full-{step}"), |disk, scene| {
            let mut live = scene.create("app.log")?;
            halt_at(scene, &mut live, step, 2)?;
            let ballast = disk.fill()?;
            scene.agent.thaw()?;
            holds_for("the agent lives on a full disk", Duration::from_secs(2), || {
                scene.agent.check_alive().map(|()| true)
            })?;
            await_true("the agent answers on a full disk", SOON, || Ok(scene.agent.asker().healthy()))?;
            fs::remove_file(ballast).context("failed to make room again")?;
            goes_on(scene, &mut live)
        })?;
    }
    Ok(())
}

/// A crash on a full disk, and a start on it: the agent waits for room and loses nothing.
#[test]
fn a_start_on_a_full_disk_costs_nothing() -> Result<()> {
    for step in ["archive-filled", "archive-renamed", "collapsed", "prune-unprotected", "sink-filled"] {
        on_disk(&format!("full-start-{step}"), |disk, scene| {
            let mut live = scene.create("app.log")?;
            halt_at(scene, &mut live, step, 2)?;
            let ballast = disk.fill()?;
            scene.kill()?;
            scene.start()?;
            holds_for("the agent lives on a full disk", Duration::from_secs(2), || {
                scene.agent.check_alive().map(|()| true)
            })?;
            fs::remove_file(ballast).context("failed to make room again")?;
            goes_on(scene, &mut live)
        })?;
    }
    Ok(())
}

/// A log whose writer does not sync it lacks its end after a loss of power, though that was delivered: it is shorter, or, as ext4 takes
/// down a size within an allocated block before the bytes, holds zeros there. What is left begins a new stream, and what is written from
/// then on comes.
#[test]
fn a_log_that_lost_its_unsynced_end_goes_on() -> Result<()> {
    for (lines, archived) in [(300, 0), (4000, 1)] {
        // A cut syncs the log, and the kernel may write it of its own accord: then nothing is lost, and nothing proved.
        let mut took = Some(false);
        for _ in 0..5 {
            took = a_log_loses_its_end(lines, archived)?;
            if took != Some(false) {
                break;
            }
        }
        ensure!(took != Some(false), "nothing was lost in five losses of power: nothing was proved");
    }
    Ok(())
}

/// One loss of power. Says whether it took something; `None` if this machine cannot do it.
fn a_log_loses_its_end(lines: usize, archived: usize) -> Result<Option<bool>> {
    let mut took = None;
    on_disk_rotated(
        &format!("power-end-{lines}"),
        |_| Ok(collapse("256Ki")),
        |disk, scene| {
            took = Some(false);
            let mut live = scene.create("app.log")?;
            scene.start()?;
            scene.write(&mut live, lines)?;
            live.sync()?;
            scene.came(&live)?;
            await_true("it is archived and cut", SOON, || {
                let made = scene.output()?.actions("archive_made").count();
                Ok(made >= archived && fs::metadata(&live.path)?.len() < 256 << 10)
            })?;
            scene.await_idle()?;
            scene.write(&mut live, 20)?;
            scene.came(&live)?;
            scene.await_idle()?;
            let before = fs::read(&live.path)?;
            without_power(disk, scene, &mut live)?;
            let after = fs::read(&live.path)?;
            let kept = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
            ensure!(after[kept..].iter().all(|byte| *byte == 0), "the log holds what was not in it");
            let taken = before.len() - kept;
            if taken == 0 {
                return Ok(());
            }
            took = Some(true);
            scene.start()?;
            let mut texts = Vec::new();
            for _ in 0..10 {
                let some: Vec<String> = (0..40).map(|_| scene.scribe.text()).collect();
                live.lines(&scene.scribe.book, &some)?;
                live.sync()?;
                texts.extend(some);
            }
            await_true("what is written from then on comes", SOON, || {
                // The first one stands behind the zeros, in one line with them.
                let came = scene.output()?.texts("app");
                let came: HashSet<&[u8]> = came.iter().map(|text| without_zeros(text)).collect();
                Ok(texts.iter().all(|text| came.contains(text.as_bytes())))
            })?;
            scene.await_idle()?;
            scene.stop()?;
            for lane in face::lanes(&scene.agent.inspect()?)? {
                lane.balance()?;
            }
            // The state lost power as well: that the last acknowledgements had come may not be known any more.
            let output = scene.output()?;
            let entered: u64 = output.losses().map(|loss| loss.to - loss.from).sum();
            ensure!(
                entered <= 2 * taken as u64,
                "{entered} bytes were entered as lost to two sinks: the power took {taken}"
            );
            let mut ids: HashMap<Vec<u8>, HashSet<Id>> = HashMap::new();
            for record in &scene.output()?.records {
                ids.entry(record.text.bytes().to_vec()).or_default().insert(record.id);
            }
            let again = ids.values().filter(|ids| ids.len() > 1).count();
            println!(
                "{taken} bytes went with the power; {entered} were entered as lost; {again} lines came a second time"
            );
            ensure!(again <= after.split(|byte| *byte == b'\n').count(), "more came again than was left in the log");
            scene.agent.inspect_archives().map(drop)
        },
    )?;
    Ok(took)
}

fn without_zeros(text: &[u8]) -> &[u8] {
    let zeros = text.iter().take_while(|byte| **byte == 0).count();
    &text[zeros..]
}
