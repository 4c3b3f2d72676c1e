//! Events that were stored as rows: Azure's AKSAudit tables, and the key-value lists of OTLP.

use serde_json::{Map, Value};

use super::INFERRED;
use crate::{
    decode::strict::Fields,
    event::{Json, Timestamp},
};

/// The columns of AKSAudit and AKSAuditAdmin, and the fields of an event that they are.
const COLUMNS: [(&str, &str); 15] = [
    ("Level", "level"),
    ("AuditId", "auditID"),
    ("Stage", "stage"),
    ("RequestUri", "requestURI"),
    ("Verb", "verb"),
    ("User", "user"),
    ("ImpersonatedUser", "impersonatedUser"),
    ("SourceIps", "sourceIPs"),
    ("UserAgent", "userAgent"),
    ("ObjectRef", "objectRef"),
    ("ResponseStatus", "responseStatus"),
    ("RequestObject", "requestObject"),
    ("ResponseObject", "responseObject"),
    ("RequestReceivedTime", "requestReceivedTimestamp"),
    ("StageReceivedTime", "stageTimestamp"),
];

/// A row of Azure's tables as an event.
pub(super) fn event(fields: &Fields<'_>, time: Option<Timestamp>) -> Option<String> {
    fields.get("AuditId")?;
    fields.get("Stage")?;
    let mut event = Map::new();
    event.insert("kind".to_owned(), "Event".into());
    event.insert("apiVersion".to_owned(), "audit.k8s.io/v1".into());
    for (column, field) in COLUMNS.iter().chain([&("Annotations", "annotations")]) {
        let value = fields.get(column).and_then(dynamic);
        event.extend(value.map(|it| ((*field).to_owned(), it)));
    }
    // Times as some exports write them are none; when the row was made is the next best.
    for name in ["requestReceivedTimestamp", "stageTimestamp"] {
        let is_time = |it: &str| Timestamp::parse(it.as_bytes()).is_some();
        if !event.get(name).and_then(Value::as_str).is_some_and(is_time) {
            event.shift_remove(name);
        }
    }
    if let Some(time) = time.filter(|_| !event.contains_key("stageTimestamp")) {
        event.insert("stageTimestamp".to_owned(), time.to_string().into());
        let annotations = event.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(INFERRED.to_owned(), "stageTimestamp".into());
        }
    }
    Some(Value::Object(event).to_string())
}

/// A column's value; objects and lists may have become text. Empty ones are absent.
fn dynamic(json: Json<'_>) -> Option<Value> {
    let value: Value = serde_json::from_slice(json.bytes()).ok()?;
    let value = match &value {
        Value::String(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(text).unwrap_or(value)
        }
        _ => value,
    };
    let is_empty = value.is_null() || value.as_str() == Some("");
    (!is_empty).then_some(value)
}

/// `{"values":[{"key":"verb","value":{"stringValue":"get"}}]}` as an object.
pub(super) fn key_values(list: Json<'_>) -> Value {
    let value: Value = serde_json::from_slice(list.bytes()).unwrap_or_default();
    object(&value)
}

fn object(list: &Value) -> Value {
    let pairs = list["values"].as_array().into_iter().flatten();
    pairs.filter_map(|it| Some((it["key"].as_str()?.to_owned(), any(&it["value"])))).collect()
}

/// A value of OTLP's JSON encoding, in which integers are text.
fn any(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|it| it.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "kvlistValue" => object(inner),
        "arrayValue" => inner["values"].as_array().into_iter().flatten().map(any).collect(),
        "intValue" => inner
            .as_str()
            .and_then(|it| it.parse::<i64>().ok())
            .map_or_else(|| inner.clone(), Value::from),
        _ => inner.clone(),
    }
}
