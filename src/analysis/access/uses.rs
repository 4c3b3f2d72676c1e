//! Who made one kind of request: the other half of `rbac who-can`.

use std::collections::{BTreeMap, BTreeSet};

use super::Requests;
use crate::{
    analysis::Analysis,
    decode::{Projection, Record},
    event::{Target, Timestamp},
    rbac::WhoCan,
};

/// Counts the requests that were allowed and that a question is about, by who made them.
#[derive(Debug, Clone)]
pub struct Uses<'q> {
    question: &'q WhoCan,
    requests: Requests,
    users: BTreeMap<String, Use>,
}

/// What one user did of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Use {
    pub requests: u64,
    pub last: Option<Timestamp>,
    pub groups: BTreeSet<String>,
}

impl<'q> Uses<'q> {
    pub fn new(question: &'q WhoCan, projection: &mut Projection) -> Uses<'q> {
        Uses { question, requests: Requests::new(projection), users: BTreeMap::new() }
    }

    fn is_asked(&self, verb: &str, target: &Target<'_>) -> bool {
        verb == self.question.verb && self.question.is_about(target)
    }
}

impl Analysis for Uses<'_> {
    /// By user name.
    type Report = BTreeMap<String, Use>;

    fn observe(&mut self, record: &Record<'_>) {
        if !record.ends_request() {
            return;
        }
        let request = self.requests.read(record);
        let attributes = request.attributes();
        if request.is_denied() || !self.is_asked(attributes.verb, &attributes.target) {
            return;
        }
        let user = self.users.entry(request.user.username.to_string()).or_default();
        user.requests += 1;
        user.last = user.last.max(request.time);
        for group in &request.user.groups {
            if !user.groups.contains(&**group) {
                user.groups.insert(group.to_string());
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (name, its) in other.users {
            let mine = self.users.entry(name).or_default();
            mine.requests += its.requests;
            mine.last = mine.last.max(its.last);
            mine.groups.extend(its.groups);
        }
    }

    fn finish(self) -> BTreeMap<String, Use> {
        self.users
    }
}
