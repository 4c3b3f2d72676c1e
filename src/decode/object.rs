//! The fields of an object as slices of it, for leaving some of them out without parsing their values.

use std::{borrow::Cow, ops::Range};

use memchr::memmem;

use super::reader::{scan, simd};
use crate::event::{Field, Json, Object};

/// Returns the fields of an object.
///
/// In an object without blanks, as the API server writes it, only the ends of the values are looked
/// for; any other object is parsed whole.
///
/// # Errors
/// If `object` is not a JSON object.
pub fn fields(object: &[u8]) -> Result<Object<'_>, serde_json::Error> {
    compact_fields(object).map_or_else(|| serde_json::from_slice(object), Ok)
}

/// Returns the fields of an object without blanks and with alphanumeric names. `None` for any other
/// object, and for one that is broken.
fn compact_fields(object: &[u8]) -> Option<Object<'_>> {
    if object == b"{}" {
        return Some(Object::default());
    }

    let mut fields = Vec::with_capacity(Field::ALL.len());
    let mut rest = object.strip_prefix(b"{")?;
    loop {
        let (name, value) = split_name(rest)?;
        let (value, after) = value.split_at(value_end(value)?);
        fields.push((Cow::Borrowed(str::from_utf8(name).ok()?), Json::new(value)));

        match after {
            b"}" => return Some(Object::new(fields)),
            [b',', after @ ..] => rest = after,
            _ => return None,
        }
    }
}

/// Splits a field into its alphanumeric name and everything behind the colon.
fn split_name(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = field.strip_prefix(b"\"")?;
    let len = rest.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
    Some((&rest[..len], rest[len..].strip_prefix(b"\":")?))
}

/// What follows the last body in an event as the API server writes it.
const AFTER_BODIES: &[u8] = b"},\"requestReceivedTimestamp\":\"";

/// Returns the range of the bodies in an event as the API server writes it, from the comma before
/// the first to the comma behind the last. `None` if there are none, or if the other fields are not
/// in the API server's order. Whatever is between the first body and the timestamps counts as bodies.
///
/// The bodies are not parsed. In valid JSON `AFTER_BODIES` cannot be inside a string, since its
/// quotes are not escaped, and it is one level deep, since the object ends with the line from there.
pub fn bodies(event: &[u8]) -> Option<Range<usize>> {
    let (before, from_bodies) = Field::ALL.split_at(Field::RequestObject as usize);
    let after = &from_bodies[2..];

    let mut order = before.iter();
    let mut rest = event.strip_prefix(b"{")?;
    let start = loop {
        let (name, value) = split_name(rest)?;
        if matches!(name, b"requestObject" | b"responseObject") {
            break event.len() - rest.len() - 1;
        }
        order.find(|field| field.name().as_bytes() == name)?;
        rest = value[value_end(value)?..].strip_prefix(b",")?;
    };
    let end = start + memmem::rfind(&event[start..], AFTER_BODIES)? + 1;

    let mut order = after.iter();
    let mut rest = &event[end..];
    while rest != b"}" {
        let (name, value) = split_name(rest.strip_prefix(b",")?)?;
        order.find(|field| field.name().as_bytes() == name)?;
        rest = &value[value_end(value)?..];
    }

    // An event has other fields before its bodies.
    (start > 1).then_some(start..end)
}

/// Returns the end of the value at the start of `bytes`.
fn value_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' => Some(simd::string_end(bytes, 1)? + 1),
        b'{' | b'[' => simd::container_end(bytes, 1, 1),
        _ => {
            let end = bytes.iter().position(|byte| matches!(byte, b',' | b'}'))?;
            scan::is_value(&bytes[..end]).then_some(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(object: &str, expected: Option<&[(&'static str, &'static str)]>) {
        let field = |(name, value): &(&'static str, &'static str)| {
            (Cow::Borrowed(*name), Json::new(value.as_bytes()))
        };
        let expected = expected.map(|fields| Object::new(fields.iter().map(field).collect()));
        assert_eq!(compact_fields(object.as_bytes()), expected, "{object}");
        if expected.is_some() {
            assert_eq!(serde_json::from_str(object).ok(), expected, "{object}");
        }
    }

    #[test]
    fn splits_compact_objects() {
        check("{}", Some(&[]));
        check(
            r#"{"a":"}\"","b":{"c":[1,"]"]},"d1":-1.5e3,"e":null}"#,
            Some(&[("a", r#""}\"""#), ("b", r#"{"c":[1,"]"]}"#), ("d1", "-1.5e3"), ("e", "null")]),
        );
        check(r#"{"a":1,"a":2}"#, Some(&[("a", "1"), ("a", "2")]));
    }

    #[test]
    fn leaves_other_objects_to_the_parser() {
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
    fn finds_the_bodies_of_events() {
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
        fn finds_the_fields_that_serde_json_finds(all in prop::collection::btree_map("[a-zA-Z0-9]{1,6}", values(), 0..8)) {
            let text = serde_json::to_string(&all).unwrap();
            let expected: Object<'_> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(compact_fields(text.as_bytes()), Some(expected));
        }
    }
}
