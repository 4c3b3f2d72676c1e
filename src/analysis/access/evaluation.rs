//! A planned RBAC, tried on recorded requests: per subject what would break and what would open.

use std::{borrow::Cow, cmp::Reverse};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Requests, answers::Answers, requests::Request};
use crate::{
    analysis::Analysis,
    decode::{Projection, Record},
    event::{Attributes, Target},
    rbac::{Grant, MASTERS, Snapshot, Subject, is_master, subject::Kind},
    report::{Cell, Column, Report, Table},
};

/// What RBAC says of one request.
#[derive(Debug, Serialize)]
pub struct Verdict<'r> {
    pub allowed: bool,
    /// Why, where no grant says it.
    pub reason: Option<&'static str>,
    /// Every binding that allows it: a list of [`GrantName`](crate::rbac::GrantName), as JSON.
    pub grants: Box<RawValue>,
    /// `allow` or `forbid`, as the API server decided then.
    pub recorded: Option<Cow<'r, str>>,
}

/// What RBAC does not decide is said, not guessed.
const ELSEWHERE: &str = "not by RBAC: another authorizer allowed it";
const NODE: &str = "not by RBAC: the Node authorizer may allow it";
const NOBODY: &str = "not authenticated";

/// Makes verdicts of requests.
#[derive(Debug, Clone)]
pub struct Verdicts<'s> {
    answers: Answers<'s, Granted>,
}

/// What a snapshot grants.
#[derive(Debug, Clone)]
struct Granted {
    allowed: bool,
    reason: Option<&'static str>,
    grants: Box<RawValue>,
}

impl<'s> Verdicts<'s> {
    pub fn new(snapshot: &'s Snapshot) -> Verdicts<'s> {
        Verdicts { answers: Answers::new(snapshot, Granted::of) }
    }

    /// Of the requests that one [`Requests`] reads.
    pub fn of<'r>(&mut self, request: &Request<'r>) -> Verdict<'r> {
        let Granted { allowed, reason, grants } = self.answers.get(request, &request.attributes());
        let reason = reason.or_else(|| if allowed { None } else { why_not(request) });
        let recorded = (!request.decision.is_empty()).then(|| request.decision.clone());
        Verdict { allowed, reason, grants, recorded }
    }
}

impl Granted {
    fn of(snapshot: &Snapshot, attributes: &Attributes<'_>) -> Granted {
        let is_master = is_master(attributes.user);
        let grants = if is_master { Vec::new() } else { snapshot.grants(attributes) };
        let names: Vec<_> = grants.iter().map(Grant::name).collect();
        let grants = serde_json::value::to_raw_value(&names).expect("names are texts");
        Granted {
            allowed: is_master || !names.is_empty(),
            reason: is_master.then_some(MASTERS),
            grants,
        }
    }
}

fn why_not(request: &Request<'_>) -> Option<&'static str> {
    if request.user.username.is_empty() && request.decision.is_empty() {
        Some(NOBODY)
    } else if request.is_allowed_elsewhere() {
        Some(ELSEWHERE)
    } else if matches!(Kind::of(&request.user.username), Kind::Node(_)) {
        Some(NODE)
    } else {
        None
    }
}

/// What the planned RBAC is compared with.
#[derive(Debug, Clone, Copy)]
pub enum Against<'s> {
    /// What the API server decided then.
    Recorded,
    Snapshot(&'s Snapshot),
}

/// Judges each request twice and counts where the answers differ.
#[derive(Debug, Clone)]
pub struct Evaluation<'s> {
    answers: Answers<'s, bool>,
    /// `None` for what was decided then.
    others: Option<Answers<'s, bool>>,
    requests: Requests,
    subjects: HashMap<String, Counts, RandomState>,
    /// Put together anew for each request that changes.
    key: String,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    requests: u64,
    allowed: u64,
    elsewhere: u64,
    /// By the text of what changes.
    changes: HashMap<String, Changed, RandomState>,
}

/// What changes: the requests are told by kind, not one by one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct What {
    change: Change,
    verb: String,
    target: String,
    namespace: Option<String>,
}

#[derive(Debug, Clone)]
struct Changed {
    what: What,
    requests: u64,
    /// The smallest URI, so that it does not depend on the order.
    example: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Allowed before, refused now.
    Breaks,
    /// Refused before, allowed now.
    Opens,
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Change::Breaks => "breaks",
            Change::Opens => "opens",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RbacEvaluation {
    pub items: Vec<SubjectChanges>,
}

/// What the change means for one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectChanges {
    pub subject: Subject,
    pub requests: u64,
    /// By the RBAC that is tried.
    pub allowed: u64,
    pub breaks: u64,
    pub opens: u64,
    /// Allowed by another authorizer, and not by RBAC: a change of RBAC does not matter to them.
    pub not_by_rbac: u64,
    pub changes: Vec<ChangedRequests>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedRequests {
    pub change: Change,
    pub verb: String,
    /// As in `deployments/scale.apps`, or a path.
    pub resource: String,
    pub namespace: Option<String>,
    pub requests: u64,
    /// The URI of one of them.
    pub example: String,
}

impl<'s> Evaluation<'s> {
    pub fn new(
        snapshot: &'s Snapshot,
        against: Against<'s>,
        projection: &mut Projection,
    ) -> Evaluation<'s> {
        let others = match against {
            Against::Recorded => None,
            Against::Snapshot(it) => Some(Answers::new(it, Snapshot::allows)),
        };
        Evaluation {
            answers: Answers::new(snapshot, Snapshot::allows),
            others,
            requests: Requests::new(projection),
            subjects: HashMap::default(),
            key: String::new(),
        }
    }
}

/// As in `deployments/scale.apps`; a path as it is.
pub fn resource_name(target: &Target<'_>) -> String {
    match target {
        Target::Path(path) => path.to_string(),
        Target::Resource(it) => {
            let mut name = it.resource.to_string();
            for (separator, part) in [('/', &it.subresource), ('.', &it.api_group)] {
                if !part.is_empty() {
                    name.push(separator);
                    name += part;
                }
            }
            name
        }
    }
}

/// Tells changes apart.
fn set_key(key: &mut String, change: Change, attributes: &Attributes<'_>) {
    key.clear();
    let parts: [&str; 4] = match &attributes.target {
        Target::Path(path) => [path, "", "", ""],
        Target::Resource(it) => [&it.resource, &it.subresource, &it.api_group, &it.namespace],
    };
    for part in [change.as_str(), attributes.verb].iter().chain(&parts) {
        key.push_str(part);
        key.push('\0');
    }
}

/// Empty where there is none.
fn namespace<'t>(target: &'t Target<'_>) -> &'t str {
    match target {
        Target::Resource(it) => &it.namespace,
        Target::Path(_) => "",
    }
}

impl Analysis for Evaluation<'_> {
    type Report = RbacEvaluation;

    fn observe(&mut self, record: &Record<'_>) {
        if !record.ends_request() {
            return;
        }
        let request = self.requests.read(record);
        let attributes = request.attributes();
        let now = self.answers.get(&request, &attributes);
        let before = match (&mut self.others, &*request.decision) {
            (Some(it), _) => it.get(&request, &attributes),
            (None, "allow") => true,
            (None, "forbid") => false,
            // Nobody decided, or nobody wrote it down.
            (None, _) => now,
        };
        let counts = self.subjects.entry_ref(&*request.user.username).or_default();
        counts.requests += 1;
        counts.allowed += u64::from(now);
        if !now && request.is_allowed_elsewhere() {
            counts.elsewhere += 1;
            return;
        }
        if before == now {
            return;
        }
        let change = if before { Change::Breaks } else { Change::Opens };
        // The key is looked up as text: what changes, changes again and again.
        set_key(&mut self.key, change, &attributes);
        match counts.changes.get_mut(&self.key) {
            Some(changed) => changed.add(1, &request.uri),
            None => {
                let what = What {
                    change,
                    verb: request.verb.to_string(),
                    target: resource_name(&attributes.target),
                    namespace: Some(namespace(&attributes.target))
                        .filter(|it| !it.is_empty())
                        .map(str::to_owned),
                };
                let changed = Changed { requests: 1, example: request.uri.to_string(), what };
                counts.changes.insert(self.key.clone(), changed);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (name, its) in other.subjects {
            let mine = self.subjects.entry(name).or_default();
            mine.requests += its.requests;
            mine.allowed += its.allowed;
            mine.elsewhere += its.elsewhere;
            for (key, changed) in its.changes {
                match mine.changes.get_mut(&key) {
                    Some(it) => it.add(changed.requests, &changed.example),
                    None => {
                        mine.changes.insert(key, changed);
                    }
                }
            }
        }
    }

    fn finish(self) -> RbacEvaluation {
        let mut items: Vec<_> =
            self.subjects.into_iter().map(|(name, it)| changes(&name, it)).collect();
        // Who would be hurt most comes first.
        items.sort_by_cached_key(|it| {
            (Reverse(it.breaks), Reverse(it.opens), Reverse(it.requests), it.subject.clone())
        });
        RbacEvaluation { items }
    }
}

impl Changed {
    fn add(&mut self, requests: u64, uri: &str) {
        self.requests += requests;
        if *uri < *self.example {
            self.example = uri.to_owned();
        }
    }
}

fn changes(name: &str, counts: Counts) -> SubjectChanges {
    let all = counts.changes.into_values().map(|it| (it.what.clone(), it));
    let mut all: Vec<(What, Changed)> = all.collect();
    all.sort_by(|(a, its), (b, others)| {
        let key = (a.change, Reverse(its.requests), a, &its.example);
        key.cmp(&(b.change, Reverse(others.requests), b, &others.example))
    });
    let changes: Vec<ChangedRequests> = all
        .into_iter()
        .map(|(what, changed)| ChangedRequests {
            change: what.change,
            verb: what.verb,
            resource: what.target,
            namespace: what.namespace,
            requests: changed.requests,
            example: changed.example,
        })
        .collect();
    let sum = |of| changes.iter().filter(|it| it.change == of).map(|it| it.requests).sum();
    SubjectChanges {
        subject: Kind::of(name).subject(name),
        requests: counts.requests,
        allowed: counts.allowed,
        breaks: sum(Change::Breaks),
        opens: sum(Change::Opens),
        not_by_rbac: counts.elsewhere,
        changes,
    }
}

impl Report for RbacEvaluation {
    const KIND: &'static str = "RbacEvaluation";
    const EMPTY: &'static str = "Nothing would change.";
    type Item = SubjectChanges;

    fn items(&self) -> &[SubjectChanges] {
        &self.items
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::text("SUBJECT"),
            Column::text("CHANGE"),
            Column::number("REQUESTS"),
            Column::text("VERB"),
            Column::text("RESOURCE"),
            Column::text("NAMESPACE"),
            Column::text("EXAMPLE").wide(),
        ];
        let mut rows = Vec::new();
        for it in &self.items {
            for change in &it.changes {
                let text = |it: &str| Cell::from(it);
                rows.push(vec![
                    Cell::from(it.subject.label()),
                    text(change.change.as_str()),
                    Cell::Number(change.requests),
                    text(&change.verb),
                    text(&change.resource),
                    Cell::from(change.namespace.clone()),
                    text(&change.example),
                ]);
            }
        }
        vec![Table { columns, rows }]
    }
}

/// One line of the stream: an event, and what RBAC says of it.
#[derive(Debug, Serialize)]
pub struct Evaluated<'e> {
    #[serde(rename = "auditID")]
    pub audit_id: Cow<'e, str>,
    pub stage: &'e str,
    #[serde(flatten)]
    pub verdict: Verdict<'e>,
}
