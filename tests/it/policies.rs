//! `policy check` on policies as people have them, with the right answers.

use std::{fs, process::Command};

use serde_json::Value;

/// The document of `policy check`, and its exit status.
fn checked(path: &str, args: &[&str]) -> (Value, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    let out =
        command.args(["policy", "check", "-o", "json"]).args(args).arg(path).output().unwrap();
    let document = serde_json::from_slice(&out.stdout);
    (document.unwrap_or_else(|err| panic!("{path}: {err} {out:?}")), out.status.code())
}

/// The same of a text.
fn checked_text(text: &str, args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, text).unwrap();
    checked(file.to_str().unwrap(), args).0
}

/// `LINE: MESSAGE` of the findings that say that something never matches.
fn never(document: &Value) -> Vec<String> {
    let findings = document["files"][0]["findings"].as_array().unwrap();
    let shown = |it: &Value| format!("{}: {}", it["line"], it["message"].as_str().unwrap());
    findings.iter().map(shown).filter(|it| it.contains("never matches")).collect()
}

#[track_caller]
fn are(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{expected} in {found}");
    }
}

#[test]
fn names_that_never_match() {
    let (document, status) = checked("tests/data/wild/10-policy-wildcard-users.yaml", &[]);
    assert_eq!(status, Some(1));
    are(
        &never(&document),
        &["5: `system:serviceaccount:kube-system:*` in users", "8: `system:node:*` in users"],
    );
    let (document, _) = checked("tests/data/wild/12-policy-never-matching-names.yaml", &[]);
    are(
        &never(&document),
        &["5: `kube-*` in namespaces", "7: `prod-*` in resourceNames", "9: `/apis/coordination"],
    );
}

#[test]
fn a_value_where_a_list_is_asked_for() {
    let hint = |document: &Value| {
        let file = &document["files"][0];
        assert_eq!(file["accepted"], false);
        file["errors"][0]["hint"].as_str().unwrap_or_default().to_owned()
    };
    let (document, _) = checked("tests/data/wild/41-policy-verbs-as-string.yaml", &[]);
    assert_eq!(hint(&document), "write `verbs: [create]`");
    for (field, expected) in [
        ("users: alice", "write `users: [alice]`"),
        ("userGroups: 'system:masters'", "write `userGroups: [\"system:masters\"]`"),
        ("namespaces: kube-system", "write `namespaces: [kube-system]`"),
        ("nonResourceURLs: /healthz*", "write `nonResourceURLs: [\"/healthz*\"]`"),
        ("omitStages: RequestReceived", "write `omitStages: [RequestReceived]`"),
        ("resources: pods", "write `resources: [{group: \"\", resources: [pods]}]`"),
        ("resources: [{group: '', resources: pods}]", "write `resources: [pods]`"),
        ("resources: {group: ''}", "resources is a list: begin each element with `- `"),
    ] {
        let text = format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  {field}\n"
        );
        assert_eq!(hint(&checked_text(&text, &[])), expected, "{field}");
    }
}

#[test]
fn policies_inside_other_documents() {
    for (name, kind, field, line) in [
        ("13-policy-configmap", "ConfigMap", "data.policy", 6),
        (
            "14-policy-kubeadmcontrolplane",
            "KubeadmControlPlane",
            "spec.kubeadmConfigSpec.files[0].content",
            9,
        ),
    ] {
        let (document, status) = checked(&format!("tests/data/wild/{name}.yaml"), &[]);
        assert_eq!(status, Some(1));
        let [own, inside] = document["files"].as_array().unwrap().as_slice() else {
            panic!("{document}")
        };
        assert_eq!((&own["accepted"], &own["embedded"]), (&Value::from(false), &Value::Null));
        let hint = own["errors"][0]["hint"].as_str().unwrap();
        let parts =
            ["must be a file of its own".to_owned(), kind.to_owned(), format!("line {line}")];
        assert!(parts.iter().all(|it| hint.contains(it)), "{hint}");
        assert_eq!(inside["accepted"], true);
        assert_eq!(
            inside["embedded"],
            serde_json::json!({"kind": kind, "line": line, "field": field})
        );
    }
}

#[test]
fn a_policy_inside_is_checked_where_it_stands() {
    let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  policy.yaml: |\n    apiVersion: audit.k8s.io/v1\n    kind: Policy\n    rules:\n    - level: None\n      users: ['system:node:*']\n    - level: metadata\n";
    let document = checked_text(text, &[]);
    let inside = &document["files"][1];
    assert_eq!((&inside["accepted"], &inside["errors"][0]["line"]), (&false.into(), &10.into()));
    let document = checked_text(&text.replace("level: metadata", "level: Metadata"), &[]);
    let inside = &document["files"][1];
    assert_eq!(inside["findings"][0]["line"], 8);
    assert!(inside["findings"][0]["message"].as_str().unwrap().contains("`system:node:*`"));
}

#[test]
fn templates_are_reported_as_such() {
    for text in [
        "{{- if .Values.audit }}\napiVersion: audit.k8s.io/v1\nkind: Policy\n{{- end }}\n",
        "apiVersion: {{ .Values.version }}\nkind: Policy\n",
        "{% if audit %}\nkind: Policy\n{% endif %}\n",
        "apiVersion: ${VERSION}\nkind: Policy\nrules: []\n",
    ] {
        let document = checked_text(text, &[]);
        let error = &document["files"][0]["errors"][0];
        assert!(error["message"].as_str().unwrap().contains("this is a template"), "{document}");
        assert!(error["hint"].as_str().unwrap().contains("render it first"), "{document}");
    }
}

#[test]
fn what_older_servers_refuse() {
    let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  resources: [{group: '*'}]\n";
    let messages = |args: &[&str]| {
        let document = checked_text(text, args);
        assert_eq!(document["files"][0]["accepted"], !args.contains(&"1.35"));
        document["files"][0]["findings"].to_string()
    };
    assert!(messages(&[]).contains("before 1.36"));
    assert!(!messages(&["--kube-version", "1.36"]).contains("before 1.36"));
    assert!(!messages(&["--kube-version", "1.35"]).contains("before 1.36"));
}

#[test]
fn what_is_logged_at_a_lower_level_is_not_missing() {
    let out = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["policy", "check", "tests/data/policy/policies/p01-metadata-all.yaml"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(!text.contains("not logged:"), "{text}");
    assert!(text.contains("logged at Metadata, not at Request: roles.rbac"), "{text}");
    assert!(text.contains("hint: "), "{text}");
}
