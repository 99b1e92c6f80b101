//! Sources of type Syslog: what SoftEther sends over UDP is received, kept through a crash, and counts once.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::policy::{self, Policy};
use waybill_tests::room::{self, Room};
use waybill_tests::scene::{SOON, Scene};
use waybill_tests::wait::await_true;

/// The records of the source, in the order of the archive.
fn records(room: &Room) -> Result<Vec<Value>> {
    Ok(room.records()?.into_iter().filter(|record| record["waybill"]["source"] == "vpn").collect())
}

/// Sends until the agent is known to listen: what is sent before that is nobody's.
fn await_listening(room: &Room, sender: &UdpSocket, to: SocketAddr, mark: &str) -> Result<()> {
    await_true("the agent listens", SOON, || {
        sender.send_to(line(mark, 0).as_bytes(), to)?;
        Ok(records(room)?.iter().any(|record| record["user"]["name"] == format!("{mark}-0")))
    })
}

/// A datagram as SoftEther sends it, in either form of the date.
fn line(user: &str, number: usize) -> String {
    let time = if number.is_multiple_of(2) { "2026-11-21 22:45:43.752" } else { "2026-11-21T22:45:43.752Z" };
    format!(
        "[vm/VPN/CORP] ({time}) <SECURITY_LOG>: Connection \"CID-{number}\": User authentication failed. The user name that has been provided was \"{user}-{number}\", from 192.0.2.7."
    )
}

#[test]
fn datagrams_are_records_and_outlive_a_crash() -> Result<()> {
    room::within("received", |room| {
        let to = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let source = json!({
            "name": "vpn", "type": "Syslog", "syslog": {"listen": to.to_string()}, "format": "SoftEtherSecurity",
            "timeZone": "UTC",
        });
        let plan = Policy::new("received").source(source).sink(policy::file("archive", &room.archive()));
        let mut scene = Scene::with(room, &plan)?;
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        for mark in ["before", "after"] {
            scene.start()?;
            await_listening(room, &sender, to, mark)?;
            for number in 1..=500 {
                sender.send_to(line(mark, number).as_bytes(), to)?;
            }
            // What looks like two lines is one record.
            sender.send_to(format!("{}\n{}", line(mark, 501), line("forged", 1)).as_bytes(), to)?;
            await_true("all of it was written down", SOON, || {
                let files = fs::read_dir(room.state().join("received/vpn"))?;
                let texts = files.map(|file| Ok(fs::read_to_string(file?.path())?)).collect::<Result<Vec<_>>>()?;
                Ok(texts.concat().contains(&format!("{mark}-501")))
            })?;
            scene.kill()?;
        }
        scene.start()?;
        scene.await_idle()?;
        scene.stop()?;
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for record in records(room)? {
            let original = record["event"]["original"].as_str().context("no original")?.to_owned();
            ensure!(record["source"]["ip"] == "192.0.2.7", "{record}");
            ensure!(record["@timestamp"] == "2026-11-21T22:45:43.752Z", "{record}");
            ensure!(
                record["waybill"]["softether"]["hub"] == "CORP" && record["waybill"]["outcome"] == "deny",
                "{record}"
            );
            *seen.entry(original).or_default() += 1;
        }
        for mark in ["before", "after"] {
            for number in 1..=500 {
                let count = seen.get(&line(mark, number)).copied().unwrap_or_default();
                ensure!(count == 1, "{mark}-{number} came {count} times");
            }
        }
        ensure!(
            !seen
                .keys()
                .any(|line| line.starts_with("[vm/VPN/CORP] ") && line.contains("forged") && !line.contains("#012"))
        );
        let marks = ["before-0\"", "after-0\""];
        let probes: usize =
            seen.iter().filter(|(line, _)| marks.iter().any(|mark| line.contains(mark))).map(|(_, count)| count).sum();
        ensure!(probes >= 2 && seen.len() == 2 * 502, "{} lines, {probes} probes", seen.len());
        Ok(())
    })
}
