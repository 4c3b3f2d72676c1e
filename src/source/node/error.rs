//! Why a node's log cannot be read, and what to do about it.

use std::{io, time::Duration};

use serde::Deserialize;

use crate::cluster::ClusterError;

/// A node whose log cannot be read, or a cluster whose nodes cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum NodeLogError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("no control-plane node in this cluster{}", told(.why))]
    NoControlPlane { why: String, hint: String },
    #[error("cannot find the control-plane nodes")]
    CannotList(#[source] ClusterError),
    #[error("there is no node `{node}`")]
    NoSuchNode { node: String },
    #[error("no permission to read logs of node `{node}`: {message}")]
    Forbidden { node: String, message: String },
    #[error("the kubelet of node `{node}` refuses the API server: {message}")]
    KubeletForbidden { node: String, message: String },
    #[error("the kubelet of node `{node}` serves no logs: {message}")]
    LogsDisabled { node: String, message: String },
    #[error("the kubelet of node `{node}` has its debugging handlers switched off: {message}")]
    HandlersDisabled { node: String, message: String },
    #[error("the API server cannot reach the kubelet of node `{node}`: {message}")]
    KubeletUnreachable { node: String, message: String },
    #[error("node `{node}` has no `/var/log/{path}`")]
    NoSuchFile { node: String, path: String },
    #[error("no audit log found on node `{node}`{}", told(.why))]
    NoLog { node: String, why: String },
    #[error("the audit log of node `{node}` is at `{path}`, outside /var/log")]
    OutsideVarLog { node: String, path: String },
    #[error("node `{node}` runs k3s or RKE2, whose audit log is at `{path}`, if it has one")]
    Embedded { node: String, path: &'static str },
    #[error("the API server of node `{node}` writes its audit log to standard output")]
    Stdout { node: String },
    #[error("the API server of node `{node}` writes no audit log (no --audit-log-path)")]
    AuditOff { node: String },
    #[error(
        "the API server of node `{node}` sends its events to a webhook only (no --audit-log-path)"
    )]
    WebhookOnly { node: String },
    #[error("node `{node}` answers {status} for `/var/log/{path}`: {message}")]
    Status { node: String, path: String, status: u16, message: String },
    #[error(
        "node `{node}` answers with another range of `/var/log/{path}` than bytes from {start} on"
    )]
    WrongRange { node: String, path: String, start: u64 },
    #[error("node `{node}` answers with all of `/var/log/{path}` where a range was asked for")]
    NoRanges { node: String, path: String },
    #[error("the listing of `/var/log/{path}` on node `{node}` is larger than 16 MiB")]
    LongListing { node: String, path: String },
    #[error("the log in `/var/log/{path}` on node `{node}` has {files} files")]
    TooManyFiles { node: String, path: String, files: usize },
    #[error("`{node}` cannot be the name of a node")]
    BadNodeName { node: String },
    #[error(
        "node `{node}` answers {status}, a redirect, for `/var/log/{path}`; redirects are not followed"
    )]
    Redirect { node: String, path: String, status: u16 },
    #[error("`/var/log/{path}` of node `{node}` was rotated away while it was read")]
    RotatedAway { node: String, path: String },
    #[error(
        "node `{node}` sent nothing for {} s (asked through `{server}`)",
        timeout.as_secs_f32()
    )]
    Silent { node: String, server: String, timeout: Duration },
    #[error("the connection to node `{node}` broke while reading `/var/log/{path}`")]
    Broken { node: String, path: String, source: io::Error },
}

fn told(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

/// What the API server says of a failure; the kubelet answers in plain text.
#[derive(Deserialize)]
struct Status {
    kind: String,
    message: String,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    kind: Option<String>,
}

impl NodeLogError {
    /// What a status that tells of a failure, with this body, means for `/var/log/PATH` of a node.
    pub(super) fn of(node: &str, path: &str, status: u16, body: &str) -> NodeLogError {
        let node = node.to_owned();
        let from_api_server =
            serde_json::from_str::<Status>(body).ok().filter(|it| it.kind == "Status");
        let message = match &from_api_server {
            Some(it) => it.message.clone(),
            None => body.trim().chars().take(300).collect(),
        };
        let is_node = from_api_server
            .as_ref()
            .and_then(|it| it.details.as_ref()?.kind.as_deref())
            .is_some_and(|kind| kind == "nodes");
        match (status, from_api_server.is_some()) {
            (403, true) => NodeLogError::Forbidden { node, message },
            (403, false) => NodeLogError::KubeletForbidden { node, message },
            (404, true) if is_node => NodeLogError::NoSuchNode { node },
            (404, false) => NodeLogError::NoSuchFile { node, path: path.to_owned() },
            (405, _) if message.contains("logs endpoint is disabled") => {
                NodeLogError::LogsDisabled { node, message }
            }
            (405, _) if message.contains("ebug endpoints are disabled") => {
                NodeLogError::HandlersDisabled { node, message }
            }
            (301..=308, _) => NodeLogError::Redirect { node, path: path.to_owned(), status },
            (500 | 502..=504, _) => NodeLogError::KubeletUnreachable { node, message },
            _ => NodeLogError::Status { node, path: path.to_owned(), status, message },
        }
    }

    /// Whether waiting may help: a node or an API server that restarts.
    pub fn may_pass(&self) -> bool {
        match self {
            NodeLogError::KubeletUnreachable { .. }
            | NodeLogError::Silent { .. }
            | NodeLogError::Broken { .. } => true,
            NodeLogError::Status { status, .. } => *status >= 500 || *status == 429,
            NodeLogError::Cluster(err) => {
                matches!(err, ClusterError::Unreachable { .. } | ClusterError::Timeout { .. })
            }
            _ => false,
        }
    }

    /// The node that it is about; `None` if it is about the API server.
    pub fn node(&self) -> Option<&str> {
        match self {
            NodeLogError::Cluster(_)
            | NodeLogError::NoControlPlane { .. }
            | NodeLogError::CannotList(_) => None,
            NodeLogError::NoSuchNode { node }
            | NodeLogError::Forbidden { node, .. }
            | NodeLogError::KubeletForbidden { node, .. }
            | NodeLogError::LogsDisabled { node, .. }
            | NodeLogError::HandlersDisabled { node, .. }
            | NodeLogError::KubeletUnreachable { node, .. }
            | NodeLogError::NoSuchFile { node, .. }
            | NodeLogError::NoLog { node, .. }
            | NodeLogError::OutsideVarLog { node, .. }
            | NodeLogError::Embedded { node, .. }
            | NodeLogError::Stdout { node }
            | NodeLogError::AuditOff { node }
            | NodeLogError::WebhookOnly { node }
            | NodeLogError::Status { node, .. }
            | NodeLogError::WrongRange { node, .. }
            | NodeLogError::NoRanges { node, .. }
            | NodeLogError::LongListing { node, .. }
            | NodeLogError::TooManyFiles { node, .. }
            | NodeLogError::BadNodeName { node }
            | NodeLogError::Redirect { node, .. }
            | NodeLogError::RotatedAway { node, .. }
            | NodeLogError::Silent { node, .. }
            | NodeLogError::Broken { node, .. } => Some(node),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let elsewhere = "copy the log from the node by other means and give its path";
        match self {
            NodeLogError::Cluster(err) | NodeLogError::CannotList(err @ ClusterError::Unreachable { .. }) => {
                err.hint()
            }
            NodeLogError::CannotList(_) => {
                "name them with --node, or get permission to `list` nodes".into()
            }
            NodeLogError::NoControlPlane { hint, .. } => hint.clone(),
            NodeLogError::NoSuchNode { .. } => "`kubectl get nodes` shows their names".into(),
            NodeLogError::Forbidden { .. } => {
                "it needs `get` on `nodes/proxy`, which also lets its owner run commands in every pod \
                 of the node: rather have an administrator copy the log, and give its path"
                    .into()
            }
            NodeLogError::KubeletForbidden { .. } => {
                "the API server's own user needs the ClusterRole `system:kubelet-api-admin`".into()
            }
            NodeLogError::LogsDisabled { .. } => {
                format!("the kubelet is configured with `enableSystemLogHandler: false`; {elsewhere}")
            }
            NodeLogError::HandlersDisabled { .. } => {
                format!("the kubelet is configured with `enableDebuggingHandlers: false`; {elsewhere}")
            }
            NodeLogError::KubeletUnreachable { .. } => {
                "is the node up (`kubectl get nodes`), and may the API server reach its port 10250?".into()
            }
            NodeLogError::NoSuchFile { .. } | NodeLogError::NoLog { .. } => {
                "name the file with --log-path; `kubectl audit doctor` shows where the API server writes".into()
            }
            NodeLogError::OutsideVarLog { .. } => {
                format!("the kubelet serves only what is below /var/log; {elsewhere}")
            }
            NodeLogError::Embedded { .. } => format!(
                "set `kube-apiserver-arg: audit-log-path=/var/log/kubernetes/audit.log` in its configuration, \
                 for the kubelet serves only what is below /var/log; or {elsewhere}"
            ),
            NodeLogError::Stdout { node } => format!(
                "it is in the pod's log: kubectl logs -n kube-system kube-apiserver-{node} | kubectl audit stats -"
            ),
            NodeLogError::AuditOff { .. } => {
                "auditing is set up with --audit-policy-file and --audit-log-path".into()
            }
            NodeLogError::WebhookOnly { .. } => {
                "read the events where the receiver of --audit-webhook-config-file keeps them, and give the files; \
                 or set --audit-log-path too".into()
            }
            NodeLogError::RotatedAway { .. } => {
                "the log rotates faster than it can be read: raise --audit-log-maxsize or --audit-log-maxbackup".into()
            }
            NodeLogError::Silent { .. } => {
                "its kubelet or the way to it hangs (`kubectl get nodes`); --node-timeout sets how long to wait".into()
            }
            NodeLogError::WrongRange { .. }
            | NodeLogError::NoRanges { .. }
            | NodeLogError::Redirect { .. } => {
                format!("a proxy between here and the kubelet changes requests or answers: connect to an API server directly with --server, or {elsewhere}")
            }
            NodeLogError::LongListing { .. } | NodeLogError::TooManyFiles { .. } => {
                format!("is that the folder of an audit log? Name the file with --log-path, or {elsewhere}")
            }
            NodeLogError::BadNodeName { .. } => {
                "`kubectl get nodes` shows their names; if this is one of them, do not trust this API server".into()
            }
            NodeLogError::Broken { .. } => "what could be read before that was used; try again".into(),
            NodeLogError::Status { .. } => {
                "`kubectl audit doctor` looks at the node; or copy the log from it, and give its path".into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        let err = NodeLogError::of("cp-1", "kubernetes/audit/audit.log", status, body);
        assert_eq!(err.to_string(), expected);
    }

    #[test]
    fn forbidden_by_the_api_server() {
        check(
            403,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"nodes \"cp-1\" is forbidden: User \"alice\" cannot get resource \"nodes/proxy\" in API group \"\" at the cluster scope","reason":"Forbidden","details":{"name":"cp-1","kind":"nodes"},"code":403}"#,
            "no permission to read logs of node `cp-1`: nodes \"cp-1\" is forbidden: User \"alice\" \
             cannot get resource \"nodes/proxy\" in API group \"\" at the cluster scope",
        );
    }
    #[test]
    fn forbidden_by_the_kubelet() {
        check(
            403,
            "Forbidden (user=carol, verb=get, resource=nodes, subresource(s)=[log])",
            "the kubelet of node `cp-1` refuses the API server: Forbidden (user=carol, verb=get, \
             resource=nodes, subresource(s)=[log])",
        );
    }
    #[test]
    fn no_node() {
        check(
            404,
            r#"{"kind":"Status","message":"nodes \"nosuch\" not found","details":{"name":"nosuch","kind":"nodes"},"code":404}"#,
            "there is no node `cp-1`",
        );
    }
    #[test]
    fn no_file() {
        check(
            404,
            "404 page not found\n",
            "node `cp-1` has no `/var/log/kubernetes/audit/audit.log`",
        );
    }
    #[test]
    fn switched_off() {
        check(
            405,
            "logs endpoint is disabled.\n",
            "the kubelet of node `cp-1` serves no logs: logs endpoint is disabled.",
        );
        check(
            405,
            "Debug endpoints are disabled.",
            "the kubelet of node `cp-1` has its debugging handlers switched off: Debug endpoints are disabled.",
        );
    }
    #[test]
    fn unreachable() {
        for status in [502, 503, 504] {
            check(
                status,
                r#"{"kind":"Status","message":"error trying to reach service: dial tcp 10.0.0.1:10250: connect: connection refused","code":503}"#,
                "the API server cannot reach the kubelet of node `cp-1`: error trying to reach service: \
                 dial tcp 10.0.0.1:10250: connect: connection refused",
            );
        }
    }
    #[test]
    fn anything_else() {
        check(418, "x", "node `cp-1` answers 418 for `/var/log/kubernetes/audit/audit.log`: x");
    }
}
