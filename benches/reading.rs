//! The parts of reading: `cargo bench`. Whole programs are compared in `docs/benchmarks.md`.

use std::hint::black_box;

use divan::{Bencher, counter::BytesCount};
use kubectl_audit::{
    analysis::stats::{Question, Stats},
    decode::{Projection, Reader, Record, strict, unwrap},
    filter::{self, Filter},
    pipeline::{self, Reading},
    source,
};

/// Level Metadata: short lines.
const METADATA: &str = include_str!("../examples/audit.log");
/// Level RequestResponse: bodies.
const BODIES: &str = include_str!("../tests/data/bodies.log");

fn main() {
    divan::main();
}

/// The three keys that everybody counts by.
fn projection() -> Projection {
    let mut projection = Projection::default();
    for key in ["user.username", "verb", "objectRef.resource"] {
        projection.want(key);
    }
    projection
}

#[divan::bench(args = [METADATA, BODIES])]
fn fast_reader(bencher: Bencher<'_, '_>, log: &str) {
    let projection = projection();
    let reader = Reader::new(&projection);
    bencher.counter(BytesCount::of_str(log)).bench_local(|| {
        let mut found = Vec::new();
        log.lines().filter(|line| reader.read(line.as_bytes(), &mut found).is_ok()).count()
    });
}

#[divan::bench(args = [METADATA, BODIES])]
fn strict_reader(bencher: Bencher<'_, '_>, log: &str) {
    let projection = projection();
    bencher.counter(BytesCount::of_str(log)).bench_local(|| {
        let mut found = Vec::new();
        log.lines()
            .filter(|line| strict::read(line.as_bytes(), &projection, &mut found).is_ok())
            .count()
    });
}

/// A condition on one record: nanoseconds an event.
#[divan::bench(args = ["verb=get", "responseStatus.code>=400", "user.groups+=dev", "userAgent=~^kubectl/", "verb in (get,list)"])]
fn condition(bencher: Bencher<'_, '_>, text: &str) {
    let mut projection = Projection::default();
    let filter = Filter::default().and(filter::parse(text, &mut projection).expect("a filter"));
    let line = METADATA.lines().last().unwrap_or_default().as_bytes();
    let mut found = Vec::new();
    let head = Reader::new(&projection).read(line, &mut found).expect("a recorded event");
    let record = Record::new("log", line, head, &projection, &found);
    bencher.bench_local(|| black_box(&filter).matches(black_box(&record)));
}

#[divan::bench]
fn unwrap_docker(bencher: Bencher<'_, '_>) {
    let wrapped: Vec<String> = METADATA
        .lines()
        .map(|it| serde_json::json!({"log": it, "stream": "stdout"}).to_string())
        .collect();
    bencher.counter(BytesCount::of_str(METADATA)).bench_local(|| {
        let mut n = 0;
        wrapped.iter().for_each(|line| {
            unwrap::line(line.as_bytes(), &mut |_| n += 1);
        });
        n
    });
}

/// The whole fold over a log of about 40 MB, by so many threads.
#[divan::bench(args = [1, 2])]
fn fold(bencher: Bencher<'_, '_>, threads: usize) {
    let folder = tempfile::tempdir().expect("a folder for the log");
    let path = folder.path().join("audit.log");
    let log = METADATA.repeat(100);
    std::fs::write(&path, &log).expect("the log can be written");
    let logs = source::find(&[path]).logs;
    let reading = Reading { threads, ..Reading::default() };
    bencher.counter(BytesCount::of_str(&log)).bench_local(|| {
        let mut projection = Projection::default();
        let keys =
            ["user.username", "verb", "objectRef.resource"].map(|it| it.parse().expect("a key"));
        let stats =
            Stats::new(Question { keys: keys.into(), ..Question::default() }, &mut projection);
        pipeline::fold(&logs, &reading, &projection, &Filter::default(), stats).requests
    });
}
