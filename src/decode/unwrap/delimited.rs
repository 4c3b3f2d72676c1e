//! CSV and the like, as consoles export tables: a column that holds events, or columns that are fields.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use super::{
    Consumed, Item, flattened,
    shape::{Context, Finder, Outcome, push},
};
use crate::decode::strict::Fields;

/// What separates the fields of a row.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Names of columns are not longer than this.
const MAX_NAME: usize = 256;

/// The fields of one row; quotes are doubled in quoted fields.
pub(super) fn cells(text: &str) -> Vec<String> {
    let mut reader = builder(b',').from_reader(text.as_bytes());
    let mut row = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut row).unwrap_or(false) {
        return Vec::new();
    }
    row.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
}

fn builder(delimiter: u8) -> csv::ReaderBuilder {
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(delimiter);
    builder
}

/// The delimiter of a table that begins with the names of its columns, if the first rows hold events or
/// fields of events. `is_whole` says that nothing follows `start`.
pub(super) fn delimiter(start: &[u8], is_whole: bool) -> Option<u8> {
    let (declared, start) = declared_delimiter(start);
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace())?;
    let end = memchr::memchr(b'\n', start)?;
    if matches!(first, b'{' | b'[' | b'<') || memchr::memchr2(b'{', b'}', &start[..end]).is_some() {
        return None;
    }
    let mut ignore = |_: Item<'_>| {};
    let first_line = String::from_utf8_lossy(&start[..end]);
    if Finder::new(1, &mut ignore).text(&first_line, &Context::default()) != Outcome::Nothing {
        return None;
    }
    let candidates = declared.map_or(DELIMITERS.to_vec(), |delimiter| vec![delimiter]);
    candidates.into_iter().find(|delimiter| has_events(start, *delimiter, is_whole))
}

/// `sep=;`, which tells Excel the delimiter.
fn declared_delimiter(start: &[u8]) -> (Option<u8>, &[u8]) {
    match start.strip_prefix(b"sep=") {
        Some([delimiter, rest @ ..]) if delimiter.is_ascii() && !b"\r\n\"".contains(delimiter) => {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            (Some(*delimiter), &rest[end..])
        }
        _ => (None, start),
    }
}

/// Whether one of the first rows, read with this delimiter, holds an event.
fn has_events(start: &[u8], delimiter: u8, is_whole: bool) -> bool {
    const ROWS: usize = 8;
    let mut reader = builder(delimiter).from_reader(start);
    let mut row = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut row).unwrap_or(false) {
        return false;
    }
    let names = names_of(&row);
    let is_name = |name: &String| {
        name.len() <= MAX_NAME && !name.contains(['{', '\n']) && !name.starts_with("- ")
    };
    if !names.iter().all(is_name) || names.iter().all(String::is_empty) {
        return false;
    }
    // One column of text that is not quoted: lines behind a first line that differs.
    let second = &start[memchr::memchr(b'\n', start).unwrap_or(start.len())..];
    if names.len() == 1 && !second.trim_ascii_start().starts_with(b"\"{\"\"") {
        return false;
    }

    for _ in 0..ROWS {
        if !reader.read_byte_record(&mut row).unwrap_or(false) {
            break;
        }
        // The last row may be cut.
        let is_cut = !is_whole && reader.position().byte() as usize >= start.len();
        if row.len() < names.len().min(2) && names.len() > 1 {
            continue;
        }
        let mut n_found = 0;
        let mut emit = |item: Item<'_>| n_found += usize::from(matches!(item, Item::Event { .. }));
        let json = row_as_json(&names, &row);
        let mut finder = Finder::new(1, &mut emit);
        finder.text(&json, &Context::default());
        if n_found > 0 || is_cut && looks_like_event(&json) {
            return true;
        }
    }
    false
}

/// Whether a row that may be cut has fields of an event.
fn looks_like_event(json: &str) -> bool {
    ["auditID", "stage", "requestURI"].iter().all(|name| json.contains(name))
        || serde_json::from_str::<Fields<'_>>(json)
            .is_ok_and(|fields| flattened::event(&fields, None).is_some())
}

/// The names of columns, without the zone that Azure adds to those of times.
fn names_of(row: &csv::ByteRecord) -> Vec<String> {
    let name = |cell: &[u8]| {
        let name = String::from_utf8_lossy(cell);
        let name = name.trim().trim_start_matches('\u{feff}');
        name.strip_suffix(" [UTC]").unwrap_or(name).to_owned()
    };
    row.iter().map(name).collect()
}

/// A row as an object. Columns without a name, and fields without a column, are numbered.
fn row_as_json(names: &[String], row: &csv::ByteRecord) -> String {
    let mut object = String::from("{");
    for (n, cell) in row.iter().enumerate() {
        let name = names.get(n).filter(|name| !name.is_empty());
        let name = name.map_or_else(|| format!("column {}", n + 1), Clone::clone);
        let value = serde_json::Value::from(String::from_utf8_lossy(cell));
        push(&mut object, &name, &value.to_string());
    }
    object + "}"
}

/// Reads a table to its end, a row at a time.
pub(super) fn read(
    input: &mut dyn Read,
    delimiter: u8,
    max_line: usize,
    emit: &mut dyn FnMut(Item<'_>),
) -> (Consumed, io::Result<()>) {
    let state = Rc::new(State { max_line: max_line as u64, ..State::default() });
    let mut input = Counted { input, state: state.clone() };
    let mut reader = builder(delimiter).buffer_capacity(64 << 10).from_reader(&mut input);
    let mut row = csv::ByteRecord::new();
    let mut names: Option<Vec<String>> = None;
    let mut finder = Finder::new(1, emit);
    let result = loop {
        state.since_row.set(0);
        match reader.read_byte_record(&mut row) {
            Ok(false) => break Ok(()),
            Ok(true) => {}
            Err(err) => {
                finder.line = reader.position().line();
                if state.is_too_long.get() {
                    finder.skip(format!(
                        "this row of CSV has no end within {max_line} bytes: nothing is read from here on (--max-line)"
                    ));
                    break Ok(());
                }
                break match err.into_kind() {
                    csv::ErrorKind::Io(err) => Err(err),
                    _ => Err(io::ErrorKind::InvalidData.into()),
                };
            }
        }
        finder.line = row.position().map_or(1, csv::Position::line);
        match &names {
            None if row.get(0).is_some_and(|cell| cell.starts_with(b"sep=")) => {}
            None if row.len() == 2 && row.iter().all(|cell| cell == b"sep=" || cell.is_empty()) => {
            }
            None => names = Some(names_of(&row)),
            Some(names) => {
                let json = row_as_json(names, &row);
                if finder.text(&json, &Context::default()) == Outcome::Nothing {
                    finder.skip("no audit event in this row");
                }
            }
        }
    };
    drop(reader);
    // What follows a row without end is not looked at, but counted.
    let rest = io::copy(&mut Draining(&mut input), &mut io::sink());
    let consumed = Consumed {
        bytes: state.bytes.get(),
        lines: state.lines.get() + u64::from(state.is_in_line.get()),
    };
    (consumed, result.and(rest.map(drop)))
}

/// What is known of the bytes that were read.
#[derive(Default)]
struct State {
    max_line: u64,
    bytes: Cell<u64>,
    lines: Cell<u64>,
    is_in_line: Cell<bool>,
    /// Bytes read since the last row ended.
    since_row: Cell<u64>,
    is_too_long: Cell<bool>,
}

/// Counts bytes and lines, and ends with an error within a row that is too long.
struct Counted<'i> {
    input: &'i mut dyn Read,
    state: Rc<State>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &self.state;
        if state.since_row.get() > state.max_line {
            state.is_too_long.set(true);
            return Err(io::Error::other("a row is too long"));
        }
        let n = self.input.read(buffer)?;
        let read = &buffer[..n];
        state.bytes.set(state.bytes.get() + n as u64);
        state.since_row.set(state.since_row.get() + n as u64);
        state.lines.set(state.lines.get() + memchr::memchr_iter(b'\n', read).count() as u64);
        if let Some(last) = read.last() {
            state.is_in_line.set(*last != b'\n');
        }
        Ok(n)
    }
}

/// Reads on, however long the row is.
struct Draining<'c, 'i>(&'c mut Counted<'i>);

impl Read for Draining<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.state.since_row.set(0);
        self.0.read(buffer)
    }
}
