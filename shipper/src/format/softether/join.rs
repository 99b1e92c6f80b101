//! What earlier lines said of a connection or session, for the lines that name it only.
//!
//! The program tells a client's address when a connection is made, its user when it logs in, and afterwards mostly the number
//! of the connection (`CID-7`), of the session (`SID-ALICE-3`) or of the administrator's session (`RPC-4`). Numbers start over
//! with the program, so the line that makes one forgets what was known of it before.
//!
//! Lanes may read a stream at more than one place. What was learnt at one place must not reach another, where the same number
//! may mean someone else: each place has memory of its own, told by the record's number.

use std::collections::{HashMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

/// Connections that are remembered at one place of reading.
const MOST: usize = 4096;
/// Places of reading that are remembered.
const PLACES: usize = 3;
/// Empty lines are not handed on, so that numbers may be missing; more missing than this is another place.
const GAP: u64 = 64;
/// Longer values are not remembered.
const LONGEST: usize = 256;

/// What is known of one connection. Empty: nothing.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) address: Text,
    pub(super) port: Text,
    pub(super) user: Text,
    pub(super) hub: Text,
    pub(super) connection: Text,
    pub(super) session: Text,
    pub(super) admin_session: Text,
}

/// A remembered value. Keeps its memory for the next.
#[derive(Debug, Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    /// Takes a value; one that is too long is not worth it.
    pub(super) fn set(&mut self, text: &[u8]) {
        self.0.clear();
        if text.len() <= LONGEST {
            self.0.extend_from_slice(text);
        }
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.0
    }
}

impl Known {
    fn clear(&mut self) {
        let Self { address, port, user, hub, connection, session, admin_session } = self;
        for text in [address, port, user, hub, connection, session, admin_session] {
            text.0.clear();
        }
    }

    fn is(&self, name: &[u8]) -> bool {
        [&self.connection, &self.session, &self.admin_session].iter().any(|text| text.0 == name)
    }
}

/// A place of reading.
#[derive(Debug, Default)]
struct Place {
    /// The number of the record that comes next.
    next: u64,
    /// Connections, oldest first; the number of the first is `first`.
    known: VecDeque<Known>,
    first: u64,
    /// What was forgotten, for its memory.
    spare: Vec<Known>,
    /// The hash of a connection's or session's name, and the number of the connection.
    names: HashMap<u64, u64>,
}

/// The memory of one stream.
#[derive(Debug, Default)]
pub(super) struct Join {
    /// The last one used is the last.
    places: Vec<Place>,
}

impl Join {
    /// Goes to the place of a record.
    pub(super) fn at(&mut self, seq: u64) {
        match self.places.iter().rposition(|place| place.is_before(seq)) {
            Some(index) => self.places[index..].rotate_left(1),
            None => self.open(seq),
        }
        if let Some(place) = self.places.last_mut() {
            place.next = seq.saturating_add(1);
        }
    }

    /// Whether what stands before a record is known.
    pub(super) fn knows(&self, seq: u64) -> bool {
        self.places.iter().any(|place| place.is_before(seq))
    }

    /// Begins a place of reading, at which nothing is known yet.
    pub(super) fn open(&mut self, seq: u64) {
        if self.places.len() == PLACES {
            self.places.remove(0);
        }
        self.places.push(Place { next: seq, ..Place::default() });
    }

    /// Forgets everything at this place: the program has started.
    pub(super) fn forget(&mut self) {
        if let Some(place) = self.places.last_mut() {
            place.names.clear();
            place.first += place.known.len() as u64;
            place.spare.extend(place.known.drain(..));
        }
    }

    /// Takes a new connection, of which nothing is known yet.
    pub(super) fn begin(&mut self, connection: &[u8]) -> Option<&mut Known> {
        self.places.last_mut()?.begin(connection)
    }

    /// Gives a connection one more name, which one of its values must be.
    pub(super) fn alias(&mut self, name: &[u8], connection: &[u8]) {
        if let Some(place) = self.places.last_mut()
            && place.names.len() < 8 * MOST
            && let Some(number) = place.names.get(&xxh3_64(connection)).copied()
        {
            place.names.insert(xxh3_64(name), number);
        }
    }

    /// What is known under a name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Known> {
        let place = self.places.last()?;
        place.known.get(place.index(name)?).filter(|known| known.is(name))
    }

    /// What is known under a name, to be added to.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Known> {
        let place = self.places.last_mut()?;
        let index = place.index(name)?;
        place.known.get_mut(index).filter(|known| known.is(name))
    }
}

impl Place {
    fn is_before(&self, seq: u64) -> bool {
        (self.next..=self.next.saturating_add(GAP)).contains(&seq)
    }

    fn index(&self, name: &[u8]) -> Option<usize> {
        self.names.get(&xxh3_64(name))?.checked_sub(self.first).map(|index| index as usize)
    }

    fn begin(&mut self, connection: &[u8]) -> Option<&mut Known> {
        if connection.len() > LONGEST {
            return None;
        }
        let index = match self.index(connection) {
            Some(index) if index < self.known.len() => index,
            _ => self.add(connection),
        };
        let known = self.known.get_mut(index)?;
        known.clear();
        known.connection.set(connection);
        Some(known)
    }

    /// Makes room for a connection, and gives it its name.
    fn add(&mut self, connection: &[u8]) -> usize {
        if self.known.len() == MOST {
            self.spare.extend(self.known.pop_front());
            self.first += 1;
        }
        let known = self.spare.pop().unwrap_or_default();
        // Names of what is forgotten go together, now and then.
        if self.names.len() >= 4 * MOST {
            let first = self.first;
            self.names.retain(|_, number| *number >= first);
        }
        self.known.push_back(known);
        let index = self.known.len() - 1;
        self.names.insert(xxh3_64(connection), self.first + index as u64);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(join: &mut Join, connection: &str, user: &str) {
        join.begin(connection.as_bytes()).unwrap().user.set(user.as_bytes());
    }

    fn user(join: &Join, name: &str) -> Option<String> {
        join.get(name.as_bytes()).map(|known| String::from_utf8_lossy(known.user.get()).into_owned())
    }

    fn session(join: &mut Join, session: &str, connection: &str) {
        join.get_mut(connection.as_bytes()).unwrap().session.set(session.as_bytes());
        join.alias(session.as_bytes(), connection.as_bytes());
    }

    #[test]
    fn a_number_that_starts_over_means_someone_else() {
        let mut join = Join::default();
        join.at(1);
        begin(&mut join, "CID-1", "alice");
        session(&mut join, "SID-A-1", "CID-1");
        assert_eq!(user(&join, "SID-A-1").unwrap(), "alice");
        join.at(2);
        begin(&mut join, "CID-1", "bob");
        assert_eq!(user(&join, "CID-1").unwrap(), "bob");
        assert_eq!(user(&join, "SID-A-1"), None);
        join.forget();
        assert_eq!(user(&join, "CID-1"), None);
    }

    #[test]
    fn places_of_reading_do_not_mix() {
        let mut join = Join::default();
        join.at(100);
        begin(&mut join, "CID-1", "new");
        join.at(1);
        assert_eq!(user(&join, "CID-1"), None);
        begin(&mut join, "CID-1", "old");
        join.at(101);
        assert_eq!(user(&join, "CID-1").unwrap(), "new");
        join.at(3);
        assert_eq!(user(&join, "CID-1").unwrap(), "old");
        join.at(1000);
        join.at(2000);
        join.at(3000);
        join.at(4);
        assert_eq!(user(&join, "CID-1"), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut join = Join::default();
        join.at(1);
        for number in 0..20 * MOST {
            let name = format!("CID-{number}");
            begin(&mut join, &name, "u");
            session(&mut join, &format!("SID-{number}"), &name);
        }
        let place = join.places.last().unwrap();
        assert_eq!(place.known.len(), MOST);
        assert!(place.names.len() <= 4 * MOST + 2, "{}", place.names.len());
        assert_eq!(user(&join, "CID-0"), None);
        assert!(user(&join, &format!("SID-{}", 20 * MOST - 1)).is_some());
        assert!(join.begin(&vec![b'x'; 1 << 20]).is_none());
        let mut long = Text::default();
        long.set(&vec![b'x'; 1 << 20]);
        assert!(long.get().is_empty());
    }
}
