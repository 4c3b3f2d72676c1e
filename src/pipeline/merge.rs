//! Several logs that are written at the same time, in one order: by stage timestamp.
//!
//! An event waits until every other log has come as far: it has a later event, or was looked at after
//! this one came and had nothing new. One that does not answer is not waited for long. Nothing here
//! reads: chunks are taken apart only when their log's turn comes, so that little is held.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::event::Timestamp;

/// How long an event waits for a log that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Logs while they are merged.
pub(super) struct Merge(Vec<Log>);

struct Log {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    /// What matches of the chunk that was taken apart last, and when that came.
    events: VecDeque<Event>,
    came: Instant,
    /// The latest time so far, of whatever event.
    time: Option<Timestamp>,
    /// When the look began that found nothing new last.
    quiet: Option<Instant>,
    is_closed: bool,
}

/// An event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Where its log had come to.
    pub time: Option<Timestamp>,
    pub line: Vec<u8>,
}

/// What a chunk holds: the events that match, and the latest time of all.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub events: VecDeque<Event>,
    pub time: Option<Timestamp>,
}

impl Merge {
    pub fn new(n_logs: usize) -> Merge {
        let log = |_| Log {
            chunks: VecDeque::new(),
            events: VecDeque::new(),
            came: Instant::now(),
            time: None,
            quiet: None,
            is_closed: false,
        };
        Merge((0..n_logs).map(log).collect())
    }

    /// New lines of a log.
    pub fn lines(&mut self, log: usize, lines: Vec<u8>, now: Instant) {
        self.0[log].chunks.push_back((now, lines));
    }

    /// A look at a log that began then has found nothing new.
    pub fn quiet(&mut self, log: usize, since: Instant) {
        self.0[log].quiet = Some(since);
    }

    /// Nothing more comes from a log.
    pub fn close(&mut self, log: usize) {
        self.0[log].is_closed = true;
    }

    /// The next event in order that need not wait any longer, and its log. `open` takes a chunk
    /// apart, told where its log had come to before.
    pub fn next(
        &mut self,
        now: Instant,
        open: &mut dyn FnMut(usize, Vec<u8>, Option<Timestamp>) -> Opened,
    ) -> Option<(usize, Event)> {
        for (n, log) in self.0.iter_mut().enumerate() {
            while log.events.is_empty() {
                let Some((came, chunk)) = log.chunks.pop_front() else { break };
                let opened = open(n, chunk, log.time);
                (log.came, log.events) = (came, opened.events);
                log.time = log.time.max(opened.time);
            }
        }
        let heads = self.0.iter().enumerate();
        let heads = heads.filter_map(|(n, it)| it.events.front().map(|event| (n, event.time)));
        let (first, time) = heads.min_by_key(|(_, time)| *time)?;
        let came = self.0[first].came;
        let has_come = |log: &Log| {
            let is_later = time.is_some() && log.time > time;
            log.is_closed || !log.events.is_empty() || is_later || log.quiet >= Some(came)
        };
        let is_ready =
            now.saturating_duration_since(came) >= PATIENCE || self.0.iter().all(has_come);
        let event = is_ready.then(|| self.0[first].events.pop_front()).flatten()?;
        Some((first, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps of a test: lines with their seconds, a look without any, the end of a log, time passing.
    enum Step {
        Lines(usize, &'static str),
        Quiet(usize),
        Close(usize),
        Wait(u64),
    }
    use Step::{Close, Lines, Quiet, Wait};

    /// Lines are seconds of a minute; those below 10 do not match.
    fn opened(chunk: &[u8], mut time: Option<Timestamp>) -> Opened {
        let mut events = VecDeque::new();
        for line in chunk.split(|it| *it == b' ') {
            let text = format!("2026-01-01T00:00:{}Z", String::from_utf8_lossy(line));
            time = time.max(Timestamp::parse(text.as_bytes()));
            if line[0] != b'0' {
                events.push_back(Event { time, line: line.to_vec() });
            }
        }
        Opened { events, time }
    }

    /// What comes after each step.
    #[track_caller]
    fn check(steps: &[(Step, &str)]) {
        let mut merge = Merge::new(2);
        let mut now = Instant::now();
        for (n, (step, expected)) in steps.iter().enumerate() {
            now += Duration::from_millis(1);
            match step {
                Lines(log, lines) => merge.lines(*log, lines.as_bytes().to_vec(), now),
                Quiet(log) => merge.quiet(*log, now),
                Close(log) => merge.close(*log),
                Wait(seconds) => now += Duration::from_secs(*seconds),
            }
            let mut shown = Vec::new();
            while let Some((log, event)) =
                merge.next(now, &mut |_, chunk, time| opened(&chunk, time))
            {
                shown.push(format!("{log}:{}", String::from_utf8_lossy(&event.line)));
            }
            assert_eq!(shown.join(" "), *expected, "step {n}");
        }
    }

    #[test]
    fn by_time() {
        check(&[
            (Lines(0, "10 12 14"), ""),
            (Lines(1, "11 13 15"), "0:10 1:11 0:12 1:13 0:14"),
            (Lines(0, "14 20"), "0:14 1:15"),
            (Quiet(1), "0:20"),
        ]);
    }

    #[test]
    fn a_quiet_log_is_asked_after_the_event_came() {
        check(&[(Quiet(1), ""), (Lines(0, "10"), ""), (Quiet(0), ""), (Quiet(1), "0:10")]);
    }

    #[test]
    fn what_does_not_match_tells_the_time() {
        check(&[(Lines(1, "05"), ""), (Lines(0, "10"), ""), (Lines(1, "06 11"), "0:10")]);
        check(&[(Lines(0, "10 30"), ""), (Lines(1, "12 09"), "0:10 1:12"), (Close(1), "0:30")]);
    }

    #[test]
    fn one_that_does_not_answer() {
        check(&[(Lines(0, "10"), ""), (Wait(4), ""), (Wait(1), "0:10"), (Lines(1, "05 11"), "")]);
    }
}
