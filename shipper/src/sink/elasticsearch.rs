//! A data stream of Elasticsearch 8 and 9 or OpenSearch 2 and 3, by `_bulk` with `create`.
//!
//! Each record's `_id` is its record id, so that a repeat finds it there already: within one backing index the server sees to that, and
//! [`previous`] sees to it across a rollover. Requests go out in waves of a few; each item of an answer is judged on its own
//! ([`answer`]), and what has no final answer stays in its batch and goes again.

mod answer;
mod bulk;
mod client;
mod previous;
mod probe;
mod product;
mod setup;
mod template;
mod trouble;

use std::time::{Duration, Instant};

use futures::future::join_all;
use waybill_crds::Elasticsearch;

use super::{Answer, Backoff, Context, Failure, PATIENCE, Parcel, Queue, Stamp};
use bulk::Limit;
use client::Client;
use previous::Previous;
pub use probe::probe;
pub use setup::setup;

/// Bytes of encoded records that a batch takes from the queue.
const BATCH: usize = 4 << 20;
/// Requests under way at once.
const WAVE: usize = 4;
/// A lane that has nothing to do so long after its first delivery has caught up with what was under way before.
const EARLY: Duration = Duration::from_secs(60);

/// Deliveries that are sent together until each of their records is settled.
struct Batch {
    parcels: Vec<Parcel>,
    /// It may be in the data stream already: an earlier request had no answer, or an earlier run of the agent may have sent it.
    suspect: bool,
    /// The backing index that was written to before the first request with this batch.
    index: Option<String>,
}

/// What a request with a part of a batch came to.
#[derive(Default)]
struct Outcome {
    answers: Vec<(usize, u32, Answer)>,
    failure: Option<Failure>,
    /// The failure concerns the whole request: another endpoint may do better.
    whole: bool,
    /// The server may have done something that it did not tell of.
    unknown: bool,
    /// Bytes of the request's records, and whether they were too many.
    size: usize,
    too_large: bool,
    /// The backing index that was written to.
    index: Option<String>,
}

/// The sink's state between waves.
struct Sink<'a> {
    config: &'a Elasticsearch,
    context: &'a Context,
    client: Option<(Client, Stamp)>,
    batches: Vec<Batch>,
    limit: Limit,
    previous: Previous,
    /// What comes may have been sent by an earlier run of the agent.
    early: Option<Early>,
    /// The backing index that was written to last.
    index: Option<String>,
}

/// The time in which records come again that an earlier run had under way, or that a kill switch called back: no more bytes than the
/// limit allows, and no longer than until the lane has caught up.
#[derive(Clone, Copy, Default)]
struct Early {
    /// When the first came.
    since: Option<Instant>,
    taken: usize,
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| Failure::again(format!("the sink cannot start: {error}")))
}

/// Runs until the engine lets go of the sink.
pub fn run(mut queue: Queue, config: &Elasticsearch, context: &Context) {
    let mut backoff = Backoff::default();
    let runtime = loop {
        match runtime() {
            Ok(runtime) => break runtime,
            Err(failure) => {
                if !queue.wait(backoff.next(), &failure) {
                    return;
                }
            }
        }
    };
    let mut sink = Sink {
        config,
        context,
        client: None,
        batches: Vec::new(),
        limit: Limit::new(BATCH),
        previous: Previous::default(),
        early: Some(Early::default()),
        index: None,
    };
    let mut missed = 0;
    let mut width = WAVE;
    while sink.fill(&mut queue) {
        if sink.batches.is_empty() {
            continue;
        }
        let wave = runtime.block_on(sink.wave(width));
        let (failure, whole) = match wave {
            Ok(outcomes) => {
                let taken = |outcome: &Outcome| outcome.answers.iter().any(|(_, _, a)| *a == Answer::Acknowledged);
                if outcomes.iter().any(taken) {
                    backoff.reset();
                }
                sink.settle(&mut queue, outcomes)
            }
            Err(failure) => (Some(failure), false),
        };
        let Some(failure) = failure else {
            (missed, width) = (0, WAVE);
            queue.healthy();
            backoff.reset();
            continue;
        };
        // One request at a time until it works again, and the next endpoint at once if there is another.
        width = 1;
        missed = if whole { missed + 1 } else { 0 };
        if whole && missed % config.endpoints.len() != 0 {
            queue.trouble(&failure);
        } else if !queue.wait(backoff.next(), &failure) {
            return;
        }
    }
}

impl Sink<'_> {
    /// Takes what there is. `false`: nothing is wanted any more.
    fn fill(&mut self, queue: &mut Queue) -> bool {
        self.batches.retain_mut(|batch| {
            batch.parcels.retain(|parcel| {
                let passes = queue.passes(&parcel.delivery);
                if !passes && batch.suspect {
                    self.early = Some(Early::default());
                }
                passes
            });
            !batch.parcels.is_empty()
        });
        while self.batches.len() < WAVE {
            let patience = if self.batches.is_empty() { PATIENCE } else { Duration::ZERO };
            let Some(deliveries) = queue.take(BATCH, patience) else { return !self.batches.is_empty() };
            if deliveries.is_empty() {
                let since = self.early.and_then(|early| early.since);
                if self.batches.is_empty() && since.is_some_and(|since| since.elapsed() > EARLY) {
                    self.early = None;
                }
                break;
            }
            let suspect = self.early.is_some();
            if let Some(early) = &mut self.early {
                early.since.get_or_insert_with(Instant::now);
                early.taken += deliveries.iter().map(|d| d.chunk.data.len()).sum::<usize>();
                if early.taken > self.context.in_flight {
                    self.early = None;
                }
            }
            let (done, parcels): (Vec<_>, Vec<_>) = deliveries.into_iter().map(Parcel::new).partition(Parcel::is_done);
            done.iter().for_each(|parcel| queue.acknowledge(std::slice::from_ref(&parcel.delivery)));
            if !parcels.is_empty() {
                self.batches.push(Batch { parcels, suspect, index: None });
            }
        }
        true
    }

    /// Sends a part of each of the first batches. An error: there is no connection to send over.
    async fn wave(&mut self, width: usize) -> Result<Vec<Outcome>, Failure> {
        let stamp = client::stamp(self.config, &self.context.secrets);
        if self.client.as_ref().is_none_or(|(_, made_of)| *made_of != stamp) {
            self.client = None;
            self.previous = Previous::default();
        }
        let (client, _) = match self.client.take() {
            Some(made) => self.client.insert(made),
            None => self.client.insert((Client::new(self.config, &self.context.secrets)?, stamp)),
        };
        let mut outcomes = Vec::new();
        for batch in self.batches.iter_mut().take(width) {
            if batch.index.is_none() && !batch.suspect {
                batch.index.clone_from(&self.index);
            }
        }
        let requests = self.batches.iter().take(width).map(|b| send(client, &self.previous, &self.limit, b));
        outcomes.extend(join_all(requests).await);
        if outcomes.iter().any(|o| o.whole) && !outcomes.iter().any(|o| o.failure.is_none()) {
            client.next_endpoint();
        }
        Ok(outcomes)
    }

    /// Takes in what a wave came to: the gravest failure, and whether another endpoint may do better.
    fn settle(&mut self, queue: &mut Queue, outcomes: Vec<Outcome>) -> (Option<Failure>, bool) {
        let mut worst: Option<Failure> = None;
        let mut whole = true;
        for (batch, outcome) in self.batches.iter_mut().zip(outcomes) {
            if outcome.too_large {
                self.limit.refused(outcome.size);
            } else if outcome.failure.is_none() {
                self.limit.passed();
            }
            batch.suspect |= outcome.unknown;
            if let Some(index) = outcome.index {
                let stream = &self.config.data_stream;
                // Without a template a server makes a plain index: records are in it, but nothing rolls it over or removes them.
                if index == *stream && self.index.as_ref() != Some(stream) {
                    tracing::warn!(
                        "{stream} is an index, not a data stream: run `waybill setup`, and move what it holds"
                    );
                }
                self.index = Some(index);
            }
            let settled = queue.settle(&mut batch.parcels, outcome.answers);
            whole &= outcome.whole || outcome.failure.is_none();
            for failure in [outcome.failure, settled.err()].into_iter().flatten() {
                if worst.as_ref().is_none_or(|w| failure.is_held() && !w.is_held()) {
                    worst = Some(failure);
                }
            }
            batch.parcels.retain(|parcel| !parcel.is_done());
        }
        self.batches.retain(|batch| !batch.parcels.is_empty());
        let whole = whole && worst.is_some();
        (worst, whole)
    }
}

/// Sends a part of a batch, as much as a request may hold, and judges the answer.
async fn send(client: &Client, previous: &Previous, limit: &Limit, batch: &Batch) -> Outcome {
    let mut part = bulk::Part::of(&batch.parcels, limit.bytes());
    let mut outcome = Outcome::default();
    if batch.suspect {
        match previous.find(client, &part, batch.index.as_deref()).await {
            Ok(found) => outcome.answers.extend(part.take(&found).map(|(p, r)| (p, r, Answer::Acknowledged))),
            Err(failure) => return Outcome { failure: Some(failure), whole: true, ..Outcome::default() },
        }
    }
    outcome.answers.append(&mut part.refused);
    outcome.size = part.size;
    if part.items.is_empty() {
        return outcome;
    }
    let body = match part.body(&batch.parcels) {
        Ok(body) => body,
        Err(error) => {
            outcome.failure = Some(Failure::again(format!("a request cannot be compressed: {error}")));
            return outcome;
        }
    };
    // A switch may have been thrown while it was looked for. What is stopped is called back before the next wave.
    if !part.items.iter().all(|item| batch.parcels.get(item.parcel).is_some_and(|p| p.delivery.may_pass())) {
        return outcome;
    }
    match client.bulk(body).await {
        Err(broken) => {
            outcome.unknown = broken.unknown;
            outcome.failure = Some(broken.failure);
            outcome.whole = true;
        }
        Ok(reply) if reply.status == 413 => {
            outcome.too_large = true;
            if let [item] = part.items.as_slice() {
                let size = outcome.size;
                let reason = format!("413: the server takes no record of {size} bytes");
                outcome.answers.push((item.parcel, item.record, Answer::Refused(reason)));
            }
        }
        Ok(reply) if reply.status == 200 => answer::judge(client, &reply, &part, &mut outcome),
        Ok(reply) => {
            outcome.unknown = reply.status >= 500 || reply.status == 408;
            outcome.failure = Some(client.trouble(&reply));
            outcome.whole = true;
        }
    }
    outcome
}
