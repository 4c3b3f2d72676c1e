//! What the values of flags can be: what this program knows, what stands in the kubeconfig, and what the
//! cluster says in time.

use std::{
    ffi::{OsStr, OsString},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use clap::{Arg, Args, Command, FromArgMatches};
use clap_complete::{CompletionCandidate, engine::ArgValueCompleter};

use super::super::cluster_args::ClusterArgs;
use crate::{
    cluster::{
        Cluster, Connection, Names,
        objects::{Listed, Namespace, Node},
    },
    event::KNOWN_KEYS,
    policy::load::{KubeVersion, OLDEST},
};

/// How long a cluster may take; the whole answer must be there within 300 ms.
const PATIENCE: Duration = Duration::from_millis(200);

/// The verbs of the API, and those of paths that are no resources.
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "impersonate",
    "list",
    "patch",
    "post",
    "put",
    "update",
    "watch",
];

/// Codes that API servers answer with.
const CODES: &[(&str, &str)] = &[
    ("101", "a session was opened"),
    ("200", "OK"),
    ("201", "created"),
    ("202", "accepted"),
    ("4xx", "all errors of clients"),
    ("400", "bad request"),
    ("401", "not authenticated"),
    ("403", "forbidden"),
    ("404", "not found"),
    ("405", "method not allowed"),
    ("408", "timeout"),
    ("409", "conflict"),
    ("410", "gone"),
    ("422", "invalid"),
    ("429", "too many requests"),
    ("5xx", "all errors of servers"),
    ("500", "internal error"),
    ("503", "not available"),
    ("504", "timeout"),
];

/// Resources of Kubernetes, and the subresources that people ask about.
const RESOURCES: &[&str] = &[
    "apiservices",
    "bindings",
    "certificatesigningrequests",
    "certificatesigningrequests/approval",
    "clusterrolebindings",
    "clusterroles",
    "componentstatuses",
    "configmaps",
    "controllerrevisions",
    "cronjobs",
    "csidrivers",
    "csinodes",
    "csistoragecapacities",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "deployments/scale",
    "deviceclasses",
    "endpoints",
    "endpointslices",
    "events",
    "flowschemas",
    "horizontalpodautoscalers",
    "ingressclasses",
    "ingresses",
    "ipaddresses",
    "jobs",
    "leases",
    "limitranges",
    "localsubjectaccessreviews",
    "mutatingwebhookconfigurations",
    "namespaces",
    "namespaces/finalize",
    "networkpolicies",
    "nodes",
    "nodes/proxy",
    "nodes/status",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "pods/attach",
    "pods/binding",
    "pods/ephemeralcontainers",
    "pods/eviction",
    "pods/exec",
    "pods/log",
    "pods/portforward",
    "pods/proxy",
    "pods/resize",
    "pods/status",
    "podtemplates",
    "priorityclasses",
    "prioritylevelconfigurations",
    "replicasets",
    "replicasets/scale",
    "replicationcontrollers",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourcequotas",
    "resourceslices",
    "rolebindings",
    "roles",
    "runtimeclasses",
    "secrets",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
    "serviceaccounts",
    "serviceaccounts/token",
    "servicecidrs",
    "services",
    "services/proxy",
    "services/status",
    "statefulsets",
    "statefulsets/scale",
    "storageclasses",
    "subjectaccessreviews",
    "tokenreviews",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
    "volumeattachments",
];

const DURATIONS: &[(&str, &str)] = &[
    ("15m", "minutes back"),
    ("1h", "an hour back"),
    ("6h", "hours back"),
    ("1d", "a day back"),
    ("1w", "a week back"),
];

const STEPS: &[(&str, &str)] = &[
    ("1m", "each minute"),
    ("5m", "each five minutes"),
    ("1h", "each hour"),
    ("1d", "each day, by UTC"),
];

/// Fields of objects that people ask about.
const FIELDS: &[&str] = &[
    "data",
    "metadata.annotations",
    "metadata.finalizers",
    "metadata.labels",
    "metadata.ownerReferences",
    "rules",
    "spec",
    "spec.containers.image",
    "spec.replicas",
    "spec.template",
    "spec.template.spec.containers.env",
    "spec.template.spec.containers.image",
    "status",
    "subjects",
];

type Candidates = Vec<CompletionCandidate>;

/// Which cluster the line speaks of.
pub struct Values(Arc<Connection>);

impl Values {
    /// From the words before the cursor.
    pub fn new(words: &[OsString]) -> Values {
        Values(Arc::new(connection(words).unwrap_or_default()))
    }

    /// What completes this argument, if its values are known to anybody.
    pub fn completer(&self, arg: &Arg) -> Option<ArgValueCompleter> {
        let connection = self.0.clone();
        Some(match arg.get_id().as_str() {
            "context" => of(move |it| starting(&names(&connection).contexts, it)),
            "cluster" => of(move |it| starting(&names(&connection).clusters, it)),
            "user" => of(move |it| starting(&names(&connection).users, it)),
            "namespace" => of(move |it| starting(&asked::<Namespace>(&connection), it)),
            "names" | "node" => of(move |it| starting(&asked::<Node>(&connection), it)),
            "verb" => of(|it| listed(VERBS, it)),
            "resource" => of(|it| listed(RESOURCES, it)),
            "target" => of(targets),
            "field" => of(|it| starting(FIELDS, it)),
            "at" => of(|it| explained(DURATIONS, it)),
            "keys" => of(|it| starting(plain_keys(), it)),
            "filters" => of(expressions),
            "code" => of(|it| explained(CODES, it)),
            "since" | "until" => of(|it| explained(DURATIONS, it)),
            "timezone" => of(timezones),
            "interval" | "slower_than" => of(|it| explained(STEPS, it)),
            "kube_version" => of(versions),
            _ => return None,
        })
    }
}

/// What a history can be of: `all`, or a resource, mostly with a name behind it.
fn targets(current: &str) -> Candidates {
    let is_whole = |it: &&&str| !it.contains('/');
    let whole: Vec<&str> = RESOURCES.iter().filter(is_whole).copied().chain(["all"]).collect();
    listed(&whole, current)
}

fn of(values: impl Fn(&str) -> Candidates + Send + Sync + 'static) -> ArgValueCompleter {
    ArgValueCompleter::new(move |it: &OsStr| it.to_str().map_or_else(Vec::new, &values))
}

/// The connection flags among the words, read as the commands read them. Others are passed over: the
/// line is not finished.
fn connection(words: &[OsString]) -> Option<Connection> {
    let command = ClusterArgs::augment_args(Command::new("").no_binary_name(true));
    let (mut ours, mut words) = (Vec::new(), words.iter().take(words.len().saturating_sub(1)));
    while let Some(word) = words.next() {
        let Some(flag) = word.to_str().and_then(|it| it.strip_prefix("--")) else { continue };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(a, b)| (a, Some(b)));
        let Some(arg) = command.get_arguments().find(|it| it.get_long() == Some(name)) else {
            continue;
        };
        ours.push(word.clone());
        if arg.get_action().takes_values() && value.is_none() {
            ours.extend(words.next().cloned());
        }
    }
    let matches = command.try_get_matches_from(ours).ok()?;
    Some(ClusterArgs::from_arg_matches(&matches).ok()?.connection())
}

fn names(connection: &Connection) -> Names {
    connection.names().unwrap_or_default()
}

/// Names of objects, or none where the cluster is slow or refuses.
fn asked<K: Listed>(connection: &Arc<Connection>) -> Vec<String> {
    let connection = connection.clone();
    let (sender, receiver) = mpsc::channel();
    // It may outlive its question, and ends with the program.
    thread::spawn(move || {
        let names = Cluster::connect(&connection).and_then(|it| it.names::<K>());
        // Too late: nobody waits any more.
        let _ = sender.send(names.unwrap_or_default());
    });
    receiver.recv_timeout(PATIENCE).unwrap_or_default()
}

fn starting<T: AsRef<str>>(values: &[T], current: &str) -> Candidates {
    let values = values.iter().map(AsRef::as_ref).filter(|it| it.starts_with(current));
    values.map(CompletionCandidate::new).collect()
}

/// The last of several with commas.
fn listed(values: &[&str], current: &str) -> Candidates {
    let (before, last) = current.split_at(current.rfind(',').map_or(0, |it| it + 1));
    starting(values, last).into_iter().map(|it| it.add_prefix(before)).collect()
}

fn explained(values: &[(&str, &'static str)], current: &str) -> Candidates {
    let values = values.iter().filter(|(value, _)| value.starts_with(current));
    values.map(|(value, help)| CompletionCandidate::new(value).help(Some((*help).into()))).collect()
}

/// Keys that no shell takes apart.
fn plain_keys() -> &'static [&'static str] {
    let quoted = KNOWN_KEYS.iter().position(|it| it.contains('"')).unwrap_or(KNOWN_KEYS.len());
    &KNOWN_KEYS[..quoted]
}

/// A key and the likeliest operator, or what may stand behind it.
fn expressions(current: &str) -> Candidates {
    let Some((key, value)) = current.split_once('=') else {
        let keys: Vec<String> = plain_keys().iter().map(|it| format!("{it}=")).collect();
        return starting(&keys, current);
    };
    let values: &[&str] = match key {
        "verb" => VERBS,
        "level" => &["Metadata", "Request", "RequestResponse"],
        "stage" => &["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"],
        _ => &[],
    };
    starting(values, value).into_iter().map(|it| it.add_prefix(format!("{key}="))).collect()
}

/// The releases whose rules are known, the newest first.
fn versions(current: &str) -> Candidates {
    let known = OLDEST..=KubeVersion::default().0;
    starting(&known.rev().map(|it| format!("1.{it}")).collect::<Vec<_>>(), current)
}

fn timezones(current: &str) -> Candidates {
    let mut names = vec!["UTC".to_owned(), "Local".to_owned()];
    names.extend(jiff::tz::db().available().map(|it| it.as_str().to_owned()));
    starting(&names, current)
}
