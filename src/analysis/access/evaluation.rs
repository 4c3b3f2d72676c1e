//! A planned RBAC, tried on recorded requests: per subject what would break and what would open.

use std::{borrow::Cow, cmp::Reverse, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Requests,
    answers::{Answers, MAX_KINDS, set_key},
    requests::Request,
};
use crate::{
    analysis::Analysis,
    decode::{Projection, Record},
    event::{Attributes, Target, User},
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
    snapshot: &'s Snapshot,
    against: Against<'s>,
    requests: Requests,
    /// By what [`set_key`] says: few kinds make up most of a log, and each is judged once.
    kinds: HashMap<Vec<u8>, Tally, RandomState>,
    key: Vec<u8>,
    /// The kinds put together, once there are too many of them and at the end.
    subjects: HashMap<String, Counts, RandomState>,
}

/// The requests of one kind.
#[derive(Debug, Clone)]
struct Tally {
    user: Arc<User<'static>>,
    what: What,
    /// By the RBAC that is tried, and by the other; `None` if the object's name decides, or the log.
    now: Option<bool>,
    before: Option<bool>,
    requests: u64,
    allowed: u64,
    elsewhere: u64,
    breaks: Changed,
    opens: Changed,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    requests: u64,
    allowed: u64,
    elsewhere: u64,
    changes: HashMap<(Change, What), Changed, RandomState>,
}

/// What is done: requests are told by kind, not one by one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct What {
    verb: String,
    target: String,
    namespace: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Changed {
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
        Evaluation {
            snapshot,
            against,
            requests: Requests::new(projection),
            kinds: HashMap::default(),
            key: Vec::new(),
            subjects: HashMap::default(),
        }
    }

    fn put_together(&mut self) {
        for (_, tally) in self.kinds.drain() {
            let counts = self.subjects.entry_ref(&*tally.user.username).or_default();
            counts.requests += tally.requests;
            counts.allowed += tally.allowed;
            counts.elsewhere += tally.elsewhere;
            for (change, changed) in [(Change::Breaks, tally.breaks), (Change::Opens, tally.opens)]
            {
                if changed.requests > 0 {
                    let key = (change, tally.what.clone());
                    counts.changes.entry(key).or_default().merge(changed);
                }
            }
        }
    }
}

impl Tally {
    fn new(
        snapshot: &Snapshot,
        against: Against<'_>,
        request: &Request<'_>,
        attributes: &Attributes<'_>,
    ) -> Tally {
        let fixed = |snapshot: &Snapshot| {
            (!snapshot.looks_at_name(attributes)).then(|| snapshot.allows(attributes))
        };
        Tally {
            user: request.user.clone(),
            what: What::of(attributes),
            now: fixed(snapshot),
            before: match against {
                Against::Recorded => None,
                Against::Snapshot(it) => fixed(it),
            },
            requests: 0,
            allowed: 0,
            elsewhere: 0,
            breaks: Changed::default(),
            opens: Changed::default(),
        }
    }
}

impl What {
    fn of(attributes: &Attributes<'_>) -> What {
        let namespace = match &attributes.target {
            Target::Resource(it) => Some(it.namespace.to_string()),
            Target::Path(_) => None,
        };
        What {
            verb: attributes.verb.to_owned(),
            target: resource_name(&attributes.target),
            namespace: namespace.filter(|it| !it.is_empty()),
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

impl Analysis for Evaluation<'_> {
    type Report = RbacEvaluation;

    fn observe(&mut self, record: &Record<'_>) {
        if !record.ends_request() {
            return;
        }
        let request = self.requests.read(record);
        let attributes = request.attributes();
        if self.kinds.len() >= MAX_KINDS {
            self.put_together();
        }
        set_key(&mut self.key, &request, &attributes.target);
        let (snapshot, against) = (self.snapshot, self.against);
        let tally = self
            .kinds
            .entry_ref(self.key.as_slice())
            .or_insert_with(|| Tally::new(snapshot, against, &request, &attributes));
        let now = tally.now.unwrap_or_else(|| snapshot.allows(&attributes));
        let before = match (against, &*request.decision) {
            (Against::Snapshot(it), _) => tally.before.unwrap_or_else(|| it.allows(&attributes)),
            (Against::Recorded, "allow") => true,
            (Against::Recorded, "forbid") => false,
            // Nobody decided, or nobody wrote it down.
            (Against::Recorded, _) => now,
        };
        tally.requests += 1;
        tally.allowed += u64::from(now);
        if !now && request.is_allowed_elsewhere() {
            tally.elsewhere += 1;
        } else if before && !now {
            tally.breaks.add(&request.uri);
        } else if now && !before {
            tally.opens.add(&request.uri);
        }
    }

    fn merge(&mut self, mut other: Self) {
        self.put_together();
        other.put_together();
        for (name, its) in other.subjects {
            let mine = self.subjects.entry(name).or_default();
            mine.requests += its.requests;
            mine.allowed += its.allowed;
            mine.elsewhere += its.elsewhere;
            for (key, changed) in its.changes {
                mine.changes.entry(key).or_default().merge(changed);
            }
        }
    }

    fn finish(mut self) -> RbacEvaluation {
        self.put_together();
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
    fn add(&mut self, uri: &str) {
        if self.requests == 0 || *uri < *self.example {
            self.example = uri.to_owned();
        }
        self.requests += 1;
    }

    fn merge(&mut self, other: Changed) {
        if self.requests == 0 || other.example < self.example {
            self.example = other.example;
        }
        self.requests += other.requests;
    }
}

fn changes(name: &str, counts: Counts) -> SubjectChanges {
    let mut all: Vec<_> = counts.changes.into_iter().collect();
    all.sort_by(|((change, what), its), ((other, others_what), others)| {
        let key = (change, Reverse(its.requests), what);
        key.cmp(&(other, Reverse(others.requests), others_what))
    });
    let changes: Vec<ChangedRequests> = all
        .into_iter()
        .map(|((change, what), changed)| ChangedRequests {
            change,
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
