//! Every event that matches, as it is written, until somebody says stop.

use std::{
    io::Cursor,
    ops::ControlFlow,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::{
    fold::{Folded, Reading},
    queue::{Part, Place, Task, Work},
    tally::Tally,
    unique::Unique,
    worker::Worker,
};
use crate::{
    decode::{InputSummary, Projection, Record},
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
    /// There is nothing new in a log at the moment.
    Idle,
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

/// What a [`follow`] tells.
pub trait Watcher {
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
    for (n, log) in logs.into_iter().enumerate() {
        let sender = sender.clone();
        // Not waited for: one that hangs in a download must not keep the others from ending.
        thread::spawn(move || watch(n, log, &sender));
    }
    let unique = reading.unique.then(Unique::default);
    let mut worker = Worker::new(projection, reading, unique.as_ref());
    let mut chunks = vec![0; names.len()];
    let mut paused = Instant::now();
    while open > 0 {
        let wait = Duration::from_secs(1).saturating_sub(paused.elapsed());
        let mut is_pause = wait.is_zero();
        let mut flow = ControlFlow::Continue(());
        match messages.recv_timeout(wait) {
            Ok(Message::Lines(log, lines)) => {
                let part = Part { input: log, member: 0, chunk: chunks[log] };
                chunks[log] += 1;
                let at = Place { log: &names[log], name: &names[log], part };
                let work = Work::Lines(Box::new(Cursor::new(lines)));
                worker.run(Task { at, work }, &mut |record| {
                    if flow.is_continue() && filter.matches(record) {
                        flow = watcher.record(record);
                    }
                });
            }
            Ok(Message::Idle) | Err(RecvTimeoutError::Timeout) => is_pause = true,
            Ok(Message::Note(note)) => watcher.note(&note),
            Ok(Message::Failed(log, err)) => {
                worker.tally.fail(log, err);
                open -= 1;
            }
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
        if is_pause && flow.is_continue() {
            paused = Instant::now();
            let input = summary(&worker.tally, names.len());
            flow = watcher.pause(&input, worker.tally.requests);
        }
        if flow.is_break() {
            break;
        }
    }
    let mut tally = worker.tally;
    let input = summary(&tally, names.len());
    let (requests, failed) = (tally.requests, tally.take_failed());
    Folded { report: (), requests, input, failed, notes: Vec::new() }
}

fn summary(tally: &Tally, logs: usize) -> InputSummary {
    let logs = logs as u64;
    InputSummary { logs, files: logs, ..tally.summary.clone() }
}

/// Follows one log until nobody listens.
fn watch(n: usize, mut log: Follow, sender: &SyncSender<Message>) {
    let mut lost = 0;
    // When it answered last, and whether it was told that it does not.
    let (mut answered, mut is_away) = (None::<Instant>, false);
    loop {
        let mut listens = true;
        let result = log.poll(&mut |lines| {
            answered = Some(Instant::now());
            listens = sender.send(Message::Lines(n, lines)).is_ok();
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
                Message::Idle
            }
            // A node or an API server that restarts comes back; while it starts, it does not know yet
            // who may do what.
            Err(err)
                if err.may_pass()
                    || log.is_remote && answered.is_some_and(|it| it.elapsed() < STARTING) =>
            {
                let note = Message::Note(format!("{err}; waiting for it"));
                if std::mem::replace(&mut is_away, true) { Message::Idle } else { note }
            }
            Err(err) => {
                let _ = sender.send(Message::Failed(n, err));
                return;
            }
        };
        if !listens || sender.send(message).is_err() {
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
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{n}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/\",\"verb\":\"get\",\"user\":{{\"username\":\"u\"}},\"requestReceivedTimestamp\":\"2026-01-01T00:00:00Z\",\"stageTimestamp\":\"2026-01-01T00:00:00Z\"}}\n"
        )
    }

    /// Counts until there are enough.
    struct Count {
        seen: Vec<String>,
        enough: usize,
    }

    impl Watcher for Count {
        fn record(&mut self, record: &Record<'_>) -> ControlFlow<()> {
            self.seen.push(String::from_utf8_lossy(record.line()).into_owned() + "\n");
            ControlFlow::Continue(())
        }
        fn pause(&mut self, input: &InputSummary, requests: u64) -> ControlFlow<()> {
            assert_eq!((input.events, requests), (self.seen.len() as u64, self.seen.len() as u64));
            match self.seen.len() >= self.enough {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        fn note(&mut self, note: &str) {
            panic!("{note}");
        }
    }

    fn followed(path: &Path, enough: usize) -> (Folded<()>, Vec<String>) {
        let followed = Followed::new(vec![Follow::file(path, None)]);
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
        let (folded, seen) = followed(&path, 1_000);
        writer.join().unwrap();
        assert_eq!(seen, (0..1_000).map(line).collect::<Vec<_>>());
        assert_eq!((folded.input.events, folded.input.skipped, folded.requests), (1_000, 0, 1_000));
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
