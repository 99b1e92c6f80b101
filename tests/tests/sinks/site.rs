//! Servers of every kind, and the sinks that ship to them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use waybill_tests::cloudwatch::{self, Double};
use waybill_tests::kafka::{self, Broker, Listener};
use waybill_tests::logs::Arrived;
use waybill_tests::opensearch::OpenSearch;
use waybill_tests::policy::with;
use waybill_tests::room::Room;
use waybill_tests::shipment::Shipment;
use waybill_tests::skip;
use waybill_tests::syslog::{Message, Program, Receiver, Transport};

/// Where the records go.
pub(super) const TOPIC: &str = "audit";
pub(super) const STREAM: &str = "logs-waybill-default";
pub(super) const GROUP: &str = "/waybill/tests";
/// The user that logs in to Kafka, and its password.
pub(super) const USER: (&str, &str) = ("waybill", "scram-secret");

/// A server of each kind.
pub(super) struct Site {
    pub(super) broker: Broker,
    pub(super) search: OpenSearch,
    pub(super) cloud: Double,
    pub(super) receiver: Receiver,
}

/// Which of the receivers is there.
pub(super) fn receiver() -> Option<Program> {
    Program::ALL.into_iter().find(|program| program.is_there())
}

/// Says loudly why a test with all servers cannot be made here.
pub(super) fn is_missing(test: &str) -> Result<bool> {
    let no_receiver = || receiver().is_none().then(|| "neither rsyslogd nor syslog-ng is installed".to_owned());
    let why = Broker::missing().or_else(OpenSearch::missing).or_else(no_receiver);
    why.map_or(Ok(false), |why| skip::skip(test, &why).map(|()| true))
}

impl Site {
    /// All servers, running, with the topic and the template that the sinks need.
    pub(super) fn start(room: &Room) -> Result<Self> {
        let folder = room.path().join("broker");
        std::fs::create_dir(&folder)?;
        let mut broker = Broker::start(&folder)?;
        broker.command(&format!("topic {TOPIC} 3"))?;
        broker.command(&format!("password {} {}", USER.0, USER.1))?;
        broker.command(&format!("allow {} Write {TOPIC}", USER.0))?;
        let search = OpenSearch::start(&room.path().join("opensearch"), &[])?;
        let template = json!({"index_patterns": [STREAM], "data_stream": {}, "priority": 500});
        search.call("PUT", "/_index_template/waybill", &template)?;
        let program = receiver().context("no receiver")?;
        let mut receiver = Receiver::new(program, Transport::Tcp, &room.path().join("receiver"))?;
        receiver.start()?;
        Ok(Self { broker, search, cloud: Double::start()?, receiver })
    }

    /// The sink `stream`, which logs in over TLS.
    pub(super) fn kafka(&self) -> Value {
        let address = self.broker.address(Listener::Login);
        let sink = json!({"name": "stream", "type": "Kafka", "kafka": {"brokers": [address], "topic": TOPIC}});
        let sink = with(sink, "/kafka/tls", json!({"ca": {"secret": "kafka", "key": "ca.pem"}}));
        let password = json!({"secret": "kafka", "key": "password"});
        with(sink, "/kafka/sasl", json!({"mechanism": "ScramSha512", "username": USER.0, "password": password}))
    }

    /// The sink `search`.
    pub(super) fn search(&self) -> Value {
        elasticsearch("search", &self.search.url())
    }

    /// The sink `cloud`.
    pub(super) fn cloud(&self) -> Value {
        cloud_watch("cloud", &self.cloud.endpoint())
    }

    /// The sink `siem`.
    pub(super) fn siem(&self) -> Value {
        syslog("siem", &self.receiver.address(), "Tcp")
    }

    /// Gives the agent what it logs in with.
    pub(super) fn admit(&self, shipment: &mut Shipment) -> Result<()> {
        shipment.secret("kafka", "ca.pem", std::fs::read(self.broker.authority().certificate())?)?;
        shipment.secret("kafka", "password", USER.1)?;
        shipment.agent.set("AWS_EC2_METADATA_DISABLED", "true");
        shipment.agent.set("AWS_ACCESS_KEY_ID", "AKIDGOOD");
        shipment.agent.set("AWS_SECRET_ACCESS_KEY", "never-to-be-seen");
        Ok(())
    }

    /// Holds what each of these sinks has against what was written; says how often something came twice.
    pub(super) fn check(&self, shipment: &Shipment, sinks: &[&str]) -> Result<Vec<Arrived>> {
        let lines = shipment.logs.len();
        let check = |sink: &&str| -> Result<Arrived> {
            let arrived = match *sink {
                "stream" => {
                    let messages = kafka::read(&self.broker.address(Listener::Plain), TOPIC)?;
                    shipment.logs.check(messages.iter().map(|message| message.payload.as_slice()))
                }
                "search" => shipment.logs.check_documents(self.search.documents(STREAM)?),
                "cloud" => {
                    let events = cloudwatch::read(self.cloud.address(), GROUP, "app")?;
                    shipment.logs.check(events.iter().map(|event| event.message.as_bytes()))
                }
                _ => {
                    let messages = self.receiver.messages()?;
                    let messages: Vec<Message> = messages.iter().map(|m| Message::parse(m)).collect::<Result<_>>()?;
                    shipment.logs.check(messages.iter().map(|message| message.body.as_slice()))
                }
            };
            let arrived = arrived.with_context(|| format!("the sink {sink}"))?;
            ensure!(arrived.lines == lines, "{sink}: {arrived:?} of {lines}");
            Ok(arrived)
        };
        sinks.iter().map(check).collect()
    }
}

pub(super) fn elasticsearch(name: &str, url: &str) -> Value {
    json!({"name": name, "type": "Elasticsearch", "elasticsearch": {"endpoints": [url], "dataStream": STREAM}})
}

pub(super) fn cloud_watch(name: &str, endpoint: &str) -> Value {
    json!({"name": name, "type": "CloudWatch", "cloudWatch": {
        "region": "eu-central-1", "endpoint": endpoint, "logGroup": GROUP, "logStream": "{source}"}})
}

pub(super) fn syslog(name: &str, address: &str, transport: &str) -> Value {
    json!({"name": name, "type": "Syslog", "syslog": {"address": address, "transport": transport}})
}
