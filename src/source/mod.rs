//! Where bytes come from. Knows nothing of events.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

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
}

/// An opened input.
pub enum Opened {
    /// A plain file of this size: may be read in pieces, at any offset, by several threads.
    Plain(File, u64),
    /// Anything else: read from start to end, already unpacked.
    Stream(Box<dyn Read + Send>),
}

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read `{name}`")]
    Io {
        name: String,
        #[source]
        source: io::Error,
    },
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        None
    }
}

impl Input {
    /// Opens it and recognizes compression by the first bytes.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self) -> Result<Opened, SourceError> {
        let failed = |source| SourceError::Io { name: self.name.clone(), source };
        match &self.place {
            Place::Stdin => Ok(Opened::Stream(Box::new(io::stdin()))),
            Place::File(path) => {
                let file = File::open(path).map_err(failed)?;
                let size = file.metadata().map_err(failed)?.len();
                if path.extension().is_some_and(|it| it == "gz") {
                    return Ok(Opened::Stream(Box::new(flate2::read::MultiGzDecoder::new(file))));
                }
                Ok(Opened::Plain(file, size))
            }
        }
    }
}
