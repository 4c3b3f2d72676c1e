//! What every parser must hold on any bytes: it ends, without a panic. The fuzz targets call these
//! functions, and so does `tests/it/corpus.rs` with every input that a run was seeded with or found.

use kubectl_audit::{
    analysis::history::{self, History, Keep, LabelSelector, Question, Redactor},
    decode::{self, Projection, Reader, Record, strict, unwrap},
    event::{Attributes, Key, Target, Timestamp, User, uri},
    filter::{self, Filter, Window},
    policy::{
        Evaluator, baseline, embedded,
        lint::lint,
        load::{KubeVersion, load},
    },
    rbac::{self, Snapshot},
    source,
};

/// The name of a target, and what it does with an input.
pub type Parser = (&'static str, fn(&[u8]));

/// All targets, each with its folder in `fuzz/corpus`.
pub const TARGETS: &[Parser] = &[
    ("readers", readers),
    ("filter", filter),
    ("request_uri", request_uri),
    ("unwrap", unwrapped),
    ("cel", cel),
    ("policy", policy),
    ("rbac", rbac_objects),
    ("packed", packed),
    ("names", names),
    ("listing", listing),
    ("history", history),
];

/// The two readers: where the strict one reads a line, the fast one gives the same or hands it over; and
/// so does the one that reads the first line of a text.
pub fn readers(text: &[u8]) {
    let few = ["verb", "user.username", "objectRef.resource"];
    let many = [
        "verb",
        "user.username",
        "user.groups[0]",
        "objectRef",
        "responseStatus.code",
        "annotations.a",
        "x.y",
    ];
    read(text, &few);
    read(text, &many);
    taken_apart(text);
}

fn read(text: &[u8], keys: &[&str]) {
    let mut projection = Projection::default();
    for key in keys {
        projection.want(key);
    }
    let reader = Reader::new(&projection);
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    let fast_head = reader.read(text, &mut fast);
    let slow_head = strict::read(text, &projection, &mut slow);
    // What nobody looks at may be broken: then only the strict reader refuses it.
    if slow_head.is_ok() {
        assert_eq!(fast_head, slow_head);
        assert_eq!(fast, slow);
    }
    if let Some((fast_head, len)) = reader.first(text, &mut fast) {
        assert_eq!(len, text.iter().position(|it| *it == b'\n').unwrap_or(text.len()));
        if let Ok(slow_head) = strict::read(&text[..len], &projection, &mut slow) {
            assert_eq!(fast_head, slow_head);
            assert_eq!(fast, slow);
        }
    }
}

/// Where any reader of JSON sees an object, its fields put together again are the same object, and without
/// bodies it is one still.
fn taken_apart(line: &[u8]) {
    let all = decode::fields(line);
    let Ok(object) = serde_json::from_slice::<serde_json::Map<_, _>>(line) else { return };
    let parts = all.expect("it is an object").into_iter().map(|(key, value)| {
        let key = serde_json::Value::from(key);
        format!("{key}:{}", str::from_utf8(value.bytes()).expect("the line is text"))
    });
    let again = format!("{{{}}}", parts.collect::<Vec<_>>().join(","));
    assert_eq!(serde_json::from_str::<serde_json::Map<_, _>>(&again).ok(), Some(object));
    if let Some(bodies) = decode::bodies(line) {
        let less = [&line[..bodies.start], &line[bodies.end..]].concat();
        assert!(serde_json::from_slice::<serde_json::Map<_, _>>(&less).is_ok());
    }
}

/// Filters, keys, times: read or refused, whatever the text.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let projection = &mut Projection::default();
    let _ = filter::parse(text, projection);
    let _ = filter::resource(text, projection);
    let _ = filter::code(text, projection);
    let _ = filter::time(text, Timestamp(0));
    let _ = Filter::default().and_where(text, projection);
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

/// Request URIs: path, parameters and what they are requests for; a canonical path stays as it is, and
/// nothing in it leads elsewhere.
pub fn request_uri(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (_, query) = uri::split(text);
    uri::parameters(query).for_each(drop);
    let path = uri::canonical_path(text);
    assert!(path.starts_with('/') && !path.contains("//"), "{path}");
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
    // A question mark that was escaped is part of the path, and would begin a query when read again.
    if !path.contains('?') {
        assert_eq!(uri::canonical_path(&path), path);
        assert_eq!(uri::decoded_path(&path), path);
    }
    for verb in ["get", "list", "watch", "deletecollection"] {
        Target::of_request(verb, text);
    }
}

/// Wrappers: any bytes, as a line and as a document.
pub fn unwrapped(bytes: &[u8]) {
    unwrap::is_wrapped(bytes);
    unwrap::line(bytes, &mut |_| {});
    unwrap::read(&mut &*bytes, 1 << 16, &mut |_| {}).1.expect("memory can be read");
}

/// Expressions: read or refused; those that are read are asked of an event.
pub fn cel(bytes: &[u8]) {
    const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods?limit=5","verb":"list","user":{"username":"ann","groups":["ops","system:authenticated"]},"sourceIPs":["::1"],"objectRef":{"resource":"pods","namespace":"a","apiVersion":"v1"},"responseStatus":{"code":403},"requestObject":{"spec":{"replicas":3,"containers":[{"image":"x"},{"image":"y"}]}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000001Z","stageTimestamp":"2026-01-02T03:04:05.000002Z","annotations":{"authorization.k8s.io/decision":"forbid"}}"#;
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (mut projection, mut found) = (Projection::default(), Vec::new());
    let Ok(filter) = Filter::default().and_where(text, &mut projection) else { return };
    let head = Reader::new(&projection).read(EVENT.as_bytes(), &mut found).expect("an event");
    filter.matches(&Record::new("log", EVENT.as_bytes(), head, &projection, &found));
}

/// Policy files: accepted or refused. One that is accepted answers questions.
pub fn policy(bytes: &[u8]) {
    for version in [KubeVersion::default(), KubeVersion(24)] {
        let loaded = load(bytes, version);
        assert_eq!(loaded.policy.is_some(), loaded.errors.is_empty());
        lint(&loaded);
        for (place, inside) in embedded::load(bytes, version).1 {
            assert!(place.line > 0 && place.hint().contains("must be a file of its own"));
            lint(&inside);
        }
        let Some(policy) = &loaded.policy else { continue };
        baseline::check(policy);
        let user = User { username: "ann".into(), groups: vec!["ops".into()], ..User::default() };
        for uri in ["/api/v1/namespaces/a/pods/p/exec", "/apis/apps/v1/deployments", "/healthz"] {
            Evaluator::new(policy).evaluate(&Attributes::of_request(&user, "get", uri));
        }
    }
}

/// Manifests and dumps of RBAC objects: what can be used is used.
pub fn rbac_objects(bytes: &[u8]) {
    let (objects, _) = rbac::load::load(bytes);
    let snapshot = Snapshot::new(objects);
    let user = User { username: "ann".into(), groups: vec!["ops".into()], ..User::default() };
    snapshot.grants_for(&user);
    for uri in ["/api/v1/namespaces/a/pods/p", "/apis/apps/v1/deployments", "/healthz"] {
        snapshot.grants(&Attributes::of_request(&user, "get", uri));
    }
}

/// Compression, archives, and what is a log: as an input, and as an entry of an archive.
pub fn packed(bytes: &[u8]) {
    source::parsers::read(bytes, 8 << 20);
}

/// Names of files, and the times that a person writes.
pub fn names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    source::parsers::name(text);
    let (since, until) = text.split_once("..").unwrap_or((text, text));
    for now in [Timestamp(0), Timestamp(i64::MAX), Timestamp(i64::MIN)] {
        if let Ok(window) = Window::new(Some(since), Some(until), now) {
            assert!(window.since <= window.until);
        }
    }
}

/// A node's listing of a folder: no name in it leads elsewhere.
pub fn listing(bytes: &[u8]) {
    for name in source::parsers::listed(&String::from_utf8_lossy(bytes)) {
        let name = name.strip_suffix('/').unwrap_or(&name);
        assert!(!name.contains('/') && !name.is_empty() && name != "..", "{name}");
    }
}

/// The first line is a target or a selector, the others events; or the first two an object and a patch: a
/// difference leads from before to after.
pub fn history(text: &[u8]) {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let first = String::from_utf8_lossy(lines[0]);
    let _ = LabelSelector::parse(&first);
    if let Ok(target) = first.parse() {
        let question = Question {
            shows_status: true,
            shows_dry_runs: true,
            shows_reads: true,
            field: None,
            selector: LabelSelector::default(),
            at: None,
            keep: Keep::Text,
            redactor: Redactor::with_salt(b"salt"),
            max_bytes: 1 << 20,
        };
        let mut replay = History::new(question, target);
        lines[1..].iter().for_each(|line| replay.take(&[b"S", *line].concat()));
        replay.finish();
    }

    let json = |line: Option<&&[u8]>| serde_json::from_slice(line?).ok();
    let before: Option<serde_json::Value> = json(lines.first());
    let patch: Option<serde_json::Value> = json(lines.get(1));
    let (Some(before), Some(patch)) = (before, patch) else { return };
    history::as_sent(&patch);
    for kind in [("apps", "deployments"), ("example.com", "widgets")] {
        if let Some(after) = history::applied(kind, &before, &patch, None) {
            let changes = history::between(&before, &after);
            assert_eq!(changes.is_empty(), before == after);
        }
    }
}
