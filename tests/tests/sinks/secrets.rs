//! Secrets that are planted in every sink's login are looked for in everything that the agent tells.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use waybill_tests::certificates::Authority;
use waybill_tests::cloudwatch::Double;
use waybill_tests::elasticsearch::Elasticsearch;
use waybill_tests::face::page;
use waybill_tests::http;
use waybill_tests::kafka::{Broker, Listener};
use waybill_tests::opensearch::free_port;
use waybill_tests::policy::with;
use waybill_tests::room::{self, Room};
use waybill_tests::shipment::{LATE, SOON, Shipment};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

use super::site::{self, STREAM, TOPIC, USER};
use super::together::policy;

/// In every secret, in the bytes that stand there.
const MARK: &str = "planted";
/// Forms in which a secret could be told: as it is, encoded as a login is, and as a list of bytes.
const FORMS: [&str; 5] = [MARK, "cGxhbnRlZ", "BsYW50ZW", "wbGFudGVk", "112, 108, 97, 110, 116, 101, 100"];

/// A log at the level that tells most, every page, every command, and the state's files.
fn said(shipment: &Shipment, room: &Room) -> Result<Vec<(String, Vec<u8>)>> {
    let address = shipment.agent.asker().address();
    let mut found = vec![("the log".to_owned(), shipment.agent.log()?.into_bytes())];
    for path in [page::STATUS, page::METRICS, "/report"] {
        found.push((path.to_owned(), http::get(address, path)?.1.into_bytes()));
    }
    let (at, state) = (address.to_string(), room.state().display().to_string());
    for words in [vec!["status", "--listen", &at], vec!["inspect", "--state-dir", &state]] {
        found.push((words.join(" "), shipment.waybill(&words)?.1.into_bytes()));
    }
    found.push(("check --probe".to_owned(), shipment.agent.probe()?.0.into_bytes()));
    for (place, bytes) in &found {
        ensure!(!bytes.is_empty(), "{place} says nothing");
    }
    files(&room.state(), &mut found)?;
    Ok(found)
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push((path.display().to_string(), fs::read(&path)?));
        }
    }
    Ok(())
}

fn check(shipment: &Shipment, room: &Room) -> Result<()> {
    for (place, bytes) in said(shipment, room)? {
        let text = String::from_utf8_lossy(&bytes);
        for form in FORMS {
            if let Some(at) = text.find(form) {
                let from = text.floor_char_boundary(at.saturating_sub(300));
                bail!("{place} tells a secret: …{}", &text[from..at + form.len()]);
            }
        }
    }
    Ok(())
}

#[test]
fn no_secret_is_told_whether_it_is_wrong_damaged_or_right() -> Result<()> {
    if let Some(why) = Broker::missing() {
        return skip::skip("sinks-secrets", &why);
    }
    room::within("sinks-secrets", |room| {
        let folder = room.path().join("broker");
        fs::create_dir(&folder)?;
        let mut broker = Broker::start(&folder)?;
        broker.command(&format!("topic {TOPIC} 1"))?;
        broker.command(&format!("password {} {MARK}-right", USER.0))?;
        broker.command(&format!("allow {} Write {TOPIC}", USER.0))?;
        let (keyed, basic, cloud) = (Elasticsearch::start()?, Elasticsearch::start()?, Double::start()?);
        keyed.cluster().make(STREAM);
        basic.cluster().make(STREAM);
        keyed.cluster().login = Some(format!("ApiKey {MARK}-right"));
        // waybill:planted-right
        basic.cluster().login = Some("Basic d2F5YmlsbDpwbGFudGVkLXJpZ2h0".to_owned());
        cloud.state().access_key = "AKIDGOOD".to_owned();
        let authority = Authority::new(&room.path().join("ca"))?;
        let own = authority.sign("own", "DNS:own")?;
        let secret = |key: &str| json!({"secret": "login", "key": key});
        let stream = json!({"name": "stream", "type": "Kafka",
            "kafka": {"brokers": [broker.address(Listener::Login)], "topic": TOPIC}});
        let stream = with(stream, "/kafka/tls", json!({"ca": secret("ca")}));
        let login = json!({"mechanism": "ScramSha512", "username": USER.0, "password": secret("word")});
        let auth = |sink: Value, auth: Value| with(sink, "/elasticsearch/auth", auth);
        let siem = site::syslog("siem", &free_port()?.to_string(), "Tls");
        let sinks = [
            with(stream, "/kafka/sasl", login),
            auth(site::elasticsearch("keyed", &keyed.url()), json!({"apiKey": secret("word")})),
            auth(
                site::elasticsearch("basic", &basic.url()),
                json!({"username": "waybill", "password": secret("word")}),
            ),
            site::cloud_watch("cloud", &cloud.endpoint()),
            with(siem, "/syslog/tls", json!({"certificate": secret("own"), "privateKey": secret("key")})),
        ];
        let mut shipment = Shipment::with(room, &policy(room, &sinks), "stream")?;
        shipment.secret("login", "ca", fs::read(broker.authority().certificate())?)?;
        shipment.secret("login", "own", fs::read(&own.certificate)?)?;
        shipment.secret("login", "word", format!("{MARK}-wrong\n"))?;
        // A key that lost its line breaks.
        shipment.secret("login", "key", format!("-----BEGIN PRIVATE KEY----- {MARK} -----END PRIVATE KEY-----"))?;
        shipment.agent.set("WAYBILL_LOG", "trace");
        shipment.agent.set("AWS_EC2_METADATA_DISABLED", "true");
        shipment.agent.set("AWS_CONFIG_FILE", "/dev/null");
        let credentials = room.path().join("credentials");
        let cloud_login = |key: &str| {
            let text = format!(
                "[default]\naws_access_key_id = {key}\naws_secret_access_key = {MARK}-key\naws_session_token = {MARK}-token\n"
            );
            fs::write(&credentials, text).context("failed to write the credentials")
        };
        cloud_login("MISSIGNED")?;
        shipment.agent.set("AWS_SHARED_CREDENTIALS_FILE", &credentials.display().to_string());
        shipment.write(100)?;
        shipment.agent.start()?;
        let held = |shipment: &Shipment| -> Result<usize> {
            let status = shipment.agent.asker().status()?;
            let lanes = status["lanes"].as_array().context("no lanes")?;
            Ok(lanes.iter().filter(|lane| lane["state"] == "Misconfigured").count())
        };
        await_true("every lane is held", SOON, || Ok(held(&shipment)? == sinks.len()))?;
        check(&shipment, room)?;
        shipment.secret("login", "word", format!("{MARK}-right\n"))?;
        cloud_login("AKIDGOOD")?;
        shipment.settle_lanes(&["stream", "keyed", "basic", "cloud"], LATE)?;
        await_true("only one lane is held", SOON, || Ok(held(&shipment)? == 1))?;
        check(&shipment, room)
    })
}
