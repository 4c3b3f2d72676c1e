//! Keeps reading a log while it is written, through rotation of any kind.
//!
//! A file is known by its first bytes, not by its name: so the same few steps follow a rename, a copy
//! that truncates, and compression, on this machine and on a node where nothing can be kept open.
//!
//! On a node each look is a request, which the API server writes into the log that is followed. So a
//! look is one open-ended range that begins a little before the new bytes: the bytes known already
//! prove that the file is still the same. Only a rotation costs more.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use memchr::memmem::Finder;

use super::{
    SourceError,
    compression::{Content, unpack},
    rotation::{Age, Rotated, closed_at},
    time_seek::{ReadAt, Skip, Written},
};
use crate::event::{Timestamp, Window};

/// How much of a file's beginning tells it from others.
const START: u64 = 512;

/// How much of what was read last is read again, to see that the file is still the same. An event's
/// times and most of its annotations are in it.
const TAIL: usize = 1024;

/// How much is given on at a time.
const BATCH: u64 = 1 << 20;

/// A file of this size is read whole rather than searched for the place to begin: that takes one
/// request.
const SMALL: u64 = 4 << 20;

/// How often local files are looked at.
const LOCAL: Duration = Duration::from_millis(200);

/// A look at a node lists the folder once in so many looks while the log has no live file.
const LIST_EVERY: u32 = 10;

/// After so many looks, a file that has no name any more counts as lost.
const PATIENCE: u32 = 20;

/// One look follows at most this many rotations; the next look goes on. Fewer on a node.
const MAX_ROTATIONS: u32 = 100;
const MAX_ROTATIONS_OF_NODE: u32 = 4;

/// While only requests of this run are new, looks get rarer, down to one in so many intervals.
const SLOWEST: u32 = 4;

/// A folder with a log in it: what following needs of it.
pub(super) trait Folder: Send {
    /// The names in it; none if it is not there yet.
    fn names(&mut self) -> Result<Vec<String>, SourceError>;
    /// The bytes of a range of a file, fewer where it ends, and the size of the file; nothing if it is
    /// not there.
    fn read(&mut self, name: &str, range: Range<u64>) -> Result<(Vec<u8>, u64), SourceError>;
    /// A file from an offset on, to the end that it has now. `None` if it is not there, or ends before.
    fn open(&mut self, name: &str, from: u64) -> Result<Option<Box<dyn Read + Send>>, SourceError>;
}

/// A folder on this machine.
pub(super) struct LocalFolder(pub PathBuf);

/// A node as something to follow.
pub(super) struct Remote {
    /// Where the log is.
    pub node: String,
    /// How often to look.
    pub interval: Duration,
    /// The user agent of the requests that looks are.
    pub user_agent: String,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Nothing,
    /// Only events of our own requests.
    Own,
    Events,
}

/// What is left to do after reading the live file.
enum Next {
    /// Nothing before the next look.
    Wait,
    /// Another file has its name.
    Rotated,
}

/// Follows one log.
pub struct Follow {
    folder: Box<dyn Folder>,
    /// What the log is called.
    pub name: String,
    /// The longest line that is kept; of a longer one only so much is given that it shows.
    pub max_line: usize,
    /// The name of the file that is written to.
    live: String,
    /// What is older need not be read.
    since: Option<Timestamp>,
    /// The first bytes of the file that is being read, empty before it has any.
    start: Vec<u8>,
    /// How far it is read, and the bytes before.
    at: u64,
    tail: Vec<u8>,
    /// Whether `at` is in the middle of a line that is too long.
    is_in_long_line: bool,
    /// The first bytes of files that are done with.
    done: HashSet<Vec<u8>>,
    /// Names of files that were too old when following began.
    too_old: HashSet<String>,
    /// The first bytes of files whose names stay theirs.
    starts: HashMap<String, Start>,
    is_begun: bool,
    /// Whether the files beside the live one are still to be looked through.
    wants_listing: bool,
    /// Looks since the folder was listed.
    unlisted: u32,
    /// Looks in a row in which a file that must be somewhere was not found.
    missed: u32,
    /// Files that went away before they were read to their end.
    pub lost: u64,
    /// Whether the last look did not come to the end of what is there.
    pub is_behind: bool,
    files: Arc<AtomicU64>,
    /// Whether the file that is being read is among them.
    is_counted: bool,
    node: Option<String>,
    /// Finds events of the requests that looks are.
    own: Option<Finder<'static>>,
    interval: Duration,
    /// How many intervals to wait for the next look.
    slowness: u32,
}

/// The beginning of a file, unpacked.
#[derive(Debug, Clone, Default)]
struct Start {
    bytes: Vec<u8>,
    is_packed: bool,
    /// Of the file as it is.
    size: u64,
}

/// A sibling that is not done with.
struct Sibling {
    name: String,
    start: Start,
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
            max_line: 64 << 20,
            live,
            since,
            start: Vec::new(),
            at: 0,
            tail: Vec::new(),
            is_in_long_line: false,
            done: HashSet::new(),
            too_old: HashSet::new(),
            starts: HashMap::new(),
            is_begun: false,
            wants_listing: true,
            unlisted: 0,
            missed: 0,
            lost: 0,
            is_behind: false,
            files: Arc::default(),
            is_counted: false,
            node: None,
            own: None,
            interval: LOCAL,
            slowness: 1,
        }
    }

    /// The same, but each look is a request to a node.
    pub(super) fn on_node(self, remote: Remote) -> Follow {
        let own = format!("\"userAgent\":\"{}\"", remote.user_agent);
        let own = Finder::new(own.as_bytes()).into_owned();
        let Remote { node, interval, .. } = remote;
        Follow { node: Some(node), own: Some(own), interval, ..self }
    }

    /// The node that the log is on, if it is not on this machine.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// How many files were read so far; goes on counting.
    pub fn files(&self) -> Arc<AtomicU64> {
        self.files.clone()
    }

    /// How long to wait before the next look.
    pub fn wait(&self) -> Duration {
        self.interval * self.slowness
    }

    /// Gives everything that is new, as whole lines; `sink` says whether to go on.
    ///
    /// # Errors
    /// If something cannot be read; the next call goes on from there.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), SourceError> {
        let mut news = News::Nothing;
        let own = self.own.clone();
        let mut observing = |lines: Vec<u8>| {
            if news != News::Events {
                let is_own = own.as_ref().is_some_and(|own| are_all(own, &lines));
                news = if is_own { News::Own } else { News::Events };
            }
            sink(lines)
        };
        let result = self.look(&mut observing);
        self.slowness = match news {
            News::Own => (self.slowness * 2).min(SLOWEST),
            // A server that shows another file each time is not asked more often for it.
            _ if self.is_behind && self.node.is_some() => (self.slowness * 2).min(SLOWEST),
            News::Nothing | News::Events => 1,
        };
        result
    }

    fn look(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), SourceError> {
        self.unlisted = self.unlisted.saturating_add(1);
        self.is_behind = false;
        let most = if self.node.is_some() { MAX_ROTATIONS_OF_NODE } else { MAX_ROTATIONS };
        for _ in 0..most {
            let next = if self.start.is_empty() { self.begin(sink)? } else { self.live(sink)? };
            match next {
                Next::Wait => return Ok(()),
                Next::Rotated if self.rotated(sink)? => {}
                Next::Rotated => return Ok(()),
            }
        }
        self.is_behind = true;
        Ok(())
    }

    /// Reads what is new in the live file, if it is still the same.
    fn live(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<Next, SourceError> {
        let live = self.live.clone();
        let mut most = BATCH;
        loop {
            let Some(mut text) = self.open_known(&live)? else { return Ok(Next::Rotated) };
            if self.node.is_some() {
                // One request, however much is new.
                self.give(&mut text, false, sink)?;
                return Ok(Next::Wait);
            }

            let mut batch = Vec::new();
            let failed = |err| SourceError::new(&live, err);
            let read = text.take(most).read_to_end(&mut batch).map_err(failed)? as u64;
            // It may have been truncated and filled again while it was read.
            if self.open_known(&live)?.is_none() {
                return Ok(Next::Rotated);
            }
            let before = self.at;
            let listens = self.give(&mut io::Cursor::new(batch), false, sink)?;
            if !listens || read < most {
                return Ok(Next::Wait);
            }
            // A line is longer than the batch.
            most = if self.at == before { most * 2 } else { BATCH };
        }
    }

    /// Opens the file that is being read, behind what is read of it. `None` if the name is that of
    /// another file by now, or of none.
    fn open_known(&mut self, name: &str) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
        let from = self.at - self.tail.len() as u64;
        let Some(mut text) = self.folder.open(name, from)? else { return Ok(None) };

        let mut found = Vec::new();
        let seen = if from == 0 { self.start.len() } else { 0 };
        let wanted = self.tail.len().max(seen) as u64;
        let failed = |err| SourceError::new(name, err);
        text.by_ref().take(wanted).read_to_end(&mut found).map_err(failed)?;
        let is_same = found.starts_with(&self.tail) && (from > 0 || found.starts_with(&self.start));
        if !is_same {
            return Ok(None);
        }

        let ahead = io::Cursor::new(found.split_off(self.tail.len()));
        Ok(Some(Box::new(ahead.chain(text))))
    }

    /// Gives the lines of the file that is being read, from where it is read to. The last line of a
    /// file that `is_closed` needs no end. `false` if nobody listens any more.
    fn give(
        &mut self,
        text: &mut dyn Read,
        is_closed: bool,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<bool, SourceError> {
        let mut left = Vec::new();
        loop {
            let read = Read::take(&mut *text, BATCH).read_to_end(&mut left);
            self.remember_start(&left);
            let is_end = matches!(read, Ok(0));

            if self.is_in_long_line {
                let end = memchr::memchr(b'\n', &left).map(|at| at + 1);
                self.is_in_long_line = end.is_none();
                let rest = left.split_off(end.unwrap_or(left.len()));
                self.advance(&left);
                left = rest;
            }
            let whole = memchr::memrchr(b'\n', &left).map_or(0, |at| at + 1);
            let is_too_long = whole == 0 && left.len() > self.max_line;
            let whole = if is_too_long || is_end && is_closed { left.len() } else { whole };
            self.is_in_long_line |= is_too_long;

            let rest = left.split_off(whole);
            let lines = std::mem::replace(&mut left, rest);
            self.advance(&lines);
            self.count_file(!lines.is_empty());
            if !lines.is_empty() && !sink(lines) {
                return Ok(false);
            }
            let name = &self.live;
            read.map_err(|err| SourceError::new(name, err))?;
            if is_end {
                return Ok(true);
            }
        }
    }

    /// The file that is being read is read so much further.
    fn advance(&mut self, bytes: &[u8]) {
        self.at += bytes.len() as u64;
        let kept = TAIL.saturating_sub(bytes.len()).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL)..]);
    }

    /// Learns more of the file's beginning, from what follows the place that is read to.
    fn remember_start(&mut self, bytes: &[u8]) {
        let known = self.start.len() as u64;
        let new = known.checked_sub(self.at).and_then(|at| bytes.get(at as usize..));
        if let Some(new) = new.filter(|_| known < START) {
            self.start.extend(new.iter().take((START - known) as usize));
        }
    }

    /// From now on the file with this beginning is read, from an offset on.
    fn switch(&mut self, start: Vec<u8>, at: u64) {
        (self.start, self.at) = (start, at);
        (self.is_in_long_line, self.is_counted) = (false, false);
        self.tail.clear();
    }

    /// Counts the file that is being read, once it `has_content`.
    fn count_file(&mut self, has_content: bool) {
        if has_content && !self.is_counted {
            self.is_counted = true;
            self.files.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins with the live file, after all that was written before it.
    fn begin(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<Next, SourceError> {
        let live = self.live.clone();
        let Start { bytes: start, size, .. } = self.start_of(&live)?;
        // While there is no file, listing again and again finds nothing that the file would not show.
        let is_time = self.node.is_none() || self.unlisted >= LIST_EVERY;
        if start.is_empty() && !self.wants_listing && !is_time {
            return Ok(Next::Wait);
        }

        let siblings = self.siblings()?;
        // An empty file may have been filled and copied since, and wait to be truncated: the copy is
        // read once that is done, or the file itself is.
        let now = if start.is_empty() { self.start_of(&live)?.bytes } else { start.clone() };
        for sibling in siblings {
            // The live file was rotated after the look at it: it is what we begin with.
            if !now.is_empty() && is_same(&sibling.start.bytes, &now) {
                break;
            }
            self.switch(Vec::new(), 0);
            if !self.rest(&sibling, sink)? {
                self.switch(Vec::new(), 0);
                if !self.gives_up() {
                    return Ok(Next::Wait);
                }
            }
            self.done.insert(sibling.start.bytes);
        }
        (self.wants_listing, self.missed) = (false, 0);

        let (mut at, mut tail) = (0, Vec::new());
        if !self.is_begun && !start.is_empty() {
            let sought = self.seek(size)?;
            // Without a search nothing was read by name.
            if sought > 0 {
                (tail, _) = self.folder.read(&live, sought.saturating_sub(TAIL as u64)..sought)?;
                let is_still = self.start_of(&live)?.bytes.starts_with(&start);
                at = if is_still { sought } else { 0 };
            }
        }
        self.is_begun |= !start.is_empty();
        self.switch(start, at);
        if at > 0 {
            self.tail = tail;
        }
        if self.start.is_empty() {
            return Ok(Next::Wait);
        }
        self.count_file(true);
        self.live(sink)
    }

    /// The live file is another one now: reads the rest of the one before, wherever it is. `false` if
    /// it was not found yet.
    fn rotated(&mut self, sink: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<bool, SourceError> {
        let siblings = self.siblings()?;
        let before = siblings.into_iter().find(|it| it.start.bytes.starts_with(&self.start));
        if let Some(before) = before {
            if self.rest(&before, sink)? {
                self.done.insert(before.start.bytes);
            } else if !self.gives_up() {
                return Ok(false);
            }
        } else if !self.is_somewhere()? {
            self.lost += 1;
        } else if !self.gives_up() {
            return Ok(false);
        }
        (self.wants_listing, self.missed) = (true, 0);
        self.switch(Vec::new(), 0);
        Ok(true)
    }

    /// Whether a file that is not where it was seen is missing for too long.
    fn gives_up(&mut self) -> bool {
        self.missed += 1;
        let is_lost = self.missed > PATIENCE;
        self.lost += u64::from(is_lost);
        is_lost
    }

    /// Whether the file has a name after all: it may have been between two when that was looked at.
    fn is_somewhere(&mut self) -> Result<bool, SourceError> {
        self.starts.clear();
        Ok(self.siblings()?.iter().any(|it| it.start.bytes.starts_with(&self.start)))
    }

    /// Gives what a closed file holds behind the place that is read to, unpacked. `false` if it is not
    /// there any more, under this name: the next call looks again.
    fn rest(
        &mut self,
        sibling: &Sibling,
        sink: &mut dyn FnMut(Vec<u8>) -> bool,
    ) -> Result<bool, SourceError> {
        let name = &sibling.name;
        if !sibling.start.is_packed {
            if self.start.is_empty() {
                self.start.clone_from(&sibling.start.bytes);
            }
            let Some(mut text) = self.open_known(name)? else { return Ok(false) };
            return self.give(&mut text, true, sink);
        }

        let Some(raw) = self.folder.open(name, 0)? else { return Ok(false) };
        let failed = |err| SourceError::new(name, err);
        let Content::Text(mut text) = unpack(raw).map_err(failed)? else { return Ok(true) };
        io::copy(&mut text.by_ref().take(self.at), &mut io::sink()).map_err(failed)?;
        self.give(&mut text, true, sink)
    }

    /// The rotated files that are not done with, oldest first.
    fn siblings(&mut self) -> Result<Vec<Sibling>, SourceError> {
        self.unlisted = 0;
        // While a folder is listed, a new name may be missed and a newer one not. But what is older
        // than a name in one listing is there when the next one begins.
        let newest = self.rotated_names()?.iter().map(|it| Rotated::of(it).age).max();
        let Some(newest) = newest else { return Ok(Vec::new()) };
        let mut names = self.rotated_names()?;
        names.retain(|it| Rotated::of(it).age <= newest);
        names.sort_by_cached_key(|it| (Rotated::of(it).age, it.len()));
        names.dedup_by(|b, a| b.strip_prefix(a.as_str()).is_some_and(|it| it == ".gz"));

        let mut siblings = Vec::new();
        for name in names {
            let key = name.strip_suffix(".gz").unwrap_or(&name);
            if !self.is_begun && self.is_too_old(&name) {
                self.too_old.insert(key.to_owned());
            }
            if self.too_old.contains(key) {
                continue;
            }
            let start = self.start_of(&name)?;
            // Only the file that is being compressed has a name and nothing in it yet.
            if !start.bytes.is_empty() && !self.done.contains(&start.bytes) {
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
    fn start_of(&mut self, name: &str) -> Result<Start, SourceError> {
        if let Some(start) = self.starts.get(name) {
            return Ok(start.clone());
        }
        let is_closed = matches!(Rotated::of(name).age, Age::Dated(_));
        let (bytes, size) = self.folder.read(name, 0..START)?;
        let mut start = Start { bytes, is_packed: false, size };
        if start.bytes.starts_with(&[0x1f, 0x8b]) {
            start = Start { bytes: Vec::new(), is_packed: true, size };
            let Some(raw) = self.folder.open(name, 0)? else { return Ok(start) };
            let Ok(Content::Text(text)) = unpack(raw) else { return Ok(start) };
            // It may be there in part only.
            let _ = text.take(START).read_to_end(&mut start.bytes);
        }
        if is_closed && !start.bytes.is_empty() {
            self.starts.insert(name.to_owned(), start.clone());
        }
        Ok(start)
    }

    fn is_too_old(&self, name: &str) -> bool {
        let written = Written { from: None, to: closed_at(name) };
        Skip::default().is_outside_by_name(written, self.window())
    }

    fn window(&self) -> Window {
        Window { since: self.since, until: None }
    }

    /// Where in the live file to begin.
    fn seek(&mut self, size: u64) -> Result<u64, SourceError> {
        // A small file takes fewer requests read whole than searched.
        let is_small = self.node.is_some() && size <= SMALL;
        if self.since.is_none() || is_small {
            return Ok(0);
        }
        let window = self.window();
        // On a node a few places must do: each is a request.
        let skip = match self.node {
            Some(_) => Skip { samples: (6, 6), ..Skip::remote() },
            None => Skip { cut_above: 0, ..Skip::default() },
        };
        let mut bytes = FolderAt { folder: self.folder.as_mut(), name: &self.live, size };
        let range = skip.range_of(&mut bytes, window)?;
        if !range.is_empty() {
            return Ok(range.start);
        }

        // All of it is too old: goes on with its last line, of which the end may be missing here.
        let from = size.saturating_sub(BATCH);
        let (end, _) = self.folder.read(&self.live, from..size)?;
        Ok(memchr::memrchr(b'\n', &end).map_or(0, |at| from + at as u64 + 1))
    }
}

/// A file in a folder, read at any offset. It may have more bytes behind these.
struct FolderAt<'f> {
    folder: &'f mut dyn Folder,
    name: &'f str,
    size: u64,
}

impl ReadAt for FolderAt<'_> {
    type Bytes = Vec<u8>;
    type Error = SourceError;

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
        self.folder.read(self.name, range).map(|(bytes, _)| bytes)
    }
}

/// Whether each of these lines mentions what is looked for.
fn are_all(mention: &Finder<'_>, lines: &[u8]) -> bool {
    let mut lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.all(|line| mention.find(line).is_some())
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

    fn read(&mut self, name: &str, range: Range<u64>) -> Result<(Vec<u8>, u64), SourceError> {
        let Some(file) = self.open(name, range.start)? else { return Ok((Vec::new(), 0)) };
        let path = self.0.join(name);
        let failed = |err| SourceError::new(&path.display().to_string(), err);
        let mut bytes = Vec::new();
        file.take(range.end - range.start).read_to_end(&mut bytes).map_err(failed)?;
        Ok((bytes, path.metadata().map_or(0, |it| it.len())))
    }

    fn open(&mut self, name: &str, from: u64) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
        let path = self.0.join(name);
        let failed = |err| SourceError::new(&path.display().to_string(), err);
        let mut file = match File::open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        Ok(Some(Box::new(file)))
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
        fn read(&mut self, name: &str, range: Range<u64>) -> Result<(Vec<u8>, u64), SourceError> {
            let bytes = self.0.read(name, range);
            if let Some(happens) = self.1.take() {
                happens(&self.0.0);
            }
            bytes
        }
        fn open(
            &mut self,
            name: &str,
            from: u64,
        ) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
            self.0.open(name, from)
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
