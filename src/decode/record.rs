//! One event as its line and the values that were asked for.

use std::cell::RefCell;

use super::{Projection, Slot};
use crate::event::{Event, Json, Level, Part, Stage, Timestamp};

/// The value that a key leads to, or the first list on the way there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found<'a> {
    /// The bytes of a JSON value; `None` if there is none.
    pub raw: Option<&'a [u8]>,
    /// How many parts of the key lead to it.
    pub depth: usize,
    /// Whether it is a string of printable ASCII without escapes.
    pub is_plain: bool,
}

/// The fields that are read of every event, whatever is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// How much of the request the event records.
    pub level: Level,
    /// The stage of the request that the event was written at.
    pub stage: Stage,
    /// Whether this event counts for its request (see [`Event::ends_request`]).
    pub ends_request: bool,
    /// When the event was written; `None` if a collector cut the timestamp off.
    pub stage_timestamp: Option<Timestamp>,
}

/// One event: its line and the values that were asked for.
pub struct Record<'a> {
    log: &'a str,
    node: Option<&'a str>,
    line: &'a [u8],
    head: Head,
    projection: &'a Projection,
    found: &'a [Found<'a>],
    rejected: RefCell<Option<String>>,
}

/// What a key leads to: nothing, one value, or several values through a list of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values<'a> {
    /// No value, or `null`.
    None,
    /// Exactly one value.
    One(Json<'a>),
    /// The values in the elements of a list.
    Many(Vec<Json<'a>>),
}

impl<'a> Record<'a> {
    /// Returns a record of `line`. `found` has one entry for each key of `projection`.
    pub fn new(
        log: &'a str,
        line: &'a [u8],
        head: Head,
        projection: &'a Projection,
        found: &'a [Found<'a>],
    ) -> Self {
        Record { log, node: None, line, head, projection, found, rejected: RefCell::new(None) }
    }

    /// The same record of a line that was read from this node.
    #[must_use]
    pub fn on_node(self, node: Option<&'a str>) -> Self {
        Record { node, ..self }
    }

    /// Returns the node that the line was read from, or that its wrapper names.
    pub fn node(&self) -> Option<&'a str> {
        self.node
    }

    /// Returns the name of the log that the line is from: the log of one API server.
    pub fn log(&self) -> &'a str {
        self.log
    }

    /// Returns the event's JSON byte for byte, without its newline and without its wrapper.
    pub fn line(&self) -> &'a [u8] {
        self.line
    }

    /// Returns how much of the request the event records.
    pub fn level(&self) -> Level {
        self.head.level
    }

    /// Returns the stage that the event was written at.
    pub fn stage(&self) -> Stage {
        self.head.stage
    }

    /// Returns whether this event counts for its request.
    pub fn ends_request(&self) -> bool {
        self.head.ends_request
    }

    /// Returns when the event was written.
    pub fn stage_timestamp(&self) -> Option<Timestamp> {
        self.head.stage_timestamp
    }

    /// Returns the value of a projected key if there is exactly one and it is not `null`. Costs nothing
    /// unless the key leads into a list.
    pub fn value(&self, slot: Slot) -> Option<Json<'a>> {
        match self.values(slot) {
            Values::One(json) => Some(json),
            _ => None,
        }
    }

    /// Returns the text of a projected key (see [`Json::text`]), or an empty text if it has no value.
    pub fn text(&self, slot: Slot) -> std::borrow::Cow<'a, str> {
        self.value(slot).map(Json::text).unwrap_or_default()
    }

    /// Returns the same, faster for verbs and decisions (see [`Json::word`]).
    pub fn word(&self, slot: Slot) -> std::borrow::Cow<'a, str> {
        self.value(slot).map(Json::word).unwrap_or_default()
    }

    /// Returns a string without escapes as the rest of the line from its first byte, and its length in
    /// bytes: a caller that copies it may copy whole blocks.
    #[inline]
    pub fn plain_text(&self, slot: Slot) -> Option<(&'a [u8], usize)> {
        let Found { raw: Some(raw), is_plain: true, .. } = self.found[slot.0] else { return None };

        let start = raw.as_ptr().addr().wrapping_sub(self.line.as_ptr().addr()).wrapping_add(1);
        self.line.get(start..).map(|it| (it, raw.len() - 2)).filter(|(it, len)| *len <= it.len())
    }

    /// Returns the value that a projected key leads to, or the first list on the way there, and how many
    /// parts of the key lead to it. `null` is a value here.
    pub fn found(&self, slot: Slot) -> (Option<Json<'a>>, usize) {
        let Found { raw, depth, .. } = self.found[slot.0];
        (raw.map(Json::new), depth)
    }

    /// Returns everything that a projected key leads to.
    pub fn values(&self, slot: Slot) -> Values<'a> {
        let Found { raw: Some(raw), depth, .. } = self.found[slot.0] else { return Values::None };
        let parts = self.projection.keys[slot.0].parts();
        let json = Json::new(raw);

        if depth == parts.len() {
            return if raw == b"null" { Values::None } else { Values::One(json) };
        }

        let mut found = json.at(&parts[depth..]);
        let one = parts[depth..].iter().all(|part| matches!(part, Part::Index(_)));
        match found.len() {
            0 => Values::None,
            1 if one => Values::One(found.remove(0)),
            _ => Values::Many(found),
        }
    }

    /// Parses the whole event at each call. Returns `None` if a part that was not read before is broken;
    /// the line then counts as skipped.
    pub fn event(&self) -> Option<Event<'a>> {
        match serde_json::from_slice(self.line) {
            Ok(event) => Some(event),
            Err(err) => {
                self.reject(err.to_string());
                None
            }
        }
    }

    /// Makes the line count as skipped, for this reason.
    pub fn reject(&self, reason: String) {
        self.rejected.borrow_mut().get_or_insert(reason);
    }

    /// Takes the reason of the first [`reject`](Record::reject), if any.
    pub fn rejection(&self) -> Option<String> {
        self.rejected.borrow_mut().take()
    }
}
