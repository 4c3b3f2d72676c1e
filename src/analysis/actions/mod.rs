//! Raw requests as the actions of people: each with everything that followed from it, and why.
//!
//! One pass in the order of arrival. A request of a client joins or starts a run of that client
//! (`invocation`); a request of machinery is linked to one earlier request (`causes`), or to none. What a
//! request did to objects is remembered (`objects`) for those that follow.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::event::Timestamp;

pub mod causes;
pub mod command;
pub mod confidence;
pub mod evaluate;
pub mod facts;
pub mod invocation;
pub mod names;
pub mod objects;
pub mod requests;
pub mod roles;

use self::{
    causes::{Cause, Causes, InFlight, RecentWrites},
    confidence::Reason,
    invocation::{Invocation, RoundTrips},
    objects::{Objects, Origin, Touch, push},
    requests::{Digest, Identity, ObjectKey, Order, Request, Span, Text},
    roles::{Controller, Role},
};

/// An action without a step for so long is finished.
const CLOSE: Span = Span::from_secs(600);
/// Requests of its client that an action keeps whole.
const MOST_ROOTS: usize = 2_000;
/// Steps that an action keeps.
const MOST_STEPS: usize = 200_000;
/// Identities whose runs are remembered.
const MOST_CLIENTS: usize = 20_000;

/// A request in an action.
#[derive(Debug, Clone)]
pub struct Step {
    pub audit_id: Text,
    pub time: Timestamp,
    pub identity: Arc<Identity>,
    pub verb: Text,
    pub group: Text,
    pub object: ObjectKey,
    pub subresource: Text,
    pub uid: Text,
    pub code: i64,
    pub is_root: bool,
    pub parent: Option<Text>,
    pub reason: Reason,
    pub confidence: f64,
    pub path_confidence: f64,
    pub also: Vec<u64>,
}

/// A run of a client, and what followed from it.
#[derive(Debug)]
pub struct Action {
    pub number: u64,
    pub roots: Vec<Arc<Request>>,
    pub steps: Vec<Step>,
    pub last: Timestamp,
    pub n_dropped_steps: u64,
    /// Whether no more steps can come.
    pub is_closed: bool,
}

/// What was not taken into an action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub in_actions: u64,
    pub background: u64,
    /// Writes of machinery without a known cause.
    pub unlinked_writes: u64,
    pub dropped_objects: u64,
    pub dropped_steps: u64,
    pub late: u64,
}

/// Groups requests under actions.
#[derive(Debug, Default)]
pub struct Linker {
    order: Order,
    now: Option<Timestamp>,
    next: u64,
    open: BTreeMap<u64, Action>,
    clients: HashMap<Text, Client, foldhash::fast::FixedState>,
    objects: Objects,
    recent: RecentWrites,
    /// Watches and streams whose end has not been seen.
    started: HashMap<(Text, Timestamp), u64, foldhash::fast::FixedState>,
    last_sweep: Option<Timestamp>,
    pub totals: Totals,
    /// Reasons that are not used: for `evaluate --ablate`.
    pub ablated: Vec<Reason>,
}

#[derive(Debug, Default)]
struct Client {
    trips: RoundTrips,
    open: Vec<Invocation>,
    seen: Option<Timestamp>,
}

impl Linker {
    /// Takes a digest of an event, in the order of the log; finished actions go to `done`.
    pub fn observe(&mut self, digest: Digest, done: &mut dyn FnMut(Action)) {
        match digest {
            Digest::Nothing => {}
            Digest::Background => self.totals.background += 1,
            Digest::Request(request) => {
                self.order.push(request);
                while let Some(request) = self.order.pop() {
                    self.process(request);
                    self.close_old(done);
                }
            }
        }
    }

    /// The end of the log: what is left goes to `done`.
    pub fn finish(mut self, done: &mut dyn FnMut(Action)) -> Totals {
        while let Some(request) = self.order.drain() {
            self.process(request);
            self.close_old(done);
        }
        let now = self.now;
        for (_, mut action) in std::mem::take(&mut self.open) {
            action.is_closed =
                now.is_some_and(|now| Span::between(action.last, now) > Span::from_secs(60));
            done(action);
        }
        self.totals.dropped_objects = self.objects.n_dropped;
        self.totals
    }

    /// Hands over the actions that nothing can follow any more.
    fn close_old(&mut self, done: &mut dyn FnMut(Action)) {
        let Some(now) = self.now else { return };
        if self.last_sweep.is_some_and(|last| Span::between(last, now) < Span::from_secs(10)) {
            return;
        }
        self.last_sweep = Some(now);
        let mut kept_by_client = std::collections::HashSet::new();
        for client in self.clients.values_mut() {
            client.open.retain(|invocation| !invocation.is_over(now));
            kept_by_client.extend(client.open.iter().map(|invocation| invocation.action));
        }
        if self.clients.len() > MOST_CLIENTS {
            self.clients.retain(|_, client| !client.open.is_empty());
        }
        let is_done = |action: &Action| {
            Span::between(action.last, now) > CLOSE && !kept_by_client.contains(&action.number)
        };
        let over: Vec<u64> = self
            .open
            .values()
            .filter(|action| is_done(action))
            .map(|action| action.number)
            .collect();
        for number in over {
            if let Some(mut action) = self.open.remove(&number) {
                action.is_closed = true;
                done(action);
            }
        }
        let old = CLOSE.before(now);
        self.started.retain(|(_, time), _| *time > old);
    }

    fn process(&mut self, request: Box<Request>) {
        let request = Arc::new(*request);
        if self.now.is_some_and(|now| request.received < now) {
            self.totals.late += 1;
        }
        self.now = self.now.max(Some(request.received));

        // The end of a watch or a stream that has been taken in at its start.
        let key = (request.audit_id.clone(), request.received);
        if let Some(number) = self.started.get(&key) {
            if let Some(step) =
                self.open.get_mut(number).and_then(|action| {
                    action.steps.iter_mut().rev().find(|step| {
                        step.audit_id == request.audit_id && step.time == request.received
                    })
                })
            {
                step.code = request.code;
            }
            let number = *number;
            if request.is_complete {
                self.started.remove(&key);
                let client = self.clients.get_mut(&request.identity.key);
                let run = client
                    .and_then(|client| client.open.iter_mut().find(|run| run.action == number));
                if let Some(run) = run {
                    run.end(request.end);
                }
            }
            return;
        }

        if request.role() != Role::Initiator {
            self.name_creates(&request);
        }
        let origin = match request.role() {
            Role::Initiator => Some(self.start_or_join(&request, key)),
            Role::Operator => self.operate(&request, key),
            _ => self.link(&request),
        };
        match origin {
            Some(number) => {
                self.totals.in_actions += 1;
                let path = self
                    .open
                    .get(&number)
                    .and_then(|action| action.steps.last())
                    .map_or(1.0, |step| step.path_confidence);
                let origin = Origin { action: number, parent: request.audit_id.clone(), path };
                self.affect(&request, Some(origin));
            }
            None => {
                self.totals.background += 1;
                if request.is_write() && !request.has_failed() {
                    self.totals.unlinked_writes += 1;
                }
                self.affect(&request, None);
            }
        }
    }

    fn start_or_join(&mut self, request: &Arc<Request>, key: (Text, Timestamp)) -> u64 {
        let number = self.join(request);
        if !request.is_complete {
            self.started.insert(key, number);
        }
        number
    }

    /// A program that runs as a service account: a controller where it watches or holds a lease, else a
    /// client like any other. A write of a controller without a known cause is an action of its own.
    fn operate(&mut self, request: &Arc<Request>, key: (Text, Timestamp)) -> Option<u64> {
        if self.recent.operators.len() > MOST_CLIENTS {
            self.recent.operators.clear();
        }
        let operator =
            self.recent.operators.entry(request.identity.user.username.clone()).or_default();
        operator.is_controller |= &*request.verb == "watch" || &*request.resource == "leases";
        if request.resource.contains('.') && operator.resources.len() < 64 {
            operator.resources.insert(request.resource.clone());
        }
        if !operator.is_controller {
            return Some(self.start_or_join(request, key));
        }
        let found = self.link(request);
        let is_own = request.is_write()
            && !request.has_failed()
            && !matches!(&*request.resource, "leases" | "events")
            && &*request.subresource != "status";
        if found.is_none() && is_own { Some(self.start_or_join(request, key)) } else { found }
    }

    /// The run that a client's request belongs to: the number of its action.
    fn join(&mut self, request: &Arc<Request>) -> u64 {
        let client = self.clients.entry(request.identity.key.clone()).or_default();
        client.seen = Some(request.received);
        client.open.retain(|invocation| !invocation.is_over(request.received));
        let mut best: Option<(usize, Reason, f64)> = None;
        for (index, invocation) in client.open.iter().enumerate() {
            let Some((reason, strength)) = invocation.accepts(request, &client.trips) else {
                continue;
            };
            if self.ablated.contains(&reason) {
                continue;
            }
            let is_better = best.is_none_or(|(old, _, best)| {
                strength > best
                    || (strength == best && client.open[old].active <= invocation.active)
            });
            if is_better {
                best = Some((index, reason, strength));
            }
        }

        if let Some((index, reason, strength)) = best {
            let invocation = &mut client.open[index];
            let gap = Span::between(invocation.active, request.received);
            if matches!(
                reason,
                Reason::ReadThenWrite
                    | Reason::WaitForGone
                    | Reason::ReadThenStream
                    | Reason::NamespaceCheck
                    | Reason::SameObjectWrite
            ) {
                client.trips.note(gap);
            }
            invocation.note(request.clone());
            let number = invocation.action;
            self.add_root(number, request, reason, strength);
            return number;
        }

        self.next += 1;
        let number = self.next;
        client.open.push(Invocation::new(number, request.clone()));
        if client.open.len() > invocation::MOST_OPEN {
            client.open.remove(0);
        }
        self.open.insert(
            number,
            Action {
                number,
                roots: Vec::new(),
                steps: Vec::new(),
                last: request.received,
                n_dropped_steps: 0,
                is_closed: false,
            },
        );
        self.add_root(number, request, Reason::Start, 1.0);
        number
    }

    fn add_root(&mut self, number: u64, request: &Arc<Request>, reason: Reason, strength: f64) {
        if let Some(action) = self.open.get_mut(&number)
            && action.roots.len() < MOST_ROOTS
        {
            action.roots.push(request.clone());
        }
        self.add_step(number, request, Step::new(request, true, None, reason, strength, strength));
    }

    fn add_step(&mut self, number: u64, request: &Request, step: Step) {
        let Some(action) = self.open.get_mut(&number) else { return };
        action.last = action.last.max(request.received);
        if action.steps.len() < MOST_STEPS {
            action.steps.push(step);
        } else {
            action.n_dropped_steps += 1;
            self.totals.dropped_steps += 1;
        }
    }

    /// Links a request of machinery to its cause: the number of the action.
    fn link(&mut self, request: &Arc<Request>) -> Option<u64> {
        let mut causes = Causes { objects: &mut self.objects, recent: &self.recent };
        let found = causes.find(request).filter(|found| !self.ablated.contains(&found.reason));
        let is_pod = &*request.resource == "pods";
        if request.role() == Role::Kubelet && is_pod && matches!(&*request.verb, "patch" | "delete")
        {
            self.move_read(request, found.as_ref());
        }
        let Cause { origin, reason, confidence, also } = found?;
        if !self.open.contains_key(&origin.action) {
            return None;
        }
        let path = origin.path.min(confidence);
        let mut step = Step::new(request, false, Some(origin.parent), reason, confidence, path);
        step.also = also;
        self.add_step(origin.action, request, step);
        if request.role() == Role::Kubelet && is_pod && &*request.verb == "get" {
            let read = (request.received, request.audit_id.clone(), origin.action);
            if let Some(object) = self.objects.get_mut(&request.object()) {
                object.last_read = Some(read);
            }
        }
        Some(origin.action)
    }

    /// The first sight of a name that no create told: the create that is oldest among those that may be it.
    fn name_creates(&mut self, r: &Request) {
        let now = r.received;
        while self
            .recent
            .nameless
            .front()
            .is_some_and(|old| Span::between(old.time, now) > Span::from_secs(30))
        {
            self.recent.nameless.pop_front();
        }
        let key = match &*r.resource {
            "events" if r.facts.is_none() => ObjectKey {
                resource: Text::from("pods"),
                namespace: r.namespace.clone(),
                name: Text::from(names::of_event(&r.name)),
            },
            _ => r.object(),
        };
        if key.name.is_empty()
            || self.recent.nameless.is_empty()
            || self.objects.get(&key).is_some()
        {
            return;
        }
        let Some(owner) = self.objects.owners_by_name(&key).into_iter().next() else { return };
        let Some(trigger) =
            self.objects.get(&owner).and_then(|object| object.latest_spec(now)).cloned()
        else {
            return;
        };
        let may_be = |create: &causes::Nameless| {
            create.namespace == key.namespace
                && create.resource == key.resource
                && create.controller.reconciles() == Some(&*owner.resource)
        };
        let all = &self.recent.nameless;
        let at = all
            .iter()
            .position(|create| may_be(create) && create.time >= trigger.time)
            .or_else(|| all.iter().rposition(may_be));
        let Some(create) = at.and_then(|at| self.recent.nameless.remove(at)) else { return };
        let object = self.objects.get(&owner).expect("it was there");
        let before = object.spec.iter().chain(&object.child).filter(|touch| {
            touch.time <= create.time
                && (touch.by != Role::Kubelet || touch.is_delete)
                && !matches!(touch.by, Role::Controller(by) if by == create.controller)
        });
        let before = before.max_by_key(|touch| touch.time).cloned().unwrap_or(trigger);
        let origin = before.origin.clone();
        if let (Some(from), Some(to)) = (create.action, &origin)
            && from != to.action
        {
            self.move_step(&create.audit_id, from, to, Reason::GeneratedName);
        }
        let origin = origin.map(|origin| Origin { parent: create.audit_id.clone(), ..origin });
        let touch = Touch {
            time: create.time,
            origin,
            is_create: true,
            by: Role::Controller(create.controller),
            ..before
        };
        self.objects.create(&key, owner, touch);
    }

    /// A workload was changed, or a pod of it went: its controller may create objects now.
    fn note_trigger(&mut self, key: &ObjectKey, touch: &Touch) {
        const KINDS: [&str; 8] = [
            "replicasets",
            "statefulsets",
            "daemonsets",
            "jobs",
            "replicationcontrollers",
            "services",
            "deployments",
            "cronjobs",
        ];
        let own = KINDS.iter().find(|kind| **kind == &*key.resource).copied();
        let of_owner = self
            .objects
            .get(key)
            .filter(|_| touch.is_delete)
            .and_then(|object| object.owners.first())
            .and_then(|owner| KINDS.iter().find(|kind| **kind == &*owner.resource).copied());
        for kind in [own, of_owner].into_iter().flatten() {
            let ring = self.recent.triggers.entry((key.namespace.clone(), kind)).or_default();
            push(ring, touch.clone());
        }
        if self.recent.triggers.len() > 50_000 {
            self.recent.triggers.clear();
        }
    }

    /// Moves a step to another action.
    fn move_step(&mut self, audit_id: &str, from: u64, to: &Origin, reason: Reason) {
        if !self.open.contains_key(&to.action) {
            return;
        }
        let Some(action) = self.open.get_mut(&from) else { return };
        let Some(at) = action.steps.iter().rposition(|step| *step.audit_id == *audit_id) else {
            return;
        };
        let mut step = action.steps.remove(at);
        step.parent = Some(to.parent.clone());
        step.reason = reason;
        step.confidence = reason.confidence();
        step.path_confidence = to.path.min(step.confidence);
        if let Some(action) = self.open.get_mut(&to.action) {
            action.steps.push(step);
        }
    }

    /// A node reads a pod right before it writes it: both have the same cause.
    fn move_read(&mut self, request: &Request, found: Option<&Cause>) {
        let Some(object) = self.objects.get_mut(&request.object()) else { return };
        let Some((time, audit_id, from)) = object.last_read.take() else { return };
        let Some(cause) = found else { return };
        if cause.origin.action == from || Span::between(time, request.received) > Span::from_secs(1)
        {
            return;
        }
        let origin = cause.origin.clone();
        self.move_step(&audit_id, from, &origin, Reason::ReadBeforeWrite);
    }

    /// What a request did to objects.
    fn affect(&mut self, r: &Arc<Request>, origin: Option<Origin>) {
        let now = r.received;
        if r.is_write()
            && let Some(origin) = &origin
            && (r.role() == Role::Initiator
                || matches!(&*r.resource, "pods" | "services" | "persistentvolumeclaims"))
        {
            self.recent.in_flight.push_back(InFlight {
                from: now,
                to: r.end,
                resource: r.resource.clone(),
                subresource: r.subresource.clone(),
                namespace: r.namespace.clone(),
                log: r.log.clone(),
                origin: origin.clone(),
            });
            while self.recent.in_flight.len() > 512 {
                self.recent.in_flight.pop_front();
            }
        }
        if &*r.verb == "deletecollection" && !r.has_failed() && origin.is_some() {
            let touch = Touch {
                time: now,
                origin: origin.clone(),
                by: r.role(),
                is_create: false,
                is_binding: false,
                is_delete: true,
                template: None,
                replicas: None,
                generation: None,
                changes_metadata: false,
                message: Text::from(""),
            };
            if self.recent.collections.len() > 10_000 {
                self.recent.collections.clear();
            }
            // The first of several attempts counts.
            let place = (r.resource.clone(), r.namespace.clone());
            let old = self
                .recent
                .collections
                .get(&place)
                .map(|old| old.origin.as_ref().map(|origin| origin.action));
            if old != Some(touch.origin.as_ref().map(|origin| origin.action)) {
                self.recent.collections.insert(place, touch);
            }
        }
        if let Role::Controller(controller) = r.role()
            && r.name.is_empty()
            && &*r.verb == "create"
            && !r.has_failed()
            && r.subresource.is_empty()
            && &*r.resource != "events"
        {
            self.recent.nameless.push_back(causes::Nameless {
                time: now,
                audit_id: r.audit_id.clone(),
                namespace: r.namespace.clone(),
                resource: r.resource.clone(),
                controller,
                action: origin.as_ref().map(|origin| origin.action),
            });
            if self.recent.nameless.len() > 4_096 {
                self.recent.nameless.pop_front();
            }
        }
        if !r.is_write()
            || r.has_failed()
            || r.is_dry_run()
            || !r.is_resource()
            || r.name.is_empty()
        {
            return;
        }
        let is_effect = !matches!(
            &*r.subresource,
            "exec" | "attach" | "portforward" | "log" | "proxy" | "token"
        ) && !matches!(&*r.resource, "leases" | "events" | "events.events.k8s.io")
            && !r.resource.ends_with("reviews")
            && &*r.verb != "deletecollection";
        if !is_effect {
            return;
        }

        let key = r.object();
        let facts = r.facts.as_deref();
        let is_delete = &*r.verb == "delete" || &*r.subresource == "eviction";
        let is_status = &*r.subresource == "status";
        let old = self.objects.get(&key);
        let old_replicas = old.and_then(|object| object.replicas);
        let old_metadata = old.filter(|object| object.has_facts).map(|object| object.metadata);
        let was_deleting = old.is_some_and(|object| object.deleted.is_some());
        self.objects.learn(&key, r);
        let Some(object) = self.objects.get_mut(&key) else { return };
        let has_body = facts.is_some_and(|facts| !facts.uid.is_empty());
        let replicas = facts.and_then(|facts| facts.replicas);
        let is_create = &*r.verb == "create" && r.subresource.is_empty();
        let touch = Touch {
            time: now,
            origin: origin.clone(),
            by: r.role(),
            is_create,
            is_binding: &*r.subresource == "binding",
            is_delete,
            template: facts.and_then(|facts| facts.template),
            replicas,
            generation: facts.filter(|_| has_body).and_then(|facts| facts.generation),
            changes_metadata: has_body
                && r.subresource.is_empty()
                && old_metadata.is_some_and(|old| Some(old) != facts.map(|facts| facts.metadata)),
            message: Text::from(""),
        };

        if is_status {
            let other_action = object.created.as_ref().is_some_and(|created| {
                touch.origin.is_some()
                    && created.origin.as_ref().map(|origin| origin.action)
                        != touch.origin.as_ref().map(|origin| origin.action)
            });
            if r.role() == Role::Scheduler && other_action {
                object.created = Some(touch.clone());
            }
            object.status = Some(touch.clone());
        } else if is_delete {
            if object.deleted.is_none() {
                object.deleted = Some(touch.clone());
            }
            push(&mut object.spec, touch.clone());
        } else {
            // A pod starts again where a node was opened for it, or a container was added to it.
            let is_binding = &*r.subresource == "binding";
            let other_action = object.created.as_ref().is_none_or(|created| {
                touch.origin.is_some()
                    && created.origin.as_ref().map(|origin| origin.action)
                        != touch.origin.as_ref().map(|origin| origin.action)
            });
            if is_create || &*r.subresource == "ephemeralcontainers" || (is_binding && other_action)
            {
                object.created = Some(touch.clone());
            }
            push(&mut object.spec, touch.clone());
        }
        if !is_status
            && !is_delete
            && let Some(replicas) = replicas
        {
            object.replicas = Some(replicas);
            if &*key.resource == "replicasets" || &*key.resource == "replicationcontrollers" {
                let delta = replicas - old_replicas.filter(|_| !is_create).unwrap_or(0);
                for _ in 0..delta.abs().min(1_000) {
                    if delta > 0 {
                        object.ups.push_back(origin.clone());
                    } else if object.ups.pop_back().is_none() {
                        object.downs.push_back(origin.clone());
                    }
                }
            }
        }
        if let Some(facts) =
            facts.filter(|_| matches!(&*key.resource, "endpointslices" | "endpoints"))
        {
            object.endpoints.clone_from(&facts.endpoints);
        }

        let owners = object.owners.clone();
        if &*key.resource == "horizontalpodautoscalers"
            && let Some(target) = object.about.clone()
        {
            if self.recent.autoscalers.len() > 10_000 {
                self.recent.autoscalers.clear();
            }
            let target = self.objects.resolve(&target, &key.namespace);
            self.recent.autoscalers.insert(target, key.clone());
        }
        if !is_status {
            self.note_trigger(&key, &touch);
        }
        let by_set = matches!(
            r.role(),
            Role::Controller(Controller::ReplicaSet | Controller::ReplicationController)
        );
        let foreign_delete = is_delete
            && !was_deleting
            && !by_set
            && r.role() != Role::Kubelet
            && &*key.resource == "pods";
        for owner in &owners {
            if let Some(owner) = self.objects.get_mut(owner) {
                owner.seen = owner.seen.max(now);
                push(&mut owner.child, touch.clone());
                if foreign_delete && owner.deleted.is_none() {
                    owner.ups.push_back(origin.clone());
                }
            }
        }
        if &*key.resource == "pods" {
            for selecting in self.objects.selectors_of(&key) {
                if let Some(object) = self.objects.get_mut(&selecting) {
                    object.seen = object.seen.max(now);
                    push(&mut object.child, touch.clone());
                }
            }
            if &*r.subresource == "binding" {
                self.recent.starting.push_back((now, key.clone()));
                if self.recent.starting.len() > 512 {
                    self.recent.starting.pop_front();
                }
            }
        }
        if &*key.resource == "nodes" && !is_status {
            self.recent.node_writes.push_back(touch);
            if self.recent.node_writes.len() > 64 {
                self.recent.node_writes.pop_front();
            }
        }
    }
}

impl Step {
    fn new(
        r: &Request,
        is_root: bool,
        parent: Option<Text>,
        reason: Reason,
        confidence: f64,
        path: f64,
    ) -> Step {
        Step {
            audit_id: r.audit_id.clone(),
            time: r.received,
            identity: r.identity.clone(),
            verb: r.verb.clone(),
            group: r.group.clone(),
            object: r.object(),
            subresource: r.subresource.clone(),
            uid: match &r.facts {
                Some(facts) if !facts.uid.is_empty() => Text::from(&*facts.uid),
                _ => r.uid.clone(),
            },
            code: r.code,
            is_root,
            parent,
            reason,
            confidence,
            path_confidence: path,
            also: Vec::new(),
        }
    }
}
