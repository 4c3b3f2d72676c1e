//! Sessions into workloads: who was inside which container, when, for how long, and ran what.
//!
//! Events become requests here, requests become sessions in `session`.

use std::collections::HashMap;

use regex::Regex;

use crate::{
    analysis::Analysis,
    decode::{Projection, Record, Slot},
    event::{Event, Timestamp},
    filter::{Filter, Window},
};

pub mod change_event;
mod door;
mod live;
mod mask;
mod report;
mod session;
#[cfg(test)]
mod tests;
mod tool;

pub use door::Type;
pub use live::{Live, Told};
pub use report::{ExecSessionList, Item};
pub use session::{Protocol, Session, State};

use self::{
    door::{Door, NODE_DEBUGGER},
    session::{Id, Request, Sighting},
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
    requests: HashMap<Id, Request>,
    latest: Option<Timestamp>,
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
        ExecSessions { question, slots, requests: HashMap::new(), latest: None }
    }

    /// Whether a line may be of a session: the few bytes of its object tell.
    fn may_be_door(&self, record: &Record<'_>) -> bool {
        let Slots { resource, subresource, name, verb } = self.slots;
        let text = |slot| record.text(slot);
        let Some(subresource) = record.value(subresource).filter(|it| it.bytes() != b"\"\"") else {
            let is = |slot, raw: &[u8]| record.value(slot).is_some_and(|it| it.bytes() == raw);
            return is(verb, b"\"proxy\"")
                || is(verb, b"\"create\"")
                    && is(resource, b"\"pods\"")
                    && text(name).starts_with(NODE_DEBUGGER);
        };
        matches!(
            &*subresource.text(),
            "exec" | "attach" | "portforward" | "proxy" | "ephemeralcontainers"
        ) && matches!(&*text(resource), "pods" | "services" | "nodes")
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
        other.requests.into_iter().for_each(|(id, request)| self.insert(id, request));
    }

    fn finish(self) -> ExecSessionList {
        let ExecSessions { question, requests, latest, .. } = self;
        let sessions = session::join(requests);
        let items = sessions.into_iter().filter(|it| question.is_about(it, latest));
        ExecSessionList::new(items, question.shows_secrets)
    }
}

impl ExecSessions {
    /// The request that a record is a stage of, if it is one into a workload.
    fn request(&self, record: &Record<'_>) -> Option<(Id, Request)> {
        if !self.may_be_door(record) {
            return None;
        }
        let event = record.event()?;
        let door = Door::of(&event)?;
        let matches = self.question.filter.matches(record);
        let request = Request::new(record.log(), Sighting::new(&event, door, matches));
        Some((Id::of(&event), request))
    }

    fn insert(&mut self, id: Id, request: Request) {
        match self.requests.entry(id) {
            std::collections::hash_map::Entry::Occupied(mut it) => it.get_mut().merge(request),
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
    fn of(event: &Event<'_>) -> Id {
        Id {
            audit_id: event.audit_id.clone().into_owned(),
            received: event.request_received_timestamp,
            username: event.user.username.clone().into_owned(),
            uri: event.request_uri.clone().into_owned(),
        }
    }
}
