//! What a log knows of one user: what it did, from where, with which tokens, and who issued them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Requests,
    left_out::{Include, LeftOut},
};
use crate::{
    analysis::Analysis,
    decode::{Projection, Record, Slot},
    event::{RefusedImpersonation, Timestamp, User, cloud_identity},
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
    login: Slot,
    login_name: Slot,
    include: Include,
    found: Seen,
    /// What it did, by verb and resource.
    did: BTreeMap<(String, String), Count>,
    refused: BTreeMap<RefusedImpersonation, Count>,
    logins: BTreeMap<String, Count>,
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
    /// Those that no API server saw: a client wrote them into `X-Forwarded-For`.
    #[serde(rename = "claimedSourceIPs")]
    pub claimed_source_ips: BTreeSet<String>,
    pub user_agents: BTreeSet<String>,
    /// What it did and was allowed, most often first.
    pub did: Vec<Deed>,
    /// By what was refused, as in `get secrets`.
    pub denials: BTreeMap<String, u64>,
    pub credentials: BTreeMap<String, Credential>,
    /// Who acted as it, and how often.
    pub impersonated_by: BTreeMap<String, u64>,
    /// As whom it acted.
    pub impersonated: BTreeMap<String, u64>,
    /// As whom it wanted to act and was refused.
    pub impersonation_refused: Vec<ImpersonationRefused>,
    /// Who acted as it: left out of everything else, unless asked for.
    pub through_impersonation: Vec<Impersonator>,
    /// Logins at a server that keeps events of them (OpenShift's), by decision.
    pub logins: Vec<Login>,
    /// What its cloud calls it: AWS roles, object IDs of Entra.
    pub cloud_identities: BTreeSet<String>,
    #[serde(skip)]
    pub left_out: LeftOut,
    /// Addresses that an API server saw.
    #[serde(skip)]
    seen_ips: BTreeSet<String>,
    /// Those it was authenticated with: an impersonator may claim others.
    #[serde(skip)]
    pub groups: BTreeSet<String>,
}

/// One kind of request that it made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    pub verb: String,
    pub resource: String,
    pub count: u64,
    pub last: Option<Timestamp>,
}

/// Attempts to act as somebody else that were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImpersonationRefused {
    /// Unknown where the server names only the kind.
    #[serde(rename = "as")]
    pub name: Option<String>,
    #[serde(skip)]
    pub label: String,
    pub count: u64,
    pub last: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impersonator {
    pub by: String,
    pub count: u64,
}

/// Logins with one outcome: `allow`, `deny` or `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    pub decision: String,
    pub count: u64,
    pub last: Option<Timestamp>,
}

/// How often, and when last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    n: u64,
    last: Option<Timestamp>,
}

impl Count {
    fn merge(&mut self, other: Count) {
        self.n += other.n;
        self.last = self.last.max(other.last);
    }
}

/// Counts one more, of a key that is known or not one too many.
fn add<K: Ord>(all: &mut BTreeMap<K, Count>, key: K, time: Option<Timestamp>) {
    if all.len() < MAX || all.contains_key(&key) {
        all.entry(key).or_default().merge(Count { n: 1, last: time });
    }
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
            login: projection.want(r#"annotations."authentication.openshift.io/decision""#),
            login_name: projection.want(r#"annotations."authentication.openshift.io/username""#),
            include: Include::default(),
            found: Seen::default(),
            did: BTreeMap::new(),
            refused: BTreeMap::new(),
            logins: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// The same, with requests that are left out otherwise.
    #[must_use]
    pub fn including(self, include: Include) -> Portrait {
        Portrait { include, ..self }
    }

    /// A login with its name: OpenShift answers 302 also if it failed, and nobody is authenticated then.
    fn login(&mut self, record: &Record<'_>) {
        let Some(decision) = record.value(self.login) else { return };
        if record.value(self.login_name).is_some_and(|name| name.text() == self.name) {
            add(&mut self.logins, decision.text().into_owned(), record.stage_timestamp());
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
        if let Some(by) = authenticated.filter(|by| by.username != self.name) {
            count(&mut found.impersonated_by, &by.username);
            if !self.include.impersonated {
                found.left_out.add_impersonated(&by.username);
                return;
            }
        }

        found.requests += 1;
        let time = request.time;
        found.from = earliest(found.from, time);
        found.to = found.to.max(time);
        let target = super::evaluation::resource_name(&request.attributes().target);
        if let Some(refused) = request.refused_impersonation() {
            add(&mut self.refused, refused, time);
        } else if request.is_denied() {
            found.denied += 1;
            count(&mut found.denials, &format!("{} {target}", request.verb));
        } else {
            add(&mut self.did, (request.verb.to_string(), target.to_string()), time);
        }

        let ips = record.value(self.source_ips).map(|it| it.elements()).unwrap_or_default();
        let n_claimed = ips.len().saturating_sub(1);
        for (n, ip) in ips.iter().enumerate() {
            remember(&mut found.source_ips, &ip.text());
            // Only the last one is what the API server saw.
            let all =
                if n < n_claimed { &mut found.claimed_source_ips } else { &mut found.seen_ips };
            remember(all, &ip.text());
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
            Some(_) => {}
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
    let cloud = cloud_identity(|key| user.extra.get(key)?.first().map(|value| &**value));
    remember(&mut found.cloud_identities, &cloud.unwrap_or_default());
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
        self.login(record);
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
        mine.claimed_source_ips.extend(its.claimed_source_ips);
        mine.seen_ips.extend(its.seen_ips);
        mine.cloud_identities.extend(its.cloud_identities);
        mine.left_out.merge(its.left_out);
        mine.user_agents.extend(its.user_agents);
        mine.groups.extend(its.groups);
        let add = |mine: &mut BTreeMap<String, u64>, its: BTreeMap<String, u64>| {
            its.into_iter().for_each(|(name, n)| *mine.entry(name).or_default() += n);
        };
        add(&mut mine.denials, its.denials);
        add(&mut mine.impersonated, its.impersonated);
        add(&mut mine.impersonated_by, its.impersonated_by);
        for (key, count) in other.did {
            self.did.entry(key).or_default().merge(count);
        }
        for (key, count) in other.refused {
            self.refused.entry(key).or_default().merge(count);
        }
        for (key, count) in other.logins {
            self.logins.entry(key).or_default().merge(count);
        }
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

        let Seen { claimed_source_ips, seen_ips, impersonated_by, .. } = &mut self.found;
        claimed_source_ips.retain(|ip| !seen_ips.contains(ip));
        let by = impersonated_by.iter().map(|(by, n)| Impersonator { by: by.clone(), count: *n });
        self.found.through_impersonation = by.collect();
        let deed = |((verb, resource), Count { n, last })| Deed { verb, resource, count: n, last };
        self.found.did = self.did.into_iter().map(deed).collect();
        self.found.did.sort_by_key(|deed| std::cmp::Reverse(deed.count));
        let refused = |(refused, Count { n, last }): (RefusedImpersonation, Count)| {
            let label = refused.label();
            ImpersonationRefused { name: refused.name, label, count: n, last }
        };
        self.found.impersonation_refused = self.refused.into_iter().map(refused).collect();
        let login = |(decision, Count { n, last })| Login { decision, count: n, last };
        self.found.logins = self.logins.into_iter().map(login).collect();
        self.found
    }
}
