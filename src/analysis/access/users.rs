//! The groups of users, as a log tells them: no API does.

use std::collections::{BTreeMap, HashSet};

use foldhash::fast::FixedState;

use crate::{
    analysis::Analysis,
    decode::{Projection, Record, Slot},
    event::User,
};

/// Collects the groups that users came with.
#[derive(Debug, Clone)]
pub struct Users {
    user: Slot,
    /// What has been looked at, byte for byte.
    seen: HashSet<Box<[u8]>, FixedState>,
    groups: UserGroups,
}

/// UserGroups by user name, in the order of their names.
pub type UserGroups = BTreeMap<String, std::collections::BTreeSet<String>>;

/// Users kept; an attacker may send many, and then some have no groups.
const MAX_USERS: usize = 100_000;

impl Users {
    /// Of the users below `user`, or below `impersonatedUser`: whoever impersonates may claim groups
    /// that nobody authenticated.
    pub fn new(key: &str, projection: &mut Projection) -> Users {
        Users { user: projection.want(key), seen: HashSet::default(), groups: UserGroups::new() }
    }

    fn add(&mut self, raw: &[u8]) {
        if self.seen.contains(raw) || self.groups.len() >= MAX_USERS {
            return;
        }
        if self.seen.len() < MAX_USERS {
            self.seen.insert(raw.into());
        }
        let Ok(user) = serde_json::from_slice::<User<'_>>(raw) else { return };
        let groups = self.groups.entry(user.username.into_owned()).or_default();
        groups.extend(user.groups.iter().map(|it| it.to_string()));
    }
}

impl Analysis for Users {
    type Report = UserGroups;

    fn observe(&mut self, record: &Record<'_>) {
        if let Some(raw) = record.value(self.user) {
            self.add(raw.bytes());
        }
    }

    fn merge(&mut self, other: Self) {
        for (name, its) in other.groups {
            self.groups.entry(name).or_default().extend(its);
        }
    }

    fn finish(self) -> UserGroups {
        self.groups
    }
}
