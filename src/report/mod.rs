//! A result as plain data: what a command found, before anybody chose a format.

pub mod actions;

use serde::Serialize;

mod history;

/// The result of a command. The document is the serialized report with `apiVersion` and `kind`
/// before it; the tables are the same for people.
pub trait Report: Serialize {
    /// The `kind` of the document.
    const KIND: &'static str;

    /// What a person is told where no table has a row.
    const EMPTY: &'static str = "Nothing found.";

    /// What the report lists.
    type Item: Serialize;

    /// What it lists, one a line in `jsonl`.
    fn items(&self) -> &[Self::Item];

    fn tables(&self) -> Vec<Table>;

    /// The same with less in it, for a terminal that is too narrow for a row of them.
    fn narrow_tables(&self) -> Option<Vec<Table>> {
        None
    }
}

/// Rows for people and for spreadsheets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub header: String,
    /// Numbers stand right.
    pub is_number: bool,
    /// Shown with `-o wide` only.
    pub is_wide: bool,
    /// May be cut to fit a terminal: free text, never an identifier.
    pub may_shrink: bool,
    /// What it keeps of its width then.
    pub narrowest: usize,
    /// Cut inside, so that the end stays: generated names differ there.
    pub is_cut_inside: bool,
    /// Response codes: those of failures are coloured.
    pub is_code: bool,
}

impl Column {
    pub fn text(header: &str) -> Column {
        let header = header.to_owned();
        Column {
            header,
            is_number: false,
            is_wide: false,
            may_shrink: false,
            narrowest: 16,
            is_cut_inside: false,
            is_code: false,
        }
    }

    pub fn number(header: &str) -> Column {
        Column { is_number: true, ..Column::text(header) }
    }

    pub fn code(header: &str) -> Column {
        Column { is_code: true, ..Column::text(header) }
    }

    #[must_use]
    pub fn wide(self) -> Column {
        Column { is_wide: true, ..self }
    }

    #[must_use]
    pub fn shrinking(self) -> Column {
        Column { may_shrink: true, ..self }
    }

    /// Cut to so many columns if need be.
    #[must_use]
    pub fn shrinking_to(self, narrowest: usize) -> Column {
        Column { may_shrink: true, narrowest, ..self }
    }

    /// The same for names, which keep both their ends.
    #[must_use]
    pub fn shrinking_inside_to(self, narrowest: usize) -> Column {
        Column { is_cut_inside: true, ..self.shrinking_to(narrowest) }
    }
}

/// A value in a [`Table`]. Text is as found; whoever prints it escapes control characters.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: `<none>` for people.
    None,
    Text(String),
    Number(u64),
    Percent(f64),
    /// A size in bytes: in KiB and so on for people, in bytes with `-o wide` and for programs.
    Bytes(u64),
    /// A duration.
    Seconds(f64),
    /// A time, in microseconds since the Unix epoch.
    Time(i64),
    /// A time of these days, to the minute.
    Minute(i64),
    /// A part of one as a bar, on terminals only.
    Bar(f64),
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        if text.is_empty() { Cell::None } else { Cell::Text(text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::from(text.to_owned())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::None, Into::into)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number)
    }
}
