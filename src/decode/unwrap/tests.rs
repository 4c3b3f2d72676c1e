use base64::Engine;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LOG: &str = include_str!("../../../examples/audit.log");

fn recorded() -> Vec<&'static str> {
    LOG.lines().step_by(17).collect()
}

/// What comes out: each event's JSON, `skipped` for anything else.
fn unwrapped(text: &[u8]) -> Vec<String> {
    unwrapped_with(text, 1 << 20)
}

fn unwrapped_with(text: &[u8], max_line: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut emit = |item: Item<'_>| {
        all.push(match item {
            Item::Event { json, .. } => String::from_utf8(json.to_vec()).expect("events are UTF-8"),
            Item::Skipped { line, reason } => format!("skipped {line}: {reason}"),
        });
    };
    if is_wrapped(&text[..text.len().min(64 << 10)]) {
        read(&mut &text[..], max_line, &mut emit).1.expect("memory can be read");
    } else {
        for text in text.split(|it| *it == b'\n').filter(|it| !it.trim_ascii().is_empty()) {
            let known = line(text, &mut emit);
            if !known {
                emit(Item::Skipped { line: 0, reason: "nothing".to_owned() });
            }
        }
    }
    all
}

/// All events come back as they were recorded.
#[track_caller]
fn whole(text: &str, events: &[&str]) {
    let parse = |it: &str| serde_json::from_str::<Value>(it).unwrap_or_else(|_| Value::from(it));
    let got: Vec<Value> = unwrapped(text.as_bytes()).iter().map(|it| parse(it)).collect();
    let expected: Vec<Value> = events.iter().map(|it| parse(it)).collect();
    assert_eq!(got, expected, "{}", &text[..text.len().min(300)]);
}

/// A line a piece: `wrap` puts an event into it.
#[track_caller]
fn lines(wrap: impl Fn(&str) -> String) {
    let events = recorded();
    whole(&events.iter().map(|it| wrap(it) + "\n").collect::<String>(), &events);
}

fn value(event: &str) -> Value {
    serde_json::from_str(event).expect("recorded events are JSON")
}

/// A document: `wrap` puts all events into it.
#[track_caller]
fn document(wrap: impl Fn(&[&str]) -> Value) {
    let events = recorded();
    let document = wrap(&events);
    whole(&document.to_string(), &events);
    whole(&serde_json::to_string_pretty(&document).expect("a document"), &events);
    // Several one after the other, with nothing between them.
    whole(&format!("{document}{document}"), &[events.clone(), events].concat());
}

fn all<T>(events: &[&str], wrap: impl Fn(&str) -> T) -> Vec<T> {
    events.iter().map(|it| wrap(it)).collect()
}

#[test]
fn lists_of_events() {
    document(
        |it| json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": all(it, value)}),
    );
    document(|it| json!({"kind": "List", "items": all(it, value)}));
    document(|it| json!(all(it, value)));
}

#[test]
fn pretty_printed_one_after_another() {
    let events = recorded();
    let text: String = events
        .iter()
        .map(|it| serde_json::to_string_pretty(&value(it)).expect("an event") + "\n")
        .collect();
    whole(&text, &events);
}

#[test]
fn with_a_host_before() {
    lines(|it| format!("master-0.lab {it}"));
}

#[test]
fn container_runtimes() {
    lines(|it| {
        json!({"log": format!("{it}\n"), "stream": "stdout", "time": "2026-11-22T10:11:12.1Z"})
            .to_string()
    });
    lines(|it| format!("2026-11-22T10:11:12.1Z stdout F {it}"));
    lines(|it| {
        let (first, second) = it.split_at(it.len() / 2);
        format!("2026-11-22T10:11:12.1Z stdout P {first}\n2026-11-22T10:11:12.1Z stdout F {second}")
    });
}

#[test]
fn streams_of_a_container_are_apart() {
    let event = recorded()[0];
    let (first, second) = event.split_at(event.len() / 2);
    let text = format!(
        "2026-11-22T10:11:12Z stdout P {first}\n2026-11-22T10:11:12Z stderr F klog\n2026-11-22T10:11:12Z stdout F {second}\n"
    );
    whole(&text, &["skipped 2: no audit event in this line", event]);
}

/// Docker cuts long lines into parts, also where labels stand before them.
#[test]
fn parts_of_docker() {
    let events = recorded();
    for labels in [r#""#, r#""attrs":{"name":"api"},"#] {
        let part = |text: &str| {
            format!("{{{labels}\"log\":{},\"stream\":\"stderr\",\"time\":\"x\"}}\n", json!(text))
        };
        let cut = |it: &&str| {
            part(&it[..300]) + &part(&it[300..500]) + &part(&format!("{}\n", &it[500..]))
        };
        whole(&events.iter().map(cut).collect::<String>(), &events);
    }
}

#[test]
fn collectors_of_lines() {
    lines(|it| json!({"date": 1795342272.1, "log": it}).to_string());
    lines(|it| json!({"date": 1795342272.1, "message": value(it)}).to_string());
    lines(|it| {
        json!({"@timestamp": "2026-11-22T10:11:12Z", "message": it, "host": {"name": "cp1"}})
            .to_string()
    });
    lines(|it| {
        json!({"@timestamp": "2026-11-22T10:11:12Z", "kubernetes": {"audit": value(it)}})
            .to_string()
    });
    lines(|it| {
        json!({"message": it, "file": "/var/log/a", "host": "cp1", "timestamp": "2026-11-22T10:11:12Z"}).to_string()
    });
    lines(|it| {
        json!({"MESSAGE": it, "_HOSTNAME": "cp1", "__REALTIME_TIMESTAMP": "1795342272000000"})
            .to_string()
    });
    lines(|it| json!({"MESSAGE": it.as_bytes(), "_HOSTNAME": "cp1"}).to_string());
}

#[test]
fn collectors_of_documents() {
    document(
        |it| json!({"hits": {"total": 2, "hits": all(it, |it| json!({"_index": "a", "_source": value(it)}))}}),
    );
    document(|it| {
        let values = all(it, |it| json!(["1795342272000000000", it]));
        json!({"status": "success", "data": {"resultType": "streams", "result": [{"stream": {"host": "cp1"}, "values": values}]}})
    });
    document(|it| {
        let records = all(
            it,
            |it| json!({"timeUnixNano": "1795342272000000000", "body": {"stringValue": it}}),
        );
        json!({"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {}, "logRecords": records}]}]})
    });
}

/// OTLP's own way to write an object.
fn otlp(value: &Value) -> Value {
    match value {
        Value::Object(all) => {
            json!({"kvlistValue": {"values": all.iter().map(|(key, it)| json!({"key": key, "value": otlp(it)})).collect::<Vec<_>>()}})
        }
        Value::Array(all) => {
            json!({"arrayValue": {"values": all.iter().map(otlp).collect::<Vec<_>>()}})
        }
        Value::Number(it) => json!({"intValue": it.to_string()}),
        Value::Bool(it) => json!({"boolValue": it}),
        other => json!({"stringValue": other}),
    }
}

#[test]
fn otlp_objects() {
    document(|it| {
        let records = all(it, |it| json!({"body": otlp(&value(it))}));
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})
    });
}

#[test]
fn eks() {
    document(|it| {
        let events = all(
            it,
            |it| json!({"logStreamName": "kube-apiserver-audit-0a1b", "timestamp": 1795342272000_u64, "message": it, "eventId": "7"}),
        );
        json!({"events": events, "nextToken": "x"})
    });
    document(|it| {
        let row = |it: &str| json!([{"field": "@timestamp", "value": "2026-11-22 10:11:12.000"}, {"field": "@message", "value": it}]);
        json!({"results": all(it, row), "status": "Complete"})
    });
    document(|it| json!(all(it, |it| json!({"@timestamp": "x", "@message": it}))));
    document(|it| json!(all(it, |it| json!({"@timestamp": "x", "@message": value(it)}))));
    lines(|it| format!("2026-11-22T10:11:12.000Z {it}"));
    let firehose = |it: &[&str]| {
        json!({"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "/aws/eks/demo/cluster",
            "logStream": "kube-apiserver-audit-0a1b", "subscriptionFilters": ["f"],
            "logEvents": all(it, |it| json!({"id": "3", "timestamp": 1795342272000_u64, "message": it}))})
    };
    document(firehose);
    let events = recorded();
    let control = json!({"messageType": "CONTROL_MESSAGE", "logEvents": []});
    whole(&format!("{control}{}", firehose(&events)), &events);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, firehose(&events).to_string().as_bytes())
        .expect("memory can be written");
    let data = base64::engine::general_purpose::STANDARD
        .encode(packed.finish().expect("memory can be written"));
    whole(&json!({"awslogs": {"data": data}}).to_string(), &events);
}

#[test]
fn aks() {
    let record = |it: &str| json!({"category": "kube-audit", "time": "2026-11-22T10:11:12Z", "properties": {"log": it, "stream": "stdout", "pod": "kube-apiserver-5c-x2"}});
    lines(|it| record(it).to_string());
    document(|it| json!({"records": all(it, record)}));
    document(|it| json!(all(it, |it| json!({"Category": "kube-audit", "log_s": it}))));
}

#[track_caller]
fn one(text: &str, expected: &[(&str, Value)]) {
    let got = unwrapped(text.as_bytes());
    assert_eq!(got.len(), 1, "{got:?}");
    let event = value(&got[0]);
    for (pointer, expected) in expected {
        assert_eq!(
            event.pointer(pointer).unwrap_or(&Value::Null),
            expected,
            "{pointer} of {event}"
        );
    }
}

#[test]
fn aks_columns() {
    let row = json!({"AuditId": "a1", "Stage": "ResponseComplete", "Level": "Metadata", "RequestUri": "/api/v1/pods", "Verb": "list",
        "User": "{\"username\":\"ann\",\"groups\":[\"dev\"]}", "SourceIps": "[\"10.0.0.1\"]", "ObjectRef": {"resource": "pods"},
        "ResponseStatus": {"code": 200}, "RequestObject": "", "StageReceivedTime": "2026-11-22T10:11:12.1Z",
        "Annotations": {"authorization.k8s.io/decision": "allow"}, "PodName": "x"});
    one(
        &row.to_string(),
        &[
            ("/auditID", json!("a1")),
            ("/user/username", json!("ann")),
            ("/user/groups/0", json!("dev")),
            ("/sourceIPs/0", json!("10.0.0.1")),
            ("/objectRef/resource", json!("pods")),
            ("/requestObject", Value::Null),
            ("/stageTimestamp", json!("2026-11-22T10:11:12.1Z")),
            ("/annotations/authorization.k8s.io~1decision", json!("allow")),
        ],
    );
}

fn gke(method: &str, resource: &str, status: i64) -> String {
    json!({"insertId": "x1", "logName": "projects/demo/logs/cloudaudit.googleapis.com%2Factivity", "timestamp": "2026-11-22T10:11:12Z",
        "resource": {"type": "k8s_cluster"}, "labels": {"authorization.k8s.io/decision": "allow"},
        "operation": {"id": "11111111-2222", "producer": "k8s.io", "first": true, "last": true},
        "protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog", "serviceName": "k8s.io", "methodName": method,
            "resourceName": resource, "authenticationInfo": {"principalEmail": "ana@example.org"},
            "requestMetadata": {"callerIp": "203.0.113.4", "callerSuppliedUserAgent": "kubectl/v1.36.1"}, "status": {"code": status}}}).to_string()
}

#[test]
fn gke_entries() {
    one(
        &gke("io.k8s.core.v1.pods.exec.create", "core/v1/namespaces/shop/pods/web-0/exec", 0),
        &[
            ("/auditID", json!("11111111-2222")),
            ("/verb", json!("create")),
            ("/user/username", json!("ana@example.org")),
            ("/objectRef/resource", json!("pods")),
            ("/objectRef/namespace", json!("shop")),
            ("/objectRef/name", json!("web-0")),
            ("/objectRef/subresource", json!("exec")),
            ("/objectRef/apiGroup", Value::Null),
            ("/responseStatus/code", json!(101)),
            ("/requestURI", json!("/api/v1/namespaces/shop/pods/web-0/exec")),
            ("/stage", json!("ResponseComplete")),
            ("/sourceIPs/0", json!("203.0.113.4")),
            ("/stageTimestamp", json!("2026-11-22T10:11:12.000000Z")),
            (
                "/annotations/kubectl-audit~1inferred",
                json!("level,stage,requestURI,responseStatus.code"),
            ),
            ("/annotations/authorization.k8s.io~1decision", json!("allow")),
        ],
    );
    one(
        &gke(
            "io.k8s.authorization.rbac.v1.clusterroles.create",
            "rbac.authorization.k8s.io/v1/clusterroles/x",
            7,
        ),
        &[
            ("/objectRef/apiGroup", json!("rbac.authorization.k8s.io")),
            ("/objectRef/resource", json!("clusterroles")),
            ("/responseStatus/code", json!(403)),
            ("/requestURI", json!("/apis/rbac.authorization.k8s.io/v1/clusterroles/x")),
        ],
    );
    one(
        &gke("io.k8s.apps.v1.deployments.create", "apps/v1/namespaces/shop/deployments/web", 0),
        &[("/objectRef/apiGroup", json!("apps")), ("/responseStatus/code", json!(201))],
    );
}

#[test]
fn viaq_gets_its_level_back() {
    let mut event = value(recorded()[0]);
    event["k8s_audit_level"] = event["level"].take();
    event["level"] = "default".into();
    event["openshift"] = json!({"cluster_id": "c"});
    one(
        &event.to_string(),
        &[("/level", json!("Metadata")), ("/openshift/cluster_id", json!("c"))],
    );
}

#[test]
fn old_versions() {
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1beta1", "metadata": {"creationTimestamp": "2018-01-02T03:04:05Z"},
        "level": "Request", "timestamp": "2018-01-02T03:04:05Z", "auditID": "a", "stage": "ResponseComplete", "verb": "get", "user": {"username": "x"}});
    one(
        &event.to_string(),
        &[
            ("/stageTimestamp", json!("2018-01-02T03:04:05Z")),
            ("/apiVersion", json!("audit.k8s.io/v1beta1")),
        ],
    );
}

#[test]
fn the_legacy_format() {
    let line = r#"2017-03-21T03:57:09.106841886-04:00 AUDIT: id="c939d2a7" stage="ResponseComplete" ip="127.0.0.1" method="get" user="ann" groups="\"dev\",\"system:authenticated\"" as="<self>" asgroups="<lookup>" user-agent="kubectl/v1 \"x\"" namespace="shop" uri="/api/v1/namespaces/shop/pods/web-0?x=1" response="200""#;
    one(
        line,
        &[
            ("/auditID", json!("c939d2a7")),
            ("/verb", json!("get")),
            ("/user/groups", json!(["dev", "system:authenticated"])),
            ("/userAgent", json!("kubectl/v1 \"x\"")),
            ("/objectRef/name", json!("web-0")),
            ("/responseStatus/code", json!(200)),
            ("/stageTimestamp", json!("2017-03-21T07:57:09.106841Z")),
            ("/impersonatedUser", Value::Null),
        ],
    );
}

#[test]
fn cut_lines_are_salvaged() {
    let event = recorded()[3];
    for cut in
        [&event[..event.len() - 30], &format!("{}[Truncated...]", &event[..event.len() / 2 + 150])]
    {
        one(
            cut,
            &[
                ("/auditID", value(event)["auditID"].clone()),
                ("/annotations/audit.k8s.io~1truncated", json!("true")),
            ],
        );
        let wrapped = json!({"log": cut, "time": "2026-11-22T10:11:12Z"}).to_string();
        one(
            &wrapped,
            &[
                ("/stage", value(event)["stage"].clone()),
                ("/annotations/audit.k8s.io~1truncated", json!("true")),
            ],
        );
    }
}

#[test]
fn a_cut_document_keeps_what_came_before() {
    let events = recorded();
    let text = json!({"kind": "EventList", "items": all(&events, value)}).to_string();
    let got = unwrapped(&text.as_bytes()[..text.len() * 3 / 4]);
    assert!(
        got.len() > events.len() / 2
            && got.last().is_some_and(|it| it.contains("audit.k8s.io/truncated")),
        "{got:?}"
    );
}

#[test]
fn other_streams_are_skipped() {
    let others = [
        r#"{"logStreamName":"authenticator-1","message":"time=\"2026\" level=info msg=\"x\""}"#,
        "I1122 10:11:12.000000       1 controller.go:1] starting",
        r#"{"MESSAGE":null,"_HOSTNAME":"cp1"}"#,
    ];
    for other in others {
        assert_eq!(unwrapped(other.as_bytes()), ["skipped 0: nothing"], "{other}");
    }
}

#[test]
fn deep_and_long() {
    let deep = "[".repeat(100_000);
    assert_eq!(unwrapped(deep.as_bytes()), ["skipped 1: the input ends within this document"]);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    assert!(unwrapped(closed.as_bytes()).len() <= 1);
    let long = format!("[{{\"a\":\"{}\"}},{}]", "x".repeat(5000), recorded()[0]);
    let got = unwrapped_with(long.as_bytes(), 4096);
    assert_eq!(
        (got.len(), got[0].as_str()),
        (2, "skipped 1: longer than 4096 bytes: left out (--max-line)")
    );
}

/// Gives its bytes in pieces of any size.
struct Pieces<'t>(&'t [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.1.min(buffer.len()).min(self.0.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size(size in 1..700_usize) {
        let events = recorded();
        let text = serde_json::to_string_pretty(&json!({"items": all(&events, value)})).expect("a document");
        let mut n = 0;
        read(&mut Pieces(text.as_bytes(), size), 1 << 20, &mut |item| n += usize::from(matches!(item, Item::Event { .. })))
            .1.expect("memory can be read");
        prop_assert_eq!(n, events.len());
    }

    /// Whatever is done to a document: no panic, and no event that cannot be read.
    #[test]
    fn damaged(seed in any::<u64>(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let event = recorded()[(seed % 7) as usize];
        let shapes = [
            json!({"items": [value(event)]}).to_string(),
            json!({"log": event}).to_string(),
            gke("io.k8s.core.v1.pods.create", "core/v1/namespaces/shop/pods/web-0", 5),
            format!("2026-11-22T10:11:12.1Z stdout F {event}"),
            format!("h {event}"),
        ];
        let mut text = shapes[(seed / 7 % 5) as usize].clone().into_bytes();
        for (at, byte) in edits {
            let at = at.index(text.len());
            text[at] = byte;
        }
        unwrapped(&text);
        read(&mut &text[..], 1 << 20, &mut |_| {}).1.expect("memory can be read");
    }
}
