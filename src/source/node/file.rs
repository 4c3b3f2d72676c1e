//! A file of a node's log, read to an end that was fixed before, through rotation and broken
//! connections.

use std::{
    io::{self, Read},
    ops::Range,
    thread::sleep,
    time::Duration,
};

use super::{
    NodeLogError,
    folder::{NodeLogs, Part},
};
use crate::{
    cluster::Body,
    event::Timestamp,
    source::{
        compression::{Content, unpack},
        rotation::{Age, Rotated, closed_at},
        time_seek,
    },
};

/// How much of a file's beginning is looked at: a time is in it.
const START: u64 = 4096;

/// How far the first or the last event of a file is looked for.
const FAR: u64 = 256 << 10;

/// How much of a file's beginning tells it from others: an audit ID is in it.
const IDENTITY: usize = 1024;

/// How often in a row something may fail.
const ATTEMPTS: u32 = 5;

/// A connection that brought less than this counts as failed: so the requests for a file are bounded.
const PROGRESS: u64 = 32 << 10;

/// Under how many other names a file is looked for, each of which costs a request.
const NAMES: usize = 8;

/// How far to look behind the fixed end for the end of a line that was being written.
const LINE: u64 = 64 << 10;

/// A file on a node, and the part of it that a window of time needs.
#[derive(Debug, Clone)]
pub struct NodeFile {
    pub(super) logs: NodeLogs,
    /// Below `/var/log`, ends in `/` unless empty.
    pub(super) folder: String,
    pub(super) name: String,
    /// Its first bytes, by which it is found again under another name; empty if it was not looked at.
    pub(super) start: Vec<u8>,
    /// The stage timestamp of its first event.
    pub(super) first_time: Option<Timestamp>,
    /// Its size when it was looked at.
    pub(super) size: u64,
    /// What is read.
    pub(super) part: Range<u64>,
    /// Whether the API server still writes to it.
    pub(super) is_live: bool,
    /// It holds nothing within the window.
    pub(super) is_outside: bool,
}

impl NodeFile {
    /// Looks at the beginning of a file. `None` if it is empty or gone.
    pub(super) fn look(
        logs: &NodeLogs,
        folder: &str,
        name: &str,
    ) -> Result<Option<NodeFile>, NodeLogError> {
        let (mut start, size) = match logs.read(&format!("{folder}{name}"), 0..START) {
            Err(NodeLogError::NoSuchFile { .. }) => return Ok(None),
            read => read?,
        };
        if start.is_empty() {
            return Ok(None);
        }
        let first_time = time_seek::first_time(&start);
        start.truncate(IDENTITY);
        start.shrink_to_fit();
        let file = NodeFile::outside(logs, folder, name);
        Ok(Some(NodeFile { start, first_time, size, part: 0..size, is_outside: false, ..file }))
    }

    /// As [`NodeFile::look`] at a file that may be compressed by now.
    pub(super) fn look_packed(
        logs: &NodeLogs,
        folder: &str,
        name: &str,
    ) -> Result<Option<NodeFile>, NodeLogError> {
        match NodeFile::look(logs, folder, name)? {
            None if closed_at(name).is_some() && !name.ends_with(".gz") => {
                NodeFile::look(logs, folder, &format!("{name}.gz"))
            }
            found => Ok(found),
        }
    }

    /// A file that is not read, and was not looked at.
    pub(super) fn outside(logs: &NodeLogs, folder: &str, name: &str) -> NodeFile {
        NodeFile {
            logs: logs.clone(),
            folder: folder.to_owned(),
            name: name.to_owned(),
            start: Vec::new(),
            first_time: None,
            size: 0,
            part: 0..0,
            is_live: Rotated::of(name).live == name,
            is_outside: true,
        }
    }

    /// Reads a part of it only.
    pub(super) fn narrow(&mut self, part: Range<u64>) {
        self.is_outside = part.is_empty() && !self.is_live;
        self.part = part;
    }

    /// The same file without regard to a window.
    pub(crate) fn whole(&self) -> NodeFile {
        NodeFile { part: 0..self.size, is_outside: false, ..self.clone() }
    }

    /// Bytes that need not be read, for the sake of a window of time. A file that was not looked at has
    /// none: its size is not known.
    pub fn unread(&self) -> u64 {
        self.size - (self.part.end - self.part.start)
    }

    /// Whether it holds nothing within the window that it was found for.
    pub fn is_outside(&self) -> bool {
        self.is_outside
    }

    /// The node it is on.
    pub fn node(&self) -> &str {
        &self.logs.node
    }

    /// The path on the node.
    pub fn path(&self) -> String {
        format!("/var/log/{}", self.path_below(&self.name))
    }

    /// Its name on the node, without the folder.
    pub fn file_name(&self) -> &str {
        &self.name
    }

    pub(super) fn path_below(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// Whether the API server still writes to it.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The stage timestamp of its first event, if that is not far in. A line that is cut off says nothing.
    pub fn first_time(&self) -> Option<jiff::Timestamp> {
        let farther = || {
            let (bytes, _) = self.logs.read(&self.path_below(&self.name), 0..FAR).ok()?;
            time_seek::first_time(&bytes)
        };
        self.first_time.or_else(farther)?.to_jiff()
    }

    /// The stage timestamp of its last event, if that is not long.
    pub fn last_time(&self) -> Option<jiff::Timestamp> {
        if self.part.is_empty() {
            return None;
        }

        let range = self.part.end.saturating_sub(FAR).max(self.part.start)..self.part.end;
        let (bytes, _) = self.logs.read(&self.path_below(&self.name), range).ok()?;
        bytes.rsplit(|byte| *byte == b'\n').find_map(time_seek::time_of)?.to_jiff()
    }

    /// How many bytes are read.
    pub fn size(&self) -> u64 {
        self.part.end - self.part.start
    }

    /// Whether it may have that size by now: a file that is closed stays as it is.
    pub(super) fn may_have(&self, size: u64) -> bool {
        if self.is_live { size >= self.size } else { size == self.size }
    }

    /// Whether its name stays with it: one with the time at which it was closed.
    fn has_lasting_name(&self) -> bool {
        closed_at(&self.name).is_some()
    }

    /// Whether the file of that name is this one.
    pub(super) fn is_named(&self, name: &str) -> Result<bool, NodeLogError> {
        match self.logs.read(&self.path_below(name), 0..(self.start.len() as u64).max(1)) {
            Ok((found, _)) => Ok(found == self.start),
            Err(NodeLogError::NoSuchFile { .. }) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// The names that it may have by now, the likeliest first.
    fn candidates(&self) -> Result<Vec<String>, NodeLogError> {
        let Rotated { live, age } = Rotated::of(&self.name);
        let mut names = self.logs.list(&self.folder)?;
        names.retain(|name| {
            let other = Rotated::of(name);
            let is_older = match age {
                // Only the suffix changes when it is compressed.
                Age::Dated(_) => other.age == age,
                _ => other.age <= age,
            };
            other.live == live && is_older
        });
        // The newest first: it was the live file a moment ago.
        names.sort_by_cached_key(|name| (std::cmp::Reverse(Rotated::of(name).age), name.len()));
        names.dedup();
        names.truncate(NAMES);
        Ok(names)
    }

    /// The name that it has by now; `None` if it is gone, or compressed.
    pub(super) fn name_now(&self) -> Result<Option<String>, NodeLogError> {
        for name in self.candidates()? {
            if !name.ends_with(".gz") && self.is_named(&name)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Opens it. An error while reading holds a [`NodeLogError`].
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> Result<impl Read + Send + use<>, NodeLogError> {
        // One whose name was enough before is looked at now.
        let file = match self.start.is_empty() {
            true => NodeFile::look_packed(&self.logs, &self.folder, &self.name)?,
            false => None,
        };
        let file = file.unwrap_or_else(|| self.clone());
        let mut reader = NodeReader {
            name: file.name.clone(),
            at: file.part.start,
            to: file.part.end,
            body: None,
            failures: 0,
            came: 0,
            last: b'\n',
            tail: io::Cursor::new(Vec::new()),
            is_finished: false,
            file,
        };
        if reader.at < reader.to {
            reader.connect_or_retry()?;
        }
        Ok(reader)
    }
}

/// Reads a [`NodeFile`].
struct NodeReader {
    file: NodeFile,
    /// What the file is called by now.
    name: String,
    at: u64,
    to: u64,
    body: Option<Box<dyn Read + Send>>,
    /// Connections in a row that brought hardly anything.
    failures: u32,
    /// Bytes that came over this connection.
    came: u64,
    last: u8,
    /// The end of the last line, if it was being written when the end was fixed.
    tail: io::Cursor<Vec<u8>>,
    is_finished: bool,
}

impl Read for NodeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at < self.to {
            let left = usize::try_from(self.to - self.at).unwrap_or(usize::MAX);
            let limit = buffer.len().min(left);
            let failed = match &mut self.body {
                None => self.connect().map_err(io::Error::other).err(),
                Some(body) => match body.read(&mut buffer[..limit]) {
                    Ok(0) if limit == 0 => return Ok(0),
                    Ok(0) => Some(io::ErrorKind::UnexpectedEof.into()),
                    Ok(n) => {
                        self.at += n as u64;
                        self.came += n as u64;
                        self.last = buffer[n - 1];
                        return Ok(n);
                    }
                    Err(err) if err.kind() == io::ErrorKind::Interrupted => None,
                    Err(err) => Some(err),
                },
            };
            if let Some(err) = failed {
                self.retry(err)?;
            }
        }

        if !self.is_finished {
            self.is_finished = true;
            self.finish_line().map_err(io::Error::other)?;
        }
        self.tail.read(buffer)
    }
}

impl NodeReader {
    /// Connects, as often as it may fail.
    fn connect_or_retry(&mut self) -> Result<(), NodeLogError> {
        while let Err(err) = self.connect() {
            self.retry(io::Error::other(err)).map_err(|err| match err.downcast() {
                Ok(err) => err,
                Err(source) => self.broken(source),
            })?;
        }
        Ok(())
    }

    /// Gets ready to go on where the connection broke, unless it broke too often.
    fn retry(&mut self, err: io::Error) -> io::Result<()> {
        let cause = err.get_ref().and_then(|err| err.downcast_ref::<NodeLogError>());
        let is_silent = |err: &NodeLogError| matches!(err, NodeLogError::Silent { .. });
        if cause.is_some_and(|err| !err.may_pass() || is_silent(err)) {
            return Err(err);
        }
        if err.kind() == io::ErrorKind::TimedOut {
            return Err(io::Error::other(self.broken(err)));
        }
        self.body = None;
        self.failures = if self.came >= PROGRESS { 0 } else { self.failures + 1 };
        self.came = 0;
        if self.failures > ATTEMPTS {
            return Err(match cause {
                Some(_) => err,
                None => io::Error::other(self.broken(err)),
            });
        }
        if self.failures > 0 {
            sleep(Duration::from_millis(50 << self.failures));
        }
        Ok(())
    }

    fn broken(&self, source: io::Error) -> NodeLogError {
        self.file.logs.broken(&self.path(), source)
    }

    fn path(&self) -> String {
        self.file.path_below(&self.name)
    }

    /// Opens the rest. What is opened stays the same file, whatever is renamed afterwards; so it is
    /// looked at under which name the file is *after* opening: if it is still this one, it was before.
    fn connect(&mut self) -> Result<(), NodeLogError> {
        for _ in 0..ATTEMPTS {
            match self.file.logs.open(&self.path(), self.at..self.to) {
                Err(NodeLogError::NoSuchFile { .. }) => {}
                Err(err) => return Err(err),
                Ok(Some(part)) if self.file.may_have(part.size) => {
                    if let Some(body) = self.verified(part)? {
                        self.body = Some(body);
                        return Ok(());
                    }
                }
                // Of another size: another file.
                Ok(_) => {}
            }
            if let Some(body) = self.look_elsewhere()? {
                self.body = Some(body);
                return Ok(());
            }
        }
        Err(NodeLogError::RotatedAway { node: self.file.logs.node.clone(), path: self.path() })
    }

    /// The body of a part, if it is of this file. Where it holds the beginning, no request is needed.
    fn verified(&self, part: Part) -> Result<Option<Box<dyn Read + Send>>, NodeLogError> {
        let mut body = behind(part);
        if self.at > 0 {
            let is_this = self.file.has_lasting_name() || self.file.is_named(&self.name)?;
            return Ok(is_this.then(|| Box::new(body) as _));
        }
        let mut start = Vec::new();
        let result = body.by_ref().take(self.file.start.len() as u64).read_to_end(&mut start);
        if !self.file.start.starts_with(&start) {
            return Ok(None);
        }
        match result {
            Err(err) if start.is_empty() => Err(self.broken(err)),
            _ => Ok(Some(Box::new(io::Cursor::new(start).chain(body)))),
        }
    }

    /// Finds the file under the name that rotation gave it. If it is compressed by now, opens it.
    fn look_elsewhere(&mut self) -> Result<Option<Box<dyn Read + Send>>, NodeLogError> {
        for name in self.file.candidates()? {
            if name.ends_with(".gz") && !self.file.start.starts_with(&[0x1f, 0x8b]) {
                if let Some(body) = self.compressed(&name)? {
                    return Ok(Some(body));
                }
            } else if self.file.is_named(&name)? {
                self.name = name;
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The rest, out of a compressed copy, if `name` is one.
    fn compressed(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, NodeLogError> {
        let part = match self.file.logs.open(&self.file.path_below(name), 0..i64::MAX as u64) {
            Ok(Some(part)) => part,
            Ok(None) | Err(NodeLogError::NoSuchFile { .. }) => return Ok(None),
            Err(err) => return Err(err),
        };
        let Ok(Content::Text(mut text)) = unpack(Box::new(behind(part))) else { return Ok(None) };
        let mut start = vec![0; self.file.start.len()];
        if text.read_exact(&mut start).is_err() || start != self.file.start {
            return Ok(None);
        }
        let mut text: Box<dyn Read + Send> = Box::new(io::Cursor::new(start).chain(text));
        let skipped = io::copy(&mut text.by_ref().take(self.at), &mut io::sink());
        Ok(skipped.is_ok_and(|skipped| skipped == self.at).then_some(text))
    }

    /// The end was fixed in the middle of a line: reads on to the end of that line.
    fn finish_line(&mut self) -> Result<(), NodeLogError> {
        if self.last == b'\n' || !self.file.is_live || self.to < self.file.size {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let rest = match self.file.logs.read(&self.path(), self.to..self.to + LINE) {
                Err(NodeLogError::NoSuchFile { .. }) => Vec::new(),
                read => read?.0,
            };
            if self.file.is_named(&self.name)? {
                self.set_tail(rest);
                return Ok(());
            }
            if let Some(body) = self.look_elsewhere()? {
                let mut rest = Vec::new();
                // What can be unpacked of it is used.
                let _ = body.take(LINE).read_to_end(&mut rest);
                self.set_tail(rest);
                return Ok(());
            }
        }
        Ok(())
    }

    fn set_tail(&mut self, mut rest: Vec<u8>) {
        if let Some(end) = memchr::memchr(b'\n', &rest) {
            rest.truncate(end + 1);
        }
        self.tail = io::Cursor::new(rest);
    }
}

/// The body of a part, from where it was asked for.
pub(super) fn behind(part: Part) -> impl Read + Send {
    Behind { before: part.before, body: part.body }
}

struct Behind {
    before: u64,
    body: Body,
}

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.before > 0 {
            let limit = buffer.len().min(usize::try_from(self.before).unwrap_or(usize::MAX));
            match self.body.read(&mut buffer[..limit])? {
                0 => return Ok(0),
                n => self.before -= n as u64,
            }
        }
        self.body.read(buffer)
    }
}
