//! `execs` tells who was inside which container, while it happens and afterwards.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread::{sleep, spawn},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{
    cluster::{NODES, Node, User, audit, kubectl, program, run},
    nodes::{audit_as, reader},
    story::Story,
};

/// Type, protocol, state, container and command of bob's sessions, as the story has them. What the
/// debugger runs is in no log at level Metadata.
fn expected() -> Vec<Value> {
    let box_ = |kind, protocol, command: &[&str]| {
        let container = (kind != "portforward").then_some("box");
        json!([kind, protocol, "closed", container, command])
    };
    vec![
        box_("exec", "websocket", &["cat", "/data/hello.txt"]),
        box_("exec", "spdy", &["id"]),
        box_("cp", "websocket", &["tar", "cf", "-", "/data/hello.txt"]),
        json!(["debug", "http", "closed", null, []]),
        box_("attach", "websocket", &[]),
        box_("portforward", "websocket", &[]),
    ]
}

#[track_caller]
fn check_story(story: &Story, list: &Value) {
    let items = list["items"].as_array().expect("a list has items");
    let mine: Vec<&Value> =
        items.iter().filter(|it| it["user"]["username"] == story.bob.name.as_str()).collect();
    let shown = |it: &&Value| {
        json!([it["type"], it["protocol"], it["state"], it["container"], it["command"]])
    };
    assert_eq!(mine.iter().map(shown).collect::<Vec<_>>(), expected());
    for it in mine {
        assert_eq!((&it["namespace"], &it["pod"]), (&json!(story.namespace), &json!("box")));
        assert_eq!(it["sourceIPs"], json!([NODES[1].address()]));
        assert_eq!(it["tool"]["name"], "kubectl");
        let grant = it["allowedBy"].as_str().expect("a role allowed it");
        assert!(grant.contains("Role \"sessions\""), "{grant}");
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn the_story_from_the_node_and_from_a_copy() {
    let story = Story::told();
    check_story(story, &audit_as(reader(), &["execs", "-o", "json"]).json());
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let to = folder.path().to_str().expect("it is text");
    audit_as(reader(), &["fetch", "-o", to]).ok();
    check_story(story, &audit(&["execs", "-o", "json", to]).json());
}

/// Prints sessions until it is interrupted.
struct Watch {
    child: Child,
    /// When a line came, in microseconds of the Unix epoch, and its session.
    lines: Receiver<(i64, Value)>,
}

impl Watch {
    fn start(mut command: Command) -> Watch {
        let mut child = command
            .args(["execs", "-f", "-q", "-o", "jsonl"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let item = serde_json::from_str(&line).expect("an item is JSON");
                let _ = sender.send((clock(), item));
            }
        });
        Watch { child, lines }
    }

    /// Ends it; gives what it told of the pod.
    fn told(mut self, namespace: &str, pod: &str) -> Vec<(i64, Value)> {
        run(Command::new("kill").args(["-INT", &self.child.id().to_string()])).ok();
        assert!(self.child.wait().expect("it ends").success(), "an interrupt is no failure");
        let is_there = |it: &Value| it["namespace"] == namespace && it["pod"] == pod;
        self.lines.iter().filter(|(_, it)| is_there(it)).collect()
    }
}

fn clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    now.as_micros() as i64
}

/// Holds a session of a hand-written client open for a second.
fn raw(node: Node, token: &str, method: &str, path: &str, headers: &[&str]) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http1.1", "--max-time", "1", "--request", method])
        .args(["--cacert", "/etc/kubernetes/pki/ca.crt"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(headers.iter().flat_map(|it| ["--header", it]))
        .arg(format!("{}{path}", node.server()));
    // It waits for bytes that do not come, until its time is over.
    let ended = run(&mut curl);
    assert!(ended.status.is_some(), "{ended:?}");
}

/// The stage timestamp of an event of the log, in microseconds.
fn stage_time(audit_id: &str, stage: &str) -> i64 {
    let logs = NODES.map(|it| std::fs::read_to_string(it.audit_log()).expect("the log is there"));
    let events = logs.iter().flat_map(|it| it.lines()).filter(|it| it.contains(audit_id));
    let mut events = events.filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let event = events.find(|it| it["stage"] == stage).expect("it is in the log");
    micros(&event["stageTimestamp"])
}

fn micros(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().expect("a time").parse().expect("RFC 3339");
    time.as_microsecond()
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn sessions_appear_as_they_happen() {
    // People and a namespace of its own: the story's requests are counted by other tests.
    let id = clock();
    let (name, bob) = (format!("watched-{id}"), User::new(&format!("watcher-{id}"), &["oncall"]));
    let (namespace, pod, bob) = (name.as_str(), "box", &bob);
    kubectl(&["create", "namespace", namespace]).ok();
    let inside = |args: &[&str]| kubectl(&[&["-n", namespace][..], args].concat()).ok();
    inside(&["create", "serviceaccount", "ci"]);
    inside(&["create", "role", "sessions", "--verb=get,create", "--resource=pods,pods/exec"]);
    inside(&[
        "create",
        "rolebinding",
        "sessions",
        "--role=sessions",
        &format!("--user={}", bob.name),
        &format!("--serviceaccount={namespace}:ci"),
    ]);
    let image = "--image=registry.example/tools/debug:1";
    inside(&["run", pod, image, "--", "sh", "-c", "sleep 1000"]);
    inside(&["wait", "--for=condition=Ready", "pod", pod, "--timeout=60s"]);
    let token = inside(&["create", "token", "ci"]);
    let local = Watch::start({
        let mut command = Command::new("sh");
        // The paths come last, behind the flags that every watch gets.
        let [first, second] = NODES.map(|it| it.audit_log().display().to_string());
        command.args(["-c", &format!("exec {} \"$@\" {first} {second}", program()), "sh"]);
        command
    });
    let node = Watch::start(reader().command(&program()));
    // What was there before is told first.
    sleep(Duration::from_secs(3));
    exec(bob, namespace, pod, "true", "websocket");
    exec(&bob.at(NODES[1]), namespace, pod, "false", "spdy");
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/exec?command=sleep&command=9");
    let path = format!("{path}&stdout=true");
    let spdy = [
        "Connection: Upgrade",
        "Upgrade: SPDY/3.1",
        "X-Stream-Protocol-Version: v4.channel.k8s.io",
    ];
    raw(NODES[0], token.trim(), "POST", &path, &spdy);
    let websocket = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: v4.channel.k8s.io",
    ];
    raw(NODES[1], token.trim(), "GET", &path, &websocket);
    sleep(Duration::from_secs(4));
    let ci = format!("system:serviceaccount:{namespace}:ci");
    let expected = [
        (bob.name.as_str(), "websocket", json!(["sh", "-c", "sleep 1; echo websocket"])),
        (bob.name.as_str(), "spdy", json!(["sh", "-c", "sleep 1; echo spdy"])),
        (&ci, "spdy", json!(["sleep", "9"])),
        (&ci, "websocket", json!(["sleep", "9"])),
    ];
    for (how, watch, most) in [("file", local, 2.0), ("node", node, 2.5)] {
        let told = watch.told(namespace, pod);
        for (user, protocol, command) in &expected {
            let mine: Vec<_> = told
                .iter()
                .filter(|(_, it)| it["user"]["username"] == *user && it["protocol"] == *protocol)
                .collect();
            let [(started, open), (ended, closed)] = mine[..] else {
                panic!("{how}: a start and an end of {user} over {protocol}: {mine:?}");
            };
            assert_eq!((&open["state"], &closed["state"]), (&json!("open"), &json!("closed")));
            assert_eq!((&open["command"], &closed["command"]), (command, command), "{how}");
            assert_eq!(open["auditIDs"], closed["auditIDs"]);
            assert!(open["duration"].is_null() && closed["duration"].as_f64() > Some(0.9));
            let audit_id = open["auditIDs"][0].as_str().expect("an ID is text");
            let late = [
                started - stage_time(audit_id, "ResponseStarted"),
                ended - micros(&closed["endTime"]),
            ];
            let late = late.map(|it| it as f64 / 1e6);
            assert!(late.iter().all(|it| *it < most), "{how}, {user} over {protocol}: {late:?}");
        }
        assert_eq!(told.len(), 2 * expected.len(), "{how}: nothing else");
    }
}

/// A session of kubectl that lasts a second.
fn exec(user: &User, namespace: &str, pod: &str, has_websockets: &str, name: &str) {
    let script = format!("sleep 1; echo {name}");
    let mut kubectl = user.command("kubectl");
    kubectl.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", has_websockets);
    let said = run(kubectl.args(["-n", namespace, "exec", pod, "--", "sh", "-c", &script])).ok();
    assert_eq!(said.trim(), name);
}
