//! Words that look like nothing but a secret.

/// A long word without a pattern: upper and lower case and digits in disorder.
pub(super) fn is_random(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|it| kind(&it));
    let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let is_hex = word.bytes().all(|it| it.is_ascii_hexdigit());
    if !has(u8::is_ascii_digit) || is_hex || entropy(word) < 4.0 {
        return false;
    }
    match word.bytes().all(|it| it.is_ascii_alphanumeric()) {
        true if is_mixed => word.len() >= 24,
        // Letters of one case: also names are, but not so long and without a mark between parts.
        true => word.len() >= 32,
        // As long as a secret key of AWS, and of its letters.
        false if word.len() == 40 && !word.contains(['-', '_', '=']) => is_mixed,
        // A path or a name of several parts has few digits at a time, and letters of one case together.
        false => is_mixed && word.len() >= 24 && !word.starts_with('/') && is_disordered(word),
    }
}

/// Whether kinds of letters change as often as by chance.
fn is_disordered(word: &str) -> bool {
    let kind = |it: u8| match it {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let pairs = word.as_bytes().windows(2);
    let changes = pairs.clone().filter(|it| kind(it[0]) != kind(it[1])).count();
    let numbers = pairs.filter(|it| kind(it[0]) != 2 && kind(it[1]) == 2).count();
    changes * 5 >= word.len() * 2 && numbers >= 2
}

/// Bits a character, by the frequencies of its bytes.
fn entropy(word: &str) -> f64 {
    let mut counts = [0_u32; 256];
    word.bytes().for_each(|it| counts[usize::from(it)] += 1);
    let share = |it: u32| f64::from(it) / word.len() as f64;
    counts.into_iter().filter(|it| *it > 0).map(|it| -share(it) * share(it).log2()).sum()
}

/// What base64 of either alphabet holds, if that is text.
pub(super) fn decode(word: &str) -> Option<String> {
    let (mut bytes, mut buffer, mut n_bits) = (Vec::new(), 0_u32, 0);
    for byte in word.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(six)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((buffer >> n_bits) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}
