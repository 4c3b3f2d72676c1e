//! Reads a file at an offset, into memory that is aligned as the file is.

use std::{
    fs::File,
    io::{self, BufRead, Read},
    ops::{Deref, Range},
};

/// A cache line. On some processors the kernel copies several times slower where the offset in the
/// file and the address in memory differ modulo this.
const ALIGNMENT: usize = 64;

/// Rounds an offset down to a multiple of the alignment.
pub fn align_down(offset: u64) -> u64 {
    offset - offset % ALIGNMENT as u64
}

/// Bytes of a file. The address of each byte equals its offset in the file modulo the alignment.
#[derive(Debug, Default)]
pub struct FileBytes {
    memory: Vec<u8>,
    /// The bytes within `memory`.
    used: Range<usize>,
    /// The offset of the first byte in the file.
    offset: u64,
}

impl FileBytes {
    /// Replaces the bytes with those of a range of a file. The memory is kept.
    ///
    /// # Errors
    /// If they cannot be read, or the file ends before the range does.
    pub fn read(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        self.offset = range.start;
        self.used = 0..0;
        self.extend(file, range.end)
    }

    /// Adds the bytes that follow, up to an offset in the file.
    ///
    /// # Errors
    /// If they cannot be read, or the file ends before that.
    pub fn extend(&mut self, file: &File, end: u64) -> io::Result<()> {
        let known = self.used.len();
        let from = self.offset + known as u64;
        let new = usize::try_from(end.saturating_sub(from)).map_err(io::Error::other)?;
        self.place(known + new);

        let target = self.used.start + known..self.used.end;
        let result = read_exact_at(file, &mut self.memory[target], from);
        if result.is_err() {
            self.used.end -= new;
        }
        result
    }

    /// Makes room for `len` bytes at an aligned place; keeps those that are known.
    fn place(&mut self, len: usize) {
        let known = self.used.clone();
        let start = aligned_index(&self.memory, self.offset);
        if start + len <= self.memory.len() {
            // Memory does not move, so neither do known bytes.
            self.used = start..start + len;
            return;
        }

        let mut memory = vec![0; len.max(self.memory.len()) + 2 * ALIGNMENT];
        let start = aligned_index(&memory, self.offset);
        memory[start..start + known.len()].copy_from_slice(&self.memory[known]);
        self.memory = memory;
        self.used = start..start + len;
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.used.clone()]
    }
}

/// The first index of some memory whose address equals an offset modulo the alignment.
pub fn aligned_index(memory: &[u8], offset: u64) -> usize {
    let address = memory.as_ptr().addr() % ALIGNMENT;
    (ALIGNMENT + (offset % ALIGNMENT as u64) as usize - address) % ALIGNMENT
}

/// A buffered reader that reads into aligned memory, as [`FileBytes`].
pub struct AlignedReader<R> {
    input: R,
    memory: Vec<u8>,
    /// What is read and not given out yet.
    used: Range<usize>,
    /// How far the input is read.
    offset: u64,
}

impl<R: Read> AlignedReader<R> {
    /// Reads up to `capacity` bytes at a time.
    pub fn new(input: R, capacity: usize) -> AlignedReader<R> {
        AlignedReader { input, memory: vec![0; capacity + ALIGNMENT], used: 0..0, offset: 0 }
    }
}

impl<R: Read> Read for AlignedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for AlignedReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used.is_empty() {
            let start = aligned_index(&self.memory, self.offset);
            let end = self.memory.len() - (ALIGNMENT - start);
            let n = self.input.read(&mut self.memory[start..end])?;
            self.offset += n as u64;
            self.used = start..start + n;
        }
        Ok(&self.memory[self.used.clone()])
    }

    fn consume(&mut self, n: usize) {
        self.used.start = (self.used.start + n).min(self.used.end);
    }
}

/// Fills `buffer` with the bytes at `offset`, without moving the file's own position.
///
/// # Errors
/// If they cannot be read, or the file ends before that.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` with the bytes at `offset`. The file's own position moves; nobody uses it.
///
/// # Errors
/// If they cannot be read, or the file ends before that.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(len: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    #[track_caller]
    fn check(range: Range<u64>, more: u64) {
        let (file, bytes) = file(400_000);
        let mut read = FileBytes::default();
        for _ in 0..2 {
            read.read(&file, range.clone()).unwrap();
            read.extend(&file, range.end + more).unwrap();
            assert!(read[..] == bytes[range.start as usize..(range.end + more) as usize]);
            assert_eq!(read.as_ptr().addr() as u64 % 64, range.start % 64);
        }
    }

    #[test]
    fn addresses_follow_offsets() {
        check(0..300_000, 5);
        check(64..300_000, 100_000);
        check(1..2, 0);
        check(63..63, 300_000);
        check(262_143..262_145, 99);
    }

    #[test]
    fn an_end_that_is_not_there_is_an_error() {
        let (file, bytes) = file(1_000);
        let mut read = FileBytes::default();
        read.read(&file, 0..500).unwrap();
        assert!(read.extend(&file, 2_000).is_err());
        assert!(read[..] == bytes[..500], "what was known stays");
        assert!(read.read(&file, 900..1_001).is_err());
    }

    /// Remembers where it was asked to read to.
    struct Addresses<'a>(&'a [u8], Vec<(u64, usize)>, u64);

    impl Read for Addresses<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.push((self.2, buffer.as_ptr().addr()));
            let n = self.0.read(&mut buffer[..1_000.min(self.2 as usize + 77)])?;
            self.2 += n as u64;
            Ok(n)
        }
    }

    #[test]
    fn a_buffered_reader_is_aligned() {
        let (_, bytes) = file(100_000);
        let mut reader = AlignedReader::new(Addresses(&bytes, Vec::new(), 0), 4_096);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert!(all == bytes);
        assert!(
            reader.input.1.iter().all(|(offset, address)| *offset % 64 == *address as u64 % 64)
        );
    }
}
