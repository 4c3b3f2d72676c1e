//! `stats` as a person calls it: other tools' numbers, and the same ones however it is read.

use std::process::Command;

use serde_json::Value;

const LOG: &str = "examples/audit.log";

fn run(args: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    let out = program.arg("stats").arg("--quiet").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.is_empty(), "{args:?}: {said}");
    String::from_utf8(out.stdout).unwrap()
}

/// KALT 1.5 counts every event but the first of a log, which it loses. `lost` are the rows of that one;
/// `matched` is KALT's "Events count", which with `-g` is one of memberships.
#[track_caller]
fn kalt(args: &[&str], lost: &[&str], matched: u64, rows: &[(&str, u64)]) {
    let json = run(&[&["--events", "-o", "json", LOG], args].concat());
    let report: Value = serde_json::from_str(&json).unwrap();
    let mut ours: Vec<(String, u64)> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let key: Vec<_> = row["key"].as_array().unwrap().iter().collect();
            let key: Vec<_> = key.iter().map(|it| it.as_str().unwrap_or("")).collect();
            let key = key.join(" ");
            let count = row["count"].as_u64().unwrap() - u64::from(lost.contains(&&*key));
            (key, count)
        })
        .collect();
    ours.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let all = if args.contains(&"--groups") {
        ours.iter().map(|it| it.1).sum()
    } else {
        report["total"]["matched"].as_u64().unwrap() - u64::from(!lost.is_empty())
    };
    ours.truncate(rows.len());
    let ours: Vec<_> = ours.iter().map(|(key, count)| (key.as_str(), *count)).collect();
    assert_eq!((ours.as_slice(), all), (rows, matched), "{args:?}");
}

/// Recorded with `kalt` of PyPI, with the same keys and filters.
#[test]
fn numbers_of_kalt() {
    kalt(
        &[],
        &["delete"],
        395,
        &[
            ("get", 200),
            ("create", 77),
            ("list", 50),
            ("watch", 27),
            ("update", 18),
            ("patch", 12),
            ("delete", 9),
            ("", 2),
        ],
    );
    kalt(
        &["-k", "user.username", "-k", "verb"],
        &["system:apiserver delete"],
        395,
        &[("alice get", 42), ("bob get", 35), ("alice create", 29), ("system:apiserver get", 24)],
    );
    kalt(
        &["-F", "user.groups+=dev", "-k", "user.username"],
        &[],
        113,
        &[("alice", 77), ("dave", 36)],
    );
    kalt(&["-F", "stageTimestamp>=2026-11-22T22:45", "-F", "verb=list"], &[], 50, &[("list", 50)]);
    kalt(
        &["-F", "requestReceivedTimestamp<=2026-11-22T22:45"],
        &["delete"],
        72,
        &[("get", 55), ("watch", 11), ("create", 3), ("update", 2), ("delete", 1)],
    );
    kalt(&["-F", "objectRef.resource="], &[], 48, &[("get", 48)]);
    kalt(
        &["-F", "objectRef.resource!=", "-F", "user.username!=alice"],
        &["delete"],
        270,
        &[("get", 110), ("create", 48), ("list", 46)],
    );
    kalt(
        &["--groups"],
        &["system:authenticated", "system:masters"],
        832,
        &[
            ("system:authenticated", 391),
            ("dev", 113),
            ("ops", 79),
            ("system:serviceaccounts", 45),
            ("system:masters", 39),
        ],
    );
}

/// One log, several with rotated and packed files, an archive, wrapped ones.
const INPUTS: &[&[&str]] = &[
    &[LOG],
    &["tests/data/logs", LOG],
    &["tests/data/must-gather.tar.gz"],
    &["tests/data/shapes"],
];

#[test]
fn threads_change_nothing() {
    for flags in [
        &["-k", "user.username,verb,objectRef.resource", "--latency", "--bytes"][..],
        &["--groups", "--interval", "1m", "--sort", "key"],
        &["--events", "-k", "sourceIPs,responseStatus.code", "--limit", "5"],
        &["--unique", "--events", "-k", "stage", "--latency", "--max-groups", "100"],
    ] {
        for format in ["json", "table"] {
            for input in INPUTS {
                let all = |threads: &str| {
                    let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
                    program.args(["stats", "-q", "-o", format, "--threads", threads]);
                    program.args(flags).args(*input).output().unwrap().stdout
                };
                let one = all("1");
                assert!(!one.is_empty());
                for threads in ["2", "3", "4"] {
                    assert!(all(threads) == one, "{flags:?} {format} {input:?} {threads}");
                }
            }
        }
    }
}
