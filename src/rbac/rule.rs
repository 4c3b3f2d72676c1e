//! Does a rule of a role cover a request.
//!
//! Source: `plugin/pkg/auth/authorizer/rbac/rbac.go` (`RuleAllows`) and
//! `pkg/apis/rbac/v1/evaluation_helpers.go`.

use super::PolicyRule;
use crate::event::{ResourceRequest, Target};

/// The wildcard of verbs, groups, resources and paths.
pub const ALL: &str = "*";

impl PolicyRule {
    /// Whether the rule allows `verb` on `target`.
    pub fn covers(&self, verb: &str, target: &Target<'_>) -> bool {
        self.covers_verb(verb)
            && match target {
                Target::Resource(it) => self.covers_resource(it) && self.covers_name(&it.name),
                Target::Path(path) => self.covers_path(path),
            }
    }

    pub fn covers_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|it| it == ALL || it == verb)
    }

    /// Group, resource and subresource; not the name.
    pub fn covers_resource(&self, it: &ResourceRequest<'_>) -> bool {
        self.covers_group(&it.api_group) && self.covers_kind(&it.resource, &it.subresource)
    }

    pub fn covers_group(&self, group: &str) -> bool {
        self.api_groups.iter().any(|it| it == ALL || it == group)
    }

    /// `*` covers every subresource too, `pods` none of its, and `*/scale` that of every resource.
    pub fn covers_kind(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|it| kind_covers(it, resource, subresource))
    }

    /// No names at all cover every name, also none.
    pub fn covers_name(&self, name: &str) -> bool {
        self.resource_names.is_empty() || self.resource_names.iter().any(|it| it == name)
    }

    pub fn covers_path(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|it| path_covers(it, path))
    }
}

/// Whether an entry of `resources` covers a resource.
pub fn kind_covers(entry: &str, resource: &str, subresource: &str) -> bool {
    if entry == ALL {
        return true;
    }
    if subresource.is_empty() {
        return entry == resource;
    }
    let kind = entry.strip_suffix(subresource).and_then(|it| it.strip_suffix('/'));
    kind.is_some_and(|it| it == ALL || it == resource)
}

/// Whether an entry of `nonResourceURLs` covers a path. Stars count at the end only.
pub fn path_covers(entry: &str, path: &str) -> bool {
    entry == ALL
        || entry == path
        || (entry.ends_with('*') && path.starts_with(entry.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn kind(entry: &str, combined: &str, expected: bool) {
        let (resource, subresource) = combined.split_once('/').unwrap_or((combined, ""));
        assert_eq!(kind_covers(entry, resource, subresource), expected, "{entry} {combined}");
    }

    #[test]
    fn kinds() {
        kind("*", "pods", true);
        kind("*", "pods/exec", true);
        kind("pods", "pods", true);
        kind("pods", "pods/exec", false);
        kind("pods/exec", "pods", false);
        kind("pods/exec", "pods/exec", true);
        kind("*/exec", "pods/exec", true);
        kind("*/exec", "pods", false);
        kind("*/*", "pods/exec", false);
        kind("pods/*", "pods/exec", false);
        kind("pods/", "pods", false);
    }

    #[test]
    fn paths() {
        for (entry, path, expected) in [
            ("*", "/x", true),
            ("/healthz", "/healthz", true),
            ("/healthz", "/healthz/", false),
            ("/healthz/*", "/healthz/ping", true),
            ("/healthz/*", "/healthz", false),
            ("/healthz**", "/healthzz", true),
            ("/a*c", "/abc", false),
        ] {
            assert_eq!(path_covers(entry, path), expected, "{entry} {path}");
        }
    }

    #[test]
    fn whole_rules() {
        let rule = |text: &str| serde_json::from_str::<PolicyRule>(text).expect(text);
        let covers = |text: &str, verb: &str, uri: &str| {
            rule(text).covers(verb, &Target::of_request(verb, uri))
        };
        let named = r#"{"apiGroups":[""],"resources":["secrets"],"resourceNames":["a"],"verbs":["get","list"]}"#;
        assert!(covers(named, "get", "/api/v1/namespaces/x/secrets/a"));
        assert!(!covers(named, "get", "/api/v1/namespaces/x/secrets/b"));
        assert!(!covers(named, "list", "/api/v1/namespaces/x/secrets"));
        assert!(covers(
            named,
            "list",
            "/api/v1/namespaces/x/secrets?fieldSelector=metadata.name%3Da"
        ));
        let paths = r#"{"nonResourceURLs":["/metrics"],"verbs":["get"]}"#;
        assert!(covers(paths, "get", "/metrics"));
        assert!(!covers(paths, "get", "/api/v1/pods"));
        assert!(!covers(r#"{"verbs":["*"]}"#, "get", "/api/v1/pods"));
        assert!(!covers(r#"{"apiGroups":["*"],"resources":["*"]}"#, "get", "/api/v1/pods"));
    }
}
