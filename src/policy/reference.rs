//! The rules of a policy once more, slow and plain, to hold the engine against.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/audit/policy/checker.go`, read anew.

use proptest::{prelude::*, sample::select};

use super::{Evaluator, GroupResources, Policy, Rule, Stages};
use crate::event::{Attributes, Level, ResourceRequest, Stage, Target, User};

/// The first rule that matches, from 0.
fn first(policy: &Policy, request: &Attributes<'_>) -> Option<usize> {
    (0..policy.rules.len()).find(|n| is_match(&policy.rules[*n], request))
}

fn is_match(rule: &Rule, request: &Attributes<'_>) -> bool {
    let holds = |list: &[String], it: &str| list.iter().any(|other| other == it);
    let user = request.user;
    let is_user =
        rule.users.is_empty() || (!user.username.is_empty() && holds(&rule.users, &user.username));
    let is_group =
        rule.user_groups.is_empty() || user.groups.iter().any(|it| holds(&rule.user_groups, it));
    let is_verb = rule.verbs.is_empty() || holds(&rule.verbs, request.verb);
    if !(is_user && is_group && is_verb) {
        return false;
    }
    if !rule.namespaces.is_empty() || !rule.resources.is_empty() {
        let Target::Resource(it) = &request.target else { return false };
        return (rule.namespaces.is_empty() || holds(&rule.namespaces, &it.namespace))
            && (rule.resources.is_empty() || rule.resources.iter().any(|of| is_of(of, it)));
    }
    if rule.non_resource_urls.is_empty() {
        return true;
    }
    let Target::Path(path) = &request.target else { return false };
    rule.non_resource_urls.iter().any(|url| {
        let start = url.trim_end_matches('*');
        url == "*" || url == path || (url.ends_with('*') && path.starts_with(start))
    })
}

fn is_of(entry: &GroupResources, it: &ResourceRequest<'_>) -> bool {
    let is_group = entry.group == "*" || entry.group == it.api_group;
    let is_named =
        entry.resource_names.is_empty() || entry.resource_names.iter().any(|name| *name == it.name);
    let whole = match &*it.subresource {
        "" => it.resource.to_string(),
        sub => format!("{}/{sub}", it.resource),
    };
    let is_resource = |item: &String| {
        item == "*"
            || *item == whole
            || (!it.subresource.is_empty() && *item == format!("*/{}", it.subresource))
            || *item == format!("{}/*", it.resource)
    };
    is_group
        && (entry.resources.is_empty() || (is_named && entry.resources.iter().any(is_resource)))
}

/// Few words, so that rules and requests meet.
fn words(all: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    let some = proptest::collection::vec(select(all).prop_map(str::to_owned), 1..=most);
    prop_oneof![Just(Vec::new()), some]
}

const NAMES: &[&str] = &["", "a", "b", "c", "d", "e", "f"];
const VERBS: &[&str] = &["get", "list", "create", "*", "GET"];
const GROUPS: &[&str] = &["", "apps", "*"];
const ITEMS: &[&str] =
    &["pods", "pods/exec", "pods/*", "*/exec", "*/log", "*", "nodes", "pods/", "po", "/exec"];
const URLS: &[&str] = &["*", "/healthz", "/healthz*", "/a/b*", "/**", "/a/"];

fn rule() -> impl Strategy<Value = Rule> {
    let entry =
        (select(GROUPS), words(ITEMS, 3), words(NAMES, 2)).prop_map(|(group, items, names)| {
            GroupResources { group: group.to_owned(), resources: items, resource_names: names }
        });
    let entries = prop_oneof![Just(Vec::new()), proptest::collection::vec(entry, 1..3)];
    // More than a handful of names are looked up otherwise than few.
    let who = (words(NAMES, 7), words(NAMES, 7), words(VERBS, 5));
    let what = (entries, words(NAMES, 3), words(URLS, 2));
    let how = (select(&Level::ALL[..]), any::<Option<bool>>(), any::<bool>());
    (who, what, how).prop_map(
        |((users, user_groups, verbs), (resources, namespaces, urls), how)| {
            let omit = Stages::default();
            Rule {
                level: how.0,
                users,
                user_groups,
                verbs,
                resources,
                namespaces,
                non_resource_urls: urls,
                omit_stages: if how.2 { omit.with(Stage::RequestReceived) } else { omit },
                omit_managed_fields: how.1,
                line: 1,
            }
        },
    )
}

fn target() -> impl Strategy<Value = Target<'static>> {
    let resource = (
        select(&["", "apps", "batch"][..]),
        select(&["pods", "nodes", "po", ""][..]),
        select(&["", "exec", "log", "x"][..]),
        select(NAMES),
        select(NAMES),
    );
    let resource = resource.prop_map(|(group, resource, subresource, namespace, name)| {
        Target::Resource(ResourceRequest {
            api_group: group.into(),
            api_version: "v1".into(),
            namespace: namespace.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
        })
    });
    let path = select(&["/", "/healthz", "/healthz/etcd", "/a/b", "/a/bc", ""][..]);
    prop_oneof![3 => resource, 1 => path.prop_map(|it| Target::Path(it.into()))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Engine and reference agree, and `mismatch` tells of exactly the rules that do not match.
    #[test]
    fn agrees(
        rules in proptest::collection::vec(rule(), 0..6),
        omit_managed_fields in any::<bool>(),
        username in select(NAMES),
        groups in words(NAMES, 3),
        verb in select(VERBS),
        target in target(),
    ) {
        let omit_stages = Stages::default().with(Stage::Panic);
        let policy = Policy { omit_stages, omit_managed_fields, rules };
        let groups = groups.into_iter().map(Into::into).collect();
        let user = User { username: username.into(), groups, ..User::default() };
        let request = Attributes { user: &user, verb, target };
        let evaluator = Evaluator::new(&policy);
        let (expected, config) = (first(&policy, &request), evaluator.evaluate(&request));
        prop_assert_eq!(config.rule, expected);
        let among = evaluator.rules_for(&user);
        prop_assert_eq!(evaluator.evaluate_among(&among, request.verb, &request.target), config);
        if let Target::Resource(resource) = &request.target {
            // Of another request of the same kind: namespace and name must not matter.
            let other = ResourceRequest { namespace: "".into(), name: "".into(), ..resource.clone() };
            let narrowed = evaluator.narrow(&among, request.verb, &other);
            prop_assert_eq!(evaluator.evaluate_narrowed(&narrowed, resource), config);
        }
        let rule = expected.map(|it| &policy.rules[it]);
        prop_assert_eq!(config.level, rule.map_or(Level::None, |it| it.level));
        let stages = rule.map_or(omit_stages, |it| it.omit_stages.union(omit_stages));
        prop_assert_eq!(config.omit_stages, stages);
        let managed = rule.and_then(|it| it.omit_managed_fields).unwrap_or(omit_managed_fields);
        prop_assert_eq!(config.omit_managed_fields, managed);
        for (n, rule) in policy.rules.iter().enumerate() {
            prop_assert_eq!(evaluator.mismatch(n, &request).is_none(), is_match(rule, &request));
        }
    }
}
