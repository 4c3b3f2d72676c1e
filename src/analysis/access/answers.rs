//! What a snapshot says of requests, found once for each kind: few kinds make up most of a log.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::requests::Request;
use crate::{
    event::{Attributes, Target},
    rbac::Snapshot,
};

/// Asks a snapshot about the requests that one [`Requests`](super::Requests) reads.
#[derive(Debug, Clone)]
pub struct Answers<'s, A> {
    snapshot: &'s Snapshot,
    ask: fn(&Snapshot, &Attributes<'_>) -> A,
    /// By what [`set_key`] says; `None` if the name decides.
    kinds: HashMap<Vec<u8>, Option<A>, RandomState>,
    key: Vec<u8>,
}

/// Kinds kept; there are few, and an attacker may send many.
pub const MAX_KINDS: usize = 100_000;

impl<'s, A: Clone> Answers<'s, A> {
    /// To a question whose answer depends on what RBAC looks at, and on nothing else.
    pub fn new(snapshot: &'s Snapshot, ask: fn(&Snapshot, &Attributes<'_>) -> A) -> Answers<'s, A> {
        Answers { snapshot, ask, kinds: HashMap::default(), key: Vec::new() }
    }

    /// The answer for a request with these attributes.
    pub fn get(&mut self, request: &Request<'_>, attributes: &Attributes<'_>) -> A {
        if self.kinds.len() >= MAX_KINDS {
            self.kinds.clear();
        }
        set_key(&mut self.key, request, &attributes.target);
        let answer = self.kinds.entry_ref(self.key.as_slice()).or_insert_with(|| {
            let is_fixed = !self.snapshot.looks_at_name(attributes);
            is_fixed.then(|| (self.ask)(self.snapshot, attributes))
        });
        answer.clone().unwrap_or_else(|| (self.ask)(self.snapshot, attributes))
    }
}

/// Everything that RBAC looks at but the object's name: the user's number, the verb, and what the target
/// is a kind of.
pub fn set_key(key: &mut Vec<u8>, request: &Request<'_>, target: &Target<'_>) {
    key.clear();
    key.extend_from_slice(&request.user_number.to_ne_bytes());
    let parts: [&str; 4] = match target {
        Target::Path(path) => [path, "", "", ""],
        Target::Resource(it) => [&it.resource, &it.subresource, &it.api_group, &it.namespace],
    };
    for part in [&*request.verb].iter().chain(&parts) {
        key.extend_from_slice(part.as_bytes());
        // No text holds this byte.
        key.push(0xff);
    }
    key.push(u8::from(matches!(target, Target::Path(_))));
}
