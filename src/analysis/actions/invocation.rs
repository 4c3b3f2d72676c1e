//! Which requests of a client belong to one run of it.
//!
//! A run reads schemas, reads objects, writes them and waits for them. Each rule says why a request
//! continues a run; without a rule that holds, it starts a new one.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use crate::event::Timestamp;

use super::{
    confidence::Reason,
    requests::{ObjectKey, Request, Span, Text},
    roles,
};

/// A gap between two requests of one run while the client only computes.
const NEAR: Span = Span::from_millis(25);
/// A gap that no run has between two requests, unless it waits.
const LIMIT: Span = Span::from_millis(300);
/// A run without a request for that long is over.
pub const IDLE: Span = Span::from_secs(90);
/// An editor may be open for that long.
const EDIT: Span = Span::from_secs(3_600);
/// Open runs of one identity.
pub const MOST_OPEN: usize = 24;
/// Objects and paths that a run remembers.
const MOST_REMEMBERED: usize = 4_096;
/// The server notes the end of a request slightly after the client has the answer.
const OVERLAP: Span = Span::from_millis(2);

/// One run of a client, as far as seen.
#[derive(Debug)]
pub struct Invocation {
    pub action: u64,
    pub last: Arc<Request>,
    /// When it was last known to do something.
    pub active: Timestamp,
    pub first: Timestamp,
    pub n_requests: usize,
    read: HashSet<ObjectKey>,
    written: HashSet<ObjectKey>,
    deleted: HashSet<ObjectKey>,
    evicted: HashSet<ObjectKey>,
    listed: HashSet<(Text, Text)>,
    paths: HashSet<String>,
    managers: HashSet<String>,
    missing_in: HashSet<Text>,
    has_schema: bool,
    has_selector_list: bool,
    has_conflict: bool,
    failed_stream: Option<(String, Text)>,
}

/// How long this client takes between two requests, learned from pairs that surely belong together.
#[derive(Debug, Default)]
pub struct RoundTrips(VecDeque<Span>);

impl RoundTrips {
    pub fn note(&mut self, gap: Span) {
        if gap >= Span::ZERO && gap < Span::from_secs(1) {
            self.0.push_back(gap);
            if self.0.len() > 64 {
                self.0.pop_front();
            }
        }
    }

    fn wait(&self) -> Span {
        if self.0.len() < 3 {
            return Span::ZERO;
        }
        let mut sorted: Vec<Span> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted[sorted.len() / 4].scaled(15)
    }
}

impl Invocation {
    pub fn new(action: u64, request: Arc<Request>) -> Invocation {
        let mut invocation = Invocation {
            action,
            last: request.clone(),
            active: request.received,
            first: request.received,
            n_requests: 0,
            read: HashSet::new(),
            written: HashSet::new(),
            deleted: HashSet::new(),
            evicted: HashSet::new(),
            listed: HashSet::new(),
            paths: HashSet::new(),
            managers: HashSet::new(),
            missing_in: HashSet::new(),
            has_schema: false,
            has_selector_list: false,
            has_conflict: false,
            failed_stream: None,
        };
        invocation.note(request);
        invocation
    }

    /// Whether it can be forgotten.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let idle = if self.is_edit() { EDIT } else { IDLE };
        Span::between(self.active, now) > idle
    }

    /// It read one object and nothing else yet: an editor may be open.
    fn is_edit(&self) -> bool {
        self.written.is_empty() && self.read.len() == 1 && self.n_requests <= 4
    }

    /// Takes a request into the run.
    pub fn note(&mut self, request: Arc<Request>) {
        let is_long = &*request.verb == "watch" || request.is_stream();
        let until = if is_long { request.received } else { request.end };
        self.active = self.active.max(until).max(request.received);
        self.n_requests += 1;
        let object = request.object();

        if request.is_discovery() {
            self.has_schema |= request.path().starts_with("/openapi");
            if self.paths.len() < MOST_REMEMBERED {
                self.paths.insert(request.path().to_owned());
            }
        } else if request.is_resource() {
            if request.has_failed() && request.code == 404 {
                self.missing_in.insert(request.namespace.clone());
            }
            match &*request.verb {
                "get" | "watch" | "list" if !request.name.is_empty() => {
                    remember(&mut self.read, &object);
                }
                "list" | "watch" => {
                    if let Some(name) = request
                        .parameter("fieldSelector")
                        .as_deref()
                        .and_then(|selector| selector.strip_prefix("metadata.name="))
                    {
                        self.read.insert(ObjectKey { name: Text::from(name), ..object.clone() });
                    } else {
                        self.has_selector_list |= request.has_parameter("fieldSelector")
                            || request.has_parameter("labelSelector");
                        self.listed.insert((request.resource.clone(), request.namespace.clone()));
                    }
                }
                "delete" => {
                    remember(&mut self.deleted, &object);
                }
                "create" if &*request.subresource == "eviction" => {
                    remember(&mut self.evicted, &object);
                }
                _ if request.is_write() && !request.is_stream() => {
                    let manager = request.field_manager();
                    if !manager.is_empty() {
                        self.managers.insert(manager.into_owned());
                    }
                    remember(&mut self.written, &object);
                }
                _ => {}
            }
            if request.is_stream() && request.has_failed() {
                self.failed_stream = Some((request.path().to_owned(), request.subresource.clone()));
            }
        }
        self.has_conflict |= request.code == 409 && request.is_dry_run();
        self.last = request;
    }

    /// A watch or a stream has ended.
    pub fn end(&mut self, time: Timestamp) {
        self.active = self.active.max(time);
    }

    /// Why `r` continues this run, and how surely; `None` where it does not.
    pub fn accepts(&self, r: &Request, trips: &RoundTrips) -> Option<(Reason, f64)> {
        let wait = trips.wait();
        let near = NEAR.plus(wait);
        let limit = LIMIT.plus(wait).plus(wait);
        let gap = Span::between(self.active, r.received);
        let is_near = gap <= near;
        let last = &*self.last;
        let tool = roles::tool(&r.identity.user_agent);
        let object = r.object();
        let manager = r.field_manager();
        let verb = &*r.verb;
        let is_named = !r.name.is_empty();
        let selector = r.parameter("fieldSelector").unwrap_or_default();
        let watched = selector
            .strip_prefix("metadata.name=")
            .map(|name| ObjectKey { name: Text::from(name), ..object.clone() });

        // kubectl sends one request after the other; only discovery is fetched at once.
        let overlaps = Span::between(r.received, self.active) > OVERLAP;
        let is_parallel =
            r.is_discovery() || &*r.subresource == "eviction" || self.evicted.contains(&object);
        if tool == "kubectl" && overlaps && !is_parallel && &*last.verb != "watch" {
            return None;
        }

        if verb == "patch" && manager == "kubectl-edit" {
            return (gap <= EDIT && self.read.contains(&object) && self.written.is_empty())
                .then_some((Reason::Edit, 0.9));
        }
        if r.is_read() && r.is_resource() {
            let read = watched.as_ref().unwrap_or(&object);
            let is_watch = verb == "watch";
            let gone = self.deleted.contains(read) && (gap <= limit || is_watch && gap <= IDLE);
            let evicted = self.evicted.contains(read) && gap <= Span::from_secs(30);
            let has_ended = last.code == 404 && last.object() == *read && last.is_read();
            if (gone || evicted) && !has_ended && (!read.name.is_empty()) {
                return Some((Reason::WaitForGone, 0.95));
            }
            if is_watch && gap <= limit {
                if self.read.contains(read) {
                    return Some((Reason::WatchAfterRead, 0.9));
                }
                if last.is_read()
                    && last.resource == r.resource
                    && last.namespace == r.namespace
                    && matches!(&*last.verb, "list" | "watch")
                {
                    return Some((Reason::WatchAfterRead, 0.85));
                }
            }
        }
        if self.evicted.len() + self.written.len() > 0
            && verb == "create"
            && &*r.subresource == "eviction"
            && !self.evicted.is_empty()
            && gap <= Span::from_secs(6)
        {
            return Some((Reason::DrainSeries, 0.9));
        }
        // Helm asks for the version, without parameters, when it starts.
        if tool == "Helm" || tool == "helm" {
            let is_start = r.path() == "/version" && !r.uri.contains('?');
            return (!is_start && gap <= Span::from_secs(2))
                .then_some((Reason::ReleaseSeries, 0.8));
        }
        // A dry run that met a conflict is tried again, and looks at the object before.
        let is_retry = last.code == 409 && last.is_dry_run() || last.is_read() && self.has_conflict;
        if is_retry
            && gap <= Span::from_secs(3)
            && self.read.contains(&object)
            && (r.is_dry_run() || verb == "get")
        {
            return Some((Reason::SameObjectWrite, 0.9));
        }
        if gap > limit {
            return None;
        }
        if is_single_request_tool(tool) {
            return None;
        }
        if tool != "kubectl" && !tool.starts_with("kubectl-") && tool != "oc" {
            return self.script(r, &object);
        }

        let is_review = |request: &Request| request.resource.starts_with("selfsubject");
        if is_review(last)
            || (!last.is_resource() && !last.is_discovery())
            || (!r.is_resource() && !r.is_discovery())
        {
            return None;
        }
        let has_nothing_but_discovery = self.read.is_empty()
            && self.written.is_empty()
            && self.deleted.is_empty()
            && self.listed.is_empty()
            && !self.paths.is_empty();
        if is_review(r) {
            return (is_near && has_nothing_but_discovery).then_some((Reason::AfterDiscovery, 0.8));
        }
        if r.is_discovery() {
            return self.discovery(r, is_near);
        }
        if last.is_discovery() && self.written.is_empty() && self.deleted.is_empty() {
            if self.has_schema {
                if is_named || r.is_write() {
                    return Some((Reason::AfterSchema, 0.97));
                }
            } else if is_near || (is_named && gap <= near.plus(near)) {
                return Some((Reason::AfterDiscovery, 0.8));
            }
        }

        if r.is_stream() || &*r.subresource == "ephemeralcontainers" {
            let is_repeat = self
                .failed_stream
                .as_ref()
                .is_some_and(|(path, sub)| path == r.path() && *sub == r.subresource);
            if is_repeat {
                return Some((Reason::StreamFallback, 0.95));
            }
            let has_read = last.is_read()
                && !last.is_stream()
                && self.read.contains(&object)
                && last.object() == object;
            return has_read.then_some((Reason::ReadThenStream, 0.95));
        }
        if last.is_stream() {
            let is_probe = &*last.subresource == "exec"
                && last.parameter("command").as_deref() == Some("test");
            return (is_probe && last.object() == object).then_some((Reason::CopySeries, 0.95));
        }

        let is_node_read = |inv: &Invocation| inv.read.iter().any(|key| &*key.resource == "nodes");
        let is_node_written =
            |inv: &Invocation| inv.written.iter().any(|key| &*key.resource == "nodes");
        if &*r.subresource == "eviction" && (!self.evicted.is_empty() || is_node_read(self)) {
            return Some((Reason::DrainSeries, 0.9));
        }
        if verb == "list"
            && &*r.resource == "pods"
            && selector.starts_with("spec.nodeName")
            && is_node_written(self)
        {
            return Some((Reason::DrainSeries, 0.9));
        }
        if matches!(verb, "patch" | "update") {
            let has_read = self.read.contains(&object) && !self.written.contains(&object);
            let is_apply = manager == "kubectl-client-side-apply"
                || (manager == "kubectl" && self.managers.contains("kubectl"));
            if has_read && ((last.is_read() && manager != "kubectl") || is_apply) {
                return Some((Reason::ReadThenWrite, 0.95));
            }
            let is_again = self.written.contains(&object)
                && (manager == "kubectl-last-applied"
                    || (is_near && !manager.is_empty() && self.managers.contains(&*manager)));
            if is_again {
                return Some((Reason::SameObjectWrite, 0.9));
            }
            if verb == "patch"
                && manager == "kubectl"
                && self.has_schema
                && self.managers.contains("kubectl")
            {
                return Some((Reason::ApplySeries, 0.8));
            }
        }
        if verb == "create" && manager == "kubectl-client-side-apply" {
            return self.read.contains(&object).then_some((Reason::ReadThenWrite, 0.95));
        }
        if verb == "create" && matches!(&*manager, "kubectl-expose" | "kubectl-autoscale") {
            let is_after = &*last.verb == "get" && last.namespace == r.namespace;
            return is_after.then_some((Reason::ReadThenCreate, 0.95));
        }
        if verb == "create"
            && &*r.resource == "jobs"
            && &*last.verb == "get"
            && &*last.resource == "cronjobs"
            && is_near
        {
            return Some((Reason::ReadThenCreate, 0.9));
        }
        if &*r.resource == "namespaces" && verb == "get" && self.missing_in.contains(&r.name) {
            return Some((Reason::NamespaceCheck, 0.95));
        }
        let is_apply = self.managers.contains("kubectl-client-side-apply") || self.has_schema;
        if is_apply
            && self.deleted.is_empty()
            && verb == "get"
            && is_named
            && !self.read.contains(&object)
            && !self.written.contains(&object)
        {
            return Some((Reason::ApplySeries, 0.7));
        }
        if verb == "create"
            && &*last.verb == "create"
            && self.has_schema
            && manager == "kubectl-create"
            && last.field_manager() == manager
            && last.object() != object
        {
            return Some((Reason::WriteSeries, 0.8));
        }
        // `apply --prune` lists what has the label, and deletes the rest.
        let has_applied = self.managers.contains("kubectl-client-side-apply");
        if has_applied && verb == "list" && r.has_parameter("labelSelector") {
            return Some((Reason::ApplySeries, 0.8));
        }
        if has_applied
            && verb == "delete"
            && self.listed.contains(&(r.resource.clone(), r.namespace.clone()))
        {
            return Some((Reason::DeleteSeries, 0.8));
        }
        if verb == "delete" && &*last.verb == "delete" && last.object() != object {
            return Some((Reason::DeleteSeries, 0.8));
        }
        if !is_near {
            let is_describe = verb == "list"
                && selector.contains("involvedObject")
                && &*last.verb == "get"
                && !last.name.is_empty();
            return is_describe.then_some((Reason::DescribeSeries, 0.8));
        }
        self.near(r, &object, &manager, &selector)
    }

    /// The rules that hold only while the client does not pause.
    fn near(
        &self,
        r: &Request,
        object: &ObjectKey,
        manager: &str,
        selector: &str,
    ) -> Option<(Reason, f64)> {
        let last = &*self.last;
        let verb = &*r.verb;
        if r.has_parameter("continue") && last.path() == r.path() {
            return Some((Reason::NextPage, 0.95));
        }
        if verb == "list" {
            let has_selector = !selector.is_empty() || r.has_parameter("labelSelector");
            let after_read = &*last.verb == "get" && !last.name.is_empty();
            let after_list =
                &*last.verb == "list" && self.has_selector_list && last.namespace == r.namespace;
            if has_selector && (after_read || after_list) {
                return Some((Reason::DescribeSeries, 0.85));
            }
            let is_same_limit = last.parameter("limit") == r.parameter("limit");
            if &*last.verb == "list"
                && last.resource != r.resource
                && last.namespace == r.namespace
                && is_same_limit
            {
                return Some((Reason::ListSeries, 0.8));
            }
        }
        if verb == "get" && self.read.contains(object) && self.written.is_empty() {
            return Some((Reason::SameObjectRead, 0.8));
        }
        if verb == "delete" && self.listed.contains(&(r.resource.clone(), r.namespace.clone())) {
            return Some((Reason::DeleteSeries, 0.7));
        }
        if r.is_write()
            && last.is_write()
            && last.verb == r.verb
            && self.managers.contains(manager)
            && (verb != "create" || self.has_schema)
        {
            return Some((Reason::WriteSeries, 0.6));
        }
        if verb == "get" && self.has_selector_list && self.read.iter().any(|key| key.name == r.name)
        {
            return Some((Reason::DescribeSeries, 0.7));
        }
        if verb == "get" && !self.evicted.is_empty() {
            return Some((Reason::DrainSeries, 0.6));
        }
        None
    }

    fn discovery(&self, r: &Request, is_near: bool) -> Option<(Reason, f64)> {
        let last = &*self.last;
        let path = r.path();
        if self.paths.contains(path) {
            return None;
        }
        let is_before_writes = self.written.is_empty() && self.deleted.is_empty();
        if path.starts_with("/openapi/v3/") && self.has_schema && is_before_writes {
            return Some((Reason::SchemaSeries, 0.9));
        }
        if !is_near {
            return None;
        }
        if last.is_discovery() {
            let is_second_start = path.starts_with("/openapi")
                && !self.has_schema
                && self.paths.contains("/api")
                && self.paths.contains("/apis");
            return (!is_second_start).then_some((Reason::DiscoverySeries, 0.8));
        }
        let is_node_written = self.written.iter().any(|key| &*key.resource == "nodes");
        if is_node_written || !self.evicted.is_empty() {
            return Some((Reason::DrainSeries, 0.7));
        }
        if &*last.verb == "list" || last.is_write() {
            return None;
        }
        Some((Reason::DiscoveryInside, 0.6))
    }

    /// Programs of which nothing is known: reading and writing one object at once is one run.
    fn script(&self, r: &Request, object: &ObjectKey) -> Option<(Reason, f64)> {
        if r.is_write() && self.read.contains(object) && !self.written.contains(object) {
            return Some((Reason::ReadThenWrite, 0.9));
        }
        Some((Reason::TimeGap, 0.5))
    }
}

/// Adds an object, unless the run has touched too many.
fn remember(all: &mut HashSet<ObjectKey>, object: &ObjectKey) {
    if all.len() < MOST_REMEMBERED {
        all.insert(object.clone());
    }
}

/// Tools of which each run sends one request.
fn is_single_request_tool(tool: &str) -> bool {
    matches!(
        tool,
        "curl"
            | "Wget"
            | "wget"
            | "python-requests"
            | "Go-http-client"
            | "HTTPie"
            | "PostmanRuntime"
            | "Mozilla"
    )
}
