//! The audit event, audit.k8s.io/v1: its types and the names of its moments.
//!
//! Not here: how bytes become an event (`decode`), and where the bytes come from (`source`).

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

mod attributes;
mod cloud_identity;
pub mod dry_run;
mod field;
mod impersonation;
mod json;
mod key;
mod lenient;
mod list_options;
mod object;
pub mod resources;
mod time;
pub mod uri;
mod window;

pub use attributes::{Attributes, ResourceRequest, Target};
pub use cloud_identity::cloud_identity;
pub use field::{Field, FieldSet};
pub use impersonation::RefusedImpersonation;
pub use json::{Json, Kind};
pub use key::{KNOWN_KEYS, Key, KeyError, Part};
pub use object::Object;
pub use time::Timestamp;
pub use window::Window;

/// One stage of one request, as one API server wrote it.
///
/// Strings are borrowed from the line where they hold no escapes; bodies stay undecoded.
/// Of a key that appears twice the first counts, except for the two timestamps and the
/// annotations, where the last does: the fast reader reads a line from both ends, and this
/// reader must mean the same. The API server never writes a key twice.
///
/// Source: `staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go`.
///
/// ```
/// use kubectl_audit::event::{Event, Target};
///
/// let log = std::fs::read_to_string("examples/audit.log")?;
/// let event: Event<'_> = serde_json::from_str(log.lines().next().expect("it has lines"))?;
/// assert_eq!((&*event.verb, &*event.effective_user().username), ("delete", "system:apiserver"));
/// let Target::Resource(it) = event.as_authorized().target else { panic!("a lease") };
/// assert_eq!((&*it.namespace, &*it.resource), ("kube-system", "leases"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    pub level: Level,
    #[serde(rename = "auditID")]
    pub audit_id: Cow<'a, str>,
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    pub request_uri: Cow<'a, str>,
    pub verb: Cow<'a, str>,
    pub user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<User<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_received_timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage_timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Who a request came from, or whom it acted as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct User<'a> {
    pub username: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub uid: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
}

/// The object a request was about. The core group is an empty `api_group`.
///
/// For a `create`, name and uid were filled in from the body after policy and authorization had
/// looked: use [`Attributes`] for what those saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub resource: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub uid: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub api_group: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub api_version: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub resource_version: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub subresource: Cow<'a, str>,
}

/// The outcome; `code` is the HTTP status, 101 for an upgraded stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ResponseStatus<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub status: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
}

/// How much of a request an event records.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Level {
    /// Nothing; never found in a log.
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

/// The moment of a request an event was written at.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Stage {
    #[default]
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Level {
    pub const ALL: [Level; 4] =
        [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];

    /// The level of exactly this name.
    pub fn parse(text: &str) -> Option<Level> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

impl Stage {
    pub const ALL: [Stage; 4] =
        [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];

    /// The stage of exactly this name.
    pub fn parse(text: &str) -> Option<Stage> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<'a> Event<'a> {
    /// Parses an event. A field of another type than the API server gives it (a code as text, one
    /// address in place of a list, half of a surrogate pair) does not take the others along: it is
    /// converted, or absent.
    ///
    /// # Errors
    /// If it is not a JSON object.
    pub fn parse(line: &'a [u8]) -> Result<Event<'a>, serde_json::Error> {
        serde_json::from_slice(line).or_else(|_| Ok(lenient::event(&serde_json::from_slice(line)?)))
    }
}

impl Event<'_> {
    /// Whether this is the one event that stands for its request in a count.
    ///
    /// A request ends with `ResponseComplete` or `Panic`. A failed authentication leaves one
    /// event only: `ResponseStarted`, code 401, no user.
    pub fn ends_request(&self) -> bool {
        match self.stage {
            Stage::ResponseComplete | Stage::Panic => true,
            Stage::RequestReceived => false,
            Stage::ResponseStarted => {
                self.user.username.is_empty()
                    && self.response_status.as_ref().is_some_and(|it| it.code == Some(401))
            }
        }
    }

    /// Whether nothing that the request asked for was stored.
    pub fn is_dry_run(&self) -> bool {
        let object = self.object_ref.as_ref();
        let body = self.request_object.map(|it| Json::new(it.get().as_bytes()));
        let asks = |it: Option<Json<'_>>| it.is_some_and(|it| !it.elements().is_empty());
        let options = |body: Json<'_>| {
            let eviction = body.field("deleteOptions").and_then(|it| it.field("dryRun"));
            asks(body.field("dryRun")) || asks(eviction)
        };
        // Bodies are long, and only these requests have the options in them.
        let has_options = matches!(&*self.verb, "delete" | "deletecollection" | "create");
        dry_run::DryRun {
            verb: &self.verb,
            resource: object.map_or("", |it| &it.resource),
            subresource: object.map_or("", |it| &it.subresource),
            request_uri: &self.request_uri,
            options: body.filter(|_| has_options).map(options),
            label: self.annotations.get(dry_run::LABEL).map_or("", |it| it),
        }
        .is_dry_run()
    }

    /// The identity that authorization and admission looked at: the impersonated one, if any.
    pub fn effective_user(&self) -> &User<'_> {
        self.impersonated_user.as_ref().unwrap_or(&self.user)
    }

    /// As authenticated: the audit policy is evaluated before impersonation.
    pub fn as_authenticated(&self) -> Attributes<'_> {
        Attributes::of_request(&self.user, &self.verb, &self.request_uri)
    }

    /// Returns the impersonation that the API server refused, if that is why the request failed.
    pub fn refused_impersonation(&self) -> Option<RefusedImpersonation> {
        let status = self.response_status.as_ref().filter(|status| status.code == Some(403))?;
        let is_judged = self.impersonated_user.is_some()
            || self.annotations.contains_key("authorization.k8s.io/decision");
        if is_judged { None } else { RefusedImpersonation::parse(&status.message) }
    }

    /// As authorized: RBAC decides about the impersonated user.
    pub fn as_authorized(&self) -> Attributes<'_> {
        Attributes::of_request(self.effective_user(), &self.verb, &self.request_uri)
    }
}

/// Text that is borrowed if it can be, and empty for `null`.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(""))
            }
        }
        deserializer.deserialize_any(Visitor).map(Text)
    }
}

/// How a field's JSON value becomes its Rust value; `null` is the same as absent.
trait ReadField<'de>: Sized {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error>;
}

impl<'de: 'a, 'a> ReadField<'de> for Cow<'a, str> {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        map.next_value::<Text<'a>>().map(|it| it.0)
    }
}

impl<'de: 'a, 'a> ReadField<'de> for Vec<Cow<'a, str>> {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let texts = map.next_value::<Option<Vec<Text<'a>>>>()?;
        Ok(texts.unwrap_or_default().into_iter().map(|it| it.0).collect())
    }
}

// Collected into a map backwards, the first of a repeated name counts.
impl<'de: 'a, 'a> ReadField<'de> for BTreeMap<Cow<'a, str>, Cow<'a, str>> {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let object = map.next_value::<Option<Object<'a, Text<'a>>>>()?.unwrap_or_default();
        Ok(object.into_iter().rev().map(|(name, value)| (name, value.0)).collect())
    }
}

impl<'de: 'a, 'a> ReadField<'de> for BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>> {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let object = map.next_value::<Option<Object<'a, Option<Vec<Text<'a>>>>>>()?;
        let texts = |value: Option<Vec<Text<'a>>>| {
            value.unwrap_or_default().into_iter().map(|text| text.0).collect()
        };
        Ok(object
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name, texts(value)))
            .collect())
    }
}

macro_rules! plain_fields {
    ($($of:ty),*) => {$(
        impl<'de: 'a, 'a> ReadField<'de> for $of {
            fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> { map.next_value() }
        }
    )*};
}
plain_fields!(
    Level,
    Stage,
    Option<Timestamp>,
    Option<i64>,
    Option<User<'a>>,
    Option<ObjectRef<'a>>,
    Option<ResponseStatus<'a>>
);

impl<'de: 'a, 'a> ReadField<'de> for User<'a> {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        map.next_value::<Option<User<'a>>>().map(Option::unwrap_or_default)
    }
}

impl<'de: 'a, 'a> ReadField<'de> for Option<&'a RawValue> {
    fn read<A: de::MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let raw = map.next_value::<&'a RawValue>()?;
        Ok((raw.get() != "null").then_some(raw))
    }
}

/// `Deserialize` for a struct whose fields are [`ReadField`]: unknown keys are passed over, and of a repeated key
/// the first counts, or the last for those named after `last`.
macro_rules! deserialize {
    ($name:ident { $($key:literal => $field:ident),* $(,)? } last { $($last_key:literal => $last:ident),* $(,)? }) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> de::Visitor<'de> for Visitor {
                    type Value = $name<'de>;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ")"))
                    }
                    #[allow(unused_mut)]
                    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut value = $name::default();
                        $(let mut $field = false;)*
                        while let Some(key) = map.next_key::<Text<'de>>()? {
                            match &*key.0 {
                                $($key if !std::mem::replace(&mut $field, true) => value.$field = ReadField::read(&mut map)?,)*
                                $($last_key => value.$last = ReadField::read(&mut map)?,)*
                                _ => { map.next_value::<de::IgnoredAny>()?; }
                            }
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_map(Visitor)
            }
        }
    };
}

deserialize!(Event {
    "level" => level, "auditID" => audit_id, "stage" => stage, "requestURI" => request_uri, "verb" => verb,
    "user" => user, "impersonatedUser" => impersonated_user, "sourceIPs" => source_ips, "userAgent" => user_agent,
    "objectRef" => object_ref, "responseStatus" => response_status,
    "requestObject" => request_object, "responseObject" => response_object,
} last {
    "requestReceivedTimestamp" => request_received_timestamp, "stageTimestamp" => stage_timestamp,
    "annotations" => annotations,
});
deserialize!(User { "username" => username, "uid" => uid, "groups" => groups, "extra" => extra } last {});
deserialize!(ObjectRef {
    "resource" => resource, "namespace" => namespace, "name" => name, "uid" => uid, "apiGroup" => api_group,
    "apiVersion" => api_version, "resourceVersion" => resource_version, "subresource" => subresource,
} last {});
deserialize!(ResponseStatus { "status" => status, "message" => message, "reason" => reason, "code" => code } last {});

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn ends(text: &str, expected: bool) {
        let event: Event<'_> = serde_json::from_str(text).expect(text);
        assert_eq!(event.ends_request(), expected, "{text}");
    }

    #[test]
    fn complete() {
        ends(r#"{"stage":"ResponseComplete"}"#, true);
    }
    #[test]
    fn panic() {
        ends(r#"{"stage":"Panic"}"#, true);
    }
    #[test]
    fn open_watch() {
        ends(
            r#"{"stage":"ResponseStarted","user":{"username":"a"},"responseStatus":{"code":200}}"#,
            false,
        );
    }
    #[test]
    fn failed_authentication() {
        ends(r#"{"stage":"ResponseStarted","user":{},"responseStatus":{"code":401}}"#, true);
    }
    #[test]
    fn refused_watch() {
        ends(
            r#"{"stage":"ResponseStarted","user":{"username":"a"},"responseStatus":{"code":401}}"#,
            false,
        );
    }

    #[test]
    fn null_is_absent() {
        let event: Event<'_> = serde_json::from_str(
            r#"{"stage":"Panic","user":null,"impersonatedUser":null,"sourceIPs":null,"objectRef":null,"requestObject":null,"annotations":null,"userAgent":null}"#,
        )
        .expect("nulls are fine");
        assert!(
            event.object_ref.is_none()
                && event.request_object.is_none()
                && event.impersonated_user.is_none()
        );
    }

    #[test]
    fn first_of_a_repeated_key_last_of_a_timestamp() {
        let event: Event<'_> = serde_json::from_str(
            r#"{"verb":"get","verb":"list","stageTimestamp":"2026-01-01T00:00:00Z","stageTimestamp":"2026-01-02T00:00:00Z"}"#,
        )
        .expect("repeats are fine");
        assert_eq!(event.verb, "get");
        assert_eq!(event.stage_timestamp, Timestamp::parse(b"2026-01-02T00:00:00Z"));
    }
}
