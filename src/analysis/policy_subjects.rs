//! How a log knows the users and groups that policies name: as those who authenticated, whom the rules
//! of a policy are about, or only as those whom somebody impersonated.

use std::{borrow::Cow, collections::BTreeMap};

use super::Analysis;
use crate::{
    decode::{Projection, Record, Slot},
    policy::{
        Policy,
        lint::{Finding, Severity},
    },
};

/// Looks for the names of some policies, and keeps no others: so a log cannot make it large.
#[derive(Debug, Clone)]
pub struct PolicySubjects {
    user: Slot,
    groups: Slot,
    impersonated: Slot,
    impersonated_groups: Slot,
    known: Known,
}

/// What a log tells of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    users: BTreeMap<String, Seen>,
    groups: BTreeMap<String, Seen>,
}

/// How a log knows a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    is_authenticated: bool,
    /// Requests made in this name by others.
    impersonated: u64,
    /// The first of those others, by name.
    by: Option<String>,
}

impl PolicySubjects {
    pub fn new<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        projection: &mut Projection,
    ) -> PolicySubjects {
        let mut known = Known::default();
        for rule in policies.flat_map(|it| &it.rules) {
            let unseen = |it: &String| (it.clone(), Seen::default());
            known.users.extend(rule.users.iter().map(unseen));
            known.groups.extend(rule.user_groups.iter().map(unseen));
        }
        PolicySubjects {
            user: projection.want("user.username"),
            groups: projection.want("user.groups"),
            impersonated: projection.want("impersonatedUser.username"),
            impersonated_groups: projection.want("impersonatedUser.groups"),
            known,
        }
    }

    /// The groups below a key, if a policy names any at all.
    fn groups<'r>(&self, record: &Record<'r>, slot: Slot) -> Vec<Cow<'r, str>> {
        if self.known.groups.is_empty() {
            return Vec::new();
        }
        let list = record.value(slot).map(|it| serde_json::from_slice(it.bytes()));
        list.and_then(Result::ok).unwrap_or_default()
    }
}

impl Seen {
    fn impersonate(&mut self, requests: u64, by: &str) {
        self.impersonated += requests;
        if self.by.as_deref().is_none_or(|it| by < it) {
            self.by = Some(by.to_owned());
        }
    }

    fn merge(&mut self, other: Seen) {
        self.is_authenticated |= other.is_authenticated;
        if let Some(by) = other.by {
            self.impersonate(other.impersonated, &by);
        }
    }
}

impl Analysis for PolicySubjects {
    type Report = Known;

    fn observe(&mut self, record: &Record<'_>) {
        let by = record.text(self.user);
        let authenticated = self.groups(record, self.groups);
        if let Some(it) = self.known.users.get_mut(&*by) {
            it.is_authenticated = true;
        }
        for group in &authenticated {
            if let Some(it) = self.known.groups.get_mut(&**group) {
                it.is_authenticated = true;
            }
        }
        let Some(user) = record.value(self.impersonated) else { return };
        let requests = u64::from(record.ends_request());
        let groups = self.groups(record, self.impersonated_groups);
        if let Some(it) = self.known.users.get_mut(&*user.text()) {
            it.impersonate(requests, &by);
        }
        for group in &groups {
            if let Some(it) = self.known.groups.get_mut(&**group) {
                it.impersonate(requests, &by);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        let Known { users, groups } = other.known;
        for (ours, theirs) in [(&mut self.known.users, users), (&mut self.known.groups, groups)] {
            for (name, it) in theirs {
                ours.entry(name).or_default().merge(it);
            }
        }
    }

    fn finish(self) -> Known {
        self.known
    }
}

impl Known {
    /// The rules of a policy that name whom the log knows as impersonated only.
    pub fn findings(&self, policy: &Policy) -> Vec<Finding> {
        let mut found = Vec::new();
        for (n, rule) in policy.rules.iter().enumerate() {
            let users = rule.users.iter().map(|it| ("user", it, self.users.get(it)));
            let groups = rule.user_groups.iter().map(|it| ("group", it, self.groups.get(it)));
            for (what, name, seen) in users.chain(groups) {
                let Some(Seen { is_authenticated: false, impersonated, by: Some(by) }) = seen
                else {
                    continue;
                };
                let message = format!(
                    "the {what} `{name}` is only impersonated in the log, by {by} \
                     ({impersonated} requests): a policy looks at who authenticated"
                );
                found.push(Finding {
                    id: "only-impersonated",
                    severity: Severity::Warning,
                    rule: Some(n),
                    line: rule.line,
                    message,
                    hint: "name who impersonates, or log what they do by resources".into(),
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::Reader,
        policy::load::{KubeVersion, load},
    };

    fn policy(rules: &str) -> Policy {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        load(text.as_bytes(), KubeVersion::default()).policy.unwrap()
    }

    fn event(user: &str, groups: &str, impersonated: &str) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/x","verb":"get","user":{{"username":"{user}","groups":[{groups}]}}{impersonated}}}"#
        )
    }

    fn as_user(name: &str, groups: &str) -> String {
        format!(r#","impersonatedUser":{{"username":"{name}","groups":[{groups}]}}"#)
    }

    /// What is found, however the log is split.
    #[track_caller]
    fn check(rules: &str, lines: &[String], expected: &[&str]) {
        let policy = policy(rules);
        for parts in 1..3 {
            let mut projection = Projection::default();
            let fresh = PolicySubjects::new([&policy].into_iter(), &mut projection);
            let mut folds = vec![fresh; parts];
            let reader = Reader::new(&projection);
            let mut found = Vec::new();
            for (n, line) in lines.iter().enumerate() {
                let head = reader.read(line.as_bytes(), &mut found).unwrap();
                let record = Record::new("log", line.as_bytes(), head, &projection, &found);
                folds[n % parts].observe(&record);
            }
            let whole = folds.into_iter().reduce(|mut whole, it| {
                whole.merge(it);
                whole
            });
            let found = whole.unwrap().finish().findings(&policy);
            let shown: Vec<_> =
                found.iter().map(|it| format!("{}:{} {}", it.id, it.line, it.message)).collect();
            assert_eq!(shown.len(), expected.len(), "{shown:?}");
            for (shown, expected) in shown.iter().zip(expected) {
                assert!(shown.contains(expected), "{shown}");
            }
        }
    }

    #[test]
    fn users_and_groups() {
        let rules = "- {level: None, users: [dave, alice, nobody]}\n- {level: Metadata, userGroups: [night, ops]}\n";
        let lines = [
            event("alice", "\"ops\"", ""),
            event("proxy", "\"gate\"", &as_user("dave", "\"night\",\"ops\"")),
            event("admin", "\"gate\"", &as_user("dave", "")),
            event("admin", "\"gate\"", &as_user("alice", "")),
        ];
        let dave = "only-impersonated:4 the user `dave` is only impersonated in the log, by admin (2 requests)";
        let night = "only-impersonated:5 the group `night` is only impersonated in the log, by proxy (1 requests)";
        check(rules, &lines, &[dave, night]);
    }

    #[test]
    fn who_authenticates_somewhere_is_fine() {
        let rules = "- {level: Metadata, users: [dave]}\n";
        let impersonated = event("admin", "", &as_user("dave", ""));
        check(rules, std::slice::from_ref(&impersonated), &["`dave`"]);
        check(rules, &[impersonated, event("dave", "", "")], &[]);
        check(rules, &[event("dave\\u0031", "", "")], &[]);
    }
}
