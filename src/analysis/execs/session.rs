//! Requests, each from its stages, and the sessions they are joined into.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::{
    door::{Door, Type},
    shared::{Pool, Shared},
};
use crate::event::{Event, Stage, Timestamp, User};

/// What tells one request from another. A client chooses its audit ID, so that alone does not;
/// the log is left out, for stages may be in files that nobody knows to be one log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) audit_id: Box<str>,
    pub(super) received: Option<Timestamp>,
    pub(super) username: Shared<str>,
    pub(super) uri: Box<str>,
}

/// A user as documents show it: all four fields, always.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Person {
    pub username: String,
    pub groups: Vec<String>,
    pub uid: String,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Person {
    fn of(user: &User<'_>) -> Person {
        let texts =
            |it: &[std::borrow::Cow<'_, str>]| it.iter().map(|it| (**it).to_owned()).collect();
        Person {
            username: (*user.username).to_owned(),
            groups: texts(&user.groups),
            uid: (*user.uid).to_owned(),
            extra: user.extra.iter().map(|(key, it)| ((**key).to_owned(), texts(it))).collect(),
        }
    }

    /// Name and groups: what an authorizer looks at.
    pub(super) fn user(&self) -> User<'_> {
        User {
            username: (&*self.username).into(),
            groups: self.groups.iter().map(|it| (&**it).into()).collect(),
            ..User::default()
        }
    }
}

/// One stage of a request. Of several the greatest tells what is shown: the latest stage first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sighting {
    stage: Stage,
    time: Option<Timestamp>,
    matches: bool,
    verb: Shared<str>,
    code: Option<i64>,
    reason: Shared<str>,
    message: Shared<str>,
    user: Shared<Person>,
    impersonated_user: Option<Shared<Person>>,
    source_ips: Shared<[String]>,
    user_agent: Shared<str>,
    allowed_by: Shared<str>,
    door: Box<Door>,
}

impl Sighting {
    pub(super) fn new(event: &Event<'_>, door: Door, matches: bool, pool: &mut Pool) -> Sighting {
        let status = event.response_status.as_ref();
        let ips: Vec<String> = event.source_ips.iter().map(|it| (**it).to_owned()).collect();
        let grant = event.annotations.get("authorization.k8s.io/reason");
        Sighting {
            stage: event.stage,
            time: event.stage_timestamp,
            matches,
            verb: pool.text(&event.verb),
            code: status.and_then(|it| it.code),
            reason: pool.text(status.map_or("", |it| &it.reason)),
            message: pool.text(status.map_or("", |it| &it.message)),
            user: pool.person(Person::of(&event.user)),
            impersonated_user: event
                .impersonated_user
                .as_ref()
                .map(|it| pool.person(Person::of(it))),
            source_ips: pool.list(&ips),
            user_agent: pool.text(&event.user_agent),
            allowed_by: pool.text(grant.map_or("", |it| it)),
            door: Box::new(door),
        }
    }
}

/// What is known of a request. Merging is commutative and associative: least and greatest.
#[derive(Debug, Clone)]
pub(super) struct Request {
    log: Shared<str>,
    first_seen: Option<Timestamp>,
    /// The code of a `ResponseStarted`.
    started: Option<i64>,
    last: Sighting,
}

impl Request {
    pub(super) fn new(log: Shared<str>, last: Sighting) -> Request {
        let started = if last.stage == Stage::ResponseStarted { last.code } else { None };
        Request { log, first_seen: last.time, started, last }
    }

    pub(super) fn merge(&mut self, other: Request) {
        if other.log < self.log {
            self.log = other.log;
        }
        self.first_seen = match (self.first_seen, other.first_seen) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.started = self.started.max(other.started);
        if other.last > self.last {
            self.last = other.last;
        }
    }
}

impl Request {
    /// Whether it is known to be received and no more.
    pub(super) fn is_only_received(&self) -> bool {
        self.last.stage == Stage::RequestReceived
    }

    /// Whether no later stage comes. A failed authentication has one stage, the answer's start.
    pub(super) fn is_over(&self) -> bool {
        let Sighting { stage, code, user, .. } = &self.last;
        matches!(stage, Stage::ResponseComplete | Stage::Panic)
            || *code == Some(401) && user.username.is_empty()
    }
}

/// How a session's bytes travelled; certain only after an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    WebSocket,
    Spdy,
    Http,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Started, and no end is in the logs: it lasts, or its API server died.
    Open,
    Closed,
    /// Answered with 401 or 403.
    Denied,
    /// Answered with another code from 400 on, or the handler panicked.
    Failed,
    /// The logs do not tell.
    Unknown,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closed => "closed",
            State::Denied => "denied",
            State::Failed => "failed",
            State::Unknown => "unknown",
        }
    }
}

/// One attempt to get in, successful or not.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) door: Box<Door>,
    pub(super) protocol: Option<Protocol>,
    pub(super) state: State,
    pub(super) start_time: Option<Timestamp>,
    pub(super) end_time: Option<Timestamp>,
    /// The latest stage in the logs, also of what has no end.
    pub(super) last_seen: Option<Timestamp>,
    pub(super) user: Shared<Person>,
    pub(super) impersonated_user: Option<Shared<Person>>,
    pub(super) source_ips: Shared<[String]>,
    pub(super) user_agent: Shared<str>,
    pub(super) verb: Shared<str>,
    pub(super) uri: Box<str>,
    pub(super) code: Option<i64>,
    pub(super) reason: Shared<str>,
    pub(super) message: Shared<str>,
    /// `None` where it was not allowed, whatever the annotation says.
    pub(super) allowed_by: Option<Shared<str>>,
    pub(super) audit_ids: Vec<Box<str>>,
    pub(super) log: Shared<str>,
    pub(super) matches: bool,
}

impl Session {
    pub(super) fn of(id: Id, request: Request) -> Session {
        let Request { log, first_seen, started, last } = request;
        // If the client left before an answer was written, the API server makes one up.
        // Source: `apiserver/pkg/endpoints/filters/audit.go`.
        let is_made_up = last.code == Some(200) && &*last.message == "Connection closed early";
        let code = if is_made_up { started } else { last.code.or(started) };
        let state = state(last.stage, code);
        let is_refused = matches!(state, State::Denied | State::Failed);
        let is_over = matches!(last.stage, Stage::ResponseComplete | Stage::Panic) || is_refused;
        Session {
            protocol: protocol(last.door.kind, &last.verb, code),
            state,
            start_time: id.received.or(first_seen),
            end_time: last.time.filter(|_| is_over),
            last_seen: last.time,
            code,
            reason: last.reason,
            message: last.message,
            // A newer server may refuse after RBAC allowed the verb that is recorded.
            allowed_by: Some(last.allowed_by).filter(|_| state != State::Denied),
            audit_ids: vec![id.audit_id],
            uri: id.uri,
            door: last.door,
            user: last.user,
            impersonated_user: last.impersonated_user,
            source_ips: last.source_ips,
            user_agent: last.user_agent,
            verb: last.verb,
            log,
            matches: last.matches,
        }
    }

    /// The identity that was let in.
    pub(super) fn effective_user(&self) -> &Person {
        self.impersonated_user.as_ref().unwrap_or(&self.user)
    }

    /// From arrival to end, in microseconds.
    pub(super) fn duration(&self) -> Option<i64> {
        Some(self.end_time?.0.saturating_sub(self.start_time?.0))
    }

    /// Whether `other` is this request again: as another API server saw what this one passed on.
    fn contains(&self, other: &Session) -> bool {
        self.log != other.log
            && self.audit_ids == other.audit_ids
            && self.effective_user().username == other.effective_user().username
            && self.start_time <= other.start_time
            && self.end_time.is_none_or(|end| other.end_time.is_some_and(|it| it <= end))
    }

    /// Whether it is a try over WebSocket that failed.
    pub(super) fn may_fall_back(&self) -> bool {
        let is_refused = matches!(self.state, State::Denied | State::Failed);
        &*self.verb == "get" && is_refused && self.door.kind.is_stream()
    }

    /// Whether it may be the same attempt again over SPDY.
    pub(super) fn may_be_fallback(&self) -> bool {
        &*self.verb == "create" && self.door.kind.is_stream()
    }

    /// What a try and its fallback have in common.
    pub(super) fn way(&self) -> Way {
        Way {
            user: self.user.username.clone(),
            effective: self.effective_user().username.clone(),
            uri: self.uri.clone(),
        }
    }

    /// Makes it one attempt with the try before it.
    pub(super) fn follow(&mut self, first: &Session) {
        self.audit_ids.splice(0..0, first.audit_ids.iter().cloned());
        self.start_time = first.start_time;
        self.matches |= first.matches;
    }

    /// Whether `next` is the same attempt again over SPDY, after WebSocket failed.
    pub(super) fn is_before_fallback(&self, next: &Session) -> bool {
        let (Some(end), Some(start)) = (self.end_time.or(self.start_time), next.start_time) else {
            return false;
        };
        self.start_time <= next.start_time && start.0.saturating_sub(end.0) <= FALLBACK
    }
}

/// The users and the URI of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Way {
    user: String,
    effective: String,
    uri: Box<str>,
}

/// The longest pause before a fallback, in microseconds.
pub(super) const FALLBACK: i64 = 2_000_000;

fn state(stage: Stage, code: Option<i64>) -> State {
    match (stage, code) {
        (Stage::Panic, _) => State::Failed,
        (_, Some(401 | 403)) => State::Denied,
        (_, Some(400..)) => State::Failed,
        (Stage::ResponseStarted, _) => State::Open,
        (Stage::ResponseComplete, Some(_)) => State::Closed,
        (Stage::ResponseComplete, None) | (Stage::RequestReceived, _) => State::Unknown,
    }
}

fn protocol(kind: Type, verb: &str, code: Option<i64>) -> Option<Protocol> {
    match (code?, verb) {
        (101, "get") => Some(Protocol::WebSocket),
        (101, "create") => Some(Protocol::Spdy),
        (101, _) => None,
        (..400, _) => Some(Protocol::Http),
        // A refused proxy or run was no upgrade that anybody knows of; a refused exec was some.
        (_, _) if matches!(kind, Type::Debug) => Some(Protocol::Http),
        _ => None,
    }
}

/// Sessions by start: what an aggregated server saw again and fallbacks are joined.
pub(super) fn join(requests: HashMap<Id, Box<Request>>) -> Vec<Session> {
    let mut requests: Vec<(Id, Box<Request>)> = requests.into_iter().collect();
    requests.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let of = |(id, request): (Id, Box<Request>)| Session::of(id, *request);
    let mut sessions: Vec<Session> = requests.into_iter().map(of).collect();
    sessions.sort_by_key(|it| it.start_time);
    let sessions = without_repeats(sessions);
    let mut sessions = with_fallbacks(sessions);
    sessions.sort_by(|a, b| {
        (a.start_time, &a.audit_ids, &a.uri, &a.user).cmp(&(
            b.start_time,
            &b.audit_ids,
            &b.uri,
            &b.user,
        ))
    });
    sessions
}

/// How many sessions of one audit ID are looked back at: a client may give all of its requests
/// the same one, which must not cost the square of their number.
const LOOK_BACK: usize = 16;

fn without_repeats(sessions: Vec<Session>) -> Vec<Session> {
    let mut kept: Vec<Session> = Vec::with_capacity(sessions.len());
    let mut by_id: HashMap<(Box<str>, Box<str>), VecDeque<usize>> = HashMap::new();
    for session in sessions {
        let outer = by_id.entry((session.audit_ids[0].clone(), session.uri.clone())).or_default();
        if let Some(&at) = outer.iter().find(|&&at| kept[at].contains(&session)) {
            kept[at].matches |= session.matches;
            continue;
        }
        if outer.len() == LOOK_BACK {
            outer.pop_front();
        }
        outer.push_back(kept.len());
        kept.push(session);
    }
    kept
}

fn with_fallbacks(sessions: Vec<Session>) -> Vec<Session> {
    let mut kept: Vec<Option<Session>> = Vec::with_capacity(sessions.len());
    let mut failed: HashMap<Way, VecDeque<usize>> = HashMap::new();
    for mut session in sessions {
        if session.may_fall_back() {
            failed.entry(session.way()).or_default().push_back(kept.len());
        } else if session.may_be_fallback()
            && let Some(tries) = failed.get_mut(&session.way())
        {
            // Sessions come by start, so a try that is too old for this one is for all others.
            while let Some(at) = tries.pop_front() {
                let first = kept[at].take_if(|it| it.is_before_fallback(&session));
                if let Some(first) = first {
                    session.follow(&first);
                    break;
                }
            }
        }
        kept.push(Some(session));
    }
    kept.into_iter().flatten().collect()
}
