//! The whole fold, against a recording of what was typed, and by hand-made stages.

use std::{collections::BTreeSet, io::Read};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decode::Reader;

/// Lines of one log through `n_parts` instances in turn, merged at the end.
fn fold(question: &Question, lines: &[(&str, String)], n_parts: usize) -> ExecSessionList {
    let mut projection = Projection::default();
    let fresh = ExecSessions::new(question.clone(), &mut projection);
    let reader = Reader::new(&projection);
    let mut parts = vec![fresh; n_parts];
    for (at, (log, line)) in lines.iter().enumerate() {
        let mut found = Vec::new();
        let head = reader.read(line.as_bytes(), &mut found).expect("an event");
        parts[at % n_parts].observe(&Record::new(log, line.as_bytes(), head, &projection, &found));
    }
    let mut whole = parts.pop().expect("a part");
    parts.into_iter().for_each(|it| whole.merge(it));
    whole.finish()
}

fn recorded() -> (Vec<(&'static str, String)>, Value) {
    let path = |name: &str| format!("{}/tests/data/execs/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let file = std::fs::File::open(path("audit.log.gz")).expect("a recording");
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).expect("text");
    let expected = std::fs::read(path("expected.json")).expect("the truth");
    let lines = text.lines().map(|it| ("cp-1", it.to_owned())).collect();
    (lines, serde_json::from_slice(&expected).expect("JSON"))
}

fn secrets() -> Question {
    Question { shows_secrets: true, ..Question::default() }
}

/// What somebody typed, and what stands in the log of it.
#[test]
fn recorded_sessions_are_what_was_typed() {
    let (lines, truth) = recorded();
    let report = fold(&secrets(), &lines, 3);
    let items: Vec<Value> =
        report.items.iter().map(|it| serde_json::to_value(it).expect("JSON")).collect();
    let mut typed = BTreeSet::new();
    let (mut n_compared, mut n_reads) = (0, 0);
    for record in truth["records"].as_array().expect("a list") {
        let texts = |it: &Value| -> Vec<String> { serde_json::from_value(it.clone()).unwrap() };
        typed.extend(texts(&record["auditIDs"]));
        typed.extend(texts(&record["windowAuditIDs"]));
        for connect in record["connects"].as_array().expect("a list") {
            let has = |it: &&Value| {
                texts(&it["auditIDs"]).contains(&connect["auditID"].as_str().unwrap().to_owned())
            };
            let (what, uri) = (&record["cmd"], connect["requestURI"].as_str().unwrap());
            let Some(item) = items.iter().find(has) else {
                assert!(READS.iter().any(|it| uri.contains(it)), "{what} is missing: {uri}");
                n_reads += 1;
                continue;
            };
            n_compared += 1;
            let code = connect["code"].as_i64().unwrap();
            assert_eq!(item["code"], code, "{what}");
            let user = match record["user"].as_str().unwrap() {
                "erin" => "erin@example.com",
                "ci" => "ci-deployer",
                "admin" => "kubernetes-admin",
                it => it,
            };
            assert_eq!(item["user"]["username"], user, "{what}");
            let acts_as = &item["impersonatedUser"]["username"];
            assert_eq!(
                acts_as.as_str(),
                (record["kind"] == "exec-as").then_some("alice"),
                "{what}"
            );
            let state = match code {
                401 | 403 => "denied",
                400.. => "failed",
                _ => "closed",
            };
            assert_eq!(item["state"], state, "{what}");
            // Of the kubelet's doors, the path tells the place, and `cmd` the command of `run`.
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let node: Vec<&str> = path.split('/').skip_while(|it| *it != "proxy").collect();
            let (mut command, mut container) =
                (texts_or_none(&connect["command"]), connect["container"].clone());
            if let (true, [_, action, _, _, name]) = (uri.contains("/nodes/"), node.as_slice()) {
                container = (*name).into();
                if *action == "run" {
                    command = vec![query.replace("cmd=", "")];
                }
            }
            assert_eq!(texts_or_none(&item["command"]), command, "{what}");
            assert_eq!(item["container"], container, "{what}");
            let flag = |it: &Value| it.as_bool().unwrap_or_default();
            assert_eq!(flag(&item["tty"]), flag(&connect["tty"]), "{what}");
            assert_eq!(flag(&item["stdin"]), flag(&connect["stdin"]), "{what}");
            let is_place = |name: &str, part: &Value| {
                part.as_str().is_none_or(|it| it == name || name.split(':').any(|part| part == it))
            };
            let name = uri.split('/').skip_while(|it| *it != "pods").nth(1).unwrap_or("shop");
            assert!(is_place(name, &item["pod"]), "{what}: {}", item["pod"]);
            if record["pod"].is_string() {
                assert_eq!(item["pod"], record["pod"], "{what}");
            }
            if item["auditIDs"].as_array().is_some_and(|it| it.len() == 1) {
                assert_eq!(item["startTime"], connect["start"], "{what}");
                assert_eq!(item["endTime"], connect["last"], "{what}");
            }
            if code == 101 {
                let transport = if connect["verb"] == "get" { "websocket" } else { "spdy" };
                assert_eq!(item["protocol"], transport, "{what}");
            }
        }
        if let Some(argv) = record["argv"].as_array() {
            let ids = texts(&record["auditIDs"]);
            let mine = items.iter().filter(|it| {
                it["type"] == "exec" && texts(&it["auditIDs"]).iter().any(|it| ids.contains(it))
            });
            mine.for_each(|it| {
                assert_eq!(it["command"].as_array(), Some(argv), "{}", record["cmd"])
            });
        }
    }
    assert_eq!((n_compared, n_reads), (58, 7));
    // Typed inside a session, by a pod that runs kubectl itself: its own session holds the words.
    let nested = truth["records"].as_array().unwrap().iter().find(|it| it["kind"] == "exec-nested");
    let (nested, words) = (nested.unwrap(), texts_or_none(&nested.unwrap()["argv"]));
    let is_known = |it: &Value| typed.contains(it["auditIDs"][0].as_str().unwrap());
    let more: Vec<&Value> = items.iter().filter(|it| !is_known(it)).collect();
    let [it] = more[..] else { panic!("nobody typed one of {more:?}") };
    assert_eq!(it["user"]["username"], "system:serviceaccount:team-a:builder");
    assert_eq!((it["pod"].as_str(), &*words[4]), (Some("box"), "box"));
    assert_eq!(texts_or_none(&it["command"]), words[6..]);
    let time = |it: &Value| it.as_str().unwrap().to_owned();
    assert!(time(&nested["start"]) < time(&it["startTime"]));
    assert!(time(&it["endTime"]) < time(&nested["end"]));
}

/// Reads, and no way in: logs of a container by its own subresource and of nodes, a kubelet's list.
const READS: [&str; 3] = ["/log?", "/proxy/pods", "/proxy/logs/"];

fn texts_or_none(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// Nothing in the recorded commands is a secret.
#[test]
fn recorded_commands_are_shown_as_they_are() {
    let (lines, _) = recorded();
    let shown = fold(&secrets(), &lines, 1);
    assert_eq!(fold(&Question::default(), &lines, 1).items, shown.items);
}

/// What a hostile client may send comes back as it was typed, and is shown in one line.
#[test]
fn odd_commands() {
    let check = |query: &str, expected: &[&str]| {
        let line = event("1", "u", "get", COMPLETE, 101, 1.0, 2.0)
            .replace("command=id&container=c&stdout=true", query);
        let list = fold(&secrets(), &[("l", line)], 1);
        assert_eq!(list.items[0].command, expected, "{query}");
        let shown = on_terminal(&list, 200);
        assert!(shown.lines().count() == 2 && !shown.contains('\u{1b}'), "{shown}");
        list.items[0].clone()
    };
    let long = "a+b%0A".repeat(1365) + "%zz"; // 8 KiB, and no sound escape at its end
    check(&format!("command={long}&command=x"), &["x"]);
    let long = long.trim_end_matches("%zz");
    check(&format!("command={long}"), &["a b\n".repeat(1365).as_str()]);
    check(
        "command=a%0Ab&command=%1B%5B2J%00&command=%E2%80%AE",
        &["a\nb", "\u{1b}[2J\0", "\u{202e}"],
    );
    check("command=%ff%fe", &["\u{fffd}\u{fffd}"]);
    check("command=%&command=%4&command=%g1&command=ok%25", &["ok%"]);
    check("command=1%2B1&command=1+1&command=%2520", &["1+1", "1 1", "%20"]);
    check("command=a;b&command=c", &["c"]);
    check("&&=&command&&command=", &["", ""]);
    check("COMMAND=a&commands=b", &[]);
    let item =
        check("command=a&container=x&container=y&tty=false&tty=true&stdin=1&stdin=0", &["a"]);
    let seen = (item.container.as_deref(), item.tty, item.stdin, item.stdout);
    assert_eq!(seen, (Some("x"), Some(false), Some(true), Some(false)));
}

/// Nothing to enter, whatever it is called; and no URI at all.
#[test]
fn no_sessions() {
    let line = event("1", "u", "get", COMPLETE, 200, 1.0, 2.0);
    for (from, to) in [
        (r#""subresource":"exec""#, r#""subresource":"execute""#),
        (r#""subresource":"exec""#, r#""subresource":"log""#),
        (r#""resource":"pods""#, r#""resource":"deployments""#),
        (r#""resource":"pods""#, r#""resource":"pods","apiGroup":"metrics.k8s.io""#),
        (r#""resource":"pods""#, r#""resource":"nodes""#),
    ] {
        let changed = line.replace(from, to);
        assert_ne!(changed, line);
        assert_eq!(fold(&secrets(), &[("l", changed)], 1).items.len(), 0, "{to}");
    }
    for uri in ["", "?", "%", "\u{1f980}", "//", "http://h/x?command=a", "exec?"] {
        let mut odd: Value = serde_json::from_str(&line).unwrap();
        odd["requestURI"] = uri.into();
        let items = fold(&secrets(), &[("l", odd.to_string())], 1).items;
        assert_eq!((items.len(), items[0].pod.as_deref()), (1, Some("p")), "{uri}");
    }
}

/// The server that had the session died, and the one after it knows nothing of it.
#[test]
fn a_restart_in_mid_session() {
    let lines = [
        ("l", event("1", "u", "get", STARTED, 101, 1.0, 1.5)),
        ("l", event("2", "u", "get", STARTED, 101, 8.0, 8.5)),
        ("l", event("2", "u", "get", COMPLETE, 101, 8.0, 9.0)),
    ];
    check(&lines, "1 open 101 - l; 2 closed 101 1 l");
}

/// Times are seconds of one minute.
pub(super) fn event(
    id: &str,
    user: &str,
    verb: &str,
    stage: &str,
    code: i64,
    received: f64,
    time: f64,
) -> String {
    let at = |it: f64| format!("2026-01-02T03:04:{it:09.6}Z");
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id, "stage": stage,
        "requestURI": "/api/v1/namespaces/a/pods/p/exec?command=id&container=c&stdout=true", "verb": verb,
        "user": {"username": user}, "sourceIPs": ["10.0.0.7"],
        "objectRef": {"resource": "pods", "namespace": "a", "name": "p", "apiVersion": "v1", "subresource": "exec"},
        "requestReceivedTimestamp": at(received), "stageTimestamp": at(time),
    });
    if code > 0 {
        event["responseStatus"] = json!({"metadata": {}, "code": code});
    }
    event.to_string()
}

fn shown(question: &Question, lines: &[(&str, String)]) -> String {
    let sessions = fold(question, lines, 1).items.into_iter().map(|it| {
        let duration = it.duration.map_or("-".to_owned(), |it| it.to_string());
        let code = it.code.unwrap_or_default();
        format!("{} {} {code} {duration} {}", it.audit_ids.join("+"), it.state.as_str(), &*it.log)
    });
    sessions.collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(lines: &[(&str, String)], expected: &str) {
    assert_eq!(shown(&Question::default(), lines), expected);
}

pub(super) const RECEIVED: &str = "RequestReceived";
pub(super) const STARTED: &str = "ResponseStarted";
pub(super) const COMPLETE: &str = "ResponseComplete";

#[test]
fn stages() {
    let all = [
        ("l", event("1", "u", "get", RECEIVED, 0, 1.0, 1.0)),
        ("l", event("1", "u", "get", STARTED, 101, 1.0, 1.5)),
        ("l", event("1", "u", "get", COMPLETE, 101, 1.0, 21.1)),
    ];
    check(&all, "1 closed 101 20.1 l");
    check(&all[..2], "1 open 101 - l");
    check(&all[..1], "1 unknown 0 - l");
    check(&all[2..], "1 closed 101 20.1 l");
    check(&[("l", event("1", "u", "get", "Panic", 500, 1.0, 2.0))], "1 failed 500 1 l");
    check(&[("l", event("1", "", "get", STARTED, 401, 1.0, 2.0))], "1 denied 401 1 l");
}

/// Times as the API server recorded them when the kubelet answered 400, and of the command `id`.
#[test]
fn upgrades_that_the_kubelet_refused() {
    let pair = |uri: &str, received: f64, started: f64, end: f64| {
        let with_uri = |line: String| {
            let mut event: Value = serde_json::from_str(&line).expect("JSON");
            event["requestURI"] = uri.into();
            if uri.contains("/nodes/") {
                event["objectRef"] = json!({"resource": "nodes", "name": "n", "apiVersion": "v1", "subresource": "proxy"});
            }
            event.to_string()
        };
        [
            ("l", with_uri(event("1", "u", "create", STARTED, 101, received, started))),
            ("l", with_uri(event("1", "u", "create", COMPLETE, 101, received, end))),
        ]
    };
    let state = |lines: &[(&str, String)]| {
        let list = fold(&Question::default(), lines, 1);
        list.items.iter().map(|item| item.state.as_str()).collect::<Vec<_>>().join(" ")
    };
    let pod = "/api/v1/namespaces/a/pods/p/exec?command=id";
    let node = "/api/v1/nodes/n/proxy/exec/a/p/c?command=id&output=1";
    let refused = pair(pod, 1.0, 1.004_138, 1.004_387);
    assert_eq!(state(&refused), "failed");
    assert_eq!(state(&refused[1..]), "failed", "the query alone tells");
    assert_eq!(state(&pair(node, 1.0, 1.003_586, 1.003_803)), "unknown");
    let with_output = format!("{pod}&stdout=1");
    assert_eq!(state(&pair(&with_output, 1.0, 1.003_586, 1.003_803)), "unknown");
    assert_eq!(state(&pair(&with_output, 1.0, 1.005_592, 1.034_402)), "closed");
    assert_eq!(state(&pair(pod, 1.0, 1.5, 9.0)), "closed");
}

#[test]
fn rotated_files_of_unknown_logs() {
    let halves = [
        ("b", event("1", "u", "get", COMPLETE, 101, 1.0, 3.0)),
        ("a", event("1", "u", "get", STARTED, 101, 1.0, 1.5)),
    ];
    check(&halves, "1 closed 101 2 a");
}

#[test]
fn fallback_is_one_attempt() {
    let pair = |user, start| {
        [
            ("l", event("1", "u", "get", COMPLETE, 400, 1.0, 1.5)),
            ("l", event("2", user, "create", COMPLETE, 101, start, 9.0)),
        ]
    };
    check(&pair("u", 3.5), "1+2 closed 101 8 l");
    check(&pair("u", 3.6), "1 failed 400 0.5 l; 2 closed 101 5.4 l");
    check(&pair("v", 2.0), "1 failed 400 0.5 l; 2 closed 101 7 l");
}

#[test]
fn allowed_get_beside_refused_create() {
    let both = [
        ("l", event("1", "u", "create", COMPLETE, 403, 1.0, 1.1)),
        ("l", event("2", "u", "get", COMPLETE, 101, 1.2, 2.2)),
    ];
    check(&both, "1 denied 403 0.1 l; 2 closed 101 1 l");
}

#[test]
fn one_audit_id() {
    let two_users = [
        ("l", event("1", "u", "get", COMPLETE, 101, 1.0, 2.0)),
        ("l", event("1", "v", "get", COMPLETE, 101, 1.0, 3.0)),
    ];
    assert_eq!(fold(&Question::default(), &two_users, 1).items.len(), 2);
    let forged = [
        ("cp-1", event("1", "u", "get", COMPLETE, 101, 1.0, 5.0)),
        ("cp-2", event("1", "u", "get", COMPLETE, 101, 1.1, 4.9)),
    ];
    check(&forged, "1 closed 101 4 cp-1; 1 closed 101 3.8 cp-2");
    let again = [
        ("l", event("1", "u", "get", COMPLETE, 101, 1.0, 5.0)),
        ("l", event("1", "u", "get", COMPLETE, 101, 1.1, 4.9)),
    ];
    assert_eq!(fold(&Question::default(), &again, 1).items.len(), 2);
}

#[test]
fn window_by_overlap() {
    let at = |it: f64| Timestamp::parse(format!("2026-01-02T03:04:{it:09.6}Z").as_bytes());
    let within = |since, until| Question {
        window: Window { since: at(since), until: at(until) },
        ..Question::default()
    };
    let lines = [("l", event("1", "u", "get", COMPLETE, 101, 10.0, 20.0))];
    for (since, until, n) in
        [(12.0, 15.0, 1), (1.0, 10.0, 1), (20.0, 30.0, 1), (1.0, 9.0, 0), (21.0, 30.0, 0)]
    {
        assert_eq!(fold(&within(since, until), &lines, 1).items.len(), n, "{since} {until}");
    }
    let open = [("l", event("1", "u", "get", STARTED, 101, 10.0, 10.1))];
    assert_eq!(fold(&within(40.0, 50.0), &open, 1).items.len(), 1);
}

#[test]
fn questions() {
    let (lines, _) = recorded();
    let n = |question: Question| fold(&question, &lines, 1).items.len();
    let all = n(Question::default());
    assert_eq!(n(Question { types: vec![Type::Cp], ..Question::default() }), 4);
    assert!(n(Question { states: vec![State::Denied], ..Question::default() }) < all);
    assert_eq!(n(Question { longer_than: Some(55_000_000), ..Question::default() }), 2);
    assert!(n(Question { is_interactive: true, ..Question::default() }) > 4);
    assert_eq!(
        n(Question { command: Regex::new("^sleep|exit 42").ok(), ..Question::default() }),
        2
    );
}

/// A request for an exec that names no container, and what a pod was created with.
#[test]
fn a_container_that_nobody_named() {
    let exec =
        |code| event("1", "u", "get", COMPLETE, code, 10.0, 20.0).replace("&container=c", "");
    let pod = |field: &str, name: &str, time: f64| {
        let mut it: Value =
            serde_json::from_str(&event("2", "u", "create", COMPLETE, 201, time, time)).unwrap();
        it["level"] = "Request".into();
        it["objectRef"]["subresource"] = Value::Null;
        it["requestURI"] = "/api/v1/namespaces/a/pods".into();
        it[field] = json!({"kind": "Pod", "spec": {"containers": [{"name": name}]}});
        it.to_string()
    };
    let check = |lines: &[String], expected: Option<&str>| {
        let lines: Vec<_> = lines.iter().map(|it| ("l", it.clone())).collect();
        for n_parts in [1, lines.len()] {
            let items = fold(&Question::default(), &lines, n_parts).items;
            let container =
                items.iter().find(|it| it.kind == "exec").map(|it| it.container.clone());
            assert_eq!(container, Some(expected.map(str::to_owned)), "{lines:?}");
        }
    };
    check(&[exec(101)], None);
    check(&[pod("requestObject", "asked", 5.0), exec(101)], Some("asked"));
    check(&[exec(101), pod("responseObject", "made", 5.0)], Some("made"));
    // Another pod of the name, before and after: the one that was there counts.
    let others = [pod("requestObject", "old", 1.0), pod("requestObject", "later", 15.0)];
    check(&[others[0].clone(), others[1].clone(), exec(101)], Some("old"));
    check(&[others[1].clone(), exec(101)], None);
    // Who was refused got nowhere.
    check(&[others[0].clone(), exec(403)], None);
}

/// Field by field as kubechronicle's audit processor fills it in.
#[test]
fn changeevent() {
    let shown = |line: String| {
        let report = fold(&Question::default(), &[("l", line)], 1);
        serde_json::to_value(change_event::ChangeEvent::from(&report.items[0])).unwrap()
    };
    let line = event("1", "u", "get", COMPLETE, 101, 1.0, 2.0);
    let mut expected = json!({
        "id": "EXEC-pods-p-u-1767323041000000000", "timestamp": "2026-01-02T03:04:01.000000Z",
        "operation": "EXEC", "resource_kind": "pods", "namespace": "a", "name": "p",
        "actor": {"username": "u", "groups": [], "source_ip": "10.0.0.7"},
        "source": {"tool": "unknown"}, "allowed": true,
        "exec_metadata": {"command": ["id"], "container": "c", "stdin": false, "tty": false, "target_type": "pod"},
    });
    assert_eq!(shown(line.clone()), expected);
    let kubectl = line.replace(r#""verb""#, r#""userAgent":"kubectl/v1.36.2 (linux)","verb""#);
    expected["source"]["tool"] = "kubectl".into();
    assert_eq!(shown(kubectl.clone()), expected);

    // Who authenticated, with groups; whom they acted as is not read.
    let robot = "system:serviceaccount:a:ci";
    let groups =
        format!(r#"{{"username":"{robot}","groups":["g"]}},"impersonatedUser":{{"username":"v"}}"#);
    let robots = shown(kubectl.replace(r#"{"username":"u"}"#, &groups));
    let actor = json!({"username": robot, "groups": ["g"], "service_account": robot, "source_ip": "10.0.0.7"});
    assert_eq!((&robots["actor"], &robots["source"]["tool"]), (&actor, &"controller".into()));
    let system = shown(event("1", "system:node:n", "get", COMPLETE, 101, 1.0, 2.0));
    assert_eq!(system["source"]["tool"], "system");

    // An attempt that was refused is one.
    let refused = shown(line.replace(r#""code":101"#, r#""code":403,"reason":"Forbidden""#));
    assert_eq!(refused["allowed"], false);
    assert_eq!(refused["exec_metadata"]["code"], 403);
    assert_eq!(refused["exec_metadata"]["reason"], "Forbidden");

    // Through the kubelet.
    let node = line
        .replace("/api/v1/namespaces/a/pods/p/exec", "/api/v1/nodes/n/proxy/exec/a/p/c")
        .replace(r#""namespace":"a","name":"p""#, r#""name":"n""#)
        .replace(r#""resource":"pods""#, r#""resource":"nodes""#)
        .replace(r#""subresource":"exec""#, r#""subresource":"proxy""#);
    let node = shown(node);
    let names = json!([node["id"], node["resource_kind"], node["namespace"], node["name"]]);
    assert_eq!(names, json!(["EXEC-Node-n-u-1767323041000000000", "Node", "", "n"]));
    let metadata = json!({"command": ["id"], "container": "c", "stdin": false, "tty": false, "target_type": "node", "node_name": "n"});
    assert_eq!(node["exec_metadata"], metadata);
}

/// The table as a terminal of so many columns shows it.
fn on_terminal(list: &ExecSessionList, width: usize) -> String {
    let look = crate::output::Look { width: Some(width), ..crate::output::Look::default() };
    let mut out = Vec::new();
    let format = crate::output::Format::Table;
    crate::output::write(list, None::<&()>, format, &look, &mut out)
        .expect("memory can be written");
    String::from_utf8(out).expect("text")
}

#[test]
fn no_row_is_wrapped() {
    use unicode_width::UnicodeWidthStr;
    let (lines, _) = recorded();
    let mut report = fold(&Question::default(), &lines, 1);
    // As long as a pod of a deployment is usually called.
    report.items[1].pod = Some("web-7d4b9c6f5-x2x9z".to_owned());
    for (width, header) in [
        (79, "START LASTED USER POD WHAT"),
        (80, "START LASTED USER POD WHAT"),
        (200, "START DURATION USER TYPE POD CONTAINER TTY STATE COMMAND"),
    ] {
        let shown = on_terminal(&report, width);
        let first: Vec<&str> =
            shown.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(first.join(" "), header);
        let widest = shown.lines().map(UnicodeWidthStr::width).max();
        assert!(widest.is_some_and(|it| it <= width && it > width / 2), "{widest:?}: {shown}");
    }
    let shown = on_terminal(&report, 100);
    for part in
        ["…:team-a:builder", "denied", "portforward", "exec -it sh", "cp tar", "node-run id", "…"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn bursts_are_folded_in_tables_only() {
    use crate::report::Report;
    let lines: Vec<_> = (0..40)
        .map(|it| {
            let at = f64::from(it);
            ("l", event(&it.to_string(), "u", "get", COMPLETE, 101, at, at + 0.5))
        })
        .collect();
    let report = fold(&Question::default(), &lines, 1);
    assert_eq!(report.items.len(), 40);
    let rows = report.tables().remove(0).rows;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][3], "exec ×40".into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any order, any split: the same report.
    #[test]
    fn law(
        events in prop::collection::vec((0..3_u8, 0..2_u8, 0..2_u8, 0..3_u8, 0..4_usize, 0..6_u8, 0..4_u8, 0..2_u8), 0..20),
        n_parts in 1..4_usize,
        seed in any::<u64>(),
    ) {
        let lines: Vec<(&str, String)> = events.into_iter().map(|(id, user, verb, stage, code, start, more, log)| {
            let stage = [RECEIVED, STARTED, COMPLETE][usize::from(stage)];
            let (verb, user) = (["get", "create"][usize::from(verb)], ["u", "v"][usize::from(user)]);
            let code = [0, 101, 403, 500][code];
            let (start, end) = (f64::from(start), f64::from(start + more));
            (["a", "b"][usize::from(log)], event(&id.to_string(), user, verb, stage, code, start, end))
        }).collect();
        let mut shuffled = lines.clone();
        let mut state = seed;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, (state >> 33) as usize % (at + 1));
        }
        let question = Question::default();
        prop_assert_eq!(fold(&question, &lines, 1).items, fold(&question, &shuffled, n_parts).items);
    }
}

/// Upgrades and kubelet paths as a real API server (1.36.3) recorded them; what the client got is in
/// the names: see the README of the recordings.
#[test]
fn recorded_upgrades() {
    let path = format!("{}/tests/data/execs/upgrades.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a recording");
    let lines: Vec<_> = text.lines().map(|line| ("cp-1", line.to_owned())).collect();
    let list = fold(&Question::default(), &lines, 2);
    let state = |id: &str| {
        let item = list.items.iter().find(|item| *item.audit_ids[0] == *id);
        item.map_or("none", |item| item.state.as_str())
    };
    // The client got 400 for each of these.
    for id in ["p-nostream", "p-false", "w-nostream"] {
        assert_eq!(state(id), "failed", "{id}");
    }
    for id in
        ["n-nostream", "n-ok", "n-nopod", "n-dots", "n-raw", "n-up", "n-slash", "wn-ok", "n-body"]
    {
        assert_eq!(state(id), "unknown", "{id}");
    }
    // These went through.
    for id in ["n-run", "n-run2", "p-ok", "w-ok", "n-pf"] {
        assert_eq!(state(id), "closed", "{id}");
    }
    assert_eq!(state("n-runbody"), "failed");
    let places = list.items.iter().filter(|item| item.node.is_some());
    assert!(places.clone().count() >= 14, "every path behind nodes/proxy is seen");
    for item in places.filter(|item| item.audit_ids[0].as_ref() != "n-nopod") {
        assert_eq!(item.pod.as_deref(), Some("web"), "{:?}", item.audit_ids);
    }
}
