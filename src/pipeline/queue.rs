//! The inputs of all logs as pieces of work, handed out in order.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    ops::Range,
    sync::{Arc, Mutex},
};

use super::chunk::chunks;
use crate::{
    decode::unwrap,
    event::Window,
    source::{
        Archive, ByName, FileAt, Input, Log, Opened, Order, Skip, SourceError, read_exact_at,
    },
};

/// A piece of work.
pub(super) struct Task<'q> {
    pub at: Place<'q>,
    pub work: Work,
    /// Something was skipped, which is right only if the lines are nearly in order.
    pub is_checked: bool,
}

pub(super) enum Work {
    /// The lines that start in a chunk of a plain file, or of a part of it on whole lines.
    Chunk {
        file: Arc<File>,
        part: Range<u64>,
    },
    /// Lines of something that is read from start to end.
    Lines(Box<dyn Read + Send>),
    /// A document that is more than an event a line.
    Wrapped(Box<dyn Read + Send>),
    /// Any number of logs, one after another.
    Archive(Archive),
    Failed(SourceError),
}

/// Where a piece of work is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'q> {
    pub log: &'q str,
    /// The node that the log is read from.
    pub node: Option<&'q str>,
    /// How messages call the file.
    pub name: &'q str,
    pub part: Part,
}

/// A part of an input: orders lines as a person reads them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub input: usize,
    /// Which log of an archive.
    pub member: u64,
    pub chunk: u64,
}

/// The inputs of all logs, handed out in order.
pub(super) struct Queue<'q> {
    pub inputs: Vec<(&'q str, &'q Input)>,
    /// By input, if something may be skipped.
    by_name: Vec<ByName>,
    /// The number of the first input, where several queues share a count.
    first: usize,
    skip: Option<Skip>,
    window: Window,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_input: usize,
    plain: Option<Plain>,
    /// What was passed over.
    unread_bytes: u64,
}

/// A plain file of which chunks are left.
struct Plain {
    input: usize,
    file: Arc<File>,
    part: Range<u64>,
    is_checked: bool,
    next_chunk: u64,
}

/// How much of an input's start is looked at to tell its shape.
const SNIFF: usize = 64 << 10;

impl<'q> Queue<'q> {
    pub(super) fn new(logs: &'q [Log], skip: Option<Skip>, window: Window) -> Queue<'q> {
        let inputs =
            logs.iter().flat_map(|log| log.inputs.iter().map(|it| (log.name.as_str(), it)));
        let by_name = match skip {
            Some(skip) => logs.iter().flat_map(|log| skip.by_name(log, window)).collect(),
            None => Vec::new(),
        };
        let inputs = inputs.collect();
        Queue { inputs, by_name, first: 0, skip, window, state: Mutex::default() }
    }

    /// Whether the order of an input's lines allows what was skipped.
    pub(super) fn allows(&self, input: usize, order: Order) -> bool {
        let Some(skip) = self.skip else { return true };
        let file = self.by_name[input];
        let is_contradicted = file.is_checked && skip.contradicts(order, file.written);
        !skip.is_disorder(order) && !is_contradicted
    }

    /// The same with its inputs counted from `first` on.
    pub(super) fn numbered_from(self, first: usize) -> Queue<'q> {
        Queue { first, ..self }
    }

    pub(super) fn next(&self) -> Option<Task<'q>> {
        let mut state = self.state.lock().expect("no holder panics");
        loop {
            if let Some(plain) = &mut state.plain {
                let at = self.place(plain.input, plain.next_chunk);
                let work = Work::Chunk { file: plain.file.clone(), part: plain.part.clone() };
                let is_checked = plain.is_checked;
                plain.next_chunk += 1;
                if plain.next_chunk >= chunks(&plain.part) {
                    state.plain = None;
                }
                return Some(Task { at, work, is_checked });
            }
            let input = state.next_input;
            let (_, source) = *self.inputs.get(input)?;
            state.next_input += 1;
            let at = self.place(input, 0);
            let by_name = self.by_name.get(input).copied().unwrap_or_default();
            if by_name.is_outside {
                state.unread_bytes += source.stored_size().unwrap_or_else(|| source.unread());
                continue;
            }
            let opened = if self.skip.is_some() { source.open() } else { source.open_whole() };
            let opened = match opened {
                Ok(opened) => opened,
                Err(err) => {
                    return Some(Task { at, work: Work::Failed(err), is_checked: false });
                }
            };
            let unread = self.skip.map_or(0, |_| source.unread());
            let is_checked = by_name.is_checked || unread > 0;
            state.unread_bytes += unread;
            match self.prepare(source, opened) {
                Prepared::Plain(file, size) => {
                    let part = self.part(&file, size);
                    let len = part.end - part.start;
                    state.unread_bytes += size - len;
                    if len > 0 {
                        let file = Arc::new(file);
                        let is_checked = is_checked || len < size;
                        let plain = Plain { input, file, part, is_checked, next_chunk: 0 };
                        state.plain = Some(plain);
                    }
                }
                Prepared::Outside(bytes) => state.unread_bytes += bytes,
                Prepared::Work(work) => return Some(Task { at, work, is_checked }),
            }
        }
    }

    /// The part of a plain file that is read. What cannot be looked at fails again where it is read.
    fn part(&self, file: &File, size: u64) -> Range<u64> {
        let Some(skip) = self.skip else { return 0..size };
        skip.range_of(&mut FileAt(file, size), self.window).unwrap_or(0..size)
    }

    /// How much a window of time allowed to skip.
    pub(super) fn unread_bytes(&self) -> u64 {
        self.state.lock().expect("no holder panics").unread_bytes
    }

    /// Tells the shape by the first bytes; they are not lost.
    fn prepare(&self, source: &Input, opened: Opened) -> Prepared {
        match opened {
            Opened::Plain(file, size) => {
                let mut start = vec![0; SNIFF.min(usize::try_from(size).unwrap_or(SNIFF))];
                // What cannot be read here fails again, and is told, where the chunk is read.
                let is_wrapped =
                    read_exact_at(&file, &mut start, 0).is_ok() && unwrap::is_wrapped(&start);
                if is_wrapped {
                    Prepared::Work(Work::Wrapped(Box::new(file)))
                } else {
                    Prepared::Plain(file, size)
                }
            }
            Opened::Stream(input) => {
                let Sniffed { start, failed, rest } = Sniffed::new(input);
                let is_wrapped = unwrap::is_wrapped(&start);
                if let Some(skip) = self.skip
                    && !is_wrapped
                    && let Some(size) = source.stored_size()
                    && skip.is_outside(&start, self.window, source.closed_at())
                {
                    return Prepared::Outside(size);
                }
                let whole = Box::new(Sniffed { start, failed, rest }.whole());
                Prepared::Work(if is_wrapped { Work::Wrapped(whole) } else { Work::Lines(whole) })
            }
            Opened::Archive(archive) => Prepared::Work(Work::Archive(archive)),
        }
    }

    fn place(&self, input: usize, chunk: u64) -> Place<'q> {
        let (log, source) = self.inputs[input];
        let input = self.first + input;
        let node = source.node();
        Place { log, node, name: &source.name, part: Part { input, member: 0, chunk } }
    }
}

enum Prepared {
    Plain(File, u64),
    /// Of so many bytes, and none of them within the window.
    Outside(u64),
    Work(Work),
}

/// A stream whose start was looked at.
pub(super) struct Sniffed<R> {
    pub start: Vec<u8>,
    /// Met after the start.
    failed: Option<io::Error>,
    rest: R,
}

impl<R: Read> Sniffed<R> {
    pub(super) fn new(mut rest: R) -> Sniffed<R> {
        let mut start = Vec::new();
        let failed = rest.by_ref().take(SNIFF as u64).read_to_end(&mut start).err();
        Sniffed { start, failed, rest }
    }

    /// The stream from its start. An error stays in it: who reads meets it where it was.
    pub(super) fn whole(self) -> impl Read {
        Cursor::new(self.start).chain(Failing(self.failed)).chain(self.rest)
    }
}

/// Gives an error that was met before.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
