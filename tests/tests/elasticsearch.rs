//! The Elasticsearch sink against a real OpenSearch.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::agent::Agent;
use waybill_tests::opensearch::OpenSearch;
use waybill_tests::policy::{self, Policy};
use waybill_tests::proxy::{Fault, Proxy};
use waybill_tests::rng::Rng;
use waybill_tests::room::{self, Room};
use waybill_tests::skip;
use waybill_tests::wait::await_true;

const STREAM: &str = "logs-waybill-default";

/// How long delivery may take at most.
const LATE: Duration = Duration::from_secs(120);

/// An agent that ships `logs/app/app.log` to a data stream, and what was written there.
struct Bench<'a> {
    room: &'a Room,
    agent: Agent,
    lines: Vec<String>,
    live: File,
    rng: Rng,
}

impl<'a> Bench<'a> {
    fn new(room: &'a Room, policy: &Policy) -> Result<Self> {
        let folder = room.logs().join("app");
        fs::create_dir_all(&folder)?;
        let live = OpenOptions::new().create_new(true).append(true).open(folder.join("app.log"))?;
        Ok(Self { room, agent: room.agent(policy)?, lines: Vec::new(), live, rng: Rng::from_env("elasticsearch") })
    }

    fn write(&mut self, count: usize) -> Result<()> {
        let mut block = String::new();
        for _ in 0..count {
            let len = self.rng.within(1..200) as usize;
            let line = format!("{} {}", self.lines.len(), self.rng.text(len));
            block.push_str(&line);
            block.push('\n');
            self.lines.push(line);
        }
        self.live.write_all(block.as_bytes()).context("failed to write a log")
    }

    /// Waits until the lane has settled everything that was written.
    fn settle(&mut self) -> Result<()> {
        let wanted = self.lines.len() as u64;
        await_true("the lane owes nothing", LATE, || {
            self.agent.check_alive()?;
            let lanes = self.agent.asker().lanes()?;
            let lane = lanes.iter().find(|lane| lane.name == "search").context("no such lane")?;
            let settled = lane.term("acknowledged").records + lane.term("refused").records;
            Ok(lane.term("pending").bytes == 0 && settled >= wanted)
        })
    }

    /// Stops the agent, and holds what the server has against what was written: byte for byte, and each record once.
    fn judge(&mut self, node: &OpenSearch) -> Result<()> {
        self.agent.stop()?;
        for lane in waybill_tests::face::lanes(&self.agent.inspect()?)? {
            lane.balance()?;
            ensure!(lane.term("refused").records == 0 && lane.term("lost").bytes == 0, "{}: {lane}", lane.name);
        }
        let mut wanted: HashMap<&str, usize> = HashMap::new();
        for line in &self.lines {
            *wanted.entry(line).or_default() += 1;
        }
        let (mut ids, mut alien) = (HashMap::new(), 0);
        for (id, index, source) in node.documents(STREAM)? {
            ensure!(source["waybill"]["id"] == id.as_str(), "{id} holds the record {}", source["waybill"]["id"]);
            if let Some(other) = ids.insert(id.clone(), index.clone()) {
                anyhow::bail!("{id} is there twice: in {other} and {index}");
            }
            if source["event"]["dataset"] == "waybill.control" {
                continue;
            }
            let text = source["event"]["original"].as_str().context("a record without its line")?;
            match wanted.get_mut(text) {
                Some(left @ 1..) => *left -= 1,
                _ => alien += 1,
            }
        }
        let missing = wanted.values().sum::<usize>();
        ensure!(missing == 0 && alien == 0, "{missing} of {} lines are missing, {alien} are alien", self.lines.len());
        println!("{} lines, each once", self.lines.len());
        Ok(())
    }
}

fn sink(urls: &[String]) -> Value {
    json!({"name": "search", "type": "Elasticsearch", "elasticsearch": {"endpoints": urls, "dataStream": STREAM}})
}

fn policy(room: &Room, sink: Value) -> Policy {
    let pattern = format!("{}/app/app*", room.logs().display());
    Policy::new("elastic").source(policy::text("app", &pattern)).sink(sink)
}

fn url(proxy: &Proxy) -> String {
    format!("http://{}", proxy.address())
}

fn node(room: &Room) -> PathBuf {
    room.path().join("opensearch")
}

/// A test with a server, or a loud skip where there can be none.
fn with_server(name: &str, test: impl FnOnce(&Room, OpenSearch) -> Result<()>) -> Result<()> {
    if let Some(why) = OpenSearch::missing() {
        return skip::skip(name, &why);
    }
    room::within(name, |room| {
        let server = OpenSearch::start(&node(room), &[])?;
        template(&server)?;
        test(room, server)
    })
}

fn template(server: &OpenSearch) -> Result<()> {
    let body = json!({"index_patterns": [STREAM], "data_stream": {}, "priority": 500});
    server.call("PUT", "/_index_template/waybill", &body)?;
    Ok(())
}

#[test]
fn all_lines_arrive_byte_for_byte() -> Result<()> {
    with_server("elastic-all", |room, server| {
        let mut bench = Bench::new(room, &policy(room, sink(&[server.url()])))?;
        bench.write(25_000)?;
        bench.agent.start()?;
        bench.write(25_000)?;
        bench.settle()?;
        bench.judge(&server)
    })
}

#[test]
fn cut_requests_and_answers() -> Result<()> {
    with_server("elastic-cut", |room, server| {
        let proxy = Proxy::start(server.address())?;
        let mut rng = Rng::from_env("cuts");
        proxy.plan(move |_| match rng.within(0..10) {
            0 => Fault::CutRequest(rng.within(1..20_000) as usize),
            1 => Fault::CutAnswer(rng.within(1..2_000) as usize),
            2 => Fault::Close,
            3 => Fault::Answer(429, "{}".to_owned()),
            4 => Fault::Answer(503, "busy".to_owned()),
            _ => Fault::None,
        });
        let mut bench = Bench::new(room, &policy(room, sink(&[url(&proxy)])))?;
        bench.agent.start()?;
        for _ in 0..20 {
            bench.write(500)?;
            bench.settle()?;
        }
        ensure!(proxy.faults() > 5, "only {} of {} exchanges were disturbed", proxy.faults(), proxy.exchanges());
        proxy.pass();
        bench.settle()?;
        bench.judge(&server)
    })
}
