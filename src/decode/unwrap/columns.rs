//! Events that were stored as rows: Azure's AKSAudit tables, answers of queries with the names of the
//! columns beside the rows, and lists of names and values.

use serde_json::{Map, Value};

use super::{INFERRED, shape};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind, Timestamp},
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
    // Times that cannot be read are none; when the row was made is the next best.
    for name in ["requestReceivedTimestamp", "stageTimestamp"] {
        let text = event.get(name).and_then(Value::as_str);
        if text.is_some_and(|text| Timestamp::parse(text.as_bytes()).is_some()) {
            continue;
        }
        match text.and_then(shape::time) {
            Some(time) => event[name] = time.to_string().into(),
            None => drop(event.shift_remove(name)),
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

/// Names of the fields that hold a name, and a value, in lists of pairs: of Logs Insights, OTLP and others.
const NAMES: [&str; 4] = ["field", "key", "name", "columnName"];
const VALUES: [&str; 2] = ["value", "Value"];

/// A list of pairs (`[{"field":"@message","value":"…"}]`) as an object.
pub(super) fn pairs(elements: &[Json<'_>]) -> Option<String> {
    let mut object = String::from("{");
    for element in elements {
        let fields = serde_json::from_slice::<Fields<'_>>(element.bytes()).ok()?;
        let name = NAMES.iter().find_map(|name| fields.get(name)?.as_text())?;
        let value = VALUES.iter().find_map(|name| fields.get(name))?;
        match value.kind() {
            Kind::Object => shape::push(&mut object, &name, &any_of(value).to_string()),
            _ => shape::push(&mut object, &name, value.raw()),
        }
    }
    (object.len() > 1).then(|| object + "}")
}

/// A value of OTLP's JSON encoding; any other object as it is.
fn any_of(json: Json<'_>) -> Value {
    let value: Value = serde_json::from_slice(json.bytes()).unwrap_or_default();
    let is_typed =
        |all: &Map<String, Value>| all.len() == 1 && all.keys().all(|name| name.ends_with("Value"));
    if value.as_object().is_some_and(is_typed) { any(&value) } else { value }
}

/// The rows of an answer that names the columns once, each row as an object: of Log Analytics
/// (`columns`, `rows`), Kusto, BigQuery (`schema`, `f` and `v`), Splunk, Elasticsearch's SQL, ClickHouse.
pub(super) fn rows(fields: &Fields<'_>) -> Option<Vec<String>> {
    let columns = ["columns", "Columns", "schema", "fields", "meta"];
    let names = columns.iter().find_map(|name| names_of(fields.get(name)?))?;
    let is_list = |json: &Json<'_>| json.kind() == Kind::List;
    let rows = ["rows", "Rows", "datarows", "data"];
    let rows = rows.iter().find_map(|name| fields.get(name).filter(is_list))?.elements();

    let row = |row: &Json<'_>| {
        let cells = match row.kind() {
            Kind::List => row.elements(),
            // BigQuery's.
            _ => row.field("f")?.elements(),
        };
        let mut object = String::from("{");
        for (name, cell) in names.iter().zip(&cells) {
            let value = cell.field("v").unwrap_or(*cell);
            shape::push(&mut object, name, value.raw());
        }
        (object.len() > 1).then(|| object + "}")
    };
    let rows: Vec<String> = rows.iter().map(row).collect::<Option<_>>()?;
    (!rows.is_empty()).then_some(rows)
}

/// The names of columns: texts, or objects with a name, perhaps one level deeper.
fn names_of(json: Json<'_>) -> Option<Vec<String>> {
    let columns = match json.kind() {
        Kind::Object => json.field("fields")?.elements(),
        _ => json.elements(),
    };
    let name = |column: &Json<'_>| match column.kind() {
        Kind::Text => column.as_text().map(std::borrow::Cow::into_owned),
        _ => ["name", "ColumnName"]
            .iter()
            .find_map(|name| Some(column.field(name)?.as_text()?.into_owned())),
    };
    columns.iter().map(name).collect::<Option<Vec<_>>>().filter(|names| !names.is_empty())
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
