//! A point in time, as audit events carry it: whole microseconds, UTC.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since the Unix epoch. Finer digits are cut off, as the API server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// An RFC 3339 time with any number of fraction digits and any offset.
    pub fn parse(text: &[u8]) -> Option<Timestamp> {
        parse_usual(text).or_else(|| parse_any(text))
    }

    /// The same moment for calendar work; `None` outside the years -9999 to 9999.
    pub fn to_jiff(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }
}

/// `2026-11-22T10:11:12.123456Z` and the same with fewer or more digits: all that API servers write.
fn parse_usual(text: &[u8]) -> Option<Timestamp> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    if [head[4], head[7], head[10], head[13], head[16]] != *b"--T::" {
        return None;
    }
    let (year, month, day) = (number(&head[..4])?, number(&head[5..7])?, number(&head[8..10])?);
    let (hour, minute, second) =
        (number(&head[11..13])?, number(&head[14..16])?, number(&head[17..])?);
    if !(1..=12).contains(&month)
        || day < 1
        || day > days_in(year, month)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let micros = match rest {
        [b'.', digits @ .., b'Z'] if digits.len() == 6 => number(digits)?,
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if !digits.is_empty() => {
            let (kept, rest) = digits.split_at(digits.len().min(6));
            if !rest.iter().all(u8::is_ascii_digit) {
                return None;
            }
            number(kept)? * 10_i64.pow(6 - kept.len() as u32)
        }
        _ => return None,
    };
    let seconds = days_before(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

/// The number of these few digits.
#[inline(always)]
fn number(digits: &[u8]) -> Option<i64> {
    let (mut number, mut is_odd) = (0, false);
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        is_odd |= digit > 9;
        number = number * 10 + i64::from(digit);
    }
    (!is_odd).then_some(number)
}

/// Offsets, lower case, leap seconds: rare enough to be slow.
fn parse_any(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(time.as_nanosecond().div_euclid(1_000) as i64))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this date of the proleptic Gregorian calendar.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    // March is the first month of the computation, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with exactly six fraction digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_jiff() {
            Some(time) => write!(f, "{time:.6}"),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text.as_bytes())
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown =
            Timestamp::parse(text.as_bytes()).map_or("none".to_owned(), |it| it.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn micros() {
        check("2026-11-22T10:11:12.123456Z", "2026-11-22T10:11:12.123456Z");
    }
    #[test]
    fn no_fraction() {
        check("2026-11-22T10:11:12Z", "2026-11-22T10:11:12.000000Z");
    }
    #[test]
    fn nanos_are_cut() {
        check("2026-11-22T10:11:12.123456999Z", "2026-11-22T10:11:12.123456Z");
    }
    #[test]
    fn offset() {
        check("2026-11-22T10:11:12.5+02:00", "2026-11-22T08:11:12.500000Z");
    }
    #[test]
    fn leap_day() {
        check("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z");
        check("2023-02-29T00:00:00Z", "none");
    }
    #[test]
    fn before_the_epoch() {
        check("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z");
    }
    #[test]
    fn nonsense() {
        check("yesterday", "none");
        check("2026-13-01T00:00:00Z", "none");
        check("2026-11-22T10:11:12.Z", "none");
        check("", "none");
    }

    proptest::proptest! {
        /// The fast way and the calendar library agree on every second.
        #[test]
        fn usual_is_any(seconds in -62_135_596_800_i64..253_402_300_799, micros in 0_i64..1_000_000) {
            let time = jiff::Timestamp::from_microsecond(seconds * 1_000_000 + micros).expect("in range");
            let text = format!("{time:.6}");
            proptest::prop_assert_eq!(parse_usual(text.as_bytes()), parse_any(text.as_bytes()));
            proptest::prop_assert_eq!(Timestamp::parse(text.as_bytes()).map(|it| it.to_string()), Some(text));
        }
    }
}
