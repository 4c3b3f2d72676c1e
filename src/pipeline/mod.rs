//! The only loops over events: logs in, a report out. Knows nothing of what is computed.

use std::{
    fs::File,
    io::{self, Read},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    analysis::Analysis,
    decode::{Found, InputSummary, Projection, Reader, Record, Skipped, unwrap},
    event::Timestamp,
    filter::Filter,
    source::{Input, Log, Opened, SourceError},
};

/// How to read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// At most this many threads; at least one.
    pub threads: usize,
    /// A line may have this many bytes; a longer one is skipped.
    pub max_line: usize,
    /// Leave out exact repeats of a line.
    pub unique: bool,
    /// A window of time may pass over what lies outside it.
    pub may_skip: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Reading { threads: 1, max_line: 64 << 20, unique: false, may_skip: true }
    }
}

/// A report, and what it was made from.
#[derive(Debug)]
pub struct Folded<R> {
    pub report: R,
    /// Requests that ended in what was read, before any filter.
    pub requests: u64,
    pub input: InputSummary,
    /// Inputs that could not be read, or not to their end.
    pub failed: Vec<SourceError>,
}

/// Runs an analysis over the records that match. The report does not depend on the number of threads.
pub fn fold<A: Analysis>(
    logs: &[Log],
    reading: &Reading,
    projection: &Projection,
    filter: &Filter,
    analysis: A,
) -> Folded<A::Report> {
    let queue = Queue::new(logs);
    let work = |analysis: A| {
        let mut worker = Worker {
            reader: Reader::new(projection),
            projection,
            filter,
            analysis,
            tally: Tally::default(),
            max_line: reading.max_line,
        };
        let mut buffer = Vec::new();
        let mut found = Vec::new();
        while let Some(task) = queue.next() {
            worker.run(task, &mut buffer, &mut found);
        }
        (worker.analysis, worker.tally)
    };
    let fresh: Vec<A> = (1..reading.threads).map(|_| analysis.clone()).collect();
    let work = &work;
    let ((mut whole, mut tally), parts) = thread::scope(|scope| {
        let others: Vec<_> = fresh.into_iter().map(|it| scope.spawn(move || work(it))).collect();
        let mine = work(analysis);
        let join =
            |it: thread::ScopedJoinHandle<'_, _>| it.join().expect("a worker does not panic");
        (mine, others.into_iter().map(join).collect::<Vec<_>>())
    });
    for (part, part_tally) in parts {
        whole.merge(part);
        tally.merge(part_tally);
    }
    let failed = std::mem::take(&mut tally.failed).into_iter().map(|(_, err)| err).collect();
    Folded {
        report: whole.finish(),
        requests: tally.requests,
        input: tally.summary(&queue.inputs),
        failed,
    }
}

/// Bytes of a plain file that a worker takes at a time: they stay in its second-level cache.
const CHUNK: u64 = 256 << 10;

/// A piece of work.
enum Task<'q> {
    /// The lines that start in a chunk of a plain file.
    Chunk {
        at: Place<'q>,
        file: Arc<File>,
        size: u64,
    },
    Stream {
        at: Place<'q>,
        input: Box<dyn Read + Send>,
    },
    Failed {
        at: Place<'q>,
        err: SourceError,
    },
}

/// Where a line is: orders lines as a person reads them.
#[derive(Debug, Clone, Copy)]
struct Place<'q> {
    log: &'q str,
    input: usize,
    chunk: u64,
}

/// The inputs of all logs, handed out in order.
struct Queue<'q> {
    inputs: Vec<(&'q str, &'q Input)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_input: usize,
    plain: Option<(usize, Arc<File>, u64, u64)>,
}

impl<'q> Queue<'q> {
    fn new(logs: &'q [Log]) -> Queue<'q> {
        let inputs = logs
            .iter()
            .flat_map(|log| log.inputs.iter().map(|it| (log.name.as_str(), it)))
            .collect();
        Queue { inputs, state: Mutex::default() }
    }

    fn next(&self) -> Option<Task<'_>> {
        let mut state = self.state.lock().expect("no holder panics");
        loop {
            if let Some((input, file, size, next)) = &mut state.plain {
                let at = Place { log: self.inputs[*input].0, input: *input, chunk: *next };
                let task = Task::Chunk { at, file: file.clone(), size: *size };
                *next += 1;
                if *next * CHUNK >= *size {
                    state.plain = None;
                }
                return Some(task);
            }
            let input = state.next_input;
            let (log, source) = *self.inputs.get(input)?;
            state.next_input += 1;
            let at = Place { log, input, chunk: 0 };
            match source.open() {
                Err(err) => return Some(Task::Failed { at, err }),
                Ok(Opened::Stream(input)) => return Some(Task::Stream { at, input }),
                Ok(Opened::Plain(_, 0)) => {}
                Ok(Opened::Plain(file, size)) => {
                    state.plain = Some((input, Arc::new(file), size, 0))
                }
            }
        }
    }
}

/// What a worker counted beside its analysis.
#[derive(Default)]
struct Tally {
    summary: InputSummary,
    requests: u64,
    /// The first few lines skipped, by (input, chunk, line in chunk).
    skipped: Vec<((usize, u64, u64), String)>,
    /// Lines per (input, chunk), to tell the number of a line in its file.
    lines: Vec<((usize, u64), u64)>,
    failed: Vec<(usize, SourceError)>,
}

const SAMPLES: usize = 3;

impl Tally {
    fn skip(&mut self, at: (usize, u64, u64), reason: String) {
        self.summary.skipped += 1;
        let place = self.skipped.partition_point(|(it, _)| *it < at);
        if place < SAMPLES {
            self.skipped.insert(place, (at, reason));
            self.skipped.truncate(SAMPLES);
        }
    }

    fn saw(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else { return };
        let summary = &mut self.summary;
        summary.from = Some(summary.from.map_or(time, |it| it.min(time)));
        summary.to = Some(summary.to.map_or(time, |it| it.max(time)));
    }

    fn merge(&mut self, other: Tally) {
        let (mine, its) = (&mut self.summary, other.summary);
        self.requests += other.requests;
        mine.bytes += its.bytes;
        mine.lines += its.lines;
        mine.events += its.events;
        mine.skipped += its.skipped;
        mine.truncated += its.truncated;
        mine.duplicates += its.duplicates;
        mine.unread_bytes += its.unread_bytes;
        let earliest = mine.from.into_iter().chain(its.from).min();
        let latest = mine.to.into_iter().chain(its.to).max();
        (mine.from, mine.to) = (earliest, latest);
        self.skipped.extend(other.skipped);
        self.skipped.sort();
        self.skipped.truncate(SAMPLES);
        self.lines.extend(other.lines);
        self.failed.extend(other.failed);
        self.failed.sort_by_key(|(input, _)| *input);
    }

    fn summary(mut self, inputs: &[(&str, &Input)]) -> InputSummary {
        self.lines.sort_unstable();
        let mut logs: Vec<&str> = inputs.iter().map(|(log, _)| *log).collect();
        logs.dedup();
        self.summary.logs = logs.len() as u64;
        self.summary.files = (inputs.len() - self.failed.len()) as u64;
        let samples = self.skipped.iter().map(|((input, chunk, line), reason)| {
            let before = self
                .lines
                .iter()
                .filter(|((i, c), _)| i == input && c < chunk)
                .map(|(_, n)| n)
                .sum::<u64>();
            Skipped {
                input: inputs[*input].1.name.clone(),
                line: before + line,
                reason: reason.clone(),
            }
        });
        self.summary.skipped_samples = samples.collect();
        self.summary
    }
}

struct Worker<'p, A> {
    reader: Reader<'p>,
    projection: &'p Projection,
    filter: &'p Filter,
    analysis: A,
    tally: Tally,
    max_line: usize,
}

impl<A: Analysis> Worker<'_, A> {
    fn run(&mut self, task: Task<'_>, buffer: &mut Vec<u8>, found: &mut Vec<Found<'static>>) {
        let _ = found;
        match task {
            Task::Failed { at, err } => self.tally.failed.push((at.input, err)),
            Task::Stream { at, mut input } => {
                let mut text = Vec::new();
                if let Err(source) = input.read_to_end(&mut text) {
                    self.tally
                        .failed
                        .push((at.input, SourceError::Io { name: at.log.to_owned(), source }));
                }
                self.lines(at, &text);
            }
            Task::Chunk { at, file, size } => {
                match read_chunk(&file, size, at.chunk, self.max_line, buffer) {
                    Ok(range) => {
                        let text = std::mem::take(buffer);
                        self.lines(at, &text[range]);
                        *buffer = text;
                    }
                    Err(source) => self
                        .tally
                        .failed
                        .push((at.input, SourceError::Io { name: at.log.to_owned(), source })),
                }
            }
        }
    }

    fn lines(&mut self, at: Place<'_>, text: &[u8]) {
        let mut found = Vec::new();
        let mut number = 0;
        let mut start = 0;
        while start < text.len() {
            let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |it| start + it);
            number += 1;
            self.line(at, number, &text[start..end], &mut found);
            start = end + 1;
        }
        self.tally.summary.bytes += text.len() as u64;
        self.tally.summary.lines += number;
        self.tally.lines.push(((at.input, at.chunk), number));
    }

    fn line<'a>(&mut self, at: Place<'_>, number: u64, line: &'a [u8], found: &mut Vec<Found<'a>>) {
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let head = match self.reader.read(line, found) {
            Ok(head) => head,
            Err(reason) => {
                if !unwrap::line(line, &mut |_| {}) {
                    self.tally.skip((at.input, at.chunk, number), reason);
                }
                return;
            }
        };
        let record = Record::new(at.log, line, head, self.projection, found);
        if self.filter.matches(&record) {
            self.analysis.observe(&record);
        }
        match record.rejection() {
            Some(reason) => self.tally.skip((at.input, at.chunk, number), reason),
            None => {
                self.tally.summary.events += 1;
                self.tally.requests += u64::from(head.ends_request);
                self.tally.saw(head.stage_timestamp);
            }
        }
    }
}

/// Reads the lines that start in a chunk into `buffer`; gives where in it they are.
fn read_chunk(
    file: &File,
    size: u64,
    chunk: u64,
    _max_line: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<std::ops::Range<usize>> {
    use std::os::unix::fs::FileExt;
    // One byte before the chunk tells whether a line starts exactly at its beginning.
    let from = (chunk * CHUNK).saturating_sub(1);
    let mut to = ((chunk + 1) * CHUNK).min(size);
    buffer.resize((to - from) as usize, 0);
    file.read_exact_at(buffer, from)?;
    let start = match chunk {
        0 => 0,
        _ => match memchr::memchr(b'\n', buffer) {
            Some(at) => at + 1,
            None => return Ok(0..0),
        },
    };
    if start == buffer.len() {
        return Ok(0..0);
    }
    while to < size && buffer.last() != Some(&b'\n') {
        let more = (to + 16 * 1024).min(size);
        let old = buffer.len();
        buffer.resize(old + (more - to) as usize, 0);
        file.read_exact_at(&mut buffer[old..], to)?;
        to = more;
        if let Some(at) = memchr::memchr(b'\n', &buffer[old..]) {
            return Ok(start..old + at + 1);
        }
    }
    Ok(start..buffer.len())
}
