//! Whether a file looks like an audit log: so a folder's other files are no inputs.
//!
//! Looks at text only. What is an event, and what is not, is decided by those who read it.

use std::io::{self, Read};

use memchr::memmem;

use super::compression::Peeked;

/// As much of a file as is looked at first, and at most: a converter may put a body of a megabyte
/// before the fields that tell an event.
const FIRST: usize = 64 << 10;
const MOST: usize = 1 << 20;

/// What the start of a file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    AuditLog,
    Other,
    /// Nothing but blanks.
    Empty,
}

/// Looks at the start of a text, and further where that does not tell yet.
///
/// # Errors
/// If it cannot be read so far that one could tell. What cannot be unpacked is no audit log.
pub(super) fn look<R: Read>(input: &mut Peeked<R>) -> io::Result<Look> {
    let mut len = FIRST;
    loop {
        let has_more = input.look(len);
        let start = input.start();
        if is_audit_log(start) {
            return Ok(Look::AuditLog);
        }
        if !has_more || len >= MOST {
            let is_blank = start.iter().all(u8::is_ascii_whitespace);
            return match input.take_failure() {
                Some(err) if is_damage(&err) => Ok(Look::Other),
                Some(err) => Err(err),
                None if is_blank => Ok(Look::Empty),
                None => Ok(Look::Other),
            };
        }
        len *= 4;
    }
}

/// Whether the bytes are to blame, and not that there are too few, or that nobody may read them.
pub(super) fn is_damage(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
}

/// Words that an event, or what a cloud makes of one, has all of; each list is one shape.
///
/// A policy, the output of `policy evaluate` and notes about events have some of them, never all.
const SHAPES: &[&[&str]] = &[
    &["auditID", "stage", "requestURI", "user"],
    &["AuditId", "Stage", "RequestUri"],
    &["protoPayload", "methodName", "io.k8s."],
    &["awslogs", "data"],
];

/// The start of the legacy text format behind its timestamp.
const LEGACY: &str = " AUDIT: id=\"";

fn is_audit_log(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    if matches!(text.first(), Some(b'{' | b'[')) && has_shape(text) {
        return true;
    }
    // Lines with something before the event, or events between other lines of a server's output.
    // A page that quotes an event has more lines of prose.
    let (mut events, mut others) = (0, 0);
    let mut count = |line: &[u8]| {
        if is_event_line(line) {
            events += 1;
        } else if !line.is_empty() && !is_klog(line) {
            others += 1;
        }
    };
    let mut parts = [Vec::new(), Vec::new()];
    for line in text.split(|it| *it == b'\n').map(<[u8]>::trim_ascii) {
        let Some(Cri { stream, is_part, content }) = Cri::of(line) else {
            count(line);
            continue;
        };
        let part: &mut Vec<u8> = &mut parts[stream];
        if is_part {
            part.extend(content);
        } else if part.is_empty() {
            count(content);
        } else {
            part.extend(content);
            count(part);
            part.clear();
        }
    }
    parts.iter().for_each(|it| count(it));
    events > 0 && events + 1 >= others
}

/// A line as a container runtime keeps it: `TIME stdout|stderr F CONTENT`, or `P` for a part of a
/// line that goes on. Source: `pkg/kubelet/kuberuntime/logs` of Kubernetes.
struct Cri<'t> {
    stream: usize,
    is_part: bool,
    content: &'t [u8],
}

impl Cri<'_> {
    fn of(line: &[u8]) -> Option<Cri<'_>> {
        let mut words = line.splitn(4, |it| *it == b' ');
        let (time, stream, tags, content) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let stream = [&b"stdout"[..], b"stderr"].iter().position(|it| *it == stream)?;
        let is_part = match tags.split(|it| *it == b':').next() {
            Some(b"P") => true,
            Some(b"F") => false,
            _ => return None,
        };
        (time.first()?.is_ascii_digit()).then_some(Cri { stream, is_part, content })
    }
}

fn is_event_line(line: &[u8]) -> bool {
    memchr::memchr(b'{', line).is_some_and(|at| has_shape(&line[at..]))
        || memmem::find(line, LEGACY.as_bytes()).is_some()
}

/// A line of the API server's own log, as it stands between events on its standard output.
fn is_klog(line: &[u8]) -> bool {
    matches!(line, [b'I' | b'W' | b'E' | b'F', rest @ ..]
        if rest.iter().take(4).filter(|it| it.is_ascii_digit()).count() == 4)
}

fn has_shape(text: &[u8]) -> bool {
    SHAPES.iter().any(|words| words.iter().all(|word| has_key(text, word)))
}

/// Whether a JSON key (or the start of a value), also one within a JSON string, is exactly this word.
/// In a string, .NET and others write a quote as `\u0022`.
fn has_key(text: &[u8], word: &str) -> bool {
    memmem::find_iter(text, word).any(|at| {
        let after = &text[at + word.len()..];
        let is_start = [&b"\""[..], b"\\u0022"].iter().any(|it| text[..at].ends_with(it));
        is_start && (word.ends_with('.') || matches!(after.first(), Some(b'"' | b'\\')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/","verb":"get","user":{}}"#;

    #[track_caller]
    fn check(text: &str, expected: Look) {
        let found = look(&mut Peeked::new(text.as_bytes(), 3)).unwrap();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn logs() {
        check(EVENT, Look::AuditLog);
        check(&format!("\u{feff}\n{EVENT}"), Look::AuditLog);
        check(&format!("master-0.lab {EVENT}\nmaster-1.lab {EVENT}"), Look::AuditLog);
        check(&format!("2026-11-22T10:11:12.1Z stdout F {EVENT}"), Look::AuditLog);
        check(
            &format!("I1122 10:11:12.1 1 server.go] x\nW1122 y\nE1122 z\n{EVENT}\n"),
            Look::AuditLog,
        );
        check(
            &format!(
                "2026-11-22T10:11:12Z stderr F I1122 a\n2026-11-22T10:11:12Z stderr F W1122 b\n\
                 2026-11-22T10:11:12Z stderr F I1122 c\n2026-11-22T10:11:12Z stdout F {EVENT}"
            ),
            Look::AuditLog,
        );
        check(&serde_json::json!({ "log": EVENT }).to_string(), Look::AuditLog);
        check(
            &serde_json::json!([{ "message": serde_json::json!({ "log": EVENT }).to_string() }])
                .to_string(),
            Look::AuditLog,
        );
        let wrapped = serde_json::json!({ "log": EVENT }).to_string();
        check(&wrapped.replace("\\\"", "\\u0022"), Look::AuditLog);
        check(r#"2026-11-22T10:11:12.1Z AUDIT: id="1" stage="Panic" ip="::1""#, Look::AuditLog);
        check(r#"{"awslogs":{"data":"H4sI"}}"#, Look::AuditLog);
        check(
            r#"[{"protoPayload":{"methodName":"io.k8s.core.v1.pods.exec.create"}}]"#,
            Look::AuditLog,
        );
    }

    /// Container runtimes cut lines after 8 or 16 KiB, and two streams stand between each other.
    #[test]
    fn lines_in_parts() {
        for at in [1, 40, 90, 120] {
            let (a, b) = EVENT.split_at(at);
            let start = format!("1 stdout P {a}\n1 stderr P E1122\n1 stdout P {}\n", &b[..9]);
            check(&format!("{start}1 stderr F x\n1 stdout F {}\n", &b[9..]), Look::AuditLog);
            check(&format!("{start}1 stdout P {}", &b[9..]), Look::AuditLog);
            check(&format!("{start}1 stderr F y\n"), Look::Other);
        }
    }

    #[test]
    fn pretty_printed() {
        let event: serde_json::Value = serde_json::from_str(EVENT).unwrap();
        check(&serde_json::to_string_pretty(&event).unwrap(), Look::AuditLog);
    }

    #[test]
    fn long_first_line() {
        let line = format!(r#"{{"annotations":"{}",{}"#, "x".repeat(800_000), &EVENT[1..]);
        check(&line, Look::AuditLog);
    }

    #[test]
    fn others() {
        check("", Look::Empty);
        check(" \n\n", Look::Empty);
        check("# README\n", Look::Other);
        check("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n", Look::Other);
        check(r#"{"auditID":"1","stage":"Panic","level":"Metadata","rule":3}"#, Look::Other);
        check(
            &format!("# Events\n\nOne looks so:\n\n```json\n{EVENT}\n```\n\nand so on"),
            Look::Other,
        );
        check("\0\u{1}\u{2}{", Look::Other);
    }
}
