//! What the kubelet of a node serves below `/var/log`: folders and ranges of files.

use std::{
    io::{self, Read},
    ops::Range,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{NodeLogError, file::behind, listing};
use crate::{
    cluster::{Body, Cluster},
    source::{SourceError, follow::Folder},
};

/// What stays as it is in a segment of a path.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A listing may have this many bytes, and so may a message.
const MAX_LISTING: u64 = 16 << 20;

/// The logs of a node, through the API server's node proxy.
#[derive(Debug, Clone)]
pub(super) struct NodeLogs {
    pub cluster: Cluster,
    pub node: String,
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
    /// The names in a folder below `/var/log`; folders end in `/`. `path` is empty or ends in `/`.
    pub(super) fn list(&self, path: &str) -> Result<Vec<String>, NodeLogError> {
        let reply = self.cluster.get(&self.url(path), None)?;
        let status = reply.status;
        let text = reply.text(MAX_LISTING).map_err(|err| self.broken(path, err))?;
        match status {
            200 => Ok(listing::names(&text)),
            _ => Err(NodeLogError::of(&self.node, path, status, &text)),
        }
    }

    /// A range of a file. `None` if the file ends before it.
    pub(super) fn open(&self, path: &str, range: Range<u64>) -> Result<Option<Part>, NodeLogError> {
        let start = range.start;
        let reply = self.cluster.get(&self.url(path), Some(range))?;
        let size = reply.size.unwrap_or(0);
        match reply.status {
            206 => Ok(Some(Part { size, before: 0, body: reply.body })),
            200 if size <= start => Ok(None),
            200 => Ok(Some(Part { size, before: start, body: reply.body })),
            416 => Ok(None),
            status => {
                let text = reply.text(MAX_LISTING).map_err(|err| self.broken(path, err))?;
                Err(NodeLogError::of(&self.node, path, status, &text))
            }
        }
    }

    /// The bytes of a range, fewer where the file ends before, and the size of the file.
    pub(super) fn read(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<(Vec<u8>, u64), NodeLogError> {
        let Some(mut part) = self.open(path, range.clone())? else { return Ok((Vec::new(), 0)) };
        let mut bytes = Vec::new();
        io::copy(&mut part.body.by_ref().take(part.before), &mut io::sink())
            .and_then(|_| part.body.take(range.end - range.start).read_to_end(&mut bytes))
            .map_err(|err| self.broken(path, err))?;
        Ok((bytes, part.size))
    }

    fn broken(&self, path: &str, source: io::Error) -> NodeLogError {
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

    fn read(&mut self, name: &str, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
        let path = format!("{}{name}", self.folder);
        Ok(if_there(self.logs.read(&path, range))?.map(|(bytes, _)| bytes).unwrap_or_default())
    }

    fn open(&mut self, name: &str) -> Result<Option<Box<dyn Read + Send>>, SourceError> {
        let path = format!("{}{name}", self.folder);
        let part = if_there(self.logs.open(&path, 0..i64::MAX as u64))?.flatten();
        Ok(part.map(|it| Box::new(behind(it)) as Box<dyn Read + Send>))
    }
}
