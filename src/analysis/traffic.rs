//! What a log is made of: kinds of requests, and the bytes of each at every level a policy could have.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{Analysis, stats::Period};
use crate::{
    decode::{Projection, Record, Slot},
    event::{Level, Stage, Target, User},
    policy::{
        AuditConfig, Stages, apply,
        suggest::{Kind, PATHS, Sizes, Verb, Volume, What, Who},
    },
};

/// Kinds kept apart; a log has a few thousand. Of more, the rest is one kind that nothing is done to.
const MAX_KINDS: usize = 100_000;
/// Users kept read; there are few, and an attacker may send many.
const MAX_USERS: usize = 10_000;

/// Sums up every record under its kind.
#[derive(Debug, Clone)]
pub struct Traffic {
    user: Slot,
    verb: Slot,
    uri: Slot,
    users: HashMap<Box<[u8]>, Who>,
    kinds: HashMap<Kind, Volume>,
    period: Period,
}

/// The kinds, and the time that they cover.
#[derive(Debug, Clone, PartialEq)]
pub struct Kinds {
    pub kinds: BTreeMap<Kind, Volume>,
    pub period: Period,
}

impl Traffic {
    pub fn new(projection: &mut Projection) -> Traffic {
        Traffic {
            user: projection.want("user"),
            verb: projection.want("verb"),
            uri: projection.want("requestURI"),
            users: HashMap::new(),
            kinds: HashMap::new(),
            period: Period::default(),
        }
    }

    fn who(&mut self, record: &Record<'_>) -> Who {
        let raw = record.value(self.user).map_or(&b"{}"[..], |it| it.bytes());
        if let Some(who) = self.users.get(raw) {
            return who.clone();
        }
        let who = who(&serde_json::from_slice(raw).unwrap_or_default());
        if self.users.len() < MAX_USERS {
            self.users.insert(raw.into(), who.clone());
        }
        who
    }

    fn kind(&mut self, record: &Record<'_>) -> Kind {
        let (verb, uri) = (record.text(self.verb), record.text(self.uri));
        let what = what(&Target::of_request(&verb, &uri));
        // A rule for a path is for everybody.
        let who =
            if matches!(what, What::Resource { .. }) { self.who(record) } else { Who::Person };
        let verb = match &*verb {
            "get" | "list" | "watch" => Verb::Read,
            "create" | "update" | "patch" | "delete" | "deletecollection" => Verb::Change,
            _ => Verb::Other,
        };
        Kind { who, verb, what }
    }
}

fn who(user: &User<'_>) -> Who {
    let name = user.username.to_string();
    let is_account = name.starts_with("system:serviceaccount:");
    match name {
        _ if user.groups.iter().any(|it| it == "system:nodes") => Who::Nodes,
        _ if name.starts_with("system:serviceaccount:kube-system:") => Who::System(name),
        _ if is_account => Who::Account(name),
        _ if name == "system:anonymous" || name == "system:admin" => Who::Person,
        _ if name.starts_with("system:node:") => Who::Person,
        _ if name.starts_with("system:") => Who::System(name),
        _ => Who::Person,
    }
}

fn what(target: &Target<'_>) -> What {
    match target {
        Target::Path(path) => {
            let is_under = |it: &&&str| path.starts_with(it.trim_end_matches('*'));
            PATHS.iter().find(is_under).map_or(What::Rest, |it| What::Path(it))
        }
        Target::Resource(it) => {
            let resource = match &*it.subresource {
                "" => Cow::Borrowed(&*it.resource),
                sub => Cow::Owned(format!("{}/{sub}", it.resource)),
            };
            // In a rule a star would mean more than itself, and nothing else is served.
            let is_name = |it: &str| {
                it.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'/'))
            };
            if it.resource.is_empty() || !is_name(&resource) || !is_name(&it.api_group) {
                return What::Rest;
            }
            What::Resource { group: it.api_group.to_string(), resource: resource.into_owned() }
        }
    }
}

/// The bytes of a record under each treatment.
///
/// # Errors
/// If its line is no JSON to its end.
fn sizes(record: &Record<'_>, verb: &str) -> Result<Sizes, serde_json::Error> {
    let mut sizes = Sizes { events: 1, ..Sizes::default() };
    let (line, level, stage) = (record.line(), record.level(), record.stage());
    for (no_managed, row) in sizes.bytes.iter_mut().enumerate() {
        let levels = [Level::Metadata, Level::Request, Level::RequestResponse];
        for (to, bytes) in levels.into_iter().zip(row) {
            let config = AuditConfig {
                level: to,
                rule: None,
                omit_stages: Stages::default(),
                omit_managed_fields: no_managed == 1,
            };
            let written = match level {
                // Nothing to take away.
                Level::Metadata => Some(Cow::Borrowed(line)),
                _ => apply::apply(line, level, stage, || verb == "patch", &config)?,
            };
            *bytes = written.map_or(0, |it| it.len() as u64);
        }
    }
    Ok(sizes)
}

impl Analysis for Traffic {
    type Report = Kinds;

    fn observe(&mut self, record: &Record<'_>) {
        let verb = record.text(self.verb);
        let sizes = match sizes(record, &verb) {
            Ok(sizes) => sizes,
            Err(err) => return record.reject(err.to_string()),
        };
        self.period.add(record.stage_timestamp());
        let mut volume = Volume { level: record.level(), ..Volume::default() };
        match record.stage() {
            Stage::RequestReceived => volume.arrivals = sizes,
            _ => volume.others = sizes,
        }
        let mut kind = self.kind(record);
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&kind) {
            kind = Kind { who: Who::Person, verb: Verb::Other, what: What::Rest };
        }
        self.kinds.entry(kind).or_default().merge(&volume);
    }

    fn merge(&mut self, other: Self) {
        for (kind, volume) in other.kinds {
            self.kinds.entry(kind).or_default().merge(&volume);
        }
        self.period.add(other.period.from);
        self.period.add(other.period.to);
    }

    fn finish(self) -> Kinds {
        Kinds { kinds: self.kinds.into_iter().collect(), period: self.period }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::simulation::Simulation,
        decode::Reader,
        policy::{Evaluator, baseline::Keep, recorded, suggest},
    };

    #[track_caller]
    fn check_who(name: &str, groups: &[&str], expected: Who) {
        let groups = groups.iter().map(|it| Cow::Borrowed(*it)).collect();
        assert_eq!(who(&User { username: name.into(), groups, ..User::default() }), expected);
    }

    #[test]
    fn whos() {
        check_who("system:node:a", &["system:nodes"], Who::Nodes);
        check_who("system:node:a", &["dev"], Who::Person);
        check_who("system:kube-scheduler", &[], Who::System("system:kube-scheduler".into()));
        let account = "system:serviceaccount:kube-system:job";
        check_who(account, &[], Who::System(account.into()));
        let account = "system:serviceaccount:shop:kube-system";
        check_who(account, &[], Who::Account(account.into()));
        check_who("system:anonymous", &[], Who::Person);
        check_who("alice", &[], Who::Person);
        check_who("", &[], Who::Person);
    }

    #[track_caller]
    fn check_what(uri: &str, expected: What) {
        assert_eq!(what(&Target::of_request("get", uri)), expected, "{uri}");
    }

    #[test]
    fn whats() {
        let resource = |group: &str, resource: &str| What::Resource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        };
        check_what("/api/v1/namespaces/shop/pods/web/exec", resource("", "pods/exec"));
        check_what("/apis/apps/v1/deployments", resource("apps", "deployments"));
        check_what("/apis/apps/v1/*", What::Rest);
        check_what("/readyz?verbose", What::Path("/readyz*"));
        check_what("/apis/apps/v1", What::Path("/api*"));
        check_what("/logs", What::Rest);
    }

    /// What a plan promises is what the simulation of its policy finds, however the log is split.
    #[track_caller]
    fn check_promise(log: &str, budget: Option<u64>) {
        let mut projection = Projection::default();
        let fresh = Traffic::new(&mut projection);
        let mut parts = [fresh.clone(), fresh.clone(), fresh];
        each(log, &projection, &mut |n, record| parts[n % 2].observe(record));
        each(log, &projection, &mut |_, record| parts[2].observe(record));
        let [mut split, other, whole] = parts;
        split.merge(other);
        let kinds = whole.finish();
        assert_eq!(split.finish(), kinds);
        let plan = suggest::plan(&kinds.kinds, Keep::Cis, budget);
        let policy = plan.policy();
        let evaluator = Evaluator::new(&policy);
        let mut projection = Projection::default();
        let mut simulation = Simulation::new(&policy, &evaluator, &mut projection);
        each(log, &projection, &mut |_, record| simulation.observe(record));
        let (promised, after) = (plan.total(&kinds.kinds), simulation.finish().after);
        assert_eq!((promised.events, promised.bytes), (after.events, after.bytes));
    }

    fn each(log: &str, projection: &Projection, sink: &mut dyn FnMut(usize, &Record<'_>)) {
        let reader = Reader::new(projection);
        let mut found = Vec::new();
        for (n, line) in log.lines().enumerate() {
            let head = reader.read(line.as_bytes(), &mut found).unwrap();
            sink(n, &Record::new("log", line.as_bytes(), head, projection, &found));
        }
    }

    #[test]
    fn promises() {
        let recorded = recorded::unpacked("events.jsonl.gz");
        let bodies = include_str!("../../tests/data/bodies.log");
        for budget in [None, Some(0), Some(100_000), Some(2_000_000), Some(u64::MAX)] {
            check_promise(&recorded, budget);
            check_promise(bodies, budget);
        }
    }
}
