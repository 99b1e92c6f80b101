//! Sinks that are dead all the while: what they cost those beside them, and where their backlog waits.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::opensearch::free_port;
use waybill_tests::room::{self, Room};
use waybill_tests::shipment::{LATE, Shipment};
use waybill_tests::skip;
use waybill_tests::syslog::{Receiver, Transport};
use waybill_tests::wait::await_true;

use super::site;
use super::together::{BESIDE, policy};

/// Records of a round, of about a kilobyte each: some ten times of what may be under way.
const RECORDS: usize = 10_000;
/// Bytes in flight for each sink.
const EACH: u64 = 1 << 20;
/// Rounds at least and at most. What disturbs a round on a busy machine only ever makes it longer, so more of them tell more.
const ROUNDS: std::ops::RangeInclusive<usize> = 3..=25;
/// How much more a round may cost beside dead sinks.
const MORE: f64 = 1.05;

/// What a round took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    time: Duration,
    processor: Duration,
    /// Bytes read from files.
    read: u64,
}

/// A receiver, and how many messages it has written. Asking the agent would cost the agent time.
struct Arrivals {
    receiver: Receiver,
    messages: PathBuf,
    file: Option<File>,
    count: usize,
}

impl Arrivals {
    fn start(folder: PathBuf) -> Result<Self> {
        let program = site::receiver().context("no receiver")?;
        let mut receiver = Receiver::new(program, Transport::Tcp, &folder)?;
        receiver.start()?;
        Ok(Self { receiver, messages: folder.join("messages"), file: None, count: 0 })
    }

    fn count(&mut self) -> Result<usize> {
        if self.file.is_none() && self.messages.exists() {
            self.file = Some(File::open(&self.messages)?);
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut bytes)?;
        }
        self.count += bytes.split(|byte| *byte == b'\n').count() - 1;
        Ok(self.count)
    }
}

/// An agent that ships again and again to two sinks that live.
struct Side {
    shipment: Shipment,
    live: [Arrivals; 2],
}

impl Side {
    /// An agent that has shipped once, with these dead sinks.
    fn start(room: &Room, dead: &[Value]) -> Result<Self> {
        let live = [Arrivals::start(room.path().join("one"))?, Arrivals::start(room.path().join("two"))?];
        let sink = |name: &str, at: &Arrivals| site::syslog(name, &at.receiver.address(), "Tcp");
        let sinks: Vec<Value> =
            [sink("one", &live[0]), sink("two", &live[1])].into_iter().chain(dead.iter().cloned()).collect();
        // `inFlight` is divided among the sinks of a policy, dead or alive: those that live are to have the same on both sides.
        let limits = json!({"inFlight": EACH * sinks.len() as u64});
        let mut shipment = Shipment::with(room, &policy(room, &sinks).with("limits", limits), "one")?;
        shipment.agent.start()?;
        let mut side = Self { shipment, live };
        side.ship()?;
        Ok(side)
    }

    /// Ships a round of records.
    fn ship(&mut self) -> Result<Cost> {
        let (processor, read) = (self.shipment.agent.processor()?, self.shipment.agent.read()?);
        let began = Instant::now();
        self.shipment.logs.write_long("app.log", RECORDS, 700..1_300)?;
        let wanted = self.shipment.logs.len();
        await_true("the records arrive at those that live", LATE, || {
            self.shipment.agent.check_alive()?;
            // Entries of the ledger arrive as well, so there are more messages than records.
            Ok(self.live[0].count()? >= wanted && self.live[1].count()? >= wanted)
        })?;
        let (time, agent) = (began.elapsed(), &self.shipment.agent);
        let processor = agent.processor()?.saturating_sub(processor);
        Ok(Cost { time, processor, read: agent.read()? - read })
    }

    /// The dead sinks are owed everything, and what they hold of it in memory is within the bound.
    fn check_backlog(&self, dead: &[Value]) -> Result<()> {
        let written = self.shipment.logs.bytes();
        let lanes = self.shipment.agent.asker().lanes()?;
        for sink in dead {
            let lane = lanes.iter().find(|lane| sink["name"] == lane.name.as_str()).context("no such lane")?;
            let owed = lane.term("pending").bytes;
            ensure!(owed >= written, "{} is owed {owed} bytes of {written}", lane.name);
        }
        let (peak, bound) = (self.shipment.agent.peak()?, EACH * lanes.len() as u64 + BESIDE);
        println!("{} MB are owed, at most {} MiB were resident", written / 1_000_000, peak >> 20);
        ensure!(peak <= bound, "{peak} bytes were resident");
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// How much more rounds cost than others: the best time of either, the median of what the processor did, and all that was read.
fn compare(alone: &[Cost], beside: &[Cost]) -> [f64; 3] {
    let best = |costs: &[Cost]| costs.iter().map(|cost| cost.time).min().unwrap_or_default().as_secs_f64();
    let read = |costs: &[Cost]| costs.iter().map(|cost| cost.read).sum::<u64>() as f64;
    let pairs = alone.iter().zip(beside);
    let processor = pairs.map(|(a, b)| b.processor.as_secs_f64() / a.processor.as_secs_f64()).collect();
    [best(beside) / best(alone), median(processor), read(beside) / read(alone)]
}

/// One dead sink refuses connections, the other takes them and never answers. They may cost the others neither time nor the processor,
/// and no byte may be read a second time for them.
#[test]
fn dead_sinks_make_no_other_slower_and_their_backlog_waits_in_the_files() -> Result<()> {
    if site::receiver().is_none() {
        return skip::skip("sinks-dead", "neither rsyslogd nor syslog-ng is installed");
    }
    room::within("sinks-dead-alone", |room| {
        room::within("sinks-dead", |other| {
            let mute = TcpListener::bind("127.0.0.1:0")?;
            let dead = [
                site::elasticsearch("gone", &format!("http://{}", free_port()?)),
                site::elasticsearch("mute", &format!("http://{}", mute.local_addr()?)),
            ];
            let (mut one, mut two) = (Side::start(room, &[])?, Side::start(other, &dead)?);
            let (mut alone, mut beside) = (Vec::new(), Vec::new());
            let mut more = [f64::INFINITY; 3];
            for round in 1..=*ROUNDS.end() {
                // Neither always goes first.
                if round % 2 == 0 {
                    alone.push(one.ship()?);
                    beside.push(two.ship()?);
                } else {
                    beside.push(two.ship()?);
                    alone.push(one.ship()?);
                }
                more = compare(&alone, &beside);
                println!("round {round}: time {:.3}, processor {:.3}, read {:.3}", more[0], more[1], more[2]);
                if ROUNDS.contains(&round) && more.iter().all(|more| *more <= MORE) {
                    break;
                }
            }
            two.check_backlog(&dead)?;
            ensure!(
                more.iter().all(|more| *more <= MORE),
                "beside dead sinks: {more:?} times of time, processor and bytes read"
            );
            Ok(())
        })
    })
}
