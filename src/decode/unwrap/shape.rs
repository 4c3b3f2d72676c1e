//! Finds the events in a JSON value or a text, whatever is wrapped around them.

use std::{borrow::Cow, io::Read};

use base64::Engine;

use super::{INFERRED, Item, columns, delimited, flattened, gke, legacy, salvage, text};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind, Timestamp},
};

/// How deep wrappers are followed into each other.
pub(super) const MAX_DEPTH: usize = 32;
/// How many bytes the packed data in one line or document piece may unpack to, all layers together.
const MAX_UNPACKED: u64 = 128 << 20;

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

/// Fields that hold the line as it was logged, in the order in which they are tried. The event may be
/// in other fields too, but there a collector may have changed it.
pub(super) const LINES: [&str; 13] = [
    "log",
    "message",
    "@message",
    "MESSAGE",
    "line",
    "_raw",
    "@rawstring",
    "_msg",
    "_line",
    "full_log",
    "full_message",
    "log_s",
    "original",
];

/// How many times the bytes of a piece may be looked at, with all that is unpacked from it.
const MAX_PASSES: u64 = 64;
/// At most this many objects inside one another are searched for an event.
const MAX_OBJECTS: usize = 4096;
/// A shorter text is not decoded as base64.
const MIN_PACKED: usize = 64;

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

/// Finds the events in pieces of input.
pub(super) struct Finder<'e> {
    /// The line on which the piece began.
    pub line: u64,
    /// How many bytes the packed data of the piece may still unpack to.
    unpacked_left: u64,
    /// How many bytes of the piece may still be looked at: each layer of text is looked at anew.
    work_left: u64,
    /// How many events were found, in all pieces.
    pub n_found: u64,
    emit: &'e mut dyn FnMut(Item<'_>),
}

/// An object inside others, none of which is an event.
struct Node<'a> {
    fields: Fields<'a>,
    context: Context,
}

impl<'e> Finder<'e> {
    pub(super) fn new(line: u64, emit: &'e mut dyn FnMut(Item<'_>)) -> Finder<'e> {
        Finder { line, unpacked_left: 0, work_left: 0, n_found: 0, emit }
    }

    /// Whether a text or value at this depth may be looked at. The outermost begins a piece.
    fn enter(&mut self, len: usize, context: &Context) -> bool {
        if context.depth == 0 {
            self.unpacked_left = MAX_UNPACKED;
            self.work_left = (len as u64 + 1024) * MAX_PASSES;
        }
        let is_allowed = context.depth <= MAX_DEPTH && self.work_left >= len as u64;
        self.work_left = self.work_left.saturating_sub(len as u64);
        is_allowed
    }

    pub(super) fn skip(&mut self, reason: impl Into<String>) {
        (self.emit)(Item::Skipped { line: self.line, reason: reason.into() });
    }

    fn event(&mut self, json: &str, is_truncated: bool, context: &Context) -> Outcome {
        let host = context.host.as_deref();
        self.n_found += 1;
        (self.emit)(Item::Event { json: json.as_bytes(), line: self.line, is_truncated, host });
        Outcome::Found
    }

    /// A text: JSON, perhaps cut, perhaps behind a prefix or packed; or the legacy format.
    pub(super) fn text(&mut self, text: &str, context: &Context) -> Outcome {
        // A server that went down leaves NUL bytes in its log, and so does `copytruncate`.
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '\u{feff}');
        if text.is_empty() || !self.enter(text.len(), context) {
            return Outcome::Nothing;
        }
        if text.starts_with(['{', '[']) {
            return self.json_text(text, context);
        }
        let context = &Context { depth: context.depth + 1, ..context.clone() };
        if is_closing(text) {
            return Outcome::Silent;
        }
        // A list whose lines start with the comma.
        if let Some(rest) = text.strip_prefix(',') {
            return self.text(rest, context);
        }
        if text.starts_with('"')
            && let Some(string) = text::json_string(text)
            && let outcome @ (Outcome::Found | Outcome::Silent) = self.text(&string, context)
        {
            return outcome;
        }
        if let Some(event) = legacy::event(text) {
            return self.event(&event, false, context);
        }
        if text.contains('\n') {
            let outcomes = text.lines().map(|line| self.text(line, context));
            return outcomes.fold(Outcome::Nothing, Outcome::or);
        }
        match self.behind_prefix(text, context) {
            Outcome::Nothing => self.quoted(text, context),
            outcome => outcome,
        }
    }

    /// JSON behind a host, a time, labels and the like.
    fn behind_prefix(&mut self, text: &str, context: &Context) -> Outcome {
        let Some(prefix) = text::prefix(text) else { return Outcome::Nothing };
        let context = Context {
            depth: context.depth + 1,
            host: prefix.host.map(str::to_owned).or_else(|| context.host.clone()),
            time: prefix.time.or(context.time),
            ..context.clone()
        };
        self.text(prefix.rest, &context)
    }

    /// JSON that other text quotes: a field of CSV, a text of `key="{\"kind\":…}"`, base64.
    fn quoted(&mut self, text: &str, context: &Context) -> Outcome {
        if let Some(at) = text.find("\"{\\\"")
            && let Some(string) = text::json_string(&text[at..])
        {
            return self.text(&string, context);
        }
        if text.contains("\"{\"\"") {
            let cells = delimited::cells(text);
            let outcomes = cells.iter().map(|cell| self.text(cell, context));
            return outcomes.fold(Outcome::Nothing, Outcome::or);
        }
        self.packed(text, context)
    }

    /// Text that starts with a brace or a bracket: values one after another, or the start of one.
    fn json_text(&mut self, text: &str, context: &Context) -> Outcome {
        let mark = text.trim_end_matches("[Truncated...]");
        let mut outcome = Outcome::Nothing;
        let mut rest = if mark.len() == text.len() { text } else { "" };
        while rest.starts_with(['{', '[']) {
            let mut values = serde_json::Deserializer::from_str(rest)
                .into_iter::<&serde_json::value::RawValue>();
            let Some(Ok(raw)) = values.next() else { break };
            let end = values.byte_offset();
            outcome = outcome.or(self.value(Json::new(raw.get().as_bytes()), context));
            rest = rest[end..].trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        }
        if outcome != Outcome::Nothing {
            return outcome;
        }
        let context = &Context { depth: context.depth + 1, ..context.clone() };
        if mark.len() == text.len() && rest.len() < text.len() {
            // Whole JSON, and no event in it: `[0] kube.audit: {…}`.
            return if text.starts_with('[') { self.text(rest, context) } else { Outcome::Nothing };
        }
        if let Some(event) = salvage::event(mark, context.time) {
            return self.event(&event, true, context);
        }
        if let Some(json) = text::without_hash_rockets(text) {
            return self.text(&json, context);
        }
        if !text.starts_with("{\"") && !text.starts_with("[{") {
            return self.behind_prefix(text, context);
        }
        // The first line of a list that has an event on each of the next lines.
        match text.strip_prefix('[') {
            Some(rest) => self.text(rest, context),
            None if text.ends_with('[') && text.len() < 4096 => Outcome::Silent,
            None => Outcome::Nothing,
        }
    }

    /// A whole JSON value.
    pub(super) fn value(&mut self, json: Json<'_>, context: &Context) -> Outcome {
        if !self.enter(json.bytes().len(), context) {
            return Outcome::Nothing;
        }
        let deeper = || Context { depth: context.depth + 1, ..context.clone() };
        match json.kind() {
            Kind::Object => self.object(json, context),
            Kind::List => self.list(json, &deeper()),
            Kind::Text => self.text(&json.text(), &deeper()),
            _ => Outcome::Nothing,
        }
    }

    /// A list: of pieces, or itself one piece in another form.
    fn list(&mut self, json: Json<'_>, context: &Context) -> Outcome {
        let elements = json.elements();
        if is_timed_line(&elements) {
            let time = time(&elements[0].text()).or(context.time);
            return self.value(elements[1], &Context { time, ..context.clone() });
        }
        if let Some(row) = columns::pairs(&elements) {
            return self.value(Json::new(row.as_bytes()), context);
        }
        if let Some(text) = bytes_of(json) {
            return self.text(&text, context);
        }
        if elements.is_empty() {
            return Outcome::Silent;
        }
        let outcomes = elements.into_iter().map(|element| self.value(element, context));
        outcomes.fold(Outcome::Nothing, Outcome::or)
    }

    fn object(&mut self, json: Json<'_>, context: &Context) -> Outcome {
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(json.bytes()) else {
            return match text::without_lone_surrogates(json.raw()) {
                Some(text) => self.object(Json::new(text.as_bytes()), context),
                None => Outcome::Nothing,
            };
        };
        let context = &inner(&fields, context);
        if let Some(outcome) = self.known(json, &fields, context) {
            return outcome;
        }
        if let outcome @ Outcome::Found = self.line_of(&fields, context) {
            return outcome;
        }

        let mut nodes = Vec::new();
        let outcome = self.objects_in(&fields, context, &mut nodes);
        if outcome != Outcome::Nothing {
            return outcome;
        }
        if let Some(event) = flattened::event(&fields, context.time) {
            return self.event(&event, false, context);
        }
        nodes.insert(0, Node { fields, context: context.clone() });
        self.texts_and_lists(&nodes)
    }

    /// An object that is an event, or of a shape that is known to be one, or to be none.
    fn known(&mut self, json: Json<'_>, fields: &Fields<'_>, context: &Context) -> Option<Outcome> {
        if is_event(fields) {
            let event = match is_whole(fields) {
                true => normalized(fields, context.time)
                    .map_or_else(|| on_a_line(json.raw()), Cow::Owned),
                false => match flattened::event(fields, context.time) {
                    Some(event) => Cow::Owned(event),
                    None => return Some(Outcome::Nothing),
                },
            };
            return Some(self.event(&event, false, context));
        }
        if let Some(event) =
            gke::event(json, fields).or_else(|| columns::event(fields, context.time))
        {
            return Some(self.event(&event, false, context));
        }
        if is_control_message(fields) {
            return Some(Outcome::Silent);
        }
        let rows = columns::rows(fields)?;
        let context = &Context { depth: context.depth + 1, ..context.clone() };
        let outcomes = rows.iter().map(|row| self.value(Json::new(row.as_bytes()), context));
        Some(outcomes.fold(Outcome::Nothing, Outcome::or))
    }

    /// The line as it was logged, under one of its usual names.
    fn line_of(&mut self, fields: &Fields<'_>, context: &Context) -> Outcome {
        for name in LINES {
            let value = fields.get(name).filter(|value| value.kind() == Kind::Text);
            if value.is_some_and(|value| self.value(value, context) == Outcome::Found) {
                return Outcome::Found;
            }
        }
        Outcome::Nothing
    }

    /// Events among the objects inside an object, lists aside. Objects that are none are added to
    /// `nodes`. The same event in two places is one.
    fn objects_in<'a>(
        &mut self,
        fields: &Fields<'a>,
        context: &Context,
        nodes: &mut Vec<Node<'a>>,
    ) -> Outcome {
        let mut outcome = Outcome::Nothing;
        let mut found = Vec::new();
        let objects = |fields: &Fields<'a>, context: &Context| {
            let is_object = |json: &Json<'a>| json.kind() == Kind::Object;
            let all = fields.all().map(|(_, json)| json).filter(is_object);
            all.map(|json| (json, context.clone())).collect::<Vec<_>>()
        };

        let mut open = std::collections::VecDeque::from(objects(fields, context));
        while let Some((json, context)) = open.pop_front() {
            if nodes.len() >= MAX_OBJECTS || context.depth >= MAX_DEPTH {
                break;
            }
            let Ok(fields) = serde_json::from_slice::<Fields<'a>>(json.bytes()) else { continue };
            let identity = is_event(&fields).then(|| {
                ["auditID", "stage"]
                    .map(|name| fields.get(name).map(|json| json.text().into_owned()))
            });
            if identity.as_ref().is_some_and(|identity| found.contains(identity)) {
                continue;
            }
            let context = inner(&fields, &context);
            match self.known(json, &fields, &context) {
                Some(known) => {
                    outcome = outcome.or(known);
                    found.extend(identity);
                }
                None => {
                    open.extend(objects(&fields, &context));
                    nodes.push(Node { fields, context });
                }
            }
        }
        outcome
    }

    /// Events in texts and lists, whatever they are called. The largest is tried first: what a client
    /// may have chosen, such as its user agent, is shorter than the event that it is in.
    fn texts_and_lists(&mut self, nodes: &[Node<'_>]) -> Outcome {
        let mut candidates = Vec::new();
        let mut outcome = Outcome::Nothing;
        for node in nodes {
            for (name, value) in node.fields.all() {
                match value.kind() {
                    Kind::Text if may_hold_event(value) => candidates.push((value, &node.context)),
                    Kind::List if value.bytes().len() > 2 => {
                        candidates.push((only_text(value).unwrap_or(value), &node.context));
                    }
                    // A list of no events.
                    Kind::List if CONTAINERS.contains(&name) => outcome = Outcome::Silent,
                    _ => {}
                }
            }
        }

        candidates.sort_by_key(|(value, _)| std::cmp::Reverse(value.bytes().len()));
        for (value, context) in candidates {
            let is_text = value.kind() == Kind::Text;
            if is_text && outcome == Outcome::Found {
                continue;
            }
            let context = Context { depth: context.depth + 1, ..context.clone() };
            let found = self.value(value, &context);
            outcome = outcome.or(found);
            if is_text && found == Outcome::Found {
                break;
            }
        }
        outcome
    }

    /// base64, also of gzip or zstd, as subscriptions and queues hand it on.
    fn packed(&mut self, text: &str, context: &Context) -> Outcome {
        let Some(bytes) = decode_base64(text) else { return Outcome::Nothing };
        let limit = self.unpacked_left;
        let unpacked = if bytes.starts_with(b"\x1f\x8b") {
            read_limited(flate2::read::MultiGzDecoder::new(bytes.as_slice()), limit)
        } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
            zstd::stream::read::Decoder::with_buffer(bytes.as_slice())
                .ok()
                .and_then(|decoder| read_limited(decoder, limit))
        } else {
            String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= limit)
        };
        let Some(text) = unpacked else { return Outcome::Nothing };
        self.unpacked_left -= text.len() as u64;
        self.work_left += text.len() as u64 * MAX_PASSES;
        self.text(&text, &Context { depth: context.depth + 1, ..context.clone() })
    }
}

/// Reads a text of at most `limit` bytes.
fn read_limited(input: impl Read, limit: u64) -> Option<String> {
    let mut text = String::new();
    input.take(limit + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= limit).then_some(text)
}

/// Decodes base64 of either alphabet, with or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const ENGINES: [GeneralPurpose; 2] = [
        GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG),
        GeneralPurpose::new(&base64::alphabet::URL_SAFE, CONFIG),
    ];
    if text.len() < MIN_PACKED || !text.bytes().all(is_base64) {
        return None;
    }
    ENGINES.iter().find_map(|engine| engine.decode(text).ok())
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte)
}

/// Whether a text is long enough for an event, or to hold one.
fn may_hold_event(text: Json<'_>) -> bool {
    let bytes = text.bytes();
    bytes.len() >= MIN_PACKED
        && (memchr::memchr(b'{', bytes).is_some()
            || bytes[1..MIN_PACKED - 1].iter().all(|byte| is_base64(*byte))
            || memchr::memmem::find(bytes, b" AUDIT: id=").is_some()
            || memchr::memmem::find(bytes, b"\\u007b").is_some())
}

/// The only element of a list, if that is a text.
fn only_text(list: Json<'_>) -> Option<Json<'_>> {
    match list.elements().as_slice() {
        [text] if text.kind() == Kind::Text => Some(*text),
        _ => None,
    }
}

/// Whether a line only closes what earlier lines opened.
fn is_closing(text: &str) -> bool {
    text.len() <= 16 && text.bytes().all(|byte| b"]},; \t".contains(&byte))
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

/// Fields of an event that are objects or lists.
const OPEN_FIELDS: [&str; 6] =
    ["user", "impersonatedUser", "sourceIPs", "objectRef", "responseStatus", "annotations"];

/// Whether an event itself has a field of this name that may hold lists and objects.
pub(super) fn is_event_field(name: &str) -> bool {
    OPEN_FIELDS.contains(&name) || ["requestObject", "responseObject"].contains(&name)
}

/// Whether the fields of an event are of the types that the API server gives them.
fn is_whole(fields: &Fields<'_>) -> bool {
    let kind = |name: &str| fields.get(name).map_or(Kind::Null, Json::kind);
    let is_open = |name: &&str| matches!(kind(name), Kind::Object | Kind::List | Kind::Null);
    kind("user") == Kind::Object
        && (kind("verb") == Kind::Text || kind("requestURI") == Kind::Text)
        && OPEN_FIELDS.iter().all(is_open)
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
        "_time",
        "_timestamp",
        "ts",
        "Time",
        "publishTime",
    ];
    names.iter().find_map(|name| time(&fields.get(name)?.text()))
}

/// Loki's: a time in nanoseconds, and a line.
fn is_timed_line(elements: &[Json<'_>]) -> bool {
    let [first, second, ..] = elements else { return false };
    let digits = first.bytes().strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
    digits.is_some_and(|it| it.len() >= 14 && it.iter().all(u8::is_ascii_digit))
        && second.kind() == Kind::Text
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
    let time = time.strip_suffix(" UTC").unwrap_or(time);
    Timestamp::parse(format!("{date}T{time}Z").as_bytes())
        .or_else(|| Timestamp::parse(format!("{date}T{time}").as_bytes()))
        .or_else(|| time_of_console(text))
}

/// Times as the consoles of Azure (`3/1/2026, 10:00:01.005 AM`) and Elastic
/// (`Mar 1, 2026 @ 10:00:01.005`) export them: UTC, as their column says, or so taken.
fn time_of_console(text: &str) -> Option<Timestamp> {
    const FORMATS: [&str; 3] =
        ["%m/%d/%Y, %I:%M:%S%.f %p", "%b %d, %Y @ %H:%M:%S%.f", "%m/%d/%Y %I:%M:%S%.f %p"];
    let parse = |format| jiff::civil::DateTime::strptime(format, text).ok();
    let time = FORMATS.iter().find_map(parse)?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp(time.timestamp().as_microsecond()))
}

/// A message that is no UTF-8 comes from journald as a list of bytes.
fn bytes_of(json: Json<'_>) -> Option<String> {
    let bytes: Vec<u8> = serde_json::from_slice(json.bytes()).ok()?;
    (bytes.len() >= MIN_PACKED).then(|| String::from_utf8_lossy(&bytes).into_owned())
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
/// ViaQ keeps the level in `k8s_audit_level`. v1beta1 and v1alpha1 had `timestamp` or
/// `metadata.creationTimestamp` for the time of the stage, and so have converters' v1 events. If
/// there is no such time, it is that of the request or of the wrapper, and marked as inferred.
fn normalized(fields: &Fields<'_>, wrapper: Option<Timestamp>) -> Option<String> {
    let true_level = fields.get("k8s_audit_level");
    let recorded = fields.get("stageTimestamp").filter(|json| json.kind() != Kind::Null);
    let is_time = |json: &Json<'_>| Timestamp::parse(json.text().as_bytes()).is_some();
    let has_time = recorded.is_some_and(|json| json.kind() == Kind::Text && is_time(&json));
    let new_time = if has_time { None } else { stage_time(fields, wrapper) };
    if true_level.is_none() && new_time.is_none() && (has_time || recorded.is_none()) {
        return None;
    }

    let is_inferred = matches!(new_time, Some((_, true)));
    let mut written = String::from("{");
    let mut has_level = false;
    for (name, value) in fields.all() {
        let value = match name {
            "level" => {
                has_level = true;
                true_level.unwrap_or(value)
            }
            "stageTimestamp" if !has_time => continue,
            "annotations" if is_inferred => continue,
            _ => value,
        };
        push(&mut written, name, &on_a_line(value.raw()));
    }
    if let Some(level) = true_level.filter(|_| !has_level) {
        push(&mut written, "level", &level.compact());
    }
    if let Some((time, _)) = &new_time {
        push(&mut written, "stageTimestamp", time);
    }
    if is_inferred {
        let annotations = fields.get("annotations").map(Json::bytes).unwrap_or_default();
        let annotations = serde_json::from_slice::<Fields<'_>>(annotations).ok();
        let mut marked = String::from("{");
        for (name, value) in annotations.iter().flat_map(Fields::all) {
            if name != INFERRED {
                push(&mut marked, name, &on_a_line(value.raw()));
            }
        }
        push(&mut marked, INFERRED, "\"stageTimestamp\"");
        push(&mut written, "annotations", &(marked + "}"));
    }
    Some(written + "}")
}

/// The time of the stage as JSON, from fields other than a sound `stageTimestamp`, and whether it is
/// inferred: the event has no such time.
fn stage_time(fields: &Fields<'_>, wrapper: Option<Timestamp>) -> Option<(String, bool)> {
    let old = || fields.get("metadata")?.field("creationTimestamp");
    let recorded = fields.get("timestamp").or_else(old).filter(|json| json.kind() == Kind::Text);
    let is_rfc3339 = |json: &Json<'_>| Timestamp::parse(json.text().as_bytes()).is_some();
    if let Some(json) = recorded.filter(is_rfc3339) {
        return Some((json.compact().into_owned(), false));
    }
    let other_form = |json: Json<'_>| time(&json.text());
    let stage = fields.get("stageTimestamp").and_then(other_form);
    if let Some(time) = stage.or_else(|| recorded.and_then(other_form)) {
        return Some((format!("\"{time}\""), false));
    }
    let received = fields.get("requestReceivedTimestamp").and_then(other_form);
    received.or(wrapper).map(|time| (format!("\"{time}\""), true))
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
