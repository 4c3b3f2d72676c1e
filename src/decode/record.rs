//! One event as its line and the values that were asked for.

use std::cell::RefCell;

use super::{Projection, Slot};
use crate::event::{Event, Json, Level, Part, Stage, Timestamp};

/// The value found on the way along a key: the whole way, or as far as the first list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// The bytes of a JSON value; `None` if there is none.
    pub raw: Option<&'a [u8]>,
    /// How many parts of the key lead there.
    pub depth: usize,
    /// Whether it is a string of printable ASCII without escapes.
    pub is_plain: bool,
}

/// What every event has, whatever is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    pub level: Level,
    pub stage: Stage,
    /// Whether this is the one event that stands for its request (see `Event::ends_request`).
    pub ends_request: bool,
    /// `None` in an event whose collector cut it off.
    pub stage_timestamp: Option<Timestamp>,
}

/// One event: its line, and the values that were asked for.
pub struct Record<'a> {
    log: &'a str,
    line: &'a [u8],
    head: Head,
    projection: &'a Projection,
    found: &'a [Found<'a>],
    rejected: RefCell<Option<String>>,
}

/// What a key leads to: nothing, one value, or through a list of objects to several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values<'a> {
    /// Also for `null`.
    None,
    One(Json<'a>),
    Many(Vec<Json<'a>>),
}

impl<'a> Record<'a> {
    /// `found` holds a value per key of `projection`.
    pub fn new(
        log: &'a str,
        line: &'a [u8],
        head: Head,
        projection: &'a Projection,
        found: &'a [Found<'a>],
    ) -> Self {
        Record { log, line, head, projection, found, rejected: RefCell::new(None) }
    }

    /// The name of the log it was found in: one API server's.
    pub fn log(&self) -> &'a str {
        self.log
    }

    /// The event's JSON, byte for byte, without a newline and without its wrapper.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    pub fn level(&self) -> Level {
        self.head.level
    }

    pub fn stage(&self) -> Stage {
        self.head.stage
    }

    /// Whether this is the one event that stands for its request in a count.
    pub fn ends_request(&self) -> bool {
        self.head.ends_request
    }

    pub fn stage_timestamp(&self) -> Option<Timestamp> {
        self.head.stage_timestamp
    }

    /// The value of a projected key, if there is exactly one and it is not `null`. Free of cost
    /// unless the key leads into a list.
    pub fn value(&self, slot: Slot) -> Option<Json<'a>> {
        match self.values(slot) {
            Values::One(json) => Some(json),
            _ => None,
        }
    }

    /// The text of a projected key (see [`Json::text`]), empty if there is none.
    pub fn text(&self, slot: Slot) -> std::borrow::Cow<'a, str> {
        self.value(slot).map(Json::text).unwrap_or_default()
    }

    /// The same, faster for verbs and decisions (see [`Json::word`]).
    pub fn word(&self, slot: Slot) -> std::borrow::Cow<'a, str> {
        self.value(slot).map(Json::word).unwrap_or_default()
    }

    /// The text of a projected key that was found to be a string without escapes: the line from there
    /// on, and how much of it that is. Who copies it may copy whole blocks.
    #[inline]
    pub fn plain_text(&self, slot: Slot) -> Option<(&'a [u8], usize)> {
        let Found { raw: Some(raw), is_plain: true, .. } = self.found[slot.0] else { return None };
        let start = raw.as_ptr().addr().wrapping_sub(self.line.as_ptr().addr()).wrapping_add(1);
        self.line.get(start..).map(|it| (it, raw.len() - 2)).filter(|(it, len)| *len <= it.len())
    }

    /// Everything a projected key leads to.
    pub fn values(&self, slot: Slot) -> Values<'a> {
        let Found { raw: Some(raw), depth, .. } = self.found[slot.0] else { return Values::None };
        let parts = self.projection.keys[slot.0].parts();
        let json = Json::new(raw);
        if depth == parts.len() {
            return if raw == b"null" { Values::None } else { Values::One(json) };
        }
        let mut found = json.at(&parts[depth..]);
        let one = parts[depth..].iter().all(|it| matches!(it, Part::Index(_)));
        match found.len() {
            0 => Values::None,
            1 if one => Values::One(found.remove(0)),
            _ => Values::Many(found),
        }
    }

    /// The whole event, read strictly; made anew at each call. `None` if what nobody had looked at
    /// before is broken: then the record counts as skipped.
    pub fn event(&self) -> Option<Event<'a>> {
        match serde_json::from_slice(self.line) {
            Ok(event) => Some(event),
            Err(err) => {
                self.reject(err.to_string());
                None
            }
        }
    }

    /// Takes this line out of the events: it counts as skipped, for this reason.
    pub fn reject(&self, reason: String) {
        self.rejected.borrow_mut().get_or_insert(reason);
    }

    /// The reason somebody gave to [`reject`](Record::reject) it.
    pub fn rejection(&self) -> Option<String> {
        self.rejected.borrow_mut().take()
    }
}
