//! `history` on a recorded log: no secret in any format, and every thread count gives the same.

use std::process::Command;

const LOG: &str = "examples/changes.log";

fn run(args: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    let out = command.arg("history").args(args).env("KUBECONFIG", "/nowhere").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(out.stdout), text(out.stderr))
}

/// The password of the log, plain and in base64.
const SECRETS: [&str; 4] =
    ["correct-horse", "Y29ycmVjdC1ob3JzZQ", "battery-staple", "YmF0dGVyeS1zdGFwbGU"];

#[test]
fn secrets_are_hashes_in_every_format() {
    for format in ["table", "wide", "json", "jsonl", "yaml", "csv", "diff"] {
        for target in ["secret/db", "deploy/web", "all"] {
            let (shown, said) = run(&[target, "-o", format, LOG]);
            assert!(!shown.is_empty(), "{format} {said}");
            let leaked =
                SECRETS.iter().find(|secret| shown.contains(**secret) || said.contains(**secret));
            assert_eq!(leaked, None, "{format} {target}");
        }
    }
    for format in ["yaml", "json", "jsonl"] {
        let at = ["secret/db,deploy/web", "--at", "2026-12-01 02:33:03", "-o", format, LOG];
        let (shown, said) = run(&at);
        assert!(shown.contains("sha256:") && said.contains("do not apply"), "{said}");
        assert!(!SECRETS.iter().any(|secret| shown.contains(secret)), "{format}");
        assert!(run(&[&at[..], &["--show-secrets"]].concat()).0.contains(SECRETS[3]), "{format}");
    }
}

#[test]
fn a_change_of_a_secret_shows() {
    let (shown, _) = run(&["secret/db", "-n", "shop", "-o", "diff", "--verb", "patch", LOG]);
    assert!(
        shown.contains("-  password: sha256:") && shown.contains("+  password: sha256:"),
        "{shown}"
    );
}

#[test]
fn threads_and_copies_change_nothing() {
    let args = ["all", "-o", "json", "--status", "--show-secrets", "-q"];
    let one = run(&[&args[..], &["--threads", "1", LOG]].concat()).0;
    let many = run(&[&args[..], &["--threads", "7", LOG]].concat()).0;
    assert!(one == many && one.len() > 10_000);
}

#[test]
fn operations_lead_from_before_to_after() {
    let (shown, _) = run(&["cm/settings", "-o", "json", "-q", LOG]);
    let document: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let items = document["items"].as_array().unwrap();
    let mut value = serde_json::Value::Null;
    for item in &items[..items.len() - 1] {
        let patch: json_patch::Patch = serde_json::from_value(item["diff"].clone()).unwrap();
        json_patch::patch(&mut value, &patch).unwrap();
    }
    assert_eq!(value["data"]["shop.conf"], "currency = EUR\ncheckout = off\ntimeout = 5\n");
    assert_eq!(items.last().unwrap()["diff"][0]["oldValue"], value);
}
