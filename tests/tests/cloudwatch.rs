//! The CloudWatch sink against a strict double of the service.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cloudwatch::{self, Double, Event, Faults};
use waybill_tests::logs::{self, Arrived};
use waybill_tests::moto::Moto;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::scale;
use waybill_tests::shipment::Shipment;
use waybill_tests::skip;
use waybill_tests::wait::holds_for;

const GROUP: &str = "/waybill/tests";

fn sink(double: &Double) -> Value {
    sink_to(&double.endpoint())
}

fn sink_to(endpoint: &str) -> Value {
    json!({"name": "cloud", "type": "CloudWatch", "cloudWatch": {
        "region": "eu-central-1", "endpoint": endpoint, "logGroup": GROUP, "logStream": "{source}"}})
}

/// A shipment whose agent has a key and asks no metadata service.
fn shipment(room: &Room, sink: Value) -> Result<Shipment> {
    with_policy(room, &Shipment::policy(room, sink))
}

fn with_policy(room: &Room, policy: &Policy) -> Result<Shipment> {
    let mut shipment = Shipment::with(room, policy, "cloud")?;
    keys(&mut shipment, "AKIDGOOD");
    Ok(shipment)
}

fn keys(shipment: &mut Shipment, key: &str) {
    shipment.agent.set("AWS_EC2_METADATA_DISABLED", "true");
    shipment.agent.set("AWS_ACCESS_KEY_ID", key);
    shipment.agent.set("AWS_SECRET_ACCESS_KEY", "never-to-be-seen");
}

/// Holds events against what was written.
fn check(shipment: &Shipment, events: &[Event]) -> Result<Arrived> {
    shipment.logs.check(events.iter().map(|event| event.message.as_bytes()))
}

/// How many different records the double holds.
fn count(double: &Double) -> Result<usize> {
    let events = double.events(GROUP);
    logs::count(&logs::output(events.iter().map(|event| event.message.as_bytes())))
}

/// No limit was broken, no secret told, no byte unaccounted for; so many records are set aside.
fn content_with(shipment: &mut Shipment, double: &Double, refused: u64) -> Result<()> {
    shipment.stop_with(refused)?;
    let breaches = double.state().breaches.clone();
    ensure!(breaches.is_empty(), "{} requests broke a limit: {:?}", breaches.len(), breaches.first());
    ensure!(!shipment.agent.log()?.contains("never-to-be-seen"), "a secret stands in the log");
    Ok(())
}

fn content(shipment: &mut Shipment, double: &Double) -> Result<()> {
    content_with(shipment, double, 0)
}

#[test]
fn a_long_stream_arrives_in_order_byte_for_byte() -> Result<()> {
    room::within("cloudwatch", |room| {
        let double = Double::start()?;
        let mut shipment = shipment(room, with(sink(&double), "/cloudWatch/retentionDays", json!(400)))?;
        let records = scale::records();
        shipment.write(records)?;
        let began = Instant::now();
        shipment.agent.start()?;
        shipment.settle_within(scale::patience())?;
        let (took, agent, requests) = (began.elapsed(), &shipment.agent, double.state().puts);
        println!("{records} records in {took:?} and {requests} requests, {:?} of processor time", agent.processor()?);
        let read = cloudwatch::read(double.address(), GROUP, "app")?;
        let arrived = check(&shipment, &read)?;
        ensure!(arrived == Arrived { lines: records, repeats: 0 }, "{arrived:?}");
        ensure!(double.state().groups[GROUP].retention == Some(400), "the retention is not set");
        content(&mut shipment, &double)
    })
}

/// A stand-in that was made by others, and is less strict.
#[test]
fn moto_takes_a_long_stream_and_gives_it_back() -> Result<()> {
    if let Some(why) = Moto::missing() {
        return skip::skip("cloudwatch-moto", &why);
    }
    room::within("cloudwatch-moto", |room| {
        let mut moto = Moto::start(&room.path().join("moto.log"))?;
        let mut shipment = shipment(room, sink_to(&format!("http://{}", moto.address())))?;
        let records = scale::records();
        shipment.write(records / 2)?;
        shipment.agent.start()?;
        shipment.write(records - records / 2)?;
        shipment.settle_within(scale::patience())?;
        moto.check_alive()?;
        let arrived = check(&shipment, &cloudwatch::read(moto.address(), GROUP, "app")?)?;
        ensure!(arrived == Arrived { lines: records, repeats: 0 }, "{arrived:?}");
        shipment.stop()
    })
}

#[test]
fn the_line_as_it_was_arrives_as_it_was() -> Result<()> {
    room::within("cloudwatch-original", |room| {
        let double = Double::start()?;
        let mut shipment = shipment(room, with(sink(&double), "/encoding", json!("Original")))?;
        let lines = ["plain", " \t blanks ", "\u{e9}\u{65e5} \u{1f600}", "{\"json\": \"\\u0000\"}", "\u{1b}[2J"];
        shipment.lines(&lines)?;
        shipment.agent.start()?;
        shipment.settle()?;
        let read: Vec<String> =
            cloudwatch::read(double.address(), GROUP, "app")?.into_iter().map(|e| e.message).collect();
        ensure!(read == lines, "{read:?}");
        content(&mut shipment, &double)
    })
}

/// Lines whose dates a client forged: 1970, 2099, and all over the range between.
fn forged(count: u64) -> Vec<String> {
    let mut rng = Rng::from_env("forged dates");
    (0..count)
        .map(|n| {
            let date = match n % 5 {
                0 => "1970/01/01 00:00:00".to_owned(),
                1 => "2099/12/31 23:59:59".to_owned(),
                _ => {
                    let back = jiff::SignedDuration::from_secs(rng.within(0..40 * 86_400) as i64);
                    (jiff::Timestamp::now() - back).strftime("%Y/%m/%d %H:%M:%S").to_string()
                }
            };
            format!("{date} 192.0.2.1:5 accepted tcp:example.org:443 [direct] email: user{n}")
        })
        .collect()
}

fn v2ray(room: &Room, sink: Value) -> Policy {
    let source = policy::source("gate", &Shipment::pattern(room), "V2RayAccess");
    Policy::new("cloud").source(with(source, "/timeZone", json!("UTC"))).sink(sink)
}

#[test]
fn forged_dates_break_nothing_and_stay_in_the_body() -> Result<()> {
    room::within("cloudwatch-dates", |room| {
        let double = Double::start()?;
        let sink = with(sink(&double), "/cloudWatch/retentionDays", json!(3));
        let mut shipment = with_policy(room, &v2ray(room, sink))?;
        shipment.lines(&forged(2000))?;
        shipment.agent.start()?;
        shipment.settle()?;
        let arrived = check(&shipment, &double.events(GROUP))?;
        ensure!(arrived.repeats == 0, "{} records came again", arrived.repeats);
        let events = double.state().groups[GROUP].streams["gate"].clone();
        ensure!(events.windows(2).all(|pair| pair[0].time <= pair[1].time), "times go back in the stream");
        let bodies: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(&event.message)).collect::<Result<_, _>>()?;
        let year = |body: &Value, year: &str| body["@timestamp"].as_str().is_some_and(|time| time.starts_with(year));
        ensure!(bodies.iter().filter(|body| year(body, "1970-01-01")).count() == 400, "the forged past is gone");
        ensure!(bodies.iter().filter(|body| year(body, "2099-12-31")).count() == 400, "the forged future is gone");
        content(&mut shipment, &double)
    })
}

#[test]
fn what_is_out_of_range_is_set_aside_where_the_policy_says_so() -> Result<()> {
    room::within("cloudwatch-set-aside", |room| {
        let double = Double::start()?;
        let sink = with(sink(&double), "/cloudWatch/outOfRange", json!("DeadLetter"));
        let mut shipment = with_policy(room, &v2ray(room, sink))?;
        let now = jiff::Timestamp::now().strftime("%Y/%m/%d %H:%M:%S").to_string();
        let lines: Vec<String> = (0..60)
            .map(|n| {
                let date = if n % 3 == 0 { "1970/01/01 00:00:00" } else { &now };
                format!("{date} 192.0.2.1:5 accepted tcp:example.org:443 [direct] email: user{n}")
            })
            .collect();
        shipment.lines(&lines)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(count(&double)? == 40, "{} records came", count(&double)?);
        ensure!(shipment.refused()? == 20, "{} records are set aside", shipment.refused()?);
        content_with(&mut shipment, &double, 20)
    })
}

#[test]
fn what_the_service_rejects_is_set_aside_and_the_rest_goes_on() -> Result<()> {
    room::within("cloudwatch-rejected", |room| {
        let double = Double::start()?;
        // The service's clock is 13 days ahead: what is two days old here is too old there.
        double.state().ahead = 13 * 86_400_000;
        let mut shipment = with_policy(room, &v2ray(room, sink(&double)))?;
        let date = |days: i64| {
            let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
            time.strftime("%Y/%m/%d %H:%M:%S").to_string()
        };
        let lines: Vec<String> = (0..90)
            .map(|n| {
                let date = if n < 30 { date(3) } else { date(0) };
                format!("{date} 192.0.2.1:5 accepted tcp:example.org:443 [direct] email: user{n}")
            })
            .collect();
        shipment.lines(&lines)?;
        shipment.agent.start()?;
        shipment.settle()?;
        ensure!(shipment.refused()? == 30, "{} records are set aside", shipment.refused()?);
        ensure!(count(&double)? == 60, "{} records came", count(&double)?);
        // A limit that the service's clock alone breaks is no fault of the request.
        double.state().breaches.clear();
        content_with(&mut shipment, &double, 30)
    })
}

#[test]
fn a_retention_that_someone_shortens_costs_one_request() -> Result<()> {
    room::within("cloudwatch-shortened", |room| {
        let double = Double::start()?;
        let mut shipment = with_policy(room, &v2ray(room, sink(&double)))?;
        let date = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72)).strftime("%Y/%m/%d %H:%M:%S");
        let lines = |from: u32| -> Vec<String> {
            (from..from + 30)
                .map(|n| format!("{date} 192.0.2.1:5 accepted tcp:example.org:443 [direct] email: user{n}"))
                .collect()
        };
        shipment.lines(&lines(0))?;
        shipment.agent.start()?;
        shipment.settle()?;
        double.state().groups.get_mut(GROUP).context("no group")?.retention = Some(1);
        shipment.lines(&lines(100))?;
        shipment.settle()?;
        ensure!(shipment.refused()? == 30, "{} records are set aside", shipment.refused()?);
        // Now that it is known, times are moved into it.
        shipment.lines(&lines(200))?;
        shipment.settle()?;
        ensure!(count(&double)? == 60, "{} records came", count(&double)?);
        double.state().breaches.clear();
        content_with(&mut shipment, &double, 30)
    })
}

#[test]
fn what_is_larger_than_an_event_is_set_aside() -> Result<()> {
    room::within("cloudwatch-large", |room| {
        let double = Double::start()?;
        let sink = with(sink(&double), "/encoding", json!("Original"));
        let mut shipment = with_policy(room, &Shipment::policy(room, sink).with("limits", json!({"line": "4Mi"})))?;
        let most = 1_048_576 - 26;
        let lines = ["a".to_owned(), "b".repeat(most), "c".repeat(most + 1), "d".repeat(2_000_000), "e".to_owned()];
        shipment.lines(&lines)?;
        shipment.agent.start()?;
        shipment.settle()?;
        let lengths: Vec<usize> =
            double.state().groups[GROUP].streams["app"].iter().map(|event| event.message.len()).collect();
        ensure!(lengths == [1, most, 1], "lengths {lengths:?}");
        ensure!(shipment.refused()? == 2, "{} records are set aside", shipment.refused()?);
        content_with(&mut shipment, &double, 2)
    })
}

#[test]
fn faults_restarts_and_kills_lose_nothing() -> Result<()> {
    room::within("cloudwatch-faults", |room| {
        let mut double = Double::start()?;
        double.state().faults = Faults { throttle: 10, fail: 10, cut_request: 5, cut_answer: 5, ..Faults::default() };
        let mut shipment = shipment(room, sink(&double))?;
        let mut rng = Rng::from_env("cloudwatch faults");
        for round in 0..10 {
            shipment.agent.start()?;
            shipment.write(5_000)?;
            // A random time is the point: the blow must not depend on what the agent does.
            std::thread::sleep(Duration::from_millis(rng.within(100..700)));
            if round % 3 == 1 {
                double.kill()?;
                std::thread::sleep(Duration::from_millis(rng.within(0..500)));
                double.restart()?;
            }
            shipment.agent.kill()?;
        }
        shipment.agent.start()?;
        shipment.settle()?;
        double.state().faults = Faults::default();
        let arrived = check(&shipment, &double.events(GROUP))?;
        println!("{arrived:?} in {} requests", double.state().puts);
        ensure!(shipment.refused()? == 0, "records are set aside");
        content(&mut shipment, &double)
    })
}

/// The lane says what is wrong, delivers nothing, and sets nothing aside.
fn await_held(shipment: &mut Shipment, double: &Double, words: &[&str]) -> Result<()> {
    shipment.await_trouble(true, words)?;
    let before = double.events(GROUP).len();
    holds_for("nothing is delivered", Duration::from_millis(500), || Ok(double.events(GROUP).len() == before))?;
    ensure!(shipment.refused()? == 0, "records are set aside");
    Ok(())
}

#[test]
fn credentials_and_rights_that_are_mended_need_no_restart() -> Result<()> {
    room::within("cloudwatch-rights", |room| {
        let double = Double::start()?;
        let mut shipment = Shipment::new(room, sink(&double))?;
        shipment.agent.set("AWS_EC2_METADATA_DISABLED", "true");
        let file = room.path().join("credentials");
        let login = |key: &str| -> Result<()> {
            policy::replace(
                &file,
                &format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = never-to-be-seen\n"),
            )
        };
        shipment.agent.set("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string());
        shipment.agent.set("AWS_CONFIG_FILE", "/dev/null");
        double.state().access_key = "AKIDGOOD".to_owned();
        shipment.write(1000)?;
        shipment.agent.start()?;
        await_held(&mut shipment, &double, &["no credentials", "web identity"])?;
        login("EXPIRED1")?;
        await_held(&mut shipment, &double, &["ExpiredTokenException", "renew the credentials"])?;
        login("AKIDWRONG")?;
        await_held(&mut shipment, &double, &["UnrecognizedClientException", "renew the credentials"])?;
        login("AKIDGOOD")?;
        shipment.settle()?;
        for right in ["PutLogEvents", "CreateLogStream"] {
            if right == "CreateLogStream" {
                double.state().groups.clear();
            }
            double.state().denied.insert(right);
            shipment.write(1000)?;
            await_held(&mut shipment, &double, &["AccessDenied", &format!("the right logs:{right}")])?;
            double.state().denied.clear();
            shipment.settle()?;
        }
        ensure!(shipment.refused()? == 0, "records are set aside");
        // The right to look is not needed.
        double.state().denied.insert("DescribeLogGroups");
        shipment.agent.stop()?;
        shipment.agent.start()?;
        shipment.write(1000)?;
        shipment.settle()?;
        ensure!(count(&double)? == 2000, "{} records", count(&double)?);
        content(&mut shipment, &double)
    })
}
