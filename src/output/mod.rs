//! Reports as text: one file a format. Knows nothing of events.

use std::io::{self, Write};

use serde::Serialize;

use crate::report::{Report, Table};

/// How a report is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// The table with more columns
    Wide,
    /// One document
    Json,
    /// One object a line
    Jsonl,
    /// One document
    Yaml,
    /// For spreadsheets
    Csv,
}

/// What of the look is the user's choice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    pub no_headers: bool,
    /// Columns of the terminal; `None` when standard output is none: then nothing is cut.
    pub width: Option<usize>,
    pub has_color: bool,
}

/// A report's document: `apiVersion`, `kind`, the report's fields, and `input` if there is one.
#[derive(Serialize)]
struct Document<'r, R, I> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    report: &'r R,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'r I>,
}

/// Writes a report; `input` is what it was made from.
///
/// # Errors
/// When `out` cannot be written.
pub fn write<R: Report, I: Serialize>(
    report: &R,
    input: Option<&I>,
    format: Format,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let document = Document { api_version: "kubectl-audit/v1", kind: R::KIND, report, input };
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &document)?;
            writeln!(out)
        }
        Format::Jsonl => {
            serde_json::to_writer(&mut *out, &document)?;
            writeln!(out)
        }
        Format::Yaml => {
            write!(out, "{}", serde_saphyr::to_string(&document).map_err(io::Error::other)?)
        }
        Format::Table | Format::Wide | Format::Csv => {
            report.tables().iter().try_for_each(|it| write_table(it, look, out))
        }
    }
}

fn write_table(table: &Table, look: Look, out: &mut dyn Write) -> io::Result<()> {
    if !look.no_headers {
        writeln!(
            out,
            "{}",
            table.columns.iter().map(|it| it.header.to_uppercase()).collect::<Vec<_>>().join("   ")
        )?;
    }
    table.rows.iter().try_for_each(|row| writeln!(out, "{}", row.join("   ")))
}
