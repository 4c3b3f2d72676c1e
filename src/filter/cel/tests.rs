//! The plan of an expression agrees with the interpreter, which sees the whole event.

use proptest::prelude::*;

use super::*;
use crate::decode::Reader;

/// Returns what the plan decides, and what the interpreter decides about the whole event.
fn both(text: &str, line: &str) -> (bool, bool) {
    let mut projection = Projection::default();
    let expression = Expression::parse(text, &mut projection).expect(text);
    let mut found = Vec::new();
    let head = Reader::new(&projection).read(line.as_bytes(), &mut found).expect(line);
    let record = Record::new("log", line.as_bytes(), head, &projection, &found);

    let whole = json_value(Json::new(line.as_bytes()));
    let interpreted = matches!(expression.evaluate(whole), Some(Value::Bool(true)));
    (expression.holds(&record), interpreted)
}

fn paths() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "verb",
        "user",
        "username",
        "groups",
        "objectRef",
        "name",
        "code",
        "responseStatus",
        "a",
        "b",
    ]);
    let path = prop::collection::vec((names, any::<bool>()), 1..4).prop_map(|names| {
        let step = |(name, is_index): (&str, bool)| {
            if is_index { format!("[\"{name}\"]") } else { format!(".{name}") }
        };
        format!("event{}", names.into_iter().map(step).collect::<String>())
    });
    let known = prop::sample::select(vec![
        "event.verb",
        "event.user.username",
        "event.user.groups",
        "event.objectRef.name",
        "event.responseStatus.code",
        "event.annotations[\"a.b/c\"]",
        "event.a.b",
        "event.a",
    ]);
    prop_oneof![2 => known.prop_map(str::to_owned), 1 => path]
}

fn literals() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["'get'", "'ann'", "''", "'a'", "200", "-1", "404", "'é'", "1.5"])
}

fn comparisons() -> impl Strategy<Value = String> {
    let operators = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let methods = prop::sample::select(vec!["startsWith", "endsWith", "contains", "matches"]);
    let tested = prop::sample::select(vec![
        "has(event.verb)",
        "has(event.objectRef)",
        "has(event.objectRef.name)",
        "has(event.a.b)",
        "has(event.a.b.c)",
        "has(event.user.groups)",
    ]);
    prop_oneof![
        (paths(), operators.clone(), literals()).prop_map(|(p, o, l)| format!("{p} {o} {l}")),
        (literals(), operators.clone(), paths()).prop_map(|(l, o, p)| format!("{l} {o} {p}")),
        (paths(), operators, paths()).prop_map(|(p, o, q)| format!("{p} {o} {q}")),
        (paths(), methods).prop_map(|(p, m)| format!("{p}.{m}('a')")),
        (literals(), paths()).prop_map(|(l, p)| format!("{l} in {p}")),
        (paths(), literals()).prop_map(|(p, l)| format!("{p} in ['get', {l}]")),
        paths().prop_map(|p| format!("{p}.exists(g, g == 'a')")),
        paths().prop_map(|p| format!("size({p}) > 1")),
        tested.prop_map(str::to_owned),
    ]
}

fn expressions() -> impl Strategy<Value = String> {
    comparisons().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop::sample::select(vec![
        Value::Null,
        json!("get"),
        json!("ann"),
        json!("a"),
        json!("é\n\"a"),
        json!(200),
        json!(-1),
        json!(1.5),
        json!(404),
        json!(true),
        json!([]),
        json!({}),
        json!(["a", 1]),
        json!([{"name": "a"}]),
    ]);
    leaf.prop_recursive(2, 8, 3, |inner| {
        let names = prop::sample::select(vec!["username", "groups", "name", "code", "a", "b", "c"]);
        prop::collection::hash_map(names, inner, 0..4).prop_map(|fields| {
            Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            )
        })
    })
}

fn events() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "verb",
        "user",
        "objectRef",
        "responseStatus",
        "annotations",
        "a",
    ]);
    prop::collection::hash_map(names, values(), 0..7).prop_map(|fields| {
        let mut event = serde_json::json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "Panic", "requestURI": "/x",
        });
        for (name, value) in fields {
            event[name] = value;
        }
        event.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn plan_agrees_with_the_interpreter(text in expressions(), lines in prop::collection::vec(events(), 1..6)) {
        let mut projection = Projection::default();
        // An expression that gives no truth value, or that the parser refuses, is refused.
        prop_assume!(Expression::parse(&text, &mut projection).is_ok());
        for line in lines {
            // A line without a user, or with an object as text, is not read: `unwrap` mends it.
            if Reader::new(&projection).read(line.as_bytes(), &mut Vec::new()).is_err() {
                continue;
            }
            let (planned, interpreted) = both(&text, &line);
            prop_assert_eq!(planned, interpreted, "{} of {}", text, line);
        }
    }
}

#[track_caller]
fn check_plan(text: &str, needs_interpreter: bool) {
    let expression = Expression::parse(text, &mut Projection::default()).expect(text);
    assert_eq!(expression.plan.needs_interpreter, needs_interpreter, "{text}");
}

#[test]
fn decides_plain_comparisons_without_the_interpreter() {
    check_plan("event.verb == 'get' && event.responseStatus.code >= 400", false);
    check_plan("!(event.verb in ['get', 'list']) || 'ops' in event.user.groups", false);
    check_plan("event.annotations[\"a.b/c\"].startsWith('x') && has(event.objectRef)", false);
    check_plan("event.user.groups.exists(g, g == 'a')", true);
    check_plan("timestamp(event.stageTimestamp) > timestamp('2026-01-02T03:04:06Z')", true);
}
