//! Every finding of `policy check` is in the guide, with an example of it and one without.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

const GUIDE: &str = include_str!("../../docs/guide/findings.md");

/// Each section's ID and its examples.
fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let section = |text: &'static str| {
        let (id, rest) = text.split_once("`\n").unwrap();
        let examples = rest.split("```yaml\n").skip(1).map(|it| it.split("```").next().unwrap());
        (id, examples.collect())
    };
    GUIDE.split("\n## `").skip(1).map(section).collect()
}

/// What is found in a policy with these rules.
fn found(rules: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    fs::write(&file, format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"))
        .args(["policy", "check", "-o", "json", "--log", "examples/audit.log"])
        .arg(file)
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checked = &document["files"][0];
    let ids = |of: &str, keep: fn(&&Value) -> bool| {
        let list = checked[of].as_array().unwrap().iter().filter(keep);
        list.map(|it| it["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut all = ids("findings", |_| true);
    all.extend(ids("baseline", |it| it["passed"] == false));
    if checked["accepted"] == false {
        all.push("refused".to_owned());
    }
    all
}

#[test]
fn examples() {
    for (id, examples) in sections() {
        let [first, rest @ ..] = &*examples else { panic!("{id} has no example") };
        assert!(found(first).iter().any(|it| it == id), "{id}: {:?}", found(first));
        for better in rest {
            assert!(!found(better).iter().any(|it| it == id), "{id}: {better}");
        }
    }
}

/// Users and words in the sources that look like IDs.
const NAMES: [&str; 3] = ["kubernetes-admin", "kube-apiserver-kubelet-client", "port-forward"];

#[test]
fn every_id_is_there() {
    let documented: Vec<&str> = sections().into_iter().map(|it| it.0).collect();
    let places = [
        "src/policy/lint.rs",
        "src/policy/never.rs",
        "src/policy/advice.rs",
        "src/analysis/policy_subjects.rs",
    ];
    let word = regex::Regex::new(r#""([a-z]+(?:-[a-z]+)+)""#).unwrap();
    let mut n = 0;
    for place in places {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(place)).unwrap();
        for id in word.captures_iter(&text).map(|it| it.get(1).unwrap().as_str()) {
            if NAMES.contains(&id) {
                continue;
            }
            assert!(documented.contains(&id), "{id} is missing in docs/guide/findings.md");
            n += 1;
        }
    }
    assert!(n > 12, "the IDs are found: {n}");
}
