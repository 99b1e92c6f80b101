//! Ten thousand quiet files cost next to nothing, and a burst costs no more memory than is allowed.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use waybill_tests::policy::Policy;
use waybill_tests::room;
use waybill_tests::scene::Scene;
use waybill_tests::wait::await_true;

const MIB: u64 = 1 << 20;
/// What the agent may take beside what is in flight.
const CONSTANT: u64 = 32 * MIB;

#[test]
#[ignore = "its bar is for a release build on a quiet machine: run it by hand with --ignored"]
fn ten_thousand_quiet_files() -> Result<()> {
    room::within("quiet", |room| {
        let policy = Policy::plain("quiet", &format!("{}/*/app*", room.logs().display()), &room.archive());
        let mut scene = Scene::with(room, &policy)?;
        for folder in 0..100 {
            let folder = room.logs().join(format!("f{folder}"));
            fs::create_dir(&folder)?;
            for file in 0..100 {
                fs::write(folder.join(format!("app{file}.log")), format!("{} {file}\n", folder.display()))?;
            }
        }
        scene.start()?;
        await_true("each file's line comes", Duration::from_mins(1), || Ok(scene.output()?.records.len() == 10_000))?;
        scene.await_idle()?;
        let (began, before) = (Instant::now(), scene.agent.processor()?);
        // The quiet time that is measured.
        thread::sleep(Duration::from_secs(10));
        let used = scene.agent.processor()?.saturating_sub(before);
        let share = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
        let resident = scene.agent.resident()? / MIB;
        println!("10,000 quiet files: {share:.2} % of a core, {resident} MiB resident");
        // The bar is 1 % for a release build; this one is not optimised.
        ensure!(share < 3.0, "{share:.2} % of a core");
        ensure!(resident < 64, "{resident} MiB resident");
        let mut live = scene.create("app.log")?;
        let noticed = Instant::now();
        scene.write(&mut live, 1)?;
        scene.came(&live)?;
        println!("a new file among them was read after {:?}", noticed.elapsed());
        ensure!(noticed.elapsed() < Duration::from_secs(2), "a new file was noticed after {:?}", noticed.elapsed());
        scene.stop()
    })
}

#[test]
fn memory_stays_under_what_is_in_flight_and_a_constant() -> Result<()> {
    room::within("memory", |room| {
        let policy = Policy::plain("memory", &format!("{}/app/app*", room.logs().display()), &room.archive())
            .with("limits", json!({"inFlight": "8Mi"}));
        let mut scene = Scene::with(room, &policy)?;
        let mut lives = Vec::new();
        for at in 0..8 {
            let mut live = scene.create(&format!("app{at}.log"))?;
            for _ in 0..10 {
                scene.write(&mut live, 3000)?;
            }
            let long = scene.scribe.rng.text(900_000);
            live.lines(&scene.scribe.book, &[long])?;
            lives.push(live);
        }
        scene.start()?;
        let mut highest = 0;
        await_true("all comes", Duration::from_mins(1), || {
            highest = highest.max(scene.agent.resident()?);
            Ok(lives.iter().all(|live| scene.stage.watch.has(&scene.scribe.book.open(), &[live.incarnation])))
        })?;
        println!("resident under load: {} MiB with 8 MiB in flight", highest / MIB);
        ensure!(highest < 8 * MIB + CONSTANT, "{} MiB resident", highest / MIB);
        scene.judge()?;
        Ok(())
    })
}
