//! The fast reader: walks a line for the wanted keys only, and hands over what it is not sure of.
//!
//! A line is read from both ends: forward up to the first body, then the timestamps and annotations
//! that stand behind the bodies. Bodies are jumped; what is in there is not checked. Of a repeated
//! key it takes what `strict` takes, which is why that reader knows two kinds of keys.

use std::cell::RefCell;

use super::{
    Found, Head, Projection, bits,
    users::{KnownUser, Users},
};
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
const KIND: usize = 0;
const API_VERSION: usize = 1;
const LEVEL: usize = 2;
const AUDIT_ID: usize = 3;
const STAGE: usize = 4;
const REQUEST_URI: usize = 5;
const VERB: usize = 6;
const USER: usize = 7;
const SOURCE_IPS: usize = 10;
const USER_AGENT: usize = 11;
const OBJECT_REF: usize = 12;
const RESPONSE_STATUS: usize = 13;
const REQUEST_OBJECT: usize = 14;
const RESPONSE_OBJECT: usize = 15;
const RECEIVED: usize = 16;
const STAGE_TIMESTAMP: usize = 17;
const ANNOTATIONS: usize = 18;

/// How many bytes a time has as API servers write it: `2026-11-22T10:11:12.123456Z`.
const USUAL_TIME: usize = 27;

/// How API servers start every line of a log.
const START: &[u8] = b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",";

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
struct Node {
    name: Box<[u8]>,
    /// Names on the way here, this one included.
    depth: usize,
    /// The key that ends here.
    slot: Option<usize>,
    /// Keys that go on from here: a list takes them all.
    through: Vec<usize>,
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
    /// Whether a field up to the stage is wanted.
    wants_of_start: bool,
    users: RefCell<Users>,
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
            wants_of_start: false,
            users: RefCell::default(),
        };
        for node in root.children {
            match FIELDS.iter().position(|it| it.as_bytes() == &*node.name) {
                Some(field) => {
                    if field < RECEIVED {
                        scanner.required |= 1 << field;
                    }
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
        scanner
    }

    /// Reads a line; `None` hands it over to the strict reader.
    pub(super) fn read<'a>(&self, line: &'a [u8], found: &mut Vec<Found<'a>>) -> Option<Head> {
        if self.is_too_wide {
            return None;
        }
        found.clear();
        found.resize(self.n_slots, Found::default());
        let mut line = Line {
            bytes: line,
            found,
            level: None,
            stage: None,
            stage_timestamp: None,
            has_user: false,
        };
        line.walk(self)?;
        let stage = line.stage?;
        let ends_request = match stage {
            Stage::ResponseComplete | Stage::Panic => true,
            Stage::RequestReceived => false,
            Stage::ResponseStarted if line.has_user => false,
            Stage::ResponseStarted => return None,
        };
        Some(Head {
            level: line.level?,
            stage,
            ends_request,
            stage_timestamp: line.stage_timestamp,
        })
    }
}

impl Node {
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
struct Line<'a, 'f> {
    bytes: &'a [u8],
    found: &'f mut Vec<Found<'a>>,
    level: Option<Level>,
    stage: Option<Stage>,
    stage_timestamp: Option<Timestamp>,
    has_user: bool,
}

impl<'a> Line<'a, '_> {
    fn walk(&mut self, wanted: &Scanner) -> Option<()> {
        if self.bytes.first() != Some(&b'{') || self.bytes.last() != Some(&b'}') {
            return None;
        }
        let (mut at, mut guess, mut seen) = self.usual_start(wanted)?;
        let mut seen_others = 0_u64;
        let mut has_jumped = false;
        loop {
            if guess == RECEIVED && wanted.required & !seen == 0 && self.usual_end(wanted, at) {
                return Some(());
            }
            let (field, value) = self.field(at, guess)?;
            let end = match field {
                Field::Known(field) => {
                    guess = field + 1;
                    let is_repeated = seen & 1 << field != 0;
                    let has_all = wanted.required & !seen == 0;
                    seen |= 1 << field;
                    match field {
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
                && wanted.required & !seen == 0
                && self.ends_after_annotations(wanted, end)
            {
                return Some(());
            }
            match self.bytes.get(self.blanks(end))? {
                b',' => at = self.blanks(end) + 1,
                b'}' if self.blanks(end) + 1 == self.bytes.len() => {
                    // Other annotations may stand in what was jumped.
                    let is_unsure = has_jumped
                        && wanted.fields[ANNOTATIONS].is_some()
                        && seen >> ANNOTATIONS & 1 == 0;
                    return (!is_unsure).then_some(());
                }
                _ => return None,
            }
        }
    }

    /// Reads the fields that begin a line, as long as they stand as API servers write them; gives where
    /// the next field starts, which it may be, and the fields that were seen.
    ///
    /// The same as the walk below does field by field: here each gap between two values is one
    /// comparison.
    #[inline(always)]
    fn usual_start(&mut self, wanted: &Scanner) -> Option<(usize, usize, u32)> {
        let bytes = self.bytes;
        if !bytes.starts_with(START) || wanted.wants_of_start {
            return Some((1, 0, 0));
        }
        let mut seen = 1 << KIND | 1 << API_VERSION;
        // Behind a value that ends at `$end`: goes on after `$gap`, or leaves the rest to the walk.
        macro_rules! gap {
            ($end:expr, $gap:literal, $field:expr) => {{
                let end = $end;
                match bytes.get(end..)? {
                    rest if rest.starts_with($gap) => end + $gap.len(),
                    [b',', ..] => return Some((end + 1, $field, seen)),
                    _ => return None,
                }
            }};
        }
        let after_level = &bytes[START.len()..];
        let (level, len) = [
            (Level::Metadata, &b"\"level\":\"Metadata\",\"auditID\":\""[..]),
            (Level::RequestResponse, b"\"level\":\"RequestResponse\",\"auditID\":\""),
            (Level::Request, b"\"level\":\"Request\",\"auditID\":\""),
        ]
        .into_iter()
        .find_map(|(level, text)| after_level.starts_with(text).then_some((level, text.len())))
        .unwrap_or_default();
        if len == 0 {
            return Some((START.len(), LEVEL, seen));
        }
        self.level = Some(level);
        seen |= 1 << LEVEL | 1 << AUDIT_ID;
        let at = bits::string_end(bytes, START.len() + len)? + 1;
        let at = gap!(at, b",\"stage\":\"", STAGE);
        let end = bits::string_end(bytes, at)? + 1;
        self.stage = Some(stage(&bytes[at - 1..end])?);
        seen |= 1 << STAGE;
        let at = gap!(end, b",\"requestURI\":", REQUEST_URI);
        let at = self.wanted_text(wanted, REQUEST_URI, at)?;
        seen |= 1 << REQUEST_URI;
        let at = gap!(at, b",\"verb\":", VERB);
        let at = self.wanted_text(wanted, VERB, at)?;
        seen |= 1 << VERB;
        let at = gap!(at, b",\"user\":", USER);
        let at = self.user(wanted, at)?;
        seen |= 1 << USER;
        if wanted.fields[SOURCE_IPS].is_some() || wanted.fields[USER_AGENT].is_some() {
            return (bytes.get(at) == Some(&b',')).then_some((at + 1, SOURCE_IPS, seen));
        }
        let at = gap!(at, b",\"sourceIPs\":[\"", SOURCE_IPS);
        let end = bits::string_end(bytes, at)?;
        if !bytes[end..].starts_with(b"\"],\"userAgent\":\"") {
            let at = bits::container_end(bytes, at - 1, 1)?;
            seen |= 1 << SOURCE_IPS;
            return (bytes.get(at) == Some(&b',')).then_some((at + 1, USER_AGENT, seen));
        }
        seen |= 1 << SOURCE_IPS | 1 << USER_AGENT;
        let at = bits::string_end(bytes, end + b"\"],\"userAgent\":\"".len())? + 1;
        (bytes.get(at) == Some(&b',')).then_some((at + 1, OBJECT_REF, seen))
    }

    /// Reads a field that is a text and may be wanted; gives its end.
    #[inline(always)]
    fn wanted_text(&mut self, wanted: &Scanner, field: usize, start: usize) -> Option<usize> {
        if self.bytes.get(start) != Some(&b'"') {
            return None;
        }
        match &wanted.fields[field] {
            Some(node) => self.value(node, start),
            None => Some(bits::string_end(self.bytes, start + 1)? + 1),
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
        if self.bytes[end] == b'\\' {
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
            return self.user(wanted, value);
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
            USER => {
                self.has_user = raw.starts_with(b"{\"username\":\"") && raw.get(13) != Some(&b'"')
            }
            _ => {}
        }
        Some(end)
    }

    /// Reads `user`, which is long and comes again and again: known ones are only compared.
    fn user(&mut self, wanted: &Scanner, value: usize) -> Option<usize> {
        let mut users = wanted.users.borrow_mut();
        let mut place = users.place(&self.bytes[value..]);
        if let Some(Some(user)) = place.as_deref()
            && self.bytes[value..].starts_with(&user.raw)
        {
            for (slot, place, depth) in &user.found {
                let raw = &self.bytes[value + place.start..value + place.end];
                self.found[*slot] = Found { raw: Some(raw), depth: *depth };
            }
            self.has_user = user.has_name;
            return Some(value + user.raw.len());
        }
        let node = wanted.fields[USER].as_deref();
        let end = match node {
            Some(node) => self.value(node, value)?,
            None => self.skip(value)?,
        };
        let raw = &self.bytes[value..end];
        self.has_user = raw.starts_with(b"{\"username\":\"") && raw.get(13) != Some(&b'"');
        if let Some(place) = place.take_if(|_| KnownUser::is_kept(raw)) {
            let slots = node.into_iter().flat_map(|it| it.slot.iter().chain(&it.through));
            let found = slots.filter_map(|slot| {
                let Found { raw: Some(inner), depth } = self.found[*slot] else { return None };
                let start = inner.as_ptr().addr() - raw.as_ptr().addr();
                Some((*slot, start..start + inner.len(), depth))
            });
            let user =
                KnownUser { raw: raw.into(), found: found.collect(), has_name: self.has_user };
            *place = Some(Box::new(user));
        }
        Some(end)
    }

    /// After a body began: the place of `requestReceivedTimestamp` behind the last body, if the line
    /// ends as the API server ends it. Only a proof will do:
    ///
    /// In valid JSON `,"requestReceivedTimestamp":"` cannot be inside a string, since its quotes are
    /// not escaped. From there the walk goes on as everywhere, and it accepts the line only if the
    /// object closes exactly at the line's last byte: so the place is one level deep.
    fn tail(&self, from: usize) -> Option<usize> {
        let bytes = self.bytes;
        let mut end = bytes.len() - 1;
        // Annotations follow the timestamps. Their values rarely hold a bracket.
        if bytes[end - 1] == b'}' {
            let mut tries = 0;
            end = loop {
                let open = memchr::memrchr(b'{', &bytes[from..end])? + from;
                if bytes[..open].ends_with(b"\",\"annotations\":") {
                    break open - b",\"annotations\":".len();
                }
                tries += 1;
                if tries > 16 {
                    return None;
                }
                end = open;
            };
        }
        let stage_timestamp = self.before(end, b",\"stageTimestamp\":")?;
        let received = self.before(stage_timestamp, b",\"requestReceivedTimestamp\":")?;
        (received > from).then_some(received + 1)
    }

    /// The start of `name` if it and a short string stand right before `end`.
    #[inline(always)]
    fn before(&self, end: usize, name: &[u8]) -> Option<usize> {
        let bytes = self.bytes;
        if bytes[end - 1] != b'"' {
            return None;
        }
        // A time as API servers write it.
        if let Some(start) = end.checked_sub(USUAL_TIME + 2)
            && bytes[start] == b'"'
            && bits::has_no_quote(&bytes[start + 1..end - 1])
        {
            return bytes[..start].ends_with(name).then(|| start - name.len());
        }
        let quote = memchr::memrchr(b'"', &bytes[end.saturating_sub(64)..end - 1])?
            + end.saturating_sub(64);
        bytes[..quote].ends_with(name).then(|| quote - name.len())
    }

    /// Whether only unwanted annotations follow, and the line ends with them.
    ///
    /// The first `}` after their start is the last but one byte: then no bracket is in between, so
    /// nothing of the outer object is either.
    #[inline(always)]
    fn ends_after_annotations(&self, wanted: &Scanner, end: usize) -> bool {
        let bytes = self.bytes;
        if wanted.fields[ANNOTATIONS].is_some() {
            return false;
        }
        let name = b",\"annotations\":{";
        bytes[end..].starts_with(name)
            && memchr::memchr(b'}', &bytes[end + name.len()..])
                .is_some_and(|it| end + name.len() + it + 2 == bytes.len())
    }

    /// Reads the times that end a line, and the unwanted annotations behind them, if they stand from
    /// `at` to its last byte as API servers write them.
    ///
    /// The same as the walk does field by field.
    #[inline(always)]
    fn usual_end(&mut self, wanted: &Scanner, at: usize) -> bool {
        let is_wanted = |field: usize| wanted.fields[field].is_some();
        if is_wanted(RECEIVED) || is_wanted(STAGE_TIMESTAMP) {
            return false;
        }
        let received = b"\"requestReceivedTimestamp\":\"";
        let stage = b"\",\"stageTimestamp\":\"";
        let times = at + received.len()..at + received.len() + 2 * USUAL_TIME + stage.len();
        let Some(rest) = self.bytes.get(at..times.end + 2) else { return false };
        let (first, second) = rest[received.len()..].split_at(USUAL_TIME);
        if !rest.starts_with(received) || !bits::has_no_quote(first) || !second.starts_with(stage) {
            return false;
        }
        let Some(time) = Timestamp::parse(&second[stage.len()..stage.len() + USUAL_TIME]) else {
            return false;
        };
        let end = times.end + 1;
        let is_last = self.bytes[end..] == *b"}";
        if self.bytes[times.end] != b'"' || !(is_last || self.ends_after_annotations(wanted, end)) {
            return false;
        }
        self.stage_timestamp = Some(time);
        true
    }

    /// Reads a wanted value: its own slot, and those below it. Gives its end.
    fn value(&mut self, node: &Node, start: usize) -> Option<usize> {
        let (end, is_list) = match self.bytes.get(start)? {
            b'{' if node.slot.is_none() => return self.object(node, start),
            b'{' => (self.object(node, start)?, false),
            b'[' => (self.skip(start)?, true),
            _ => (self.skip(start)?, false),
        };
        let raw = &self.bytes[start..end];
        if !is_sound(raw) {
            return None;
        }
        if let Some(slot) = node.slot {
            self.found[slot] = Found { raw: Some(raw), depth: node.depth };
        }
        if is_list {
            for slot in &node.through {
                self.found[*slot] = Found { raw: Some(raw), depth: node.depth };
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
    fn rest_of_object(&self, at: usize) -> Option<usize> {
        let brace = at + memchr::memchr2(b'{', b'}', &self.bytes[at..])?;
        match self.bytes.get(brace..brace + 4) {
            Some([b'}', b',', b'"', b'a'..=b'z']) => Some(brace + 1),
            _ => bits::container_end(self.bytes, at, 1),
        }
    }

    /// The end of any value.
    #[inline(always)]
    fn skip(&self, start: usize) -> Option<usize> {
        match self.bytes.get(start)? {
            b'"' => Some(bits::string_end(self.bytes, start + 1)? + 1),
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
    is_plain_string(raw)
        || matches!(raw, b"null" | b"true" | b"false" | b"{}" | b"[]")
        || is_escaped_string(raw)
        || is_value(raw)
}

/// A string of printable ASCII without escapes: nothing in it can be wrong.
#[inline(always)]
fn is_plain_string(raw: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = raw else { return false };
    bits::is_plain(inner)
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
