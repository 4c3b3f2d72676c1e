//! What a policy would have logged of recorded requests, rule by rule.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Analysis, judge::Judge};
use crate::{
    decode::{Projection, Record},
    event::{Level, Stage},
    policy::{AuditConfig, Evaluator, Policy},
    report::{Cell, Column, Report, Table},
};

/// Applies a policy to every record.
#[derive(Debug, Clone)]
pub struct Simulation<'p> {
    policy: &'p Policy,
    judge: Judge<'p>,
    /// Per rule; the last is of what no rule matches.
    counts: Vec<Counts>,
    before: Side,
    after: Side,
    unknown: u64,
    /// Requests whose arrival the policy writes, less the arrivals in the log that it writes.
    unseen: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub requests: u64,
    pub events: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
}

/// A log as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    pub events: u64,
    pub bytes: u64,
    pub by_level: BTreeMap<Level, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleCounts {
    pub rule: usize,
    pub line: usize,
    pub level: Level,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unknown {
    pub requests: u64,
    pub why: &'static str,
    /// Events of stage RequestReceived that the policy would write and the log does not have.
    pub events: u64,
}

/// What an API server itself has counted since it started: also the requests that it did not log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    pub requests: u64,
    pub by_level: BTreeMap<Level, u64>,
    /// The share that its own policy does not log.
    pub percent_unlogged: f64,
    /// How many requests there were in the time of the log, if the share was the same then.
    pub estimated_requests: u64,
}

impl Counted {
    /// `logged` requests end in the log. `None` if the server has logged nothing yet.
    pub fn new(by_level: BTreeMap<Level, u64>, logged: u64) -> Option<Counted> {
        let requests: u64 = by_level.values().sum();
        let unlogged = by_level.get(&Level::None).copied().unwrap_or_default();
        let share = unlogged as f64 / requests as f64;
        (unlogged < requests).then(|| Counted {
            requests,
            by_level,
            percent_unlogged: (share * 10_000.0).round() / 100.0,
            estimated_requests: (logged as f64 / (1.0 - share)).round() as u64,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unmatched {
    pub level: Level,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicySimulation {
    pub rules: Vec<RuleCounts>,
    pub unmatched: Unmatched,
    pub before: Side,
    pub after: Side,
    pub unknown: Unknown,
    /// Where the cluster could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
}

impl<'p> Simulation<'p> {
    pub fn new(policy: &'p Policy, evaluator: &'p Evaluator, projection: &mut Projection) -> Self {
        Simulation {
            policy,
            judge: Judge::new(evaluator, projection),
            counts: vec![Counts::default(); policy.rules.len() + 1],
            before: Side::default(),
            after: Side::default(),
            unknown: 0,
            unseen: 0,
        }
    }

    /// Observes a record, and gives what the policy says of it.
    pub fn judged(&mut self, record: &Record<'_>) -> AuditConfig {
        let config = self.judge.judge(record);
        let level = record.level();
        let written = match self.judge.apply(record, &config) {
            Ok(written) => written.map(|it| it.len()),
            Err(err) => {
                record.reject(err.to_string());
                return config;
            }
        };
        self.before.add(level, record.line().len());
        if let Some(length) = written {
            self.after.add(level.min(config.level), length);
        }
        let is_request = u64::from(record.ends_request());
        if config.level > level && written.is_some() {
            self.unknown += is_request;
        }
        self.unseen += arrivals(record, &config);
        let at = config.rule.unwrap_or(self.counts.len() - 1);
        let counts = &mut self.counts[at];
        counts.requests += is_request;
        counts.events += 1;
        counts.bytes_before += record.line().len() as u64;
        counts.bytes_after += written.unwrap_or_default() as u64;
        config
    }
}

/// One for a request whose arrival the policy writes, minus one for an arrival. A failed authentication
/// is the one request that has only its end.
fn arrivals(record: &Record<'_>, config: &AuditConfig) -> i64 {
    if !config.logs(Stage::RequestReceived) {
        return 0;
    }
    let is_whole = record.ends_request() && record.stage() != Stage::ResponseStarted;
    i64::from(is_whole) - i64::from(record.stage() == Stage::RequestReceived)
}

impl Side {
    fn add(&mut self, level: Level, bytes: usize) {
        self.events += 1;
        self.bytes += bytes as u64;
        *self.by_level.entry(level).or_default() += 1;
    }

    fn merge(&mut self, other: Side) {
        self.events += other.events;
        self.bytes += other.bytes;
        for (level, n) in other.by_level {
            *self.by_level.entry(level).or_default() += n;
        }
    }
}

impl Analysis for Simulation<'_> {
    type Report = PolicySimulation;

    fn observe(&mut self, record: &Record<'_>) {
        self.judged(record);
    }

    fn merge(&mut self, other: Self) {
        for (mine, its) in self.counts.iter_mut().zip(other.counts) {
            mine.requests += its.requests;
            mine.events += its.events;
            mine.bytes_before += its.bytes_before;
            mine.bytes_after += its.bytes_after;
        }
        self.before.merge(other.before);
        self.after.merge(other.after);
        self.unknown += other.unknown;
        self.unseen += other.unseen;
    }

    fn finish(mut self) -> PolicySimulation {
        let counts = self.counts.pop().unwrap_or_default();
        let rules = self.policy.rules.iter().zip(self.counts).enumerate();
        PolicySimulation {
            rules: rules
                .map(|(n, (rule, counts))| RuleCounts {
                    rule: n,
                    line: rule.line,
                    level: rule.level,
                    counts,
                })
                .collect(),
            unmatched: Unmatched { level: Level::None, counts },
            before: self.before,
            after: self.after,
            unknown: Unknown {
                requests: self.unknown,
                why: "recorded below the level the policy asks for",
                events: self.unseen.max(0).unsigned_abs(),
            },
            counted: None,
        }
    }
}

impl Report for PolicySimulation {
    const KIND: &'static str = "PolicySimulation";
    const EMPTY: &'static str = "No requests found.";
    type Item = RuleCounts;

    fn items(&self) -> &[RuleCounts] {
        &self.rules
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::text("RULE"),
            Column::number("LINE"),
            Column::text("LEVEL"),
            Column::number("REQUESTS"),
            Column::number("EVENTS"),
            Column::number("BYTES-BEFORE"),
            Column::number("BYTES-AFTER"),
        ];
        let row = |name: String, line: Cell, level: Level, it: &Counts| {
            let mut cells = vec![Cell::from(name), line, Cell::from(level.as_str())];
            cells.extend(
                [it.requests, it.events, it.bytes_before, it.bytes_after].map(Cell::Number),
            );
            cells
        };
        let mut rows: Vec<Vec<Cell>> = self
            .rules
            .iter()
            .map(|it| row(it.rule.to_string(), Cell::Number(it.line as u64), it.level, &it.counts))
            .collect();
        rows.push(row("unmatched".to_owned(), Cell::None, Level::None, &self.unmatched.counts));
        vec![Table { columns, rows }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        decode::Reader,
        policy::{apply, recorded},
    };

    /// What a simulation counts is what a filter writes, however the log is split.
    #[test]
    fn counts_what_filter_writes() {
        let events = recorded::unpacked("events.jsonl.gz");
        for name in ["p03-gce", "p05-openshift-style", "p23-verbs", "p19-omit-all-stages"] {
            let policy = recorded::policy(&format!("policies/{name}.yaml"));
            let evaluator = Evaluator::new(&policy);
            let mut projection = Projection::default();
            let mut halves =
                [(); 2].map(|()| Simulation::new(&policy, &evaluator, &mut projection));
            let (mut written, mut bytes) = (0, 0);
            let reader = Reader::new(&projection);
            let mut found = Vec::new();
            for (n, line) in events.lines().enumerate() {
                let head = reader.read(line.as_bytes(), &mut found).unwrap();
                let record = Record::new("log", line.as_bytes(), head, &projection, &found);
                halves[n % 2].observe(&record);
                let event = record.event().unwrap();
                let config = evaluator.evaluate(&event.as_authenticated());
                if let Some(it) = apply::apply(
                    line.as_bytes(),
                    event.level,
                    event.stage,
                    || event.verb == "patch",
                    &config,
                )
                .unwrap()
                {
                    written += 1;
                    bytes += it.len() as u64;
                }
            }
            let [mut whole, other] = halves;
            whole.merge(other);
            let report = whole.finish();
            assert_eq!((report.after.events, report.after.bytes), (written, bytes), "{name}");
            assert_eq!(report.before.events, 5158);
        }
    }

    #[test]
    fn arrivals_that_the_log_lacks() {
        let policy = recorded::policy("policies/p01-metadata-all.yaml");
        let evaluator = Evaluator::new(&policy);
        let mut projection = Projection::default();
        let fresh = Simulation::new(&policy, &evaluator, &mut projection);
        let log = include_str!("../../examples/audit.log");
        let unseen = |keep: fn(&&str) -> bool| {
            let mut simulation = fresh.clone();
            let mut found = Vec::new();
            for line in log.lines().filter(keep) {
                let head = Reader::new(&projection).read(line.as_bytes(), &mut found).unwrap();
                let record = Record::new("log", line.as_bytes(), head, &projection, &found);
                simulation.observe(&record);
            }
            simulation.finish().unknown.events
        };
        let is_end = |it: &&str| it.contains(r#""stage":"ResponseComplete""#);
        let ends = log.lines().filter(is_end).count() as u64;
        assert_eq!(unseen(is_end), ends);
        assert!(unseen(|_| true) < ends / 10, "the log has most: {}", unseen(|_| true));
    }

    #[test]
    fn counted() {
        let counted = |none, metadata, logged| {
            let by_level = [(Level::None, none), (Level::Metadata, metadata)];
            Counted::new(by_level.into(), logged)
                .map(|it| (it.requests, it.percent_unlogged, it.estimated_requests))
        };
        assert_eq!(counted(300, 100, 20), Some((400, 75.0, 80)));
        assert_eq!(counted(0, 3, 20), Some((3, 0.0, 20)));
        assert_eq!(counted(5, 0, 0), None);
        assert_eq!(counted(0, 0, 0), None);
    }
}
