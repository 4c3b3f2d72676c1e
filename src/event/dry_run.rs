//! Whether a request was a dry run: nothing it asked for was stored.
//!
//! Source: `apimachinery/pkg/apis/meta/v1`, `CreateOptions` and its siblings;
//! `apiserver/pkg/endpoints/handlers/delete.go` for the options in a body.

use super::uri;

/// What of a request says whether it was a dry run.
#[derive(Debug, Clone, Copy, Default)]
pub struct DryRun<'a> {
    pub verb: &'a str,
    /// Empty for a request that names no resource.
    pub resource: &'a str,
    pub subresource: &'a str,
    pub request_uri: &'a str,
    /// Whether the recorded `DeleteOptions` ask for a dry run; `None` if no body was recorded.
    pub options: Option<bool>,
    /// GKE's label `command.gke.io/dryRun`.
    pub label: &'a str,
}

/// GKE's label.
pub const LABEL: &str = "command.gke.io/dryRun";

/// Subresources that act at once: the API server ignores `dryRun` for them. Who adds it to the URI of
/// an exec must not hide the session by it.
const ACTING: [&str; 5] = ["exec", "attach", "portforward", "proxy", "token"];

impl DryRun<'_> {
    /// Whether the API server stored nothing for it.
    pub fn is_dry_run(&self) -> bool {
        if !matches!(self.label, "" | "false") {
            return true;
        }
        let is_delete = matches!(self.verb, "delete" | "deletecollection");
        let is_write = is_delete || matches!(self.verb, "create" | "update" | "patch");
        if !is_write || self.resource.is_empty() || ACTING.contains(&self.subresource) {
            return false;
        }

        // Of a delete with a body, the query does not count.
        match self.options {
            Some(is_dry) if is_delete => is_dry,
            Some(true) if self.subresource == "eviction" => true,
            _ => asks(self.request_uri),
        }
    }
}

/// Whether the query asks for a dry run.
fn asks(request_uri: &str) -> bool {
    let (_, query) = uri::split(request_uri);
    // Escapes aside, which a name may have, most queries are done with here.
    (query.contains("dryRun") || query.contains('%'))
        && uri::parameters(query).any(|(name, value)| name == "dryRun" && value == "All")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verb: &str, resource: &str, query: &str, options: Option<bool>, expected: bool) {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let request_uri = &format!("/api/v1/namespaces/a/{resource}/b?{query}");
        let request =
            DryRun { verb, resource, subresource, request_uri, options, ..DryRun::default() };
        assert_eq!(request.is_dry_run(), expected, "{verb} {resource} {query} {options:?}");
    }

    #[test]
    fn asked_for_in_the_uri() {
        check("patch", "configmaps", "dryRun=All&force=true", None, true);
        check("create", "configmaps", "fieldManager=x&dryRun=All", Some(false), true);
        check("update", "configmaps", "dry%52un=All", None, true);
        check("patch", "configmaps", "fieldManager=dryRun", None, false);
        check("patch", "configmaps", "dryRun=", None, false);
    }

    #[test]
    fn asked_for_in_the_body() {
        check("delete", "pods", "", Some(true), true);
        check("deletecollection", "pods", "", Some(true), true);
        check("create", "pods/eviction", "", Some(true), true);
        check("create", "pods", "", Some(true), false);
    }

    #[test]
    fn a_body_of_a_delete_wins() {
        check("delete", "pods", "dryRun=All", Some(false), false);
        check("delete", "pods", "dryRun=All", None, true);
    }

    #[test]
    fn what_acts_at_once_is_never_one() {
        check("create", "pods/exec", "dryRun=All", None, false);
        check("get", "secrets", "dryRun=All", None, false);
        check("create", "serviceaccounts/token", "dryRun=All", None, false);
        check("create", "", "dryRun=All", None, false);
    }

    #[test]
    fn told_by_gke() {
        let told = |label| DryRun { label, ..DryRun::default() }.is_dry_run();
        assert_eq!(["true", "All", "false", ""].map(told), [true, true, false, false]);
    }
}
