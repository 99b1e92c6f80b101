//! Genuine logs of both nodes into servers beside the cluster: a Kafka, an OpenSearch, and CloudWatch's double. Complete, under the
//! name of the node where each line was written, and with the API server's own audit log among them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cloudwatch::Double;
use waybill_tests::cluster::metadata::Metadata;
use waybill_tests::cluster::{BESIDE, Node, PolicyScene, Site, repository, within};
use waybill_tests::face;
use waybill_tests::kafka::{Broker, Listener, read};
use waybill_tests::logs;
use waybill_tests::opensearch::OpenSearch;
use waybill_tests::output::Record;
use waybill_tests::policy::{Policy, source, with};
use waybill_tests::proxy::Proxy;
use waybill_tests::skip;
use waybill_tests::wait::await_true;

const NAME: &str = "delivery";
const TOPIC: &str = "audit";
const STREAM: &str = "logs-waybill-cluster";
const GROUP: &str = "/waybill/cluster";
/// How long all of it may take on a busy machine, and a Secret until the kubelet looks at it again.
const LONG: Duration = Duration::from_mins(3);

/// What real programs wrote, by source, format and file.
const GENUINE: [(&str, &str, &str); 4] = [
    ("gateway", "V2RayAccess", "v2ray-4.34.0/access.log"),
    ("vpn", "SoftEtherSecurity", "softether-5.01.9674/security-CORP.log"),
    ("login", "Sshd", "sshd-9.2p1/auth.log"),
    ("kernel", "LinuxAudit", "auditd-3.0.9/enriched.log"),
];

/// The records of one source on one node.
type Found = BTreeMap<(String, String), Vec<Record>>;

/// Sorts what a sink holds by node and source; what came again under its id counts once.
fn sorted(payloads: &[Vec<u8>]) -> Result<Found> {
    let mut by_node: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
    for payload in payloads {
        let value: Value = serde_json::from_slice(payload).context("a sink holds what is no JSON")?;
        let node = face::field(&value, "host.hostname").and_then(Value::as_str).context("a record without its node")?;
        by_node.entry(node.to_owned()).or_default().push(payload);
    }
    let mut found = Found::new();
    let mut ids = HashSet::new();
    for (node, payloads) in by_node {
        let output = logs::output(payloads);
        ensure!(output.malformed.is_empty(), "{node}: {}", output.malformed[0]);
        for record in output.records {
            if ids.insert(record.id) {
                found.entry((node.clone(), record.source.to_string())).or_default().push(record);
            }
        }
    }
    Ok(found)
}

fn genuine(file: &str) -> Result<Vec<u8>> {
    let path = repository("shipper/testdata").join(file);
    fs::read(&path).with_context(|| format!("failed to read {}", path.display()))
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec()).collect()
}

fn path(node: &Node, source: &str) -> PathBuf {
    node.path(&format!("/var/log/{NAME}/{source}.log"))
}

/// Whether a record's text is a line's, but for secrets that were redacted.
fn is_of(text: &[u8], line: &[u8]) -> bool {
    let (text, line) = (String::from_utf8_lossy(text), String::from_utf8_lossy(line));
    let Some((start, rest)) = text.split_once("***") else { return text == line };
    let (middle, end) = rest.rsplit_once("***").unwrap_or(("", rest));
    let inner = line.strip_prefix(start).and_then(|line| line.strip_suffix(end));
    inner.is_some_and(|inner| middle.split("***").all(|part| inner.contains(part)))
}

/// Whether a sink has every line of the genuine files from both nodes, so many times over, and nothing else of them.
fn complete(site: &Site, found: &Found, times: usize) -> Result<bool> {
    for node in site.nodes() {
        for (source, _, file) in GENUINE {
            let wanted = lines(&genuine(file)?.repeat(times));
            let key = (node.name().to_owned(), source.to_owned());
            let mut records: Vec<&Record> = found.get(&key).into_iter().flatten().collect();
            ensure!(records.len() <= wanted.len(), "{key:?}: {} records of {} lines", records.len(), wanted.len());
            if records.len() < wanted.len() {
                return Ok(false);
            }
            records.sort_by_key(|record| record.id.offset);
            for (record, line) in records.iter().zip(&wanted) {
                let trimmed = line.strip_suffix(b"\r").unwrap_or(line);
                ensure!(
                    is_of(record.text.bytes(), trimmed) || is_of(record.text.bytes(), line),
                    "{key:?}: {:?} instead of {:?}",
                    String::from_utf8_lossy(record.text.bytes()),
                    String::from_utf8_lossy(line)
                );
            }
        }
    }
    Ok(true)
}

/// Asks a server for all that it holds, not too often, until it is everything.
fn await_all(what: &str, mut probe: impl FnMut() -> Result<bool>) -> Result<()> {
    await_true(what, LONG, || {
        thread::sleep(Duration::from_millis(500));
        probe()
    })
}

/// Whether a sink has every line that the API server's audit log had when it was as long as this.
fn audited(site: &Site, found: &Found, log: &[u8]) -> bool {
    let key = (site.nodes()[0].name().to_owned(), "apiserver".to_owned());
    let records = found.get(&key).map(Vec::as_slice).unwrap_or_default();
    records.iter().filter(|record| record.id.offset < log.len() as u64).count() == lines(log).len()
}

/// The servers beside the cluster.
struct Servers {
    broker: Broker,
    search: OpenSearch,
    door: Proxy,
    cloud: Double,
    gate: Proxy,
    _metadata: Metadata,
}

impl Servers {
    fn start(folder: &Path) -> Result<Self> {
        let place = |name: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::create_dir(&path)?;
            Ok(path)
        };
        let mut broker = Broker::absent_at(&place("kafka")?, BESIDE)?;
        broker.resume()?;
        broker.command(&format!("topic {TOPIC} 3"))?;
        broker.command("password waybill first-password")?;
        broker.command(&format!("allow waybill Write {TOPIC}"))?;
        let search = OpenSearch::start(&place("opensearch")?, &[])?;
        let door = Proxy::start_at(BESIDE, search.address())?;
        let template = json!({"index_patterns": [STREAM], "data_stream": {}, "priority": 500,
            "template": {"settings": {"number_of_replicas": 0}, "mappings": {"dynamic": "false"}}});
        search.call("PUT", "/_index_template/waybill-cluster", &template)?;
        let cloud = Double::start()?;
        let gate = Proxy::start_at(BESIDE, cloud.endpoint().trim_start_matches("http://").parse()?)?;
        "AKIDCLUSTER".clone_into(&mut cloud.state().access_key);
        Ok(Self { broker, search, door, cloud, gate, _metadata: Metadata::serve("AKIDCLUSTER")? })
    }

    fn sinks(&self) -> [Value; 3] {
        let secret = |key: &str| json!({"secret": NAME, "key": key});
        [
            json!({"name": "stream", "type": "Kafka", "kafka": {
                "brokers": [self.broker.address(Listener::Login)], "topic": TOPIC, "tls": {"ca": secret("ca.pem")},
                "sasl": {"mechanism": "ScramSha512", "username": "waybill", "password": secret("password")}}}),
            json!({"name": "search", "type": "Elasticsearch", "elasticsearch": {
                "endpoints": [format!("http://{}", self.door.address())], "dataStream": STREAM}}),
            json!({"name": "cloud", "type": "CloudWatch", "cloudWatch": {
                "region": "eu-central-1", "endpoint": format!("http://{}", self.gate.address()), "logGroup": GROUP}}),
        ]
    }

    fn kafka(&self) -> Result<Found> {
        let messages = read(&self.broker.address(Listener::Plain), TOPIC)?;
        sorted(&messages.into_iter().map(|message| message.payload).collect::<Vec<_>>())
    }

    fn opensearch(&self) -> Result<Found> {
        let documents = self.search.documents(STREAM)?;
        sorted(&documents.into_iter().map(|(_, document)| document.to_string().into_bytes()).collect::<Vec<_>>())
    }

    fn cloudwatch(&self) -> Result<Found> {
        sorted(&self.cloud.events(GROUP).into_iter().map(|event| event.message.into_bytes()).collect::<Vec<_>>())
    }
}

#[test]
#[ignore = "needs a cluster: make test-cluster"]
fn genuine_logs_of_both_nodes_arrive_in_three_servers_and_a_secret_is_rotated() -> Result<()> {
    if let Some(why) = Metadata::missing().or_else(Broker::missing).or_else(OpenSearch::missing) {
        return skip::skip("cluster_delivery", &why);
    }
    within(NAME, |site| {
        let folder = tempfile::tempdir()?;
        let mut servers = Servers::start(folder.path())?;
        let mut scene = PolicyScene::begin(site, NAME)?;
        let authority = fs::read_to_string(servers.broker.authority().certificate())?;
        let secret = |password: &str| {
            json!({"apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": NAME, "labels": {"waybill.dev/policy": NAME}},
                "stringData": {"password": password, "ca.pem": authority}})
        };
        scene.agents().apply(&secret("first-password"))?;
        for node in site.nodes() {
            for (name, _, file) in GENUINE {
                fs::write(path(node, name), genuine(file)?)?;
            }
        }
        let mut policy = scene.plain();
        for (name, format, _) in GENUINE {
            policy = policy.source(source(name, &format!("/var/log/{NAME}/{name}.log"), format));
        }
        policy = policy.source(source("apiserver", "/var/log/kubernetes/audit/audit.log", "KubernetesAudit"));
        for sink in servers.sinks() {
            policy = policy.sink(sink);
        }
        // What the writers write goes to the node's own archive, and the audit log is too long for a double's memory.
        let policy = only(&only(&policy, "archive", &["app"]), "cloud", &GENUINE.map(|(name, ..)| name));
        let began = Instant::now();
        scene.put(&policy)?;
        scene.await_up_to_date()?;
        // A Secret that was not mounted yet is what rolls the pods.
        scene.renewed()?;
        let log = complete_lines(&fs::read(site.cluster().audit_log())?);
        let arrive = |what: &str, servers: &Servers, times: usize, log: &[u8]| -> Result<()> {
            await_all("the Kafka has everything", || {
                let found = servers.kafka()?;
                Ok(complete(site, &found, times)? && audited(site, &found, log))
            })?;
            await_all("the OpenSearch has everything", || {
                let found = servers.opensearch()?;
                Ok(complete(site, &found, times)? && audited(site, &found, log))
            })?;
            await_all("the CloudWatch has everything", || complete(site, &servers.cloudwatch()?, times))?;
            let breaches = servers.cloud.state().breaches.clone();
            ensure!(breaches.is_empty(), "CloudWatch's limits were broken: {breaches:?}");
            println!("{what}, and {} lines of the audit log: {:.1}s", lines(log).len(), began.elapsed().as_secs_f64());
            Ok(())
        };
        arrive("genuine lines in three servers", &servers, 1, &log)?;

        // A new password, at the broker first; who is connected stays so, so the broker is started anew.
        servers.broker.command("password waybill second-password")?;
        scene.agents().apply(&secret("second-password"))?;
        let rotated = Instant::now();
        servers.broker.kill()?;
        servers.broker.resume()?;
        for node in site.nodes() {
            for (name, _, file) in GENUINE {
                fs::OpenOptions::new().append(true).open(path(node, name))?.write_all(&genuine(file)?)?;
            }
        }
        let log = complete_lines(&fs::read(site.cluster().audit_log())?);
        arrive("again after the password was rotated", &servers, 2, &log)?;
        println!(
            "TOOK {:.1}s: a rotated Secret, to the last record under the new password",
            rotated.elapsed().as_secs_f64()
        );
        scene.flow(200)?;
        scene.untouched()?;
        scene.balance()?;
        scene.agents().delete("secret", NAME)?;
        scene.remove()
    })
}

/// Has one sink take some sources only.
fn only(policy: &Policy, sink: &str, sources: &[&str]) -> Policy {
    let value = policy.value();
    let sinks = value["spec"]["sinks"].as_array().cloned().unwrap_or_default();
    let at = sinks.iter().position(|one| one["name"] == sink).unwrap_or_default();
    Policy::from(with(value, &format!("/spec/sinks/{at}/sources"), json!(sources)))
}

/// A log up to its last newline.
fn complete_lines(log: &[u8]) -> Vec<u8> {
    let end = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    log[..end].to_vec()
}
