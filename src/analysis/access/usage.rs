//! Which grants were used: every rule of every binding, verb by verb, held against what was asked
//! and allowed. What was denied is not used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Requests,
    coverage::{Coverage, Window},
    evaluation::{question, resource_name},
};
use crate::{
    analysis::Analysis,
    decode::{Projection, Record},
    event::{Attributes, Target, Timestamp, User},
    rbac::Snapshot,
};

/// Marks what requests use of a snapshot.
#[derive(Debug, Clone)]
pub struct Usage<'s> {
    snapshot: &'s Snapshot,
    /// Only what this user uses.
    only: Option<String>,
    requests: Requests,
    used: BTreeMap<RuleId, RuleUse>,
    coverage: Coverage,
    /// The rules that allow a request, by what was asked.
    known: HashMap<Vec<u8>, Vec<RuleId>>,
    groups: BTreeSet<String>,
    seen: u64,
}

/// A rule of a binding: both by their number.
pub type RuleId = (usize, usize);

/// What was used of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleUse {
    pub requests: u64,
    pub last: Option<Timestamp>,
    /// Verb and resource (or path) of the requests.
    pub what: BTreeSet<(String, String)>,
    /// The names among its `resourceNames`.
    pub names: BTreeSet<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Used {
    pub rules: BTreeMap<RuleId, RuleUse>,
    pub window: Window,
    /// Requests that were looked at.
    pub requests: u64,
    /// The groups of the one user, if there is one: no API tells them.
    pub groups: BTreeSet<String>,
}

/// Questions kept; there are few, and an attacker may ask many.
const MAX_KNOWN: usize = 100_000;
/// Kinds of use kept of one rule: more than any API has.
const MAX_WHAT: usize = 10_000;

impl<'s> Usage<'s> {
    pub fn new(
        snapshot: &'s Snapshot,
        only: Option<String>,
        projection: &mut Projection,
    ) -> Usage<'s> {
        Usage {
            snapshot,
            only,
            requests: Requests::new(projection),
            used: BTreeMap::new(),
            coverage: Coverage::default(),
            known: HashMap::new(),
            groups: BTreeSet::new(),
            seen: 0,
        }
    }
}

impl Usage<'_> {
    /// Keeps the groups of the one user, if there is one.
    fn is_meant(&mut self, user: &User<'_>) -> bool {
        let Some(only) = &self.only else { return true };
        if *only != user.username {
            return false;
        }
        for group in &user.groups {
            if !self.groups.contains(&**group) {
                self.groups.insert(group.to_string());
            }
        }
        true
    }

    /// Marks every rule that allows this.
    fn mark(&mut self, attributes: &Attributes<'_>, time: Option<Timestamp>) {
        let key = question(attributes);
        if !self.known.contains_key(&key) {
            if self.known.len() >= MAX_KNOWN {
                self.known.clear();
            }
            let mut rules = Vec::new();
            for grant in self.snapshot.grants(attributes) {
                for (n, rule) in grant.binding.rules().iter().enumerate() {
                    if rule.covers(attributes.verb, &attributes.target) {
                        rules.push((grant.id, n));
                    }
                }
            }
            self.known.insert(key.clone(), rules);
        }
        for id in &self.known[&key] {
            let used = self.used.entry(*id).or_default();
            used.requests += 1;
            used.last = used.last.max(time);
            let what = (attributes.verb.to_owned(), resource_name(&attributes.target));
            if used.what.len() < MAX_WHAT {
                used.what.insert(what);
            }
            if let Target::Resource(it) = &attributes.target
                && !self.snapshot.bindings()[id.0].rules()[id.1].resource_names.is_empty()
            {
                used.names.insert(it.name.to_string());
            }
        }
    }
}

impl Analysis for Usage<'_> {
    type Report = Used;

    fn observe(&mut self, record: &Record<'_>) {
        self.coverage.add(record.stage_timestamp());
        if !record.ends_request() {
            return;
        }
        let request = self.requests.read(record);
        let time = request.time;
        // Whoever impersonates used that right, also if the request itself was refused then.
        if let Some(by) = self.requests.impersonator(record).filter(|it| self.is_meant(it)) {
            for target in Requests::impersonated(&request.user) {
                let target = Target::Resource(target);
                self.mark(&Attributes { user: &by, verb: "impersonate", target }, time);
            }
        }
        if !request.is_denied() && self.is_meant(&request.user) {
            self.seen += 1;
            self.mark(&request.attributes(), time);
            if let Some(create) = request.as_create() {
                self.mark(&create, time);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (id, its) in other.used {
            let mine = self.used.entry(id).or_default();
            mine.requests += its.requests;
            mine.last = mine.last.max(its.last);
            mine.what.extend(its.what);
            mine.names.extend(its.names);
        }
        self.coverage.merge(other.coverage);
        self.groups.extend(other.groups);
        self.seen += other.seen;
    }

    fn finish(self) -> Used {
        Used {
            rules: self.used,
            window: self.coverage.window(),
            requests: self.seen,
            groups: self.groups,
        }
    }
}
