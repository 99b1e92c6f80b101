//! Delivery to Kafka, proved against a real broker.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::agent::Agent;
use waybill_tests::kafka::{Broker, Listener, Message, PLAIN, read};
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::ream::{Arrived, Ream};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::skip;
use waybill_tests::wait::{await_true, holds_for};

/// How long a delivery may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "audit";

/// A broker, an agent that ships to it, and log files.
struct Stand<'a> {
    room: &'a Room,
    broker: Broker,
    agent: Agent,
    ream: Ream,
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
        let mut agent = room.agent(&policy(room, &sink(&broker)))?;
        agent.secrets_at(&room.path().join("secrets"));
        let ream = Ream::new(&room.logs(), Rng::from_env(name));
        let mut stand = Stand { room, broker, agent, ream };
        test(&mut stand)
    })
}

fn policy(room: &Room, sink: &Value) -> Policy {
    Policy::new("kafka")
        .with("limits", json!({"drainSeconds": 5}))
        .source(policy::text("app", &format!("{}/*.log", room.logs().display())))
        .sink(sink.clone())
}

/// A sink to the listener that asks for nothing.
fn plain(broker: &Broker) -> Value {
    sink(&broker.address(Listener::Plain))
}

fn sink(address: &str) -> Value {
    json!({"name": "stream", "type": "Kafka", "kafka": {"brokers": [address], "topic": TOPIC}})
}

impl Stand<'_> {
    /// Waits until no lane owes anything.
    fn settle(&mut self) -> Result<()> {
        self.settle_within(PATIENCE)
    }

    fn settle_within(&mut self, patience: Duration) -> Result<()> {
        let bytes = self.ream.bytes();
        await_true("no lane owes anything", patience, || {
            self.agent.check_alive()?;
            let status = self.agent.asker().status()?;
            let streams = status["streams"].as_array().context("no streams")?;
            let passed = |lane: &str| -> u64 {
                let ours = streams.iter().filter(|stream| stream["source"] == "app");
                ours.filter_map(|stream| stream["cursors"][lane].as_u64()).sum()
            };
            let lanes = waybill_tests::face::lanes(&status)?;
            Ok(lanes.iter().all(|lane| lane.term("pending").bytes == 0 && passed(&lane.name) == bytes))
        })
    }

    /// Mounts a key of the secret `kafka`, in place of the one that is there.
    fn secret(&self, key: &str, content: &[u8]) -> Result<()> {
        let folder = self.room.path().join("secrets/kafka");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(".new"), content)?;
        Ok(std::fs::rename(folder.join(".new"), folder.join(key))?)
    }

    /// What the topic holds.
    fn read(&self) -> Result<Vec<Message>> {
        read(&self.broker.address(Listener::Plain), TOPIC)
    }

    /// Waits until the agent says in its status what is in the way.
    fn await_trouble(&mut self, part: &str) -> Result<()> {
        await_true(&format!("the status says {part:?}"), PATIENCE, || {
            self.agent.check_alive()?;
            Ok(self.agent.asker().status()?.to_string().contains(part))
        })
    }

    /// Settles, stops the agent, and holds the topic against the files.
    fn judge(&mut self) -> Result<Arrived> {
        self.settle()?;
        self.agent.stop()?;
        for lane in waybill_tests::face::lanes(&self.agent.inspect()?)? {
            lane.balance()?;
            ensure!(lane.term("lost").bytes == 0, "lost: {lane}");
        }
        check(&self.ream, &self.read()?)
    }
}

/// Every line arrived as it was, in the order of its stream, in one partition a stream.
fn check(ream: &Ream, messages: &[Message]) -> Result<Arrived> {
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
    ream.check(messages.iter().map(|message| message.payload.as_slice()))
}

#[test]
fn fifty_thousand_records_arrive_once_and_in_order() -> Result<()> {
    stand("kafka-arrive", plain, |stand| {
        for file in 0..5 {
            stand.ream.write(&format!("{file}.log"), 10_000)?;
        }
        stand.agent.start()?;
        let arrived = stand.judge()?;
        ensure!(arrived == Arrived { lines: 50_000, repeats: 0 }, "{arrived:?}");
        let messages = stand.read()?;
        let message = messages.iter().find(|m| m.headers["waybill-source"] == "app").context("no record")?;
        ensure!(message.headers["content-type"] == "application/json", "{:?}", message.headers);
        ensure!(message.key == message.headers["waybill-id"], "{:?}", message.key);
        Ok(())
    })
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing() -> Result<()> {
    stand("kafka-killed", plain, |stand| {
        stand.agent.start()?;
        for round in 0..3 {
            stand.ream.write("a.log", 5_000)?;
            stand.ream.write(&format!("b{round}.log"), 2_000)?;
            stand.broker.kill()?;
            stand.ream.write("a.log", 1_000)?;
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
            stand.ream.write("a.log", 3_000)?;
            stand.agent.start()?;
            stand.await_trouble("refused")?;
            stand.ream.write("a.log", 3_000)?;
            stand.broker.resume()?;
            stand.settle()?;
            stand.broker.kill()?;
            stand.ream.write("a.log", 3_000)?;
            stand.await_trouble("refused")?;
            stand.agent.stop()?;
            stand.broker.resume()?;
            stand.agent.start()?;
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
        stand.ream.write("a.log", 500)?;
        stand.ream.write("b.log", 500)?;
        stand.agent.start()?;
        stand.settle()?;
        stand.agent.stop()?;
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
        stand.ream.write("a.log", 2_000)?;
        let (said, status) = stand.agent.probe()?;
        let well = status.success();
        ensure!(well && said.matches("takes a producer").count() == 5, "{said}");
        stand.agent.start()?;
        stand.judge()?;
        for topic in topics {
            let arrived = check(&stand.ream, &read(&stand.broker.address(Listener::Plain), topic)?)?;
            ensure!(arrived == Arrived { lines: 2_000, repeats: 0 }, "{topic}: {arrived:?}");
        }
        for secret in [PLAIN.1, "scram-secret"] {
            ensure!(!stand.agent.log()?.contains(secret), "a password is in the log");
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
        stand.ream.write("a.log", 1_000)?;
        stand.agent.start()?;
        stand.await_trouble("secret kafka, key ca.pem")?;
        stand.secret("ca.pem", &std::fs::read(stand.broker.authority().certificate())?)?;
        stand.await_trouble("secret kafka, key password")?;
        stand.secret("password", b"the-wrong-one")?;
        stand.await_trouble("refuses the login of waybill by SCRAM-SHA-512")?;
        stand.ream.write("a.log", 1_000)?;
        stand.secret("password", b"the-right-one")?;
        stand.settle()?;
        // Changed on both sides while nothing is wrong: the old connection lives, the next one uses the new password.
        stand.broker.command("password waybill a-third-one")?;
        stand.secret("password", b"a-third-one")?;
        stand.ream.write("a.log", 1_000)?;
        stand.settle()?;
        stand.broker.kill()?;
        stand.broker.resume()?;
        stand.ream.write("a.log", 1_000)?;
        let arrived = stand.judge()?;
        ensure!(arrived == Arrived { lines: 4_000, repeats: 0 }, "{arrived:?}");
        ensure!(!stand.agent.log()?.contains("-one"), "a password is in the log");
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
        stand.ream.write("a.log", 1_000)?;
        stand.agent.start()?;
        stand.await_trouble(&format!("there is no topic {TOPIC}"))?;
        stand.broker.command(&format!("topic {TOPIC} 2"))?;
        stand.settle()?;
        stand.broker.command(&format!("disallow waybill Write {TOPIC}"))?;
        stand.ream.write("a.log", 1_000)?;
        stand.await_trouble("may not write to topic")?;
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
            let mut rng = Rng::new(1);
            stand.ream.write("a.log", 5_000)?;
            stand.ream.write_text("large.log", rng.text(200_000).as_bytes())?;
            stand.ream.write("a.log", 5_000)?;
            stand.agent.start()?;
            stand.settle()?;
            let refused: u64 = stand.agent.asker().lanes()?.iter().map(|l| l.term("refused").records).sum();
            ensure!(refused == 1, "{refused} records were refused");
            let records = stand.read()?.iter().filter(|m| m.headers["waybill-source"] == "app").count();
            ensure!(records == 10_000, "{records} records arrived");
            stand.broker.command(&format!("configure {TOPIC} max.message.bytes=1000000"))?;
            stand.agent.retry_dead_letters("stream")?;
            await_true("the letter arrives", PATIENCE, || {
                stand.agent.check_alive()?;
                Ok(stand.read()?.iter().any(|m| m.payload.len() > 200_000))
            })?;
            let arrived = stand.judge()?;
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
            stand.ream.write("a.log", 1_500)?;
            stand.ream.write(&format!("b{}.log", round % 4), 500)?;
            stand.agent.start()?;
            // The instant must not depend on what the agent does.
            std::thread::sleep(Duration::from_millis(rng.within(0..700)));
            if round % 4 == 3 {
                stand.broker.kill()?;
                stand.agent.kill()?;
                stand.broker.resume()?;
            } else {
                stand.agent.kill()?;
            }
        }
        stand.agent.start()?;
        let arrived = stand.judge()?;
        println!("{arrived:?}");
        ensure!(arrived.lines == 24_000, "{arrived:?}");
        Ok(())
    })
}

#[test]
fn a_kill_switch_stops_what_is_queued() -> Result<()> {
    stand("kafka-switch", plain, |stand| {
        stand.ream.write("a.log", 1_000)?;
        stand.agent.start()?;
        stand.settle()?;
        stand.broker.freeze()?;
        stand.ream.write("a.log", 40_000)?;
        await_true("records are on their way", PATIENCE, || {
            Ok(stand.agent.asker().lanes()?.iter().any(|l| l.term("pending").records > 10_000))
        })?;
        let open = policy(stand.room, &plain(&stand.broker));
        open.clone().engaged("Hold", "looked into").write(&stand.room.policy())?;
        stand.await_trouble("Held")?;
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

/// Mistakes of configuration, each with the sentence that the probe must say.
#[test]
fn the_probe_says_what_is_wrong() -> Result<()> {
    let ca = json!({"ca": {"secret": "kafka", "key": "ca.pem"}});
    stand("kafka-probe", scram, |stand| {
        stand.secret("ca.pem", &std::fs::read(stand.broker.authority().certificate())?)?;
        stand.secret("password", b"scram-secret")?;
        stand.secret("wrong", b"no-secret")?;
        stand.broker.command("password waybill scram-secret")?;
        stand.broker.command("password nobody scram-secret")?;
        stand.broker.command("password reader scram-secret")?;
        stand.broker.command(&format!("allow waybill Write {TOPIC}"))?;
        stand.broker.command("allow waybill Write no-such-topic")?;
        stand.broker.command(&format!("allow reader Read {TOPIC}"))?;
        let broker = &stand.broker;
        let good = scram(broker);
        let at = |listener| sink(&broker.address(listener));
        let login = |user: &str, key: &str| {
            let password = json!({"secret": "kafka", "key": key});
            with(
                good.clone(),
                "/kafka/sasl",
                json!({"mechanism": "ScramSha256", "username": user, "password": password}),
            )
        };
        let cases = [
            (good.clone(), "with 3 partitions"),
            (plain(broker), "with 3 partitions"),
            (sink("127.0.0.1:1"), "Connection refused"),
            (sink("no-such-host.invalid:9092"), "no-such-host.invalid"),
            (with(plain(broker), "/kafka/tls", ca.clone()), "does not speak TLS on this port"),
            (at(Listener::Login), "speaks TLS on this port"),
            (at(Listener::Mutual), "speaks TLS on this port"),
            (with(at(Listener::Mutual), "/kafka/tls", ca.clone()), "sink.kafka.tls.certificate"),
            (with(good.clone(), "/kafka/tls", json!({})), "signed by an unknown authority"),
            (with(at(Listener::Elsewhere), "/kafka/tls", ca.clone()), "certificate is for another host name"),
            (with(at(Listener::Login), "/kafka/tls", ca.clone()), "write sasl into sink.kafka"),
            (login("waybill", "missing"), "secret kafka, key missing"),
            (login("waybill", "wrong"), "refuses the login of waybill by SCRAM-SHA-256"),
            (login("no-one", "password"), "refuses the login of no-one"),
            (login("nobody", "password"), "user nobody may"),
            (login("reader", "password"), "user reader may"),
            (with(good.clone(), "/kafka/topic", json!("no-such-topic")), "there is no topic no-such-topic"),
            (
                with(good.clone(), "/kafka/tls", json!({"ca": {"secret": "kafka", "key": "password"}})),
                "holds no certificate",
            ),
        ];
        let mut wrong = Vec::new();
        for (sink, sentence) in &cases {
            policy(stand.room, sink).write(&stand.room.policy())?;
            let (said, status) = stand.agent.probe()?;
            let well = status.success();
            let line = said.lines().find(|line| line.starts_with("sink stream: ")).unwrap_or(&said);
            println!("{line}");
            if !line.contains(sentence) || well != sentence.contains("partitions") || said.contains("-secret") {
                wrong.push(format!("{sentence:?} is not in {line:?} of {}", sink["kafka"]));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
}

#[test]
#[ignore = "minutes long: WAYBILL_RECORDS says how many records, a million by default"]
fn a_million_records_arrive_once_and_in_order() -> Result<()> {
    let records = std::env::var("WAYBILL_RECORDS").map_or(Ok(1_000_000), |text| text.parse::<usize>())?;
    stand("kafka-million", plain, |stand| {
        for file in 0..10 {
            stand.ream.write(&format!("{file}.log"), records / 10)?;
        }
        let began = std::time::Instant::now();
        stand.agent.start()?;
        stand.settle_within(Duration::from_secs(600))?;
        let (took, processor) = (began.elapsed(), stand.agent.processor()?);
        println!(
            "{records} records in {took:?}, {processor:?} of processor time, {} bytes resident",
            stand.agent.resident()?
        );
        let arrived = stand.judge()?;
        ensure!(arrived == Arrived { lines: records / 10 * 10, repeats: 0 }, "{arrived:?}");
        Ok(())
    })
}
