//! Reports as text: one file a format. Knows nothing of events.

pub mod csv;
pub mod escape;
mod first;
pub mod table;

use std::io::{self, Write};

use jiff::tz::TimeZone;
use serde::Serialize;

pub use escape::{JsonText, escape};
pub use first::First;

use crate::report::{Cell, Report, Table};

/// How a report is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// The table with more columns, never cut
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

/// What of the look is the user's choice, or the terminal's.
#[derive(Debug, Clone)]
pub struct Look {
    pub no_headers: bool,
    /// Columns of the terminal; `None` when standard output is none: then nothing is cut.
    pub width: Option<usize>,
    pub has_color: bool,
    /// For the times in tables.
    pub timezone: TimeZone,
}

impl Default for Look {
    fn default() -> Look {
        Look { no_headers: false, width: None, has_color: false, timezone: TimeZone::UTC }
    }
}

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "kubectl-audit/v1";

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
/// ```
/// use kubectl_audit::{
///     analysis::{Analysis, stats::{Question, Stats}}, decode::Projection,
///     output::{self, Format, Look},
/// };
///
/// let report = Stats::new(Question::default(), &mut Projection::default()).finish();
/// let mut out = Vec::new();
/// output::write(&report, None::<&()>, Format::Json, &Look::default(), &mut out)?;
/// assert!(out.starts_with(b"{\n  \"apiVersion\": \"kubectl-audit/v1\",\n  \"kind\": \"StatsReport\""));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When `out` cannot be written.
pub fn write<R: Report, I: Serialize>(
    report: &R,
    input: Option<&I>,
    format: Format,
    look: &Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let document = || Document { api_version: API_VERSION, kind: R::KIND, report, input };
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(JsonText(out), &document())?;
            writeln!(out)
        }
        Format::Jsonl => report.items().iter().try_for_each(|item| {
            serde_json::to_writer(JsonText(out), item)?;
            writeln!(out)
        }),
        Format::Yaml => yaml(&document(), out),
        Format::Csv => report.tables().iter().try_for_each(|it| csv::write(it, look, out)),
        Format::Wide => tables(&to_the_byte(report.tables()), true, look, out),
        Format::Table => {
            let mut all = report.tables();
            if !all.iter().all(|it| table::fits(it, look)) {
                all = report.narrow_tables().unwrap_or(all);
            }
            tables(&all, false, look, out)
        }
    }
}

/// The same tables with sizes as numbers of bytes.
fn to_the_byte(mut tables: Vec<Table>) -> Vec<Table> {
    for cell in tables.iter_mut().flat_map(|it| &mut it.rows).flatten() {
        if let Cell::Bytes(bytes) = cell {
            *cell = Cell::Number(*bytes);
        }
    }
    tables
}

/// Writes tables with an empty line between them.
fn tables(tables: &[Table], is_wide: bool, look: &Look, out: &mut dyn Write) -> io::Result<()> {
    for (n, it) in tables.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        table::write(it, is_wide, look, out)?;
    }
    Ok(())
}

/// Writes a YAML document that readers of YAML 1.1 and 1.2 read the same.
///
/// # Errors
/// When `out` cannot be written.
pub fn yaml(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(serde_saphyr::to_string(value).map_err(io::Error::other)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// Whatever a log holds comes back from YAML as it was.
        #[test]
        fn yaml_round_trip(texts in prop::collection::vec("\\PC{0,8}|[\\x00-\\x20a-z:#-]{0,6}|on|yes|1e3|null|0x1|007|~", 0..6)) {
            let mut yaml = Vec::new();
            super::yaml(&texts, &mut yaml).expect("memory can be written");
            let text = String::from_utf8(yaml).expect("YAML is text");
            let read: Vec<String> = serde_saphyr::from_str(&text).expect("our own YAML is YAML");
            prop_assert_eq!(read, texts);
        }
    }
}
