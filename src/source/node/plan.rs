//! Which files of a log to read, from where to where, before the first of them is opened.

use super::{
    NodeFile, NodeLogError, Rotated,
    folder::NodeLogs,
    rotation::{Age, closed_at},
};
use crate::{
    event::Window,
    source::time_seek::{ReadAt, Skip},
};

/// How often to look again while the log is rotated.
const ATTEMPTS: usize = 5;

/// A log has at most this many files: each of them costs requests.
const MAX_FILES: usize = 20_000;

/// The files of the log whose live file is `/var/log/FOLDER NAME`, oldest first. Those outside the
/// window are among them, but not looked at where their names tell.
pub(super) fn files(
    logs: &NodeLogs,
    folder: &str,
    live: &str,
    window: Window,
) -> Result<Vec<NodeFile>, NodeLogError> {
    let plan = Plan { logs, folder, live, window, skip: Skip::remote() };
    let files = plan.files()?;
    files.into_iter().map(|file| plan.cut(file)).collect()
}

struct Plan<'p> {
    logs: &'p NodeLogs,
    folder: &'p str,
    live: &'p str,
    window: Window,
    skip: Skip,
}

impl Plan<'_> {
    fn files(&self) -> Result<Vec<NodeFile>, NodeLogError> {
        let mut files = Vec::new();
        let mut has_names = false;
        for _ in 0..ATTEMPTS {
            let before = self.siblings()?;
            let live = match before.iter().any(|name| name == self.live) {
                true => NodeFile::look(self.logs, self.folder, self.live)?,
                false => None,
            };
            let after = self.siblings()?;
            has_names = !after.is_empty();
            let is_stable = before == after;
            files = self.look(&after, live.as_ref())?;

            // Names with a time stay with their file. Numbers move on, and then so has the live file.
            let has_numbers = after.iter().any(|name| is_numbered(name));
            if is_stable && (!has_numbers || self.is_same(live.as_ref())?) {
                break;
            }
        }

        // While the log is rotated, the live file is perhaps one of the rotated files too.
        let mut seen = std::collections::HashSet::new();
        files.retain(|file| file.start.is_empty() || seen.insert(file.start.clone()));
        if files.is_empty() && !has_names {
            let path = format!("{}{}", self.folder, self.live);
            return Err(NodeLogError::NoSuchFile { node: self.logs.node.clone(), path });
        }
        Ok(files)
    }

    /// The names of the files of the log, oldest first. Where both are there, the plain file counts and
    /// not the one that it is just being compressed into.
    fn siblings(&self) -> Result<Vec<String>, NodeLogError> {
        let mut names = self.logs.list(self.folder)?;
        names.retain(|name| !name.ends_with(".lock") && Rotated::of(name).live == self.live);
        names.sort_by_cached_key(|name| (Rotated::of(name).age, name.len(), name.clone()));
        names.dedup_by(|b, a| {
            b.strip_prefix(a.as_str()).is_some_and(|rest| matches!(rest, "" | ".gz"))
        });
        if names.len() > MAX_FILES {
            let (node, path) = (self.logs.node.clone(), self.folder.to_owned());
            return Err(NodeLogError::TooManyFiles { node, path, files: names.len() });
        }
        Ok(names)
    }

    /// Looks at the beginning of each file that may hold something within the window.
    fn look(
        &self,
        names: &[String],
        live: Option<&NodeFile>,
    ) -> Result<Vec<NodeFile>, NodeLogError> {
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let by_names = self.skip.by_names(&all, self.window);
        let mut files = Vec::new();
        // Whether all files before this one are too old.
        let mut is_over = false;
        for (name, by_name) in all.into_iter().zip(by_names).rev() {
            if by_name.is_outside || is_over && closed_at(name).is_none() {
                files.push(NodeFile::outside(self.logs, self.folder, name));
                continue;
            }
            let file = match name == self.live {
                true => live.cloned(),
                false => NodeFile::look_packed(self.logs, self.folder, name)?,
            };
            let Some(file) = file else { continue };
            is_over |= file.first_time.is_some_and(|time| self.skip.is_before(time, self.window));
            files.push(file);
        }

        // The live file was renamed meanwhile: it is one of the rotated files, or will be found again.
        if let Some(live) = live
            && !files.iter().any(|file| file.start == live.start)
            && !names.iter().any(|name| name == self.live)
        {
            files.insert(0, live.clone());
        }
        files.reverse();
        Ok(files)
    }

    /// Whether the live file is the one that it was.
    fn is_same(&self, live: Option<&NodeFile>) -> Result<bool, NodeLogError> {
        live.map_or(Ok(true), |file| file.is_named(&file.name))
    }

    /// Leaves out what is outside the window. Whatever is told by bytes of a file holds only if they are
    /// of that file: so the name is looked at again afterwards.
    fn cut(&self, mut file: NodeFile) -> Result<NodeFile, NodeLogError> {
        let is_packed = file.start.starts_with(&[0x1f, 0x8b]);
        if self.window == Window::default() || file.is_outside || is_packed {
            return Ok(file);
        }
        for _ in 0..ATTEMPTS {
            let mut bytes = NodeAt { file: &file, was_read: false };
            let range = self.skip.range_of(&mut bytes, self.window);
            let was_read = bytes.was_read;
            match range {
                Ok(range) => {
                    if !was_read || file.is_named(&file.name)? {
                        file.narrow(range);
                        return Ok(file);
                    }
                }
                Err(NodeLogError::RotatedAway { .. } | NodeLogError::NoSuchFile { .. }) => {}
                // It can be read from its beginning only.
                Err(NodeLogError::NoRanges { .. }) => return Ok(file),
                Err(err) => return Err(err),
            }
            match file.name_now()? {
                Some(name) => file.name = name,
                // It is compressed by now: whoever reads it finds it.
                None => return Ok(file),
            }
        }
        Ok(file)
    }
}

fn is_numbered(name: &str) -> bool {
    matches!(Rotated::of(name).age, Age::Numbered(_))
}

/// A file on a node, read at any offset.
struct NodeAt<'f> {
    file: &'f NodeFile,
    was_read: bool,
}

impl ReadAt for NodeAt<'_> {
    type Bytes = Vec<u8>;
    type Error = NodeLogError;

    fn size(&self) -> u64 {
        self.file.size
    }

    fn read_at(&mut self, range: std::ops::Range<u64>) -> Result<Vec<u8>, NodeLogError> {
        self.was_read = true;
        let file = self.file;
        let (bytes, size) = file.logs.read(&file.path_below(&file.name), range.clone())?;
        // Of another size, it is another file.
        if !file.may_have(size) || bytes.len() as u64 != range.end - range.start {
            let (node, path) = (file.logs.node.clone(), file.path_below(&file.name));
            return Err(NodeLogError::RotatedAway { node, path });
        }
        Ok(bytes)
    }
}
