//! A file of a node's log, read to an end that was fixed before, through rotation and broken
//! connections.

use std::{
    io::{self, Read},
    thread::sleep,
    time::Duration,
};

use super::{
    NodeLogError,
    folder::{NodeLogs, Part},
    seek::stage_timestamp,
};
use crate::{
    cluster::Body,
    source::compression::{Content, unpack},
};

/// How much of a file's beginning tells it from others: an audit ID and a time are in it.
pub(super) const START: u64 = 4096;

/// How far the first or the last event of a file is looked for.
const FAR: u64 = 256 << 10;

/// How often in a row a connection may break.
const ATTEMPTS: u32 = 5;

/// How far to look behind the fixed end for the end of a line that was being written.
const LINE: u64 = 64 << 10;

/// A part of a file on a node.
#[derive(Debug, Clone)]
pub struct NodeFile {
    pub(super) logs: NodeLogs,
    /// Below `/var/log`, ends in `/` unless empty.
    pub(super) folder: String,
    pub(super) name: String,
    /// Its first bytes, by which it is found again under another name.
    pub(super) start: Vec<u8>,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether the API server still writes to it.
    pub(super) is_live: bool,
    /// Bytes of the log that a window of time allowed to pass over; of this file, and of those before.
    pub(super) unread: u64,
}

impl NodeFile {
    /// Bytes that need not be read, for the sake of a window of time.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// The node it is on.
    pub fn node(&self) -> &str {
        &self.logs.node
    }

    /// The path on the node.
    pub fn path(&self) -> String {
        format!("/var/log/{}{}", self.folder, self.name)
    }

    /// Whether the API server still writes to it.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// The stage timestamp of its first event, if that is not far in. A line that is cut off says nothing.
    pub fn first_time(&self) -> Option<jiff::Timestamp> {
        whole_lines(&self.start).find_map(stage_timestamp).or_else(|| {
            let start = self.logs.read(&format!("{}{}", self.folder, self.name), 0..FAR);
            start.ok().and_then(|(bytes, _)| whole_lines(&bytes).find_map(stage_timestamp))
        })
    }

    /// The stage timestamp of its last event, if that is not long.
    pub fn last_time(&self) -> Option<jiff::Timestamp> {
        if self.from == self.to {
            return None;
        }
        let range = self.to.saturating_sub(FAR).max(self.from)..self.to;
        let (bytes, _) = self.logs.read(&format!("{}{}", self.folder, self.name), range).ok()?;
        whole_lines(&bytes).filter_map(stage_timestamp).last()
    }

    /// How many bytes are read.
    pub fn size(&self) -> u64 {
        self.to - self.from
    }

    /// Opens it. An error while reading holds a [`NodeLogError`].
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> Result<impl Read + Send + use<>, NodeLogError> {
        let mut reader = NodeReader {
            name: self.name.clone(),
            at: self.from,
            to: self.to,
            body: None,
            attempts: 0,
            last: b'\n',
            tail: io::Cursor::new(Vec::new()),
            is_finished: false,
            file: self.clone(),
        };
        if reader.at < reader.to {
            reader.connect()?;
        }
        Ok(reader)
    }
}

/// The lines of a text that end in it.
fn whole_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
}

/// Reads a [`NodeFile`].
struct NodeReader {
    file: NodeFile,
    /// What the file is called by now.
    name: String,
    at: u64,
    to: u64,
    body: Option<Box<dyn Read + Send>>,
    /// Failures since the last byte that came.
    attempts: u32,
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
                    Ok(0) => Some(io::ErrorKind::UnexpectedEof.into()),
                    Ok(n) => {
                        self.at += n as u64;
                        self.attempts = 0;
                        self.last = buffer[n - 1];
                        return Ok(n);
                    }
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
    /// Gets ready to go on where the connection broke, unless it broke too often.
    fn retry(&mut self, err: io::Error) -> io::Result<()> {
        self.body = None;
        self.attempts += 1;
        let is_final = err.get_ref().is_some_and(|it| {
            matches!(
                it.downcast_ref(),
                Some(
                    NodeLogError::RotatedAway { .. }
                        | NodeLogError::Forbidden { .. }
                        | NodeLogError::Silent { .. }
                )
            )
        });
        if err.kind() == io::ErrorKind::TimedOut {
            return Err(io::Error::other(self.file.logs.broken(&self.path(), err)));
        }
        if is_final {
            return Err(err);
        }
        if self.attempts > ATTEMPTS {
            let (node, path) = (self.file.logs.node.clone(), self.path());
            return Err(io::Error::other(NodeLogError::Broken { node, path, source: err }));
        }
        sleep(Duration::from_millis(100 << self.attempts));
        Ok(())
    }

    fn path(&self) -> String {
        format!("{}{}", self.file.folder, self.name)
    }

    /// Opens the rest. What is opened stays the same file, whatever is renamed afterwards; so it is
    /// looked at under which name the file is *after* opening: if it is still this one, it was before.
    fn connect(&mut self) -> Result<(), NodeLogError> {
        for _ in 0..ATTEMPTS {
            match self.file.logs.open(&self.path(), self.at..self.to) {
                Err(NodeLogError::NoSuchFile { .. }) => {}
                Err(err) => return Err(err),
                // Shorter than it was: another one.
                Ok(None) => {}
                Ok(Some(part)) => {
                    if self.is_named(&self.name)? {
                        self.body = Some(Box::new(behind(part)));
                        return Ok(());
                    }
                }
            }
            if let Some(body) = self.look_elsewhere()? {
                self.body = Some(body);
                return Ok(());
            }
        }
        Err(NodeLogError::RotatedAway { node: self.file.logs.node.clone(), path: self.path() })
    }

    fn is_named(&self, name: &str) -> Result<bool, NodeLogError> {
        let start = &self.file.start;
        let path = format!("{}{name}", self.file.folder);
        match self.file.logs.read(&path, 0..(start.len() as u64).max(1)) {
            Ok((found, _)) => Ok(found == *start),
            Err(NodeLogError::NoSuchFile { .. }) => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Finds the file under the name that rotation gave it. If it is compressed by now, opens it.
    fn look_elsewhere(&mut self) -> Result<Option<Box<dyn Read + Send>>, NodeLogError> {
        let live = super::Rotated::of(&self.file.name).live;
        let mut names = self.file.logs.list(&self.file.folder)?;
        names.retain(|it| super::Rotated::of(it).live == live);
        // The newest first: it was the live file a moment ago.
        names.sort_by(|a, b| super::Rotated::of(b).age.cmp(&super::Rotated::of(a).age));
        for name in names {
            if !name.ends_with(".gz") {
                if self.is_named(&name)? {
                    self.name = name;
                    return Ok(None);
                }
                continue;
            }
            if let Some(body) = self.compressed(&name)? {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    /// The rest, out of a compressed copy, if `name` is one.
    fn compressed(&self, name: &str) -> Result<Option<Box<dyn Read + Send>>, NodeLogError> {
        let path = format!("{}{name}", self.file.folder);
        let part = match self.file.logs.open(&path, 0..i64::MAX as u64) {
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
        Ok(skipped.is_ok_and(|it| it == self.at).then_some(text))
    }

    /// The end was fixed in the middle of a line: reads on to the end of that line.
    fn finish_line(&mut self) -> Result<(), NodeLogError> {
        if self.last == b'\n' || !self.file.is_live {
            return Ok(());
        }
        if !self.is_named(&self.name)? && self.look_elsewhere()?.is_some() {
            return Ok(());
        }
        let (mut rest, _) = self.file.logs.read(&self.path(), self.to..self.to + LINE)?;
        if let Some(end) = memchr::memchr(b'\n', &rest) {
            rest.truncate(end + 1);
        }
        self.tail = io::Cursor::new(rest);
        Ok(())
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
