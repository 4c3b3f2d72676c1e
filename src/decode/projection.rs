//! The keys that filters and analyses ask for.

use crate::event::Key;

/// The keys that the filter and the analysis of one run want from every line, each once.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    pub(super) keys: Vec<Key>,
}

/// The place of a projected key's value in a [`Record`](super::Record).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) usize);

impl Projection {
    /// Adds a key and returns its slot. The same key has the same slot.
    pub fn slot(&mut self, key: &Key) -> Slot {
        let found = self.keys.iter().position(|known| known == key);
        Slot(found.unwrap_or_else(|| {
            self.keys.push(key.clone());
            self.keys.len() - 1
        }))
    }

    /// Adds a key that the program itself names and returns its slot.
    ///
    /// # Panics
    /// If `key` is not a well-formed key.
    pub fn want(&mut self, key: &str) -> Slot {
        self.slot(&key.parse().expect("a key written in the program is well-formed"))
    }

    /// Returns the keys in the order of their slots.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
