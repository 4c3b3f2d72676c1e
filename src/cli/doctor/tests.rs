//! What is told of a node's log, with a server in place of the cluster.

use clap::Parser;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::cluster::fake::{File, Server, State};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// How much of a file's beginning is looked at first.
const START: usize = 4096;
/// How far an event is looked for from either end.
const FAR: usize = 256 << 10;

/// What is said of the only node, whose live log is this.
fn setup(log: String) -> ServerSetup {
    let mut state = State::default();
    let mut answer = |path: &str, item: &str| {
        let body = format!(r#"{{"metadata":{{}},"items":[{item}]}}"#);
        state.answers.insert(path.to_owned(), (200, body));
    };
    answer(
        "/api/v1/nodes",
        r#"{"metadata":{"name":"cp-1","labels":{"node-role.kubernetes.io/control-plane":""}}}"#,
    );
    answer(
        "/api/v1/namespaces/kube-system/pods",
        r#"{"metadata":{"name":"kube-apiserver-cp-1"},"spec":{"nodeName":"cp-1","containers":[{"name":"kube-apiserver",
        "command":["kube-apiserver","--etcd-servers=x","--audit-log-path=/var/log/audit/audit.log"]}]}}"#,
    );
    answer("/api/v1/namespaces/openshift-kube-apiserver/pods", "");
    state.files.insert("cp-1/audit/audit.log".to_owned(), File::Text(log.into_bytes()));
    let server = Server::start(state);
    let nowhere = tempfile::NamedTempFile::new().unwrap();
    let kubeconfig = nowhere.path().to_str().unwrap();
    let line = ["doctor", "--server", &server.url, "--kubeconfig", kubeconfig];
    let args = Line::parse_from(line).args;
    let cluster = args.nodes.cluster.connect().unwrap();
    let servers = node::api_servers(&cluster, &[]).unwrap();
    look(&servers[0], &args).unwrap()
}

/// An event so many hours ago, with this many bytes before the value of its time and behind it.
fn event(hours: i64, before: usize, after: usize) -> String {
    let time = Timestamp::now() - SignedDuration::from_hours(hours);
    let head = r#"{"level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/","verb":"get","user":{},"annotations":{"a":""#;
    let middle = r#""},"stageTimestamp":""#;
    let padding = "x".repeat(before.saturating_sub(head.len() + middle.len()));
    let end = r#"","b":""#;
    format!("{head}{padding}{middle}{time:.6}{end}{}\"}}\n", "y".repeat(after))
}

#[track_caller]
fn check(log: String, hours: Option<f64>, newest_hours: Option<f64>, case: usize) {
    let found = setup(log);
    assert!(found.is_served && found.files == 1, "{case}: {found:?}");
    let is_near = |found: Option<f64>, expected: Option<f64>| match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 0.1,
        (found, expected) => found == expected,
    };
    assert!(is_near(found.hours, hours), "{case}: {:?} is not {hours:?}", found.hours);
    let newest = found.newest_age.map(|age| age / 3_600.0);
    assert!(is_near(newest, newest_hours), "{case}: {newest:?} is not {newest_hours:?}");
}

/// The length of a time.
const TIME: usize = "2026-11-22T10:00:00.000000Z".len();

#[test]
fn hours_are_right_when_the_first_look_ends_in_a_timestamp() {
    for within in 0..=TIME {
        let log = event(10, START - within, 50) + &event(2, 0, 0);
        check(log, Some(10.0), Some(2.0), within);
    }
}

#[test]
fn hours_are_right_when_the_first_look_ends_in_the_second_event() {
    let first = event(10, 0, 0);
    for within in [0, 1, 12, 20, TIME] {
        let log =
            format!("{first}{}{}", event(5, START - first.len() - within, 50), event(2, 0, 0));
        check(log, Some(10.0), Some(2.0), within);
    }
}

#[test]
fn an_event_that_no_look_holds_whole_says_no_hours() {
    for within in [0, 1, 12, 20, TIME] {
        let log = event(10, FAR - within, 50) + &event(2, 0, 0);
        check(log, None, Some(2.0), within);
    }
}

#[test]
fn the_newest_event_is_told_when_the_last_look_begins_in_a_timestamp() {
    let last = event(2, 0, 0);
    for within in [0, 1, 12, 20, TIME] {
        let end = r#"","b":""}"#.len() + 1;
        let log = event(10, 0, 0) + &event(5, 0, FAR - last.len() - end - within) + &last;
        check(log, Some(10.0), Some(2.0), within);
    }
}

#[test]
fn a_line_that_is_being_written_is_not_the_newest_event() {
    let half = event(1, 0, 0);
    for length in [1, half.len() / 2, half.len() - 2] {
        check(event(10, 0, 0) + &event(2, 0, 0) + &half[..length], Some(10.0), Some(2.0), length);
    }
}

#[test]
fn a_clock_that_is_ahead_gives_no_negative_age() {
    assert_eq!(setup(event(-1, 0, 0)).newest_age, Some(0.0));
}

#[test]
fn the_age_of_the_newest_event_stands_in_the_table() {
    let mut setups = AuditSetup::default();
    let newest_age = Some(7_200.4);
    setups.servers.push(ServerSetup { newest_age, ..ServerSetup::default() });
    let table = &crate::report::Report::tables(&setups)[0];
    let column = table.columns.iter().position(|it| it.header == "NEWEST").unwrap();
    assert_eq!(table.rows[0][column], crate::report::Cell::from("7200 s"));
}
