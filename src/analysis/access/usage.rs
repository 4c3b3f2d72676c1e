//! Which grants were used: every rule of every binding, verb by verb, held against what was asked
//! and allowed. What was denied is not used.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Requests,
    coverage::{Coverage, Window},
    evaluation::resource_name,
    left_out::{Include, LeftOut},
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
    include: Include,
    left_out: LeftOut,
    requests: Requests,
    used: BTreeMap<RuleId, RuleUse>,
    coverage: Coverage,
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
    /// Verbs, and the resources (or paths) of the requests.
    pub what: BTreeMap<String, BTreeSet<String>>,
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
    pub left_out: LeftOut,
}

/// Kinds of use kept of one rule: more than any API has.
const MAX_WHAT: usize = 10_000;

impl RuleUse {
    fn add(&mut self, verb: &str, resource: &str) {
        let Some(resources) = self.what.get_mut(verb) else {
            self.what.insert(verb.to_owned(), BTreeSet::from([resource.to_owned()]));
            return;
        };
        if !resources.contains(resource) && resources.len() < MAX_WHAT {
            resources.insert(resource.to_owned());
        }
    }

    pub(super) fn merge(&mut self, other: &RuleUse) {
        self.requests += other.requests;
        self.last = self.last.max(other.last);
        for (verb, resources) in &other.what {
            self.what.entry(verb.clone()).or_default().extend(resources.iter().cloned());
        }
        self.names.extend(other.names.iter().cloned());
    }

    /// Verbs and what they were used on, in pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&String, &String)> {
        self.what.iter().flat_map(|(verb, all)| all.iter().map(move |it| (verb, it)))
    }
}

impl<'s> Usage<'s> {
    pub fn new(
        snapshot: &'s Snapshot,
        only: Option<String>,
        projection: &mut Projection,
    ) -> Usage<'s> {
        Usage {
            snapshot,
            only,
            include: Include::default(),
            left_out: LeftOut::default(),
            requests: Requests::new(projection),
            used: BTreeMap::new(),
            coverage: Coverage::default(),
            groups: BTreeSet::new(),
            seen: 0,
        }
    }
}

impl Usage<'_> {
    /// The same, with requests that are left out otherwise; refused ones never use a right.
    #[must_use]
    pub fn including(self, include: Include) -> Self {
        Usage { include, ..self }
    }

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
        let what = resource_name(&attributes.target);
        for grant in self.snapshot.grants(attributes) {
            for (n, rule) in grant.binding.rules().iter().enumerate() {
                if !rule.covers(attributes.verb, &attributes.target) {
                    continue;
                }
                let used = self.used.entry((grant.id, n)).or_default();
                used.requests += 1;
                used.last = used.last.max(time);
                used.add(attributes.verb, &what);
                if let Target::Resource(it) = &attributes.target
                    && !rule.resource_names.is_empty()
                {
                    used.names.insert(it.name.to_string());
                }
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
        let by = self.requests.impersonator(record);
        if let Some(by) = by.clone().filter(|it| self.is_meant(it)) {
            for target in Requests::impersonated(&request.user) {
                let target = Target::Resource(target);
                self.mark(&Attributes { user: &by, verb: "impersonate", target }, time);
            }
        }
        if request.is_denied() {
            return;
        }
        if let Some(by) = by.filter(|_| !self.include.impersonated) {
            let is_meant = self.only.as_ref().is_none_or(|only| *only == request.user.username);
            if is_meant {
                self.left_out.add_impersonated(&by.username);
            }
        } else if self.is_meant(&request.user) {
            self.seen += 1;
            self.mark(&request.attributes(), time);
            if let Some(create) = request.as_create() {
                self.mark(&create, time);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (id, its) in other.used {
            self.used.entry(id).or_default().merge(&its);
        }
        self.coverage.merge(other.coverage);
        self.groups.extend(other.groups);
        self.left_out.merge(other.left_out);
        self.seen += other.seen;
    }

    fn finish(self) -> Used {
        Used {
            rules: self.used,
            window: self.coverage.window(),
            requests: self.seen,
            groups: self.groups,
            left_out: self.left_out,
        }
    }
}
