//! What a snapshot says of requests, found once for each kind: few kinds make up most of a log.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::requests::Request;
use crate::{
    event::{Attributes, ResourceRequest, Target},
    rbac::Snapshot,
};

/// Asks a snapshot about the requests that one [`Requests`](super::Requests) reads.
#[derive(Debug, Clone)]
pub struct Answers<'s, A> {
    snapshot: &'s Snapshot,
    ask: fn(&Snapshot, &Attributes<'_>) -> A,
    /// By the user's number, verb, namespace, group, resource and subresource; `None` if the name
    /// decides.
    kinds: HashMap<Vec<u8>, Option<A>, RandomState>,
    key: Vec<u8>,
}

/// Kinds kept; there are few, and an attacker may send many.
const MAX_KINDS: usize = 100_000;

impl<'s, A: Clone> Answers<'s, A> {
    /// To a question whose answer depends on what RBAC looks at, and on nothing else.
    pub fn new(snapshot: &'s Snapshot, ask: fn(&Snapshot, &Attributes<'_>) -> A) -> Answers<'s, A> {
        Answers { snapshot, ask, kinds: HashMap::default(), key: Vec::new() }
    }

    /// The answer for a request with these attributes.
    pub fn get(&mut self, request: &Request<'_>, attributes: &Attributes<'_>) -> A {
        let Target::Resource(resource) = &attributes.target else {
            return (self.ask)(self.snapshot, attributes);
        };
        if self.kinds.len() >= MAX_KINDS {
            self.kinds.clear();
        }
        set_key(&mut self.key, request, resource);
        let answer = self.kinds.entry_ref(self.key.as_slice()).or_insert_with(|| {
            let is_fixed = !self.snapshot.looks_at_name(attributes);
            is_fixed.then(|| (self.ask)(self.snapshot, attributes))
        });
        answer.clone().unwrap_or_else(|| (self.ask)(self.snapshot, attributes))
    }
}

fn set_key(key: &mut Vec<u8>, request: &Request<'_>, it: &ResourceRequest<'_>) {
    key.clear();
    key.extend_from_slice(&request.user_number.to_ne_bytes());
    for part in [&request.verb, &it.namespace, &it.api_group, &it.resource, &it.subresource] {
        key.extend_from_slice(part.as_bytes());
        // No text holds this byte.
        key.push(0xff);
    }
}
