//! What a policy says of recorded events, one after the other.

use std::borrow::Cow;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::{
    decode::{Projection, Record, Slot},
    event::{ResourceRequest, Target, User},
    policy::{AuditConfig, Evaluator, Narrowed, apply},
};

/// Asks a policy about records; keeps the users and the kinds of request it has met.
#[derive(Debug, Clone)]
pub struct Judge<'p> {
    evaluator: &'p Evaluator,
    username: Slot,
    groups: Slot,
    verb: Slot,
    uri: Slot,
    known: Known,
}

/// There are few of both, and an attacker may send many.
#[derive(Debug, Clone, Default)]
struct Known {
    /// By name and groups, as JSON: a policy asks for no more of a user.
    users: HashMap<Vec<u8>, Rules, RandomState>,
    /// By the user's number, verb, group, resource and subresource.
    kinds: HashMap<Vec<u8>, Narrowed, RandomState>,
    key: Vec<u8>,
    /// How much is in there, as so many rules.
    size: usize,
}

/// The rules that are for a user.
#[derive(Debug, Clone)]
struct Rules {
    user: usize,
    rules: Vec<usize>,
}

const MAX_SIZE: usize = 1_000_000;
/// What a place costs, as so many rules.
const PLACE: usize = 100;

impl<'p> Judge<'p> {
    pub fn new(evaluator: &'p Evaluator, projection: &mut Projection) -> Judge<'p> {
        Judge {
            evaluator,
            username: projection.want("user.username"),
            groups: projection.want("user.groups"),
            verb: projection.want("verb"),
            uri: projection.want("requestURI"),
            known: Known::default(),
        }
    }

    /// What the policy says of a record.
    pub fn judge(&mut self, record: &Record<'_>) -> AuditConfig {
        let (verb, uri) = (record.word(self.verb), record.text(self.uri));
        let target = Target::of_request(&verb, &uri);
        let Known { users, kinds, key, size } = self.known.bounded();
        let user = users.len();
        let raw = |slot| record.value(slot).map_or(&b"null"[..], |it| it.bytes());
        set_user(key, raw(self.username), raw(self.groups));
        let Rules { user, rules } = users.entry_ref(key.as_slice()).or_insert_with(|| {
            let user_info: User<'_> = serde_json::from_slice(key).unwrap_or_default();
            let rules = self.evaluator.rules_for(&user_info);
            *size += rules.len() + PLACE;
            Rules { user, rules }
        });
        let Target::Resource(request) = &target else {
            return self.evaluator.evaluate_among(rules, &verb, &target);
        };
        set_kind(key, *user, &verb, request);
        let narrowed = kinds.entry_ref(key.as_slice()).or_insert_with(|| {
            *size += rules.len() + PLACE;
            self.evaluator.narrow(rules, &verb, request)
        });
        self.evaluator.evaluate_narrowed(narrowed, request)
    }

    /// The record as it would have been written; see [`apply::apply`].
    ///
    /// # Errors
    /// If its line is no JSON to its end.
    pub fn apply<'l>(
        &self,
        record: &Record<'l>,
        config: &AuditConfig,
    ) -> Result<Option<Cow<'l, [u8]>>, serde_json::Error> {
        let is_patch = || record.word(self.verb) == "patch";
        apply::apply(record.line(), record.level(), record.stage(), is_patch, config)
    }
}

impl Known {
    /// Itself, empty again once it is full.
    fn bounded(&mut self) -> &mut Known {
        if self.size >= MAX_SIZE {
            *self = Known::default();
        }
        self
    }
}

/// A user with what a policy asks for, as JSON.
fn set_user(key: &mut Vec<u8>, username: &[u8], groups: &[u8]) {
    key.clear();
    for part in [&b"{\"username\":"[..], username, b",\"groups\":", groups, b"}"] {
        key.extend_from_slice(part);
    }
}

/// No text holds the byte between the parts.
fn set_kind(key: &mut Vec<u8>, user: usize, verb: &str, request: &ResourceRequest<'_>) {
    key.clear();
    key.extend_from_slice(&user.to_ne_bytes());
    for part in [verb, &request.api_group, &request.resource, &request.subresource] {
        key.extend_from_slice(part.as_bytes());
        key.push(0xff);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::Reader,
        policy::{Policy, Rule},
    };

    /// Which of these rules decides: for user `u`, for group `g`, for all.
    #[track_caller]
    fn check(user: &str, expected: usize) {
        let rule = |users: &[&str], user_groups: &[&str]| Rule {
            users: users.iter().map(|it| it.to_string()).collect(),
            user_groups: user_groups.iter().map(|it| it.to_string()).collect(),
            ..Rule::default()
        };
        let rules = vec![rule(&["u"], &[]), rule(&[], &["g"]), rule(&[], &[])];
        let evaluator = Evaluator::new(&Policy { rules, ..Policy::default() });
        let mut projection = Projection::default();
        let mut judge = Judge::new(&evaluator, &mut projection);
        let line = format!(
            r#"{{"level":"Metadata","auditID":"a","stage":"ResponseComplete","verb":"get","requestURI":"/api/v1/pods","user":{user}}}"#
        );
        let mut found = Vec::new();
        let head = Reader::new(&projection).read(line.as_bytes(), &mut found).unwrap();
        let record = Record::new("log", line.as_bytes(), head, &projection, &found);
        assert_eq!(judge.judge(&record).rule, Some(expected), "{user}");
    }

    #[test]
    fn users() {
        check(r#"{"username":"u"}"#, 0);
        check(r#"{"username":"u","groups":null}"#, 0);
        check(r#"{"username":"\u0075"}"#, 0);
        check(r#"{"groups":["f","g"]}"#, 1);
        check(r#"{"username":"x","groups":["G"]}"#, 2);
        check("{}", 2);
    }
}
