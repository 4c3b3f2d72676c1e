//! Counts by any keys.

mod groups;
mod report;

use groups::{Groups, Keys};
pub use report::{Period, Quantiles, Row, StatsReport, Total};
use serde::Serialize;

use super::Analysis;
use crate::{
    decode::{Lookup, Projection, Record, Slot, Values},
    event::{Key, Timestamp},
};

/// What a count counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Each request once, by the event that ends it.
    #[default]
    Requests,
    /// Every event.
    Events,
}

/// The order of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Most first
    #[default]
    Count,
    /// By the values of the keys
    Key,
    /// Most bytes first; needs --bytes
    Bytes,
    /// Slowest first, by the 99th percentile; needs --latency
    Latency,
}

/// What to count, and how to show it.
#[derive(Debug, Clone)]
pub struct Question {
    /// Group by the values of these.
    pub keys: Vec<Key>,
    /// Group by each of the user's groups instead; a request counts once in each.
    pub by_group: bool,
    pub counted: Counted,
    pub sort: Sort,
    /// Rows to show; 0 for all.
    pub limit: usize,
    /// Groups to keep apart; any more are counted together.
    pub max_groups: usize,
    /// Add the bytes of the lines.
    pub bytes: bool,
    /// Add how long the requests took.
    pub latency: bool,
    /// Make the time, in steps of so many microseconds, the first key.
    pub interval: Option<i64>,
}

impl Default for Question {
    fn default() -> Self {
        Question {
            keys: vec!["verb".parse().expect("a well-formed key")],
            by_group: false,
            counted: Counted::Requests,
            sort: Sort::Count,
            limit: 0,
            max_groups: 5_000_000,
            bytes: false,
            latency: false,
            interval: None,
        }
    }
}

/// Counts records by the values of some keys.
#[derive(Debug, Clone)]
pub struct Stats {
    question: Question,
    lookups: Vec<Lookup>,
    /// The user's groups, if those are counted.
    user_groups: Option<Slot>,
    received: Option<Slot>,
    groups: Groups,
    matched: u64,
    /// Events that end no request, where requests are counted.
    others: u64,
    period: Period,
}

impl Stats {
    pub fn new(mut question: Question, projection: &mut Projection) -> Stats {
        if question.by_group {
            question.keys = vec!["user.groups".parse().expect("a well-formed key")];
        }
        Stats {
            lookups: question.keys.iter().map(|it| Lookup::new(it, projection)).collect(),
            user_groups: question.by_group.then(|| projection.want("user.groups")),
            received: question.latency.then(|| projection.want("requestReceivedTimestamp")),
            groups: Groups::new(question.max_groups),
            matched: 0,
            others: 0,
            period: Period::default(),
            question,
        }
    }

    /// Puts the bucket of time before the other parts of the key.
    fn start_key(&mut self, time: Option<Timestamp>) {
        let Some(interval) = self.question.interval else { return };
        match time {
            Some(Timestamp(micros)) => {
                let start = Timestamp(micros.div_euclid(interval) * interval);
                self.groups.key().push(start.to_string().as_bytes());
            }
            None => self.groups.key().push_absent(),
        }
    }

    /// Counts the record in the group of the key that has been put together.
    fn count(&mut self, record: &Record<'_>) {
        let ended = record.stage_timestamp();
        let micros = self.received.zip(ended).and_then(|(received, ended)| {
            let received = Timestamp::parse(record.value(received)?.text().as_bytes())?;
            Some(u64::try_from(ended.0 - received.0).unwrap_or(0))
        });
        self.groups.count(record.line().len() as u64, micros);
    }

    fn count_by_group(&mut self, record: &Record<'_>, slot: Slot) {
        let groups = record.value(slot).map(|it| it.elements()).unwrap_or_default();
        let mut names: Vec<_> = groups.iter().map(|it| it.text()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            self.start_key(record.stage_timestamp());
            self.groups.key().push(name.as_bytes());
            self.count(record);
        }
    }
}

/// Adds the value of a key to the key of a group.
#[inline]
fn push_value(to: &mut Keys, record: &Record<'_>, lookup: &Lookup) {
    if let Some((text, len)) = lookup.plain_text(record) {
        return to.push_first(text, len);
    }
    lookup.with(record, |values| match values {
        Values::None => to.push_absent(),
        Values::One(json) => match json.plain_text() {
            Some(text) => to.push(text),
            None => to.push(json.text().as_bytes()),
        },
        Values::Many(all) => {
            let all: Vec<_> = all.iter().map(|it| it.compact()).collect();
            to.push(format!("[{}]", all.join(",")).as_bytes());
        }
    });
}

impl Analysis for Stats {
    type Report = StatsReport;

    fn observe(&mut self, record: &Record<'_>) {
        if self.question.counted == Counted::Requests && !record.ends_request() {
            self.others += 1;
            return;
        }
        self.matched += 1;
        self.period.add(record.stage_timestamp());
        if let Some(slot) = self.user_groups {
            return self.count_by_group(record, slot);
        }
        self.start_key(record.stage_timestamp());
        for lookup in &self.lookups {
            push_value(self.groups.key(), record, lookup);
        }
        self.count(record);
    }

    fn merge(&mut self, other: Self) {
        self.matched += other.matched;
        self.others += other.others;
        self.period.add(other.period.from);
        self.period.add(other.period.to);
        self.groups.merge(other.groups);
    }

    fn finish(mut self) -> StatsReport {
        self.groups.settle();
        let report = report::report(&self.question, &self.groups, self.matched, self.period);
        StatsReport { others: self.others, ..report }
    }
}

#[cfg(test)]
mod tests;
