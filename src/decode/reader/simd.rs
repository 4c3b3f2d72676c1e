//! Finds quotes, backslashes and brackets in 16 to 64 bytes at a time.
//!
//! Safe code: the vectors are those of `wide`, which every x86-64 (SSE2) and arm64 (NEON) has.

use wide::u8x16;

/// Where the marks of JSON are in a block of 64 bytes: one bit per byte, the first byte lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    pub quotes: u64,
    pub backslashes: u64,
    /// `{` and `[`
    pub opens: u64,
    /// `}` and `]`
    pub closes: u64,
}

/// Returns the sixteen bytes of a block from `at`.
#[inline(always)]
fn part<const N: usize>(block: &[u8; N], at: usize) -> u8x16 {
    u8x16::new(*block[at..].first_chunk().expect("the place is in the block"))
}

/// Returns whether `bytes` start with a `prefix` of some hundred bytes.
#[inline(always)]
pub(crate) fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..prefix.len()) else { return false };
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (prefix_blocks, prefix_rest) = prefix.as_chunks::<64>();
    for (a, b) in blocks.iter().zip(prefix_blocks) {
        let first = part(a, 0).simd_eq(part(b, 0)) & part(a, 16).simd_eq(part(b, 16));
        let last = part(a, 32).simd_eq(part(b, 32)) & part(a, 48).simd_eq(part(b, 48));
        if (first & last).to_bitmask() != 0xFFFF {
            return false;
        }
    }
    rest == prefix_rest
}

/// Marks quotes and backslashes.
#[inline(always)]
fn quotes_or_backslashes(text: u8x16) -> u8x16 {
    text.simd_eq(u8x16::splat(b'"')) | text.simd_eq(u8x16::splat(b'\\'))
}

/// Marks quotes, backslashes and newlines.
#[inline(always)]
fn ends_text(text: u8x16) -> u8x16 {
    quotes_or_backslashes(text) | text.simd_eq(u8x16::splat(b'\n'))
}

/// Returns the bits of quotes, backslashes, opening and closing brackets among sixteen bytes.
#[inline(always)]
fn marks(bytes: &[u8; 16]) -> [u32; 4] {
    let block = u8x16::new(*bytes);
    let is = |block: u8x16, byte| block.simd_eq(u8x16::splat(byte)).to_bitmask();
    // This bit turns `[` and `]` into `{` and `}`, and no other byte.
    let folded = block | u8x16::splat(0x20);
    [is(block, b'"'), is(block, b'\\'), is(folded, b'{'), is(folded, b'}')]
}

/// Marks printable ASCII except backslashes.
#[inline(always)]
fn plain(text: u8x16) -> u8x16 {
    let clamped = text.max(u8x16::splat(0x20)).min(u8x16::splat(0x7F));
    clamped.simd_eq(text) & !text.simd_eq(u8x16::splat(b'\\'))
}

/// Returns whether all bytes are printable ASCII and none is a backslash.
#[inline(always)]
pub(crate) fn is_plain(bytes: &[u8]) -> bool {
    let is_odd = |it: u8| !(0x20..0x80).contains(&it) || it == b'\\';
    let (blocks, rest) = bytes.as_chunks::<16>();
    blocks.iter().all(|it| plain(u8x16::new(*it)).to_bitmask() == 0xFFFF)
        && !rest.iter().any(|it| is_odd(*it))
}

/// Returns whether this is a string of printable ASCII without escapes, which is always valid JSON.
#[inline(always)]
pub(crate) fn is_plain_string(raw: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = raw else { return false };
    is_plain(inner)
}

/// Returns whether all of these 16 to 48 bytes are printable ASCII, and none is a quote or a backslash.
#[inline(always)]
pub(crate) fn is_plain_text<const N: usize>(bytes: &[u8; N]) -> bool {
    const { assert!(N >= 16 && N <= 48) };
    let is_plain = |text: u8x16| plain(text) & !text.simd_eq(u8x16::splat(b'"'));
    let mut found = is_plain(part(bytes, 0)) & is_plain(part(bytes, N - 16));
    if N > 32 {
        found &= is_plain(part(bytes, 16));
    }
    found.to_bitmask() == 0xFFFF
}

/// Returns the first marked byte among the next 16 · `N`. All of them are compared without a branch, so
/// there is none to mispredict where the byte is mostly so near. `None` also if fewer bytes are left.
#[inline(always)]
fn first_near<const N: usize>(
    bytes: &[u8],
    from: usize,
    is_marked: impl Fn(u8x16) -> u8x16,
) -> Option<usize> {
    const { assert!(N <= 8) };
    let (blocks, _) = bytes.get(from..)?.as_chunks::<16>();
    let mut mask = 0_u128;
    for (n, block) in blocks.first_chunk::<N>()?.iter().enumerate() {
        mask |= u128::from(is_marked(u8x16::new(*block)).to_bitmask()) << (16 * n);
    }
    (mask != 0).then(|| from + mask.trailing_zeros() as usize)
}

/// Returns the place of the closing quote of the string whose content begins at `from`, if all before it
/// is printable ASCII and no backslash. It is mostly among the first 16 · `N` bytes.
#[inline(always)]
pub(crate) fn plain_end<const N: usize>(bytes: &[u8], from: usize) -> Option<usize> {
    let is_end = |text: u8x16| !(plain(text) & !text.simd_eq(u8x16::splat(b'"')));
    let mut at = from;
    let end = first_near::<N>(bytes, from, is_end).or_else(|| {
        // In a line as API servers write it, no string ends so near to the end.
        while bytes.len() > at + 16 {
            let end = first_near::<1>(bytes, at, is_end);
            if end.is_some() {
                return end;
            }
            at += 16;
        }
        None
    })?;
    (bytes[end] == b'"').then_some(end)
}

/// Returns the place of the closing quote of the string whose content begins at `from`, if it is on this
/// line, mostly among the first 16 · `N` bytes.
#[inline(always)]
pub(crate) fn near_string_end<const N: usize>(bytes: &[u8], from: usize) -> Option<usize> {
    match first_near::<N>(bytes, from, ends_text) {
        Some(end) if bytes[end] == b'"' => Some(end),
        _ => string_end(bytes, from),
    }
}

/// Returns the first brace or newline at or after `from`, mostly among the next 128 bytes.
#[inline(always)]
pub(crate) fn brace(bytes: &[u8], from: usize) -> Option<usize> {
    let is_marked = |text: u8x16| {
        let is = |byte| text.simd_eq(u8x16::splat(byte));
        is(b'{') | is(b'}') | is(b'\n')
    };
    first_near::<8>(bytes, from, is_marked)
        .or_else(|| memchr::memchr3(b'{', b'}', b'\n', &bytes[from..]).map(|it| from + it))
}

impl Marks {
    #[inline(always)]
    pub(crate) fn new(block: &[u8; 64]) -> Marks {
        let mut all = Marks { quotes: 0, backslashes: 0, opens: 0, closes: 0 };
        let (parts, _) = block.as_chunks::<16>();
        for (n, part) in parts.iter().enumerate() {
            let [quotes, backslashes, opens, closes] = marks(part);
            all.quotes |= u64::from(quotes) << (16 * n);
            all.backslashes |= u64::from(backslashes) << (16 * n);
            all.opens |= u64::from(opens) << (16 * n);
            all.closes |= u64::from(closes) << (16 * n);
        }
        all
    }
}

/// Returns the first quote, backslash or newline at or after `from`. A JSON string holds no newline, so a
/// search for its end in a text of several lines stays on its line.
#[inline(always)]
pub(crate) fn quote_or_backslash(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|it| it.first_chunk::<16>()) {
        let mask = ends_text(u8x16::new(*block)).to_bitmask();
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += 16;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|it| matches!(it, b'"' | b'\\' | b'\n')).map(|it| at + it)
}

/// Returns the place of the closing quote of the string whose content begins at `from`, if it is on this
/// line.
#[inline(always)]
pub(crate) fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = quote_or_backslash(bytes, from)?;
    while bytes[at] == b'\\' && *bytes.get(at + 1)? != b'\n' {
        at = quote_or_backslash(bytes, at + 2)?;
    }
    (bytes[at] == b'"').then_some(at)
}

/// Returns the end of a list or object, behind its closing bracket. `from` is inside it, outside of any
/// string, `depth` brackets deep.
///
/// Brackets are counted, not matched by kind, since skipped values are not checked.
pub(crate) fn container_end(bytes: &[u8], from: usize, depth: usize) -> Option<usize> {
    let mut state = BlockSearch { depth, in_string: 0, is_escaped: 0 };
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|it| it.first_chunk::<64>()) {
        if let Some(end) = state.advance(Marks::new(block)) {
            return Some(at + end);
        }
        at += 64;
    }
    let rest = bytes.get(at..)?;
    let mut block = [0; 64];
    block[..rest.len()].copy_from_slice(rest);
    state.advance(Marks::new(&block)).map(|end| at + end)
}

/// The state of a search by blocks.
struct BlockSearch {
    depth: usize,
    /// All ones inside a string.
    in_string: u64,
    /// One if the next block's first byte follows an escaping backslash.
    is_escaped: u64,
}

impl BlockSearch {
    /// Searches a block. Returns the offset behind the bracket that brings the depth to zero.
    #[inline(always)]
    fn advance(&mut self, marks: Marks) -> Option<usize> {
        let quotes = if marks.backslashes | self.is_escaped == 0 {
            marks.quotes
        } else {
            marks.quotes & !self.escaped(marks.backslashes)
        };
        let inside = prefix_xor(quotes) ^ self.in_string;
        self.in_string = ((inside as i64) >> 63) as u64;
        let closes = marks.closes & !inside;
        let mut brackets = (marks.opens & !inside) | closes;
        while brackets != 0 {
            let at = brackets.trailing_zeros();
            if closes >> at & 1 == 1 {
                self.depth -= 1;
                if self.depth == 0 {
                    return Some(at as usize + 1);
                }
            } else {
                self.depth += 1;
            }
            brackets &= brackets - 1;
        }
        None
    }

    /// Returns the bits of the bytes that a backslash escapes.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = self.is_escaped;
        let mut open = backslashes & !escaped;
        self.is_escaped = 0;
        while open != 0 {
            let at = open.trailing_zeros();
            if at == 63 {
                self.is_escaped = 1;
                break;
            }
            escaped |= 2 << at;
            open &= !(3 << at);
        }
        escaped
    }
}

/// Replaces each bit by the exclusive or of itself and all lower bits.
#[inline(always)]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, a byte at a time.
    fn slow_container_end(bytes: &[u8], from: usize, mut depth: usize) -> Option<usize> {
        let mut at = from;
        while at < bytes.len() {
            match bytes[at] {
                b'"' => at = slow_string_end(bytes, at + 1)?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn slow_string_end(bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while at < bytes.len() {
            match bytes[at] {
                b'"' => return Some(at),
                b'\n' => return None,
                b'\\' if bytes.get(at + 1) == Some(&b'\n') => return None,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        None
    }

    /// Mostly what matters, in runs long enough to cross blocks.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::collection::vec(prop::sample::select(&b"\"\\{}[]a:, "[..]), 0..9),
            1 => (prop::sample::select(&b"\\a\"{"[..]), 0..70_usize).prop_map(|(byte, n)| vec![byte; n]),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|it| it.concat())
    }

    proptest! {
        #[test]
        fn strings(bytes in bytes(), from in 0..8_usize) {
            let end = slow_string_end(&bytes, from);
            prop_assert_eq!(string_end(&bytes, from), end);
            prop_assert_eq!(near_string_end::<1>(&bytes, from), end);
            prop_assert_eq!(near_string_end::<8>(&bytes, from), end);
            let first = bytes.iter().skip(from).position(|it| b"{}\n".contains(it)).map(|it| from + it);
            prop_assert_eq!(bytes.get(from..).and_then(|_| brace(&bytes, from)), first);
        }

        // A backslash outside of strings is no JSON; there the two may differ.
        #[test]
        fn containers(bytes in bytes(), depth in 1..4_usize) {
            let mut valid = Vec::new();
            let mut in_string = false;
            let mut is_escaped = false;
            for byte in bytes {
                if byte == b'\\' && !in_string {
                    continue;
                }
                in_string ^= byte == b'"' && !is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                valid.push(byte);
            }
            prop_assert_eq!(container_end(&valid, 0, depth), slow_container_end(&valid, 0, depth));
        }

        #[test]
        fn plain_bytes(bytes in prop::collection::vec(prop_oneof![9 => 0x20..0x7f_u8, 1 => any::<u8>()], 0..40)) {
            let expected = bytes.iter().all(|it| (0x20..0x80).contains(it) && *it != b'\\');
            prop_assert_eq!(is_plain(&bytes), expected);
        }

        #[test]
        fn plain_texts(bytes in prop::collection::vec(prop_oneof![19 => 0x20..0x7f_u8, 1 => any::<u8>()], 48)) {
            let is_plain = |bytes: &[u8]| bytes.iter().all(|it| (0x20..0x80).contains(it) && !b"\"\\".contains(it));
            let text: &[u8; 48] = bytes.first_chunk().expect("as long as made");
            prop_assert_eq!(is_plain_text(text), is_plain(&bytes));
            prop_assert_eq!(is_plain_text(text.first_chunk::<27>().expect("shorter")), is_plain(&bytes[..27]));
            let end = bytes.iter().position(|it| !is_plain(&[*it]));
            let expected = end.filter(|it| bytes[*it] == b'"');
            let expected = expected.filter(|it| *it < 32);
            prop_assert_eq!(plain_end::<1>(&bytes, 0).filter(|it| *it < 32), expected);
            prop_assert_eq!(plain_end::<2>(&bytes, 0).filter(|it| *it < 32), expected);
        }

        #[test]
        fn prefixes(bytes in prop::collection::vec(any::<u8>(), 0..300), len in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
            let len = len.index(bytes.len() + 1);
            let mut prefix = bytes[..len].to_vec();
            prop_assert!(starts_with(&bytes, &prefix));
            prop_assert!(!starts_with(&bytes[..len], &[&prefix[..], b"x"].concat()));
            if len > 0 {
                prefix[other.index(len)] ^= 1;
                prop_assert!(!starts_with(&bytes, &prefix));
            }
        }

        #[test]
        fn marks_of_any_bytes(bytes in prop::array::uniform16(any::<u8>())) {
            let mask = |wanted: &[u8]| (0..16).filter(|at| wanted.contains(&bytes[*at])).fold(0, |mask, at| mask | 1 << at);
            prop_assert_eq!(marks(&bytes), [mask(b"\""), mask(b"\\"), mask(b"{["), mask(b"}]")]);
            prop_assert_eq!(quotes_or_backslashes(u8x16::new(bytes)).to_bitmask(), mask(b"\"\\"));
        }
    }
}
