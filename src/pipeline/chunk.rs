//! Whole lines of a file or a stream, in a bounded buffer.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
};

use crate::source::{FileBytes, align_down, aligned_index};

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

/// Number of chunks of a part of a file. They end at multiples of [`CHUNK`] in the file, so that reads
/// are aligned.
pub(super) fn chunks(part: &Range<u64>) -> u64 {
    part.end.div_ceil(CHUNK) - part.start / CHUNK
}

/// Reads the lines that start in a chunk into `buffer`. `part` is a part of the file on whole lines.
pub(super) fn read_chunk(
    file: &File,
    part: &Range<u64>,
    chunk: u64,
    max_line: usize,
    buffer: &mut FileBytes,
) -> io::Result<Lines> {
    let border = part.start / CHUNK + chunk;
    let end = ((border + 1) * CHUNK).min(part.end);
    let mut to = (end + AHEAD).min(part.end);
    // The byte before the chunk tells whether a line starts exactly at its beginning.
    let before = if chunk == 0 { part.start } else { border * CHUNK - 1 };
    let from = align_down(before);
    buffer.read(file, from..to)?;

    let own = (end - from) as usize;
    let before = (before - from) as usize;
    let start = match chunk {
        0 => before,
        _ => memchr::memchr(b'\n', &buffer[before..own]).map_or(own, |at| before + at + 1),
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
        to = (to + more).min(part.end);
        buffer.extend(file, to)?;
    }
}

/// Reads a stream as whole lines, a buffer at a time, until its end or an error.
pub(super) struct LineStream<R> {
    input: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that hold something, the first of them not yet given out.
    start: usize,
    end: usize,
    /// Bytes read from the input: where a plain file is read, its offset.
    position: u64,
    max_line: usize,
    /// Inside a line that is too long: drop up to its end.
    is_dropping: bool,
}

/// Bytes of a buffer that alignment may leave unused.
const SPARE: usize = 64;

impl<R: Read> LineStream<R> {
    pub(super) fn new(input: R, max_line: usize) -> LineStream<R> {
        LineStream {
            input,
            buffer: vec![0; CHUNK as usize + SPARE],
            start: 0,
            end: 0,
            position: 0,
            max_line,
            is_dropping: false,
        }
    }

    /// The next lines, the last of them perhaps without its newline; `None` at the end.
    ///
    /// What was read before an error is given out first, as if the stream ended there.
    pub(super) fn next(&mut self) -> Option<(&[u8], bool, Option<io::Error>)> {
        loop {
            self.make_room();
            let before = self.end;
            let (n, failed) = read_full(&mut self.input, &mut self.buffer[before..]);
            self.end += n;
            self.position += n as u64;
            let is_over = self.end < self.buffer.len();

            if self.is_dropping {
                let Some(at) = memchr::memchr(b'\n', &self.buffer[before..self.end]) else {
                    self.start = self.end;
                    if is_over {
                        return failed.map(|err| (&[][..], false, Some(err)));
                    }
                    continue;
                };
                self.start = before + at + 1;
                self.is_dropping = false;
                if !is_over {
                    continue;
                }
            }

            if is_over {
                let all = self.start..self.end;
                self.start = self.end;
                return (!all.is_empty() || failed.is_some())
                    .then(|| (&self.buffer[all], false, failed));
            }

            let first = self.start;
            let whole = memchr::memrchr(b'\n', &self.buffer[before..self.end])
                .map_or(first, |at| before + at + 1);
            let is_too_long = self.end - whole > self.max_line;
            self.start = whole;
            if is_too_long {
                self.is_dropping = true;
                self.start = self.end;
            }
            if whole > first || is_too_long {
                return Some((&self.buffer[first..whole], is_too_long, failed));
            }
        }
    }

    /// Moves what is left to the beginning, so that the next read is aligned; grows for a long line.
    fn make_room(&mut self) {
        let known = self.start..self.end;
        let len = known.len();
        let offset = self.position - len as u64;

        if len + SPARE >= self.buffer.len() {
            let most = self.max_line.saturating_add(CHUNK as usize);
            let doubled = self.buffer.len().saturating_mul(2).min(most).max(len + 1);
            let mut grown = vec![0; doubled + SPARE];
            self.start = aligned_index(&grown, offset);
            grown[self.start..self.start + len].copy_from_slice(&self.buffer[known]);
            self.buffer = grown;
        } else {
            self.start = aligned_index(&self.buffer, offset);
            self.buffer.copy_within(known, self.start);
        }
        self.end = self.start + len;
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Lines of these lengths, each with its number at the start.
    fn text(lengths: &[usize]) -> Vec<u8> {
        let line = |(n, len): (usize, &usize)| format!("{n}:{}\n", "x".repeat(*len));
        lengths.iter().enumerate().map(line).collect::<String>().into_bytes()
    }

    fn without_long_lines(text: &[u8], max_line: usize) -> Vec<u8> {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        lines.filter(|line| line.len() - 1 <= max_line).flatten().copied().collect()
    }

    fn lengths() -> impl Strategy<Value = Vec<usize>> {
        let length = prop_oneof![8 => 0_usize..3_000, 2 => 60_000_usize..70_000, 1 => 200_000_usize..600_000];
        prop::collection::vec(length, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

        /// Every line of a part of a file comes once, wherever the part begins.
        #[test]
        fn chunks_hold_each_line_once(lengths in lengths(), first in 0.0..1.0, long: bool) {
            let text = text(&lengths);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let at = (text.len() as f64 * first) as usize;
            let start = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1);
            let part = start as u64..text.len() as u64;
            let max_line = if long { 1 << 20 } else { 100_000 };

            let (mut read, mut bytes) = (Vec::new(), FileBytes::default());
            for chunk in 0..chunks(&part) {
                let lines = read_chunk(&file, &part, chunk, max_line, &mut bytes).unwrap();
                read.extend_from_slice(&bytes[lines.range]);
            }
            // Long lines within a chunk are for the caller to find.
            let all = without_long_lines(&text[start..], max_line);
            prop_assert!(without_long_lines(&read, max_line) == all);
        }

        #[test]
        fn streams_hold_each_line_once(lengths in lengths()) {
            let text = text(&lengths);
            let mut stream = LineStream::new(text.as_slice(), 1 << 20);
            let mut read = Vec::new();
            while let Some((lines, _, failed)) = stream.next() {
                prop_assert!(failed.is_none());
                read.extend_from_slice(lines);
            }
            prop_assert!(read == text);
        }
    }

    /// Gives a few bytes at a time, and checks where they go.
    struct Aligned<'t>(&'t [u8], usize);

    impl Read for Aligned<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert_eq!(buffer.as_ptr().addr() % 64, self.1 % 64);
            let n = (&self.0[self.1..]).read(buffer)?;
            self.1 += n;
            Ok(n)
        }
    }

    #[test]
    fn streams_are_read_aligned() {
        let text = text(&[1_000; 2_000]);
        let mut stream = LineStream::new(Aligned(&text, 0), 1 << 20);
        let mut len = 0;
        while let Some((lines, ..)) = stream.next() {
            len += lines.len();
        }
        assert_eq!(len, text.len());
    }
}
