//! What a collector cut: who, what and the status stand before the bodies, and are kept.
//!
//! CloudWatch cuts at 256 KB, Azure near 16 KiB, a server that dies anywhere. The times and the
//! annotations come after the bodies, so they are mostly lost.

use std::borrow::Cow;

use super::{
    TRUNCATED,
    shape::{self, MAX_DEPTH, on_a_line, push},
};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind, Timestamp},
};

/// Fields of which a part is of use. Of an impersonated user even nothing is: else the request would
/// count as its impersonator's own.
const OBJECTS: [&str; 4] = ["user", "impersonatedUser", "objectRef", "responseStatus"];

/// An event of what is whole in a text that ends in the middle, be it of the event or of wrappers
/// around it. The time of the stage is the wrapper's, if it is cut off and that has one.
///
/// `None` if the text does not end in the middle, or too little is left: an event needs its stage, its
/// level, and an ID or a URI.
pub(super) fn event(text: &str, time: Option<Timestamp>) -> Option<String> {
    find(text, time, 0)
}

fn find(text: &str, time: Option<Timestamp>, depth: usize) -> Option<String> {
    let cut = Cut::parse(text).filter(|_| depth <= MAX_DEPTH)?;
    if cut.is_event() {
        return Some(cut.event(time));
    }
    let time = cut.time().or(time);
    let (_, part) = cut.broken?;
    match part.as_bytes().first()? {
        b'{' | b'[' => find(part, time, depth + 1),
        b'"' => {
            let text = format!("{}\"", without_half_escape(part));
            let text = Json::new(text.as_bytes()).text().into_owned();
            let start = text.find('{').filter(|it| *it <= 512)?;
            find(&text[start..], time, depth + 1)
        }
        _ => None,
    }
}

/// A JSON string that is cut, up to its last whole escape.
fn without_half_escape(part: &str) -> &str {
    let Some(at) = part.rfind('\\') else { return part };
    let before = part[..at].len() - part[..at].trim_end_matches('\\').len();
    let needed = match part.as_bytes().get(at + 1) {
        Some(b'u') => 6,
        _ => 2,
    };
    // Behind an odd number of backslashes this one is itself escaped.
    if before.is_multiple_of(2) && part.len() - at < needed { &part[..at] } else { part }
}

/// An object, or a list, that ends in the middle.
struct Cut<'a> {
    whole: Vec<(Cow<'a, str>, Json<'a>)>,
    /// The field that the cut is in, and what there is of its value.
    broken: Option<(String, &'a str)>,
}

impl<'a> Cut<'a> {
    /// The fields up to the cut; `None` for what is whole, or no JSON.
    fn parse(text: &'a str) -> Option<Cut<'a>> {
        let mut cut = Cut { whole: Vec::new(), broken: None };
        let is_list = text.starts_with('[');
        let mut rest = text.strip_prefix(['{', '['])?;
        loop {
            rest = rest.trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if rest.is_empty() {
                return Some(cut);
            }
            let (value_text, name) = if is_list {
                (rest, Cow::Borrowed(""))
            } else {
                if !rest.starts_with('"') {
                    return None;
                }
                let Some((name, after)) = value(rest)? else { return Some(cut) };
                let Some(after) = after.trim_start().strip_prefix(':') else {
                    return after.trim_start().is_empty().then_some(cut);
                };
                (after.trim_start(), name.as_text()?)
            };
            match value(value_text)? {
                // A number may go on behind the cut.
                Some((json, after)) if !after.is_empty() || json.kind() != Kind::Number => {
                    if !is_list {
                        cut.whole.push((name, json));
                    }
                    rest = after;
                }
                _ => {
                    cut.broken = Some((name.into_owned(), value_text));
                    return Some(cut);
                }
            }
        }
    }

    fn get(&self, name: &str) -> Option<Json<'a>> {
        self.whole.iter().find(|(it, _)| it == name).map(|(_, json)| *json)
    }

    fn is_event(&self) -> bool {
        let has = |name| self.get(name).is_some_and(|it| it.kind() == Kind::Text);
        let is_other = self.get("kind").is_some_and(|it| it.text() != "Event");
        has("level") && has("stage") && (has("auditID") || has("requestURI")) && !is_other
    }

    /// When a wrapper says the line was written.
    fn time(&self) -> Option<Timestamp> {
        let fields = self.whole.iter().map(|(name, json)| (name.clone(), *json)).collect();
        shape::time_of(&Fields::new(fields))
    }

    fn event(self, time: Option<Timestamp>) -> String {
        let level = self.get("k8s_audit_level");
        let has_time = self.get("stageTimestamp").is_some();
        let old = self.get("metadata").and_then(|it| it.field("creationTimestamp"));
        let old = self.get("timestamp").or(old).filter(|it| it.kind() == Kind::Text);
        let mut event = String::from("{");
        let mut annotations = String::from("{");
        for (name, value) in &self.whole {
            match (&**name, level) {
                ("annotations", _) => {
                    let all = serde_json::from_slice::<Fields<'_>>(value.bytes());
                    for (name, value) in all.iter().flat_map(Fields::all) {
                        push(&mut annotations, name, value.raw());
                    }
                }
                ("level", Some(level)) => push(&mut event, name, level.raw()),
                _ => push(&mut event, name, &on_a_line(value.raw())),
            }
        }
        let part = self.broken.filter(|(name, _)| OBJECTS.contains(&name.as_str()));
        if let Some((name, part)) = part.and_then(|(name, part)| Some((name, part_of(part)?))) {
            push(&mut event, &name, &part);
        }
        let time = time.map(|it| format!("\"{it}\"")).or(old.map(|it| it.raw().to_owned()));
        if let Some(time) = time.filter(|_| !has_time) {
            push(&mut event, "stageTimestamp", &time);
        }
        push(&mut annotations, TRUNCATED, "\"true\"");
        push(&mut event, "annotations", &(annotations + "}"));
        event + "}"
    }
}

/// The whole fields of an object that is cut, as an object.
fn part_of(part: &str) -> Option<String> {
    let mut object = String::from("{");
    for (name, value) in Cut::parse(part).filter(|_| part.starts_with('{'))?.whole {
        push(&mut object, &name, &on_a_line(value.raw()));
    }
    Some(object + "}")
}

/// The value at the start of a text and what follows it; `Some(None)` if the text ends in it, `None` if
/// it is no JSON.
#[expect(clippy::option_option, reason = "three outcomes, two of which end the walk")]
fn value(text: &str) -> Option<Option<(Json<'_>, &str)>> {
    let mut values =
        serde_json::Deserializer::from_str(text).into_iter::<&serde_json::value::RawValue>();
    match values.next() {
        Some(Ok(raw)) => {
            Some(Some((Json::new(raw.get().as_bytes()), &text[values.byte_offset()..])))
        }
        Some(Err(err)) => err.is_eof().then_some(None),
        None => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let time = Timestamp::parse(b"2026-01-02T03:04:05Z");
        assert_eq!(event(text, time).as_deref(), expected, "{text}");
    }

    const REST: &str = r#""stageTimestamp":"2026-01-02T03:04:05.000000Z","annotations":{"audit.k8s.io/truncated":"true"}}"#;

    #[test]
    fn keeps_what_is_whole() {
        let head = r#"{"level":"Request","auditID":"a","stage":"Panic","verb":"get""#;
        for (cut, kept) in [
            (r#","user":{"username":"x,y","gro"#, r#","user":{"username":"x,y"}"#),
            (r#","user":{"username":"x"},"sourceIPs":["1"#, r#","user":{"username":"x"}"#),
            (r#","userAg"#, ""),
            (",", ""),
            // Whoever it was, it was not the user.
            (r#","user":{},"impersonatedUser":{"user"#, r#","user":{},"impersonatedUser":{}"#),
            (
                r#","responseStatus":{"status":"Failure","code":40"#,
                r#","responseStatus":{"status":"Failure"}"#,
            ),
            (r#","requestObject":{"a":1,"b"#, ""),
        ] {
            check(&format!("{head}{cut}"), Some(&format!("{head}{kept},{REST}")));
        }
    }

    #[test]
    fn in_wrappers_that_are_cut_too() {
        let inner = r#"{"level":"Request","auditID":"a","stage":"Panic""#;
        let cut = r#"{"level":"Request","auditID":"a","stage":"Panic","verb":"ge"#;
        let escaped = serde_json::Value::from(cut).to_string();
        let escaped = escaped.trim_end_matches('"');
        let expected = format!("{inner},{REST}");
        check(&format!("{{\"stream\":\"stdout\",\"log\":{escaped}"), Some(&expected));
        check(&format!("[{{\"a\":1}},{{\"_source\":{cut}"), Some(&expected));
        let expected = expected.replace("2026-01-02T03:04:05.0", "2026-11-22T10:11:12.0");
        check(&format!("{{\"time\":\"2026-11-22T10:11:12Z\",\"log\":{escaped}"), Some(&expected));
    }

    #[test]
    fn too_little_is_left() {
        check(r#"{"level":"Request","auditID":"a","stage":"Pan"#, None);
        check(r#"{"kind":"Pod","level":"Request","auditID":"a","stage":"Panic","#, None);
        check(r#"{"a"#, None);
        check("{}", None);
        check("", None);
    }
}
