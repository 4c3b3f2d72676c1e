//! The user objects seen lately, by their bytes.
//!
//! They are the longest part of most lines, and few users make most requests. Equal bytes are an
//! equal value that ends at the same place, so comparing them stands for reading them.

use std::ops::Range;

/// A user object that was read before.
#[derive(Debug, Clone)]
pub(super) struct KnownUser {
    pub raw: Box<[u8]>,
    /// Of each wanted value in it: slot, place in `raw`, depth.
    pub found: Vec<(usize, Range<usize>, usize)>,
    pub has_name: bool,
}

/// The last user of each hash of its first bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Users {
    places: Vec<Option<Box<KnownUser>>>,
}

const PLACES: usize = 1024;
/// A longer object is not kept, so that a log cannot make this large.
const MAX_LEN: usize = 4 << 10;
/// The bytes that are hashed: the name and the uid, as the API server writes them.
const HASHED: usize = 96;

impl Users {
    /// Where the user that begins with these bytes is, or would be; `None` for a short rest of a line.
    #[inline(always)]
    pub(super) fn place(&mut self, bytes: &[u8]) -> Option<&mut Option<Box<KnownUser>>> {
        let (words, _) = bytes.first_chunk::<HASHED>()?.as_chunks::<8>();
        let mix = |hash: u64, word: &[u8; 8]| {
            (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        };
        let hash = words.iter().fold(0, mix);
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        Some(&mut self.places[(hash >> 54) as usize % PLACES])
    }
}

impl KnownUser {
    /// Whether an object is worth keeping.
    pub(super) fn is_kept(raw: &[u8]) -> bool {
        raw.len() <= MAX_LEN
    }
}
