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
