//! Amazon CloudWatch Logs.
//!
//! A record counts as delivered when the service took it and did not name it in `rejectedLogEventsInfo`. Every documented limit of a
//! request is kept ([`batch`]), and times are moved into what the service accepts beforehand ([`range`]). What it rejects all the same
//! is a dead letter, never forgotten. How to set it up is in `docs/sinks/cloudwatch.md`.

pub mod batch;
pub mod client;
pub mod name;
pub mod range;
pub mod rejected;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waybill_crds::CloudWatch;

use super::{Answer, Backoff, Context, Failure, PATIENCE, Parcel, Queue, View};
use crate::lane::Delivery;
use batch::Event;
use client::{Client, Denied, Group, Outcome};
use name::Names;
use range::{Range, Times};

/// Bytes of records taken at a time: a few requests.
const TAKE: usize = 4 << 20;
/// How long what the service accepts is taken as known.
const FRESH: Duration = Duration::from_secs(60);

/// Runs until the engine lets go of the sink.
pub fn run(mut queue: Queue, plan: &CloudWatch, context: &Context) {
    let mut sink = Sink {
        plan,
        context,
        names: Names::new(&plan.log_stream, &context.host),
        times: Times::default(),
        client: None,
        waiting: VecDeque::new(),
        loads: Vec::new(),
    };
    let mut backoff = Backoff::default();
    while let Some(batch) = queue.take(usize::MAX, sink.patience()) {
        sink.waiting.extend(batch);
        match sink.step(&mut queue) {
            Ok(()) => backoff.reset(),
            Err(failure) => {
                if failure.is_held() {
                    sink.client = None;
                }
                if !queue.wait(backoff.next(), &failure) {
                    return;
                }
            }
        }
    }
}

/// Looks for credentials and for the group, without delivering anything.
pub fn probe(plan: &CloudWatch) -> Result<String, Failure> {
    let client = Client::new(plan)?;
    let group = &plan.log_group;
    match client.describe() {
        Ok(Group::Missing) => Ok(format!("the log group {group} is missing and will be made (logs:CreateLogGroup)")),
        Ok(Group::Keeps(Some(days))) => Ok(format!("the log group {group} is there and keeps events for {days} days")),
        Ok(Group::Keeps(None)) => Ok(format!("the log group {group} is there and keeps events for ever")),
        Err(Denied::NoRight(failure) | Denied::Other(failure)) => Err(failure),
    }
}

/// Answers as (parcel, record, answer).
type Answers = Vec<(usize, u32, Answer)>;

/// A parcel, and for each record the log stream that it goes to and its time.
struct Load {
    parcel: Parcel,
    events: Vec<(Arc<str>, i64)>,
}

struct Sink<'a> {
    plan: &'a CloudWatch,
    context: &'a Context,
    names: Names,
    times: Times,
    client: Option<Client>,
    /// What the queue gave and is not looked at yet.
    waiting: VecDeque<Delivery>,
    /// What is under way.
    loads: Vec<Load>,
}

impl Sink<'_> {
    fn patience(&self) -> Duration {
        if self.waiting.is_empty() && self.loads.is_empty() { PATIENCE } else { Duration::ZERO }
    }

    /// Sends what is under way once. What has no answer then is still under way.
    fn step(&mut self, queue: &mut Queue) -> Result<(), Failure> {
        self.recall(queue);
        if self.waiting.is_empty() && self.loads.is_empty() {
            return Ok(());
        }
        // An error on the way may have left some that have all their answers.
        self.loads.retain(|load| !load.parcel.is_done());
        let range = self.range()?;
        let began = Instant::now();
        let mut bytes: usize = self.loads.iter().map(|load| load.parcel.delivery.chunk.data.len()).sum();
        while bytes < TAKE
            && let Some(delivery) = self.waiting.pop_front()
        {
            bytes += delivery.chunk.data.len();
            self.load(queue, delivery, &range);
        }
        let (streams, mut refused) = self.gather(&range);
        for (stream, events) in streams {
            for request in batch::divide(events) {
                let passes = |e: &Event| self.loads.get(e.parcel).is_some_and(|l| l.parcel.delivery.may_pass());
                let known = self.client.as_ref().is_some_and(Client::knows_retention);
                if began.elapsed() > FRESH || !known || !request.iter().all(passes) {
                    // Switches were thrown, or the range has moved on: the rest is gathered anew.
                    self.loads.retain(|load| !load.parcel.is_done());
                    return Ok(());
                }
                let mut answers = self.put(&stream, &request)?;
                if answers.iter().any(|(_, _, answer)| *answer == Answer::Acknowledged) {
                    queue.healthy();
                }
                answers.append(&mut refused);
                self.settle(queue, answers)?;
            }
        }
        self.settle(queue, refused)?;
        self.loads.retain(|load| !load.parcel.is_done());
        Ok(())
    }

    fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::new(self.plan)?,
        };
        Ok(self.client.insert(client))
    }

    fn range(&mut self) -> Result<Range, Failure> {
        let retention = self.client()?.retention()?;
        Ok(Range::at(now_millis(), retention))
    }

    /// Gives each record of a delivery its log stream and its time, once and for all.
    fn load(&mut self, queue: &mut Queue, delivery: Delivery, range: &Range) {
        let parcel = Parcel::new(delivery.clone());
        if parcel.is_done() {
            // Rules left nothing of it.
            queue.acknowledge(&[delivery]);
            return;
        }
        let chunk = Arc::clone(&delivery.chunk);
        let mut shared: BTreeMap<String, Arc<str>> = BTreeMap::new();
        let mut events = Vec::with_capacity(chunk.records.len());
        for (index, record) in chunk.records.iter().enumerate() {
            if record.dropped {
                events.push((Arc::from(""), 0));
                continue;
            }
            let view = View::of(chunk.encoded(index));
            let source = view.as_ref().map(|v| v.source.as_ref()).unwrap_or_default();
            let name = self.names.name(source, view.as_ref().and_then(|v| v.hub.as_deref()));
            let name = shared.entry(name).or_insert_with_key(|name| Arc::from(name.as_str()));
            let time = view.as_ref().and_then(View::millis).unwrap_or_else(now_millis);
            events.push((Arc::clone(name), self.times.next(chunk.stream, time, range, self.plan.out_of_range)));
        }
        self.loads.push(Load { parcel, events });
    }

    fn recall(&mut self, queue: &mut Queue) {
        self.waiting.retain(|delivery| queue.passes(delivery));
        self.loads.retain(|load| queue.passes(&load.parcel.delivery));
    }

    /// What is open, by log stream, and what cannot be delivered at all.
    fn gather(&self, range: &Range) -> (BTreeMap<Arc<str>, Vec<Event>>, Answers) {
        let (mut open, mut refused) = (BTreeMap::<Arc<str>, Vec<Event>>::new(), Vec::new());
        for (parcel, load) in self.loads.iter().enumerate() {
            for index in load.parcel.open() {
                let Some((stream, time)) = load.events.get(index) else { continue };
                let payload = load.parcel.delivery.chunk.payload(index, self.context.encoding);
                // The service takes text alone: what is not UTF-8 in a line of encoding Original becomes U+FFFD.
                let message = String::from_utf8_lossy(payload).into_owned();
                let record = index as u32;
                let fault = match range.admit(*time, self.plan.out_of_range) {
                    _ if message.len() > batch::MOST_MESSAGE => Some(format!(
                        "it takes {} bytes, and CloudWatch Logs takes {} at most",
                        message.len(),
                        batch::MOST_MESSAGE
                    )),
                    Ok(time) => {
                        open.entry(Arc::clone(stream)).or_default().push(Event { time, message, parcel, record });
                        None
                    }
                    Err(fault) => Some(fault.to_owned()),
                };
                refused.extend(fault.map(|reason| (parcel, record, Answer::Refused(reason))));
            }
        }
        (open, refused)
    }

    /// Sends one request; makes group and stream if they are missing.
    fn put(&mut self, stream: &str, request: &[Event]) -> Result<Answers, Failure> {
        let client = self.client()?;
        let mut outcome = client.put(stream, request)?;
        if outcome == Outcome::Missing {
            client.make(stream)?;
            outcome = client.put(stream, request)?;
        }
        let Outcome::Taken(rejected) = outcome else {
            return Err(Failure::again(format!("the log stream {stream} is made and not there yet")));
        };
        if rejected.expired_to.is_some() {
            // Someone has shortened what the group keeps: what follows is moved into that.
            client.forget_retention();
        }
        let answer = |(index, event): (usize, &Event)| {
            let answer = rejected.reason(index).map_or(Answer::Acknowledged, |why| Answer::Refused(why.to_owned()));
            (event.parcel, event.record, answer)
        };
        Ok(request.iter().enumerate().map(answer).collect())
    }

    /// Hands answers over.
    fn settle(&mut self, queue: &mut Queue, answers: Answers) -> Result<(), Failure> {
        let mut parcels: Vec<Parcel> = self.loads.iter().map(|load| load.parcel.clone()).collect();
        let settled = queue.settle(&mut parcels, answers);
        for (load, parcel) in self.loads.iter_mut().zip(parcels) {
            load.parcel = parcel;
        }
        settled
    }
}

fn now_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
