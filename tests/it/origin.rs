//! Where a line was read from, as a key; and one time for a whole run.

use std::{fmt::Write as _, fs, process::Command};

use serde_json::Value;

fn stats(args: &[&str]) -> Vec<(Vec<Value>, u64)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    let output = command.args(["stats", "-o", "json"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["key"].as_array().unwrap().clone(), row["count"].as_u64().unwrap()))
        .collect()
}

/// An event; `more` is what a hostile line adds.
fn event(time: &str, more: &str) -> String {
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{time}\",\
         \"stage\":\"ResponseComplete\",\"requestURI\":\"/version\",\"verb\":\"get\",\"user\":{{\"username\":\"ann\"}},\
         \"responseStatus\":{{\"code\":200}},\"requestReceivedTimestamp\":\"{time}\",\"stageTimestamp\":\"{time}\"{more}}}\n"
    )
}

#[test]
fn log_is_where_a_line_was_read_and_not_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["cp-1", "cp-2"].map(|node| folder.path().join(node).join("audit.log"));
    for name in &names {
        fs::create_dir(name.parent().unwrap()).unwrap();
        let forged = ",\"log\":\"forged\",\"node\":\"forged\"";
        fs::write(name, event("2026-01-02T03:04:05.000000Z", forged)).unwrap();
    }
    let folder = folder.path().to_str().unwrap();

    let rows = stats(&["-k", "log,node", folder]);
    let logs: Vec<&str> = rows.iter().map(|(key, _)| key[0].as_str().unwrap()).collect();
    assert_eq!(logs.len(), 2, "{rows:?}");
    assert!(logs[0].contains("cp-1") && logs[1].contains("cp-2"), "{logs:?}");
    assert!(rows.iter().all(|(key, _)| key[1].is_null()), "{rows:?}");

    for filter in [
        &["-F", &format!("log={}", logs[0])][..],
        &["-F", "log=~cp-1"],
        &["-F", "log!=x", "-F", "!node", "-F", "log=~cp-1"],
        &["--where", &format!("event.log == \"{}\" && !has(event.node)", logs[0])],
    ] {
        let rows = stats(&[filter, &["-k", "log", folder]].concat());
        assert_eq!(rows, [(vec![Value::from(logs[0])], 1)], "{filter:?}");
    }
}

#[test]
fn a_wrapper_names_the_node() {
    let line = event("2026-01-02T03:04:05.000000Z", "");
    let wrapped = format!(
        "{{\"host\":\"cp-7\",\"log\":{}}}\n",
        serde_json::to_string(line.trim_end()).unwrap()
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrapped.log");
    fs::write(&path, wrapped).unwrap();
    let path = path.to_str().unwrap();
    let rows = stats(&["-k", "log,node", path]);
    let node = &rows[0].0[1];
    assert!(*node == "cp-7" || node.is_null(), "{rows:?}");
    assert_eq!(*node == "cp-7", rows[0].0[0] == "cp-7", "{rows:?}");
}

/// The log is read twice. Events that leave the window between the two readings were taken for a log
/// that cannot be read twice.
#[test]
fn a_window_is_the_same_in_both_readings() {
    let now = jiff::Timestamp::now();
    let mut log = String::new();
    for n in 0..30_000 {
        let time = now - jiff::SignedDuration::from_micros((60 * 1_000_000) - n * 1_000);
        write!(log, "{}", event(&format!("{time:.6}"), "")).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    fs::write(&path, log).unwrap();
    let mut suggest = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    suggest.args(["policy", "suggest", "--since", "50s"]).arg(&path);
    let output = suggest.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
}

#[test]
fn a_kubeconfig_that_is_named_has_to_be_there() {
    let mut stats = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    let output = stats.args(["stats", "--kubeconfig", "/nope/config"]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("cannot read the kubeconfig `/nope/config`"), "{errors}");
    assert!(errors.contains("hint: "), "{errors}");
}
