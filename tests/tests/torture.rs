//! Conservation under violence: every kind of writer at once, while the agent is killed, stopped and ended at random instants.
//!
//! A short run by default. `WAYBILL_TORTURE_KILLS` and `WAYBILL_TORTURE_SECONDS` make it longer, `WAYBILL_SEED` repeats it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::book::How;
use waybill_tests::oracle::{Case, Leniency, judge};
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::sampler::Sampler;
use waybill_tests::stage::Stage;
use waybill_tests::tormentor::{Plan, torment};
use waybill_tests::wait::await_true;
use waybill_tests::writer::{self, Kind, Troupe, logrotate};
use waybill_tests::{face, skip};

const QURL: Kind = Kind { name: "qurl", make: writer::qurl::make };
const CRI: Kind = Kind { name: "cri", make: writer::cri::make };

/// Small bounds, so that a short run meets them.
fn policy(room: &Room) -> Policy {
    let logs = room.logs().display().to_string();
    let cri = policy::text("cri", &format!("{logs}/cri/*/*/*.log*"));
    let archive = with(
        policy::file("archive", &room.archive()),
        "/file/rotation",
        json!({"maxSize": "20Mi", "compression": "Gzip"}),
    );
    let archive = with(archive, "/file/retention", json!({"maxFiles": 1000}));
    Policy::new("torture")
        .with("limits", json!({"inFlight": "8Mi", "line": "64Ki", "drainSeconds": 25}))
        .source(policy::source("qurl", &format!("{logs}/qurl/audit*.log*"), "QurlConnector"))
        .source(with(cri, "/file/envelope", json!("Cri")))
        .source(policy::text("app", &format!("{logs}/*/app*")))
        .sink(archive)
}

fn number(name: &str, default: u64) -> Result<u64> {
    Ok(std::env::var(name).map_or(Ok(default), |text| text.parse())?)
}

/// The rotations of every day: rename and create, compressed or not, by date, by logrotate.
#[test]
fn nothing_is_lost_of_everyday_rotations_under_kills() -> Result<()> {
    let everyday = ["append", "chain", "chain-gzip", "dated"];
    violence("torture-everyday", writer::PLAIN.iter().copied().filter(|kind| everyday.contains(&kind.name)).collect())
}

#[test]
#[ignore = "takes many minutes and is not yet green each time: `make torture` runs it"]
fn nothing_is_lost_under_violence() -> Result<()> {
    let mut kinds = writer::PLAIN.to_vec();
    if skip::has("logrotate") {
        kinds.extend(logrotate::MODES);
    } else {
        skip::skip("torture with logrotate", "logrotate is not installed")?;
    }
    violence("torture", kinds)
}

#[test]
#[ignore = "takes many minutes and is not yet green each time: `make torture` runs it"]
fn no_split_line_is_lost_under_violence() -> Result<()> {
    violence("torture-split", vec![QURL, CRI])
}

fn violence(name: &str, mut kinds: Vec<Kind>) -> Result<()> {
    let kills = number("WAYBILL_TORTURE_KILLS", 15)?;
    let span = Duration::from_secs(number("WAYBILL_TORTURE_SECONDS", 25)?);
    room::within(name, |room| {
        let mut rng = Rng::from_env(name);
        let mut agent = room.agent(&policy(room))?;
        let stage = Stage::new(&room.archive());
        let mut troupe = Troupe::new(&stage);
        if let Ok(only) = std::env::var("WAYBILL_TORTURE_KINDS") {
            kinds.retain(|kind| only.split(',').any(|name| name == kind.name));
        }
        for kind in kinds {
            troupe.engage(kind, &room.logs(), &mut rng)?;
        }
        let sampler = Sampler::start(agent.asker());
        let done = torment(&mut agent, &stage, &mut rng, Plan { span, kills: kills as usize })?;
        let books = troupe.finish()?;
        println!("{done:?}");
        let mut last = (0, Instant::now());
        await_true("all that is still there has come", Duration::from_mins(20), || {
            agent.check_alive()?;
            let lanes = agent.asker().lanes()?;
            let acknowledged: u64 = lanes.iter().map(|lane| lane.term("acknowledged").bytes).sum();
            if acknowledged != last.0 {
                last = (acknowledged, Instant::now());
            }
            // Whether it is all is the oracle's question.
            let owing = lanes.iter().any(|lane| lane.term("pending").bytes > 0);
            let patience = Duration::from_secs(if owing { 60 } else { 10 });
            ensure!(last.1.elapsed() < patience, "nothing more came for {patience:?}");
            Ok(books.iter().all(|book| {
                let there: Vec<usize> =
                    (0..book.incarnations.len()).filter(|at| book.incarnations[*at].gone.is_none()).collect();
                stage.watch.has(book, &there)
            }))
        })
        .or_else(|late| {
            println!("{late}; not all has come of:");
            for book in &books {
                let here = book.incarnations.iter().enumerate().filter(|(_, file)| file.gone.is_none());
                for (at, file) in here.filter(|(at, _)| !stage.watch.has(book, &[*at])) {
                    println!("  {} incarnation {at}, {} bytes, begun as {}", book.name, file.size, file.path.display());
                }
            }
            Ok::<_, anyhow::Error>(())
        })?;
        agent.stop()?;
        let asked = sampler.finish(20)?;
        let output = room.output()?;
        let verdict =
            judge(&Case { books: &books, output: &output, history: agent.history(), leniency: Leniency::default() });
        for book in &books {
            let gone =
                |how| book.incarnations.iter().filter(|file| file.gone.is_some_and(|(_, had)| had == how)).count();
            let (down, ahead, unlinked) = (gone(How::Down), gone(How::Ahead), gone(How::Unlinked));
            println!(
                "{:32} {:7} lines, {:4} files; gone: {down} down, {ahead} ahead, {unlinked} unlinked",
                book.name,
                book.lines.len(),
                book.incarnations.len()
            );
        }
        let sums = verdict.check()?;
        let lanes = face::lanes(&agent.inspect()?)?;
        for lane in &lanes {
            println!("lane {}: {lane} ({asked} samples)", lane.name);
            lane.balance()?;
            // The entry that says that the agent stopped leaves at its next start.
            let pending = lane.term("pending");
            ensure!(pending.records <= 1, "the lane {} still owes {} bytes", lane.name, pending.bytes);
        }
        // What came, and whose acknowledgement a kill kept from the state before the file went away, is in the ledger as well.
        ensure!(
            lanes.iter().any(|lane| lane.term("acknowledged").records + sums.doubtful >= sums.delivered),
            "fewer records acknowledged than delivered"
        );
        ensure!(
            sums.delivered > sums.lines / 2,
            "only {} of {} lines came: nothing was proved",
            sums.delivered,
            sums.lines
        );
        Ok(())
    })
}
