//! How an input is laid out, by its first bytes: an event a line, or something else.

use super::{
    Item, delimited,
    shape::{self, CONTAINERS},
    text::cri,
    yaml,
};
use crate::{
    decode::{
        Projection,
        strict::{self, Fields},
    },
    event::{Json, Kind},
};

/// As much of an input as is looked at.
pub const SNIFF: usize = 64 << 10;

/// How an input is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One event, or one wrapper, a line.
    Lines,
    /// JSON of any layout, or lines of which several make an event.
    Documents,
    /// A table whose fields are separated by this.
    Delimited(u8),
    Yaml,
}

impl Layout {
    /// The layout of an input that begins with `start`: all of it, or [`SNIFF`] bytes.
    pub(super) fn of(start: &[u8]) -> Layout {
        let is_whole = start.len() < SNIFF;
        let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
        let (first, rest) = match memchr::memchr(b'\n', start) {
            Some(at) => (start[..at].trim_ascii(), start[at..].trim_ascii_start()),
            None => (start.trim_ascii(), &[][..]),
        };
        let is_documents = match first.first() {
            Some(b'[') => !is_bracketed_prefix(first),
            Some(b'{') => is_document(first, rest),
            Some(_) => cri(first).is_some() || is_heading(first, rest),
            None => false,
        };
        if is_documents {
            return Layout::Documents;
        }
        if matches!(first.first(), None | Some(b'{' | b'[')) {
            return Layout::Lines;
        }
        if let Some(delimiter) = delimited::delimiter(start, is_whole) {
            return Layout::Delimited(delimiter);
        }
        if yaml::is_yaml(start) { Layout::Yaml } else { Layout::Lines }
    }
}

/// Whether the start of an input shows that it is not one event, or one wrapper, a line.
pub fn is_wrapped(start: &[u8]) -> bool {
    Layout::of(&start[..start.len().min(SNIFF)]) != Layout::Lines
}

/// Whether the start of a file (all of it, if `is_whole`) holds events: what reading finds in it decides.
/// A page that quotes an event has more lines of prose.
pub fn holds_events(start: &[u8], is_whole: bool) -> bool {
    let (mut n_events, mut n_others) = (0, 0);
    let mut count = |item: Item<'_>| match item {
        Item::Event { json, .. }
            if strict::read(json, &Projection::default(), &mut Vec::new()).is_ok() =>
        {
            n_events += 1;
        }
        _ => n_others += 1,
    };
    if is_wrapped(start) {
        let _ = super::read(&mut &*start, start.len() + 1, &mut count);
        return n_events > 0 || is_packed(start);
    }

    let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start);
    let mut lines = start.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).peekable();
    while let Some(line) = lines.next() {
        let is_cut = !is_whole && lines.peek().is_none();
        let event = Item::Event { json: line, line: 0, is_truncated: false, host: None };
        if line.is_empty() || is_klog(line) {
            continue;
        }
        if strict::read(line, &Projection::default(), &mut Vec::new()).is_ok() {
            count(event);
        } else if !super::line(line, &mut count) && !is_cut {
            count(Item::Skipped { line: 0, reason: String::new() });
        }
    }
    n_events > 0 && n_events + 1 >= n_others || is_packed(start)
}

/// What a subscription hands to a function: it is unpacked only if it is whole.
fn is_packed(start: &[u8]) -> bool {
    let start = &start[..start.len().min(512)];
    start.trim_ascii_start().starts_with(b"{")
        && ["\"awslogs\"", "\"data\"", "\"H4sI"]
            .iter()
            .all(|word| memchr::memmem::find(start, word.as_bytes()).is_some())
}

/// A line of the API server's own log, as it stands between events on its standard output.
fn is_klog(line: &[u8]) -> bool {
    matches!(line, [b'I' | b'W' | b'E' | b'F', rest @ ..]
        if rest.iter().take(4).filter(|byte| byte.is_ascii_digit()).count() == 4)
}

/// `[pod/kube-apiserver-cp-1/kube-apiserver] {…}` is a line.
fn is_bracketed_prefix(first: &[u8]) -> bool {
    let inner = first[1..].trim_ascii_start();
    inner.first().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && memchr::memchr(b']', first).is_some_and(|at| first[at + 1..].trim_ascii().len() > 2)
}

/// Whether a first line of text belongs to the JSON on the next lines: `aws logs tail --format json`
/// writes time and stream, and then the event pretty-printed.
fn is_heading(first: &[u8], rest: &[u8]) -> bool {
    let opens = first.ends_with(b" {") && rest.first() == Some(&b'"');
    let second = rest.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let is_before_json = memchr::memchr(b'{', first).is_none()
        && second.first() == Some(&b'{')
        && serde_json::from_slice::<serde::de::IgnoredAny>(second).is_err_and(|err| err.is_eof());
    (opens || is_before_json) && is_time(first)
}

/// Whether a line begins with a time.
fn is_time(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().is_some_and(|word| shape::time(word).is_some())
}

/// Whether a first line that begins an object is no event and no wrapper of one.
fn is_document(first: &[u8], rest: &[u8]) -> bool {
    if docker_stream(first).is_some() {
        return true;
    }
    match serde_json::from_slice::<&serde_json::value::RawValue>(first) {
        Ok(_) => serde_json::from_slice::<Fields<'_>>(first).is_ok_and(|fields| {
            let is_open = |json: Json<'_>| matches!(json.kind(), Kind::List | Kind::Object);
            let is_plain = fields.get("stage").is_some();
            !is_plain && CONTAINERS.iter().any(|name| fields.get(name).is_some_and(is_open))
        }),
        // Several objects in one line.
        Err(err) if !err.is_eof() => first.windows(2).any(|it| it == b"}{"),
        // An object over several lines, or one so long that its end is not seen.
        Err(_) => match rest.first() {
            Some(b'{') => Opened::of(first).is_continued(rest),
            Some(_) => true,
            None => Opened::of(first).holds_list(),
        },
    }
}

/// Which of its two streams a line of Docker's log is of; it cuts lines into parts.
pub(super) fn docker_stream(object: &[u8]) -> Option<usize> {
    // Few objects have this near their start; the others are not read twice.
    let start = &object[..object.len().min(512)];
    memchr::memmem::find(start, b"\"log\":\"")?;
    let fields = serde_json::from_slice::<Fields<'_>>(object).ok()?;
    match &*fields.get("stream")?.text() {
        "stdout" => Some(0),
        "stderr" => Some(1),
        _ => None,
    }
}

/// What the start of an object leaves open.
#[derive(Default)]
struct Opened {
    brackets: Vec<u8>,
    is_in_string: bool,
    last: u8,
    /// It has fields that only an event has.
    is_event: bool,
}

impl Opened {
    fn of(start: &[u8]) -> Opened {
        let mut opened = Opened::default();
        let (mut is_escaped, mut string_start) = (false, 0);
        for (at, byte) in start.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if opened.is_in_string => is_escaped = true,
                b'"' => {
                    opened.is_in_string = !opened.is_in_string;
                    if opened.is_in_string {
                        string_start = at + 1;
                    } else if opened.brackets.len() == 1 {
                        let name = &start[string_start..at];
                        let is_name = start[at + 1..].trim_ascii_start().first() == Some(&b':');
                        opened.is_event |= is_name && matches!(name, b"auditID" | b"stage");
                    }
                }
                _ if opened.is_in_string => {}
                b'{' | b'[' => opened.brackets.push(*byte),
                b'}' | b']' => drop(opened.brackets.pop()),
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                opened.last = *byte;
            }
        }
        opened
    }

    /// Whether the next lines go on with what a line opened, and are not lines of their own behind one
    /// that was cut.
    fn is_continued(&self, rest: &[u8]) -> bool {
        let mut lines = rest.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let is_json = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        let next_is_whole = lines.next().is_some_and(is_json);
        let third_is_object = lines.next().is_some_and(|line| line.first() == Some(&b'{'));
        let ends_open = !self.is_in_string && matches!(self.last, b'[' | b'{' | b',' | b':');
        let are_lines = self.is_event || next_is_whole && third_is_object;
        ends_open && !are_lines
    }

    /// Whether it is in a list near the outermost object, whatever that is called.
    fn holds_list(&self) -> bool {
        !self.is_event && self.brackets.iter().take(6).any(|byte| *byte == b'[')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(start: &str, expected: Layout) {
        assert_eq!(Layout::of(start.as_bytes()), expected, "{start}");
    }

    const EVENT: &str = r#"{"kind":"Event","level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/x","verb":"get","user":{"username":"a"}}"#;

    #[test]
    fn tells_lists_over_lines_from_cut_lines() {
        check(
            &format!("{{\"kind\":\"EventList\",\"items\":[\n{EVENT},\n{EVENT}\n]}}"),
            Layout::Documents,
        );
        check(&format!("{{\"items\":[{EVENT},\n{EVENT}]}}"), Layout::Documents);
        check(&format!("{{\"items\":[\n{EVENT}\n]}}"), Layout::Documents);
        check(&format!("[\n{EVENT}\n]"), Layout::Documents);
        check(
            &format!("{}\n{EVENT}\n{EVENT}", &EVENT[..EVENT.find("\"user").unwrap()]),
            Layout::Lines,
        );
        check(&format!("{{\"date\":1,\"log\":{{\n{EVENT}\n{EVENT}"), Layout::Lines);
        check(&format!("{EVENT}\n{EVENT}\n"), Layout::Lines);
    }

    #[test]
    fn tells_headings_from_prefixes() {
        check("2026-11-22T10:11:12+00:00 stream\n{\n  \"kind\": \"Event\"\n}", Layout::Documents);
        check("2026-11-22T10:11:12+00:00 stream {\n  \"kind\": \"Event\"\n}", Layout::Documents);
        check(&format!("2026-11-22T10:11:12Z {EVENT}"), Layout::Lines);
        check(&format!("[pod/kube-apiserver-cp-1/kube-apiserver] {EVENT}"), Layout::Lines);
        check(&format!("starting\n{EVENT}\n"), Layout::Lines);
    }

    #[test]
    fn tells_tables_and_yaml_by_what_they_hold() {
        let cell = EVENT.replace('"', "\"\"");
        for delimiter in [",", ";", "\t", "|"] {
            let table = format!("time{delimiter}@message\n2026-11-22{delimiter}\"{cell}\"\n");
            check(&table, Layout::Delimited(delimiter.as_bytes()[0]));
        }
        check(&format!("@message\n\"{cell}\"\n"), Layout::Delimited(b','));
        check(&format!("sep=;\na;b\nc;\"{cell}\"\n"), Layout::Delimited(b';'));
        check("verb,requestURI,user.username,stage\nget,/x,ann,Panic\n", Layout::Delimited(b','));
        check("a,b\nc,d\n", Layout::Lines);
        check(
            "kind: Event\nauditID: a\nlevel: Metadata\nstage: Panic\nverb: get\nrequestURI: /x\nuser:\n  username: a\n",
            Layout::Yaml,
        );
        check("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n", Layout::Lines);
        check("# Notes\n\nabout: this\n", Layout::Lines);
        check(&format!("Warning: x\n{EVENT}\n"), Layout::Lines);
    }
}
