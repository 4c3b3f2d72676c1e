//! What the first bytes of an input say about it, and readers that unpack it while it streams.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::positioned::AlignedReader;

/// Bytes that are read from any input.
pub(super) type Bytes<'a> = Box<dyn Read + Send + 'a>;

/// What an input holds once nothing compressed is around it.
pub(super) enum Content<'a> {
    Text(Bytes<'a>),
    Tar(Bytes<'a>),
}

/// How an input is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
    Tar,
    /// Something to name in a message: nothing here reads it.
    Foreign(&'static str),
}

/// What cannot be unpacked; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
pub(super) enum PackingError {
    #[error("{0} is not read here")]
    Foreign(&'static str),
    #[error("packed more than {MAX_DEPTH} times over")]
    TooDeep,
    #[error("bytes follow the end of the compressed data that belong to no {0}")]
    Garbage(&'static str),
    #[error("the checksum of the compressed data is wrong")]
    Checksum,
}

impl From<PackingError> for io::Error {
    fn from(err: PackingError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, err)
    }
}

/// As many bytes as tell every packing: a tar header is the longest.
pub(super) const START: usize = 512;

/// How often an input may be packed; a real one is twice (a `.gz` in a `.tar.gz`).
const MAX_DEPTH: usize = 4;

/// The largest window of a zstd frame, as a power of two: it is held in memory. 128 MiB is the limit of
/// the `zstd` program, too.
const MAX_WINDOW_LOG: u32 = 27;

const BUFFER: usize = 64 << 10;

impl Packing {
    /// The packing that the first bytes of an input show, `None` if they are its content.
    pub(super) fn of(start: &[u8]) -> Option<Packing> {
        Some(match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Foreign("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Packing::Foreign("bzip2"),
            [b'P', b'K', 3, 4, ..] => Packing::Foreign("zip"),
            [0x04, 0x22, 0x4d, 0x18, ..] => Packing::Foreign("lz4"),
            [b'7', b'z', 0xbc, 0xaf, ..] => Packing::Foreign("7z"),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Packing::Foreign("UTF-16 text"),
            _ if super::archive::is_header(start) => Packing::Tar,
            _ => return None,
        })
    }
}

/// Takes off every compression, as the first bytes of each layer tell.
pub(super) fn unpack(mut input: Bytes<'_>) -> io::Result<Content<'_>> {
    for _ in 0..=MAX_DEPTH {
        let whole = Peeked::new(input, START);
        input = match Packing::of(whole.start()) {
            None => return Ok(Content::Text(Box::new(whole))),
            Some(Packing::Tar) => return Ok(Content::Tar(Box::new(whole))),
            Some(Packing::Gzip) => Box::new(Gzip::new(buffered(whole))),
            Some(Packing::Zstd) => Box::new(Zstd::new(buffered(whole))?),
            Some(Packing::Foreign(what)) => return Err(PackingError::Foreign(what).into()),
        };
    }
    Err(PackingError::TooDeep.into())
}

fn buffered<R: Read>(input: R) -> AlignedReader<R> {
    AlignedReader::new(input, BUFFER)
}

/// A reader whose first bytes have been looked at and are still to be read.
pub(super) struct Peeked<R> {
    start: Vec<u8>,
    at: usize,
    /// What went wrong while looking: comes after the bytes that could be read.
    failed: Option<io::Error>,
    rest: R,
}

impl<R: Read> Peeked<R> {
    /// Looks at the first `len` bytes, or fewer if there are no more.
    pub(super) fn new(rest: R, len: usize) -> Peeked<R> {
        let mut peeked = Peeked { start: Vec::new(), at: 0, failed: None, rest };
        peeked.look(len);
        peeked
    }

    /// Looks on until `len` bytes are known; `false` if there are no more.
    pub(super) fn look(&mut self, len: usize) -> bool {
        let missing = len.saturating_sub(self.start.len()) as u64;
        if self.failed.is_none()
            && let Err(err) = self.rest.by_ref().take(missing).read_to_end(&mut self.start)
        {
            self.failed = Some(err);
        }
        self.start.len() >= len
    }

    pub(super) fn start(&self) -> &[u8] {
        &self.start
    }

    /// What went wrong while looking, if anything did.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

impl<R: Read> Read for Peeked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at < self.start.len() {
            let n = (&self.start[self.at..]).read(buffer)?;
            self.at += n;
            if self.at == self.start.len() {
                (self.start, self.at) = (Vec::new(), 0);
            }
            return Ok(n);
        }
        match self.failed.take() {
            Some(err) => Err(err),
            None => self.rest.read(buffer),
        }
    }
}

/// gzip of any number of members (RFC 1952, section 2.2).
pub(super) struct Gzip<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(input: R) -> Gzip<R> {
        Gzip { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(mut member) = self.member.take() {
            let n = member.read(buffer)?;
            if n > 0 {
                self.member = Some(member);
                return Ok(n);
            }
            let mut input = member.into_inner();
            match first_after_zeros(&mut input)? {
                None => {}
                Some(0x1f) => self.member = Some(GzDecoder::new(input)),
                Some(_) => return Err(PackingError::Garbage("gzip member").into()),
            }
        }
        Ok(0)
    }
}

/// The next byte that is not zero, still to be read. Tapes and block devices fill up with zeros,
/// which gzip passes over too.
fn first_after_zeros(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    loop {
        let known = input.fill_buf()?;
        if known.is_empty() {
            return Ok(None);
        }
        if let Some(at) = known.iter().position(|it| *it != 0) {
            let first = known[at];
            input.consume(at);
            return Ok(Some(first));
        }
        let len = known.len();
        input.consume(len);
    }
}

/// zstd of any number of frames, skippable ones too (RFC 8878, section 3.1).
pub(super) struct Zstd<R: BufRead> {
    /// `None` after an error.
    frames: Option<zstd::stream::read::Decoder<'static, R>>,
}

impl<R: BufRead> Zstd<R> {
    /// # Errors
    /// If there is no memory for a decoder.
    pub(super) fn new(input: R) -> io::Result<Zstd<R>> {
        let mut frames = zstd::stream::read::Decoder::with_buffer(input)?;
        frames.window_log_max(MAX_WINDOW_LOG)?;
        Ok(Zstd { frames: Some(frames) })
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(frames) = &mut self.frames else { return Ok(0) };

        frames.read(buffer).map_err(|err| {
            self.frames = None;
            zstd_error(err)
        })
    }
}

/// Names the two errors of libzstd that other packings have, too. It reports them by their text only.
///
/// Source: `lib/common/error_private.c` of zstd.
fn zstd_error(err: io::Error) -> io::Error {
    match err.to_string().as_str() {
        "Unknown frame descriptor" => PackingError::Garbage("zstd frame").into(),
        "Restored data doesn't match checksum" => PackingError::Checksum.into(),
        _ => err,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use super::*;

    pub(in crate::source) fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    pub(in crate::source) fn zstd(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        // As the `zstd` program does.
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The content, or `tar`, and then how it ended.
    fn unpacked(packed: &[u8]) -> (Vec<u8>, String) {
        let mut text = Vec::new();
        let end = match unpack(Box::new(packed)) {
            Err(err) => err.to_string(),
            Ok(Content::Tar(_)) => "tar".to_owned(),
            Ok(Content::Text(mut input)) => input
                .read_to_end(&mut text)
                .map_or_else(|err| err.to_string(), |_| "end".to_owned()),
        };
        (text, end)
    }

    #[track_caller]
    fn check(packed: &[u8], expected: &str, expected_end: &str) {
        let (text, end) = unpacked(packed);
        assert_eq!(
            (String::from_utf8_lossy(&text).as_ref(), end.as_str()),
            (expected, expected_end)
        );
    }

    #[test]
    fn plain() {
        check(b"", "", "end");
        check(b"{}\n", "{}\n", "end");
    }

    #[test]
    fn members_and_frames() {
        check(&[gzip(b"a\n"), gzip(b""), gzip(b"b\n")].concat(), "a\nb\n", "end");
        check(&[zstd(b"a\n"), zstd(b"b\n")].concat(), "a\nb\n", "end");
        let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0xyz";
        check(&[skippable.as_slice(), &zstd(b"a\n"), skippable].concat(), "a\n", "end");
    }

    #[test]
    fn zeros_after_gzip() {
        check(&[gzip(b"a\n"), vec![0; 100_000]].concat(), "a\n", "end");
    }

    #[test]
    fn garbage_after_the_end() {
        let why =
            |what| format!("bytes follow the end of the compressed data that belong to no {what}");
        check(&[gzip(b"a\n"), b"{}".to_vec()].concat(), "a\n", &why("gzip member"));
        check(&[zstd(b"a\n"), b"{}{}{}".to_vec()].concat(), "a\n", &why("zstd frame"));
    }

    #[test]
    fn packed_twice() {
        check(&gzip(&zstd(b"a\n")), "a\n", "end");
        let nested = |n| (0..n).fold(b"a\n".to_vec(), |packed, _| gzip(&packed));
        check(&nested(MAX_DEPTH), "a\n", "end");
        check(&nested(MAX_DEPTH + 1), "", "packed more than 4 times over");
    }

    #[test]
    fn foreign() {
        check(b"PK\x03\x04...", "", "zip is not read here");
        check(b"\xfd7zXZ\0...", "", "xz is not read here");
        check(b"\xff\xfe{\0}\0", "", "UTF-16 text is not read here");
    }

    /// Numbers hard to compress, so that there are several blocks.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + (state >> 60) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn cut_anywhere() {
        let text = noise(600_000);
        for (packed, lost) in [(gzip(&text), 100_000), (zstd(&text), 2 * 128 * 1024)] {
            for share in [0, 1, 3, 7, 9] {
                let len = packed.len() * share / 10;
                let (found, end) = unpacked(&packed[..len.max(10)]);
                assert!(text.starts_with(&found), "{share}/10");
                assert!(
                    found.len() + lost > text.len() * share / 10,
                    "{share}/10: {}",
                    found.len()
                );
                assert_ne!(end, "end", "{share}/10");
            }
        }
    }

    #[test]
    fn damaged() {
        let text = noise(300_000);
        for mut packed in [gzip(&text), zstd(&text)] {
            let middle = packed.len() / 2;
            packed[middle] ^= 0x55;
            let (_, end) = unpacked(&packed);
            assert_ne!(end, "end");
        }
    }

    proptest::proptest! {
        /// Whatever the bytes, reading ends.
        #[test]
        fn never_panics(magic in 0..3_usize, rest in proptest::collection::vec(0_u8.., 0..300)) {
            let start: &[u8] = [&[0x1f, 0x8b, 8][..], &[0x28, 0xb5, 0x2f, 0xfd], &[]][magic];
            unpacked(&[start, &rest].concat());
        }

        /// In whatever pieces it is read.
        #[test]
        fn any_buffer(len in 1_usize..5_000, text in proptest::collection::vec(0_u8.., 0..3_000)) {
            // Text that looks packed, or as if in another encoding, is not read as text.
            proptest::prop_assume!(Packing::of(&text).is_none());
            for packed in [gzip(&text), zstd(&text), text.clone()] {
                let Ok(Content::Text(mut input)) = unpack(Box::new(packed.as_slice())) else {
                    panic!("this is no archive");
                };
                let (mut found, mut buffer) = (Vec::new(), vec![0; len]);
                loop {
                    match input.read(&mut buffer).unwrap() {
                        0 => break,
                        n => found.extend_from_slice(&buffer[..n]),
                    }
                }
                proptest::prop_assert_eq!(&found, &text);
            }
        }
    }
}
