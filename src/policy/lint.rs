//! What a person should know of a policy that the server accepts.

use std::borrow::Cow;

use serde::Serialize;

use super::{
    Evaluator, GroupResources, Policy, Rule, advice,
    load::{Loaded, Oddity},
};
use crate::event::{Attributes, ResourceRequest, Stage, Target, User};

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    /// From 0; `None` if it is about the whole policy.
    pub rule: Option<usize>,
    pub line: usize,
    pub message: String,
    pub hint: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    /// Worth knowing; no reason to fail.
    Info,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// Everything there is to say, by line.
pub fn lint(loaded: &Loaded) -> Vec<Finding> {
    let Some(policy) = &loaded.policy else { return Vec::new() };
    let evaluator = Evaluator::new(policy);
    let mut findings: Vec<Finding> = loaded.oddities.iter().map(oddity).collect();
    if let Some(line) = loaded.ignored_from {
        findings.push(Finding {
            id: "ignored-document",
            severity: Severity::Error,
            rule: None,
            line,
            message: "the server reads the first document only: this one has no effect".to_owned(),
            hint: "put all rules in one document".into(),
        });
    }
    let mut budget = MAX_PROBES;
    for (n, rule) in policy.rules.iter().enumerate() {
        if is_shadowed(&evaluator, rule, n, &mut budget) {
            findings.push(Finding {
                id: "shadowed-rule",
                severity: Severity::Warning,
                rule: Some(n),
                line: rule.line,
                message: format!("rule {n} never matches: rules before it catch all its requests"),
                hint: "move it before the rule that catches its requests, or remove it".into(),
            });
        }
    }
    if policy.omit_stages.contains(Stage::ResponseComplete) {
        findings.push(Finding {
            id: "response-complete-omitted",
            severity: Severity::Warning,
            rule: None,
            line: 1,
            message: "omitStages holds ResponseComplete: the outcome of requests is not recorded"
                .to_owned(),
            hint: "omit RequestReceived instead".into(),
        });
    }
    findings.extend(advice::advice(policy, &evaluator));
    findings.sort_by_key(|it| it.line);
    findings
}

fn oddity(it: &Oddity) -> Finding {
    let (id, what) = if it.is_repeated {
        ("duplicate-field", "is there twice: the server takes the last and ignores the others")
    } else {
        ("unknown-field", "is not a field: the server ignores it, so that the rule matches more")
    };
    let meant = it.meant.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
    Finding {
        id,
        severity: Severity::Error,
        rule: it.rule,
        line: it.line,
        message: format!("`{}` {what}{meant}", it.path),
        hint: "correct or remove the field".into(),
    }
}

/// What only servers before some release refuse.
pub fn by_version(policy: &Policy) -> Vec<Finding> {
    let star = |rule: &Rule| rule.resources.iter().any(|it| it.group == "*");
    let find = |(n, rule): (usize, &Rule)| {
        star(rule).then(|| Finding {
            id: "group-wildcard",
            severity: Severity::Warning,
            rule: Some(n),
            line: rule.line,
            message: "an API server before 1.36 refuses `group: \"*\"`, and does not start"
                .to_owned(),
            hint: "name the groups, or check with --kube-version 1.36 if no server is older".into(),
        })
    };
    policy.rules.iter().enumerate().filter_map(find).collect()
}

/// Questions in all that one policy may cost.
const MAX_PROBES: usize = 200_000;

/// A value that no policy names.
const FRESH: &str = "\u{10FFFD}";

/// Whether rules before it catch everything this rule matches.
///
/// A rule's lists only ever allow: an earlier rule that catches a value nobody names does not look at
/// that field, and so catches every value. Where this rule has no list one fresh value hence stands
/// for all, and where it has one its values do: these probes are a proof, not a sample.
fn is_shadowed(evaluator: &Evaluator, rule: &Rule, n: usize, budget: &mut usize) -> bool {
    let targets = targets(rule);
    let some = |list: &[String]| {
        if list.is_empty() { vec![FRESH.to_owned()] } else { list.to_vec() }
    };
    let (users, groups, verbs) = (some(&rule.users), some(&rule.user_groups), some(&rule.verbs));
    for target in &targets {
        for user in &users {
            for group in &groups {
                let user = User {
                    username: user.as_str().into(),
                    groups: vec![group.as_str().into()],
                    ..User::default()
                };
                for verb in &verbs {
                    // Every rule before this one may have to be asked.
                    if *budget <= n {
                        return false;
                    }
                    *budget -= n + 1;
                    let attributes = Attributes { user: &user, verb, target: target.clone() };
                    if evaluator.evaluate(&attributes).rule.is_none_or(|it| it >= n) {
                        return false;
                    }
                }
            }
        }
    }
    true
}

fn targets(rule: &Rule) -> Vec<Target<'_>> {
    let fresh_path = || Target::Path(format!("/{FRESH}").into());
    if !rule.non_resource_urls.is_empty() {
        let path = |it: &String| match it.strip_suffix('*') {
            Some("") => fresh_path(),
            Some(start) => Target::Path(format!("{start}{FRESH}").into()),
            None => Target::Path(it.clone().into()),
        };
        return rule.non_resource_urls.iter().map(path).collect();
    }
    let any = [GroupResources { group: "*".to_owned(), ..GroupResources::default() }];
    let entries = if rule.resources.is_empty() { &any[..] } else { &rule.resources };
    let fresh = || vec![FRESH.to_owned()];
    let namespaces = if rule.namespaces.is_empty() { fresh() } else { rule.namespaces.clone() };
    let mut targets = Vec::new();
    for entry in entries {
        let items =
            if entry.resources.is_empty() { vec!["*".to_owned()] } else { entry.resources.clone() };
        let names =
            if entry.resource_names.is_empty() { fresh() } else { entry.resource_names.clone() };
        for (item, name) in items.iter().flat_map(|item| names.iter().map(move |it| (item, it))) {
            let (resource, sub) = match item.split_once('/') {
                None if item == "*" => (FRESH, FRESH),
                None => (item.as_str(), ""),
                Some((resource, sub)) => (
                    if resource == "*" { FRESH } else { resource },
                    if sub == "*" { FRESH } else { sub },
                ),
            };
            for namespace in &namespaces {
                targets.push(Target::Resource(ResourceRequest {
                    api_group: if entry.group == "*" { FRESH } else { &entry.group }
                        .to_owned()
                        .into(),
                    api_version: "v1".into(),
                    namespace: namespace.clone().into(),
                    resource: resource.to_owned().into(),
                    subresource: sub.to_owned().into(),
                    name: name.clone().into(),
                }));
            }
            if targets.len() > MAX_PROBES {
                return targets;
            }
        }
    }
    if rule.resources.is_empty() && rule.namespaces.is_empty() {
        targets.push(fresh_path());
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::load::{KubeVersion, load};

    #[track_caller]
    fn check(rules: &str, expected: &[&str]) {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        let loaded = load(text.as_bytes(), KubeVersion::default());
        assert_eq!(loaded.errors, []);
        let found: Vec<String> = lint(&loaded)
            .iter()
            .filter(|it| it.severity != Severity::Info)
            .map(|it| format!("{}:{}", it.id, it.line))
            .collect();
        assert_eq!(found, expected, "{rules}");
    }

    #[test]
    fn shadowed() {
        check("- level: None\n- level: Metadata\n", &["shadowed-rule:5"]);
        check(
            "- {level: None, verbs: [get, list]}\n- {level: Metadata, verbs: [get]}\n",
            &["shadowed-rule:5"],
        );
        check(
            "- {level: None, resources: [{group: '', resources: ['*']}]}\n- {level: Metadata, resources: [{group: '', resources: [pods/exec]}]}\n",
            &["shadowed-rule:5"],
        );
    }
    #[test]
    fn by_two_rules_together() {
        check(
            "- {level: None, verbs: [get]}\n- {level: None, verbs: [list]}\n- {level: Metadata, verbs: [get, list]}\n",
            &["shadowed-rule:6"],
        );
    }
    #[test]
    fn not_shadowed() {
        check("- {level: None, verbs: [get]}\n- {level: Metadata, verbs: [get, list]}\n", &[]);
        check(
            "- {level: None, resources: [{group: '', resources: [pods]}]}\n- {level: Metadata, resources: [{group: '', resources: [pods/exec]}]}\n",
            &[],
        );
        check(
            "- {level: None, resources: [{group: ''}]}\n- {level: None, nonResourceURLs: ['*']}\n- {level: Metadata}\n",
            &[],
        );
    }
    #[test]
    fn fields_and_verbs() {
        check(
            "- {level: None, verb: [get]}\n- {level: None, users: [a], users: [b]}\n",
            &["unknown-field:4", "duplicate-field:5", "shadowed-rule:5"],
        );
        check("- {level: Metadata, verbs: [GET]}\n", &["never-matching-verb:4"]);
    }
}
