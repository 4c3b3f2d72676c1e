//! YAML as the API server reads it (YAML 1.1 scalars, first document only, the last of a repeated key
//! counts), with the line of every value.
//!
//! Source: `sigs.k8s.io/yaml` over go-yaml v2, and `apimachinery/pkg/runtime/serializer/json`.

use std::{borrow::Cow, collections::HashMap, rc::Rc};

use granit_parser::{Event, Parser, ScalarStyle};

/// A value and the line it begins on, from 1.
#[derive(Debug, Clone)]
pub struct Node {
    pub line: usize,
    pub value: Value,
    /// How many nodes it is when every alias is written out, and how many of them aliases bring.
    size: u64,
    aliased: u64,
}

/// A value. Collections are shared, so that an alias costs nothing.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Rc<str>),
    Text(Rc<str>),
    List(Rc<Vec<Node>>),
    /// In their order; a repeated key several times.
    Map(Rc<Vec<(Node, Node)>>),
}

/// Why a text is no YAML, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    pub line: usize,
    pub message: String,
}

/// go-yaml gives up beyond this depth.
const MAX_DEPTH: usize = 10_000;

impl Value {
    /// How Go's JSON decoder calls it.
    pub fn go_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "array",
            Value::Map(_) => "object",
        }
    }
}

impl Node {
    fn new(line: usize, value: Value) -> Node {
        Node { line, value, size: 1, aliased: 0 }
    }

    /// An empty file, as the server sees it.
    pub fn empty_map() -> Node {
        Node::new(1, Value::Map(Rc::default()))
    }

    /// The text of a map's key: JSON has no others.
    pub fn key(&self) -> Cow<'_, str> {
        match &self.value {
            Value::Text(it) | Value::Number(it) => Cow::Borrowed(it),
            Value::Bool(it) => Cow::Owned(it.to_string()),
            _ => Cow::Borrowed(""),
        }
    }

    /// The fields of a map, with merged ones, each key once: the last counts.
    pub fn fields(&self) -> Vec<(&Node, &Node)> {
        let Value::Map(pairs) = &self.value else { return Vec::new() };
        let mut at: HashMap<Cow<'_, str>, usize> = HashMap::new();
        let mut fields: Vec<(&Node, &Node)> = Vec::new();
        for (key, value) in pairs.iter() {
            let index = *at.entry(key.key()).or_insert(fields.len());
            match fields.get_mut(index) {
                Some(slot) => *slot = (key, value),
                None => fields.push((key, value)),
            }
        }
        fields
    }

    /// The last value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(pairs) = &self.value else { return None };
        pairs.iter().rev().find(|(it, _)| it.key() == key).map(|(_, value)| value)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(it) => Some(it),
            _ => None,
        }
    }
}

/// Reads the first document; `None` if there is none.
///
/// # Errors
/// If it is no YAML.
pub fn read(bytes: &[u8]) -> Result<Option<Node>, YamlError> {
    let text = decode(bytes)?;
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(&text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|err| YamlError {
            line: err.marker().line().max(1),
            message: err.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event, span.start.line().max(1))?;
    }
    let Some(root) = builder.root else { return Ok(None) };
    if is_explosive(&root) {
        return Err(error(root.line, "document contains excessive aliasing"));
    }
    Ok(Some(root))
}

/// Reads every document, as far as the text is YAML.
pub fn read_all(bytes: &[u8]) -> Vec<Node> {
    let Ok(text) = decode(bytes) else { return Vec::new() };
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(&text);
    while let Some(Ok((event, span))) = parser.next_event() {
        if matches!(event, Event::DocumentEnd) {
            let whole = std::mem::take(&mut builder);
            documents.extend(whole.root.filter(|it| !is_explosive(it)));
        } else if builder.event(event, span.start.line().max(1)).is_err() {
            break;
        }
    }
    documents
}

fn error(line: usize, message: &str) -> YamlError {
    YamlError { line, message: message.to_owned() }
}

/// go-yaml's own bound (`allowedAliasRatio`), asked once at the end.
fn is_explosive(root: &Node) -> bool {
    let allowed = match root.size {
        ..=400_000 => 0.99,
        4_000_000.. => 0.10,
        size => 0.99 - 0.89 * (size - 400_000) as f64 / 3_600_000.0,
    };
    root.size > 100 && root.aliased > 1_000 && root.aliased as f64 / root.size as f64 > allowed
}

/// UTF-8, or UTF-16 with a byte-order mark; without control characters.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, YamlError> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let (units, _) = bytes[2..].as_chunks::<2>();
        char::decode_utf16(units.iter().map(|it| unit(*it))).collect::<Result<String, _>>()
    };
    let text = match bytes {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes).map(Cow::Owned).map_err(|_| 0),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes).map(Cow::Owned).map_err(|_| 0),
        _ => {
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            std::str::from_utf8(bytes)
                .map(Cow::Borrowed)
                .map_err(|err| memchr::memchr_iter(b'\n', &bytes[..err.valid_up_to()]).count())
        }
    };
    let text = text.map_err(|newlines| error(newlines + 1, "invalid leading UTF-8 octet"))?;
    let is_control = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || c == '\u{FEFF}'
    };
    if let Some(at) = text.find(is_control) {
        let line = text[..at].matches('\n').count() + 1;
        return Err(error(line, "control characters are not allowed"));
    }
    Ok(text)
}

/// A collection that is not at its end.
struct Open {
    line: usize,
    anchor: usize,
    size: u64,
    aliased: u64,
    is_map: bool,
    items: Vec<Node>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().and_then(|it| it.core_suffix());
                self.done(Node::new(line, scalar(&text, style, tag)), anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.start(line, anchor, false),
            Event::MappingStart(_, anchor, _) => self.start(line, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = if open.is_map {
                    Value::Map(Rc::new(pairs(open.items)?))
                } else {
                    Value::List(Rc::new(open.items))
                };
                let node = Node { line: open.line, value, size: open.size, aliased: open.aliased };
                self.done(node, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(error(line, "anchor value contains itself"));
                };
                let aliased = node.size;
                self.done(Node { aliased, ..node }, 0)
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, line: usize, anchor: usize, is_map: bool) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(error(line, "exceeded max depth of 10000"));
        }
        self.open.push(Open { line, anchor, size: 1, aliased: 0, is_map, items: Vec::new() });
        Ok(())
    }

    fn done(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => {
                open.size = open.size.saturating_add(node.size);
                open.aliased = open.aliased.saturating_add(node.aliased);
                open.items.push(node);
            }
            None => self.root = Some(node),
        }
        Ok(())
    }
}

/// Keys and values in turn as pairs; what `<<` merges comes first, so that the map's own keys win.
fn pairs(items: Vec<Node>) -> Result<Vec<(Node, Node)>, YamlError> {
    let (mut merged, mut own) = (Vec::new(), Vec::new());
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        if matches!(key.value, Value::List(_) | Value::Map(_)) {
            return Err(error(key.line, "invalid map key"));
        }
        if !matches!(&key.value, Value::Text(it) if **it == *"<<") {
            own.push((key, value));
            continue;
        }
        let maps = match &value.value {
            Value::List(list) => list.iter().rev().cloned().collect(),
            _ => vec![value.clone()],
        };
        for map in maps {
            let Value::Map(from) = &map.value else {
                return Err(error(
                    value.line,
                    "map merge requires map or sequence of maps as the value",
                ));
            };
            merged.extend(from.iter().cloned());
        }
    }
    // A merged key that the map has itself is no repetition.
    let names: std::collections::HashSet<String> =
        own.iter().map(|(key, _)| key.key().into_owned()).collect();
    let mut pairs: Vec<(Node, Node)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for pair in merged.into_iter().rev() {
        let key = pair.0.key().into_owned();
        if !names.contains(&key) && seen.insert(key) {
            pairs.push(pair);
        }
    }
    pairs.extend(own);
    Ok(pairs)
}

/// The value of a scalar by YAML 1.1, as go-yaml resolves it.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Value {
    let as_text = || Value::Text(text.into());
    if tag == Some("str") || (tag.is_none() && style != ScalarStyle::Plain) {
        return as_text();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        _ if is_number(text) => Value::Number(text.into()),
        _ => as_text(),
    }
}

/// Integers of any base with `_` between digits, and decimal floats.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+'].as_slice()).unwrap_or(text);
    let Some(first) = unsigned.bytes().next() else { return false };
    if !first.is_ascii_digit() && first != b'.' {
        return false;
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let plain = unsigned.replace('_', "");
    let digits = |prefix: &str, base| {
        plain
            .strip_prefix(prefix)
            .is_some_and(|it| !it.is_empty() && it.chars().all(|c| c.is_digit(base)))
    };
    if digits("0x", 16) || digits("0b", 2) || digits("0o", 8) {
        return true;
    }
    let is_float = unsigned
        .bytes()
        .all(|it| it.is_ascii_digit() || matches!(it, b'.' | b'e' | b'E' | b'-' | b'+'));
    plain.bytes().all(|it| it.is_ascii_digit()) || (is_float && unsigned.parse::<f64>().is_ok())
}
