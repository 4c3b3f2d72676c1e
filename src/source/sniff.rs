//! Whether a file looks like an audit log: so a folder's other files are no inputs.
//!
//! The same readers decide that read the events: what they read in the first bytes of a file makes it
//! an audit log.

use std::io::{self, Read};

use super::compression::Peeked;
use crate::decode::unwrap;

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
        if unwrap::holds_events(start, !has_more) {
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
            r#"[{"protoPayload":{"methodName":"io.k8s.core.v1.pods.exec.create","resourceName":"core/v1/namespaces/a/pods/b/exec"}}]"#,
            Look::AuditLog,
        );
        let cell = EVENT.replace('"', "\"\"");
        check(&format!("@timestamp,@message\n2026-11-22,\"{cell}\"\n"), Look::AuditLog);
        check(
            "---\nauditID: a\nlevel: Metadata\nstage: Panic\nverb: get\nrequestURI: /\nuser: {}\n",
            Look::AuditLog,
        );
        check(&serde_json::json!({ "a": { "b": [EVENT] } }).to_string(), Look::AuditLog);
    }

    /// Container runtimes cut lines after 8 or 16 KiB, and two streams stand between each other.
    #[test]
    fn lines_in_parts() {
        for at in [1, 40, 90, 120] {
            let (a, b) = EVENT.split_at(at);
            let time = "2026-11-22T10:11:12Z";
            let b_start = &b[..9];
            let start =
                format!("{time} stdout P {a}\n{time} stderr P E1122\n{time} stdout P {b_start}\n");
            let rest = &b[9..];
            check(&format!("{start}{time} stderr F x\n{time} stdout F {rest}\n"), Look::AuditLog);
            check(&format!("{start}{time} stdout P {rest}"), Look::AuditLog);
            let cut = &format!("{start}{time} stderr F y\n");
            // What is left of a cut event is read if its stage is there.
            check(cut, if at < 90 { Look::Other } else { Look::AuditLog });
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
