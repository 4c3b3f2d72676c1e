//! The nearest known key to one that a person may have mistyped.

use crate::event::{KNOWN_KEYS, Key, Part};

/// Below these an event has whatever clients and collectors put there.
const OPEN: [&str; 8] = [
    "requestObject",
    "responseObject",
    "annotations",
    "user.extra",
    "impersonatedUser.extra",
    "responseStatus.details",
    "responseStatus.metadata",
    "authenticationMetadata",
];

/// The known key that a key may have been meant to be; `None` if it is one itself, or lies where an
/// event may have any name.
pub fn unknown_field(key: &Key) -> Option<Option<&'static str>> {
    let names: Vec<&str> = key
        .parts()
        .iter()
        .filter_map(|it| match it {
            Part::Name(name) => Some(&**name),
            Part::Index(_) => None,
        })
        .collect();
    let path = names.join(".");
    let is_open = OPEN.iter().any(|it| path == *it || path.starts_with(&format!("{it}.")));
    // `"user.username"` in quotes is one name with a dot in it, which no field has.
    let is_plain = names.iter().all(|it| !it.contains('.'));
    let is_known =
        is_plain && KNOWN_KEYS.iter().any(|it| *it == path || it.starts_with(&format!("{path}.")));
    if is_open || is_known { None } else { Some(field_like(&path)) }
}

/// The known key nearest to a text, if one is near.
pub fn field_like(text: &str) -> Option<&'static str> {
    if text.len() > 64 {
        return None;
    }
    let text = text.to_lowercase();
    let distance = |key: &&'static str| {
        let last = key.rsplit('.').next().unwrap_or(key);
        edits(&key.to_lowercase(), &text).min(edits(&last.to_lowercase(), &text))
    };
    KNOWN_KEYS
        .iter()
        .copied()
        .map(|it| (distance(&it), it))
        .min_by_key(|(n, _)| *n)
        .filter(|(n, _)| *n <= 1 + text.len() / 6)
        .map(|(_, it)| it)
}

/// Of these names the nearest to a text, at most three, if any is near.
pub(super) fn nearest(text: &str, names: &[&str]) -> Vec<String> {
    if text.len() > 64 {
        return Vec::new();
    }
    let asked = text.to_lowercase();
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |name: &str| {
        let name = name.to_lowercase();
        // One word may be the end of a key.
        let of_last = if asked.contains('.') { usize::MAX } else { edits(&last(&name), &asked) };
        edits(&name, &asked).min(of_last)
    };
    let mut near: Vec<(usize, &str)> = names
        .iter()
        // A key is not meant by what only goes on from it.
        .filter(|it| it.len() <= 128 && !text.starts_with(&format!("{it}.")))
        .map(|it| (distance(it), *it))
        .filter(|(n, _)| *n <= 1 + asked.len() / 4)
        .collect();
    near.sort_unstable();
    near.dedup();
    let least = near.first().map_or(0, |it| it.0);
    near.retain(|it| it.0 <= least + 1);
    near.into_iter().take(3).map(|(_, it)| it.to_owned()).collect()
}

/// The number of characters to insert, delete or replace (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for m in 0..b.len() {
            let replaced = diagonal + usize::from(b[m] != c);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expected: Option<Option<&str>>) {
        assert_eq!(unknown_field(&key.parse().expect(key)), expected, "{key}");
    }

    #[test]
    fn known_and_open() {
        check("verb", None);
        check("user", None);
        check("user.groups[0]", None);
        check("requestObject.spec.anything", None);
        check("annotations.\"a/b\"", None);
    }

    #[test]
    fn near() {
        check("verbs", Some(Some("verb")));
        check("user.usernam", Some(Some("user.username")));
        check("username", Some(Some("user.username")));
        check("objectRef.ressource", Some(Some("objectRef.resource")));
        check("\"user.username\"", Some(Some("user.username")));
        check("code", Some(Some("responseStatus.code")));
    }

    #[test]
    fn nothing_near() {
        check("hostname", Some(None));
    }
}
