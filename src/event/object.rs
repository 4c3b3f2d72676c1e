//! The fields of a JSON object in the order in which they are written.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{Json, Text};

/// The fields of a JSON object in the order in which they are written, repeated names included.
///
/// Names are unescaped. Values are [`Json`] unless another type is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<'a, T = Json<'a>>(Vec<(Cow<'a, str>, T)>);

impl<'a, T> Object<'a, T> {
    /// Returns an object of these fields.
    pub fn new(fields: Vec<(Cow<'a, str>, T)>) -> Self {
        Object(fields)
    }

    /// Returns the fields in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Cow<'a, str>, T)> {
        self.0.iter()
    }
}

impl<'a> Object<'a> {
    /// Returns the fields in their order.
    pub fn all(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// Returns the value of a field. If the name is repeated, the first value counts, except for
    /// the names of an event's timestamps and annotations, where the last does (see
    /// [`Field::is_after_bodies`](super::Field::is_after_bodies)).
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        let mut values = self.0.iter().filter(|(it, _)| it == name).map(|(_, value)| *value);

        match name {
            "requestReceivedTimestamp" | "stageTimestamp" | "annotations" => values.next_back(),
            _ => values.next(),
        }
    }
}

impl<T> Default for Object<'_, T> {
    fn default() -> Self {
        Object(Vec::new())
    }
}

impl<'a, T> IntoIterator for Object<'a, T> {
    type Item = (Cow<'a, str>, T);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, 'o, T> IntoIterator for &'o Object<'a, T> {
    type Item = &'o (Cow<'a, str>, T);
    type IntoIter = std::slice::Iter<'o, (Cow<'a, str>, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Object<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Vec<(Cow<'de, str>, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // An event has at most as many.
                let mut fields = Vec::with_capacity(super::Field::ALL.len());
                while let Some(Text(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Visitor(PhantomData)).map(Object)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Json::new(raw.get().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, name: &str, expected: Option<&str>) {
        let object: Object<'_> = serde_json::from_str(json).expect(json);
        assert_eq!(object.get(name).map(Json::raw), expected, "{name} of {json}");
    }

    #[test]
    fn finds_the_first_of_a_repeated_name() {
        check(r#"{"a":1,"a":2}"#, "a", Some("1"));
        check(r#"{"\u0061":[1]}"#, "a", Some("[1]"));
        check("{}", "a", None);
    }

    #[test]
    fn finds_the_last_timestamp() {
        check(r#"{"stageTimestamp":"x","stageTimestamp":"y"}"#, "stageTimestamp", Some("\"y\""));
    }

    #[test]
    fn keeps_order_and_repeats() {
        let object: Object<'_> = serde_json::from_str(r#"{"b":1,"a":2,"b":3}"#).expect("an object");
        let shown: Vec<_> = object.all().map(|(name, value)| (name, value.raw())).collect();
        assert_eq!(shown, [("b", "1"), ("a", "2"), ("b", "3")]);
    }
}
