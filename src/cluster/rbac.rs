//! The RBAC objects of a live cluster.

use serde::de::DeserializeOwned;

use super::{Cluster, ClusterError};
use crate::rbac::{Named, Objects, Pod, Role, RoleBinding};

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
        match self.pages(path, None) {
            Ok(all) => Ok(Some(all)),
            Err(ClusterError::Forbidden { message } | ClusterError::Status { message, .. }) => {
                notes.push(format!("cannot list {kind}: {message}"));
                Ok(None)
            }
            Err(err) => Err(err),
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
