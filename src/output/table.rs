//! Tables as kubectl shows them: no frame, three blanks between columns, upper-case headers.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use comfy_table::{CellAlignment, Color, ColumnConstraint, Width, presets};
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use super::{Look, escape};
use crate::report::{Cell, Column, Table};

/// Rows laid out at a time: a table of millions of rows is never held as one.
const PAGE: usize = 1000;
/// Blanks between columns.
pub const GAP: usize = 3;
/// The length of a whole bar.
const BAR: usize = 30;

/// Writes a table; of the wide columns only if asked.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(table: &Table, is_wide: bool, look: &Look, out: &mut dyn Write) -> io::Result<()> {
    let shown = shown(table, is_wide, look);
    let columns: Vec<Column> = shown.iter().map(|n| table.columns[*n].clone()).collect();
    let width = look.width.filter(|_| !is_wide);
    let look = Look { width, ..look.clone() };
    let zone = look.timezone.clone();
    let mut widths = Widths::new(&columns, &look);
    widths.add_rows(&table.rows, &shown, &zone);
    let mut pages = Pages { columns, widths: widths.fit(look.width), look, has_header: false };
    pages.header(out)?;
    if pages.is_plain() {
        let mut line = String::new();
        return table.rows.iter().try_for_each(|row| {
            line.clear();
            for ((n, column), width) in shown.iter().zip(&pages.columns).zip(&pages.widths) {
                let start = line.len();
                put(&row[*n], &zone, &mut line);
                fill(&mut line, start, column, *width);
            }
            writeln!(out, "{}", line.trim_end_matches(' '))
        });
    }
    let text = |row: &Vec<Cell>| shown.iter().map(|n| show(&row[*n], &zone)).collect::<Vec<_>>();
    for page in table.rows.chunks(PAGE) {
        pages.write(page.iter().map(text), out)?;
    }
    Ok(())
}

/// The columns that are shown.
fn shown(table: &Table, is_wide: bool, look: &Look) -> Vec<usize> {
    let is_bar =
        |n: usize| table.rows.first().is_some_and(|row| matches!(row.get(n), Some(Cell::Bar(_))));
    (0..table.columns.len())
        .filter(|n| is_wide || !table.columns[*n].is_wide)
        .filter(|n| look.width.is_some() || !is_bar(*n))
        .collect()
}

/// Whether the terminal has room for every row, once what may shrink has.
pub fn fits(table: &Table, look: &Look) -> bool {
    let Some(width) = look.width else { return true };
    let shown = shown(table, false, look);
    let columns: Vec<Column> = shown.iter().map(|n| table.columns[*n].clone()).collect();
    let mut widths = Widths::new(&columns, look);
    widths.add_rows(&table.rows, &shown, &look.timezone);
    all(&widths.fit(look.width)) <= width
}

/// The length of a row.
fn all(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// How wide the columns must be.
pub struct Widths {
    widths: Vec<usize>,
    /// How narrow a column may become.
    least: Vec<usize>,
}

impl Widths {
    pub fn new(columns: &[Column], look: &Look) -> Widths {
        let header = |it: &Column| if look.no_headers { 0 } else { it.header.width() };
        Widths {
            widths: columns.iter().map(header).collect(),
            least: columns
                .iter()
                .map(|it| if it.may_shrink { it.narrowest } else { usize::MAX })
                .collect(),
        }
    }

    /// Makes room for a row of shown cells.
    pub fn add(&mut self, row: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(shown_width(cell));
        }
    }

    /// Makes room for the shown cells of rows.
    fn add_rows(&mut self, rows: &[Vec<Cell>], shown: &[usize], zone: &TimeZone) {
        let mut text = String::new();
        for (width, n) in self.widths.iter_mut().zip(shown) {
            // No number is longer than a larger one.
            let (mut number, mut percent) = (None, None);
            for cell in rows.iter().map(|row| &row[*n]) {
                match cell {
                    Cell::Number(it) if number >= Some(*it) => continue,
                    Cell::Percent(it) if percent >= Some(*it) => continue,
                    Cell::Number(it) => number = Some(*it),
                    Cell::Percent(it) => percent = Some(*it),
                    _ => {}
                }
                text.clear();
                put(cell, zone, &mut text);
                *width = (*width).max(shown_width(&text));
            }
        }
    }

    /// The widths within a terminal's: what may shrink does, the widest first.
    pub fn fit(mut self, terminal: Option<usize>) -> Vec<usize> {
        let Some(terminal) = terminal else { return self.widths };
        while all(&self.widths) > terminal {
            let too_much = all(&self.widths) - terminal;
            let can_shrink = |(_, (width, least)): &(usize, (&usize, &usize))| width > least;
            let pairs = self.widths.iter().zip(&self.least).enumerate();
            let Some((n, (width, least))) =
                pairs.filter(can_shrink).max_by_key(|(_, (width, _))| **width)
            else {
                break;
            };
            self.widths[n] = width.saturating_sub(too_much).max(*least);
        }
        self.widths
    }
}

/// A table written page by page in columns of the same widths.
pub struct Pages {
    pub columns: Vec<Column>,
    pub widths: Vec<usize>,
    pub look: Look,
    pub has_header: bool,
}

impl Pages {
    /// Writes the header line, unless it is unwanted or was written.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn header(&mut self, out: &mut dyn Write) -> io::Result<()> {
        // A description (`Name:   value`) has columns without a name.
        let is_description = self.columns.iter().all(|it| it.header.is_empty());
        if self.look.no_headers || is_description || std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        let headers = self.columns.iter().map(|it| it.header.to_uppercase()).collect();
        self.write(std::iter::once(headers), out)
    }

    /// Writes rows of shown cells.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(
        &self,
        rows: impl Iterator<Item = Vec<String>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match self.is_plain() {
            true => self.plain(rows, out),
            false => self.laid_out(rows, out),
        }
    }

    /// Whether nothing is coloured or cut.
    fn is_plain(&self) -> bool {
        self.look.width.is_none() && !self.look.has_color
    }

    /// The same without colours and cuts: tables of a million rows go into files and pipes, and to
    /// lay them out takes longer than to count them.
    fn plain(
        &self,
        rows: impl Iterator<Item = Vec<String>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let rows: Vec<Vec<String>> = rows.collect();
        let mut widths = Widths { widths: self.widths.clone(), least: Vec::new() };
        rows.iter().for_each(|it| widths.add(it));
        let mut line = String::new();
        for row in rows {
            line.clear();
            for ((text, column), width) in row.iter().zip(&self.columns).zip(&widths.widths) {
                let start = line.len();
                line.push_str(text);
                fill(&mut line, start, column, *width);
            }
            writeln!(out, "{}", line.trim_end_matches(' '))?;
        }
        Ok(())
    }

    fn laid_out(
        &self,
        rows: impl Iterator<Item = Vec<String>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        if self.look.has_color {
            table.enforce_styling();
        }
        for row in rows {
            table.add_row(row.into_iter().zip(&self.columns).zip(&self.widths).map(
                |((text, column), width)| {
                    let text = match column {
                        _ if self.look.width.is_none() || !column.may_shrink => text,
                        Column { is_cut_inside: true, .. } => cut_inside(&text, *width),
                        _ => cut(&text, *width),
                    };
                    let is_failure = column.is_code && text.starts_with(['4', '5']);
                    let cell = comfy_table::Cell::new(text);
                    if is_failure { cell.fg(Color::Red) } else { cell }
                },
            ));
        }
        let last = self.columns.len().saturating_sub(1);
        for (n, width) in self.widths.iter().enumerate() {
            let Some(column) = table.column_mut(n) else { break };
            let gap = if n == last { 0 } else { GAP as u16 };
            column.set_padding((0, gap));
            if self.columns[n].is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let width = u16::try_from(*width).unwrap_or(u16::MAX - GAP as u16).saturating_add(gap);
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
        if table.row_count() == 0 {
            return Ok(());
        }
        table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end_matches(' ')))
    }
}

/// Fills the last cell of a line, which begins at `start`, with blanks up to its width and the gap.
fn fill(line: &mut String, start: usize, column: &Column, width: usize) {
    let blanks = width.saturating_sub(shown_width(&line[start..]));
    if column.is_number {
        line.insert_str(start, &" ".repeat(blanks));
        blank(line, GAP);
    } else {
        blank(line, blanks + GAP);
    }
}

/// Adds so many blanks.
fn blank(line: &mut String, n: usize) {
    const BLANKS: &str = "                                ";
    for _ in 0..n / BLANKS.len() {
        line.push_str(BLANKS);
    }
    line.push_str(&BLANKS[..n % BLANKS.len()]);
}

/// The columns that an escaped text takes.
fn shown_width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// A text in so many columns, with a mark where it was cut.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let fits = text.chars().take_while(|c| {
        used += unicode_width::UnicodeWidthChar::width(*c).unwrap_or(0);
        used <= width
    });
    fits.collect::<String>() + "…"
}

/// The same with the mark inside: the longer half before it.
fn cut_inside(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let last: String = text.chars().rev().collect();
    let last = cut(&last, width / 2);
    let last: String = last.chars().rev().collect();
    let first = cut(text, width + 1 - last.width());
    first + last.trim_start_matches('…')
}

/// A cell for people.
pub fn show(cell: &Cell, timezone: &TimeZone) -> String {
    let mut text = String::new();
    put(cell, timezone, &mut text);
    text
}

/// Adds a cell for people to a text.
fn put(cell: &Cell, timezone: &TimeZone, text: &mut String) {
    let written = match cell {
        Cell::None => text.write_str("<none>"),
        Cell::Text(it) => text.write_str(&escape(it)),
        Cell::Number(number) => write!(text, "{number}"),
        Cell::Bytes(bytes) => text.write_str(&size(*bytes)),
        Cell::Percent(percent) => write!(text, "{percent:.2}"),
        Cell::Seconds(seconds) => text.write_str(&duration(*seconds)),
        Cell::Time(micros) => text.write_str(&time(*micros, timezone)),
        Cell::Minute(micros) => text.write_str(&minute(*micros, timezone)),
        Cell::Bar(part) => {
            let len = (part.clamp(0.0, 1.0) * BAR as f64).round() as usize;
            text.write_str(&"█".repeat(len))
        }
    };
    written.expect("a String takes any text");
}

/// `512 B`, `61.8 KiB`, `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.95 {
            return format!("{value:.1} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} PiB")
}

/// `2026-11-22T10:11:12.123Z`, or in a zone `2026-11-22T11:11:12.123+01:00`.
fn time(micros: i64, timezone: &TimeZone) -> String {
    let Ok(time) = jiff::Timestamp::from_microsecond(micros) else { return "<unknown>".to_owned() };
    if *timezone == TimeZone::UTC {
        return time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    }
    time.to_zoned(timezone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}

/// `11-22 10:11`.
fn minute(micros: i64, timezone: &TimeZone) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).map(|it| it.to_zoned(timezone.clone()));
    time.map_or_else(|_| "<unknown>".to_owned(), |it| it.strftime("%m-%d %H:%M").to_string())
}

/// RFC 3339 in UTC with microseconds.
pub(super) fn utc(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| String::new(), |it| format!("{it:.6}"))
}

/// A duration in the unit that reads best: `850us`, `12.3ms`, `4.56s`, `59m52s`, `3h12m`, `2d4h`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        _ if seconds < 1e-3 => format!("{:.0}us", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1}ms", seconds * 1e3),
        _ if seconds < 60.0 => format!("{seconds:.2}s"),
        _ if whole < 3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ if whole < 86400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{}h", whole / 86400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Both ways of writing give the same.
        #[test]
        fn plain_is_laid_out(
            rows in proptest::collection::vec(proptest::collection::vec("[ a日é\u{301}<]{0,6}|\\PC{0,3}", 3), 1..5),
            widths in proptest::array::uniform3(1_usize..9),
        ) {
            let columns = vec![Column::text("a"), Column::number("b"), Column::text("c")];
            let look = Look { no_headers: true, ..Look::default() };
            let pages = Pages { columns, widths: widths.to_vec(), look, has_header: true };
            let rows: Vec<Vec<String>> =
                rows.iter().map(|row| row.iter().map(|it| escape(it).into_owned()).collect()).collect();
            let (mut plain, mut laid_out) = (Vec::new(), Vec::new());
            pages.plain(rows.clone().into_iter(), &mut plain).unwrap();
            pages.laid_out(rows.into_iter(), &mut laid_out).unwrap();
            proptest::prop_assert_eq!(String::from_utf8(plain), String::from_utf8(laid_out));
        }
    }

    fn table() -> Table {
        let columns = vec![
            Column::text("name"),
            Column::code("code"),
            Column::text("command").shrinking(),
            Column::number("count"),
            Column::text("extra").wide(),
        ];
        let row = |name: &str, code: &str, command: &str, count: u64| {
            vec![name.into(), code.into(), command.into(), Cell::Number(count), "more".into()]
        };
        Table {
            columns,
            rows: vec![
                row(
                    "ann",
                    "200",
                    "sh -c 'a rather long command that does not fit into eighty columns at all'",
                    7,
                ),
                row("日本", "403", "evil\u{1b}[2J\u{202e}", 12345),
                row("", "101", "", 1),
            ],
        }
    }

    #[track_caller]
    fn check(is_wide: bool, look: Look, expected: &str) {
        let mut out = Vec::new();
        write(&table(), is_wide, &look, &mut out).expect("memory can be written");
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn piped_is_never_cut() {
        check(
            false,
            Look::default(),
            "\
NAME     CODE   COMMAND                                                                      COUNT
ann      200    sh -c 'a rather long command that does not fit into eighty columns at all'       7
日本     403    evil\\u001b[2J\\u202e                                                          12345
<none>   101    <none>                                                                           1
",
        );
    }

    #[test]
    fn a_terminal_of_eighty_columns() {
        let look = Look { width: Some(80), ..Look::default() };
        check(
            false,
            look,
            "\
NAME     CODE   COMMAND                                                    COUNT
ann      200    sh -c 'a rather long command that does not fit into eig…       7
日本     403    evil\\u001b[2J\\u202e                                        12345
<none>   101    <none>                                                         1
",
        );
    }

    #[test]
    fn wide_without_headers() {
        let look = Look { width: Some(40), no_headers: true, ..Look::default() };
        check(true, look, "\
ann      200   sh -c 'a rather long command that does not fit into eighty columns at all'       7   more
日本     403   evil\\u001b[2J\\u202e                                                          12345   more
<none>   101   <none>                                                                           1   more
");
    }

    #[test]
    fn colour_tells_failures() {
        let mut out = Vec::new();
        write(&table(), false, &Look { has_color: true, ..Look::default() }, &mut out)
            .expect("memory can be written");
        let text = String::from_utf8_lossy(&out);
        assert_eq!(text.matches("\u{1b}[38;5;9m").count(), 1, "{text}");
        assert_eq!(text.lines().filter(|it| it.contains('\u{1b}')).count(), 1);
    }

    #[test]
    fn durations() {
        let shown = [0.00085, 0.0123, 4.56, 3592.0, 11_520.0, 187_200.0].map(duration);
        assert_eq!(shown, ["850us", "12.3ms", "4.56s", "59m52s", "3h12m", "2d4h"]);
    }

    #[test]
    fn times_in_a_zone() {
        let zone = TimeZone::get("Asia/Tokyo").unwrap_or(TimeZone::fixed(jiff::tz::offset(9)));
        assert_eq!(time(1_500, &TimeZone::UTC), "1970-01-01T00:00:00.001Z");
        assert_eq!(time(1_500, &zone), "1970-01-01T09:00:00.001+09:00");
        assert_eq!(minute(1_500, &zone), "01-01 09:00");
    }

    #[test]
    fn names_keep_both_ends() {
        let check = |text: &str, width: usize, expected: &str| {
            assert_eq!(cut_inside(text, width), expected);
            assert!(expected.width() <= width);
        };
        check("shop/web-7d4b9c6f5-x2x9z", 24, "shop/web-7d4b9c6f5-x2x9z");
        check("shop/web-7d4b9c6f5-x2x9z", 23, "shop/web-7d4…c6f5-x2x9z");
        check("shop/web-7d4b9c6f5-x2x9z", 12, "shop/w…x2x9z");
        check("日本日本日本日本", 9, "日本日…本");
        check("abc", 1, "…");
    }
}
