//! Every kind of rotation with an agent that is never killed: nothing lost, nothing repeated, nothing given up.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::oracle::{Case, Leniency, judge};
use waybill_tests::policy::{self, Policy};
use waybill_tests::rng::Rng;
use waybill_tests::room;
use waybill_tests::sampler::Sampler;
use waybill_tests::scene::Scene;
use waybill_tests::skip;
use waybill_tests::stage::Stage;
use waybill_tests::wait::{await_true, holds_for};
use waybill_tests::writer::qurl::{Connector, Sizes};
use waybill_tests::writer::{self, Actor, Kind, Troupe, logrotate};

fn undisturbed(name: &str, kinds: &[Kind], span: Duration) -> Result<()> {
    room::within(name, |room| {
        let mut rng = Rng::from_env(name);
        let policy = Policy::plain(name, &format!("{}/*/app*", room.logs().display()), &room.archive())
            .with("limits", json!({"line": "64Ki"}));
        let mut agent = room.agent(&policy)?;
        let stage = Stage::new(&room.archive());
        stage.gate.up();
        agent.start()?;
        let mut troupe = Troupe::new(&stage);
        for kind in kinds {
            troupe.engage(*kind, &room.logs(), &mut rng)?;
        }
        let sampler = Sampler::start(agent.asker());
        holds_for("the agent lives", span, || agent.check_alive().map(|()| true))?;
        let books = troupe.finish()?;
        let all = await_true("every line comes", Duration::from_secs(30), || {
            agent.check_alive()?;
            Ok(books.iter().all(|book| stage.watch.has(book, &book.seeable())))
        });
        if let Err(late) = all {
            println!("{late:#}; the oracle says which");
        }
        agent.stop()?;
        sampler.finish(5)?;
        let output = room.output()?;
        let case = Case { books: &books, output: &output, history: agent.history(), leniency: Leniency::default() };
        let totals = judge(&case).check()?;
        // The oracle forgives only what came and went faster than a new file is promised to be seen.
        ensure!(totals.repeats == 0 && totals.entered == 0, "{totals}");
        ensure!(totals.delivered + totals.unseen == totals.lines, "{totals}");
        Ok(())
    })
}

#[test]
fn every_rotation_undisturbed() -> Result<()> {
    undisturbed("rotations", writer::PLAIN, Duration::from_secs(15))
}

#[test]
fn debians_logrotate_in_its_modes() -> Result<()> {
    if !skip::has("logrotate") {
        return skip::skip("debians_logrotate_in_its_modes", "logrotate is not installed");
    }
    undisturbed("logrotate", logrotate::MODES, Duration::from_secs(12))
}

fn qurl(room: &room::Room, format: &str) -> Policy {
    let pattern = format!("{}/app/audit*.log*", room.logs().display());
    Policy::new("qurl").source(policy::source("app", &pattern, format)).sink(policy::file("archive", &room.archive()))
}

/// As the genuine program: 64 KiB chunks, but small files.
const SIZES: Sizes = Sizes { chunk: 64 << 10, file: 160 << 10, backups: 100 };

#[test]
fn a_line_split_by_its_writer_is_joined() -> Result<()> {
    room::within("qurl-split", |room| {
        let mut scene = Scene::with(room, &qurl(room, "QurlConnector"))?;
        let mut connector = Connector::new(&scene.scribe, SIZES)?;
        scene.start()?;
        for round in 0..12 {
            for _ in 0..400 {
                connector.event(&mut scene.scribe)?;
            }
            match round {
                // Rotated while the agent is dead, stopped, and ended in good order; compressed in between.
                3 => scene.kill()?,
                4 | 9 => scene.start()?,
                6 => scene.agent.freeze()?,
                7 => scene.agent.thaw()?,
                8 => scene.stop()?,
                _ => connector.tidy(&mut scene.scribe)?,
            }
        }
        connector.finish(&mut scene.scribe)?;
        scene.settle()?;
        let totals = scene.judge()?;
        ensure!(totals.joined >= 5, "only {} lines were split: {totals}", totals.joined);
        ensure!(totals.in_pieces == 0 && totals.delivered == totals.lines, "{totals}");
        Ok(())
    })
}

#[test]
fn a_format_that_does_not_split_ships_both_pieces_marked() -> Result<()> {
    room::within("text-split", |room| {
        let mut scene = Scene::with(room, &qurl(room, "Text"))?;
        let mut connector = Connector::new(&scene.scribe, SIZES)?;
        scene.start()?;
        while scene.scribe.book.open().incarnations.len() < 4 {
            connector.event(&mut scene.scribe)?;
        }
        connector.finish(&mut scene.scribe)?;
        scene.settle()?;
        let output = scene.output()?;
        let halves = output.records.iter().filter(|record| record.partial).count();
        scene.stop()?;
        ensure!(halves > 0 && output.malformed.is_empty(), "{halves} marked pieces");
        Ok(())
    })
}
