//! What is under way on a connection: what is still to be sent, what was sent and is not confirmed yet, and the last that was confirmed.
//!
//! Confirmed means that the peer's kernel has it. A receiver that dies has not read all of it, so the last [`REPEAT`] bytes are kept and
//! go out again, before anything else, on the next connection.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::lane::Delivery;
use crate::lane::chunk::Chunk;

/// Confirmed bytes that are kept to go again.
pub const REPEAT: usize = 1 << 20;
/// Bytes that are encoded ahead of what is confirmed.
const AHEAD: usize = 2 << 20;
/// A piece is not sent more often than this after it was confirmed once: a server that closes idle connections must not get the same
/// records for ever.
const REPEATS: u8 = 2;

/// Whole frames of one delivery.
struct Piece {
    /// The delivery without its records.
    permit: Delivery,
    frames: Vec<u8>,
    /// No piece of the delivery follows.
    last: bool,
    /// Where it ends in what this connection was given, once it was.
    end: u64,
    /// How often it was confirmed.
    confirmed: u8,
}

/// What is under way.
#[derive(Default)]
pub struct Window {
    pieces: VecDeque<Piece>,
    /// Pieces at the front that this connection confirmed, and their bytes.
    confirmed: usize,
    kept: usize,
    /// Pieces at the front that this connection was given.
    sent: usize,
    /// What of the next piece it was given.
    offset: usize,
    bytes: usize,
    empty: Arc<Chunk>,
}

impl Window {
    /// Whether another delivery should be encoded.
    pub fn has_room(&self) -> bool {
        self.bytes - self.kept < AHEAD
    }

    /// Takes in whole frames of a delivery; `last`: no more of it follow.
    pub fn push(&mut self, delivery: &Delivery, frames: Vec<u8>, last: bool) {
        let mut permit = delivery.clone();
        permit.chunk = Arc::clone(&self.empty);
        self.bytes += frames.len();
        self.pieces.push_back(Piece { permit, frames, last, end: 0, confirmed: 0 });
    }

    /// Whether anything is to be sent.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.pieces.len()
    }

    /// Whether the connection was given whole pieces only.
    pub fn is_between_messages(&self) -> bool {
        self.offset == 0
    }

    /// Whether anything waits to be confirmed.
    pub fn has_unconfirmed(&self) -> bool {
        self.confirmed < self.sent
    }

    /// The frames to send next, and how much of them was sent already.
    pub fn next(&mut self) -> Option<(&[u8], &mut usize)> {
        let piece = self.pieces.get(self.sent)?;
        Some((&piece.frames, &mut self.offset))
    }

    /// The connection was given all of what [`next`](Self::next) showed; it ends at this byte of the connection.
    pub fn sent(&mut self, end: u64) {
        if let Some(piece) = self.pieces.get_mut(self.sent) {
            piece.end = end;
            self.sent += 1;
            self.offset = 0;
        }
    }

    /// The peer's kernel has the connection's bytes up to here. Returns the deliveries that are thereby acknowledged, without records.
    pub fn confirm(&mut self, up_to: u64) -> Vec<Delivery> {
        let mut done = Vec::new();
        while self.confirmed < self.sent
            && let Some(piece) = self.pieces.get_mut(self.confirmed).filter(|p| p.end <= up_to)
        {
            if piece.confirmed == 0 && piece.last {
                done.push(piece.permit.clone());
            }
            piece.confirmed += 1;
            self.confirmed += 1;
            self.kept += piece.frames.len();
        }
        while self.confirmed > 0
            && let Some(front) = self.pieces.front()
            && (front.confirmed > REPEATS || self.kept - front.frames.len() >= REPEAT)
        {
            self.remove(0);
        }
        done
    }

    /// Takes out what may not go out any more and was not sent yet. Returns the deliveries to recall, without records, and whether one
    /// of them is sent in part: the connection must then be torn, or the rest would follow.
    pub fn recall(&mut self) -> (Vec<Delivery>, bool) {
        let torn = self.offset > 0 && self.pieces.get(self.sent).is_some_and(|p| !p.permit.may_pass());
        let mut recalled = Vec::new();
        let mut at = self.sent;
        while let Some(piece) = self.pieces.get(at) {
            if piece.permit.may_pass() {
                at += 1;
                continue;
            }
            if piece.last && piece.confirmed == 0 {
                recalled.push(piece.permit.clone());
            }
            self.remove(at);
        }
        if torn {
            self.offset = 0;
        }
        (recalled, torn)
    }

    /// The connection is gone: everything that is kept goes out on the next one.
    pub fn restart(&mut self) {
        (self.sent, self.confirmed, self.kept, self.offset) = (0, 0, 0, 0);
    }

    fn remove(&mut self, at: usize) {
        let Some(piece) = self.pieces.remove(at) else { return };
        self.bytes -= piece.frames.len();
        if at < self.confirmed {
            self.confirmed -= 1;
            self.kept -= piece.frames.len();
        }
        if at < self.sent {
            self.sent -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Gate;

    fn delivery(id: u64, gate: &Gate) -> Delivery {
        Delivery::new(1, id, Arc::default(), gate, &Gate::default())
    }

    fn ids(deliveries: &[Delivery]) -> Vec<u64> {
        deliveries.iter().map(|d| d.id).collect()
    }

    /// Sends everything; returns what was sent and where it ends.
    fn send(window: &mut Window, mut end: u64) -> (Vec<u8>, u64) {
        let mut out = Vec::new();
        while let Some((frames, offset)) = window.next() {
            out.extend_from_slice(&frames[*offset..]);
            end += frames.len() as u64;
            window.sent(end);
        }
        (out, end)
    }

    #[test]
    fn a_delivery_is_acknowledged_once_when_its_last_piece_is_confirmed() {
        let (gate, mut window) = (Gate::default(), Window::default());
        let one = delivery(1, &gate);
        window.push(&one, b"aa".to_vec(), false);
        window.push(&one, b"bb".to_vec(), true);
        window.push(&delivery(2, &gate), b"cc".to_vec(), true);
        let (out, end) = send(&mut window, 0);
        assert_eq!((out.as_slice(), end), (&b"aabbcc"[..], 6));
        assert!(window.confirm(3).is_empty());
        assert_eq!(ids(&window.confirm(4)), [1]);
        assert_eq!(ids(&window.confirm(6)), [2]);
        // The connection breaks: all of it goes again, and is acknowledged no second time.
        for _ in 0..REPEATS {
            window.restart();
            assert!(window.has_unsent());
            let (out, end) = send(&mut window, 0);
            assert_eq!(out, b"aabbcc");
            assert!(window.confirm(end).is_empty());
        }
        window.restart();
        assert!(!window.has_unsent());
        assert_eq!(window.bytes, 0);
    }

    #[test]
    fn what_was_not_confirmed_goes_again_behind_what_was() {
        let (gate, mut window) = (Gate::default(), Window::default());
        window.push(&delivery(1, &gate), b"aa".to_vec(), true);
        window.push(&delivery(2, &gate), b"bb".to_vec(), true);
        send(&mut window, 0);
        assert_eq!(ids(&window.confirm(2)), [1]);
        window.push(&delivery(3, &gate), b"cc".to_vec(), true);
        window.restart();
        let (out, end) = send(&mut window, 0);
        assert_eq!(out, b"aabbcc");
        assert_eq!(ids(&window.confirm(end)), [2, 3]);
    }

    #[test]
    fn a_mebibyte_is_kept_and_not_much_more() {
        let (gate, mut window) = (Gate::default(), Window::default());
        let mut end = 0;
        for id in 0..100 {
            window.push(&delivery(id, &gate), vec![b'x'; 50_000], true);
            end = send(&mut window, end).1;
            assert_eq!(window.confirm(end).len(), 1);
            assert!(window.bytes <= REPEAT + 50_000);
            assert!(window.has_room());
        }
        window.restart();
        assert!(send(&mut window, 0).0.len() >= REPEAT);
    }

    #[test]
    fn a_shut_gate_takes_out_what_is_not_sent() {
        let (gate, other, mut window) = (Gate::default(), Gate::default(), Window::default());
        let one = delivery(1, &gate);
        window.push(&one, b"aa".to_vec(), false);
        window.push(&one, b"bb".to_vec(), true);
        window.push(&delivery(2, &other), b"cc".to_vec(), true);
        let (_, offset) = window.next().unwrap();
        *offset = 1;
        gate.shut();
        let (recalled, torn) = window.recall();
        assert!(torn && ids(&recalled) == [1]);
        window.restart();
        assert_eq!(send(&mut window, 0).0, b"cc");
        assert_eq!(ids(&window.confirm(2)), [2]);
        // What was acknowledged and may not go again is forgotten without a word.
        other.shut();
        window.restart();
        assert_eq!(window.recall().0.len(), 0);
        assert!(!window.has_unsent());
    }
}
