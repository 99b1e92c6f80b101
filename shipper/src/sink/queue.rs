//! The deliveries that wait for a sink which works in a thread of its own, and the sink's answers.
//!
//! A sink takes deliveries, sends them, and either acknowledges them whole or [`settle`](Queue::settle)s them record by record. What it
//! cannot deliver it puts back with the reason. Refused records become dead letters here, and letters that someone wants sent again
//! come in between as deliveries like any other.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};

use super::{Answer, Failure, Parcel};
use crate::engine::Event;
use crate::lane::chunk::Chunk;
use crate::lane::{Delivery, Fate, Gate, Health, Outlet, RecordFate, Settlement};
use crate::state::StreamId;
use crate::state::dead_letter::{self, DeadLetters, Letter, Letters, Retry};
use crate::state::entry::Position;

/// How long a sink waits for a delivery before it looks after other things.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// Refusals without one success after which a lane holds: it is not the records that are wrong then.
const REFUSALS: u32 = 100;
/// How often a trouble that does not change is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// How often a request to send letters again is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of letters that go out again at a time.
const AGAIN: usize = 1 << 20;
/// Deliveries of letters have numbers from here on; the engine's never get there.
const LOCAL: u64 = 1 << 63;

/// The sink's end of a lane.
pub struct Queue {
    name: String,
    state_dir: PathBuf,
    deliveries: Receiver<Delivery>,
    waiting: VecDeque<Delivery>,
    answers: Sender<Event>,
    health: Arc<Mutex<Health>>,
    gate: Gate,
    letters_gate: Gate,
    closed: bool,
    letters: Option<DeadLetters>,
    /// Refusals since the last success.
    refused: u32,
    again: Option<Again>,
    looked: Option<Instant>,
    next_local: u64,
    logged: Option<(String, Instant)>,
}

/// Letters on their way again.
struct Again {
    retry: Retry,
    letters: Letters,
    all_read: bool,
    under_way: HashSet<u64>,
}

impl Queue {
    /// The two ends, for the sink of that name and for the engine. Dead letters are kept below `state_dir`.
    pub fn new(name: &str, state_dir: PathBuf, answers: Sender<Event>) -> (Self, Outlet) {
        let (sender, deliveries) = unbounded();
        let health = Arc::new(Mutex::new(Health::default()));
        let (gate, letters_gate) = (Gate::default(), Gate::default());
        // The engine knows the switches, and has not looked yet.
        letters_gate.hold(true);
        let outlet = Outlet {
            deliveries: sender,
            health: Arc::clone(&health),
            gate: gate.clone(),
            letters: letters_gate.clone(),
        };
        let queue = Self {
            name: name.to_owned(),
            state_dir,
            deliveries,
            waiting: VecDeque::new(),
            answers,
            health,
            gate,
            letters_gate,
            closed: false,
            letters: None,
            refused: 0,
            again: None,
            looked: None,
            next_local: LOCAL,
            logged: None,
        };
        (queue, outlet)
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a sink tells what is no answer to a delivery.
    pub fn answers(&self) -> Sender<Event> {
        self.answers.clone()
    }

    /// Takes what there is, up to `bytes`; waits for the first if there is none. `None`: the engine let go of the sink.
    pub fn take(&mut self, bytes: usize, patience: Duration) -> Option<Vec<Delivery>> {
        self.take_letters();
        if self.waiting.is_empty() && !self.closed {
            match self.deliveries.recv_timeout(patience) {
                Ok(delivery) => self.waiting.push_back(delivery),
                Err(RecvTimeoutError::Timeout) => return Some(Vec::new()),
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
        }
        self.waiting.extend(self.deliveries.try_iter());
        if self.waiting.is_empty() && self.closed {
            return None;
        }
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some(next) = self.waiting.front() {
            if !next.may_pass() {
                let (lane, id) = (next.lane(), next.id);
                self.waiting.pop_front();
                self.answer(lane, id, Fate::Recalled);
                continue;
            }
            size += next.chunk.data.len();
            if size > bytes && !taken.is_empty() {
                break;
            }
            taken.extend(self.waiting.pop_front());
        }
        Some(taken)
    }

    /// Takes in what came meanwhile, without waiting, and says whether the sink is still wanted.
    pub fn is_wanted(&mut self) -> bool {
        loop {
            match self.deliveries.try_recv() {
                Ok(delivery) => self.waiting.push_back(delivery),
                Err(TryRecvError::Empty) => return !self.closed,
                Err(TryRecvError::Disconnected) => {
                    self.closed = true;
                    return false;
                }
            }
        }
    }

    /// Puts back what could not be delivered, says what is in the way, waits, and says whether the sink is still wanted.
    pub fn retry(&mut self, deliveries: Vec<Delivery>, after: Duration, failure: &Failure) -> bool {
        for delivery in deliveries.into_iter().rev() {
            self.waiting.push_front(delivery);
        }
        self.wait(after, failure)
    }

    /// The same for a sink that keeps its parcels itself.
    pub fn wait(&mut self, after: Duration, failure: &Failure) -> bool {
        self.trouble(failure);
        let deadline = Instant::now() + after;
        loop {
            match self.deliveries.recv_deadline(deadline) {
                Ok(delivery) => self.waiting.push_back(delivery),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => {
                    self.closed = true;
                    return false;
                }
            }
        }
    }

    /// Says what is in the way: in the health at once, in the log when it changes and now and then.
    pub fn trouble(&mut self, failure: &Failure) {
        let text = failure.to_string();
        let now = Instant::now();
        if !self.logged.as_ref().is_some_and(|(told, at)| *told == text && now.duration_since(*at) < LOG_EVERY) {
            if failure.is_held() {
                tracing::error!(sink = self.name, "the lane is held, nothing is lost: {text}");
            } else {
                tracing::warn!(sink = self.name, "failed to deliver; it is tried again: {text}");
            }
            self.logged = Some((text.clone(), now));
        }
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.retries += 1;
        health.trouble = Some(text);
        health.misconfigured = failure.is_held();
        health.awaits_restart = failure.awaits_restart();
    }

    /// The deliveries are where they belong.
    pub fn acknowledge(&mut self, deliveries: &[Delivery]) {
        if !deliveries.is_empty() {
            self.refused = 0;
        }
        for delivery in deliveries {
            self.answer(delivery.lane(), delivery.id, Fate::Acknowledged);
        }
    }

    /// Whether a delivery that a sink keeps may still go out; if not, it is given back.
    pub fn passes(&mut self, delivery: &Delivery) -> bool {
        let passes = delivery.may_pass();
        if !passes {
            self.recall(delivery);
        }
        passes
    }

    /// A delivery was stopped before it went out, or its outcome will never be known: it goes again if it may.
    pub fn recall(&mut self, delivery: &Delivery) {
        self.answer(delivery.lane(), delivery.id, Fate::Recalled);
    }

    /// Takes in answers as (parcel, record, answer). Refused records are dead letters before this returns. An error means that the
    /// refusals could not be taken in: those records stay open, and are to be tried again after the trouble was told.
    ///
    /// Refusals beside a success are the records' fault, however many. Without one, too many of them are the destination's.
    pub fn settle(&mut self, parcels: &mut [Parcel], answers: Vec<(usize, u32, Answer)>) -> Result<(), Failure> {
        let mut fates: Vec<Vec<(u32, RecordFate)>> = vec![Vec::new(); parcels.len()];
        let mut refusals = Vec::new();
        let mut taken = false;
        for (parcel, record, answer) in answers {
            match answer {
                Answer::Acknowledged => {
                    if parcels.get_mut(parcel).is_some_and(|p| p.close(record)) {
                        taken = true;
                        fates[parcel].push((record, RecordFate::Acknowledged));
                    }
                }
                Answer::Refused(reason) => refusals.push((parcel, record, reason)),
            }
        }
        if taken {
            self.refused = 0;
            // Should they not be kept now, they come alone the next time, and are no more the destination's fault than today.
            for (parcel, _, _) in &refusals {
                parcels.get_mut(*parcel).into_iter().for_each(Parcel::excuse);
            }
        }
        let kept = self.keep(parcels, &refusals);
        if kept.is_ok() {
            for (parcel, record, reason) in refusals {
                if parcels.get_mut(parcel).is_some_and(|p| p.close(record)) {
                    fates[parcel].push((record, RecordFate::Refused(reason)));
                }
            }
        }
        for (parcel, fates) in parcels.iter().zip(fates) {
            let (lane, id) = (parcel.delivery.lane(), parcel.delivery.id);
            if fates.is_empty() {
                continue;
            }
            self.answer(lane, id, Fate::Records(fates));
            if parcel.is_done() {
                // Each record has an answer of its own by now: this only says that none follows.
                self.answer(lane, id, Fate::Acknowledged);
            }
        }
        kept
    }

    /// Records were delivered without their end.
    pub fn count_cut(&mut self, records: u64) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).cut += records;
    }

    /// Nothing is in the way any more.
    pub fn healthy(&mut self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.misconfigured = false;
        health.awaits_restart = false;
        if health.trouble.take().is_some() {
            self.logged = None;
            tracing::info!(sink = self.name, "the sink works again");
        }
    }

    /// Makes dead letters of refused records: all of them, durably, or none.
    fn keep(&mut self, parcels: &[Parcel], refusals: &[(usize, u32, String)]) -> Result<(), Failure> {
        let Some((_, _, example)) = refusals.first() else { return Ok(()) };
        // Letters were refused before, each for itself.
        let counts = |p: &Parcel| p.delivery.id < LOCAL && !p.is_excused();
        let counted = refusals.iter().filter(|(parcel, _, _)| parcels.get(*parcel).is_some_and(counts)).count() as u32;
        if self.refused.saturating_add(counted) > REFUSALS {
            return Err(Failure::held(
                format!("{REFUSALS} records were refused and not one was taken; the last reason: {example}"),
                "look at what the server expects: it is more likely the destination than the records",
            ));
        }
        let time = crate::engine::Now::read().wall;
        let mut letters = Vec::with_capacity(refusals.len());
        for (parcel, record, reason) in refusals {
            let Some(parcel) = parcels.get(*parcel) else { continue };
            let encoded = parcel.delivery.chunk.encoded(*record as usize);
            letters.push(Letter {
                id: super::View::of(encoded).map(|v| v.id.to_owned()).unwrap_or_default(),
                reason: reason.clone(),
                time,
                record: encoded.to_vec(),
                original: if parcel.delivery.chunk.originals.is_empty() {
                    Vec::new()
                } else {
                    parcel.delivery.chunk.original(*record as usize).to_vec()
                },
            });
        }
        self.open_letters().and_then(|open| open.append(&letters)).map_err(|error| letters_failed(&error))?;
        self.refused += counted;
        Ok(())
    }

    fn open_letters(&mut self) -> Result<&mut DeadLetters, dead_letter::Error> {
        let letters = match self.letters.take() {
            Some(letters) => letters,
            None => DeadLetters::open(&self.state_dir, &self.name, dead_letter::BOUND)?,
        };
        Ok(self.letters.insert(letters))
    }

    /// Puts letters that someone wants sent again among what waits.
    fn take_letters(&mut self) {
        let due = self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if !due || self.closed || self.letters_gate.is_held() {
            return;
        }
        self.looked = Some(Instant::now());
        if !dead_letter::has_any(&self.state_dir) {
            return;
        }
        if let Err(error) = self.send_letters_again() {
            tracing::error!(sink = self.name, "failed to send dead letters again; it is tried again: {error}");
            self.again = None;
        }
    }

    fn send_letters_again(&mut self) -> Result<(), dead_letter::Error> {
        if self.again.is_none()
            && let Some(retry) = self.open_letters()?.take_retry()?
        {
            let letters = retry.letters()?;
            tracing::info!(sink = self.name, "dead letters are sent again");
            self.again = Some(Again { retry, letters, all_read: false, under_way: HashSet::new() });
        }
        let Some(again) = &mut self.again else { return Ok(()) };
        if !again.under_way.is_empty() {
            return Ok(());
        }
        let mut chunk = Chunk::new(StreamId::default(), Position::default());
        while chunk.data.len() < AGAIN {
            let Some(letter) = again.letters.next().transpose()? else {
                again.all_read = true;
                break;
            };
            chunk.data.extend_from_slice(&letter.record);
            chunk.originals.extend_from_slice(&letter.original);
            let count = chunk.records.len() as u64 + 1;
            chunk.push(&Position { offset: count, seq: count, ..Position::default() }, 1, false);
        }
        if !chunk.records.is_empty() {
            self.next_local += 1;
            again.under_way.insert(self.next_local);
            // The lane's number is of no use: nothing of this reaches the engine.
            let delivery = Delivery::new(u32::MAX, self.next_local, Arc::new(chunk), &self.gate, &self.letters_gate);
            self.waiting.push_back(delivery);
        } else if again.all_read
            && let Some(again) = self.again.take()
        {
            again.retry.finish()?;
        }
        Ok(())
    }

    fn answer(&mut self, lane: u32, delivery: u64, fate: Fate) {
        if delivery >= LOCAL {
            match fate {
                Fate::Records(_) => {}
                Fate::Acknowledged => {
                    if let Some(again) = &mut self.again {
                        again.under_way.remove(&delivery);
                    }
                }
                // They are still set aside, and are taken up anew from their beginning.
                Fate::Recalled => self.again = None,
            }
            return;
        }
        // The engine is gone only when the process ends.
        let _sent = self.answers.send(Event::Settled(Settlement { lane, delivery, fate }));
    }
}

fn letters_failed(error: &dead_letter::Error) -> Failure {
    match error {
        dead_letter::Error::Full { .. } => Failure::held(error.to_string(), "the lane waits until there is room"),
        _ => Failure::held(format!("a refused record cannot be kept: {error}"), "free space for the state directory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u32) -> Vec<u8> {
        let id = format!("{}-{n:016x}-{n:016x}", "0".repeat(32));
        format!(r#"{{"@timestamp":"2026-01-01T00:00:00Z","waybill":{{"id":"{id}","source":"s"}}}}"#).into_bytes()
    }

    fn delivery(id: u64, count: u32, outlet: &Outlet) -> Delivery {
        let mut chunk = Chunk::new(StreamId::default(), Position::default());
        for n in 0..count {
            chunk.data.extend(record(n));
            chunk.data.push(b'\n');
            let at = u64::from(n) + 1;
            chunk.push(&Position { offset: at, seq: at, ..Position::default() }, 1, false);
        }
        Delivery::new(1, id, Arc::new(chunk), &outlet.gate, &Gate::default())
    }

    fn fates(answers: &Receiver<Event>) -> Vec<(u64, Fate)> {
        let settled = |e| if let Event::Settled(s) = e { Some((s.delivery, s.fate)) } else { None };
        answers.try_iter().filter_map(settled).collect()
    }

    fn refused() -> Answer {
        Answer::Refused("does not map".into())
    }

    #[test]
    fn refused_records_become_letters_and_go_again_under_their_ids() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, answers) = unbounded();
        let (mut queue, outlet) = Queue::new("search", dir.path().to_owned(), sender);
        outlet.deliveries.send(delivery(1, 3, &outlet)).unwrap();
        let mut parcels: Vec<Parcel> =
            queue.take(1 << 20, Duration::ZERO).unwrap().into_iter().map(Parcel::new).collect();
        queue
            .settle(&mut parcels, vec![(0, 0, Answer::Acknowledged), (0, 1, refused()), (0, 2, Answer::Acknowledged)])
            .unwrap();
        assert!(parcels[0].is_done());
        let got = fates(&answers);
        assert_eq!(got.len(), 2);
        assert_eq!(got[1], (1, Fate::Acknowledged));
        // Someone asks for them again; the sink takes them now.
        outlet.letters.hold(false);
        dead_letter::request(dir.path(), "search").unwrap();
        queue.looked = None;
        let again = queue.take(1 << 20, Duration::ZERO).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].chunk.encoded(0).trim_ascii_end(), record(1));
        queue.acknowledge(&again);
        queue.looked = None;
        assert!(queue.take(1 << 20, Duration::ZERO).unwrap().is_empty());
        assert!(fates(&answers).is_empty());
        let mut letters = DeadLetters::open(dir.path(), "search", 1 << 20).unwrap();
        assert!(letters.take_retry().unwrap().is_none());
    }

    #[test]
    fn a_hundred_refusals_without_a_success_hold_the_lane() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, answers) = unbounded();
        let (mut queue, outlet) = Queue::new("search", dir.path().to_owned(), sender);
        let mut parcels = [Parcel::new(delivery(1, 100, &outlet)), Parcel::new(delivery(2, 2, &outlet))];
        queue.settle(&mut parcels, (0..100).map(|n| (0, n, refused())).collect()).unwrap();
        let failure = queue.settle(&mut parcels, vec![(1, 0, refused())]).unwrap_err();
        assert!(failure.is_held() && failure.to_string().contains("does not map"), "{failure}");
        assert_eq!(parcels[1].open().count(), 2);
        // One success, and refusals count from nothing again.
        queue.settle(&mut parcels, vec![(1, 0, refused()), (1, 1, Answer::Acknowledged)]).unwrap();
        assert!(parcels[1].is_done());
        assert_eq!(fates(&answers).len(), 4);
    }

    #[test]
    fn refusals_beside_a_success_are_the_records_fault() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, answers) = unbounded();
        // There is no room for letters yet.
        let state = dir.path().join("state");
        std::fs::write(&state, "").unwrap();
        let (mut queue, outlet) = Queue::new("search", state.clone(), sender);
        let mut parcels = [Parcel::new(delivery(1, 1_000, &outlet))];
        let judge = |n: u32| if n.is_multiple_of(4) { refused() } else { Answer::Acknowledged };
        let failure = queue.settle(&mut parcels, (0..1_000).map(|n| (0, n, judge(n))).collect()).unwrap_err();
        assert!(failure.to_string().contains("cannot be kept"), "{failure}");
        assert_eq!(parcels[0].open().count(), 250);
        // They come alone now, with no success beside them.
        std::fs::remove_file(&state).unwrap();
        let open: Vec<usize> = parcels[0].open().collect();
        queue.settle(&mut parcels, open.into_iter().map(|n| (0, n as u32, refused())).collect()).unwrap();
        assert!(parcels[0].is_done());
        assert!(fates(&answers).contains(&(1, Fate::Acknowledged)));
        // Those of the next one count as ever.
        let mut parcels = [Parcel::new(delivery(2, 101, &outlet))];
        queue.settle(&mut parcels, (0..101).map(|n| (0, n, refused())).collect()).unwrap_err();
    }

    /// A queue with so many letters that someone wants sent again.
    fn with_letters(dir: &std::path::Path, count: u32) -> (Queue, Outlet) {
        let (queue, outlet) = Queue::new("search", dir.to_owned(), unbounded().0);
        let letter = |n| Letter { record: [&record(n)[..], b"\n"].concat(), ..Letter::default() };
        let mut letters = DeadLetters::open(dir, "search", 1 << 20).unwrap();
        letters.append(&(0..count).map(letter).collect::<Vec<_>>()).unwrap();
        dead_letter::request(dir, "search").unwrap();
        (queue, outlet)
    }

    #[test]
    fn letters_that_are_refused_again_hold_no_lane() {
        let dir = tempfile::tempdir().unwrap();
        let (mut queue, outlet) = with_letters(dir.path(), 150);
        outlet.letters.hold(false);
        let taken = queue.take(1 << 20, Duration::ZERO).unwrap();
        let mut parcels: Vec<Parcel> = taken.into_iter().map(Parcel::new).collect();
        assert_eq!(parcels[0].open().count(), 150);
        queue.settle(&mut parcels, (0..150).map(|n| (0, n, refused())).collect()).unwrap();
        queue.looked = None;
        assert!(queue.take(1 << 20, Duration::ZERO).unwrap().is_empty());
        assert!(queue.again.is_none());
        let mut letters = DeadLetters::open(dir.path(), "search", 1 << 20).unwrap();
        assert!(letters.take_retry().unwrap().is_none());
        // They say nothing about the destination.
        let mut parcels = [Parcel::new(delivery(1, 100, &outlet))];
        queue.settle(&mut parcels, (0..100).map(|n| (0, n, refused())).collect()).unwrap();
    }

    #[test]
    fn a_switch_stops_letters_too() {
        let dir = tempfile::tempdir().unwrap();
        let (mut queue, outlet) = with_letters(dir.path(), 3);
        let take = |queue: &mut Queue| {
            queue.looked = None;
            queue.take(1 << 20, Duration::ZERO).unwrap()
        };
        assert!(take(&mut queue).is_empty(), "before the engine has looked at the switches");
        outlet.letters.hold(false);
        let [letters] = &take(&mut queue)[..] else { panic!("one delivery") };
        assert!(queue.passes(letters));
        // One is thrown while they are under way, and lifted before anyone looks.
        outlet.letters.hold(true);
        assert!(!letters.may_pass());
        outlet.letters.shut();
        outlet.letters.hold(false);
        assert!(!queue.passes(letters));
        outlet.letters.hold(true);
        assert!(take(&mut queue).is_empty());
        outlet.letters.hold(false);
        assert_eq!(take(&mut queue).len(), 1);
    }

    #[test]
    fn what_may_not_pass_is_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let (sender, answers) = unbounded();
        let (mut queue, outlet) = Queue::new("search", dir.path().to_owned(), sender);
        outlet.deliveries.send(delivery(7, 1, &outlet)).unwrap();
        outlet.gate.shut();
        assert!(queue.take(1, Duration::ZERO).unwrap().is_empty());
        assert_eq!(fates(&answers), [(7, Fate::Recalled)]);
        drop(outlet);
        assert!(queue.take(1, Duration::ZERO).is_none());
    }
}
