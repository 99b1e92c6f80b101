//! Over TCP and TLS: octet counting, and a record is acknowledged when the peer's kernel has it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use waybill_crds::SyslogSink;

use super::connection::Connection;
use super::message::{self, Writer};
use super::window::Window;
use crate::lane::Delivery;
use crate::sink::{Backoff, Context, Failure, PATIENCE, Queue, Stamp, tls};

/// How long to wait at first and at most before asking again what the peer has confirmed.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(20);
/// Frames that are sent and confirmed together, in bytes, unless one is longer.
const PIECE: usize = 64 << 10;
/// How often secrets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a new connection is on trial from its first message on, and nothing counts as confirmed. A server of another protocol, and one
/// that rejects a certificate late, has a kernel that takes bytes too; it closes soon after.
const TRIAL: Duration = Duration::from_secs(1);
/// How long the end of a connection may take when certificates changed.
const LEAVE: Duration = Duration::from_secs(10);

/// Runs until the engine lets go of the sink.
pub fn run(mut queue: Queue, plan: &SyslogSink, context: &Context) {
    let mut lane = Lane {
        plan,
        context,
        writer: Writer::new(plan, &context.host),
        waiting: VecDeque::new(),
        window: Window::default(),
        open: None,
        pause: SOON,
    };
    let mut backoff = Backoff::default();
    while let Some(batch) = queue.take(usize::MAX, lane.patience()) {
        lane.waiting.extend(batch);
        match lane.step(&mut queue) {
            Ok(progress) => {
                if progress {
                    backoff.reset();
                }
            }
            Err(failure) => {
                lane.open = None;
                lane.window.restart();
                lane.recall(&mut queue);
                if !queue.wait(backoff.next(), &failure) {
                    return;
                }
            }
        }
    }
    if let Some(open) = lane.open {
        open.connection.close();
    }
}

/// A connection, and the secrets that it was made with.
struct Open {
    connection: Connection,
    made_with: Stamp,
    looked: Instant,
    leaving: Option<Instant>,
    first_sent: Option<Instant>,
}

impl Open {
    fn is_on_trial(&self) -> bool {
        self.first_sent.is_none_or(|at| at.elapsed() < TRIAL)
    }
}

struct Lane<'a> {
    plan: &'a SyslogSink,
    context: &'a Context,
    writer: Writer,
    waiting: VecDeque<Delivery>,
    window: Window,
    open: Option<Open>,
    pause: Duration,
}

impl Lane<'_> {
    fn patience(&self) -> Duration {
        let leaves = self.open.as_ref().is_some_and(|open| open.leaving.is_some());
        if !leaves && (self.window.has_unsent() || (!self.waiting.is_empty() && self.window.has_room())) {
            Duration::ZERO
        } else if leaves || self.window.has_unconfirmed() {
            // A connection that ends sends the rest of one message at most, and waits for the peer.
            self.pause
        } else {
            PATIENCE
        }
    }

    /// Does what can be done now. Returns whether anything was confirmed.
    fn step(&mut self, queue: &mut Queue) -> Result<bool, Failure> {
        self.recall(queue);
        self.encode(queue);
        if self.open.is_none() && self.window.has_unsent() {
            let made_with = self.stamp();
            let connection = Connection::open(self.plan, self.context)?;
            let looked = Instant::now();
            self.open = Some(Open { connection, made_with, looked, leaving: None, first_sent: None });
            // Opening takes its time.
            self.recall(queue);
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        // What was confirmed before the peer closed counts.
        let confirmed = open.connection.confirmed()?;
        let done = if open.is_on_trial() { Vec::new() } else { self.window.confirm(confirmed) };
        if !done.is_empty() {
            queue.acknowledge(&done);
            queue.healthy();
        }
        self.pause = if done.is_empty() { (self.pause * 2).min(LATER) } else { SOON };
        open.connection.look()?;
        self.leave_when_secrets_change()?;
        let Some(open) = self.open.as_mut().filter(|o| o.leaving.is_none()) else { return Ok(!done.is_empty()) };
        let full = match self.window.next() {
            Some((frames, offset)) => {
                let all = open.connection.advance(frames, offset)?;
                open.first_sent.get_or_insert_with(Instant::now);
                if all {
                    self.window.sent(open.connection.written());
                }
                !all
            }
            None => false,
        };
        if full {
            // The peer is slow. It confirms before it takes more, so this ends in time for both.
            open.connection.wait(LATER);
        }
        Ok(!done.is_empty())
    }

    /// Encodes what waits, as far as there is room.
    fn encode(&mut self, queue: &mut Queue) {
        while self.window.has_room()
            && let Some(delivery) = self.waiting.pop_front()
        {
            let (mut frames, mut text) = (Vec::new(), Vec::new());
            let chunk = &delivery.chunk;
            let mut any = false;
            for (index, _) in chunk.records.iter().enumerate().filter(|(_, r)| !r.dropped) {
                text.clear();
                self.writer.write(&mut text, chunk.encoded(index), chunk.payload(index, self.context.encoding));
                if !frames.is_empty() && frames.len() + text.len() > PIECE {
                    self.window.push(&delivery, std::mem::take(&mut frames), false);
                }
                message::frame(&mut frames, &text);
                any = true;
            }
            if any {
                self.window.push(&delivery, frames, true);
            } else {
                queue.acknowledge(std::slice::from_ref(&delivery));
            }
        }
    }

    /// Takes back what may not go out any more.
    fn recall(&mut self, queue: &mut Queue) {
        self.waiting.retain(|delivery| queue.passes(delivery));
        let (recalled, torn) = self.window.recall();
        if torn {
            // The rest of a message that began to go out may not follow.
            self.open = None;
            self.window.restart();
            let (more, _) = self.window.recall();
            more.iter().for_each(|delivery| queue.recall(delivery));
        }
        recalled.iter().for_each(|delivery| queue.recall(delivery));
    }

    /// With another certificate or key comes another connection. The old one ends in good order, so nothing of it goes again.
    fn leave_when_secrets_change(&mut self) -> Result<(), Failure> {
        let stamp = self.open.as_ref().filter(|o| o.looked.elapsed() >= LOOK_EVERY).map(|_| self.stamp());
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Some(stamp) = stamp {
            open.looked = Instant::now();
            if stamp != open.made_with && open.leaving.is_none() {
                tracing::info!(sink = self.context.name, "certificates changed: connecting anew");
                open.leaving = Some(Instant::now());
            }
        }
        let Some(since) = open.leaving else { return Ok(()) };
        if self.window.is_between_messages() && !self.window.has_unconfirmed() {
            if let Some(open) = self.open.take() {
                open.connection.close();
            }
        } else if since.elapsed() > LEAVE {
            return Err(Failure::again(format!("{}: it confirms nothing; connecting anew", self.plan.address)));
        } else if let (false, Some((frames, offset))) = (self.window.is_between_messages(), self.window.next())
            && open.connection.advance(frames, offset)?
        {
            self.window.sent(open.connection.written());
        }
        Ok(())
    }

    fn stamp(&self) -> Stamp {
        self.context.secrets.stamp(tls::keys(self.plan.tls.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;
    use crate::lane::Gate;
    use crate::sink::Secrets;

    #[test]
    fn a_connection_that_ends_is_waited_for() {
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = peer.local_addr().unwrap().to_string();
        let plan: SyslogSink =
            serde_json::from_value(serde_json::json!({"address": address, "transport": "Tcp"})).unwrap();
        let context = Context {
            name: "syslog".into(),
            encoding: crate::plan::Encoding::Ecs,
            in_flight: 1 << 20,
            policy: "p".into(),
            host: "h".into(),
            secrets: Secrets::default(),
        };
        let connection = Connection::open(&plan, &context).unwrap();
        let now = Instant::now();
        let open = Open { connection, made_with: Stamp::default(), looked: now, leaving: None, first_sent: Some(now) };
        let mut lane = Lane {
            plan: &plan,
            context: &context,
            writer: Writer::new(&plan, &context.host),
            waiting: VecDeque::new(),
            window: Window::default(),
            open: Some(open),
            pause: SOON,
        };
        let gate = Gate::default();
        lane.window.push(&Delivery::new(1, 1, Arc::default(), &gate, &gate), b"1 x".to_vec(), true);
        assert_eq!(lane.patience(), Duration::ZERO);
        lane.open.iter_mut().for_each(|open| open.leaving = Some(now));
        assert!(lane.patience() >= SOON);
    }
}
