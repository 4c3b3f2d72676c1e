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
    let (mut n_requests, mut n_compared) = (0, 0);
    for record in truth["records"].as_array().expect("a list") {
        let texts = |it: &Value| -> Vec<String> { serde_json::from_value(it.clone()).unwrap() };
        typed.extend(texts(&record["auditIDs"]));
        typed.extend(texts(&record["windowAuditIDs"]));
        for connect in record["connects"].as_array().expect("a list") {
            n_requests += 1;
            let has = |it: &&Value| {
                texts(&it["auditIDs"]).contains(&connect["auditID"].as_str().unwrap().to_owned())
            };
            let (what, uri) = (&record["cmd"], connect["requestURI"].as_str().unwrap());
            let Some(item) = items.iter().find(has) else {
                let is_none = uri.contains("/log")
                    || uri.contains("/proxy/pods")
                    || uri.contains("containerLogs");
                assert!(is_none, "{what} is missing: {uri}");
                continue;
            };
            n_compared += 1;
            if connect["subresource"] == "proxy" || connect["subresource"] == "ephemeralcontainers"
            {
                continue;
            }
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
            let null = |it: &Value| it.is_null().then_some(false).or(it.as_bool());
            assert_eq!(
                texts_or_none(&item["command"]),
                texts_or_none(&connect["command"]),
                "{what}"
            );
            assert_eq!(null(&item["tty"]), null(&connect["tty"]), "{what}");
            assert_eq!(null(&item["stdin"]), null(&connect["stdin"]), "{what}");
            assert_eq!(item["container"], connect["container"], "{what}");
            assert_eq!(
                item["pod"],
                record["pod"].as_str().map_or(item["pod"].clone(), Value::from),
                "{what}"
            );
            if code == 101 {
                let transport = if connect["verb"] == "get" { "websocket" } else { "spdy" };
                assert_eq!(item["protocol"], transport, "{what}");
                assert_eq!(item["startTime"], connect["start"], "{what}");
                assert_eq!(item["endTime"], connect["last"], "{what}");
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
    assert!(n_compared > 50 && n_requests >= n_compared, "{n_compared} of {n_requests}");
    // A pod that runs kubectl itself: typed inside a session.
    for item in
        items.iter().filter(|it| it["user"]["username"] != "system:serviceaccount:team-a:builder")
    {
        for id in item["auditIDs"].as_array().expect("a list") {
            assert!(typed.contains(id.as_str().unwrap()), "nobody typed {item}");
        }
    }
}

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
        format!("{} {} {code} {duration} {}", it.audit_ids.join("+"), it.state.as_str(), it.log)
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
    let aggregated = [
        ("outer", event("1", "u", "get", COMPLETE, 101, 1.0, 5.0)),
        ("inner", event("1", "u", "get", COMPLETE, 101, 1.1, 4.9)),
    ];
    check(&aggregated, "1 closed 101 4 outer");
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

#[test]
fn changeevent() {
    let lines = [("l", event("1", "u", "get", COMPLETE, 101, 1.0, 2.0))];
    let report = fold(&Question::default(), &lines, 1);
    let shown = serde_json::to_value(change_event::ChangeEvent::from(&report.items[0])).unwrap();
    let expected = json!({
        "id": "EXEC-pods-p-u-1767323041000000000", "timestamp": "2026-01-02T03:04:01.000000Z",
        "operation": "EXEC", "resource_kind": "Pod", "namespace": "a", "name": "p",
        "actor": {"username": "u", "groups": [], "source_ip": "10.0.0.7"},
        "source": {"tool": "unknown"}, "allowed": true,
        "exec_metadata": {"command": ["id"], "container": "c", "stdin": false, "tty": false, "target_type": "pod"},
    });
    assert_eq!(shown, expected);
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
