//! Requests that failed before authorization, because the user may not impersonate.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation`. The filter answers 403
//! before the event gets `impersonatedUser` or an authorizer's decision. What the user wanted to do
//! as somebody else was never judged.

/// An impersonation that the API server refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedImpersonation {
    /// The user, group, UID or extra value asked for. Servers with constrained impersonation (1.36 on)
    /// often name only the kind.
    pub name: Option<String>,
    kind: &'static str,
}

impl RefusedImpersonation {
    /// Reads the message of a 403 whose event has neither an impersonated user nor a decision.
    ///
    /// The message is `users "alice" is forbidden: User "dave" cannot impersonate resource "users" …`,
    /// or `pods is forbidden: User "dave" cannot impersonate-on:user-info:list resource "pods" …`.
    pub fn parse(message: &str) -> Option<RefusedImpersonation> {
        let (subject, rest) = message.split_once(" is forbidden: User ")?;
        let (_, rest) = rest.rsplit_once("\" cannot impersonate")?;
        let (mode, rest) = rest.split_once(" resource ")?;
        let kind = match mode.rsplit(':').find(|part| is_mode(part)) {
            Some("serviceaccount") => "a service account",
            Some("arbitrary-node" | "associated-node") => "a node",
            _ => "a user",
        };
        if mode.starts_with("-on:") {
            return Some(RefusedImpersonation { name: None, kind });
        }

        let resource = rest.strip_prefix('"')?.split('"').next()?;
        let (_, quoted) = subject.split_once(' ')?;
        let name: String = serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned());
        let name = match resource {
            "users" | "nodes" => name,
            "serviceaccounts" => {
                let namespace = rest.rsplit_once("in the namespace \"")?.1.trim_end_matches('"');
                format!("system:serviceaccount:{namespace}:{name}")
            }
            "groups" => format!("group {name}"),
            "uids" => format!("UID {name}"),
            extra => format!("{} {name}", extra.strip_prefix("userextras/").unwrap_or(extra)),
        };
        Some(RefusedImpersonation { name: Some(name), kind })
    }

    /// As in `impersonate alice`, or `impersonate a user` where the server gives no name.
    pub fn label(&self) -> String {
        format!("impersonate {}", self.name.as_deref().unwrap_or(self.kind))
    }
}

fn is_mode(part: &str) -> bool {
    matches!(part, "serviceaccount" | "arbitrary-node" | "associated-node" | "user-info")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<&str>) {
        let label = RefusedImpersonation::parse(message).map(|refused| refused.label());
        assert_eq!(label.as_deref(), expected, "{message}");
    }

    #[test]
    fn names_whom_it_wanted_to_be() {
        check(
            r#"users "alice" is forbidden: User "dave" cannot impersonate resource "users" in API group "" at the cluster scope"#,
            Some("impersonate alice"),
        );
        check(
            r#"serviceaccounts "ci" is forbidden: User "dave" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "build""#,
            Some("impersonate system:serviceaccount:build:ci"),
        );
        check(
            r#"groups "system:masters" is forbidden: User "d" cannot impersonate resource "groups" in API group "" at the cluster scope"#,
            Some("impersonate group system:masters"),
        );
        check(
            r#"users.authentication.k8s.io "al\"ice" is forbidden: User "dave" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope"#,
            Some("impersonate al\"ice"),
        );
        check(
            r#"userextras.authentication.k8s.io/other "v" is forbidden: User "d" cannot impersonate resource "userextras/other" in API group "authentication.k8s.io" at the cluster scope"#,
            Some("impersonate other v"),
        );
    }

    #[test]
    fn constrained_impersonation_names_only_the_kind() {
        check(
            r#"pods is forbidden: User "dave" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "a""#,
            Some("impersonate a user"),
        );
        check(
            r#"pods "x" is forbidden: User "dave" cannot impersonate-on:serviceaccount:get resource "pods" in API group "" in the namespace "a""#,
            Some("impersonate a service account"),
        );
    }

    #[test]
    fn other_refusals_are_none() {
        check("", None);
        check(
            r#"pods is forbidden: User "dave" cannot list resource "pods" in API group "" in the namespace "a""#,
            None,
        );
        check("users is forbidden: User \" cannot impersonate", None);
    }
}
