//! Expected numbers were counted from the same log by a script of another language.

use proptest::prelude::*;

use super::*;
use crate::decode::Reader;

const LOG: &str = include_str!("../../../examples/audit.log");

fn stats(question: Question, lines: &[&str]) -> (Stats, Projection) {
    let mut projection = Projection::default();
    let mut stats = Stats::new(question, &mut projection);
    observe(&mut stats, &projection, lines);
    (stats, projection)
}

fn observe(stats: &mut Stats, projection: &Projection, lines: &[&str]) {
    let reader = Reader::new(projection);
    let mut found = Vec::new();
    for line in lines {
        let head = reader.read(line.as_bytes(), &mut found).expect("recorded lines are events");
        stats.observe(&Record::new("log", line.as_bytes(), head, projection, &found));
    }
}

fn keys(text: &str) -> Vec<Key> {
    text.split(',').map(|it| it.parse().expect(it)).collect()
}

#[track_caller]
fn check(question: Question, expected: &[&str]) {
    let lines: Vec<&str> = LOG.lines().collect();
    let (stats, _) = stats(question, &lines);
    let shown: Vec<String> = stats
        .finish()
        .rows
        .iter()
        .take(expected.len())
        .map(|row| {
            let key: Vec<&str> = row.key.iter().map(|it| it.as_deref().unwrap_or("-")).collect();
            format!("{} {}", key.join("|"), row.count)
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn requests_by_verb() {
    check(
        Question::default(),
        &["get 87", "create 29", "list 26", "update 9", "watch 7", "patch 6"],
    );
}

#[test]
fn several_keys_and_absent_values() {
    let question =
        Question { keys: keys("objectRef.resource,responseStatus.code"), ..Question::default() };
    check(question, &["pods|101 36", "pods|200 27", "-|200 22", "pods|403 15"]);
}

#[test]
fn a_list_is_its_json() {
    let question = Question { keys: keys("sourceIPs"), ..Question::default() };
    check(question, &["[\"127.0.0.1\"] 170"]);
}

#[test]
fn each_group_once() {
    let question = Question { by_group: true, ..Question::default() };
    check(question, &["system:authenticated 167", "dev 47", "ops 31"]);
}

#[test]
fn by_time() {
    let question = Question { interval: Some(60_000_000), sort: Sort::Key, ..Question::default() };
    check(
        question,
        &[
            "2026-11-22T22:44:00.000000Z|create 1",
            "2026-11-22T22:44:00.000000Z|delete 1",
            "2026-11-22T22:44:00.000000Z|get 21",
        ],
    );
}

#[test]
fn limit_hides_rows() {
    let lines: Vec<&str> = LOG.lines().collect();
    let report = stats(Question { limit: 2, ..Question::default() }, &lines).0.finish();
    assert_eq!((report.rows.len() as u64 + report.hidden_rows, report.rows[0].count), (8, 87));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// The law: any order, any split, the same report.
    #[test]
    fn order_and_split_do_not_matter(
        lines in Just(LOG.lines().collect::<Vec<_>>()).prop_shuffle(),
        cuts in prop::collection::vec(0..390_usize, 2),
        (by_group, bytes, latency, is_events, is_by_key) in any::<(bool, bool, bool, bool, bool)>(),
        max_groups in prop_oneof![0..40_usize, Just(5_000_000)],
        interval in prop_oneof![Just(None), (1_i64..10_000_000_000).prop_map(Some)],
        limit in prop_oneof![Just(0_usize), 1..30_usize],
    ) {
        let question = Question {
            keys: keys("user.username,verb,objectRef.name"), by_group, max_groups, bytes, latency, interval, limit,
            counted: if is_events { Counted::Events } else { Counted::Requests },
            sort: if is_by_key { Sort::Key } else { Sort::Count },
        };
        let whole = stats(question.clone(), &LOG.lines().collect::<Vec<_>>()).0.finish();
        let (first, second) = (cuts[0].min(cuts[1]), cuts[0].max(cuts[1]));
        let (mut split, projection) = stats(question.clone(), &lines[first..second]);
        for part in [&lines[..first], &lines[second..]] {
            let mut other = Stats::new(question.clone(), &mut projection.clone());
            observe(&mut other, &projection, part);
            split.merge(other);
        }
        let split = split.finish();
        prop_assert_eq!(split, whole);
    }
}
