//! All sinks at work.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::elasticsearch::Elasticsearch;
use waybill_tests::policy::{self, Policy};
use waybill_tests::room::{self, Room};
use waybill_tests::scale;
use waybill_tests::shipment::{LATE, SOON, Shipment};
use waybill_tests::wait::{await_true, holds_for};

use super::site::{self, STREAM, Site, TOPIC, USER};

/// Memory that an agent with one sink of each type takes beside `limits.inFlight`, as its documentation states.
pub(super) const BESIDE: u64 = 128 << 20;
/// Bytes in flight of the tests that look at memory.
const IN_FLIGHT: u64 = 16 << 20;

pub(super) fn policy(room: &Room, sinks: &[Value]) -> Policy {
    let policy = Policy::new("together").source(policy::text("app", &Shipment::pattern(room)));
    sinks.iter().fold(policy, |policy, sink| policy.sink(sink.clone()))
}

/// A lane's number of acknowledged records.
fn acknowledged(shipment: &Shipment, lane: &str) -> Result<u64> {
    let lanes = shipment.agent.asker().lanes()?;
    Ok(lanes.iter().find(|found| found.name == lane).context("no such lane")?.term("acknowledged").records)
}

/// The memory stayed within the bound that is stated.
fn check_memory(shipment: &Shipment) -> Result<()> {
    let peak = shipment.agent.peak()?;
    println!("at most {} MiB were resident, of {}", peak >> 20, (IN_FLIGHT + BESIDE) >> 20);
    ensure!(peak <= IN_FLIGHT + BESIDE, "{peak} bytes were resident");
    Ok(())
}

/// Every server answers late, so that every lane's window is full; the log is several times as long as what may be in memory.
#[test]
fn late_answers_at_full_load_cost_no_record_and_no_memory() -> Result<()> {
    if site::is_missing("sinks-late")? {
        return Ok(());
    }
    room::within("sinks-late", |room| {
        let site = Site::start(room)?;
        let sinks = [site.kafka(), site.search(), site.cloud(), site.siem(), policy::file("archive", &room.archive())];
        let limits = json!({"inFlight": IN_FLIGHT});
        let mut shipment = Shipment::with(room, &policy(room, &sinks).with("limits", limits), "stream")?;
        site.admit(&mut shipment)?;
        let names = ["stream", "search", "cloud", "siem"];
        shipment.write(1_000)?;
        shipment.agent.start()?;
        shipment.settle_lanes(&names, LATE)?;
        site.broker.freeze()?;
        site.search.freeze()?;
        site.receiver.freeze()?;
        site.cloud.state().faults.delay = scale::late();
        shipment.logs.write_long("app.log", 15_000, 1_000..3_000)?;
        let began = Instant::now();
        holds_for("the agent lives", scale::late(), || shipment.agent.check_alive().map(|()| true))?;
        site.cloud.state().faults.delay = Duration::ZERO;
        site.receiver.thaw()?;
        site.search.thaw()?;
        site.broker.thaw()?;
        shipment.settle_lanes(&names, scale::patience())?;
        println!("{} MB in {:?}", shipment.logs.bytes() / 1_000_000, began.elapsed());
        check_memory(&shipment)?;
        shipment.stop()?;
        await_true(
            "the receiver has written all",
            LATE,
            || Ok(site.receiver.messages()?.len() >= shipment.logs.len()),
        )?;
        for (name, arrived) in names.iter().zip(site.check(&shipment, &names)?) {
            ensure!(arrived.repeats == 0, "{name}: {} records came again", arrived.repeats);
        }
        Ok(())
    })
}

/// In the middle of a backlog every login loses its right, and an index becomes read-only; meanwhile the agent is killed.
#[test]
fn rights_that_are_lost_in_the_middle_of_a_backlog_refuse_nothing() -> Result<()> {
    if site::is_missing("sinks-rights")? {
        return Ok(());
    }
    room::within("sinks-rights", |room| {
        let mut site = Site::start(room)?;
        let double = Elasticsearch::start()?;
        let sinks = [site.kafka(), site.search(), site.cloud(), site::elasticsearch("role", &double.url())];
        let mut shipment = Shipment::with(room, &policy(room, &sinks), "stream")?;
        site.admit(&mut shipment)?;
        double.cluster().allow(STREAM);
        let names = ["stream", "search", "cloud", "role"];
        shipment.write(1_000)?;
        shipment.agent.start()?;
        shipment.settle_lanes(&names, LATE)?;
        shipment.write(15_000)?;
        await_true("the lanes are in the middle of the backlog", SOON, || {
            Ok(names
                .iter()
                .map(|name| acknowledged(&shipment, name))
                .collect::<Result<Vec<_>>>()?
                .iter()
                .any(|n| *n > 1_500))
        })?;
        site.broker.command(&format!("disallow {} Write {TOPIC}", USER.0))?;
        let block = |value: Value| json!({"index.blocks.write": value});
        site.search.call("PUT", &format!("/{STREAM}/_settings"), &block(json!(true)))?;
        site.cloud.state().denied.insert("PutLogEvents");
        double.cluster().privileges.insert("monitor".to_owned());
        shipment.write(5_000)?;
        let began = Instant::now();
        while began.elapsed() < scale::absence() {
            // The instant must not depend on what the agent does.
            thread::sleep(Duration::from_millis(shipment.rng.within(500..3_000)));
            shipment.agent.kill()?;
            shipment.agent.start()?;
        }
        let mut states = Vec::new();
        await_true("every lane is held", SOON, || {
            let status = shipment.agent.asker().status()?;
            let lanes = status["lanes"].as_array().context("no lanes")?;
            states = lanes.iter().map(|lane| format!("{}: {}", lane["name"], lane["trouble"])).collect();
            Ok(lanes.iter().all(|lane| lane["state"] == "Misconfigured"))
        })
        .with_context(|| states.join("\n"))?;
        site.broker.command(&format!("allow {} Write {TOPIC}", USER.0))?;
        site.search.call("PUT", &format!("/{STREAM}/_settings"), &block(Value::Null))?;
        site.cloud.state().denied.clear();
        double.cluster().privileges.clear();
        shipment.settle_lanes(&names, scale::patience())?;
        shipment.stop()?;
        let arrived = site.check(&shipment, &names[..3])?;
        ensure!(arrived[1].repeats == 0, "a document is there twice");
        let documents = double.documents(STREAM);
        let role = shipment.logs.check_documents(documents)?;
        ensure!(role.lines == shipment.logs.len() && role.repeats == 0, "{role:?}");
        println!("{arrived:?}, {role:?}");
        Ok(())
    })
}

/// All servers are away at the start, in the middle (killed, with their data) and at the end, while the agent is killed at random.
#[test]
fn servers_that_are_absent_for_a_while_lose_nothing() -> Result<()> {
    if site::is_missing("sinks-absent")? {
        return Ok(());
    }
    room::within("sinks-absent", |room| {
        let mut site = Site::start(room)?;
        let sinks = [site.kafka(), site.search(), site.cloud()];
        let mut shipment = Shipment::with(room, &policy(room, &sinks), "stream")?;
        site.admit(&mut shipment)?;
        let names = ["stream", "search", "cloud"];
        for _ in 0..3 {
            site.broker.kill()?;
            site.search.kill()?;
            site.cloud.kill()?;
            shipment.write(3_000)?;
            let began = Instant::now();
            while began.elapsed() < scale::absence() {
                shipment.agent.start()?;
                // The instant must not depend on what the agent does.
                thread::sleep(Duration::from_millis(shipment.rng.within(200..2_000)));
                shipment.agent.kill()?;
            }
            shipment.agent.start()?;
            site.broker.resume()?;
            site.search.resume()?;
            site.cloud.restart()?;
            shipment.write(3_000)?;
            // Now and then the servers go again before all has arrived.
            if shipment.rng.chance(50) {
                shipment.settle_lanes(&names, LATE)?;
            }
            shipment.agent.kill()?;
        }
        shipment.agent.start()?;
        shipment.settle_lanes(&names, scale::patience())?;
        shipment.stop()?;
        let arrived = site.check(&shipment, &names)?;
        ensure!(arrived[1].repeats == 0, "a document is there twice");
        println!("{arrived:?}");
        Ok(())
    })
}
