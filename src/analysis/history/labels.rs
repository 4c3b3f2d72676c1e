//! Label selectors, as kubectl and the API server read them.

use serde_json::Value;

/// Conditions on labels, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl LabelSelector {
    /// Reads `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, separated by commas.
    ///
    /// # Errors
    /// The requirement that cannot be read.
    pub fn parse(text: &str) -> Result<LabelSelector, String> {
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let end = end_of_requirement(rest);
            requirements.push(requirement(rest[..end].trim())?);
            rest = rest[end..].strip_prefix(',').unwrap_or_default().trim_start();
        }
        Ok(LabelSelector(requirements))
    }

    /// Whether the labels of an object match.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| {
            let labels = object.get("metadata").and_then(|it| it.get("labels"));
            labels.and_then(|it| it.get(key)).and_then(Value::as_str)
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|value| values.iter().any(|it| it == value))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|value| values.iter().all(|it| it != value))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        })
    }
}

/// The comma behind the first requirement, not one between parentheses.
fn end_of_requirement(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let key = |text: &str| match text.trim() {
        "" => Err("a label is missing".to_owned()),
        key if key.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c))) => {
            Err(format!("`{key}` is not a label"))
        }
        key => Ok(key.to_owned()),
    };
    let value = |text: &str| text.trim().to_owned();
    if let Some((left, right)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key(left)?, vec![value(right)]));
    }
    if let Some((left, right)) = text.split_once('=') {
        let right = right.strip_prefix('=').unwrap_or(right);
        return Ok(Requirement::In(key(left)?, vec![value(right)]));
    }
    if let Some((left, list)) = text.strip_suffix(')').and_then(|it| it.split_once('(')) {
        let values = list.split(',').map(value).collect();
        let left = left.trim_end();
        return match (left.strip_suffix(" notin"), left.strip_suffix(" in")) {
            (Some(left), _) => Ok(Requirement::NotIn(key(left)?, values)),
            (_, Some(left)) => Ok(Requirement::In(key(left)?, values)),
            _ => Err(format!("`{text}` is not a condition on a label")),
        };
    }
    match text.strip_prefix('!') {
        Some(rest) => Ok(Requirement::Absent(key(rest)?)),
        None => Ok(Requirement::Exists(key(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(selector: &str, expected: bool) {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "front"}}});
        let selector = LabelSelector::parse(selector).unwrap();
        assert_eq!(selector.matches(&object), expected, "{selector:?}");
    }

    #[test]
    fn requirements() {
        check("", true);
        check("app=web", true);
        check("app==web, tier = front", true);
        check("app!=web", false);
        check("x!=web", true);
        check("app in (db, web),tier", true);
        check("app notin (db,web)", false);
        check("!x", true);
        check("!app", false);
        check("x", false);
    }

    #[test]
    fn broken_selectors_are_refused() {
        for text in ["=x", "a b", "a like (b)", "!", "a in b)"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }
}
