//! Turns a line of a log into a [`Record`]: the wanted values as slices of the line, the whole event on
//! demand. Knows nothing of files.

use crate::event::Timestamp;

mod lookup;
mod object;
mod projection;
mod reader;
mod record;
pub mod unwrap;

pub use lookup::{Lookup, duration};
pub use object::{bodies, fields};
pub use projection::{Projection, Slot};
pub use reader::{Reader, strict};
pub use record::{Found, Head, Record, Values};

/// A line, or a part of one, that is no event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Skipped {
    pub input: String,
    /// From 1.
    pub line: u64,
    pub reason: String,
}

/// Requests that were left out because this run made them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct OwnRequests {
    pub requests: u64,
    /// The lengths of all their events' lines.
    pub bytes: u64,
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
    /// The requests with which this run read the logs, which are left out.
    pub own_requests: OwnRequests,
    /// What a time window allowed to pass over.
    pub unread_bytes: u64,
    pub skipped_samples: Vec<Skipped>,
    /// The earliest and the latest stage timestamp read, before any filter.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}
