//! Every event that matches, as it is written, until somebody says stop.
//!
//! A thread a log, which is never more than a few chunks ahead of what is given on.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Cursor,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
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
    /// A log does not answer.
    Away(usize, SourceError),
    /// It answers again.
    Back(usize),
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
    /// By log: the node it is read from.
    nodes: Vec<Option<String>>,
    /// By log: how many files of it were read.
    files: Vec<Arc<AtomicU64>>,
    sender: SyncSender<Message>,
    messages: Receiver<Message>,
    logs: Vec<Follow>,
}

impl Followed {
    pub fn new(logs: Vec<Follow>) -> Followed {
        let (sender, messages) = sync_channel(16);
        let names = logs.iter().map(|it| it.name.clone()).collect();
        let nodes = logs.iter().map(|it| it.node().map(str::to_owned)).collect();
        let files = logs.iter().map(Follow::files).collect();
        Followed { names, nodes, files, sender, messages, logs }
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
    let Followed { names, nodes, files, sender, messages, logs } = followed;
    let mut open = logs.len();
    let mut absences = Absences::default();
    let mut waiting = Vec::new();
    for (n, mut log) in logs.into_iter().enumerate() {
        log.max_line = reading.max_line;
        let (ahead, given) = sync_channel(AHEAD);
        waiting.push(given);
        let out = Out { n, sender: sender.clone(), ahead };
        // Not waited for: one that hangs in a download must not keep the others from ending.
        thread::spawn(move || watch(log, &out));
    }
    let unique = reading.unique.then(Unique::default);
    let worker = Worker::new(projection, reading, unique.as_ref());
    let mut chunks =
        Chunks { names: &names, nodes: &nodes, waiting, worker, n_read: vec![0; names.len()] };
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
            Ok(Message::Away(log, err)) => {
                absences.begin(log, &err).iter().for_each(|note| given.watcher.note(note));
            }
            Ok(Message::Back(log)) => {
                absences.end(log).iter().for_each(|note| given.watcher.note(note));
            }
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
            flow = given.watcher.pause(&summary(tally, &files), tally.requests);
        }
        if flow.is_break() {
            break;
        }
    }
    let mut tally = chunks.worker.tally;
    let input = summary(&tally, &files);
    let (requests, failed) = (tally.requests, tally.take_failed());
    Folded { report: (), requests, input, failed, notes: Vec::new(), notices: Vec::new() }
}

/// Takes chunks of lines apart.
struct Chunks<'a> {
    names: &'a [String],
    nodes: &'a [Option<String>],
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
        let node = self.nodes[log].as_deref();
        let at = Place { log: &self.names[log], node, name: &self.names[log], part };
        let work = Work::Lines(Box::new(Cursor::new(lines)));
        self.worker.run(Task { at, work, is_checked: false }, &mut |record| give(record));
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
        let (names, nodes, filter) = (chunks.names, chunks.nodes, self.filter);
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
            let record = record.on_node(nodes[log].as_deref());
            self.watcher.record(&record)?;
        }
        ControlFlow::Continue(())
    }
}

/// What was read so far; a log that is not there yet counts as none.
fn summary(tally: &Tally, files: &[Arc<AtomicU64>]) -> InputSummary {
    let files: Vec<u64> = files.iter().map(|it| it.load(Ordering::Relaxed)).collect();
    let logs = files.iter().filter(|files| **files > 0).count() as u64;
    InputSummary { logs, files: files.iter().sum(), ..tally.summary.clone() }
}

/// Who does not answer, so that each node is reported once, however many logs it has.
#[derive(Default)]
struct Absences {
    /// By node, or `None` for the API server: since when, and which logs.
    away: BTreeMap<Option<String>, (Instant, BTreeSet<usize>)>,
}

impl Absences {
    /// A log does not answer: a note, if that is news.
    fn begin(&mut self, log: usize, err: &SourceError) -> Option<String> {
        let node = match err {
            SourceError::Node(err) => err.node().map(str::to_owned),
            _ => None,
        };
        let (_, logs) = self.away.entry(node).or_insert_with(|| (Instant::now(), BTreeSet::new()));
        let is_news = logs.is_empty();
        logs.insert(log);
        is_news.then(|| format!("{err}; waiting for it, since {}", now()))
    }

    /// A log answers again: a note for all that is back with it.
    fn end(&mut self, log: usize) -> Vec<String> {
        let mut notes = Vec::new();
        self.away.retain(|node, (since, logs)| {
            if !logs.remove(&log) || !logs.is_empty() {
                return true;
            }
            let seconds = since.elapsed().as_secs();
            let who = match node {
                Some(node) => format!("node `{node}`"),
                None => "the API server".to_owned(),
            };
            notes.push(format!("{who} is back at {}, after {seconds} s", now()));
            false
        });
        notes
    }
}

/// The time of day, for notes.
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default()
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
    // When it answered last, and whether it does not now.
    let (mut answered, mut is_away) = (None::<Instant>, false);
    loop {
        let began = Instant::now();
        let mut listens = true;
        let result = log.poll(&mut |lines| {
            answered = Some(Instant::now());
            listens = out.lines(lines);
            listens
        });

        let mut messages = Vec::new();
        match result {
            Ok(()) => {
                answered = Some(Instant::now());
                if std::mem::take(&mut is_away) {
                    messages.push(Message::Back(out.n));
                }
                if log.lost > lost {
                    lost = log.lost;
                    let name = &log.name;
                    let note = format!("{name}: a file went away before it was read to its end");
                    messages.push(Message::Note(note));
                }
                if !log.is_behind {
                    messages.push(Message::Idle(out.n, began));
                }
            }
            // A node or an API server that restarts comes back; while it starts, it does not know yet
            // who may do what.
            Err(err)
                if err.may_pass()
                    || log.node().is_some()
                        && answered.is_some_and(|it| it.elapsed() < STARTING) =>
            {
                if !std::mem::replace(&mut is_away, true) {
                    messages.push(Message::Away(out.n, err));
                }
            }
            Err(err) => {
                let _ = out.sender.send(Message::Failed(out.n, err));
                return;
            }
        }
        if !listens || messages.into_iter().any(|it| out.sender.send(it).is_err()) {
            return;
        }
        // Also while a node is away: it is asked as often as one that answers.
        thread::sleep(log.wait());
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

    /// A node is reported once when it goes and once when it comes, however many logs it has.
    #[test]
    fn absences_are_told_once_a_node() {
        use crate::{cluster::ClusterError, source::node::NodeLogError};

        let away = |node: &str| {
            let node = node.to_owned();
            SourceError::Node(NodeLogError::KubeletUnreachable { node, message: "m".into() })
        };
        let unreachable = || {
            let err = ClusterError::Unreachable { server: "s".into(), reason: "r".into() };
            SourceError::Node(NodeLogError::Cluster(err))
        };
        let mut absences = Absences::default();
        let note = absences.begin(0, &away("cp-1")).unwrap();
        assert!(note.contains("kubelet of node `cp-1`: m; waiting for it, since 2"), "{note}");
        assert_eq!(absences.begin(1, &away("cp-1")), None);
        assert!(absences.begin(2, &away("cp-2")).unwrap().contains("`cp-2`"));
        assert!(absences.end(1).is_empty(), "its other log is away");
        let notes = absences.end(0);
        assert!(notes[0].starts_with("node `cp-1` is back at 2"), "{notes:?}");
        assert!(notes[0].ends_with(", after 0 s") && notes.len() == 1, "{notes:?}");
        assert!(absences.begin(0, &away("cp-1")).is_some(), "gone again");

        let mut absences = Absences::default();
        assert!(absences.begin(0, &unreachable()).is_some());
        assert_eq!(absences.begin(1, &unreachable()), None, "one API server");
        absences.end(0);
        assert!(absences.end(1)[0].starts_with("the API server is back at "));
    }

    #[test]
    fn rotated_files_count_in_the_summary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(path.with_file_name("audit-2026-01-01T00-00-01.000.log"), line(0)).unwrap();
        fs::write(path.with_file_name("audit-2026-01-01T00-00-02.000.log"), line(1)).unwrap();
        fs::write(&path, line(2)).unwrap();
        let later = folder.path().join("not-there-yet.log");
        let (folded, _) = followed(&[&path, &later], 3);
        assert_eq!((folded.input.files, folded.input.logs), (3, 1));
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
