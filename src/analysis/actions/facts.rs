//! What the bodies of a request prove about its object: owners, template, replicas, generations.

use std::hash::{BuildHasher, Hasher};

use serde_json::Value;

/// A larger body is not read; its request is treated as one without bodies.
const MAX_BODY: usize = 2 << 20;

/// An entry of `ownerReferences`, or another reference to an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reference {
    pub kind: String,
    pub group: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// The facts of one object as one request shows it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub name: String,
    pub uid: String,
    pub generation: Option<i64>,
    pub observed_generation: Option<i64>,
    pub is_deleting: bool,
    pub owners: Vec<Reference>,
    pub labels: Vec<(String, String)>,
    pub selector: Vec<(String, String)>,
    /// A hash of `spec.template`, without the label that the Deployment controller adds.
    pub template: Option<u64>,
    pub replicas: Option<i64>,
    /// The annotation `deployment.kubernetes.io/desired-replicas`.
    pub desired_replicas: Option<i64>,
    pub node: String,
    /// `spec.unschedulable` of a node, or a pod that the scheduler could not place.
    pub is_unschedulable: bool,
    pub taints: Option<usize>,
    /// The object of a Kubernetes Event, of a bound token, of a claim or of an address.
    pub about: Option<Reference>,
    pub reason: String,
    pub message: String,
    /// Names of the claims, config maps and secrets that a pod uses, as `resource/name`.
    pub uses: Vec<String>,
    /// The endpoints of a slice: name of the pod and a hash of its conditions.
    pub endpoints: Vec<(String, u64)>,
    /// The bounds of an autoscaler.
    pub min_replicas: Option<i64>,
    pub max_replicas: Option<i64>,
    pub is_paused: bool,
    /// What the request's own body changes, for the name of the command.
    pub change: Change,
    /// Whether the containers of a pod started in this report.
    pub has_started: bool,
    pub is_terminal: bool,
    /// A hash of the annotations and labels.
    pub metadata: u64,
}

/// What a patch changes, as far as it tells commands apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change {
    #[default]
    Unknown,
    Image,
    Env,
    Restart,
    Pause,
    Resume,
    Cordon,
    Uncordon,
    Taints,
    Labels,
    Annotations,
    Replicas,
    Other,
}

impl Facts {
    /// Reads the bodies of a request. `None` where there is none that names an object.
    pub fn read(resource: &str, request: Option<&str>, response: Option<&str>) -> Option<Facts> {
        let parse = |text: Option<&str>| -> Option<Value> {
            text.filter(|text| text.len() <= MAX_BODY)
                .and_then(|text| serde_json::from_str::<Value>(text).ok())
        };
        let request = parse(request);
        let response = parse(response);
        let kind =
            |value: &Value| value.get("kind").and_then(Value::as_str).unwrap_or("").to_owned();
        let is_object = |value: &&Value| {
            let kind = kind(value);
            value.is_object()
                && kind != "Status"
                && !kind.ends_with("List")
                && kind != "Table"
                && kind != "DeleteOptions"
        };

        let object = response.as_ref().filter(is_object);
        let sent = request.as_ref().filter(is_object);
        let mut facts = match (object, sent) {
            (Some(object), _) => Facts::from_object(resource, object),
            (None, Some(sent)) => Facts::from_object(resource, sent),
            (None, None) => {
                let status = response.as_ref()?;
                let details = status.get("details")?;
                let uid = text(details, "uid");
                if uid.is_empty() {
                    return request
                        .as_ref()
                        .map(|sent| Facts { change: change(sent), ..Facts::default() });
                }
                Facts { name: text(details, "name"), uid, ..Facts::default() }
            }
        };

        if let Some(sent) = &request {
            facts.change = change(sent);
            if resource == "serviceaccounts" {
                facts.about = sent.pointer("/spec/boundObjectRef").map(reference);
            }
            if resource == "pods" {
                facts.has_started = sent
                    .pointer("/status/containerStatuses")
                    .and_then(Value::as_array)
                    .is_some_and(|list| {
                        list.iter().any(|status| status.pointer("/state/running").is_some())
                    });
            }
        }
        Some(facts)
    }

    fn from_object(resource: &str, object: &Value) -> Facts {
        let mut facts = Facts::default();
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let status = object.get("status").unwrap_or(&Value::Null);
        facts.name = text(metadata, "name");
        facts.uid = text(metadata, "uid");
        facts.generation = metadata.get("generation").and_then(Value::as_i64);
        facts.observed_generation = status.get("observedGeneration").and_then(Value::as_i64);
        facts.is_deleting = metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null());
        facts.owners = list(metadata.get("ownerReferences")).iter().map(reference).collect();
        facts.labels = pairs(metadata.get("labels"));
        facts.metadata = hash_of(metadata.get("annotations").unwrap_or(&Value::Null))
            ^ hash_of(metadata.get("labels").unwrap_or(&Value::Null)).rotate_left(1);
        facts.replicas = spec.get("replicas").and_then(Value::as_i64);
        let annotation = |name: &str| {
            metadata.get("annotations").and_then(|all| all.get(name)).and_then(Value::as_str)
        };
        facts.desired_replicas = annotation("deployment.kubernetes.io/desired-replicas")
            .and_then(|text| text.parse().ok());
        facts.is_paused = spec.get("paused").and_then(Value::as_bool).unwrap_or(false);
        if let Some(template) = spec.get("template") {
            facts.template = Some(hash_of(template));
        }

        match resource {
            "services" => facts.selector = pairs(spec.get("selector")),
            "poddisruptionbudgets"
            | "deployments"
            | "replicasets"
            | "statefulsets"
            | "daemonsets" => {
                facts.selector = pairs(spec.pointer("/selector/matchLabels"));
            }
            "events" => {
                facts.about =
                    object.get("involvedObject").or_else(|| object.get("regarding")).map(reference);
                facts.reason = text(object, "reason");
                facts.message = text(object, "message");
                if facts.message.is_empty() {
                    facts.message = text(object, "note");
                }
            }
            "pods" => facts.read_pod(spec, status),
            "nodes" => {
                facts.is_unschedulable =
                    spec.get("unschedulable").and_then(Value::as_bool).unwrap_or(false);
                facts.taints = Some(list(spec.get("taints")).len());
            }
            "endpointslices" => {
                facts.about =
                    facts.labels.iter().find(|(key, _)| key == "kubernetes.io/service-name").map(
                        |(_, name)| Reference {
                            kind: "Service".into(),
                            name: name.clone(),
                            ..Reference::default()
                        },
                    );
                facts.endpoints = list(object.get("endpoints"))
                    .iter()
                    .map(|endpoint| {
                        let name = endpoint
                            .pointer("/targetRef/name")
                            .and_then(Value::as_str)
                            .unwrap_or_default();
                        (
                            name.to_owned(),
                            hash_of(endpoint.get("conditions").unwrap_or(&Value::Null)),
                        )
                    })
                    .collect();
            }
            "endpoints" => {
                for subset in list(object.get("subsets")) {
                    for (field, state) in [("addresses", 1), ("notReadyAddresses", 2)] {
                        for address in list(subset.get(field)) {
                            let name = address
                                .pointer("/targetRef/name")
                                .and_then(Value::as_str)
                                .unwrap_or_default();
                            facts.endpoints.push((name.to_owned(), state));
                        }
                    }
                }
            }
            "persistentvolumes" => facts.about = spec.get("claimRef").map(reference),
            "persistentvolumeclaims" => {
                let volume = text(spec, "volumeName");
                if !volume.is_empty() {
                    facts.uses.push(format!("persistentvolumes/{volume}"));
                }
            }
            "ipaddresses" => {
                facts.about = spec.get("parentRef").map(|parent| Reference {
                    kind: text(parent, "resource"),
                    namespace: text(parent, "namespace"),
                    name: text(parent, "name"),
                    ..Reference::default()
                });
            }
            "horizontalpodautoscalers" => {
                facts.about = spec.get("scaleTargetRef").map(reference);
                facts.min_replicas =
                    Some(spec.get("minReplicas").and_then(Value::as_i64).unwrap_or(1));
                facts.max_replicas = spec.get("maxReplicas").and_then(Value::as_i64);
            }
            "jobs" => {
                facts.is_terminal = list(status.get("conditions")).iter().any(|condition| {
                    matches!(text(condition, "type").as_str(), "Complete" | "Failed")
                        && text(condition, "status") == "True"
                });
            }
            _ => {}
        }
        facts
    }

    fn read_pod(&mut self, spec: &Value, status: &Value) {
        self.node = text(spec, "nodeName");
        self.is_unschedulable = list(status.get("conditions")).iter().any(|condition| {
            text(condition, "type") == "PodScheduled"
                && text(condition, "reason") == "Unschedulable"
        });
        for volume in list(spec.get("volumes")) {
            for (path, resource) in [
                ("/configMap/name", "configmaps"),
                ("/secret/secretName", "secrets"),
                ("/persistentVolumeClaim/claimName", "persistentvolumeclaims"),
            ] {
                if let Some(name) = volume.pointer(path).and_then(Value::as_str) {
                    self.uses.push(format!("{resource}/{name}"));
                }
            }
            for source in list(volume.pointer("/projected/sources")) {
                for (path, resource) in
                    [("/configMap/name", "configmaps"), ("/secret/name", "secrets")]
                {
                    if let Some(name) = source.pointer(path).and_then(Value::as_str) {
                        self.uses.push(format!("{resource}/{name}"));
                    }
                }
            }
        }
        for container in list(spec.get("containers")) {
            for from in list(container.get("envFrom")) {
                for (path, resource) in
                    [("/configMapRef/name", "configmaps"), ("/secretRef/name", "secrets")]
                {
                    if let Some(name) = from.pointer(path).and_then(Value::as_str) {
                        self.uses.push(format!("{resource}/{name}"));
                    }
                }
            }
            for env in list(container.get("env")) {
                for (path, resource) in [
                    ("/valueFrom/configMapKeyRef/name", "configmaps"),
                    ("/valueFrom/secretKeyRef/name", "secrets"),
                ] {
                    if let Some(name) = env.pointer(path).and_then(Value::as_str) {
                        self.uses.push(format!("{resource}/{name}"));
                    }
                }
            }
        }
        self.is_terminal = matches!(text(status, "phase").as_str(), "Succeeded" | "Failed");
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn pairs(value: Option<&Value>) -> Vec<(String, String)> {
    let Some(object) = value.and_then(Value::as_object) else { return Vec::new() };
    let pair = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    object.iter().filter_map(pair).collect()
}

fn reference(value: &Value) -> Reference {
    let version = text(value, "apiVersion");
    Reference {
        kind: text(value, "kind"),
        group: version.split_once('/').map_or(String::new(), |(group, _)| group.to_owned()),
        namespace: text(value, "namespace"),
        name: text(value, "name"),
        uid: text(value, "uid"),
    }
}

/// A hash that does not depend on the order of keys. The label `pod-template-hash` does not count.
fn hash_of(value: &Value) -> u64 {
    let mut hasher = foldhash::fast::FixedState::with_seed(7).build_hasher();
    write(value, &mut hasher);
    hasher.finish()
}

fn write(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Object(object) => {
            let mut sum = 0_u64;
            for (key, value) in object.iter().filter(|(key, _)| *key != "pod-template-hash") {
                // A field that is absent, null or empty is the same to the API server.
                let is_empty = value.is_null()
                    || value.as_object().is_some_and(|object| {
                        object.is_empty() || object.values().all(Value::is_null)
                    });
                if is_empty {
                    continue;
                }
                let mut one = foldhash::fast::FixedState::with_seed(7).build_hasher();
                one.write(key.as_bytes());
                write(value, &mut one);
                sum = sum.wrapping_add(one.finish());
            }
            hasher.write_u64(sum);
        }
        Value::Array(list) => {
            hasher.write_usize(list.len());
            list.iter().for_each(|value| write(value, hasher));
        }
        Value::String(text) => hasher.write(text.as_bytes()),
        other => hasher.write(other.to_string().as_bytes()),
    }
}

/// What the body of a patch changes.
fn change(sent: &Value) -> Change {
    let Some(object) = sent.as_object() else {
        return if sent.is_array() { Change::Other } else { Change::Unknown };
    };
    let spec = object.get("spec");
    let metadata = object.get("metadata");
    if let Some(spec) = spec {
        if let Some(value) = spec.get("unschedulable") {
            return if value.as_bool() == Some(true) { Change::Cordon } else { Change::Uncordon };
        }
        if spec.get("taints").is_some() {
            return Change::Taints;
        }
        if let Some(value) = spec.get("paused") {
            return if value.as_bool() == Some(true) { Change::Pause } else { Change::Resume };
        }
        let pod = if spec.get("template").is_some() {
            spec.pointer("/template/spec")
        } else {
            Some(spec)
        };
        let annotations = spec.pointer("/template/metadata/annotations").and_then(Value::as_object);
        if annotations.is_some_and(|all| all.contains_key("kubectl.kubernetes.io/restartedAt"))
            && spec.pointer("/template/spec").is_none()
        {
            return Change::Restart;
        }
        let containers = pod.and_then(|pod| pod.get("containers")).and_then(Value::as_array);
        if let Some(containers) = containers {
            let only = |names: &[&str]| {
                containers.iter().all(|container| {
                    container
                        .as_object()
                        .is_some_and(|all| all.keys().all(|key| names.contains(&key.as_str())))
                })
            };
            if only(&["name", "image"]) {
                return Change::Image;
            }
            if only(&["name", "env", "envFrom", "$setElementOrder/env"]) {
                return Change::Env;
            }
        }
        if spec.as_object().is_some_and(|all| all.keys().all(|key| key == "replicas")) {
            return Change::Replicas;
        }
        return Change::Other;
    }
    match metadata.and_then(Value::as_object) {
        Some(all) if all.contains_key("labels") && !all.contains_key("annotations") => {
            Change::Labels
        }
        Some(all) if all.contains_key("annotations") && !all.contains_key("labels") => {
            Change::Annotations
        }
        _ => Change::Other,
    }
}
