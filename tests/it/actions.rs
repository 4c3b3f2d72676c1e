//! `actions` on recordings whose truth is known.

use std::{collections::HashMap, io::Read, path::Path};

use flate2::read::MultiGzDecoder;
use kubectl_audit::{
    analysis::actions::{
        Linker, command,
        evaluate::{Prediction, Score, Truth, Unit, score},
        requests::Digester,
    },
    event::Event,
};

fn text(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

/// The figures of a recording, with bodies or without.
fn evaluate(name: &str, has_bodies: bool) -> Score {
    let folder = Path::new("tests/data/actions");
    let log = text(&folder.join(format!("{name}.log.gz")));
    let truth = Truth::parse(&text(&folder.join(format!("{name}.truth.jsonl.gz")))).unwrap();
    let (mut linker, mut digester) = (Linker::default(), Digester::default());
    let (mut units, mut actions) = (Vec::new(), Vec::new());
    for line in log.lines() {
        let mut event: Event<'_> = serde_json::from_str(line).unwrap();
        if !has_bodies {
            (event.request_object, event.response_object) = (None, None);
        }
        let received = event.request_received_timestamp.unwrap();
        units.push(Unit { audit_id: event.audit_id.to_string(), received, is_vague: false });
        linker.observe(digester.digest(&event, name, true), &mut |action| actions.push(action));
    }
    linker.finish(&mut |action| actions.push(action));

    let mut prediction = Prediction::default();
    for action in &actions {
        prediction.commands.insert(action.number, command::command(action));
        for step in &action.steps {
            let other = prediction.actions.insert(step.audit_id.to_string(), action.number);
            assert_eq!(other, None, "{} is in two actions", step.audit_id);
        }
    }
    score(&units, &truth, &prediction, false).0
}

#[track_caller]
fn check(name: &str, has_bodies: bool, least: &[(&str, f64)]) {
    let score = evaluate(name, has_bodies);
    let figures: HashMap<&str, f64> = HashMap::from([
        ("f1", score.pair_f1),
        ("jaccard", score.mean_jaccard),
        ("cause", score.cause_accuracy),
        ("command", score.command_accuracy.unwrap_or(0.0)),
    ]);
    for (figure, least) in least {
        assert!(
            figures[figure] >= *least,
            "{name}: {figure} is {:.4}: {score:#?}",
            figures[figure]
        );
    }
}

#[test]
fn finds_actions_one_after_the_other() {
    let least = [("f1", 0.98), ("jaccard", 0.98), ("cause", 0.99), ("command", 0.97)];
    check("sequential", true, &least);
}

#[test]
fn finds_actions_of_several_users_at_once() {
    let least = [("f1", 0.97), ("jaccard", 0.98), ("cause", 0.99), ("command", 0.97)];
    check("overlapping", true, &least);
}

#[test]
fn finds_actions_without_bodies() {
    check(
        "sequential",
        false,
        &[("f1", 0.95), ("jaccard", 0.95), ("cause", 0.96), ("command", 0.93)],
    );
    check(
        "overlapping",
        false,
        &[("f1", 0.92), ("jaccard", 0.96), ("cause", 0.96), ("command", 0.93)],
    );
}
