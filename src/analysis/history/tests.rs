//! Stories of a few requests, and what is made of them.

use serde_json::{Value, json};

use super::*;

/// A request about `deployments/web` in `shop`, unless it is made another.
fn event(second: u32, verb: &str, code: u32, more: Value) -> Value {
    let time = format!("2026-01-01T00:00:{second:02}.000000Z");
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
        "auditID": format!("id-{second}"), "stage": "ResponseComplete",
        "requestURI": "/apis/apps/v1/namespaces/shop/deployments/web", "verb": verb,
        "user": {"username": "alice"},
        "objectRef": {"resource": "deployments", "namespace": "shop", "name": "web", "apiGroup": "apps"},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": time, "stageTimestamp": time
    });
    for (key, value) in more.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

fn web(version: u32, spec: Value) -> Value {
    json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "shop",
        "uid": "u1", "resourceVersion": version.to_string()}, "spec": spec})
}

fn question() -> Question {
    Question {
        shows_status: false,
        shows_dry_runs: false,
        shows_reads: false,
        field: None,
        selector: LabelSelector::default(),
        at: None,
        keep: Keep::Operations,
        redactor: Redactor::with_salt(b"salt"),
        max_bytes: 1 << 20,
    }
}

fn replay(question: Question, target: &str, events: &[Value]) -> History {
    let mut history = History::new(question, target.parse().unwrap());
    events.iter().for_each(|event| history.take(format!("S{event}").as_bytes()));
    history
}

/// Each change as `CHANGE SOURCE DIFF`.
#[track_caller]
fn check(question: Question, events: &[Value], expected: &[&str]) {
    let items = replay(question, "deploy/web", events).finish().items;
    let shown: Vec<String> = items
        .iter()
        .map(|item| {
            let changes = item.diff.iter().flatten();
            let paths: Vec<String> = changes
                .map(|change| {
                    let op =
                        serde_json::to_value(change).unwrap()["op"].as_str().unwrap().to_owned();
                    format!(" {op} {}", change.path())
                })
                .collect();
            let source = serde_json::to_value(item.diff_source).unwrap();
            format!("{} {}{}", item.change.as_str(), source.as_str().unwrap(), paths.concat())
        })
        .collect();
    assert_eq!(shown, expected);
}

fn created() -> Value {
    event(1, "create", 201, json!({"responseObject": web(1, json!({"replicas": 1}))}))
}

#[test]
fn a_life_from_bodies() {
    let events = [
        created(),
        event(2, "patch", 200, json!({"responseObject": web(2, json!({"replicas": 2}))})),
        event(3, "patch", 200, json!({"responseObject": web(2, json!({"replicas": 2}))})),
        event(4, "update", 403, json!({})),
        event(
            5,
            "delete",
            200,
            json!({"responseObject": {"kind": "Status", "details": {"uid": "u1"}}}),
        ),
        event(6, "create", 201, json!({"responseObject": web(9, json!({}))})),
    ];
    check(
        question(),
        &events,
        &[
            "created bodies add ",
            "patched bodies replace /spec/replicas",
            "none bodies",
            "none none",
            "deleted bodies remove ",
            "created bodies add ",
        ],
    );
}

#[test]
fn a_life_from_patches() {
    let at = |mut event: Value, request: Value| {
        event["level"] = json!("Request");
        event["requestObject"] = request;
        event
    };
    let mut sent = web(1, json!({"replicas": 1, "paused": true}));
    sent["metadata"] = json!({"name": "web"});
    let events = [
        at(event(1, "create", 201, json!({})), sent),
        at(event(2, "patch", 200, json!({})), json!({"spec": {"replicas": 2}})),
        at(event(3, "patch", 200, json!({})), json!([{"op": "remove", "path": "/spec/paused"}])),
        at(event(4, "patch", 200, json!({})), json!([{"op": "remove", "path": "/spec/none"}])),
        at(event(5, "patch", 200, json!({})), json!({"spec": {"replicas": 3}})),
    ];
    check(
        question(),
        &events,
        &[
            "created patch add ",
            "patched patch replace /spec/replicas",
            "patched patch remove /spec/paused",
            // It does not apply to what is known: shown as sent, and nothing is known any more.
            "patched patch remove /spec/none",
            "patched patch add /spec/replicas",
        ],
    );
}

#[test]
fn nothing_is_guessed_at_level_metadata() {
    let events: Vec<Value> = ["create", "update", "patch", "delete"]
        .iter()
        .zip([201, 200, 200, 200])
        .enumerate()
        .map(|(n, (verb, code))| event(n as u32, verb, code, json!({"level": "Metadata"})))
        .collect();
    check(question(), &events, &["created none", "updated none", "patched none", "deleted none"]);
}

#[test]
fn a_gap_makes_the_body_unknown() {
    let with_generation = |version: u32, generation: u32| {
        let mut value = web(version, json!({"replicas": generation}));
        value["metadata"]["generation"] = json!(generation);
        json!({"responseObject": value})
    };
    let events = [
        event(1, "patch", 200, with_generation(1, 1)),
        event(2, "patch", 200, with_generation(2, 2)),
        event(3, "patch", 200, with_generation(9, 5)),
        event(4, "patch", 200, json!({"level": "Metadata"})),
        event(5, "patch", 200, with_generation(11, 7)),
    ];
    let expected = [
        "patched none",
        "patched bodies replace /spec/replicas",
        "patched none",
        "patched none",
        "patched none",
    ];
    check(question(), &events, &expected);
}

#[test]
fn stored_order_goes_before_logged_order() {
    let late = event(3, "patch", 200, json!({"responseObject": web(2, json!({"replicas": 2}))}));
    let early = event(3, "patch", 200, json!({"responseObject": web(3, json!({"replicas": 3}))}));
    let items = replay(question(), "deploy/web", &[created(), early, late]).finish().items;
    let old: Vec<_> =
        items[1..].iter().map(|it| it.diff.as_ref().unwrap()[0].old_value().cloned()).collect();
    assert_eq!(old, [Some(json!(1)), Some(json!(2))]);
}

#[test]
fn status_writes_and_dry_runs_are_hidden() {
    let status = json!({"objectRef": {"resource": "deployments", "namespace": "shop", "name": "web",
        "apiGroup": "apps", "subresource": "status"}, "responseObject": web(2, json!({"replicas": 1}))});
    let dry =
        json!({"requestURI": "/x?dryRun=All", "responseObject": web(2, json!({"replicas": 7}))});
    let events = [created(), event(2, "update", 200, status), event(3, "patch", 200, dry)];
    check(question(), &events, &["created bodies add "]);
    let all = Question { shows_status: true, shows_dry_runs: true, ..question() };
    check(
        all,
        &events,
        &["created bodies add ", "none bodies", "patched bodies replace /spec/replicas"],
    );
    let hidden = replay(question(), "deploy/web", &events).finish().hidden;
    assert_eq!((hidden.status, hidden.dry_runs), (1, 1));
}

#[test]
fn the_last_finalizer_ends_a_life() {
    let marked = |version: u32, finalizers: Value| {
        let mut value = web(version, json!({}));
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:02Z");
        value["metadata"]["finalizers"] = finalizers;
        json!({"responseObject": value})
    };
    let events = [
        created(),
        event(2, "delete", 200, marked(2, json!(["a"]))),
        event(3, "patch", 200, marked(3, json!([]))),
    ];
    let at = |second: u32| {
        let at = Timestamp::parse(format!("2026-01-01T00:00:{second:02}Z").as_bytes());
        replay(Question { at, ..question() }, "deploy/web", &events).finish_at().pop().unwrap().1
    };
    assert!(matches!(at(1), AtTime::Body(value) if value["metadata"]["resourceVersion"] == "1"));
    assert!(
        matches!(at(2), AtTime::Body(value) if value["metadata"]["finalizers"] == json!(["a"]))
    );
    assert!(matches!(at(3), AtTime::Deleted(Some(_))));
}

#[test]
fn collections_delete_what_they_select() {
    let collection = |uri: &str, more: Value| {
        let mut event = event(5, "deletecollection", 200, more);
        event["requestURI"] = json!(uri);
        event["objectRef"].as_object_mut().unwrap().remove("name");
        event
    };
    let created_at = |level: &str| {
        let mut event = created();
        event["level"] = json!(level);
        if level == "Metadata" {
            event.as_object_mut().unwrap().remove("responseObject");
        }
        event
    };
    let list =
        json!({"kind": "DeploymentList", "apiVersion": "apps/v1", "items": [web(1, json!({}))]});
    let all = collection("/x", json!({"responseObject": list}));
    check(question(), &[created(), all], &["created bodies add ", "deleted bodies remove "]);
    let bare = collection("/x", json!({"level": "Metadata"}));
    let twice = [created_at("Metadata"), bare.clone(), bare];
    check(question(), &twice, &["created none", "deleted none"]);
    let selected = collection("/x?labelSelector=a%3Db", json!({"level": "Metadata"}));
    check(question(), &[created_at("Metadata"), selected], &["created none"]);
}

#[test]
fn reads_tell_bodies_and_are_shown_on_request() {
    let read = event(2, "get", 200, json!({"responseObject": web(5, json!({"replicas": 5}))}));
    let patched = event(3, "patch", 200, json!({"responseObject": web(6, json!({"replicas": 6}))}));
    let events = [read, patched];
    check(question(), &events, &["patched bodies replace /spec/replicas"]);
    let all = Question { shows_reads: true, ..question() };
    check(all, &events, &["none none", "patched bodies replace /spec/replicas"]);
}

#[test]
fn memory_is_bounded_and_what_is_left_out_is_counted() {
    let large = |version: u32| {
        let text = format!("{version}").repeat(100_000);
        json!({"responseObject": web(version, json!({"text": text}))})
    };
    let events: Vec<Value> =
        (1..30).map(|n| event(n, if n == 1 { "create" } else { "patch" }, 200, large(n))).collect();
    let found = replay(question(), "deploy/web", &events).finish();
    assert_eq!(found.items.len(), 29);
    assert!(found.hidden.differences > 20, "{:?}", found.hidden);
    assert!(found.items.iter().filter(|item| item.diff.is_some()).count() > 3);
}

#[test]
fn children_are_found_by_their_owner_references() {
    let child = |verb: &str, second: u32| {
        let mut event = event(
            second,
            verb,
            201,
            json!({"objectRef": {"resource": "replicasets",
            "namespace": "shop", "name": "web-1", "apiGroup": "apps"}, "responseObject": {
            "kind": "ReplicaSet", "metadata": {"name": "web-1", "uid": "u2", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u1"}]}}}),
        );
        event["auditID"] = json!("c");
        format!("R{event}")
    };
    let mut history = replay(question(), "deploy/web", &[created()]);
    history.take(child("create", 2).as_bytes());
    history.take(child("delete", 3).as_bytes());
    let related = history.finish().related;
    assert_eq!(related.len(), 1);
    assert_eq!((related[0].relation, related[0].to.is_some()), (Relation::Child, true));
    assert_eq!(related[0].object.to_string(), "replicasets/web-1");
}

#[test]
fn a_timeout_leaves_the_outcome_open() {
    let events = [
        created(),
        event(2, "patch", 504, json!({})),
        event(3, "patch", 200, json!({"responseObject": web(4, json!({"replicas": 4}))})),
    ];
    check(question(), &events, &["created bodies add ", "unknown none", "patched none"]);
}

#[test]
fn broken_lines_and_odd_bodies_do_no_harm() {
    let odd = [
        json!({"responseObject": []}),
        json!({"responseObject": {"kind": "Deployment", "metadata": {"name": 1}}}),
        json!({"requestObject": "x"}),
        json!({"objectRef": {}}),
        json!({"responseStatus": {}}),
    ];
    for verb in ["create", "patch", "update", "delete", "deletecollection", "get", "list"] {
        let events: Vec<Value> = odd.iter().map(|more| event(1, verb, 200, more.clone())).collect();
        replay(Question { shows_reads: true, ..question() }, "all", &events).finish();
    }
    let mut history = History::new(question(), "all".parse().unwrap());
    history.take(b"S{");
    history.take(b"");
    assert!(history.finish().items.is_empty());
}
