//! `UnusedGrants`: what could be taken away, rule by rule and verb by verb.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    coverage::Window,
    usage::{RuleUse, Used},
};
use crate::{
    event::Timestamp,
    rbac::{
        ALL, Binding, ObjectName, PolicyRule, RoleRef, Snapshot, Subject, kind_covers, path_covers,
    },
    report::{Cell, Column, Report, Table},
};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnusedGrants {
    pub window: Window,
    /// Requests that were allowed and looked at.
    pub requests: u64,
    pub items: Vec<UnusedRule>,
}

/// A rule of a binding of which something was not used.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnusedRule {
    pub binding: ObjectName,
    pub role: RoleRef,
    pub subjects: Vec<Subject>,
    /// From 0, in the role.
    pub rule: usize,
    /// As the role has it.
    pub grants: PolicyRule,
    /// Verbs nobody used.
    pub unused_verbs: Vec<String>,
    /// Resources, or paths, nobody used with any verb.
    pub unused_resources: Vec<String>,
    /// Names nobody used.
    pub unused_names: Vec<String>,
    /// What of the rule was used, as in `get pods`: what a wildcard was needed for.
    pub used: Vec<String>,
    pub requests: u64,
    pub last_used: Option<Timestamp>,
}

impl UnusedRule {
    /// Nothing of it was used.
    pub fn is_whole(&self) -> bool {
        self.requests == 0
    }
}

/// Which bindings are looked at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Those of a namespace.
    pub namespace: Option<String>,
    /// Those that these apply to, by number.
    pub bindings: Option<BTreeSet<usize>>,
    /// Also what Kubernetes itself brings: its controllers' roles and everybody's discovery.
    pub has_system: bool,
}

/// Source: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`: the label of everything that the
/// API server itself makes.
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

impl Scope {
    pub(super) fn has(&self, id: usize, binding: &Binding) -> bool {
        let is_system = binding.labels.get(BOOTSTRAPPING.0).is_some_and(|it| it == BOOTSTRAPPING.1);
        (self.has_system || !is_system)
            && self.bindings.as_ref().is_none_or(|it| it.contains(&id))
            && self.namespace.as_ref().is_none_or(|it| binding.namespace.as_deref() == Some(&**it))
    }
}

impl UnusedGrants {
    pub fn of(snapshot: &Snapshot, used: &Used, scope: &Scope) -> UnusedGrants {
        let nothing = RuleUse::default();
        let mut items = Vec::new();
        for (id, binding) in snapshot.bindings().iter().enumerate() {
            if !scope.has(id, binding) {
                continue;
            }
            for (n, rule) in binding.rules().iter().enumerate() {
                let of = used.rules.get(&(id, n)).unwrap_or(&nothing);
                items.extend(unused(binding, n, rule, of));
            }
        }
        UnusedGrants { window: used.window.clone(), requests: used.requests, items }
    }
}

/// What of a rule was not used; `None` if all of it was.
pub(super) fn unused(
    binding: &Binding,
    n: usize,
    rule: &PolicyRule,
    used: &RuleUse,
) -> Option<UnusedRule> {
    let without = |all: &[String], is_used: &dyn Fn(&str) -> bool| -> Vec<String> {
        all.iter().filter(|it| !is_used(it)).cloned().collect()
    };
    let has_verb = |verb: &str| used.what.contains_key(verb);
    let has_resource = |entry: &str| {
        used.pairs().any(|(_, resource)| {
            // A group behind a dot is not part of what a rule names.
            let (kind, _) = resource.split_once('.').unwrap_or((resource, ""));
            let (kind, sub) = kind.split_once('/').unwrap_or((kind, ""));
            kind_covers(entry, kind, sub)
        })
    };
    let has_path = |entry: &str| used.pairs().any(|(_, path)| path_covers(entry, path));
    let is_used = used.requests > 0;
    let mut unused_resources = without(&rule.resources, &has_resource);
    unused_resources.extend(without(&rule.non_resource_urls, &has_path));
    let found = UnusedRule {
        binding: binding.object_name(),
        role: binding.role_ref.clone(),
        subjects: binding.subjects.clone(),
        rule: n,
        grants: rule.clone(),
        unused_verbs: without(&rule.verbs, &|it| if it == ALL { is_used } else { has_verb(it) }),
        unused_resources,
        unused_names: without(&rule.resource_names, &|it| used.names.contains(it)),
        used: used.pairs().map(|(verb, resource)| format!("{verb} {resource}")).collect(),
        requests: used.requests,
        last_used: used.last,
    };
    let has_wildcard = rule.verbs.iter().chain(&rule.resources).any(|it| it == ALL);
    let is_all_used = found.unused_verbs.is_empty()
        && found.unused_resources.is_empty()
        && found.unused_names.is_empty();
    (!is_all_used || has_wildcard).then_some(found)
}

impl Report for UnusedGrants {
    const KIND: &'static str = "UnusedGrants";
    const EMPTY: &'static str = "No unused grants found.";
    type Item = UnusedRule;

    fn items(&self) -> &[UnusedRule] {
        &self.items
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::text("BINDING"),
            Column::text("ROLE"),
            Column::text("RULES"),
            Column::text("UNUSED").shrinking(),
            Column::text("OF").shrinking(),
            Column::number("REQUESTS"),
            Column::text("LAST-USED"),
            Column::text("SUBJECTS").wide(),
            Column::text("USED").wide(),
        ];
        let mut rows = Vec::new();
        for of_binding in self.items.chunk_by(|a, b| a.binding == b.binding) {
            let (whole, partly): (Vec<_>, Vec<_>) = of_binding.iter().partition(|it| it.is_whole());
            rows.extend(partly.iter().map(|it| row(&[it])));
            if !whole.is_empty() {
                rows.push(row(&whole));
            }
        }
        vec![Table { rows, columns }]
    }
}

/// A row for a rule, or for several of a binding of which nothing was used.
fn row(rules: &[&UnusedRule]) -> Vec<Cell> {
    let first = rules[0];
    let subjects: Vec<String> = first.subjects.iter().map(Subject::label).collect();
    let numbers: Vec<usize> = rules.iter().map(|it| it.rule).collect();
    let of: Vec<String> = rules.iter().map(|it| resources(&it.grants)).collect();
    vec![
        Cell::from(first.binding.path()),
        Cell::from(first.role.path()),
        Cell::from(ranges(&numbers)),
        Cell::from(what(first)),
        Cell::from(few(&of)),
        Cell::Number(first.requests),
        first.last_used.map_or(Cell::None, |it| Cell::Time(it.0)),
        Cell::from(few(&subjects)),
        Cell::from(few(&first.used)),
    ]
}

/// Ascending numbers as in `1,3-5`.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let run = |it: &[usize]| match it {
        [first, .., last] => format!("{first}-{last}"),
        [one] => one.to_string(),
        [] => String::new(),
    };
    runs.map(run).collect::<Vec<_>>().join(",")
}

/// In a few words what was not used.
fn what(it: &UnusedRule) -> String {
    if it.is_whole() {
        return "all".to_owned();
    }
    let mut parts = Vec::new();
    if !it.unused_verbs.is_empty() {
        parts.push(few(&it.unused_verbs));
    }
    if !it.unused_resources.is_empty() {
        parts.push(few(&it.unused_resources));
    }
    if !it.unused_names.is_empty() {
        parts.push(few(&it.unused_names));
    }
    if parts.is_empty() {
        parts.push(format!("* but {}", few(&it.used)));
    }
    parts.join("; ")
}

/// The first of many, and how many more there are: JSON has them all.
fn few(all: &[String]) -> String {
    const SHOWN: usize = 2;
    let shown = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len() {
        0..=SHOWN => shown,
        n => format!("{shown} and {} more", n - SHOWN),
    }
}

/// What a rule is about.
fn resources(rule: &PolicyRule) -> String {
    let mut all = rule.resources.clone();
    all.extend(rule.non_resource_urls.iter().cloned());
    format!("{} on {}", rule.verbs.join(","), few(&all))
}
