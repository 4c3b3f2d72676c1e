//! What needs the cluster for itself: the API server is restarted. Run after all others.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    cluster::{AUDIT_LOG, NODES, Node, audit, audit_logs, kubectl, program, run},
    nodes::reader,
};

mod hang;
mod hook;
mod load;
mod policy;

/// Restarts the API server of the first node with more flags.
fn restart(flags: &str) {
    NODES[0].restart("", flags);
}

/// Restarts the API servers of all nodes, one after the other, with some of their usual flags missing.
fn restart_all(without: &str, flags: &str) {
    NODES.iter().for_each(|node| node.restart(without, flags));
}

/// Makes many objects whose names begin so, through the API server of this node.
fn load(node: Node, prefix: &str, n: usize) {
    let mut objects = String::new();
    for i in 0..n {
        let _ = writeln!(
            objects,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {prefix}-{i}, namespace: default}}"
        );
    }
    let file = std::env::temp_dir().join(format!("{prefix}.yaml"));
    fs::write(&file, objects).expect("the temporary folder can be written");
    let server = format!("--server={}", node.server());
    kubectl(&["create", &server, "-f", file.to_str().expect("it is text")]).ok();
    fs::remove_file(file).expect("it was there");
}

/// How often each of the objects was created, as events tell.
fn created(events: &str, prefix: &str) -> BTreeMap<String, u32> {
    let mut created = BTreeMap::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).expect("an event is JSON");
        let name = event["objectRef"]["name"].as_str().unwrap_or_default();
        if event["verb"] == "create"
            && event["stage"] == "ResponseComplete"
            && name.starts_with(prefix)
        {
            *created.entry(name.to_owned()).or_default() += 1;
        }
    }
    created
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn nothing_is_lost_or_doubled_through_rotation_and_restart() {
    let flags = "--audit-log-maxsize=1 --audit-log-maxbackup=200";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_millis();
    let prefix = format!("load-{now}");
    restart_all("", flags);
    let out = std::env::temp_dir().join(format!("{prefix}.jsonl"));
    let followed = fs::File::create(&out).expect("the temporary folder can be written");
    let follow = reader()
        .command(&program())
        .args(["events", "-f", "-o", "jsonl", "--since", "1m"])
        .stdin(Stdio::null())
        .stdout(followed)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    for node in NODES {
        load(node, &format!("{prefix}-{}", node.name), 400);
    }
    restart_all("", &format!("{flags} --audit-log-maxage=7"));
    for node in NODES {
        load(node, &format!("{prefix}-{}-again", node.name), 400);
    }
    for node in NODES {
        let folder = fs::read_dir(node.log_path("kubernetes/audit")).expect("the folder is there");
        let rotated = folder.count();
        assert!(rotated > 2, "{}: rotated under the load: {rotated} files", node.name);
    }
    sleep(Duration::from_secs(6));
    run(Command::new("kill").args(["-INT", &follow.id().to_string()])).ok();
    let ended = follow.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "an interrupt is no failure: {told}");

    let live = created(&fs::read_to_string(&out).expect("it was written"), &prefix);
    fs::remove_file(out).expect("it was there");
    let again = audit(&["events", "-o", "jsonl", "--since", "10m"]).ok();
    let read = created(&again, &prefix);
    for (how, found) in [("followed", live), ("read afterwards", read)] {
        assert_eq!(found.len(), 1_600, "{how}: nothing is lost");
        assert!(found.values().all(|n| *n == 1), "{how}: nothing is doubled");
    }
}

/// What `doctor` finds of the first API server, and what it says of the first API server.
fn doctor() -> (Vec<String>, Value) {
    let ended = audit(&["doctor", "-o", "json"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let setup: Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    let findings = setup["findings"].as_array().expect("there are findings").iter();
    let findings = findings.filter(|it| it["node"] == "cp-1");
    let ids = findings.filter_map(|it| it["id"].as_str()).map(str::to_owned);
    (ids.collect(), setup["servers"][0].clone())
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn auditing_is_off_or_half_configured() {
    NODES[0].restart("--audit-log-path --audit-policy-file", "");
    let (off, server) = doctor();
    for id in ["CIS-1.2.16", "CIS-3.2.1"] {
        assert!(off.iter().any(|it| it == id), "{id} of {off:?}");
    }
    assert_eq!(server["policyFile"], Value::Null);

    NODES[0].restart("--audit-policy-file", "--audit-log-maxage=7");
    let (half, server) = doctor();
    assert!(half.iter().any(|it| it == "CIS-3.2.1"), "{half:?}");
    assert!(half.iter().any(|it| it == "CIS-1.2.17"), "{half:?}");
    assert!(!half.iter().any(|it| it == "CIS-1.2.16"), "{half:?}");
    assert_eq!(server["logPath"], AUDIT_LOG);

    let whole = "--audit-log-maxage=30 --audit-log-maxbackup=10 --audit-log-maxsize=100";
    restart_all("", whole);
    let setup = audit(&["doctor", "-o", "json"]);
    assert!(!setup.stdout.contains("CIS-"), "{}", setup.stdout);
}

/// The session goes on over a restart of nothing but the API server, or ends with it: told once.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_session_when_the_api_server_restarts() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_millis();
    let pod = format!("held-{now}");
    let image = "--image=registry.example/tools/debug:1";
    kubectl(&["run", &pod, image, "--", "sh", "-c", "sleep 1000"]).ok();
    kubectl(&["wait", "--for=condition=Ready", "pod", &pod, "--timeout=60s"]).ok();
    let mut held = Command::new("kubectl")
        .args(["exec", &pod, "--", "sleep", "999"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl can be started");
    sleep(Duration::from_secs(2));
    restart("--audit-log-maxage=8");
    kubectl(&["exec", &pod, "--", "true"]).ok();
    sleep(Duration::from_secs(1));
    let list = audit_logs(&["execs", "-n", "default", "-o", "json"]).json();
    let _ = held.kill();
    let _ = held.wait();
    let items = list["items"].as_array().expect("a list has items");
    let mine: Vec<_> = items.iter().filter(|it| it["pod"] == pod.as_str()).collect();
    let shown: Vec<_> = mine.iter().map(|it| (&it["command"], &it["state"])).collect();
    let (long, short) = (serde_json::json!(["sleep", "999"]), serde_json::json!(["true"]));
    let (open, closed) = ("open".into(), "closed".into());
    let is_told = |state: &Value| *shown == [(&long, state), (&short, &closed)];
    assert!(is_told(&open) || is_told(&closed), "{shown:?}");
}
