//! Whole lines of a file or a stream, in a bounded buffer.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
};

use crate::source::read_exact_at;

/// Bytes that a worker takes at a time: they stay in its second-level cache.
pub(super) const CHUNK: u64 = 256 << 10;

/// Bytes behind a chunk that are read with it: most of its last lines end there.
const AHEAD: u64 = 4 << 10;

/// Whole lines in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Where they are.
    pub range: Range<usize>,
    /// Behind them begins a line longer than allowed: it was left out.
    pub then_too_long: bool,
}

/// Reads the lines that start in a chunk into `buffer`. Chunks are counted from the start of `part`,
/// a part of the file on whole lines.
pub(super) fn read_chunk(
    file: &File,
    part: &Range<u64>,
    chunk: u64,
    max_line: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<Lines> {
    // One byte before the chunk tells whether a line starts exactly at its beginning.
    let from = (part.start + chunk * CHUNK).saturating_sub(u64::from(chunk > 0));
    let end = (part.start + (chunk + 1) * CHUNK).min(part.end);
    let mut to = (end + AHEAD).min(part.end);
    buffer.resize((to - from) as usize, 0);
    read_exact_at(file, buffer, from)?;
    let own = (end - from) as usize;
    let start = match chunk {
        0 => 0,
        _ => memchr::memchr(b'\n', &buffer[..own]).map_or(own, |at| at + 1),
    };
    let last = memchr::memrchr(b'\n', &buffer[start..own]).map_or(start, |at| start + at + 1);
    if last == own {
        return Ok(Lines { range: start..own, then_too_long: false });
    }
    // The last line goes on behind the chunk. A carriage return is no part of it.
    let most = max_line.saturating_add(1);
    let mut looked = own;
    loop {
        if let Some(at) = memchr::memchr(b'\n', &buffer[looked..]) {
            let end = looked + at + 1;
            let is_too_long = end - 1 - last > most;
            return Ok(Lines {
                range: start..if is_too_long { last } else { end },
                then_too_long: is_too_long,
            });
        }
        looked = buffer.len();
        let is_too_long = looked - last > most;
        if is_too_long || to == part.end {
            return Ok(Lines {
                range: start..if is_too_long { last } else { looked },
                then_too_long: is_too_long,
            });
        }
        let more = (looked - last).max(16 << 10) as u64;
        let until = (to + more).min(part.end);
        buffer.resize(looked + (until - to) as usize, 0);
        read_exact_at(file, &mut buffer[looked..], to)?;
        to = until;
    }
}

/// Reads a stream as whole lines, a buffer at a time, until its end or an error.
pub(super) struct LineStream<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold something, the first of them not yet given out.
    start: usize,
    end: usize,
    max_line: usize,
    /// Inside a line that is too long: drop up to its end.
    is_dropping: bool,
}

impl<R: Read> LineStream<R> {
    pub(super) fn new(input: R, max_line: usize) -> LineStream<R> {
        LineStream {
            input,
            buffer: vec![0; CHUNK as usize],
            start: 0,
            end: 0,
            max_line,
            is_dropping: false,
        }
    }

    /// The next lines, the last of them perhaps without its newline; `None` at the end.
    ///
    /// What was read before an error is given out first, as if the stream ended there.
    pub(super) fn next(&mut self) -> Option<(&[u8], bool, Option<io::Error>)> {
        loop {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let before = self.end;
            if before == self.buffer.len() {
                let doubled = self
                    .buffer
                    .len()
                    .saturating_mul(2)
                    .min(self.max_line.saturating_add(CHUNK as usize));
                self.buffer.resize(doubled.max(before + 1), 0);
            }
            let (n, failed) = read_full(&mut self.input, &mut self.buffer[before..]);
            self.end += n;
            let is_over = self.end < self.buffer.len();
            if self.is_dropping {
                match memchr::memchr(b'\n', &self.buffer[..self.end]) {
                    Some(at) => {
                        self.start = at + 1;
                        self.is_dropping = false;
                        if is_over {
                            let rest = self.start..self.end;
                            (self.start, self.end) = (0, 0);
                            return (!rest.is_empty() || failed.is_some())
                                .then(|| (&self.buffer[rest], false, failed));
                        }
                        continue;
                    }
                    None => (self.start, self.end) = (0, 0),
                }
                if is_over {
                    return failed.map(|err| (&[][..], false, Some(err)));
                }
                continue;
            }
            if is_over {
                let all = 0..self.end;
                (self.start, self.end) = (0, 0);
                return (!all.is_empty() || failed.is_some())
                    .then(|| (&self.buffer[all], false, failed));
            }
            let whole = memchr::memrchr(b'\n', &self.buffer[before..self.end])
                .map_or(0, |at| before + at + 1);
            let is_too_long = self.end - whole > self.max_line;
            self.start = whole;
            if is_too_long {
                self.is_dropping = true;
                self.start = self.end;
            }
            if whole > 0 || is_too_long {
                return Some((&self.buffer[..whole], is_too_long, failed));
            }
        }
    }
}

/// Reads until the buffer is full, the input ends or fails.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return (n, Some(err)),
        }
    }
    (n, None)
}
