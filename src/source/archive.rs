//! tar archives, read in one pass and without unpacking to disk.
//!
//! Names in an archive are names to show, never paths to open.

use std::io::{self, Read};

use super::{
    SourceError,
    compression::{Bytes, Content, Peeked, unpack},
    rotation::{LogNames, split},
    sniff::{self, Look, is_damage},
};

/// An opened archive.
pub struct Archive {
    name: String,
    tar: Tar<Bytes<'static>>,
}

/// An audit log found in an archive.
pub struct Member<'a> {
    /// The name of the log it is a part of: one API server's.
    pub log: &'a str,
    /// How messages call it: `must-gather.tar.gz!audit_logs/audit.log`.
    pub name: &'a str,
    /// Which of the entries it is, for each archive around it from the outermost: for opening it
    /// once more.
    pub entries: &'a [u64],
    pub content: &'a mut dyn Read,
}

/// What there was in an archive beside audit logs.
#[derive(Debug, Default)]
pub struct Leftover {
    /// Files that are no audit logs.
    pub passed_over: Vec<String>,
    pub failed: Vec<SourceError>,
}

/// Archives within archives: a must-gather of must-gathers is two.
const MAX_DEPTH: usize = 4;

impl Archive {
    pub(super) fn new(name: &str, input: Bytes<'static>) -> Archive {
        Archive { name: name.to_owned(), tar: Tar::new(input) }
    }

    /// Hands every audit log in it to `visit`, in the order of the archive. `visit` tells whether to
    /// go on.
    pub fn each(self, visit: &mut dyn FnMut(Member<'_>) -> bool) -> Leftover {
        let mut pass = Pass {
            visit,
            names: LogNames::default(),
            entries: Vec::new(),
            left: Leftover::default(),
        };
        let mut tar = self.tar;
        pass.archive(&self.name, &mut tar);
        pass.left
    }

    /// The entry at this place, unpacked.
    pub(super) fn into_member(self, entries: &[u64]) -> io::Result<Bytes<'static>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let mut tar = self.tar;
        for (depth, entry) in entries.iter().enumerate() {
            for _ in 0..*entry {
                tar.next()?.ok_or_else(missing)?;
            }
            tar.next()?.ok_or_else(missing)?;
            let is_last = depth + 1 == entries.len();
            match unpack(Box::new(tar))? {
                Content::Text(content) if is_last => return Ok(content),
                Content::Tar(inner) if !is_last => tar = Tar::new(inner),
                _ => return Err(missing()),
            }
        }
        Err(missing())
    }
}

/// One pass through an archive and the archives in it.
struct Pass<'v> {
    visit: &'v mut dyn FnMut(Member<'_>) -> bool,
    names: LogNames,
    entries: Vec<u64>,
    left: Leftover,
}

impl Pass<'_> {
    /// `false` if the visitor had enough.
    fn archive(&mut self, name: &str, tar: &mut Tar<Bytes<'_>>) -> bool {
        self.entries.push(0);
        let goes_on = loop {
            match tar.next() {
                Ok(None) => break true,
                Err(err) => {
                    self.left.failed.push(SourceError::new(name, err));
                    break true;
                }
                Ok(Some(Entry { kind: Kind::Other, .. })) => {}
                Ok(Some(Entry { kind: Kind::Sparse, path })) => {
                    self.left.passed_over.push(format!("{name}!{path}"));
                }
                Ok(Some(Entry { kind: Kind::File, path })) => {
                    if !self.member(&format!("{name}!{path}"), tar) {
                        break false;
                    }
                }
            }
            *self.entries.last_mut().expect("pushed above") += 1;
        };
        self.entries.pop();
        goes_on
    }

    fn member(&mut self, name: &str, tar: &mut Tar<Bytes<'_>>) -> bool {
        match unpack(Box::new(&mut *tar)) {
            Ok(Content::Tar(inner)) if self.entries.len() < MAX_DEPTH => {
                return self.archive(name, &mut Tar::new(inner));
            }
            Ok(Content::Text(text)) => return self.text(name, text),
            Ok(Content::Tar(_)) => self.left.passed_over.push(name.to_owned()),
            // Pictures and archives of other kinds are no audit logs.
            Err(err) if is_damage(&err) => self.left.passed_over.push(name.to_owned()),
            Err(err) => self.left.failed.push(SourceError::new(name, err)),
        }
        true
    }

    fn text(&mut self, name: &str, text: Bytes<'_>) -> bool {
        let mut content = Peeked::new(text, 0);
        match sniff::look(&mut content) {
            Ok(Look::AuditLog) => {
                let (live, _) = split(name);
                let log = self.names.name(&live, &live);
                let entries = &self.entries;
                return (self.visit)(Member { log: &log, name, entries, content: &mut content });
            }
            Ok(Look::Empty) => {}
            Ok(Look::Other) => self.left.passed_over.push(name.to_owned()),
            Err(err) => self.left.failed.push(SourceError::new(name, err)),
        }
        true
    }
}

/// The entries of a tar archive, one after another; reading gives the content of the current one.
struct Tar<R> {
    input: R,
    /// Bytes of the current entry that are still to be read, and the padding after them.
    content: u64,
    padding: u64,
    /// Reading the archive itself failed: there is no next entry.
    is_broken: bool,
}

struct Entry {
    /// As it stands in the archive; it may begin with `/` or hold `..`.
    path: String,
    kind: Kind,
}

enum Kind {
    File,
    /// A file whose holes GNU tar left out: not put together here.
    Sparse,
    /// A folder, a link, a device.
    Other,
}

const BLOCK: usize = 512;

/// A path of more bytes is cut: it is only shown.
const MAX_PATH: u64 = 4096;

impl<R: Read> Tar<R> {
    fn new(input: R) -> Tar<R> {
        Tar { input, content: 0, padding: 0, is_broken: false }
    }

    /// Goes to the next entry, past what is left of the current one.
    ///
    /// The long names of GNU tar and of pax stand in entries of their own before the entry they name.
    fn next(&mut self) -> io::Result<Option<Entry>> {
        let (mut long_name, mut long_size) = (None, None);
        loop {
            let left = self.content.saturating_add(self.padding);
            if self.is_broken || !self.pass_over(left)? {
                return Ok(None);
            }
            let Some(header) = self.header()? else { return Ok(None) };
            let size = long_size.take().map_or_else(|| header.entry_size(), Ok)?;
            self.content = size;
            self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
            let kind = header.entry_type();
            if kind.is_gnu_longname() {
                let name = self.beginning(MAX_PATH)?;
                long_name = Some(name.split(|it| *it == 0).next().unwrap_or_default().to_vec());
            } else if kind.is_pax_local_extensions() {
                let fields = self.beginning(64 << 10)?;
                long_name = pax_field(&fields, b"path").map(<[u8]>::to_vec).or(long_name);
                long_size = pax_field(&fields, b"size")
                    .and_then(|it| str::from_utf8(it).ok()?.parse().ok());
            } else if !kind.is_pax_global_extensions() && !kind.is_gnu_longlink() {
                let path = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
                let path = String::from_utf8_lossy(&path).into_owned();
                let kind = match kind {
                    it if it.is_file() || it.is_contiguous() => Kind::File,
                    it if it.is_gnu_sparse() => Kind::Sparse,
                    _ => Kind::Other,
                };
                return Ok(Some(Entry { path, kind }));
            }
        }
    }

    /// The next header; `None` at the end, which is a block of zeros or the end of the input.
    fn header(&mut self) -> io::Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        let mut n = 0;
        while n < BLOCK {
            match self.input.read(&mut block[n..]) {
                Ok(0) if n == 0 => return Ok(None),
                Ok(0) => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(more) => n += more,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.broken(err)),
            }
        }
        if block.iter().all(|it| *it == 0) {
            return Ok(None);
        }
        if !is_header(block) {
            let err = io::Error::new(io::ErrorKind::InvalidData, "what follows is no tar header");
            return Err(self.broken(err));
        }
        Ok(Some(header))
    }

    /// Reads past this many bytes; `false` if the archive cannot be read on, which its reader was
    /// told already.
    fn pass_over(&mut self, left: u64) -> io::Result<bool> {
        (self.content, self.padding) = (0, 0);
        match io::copy(&mut self.input.by_ref().take(left), &mut io::sink()) {
            Ok(passed) if passed == left => Ok(true),
            Ok(_) => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Err(err) => Err(self.broken(err)),
        }
    }

    /// The first bytes of the current entry.
    fn beginning(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.by_ref().take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn broken(&mut self, err: io::Error) -> io::Error {
        self.is_broken = true;
        err
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        match self.input.read(&mut buffer[..len]) {
            Ok(0) => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => {
                self.content -= n as u64;
                Ok(n)
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Err(err),
            Err(err) => Err(self.broken(err)),
        }
    }
}

/// Whether a block is a tar header, of any of its formats: its checksum says so.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.get(..BLOCK) else { return false };
    let header = tar::Header::from_byte_slice(block);
    let is_checksum = |at: usize| (148..156).contains(&at);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if is_checksum(at) { b' ' } else { *byte }))
        .sum();
    header.cksum().is_ok_and(|it| it == sum) && header.entry_size().is_ok()
}

/// A field of a pax header: lines of `LENGTH KEY=VALUE`, the length counting all of the line.
fn pax_field<'f>(mut fields: &'f [u8], key: &[u8]) -> Option<&'f [u8]> {
    loop {
        let blank = memchr::memchr(b' ', fields)?;
        let len: usize = str::from_utf8(&fields[..blank]).ok()?.parse().ok()?;
        let line = fields.get(blank + 1..len)?.strip_suffix(b"\n")?;
        if let Some(value) = line.strip_prefix(key).and_then(|it| it.strip_prefix(b"=")) {
            return Some(value);
        }
        fields = &fields[len..];
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::compression::tests::{gzip, zstd};
    use super::*;

    const EVENT: &str = r#"{"level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/","verb":"get","user":{}}"#;

    pub(in crate::source) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            // The builder refuses names that an attacker would write.
            let bytes = name.as_bytes();
            match name.len() {
                0..100 => header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes),
                _ => {
                    let mut long = header.clone();
                    long.set_entry_type(tar::EntryType::GNULongName);
                    long.set_size(bytes.len() as u64 + 1);
                    long.set_cksum();
                    builder.append(&long, [bytes, b"\0"].concat().as_slice()).unwrap();
                }
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    /// What is in an archive: `log name entries length` of the logs, then the rest.
    fn shown(packed: &[u8]) -> String {
        let input: Bytes<'static> = Box::new(io::Cursor::new(packed.to_vec()));
        let Ok(Content::Tar(input)) = unpack(input) else { return "no archive".to_owned() };
        let mut lines = Vec::new();
        let left = Archive::new("x", input).each(&mut |member| {
            let mut text = Vec::new();
            let end = member
                .content
                .read_to_end(&mut text)
                .map_or_else(|it| format!(" {it}"), |_| String::new());
            lines.push(format!(
                "{} {} {:?} {}{end}",
                member.log,
                member.name,
                member.entries,
                text.len()
            ));
            true
        });
        lines.extend(left.passed_over.iter().map(|it| format!("passed over {it}")));
        lines.extend(left.failed.iter().map(ToString::to_string));
        lines.join("\n")
    }

    #[track_caller]
    fn check(files: &[(&str, &[u8])], expected: &str) {
        for packed in [tar(files), gzip(&tar(files)), zstd(&tar(files))] {
            assert_eq!(shown(&packed), expected);
        }
    }

    #[test]
    fn must_gather() {
        let name = "audit_logs/kube-apiserver/m-0.lab-audit-2026-11-22T10-11-12.345.log.gz";
        check(
            &[("event-filter.html", b"<html>"), (name, &gzip(EVENT.as_bytes()))],
            &format!(
                "x!audit_logs/kube-apiserver/m-0.lab x!{name} [1] 90\npassed over x!event-filter.html"
            ),
        );
    }

    #[test]
    fn nested() {
        let inner = gzip(&tar(&[("a.log", EVENT.as_bytes()), ("b", b"..")]));
        check(
            &[("empty", b""), ("in.tgz", &inner), ("c.log", EVENT.as_bytes())],
            "x!in.tgz!a x!in.tgz!a.log [1, 0] 90\nx!c x!c.log [2] 90\npassed over x!in.tgz!b",
        );
        let deep = (0..5).fold(EVENT.as_bytes().to_vec(), |content, _| tar(&[("t", &content)]));
        check(&[("t", &deep)], "passed over x!t!t!t!t");
    }

    #[test]
    fn names_are_only_shown() {
        check(
            &[("../../etc/a.log", EVENT.as_bytes()), ("/etc/b.log", EVENT.as_bytes())],
            "x!../../etc/a x!../../etc/a.log [0] 90\nx!/etc/b x!/etc/b.log [1] 90",
        );
    }

    #[test]
    fn long_names() {
        let long = format!("{}/audit.log", "d".repeat(300));
        let name = long.trim_end_matches(".log");
        check(&[(&long, EVENT.as_bytes())], &format!("x!{name} x!{long} [0] 90"));
    }

    #[test]
    fn pax_names() {
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_pax_extensions([("mtime", b"1".as_slice()), ("path", b"p/audit.log")])
            .unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(EVENT.len() as u64);
        header.set_cksum();
        builder.append(&header, EVENT.as_bytes()).unwrap();
        assert_eq!(shown(&builder.into_inner().unwrap()), "x!p/audit x!p/audit.log [0] 90");
    }

    #[test]
    fn cut_anywhere() {
        let files = [("a.log", EVENT.as_bytes()), ("b.log", EVENT.as_bytes())];
        let whole = tar(&files);
        for len in 513..512 * 4 {
            let shown = shown(&whole[..len]);
            let is_told = shown.contains("early") || shown.contains("end of file");
            assert_eq!(is_told, ![1024, 2048].contains(&len), "{len}: {shown}");
        }
    }

    #[test]
    fn damaged_header() {
        let mut packed = tar(&[("a.log", EVENT.as_bytes()), ("b.log", EVENT.as_bytes())]);
        packed[1024] ^= 1;
        assert_eq!(
            shown(&packed),
            "x!a x!a.log [0] 90\n`x` is damaged: what follows is no tar header"
        );
    }

    /// A pax header may claim any size; the archive ends long before.
    #[test]
    fn claimed_sizes() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", b"18446744073709551615".as_slice())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_cksum();
        builder.append(&header, EVENT.as_bytes()).unwrap();
        let shown = shown(&builder.into_inner().unwrap());
        assert!(
            shown.contains("unexpected end of file") || shown.contains("ends too early"),
            "{shown}"
        );
    }

    #[test]
    fn members_open_once_more() {
        let inner = tar(&[("a", b"no log"), ("a.log", EVENT.as_bytes())]);
        let packed = tar(&[("c.log", b"{}"), ("in.tgz", &gzip(&inner))]);
        let member = |entries: &[u64]| {
            let archive = Archive::new("x", Box::new(io::Cursor::new(packed.clone())));
            let mut text = String::new();
            archive.into_member(entries)?.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(member(&[1, 1]).unwrap(), EVENT);
        assert_eq!(member(&[0]).unwrap(), "{}");
        for missing in [&[7][..], &[0, 0], &[1], &[1, 2], &[]] {
            assert!(member(missing).is_err(), "{missing:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(at in 0_usize..2_000, byte in 0_u8.., len in 0_usize..4_000) {
            let mut packed = tar(&[("a.log", EVENT.as_bytes()), ("b.log", b"..")]);
            packed[at] = byte;
            packed.truncate(len.max(512));
            shown(&packed);
        }
    }
}
