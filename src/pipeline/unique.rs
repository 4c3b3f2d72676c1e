//! Exact repeats of a line.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::Mutex,
};

/// The lines seen so far, as hashes of 128 bits: 16 bytes a line and the table's slack.
///
/// Shared by all threads. The keys of the hash are random, so nobody can write two lines that collide.
pub(super) struct Unique {
    keys: [RandomState; 2],
    shards: [Mutex<HashSet<u128, foldhash::fast::FixedState>>; SHARDS],
}

const SHARDS: usize = 64;

impl Default for Unique {
    fn default() -> Self {
        Unique { keys: Default::default(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Unique {
    /// Whether this line has not been seen before.
    pub(super) fn insert(&self, line: &[u8]) -> bool {
        let [low, high] = self.keys.each_ref().map(|it| it.hash_one(line));
        let shard = &self.shards[low as usize % SHARDS];
        shard.lock().expect("no holder panics").insert(u128::from(high) << 64 | u128::from(low))
    }
}
