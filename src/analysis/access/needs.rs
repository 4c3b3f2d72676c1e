//! What subjects really did and were allowed, and the least roles that allow just that.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Requests,
    coverage::{Coverage, Window},
    left_out::{Include, LeftOut},
};
use crate::{
    analysis::Analysis,
    decode::{Projection, Record},
    event::{Attributes, ResourceRequest, Target, User},
    rbac::PolicyRule,
};

/// Collects what each of some users did.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The users that are meant; empty for all but the system's own.
    users: BTreeSet<String>,
    max_names: usize,
    include: Include,
    left_out: LeftOut,
    requests: Requests,
    found: BTreeMap<String, Need>,
    coverage: Coverage,
}

/// What one user did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    pub requests: u64,
    /// Names by scope, resource and verb.
    resources: BTreeMap<(Scope, Kind), BTreeMap<String, Names>>,
    /// Verbs by path.
    paths: BTreeMap<String, BTreeSet<String>>,
}

/// A namespace, or `None` for the whole cluster.
pub type Scope = Option<String>;

/// Group, and resource with its subresource.
type Kind = (String, String);

/// The names a verb was used on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Names {
    These(BTreeSet<String>),
    /// More than the threshold, or without a name.
    Any,
}

/// What was found of everybody.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    pub users: BTreeMap<String, Need>,
    pub window: Window,
    pub left_out: LeftOut,
}

/// Kinds of need kept of one user: more than any API has.
const MAX_KINDS: usize = 10_000;

/// Verbs that a client needs together: who watches lists first, and looks again.
const READING: [&str; 3] = ["get", "list", "watch"];

impl Needs {
    /// Of these users (of all but those named `system:` if there are none), with at most so many names
    /// for one verb on one resource; more become a rule without names.
    pub fn new(users: BTreeSet<String>, max_names: usize, projection: &mut Projection) -> Needs {
        let requests = Requests::new(projection);
        Needs {
            users,
            max_names,
            include: Include::default(),
            left_out: LeftOut::default(),
            requests,
            found: BTreeMap::new(),
            coverage: Coverage::default(),
        }
    }

    /// The same, with requests that are left out otherwise.
    #[must_use]
    pub fn including(self, include: Include) -> Needs {
        Needs { include, ..self }
    }

    fn is_meant(&self, user: &User<'_>) -> bool {
        if self.users.is_empty() {
            let is_account = user.username.starts_with("system:serviceaccount:")
                && !user.username.starts_with("system:serviceaccount:kube-system:");
            return is_account
                || !user.username.starts_with("system:") && !user.username.is_empty();
        }
        self.users.contains(&*user.username)
    }

    fn add(&mut self, attributes: &Attributes<'_>) {
        let need = self.found.entry(attributes.user.username.to_string()).or_default();
        need.requests += 1;
        if is_everybodys(attributes.verb, &attributes.target) {
            return;
        }
        match &attributes.target {
            Target::Path(path) => {
                if need.paths.len() < MAX_KINDS {
                    let verbs = need.paths.entry(path.to_string()).or_default();
                    verbs.insert(attributes.verb.to_owned());
                }
            }
            Target::Resource(it) => need.resource(attributes.verb, it, self.max_names),
        }
    }
}

impl Need {
    fn resource(&mut self, verb: &str, it: &ResourceRequest<'_>, max_names: usize) {
        let kind = match it.subresource.as_ref() {
            "" => it.resource.to_string(),
            sub => format!("{}/{sub}", it.resource),
        };
        let scope = (!it.namespace.is_empty()).then(|| it.namespace.to_string());
        let key = (scope, (it.api_group.to_string(), kind));
        if self.resources.len() >= MAX_KINDS && !self.resources.contains_key(&key) {
            return;
        }
        let verbs = self.resources.entry(key).or_default();
        let names = match it.name.as_ref() {
            // A create has no name yet when it is judged; a collection never has one.
            "" => Names::Any,
            _ if matches!(verb, "create" | "deletecollection") && it.subresource.is_empty() => {
                Names::Any
            }
            name => Names::These(BTreeSet::from([name.to_owned()])),
        };
        match verbs.get_mut(verb) {
            Some(mine) => mine.join(names, max_names),
            None => {
                let mut mine = Names::These(BTreeSet::new());
                mine.join(names, max_names);
                verbs.insert(verb.to_owned(), mine);
            }
        }
        // From 1.35 on the API server wants `create` too for a stream over WebSocket.
        let is_stream = matches!(it.subresource.as_ref(), "exec" | "attach" | "portforward");
        if verb == "get" && it.resource == "pods" && is_stream {
            self.resource("create", it, max_names);
        }
    }

    fn merge(&mut self, other: Need, max_names: usize) {
        self.requests += other.requests;
        for (key, verbs) in other.resources {
            let mine = self.resources.entry(key).or_default();
            for (verb, names) in verbs {
                let empty = || Names::These(BTreeSet::new());
                mine.entry(verb).or_insert_with(empty).join(names, max_names);
            }
        }
        for (path, verbs) in other.paths {
            self.paths.entry(path).or_default().extend(verbs);
        }
    }

    /// The least rules for each scope, in a fixed order. `expands` gives `get`, `list` and `watch`
    /// together where one of them was used; in more than `max_namespaces` namespaces a need becomes
    /// one of the whole cluster.
    pub fn rules(&self, expands: bool, max_namespaces: usize) -> BTreeMap<Scope, Vec<PolicyRule>> {
        let mut scopes: BTreeMap<Scope, BTreeMap<(Kind, Names), BTreeSet<String>>> =
            BTreeMap::new();
        for ((scope, kind), verbs) in self.widened(max_namespaces) {
            for (verb, names) in verbs {
                let verbs = scopes.entry(scope.clone()).or_default();
                let verbs = verbs.entry((kind.clone(), names)).or_default();
                verbs.insert(verb.clone());
                if expands && READING.contains(&verb.as_str()) && !kind.1.contains('/') {
                    verbs.extend(READING.map(str::to_owned));
                }
            }
        }
        let everywhere = scopes.get(&None).cloned().unwrap_or_default();
        let mut rules = BTreeMap::new();
        for (scope, mut needs) in scopes {
            without_covered(&mut needs, scope.is_some().then_some(&everywhere));
            let of = merged(needs);
            if !of.is_empty() {
                rules.insert(scope, of);
            }
        }
        if !self.paths.is_empty() {
            rules.entry(None).or_default().extend(path_rules(&self.paths));
        }
        rules
    }

    /// The needs, those of many namespaces made one.
    fn widened(&self, max_namespaces: usize) -> BTreeMap<(Scope, Kind), BTreeMap<String, Names>> {
        let mut namespaces: BTreeMap<&Kind, usize> = BTreeMap::new();
        for (_, kind) in self.resources.keys().filter(|it| it.0.is_some()) {
            *namespaces.entry(kind).or_default() += 1;
        }
        let mut widened: BTreeMap<(Scope, Kind), BTreeMap<String, Names>> = BTreeMap::new();
        for ((scope, kind), verbs) in &self.resources {
            let is_wide = namespaces.get(kind).is_some_and(|it| *it > max_namespaces);
            let scope = scope.clone().filter(|_| !is_wide);
            let into = widened.entry((scope, kind.clone())).or_default();
            for (verb, names) in verbs {
                let empty = || Names::These(BTreeSet::new());
                into.entry(verb.clone()).or_insert_with(empty).join(names.clone(), usize::MAX);
            }
        }
        widened
    }
}

impl Names {
    fn covers(&self, other: &Names) -> bool {
        match (self, other) {
            (Names::Any, _) => true,
            (Names::These(mine), Names::These(its)) => its.is_subset(mine),
            (Names::These(_), Names::Any) => false,
        }
    }

    fn join(&mut self, other: Names, max: usize) {
        match (&mut *self, other) {
            (Names::These(mine), Names::These(its)) => {
                mine.extend(its);
                if mine.len() > max {
                    *self = Names::Any;
                }
            }
            _ => *self = Names::Any,
        }
    }
}

type Verbs = BTreeMap<(Kind, Names), BTreeSet<String>>;

/// Takes out what is allowed by another need, here or in the whole cluster.
fn without_covered(needs: &mut Verbs, everywhere: Option<&Verbs>) {
    let all = needs.clone();
    for (need, verbs) in needs.iter_mut() {
        verbs.retain(|verb| {
            let is_covered = |of: &Verbs, may_be_same: bool| {
                of.range((need.0.clone(), Names::These(BTreeSet::new()))..)
                    .take_while(|(it, _)| it.0 == need.0)
                    .any(|(it, verbs)| {
                        (may_be_same || it != need) && it.1.covers(&need.1) && verbs.contains(verb)
                    })
            };
            !is_covered(&all, false) && !everywhere.is_some_and(|it| is_covered(it, true))
        });
    }
    needs.retain(|_, verbs| !verbs.is_empty());
}

/// Rules of the same group, verbs and names become one: that allows nothing more.
fn merged(needs: Verbs) -> Vec<PolicyRule> {
    let mut rules: BTreeMap<(String, Vec<String>, Names), Vec<String>> = BTreeMap::new();
    for (((group, resource), names), verbs) in needs {
        let verbs: Vec<String> = verbs.into_iter().collect();
        rules.entry((group, verbs, names)).or_default().push(resource);
    }
    let rule = |((group, verbs, names), resources): ((String, Vec<String>, Names), Vec<String>)| {
        let resource_names = match names {
            Names::Any => Vec::new(),
            Names::These(names) => names.into_iter().collect(),
        };
        let api_groups = vec![group];
        PolicyRule { api_groups, resources, resource_names, verbs, ..PolicyRule::default() }
    };
    let mut rules: Vec<PolicyRule> = rules.into_iter().map(rule).collect();
    rules.sort_by(|a, b| {
        let key = |it: &PolicyRule| (it.api_groups.clone(), it.resources.clone(), it.verbs.clone());
        key(a).cmp(&key(b)).then_with(|| a.resource_names.cmp(&b.resource_names))
    });
    rules
}

fn path_rules(paths: &BTreeMap<String, BTreeSet<String>>) -> Vec<PolicyRule> {
    let mut rules: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (path, verbs) in paths {
        rules.entry(verbs.iter().cloned().collect()).or_default().push(path.clone());
    }
    let rule = |(verbs, non_resource_urls)| PolicyRule {
        non_resource_urls,
        verbs,
        ..PolicyRule::default()
    };
    rules.into_iter().map(rule).collect()
}

/// Whether every authenticated user may do this by the roles that Kubernetes itself brings: discovery,
/// health, and asking about oneself.
///
/// Source: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`: `system:discovery`,
/// `system:public-info-viewer`, `system:basic-user`.
pub fn is_everybodys(verb: &str, target: &Target<'_>) -> bool {
    match target {
        Target::Path(path) => {
            let below = |root: &str| {
                path.strip_prefix(root).is_some_and(|it| it.is_empty() || it.starts_with('/'))
            };
            verb == "get"
                && (["/api", "/apis", "/openapi"].iter().any(|it| below(it))
                    || matches!(
                        &**path,
                        "/healthz" | "/livez" | "/readyz" | "/version" | "/version/"
                    ))
        }
        Target::Resource(it) => {
            verb == "create"
                && it.subresource.is_empty()
                && matches!(
                    (&*it.api_group, &*it.resource),
                    (
                        "authorization.k8s.io",
                        "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
                    ) | ("authentication.k8s.io", "selfsubjectreviews")
                )
        }
    }
}

impl Analysis for Needs {
    type Report = Needed;

    fn observe(&mut self, record: &Record<'_>) {
        self.coverage.add(record.stage_timestamp());
        if !record.ends_request() {
            return;
        }
        let request = self.requests.read(record);
        let by = self.requests.impersonator(record);
        if let Some(by) = &by
            && self.is_meant(by)
        {
            for target in Requests::impersonated(&request.user) {
                let target = Target::Resource(target);
                self.add(&Attributes { user: by, verb: "impersonate", target });
            }
        }

        if !self.is_meant(&request.user) {
            return;
        }
        if let Some(by) = by.filter(|_| !self.include.impersonated) {
            self.left_out.add_impersonated(&by.username);
        } else if request.is_denied() && !self.include.denied {
            self.left_out.denied += 1;
        } else if request.refused_impersonation().is_none() {
            self.add(&request.attributes());
            if let Some(create) = request.as_create() {
                self.add(&create);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (name, its) in other.found {
            self.found.entry(name).or_default().merge(its, self.max_names);
        }
        self.coverage.merge(other.coverage);
        self.left_out.merge(other.left_out);
    }

    fn finish(self) -> Needed {
        Needed { users: self.found, window: self.coverage.window(), left_out: self.left_out }
    }
}
