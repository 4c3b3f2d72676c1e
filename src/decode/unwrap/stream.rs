//! Documents of more than an event a line, read piece by piece: lists of events are never held whole.

use std::io::{self, Read};

use super::{
    Consumed, Item,
    detect::docker_stream,
    salvage,
    shape::{self, CONTAINERS, Context, Finder, LINES, Outcome, inner, reason, time_of},
    text::{self, cri},
};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind, Timestamp},
};

/// Deeper lists and objects are passed over whole.
const MAX_DEPTH: usize = 32;

/// An unknown list or object of at most so many bytes is held whole; a larger one is gone into.
const MAX_HELD: usize = 1 << 20;

/// Reads documents and lines to the end of the input.
pub(super) fn read(
    input: &mut dyn Read,
    max_line: usize,
    emit: &mut dyn FnMut(Item<'_>),
) -> (Consumed, io::Result<()>) {
    let bytes = Bytes {
        input,
        buffer: vec![0; 64 << 10],
        at: 0,
        end: 0,
        consumed: Consumed::default(),
        failed: None,
        ends_in_line: false,
        is_line_start: true,
    };
    let mut documents = Documents {
        bytes,
        max_line,
        finder: Finder::new(1, emit),
        partial: Default::default(),
        heading: None,
    };
    documents.byte_order_mark();
    documents.all();
    documents.unfinished();
    let Bytes { failed, mut consumed, ends_in_line, .. } = documents.bytes;
    // The last line may lack its newline.
    consumed.lines += u64::from(ends_in_line);
    (consumed, failed.map_or(Ok(()), Err))
}

/// The input, a byte at a time out of a buffer.
struct Bytes<'i> {
    input: &'i mut dyn Read,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    consumed: Consumed,
    failed: Option<io::Error>,
    /// The last byte taken was no newline.
    ends_in_line: bool,
    /// Nothing but blanks since the line began.
    is_line_start: bool,
}

impl Bytes<'_> {
    fn peek(&mut self) -> Option<u8> {
        while self.at == self.end {
            if self.failed.is_some() {
                return None;
            }
            match self.input.read(&mut self.buffer) {
                Ok(0) => return None,
                Ok(n) => {
                    (self.at, self.end) = (0, n);
                    self.consumed.bytes += n as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => self.failed = Some(err),
            }
        }
        Some(self.buffer[self.at])
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.consumed.lines += u64::from(byte == b'\n');
        self.ends_in_line = byte != b'\n';
        self.is_line_start = byte == b'\n' || self.is_line_start && byte.is_ascii_whitespace();
        Some(byte)
    }

    /// Whether the value that begins here ends within so many bytes. Nothing is taken.
    fn ends_within(&mut self, limit: usize) -> bool {
        let mut wanted = 4 << 10;
        loop {
            let has_more = self.look_ahead(wanted);
            let ahead = &self.buffer[self.at..self.end];
            if value_len(&ahead[..ahead.len().min(wanted)]).is_some() {
                return true;
            }
            if !has_more || wanted >= limit {
                // At the end of the input nothing is left to be gone into.
                return !has_more;
            }
            wanted = (wanted * 8).min(limit);
        }
    }

    /// Fills the buffer with so many bytes from here on; `false` if the input ends before.
    fn look_ahead(&mut self, wanted: usize) -> bool {
        if self.buffer.len() - self.at < wanted {
            self.buffer.copy_within(self.at..self.end, 0);
            (self.at, self.end) = (0, self.end - self.at);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
        }
        while self.end - self.at < wanted && self.failed.is_none() {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => return false,
                Ok(n) => {
                    self.end += n;
                    self.consumed.bytes += n as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => self.failed = Some(err),
            }
        }
        self.failed.is_none()
    }

    /// The next byte that is no blank, not taken.
    fn peek_behind_blanks(&mut self) -> Option<u8> {
        while self.peek()?.is_ascii_whitespace() {
            self.next();
        }
        self.peek()
    }
}

/// The length of the list or object that a text begins with, if it ends in it.
fn value_len(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => loop {
                at += 1 + memchr::memchr2(b'"', b'\\', text.get(at + 1..)?)?;
                if text[at] == b'"' {
                    break;
                }
                at += 1;
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Why a document cannot be read on.
enum Broken {
    /// The input ends within it.
    Ends,
    Syntax,
    /// One of these, but what there was of an event has been kept.
    Salvaged,
}

struct Documents<'i, 'e> {
    bytes: Bytes<'i>,
    max_line: usize,
    finder: Finder<'e>,
    /// What container runtimes split, of standard output and of standard error.
    partial: [Partial; 2],
    /// What a line of text before a document says about it.
    heading: Option<Context>,
}

/// The parts of a line so far.
#[derive(Default)]
struct Partial {
    /// Where it began; 0 if there is none.
    line: u64,
    time: Option<Timestamp>,
    text: Vec<u8>,
    is_too_long: bool,
}

impl Partial {
    fn add(&mut self, text: &[u8], line: u64, time: Option<Timestamp>, max_line: usize) {
        if self.line == 0 {
            (self.line, self.time) = (line, time);
        }
        self.is_too_long |= self.text.len() + text.len() > max_line;
        if self.is_too_long {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(text);
        }
    }
}

impl Documents<'_, '_> {
    fn all(&mut self) {
        while let Some(byte) = self.bytes.peek_behind_blanks() {
            self.finder.line = self.bytes.consumed.lines + 1;
            let start = self.finder.line;
            if !matches!(byte, b'{' | b'[') {
                self.text_line();
                continue;
            }
            let context = self.heading.take().unwrap_or_default();
            if let Err(broken) = self.value(0, &context) {
                if matches!(broken, Broken::Salvaged) {
                    self.pass_line();
                    continue;
                }
                let is_cut = matches!(broken, Broken::Ends);
                self.finder.line = start;
                let why = if is_cut {
                    "the input ends within this document"
                } else {
                    "this document is no JSON from here on"
                };
                if !is_cut {
                    self.finder.line = self.bytes.consumed.lines + 1;
                }
                self.finder.skip(why);
                self.pass_line();
            }
        }
    }

    fn byte_order_mark(&mut self) {
        for byte in "\u{feff}".bytes() {
            if self.bytes.peek() == Some(byte) {
                self.bytes.next();
            }
        }
    }

    /// Passes the rest of a line, but not one that has only been looked at.
    fn pass_line(&mut self) {
        if !self.bytes.is_line_start {
            while self.bytes.peek().is_some_and(|it| it != b'\n') {
                self.bytes.next();
            }
        }
    }

    /// Split lines whose last part did not come.
    fn unfinished(&mut self) {
        for partial in std::mem::take(&mut self.partial) {
            if partial.line > 0 {
                self.joined(partial);
            }
        }
    }

    fn joined(&mut self, partial: Partial) {
        self.finder.line = partial.line;
        if partial.is_too_long {
            return self
                .finder
                .skip(format!("longer than {} bytes: left out (--max-line)", self.max_line));
        }
        let context = Context { time: partial.time, ..Context::default() };
        let text = String::from_utf8_lossy(&partial.text);
        if self.finder.text(&text, &context) == Outcome::Nothing && !text.trim().is_empty() {
            self.finder.skip("no audit event in this line");
        }
    }

    /// A line that is no JSON: of a container runtime, or with a prefix.
    fn text_line(&mut self) {
        let mut line = Vec::new();
        let is_whole = self.rest_of_line(&mut line);
        if !is_whole {
            return self
                .finder
                .skip(format!("longer than {} bytes: left out (--max-line)", self.max_line));
        }
        // A piece of a split text may end in a blank that belongs to it.
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if let Some(piece) = cri(line) {
            let partial = &mut self.partial[usize::from(piece.stream == "stderr")];
            partial.add(piece.text, self.finder.line, piece.time, self.max_line);
            if !piece.is_partial {
                let whole = std::mem::take(partial);
                self.joined(whole);
            }
            return;
        }
        let text = String::from_utf8_lossy(line).into_owned();
        if let Some(context) = text::heading(&text) {
            if text.trim_end().ends_with('{') {
                return self.opened_object(&context);
            }
            self.heading = Some(context);
            return;
        }
        if self.finder.text(&text, &Context::default()) == Outcome::Nothing
            && !text.trim().is_empty()
        {
            self.finder.skip("no audit event in this line");
        }
    }

    /// An object whose brace ended a line of text.
    fn opened_object(&mut self, context: &Context) {
        let line = self.finder.line;
        if self.members(0, context).is_err() {
            self.finder.line = line;
            self.finder.skip("the object that begins in this line is no JSON");
            self.pass_line();
        }
    }

    /// Takes what is left of a line; `false` if it was too long to keep.
    fn rest_of_line(&mut self, line: &mut Vec<u8>) -> bool {
        let mut is_whole = true;
        while let Some(byte) = self.bytes.peek() {
            if byte == b'\n' {
                break;
            }
            self.bytes.next();
            is_whole &= line.len() < self.max_line;
            if is_whole {
                line.push(byte);
            }
        }
        is_whole
    }

    fn value(&mut self, depth: usize, context: &Context) -> Result<(), Broken> {
        match self.bytes.peek_behind_blanks().ok_or(Broken::Ends)? {
            b'[' if depth < MAX_DEPTH => self.list(depth, context),
            b'{' if depth < MAX_DEPTH => self.object(depth, context),
            _ => {
                self.finder.line = self.bytes.consumed.lines + 1;
                let mut raw = Vec::new();
                let is_whole = self.raw(&mut raw)?;
                self.leaf(&raw, is_whole, context);
                Ok(())
            }
        }
    }

    /// A text, or something too deep. Numbers, and texts of digits (times), are nothing to tell of.
    fn leaf(&mut self, raw: &[u8], is_whole: bool, context: &Context) {
        if !is_whole {
            return self
                .finder
                .skip(format!("longer than {} bytes: left out (--max-line)", self.max_line));
        }
        let json = Json::new(raw);
        let is_dull = match json.kind() {
            Kind::Text => json.text().bytes().all(|it| it.is_ascii_digit()),
            Kind::List | Kind::Object => false,
            _ => true,
        };
        if !is_dull && self.finder.value(json, context) == Outcome::Nothing {
            let kind = if json.kind() == Kind::Text { "text" } else { "JSON" };
            self.finder.skip(format!("no audit event in this {kind}"));
        }
    }

    fn list(&mut self, depth: usize, context: &Context) -> Result<(), Broken> {
        self.bytes.next();

        if self.bytes.peek_behind_blanks().ok_or(Broken::Ends)? == b']' {
            self.bytes.next();
            return Ok(());
        }
        loop {
            // A list in a list is a row.
            let is_row = self.bytes.peek_behind_blanks() == Some(b'[')
                && depth > 0
                && self.bytes.ends_within(MAX_HELD.min(self.max_line));
            self.value(if is_row { MAX_DEPTH } else { depth + 1 }, context)?;
            match self.bytes.peek_behind_blanks().ok_or(Broken::Ends)? {
                b',' => drop(self.bytes.next()),
                b']' => {
                    self.bytes.next();
                    return Ok(());
                }
                _ => return Err(Broken::Syntax),
            }
        }
    }

    /// An object: fields that hold many pieces are gone into, and the others are put together.
    fn object(&mut self, depth: usize, context: &Context) -> Result<(), Broken> {
        self.bytes.next();
        self.members(depth, context)
    }

    /// The rest of an object whose brace was taken.
    fn members(&mut self, depth: usize, context: &Context) -> Result<(), Broken> {
        let line = self.bytes.consumed.lines + 1;
        let mut written = vec![b'{'];
        let (mut is_whole, mut has_container) = (true, false);
        let n_found = self.finder.n_found;
        let result = loop {
            match self.bytes.peek_behind_blanks() {
                Some(b'}') => {
                    self.bytes.next();
                    break Ok(());
                }
                Some(b',') if written.len() > 1 || has_container => drop(self.bytes.next()),
                Some(b'"') => {}
                Some(_) => break Err(Broken::Syntax),
                None => break Err(Broken::Ends),
            }
            match self.field(depth, context, &mut written, &mut is_whole) {
                Ok(Some(())) => has_container = true,
                Ok(None) => {}
                Err(broken) => break Err(broken),
            }
        };
        if !has_container {
            self.finder.line = line;
            return self.found(written, is_whole, result, depth, context);
        }
        if result.is_ok() && is_whole && written.len() > 1 && self.finder.n_found == n_found {
            // The lists were the collector's.
            self.finder.line = line;
            written.push(b'}');
            self.finder.value(Json::new(&written), context);
        }
        result
    }

    /// Reads a field; `Some` if it was gone into, else it is added to `written`.
    fn field(
        &mut self,
        depth: usize,
        context: &Context,
        written: &mut Vec<u8>,
        is_whole: &mut bool,
    ) -> Result<Option<()>, Broken> {
        match self.bytes.peek_behind_blanks() {
            Some(b'"') => {}
            // A comma before the closing brace is a slip of some writers.
            Some(b'}') => return Ok(None),
            Some(_) => return Err(Broken::Syntax),
            None => return Err(Broken::Ends),
        }
        let mut name = Vec::new();
        self.raw(&mut name)?;
        if self.bytes.peek_behind_blanks().ok_or(Broken::Ends)? != b':' {
            return Err(Broken::Syntax);
        }
        self.bytes.next();
        let first = self.bytes.peek_behind_blanks().ok_or(Broken::Ends)?;
        let is_open = matches!(first, b'[' | b'{') && !is_event_so_far(written);
        let is_container = is_open && {
            let name = Json::new(&name).text();
            CONTAINERS.contains(&&*name)
                || !shape::is_event_field(&name)
                    && depth < MAX_DEPTH
                    && !self.bytes.ends_within(MAX_HELD.min(self.max_line))
        };
        if is_container {
            let whole = [written.as_slice(), b"}"].concat();
            let context = match serde_json::from_slice::<Fields<'_>>(&whole) {
                Ok(fields) => inner(&fields, context),
                Err(_) => context.clone(),
            };
            self.value(depth + 1, &Context { depth: 0, ..context })?;
            return Ok(Some(()));
        }
        let start = written.len();
        if start > 1 {
            written.push(b',');
        }
        written.extend_from_slice(&name);
        written.push(b':');
        let mut value = Vec::new();
        let result = self.raw(&mut value);
        if result.is_err() {
            // What there is of it may be of use.
            written.extend_from_slice(&value);
        }
        *is_whole &= result? && written.len() + value.len() <= self.max_line;
        if *is_whole {
            written.extend_from_slice(&value);
        } else {
            written.truncate(start);
        }
        Ok(None)
    }

    /// What an object without containers was.
    fn found(
        &mut self,
        mut written: Vec<u8>,
        is_whole: bool,
        result: Result<(), Broken>,
        depth: usize,
        context: &Context,
    ) -> Result<(), Broken> {
        if !is_whole {
            self.finder.skip(format!("longer than {} bytes: left out (--max-line)", self.max_line));
            return result;
        }
        match result {
            Ok(()) => {
                written.push(b'}');
                if depth == 0 && self.is_part(&written) {
                    return Ok(());
                }
                if self.finder.value(Json::new(&written), context) == Outcome::Nothing
                    && !context.is_silent
                {
                    self.finder.skip(reason(&written));
                }
            }
            Err(_) => {
                let written = String::from_utf8_lossy(&written);
                if salvage::event(&written, context.time).is_some()
                    && self.finder.text(&written, context) == Outcome::Found
                {
                    return Err(Broken::Salvaged);
                }
            }
        }
        result
    }

    /// Docker cuts long lines too: a part does not end in a newline. Whether an object is such a part.
    fn is_part(&mut self, object: &[u8]) -> bool {
        let Some(stream) = docker_stream(object) else { return false };
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(object) else { return false };
        let text = fields.get("log").map(|it| it.text().into_owned()).unwrap_or_default();
        let partial = &mut self.partial[stream];
        let is_last = text.ends_with('\n');
        let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        if partial.line == 0 && (is_last || is_json()) {
            return false;
        }
        partial.add(text.as_bytes(), self.finder.line, time_of(&fields), self.max_line);
        if is_last {
            let whole = std::mem::take(partial);
            self.joined(whole);
        }
        true
    }

    /// Copies a value as it stands; `false` if it was too long to keep.
    fn raw(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        let (mut depth, mut in_string, mut is_escaped, mut is_whole) =
            (0_usize, false, false, true);
        loop {
            let byte = self.bytes.peek().ok_or(Broken::Ends)?;
            let is_scalar = depth == 0 && !in_string;
            if is_scalar
                && !into.is_empty()
                && (byte.is_ascii_whitespace() || matches!(byte, b',' | b'}' | b']' | b':'))
            {
                return Ok(is_whole);
            }
            // A line that was cut in a string: the next line is another's.
            if in_string && byte == b'\n' {
                return Err(Broken::Syntax);
            }
            self.bytes.next();
            is_whole &= into.len() < self.max_line;
            if is_whole {
                into.push(byte);
            }
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_string => is_escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1).ok_or(Broken::Syntax)?,
                _ => continue,
            }
            if depth == 0 && !in_string && matches!(byte, b'"' | b'}' | b']') {
                return Ok(is_whole);
            }
        }
    }
}

/// An event's own fields may be called like a container's: some collectors add them.
fn is_event_so_far(written: &[u8]) -> bool {
    let has = |name: &str| {
        let mut places = memchr::memmem::find_iter(written, name.as_bytes());
        places.any(|at| {
            let after = written.get(at + name.len()..at + name.len() + 2);
            at > 0 && written[at - 1] == b'"' && after == Some(b"\":")
        })
    };
    has("auditID") || LINES.iter().any(|it| has(it))
}
