//! Requests, each from its stages, and the sessions they are joined into.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::{
    door::{Door, Type},
    shared::{Pool, Shared},
};
use crate::{
    decode::unwrap::INFERRED,
    event::{Event, RefusedImpersonation, Stage, Timestamp, User, cloud_identity},
};

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

    /// The short form of what its cloud calls it.
    pub(super) fn cloud_identity(&self) -> Option<String> {
        cloud_identity(|key| self.extra.get(key)?.first().map(String::as_str))
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
    refused_impersonation: Option<RefusedImpersonation>,
    /// Whether a cloud's log says no stage, so that one was assumed.
    is_stage_inferred: bool,
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
            refused_impersonation: event.refused_impersonation(),
            is_stage_inferred: event
                .annotations
                .get(INFERRED)
                .is_some_and(|fields| fields.split(',').any(|field| field == "stage")),
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
    started_at: Option<Timestamp>,
    last: Sighting,
}

impl Request {
    pub(super) fn new(log: Shared<str>, last: Sighting) -> Request {
        let is_start = last.stage == Stage::ResponseStarted;
        let started = last.code.filter(|_| is_start);
        let started_at = last.time.filter(|_| is_start);
        Request { log, first_seen: last.time, started, started_at, last }
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
        self.started_at = self.started_at.max(other.started_at);
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
    pub(super) refused_impersonation: Option<RefusedImpersonation>,
}

impl Session {
    pub(super) fn of(id: Id, request: Request) -> Session {
        let Request { log, first_seen, started, started_at, last } = request;
        // If the client left before an answer was written, the API server makes one up.
        // Source: `apiserver/pkg/endpoints/filters/audit.go`.
        let is_made_up = last.code == Some(200) && &*last.message == "Connection closed early";
        let code = if is_made_up { started } else { last.code.or(started) };
        let start_time = id.received.or(first_seen);
        let state = match state(last.stage, code) {
            // A cloud that logs one entry a session writes no end.
            State::Open if last.is_stage_inferred => State::Unknown,
            State::Closed if code == Some(101) => {
                upgraded_state(&last.door, start_time, started_at, last.time)
            }
            state => state,
        };
        let is_refused = matches!(state, State::Denied | State::Failed);
        let is_over = matches!(last.stage, Stage::ResponseComplete | Stage::Panic) || is_refused;
        // One time alone is that of the start or of the end: nobody knows how long it lasted.
        let is_timed = id.received.is_some() || first_seen != last.time;
        Session {
            protocol: protocol(last.door.kind, &last.verb, code),
            state,
            start_time,
            end_time: last.time.filter(|_| is_over && is_timed),
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
            refused_impersonation: last.refused_impersonation,
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

/// The state of an upgrade that ended. The API server records 101 before it passes the kubelet's answer
/// on, also if that answer is a refusal.
///
/// Source: `Hijack` in `apiserver/pkg/endpoints/filters/audit.go`, `tryUpgrade` in
/// `apimachinery/pkg/util/proxy/upgradeaware.go`.
fn upgraded_state(
    door: &Door,
    from: Option<Timestamp>,
    started_at: Option<Timestamp>,
    end: Option<Timestamp>,
) -> State {
    let within = |from: Option<Timestamp>, most: i64| {
        let lasted = from.zip(end).map(|(from, end)| end.0.saturating_sub(from.0));
        lasted.is_some_and(|it| (1..=most).contains(&it))
    };
    // The kubelet answers 400. What it gets is in the query alone, as the API server read it.
    let is_without_streams = matches!(door.kind, Type::Exec | Type::Attach | Type::Cp)
        && [door.stdin, door.stdout, door.stderr] == [Some(false); 3];
    if is_without_streams && within(from, REFUSED_WITHIN) {
        return State::Failed;
    }
    if door.kind.is_stream() && within(started_at, REFUSAL) {
        return State::Unknown;
    }
    State::Closed
}

/// The longest time in microseconds from 101 to the end of an upgrade that the kubelet refused. Measured:
/// 200 to 450, while the shortest command takes 30,000.
const REFUSAL: i64 = 5_000;

/// The same from receipt, of a request whose options say that the kubelet refuses it.
const REFUSED_WITHIN: i64 = 100_000;

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

/// Sessions by start; a try and its fallback are joined.
///
/// Requests of two servers are never joined by their audit ID, which a client chooses. Only the API
/// server of the core group serves pods and nodes, so that no aggregated server sees a session again.
pub(super) fn join(requests: HashMap<Id, Box<Request>>) -> Vec<Session> {
    let mut requests: Vec<(Id, Box<Request>)> = requests.into_iter().collect();
    requests.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let of = |(id, request): (Id, Box<Request>)| Session::of(id, *request);
    let mut sessions: Vec<Session> = requests.into_iter().map(of).collect();
    sessions.sort_by_key(|it| it.start_time);
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
