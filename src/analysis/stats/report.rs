//! `StatsReport`: the counts as plain data.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{
    Counted, Question,
    groups::{Count, Groups, Latency, parts},
};
use crate::{
    analysis::access::UserGroups,
    event::Timestamp,
    rbac::{Identity, Snapshot, subject},
    report::{Cell, Column, Report, Table},
};

/// All that was read, and what was counted of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Events read, before any filter.
    pub events: u64,
    /// Requests that ended in what was read, before any filter.
    pub requests: u64,
    /// Requests (or events, as asked) that were counted.
    pub matched: u64,
}

/// The earliest and the latest stage timestamp of the counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Period {
    pub(in crate::analysis) fn add(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        self.from = Some(self.from.map_or(time, |it| it.min(time)));
        self.to = Some(self.to.map_or(time, |it| it.max(time)));
    }
}

/// What `stats` found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsReport {
    pub keys: Vec<String>,
    pub counted: Counted,
    pub rows: Vec<Row>,
    /// Rows that `--limit` cut off.
    pub hidden_rows: u64,
    pub total: Total,
    pub period: Period,
    /// Events that match but end no request, where requests were counted.
    #[serde(skip)]
    pub others: u64,
}

/// A group: the values of its keys (absent ones `None`) and how often they came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub key: Vec<Option<String>>,
    pub count: u64,
    /// Of the counted, in hundredths of a percent or finer.
    pub percent: f64,
    /// Of the lines, without newlines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Box<Quantiles>>,
    /// What the user of the row is today, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Box<Identity>>,
}

/// How long requests took, from received to complete, in microseconds here and in seconds in a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    #[serde(serialize_with = "seconds")]
    pub p50: u64,
    #[serde(serialize_with = "seconds")]
    pub p90: u64,
    #[serde(serialize_with = "seconds")]
    pub p99: u64,
    #[serde(serialize_with = "seconds")]
    pub max: u64,
}

fn seconds<S: Serializer>(micros: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(*micros as f64 / 1e6)
}

impl Quantiles {
    fn of(latency: &Latency) -> Quantiles {
        Quantiles {
            p50: latency.quantile(0.5),
            p90: latency.quantile(0.9),
            p99: latency.quantile(0.99),
            max: latency.max(),
        }
    }
}

pub(super) fn report(
    question: &Question,
    groups: &Groups,
    matched: u64,
    period: Period,
) -> StatsReport {
    let row = |key: Vec<Option<String>>, count: Count<'_>| Row {
        key,
        count: count.count,
        percent: (count.count as f64 * 1e6 / matched.max(1) as f64).round() / 1e4,
        bytes: question.bytes.then_some(count.bytes),
        latency: count.latency.map(|it| Box::new(Quantiles::of(it))),
        identity: None,
    };
    let text = |part: Option<&[u8]>| part.map(|it| String::from_utf8_lossy(it).into_owned());
    let (top, hidden) = groups.top(question.limit, question.sort);
    let mut rows: Vec<Row> =
        top.into_iter().map(|(key, count)| row(parts(key).map(text).collect(), count)).collect();
    let mut keys: Vec<String> = question.keys.iter().map(ToString::to_string).collect();
    if question.interval.is_some() {
        keys.insert(0, INTERVAL.to_owned());
    }
    if let Some(rest) = groups.rest() {
        let mut key = vec![None; keys.len()];
        key[0] = Some(format!(
            "(all others: more than {} groups, see --max-groups)",
            question.max_groups
        ));
        rows.push(row(key, rest));
    }
    let total = Total { matched, ..Total::default() };
    let (counted, hidden_rows) = (question.counted, hidden as u64);
    StatsReport { keys, counted, rows, hidden_rows, total, period, others: 0 }
}

impl StatsReport {
    /// The place of the key that names users, if one does.
    pub fn user_key(&self) -> Option<usize> {
        let at = |name: &str| self.keys.iter().position(|it| it == name);
        at("user.username").or_else(|| at("impersonatedUser.username"))
    }

    /// Says of each row what its user is today; `groups` are those the log told.
    pub fn resolve(&mut self, snapshot: &Snapshot, groups: &UserGroups) {
        let Some(key) = self.user_key() else { return };
        for row in &mut self.rows {
            let Some(name) = &row.key[key] else { continue };
            let known = groups.get(name).into_iter().flatten().map(|it| Cow::Borrowed(&**it));
            row.identity = Some(Box::new(snapshot.identity(&subject::user(name, known))));
        }
    }
}

impl Report for StatsReport {
    const KIND: &'static str = "StatsReport";
    const EMPTY: &'static str = "No requests found.";
    type Item = Row;

    fn items(&self) -> &[Row] {
        &self.rows
    }

    fn tables(&self) -> Vec<Table> {
        let has_bytes = self.rows.iter().any(|it| it.bytes.is_some());
        let has_latency = self.rows.iter().any(|it| it.latency.is_some());
        let has_interval = self.keys.first().is_some_and(|it| it == INTERVAL);
        let key = |it: &String| {
            if it == "responseStatus.code" { Column::code(it) } else { Column::text(it) }
        };
        let mut columns: Vec<Column> = self.keys.iter().map(key).collect();
        columns.extend([Column::number("COUNT"), Column::number("PERCENT")]);
        if has_bytes {
            columns.push(Column::number("BYTES"));
        }
        if has_latency {
            columns.extend(["P50", "P90", "P99", "MAX"].map(Column::number));
        }
        if has_interval {
            columns.push(Column::text("SHARE"));
        }
        let has_identity = self.rows.iter().any(|it| it.identity.is_some());
        if has_identity {
            columns.extend([Column::text("IDENTITY"), Column::text("ROLES").shrinking()]);
        }
        let most = self.rows.iter().map(|it| it.count).max().unwrap_or(1) as f64;
        let n_columns = columns.len();
        let rows = self.rows.iter().map(|row| {
            let mut cells = Vec::with_capacity(n_columns);
            cells.extend(row.key.iter().map(|it| Cell::from(it.clone())));
            if let Some(time) = row.key[0]
                .as_ref()
                .filter(|_| has_interval)
                .and_then(|it| Timestamp::parse(it.as_bytes()))
            {
                cells[0] = Cell::Time(time.0);
            }
            cells.extend([Cell::Number(row.count), Cell::Percent(row.percent)]);
            cells.extend(row.bytes.filter(|_| has_bytes).map(Cell::Bytes));
            if has_latency {
                let seconds = |it: &Quantiles| {
                    [it.p50, it.p90, it.p99, it.max].map(|it| Cell::Seconds(it as f64 / 1e6))
                };
                cells.extend(row.latency.as_deref().map_or([const { Cell::None }; 4], seconds));
            }
            if has_interval {
                cells.push(Cell::Bar(row.count as f64 / most));
            }
            if has_identity {
                let identity = row.identity.as_deref();
                cells.push(Cell::from(identity.map(Identity::label)));
                cells.push(Cell::from(identity.map(Identity::held)));
            }
            cells
        });
        vec![Table { columns, rows: rows.collect() }]
    }
}

/// The name of the time among the keys.
const INTERVAL: &str = "interval";
