//! The usual line: the fields of an event in the API server's order and without blanks between them.
//!
//! Each step is a comparison of known length, or a value and the gap behind it. Where a line is not as
//! usual, or something is wanted that no step reads, the walk goes on from there field by field: what
//! is decided here, the walk would decide the same.

use super::{
    Found, bits,
    scan::{
        ANNOTATIONS, API_VERSION, AUDIT_ID, IMPERSONATED_USER, KIND, LEVEL, Line, Node, OBJECT_REF,
        Place, RECEIVED, REQUEST_OBJECT, REQUEST_URI, RESPONSE_STATUS, STAGE, Scanner, USER, VERB,
    },
    users::KnownUser,
};
use crate::event::{Level, Stage};

/// How API servers start every line of a log.
const START: &[u8] = b"{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",";

/// How many bytes a time has as API servers write it: `2026-11-22T10:11:12.123456Z`.
pub(super) const TIME: usize = 27;

/// How many bytes an audit ID has as API servers write it.
const UUID: usize = 36;

/// The length of the source IP and the user agent that this begins with, from comma to quote; 0 for
/// anything else.
fn client_len(rest: &[u8]) -> usize {
    let ips = b",\"sourceIPs\":[\"";
    let agent = b"\"],\"userAgent\":\"";
    let end = || {
        let end = bits::string_end(rest, rest.strip_prefix(ips).map(|_| ips.len())?)?;
        bits::string_end(rest, rest[end..].strip_prefix(agent).map(|_| end + agent.len())?)
    };
    end().map_or(0, |it| it + 1)
}

impl<'a> Line<'a, '_> {
    /// Reads the fields that begin a line, as long as they stand as API servers write them.
    #[inline(always)]
    pub(super) fn usual_start(&mut self, wanted: &Scanner, may_leap: bool) -> Option<Place> {
        let mut bytes = self.bytes;
        if wanted.wants_of_start || !bytes.starts_with(START) {
            return Some(Place { at: 1, guess: 0, seen: 0, has_leapt: false });
        }
        let mut seen = 1 << KIND | 1 << API_VERSION;
        let mut has_leapt = false;
        // Leaves the rest, from a comma on, to the walk.
        macro_rules! leave {
            ($end:expr, $field:expr) => {
                return (bytes.get($end) == Some(&b',')).then_some(Place {
                    at: $end + 1,
                    guess: $field,
                    seen,
                    has_leapt,
                })
            };
        }
        // Goes on behind `$gap`, if it follows the value that ends at `$end`.
        macro_rules! gap {
            ($end:expr, $gap:literal, $field:expr) => {
                match $end {
                    end if bytes.get(end..)?.starts_with($gap) => end + $gap.len(),
                    end => leave!(end, $field),
                }
            };
        }
        // The value of the text that stands at `$at`, and the place behind that; or `$other`.
        macro_rules! one_of {
            ($at:expr, $other:expr, $($value:expr => $text:literal)*) => {
                match &bytes[$at..] {
                    $(rest if rest.starts_with($text) => ($value, $at + $text.len()),)*
                    _ => $other,
                }
            };
        }
        let (level, at) = one_of! {
            START.len(), leave!(START.len() - 1, LEVEL),
            Level::Metadata => b"\"level\":\"Metadata\",\"auditID\":\""
            Level::RequestResponse => b"\"level\":\"RequestResponse\",\"auditID\":\""
            Level::Request => b"\"level\":\"Request\",\"auditID\":\""
        };
        self.level = Some(level);
        seen |= 1 << LEVEL | 1 << AUDIT_ID;
        let rest = bytes.get(at..)?;
        let end = match rest.first_chunk::<UUID>() {
            Some(id) if rest.get(UUID) == Some(&b'"') && bits::is_plain_text(id) => at + UUID,
            _ => bits::string_end(bytes, at)?,
        };
        let (stage, uri) = one_of! {
            end, leave!(end + 1, STAGE),
            Stage::ResponseComplete => b"\",\"stage\":\"ResponseComplete\",\"requestURI\":\""
            Stage::RequestReceived => b"\",\"stage\":\"RequestReceived\",\"requestURI\":\""
            Stage::ResponseStarted => b"\",\"stage\":\"ResponseStarted\",\"requestURI\":\""
        };
        self.stage = Some(stage);
        seen |= 1 << STAGE | 1 << REQUEST_URI;
        let end = self.text::<8>(wanted.node(REQUEST_URI), uri)?;
        let at = gap!(end + 1, b",\"verb\":\"", VERB);
        let end = self.text::<1>(wanted.node(VERB), at)?;
        seen |= 1 << VERB;
        let at = gap!(end + 1, b",\"user\":{", USER);
        // Other paths are no objects.
        let may_leap = may_leap && level == Level::Metadata && bytes[uri..].starts_with(b"/api");
        let at = match if may_leap { self.leap(wanted, at)? } else { None } {
            Some(at) => {
                has_leapt = true;
                at
            }
            None => {
                let (end, end_of_client) = self.user(wanted, at - 1)?;
                bytes = self.bytes;
                seen |= 1 << USER;
                if wanted.wants_of_client || end_of_client == end {
                    leave!(end, IMPERSONATED_USER);
                }
                gap!(end_of_client, b",\"objectRef\":{", OBJECT_REF)
            }
        };
        seen |= 1 << USER | 1 << OBJECT_REF;
        let end = self.object_ref(wanted, at)?;
        if bytes[end..].starts_with(b",\"requestReceivedTimestamp\":") {
            leave!(end, RECEIVED);
        }
        if wanted.node(RESPONSE_STATUS).is_some() {
            leave!(end, RESPONSE_STATUS);
        }
        let at = gap!(end, b",\"responseStatus\":{\"metadata\":{},\"code\":", RESPONSE_STATUS);
        let end = match bytes.get(at..at + 5)? {
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b'}', b','] => at + 4,
            _ => leave!(end, RESPONSE_STATUS),
        };
        seen |= 1 << RESPONSE_STATUS;
        if bytes[end..].starts_with(b",\"requestReceivedTimestamp\":") {
            leave!(end, RECEIVED);
        }
        leave!(end, REQUEST_OBJECT)
    }

    /// Looks for the end of an open line, from a place in it on.
    #[inline(always)]
    pub(super) fn close(&mut self, from: usize) {
        if std::mem::take(&mut self.is_open) {
            let rest = &self.bytes[from..];
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.bytes = &self.bytes[..from + len];
        }
    }

    /// From the content of `user` on, which begins at `from`, to the content of `objectRef`, if of what is
    /// between them nothing but the user's name and groups is wanted.
    ///
    /// Is that place the first `objectRef`, and one level deep? In valid JSON `,"objectRef":{` cannot be
    /// inside a string, since its quotes are not escaped. Without a backslash before it, no name before it
    /// is another way to write `objectRef`. And who leaps reads on to the line's end without another one:
    /// it accepts the line only if the object closes exactly at the last byte.
    #[inline(always)]
    fn leap(&mut self, wanted: &Scanner, from: usize) -> Option<Option<usize>> {
        let name = b"\"username\":\"";
        if !wanted.may_leap || !self.bytes.get(from..)?.starts_with(name) {
            return Some(None);
        }
        let from = from + name.len();
        let mut end = self.text::<4>(wanted.username.as_deref(), from)?;
        self.has_user = end > from;
        if let Some(groups) = &wanted.groups {
            match self.groups(groups, end + 1) {
                Some(behind) => end = behind,
                None => return Some(None),
            }
        }
        // The one capital letter in it is rare before it.
        let (before, after) = (b",\"object", b"Ref\":{");
        let mut at = end;
        while let Some(next) = memchr::memchr3(b'R', b'\\', b'\n', &self.bytes[at..]) {
            at += next;
            if self.bytes[at] != b'R' {
                break;
            }
            if self.bytes[at..].starts_with(after) && self.bytes[..at].ends_with(before) {
                return Some(Some(at + after.len()));
            }
            if self.bytes[at..].starts_with(b"Ref\"") {
                break;
            }
            at += 1;
        }
        Some(None)
    }

    /// Reads the groups of a user, if they follow the name and perhaps the uid, as texts without escapes;
    /// gives their end.
    #[inline(always)]
    fn groups(&mut self, node: &Node, from: usize) -> Option<usize> {
        let mut at = from;
        if self.bytes.get(at..)?.starts_with(b",\"uid\":\"") {
            at = bits::near_string_end::<4>(self.bytes, at + b",\"uid\":\"".len())? + 1;
        }
        if !self.bytes.get(at..)?.starts_with(b",\"groups\":[\"") {
            return None;
        }
        let start = at + b",\"groups\":".len();
        at = start + 2;
        let end = loop {
            let end = bits::plain_end::<2>(self.bytes, at)?;
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

    /// Reads a text that may be wanted and whose content begins at `from`; gives the place of its
    /// closing quote, which is mostly among the first 16 · `N` bytes.
    #[inline(always)]
    fn text<const N: usize>(&mut self, node: Option<&Node>, from: usize) -> Option<usize> {
        let Some(node) = node else { return bits::near_string_end::<N>(self.bytes, from) };
        match bits::plain_end::<N>(self.bytes, from) {
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

    /// Reads the object of a request, the content of which begins at `from`; gives its end.
    #[inline(always)]
    fn object_ref(&mut self, wanted: &Scanner, from: usize) -> Option<usize> {
        let Some(node) = wanted.node(OBJECT_REF) else { return self.rest_of_object(from) };
        let name = b"\"resource\":\"";
        match &wanted.resource {
            Some(resource) if self.bytes.get(from..)?.starts_with(name) => {
                let end = self.text::<2>(Some(resource), from + name.len())? + 1;
                match self.bytes.get(end)? {
                    b',' => self.rest_of_object(end),
                    b'}' => Some(end + 1),
                    _ => None,
                }
            }
            _ => self.value(node, from - 1),
        }
    }

    /// Reads `user`, which is long and comes again and again: a known one is only compared, and so is the
    /// client behind it. Gives the end of the user, and that of the client if it is a usual one.
    #[inline(always)]
    pub(super) fn user(&mut self, wanted: &Scanner, value: usize) -> Option<(usize, usize)> {
        let rest = &self.bytes[value..];
        let Some(user) = self.memory.users.known(rest) else { return self.new_user(wanted, value) };
        for (slot, place, found) in &user.found {
            self.found[*slot] = Found { raw: Some(&rest[place.clone()]), ..*found };
        }
        self.has_user = user.has_name;
        let (rest, end) = (&rest[user.len..], value + user.len);
        let client = &user.bytes[user.len..];
        if !client.is_empty() && bits::starts_with(rest, client) {
            return Some((end, end + client.len()));
        }
        let len = client_len(rest);
        user.keep_client(&rest[..len]);
        Some((end, end + len))
    }

    /// The same for a user that is not known, or not any more.
    #[cold]
    fn new_user(&mut self, wanted: &Scanner, value: usize) -> Option<(usize, usize)> {
        self.close(value);
        let node = wanted.node(USER);
        let end = match node {
            Some(node) => self.value(node, value)?,
            None => self.skip(value)?,
        };
        let raw = &self.bytes[value..end];
        self.has_user = raw.starts_with(b"{\"username\":\"") && raw.get(13) != Some(&b'"');
        let client = client_len(&self.bytes[end..]);
        if KnownUser::is_kept(raw) {
            let slots = node.into_iter().flat_map(|it| it.slot.iter().chain(&it.through));
            let found = slots.filter_map(|slot| {
                let found = self.found[*slot];
                let start = found.raw?.as_ptr().addr() - raw.as_ptr().addr();
                let place = start..start + found.raw?.len();
                let found = Found { raw: None, depth: found.depth, is_plain: found.is_plain };
                Some((*slot, place, found))
            });
            let user = KnownUser::new(raw, found.collect(), self.has_user);
            self.memory.users.keep(&self.bytes[value..], user);
        }
        Some((end, end + client))
    }

    /// After a body began: the place of `requestReceivedTimestamp` behind the last body, if the line
    /// ends as the API server ends it. Only a proof will do:
    ///
    /// In valid JSON `,"requestReceivedTimestamp":"` cannot be inside a string, since its quotes are
    /// not escaped. From there the walk goes on as everywhere, and it accepts the line only if the
    /// object closes exactly at the line's last byte: so the place is one level deep.
    pub(super) fn tail(&self, from: usize) -> Option<usize> {
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
        if let Some(start) = end.checked_sub(TIME + 2)
            && bytes[start] == b'"'
            && bits::is_plain_text(bytes[start + 1..].first_chunk::<TIME>()?)
        {
            return bytes[..start].ends_with(name).then(|| start - name.len());
        }
        let quote = memchr::memrchr(b'"', &bytes[end.saturating_sub(64)..end - 1])?
            + end.saturating_sub(64);
        bytes[..quote].ends_with(name).then(|| quote - name.len())
    }

    /// The end of the event, if only unwanted annotations follow.
    ///
    /// The first `}` after their start is the last but one byte: then no bracket is in between, so
    /// nothing of the outer object is either.
    #[inline(always)]
    pub(super) fn end_after_annotations(&self, wanted: &Scanner, from: usize) -> Option<usize> {
        let name = b",\"annotations\":{";
        let rest = self.bytes[from..].strip_prefix(name)?;
        let end =
            memchr::memchr2(b'}', b'\n', rest).filter(|_| wanted.node(ANNOTATIONS).is_none())?;
        rest[end..].starts_with(b"}}").then_some(from + name.len() + end + 2)
    }

    /// Reads the times that end an event, and the annotations behind them, if nobody wants any of these and
    /// they stand from `at` on as API servers write them; gives the end of the event.
    #[inline(always)]
    pub(super) fn usual_end(&mut self, wanted: &Scanner, at: usize) -> Option<usize> {
        if wanted.tail != 0 {
            return None;
        }
        const NAME: &[u8] = b"\"requestReceivedTimestamp\":\"";
        const GAP: &[u8] = b"\",\"stageTimestamp\":\"";
        const FIRST: usize = NAME.len();
        const SECOND: usize = FIRST + TIME + GAP.len();
        const END: usize = SECOND + TIME;
        let times = self.bytes[at..].first_chunk::<{ END + 2 }>()?;
        let is_usual = times.starts_with(NAME)
            && bits::is_plain_text::<TIME>(times[FIRST..].first_chunk()?)
            && times[FIRST + TIME..].starts_with(GAP)
            && times[END] == b'"';
        if !is_usual {
            return None;
        }
        let time = self.memory.clock.time(times[SECOND..].first_chunk()?)?;
        let end = at + END + 1;
        let end = match times[END + 1] {
            b'}' => end + 1,
            _ => self.end_after_annotations(wanted, end)?,
        };
        self.stage_timestamp = Some(time);
        Some(end)
    }
}
