//! The inputs of all logs as pieces of work, handed out in order.

use std::{
    fs::File,
    io::{Cursor, Read},
    sync::{Arc, Mutex},
};

use super::chunk::CHUNK;
use crate::{
    decode::unwrap,
    source::{Archive, Input, Log, Opened, SourceError, read_exact_at},
};

/// A piece of work.
pub(super) struct Task<'q> {
    pub at: Place<'q>,
    pub work: Work,
}

pub(super) enum Work {
    /// The lines that start in a chunk of a plain file.
    Chunk {
        file: Arc<File>,
        size: u64,
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_input: usize,
    plain: Option<Plain>,
}

/// A plain file of which chunks are left.
struct Plain {
    input: usize,
    file: Arc<File>,
    size: u64,
    next_chunk: u64,
}

/// How much of an input's start is looked at to tell its shape.
const SNIFF: usize = 64 << 10;

impl<'q> Queue<'q> {
    pub(super) fn new(logs: &'q [Log]) -> Queue<'q> {
        let inputs =
            logs.iter().flat_map(|log| log.inputs.iter().map(|it| (log.name.as_str(), it)));
        Queue { inputs: inputs.collect(), state: Mutex::default() }
    }

    pub(super) fn next(&self) -> Option<Task<'q>> {
        let mut state = self.state.lock().expect("no holder panics");
        loop {
            if let Some(plain) = &mut state.plain {
                let at = self.place(plain.input, plain.next_chunk);
                let work = Work::Chunk { file: plain.file.clone(), size: plain.size };
                plain.next_chunk += 1;
                if plain.next_chunk * CHUNK >= plain.size {
                    state.plain = None;
                }
                return Some(Task { at, work });
            }
            let input = state.next_input;
            let (_, source) = *self.inputs.get(input)?;
            state.next_input += 1;
            let at = self.place(input, 0);
            let opened = match source.open() {
                Ok(opened) => opened,
                Err(err) => return Some(Task { at, work: Work::Failed(err) }),
            };
            match prepare(opened) {
                Prepared::Plain(file, size) => {
                    if size > 0 {
                        state.plain =
                            Some(Plain { input, file: Arc::new(file), size, next_chunk: 0 });
                    }
                }
                Prepared::Work(work) => return Some(Task { at, work }),
            }
        }
    }

    fn place(&self, input: usize, chunk: u64) -> Place<'q> {
        let (log, source) = self.inputs[input];
        Place { log, name: &source.name, part: Part { input, member: 0, chunk } }
    }
}

enum Prepared {
    Plain(File, u64),
    Work(Work),
}

/// Tells the shape by the first bytes; they are not lost.
fn prepare(opened: Opened) -> Prepared {
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
            let (is_wrapped, whole) = sniffed(input);
            let whole = Box::new(whole);
            Prepared::Work(if is_wrapped { Work::Wrapped(whole) } else { Work::Lines(whole) })
        }
        Opened::Archive(archive) => Prepared::Work(Work::Archive(archive)),
    }
}

/// Whether a stream is wrapped, and the stream with what was looked at to tell.
pub(super) fn sniffed<R: Read>(mut input: R) -> (bool, impl Read) {
    let mut start = Vec::new();
    // An error stays in the stream: the worker meets it after these bytes.
    let failed = Failing(input.by_ref().take(SNIFF as u64).read_to_end(&mut start).err());
    (unwrap::is_wrapped(&start), Cursor::new(start).chain(failed).chain(input))
}

/// Gives an error that was met before.
struct Failing(Option<std::io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
