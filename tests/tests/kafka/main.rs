//! Delivery to Kafka, proved against a real broker.

mod leaders;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::kafka::{Broker, Listener, Message, PLAIN, read};
use waybill_tests::logs::{Arrived, Logs};
use waybill_tests::policy::{Policy, with};
use waybill_tests::proxy::{Fault, Proxy};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::scale;
use waybill_tests::shipment::Shipment;
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};

/// How long a delivery may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "audit";

/// A broker, and an agent that ships log files to it.
struct Stand<'a> {
    room: &'a Room,
    broker: Broker,
    shipment: Shipment,
}

/// Runs a test with a broker that runs, or skips it. The topic has 3 partitions.
fn stand(name: &str, sink: impl Fn(&Broker) -> Value, test: impl FnOnce(&mut Stand<'_>) -> Result<()>) -> Result<()> {
    prepared(
        name,
        |broker| {
            broker.resume()?;
            broker.command(&format!("topic {TOPIC} 3"))
        },
        sink,
        test,
    )
}

/// The same, with a broker that was prepared in another way.
fn prepared(
    name: &str,
    prepare: impl FnOnce(&mut Broker) -> Result<()>,
    sink: impl Fn(&Broker) -> Value,
    test: impl FnOnce(&mut Stand<'_>) -> Result<()>,
) -> Result<()> {
    if let Some(why) = Broker::missing() {
        return skip::skip(name, &why);
    }
    room::within(name, |room| {
        let folder = room.path().join("broker");
        std::fs::create_dir(&folder)?;
        let mut broker = Broker::absent(&folder)?;
        prepare(&mut broker)?;
        let shipment = Shipment::with(room, &policy(room, &sink(&broker)), "stream")?;
        test(&mut Stand { room, broker, shipment })
    })
}

fn policy(room: &Room, sink: &Value) -> Policy {
    Shipment::policy(room, sink.clone()).with("limits", json!({"drainSeconds": 5}))
}

/// A sink to the listener that asks for nothing.
fn plain(broker: &Broker) -> Value {
    sink(&broker.address(Listener::Plain))
}

fn sink(address: &str) -> Value {
    json!({"name": "stream", "type": "Kafka", "kafka": {"brokers": [address], "topic": TOPIC}})
}

impl Stand<'_> {
    /// Waits until the topic has everything.
    fn settle(&mut self) -> Result<()> {
        self.shipment.settle()
    }

    fn write(&mut self, log: &str, count: usize) -> Result<()> {
        self.shipment.logs.write(log, count)
    }

    /// Mounts a key of the secret `kafka`, in place of the one that is there.
    fn secret(&self, key: &str, content: &[u8]) -> Result<()> {
        self.shipment.secret("kafka", key, content)
    }

    /// What the topic holds.
    fn read(&self) -> Result<Vec<Message>> {
        read(&self.broker.address(Listener::Plain), TOPIC)
    }

    /// Waits until a person is told what to do.
    fn await_held(&mut self, words: &str) -> Result<()> {
        self.shipment.await_trouble(true, &[words])
    }

    /// Waits until the agent says that nobody is there.
    fn await_absent(&mut self) -> Result<()> {
        self.shipment.await_trouble(false, &["nothing listens there", "start the broker"])
    }

    /// Settles, stops the agent, and holds the topic against the files.
    fn judge(&mut self) -> Result<Arrived> {
        self.judge_with(0)
    }

    /// The same where so many records were refused for a while.
    fn judge_with(&mut self, refused: u64) -> Result<Arrived> {
        self.shipment.settle_within(scale::patience())?;
        self.shipment.stop_with(refused)?;
        check(&self.shipment.logs, &self.read()?)
    }
}

/// Every line arrived as it was, in the order of its stream, in one partition a stream.
fn check(logs: &Logs, messages: &[Message]) -> Result<Arrived> {
    let mut partitions: HashMap<&str, i32> = HashMap::new();
    for message in messages {
        let id = message.headers.get("waybill-id").context("a message without waybill-id")?;
        ensure!(message.key.ends_with(id.as_str()), "the key {} does not end with the id {id}", message.key);
        let stream = id.split('-').next().unwrap_or_default();
        let partition = *partitions.entry(stream).or_insert(message.partition);
        ensure!(
            partition == message.partition,
            "stream {stream} is in partitions {partition} and {}",
            message.partition
        );
    }
    logs.check(messages.iter().map(|message| message.payload.as_slice()))
}

#[test]
fn a_long_stream_arrives_once_and_in_order() -> Result<()> {
    stand("kafka-arrive", plain, |stand| {
        let records = scale::records();
        for file in 0..5 {
            stand.write(&format!("{file}.log"), records / 5)?;
        }
        let began = Instant::now();
        stand.shipment.agent.start()?;
        stand.shipment.settle_within(scale::patience())?;
        let (took, agent) = (began.elapsed(), &stand.shipment.agent);
        println!("{records} records in {took:?}, {:?} of processor time", agent.processor()?);
        let arrived = stand.judge()?;
        ensure!(arrived == Arrived { lines: records, repeats: 0 }, "{arrived:?}");
        let messages = stand.read()?;
        let message = messages.iter().find(|m| m.headers["waybill-source"] == "app").context("no record")?;
        ensure!(message.headers["content-type"] == "application/json", "{:?}", message.headers);
        ensure!(message.key == message.headers["waybill-id"], "{:?}", message.key);
        Ok(())
    })
}

/// An idempotent producer makes no second copy of what it repeats; an agent that was killed may, under the same id.
#[test]
fn connections_are_cut_in_requests_and_answers() -> Result<()> {
    let proxy = OnceCell::new();
    let prepare = |broker: &mut Broker| {
        let started = Proxy::start(broker.socket(Listener::Proxied))?;
        broker.behind(started.address());
        // The cell is empty: it is filled here only.
        let _kept = proxy.set(started);
        broker.resume()?;
        broker.command(&format!("topic {TOPIC} 3"))
    };
    let through = |broker: &Broker| sink(&broker.advertised(Listener::Proxied));
    prepared("kafka-cut", prepare, through, |stand| {
        let proxy = proxy.get().context("no proxy")?;
        let mut rng = stand.shipment.rng.fork();
        proxy.plan(move |_, _| match rng.within(0..10) {
            0 => Fault::CutRequest(rng.within(1..20_000) as usize),
            1 => Fault::CutAnswer(rng.within(1..80) as usize),
            2 => Fault::Close,
            3 => Fault::Delay(Duration::from_millis(200)),
            _ => Fault::None,
        });
        stand.shipment.agent.start()?;
        for _ in 0..10 {
            stand.write("a.log", 1_000)?;
            stand.write("b.log", 1_000)?;
            stand.settle()?;
        }
        let arrived = check(&stand.shipment.logs, &stand.read()?)?;
        ensure!(arrived == Arrived { lines: 20_000, repeats: 0 }, "{arrived:?}");
        ensure!(proxy.faults() > 10, "{} of {} exchanges were disturbed", proxy.faults(), proxy.exchanges());
        for _ in 0..8 {
            stand.write("a.log", 1_000)?;
            // The instant must not depend on what the agent does.
            std::thread::sleep(Duration::from_millis(stand.shipment.rng.within(0..700)));
            stand.shipment.agent.kill()?;
            stand.shipment.agent.start()?;
        }
        let arrived = stand.judge()?;
        println!("{arrived:?}, {} of {} exchanges disturbed", proxy.faults(), proxy.exchanges());
        ensure!(arrived.lines == 28_000, "{arrived:?}");
        Ok(())
    })
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing() -> Result<()> {
    stand("kafka-killed", plain, |stand| {
        stand.shipment.agent.start()?;
        for round in 0..3 {
            stand.write("a.log", 5_000)?;
            stand.write(&format!("b{round}.log"), 2_000)?;
            stand.broker.kill()?;
            stand.write("a.log", 1_000)?;
            stand.broker.resume()?;
        }
        let arrived = stand.judge()?;
        ensure!(arrived.lines == 24_000 && arrived.repeats == 0, "{arrived:?}");
        Ok(())
    })
}

#[test]
fn absent_at_the_start_and_at_the_end() -> Result<()> {
    prepared(
        "kafka-absent",
        |broker| {
            broker.resume()?;
            broker.command(&format!("topic {TOPIC} 1"))?;
            broker.kill()
        },
        plain,
        |stand| {
            stand.write("a.log", 3_000)?;
            stand.shipment.agent.start()?;
            stand.await_absent()?;
            stand.write("a.log", 3_000)?;
            stand.broker.resume()?;
            stand.settle()?;
            stand.broker.kill()?;
            stand.write("a.log", 3_000)?;
            stand.await_absent()?;
            stand.shipment.agent.stop()?;
            stand.broker.resume()?;
            stand.shipment.agent.start()?;
            let arrived = stand.judge()?;
            ensure!(arrived.lines == 9_000, "{arrived:?}");
            Ok(())
        },
    )
}

#[test]
fn by_source_and_as_it_was() -> Result<()> {
    let sink = |broker: &Broker| {
        let sink = with(plain(broker), "/kafka/partitionBy", json!("Source"));
        with(with(sink, "/kafka/compression", json!("Lz4")), "/encoding", json!("Original"))
    };
    stand("kafka-original", sink, |stand| {
        stand.write("a.log", 500)?;
        stand.write("b.log", 500)?;
        stand.shipment.agent.start()?;
        stand.settle()?;
        stand.shipment.agent.stop()?;
        let messages = stand.read()?;
        let records: Vec<&Message> = messages.iter().filter(|m| m.headers["waybill-source"] == "app").collect();
        ensure!(records.len() == 1_000, "{} records", records.len());
        ensure!(records.iter().all(|m| m.partition == records[0].partition), "a source is in one partition");
        for message in records {
            ensure!(message.headers["content-type"] == "text/plain", "{:?}", message.headers);
            ensure!(message.key == format!("app/{}", message.headers["waybill-id"]), "{}", message.key);
            let text = String::from_utf8(message.payload.clone())?;
            ensure!(text.starts_with("a.log ") || text.starts_with("b.log "), "{text}");
        }
        Ok(())
    })
}

#[test]
fn every_login_and_every_compression() -> Result<()> {
    let way = |broker: &Broker, topic: &str, listener, compression, sasl: Value, certificate: bool| {
        let mut tls = json!({"ca": {"secret": "kafka", "key": "ca.pem"}});
        if certificate {
            tls["certificate"] = json!({"secret": "kafka", "key": "client.pem"});
            tls["privateKey"] = json!({"secret": "kafka", "key": "client.key"});
        }
        let kafka = json!({
            "brokers": [broker.address(listener)], "topic": topic, "compression": compression, "tls": tls, "sasl": sasl
        });
        json!({"name": topic, "type": "Kafka", "kafka": kafka})
    };
    let login = |mechanism: &str, user: &str, key: &str| json!({"mechanism": mechanism, "username": user, "password": {"secret": "kafka", "key": key}});
    let topics = ["by-certificate", "by-plain", "by-scram-256", "by-scram-512"];
    stand("kafka-logins", plain, |stand| {
        for topic in topics {
            stand.broker.command(&format!("topic {topic} 2"))?;
            for user in [PLAIN.0, "waybill"] {
                stand.broker.command(&format!("allow {user} Write {topic}"))?;
            }
        }
        stand.broker.command("password waybill scram-secret")?;
        stand.secret("ca.pem", &std::fs::read(stand.broker.authority().certificate())?)?;
        stand.secret("client.pem", &std::fs::read(&stand.broker.client().certificate)?)?;
        stand.secret("client.key", &std::fs::read(&stand.broker.client().key)?)?;
        stand.secret("plain", PLAIN.1.as_bytes())?;
        stand.secret("scram", b"scram-secret\n")?;
        let broker = &stand.broker;
        policy(stand.room, &plain(broker))
            .sink(way(broker, topics[0], Listener::Mutual, "None", Value::Null, true))
            .sink(way(broker, topics[1], Listener::Login, "Gzip", login("Plain", PLAIN.0, "plain"), false))
            .sink(way(broker, topics[2], Listener::Login, "Snappy", login("ScramSha256", "waybill", "scram"), false))
            .sink(way(broker, topics[3], Listener::Login, "Lz4", login("ScramSha512", "waybill", "scram"), false))
            .write(&stand.room.policy())?;
        stand.write("a.log", 2_000)?;
        let (said, status) = stand.shipment.agent.probe()?;
        let well = status.success();
        ensure!(well && said.matches("takes a producer").count() == 5, "{said}");
        stand.shipment.agent.start()?;
        stand.judge()?;
        for topic in topics {
            let arrived = check(&stand.shipment.logs, &read(&stand.broker.address(Listener::Plain), topic)?)?;
            ensure!(arrived == Arrived { lines: 2_000, repeats: 0 }, "{topic}: {arrived:?}");
        }
        for secret in [PLAIN.1, "scram-secret"] {
            ensure!(!stand.shipment.agent.log()?.contains(secret), "a password is in the log");
        }
        Ok(())
    })
}

/// A sink that logs in by SCRAM.
fn scram(broker: &Broker) -> Value {
    let sink =
        with(sink(&broker.address(Listener::Login)), "/kafka/tls", json!({"ca": {"secret": "kafka", "key": "ca.pem"}}));
    let password = json!({"secret": "kafka", "key": "password"});
    with(sink, "/kafka/sasl", json!({"mechanism": "ScramSha512", "username": "waybill", "password": password}))
}

#[test]
fn a_wrong_password_is_corrected_in_its_file() -> Result<()> {
    stand("kafka-password", scram, |stand| {
        stand.broker.command("password waybill the-right-one")?;
        stand.broker.command(&format!("allow waybill Write {TOPIC}"))?;
        stand.write("a.log", 1_000)?;
        stand.shipment.agent.start()?;
        stand.await_held("secret kafka, key ca.pem")?;
        stand.secret("ca.pem", &std::fs::read(stand.broker.authority().certificate())?)?;
        stand.await_held("secret kafka, key password")?;
        stand.secret("password", b"the-wrong-one")?;
        stand.await_held("refuses the login of waybill by SCRAM-SHA-512")?;
        stand.write("a.log", 1_000)?;
        stand.secret("password", b"the-right-one")?;
        stand.settle()?;
        // Changed on both sides while nothing is wrong: the old connection lives, the next one uses the new password.
        stand.broker.command("password waybill a-third-one")?;
        stand.secret("password", b"a-third-one")?;
        stand.write("a.log", 1_000)?;
        stand.settle()?;
        stand.broker.kill()?;
        stand.broker.resume()?;
        stand.write("a.log", 1_000)?;
        let arrived = stand.judge()?;
        ensure!(arrived == Arrived { lines: 4_000, repeats: 0 }, "{arrived:?}");
        ensure!(!stand.shipment.agent.log()?.contains("-one"), "a password is in the log");
        Ok(())
    })
}

#[test]
fn a_topic_and_a_right_that_come_later() -> Result<()> {
    prepared("kafka-later", Broker::resume, scram, |stand| {
        stand.broker.command("password waybill scram-secret")?;
        stand.secret("ca.pem", &std::fs::read(stand.broker.authority().certificate())?)?;
        stand.secret("password", b"scram-secret")?;
        stand.broker.command("topic other 1")?;
        stand.broker.command("allow waybill Write other")?;
        stand.broker.command(&format!("allow waybill Write {TOPIC}"))?;
        stand.write("a.log", 1_000)?;
        stand.shipment.agent.start()?;
        stand.await_held(&format!("there is no topic {TOPIC}"))?;
        stand.broker.command(&format!("topic {TOPIC} 2"))?;
        stand.settle()?;
        stand.broker.command(&format!("disallow waybill Write {TOPIC}"))?;
        stand.write("a.log", 1_000)?;
        stand.await_held("may not write to topic")?;
        stand.broker.command(&format!("allow waybill Write {TOPIC}"))?;
        let arrived = stand.judge()?;
        ensure!(arrived == Arrived { lines: 2_000, repeats: 0 }, "{arrived:?}");
        Ok(())
    })
}

#[test]
fn a_record_that_is_too_large_is_refused_alone() -> Result<()> {
    prepared(
        "kafka-large",
        |broker| {
            broker.resume()?;
            broker.command(&format!("topic {TOPIC} 1 max.message.bytes=50000"))
        },
        plain,
        |stand| {
            stand.write("a.log", 5_000)?;
            stand.shipment.logs.write_long("large.log", 1, 200_000..200_001)?;
            stand.write("a.log", 5_000)?;
            stand.shipment.agent.start()?;
            stand.settle()?;
            let refused = stand.shipment.refused()?;
            ensure!(refused == 1, "{refused} records were refused");
            let records = stand.read()?.iter().filter(|m| m.headers["waybill-source"] == "app").count();
            ensure!(records == 10_000, "{records} records arrived");
            stand.broker.command(&format!("configure {TOPIC} max.message.bytes=1000000"))?;
            stand.shipment.agent.retry_dead_letters("stream")?;
            await_true("the letter arrives", PATIENCE, || {
                stand.shipment.agent.check_alive()?;
                Ok(stand.read()?.iter().any(|m| m.payload.len() > 200_000))
            })?;
            let arrived = stand.judge_with(1)?;
            ensure!(arrived == Arrived { lines: 10_001, repeats: 0 }, "{arrived:?}");
            Ok(())
        },
    )
}

#[test]
fn an_agent_that_is_killed_at_random_repeats_under_the_same_ids() -> Result<()> {
    stand("kafka-agent-killed", plain, |stand| {
        let mut rng = Rng::from_env("kafka-agent-killed");
        for round in 0..12 {
            stand.write("a.log", 1_500)?;
            stand.write(&format!("b{}.log", round % 4), 500)?;
            stand.shipment.agent.start()?;
            // The instant must not depend on what the agent does.
            std::thread::sleep(Duration::from_millis(rng.within(0..700)));
            if round % 4 == 3 {
                stand.broker.kill()?;
                stand.shipment.agent.kill()?;
                stand.broker.resume()?;
            } else {
                stand.shipment.agent.kill()?;
            }
        }
        stand.shipment.agent.start()?;
        let arrived = stand.judge()?;
        println!("{arrived:?}");
        ensure!(arrived.lines == 24_000, "{arrived:?}");
        Ok(())
    })
}

#[test]
fn a_kill_switch_stops_what_is_queued() -> Result<()> {
    stand("kafka-switch", plain, |stand| {
        stand.write("a.log", 1_000)?;
        stand.shipment.agent.start()?;
        stand.settle()?;
        stand.broker.freeze()?;
        stand.write("a.log", 40_000)?;
        await_true("records are on their way", PATIENCE, || {
            Ok(stand.shipment.agent.asker().lanes()?.iter().any(|l| l.term("pending").records > 10_000))
        })?;
        let open = policy(stand.room, &plain(&stand.broker));
        open.clone().engaged("Hold", "looked into").write(&stand.room.policy())?;
        await_true("the lane is held", PATIENCE, || Ok(stand.shipment.status()?["state"] == "Held"))?;
        stand.broker.thaw()?;
        // What the broker had received of requests on their way may still come, the rest may not.
        await_true("what was on its way has come", PATIENCE, || {
            let count = stand.read()?.len();
            holds_for("no more comes", Duration::from_secs(1), || Ok(true))?;
            Ok(stand.read()?.len() == count)
        })?;
        let before = stand.read()?.len();
        ensure!(before < 25_000, "{before} records were let out");
        holds_for("nothing comes out", Duration::from_secs(3), || Ok(stand.read()?.len() == before))?;
        open.lifted("looked into").write(&stand.room.policy())?;
        let arrived = stand.judge()?;
        println!("before {before}, {arrived:?}");
        ensure!(arrived.lines == 41_000, "{arrived:?}");
        Ok(())
    })
}
