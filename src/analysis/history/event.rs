//! What a history needs of an event, owned.

use serde_json::{Value, value::RawValue};

use super::ObjectId;
use crate::event::{Event, Level, Stage, Timestamp, uri};

/// A request about a wanted object.
#[derive(Debug, Clone)]
pub struct Request {
    pub received: Option<Timestamp>,
    pub stage_time: Option<Timestamp>,
    pub audit_id: String,
    pub user: String,
    pub impersonated_user: Option<String>,
    pub verb: String,
    pub subresource: String,
    pub level: Level,
    pub code: Option<i64>,
    /// A panic, or an answer that never came.
    pub is_uncertain: bool,
    pub is_dry_run: bool,
    pub field_manager: Option<String>,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    /// The name is empty where the server made it, and of collections.
    pub object: ObjectId,
    /// As the log has it.
    pub uid: Option<String>,
    pub request: Option<Value>,
    pub response: Option<Value>,
}

impl Request {
    /// Reads a line; `None` if it is no event about an object.
    pub fn parse(line: &[u8]) -> Option<Request> {
        let event: Event<'_> = serde_json::from_slice(line).ok()?;
        let reference = event.object_ref.as_ref()?;
        let (_, query) = uri::split(&event.request_uri);
        let text = |name| uri::parameter(query, name).filter(|it| !it.is_empty());
        let value = |raw: Option<&RawValue>| {
            raw.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok())
        };

        let request = value(event.request_object);
        let options = request.as_ref().filter(|_| event.verb.starts_with("delete"));
        let options_dry = options.and_then(|it| it.get("dryRun")?.as_array());
        let status = event.response_status.as_ref();
        let code = status.and_then(|it| it.code);
        let has_broken_off = status.is_some_and(|it| it.message.contains("closed early"));
        let user = |it: &crate::event::User<'_>| it.username.to_string();
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let in_details = |value: &Value| Some(value.pointer("/details/uid")?.as_str()?.to_owned());
        let response = value(event.response_object);
        let is_cluster_wide = reference.resource == "namespaces";

        Some(Request {
            received: event.request_received_timestamp.or(event.stage_timestamp),
            stage_time: event.stage_timestamp,
            audit_id: event.audit_id.to_string(),
            user: user(&event.user),
            impersonated_user: event.impersonated_user.as_ref().map(user),
            verb: event.verb.to_string(),
            subresource: reference.subresource.to_string(),
            level: event.level,
            code,
            is_uncertain: event.stage == Stage::Panic
                || code.is_none()
                || code == Some(504)
                || has_broken_off,
            is_dry_run: text("dryRun").is_some() || options_dry.is_some_and(|it| !it.is_empty()),
            field_manager: text("fieldManager").map(|it| it.into_owned()),
            label_selector: text("labelSelector").map(|it| it.into_owned()),
            field_selector: text("fieldSelector").map(|it| it.into_owned()),
            object: ObjectId {
                resource: reference.resource.to_string(),
                group: reference.api_group.to_string(),
                namespace: if is_cluster_wide {
                    String::new()
                } else {
                    reference.namespace.to_string()
                },
                name: reference.name.to_string(),
            },
            uid: some(&reference.uid).or_else(|| response.as_ref().and_then(in_details)),
            request,
            response,
        })
    }

    /// Whether the server did what was asked.
    pub fn has_succeeded(&self) -> bool {
        !self.is_uncertain && self.code.is_some_and(|code| (200..400).contains(&code))
    }

    /// Whether a collection without a reply has this name in it: what other fields select is not known.
    pub fn may_select(&self, name: &str) -> bool {
        self.field_selector.as_ref().is_none_or(|selector| {
            let wanted = selector.strip_prefix("metadata.name=");
            wanted.is_some_and(|wanted| wanted.trim_start_matches('=') == name)
        })
    }

    pub fn is_read(&self) -> bool {
        matches!(&*self.verb, "get" | "list" | "watch")
    }

    /// The reply, if it is the object as a whole and not a status, a table or its scale.
    pub fn body(&self) -> Option<&Value> {
        self.response.as_ref().filter(|body| is_object(body))
    }

    /// The entries of a list in the reply, each with its kind; `None` if the reply is not recorded.
    pub fn list(&self) -> Option<Vec<Value>> {
        let list = self.response.as_ref()?;
        let kind = list.get("kind").and_then(Value::as_str)?.strip_suffix("List")?;
        let items = match list.get("items")? {
            Value::Array(items) => items.clone(),
            Value::Null => Vec::new(),
            _ => return None,
        };
        let version = list.get("apiVersion").cloned().unwrap_or_default();
        let with_kind = |mut item: Value| {
            if let Some(map) = item.as_object_mut() {
                map.entry("kind").or_insert_with(|| Value::from(kind));
                map.entry("apiVersion").or_insert_with(|| version.clone());
            }
            item
        };
        let is_metadata_only = kind == "PartialObjectMetadata";
        (!is_metadata_only).then(|| items.into_iter().map(with_kind).collect())
    }
}

/// Whether a value is an object of the API, whole.
pub fn is_object(value: &Value) -> bool {
    const OTHERS: [&str; 9] = [
        "Binding",
        "DeleteOptions",
        "Eviction",
        "PartialObjectMetadata",
        "Scale",
        "Status",
        "Table",
        "TokenRequest",
        "PartialObjectMetadataList",
    ];
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    !OTHERS.contains(&kind) && !name.is_empty()
}
