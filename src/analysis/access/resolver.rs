//! What users are today, asked again and again: each answer is worked out once.

use std::{collections::HashMap, rc::Rc};

use super::evaluation::question;
use crate::{
    event::{Attributes, User},
    rbac::{Identity, Snapshot},
};

/// Asks a snapshot, and keeps the answers.
#[derive(Debug)]
pub struct Resolver<'s> {
    snapshot: &'s Snapshot,
    identities: HashMap<Vec<u8>, Rc<Identity>>,
    answers: HashMap<Vec<u8>, Option<bool>>,
}

/// Answers kept; there are few, and an attacker may ask many.
const MAX: usize = 50_000;

impl<'s> Resolver<'s> {
    pub fn new(snapshot: &'s Snapshot) -> Resolver<'s> {
        Resolver { snapshot, identities: HashMap::new(), answers: HashMap::new() }
    }

    /// Who made a request, and whether it would be allowed today (see [`Snapshot::allowed_now`]).
    pub fn judge(&mut self, attributes: &Attributes<'_>) -> (Rc<Identity>, Option<bool>) {
        let key = question(attributes);
        if self.answers.len() >= MAX {
            self.answers.clear();
        }
        let snapshot = self.snapshot;
        let answer = self.answers.entry(key).or_insert_with(|| snapshot.allowed_now(attributes));
        let answer = *answer;
        (self.identity(attributes.user), answer)
    }

    fn identity(&mut self, user: &User<'_>) -> Rc<Identity> {
        let mut key = Vec::with_capacity(128);
        for part in std::iter::once(&user.username).chain(&user.groups) {
            key.extend_from_slice(&part.len().to_le_bytes());
            key.extend_from_slice(part.as_bytes());
        }
        if self.identities.len() >= MAX {
            self.identities.clear();
        }
        let snapshot = self.snapshot;
        self.identities.entry(key).or_insert_with(|| Rc::new(snapshot.identity(user))).clone()
    }
}
