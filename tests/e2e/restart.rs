//! What needs the cluster for itself: the API server is restarted. Run after all others.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    cluster::{AUDIT_LOG, audit, kubectl, run},
    nodes::reader,
};

/// Restarts the API server with more flags.
fn restart(flags: &str) {
    let kit = std::env::var("CONTROL_PLANE").expect("tests/e2e/run sets CONTROL_PLANE");
    let mut start = Command::new(Path::new(&kit).join("lib/start"));
    run(start.args(["cp-1", "1"]).env("AUDIT_ARGS", flags)).ok();
}

/// Makes many objects whose names begin so.
fn load(prefix: &str, n: usize) {
    let mut objects = String::new();
    for i in 0..n {
        let _ = writeln!(
            objects,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {prefix}-{i}, namespace: default}}"
        );
    }
    let file = std::env::temp_dir().join(format!("{prefix}.yaml"));
    fs::write(&file, objects).expect("the temporary folder can be written");
    kubectl(&["create", "-f", file.to_str().expect("it is text")]).ok();
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
    restart(flags);
    let out = std::env::temp_dir().join(format!("{prefix}.jsonl"));
    let followed = fs::File::create(&out).expect("the temporary folder can be written");
    let follow = reader()
        .command(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["events", "-f", "-o", "jsonl", "--since", "1m"])
        .stdin(Stdio::null())
        .stdout(followed)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    load(&prefix, 400);
    restart(&format!("{flags} --audit-log-maxage=7"));
    load(&format!("{prefix}-again"), 400);
    let rotated = fs::read_dir(Path::new(AUDIT_LOG).parent().expect("it is in a folder"))
        .expect("the folder is there")
        .count();
    assert!(rotated > 2, "the log was rotated under the load: {rotated} files");
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
        assert_eq!(found.len(), 800, "{how}: nothing is lost");
        assert!(found.values().all(|n| *n == 1), "{how}: nothing is doubled");
    }
}
