//! YAML streams: documents one after another, and lists of events, read an item at a time.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;

use super::{
    Consumed, Item,
    shape::{CONTAINERS, Context, Finder, Outcome},
};
use crate::event::Json;

/// Whether a text is YAML that holds events.
pub(super) fn is_yaml(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    let is_content = |line: &&str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with(['#', '%'])
    };
    let mut lines = text.lines().map(|line| line.trim_start_matches('\u{feff}')).filter(is_content);
    let is_first = lines.next().is_some_and(|line| is_marker(line) || is_entry(line));
    if !is_first || !lines.next().is_some_and(is_entry) {
        return false;
    }

    let mut n_events = 0;
    let mut emit = |item: Item<'_>| n_events += usize::from(matches!(item, Item::Event { .. }));
    let _ = read(&mut &*start, start.len() + 1, &mut emit);
    // The first item may be longer than what is looked at.
    let names = ["auditID:", "requestURI:", "protoPayload:", "log:", "message:"];
    n_events > 0 || text.len() > 32 << 10 && names.iter().any(|name| text.contains(name))
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}

/// Whether a line is `name: value` or `- value`.
fn is_entry(line: &str) -> bool {
    let line = line.trim();
    if let Some(item) = line.strip_prefix("- ") {
        return !item.is_empty();
    }
    let Some((name, value)) = line.split_once(':') else { return line == "-" };
    let is_quoted = name.len() > 2 && name.starts_with(['\'', '"']) && name.ends_with(['\'', '"']);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/@-".contains(c);
    (is_quoted || !name.is_empty() && name.chars().all(is_plain))
        && (value.is_empty() || value.starts_with([' ', '\t']))
        && !value.trim_start().starts_with("{\"")
}

/// Reads documents to the end of the input. Of a list, one item is held at a time.
pub(super) fn read(
    input: &mut dyn Read,
    max_line: usize,
    emit: &mut dyn FnMut(Item<'_>),
) -> (Consumed, io::Result<()>) {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut documents = Documents {
        finder: Finder::new(1, emit),
        max_line,
        text: String::new(),
        first_line: 1,
        is_too_long: false,
        list_indent: None,
        opens_list: false,
    };
    let mut consumed = Consumed::default();
    let mut line = Vec::new();
    let result = loop {
        line.clear();
        match read_line(&mut input, max_line, &mut line) {
            Ok(0) => break Ok(()),
            Ok(len) => {
                consumed.bytes += len as u64;
                consumed.lines += 1;
                let is_too_long = len > line.len();
                documents.line(consumed.lines, &String::from_utf8_lossy(&line), is_too_long);
            }
            Err(err) => break Err(err),
        }
    };
    documents.end();
    (consumed, result)
}

/// Reads a line of which at most `max` bytes are kept; returns its whole length.
fn read_line(input: &mut impl BufRead, max: usize, line: &mut Vec<u8>) -> io::Result<usize> {
    let mut len = 0;
    loop {
        let buffer = match input.fill_buf() {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        let newline = memchr::memchr(b'\n', buffer);
        let n = newline.map_or(buffer.len(), |at| at + 1);
        line.extend_from_slice(&buffer[..n.min(max.saturating_sub(line.len()))]);
        input.consume(n);
        len += n;
        if newline.is_some() || n == 0 {
            return Ok(len);
        }
    }
}

struct Documents<'e> {
    finder: Finder<'e>,
    max_line: usize,
    /// The document, or the item of a list, so far.
    text: String,
    first_line: u64,
    is_too_long: bool,
    /// The indentation of the items, in a list that is read an item at a time.
    list_indent: Option<usize>,
    /// The last line is the name of such a list.
    opens_list: bool,
}

impl Documents<'_> {
    fn line(&mut self, number: u64, line: &str, is_too_long: bool) {
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { line };
        let content = line.trim_end();
        if is_marker(content) || content == "..." {
            self.end();
            self.list_indent = None;
            let rest = content.get(3..).unwrap_or_default().trim_start();
            if !rest.is_empty() {
                self.add(number, rest, false);
            }
            return;
        }
        let trimmed = content.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') && self.text.is_empty() {
            return self.add(number, line, is_too_long);
        }

        let indent = content.len() - trimmed.len();
        let is_item = trimmed == "-" || trimmed.starts_with("- ");
        match self.list_indent {
            Some(list) if is_item && indent == list => self.end(),
            Some(list) if indent <= list => {
                self.end();
                self.list_indent = None;
            }
            None if is_item && (self.opens_list || indent == 0 && self.text.trim().is_empty()) => {
                // What named the list is no part of an item.
                self.clear();
                self.list_indent = Some(indent);
            }
            _ => {}
        }
        let name = content.strip_suffix(':').unwrap_or_default();
        self.opens_list = indent == 0
            && CONTAINERS.iter().any(|it| it.eq_ignore_ascii_case(name))
            && !self.is_event();
        self.add(number, line, is_too_long);
    }

    /// Whether the document so far has fields of an event.
    fn is_event(&self) -> bool {
        self.text.lines().any(|line| line.starts_with("auditID:") || line.starts_with("stage:"))
    }

    fn add(&mut self, number: u64, line: &str, is_too_long: bool) {
        if self.text.is_empty() {
            if line.trim().is_empty() {
                return;
            }
            self.first_line = number;
        }
        self.is_too_long |= is_too_long || self.text.len() + line.len() > self.max_line;
        if self.is_too_long {
            self.text.truncate(1);
        } else {
            self.text += line;
            if !line.ends_with('\n') {
                self.text.push('\n');
            }
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.is_too_long = false;
        self.opens_list = false;
    }

    /// The end of a document or item.
    fn end(&mut self) {
        let text = std::mem::take(&mut self.text);
        let is_too_long = self.is_too_long;
        self.clear();
        self.finder.line = self.first_line;
        if is_too_long {
            let reason = format!("longer than {} bytes: left out (--max-line)", self.max_line);
            return self.finder.skip(reason);
        }
        if text.trim().is_empty() {
            return;
        }

        let context = Context::default();
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_events: 20_000_000, max_nodes: 10_000_000, max_total_scalar_bytes: 256 << 20,
            },
        };
        match serde_saphyr::from_str_with_options::<Value>(&text, options) {
            Ok(value @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
                let json = value.to_string();
                if self.finder.value(Json::new(json.as_bytes()), &context) == Outcome::Nothing {
                    self.finder.skip("no audit event in this YAML document");
                }
            }
            Ok(_) => self.finder.skip("no audit event in this YAML document"),
            Err(err) => {
                // JSON that is no YAML, such as half of a surrogate pair.
                let json = text.trim_start().trim_start_matches("- ");
                if self.finder.text(json, &context) == Outcome::Nothing {
                    let err = err.to_string();
                    let what = err.lines().next().unwrap_or_default();
                    self.finder.skip(format!("this YAML document cannot be read: {what}"));
                }
            }
        }
    }
}
