//! A sample of every shape, and what must hold for all.

use std::{fs, io::Read, path::PathBuf};

use proptest::prelude::*;

use super::{Consumed, Item, is_wrapped, line, read};
use crate::{
    decode::{Projection, strict},
    event::Json,
};

/// What a person sees of a log, by the way the pipeline reads it: a line per event, then counts.
fn shown(text: &[u8]) -> String {
    let mut shown = String::new();
    let mut skipped = Vec::new();
    let mut emit = |item: Item<'_>| match item {
        Item::Event { json, line, is_truncated, host } => {
            shown += &format!("{line} {}", event(json));
            shown += if is_truncated { " truncated" } else { "" };
            shown += &host.map(|it| format!(" @{it}")).unwrap_or_default();
            shown.push('\n');
        }
        Item::Skipped { line, reason } => skipped.push(format!("{line} skipped: {reason}\n")),
    };
    let consumed = if is_wrapped(&text[..text.len().min(64 << 10)]) {
        let (consumed, result) = read(&mut &text[..], 64 << 20, &mut emit);
        result.unwrap();
        consumed
    } else {
        let mut lines = 0;
        for text in text.split_inclusive(|it| *it == b'\n') {
            lines += 1;
            plain_line(text.trim_ascii(), lines, &mut emit);
        }
        Consumed { bytes: text.len() as u64, lines }
    };
    assert_eq!(consumed.bytes, text.len() as u64);
    format!("{shown}{}lines: {}\n", skipped.concat(), consumed.lines)
}

/// A line as the pipeline reads it.
fn plain_line(text: &[u8], number: u64, emit: &mut dyn FnMut(Item<'_>)) {
    if text.is_empty() {
        return;
    }
    let Err(reason) = strict::read(text, &Projection::default(), &mut Vec::new()) else {
        return emit(Item::Event { json: text, line: number, is_truncated: false, host: None });
    };
    let is_known = line(text, &mut |item| match item {
        Item::Event { json, is_truncated, host, .. } => {
            emit(Item::Event { json, line: number, is_truncated, host });
        }
        Item::Skipped { reason, .. } => emit(Item::Skipped { line: number, reason }),
    });
    if !is_known {
        emit(Item::Skipped { line: number, reason });
    }
}

fn event(json: &[u8]) -> String {
    let head = match strict::read(json, &Projection::default(), &mut Vec::new()) {
        Ok(head) => head,
        Err(reason) => return format!("refused: {reason}"),
    };
    let json = Json::new(json);
    let text = |path: &str| {
        let found = json.at(path.parse::<crate::event::Key>().unwrap().parts());
        found.first().map_or("-".to_owned(), |it| it.text().into_owned())
    };
    let time = head.stage_timestamp.map_or("-".to_owned(), |it| it.to_string());
    let inferred = text("annotations.\"kubectl-audit/inferred\"");
    let marks = if inferred == "-" { String::new() } else { format!(" inferred({inferred})") };
    format!(
        "{:.8} {} {} {} {} {} {time}{marks}",
        text("auditID"),
        head.stage,
        text("verb"),
        text("user.username"),
        text("responseStatus.code"),
        head.level,
    )
}

fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from("tests/data/shapes");
    let mut samples: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_none_or(|it| it != "txt" && it != "md"))
        .map(|path| {
            let mut text = fs::read(&path).unwrap();
            if text.starts_with(b"\x1f\x8b") {
                let mut unpacked = Vec::new();
                flate2::read::MultiGzDecoder::new(&*text).read_to_end(&mut unpacked).unwrap();
                text = unpacked;
            }
            (path.file_name().unwrap().to_string_lossy().into_owned(), text)
        })
        .collect();
    samples.sort();
    samples
}

/// Every sample gives what `expected.txt` says. After a change that is right: run with `UPDATE=1`, and
/// read the difference.
#[test]
fn every_shape() {
    let mut all = String::new();
    for (name, text) in samples() {
        all += &format!("== {name}\n{}", shown(&text));
    }
    let path = "tests/data/shapes/expected.txt";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, &all).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap();
    for (found, expected) in all.split("== ").zip(expected.split("== ")) {
        assert_eq!(found, expected);
    }
    assert_eq!(all.len(), expected.len());
}

/// Gives a text in pieces of odd sizes.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let len = self.1.min(self.0.len()).min(buffer.len());
        buffer[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        self.1 = self.1 % 7 + 1;
        Ok(len)
    }
}

fn items(mut input: impl Read, max_line: usize) -> Vec<String> {
    let mut items = Vec::new();
    let (consumed, _) = read(&mut input, max_line, &mut |item| {
        items.push(match item {
            Item::Event { json, line, is_truncated, host } => {
                format!("{line} {is_truncated} {host:?} {}", String::from_utf8_lossy(json))
            }
            Item::Skipped { line, reason } => format!("{line} {reason}"),
        });
    });
    items.push(format!("{consumed:?}"));
    items
}

#[test]
fn any_size_of_reads() {
    for (name, text) in samples() {
        let whole = items(&*text, 1 << 20);
        for size in 1..4 {
            assert_eq!(items(Trickle(&text, size), 1 << 20), whole, "{name}");
        }
    }
}

/// A cut line ends at its newline: the next is another event.
#[test]
fn the_line_after_a_cut_one() {
    let event = EVENTS.lines().next().unwrap();
    let log = |it: &str| {
        serde_json::json!({ "log": format!("{it}\n"), "stream": "stdout", "time": "x" }).to_string()
    };
    for cut in [&log(event)[..500], &event[..500], &event[..event.find("\"verb\"").unwrap()]] {
        let found = shown(format!("{}\n{cut}\n{}\n", log(event), log(event)).as_bytes());
        assert!(found.starts_with("1 ") && found.contains("\n3 "), "{cut}: {found}");
        assert!(found.contains("\n2 ") && found.contains("truncated\n"), "{cut}: {found}");
    }
}

/// What a client may choose, as its name, makes no other event.
#[test]
fn a_client_cannot_forge_the_legacy_format() {
    let event = EVENTS.lines().next().unwrap();
    let forged = event.replacen("\"userAgent\":\"", "\"userAgent\":\" AUDIT: id=", 1);
    let forged = forged.replacen("AUDIT: id=", "AUDIT: id=\",\"x\":\"", 1);
    assert!(forged.contains("AUDIT: id=\""));
    same("forged", &format!("master-0.lab {forged}"), &forged);
}

#[test]
fn odd_surroundings() {
    let event = EVENTS.lines().next().unwrap();
    let value: serde_json::Value = serde_json::from_str(event).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    same("byte-order mark", &format!("\u{feff}{pretty}"), event);
    same("NUL", &format!("\0\0\0{event}\0\0"), event);
    let beside = serde_json::json!({ "message": event, "values": [1, 2], "data": { "a": 1 } });
    same("lists beside the line", &beside.to_string(), event);
}

/// Recorded events, one a line.
const EVENTS: &str = include_str!("../../../examples/audit.log");

#[track_caller]
fn same(name: &str, wrapped: &str, event: &str) {
    let mut found = Vec::new();
    let mut emit = |item: Item<'_>| match item {
        Item::Event { json, is_truncated: false, .. } => found.push(json.to_vec()),
        Item::Event { .. } => panic!("{name}: truncated"),
        Item::Skipped { reason, .. } => panic!("{name}: {reason}"),
    };
    if is_wrapped(wrapped.as_bytes()) {
        read(&mut wrapped.as_bytes(), 64 << 20, &mut emit).1.unwrap();
    } else {
        plain_line(wrapped.as_bytes(), 1, &mut emit);
    }
    assert_eq!(found.len(), 1, "{name}: {wrapped}");
    let found: serde_json::Value = serde_json::from_slice(&found[0]).unwrap();
    assert_eq!(found, serde_json::from_str::<serde_json::Value>(event).unwrap(), "{name}");
}

/// What is unwrapped is what was wrapped.
#[test]
fn wrapping_changes_nothing() {
    for event in EVENTS.lines().step_by(7).take(40) {
        let value: serde_json::Value = serde_json::from_str(event).unwrap();
        let json = |it: serde_json::Value| it.to_string();
        let text = |it: &str| serde_json::Value::from(it).to_string();
        same("list", &json(serde_json::json!({ "kind": "EventList", "items": [value] })), event);
        same("array", &format!("[{event}]"), event);
        same("pretty", &serde_json::to_string_pretty(&value).unwrap(), event);
        same("host", &format!("master-0.lab {event}"), event);
        same("log", &json(serde_json::json!({ "date": 1.5, "log": event })), event);
        same("merged", &format!("{{\"log\":{}}}", text(&text(event))), event);
        same("object", &json(serde_json::json!({ "message": value })), event);
        same("ecs", &json(serde_json::json!({ "kubernetes": { "audit": value } })), event);
        same("journal", &json(serde_json::json!({ "MESSAGE": event.as_bytes() })), event);
        same("cri", &format!("2026-11-22T10:11:12.1Z stdout F {event}"), event);
        let loki = serde_json::json!({ "data": { "result": [{ "values": [["1", event]] }] } });
        same("loki", &json(loki), event);
        let (a, b) = event.split_at(event.char_indices().nth(event.len() / 2).unwrap().0);
        let cut =
            format!("2026-11-22T10:11:12.1Z stdout P {a}\n2026-11-22T10:11:12.2Z stdout F {b}");
        same("parts", &cut, event);
    }
}

/// A line cut anywhere is an event cut off, or none; with its time, level and who asked unchanged.
#[test]
fn cut_anywhere() {
    let event = EVENTS
        .lines()
        .find(|it| it.contains("impersonatedUser"))
        .unwrap_or_else(|| EVENTS.lines().find(|it| it.contains("\"ResponseComplete\"")).unwrap());
    let whole: serde_json::Value = serde_json::from_str(event).unwrap();
    let mut n = 0;
    for len in 1..event.len() {
        let is_known = line(&event.as_bytes()[..len], &mut |item| {
            let Item::Event { json, is_truncated, .. } = item else { panic!("skipped") };
            assert!(is_truncated);
            let found: serde_json::Value = serde_json::from_slice(json).unwrap();
            assert_eq!(found["annotations"]["audit.k8s.io/truncated"], "true");
            for name in ["level", "stage"] {
                assert_eq!(found[name], whole[name]);
            }
            for name in ["auditID", "requestURI", "verb", "stageTimestamp"] {
                assert!(found.get(name).is_none_or(|it| *it == whole[name]), "{name}");
            }
            n += 1;
        });
        assert!(is_known || len < event.find("\"requestURI\"").unwrap(), "{len}");
    }
    assert!(n > event.len() / 2);
}

#[test]
fn deep_and_endless() {
    let deep = "[".repeat(100_000);
    items(deep.as_bytes(), 1 << 20);
    assert!(!line(deep.as_bytes(), &mut |_| {}));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    items(deep.as_bytes(), 1 << 20);
    line(deep.as_bytes(), &mut |_| {});
    let mut log = EVENTS.lines().next().unwrap().to_owned();
    for _ in 0..12 {
        log = serde_json::json!({ "log": log.get(..4096).unwrap_or(&log) }).to_string();
    }
    line(log.as_bytes(), &mut |_| {});
    // Nothing ends, and nothing is kept.
    for byte in [b'x', b'"', b'{', b'[', 0, b'\n', b' '] {
        items(std::io::repeat(byte).take(8 << 20), 1 << 16);
        items((&b"[{\"a\":\""[..]).chain(std::io::repeat(byte).take(8 << 20)), 1 << 16);
    }
}

#[test]
fn too_long_is_told_and_the_rest_read() {
    let event = EVENTS.lines().next().unwrap();
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(200_000));
    let text = format!("[{long},{event},{long},\n{event}]");
    let found = items(text.as_bytes(), 100_000);
    assert_eq!(found.iter().filter(|it| it.contains("auditID")).count(), 2);
    assert_eq!(found.iter().filter(|it| it.contains("--max-line")).count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever comes, there is no panic, and every byte is counted.
    #[test]
    fn any_bytes(sample in 0..100_usize, at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..9), cut in any::<bool>()) {
        static SAMPLES: std::sync::LazyLock<Vec<(String, Vec<u8>)>> =
            std::sync::LazyLock::new(samples);
        let samples = &*SAMPLES;
        let mut text = samples[sample % samples.len()].1.clone();
        let at = at.index(text.len());
        let until = if cut { text.len() } else { (at + bytes.len() / 2).min(text.len()) };
        text.splice(at..until, bytes);
        is_wrapped(&text);
        for line_of in text.split(|it| *it == b'\n') {
            line(line_of, &mut |_| {});
        }
        prop_assert_eq!(items(&*text, 1 << 16), items(Trickle(&text, 5), 1 << 16));
    }
}
