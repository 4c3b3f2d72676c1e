//! `execs` on a log that is written.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

fn line(stage: &str, code: u16, second: u32) -> String {
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "1", "stage": stage,
        "requestURI": "/api/v1/namespaces/a/pods/p/exec?command=id", "verb": "get", "user": {"username": "u"},
        "objectRef": {"resource": "pods", "namespace": "a", "name": "p", "apiVersion": "v1", "subresource": "exec"},
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": "2026-01-02T03:04:01.000000Z",
        "stageTimestamp": format!("2026-01-02T03:04:{second:02}.000000Z"),
    });
    format!("{event}\n")
}

#[test]
fn followed_until_an_interrupt() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let path = folder.path().join("audit.log");
    let mut log = fs::File::create(&path).expect("it can be made");
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["execs", "-f", "-q", "-o", "jsonl"])
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut next = |state: &str| {
        let mut line = String::new();
        out.read_line(&mut line).expect("it prints");
        let item: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(item["state"], state, "{line}");
        item["duration"].as_f64()
    };
    log.write_all(line("ResponseStarted", 101, 1).as_bytes()).expect("it can be written");
    assert_eq!(next("open"), None);
    log.write_all(line("ResponseComplete", 101, 6).as_bytes()).expect("it can be written");
    assert_eq!(next("closed"), Some(5.0));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("there is kill").success());
    assert!(child.wait().expect("it ends").success(), "an interrupt is no failure");
}
