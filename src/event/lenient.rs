//! An event some of whose fields are of other types than the API server gives them.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;

use super::{Event, Json, Kind, Level, Object, ObjectRef, ResponseStatus, Stage, Timestamp, User};

/// Returns the event of these fields: each is converted if it can be, and else absent.
pub(super) fn event<'a>(fields: &Object<'a>) -> Event<'a> {
    let get = |name| fields.get(name).filter(|json| json.kind() != Kind::Null);
    let body =
        |name| get(name).and_then(|json| serde_json::from_slice::<&'a RawValue>(json.bytes()).ok());
    let time = |name| Timestamp::parse(get(name)?.text().as_bytes());

    Event {
        level: Level::parse(&text(get("level"))).unwrap_or_default(),
        audit_id: text(get("auditID")),
        stage: Stage::parse(&text(get("stage"))).unwrap_or_default(),
        request_uri: text(get("requestURI")),
        verb: text(get("verb")),
        user: get("user").map(user).unwrap_or_default(),
        impersonated_user: get("impersonatedUser").map(user),
        source_ips: get("sourceIPs").map(texts).unwrap_or_default(),
        user_agent: text(get("userAgent")),
        object_ref: get("objectRef").and_then(object).map(|object| object_ref(&object)),
        response_status: get("responseStatus").and_then(object).map(|object| status(&object)),
        request_object: body("requestObject"),
        response_object: body("responseObject"),
        request_received_timestamp: time("requestReceivedTimestamp"),
        stage_timestamp: time("stageTimestamp"),
        annotations: get("annotations").and_then(object).map_or_else(BTreeMap::new, |object| {
            let values = object.into_iter().map(|(name, value)| (Cow::Owned(name), value));
            values.map(|(name, value)| (name, Cow::Owned(value.text()))).collect()
        }),
    }
}

/// A value that does not borrow from the line: such fields are rare.
enum Value {
    Text(String),
    List(Vec<String>),
    Object(Vec<(String, Vec<String>)>),
}

impl Value {
    fn new(json: Json<'_>) -> Value {
        match json.kind() {
            Kind::List => Value::List(texts(json).into_iter().map(Cow::into_owned).collect()),
            Kind::Object => {
                let fields = json.fields().into_iter();
                Value::Object(
                    fields
                        .map(|(name, json)| {
                            let texts = texts(json).into_iter().map(Cow::into_owned);
                            (name.into_owned(), texts.collect())
                        })
                        .collect(),
                )
            }
            Kind::Null => Value::Text(String::new()),
            _ => Value::Text(json.text().into_owned()),
        }
    }

    fn text(self) -> String {
        match self {
            Value::Text(text) => text,
            Value::List(texts) => texts.into_iter().next().unwrap_or_default(),
            Value::Object(_) => String::new(),
        }
    }
}

/// The fields of an object, also of one that is written as text. `None` for anything else.
fn object(json: Json<'_>) -> Option<Vec<(String, Value)>> {
    let text = json.text();
    let json = if json.kind() == Kind::Text { Json::new(text.trim().as_bytes()) } else { json };
    if json.kind() != Kind::Object {
        return None;
    }
    let fields = json.fields().into_iter();
    Some(fields.map(|(name, json)| (name.into_owned(), Value::new(json))).collect())
}

/// The text of a field, without a copy where it has no escapes.
fn text(json: Option<Json<'_>>) -> Cow<'_, str> {
    json.map(Json::text).unwrap_or_default()
}

/// The texts of a list, or a single text.
fn texts(json: Json<'_>) -> Vec<Cow<'_, str>> {
    let is_value = |json: &Json<'_>| json.kind() != Kind::Null;
    match json.kind() {
        Kind::List => json.elements().into_iter().filter(is_value).map(Json::text).collect(),
        _ => vec![json.text()],
    }
}

/// A user; one that is text, and no object, is its name.
fn user<'a>(json: Json<'_>) -> User<'a> {
    let Some(fields) = object(json) else {
        let username =
            if json.kind() == Kind::Text { json.text().into_owned() } else { String::new() };
        return User { username: username.into(), ..User::default() };
    };
    let mut user = User::default();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("username", value) => user.username = value.text().into(),
            ("uid", value) => user.uid = value.text().into(),
            ("groups", Value::List(groups)) => {
                user.groups = groups.into_iter().map(Cow::Owned).collect();
            }
            ("groups", Value::Text(group)) if !group.is_empty() => user.groups = vec![group.into()],
            ("extra", Value::Object(extra)) => {
                let texts = |texts: Vec<String>| texts.into_iter().map(Cow::Owned).collect();
                user.extra =
                    extra.into_iter().map(|(name, all)| (name.into(), texts(all))).collect();
            }
            _ => {}
        }
    }
    user
}

fn object_ref<'a>(fields: &[(String, Value)]) -> ObjectRef<'a> {
    let get = |name| Cow::Owned(get(fields, name));
    ObjectRef {
        resource: get("resource"),
        namespace: get("namespace"),
        name: get("name"),
        uid: get("uid"),
        api_group: get("apiGroup"),
        api_version: get("apiVersion"),
        resource_version: get("resourceVersion"),
        subresource: get("subresource"),
    }
}

fn status<'a>(fields: &[(String, Value)]) -> ResponseStatus<'a> {
    ResponseStatus {
        status: get(fields, "status").into(),
        message: get(fields, "message").into(),
        reason: get(fields, "reason").into(),
        code: get(fields, "code").parse::<f64>().ok().map(|code| code as i64),
    }
}

/// The text of the first field of this name.
fn get(fields: &[(String, Value)], name: &str) -> String {
    match fields.iter().find(|(it, _)| it == name) {
        Some((_, Value::Text(text))) => text.clone(),
        Some((_, Value::List(texts))) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, value: &str) {
        let line = format!(
            r#"{{"level":"Request","auditID":"a","stage":"Panic","verb":"get","user":{{"username":"ann"}},{field},"objectRef":{{"resource":"pods"}}}}"#
        );
        let event = Event::parse(line.as_bytes()).expect(&line);
        let code = event.response_status.as_ref().and_then(|status| status.code);
        let ips = event.source_ips.join(" ");
        let other = event.impersonated_user.as_ref().map_or("", |user| &user.username);
        let kept = (&*event.verb, &*event.user.username, event.stage, event.level);
        assert_eq!(kept, ("get", "ann", Stage::Panic, Level::Request), "{line}");
        assert_eq!(event.object_ref.as_ref().map(|it| &*it.resource), Some("pods"), "{line}");
        let shown = format!("{} {ips} {other} {}", code.unwrap_or(0), event.user_agent);
        assert_eq!(shown, value, "{line}");
    }

    #[test]
    fn keeps_the_other_fields() {
        check(r#""responseStatus":{"code":"101"}"#, "101   ");
        check(r#""responseStatus":"{\"code\":101}""#, "101   ");
        check(r#""responseStatus":[1]"#, "0   ");
        check(r#""sourceIPs":"192.0.2.1""#, "0 192.0.2.1  ");
        check(r#""sourceIPs":7"#, "0 7  ");
        check(r#""impersonatedUser":"{\"username\":\"bob\"}""#, "0  bob ");
        check(r#""impersonatedUser":"bob""#, "0  bob ");
        check(r#""userAgent":"a\ud800b""#, "0   a\u{fffd}b");
        check(r#""userAgent":["x"]"#, "0   [\"x\"]");
        check(r#""stageTimestamp":"soon""#, "0   ");
        check(r#""annotations":["a"]"#, "0   ");
    }
}
