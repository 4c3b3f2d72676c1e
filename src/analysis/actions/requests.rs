//! Requests: all stages of one, folded, with what the rules need of it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use crate::event::{Event, Level, Stage, Timestamp, uri};

use super::{
    facts::Facts,
    roles::{self, Role},
};

/// Text that many requests share.
pub type Text = Arc<str>;

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(i64);

impl Span {
    pub const ZERO: Span = Span(0);

    pub const fn from_millis(millis: i64) -> Span {
        Span(millis * 1_000)
    }

    pub const fn from_secs(seconds: i64) -> Span {
        Span(seconds * 1_000_000)
    }

    pub fn between(from: Timestamp, to: Timestamp) -> Span {
        Span(to.0.saturating_sub(from.0))
    }

    pub fn plus(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }

    /// This span times `tenths` / 10.
    pub fn scaled(self, tenths: i64) -> Span {
        Span(self.0.saturating_mul(tenths) / 10)
    }

    pub fn before(self, time: Timestamp) -> Timestamp {
        Timestamp(time.0.saturating_sub(self.0))
    }

    pub fn after(self, time: Timestamp) -> Timestamp {
        Timestamp(time.0.saturating_add(self.0))
    }
}

/// The identity behind a request, and the program that sent it. One for many requests.
#[derive(Debug)]
pub struct Identity {
    pub user: Person,
    pub impersonated: Option<Person>,
    pub user_agent: Text,
    pub source_ips: Vec<Text>,
    pub credential: Text,
    pub role: Role,
    /// Tells identities apart: user, impersonated user, agent, last address, credential.
    pub key: Text,
}

/// `user` of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Person {
    pub username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// A Kubernetes object: resource, API group, namespace and name, as an event's `objectRef` has them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub resource: Text,
    pub namespace: Text,
    pub name: Text,
}

/// A request with the facts that rules need.
#[derive(Debug)]
pub struct Request {
    pub audit_id: Text,
    pub received: Timestamp,
    /// The time of the last stage seen.
    pub end: Timestamp,
    pub level: Level,
    /// Whether the last stage was seen; watches and streams come before.
    pub is_complete: bool,
    pub identity: Arc<Identity>,
    pub verb: Text,
    pub uri: Text,
    pub resource: Text,
    pub group: Text,
    pub namespace: Text,
    pub name: Text,
    pub subresource: Text,
    pub uid: Text,
    pub code: i64,
    pub message: Text,
    pub facts: Option<Box<Facts>>,
    /// The API server's log it was found in.
    pub log: Text,
    /// Whether the filters of the command line hold.
    pub matches: bool,
}

impl Request {
    pub fn role(&self) -> Role {
        self.identity.role
    }

    /// The key of the object it is about. A namespace is in no namespace.
    pub fn object(&self) -> ObjectKey {
        let is_namespace = &*self.resource == "namespaces";
        ObjectKey {
            resource: self.resource.clone(),
            namespace: if is_namespace { Text::from("") } else { self.namespace.clone() },
            name: self.name.clone(),
        }
    }

    pub fn path(&self) -> &str {
        self.uri.split('?').next().unwrap_or_default()
    }

    pub fn parameter(&self, name: &str) -> Option<std::borrow::Cow<'_, str>> {
        let (_, query) = self.uri.split_once('?')?;
        uri::parameter(query, name)
    }

    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    pub fn field_manager(&self) -> std::borrow::Cow<'_, str> {
        self.parameter("fieldManager").unwrap_or_default()
    }

    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }

    pub fn is_write(&self) -> bool {
        matches!(&*self.verb, "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    pub fn is_read(&self) -> bool {
        matches!(&*self.verb, "get" | "list" | "watch")
    }

    pub fn is_stream(&self) -> bool {
        matches!(&*self.subresource, "exec" | "attach" | "portforward")
            || (&*self.subresource == "log")
    }

    pub fn is_dry_run(&self) -> bool {
        self.uri.contains("dryRun=") && self.has_parameter("dryRun")
    }

    pub fn has_failed(&self) -> bool {
        self.code >= 400
    }

    /// A path of the API server's discovery: `/api`, `/apis`, `/openapi` and below.
    pub fn is_discovery(&self) -> bool {
        let path = self.path();
        !self.is_resource()
            && ["/api", "/apis", "/openapi"].iter().any(|root| {
                path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }
}

/// Shares equal texts between the requests that one thread reads.
#[derive(Debug, Clone, Default)]
struct Texts(HashMap<String, Text, foldhash::fast::FixedState>);

impl Texts {
    /// Texts are forgotten all at once when there are as many.
    const MOST: usize = 1 << 14;

    fn share(&mut self, text: &str) -> Text {
        if let Some(shared) = self.0.get(text) {
            return shared.clone();
        }
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        let shared = Text::from(text);
        self.0.insert(text.to_owned(), shared.clone());
        shared
    }
}

/// Makes requests from events. One per reading thread.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    texts: Texts,
    identities: HashMap<String, Arc<Identity>, foldhash::fast::FixedState>,
    key: String,
}

/// What a line was worth.
#[derive(Debug)]
pub enum Digest {
    /// An earlier stage of a request, or no request at all.
    Nothing,
    /// A request of machinery that no rule needs.
    Background,
    Request(Box<Request>),
}

impl Digester {
    /// The request that an event stands for: its last stage, or the start of a watch or a stream.
    pub fn digest(&mut self, event: &Event<'_>, log: &str, matches: bool) -> Digest {
        let is_end = event.ends_request();
        let subresource = event.object_ref.as_ref().map_or("", |object| &*object.subresource);
        let is_long = &*event.verb == "watch"
            || matches!(subresource, "exec" | "attach" | "portforward" | "log")
            || event.request_uri.contains("watch=");
        if !is_end && (event.stage != Stage::ResponseStarted || !is_long) {
            return Digest::Nothing;
        }
        let Some(received) = event.request_received_timestamp.or(event.stage_timestamp) else {
            return Digest::Nothing;
        };

        let identity = self.identity(event);
        if is_background(identity.role, event) {
            return if is_end { Digest::Background } else { Digest::Nothing };
        }

        let object = event.object_ref.as_ref();
        let resource = object.map_or("", |object| &*object.resource);
        let group = object.map_or("", |object| &*object.api_group);
        let code = event.response_status.as_ref().and_then(|status| status.code).unwrap_or(0);
        let message = event.response_status.as_ref().map_or("", |status| &*status.message);
        let has_bodies = event.request_object.is_some() || event.response_object.is_some();
        let name = object.map_or("", |object| &*object.name);
        let is_list = name.is_empty() && &*event.verb != "create";
        let facts = (has_bodies && !is_list && code < 400)
            .then(|| {
                let raw = |value: Option<&'_ serde_json::value::RawValue>| {
                    value.map(|value| value.get().to_owned())
                };
                Facts::read(
                    resource,
                    raw(event.request_object).as_deref(),
                    raw(event.response_object).as_deref(),
                )
            })
            .flatten();

        let generated =
            facts.as_ref().filter(|_| &*event.verb == "create" && subresource.is_empty());
        let name =
            generated.map(|facts| &*facts.name).filter(|name| !name.is_empty()).unwrap_or(name);
        let full = resource_name(resource, group);
        let texts = &mut self.texts;
        Digest::Request(Box::new(Request {
            audit_id: Text::from(&*event.audit_id),
            received,
            end: event.stage_timestamp.unwrap_or(received),
            level: event.level,
            is_complete: is_end,
            identity,
            verb: texts.share(&event.verb),
            uri: Text::from(&*event.request_uri),
            resource: texts.share(&full),
            group: texts.share(group),
            namespace: texts.share(object.map_or("", |object| &*object.namespace)),
            name: texts.share(name),
            subresource: texts.share(subresource),
            uid: Text::from(object.map_or("", |object| &*object.uid)),
            code,
            message: if code >= 400 { texts.share(message) } else { texts.share("") },
            facts: facts.map(Box::new),
            log: texts.share(log),
            matches,
        }))
    }

    fn identity(&mut self, event: &Event<'_>) -> Arc<Identity> {
        let impersonated = event.impersonated_user.as_ref();
        let credential = event
            .user
            .extra
            .get("authentication.kubernetes.io/credential-id")
            .and_then(|all| all.first())
            .map_or("", |id| &**id);
        let ip = event.source_ips.last().map_or("", |ip| &**ip);
        self.key.clear();
        for part in [
            &*event.user.username,
            impersonated.map_or("", |user| &*user.username),
            &*event.user_agent,
            ip,
            credential,
        ] {
            self.key += part;
            self.key.push('\0');
        }
        if let Some(identity) = self.identities.get(&self.key) {
            return identity.clone();
        }

        if self.identities.len() >= Texts::MOST {
            self.identities.clear();
        }
        let person = |user: &crate::event::User<'_>| Person {
            username: user.username.to_string(),
            uid: user.uid.to_string(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
            extra: user
                .extra
                .iter()
                .map(|(key, all)| (key.to_string(), all.iter().map(ToString::to_string).collect()))
                .collect(),
        };
        let identity = Arc::new(Identity {
            user: person(&event.user),
            impersonated: impersonated.map(person),
            user_agent: self.texts.share(&event.user_agent),
            source_ips: event.source_ips.iter().map(|ip| self.texts.share(ip)).collect(),
            credential: self.texts.share(credential),
            role: roles::role(&event.user.username, impersonated.is_some(), &event.user_agent),
            key: Text::from(&*self.key),
        });
        self.identities.insert(self.key.clone(), identity.clone());
        identity
    }
}

/// A resource with its group where that is not one of Kubernetes itself.
pub fn resource_name<'a>(resource: &'a str, group: &str) -> std::borrow::Cow<'a, str> {
    let is_built_in = !group.contains('.') || group.ends_with(".k8s.io");
    if is_built_in { resource.into() } else { format!("{resource}.{group}").into() }
}

/// Machinery requests that neither follow from an action nor change what a rule looks at.
fn is_background(role: Role, event: &Event<'_>) -> bool {
    let object = event.object_ref.as_ref();
    let resource = object.map_or("", |object| &*object.resource);
    let is_machinery = !matches!(role, Role::Initiator | Role::Operator);
    if is_machinery {
        return match resource {
            "" => true,
            "leases" => {
                role != Role::Controller(roles::Controller::Namespace)
                    && role != Role::Controller(roles::Controller::GarbageCollector)
            }
            "endpoints" | "endpointslices" if role == Role::ApiServer => true,
            _ => &*event.verb == "watch" || matches!(role, Role::ControllerManager | Role::Proxy),
        };
    }
    let is_health = matches!(
        event.request_uri.split(['?', '/']).nth(1),
        Some("readyz" | "livez" | "healthz" | "metrics")
    );
    is_health && resource.is_empty() && roles::tool(&event.user_agent) != "kubectl"
}

/// How long a request waits for others that arrived earlier.
pub const WINDOW: Span = Span::from_secs(2);

/// Puts requests in the order of their arrival.
#[derive(Debug, Default)]
pub struct Order {
    heap: BinaryHeap<Reverse<Waiting>>,
    newest: Option<Timestamp>,
}

#[derive(Debug)]
struct Waiting(Box<Request>);

impl Waiting {
    fn key(&self) -> (Timestamp, &str, Timestamp, &str) {
        (self.0.received, &self.0.audit_id, self.0.end, &self.0.uri)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Order {
    /// More requests do not wait: then the earliest goes first whatever the window.
    const MOST: usize = 50_000;

    pub fn push(&mut self, request: Box<Request>) {
        self.newest = self.newest.max(Some(request.end));
        self.heap.push(Reverse(Waiting(request)));
    }

    /// The next request that need not wait any longer.
    pub fn pop(&mut self) -> Option<Box<Request>> {
        let first = self.heap.peek()?;
        let is_ready =
            Some(WINDOW.after(first.0.0.received)) <= self.newest || self.heap.len() > Self::MOST;
        if is_ready { self.heap.pop().map(|waiting| waiting.0.0) } else { None }
    }

    /// The next request at the end of the log.
    pub fn drain(&mut self) -> Option<Box<Request>> {
        self.heap.pop().map(|waiting| waiting.0.0)
    }
}
