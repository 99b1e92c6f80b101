//! What earlier lines said of a connection, for the lines that name it only.
//!
//! A program tells a client's address when he connects, his user when he logs in, and afterwards mostly a number: `CID-7`, a process
//! id. Numbers start over and are used again, so the line that begins a connection forgets what was known under its number before.
//!
//! Lanes may read a stream at more than one place. What was learnt at one place must not reach another, where the same number
//! may mean someone else: each place has memory of its own, told by the record's number.

use std::collections::{HashMap, VecDeque};

/// Connections that are remembered at one place of reading; the ones that began first make room.
const MOST: usize = 4096;
/// So many that should stay are passed over before one of them makes room all the same.
const SPARED: usize = 16;
/// Places of reading that are remembered.
const PLACES: usize = 3;
/// Empty lines are not handed on, so that numbers may be missing; more missing than this is another place.
const GAP: u64 = 64;
/// Longer values are not remembered.
const LONGEST: usize = 256;
/// What is read again after a restart, in bytes: some hundred connections.
const REACH: u64 = 256 * 1024;

/// What a format remembers of a connection.
pub(super) trait Known: Default {
    /// What lines call a connection by.
    type Name<'n>: Copy;

    /// A hash of a name.
    fn hash(name: Self::Name<'_>) -> u64;

    /// Forgets everything and takes a name. False if the name is too long to be remembered.
    fn begin(&mut self, name: Self::Name<'_>) -> bool;

    /// Whether it is called so.
    fn is(&self, name: Self::Name<'_>) -> bool;

    /// Whether others should make room before it does.
    fn stays(&self) -> bool {
        false
    }
}

/// A remembered value. Keeps its memory for the next.
#[derive(Debug, Default)]
pub(super) struct Text(Vec<u8>);

impl Text {
    /// Takes a value. False, and then it is empty, if the value is too long to be worth it.
    pub(super) fn set(&mut self, text: &[u8]) -> bool {
        self.0.clear();
        let fits = text.len() <= LONGEST;
        if fits {
            self.0.extend_from_slice(text);
        }
        fits
    }

    pub(super) fn get(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Where a connection is remembered.
#[derive(Debug, Clone, Copy)]
struct Id {
    slot: u32,
    turn: u32,
}

#[derive(Debug, Default)]
struct Slot<T> {
    /// How many connections were here before, so that what named them names nothing now.
    turn: u32,
    known: T,
}

/// A place of reading.
#[derive(Debug)]
struct Place<T> {
    /// The number of the record that comes next.
    next: u64,
    slots: Vec<Slot<T>>,
    /// Slots that were in use; they keep their memory.
    free: Vec<u32>,
    /// In the order in which they began; those that ended stay for a while.
    begun: VecDeque<Id>,
    /// By the hash of a name.
    names: HashMap<u64, Id>,
}

/// The memory of one stream.
#[derive(Debug)]
pub(super) struct Join<T> {
    /// The last one used is the last.
    places: Vec<Place<T>>,
}

impl<T> Default for Join<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T: Known> Join<T> {
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

    /// How many bytes before a record are to be read for what it refers to; 0 if that is known.
    pub(super) fn reach(&self, seq: u64) -> u64 {
        if self.places.iter().any(|place| place.is_before(seq)) { 0 } else { REACH }
    }

    /// Begins a place of reading, at which nothing is known yet.
    pub(super) fn open(&mut self, seq: u64) {
        if self.places.len() == PLACES {
            self.places.remove(0);
        }
        self.places.push(Place {
            next: seq,
            slots: Vec::new(),
            free: Vec::new(),
            begun: VecDeque::new(),
            names: HashMap::new(),
        });
    }

    /// Forgets everything at this place: the program has started.
    pub(super) fn forget(&mut self) {
        if let Some(place) = self.places.last_mut() {
            place.forget();
        }
    }

    /// Takes a new connection, of which nothing is known yet.
    pub(super) fn begin(&mut self, name: T::Name<'_>) -> Option<&mut T> {
        self.places.last_mut()?.begin(name)
    }

    /// Forgets a connection.
    pub(super) fn end(&mut self, name: T::Name<'_>) {
        if let Some(place) = self.places.last_mut()
            && let Some(id) = place.find(name)
        {
            place.release(id);
        }
    }

    /// Gives a connection one more name, which one of its values must be.
    pub(super) fn alias(&mut self, alias: T::Name<'_>, name: T::Name<'_>) {
        if let Some(place) = self.places.last_mut()
            && let Some(id) = place.find(name)
        {
            place.call(alias, id);
        }
    }

    /// What is known under a name.
    pub(super) fn get(&self, name: T::Name<'_>) -> Option<&T> {
        let place = self.places.last()?;
        let id = place.find(name)?;
        place.slots.get(id.slot as usize).map(|slot| &slot.known)
    }

    /// What is known under a name, to be added to.
    pub(super) fn get_mut(&mut self, name: T::Name<'_>) -> Option<&mut T> {
        let place = self.places.last_mut()?;
        let id = place.find(name)?;
        place.slots.get_mut(id.slot as usize).map(|slot| &mut slot.known)
    }
}

impl<T> Place<T> {
    fn is_before(&self, seq: u64) -> bool {
        (self.next..=self.next.saturating_add(GAP)).contains(&seq)
    }
}

fn is_live<T>(slots: &[Slot<T>], id: Id) -> bool {
    slots.get(id.slot as usize).is_some_and(|slot| slot.turn == id.turn)
}

impl<T: Known> Place<T> {
    fn find(&self, name: T::Name<'_>) -> Option<Id> {
        let id = *self.names.get(&T::hash(name))?;
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.turn == id.turn)?;
        slot.known.is(name).then_some(id)
    }

    fn begin(&mut self, name: T::Name<'_>) -> Option<&mut T> {
        if let Some(id) = self.find(name) {
            self.release(id);
        }
        let slot = self.take();
        let place = self.slots.get_mut(slot as usize)?;
        let id = Id { slot, turn: place.turn };
        if !place.known.begin(name) {
            self.free.push(slot);
            return None;
        }
        // Those that ended go before it would grow.
        if self.begun.len() == self.begun.capacity() {
            let slots = &self.slots;
            self.begun.retain(|id| is_live(slots, *id));
            if self.begun.len() > self.begun.capacity() / 2 {
                self.begun.reserve(self.begun.capacity());
            }
        }
        self.begun.push_back(id);
        self.call(name, id);
        self.slots.get_mut(slot as usize).map(|slot| &mut slot.known)
    }

    /// Finds room for a connection.
    fn take(&mut self) -> u32 {
        let mut spared = 0;
        while self.free.is_empty() && self.slots.len() >= MOST {
            let Some(id) = self.begun.pop_front() else {
                self.forget();
                break;
            };
            match self.slots.get(id.slot as usize).filter(|slot| slot.turn == id.turn) {
                Some(slot) if spared < SPARED && slot.known.stays() => {
                    spared += 1;
                    self.begun.push_back(id);
                }
                Some(_) => self.release(id),
                None => {}
            }
        }
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        })
    }

    fn release(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(id.slot as usize) {
            slot.turn = slot.turn.wrapping_add(1);
            self.free.push(id.slot);
        }
    }

    fn call(&mut self, name: T::Name<'_>, id: Id) {
        // Names of what is forgotten go together, now and then.
        if self.names.len() >= 4 * MOST {
            let slots = &self.slots;
            self.names.retain(|_, id| is_live(slots, *id));
            if self.names.len() > 3 * MOST {
                // No program gives its connections so many names.
                self.names.clear();
            }
        }
        self.names.insert(T::hash(name), id);
    }

    fn forget(&mut self) {
        self.names.clear();
        self.begun.clear();
        self.free.clear();
        for (slot, index) in self.slots.iter_mut().zip(0..) {
            slot.turn = slot.turn.wrapping_add(1);
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    /// A connection with a number, perhaps a session, and a user.
    #[derive(Debug, Default)]
    struct Call {
        connection: Text,
        session: Text,
        user: Text,
    }

    impl Known for Call {
        type Name<'n> = &'n str;

        fn hash(name: &str) -> u64 {
            xxh3_64(name.as_bytes())
        }

        fn begin(&mut self, name: &str) -> bool {
            self.session.clear();
            self.user.clear();
            self.connection.set(name.as_bytes())
        }

        fn is(&self, name: &str) -> bool {
            [&self.connection, &self.session].iter().any(|text| text.get() == name.as_bytes())
        }
    }

    fn begin(join: &mut Join<Call>, connection: &str, user: &str) {
        join.begin(connection).unwrap().user.set(user.as_bytes());
    }

    fn user(join: &Join<Call>, name: &str) -> Option<String> {
        join.get(name).map(|known| String::from_utf8_lossy(known.user.get()).into_owned())
    }

    fn session(join: &mut Join<Call>, session: &str, connection: &str) {
        join.get_mut(connection).unwrap().session.set(session.as_bytes());
        join.alias(session, connection);
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
        join.end("CID-1");
        assert_eq!(user(&join, "CID-1"), None);
        begin(&mut join, "CID-2", "carol");
        join.forget();
        assert_eq!(user(&join, "CID-2"), None);
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
        assert_eq!(place.slots.len(), MOST);
        assert!(place.names.len() <= 4 * MOST, "{}", place.names.len());
        assert_eq!(user(&join, "CID-0"), None);
        assert!(user(&join, &format!("SID-{}", 20 * MOST - 1)).is_some());
        assert!(join.begin(&"x".repeat(1 << 20)).is_none());
        let mut long = Text::default();
        assert!(!long.set(&vec![b'x'; 1 << 20]) && long.get().is_empty());
    }

    /// A session that stays is not pushed out by connections that come and go.
    #[test]
    fn what_ended_makes_room_first() {
        let mut join = Join::default();
        join.at(1);
        begin(&mut join, "stays", "alice");
        for number in 0..20 * MOST {
            let name = format!("CID-{number}");
            begin(&mut join, &name, "u");
            join.end(&name);
        }
        assert_eq!(user(&join, "stays").unwrap(), "alice");
        let place = join.places.last().unwrap();
        assert!(place.slots.len() == 2 && place.begun.len() <= 2 * MOST && place.names.len() <= 4 * MOST);
    }

    /// One connection may be given a name again and again.
    #[test]
    fn names_are_bounded() {
        let mut join = Join::default();
        join.at(1);
        begin(&mut join, "CID-1", "alice");
        for number in 0..20 * MOST {
            join.alias(&format!("SID-{number}"), "CID-1");
            assert!(join.places[0].names.len() <= 4 * MOST);
        }
        begin(&mut join, "CID-1", "alice");
        assert_eq!(user(&join, "CID-1").unwrap(), "alice");
    }
}
