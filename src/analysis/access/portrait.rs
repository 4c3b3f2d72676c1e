//! What a log knows of one user: what it did, from where, with which tokens, and who issued them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Requests;
use crate::{
    analysis::Analysis,
    decode::{Projection, Record, Slot},
    event::{Timestamp, User},
    rbac::subject::Kind,
};

/// Collects what concerns one user.
#[derive(Debug, Clone)]
pub struct Portrait {
    name: String,
    requests: Requests,
    username: Slot,
    effective: Slot,
    source_ips: Slot,
    user_agent: Slot,
    issued: Slot,
    subresource: Slot,
    found: Seen,
    /// Tokens issued for it: by credential id, who asked for it and when.
    tokens: BTreeMap<String, Issue>,
}

/// Distinct values kept of one thing; an attacker may send many.
const MAX: usize = 1_000;

/// What was seen of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// As who was authenticated, or as who was impersonated.
    pub requests: u64,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub denied: u64,
    #[serde(rename = "sourceIPs")]
    pub source_ips: BTreeSet<String>,
    pub user_agents: BTreeSet<String>,
    /// By what was refused, as in `get secrets`.
    pub denials: BTreeMap<String, u64>,
    pub credentials: BTreeMap<String, Credential>,
    /// Who acted as it, and how often.
    pub impersonated_by: BTreeMap<String, u64>,
    /// As whom it acted.
    pub impersonated: BTreeMap<String, u64>,
    /// Those it was authenticated with: an impersonator may claim others.
    #[serde(skip)]
    pub groups: BTreeSet<String>,
}

/// A token or certificate that it used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    pub requests: u64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// The pod that the token is bound to.
    pub pod: Option<String>,
    pub node: Option<String>,
    /// Who issued it, if the log tells.
    pub issued_by: Option<String>,
    pub issued_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Issue {
    time: Option<Timestamp>,
    by: String,
}

impl Portrait {
    /// Of the user of this name.
    pub fn new(name: &str, projection: &mut Projection) -> Portrait {
        let issued = r#"annotations."authentication.kubernetes.io/issued-credential-id""#;
        Portrait {
            name: name.to_owned(),
            requests: Requests::new(projection),
            username: projection.want("user.username"),
            effective: projection.want("impersonatedUser.username"),
            source_ips: projection.want("sourceIPs"),
            user_agent: projection.want("userAgent"),
            issued: projection.want(issued),
            subresource: projection.want("objectRef.subresource"),
            found: Seen::default(),
            tokens: BTreeMap::new(),
        }
    }

    /// A token that was issued for this service account.
    fn issue(&mut self, record: &Record<'_>) {
        let id = record.text(self.issued);
        if id.is_empty() || record.text(self.subresource) != "token" {
            return;
        }
        let Kind::ServiceAccount { namespace, name } = Kind::of(&self.name) else { return };
        let request = self.requests.read(record);
        let attributes = request.attributes();
        let crate::event::Target::Resource(it) = &attributes.target else { return };
        if it.namespace != namespace || it.name != name || self.tokens.len() >= MAX {
            return;
        }
        let issue = Issue { time: request.time, by: request.user.username.to_string() };
        let known = self.tokens.entry(id.into_owned()).or_insert_with(|| issue.clone());
        if issue < *known {
            *known = issue;
        }
    }

    fn request(&mut self, record: &Record<'_>, authenticated: Option<&User<'_>>) {
        let request = self.requests.read(record);
        let found = &mut self.found;
        found.requests += 1;
        let time = request.time;
        found.from = earliest(found.from, time);
        found.to = found.to.max(time);
        if request.is_denied() {
            found.denied += 1;
            let target = super::evaluation::resource_name(&request.attributes().target);
            count(&mut found.denials, &format!("{} {target}", request.verb));
        }
        for ip in record.value(self.source_ips).map(|it| it.elements()).unwrap_or_default() {
            remember(&mut found.source_ips, &ip.text());
        }
        remember(&mut found.user_agents, &record.text(self.user_agent));
        match authenticated {
            None => {
                request.user.groups.iter().for_each(|it| remember(&mut found.groups, it));
                credential(found, &request.user, time);
            }
            Some(by) if by.username == self.name => {
                by.groups.iter().for_each(|it| remember(&mut found.groups, it));
                count(&mut found.impersonated, &request.user.username);
                credential(found, by, time);
            }
            Some(by) => count(&mut found.impersonated_by, &by.username),
        }
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

fn remember(all: &mut BTreeSet<String>, text: &str) {
    if !text.is_empty() && !all.contains(text) && all.len() < MAX {
        all.insert(text.to_owned());
    }
}

fn count(all: &mut BTreeMap<String, u64>, text: &str) {
    if let Some(n) = all.get_mut(text) {
        *n += 1;
    } else if all.len() < MAX {
        all.insert(text.to_owned(), 1);
    }
}

/// What the user's extra says of the token or certificate it came with.
fn credential(found: &mut Seen, user: &User<'_>, time: Option<Timestamp>) {
    let extra = |key: &str| {
        let values = user.extra.get(&*format!("authentication.kubernetes.io/{key}"))?;
        values.first().map(|it| it.to_string())
    };
    let Some(id) = extra("credential-id") else { return };
    if !found.credentials.contains_key(&id) && found.credentials.len() >= MAX {
        return;
    }
    let it = found.credentials.entry(id).or_default();
    it.requests += 1;
    it.first = earliest(it.first, time);
    it.last = it.last.max(time);
    it.pod = it.pod.take().or_else(|| extra("pod-name"));
    it.node = it.node.take().or_else(|| extra("node-name"));
}

impl Analysis for Portrait {
    type Report = Seen;

    fn observe(&mut self, record: &Record<'_>) {
        if !record.ends_request() {
            return;
        }
        self.issue(record);
        let is_it = |slot: Slot| record.value(slot).is_some_and(|it| it.text() == self.name);
        if !is_it(self.username) && !is_it(self.effective) {
            return;
        }
        let by = self.requests.impersonator(record);
        self.request(record, by.as_deref());
    }

    fn merge(&mut self, other: Self) {
        let (mine, its) = (&mut self.found, other.found);
        mine.requests += its.requests;
        mine.denied += its.denied;
        mine.from = earliest(mine.from, its.from);
        mine.to = mine.to.max(its.to);
        mine.source_ips.extend(its.source_ips);
        mine.user_agents.extend(its.user_agents);
        mine.groups.extend(its.groups);
        let add = |mine: &mut BTreeMap<String, u64>, its: BTreeMap<String, u64>| {
            its.into_iter().for_each(|(name, n)| *mine.entry(name).or_default() += n);
        };
        add(&mut mine.denials, its.denials);
        add(&mut mine.impersonated, its.impersonated);
        add(&mut mine.impersonated_by, its.impersonated_by);
        for (id, its) in its.credentials {
            let mine = mine.credentials.entry(id).or_default();
            mine.requests += its.requests;
            mine.first = earliest(mine.first, its.first);
            mine.last = mine.last.max(its.last);
            mine.pod = mine.pod.take().or(its.pod);
            mine.node = mine.node.take().or(its.node);
        }
        for (id, issue) in other.tokens {
            let known = self.tokens.entry(id).or_insert_with(|| issue.clone());
            if issue < *known {
                *known = issue;
            }
        }
    }

    /// With the tokens joined to who issued them.
    fn finish(mut self) -> Seen {
        for (id, issue) in self.tokens {
            if let Some(it) = self.found.credentials.get_mut(&id) {
                (it.issued_by, it.issued_at) = (Some(issue.by), issue.time);
            }
        }
        self.found
    }
}
