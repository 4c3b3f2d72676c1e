//! A result as plain data: what a command found, before anybody chose a format.

use serde::Serialize;

/// The result of a command. The document is the serialized report with `apiVersion` and `kind`
/// before it; the tables are the same for people.
pub trait Report: Serialize {
    /// The `kind` of the document.
    const KIND: &'static str;

    fn tables(&self) -> Vec<Table>;
}

/// Rows for people. Cells hold text as found; whoever prints it escapes control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
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
}

impl Column {
    pub fn text(header: &str) -> Column {
        Column { header: header.to_owned(), is_number: false, is_wide: false, may_shrink: false }
    }

    pub fn number(header: &str) -> Column {
        Column { is_number: true, ..Column::text(header) }
    }

    #[must_use]
    pub fn wide(self) -> Column {
        Column { is_wide: true, ..self }
    }

    #[must_use]
    pub fn shrinking(self) -> Column {
        Column { may_shrink: true, ..self }
    }
}
