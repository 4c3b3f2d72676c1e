//! Sessions into workloads: who was inside which container, when, for how long, and ran what.
//!
//! Events become requests here, requests become sessions in `session`.

use std::collections::HashMap;

use regex::Regex;

use crate::{
    analysis::Analysis,
    decode::{Projection, Record, Slot},
    event::{Event, Level, Timestamp},
    filter::{Filter, Window},
};

pub mod change_event;
mod door;
mod live;
pub(super) mod mask;
mod pods;
mod report;
mod session;
mod shared;
#[cfg(test)]
mod tests;
mod tool;

pub use door::Type;
pub use live::{Live, Told};
pub use pods::complete_from;
pub use report::{ExecSessionList, Item};
pub use session::{Protocol, Session, State};

use self::{
    door::{Door, NODE_DEBUGGER},
    pods::Pods,
    session::{Id, Request, Sighting},
    shared::Pool,
};

/// Which sessions, and how they are shown.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Sessions that overlap it.
    pub window: Window,
    /// Requests; a session is shown whole if one of its requests matches as it ended.
    pub filter: Filter,
    pub types: Vec<Type>,
    pub states: Vec<State>,
    /// Microseconds; an open session is as long as it lasted when the logs end.
    pub longer_than: Option<i64>,
    /// With standard input and a terminal.
    pub is_interactive: bool,
    /// Searched in the shell-quoted command, before anything is masked.
    pub command: Option<Regex>,
    pub shows_secrets: bool,
}

/// The fold: each request's latest stage, and when it was first seen.
#[derive(Debug, Clone)]
pub struct ExecSessions {
    question: Question,
    slots: Slots,
    requests: HashMap<Id, Box<Request>>,
    pods: Pods,
    pool: Pool,
    latest: Option<Timestamp>,
}

/// What a line has to do with sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Door,
    /// The body of a new pod, which may be that of `kubectl debug node/N`.
    Pod,
}

/// All that is looked at of most lines.
#[derive(Debug, Clone, Copy)]
struct Slots {
    resource: Slot,
    subresource: Slot,
    name: Slot,
    verb: Slot,
}

impl ExecSessions {
    pub fn new(question: Question, projection: &mut Projection) -> ExecSessions {
        let slots = Slots {
            resource: projection.want("objectRef.resource"),
            subresource: projection.want("objectRef.subresource"),
            name: projection.want("objectRef.name"),
            verb: projection.want("verb"),
        };
        ExecSessions {
            question,
            slots,
            requests: HashMap::new(),
            pods: Pods::default(),
            pool: Pool::default(),
            latest: None,
        }
    }

    /// What a line may be: the few bytes of its object tell.
    fn kind(&self, record: &Record<'_>) -> Option<Kind> {
        let Slots { resource, subresource, name, verb } = self.slots;
        let text = |slot| record.text(slot);
        let Some(subresource) = record.value(subresource).filter(|it| it.bytes() != b"\"\"") else {
            let is = |slot, raw: &[u8]| record.value(slot).is_some_and(|it| it.bytes() == raw);
            let is_new_pod = is(verb, b"\"create\"") && is(resource, b"\"pods\"");
            if is_new_pod && record.level() >= Level::Request && record.ends_request() {
                return Some(Kind::Pod);
            }
            let is_door =
                is(verb, b"\"proxy\"") || is_new_pod && text(name).starts_with(NODE_DEBUGGER);
            return is_door.then_some(Kind::Door);
        };
        let is_door = matches!(
            &*subresource.text(),
            "exec" | "attach" | "portforward" | "proxy" | "ephemeralcontainers"
        ) && matches!(&*text(resource), "pods" | "services" | "nodes");
        is_door.then_some(Kind::Door)
    }
}

impl Analysis for ExecSessions {
    type Report = ExecSessionList;

    fn observe(&mut self, record: &Record<'_>) {
        self.latest = self.latest.max(record.stage_timestamp());
        if let Some((id, request)) = self.request(record) {
            self.insert(id, request);
        }
    }

    fn merge(&mut self, other: Self) {
        self.latest = self.latest.max(other.latest);
        self.pods.merge(other.pods);
        other.requests.into_iter().for_each(|(id, request)| self.insert(id, request));
    }

    fn finish(self) -> ExecSessionList {
        let ExecSessions { question, requests, pods, latest, .. } = self;
        let sessions = session::join(requests);
        let items = sessions.into_iter().filter(|it| question.is_about(it, latest));
        let items = items.map(|it| pods.complete(Item::of(it, question.shows_secrets)));
        ExecSessionList { items: items.collect() }
    }
}

impl ExecSessions {
    /// The request that a record is a stage of, if it is one into a workload.
    fn request(&mut self, record: &Record<'_>) -> Option<(Id, Box<Request>)> {
        let kind = self.kind(record)?;
        let event = record.event()?;
        if kind == Kind::Pod {
            self.pods.observe(&event);
        }
        let door = Door::of(&event)?;
        let matches = self.question.filter.matches(record);
        let pool = &mut self.pool;
        let sighting = Sighting::new(&event, door, matches, pool);
        let request = Request::new(pool.text(record.log()), sighting);
        Some((Id::of(&event, pool), Box::new(request)))
    }

    fn insert(&mut self, id: Id, request: Box<Request>) {
        match self.requests.entry(id) {
            std::collections::hash_map::Entry::Occupied(mut it) => it.get_mut().merge(*request),
            std::collections::hash_map::Entry::Vacant(it) => {
                it.insert(request);
            }
        }
    }
}

impl Question {
    fn is_about(&self, session: &Session, latest: Option<Timestamp>) -> bool {
        let is_open = session.state == State::Open;
        let end = if is_open { None } else { session.end_time.or(session.last_seen) };
        let overlaps = self.window == Window::default()
            || self
                .window
                .until
                .is_none_or(|until| session.start_time.is_some_and(|it| it <= until))
                && self
                    .window
                    .since
                    .is_none_or(|since| is_open || end.is_some_and(|it| it >= since));
        let lasted = match (session.start_time, if is_open { latest } else { end }) {
            (Some(start), Some(end)) => end.0.saturating_sub(start.0),
            _ => 0,
        };
        session.matches
            && overlaps
            && (self.types.is_empty() || self.types.contains(&session.door.kind))
            && (self.states.is_empty() || self.states.contains(&session.state))
            && self.longer_than.is_none_or(|it| lasted > it)
            && (!self.is_interactive
                || session.door.stdin == Some(true) && session.door.tty == Some(true))
            && self
                .command
                .as_ref()
                .is_none_or(|it| it.is_match(&report::quoted(&session.door.command)))
    }
}

/// A collector's event without a request's ID is still of one request.
impl Id {
    fn of(event: &Event<'_>, pool: &mut Pool) -> Id {
        Id {
            audit_id: (*event.audit_id).into(),
            received: event.request_received_timestamp,
            username: pool.text(&event.user.username),
            uri: (*event.request_uri).into(),
        }
    }
}
