//! Keeps reading a log while it is written, through rotation of any kind.
//!
//! A file is known by its first bytes, not by its name: so the same few steps follow a rename, a copy
//! that truncates, and compression, on this machine and on a node where nothing can be kept open.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
};

use jiff::Timestamp;

use super::{
    SourceError,
    compression::{Content, unpack},
    node::{SLACK, lower_bound},
    rotation::{Age, Rotated, closed_at},
};

/// How much of a file's beginning tells it from others.
const START: u64 = 512;

/// How much is read at a time.
const BATCH: u64 = 1 << 20;

/// A folder with a log in it: what following needs of it.
pub(super) trait Folder: Send {
    /// The names in it; none if it is not there yet.
    fn names(&mut self) -> Result<Vec<String>, SourceError>;
    /// The bytes of a range of a file, fewer where it ends; none if it is not there.
    fn read(&mut self, name: &str, range: Range<u64>) -> Result<Vec<u8>, SourceError>;
    /// A whole file, if it is there.
    fn open(&mut self, name: &str) -> Result<Option<Box<dyn Read + Send>>, SourceError>;
}

/// A folder on this machine.
pub(super) struct LocalFolder(pub PathBuf);

/// Follows one log.
pub struct Follow {
    folder: Box<dyn Folder>,
    /// What the log is called.
    pub name: String,
    /// The name of the file that is written to.
    live: String,
    /// What is older need not be read.
    since: Option<Timestamp>,
    /// The first bytes of the file that is being read, empty before it has any; and how far it is read.
    start: Vec<u8>,
    at: u64,
    /// The first bytes of files that are done with.
    done: HashSet<Vec<u8>>,
    /// The first bytes of files whose names stay theirs.
    starts: HashMap<String, Vec<u8>>,
    is_begun: bool,
    /// Files that went away before they were read to their end.
    pub lost: u64,
    /// Whether a look at it costs a request, which the log records.
    pub is_remote: bool,
}

/// A sibling that is not done with.
struct Sibling {
    name: String,
    start: Vec<u8>,
}

impl Follow {
    /// Follows a file on this machine, which need not be there yet.
    pub fn file(path: &std::path::Path, since: Option<Timestamp>) -> Follow {
        let name = path.file_name().map(|it| it.to_string_lossy().into_owned());
        let folder = path.parent().filter(|it| *it != std::path::Path::new(""));
        let folder = LocalFolder(folder.unwrap_or(std::path::Path::new(".")).to_owned());
        let log = path.display().to_string();
        let log = log.strip_suffix(".log").unwrap_or(&log).to_owned();
        Follow::new(Box::new(folder), log, name.unwrap_or_default(), since)
    }

    /// Follows a log that was found in a folder; `None` if no file of it is one by itself.
    pub fn log(log: &super::Log, since: Option<Timestamp>) -> Option<Follow> {
        let path = log.inputs.iter().rev().find_map(|it| match &it.place {
            super::Place::File(path) => Some(path),
            _ => None,
        })?;
        let live = Rotated::of(path.file_name()?.to_str()?).live;
        let mut follow = Follow::file(&path.with_file_name(live), since);
        follow.name.clone_from(&log.name);
        Some(follow)
    }

    pub(super) fn new(
        folder: Box<dyn Folder>,
        name: String,
        live: String,
        since: Option<Timestamp>,
    ) -> Follow {
        Follow {
            folder,
            name,
            live,
            since,
            start: Vec::new(),
            at: 0,
            done: HashSet::new(),
            starts: HashMap::new(),
            is_begun: false,
            lost: 0,
            is_remote: false,
        }
    }

    /// Gives everything that is new, as whole lines; `sink` says whether to go on.
    ///
    /// # Errors
    /// If something cannot be read; the next call goes on from there.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), SourceError> {
        loop {
            if self.start.is_empty() && !self.begin(sink)? {
                return Ok(());
            }
            let range = self.at..self.at + BATCH;
            let bytes = self.folder.read(&self.live, range)?;
            // What was read belongs to the file that has the name now, or had it before: so the look
            // at its beginning comes afterwards.
            let now = self.start_of(&self.live.clone())?;
            if !now.starts_with(&self.start) {
                if !self.rotated(sink)? {
                    return Ok(());
                }
                continue;
            }
            self.start = now;
            let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
            if whole == 0 {
                // A line longer than a batch is looked at again when more of it is there.
                return if bytes.len() as u64 == BATCH { self.long_line(sink) } else { Ok(()) };
            }
            self.at += whole as u64;
            if !sink(bytes[..whole].to_vec()) {
                return Ok(());
            }
        }
    }

    /// Begins with the live file, after all that was written before it. `false` if it has nothing yet.
    fn begin(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<bool, SourceError> {
        let start = self.start_of(&self.live.clone())?;
        let siblings = self.siblings()?;
        // An empty file may have been filled and copied since, and wait to be truncated: the copy is
        // read once that is done, or the file itself is.
        let live =
            if start.is_empty() { self.start_of(&self.live.clone())? } else { start.clone() };
        for sibling in siblings {
            // The live file was rotated after the look at it: it is what we begin with.
            if !live.is_empty() && is_same(&sibling.start, &live) {
                break;
            }
            if !self.is_begun && self.is_too_old(&sibling.name) {
                self.done.insert(sibling.start);
                continue;
            }
            if !self.rest(&sibling.name, 0, sink)? {
                return Ok(false);
            }
            self.done.insert(sibling.start);
        }
        self.at = 0;
        if !self.is_begun && !start.is_empty() {
            let at = self.seek()?;
            let is_still = self.start_of(&self.live.clone())?.starts_with(&start);
            self.at = if is_still { at } else { 0 };
        }
        self.is_begun |= !start.is_empty();
        self.start = start;
        Ok(!self.start.is_empty())
    }

    /// The live file is another one now: reads the rest of the one before, wherever it is. `false` if
    /// it was not found yet.
    fn rotated(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<bool, SourceError> {
        let siblings = self.siblings()?;
        let before = siblings.into_iter().find(|it| it.start.starts_with(&self.start));
        if let Some(before) = before {
            if !self.rest(&before.name, self.at, sink)? {
                return Ok(false);
            }
            self.done.insert(before.start);
        } else if self.is_somewhere()? {
            return Ok(false);
        } else {
            self.lost += 1;
        }
        self.start = Vec::new();
        self.at = 0;
        Ok(true)
    }

    /// Whether the file has a name after all: it may have been between two when that was looked at.
    fn is_somewhere(&mut self) -> Result<bool, SourceError> {
        self.starts.clear();
        Ok(self.siblings()?.iter().any(|it| it.start.starts_with(&self.start)))
    }

    /// What a file holds behind an offset, unpacked. `false` if it is not there any more, under this
    /// name: the next call looks again.
    fn rest(
        &mut self,
        name: &str,
        at: u64,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<bool, SourceError> {
        let Some(raw) = self.folder.open(name)? else { return Ok(false) };
        let failed = |err| SourceError::new(name, err);
        let Content::Text(mut text) = unpack(raw).map_err(failed)? else { return Ok(true) };
        io::copy(&mut text.by_ref().take(at), &mut io::sink()).map_err(failed)?;
        let mut left = Vec::new();
        loop {
            let n = text.by_ref().take(BATCH).read_to_end(&mut left).map_err(failed)?;
            let whole = memchr::memrchr(b'\n', &left).map_or(0, |at| at + 1);
            // The last line of a file that is closed ends with it.
            let whole = if n == 0 { left.len() } else { whole };
            let rest = left.split_off(whole);
            let lines = std::mem::replace(&mut left, rest);
            if !lines.is_empty() && !sink(lines) {
                return Ok(false);
            }
            if n == 0 {
                return Ok(true);
            }
        }
    }

    /// A line that is longer than a batch: reads on until its end is there.
    fn long_line(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), SourceError> {
        let mut line = Vec::new();
        loop {
            let from = self.at + line.len() as u64;
            let more = self.folder.read(&self.live, from..from + BATCH)?;
            let end = memchr::memchr(b'\n', &more);
            line.extend_from_slice(&more[..end.map_or(more.len(), |at| at + 1)]);
            if end.is_some() {
                break;
            }
            if more.is_empty() {
                return Ok(());
            }
        }
        if self.start_of(&self.live.clone())?.starts_with(&self.start) {
            self.at += line.len() as u64;
            sink(line);
        }
        Ok(())
    }

    /// The rotated files that are not done with, oldest first.
    fn siblings(&mut self) -> Result<Vec<Sibling>, SourceError> {
        // While a folder is listed, a new name may be missed and a newer one not. But what is older
        // than a name in one listing is there when the next one begins.
        let newest = self.rotated_names()?.iter().map(|it| Rotated::of(it).age).max();
        let mut names = self.rotated_names()?;
        names.retain(|it| newest.as_ref().is_some_and(|newest| Rotated::of(it).age <= *newest));
        names.sort_by_cached_key(|it| (Rotated::of(it).age, it.len()));
        names.dedup_by(|b, a| b.strip_prefix(a.as_str()).is_some_and(|it| it == ".gz"));
        let mut siblings = Vec::new();
        for name in names {
            let start = self.start_of(&name)?;
            // Only the file that is being compressed has a name and nothing in it yet.
            if !start.is_empty() && !self.done.contains(&start) {
                siblings.push(Sibling { name, start });
            }
        }
        Ok(siblings)
    }

    fn rotated_names(&mut self) -> Result<Vec<String>, SourceError> {
        let mut names = self.folder.names()?;
        names.retain(|it| {
            *it != self.live && !it.ends_with(".lock") && Rotated::of(it).live == self.live
        });
        Ok(names)
    }

    /// The first bytes of a file, unpacked; none if it is not there.
    fn start_of(&mut self, name: &str) -> Result<Vec<u8>, SourceError> {
        let key = name.strip_suffix(".gz").unwrap_or(name).to_owned();
        if let Some(start) = self.starts.get(&key) {
            return Ok(start.clone());
        }
        let is_closed = matches!(Rotated::of(name).age, Age::Dated(_));
        let mut start = self.folder.read(name, 0..START)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            let Some(raw) = self.folder.open(name)? else { return Ok(Vec::new()) };
            let Ok(Content::Text(text)) = unpack(raw) else { return Ok(Vec::new()) };
            start.clear();
            // It may be there in part only.
            let _ = text.take(START).read_to_end(&mut start);
        }
        if is_closed && !start.is_empty() {
            self.starts.insert(key, start.clone());
        }
        Ok(start)
    }

    fn is_too_old(&self, name: &str) -> bool {
        let closed = closed_at(name).and_then(|it| it.parse::<Timestamp>().ok());
        let (Some(since), Some(closed)) = (self.since, closed) else { return false };
        closed.checked_add(SLACK).is_ok_and(|it| it < since)
    }

    /// Where in the live file to begin.
    fn seek(&mut self) -> Result<u64, SourceError> {
        let Some(since) = self.since.and_then(|it| it.checked_sub(SLACK).ok()) else {
            return Ok(0);
        };
        let (mut end, mut step) = (0, BATCH);
        while !self.folder.read(&self.live, end + step..end + step + 1)?.is_empty() {
            end += step;
            step *= 2;
        }
        let live = self.live.clone();
        let mut read = |range| self.folder.read(&live, range);
        lower_bound(&mut read, 0..end, since)
    }
}

/// Whether two beginnings are of the same file, one of them seen earlier than the other.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

impl Folder for LocalFolder {
    fn names(&mut self) -> Result<Vec<String>, SourceError> {
        let entries = match std::fs::read_dir(&self.0) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => {
                entries.map_err(|err| SourceError::new(&self.0.display().to_string(), err))?
            }
        };
        Ok(entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect())
    }

    fn read(&mut self, name: &str, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
        let path = self.0.join(name);
        let failed = |err| SourceError::new(&path.display().to_string(), err);
        let mut file = match File::open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        file.take(range.end - range.start).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    fn open(&mut self, name: &str) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
        let path = self.0.join(name);
        match File::open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(SourceError::new(&path.display().to_string(), err)),
            Ok(file) => Ok(Some(Box::new(file))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path, sync::mpsc, thread};

    use super::*;

    /// Everything that is new, as text.
    fn new(follow: &mut Follow) -> String {
        let mut text = Vec::new();
        let mut sink = |lines: Vec<u8>| {
            text.extend(lines);
            true
        };
        follow.poll(&mut sink).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn append(path: &Path, text: &str) {
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// What happens in the folder, and what then is new.
    type Step<'s> = (&'s dyn Fn(&Path), &'s str);

    #[track_caller]
    fn check(steps: &[Step<'_>]) {
        let folder = tempfile::tempdir().unwrap();
        let mut follow = Follow::file(&folder.path().join("audit.log"), None);
        for (n, (step, expected)) in steps.iter().enumerate() {
            step(folder.path());
            assert_eq!(new(&mut follow), *expected, "after step {n}");
        }
    }

    fn write(text: &'static str) -> impl Fn(&Path) {
        move |folder| append(&folder.join("audit.log"), text)
    }

    fn rename(to: &'static str) -> impl Fn(&Path) {
        move |folder| fs::rename(folder.join("audit.log"), folder.join(to)).unwrap()
    }

    const FIRST: &str = "audit-2026-01-01T00-00-01.000.log";
    const SECOND: &str = "audit-2026-01-01T00-00-02.000.log";

    #[test]
    fn whole_lines_as_they_come() {
        check(&[
            (&|_| {}, ""),
            (&write("a\nb"), "a\n"),
            (&write("c\nd\n"), "bc\nd\n"),
            (&|_| {}, ""),
        ]);
    }
    #[test]
    fn history_first() {
        let history = |folder: &Path| {
            append(&folder.join(FIRST), "a\n");
            append(&folder.join(SECOND), "b\n");
            append(&folder.join("audit.log"), "c\n");
        };
        check(&[(&history, "a\nb\nc\n"), (&write("d\n"), "d\n")]);
    }
    #[test]
    fn renamed_with_more_in_it() {
        let more = |folder: &Path| {
            append(&folder.join("audit.log"), "b\n");
            rename(FIRST)(folder);
            append(&folder.join("audit.log"), "c\n");
        };
        check(&[(&write("a\n"), "a\n"), (&more, "b\nc\n")]);
    }
    #[test]
    fn renamed_twice_between_looks() {
        let twice = |folder: &Path| {
            rename(FIRST)(folder);
            append(&folder.join("audit.log"), "b\n");
            rename(SECOND)(folder);
        };
        check(&[(&write("a\n"), "a\n"), (&twice, "b\n"), (&write("c\n"), "c\n")]);
    }
    /// A folder in which something happens right after the first look at a file's bytes.
    struct Meanwhile<F>(LocalFolder, Option<F>);

    impl<F: FnOnce(&Path) + Send> Folder for Meanwhile<F> {
        fn names(&mut self) -> Result<Vec<String>, SourceError> {
            self.0.names()
        }
        fn read(&mut self, name: &str, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
            let bytes = self.0.read(name, range);
            if let Some(happens) = self.1.take() {
                happens(&self.0.0);
            }
            bytes
        }
        fn open(&mut self, name: &str) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
            self.0.open(name)
        }
    }

    #[test]
    fn filled_and_copied_after_a_look_at_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write("")(path);
        let fill = |path: &Path| {
            write("a\n")(path);
            fs::copy(path.join("audit.log"), path.join(FIRST)).unwrap();
        };
        let seen = Meanwhile(LocalFolder(path.to_owned()), Some(fill));
        let mut follow = Follow::new(Box::new(seen), "x".into(), "audit.log".into(), None);
        // Not truncated yet: either of the two is read, not both.
        let mut all = new(&mut follow) + &new(&mut follow);
        fs::File::create(path.join("audit.log")).unwrap();
        all += &new(&mut follow);
        write("b\n")(path);
        assert_eq!(all + &new(&mut follow), "a\nb\n");
    }
    #[test]
    fn numbers_move_up() {
        let rotate = |folder: &Path| {
            let _ = fs::rename(folder.join("audit.log.1"), folder.join("audit.log.2"));
            rename("audit.log.1")(folder);
        };
        check(&[
            (&write("a\n"), "a\n"),
            (&rotate, ""),
            (&write("b\n"), "b\n"),
            (&rotate, ""),
            (&write("c\n"), "c\n"),
        ]);
    }
    #[test]
    fn copied_and_truncated() {
        let truncate = |folder: &Path| {
            append(&folder.join("audit.log"), "b\n");
            fs::copy(folder.join("audit.log"), folder.join("audit.log.1")).unwrap();
            fs::File::options()
                .write(true)
                .open(folder.join("audit.log"))
                .unwrap()
                .set_len(0)
                .unwrap();
        };
        check(&[
            (&write("a\n"), "a\n"),
            (&truncate, "b\n"),
            (&write("c, and longer than before\n"), "c, and longer than before\n"),
        ]);
    }
    #[test]
    fn compressed_at_once() {
        let compress = |folder: &Path| {
            append(&folder.join("audit.log"), "b\n");
            let text = fs::read(folder.join("audit.log")).unwrap();
            fs::remove_file(folder.join("audit.log")).unwrap();
            let file = fs::File::create(folder.join(format!("{FIRST}.gz"))).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            gzip.write_all(&text).unwrap();
            gzip.finish().unwrap();
            append(&folder.join("audit.log"), "c\n");
        };
        check(&[(&write("a\n"), "a\n"), (&compress, "b\nc\n")]);
    }
    #[test]
    fn a_last_line_without_end() {
        check(&[(&write("a\nb"), "a\n"), (&rename(FIRST), "b"), (&write("c\n"), "c\n")]);
    }

    /// A line as long as an event: its first bytes tell a file from all others as soon as it has one.
    fn event(n: u32) -> String {
        format!("{n} {}\n", "x".repeat(START as usize))
    }

    /// A writer that rotates at full speed, by `rotate`; everything comes once.
    #[track_caller]
    fn check_writer(rotate: fn(&Path, u32)) {
        const LINES: u32 = 20_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let open = || {
                let live = path.join("audit.log");
                fs::File::options().create(true).append(true).open(live).unwrap()
            };
            let mut file = open();
            for n in 0..LINES {
                // Whole lines, as an API server writes them.
                file.write_all(event(n).as_bytes()).unwrap();
                if n % 10 == 9 {
                    rotate(&path, n / 10);
                    file = open();
                }
            }
            done.send(()).unwrap();
        });
        let mut follow = Follow::file(&folder.path().join("audit.log"), None);
        let mut text = String::new();
        while is_done.try_recv().is_err() {
            text += &new(&mut follow);
        }
        for _ in 0..3 {
            text += &new(&mut follow);
        }
        let expected: String = (0..LINES).map(event).collect();
        assert!(text == expected, "{} of {} bytes", text.len(), expected.len());
    }

    /// A name as the API server gives it, in the order of `n`.
    fn dated(n: u32) -> String {
        format!("audit-2026-01-01T{:02}-{:02}-{:02}.000.log", n / 3600, n / 60 % 60, n % 60)
    }

    #[test]
    fn a_fast_writer_renames() {
        check_writer(|path, n| fs::rename(path.join("audit.log"), path.join(dated(n))).unwrap());
    }

    #[test]
    fn a_fast_writer_copies_and_truncates() {
        check_writer(|path, n| {
            fs::copy(path.join("audit.log"), path.join(dated(n))).unwrap();
            fs::File::create(path.join("audit.log")).unwrap();
        });
    }

    #[test]
    fn a_fast_writer_compresses() {
        check_writer(|path, n| {
            let plain = path.join(dated(n));
            fs::rename(path.join("audit.log"), &plain).unwrap();
            let gzip = fs::File::create(path.join(format!("{}.gz", dated(n)))).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::fast());
            gzip.write_all(&fs::read(&plain).unwrap()).unwrap();
            gzip.finish().unwrap();
            fs::remove_file(plain).unwrap();
        });
    }
}
