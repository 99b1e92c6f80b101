//! A topic of Apache Kafka.
//!
//! The producer is idempotent, waits for all in-sync replicas and never gives a message up by itself, so a record counts as
//! delivered when the broker's report says so. What the producer holds is bounded; when it is full, the deliveries wait in the
//! engine and the records in their files. A producer that fails, hangs, or has to let go of what a kill switch stopped is made anew,
//! and everything without a report goes again, in order and under the same ids.

mod config;
mod diagnose;
mod events;
mod explain;
mod log;
mod message;
mod placement;
mod probe;
mod producer;
#[cfg(test)]
mod tests;
mod window;

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use rdkafka::error::RDKafkaErrorCode;
use waybill_crds::Kafka;

use super::{Answer, Backoff, Context, Failure, PATIENCE, Queue};
use message::Message;
pub use probe::probe;
use producer::{Producer, Refusal};
use window::Window;

/// Bytes of messages that the producer holds at most; a single message may be larger.
const WINDOW_BYTES: usize = 16 << 20;
/// Messages that the producer holds at most.
const WINDOW_MESSAGES: usize = 20_000;
/// How long to wait for reports at a time, and how long while none come.
const POLL: Duration = Duration::from_millis(10);
const SLOW_POLL: Duration = Duration::from_millis(50);
/// How often the files of the secrets are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long reports of requests that are on their way are waited for before the producer is let go.
const GRACE: Duration = Duration::from_secs(1);
/// How long an error that may pass by itself is not spoken of.
const HOPE: Duration = Duration::from_secs(2);
/// A producer that reports nothing for so long …
const STUCK: Duration = Duration::from_secs(300);
/// … and has not even complained for so long hangs. It complains of an unreachable broker every 30 s.
const SILENT: Duration = Duration::from_secs(90);
/// How often the brokers are looked at while the library does not say why nothing is taken.
const WONDER: Duration = Duration::from_secs(30);
/// Bytes of messages in one batch: a little less than what a topic takes by default.
const BATCH: usize = 1_000_000;

/// Runs until the engine lets go of the sink.
pub fn run(queue: Queue, settings: Kafka, context: Context) {
    let now = Instant::now();
    let mut shipping = Shipping {
        queue,
        settings,
        context,
        window: Window::default(),
        producer: None,
        batch: BATCH,
        backoff: Backoff::default(),
        cautious: false,
        explained: false,
        wondered: None,
        diagnosis: None,
        looked: now,
        renewal: None,
        progress: now,
        complained: now,
        pending: None,
    };
    while shipping.turn() {}
}

/// One sink at work.
struct Shipping {
    queue: Queue,
    settings: Kafka,
    context: Context,
    window: Window,
    producer: Option<Producer>,
    /// The producer's largest batch of several messages, in bytes; a larger message goes alone.
    batch: usize,
    backoff: Backoff,
    /// Nothing was taken since the last failure: one message at a time until something is.
    cautious: bool,
    /// Since the last message that was taken, the producer named a cause.
    explained: bool,
    /// When the brokers were last looked at.
    wondered: Option<Instant>,
    /// What is found out of them.
    diagnosis: Option<Receiver<Option<Failure>>>,
    looked: Instant,
    /// The secrets changed: a new producer takes over as soon as this one owes nothing, or at this instant.
    renewal: Option<Instant>,
    /// When the last report came, or when the window began to fill.
    progress: Instant,
    /// When the producer last complained.
    complained: Instant,
    /// What the producer complained of last, if nobody was told yet.
    pending: Option<Failure>,
}

impl Shipping {
    /// One round: take, recall, send, hear. `false`: the sink is not wanted any more.
    fn turn(&mut self) -> bool {
        if !self.take() {
            return false;
        }
        self.recall();
        if let Err(failure) = self.renew() {
            tracing::warn!(sink = self.context.name, "the new secrets cannot be used, the old ones stay: {failure}");
        }
        if self.window.is_empty() {
            if let Some(producer) = &self.producer {
                producer.poll(Duration::ZERO);
                // A connection that the broker closed because it was idle is nobody's trouble.
                let _idle = producer.complaint();
            }
            self.progress = Instant::now();
            return true;
        }
        match self.ship() {
            Ok(()) => true,
            Err(failure) => self.start_over(&failure),
        }
    }

    /// Takes deliveries if there is room for them.
    fn take(&mut self) -> bool {
        if !self.window.is_sent() || self.window.bytes() >= WINDOW_BYTES {
            return self.queue.is_wanted();
        }
        let patience = if self.window.is_empty() { PATIENCE } else { Duration::ZERO };
        let Some(deliveries) = self.queue.take(WINDOW_BYTES - self.window.bytes(), patience) else { return false };
        for delivery in deliveries {
            if let Some(nothing_kept) = self.window.push(delivery) {
                self.queue.acknowledge(&[nothing_kept]);
            }
        }
        true
    }

    /// Gives back what may not pass any more.
    fn recall(&mut self) {
        if !self.window.has_stopped() {
            return;
        }
        if self.window.flying() > 0 {
            self.withdraw();
        }
        for delivery in self.window.remove_stopped() {
            self.queue.recall(&delivery);
        }
    }

    /// Takes new secrets into use.
    fn renew(&mut self) -> Result<(), Failure> {
        let Some(producer) = &mut self.producer else { return Ok(()) };
        if let Some(deadline) = self.renewal {
            if self.window.flying() == 0 || self.pending.is_some() || Instant::now() >= deadline {
                self.withdraw();
            }
            return Ok(());
        }
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let stamp = config::stamp(&self.settings, &self.context);
        if stamp != producer.stamp {
            producer.stamp = stamp;
            config::client(&self.settings, &self.context, self.batch)?;
            tracing::info!(sink = self.context.name, "secrets changed: connecting anew");
            let troubled = self.cautious || self.progress.elapsed() >= HOPE;
            self.renewal = Some(Instant::now() + if troubled { Duration::ZERO } else { 5 * GRACE });
        }
        Ok(())
    }

    /// Sends what there is room for, and hears what the producer has to say.
    fn ship(&mut self) -> Result<(), Failure> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => Producer::new(&self.settings, &self.context, self.batch)?,
        };
        let producer = self.producer.insert(producer);
        if self.renewal.is_none() {
            fill(&mut self.queue, &mut self.window, producer, &self.context, &self.settings, self.cautious)?;
        }
        producer.poll(if self.progress.elapsed() < HOPE { POLL } else { SLOW_POLL });
        self.hear()?;
        self.watch()
    }

    /// Takes in the reports that have come.
    fn hear(&mut self) -> Result<(), Failure> {
        let Some(producer) = &self.producer else { return Ok(()) };
        let reports = producer.reports();
        if reports.is_empty() {
            return Ok(());
        }
        let mut answers = Vec::with_capacity(reports.len());
        let (mut taken, mut failure, mut too_large) = (false, None, false);
        for report in reports {
            let place = self.window.landed(&report.tag);
            match report.error {
                None => {
                    taken = true;
                    answers.extend(place.map(|(parcel, record)| (parcel, record, Answer::Acknowledged)));
                }
                Some(code) if explain::is_too_large(code) => {
                    if report.tag.size > self.batch {
                        let reason = format!("too large for the topic: {} bytes ({code})", report.tag.size);
                        answers.extend(place.map(|(parcel, record)| (parcel, record, Answer::Refused(reason))));
                    } else {
                        too_large = true;
                    }
                }
                // They follow a fatal error, which is looked at by itself.
                Some(
                    RDKafkaErrorCode::PurgeQueue
                    | RDKafkaErrorCode::PurgeInflight
                    | RDKafkaErrorCode::Fatal
                    | RDKafkaErrorCode::GaplessGuarantee,
                ) => {}
                Some(code) => {
                    failure.get_or_insert_with(|| explain::code(code, &self.settings));
                }
            }
        }
        if !answers.is_empty() {
            self.progress = Instant::now();
        }
        self.queue.settle(self.window.parcels(), answers)?;
        self.window.remove_done();
        if taken {
            self.queue.healthy();
            self.backoff.reset();
            self.cautious = false;
            self.explained = false;
            self.pending = None;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if too_large {
            // A batch was refused, not a record. In smaller batches what is larger than they are stands alone.
            self.batch = (self.batch / 4).max(1);
            tracing::info!(
                sink = self.context.name,
                bytes = self.batch,
                "the topic takes smaller batches only: sending less at once"
            );
            self.withdraw();
        }
        Ok(())
    }

    /// Looks after a producer that does not get on.
    fn watch(&mut self) -> Result<(), Failure> {
        let Some(producer) = &self.producer else { return Ok(()) };
        match producer.fatal() {
            None => {}
            // A record was refused; those behind it were not sent, so that they keep their order.
            Some((RDKafkaErrorCode::GaplessGuarantee, _)) => {
                self.withdraw();
                return Ok(());
            }
            Some((code, text)) => return Err(explain::fatal(code, &text, &self.settings)),
        }
        if self.window.flying() == 0 {
            return Ok(());
        }
        let complaint = producer.complaint();
        if complaint.is_some() {
            self.complained = Instant::now();
        }
        // This one follows whatever brought down the last connection, which was told and says more.
        let follows = |code| code == RDKafkaErrorCode::AllBrokersDown;
        if let Some(complaint) = complaint.filter(|c| !(self.explained && follows(c.code))) {
            self.explained = !follows(complaint.code);
            let failure = explain::complaint(&complaint, &self.settings, &self.context.secrets);
            if failure.is_held() {
                self.queue.trouble(&failure);
            }
            self.pending = Some(failure);
        }
        if !self.explained && self.progress.elapsed() >= HOPE {
            self.wonder();
        }
        if self.progress.elapsed() >= HOPE
            && let Some(failure) = self.pending.take_if(|f| !f.is_held())
        {
            self.queue.trouble(&failure);
        }
        if self.progress.elapsed() >= STUCK && self.complained.elapsed() >= SILENT {
            return Err(Failure::again(format!(
                "no report came for {} s although the brokers are there; the producer is made anew",
                STUCK.as_secs()
            )));
        }
        Ok(())
    }

    /// Has the brokers looked at, now and then, in a thread of its own: a broker that does not answer may not keep a kill switch waiting.
    fn wonder(&mut self) {
        if let Some(found) = self.diagnosis.as_ref().and_then(|diagnosis| diagnosis.try_recv().ok()) {
            self.diagnosis = None;
            if let Some(failure) = found {
                self.explained = true;
                self.queue.trouble(&failure);
                self.pending = None;
            }
        } else if self.wondered.is_none_or(|at| at.elapsed() >= WONDER) {
            self.wondered = Some(Instant::now());
            let (sender, receiver) = bounded(1);
            let (settings, secrets) = (self.settings.clone(), self.context.secrets.clone());
            let started = std::thread::Builder::new()
                .name("diagnosis".into())
                // If the sink is gone by then, nobody wants to know.
                .spawn(move || sender.send(diagnose::brokers(&settings, &secrets)).is_ok());
            self.diagnosis = started.is_ok().then_some(receiver);
        }
    }

    /// Lets go of the producer. What it reported by then is settled, everything else is to be sent again.
    fn withdraw(&mut self) {
        self.renewal = None;
        let Some(producer) = self.producer.take() else { return };
        let deadline = Instant::now() + GRACE;
        let mut reports = producer.reports();
        loop {
            // Every time: a request behind a refused one is queued again to be repeated, but its records may not overtake the refused.
            producer.purge_queued();
            producer.poll(POLL);
            reports.extend(producer.reports());
            if reports.len() >= self.window.flying() || Instant::now() >= deadline {
                break;
            }
        }
        producer.purge_all();
        producer.poll(Duration::ZERO);
        reports.extend(producer.reports());
        drop(producer);
        let mut answers = Vec::new();
        for report in reports.into_iter().filter(|r| r.error.is_none()) {
            answers.extend(self.window.landed(&report.tag).map(|(p, record)| (p, record, Answer::Acknowledged)));
        }
        // Acknowledgements alone can't fail.
        let _settled = self.queue.settle(self.window.parcels(), answers);
        self.window.remove_done();
        self.window.rewind();
        self.progress = Instant::now();
    }

    /// Says what went wrong, waits, and begins anew from what has no report. `false`: the sink is not wanted any more.
    fn start_over(&mut self, failure: &Failure) -> bool {
        self.withdraw();
        self.window.rewind();
        self.cautious = true;
        self.pending = None;
        self.queue.wait(self.backoff.next(), failure)
    }
}

/// Hands the producer what there is room for.
fn fill(
    queue: &mut Queue,
    window: &mut Window,
    producer: &Producer,
    context: &Context,
    settings: &Kafka,
    cautious: bool,
) -> Result<(), Failure> {
    let messages = if cautious { 1 } else { WINDOW_MESSAGES };
    let mut refused = Vec::new();
    while window.flying() < messages && window.bytes() < WINDOW_BYTES {
        let Some((parcel, record)) = window.next() else { break };
        let Some(delivery) = window.delivery(parcel) else { break };
        let chunk = &delivery.chunk;
        let Some(message) = Message::of(chunk, record, context.encoding, settings.partition_by) else {
            refused.push((parcel, record as u32, Answer::Refused("does not parse as a record of ours".to_owned())));
            window.skip();
            continue;
        };
        let tag = window.tag(parcel, record, message.size());
        match producer.send(&settings.topic, message, tag) {
            Ok(()) => window.sent(tag),
            Err(Refusal::Full) => break,
            Err(Refusal::TooLarge) => {
                let reason = format!("too large for any broker: {} bytes", tag.size);
                refused.push((parcel, record as u32, Answer::Refused(reason)));
                window.skip();
            }
            Err(Refusal::Code(code)) => return Err(explain::code(code, settings)),
        }
    }
    if !refused.is_empty() {
        queue.settle(window.parcels(), refused)?;
        window.remove_done();
    }
    Ok(())
}
