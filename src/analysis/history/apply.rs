//! Server-side apply: what an applied configuration makes of an object, by the fields that each manager owns.
//!
//! Source: `structured-merge-diff/v6/merge/update.go` and the format `fieldsV1` of managed fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::merge_keys::{Merge, merge_of};

/// The way to a field that a manager owns, in the words of `fieldsV1`: `f:spec`, `k:{"name":"app"}`, `v:"x"`.
/// A way that ends in `.` is of an entry or object itself.
pub type FieldPath = Vec<String>;
pub type Fields = BTreeSet<FieldPath>;

/// The fields that an applied configuration owns.
pub fn fields_of(resource: &str, config: &Value) -> Fields {
    let mut fields = Fields::new();
    collect(resource, "", config, &mut Vec::new(), &mut fields);
    // These name the object, and nobody owns them.
    let is_name = |path: &[&str]| {
        matches!(
            path,
            [] | ["f:apiVersion" | "f:kind"]
                | ["f:metadata", "f:name" | "f:namespace" | "f:managedFields" | "f:uid", ..]
        )
    };
    fields.retain(|path| !is_name(&path.iter().map(String::as_str).collect::<Vec<_>>()));
    fields
}

fn collect(resource: &str, path: &str, value: &Value, way: &mut FieldPath, fields: &mut Fields) {
    match value {
        Value::Object(map) if !map.is_empty() && !is_atomic(path, value) => {
            for (key, value) in map {
                way.push(format!("f:{key}"));
                collect(resource, &below(path, key), value, way, fields);
                way.pop();
            }
        }
        Value::Array(list) if !list.is_empty() => match merge_of(resource, path) {
            None => {
                fields.insert(way.clone());
            }
            Some(Merge::Set) => {
                fields.extend(list.iter().map(|value| extended(way, format!("v:{value}"))));
            }
            Some(Merge::Keyed { apply_keys, .. }) => {
                for entry in list {
                    way.push(name_of(entry, apply_keys));
                    fields.insert(extended(way, ".".to_owned()));
                    collect(resource, &format!("{path}[]"), entry, way, fields);
                    way.pop();
                }
            }
        },
        _ => {
            fields.insert(way.clone());
        }
    }
}

fn extended(way: &[String], part: String) -> FieldPath {
    way.iter().cloned().chain([part]).collect()
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The name of an entry in `fieldsV1`: its keys in alphabetical order, a missing protocol as TCP.
fn name_of(entry: &Value, keys: &[&str]) -> String {
    let mut keys: Vec<&str> = keys.to_vec();
    keys.sort_unstable();
    let named = keys.into_iter().filter_map(|key| {
        let value = entry.get(key).cloned();
        let value = value.or_else(|| (key == "protocol").then(|| Value::from("TCP")));
        Some((key.to_owned(), value?))
    });
    format!("k:{}", Value::Object(named.collect()))
}

/// Structures that have one owner (`structType=atomic`, `mapType=atomic`): selectors and references.
fn is_atomic(path: &str, value: &Value) -> bool {
    let name = path.rsplit('.').next().unwrap_or_default();
    let is_selector = name == "nodeSelector" || name.to_ascii_lowercase().ends_with("selector");
    let is_reference = ["secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"];
    let is_reference =
        is_reference.contains(&name) || name == "claimRef" || name == "scaleTargetRef";
    value.is_object()
        && (is_selector || is_reference || path.ends_with("metadata.ownerReferences[]"))
}

/// The fields that the entries of `managedFields` own for which `is_wanted` holds.
pub fn managed(object: &Value, is_wanted: &dyn Fn(&Value) -> bool) -> Fields {
    let mut fields = Fields::new();
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten().filter(|entry| is_wanted(entry)) {
        if let Some(Value::Object(tree)) = entry.get("fieldsV1") {
            flatten(tree, &mut Vec::new(), &mut fields);
        }
    }
    fields
}

fn flatten(tree: &Map<String, Value>, way: &mut FieldPath, fields: &mut Fields) {
    for (part, below) in tree {
        way.push(part.clone());
        match below.as_object().filter(|below| !below.is_empty()) {
            Some(below) => flatten(below, way, fields),
            None => {
                fields.insert(way.clone());
            }
        }
        way.pop();
    }
}

/// Applies a configuration: merges it in, and removes what its manager owned before, no longer applies, and
/// nobody else owns.
pub fn apply(
    resource: &str,
    object: Value,
    config: &Value,
    before: &Fields,
    others: &Fields,
) -> Value {
    let mut config = config.clone();
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    let now = fields_of(resource, &config);
    let mut object = merge(resource, "", object, config);

    let is_owned = |path: &FieldPath| {
        // Who owns something below an entry keeps the entry.
        let stem = path.strip_suffix(&[".".to_owned()]).unwrap_or(path);
        now.contains(path)
            || others.contains(path)
            || others.iter().chain(&now).any(|other| other.starts_with(stem))
    };
    for path in before.iter().filter(|path| !is_owned(path)) {
        remove(&mut object, path);
    }
    object
}

fn merge(resource: &str, path: &str, object: Value, config: Value) -> Value {
    match (object, config) {
        (Value::Object(mut old), Value::Object(new))
            if !is_atomic(path, &Value::Object(Map::new())) =>
        {
            for (key, value) in new {
                let path = below(path, &key);
                let merged = merge(resource, &path, old.remove(&key).unwrap_or_default(), value);
                if !merged.is_null() {
                    old.insert(key, merged);
                }
            }
            Value::Object(old)
        }
        (Value::Array(mut old), Value::Array(new)) => match merge_of(resource, path) {
            None => Value::Array(new),
            Some(Merge::Set) => {
                for value in new {
                    if !old.contains(&value) {
                        old.push(value);
                    }
                }
                Value::Array(old)
            }
            Some(Merge::Keyed { apply_keys, .. }) => {
                let path = format!("{path}[]");
                for entry in new {
                    let name = name_of(&entry, apply_keys);
                    match old.iter().position(|it| name_of(it, apply_keys) == name) {
                        Some(at) => old[at] = merge(resource, &path, old[at].take(), entry),
                        None => old.push(entry),
                    }
                }
                Value::Array(old)
            }
        },
        (_, config) => config,
    }
}

/// Removes a field, and the objects that are empty without it.
fn remove(value: &mut Value, path: &[String]) {
    let Some((part, rest)) = path.split_first() else { return };
    match (value, part.get(..2).unwrap_or_default()) {
        (Value::Object(map), "f:") => {
            let key = &part[2..];
            let is_whole = rest.is_empty() || rest == ["."];
            if let Some(below) = map.get_mut(key).filter(|_| !is_whole) {
                remove(below, rest);
            }
            let is_empty = map.get(key).is_some_and(|it| {
                it.as_object().is_some_and(Map::is_empty)
                    || it.as_array().is_some_and(Vec::is_empty)
            });
            if is_whole || is_empty {
                map.remove(key);
            }
        }
        (Value::Array(list), "k:") => {
            let Ok(Value::Object(keys)) = serde_json::from_str(&part[2..]) else { return };
            let names: Vec<&str> = keys.keys().map(String::as_str).collect();
            let at = list.iter().position(|entry| name_of(entry, &names) == *part);
            let Some(at) = at else { return };
            match rest {
                [] => drop(list.remove(at)),
                [only] if only == "." => drop(list.remove(at)),
                rest => remove(&mut list[at], rest),
            }
        }
        (Value::Array(list), "v:") => {
            let value: Option<Value> = serde_json::from_str(&part[2..]).ok();
            list.retain(|entry| Some(entry) != value.as_ref());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(env: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}})
    }

    #[track_caller]
    fn check(object: Value, before: &Value, config: &Value, others: &Value, expected: Value) {
        let fields = |config: &Value| fields_of("deployments", config);
        let applied = apply("deployments", object, config, &fields(before), &fields(others));
        assert_eq!(applied, expected);
    }

    #[test]
    fn what_is_no_longer_applied_goes() {
        let two = deployment(json!([{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]));
        let one = deployment(json!([{"name": "A", "value": "2"}]));
        check(two.clone(), &two, &one, &json!({}), one.clone());
    }

    #[test]
    fn what_another_manager_owns_stays() {
        let two = deployment(json!([{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]));
        let one = deployment(json!([{"name": "A", "value": "1"}]));
        check(two.clone(), &two, &one, &two, two.clone());
    }

    #[test]
    fn what_was_never_applied_stays() {
        let object = json!({"spec": {"replicas": 3, "paused": true}});
        let before = json!({"spec": {"paused": true}});
        let config = json!({"spec": {"minReadySeconds": 1}});
        let expected = json!({"spec": {"replicas": 3, "minReadySeconds": 1}});
        check(object, &before, &config, &json!({}), expected);
    }

    #[test]
    fn managed_fields_are_read() {
        let object = json!({"metadata": {"managedFields": [
            {"manager": "m", "operation": "Apply", "fieldsV1": {
                "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:env": {
                    "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}}}},
            {"manager": "other", "operation": "Update", "fieldsV1": {"f:status": {}}}
        ]}});
        let fields = managed(&object, &|entry| entry["manager"] == "m");
        let path = |last: &str| -> FieldPath {
            [
                "f:spec",
                "f:template",
                "f:spec",
                "f:containers",
                "k:{\"name\":\"app\"}",
                "f:env",
                "k:{\"name\":\"A\"}",
                last,
            ]
            .map(str::to_owned)
            .into()
        };
        assert_eq!(fields.len(), 4);
        assert!(fields.contains(&path(".")) && fields.contains(&path("f:value")));
        let same = fields_of("deployments", &deployment(json!([{"name": "A", "value": "1"}])));
        assert!(same.contains(&path("f:value")));
    }

    #[test]
    fn ports_have_a_protocol() {
        let config = json!({"spec": {"ports": [{"port": 80}]}});
        let fields = fields_of("services", &config);
        let name = "k:{\"port\":80,\"protocol\":\"TCP\"}".to_owned();
        assert!(fields.contains(&vec!["f:spec".into(), "f:ports".into(), name, "f:port".into()]));
    }
}
