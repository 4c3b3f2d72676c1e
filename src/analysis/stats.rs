//! Counts by any keys.

use std::collections::HashMap;

use serde::Serialize;

use super::Analysis;
use crate::{
    decode::{Projection, Record, Slot, Values},
    event::{Key, Timestamp},
    report::{Column, Report, Table},
};

/// What a count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counted {
    /// Each request once, by the event that ends it.
    Requests,
    /// Every event.
    Events,
}

/// Counts the records by the values of some keys.
#[derive(Debug, Clone)]
pub struct Stats {
    keys: Vec<Key>,
    slots: Vec<Slot>,
    counted: Counted,
    rows: HashMap<Vec<Option<String>>, u64>,
    total: Total,
    period: Period,
}

/// All that was read, and what was counted of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    pub events: u64,
    pub requests: u64,
    pub matched: u64,
}

/// The earliest and the latest stage timestamp of the counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Period {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// What `stats` found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatsReport {
    pub keys: Vec<String>,
    pub counted: Counted,
    pub rows: Vec<Row>,
    pub hidden_rows: u64,
    pub total: Total,
    pub period: Period,
}

/// A group: the values of its keys (absent ones `None`) and how often they came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub key: Vec<Option<String>>,
    pub count: u64,
    pub percent: f64,
}

impl Stats {
    pub fn new(keys: Vec<Key>, counted: Counted, projection: &mut Projection) -> Stats {
        let slots = keys.iter().map(|it| projection.slot(it)).collect();
        Stats {
            slots,
            keys,
            counted,
            rows: HashMap::new(),
            total: Total::default(),
            period: Period::default(),
        }
    }
}

impl Analysis for Stats {
    type Report = StatsReport;

    fn observe(&mut self, record: &Record<'_>) {
        if self.counted == Counted::Requests && !record.ends_request() {
            return;
        }
        self.total.matched += 1;
        let key = self.slots.iter().map(|slot| match record.values(*slot) {
            Values::None => None,
            Values::One(json) => Some(json.text().into_owned()),
            Values::Many(all) => Some(format!(
                "[{}]",
                all.iter().map(|it| it.compact()).collect::<Vec<_>>().join(",")
            )),
        });
        *self.rows.entry(key.collect()).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        self.total.matched += other.total.matched;
        for (key, count) in other.rows {
            *self.rows.entry(key).or_default() += count;
        }
    }

    fn finish(self) -> StatsReport {
        let mut rows: Vec<Row> = self
            .rows
            .into_iter()
            .map(|(key, count)| Row {
                key,
                count,
                percent: count as f64 * 100.0 / self.total.matched as f64,
            })
            .collect();
        rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.key.cmp(&b.key)));
        StatsReport {
            keys: self.keys.iter().map(Key::to_string).collect(),
            counted: self.counted,
            rows,
            hidden_rows: 0,
            total: self.total,
            period: self.period,
        }
    }
}

impl Report for StatsReport {
    const KIND: &'static str = "StatsReport";

    fn tables(&self) -> Vec<Table> {
        let mut columns: Vec<Column> = self.keys.iter().map(|it| Column::text(it)).collect();
        columns.extend([Column::number("COUNT"), Column::number("PERCENT")]);
        let rows = self.rows.iter().map(|row| {
            let mut cells: Vec<String> =
                row.key.iter().map(|it| it.clone().unwrap_or_default()).collect();
            cells.extend([row.count.to_string(), format!("{:.2}", row.percent)]);
            cells
        });
        vec![Table { columns, rows: rows.collect() }]
    }
}
