//! Tables as RFC 4180 writes them: every column, raw values, times in UTC.

use std::io::{self, Write};

use super::{Look, table};
use crate::report::{Cell, Table};

/// Writes a header line of the columns' names in lower case, then the rows.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(table: &Table, look: &Look, out: &mut dyn Write) -> io::Result<()> {
    let is_description = table.columns.iter().all(|it| it.header.is_empty());
    if !look.no_headers && !is_description {
        header(&table.columns.iter().map(|it| it.header.as_str()).collect::<Vec<_>>(), out)?;
    }
    table.rows.iter().try_for_each(|it| row(it, out))
}

/// Writes the header line.
///
/// # Errors
/// When `out` cannot be written.
pub fn header(names: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let fields: Vec<String> = names.iter().map(|it| field(it)).collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// Writes a row; bars are for terminals only.
///
/// # Errors
/// When `out` cannot be written.
pub fn row(cells: &[Cell], out: &mut dyn Write) -> io::Result<()> {
    let fields = cells.iter().map(|cell| match cell {
        Cell::None | Cell::Bar(_) => String::new(),
        Cell::Text(text) => field(text),
        Cell::Number(number) | Cell::Bytes(number) => number.to_string(),
        Cell::Percent(number) | Cell::Seconds(number) => number.to_string(),
        Cell::Time(micros) | Cell::Minute(micros) => table::utc(*micros),
    });
    write!(out, "{}\r\n", fields.collect::<Vec<_>>().join(","))
}

/// A text as a field: quoted if it holds what separates fields.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_when_they_must() {
        let mut out = Vec::new();
        let cells = ["a,b", "say \"x\"", "two\nlines", "plain"].map(Cell::from);
        row(&cells, &mut out).expect("memory can be written");
        row(&[Cell::None, Cell::Number(3), Cell::Seconds(0.25), Cell::Time(0)], &mut out)
            .expect("the same");
        let expected = "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",plain\r\n,3,0.25,1970-01-01T00:00:00.000000Z\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
