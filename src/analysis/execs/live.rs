//! Sessions while they happen: each is told when it starts and when it ends.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use super::{
    ExecSessions, Item, Session, State,
    session::{FALLBACK, Id, Request, Way},
};
use crate::{decode::Record, event::Timestamp};

/// The sessions of logs that are read on and on. Of what has ended only a little is kept.
///
/// Stages of a request are expected in their order, as an API server writes them. The clock is given
/// by whoever calls: a refused WebSocket try waits for its fallback before it is told.
#[derive(Debug)]
pub struct Live {
    sessions: ExecSessions,
    /// Requests that are not over.
    held: HashMap<Id, Held>,
    /// Refused tries, and until when they wait, oldest first.
    tries: HashMap<Way, VecDeque<(Timestamp, Session)>>,
    /// The latest that are over: a stage of theirs that comes late is no new start.
    over: VecDeque<Id>,
    told: Vec<Told>,
}

/// A session that started, or that ended.
#[derive(Debug)]
pub struct Told {
    pub item: Item,
    /// Whether nothing was told of it before.
    pub is_first: bool,
}

#[derive(Debug)]
struct Held {
    request: Request,
    /// The try that it is the fallback of.
    first: Option<Session>,
    is_told: bool,
    /// If its start says that it was refused: until when its end is waited for.
    until: Option<Timestamp>,
}

/// How many requests that are over are remembered.
const OVER: usize = 64;

/// How many refused tries of a user at the same URI wait for their fallbacks.
const TRIES: usize = 64;

impl Live {
    pub fn new(sessions: ExecSessions) -> Live {
        Live {
            sessions,
            held: HashMap::new(),
            tries: HashMap::new(),
            over: VecDeque::new(),
            told: Vec::new(),
        }
    }

    pub fn observe(&mut self, record: &Record<'_>, now: Timestamp) {
        let Some((id, request)) = self.sessions.request(record) else { return };
        if request.is_only_received() || self.over.contains(&id) {
            return;
        }
        let is_known = self.held.contains_key(&id);
        let first = if is_known { None } else { self.try_before(&id, &request) };
        let held = match self.held.entry(id.clone()) {
            Entry::Occupied(it) => {
                let held = it.into_mut();
                held.request.merge(*request);
                held
            }
            Entry::Vacant(it) => {
                it.insert(Held { request: *request, first, is_told: false, until: None })
            }
        };
        if held.request.is_over() {
            self.end(&id, now);
        } else if held.session(&id).state == State::Open {
            self.start(&id, now);
        } else {
            held.until = Some(later(now));
        }
    }

    /// What is to be told since the last call.
    pub fn drain(&mut self, now: Timestamp) -> Vec<Told> {
        let is_due = |(_, it): &(&Id, &Held)| it.until.is_some_and(|it| it <= now);
        let due: Vec<Id> = self.held.iter().filter(is_due).map(|(id, _)| id.clone()).collect();
        due.iter().for_each(|id| self.end(id, now));
        self.give_up_tries(|until| until <= now);
        self.sessions.pods.limit();
        if self.sessions.question.longer_than.is_some() {
            let open: Vec<Id> = self.held.keys().cloned().collect();
            open.iter().for_each(|id| self.start(id, now));
        }
        std::mem::take(&mut self.told)
    }

    /// What is left to be told when nothing more is read.
    pub fn finish(mut self, now: Timestamp) -> Vec<Told> {
        let refused: Vec<Id> = self.held.iter().filter_map(Held::refused).collect();
        refused.iter().for_each(|id| self.end(id, now));
        self.give_up_tries(|_| true);
        self.told
    }

    /// The open sessions that were told, by their start.
    pub fn open(&self) -> Vec<Item> {
        let told = self.held.iter().filter(|(_, it)| it.is_told);
        let mut open: Vec<Session> = told.map(|(id, it)| it.session(id)).collect();
        open.sort_by(|a, b| (a.start_time, &a.audit_ids).cmp(&(b.start_time, &b.audit_ids)));
        open.into_iter().map(|it| self.item(it)).collect()
    }

    fn start(&mut self, id: &Id, now: Timestamp) {
        let Some(held) = self.held.get_mut(id) else { return };
        let session = held.session(id);
        if held.is_told
            || session.state != State::Open
            || !self.sessions.question.is_about(&session, Some(now))
        {
            return;
        }
        held.is_told = true;
        let item = self.item(session);
        self.told.push(Told { item, is_first: true });
    }

    fn end(&mut self, id: &Id, now: Timestamp) {
        let Some(held) = self.held.remove(id) else { return };
        if self.over.len() == OVER {
            self.over.pop_front();
        }
        self.over.push_back(id.clone());
        let session = held.session(id);
        if session.may_fall_back() {
            let tries = self.tries.entry(session.way()).or_default();
            tries.push_back((later(now), session));
            // Whoever tries again and again must not make the search for a try long.
            if tries.len() > TRIES
                && let Some((_, oldest)) = tries.pop_front()
            {
                self.tell_end(oldest, true);
            }
        } else {
            self.tell_end(session, !held.is_told);
        }
    }

    fn tell_end(&mut self, session: Session, is_first: bool) {
        if self.sessions.question.is_about(&session, session.end_time) {
            let item = self.item(session);
            self.told.push(Told { item, is_first });
        }
    }

    /// The refused try that a request is the fallback of; it is told as one with it.
    fn try_before(&mut self, id: &Id, request: &Request) -> Option<Session> {
        let session = Session::of(id.clone(), request.clone());
        let way = session.may_be_fallback().then(|| session.way())?;
        let tries = self.tries.get_mut(&way)?;
        let at = tries.iter().position(|(_, it)| it.is_before_fallback(&session))?;
        let (_, first) = tries.remove(at)?;
        if tries.is_empty() {
            self.tries.remove(&way);
        }
        Some(first)
    }

    /// Tells tries that nothing followed.
    fn give_up_tries(&mut self, is_due: impl Fn(Timestamp) -> bool) {
        let mut alone = Vec::new();
        self.tries.retain(|_, tries| {
            while tries.front().is_some_and(|(until, _)| is_due(*until)) {
                alone.extend(tries.pop_front().map(|(_, it)| it));
            }
            !tries.is_empty()
        });
        alone.sort_by(|a, b| (a.start_time, &a.audit_ids).cmp(&(b.start_time, &b.audit_ids)));
        alone.into_iter().for_each(|it| self.tell_end(it, true));
    }

    fn item(&self, session: Session) -> Item {
        self.sessions.pods.complete(Item::of(session, self.sessions.question.shows_secrets))
    }
}

impl Held {
    fn session(&self, id: &Id) -> Session {
        let mut session = Session::of(id.clone(), self.request.clone());
        if let Some(first) = &self.first {
            session.follow(first);
        }
        session
    }

    fn refused((id, held): (&Id, &Held)) -> Option<Id> {
        held.until.map(|_| id.clone())
    }
}

/// The end of a wait that begins now.
fn later(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_add(FALLBACK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::execs::{
            Question,
            tests::{COMPLETE, RECEIVED, STARTED, event},
        },
        decode::{Projection, Reader},
    };

    /// What is told of lines that come at these seconds; each second is drained, and the end.
    fn told(question: Question, lines: &[(i64, String)]) -> String {
        let mut projection = Projection::default();
        let mut live = Live::new(ExecSessions::new(question, &mut projection));
        let reader = Reader::new(&projection);
        let mut told = Vec::new();
        let mut show = |all: Vec<Told>| {
            told.extend(all.into_iter().map(|Told { item, is_first }| {
                let again = if is_first { "" } else { " again" };
                format!("{} {}{again}", item.audit_ids.join("+"), item.state.as_str())
            }));
        };
        let clock = |it: i64| Timestamp(it * 1_000_000);
        for second in 0..10 {
            for (_, line) in lines.iter().filter(|it| it.0 == second) {
                let mut found = Vec::new();
                let head = reader.read(line.as_bytes(), &mut found).expect("an event");
                let record = Record::new("l", line.as_bytes(), head, &projection, &found);
                live.observe(&record, clock(second));
            }
            show(live.drain(clock(second)));
        }
        show(live.finish(clock(10)));
        told.join("; ")
    }

    #[track_caller]
    fn check(lines: &[(i64, String)], expected: &str) {
        assert_eq!(told(Question::default(), lines), expected);
    }

    fn get(id: &str, stage: &str, code: i64, time: f64) -> String {
        event(id, "u", "get", stage, code, 1.0, time)
    }

    #[test]
    fn start_and_end() {
        let all = [
            (1, get("1", RECEIVED, 0, 1.0)),
            (1, get("1", STARTED, 101, 1.5)),
            (3, get("1", COMPLETE, 101, 3.0)),
        ];
        check(&all, "1 open; 1 closed again");
        check(&all[..2], "1 open");
        check(&all[2..], "1 closed");
        check(&all[..1], "");
        let late = [all[2].clone(), (4, all[1].1.clone())];
        check(&late, "1 closed");
    }

    #[test]
    fn refused() {
        let nobody = event("1", "", "get", STARTED, 401, 1.0, 1.0);
        check(&[(1, nobody)], "1 denied");
        let both = [(1, get("1", STARTED, 403, 1.0)), (1, get("1", COMPLETE, 403, 1.0))];
        check(&both, "1 denied");
        check(&both[..1], "1 denied");
    }

    #[test]
    fn fallback() {
        let create = |stage, at| event("2", "u", "create", stage, 101, 2.0, at);
        let tried = (1, get("1", COMPLETE, 400, 1.5));
        let all = [tried.clone(), (2, create(STARTED, 2.1)), (5, create(COMPLETE, 5.0))];
        check(&all, "1+2 open; 1+2 closed again");
        let late = [tried, (4, event("2", "u", "create", COMPLETE, 101, 4.0, 5.0))];
        check(&late, "1 failed; 2 closed");
    }

    #[test]
    fn questions() {
        let lines = [(1, get("1", STARTED, 101, 1.5)), (8, get("1", COMPLETE, 101, 8.0))];
        let is = |states: &[State]| Question { states: states.to_vec(), ..Question::default() };
        assert_eq!(told(is(&[State::Closed]), &lines), "1 closed");
        assert_eq!(told(is(&[State::Open]), &lines), "1 open");
        assert_eq!(told(is(&[State::Denied]), &lines), "");
    }

    /// An open session is told as soon as it has lasted so long.
    #[test]
    fn longer_than() {
        let shift = 1_767_323_040;
        let mut projection = Projection::default();
        let question = Question { longer_than: Some(5_000_000), ..Question::default() };
        let mut live = Live::new(ExecSessions::new(question, &mut projection));
        let line = get("1", STARTED, 101, 1.5);
        let reader = Reader::new(&projection);
        let mut found = Vec::new();
        let head = reader.read(line.as_bytes(), &mut found).expect("an event");
        let record = Record::new("l", line.as_bytes(), head, &projection, &found);
        let clock = |it: i64| Timestamp((shift + it) * 1_000_000);
        live.observe(&record, clock(2));
        let told: Vec<usize> = (2..9).map(|it| live.drain(clock(it)).len()).collect();
        assert_eq!(told, [0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(live.open().len(), 1);
    }
}
