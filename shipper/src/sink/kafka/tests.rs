//! The sink against the client library's own mock of a cluster, which misbehaves on demand.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Error};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use waybill_crds::{Kafka, KafkaCompression, PartitionBy};

use super::run;
use crate::engine::Event;
use crate::lane::chunk::Chunk;
use crate::lane::{Delivery, Fate, Gate, Outlet, RecordFate};
use crate::plan::Encoding;
use crate::sink::{Context, Queue, Secrets};
use crate::state::StreamId;
use crate::state::entry::Position;

const PATIENCE: Duration = Duration::from_secs(60);
const TOPIC: &str = "audit";

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// A sink that runs, and the engine's ends of it.
struct Rig {
    cluster: Cluster,
    outlet: Option<Outlet>,
    answers: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
    _state: tempfile::TempDir,
    deliveries: u64,
    /// Deliveries that ended, and how.
    ended: HashMap<u64, Fate>,
    refused: usize,
    /// Offset of the next record, by stream.
    offsets: HashMap<u8, u64>,
}

impl Rig {
    fn new(brokers: i32, partitions: i32) -> Self {
        let cluster = MockCluster::new(brokers).unwrap();
        cluster.create_topic(TOPIC, partitions, brokers).unwrap();
        let state = tempfile::tempdir().unwrap();
        let (sender, answers) = unbounded();
        let (queue, outlet) = Queue::new("stream", state.path().to_owned(), sender);
        let settings = Kafka {
            brokers: vec![cluster.bootstrap_servers()],
            topic: TOPIC.to_owned(),
            compression: KafkaCompression::Lz4,
            partition_by: PartitionBy::Stream,
            tls: None,
            sasl: None,
        };
        let context = Context {
            name: "stream".into(),
            encoding: Encoding::Ecs,
            policy: "test".into(),
            host: "node".into(),
            in_flight: 64 << 20,
            secrets: Secrets::default(),
        };
        let thread = Some(std::thread::spawn(move || run(queue, settings, context)));
        Self {
            cluster,
            outlet: Some(outlet),
            answers,
            thread,
            _state: state,
            deliveries: 0,
            ended: HashMap::new(),
            refused: 0,
            offsets: HashMap::new(),
        }
    }

    fn outlet(&self) -> &Outlet {
        self.outlet.as_ref().unwrap()
    }

    /// Delivers records of a stream; gives back the delivery's number.
    fn deliver(&mut self, stream: u8, count: u64) -> u64 {
        let mut chunk = Chunk::new(StreamId::default(), Position::default());
        let next = self.offsets.entry(stream).or_default();
        for _ in 0..count {
            let id = format!("{stream:032x}-{next:016x}-{:016x}", *next * 31);
            let record = format!(
                r#"{{"@timestamp":"2026-01-01T00:00:00Z","user":{{"name":"ann"}},"waybill":{{"id":"{id}","outcome":"deny","source":"s"}}}}"#
            );
            chunk.data.extend_from_slice(record.as_bytes());
            chunk.data.push(b'\n');
            *next += 1;
            chunk.push(&Position { offset: *next, seq: *next, ..Position::default() }, 1, false);
        }
        self.deliveries += 1;
        let outlet = self.outlet.as_ref().unwrap();
        let delivery = Delivery::new(1, self.deliveries, Arc::new(chunk), &outlet.gate, &Gate::default());
        outlet.deliveries.send(delivery).unwrap();
        self.deliveries
    }

    /// Takes in answers until every delivery ended.
    fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.ended.len() < self.deliveries as usize {
            let event = self.answers.recv_deadline(deadline).unwrap_or_else(|_| {
                let health = self.outlet().health.lock().unwrap().clone();
                panic!("{} of {} deliveries ended; {health:?}", self.ended.len(), self.deliveries)
            });
            let Event::Settled(settlement) = event else { continue };
            match settlement.fate {
                Fate::Records(records) => {
                    self.refused += records.iter().filter(|(_, f)| matches!(f, RecordFate::Refused(_))).count();
                }
                fate => _ = self.ended.insert(settlement.delivery, fate),
            }
        }
    }

    /// Waits until the sink says what is in the way.
    fn trouble(&self, part: &str, misconfigured: bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let health = self.outlet().health.lock().unwrap().clone();
            if health.trouble.as_ref().is_some_and(|t| t.contains(part)) && health.misconfigured == misconfigured {
                return;
            }
            assert!(Instant::now() < deadline, "{health:?}");
            std::thread::yield_now();
        }
    }

    /// The topic holds every record of every stream once, in order, each stream in one partition.
    fn check(&self) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster.bootstrap_servers())
            .set("group.id", "tests")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(TOPIC), PATIENCE).unwrap();
        let mut list = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            list.add_partition_offset(TOPIC, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let wanted: u64 = self.offsets.values().sum();
        let mut came: HashMap<String, Vec<(u64, i32)>> = HashMap::new();
        let (mut count, deadline) = (0, Instant::now() + PATIENCE);
        while count < wanted {
            assert!(Instant::now() < deadline, "{count} of {wanted} records were read back");
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.unwrap();
            let key = std::str::from_utf8(message.key().unwrap()).unwrap();
            let (stream, rest) = key.split_once('-').unwrap();
            let offset = u64::from_str_radix(rest.split_once('-').unwrap().0, 16).unwrap();
            came.entry(stream.to_owned()).or_default().push((offset, message.partition()));
            count += 1;
        }
        for (stream, records) in came {
            let partitions: BTreeSet<i32> = records.iter().map(|(_, p)| *p).collect();
            assert_eq!(partitions.len(), 1, "stream {stream}");
            let wrong = records.iter().enumerate().find(|(at, (offset, _))| *at as u64 != *offset);
            assert_eq!(wrong, None, "stream {stream}");
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.outlet = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the sink's thread fails the test, unless it has failed already.
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

#[test]
fn leaders_change_and_brokers_go_and_come() {
    let mut rig = Rig::new(3, 4);
    for round in 0..12_i32 {
        for stream in 0..5 {
            rig.deliver(stream, 100);
        }
        for partition in 0..4 {
            rig.cluster.partition_leader(TOPIC, partition, Some(1 + (round + partition) % 3)).unwrap();
        }
        if round % 4 == 1 {
            rig.cluster.broker_down(1 + round % 3).unwrap();
        }
        if round % 4 == 3 {
            (1..=3).for_each(|broker| rig.cluster.broker_up(broker).unwrap());
        }
        rig.deliver(6, 10);
    }
    rig.settle();
    assert_eq!(rig.refused, 0);
    rig.check();
}

#[test]
fn errors_that_pass_are_tried_again() {
    let mut rig = Rig::new(1, 1);
    rig.cluster.request_errors(
        RDKafkaApiKey::Produce,
        &[
            Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Error::RD_KAFKA_RESP_ERR__TRANSPORT,
            Error::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            Error::RD_KAFKA_RESP_ERR__TRANSPORT,
        ],
    );
    for stream in 0..3 {
        rig.deliver(stream, 1_000);
    }
    rig.settle();
    assert_eq!(rig.refused, 0);
    rig.check();
}

/// A sequence number that the broker did not expect ends an idempotent producer for good.
#[test]
fn a_fatal_producer_is_made_anew_from_what_has_no_report() {
    let mut rig = Rig::new(1, 1);
    rig.deliver(1, 500);
    rig.settle();
    let fatal = Error::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    for round in 0..2 {
        // As many as make it wait long enough to be seen waiting.
        rig.cluster.request_errors(RDKafkaApiKey::Produce, &[fatal; 5]);
        rig.deliver(1, 700);
        rig.deliver(2, 300);
        rig.trouble("topic audit", false);
        rig.settle();
        assert_eq!(rig.outlet().health.lock().unwrap().trouble, None, "round {round}");
    }
    assert_eq!(rig.refused, 0);
    rig.check();
}

/// As long as it lasts: what waits is sent as soon as one of the brokers leads again.
#[test]
fn all_brokers_lost_for_a_while_lose_nothing() {
    let mut rig = Rig::new(3, 4);
    for round in 0..2 {
        for stream in 0..5 {
            rig.deliver(stream, 200);
        }
        (1..=3).for_each(|broker| rig.cluster.broker_down(broker).unwrap());
        rig.deliver(round, 200);
        rig.trouble("", false);
        for partition in 0..4 {
            rig.cluster.partition_leader(TOPIC, partition, Some(2)).unwrap();
        }
        rig.cluster.broker_up(2).unwrap();
        rig.settle();
        (1..=3).for_each(|broker| rig.cluster.broker_up(broker).unwrap());
    }
    assert_eq!(rig.refused, 0);
    rig.check();
}

#[test]
fn a_batch_that_is_too_large_is_no_refusal_of_its_records() {
    let mut rig = Rig::new(1, 1);
    rig.cluster.request_errors(RDKafkaApiKey::Produce, &[Error::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 2]);
    rig.deliver(1, 2_000);
    rig.settle();
    assert_eq!(rig.refused, 0);
    rig.check();
}

#[test]
fn an_answer_about_rights_or_an_unknown_one_holds_and_refuses_nothing() {
    let errors = [
        (RDKafkaApiKey::Produce, Error::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "grant Write"),
        (RDKafkaApiKey::Produce, Error::RD_KAFKA_RESP_ERR_POLICY_VIOLATION, "policy"),
        (RDKafkaApiKey::Produce, Error::RD_KAFKA_RESP_ERR_SECURITY_DISABLED, "not known"),
        (RDKafkaApiKey::InitProducerId, Error::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "grant Write"),
    ];
    for (request, error, part) in errors {
        let mut rig = Rig::new(1, 1);
        rig.cluster.request_errors(request, &[error; 3]);
        rig.deliver(1, 500);
        rig.trouble(part, true);
        rig.settle();
        assert_eq!(rig.refused, 0, "{error:?}");
        assert_eq!(rig.outlet().health.lock().unwrap().trouble, None);
        rig.check();
    }
}

#[test]
fn what_a_switch_stops_leaves_no_more() {
    let mut rig = Rig::new(1, 1);
    rig.deliver(1, 10);
    rig.settle();
    rig.cluster.broker_down(1).unwrap();
    rig.deliver(1, 50);
    rig.trouble("", false);
    let thrown = Instant::now();
    rig.outlet().gate.shut();
    rig.settle();
    assert_eq!(rig.ended[&2], Fate::Recalled);
    assert!(thrown.elapsed() < Duration::from_secs(5), "{:?}", thrown.elapsed());
    // What is sent after it was lifted is all that comes.
    rig.cluster.broker_up(1).unwrap();
    rig.offsets.insert(1, 10);
    rig.deliver(1, 50);
    rig.settle();
    assert_eq!(rig.ended[&3], Fate::Acknowledged);
    rig.check();
}

#[test]
fn a_slow_cluster_and_a_sink_that_is_let_go() {
    let mut rig = Rig::new(1, 1);
    rig.cluster.broker_round_trip_time(1, Duration::from_millis(300)).unwrap();
    for _ in 0..5 {
        rig.deliver(1, 100);
    }
    rig.settle();
    rig.check();
    rig.cluster.broker_down(1).unwrap();
    rig.deliver(1, 100);
    let let_go = Instant::now();
    drop(rig);
    assert!(let_go.elapsed() < Duration::from_secs(10), "{:?}", let_go.elapsed());
}
