//! Documents of more than an event a line, read piece by piece: lists of events are never held whole.

use std::io::{self, Read};

use super::{
    Consumed, Item, salvage,
    shape::{CONTAINERS, Context, Finder, Outcome, inner},
    text::cri,
};
use crate::{
    decode::strict::Fields,
    event::{Json, Kind},
};

/// Deeper lists and objects are passed over whole.
const MAX_DEPTH: usize = 32;

/// Whether the start of an input shows that it is not one event, or one wrapper, a line.
pub fn is_wrapped(start: &[u8]) -> bool {
    let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start();
    let (first, rest) = match memchr::memchr(b'\n', start) {
        Some(at) => (start[..at].trim_ascii(), start[at..].trim_ascii_start()),
        None => (start.trim_ascii(), &[][..]),
    };
    match first.first() {
        Some(b'[') => true,
        Some(b'{') => is_document(first, rest),
        Some(_) => cri(first).is_some(),
        None => false,
    }
}

/// Whether a first line that begins an object is no event and no wrapper of one.
fn is_document(first: &[u8], rest: &[u8]) -> bool {
    match serde_json::from_slice::<&serde_json::value::RawValue>(first) {
        Ok(_) => serde_json::from_slice::<Fields<'_>>(first).is_ok_and(|fields| {
            let is_open = |it: Json<'_>| matches!(it.kind(), Kind::List | Kind::Object);
            let is_plain = fields.get("stage").is_some();
            !is_plain && CONTAINERS.iter().any(|name| fields.get(name).is_some_and(is_open))
        }),
        // Several objects in one line.
        Err(err) if !err.is_eof() => first.windows(2).any(|it| it == b"}{"),
        // An object over several lines, or one so long that its end is not seen.
        Err(_) => match rest.first() {
            Some(b'{') => false,
            Some(_) => true,
            None => begins_with_container(first),
        },
    }
}

/// Whether one of the first fields of an object whose end is not seen holds many pieces.
fn begins_with_container(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&start[..start.len().min(4096)]);
    CONTAINERS.iter().any(|name| {
        let written = format!("\"{name}\":");
        text.find(&written).is_some_and(|at| {
            let depth = text[..at].matches(['{', '[']).count() as i64
                - text[..at].matches(['}', ']']).count() as i64;
            depth == 1 && text[at + written.len()..].trim_start().starts_with(['[', '{'])
        })
    })
}

/// Reads documents and lines to the end of the input.
pub(super) fn read(
    input: &mut dyn Read,
    max_line: usize,
    emit: &mut dyn FnMut(Item<'_>),
) -> io::Result<Consumed> {
    let bytes = Bytes {
        input,
        buffer: vec![0; 64 << 10],
        at: 0,
        end: 0,
        consumed: Consumed::default(),
        failed: None,
    };
    let mut documents =
        Documents { bytes, max_line, finder: Finder::new(1, emit), partial: Default::default() };
    documents.all();
    let Bytes { failed, mut consumed, .. } = documents.bytes;
    // The last line may lack its newline.
    consumed.lines += u64::from(documents.finder.line > consumed.lines);
    match failed {
        Some(err) => Err(err),
        None => Ok(consumed),
    }
}

/// The input, a byte at a time out of a buffer.
struct Bytes<'i> {
    input: &'i mut dyn Read,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    consumed: Consumed,
    failed: Option<io::Error>,
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
        Some(byte)
    }

    /// The next byte that is no blank, not taken.
    fn peek_behind_blanks(&mut self) -> Option<u8> {
        while self.peek()?.is_ascii_whitespace() {
            self.next();
        }
        self.peek()
    }
}

/// Why a document cannot be read on.
enum Broken {
    /// The input ends within it.
    Ends,
    Syntax,
}

struct Documents<'i, 'e> {
    bytes: Bytes<'i>,
    max_line: usize,
    finder: Finder<'e>,
    /// What container runtimes split, of standard output and of standard error.
    partial: [Vec<u8>; 2],
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
            if let Err(broken) = self.value(0, &Context::default()) {
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
                self.rest_of_line(&mut Vec::new());
            }
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
        let text = match cri(line) {
            Some(piece) => {
                let partial = &mut self.partial[usize::from(piece.stream == "stderr")];
                if partial.len() + piece.text.len() <= self.max_line {
                    partial.extend_from_slice(piece.text);
                }
                if piece.is_partial {
                    return;
                }
                std::mem::take(partial)
            }
            None => line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).to_vec(),
        };
        let text = String::from_utf8_lossy(&text);
        if self.finder.text(&text, &Context::default()) == Outcome::Nothing
            && !text.trim().is_empty()
        {
            self.finder.skip("no audit event in this line");
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
            self.finder.skip("no audit event in this text");
        }
    }

    fn list(&mut self, depth: usize, context: &Context) -> Result<(), Broken> {
        self.bytes.next();
        if self.bytes.peek_behind_blanks().ok_or(Broken::Ends)? == b']' {
            self.bytes.next();
            return Ok(());
        }
        loop {
            self.value(depth + 1, context)?;
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
        let line = self.bytes.consumed.lines + 1;
        let mut written = vec![b'{'];
        let (mut is_whole, mut has_container) = (true, false);
        self.bytes.next();
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
            self.found(written, is_whole, &result, context);
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
        let is_container =
            matches!(first, b'[' | b'{') && CONTAINERS.contains(&&*Json::new(&name).text());
        if is_container && !is_event_so_far(written) {
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
        *is_whole &= self.raw(&mut value)? && written.len() + value.len() <= self.max_line;
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
        result: &Result<(), Broken>,
        context: &Context,
    ) {
        if !is_whole {
            return self
                .finder
                .skip(format!("longer than {} bytes: left out (--max-line)", self.max_line));
        }
        match result {
            Ok(()) => {
                written.push(b'}');
                if self.finder.value(Json::new(&written), context) == Outcome::Nothing {
                    self.finder.skip("no audit event in this JSON");
                }
            }
            Err(Broken::Ends) => {
                written.push(b',');
                if salvage::event(&String::from_utf8_lossy(&written), context.time).is_some() {
                    self.finder.text(&String::from_utf8_lossy(&written), context);
                }
            }
            Err(Broken::Syntax) => {}
        }
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
    memchr::memmem::find(written, b"\"auditID\":").is_some()
}
