//! Applies a strategic merge patch, as the API server does.
//!
//! Source: `apimachinery/pkg/util/strategicpatch/patch.go`, Kubernetes 1.36.

use serde_json::{Map, Value};

use super::merge_keys::{Merge, merge_of};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Why a patch cannot be applied.
type Refused = &'static str;

/// Whether a patch holds a directive, so that it can be nothing but a strategic merge patch.
pub fn has_directive(patch: &Value) -> bool {
    match patch {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let is_directive = key == PATCH || key == RETAIN_KEYS;
            is_directive
                || key.starts_with(ORDER)
                || key.starts_with(DELETE_FROM)
                || has_directive(value)
        }),
        Value::Array(list) => list.iter().any(has_directive),
        _ => false,
    }
}

/// Applies `patch` to an object of this resource.
///
/// # Errors
/// If the API server would refuse the patch.
pub fn apply(resource: &str, original: Value, patch: Value) -> Result<Value, Refused> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err("a strategic merge patch is an object");
    };
    merge_maps(resource, "", original, patch).map(Value::Object)
}

type Object = Map<String, Value>;

fn merge_maps(
    resource: &str,
    path: &str,
    mut original: Object,
    mut patch: Object,
) -> Result<Object, Refused> {
    match patch.remove(PATCH).as_ref().and_then(Value::as_str) {
        None => {}
        Some("replace") => return Ok(patch),
        Some("delete") => return Ok(Object::new()),
        Some("merge") => {}
        Some(_) => return Err("unknown `$patch` directive"),
    }
    if let Some(kept) = patch.remove(RETAIN_KEYS) {
        let kept = kept.as_array().ok_or("`$retainKeys` is a list")?;
        original.retain(|key, _| kept.iter().any(|it| it == key));
    }
    ordered_lists(resource, path, &mut original, &mut patch)?;

    let deletions: Vec<String> =
        patch.keys().filter(|key| key.starts_with(DELETE_FROM)).cloned().collect();
    for directive in deletions {
        let gone = patch.remove(&directive).unwrap_or_default();
        let key = &directive[DELETE_FROM.len()..];
        let gone = gone.as_array().ok_or("`$deleteFromPrimitiveList` is a list")?;
        if let Some(Value::Array(list)) = original.get_mut(key) {
            list.retain(|entry| !gone.contains(entry));
        }
    }

    for (key, value) in patch {
        let path = below(path, &key);
        let merged = match (original.remove(&key), value) {
            (_, Value::Null) => continue,
            (Some(Value::Object(old)), Value::Object(new)) => {
                Value::Object(merge_maps(resource, &path, old, new)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                Value::Array(merge_lists(resource, &path, old, new)?)
            }
            (_, Value::Object(new)) => {
                Value::Object(merge_maps(resource, &path, Object::new(), new)?)
            }
            (_, Value::Array(new)) => Value::Array(merge_lists(resource, &path, Vec::new(), new)?),
            (_, new) => new,
        };
        original.insert(key, merged);
    }
    Ok(original)
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn merge_lists(
    resource: &str,
    path: &str,
    mut original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, Refused> {
    match merge_of(resource, path) {
        None => Ok(patch),
        Some(Merge::Set) => {
            let server = original.clone();
            for value in &patch {
                if !original.contains(value) {
                    original.push(value.clone());
                }
            }
            Ok(sorted(original, &patch, &server, None))
        }
        // The entries of the patch come in its order, also where no directive says so.
        Some(Merge::Keyed { key, .. }) => {
            let server = original.clone();
            let order: Vec<Value> =
                patch.iter().filter(|entry| entry.get(PATCH).is_none()).cloned().collect();
            let merged = merge_keyed(resource, path, key, original, patch)?;
            Ok(sorted(merged, &order, &server, Some(key)))
        }
    }
}

fn merge_keyed(
    resource: &str,
    path: &str,
    key: &str,
    mut original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>, Refused> {
    let directive = |entry: &Value| entry.get(PATCH).and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|entry| directive(entry).as_deref() == Some("replace")) {
        let is_value = |entry: &Value| directive(entry).as_deref() != Some("replace");
        return Ok(patch.into_iter().filter(is_value).collect());
    }

    let path = format!("{path}[]");
    for entry in patch {
        let Value::Object(mut entry) = entry else { return Err("an entry is not an object") };
        let named = entry.get(key).cloned().ok_or("an entry has no merge key")?;
        let is_same = |it: &Value| it.get(key) == Some(&named);
        match entry.remove(PATCH).as_ref().and_then(Value::as_str) {
            Some("delete") => original.retain(|it| !is_same(it)),
            None | Some("merge") => match original.iter().position(is_same) {
                Some(at) => {
                    let Value::Object(old) = original[at].take() else {
                        return Err("an entry is not an object");
                    };
                    original[at] = Value::Object(merge_maps(resource, &path, old, entry)?);
                }
                None => {
                    let new = merge_maps(resource, &path, Object::new(), entry)?;
                    original.push(Value::Object(new));
                }
            },
            Some(_) => return Err("unknown `$patch` directive"),
        }
    }
    Ok(original)
}

/// Merges the lists whose order the patch prescribes.
fn ordered_lists(
    resource: &str,
    path: &str,
    original: &mut Object,
    patch: &mut Object,
) -> Result<(), Refused> {
    let directives: Vec<String> =
        patch.keys().filter(|key| key.starts_with(ORDER)).cloned().collect();
    for directive in directives {
        let order = patch.remove(&directive).unwrap_or_default();
        let order = order.as_array().ok_or("`$setElementOrder` is a list")?;
        let key = &directive[ORDER.len()..];
        let path = below(path, key);
        let gone = patch.remove(&format!("{DELETE_FROM}{key}"));
        let server: Vec<Value> =
            original.get(key).and_then(Value::as_array).cloned().unwrap_or_default();

        let mut before = server.clone();
        if let Some(Value::Array(gone)) = gone {
            before.retain(|entry| !gone.contains(entry));
        }
        let merged = match patch.remove(key) {
            Some(Value::Array(new)) => merge_lists(resource, &path, before, new)?,
            // The list goes as a whole.
            Some(Value::Null) => {
                original.remove(key);
                continue;
            }
            Some(_) => return Err("an ordered list is not a list"),
            None => before,
        };
        if merged.is_empty() && !original.contains_key(key) {
            continue;
        }
        let merge_key = match merge_of(resource, &path) {
            Some(Merge::Keyed { key, .. }) => Some(key),
            _ => None,
        };
        original.insert(key.to_owned(), Value::Array(sorted(merged, order, &server, merge_key)));
    }
    Ok(())
}

/// The entries that the patch orders in its order, the others as the server had them: an entry of the
/// server comes first only where it was in front of the next ordered one before.
fn sorted(merged: Vec<Value>, order: &[Value], server: &[Value], key: Option<&str>) -> Vec<Value> {
    let name = |entry: &Value| key.map_or(Some(entry.clone()), |key| entry.get(key).cloned());
    let place = |list: &[Value], entry: &Value| {
        let wanted = name(entry);
        list.iter().position(|it| wanted.is_some() && name(it) == wanted)
    };
    let (mut ordered, others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|entry| place(order, entry).is_some());
    ordered.sort_by_key(|entry| place(order, entry));
    let mut others = others;
    others.sort_by_key(|entry| place(server, entry));

    let mut all = Vec::with_capacity(ordered.len() + others.len());
    let (mut ordered, mut others) = (ordered.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let takes_other = match (others.peek(), ordered.peek()) {
            (None, None) => return all,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(other), Some(next)) => match (place(server, other), place(server, next)) {
                (Some(other), Some(next)) => other < next,
                _ => false,
            },
        };
        all.extend(if takes_other { others.next() } else { ordered.next() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(original: Value, patch: Value, expected: Value) {
        assert_eq!(apply("pods", original, patch), Ok(expected));
    }

    fn pod(containers: Value) -> Value {
        json!({"spec": {"containers": containers}})
    }

    #[test]
    fn maps_are_merged_and_null_removes() {
        check(
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": null, "c": "3"}, "annotations": {"x": null, "y": "z"}}}),
            json!({"metadata": {"labels": {"b": "2", "c": "3"}, "annotations": {"y": "z"}}}),
        );
    }

    #[test]
    fn containers_are_merged_by_name() {
        check(
            pod(json!([{"name": "a", "image": "1", "tty": true}, {"name": "b"}])),
            pod(json!([{"name": "a", "image": "2"}, {"name": "c"}])),
            pod(json!([{"name": "a", "image": "2", "tty": true}, {"name": "c"}, {"name": "b"}])),
        );
        // As the API server does, a new entry alone comes first.
        check(
            pod(json!([{"name": "a"}, {"name": "b"}])),
            pod(json!([{"name": "c"}])),
            pod(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
        );
    }

    #[test]
    fn entries_and_lists_are_deleted_and_replaced() {
        let two = || pod(json!([{"name": "a"}, {"name": "b"}]));
        check(two(), pod(json!([{"name": "a", "$patch": "delete"}])), pod(json!([{"name": "b"}])));
        check(
            two(),
            pod(json!([{"name": "c"}, {"$patch": "replace"}])),
            pod(json!([{"name": "c"}])),
        );
        check(
            json!({"spec": {"a": 1, "b": 2}}),
            json!({"spec": {"$patch": "replace", "c": 3}}),
            json!({"spec": {"c": 3}}),
        );
        check(
            json!({"spec": {"a": 1}}),
            json!({"spec": {"$patch": "delete"}}),
            json!({"spec": {}}),
        );
    }

    #[test]
    fn the_order_of_the_patch_holds() {
        check(
            pod(json!([{"name": "x"}, {"name": "a"}, {"name": "b"}])),
            json!({"spec": {
                "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
                "containers": [{"name": "a", "image": "i"}]
            }}),
            pod(json!([{"name": "x"}, {"name": "b"}, {"name": "a", "image": "i"}])),
        );
        check(
            pod(json!([{"name": "a"}, {"name": "b"}])),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
            pod(json!([{"name": "b"}, {"name": "a"}])),
        );
    }

    #[test]
    fn plain_lists_are_sets_where_they_are_merged() {
        check(
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "$setElementOrder/finalizers": ["c", "b"],
                "finalizers": ["c"]
            }}),
            json!({"metadata": {"finalizers": ["c", "b"]}}),
        );
        check(
            json!({"spec": {"tolerations": [{"key": "a"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
        );
    }

    #[test]
    fn keys_that_are_not_retained_go() {
        check(
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"$retainKeys": ["name", "configMap"], "name": "v", "configMap": {"name": "c"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "c"}}]}}),
        );
    }

    #[test]
    fn broken_patches_are_refused() {
        for patch in [
            json!([]),
            json!({"spec": {"containers": [{"image": "x"}]}}),
            json!({"spec": {"containers": ["x"]}}),
            json!({"spec": {"$patch": "mend"}}),
            json!({"spec": {"$retainKeys": 1}}),
            json!({"spec": {"$setElementOrder/containers": {}}}),
        ] {
            let refused = apply("pods", pod(json!([{"name": "a"}])), patch.clone());
            assert!(refused.is_err(), "{patch}");
        }
    }
}
