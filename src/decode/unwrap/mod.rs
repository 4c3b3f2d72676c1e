//! Collectors' and clouds' wrappers around events, recognized by shape and not by name.
//!
//! What comes out is the JSON of one event a piece, ready for the same readers as a plain line.
//! Where a wrapper has other fields than an event, the event is put together from them, and the
//! annotation `kubectl-audit/inferred` names what was not recorded as such.

mod columns;
mod delimited;
mod detect;
mod flattened;
mod gke;
mod legacy;
mod salvage;
mod shape;
mod stream;
mod text;
mod yaml;

use std::io::{self, Read};

use detect::Layout;
pub use detect::{holds_events, is_wrapped};

/// What came out of a piece of input.
#[derive(Debug)]
pub enum Item<'a> {
    /// The JSON of one event, without newline.
    Event {
        json: &'a [u8],
        /// The line of the input it began on, from 1.
        line: u64,
        /// Salvaged from a line that a collector cut.
        is_truncated: bool,
        /// The server or host the wrapper names, where it names one.
        host: Option<&'a str>,
    },
    /// A piece that is no event.
    Skipped { line: u64, reason: String },
}

/// What was consumed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumed {
    pub bytes: u64,
    pub lines: u64,
}

/// The annotation that names the fields an event did not record itself.
pub const INFERRED: &str = "kubectl-audit/inferred";

/// The annotation of events that lost something; the API server's truncating backend writes it too.
pub const TRUNCATED: &str = "audit.k8s.io/truncated";

/// Unwraps a line of a log that is itself no event; `false` if it knows no wrapper of this shape.
pub fn line(line: &[u8], emit: &mut dyn FnMut(Item<'_>)) -> bool {
    let mut finder = shape::Finder::new(1, emit);
    if text::is_utf16(line) {
        finder.skip("UTF-16: convert it, for example with `iconv -f UTF-16 -t UTF-8`");
        return true;
    }
    finder.text(&String::from_utf8_lossy(line), &shape::Context::default())
        != shape::Outcome::Nothing
}

/// Reads wrapped input of any shape to its end. No piece of more than `max_line` bytes is held.
///
/// The error is the one that ended the reading: what came before has been emitted, and counted.
pub fn read(
    input: &mut dyn Read,
    max_line: usize,
    emit: &mut dyn FnMut(Item<'_>),
) -> (Consumed, io::Result<()>) {
    let mut start = Vec::with_capacity(detect::SNIFF);
    let failed = input.take(detect::SNIFF as u64).read_to_end(&mut start).err();
    let layout = Layout::of(&start);
    let mut input = (&start[..]).chain(Failing(failed)).chain(input);
    match layout {
        Layout::Delimited(delimiter) => delimited::read(&mut input, delimiter, max_line, emit),
        Layout::Yaml => yaml::read(&mut input, max_line, emit),
        Layout::Lines | Layout::Documents => stream::read(&mut input, max_line, emit),
    }
}

/// Gives an error that was met before.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
