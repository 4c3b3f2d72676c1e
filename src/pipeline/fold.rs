//! A fold over all events that match, by several threads.

use std::{sync::Arc, thread};

use super::{progress::Progress, queue::Queue, tally::Tally, unique::Unique, worker::Worker};
use crate::{
    analysis::Analysis,
    decode::{InputSummary, Projection},
    event::Window,
    filter::{Filter, Notice},
    source::{self, Input, Log, Skip, SourceError, node::Run},
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
    /// Look at every byte of every line, also where nobody asks.
    pub strict: bool,
    /// What a window of time may pass over; `None` reads everything.
    pub skip: Option<Skip>,
    /// Leave out the requests with which this run reads node logs: they are written into the very
    /// logs that they read.
    pub leave_out: Option<Run>,
    /// Told how much has been read.
    pub progress: Option<Arc<Progress>>,
}

impl Default for Reading {
    fn default() -> Self {
        Reading {
            threads: 1,
            max_line: 64 << 20,
            unique: false,
            strict: false,
            skip: Some(Skip::default()),
            leave_out: None,
            progress: None,
        }
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
    /// What a person should know about what was left out of archives.
    pub notes: Vec<String>,
    /// Names in the question that no event had.
    pub notices: Vec<Notice>,
}

impl<A, B> Folded<(A, B)> {
    /// The first report with all that was told, and the second.
    pub fn split(self) -> (Folded<A>, B) {
        let Folded { report: (first, second), requests, input, failed, notes, notices } = self;
        (Folded { report: first, requests, input, failed, notes, notices }, second)
    }
}

/// Runs an analysis over the records that match. The report does not depend on the number of threads.
///
/// ```
/// use kubectl_audit::{
///     analysis::stats::{Question, Stats}, decode::Projection, filter::Filter,
///     pipeline::{self, Reading}, source,
/// };
///
/// let mut projection = Projection::default();
/// let stats = Stats::new(Question::default(), &mut projection);
/// let logs = source::find(&["examples/audit.log".into()]).logs;
/// let folded = pipeline::fold(&logs, &Reading::default(), &projection, &Filter::default(), stats);
/// assert_eq!((folded.requests, folded.input.events), (170, 396));
/// ```
pub fn fold<A: Analysis>(
    logs: &[Log],
    reading: &Reading,
    projection: &Projection,
    filter: &Filter,
    analysis: A,
) -> Folded<A::Report> {
    let skip = reading.skip.filter(|_| filter.window != Window::default());
    if let Some(skip) = skip {
        let folded = read(logs, reading, projection, filter, Some(skip), analysis.clone());
        if let Some(folded) = folded {
            return folded;
        }
    }
    read(logs, reading, projection, filter, None, analysis).expect("nothing was passed over")
}

/// Reads all but what `skip` passes over; `None` if that was not right.
pub(super) fn read<A: Analysis>(
    logs: &[Log],
    reading: &Reading,
    projection: &Projection,
    filter: &Filter,
    skip: Option<Skip>,
    analysis: A,
) -> Option<Folded<A::Report>> {
    let queue = Queue::new(logs, skip, filter.window);
    let unique = reading.unique.then(Unique::default);
    let work = |mut analysis: A| {
        let mut worker = Worker::new(projection, reading, unique.as_ref()).watching(filter);
        while let Some(task) = queue.next() {
            worker.run(task, &mut |record| {
                if filter.matches(record) {
                    analysis.observe(record);
                }
            });
        }
        (analysis, worker.tally)
    };
    let fresh: Vec<A> = (1..reading.threads).map(|_| analysis.clone()).collect();
    let work = &work;
    let ((mut total, mut tally), parts) = thread::scope(|scope| {
        let others: Vec<_> = fresh.into_iter().map(|it| scope.spawn(move || work(it))).collect();
        let mine = work(analysis);
        let join =
            |it: thread::ScopedJoinHandle<'_, _>| it.join().expect("a worker does not panic");
        (mine, others.into_iter().map(join).collect::<Vec<(A, Tally)>>())
    });
    for (part, part_tally) in parts {
        total.merge(part);
        tally.merge(part_tally);
    }
    if tally.orders().any(|(input, order)| !queue.allows(input, order)) {
        return None;
    }
    tally.summary.unread_bytes = queue.unread_bytes();
    Some(whole(total.finish(), tally, &queue.inputs, filter))
}

/// A report with what all threads told of the input.
pub(super) fn whole<R>(
    report: R,
    mut tally: Tally,
    inputs: &[(&str, &Input)],
    filter: &Filter,
) -> Folded<R> {
    let (requests, failed) = (tally.requests, tally.take_failed());
    let notes = source::note_of(&tally.take_passed_over()).into_iter().collect();
    let notices = tally.noticed.notices(filter.watches());
    Folded { report, requests, input: tally.summary(inputs), failed, notes, notices }
}
