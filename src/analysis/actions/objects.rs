//! What is remembered of objects: their owners, and who touched them lately, on behalf of which action.

use std::collections::{HashMap, VecDeque};

use crate::event::Timestamp;

use super::{
    facts::{Facts, Reference},
    names,
    requests::{ObjectKey, Request, Span, Text},
    roles::Role,
};

/// A touch that is older causes nothing.
pub const MEMORY: Span = Span::from_secs(600);
/// A deleted object is forgotten after this.
const AFTER_DELETE: Span = Span::from_secs(60);
/// Touches remembered of each kind.
const RING: usize = 16;
/// Objects remembered.
pub const MOST_OBJECTS: usize = 200_000;

/// On behalf of which action something happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    pub action: u64,
    /// The request to link to.
    pub parent: Text,
    /// The smallest confidence on the way from the root.
    pub path: f64,
}

/// A request that changed an object.
#[derive(Debug, Clone)]
pub struct Touch {
    pub time: Timestamp,
    /// `None` for background: it ends a chain instead of prolonging it.
    pub origin: Option<Origin>,
    pub by: Role,
    pub is_create: bool,
    pub is_binding: bool,
    pub is_delete: bool,
    pub template: Option<u64>,
    pub replicas: Option<i64>,
    pub generation: Option<i64>,
    /// Whether labels or annotations changed.
    pub changes_metadata: bool,
    pub message: Text,
}

/// What is remembered of one object.
#[derive(Debug)]
pub struct Object {
    pub uid: Text,
    pub owners: Vec<ObjectKey>,
    pub labels: Vec<(String, String)>,
    pub selector: Vec<(String, String)>,
    pub has_facts: bool,
    pub template: Option<u64>,
    pub replicas: Option<i64>,
    pub desired: Option<i64>,
    pub bounds: Option<(i64, i64)>,
    pub about: Option<Reference>,
    pub node: Text,
    pub is_unschedulable: bool,
    pub taints: usize,
    pub metadata: u64,
    pub uses: Vec<String>,
    pub endpoints: Vec<(String, u64)>,
    pub spec: VecDeque<Touch>,
    pub status: Option<Touch>,
    pub child: VecDeque<Touch>,
    pub created: Option<Touch>,
    pub deleted: Option<Touch>,
    /// The deletion of the object that had this name before.
    pub predecessor: Option<Touch>,
    /// Pods that are to be created and deleted, with the reason of each.
    pub ups: VecDeque<Option<Origin>>,
    pub downs: VecDeque<Option<Origin>>,
    /// The last read by machinery that may belong to the write that follows it.
    pub last_read: Option<(Timestamp, Text, u64)>,
    pub seen: Timestamp,
}

impl Object {
    fn new(now: Timestamp) -> Object {
        Object {
            uid: Text::from(""),
            owners: Vec::new(),
            labels: Vec::new(),
            selector: Vec::new(),
            has_facts: false,
            template: None,
            replicas: None,
            desired: None,
            bounds: None,
            about: None,
            node: Text::from(""),
            is_unschedulable: false,
            taints: 0,
            metadata: 0,
            uses: Vec::new(),
            endpoints: Vec::new(),
            spec: VecDeque::new(),
            status: None,
            child: VecDeque::new(),
            created: None,
            deleted: None,
            predecessor: None,
            ups: VecDeque::new(),
            downs: VecDeque::new(),
            last_read: None,
            seen: now,
        }
    }

    /// The latest touch of its specification or of a child.
    pub fn latest(&self, now: Timestamp) -> Option<&Touch> {
        newest([self.latest_spec(now), self.latest_child(now)])
    }

    pub fn latest_spec(&self, now: Timestamp) -> Option<&Touch> {
        self.spec.iter().rev().find(|touch| is_recent(touch, now))
    }

    pub fn latest_child(&self, now: Timestamp) -> Option<&Touch> {
        self.child.iter().rev().find(|touch| is_recent(touch, now))
    }

    /// The write that brought in the newest use of a template.
    pub fn introducer(&self, template: u64) -> Option<&Touch> {
        let mut found = None;
        for touch in self.spec.iter().rev().filter(|touch| touch.template.is_some()) {
            if touch.template == Some(template) {
                found = Some(touch);
            } else if found.is_some() {
                break;
            }
        }
        found
    }

    /// The write that replaced a template by the next one.
    pub fn superseder(&self, template: u64) -> Option<&Touch> {
        let mut found = None;
        for touch in self.spec.iter().rev().filter(|touch| touch.template.is_some()) {
            if touch.template == Some(template) {
                return found;
            }
            found = Some(touch);
        }
        found
    }

    /// The last write that set this number of replicas where it was another before.
    pub fn scaler(&self, replicas: i64) -> Option<&Touch> {
        let mut found = None;
        for touch in self.spec.iter().rev().filter(|touch| touch.replicas.is_some()) {
            if touch.replicas == Some(replicas) {
                found = Some(touch);
            } else if found.is_some() {
                break;
            }
        }
        found
    }
}

/// The latest of some touches.
pub fn newest<'t>(touches: impl IntoIterator<Item = Option<&'t Touch>>) -> Option<&'t Touch> {
    touches.into_iter().flatten().max_by_key(|touch| touch.time)
}

pub fn is_recent(touch: &Touch, now: Timestamp) -> bool {
    touch.time <= now && Span::between(touch.time, now) <= MEMORY
}

/// All objects that are remembered.
#[derive(Debug, Default)]
pub struct Objects {
    all: HashMap<ObjectKey, Object, foldhash::fast::FixedState>,
    by_uid: HashMap<Text, ObjectKey, foldhash::fast::FixedState>,
    /// Services and budgets of a namespace: what selects pods.
    selecting: HashMap<Text, Vec<ObjectKey>, foldhash::fast::FixedState>,
    last_sweep: Option<Timestamp>,
    pub n_dropped: u64,
}

impl Objects {
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.all.get(key)
    }

    pub fn get_mut(&mut self, key: &ObjectKey) -> Option<&mut Object> {
        self.all.get_mut(key)
    }

    pub fn key_of_uid(&self, uid: &str) -> Option<&ObjectKey> {
        self.by_uid.get(uid)
    }

    /// The object of a reference in an object of `namespace`.
    pub fn resolve(&self, reference: &Reference, namespace: &Text) -> ObjectKey {
        if let Some(key) = self.key_of_uid(&reference.uid).filter(|_| !reference.uid.is_empty()) {
            return key.clone();
        }
        let resource = names::resource_of_kind(&reference.kind, &reference.group);
        let is_cluster_wide = matches!(&*resource, "nodes" | "namespaces" | "persistentvolumes");
        ObjectKey {
            namespace: if is_cluster_wide {
                Text::from("")
            } else if reference.namespace.is_empty() {
                namespace.clone()
            } else {
                Text::from(&*reference.namespace)
            },
            resource: Text::from(&*resource),
            name: Text::from(&*reference.name),
        }
    }

    /// The owners of the object of a request: from its body, from memory, or by its name.
    pub fn owners(&self, r: &Request) -> Vec<ObjectKey> {
        let key = r.object();
        if let Some(facts) = r.facts.as_ref().filter(|facts| !facts.owners.is_empty()) {
            return facts.owners.iter().map(|owner| self.resolve(owner, &key.namespace)).collect();
        }
        if let Some(object) =
            self.get(&key).filter(|object| !object.owners.is_empty() || object.has_facts)
        {
            return object.owners.clone();
        }
        self.owners_by_name(&key)
    }

    /// Owners by name, as far as they are remembered.
    pub fn owners_by_name(&self, key: &ObjectKey) -> Vec<ObjectKey> {
        let candidates =
            names::owners(&key.resource, &key.name).into_iter().map(|(resource, name)| ObjectKey {
                resource: Text::from(resource),
                namespace: key.namespace.clone(),
                name: Text::from(name),
            });
        candidates.filter(|owner| self.all.contains_key(owner)).take(1).collect()
    }

    /// The services and budgets that select this pod.
    pub fn selectors_of(&self, pod: &ObjectKey) -> Vec<ObjectKey> {
        let Some(all) = self.selecting.get(&pod.namespace) else { return Vec::new() };
        let object = self.all.get(pod);
        let selects = |key: &&ObjectKey| {
            let Some(selecting) = self.all.get(*key) else { return false };
            match object {
                Some(object) if !object.labels.is_empty() && !selecting.selector.is_empty() => {
                    selecting.selector.iter().all(|pair| object.labels.contains(pair))
                }
                _ => pod
                    .name
                    .strip_prefix(&*key.name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
            }
        };
        all.iter().filter(selects).cloned().collect()
    }

    /// Remembers that an object belongs to another, where nothing else is known of its owners.
    pub fn adopt(&mut self, key: &ObjectKey, owner: &ObjectKey, now: Timestamp) {
        let object = self.all.entry(key.clone()).or_insert_with(|| Object::new(now));
        if object.owners.is_empty() {
            object.owners = vec![owner.clone()];
        }
    }

    /// Remembers an object whose creation was found out later.
    pub fn create(&mut self, key: &ObjectKey, owner: ObjectKey, touch: Touch) {
        let object = self.all.entry(key.clone()).or_insert_with(|| Object::new(touch.time));
        object.owners = vec![owner];
        object.created = Some(touch.clone());
        push(&mut object.spec, touch);
    }

    /// Makes sure that an object is remembered, and takes over the facts of a request. An object of
    /// another uid replaces the one of the same name.
    pub fn learn(&mut self, key: &ObjectKey, r: &Request) {
        let now = r.received;
        let facts = r.facts.as_deref();
        let uid = facts.map_or("", |facts| &*facts.uid);
        let uid = if uid.is_empty() && r.subresource.is_empty() { &*r.uid } else { uid };
        let owners: Option<Vec<ObjectKey>> =
            facts.filter(|facts| !facts.owners.is_empty()).map(|facts| {
                facts.owners.iter().map(|owner| self.resolve(owner, &key.namespace)).collect()
            });
        let by_name = if owners.is_none()
            && facts.is_none_or(|facts| facts.uid.is_empty())
            && !self.all.contains_key(key)
        {
            self.owners_by_name(key)
        } else {
            Vec::new()
        };
        let is_new = !self.all.contains_key(key);
        let object = self.all.entry(key.clone()).or_insert_with(|| Object::new(now));
        object.seen = object.seen.max(now);
        let is_other = !uid.is_empty() && !object.uid.is_empty() && *object.uid != *uid;
        let is_again = &*r.verb == "create" && r.subresource.is_empty() && object.deleted.is_some();
        if is_other || is_again {
            let predecessor = object.deleted.take();
            *object = Object { predecessor, ..Object::new(now) };
        }
        if !uid.is_empty() && object.uid.is_empty() {
            object.uid = Text::from(uid);
            self.by_uid.insert(object.uid.clone(), key.clone());
        }
        if !by_name.is_empty() && object.owners.is_empty() {
            object.owners = by_name;
        }
        if let Some(owners) = owners {
            object.owners = owners;
        }
        if let Some(facts) = facts.filter(|_| {
            r.subresource.is_empty() || matches!(&*r.subresource, "status" | "ephemeralcontainers")
        }) {
            object.learn(facts);
        }
        if (is_new || is_other || is_again)
            && matches!(&*key.resource, "services" | "poddisruptionbudgets")
        {
            let all = self.selecting.entry(key.namespace.clone()).or_default();
            if !all.contains(key) {
                all.push(key.clone());
            }
        }
        self.sweep(now);
    }

    /// Forgets what is old, once a minute, or the oldest half where there are too many.
    fn sweep(&mut self, now: Timestamp) {
        let is_full = self.all.len() > MOST_OBJECTS;
        let is_due =
            self.last_sweep.is_none_or(|last| Span::between(last, now) > Span::from_secs(60));
        if !is_due && !is_full {
            return;
        }
        self.last_sweep = Some(now);
        if is_full {
            let mut times: Vec<Timestamp> = self.all.values().map(|object| object.seen).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            let before = self.all.len();
            let mut excess = before / 4;
            self.all.retain(|_, object| {
                let is_old = object.seen < median || object.seen == median && excess > 0;
                if object.seen == median && excess > 0 {
                    excess -= 1;
                }
                !is_old
            });
            self.n_dropped += (before - self.all.len()) as u64;
        }
        self.all.retain(|_, object| {
            let limit = if object.deleted.is_some() { AFTER_DELETE } else { MEMORY };
            Span::between(object.seen, now) <= limit
        });
        let all = &self.all;
        self.by_uid.retain(|_, key| all.contains_key(key));
        self.selecting.retain(|_, keys| {
            keys.retain(|key| all.contains_key(key));
            !keys.is_empty()
        });
    }
}

impl Object {
    fn learn(&mut self, facts: &Facts) {
        if facts.uid.is_empty() {
            return;
        }
        self.has_facts = true;
        self.labels.clone_from(&facts.labels);
        if !facts.selector.is_empty() {
            self.selector.clone_from(&facts.selector);
        }
        self.is_unschedulable = facts.is_unschedulable;
        self.metadata = facts.metadata;
        if facts.desired_replicas.is_some() {
            self.desired = facts.desired_replicas;
        }
        if facts.template.is_some() {
            self.template = facts.template;
        }
        if facts.about.is_some() {
            self.about.clone_from(&facts.about);
        }
        if !facts.node.is_empty() {
            self.node = Text::from(&*facts.node);
        }
        if let Some(taints) = facts.taints {
            self.taints = taints;
        }
        if let (Some(min), Some(max)) = (facts.min_replicas, facts.max_replicas) {
            self.bounds = Some((min, max));
        }
        if !facts.uses.is_empty() {
            self.uses.clone_from(&facts.uses);
        }
    }
}

/// Adds a touch, forgetting the oldest of too many.
pub fn push(ring: &mut VecDeque<Touch>, touch: Touch) {
    if ring.len() == RING {
        ring.pop_front();
    }
    ring.push_back(touch);
}
