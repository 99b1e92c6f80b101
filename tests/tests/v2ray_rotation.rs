//! Genuine V2Ray under load, while its log is rotated: every connection is in the output once.
//!
//! A short run by default; `WAYBILL_V2RAY_SECONDS` makes it longer.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::face;
use waybill_tests::output::open;
use waybill_tests::policy::{self, Policy, with};
use waybill_tests::room::{self, Room};
use waybill_tests::skip;
use waybill_tests::v2ray::{self, V2Ray};
use waybill_tests::wait::await_true;

/// Connections at a time.
const CLIENTS: u64 = 2;
/// See the documentation: the bound, and what a live file keeps beyond it.
const LIVE: u64 = (64 << 10) + (192 << 10);

/// The log and everything that was rotated away from it.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    waybill_tests::output::files(&folder.join("access.log"))
}

/// How often each connection's name is in a text.
fn names(lines: &[String]) -> BTreeMap<String, u32> {
    let mut seen = BTreeMap::new();
    for line in lines {
        let name = line.split("tcp:").find_map(|part| part.split('.').next().filter(|n| n.starts_with('c')));
        if let Some(name) = name {
            *seen.entry(name.to_owned()).or_default() += 1;
        }
    }
    seen
}

/// The same of what came.
fn came(room: &Room) -> Result<BTreeMap<String, u32>> {
    let texts = room.output()?.texts("access");
    Ok(names(&texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>()))
}

/// The lines of files, decompressed by their names.
fn lines_of(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for path in paths {
        let mut text = Vec::new();
        open(path)?.read_to_end(&mut text)?;
        lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
    }
    Ok(lines)
}

fn rotated(name: &str, rotation: impl FnOnce(&V2Ray) -> Value, check: impl Fn(&V2Ray) -> Result<()>) -> Result<()> {
    if !v2ray::is_installed() {
        return skip::skip(name, "v2ray is not installed");
    }
    let span = Duration::from_secs(std::env::var("WAYBILL_V2RAY_SECONDS").map_or(Ok(12), |text| text.parse())?);
    room::within(name, |room| {
        let folder = room.logs().join("v2ray");
        let mut proxy = V2Ray::start(&folder)?;
        let source = with(
            policy::source("access", &format!("{}/access*.log", folder.display()), "V2RayAccess"),
            "/rotation",
            rotation(&proxy),
        );
        // Every archive stays, to be counted in the end.
        let source = with(source, "/retention", json!({"maxFiles": 1000}));
        let policy = Policy::new("v2ray").source(source).sink(policy::file("archive", &room.archive()));
        let mut agent = room.agent(&policy)?;
        agent.start()?;
        let (over, made) = (AtomicBool::new(false), AtomicU64::new(0));
        let done: Result<()> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (proxy, over, made) = (&proxy, &over, &made);
                    scope.spawn(move || -> Result<u64> {
                        let mut count = 0;
                        while !over.load(Ordering::Relaxed) {
                            proxy.request(&format!("c{client}-{count}.{}.test", "long-name.".repeat(12)))?;
                            count += 1;
                            // V2Ray drops log lines that it cannot queue, sixteen at a time.
                            std::thread::sleep(Duration::from_millis(4));
                            made.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(count)
                    })
                })
                .collect();
            let began = Instant::now();
            let mut verdict = Ok(());
            while began.elapsed() < span && verdict.is_ok() {
                verdict = agent.check_alive().and_then(|()| check(&proxy));
                std::thread::sleep(Duration::from_millis(50));
            }
            over.store(true, Ordering::Relaxed);
            for client in clients {
                client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            }
            verdict
        });
        done?;
        proxy.check_alive().context("V2Ray was ended by its rotation")?;
        let made = made.into_inner();
        // V2Ray writes what it has queued by and by; what it could not queue is in no file, and none of ours to lose.
        await_true("all that V2Ray wrote has come", Duration::from_secs(30), || {
            agent.check_alive()?;
            let came = came(room)?;
            Ok(names(&lines_of(&files(&folder)?)?).keys().all(|name| came.contains_key(name)))
        })?;
        agent.stop()?;
        let written = names(&lines_of(&files(&folder)?)?);
        let came = came(room)?;
        let archives = room.output()?.actions("archive_made").count();
        println!("{made} connections, {} lines of V2Ray, {} came, {archives} archives", written.len(), came.len());
        ensure!(came.values().all(|n| *n == 1), "a connection came more than once");
        ensure!(came.keys().eq(written.keys()), "{} lines were written, {} came", written.len(), came.len());
        ensure!(written.len() as u64 >= made * 9 / 10, "V2Ray wrote {} lines for {made} connections", written.len());
        ensure!(archives >= 3, "only {archives} archives: nothing was proved");
        for lane in face::lanes(&agent.inspect()?)? {
            lane.balance()?;
        }
        Ok(())
    })
}

#[test]
fn collapse_under_genuine_v2ray() -> Result<()> {
    let began = |proxy: &V2Ray| {
        let len = fs::metadata(&proxy.access)?.len();
        ensure!(len < 2 * LIVE, "the live file has {len} bytes");
        Ok(())
    };
    rotated("v2ray-collapse", |_| json!({"mode": "Collapse", "maxSize": "64Ki"}), began)
}

#[test]
fn rename_by_the_api_of_genuine_v2ray() -> Result<()> {
    let rotation = |proxy: &V2Ray| {
        let reopen = json!({"type": "V2RayApi", "address": format!("127.0.0.1:{}", proxy.api)});
        json!({"mode": "Rename", "maxSize": "64Ki", "reopen": reopen})
    };
    rotated("v2ray-rename", rotation, |_| Ok(()))
}
