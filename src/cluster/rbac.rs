//! The RBAC objects of a live cluster, page by page.

use serde::{Deserialize, de::DeserializeOwned};

use super::{Cluster, ClusterError};
use crate::rbac::{Named, Objects, Pod, Role, RoleBinding};

/// Objects asked for at once: kubectl's own chunk.
const PAGE: usize = 500;
/// A page that is larger than this is no page.
const MAX_PAGE: u64 = 256 << 20;
/// How often a list may change away under the reader.
const MAX_RESTARTS: u32 = 3;

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

impl Cluster {
    /// Everything that says who may do what, and the service accounts, nodes and pods that use it. A
    /// kind that may not be listed is told in the notes; the others are still given.
    ///
    /// # Errors
    /// If the API server cannot be reached, or no role and no binding may be listed.
    pub fn rbac(&self) -> Result<Objects, ClusterError> {
        const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
        let mut objects = Objects::default();
        let mut notes = Vec::new();
        let path = |kind: &str| format!("{RBAC}/{kind}");
        let roles = |kind, notes: &mut _| self.some::<Role>(&path(kind), notes);
        let bindings = |kind, notes: &mut _| self.some::<RoleBinding>(&path(kind), notes);
        objects.cluster_roles = roles("clusterroles", &mut notes)?.unwrap_or_default();
        objects.roles = roles("roles", &mut notes)?.unwrap_or_default();
        objects.cluster_role_bindings =
            bindings("clusterrolebindings", &mut notes)?.unwrap_or_default();
        objects.role_bindings = bindings("rolebindings", &mut notes)?.unwrap_or_default();
        objects.is_partial = !notes.is_empty();
        if notes.len() == 4 {
            return Err(ClusterError::Forbidden { message: notes.remove(0) });
        }
        objects.service_accounts = self.some::<Named>("/api/v1/serviceaccounts", &mut notes)?;
        objects.nodes = self.some::<Named>("/api/v1/nodes", &mut notes)?;
        objects.pods = self.some::<Pod>("/api/v1/pods", &mut notes)?;
        objects.notes = notes;
        Ok(objects)
    }

    /// All objects below a path, or `None` and a note if they may not be listed.
    fn some<T: DeserializeOwned>(
        &self,
        path: &str,
        notes: &mut Vec<String>,
    ) -> Result<Option<Vec<T>>, ClusterError> {
        let kind = path.rsplit('/').next().unwrap_or(path);
        let broken = |source| ClusterError::Broken { server: self.server().to_owned(), source };
        let (mut all, mut next, mut restarts) = (Vec::new(), String::new(), 0);
        loop {
            let mut url = format!("{path}?limit={PAGE}");
            if !next.is_empty() {
                let token = percent_encoding::utf8_percent_encode(
                    &next,
                    percent_encoding::NON_ALPHANUMERIC,
                );
                url += &format!("&continue={token}");
            }
            let reply = self.get(&url, None)?;
            let status = reply.status;
            let text = reply.text(MAX_PAGE).map_err(broken)?;
            // The list changed so much that its pages are gone: once more from the start.
            if status == 410 && restarts < MAX_RESTARTS {
                (all, next, restarts) = (Vec::new(), String::new(), restarts + 1);
                continue;
            }
            if status != 200 {
                let message = serde_json::from_str::<Status>(&text).map(|it| it.message);
                let message = message.unwrap_or_else(|_| format!("status {status}"));
                notes.push(format!("cannot list {kind}: {message}"));
                return Ok(None);
            }
            let page: List<T> = serde_json::from_str(&text).map_err(|err| broken(err.into()))?;
            all.extend(page.items);
            match page.metadata.next.filter(|it| !it.is_empty()) {
                Some(token) => next = token,
                None => return Ok(Some(all)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Server, State};

    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

    #[test]
    fn a_kind_that_may_not_be_listed_is_told() {
        let server = Server::start(State::default());
        for kind in ["clusterroles", "roles", "clusterrolebindings"] {
            server.answer(
                &format!("{RBAC}/{kind}"),
                200,
                r#"{"items":[{"metadata":{"name":"a"}}]}"#,
            );
        }
        let refused = r#"{"kind":"Status","message":"rolebindings is forbidden","code":403}"#;
        server.answer(&format!("{RBAC}/rolebindings"), 403, refused);
        for kind in ["serviceaccounts", "nodes", "pods"] {
            server.answer(&format!("/api/v1/{kind}"), 200, r#"{"items":[]}"#);
        }
        let objects = server.cluster().rbac().unwrap();
        assert_eq!(objects.cluster_roles[0].metadata.name, "a");
        assert!(objects.is_partial);
        assert_eq!(objects.notes, ["cannot list rolebindings: rolebindings is forbidden"]);
        assert_eq!(objects.pods, Some(Vec::new()));
    }

    #[test]
    fn nothing_may_be_listed() {
        let server = Server::start(State::default());
        for kind in ["clusterroles", "roles", "clusterrolebindings", "rolebindings"] {
            server.answer(&format!("{RBAC}/{kind}"), 403, r#"{"message":"no"}"#);
        }
        let err = server.cluster().rbac().unwrap_err();
        assert_eq!(err.to_string(), "the API server refuses: cannot list clusterroles: no");
    }
}
