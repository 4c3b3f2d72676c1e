//! What users are today, asked again and again: each is looked up once.

use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    event::{Attributes, User},
    rbac::{Identity, Snapshot},
};

/// Asks a snapshot, and keeps what it says of users.
#[derive(Debug)]
pub struct Resolver<'s> {
    snapshot: &'s Snapshot,
    known: HashMap<Vec<u8>, Rc<Known>, RandomState>,
    key: Vec<u8>,
}

/// A user as it is shown.
#[derive(Debug)]
pub struct Known {
    /// See [`Identity::label`].
    pub label: String,
    /// See [`Identity::held`].
    pub held: String,
}

/// Users kept; there are few, and an attacker may send many.
const MAX: usize = 50_000;

impl<'s> Resolver<'s> {
    pub fn new(snapshot: &'s Snapshot) -> Resolver<'s> {
        Resolver { snapshot, known: HashMap::default(), key: Vec::new() }
    }

    /// Who made a request, and whether it would be allowed today (see [`Snapshot::allowed_now`]).
    pub fn judge(&mut self, attributes: &Attributes<'_>) -> (Rc<Known>, Option<bool>) {
        (self.known(attributes.user), self.snapshot.allowed_now(attributes))
    }

    fn known(&mut self, user: &User<'_>) -> Rc<Known> {
        self.key.clear();
        for part in std::iter::once(&user.username).chain(&user.groups) {
            self.key.extend_from_slice(&part.len().to_le_bytes());
            self.key.extend_from_slice(part.as_bytes());
        }
        if self.known.len() >= MAX {
            self.known.clear();
        }
        let known = self.known.entry_ref(self.key.as_slice()).or_insert_with(|| {
            let identity: Identity = self.snapshot.identity(user);
            Rc::new(Known { label: identity.label(), held: identity.held() })
        });
        Rc::clone(known)
    }
}
