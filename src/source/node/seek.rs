//! Where in a log a time is, by looking at a few places of it.

use std::ops::Range;

use jiff::{SignedDuration, Timestamp};
use memchr::memmem;

/// Lines are nearly, but not strictly, in the order of their stage timestamps: a batch waits for 30 s.
pub(in crate::source) const SLACK: SignedDuration = SignedDuration::from_secs(60);

/// A span this long is read rather than looked at more closely.
const CLOSE: u64 = 128 << 10;

/// How much is looked at in one place, at first.
const PROBE: u64 = 16 << 10;

/// The first line that begins at or behind `range.start` and is not older than `time`, as an offset:
/// what begins before is older. `read` gives the bytes of a range.
pub(in crate::source) fn lower_bound<E>(
    read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    range: Range<u64>,
    time: Timestamp,
) -> Result<u64, E> {
    Ok(bounds(read, range, time)?.start)
}

/// The end of a line behind which all are newer than `time`, as an offset.
pub(super) fn upper_bound<E>(
    read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    range: Range<u64>,
    time: Timestamp,
) -> Result<u64, E> {
    let end = range.end;
    let undecided = bounds(read, range, time)?;
    // Between the two, lines begin on both sides of the time; behind, only on the newer one.
    let mut at = undecided.end;
    while at < end {
        let bytes = read(at..end.min(at + PROBE))?;
        if let Some(length) = memchr::memchr(b'\n', &bytes) {
            return Ok(at + length as u64 + 1);
        }
        at += (bytes.len() as u64).max(1);
    }
    Ok(end)
}

/// A short span within which the lines become newer than a time.
fn bounds<E>(
    read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    range: Range<u64>,
    time: Timestamp,
) -> Result<Range<u64>, E> {
    let Range { start: mut low, end: mut high } = range;
    while high - low > CLOSE {
        let middle = low + (high - low) / 2;
        match first_line(read, middle..high)? {
            Some((end, found)) if found < time => low = end,
            // Newer; or no line begins between, so the one that is asked for begins before.
            _ => high = middle,
        }
    }
    Ok(low..high)
}

/// The first line with a time that begins behind `range.start` and ends within: its end and its time.
fn first_line<E>(
    read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    range: Range<u64>,
) -> Result<Option<(u64, Timestamp)>, E> {
    let mut window = PROBE;
    loop {
        let end = range.end.min(range.start + window);
        let bytes = read(range.start..end)?;
        let mut at = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |it| it + 1);
        while let Some(length) = memchr::memchr(b'\n', &bytes[at..]) {
            let line_end = at + length + 1;
            if let Some(time) = stage_timestamp(&bytes[at..line_end]) {
                return Ok(Some((range.start + line_end as u64, time)));
            }
            at = line_end;
        }
        if end == range.end {
            return Ok(None);
        }
        window *= 4;
    }
}

/// The stage timestamp of a line. It stands behind the bodies, and what follows it are texts, so the
/// last mention is the right one.
pub(in crate::source) fn stage_timestamp(line: &[u8]) -> Option<Timestamp> {
    const FIELD: &[u8] = b"\"stageTimestamp\":\"";
    let at = memmem::rfind(line, FIELD)? + FIELD.len();
    let length = memchr::memchr(b'"', &line[at..])?;
    std::str::from_utf8(&line[at..at + length]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with a line a second, some of them long, and some that are no events.
    fn log(seconds: i64) -> Vec<u8> {
        let mut log = Vec::new();
        for second in 0..seconds {
            let time = Timestamp::from_second(1_800_000_000 + second).unwrap();
            let filling = "x".repeat(if second % 97 == 0 { 50_000 } else { 300 });
            log.extend(format!("{{\"a\":\"{filling}\",\"stageTimestamp\":\"{time}\"}}\n").bytes());
            if second % 50 == 0 {
                log.extend(b"no event\n");
            }
        }
        log
    }

    #[track_caller]
    fn check(log: &[u8], second: i64) {
        let time = Timestamp::from_second(1_800_000_000 + second).unwrap();
        let mut read_bytes = 0;
        let mut read = |range: Range<u64>| {
            read_bytes += range.end - range.start;
            Ok::<_, ()>(log[range.start as usize..range.end as usize].to_vec())
        };
        let at = lower_bound(&mut read, 0..log.len() as u64, time).unwrap() as usize;
        assert!(at == 0 || log[at - 1] == b'\n', "{second}: a line begins at {at}");
        let newest_before = log[..at].split(|it| *it == b'\n').filter_map(stage_timestamp).max();
        assert!(newest_before.is_none_or(|it| it < time), "{second}: nothing is lost");
        let mut older = log[at..].split_inclusive(|it| *it == b'\n');
        let older: usize = older
            .by_ref()
            .take_while(|it| stage_timestamp(it).is_none_or(|it| it < time))
            .map(<[u8]>::len)
            .sum();
        assert!(older as u64 <= CLOSE + 120_000, "{second}: {older} bytes too many");
        assert!(read_bytes < 3_000_000, "{second}: looked at {read_bytes} bytes");
    }

    #[test]
    fn everywhere() {
        let log = log(20_000);
        for second in [-5, 0, 1, 96, 97, 5_000, 9_700, 19_998, 19_999, 20_000, 99_999] {
            check(&log, second);
        }
    }
    #[test]
    fn small_and_odd_logs() {
        check(b"", 0);
        check(&log(3), 1);
        let line = vec![b'x'; 1 << 20];
        let mut read = |range: Range<u64>| {
            Ok::<_, ()>(line[range.start as usize..range.end as usize].to_vec())
        };
        assert_eq!(lower_bound(&mut read, 0..1 << 20, Timestamp::MAX), Ok(0), "one long line");
    }
    #[test]
    fn the_last_mention_counts() {
        let line = br#"{"requestObject":{"stageTimestamp":"2020-01-01T00:00:00Z"},"stageTimestamp":"2026-11-22T23:31:42.858500Z"}"#;
        assert_eq!(stage_timestamp(line), Some("2026-11-22T23:31:42.8585Z".parse().unwrap()));
    }
}
