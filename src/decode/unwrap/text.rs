//! What stands before an event in a line of text: a host, a time, a container runtime's marks.

use super::shape;
use crate::event::{Json, Timestamp};

/// A line's prefix and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefix<'t> {
    pub host: Option<&'t str>,
    pub time: Option<Timestamp>,
    pub rest: &'t str,
}

/// A prefix is short: further in, a brace belongs to something else.
const MAX_PREFIX: usize = 2048;

/// Splits a line at the first `{` that begins a JSON object: `master-0.lab {…}` of `oc adm node-logs`,
/// `2026-11-22T10:11:12.000Z {…}` of an S3 export, `TIME {job="x", node="cp-1"} {…}` of logcli,
/// `<134>1 TIME HOST APP - - - {…}` of syslog.
pub(super) fn prefix(line: &str) -> Option<Prefix<'_>> {
    let braces = memchr::memchr_iter(b'{', line.as_bytes()).take_while(|at| *at <= MAX_PREFIX);
    let mut objects = braces.filter(|at| {
        let inner = line[at + 1..].trim_start();
        *at > 0 && (inner.starts_with('"') && !inner.starts_with("\"\""))
    });
    let (before, rest) = line.split_at(objects.next()?);
    let words: Vec<&str> = before.split_whitespace().collect();
    let time = words.iter().find_map(|word| shape::time(word));
    Some(Prefix { host: host(before, &words), time, rest })
}

/// What a line before a document says about it: a time, perhaps the name of a stream, perhaps the brace
/// that opens the document.
pub(super) fn heading(line: &str) -> Option<shape::Context> {
    let line = line.trim();
    let words: Vec<&str> = line.strip_suffix('{').unwrap_or(line).split_whitespace().collect();
    let time = shape::time(words.first()?)?;
    if words.len() > 2 || line.len() > 512 {
        return None;
    }
    let host = host(line, &words).map(str::to_owned);
    Some(shape::Context { host, time: Some(time), ..shape::Context::default() })
}

/// The host that a prefix names.
fn host<'t>(before: &'t str, words: &[&'t str]) -> Option<&'t str> {
    for name in ["node=\"", "host=\"", "hostname=\"", "instance=\"", "pod=\""] {
        let starts = |at: &usize| *at == 0 || !before.as_bytes()[at - 1].is_ascii_alphanumeric();
        let at = before.match_indices(name).map(|(at, _)| at).find(starts);
        if let Some(at) = at {
            return before[at + name.len()..].split('"').next().filter(|host| !host.is_empty());
        }
    }
    let is_host = |word: &&str| {
        word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            && !["stdout", "stderr"].contains(word)
            && shape::time(word).is_none()
    };
    let is_month = |word: &str| word.len() == 3 && word.bytes().all(|it| it.is_ascii_alphabetic());
    match *words {
        // `kubectl logs --prefix`
        [pod, ..] if pod.starts_with("[pod/") => pod[5..].split(['/', ']']).next(),
        [host] => Some(host).filter(is_host),
        // `aws logs tail`: the time and the stream.
        [time, stream] if shape::time(time).is_some() => Some(stream).filter(is_host),
        // Syslog, RFC 5424 and RFC 3164.
        [priority, time, host, ..] if priority.starts_with('<') && shape::time(time).is_some() => {
            Some(host).filter(is_host)
        }
        [month, _, time, host, ..]
            if is_month(month.rsplit('>').next().unwrap_or_default()) && time.contains(':') =>
        {
            Some(host).filter(is_host)
        }
        _ => None,
    }
}

/// The JSON string that a text begins with.
pub(super) fn json_string(text: &str) -> Option<String> {
    let mut values =
        serde_json::Deserializer::from_str(text).into_iter::<&serde_json::value::RawValue>();
    let raw = values.next()?.ok()?;
    Json::new(raw.get().as_bytes()).as_text().map(std::borrow::Cow::into_owned)
}

/// A hash as Ruby prints it (`{"log"=>"…"}`), which Fluentd and Fluent Bit write to standard output, as
/// JSON. `None` if there is no `=>` outside of strings.
pub(super) fn without_hash_rockets(text: &str) -> Option<String> {
    memchr::memmem::find(text.as_bytes(), b"\"=>")?;
    let mut json = String::with_capacity(text.len());
    let (mut in_string, mut is_escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '=' if !in_string && rest.starts_with('>') => {
                rest = &rest[1..];
                json.push(':');
                if let Some(after) = rest.strip_prefix("nil") {
                    (rest, json) = (after, json + "null");
                }
                continue;
            }
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
        json.push(c);
    }
    (json.len() < text.len()).then_some(json)
}

/// JSON with each half of a surrogate pair that stands alone replaced, or `None` if there is none.
pub(super) fn without_lone_surrogates(json: &str) -> Option<String> {
    let unit = |at: usize| -> Option<u32> {
        let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut written = String::new();
    let (mut from, mut at) = (0, 0);
    while let Some(next) = memchr::memchr(b'\\', &json.as_bytes()[at.min(json.len())..]) {
        at += next;
        match unit(at) {
            Some(0xD800..=0xDBFF) if matches!(unit(at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                written += &json[from..at];
                written += "\\ufffd";
                at += 6;
                from = at;
            }
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    (from > 0).then(|| written + &json[from..])
}

/// Whether every second byte is NUL.
pub(super) fn is_utf16(text: &[u8]) -> bool {
    let start = &text[..text.len().min(64)];
    let nuls = |from: usize| start.iter().skip(from).step_by(2).filter(|it| **it == 0).count();
    start.len() >= 8 && nuls(0).abs_diff(nuls(1)) * 4 >= start.len()
}

/// A line of the container runtime interface's log format: `TIME stdout F TEXT`.
///
/// Source: `pkg/kubelet/kuberuntime/logs/logs.go`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CriLine<'t> {
    pub time: Option<Timestamp>,
    pub stream: &'t str,
    /// The text goes on in the next line of the same stream.
    pub is_partial: bool,
    pub text: &'t [u8],
}

pub(super) fn cri(line: &[u8]) -> Option<CriLine<'_>> {
    let mut parts = line.splitn(4, |it| *it == b' ');
    let (time, stream, tag, text) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let stream = match stream {
        b"stdout" => "stdout",
        b"stderr" => "stderr",
        _ => return None,
    };
    // More tags may follow the first behind colons.
    let is_partial = match tag.split(|it| *it == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let time = Some(Timestamp::parse(time)?);
    Some(CriLine { time, stream, is_partial, text })
}
