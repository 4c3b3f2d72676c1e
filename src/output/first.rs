//! The beginning of a report: what `--limit` leaves.

use serde::{Serialize, Serializer};

use super::Format;
use crate::report::{Report, Table};

/// The first rows of a report's list. Its document stays whole: the sums in it are of everything.
#[derive(Debug)]
pub struct First<'r, R> {
    report: &'r R,
    limit: usize,
}

impl<'r, R: Report> First<'r, R> {
    /// At most `limit` rows or lines of the report; 0 for all.
    pub fn of(report: &'r R, limit: usize) -> First<'r, R> {
        First { report, limit: if limit == 0 { usize::MAX } else { limit } }
    }

    /// How many rows or lines are left out in this format.
    pub fn hidden(&self, format: Format) -> usize {
        let listed = match format {
            Format::Json | Format::Yaml => 0,
            Format::Jsonl => self.report.items().len(),
            Format::Table | Format::Wide | Format::Csv if self.report.items().is_empty() => 0,
            Format::Table | Format::Wide | Format::Csv => {
                self.report.tables().first().map_or(0, |table| table.rows.len())
            }
        };
        listed.saturating_sub(self.limit)
    }

    /// The list is the first table; where there is nothing to list, what stands there are sums.
    fn cut(&self, mut tables: Vec<Table>) -> Vec<Table> {
        if let Some(list) = tables.first_mut().filter(|_| !self.report.items().is_empty()) {
            list.rows.truncate(self.limit);
        }
        tables
    }
}

impl<R: Report> Serialize for First<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.report.serialize(serializer)
    }
}

impl<R: Report> Report for First<'_, R> {
    const KIND: &'static str = R::KIND;
    const EMPTY: &'static str = R::EMPTY;
    type Item = R::Item;

    fn items(&self) -> &[R::Item] {
        let items = self.report.items();
        &items[..self.limit.min(items.len())]
    }

    fn tables(&self) -> Vec<Table> {
        self.cut(self.report.tables())
    }

    fn narrow_tables(&self) -> Option<Vec<Table>> {
        self.report.narrow_tables().map(|tables| self.cut(tables))
    }
}
