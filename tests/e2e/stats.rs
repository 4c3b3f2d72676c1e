//! `stats` tells the story.

use serde_json::Value;

use super::{cluster::audit_logs, story::Story};

/// Counts by user, verb, resource, subresource and code.
pub const KEYS: &str =
    "user.username,verb,objectRef.resource,objectRef.subresource,responseStatus.code";

/// Compares counts with the requests of the story.
#[track_caller]
pub fn check_requests(report: &Value, story: &Story) {
    let rows = report["rows"].as_array().expect("a report has rows");
    for it in &story.requests {
        let key =
            serde_json::json!([it.user, it.verb, it.resource, it.subresource, it.code.to_string()]);
        let found = rows.iter().find(|row| row["key"] == key).map(|row| &row["count"]);
        assert_eq!(found, Some(&it.count.into()), "{it:?}");
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn stats_of_the_log_tell_the_story() {
    let story = Story::told();
    let report = audit_logs(&["stats", "-k", KEYS, "-o", "json"]).json();
    check_requests(&report, story);
    assert_eq!(report["input"]["skipped"], 0);
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn impersonated_users_are_told_apart() {
    let story = Story::told();
    let keys = "impersonatedUser.username,user.username,verb,objectRef.resource";
    let report = audit_logs(&["stats", "-k", keys, "-o", "json"]).json();
    let key = serde_json::json!([story.dave, "kubernetes-admin", "get", "pods"]);
    let rows = report["rows"].as_array().expect("a report has rows");
    let row = rows.iter().find(|row| row["key"] == key);
    assert_eq!(row.map(|it| &it["count"]), Some(&1.into()), "{key}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_wrong_token_is_a_request_of_nobody() {
    Story::told();
    let keys = "user.username,responseStatus.code";
    let report = audit_logs(&["stats", "-k", keys, "-o", "json"]).json();
    let rows = report["rows"].as_array().expect("a report has rows");
    let is_nobody = |row: &&Value| row["key"] == serde_json::json!([null, "401"]);
    assert!(rows.iter().any(|row| is_nobody(&row)), "{rows:?}");
}
