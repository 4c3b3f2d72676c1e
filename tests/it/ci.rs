//! The scripts and workflows that check a change.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// Runs `tests/e2e/run` on a machine of this system and user id, with this value of `CI`.
#[track_caller]
fn check(system: &str, user: &str, ci: &str, expected_status: i32, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, answer) in [("uname", system), ("id", user)] {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\necho {answer}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());

    let mut run = Command::new("bash");
    run.arg("tests/e2e/run").env("PATH", path).env("CI", ci);
    let output = run.output().unwrap();

    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(expected), "{system} {user} {ci}: {text}");
    assert_eq!(output.status.code(), Some(expected_status), "{system} {user} {ci}: {text}");
}

#[test]
fn a_skipped_suite_is_a_failure_under_ci() {
    check("Linux", "1000", "", 0, "SKIPPED, not passed: they need root");
    check("Linux", "1000", "true", 1, "FAILED, since CI=true allows no skip: they need root");
}

#[test]
fn a_machine_that_cannot_run_the_suite_says_why() {
    check("Darwin", "0", "", 0, "SKIPPED, not passed: they need Linux, this is Darwin");
    check("Darwin", "0", "true", 0, "SKIPPED, not passed: they need Linux, this is Darwin");
}

/// A pull request is checked by the same commands as `.ci/run`.
#[test]
fn pull_requests_run_what_ci_runs() {
    let workflow = fs::read_to_string(".github/workflows/pull-request.yaml").unwrap();
    let script = fs::read_to_string(".ci/run").unwrap();
    let commands =
        ["cargo fmt --all --check", "cargo clippy --workspace --all-targets -- -D warnings"];
    let more = ["cargo doc --workspace --no-deps", "cargo deny check bans licenses sources"];
    for command in [&commands[..], &more].concat() {
        assert!(script.contains(command), "{command} in .ci/run");
        assert!(workflow.contains(command), "{command} in the workflow");
    }
    assert!(workflow.contains("cargo test --workspace"));
    for system in ["ubuntu-", "macos-", "windows-"] {
        assert!(workflow.contains(system), "{system}");
    }
}
