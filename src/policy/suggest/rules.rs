//! A plan as rules, and the lists that it goes by.

use std::collections::{BTreeMap, BTreeSet};

use super::{Explained, Loss, Plan, Saved, Verb, What, Who};
use crate::{
    event::Level,
    policy::{GroupResources, Rule, baseline::Keep},
};

/// The paths of health checks, discovery and metrics, as rules name them.
pub const PATHS: [&str; 7] =
    ["/healthz*", "/livez*", "/readyz*", "/version*", "/metrics*", "/openapi*", "/api*"];

/// Group and resource of what must never be in a log: only who touched it.
pub(super) const SECRETS: [(&str, &str); 4] = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "serviceaccounts/token"),
    ("authentication.k8s.io", "tokenreviews"),
];

const READS: [&str; 3] = ["get", "list", "watch"];
const CHANGES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
const GRANTS: [&str; 4] = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
const RBAC: &str = "rbac.authorization.k8s.io";

/// Who is to be called again and again by the system, and says nothing but that it lives.
pub(super) fn is_heartbeat(what: &What) -> bool {
    let What::Resource { group, resource } = what else { return false };
    matches!(
        (group.as_str(), resource.as_str()),
        ("coordination.k8s.io", "leases") | ("" | "events.k8s.io", "events")
    )
}

/// What the system writes all the time: states, and questions whether somebody may do something.
pub(super) fn is_routine(what: &What) -> bool {
    let What::Resource { group, resource } = what else { return false };
    resource.ends_with("/status")
        || (group == "authorization.k8s.io" && resource.ends_with("accessreviews"))
}

/// The subresources through which one gets into workloads and nodes.
pub(super) fn is_door(resource: &str) -> bool {
    let doors = ["exec", "attach", "portforward", "proxy", "ephemeralcontainers"];
    resource.split_once('/').is_some_and(|(_, sub)| doors.contains(&sub))
}

pub(super) fn is_grant(group: &str, resource: &str) -> bool {
    group == RBAC && GRANTS.contains(&resource)
}

fn owned(all: &[&str]) -> Vec<String> {
    all.iter().map(|it| (*it).to_owned()).collect()
}

/// Resources by their group.
fn resources<'w>(all: impl IntoIterator<Item = &'w What>) -> Vec<GroupResources> {
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for what in all {
        if let What::Resource { group, resource } = what {
            groups.entry(group).or_default().push(resource.clone());
        }
    }
    let entry = |(group, resources): (&str, Vec<String>)| GroupResources {
        group: group.to_owned(),
        resources,
        resource_names: Vec::new(),
    };
    groups.into_iter().map(entry).collect()
}

fn verbs(verb: Verb) -> Vec<String> {
    match verb {
        Verb::Read => owned(&READS),
        Verb::Change => owned(&CHANGES),
        Verb::Other => Vec::new(),
    }
}

/// The rules of a plan, in their order: what is fixed, what is left out, bodies, and all the rest.
pub(super) fn rules(plan: &Plan) -> Vec<Explained> {
    let secret = |(group, resource): &(&str, &str)| What::Resource {
        group: (*group).to_owned(),
        resource: (*resource).to_owned(),
    };
    let mut rules = vec![Explained {
        why: "Who touched secrets and tokens, never what is in them",
        rule: Rule {
            level: Level::Metadata,
            resources: resources(&SECRETS.iter().map(secret).collect::<Vec<_>>()),
            ..Rule::default()
        },
        saves: Saved::default(),
    }];
    if plan.keep == Keep::Strict {
        let grants = GroupResources {
            group: RBAC.to_owned(),
            resources: owned(&GRANTS),
            resource_names: Vec::new(),
        };
        rules.push(Explained {
            why: "Who gave which right",
            rule: Rule {
                level: Level::Request,
                verbs: owned(&CHANGES),
                resources: vec![grants],
                ..Rule::default()
            },
            saves: Saved::default(),
        });
    }
    if !plan.paths.is_empty() {
        let paths: Vec<&str> = plan.paths.iter().copied().collect();
        let why = "Health checks and discovery";
        rules.push(Explained {
            why,
            rule: Rule { non_resource_urls: owned(&paths), ..Rule::default() },
            saves: plan.brought(|it| matches!(it, Loss::Path(_))),
        });
    }
    rules.extend(dropped(plan));
    for (level, why) in [
        (Level::RequestResponse, "Requests and answers"),
        (Level::Request, "What was asked for, not what was answered"),
    ] {
        for verb in [Verb::Read, Verb::Change] {
            let at_level = plan.levels.iter().filter(|((_, of), it)| *of == verb && **it == level);
            let resources = resources(at_level.map(|((what, _), _)| what));
            if !resources.is_empty() {
                let rule = Rule { level, verbs: verbs(verb), resources, ..Rule::default() };
                rules.push(Explained { rule, why, saves: Saved::default() });
            }
        }
    }
    rules.push(Explained {
        rule: Rule { level: Level::Metadata, ..Rule::default() },
        why: "Everything else: who, what, when, from where",
        saves: Saved::default(),
    });
    rules
}

/// What is left out: those who leave out the same share a rule.
fn dropped(plan: &Plan) -> Vec<Explained> {
    let mut whats: BTreeMap<(&Who, Verb), (BTreeSet<&What>, Saved)> = BTreeMap::new();
    for step in &plan.steps {
        if let Loss::Requests { who, verb, what } = &step.loss {
            let (whats, saved) = whats.entry((who, *verb)).or_default();
            whats.insert(what);
            *saved = saved.and(step);
        }
    }
    let mut sharing: BTreeMap<_, (Vec<String>, Saved)> = BTreeMap::new();
    for ((who, verb), (what, saved)) in whats {
        let (names, saves) = sharing.entry((*who == Who::Nodes, verb, what)).or_default();
        if let Who::System(name) | Who::Account(name) = who {
            names.push(name.clone());
        }
        saves.events += saved.events;
        saves.bytes += saved.bytes;
    }
    let rule = |(sharers, (users, saves))| {
        let (is_nodes, verb, what): (bool, Verb, BTreeSet<&What>) = sharers;
        let rule = Rule {
            users,
            user_groups: if is_nodes { owned(&["system:nodes"]) } else { Vec::new() },
            verbs: verbs(verb),
            resources: resources(what),
            ..Rule::default()
        };
        let why = match verb {
            Verb::Read => "Read by the system again and again",
            _ => "Written by the system again and again",
        };
        Explained { rule, why, saves }
    };
    sharing.into_iter().map(rule).collect()
}
