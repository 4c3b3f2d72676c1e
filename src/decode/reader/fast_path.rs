//! The fast path: parses lines in the API server's field order, written without blanks.
//!
//! Each step compares bytes of a known length, or reads a value and what follows it. Where a line
//! differs, or a wanted value is not read by any step, the path ends at the last field boundary and
//! [`Line::read_from`] continues field by field. It would decide the same about everything read here.

use super::{
    Found,
    line_cache::CachedUser,
    scan::{Line, Position},
    simd,
    wanted::{Node, Wanted},
};
use crate::event::{Field, FieldSet, Level, Stage};

/// How API servers start every line of a log.
const START: &[u8] = b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",";

/// The length of a timestamp as API servers write it: `2026-11-22T10:11:12.123456Z`.
pub(super) const TIME: usize = 27;

/// The length of an audit ID as API servers write it.
const UUID: usize = 36;

/// Where a user ends, and where the usual client fields behind it end: `end` if they are not usual.
pub(super) struct UserEnd {
    pub end: usize,
    pub client_end: usize,
}

/// How an attempt to jump from the user to the object ends.
enum Jump {
    /// At the content of `objectRef`.
    To(usize),
    /// Not possible in this line.
    No,
}

/// A literal, and the value that it stands for.
type Choice<T> = (T, &'static [u8]);

const LEVELS: [Choice<Level>; 3] = [
    (Level::Metadata, b"\"level\":\"Metadata\",\"auditID\":\""),
    (Level::RequestResponse, b"\"level\":\"RequestResponse\",\"auditID\":\""),
    (Level::Request, b"\"level\":\"Request\",\"auditID\":\""),
];

const STAGES: [Choice<Stage>; 3] = [
    (Stage::ResponseComplete, b"\",\"stage\":\"ResponseComplete\",\"requestURI\":\""),
    (Stage::RequestReceived, b"\",\"stage\":\"RequestReceived\",\"requestURI\":\""),
    (Stage::ResponseStarted, b"\",\"stage\":\"ResponseStarted\",\"requestURI\":\""),
];

/// Returns the choice whose literal is at `at`, with the offset behind the literal.
#[inline(always)]
fn choose<T: Copy, const N: usize>(
    bytes: &[u8],
    at: usize,
    choices: &[Choice<T>; N],
) -> Option<(T, usize)> {
    let rest = bytes.get(at..)?;
    for (value, literal) in choices {
        if rest.starts_with(literal) {
            return Some((*value, at + literal.len()));
        }
    }
    None
}

/// Returns the offset behind `literal` if it is at `at`.
#[inline(always)]
fn expect(bytes: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(literal).then(|| at + literal.len())
}

impl<'a> Line<'a, '_> {
    /// Reads the first fields as far as they are written as API servers write them.
    #[inline(always)]
    pub(super) fn fast_start(&mut self, wanted: &Wanted) -> Option<Position> {
        self.read_start(wanted, wanted.may_jump)
    }

    /// Reads them again without skipping the fields between user and object.
    pub(super) fn fast_start_without_jump(&mut self, wanted: &Wanted) -> Option<Position> {
        self.read_start(wanted, false)
    }

    #[inline(always)]
    fn read_start(&mut self, wanted: &Wanted, may_jump: bool) -> Option<Position> {
        if wanted.has_start || !self.bytes.starts_with(START) {
            return Some(Position::START);
        }
        let mut seen = FieldSet::new(&[Field::Kind, Field::ApiVersion]);

        let Some((level, id)) = choose(self.bytes, START.len(), &LEVELS) else {
            return self.leave(START.len() - 1, Field::Level, seen);
        };
        self.level = Some(level);
        seen.insert(Field::Level);
        seen.insert(Field::AuditId);

        let end = self.audit_id(id)?;
        let Some((stage, uri)) = choose(self.bytes, end, &STAGES) else {
            return self.leave(end + 1, Field::Stage, seen);
        };
        self.stage = Some(stage);
        seen.insert(Field::Stage);
        seen.insert(Field::RequestUri);

        let end = self.text::<8>(wanted.node(Field::RequestUri), uri)? + 1;
        let Some(verb) = expect(self.bytes, end, b",\"verb\":\"") else {
            return self.leave(end, Field::Verb, seen);
        };
        seen.insert(Field::Verb);

        let end = self.text::<1>(wanted.node(Field::Verb), verb)? + 1;
        let Some(user) = expect(self.bytes, end, b",\"user\":{") else {
            return self.leave(end, Field::User, seen);
        };
        seen.insert(Field::User);

        // Events of other paths have no `objectRef`, and events of other levels may have bodies.
        let may_jump =
            may_jump && level == Level::Metadata && self.bytes[uri..].starts_with(b"/api");
        let jump = if may_jump { self.jump_to_object(wanted, user)? } else { Jump::No };
        let (object, has_jumped) = match jump {
            Jump::To(object) => (object, true),
            Jump::No => {
                let UserEnd { end, client_end } = self.user(wanted, user - 1)?;
                if wanted.has_client || client_end == end {
                    return self.leave(end, Field::ImpersonatedUser, seen);
                }
                match expect(self.bytes, client_end, b",\"objectRef\":{") {
                    Some(object) => (object, false),
                    None => return self.leave(client_end, Field::ObjectRef, seen),
                }
            }
        };
        seen.insert(Field::ObjectRef);

        let end = self.object_ref(wanted, object)?;
        let position = self.read_status(wanted, end, seen)?;
        Some(Position { has_jumped, ..position })
    }

    /// Reads the response status behind the object, if it is nothing but a code that is not wanted.
    #[inline(always)]
    fn read_status(&self, wanted: &Wanted, end: usize, mut seen: FieldSet) -> Option<Position> {
        let is_timestamp =
            |at: usize| self.bytes[at..].starts_with(b",\"requestReceivedTimestamp\":");
        if is_timestamp(end) {
            return self.leave(end, Field::RequestReceivedTimestamp, seen);
        }
        if wanted.node(Field::ResponseStatus).is_some() {
            return self.leave(end, Field::ResponseStatus, seen);
        }

        let status = expect(self.bytes, end, b",\"responseStatus\":");
        let Some(end) = status
            .and_then(|status| self.plain_status(status))
            .filter(|end| self.bytes.get(*end) == Some(&b','))
        else {
            return self.leave(end, Field::ResponseStatus, seen);
        };
        seen.insert(Field::ResponseStatus);

        let guess =
            if is_timestamp(end) { Field::RequestReceivedTimestamp } else { Field::RequestObject };
        self.leave(end, guess, seen)
    }

    /// Ends the fast path behind the value that ends at `end`. `guess` is the next field.
    #[inline(always)]
    fn leave(&self, end: usize, guess: Field, seen: FieldSet) -> Option<Position> {
        (self.bytes.get(end) == Some(&b',')).then_some(Position {
            at: end + 1,
            guess: Some(guess),
            seen,
            has_jumped: false,
        })
    }

    /// Finds the end of an open line, from a place in it on.
    #[inline(always)]
    pub(super) fn close(&mut self, from: usize) {
        if std::mem::take(&mut self.is_open) {
            let rest = &self.bytes[from..];
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.bytes = &self.bytes[..from + len];
        }
    }

    /// Returns the place of the closing quote of an audit ID whose content begins at `from`.
    #[inline(always)]
    fn audit_id(&self, from: usize) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        match rest.first_chunk::<UUID>() {
            Some(id) if rest.get(UUID) == Some(&b'"') && simd::is_plain_text(id) => {
                Some(from + UUID)
            }
            _ => simd::string_end(self.bytes, from),
        }
    }

    /// Jumps from the content of `user`, which begins at `from`, to the content of `objectRef`, and reads
    /// only the user's name and groups on the way.
    ///
    /// That place is the first `objectRef`, one level deep, because:
    /// - In valid JSON `,"objectRef":{` cannot be inside a string, since its quotes are not escaped.
    /// - Without a backslash before it, no name before it is another way to write `objectRef`.
    /// - From there, the line is read to its end without another jump, and is accepted only if the outer
    ///   object closes exactly at its last byte.
    #[inline(always)]
    fn jump_to_object(&mut self, wanted: &Wanted, from: usize) -> Option<Jump> {
        let Some(name) = expect(self.bytes, from, b"\"username\":\"") else {
            return Some(Jump::No);
        };
        let mut end = self.text::<4>(wanted.username.as_deref(), name)?;
        self.has_user = end > name;

        if let Some(groups) = &wanted.groups {
            match self.groups(groups, end + 1) {
                Some(groups_end) => end = groups_end,
                None => return Some(Jump::No),
            }
        }

        // The capital letter in it is rare before it.
        let (before, after) = (b",\"object", b"Ref\":{");
        let mut at = end;
        while let Some(next) = memchr::memchr3(b'R', b'\\', b'\n', &self.bytes[at..]) {
            at += next;
            if self.bytes[at] != b'R' {
                break;
            }
            if self.bytes[at..].starts_with(after) && self.bytes[..at].ends_with(before) {
                return Some(Jump::To(at + after.len()));
            }
            if self.bytes[at..].starts_with(b"Ref\"") {
                break;
            }
            at += 1;
        }
        Some(Jump::No)
    }

    /// Reads the groups of a user, if they follow the name and an optional uid, as strings without
    /// escapes. Returns their end.
    #[inline(always)]
    fn groups(&mut self, node: &Node, from: usize) -> Option<usize> {
        let mut at = from;
        if let Some(uid) = expect(self.bytes, at, b",\"uid\":\"") {
            at = simd::near_string_end::<4>(self.bytes, uid)? + 1;
        }

        at = expect(self.bytes, at, b",\"groups\":[\"")?;
        let start = at - 2;
        let end = loop {
            let end = simd::plain_end::<2>(self.bytes, at)?;
            match self.bytes.get(end + 1..end + 3)? {
                b",\"" => at = end + 3,
                [b']', _] => break end + 2,
                _ => return None,
            }
        };

        let raw = Some(&self.bytes[start..end]);
        for slot in node.slot.iter().chain(&node.through) {
            self.found[*slot] = Found { raw, depth: node.depth, is_plain: false };
        }
        Some(end)
    }

    /// Reads a string that may be wanted and whose content begins at `from`. Returns the place of its
    /// closing quote, which is mostly among the first 16 · `N` bytes.
    #[inline(always)]
    fn text<const N: usize>(&mut self, node: Option<&Node>, from: usize) -> Option<usize> {
        let Some(node) = node else { return simd::near_string_end::<N>(self.bytes, from) };

        match simd::plain_end::<N>(self.bytes, from) {
            Some(end) => {
                if let Some(slot) = node.slot {
                    let raw = Some(&self.bytes[from - 1..end + 1]);
                    self.found[slot] = Found { raw, depth: node.depth, is_plain: true };
                }
                Some(end)
            }
            None => Some(self.value(node, from - 1)? - 1),
        }
    }

    /// Reads the object of a request, whose content begins at `from`. Returns its end.
    #[inline(always)]
    fn object_ref(&mut self, wanted: &Wanted, from: usize) -> Option<usize> {
        let Some(node) = wanted.node(Field::ObjectRef) else { return self.rest_of_object(from) };

        match (&wanted.resource, expect(self.bytes, from, b"\"resource\":\"")) {
            (Some(resource), Some(text)) => {
                let end = self.text::<2>(Some(resource), text)? + 1;
                match self.bytes.get(end)? {
                    b',' => self.rest_of_object(end),
                    b'}' => Some(end + 1),
                    _ => None,
                }
            }
            _ => self.value(node, from - 1),
        }
    }

    /// Reads `user`. User objects are long and repeat often: a known one is only compared, and so are
    /// the client fields behind it.
    #[inline(always)]
    pub(super) fn user(&mut self, wanted: &Wanted, value: usize) -> Option<UserEnd> {
        let rest = &self.bytes[value..];
        let Some(user) = self.cache.users.get(rest) else { return self.new_user(wanted, value) };

        for (slot, place, found) in &user.found {
            self.found[*slot] = Found { raw: Some(&rest[place.clone()]), ..*found };
        }
        self.has_user = user.has_name;

        let (rest, end) = (&rest[user.len..], value + user.len);
        let client = &user.bytes[user.len..];
        if !client.is_empty() && simd::starts_with(rest, client) {
            return Some(UserEnd { end, client_end: end + client.len() });
        }

        let client_len = client_len(rest);
        user.set_client(&rest[..client_len]);
        Some(UserEnd { end, client_end: end + client_len })
    }

    /// Reads a user that is not in the cache, and puts it there.
    #[cold]
    fn new_user(&mut self, wanted: &Wanted, value: usize) -> Option<UserEnd> {
        self.close(value);
        if self.bytes.get(value) != Some(&b'{') {
            return None;
        }

        let node = wanted.node(Field::User);
        let end = match node {
            Some(node) => self.value(node, value)?,
            None => self.skip(value)?,
        };
        let raw = &self.bytes[value..end];
        self.has_user = raw.starts_with(b"{\"username\":\"") && raw.get(13) != Some(&b'"');

        if CachedUser::is_cacheable(raw) {
            let slots = node.into_iter().flat_map(|node| node.slot.iter().chain(&node.through));
            let found = slots.filter_map(|slot| {
                let found = self.found[*slot];
                let start = found.raw?.as_ptr().addr() - raw.as_ptr().addr();
                let place = start..start + found.raw?.len();
                let found = Found { raw: None, depth: found.depth, is_plain: found.is_plain };
                Some((*slot, place, found))
            });
            let user = CachedUser::new(raw, found.collect(), self.has_user);
            self.cache.users.insert(&self.bytes[value..], user);
        }
        Some(UserEnd { end, client_end: end + client_len(&self.bytes[end..]) })
    }

    /// Returns the place of `requestReceivedTimestamp` behind the last body, if the line ends as the API
    /// server ends it. `from` is inside the first body.
    ///
    /// In valid JSON `,"requestReceivedTimestamp":"` cannot be inside a string, since its quotes are
    /// not escaped. From there, the line is read to its end, and is accepted only if the outer object
    /// closes exactly at its last byte: so the place is one level deep.
    pub(super) fn after_bodies(&self, from: usize) -> Option<usize> {
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

        let stage_timestamp = self.field_before(end, b",\"stageTimestamp\":")?;
        let received = self.field_before(stage_timestamp, b",\"requestReceivedTimestamp\":")?;
        (received > from).then_some(received + 1)
    }

    /// Returns the start of `name` if `name` and a short string are right before `end`.
    #[inline(always)]
    fn field_before(&self, end: usize, name: &[u8]) -> Option<usize> {
        let bytes = self.bytes;
        if bytes[end - 1] != b'"' {
            return None;
        }

        // A timestamp as API servers write it.
        if let Some(start) = end.checked_sub(TIME + 2)
            && bytes[start] == b'"'
            && simd::is_plain_text(bytes[start + 1..].first_chunk::<TIME>()?)
        {
            return bytes[..start].ends_with(name).then(|| start - name.len());
        }

        let nearest = end.saturating_sub(64);
        let quote = memchr::memrchr(b'"', &bytes[nearest..end - 1])? + nearest;
        bytes[..quote].ends_with(name).then(|| quote - name.len())
    }

    /// Returns the end of the event if only unwanted annotations follow.
    ///
    /// The first `}` after their start is the last but one byte of the line. Then there is no bracket in
    /// between, and so no other field of the outer object.
    #[inline(always)]
    pub(super) fn end_after_annotations(&self, wanted: &Wanted, from: usize) -> Option<usize> {
        let start = expect(self.bytes, from, b",\"annotations\":{")?;
        if wanted.node(Field::Annotations).is_some() {
            return None;
        }

        let end = start + memchr::memchr2(b'}', b'\n', &self.bytes[start..])?;
        expect(self.bytes, end, b"}}")
    }

    /// Reads the timestamps that end an event, and the annotations behind them, if none of these is
    /// wanted and they are written from `at` on as API servers write them. Returns the end of the event.
    #[inline(always)]
    pub(super) fn fast_end(&mut self, wanted: &Wanted, at: usize) -> Option<usize> {
        const NAME: &[u8] = b"\"requestReceivedTimestamp\":\"";
        const GAP: &[u8] = b"\",\"stageTimestamp\":\"";
        const FIRST: usize = NAME.len();
        const SECOND: usize = FIRST + TIME + GAP.len();
        const END: usize = SECOND + TIME;

        if !wanted.after_bodies.is_empty() {
            return None;
        }

        let times = self.bytes[at..].first_chunk::<{ END + 2 }>()?;
        let is_usual = times.starts_with(NAME)
            && simd::is_plain_text::<TIME>(times[FIRST..].first_chunk()?)
            && times[FIRST + TIME..].starts_with(GAP)
            && times[END] == b'"';
        if !is_usual {
            return None;
        }

        let time = self.cache.clock.parse(times[SECOND..].first_chunk()?)?;
        let end = at + END + 1;
        let end = match times[END + 1] {
            b'}' => end + 1,
            _ => self.end_after_annotations(wanted, end)?,
        };
        self.stage_timestamp = Some(time);
        Some(end)
    }
}

/// Returns the length of the source address and the user agent at the start of `rest`, from comma to
/// quote; 0 for anything else.
fn client_len(rest: &[u8]) -> usize {
    let end = || {
        let address = expect(rest, 0, b",\"sourceIPs\":[\"")?;
        let agent = expect(rest, simd::string_end(rest, address)?, b"\"],\"userAgent\":\"")?;
        Some(simd::string_end(rest, agent)? + 1)
    };
    end().unwrap_or(0)
}
