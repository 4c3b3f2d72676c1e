//! What the kubelet of a node serves below `/var/log`: folders and ranges of files.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{NodeLogError, file::behind, listing};
use crate::{
    cluster::{Body, Cluster, ClusterError, Reply},
    source::{SourceError, follow::Folder},
};

/// What stays as it is in a path.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A listing may have this many bytes.
const MAX_LISTING: u64 = 16 << 20;

/// And the message of an error this many.
const MAX_MESSAGE: u64 = 64 << 10;

/// How much of a file may come that was not asked for.
const MAX_SKIPPED: u64 = 1 << 20;

/// How often an answer may bring hardly anything.
const ATTEMPTS: u32 = 5;

/// The logs of a node, through the API server's node proxy.
#[derive(Debug, Clone)]
pub(super) struct NodeLogs {
    pub cluster: Cluster,
    pub node: String,
    /// How long the node may send nothing.
    pub timeout: Duration,
    /// Set once it has sent nothing for so long: nobody waits for it again. `None` if it may come back.
    pub is_silent: Option<Arc<AtomicBool>>,
}

/// A part of a file.
pub(super) struct Part {
    /// The size of the whole file.
    pub size: u64,
    /// Bytes of the body before the range that was asked for: a server may send everything.
    pub before: u64,
    pub body: Body,
}

impl NodeLogs {
    /// The logs of the node of that name, which comes from the server.
    pub(super) fn new(
        cluster: &Cluster,
        node: &str,
        timeout: Duration,
        is_silent: Option<Arc<AtomicBool>>,
    ) -> Result<NodeLogs, NodeLogError> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !node.chars().all(is_word) || node.trim_matches('.').is_empty() {
            return Err(NodeLogError::BadNodeName { node: node.to_owned() });
        }
        Ok(NodeLogs { cluster: cluster.clone(), node: node.to_owned(), timeout, is_silent })
    }

    /// The names in a folder below `/var/log`; folders end in `/`. `path` is empty or ends in `/`.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, NodeLogError> {
        let reply = self.get(path, None)?;
        let status = reply.status;
        let limit = if status == 200 { MAX_LISTING } else { MAX_MESSAGE };
        let text = reply.text(limit).map_err(|err| self.broken(path, err))?;
        match status {
            200 if text.len() as u64 >= MAX_LISTING => {
                Err(NodeLogError::LongListing { node: self.node.clone(), path: path.to_owned() })
            }
            200 => Ok(listing::names(&text)),
            _ => Err(NodeLogError::of(&self.node, path, status, &text)),
        }
    }

    /// A range of a file. `None` if the file ends before it.
    pub(super) fn open(&self, path: &str, range: Range<u64>) -> Result<Option<Part>, NodeLogError> {
        let start = range.start;
        let reply = self.get(path, Some(range))?;
        match (reply.status, reply.size) {
            (206, Some(size)) if reply.range_start == Some(start) && size > start => {
                Ok(Some(Part { size, before: 0, body: reply.body }))
            }
            (206, _) => {
                let (node, path) = (self.node.clone(), path.to_owned());
                Err(NodeLogError::WrongRange { node, path, start })
            }
            (200, Some(size)) if size > start => {
                Ok(Some(Part { size, before: start, body: reply.body }))
            }
            (200 | 416, _) => Ok(None),
            (status, _) => {
                let text = reply.text(MAX_MESSAGE).map_err(|err| self.broken(path, err))?;
                Err(NodeLogError::of(&self.node, path, status, &text))
            }
        }
    }

    /// The bytes of a range, fewer where the file ends before, and the size of the file. Goes on where
    /// an answer is cut off, as long as more comes.
    pub(super) fn read(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<(Vec<u8>, u64), NodeLogError> {
        let (mut bytes, mut size) = (Vec::new(), 0);
        let mut failures = 0;
        loop {
            let from = range.start + bytes.len() as u64;
            let Some(mut part) = self.open(path, from..range.end)? else {
                return Ok((bytes, size));
            };
            if part.before > MAX_SKIPPED {
                let (node, path) = (self.node.clone(), path.to_owned());
                return Err(NodeLogError::NoRanges { node, path });
            }
            size = part.size;
            let wanted = range.end.min(size) - from;

            let before = bytes.len();
            let result = io::copy(&mut part.body.by_ref().take(part.before), &mut io::sink())
                .and_then(|_| part.body.take(wanted).read_to_end(&mut bytes));
            let came = (bytes.len() - before) as u64;
            if came == wanted {
                return Ok((bytes, size));
            }

            if let Err(err) = result {
                failures += u32::from(came < 1024);
                if failures > ATTEMPTS || err.kind() == io::ErrorKind::TimedOut {
                    return Err(self.broken(path, err));
                }
                continue;
            }

            // Less than a packet at a time is no progress: so the requests are bounded.
            failures += u32::from(came < 1024);
            if failures > ATTEMPTS {
                return Err(self.broken(path, io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Asks the node, unless it was silent before.
    fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Reply, NodeLogError> {
        if self.is_silent.as_ref().is_some_and(|it| it.load(Ordering::Relaxed)) {
            return Err(self.silent(self.timeout));
        }
        let timeout = self.cluster.timeout().map_or(self.timeout, |it| it.min(self.timeout));
        let reply = self.cluster.get_within(&self.url(path), range, Some(timeout), self.timeout);
        reply.map_err(|err| match err {
            ClusterError::Timeout { .. } => self.silent(timeout),
            err => err.into(),
        })
    }

    fn silent(&self, timeout: Duration) -> NodeLogError {
        if let Some(is_silent) = &self.is_silent {
            is_silent.store(true, Ordering::Relaxed);
        }
        let server = self.cluster.server().to_owned();
        NodeLogError::Silent { node: self.node.clone(), server, timeout }
    }

    /// What an error while a body was read says about the node.
    pub(super) fn broken(&self, path: &str, source: io::Error) -> NodeLogError {
        if source.kind() == io::ErrorKind::TimedOut {
            return self.silent(self.timeout);
        }
        NodeLogError::Broken { node: self.node.clone(), path: path.to_owned(), source }
    }

    /// The URL of a path that is asked for now.
    fn url(&self, path: &str) -> String {
        self.cluster.run().ask(&format!("/api/v1/nodes/{}/proxy/logs/{path}", self.node));
        let node = utf8_percent_encode(&self.node, SEGMENT);
        format!("/api/v1/nodes/{node}/proxy/logs/{}", utf8_percent_encode(path, SEGMENT))
    }
}

/// A folder on a node.
pub(super) struct NodeFolder {
    pub logs: NodeLogs,
    /// Below `/var/log`, ends in `/` unless empty.
    pub folder: String,
}

/// What is not there yet may come.
fn if_there<T>(result: Result<T, NodeLogError>) -> Result<Option<T>, SourceError> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(NodeLogError::NoSuchFile { .. }) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

impl Folder for NodeFolder {
    fn names(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(if_there(self.logs.list(&self.folder))?.unwrap_or_default())
    }

    fn read(&mut self, name: &str, range: Range<u64>) -> Result<(Vec<u8>, u64), SourceError> {
        let path = format!("{}{name}", self.folder);
        Ok(if_there(self.logs.read(&path, range))?.unwrap_or_default())
    }

    fn open(&mut self, name: &str, from: u64) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
        let path = format!("{}{name}", self.folder);
        let part = if_there(self.logs.open(&path, from..i64::MAX as u64))?.flatten();
        let logs = self.logs.clone();
        let named = |part| Named { body: behind(part), logs, path };
        Ok(part.map(|part| Box::new(named(part)) as Box<dyn Read + Send>))
    }
}

/// A body whose errors name the node.
struct Named<R> {
    body: R,
    logs: NodeLogs,
    path: String,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buffer);
        read.map_err(|err| io::Error::other(self.logs.broken(&self.path, err)))
    }
}
