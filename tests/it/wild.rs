//! Files as people have them: exports of consoles, collectors and queues, each with the same requests.

use std::{fs, process::Command};

fn run(args: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    let output = program.args(args).output().expect("the program runs");
    String::from_utf8(output.stdout).expect("the output is text")
}

/// Counts by user, verb, resource and code, as `ann get pods 200: 1`.
fn counts(path: &str) -> Vec<String> {
    let keys = "user.username,verb,objectRef.resource,responseStatus.code";
    let table = run(&["stats", "-k", keys, "--no-headers", "-q", path]);
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{}: {}", words[..4].join(" "), words[4])
    };
    let mut rows: Vec<String> = table.lines().map(row).collect();
    rows.sort();
    rows
}

const REQUESTS: [&str; 5] = [
    "ann delete pods 200: 1",
    "ann get pods 200: 1",
    "ben get pods 101: 1",
    "system:anonymous get secrets 401: 1",
    "system:serviceaccount:shop:job list secrets 403: 1",
];

#[test]
fn reads_what_people_have() {
    for name in [
        "01-own-json-output.json",
        "02-flat-dotted.jsonl",
        "19-insights-download.csv",
        "21-aksaudit-export.csv",
        "22-gcloud-without-format-json.yaml",
        "24-datadog-archive.json",
        "25-splunk-export.json",
        "27-kafka-kcat.jsonl",
        "30-logcli-default.log",
        "33-log-analytics-api-tables.json",
    ] {
        let path = format!("tests/data/wild/{name}");
        assert_eq!(counts(&path), REQUESTS, "{name}");
        // Alone in a folder it is found.
        let folder = tempfile::tempdir().expect("a folder");
        fs::copy(&path, folder.path().join(name)).expect("a copy");
        assert_eq!(counts(folder.path().to_str().expect("a path")), REQUESTS, "{name} in a folder");
    }
}

#[test]
fn reads_back_what_it_prints() {
    let keys = ["stats", "-k", "user.username,verb", "--no-headers", "-q"];
    let expected = run(&[&keys[..], &["examples/audit.log"]].concat());
    for format in ["json", "yaml", "jsonl"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events");
        fs::write(&path, run(&["events", "-o", format, "-q", "examples/audit.log"]))
            .expect("a file");
        let path = path.to_str().expect("a path");
        assert_eq!(run(&[&keys[..], &[path]].concat()), expected, "{format}");
    }
}

#[test]
fn keeps_events_with_an_odd_field() {
    let path = "tests/data/wild/45-mistyped-field.jsonl";
    let expected = ["ann get pods 200: 1", "ben get pods 101: 1", "cat get pods 101: 1"];
    assert_eq!(counts(path), expected);
    let events = run(&["events", "--no-headers", "-q", path]);
    let users: Vec<_> = events.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(users, ["ann", "ben", "cat"], "{events}");
    assert_eq!(run(&["execs", "--no-headers", "-q", path]).lines().count(), 2);
}

#[test]
fn takes_the_time_from_where_it_is() {
    let path = "tests/data/wild/17-no-stage-timestamps.jsonl";
    let table = run(&["stats", "-k", "verb", "--since", "2017-01-01", "--no-headers", "-q", path]);
    assert!(table.starts_with("list"), "{table}");
}

/// An event as other exports hold it.
#[test]
fn reads_siblings() {
    use base64::Engine;
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods","verb":"list","user":{"username":"ann","groups":["dev","ops"]},"sourceIPs":["192.0.2.1"],"objectRef":{"resource":"pods","namespace":"shop","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-03-01T10:00:01.000000Z","stageTimestamp":"2026-03-01T10:00:01.005000Z"}"#;
    let value: serde_json::Value = serde_json::from_str(event).expect("JSON");
    let json = |value: serde_json::Value| value.to_string();
    let base64 = base64::engine::general_purpose::STANDARD.encode(event);
    let cell = event.replace('"', "\"\"");
    let flat = serde_json::json!({"level": "Metadata", "auditID": "a1", "stage": "ResponseComplete", "verb": "list",
        "requestURI": "/api/v1/namespaces/shop/pods", "user": {"username": "ann"}, "objectRef": {"resource": "pods"},
        "responseStatus": {"code": 200}});
    let renamed = |separator: &str, prefix: &str, is_list: bool| {
        let mut object = serde_json::Map::new();
        for (name, value) in flat.as_object().expect("an object") {
            let mut put = |name: String, value: serde_json::Value| {
                let value = if is_list { serde_json::json!([value]) } else { value };
                object.insert(format!("{prefix}{name}"), value);
            };
            match value.as_object() {
                Some(inner) => inner.iter().for_each(|(part, value)| {
                    put(format!("{name}{separator}{part}"), value.clone());
                }),
                None => put(name.clone(), value.clone()),
            }
        }
        serde_json::Value::Object(object)
    };
    let samples = [
        json(serde_json::json!({"short_message": event, "version": "1.1", "host": "cp-1"})),
        json(serde_json::json!({"full_log": event, "agent": {"id": "000"}})),
        json(serde_json::json!({"_msg": event, "_time": "2026-03-01T10:00:01Z"})),
        json(serde_json::json!({"@rawstring": event, "#repo": "k8s"})),
        json(serde_json::json!({"_line": event, "_app": "audit"})),
        json(serde_json::json!({"Body": {"value": event}, "Attributes": {}})),
        json(serde_json::json!({"anything": {"deeper": {"still": event}}, "tags": ["a", "b"]})),
        json(serde_json::json!({"anything": {"deeper": {"still": value}}, "tags": ["a", "b"]})),
        json(serde_json::json!({"Records": [{"Data": base64, "PartitionKey": "1"}]})),
        json(serde_json::json!([{"ackId": "x", "message": {"data": base64, "messageId": "1"}}])),
        json(serde_json::json!({"columns": ["time", "line"], "rows": [["2026-03-01", event]]})),
        json(serde_json::json!({"Items": [value]})),
        json(renamed(".", "", false)),
        json(renamed("_", "", false)),
        json(renamed(".", "kubernetes.audit.", false)),
        json(renamed(".", "kubernetes.audit.", true)),
        json(serde_json::json!({"fields": renamed(".", "", true)})),
        format!("Time;Line\r\n1;\"{cell}\"\r\n"),
        format!("\u{feff}\"time\"\t\"labels\"\t\"Line\"\n\"1\"\t\"{{}}\"\t\"{cell}\"\n"),
        format!("<134>1 2026-03-01T10:00:01Z cp-1 kube - - - {event}"),
        format!("Mar  1 10:00:01 cp-1 kube-apiserver[7]: {event}"),
        format!("2026-03-01T10:00:01Z {{job=\"x\", node=\"cp-1\"}} {event}"),
        format!(
            "2026-03-01T10:00:01+00:00 stream\n{}\n",
            serde_json::to_string_pretty(&value).expect("JSON")
        ),
        format!("{{\"items\":[{event}\n]}}"),
        format!("level=info msg={}", serde_json::Value::from(event)),
        base64.clone(),
        format!("---\nlog: '{event}'\nstream: stdout\n---\n"),
    ];
    for sample in samples {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("x"), &sample).expect("a file");
        let path = folder.path().to_str().expect("a path");
        assert_eq!(counts(path), ["ann list pods 200: 1"], "{sample}");
    }
}

/// What has no user, verb and URI is no event.
#[test]
fn makes_no_event_of_other_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.log");
    let line = r#"{"level":"Metadata","auditID":"a","stage":"ResponseComplete","who":"ann"}"#;
    fs::write(&path, format!("{line}\n{line}\n")).expect("a file");
    let report = run(&["stats", "-o", "json", path.to_str().expect("a path")]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["input"]["events"], &report["input"]["skipped"]), (&0.into(), &2.into()));
}
