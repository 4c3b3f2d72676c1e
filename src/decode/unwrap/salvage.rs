//! Lines that a collector cut: who, what and the status stand before the bodies, and are kept.

use super::shape::{mark_truncated, push};
use crate::event::{Json, Timestamp};

/// An event of the fields that are whole in the start of one. The time of the stage stands behind the
/// bodies and is mostly lost: then it is the wrapper's, if that has one.
///
/// `None` if too little is left: an event needs its stage, its level, and an ID or a URI.
pub(super) fn event(text: &str, time: Option<Timestamp>) -> Option<String> {
    let end = whole_fields(text.as_bytes())?;
    let mut object = text[..end].to_owned();
    let whole = object.clone() + "}";
    let has = |name| Json::new(whole.as_bytes()).field(name).is_some();
    if !(has("stage") && has("level") && (has("auditID") || has("requestURI"))) {
        return None;
    }
    let (has_time, has_annotations) = (has("stageTimestamp"), has("annotations"));
    if let Some(time) = time.filter(|_| !has_time) {
        push(&mut object, "stageTimestamp", &format!("\"{time}\""));
    }
    if !has_annotations {
        mark_truncated(&mut object);
    }
    let whole = object + "}";
    Some(Json::new(whole.as_bytes()).compact().into_owned())
}

/// Where the last whole field of the outermost object ends.
fn whole_fields(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut end) = (0_usize, false, None);
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1).filter(|it| *it > 0)?,
            b',' if depth == 1 => end = Some(at),
            _ => {}
        }
        at += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(
            event(text, Timestamp::parse(b"2026-01-02T03:04:05Z")).as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn keeps_whole_fields() {
        check(
            r#"{"level":"Request","auditID":"a","stage":"Panic","verb":"get","user":{"username":"x,y","gro"#,
            Some(
                r#"{"level":"Request","auditID":"a","stage":"Panic","verb":"get","stageTimestamp":"2026-01-02T03:04:05.000000Z","annotations":{"audit.k8s.io/truncated":"true"}}"#,
            ),
        );
    }

    #[test]
    fn too_little_is_left() {
        check(r#"{"level":"Request","auditID":"a","stage":"Pan"#, None);
        check(r#"{"a"#, None);
        check("{}", None);
        check("", None);
    }
}
