//! The fast reader's cache: users with their clients, and the day.
//!
//! User objects are the longest part of most lines, and few users make most requests, each from one
//! client. Equal bytes are an equal value that ends at the same place, so they need not be parsed again.

use std::ops::Range;

use super::{Found, fast_path::TIME, simd};
use crate::event::Timestamp;

/// Values that repeat from line to line.
#[derive(Debug, Clone, Default)]
pub(super) struct LineCache {
    pub users: UserCache,
    pub clock: DayClock,
}

/// A user object that was read before, and the client fields behind it.
#[derive(Debug, Clone)]
pub(super) struct CachedUser {
    /// The object, then from comma to quote the source address and the user agent that followed it.
    pub bytes: Vec<u8>,
    /// The length of the object.
    pub len: usize,
    /// Each wanted value in it: slot, place in the object, depth and kind.
    pub found: Vec<(usize, Range<usize>, Found<'static>)>,
    pub has_name: bool,
}

/// The last two users for each hash of their first bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct UserCache {
    buckets: Vec<[Option<Box<CachedUser>>; 2]>,
}

/// How many pairs of users are cached.
const BUCKETS: usize = 512;
/// Longer objects are not cached, so that a log cannot make the cache large.
const MAX_LEN: usize = 4 << 10;
/// How many bytes are hashed: the name and the uid, as the API server writes them.
const HASHED: usize = 96;

/// Odd numbers without a pattern, one for each eight hashed bytes.
const MIX: [u64; HASHED / 16] = [
    0x9E37_79B9_7F4A_7C15,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0xFF51_AFD7_ED55_8CCD,
    0xC4CE_B9FE_1A85_EC53,
    0x8546_2D4B_6E5C_93A7,
];

impl UserCache {
    /// Returns the bucket of the user at the start of `bytes`; `None` for the short rest of a line.
    #[inline(always)]
    fn bucket(bytes: &[u8]) -> Option<usize> {
        let (words, _) = bytes.first_chunk::<HASHED>()?.as_chunks::<8>();
        let mut hash = 0;
        // The products do not depend on each other. All users start alike, so the first words are left out.
        for n in (2..HASHED / 8).step_by(2) {
            let [low, high] = [u64::from_le_bytes(words[n]), u64::from_le_bytes(words[n + 1])];
            let product = u128::from(low ^ MIX[n / 2 - 1]) * u128::from(high ^ MIX[n / 2]);
            hash ^= product as u64 ^ (product >> 64) as u64;
        }
        Some((hash >> 54) as usize % BUCKETS)
    }

    /// Returns the cached user whose object is at the start of `bytes`.
    #[inline(always)]
    pub(super) fn get(&mut self, bytes: &[u8]) -> Option<&mut CachedUser> {
        let [first, second] = self.buckets.get_mut(Self::bucket(bytes)?)?;
        let is_same = |user: &&mut CachedUser| simd::starts_with(bytes, &user.bytes[..user.len]);
        first.as_deref_mut().filter(is_same).or_else(|| second.as_deref_mut().filter(is_same))
    }

    /// Caches the user at the start of `bytes` in place of the older one of its bucket.
    pub(super) fn insert(&mut self, bytes: &[u8], user: CachedUser) {
        let Some(bucket) = Self::bucket(bytes) else { return };
        if self.buckets.is_empty() {
            self.buckets.resize_with(BUCKETS, Default::default);
        }
        let [first, second] = &mut self.buckets[bucket];
        *second = first.replace(Box::new(user));
    }
}

impl CachedUser {
    pub(super) fn new(
        object: &[u8],
        found: Vec<(usize, Range<usize>, Found<'static>)>,
        has_name: bool,
    ) -> CachedUser {
        CachedUser { bytes: object.into(), len: object.len(), found, has_name }
    }

    /// Returns whether an object is short enough to be cached.
    pub(super) fn is_cacheable(raw: &[u8]) -> bool {
        raw.len() <= MAX_LEN
    }

    /// Sets the client fields that followed the user in the last line.
    pub(super) fn set_client(&mut self, client: &[u8]) {
        self.bytes.truncate(self.len);
        self.bytes.extend_from_slice(client);
    }
}

/// Added to a digit above nine, or to anything but zero where zero must be, makes the upper half of the
/// byte differ from zero.
const BELOW_TEN: u128 = u128::from_le_bytes([6, 6, 15, 6, 6, 15, 6, 6, 15, 6, 6, 6, 6, 6, 6, 15]);
const TOP_BITS: u128 = u128::from_le_bytes([0xF0; 16]);

/// Parses timestamps. Caches the start of the last day, since the next line is mostly of the same day.
#[derive(Debug, Clone, Default)]
pub(super) struct DayClock {
    /// `2026-11-22T`
    day: [u8; 11],
    start: i64,
}

impl DayClock {
    /// Parses a timestamp as API servers write it; `None` for any other.
    #[inline(always)]
    pub(super) fn parse(&mut self, text: &[u8; TIME]) -> Option<Timestamp> {
        let (day, time) = text.split_first_chunk::<11>()?;
        let time = u128::from_le_bytes(*time.first_chunk()?);
        // `10:11:12.` and the digits behind the point, each digit with its own value.
        const ZERO: u128 = u128::from_le_bytes(*b"00:00:00.000000Z");
        let digits = time ^ ZERO;
        let is_odd = (digits | digits.wrapping_add(BELOW_TEN)) & TOP_BITS;
        let [h0, h1, _, m0, m1, _, s0, s1, _, f @ .., _] = digits.to_le_bytes();
        let pair = |tens: u8, ones: u8| 10 * u32::from(tens) + u32::from(ones);
        let (hour, minute, second) = (pair(h0, h1), pair(m0, m1), pair(s0, s1));
        let micros = (pair(f[0], f[1]) * 100 + pair(f[2], f[3])) * 100 + pair(f[4], f[5]);
        if is_odd != 0 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = i64::from((hour * 60 + minute) * 60 + second);
        let micros = seconds * 1_000_000 + i64::from(micros);
        if *day != self.day {
            self.start = Timestamp::parse(text)?.0 - micros;
            self.day = *day;
        }
        Some(Timestamp(self.start + micros))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The clock agrees with the calendar. It refuses only leap seconds and what is not a time.
        #[test]
        fn parses_times_as_the_calendar_does(times in prop::collection::vec("20[0-9]{2}-(0[1-9]|1[0-3])-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9:]{6}[ZY]", 1..9)) {
            let mut clock = DayClock::default();
            for text in &times {
                let usual = clock.parse(text.as_bytes().first_chunk().expect("as long as made"));
                if let Some(usual) = usual {
                    prop_assert_eq!(Some(usual), Timestamp::parse(text.as_bytes()), "{}", text);
                } else {
                    let is_leap_second = &text[17..19] == "60";
                    prop_assert!(is_leap_second || Timestamp::parse(text.as_bytes()).is_none(), "{}", text);
                }
            }
        }
    }
}
