//! The fast reader: finds the wanted values in a line, and leaves lines that it is not sure of to the
//! strict reader.
//!
//! `fast_path` reads the fields that are written as the API server writes them; the loop here reads the
//! rest field by field. A line is read from both ends: forward to the first body, then the timestamps
//! and annotations behind the bodies. Bodies are skipped unchecked. Of a repeated field, both readers
//! take the same value (see [`Field::is_after_bodies`]).

use std::cell::RefCell;

use super::{
    Found, Head, Projection,
    line_cache::LineCache,
    simd,
    wanted::{Node, Wanted},
};
use crate::event::{Field, FieldSet, Level, Stage, Timestamp};

/// Reads lines for one projection. Every method returns `None` for a line that it is not sure of.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    wanted: Wanted,
    cache: RefCell<LineCache>,
}

impl Scanner {
    pub(super) fn new(projection: &Projection) -> Scanner {
        Scanner { wanted: Wanted::new(projection), cache: RefCell::default() }
    }

    /// Reads one line: its head, and the wanted values into `found`.
    pub(super) fn read<'a>(&self, line: &'a [u8], found: &mut Vec<Found<'a>>) -> Option<Head> {
        self.with_line(line, found, |line| {
            let position = line.fast_start(&self.wanted)?;
            line.read_from(&self.wanted, position)
        })
    }

    /// Reads the first line of `text` without searching for its end first. Also returns its length
    /// without the newline.
    pub(super) fn first<'a>(
        &self,
        text: &'a [u8],
        found: &mut Vec<Found<'a>>,
    ) -> Option<(Head, usize)> {
        self.with_line(text, found, |line| {
            line.is_open = true;
            let position = line.fast_start(&self.wanted).filter(|position| position.at > 1)?;

            if line.is_open
                && position.guess == Some(Field::RequestReceivedTimestamp)
                && self.wanted.is_satisfied_by(position.seen)
            {
                let end = line.fast_end(&self.wanted, position.at)?;
                let ends_line = matches!(text.get(end), None | Some(b'\n'));
                return Some((line.head().filter(|_| ends_line)?, end));
            }

            line.close(position.at);
            let len = line.bytes.len();
            Some((line.read_from(&self.wanted, position)?, len))
        })
    }

    #[inline(always)]
    fn with_line<'a, R>(
        &self,
        bytes: &'a [u8],
        found: &mut Vec<Found<'a>>,
        read: impl FnOnce(&mut Line<'a, '_>) -> Option<R>,
    ) -> Option<R> {
        if self.wanted.is_too_wide {
            return None;
        }

        found.clear();
        found.resize(self.wanted.n_slots, Found::default());
        read(&mut Line {
            bytes,
            is_open: false,
            found,
            level: None,
            stage: None,
            stage_timestamp: None,
            has_user: false,
            cache: &mut self.cache.borrow_mut(),
        })
    }
}

/// A line while it is read. Every step returns `None` for what it is not sure of.
pub(super) struct Line<'a, 'f> {
    pub bytes: &'a [u8],
    /// Whether other lines may follow, because the end of this one is not known yet. No step of the
    /// fast path crosses a newline, and [`read_from`](Line::read_from) needs a [`close`](Line::close)d
    /// line.
    pub is_open: bool,
    pub found: &'f mut Vec<Found<'a>>,
    pub level: Option<Level>,
    pub stage: Option<Stage>,
    pub stage_timestamp: Option<Timestamp>,
    pub has_user: bool,
    pub cache: &'f mut LineCache,
}

/// How far a line has been read, one level deep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// Where the next field starts.
    pub at: usize,
    /// The field that probably starts there.
    pub guess: Option<Field>,
    /// The fields that have been read.
    pub seen: FieldSet,
    /// Whether fields were jumped. Then `at` is proven to be one level deep only once the line has been
    /// read to its end without another jump.
    pub has_jumped: bool,
}

impl Position {
    /// The first field of a line.
    pub(super) const START: Position =
        Position { at: 1, guess: Some(Field::Kind), seen: FieldSet::new(&[]), has_jumped: false };
}

/// A field of the outermost object: one of an event, or another by its name.
enum FieldName<'a> {
    Known(Field),
    Other(&'a [u8]),
}

/// What follows a field.
enum Next {
    /// Another field, at this offset.
    Field(usize),
    /// The end of the line.
    End,
}

impl<'a> Line<'a, '_> {
    /// Returns the head if everything it consists of has been read.
    fn head(&self) -> Option<Head> {
        let (level, stage) = (self.level?, self.stage?);
        let ends_request = match stage {
            Stage::ResponseComplete | Stage::Panic => true,
            Stage::RequestReceived => false,
            Stage::ResponseStarted if self.has_user => false,
            // It may be a failed authentication: the strict reader looks at the code.
            Stage::ResponseStarted => return None,
        };
        // The strict reader knows where else a time may be.
        let stage_timestamp = Some(self.stage_timestamp?);
        Some(Head { level, stage, ends_request, stage_timestamp })
    }

    /// Returns the head if the fields without which there is no event have been seen.
    fn head_of(&self, seen: FieldSet) -> Option<Head> {
        let is_request = seen.contains(Field::Verb) || seen.contains(Field::RequestUri);
        self.head().filter(|_| is_request && seen.contains(Field::User))
    }

    /// Reads field by field from `position` to the end of the line.
    fn read_from(&mut self, wanted: &Wanted, position: Position) -> Option<Head> {
        if self.bytes.first() != Some(&b'{') || self.bytes.last() != Some(&b'}') {
            return None;
        }

        let Position { mut at, mut guess, mut seen, mut has_jumped } = position;
        let mut seen_others = 0_u64;
        let mut has_skipped_bodies = false;
        loop {
            if guess == Some(Field::RequestReceivedTimestamp)
                && wanted.is_satisfied_by(seen)
                && self.fast_end(wanted, at) == Some(self.bytes.len())
            {
                return self.head_of(seen);
            }

            let (name, value) = self.field(at, guess)?;
            let end = match name {
                FieldName::Known(field) => {
                    guess = field.next();
                    let is_repeated = seen.contains(field);
                    let is_satisfied = wanted.is_satisfied_by(seen);
                    seen.insert(field);

                    if matches!(field, Field::RequestObject | Field::ResponseObject) {
                        // Bodies are skipped only from where the depth is proven.
                        if has_jumped {
                            self.found.fill(Found::default());
                            Position { at, guess, seen, has_jumped } =
                                self.fast_start_without_jump(wanted)?;
                            continue;
                        }
                        if is_satisfied && let Some(timestamps) = self.after_bodies(value) {
                            at = timestamps;
                            guess = Some(Field::RequestReceivedTimestamp);
                            has_skipped_bodies = true;
                            seen.remove(Field::Annotations);
                            continue;
                        }
                    }
                    self.known_field(wanted, field, value, is_repeated)?
                }

                FieldName::Other(name) => {
                    let other = wanted.others.iter().position(|node| *node.name == *name);
                    match other.filter(|other| seen_others >> other & 1 == 0) {
                        Some(other) => {
                            seen_others |= 1 << other;
                            self.value(&wanted.others[other], value)?
                        }
                        None => self.skip(value)?,
                    }
                }
            };

            if guess == Some(Field::Annotations)
                && wanted.is_all_in(seen)
                && self.end_after_annotations(wanted, end) == Some(self.bytes.len())
            {
                return self.head_of(seen);
            }

            match self.next(end)? {
                Next::Field(next) => at = next,
                Next::End => {
                    // Of these fields the last value counts: it may be in what was skipped.
                    let mut last = wanted.after_bodies;
                    last.insert(Field::StageTimestamp);
                    let is_unsure = (has_skipped_bodies || has_jumped) && !seen.contains_all(last);
                    return self.head_of(seen).filter(|_| !is_unsure);
                }
            }
        }
    }

    /// Returns what follows the value that ends at `end`.
    #[inline(always)]
    fn next(&self, end: usize) -> Option<Next> {
        let at = self.skip_blanks(end);
        match self.bytes.get(at)? {
            b',' => Some(Next::Field(at + 1)),
            b'}' if at + 1 == self.bytes.len() => Some(Next::End),
            _ => None,
        }
    }

    /// Reads the name of a field. Returns it with the start of its value. Tries the guessed name first.
    #[inline(always)]
    fn field(&self, at: usize, guess: Option<Field>) -> Option<(FieldName<'a>, usize)> {
        let bytes = &self.bytes[at..];
        if let Some(field) = guess
            && let Some(len) = field.quoted_len(bytes)
        {
            return Some((FieldName::Known(field), at + len));
        }

        // The usual gaps: no impersonation, no object, no status yet, no bodies.
        let likely: &[Field] = match guess {
            Some(Field::ImpersonatedUser | Field::AuthenticationMetadata) => &[Field::SourceIps],
            Some(Field::ObjectRef) => &[Field::ResponseStatus, Field::RequestReceivedTimestamp],
            Some(Field::ResponseStatus | Field::RequestObject | Field::ResponseObject) => {
                &[Field::RequestReceivedTimestamp]
            }
            _ => &[],
        };
        for field in likely {
            if let Some(len) = field.quoted_len(bytes) {
                return Some((FieldName::Known(*field), at + len));
            }
        }

        let (name, value) = self.name(self.skip_blanks(at))?;
        let known = Field::from_name(name);
        Some((known.map_or(FieldName::Other(name), FieldName::Known), value))
    }

    /// Reads the name at `at`. Returns it with the start of its value. Names with escapes are rare:
    /// the strict reader reads them.
    #[inline(always)]
    fn name(&self, at: usize) -> Option<(&'a [u8], usize)> {
        if self.bytes.get(at) != Some(&b'"') {
            return None;
        }

        let end = simd::quote_or_backslash(self.bytes, at + 1)?;
        if self.bytes[end] != b'"' {
            return None;
        }

        let colon = self.skip_blanks(end + 1);
        (self.bytes.get(colon) == Some(&b':'))
            .then(|| (&self.bytes[at + 1..end], self.skip_blanks(colon + 1)))
    }

    /// Reads the value of a field of an event. Returns its end.
    #[inline(always)]
    fn known_field(
        &mut self,
        wanted: &Wanted,
        field: Field,
        value: usize,
        is_repeated: bool,
    ) -> Option<usize> {
        let value = self.skip_blanks(value);
        if is_repeated && !field.is_after_bodies() {
            return self.skip(value);
        }
        if field == Field::User && !is_repeated {
            return Some(self.user(wanted, value)?.end);
        }
        if field == Field::ResponseStatus
            && wanted.node(field).is_none()
            && let Some(end) = self.plain_status(value)
        {
            return Some(end);
        }

        let is_text = self.bytes.get(value) == Some(&b'"');
        match field {
            Field::Verb | Field::RequestUri if !is_text => return None,
            // An object that was turned into text.
            _ if is_text
                && super::strict::OPEN_FIELDS.contains(&field)
                && wanted.node(field).is_some() =>
            {
                return None;
            }
            _ => {}
        }

        let end = match wanted.node(field) {
            Some(node) => {
                if field.is_after_bodies() {
                    self.clear(node);
                }
                self.value(node, value)?
            }
            None => self.skip(value)?,
        };

        let raw = &self.bytes[value..end];
        match field {
            Field::Kind if raw != b"\"Event\"" => return None,
            Field::ApiVersion if raw != b"\"audit.k8s.io/v1\"" => return None,
            Field::Level => self.level = Some(level(raw)?),
            Field::Stage => self.stage = Some(stage(raw)?),
            Field::StageTimestamp => self.stage_timestamp = Some(time(raw)?),
            _ => {}
        }
        Some(end)
    }

    /// Returns the end of a status that is nothing but a code, as in most lines.
    #[inline(always)]
    pub(super) fn plain_status(&self, start: usize) -> Option<usize> {
        const BEFORE_CODE: &[u8] = b"{\"metadata\":{},\"code\":";

        match self.bytes.get(start..)?.strip_prefix(BEFORE_CODE)? {
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b'}', ..] => {
                Some(start + BEFORE_CODE.len() + b"200}".len())
            }
            _ => None,
        }
    }

    /// Reads a wanted value: its own slot, and those below it. Returns its end.
    pub(super) fn value(&mut self, node: &Node, start: usize) -> Option<usize> {
        let (end, is_list) = match self.bytes.get(start)? {
            b'{' if node.slot.is_none() => return self.object(node, start),
            b'{' => (self.object(node, start)?, false),
            b'[' => (self.skip(start)?, true),
            _ => (self.skip(start)?, false),
        };

        let raw = &self.bytes[start..end];
        let is_plain = simd::is_plain_string(raw);
        if !is_plain && !is_sound(raw) {
            return None;
        }

        let found = Found { raw: Some(raw), depth: node.depth, is_plain };
        if let Some(slot) = node.slot {
            self.found[slot] = found;
        }
        if is_list {
            for slot in &node.through {
                self.found[*slot] = found;
            }
        }
        Some(end)
    }

    /// Reads the wanted fields of an object. Returns its end.
    fn object(&mut self, node: &Node, start: usize) -> Option<usize> {
        let mut at = self.skip_blanks(start + 1);
        if self.bytes.get(at) == Some(&b'}') {
            return Some(at + 1);
        }

        let mut missing = node.children.len();
        let mut seen = 0_u64;
        loop {
            let (name, value) = self.name(at)?;
            let child = node.children.iter().position(|child| *child.name == *name);
            let end = match child.filter(|child| seen >> child & 1 == 0) {
                Some(child) => {
                    missing -= 1;
                    seen |= 1 << child;
                    self.value(&node.children[child], value)?
                }
                None => self.skip(value)?,
            };

            at = self.skip_blanks(end);
            match self.bytes.get(at)? {
                b'}' => return Some(at + 1),
                b',' if missing == 0 => return self.rest_of_object(at),
                b',' => at = self.skip_blanks(at + 1),
                _ => return None,
            }
        }
    }

    /// Returns the end of the object around `at`, a place outside of any string.
    ///
    /// Most objects are flat: the first brace closes them. It is outside of a string if a comma, a
    /// quote and a letter follow, for if that quote were the end of a string, no letter could follow it.
    #[inline(always)]
    pub(super) fn rest_of_object(&self, at: usize) -> Option<usize> {
        let brace = simd::brace(self.bytes, at)?;
        match self.bytes.get(brace..brace + 4) {
            Some([b'}', b',', b'"', b'a'..=b'z']) => Some(brace + 1),
            _ if self.is_open => None,
            _ => simd::container_end(self.bytes, at, 1),
        }
    }

    /// Returns the end of any value.
    #[inline(always)]
    pub(super) fn skip(&self, start: usize) -> Option<usize> {
        match self.bytes.get(start)? {
            b'"' => Some(simd::string_end(self.bytes, start + 1)? + 1),
            _ if self.is_open => None,
            b'{' | b'[' => simd::container_end(self.bytes, start + 1, 1),
            _ => {
                let ends_value =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r');
                let end = start + self.bytes[start..].iter().position(ends_value)?;
                is_sound(&self.bytes[start..end]).then_some(end)
            }
        }
    }

    /// Returns the first place at or after `at` that is not a blank.
    #[inline(always)]
    fn skip_blanks(&self, mut at: usize) -> usize {
        let is_blank = |byte: &u8| *byte <= b' ' && matches!(byte, b' ' | b'\t' | b'\r');
        while self.bytes.get(at).is_some_and(is_blank) {
            at += 1;
        }
        at
    }

    /// Removes the values found for a field.
    fn clear(&mut self, node: &Node) {
        for slot in node.slot.iter().chain(&node.through) {
            self.found[*slot] = Found::default();
        }
    }
}

#[inline(always)]
fn level(raw: &[u8]) -> Option<Level> {
    match raw {
        b"\"Metadata\"" => Some(Level::Metadata),
        b"\"Request\"" => Some(Level::Request),
        b"\"RequestResponse\"" => Some(Level::RequestResponse),
        b"\"None\"" => Some(Level::None),
        _ => None,
    }
}

#[inline(always)]
fn stage(raw: &[u8]) -> Option<Stage> {
    match raw {
        b"\"ResponseComplete\"" => Some(Stage::ResponseComplete),
        b"\"RequestReceived\"" => Some(Stage::RequestReceived),
        b"\"ResponseStarted\"" => Some(Stage::ResponseStarted),
        b"\"Panic\"" => Some(Stage::Panic),
        _ => None,
    }
}

#[inline(always)]
fn time(raw: &[u8]) -> Option<Timestamp> {
    Timestamp::parse(raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
}

/// Returns whether a value that is no plain string is one JSON value, by the strict reader's measure.
#[inline(always)]
fn is_sound(raw: &[u8]) -> bool {
    simd::is_plain_string(raw)
        || matches!(raw, b"null" | b"true" | b"false" | b"{}" | b"[]")
        || is_escaped_string(raw)
        || is_value(raw)
}

/// Returns whether this is a string of printable ASCII with escapes of one letter: the reason of a
/// decision quotes names.
fn is_escaped_string(raw: &[u8]) -> bool {
    let [b'"', rest @ .., b'"'] = raw else { return false };

    let mut rest = rest;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let is_simple = rest.get(at + 1).is_some_and(|byte| br#""\/bfnrt"#.contains(byte));
        if !is_simple || !simd::is_plain(&rest[..at]) {
            return false;
        }
        rest = &rest[at + 2..];
    }
    simd::is_plain(rest)
}

/// Returns whether this is one JSON value and nothing else.
#[cold]
pub(crate) fn is_value(raw: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(raw)
        .is_ok_and(|value| value.get().len() == raw.len())
}
