//! The text format of `--audit-log-format=legacy`.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/audit/format.go`.

use serde_json::{Value, json};

use super::shape::{self, mark_inferred};
use crate::event::Target;

/// `TIME AUDIT: id="…" stage="…" ip="…" method="…" user="…" …` as an event, perhaps behind a host.
pub(super) fn event(line: &str) -> Option<String> {
    let (before, pairs) = line.split_once(" AUDIT: ").or_else(|| line.split_once("AUDIT: "))?;
    // Within an event's JSON these words are anybody's: a user agent, a path.
    if before.contains(['{', '"']) {
        return None;
    }
    let time = shape::time(before.rsplit(' ').next().unwrap_or_default());
    let fields = pairs_of(pairs);
    let get =
        |name: &str| fields.iter().find(|(it, _)| *it == name).map(|(_, value)| value.as_str());
    let known = |name: &str| get(name).filter(|it| !it.starts_with('<') && !it.is_empty());
    let (id, uri) = (get("id")?, known("uri").unwrap_or_default());
    let verb = known("method").unwrap_or_default().to_ascii_lowercase();
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": id, "stage": get("stage").unwrap_or("ResponseComplete"), "requestURI": uri, "verb": verb,
        "user": { "username": known("user").unwrap_or_default() },
    });
    if let Some(groups) = known("groups") {
        event["user"]["groups"] = list(groups);
    }
    if let Some(name) = known("as") {
        event["impersonatedUser"] = json!({ "username": name });
        if let Some(groups) = known("asgroups") {
            event["impersonatedUser"]["groups"] = list(groups);
        }
    }
    if let Some(ip) = known("ip") {
        event["sourceIPs"] = json!([ip]);
    }
    if let Some(agent) = known("user-agent") {
        event["userAgent"] = agent.into();
    }
    if let Target::Resource(request) = Target::of_request(&verb, uri) {
        let parts = [
            ("resource", &request.resource),
            ("namespace", &request.namespace),
            ("name", &request.name),
            ("apiGroup", &request.api_group),
            ("apiVersion", &request.api_version),
            ("subresource", &request.subresource),
        ];
        let parts = parts.into_iter().filter(|(_, value)| !value.is_empty());
        event["objectRef"] =
            parts.map(|(name, value)| (name.to_owned(), Value::from(&**value))).collect();
    }
    if let Some(code) = known("response").and_then(|it| it.parse::<u16>().ok()) {
        event["responseStatus"] = json!({ "code": code });
    }
    if let Some(time) = time {
        // The format has only the time of arrival.
        event["requestReceivedTimestamp"] = time.to_string().into();
        event["stageTimestamp"] = time.to_string().into();
    }
    let inferred = ["level", "objectRef", "stageTimestamp"];
    let n = if event["stage"] == "RequestReceived" { 2 } else { 3 };
    mark_inferred(&mut event, &inferred[..n]);
    Some(event.to_string())
}

/// `name="value"` pairs; values are quoted as Go quotes.
fn pairs_of(mut text: &str) -> Vec<(&str, String)> {
    let mut pairs = Vec::new();
    while let Some((name, rest)) = text.trim_start().split_once("=\"") {
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => value.extend(chars.next().map(|(_, next)| match next {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                })),
                c => value.push(c),
            }
        }
        pairs.push((name, value));
        text = &rest[end..];
    }
    pairs
}

/// `"a","b"` as a list.
fn list(text: &str) -> Value {
    let names = text.split(',').map(|it| it.trim().trim_matches('"')).filter(|it| !it.is_empty());
    names.map(Value::from).collect()
}
