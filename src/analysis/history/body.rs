//! The body of an object: what is known of it, and what of it is the server's own.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// A body that is known.
#[derive(Debug, Clone)]
pub struct Body {
    pub value: Value,
    /// Without secret values and without what a difference leaves out.
    pub shown: Value,
    /// Recorded as the server stored it, not computed.
    pub is_recorded: bool,
    /// About how much memory it takes.
    pub bytes: usize,
}

/// The number of a resource version.
pub fn version(value: &Value) -> Option<u64> {
    value.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// How often the server stored a change of the wanted state.
pub fn generation(value: &Value) -> Option<u64> {
    value.pointer("/metadata/generation")?.as_u64()
}

pub fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str()
}

/// Takes out what a difference leaves out.
pub fn strip(mut value: Value) -> Value {
    remove(&mut value, &["managedFields", "resourceVersion", "generation"]);
    value
}

/// Takes out what describes a stored version, of an object that is computed from an older one.
pub fn unversioned(mut value: Value) -> Value {
    remove(&mut value, &["resourceVersion", "generation"]);
    value
}

/// Moves `stringData` of a Secret into `data`, as the server does.
pub fn encode_string_data(secret: &mut Value) {
    let Some(object) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = object.shift_remove("stringData") else { return };
    let data = object.entry("data").or_insert_with(|| Value::Object(Map::new()));
    if let Some(data) = data.as_object_mut() {
        for (name, text) in texts {
            let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(name, Value::from(encoded));
        }
    }
}

fn remove(value: &mut Value, fields: &[&str]) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        fields.iter().for_each(|field| drop(metadata.shift_remove(*field)));
    }
}

/// The object without the fields of the server, ready for `kubectl apply`.
pub fn clean(mut value: Value) -> Value {
    remove(
        &mut value,
        &[
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
        ],
    );
    if let Some(object) = value.as_object_mut() {
        object.shift_remove("status");
    }
    let annotations = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let is_empty = annotations.is_some_and(|it| {
        it.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        it.is_empty()
    });
    if is_empty {
        remove(&mut value, &["annotations"]);
    }
    value
}

/// Whether an object that is marked for deletion waits for nothing any more.
///
/// Source: `apiserver/pkg/registry/generic/registry/store.go`, `ShouldDeleteDuringUpdate`; of a namespace
/// also `spec.finalizers`.
pub fn is_gone(value: &Value) -> bool {
    let is_marked = text(value, "/metadata/deletionTimestamp").is_some();
    let grace = value.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    is_marked && grace.unwrap_or(0) == 0 && finalizers(value).is_empty()
}

/// What an object waits for before it goes.
pub fn finalizers(value: &Value) -> Vec<&str> {
    let of = |pointer| value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let is_namespace = text(value, "/kind") == Some("Namespace");
    let of_spec = of("/spec/finalizers").filter(|_| is_namespace);
    of("/metadata/finalizers").chain(of_spec).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_the_server_go() {
        let object = json!({"kind": "A", "metadata": {"name": "a", "uid": "u", "generation": 3,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": []}, "spec": {}, "status": {}});
        assert_eq!(clean(object), json!({"kind": "A", "metadata": {"name": "a"}, "spec": {}}));
    }

    #[test]
    fn texts_of_secrets_are_stored_encoded() {
        let mut secret = json!({"data": {"a": "eA=="}, "stringData": {"b": "y"}});
        encode_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "eA==", "b": "eQ=="}}));
    }

    #[track_caller]
    fn check(metadata: Value, expected: bool) {
        assert_eq!(is_gone(&json!({"metadata": metadata})), expected);
    }

    #[test]
    fn objects_go_when_nothing_holds_them() {
        let time = "2026-01-01T00:00:00Z";
        check(json!({}), false);
        check(json!({"deletionTimestamp": time}), true);
        check(json!({"deletionTimestamp": time, "deletionGracePeriodSeconds": 30}), false);
        check(json!({"deletionTimestamp": time, "deletionGracePeriodSeconds": 0}), true);
        check(json!({"deletionTimestamp": time, "finalizers": ["x"]}), false);
    }
}
