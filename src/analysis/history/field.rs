//! Changes of one field, and changes in a few words.

use serde_json::Value;

use super::diff::{Change, parts};
use crate::event::{Json, Key, Part};

/// Only the changes that concern this field: of itself, below it, or of what it is in.
pub fn of_field(field: &Key, changes: Vec<Change>) -> Vec<Change> {
    changes.into_iter().filter(|change| concerns(field, change)).collect()
}

fn concerns(field: &Key, change: &Change) -> bool {
    let mut wanted = field.parts();
    for part in parts(change.path()) {
        match wanted.split_first() {
            // The change is below the field.
            None => return true,
            Some((Part::Name(name), rest)) if **name == *part => wanted = rest,
            Some((Part::Index(index), rest)) if part.parse() == Ok(*index) => wanted = rest,
            // A name on a list stands for that name in each entry.
            Some((Part::Name(_), _)) if part.parse::<usize>().is_ok() => {}
            _ => return false,
        }
    }
    // The field is below the change: it concerns it if the field is in one of the values, and differs.
    let at = |value: Option<&Value>| {
        let text = value.map(Value::to_string).unwrap_or_default();
        let found = Json::new(text.as_bytes()).at(wanted);
        found.into_iter().map(|it| it.compact().into_owned()).collect::<Vec<_>>()
    };
    wanted.is_empty() || at(change.value()) != at(change.old_value())
}

/// How many changes are written out.
const SHOWN: usize = 2;

/// The changes in a few words: `spec.replicas 2 → 3`.
pub fn words(changes: &[Change]) -> String {
    let mut order: Vec<&Change> = changes.iter().collect();
    order.sort_by_key(|change| is_bookkeeping(change.path()));
    let shown: Vec<String> = order.iter().take(SHOWN).map(|change| words_of(change)).collect();
    let more = changes.len().saturating_sub(SHOWN);
    let mut text = shown.join(", ");
    if more > 0 {
        text += &format!(", {more} more");
    }
    text
}

/// Annotations that tools write for themselves: shown last.
fn is_bookkeeping(path: &str) -> bool {
    let own = ["kubectl.kubernetes.io~1last-applied-configuration", "deployment.kubernetes.io~1"];
    own.iter().any(|name| path.contains(name))
}

fn words_of(change: &Change) -> String {
    let mut name = name(change.path());
    // Of an object with one field that field is meant.
    let mut inside = |value: &Value| {
        let mut value = value.clone();
        while let Some((field, only)) =
            value.as_object().filter(|it| it.len() == 1).and_then(|it| it.iter().next())
        {
            add_part(&mut name, field);
            value = only.clone();
        }
        format!(
            "{name} {} {}",
            if matches!(change, Change::Add { .. }) { '+' } else { '-' },
            short(&value)
        )
    };
    match change {
        Change::Add { value, .. } => inside(value),
        Change::Remove { old_value: Value::Null, .. } => format!("{name} removed"),
        Change::Remove { old_value, .. } => inside(old_value),
        Change::Replace { value, old_value: Value::Null, .. } => {
            format!("{name} = {}", short(value))
        }
        Change::Replace { value, old_value, .. } => {
            format!("{name} {} → {}", short(old_value), short(value))
        }
    }
}

/// A JSON pointer as a path: `spec.containers[0].image`; parts with dots in brackets.
fn name(pointer: &str) -> String {
    let mut name = String::new();
    // The template of a pod is long, and its fields are known without it.
    let pointer = pointer
        .strip_prefix("/spec/template")
        .filter(|it| it.starts_with("/spec/"))
        .unwrap_or(pointer);
    parts(pointer).for_each(|part| add_part(&mut name, &part));
    name
}

fn add_part(name: &mut String, part: &str) {
    if part.parse::<usize>().is_ok() {
        *name += &format!("[{part}]");
    } else if part.contains('.') {
        *name += &format!("[\"{part}\"]");
    } else {
        if !name.is_empty() {
            name.push('.');
        }
        *name += part;
    }
}

/// A value in at most so many characters.
fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Object(map) if !map.is_empty() => match map.get("name").and_then(Value::as_str) {
            Some(name) => format!("{{name: {name}, …}}"),
            None => "{…}".to_owned(),
        },
        Value::Array(list) if list.len() == 1 => format!("[{}]", short(&list[0])),
        Value::Array(list) if !list.is_empty() => format!("[{} entries]", list.len()),
        other => other.to_string(),
    };
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 40 || line.len() < text.len() {
        return line.chars().take(39).chain(['…']).collect();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::between, *};

    #[track_caller]
    fn check(field: &str, before: Value, after: Value, expected: &str) {
        let changes = of_field(&field.parse().unwrap(), between(&before, &after));
        assert_eq!(words(&changes), expected);
    }

    #[test]
    fn changes_of_a_field() {
        let (old, new) = (json!({"a": {"b": 1, "c": 1}}), json!({"a": {"b": 2, "c": 2}}));
        check("a.b", old.clone(), new.clone(), "a.b 1 → 2");
        check("a", old.clone(), new.clone(), "a.b 1 → 2, a.c 1 → 2");
        check("a.d", old, new, "");
        check("a.b", json!({}), json!({"a": {"b": 2}}), "a.b + 2");
        check("a.x", json!({}), json!({"a": {"b": 2}}), "");
    }

    #[test]
    fn names_reach_through_lists() {
        let list = |image: &str| json!({"c": [{"name": "x"}, {"name": "y", "image": image}]});
        check("c.image", list("a"), list("b"), "c[1].image a → b");
        check("c[1].image", list("a"), list("b"), "c[1].image a → b");
        check("c[0].image", list("a"), list("b"), "");
    }

    #[test]
    fn many_changes() {
        let changes = between(&json!({}), &json!({"a.b": "x\ny", "b": [1], "c": 1, "d": ""}));
        assert_eq!(words(&changes), "[\"a.b\"] + x…, b + [1], 2 more");
    }
}
