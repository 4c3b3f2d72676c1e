//! The recorded log of 25 users, held against the roles of its cluster.

use std::{borrow::Cow, collections::BTreeSet, fmt::Debug, fs, io::Read, path::PathBuf};

use super::{
    Users, Uses,
    evaluation::{Against, Change, Evaluation},
    left_out::Include,
    needs::Needs,
    portrait::Portrait,
    requests::Requests,
    unused::{Scope, UnusedGrants},
    usage::Usage,
};
use crate::{
    analysis::Analysis,
    decode::{Projection, Reader, Record},
    event::{Attributes, ResourceRequest, Target},
    rbac::{Objects, PolicyRule, Snapshot, What, WhoCan, load, subject},
};

fn unpacked(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rbac").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn snapshot() -> Snapshot {
    let (objects, errors) = load::load(unpacked("rbac.json.gz").as_bytes());
    assert_eq!(errors, []);
    Snapshot::new(objects)
}

fn each(projection: &Projection, log: &str, mut take: impl FnMut(usize, &Record<'_>)) {
    let (reader, mut found) = (Reader::new(projection), Vec::new());
    for (n, line) in log.lines().enumerate() {
        let head = reader.read(line.as_bytes(), &mut found).unwrap();
        take(n, &Record::new("log", line.as_bytes(), head, projection, &found));
    }
}

fn fold<A: Analysis>(projection: &Projection, log: &str, mut analysis: A) -> A::Report {
    each(projection, log, |_, record| analysis.observe(record));
    analysis.finish()
}

/// Any order and any split give the same report.
#[track_caller]
fn law<A: Analysis<Report: Debug>>(make: impl Fn(&mut Projection) -> A) {
    let log = unpacked("audit.log.gz");
    let mut projection = Projection::default();
    let fresh = make(&mut projection);
    let whole = format!("{:?}", fold(&projection, &log, fresh.clone()));
    let backwards = log.lines().rev().collect::<Vec<_>>().join("\n");
    let mut parts = vec![fresh; 3];
    each(&projection, &backwards, |n, record| parts[n * n % 3].observe(record));
    let mut merged = parts.remove(1);
    parts.into_iter().for_each(|it| merged.merge(it));
    assert_eq!(format!("{:?}", merged.finish()), whole);
}

#[test]
fn laws() {
    let snapshot = snapshot();
    law(|it| Usage::new(&snapshot, None, it));
    law(|it| Usage::new(&snapshot, Some("dave".to_owned()), it));
    law(|it| Evaluation::new(&snapshot, Against::Recorded, it));
    law(|it| Needs::new(BTreeSet::new(), 2, it));
    law(|it| Portrait::new("system:serviceaccount:team-a:builder", it));
    law(|it| Users::new("user", it));
    let question = WhoCan {
        verb: "list".to_owned(),
        what: What::parse("pods"),
        namespace: String::new(),
        name: String::new(),
    };
    law(|it| Uses::new(&question, it));
}

/// What RBAC decides today differs from what was recorded only where something was changed since: a
/// binding was deleted, and the control plane's first requests came before the
/// API server had read its roles.
#[test]
fn every_recorded_decision() {
    let (snapshot, log) = (snapshot(), unpacked("audit.log.gz"));
    let mut projection = Projection::default();
    let fresh = Evaluation::new(&snapshot, Against::Recorded, &mut projection);
    let report = fold(&projection, &log, fresh);
    let breaks: Vec<_> = report.items.iter().filter(|it| it.breaks > 0).collect();
    assert_eq!(breaks.len(), 1);
    assert_eq!((breaks[0].subject.name.as_str(), breaks[0].breaks), ("mallory", 3));
    for it in &report.items {
        let opens = it.changes.iter().any(|it| it.change == Change::Opens);
        assert!(!opens || it.subject.name.starts_with("system:kube-"), "{it:?}");
    }
    // The first grant that the API server named is always among ours.
    let mut requests = Requests::new(&mut projection);
    each(&projection, &log, |_, record| {
        let request = requests.read(record);
        if request.reason().starts_with("RBAC: ") && request.user.username != "mallory" {
            let grants = snapshot.grants(&request.attributes());
            assert!(grants.iter().any(|it| it.name().reason() == *request.reason()));
        }
    });
}

/// The objects that were generated for one user, as a snapshot.
fn generated(username: &str, rules: &[(Option<String>, Vec<PolicyRule>)]) -> Snapshot {
    let mut objects = Objects::default();
    for (n, (namespace, rules)) in rules.iter().enumerate() {
        let metadata = serde_json::json!({"name": format!("r{n}"), "namespace": namespace});
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let role = serde_json::json!({"metadata": metadata, "rules": rules});
        let binding = serde_json::json!({
            "metadata": metadata, "roleRef": {"kind": kind, "name": format!("r{n}")},
            "subjects": [{"kind": "User", "name": username}],
        });
        let (role, binding) = (serde_json::from_value(role), serde_json::from_value(binding));
        if namespace.is_some() {
            objects.roles.push(role.unwrap());
            objects.role_bindings.push(binding.unwrap());
        } else {
            objects.cluster_roles.push(role.unwrap());
            objects.cluster_role_bindings.push(binding.unwrap());
        }
    }
    Snapshot::new(objects)
}

/// Everything that was allowed, and that not everybody is allowed: who, verb and target.
fn allowed(log: &str) -> Vec<(String, String, Target<'static>)> {
    let mut projection = Projection::default();
    let mut requests = Requests::new(&mut projection);
    let mut all = Vec::new();
    each(&projection, log, |_, record| {
        let request = requests.read(record);
        if !record.ends_request() || request.is_denied() {
            return;
        }
        let uri = request.uri.clone().into_owned().leak();
        let mut add = |verb: &str, target: Target<'static>| {
            if !super::needs::is_everybodys(verb, &target) {
                all.push((request.user.username.to_string(), verb.to_owned(), target));
            }
        };
        let target = Target::of_request(&request.verb, uri);
        if request.as_create().is_some()
            && let Target::Resource(it) = &target
        {
            add("create", Target::Resource(ResourceRequest { name: "".into(), ..it.clone() }));
        }
        add(&request.verb, target);
    });
    all
}

fn allows_all(snapshot: &Snapshot, all: &[(String, String, Target<'static>)], name: &str) -> bool {
    let user = subject::user(name, []);
    all.iter().filter(|(by, _, _)| by == name).all(|(_, verb, target)| {
        snapshot.allows(&Attributes { user: &user, verb, target: target.clone() })
    })
}

/// What is generated allows everything that was done, and without any one rule something is missing.
#[test]
fn generated_roles_are_enough_and_least() {
    let log = unpacked("audit.log.gz");
    let all = allowed(&log);
    let mut checked = 0;
    for (max_names, max_namespaces) in [(5, 10), (0, 0), (1, 1)] {
        let mut projection = Projection::default();
        let include = Include { impersonated: true, ..Include::default() };
        let needs = Needs::new(BTreeSet::new(), max_names, &mut projection).including(include);
        let needed = fold(&projection, &log, needs);
        for (username, need) in &needed.users {
            let rules: Vec<_> = need.rules(false, max_namespaces).into_iter().collect();
            assert!(allows_all(&generated(username, &rules), &all, username), "{username}");
            let has_impersonated = |it: &PolicyRule| it.verbs == ["impersonate"];
            for (scope, n) in rules
                .iter()
                .enumerate()
                .flat_map(|(scope, (_, all))| (0..all.len()).map(move |n| (scope, n)))
            {
                let mut less = rules.clone();
                let gone = less[scope].1.remove(n);
                // Those requests are judged for the impersonator, not counted above.
                if !has_impersonated(&gone) && gone.verbs != ["create"] {
                    let is_enough = allows_all(&generated(username, &less), &all, username);
                    assert!(!is_enough, "{username} does not need {gone:?}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn what_was_not_used() {
    let (snapshot, log) = (snapshot(), unpacked("audit.log.gz"));
    let mut projection = Projection::default();
    let used = fold(&projection.clone(), "", Usage::new(&snapshot, None, &mut projection));
    let nothing = UnusedGrants::of(&snapshot, &used, &Scope::default());
    assert!(nothing.items.iter().all(|it| it.is_whole()));
    assert!(nothing.window.warning.is_some());
    let used = fold(&projection.clone(), &log, Usage::new(&snapshot, None, &mut projection));
    let report = UnusedGrants::of(&snapshot, &used, &Scope::default());
    let of = |binding: &str| {
        report.items.iter().filter(|it| it.binding.name == binding).collect::<Vec<_>>()
    };
    // It impersonated with scopes, but never with a reason.
    let impersonator = of("oncall-impersonator");
    assert_eq!(impersonator.len(), 1);
    assert_eq!(impersonator[0].unused_resources, ["userextras/reason"]);
    assert!(of("system:discovery").is_empty());
}

#[test]
fn a_portrait() {
    let log = unpacked("audit.log.gz");
    let mut projection = Projection::default();
    let fresh = Portrait::new("system:serviceaccount:team-a:builder", &mut projection);
    let own = fold(&projection, &log, fresh.clone());
    let include = Include { impersonated: true, ..Include::default() };
    let seen = fold(&projection, &log, fresh.including(include));
    let n_others: u64 = own.through_impersonation.iter().map(|it| it.count).sum();
    assert_eq!(own.requests + n_others, seen.requests);
    assert!(n_others > 0 && own.left_out.impersonated == seen.impersonated_by);
    let issuers: BTreeSet<_> =
        seen.credentials.values().filter_map(|it| it.issued_by.as_deref()).collect();
    assert_eq!(issuers, BTreeSet::from(["kubernetes-admin", "system:node:cp-1"]));
    assert_eq!(
        seen.impersonated_by.keys().collect::<Vec<_>>(),
        ["bob", "dave", "kubernetes-admin"]
    );
    assert!(seen.denied > 0 && seen.denied < seen.requests);
    let fresh = Portrait::new("alice", &mut projection);
    let seen = fold(&projection, &log, fresh);
    // `qa` was only claimed by impersonators.
    assert_eq!(
        seen.groups.iter().map(|it| Cow::Borrowed(&**it)).collect::<Vec<_>>(),
        ["dev", "system:authenticated"]
    );
}
