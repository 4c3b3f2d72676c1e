//! The life of objects: who changed them, and what changed.
//!
//! [`Selection`] runs on all threads and passes on the few events that name a wanted object; [`History`]
//! replays those in the order in which they were stored, with the last known body of each object. A body
//! that is not recorded is computed from the one before and the patch; where that cannot be done the
//! difference is the patch as sent, or not known. It is never a guess.

use serde::Serialize;

use crate::event::{Key, Timestamp};

mod apply;
mod body;
mod diff;
mod event;
mod field;
mod labels;
mod merge_keys;
mod patch;
mod redact;
mod related;
mod replay;
mod selection;
mod strategic;
mod target;
#[cfg(test)]
mod tests;
mod text;

pub use body::clean;
pub use diff::{Change, between, parts};
pub use labels::LabelSelector;
pub use patch::{applied, as_sent};
pub use redact::Redactor;
pub use related::{Related, Relation};
pub use replay::{AtTime, History};
pub use selection::Selection;
pub use target::Target;
pub use text::yaml;

/// What a history shows, beside its target.
#[derive(Debug, Clone)]
pub struct Question {
    /// Writes of the subresource `status`.
    pub shows_status: bool,
    pub shows_dry_runs: bool,
    /// Reads, too: get, and list and watch that returned the object.
    pub shows_reads: bool,
    /// Only changes of this field.
    pub field: Option<Key>,
    pub selector: LabelSelector,
    /// The objects as they were at this time, not their changes.
    pub at: Option<Timestamp>,
    pub keep: Keep,
    pub redactor: Redactor,
    /// The bytes that all differences and bodies together may take.
    pub max_bytes: usize,
}

/// What is kept of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The operations.
    Operations,
    /// The YAML before and after, as a unified difference.
    Text,
    /// A few words.
    Words,
}

/// An object by its place in the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectId {
    pub resource: String,
    pub group: String,
    /// `null` of an object that is in no namespace.
    #[serde(serialize_with = "or_null")]
    pub namespace: String,
    pub name: String,
}

fn or_null<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match text {
        "" => serializer.serialize_none(),
        text => serializer.serialize_str(text),
    }
}

impl std::fmt::Display for ObjectId {
    /// `deployments/web`, as kubectl names it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.resource, self.name)
    }
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Created,
    Updated,
    Patched,
    Scaled,
    Status,
    Evicted,
    Deleted,
    /// Refused, or the object stayed as it was.
    None,
    /// The log does not tell whether it succeeded.
    Unknown,
}

impl ChangeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Updated => "updated",
            ChangeKind::Patched => "patched",
            ChangeKind::Scaled => "scaled",
            ChangeKind::Status => "status",
            ChangeKind::Evicted => "evicted",
            ChangeKind::Deleted => "deleted",
            ChangeKind::None => "none",
            ChangeKind::Unknown => "unknown",
        }
    }
}

/// Where a difference is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DiffSource {
    /// The bodies before and after, both recorded.
    Bodies,
    /// The request: computed from the body before, or as sent.
    Patch,
    /// Nothing was recorded.
    None,
}

/// A write of an object, or a read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// When the request was received.
    pub time: Option<Timestamp>,
    pub object: ObjectId,
    pub uid: Option<String>,
    pub user: String,
    pub impersonated_user: Option<String>,
    pub verb: String,
    pub subresource: Option<String>,
    pub code: Option<i64>,
    pub dry_run: bool,
    pub change: ChangeKind,
    pub diff: Option<Vec<Change>>,
    pub diff_source: DiffSource,
    pub resource_version: Option<String>,
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// The action it belongs to, where actions are known.
    pub action: Option<String>,
    /// What changed, in a few words.
    #[serde(skip)]
    pub words: String,
    /// The difference of the YAML.
    #[serde(skip)]
    pub text: String,
    /// Which life of which object.
    #[serde(skip)]
    life: usize,
}

impl Item {
    /// Whether it read the object only.
    pub fn is_read(&self) -> bool {
        matches!(&*self.verb, "get" | "list" | "watch")
    }

    /// Whether the write was refused or failed.
    pub fn has_failed(&self) -> bool {
        self.code.is_some_and(|code| code >= 400)
    }

    /// Whether a write left the object as it was: hidden in tables.
    pub fn is_idle(&self) -> bool {
        self.change == ChangeKind::None && !self.is_read() && !self.has_failed()
    }

    /// Whose rights were used.
    pub fn effective_user(&self) -> &str {
        self.impersonated_user.as_deref().unwrap_or(&self.user)
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectHistory {
    pub items: Vec<Item>,
    pub related: Vec<Related>,
    #[serde(skip)]
    pub hidden: Hidden,
}

/// What is not in the items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    pub status: u64,
    pub dry_runs: u64,
    /// Changes whose difference is not recorded, where only those of a field were wanted.
    pub unknown: u64,
    /// Differences left out because all together would take too much memory.
    pub differences: u64,
    /// Bodies forgotten for the same reason: the next difference of their object is not known.
    pub bodies: u64,
}
