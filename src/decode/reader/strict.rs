//! The reference reader: parses the whole line with serde_json.

use super::{Found, Head, Projection, simd};
use crate::event::{Field, Json, Key, Kind, Level, Object, Part, Stage, Timestamp};

pub use crate::event::Object as Fields;

/// Reads a whole line: its head, and the value of each key of `projection` into `found`.
///
/// # Errors
/// Why this is no event of audit.k8s.io, in words for a person.
pub fn read<'a>(
    line: &'a [u8],
    projection: &Projection,
    found: &mut Vec<Found<'a>>,
) -> Result<Head, String> {
    let event: Object<'a> =
        serde_json::from_slice(line).map_err(|err| not_an_object(line, &err))?;
    let text = |name| event.get(name).and_then(Json::as_text);
    if let Some(kind) = text("kind").filter(|it| it != "Event") {
        return Err(format!("kind `{kind}`, not Event"));
    }
    if let Some(version) = text("apiVersion").filter(|it| !it.starts_with("audit.k8s.io/")) {
        return Err(format!("apiVersion `{version}`, not audit.k8s.io"));
    }
    let stage = text("stage").ok_or("no audit event: it has no stage")?;
    let level = text("level").ok_or("no audit event: it has no level")?;
    let stage = Stage::parse(&stage).ok_or_else(|| format!("unknown stage `{stage}`"))?;
    let level = Level::parse(&level).ok_or_else(|| format!("unknown level `{level}`"))?;
    let stage_timestamp = match event.get("stageTimestamp").filter(|it| it.kind() != Kind::Null) {
        None => None,
        Some(json) => Some(
            json.as_text()
                .and_then(|it| Timestamp::parse(it.as_bytes()))
                .ok_or_else(|| format!("stageTimestamp {} is no RFC 3339 time", json.raw()))?,
        ),
    };
    let is_truncated = || event.get("annotations").is_some_and(|it| it.field(TRUNCATED).is_some());
    if let Some(reason) = misses_request(&event, projection).filter(|_| !is_truncated()) {
        return Err(reason);
    }
    if stage_timestamp.is_none() && has_other_time(&event) && !is_truncated() {
        // `unwrap` takes the time from there.
        return Err("an event without stageTimestamp".to_owned());
    }
    let ends_request = match stage {
        Stage::ResponseComplete | Stage::Panic => true,
        Stage::RequestReceived => false,
        Stage::ResponseStarted => is_failed_authentication(&event),
    };
    found.clear();
    found.extend(projection.keys().iter().map(|key| find(&event, key.parts())));
    Ok(Head { level, stage, ends_request, stage_timestamp })
}

/// The annotation of events that were cut, which may lack any field.
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// Fields that are objects or lists. Collectors turn them into text; `unwrap` turns them back.
pub(super) const OPEN_FIELDS: [Field; 5] = [
    Field::ImpersonatedUser,
    Field::SourceIps,
    Field::ObjectRef,
    Field::ResponseStatus,
    Field::Annotations,
];

/// Returns why nobody can tell who requested what, if nobody can.
fn misses_request(event: &Object<'_>, projection: &Projection) -> Option<String> {
    let kind = |name: &str| event.get(name).map_or(Kind::Null, Json::kind);
    if kind("user") != Kind::Object {
        let is_request = kind("verb") == Kind::Text || kind("requestURI") == Kind::Text;
        let is_users = |name: &str| {
            name == "user"
                || name.strip_prefix("user").is_some_and(|rest| rest.starts_with(['.', '_']))
        };
        if !is_request || event.all().any(|(name, _)| is_users(name)) {
            return Some("no audit event: it has no user, verb and request URI".to_owned());
        }
    } else if kind("verb") != Kind::Text && kind("requestURI") != Kind::Text {
        let has_name = event.get("user").is_some_and(|user| user.field("username").is_some());
        if !has_name {
            return Some("no audit event: it has no user, verb and request URI".to_owned());
        }
    }

    let is_wanted = |field: &Field| {
        let first = |key: &Key| matches!(key.parts().first(), Some(Part::Name(name)) if **name == *field.name());
        projection.keys().iter().any(first)
    };
    let is_text = |field: &&Field| kind(field.name()) == Kind::Text && is_wanted(field);
    let field = OPEN_FIELDS.iter().find(is_text)?;
    Some(format!("`{}` is text", field.name()))
}

/// Returns whether the event has a time other than `stageTimestamp`.
fn has_other_time(event: &Object<'_>) -> bool {
    let created = || event.get("metadata")?.field("creationTimestamp");
    let times = [event.get("timestamp"), event.get("requestReceivedTimestamp"), created()];
    let is_time = |json: Json<'_>| {
        json.as_text().is_some_and(|text| Timestamp::parse(text.as_bytes()).is_some())
    };
    times.into_iter().flatten().any(is_time)
}

/// Says what is wrong with a line, so that one need not look: it may be of another program, or cut.
#[cold]
fn not_an_object(line: &[u8], err: &serde_json::Error) -> String {
    let line = line.trim_ascii();
    if line.first() == Some(&b'{') {
        let text = err.to_string();
        let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
        return format!("not a JSON object: {what} at byte {}", err.column());
    }
    let start = String::from_utf8_lossy(&line[..line.len().min(100)]);
    let shown: String = start.chars().take(24).collect();
    let more = if line.len() > shown.len() { "..." } else { "" };
    format!("not a JSON object, but `{shown}`{more}")
}

/// Returns whether the request failed authentication: code 401 and no user. Its only event is the
/// one of stage `ResponseStarted`.
fn is_failed_authentication(event: &Object<'_>) -> bool {
    let field = |outer, inner| event.get(outer).and_then(|value| value.field(inner));

    field("user", "username").is_none_or(|name| name.text().is_empty() || name.kind() == Kind::Null)
        && field("responseStatus", "code").is_some_and(|code| code.text() == "401")
}

/// Follows a key as far as objects lead.
fn find<'a>(event: &Object<'a>, parts: &[Part]) -> Found<'a> {
    let Some((Part::Name(first), mut rest)) = parts.split_first() else {
        return Found::default();
    };

    let mut value = event.get(first);
    while let (Some(json), Some((part, after))) = (value, rest.split_first()) {
        match (json.kind(), part) {
            (Kind::Object, Part::Name(name)) => value = json.field(name),
            (Kind::List, _) => break,
            _ => value = None,
        }
        rest = after;
    }

    let Some(json) = value else { return Found::default() };
    Found {
        raw: Some(json.bytes()),
        depth: parts.len() - rest.len(),
        is_plain: simd::is_plain_string(json.bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"level":"Metadata","stage":"Panic","user":{"username":"ann","groups":["a"]},"o":[{"k":1}]}"#;

    #[track_caller]
    fn check(line: &str, key: &str, expected: &str) {
        let mut projection = Projection::default();
        projection.want(key);
        let mut found = Vec::new();
        let shown = match read(line.as_bytes(), &projection, &mut found) {
            Ok(_) => {
                format!("{} {}", found[0].raw.map_or("-", |it| Json::new(it).raw()), found[0].depth)
            }
            Err(reason) => reason,
        };
        assert_eq!(shown, expected, "{key} of {line}");
    }

    #[test]
    fn finds() {
        check(EVENT, "user.username", "\"ann\" 2");
        check(EVENT, "user", r#"{"username":"ann","groups":["a"]} 1"#);
        check(EVENT, "user.groups[0]", r#"["a"] 2"#);
        check(EVENT, "o.k", r#"[{"k":1}] 1"#);
        check(EVENT, "verb", "- 0");
        check(EVENT, "verb.x", "- 0");
        check(EVENT, "level.x", "- 0");
    }

    #[test]
    fn refuses() {
        check(r#"{"kind":"Pod"}"#, "verb", "kind `Pod`, not Event");
        check(r#"{"apiVersion":"v1"}"#, "verb", "apiVersion `v1`, not audit.k8s.io");
        check(r#"{"level":"Metadata"}"#, "verb", "no audit event: it has no stage");
        check(r#"{"level":"Meta","stage":"Panic"}"#, "verb", "unknown level `Meta`");
        check(r#"{"level":"None","stage":"Over"}"#, "verb", "unknown stage `Over`");
        check(
            r#"{"level":"None","stage":"Panic","stageTimestamp":"soon"}"#,
            "verb",
            "stageTimestamp \"soon\" is no RFC 3339 time",
        );
        check("[1]", "verb", "not a JSON object, but `[1]`");
        check(
            "# Notes on the cluster of ours",
            "verb",
            "not a JSON object, but `# Notes on the cluster o`...",
        );
        check(r#"{"a":"#, "verb", "not a JSON object: EOF while parsing a value at byte 5");
    }
}
