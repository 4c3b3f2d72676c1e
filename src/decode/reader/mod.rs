//! Two readers with one meaning: `strict` is the reference, `scan` the fast one, which leaves every line
//! that it is not sure of to the reference. `differential` tests that they agree.

use super::{Found, Head, Projection};

#[cfg(test)]
mod differential;
mod fast_path;
mod line_cache;
pub(super) mod scan;
pub(super) mod simd;
pub mod strict;
mod wanted;

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
    /// `None` if every line is read strictly.
    scanner: Option<scan::Scanner>,
}

impl<'p> Reader<'p> {
    /// Returns a reader that reads a line only as far as the wanted keys need.
    pub fn new(projection: &'p Projection) -> Reader<'p> {
        Reader { projection, scanner: Some(scan::Scanner::new(projection)) }
    }

    /// Returns a reader that checks every byte: any invalid JSON in a line makes it no event.
    pub fn strict(projection: &'p Projection) -> Reader<'p> {
        Reader { projection, scanner: None }
    }

    /// Reads one line: returns its head, and puts each key's value into `found`.
    ///
    /// # Errors
    /// If the line is not an event: the reason, for people.
    pub fn read<'a>(&self, line: &'a [u8], found: &mut Vec<Found<'a>>) -> Result<Head, String> {
        match self.scanner.as_ref().and_then(|it| it.read(line, found)) {
            Some(head) => Ok(head),
            None => strict::read(line, self.projection, found),
        }
    }

    /// Reads the first line of `text` without searching for its end first, if it is written as API servers
    /// write it. Returns its head and its length without the newline. `None` for any other line: find its
    /// end and [`read`](Reader::read) it.
    pub fn first<'a>(&self, text: &'a [u8], found: &mut Vec<Found<'a>>) -> Option<(Head, usize)> {
        self.scanner.as_ref()?.first(text, found)
    }
}
