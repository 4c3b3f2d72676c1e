//! Events whose fields were flattened, renamed or turned into text, put together again.
//!
//! `user.username`, `user_username`, `kubernetes.audit.user.username`, `User.Username` and
//! `"user":"{\"username\":…}"` are the same field. Names are compared without case and separators, and
//! what stands before the name of an event's field is a prefix that all fields of an event share.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::{Map, Value};

use super::{
    INFERRED,
    shape::{self, on_a_line, push},
};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind, Level, Stage, Timestamp},
};

/// How deep objects are followed into each other.
const MAX_DEPTH: usize = 12;
/// At most this many fields are looked at.
const MAX_FIELDS: usize = 4096;
/// A longer name is no field's.
const MAX_NAME: usize = 512;

/// What a field of an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A text, by its path in an event.
    Text(&'static str),
    /// A list of texts.
    List(&'static str),
    /// An object of any fields, whose names follow.
    Map(&'static str),
    /// An object of the fields above.
    Object(&'static str),
}

use Target::{List, Map as Any, Object, Text};

/// The field of this name: lower case, without separators.
fn target(name: &str) -> Option<Target> {
    Some(match name {
        "level" => Text("level"),
        "k8sauditlevel" => Text("k8s_audit_level"),
        "auditid" => Text("auditID"),
        "stage" => Text("stage"),
        "requesturi" => Text("requestURI"),
        "verb" => Text("verb"),
        "user" => Object("user"),
        "userusername" | "username" => Text("user.username"),
        "useruid" => Text("user.uid"),
        "usergroups" => List("user.groups"),
        "userextra" => Any("user.extra"),
        "impersonateduser" => Object("impersonatedUser"),
        "impersonateduserusername" => Text("impersonatedUser.username"),
        "impersonateduseruid" => Text("impersonatedUser.uid"),
        "impersonatedusergroups" => List("impersonatedUser.groups"),
        "impersonateduserextra" => Any("impersonatedUser.extra"),
        "authenticationmetadata" => Object("authenticationMetadata"),
        "authenticationmetadataimpersonationconstraint" => {
            Text("authenticationMetadata.impersonationConstraint")
        }
        "sourceips" | "sourceip" => List("sourceIPs"),
        "useragent" => Text("userAgent"),
        "objectref" => Object("objectRef"),
        "objectrefresource" => Text("objectRef.resource"),
        "objectrefnamespace" => Text("objectRef.namespace"),
        "objectrefname" => Text("objectRef.name"),
        "objectrefuid" => Text("objectRef.uid"),
        "objectrefapigroup" => Text("objectRef.apiGroup"),
        "objectrefapiversion" => Text("objectRef.apiVersion"),
        "objectrefresourceversion" => Text("objectRef.resourceVersion"),
        "objectrefsubresource" => Text("objectRef.subresource"),
        "responsestatus" => Object("responseStatus"),
        "responsestatusstatus" => Text("responseStatus.status"),
        "responsestatusmessage" => Text("responseStatus.message"),
        "responsestatusreason" => Text("responseStatus.reason"),
        "responsestatuscode" => Text("responseStatus.code"),
        "responsestatusdetails" => Any("responseStatus.details"),
        "requestobject" => Any("requestObject"),
        "responseobject" => Any("responseObject"),
        "requestreceivedtimestamp" | "requestreceivedtime" => Text("requestReceivedTimestamp"),
        "stagetimestamp" | "stagereceivedtime" => Text("stageTimestamp"),
        "timestamp" => Text("timestamp"),
        "annotations" => Any("annotations"),
        _ => return None,
    })
}

/// A field of the object that is an event's.
struct Leaf {
    target: Target,
    /// What follows the name of a target that holds any fields, or a list.
    rest: String,
    /// The value as JSON.
    raw: String,
}

/// An event put together from the fields of an object and the objects in it, lists aside. `None` if no
/// user, verb and URI can be read from them. A failed authentication has no user.
pub(super) fn event(fields: &Fields<'_>, wrapper: Option<Timestamp>) -> Option<String> {
    let mut groups = BTreeMap::new();
    collect(fields, "", 0, &mut 0, &mut groups);
    let events =
        groups.into_values().filter_map(|leaves| Some((leaves.len(), build(&leaves, wrapper)?)));
    events.max_by_key(|(n_fields, _)| *n_fields).map(|(_, event)| event)
}

/// Sorts fields by the prefix of their names.
fn collect(
    fields: &Fields<'_>,
    path: &str,
    depth: usize,
    n_fields: &mut usize,
    groups: &mut BTreeMap<String, Vec<Leaf>>,
) {
    for (name, json) in fields.all() {
        *n_fields += 1;
        if depth > MAX_DEPTH || *n_fields > MAX_FIELDS || path.len() + name.len() > MAX_NAME {
            return;
        }
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let found = resolve(&path);
        // A text of another name is looked at as a whole, and not for its fields.
        let text = if found.is_some() { unquoted(json) } else { None };
        let value = text.as_deref().map_or(json, |text| Json::new(text.as_bytes()));
        let is_open = value.kind() == Kind::Object
            && matches!(found, None | Some((_, Object(_) | Text(_), _)));
        if is_open && let Ok(inner) = serde_json::from_slice::<Fields<'_>>(value.bytes()) {
            collect(&inner, &path, depth + 1, n_fields, groups);
        }
        if let Some((prefix, target, rest)) = found {
            let raw = on_a_line(value.raw()).into_owned();
            groups.entry(prefix).or_default().push(Leaf { target, rest: rest.to_owned(), raw });
        }
    }
}

/// An object or a list that is written as text, or is the only element of a list.
fn unquoted(json: Json<'_>) -> Option<String> {
    let text = match json.kind() {
        Kind::Text => json.text().into_owned(),
        Kind::List => match json.elements().as_slice() {
            [only] if only.kind() == Kind::Object => return Some(only.raw().to_owned()),
            [only] if only.kind() == Kind::Text => only.text().into_owned(),
            _ => return None,
        },
        _ => return None,
    };
    let text = text.trim();
    let is_json = text.starts_with(['{', '['])
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    is_json.then(|| text.to_owned())
}

/// The prefix, the field and the rest of a name.
fn resolve(name: &str) -> Option<(String, Target, &str)> {
    let name = name.trim_end_matches("{}").trim_end_matches(" [UTC]").trim_start_matches('.');
    find(name).or_else(|| {
        // The types that Log Analytics adds to the names of columns.
        let (before, kind) = name.rsplit_once('_')?;
        ["s", "d", "g", "t", "b"].contains(&kind).then(|| find(before))?
    })
}

fn find(name: &str) -> Option<(String, Target, &str)> {
    let is_separator = |c: char| "._/:[]{}-".contains(c);
    let mut parts = Vec::new();
    for part in name.split(is_separator).filter(|part| !part.is_empty()) {
        let start = part.as_ptr().addr() - name.as_ptr().addr();
        parts.push((start, part.to_ascii_lowercase()));
    }
    for first in 0..parts.len() {
        let mut squeezed = String::new();
        let mut found = None;
        for (n, (start, part)) in parts.iter().enumerate().skip(first) {
            squeezed += part;
            let end = start + part.len();
            let rest = parts.get(n + 1).map_or("", |(next, _)| &name[*next..]);
            found = match target(&squeezed) {
                Some(target @ Any(_)) => Some((target, rest)),
                Some(target @ List(_)) if rest.parse::<u16>().is_ok() => Some((target, rest)),
                Some(target) if end == name.trim_end_matches(is_separator).len() => {
                    Some((target, ""))
                }
                _ => found,
            };
        }
        if let Some((target, rest)) = found {
            let prefix = parts[..first].iter().map(|(_, part)| part.as_str());
            return Some((prefix.collect::<Vec<_>>().join("."), target, rest));
        }
    }
    None
}

/// Fields of the event in the API server's order, objects as paths.
const PARTS: [(&str, &[&str]); 2] = [
    (
        "objectRef",
        &[
            "resource",
            "namespace",
            "name",
            "uid",
            "apiGroup",
            "apiVersion",
            "resourceVersion",
            "subresource",
        ],
    ),
    ("responseStatus", &["status", "message", "reason", "code"]),
];

fn build(leaves: &[Leaf], wrapper: Option<Timestamp>) -> Option<String> {
    let all = Leaves(leaves);
    let (verb, uri) = (all.text("verb")?, all.text("requestURI")?);
    let code = all.text("responseStatus.code");
    let user = all.user("user").or_else(|| {
        let is_failed_authentication = code.as_deref() == Some("401");
        (is_failed_authentication || all.has(Object("user"))).then(|| "{}".to_owned())
    })?;
    let stage = match all.text("stage") {
        Some(stage) => Some(Stage::parse(&stage)?),
        None => None,
    };
    let level = ["k8s_audit_level", "level"].iter().find_map(|name| Level::parse(&all.text(name)?));
    let id = all.text("auditID");
    // Other programs have users, verbs and URIs too.
    let is_event = stage.is_some() || id.is_some() || all.text("objectRef.resource").is_some();
    if !is_event {
        return None;
    }

    let mut inferred = Vec::new();
    let mut event = String::from("{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"");
    let level = level.unwrap_or_else(|| {
        inferred.push("level");
        Level::Metadata
    });
    let stage = stage.unwrap_or_else(|| {
        inferred.push("stage");
        Stage::ResponseComplete
    });
    let quoted = |text: &str| Value::from(text).to_string();
    push(&mut event, "level", &quoted(level.as_str()));
    push(&mut event, "auditID", &quoted(&id.unwrap_or_default()));
    push(&mut event, "stage", &quoted(stage.as_str()));
    push(&mut event, "requestURI", &quoted(&uri));
    push(&mut event, "verb", &quoted(&verb));
    push(&mut event, "user", &user);
    if let Some(user) = all.user("impersonatedUser") {
        push(&mut event, "impersonatedUser", &user);
    }
    if let Some(constraint) = all.text("authenticationMetadata.impersonationConstraint") {
        let constraint = format!("{{\"impersonationConstraint\":{}}}", quoted(&constraint));
        push(&mut event, "authenticationMetadata", &constraint);
    }
    if let Some(ips) = all.list("sourceIPs") {
        push(&mut event, "sourceIPs", &ips);
    }
    if let Some(agent) = all.text("userAgent") {
        push(&mut event, "userAgent", &quoted(&agent));
    }
    for (name, parts) in PARTS {
        if let Some(object) = all.object(name, parts) {
            push(&mut event, name, &object);
        }
    }
    for name in ["requestObject", "responseObject"] {
        if let Some(body) = all.body(name) {
            push(&mut event, name, &body);
        }
    }
    let received = all.time("requestReceivedTimestamp");
    if let Some(time) = received {
        push(&mut event, "requestReceivedTimestamp", &quoted(&time.to_string()));
    }
    let recorded = all.time("stageTimestamp").or_else(|| all.time("timestamp"));
    if let Some(time) = recorded.or(received).or(wrapper) {
        push(&mut event, "stageTimestamp", &quoted(&time.to_string()));
        if recorded.is_none() {
            inferred.push("stageTimestamp");
        }
    }
    let mut annotations = all.map("annotations", &|json| text_of(json).map(Value::from));
    if !inferred.is_empty() {
        annotations.insert(INFERRED.to_owned(), inferred.join(",").into());
    }
    if !annotations.is_empty() {
        push(&mut event, "annotations", &Value::Object(annotations).to_string());
    }
    Some(event + "}")
}

/// The fields of one event.
struct Leaves<'l>(&'l [Leaf]);

impl Leaves<'_> {
    fn of(&self, target: Target) -> impl Iterator<Item = (&str, Json<'_>)> {
        let leaves = self.0.iter().filter(move |leaf| leaf.target == target);
        leaves.map(|leaf| (leaf.rest.as_str(), Json::new(leaf.raw.as_bytes())))
    }

    fn has(&self, target: Target) -> bool {
        self.of(target).next().is_some()
    }

    fn text(&self, path: &'static str) -> Option<String> {
        self.of(Text(path)).find_map(|(_, json)| text_of(json))
    }

    fn time(&self, path: &'static str) -> Option<Timestamp> {
        self.of(Text(path)).find_map(|(_, json)| shape::time(&text_of(json)?))
    }

    /// A list as JSON.
    fn list(&self, path: &'static str) -> Option<String> {
        let mut numbered = Vec::new();
        for (rest, json) in self.of(List(path)) {
            let texts = texts_of(json, path == "sourceIPs");
            match rest.parse::<u16>() {
                Ok(number) => numbered.extend(texts.into_iter().map(|text| (number, text))),
                Err(_) if texts.is_empty() => {}
                Err(_) => return Some(Value::from(texts).to_string()),
            }
        }
        numbered.sort_by_key(|(number, _)| *number);
        let texts: Vec<String> = numbered.into_iter().map(|(_, text)| text).collect();
        (!texts.is_empty()).then(|| Value::from(texts).to_string())
    }

    /// An object of any fields, from one value or from names with what follows the object's.
    fn map(
        &self,
        path: &'static str,
        value: &dyn Fn(Json<'_>) -> Option<Value>,
    ) -> Map<String, Value> {
        let mut map = Map::new();
        for (rest, json) in self.of(Any(path)) {
            flatten(&restored(rest), json, 0, value, &mut map);
        }
        map
    }

    fn user(&self, name: &'static str) -> Option<String> {
        let [username, uid, groups, extra] = match name {
            "user" => ["user.username", "user.uid", "user.groups", "user.extra"],
            _ => [
                "impersonatedUser.username",
                "impersonatedUser.uid",
                "impersonatedUser.groups",
                "impersonatedUser.extra",
            ],
        };
        // The object's place may hold the name alone.
        let plain = || {
            let (_, json) = self.of(Object(name)).find(|(_, json)| json.kind() == Kind::Text)?;
            text_of(json).filter(|text| !text.starts_with(['{', '[']))
        };
        let mut user = String::from("{");
        for (field, path) in [("username", username), ("uid", uid)] {
            let text = self.text(path);
            if let Some(text) = if field == "username" { text.or_else(plain) } else { text } {
                push(&mut user, field, &Value::from(text).to_string());
            }
        }
        if let Some(groups) = self.list(groups) {
            push(&mut user, "groups", &groups);
        }
        let extra = self.map(extra, &|json| Some(Value::from(texts_of(json, false))));
        if !extra.is_empty() {
            push(&mut user, "extra", &Value::Object(extra).to_string());
        }
        (user.len() > 1).then(|| user + "}")
    }

    fn object(&self, name: &'static str, parts: &[&'static str]) -> Option<String> {
        let mut object = String::from("{");
        for part in parts {
            let path = format!("{name}{part}").to_ascii_lowercase();
            let Some(Text(path)) = target(&path) else { continue };
            let Some(text) = self.text(path) else { continue };
            match text.parse::<f64>() {
                Ok(code) if *part == "code" => push(&mut object, part, &(code as i64).to_string()),
                _ if *part == "code" => {}
                _ => push(&mut object, part, &Value::from(text).to_string()),
            }
        }
        (object.len() > 1).then(|| object + "}")
    }

    /// A body: one value, or put together from names with dots.
    fn body(&self, path: &'static str) -> Option<String> {
        let mut body = Value::Object(Map::new());
        for (rest, json) in self.of(Any(path)) {
            if !rest.is_empty() {
                let value = serde_json::from_str(&json.compact()).unwrap_or_default();
                insert(&mut body, rest, value);
                continue;
            }
            match json.kind() {
                Kind::Object => {
                    return Some(unknown(json).unwrap_or_else(|| json.raw().to_owned()));
                }
                Kind::List => return Some(json.raw().to_owned()),
                _ => {}
            }
        }
        body.as_object().is_some_and(|body| !body.is_empty()).then(|| body.to_string())
    }
}

/// Go's `runtime.Unknown`: the bytes of a body in base64.
fn unknown(json: Json<'_>) -> Option<String> {
    let raw = json.field("Raw")?.as_text()?.into_owned();
    json.field("ContentType")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(raw).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    serde_json::from_str::<&serde_json::value::RawValue>(text.trim()).ok()?;
    Some(on_a_line(text.trim()).into_owned())
}

/// Sets a value in an object at a path of names with dots.
fn insert(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for name in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Some(all) = place.as_object_mut() else { return };
        place = all.entry(name).or_insert(Value::Null);
    }
    *place = value;
}

/// Adds a value, or the values of an object, whose names had dots and were taken for a path.
fn flatten(
    name: &str,
    json: Json<'_>,
    depth: usize,
    value: &dyn Fn(Json<'_>) -> Option<Value>,
    map: &mut Map<String, Value>,
) {
    if json.kind() != Kind::Object {
        if let Some(value) = value(json).filter(|_| !name.is_empty()) {
            map.entry(name).or_insert(value);
        }
        return;
    }
    let Ok(fields) = serde_json::from_slice::<Fields<'_>>(json.bytes()) else { return };
    for (part, json) in fields.all().filter(|_| depth < MAX_DEPTH) {
        let name = if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
        flatten(&restored(&name), json, depth + 1, value, map);
    }
}

/// The annotations that Kubernetes itself writes into events, and others that matter.
const ANNOTATIONS: [&str; 14] = [
    "authorization.k8s.io/decision",
    "authorization.k8s.io/reason",
    "authentication.k8s.io/legacy-token",
    "authentication.k8s.io/stale-token",
    "k8s.io/deprecated",
    "k8s.io/removed-release",
    "pod-security.kubernetes.io/audit-violations",
    "pod-security.kubernetes.io/enforce-policy",
    "pod-security.kubernetes.io/exempt",
    "mutation.webhook.admission.k8s.io/round_0_index_0",
    "audit.k8s.io/truncated",
    "validation.policy.admission.k8s.io/validation_failure",
    "apiserver.latency.k8s.io/total",
    "apiserver.latency.k8s.io/etcd",
];

/// The name of an annotation whose dots and slashes were replaced, where that is known.
fn restored(name: &str) -> String {
    let plain = |name: &str| {
        name.bytes()
            .map(|it| if it.is_ascii_alphanumeric() { it } else { b'_' })
            .collect::<Vec<_>>()
    };
    if name.contains('/') || !name.contains('_') {
        return name.to_owned();
    }
    let written = plain(name);
    let known = ANNOTATIONS.iter().find(|known| plain(known) == written);
    known.map_or_else(|| name.to_owned(), |known| (*known).to_owned())
}

/// The text of a scalar, also as the only element of a list. `None` for what stands for no value.
fn text_of(json: Json<'_>) -> Option<String> {
    let text = match json.kind() {
        Kind::Null | Kind::Object => return None,
        Kind::List => return text_of(*json.elements().first()?),
        _ => json.text().into_owned(),
    };
    (!matches!(text.as_str(), "" | "-" | "null" | "<nil>")).then_some(text)
}

/// The texts of a list, or of a text that lists them.
fn texts_of(json: Json<'_>, is_comma_enough: bool) -> Vec<String> {
    if json.kind() == Kind::List {
        return json.elements().into_iter().filter_map(text_of).collect();
    }
    let Some(text) = text_of(json) else { return Vec::new() };
    if text.starts_with('[')
        && let Ok(texts) = serde_json::from_str::<Vec<Value>>(&text)
    {
        return texts.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
    }
    let separator = if is_comma_enough { "," } else { ", " };
    let parts = text.split('\n').flat_map(|line| line.split(separator)).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
