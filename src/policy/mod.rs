//! The audit policy, audit.k8s.io/v1, judged as the API server judges it: the first rule that matches
//! decides.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/audit/policy/checker.go`.

use serde::Serialize;

use crate::event::{Attributes, Level, ResourceRequest, Stage, Target, User};

mod advice;
pub mod apply;
pub mod baseline;
pub mod embedded;
pub mod lint;
pub mod load;
mod names;
mod never;
#[cfg(test)]
pub mod recorded;
#[cfg(test)]
mod reference;
pub mod suggest;
mod validate;
pub mod yaml;

use names::Names;

/// A policy as it was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub omit_stages: Stages,
    pub omit_managed_fields: bool,
    pub rules: Vec<Rule>,
}

/// A rule. An empty list matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    pub level: Level,
    pub users: Vec<String>,
    pub user_groups: Vec<String>,
    pub verbs: Vec<String>,
    pub resources: Vec<GroupResources>,
    pub namespaces: Vec<String>,
    pub non_resource_urls: Vec<String>,
    pub omit_stages: Stages,
    /// If not given, the policy's.
    pub omit_managed_fields: Option<bool>,
    /// Where it begins in its file, from 1.
    pub line: usize,
}

/// Resources of one API group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupResources {
    pub group: String,
    pub resources: Vec<String>,
    pub resource_names: Vec<String>,
}

/// A set of stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Stages(u8);

impl Stages {
    pub fn contains(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }

    #[must_use]
    pub fn with(self, stage: Stage) -> Stages {
        Stages(self.0 | (1 << stage as u8))
    }

    #[must_use]
    pub fn union(self, other: Stages) -> Stages {
        Stages(self.0 | other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(move |it| self.contains(*it))
    }
}

impl Serialize for Stages {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// How a request is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    pub level: Level,
    /// Which rule decided, from 0; `None` if none matched, and then nothing is recorded.
    pub rule: Option<usize>,
    pub omit_stages: Stages,
    pub omit_managed_fields: bool,
}

impl AuditConfig {
    /// Whether an event of this stage is written at all.
    pub fn logs(&self, stage: Stage) -> bool {
        self.level != Level::None && !self.omit_stages.contains(stage)
    }
}

/// A policy made ready for many questions.
///
/// ```
/// use kubectl_audit::{
///     event::{Event, Level},
///     policy::{Evaluator, load::{KubeVersion, load}},
/// };
///
/// let loaded = load(&std::fs::read("examples/policy.yaml")?, KubeVersion::default());
/// let evaluator = Evaluator::new(&loaded.policy.expect("the API server takes it"));
/// let log = std::fs::read_to_string("examples/audit.log")?;
/// let event: Event<'_> = serde_json::from_str(log.lines().next().expect("it has lines"))?;
/// let config = evaluator.evaluate(&event.as_authenticated());
/// assert_eq!((config.rule, config.level), (Some(4), Level::Request));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Evaluator {
    rules: Vec<Prepared>,
    none: AuditConfig,
}

/// What decides the requests of one user, verb and kind of resource.
#[derive(Debug, Clone)]
pub struct Narrowed {
    /// In order, the rules that match some of them, by namespace or name.
    rules: Vec<usize>,
    otherwise: AuditConfig,
}

/// What of a rule keeps it from matching a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mismatch {
    User,
    UserGroups,
    Verb,
    /// The rule is about resources, the request is not.
    NoResource,
    Namespace,
    Group,
    ResourceName,
    Resource,
    /// The rule is about other paths, the request names a resource.
    NoPath,
    Path,
}

#[derive(Debug, Clone)]
struct Prepared {
    config: AuditConfig,
    users: Names,
    user_groups: Names,
    verbs: Names,
    namespaces: Names,
    resources: Vec<PreparedResources>,
    paths: Vec<String>,
}

#[derive(Debug, Clone)]
struct PreparedResources {
    group: String,
    resources: Vec<String>,
    names: Names,
}

impl Evaluator {
    pub fn new(policy: &Policy) -> Evaluator {
        let none = AuditConfig {
            level: Level::None,
            rule: None,
            omit_stages: policy.omit_stages,
            omit_managed_fields: policy.omit_managed_fields,
        };
        let prepare = |(n, rule): (usize, &Rule)| Prepared {
            config: AuditConfig {
                level: rule.level,
                rule: Some(n),
                omit_stages: policy.omit_stages.union(rule.omit_stages),
                omit_managed_fields: rule.omit_managed_fields.unwrap_or(policy.omit_managed_fields),
            },
            users: Names::new(&rule.users),
            user_groups: Names::new(&rule.user_groups),
            verbs: Names::new(&rule.verbs),
            namespaces: Names::new(&rule.namespaces),
            resources: rule.resources.iter().map(PreparedResources::new).collect(),
            paths: rule.non_resource_urls.clone(),
        };
        Evaluator { rules: policy.rules.iter().enumerate().map(prepare).collect(), none }
    }

    /// What the policy says of a request.
    pub fn evaluate(&self, attributes: &Attributes<'_>) -> AuditConfig {
        let found = self.rules.iter().find(|it| it.mismatch(attributes).is_none());
        found.map_or(self.none, |it| it.config)
    }

    /// The rules that some request of this user can match.
    pub fn rules_for(&self, user: &User<'_>) -> Vec<usize> {
        let is_for = |n: &usize| self.rules[*n].user_mismatch(user).is_none();
        (0..self.rules.len()).filter(is_for).collect()
    }

    /// Of a user's [rules](Evaluator::rules_for), what decides its requests of this verb and kind of
    /// resource: all of them, whatever their namespace and name.
    pub fn narrow(&self, rules: &[usize], verb: &str, request: &ResourceRequest<'_>) -> Narrowed {
        let mut narrowed = Narrowed { rules: Vec::new(), otherwise: self.none };
        for &n in rules {
            let rule = &self.rules[n];
            match rule.kind_match(verb, request) {
                None => {}
                Some(true) => narrowed.rules.push(n),
                Some(false) => {
                    narrowed.otherwise = rule.config;
                    break;
                }
            }
        }
        narrowed
    }

    /// The same as [`evaluate`](Evaluator::evaluate), for one of many requests that
    /// [`narrow`](Evaluator::narrow) was told about.
    pub fn evaluate_narrowed(
        &self,
        narrowed: &Narrowed,
        request: &ResourceRequest<'_>,
    ) -> AuditConfig {
        let is_match = |n: &&usize| self.rules[**n].resource_mismatch(request).is_none();
        let found = narrowed.rules.iter().find(is_match);
        found.map_or(narrowed.otherwise, |n| self.rules[*n].config)
    }

    /// The same as [`evaluate`](Evaluator::evaluate), for a user whose
    /// [rules](Evaluator::rules_for) are known.
    pub fn evaluate_among(&self, rules: &[usize], verb: &str, target: &Target<'_>) -> AuditConfig {
        let is_match = |n: &&usize| self.rules[**n].request_mismatch(verb, target).is_none();
        rules.iter().find(is_match).map_or(self.none, |n| self.rules[*n].config)
    }

    /// Why this rule does not match a request; `None` if it does.
    pub fn mismatch(&self, rule: usize, attributes: &Attributes<'_>) -> Option<Mismatch> {
        self.rules.get(rule).and_then(|it| it.mismatch(attributes))
    }

    /// What this rule says of the requests it decides.
    pub fn config(&self, rule: usize) -> AuditConfig {
        self.rules.get(rule).map_or(self.none, |it| it.config)
    }
}

impl Prepared {
    /// `ruleMatches`. A failed authentication has no user, which no list of users or groups holds.
    fn mismatch(&self, attributes: &Attributes<'_>) -> Option<Mismatch> {
        self.user_mismatch(attributes.user)
            .or_else(|| self.request_mismatch(attributes.verb, &attributes.target))
    }

    fn user_mismatch(&self, user: &User<'_>) -> Option<Mismatch> {
        if !self.users.is_empty()
            && (user.username.is_empty() || !self.users.contains(&user.username))
        {
            return Some(Mismatch::User);
        }
        if !self.user_groups.is_empty()
            && !user.groups.iter().any(|it| self.user_groups.contains(it))
        {
            return Some(Mismatch::UserGroups);
        }
        None
    }

    fn request_mismatch(&self, verb: &str, target: &Target<'_>) -> Option<Mismatch> {
        if !self.verbs.is_empty() && !self.verbs.contains(verb) {
            return Some(Mismatch::Verb);
        }
        let is_about_resources = !self.namespaces.is_empty() || !self.resources.is_empty();
        match target {
            Target::Resource(request) if is_about_resources => self.resource_mismatch(request),
            Target::Path(_) if is_about_resources => Some(Mismatch::NoResource),
            _ if self.paths.is_empty() => None,
            Target::Resource(_) => Some(Mismatch::NoPath),
            Target::Path(path) => {
                (!self.paths.iter().any(|it| path_matches(path, it))).then_some(Mismatch::Path)
            }
        }
    }

    /// Whether namespace or name still decide: `None` if the rule matches no request of this verb and
    /// kind of resource.
    fn kind_match(&self, verb: &str, request: &ResourceRequest<'_>) -> Option<bool> {
        if !self.verbs.is_empty() && !self.verbs.contains(verb) {
            return None;
        }
        if self.resources.is_empty() {
            let is_about_paths = self.namespaces.is_empty() && !self.paths.is_empty();
            return (!is_about_paths).then_some(!self.namespaces.is_empty());
        }
        let mut kinds = self.resources.iter().filter(|it| it.kind_mismatch(request).is_none());
        let first = kinds.next()?;
        let is_by_name = !first.names.is_empty() && kinds.all(|it| !it.names.is_empty());
        Some(is_by_name || !self.namespaces.is_empty())
    }

    /// `ruleMatchesResource`.
    fn resource_mismatch(&self, request: &ResourceRequest<'_>) -> Option<Mismatch> {
        if !self.namespaces.is_empty() && !self.namespaces.contains(&request.namespace) {
            return Some(Mismatch::Namespace);
        }
        if self.resources.is_empty() {
            return None;
        }
        let mut nearest = Mismatch::Group;
        for entry in &self.resources {
            match entry.mismatch(request) {
                None => return None,
                // The entry that got furthest is the one a person means.
                Some(Mismatch::Group) => {}
                Some(Mismatch::Resource) if nearest == Mismatch::ResourceName => {}
                Some(other) => nearest = other,
            }
        }
        Some(nearest)
    }
}

impl PreparedResources {
    fn new(from: &GroupResources) -> PreparedResources {
        PreparedResources {
            group: from.group.clone(),
            resources: from.resources.clone(),
            // They count only beside resources.
            names: if from.resources.is_empty() {
                Names::default()
            } else {
                Names::new(&from.resource_names)
            },
        }
    }

    fn mismatch(&self, request: &ResourceRequest<'_>) -> Option<Mismatch> {
        let has_name = self.names.is_empty() || self.names.contains(&request.name);
        self.kind_mismatch(request).or_else(|| (!has_name).then_some(Mismatch::ResourceName))
    }

    fn kind_mismatch(&self, request: &ResourceRequest<'_>) -> Option<Mismatch> {
        if self.group != "*" && self.group != request.api_group {
            return Some(Mismatch::Group);
        }
        let is_named = self.resources.is_empty()
            || self.resources.iter().any(|it| resource_matches(it, request));
        (!is_named).then_some(Mismatch::Resource)
    }
}

/// `X`, `X/S`, `*`, `*/S`, `X/*`; the last also matches X itself, whatever the documentation says.
fn resource_matches(item: &str, request: &ResourceRequest<'_>) -> bool {
    let (resource, subresource) = (&*request.resource, &*request.subresource);
    if item == "*" {
        return true;
    }
    let is_exact = if subresource.is_empty() {
        item == resource
    } else {
        item.strip_prefix(resource).and_then(|it| it.strip_prefix('/')) == Some(subresource)
    };
    is_exact
        || (!subresource.is_empty() && item.strip_prefix("*/") == Some(subresource))
        || item.strip_suffix("/*") == Some(resource)
}

/// `*`, the path itself, or a beginning of it before a `*`.
fn path_matches(path: &str, item: &str) -> bool {
    item == "*"
        || item == path
        || (item.ends_with('*') && path.starts_with(item.trim_end_matches('*')))
}
