//! An event as a policy would have had it written: dropped, at a lower level, without bodies.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/audit/request.go`.

use std::borrow::Cow;

use memchr::{memmem, memrchr};
use serde_json::value::RawValue;

use super::AuditConfig;
use crate::{
    decode::{bodies, fields},
    event::{Level, Stage},
};

/// The line of an event under `config`: as it is where nothing changes, `None` if it is not written.
/// A body that was not recorded stays missing.
///
/// # Errors
/// If the line is no object with fields: what it holds cannot be taken out, so nothing may be shown of
/// it. Values that stay are not looked into.
pub fn apply<'l>(
    line: &'l [u8],
    level: Level,
    stage: Stage,
    is_patch: impl Fn() -> bool,
    config: &AuditConfig,
) -> Result<Option<Cow<'l, [u8]>>, serde_json::Error> {
    if !config.logs(stage) {
        return Ok(None);
    }
    let is_lowered = config.level < level;
    // Without a body there are none.
    let has_managed = config.omit_managed_fields
        && level > Level::Metadata
        && memmem::find(line, b"\"managedFields\"").is_some();
    if !is_lowered && !has_managed {
        return Ok(Some(Cow::Borrowed(line)));
    }
    let least = level.min(config.level);
    if least < Level::Request
        && let Some(cut) = without_bodies(line, level, least)
    {
        return Ok(Some(Cow::Owned(cut)));
    }
    let level = format!("\"{}\"", least.as_str());
    let kept = fields(line)?.into_iter().filter_map(|(key, value)| {
        let value = value.bytes();
        let value = match &*key {
            "level" => Cow::Borrowed(level.as_bytes()),
            "requestObject" if least < Level::Request => return None,
            "responseObject" if least < Level::RequestResponse => return None,
            "annotations" if least < Level::Request => without_patches(value),
            // A patch is recorded as sent.
            "requestObject" if is_patch() => Cow::Borrowed(value),
            "requestObject" | "responseObject" if has_managed => without_managed(value),
            _ => Cow::Borrowed(value),
        };
        Some((key, value))
    });
    Ok(Some(Cow::Owned(object(kept))))
}

/// The line of an event as the API server writes it, cut. `None` if it has to be taken apart.
fn without_bodies(line: &[u8], level: Level, least: Level) -> Option<Vec<u8>> {
    let bodies = bodies(line)?;
    let (head, tail) = (&line[..bodies.start], &line[bodies.end..]);
    if memmem::find(tail, b"patch.webhook").is_some() {
        return None;
    }
    let written = format!("\"level\":\"{}\"", level.as_str());
    // Not deeper: only the outermost brace is before it.
    let at = memmem::find(head, written.as_bytes())?;
    if memrchr(b'{', &head[..at]) != Some(0) {
        return None;
    }
    let mut cut = Vec::with_capacity(head.len() + tail.len());
    cut.extend_from_slice(&head[..at]);
    cut.extend_from_slice(format!("\"level\":\"{}\"", least.as_str()).as_bytes());
    cut.extend_from_slice(&head[at + written.len()..]);
    cut.extend_from_slice(tail);
    Some(cut)
}

/// Annotations without the patches of mutating webhooks: the only ones that need level Request.
///
/// Source: `pkg/admission/plugin/webhook/mutating/dispatcher.go`.
fn without_patches(raw: &[u8]) -> Cow<'_, [u8]> {
    const PATCH: &str = "patch.webhook.admission.k8s.io/";
    if memmem::find(raw, b"patch.webhook").is_none() {
        return Cow::Borrowed(raw);
    }
    without(raw, |key| key.starts_with(PATCH))
}

fn object<'a>(fields: impl Iterator<Item = (Cow<'a, str>, Cow<'a, [u8]>)>) -> Vec<u8> {
    // As long as most lines without bodies.
    let mut text = Vec::with_capacity(2 << 10);
    text.push(b'{');
    for (key, value) in fields {
        if text.len() > 1 {
            text.push(b',');
        }
        if key.bytes().all(|it| it.is_ascii_alphanumeric()) {
            text.push(b'"');
            text.extend_from_slice(key.as_bytes());
            text.extend_from_slice(b"\":");
        } else {
            text.extend_from_slice(serde_json::Value::from(key).to_string().as_bytes());
            text.push(b':');
        }
        text.extend_from_slice(&value);
    }
    text.push(b'}');
    text
}

/// An object, the items of a list, or the objects of a table's rows, without `metadata.managedFields`.
/// No deeper: the server does not look into lists of lists. A list with an item that is no object
/// stays whole, as the server then gives up.
fn without_managed(raw: &[u8]) -> Cow<'_, [u8]> {
    let Ok(all) = fields(raw) else { return Cow::Borrowed(raw) };
    let find = |name: &str| {
        all.iter().find(|(key, _)| key == name).map_or(&b""[..], |(_, value)| value.bytes())
    };
    let is_table =
        find("kind") == b"\"Table\"" && find("apiVersion").starts_with(b"\"meta.k8s.io/");
    let items = find("items");
    let items = if items.starts_with(b"[") {
        match each(items, object_without_managed) {
            Some(items) => items,
            None => return Cow::Borrowed(raw),
        }
    } else {
        Cow::Borrowed(items)
    };
    Cow::Owned(object(all.into_iter().map(|(key, value)| {
        let value = value.bytes();
        let value = match &*key {
            "metadata" => without(value, |key| key == "managedFields"),
            "items" => items.clone(),
            "rows" if is_table => each(value, row_without_managed).unwrap_or(Cow::Borrowed(value)),
            _ => Cow::Borrowed(value),
        };
        (key, value)
    })))
}

fn object_without_managed(raw: &[u8]) -> Cow<'_, [u8]> {
    in_field(raw, "metadata", |it| without(it, |key| key == "managedFields"))
}

fn row_without_managed(raw: &[u8]) -> Cow<'_, [u8]> {
    in_field(raw, "object", object_without_managed)
}

/// The object with the value of one field changed.
fn in_field<'a>(raw: &'a [u8], name: &str, change: fn(&[u8]) -> Cow<'_, [u8]>) -> Cow<'a, [u8]> {
    let Ok(fields) = fields(raw) else { return Cow::Borrowed(raw) };
    Cow::Owned(object(fields.into_iter().map(|(key, value)| {
        let value = value.bytes();
        let value = if key == name { change(value) } else { Cow::Borrowed(value) };
        (key, value)
    })))
}

/// The object without some fields.
fn without(raw: &[u8], is_out: impl Fn(&str) -> bool) -> Cow<'_, [u8]> {
    let Ok(fields) = fields(raw) else { return Cow::Borrowed(raw) };
    let kept = fields.into_iter().filter(|(key, _)| !is_out(key));
    Cow::Owned(object(kept.map(|(key, value)| (key, Cow::Borrowed(value.bytes())))))
}

/// The list with each object changed; `None` if it holds anything else.
fn each(raw: &[u8], change: fn(&[u8]) -> Cow<'_, [u8]>) -> Option<Cow<'_, [u8]>> {
    let items: Vec<&RawValue> = serde_json::from_slice(raw).ok()?;
    if items.iter().any(|it| !it.get().starts_with('{')) {
        return None;
    }
    let mut text = vec![b'['];
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&change(item.get().as_bytes()));
    }
    text.push(b']');
    Some(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Stages;

    #[track_caller]
    fn check(to: Level, omit_managed_fields: bool, verb: &str, line: &str, expected: Option<&str>) {
        let omit_stages = Stages::default().with(Stage::RequestReceived);
        let config = AuditConfig { level: to, rule: Some(0), omit_stages, omit_managed_fields };
        let event: crate::event::Event<'_> = serde_json::from_str(line).unwrap();
        let done =
            apply(line.as_bytes(), event.level, event.stage, || verb == "patch", &config).unwrap();
        assert_eq!(done.as_deref().map(String::from_utf8_lossy).as_deref(), expected);
    }

    const FULL: &str = r#"{"level":"RequestResponse","stage":"ResponseComplete","requestObject":{"a":1},"responseObject":{"b":"\u003c"},"x":1.0}"#;

    #[test]
    fn levels() {
        check(Level::RequestResponse, false, "update", FULL, Some(FULL));
        check(Level::None, false, "update", FULL, None);
        check(
            Level::Request,
            false,
            "update",
            FULL,
            Some(
                r#"{"level":"Request","stage":"ResponseComplete","requestObject":{"a":1},"x":1.0}"#,
            ),
        );
        check(
            Level::Metadata,
            false,
            "update",
            FULL,
            Some(r#"{"level":"Metadata","stage":"ResponseComplete","x":1.0}"#),
        );
    }
    #[test]
    fn lines_of_api_servers() {
        let line = |level: &str, bodies: &str, annotations: &str| {
            format!(
                r#"{{"kind":"Event","level":"{level}","stage":"ResponseComplete","verb":"get"{bodies},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.000000Z"{annotations}}}"#
            )
        };
        let bodies = r#","requestObject":{"level":"Request"},"responseObject":{"b":1}"#;
        let patch = r#","annotations":{"patch.webhook.admission.k8s.io/round_0_index_0":"{}"}"#;
        for (annotations, left) in [("", ""), (patch, r#","annotations":{}"#)] {
            let (full, less) =
                (line("RequestResponse", bodies, annotations), line("Metadata", "", left));
            check(Level::Metadata, false, "get", &full, Some(&less));
        }
        let odd = line("Request", bodies, "").replace(r#""Event""#, r#"{"level":"Request"}"#);
        let less = line("Metadata", "", "").replace(r#""Event""#, r#"{"level":"Request"}"#);
        check(Level::Metadata, false, "get", &odd, Some(&less));
    }
    #[test]
    fn nothing_is_invented() {
        let line = r#"{"level":"Metadata","stage":"ResponseComplete"}"#;
        check(Level::RequestResponse, true, "get", line, Some(line));
    }
    #[test]
    fn omitted_stage() {
        check(
            Level::Metadata,
            false,
            "get",
            r#"{"level":"Metadata","stage":"RequestReceived"}"#,
            None,
        );
    }
    #[test]
    fn managed_fields() {
        let line = |managed: &str| {
            format!(
                r#"{{"level":"RequestResponse","stage":"ResponseComplete","requestObject":{{"metadata":{{"managedFields":[1],"name":"a"}}}},"responseObject":{{"kind":"PodList","items":[{{"metadata":{{{managed}"name":"b"}}}}]}}}}"#
            )
        };
        let (with, less) = (line("\"managedFields\":[2],"), line(""));
        check(Level::RequestResponse, true, "patch", &with, Some(&less));
        let none = less.replace("\"managedFields\":[1],", "");
        check(Level::RequestResponse, true, "update", &with, Some(&none));
    }
    #[test]
    fn managed_fields_of_a_table() {
        check(
            Level::RequestResponse,
            true,
            "list",
            r#"{"level":"RequestResponse","stage":"ResponseComplete","responseObject":{"kind":"Table","apiVersion":"meta.k8s.io/v1","rows":[{"cells":["a"],"object":{"metadata":{"managedFields":[]}}}]}}"#,
            Some(
                r#"{"level":"RequestResponse","stage":"ResponseComplete","responseObject":{"kind":"Table","apiVersion":"meta.k8s.io/v1","rows":[{"cells":["a"],"object":{"metadata":{}}}]}}"#,
            ),
        );
    }
    #[test]
    fn patches_of_webhooks_need_level_request() {
        let line = r#"{"level":"RequestResponse","stage":"ResponseComplete","annotations":{"authorization.k8s.io/decision":"allow","mutation.webhook.admission.k8s.io/round_0_index_0":"{}","patch.webhook.admission.k8s.io/round_0_index_0":"{}"}}"#;
        let at = |level: &str| line.replace("\"RequestResponse\"", level);
        check(Level::Request, false, "create", line, Some(&at("\"Request\"")));
        let patch = r#","patch.webhook.admission.k8s.io/round_0_index_0":"{}""#;
        let without = at("\"Metadata\"").replace(patch, "");
        check(Level::Metadata, false, "create", line, Some(&without));
    }
    #[test]
    fn only_the_first_items_of_lists() {
        let keep = |object: &str, expected: &str| {
            assert_eq!(without_managed(object.as_bytes()), expected.as_bytes());
        };
        keep(
            r#"{"kind":"Widgets","items":[{"metadata":{"managedFields":[]}}]}"#,
            r#"{"kind":"Widgets","items":[{"metadata":{}}]}"#,
        );
        let nested = r#"{"kind":"List","items":[{"kind":"List","items":[{"metadata":{"managedFields":[]}}]}]}"#;
        keep(nested, nested);
        let odd = r#"{"metadata":{"managedFields":[]},"items":["a"]}"#;
        keep(odd, odd);
        let deep = format!(
            "{}1{}",
            "[{\"kind\":\"List\",\"items\":".repeat(100_000),
            "}]".repeat(100_000)
        );
        let deep = format!("{{\"kind\":\"List\",\"items\":{deep}}}");
        keep(&deep, &deep);
    }
}
