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
