//! Typical mistakes of configuration, and the one sentence that `check --probe` says to each.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::certificates::Authority;
use waybill_tests::cloudwatch::Double;
use waybill_tests::elasticsearch::Elasticsearch;
use waybill_tests::kafka::{Broker, Listener};
use waybill_tests::opensearch::free_port;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::shipment::Shipment;
use waybill_tests::skip;
use waybill_tests::syslog::{Receiver, Transport};

use super::site::{self, STREAM, TOPIC, cloud_watch, elasticsearch, syslog};

/// Sinks of a policy, at most.
const SINKS: usize = 16;
/// No probe may tell this; it is part of each password and key.
const SECRET: &str = "never-to-be-seen";

/// Sinks, each with parts of what must be said of it.
type Table<'a> = Vec<(Value, &'a [&'a str])>;

/// A key of the secret that holds everything.
fn key(name: &str) -> Value {
    json!({"secret": "probe", "key": name})
}

fn tls(sink: Value, kind: &str, ca: &str) -> Value {
    with(sink, &format!("/{kind}/tls"), json!({"ca": key(ca)}))
}

/// Probes all sinks, as many policies as that takes. What is said must be one line each, well or not, in the words of the table.
fn probe(room: &Room, table: &Table<'_>, well: bool) -> Result<()> {
    let mut wrong = Vec::new();
    for sinks in table.chunks(SINKS) {
        let mut policy = Policy::new("probe").source(policy::text("app", &Shipment::pattern(room)));
        for (number, (sink, _)) in sinks.iter().enumerate() {
            policy = policy.sink(with(sink.clone(), "/name", json!(format!("sink-{number}"))));
        }
        let mut shipment = Shipment::with(room, &policy, "sink-0")?;
        shipment.agent.set("AWS_EC2_METADATA_DISABLED", "true");
        shipment.agent.set("AWS_CONFIG_FILE", "/dev/null");
        shipment.agent.set("AWS_SHARED_CREDENTIALS_FILE", &room.path().join("credentials").display().to_string());
        let (said, status) = shipment.agent.probe()?;
        ensure!(status.success() == well, "{status}: {said}");
        ensure!(!said.contains(SECRET), "a secret is told: {said}");
        let lines: HashMap<&str, &str> =
            said.lines().filter_map(|line| line.strip_prefix("sink ")?.split_once(": ")).collect();
        for (number, (sink, words)) in sinks.iter().enumerate() {
            let line =
                lines.get(format!("sink-{number}").as_str()).with_context(|| format!("no sink-{number}: {said}"))?;
            println!("{}: {line}", sink["type"].as_str().unwrap_or_default());
            if !words.iter().all(|part| line.contains(part)) {
                wrong.push(format!("{words:?} are not in {line:?}, said of {sink}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Writes the login of the CloudWatch sinks.
fn log_in(room: &Room, access_key: &str) -> Result<()> {
    let text = format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {SECRET}\n");
    policy::replace(&room.path().join("credentials"), &text)
}

/// Files of certificates and passwords.
fn secrets(room: &Room, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let folder = room.path().join("secrets/probe");
    std::fs::create_dir_all(&folder)?;
    files.iter().try_for_each(|(name, content)| Ok(std::fs::write(folder.join(name), content)?))
}

#[test]
fn kafka() -> Result<()> {
    if let Some(why) = Broker::missing() {
        return skip::skip("mistakes-kafka", &why);
    }
    room::within("mistakes-kafka", |room| {
        let folder = room.path().join("broker");
        std::fs::create_dir(&folder)?;
        let mut broker = Broker::start(&folder)?;
        broker.command(&format!("topic {TOPIC} 3"))?;
        for user in ["waybill", "nobody", "reader"] {
            broker.command(&format!("password {user} right-{SECRET}"))?;
        }
        for rule in ["waybill Write audit", "waybill Write no-such-topic", "reader Read audit"] {
            broker.command(&format!("allow {rule}"))?;
        }
        let right = format!("right-{SECRET}").into_bytes();
        let wrong = format!("wrong-{SECRET}").into_bytes();
        secrets(room, &[("ca", std::fs::read(broker.authority().certificate())?), ("right", right), ("wrong", wrong)])?;
        let sink = |address: &str| json!({"type": "Kafka", "kafka": {"brokers": [address], "topic": TOPIC}});
        let at = |listener| sink(&broker.address(listener));
        let secure = |listener| tls(at(listener), "kafka", "ca");
        let login = |user: &str, password: &str| {
            let sasl = json!({"mechanism": "ScramSha256", "username": user, "password": key(password)});
            with(secure(Listener::Login), "/kafka/sasl", sasl)
        };
        let good = login("waybill", "right");
        let works: &[&str] = &["with 3 partitions"];
        probe(room, &vec![(good.clone(), works), (at(Listener::Plain), works)], true)?;
        let nobody = sink(&free_port()?.to_string());
        let mistakes: Table<'_> = vec![
            (nobody, &["nothing listens there", "correct the port in sink.kafka.brokers"]),
            (sink("no-such-host.invalid:9092"), &["the host name is not known", "sink.kafka.brokers"]),
            (secure(Listener::Plain), &["does not speak TLS on this port", "leave sink.kafka.tls out"]),
            (at(Listener::Login), &["speaks TLS on this port", "write tls: {}"]),
            (at(Listener::Mutual), &["speaks TLS on this port"]),
            (secure(Listener::Mutual), &["client certificate", "sink.kafka.tls.certificate"]),
            (with(good.clone(), "/kafka/tls", json!({})), &["signed by an unknown authority", "tls.ca"]),
            (secure(Listener::Elsewhere), &["certificate is for another host name"]),
            (secure(Listener::Expired), &["has expired"]),
            (secure(Listener::Login), &["it wants a login by one of", "SCRAM-SHA-512", "write sasl into sink.kafka"]),
            (login("waybill", "missing"), &["secret probe, key missing"]),
            (login("waybill", "wrong"), &["refuses the login of waybill by SCRAM-SHA-256", "secret probe, key wrong"]),
            (login("no-one", "right"), &["refuses the login of no-one"]),
            (login("nobody", "right"), &["user nobody may", "grant Write"]),
            (login("reader", "right"), &["user reader may", "grant Write"]),
            (
                with(good.clone(), "/kafka/topic", json!("no-such-topic")),
                &["there is no topic no-such-topic", "make the topic"],
            ),
            (tls(good, "kafka", "right"), &["secret probe, key right", "holds no certificate"]),
        ];
        probe(room, &mistakes, false)
    })
}

#[test]
fn elasticsearch_and_open_search() -> Result<()> {
    room::within("mistakes-elasticsearch", |room| {
        let authority = Authority::new(&room.path().join("ca"))?;
        let ready = || -> Result<Elasticsearch> {
            let double = Elasticsearch::start()?;
            double.cluster().make(STREAM);
            Ok(double)
        };
        let signed = |name: &str, names: &str| Elasticsearch::secure(&authority.sign(name, names)?, None);
        let (good, empty, secure) = (ready()?, Elasticsearch::start()?, signed("server", "DNS:localhost")?);
        let expired = Elasticsearch::secure(&authority.sign_expired("expired", "DNS:localhost")?, None)?;
        let elsewhere = signed("other", "DNS:elsewhere.example")?;
        let mutual =
            Elasticsearch::secure(&authority.sign("mutual", "DNS:localhost")?, Some(&authority.certificate()))?;
        let (closed, weak, blocked) = (ready()?, ready()?, ready()?);
        closed.cluster().login = Some("ApiKey right".to_owned());
        weak.cluster().privileges = ["monitor".to_owned(), "view_index_metadata".to_owned()].into();
        blocked.cluster().block = true;
        secrets(room, &[("ca", std::fs::read(authority.certificate())?), ("key", SECRET.as_bytes().to_vec())])?;
        let sink = |url: &str| elasticsearch("x", url);
        let auth = |sink: Value, auth: Value| with(sink, "/elasticsearch/auth", auth);
        let trusting = |double: &Elasticsearch| tls(sink(&double.url()), "elasticsearch", "ca");
        probe(room, &vec![(sink(&good.url()), &["takes records"])], true)?;
        let mistakes: Table<'_> = vec![
            (sink(&format!("http://{}", free_port()?)), &["nothing listens there", "look at the port"]),
            (sink("http://no-such-host.invalid:9200"), &["host name is not known", "spelling"]),
            (sink(&format!("https://localhost:{}", good.address().port())), &["does not speak TLS"]),
            (sink(&format!("http://localhost:{}", secure.address().port())), &["write https"]),
            (sink(&secure.url()), &["unknown authority", "tls.ca"]),
            (trusting(&expired), &["has expired"]),
            (trusting(&elsewhere), &["another host name"]),
            (trusting(&mutual), &["client certificate", "tls.certificate"]),
            (auth(sink(&good.url()), json!({"apiKey": key("none")})), &["secret probe, key none", "make the Secret"]),
            (
                auth(sink(&closed.url()), json!({"apiKey": key("key")})),
                &["401", "valid API key", "secret probe, key key"],
            ),
            (
                auth(sink(&closed.url()), json!({"username": "waybill", "password": key("key")})),
                &["401", "the password in secret probe, key key"],
            ),
            (sink(&closed.url()), &["401", "write auth"]),
            (sink(&empty.url()), &["there is no data stream", "waybill setup"]),
            (sink(&weak.url()), &["may not create documents", "create_doc"]),
            (sink(&blocked.url()), &["read-only", "lift the block"]),
        ];
        probe(room, &mistakes, false)
    })
}

#[test]
fn cloud_watch_logs() -> Result<()> {
    room::within("mistakes-cloudwatch", |room| {
        let (good, denied, strict) = (Double::start()?, Double::start()?, Double::start()?);
        denied.state().denied.insert("DescribeLogGroups");
        strict.state().access_key = "AKIDRIGHT".to_owned();
        let sink = |endpoint: &str| cloud_watch("x", endpoint);
        let works: &[&str] = &["is missing and will be made"];
        let nobody = format!("http://{}", free_port()?);
        probe(room, &vec![(sink(&good.endpoint()), &["no credentials", "web identity"] as &[&str])], false)?;
        log_in(room, "EXPIRED1")?;
        probe(room, &vec![(sink(&good.endpoint()), &["ExpiredToken", "renew the credentials"] as &[&str])], false)?;
        log_in(room, "AKIDGOOD")?;
        probe(room, &vec![(sink(&good.endpoint()), works)], true)?;
        let mistakes: Table<'_> = vec![
            (sink(&strict.endpoint()), &["UnrecognizedClientException", "renew the credentials"]),
            (sink(&denied.endpoint()), &["the right logs:DescribeLogGroups"]),
            (sink(&nobody), &["nothing listens there", "correct the port in cloudWatch.endpoint"]),
            (sink("http://no-such-host.invalid"), &["the host name is not known", "cloudWatch.region"]),
            (sink(&good.endpoint().replace("http:", "https:")), &["TLS"]),
        ];
        probe(room, &mistakes, false)
    })
}

#[test]
fn syslog_and_files() -> Result<()> {
    let Some(program) = site::receiver() else {
        return skip::skip("mistakes-syslog", "neither rsyslogd nor syslog-ng is installed");
    };
    room::within("mistakes-syslog", |room| {
        let mut receiver = Receiver::new(program, Transport::Tcp, &room.path().join("receiver"))?;
        receiver.start()?;
        let sink = |address: &str, transport: &str| syslog("x", address, transport);
        let file = |path: &str| json!({"type": "File", "file": {"path": path}});
        let nobody = free_port()?.to_string();
        std::fs::write(room.path().join("plain"), "")?;
        let below = room.path().join("plain/audit.log").display().to_string();
        probe(room, &vec![(sink(&receiver.address(), "Tcp"), &["accepts connections"])], true)?;
        let mistakes: Table<'_> = vec![
            (sink(&nobody, "Tcp"), &["nothing listens there", "correct the port"]),
            (sink(&nobody, "Udp"), &["nothing listens there", "correct the port"]),
            (sink("no-such-host.invalid:514", "Tcp"), &["cannot be resolved"]),
            (sink(&receiver.address(), "Tls"), &["TLS", "port"]),
            (file(&below), &["plain"]),
        ];
        probe(room, &mistakes, false)
    })
}
