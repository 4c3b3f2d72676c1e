//! Collectors' and clouds' wrappers around events, recognized by shape.

use std::io::{self, Read};

/// What came out of a piece of input.
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

/// Whether the start of an input shows it is not one event a line, so that [`read`] must read it.
pub fn is_wrapped(_start: &[u8]) -> bool {
    false
}

/// Unwraps a line of an otherwise plain log that is itself no event; `false` if it knows no wrapper
/// of this shape.
pub fn line(_line: &[u8], _emit: &mut dyn FnMut(Item<'_>)) -> bool {
    false
}

/// Reads wrapped input to its end.
///
/// # Errors
/// When the input cannot be read on; what came before has been emitted.
pub fn read(
    _input: &mut dyn Read,
    _max_line: usize,
    _emit: &mut dyn FnMut(Item<'_>),
) -> io::Result<Consumed> {
    Ok(Consumed::default())
}
