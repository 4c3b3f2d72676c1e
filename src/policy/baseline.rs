//! What a policy should log at least, tried out by asking the engine.

use serde::Serialize;

use super::{Evaluator, Policy};
use crate::event::{Attributes, Level, ResourceRequest, Stage, Target, User};

/// Whether a policy logs what a benchmark asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Baseline {
    pub id: &'static str,
    pub passed: bool,
    /// What of it would not be logged for some verb, or not at the level asked for.
    pub missing: Vec<&'static str>,
    /// Of these, what would be logged at a lower level.
    pub below: Vec<Below>,
}

/// A resource that is logged, but below the level that a baseline asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Below {
    pub resource: &'static str,
    pub level: Level,
    pub wanted: Level,
}

impl Baseline {
    /// What is missing, and at which level the rest is logged.
    pub fn message(&self) -> String {
        let is_below = |it: &&&str| self.below.iter().any(|below| below.resource == **it);
        let absent: Vec<&str> = self.missing.iter().filter(|it| !is_below(it)).copied().collect();
        let mut parts = Vec::new();
        if !absent.is_empty() {
            parts.push(format!("not logged: {}", absent.join(", ")));
        }
        for (n, first) in self.below.iter().enumerate() {
            let is_same = |it: &&Below| (it.level, it.wanted) == (first.level, first.wanted);
            if self.below[..n].iter().any(|it| is_same(&it)) {
                continue;
            }
            let names: Vec<&str> =
                self.below.iter().filter(is_same).map(|it| it.resource).collect();
            parts.push(format!(
                "logged at {}, not at {}: {}",
                first.level,
                first.wanted,
                names.join(", ")
            ));
        }
        parts.join("; ")
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        let is_all_below = self.missing.len() == self.below.len();
        if is_all_below {
            "raise the level of these by a rule before the one that catches them"
        } else {
            "add rules for these"
        }
    }
}

/// `RESOURCE[/SUB][.GROUP]`, verbs, and the least level.
type Probe = (&'static str, &'static [&'static str], Level);

const ALL: &[&str] =
    &["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const CHANGES: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const CONNECT: &[&str] = &["get", "create"];

/// CIS Kubernetes Benchmark 3.2.2: access to secrets, config maps and token reviews, changes of pods
/// and deployments, and the doors into pods and services.
const CIS: &[Probe] = &[
    ("secrets", ALL, Level::Metadata),
    ("configmaps", ALL, Level::Metadata),
    ("tokenreviews.authentication.k8s.io", &["create"], Level::Metadata),
    ("pods", CHANGES, Level::Metadata),
    ("deployments.apps", CHANGES, Level::Metadata),
    ("pods/exec", CONNECT, Level::Metadata),
    ("pods/portforward", CONNECT, Level::Metadata),
    ("pods/proxy", CONNECT, Level::Metadata),
    ("services/proxy", CONNECT, Level::Metadata),
];

/// Ours, beyond it: the other doors, new credentials, and who gave which right.
const STRICT: &[Probe] = &[
    ("pods/attach", CONNECT, Level::Metadata),
    ("pods/ephemeralcontainers", &["patch", "update"], Level::Metadata),
    ("nodes/proxy", CONNECT, Level::Metadata),
    ("serviceaccounts/token", &["create"], Level::Metadata),
    ("certificatesigningrequests.certificates.k8s.io", CHANGES, Level::Metadata),
    (
        "certificatesigningrequests/approval.certificates.k8s.io",
        &["update", "patch"],
        Level::Metadata,
    ),
    ("roles.rbac.authorization.k8s.io", CHANGES, Level::Request),
    ("rolebindings.rbac.authorization.k8s.io", CHANGES, Level::Request),
    ("clusterroles.rbac.authorization.k8s.io", CHANGES, Level::Request),
    ("clusterrolebindings.rbac.authorization.k8s.io", CHANGES, Level::Request),
    ("mutatingwebhookconfigurations.admissionregistration.k8s.io", CHANGES, Level::Metadata),
    ("validatingwebhookconfigurations.admissionregistration.k8s.io", CHANGES, Level::Metadata),
];

/// What a suggestion must keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Keep {
    /// What the CIS benchmark asks for
    #[default]
    Cis,
    /// That, and our own stricter baseline
    Strict,
    /// No baseline
    None,
}

/// Whether a baseline wants to see reads, or changes, of this resource (with its subresource).
pub fn asks_for(keep: Keep, group: &str, resource: &str, is_read: bool) -> bool {
    let probes: &[&[Probe]] = match keep {
        Keep::Cis => &[CIS],
        Keep::Strict => &[CIS, STRICT],
        Keep::None => &[],
    };
    let is_asked = |(what, verbs, _): &Probe| {
        let (name, of) = what.split_once('.').unwrap_or((what, ""));
        let has_verb = verbs.iter().any(|it| matches!(*it, "get" | "list" | "watch") == is_read);
        name == resource && of == group && has_verb
    };
    probes.iter().any(|it| it.iter().any(is_asked))
}

/// Asks for a person and a service account that no policy names.
pub fn check(policy: &Policy) -> Vec<Baseline> {
    let evaluator = Evaluator::new(policy);
    let user = |name: &'static str, groups: &[&'static str]| User {
        username: name.into(),
        groups: groups.iter().map(|it| (*it).into()).collect(),
        ..User::default()
    };
    let users = [
        user("\u{10FFFD}", &["system:authenticated"]),
        user(
            "system:serviceaccount:\u{10FFFD}:\u{10FFFD}",
            &["system:serviceaccounts", "system:authenticated"],
        ),
    ];
    [("CIS-3.2.2", CIS), ("strict", STRICT)]
        .map(|(id, probes)| {
            let (mut missing, mut below) = (Vec::new(), Vec::new());
            for probe @ (resource, _, wanted) in probes {
                let levels = users.iter().map(|user| level(&evaluator, user, probe));
                let level = levels.min().unwrap_or(*wanted);
                if level < *wanted {
                    missing.push(*resource);
                    if level > Level::None {
                        below.push(Below { resource, level, wanted: *wanted });
                    }
                }
            }
            Baseline { id, passed: missing.is_empty(), missing, below }
        })
        .to_vec()
}

/// The lowest level at which one of the verbs is logged.
fn level(evaluator: &Evaluator, user: &User<'_>, (what, verbs, _): &Probe) -> Level {
    let (resource, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let target = Target::Resource(ResourceRequest {
        api_group: group.into(),
        api_version: "v1".into(),
        namespace: "\u{10FFFD}".into(),
        resource: resource.into(),
        subresource: subresource.into(),
        name: "\u{10FFFD}".into(),
    });
    let levels = verbs.iter().map(|verb| {
        let config = evaluator.evaluate(&Attributes { user, verb, target: target.clone() });
        if config.logs(Stage::ResponseComplete) { config.level } else { Level::None }
    });
    levels.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::recorded::policy;

    #[track_caller]
    fn check_file(file: &str, cis: &[&str]) {
        let found = check(&policy(&format!("policies/{file}")));
        assert_eq!(found[0].missing, cis, "{file}");
        assert_eq!(found[0].passed, cis.is_empty());
    }

    #[test]
    fn shipped() {
        check_file("p01-metadata-all.yaml", &[]);
        check_file("p03-gce.yaml", &[]);
        check_file("p04-docs-example.yaml", &[]);
        check_file("p05-openshift-style.yaml", &[]);
    }
    #[test]
    fn logged_at_a_lower_level() {
        let found = check(&policy("policies/p01-metadata-all.yaml"));
        assert_eq!(found[1].missing.len(), 4);
        assert_eq!(
            found[1].message(),
            "logged at Metadata, not at Request: roles.rbac.authorization.k8s.io, \
             rolebindings.rbac.authorization.k8s.io, clusterroles.rbac.authorization.k8s.io, \
             clusterrolebindings.rbac.authorization.k8s.io"
        );
    }

    #[test]
    fn lacking() {
        let doors = [
            "secrets",
            "configmaps",
            "tokenreviews.authentication.k8s.io",
            "deployments.apps",
            "services/proxy",
        ];
        check_file("p09-pods-star.yaml", &doors);
    }
}
