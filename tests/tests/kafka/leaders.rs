//! A cluster of three brokers that are killed one after the other: leaders move, and what was acknowledged stays.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::kafka::{Broker, Listener, read};
use waybill_tests::policy::with;
use waybill_tests::room;
use waybill_tests::scale;
use waybill_tests::shipment::{LATE, Shipment};
use waybill_tests::skip;
use waybill_tests::wait::holds_for;

use super::{TOPIC, check, policy, sink};

#[test]
fn brokers_of_a_cluster_are_lost_one_after_the_other() -> Result<()> {
    if let Some(why) = Broker::missing() {
        return skip::skip("kafka-leaders", &why);
    }
    room::within("kafka-leaders", |room| {
        let folder = |node: u32| -> Result<_> {
            let folder = room.path().join(format!("broker-{node}"));
            std::fs::create_dir(&folder)?;
            Ok(folder)
        };
        let first = Broker::absent(&folder(1)?)?;
        let peers = [first.peer(2, &folder(2)?)?, first.peer(3, &folder(3)?)?];
        let mut brokers: Vec<Broker> = [first].into_iter().chain(peers).collect();
        brokers.iter_mut().try_for_each(Broker::resume)?;
        brokers[0].command(&format!("topic {TOPIC} 6 replicas=3 min.insync.replicas=2"))?;
        let addresses: Vec<String> = brokers.iter().map(|broker| broker.address(Listener::Plain)).collect();
        let sink = with(sink(&addresses[0]), "/kafka/brokers", json!(addresses));
        let mut shipment = Shipment::with(room, &policy(room, &sink), "stream")?;
        let write = |shipment: &mut Shipment, count: usize| -> Result<()> {
            (0..8).try_for_each(|log| shipment.logs.write(&format!("{log}.log"), count))
        };
        shipment.agent.start()?;
        // The controller comes last: without it no leader moves, and all waits for it.
        for lost in [1, 2, 0] {
            write(&mut shipment, 1_000)?;
            brokers[lost].kill()?;
            let began = Instant::now();
            write(&mut shipment, 500)?;
            if lost != 0 {
                shipment.settle_within(LATE)?;
                println!("without broker {} all was there after {:?}", lost + 1, began.elapsed());
            }
            holds_for("the agent lives", scale::absence().saturating_sub(began.elapsed()), || {
                shipment.agent.check_alive().map(|()| true)
            })?;
            brokers[lost].resume()?;
            shipment.settle_within(LATE)?;
        }
        shipment.stop()?;
        let arrived = check(&shipment.logs, &read(&addresses[0], TOPIC)?)?;
        ensure!(arrived.lines == shipment.logs.len() && arrived.repeats == 0, "{arrived:?}");
        Ok(())
    })
}
