//! The fields of an object, to leave some out: their values are passed over, not taken apart.

use std::{borrow::Cow, fmt, ops::Range};

use memchr::memmem;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{bits, scan};

/// Keys as text, values as written; in their order, repeated ones too.
pub type Fields<'a> = Vec<(Cow<'a, str>, &'a [u8])>;

/// The fields of an object. Most are written as the API server does, and of their values only the ends
/// are looked for; others are read as any reader of JSON would.
///
/// # Errors
/// If it is no object.
pub fn fields(object: &[u8]) -> Result<Fields<'_>, serde_json::Error> {
    usual(object).map_or_else(|| strict(object), Ok)
}

/// `None` if there are blanks between fields, or keys that are not letters and digits; also if it is
/// broken.
fn usual(object: &[u8]) -> Option<Fields<'_>> {
    if object == b"{}" {
        return Some(Vec::new());
    }
    // As many as an event has.
    let mut fields = Vec::with_capacity(20);
    let mut rest = object.strip_prefix(b"{")?;
    loop {
        let (key, value) = usual_key(rest)?;
        let (value, after) = value.split_at(value_end(value)?);
        fields.push((Cow::Borrowed(str::from_utf8(key).ok()?), value));
        match after {
            b"}" => return Some(fields),
            [b',', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// The key that stands here, and everything behind its colon.
fn usual_key(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = rest.strip_prefix(b"\"")?;
    let length = rest.iter().position(|it| !it.is_ascii_alphanumeric())?;
    Some((&rest[..length], rest[length..].strip_prefix(b"\":")?))
}

/// What the API server writes before the bodies of an event, and behind them, in its order.
///
/// Source: `staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go`.
const BEFORE: [&[u8]; 14] = [
    b"kind",
    b"apiVersion",
    b"level",
    b"auditID",
    b"stage",
    b"requestURI",
    b"verb",
    b"user",
    b"impersonatedUser",
    b"authenticationMetadata",
    b"sourceIPs",
    b"userAgent",
    b"objectRef",
    b"responseStatus",
];
const BEHIND: [&[u8]; 3] = [b"requestReceivedTimestamp", b"stageTimestamp", b"annotations"];
const LAST: &[u8] = b"},\"requestReceivedTimestamp\":\"";

/// Where the bodies are in an event as the API server writes it: from the comma before the first to the
/// one behind the last. `None` if there are none, or if anything else is written in another way: what
/// stands between the first body and the times is taken for bodies.
///
/// They are not walked through. In valid JSON `LAST` cannot be inside a string, since its quotes are
/// not escaped; and it is one level deep, since the object ends with the line from there.
pub fn bodies(event: &[u8]) -> Option<Range<usize>> {
    let mut order = BEFORE.iter();
    let mut rest = event.strip_prefix(b"{")?;
    let start = loop {
        let (key, value) = usual_key(rest)?;
        if matches!(key, b"requestObject" | b"responseObject") {
            break event.len() - rest.len() - 1;
        }
        order.find(|it| **it == key)?;
        rest = value[value_end(value)?..].strip_prefix(b",")?;
    };
    let end = start + memmem::rfind(&event[start..], LAST)? + 1;
    let mut order = BEHIND.iter();
    let mut rest = &event[end..];
    while rest != b"}" {
        let (key, value) = usual_key(rest.strip_prefix(b",")?)?;
        order.find(|it| **it == key)?;
        rest = &value[value_end(value)?..];
    }
    // Before the bodies comes what every event has.
    (start > 1).then_some(start..end)
}

/// Where the value ends that begins here.
fn value_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => Some(bits::string_end(bytes, 1)? + 1),
        b'{' | b'[' => bits::container_end(bytes, 1, 1),
        _ => {
            let end = bytes.iter().position(|it| matches!(it, b',' | b'}'))?;
            scan::is_value(&bytes[..end]).then_some(end)
        }
    }
}

fn strict(object: &[u8]) -> Result<Fields<'_>, serde_json::Error> {
    let Checked(fields) = serde_json::from_slice(object)?;
    Ok(fields.into_iter().map(|(key, it)| (key, it.get().as_bytes())).collect())
}

struct Checked<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Checked<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Visitor).map(Checked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(object: &str, expected: Option<&[(&str, &str)]>) {
        let expected: Option<Fields<'_>> =
            expected.map(|it| it.iter().map(|(k, v)| (Cow::Borrowed(*k), v.as_bytes())).collect());
        assert_eq!(usual(object.as_bytes()), expected, "{object}");
        if expected.is_some() {
            assert_eq!(strict(object.as_bytes()).ok(), expected, "{object}");
        }
    }

    #[test]
    fn objects() {
        check("{}", Some(&[]));
        check(
            r#"{"a":"}\"","b":{"c":[1,"]"]},"d1":-1.5e3,"e":null}"#,
            Some(&[("a", r#""}\"""#), ("b", r#"{"c":[1,"]"]}"#), ("d1", "-1.5e3"), ("e", "null")]),
        );
        check(r#"{"a":1,"a":2}"#, Some(&[("a", "1"), ("a", "2")]));
    }

    #[test]
    fn others() {
        for it in [
            "",
            "{",
            "[]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} "#,
            r#"{ "a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a.b":1}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":1x}"#,
            r#"{"a":01}"#,
            r#"{"a":"b}"#,
            r#"{"a":[1}"#,
        ] {
            check(it, None);
        }
    }

    #[track_caller]
    fn check_bodies(event: &str, expected: Option<&str>) {
        assert_eq!(bodies(event.as_bytes()).map(|it| &event[it]), expected, "{event}");
    }

    #[test]
    fn bodies_of_events() {
        let event = |bodies: &str| {
            format!(
                r#"{{"kind":"Event","level":"Request","user":{{"username":"u"}},"objectRef":{{}}{bodies},"requestReceivedTimestamp":"t","stageTimestamp":"t","annotations":{{"a":"}}"}}}}"#
            )
        };
        for it in [
            r#","requestObject":{"a":[1]}"#,
            r#","requestObject":{"a":1},"responseObject":{"b":"}"}"#,
            r#","responseObject":{"x":{},"requestReceivedTimestamp":"t"}"#,
            r#","requestObject": {}"#,
        ] {
            check_bodies(&event(it), Some(it));
        }
        for it in [
            "",
            r#","cluster":"c","requestObject":{}"#,
            r#","requestObject":{},"cluster":"c""#,
            r#","verb":"get","requestObject":{}"#,
            r#","requestObject":null"#,
        ] {
            check_bodies(&event(it), None);
        }
        let swapped = event(r#","requestObject":{}"#).replace("stageTimestamp", "verb");
        check_bodies(&swapped, None);
        check_bodies(r#"{"requestObject":{},"requestReceivedTimestamp":"t"}"#, None);
        check_bodies("", None);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[a-c"\\{}\[\]:, \n\u{e9}]{0,40}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map("[a-z.\"]{1,4}", inner, 0..6)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The same fields as serde_json finds.
        #[test]
        fn as_serde_json(all in prop::collection::btree_map("[a-zA-Z0-9]{1,6}", values(), 0..8)) {
            let text = serde_json::to_string(&all).unwrap();
            let (usual, strict) = (usual(text.as_bytes()), strict(text.as_bytes()).unwrap());
            prop_assert_eq!(usual, Some(strict));
        }
    }
}
