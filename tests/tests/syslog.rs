//! The Syslog sink against genuine rsyslog and syslog-ng.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::certificates::{Authority, Certificate};
use waybill_tests::logs::{self, Arrived};
use waybill_tests::output::Output;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::scale;
use waybill_tests::shipment::{LATE, SOON, Shipment};
use waybill_tests::skip;
use waybill_tests::syslog::{Message, Program, Receiver, Transport};
use waybill_tests::wait::{await_true, holds_for};

const MANY: usize = 50_000;
/// Names of the receiver's certificate.
const HERE: &str = "IP:127.0.0.1";

/// Says which of the receivers are there; the others are skipped loudly.
fn programs(test: &str) -> Result<Vec<Program>> {
    let mut there = Vec::new();
    for program in Program::ALL {
        if program.is_there() {
            there.push(program);
        } else {
            skip::skip(&format!("{test} with {}", program.name()), "it is not installed")?;
        }
    }
    Ok(there)
}

fn sink(address: &str, transport: &str) -> Value {
    json!({"name": "siem", "type": "Syslog", "syslog": {"address": address, "transport": transport}})
}

/// Puts a file where the agent finds it as the secret's key, in one step.
fn mount(room: &Room, key: &str, file: &Path) -> Result<()> {
    let folder = room.path().join("secrets/siem");
    fs::create_dir_all(&folder)?;
    fs::copy(file, folder.join("new"))?;
    Ok(fs::rename(folder.join("new"), folder.join(key))?)
}

fn secret(key: &str) -> Value {
    json!({"secret": "siem", "key": key})
}

fn messages(receiver: &Receiver) -> Result<Vec<Message>> {
    receiver.messages()?.iter().map(|raw| Message::parse(raw)).collect()
}

/// The canonical records that a receiver wrote; their ids stand in the structured data too.
fn output(receiver: &Receiver) -> Result<Output> {
    let messages = messages(receiver)?;
    for message in &messages {
        let body: Value = serde_json::from_slice(&message.body)?;
        ensure!(message.param("id") == body["waybill"]["id"].as_str(), "two ids in one message");
        ensure!(message.priority == 10 * 8 + 6, "priority {}", message.priority);
    }
    Ok(logs::output(messages.iter().map(|message| message.body.as_slice())))
}

/// Holds what a receiver wrote against what was written to the files.
fn check(shipment: &Shipment, receiver: &Receiver) -> Result<Arrived> {
    let messages = messages(receiver)?;
    shipment.logs.check(messages.iter().map(|message| message.body.as_slice()))
}

/// Waits until a receiver has written so many different records.
fn await_count(receiver: &Receiver, count: usize) -> Result<()> {
    await_true("the receiver has written all", scale::patience(), || {
        // To count lines costs little, to read them much.
        Ok(receiver.messages()?.len() >= count && logs::count(&output(receiver)?)? >= count)
    })
}

/// Many records, complete, in order, byte for byte.
fn ships_many(
    name: &str,
    program: Program,
    transport: Transport,
    room: &Room,
    sink: &Value,
    count: usize,
) -> Result<()> {
    let mut receiver = Receiver::new(program, transport, &room.path().join("receiver"))?;
    receiver.start()?;
    let sink = with(sink.clone(), "/syslog/address", json!(receiver.address()));
    let mut shipment = Shipment::new(room, sink)?;
    shipment.write(count)?;
    let began = Instant::now();
    shipment.agent.start()?;
    shipment.settle_within(scale::patience())?;
    let shipped = began.elapsed();
    await_count(&receiver, count)?;
    let arrived = check(&shipment, &receiver)?;
    ensure!(arrived == Arrived { lines: count, repeats: 0 }, "{arrived:?}");
    println!("{name} over {}: {count} records in {shipped:?}", program.name());
    shipment.stop()
}

#[test]
fn tcp_brings_all_in_order_byte_for_byte() -> Result<()> {
    for program in programs("tcp")? {
        room::within("syslog-tcp", |room| {
            ships_many("tcp", program, Transport::Tcp, room, &sink("", "Tcp"), scale::records())
        })?;
    }
    Ok(())
}

fn tls_sink(mutual: bool) -> Value {
    let sink = with(sink("", "Tls"), "/syslog/tls", json!({"ca": secret("ca.crt")}));
    if !mutual {
        return sink;
    }
    let sink = with(sink, "/syslog/tls/certificate", secret("tls.crt"));
    with(sink, "/syslog/tls/privateKey", secret("tls.key"))
}

/// An authority in the room, whose certificate the agent trusts.
fn trusted(room: &Room) -> Result<(Authority, Certificate)> {
    let authority = Authority::new(&room.path().join("authority"))?;
    mount(room, "ca.crt", &authority.certificate())?;
    let server = authority.sign("server", HERE)?;
    Ok((authority, server))
}

#[test]
fn tls_brings_all_with_and_without_a_client_certificate() -> Result<()> {
    for program in programs("tls")? {
        for mutual in [false, true] {
            room::within("syslog-tls", |room| {
                let (authority, server) = trusted(room)?;
                if mutual {
                    let client = authority.sign("client", "DNS:node-1")?;
                    mount(room, "tls.crt", &client.certificate)?;
                    mount(room, "tls.key", &client.key)?;
                }
                let transport = Transport::Tls { server, authority: authority.certificate(), mutual };
                let name = if mutual { "mutual tls" } else { "tls" };
                ships_many(name, program, transport, room, &tls_sink(mutual), MANY / 5)
            })?;
        }
    }
    Ok(())
}

#[test]
fn udp_sends_a_datagram_a_record_and_counts_what_it_cuts() -> Result<()> {
    for program in programs("udp")? {
        room::within("syslog-udp", |room| {
            let mut receiver = Receiver::new(program, Transport::Udp, &room.path().join("receiver"))?;
            receiver.start()?;
            let mut shipment = Shipment::new(room, sink(&receiver.address(), "Udp"))?;
            shipment.agent.start()?;
            // In portions: nothing keeps a sender of datagrams from being too fast for a receiver.
            for portion in 1..=40 {
                shipment.write(25)?;
                await_count(&receiver, portion * 25)?;
            }
            let arrived = check(&shipment, &receiver)?;
            ensure!(arrived.repeats == 0, "{} records came again", arrived.repeats);
            // 100,000 bytes do not go into a datagram: what arrives is cut between two characters.
            let long = "\u{20ac}".repeat(33_000);
            shipment.lines(&[&long])?;
            await_true("the cut record is counted", SOON, || {
                let metrics = shipment.agent.asker().metrics()?;
                let cut = waybill_tests::face::sample(&metrics, "waybill_lane_cut_records_total", "lane", "siem");
                Ok(cut == Some(1.0))
            })?;
            await_true("the cut record arrives", SOON, || {
                Ok(receiver.messages()?.last().is_some_and(|last| last.len() > 60_000))
            })?;
            let last = receiver.messages()?.pop().context("no message")?;
            ensure!((65_505..=65_507).contains(&last.len()), "cut to {} bytes", last.len());
            Message::parse(&last).context("the cut message")?;
            shipment.stop()
        })?;
    }
    Ok(())
}

/// User names that would break out of structured data, of a frame, of a line or of JSON.
const HOSTILE: [&str; 10] = [
    r#"bob"] <34>1 2026-01-01T00:00:00Z forged su - - - owned"#,
    r#"bob\"] [waybill@32473 outcome="success"]"#,
    r"\",
    r#"]]]]""""\\\\"#,
    "bob\u{85}<34>1 - - - - - - forged",
    "bob\u{2028}61 <34>1 - - - - - - forged",
    "\u{202e}nimda",
    "b\u{f6}b \u{65e5}\u{672c} \u{1f600}",
    r#"","waybill":{"outcome":"success"},"x":""#,
    "99 <34>1 - forged forged - - - x",
];

#[test]
fn a_user_name_forges_neither_a_field_nor_a_frame() -> Result<()> {
    for program in programs("forged names")? {
        room::within("syslog-forged", |room| {
            let mut receiver = Receiver::new(program, Transport::Tcp, &room.path().join("receiver"))?;
            receiver.start()?;
            let source = policy::source("gate", &Shipment::pattern(room), "V2RayAccess");
            let source = with(source, "/outbounds", json!({"block": "Deny"}));
            let policy = Policy::new("syslog").source(source).sink(sink(&receiver.address(), "Tcp"));
            let mut shipment = Shipment::with(room, &policy, "siem")?;
            let lines: Vec<String> = HOSTILE
                .iter()
                .map(|name| {
                    format!(
                        "2026/01/02 03:04:05 192.0.2.7:4000 accepted tcp:example.org:443 [in >> block] email: {name}"
                    )
                })
                .collect();
            shipment.lines(&lines)?;
            shipment.agent.start()?;
            shipment.settle()?;
            await_count(&receiver, HOSTILE.len())?;
            let ours: Vec<Message> =
                messages(&receiver)?.into_iter().filter(|message| message.names[1] == "gate").collect();
            ensure!(ours.len() == HOSTILE.len(), "{} messages of {} lines", ours.len(), HOSTILE.len());
            for (message, name) in ours.iter().zip(HOSTILE) {
                ensure!(message.params.len() == 4, "{:?}", message.params);
                ensure!(message.param("outcome") == Some("deny"), "{:?}", message.params);
                let body: Value = serde_json::from_slice(&message.body)?;
                ensure!(body["waybill"]["outcome"] == "deny", "{body}");
                let user = message.param("user").context("no user")?;
                let wanted = body["user"]["name"].as_str().context("no user")?;
                let plain = |text: &str| text.chars().filter(char::is_ascii_graphic).collect::<String>();
                ensure!(plain(user) == plain(wanted) && !user.contains(char::is_control), "{name:?} became {user:?}");
            }
            // What the receiver itself made of it: every message one line, of our program, with our structured data.
            let read = receiver.structured()?;
            ensure!(read.len() == receiver.messages()?.len(), "{} lines", read.len());
            for line in read.iter().filter(|line| line.starts_with("gate ")) {
                ensure!(line.starts_with("gate deny [waybill@32473 "), "the receiver read {line:?}");
            }
            ensure!(read.iter().filter(|line| line.starts_with("gate ")).count() == HOSTILE.len(), "{read:?}");
            shipment.stop()
        })?;
    }
    Ok(())
}

#[test]
fn encoding_original_sends_the_line_as_it_was() -> Result<()> {
    for program in programs("original")? {
        room::within("syslog-original", |room| {
            let mut receiver = Receiver::new(program, Transport::Tcp, &room.path().join("receiver"))?;
            receiver.start()?;
            let sink = with(sink(&receiver.address(), "Tcp"), "/encoding", json!("Original"));
            let sink = with(sink, "/syslog/facility", json!("local7"));
            let sink = with(sink, "/syslog/severity", json!("notice"));
            let mut shipment = Shipment::new(room, sink)?;
            let lines: [&[u8]; 4] =
                [b"plain \t text", "\u{e9}t\u{e9} \u{2028}".as_bytes(), b"\xff\xfe binary \x1b[2J", b"] \" \\ <1>"];
            shipment.lines(&lines)?;
            shipment.agent.start()?;
            shipment.settle()?;
            let mine = || -> Result<Vec<Message>> {
                Ok(messages(&receiver)?.into_iter().filter(|message| message.names[1] == "app").collect())
            };
            await_true("the lines arrive", SOON, || Ok(mine()?.len() == lines.len()))?;
            for (message, line) in mine()?.iter().zip(lines) {
                ensure!(message.body == line, "{:?}", String::from_utf8_lossy(&message.body));
                ensure!(message.priority == 23 * 8 + 5, "priority {}", message.priority);
            }
            shipment.stop()
        })?;
    }
    Ok(())
}

/// The receiver is killed with -9 again and again under load. What its kernel had taken and it had not written is lost with it, as far
/// as it is not among the last mebibyte, which goes again.
#[test]
fn a_killed_receiver_costs_no_more_than_what_is_stated() -> Result<()> {
    const KILLS: usize = 6;
    const EACH: usize = 10_000;
    for program in programs("killed receiver")? {
        room::within("syslog-killed", |room| {
            let mut receiver = Receiver::new(program, Transport::Tcp, &room.path().join("receiver"))?;
            receiver.start()?;
            let mut shipment = Shipment::new(room, sink(&receiver.address(), "Tcp"))?;
            shipment.agent.start()?;
            let mut rng = shipment.rng.fork();
            for _ in 0..KILLS {
                shipment.write(EACH)?;
                // A random time is the point: the blow must not depend on what the receiver does. A connection is on trial for 1 s.
                thread::sleep(Duration::from_millis(rng.within(900..1500)));
                receiver.kill()?;
                receiver.start()?;
            }
            shipment.settle()?;
            let (mut before, mut since) = (0, Instant::now());
            await_true("the receiver is through", LATE, || {
                let now = receiver.messages()?.len();
                if std::mem::replace(&mut before, now) != now {
                    since = Instant::now();
                }
                Ok(now > 0 && since.elapsed() > Duration::from_secs(3))
            })?;
            let mut numbers: Vec<u64> = Vec::new();
            let mut torn = 0;
            for raw in receiver.messages()? {
                // A kill tears the line that the receiver was writing, and the next one follows on it.
                let Ok(message) = Message::parse(&raw) else {
                    torn += 1;
                    continue;
                };
                let read = logs::output([message.body.as_slice()]);
                match read.records.first() {
                    Some(record) => numbers.push(logs::number(record.text.bytes())?),
                    None => torn += read.malformed.len(),
                }
            }
            let came = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            let lost = KILLS * EACH - numbers.len();
            let again = came - numbers.len();
            println!(
                "{} killed {KILLS} times under load: {lost} of {} records lost, {again} came again, {torn} torn by it",
                program.name(),
                KILLS * EACH
            );
            ensure!(torn <= 2 * KILLS, "{torn} torn messages");
            ensure!(again > 0, "nothing came again: no connection broke with anything confirmed");
            // At most what a receiving kernel holds (6 MiB by default) beyond the mebibyte, each time, in records of 600 bytes at least.
            ensure!(lost <= KILLS * (5 << 20) / 600, "{lost} records are lost");
            shipment.stop()
        })?;
    }
    Ok(())
}

#[test]
fn a_killed_agent_repeats_under_the_same_ids_only() -> Result<()> {
    for program in programs("killed agent")? {
        room::within("syslog-agent", |room| {
            let mut receiver = Receiver::new(program, Transport::Tcp, &room.path().join("receiver"))?;
            receiver.start()?;
            let mut shipment = Shipment::new(room, sink(&receiver.address(), "Tcp"))?;
            let mut rng = shipment.rng.fork();
            shipment.write(30_000)?;
            for _ in 0..8 {
                shipment.agent.start()?;
                shipment.write(500)?;
                thread::sleep(Duration::from_millis(rng.within(0..300)));
                shipment.agent.kill()?;
            }
            shipment.agent.start()?;
            shipment.settle()?;
            await_count(&receiver, 34_000)?;
            let arrived = check(&shipment, &receiver)?;
            println!("{}: {arrived:?}", program.name());
            shipment.stop()
        })?;
    }
    Ok(())
}

/// Reads as little as is asked for.
struct Slow(TcpListener);

impl Slow {
    fn new() -> Result<Self> {
        Ok(Self(TcpListener::bind("127.0.0.1:0")?))
    }

    fn address(&self) -> Result<String> {
        Ok(self.0.local_addr()?.to_string())
    }
}

/// Takes frames off a stream of bytes.
fn frames(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while let Some(at) = bytes.iter().position(|byte| *byte == b' ') {
        let len: usize = std::str::from_utf8(&bytes[..at])?.parse()?;
        let Some(frame) = bytes.get(at + 1..at + 1 + len) else { break };
        found.push(frame.to_vec());
        bytes = &bytes[at + 1 + len..];
    }
    Ok(found)
}

#[test]
fn a_slow_receiver_gets_no_acknowledgement_ahead_and_a_switch_stops_the_rest() -> Result<()> {
    room::within("syslog-slow", |room| {
        let slow = Slow::new()?;
        let policy = || -> Result<Policy> { Ok(Shipment::policy(room, sink(&slow.address()?, "Tcp"))) };
        let mut shipment = Shipment::with(room, &policy()?, "siem")?;
        shipment.write(MANY)?;
        shipment.agent.start()?;
        let (mut peer, _) = slow.0.accept()?;
        let acknowledged = |shipment: &Shipment| -> Result<u64> {
            Ok(shipment.agent.asker().lanes()?.iter().map(|lane| lane.term("acknowledged").records).sum())
        };
        // Nobody reads: only what fits into the peer's kernel counts.
        await_true("something comes", SOON, || Ok(peer.peek(&mut [0; 64])? > 0))?;
        let (mut before, mut since) = (0, Instant::now());
        await_true("the peer's kernel is full", SOON, || {
            let now = acknowledged(&shipment)?;
            if std::mem::replace(&mut before, now) != now {
                since = Instant::now();
            }
            Ok(since.elapsed() > Duration::from_secs(3))
        })?;
        ensure!(before < MANY as u64 / 2, "{before} records are acknowledged and nobody has read one");
        let resident = shipment.agent.resident()?;
        ensure!(resident < 400 << 20, "{resident} bytes are resident");
        // The switch: what is in the two kernels still comes, and no more.
        policy()?.engaged("Hold", "drill").write(&room.policy())?;
        await_true("the switch is engaged", SOON, || {
            Ok(shipment.agent.asker().metrics()?.contains("waybill_kill_switches_engaged 1"))
        })?;
        peer.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut got = Vec::new();
        let mut block = vec![0; 1 << 16];
        while let Ok(count) = peer.read(&mut block) {
            if count == 0 {
                break;
            }
            got.extend_from_slice(&block[..count]);
        }
        let early = frames(&got)?.len();
        ensure!(early < MANY / 2, "{early} records came although the switch was thrown");
        policy()?.lifted("over").write(&room.policy())?;
        slow.0.set_nonblocking(true)?;
        let mut peers = vec![(peer, got)];
        let began = Instant::now();
        loop {
            if let Ok((peer, _)) = slow.0.accept() {
                peer.set_nonblocking(true)?;
                peers.push((peer, Vec::new()));
            }
            for (peer, got) in &mut peers {
                peer.set_nonblocking(true)?;
                while let Ok(count) = peer.read(&mut block) {
                    if count == 0 {
                        break;
                    }
                    got.extend_from_slice(&block[..count]);
                }
            }
            if shipment.agent.asker().lanes()?.iter().all(|lane| lane.term("pending").bytes == 0) {
                break;
            }
            ensure!(began.elapsed() < LATE, "it does not go on after the switch");
        }
        let mut bodies = Vec::new();
        for (_, got) in &peers {
            for frame in frames(got)? {
                bodies.push(Message::parse(&frame)?.body);
            }
        }
        let arrived = shipment.logs.check(bodies.iter().map(Vec::as_slice))?;
        println!("{before} records acknowledged unread, {early} came before the lifting; {arrived:?}");
        shipment.stop()
    })
}

/// Tries a sink out and expects one clear sentence.
fn probe(room: &Room, sink: Value, wanted: &[&str]) -> Result<()> {
    let shipment = Shipment::new(room, sink)?;
    let began = Instant::now();
    let (well, line) = shipment.probe()?;
    println!("{line}");
    for part in wanted {
        ensure!(line.contains(part), "{part:?} is missing in {line:?}");
    }
    ensure!(!wanted.is_empty() && began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    ensure!(well == line.contains("look there whether records arrive"), "{line}");
    Ok(())
}

#[test]
fn a_probe_says_in_one_sentence_what_is_wrong() -> Result<()> {
    for program in programs("probe")? {
        room::within("syslog-probe", |room| {
            let (authority, server) = trusted(room)?;
            let expired = authority.sign_expired("expired", HERE)?;
            let elsewhere = authority.sign("elsewhere", "DNS:other.example")?;
            let stranger = Authority::new(&room.path().join("stranger"))?;
            let client = authority.sign("client", "DNS:node-1")?;
            let foreign = stranger.sign("client", "DNS:node-1")?;
            mount(room, "tls.crt", &client.certificate)?;
            mount(room, "tls.key", &client.key)?;
            mount(room, "stranger.crt", &stranger.certificate())?;
            mount(room, "foreign.crt", &foreign.certificate)?;
            mount(room, "foreign.key", &foreign.key)?;
            let ca = authority.certificate();
            let receiver = |name: &str, transport: Transport| -> Result<Receiver> {
                let mut receiver = Receiver::new(program, transport, &room.path().join(name))?;
                receiver.start()?;
                Ok(receiver)
            };
            let tls =
                |server: &Certificate, mutual| Transport::Tls { server: server.clone(), authority: ca.clone(), mutual };
            let at = |sink: Value, address: &str| with(sink, "/syslog/address", json!(address));
            let plain = receiver("plain", Transport::Tcp)?;
            let secure = receiver("secure", tls(&server, false))?;
            let mutual = receiver("mutual", tls(&server, true))?;
            probe(room, sink(&plain.address(), "Tcp"), &["accepts connections (no encryption)"])?;
            probe(room, at(tls_sink(false), &secure.address()), &["accepts connections (TLS 1.3)"])?;
            probe(room, at(tls_sink(true), &mutual.address()), &["accepts connections (TLS 1.3)"])?;
            let nobody = Slow::new()?.address()?;
            probe(room, sink(&nobody, "Tcp"), &["nothing listens there", "correct the port"])?;
            probe(room, sink(&nobody, "Udp"), &["nothing listens there", "correct the port"])?;
            probe(room, sink("nowhere.invalid:514", "Tcp"), &["cannot be resolved"])?;
            probe(room, at(tls_sink(false), &plain.address()), &["TLS", "port"])?;
            probe(room, sink(&secure.address(), "Tcp"), &["it speaks TLS on this port", "transport: Tls"])?;
            let unknown = with(tls_sink(false), "/syslog/tls/ca", secret("stranger.crt"));
            probe(room, at(unknown, &secure.address()), &["unknown authority", "tls.ca"])?;
            let missing = with(tls_sink(false), "/syslog/tls/ca", secret("none.crt"));
            probe(room, at(missing, &secure.address()), &["secret siem, key none.crt"])?;
            probe(room, at(tls_sink(false), &mutual.address()), &["client certificate", "tls.certificate"])?;
            let sink = with(tls_sink(true), "/syslog/tls/certificate", secret("foreign.crt"));
            let sink = with(sink, "/syslog/tls/privateKey", secret("foreign.key"));
            probe(room, at(sink, &mutual.address()), &["client certificate", "tls.certificate"])?;
            let sink = with(tls_sink(true), "/syslog/tls/privateKey", secret("foreign.key"));
            probe(room, at(sink, &mutual.address()), &["do not go together"])?;
            let other = receiver("elsewhere", tls(&elsewhere, false))?;
            probe(room, at(tls_sink(false), &other.address()), &["another host name"])?;
            let old = receiver("expired", tls(&expired, false))?;
            probe(room, at(tls_sink(false), &old.address()), &["has expired", "renew"])?;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_certificate_that_is_mended_or_renewed_needs_no_restart() -> Result<()> {
    let Some(program) = programs("renewed certificate")?.first().copied() else { return Ok(()) };
    room::within("syslog-renewed", |room| {
        let (authority, server) = trusted(room)?;
        let stranger = Authority::new(&room.path().join("stranger"))?;
        let wrong = stranger.sign("client", "DNS:node-1")?;
        let client = authority.sign("client", "DNS:node-1")?;
        mount(room, "tls.crt", &wrong.certificate)?;
        mount(room, "tls.key", &wrong.key)?;
        let transport = Transport::Tls { server, authority: authority.certificate(), mutual: true };
        let mut receiver = Receiver::new(program, transport, &room.path().join("receiver"))?;
        receiver.start()?;
        let sink = with(tls_sink(true), "/syslog/address", json!(receiver.address()));
        let mut shipment = Shipment::new(room, sink)?;
        shipment.write(1000)?;
        shipment.agent.start()?;
        await_true("the trouble is told", SOON, || {
            Ok(shipment.agent.asker().status()?.to_string().contains("client certificate"))
        })?;
        holds_for("nothing is acknowledged", Duration::from_secs(2), || {
            Ok(shipment.agent.asker().lanes()?.iter().all(|lane| lane.term("acknowledged").bytes == 0))
        })?;
        mount(room, "tls.crt", &client.certificate)?;
        mount(room, "tls.key", &client.key)?;
        shipment.settle()?;
        await_count(&receiver, 1000)?;
        // A renewed certificate takes effect on a connection that works, and nothing comes twice for it.
        let renewed = authority.sign("renewed", "DNS:node-1")?;
        mount(room, "tls.key", &renewed.key)?;
        mount(room, "tls.crt", &renewed.certificate)?;
        await_true("it connects anew", SOON, || Ok(shipment.agent.log()?.contains("certificates changed")))?;
        shipment.write(1000)?;
        shipment.settle()?;
        await_count(&receiver, 2000)?;
        let arrived = check(&shipment, &receiver)?;
        ensure!(arrived.repeats == 0, "{} records came again", arrived.repeats);
        let log = shipment.agent.log()?;
        ensure!(!log.contains("BEGIN") && !log.contains("PRIVATE KEY-"), "a key stands in the log");
        shipment.stop()
    })
}
