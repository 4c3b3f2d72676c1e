//! Ordered reading: `events` gives the lines as they are, whatever the threads.

use std::{fs, io::Write, ops::ControlFlow, path::PathBuf};

use kubectl_audit::{
    decode::Projection,
    filter::Filter,
    pipeline::{self, Reading},
    source,
};
use proptest::prelude::*;

fn read(paths: &[PathBuf], threads: usize, limit: usize) -> Vec<String> {
    let reading = Reading { threads, ..Reading::default() };
    let mut lines = Vec::new();
    let logs = source::find(paths).logs;
    pipeline::each(&logs, &reading, &Projection::default(), &Filter::default(), &mut |line| {
        lines.push(String::from_utf8(line.to_vec()).expect("the logs are UTF-8"));
        if lines.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    lines
}

/// A line of about `len` bytes at a time in seconds.
fn line(second: usize, len: usize) -> String {
    let agent = "x".repeat(len);
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{second}","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{{"username":"ann"}},"userAgent":"{agent}","stageTimestamp":"2026-01-02T03:{:02}:{:02}Z"}}"#,
        second / 60 % 60,
        second % 60
    )
}

#[test]
fn lines_come_back_byte_for_byte() {
    let text = fs::read_to_string("examples/audit.log").expect("the example is there");
    for threads in [1, 2, 5] {
        assert_eq!(
            read(&["examples/audit.log".into()], threads, usize::MAX).join("\n") + "\n",
            text
        );
    }
}

#[test]
fn a_limit_ends_the_reading() {
    assert_eq!(read(&["examples/audit.log".into()], 3, 7).len(), 7);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Files of several chunks, with lines longer than one: each log in its order, all by time.
    #[test]
    fn logs_are_merged_by_time(
        logs in prop::collection::vec(prop::collection::vec((0..40_usize, 0..90_000_usize), 0..30), 1..4),
        threads in 1..5_usize,
        is_gzip in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (mut paths, mut expected) = (Vec::new(), Vec::new());
        for (n, log) in logs.iter().enumerate() {
            let mut second = 0;
            let lines: Vec<String> = log.iter().map(|(step, len)| { second += step; line(second, *len) }).collect();
            let path = folder.path().join(format!("server-{n}.log"));
            let text = lines.join("\n") + "\n";
            if is_gzip && n == 0 {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(text.as_bytes()).expect("memory can be written");
                fs::write(&path, packed.finish().expect("memory can be written")).expect("the file can be written");
            } else {
                fs::write(&path, text).expect("the file can be written");
            }
            paths.push(path);
            expected.extend(lines.into_iter().map(|it| (it[it.len() - 23..].to_owned(), n, it)));
        }
        // Stable: of equal times the first log, and in a log the order of its lines.
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let expected: Vec<String> = expected.into_iter().map(|(_, _, line)| line).collect();
        prop_assert_eq!(read(&paths, threads, usize::MAX), expected);
    }
}
