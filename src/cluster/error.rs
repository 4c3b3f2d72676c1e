//! What can go wrong between us and the API server.

use std::{error::Error as _, io, path::PathBuf, time::Duration};

use kube::config::KubeconfigError;
use serde::Deserialize;

/// No answer from the cluster, or a refusal.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no cluster is configured")]
    NoCluster,
    #[error("cannot read the kubeconfig `{}`: {reason}", path.display())]
    KubeconfigFile { path: PathBuf, reason: String },
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    // Where, but not what: the line may hold a token.
    #[error("cannot read the kubeconfig: it is wrong at line {line}, column {column}")]
    KubeconfigSyntax { line: u64, column: u64 },
    #[error("cannot start the network runtime")]
    Runtime(#[source] io::Error),
    #[error("this is no address of an API server")]
    Request(#[source] http::Error),
    #[error("cannot get credentials for `{server}`")]
    Credentials { server: String, source: Box<kube::Error> },
    #[error("`{server}` does not know these credentials (401 Unauthorized)")]
    Unauthorized { server: String },
    #[error("cannot trust the certificate of `{server}`: {reason}")]
    Certificate { server: String, reason: String },
    #[error("cannot reach the API server `{server}`: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("no answer from `{server}` within {} s", timeout.as_secs_f32())]
    Timeout { server: String, timeout: Duration },
    #[error("the answer of `{server}` cannot be read")]
    Broken { server: String, source: io::Error },
    #[error("the API server refuses: {message}")]
    Forbidden { message: String },
    #[error("the API server answers {code}: {message}")]
    Status { code: u16, message: String },
}

/// `k8s.io/apimachinery/pkg/apis/meta/v1.Status`: a refusal.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

impl ClusterError {
    pub(super) fn of(err: kube::Error, server: &str) -> ClusterError {
        let server = server.to_owned();
        match err {
            kube::Error::Api(status) if status.code == 401 => ClusterError::Unauthorized { server },
            kube::Error::Api(status) if status.code == 403 => {
                ClusterError::Forbidden { message: status.message }
            }
            kube::Error::Api(status) => {
                ClusterError::Status { code: status.code, message: status.message }
            }
            kube::Error::Auth(_) => ClusterError::Credentials { server, source: Box::new(err) },
            other => {
                let reason = root_cause(&other);
                let lower = reason.to_ascii_lowercase();
                if lower.contains("certificate") || lower.contains("unknownissuer") {
                    ClusterError::Certificate { server, reason }
                } else if lower.contains("auth exec") || lower.contains("exec-plugin") {
                    ClusterError::Credentials { server, source: Box::new(other) }
                } else {
                    ClusterError::Unreachable { server, reason }
                }
            }
        }
    }

    /// A status that is none of success, and the text that came with it: a `Status` where the API
    /// server wrote it.
    pub(super) fn refused(code: u16, text: &str) -> ClusterError {
        let message = serde_json::from_str::<Status>(text).map(|it| it.message);
        let message = message.unwrap_or_else(|_| format!("status {code}"));
        match code {
            403 => ClusterError::Forbidden { message },
            _ => ClusterError::Status { code, message },
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let hint = match self {
            ClusterError::NoCluster => {
                "name log files or folders, or a cluster with --kubeconfig, --context or KUBECONFIG"
            }
            ClusterError::KubeconfigFile { .. } => {
                "name another file with --kubeconfig, or leave the flag out for $KUBECONFIG or ~/.kube/config"
            }
            ClusterError::Kubeconfig(_) | ClusterError::KubeconfigSyntax { .. } => {
                "`kubectl config view` shows what is configured; --context chooses another context"
            }
            ClusterError::Credentials { .. } => {
                "run `kubectl get nodes` once: it asks for a login where one is needed"
            }
            ClusterError::Unauthorized { .. } => {
                "the token or certificate is wrong or has expired: log in again, `kubectl auth whoami` shows whether it worked"
            }
            ClusterError::Certificate { .. } => {
                "name the right authority with --certificate-authority, or the name in the certificate with --tls-server-name"
            }
            ClusterError::Unreachable { .. }
            | ClusterError::Timeout { .. }
            | ClusterError::Broken { .. } => {
                "check the network and proxy settings (`kubectl get --raw /readyz`); --request-timeout sets how long to wait"
            }
            ClusterError::Forbidden { .. } => {
                "`kubectl auth whoami` shows as whom you ask, --as or --context asks as somebody else"
            }
            ClusterError::Status { .. } => {
                "`kubectl get --raw /readyz?verbose` shows how the API server is; try again"
            }
            ClusterError::Runtime(_) => "is the number of processes or threads limited here?",
            ClusterError::Request(_) => "write it as in --server https://10.0.0.1:6443",
        };
        hint.to_owned()
    }
}

/// The last cause of an error: the layers above only repeat that something failed.
fn root_cause(err: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = err;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl From<KubeconfigError> for ClusterError {
    fn from(err: KubeconfigError) -> ClusterError {
        // No file, and nothing in it, mean the same to a person.
        let is_missing = matches!(&err, KubeconfigError::ReadConfig(cause, _) if cause.kind() == io::ErrorKind::NotFound);
        if is_missing || matches!(err, KubeconfigError::CurrentContextNotSet) {
            let _ = err.source();
            return ClusterError::NoCluster;
        }
        if let KubeconfigError::Parse(cause) = &err {
            let (line, column) = cause.location().map_or((0, 0), |it| (it.line(), it.column()));
            return ClusterError::KubeconfigSyntax { line, column };
        }
        ClusterError::Kubeconfig(Box::new(err))
    }
}
