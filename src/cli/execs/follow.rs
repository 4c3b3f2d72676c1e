//! `kubectl audit execs --follow`

use std::{
    io::{self, Write},
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    super::{
        Error, Exit,
        args::{FollowArgs, OutputArgs, SourceArgs, summary},
        exit,
        filter_args::clock,
    },
    Shape,
    containers::Containers,
    lines,
};
use crate::{
    analysis::{
        Analysis,
        execs::{ExecSessionList, ExecSessions, Item, Live, Told, change_event::ChangeEvent},
    },
    decode::{InputSummary, Projection, Record},
    event::Timestamp,
    filter::{Filter, Window},
    output::{self, Format, Look, csv, table},
    pipeline::{self, Watcher},
    rbac::Snapshot,
};

pub fn run(
    (source, following): (&SourceArgs, &FollowArgs),
    shape: Shape,
    output: &OutputArgs,
    projection: &Projection,
    sessions: ExecSessions,
    snapshot: Option<&Snapshot>,
    out: &mut dyn Write,
) -> Result<Exit, Error> {
    // What started before the window and still lasts left its only trace before it.
    let (followed, sources) = source.followed(Window::default(), following)?;
    let (reading, all) = (source.reading(), Filter::default());
    if let Shape::Usual(format @ (Format::Json | Format::Yaml)) = shape {
        let mut whole = Whole(sessions);
        let mut folded = pipeline::follow(followed, &reading, projection, &all, &mut whole);
        let exit = sources.exit(&mut folded, output)?;
        let mut report = whole.0.finish();
        if let Some(snapshot) = snapshot {
            report.resolve(snapshot);
        }
        output::write(&report, Some(&folded.input), format, &output.look(), out)?;
        summary(&folded.input, output, out)?;
        return Ok(exit);
    }
    let mut watch = Watch {
        live: Live::new(sessions),
        containers: Containers::of(source),
        now: clock(),
        screen: Screen::new(shape, output, snapshot, out),
        result: Ok(()),
    };
    let mut folded = pipeline::follow(followed, &reading, projection, &all, &mut watch);
    let Watch { live, mut screen, result, .. } = watch;
    result?;
    screen.tell(live.finish(clock()))?;
    screen.out.flush()?;
    let exit = sources.exit(&mut folded, output)?;
    summary(&folded.input, output, screen.out)?;
    Ok(exit)
}

/// A document has an end: it is written when the reading ends.
struct Whole(ExecSessions);

impl Watcher for Whole {
    fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        self.0.observe(record);
        ControlFlow::Continue(())
    }

    fn pause(&mut self, _: &InputSummary, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn note(&mut self, note: &str) {
        exit::note(note);
    }
}

/// Tells of sessions as they start and end.
struct Watch<'o> {
    live: Live,
    containers: Option<Containers>,
    /// As of the last pause, at most a second ago.
    now: Timestamp,
    screen: Screen<'o>,
    result: io::Result<()>,
}

impl Watcher for Watch<'_> {
    fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
        self.live.observe(record, self.now);
        ControlFlow::Continue(())
    }

    fn pause(&mut self, _: &InputSummary, _: u64) -> ControlFlow<()> {
        self.now = clock();
        let mut told = self.live.drain(self.now);
        if let Some(containers) = &mut self.containers {
            containers.renew();
            told.iter_mut().for_each(|it| containers.complete(&mut it.item));
        }
        self.result = self.screen.show(told, &self.live, self.now);
        if self.result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn note(&mut self, note: &str) {
        // The next pause draws it again, below the note.
        self.result = self.screen.erase();
        exit::note(note);
    }
}

/// How often the running times are drawn anew.
const TICK: Duration = Duration::from_secs(1);

/// What is written: lines one below the other, and on a terminal the open sessions below them.
struct Screen<'o> {
    shape: Shape,
    /// Asked who comes in, if somebody wants to know.
    snapshot: Option<&'o Snapshot>,
    look: Look,
    out: &'o mut dyn Write,
    /// The columns, from the first rows on.
    pages: Option<table::Pages>,
    has_header: bool,
    /// Lines of the open sessions that were drawn, and when.
    drawn: usize,
    at: Option<Instant>,
    /// Whether the terminal has no room for the whole table.
    is_narrow: bool,
}

/// The narrowest terminal for the whole table of ordinary sessions.
const WHOLE: usize = 120;

impl<'o> Screen<'o> {
    fn new(
        shape: Shape,
        output: &OutputArgs,
        snapshot: Option<&'o Snapshot>,
        out: &'o mut dyn Write,
    ) -> Screen<'o> {
        let look = output.look();
        let is_narrow = snapshot.is_none()
            && matches!(shape, Shape::Usual(Format::Table))
            && look.width.is_some_and(|it| it < WHOLE);
        let (pages, at) = (None, None);
        Screen { shape, snapshot, look, out, pages, has_header: false, drawn: 0, at, is_narrow }
    }

    /// Whether open sessions have a place of their own, and are no lines of the others.
    fn is_live(&self) -> bool {
        matches!(self.shape, Shape::Usual(Format::Table | Format::Wide))
            && self.look.width.is_some()
    }

    fn show(&mut self, told: Vec<Told>, live: &Live, now: Timestamp) -> io::Result<()> {
        let is_still = told.is_empty() && self.at.is_some_and(|it| it.elapsed() < TICK);
        if is_still {
            return Ok(());
        }
        self.tell(told)?;
        if self.is_live() {
            self.erase()?;
            self.draw(live.open(), now)?;
        }
        self.at = Some(Instant::now());
        self.out.flush()
    }

    fn tell(&mut self, told: Vec<Told>) -> io::Result<()> {
        let (is_live, snapshot) = (self.is_live(), self.snapshot);
        let items = |is_wanted: fn(&Told) -> bool| {
            let items = told.into_iter().filter(is_wanted).map(|it| it.item);
            items.map(|it| resolved(it, snapshot)).collect::<Vec<Item>>()
        };
        match self.shape {
            // It tells neither state nor end, so once is enough.
            Shape::ChangeEvent => {
                lines(items(|it| it.is_first).iter().map(ChangeEvent::from), self.out)
            }
            Shape::Usual(Format::Table | Format::Wide) if is_live => {
                let ended = items(|it| !it.item.is_open());
                if ended.is_empty() { Ok(()) } else { self.erase().and_then(|()| self.rows(ended)) }
            }
            Shape::Usual(Format::Table | Format::Wide) => self.rows(items(|_| true)),
            Shape::Usual(Format::Csv) => self.csv(items(|_| true)),
            Shape::Usual(_) => lines(items(|_| true).iter(), self.out),
        }
    }

    fn rows(&mut self, items: Vec<Item>) -> io::Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let rows = self.cells(items);
        let Some(pages) = &mut self.pages else { return Ok(()) };
        pages.header(self.out)?;
        let Some(width) = pages.look.width else { return pages.write(rows.into_iter(), self.out) };
        let mut text = Vec::new();
        pages.write(rows.into_iter(), &mut text)?;
        let text = String::from_utf8_lossy(&text);
        text.lines().try_for_each(|it| writeln!(self.out, "{}", table::cut(it, width)))
    }

    /// Rows as text, in the columns that the first of them settle.
    fn cells(&mut self, items: Vec<Item>) -> Vec<Vec<String>> {
        let list = ExecSessionList { items };
        let table = if self.is_narrow { list.narrow_rows() } else { list.rows() };
        let is_wide = matches!(self.shape, Shape::Usual(Format::Wide));
        let shown: Vec<bool> = table.columns.iter().map(|it| is_wide || !it.is_wide).collect();
        let zone = &self.look.timezone;
        let texts = |row: Vec<_>| {
            let cells = row.iter().zip(&shown).filter(|(_, is_shown)| **is_shown);
            cells.map(|(cell, _)| table::show(cell, zone)).collect()
        };
        let rows: Vec<Vec<String>> = table.rows.into_iter().map(texts).collect();
        if self.pages.is_none() {
            let columns: Vec<_> =
                table.columns.into_iter().filter(|it| is_wide || !it.is_wide).collect();
            let look = Look { width: self.look.width.filter(|_| !is_wide), ..self.look.clone() };
            let mut widths = table::Widths::new(&columns, &look);
            rows.iter().for_each(|it| widths.add(it));
            // Others will come with longer names.
            let usual = columns.iter().map(|it| " ".repeat(usual_width(&it.header)));
            widths.add(&usual.collect::<Vec<_>>());
            let mut widths = widths.fit(look.width);
            // Longer commands than the first will come: they get what is left of the terminal.
            if let (Some(last), Some(terminal)) = (widths.pop(), look.width) {
                let used = widths.iter().map(|it| it + table::GAP).sum::<usize>();
                widths.push(terminal.saturating_sub(used).max(last));
            }
            self.pages = Some(table::Pages { columns, widths, look, has_header: false });
        }
        rows
    }

    fn csv(&mut self, items: Vec<Item>) -> io::Result<()> {
        let table = ExecSessionList { items }.rows();
        let look =
            Look { no_headers: self.look.no_headers || self.has_header, ..self.look.clone() };
        self.has_header |= !table.rows.is_empty();
        if table.rows.is_empty() { Ok(()) } else { csv::write(&table, &look, self.out) }
    }

    /// Takes the open sessions off the terminal.
    fn erase(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.drawn) {
            0 => Ok(()),
            // Up to the first of their lines, and nothing below.
            n => write!(self.out, "\x1b[{n}F\x1b[J"),
        }
    }

    /// Draws the open sessions below all lines, with the time they have lasted.
    fn draw(&mut self, open: Vec<Item>, now: Timestamp) -> io::Result<()> {
        if open.is_empty() {
            return Ok(());
        }
        let (width, height) = size();
        let n_open = open.len();
        // The last line stays free, so that nothing scrolls.
        let n_rows = n_open.min(height.saturating_sub(3).max(1));
        let latest = open.into_iter().skip(n_open - n_rows).map(|it| it.lasting(now));
        let latest = latest.map(|it| resolved(it, self.snapshot)).collect();
        let rows = self.cells(latest);
        let Some(pages) = &mut self.pages else { return Ok(()) };
        let mut text = Vec::new();
        pages.header(self.out)?;
        pages.write(rows.into_iter(), &mut text)?;
        let text = String::from_utf8_lossy(&text);
        let hidden = n_open - n_rows;
        let hidden =
            if hidden > 0 { format!(", the latest {n_rows} of them:") } else { ":".to_owned() };
        writeln!(self.out, "{}", table::cut(&format!("── {n_open} open{hidden}"), width))?;
        self.drawn = 1;
        for line in text.lines() {
            writeln!(self.out, "{}", table::cut(line, width))?;
            self.drawn += 1;
        }
        Ok(())
    }
}

/// A session with who came in, if that was asked.
fn resolved(mut item: Item, snapshot: Option<&Snapshot>) -> Item {
    if let Some(snapshot) = snapshot {
        item.resolve(snapshot);
    }
    item
}

/// Room for what a column usually holds.
fn usual_width(header: &str) -> usize {
    match header {
        "POD" => 20,
        "CONTAINER" | "STATE" => 10,
        "USER" | "LASTED" | "DURATION" => 8,
        "TYPE" => 6,
        _ => 0,
    }
}

/// Columns and lines of the terminal now: it may have changed.
fn size() -> (usize, usize) {
    terminal_size::terminal_size()
        .map_or((80, 24), |(width, height)| (usize::from(width.0), usize::from(height.0)))
}
