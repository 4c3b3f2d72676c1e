//! The API server's own answers, recorded: its evaluator over real events, its loader over odd files.

use std::{fs, io::Read, path::PathBuf};

use serde::Deserialize;

use super::{
    Evaluator, Policy,
    load::{self, KubeVersion},
};
use crate::event::{Attributes, Event, Target};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/policy").join(name)
}

pub fn unpacked(name: &str) -> String {
    let file = fs::File::open(data(name)).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
pub fn policy(name: &str) -> Policy {
    let loaded = load::load(&fs::read(data(name)).unwrap(), KubeVersion::default());
    loaded.policy.unwrap_or_else(|| panic!("{name}: {:?}", loaded.errors))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    api_group: String,
    api_version: String,
    name: String,
    namespace: String,
    path: String,
    resource: String,
    resource_request: bool,
    subresource: String,
    verb: String,
}

#[derive(Deserialize)]
struct Answers {
    attrs: Seen,
    answers: Vec<String>,
}

#[track_caller]
fn same_attributes(attributes: &Attributes<'_>, seen: &Seen) {
    assert_eq!(attributes.verb, seen.verb);
    match &attributes.target {
        Target::Path(path) => assert_eq!((false, &**path), (seen.resource_request, &*seen.path)),
        Target::Resource(it) => {
            assert!(seen.resource_request, "{}", seen.path);
            let ours = [
                &it.api_group,
                &it.api_version,
                &it.namespace,
                &it.resource,
                &it.subresource,
                &it.name,
            ];
            let theirs = [
                &seen.api_group,
                &seen.api_version,
                &seen.namespace,
                &seen.resource,
                &seen.subresource,
                &seen.name,
            ];
            assert_eq!(ours.map(|it| &**it), theirs.map(|it| &**it), "{}", seen.path);
        }
    }
}

#[test]
fn every_recorded_answer() {
    let (events, expected) = (unpacked("events.jsonl.gz"), unpacked("expected.jsonl.gz"));
    let mut expected = expected.lines();
    let names: Vec<String> = serde_json::from_str(expected.next().unwrap()).unwrap();
    let evaluators: Vec<Evaluator> =
        names.iter().map(|it| Evaluator::new(&policy(&format!("policies/{it}")))).collect();
    let mut n = 0;
    for (line, answers) in events.lines().zip(expected) {
        let event: Event<'_> = serde_json::from_str(line).unwrap();
        let attributes = event.as_authenticated();
        let answers: Answers = serde_json::from_str(answers).unwrap();
        same_attributes(&attributes, &answers.attrs);
        for ((evaluator, name), expected) in evaluators.iter().zip(&names).zip(&answers.answers) {
            let it = evaluator.evaluate(&attributes);
            let mut stages: Vec<&str> = it.omit_stages.iter().map(|it| it.as_str()).collect();
            stages.sort_unstable();
            let rule = it.rule.map_or(-1, |it| it as i64);
            let ours =
                format!("{} {rule} {} {}", it.level, stages.join(","), it.omit_managed_fields);
            assert_eq!(&ours, expected, "{name} {line}");
            n += 1;
        }
    }
    assert_eq!(n, 5158 * 16);
}

#[derive(Deserialize)]
struct Verdict {
    file: String,
    accepted: bool,
    error: Option<String>,
}

#[test]
fn every_recorded_verdict_of_the_loader() {
    let verdicts = fs::read_to_string(data("invalid.jsonl")).unwrap();
    let mut n = 0;
    for line in verdicts.lines() {
        let verdict: Verdict = serde_json::from_str(line).unwrap();
        let file = &verdict.file;
        let loaded =
            load::load(&fs::read(data("invalid").join(file)).unwrap(), KubeVersion::default());
        assert_eq!(loaded.errors.is_empty(), verdict.accepted, "{file}: {:?}", loaded.errors);
        assert_eq!(loaded.policy.is_some(), verdict.accepted, "{file}");
        n += 1;
        let Some(theirs) = verdict.error else { continue };
        let ours: Vec<&str> = loaded.errors.iter().map(|it| it.message.as_str()).collect();
        let ours = match ours.as_slice() {
            [one] => (*one).to_owned(),
            many => format!("[{}]", many.join(", ")),
        };
        // The YAML parsers word their errors each its own way.
        if theirs.contains("yaml: ") {
            assert!(ours.starts_with("failed decoding: yaml: "), "{file}: {ours}");
        } else {
            assert_eq!(theirs, format!("{ours}: from file {file}"), "{file}");
        }
    }
    assert_eq!(n, 25);
}

/// Whether the text is refused, with this in the first message or its hint.
#[track_caller]
fn refused(text: &[u8], what: &str) {
    let (loaded, _) = super::embedded::load(text, KubeVersion::default());
    let first = loaded.errors.first().unwrap();
    let shown =
        format!("{}:{} {}", first.line, first.message, first.hint.as_deref().unwrap_or_default());
    assert!(shown.contains(what), "{shown}");
    assert!(loaded.policy.is_none());
}

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n";

#[test]
fn odd_files() {
    let with = |rest: &str| format!("{HEAD}{rest}").into_bytes();
    refused(&with("-\tlevel: None\n  users:\n\t- a\n"), "yaml: line");
    refused(b"\x7fELF\x02\x01\x01\0\0", "control characters");
    refused(&with(&"[".repeat(20_000)), "yaml");
    refused(b"{apiVersion: audit.k8s.io/v1}", "read as JSON");
    let list =
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: audit.k8s.io/v1\n  kind: Policy\n";
    refused(list.as_bytes(), "in `items[0]` of this List, on line 4, must be a file of its own");
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  policy.yaml: |\n    {}",
        HEAD.replace('\n', "\n    ")
    );
    refused(map.as_bytes(), "this ConfigMap");
    refused(&with("- level: Metadata\n  users: [yes]\n"), "put it in quotes");
    assert_eq!(load::load(&with("- level: Metadata\r\n"), KubeVersion::default()).errors, []);
}

#[test]
fn exploding_aliases() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let many = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("a{n}: &a{n} [{many}]\n");
    }
    refused(format!("{text}{HEAD}- level: None\n").as_bytes(), "excessive aliasing");
}

#[test]
fn many_rules() {
    let rules: String =
        (0..100_000).map(|n| format!("- {{level: None, users: [u{n}]}}\n")).collect();
    let loaded = load::load(format!("{HEAD}{rules}").as_bytes(), KubeVersion::default());
    assert_eq!(loaded.policy.as_ref().unwrap().rules.len(), 100_000);
    let ids: Vec<_> = super::lint::lint(&loaded).iter().map(|it| it.id).collect();
    assert_eq!(ids, ["no-catch-all"]);
}

#[test]
fn every_group_since_1_36() {
    let text = format!("{HEAD}- level: None\n  resources: [{{group: '*'}}]\n");
    assert!(load::load(text.as_bytes(), KubeVersion(36)).policy.is_some());
    assert_eq!(load::load(text.as_bytes(), KubeVersion(35)).errors[0].line, 5);
}
