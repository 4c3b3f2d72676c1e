//! `doctor` says how auditing is really set up.

use super::{
    cluster::{AUDIT_LOG, NODES, User, audit, kubectl},
    nodes::{audit_as, reader},
};

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn the_setup_and_what_is_missing() {
    let ended = audit(&["doctor", "-o", "json"]);
    // The rotation is not what the benchmark asks for.
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let setup: serde_json::Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    for (n, node) in NODES.iter().enumerate() {
        let server = &setup["servers"][n];
        assert_eq!(server["node"], node.name);
        assert_eq!(server["logPath"], AUDIT_LOG);
        assert_eq!(server["policyFile"], "/etc/kubernetes/audit-policy.yaml");
        assert_eq!(server["isServed"], true);
        let is_counted = |it: &serde_json::Value| it["name"] == "apiserver_audit_event_total";
        assert!(server["metrics"].as_array().expect("each is asked").iter().any(is_counted));
        assert!(server["clockSkew"].as_f64().expect("it tells its time").abs() < 5.0);
        assert!(server["newestAge"].as_f64().expect("the log is live").abs() < 600.0);
        assert_eq!(server["unknown"], serde_json::json!([]));
    }
    let findings = setup["findings"].as_array().expect("there are findings");
    let ids: Vec<_> = findings.iter().filter_map(|it| it["id"].as_str()).collect();
    assert!(ids.contains(&"CIS-1.2.17"), "{ids:?}");
    assert!(!ids.contains(&"CIS-3.2.1") && !ids.contains(&"permission"), "{ids:?}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_reader_needs_no_more() {
    let ended = audit_as(reader(), &["doctor", "-o", "json"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(!ended.stdout.contains("\"permission\""), "{}", ended.stdout);
}

/// A person who may read the logs, but not list pods: nothing is made up.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn what_is_unknown_is_said() {
    reader();
    let blind = User::new("blind-doctor", &[]);
    let to = format!("--user={}", blind.name);
    kubectl(&["create", "clusterrolebinding", "blind", "--clusterrole=audit-log-reader", &to]);
    let ended = audit_as(&blind, &["doctor", "-o", "json"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let setup: serde_json::Value = serde_json::from_str(&ended.stdout).expect("it is JSON");
    for (n, node) in NODES.iter().enumerate() {
        let server = &setup["servers"][n];
        assert_eq!((&server["node"], &server["isKnown"]), (&node.name.into(), &false.into()));
        assert_eq!(server["unknown"], serde_json::json!(["may not list pods"]));
        assert!(server["metrics"].is_null(), "never another server's");
    }
    let table = audit_as(&blind, &["doctor"]).stdout;
    assert!(table.contains("unknown: may not list pods"), "{table}");
}
