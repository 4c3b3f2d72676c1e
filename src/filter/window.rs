//! A span of time, both ends inclusive, and the times that a person writes.

use jiff::{Zoned, civil, tz::TimeZone};

use super::FilterError;
use crate::event::Timestamp;
pub use crate::event::Window;

impl Window {
    /// The window of these two texts, seen from `now`.
    ///
    /// # Errors
    /// If one is no time, or the window ends before it begins.
    pub fn new(
        since: Option<&str>,
        until: Option<&str>,
        now: Timestamp,
    ) -> Result<Window, FilterError> {
        let since_time = since.map(|it| time(it, now)).transpose()?;
        let until_time = until.map(|it| time(it, now)).transpose()?;
        if let (Some(from), Some(to), Some(text)) = (since_time, until_time, until)
            && to < from
        {
            let reason = format!("the window ends ({to}) before it begins ({from})");
            return Err(FilterError::new(text, 0, reason)
                .of_time()
                .hint("exchange --since and --until"));
        }
        Ok(Window { since: since_time, until: until_time })
    }
}

/// A duration back from `now` (`15m`, `2h30m`, `1d`, `1w`) or a time (RFC 3339, `2026-01-02`,
/// `2026-01-02 03:04`, `now`, `today`, `yesterday`); without a zone it is UTC.
///
/// # Errors
/// If it is none of these.
pub fn time(text: &str, now: Timestamp) -> Result<Timestamp, FilterError> {
    let trimmed = text.trim();
    let midnight = |micros: i64| Timestamp(micros.saturating_sub(micros.rem_euclid(DAY)));
    let named = match trimmed {
        "now" => Some(now),
        "today" => Some(midnight(now.0)),
        "yesterday" => Some(midnight(now.0.saturating_sub(DAY))),
        _ => None,
    };
    let back = || duration(trimmed).and_then(|micros| now.0.checked_sub(micros)).map(Timestamp);
    named.or_else(|| Timestamp::parse(trimmed.as_bytes())).or_else(|| calendar(trimmed)).or_else(back).ok_or_else(|| {
        FilterError::new(text, 0, "neither a duration nor a time")
            .of_time()
            .hint("give a duration such as `15m`, `2h30m`, `1d`, `1w`, or a time such as `2026-01-02`, `2026-01-02 03:04`, `2026-01-02T03:04:05Z`")
    })
}

const DAY: i64 = 86_400_000_000;

/// Microseconds of `1w2d3h4m5s6ms`: numbers, each with a unit.
pub(super) fn duration(text: &str) -> Option<i64> {
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => DAY,
            "w" => 7 * DAY,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// A date, or a date and a time of day, in UTC.
pub(super) fn calendar(text: &str) -> Option<Timestamp> {
    if !text.starts_with(|c: char| c.is_ascii_digit())
        || !(10..=32).contains(&text.len())
        || text.ends_with(']')
    {
        return None;
    }
    let time: civil::DateTime = match text.parse::<civil::DateTime>() {
        Ok(time) => time,
        Err(_) => text.parse::<civil::Date>().ok()?.to_datetime(civil::Time::midnight()),
    };
    let zoned: Zoned = time.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let now = Timestamp::parse(b"2026-11-22T10:30:00Z").expect("a time");
        let shown = time(text, now).map_or_else(|err| err.reason, |it| it.to_string());
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn back_from_now() {
        check("15m", "2026-11-22T10:15:00.000000Z");
        check("2h30m", "2026-11-22T08:00:00.000000Z");
        check("1d12h", "2026-11-20T22:30:00.000000Z");
        check("1w", "2026-11-15T10:30:00.000000Z");
        check("1500ms", "2026-11-22T10:29:58.500000Z");
    }
    #[test]
    fn times() {
        check("2026-01-02", "2026-01-02T00:00:00.000000Z");
        check("2026-01-02 03:04", "2026-01-02T03:04:00.000000Z");
        check("2026-01-02T03:04:05", "2026-01-02T03:04:05.000000Z");
        check("2026-01-02 03:04:05.25", "2026-01-02T03:04:05.250000Z");
        check("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05.000000Z");
        check("2026-01-02 03:04:05Z", "2026-01-02T03:04:05.000000Z");
    }
    #[test]
    fn words() {
        check("now", "2026-11-22T10:30:00.000000Z");
        check("today", "2026-11-22T00:00:00.000000Z");
        check("yesterday", "2026-11-21T00:00:00.000000Z");
    }
    #[test]
    fn neither() {
        for text in [
            "",
            "-5m",
            "5",
            "m",
            "5 m",
            "2026-13-01",
            "soon",
            "99999999999999999999d",
            "20260102",
            "1.5h",
        ] {
            check(text, "neither a duration nor a time");
        }
    }

    #[test]
    fn told_as_a_time() {
        let err = time("soon", Timestamp(0)).expect_err("no time");
        let expected = "cannot read this time: neither a duration nor a time\n  soon\n  ^";
        assert_eq!(err.to_string(), expected);
    }

    #[test]
    fn a_window_ends_after_it_begins() {
        let now = Timestamp(0);
        assert!(Window::new(Some("1h"), Some("2h"), now).is_err());
        assert!(Window::new(Some("2h"), Some("1h"), now).is_ok());
    }
}
