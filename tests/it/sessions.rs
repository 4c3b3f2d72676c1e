//! Sessions as clouds and old clients record them: samples of public reports, and their siblings.

use std::{fs, process::Command};

use serde_json::{Value, json};

/// The sessions of a file of `tests/data/wild`, changed by `edit`, by `execs` with further arguments.
#[track_caller]
fn sessions(name: &str, edit: impl Fn(String) -> String, arguments: &[&str]) -> Vec<Value> {
    let path = format!("{}/tests/data/wild/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = edit(fs::read_to_string(path).expect("a sample"));
    let file = tempfile::NamedTempFile::new().expect("the temporary folder can be written");
    fs::write(file.path(), text).expect("it can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["execs", "-q", "-o", "json"])
        .args(arguments)
        .arg(file.path())
        .output()
        .expect("it runs");
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    list["items"].as_array().expect("a list").clone()
}

const UNKNOWN: &str = "05-gke-exec-unknown.json";
const LABEL: &str = "06-gke-exec-command-label.json";
const PUT: &str = "39-debug-put-ephemeralcontainers.jsonl";

#[track_caller]
fn check(item: &Value, key: &str, expected: Value) {
    assert_eq!(item[key], expected, "{key} of {item}");
}

#[test]
fn gke_writes_unknown_for_an_upgrade() {
    let portforward = |text: String| {
        text.replace(".attach.", ".portforward.").replace("/attach/", "/portforward/")
    };
    let whole = |text: String| text.replace(r#""first": true"#, r#""first": true, "last": true"#);
    for (items, state) in [
        (sessions(UNKNOWN, |text| text, &[]), "unknown"),
        (sessions(UNKNOWN, portforward, &[]), "unknown"),
        (sessions(UNKNOWN, whole, &[]), "closed"),
    ] {
        assert_eq!(items.len(), 2);
        for item in &items {
            check(item, "state", json!(state));
            check(item, "code", json!(101));
            check(item, "duration", Value::Null);
            check(item, "endTime", Value::Null);
            check(item, "message", Value::Null);
        }
        check(&items[0], "tty", Value::Null);
    }
}

#[test]
fn gke_pairs_of_entries_have_a_duration() {
    let pair = |text: String| {
        let mut entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        entries.truncate(1);
        let mut last = entries[0].clone();
        last["operation"].as_object_mut().expect("an object").remove("first");
        last["operation"]["last"] = json!(true);
        last["timestamp"] = json!("2026-03-01T10:00:31Z");
        entries.push(last);
        json!(entries).to_string()
    };
    let items = sessions(UNKNOWN, pair, &[]);
    assert_eq!(items.len(), 1);
    check(&items[0], "state", json!("closed"));
    check(&items[0], "duration", json!(30.0));
}

#[test]
fn gke_refusals_stay_refusals() {
    let with = |code: &'static str| move |text: String| text.replace("\"code\": 2", code);
    for (code, state, http) in [
        ("\"code\": 7", "denied", 403),
        ("\"code\": 5", "failed", 404),
        ("\"code\": 13", "failed", 500),
    ] {
        let items = sessions(UNKNOWN, with(code), &[]);
        check(&items[0], "state", json!(state));
        check(&items[0], "code", json!(http));
    }
    let other = |text: String| text.replace("pods/web/exec/web", "pods/web").replace(".exec.", ".");
    assert_eq!(
        sessions(UNKNOWN, other, &[]).len(),
        1,
        "UNKNOWN of what is no stream is no session"
    );
}

#[test]
fn gke_puts_the_command_into_a_label() {
    let with = |command: &'static str| move |text: String| text.replace("cat /etc/passwd", command);
    for (label, words) in [
        ("cat /etc/passwd", json!(["cat", "/etc/passwd"])),
        ("sh -c 'cat /etc/passwd'", json!(["sh", "-c", "cat /etc/passwd"])),
        (r#"[\"sh\",\"-c\",\"cat /etc/passwd\"]"#, json!(["sh", "-c", "cat /etc/passwd"])),
        ("sh it's /etc/passwd #all", json!(["sh", "it's", "/etc/passwd", "#all"])),
    ] {
        let items = sessions(LABEL, with(label), &["--command", "passwd"]);
        assert_eq!(items.len(), 1, "{label}");
        check(&items[0], "command", words);
        check(&items[0], "duration", Value::Null);
        check(&items[0], "endTime", Value::Null);
        check(&items[0], "tty", Value::Null);
    }
    let secret = sessions(LABEL, with("mysql -psecret shop"), &[]);
    check(&secret[0], "command", json!(["mysql", "-p***", "shop"]));
}

#[test]
fn debug_containers_of_all_clients() {
    let body = |verb: &'static str, body: Value| {
        move |text: String| {
            let mut event: Value = serde_json::from_str(&text).expect("JSON");
            event["verb"] = json!(verb);
            event["requestObject"] = body.clone();
            event.to_string()
        }
    };
    let new =
        json!({"name":"debugger-abc","image":"busybox","command":["sh"],"stdin":true,"tty":true});
    let old = json!({"name":"debugger-old","image":"busybox","command":["ls"]});
    let all = [
        sessions(PUT, |text| text, &[]),
        sessions(
            PUT,
            body("update", json!({"kind":"EphemeralContainers","ephemeralContainers":[old, new]})),
            &[],
        ),
        sessions(
            PUT,
            body("update", json!({"kind":"Pod","spec":{"ephemeralContainers":[old, new]}})),
            &[],
        ),
        sessions(PUT, body("patch", json!({"spec":{"ephemeralContainers":[new]}})), &[]),
        sessions(
            PUT,
            body("patch", json!([{"op":"add","path":"/spec/ephemeralContainers/-","value":new}])),
            &[],
        ),
        sessions(
            PUT,
            body(
                "patch",
                json!([
                    {"op":"add","path":"/spec/ephemeralContainers","value":[old, new]},
                    {"op":"replace","path":"/spec/ephemeralContainers/0/image","value":"x"},
                ]),
            ),
            &[],
        ),
    ];
    for items in all {
        assert_eq!(items.len(), 1);
        check(&items[0], "type", json!("debug"));
        check(&items[0], "container", json!("debugger-abc"));
        check(&items[0], "command", json!(["sh"]));
        check(&items[0], "stdin", json!(true));
        check(&items[0], "tty", json!(true));
    }
    let odd = sessions(PUT, body("patch", json!([7, {"op":"add","path":"/spec"}])), &[]);
    check(&odd[0], "container", Value::Null);
}

#[test]
fn tables_say_what_nobody_knows() {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["execs", "-q", "--no-headers"])
        .arg(format!("{}/tests/data/wild/{LABEL}", env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches("<none>").count(), 2, "duration and TTY: {text}");
}
