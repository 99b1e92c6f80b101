//! A hash table of large values, of which there can be many thousands.
//!
//! A hash table has up to twice as many slots as entries, and three times as many while it grows. Here a slot is a pointer, and
//! only what is there takes the room of a value.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<K: Eq + Hash, V>(HashMap<K, Box<V>>);

impl<K: Eq + Hash, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a value for a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// The value for a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// The value for a key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key).map(AsMut::as_mut)
    }

    /// The value for a key, made if it is missing.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(|| Box::new(make()))
    }

    /// Puts a value; gives back the one that it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, Box::new(value)).map(|old| *old)
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key).map(|old| *old)
    }

    /// Keeps the values for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(|key, value| keep(key, value));
    }

    /// The keys, in any order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// The values, in any order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values().map(AsRef::as_ref)
    }

    /// The values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.values_mut().map(AsMut::as_mut)
    }

    /// Keys and values, in any order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// Keys and values, to change these.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (key, value.as_mut()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once_and_replaced_whole() {
        let mut table = Table::default();
        *table.get_or_insert_with("a", || 1) += 1;
        *table.get_or_insert_with("a", || 1) += 1;
        assert_eq!((table.get(&"a"), table.len()), (Some(&3), 1));
        assert_eq!((table.insert("a", 9), table.insert("b", 4)), (Some(3), None));
        table.retain(|_, value| *value > 4);
        assert_eq!((table.remove(&"a"), table.remove(&"b"), table.is_empty()), (Some(9), None, true));
    }
}
