//! Two policies on the same requests: what would be seen no more, and what would newly be stored.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Analysis,
    simulation::{PolicySimulation, Side, Simulation, Unknown},
};
use crate::{
    decode::{Projection, Record, Slot},
    event::{Level, Timestamp},
    policy::{AuditConfig, Evaluator, Policy},
    report::{Cell, Column, Report, Table},
};

/// Applies both policies to every record.
#[derive(Debug, Clone)]
pub struct PolicyDiff<'p> {
    old: Simulation<'p>,
    new: Simulation<'p>,
    audit_id: Slot,
    username: Slot,
    verb: Slot,
    uri: Slot,
    changes: BTreeMap<Key, Change>,
}

/// What changes, and by which rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    from: Level,
    to: Level,
    old: Option<usize>,
    new: Option<usize>,
    /// The same level, but other stages, or managed fields kept or not.
    is_detail: bool,
}

#[derive(Debug, Clone, Default)]
struct Change {
    requests: u64,
    bytes: u64,
    example: Option<Example>,
}

/// One of the requests: the earliest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    #[serde(rename = "stageTimestamp")]
    time: Option<Timestamp>,
    #[serde(rename = "auditID")]
    audit_id: String,
    user: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// As the old policy would log.
    pub before: Side,
    /// As the new policy would log.
    pub after: Side,
    pub changes: Vec<Changed>,
    pub unknown: Unknown,
}

/// Requests that the two policies record differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Changed {
    pub from: Level,
    pub to: Level,
    pub rule: Rules,
    /// The level stays, but stages or managed fields do not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub detail: bool,
    pub requests: u64,
    pub bytes: u64,
    pub example: Example,
}

/// The rules that decide, from 0; -1 where none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rules {
    pub old: i64,
    pub new: i64,
}

/// A policy, ready.
pub type Prepared<'p> = (&'p Policy, &'p Evaluator);

impl<'p> PolicyDiff<'p> {
    pub fn new(old: Prepared<'p>, new: Prepared<'p>, projection: &mut Projection) -> Self {
        PolicyDiff {
            old: Simulation::new(old.0, old.1, projection),
            new: Simulation::new(new.0, new.1, projection),
            audit_id: projection.want("auditID"),
            username: projection.want("user.username"),
            verb: projection.want("verb"),
            uri: projection.want("requestURI"),
            changes: BTreeMap::new(),
        }
    }

    fn example(&self, record: &Record<'_>) -> Example {
        Example {
            time: record.stage_timestamp(),
            audit_id: record.text(self.audit_id).into_owned(),
            user: record.text(self.username).into_owned(),
            verb: record.text(self.verb).into_owned(),
            request_uri: record.text(self.uri).into_owned(),
        }
    }
}

impl Key {
    fn of(old: AuditConfig, new: AuditConfig) -> Option<Key> {
        let is_detail = old.level == new.level;
        let is_same = is_detail
            && (old.level == Level::None
                || (old.omit_stages == new.omit_stages
                    && old.omit_managed_fields == new.omit_managed_fields));
        let (from, to) = (old.level, new.level);
        (!is_same).then_some(Key { from, to, old: old.rule, new: new.rule, is_detail })
    }
}

impl Change {
    fn add(&mut self, requests: u64, bytes: u64, example: Example) {
        self.requests += requests;
        self.bytes += bytes;
        if self.example.as_ref().is_none_or(|it| example < *it) {
            self.example = Some(example);
        }
    }
}

impl Analysis for PolicyDiff<'_> {
    type Report = Difference;

    fn observe(&mut self, record: &Record<'_>) {
        let old = self.old.judged(record);
        let new = self.new.judged(record);
        let Some(key) = Key::of(old, new) else { return };
        let time = record.stage_timestamp();
        let known = self.changes.get(&key).and_then(|it| it.example.as_ref());
        // Most are later than the example there is: then nothing need be read.
        let example = match known {
            Some(known) if known.time < time => known.clone(),
            _ => self.example(record),
        };
        let bytes = record.line().len() as u64;
        let change = self.changes.entry(key).or_default();
        change.add(u64::from(record.ends_request()), bytes, example);
    }

    fn merge(&mut self, other: Self) {
        self.old.merge(other.old);
        self.new.merge(other.new);
        for (key, its) in other.changes {
            if let Some(example) = its.example {
                self.changes.entry(key).or_default().add(its.requests, its.bytes, example);
            }
        }
    }

    fn finish(self) -> Difference {
        let (old, new): (PolicySimulation, PolicySimulation) =
            (self.old.finish(), self.new.finish());
        let number = |it: Option<usize>| it.map_or(-1, |it| it as i64);
        let changed = |(key, it): (Key, Change)| {
            Some(Changed {
                from: key.from,
                to: key.to,
                rule: Rules { old: number(key.old), new: number(key.new) },
                detail: key.is_detail,
                requests: it.requests,
                bytes: it.bytes,
                example: it.example?,
            })
        };
        let mut changes: Vec<Changed> = self.changes.into_iter().filter_map(changed).collect();
        // What is lost comes before what is won, and the most of it first.
        changes.sort_by_key(|it| (it.to >= it.from, std::cmp::Reverse(it.bytes)));
        Difference { before: old.after, after: new.after, changes, unknown: new.unknown }
    }
}

impl Report for Difference {
    const KIND: &'static str = "PolicyDiff";
    const EMPTY: &'static str = "No requests found.";
    type Item = Changed;

    fn items(&self) -> &[Changed] {
        &self.changes
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::text("FROM"),
            Column::text("TO"),
            Column::text("OLD-RULE"),
            Column::text("NEW-RULE"),
            Column::number("REQUESTS"),
            Column::number("BYTES"),
            Column::text("EXAMPLE").shrinking(),
        ];
        let rule = |it: i64| if it < 0 { Cell::from("none") } else { Cell::from(it.to_string()) };
        let rows = self.changes.iter().map(|it| {
            let Example { user, verb, request_uri, .. } = &it.example;
            vec![
                Cell::from(it.from.as_str()),
                Cell::from(it.to.as_str()),
                rule(it.rule.old),
                rule(it.rule.new),
                Cell::Number(it.requests),
                Cell::Number(it.bytes),
                Cell::from(format!("{user}: {verb} {request_uri}")),
            ]
        });
        let side = |name: &str, it: &Side| {
            vec![Cell::from(name), Cell::Number(it.events), Cell::Number(it.bytes)]
        };
        let sides = Table {
            columns: vec![
                Column::text("POLICY"),
                Column::number("EVENTS"),
                Column::number("BYTES"),
            ],
            rows: vec![side("old", &self.before), side("new", &self.after)],
        };
        let changes = Table { columns, rows: rows.collect() };
        if changes.rows.is_empty() { vec![sides] } else { vec![changes, sides] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode::Reader, policy::recorded};

    /// Any order and any split give the same report, and its sides are those of two simulations.
    #[test]
    fn law_and_sides() {
        let events = recorded::unpacked("events.jsonl.gz");
        let policies = ["p03-gce", "p05-openshift-style"]
            .map(|it| recorded::policy(&format!("policies/{it}.yaml")));
        let [old, new] = &policies;
        let (old_ready, new_ready) = (Evaluator::new(old), Evaluator::new(new));
        let mut projection = Projection::default();
        let fresh = PolicyDiff::new((old, &old_ready), (new, &new_ready), &mut projection);
        let mut alone = Simulation::new(old, &old_ready, &mut projection);
        let (mut whole, mut parts) = (fresh.clone(), vec![fresh; 3]);
        let reader = Reader::new(&projection);
        let (mut found, lines) = (Vec::new(), events.lines().collect::<Vec<_>>());
        for (n, line) in lines.iter().enumerate() {
            let head = reader.read(line.as_bytes(), &mut found).unwrap();
            let record = Record::new("log", line.as_bytes(), head, &projection, &found);
            whole.observe(&record);
            alone.observe(&record);
            let back = lines[lines.len() - 1 - n].as_bytes();
            let head = reader.read(back, &mut found).unwrap();
            parts[n % 3].observe(&Record::new("log", back, head, &projection, &found));
        }
        let mut merged = parts.remove(1);
        parts.into_iter().for_each(|it| merged.merge(it));
        let whole = whole.finish();
        assert_eq!(merged.finish(), whole);
        assert_eq!(whole.before, alone.finish().after);
        assert!(whole.changes.len() > 5);
    }

    #[test]
    fn nothing_changes_against_itself() {
        let policy = recorded::policy("policies/p03-gce.yaml");
        let ready = Evaluator::new(&policy);
        let mut projection = Projection::default();
        let mut diff = PolicyDiff::new((&policy, &ready), (&policy, &ready), &mut projection);
        let (reader, mut found) = (Reader::new(&projection), Vec::new());
        for line in recorded::unpacked("events.jsonl.gz").lines().take(500) {
            let head = reader.read(line.as_bytes(), &mut found).unwrap();
            diff.observe(&Record::new("log", line.as_bytes(), head, &projection, &found));
        }
        assert_eq!(diff.finish().changes, []);
    }
}
