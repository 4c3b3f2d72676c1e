//! Finds the events in a JSON value or a text, whatever is wrapped around them.

use std::{borrow::Cow, io::Read};

use base64::Engine;

use super::{INFERRED, Item, columns, gke, legacy, salvage, text};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind, Timestamp},
};

/// How deep wrappers are followed into each other.
pub(super) const MAX_DEPTH: usize = 12;
/// What packed data inside a wrapper may unpack to.
const MAX_UNPACKED: u64 = 64 << 20;

/// Fields that hold many pieces: lists, or objects with lists in them.
pub(super) const CONTAINERS: [&str; 13] = [
    "items",
    "records",
    "events",
    "logEvents",
    "results",
    "hits",
    "data",
    "result",
    "values",
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "streams",
];

/// Fields that hold one event, as an object or as text, in the order they are tried.
const PAYLOADS: [&str; 19] = [
    "log",
    "message",
    "@message",
    "MESSAGE",
    "msg",
    "log_s",
    "_source",
    "fields",
    "audit",
    "kubernetes",
    "body",
    "stringValue",
    "line",
    "event",
    "properties",
    "jsonPayload",
    "textPayload",
    "content",
    "value",
];

/// Fields that hold a line of a log.
pub(super) const LINES: [&str; 5] = ["log", "message", "@message", "MESSAGE", "line"];

/// What a wrapper tells about what is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    pub depth: usize,
    pub host: Option<String>,
    pub time: Option<Timestamp>,
    /// Nothing in here is worth a word.
    pub is_silent: bool,
}

/// Whether there was something to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Found,
    /// Nothing to find, and nothing to tell: a control message, a list of no events.
    Silent,
    Nothing,
}

impl Outcome {
    fn or(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Found, _) | (_, Outcome::Found) => Outcome::Found,
            (Outcome::Silent, _) | (_, Outcome::Silent) => Outcome::Silent,
            _ => Outcome::Nothing,
        }
    }
}

/// Looks into pieces that began on one line.
pub(super) struct Finder<'e> {
    pub line: u64,
    emit: &'e mut dyn FnMut(Item<'_>),
}

impl<'e> Finder<'e> {
    pub(super) fn new(line: u64, emit: &'e mut dyn FnMut(Item<'_>)) -> Finder<'e> {
        Finder { line, emit }
    }

    pub(super) fn skip(&mut self, reason: impl Into<String>) {
        (self.emit)(Item::Skipped { line: self.line, reason: reason.into() });
    }

    fn event(&mut self, json: &str, is_truncated: bool, context: &Context) -> Outcome {
        let host = context.host.as_deref();
        (self.emit)(Item::Event { json: json.as_bytes(), line: self.line, is_truncated, host });
        Outcome::Found
    }

    /// A text: JSON, perhaps cut, perhaps behind a prefix; or the legacy format.
    pub(super) fn text(&mut self, text: &str, context: &Context) -> Outcome {
        // A server that went down leaves NUL bytes in its log, and so does `copytruncate`.
        let text = text.trim_matches(|it: char| it.is_whitespace() || it == '\0');
        if text.is_empty() || context.depth > MAX_DEPTH {
            return Outcome::Nothing;
        }
        if text.starts_with(['{', '[']) {
            return self.json_text(text, context);
        }
        if text.starts_with('"') {
            return match serde_json::from_str::<&serde_json::value::RawValue>(text) {
                Ok(raw) => self.value(Json::new(raw.get().as_bytes()), context),
                Err(_) => Outcome::Nothing,
            };
        }
        if let Some(event) = legacy::event(text) {
            return self.event(&event, false, context);
        }
        match text::prefix(text) {
            Some(prefix) => {
                let context = Context {
                    depth: context.depth + 1,
                    host: prefix.host.map(str::to_owned).or_else(|| context.host.clone()),
                    time: prefix.time.or(context.time),
                    is_silent: context.is_silent,
                };
                self.text(prefix.rest, &context)
            }
            None => Outcome::Nothing,
        }
    }

    fn json_text(&mut self, text: &str, context: &Context) -> Outcome {
        let mark = text.trim_end_matches("[Truncated...]");
        if mark.len() == text.len()
            && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
        {
            return self.value(Json::new(text.as_bytes()), context);
        }
        match salvage::event(mark, context.time) {
            Some(event) => self.event(&event, true, context),
            None => Outcome::Nothing,
        }
    }

    /// A whole JSON value.
    pub(super) fn value(&mut self, json: Json<'_>, context: &Context) -> Outcome {
        if context.depth > MAX_DEPTH {
            return Outcome::Nothing;
        }
        match json.kind() {
            Kind::Object => self.object(json, context),
            Kind::List if is_timed_line(json) => {
                let line = json.elements();
                let time = time(&line[0].text()).or(context.time);
                self.value(line[1], &Context { depth: context.depth + 1, time, ..context.clone() })
            }
            Kind::List => {
                let context = Context { depth: context.depth + 1, ..context.clone() };
                let outcomes = json.elements().into_iter().map(|it| self.value(it, &context));
                outcomes.fold(Outcome::Silent, Outcome::or)
            }
            Kind::Text => {
                let context = Context { depth: context.depth + 1, ..context.clone() };
                self.text(&json.text(), &context)
            }
            _ => Outcome::Nothing,
        }
    }

    fn object(&mut self, json: Json<'_>, context: &Context) -> Outcome {
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(json.bytes()) else {
            return Outcome::Nothing;
        };
        if is_event(&fields) {
            let event = normalized(&fields).map_or_else(|| on_a_line(json.raw()), Cow::Owned);
            let context = &inner(&fields, context);
            return self.event(&event, false, context);
        }
        let context = &inner(&fields, context);
        if let Some(event) =
            gke::event(json, &fields).or_else(|| columns::event(&fields, context.time))
        {
            return self.event(&event, false, context);
        }
        if is_control_message(&fields) {
            return Outcome::Silent;
        }
        // A row of a query: one of its columns is the message.
        if let (Some(name), Some(value)) = (fields.get("field"), fields.get("value")) {
            return if name.text() == "@message" {
                self.value(value, context)
            } else {
                Outcome::Silent
            };
        }
        if let Some(data) = fields.get("awslogs").and_then(|it| it.field("data")) {
            return self.packed(&data.text(), context);
        }
        if let Some(list) = fields.get("kvlistValue") {
            let json = columns::key_values(list).to_string();
            return self.value(Json::new(json.as_bytes()), context);
        }
        self.payload_text(&fields, context)
            .or_else(|| self.containers(&fields, context))
            .or_else(|| self.payload(&fields, context))
            .unwrap_or(Outcome::Nothing)
    }

    /// A line in one of the usual fields goes before lists beside it, which are the collector's.
    fn payload_text(&mut self, fields: &Fields<'_>, context: &Context) -> Option<Outcome> {
        LINES.iter().find_map(|name| {
            let value = fields.get(name).filter(|it| it.kind() == Kind::Text)?;
            let outcome = self.value(value, context);
            (outcome != Outcome::Nothing).then_some(outcome)
        })
    }

    fn containers(&mut self, fields: &Fields<'_>, context: &Context) -> Option<Outcome> {
        let is_open = |it: &Json<'_>| matches!(it.kind(), Kind::List | Kind::Object);
        let all = CONTAINERS.iter().filter_map(|name| fields.get(name).filter(is_open));
        let outcomes: Vec<Outcome> = all.map(|it| self.value(it, context)).collect();
        outcomes.into_iter().filter(|it| *it != Outcome::Nothing).reduce(Outcome::or)
    }

    fn payload(&mut self, fields: &Fields<'_>, context: &Context) -> Option<Outcome> {
        PAYLOADS.iter().find_map(|name| {
            let value = fields.get(name)?;
            let outcome = match bytes_of(value) {
                Some(text) => self.text(&text, context),
                None => self.value(value, context),
            };
            (outcome != Outcome::Nothing).then_some(outcome)
        })
    }

    /// base64 of gzip, as subscriptions hand it to functions.
    fn packed(&mut self, data: &str, context: &Context) -> Outcome {
        let Ok(packed) = base64::engine::general_purpose::STANDARD.decode(data.trim()) else {
            return Outcome::Nothing;
        };
        let mut text = String::new();
        let unpacked = flate2::read::MultiGzDecoder::new(packed.as_slice());
        if unpacked.take(MAX_UNPACKED).read_to_string(&mut text).is_err() {
            return Outcome::Nothing;
        }
        self.text(&text, context)
    }
}

/// What CloudWatch sends to try whether a subscription works.
fn is_control_message(fields: &Fields<'_>) -> bool {
    fields.get("messageType").is_some_and(|it| it.text() == "CONTROL_MESSAGE")
}

/// Why there is no event in an object: often it is a line of another component in the same log group.
pub(super) fn reason(object: &[u8]) -> String {
    let fields = serde_json::from_slice::<Fields<'_>>(object).ok();
    let text = |name| fields.as_ref()?.get(name)?.as_text();
    let names = ["logStreamName", "logStream", "category", "Category"];
    match names.iter().find_map(|it| text(it)).filter(|it| !it.contains("audit")) {
        Some(component) => format!("a line of `{component}`, no audit event"),
        None => "no audit event in this JSON".to_owned(),
    }
}

/// An audit event has these, whichever collector added more.
fn is_event(fields: &Fields<'_>) -> bool {
    let has = |name| fields.get(name).is_some_and(|it| it.kind() == Kind::Text);
    has("stage") && has("auditID") && (has("level") || has("k8s_audit_level"))
}

/// What the wrapper says about host and time.
pub(super) fn inner(fields: &Fields<'_>, context: &Context) -> Context {
    Context {
        depth: context.depth + 1,
        host: host(fields).or_else(|| context.host.clone()),
        time: time_of(fields).or(context.time),
        is_silent: context.is_silent || is_control_message(fields),
    }
}

/// Fields that name the server, or hold an object that does.
const HOSTS: [&str; 11] = [
    "hostname",
    "host",
    "_HOSTNAME",
    "logStreamName",
    "logStream",
    "PodName",
    "pod_s",
    "properties",
    "stream",
    "labels",
    "resource",
];

fn host(fields: &Fields<'_>) -> Option<String> {
    HOSTS.iter().find_map(|name| {
        let value = fields.get(name)?;
        let host = match value.kind() {
            // Of a container runtime: a file descriptor.
            Kind::Text if *name == "stream" => None,
            Kind::Text => value.as_text(),
            Kind::Object if *name == "resource" => attribute(value, "host.name")
                .or_else(|| value.field("labels")?.field("cluster_name")?.as_text()),
            Kind::Object => ["name", "host", "hostname", "node_name", "node", "pod", "instance"]
                .iter()
                .find_map(|it| value.field(it)?.as_text()),
            _ => None,
        };
        host.filter(|it| !it.is_empty()).map(Cow::into_owned)
    })
}

/// An attribute of a resource of OpenTelemetry.
fn attribute<'a>(resource: Json<'a>, name: &str) -> Option<Cow<'a, str>> {
    let all = resource.field("attributes")?.elements();
    let found = all.into_iter().find(|it| it.field("key").is_some_and(|it| it.text() == name))?;
    found.field("value")?.field("stringValue")?.as_text()
}

/// When a wrapper says that its line was written.
pub(super) fn time_of(fields: &Fields<'_>) -> Option<Timestamp> {
    let names = [
        "time",
        "timestamp",
        "@timestamp",
        "TimeGenerated",
        "__REALTIME_TIMESTAMP",
        "timeUnixNano",
        "date",
    ];
    names.iter().find_map(|name| time(&fields.get(name)?.text()))
}

/// Loki's: a time in nanoseconds, and a line.
fn is_timed_line(list: Json<'_>) -> bool {
    list.bytes()
        .get(1..16)
        .is_some_and(|it| it.first() == Some(&b'"') && it[1..].iter().all(u8::is_ascii_digit))
        && list.elements().len() > 1
}

/// RFC 3339, `2026-11-22 10:11:12.000`, or a number of seconds to nanoseconds since the epoch.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    if let Some(time) = Timestamp::parse(text.as_bytes()) {
        return Some(time);
    }
    if let Ok(number) = text.parse::<f64>() {
        let micros = match number {
            _ if !(1e8..1e20).contains(&number) => return None,
            _ if number < 1e11 => number * 1e6,
            _ if number < 1e14 => number * 1e3,
            _ if number < 1e17 => number,
            _ => number / 1e3,
        };
        return Some(Timestamp(micros as i64));
    }
    let (date, time) = text.split_once(' ')?;
    Timestamp::parse(format!("{date}T{time}Z").as_bytes())
}

/// A message that is no UTF-8 comes from journald as a list of bytes.
fn bytes_of(json: Json<'_>) -> Option<String> {
    if json.kind() != Kind::List {
        return None;
    }
    let bytes: Vec<u8> = serde_json::from_slice(json.bytes()).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The same JSON on one line: without blanks, if it has newlines.
pub(super) fn on_a_line(json: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_none() {
        return Cow::Borrowed(json);
    }
    let mut line = String::with_capacity(json.len());
    let mut in_string = false;
    let mut is_escaped = false;
    for c in json.chars() {
        if in_string || !c.is_ascii_whitespace() {
            line.push(c);
        }
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    Cow::Owned(line)
}

/// The event with what a collector changed put back, or `None` if it is as it was.
///
/// ViaQ keeps the level in `k8s_audit_level`; v1beta1 and v1alpha1 could have `timestamp` for the
/// time of the stage.
fn normalized(fields: &Fields<'_>) -> Option<String> {
    let true_level = fields.get("k8s_audit_level");
    let has_time = fields.get("stageTimestamp").is_some();
    let old = || fields.get("metadata")?.field("creationTimestamp");
    let time = fields.get("timestamp").or_else(old);
    let time = time.filter(|it| !has_time && it.kind() == Kind::Text);
    if true_level.is_none() && time.is_none() {
        return None;
    }
    let mut written = String::from("{");
    let mut has_level = false;
    for (name, value) in fields.all() {
        let value = match name {
            "level" => {
                has_level = true;
                true_level.unwrap_or(value)
            }
            _ => value,
        };
        push(&mut written, name, &on_a_line(value.raw()));
    }
    if let Some(level) = true_level.filter(|_| !has_level) {
        push(&mut written, "level", &level.compact());
    }
    if let Some(time) = time {
        push(&mut written, "stageTimestamp", &time.compact());
    }
    Some(written + "}")
}

/// Adds a field to an object that is being written.
pub(super) fn push(object: &mut String, name: &str, value: &str) {
    if object.len() > 1 {
        object.push(',');
    }
    *object += &serde_json::Value::from(name).to_string();
    object.push(':');
    *object += value;
}

/// Marks an event as put together: `fields` were not recorded as such.
pub(super) fn mark_inferred(event: &mut serde_json::Value, fields: &[&str]) {
    event["annotations"][INFERRED] = fields.join(",").into();
}
