//! The keys that filters and analyses ask for.

use crate::event::Key;

/// The keys that a filter and an analysis want of every line, each once.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    pub(super) keys: Vec<Key>,
}

/// Where in a [`Record`] the value of a projected key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) usize);

impl Projection {
    /// Asks for a key; the same key gets the same slot.
    pub fn slot(&mut self, key: &Key) -> Slot {
        let found = self.keys.iter().position(|it| it == key);
        Slot(found.unwrap_or_else(|| {
            self.keys.push(key.clone());
            self.keys.len() - 1
        }))
    }

    /// Asks for a key that the program itself names.
    ///
    /// # Panics
    /// If `key` is not the text of a key.
    pub fn want(&mut self, key: &str) -> Slot {
        self.slot(&key.parse().expect("a key written in the program is well-formed"))
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
