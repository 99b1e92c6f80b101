//! The CloudWatch sink against a strict double of the service.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::arrived;
use waybill_tests::cloudwatch::{self, Double, Faults};
use waybill_tests::face;
use waybill_tests::output::Output;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::{await_true, holds_for};

const LONG: Duration = Duration::from_mins(3);
const MANY: usize = 50_000;
const GROUP: &str = "/waybill/tests";

fn sink(double: &Double) -> Value {
    json!({"name": "cloud", "type": "CloudWatch", "cloudWatch": {
        "region": "eu-central-1", "endpoint": double.endpoint(), "logGroup": GROUP, "logStream": "{source}"}})
}

fn policy(room: &Room, sink: Value) -> Policy {
    Policy::new("cloud").source(policy::text("app", &format!("{}/app/app*", room.logs().display()))).sink(sink)
}

/// A scene whose agent has a key and asks no metadata service.
fn scene<'a>(room: &'a Room, sink: Value) -> Result<Scene<'a>> {
    let mut scene = Scene::with(room, &policy(room, sink))?;
    keys(&mut scene, "AKIDGOOD");
    Ok(scene)
}

fn keys(scene: &mut Scene<'_>, key: &str) {
    scene.agent.set("AWS_EC2_METADATA_DISABLED", "true");
    scene.agent.set("AWS_ACCESS_KEY_ID", key);
    scene.agent.set("AWS_SECRET_ACCESS_KEY", "never-to-be-seen");
}

/// The records and ledger entries that the double holds.
fn output(double: &Double) -> Output {
    let events = double.events(GROUP);
    arrived::output(events.iter().map(|event| event.message.as_bytes()))
}

fn await_delivered(scene: &mut Scene<'_>) -> Result<()> {
    await_true("no lane owes anything", LONG, || {
        scene.agent.check_alive()?;
        Ok(scene.agent.asker().lanes()?.iter().all(|lane| lane.term("pending").bytes == 0))
    })
}

/// No limit was broken, no secret told, no byte unaccounted for.
fn content(scene: &mut Scene<'_>, double: &Double) -> Result<()> {
    scene.stop()?;
    for lane in face::lanes(&scene.agent.inspect()?)? {
        lane.balance()?;
    }
    let breaches = double.state().breaches.clone();
    ensure!(breaches.is_empty(), "{} requests broke a limit: {:?}", breaches.len(), breaches.first());
    ensure!(!scene.agent.log()?.contains("never-to-be-seen"), "a secret stands in the log");
    Ok(())
}

#[test]
fn all_arrives_in_order_byte_for_byte() -> Result<()> {
    room::within("cloudwatch", |room| {
        let double = Double::start()?;
        let mut scene = scene(room, with(sink(&double), "/cloudWatch/retentionDays", json!(400)))?;
        let mut live = scene.create("app.log")?;
        scene.write(&mut live, MANY)?;
        scene.start()?;
        await_delivered(&mut scene)?;
        let totals = arrived::whole(&output(&double), &live.path)?;
        ensure!(totals.repeats == 0, "{} records came again", totals.repeats);
        ensure!(double.state().groups[GROUP].retention == Some(400), "the retention is not set");
        let address = double.endpoint().trim_start_matches("http://").parse()?;
        let read = cloudwatch::read(address, GROUP, "app")?;
        ensure!(read.len() == MANY, "{} events are read back", read.len());
        println!("{} requests", double.state().puts);
        content(&mut scene, &double)
    })
}

#[test]
fn the_line_as_it_was_arrives_as_it_was() -> Result<()> {
    room::within("cloudwatch-original", |room| {
        let double = Double::start()?;
        let mut scene = scene(room, with(sink(&double), "/encoding", json!("Original")))?;
        let mut live = scene.create("app.log")?;
        let lines = ["plain", " \t blanks ", "\u{e9}\u{65e5} \u{1f600}", "{\"json\": \"\\u0000\"}", "\u{1b}[2J"];
        live.lines(&scene.scribe.book, &lines)?;
        scene.start()?;
        await_delivered(&mut scene)?;
        let address = double.endpoint().trim_start_matches("http://").parse()?;
        let read: Vec<String> = cloudwatch::read(address, GROUP, "app")?.into_iter().map(|e| e.message).collect();
        ensure!(read == lines, "{read:?}");
        content(&mut scene, &double)
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
    let source = policy::source("gate", &format!("{}/app/app*", room.logs().display()), "V2RayAccess");
    Policy::new("cloud").source(with(source, "/timeZone", json!("UTC"))).sink(sink)
}

#[test]
fn forged_dates_break_nothing_and_stay_in_the_body() -> Result<()> {
    room::within("cloudwatch-dates", |room| {
        let double = Double::start()?;
        let sink = with(sink(&double), "/cloudWatch/retentionDays", json!(3));
        let mut scene = Scene::with(room, &v2ray(room, sink))?;
        keys(&mut scene, "AKIDGOOD");
        let mut live = scene.create("app.log")?;
        live.lines(&scene.scribe.book, &forged(2000))?;
        scene.start()?;
        await_delivered(&mut scene)?;
        let totals = arrived::whole(&output(&double), &live.path)?;
        ensure!(totals.repeats == 0, "{} records came again", totals.repeats);
        let events = double.state().groups[GROUP].streams["gate"].clone();
        ensure!(events.windows(2).all(|pair| pair[0].time <= pair[1].time), "times go back in the stream");
        let bodies: Vec<Value> =
            events.iter().map(|event| serde_json::from_str(&event.message)).collect::<Result<_, _>>()?;
        let year = |body: &Value, year: &str| body["@timestamp"].as_str().is_some_and(|time| time.starts_with(year));
        ensure!(bodies.iter().filter(|body| year(body, "1970-01-01")).count() == 400, "the forged past is gone");
        ensure!(bodies.iter().filter(|body| year(body, "2099-12-31")).count() == 400, "the forged future is gone");
        content(&mut scene, &double)
    })
}

fn refused(scene: &Scene<'_>) -> Result<u64> {
    Ok(scene.agent.asker().lanes()?.iter().map(|lane| lane.term("refused").records).sum())
}

#[test]
fn what_is_out_of_range_is_set_aside_where_the_policy_says_so() -> Result<()> {
    room::within("cloudwatch-set-aside", |room| {
        let double = Double::start()?;
        let sink = with(sink(&double), "/cloudWatch/outOfRange", json!("DeadLetter"));
        let mut scene = Scene::with(room, &v2ray(room, sink))?;
        keys(&mut scene, "AKIDGOOD");
        let mut live = scene.create("app.log")?;
        let now = jiff::Timestamp::now().strftime("%Y/%m/%d %H:%M:%S").to_string();
        let lines: Vec<String> = (0..60)
            .map(|n| {
                let date = if n % 3 == 0 { "1970/01/01 00:00:00" } else { &now };
                format!("{date} 192.0.2.1:5 accepted tcp:example.org:443 [direct] email: user{n}")
            })
            .collect();
        live.lines(&scene.scribe.book, &lines)?;
        scene.start()?;
        await_delivered(&mut scene)?;
        ensure!(output(&double).records.len() == 40, "{} records came", output(&double).records.len());
        ensure!(refused(&scene)? == 20, "{} records are set aside", refused(&scene)?);
        content(&mut scene, &double)
    })
}

#[test]
fn what_the_service_rejects_is_set_aside_and_the_rest_goes_on() -> Result<()> {
    room::within("cloudwatch-rejected", |room| {
        let double = Double::start()?;
        // The service's clock is 13 days ahead: what is two days old here is too old there.
        double.state().ahead = 13 * 86_400_000;
        let mut scene = Scene::with(room, &v2ray(room, sink(&double)))?;
        keys(&mut scene, "AKIDGOOD");
        let mut live = scene.create("app.log")?;
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
        live.lines(&scene.scribe.book, &lines)?;
        scene.start()?;
        await_delivered(&mut scene)?;
        ensure!(refused(&scene)? == 30, "{} records are set aside", refused(&scene)?);
        ensure!(output(&double).records.len() == 60, "{} records came", output(&double).records.len());
        // A limit that the service's clock alone breaks is no fault of the request.
        double.state().breaches.clear();
        content(&mut scene, &double)
    })
}

#[test]
fn what_is_larger_than_an_event_is_set_aside() -> Result<()> {
    room::within("cloudwatch-large", |room| {
        let double = Double::start()?;
        let mut scene = Scene::with(
            room,
            &policy(room, with(sink(&double), "/encoding", json!("Original"))).with("limits", json!({"line": "4Mi"})),
        )?;
        keys(&mut scene, "AKIDGOOD");
        let mut live = scene.create("app.log")?;
        let most = 1_048_576 - 26;
        let lines = ["a".to_owned(), "b".repeat(most), "c".repeat(most + 1), "d".repeat(2_000_000), "e".to_owned()];
        live.lines(&scene.scribe.book, &lines)?;
        scene.start()?;
        await_delivered(&mut scene)?;
        let lengths: Vec<usize> =
            double.state().groups[GROUP].streams["app"].iter().map(|event| event.message.len()).collect();
        ensure!(lengths == [1, most, 1], "lengths {lengths:?}");
        ensure!(refused(&scene)? == 2, "{} records are set aside", refused(&scene)?);
        content(&mut scene, &double)
    })
}

#[test]
fn faults_restarts_and_kills_lose_nothing() -> Result<()> {
    room::within("cloudwatch-faults", |room| {
        let mut double = Double::start()?;
        double.state().faults = Faults { throttle: 10, fail: 10, cut_request: 5, cut_answer: 5 };
        let mut scene = scene(room, sink(&double))?;
        let mut live = scene.create("app.log")?;
        let mut rng = Rng::from_env("cloudwatch faults");
        for round in 0..10 {
            scene.start()?;
            scene.write(&mut live, MANY / 10)?;
            // A random time is the point: the blow must not depend on what the agent does.
            std::thread::sleep(Duration::from_millis(rng.within(100..700)));
            if round % 3 == 1 {
                double.kill()?;
                std::thread::sleep(Duration::from_millis(rng.within(0..500)));
                double.restart()?;
            }
            scene.kill()?;
        }
        scene.start()?;
        await_delivered(&mut scene)?;
        double.state().faults = Faults::default();
        let totals = arrived::whole(&output(&double), &live.path)?;
        println!("{totals:?} in {} requests", double.state().puts);
        ensure!(refused(&scene)? == 0, "records are set aside");
        content(&mut scene, &double)
    })
}

/// The lane says what is wrong, delivers nothing, and sets nothing aside.
fn await_held(scene: &Scene<'_>, double: &Double, sign: &[&str]) -> Result<()> {
    let lane = || -> Result<Value> { Ok(scene.agent.asker().status()?["lanes"][0].clone()) };
    await_true("the trouble is told", SOON, || {
        let lane = lane()?;
        let trouble = lane["trouble"].as_str().unwrap_or_default();
        Ok(lane["state"] == "Misconfigured" && sign.iter().all(|part| trouble.contains(part)))
    })
    .with_context(|| format!("wanted {sign:?} in {:?}", lane()))?;
    let before = double.events(GROUP).len();
    holds_for("nothing is delivered", Duration::from_millis(500), || Ok(double.events(GROUP).len() == before))?;
    ensure!(refused(scene)? == 0, "records are set aside");
    Ok(())
}

#[test]
fn credentials_and_rights_that_are_mended_need_no_restart() -> Result<()> {
    room::within("cloudwatch-rights", |room| {
        let double = Double::start()?;
        let mut scene = Scene::with(room, &policy(room, sink(&double)))?;
        scene.agent.set("AWS_EC2_METADATA_DISABLED", "true");
        let file = room.path().join("credentials");
        let login = |key: &str| -> Result<()> {
            policy::replace(
                &file,
                &format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = never-to-be-seen\n"),
            )
        };
        scene.agent.set("AWS_SHARED_CREDENTIALS_FILE", &file.display().to_string());
        scene.agent.set("AWS_CONFIG_FILE", "/dev/null");
        double.state().access_key = "AKIDGOOD".to_owned();
        let mut live = scene.create("app.log")?;
        scene.write(&mut live, 1000)?;
        scene.start()?;
        await_held(&scene, &double, &["no credentials", "web identity"])?;
        login("EXPIRED1")?;
        await_held(&scene, &double, &["ExpiredTokenException", "renew the credentials"])?;
        login("AKIDWRONG")?;
        await_held(&scene, &double, &["UnrecognizedClientException", "renew the credentials"])?;
        login("AKIDGOOD")?;
        await_delivered(&mut scene)?;
        for right in ["PutLogEvents", "CreateLogStream"] {
            if right == "CreateLogStream" {
                double.state().groups.clear();
            }
            double.state().denied.insert(right);
            scene.write(&mut live, 1000)?;
            await_held(&scene, &double, &["AccessDenied", &format!("the right logs:{right}")])?;
            double.state().denied.clear();
            await_delivered(&mut scene)?;
        }
        ensure!(refused(&scene)? == 0, "records are set aside");
        // The right to look is not needed.
        double.state().denied.insert("DescribeLogGroups");
        scene.stop()?;
        scene.start()?;
        scene.write(&mut live, 1000)?;
        await_delivered(&mut scene)?;
        ensure!(arrived::count(&output(&double))? == 2000, "{} records", arrived::count(&output(&double))?);
        content(&mut scene, &double)
    })
}

#[test]
fn a_probe_says_in_one_sentence_what_is_wrong() -> Result<()> {
    room::within("cloudwatch-probe", |room| {
        fs::create_dir_all(room.logs().join("app"))?;
        let mut double = Double::start()?;
        let probe = |double: &Double, key: &str, wanted: &str| -> Result<()> {
            let mut scene = Scene::with(room, &policy(room, sink(double)))?;
            scene.agent.set("AWS_EC2_METADATA_DISABLED", "true");
            scene.agent.set("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
            if !key.is_empty() {
                keys(&mut scene, key);
            }
            let (said, _) = scene.agent.probe()?;
            let line =
                said.lines().find(|line| line.starts_with("sink cloud: ")).context("the sink is not mentioned")?;
            println!("{line}");
            ensure!(line.contains(wanted), "{wanted:?} is missing in {line:?}");
            Ok(())
        };
        probe(&double, "AKIDGOOD", "is missing and will be made")?;
        probe(&double, "", "no credentials")?;
        probe(&double, "EXPIRED1", "renew the credentials")?;
        double.state().denied.insert("DescribeLogGroups");
        probe(&double, "AKIDGOOD", "the right logs:DescribeLogGroups")?;
        double.kill()?;
        probe(&double, "AKIDGOOD", "cannot be reached")?;
        Ok(())
    })
}
