//! Discovery and reading, against a server that answers as a real one was recorded to.

use std::{collections::BTreeMap, io::Write, ops::Range};

use super::*;
use crate::{
    cluster::fake::{File, Server, State},
    event::Timestamp,
    source::Opened,
};

pub(super) const FOLDER: &str = "cp-1/kubernetes/audit/";

/// A line of the log: a second each, 200 bytes.
fn line(n: u64) -> String {
    let time = jiff::Timestamp::from_second(1_800_000_000 + n as i64).unwrap();
    let line = format!(
        r#"{{"level":"Metadata","auditID":"{n}","stage":"Panic","requestURI":"/","verb":"get","user":{{}},"stageTimestamp":"{time}","annotations":{{"a":""#
    );
    format!("{line}{}\"}}}}\n", "x".repeat(200 - 4 - line.len()))
}

/// The time of a line.
pub(super) fn second(n: i64) -> Timestamp {
    Timestamp((1_800_000_000 + n) * 1_000_000)
}

fn time(line: &[u8]) -> Option<jiff::Timestamp> {
    crate::source::time_seek::time_of(line)?.to_jiff()
}

pub(super) fn lines(range: Range<u64>) -> Vec<u8> {
    range.map(line).collect::<String>().into_bytes()
}

pub(super) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A cluster with an API server on each of these nodes, with these flags.
pub(super) fn server(nodes: &[&str], flags: &str) -> Server {
    let mut state = State::default();
    let items = |item: &dyn Fn(&str) -> String| {
        let items: Vec<String> = nodes.iter().map(|it| item(it)).collect();
        format!(r#"{{"metadata":{{}},"items":[{}]}}"#, items.join(","))
    };
    let node = |name: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}","labels":{{"node-role.kubernetes.io/control-plane":""}}}}}}"#
        )
    };
    let pod = |name: &str| {
        format!(
            r#"{{"metadata":{{"name":"kube-apiserver-{name}"}},"spec":{{"nodeName":"{name}","containers":[{{"name":"kube-apiserver","command":["kube-apiserver","--etcd-servers=x"{flags}]}}]}}}}"#
        )
    };
    let none = r#"{"metadata":{},"items":[]}"#.to_owned();
    state.answers.insert("/api/v1/nodes".into(), (200, items(&node)));
    state.answers.insert("/api/v1/namespaces/kube-system/pods".into(), (200, items(&pod)));
    state.answers.insert("/api/v1/namespaces/openshift-kube-apiserver/pods".into(), (200, none));
    Server::start(state)
}

pub(super) const PATH: &str = r#","--audit-log-path","/var/log/kubernetes/audit/audit.log""#;

pub(super) fn put(server: &Server, name: &str, content: Vec<u8>) {
    server.state.lock().unwrap().files.insert(format!("{FOLDER}{name}"), File::Text(content));
}

pub(super) fn found(server: &Server, query: &NodeQuery) -> Found {
    find(&server.cluster(), query).unwrap()
}

/// Everything that is read of the first log.
pub(super) fn text(found: &Found) -> Vec<u8> {
    let mut text = Vec::new();
    for input in &found.logs[0].inputs {
        if matches!(&input.place, Place::Node(file) if file.is_outside()) {
            continue;
        }
        match input.open().unwrap() {
            Opened::Stream(mut bytes) => drop(bytes.read_to_end(&mut text).unwrap()),
            _ => panic!("a node's file is a stream"),
        }
    }
    text
}

use std::io::Read as _;

/// What a failure reads like, with its hint.
fn failure(server: &Server, query: &NodeQuery) -> String {
    let err = match find(&server.cluster(), query) {
        Err(err) => SourceError::Node(err),
        Ok(mut found) => found.failed.remove(0),
    };
    format!("{err} | {}", err.hint())
}

#[test]
fn rotated_files_oldest_first() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(200..300));
    put(&server, "audit-2027-01-15T10-03-20.000.log", lines(100..200));
    put(&server, "audit-2027-01-15T10-01-40.000.log.gz", gzip(&lines(0..100)));
    put(&server, "other.log", lines(0..3));
    let found = found(&server, &NodeQuery::default());
    assert!(text(&found) == lines(0..300), "all lines, once, in order");
    assert_eq!(found.logs[0].name, "cp-1");
    let agents = server.state.lock().unwrap();
    let is_ours = |it: &String| it.contains("kubectl-audit/");
    assert!(agents.requests.iter().all(is_ours), "{:?}", agents.requests);
}

#[test]
fn known_places() {
    let server = server(&["cp-1"], "");
    let add = |path: &str, n: u64| {
        let text = File::Text(lines(n..n + 1));
        server.state.lock().unwrap().files.insert(format!("cp-1/{path}"), text);
    };
    add("kube-apiserver/audit.log", 1);
    add("oauth-server/audit.log", 2);
    add("syslog", 3);
    let found = found(&server, &NodeQuery::default());
    let names: Vec<_> = found.logs.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["cp-1/kube-apiserver", "cp-1/oauth-server"]);
    assert!(text(&found) == lines(1..2));
}

#[test]
fn a_line_that_is_being_written_is_read_whole() {
    let server = server(&["cp-1"], PATH);
    let mut cut = lines(0..10);
    cut.truncate(cut.len() - 50);
    put(&server, "audit.log", cut);
    let found = found(&server, &NodeQuery::default());
    put(&server, "audit.log", lines(0..20));
    assert!(text(&found) == lines(0..10), "to the end of that line, and no further");
}

#[track_caller]
fn check_cut(then: fn(&mut BTreeMap<String, File>)) {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..1_000));
    let found = found(&server, &NodeQuery::default());
    server.state.lock().unwrap().cut = Some((33_333, then));
    assert!(text(&found) == lines(0..1_000), "everything, once");
    assert!(server.state.lock().unwrap().cut.is_none(), "the connection was cut");
}

/// The live file gets a name with a time, and a new one begins.
fn rotate(files: &mut BTreeMap<String, File>) {
    let old = files.remove(&format!("{FOLDER}audit.log")).unwrap();
    files.insert(format!("{FOLDER}audit-2027-01-15T10-03-20.000.log"), old);
    files.insert(format!("{FOLDER}audit.log"), File::Text(lines(1_000..3_000)));
}

#[test]
fn a_broken_connection_resumes() {
    check_cut(|_| {});
}

#[test]
fn rotation_while_reading() {
    check_cut(rotate);
}

#[test]
fn rotation_and_compression_while_reading() {
    check_cut(|files| {
        rotate(files);
        let name = format!("{FOLDER}audit-2027-01-15T10-03-20.000.log");
        let Some(File::Text(text)) = files.remove(&name) else { panic!("it was there") };
        files.insert(format!("{name}.gz"), File::Text(gzip(&text)));
    });
}

#[test]
fn a_file_that_is_gone_is_told() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..1_000));
    let found = found(&server, &NodeQuery::default());
    put(&server, "audit.log", lines(5_000..5_010));
    let Err(err) = found.logs[0].inputs[0].open() else { panic!("it is another file") };
    assert_eq!(
        err.to_string(),
        "`/var/log/kubernetes/audit/audit.log` of node `cp-1` was rotated away while it was read"
    );
}

/// 10 GiB with a line a second.
const HUGE: u64 = (10 << 30) / 200;

fn huge(range: Range<u64>) -> Vec<u8> {
    let (first, last) = (range.start / 200, range.end.div_ceil(200));
    let skipped = (range.start - first * 200) as usize;
    lines(first..last)[skipped..skipped + (range.end - range.start) as usize].to_vec()
}

#[test]
fn the_last_hours_of_a_huge_log_cost_little() {
    let server = server(&["cp-1"], PATH);
    let file = File::Made { size: HUGE * 200, bytes: huge };
    server.state.lock().unwrap().files.insert(format!("{FOLDER}audit.log"), file);
    put(&server, "audit-2027-01-15T08-00-00.000.log", lines(0..10));
    let wanted = 4 * 3_600;
    let since = second((HUGE - wanted) as i64);
    let query =
        NodeQuery { window: Window { since: Some(since), until: None }, ..NodeQuery::default() };
    let found = found(&server, &query);
    let text = text(&found);
    let needed = lines(HUGE - wanted..HUGE);
    assert!(text.ends_with(&needed), "all of the last hours is there");
    let sent = server.state.lock().unwrap().sent;
    assert!(sent <= 2 * needed.len() as u64, "{sent} bytes travelled for {}", needed.len());
    let unread: u64 = found.logs[0].inputs.iter().map(Input::unread).sum();
    assert_eq!(unread + text.len() as u64, HUGE * 200, "the rotated file costs no request");
}

#[test]
fn until() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..100_000));
    let at = |n: i64| Some(second(n));
    let query = NodeQuery {
        window: Window { since: at(40_000), until: at(41_000) },
        ..NodeQuery::default()
    };
    let text = text(&found(&server, &query));
    let wanted = lines(40_000..41_001);
    assert!(text.windows(wanted.len()).any(|it| it == wanted), "all of the span is there");
    assert!(text.len() < 600_000, "{}", text.len());
}

#[test]
fn one_node_fails_and_the_other_is_read() {
    let server = server(&["cp-1", "cp-2"], PATH);
    put(&server, "audit.log", lines(0..10));
    let unreachable = r#"{"kind":"Status","message":"error trying to reach service: dial tcp 192.0.2.11:10250: connect: connection refused","code":503}"#;
    server.answer("/api/v1/nodes/cp-2/proxy/logs/kubernetes/audit/", 503, unreachable);
    let found = found(&server, &NodeQuery::default());
    assert!(text(&found) == lines(0..10));
    assert_eq!(
        found.failed[0].to_string(),
        "the API server cannot reach the kubelet of node `cp-2`: error trying to reach service: \
         dial tcp 192.0.2.11:10250: connect: connection refused"
    );
}

/// Files of two nodes, of which the second does something bad.
fn two_nodes() -> Server {
    let server = server(&["cp-1", "cp-2"], PATH);
    put(&server, "audit.log", lines(0..10));
    let of_second = File::Text(lines(100..400));
    let path = "cp-2/kubernetes/audit/audit.log".to_owned();
    server.state.lock().unwrap().files.insert(path, of_second);
    server
}

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_node_that_hangs_keeps_no_other_from_being_read() {
    let server = two_nodes();
    server.state.lock().unwrap().hung.push("/api/v1/nodes/cp-2/proxy/".into());
    let started = std::time::Instant::now();
    let found = found(&server, &NodeQuery { timeout: SHORT, ..NodeQuery::default() });
    assert!(text(&found) == lines(0..10));
    let told = format!("{} | {}", found.failed[0], found.failed[0].hint());
    assert!(told.contains("node `cp-2` sent nothing for 0.3 s"), "{told}");
    assert!(told.contains("--node-timeout"), "{told}");
    assert!(started.elapsed() < 10 * SHORT, "{:?}", started.elapsed());
}

#[test]
fn a_node_that_hangs_while_it_is_read_is_not_waited_for_again() {
    let server = two_nodes();
    let older = File::Text(lines(0..100));
    let path = "cp-2/kubernetes/audit/audit-2027-01-15T08-01-40.000.log".to_owned();
    server.state.lock().unwrap().files.insert(path, older);
    let found = found(&server, &NodeQuery { timeout: SHORT, ..NodeQuery::default() });
    server.state.lock().unwrap().stall = Some(5_000);
    let started = std::time::Instant::now();
    let log = found.logs.iter().find(|it| it.name == "cp-2").unwrap();
    let mut failed = Vec::new();
    for input in &log.inputs {
        let read = input.open().and_then(|opened| match opened {
            Opened::Stream(mut bytes) => {
                let read = bytes.read_to_end(&mut Vec::new());
                read.map_err(|err| SourceError::new(&input.name, err))
            }
            _ => panic!("a node's file is a stream"),
        });
        failed.push(read.unwrap_err().to_string());
    }
    assert_eq!(failed.len(), 2);
    assert!(failed.iter().all(|it| it.contains("node `cp-2` sent nothing")), "{failed:?}");
    assert!(started.elapsed() < 4 * SHORT, "{:?}", started.elapsed());
}

/// The log of `cp-1`, to be followed.
fn followed(server: &Server, query: &NodeQuery) -> Follow {
    let (mut logs, failed) = super::follow(&server.cluster(), query, INTERVAL).unwrap();
    assert!(failed.is_empty(), "{failed:?}");
    logs.remove(0)
}

const INTERVAL: Duration = Duration::from_millis(1500);

/// What a look gives.
fn look(log: &mut Follow) -> Vec<u8> {
    let mut text = Vec::new();
    let mut sink = |lines: Vec<u8>| {
        text.extend(lines);
        true
    };
    log.poll(&mut sink).unwrap();
    text
}

/// The requests since the last call: of all kinds, and listings.
fn asked(server: &Server) -> (usize, usize) {
    let requests = std::mem::take(&mut server.state.lock().unwrap().requests);
    let listings = requests.iter().filter(|it| it.lines().next().unwrap().contains("/ HTTP"));
    (requests.len(), listings.count())
}

fn append(server: &Server, name: &str, more: &[u8]) {
    let mut state = server.state.lock().unwrap();
    match state.files.get_mut(&format!("{FOLDER}{name}")) {
        Some(File::Text(text)) => text.extend(more),
        _ => panic!("it is there"),
    }
}

/// Each request is written into the log that it reads: still a look is one request, and looks get
/// rarer while nothing else is new.
#[test]
fn following_does_not_feed_itself() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..10));
    let record = |uri: &str, agent: &str| {
        format!(
            "{{\"requestURI\":\"{uri}\",\"userAgent\":\"{agent}\"}}\n{{\"userAgent\":\"{agent}\"}}\n"
        )
    };
    server.state.lock().unwrap().record = Some((format!("{FOLDER}audit.log"), record));
    let mut log = followed(&server, &NodeQuery::default());
    look(&mut log);
    let (all, _) = asked(&server);
    assert!(all <= 12, "{all} requests to begin with");

    let mut elapsed = Duration::ZERO;
    let mut looks = 0;
    while elapsed < Duration::from_secs(30) {
        assert!(!look(&mut log).is_empty(), "the request before is new");
        elapsed += log.wait();
        looks += 1;
    }
    assert_eq!(asked(&server), (looks, 0));
    assert!(looks <= 7, "{looks} looks in 30 s");
    append(&server, "audit.log", &lines(10..11));
    assert!(look(&mut log).ends_with(b"}\n"));
    assert_eq!(log.wait(), INTERVAL, "something is going on");
}

#[test]
fn a_look_at_nothing_new_is_one_request() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..1_000));
    let mut log = followed(&server, &NodeQuery::default());
    assert!(look(&mut log) == lines(0..1_000));
    asked(&server);
    for _ in 0..20 {
        assert!(look(&mut log).is_empty());
        assert_eq!(log.wait(), INTERVAL);
    }
    assert_eq!(asked(&server), (20, 0));
    // However much is new: one request.
    append(&server, "audit.log", &lines(1_000..30_000));
    assert!(look(&mut log) == lines(1_000..30_000));
    assert_eq!(asked(&server), (1, 0));
}

#[test]
fn a_log_that_is_not_there_yet_is_listed_once_in_ten_looks() {
    let server = server(&["cp-1"], PATH);
    let mut log = followed(&server, &NodeQuery::default());
    look(&mut log);
    asked(&server);
    for _ in 0..30 {
        assert!(look(&mut log).is_empty());
    }
    let (all, listings) = asked(&server);
    assert!(all <= 36 && listings <= 3, "{all} requests, {listings} listings");
    put(&server, "audit.log", lines(0..10));
    assert!(look(&mut log) == lines(0..10));
}

#[test]
fn rotation_is_followed_on_a_node() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit-2027-01-15T08-00-00.000.log", lines(0..10));
    put(&server, "audit.log", lines(10..1_000));
    let mut log = followed(&server, &NodeQuery::default());
    let mut all = look(&mut log);
    append(&server, "audit.log", &lines(1_000..1_010));
    let rename = |then: Vec<u8>, name: &str| {
        let files = &mut server.state.lock().unwrap().files;
        let old = files.remove(&format!("{FOLDER}audit.log")).unwrap();
        files.insert(format!("{FOLDER}{name}"), old);
        files.insert(format!("{FOLDER}audit.log"), File::Text(then));
    };
    rename(lines(1_010..1_020), "audit-2027-01-15T10-03-20.000.log");
    rename(lines(1_020..1_500), "audit-2027-01-15T10-03-21.000.log");
    asked(&server);
    let sent = server.state.lock().unwrap().sent;
    all.extend(look(&mut log));
    assert!(all == lines(0..1_500), "everything, once");
    let (requests, listings) = asked(&server);
    assert!(requests <= 14 && listings <= 4, "{requests} requests, {listings} listings");
    let sent = server.state.lock().unwrap().sent - sent;
    assert!(sent < 150_000, "{sent} bytes: what was read before does not travel again");
    assert_eq!(log.files().load(std::sync::atomic::Ordering::Relaxed), 4);
}

#[test]
fn files_too_old_by_name_cost_no_request() {
    let server = server(&["cp-1"], PATH);
    for n in 0..50 {
        put(&server, &format!("audit-2027-01-14T10-03-{n:02}.000.log"), lines(n..n + 1));
    }
    put(&server, "audit.log", lines(0..30_000));
    let since = Some(second(29_000));
    let query = NodeQuery { window: Window { since, until: None }, ..NodeQuery::default() };
    let mut log = followed(&server, &query);
    asked(&server);
    let text = look(&mut log);
    assert!(text.ends_with(&lines(29_000..30_000)) && text.len() < 2_500 * 200, "{}", text.len());
    let (all, _) = asked(&server);
    assert!(all < 20, "{all} requests");
}

#[test]
fn a_node_that_hangs_is_waited_for() {
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..10));
    let mut log = followed(&server, &NodeQuery { timeout: SHORT, ..NodeQuery::default() });
    look(&mut log);
    server.state.lock().unwrap().hung.push("/api/v1/nodes/cp-1/proxy/".into());
    let err = log.poll(&mut |_| true).unwrap_err();
    assert!(err.may_pass(), "{err}");
    assert!(err.to_string().contains("node `cp-1` sent nothing"), "{err}");
    server.state.lock().unwrap().hung.clear();
    append(&server, "audit.log", &lines(10..20));
    assert!(look(&mut log) == lines(10..20));
}

#[track_caller]
fn check_failure(flags: &str, answers: &[(&str, u16, &str)], query: NodeQuery, expected: &str) {
    let server = server(&["cp-1"], flags);
    for (path, status, body) in answers {
        server.answer(path, *status, body);
    }
    let told = failure(&server, &query);
    assert!(told.contains(expected), "{told}\n{expected}");
}

const LOGS: &str = "/api/v1/nodes/cp-1/proxy/logs/kubernetes/audit/";
const NOT_ALLOWED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"nodes \"cp-1\" is forbidden: User \"alice\" cannot get resource \"nodes/proxy\" in API group \"\" at the cluster scope","reason":"Forbidden","details":{"name":"cp-1","kind":"nodes"},"code":403}"#;

#[test]
fn no_permission_says_what_it_also_allows() {
    let expected = "also lets its owner run commands in every pod";
    check_failure(PATH, &[(LOGS, 403, NOT_ALLOWED)], NodeQuery::default(), expected);
}

#[test]
fn the_kubelet_refuses() {
    let body = "Forbidden (user=carol, verb=get, resource=nodes, subresource(s)=[log])";
    check_failure(PATH, &[(LOGS, 403, body)], NodeQuery::default(), "system:kubelet-api-admin");
}

#[test]
fn handlers_are_switched_off() {
    let off = [
        ("logs endpoint is disabled.\n", "`enableSystemLogHandler: false`"),
        ("Debug endpoints are disabled.\n", "`enableDebuggingHandlers: false`"),
    ];
    for (body, expected) in off {
        check_failure(PATH, &[(LOGS, 405, body)], NodeQuery::default(), expected);
    }
}

#[test]
fn nothing_there() {
    check_failure(PATH, &[], NodeQuery::default(), "has no `/var/log/kubernetes/audit/audit.log`");
    check_failure("", &[], NodeQuery::default(), "writes no audit log (no --audit-log-path)");
}

#[test]
fn elsewhere() {
    let flags = r#","--audit-log-path=/var/lib/rancher/k3s/server/logs/audit.log""#;
    check_failure(flags, &[], NodeQuery::default(), "serves only what is below /var/log");
    check_failure(
        r#","--audit-log-path=-""#,
        &[],
        NodeQuery::default(),
        "kubectl logs -n kube-system",
    );
    let query = |path: &str| NodeQuery { log_path: Some(path.into()), ..NodeQuery::default() };
    check_failure(PATH, &[], query("/opt/audit.log"), "outside /var/log");
    check_failure(PATH, &[], query("/var/log/../../etc/shadow"), "outside /var/log");
}

#[test]
fn k3s_and_rke2() {
    let none = r#"{"metadata":{},"items":[]}"#;
    for (version, expected) in [
        (
            "v1.36.2+k3s1",
            "runs k3s or RKE2, whose audit log is at `/var/lib/rancher/k3s/server/logs/audit.log`",
        ),
        ("v1.36.2+rke2r1", "/var/lib/rancher/rke2/server/logs/audit.log"),
        ("v1.36.2+k3s1", "kube-apiserver-arg: audit-log-path=/var/log/kubernetes/audit.log"),
        ("v1.36.2", "it is in none of the places"),
    ] {
        let nodes = format!(
            r#"{{"metadata":{{}},"items":[{{"metadata":{{"name":"cp-1","labels":{{"node-role.kubernetes.io/control-plane":"true"}}}},"status":{{"nodeInfo":{{"architecture":"","bootID":"","containerRuntimeVersion":"","kernelVersion":"","kubeProxyVersion":"","kubeletVersion":"{version}","machineID":"","operatingSystem":"","osImage":"","systemUUID":""}}}}}}]}}"#
        );
        let pods = "/api/v1/namespaces/kube-system/pods";
        let answers = [(pods, 200, none), ("/api/v1/nodes", 200, &*nodes)];
        check_failure("", &answers, NodeQuery::default(), expected);
    }
}

#[test]
fn no_such_node() {
    let missing = r#"{"kind":"Status","message":"nodes \"nosuch\" not found","details":{"name":"nosuch","kind":"nodes"},"code":404}"#;
    let query = NodeQuery { nodes: vec!["nosuch".into()], ..NodeQuery::default() };
    let listing = "/api/v1/nodes/nosuch/proxy/logs/";
    check_failure("", &[(listing, 404, missing)], query, "there is no node `nosuch`");
}

#[test]
fn nodes_cannot_be_listed() {
    let none = r#"{"metadata":{},"items":[]}"#;
    let pods = "/api/v1/namespaces/kube-system/pods";
    let answers = [(pods, 200, none), ("/api/v1/nodes", 403, NOT_ALLOWED)];
    check_failure(PATH, &answers, NodeQuery::default(), "name them with --node");
}

#[test]
fn managed_control_planes() {
    let none = r#"{"metadata":{},"items":[]}"#;
    let providers = [
        ("eks.amazonaws.com/nodegroup", "CloudWatch"),
        ("cloud.google.com/gke-nodepool", "gcloud logging read"),
        ("kubernetes.azure.com/cluster", "`kube-audit`"),
        ("x", "name the nodes with --node"),
    ];
    for (label, expected) in providers {
        let nodes = format!(
            r#"{{"metadata":{{}},"items":[{{"metadata":{{"name":"w-1","labels":{{"{label}":"x"}}}}}}]}}"#
        );
        let answers =
            [("/api/v1/namespaces/kube-system/pods", 200, none), ("/api/v1/nodes", 200, &nodes)];
        check_failure(PATH, &answers, NodeQuery::default(), expected);
    }
}

#[test]
fn wrong_credentials() {
    let unauthorized = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
    let answers = [("/api/v1/nodes", 401, unauthorized)];
    check_failure(PATH, &answers, NodeQuery::default(), "does not know these credentials");
    let answers = [(LOGS, 401, unauthorized)];
    check_failure(PATH, &answers, NodeQuery::default(), "log in again");
}

/// Copies the live file as it is now; gives the bytes that travelled, and the copy.
fn copied(server: &Server, folder: &std::path::Path) -> (u64, Vec<u8>) {
    let found = found(server, &NodeQuery::default());
    let Place::Node(file) = &found.logs[0].inputs[0].place else { panic!("a node's file") };
    let before = server.state.lock().unwrap().sent;
    let path = file.copy(&folder.join("cp-1/audit.log"), false, &mut |_| {}).unwrap();
    let evidence = file.evidence(folder, &path).unwrap();
    let copy = std::fs::read(&path).unwrap();
    assert_eq!((evidence.bytes, evidence.file.as_str()), (copy.len() as u64, "cp-1/audit.log"));
    assert_eq!(evidence.from, time(&copy[..200]));
    assert_eq!(evidence.to, time(&copy[copy.len() - 200..]));
    (server.state.lock().unwrap().sent - before, copy)
}

#[test]
fn a_copy_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..1_000));
    let part = folder.path().join("cp-1/audit.log.part");
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, &lines(0..1_000)[..150_077]).unwrap();
    let (sent, copy) = copied(&server, folder.path());
    assert!(copy == lines(0..1_000));
    assert!(sent < 80_000, "{sent} bytes for the missing 50,000");
    assert!(!part.exists());
    put(&server, "audit.log", lines(0..1_100));
    let (sent, copy) = copied(&server, folder.path());
    assert!(copy == lines(0..1_100), "the second run adds what is new");
    assert!(sent < 50_000, "{sent} bytes for 20,000 new ones");
}

#[test]
fn a_copy_of_something_else_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(500..1_000));
    let part = folder.path().join("cp-1/audit.log.part");
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, lines(0..400)).unwrap();
    assert!(copied(&server, folder.path()).1 == lines(500..1_000));
}

#[test]
fn a_copy_that_is_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&["cp-1"], PATH);
    put(&server, "audit.log", lines(0..100));
    let found = found(&server, &NodeQuery::default());
    let Place::Node(file) = &found.logs[0].inputs[0].place else { panic!("a node's file") };
    let path = file.copy(&folder.path().join("audit.log"), true, &mut |_| {}).unwrap();
    let mut text = Vec::new();
    let packed = std::fs::File::open(&path).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap();
    assert!(text == lines(0..100));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

/// What is packed already is no reason to begin anew.
#[test]
fn a_compressed_copy_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&["cp-1"], PATH);
    let copy = |n: u64| {
        put(&server, "audit.log", lines(0..n));
        let found = found(&server, &NodeQuery::default());
        let Place::Node(file) = &found.logs[0].inputs[0].place else { panic!("a node's file") };
        let before = server.state.lock().unwrap().sent;
        let path = file.copy(&folder.path().join("audit.log"), true, &mut |_| {}).unwrap();
        let mut text = Vec::new();
        let packed = std::fs::File::open(&path).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap();
        assert!(text == lines(0..n));
        server.state.lock().unwrap().sent - before
    };
    copy(1_000);
    let sent = copy(1_100);
    assert!(sent < 50_000, "{sent} bytes for 20,000 new ones");
    // What is there is damaged: all of it comes again.
    std::fs::write(folder.path().join("audit.log.gz"), b"\x1f\x8bnonsense").unwrap();
    assert!(copy(1_100) > 200_000);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}
