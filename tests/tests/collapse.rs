//! Live files whose front is cut off under their writers: nothing is lost, repeated under another id, or damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waybill_tests::face;
use waybill_tests::oracle::{Case, Leniency, judge};
use waybill_tests::output::open;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::stage::Stage;
use waybill_tests::tormentor::{Plan, torment};
use waybill_tests::wait::await_true;
use waybill_tests::writer::{Kind, Live, Troupe, append};

/// The smallest bound that there is, so that a short run meets it often.
const MAX_SIZE: u64 = 64 << 10;
/// What a live file keeps at most beyond its bound: the digest's block, two blocks of the file system, and what is written meanwhile.
const KEPT: u64 = 192 << 10;

fn collapsing(room: &Room, compression: &str) -> Policy {
    let pattern = format!("{}/*/app*", room.logs().display());
    let source = with(
        policy::text("app", &pattern),
        "/rotation",
        json!({"mode": "Collapse", "maxSize": "64Ki", "compression": compression}),
    );
    Policy::new("collapse").source(source).sink(policy::file("archive", &room.archive()))
}

/// The archives beside a live file, by their names.
fn archives(live: &Path) -> Result<Vec<PathBuf>> {
    let folder = live.parent().context("a log has a folder")?;
    let stem = live.file_stem().context("a log has a name")?.to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("{stem}~")) {
            found.push(path);
        }
    }
    found.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split(['~', '.']).nth(1).and_then(|n| n.parse::<u32>().ok())
    });
    Ok(found)
}

/// All archives are whole, follow each other without a gap or an overlap, and go on in the live file: together they are what was written.
fn holds_together(live: &Path, room: &Room) -> Result<usize> {
    let mut whole = Vec::new();
    let found = archives(live)?;
    for path in &found {
        open(path)?.read_to_end(&mut whole).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(whole.ends_with(b"\n"), "{} does not end at a record's end", path.display());
    }
    let rest = fs::read(live)?;
    // The live file repeats the end of the last archive, up to a block's boundary.
    let text = String::from_utf8_lossy(&whole).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let unique: std::collections::HashSet<&str> = lines.iter().copied().collect();
    ensure!(unique.len() == lines.len(), "the archives of {} overlap", live.display());
    let kept = (0..=rest.len().min(whole.len())).rev().find(|n| whole.ends_with(&rest[..*n]));
    ensure!(kept.is_some_and(|n| n > 0) || found.is_empty(), "the live file does not follow its archives");
    let left: Vec<_> = fs::read_dir(live.parent().context("a log has a folder")?)?
        .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.starts_with(".waybill-"))
        .collect();
    ensure!(left.len() <= 1, "unfinished archives are left behind: {left:?} in {}", room.path().display());
    Ok(found.len())
}

#[test]
fn a_writer_that_never_reopens_is_archived_and_bounded() -> Result<()> {
    for compression in ["Gzip", "Zstd", "None"] {
        room::within(&format!("collapse-{compression}"), |room| {
            let mut scene = Scene::with(room, &collapsing(room, compression))?;
            let mut live = scene.create("app.log")?;
            scene.start()?;
            for _ in 0..120 {
                scene.write(&mut live, 100)?;
                await_true("the live file stays bounded", SOON, || {
                    Ok(fs::metadata(&live.path)?.len() < MAX_SIZE + KEPT)
                })?;
            }
            scene.settle()?;
            let made = holds_together(&live.path, room)?;
            ensure!(made >= 3, "only {made} archives were made");
            let totals = scene.judge()?;
            ensure!(totals.repeats == 0 && totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
            Ok(())
        })?;
    }
    Ok(())
}

/// Where the process ends in a rotation by cutting, in the order of the steps.
const STEPS: [&str; 7] = [
    "archive-written",
    "archive-entered",
    "archive-renamed",
    "intent-entered",
    "collapsed",
    "collapse-synced",
    "base-committed",
];

#[test]
fn a_crash_at_every_step_costs_nothing() -> Result<()> {
    for step in STEPS {
        for nth in [1, 3] {
            room::within(&format!("collapse-{step}-{nth}"), |room| {
                let mut scene = Scene::with(room, &collapsing(room, "Gzip"))?;
                let mut live = scene.create("app.log")?;
                scene.agent.set("WAYBILL_FAULT", &format!("{step}:{nth}"));
                scene.start()?;
                await_true("the agent comes to the fault", SOON, || {
                    scene.write(&mut live, 60)?;
                    Ok(scene.agent.check_alive().is_err())
                })?;
                scene.stage.gate.down();
                scene.write(&mut live, 300)?;
                scene.agent.set("WAYBILL_FAULT", "");
                scene.start()?;
                for _ in 0..30 {
                    scene.write(&mut live, 60)?;
                }
                scene.settle()?;
                holds_together(&live.path, room)?;
                let totals = scene.judge()?;
                ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
                Ok(())
            })?;
        }
    }
    Ok(())
}

const APPEND: Kind = Kind { name: "append", make: append::make };
const SECOND: Kind = Kind { name: "second", make: append::make };
const THIRD: Kind = Kind { name: "third", make: append::make };

#[test]
fn random_kills_under_load() -> Result<()> {
    let kills = std::env::var("WAYBILL_TORTURE_KILLS").map_or(Ok(25), |text| text.parse())?;
    room::within("collapse-kills", |room| {
        let mut rng = Rng::from_env("collapse");
        let mut agent = room.agent(&collapsing(room, "Zstd"))?;
        let stage = Stage::new(&room.archive());
        let mut troupe = Troupe::new(&stage);
        for kind in [APPEND, SECOND, THIRD] {
            troupe.engage(kind, &room.logs(), &mut rng)?;
        }
        let done = torment(&mut agent, &stage, &mut rng, Plan { span: Duration::from_secs(15), kills })?;
        let books = troupe.finish()?;
        println!("{done:?}");
        await_true("all has come", Duration::from_mins(1), || {
            agent.check_alive()?;
            Ok(books.iter().all(|book| stage.watch.has(book, &[0])))
        })?;
        agent.stop()?;
        let mut made = 0;
        for kind in [APPEND, SECOND, THIRD] {
            made += holds_together(&room.logs().join(kind.name).join("app.log"), room)?;
        }
        println!("{made} archives");
        ensure!(made >= 3, "only {made} archives: nothing was proved");
        for lane in face::lanes(&agent.inspect()?)? {
            lane.balance()?;
        }
        let output = room.output()?;
        let case = Case { books: &books, output: &output, history: agent.history(), leniency: Leniency::default() };
        let totals = judge(&case).check()?;
        ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}

/// A sink that cannot write lags, and reads on in archives when it can again.
#[test]
fn a_lane_that_lags_reads_on_in_archives() -> Result<()> {
    room::within("collapse-lag", |room| {
        let slow = room.elsewhere().join("slow");
        let policy = collapsing(room, "Gzip").sink(policy::file("slow", &slow.join("audit.log")));
        // Not a folder: the sink cannot write below it.
        fs::write(&slow, "")?;
        let mut scene = Scene::with(room, &policy.with("limits", json!({"inFlight": "8Mi"})))?;
        let mut live = scene.create("app.log")?;
        scene.start()?;
        let mut texts = 0;
        while archives(&live.path)?.len() < 20 {
            scene.write(&mut live, 200)?;
            texts += 200;
            scene.came(&live)?;
            ensure!(texts < 400_000, "no archives are made");
        }
        // Also over a restart.
        scene.kill()?;
        scene.start()?;
        fs::remove_file(&slow)?;
        scene.settle()?;
        let output = waybill_tests::output::Output::read(&slow.join("audit.log"))?;
        let book = scene.scribe.book.copy();
        let books = [book];
        let case = Case {
            books: &books,
            output: &output,
            history: scene.agent.history(),
            leniency: Leniency { repeats: true, ..Leniency::default() },
        };
        let totals = judge(&case).check()?;
        ensure!(totals.entered == 0 && totals.delivered == totals.lines, "{totals}");
        scene.judge()?;
        Ok(())
    })
}

/// Another agent that reads the same folder with a pattern that names everything takes no archive for a log.
#[test]
fn archives_are_no_sources() -> Result<()> {
    for compression in ["Gzip", "Zstd", "None"] {
        room::within(&format!("collapse-foreign-{compression}"), |room| {
            let mut scene = Scene::with(room, &collapsing(room, compression))?;
            let mut live = scene.create("app.log")?;
            scene.start()?;
            while archives(&live.path)?.len() < 3 {
                scene.write(&mut live, 100)?;
                scene.came(&live)?;
            }
            scene.settle()?;
            scene.stop()?;
            // A state of its own, that knows nothing of the archives.
            fs::remove_file(&live.path)?;
            let pattern = format!("{}/**/*", room.logs().display());
            let output = room.elsewhere().join("audit.log");
            Policy::new("foreign")
                .source(policy::text("all", &pattern))
                .sink(policy::file("archive", &output))
                .write(&room.policy())?;
            scene.agent.state_at(&room.elsewhere().join("state"));
            fs::write(room.logs().join("app/other.txt"), "one line\n")?;
            scene.agent.start()?;
            await_true("the other file comes", SOON, || {
                Ok(waybill_tests::output::Output::read(&output)?.records.len() == 1)
            })?;
            scene.agent.stop()?;
            ensure!(waybill_tests::output::Output::read(&output)?.records.len() == 1, "an archive was read as a log");
            Ok(())
        })?;
    }
    Ok(())
}

/// A lane whose archive someone removed loses what was in it, with an entry, and goes on.
#[test]
fn an_archive_that_someone_removed_is_a_loss_with_an_entry() -> Result<()> {
    room::within("collapse-removed", |room| {
        let slow = room.elsewhere().join("slow");
        let policy = collapsing(room, "Gzip").sink(policy::file("slow", &slow.join("audit.log")));
        fs::write(&slow, "")?;
        let mut scene = Scene::with(room, &policy.with("limits", json!({"inFlight": "1Mi", "line": "64Ki"})))?;
        let mut live: Live = scene.create("app.log")?;
        scene.start()?;
        while archives(&live.path)?.len() < 80 {
            scene.write(&mut live, 200)?;
            scene.came(&live)?;
        }
        scene.kill()?;
        let made = archives(&live.path)?;
        fs::remove_file(&made[0])?;
        fs::remove_file(&made[40])?;
        scene.start()?;
        fs::remove_file(&slow)?;
        scene.await_idle()?;
        let losses = scene.output()?.losses().count();
        ensure!(losses >= 1, "the loss was not entered");
        for lane in face::lanes(&scene.agent.inspect()?)? {
            lane.balance()?;
        }
        scene.judge()?;
        Ok(())
    })
}
