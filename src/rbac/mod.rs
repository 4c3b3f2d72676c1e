//! Role-based access control: who may do what, through which binding. Pure questions to a
//! [`Snapshot`]; where its objects came from is not known here.
//!
//! Source: `plugin/pkg/auth/authorizer/rbac/rbac.go` and `pkg/registry/rbac/validation/rule.go`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    iter,
    sync::Arc,
};

mod aggregate;
pub mod danger;
mod identity;
pub mod load;
pub mod manifest;
mod object;
mod rule;
pub mod subject;
mod who_can;

#[cfg(test)]
mod recorded;

use foldhash::fast::RandomState;
pub use identity::{Held, Identity, now};
pub use object::{
    AggregationRule, LabelSelector, Metadata, Named, Objects, Pod, PolicyRule, Role, RoleBinding,
    RoleRef, Subject,
};
pub use rule::{ALL, kind_covers, path_covers};
use serde::Serialize;
pub use who_can::{What, WhoCan};

use crate::event::{Attributes, Target, User};

/// The group whose members the API server allows everything, before any other authorizer.
///
/// Source: `staging/src/k8s.io/apiserver/pkg/authorization/authorizerfactory/builtin.go`.
pub const MASTERS: &str = "system:masters";

/// The RBAC objects of a cluster at one time, ready to be asked.
///
/// ```
/// use kubectl_audit::{event::{Attributes, Target, User, ResourceRequest}, rbac::{Snapshot, load}};
///
/// let (objects, errors) = load::load(&std::fs::read("examples/rbac.json")?);
/// assert!(errors.is_empty());
/// let snapshot = Snapshot::new(objects);
/// let user = User { username: "alice".into(), groups: vec!["dev".into()], ..User::default() };
/// let pods = ResourceRequest { namespace: "team-a".into(), resource: "pods".into(), ..ResourceRequest::default() };
/// let mut request = Attributes { user: &user, verb: "list", target: Target::Resource(pods) };
/// assert!(snapshot.allows(&request));
/// request.verb = "impersonate";
/// assert!(!snapshot.allows(&request));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    bindings: Vec<Binding>,
    roles: HashMap<RoleKey, Arc<Role>>,
    /// By the subject's name as an authorizer compares it; those of cluster-wide bindings first.
    cluster_wide: Index,
    by_namespace: HashMap<Box<str>, Index, RandomState>,
    service_accounts: Option<HashSet<(Box<str>, Box<str>)>>,
    nodes: Option<HashSet<Box<str>>>,
    pods: Vec<Pod>,
    /// Numbers of pods by namespace and service account.
    accounts: HashMap<(Box<str>, Box<str>), Vec<usize>>,
    notes: Vec<String>,
    is_partial: bool,
}

/// Namespace (none for a ClusterRole) and name.
type RoleKey = (Box<str>, Box<str>);

/// Numbers of bindings by those they apply to.
#[derive(Debug, Clone, Default)]
struct Index {
    users: ByName,
    groups: ByName,
}

type ByName = HashMap<Box<str>, Vec<usize>, RandomState>;

/// A binding with the role that it gives.
#[derive(Debug, Clone)]
pub struct Binding {
    /// None for a ClusterRoleBinding.
    pub namespace: Option<Box<str>>,
    pub name: Box<str>,
    pub labels: BTreeMap<String, String>,
    pub role_ref: RoleRef,
    pub subjects: Vec<Subject>,
    /// `None` if there is no such role: the binding gives nothing.
    pub role: Option<Arc<Role>>,
}

/// A binding that applies to a user, through one of its subjects.
#[derive(Debug, Clone, Copy)]
pub struct Grant<'s> {
    /// Its number in the snapshot.
    pub id: usize,
    pub binding: &'s Binding,
    pub subject: &'s Subject,
}

/// Names an object of RBAC, as documents do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectName {
    pub kind: &'static str,
    pub name: String,
    pub namespace: Option<String>,
}

/// A grant as a document tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GrantName {
    pub binding: ObjectName,
    pub role: RoleRef,
    pub subject: Subject,
}

impl Binding {
    pub fn rules(&self) -> &[PolicyRule] {
        self.role.as_ref().map_or(&[], |it| &it.rules)
    }

    pub fn object_name(&self) -> ObjectName {
        let kind = if self.namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
        let namespace = self.namespace.as_deref().map(str::to_owned);
        ObjectName { kind, name: self.name.to_string(), namespace }
    }

    /// Whether it says anything about requests in this namespace (empty for cluster-wide ones).
    pub fn reaches(&self, namespace: &str) -> bool {
        self.namespace.as_deref().is_none_or(|it| it == namespace)
    }
}

impl ObjectName {
    /// As in `RoleBinding/build/ci-edit`.
    pub fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}/{namespace}/{}", self.kind, self.name),
            None => format!("{}/{}", self.kind, self.name),
        }
    }
}

impl RoleRef {
    /// As in `ClusterRole/edit`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

impl Subject {
    /// As in `Group ops` or `ServiceAccount build/ci`.
    pub fn label(&self) -> String {
        match self.namespace.as_deref().filter(|it| !it.is_empty()) {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

impl GrantName {
    /// In the words of the annotation `authorization.k8s.io/reason`.
    ///
    /// Source: `DescribeSubject` and `clusterRoleBindingDescriber` in
    /// `pkg/registry/rbac/validation/rule.go`.
    pub fn reason(&self) -> String {
        let ObjectName { kind, name, namespace } = &self.binding;
        let place = namespace.as_ref().map(|it| format!("/{it}")).unwrap_or_default();
        let of = match (self.subject.kind.as_str(), &self.subject.namespace) {
            ("ServiceAccount", of) => {
                let own = of.as_deref().filter(|it| !it.is_empty());
                format!("/{}", own.or(namespace.as_deref()).unwrap_or_default())
            }
            _ => String::new(),
        };
        format!(
            "RBAC: allowed by {kind} \"{name}{place}\" of {} \"{}\" to {} \"{}{of}\"",
            self.role.kind, self.role.name, self.subject.kind, self.subject.name
        )
    }
}

impl Grant<'_> {
    pub fn name(&self) -> GrantName {
        GrantName {
            binding: self.binding.object_name(),
            role: self.binding.role_ref.clone(),
            subject: self.subject.clone(),
        }
    }
}

impl Snapshot {
    /// Of an object that is there twice the last counts.
    pub fn new(mut objects: Objects) -> Snapshot {
        let mut notes = std::mem::take(&mut objects.notes);
        let mut unique = |kind: &str, all: &mut Vec<Role>| {
            keep_last(all, |it| &it.metadata, kind, &mut notes);
        };
        unique("ClusterRole", &mut objects.cluster_roles);
        unique("Role", &mut objects.roles);
        aggregate::fill(&mut objects.cluster_roles);
        let mut snapshot = Snapshot { is_partial: objects.is_partial, ..Snapshot::default() };
        for role in objects.cluster_roles.into_iter().chain(objects.roles) {
            let key = (role.metadata.namespace.as_str().into(), role.metadata.name.as_str().into());
            snapshot.roles.insert(key, Arc::new(role));
        }
        let mut bindings = objects.cluster_role_bindings;
        keep_last(&mut bindings, |it| &it.metadata, "ClusterRoleBinding", &mut notes);
        keep_last(&mut objects.role_bindings, |it| &it.metadata, "RoleBinding", &mut notes);
        bindings.append(&mut objects.role_bindings);
        bindings.sort_by(|a, b| {
            let key = |it: &RoleBinding| (it.metadata.namespace.clone(), it.metadata.name.clone());
            key(a).cmp(&key(b))
        });
        bindings.into_iter().for_each(|it| snapshot.add(it));
        let pair = |it: Named| (it.metadata.namespace.into(), it.metadata.name.into());
        snapshot.service_accounts =
            objects.service_accounts.map(|it| it.into_iter().map(pair).collect());
        let name = |it: Named| it.metadata.name.into();
        snapshot.nodes = objects.nodes.map(|it| it.into_iter().map(name).collect());
        snapshot.pods = objects.pods.unwrap_or_default();
        snapshot.pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for (n, pod) in snapshot.pods.iter().enumerate() {
            let key = (pod.metadata.namespace.as_str().into(), pod.service_account().into());
            snapshot.accounts.entry(key).or_default().push(n);
        }
        snapshot.notes = notes;
        snapshot
    }

    fn add(&mut self, binding: RoleBinding) {
        let RoleBinding { metadata, role_ref, subjects } = binding;
        let namespace = (!metadata.namespace.is_empty()).then(|| metadata.namespace.into());
        // A ClusterRoleBinding finds no Role: it has no namespace to look in.
        let of = match (role_ref.kind.as_str(), &namespace) {
            ("ClusterRole", _) => Some("".into()),
            ("Role", Some(namespace)) => Some(Box::clone(namespace)),
            _ => None,
        };
        let role = of.and_then(|it| self.roles.get(&(it, role_ref.name.as_str().into())).cloned());
        let id = self.bindings.len();
        let index = match &namespace {
            None => &mut self.cluster_wide,
            Some(it) => self.by_namespace.entry(it.clone()).or_default(),
        };
        for subject in &subjects {
            let Some((names, name)) = index.names(subject, namespace.as_deref()) else { continue };
            let ids = names.entry(name).or_default();
            if ids.last() != Some(&id) {
                ids.push(id);
            }
        }
        let labels = metadata.labels;
        self.bindings.push(Binding {
            labels,
            namespace,
            name: metadata.name.into(),
            role_ref,
            subjects,
            role,
        });
    }

    /// Every binding that applies to a user, whatever it is about: cluster-wide ones, then by namespace.
    pub fn grants_for(&self, user: &User<'_>) -> Vec<Grant<'_>> {
        let everywhere = self.cluster_wide.applying(user);
        let within = self.by_namespace.values().flat_map(|it| it.applying(user));
        self.sorted(everywhere.into_iter().chain(within).collect(), user)
    }

    /// The bindings that allow a request.
    pub fn grants(&self, attributes: &Attributes<'_>) -> Vec<Grant<'_>> {
        let mut ids = self.cluster_wide.applying(attributes.user);
        if let Target::Resource(it) = &attributes.target
            && let Some(index) = self.by_namespace.get(&*it.namespace)
        {
            ids.extend(index.applying(attributes.user));
        }
        ids.retain(|it| {
            let covers = |it: &PolicyRule| it.covers(attributes.verb, &attributes.target);
            self.bindings[*it].rules().iter().any(covers)
        });
        self.sorted(ids, attributes.user)
    }

    fn sorted(&self, mut ids: Vec<usize>, user: &User<'_>) -> Vec<Grant<'_>> {
        ids.sort_unstable();
        ids.dedup();
        let grant = |id: usize| {
            let binding = &self.bindings[id];
            let applies = |it: &&Subject| applies(it, binding.namespace.as_deref(), user);
            binding.subjects.iter().find(applies).map(|subject| Grant { id, binding, subject })
        };
        ids.into_iter().filter_map(grant).collect()
    }

    /// Whether an authorizer allows a request: RBAC, or [`MASTERS`] before it.
    pub fn allows(&self, attributes: &Attributes<'_>) -> bool {
        let Attributes { user, verb, target } = attributes;
        is_master(user) || self.rules(attributes).any(|it| it.covers(verb, target))
    }

    /// Whether the object's name may decide: some rule for such requests has names.
    pub fn looks_at_name(&self, attributes: &Attributes<'_>) -> bool {
        let Target::Resource(it) = &attributes.target else { return false };
        self.rules(attributes).any(|rule| {
            !rule.resource_names.is_empty()
                && rule.covers_verb(attributes.verb)
                && rule.covers_resource(it)
        })
    }

    /// The rules that the user has where the request goes.
    fn rules<'s>(&'s self, attributes: &'s Attributes<'_>) -> impl Iterator<Item = &'s PolicyRule> {
        let within = match &attributes.target {
            Target::Resource(it) => self.by_namespace.get(&*it.namespace),
            Target::Path(_) => None,
        };
        let indexes = iter::once(&self.cluster_wide).chain(within);
        let ids = indexes.flat_map(|it| it.lists(attributes.user)).flatten();
        ids.flat_map(|id| self.bindings[*id].rules())
    }

    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The role of a name, in a namespace or for the whole cluster.
    pub fn role(&self, namespace: &str, name: &str) -> Option<&Role> {
        self.roles.get(&(namespace.into(), name.into())).map(|it| &**it)
    }

    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values().map(|it| &**it)
    }

    /// `None` if nobody listed them.
    pub fn has_service_account(&self, namespace: &str, name: &str) -> Option<bool> {
        let all = self.service_accounts.as_ref()?;
        Some(all.contains(&(namespace.into(), name.into())))
    }

    pub fn has_node(&self, name: &str) -> Option<bool> {
        self.nodes.as_ref().map(|it| it.contains(name))
    }

    /// The pods that run as a service account, by name; none also if nobody listed them.
    pub fn pods_of(&self, namespace: &str, name: &str) -> impl Iterator<Item = &Pod> {
        let numbers = self.accounts.get(&(namespace.into(), name.into()));
        numbers.into_iter().flatten().map(|it| &self.pods[*it])
    }

    /// All pods; none also if nobody listed them.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// What is odd or missing, in words for a person.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Whether a kind could not be listed, so that grants may be missing.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }
}

impl Index {
    /// Where a subject belongs. A service account is the user of its implied name.
    fn names(
        &mut self,
        subject: &Subject,
        namespace: Option<&str>,
    ) -> Option<(&mut ByName, Box<str>)> {
        match subject.kind.as_str() {
            "User" => Some((&mut self.users, subject.name.as_str().into())),
            "Group" => Some((&mut self.groups, subject.name.as_str().into())),
            "ServiceAccount" => {
                let own = subject.namespace.as_deref().filter(|it| !it.is_empty());
                let name = subject::username(own.or(namespace)?, &subject.name);
                Some((&mut self.users, name.into()))
            }
            _ => None,
        }
    }

    fn applying(&self, user: &User<'_>) -> Vec<usize> {
        self.lists(user).flatten().copied().collect()
    }

    /// The bindings of the user by name, and of each of its groups.
    fn lists<'i>(&'i self, user: &'i User<'_>) -> impl Iterator<Item = &'i Vec<usize>> {
        let groups = user.groups.iter().filter_map(|it| self.groups.get(&**it));
        self.users.get(&*user.username).into_iter().chain(groups)
    }
}

/// Whether the API server allows this user everything.
pub fn is_master(user: &User<'_>) -> bool {
    user.groups.iter().any(|it| it == MASTERS)
}

/// Source: `appliesToUser` in `pkg/registry/rbac/validation/rule.go`.
fn applies(subject: &Subject, namespace: Option<&str>, user: &User<'_>) -> bool {
    match subject.kind.as_str() {
        "User" => user.username == subject.name,
        "Group" => user.groups.iter().any(|it| *it == subject.name),
        "ServiceAccount" => {
            let own = subject.namespace.as_deref().filter(|it| !it.is_empty());
            own.or(namespace)
                .is_some_and(|it| user.username == subject::username(it, &subject.name))
        }
        _ => false,
    }
}

/// Leaves the last of each name, in the place of the first, and tells of the others.
fn keep_last<T>(
    all: &mut Vec<T>,
    metadata: impl Fn(&T) -> &Metadata,
    kind: &str,
    notes: &mut Vec<String>,
) {
    let key = |it: &T| (metadata(it).namespace.clone(), metadata(it).name.clone());
    let mut last: HashMap<(String, String), usize> = HashMap::new();
    let mut kept: Vec<T> = Vec::with_capacity(all.len());
    for it in all.drain(..) {
        match last.get(&key(&it)) {
            Some(at) => {
                let name = key(&it).1;
                notes.push(format!("{kind} `{name}` is there more than once; the last counts"));
                kept[*at] = it;
            }
            None => {
                last.insert(key(&it), kept.len());
                kept.push(it);
            }
        }
    }
    *all = kept;
}

#[cfg(test)]
mod tests;
