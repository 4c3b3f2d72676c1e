//! Every event that matches, as it is written, until somebody says stop.
//!
//! A thread a log, which is never more than a few chunks ahead of what is given on.

use std::{
    io::Cursor,
    ops::ControlFlow,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    fold::{Folded, Reading},
    merge::{Event, Merge, Opened},
    queue::{Part, Place, Task, Work},
    tally::Tally,
    unique::Unique,
    worker::Worker,
};
use crate::{
    decode::{InputSummary, Projection, Reader, Record},
    filter::Filter,
    source::{Follow, SourceError},
};

/// How often a log is looked at, and how long a cluster that does not answer is left alone.
const LOCAL: Duration = Duration::from_millis(200);
const NODE: Duration = Duration::from_millis(1500);

/// How long an API server may refuse what it did not refuse before.
const STARTING: Duration = Duration::from_secs(60);

/// What comes from the threads that follow a log each.
enum Message {
    /// Whole lines of a log.
    Lines(usize, Vec<u8>),
    /// There is nothing new in a log, at a look that began then.
    Idle(usize, Instant),
    /// Something a person should know.
    Note(String),
    /// A log cannot be followed any more.
    Failed(usize, SourceError),
    Stop,
}

/// Ends a [`follow`], from any thread.
#[derive(Clone)]
pub struct Stop(SyncSender<Message>);

impl Stop {
    pub fn stop(&self) {
        // Nobody to tell: it has ended.
        let _ = self.0.send(Message::Stop);
    }
}

/// Logs that are about to be followed.
pub struct Followed {
    names: Vec<String>,
    sender: SyncSender<Message>,
    messages: Receiver<Message>,
    logs: Vec<Follow>,
}

impl Followed {
    pub fn new(logs: Vec<Follow>) -> Followed {
        let (sender, messages) = sync_channel(16);
        let names = logs.iter().map(|it| it.name.clone()).collect();
        Followed { names, sender, messages, logs }
    }

    pub fn stop(&self) -> Stop {
        Stop(self.sender.clone())
    }
}

/// Chunks of a log that wait to be given on.
const AHEAD: usize = 4;

/// What a [`follow`] tells.
pub trait Watcher {
    /// Whether the events of several logs are to come by stage timestamp, and not as they are seen.
    fn wants_order(&self) -> bool {
        false
    }

    /// An event that matches.
    fn record(&mut self, record: &Record<'_>) -> ControlFlow<()>;
    /// Nothing new at the moment, or a second has passed: what was read so far, and requests in it.
    fn pause(&mut self, input: &InputSummary, requests: u64) -> ControlFlow<()>;
    /// Something a person should know at once.
    fn note(&mut self, note: &str);
}

/// Gives every event that matches to `watcher`, until it breaks off, [`Stop`] is called, or all logs
/// have failed.
pub fn follow(
    followed: Followed,
    reading: &Reading,
    projection: &Projection,
    filter: &Filter,
    watcher: &mut dyn Watcher,
) -> Folded<()> {
    let Followed { names, sender, messages, logs } = followed;
    let mut open = logs.len();
    let mut waiting = Vec::new();
    for (n, log) in logs.into_iter().enumerate() {
        let (ahead, given) = sync_channel(AHEAD);
        waiting.push(given);
        let out = Out { n, sender: sender.clone(), ahead };
        // Not waited for: one that hangs in a download must not keep the others from ending.
        thread::spawn(move || watch(log, &out));
    }
    let unique = reading.unique.then(Unique::default);
    let worker = Worker::new(projection, reading, unique.as_ref());
    let mut chunks = Chunks { names: &names, waiting, worker, n_read: vec![0; names.len()] };
    let is_ordered = watcher.wants_order() && names.len() > 1;
    let mut order = is_ordered.then(|| Merge::new(names.len()));
    let mut given = Given { reader: Reader::new(projection), projection, filter, watcher };
    let mut paused = Instant::now();
    while open > 0 {
        let wait = Duration::from_secs(1).saturating_sub(paused.elapsed());
        let mut is_pause = wait.is_zero();
        let mut flow = ControlFlow::Continue(());
        match messages.recv_timeout(wait) {
            Ok(Message::Lines(log, lines)) => match &mut order {
                Some(order) => order.lines(log, lines, Instant::now()),
                None => flow = given.at_once(log, lines, &mut chunks),
            },
            Ok(Message::Idle(log, since)) => {
                order.iter_mut().for_each(|it| it.quiet(log, since));
                is_pause = true;
            }
            Err(RecvTimeoutError::Timeout) => is_pause = true,
            Ok(Message::Note(note)) => given.watcher.note(&note),
            Ok(Message::Failed(log, err)) => {
                order.iter_mut().for_each(|it| it.close(log));
                chunks.worker.tally.fail(log, err);
                open -= 1;
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                // What has come is given, in order as far as it has.
                let order = order.iter_mut();
                order.for_each(|it| (0..names.len()).for_each(|log| it.close(log)));
                open = 0;
            }
        }
        if let Some(order) = &mut order {
            flow = given.in_order(order, &mut chunks);
        }
        if is_pause && flow.is_continue() {
            paused = Instant::now();
            let tally = &chunks.worker.tally;
            flow = given.watcher.pause(&summary(tally, names.len()), tally.requests);
        }
        if flow.is_break() {
            break;
        }
    }
    let mut tally = chunks.worker.tally;
    let input = summary(&tally, names.len());
    let (requests, failed) = (tally.requests, tally.take_failed());
    Folded { report: (), requests, input, failed, notes: Vec::new(), notices: Vec::new() }
}

/// Takes chunks of lines apart.
struct Chunks<'a> {
    names: &'a [String],
    /// A word for each chunk of a log that is not taken apart yet.
    waiting: Vec<Receiver<()>>,
    worker: Worker<'a>,
    n_read: Vec<u64>,
}

impl Chunks<'_> {
    fn read(&mut self, log: usize, lines: Vec<u8>, give: &mut dyn FnMut(&Record<'_>)) {
        // Its thread may read on.
        let _ = self.waiting[log].try_recv();
        let part = Part { input: log, member: 0, chunk: self.n_read[log] };
        self.n_read[log] += 1;
        let at = Place { log: &self.names[log], name: &self.names[log], part };
        let work = Work::Lines(Box::new(Cursor::new(lines)));
        self.worker.run(Task { at, work }, &mut |record| give(record));
    }
}

/// Where events go.
struct Given<'a> {
    reader: Reader<'a>,
    projection: &'a Projection,
    filter: &'a Filter,
    watcher: &'a mut dyn Watcher,
}

impl Given<'_> {
    fn at_once(&mut self, log: usize, lines: Vec<u8>, chunks: &mut Chunks<'_>) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        chunks.read(log, lines, &mut |record| {
            if flow.is_continue() && self.filter.matches(record) {
                flow = self.watcher.record(record);
            }
        });
        flow
    }

    /// Gives what need not wait any longer.
    fn in_order(&mut self, order: &mut Merge, chunks: &mut Chunks<'_>) -> ControlFlow<()> {
        let (names, filter) = (chunks.names, self.filter);
        let mut open = |log: usize, lines, time| {
            let mut opened = Opened { time, ..Opened::default() };
            chunks.read(log, lines, &mut |record| {
                // One without a time, or out of order, stands where its log has come to.
                opened.time = opened.time.max(record.stage_timestamp());
                if filter.matches(record) {
                    let line = record.line().to_vec();
                    opened.events.push_back(Event { time: opened.time, line });
                }
            });
            opened
        };
        while let Some((log, event)) = order.next(Instant::now(), &mut open) {
            let mut found = Vec::new();
            // It was read before, so it can be read again.
            let Ok(head) = self.reader.read(&event.line, &mut found) else { continue };
            let record = Record::new(&names[log], &event.line, head, self.projection, &found);
            self.watcher.record(&record)?;
        }
        ControlFlow::Continue(())
    }
}

fn summary(tally: &Tally, logs: usize) -> InputSummary {
    let logs = logs as u64;
    InputSummary { logs, files: logs, ..tally.summary.clone() }
}

/// Where the thread of a log sends what it finds.
struct Out {
    n: usize,
    sender: SyncSender<Message>,
    /// A word goes in before each chunk; there is room for a few.
    ahead: SyncSender<()>,
}

impl Out {
    /// `false` if nobody listens.
    fn lines(&self, lines: Vec<u8>) -> bool {
        self.ahead.send(()).is_ok() && self.sender.send(Message::Lines(self.n, lines)).is_ok()
    }
}

/// Follows one log until nobody listens.
fn watch(mut log: Follow, out: &Out) {
    let mut lost = 0;
    // When it answered last, and whether it was told that it does not.
    let (mut answered, mut is_away) = (None::<Instant>, false);
    loop {
        let began = Instant::now();
        let idle = Message::Idle(out.n, began);
        let mut listens = true;
        let result = log.poll(&mut |lines| {
            answered = Some(Instant::now());
            listens = out.lines(lines);
            listens
        });
        let message = match result {
            Ok(()) if log.lost > lost => {
                lost = log.lost;
                Message::Note(format!(
                    "{}: a file went away before it was read to its end",
                    log.name
                ))
            }
            Ok(()) => {
                (answered, is_away) = (Some(Instant::now()), false);
                idle
            }
            // A node or an API server that restarts comes back; while it starts, it does not know yet
            // who may do what.
            Err(err)
                if err.may_pass()
                    || log.is_remote && answered.is_some_and(|it| it.elapsed() < STARTING) =>
            {
                let note = Message::Note(format!("{err}; waiting for it"));
                if std::mem::replace(&mut is_away, true) { idle } else { note }
            }
            Err(err) => {
                let _ = out.sender.send(Message::Failed(out.n, err));
                return;
            }
        };
        if !listens || out.sender.send(message).is_err() {
            return;
        }
        thread::sleep(if log.is_remote { NODE } else { LOCAL });
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, path::Path};

    use super::*;
    use crate::pipeline::Skip;

    fn line(n: u32) -> String {
        let seconds = format!("{:02}:{:02}", n / 60 % 60, n % 60);
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{n}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/\",\"verb\":\"get\",\"user\":{{\"username\":\"u\"}},\"requestReceivedTimestamp\":\"2026-01-01T00:00:00Z\",\"stageTimestamp\":\"2026-01-01T00:{seconds}Z\"}}\n"
        )
    }

    /// Counts until there are enough.
    struct Count {
        seen: Vec<String>,
        enough: usize,
    }

    impl Watcher for Count {
        fn wants_order(&self) -> bool {
            true
        }
        fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
            self.seen.push(String::from_utf8_lossy(record.line()).into_owned() + "\n");
            ControlFlow::Continue(())
        }
        fn pause(&mut self, input: &InputSummary, requests: u64) -> ControlFlow<()> {
            assert!(input.events >= self.seen.len() as u64 && input.events == requests);
            match self.seen.len() >= self.enough {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        fn note(&mut self, note: &str) {
            panic!("{note}");
        }
    }

    fn followed(paths: &[&Path], enough: usize) -> (Folded<()>, Vec<String>) {
        let followed = Followed::new(paths.iter().map(|it| Follow::file(it, None)).collect());
        let mut count = Count { seen: Vec::new(), enough };
        let reading = Reading { skip: None::<Skip>, ..Reading::default() };
        let (projection, filter) = (Projection::default(), Filter::default());
        (follow(followed, &reading, &projection, &filter, &mut count), count.seen)
    }

    #[test]
    fn a_file_that_comes_later_and_is_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let writer = thread::spawn({
            let path = path.clone();
            move || {
                thread::sleep(Duration::from_millis(100));
                for n in 0..1_000 {
                    let mut file =
                        fs::File::options().create(true).append(true).open(&path).unwrap();
                    file.write_all(line(n).as_bytes()).unwrap();
                    if n % 100 == 99 {
                        let name = format!("audit-2026-01-01T00-00-{:02}.000.log", n / 100);
                        fs::rename(&path, path.with_file_name(name)).unwrap();
                    }
                }
            }
        });
        let (folded, seen) = followed(&[&path], 1_000);
        writer.join().unwrap();
        assert_eq!(seen, (0..1_000).map(line).collect::<Vec<_>>());
        assert_eq!((folded.input.events, folded.input.skipped, folded.requests), (1_000, 0, 1_000));
    }

    /// Two API servers write at the same time, and one has much to tell from before.
    #[test]
    fn several_logs_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|it| folder.path().join(it));
        let append = |n: u32| {
            let path = &paths[usize::from(n % 7 < 3)];
            let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
            file.write_all(line(n).as_bytes()).unwrap();
        };
        (0..2_000).for_each(append);
        let (folded, seen) = thread::scope(|scope| {
            let [a, b] = [&paths[0], &paths[1]];
            let following = scope.spawn(move || followed(&[a, b], 2_400));
            (2_000..2_400).for_each(|n| {
                thread::sleep(Duration::from_millis(2));
                append(n);
            });
            following.join().unwrap()
        });
        assert_eq!(seen, (0..2_400).map(line).collect::<Vec<_>>());
        assert_eq!(folded.input.events, 2_400);
    }

    #[test]
    fn stop() {
        let folder = tempfile::tempdir().unwrap();
        let followed = Followed::new(vec![Follow::file(&folder.path().join("audit.log"), None)]);
        let stop = followed.stop();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            stop.stop();
        });
        let mut count = Count { seen: Vec::new(), enough: 1 };
        let (projection, filter) = (Projection::default(), Filter::default());
        let started = Instant::now();
        follow(followed, &Reading::default(), &projection, &filter, &mut count);
        assert!(started.elapsed() < Duration::from_secs(2), "at once");
    }
}
