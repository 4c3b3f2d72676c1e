//! Why an input cannot be read, or not to its end, and what to do about it.

use std::io;

use super::{compression::PackingError, node::NodeLogError};

/// An input that cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Node(#[from] NodeLogError),
    #[error("standard input cannot be followed")]
    Endless,
    #[error("there is no `{name}`")]
    Missing { name: String },
    #[error("no permission to read `{name}`")]
    Forbidden { name: String },
    #[error("`{name}` is a device")]
    Device { name: String },
    #[error("no audit log in `{name}`")]
    NoLogs { name: String },
    #[error("no finished copy of an audit log in `{name}`: `{part}` is not complete")]
    Unfinished { name: String, part: String },
    #[error("`{name}` is {what}, which is not read here")]
    Unsupported { name: String, what: &'static str },
    #[error("`{name}` ends too early")]
    Truncated { name: String },
    #[error("`{name}` is damaged: {reason}")]
    Damaged { name: String, reason: String },
    #[error("cannot write `{name}`")]
    CannotWrite {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read `{name}`")]
    Io {
        name: String,
        #[source]
        source: io::Error,
    },
}

impl SourceError {
    /// What `err`, met when opening or reading the input `name`, says about it.
    pub fn new(name: &str, err: io::Error) -> SourceError {
        let err = match err.downcast::<NodeLogError>() {
            Ok(node) => return SourceError::Node(node),
            Err(err) => err,
        };
        let name = name.to_owned();
        let packing = err.get_ref().and_then(|it| it.downcast_ref::<PackingError>());
        match (err.kind(), packing) {
            (_, Some(&PackingError::Foreign(what))) => SourceError::Unsupported { name, what },
            (io::ErrorKind::NotFound, _) => SourceError::Missing { name },
            (io::ErrorKind::PermissionDenied, _) => SourceError::Forbidden { name },
            (io::ErrorKind::UnexpectedEof, _) => SourceError::Truncated { name },
            (io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput, _) => {
                SourceError::Damaged { name, reason: err.to_string() }
            }
            _ => SourceError::Io { name, source: err },
        }
    }

    /// Whether waiting may help: a node or an API server that restarts.
    pub fn may_pass(&self) -> bool {
        matches!(self, SourceError::Node(err) if err.may_pass())
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            SourceError::Endless => {
                "it is read to its end anyway; with `tail -F audit.log | …` that end never comes: name the file".into()
            }
            SourceError::Missing { .. } => {
                "check the path; on a kubeadm node audit logs are often under /var/log/kubernetes/audit/".into()
            }
            SourceError::Forbidden { .. } => {
                "API servers write audit logs for root only: read as root, or copy the file first".into()
            }
            SourceError::Device { name } => {
                format!("to read from it nevertheless, redirect it: `- < {name}`")
            }
            SourceError::NoLogs { .. } => {
                "nothing there looks like audit events; a file named itself is always read".into()
            }
            SourceError::Unfinished { name, .. } => format!(
                "run the same `kubectl audit fetch -o {name}` again to resume the copy, or name the .part file itself"
            ),
            SourceError::Unsupported { what: "UTF-16 text", name } => {
                format!("convert it first: iconv -f UTF-16 -t UTF-8 '{name}'")
            }
            SourceError::Unsupported { .. } => {
                "unpack it first; plain text, gzip, zstd and tar are read as they are".into()
            }
            SourceError::Truncated { .. } | SourceError::Damaged { .. } => {
                "what could be read before that was used; copy the file again to have all of it".into()
            }
            SourceError::Node(err) => err.hint(),
            SourceError::CannotWrite { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room and run the same command again: it goes on where it stopped".into()
            }
            SourceError::CannotWrite { .. } => "name another folder with -o".into(),
            SourceError::Io { .. } => "copy it to another disk, and name the copy".into(),
        }
    }
}
