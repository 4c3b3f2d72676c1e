//! Where bytes come from: files, folders, archives, standard input. Knows nothing of events.

use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
};

mod archive;
mod compression;
mod error;
mod expand;
mod follow;
mod local;
pub mod node;
#[doc(hidden)]
pub mod parsers;
mod positioned;
mod rotation;
mod sniff;
mod time_seek;

pub use archive::{Archive, Leftover, Member};
pub use error::SourceError;
pub use expand::expand;
pub use follow::Follow;
pub use local::{Found, find, find_within, note_of};
pub use positioned::{FileBytes, align_down, aligned_index, read_exact_at};

pub(crate) use time_seek::{ByName, FileAt, Order};
pub use time_seek::{Skip, Written};

use crate::event::Timestamp;
use node::NodeFile;

use compression::{Bytes, Content, Packing, START, unpack};

/// One API server's log: its inputs are the rotated files of it, oldest first.
#[derive(Debug, Clone)]
pub struct Log {
    pub name: String,
    pub inputs: Vec<Input>,
}

/// Something that can be opened and read once.
#[derive(Debug, Clone)]
pub struct Input {
    /// How messages call it: the path as the user gave it, `-`, or `archive.tar!member`.
    pub name: String,
    pub place: Place,
}

/// Where an input's bytes are.
#[derive(Debug, Clone)]
pub enum Place {
    File(PathBuf),
    Stdin,
    /// A file on a control-plane node.
    Node(NodeFile),
    /// An entry of an archive, and of the archives in it, counted from 0.
    Member {
        archive: PathBuf,
        entries: Vec<u64>,
    },
}

/// An opened input.
pub enum Opened {
    /// A plain file of this size: may be read in pieces, at any offset, by several threads.
    Plain(File, u64),
    /// Anything else: read from start to end, already unpacked.
    Stream(Bytes<'static>),
    /// Logs of any number, one after another.
    Archive(Archive),
}

impl Input {
    /// The node that it is read from.
    pub fn node(&self) -> Option<&str> {
        match &self.place {
            Place::Node(file) => Some(file.node()),
            _ => None,
        }
    }

    /// Opens it and recognizes compression and archives by the first bytes.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> Result<Opened, SourceError> {
        self.open_part(false)
    }

    /// Opens it without regard to a window of time that it was found for.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open_whole(&self) -> Result<Opened, SourceError> {
        self.open_part(true)
    }

    fn open_part(&self, is_whole: bool) -> Result<Opened, SourceError> {
        let failed = |err| SourceError::new(&self.name, err);
        match &self.place {
            Place::Stdin => self.unpacked(Box::new(io::stdin())).map_err(failed),
            Place::File(path) => {
                // Looked at before it is opened: opening alone moves some devices.
                let metadata = fs::metadata(path).map_err(failed)?;
                if is_device(&metadata) {
                    return Err(SourceError::Device { name: self.name.clone() });
                }
                self.file(path).map_err(failed)
            }
            Place::Node(file) => {
                let bytes = if is_whole { file.whole().open() } else { file.open() };
                let bytes = bytes.map_err(SourceError::Node)?;
                self.unpacked(Box::new(bytes)).map_err(failed)
            }
            Place::Member { archive, entries } => {
                self.member(archive, entries).map(Opened::Stream).map_err(failed)
            }
        }
    }

    /// When the API server closed this rotated file: after the last line in it. `None` if its name
    /// does not tell.
    pub fn closed_at(&self) -> Option<Timestamp> {
        rotation::closed_at(self.file_name())
    }

    fn file_name(&self) -> &str {
        match &self.place {
            Place::Node(file) => file.file_name(),
            _ => self.name.rsplit(['/', '\\', '!']).next().unwrap_or_default(),
        }
    }

    /// How many bytes it is stored in, if it is a file of its own.
    pub fn stored_size(&self) -> Option<u64> {
        let Place::File(path) = &self.place else { return None };
        fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| it.len())
    }

    /// Bytes that a window of time allowed to skip when it was found.
    pub fn unread(&self) -> u64 {
        match &self.place {
            Place::Node(file) => file.unread(),
            _ => 0,
        }
    }

    fn file(&self, path: &Path) -> io::Result<Opened> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_file() {
            let mut start = Vec::new();
            file.by_ref().take(START as u64).read_to_end(&mut start)?;
            file.rewind()?;
            if Packing::of(&start).is_none() {
                return Ok(Opened::Plain(file, metadata.len()));
            }
        }
        self.unpacked(Box::new(file))
    }

    fn unpacked(&self, input: Bytes<'static>) -> io::Result<Opened> {
        Ok(match unpack(input)? {
            Content::Text(text) => Opened::Stream(text),
            Content::Tar(tar) => Opened::Archive(Archive::new(&self.name, tar)),
        })
    }

    fn member(&self, archive: &Path, entries: &[u64]) -> io::Result<Bytes<'static>> {
        match unpack(Box::new(File::open(archive)?))? {
            Content::Tar(tar) => Archive::new(&self.name, tar).into_member(entries),
            Content::Text(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(unix)]
fn is_device(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    kind.is_block_device() || kind.is_char_device()
}

#[cfg(not(unix))]
fn is_device(_metadata: &fs::Metadata) -> bool {
    false
}
