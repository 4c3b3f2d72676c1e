//! A line on standard error, drawn again and again, for work that takes longer than a second.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::summary::size;
use crate::{
    output::table::duration,
    pipeline::Progress,
    source::{Log, Opened},
};

/// Work that is done before needs no progress.
const PATIENCE: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(500);
/// Back to the start of the line, and nothing behind.
const CLEAR: &str = "\r\x1b[K";

/// The line while it is drawn; dropped, it is gone.
#[derive(Debug)]
pub struct Drawn {
    pub progress: Arc<Progress>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drawn {
    /// Draws on standard error, if that is a terminal which can. `has_total` tells that all of the
    /// logs will be read.
    pub fn start(logs: &[Log], has_total: bool) -> Option<Drawn> {
        let can_draw =
            stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|it| it != "dumb");
        if !can_draw {
            return None;
        }
        let progress = Arc::new(Progress::default());
        let (stop, stopped) = channel();
        let (logs, watched) = (logs.to_vec(), progress.clone());
        let total = move || if has_total { plain_size(&logs) } else { None };
        let thread = thread::spawn(move || draw(&watched, total, &stopped, &mut stderr()));
        Some(Drawn { progress, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How much text there is, if it all stands in plain files: what is packed does not tell.
fn plain_size(logs: &[Log]) -> Option<u64> {
    let size = |it: &crate::source::Input| match it.stored_size().map(|_| it.open()) {
        Some(Ok(Opened::Plain(_, size))) => Some(size),
        _ => None,
    };
    logs.iter().flat_map(|log| &log.inputs).map(size).sum()
}

fn draw(
    progress: &Progress,
    total: impl FnOnce() -> Option<u64>,
    stopped: &Receiver<()>,
    err: &mut dyn Write,
) {
    let start = Instant::now();
    let goes_on = |wait| stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout);
    if !goes_on(PATIENCE) {
        return;
    }
    let total = total();
    loop {
        let text = line(progress.bytes(), total, start.elapsed());
        let _ = write!(err, "{CLEAR}{text}").and_then(|()| err.flush());
        if !goes_on(REDRAW) {
            break;
        }
    }
    let _ = write!(err, "{CLEAR}").and_then(|()| err.flush());
}

/// `1.2 GB of 4.0 GB, 820.0 MB/s, 4s left`
fn line(bytes: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = bytes as f64 / elapsed.as_secs_f64().max(1e-3);
    let of = total.map_or_else(String::new, |it| format!(" of {}", size(it)));
    let left = total.filter(|it| bytes > 0 && *it > bytes);
    let left = left.map_or_else(String::new, |it| {
        let seconds = ((it - bytes) as f64 / rate).ceil();
        let left = if seconds < 60.0 { format!("{seconds}s") } else { duration(seconds) };
        format!(", {left} left")
    });
    format!("{}{of}, {}/s{left}", size(bytes), size(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: u64, total: Option<u64>, seconds: u64, expected: &str) {
        assert_eq!(line(bytes, total, Duration::from_secs(seconds)), expected);
    }

    #[test]
    fn lines() {
        check(1_000_000_000, Some(4_000_000_000), 2, "1.0 GB of 4.0 GB, 500.0 MB/s, 6s left");
        check(1_000_000, Some(91_000_000), 1, "1.0 MB of 91.0 MB, 1.0 MB/s, 1m30s left");
        check(1_000_000_000, None, 2, "1.0 GB, 500.0 MB/s");
        check(0, Some(4_000), 2, "0 B of 4.0 kB, 0 B/s");
        check(5_000, Some(4_000), 0, "5.0 kB of 4.0 kB, 5.0 MB/s");
    }

    #[test]
    fn short_work_shows_nothing() {
        let (stop, stopped) = channel();
        drop(stop);
        let mut err = Vec::new();
        draw(&Progress::default(), || None, &stopped, &mut err);
        assert!(err.is_empty());
    }

    #[test]
    fn the_size_of_plain_files() {
        let logs = |path: &str| crate::source::find(&[path.into()]).logs;
        let len = std::fs::metadata("examples/audit.log").expect("the example is there").len();
        assert_eq!(plain_size(&logs("examples/audit.log")), Some(len));
        assert_eq!(plain_size(&logs("tests/data/must-gather.tar.gz")), None);
    }
}
