//! A line of a log as a [`Record`]: the wanted values as slices of it, the whole event on demand.
//!
//! Two readers give the same answer: `strict` is the reference, `scan` the fast one, which hands
//! over every line it is not sure of. Nothing here knows of files.

use std::cell::RefCell;

use crate::event::{Event, Json, Key, Level, Part, Stage, Timestamp};

mod bits;
#[cfg(test)]
mod differential;
mod fields;
mod scan;
pub mod strict;
pub mod unwrap;
mod users;
mod usual;

pub use fields::{Fields, bodies, fields};

/// The keys that a filter and an analysis want of every line, each once.
#[derive(Debug, Clone, Default)]
pub struct Projection {
    keys: Vec<Key>,
}

/// Where in a [`Record`] the value of a projected key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(usize);

impl Projection {
    /// Asks for a key; the same key gets the same slot.
    pub fn slot(&mut self, key: &Key) -> Slot {
        let found = self.keys.iter().position(|it| it == key);
        Slot(found.unwrap_or_else(|| {
            self.keys.push(key.clone());
            self.keys.len() - 1
        }))
    }

    /// Asks for a key that the program itself names.
    ///
    /// # Panics
    /// If `key` is not the text of a key.
    pub fn want(&mut self, key: &str) -> Slot {
        self.slot(&key.parse().expect("a key written in the program is well-formed"))
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

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

/// Reads lines for one projection.
///
/// ```
/// use kubectl_audit::{decode::{Projection, Reader}, event::Stage};
///
/// let mut projection = Projection::default();
/// projection.want("verb");
/// let log = std::fs::read("examples/audit.log")?;
/// let line = log.split(|it| *it == b'\n').next().expect("it has lines");
/// let mut found = Vec::new();
/// let head = Reader::new(&projection).read(line, &mut found)?;
/// assert_eq!((head.stage, found.len()), (Stage::RequestReceived, 1));
/// assert!(Reader::new(&projection).read(b"{}", &mut found).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reader<'p> {
    projection: &'p Projection,
    /// `None` reads every line strictly.
    scanner: Option<scan::Scanner>,
}

impl<'p> Reader<'p> {
    pub fn new(projection: &'p Projection) -> Reader<'p> {
        Reader { projection, scanner: Some(scan::Scanner::new(projection)) }
    }

    /// A reader that looks at every byte: whatever is not JSON in a line makes it no event.
    pub fn strict(projection: &'p Projection) -> Reader<'p> {
        Reader { projection, scanner: None }
    }

    /// Reads a line that should be an event: its head, and each key's value into `found`.
    ///
    /// # Errors
    /// Why it is no event, in words for a person.
    pub fn read<'a>(&self, line: &'a [u8], found: &mut Vec<Found<'a>>) -> Result<Head, String> {
        match self.scanner.as_ref().and_then(|it| it.read(line, found)) {
            Some(head) => Ok(head),
            None => strict::read(line, self.projection, found),
        }
    }

    /// Reads the first line of `text` if it is one as API servers write it, without looking for its end
    /// before: its head and its length, without the newline. Any other line is to be cut off and
    /// [`read`](Reader::read).
    pub fn first<'a>(&self, text: &'a [u8], found: &mut Vec<Found<'a>>) -> Option<(Head, usize)> {
        self.scanner.as_ref()?.first(text, found)
    }
}

/// A line, or a part of one, that is no event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Skipped {
    pub input: String,
    /// From 1.
    pub line: u64,
    pub reason: String,
}

/// What was read: the `input` of every document.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InputSummary {
    pub logs: u64,
    pub files: u64,
    /// Bytes of log text, after unpacking.
    pub bytes: u64,
    pub lines: u64,
    pub events: u64,
    /// Lines that are no events.
    pub skipped: u64,
    /// Events salvaged from a line that a collector cut.
    pub truncated: u64,
    /// Exact repeats left out by `--unique`.
    pub duplicates: u64,
    /// What a time window allowed to pass over.
    pub unread_bytes: u64,
    pub skipped_samples: Vec<Skipped>,
    /// The earliest and the latest stage timestamp read, before any filter.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}
