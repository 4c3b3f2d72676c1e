//! What the fast reader remembers from line to line: users with their clients, and the minute.
//!
//! User objects are the longest part of most lines, and few users make most requests, each from one
//! client. Equal bytes are an equal value that ends at the same place, so comparing them stands for
//! reading them.

use std::ops::Range;

use super::{Found, bits, usual::TIME};
use crate::event::Timestamp;

/// What a reader of lines remembers.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub users: Users,
    pub clock: Clock,
}

/// A user object that was read before, and the client behind it.
#[derive(Debug, Clone)]
pub(super) struct KnownUser {
    /// The object, then from comma to quote the source IPs and the user agent that followed it.
    pub bytes: Vec<u8>,
    /// The length of the object.
    pub len: usize,
    /// Of each wanted value in it: slot, place in the object, depth and kind.
    pub found: Vec<(usize, Range<usize>, Found<'static>)>,
    pub has_name: bool,
}

/// The last two users of each hash of their first bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Users {
    places: Vec<[Option<Box<KnownUser>>; 2]>,
}

/// How many pairs of users are remembered.
const PLACES: usize = 512;
/// A longer object is not kept, so that a log cannot make this large.
const MAX_LEN: usize = 4 << 10;
/// The bytes that are hashed: the name and the uid, as the API server writes them.
const HASHED: usize = 96;

/// Odd numbers without a pattern, one for each half of what is hashed.
const MIX: [u64; HASHED / 16] = [
    0x9E37_79B9_7F4A_7C15,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0xFF51_AFD7_ED55_8CCD,
    0xC4CE_B9FE_1A85_EC53,
    0x8546_2D4B_6E5C_93A7,
];

impl Users {
    /// Where the user that begins with these bytes is, or would be; `None` for a short rest of a line.
    #[inline(always)]
    fn place(bytes: &[u8]) -> Option<usize> {
        let (words, _) = bytes.first_chunk::<HASHED>()?.as_chunks::<8>();
        let mut hash = 0;
        // The products do not wait for each other. All users begin alike: the first words say nothing.
        for n in (2..HASHED / 8).step_by(2) {
            let [low, high] = [u64::from_le_bytes(words[n]), u64::from_le_bytes(words[n + 1])];
            let product = u128::from(low ^ MIX[n / 2 - 1]) * u128::from(high ^ MIX[n / 2]);
            hash ^= product as u64 ^ (product >> 64) as u64;
        }
        Some((hash >> 54) as usize % PLACES)
    }

    /// The user whose object these bytes begin with, if it is remembered.
    #[inline(always)]
    pub(super) fn known(&mut self, bytes: &[u8]) -> Option<&mut KnownUser> {
        let [first, second] = self.places.get_mut(Self::place(bytes)?)?;
        let is_it = |it: &&mut KnownUser| bits::starts_with(bytes, &it.bytes[..it.len]);
        first.as_deref_mut().filter(is_it).or_else(|| second.as_deref_mut().filter(is_it))
    }

    /// Remembers the user whose object `bytes` begin with, instead of the older one of its place.
    pub(super) fn keep(&mut self, bytes: &[u8], user: KnownUser) {
        let Some(place) = Self::place(bytes) else { return };
        if self.places.is_empty() {
            self.places.resize_with(PLACES, Default::default);
        }
        let [first, second] = &mut self.places[place];
        *second = first.replace(Box::new(user));
    }
}

impl KnownUser {
    pub(super) fn new(
        object: &[u8],
        found: Vec<(usize, Range<usize>, Found<'static>)>,
        has_name: bool,
    ) -> KnownUser {
        KnownUser { bytes: object.into(), len: object.len(), found, has_name }
    }

    /// Whether an object is worth keeping.
    pub(super) fn is_kept(raw: &[u8]) -> bool {
        raw.len() <= MAX_LEN
    }

    /// Remembers what followed it the last time.
    pub(super) fn keep_client(&mut self, client: &[u8]) {
        self.bytes.truncate(self.len);
        self.bytes.extend_from_slice(client);
    }
}

/// What makes the upper half of a byte differ from zero, added to any digit's value above nine; and added
/// to what must be zero, for anything but zero.
const BELOW_TEN: u128 = u128::from_le_bytes([6, 6, 15, 6, 6, 15, 6, 6, 15, 6, 6, 6, 6, 6, 6, 15]);
const TOP_BITS: u128 = u128::from_le_bytes([0xF0; 16]);

/// The day that was read last: the next line is mostly of the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    /// `2026-11-22T`
    day: [u8; 11],
    start: i64,
}

impl Clock {
    /// A time as API servers write it.
    #[inline(always)]
    pub(super) fn time(&mut self, text: &[u8; TIME]) -> Option<Timestamp> {
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
        /// What the clock gives, the calendar gives; what it does not is no time, or a leap second.
        #[test]
        fn clock(times in prop::collection::vec("20[0-9]{2}-(0[1-9]|1[0-3])-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9:]{6}[ZY]", 1..9)) {
            let mut clock = Clock::default();
            for text in &times {
                let usual = clock.time(text.as_bytes().first_chunk().expect("as long as made"));
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
