//! Counts by any keys.

mod groups;
mod report;

use groups::Groups;
pub use report::{Period, Quantiles, Row, StatsReport, Total};
use serde::Serialize;

use super::Analysis;
use crate::{
    decode::{Projection, Record, Slot, Values},
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
    slots: Vec<Slot>,
    received: Option<Slot>,
    groups: Groups,
    matched: u64,
    period: Period,
}

impl Stats {
    pub fn new(mut question: Question, projection: &mut Projection) -> Stats {
        if question.by_group {
            question.keys = vec!["user.groups".parse().expect("a well-formed key")];
        }
        Stats {
            slots: question.keys.iter().map(|it| projection.slot(it)).collect(),
            received: question.latency.then(|| projection.want("requestReceivedTimestamp")),
            groups: Groups::new(question.max_groups),
            matched: 0,
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

    fn push_value(&mut self, record: &Record<'_>, slot: Slot) {
        if let Some((text, len)) = record.plain_text(slot) {
            return self.groups.key().push_first(text, len);
        }
        match record.values(slot) {
            Values::None => self.groups.key().push_absent(),
            Values::One(json) => match json.plain_text() {
                Some(text) => self.groups.key().push(text),
                None => self.groups.key().push(json.text().as_bytes()),
            },
            Values::Many(all) => {
                let all: Vec<_> = all.iter().map(|it| it.compact()).collect();
                self.groups.key().push(format!("[{}]", all.join(",")).as_bytes());
            }
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

    fn count_by_group(&mut self, record: &Record<'_>) {
        let groups = record.value(self.slots[0]).map(|it| it.elements()).unwrap_or_default();
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

impl Analysis for Stats {
    type Report = StatsReport;

    fn observe(&mut self, record: &Record<'_>) {
        if self.question.counted == Counted::Requests && !record.ends_request() {
            return;
        }
        self.matched += 1;
        self.period.add(record.stage_timestamp());
        if self.question.by_group {
            return self.count_by_group(record);
        }
        self.start_key(record.stage_timestamp());
        for n in 0..self.slots.len() {
            self.push_value(record, self.slots[n]);
        }
        self.count(record);
    }

    fn merge(&mut self, other: Self) {
        self.matched += other.matched;
        self.period.add(other.period.from);
        self.period.add(other.period.to);
        self.groups.merge(other.groups);
    }

    fn finish(mut self) -> StatsReport {
        self.groups.settle();
        report::report(&self.question, &self.groups, self.matched, self.period)
    }
}

#[cfg(test)]
mod tests;
