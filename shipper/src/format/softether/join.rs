//! What earlier lines said of a connection or session, for the lines that name it only.
//!
//! The program tells a client's address when a connection is made, its user when it logs in, and afterwards mostly the number
//! of the connection (`CID-7`), of the session (`SID-ALICE-3`) or of the administrator's session (`RPC-4`). Numbers start over
//! with the program, so the line that makes one forgets what was known of it before.
//!
//! Lanes may read a stream at more than one place. What was learnt at one place must not reach another, where the same number
//! may mean someone else: each place has memory of its own, told by the record's number.

use std::collections::{HashMap, VecDeque};

/// Connections that are remembered at one place of reading.
const MOST: usize = 4096;
/// Places of reading that are remembered.
const PLACES: usize = 3;
/// Empty lines are not handed on, so that numbers may be missing; more missing than this is another place.
const GAP: u64 = 64;
/// Longer values are not remembered.
const LONGEST: usize = 256;

/// What is known of one connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) address: Vec<u8>,
    pub(super) port: Vec<u8>,
    pub(super) user: Vec<u8>,
    pub(super) hub: Vec<u8>,
    pub(super) connection: Vec<u8>,
    pub(super) session: Vec<u8>,
}

/// A place of reading.
#[derive(Debug, Default)]
struct Place {
    /// The number of the record that comes next.
    next: u64,
    /// Connections, oldest first; the number of the first is `first`.
    known: VecDeque<Known>,
    first: u64,
    /// Connection, session or administrator's session, and the number of its connection.
    names: HashMap<Vec<u8>, u64>,
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
        let mut place = match self.place_of(seq) {
            Some(index) => self.places.remove(index),
            None => {
                if self.places.len() == PLACES {
                    self.places.remove(0);
                }
                Place::default()
            }
        };
        place.next = seq.saturating_add(1);
        self.places.push(place);
    }

    /// The place that a record follows; `None` if nothing is known of what stands before it.
    fn place_of(&self, seq: u64) -> Option<usize> {
        self.places.iter().position(|place| (place.next..=place.next.saturating_add(GAP)).contains(&seq))
    }

    /// Forgets everything at this place: the program has started.
    pub(super) fn forget(&mut self) {
        if let Some(place) = self.places.last_mut() {
            *place = Place { next: place.next, ..Place::default() };
        }
    }

    /// Takes a new connection.
    pub(super) fn begin(&mut self, connection: &[u8], known: Known) {
        if let Some(place) = self.places.last_mut() {
            place.begin(connection, known);
        }
    }

    /// Gives a connection one more name.
    pub(super) fn alias(&mut self, name: &[u8], connection: &[u8]) {
        if let Some(place) = self.places.last_mut()
            && name.len() <= LONGEST
            && place.names.len() < 8 * MOST
            && let Some(number) = place.names.get(connection).copied()
        {
            place.names.insert(name.to_vec(), number);
        }
    }

    /// What is known under a name.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Known> {
        let place = self.places.last()?;
        place.known.get(place.index(*place.names.get(name)?)?)
    }

    /// What is known under a name, to be added to.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Known> {
        let place = self.places.last_mut()?;
        let index = place.index(*place.names.get(name)?)?;
        place.known.get_mut(index)
    }
}

impl Place {
    fn index(&self, number: u64) -> Option<usize> {
        number.checked_sub(self.first).map(|index| index as usize)
    }

    fn begin(&mut self, connection: &[u8], known: Known) {
        if connection.len() > LONGEST {
            return;
        }
        if self.known.len() == MOST {
            self.known.pop_front();
            self.first += 1;
            // Names of what is forgotten go together, now and then.
            if self.names.len() > 4 * MOST {
                let first = self.first;
                self.names.retain(|_, number| *number >= first);
            }
        }
        let number = self.first + self.known.len() as u64;
        self.known.push_back(Known { connection: connection.to_vec(), ..known });
        self.names.insert(connection.to_vec(), number);
    }
}

/// A value to remember; too long a one is not worth it.
pub(super) fn kept(text: &[u8]) -> Vec<u8> {
    if text.len() <= LONGEST { text.to_vec() } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(user: &str) -> Known {
        Known { user: user.as_bytes().to_vec(), ..Known::default() }
    }

    fn user(join: &Join, name: &str) -> Option<String> {
        join.get(name.as_bytes()).map(|known| String::from_utf8_lossy(&known.user).into_owned())
    }

    #[test]
    fn a_number_that_starts_over_means_someone_else() {
        let mut join = Join::default();
        join.at(1);
        join.begin(b"CID-1", known("alice"));
        join.alias(b"SID-A-1", b"CID-1");
        join.at(2);
        join.begin(b"CID-1", known("bob"));
        assert_eq!(user(&join, "CID-1").unwrap(), "bob");
        assert_eq!(user(&join, "SID-A-1").unwrap(), "alice");
        join.forget();
        assert_eq!(user(&join, "CID-1"), None);
    }

    #[test]
    fn places_of_reading_do_not_mix() {
        let mut join = Join::default();
        join.at(100);
        join.begin(b"CID-1", known("new"));
        assert_eq!(join.place_of(1), None);
        join.at(1);
        assert_eq!(user(&join, "CID-1"), None);
        join.begin(b"CID-1", known("old"));
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
            join.begin(name.as_bytes(), known("u"));
            join.alias(format!("SID-{number}").as_bytes(), name.as_bytes());
        }
        let place = join.places.last().unwrap();
        assert_eq!(place.known.len(), MOST);
        assert!(place.names.len() <= 4 * MOST + 4, "{}", place.names.len());
        assert_eq!(user(&join, "CID-0"), None);
        assert!(user(&join, &format!("SID-{}", 20 * MOST - 1)).is_some());
        join.begin(&vec![b'x'; 1 << 20], known("u"));
        assert!(kept(&vec![b'x'; 1 << 20]).is_empty());
    }
}
