//! The steps of the demonstration.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::proxy::{Proxy, Want};
use super::site;
use crate::agent::{Agent, binary};
use crate::book::Book;
use crate::face;
use crate::history::History;
use crate::oracle::{Case, Leniency, judge};
use crate::output::Output;
use crate::policy::replace;
use crate::rng::Rng;
use crate::stage::Stage;
use crate::wait::{await_condition, await_true};
use crate::writer::qurl::{Connector, Sizes};
use crate::writer::{Kind, Scribe, Troupe};

const SOON: Duration = Duration::from_secs(15);
/// The one whose denied connections are looked for.
const SUSPECT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// The chunks of the genuine connector, with small files, so that it rotates within seconds.
const SIZES: Sizes = Sizes { chunk: 64 << 10, file: 192 << 10, backups: 100 };
const QURL: Kind = Kind { name: "qurl", make: |scribe: &mut Scribe| Ok(Box::new(Connector::new(scribe, SIZES)?)) };

const POLICY: &str = include_str!("policy.yaml");

struct Show {
    folder: PathBuf,
    agent: Agent,
    proxy: Proxy,
    stage: Arc<Stage>,
    step: usize,
    began: Instant,
    /// Denied connections of the suspect so far.
    denied: usize,
}

pub(super) fn tell() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("waybill-demo-").tempdir()?.keep();
    println!("Waybill, in {}", folder.display());
    for part in ["logs/v2ray", "archive"] {
        fs::create_dir_all(folder.join(part))?;
    }
    let stage = Stage::new(&folder.join("archive/audit.log"));
    let policy = folder.join("policy.yaml");
    let agent = Agent::new(&policy, &folder.join("state"), &folder.join("agent.log"), Arc::new(History::default()))?;
    let proxy = Proxy::start(&folder.join("logs/v2ray"), site::serve()?)?;
    let mut show = Show { folder, agent, proxy, stage, step: 0, began: Instant::now(), denied: 0 };
    show.policy(false, "")?;
    let mut troupe = Troupe::new(&show.stage);
    troupe.engage(QURL, &show.folder.join("logs"), &mut Rng::from_env("demo"))?;
    show.begin()?;
    show.rotate()?;
    show.search()?;
    show.switch()?;
    show.kill()?;
    let books = troupe.finish()?;
    show.account(&books)
}

impl Show {
    fn say(&mut self, text: &str) {
        self.step += 1;
        println!("\n{}. [{:4.1} s] {text}", self.step, self.began.elapsed().as_secs_f32());
    }

    fn archive(&self) -> PathBuf {
        self.folder.join("archive/audit.log")
    }

    fn policy(&self, engaged: bool, reason: &str) -> Result<()> {
        let folder = self.folder.display().to_string();
        let text = POLICY.replace("FOLDER", &folder).replace("ENGAGED", &engaged.to_string()).replace("REASON", reason);
        replace(&self.folder.join("policy.yaml"), &text)
    }

    /// A round of requests from three addresses.
    fn traffic(&mut self, rounds: usize) -> Result<()> {
        for round in 0..rounds {
            for (address, want) in [(7, Want::Site), (8, Want::Site), (7, Want::Blocked), (9, Want::Blocked)] {
                self.request(Ipv4Addr::new(127, 0, 0, address), want)?;
            }
            if round % 3 == 0 {
                self.request(SUSPECT, Want::Refused)?;
            }
        }
        Ok(())
    }

    fn request(&mut self, from: Ipv4Addr, want: Want) -> Result<()> {
        self.denied += usize::from(from == SUSPECT && want != Want::Site);
        self.proxy.request(from, want)
    }

    /// Waits until every line of the proxy has come.
    fn await_proxy(&self) -> Result<()> {
        await_true("V2Ray's lines come", SOON, || {
            let came: HashSet<Vec<u8>> = Output::read(&self.archive())?.texts("v2ray-access").into_iter().collect();
            Ok(self.proxy.lines()?.iter().all(|line| came.contains(line.as_bytes())))
        })
    }

    fn begin(&mut self) -> Result<()> {
        let version = self.proxy.version.clone();
        self.say(&format!(
            "{version} serves SOCKS; a qURL Connector's writer rotates audit.log every {} KiB.",
            SIZES.file >> 10
        ));
        self.stage.gate.up();
        self.agent.start()?;
        println!("   waybill run -f {}/policy.yaml", self.folder.display());
        self.traffic(6)?;
        self.await_proxy()?;
        self.say("A glance at `waybill status`:");
        let status =
            Command::new(binary()?).args(["status", "--listen", &self.agent.asker().address().to_string()]).output()?;
        ensure!(status.status.success(), "waybill status failed: {}", String::from_utf8_lossy(&status.stderr));
        for line in String::from_utf8_lossy(&status.stdout).lines().take(24) {
            println!("   {line}");
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.say("V2Ray never reopens its log: it is copied and truncated, and V2Ray goes on.");
        self.proxy.rotate(1)?;
        self.traffic(3)?;
        self.await_proxy()?;
        let backups = await_condition("the qURL file is rotated", SOON, || {
            let backups = fs::read_dir(self.folder.join("logs/qurl"))?.count().saturating_sub(1);
            Ok((backups >= 2).then_some(backups))
        })?;
        println!("   audit.log has been rotated {backups} times meanwhile.");
        Ok(())
    }

    fn search(&mut self) -> Result<()> {
        let query = format!("grep -h '\"{SUSPECT}\"' {}/archive/audit*.log | grep '\"deny\"'", self.folder.display());
        self.say(&format!("All denied connections of {SUSPECT}:\n   {query}"));
        let found = Command::new("sh").args(["-c", &query]).output()?;
        let found = String::from_utf8(found.stdout)?;
        let lines: Vec<&str> = found.lines().collect();
        for line in lines.iter().take(3) {
            let record: Value = serde_json::from_str(line)?;
            println!("   {}", face::field(&record, "event.original").and_then(Value::as_str).unwrap_or(line));
        }
        println!("   … {} in all; {} were made.", lines.len(), self.denied);
        ensure!(lines.len() == self.denied, "{} denied connections found, {} were made", lines.len(), self.denied);
        Ok(())
    }

    fn switch(&mut self) -> Result<()> {
        self.say("The kill switch is thrown by editing the policy; the ledger has it before anything stops.");
        let thrown = Instant::now();
        self.policy(true, "demo: suspicion")?;
        self.await_switch("demo: suspicion")?;
        println!("   in force and in the ledger after {} ms", thrown.elapsed().as_millis());
        let before = Output::read(&self.archive())?.records.len();
        self.traffic(3)?;
        crate::wait::holds_for("nothing leaves", Duration::from_secs(2), || {
            Ok(Output::read(&self.archive())?.records.len() == before)
        })?;
        println!("   requests go on for 2 s, and not a record leaves");
        self.policy(false, "demo: all clear")?;
        self.await_switch("demo: all clear")?;
        self.await_proxy()?;
        println!("   lifted: what was held has come");
        for entry in Output::read(&self.archive())?.actions(face::SWITCH) {
            println!("   ledger: {} {}", entry.action, entry.details);
        }
        Ok(())
    }

    fn await_switch(&self, reason: &str) -> Result<()> {
        await_true("the ledger has the switch", SOON, || {
            Ok(Output::read(&self.archive())?
                .actions(face::SWITCH)
                .any(|entry| entry.details.to_string().contains(reason)))
        })
    }

    fn kill(&mut self) -> Result<()> {
        self.say("kill -9 in the middle, while both write on; then a new start.");
        self.traffic(2)?;
        self.agent.kill()?;
        self.stage.gate.down();
        self.traffic(3)?;
        let before = Output::read(&self.archive())?.records.len();
        self.stage.gate.up();
        self.agent.start()?;
        self.await_proxy()?;
        println!("   {} records more than before the kill.", Output::read(&self.archive())?.records.len() - before);
        Ok(())
    }

    fn account(&mut self, books: &[Book]) -> Result<()> {
        self.say("The account. Writers end, the agent catches up:");
        await_true("every qURL line has come", SOON, || {
            Ok(books.iter().all(|book| self.stage.watch.has(book, &(0..book.incarnations.len()).collect::<Vec<_>>())))
        })?;
        let lanes = await_condition("no lane owes anything", SOON, || {
            let lanes = self.agent.asker().lanes()?;
            Ok(lanes.iter().all(|lane| lane.term("pending").bytes == 0).then_some(lanes))
        })?;
        for lane in &lanes {
            println!("   {}: {lane} bytes", lane.name);
            lane.balance()?;
            ensure!(lane.term("lost").bytes == 0, "the lane {} lost {} bytes", lane.name, lane.term("lost").bytes);
        }
        self.agent.stop()?;
        let mut output = Output::read(&self.archive())?;
        ensure!(output.malformed.is_empty(), "the archive is damaged: {:?}", output.malformed);
        let v2ray = self.check_proxy(&output)?;
        output.records.retain(|record| &*record.source == "qurl");
        let case = Case { books, output: &output, history: self.agent.history(), leniency: Leniency::default() };
        let verdict = judge(&case);
        ensure!(verdict.offences.is_empty(), "{verdict}");
        let qurl = verdict.totals;
        ensure!(qurl.delivered == qurl.lines, "{qurl}");
        println!("   V2Ray wrote {v2ray} lines: {v2ray} records, each once by its id.");
        println!(
            "   The connector wrote {} lines, {} of them split over a rotation: {} records, {} repeats under the same id.",
            qurl.lines, qurl.joined, qurl.delivered, qurl.repeats
        );
        println!(
            "\nNothing was lost, in {:.0} s. All of it is in {}:",
            self.began.elapsed().as_secs_f32(),
            self.folder.display()
        );
        println!(
            "   policy.yaml  agent.log  logs/  archive/audit.log  state/   (try: waybill inspect --state-dir {}/state)",
            self.folder.display()
        );
        Ok(())
    }

    /// Each line of V2Ray's must have come under one id.
    fn check_proxy(&self, output: &Output) -> Result<usize> {
        let mut ids: HashMap<&[u8], HashSet<crate::output::Id>> = HashMap::new();
        for record in output.records.iter().filter(|record| &*record.source == "v2ray-access") {
            ids.entry(record.text.bytes()).or_default().insert(record.id);
        }
        let lines = self.proxy.lines()?;
        let mut written: HashMap<&str, usize> = HashMap::new();
        for line in &lines {
            *written.entry(line).or_default() += 1;
        }
        for (line, times) in written {
            let came = ids.get(line.as_bytes()).with_context(|| format!("never came: {line}"))?.len();
            ensure!(came == times, "written {times} times, came under {came} ids: {line}");
        }
        Ok(lines.len())
    }
}
