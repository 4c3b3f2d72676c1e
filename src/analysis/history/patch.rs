//! What a recorded patch makes of the object before it.
//!
//! An event does not say of which type its patch is. A list is a JSON patch; with a field manager and an
//! `apiVersion` it is server-side apply; with a directive it is a strategic merge patch, and so it is for
//! Kubernetes' own resources unless a merge patch would have another result and may be meant.

use serde_json::Value;

use super::{
    apply::{self, Fields},
    diff::{Change, parts, push},
    merge_keys::merge_of,
    strategic,
};
use crate::event::resources;

/// The bytes that all `copy` operations of a JSON patch may make, as of the API server (3 MiB).
const MAX_COPIED: usize = 3 << 20;

/// How deep objects may be: what a reader of JSON takes, and some of a patch.
const MAX_DEPTH: usize = 200;

/// What is known of the managers of an object beside a patch.
#[derive(Debug, Clone, Default)]
pub struct Managers {
    /// The fields that this manager applied before; `None` if that is not known.
    pub own: Option<Fields>,
    /// The fields of all others, as far as known.
    pub others: Fields,
}

/// Whether a patch is of server-side apply.
pub fn is_apply(patch: &Value, field_manager: Option<&str>) -> bool {
    let has = |key| patch.get(key).is_some_and(Value::is_string);
    field_manager.is_some() && has("apiVersion") && has("kind")
}

/// The object after a patch, or `None` if that cannot be told.
pub fn applied(
    (group, resource): (&str, &str),
    before: &Value,
    patch: &Value,
    managers: Option<&Managers>,
) -> Option<Value> {
    if let Some(managers) = managers {
        let own = managers.own.as_ref()?;
        return Some(apply::apply(resource, before.clone(), patch, own, &managers.others));
    }
    match patch {
        Value::Array(_) => json_patch(before, patch),
        Value::Object(_) if !resources::has(group, resource) => Some(merge_patch(before, patch)),
        Value::Object(_) => {
            let strategic = strategic::apply(resource, before.clone(), patch.clone());
            if strategic::has_directive(patch) {
                return strategic.ok();
            }
            let merged = merge_patch(before, patch);
            match strategic {
                Ok(strategic) if strategic == merged || is_partial(resource, "", before, patch) => {
                    Some(strategic)
                }
                // Both are possible.
                Ok(_) => None,
                Err(_) => Some(merged),
            }
        }
        _ => None,
    }
}

fn merge_patch(before: &Value, patch: &Value) -> Value {
    let mut after = before.clone();
    json_patch::merge(&mut after, patch);
    after
}

/// Whether an entry of a list in the patch lacks fields of the entry that it names: who replaced the list
/// would lose them, so the list is meant to be merged.
fn is_partial(resource: &str, path: &str, before: &Value, patch: &Value) -> bool {
    match (before, patch) {
        (Value::Object(before), Value::Object(patch)) => patch.iter().any(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            before.get(key).is_some_and(|before| is_partial(resource, &path, before, value))
        }),
        (Value::Array(before), Value::Array(patch)) => {
            let Some(super::merge_keys::Merge::Keyed { key, .. }) = merge_of(resource, path) else {
                return false;
            };
            patch.iter().any(|entry| {
                let old = before.iter().find(|it| it.get(key) == entry.get(key));
                let (Some(Value::Object(old)), Some(new)) = (old, entry.as_object()) else {
                    return false;
                };
                old.keys().any(|field| !new.contains_key(field))
            })
        }
        _ => false,
    }
}

/// Applies a JSON patch (RFC 6902), as far as the API server would.
fn json_patch(before: &Value, patch: &Value) -> Option<Value> {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).ok()?;
    let mut after = before.clone();
    let mut copied = 0;
    for operation in &patch.0 {
        use json_patch::PatchOperation as Operation;
        let depth = match operation {
            Operation::Copy(copy) => {
                let value = copy.from.resolve(&after).ok()?;
                copied += serde_json::to_string(value).ok()?.len();
                depth(value)
            }
            Operation::Move(moved) => depth(moved.from.resolve(&after).ok()?),
            Operation::Add(add) => depth(&add.value),
            Operation::Replace(replace) => depth(&replace.value),
            _ => 0,
        };
        let is_too_deep = depth + operation.path().as_str().matches('/').count() > MAX_DEPTH;
        if is_too_deep || copied > MAX_COPIED {
            return None;
        }
        json_patch::patch(&mut after, std::slice::from_ref(operation)).ok()?;
    }
    Some(after)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A patch as operations, where the object before is not known: old values are `null`. `None` where it
/// cannot be written so.
pub fn as_sent(patch: &Value) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    match patch {
        Value::Array(operations) => {
            for operation in operations {
                let path = operation.get("path")?.as_str()?.to_owned();
                let value = || operation.get("value").cloned();
                match operation.get("op")?.as_str()? {
                    "add" => changes.push(Change::Add { path, value: value()? }),
                    "remove" => changes.push(Change::Remove { path, old_value: Value::Null }),
                    "replace" => changes.push(Change::Replace {
                        path,
                        value: value()?,
                        old_value: Value::Null,
                    }),
                    "test" => {}
                    _ => return None,
                }
            }
        }
        Value::Object(_) => leaves(patch, &mut String::new(), &mut changes),
        _ => return None,
    }
    changes.retain(|change| !is_left_out(change.path()));
    Some(changes)
}

fn leaves(patch: &Value, path: &mut String, changes: &mut Vec<Change>) {
    match patch {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map.iter().filter(|(key, _)| !key.starts_with('$')) {
                let length = push(path, key);
                leaves(value, path, changes);
                path.truncate(length);
            }
        }
        Value::Null => {
            changes.push(Change::Remove { path: path.clone(), old_value: Value::Null });
        }
        value => changes.push(Change::Add { path: path.clone(), value: value.clone() }),
    }
}

/// What names the object, or is the server's own.
fn is_left_out(path: &str) -> bool {
    let first: Vec<String> = parts(path).take(2).collect();
    match &*first {
        [only] => only == "apiVersion" || only == "kind",
        [metadata, field] if metadata == "metadata" => matches!(
            &**field,
            "managedFields" | "resourceVersion" | "generation" | "uid" | "name" | "namespace"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn web() -> Value {
        json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "app", "image": "a:1", "tty": true}, {"name": "side", "image": "s"}]}}}})
    }

    #[track_caller]
    fn check(patch: Value, expected: Option<Value>) {
        assert_eq!(applied(("apps", "deployments"), &web(), &patch, None), expected, "{patch}");
    }

    fn containers(list: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    }

    #[test]
    fn patches_of_each_type() {
        let mut scaled = web();
        scaled["spec"]["replicas"] = json!(5);
        check(json!({"spec": {"replicas": 5}}), Some(scaled.clone()));
        check(
            json!([{"op": "test", "path": "/spec/replicas", "value": 2}, {"op": "replace", "path": "/spec/replicas", "value": 5}]),
            Some(scaled),
        );
        let mut image = web();
        image["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        check(containers(json!([{"name": "app", "image": "a:2"}])), Some(image));
    }

    #[test]
    fn a_list_that_may_be_replaced_or_merged_is_not_guessed() {
        check(containers(json!([{"name": "app", "image": "a:2", "tty": true}])), None);
    }

    #[test]
    fn patches_that_do_not_apply() {
        check(json!([{"op": "test", "path": "/spec/replicas", "value": 3}]), None);
        check(json!([{"op": "remove", "path": "/spec/x"}]), None);
        check(json!([{"op": "mend", "path": "/spec/x"}]), None);
        check(json!(1), None);
    }

    #[test]
    fn patches_that_explode_are_refused() {
        let copies: Vec<Value> =
            (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/c{n}")})).collect();
        check(Value::Array(copies), None);
        let mut path = String::new();
        let nested: Vec<Value> = (0..500)
            .map(|_| {
                path += "/a";
                json!({"op": "add", "path": path, "value": {}})
            })
            .collect();
        check(Value::Array(nested), None);
    }

    #[test]
    fn custom_resources_are_merged_by_rfc_7386() {
        let before = json!({"spec": {"containers": [{"name": "a"}], "x": 1}});
        let patch = json!({"spec": {"containers": [{"name": "b"}], "x": null}});
        let after = applied(("example.com", "widgets"), &before, &patch, None);
        assert_eq!(after, Some(json!({"spec": {"containers": [{"name": "b"}]}})));
    }

    #[test]
    fn patches_as_sent() {
        let changes = as_sent(&json!({"metadata": {"name": "web", "labels": {"a": null}},
            "spec": {"$setElementOrder/containers": [], "replicas": 3}}));
        assert_eq!(
            serde_json::to_value(changes).unwrap(),
            json!([{"op": "remove", "path": "/metadata/labels/a", "oldValue": null},
                {"op": "add", "path": "/spec/replicas", "value": 3}])
        );
        assert_eq!(as_sent(&json!([{"op": "move", "from": "/a", "path": "/b"}])), None);
    }
}
