//! The fast reader: walks a line for the wanted keys only, and hands over what it is not sure of.
//!
//! `usual` reads what stands as API servers write it; the walk here goes on with anything else. A line is
//! read from both ends: forward up to the first body, then the timestamps and annotations
//! that stand behind the bodies. Bodies are jumped; what is in there is not checked. Of a repeated
//! key it takes what `strict` takes, which is why that reader knows two kinds of keys.

use std::cell::RefCell;

use super::{Found, Head, Projection, bits, users::Memory};
use crate::event::{Level, Part, Stage, Timestamp};

/// The fields of an event in the order the API server writes them. An index into this is a field.
///
/// Source: the order of `Event` in `staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go`.
const FIELDS: [&str; 19] = [
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "authenticationMetadata",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
];
pub(super) const KIND: usize = 0;
pub(super) const API_VERSION: usize = 1;
pub(super) const LEVEL: usize = 2;
pub(super) const AUDIT_ID: usize = 3;
pub(super) const STAGE: usize = 4;
pub(super) const REQUEST_URI: usize = 5;
pub(super) const VERB: usize = 6;
pub(super) const USER: usize = 7;
pub(super) const IMPERSONATED_USER: usize = 8;
pub(super) const SOURCE_IPS: usize = 10;
pub(super) const USER_AGENT: usize = 11;
pub(super) const OBJECT_REF: usize = 12;
pub(super) const RESPONSE_STATUS: usize = 13;
pub(super) const REQUEST_OBJECT: usize = 14;
const RESPONSE_OBJECT: usize = 15;
pub(super) const RECEIVED: usize = 16;
pub(super) const STAGE_TIMESTAMP: usize = 17;
pub(super) const ANNOTATIONS: usize = 18;

/// How many bytes the name of this field takes in a line with quotes and colon, if `line` goes on
/// with it. Written out, so that each comparison is of a known length.
#[inline(always)]
fn written(field: usize, line: &[u8]) -> Option<usize> {
    macro_rules! compare {
        ($($n:literal $written:literal,)*) => {
            match field { $($n => line.starts_with($written).then_some($written.len()),)* _ => None }
        };
    }
    compare! {
        0 b"\"kind\":",
        1 b"\"apiVersion\":",
        2 b"\"level\":",
        3 b"\"auditID\":",
        4 b"\"stage\":",
        5 b"\"requestURI\":",
        6 b"\"verb\":",
        7 b"\"user\":",
        8 b"\"impersonatedUser\":",
        9 b"\"authenticationMetadata\":",
        10 b"\"sourceIPs\":",
        11 b"\"userAgent\":",
        12 b"\"objectRef\":",
        13 b"\"responseStatus\":",
        14 b"\"requestObject\":",
        15 b"\"responseObject\":",
        16 b"\"requestReceivedTimestamp\":",
        17 b"\"stageTimestamp\":",
        18 b"\"annotations\":",
    }
}

/// What of an object's field is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    name: Box<[u8]>,
    /// Names on the way here, this one included.
    pub depth: usize,
    /// The key that ends here.
    pub slot: Option<usize>,
    /// Keys that go on from here: a list takes them all.
    pub through: Vec<usize>,
    children: Vec<Node>,
}

/// The wanted keys of a projection as a tree of names.
#[derive(Debug, Clone)]
pub(super) struct Scanner {
    /// The wanted fields by their index in `FIELDS`, then any others.
    fields: [Option<Box<Node>>; 19],
    others: Vec<Node>,
    /// Bits of the fields that must have been seen before the rest of the line may be jumped.
    required: u32,
    n_slots: usize,
    /// More names in one object than the walk has bits for: every line is handed over.
    is_too_wide: bool,
    /// Bits of the fields that are wanted from the timestamps on.
    pub tail: u32,
    /// Whether a field up to the stage is wanted.
    pub wants_of_start: bool,
    /// Whether nothing that may stand between the user's groups and the object is wanted, were a line in
    /// another order, too. Of what ends a line the last counts.
    pub may_leap: bool,
    /// What is wanted of the user's name.
    pub username: Option<Box<Node>>,
    /// What is wanted of the user's groups.
    pub groups: Option<Box<Node>>,
    /// What is wanted of the object's resource, if nothing else of the object is.
    pub resource: Option<Box<Node>>,
    /// Whether source IPs or user agent are wanted.
    pub wants_of_client: bool,
    memory: RefCell<Memory>,
}

/// The bits for the names wanted of one object.
const MAX_NAMES: usize = 64;

impl Scanner {
    pub(super) fn new(projection: &Projection) -> Scanner {
        let mut root = Node::default();
        for (slot, key) in projection.keys().iter().enumerate() {
            root.want(slot, key.parts(), 0);
        }
        let is_too_wide = root.is_too_wide();
        let mut scanner = Scanner {
            fields: Default::default(),
            others: Vec::new(),
            required: 1 << KIND | 1 << API_VERSION | 1 << LEVEL | 1 << STAGE,
            n_slots: projection.keys().len(),
            is_too_wide,
            tail: 0,
            wants_of_start: false,
            may_leap: false,
            username: None,
            groups: None,
            resource: None,
            wants_of_client: false,
            memory: RefCell::default(),
        };
        for node in root.children {
            match FIELDS.iter().position(|it| it.as_bytes() == &*node.name) {
                Some(field) => {
                    let bits =
                        if field < RECEIVED { &mut scanner.required } else { &mut scanner.tail };
                    *bits |= 1 << field;
                    scanner.fields[field] = Some(Box::new(node));
                }
                // Who knows where it stands: the whole line is walked.
                None => {
                    scanner.required |= 1 << 31;
                    scanner.others.push(node);
                }
            }
        }
        scanner.wants_of_start = scanner.fields[..=STAGE].iter().any(Option::is_some);
        let (user, object) = (scanner.node(USER), scanner.node(OBJECT_REF));
        let leaf = |node: Option<&Node>, name: &[u8]| {
            node?.children.iter().find(|it| *it.name == *name).cloned().map(Box::new)
        };
        let of_user: &[&[u8]] = &[b"username", b"groups"];
        let wants_usual = user.is_none_or(|it| it.has_only(of_user));
        let (username, groups) = (leaf(user, b"username"), leaf(user, b"groups"));
        let resource = leaf(object.filter(|it| it.has_only(&[b"resource"])), b"resource");
        let is_unwanted = |field: usize| field == OBJECT_REF || scanner.node(field).is_none();
        scanner.may_leap =
            scanner.others.is_empty() && (USER + 1..RECEIVED).all(is_unwanted) && wants_usual;
        (scanner.username, scanner.groups, scanner.resource) = (username, groups, resource);
        scanner.wants_of_client = scanner.node(SOURCE_IPS).or(scanner.node(USER_AGENT)).is_some();
        scanner
    }

    /// What is wanted of a field of `FIELDS`.
    #[inline(always)]
    pub(super) fn node(&self, field: usize) -> Option<&Node> {
        self.fields[field].as_deref()
    }

    /// Reads a line; `None` hands it over to the strict reader.
    pub(super) fn read<'a>(&self, line: &'a [u8], found: &mut Vec<Found<'a>>) -> Option<Head> {
        if self.is_too_wide {
            return None;
        }
        self.with(line, found, |line| {
            let place = line.usual_start(self, true)?;
            line.walk(self, place)
        })
    }

    /// Reads the first line of a text without looking for its end before, if it is a usual one; gives its
    /// length, too.
    pub(super) fn first<'a>(
        &self,
        text: &'a [u8],
        found: &mut Vec<Found<'a>>,
    ) -> Option<(Head, usize)> {
        if self.is_too_wide {
            return None;
        }
        self.with(text, found, |line| {
            line.is_open = true;
            let place = line.usual_start(self, true).filter(|it| it.at > 1)?;
            if line.is_open && self.has_all(&place) && place.guess == RECEIVED {
                let end = line.usual_end(self, place.at)?;
                let ends_line = matches!(text.get(end), None | Some(b'\n'));
                return Some((line.head().filter(|_| ends_line)?, end));
            }
            line.close(place.at);
            let len = line.bytes.len();
            Some((line.walk(self, place)?, len))
        })
    }

    /// Whether all has been seen that is wanted of the start of a line.
    #[inline(always)]
    fn has_all(&self, place: &Place) -> bool {
        self.required & !place.seen == 0
    }

    /// Reads with a fresh line.
    #[inline(always)]
    fn with<'a, R>(
        &self,
        bytes: &'a [u8],
        found: &mut Vec<Found<'a>>,
        read: impl FnOnce(&mut Line<'a, '_>) -> Option<R>,
    ) -> Option<R> {
        found.clear();
        found.resize(self.n_slots, Found::default());
        read(&mut Line {
            bytes,
            is_open: false,
            found,
            level: None,
            stage: None,
            stage_timestamp: None,
            has_user: false,
            memory: &mut self.memory.borrow_mut(),
        })
    }
}

impl Node {
    /// Whether nothing is wanted of this object but fields of these names, whole.
    fn has_only(&self, names: &[&[u8]]) -> bool {
        let is_one = |it: &Node| it.children.is_empty() && names.contains(&&*it.name);
        self.slot.is_none() && self.children.iter().all(is_one)
    }

    fn is_too_wide(&self) -> bool {
        self.children.len() > MAX_NAMES || self.children.iter().any(Node::is_too_wide)
    }

    fn want(&mut self, slot: usize, parts: &[Part], depth: usize) {
        let Some((Part::Name(name), rest)) = parts.split_first() else {
            match parts {
                [] => self.slot = Some(slot),
                _ => self.through.push(slot),
            }
            return;
        };
        if depth > 0 {
            self.through.push(slot);
        }
        let at =
            self.children.iter().position(|it| *it.name == *name.as_bytes()).unwrap_or_else(|| {
                self.children.push(Node {
                    name: name.as_bytes().into(),
                    depth: depth + 1,
                    ..Node::default()
                });
                self.children.len() - 1
            });
        self.children[at].want(slot, rest, depth + 1);
    }
}

/// A line being read. Every step gives `None` for what it is not sure of.
pub(super) struct Line<'a, 'f> {
    pub bytes: &'a [u8],
    /// Whether other lines may follow, since nobody looked for the end of this one: no step of `usual`
    /// crosses a newline, and the walk begins only after [`close`](Line::close).
    pub is_open: bool,
    pub found: &'f mut Vec<Found<'a>>,
    pub level: Option<Level>,
    pub stage: Option<Stage>,
    pub stage_timestamp: Option<Timestamp>,
    pub has_user: bool,
    pub memory: &'f mut Memory,
}

/// How far a line was read, one level deep.
pub(super) struct Place {
    /// Where the next field starts.
    pub at: usize,
    /// The field it may be.
    pub guess: usize,
    /// Bits of the fields that were read.
    pub seen: u32,
    /// Whether this is known to be one level deep only if all that follows is read.
    pub has_leapt: bool,
}

impl<'a> Line<'a, '_> {
    fn head(&self) -> Option<Head> {
        let stage = self.stage?;
        let ends_request = match stage {
            Stage::ResponseComplete | Stage::Panic => true,
            Stage::RequestReceived => false,
            Stage::ResponseStarted if self.has_user => false,
            Stage::ResponseStarted => return None,
        };
        let level = self.level?;
        Some(Head { level, stage, ends_request, stage_timestamp: self.stage_timestamp })
    }

    /// Reads on field by field.
    fn walk(&mut self, wanted: &Scanner, place: Place) -> Option<Head> {
        if self.bytes.first() != Some(&b'{') || self.bytes.last() != Some(&b'}') {
            return None;
        }
        let Place { mut at, mut guess, mut seen, mut has_leapt } = place;
        let mut seen_others = 0_u64;
        let mut has_jumped = false;
        loop {
            if guess == RECEIVED
                && wanted.required & !seen == 0
                && self.usual_end(wanted, at) == Some(self.bytes.len())
            {
                return self.head();
            }
            let (field, value) = self.field(at, guess)?;
            let end = match field {
                Field::Known(field) => {
                    guess = field + 1;
                    let is_repeated = seen & 1 << field != 0;
                    let has_all = wanted.required & !seen == 0;
                    seen |= 1 << field;
                    match field {
                        // Bodies are jumped only from where the depth is known.
                        REQUEST_OBJECT | RESPONSE_OBJECT if has_leapt => {
                            self.found.fill(Found::default());
                            Place { at, guess, seen, has_leapt } =
                                self.usual_start(wanted, false)?;
                            continue;
                        }
                        REQUEST_OBJECT | RESPONSE_OBJECT if has_all => {
                            if let Some(tail) = self.tail(value) {
                                at = tail;
                                guess = RECEIVED;
                                has_jumped = true;
                                seen &= !(1 << ANNOTATIONS);
                                continue;
                            }
                            self.known(wanted, field, value, is_repeated)?
                        }
                        _ => self.known(wanted, field, value, is_repeated)?,
                    }
                }
                Field::Other(name) => match wanted.others.iter().position(|it| *it.name == *name) {
                    Some(other) if seen_others >> other & 1 == 0 => {
                        seen_others |= 1 << other;
                        self.value(&wanted.others[other], value)?
                    }
                    _ => self.skip(value)?,
                },
            };
            if guess == ANNOTATIONS
                && (wanted.required | wanted.tail) & !seen == 0
                && self.end_after_annotations(wanted, end) == Some(self.bytes.len())
            {
                return self.head();
            }
            match self.bytes.get(self.blanks(end))? {
                b',' => at = self.blanks(end) + 1,
                b'}' if self.blanks(end) + 1 == self.bytes.len() => {
                    // Of these the last counts: it may stand in what was jumped.
                    let last = wanted.tail | 1 << STAGE_TIMESTAMP;
                    let is_unsure = (has_jumped || has_leapt) && last & !seen != 0;
                    return self.head().filter(|_| !is_unsure);
                }
                _ => return None,
            }
        }
    }

    /// A field's name and the start of its value; tries the guessed one first.
    #[inline(always)]
    fn field(&self, at: usize, guess: usize) -> Option<(Field<'a>, usize)> {
        if let Some(len) = written(guess, &self.bytes[at..]) {
            return Some((Field::Known(guess), at + len));
        }
        // The usual gaps: no impersonation, no object, no status yet, no bodies.
        let others: &[usize] = match guess {
            8 | 9 => &[SOURCE_IPS],
            OBJECT_REF => &[RESPONSE_STATUS, RECEIVED],
            13..RECEIVED => &[RECEIVED],
            _ => &[],
        };
        for field in others {
            if let Some(len) = written(*field, &self.bytes[at..]) {
                return Some((Field::Known(*field), at + len));
            }
        }
        let start = self.blanks(at);
        let (name, value) = self.name(start)?;
        let field = FIELDS.iter().position(|it| it.as_bytes() == name);
        Some((field.map_or(Field::Other(name), Field::Known), value))
    }

    /// The name that starts at `at`, and where its value starts. Escapes in names are rare: handed over.
    #[inline(always)]
    fn name(&self, at: usize) -> Option<(&'a [u8], usize)> {
        if self.bytes.get(at) != Some(&b'"') {
            return None;
        }
        let end = bits::quote_or_backslash(self.bytes, at + 1)?;
        if self.bytes[end] != b'"' {
            return None;
        }
        let colon = self.blanks(end + 1);
        (self.bytes.get(colon) == Some(&b':'))
            .then(|| (&self.bytes[at + 1..end], self.blanks(colon + 1)))
    }

    /// Reads a field of `FIELDS`; gives the end of its value.
    #[inline(always)]
    fn known(
        &mut self,
        wanted: &Scanner,
        field: usize,
        value: usize,
        is_repeated: bool,
    ) -> Option<usize> {
        let value = self.blanks(value);
        let is_tail = field >= RECEIVED;
        if is_repeated && !is_tail {
            return self.skip(value);
        }
        if field == RESPONSE_STATUS
            && wanted.fields[field].is_none()
            && let Some(rest) = self.bytes[value..].strip_prefix(b"{\"metadata\":{},\"code\":")
            && let [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b'}', ..] = rest
        {
            return Some(value + b"{\"metadata\":{},\"code\":".len() + 4);
        }
        if field == USER && !is_repeated {
            return Some(self.user(wanted, value)?.0);
        }
        let end = match &wanted.fields[field] {
            Some(node) => {
                if is_tail {
                    self.forget(node);
                }
                self.value(node, value)?
            }
            None => self.skip(value)?,
        };
        let raw = &self.bytes[value..end];
        match field {
            KIND if raw != b"\"Event\"" => return None,
            API_VERSION if raw != b"\"audit.k8s.io/v1\"" => return None,
            LEVEL => self.level = Some(level(raw)?),
            STAGE => self.stage = Some(stage(raw)?),
            STAGE_TIMESTAMP => self.stage_timestamp = Some(time(raw)?),
            _ => {}
        }
        Some(end)
    }

    /// Reads a wanted value: its own slot, and those below it. Gives its end.
    pub(super) fn value(&mut self, node: &Node, start: usize) -> Option<usize> {
        let (end, is_list) = match self.bytes.get(start)? {
            b'{' if node.slot.is_none() => return self.object(node, start),
            b'{' => (self.object(node, start)?, false),
            b'[' => (self.skip(start)?, true),
            _ => (self.skip(start)?, false),
        };
        let raw = &self.bytes[start..end];
        let is_plain = bits::is_plain_string(raw);
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

    /// Reads the wanted fields of an object; gives its end.
    fn object(&mut self, node: &Node, start: usize) -> Option<usize> {
        let mut missing = node.children.len();
        let mut at = self.blanks(start + 1);
        if self.bytes.get(at) == Some(&b'}') {
            return Some(at + 1);
        }
        let mut seen = 0_u64;
        loop {
            let (name, value) = self.name(at)?;
            let child = node
                .children
                .iter()
                .position(|it| *it.name == *name)
                .filter(|it| seen >> it & 1 == 0);
            let end = match child {
                Some(child) => {
                    missing -= 1;
                    seen |= 1 << child;
                    self.value(&node.children[child], value)?
                }
                None => self.skip(value)?,
            };
            at = self.blanks(end);
            match self.bytes.get(at)? {
                b'}' => return Some(at + 1),
                b',' if missing == 0 => return self.rest_of_object(at),
                b',' => at = self.blanks(at + 1),
                _ => return None,
            }
        }
    }

    /// The end of the object around `at`, a place outside of any string.
    ///
    /// Most objects are flat: the first brace closes them. It is outside of a string if a comma, a
    /// quote and a letter follow, for were that quote the end of a string, no letter could follow it.
    #[inline(always)]
    pub(super) fn rest_of_object(&self, at: usize) -> Option<usize> {
        let brace = bits::brace(self.bytes, at)?;
        match self.bytes.get(brace..brace + 4) {
            Some([b'}', b',', b'"', b'a'..=b'z']) => Some(brace + 1),
            _ if self.is_open => None,
            _ => bits::container_end(self.bytes, at, 1),
        }
    }

    /// The end of any value.
    #[inline(always)]
    pub(super) fn skip(&self, start: usize) -> Option<usize> {
        match self.bytes.get(start)? {
            b'"' => Some(bits::string_end(self.bytes, start + 1)? + 1),
            _ if self.is_open => None,
            b'{' | b'[' => bits::container_end(self.bytes, start + 1, 1),
            _ => {
                let rest = &self.bytes[start..];
                let end = start
                    + rest
                        .iter()
                        .position(|it| matches!(it, b',' | b'}' | b']' | b' ' | b'\t' | b'\r'))?;
                is_sound(&self.bytes[start..end]).then_some(end)
            }
        }
    }

    /// The first place at or after `at` that is no blank.
    #[inline(always)]
    fn blanks(&self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(|it| *it <= b' ' && matches!(it, b' ' | b'\t' | b'\r'))
        {
            at += 1;
        }
        at
    }

    fn forget(&mut self, node: &Node) {
        for slot in node.slot.iter().chain(&node.through) {
            self.found[*slot] = Found::default();
        }
    }
}

/// A field of the outermost object.
enum Field<'a> {
    /// By its index in `FIELDS`.
    Known(usize),
    Other(&'a [u8]),
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

/// Whether a wanted value is what it seems, by the strict reader's measure.
#[inline(always)]
fn is_sound(raw: &[u8]) -> bool {
    bits::is_plain_string(raw)
        || matches!(raw, b"null" | b"true" | b"false" | b"{}" | b"[]")
        || is_escaped_string(raw)
        || is_value(raw)
}

/// A string of printable ASCII with escapes of one letter: the reason of a decision quotes names.
fn is_escaped_string(raw: &[u8]) -> bool {
    let [b'"', rest @ .., b'"'] = raw else { return false };
    let mut rest = rest;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let is_simple = rest.get(at + 1).is_some_and(|it| br#""\/bfnrt"#.contains(it));
        if !is_simple || !bits::is_plain(&rest[..at]) {
            return false;
        }
        rest = &rest[at + 2..];
    }
    bits::is_plain(rest)
}

/// Whether this is one JSON value and nothing else.
#[cold]
pub(super) fn is_value(raw: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(raw)
        .is_ok_and(|it| it.get().len() == raw.len())
}
