use proptest::prelude::*;

use super::*;
use crate::{
    decode::{Projection, Reader},
    event::Timestamp,
};

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"007","stage":"ResponseComplete","requestURI":"/a?x=b\u0026y=1","verb":"w\u0061tch","user":{"username":"ann","groups":["dev","ops","7"],"extra":{"a.b/c":["x"]}},"sourceIPs":["10.0.0.1","192.168.0.1"],"userAgent":"","objectRef":{"resource":"pods","namespace":"shop","subresource":"exec","apiVersion":"v1"},"responseStatus":{"code":403,"big":"18446744073709551617"},"requestObject":{"spec":{"replicas":3,"paused":true,"containers":[{"image":"nginx:1"},{"image":"redis:2","tty":true},{"name":"x"}]}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","stageTimestamp":"2026-01-02T03:04:06.500000Z","annotations":{"authorization.k8s.io/decision":"forbid","none":null}}"#;

fn holds(
    build: impl FnOnce(&mut Projection) -> Result<Filter, FilterError>,
    line: &str,
) -> Result<bool, FilterError> {
    let mut projection = Projection::default();
    let filter = build(&mut projection)?;
    let mut found = Vec::new();
    let head = Reader::new(&projection).read(line.as_bytes(), &mut found).expect(line);
    Ok(filter.matches(&crate::decode::Record::new(
        "log",
        line.as_bytes(),
        head,
        &projection,
        &found,
    )))
}

#[track_caller]
fn check(expressions: &[&str], expected: bool) {
    for text in expressions {
        let result = holds(|projection| Ok(Filter::default().and(parse(text, projection)?)), EVENT);
        assert_eq!(result, Ok(expected), "{text}");
    }
}

#[test]
fn equal() {
    check(
        &["verb=watch", "verb==watch", "verb = watch", "verb=\"watch\"", "responseStatus.code=403"],
        true,
    );
    check(
        &[
            "responseStatus.code=403.0",
            "requestObject.spec.paused=true",
            "responseStatus.code=4.03e2",
            "auditID=7",
            "auditID=+07.0",
        ],
        true,
    );
    check(&["verb=get", "verb=Watch", "responseStatus.code=404", "verb="], false);
    check(&["requestURI=/a?x=b&y=1", "user.groups=[\"dev\",\"ops\",\"7\"]"], true);
}

#[test]
fn equal_to_nothing() {
    check(&["userAgent=", "nothing=", "annotations.none=", "objectRef.name=\"\""], true);
    check(&["verb=", "user.groups="], false);
}

#[test]
fn not_equal() {
    check(&["verb!=get", "nothing!=x", "annotations.none!=x", "objectRef.resource!="], true);
    check(&["verb!=watch", "responseStatus.code!=403", "nothing!="], false);
}

#[test]
fn order() {
    check(
        &[
            "responseStatus.code>=400",
            "responseStatus.code>402.5",
            "responseStatus.code<1000",
            "verb>v",
            "verb<x",
        ],
        true,
    );
    check(
        &[
            "responseStatus.code>403",
            "responseStatus.code<403",
            "nothing<1",
            "nothing>=0",
            "nothing<=",
        ],
        false,
    );
    check(
        &["responseStatus.big>18446744073709551616", "responseStatus.big=18446744073709551617"],
        true,
    );
    check(
        &["responseStatus.big=18446744073709551616", "responseStatus.big<=18446744073709551616"],
        false,
    );
}

#[test]
fn times() {
    check(
        &[
            "stageTimestamp>=2026-01-02",
            "stageTimestamp<2026-01-02T03:04:07Z",
            "stageTimestamp>2026-01-02T04:04:06+01:00",
        ],
        true,
    );
    check(
        &["stageTimestamp=2026-01-02T04:04:06.5+01:00", "stageTimestamp<=2026-01-02 03:05"],
        true,
    );
    check(&["stageTimestamp>2026-01-03", "stageTimestamp<2026-01-02"], false);
}

#[test]
fn contains() {
    check(
        &[
            "user.groups+=ops",
            "user.groups+=7",
            "user.groups+=7.0",
            "user.username+=nn",
            "sourceIPs+=10.0.0.1",
        ],
        true,
    );
    check(&["user.groups+=op", "nothing+=", "nothing+=x", "user.username+=bob"], false);
    check(&["user.groups-=op", "nothing-=x", "user.username-=bob"], true);
    check(&["user.groups-=ops", "user.username-=nn"], false);
}

#[test]
fn regular_expressions() {
    check(
        &["verb=~^wat", "verb=~a", "requestURI=~\"x=b&y\"", "nothing!~x", "user.username!~^b"],
        true,
    );
    check(&["verb=~^at", "nothing=~.*", "verb!~watch"], false);
}

#[test]
fn lists() {
    check(
        &[
            "verb in (get, watch)",
            "verb in (\"watch\")",
            "verb notin (get,list)",
            "nothing notin (a)",
            "nothing in (a,)",
        ],
        true,
    );
    check(
        &[
            "verb in (get)",
            "verb notin (watch)",
            "nothing in (a)",
            "responseStatus.code notin (401, 403)",
        ],
        false,
    );
}

#[test]
fn presence() {
    check(
        &[
            "verb",
            "user",
            "userAgent",
            "!nothing",
            "!annotations.none",
            "sourceIPs[1]",
            "! nothing",
        ],
        true,
    );
    check(&["nothing", "!verb", "annotations.none", "sourceIPs[2]"], false);
}

#[test]
fn paths() {
    check(
        &[
            "annotations.\"authorization.k8s.io/decision\"=forbid",
            "user.extra.\"a.b/c\"[0]=x",
            "sourceIPs[0]=10.0.0.1",
        ],
        true,
    );
    check(
        &["requestObject.spec.replicas=3", "requestObject.spec.containers[1].image=redis:2"],
        true,
    );
}

#[test]
fn any_element() {
    let key = "requestObject.spec.containers.image";
    check(
        &[&format!("{key}=redis:2"), &format!("{key}!=redis:2"), &format!("{key}=~^nginx"), key],
        true,
    );
    check(
        &[&format!("{key}=x"), &format!("!{key}"), "requestObject.spec.containers.nothing"],
        false,
    );
}

#[track_caller]
fn short(build: impl FnOnce(&mut Projection) -> Condition, expected: bool) {
    assert_eq!(
        holds(|projection| Ok(Filter::default().and(build(projection))), EVENT),
        Ok(expected)
    );
}

#[test]
fn short_forms() {
    short(|it| verb("get,watch", it), true);
    short(|it| subject("ann", it), true);
    short(|it| subject("ns/ann", it), false);
    short(|it| namespace("shop", it), true);
    for (text, expected) in [
        ("pods", false),
        ("pods/exec", true),
        ("pods/*", true),
        ("*/exec", true),
        ("pods/exec.apps", false),
        ("pods/exec.", true),
        ("jobs,pods/exec", true),
    ] {
        short(|it| resource(text, it).expect(text), expected);
    }
    for (text, expected) in [("403", true), ("4xx", true), ("5xx,2xx", false), ("500,403", true)] {
        short(|it| code(text, it).expect(text), expected);
    }
}

#[test]
fn a_service_account_by_namespace_and_name() {
    let line = EVENT.replace("\"ann\"", "\"system:serviceaccount:ci:robot\"");
    let result = holds(|it| Ok(Filter::default().and(subject("ci/robot", it))), &line);
    assert_eq!(result, Ok(true));
}

#[track_caller]
fn check_where(text: &str, expected: bool) {
    assert_eq!(holds(|it| Filter::default().and_where(text, it), EVENT), Ok(expected), "{text}");
}

#[test]
fn cel() {
    check_where("event.verb == 'watch' && event.responseStatus.code >= 400", true);
    check_where("event.verb == 'get' || event.user.groups.exists(g, g == 'ops')", true);
    check_where("event.requestObject.spec.replicas in [2, 3]", true);
    check_where("has(event.objectRef) && !has(event.objectRef.name)", true);
    check_where("event.user.username.matches('^a')", true);
    check_where("timestamp(event.stageTimestamp) > timestamp('2026-01-02T03:04:06Z')", true);
    check_where("event.nothing.at.all == 1", false);
}

/// As deep as it gets, on a thread of the usual size: a test's, and the reading threads'.
#[test]
fn cel_is_bounded() {
    let nested = |open: &str, n: usize, inner: &str, close: &str| {
        let text = format!("{}{inner}{}", open.repeat(n), close.repeat(n));
        holds(|it| Filter::default().and_where(&text, it), EVENT)
    };
    for n in [1, 12, 20, 24, 60, 199] {
        let _ = nested("(", n, "event.verb", ") == 'x'");
        let _ = nested("[", n, "event", "] == []");
        let _ = nested("{1:", n, "event", "} == 1");
        let _ = nested("size(", n, "event", ") == 1");
        let _ = nested("event.verb < ", n, "'a'", "");
        let _ = nested("event", 1, ".verb", &".a".repeat(n));
        let _ = nested("1 + ", n, "event.responseStatus.code > 1", "");
        let _ = nested("!", n, "(event.verb == 'a')", "");
        let _ = nested("event.verb == 'a' ? true : ", n, "false", "");
        let _ = nested("event.verb == 'a' || ", n.min(50), "false", "");
        let _ = nested("[1,2,3,4,5,6,7,8,9].all(a, ", n, "event.verb == 'x'", ")");
    }
    assert_eq!(nested("event.verb == 'a' || ", 30, "event.verb == 'watch'", ""), Ok(true));
    assert_eq!(nested("(", 20, "event.verb == 'watch'", ")"), Ok(true));
    assert!(nested("[1].all(a, ", 4, "event.verb == 'x'", ")").is_err());
    assert_eq!(nested("[1].all(a, ", 3, "event.verb == 'watch'", ")"), Ok(true));
}

#[test]
fn cel_survives_arithmetic() {
    for text in [
        "event.verb == 'x' || (-9223372036854775807 - 1) / -1 == 0",
        "event.verb == 'x' || (-9223372036854775807 - 1) % -1 == 1",
        "event.responseStatus.code / 0 == 0",
        "timestamp(event.stageTimestamp) + duration('9223372036s') < timestamp('1999-01-01T00:00:00Z')",
        "event.user.groups[-1] == 'x' || event.user.groups[99] == 'x'",
        "event.verb.matches('(a{1000}){1000}') || event.verb.matches('(')",
    ] {
        check_where(text, false);
    }
}

/// What serde_json refuses in a body does not hide the request.
#[test]
fn cel_reads_odd_bodies() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    for body in ["{\"a\":\"\\ud800\",\"n\":[1,null,true]}", "{\"a\":1e999}", &deep] {
        let line = EVENT.replace(
            "\"requestObject\":{",
            &format!("\"responseObject\":{body},\"requestObject\":{{"),
        );
        for (text, expected) in [
            ("event.verb == 'watch' && event.responseStatus.code == 403", true),
            ("event.user.groups.exists(it, it == 'ops')", true),
            ("event.verb == 'get'", false),
        ] {
            assert_eq!(
                holds(|it| Filter::default().and_where(text, it), &line),
                Ok(expected),
                "{text} {body}"
            );
        }
    }
}

#[test]
fn cel_errors() {
    let cel = |text: &str| holds(|it| Filter::default().and_where(text, it), EVENT);
    refused(cel("event.verb"), "this gives a string, not true or false\n  event.verb\n  ^");
    refused(cel("event.verb == get"), "there is no `get`\n  event.verb == get\n                ^");
    refused(cel("verb == 'get'"), "there is no `verb`\n  verb == 'get'\n  ^");
    assert!(cel("nothing(event.verb)").is_err() && cel("event.verb.like('a')").is_err());
    check_where("type(event.verb) == string && event.verb.size() == 5", true);
}

#[track_caller]
fn refused(result: Result<bool, FilterError>, expected: &str) {
    assert_eq!(
        result.expect_err(expected).to_string(),
        format!("cannot read this filter: {expected}")
    );
}

#[test]
fn errors_point_at_the_place() {
    let filter = |text: &str| holds(|it| Ok(Filter::default().and(parse(text, it)?)), EVENT);
    refused(filter("verb ~ get"), "`~` is no operator\n  verb ~ get\n       ^");
    refused(filter("verb get"), "an operator is expected here\n  verb get\n       ^");
    refused(filter("=x"), "a key is expected here, such as `verb` or `user.username`\n  =x\n  ^");
    refused(
        filter("verb in get"),
        "a list in parentheses is expected here, as in `verb in (get,list)`\n  verb in get\n          ^",
    );
    refused(filter("verb in (get"), "`,` or `)` is expected here\n  verb in (get\n              ^");
    refused(filter("verb=\"a"), "this quote is never closed\n  verb=\"a\n       ^");
    refused(filter("verb=~("), "not a regular expression: unclosed group\n  verb=~(\n        ^");
    let cel = |text: &str| holds(|it| Filter::default().and_where(text, it), EVENT);
    assert!(cel("event.verb ==").is_err() && cel("verb == 'x'").is_err() && cel("1 + 1").is_err());
    assert!(cel(&"(".repeat(3000)).is_err() && cel(&"!".repeat(3000)).is_err());
}

/// The same conditions, told again over a plain JSON tree: slow, and written apart from the code above.
mod reference {
    use serde_json::Value;

    pub(super) fn values<'v>(value: &'v Value, path: &[&str]) -> Vec<&'v Value> {
        match (path, value) {
            ([first, rest @ ..], value) if first.starts_with('[') => {
                let index: usize = first[1..first.len() - 1].parse().expect("a generated index");
                value.get(index).map(|it| values(it, rest)).unwrap_or_default()
            }
            ([], Value::Null) => vec![],
            ([], value) => vec![value],
            ([_, ..], Value::Array(all)) => {
                all.iter().filter(|it| it.is_object()).flat_map(|it| values(it, path)).collect()
            }
            ([first, rest @ ..], Value::Object(fields)) => {
                fields.get(*first).map(|it| values(it, rest)).unwrap_or_default()
            }
            _ => vec![],
        }
    }

    fn text(value: &Value) -> String {
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    fn number(text: &str) -> Option<f64> {
        let is_number = serde_json::from_str::<Value>(text).is_ok_and(|it| it.is_number());
        is_number.then(|| text.parse().expect("a JSON number is a number"))
    }

    fn order(value: &Value, operand: &str) -> std::cmp::Ordering {
        let text = text(value);
        match (number(&text), number(operand)) {
            (Some(a), Some(b)) => a.partial_cmp(&b).expect("no NaN in JSON"),
            _ => text.as_bytes().cmp(operand.as_bytes()),
        }
    }

    pub(super) fn holds(event: &Value, path: &[&str], operator: &str, operands: &[&str]) -> bool {
        let all = values(event, path);
        let operand = operands[0];
        let one = |value: &Value| match operator {
            "" => true,
            "!" => false,
            "=" | "==" => order(value, operand).is_eq(),
            "!=" => order(value, operand).is_ne(),
            ">=" => order(value, operand).is_ge(),
            "<=" => order(value, operand).is_le(),
            ">" => order(value, operand).is_gt(),
            "<" => order(value, operand).is_lt(),
            "in" => operands.iter().any(|it| order(value, it).is_eq()),
            "notin" => !operands.iter().any(|it| order(value, it).is_eq()),
            "=~" => text(value).contains(operand),
            "!~" => !text(value).contains(operand),
            "+=" | "-=" => {
                let has = match value {
                    Value::Array(elements) => elements.iter().any(|it| order(it, operand).is_eq()),
                    Value::Object(_) => false,
                    other => text(other).contains(operand),
                };
                has == (operator == "+=")
            }
            _ => unreachable!("no other operator is generated"),
        };
        match all.is_empty() {
            true => match operator {
                "=" | "==" => operand.is_empty(),
                "!=" => !operand.is_empty(),
                "in" => operands.contains(&""),
                "notin" => !operands.contains(&""),
                "-=" | "!~" | "!" => true,
                _ => false,
            },
            false => all.into_iter().any(one),
        }
    }
}

/// The same JSON, written in another way: characters of strings as escapes, blanks between values.
fn rewritten(json: &str, escapes: &[bool]) -> String {
    let (mut out, mut is_text, mut is_escaped) = (String::new(), false, false);
    for (c, escape) in json.chars().zip(escapes.iter().cycle()) {
        match c {
            _ if is_escaped => {
                is_escaped = false;
                out.push(c);
            }
            '\\' => {
                is_escaped = true;
                out.push(c);
            }
            '"' => {
                is_text = !is_text;
                out.push(c);
            }
            c if is_text && *escape && c.is_alphanumeric() => {
                out += &format!("\\u{:04x}", u32::from(c));
            }
            ',' | ':' if !is_text && *escape => out.extend([' ', c, '\t']),
            c => out.push(c),
        }
    }
    out
}

fn json(depth: u32) -> BoxedStrategy<serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5..30_i64).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "ab", "3", "3.0", "", "é\n\"\\", "-1"])
            .prop_map(Value::from),
        Just(json!(1.5)),
    ];
    leaf.prop_recursive(depth, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec!["a", "b", "c"]).prop_map(String::from),
                inner,
                0..3
            )
            .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_reference(
        body in json(4),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "[0]", "[1]"]), 0..3),
        operator in prop::sample::select(vec![
            "=", "==", "!=", ">=", "<=", ">", "<", "+=", "-=", "=~", "!~", "in", "notin", "", "!",
        ]),
        operands in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "3", "3.0", "", "1.5", "true", "null", "[]", "é\n\"\\", "-1", "[\"a\"]", "0",
        ]), 2),
        escapes in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let event = serde_json::json!({"level": "Request", "stage": "Panic", "user": {"username": "u"}, "requestObject": body});
        let path: Vec<&str> = std::iter::once("requestObject").chain(path).collect();
        let key = path.join(".").replace(".[", "[");
        let quote = |it: &str| format!("\"{}\"", it.replace('\\', "\\\\").replace('"', "\\\""));
        let text = match operator {
            "" | "!" => format!("{operator}{key}"),
            "in" | "notin" => format!("{key} {operator} ({},{})", quote(operands[0]), quote(operands[1])),
            "=~" | "!~" => format!("{key}{operator}{}", quote(&regex::escape(operands[0]))),
            _ => format!("{key}{operator}{}", quote(operands[0])),
        };
        let line = rewritten(&event.to_string(), &escapes);
        let result = holds(|projection| Ok(Filter::default().and(parse(&text, projection)?)), &line);
        prop_assert_eq!(result, Ok(reference::holds(&event, &path, operator, &operands)), "{} of {}", text, line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", signs in "[a-z.!=<>~+()\\[\\]\", -]{0,20}") {
        for text in [text, signs] {
            let _ = parse(&text, &mut Projection::default());
            let _ = time(&text, Timestamp(0));
            let _ = resource(&text, &mut Projection::default());
            let _ = code(&text, &mut Projection::default());
            let _ = Filter::default().and_where(&text, &mut Projection::default());
        }
    }
}
