//! What was read, in a line or two for people on standard error.

use crate::decode::InputSummary;

/// The lines: what was read, and what of it could not be used.
pub fn lines(input: &InputSummary) -> Vec<String> {
    let mut read = format!("{} from {}", count(input.events, "event"), count(input.files, "file"));
    if input.logs > 1 {
        read += &format!(" of {} logs", input.logs);
    }
    read += &format!(", {}", size(input.bytes));
    if let (Some(from), Some(to)) = (input.from, input.to) {
        let short = |time: crate::event::Timestamp| time.to_string()[..19].to_owned() + "Z";
        read += &format!(", {} to {}", short(from), short(to));
    }
    let mut lines = vec![read];
    let mut add = |n: u64, what: String| {
        if n > 0 {
            lines.push(what);
        }
    };
    add(
        input.unread_bytes,
        format!(
            "passed over {} outside of the window (--no-skip reads them)",
            size(input.unread_bytes)
        ),
    );
    add(
        input.own_requests.bytes,
        format!(
            "left out {} of this run that read the logs, {} (--include-self shows them)",
            count(input.own_requests.requests, "request"),
            size(input.own_requests.bytes)
        ),
    );
    add(input.duplicates, format!("left out {}", count(input.duplicates, "repeated line")));
    add(
        input.truncated,
        format!(
            "{} cut off, by a collector or in mid-writing: what was left is counted",
            count(input.truncated, "event")
        ),
    );
    let are_no_events = if input.skipped == 1 { "is no event" } else { "are no events" };
    add(input.skipped, format!("skipped {} that {are_no_events}:", count(input.skipped, "line")));
    lines.extend(
        input.skipped_samples.iter().map(|it| format!("  {}:{}: {}", it.input, it.line, it.reason)),
    );
    let more = input.skipped.saturating_sub(input.skipped_samples.len() as u64);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    if input.skipped > 0 {
        let hint = match input.events {
            0 => "not one line is an audit event; is this the right file?",
            _ => "all other lines are used; --strict makes such a line an error",
        };
        lines.push(format!("hint: {hint}"));
    }
    lines
}

/// `1 event`, `5 events`.
pub fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `512 B`, `1.2 MB`: decimal units.
pub fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1e3;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    for unit in units {
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
        value /= 1e3;
    }
    format!("{value:.1} PB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown = [0, 999, 1000, 1_234_567, 999_960_000, 40_000_000_000].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.2 MB", "1.0 GB", "40.0 GB"]);
    }
}
