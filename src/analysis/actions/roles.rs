//! Which part of the cluster sent a request: a person's client, or machinery.
//!
//! The authenticated identity decides. The user agent is chosen by the client; it only separates tools.

/// The part that an identity plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A client that starts actions: a person, a script, a pipeline.
    Initiator,
    ApiServer,
    Scheduler,
    ControllerManager,
    Kubelet,
    Proxy,
    /// A controller of the controller manager, by its service account in `kube-system`.
    Controller(Controller),
    /// A program that runs as a service account outside `kube-system`.
    Operator,
}

/// The controllers that ship with Kubernetes, as far as a rule names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Controller {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    ReplicationController,
    Endpoint,
    EndpointSlice,
    Disruption,
    HorizontalPodAutoscaler,
    ResourceQuota,
    PvcProtection,
    PvProtection,
    VolumeBinder,
    Node,
    TtlAfterFinished,
    Certificate,
    AttachDetach,
    TaintEviction,
    PodGarbageCollector,
    GarbageCollector,
    Namespace,
    ServiceAccount,
    CaPublisher,
    Other,
}

impl Controller {
    /// The controller behind the service account `name` of `kube-system`.
    pub fn from_account(name: &str) -> Controller {
        match name {
            "deployment-controller" => Controller::Deployment,
            "replicaset-controller" => Controller::ReplicaSet,
            "statefulset-controller" => Controller::StatefulSet,
            "daemon-set-controller" => Controller::DaemonSet,
            "job-controller" => Controller::Job,
            "cronjob-controller" => Controller::CronJob,
            "replication-controller" => Controller::ReplicationController,
            "endpoint-controller" => Controller::Endpoint,
            "endpointslice-controller" | "endpointslicemirroring-controller" => {
                Controller::EndpointSlice
            }
            "disruption-controller" => Controller::Disruption,
            "horizontal-pod-autoscaler" => Controller::HorizontalPodAutoscaler,
            "resourcequota-controller" => Controller::ResourceQuota,
            "pvc-protection-controller" => Controller::PvcProtection,
            "pv-protection-controller" => Controller::PvProtection,
            "persistent-volume-binder" => Controller::VolumeBinder,
            "node-controller" => Controller::Node,
            "ttl-after-finished-controller" => Controller::TtlAfterFinished,
            "certificate-controller" => Controller::Certificate,
            "attachdetach-controller" => Controller::AttachDetach,
            "taint-eviction-controller" => Controller::TaintEviction,
            "pod-garbage-collector" => Controller::PodGarbageCollector,
            "generic-garbage-collector" => Controller::GarbageCollector,
            "namespace-controller" => Controller::Namespace,
            "service-account-controller" => Controller::ServiceAccount,
            "root-ca-cert-publisher" | "service-ca-cert-publisher" => Controller::CaPublisher,
            _ => Controller::Other,
        }
    }

    /// The resource that this controller reconciles, where it is one.
    pub fn reconciles(self) -> Option<&'static str> {
        Some(match self {
            Controller::Deployment => "deployments",
            Controller::ReplicaSet => "replicasets",
            Controller::StatefulSet => "statefulsets",
            Controller::DaemonSet => "daemonsets",
            Controller::Job | Controller::TtlAfterFinished => "jobs",
            Controller::CronJob => "cronjobs",
            Controller::ReplicationController => "replicationcontrollers",
            Controller::Endpoint | Controller::EndpointSlice => "services",
            Controller::Disruption => "poddisruptionbudgets",
            Controller::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Controller::ResourceQuota => "resourcequotas",
            Controller::PvcProtection | Controller::VolumeBinder => "persistentvolumeclaims",
            Controller::Node => "nodes",
            Controller::Certificate => "certificatesigningrequests",
            Controller::AttachDetach
            | Controller::TaintEviction
            | Controller::PodGarbageCollector => "pods",
            _ => return None,
        })
    }
}

/// The tool that a user agent names: the text before its first `/` or space.
pub fn tool(user_agent: &str) -> &str {
    user_agent.split(['/', ' ']).next().unwrap_or_default()
}

/// Tools that people start by hand. Their requests start actions whatever identity they use.
fn is_hand_tool(tool: &str) -> bool {
    matches!(
        tool,
        "kubectl" | "Helm" | "helm" | "curl" | "k9s" | "oc" | "Terraform" | "argocd" | "flux"
    ) || tool.starts_with("kubectl-")
}

/// The role of an identity.
pub fn role(username: &str, is_impersonated: bool, user_agent: &str) -> Role {
    if is_impersonated || is_hand_tool(tool(user_agent)) {
        return Role::Initiator;
    }
    match username {
        "system:apiserver" => Role::ApiServer,
        "system:kube-scheduler" => Role::Scheduler,
        "system:kube-controller-manager" => Role::ControllerManager,
        "system:kube-proxy" => Role::Proxy,
        _ => {
            if username.starts_with("system:node:") {
                return Role::Kubelet;
            }
            let Some(account) = username.strip_prefix("system:serviceaccount:") else {
                return Role::Initiator;
            };
            match account.split_once(':') {
                Some(("kube-system", "kube-proxy")) => Role::Proxy,
                Some(("kube-system", name)) => Role::Controller(Controller::from_account(name)),
                _ => Role::Operator,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(username: &str, agent: &str, expected: Role) {
        assert_eq!(role(username, false, agent), expected, "{username} with {agent}");
    }

    #[test]
    fn a_person_starts_actions() {
        check("alice", "kubectl/v1.36.2 (linux/amd64) kubernetes/98b3519", Role::Initiator);
        check("alice", "python-requests/2.31", Role::Initiator);
    }

    #[test]
    fn identity_decides_and_not_the_agent() {
        check("mallory", "kube-controller-manager/v1.36.2", Role::Initiator);
        check("system:kube-scheduler", "kube-scheduler/v1.36.2", Role::Scheduler);
    }

    #[test]
    fn a_node_certificate_used_with_kubectl_starts_actions() {
        check("system:node:cp-1", "kubelet/v1.36.2", Role::Kubelet);
        check("system:node:cp-1", "kubectl/v1.36.2", Role::Initiator);
    }

    #[test]
    fn service_accounts_of_kube_system_are_controllers() {
        check(
            "system:serviceaccount:kube-system:deployment-controller",
            "kube-controller-manager/v1.36.2",
            Role::Controller(Controller::Deployment),
        );
        check("system:serviceaccount:shop:operator", "operator/v1", Role::Operator);
    }
}
