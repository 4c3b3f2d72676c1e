//! Counts per group key: a hash table over groups in one arena, so that an event costs no allocation and
//! looks into as little memory as can be: a count and its key stand side by side.

use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashTable;
use hdrhistogram::Histogram;

use super::Sort;

/// Ends a part of a key; never a byte of UTF-8.
const END: u8 = 0xFF;
/// The one byte of an absent part; never a byte of UTF-8 either.
const ABSENT: u8 = 0xFE;

/// A key while it is put together, behind those of the events that wait: its parts as text, or absent.
#[derive(Debug, Default, Clone)]
pub(super) struct Keys(Vec<u8>);

impl Keys {
    #[inline]
    pub(super) fn push(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
        self.0.push(END);
    }

    /// The same for the first `len` bytes of `text`. Others behind them may be copied and forgotten: a
    /// copy of known length is quicker than one to the byte.
    #[inline]
    pub(super) fn push_first(&mut self, text: &[u8], len: usize) {
        let end = self.0.len() + len;
        match (text.first_chunk::<32>(), text.first_chunk::<64>()) {
            (Some(block), _) if len < 32 => self.0.extend_from_slice(block),
            (_, Some(block)) if len < 64 => self.0.extend_from_slice(block),
            _ => self.0.extend_from_slice(&text[..len]),
        }
        self.0.truncate(end);
        self.0.push(END);
    }

    pub(super) fn push_absent(&mut self) {
        self.0.extend([ABSENT, END]);
    }
}

/// The parts of a key.
pub(super) fn parts(key: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    key.split_inclusive(|it| *it == END).map(|it| match it {
        [ABSENT, END] => None,
        [text @ .., END] => Some(text),
        text => Some(text),
    })
}

/// The order of two keys: part by part, an absent one first, then by their bytes.
fn by_parts(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    // Where they part decides: an absent part is less than the end of a text, which is less than more.
    let place = |byte: u8| byte.wrapping_add(2);
    let (words, _) = a.as_chunks::<8>();
    let (others, _) = b.as_chunks::<8>();
    let same = 8 * words.iter().zip(others).take_while(|(a, b)| a == b).count();
    match a[same..].iter().zip(&b[same..]).find(|(a, b)| a != b) {
        Some((a, b)) => place(*a).cmp(&place(*b)),
        None => a.len().cmp(&b.len()),
    }
}

/// What is counted of a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count<'g> {
    pub count: u64,
    pub bytes: u64,
    /// Microseconds from received to complete.
    pub latency: Option<&'g Latency>,
}

/// A distribution of durations in microseconds. Quantiles are at most 1 % too high.
#[derive(Debug, Clone)]
pub(super) struct Latency {
    histogram: Histogram<u32>,
    max: u64,
}

impl Latency {
    pub(super) fn new() -> Latency {
        Latency { histogram: Histogram::new(2).expect("two digits are allowed"), max: 0 }
    }

    pub(super) fn record(&mut self, micros: u64) {
        self.max = self.max.max(micros);
        // It grows up to any value; what could fail is a fixed bound.
        self.histogram.record(micros).expect("a histogram without a bound takes any value");
    }

    fn merge(&mut self, other: &Latency) {
        self.max = self.max.max(other.max);
        self.histogram.add(&other.histogram).expect("a histogram that grows takes any other");
    }

    /// In microseconds.
    pub(super) fn quantile(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile).min(self.max)
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }
}

/// The groups and their counts.
///
/// At most `max` groups are kept. Where there are more, those with the smallest [`rank`] of their keys
/// are, and the others are counted together: once [settled](Groups::settle), any order and any split
/// of the events gives the same groups.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    table: HashTable<Group>,
    arena: Arena,
    hasher: RandomState,
    /// Events that are counted together: so the memory that one of them looks into is fetched while
    /// others are looked for.
    waiting: Vec<Waiting>,
    keys: Keys,
    max: usize,
    /// Groups of a higher rank are counted in the rest.
    limit: u64,
}

/// An event that is yet to be counted.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    hash: u64,
    /// Where its key ends.
    end: usize,
    bytes: u64,
    micros: Option<u64>,
}

/// How many events wait at most, and about how many bytes of their keys.
const BATCH: usize = 32;
const MOST_WAITING: usize = 16 << 10;

/// Where in the arena a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group(usize);

/// What the groups that did not fit have together: the first in the arena, not in the table.
const REST: Group = Group(0);

/// Groups one behind the other: the words of [`HEAD`], then the key, filled up to a whole word.
#[derive(Debug, Clone, Default)]
struct Arena {
    words: Vec<u64>,
    latencies: Vec<Latency>,
}

const HASH: usize = 0;
const COUNT: usize = 1;
const BYTES: usize = 2;
/// The number of the latency from 1, or 0.
const LATENCY: usize = 3;
const LEN: usize = 4;
/// The words before a key.
const HEAD: usize = 5;

impl Arena {
    fn push(&mut self, hash: u64, key: &[u8]) -> Group {
        let at = self.words.len();
        self.words.extend([hash, 0, 0, 0, key.len() as u64]);
        self.words.resize(at + HEAD + key.len().div_ceil(8), 0);
        bytemuck::cast_slice_mut(&mut self.words[at + HEAD..])[..key.len()].copy_from_slice(key);
        Group(at)
    }

    fn hash(&self, Group(at): Group) -> u64 {
        self.words[at + HASH]
    }

    #[inline(always)]
    fn key(&self, Group(at): Group) -> &[u8] {
        let words = &self.words[at + LEN..];
        &bytemuck::cast_slice(&words[1..])[..words[0] as usize]
    }

    fn count(&self, Group(at): Group) -> Count<'_> {
        let words = &self.words[at..at + HEAD];
        let latency = (words[LATENCY] as usize).checked_sub(1).map(|it| &self.latencies[it]);
        Count { count: words[COUNT], bytes: words[BYTES], latency }
    }

    /// The distribution of a group, new or not.
    fn latency(&mut self, Group(at): Group) -> &mut Latency {
        let n = &mut self.words[at + LATENCY];
        if *n == 0 {
            self.latencies.push(Latency::new());
            *n = self.latencies.len() as u64;
        }
        &mut self.latencies[*n as usize - 1]
    }

    #[inline(always)]
    fn add(&mut self, Group(at): Group, count: u64, bytes: u64) {
        let words = &mut self.words[at..at + HEAD];
        words[COUNT] += count;
        words[BYTES] += bytes;
    }

    fn groups(&self) -> impl Iterator<Item = Group> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let group = Group(at);
            at += HEAD + (*self.words.get(at + LEN)? as usize).div_ceil(8);
            Some(group)
        })
    }
}

/// The same for a key in every run, unlike its hash in the table.
fn rank(key: &[u8]) -> u64 {
    FixedState::default().hash_one(key)
}

impl Groups {
    pub(super) fn new(max: usize) -> Groups {
        let mut arena = Arena::default();
        arena.push(0, b"");
        Groups {
            table: HashTable::new(),
            arena,
            hasher: RandomState::default(),
            waiting: Vec::new(),
            keys: Keys::default(),
            max: max.clamp(1, u32::MAX as usize),
            limit: u64::MAX,
        }
    }

    /// Takes the parts of the key of the next event.
    #[inline]
    pub(super) fn key(&mut self) -> &mut Keys {
        &mut self.keys
    }

    /// Counts an event of the key that was given, of so many bytes and, if that is known, microseconds.
    #[inline]
    pub(super) fn count(&mut self, bytes: u64, micros: Option<u64>) {
        let start = self.waiting.last().map_or(0, |it| it.end);
        let hash = self.hasher.hash_one(&self.keys.0[start..]);
        self.waiting.push(Waiting { hash, end: self.keys.0.len(), bytes, micros });
        if self.waiting.len() == BATCH || self.keys.0.len() > MOST_WAITING {
            self.count_waiting();
        }
    }

    fn count_waiting(&mut self) {
        let (keys, waiting) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.waiting));
        let mut start = 0;
        for it in &waiting {
            let group = self.group(&keys.0[start..it.end], it.hash);
            self.arena.add(group, 1, it.bytes);
            if let Some(micros) = it.micros {
                self.arena.latency(group).record(micros);
            }
            start = it.end;
        }
        (self.keys, self.waiting) = (keys, waiting);
        self.keys.0.clear();
        self.waiting.clear();
    }

    /// The group of a key, new or not.
    #[inline]
    fn group(&mut self, key: &[u8], hash: u64) -> Group {
        match self.table.find(hash, |it| self.arena.key(*it) == key) {
            Some(found) => *found,
            None => self.insert(key, hash),
        }
    }

    #[cold]
    fn insert(&mut self, key: &[u8], hash: u64) -> Group {
        if self.table.len() >= self.max {
            self.shrink();
        }
        if self.limit < u64::MAX && rank(key) > self.limit {
            return REST;
        }
        let group = self.arena.push(hash, key);
        let arena = &self.arena;
        self.table.insert_unique(hash, group, |it| arena.hash(*it));
        group
    }

    /// Keeps the seven eighths of the groups that rank lowest.
    fn shrink(&mut self) {
        let mut ranks: Vec<u64> = self.table.iter().map(|it| rank(self.arena.key(*it))).collect();
        let keep = self.max - self.max.div_ceil(8);
        let (_, limit, _) = ranks.select_nth_unstable(keep.saturating_sub(1));
        let limit = *limit;
        self.lower(limit);
    }

    /// Ends the counting. While counting more may be kept, as it happened; of more groups than fit,
    /// seven eighths of `max` is what every order keeps.
    pub(super) fn settle(&mut self) {
        self.count_waiting();
        if self.limit < u64::MAX {
            self.shrink();
        }
    }

    pub(super) fn merge(&mut self, mut other: Groups) {
        self.count_waiting();
        other.count_waiting();
        if self.table.len() < other.table.len() {
            std::mem::swap(self, &mut other);
        }
        if other.limit < self.limit {
            self.lower(other.limit);
        }
        self.take(&other);
    }

    /// Adds what another one counted.
    fn take(&mut self, other: &Groups) {
        for from in other.arena.groups() {
            let key = other.arena.key(from);
            let to = match from {
                REST => REST,
                _ => self.group(key, self.hasher.hash_one(key)),
            };
            let Count { count, bytes, latency } = other.arena.count(from);
            self.arena.add(to, count, bytes);
            if let Some(latency) = latency {
                self.arena.latency(to).merge(latency);
            }
        }
    }

    /// Moves the groups that rank above `limit` to the rest.
    fn lower(&mut self, limit: u64) {
        let kept = Groups { limit, hasher: self.hasher.clone(), ..Groups::new(self.max) };
        let all = std::mem::replace(self, kept);
        self.take(&all);
    }

    /// The groups in this order, then by key with absent parts first, at most `limit` of them (0: all);
    /// and how many groups were cut off.
    pub(super) fn top(&self, limit: usize, sort: Sort) -> (Vec<(&[u8], Count<'_>)>, usize) {
        let weight = |count: Count<'_>| match sort {
            Sort::Key => 0,
            Sort::Count => count.count,
            Sort::Bytes => count.bytes,
            // A group without a duration comes last.
            Sort::Latency => count.latency.map_or(0, |it| it.quantile(0.99).saturating_add(1)),
        };
        let mut rows: Vec<(u64, &[u8], Group)> = self
            .arena
            .groups()
            .skip(1)
            .map(|it| (weight(self.arena.count(it)), self.arena.key(it), it))
            .collect();
        let by = |a: &(u64, &[u8], Group), b: &(u64, &[u8], Group)| {
            b.0.cmp(&a.0).then_with(|| by_parts(a.1, b.1))
        };
        let n_rows = rows.len();
        if limit > 0 && limit < n_rows {
            rows.select_nth_unstable_by(limit, by);
            rows.truncate(limit);
        }
        rows.sort_unstable_by(by);
        let hidden = n_rows - rows.len();
        let top = rows.into_iter().map(|(_, key, group)| (key, self.arena.count(group)));
        (top.collect(), hidden)
    }

    /// What the groups that did not fit have together, if there are any.
    pub(super) fn rest(&self) -> Option<Count<'_>> {
        Some(self.arena.count(REST)).filter(|it| it.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(keys: &[u16], max: usize) -> Groups {
        let mut groups = Groups::new(max);
        add(&mut groups, keys);
        groups
    }

    fn add(groups: &mut Groups, keys: &[u16]) {
        for key in keys {
            groups.key().push(key.to_string().as_bytes());
            groups.count(0, None);
        }
        groups.count_waiting();
    }

    fn total(groups: &Groups) -> u64 {
        groups.arena.groups().map(|it| groups.arena.count(it).count).sum()
    }

    proptest! {
        #[test]
        fn order_by_parts(keys in prop::array::uniform2(prop::collection::vec(prop::option::of("[aé\u{0}]{0,2}"), 3))) {
            let [a, b] = keys.each_ref().map(|key| {
                let mut buffer = Keys::default();
                for part in key {
                    match part {
                        Some(it) => buffer.push(it.as_bytes()),
                        None => buffer.push_absent(),
                    }
                }
                buffer.0
            });
            prop_assert_eq!(by_parts(&a, &b), keys[0].cmp(&keys[1]));
            let expected = keys[0].iter().map(|it| it.as_deref().map(str::as_bytes));
            prop_assert!(parts(&a).eq(expected));
        }

        /// However many groups: nothing is lost, and no more are kept than allowed.
        #[test]
        fn nothing_is_lost(keys in prop::collection::vec(0..400_u16, 0..900), at in 0.0..1.0_f64, max in 1..200_usize) {
            let at = (keys.len() as f64 * at) as usize;
            let mut split = counted(&keys[at..], max);
            split.merge(counted(&keys[..at], max));
            prop_assert_eq!(total(&split), keys.len() as u64);
            prop_assert!(split.table.len() <= max);
        }

        /// What is kept was counted whole.
        #[test]
        fn kept_groups_are_whole(keys in prop::collection::vec(0..400_u16, 0..900), max in 1..200_usize) {
            let groups = counted(&keys, max);
            for (key, count) in groups.top(0, Sort::Key).0 {
                let text: Vec<u8> = parts(key).flatten().flatten().copied().collect();
                let expected = keys.iter().filter(|it| it.to_string().as_bytes() == text).count();
                prop_assert_eq!(count.count, expected as u64);
            }
        }

        #[test]
        fn any_order_and_split_gives_the_same(
            (keys, shuffled) in prop::collection::vec(0..400_u16, 0..900).prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
            at in 0.0..1.0_f64,
            max in prop_oneof![1..200_usize, Just(1_000)],
        ) {
            let at = (keys.len() as f64 * at) as usize;
            let whole = counted(&keys, max);
            let mut split = counted(&shuffled[at..], max);
            split.merge(counted(&shuffled[..at], max));
            let show = |mut groups: Groups| {
                groups.settle();
                let rows: Vec<_> = groups.top(0, Sort::Count).0.iter().map(|(key, count)| (key.to_vec(), count.count)).collect();
                (rows, groups.arena.count(REST).count)
            };
            prop_assert_eq!(show(split), show(whole));
        }
    }

    proptest! {
        /// The stated error: at most 1 % too high, however the values are split.
        #[test]
        fn quantiles(mut values in prop::collection::vec(0..10_000_000_000_u64, 1..300), at in any::<prop::sample::Index>()) {
            let (mut latency, mut other) = (Latency::new(), Latency::new());
            let at = at.index(values.len());
            values[..at].iter().for_each(|it| latency.record(*it));
            values[at..].iter().for_each(|it| other.record(*it));
            latency.merge(&other);
            values.sort_unstable();
            prop_assert_eq!(latency.max(), values[values.len() - 1]);
            for quantile in [0.5, 0.9, 0.99] {
                let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
                let (exact, shown) = (values[rank - 1] as f64, latency.quantile(quantile) as f64);
                prop_assert!((exact..=exact * 1.01 + 1.0).contains(&shown), "{} for {}", shown, exact);
            }
        }
    }

    #[test]
    fn absent_is_not_empty() {
        let mut key = Keys::default();
        key.push_absent();
        key.push(b"");
        assert_eq!(parts(&key.0).collect::<Vec<_>>(), [None, Some(&b""[..])]);
    }
}
