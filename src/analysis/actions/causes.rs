//! Which earlier request a request of machinery follows from.
//!
//! Bodies decide where there are any: a template that equals, a number of replicas, a generation. Where
//! there are none, the latest touch of the object, of its owner or of a child does.

use crate::event::Timestamp;

use super::{
    confidence::Reason,
    facts::Facts,
    names,
    objects::{Objects, Origin, Touch, is_recent, newest},
    requests::{ObjectKey, Request, Span, Text},
    roles::{Controller, Role},
};

/// A link to an earlier request.
#[derive(Debug, Clone)]
pub struct Cause {
    pub origin: Origin,
    pub reason: Reason,
    pub confidence: f64,
    /// Other actions that may be the cause just as well.
    pub also: Vec<u64>,
}

/// What is known when causes are looked for.
pub struct Causes<'a> {
    pub objects: &'a mut Objects,
    pub recent: &'a RecentWrites,
}

/// Requests of initiators that may be in flight, and pods that started lately.
#[derive(Debug, Default)]
pub struct RecentWrites {
    pub in_flight: std::collections::VecDeque<InFlight>,
    pub node_writes: std::collections::VecDeque<Touch>,
    pub starting: std::collections::VecDeque<(Timestamp, ObjectKey)>,
    /// By namespace and resource: what may make a controller create objects whose names it does not choose.
    pub triggers:
        std::collections::HashMap<(Text, &'static str), std::collections::VecDeque<Touch>>,
    /// Service accounts that behave as controllers, and the custom resources that they read.
    pub operators: std::collections::HashMap<String, Operator>,
    /// The autoscaler of each workload.
    pub autoscalers: std::collections::HashMap<ObjectKey, ObjectKey>,
    /// What was deleted as a whole: by resource and namespace.
    pub collections: std::collections::HashMap<(Text, Text), Touch>,
    /// Creates without a name, until the name is seen.
    pub nameless: std::collections::VecDeque<Nameless>,
}

/// What is known of a program that runs as a service account.
#[derive(Debug, Default)]
pub struct Operator {
    /// It watches, or holds a lease.
    pub is_controller: bool,
    pub resources: std::collections::BTreeSet<Text>,
}

/// A create whose name the log does not tell.
#[derive(Debug, Clone)]
pub struct Nameless {
    pub time: Timestamp,
    pub audit_id: Text,
    pub namespace: Text,
    pub resource: Text,
    pub controller: Controller,
    pub action: Option<u64>,
}

/// A write and the time it took.
#[derive(Debug, Clone)]
pub struct InFlight {
    pub from: Timestamp,
    pub to: Timestamp,
    pub resource: Text,
    pub subresource: Text,
    pub namespace: Text,
    pub log: Text,
    pub origin: Origin,
}

type Found = Option<Cause>;

fn cause(touch: Option<&Touch>, reason: Reason) -> Found {
    let origin = touch?.origin.clone()?;
    Some(Cause { origin, reason, confidence: reason.confidence(), also: Vec::new() })
}

fn from_origin(origin: Option<Origin>, reason: Reason) -> Found {
    origin.map(|origin| Cause { origin, reason, confidence: reason.confidence(), also: Vec::new() })
}

/// The object of this resource and name in the namespace of another.
fn sibling(key: &ObjectKey, resource: &str, name: &str) -> ObjectKey {
    ObjectKey {
        resource: Text::from(resource),
        namespace: key.namespace.clone(),
        name: Text::from(name),
    }
}

impl Causes<'_> {
    /// The cause of a request of machinery.
    pub fn find(&mut self, r: &Request) -> Found {
        if &*r.resource == "events" && matches!(&*r.verb, "create" | "patch" | "update") {
            return self.event(r);
        }
        match r.role() {
            Role::Initiator | Role::ControllerManager | Role::Proxy => None,
            Role::ApiServer => self.api_server(r),
            Role::Scheduler => self.scheduler(r),
            Role::Kubelet => self.kubelet(r),
            Role::Controller(controller) => self.controller(controller, r),
            Role::Operator => self.operator(r),
        }
    }

    /// An Event is caused by what its actor did to the object that it is about.
    fn event(&mut self, r: &Request) -> Found {
        let facts = r.facts.as_deref();
        let about = facts.and_then(|facts| facts.about.as_ref());
        let namespace = r.namespace.clone();
        let key = match about {
            Some(about) if !about.name.is_empty() => self.objects.resolve(about, &namespace),
            _ => {
                let name = names::of_event(&r.name);
                let resource = match r.role() {
                    Role::Kubelet | Role::Scheduler => "pods",
                    Role::Controller(controller) => controller.reconciles().unwrap_or("pods"),
                    _ => return None,
                };
                let guess = ObjectKey {
                    resource: Text::from(resource),
                    namespace: namespace.clone(),
                    name: Text::from(name),
                };
                if resource == "services" || self.objects.get(&guess).is_some() {
                    guess
                } else {
                    ObjectKey { resource: Text::from("pods"), ..guess }
                }
            }
        };
        let now = r.received;
        if let Some(facts) = facts
            && let Some(found) = self.event_message(&key, facts, now)
        {
            return found;
        }
        let object = self.objects.get(&key)?;
        let (touch, reason) = match &*key.resource {
            "pods" => {
                let reason = facts.map_or("", |facts| &*facts.reason);
                let is_end =
                    matches!(reason, "Killing" | "Preempted" | "Evicted" | "TaintManagerEviction");
                let touch = match (is_end, reason.is_empty()) {
                    (true, _) => object.deleted.as_ref().or(object.created.as_ref()),
                    (false, false) => object.created.as_ref().or(object.latest_spec(now)),
                    (false, true) => newest([object.created.as_ref(), object.deleted.as_ref()])
                        .or(object.latest_spec(now)),
                };
                (touch.filter(|touch| is_recent(touch, now)), Reason::EventAbout)
            }
            "nodes" => (object.latest_spec(now), Reason::EventAbout),
            _ => (object.latest(now), Reason::EventAbout),
        };
        cause(touch, reason)
    }

    /// Messages that name what was done: `Created pod: web-1`, `Scaled up replica set web-1 from 0 to 2`.
    /// `None` where the message decides nothing.
    fn event_message(&mut self, key: &ObjectKey, facts: &Facts, now: Timestamp) -> Option<Found> {
        let message = &*facts.message;
        let words: Vec<&str> = message.split_ascii_whitespace().collect();
        if let Some(at) =
            words.iter().position(|word| *word == "set").filter(|_| message.starts_with("Scaled "))
        {
            let name = words.get(at + 1)?;
            let n: i64 = words.last()?.parse().ok()?;
            let set = self.objects.get(&sibling(key, "replicasets", name))?;
            let touch = set
                .spec
                .iter()
                .rev()
                .find(|touch| touch.replicas == Some(n) && touch.time <= now)?;
            return Some(cause(Some(touch), Reason::MessageNames));
        }
        let is_start = message.starts_with("Created pod") || message.starts_with("create Pod");
        let is_end = message.starts_with("Deleted pod") || message.starts_with("delete Pod");
        if is_start || is_end {
            let name = if message.starts_with("create Pod") || message.starts_with("delete Pod") {
                words.get(2)?
            } else {
                words.last()?
            };
            let pod = self.objects.get(&sibling(key, "pods", name))?;
            let touch = if is_start { pod.created.as_ref() } else { pod.deleted.as_ref() };
            return touch.map(|touch| cause(Some(touch), Reason::MessageNames));
        }
        if facts.reason == "SuccessfulRescale" {
            let target = self.objects.get(key)?.about.clone()?;
            let target = self.objects.resolve(&target, &key.namespace);
            let touch = self.objects.get(&target)?.spec.iter().rev().find(|touch| {
                touch.by == Role::Controller(Controller::HorizontalPodAutoscaler)
                    && touch.time <= now
            })?;
            return Some(cause(Some(touch), Reason::MessageNames));
        }
        None
    }

    fn api_server(&mut self, r: &Request) -> Found {
        let now = r.received;
        if &*r.resource == "customresourcedefinitions" {
            let object = self.objects.get(&r.object())?;
            let touch = object
                .latest_spec(now)
                .filter(|touch| Span::between(touch.time, now) <= Span::from_secs(120));
            return cause(touch, Reason::SameObject);
        }
        if &*r.resource == "ipaddresses"
            && let Some(about) = r.facts.as_ref().and_then(|facts| facts.about.as_ref())
        {
            let service = ObjectKey {
                resource: Text::from(&*about.kind),
                namespace: Text::from(&*about.namespace),
                name: Text::from(&*about.name),
            };
            if let Some(touch) =
                self.objects.get(&service).and_then(|object| object.latest_spec(now))
            {
                return cause(Some(touch), Reason::NestedInRequest);
            }
        }
        let (resources, subresource): (&[&str], &str) = match &*r.resource {
            "ipaddresses" => (&["services"], ""),
            "limitranges" => (&["pods", "persistentvolumeclaims"], ""),
            "poddisruptionbudgets" => (&["pods"], "eviction"),
            _ => return None,
        };
        let holds = |write: &&InFlight| {
            resources.contains(&&*write.resource)
                && (subresource.is_empty() || &*write.subresource == subresource)
                && (&*r.resource == "ipaddresses" || write.namespace == r.namespace)
                && write.log == r.log
                && write.from <= r.received
                && r.received <= write.to
        };
        let mut found = self.recent.in_flight.iter().filter(holds);
        let first = found.next()?;
        if found.any(|other| other.origin.action != first.origin.action) {
            return None;
        }
        from_origin(Some(first.origin.clone()), Reason::NestedInRequest)
    }

    fn scheduler(&mut self, r: &Request) -> Found {
        let now = r.received;
        let object = self.objects.get(&r.object())?;
        let start = object
            .created
            .as_ref()
            .filter(|touch| is_recent(touch, now))
            .or_else(|| object.latest_spec(now));
        let is_waiting = object.is_unschedulable || !object.has_facts;
        if is_waiting && object.status.as_ref().is_some_and(|status| status.by == Role::Scheduler) {
            let node = self
                .recent
                .node_writes
                .iter()
                .rev()
                .find(|touch| touch.time <= now && touch.origin.is_some());
            if let Some(node) = node.filter(|node| start.is_none_or(|start| start.time < node.time))
            {
                return cause(Some(node), Reason::NodeBecameSchedulable);
            }
        }
        cause(start, Reason::Scheduling)
    }

    fn kubelet(&mut self, r: &Request) -> Found {
        let now = r.received;
        if &*r.resource == "serviceaccounts" && &*r.subresource == "token" {
            if let Some(about) = r.facts.as_ref().and_then(|facts| facts.about.as_ref()) {
                let pod = self.objects.resolve(about, &r.namespace);
                let object = self.objects.get(&pod)?;
                return cause(
                    object.created.as_ref().or(object.latest_spec(now)),
                    Reason::TokenForPod,
                );
            }
            return self.starting_pod(r, Reason::TokenNearStart, Span::from_secs(30));
        }
        if matches!(
            &*r.resource,
            "configmaps" | "secrets" | "persistentvolumeclaims" | "persistentvolumes"
        ) {
            return self.node_read(r);
        }
        if &*r.resource != "pods" || !matches!(&*r.verb, "get" | "patch" | "update" | "delete") {
            return None;
        }
        let object = self.objects.get(&r.object())?;
        let created = object.created.as_ref().filter(|touch| is_recent(touch, now));
        let is_deleting =
            r.facts.as_ref().is_none_or(|facts| facts.uid.is_empty() || facts.is_deleting);
        let collection =
            self.recent.collections.get(&(r.resource.clone(), r.namespace.clone())).filter(
                |touch| is_deleting && created.is_none_or(|created| created.time < touch.time),
            );
        let deleted = object.deleted.as_ref().or(collection).filter(|touch| is_recent(touch, now));
        let Some(gone) = deleted else {
            return cause(created.or_else(|| object.latest_spec(now)), Reason::PodLifecycle);
        };
        if &*r.verb == "patch"
            && let Some(facts) = r.facts.as_deref()
            && let (Some(observed), Some(generation)) =
                (facts.observed_generation, facts.generation)
            && observed < generation
            && created.is_some()
        {
            return cause(created, Reason::ObservedGeneration);
        }
        cause(Some(gone), Reason::PodLifecycle)
    }

    /// The pod of the namespace that was bound and has not been served yet.
    fn starting_pod(&mut self, r: &Request, reason: Reason, limit: Span) -> Found {
        let found = self.recent.starting.iter().find(|(time, key)| {
            key.namespace == r.namespace
                && *time <= r.received
                && Span::between(*time, r.received) <= limit
        })?;
        let object = self.objects.get(&found.1)?;
        cause(object.created.as_ref().or(object.latest_spec(r.received)), reason)
    }

    fn node_read(&mut self, r: &Request) -> Found {
        if r.name.is_empty() {
            return None;
        }
        let wanted = format!("{}/{}", r.resource, r.name);
        let mut is_known = false;
        let mut found: Option<&(Timestamp, ObjectKey)> = None;
        for entry in self.recent.starting.iter().rev() {
            let (time, key) = entry;
            if key.namespace != r.namespace
                || *time > r.received
                || Span::between(*time, r.received) > Span::from_secs(10)
            {
                continue;
            }
            let object = self.objects.get(key);
            is_known |= object.is_some_and(|object| object.has_facts);
            if object.is_some_and(|object| object.uses.contains(&wanted)) {
                found = Some(entry);
                break;
            }
        }
        if let Some((_, key)) = found {
            let object = self.objects.get(key)?;
            return cause(
                object.created.as_ref().or(object.latest_spec(r.received)),
                Reason::NodeReadNearStart,
            );
        }
        if is_known {
            return None;
        }
        let (_, key) = self.recent.starting.iter().rev().find(|(time, key)| {
            key.namespace == r.namespace
                && *time <= r.received
                && Span::between(*time, r.received) <= Span::from_secs(10)
        })?;
        let object = self.objects.get(key)?;
        cause(object.created.as_ref().or(object.latest_spec(r.received)), Reason::NodeReadNearStart)
    }

    fn controller(&mut self, controller: Controller, r: &Request) -> Found {
        let now = r.received;
        let key = r.object();
        if r.name.is_empty()
            && &*r.verb == "create"
            && let Some(resource) = controller.reconciles()
        {
            let triggers = self.recent.triggers.get(&(r.namespace.clone(), resource))?;
            let touch = triggers
                .iter()
                .rev()
                .find(|touch| Span::between(touch.time, now) <= Span::from_secs(5))?;
            return cause(Some(touch), Reason::GeneratedName);
        }
        match controller {
            Controller::GarbageCollector => return self.garbage_collector(r),
            Controller::Namespace => {
                let name = if &*r.resource == "namespaces" { &r.name } else { &r.namespace };
                let namespace = ObjectKey {
                    resource: Text::from("namespaces"),
                    namespace: Text::from(""),
                    name: name.clone(),
                };
                let object = self.objects.get(&namespace)?;
                return cause(
                    object.deleted.as_ref().filter(|touch| is_recent(touch, now)),
                    Reason::NamespaceDeleted,
                );
            }
            Controller::ServiceAccount | Controller::CaPublisher => {
                let namespace = ObjectKey {
                    resource: Text::from("namespaces"),
                    namespace: Text::from(""),
                    name: r.namespace.clone(),
                };
                let own = self.objects.get(&key).and_then(|object| object.deleted.as_ref());
                let of_namespace = self
                    .objects
                    .get(&namespace)
                    .and_then(|object| newest([object.created.as_ref(), object.deleted.as_ref()]));
                let touch = newest([own, of_namespace])
                    .filter(|touch| Span::between(touch.time, now) <= Span::from_secs(60));
                return cause(touch, Reason::NamespaceSetup);
            }
            Controller::Deployment => {
                if let Some(found) = self.deployment(r) {
                    return found;
                }
            }
            Controller::ReplicaSet | Controller::ReplicationController => {
                if let Some(found) = self.pod_counts(r) {
                    return found;
                }
            }
            Controller::StatefulSet | Controller::DaemonSet => {
                if let Some(found) = self.stateful(r) {
                    return found;
                }
            }
            Controller::EndpointSlice | Controller::Endpoint => {
                if let Some(found) = self.endpoints(r) {
                    return found;
                }
            }
            Controller::CronJob => {
                let is_tick = &*r.resource == "jobs";
                if is_tick {
                    return None;
                }
            }
            Controller::HorizontalPodAutoscaler => return self.autoscaler(r),
            Controller::TaintEviction => {
                let object = self.objects.get(&key)?;
                let node = ObjectKey {
                    resource: Text::from("nodes"),
                    namespace: Text::from(""),
                    name: object.node.clone(),
                };
                let touch = self.objects.get(&node).and_then(|node| node.latest_spec(now));
                if touch.is_some_and(|touch| touch.origin.is_some()) {
                    return cause(touch, Reason::NodeTaint);
                }
                return cause(object.latest_spec(now), Reason::SameObject);
            }
            _ => {}
        }

        self.reconcile(controller, r, &key)
    }

    /// A controller follows from the latest touch of the object that it reconciles, or of a child of it.
    fn reconcile(&mut self, controller: Controller, r: &Request, key: &ObjectKey) -> Found {
        let now = r.received;
        let target = match controller.reconciles() {
            Some(resource) if &*r.resource != resource => {
                let owner =
                    self.objects.owners(r).into_iter().find(|owner| &*owner.resource == resource);
                let about = || match (resource, &*r.resource) {
                    ("services", "endpoints") => Some(sibling(key, "services", &r.name)),
                    ("services", _) => {
                        let service = r.facts.as_ref().and_then(|facts| facts.about.as_ref());
                        service.map(|service| sibling(key, "services", &service.name))
                    }
                    ("persistentvolumeclaims", "persistentvolumes") => {
                        let claim =
                            r.facts.as_ref().and_then(|facts| facts.about.clone()).or_else(|| {
                                self.objects.get(key).and_then(|object| object.about.clone())
                            });
                        claim.map(|claim| ObjectKey {
                            resource: Text::from("persistentvolumeclaims"),
                            namespace: Text::from(&*claim.namespace),
                            name: Text::from(&*claim.name),
                        })
                    }
                    _ => None,
                };
                owner.or_else(about)
            }
            _ => Some(key.clone()),
        };
        let Some(object) = target.as_ref().and_then(|target| self.objects.get(target)) else {
            let object = self.objects.get(key)?;
            return cause(object.latest(now), Reason::SameObject);
        };
        let observed = r
            .facts
            .as_ref()
            .filter(|_| &*r.subresource == "status")
            .and_then(|facts| facts.observed_generation);
        let spec = object.spec.iter().rev().find(|touch| {
            is_recent(touch, now)
                && observed.is_none_or(|observed| {
                    touch.generation.is_none_or(|generation| generation <= observed)
                })
        });
        let child = object.latest_child(now);
        let touch = newest([spec, child]);
        let is_child = touch.map(|touch| touch.time) == child.map(|touch| touch.time);
        let reason = if is_child {
            Reason::ChildChanged
        } else if target.as_ref() == Some(key) {
            Reason::Reconcile
        } else {
            Reason::OwnerChanged
        };
        let mut found = cause(touch, reason)?;
        let others = object.spec.iter().chain(&object.child).filter(|other| {
            is_recent(other, now) && Span::between(other.time, now) <= Span::from_secs(2)
        });
        for other in others.filter_map(|other| other.origin.as_ref()) {
            if other.action != found.origin.action && !found.also.contains(&other.action) {
                found.also.push(other.action);
            }
        }
        found.also.sort_unstable();
        Some(found)
    }

    /// The Deployment controller: templates and numbers tell which change it carries out.
    fn deployment(&mut self, r: &Request) -> Option<Found> {
        let facts = r.facts.as_deref()?;
        let key = r.object();
        let now = r.received;
        if &*r.resource == "deployments" {
            if &*r.subresource == "status" {
                return None;
            }
            let object = self.objects.get(&key)?;
            let touch = object.introducer(facts.template?)?;
            return Some(cause(Some(touch), Reason::TemplateEqual));
        }
        if &*r.resource != "replicasets" {
            return None;
        }
        let owner =
            self.objects.owners(r).into_iter().find(|owner| &*owner.resource == "deployments")?;
        let deployment = self.objects.get(&owner)?;
        let template = facts.template?;
        let introducer = deployment.introducer(template);
        let before = self.objects.get(&key);
        if &*r.verb == "create" {
            return introducer.map(|touch| cause(Some(touch), Reason::TemplateEqual));
        }
        if &*r.verb == "delete" {
            return None;
        }
        let before = before?;
        let is_current = deployment.template == Some(template);
        let scaled = facts
            .desired_replicas
            .filter(|_| facts.desired_replicas != before.desired && before.desired.is_some());
        if let Some(touch) = scaled
            .and_then(|desired| deployment.scaler(desired))
            .filter(|touch| is_recent(touch, now))
        {
            return Some(cause(Some(touch), Reason::DesiredReplicas));
        }
        match (before.replicas, facts.replicas) {
            (Some(from), Some(to)) if to > from => {
                introducer.map(|touch| cause(Some(touch), Reason::TemplateEqual))
            }
            (Some(from), Some(to)) if to < from => {
                let touch = if is_current {
                    deployment.replicas.and_then(|replicas| deployment.scaler(replicas))
                } else {
                    deployment.superseder(template)
                };
                touch.map(|touch| cause(Some(touch), Reason::TemplateSuperseded))
            }
            _ => {
                let changed = deployment.spec.iter().rev().find(|touch| {
                    touch.changes_metadata
                        && touch.time <= now
                        && touch.by != Role::Controller(Controller::Deployment)
                });
                let touch = newest([changed, introducer.filter(|_| is_current)]).or(introducer);
                touch.map(|touch| cause(Some(touch), Reason::TemplateEqual))
            }
        }
    }

    /// The ReplicaSet controller: each scale and each deletion by somebody else is good for so many pods.
    fn pod_counts(&mut self, r: &Request) -> Option<Found> {
        if &*r.resource != "pods" || !matches!(&*r.verb, "create" | "delete") {
            return None;
        }
        let owner = self.objects.owners(r).into_iter().next()?;
        let set = self.objects.get_mut(&owner)?;
        let queue = if &*r.verb == "create" { &mut set.ups } else { &mut set.downs };
        let origin = queue.pop_front()?;
        Some(from_origin(origin, Reason::PodCount))
    }

    /// Pods with an ordinal: the pod of the same name that was deleted before, the number of replicas, the
    /// template.
    fn stateful(&mut self, r: &Request) -> Option<Found> {
        let now = r.received;
        let key = r.object();
        let facts = r.facts.as_deref();
        let owner = self.objects.owners(r).into_iter().next()?;
        if &*r.resource == "controllerrevisions" && &*r.verb == "create" {
            let set = self.objects.get(&owner)?;
            let touch = set.template.and_then(|template| set.introducer(template))?;
            return Some(cause(Some(touch), Reason::TemplateEqual));
        }
        if &*r.resource != "pods" || &*owner.resource != "statefulsets" {
            return None;
        }
        let set = self.objects.get(&owner)?;
        let ordinal: i64 = r.name.rsplit_once('-')?.1.parse().ok()?;
        match &*r.verb {
            "create" => {
                let predecessor = self
                    .objects
                    .get(&key)
                    .and_then(|object| object.deleted.as_ref().or(object.predecessor.as_ref()));
                if let Some(touch) = predecessor.filter(|touch| is_recent(touch, now)) {
                    // Scaled down, and up again since?
                    let scaler = set.replicas.and_then(|replicas| set.scaler(replicas));
                    let touch = newest([
                        Some(touch),
                        scaler.filter(|scaler| {
                            scaler.time > touch.time && set.replicas > Some(ordinal)
                        }),
                    ]);
                    return Some(cause(touch, Reason::PodCount));
                }
                let _ = facts;
                let touch = set.replicas.and_then(|replicas| set.scaler(replicas))?;
                is_recent(touch, now).then(|| cause(Some(touch), Reason::DesiredReplicas))
            }
            "delete" => {
                let touch = if set.replicas.is_some_and(|replicas| ordinal >= replicas) {
                    set.replicas.and_then(|replicas| set.scaler(replicas))
                } else {
                    set.template.and_then(|template| set.introducer(template))
                }?;
                is_recent(touch, now).then(|| cause(Some(touch), Reason::PodCount))
            }
            _ => None,
        }
    }

    /// The endpoints that appeared, changed or went name the pods whose change it was.
    fn endpoints(&mut self, r: &Request) -> Option<Found> {
        let facts = r.facts.as_deref()?;
        let now = r.received;
        let key = r.object();
        if &*r.verb == "create" {
            return None;
        }
        let empty = Vec::new();
        let before = self.objects.get(&key).map_or(&empty, |object| &object.endpoints);
        let mut touches = Vec::new();
        let mut add = |name: &str, is_gone: bool| {
            let Some(pod) = self.objects.get(&sibling(&key, "pods", name)) else { return };
            let touch = if is_gone {
                pod.deleted.as_ref().or(pod.status.as_ref())
            } else {
                newest([pod.deleted.as_ref(), pod.status.as_ref(), pod.created.as_ref()])
            };
            if let Some(touch) = touch.filter(|touch| is_recent(touch, now)) {
                touches.push(touch);
            }
        };
        for (name, _) in facts.endpoints.iter().filter(|entry| !before.contains(entry)) {
            add(name, false);
        }
        for (name, _) in before
            .iter()
            .filter(|(name, _)| !facts.endpoints.iter().any(|(other, _)| other == name))
        {
            add(name, true);
        }
        let touch = newest(touches.into_iter().map(Some))?;
        Some(cause(Some(touch), Reason::EndpointDiff))
    }

    /// An autoscaler acts on its own, unless somebody broke a bound of it.
    fn autoscaler(&mut self, r: &Request) -> Found {
        let now = r.received;
        let key = r.object();
        if !r.is_write() {
            return None;
        }
        if &*r.resource == "horizontalpodautoscalers" {
            let object = self.objects.get(&key)?;
            let touch = object
                .latest_spec(now)
                .filter(|touch| Span::between(touch.time, now) <= Span::from_secs(20))?;
            let is_first = object.status.as_ref().is_none_or(|status| status.time < touch.time);
            return if is_first { cause(Some(touch), Reason::Reconcile) } else { None };
        }
        if &*r.subresource != "scale" {
            return None;
        }
        let autoscaler = self.objects.get(self.recent.autoscalers.get(&key)?)?;
        let target = self.objects.get(&key)?;
        let (min, max) = autoscaler.bounds?;
        let (old, new) = (target.replicas?, r.facts.as_ref()?.replicas?);
        if (old < min && new == min) || (old > max && new == max) {
            let touch = newest([autoscaler.latest_spec(now), target.scaler(old)]);
            return cause(touch, Reason::BoundViolated);
        }
        None
    }

    /// The garbage collector acts on what was deleted: an owner, the object itself, or its namespace.
    fn garbage_collector(&mut self, r: &Request) -> Found {
        let now = r.received;
        let key = r.object();
        let recent =
            |touch: Option<&'_ Touch>| touch.filter(|touch| is_recent(touch, now)).cloned();
        let owners = self.objects.owners(r);
        let by_owner =
            owners.iter().filter_map(|owner| recent(self.objects.get(owner)?.deleted.as_ref()));
        let by_owner = by_owner.max_by_key(|touch| touch.time);
        if by_owner.is_some() {
            return cause(by_owner.as_ref(), Reason::OwnerDeleted);
        }
        let own = self.objects.get(&key).and_then(|object| recent(object.deleted.as_ref()));
        if own.is_some() {
            return cause(own.as_ref(), Reason::OwnerDeleted);
        }
        let namespace = ObjectKey {
            resource: Text::from("namespaces"),
            namespace: Text::from(""),
            name: r.namespace.clone(),
        };
        let gone = self.objects.get(&namespace).and_then(|object| recent(object.deleted.as_ref()));
        cause(gone.as_ref(), Reason::NamespaceDeleted)
    }

    /// A controller that is not of Kubernetes follows from the object that it reconciles: the owner of
    /// what it touches, the object itself, or a custom resource whose name the object's name begins with.
    fn operator(&mut self, r: &Request) -> Found {
        const LATELY: Span = Span::from_secs(15);
        let now = r.received;
        if r.name.is_empty() || &*r.resource == "leases" || matches!(&*r.verb, "list" | "watch") {
            return None;
        }
        let key = r.object();
        let operator = self.recent.operators.get(&r.identity.user.username)?;
        let is_own = operator.resources.contains(&key.resource);
        let mut owner = self.objects.owners(r).into_iter().next();
        if owner.is_none() && !is_own {
            let mut name = &*key.name;
            'found: loop {
                for resource in &operator.resources {
                    let candidate = ObjectKey {
                        resource: resource.clone(),
                        namespace: key.namespace.clone(),
                        name: Text::from(name),
                    };
                    if self.objects.get(&candidate).is_some() {
                        owner = Some(candidate);
                        break 'found;
                    }
                }
                let Some((stem, _)) = name.rsplit_once('-') else { break };
                name = stem;
            }
            if let Some(owner) = owner.as_ref().filter(|_| r.is_write()) {
                self.objects.adopt(&key, owner, now);
            }
        }
        let target = owner.unwrap_or(key);
        let touch = self.objects.get(&target)?.latest(now)?;
        if Span::between(touch.time, now) > LATELY {
            return None;
        }
        cause(Some(touch), Reason::OperatorReconcile)
    }
}
