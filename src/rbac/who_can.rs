//! The reverse question: who may do this.

use std::collections::BTreeMap;

use super::{Grant, PolicyRule, Snapshot, Subject};
use crate::event::{Target, resources};

/// A verb, and what it is to be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoCan {
    pub verb: String,
    pub what: What,
    /// Empty for any request without one, and for cluster-wide ones.
    pub namespace: String,
    /// Empty where none is meant: rules that are limited to names then do not count.
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Resource {
        /// `None` for any.
        group: Option<String>,
        resource: String,
        subresource: String,
    },
    Path(String),
}

impl What {
    /// Reads `RESOURCE[/SUB][.GROUP]` or `/PATH`. Without a group that of Kubernetes' own resource of
    /// this name is meant; of a name that is none of its own, any.
    pub fn parse(text: &str) -> What {
        if text.starts_with('/') {
            return What::Path(text.to_owned());
        }
        let (path, group) = match text.split_once('.') {
            Some((path, group)) => (path, Some(group.to_owned())),
            None => (text, None),
        };
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        let resource = resources::long_name(resource);
        let group = group.or_else(|| resources::own_group(resource).map(str::to_owned));
        What::Resource { group, resource: resource.to_owned(), subresource: subresource.to_owned() }
    }
}

impl WhoCan {
    /// Whether a rule allows it.
    pub fn is_allowed_by(&self, rule: &PolicyRule) -> bool {
        rule.covers_verb(&self.verb)
            && match &self.what {
                What::Path(path) => rule.covers_path(path),
                What::Resource { group, resource, subresource } => {
                    rule.covers_kind(resource, subresource)
                        && rule.covers_name(&self.name)
                        && match group {
                            Some(group) => rule.covers_group(group),
                            None => !rule.api_groups.is_empty(),
                        }
                }
            }
    }

    /// Whether a request is of this kind.
    pub fn is_about(&self, target: &Target<'_>) -> bool {
        match (&self.what, target) {
            (What::Path(mine), Target::Path(path)) => path == mine,
            (What::Resource { group, resource, subresource }, Target::Resource(it)) => {
                it.resource == *resource
                    && it.subresource == *subresource
                    && group.as_ref().is_none_or(|group| it.api_group == *group)
                    && (self.namespace.is_empty() || it.namespace == self.namespace)
                    && (self.name.is_empty() || it.name == self.name)
            }
            _ => false,
        }
    }
}

impl Snapshot {
    /// The subjects that a binding allows it, each with its bindings. With `any_namespace` bindings in
    /// every namespace count.
    pub fn who_can(
        &self,
        question: &WhoCan,
        any_namespace: bool,
    ) -> BTreeMap<Subject, Vec<Grant<'_>>> {
        let mut found: BTreeMap<Subject, Vec<Grant<'_>>> = BTreeMap::new();
        let is_path = matches!(question.what, What::Path(_));
        for (id, binding) in self.bindings().iter().enumerate() {
            let reaches = match &binding.namespace {
                None => true,
                Some(_) if is_path => false,
                Some(it) => any_namespace || **it == *question.namespace,
            };
            if !reaches || !binding.rules().iter().any(|it| question.is_allowed_by(it)) {
                continue;
            }
            for subject in &binding.subjects {
                let mut named = subject.clone();
                if subject.kind == "ServiceAccount" && subject.namespace.is_none() {
                    named.namespace = binding.namespace.as_deref().map(str::to_owned);
                }
                let grants = found.entry(named).or_default();
                if grants.last().is_none_or(|it| it.id != id) {
                    grants.push(Grant { id, binding, subject });
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, group: Option<&str>, resource: &str, subresource: &str) {
        let expected = What::Resource {
            group: group.map(str::to_owned),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
        };
        assert_eq!(What::parse(text), expected, "{text}");
    }

    #[test]
    fn resources() {
        check("pods", Some(""), "pods", "");
        check("po", Some(""), "pods", "");
        check("pods/exec", Some(""), "pods", "exec");
        check("pods.metrics.k8s.io", Some("metrics.k8s.io"), "pods", "");
        check("deployments/scale.apps", Some("apps"), "deployments", "scale");
        check("deployments", Some("apps"), "deployments", "");
        check("widgets", None, "widgets", "");
        check("*", None, "*", "");
        assert_eq!(What::parse("/metrics"), What::Path("/metrics".to_owned()));
    }
}
