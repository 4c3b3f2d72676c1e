//! A dotted path to a value of an event: `user.username`, `annotations."a.b/c"`, `sourceIPs[0]`.

use std::{fmt, str::FromStr};

/// One step of a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// A field of an object. On a list, the field of each of its elements.
    Name(Box<str>),
    /// An element of a list, from 0.
    Index(usize),
}

impl Part {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Part::Name(name) => Some(name),
            Part::Index(_) => None,
        }
    }
}

/// A path to a value, of at least one part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    parts: Vec<Part>,
}

/// What is wrong with the text of a key, and where (a byte offset).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct KeyError {
    pub reason: &'static str,
    pub at: usize,
}

/// The keys of audit.k8s.io/v1 that a person may mean; for suggestions and completion.
pub const KNOWN_KEYS: &[&str] = &[
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user.username",
    "user.uid",
    "user.groups",
    "user.extra",
    "impersonatedUser.username",
    "impersonatedUser.uid",
    "impersonatedUser.groups",
    "impersonatedUser.extra",
    "authenticationMetadata.impersonationConstraint",
    "sourceIPs",
    "userAgent",
    "objectRef.resource",
    "objectRef.namespace",
    "objectRef.name",
    "objectRef.uid",
    "objectRef.apiGroup",
    "objectRef.apiVersion",
    "objectRef.resourceVersion",
    "objectRef.subresource",
    "responseStatus.code",
    "responseStatus.status",
    "responseStatus.reason",
    "responseStatus.message",
    "responseStatus.details",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
    "path",
    "duration",
    "dryRun",
    "log",
    "node",
    "annotations.\"authorization.k8s.io/decision\"",
    "annotations.\"authorization.k8s.io/reason\"",
];

/// Fields whose names are chosen by others, with dots in them: what follows one is a single name.
const MAPS: [&str; 6] = ["annotations", "labels", "extra", "data", "matchLabels", "nodeSelector"];

impl Key {
    /// Returns the key of a path of names; `None` for an empty path.
    pub fn from_names(names: &[&str]) -> Option<Key> {
        let parts: Vec<Part> = names.iter().map(|name| Part::Name((*name).into())).collect();
        (!parts.is_empty()).then_some(Key { parts })
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The key with the names behind a map such as `annotations` as one: `annotations.k8s.io/deprecated`
    /// is `annotations."k8s.io/deprecated"`. `None` if there is but one already.
    #[must_use]
    pub fn with_joined_name(&self) -> Option<Key> {
        let is_map = |it: &Part| matches!(it, Part::Name(name) if MAPS.contains(&&**name));
        let at = self.parts.iter().position(is_map)? + 1;
        let names: Vec<&str> = self.parts[at..].iter().map_while(Part::name).collect();
        if names.len() < 2 {
            return None;
        }

        let mut parts = self.parts[..at].to_vec();
        parts.push(Part::Name(names.join(".").into()));
        parts.extend_from_slice(&self.parts[at + names.len()..]);
        Some(Key { parts })
    }

    /// A name as a part of the text of a key, in quotes where it needs them.
    pub fn name(name: &str) -> String {
        let is_bare = matches!(bare(name, 0), Ok((_, end)) if end == name.len());
        if is_bare {
            name.to_owned()
        } else {
            format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
        }
    }

    /// The key of a field of what this key leads to.
    #[must_use]
    pub fn with_field(&self, name: &str) -> Key {
        let mut parts = self.parts.clone();
        parts.push(Part::Name(name.into()));
        Key { parts }
    }

    /// Reads a key at the start of `text`; gives it and the length of its text. It ends before the
    /// first character that cannot belong to a key: an operator, a blank, a comma, a bracket.
    ///
    /// A bare name holds letters, digits and `_ - / : @ $`; any other name stands in double quotes,
    /// with `\"` and `\\` for those two. A `-` before `=` belongs to the operator.
    pub fn parse_prefix(text: &str) -> Result<(Key, usize), KeyError> {
        let bytes = text.as_bytes();
        let mut parts = Vec::new();
        let mut at = 0;
        loop {
            let (name, end) =
                if bytes.get(at) == Some(&b'"') { quoted(text, at)? } else { bare(text, at)? };
            parts.push(Part::Name(name));
            at = end;
            while bytes.get(at) == Some(&b'[') {
                let digits = bytes[at + 1..].iter().take_while(|it| it.is_ascii_digit()).count();
                let close = at + 1 + digits;
                let index = text[at + 1..close].parse();
                let (Ok(index), Some(b']')) = (index, bytes.get(close)) else {
                    return Err(KeyError {
                        reason: "a list index is a number in brackets, as in `sourceIPs[0]`",
                        at,
                    });
                };
                parts.push(Part::Index(index));
                at = close + 1;
            }
            if bytes.get(at) != Some(&b'.') {
                return Ok((Key { parts }, at));
            }
            at += 1;
        }
    }
}

fn bare(text: &str, start: usize) -> Result<(Box<str>, usize), KeyError> {
    let rest = &text[start..];
    let is_bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | '@' | '$');
    let mut end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
    if rest[end..].starts_with('=') && rest[..end].ends_with('-') {
        end -= 1;
    }
    if end == 0 {
        return Err(KeyError {
            reason: "a key is expected here, such as `verb` or `user.username`",
            at: start,
        });
    }
    Ok((rest[..end].into(), start + end))
}

fn quoted(text: &str, start: usize) -> Result<(Box<str>, usize), KeyError> {
    let mut name = String::new();
    let mut chars = text[start + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((name.into(), start + 1 + offset + 1)),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            _ => name.push(c),
        }
    }
    Err(KeyError { reason: "this quote is never closed", at: start })
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Key, KeyError> {
        let (key, end) = Key::parse_prefix(text)?;
        if end != text.len() {
            let reason =
                "this cannot be part of a key; put a name with special characters in double quotes";
            return Err(KeyError { reason, at: end });
        }
        Ok(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, part) in self.parts.iter().enumerate() {
            match part {
                Part::Index(index) => write!(f, "[{index}]")?,
                Part::Name(name) => {
                    let dot = if n > 0 { "." } else { "" };
                    write!(f, "{dot}{}", Key::name(name))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Key>() {
            Ok(key) => key
                .parts()
                .iter()
                .map(|part| match part {
                    Part::Name(name) => name.to_string(),
                    Part::Index(index) => format!("#{index}"),
                })
                .collect::<Vec<_>>()
                .join("|"),
            Err(err) => format!("error at {}", err.at),
        };
        assert_eq!(shown, expected, "{text}");
        if let Ok(key) = text.parse::<Key>() {
            assert_eq!(key.to_string().parse(), Ok(key), "{text} shown and read again");
        }
    }

    #[test]
    fn dotted() {
        check("user.username", "user|username");
    }
    #[test]
    fn quoted_part() {
        check(
            r#"annotations."authorization.k8s.io/decision""#,
            "annotations|authorization.k8s.io/decision",
        );
    }
    #[test]
    fn unquoted_slash() {
        check("annotations.x/y", "annotations|x/y");
    }
    #[test]
    fn names_behind_a_map_are_one() {
        #[track_caller]
        fn joined(text: &str, expected: &str) {
            let key: Key = text.parse().expect(text);
            let joined = key.with_joined_name().map(|it| it.to_string());
            assert_eq!(joined.unwrap_or_default(), expected, "{text}");
        }
        joined("annotations.k8s.io/deprecated", r#"annotations."k8s.io/deprecated""#);
        joined(r#"annotations."k8s.io/deprecated""#, "");
        joined("annotations.note", "");
        joined("user.extra.a.b/c[0]", r#"user.extra."a.b/c"[0]"#);
        joined(
            "requestObject.metadata.labels.app.kubernetes.io/name",
            r#"requestObject.metadata.labels."app.kubernetes.io/name""#,
        );
        joined("user.username", "");
    }
    #[test]
    fn index() {
        check("sourceIPs[0]", "sourceIPs|#0");
        check("a[1][2].b", "a|#1|#2|b");
    }
    #[test]
    fn escapes() {
        check(r#""a\"b\\c""#, r#"a"b\c"#);
    }
    #[test]
    fn wrong() {
        check("", "error at 0");
        check("a..b", "error at 2");
        check("a.", "error at 2");
        check("a[x]", "error at 1");
        check("a b", "error at 1");
        check(r#"a."b"#, "error at 2");
    }
}
