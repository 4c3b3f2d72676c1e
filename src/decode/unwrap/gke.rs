//! Google's LogEntry: an event that was taken apart into `protoPayload`, and is put together again.

use serde_json::{Value, json};

use super::shape::mark_inferred;
use crate::{
    decode::strict::Fields,
    event::{Json, Timestamp},
};

/// A LogEntry of the API server's audit log as an event.
pub(super) fn event(entry: Json<'_>, fields: &Fields<'_>) -> Option<String> {
    fields.get("protoPayload")?;
    let entry: Value = serde_json::from_slice(entry.bytes()).ok()?;
    let payload = &entry["protoPayload"];
    let (method, path) = (payload["methodName"].as_str()?, payload["resourceName"].as_str()?);
    if payload["serviceName"].as_str().is_some_and(|it| it != "k8s.io") {
        return None;
    }
    let verb = method.rsplit('.').next().unwrap_or_default();
    let operation = &entry["operation"];
    let id = operation["id"].as_str().or(entry["insertId"].as_str()).unwrap_or_default();
    let is_first_only = operation["first"] == true && operation["last"] != true;
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": if is_first_only { "ResponseStarted" } else { "ResponseComplete" },
        "requestURI": uri(path), "verb": verb,
        "user": { "username": payload["authenticationInfo"]["principalEmail"].as_str().unwrap_or_default() },
    });
    let request = &payload["requestMetadata"];
    if let Some(ip) = request["callerIp"].as_str() {
        event["sourceIPs"] = json!([ip]);
    }
    if let Some(agent) = request["callerSuppliedUserAgent"].as_str() {
        event["userAgent"] = agent.into();
    }
    let object = object_ref(path);
    let is_stream =
        matches!(object["subresource"].as_str(), Some("exec" | "attach" | "portforward"));
    if object["resource"].is_string() {
        event["objectRef"] = object;
    }
    let status = payload["status"]["code"].as_i64().unwrap_or(0);
    event["responseStatus"] = json!({ "code": http_code(status, verb, is_stream) });
    let has_message = !(is_stream && status == 2);
    if let Some(message) = payload["status"]["message"].as_str().filter(|_| has_message) {
        event["responseStatus"]["message"] = message.into();
    }
    for (name, body) in
        [("requestObject", &payload["request"]), ("responseObject", &payload["response"])]
    {
        if body.is_object() {
            event[name] = body.clone();
            event["level"] =
                if name == "requestObject" { "Request" } else { "RequestResponse" }.into();
        }
    }
    let time = entry["timestamp"].as_str().and_then(|it| Timestamp::parse(it.as_bytes()));
    if let Some(time) = time {
        event["stageTimestamp"] = time.to_string().into();
    }
    event["annotations"] =
        if entry["labels"].is_object() { entry["labels"].clone() } else { json!({}) };
    mark_inferred(&mut event, &["level", "stage", "requestURI", "responseStatus.code"]);
    Some(event.to_string())
}

/// `core/v1/namespaces/shop/pods/web-0/exec` as the path of the request; another path as it is.
fn uri(resource_name: &str) -> String {
    let path = resource_name.trim_start_matches('/');
    match path.split_once('/') {
        Some(("core", rest)) => format!("/api/{rest}"),
        Some((group, rest)) if rest.contains('/') && group.contains('.') || is_group(path) => {
            format!("/apis/{group}/{rest}")
        }
        _ => format!("/{path}"),
    }
}

/// Groups without a dot, by the version behind them.
fn is_group(path: &str) -> bool {
    let mut parts = path.split('/');
    let (group, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let digit = |it: &str| it.starts_with(|c: char| c.is_ascii_digit());
    group != "api"
        && group != "apis"
        && version.strip_prefix('v').is_some_and(digit)
        && parts.next().is_some()
}

fn object_ref(resource_name: &str) -> Value {
    let parts: Vec<&str> = resource_name.trim_start_matches('/').split('/').collect();
    let (group, version, mut rest) = match parts.as_slice() {
        [group, version, rest @ ..]
            if *group == "core" || is_group(resource_name) || group.contains('.') =>
        {
            (if *group == "core" { "" } else { group }, *version, rest)
        }
        _ => return Value::Null,
    };
    let mut namespace = "";
    if let ["namespaces", name, after @ ..] = rest {
        namespace = name;
        // As the API server reads it: these two are subresources of the namespace.
        if !matches!(after.first(), None | Some(&"status" | &"finalize")) {
            rest = after;
        }
    }
    let part = |n: usize| rest.get(n).copied().unwrap_or_default();
    let all = [
        ("resource", part(0)),
        ("namespace", namespace),
        ("name", part(1)),
        ("apiGroup", group),
        ("apiVersion", version),
        ("subresource", part(2)),
    ];
    all.into_iter()
        .filter(|(_, it)| !it.is_empty())
        .map(|(name, it)| (name.to_owned(), Value::from(it)))
        .collect()
}

/// A gRPC status as the HTTP status it stands for.
///
/// Source: `google/rpc/code.proto`; 101 and 201 are what the API server answers in these cases.
fn http_code(status: i64, verb: &str, is_stream: bool) -> i64 {
    match status {
        // An upgraded stream has no status of its own: GKE writes UNKNOWN.
        0 | 2 if is_stream => 101,
        0 if verb == "create" => 201,
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
