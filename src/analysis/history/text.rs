//! Unified differences of the YAML of an object, as `kubectl diff` prints them.

use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices, group_diff_ops};

use super::{ObjectId, event::Request};

/// Lines around a change.
const CONTEXT: usize = 3;

/// Pairs of lines that a comparison may look at. Longer texts are replaced as a whole.
const MAX_PAIRS: usize = 400_000_000;

/// The difference with its two file names; an object that is absent is an empty file.
pub fn unified(
    id: &ObjectId,
    request: &Request,
    old: Option<&Value>,
    new: Option<&Value>,
) -> String {
    let version = [new, old].into_iter().flatten().find_map(|it| it.get("apiVersion")?.as_str());
    let kind = [new, old].into_iter().flatten().find_map(|it| it.get("kind")?.as_str());
    let parts = [version.map(|it| it.replace('/', ".")), kind.map(str::to_owned)];
    let names = [id.namespace.clone(), id.name.clone()];
    let name: Vec<String> =
        parts.into_iter().flatten().chain(names).filter(|it| !it.is_empty()).collect();
    let name = name.join(".");
    let time = request.received.map(|it| format!("\t{it}")).unwrap_or_default();
    let hunks = hunks(&old.map(yaml).unwrap_or_default(), &new.map(yaml).unwrap_or_default());
    if hunks.is_empty() {
        return hunks;
    }
    format!("--- before/{name}{time}\n+++ after/{name}{time}\n{hunks}")
}

/// YAML with the fields in alphabetical order, as kubectl prints it.
pub fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(&sorted(value)).unwrap_or_default()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields = fields.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn hunks(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut text = String::new();
    for group in group_diff_ops(operations(&old, &new), CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let old_range = first.old_range().start..last.old_range().end;
        let new_range = first.new_range().start..last.new_range().end;
        text += &format!("@@ -{} +{} @@\n", range(&old_range), range(&new_range));
        for operation in &group {
            let (tag, from, to) = operation.as_tag_tuple();
            if tag == DiffTag::Equal {
                old[from].iter().for_each(|line| text += &format!(" {line}\n"));
                continue;
            }
            old[from].iter().for_each(|line| text += &format!("-{line}\n"));
            new[to].iter().for_each(|line| text += &format!("+{line}\n"));
        }
    }
    text
}

/// A range of lines as in a unified difference: counted from 1, the length left out if it is 1.
fn range(lines: &std::ops::Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        length => format!("{},{length}", lines.start + 1),
    }
}

fn operations(old: &[&str], new: &[&str]) -> Vec<DiffOp> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = rest.take_while(|(a, b)| a == b).count();
    let (old_len, new_len) = (old.len() - head - tail, new.len() - head - tail);
    if old_len.saturating_mul(new_len) <= MAX_PAIRS {
        return capture_diff_slices(Algorithm::Myers, old, new);
    }
    let equal = |old_index, new_index, len| DiffOp::Equal { old_index, new_index, len };
    let mut operations = vec![
        equal(0, 0, head),
        DiffOp::Replace { old_index: head, old_len, new_index: head, new_len },
        equal(head + old_len, head + new_len, tail),
    ];
    operations.retain(|it| it.old_range().len() + it.new_range().len() > 0);
    operations
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_in_order_and_texts_in_blocks() {
        let value = json!({"b": {"d": 1, "c": "x\ny\n"}, "a": "yes"});
        assert_eq!(yaml(&value), "a: \"yes\"\nb:\n  c: |\n    x\n    y\n  d: 1\n");
    }

    #[test]
    fn changed_lines_have_context() {
        let old = (0..20).map(|n| format!("{n}\n")).collect::<String>();
        let new = old.replace("10\n", "x\n");
        assert_eq!(hunks(&old, &new), "@@ -8,7 +8,7 @@\n 7\n 8\n 9\n-10\n+x\n 11\n 12\n 13\n");
        assert_eq!(hunks(&old, &old), "");
        assert_eq!(hunks("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
    }

    #[test]
    fn long_texts_are_replaced() {
        let old = (0..30_000).map(|n| format!("a{n}\n")).collect::<String>();
        let new = (0..30_000).map(|n| format!("b{n}\n")).collect::<String>();
        assert!(hunks(&old, &new).starts_with("@@ -1,30000 +1,30000 @@\n-a0\n-a1\n"));
    }
}
