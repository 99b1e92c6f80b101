//! Delivery to a real OpenSearch, with everything in between that can go wrong.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use waybill_tests::opensearch::{OpenSearch, free_port};
use waybill_tests::policy::{self, with};
use waybill_tests::proxy::{Fault, Proxy};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::scale;
use waybill_tests::shipment::{SOON, Shipment};
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};

use super::place::{self, Place};
use super::{STREAM, judge, sink};

fn url(proxy: &Proxy) -> String {
    format!("http://{}", proxy.address())
}

/// Whether an exchange is a bulk request.
fn is_bulk(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|w| w == b"/_bulk")
}

/// A test with a data stream on a server that runs, or a loud skip where there can be none.
fn with_server(name: &str, test: impl FnOnce(&Room, Place<'_>) -> Result<()>) -> Result<()> {
    if let Some(why) = OpenSearch::missing() {
        return skip::skip(name, &why);
    }
    room::within(name, |room| test(room, Place::new(place::shared()?, name)?))
}

/// Stops the agent and compares.
fn finish(shipment: &mut Shipment, server: &Place<'_>) -> Result<()> {
    shipment.stop()?;
    judge(shipment, server.documents()?)
}

#[test]
fn a_long_stream_arrives_byte_for_byte_and_once() -> Result<()> {
    with_server("elastic-all", |room, server| {
        let mut shipment = Shipment::new(room, server.straight())?;
        let records = scale::records();
        shipment.write(records / 2)?;
        shipment.agent.start()?;
        let began = Instant::now();
        shipment.write(records - records / 2)?;
        shipment.settle_within(scale::patience())?;
        let (took, agent) = (began.elapsed(), &shipment.agent);
        println!("{records} records in {took:?}, {:?} of processor time", agent.processor()?);
        finish(&mut shipment, &server)
    })
}

#[test]
fn requests_and_answers_are_cut_delayed_and_refused_while_the_agent_is_killed() -> Result<()> {
    with_server("elastic-torture", |room, server| {
        let proxy = Proxy::start(server.node.address())?;
        let mut rng = Rng::from_env("elastic-faults");
        proxy.plan(move |_, _| match rng.within(0..12) {
            0 => Fault::CutRequest(rng.within(1..20_000) as usize),
            1 | 2 => Fault::CutAnswer(rng.within(1..2_000) as usize),
            3 => Fault::Close,
            4 => Fault::Answer(429, "{}".to_owned()),
            5 => Fault::Answer(503, "busy".to_owned()),
            6 => Fault::Answer(200, "<html>".to_owned()),
            7 => Fault::Delay(Duration::from_millis(300)),
            _ => Fault::None,
        });
        let mut shipment = Shipment::new(room, server.sink(&[url(&proxy)]))?;
        let mut kills = 0;
        for _ in 0..15 {
            shipment.agent.start()?;
            shipment.write(700)?;
            // A random time is the point: the instant of the blow must not depend on what the agent does.
            thread::sleep(Duration::from_millis(shipment.rng.within(20..1200)));
            shipment.agent.kill()?;
            kills += 1;
        }
        shipment.agent.start()?;
        shipment.write(700)?;
        shipment.settle()?;
        println!("{kills} kills, {} of {} exchanges disturbed", proxy.faults(), proxy.exchanges());
        ensure!(proxy.faults() > 10, "only {} of {} exchanges were disturbed", proxy.faults(), proxy.exchanges());
        finish(&mut shipment, &server)
    })
}

/// Lets the server take records whose answers are cut, rolls over, and lets everything pass again.
fn rolled_over(name: &str, between: impl Fn(&mut Shipment) -> Result<()>) -> Result<()> {
    with_server(name, |room, server| {
        let proxy = Proxy::start(server.node.address())?;
        let mut shipment = Shipment::new(room, server.sink(&[url(&proxy)]))?;
        shipment.agent.start()?;
        shipment.write(100)?;
        shipment.settle()?;
        let before = server.count()?;
        proxy.plan(|_, bytes| if is_bulk(bytes) { Fault::CutAnswer(1) } else { Fault::None });
        shipment.write(500)?;
        await_true("the server has the records", SOON, || Ok(server.count()? >= before + 500))?;
        let unknown = shipment.account()?.term("pending").records;
        ensure!(unknown >= 500, "only {unknown} records are pending: nothing is proved");
        server.roll_over()?;
        between(&mut shipment)?;
        proxy.pass();
        shipment.write(100)?;
        shipment.settle()?;
        finish(&mut shipment, &server)
    })
}

#[test]
fn a_rollover_between_a_cut_answer_and_its_repeat_makes_no_second_copy() -> Result<()> {
    rolled_over("elastic-rollover", |_| Ok(()))
}

#[test]
fn a_rollover_while_the_agent_is_dead_makes_no_second_copy() -> Result<()> {
    rolled_over("elastic-rollover-dead", |shipment| {
        shipment.agent.kill()?;
        shipment.agent.start()
    })
}

#[test]
fn the_server_is_absent_at_the_start_killed_in_the_middle_and_absent_at_the_end() -> Result<()> {
    if let Some(why) = OpenSearch::missing() {
        return skip::skip("elastic-absent", &why);
    }
    room::within("elastic-absent", |room| {
        let mut server = OpenSearch::absent(&room.path().join("opensearch"))?;
        let mut shipment = Shipment::new(room, sink(&[server.url()]))?;
        shipment.write(2_000)?;
        shipment.agent.start()?;
        shipment.await_trouble(false, &["nothing listens there"])?;
        server.resume()?;
        let place = Place { node: &server, stream: STREAM.to_owned() };
        place.template(&json!({}))?;
        shipment.settle()?;
        for _ in 0..2 {
            shipment.write(5_000)?;
            server.kill()?;
            shipment.write(5_000)?;
            server.resume()?;
        }
        shipment.settle()?;
        server.kill()?;
        shipment.write(1_000)?;
        // It ends although the server is away; what is owed goes out in the next life.
        shipment.agent.terminate()?;
        server.resume()?;
        shipment.agent.start()?;
        shipment.settle()?;
        finish(&mut shipment, &Place { node: &server, stream: STREAM.to_owned() })
    })
}

#[test]
fn answers_later_than_the_timeout_are_repeated_and_those_in_time_are_not() -> Result<()> {
    with_server("elastic-slow", |room, server| {
        let proxy = Proxy::start(server.node.address())?;
        let impatient = with(server.sink(&[url(&proxy)]), "/elasticsearch/timeoutSeconds", json!(1));
        let mut shipment = Shipment::new(room, impatient)?;
        proxy.next([Fault::None, Fault::Delay(Duration::from_secs(3)), Fault::Delay(Duration::from_secs(3))]);
        shipment.write(500)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(proxy.faults() == 2, "{} faults", proxy.faults());
        shipment.stop()?;
        // With the time that it has by default, the same delay is no trouble at all.
        Shipment::policy(room, server.sink(&[url(&proxy)])).write(&room.policy())?;
        let exchanges = proxy.exchanges();
        proxy.plan(|_, _| Fault::Delay(Duration::from_secs(3)));
        shipment.write(500)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(
            proxy.exchanges() > exchanges && shipment.status()?["retries"] == 0,
            "{}",
            shipment.status()?["retries"]
        );
        proxy.pass();
        finish(&mut shipment, &server)
    })
}

#[test]
fn another_endpoint_takes_over() -> Result<()> {
    with_server("elastic-failover", |room, server| {
        let proxy = Proxy::start(server.node.address())?;
        let silent = Proxy::start(server.node.address())?;
        silent.plan(|_, _| Fault::Answer(502, "bad gateway".to_owned()));
        let nobody = format!("http://{}", free_port()?);
        let mut shipment = Shipment::new(room, server.sink(&[nobody, url(&silent), url(&proxy)]))?;
        shipment.agent.start()?;
        for _ in 0..5 {
            shipment.write(500)?;
            shipment.settle()?;
            proxy.cut();
        }
        finish(&mut shipment, &server)
    })
}

/// A block of the index holds the lane until it is lifted; no record is refused.
fn blocked(name: &str, block: &str, is_held: bool) -> Result<()> {
    with_server(name, |room, server| {
        let mut shipment = Shipment::new(room, server.straight())?;
        shipment.agent.start()?;
        shipment.write(500)?;
        shipment.settle()?;
        let set = |value: Value| server.set(&json!({(block): value}));
        set(json!(true))?;
        shipment.write(3_000)?;
        shipment.await_trouble(is_held, &["block"])?;
        holds_for("nothing is refused", Duration::from_secs(2), || Ok(shipment.refused()? == 0))?;
        set(Value::Null)?;
        shipment.settle()?;
        finish(&mut shipment, &server)
    })
}

#[test]
fn a_read_only_index_holds_the_lane_and_goes_on() -> Result<()> {
    blocked("elastic-read-only", "index.blocks.write", true)
}

#[test]
fn a_full_disk_holds_the_lane_and_goes_on() -> Result<()> {
    blocked("elastic-full", "index.blocks.read_only_allow_delete", false)
}

#[test]
fn what_does_not_map_becomes_a_dead_letter_and_goes_again_after_mending() -> Result<()> {
    with_server("elastic-mapping", |room, server| {
        // The template wants a number where the records have text.
        let wrong = json!({"properties": {"rule": {"properties": {"name": {"type": "long"}}}}});
        server.template(&wrong)?;
        let pattern = Shipment::pattern(room);
        let source = json!({"name": "app", "file": {"paths": [pattern]}, "format": "Json",
            "json": {"fields": {"rule.name": "$.rule"}}});
        let policy = policy::Policy::new("mapping").source(source).sink(server.straight());
        let mut shipment = Shipment::with(room, &policy, "search")?;
        shipment.agent.start()?;
        for number in 0..200 {
            let rule = if number % 20 == 7 { format!("\"rule {number}\"") } else { number.to_string() };
            shipment.lines(&[format!("{{\"n\":{number},\"rule\":{rule}}}")])?;
        }
        shipment.settle()?;
        ensure!(shipment.refused()? == 10, "{} are refused", shipment.refused()?);
        ensure!(server.count()? >= 190, "the others did not pass");
        let state = room.state().display().to_string();
        let (_, listed) = shipment.waybill(&["inspect", "dead-letters", "--state-dir", &state])?;
        ensure!(listed.contains("rule 7") || listed.contains("failed to parse"), "{listed}");
        server.template(&json!({"properties": {"rule": {"properties": {"name": {"type": "keyword"}}}}}))?;
        server.roll_over()?;
        let (well, said) = shipment.waybill(&["inspect", "dead-letters", "--retry", "--state-dir", &state])?;
        ensure!(well, "{said}");
        let texts = || -> Result<HashSet<String>> {
            let text = |(_, record): (String, Value)| record["event"]["original"].as_str().map(str::to_owned);
            Ok(server.documents()?.into_iter().filter_map(text).collect())
        };
        await_true("the dead letters arrive", SOON, || Ok(texts()?.len() == 200))?;
        shipment.agent.stop()?;
        judge(&shipment, server.documents()?)
    })
}

#[test]
fn requests_that_are_too_large_are_split_and_only_a_record_that_is_too_large_alone_is_refused() -> Result<()> {
    if let Some(why) = OpenSearch::missing() {
        return skip::skip("elastic-413", &why);
    }
    room::within("elastic-413", |room| {
        let node = OpenSearch::start(&room.path().join("opensearch"), &["http.max_content_length=300kb"])?;
        let server = Place::new(&node, "elastic-413")?;
        let mut shipment = Shipment::new(room, server.straight())?;
        shipment.write(8_000)?;
        let giant = "x".repeat(600 << 10);
        shipment.lines(&[&giant])?;
        shipment.write(2_000)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(shipment.refused()? == 1, "{} are refused", shipment.refused()?);
        shipment.agent.stop()?;
        shipment.logs.except(|line| line == giant.as_bytes());
        judge(&shipment, server.documents()?)
    })
}

#[test]
fn a_sink_that_a_policy_no_longer_names_ends_while_its_server_is_silent() -> Result<()> {
    with_server("elastic-silent", |room, server| {
        let proxy = Proxy::start(server.node.address())?;
        let mut shipment = Shipment::new(room, server.sink(&[url(&proxy)]))?;
        let silent = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&silent);
        proxy.plan(move |_, _| if flag.load(Ordering::Relaxed) { Fault::Silence } else { Fault::None });
        shipment.write(100)?;
        shipment.agent.start()?;
        await_true("a request is under way", SOON, || Ok(proxy.faults() > 0))?;
        // The other endpoint is a change of the sink: it starts anew, and under the same cursors.
        Shipment::policy(room, server.straight()).write(&room.policy())?;
        shipment.settle()?;
        silent.store(false, Ordering::Relaxed);
        finish(&mut shipment, &server)
    })
}
