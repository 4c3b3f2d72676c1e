//! Which events a history needs: looked at by the threads that read, before anything is parsed.

use memchr::memmem;

use super::Target;
use crate::{
    decode::{Projection, Record, Slot},
    event::Level,
};

/// What an event is needed for: the first byte of a line that is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It names a wanted object, and is to be shown.
    Shown,
    /// It names a wanted object, and tells what the object was like.
    Known,
    /// It may create or delete something that belongs to a wanted object.
    Related,
}

impl Need {
    fn byte(self) -> u8 {
        match self {
            Need::Shown => b'S',
            Need::Known => b'K',
            Need::Related => b'R',
        }
    }

    /// What a line that was passed on is needed for, and the line.
    pub fn split(text: &[u8]) -> Option<(Need, &[u8])> {
        let (first, line) = text.split_first()?;
        let needs = [Need::Shown, Need::Known, Need::Related];
        Some((needs.into_iter().find(|need| need.byte() == *first)?, line))
    }
}

/// Passes on the events that name a wanted object.
#[derive(Debug, Clone)]
pub struct Selection {
    target: Target,
    namespace: Option<String>,
    reads: bool,
    /// Names in quotes, to look for in bodies.
    quoted: Vec<Vec<u8>>,
    slots: Slots,
}

#[derive(Debug, Clone, Copy)]
struct Slots {
    verb: Slot,
    resource: Slot,
    group: Slot,
    namespace: Slot,
    name: Slot,
    subresource: Slot,
}

impl Selection {
    /// Objects of `target`, of one namespace if it is given. With `reads` also lists and watches.
    pub fn new(
        target: Target,
        namespace: Option<String>,
        reads: bool,
        projection: &mut Projection,
    ) -> Selection {
        let slots = Slots {
            verb: projection.want("verb"),
            resource: projection.want("objectRef.resource"),
            group: projection.want("objectRef.apiGroup"),
            namespace: projection.want("objectRef.namespace"),
            name: projection.want("objectRef.name"),
            subresource: projection.want("objectRef.subresource"),
        };
        let is_named = target.is_named();
        let quoted = target.names().filter(|_| is_named).map(|it| format!("\"{it}\"").into_bytes());
        Selection { quoted: quoted.collect(), target, namespace, reads, slots }
    }

    /// Appends what [`History`](super::History) needs of an event, or nothing.
    pub fn line(&self, record: &Record<'_>, is_shown: bool, text: &mut Vec<u8>) {
        let Some(need) = self.need(record) else { return };
        // What is broken in a line that nobody had looked at makes it no event.
        if record.event().is_none() {
            return;
        }
        let need = if need == Need::Shown && !is_shown { Need::Known } else { need };
        text.push(need.byte());
        text.extend_from_slice(record.line());
    }

    fn need(&self, record: &Record<'_>) -> Option<Need> {
        if !record.ends_request() {
            return None;
        }
        let slots = &self.slots;
        let verb = record.word(slots.verb);
        let is_write =
            matches!(&*verb, "create" | "update" | "patch" | "delete" | "deletecollection");
        let is_read = match &*verb {
            // A body that was read is known as well as one that was written.
            "get" => self.reads || record.level() == Level::RequestResponse,
            "list" | "watch" => self.reads,
            _ => false,
        };
        if !is_write && !is_read {
            return None;
        }

        let (resource, group) = (record.text(slots.resource), record.text(slots.group));
        let has_resource = self.target.has_resource(&resource, &group);
        if !has_resource && self.quoted.is_empty() {
            return None;
        }
        let namespace = record.text(slots.namespace);
        let is_here = |wanted: &String| {
            *wanted == *namespace
                || namespace.is_empty() && self.target.is_named()
                || resource == "namespaces" && self.target.is_named()
                || namespace.is_empty() && !is_write
        };
        if !self.namespace.as_ref().is_none_or(is_here) {
            return None;
        }
        let name = record.text(slots.name);
        let is_wanted = has_resource
            && is_stored(&record.text(slots.subresource))
            && match &*name {
                // A name made by the server stands in the reply; lists and collections name nothing.
                "" if verb == "create" => self.mentions(record),
                "" => true,
                name => self.target.has(&resource, &group, name),
            };
        if is_wanted {
            return Some(Need::Shown);
        }
        let is_related = match &*verb {
            "create" => self.mentions(record) && mentions(record, b"\"ownerReferences\""),
            "delete" => !name.is_empty(),
            _ => false,
        };
        (is_related && !self.quoted.is_empty()).then_some(Need::Related)
    }

    /// Whether one of the names stands in the line, in quotes.
    fn mentions(&self, record: &Record<'_>) -> bool {
        self.quoted.is_empty() || self.quoted.iter().any(|name| mentions(record, name))
    }
}

fn mentions(record: &Record<'_>, text: &[u8]) -> bool {
    memmem::find(record.line(), text).is_some()
}

/// Whether a request for this subresource can change the object.
fn is_stored(subresource: &str) -> bool {
    !matches!(subresource, "attach" | "exec" | "log" | "portforward" | "proxy" | "token")
}
