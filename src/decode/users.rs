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

/// Odd numbers without a pattern, one for each half of what is hashed.
const MIX: [u64; 7] = [
    0x9E37_79B9_7F4A_7C15,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0xFF51_AFD7_ED55_8CCD,
    0xC4CE_B9FE_1A85_EC53,
    0x8546_2D4B_6E5C_93A7,
    0xD6E8_FEB8_6659_FD93,
];

impl Users {
    /// Where the user that begins with these bytes is, or would be; `None` for a short rest of a line.
    #[inline(always)]
    pub(super) fn place(&mut self, bytes: &[u8]) -> Option<&mut Option<Box<KnownUser>>> {
        let (words, _) = bytes.first_chunk::<HASHED>()?.as_chunks::<16>();
        // The products do not wait for each other.
        let mix = |hash: u64, (n, word): (usize, &[u8; 16])| {
            let (low, high) =
                (u128::from_le_bytes(*word) as u64, (u128::from_le_bytes(*word) >> 64) as u64);
            let product = u128::from(low ^ MIX[n]) * u128::from(high ^ MIX[n + 1]);
            hash ^ product as u64 ^ (product >> 64) as u64
        };
        let hash = words.iter().enumerate().fold(0, mix);
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
