//! Every event that matches, in order: within a log as it was written, between logs by stage timestamp.
//!
//! Each log is read by its own threads, which hand over whole lines in batches. A batch waits until
//! all before it have gone, so that any number of threads gives one order; and no thread is more than
//! a batch ahead, so that memory is bounded.

use std::{
    ops::ControlFlow,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{
    fold::{Folded, Reading, read, whole},
    queue::{Queue, Task},
    tally::Tally,
    unique::Unique,
    worker::Worker,
};
use crate::{
    analysis::Analysis,
    decode::{Projection, Record},
    event::{Timestamp, Window},
    filter::Filter,
    source::{self, Log},
};

/// Gives the line of every event that matches to `take`, until it has enough.
///
/// What is told of the input is of what was read: less than all, if `take` broke off.
pub fn each(
    logs: &[Log],
    reading: &Reading,
    projection: &Projection,
    filter: &Filter,
    take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Folded<()> {
    let copy = |record: &Record<'_>, text: &mut Vec<u8>| text.extend_from_slice(record.line());
    map(logs, reading, projection, filter, &copy, take)
}

/// As [`each`], but what is given to `take` is what `line` makes of an event, by the threads that
/// read: it appends to a text, or nothing to leave the event out. Each thread has a clone of it.
pub fn map<L>(
    logs: &[Log],
    reading: &Reading,
    projection: &Projection,
    filter: &Filter,
    line: &L,
    take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Folded<()>
where
    L: FnMut(&Record<'_>, &mut Vec<u8>) + Clone + Send,
{
    let skip = reading.skip.filter(|_| filter.window != Window::default());
    let expanded = source::expand(logs.to_vec(), skip, filter.window);
    let logs = &expanded.logs;
    // What has been written cannot be taken back: whether the window is in order is looked at first.
    let skip =
        skip.filter(|it| read(logs, reading, projection, filter, Some(*it), Nothing).is_some());
    let stop = AtomicBool::new(false);
    let unique = reading.unique.then(Unique::default);
    let threads = (reading.threads / logs.len().max(1)).max(1);
    let mut readers = Vec::new();
    let mut n_inputs = 0;
    for log in logs {
        let queue =
            Queue::new(std::slice::from_ref(log), skip, filter.window).numbered_from(n_inputs);
        readers.push(LogReader::new(queue, projection, filter, &stop));
        n_inputs += log.inputs.len();
    }
    let mut is_whole = true;
    let mut tally = thread::scope(|scope| {
        let mut receivers = Vec::new();
        let mut workers = Vec::new();
        for log in &readers {
            let (sender, receiver) = sync_channel(1);
            receivers.push(receiver);
            for _ in 0..threads {
                let (sender, unique, line) = (sender.clone(), unique.as_ref(), line.clone());
                workers.push(scope.spawn(move || log.work(&sender, reading, unique, line)));
            }
        }
        merge(receivers, &mut |line| {
            let flow = take(line);
            is_whole &= flow.is_continue();
            flow
        });
        stop.store(true, Ordering::Relaxed);
        readers.iter().for_each(LogReader::wake);
        let mut tally = Tally::default();
        for worker in workers {
            tally.merge(worker.join().expect("a worker does not panic"));
        }
        tally
    });
    tally.summary.unread_bytes = readers.iter().map(|it| it.queue.unread_bytes()).sum();
    let inputs: Vec<_> = readers.iter().flat_map(|it| it.queue.inputs.iter().copied()).collect();
    let mut folded = whole((), tally, &inputs, filter);
    if !is_whole {
        // What was not read may have it.
        folded.notices.clear();
    }
    folded.notes.extend(expanded.notes);
    folded.failed.extend(expanded.failed);
    folded
}

/// The analysis that only reads.
#[derive(Clone)]
struct Nothing;

impl Analysis for Nothing {
    type Report = ();
    fn observe(&mut self, _: &Record<'_>) {}
    fn merge(&mut self, _: Self) {}
    fn finish(self) {}
}

/// Lines that follow each other in a log.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    /// Where each line ends, and its stage timestamp.
    lines: Vec<(usize, Option<Timestamp>)>,
}

/// A batch is handed over when it has grown to this.
const BATCH: usize = 256 << 10;

/// The threads of one log and their order.
struct LogReader<'q> {
    queue: Queue<'q>,
    projection: &'q Projection,
    filter: &'q Filter,
    stop: &'q AtomicBool,
    /// The number of the next task to hand out.
    next: Mutex<u64>,
    /// The number of the task whose lines are next.
    turn: Mutex<u64>,
    turned: Condvar,
}

impl<'q> LogReader<'q> {
    fn new(
        queue: Queue<'q>,
        projection: &'q Projection,
        filter: &'q Filter,
        stop: &'q AtomicBool,
    ) -> LogReader<'q> {
        LogReader {
            queue,
            projection,
            filter,
            stop,
            next: Mutex::default(),
            turn: Mutex::default(),
            turned: Condvar::new(),
        }
    }

    /// One thread's work: tasks in order, until there are none or nobody wants more.
    fn work(
        &self,
        sender: &SyncSender<Batch>,
        reading: &Reading,
        unique: Option<&Unique>,
        mut line: impl FnMut(&Record<'_>, &mut Vec<u8>),
    ) -> Tally {
        let worker = Worker::new(self.projection, reading, unique).until(self.stop);
        let mut worker = worker.watching(self.filter);
        while let Some((number, task)) = self.next() {
            let mut batch = Batch::default();
            worker.run(task, &mut |record| {
                if !self.filter.matches(record) {
                    return;
                }
                let before = batch.text.len();
                line(record, &mut batch.text);
                if batch.text.len() == before {
                    return;
                }
                batch.lines.push((batch.text.len(), record.stage_timestamp()));
                if batch.text.len() >= BATCH {
                    self.hand_over(number, std::mem::take(&mut batch), sender);
                }
            });
            self.hand_over(number, batch, sender);
            *self.turn.lock().expect("no holder panics") += 1;
            self.turned.notify_all();
        }
        worker.tally
    }

    fn next(&self) -> Option<(u64, Task<'q>)> {
        let mut next = self.next.lock().expect("no holder panics");
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let task = self.queue.next()?;
        *next += 1;
        Some((*next - 1, task))
    }

    /// Sends a batch when it is this task's turn. Nobody may want it any more: then it is dropped.
    fn hand_over(&self, number: u64, batch: Batch, sender: &SyncSender<Batch>) {
        let turn = self.turn.lock().expect("no holder panics");
        let is_waiting = |turn: &mut u64| *turn != number && !self.stop.load(Ordering::Relaxed);
        drop(self.turned.wait_while(turn, is_waiting).expect("no holder panics"));
        if !batch.lines.is_empty() && sender.send(batch).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Wakes who waits for a turn that will not come.
    fn wake(&self) {
        let _turn = self.turn.lock().expect("no holder panics");
        self.turned.notify_all();
    }
}

/// A log while it is merged: its present batch, and the next line in it.
struct Head {
    receiver: Receiver<Batch>,
    batch: Batch,
    line: usize,
    /// The latest time so far: a line without one, or out of order, stands where its log has come to.
    time: Option<Timestamp>,
}

impl Head {
    /// Goes to the next line; `false` at the end of the log.
    fn advance(&mut self) -> bool {
        self.line += 1;
        if self.line >= self.batch.lines.len() {
            let Ok(batch) = self.receiver.recv() else { return false };
            (self.batch, self.line) = (batch, 0);
        }
        self.time = self.time.max(self.batch.lines[self.line].1);
        true
    }

    fn line(&self) -> &[u8] {
        let start = if self.line == 0 { 0 } else { self.batch.lines[self.line - 1].0 };
        &self.batch.text[start..self.batch.lines[self.line].0]
    }
}

/// Takes the earliest line of all logs, again and again; of equal ones that of the first log.
fn merge(receivers: Vec<Receiver<Batch>>, take: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) {
    let start =
        |receiver| Head { receiver, batch: Batch::default(), line: usize::MAX - 1, time: None };
    let mut heads: Vec<Head> = receivers.into_iter().map(start).collect();
    heads.retain_mut(Head::advance);
    while let Some(first) = (0..heads.len()).min_by_key(|n| heads[*n].time) {
        if take(heads[first].line()).is_break() {
            return;
        }
        if !heads[first].advance() {
            heads.remove(first);
        }
    }
}
