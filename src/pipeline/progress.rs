//! How far the reading has come, for whoever watches it from another thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of log text read so far.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
}

impl Progress {
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Called once for many lines: an addition per line would be felt.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
