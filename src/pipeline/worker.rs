//! From a piece of work to records: lines, their readers, and what is counted on the way.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    chunk::{LineStream, read_chunk},
    fold::Reading,
    own::Own,
    progress::Progress,
    queue::{Part, Place, Sniffed, Task, Work},
    tally::Tally,
    unique::Unique,
};
use crate::{
    decode::{Found, Head, Projection, Reader, Record, unwrap},
    filter::{Filter, Watch},
    source::{Archive, FileBytes, Order, SourceError},
};

/// Reads pieces of work one after the other.
pub(super) struct Worker<'p> {
    reader: Reader<'p>,
    projection: &'p Projection,
    max_line: usize,
    unique: Option<&'p Unique>,
    own: Option<Own>,
    progress: Option<&'p Progress>,
    buffer: FileBytes,
    /// If this piece is of a file that is not read whole.
    cut: Option<Cut>,
    /// Raised when nobody wants more.
    stop: Option<&'p AtomicBool>,
    /// Names to look for in every event.
    watches: &'p [Watch],
    pub tally: Tally,
}

/// What must be known of a part of a file.
struct Cut {
    /// Where it begins.
    from: u64,
    /// The order of the lines of this piece.
    order: Order,
}

/// An event in a piece of work.
#[derive(Clone, Copy)]
struct Spot<'q> {
    at: Place<'q>,
    /// In this piece, from 1.
    line: u64,
}

impl<'p> Worker<'p> {
    pub(super) fn new(
        projection: &'p Projection,
        reading: &'p Reading,
        unique: Option<&'p Unique>,
    ) -> Worker<'p> {
        let reader =
            if reading.strict { Reader::strict(projection) } else { Reader::new(projection) };
        let max_line = reading.max_line;
        let tally = Tally::default();
        Worker {
            reader,
            projection,
            max_line,
            unique,
            own: reading.leave_out.clone().map(Own::of_run),
            progress: reading.progress.as_deref(),
            buffer: FileBytes::default(),
            cut: None,
            stop: None,
            watches: &[],
            tally,
        }
    }

    /// The same, but looks for the names that a filter watches.
    pub(super) fn watching(self, filter: &'p Filter) -> Worker<'p> {
        Worker { watches: filter.watches(), ..self }
    }

    /// The same, but ends early once `stop` is raised.
    pub(super) fn until(self, stop: &'p AtomicBool) -> Worker<'p> {
        Worker { stop: Some(stop), ..self }
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|it| it.load(Ordering::Relaxed))
    }

    /// Reads a piece and gives its events to `sink`.
    pub(super) fn run<S: FnMut(&Record<'_>)>(&mut self, task: Task<'_>, sink: &mut S) {
        let at = task.at;
        let from = match &task.work {
            Work::Chunk { part, .. } => part.start,
            _ => 0,
        };
        self.cut = task.is_checked.then(|| Cut { from, order: Order::default() });

        let result = match task.work {
            Work::Failed(err) => return self.tally.unopened(at.part.input, err),
            Work::Archive(archive) => return self.archive(at, archive, sink),
            Work::Chunk { file, part } => {
                let mut buffer = std::mem::take(&mut self.buffer);
                let result = read_chunk(&file, &part, at.part.chunk, self.max_line, &mut buffer)
                    .map(|lines| {
                        let text = &buffer[lines.range];
                        let n = self.lines(at, 0, text, sink);
                        self.tally.read(
                            at.part,
                            text.len() as u64,
                            n + u64::from(lines.then_too_long),
                        );
                        if lines.then_too_long {
                            self.too_long(Spot { at, line: n + 1 });
                        }
                    });
                self.buffer = buffer;
                result
            }
            Work::Lines(input) => self.stream(at, input, sink),
            Work::Wrapped(mut input) => self.wrapped(at, &mut input, sink),
        };
        if let Some(cut) = self.cut.take() {
            self.tally.ordered(at.part, cut.order);
        }
        if let Err(err) = result {
            self.tally.fail(at.part.input, SourceError::new(at.name, err));
        }
    }

    /// Reads the logs in an archive, one after another.
    fn archive<S: FnMut(&Record<'_>)>(&mut self, at: Place<'_>, archive: Archive, sink: &mut S) {
        let mut logs = Vec::new();
        let left = archive.each(&mut |member| {
            let part = Part { member: logs.len() as u64, ..at.part };
            let at = Place { log: member.log, node: None, name: member.name, part };
            let content = Sniffed::new(member.content);
            let result = match unwrap::is_wrapped(&content.start) {
                true => self.wrapped(at, &mut content.whole(), sink),
                false => self.stream(at, content.whole(), sink),
            };
            if let Err(err) = result {
                self.tally.fail(part.input, SourceError::new(member.name, err));
            }
            logs.push(member.log.to_owned());
            !self.is_stopped()
        });
        self.tally.archive(at, logs, left);
    }

    fn stream<S: FnMut(&Record<'_>)>(
        &mut self,
        at: Place<'_>,
        input: impl std::io::Read,
        sink: &mut S,
    ) -> std::io::Result<()> {
        let mut stream = LineStream::new(input, self.max_line);
        let (mut bytes, mut n) = (0, 0);
        let mut result = Ok(());
        while let Some((text, then_too_long, failed)) = stream.next() {
            bytes += text.len() as u64;
            n += self.lines(at, n, text, sink);
            if then_too_long {
                n += 1;
                self.too_long(Spot { at, line: n });
            }
            if let Some(err) = failed {
                result = Err(err);
                break;
            }
            if self.is_stopped() {
                break;
            }
        }
        self.tally.read(at.part, bytes, n);
        result
    }

    fn wrapped<S: FnMut(&Record<'_>)>(
        &mut self,
        at: Place<'_>,
        input: &mut dyn std::io::Read,
        sink: &mut S,
    ) -> std::io::Result<()> {
        let (consumed, result) =
            unwrap::read(input, self.max_line, &mut |item| self.item(at, item, sink));
        self.tally.read(at.part, consumed.bytes, consumed.lines);
        result
    }

    /// Reads lines; gives how many there were. `before` lines of this piece came before them.
    fn lines<S: FnMut(&Record<'_>)>(
        &mut self,
        at: Place<'_>,
        before: u64,
        text: &[u8],
        sink: &mut S,
    ) -> u64 {
        let text = if at.part.chunk == 0 && before == 0 {
            text.strip_prefix(BOM).unwrap_or(text)
        } else {
            text
        };
        if let Some(progress) = self.progress {
            progress.add(text.len());
        }
        let mut found = Vec::new();
        let (mut n, mut start) = (0, 0);
        while start < text.len() {
            n += 1;
            let (rest, spot) = (&text[start..], Spot { at, line: before + n });
            let len = match self.reader.first(rest, &mut found) {
                Some((head, len)) if len <= self.max_line => {
                    self.known(spot, head, &rest[..len], &found, sink);
                    len
                }
                _ => {
                    let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                    self.line(spot, &rest[..len], &mut found, sink);
                    len
                }
            };
            start += len + 1;
        }
        n
    }

    /// Reads a line, or what is wrapped in it. A blank line is nothing.
    #[inline]
    fn line<'a, S: FnMut(&Record<'_>)>(
        &mut self,
        spot: Spot<'_>,
        line: &'a [u8],
        found: &mut Vec<Found<'a>>,
        sink: &mut S,
    ) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        if line.len() > self.max_line {
            return self.too_long(spot);
        }
        if let Err(reason) = self.event(spot, line, found, sink) {
            self.unwrap(spot, line, reason, sink);
        }
    }

    #[cold]
    fn unwrap<S: FnMut(&Record<'_>)>(
        &mut self,
        spot: Spot<'_>,
        line: &[u8],
        reason: String,
        sink: &mut S,
    ) {
        let is_known = unwrap::line(line, &mut |item| {
            let item = match item {
                unwrap::Item::Event { json, is_truncated, host, .. } => {
                    unwrap::Item::Event { json, line: spot.line, is_truncated, host }
                }
                unwrap::Item::Skipped { reason, .. } => {
                    unwrap::Item::Skipped { line: spot.line, reason }
                }
            };
            self.item(spot.at, item, sink);
        });
        if !is_known {
            self.skip(spot.at, spot.line, reason);
        }
    }

    fn item<S: FnMut(&Record<'_>)>(&mut self, at: Place<'_>, item: unwrap::Item<'_>, sink: &mut S) {
        match item {
            unwrap::Item::Skipped { line, reason } => self.skip(at, line, reason),
            unwrap::Item::Event { json, line, is_truncated, host } => {
                let (log, node) = (host.unwrap_or(at.log), host.or(at.node));
                let spot = Spot { at: Place { log, node, ..at }, line };
                match self.event(spot, json, &mut Vec::new(), sink) {
                    Ok(()) => self.tally.summary.truncated += u64::from(is_truncated),
                    Err(reason) => self.skip(spot.at, spot.line, reason),
                }
            }
        }
    }

    /// Reads an event, counts it and gives it to `sink`; or says why it is none.
    #[inline]
    fn event<'a, S: FnMut(&Record<'_>)>(
        &mut self,
        spot: Spot<'_>,
        json: &'a [u8],
        found: &mut Vec<Found<'a>>,
        sink: &mut S,
    ) -> Result<(), String> {
        let head = self.reader.read(json, found)?;
        self.known(spot, head, json, found, sink);
        Ok(())
    }

    /// Counts an event that was read and gives it to `sink`.
    #[inline]
    fn known<'a, S: FnMut(&Record<'_>)>(
        &mut self,
        spot: Spot<'_>,
        head: Head,
        json: &'a [u8],
        found: &[Found<'a>],
        sink: &mut S,
    ) {
        if let (Some(cut), Some(time)) = (&mut self.cut, head.stage_timestamp) {
            cut.order = cut.order.then(Order::of(time));
        }
        if self.unique.is_some_and(|it| !it.insert(json)) {
            self.tally.summary.duplicates += 1;
            return;
        }
        let record = Record::new(spot.at.log, json, head, self.projection, found);
        let record = record.on_node(spot.at.node);
        if self.own.as_ref().is_some_and(|it| it.is_own(&record)) {
            self.tally.own(&record);
            return;
        }
        if !self.watches.is_empty() {
            self.tally.noticed.see(self.watches, &record);
        }
        sink(&record);
        match record.rejection() {
            Some(reason) => self.skip(spot.at, spot.line, reason),
            None => self.tally.event(head),
        }
    }

    #[cold]
    fn skip(&mut self, at: Place<'_>, line: u64, mut reason: String) {
        if let Some(Cut { from: from @ 1.., .. }) = self.cut {
            reason += &format!(" (line counted from byte {from}, where reading began)");
        }
        self.tally.skip(at, line, reason);
    }

    fn too_long(&mut self, spot: Spot<'_>) {
        let reason = format!("longer than {} bytes: left out (--max-line)", self.max_line);
        self.skip(spot.at, spot.line, reason);
    }
}

/// A byte-order mark, as some editors put before UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();
