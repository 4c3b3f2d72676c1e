//! Whatever a log is made of: the file loads, and the engine logs each kind as the plan says.

use proptest::{prelude::*, sample::select};

use super::*;
use crate::{
    event::{Attributes, ResourceRequest, Target, User},
    policy::{
        Evaluator, baseline,
        load::{self, KubeVersion},
    },
};

const NAMES: &[&str] = &[
    "system:a",
    "x:\"\n- #",
    "system:serviceaccount:s:b",
    "\u{1F600}\u{9b}\u{7f}\u{feff}\u{ffff}\u{2028}\u{0}",
];
const GROUPS: &[&str] = &["", "apps", "coordination.k8s.io", "rbac.authorization.k8s.io", "null"];
const RESOURCES: &[&str] =
    &["pods", "pods/exec", "pods/status", "leases", "secrets", "roles", "configmaps", "on", "1e3"];

fn kind() -> impl Strategy<Value = Kind> {
    let who = prop_oneof![
        Just(Who::Nodes),
        Just(Who::Person),
        select(NAMES).prop_map(|it| Who::System(it.to_owned())),
        select(NAMES).prop_map(|it| Who::Account(format!("account {it}"))),
    ];
    let what = prop_oneof![
        4 => (select(GROUPS), select(RESOURCES)).prop_map(|(group, resource)| What::Resource {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }),
        1 => select(&PATHS[..]).prop_map(What::Path),
        1 => Just(What::Rest),
    ];
    let verb = select(&[Verb::Read, Verb::Change, Verb::Other][..]);
    (who, verb, what).prop_map(|(who, verb, what)| match what {
        What::Resource { .. } => Kind { who, verb, what },
        _ => Kind { who: Who::Person, verb, what },
    })
}

fn volume() -> impl Strategy<Value = Volume> {
    let level = select(&Level::ALL[1..]);
    (level, 0..20_u64, 1..20_u64, 0..500_u64, 0..500_u64).prop_map(
        |(level, arrivals, others, more, managed)| {
            let at = |n: u64, to: Level| 100 * n + more * n * level.min(to) as u64;
            let sizes = |events| {
                let row = [Level::Metadata, Level::Request, Level::RequestResponse]
                    .map(|to| at(events, to));
                Sizes { events, bytes: [row, row.map(|it| it - it.min(managed))] }
            };
            Volume { arrivals: sizes(arrivals), others: sizes(others), level }
        },
    )
}

/// A request of each verb of this kind.
fn levels(evaluator: &Evaluator, kind: &Kind) -> Vec<Level> {
    let (name, group) = match &kind.who {
        Who::Nodes => ("system:node:n", "system:nodes"),
        Who::System(name) | Who::Account(name) => (name.as_str(), "system:authenticated"),
        Who::Person => ("somebody", "system:authenticated"),
    };
    let user = User { username: name.into(), groups: vec![group.into()], ..User::default() };
    let target = match &kind.what {
        What::Resource { group, resource } => {
            let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
            Target::Resource(ResourceRequest {
                api_group: group.into(),
                resource: resource.into(),
                subresource: sub.into(),
                ..ResourceRequest::default()
            })
        }
        What::Path(path) => Target::Path(path.replace('*', "/x").into()),
        What::Rest => Target::Path("/logs".into()),
    };
    let verbs: &[&str] = match kind.verb {
        Verb::Read => &["get", "list", "watch"],
        Verb::Change => &["create", "update", "patch", "delete", "deletecollection"],
        Verb::Other => &["proxy", "options"],
    };
    let level = |verb: &&str| {
        evaluator.evaluate(&Attributes { user: &user, verb, target: target.clone() }).level
    };
    verbs.iter().map(level).collect()
}

proptest! {
    #[test]
    fn the_engine_logs_what_the_plan_says(
        kinds in prop::collection::btree_map(kind(), volume(), 0..40),
        keep in select(&[Keep::Cis, Keep::Strict, Keep::None][..]),
        budget in prop::option::of(0..200_000_u64),
        head in "\\PC{0,9}|[\\x00-\\x20#]{0,6}",
    ) {
        let plan = plan(&kinds, keep, budget);
        let text = manifest(&plan, &[head]);
        let loaded = load::load(text.as_bytes(), KubeVersion::default());
        let policy = loaded.policy.unwrap_or_else(|| panic!("{:?}\n{text}", loaded.errors));
        let mut unplaced = policy.clone();
        unplaced.rules.iter_mut().for_each(|it| it.line = 0);
        prop_assert_eq!(unplaced, plan.policy());
        let evaluator = Evaluator::new(&policy);
        for (kind, volume) in &kinds {
            for level in levels(&evaluator, kind) {
                // More than was recorded is written as it was recorded.
                prop_assert_eq!(level.min(volume.level), plan.level(kind).min(volume.level), "{:?}\n{}", kind, &text);
            }
        }
        let baselines = baseline::check(&policy);
        prop_assert!(keep == Keep::None || baselines[0].passed, "{}", text);
        prop_assert!(keep != Keep::Strict || baselines[1].passed, "{}", text);
        // A step less would not have been enough; a budget that is missed had every step.
        let left = plan.total(&kinds).bytes;
        if let (Some(budget), Some(last)) = (budget, plan.steps.last()) {
            prop_assert!(left + last.bytes > budget);
        }
        // Each event and byte that a rule or a setting leaves out is told beside it.
        let is_body = |it: &Loss| matches!(it, Loss::Bodies { .. });
        let is_setting = |it: &Loss| matches!(it, Loss::Arrivals | Loss::ManagedFields);
        let told: u64 = plan.rules().iter().map(|it| it.saves.bytes).sum();
        let left_out = plan.brought(|it| !is_body(it) && !is_setting(it));
        prop_assert_eq!(told, left_out.bytes);
        let whole = Plan::new(&kinds, keep).total(&kinds).bytes;
        prop_assert_eq!(whole - plan.steps.iter().map(|it| it.bytes).sum::<u64>(), left);
    }
}

fn change(who: Who, group: &str, resource: &str) -> Kind {
    let what = What::Resource { group: group.to_owned(), resource: resource.to_owned() };
    Kind { who, verb: Verb::Change, what }
}

#[track_caller]
fn check_protected(kind: &Kind, expected: bool) {
    assert_eq!(is_protected(kind, Keep::Cis), expected, "{kind:?}");
}

#[test]
fn what_is_never_dropped() {
    check_protected(&change(Who::Nodes, "apps", "deployments"), true);
    check_protected(&change(Who::Nodes, "", "pods/exec"), true);
    check_protected(&Kind { verb: Verb::Read, ..change(Who::Nodes, "", "pods/exec") }, true);
    check_protected(&Kind { verb: Verb::Read, ..change(Who::Nodes, "", "secrets") }, true);
    check_protected(&Kind { verb: Verb::Read, ..change(Who::Nodes, "", "pods") }, false);
    check_protected(&change(Who::Nodes, "", "nodes/status"), false);
    check_protected(&change(Who::Nodes, "coordination.k8s.io", "leases"), false);
}
