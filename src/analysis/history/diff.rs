//! The difference of two JSON values as operations of RFC 6902, each with the old value beside the new.
//!
//! Only `add`, `remove` and `replace` are used. Applied one after the other they lead from the first
//! value to the second. List entries are addressed by their index at that moment.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

/// One operation of a difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Change {
    Add {
        path: String,
        value: Value,
    },
    Remove {
        path: String,
        /// `null` if it is not known.
        #[serde(rename = "oldValue")]
        old_value: Value,
    },
    Replace {
        path: String,
        value: Value,
        #[serde(rename = "oldValue")]
        old_value: Value,
    },
}

impl Change {
    /// The JSON pointer of the changed value.
    pub fn path(&self) -> &str {
        match self {
            Change::Add { path, .. }
            | Change::Remove { path, .. }
            | Change::Replace { path, .. } => path,
        }
    }

    /// The value before, where there was one.
    pub fn old_value(&self) -> Option<&Value> {
        match self {
            Change::Add { .. } => None,
            Change::Remove { old_value, .. } | Change::Replace { old_value, .. } => Some(old_value),
        }
    }

    /// The value after, where there is one.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Change::Remove { .. } => None,
            Change::Add { value, .. } | Change::Replace { value, .. } => Some(value),
        }
    }
}

/// Returns the operations that lead from `before` to `after`.
pub fn between(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(before, after, &mut String::new(), &mut changes);
    changes
}

fn compare(before: &Value, after: &Value, path: &mut String, changes: &mut Vec<Change>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, old_value) in old {
                let length = push(path, key);
                match new.get(key) {
                    Some(value) => compare(old_value, value, path, changes),
                    None => changes
                        .push(Change::Remove { path: path.clone(), old_value: old_value.clone() }),
                }
                path.truncate(length);
            }

            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                let length = push(path, key);
                changes.push(Change::Add { path: path.clone(), value: value.clone() });
                path.truncate(length);
            }
        }
        (Value::Array(old), Value::Array(new)) => compare_lists(old, new, path, changes),
        _ if before == after => {}
        _ => changes.push(Change::Replace {
            path: path.clone(),
            value: after.clone(),
            old_value: before.clone(),
        }),
    }
}

fn compare_lists(old: &[Value], new: &[Value], path: &mut String, changes: &mut Vec<Change>) {
    let pairs = pairs(old, new);
    let kept: HashSet<usize> = pairs.iter().map(|(from, _)| *from).collect();
    for index in (0..old.len()).rev().filter(|index| !kept.contains(index)) {
        changes.push(Change::Remove {
            path: format!("{path}/{index}"),
            old_value: old[index].clone(),
        });
    }

    let mut pairs = pairs.into_iter().peekable();
    for (index, value) in new.iter().enumerate() {
        let length = push(path, &index.to_string());
        match pairs.next_if(|(_, to)| *to == index) {
            Some((from, _)) => compare(&old[from], value, path, changes),
            None => changes.push(Change::Add { path: path.clone(), value: value.clone() }),
        }
        path.truncate(length);
    }
}

/// Which entries of two lists are the same entry: pairs of indexes, both ascending.
fn pairs(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    if let Some(pairs) = pairs_by_key(old, new) {
        return pairs;
    }
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();

    let mut pairs: Vec<_> = (0..head).map(|index| (index, index)).collect();
    let old_middle = &old_rest[..old_rest.len() - tail];
    let new_middle = &new_rest[..new_rest.len() - tail];
    // Between entries that stay, a removed and an added one are one that changed.
    let (mut from, mut to) = (0, 0);
    let ends = (old_middle.len(), new_middle.len());
    for (next_from, next_to) in common(old_middle, new_middle).into_iter().chain([ends]) {
        let changed = (next_from - from).min(next_to - to);
        pairs.extend((0..changed).map(|n| (head + from + n, head + to + n)));
        if (next_from, next_to) != ends {
            pairs.push((head + next_from, head + next_to));
        }
        (from, to) = (next_from + 1, next_to + 1);
    }
    pairs.extend((0..tail).map(|n| (old.len() - tail + n, new.len() - tail + n)));
    pairs
}

/// Comparisons that a list may cost. Longer ones are compared entry by entry.
const MAX_COMPARISONS: usize = 250_000;

/// The longest common subsequence, or none where the lists are too long to look for it.
fn common(old: &[Value], new: &[Value]) -> Vec<(usize, usize)> {
    if old.len().saturating_mul(new.len()) > MAX_COMPARISONS {
        return Vec::new();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    for from in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            lengths[from * width + to] = if old[from] == new[to] {
                lengths[(from + 1) * width + to + 1] + 1
            } else {
                lengths[(from + 1) * width + to].max(lengths[from * width + to + 1])
            };
        }
    }

    let (mut from, mut to, mut pairs) = (0, 0, Vec::new());
    while from < old.len() && to < new.len() {
        if old[from] == new[to] {
            pairs.push((from, to));
            (from, to) = (from + 1, to + 1);
        } else if lengths[(from + 1) * width + to] >= lengths[from * width + to + 1] {
            from += 1;
        } else {
            to += 1;
        }
    }
    pairs
}

/// Fields by which Kubernetes tells the entries of a list of objects apart, the commonest first.
const KEYS: [&str; 11] = [
    "name",
    "type",
    "uid",
    "mountPath",
    "devicePath",
    "containerPort",
    "port",
    "ip",
    "topologyKey",
    "key",
    "id",
];

/// Pairs by the first key that every entry of both lists has and that no two share.
fn pairs_by_key(old: &[Value], new: &[Value]) -> Option<Vec<(usize, usize)>> {
    if old.is_empty() || new.is_empty() {
        return Some(Vec::new());
    }
    let (old, new) = KEYS.iter().find_map(|key| Some((keys(old, key)?, keys(new, key)?)))?;
    let places: HashMap<&str, usize> = old.iter().enumerate().map(|(n, key)| (&**key, n)).collect();
    let shared = new.iter().enumerate().filter_map(|(to, key)| Some((*places.get(&**key)?, to)));
    Some(ascending(&shared.collect::<Vec<_>>()))
}

/// The values of a key as text, if all entries have it and it tells them apart.
fn keys(list: &[Value], key: &str) -> Option<Vec<String>> {
    let text = |entry: &Value| match entry.get(key)? {
        value @ (Value::String(_) | Value::Number(_)) => Some(value.to_string()),
        _ => None,
    };
    let keys: Vec<String> = list.iter().map(text).collect::<Option<_>>()?;
    let distinct: HashSet<&String> = keys.iter().collect();
    (distinct.len() == keys.len()).then_some(keys)
}

/// The most pairs whose first parts ascend, too (patience: the piles are kept sorted).
fn ascending(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let (mut piles, mut before): (Vec<usize>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
    for (n, (from, _)) in pairs.iter().enumerate() {
        let pile = piles.partition_point(|top| pairs[*top].0 < *from);
        before.push(pile.checked_sub(1).map(|under| piles[under]));
        match piles.get_mut(pile) {
            Some(top) => *top = n,
            None => piles.push(n),
        }
    }

    let mut chosen = Vec::new();
    let mut next = piles.last().copied();
    while let Some(n) = next {
        chosen.push(pairs[n]);
        next = before[n];
    }
    chosen.reverse();
    chosen
}

/// Appends a part to a JSON pointer; returns the length before.
pub(super) fn push(path: &mut String, part: &str) -> usize {
    let length = path.len();
    path.push('/');
    path.push_str(&part.replace('~', "~0").replace('/', "~1"));
    length
}

/// The parts of a JSON pointer, unescaped.
pub fn parts(path: &str) -> impl Iterator<Item = String> {
    path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(before: Value, after: Value, expected: Value) {
        let changes = between(&before, &after);
        assert_eq!(serde_json::to_value(&changes).unwrap(), expected);
        assert_eq!(applied(&before, &changes), after);
    }

    /// What json-patch makes of the operations.
    fn applied(before: &Value, changes: &[Change]) -> Value {
        let patch = serde_json::to_value(changes).unwrap();
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        let mut value = before.clone();
        json_patch::patch(&mut value, &patch).unwrap();
        value
    }

    #[test]
    fn fields_are_added_removed_and_replaced() {
        check(
            json!({"a": 1, "b": {"c": 2}, "d/e": 3}),
            json!({"a": 1, "b": {"c": "2"}, "~": null}),
            json!([
                {"op": "replace", "path": "/b/c", "value": "2", "oldValue": 2},
                {"op": "remove", "path": "/d~1e", "oldValue": 3},
                {"op": "add", "path": "/~0", "value": null},
            ]),
        );
    }

    #[test]
    fn entries_are_told_apart_by_name() {
        check(
            json!([{"name": "a", "v": 1}, {"name": "b", "v": 1}, {"name": "c"}]),
            json!([{"name": "x"}, {"name": "a", "v": 1}, {"name": "c", "w": 0}]),
            json!([
                {"op": "remove", "path": "/1", "oldValue": {"name": "b", "v": 1}},
                {"op": "add", "path": "/0", "value": {"name": "x"}},
                {"op": "add", "path": "/2/w", "value": 0},
            ]),
        );
    }

    #[test]
    fn entries_that_move_are_removed_and_added() {
        check(
            json!([{"name": "a"}, {"name": "b"}, {"name": "c"}]),
            json!([{"name": "c"}, {"name": "a"}, {"name": "b"}]),
            json!([
                {"op": "remove", "path": "/2", "oldValue": {"name": "c"}},
                {"op": "add", "path": "/0", "value": {"name": "c"}},
            ]),
        );
    }

    #[test]
    fn plain_lists_keep_what_stays() {
        check(
            json!(["a", "--v=1", "b"]),
            json!(["a", "--v=2", "b", "c"]),
            json!([
                {"op": "replace", "path": "/1", "value": "--v=2", "oldValue": "--v=1"},
                {"op": "add", "path": "/3", "value": "c"},
            ]),
        );
        check(
            json!(["a", "b", "c"]),
            json!(["a", "c"]),
            json!([{"op": "remove", "path": "/1", "oldValue": "b"}]),
        );
    }

    #[test]
    fn nothing_changes() {
        check(json!({"a": [1], "b": 2}), json!({"b": 2, "a": [1]}), json!([]));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4_i64).prop_map(Value::from),
            "[a-c/~]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~]{0,2}|name", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever the two values are, the difference leads from one to the other and back in mind:
        /// each old value is what stood there.
        #[test]
        fn leads_from_before_to_after(before in values(), after in values()) {
            let changes = between(&before, &after);
            prop_assert_eq!(applied(&before, &changes), after);
            let mut value = before;
            for change in &changes {
                if let Some(old) = change.old_value() {
                    prop_assert_eq!(value.pointer(change.path()), Some(old));
                }
                value = applied(&value, std::slice::from_ref(change));
            }
        }
    }
}
