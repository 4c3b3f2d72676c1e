//! `policy filter` against the API server: it runs one odd policy after the other while the same load is
//! played, and what it logs must be what the filter makes of a full recording of that load.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    super::cluster::{AUDIT_LOG, audit},
    load::Load,
    restart,
};

/// Where the API server's flag points to.
const POLICY: &str = "/etc/kubernetes/audit-policy.yaml";

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

/// What is tried: a name, and what follows the head of the policy. `ID` is the load's.
const POLICIES: [(&str, &str); 8] = [
    (
        "resources, subresources, wildcards",
        "rules:
- {level: None, resources: [{resources: [configmaps/nothing, pods/log]}]}
- {level: Request, resources: [{resources: ['configmaps/*'], resourceNames: [one]}]}
- {level: Metadata, resources: [{resources: ['*/token', pods/exec]}]}
- {level: RequestResponse, resources: [{group: ID.example, resources: ['*/scale', widgets/status]}]}
- {level: Request, resources: [{group: ID.example}]}
- {level: None, resources: [{resources: [secrets]}, {group: rbac.authorization.k8s.io, resources: ['*']}]}
- {level: Metadata, resources: [{group: authorization.k8s.io}]}
- {level: RequestResponse, verbs: [list, watch], resources: [{resources: ['*']}]}
",
    ),
    (
        "namespaces and verbs",
        "rules:
- {level: RequestResponse, verbs: [delete, deletecollection, LIST], namespaces: [load-ID]}
- {level: Metadata, verbs: [create, patch], namespaces: [load-ID, other-ID]}
- {level: Request, namespaces: ['']}
- {level: None, verbs: ['*']}
- {level: Request, namespaces: [other-ID], resources: [{resources: [configmaps]}]}
",
    ),
    (
        "users and groups",
        "rules:
- {level: None, users: ['system:anonymous'], verbs: [get]}
- {level: RequestResponse, users: [guest-ID, 'system:serviceaccount:load-ID:ci']}
- {level: Request, userGroups: [nobody, dev-ID], verbs: [get, list, update, impersonate]}
- {level: RequestResponse, users: [imp-ID]}
- {level: Metadata, userGroups: ['system:authenticated', 'system:unauthenticated']}
",
    ),
    (
        "other paths",
        "rules:
- {level: None, nonResourceURLs: ['/livez*', /version/]}
- {level: Metadata, nonResourceURLs: ['/openapi/*', /version]}
- {level: Request, nonResourceURLs: ['/api*'], users: [owner-ID]}
- {level: RequestResponse, nonResourceURLs: ['*'], verbs: [get, head]}
- {level: Metadata, nonResourceURLs: ['/version*']}
- {level: Metadata, resources: [{resources: [namespaces, 'pods/*']}]}
",
    ),
    (
        "names",
        "rules:
- {level: RequestResponse, resources: [{resources: [configmaps], resourceNames: [one, '']}]}
- {level: None, resources: [{resources: [configmaps, secrets], resourceNames: ['*', missing, two]}]}
- {level: Request, verbs: [patch], resources: [{group: ID.example, resources: [widgets], resourceNames: [first]}]}
- {level: Metadata, resources: [{group: ID.example, resources: ['*'], resourceNames: [first]}]}
- {level: None, resources: [{group: '', resources: [pods/exec], resourceNames: [one]}]}
- {level: Metadata}
",
    ),
    (
        "stages left out",
        "omitStages: [RequestReceived]
rules:
- {level: RequestResponse, omitStages: [ResponseComplete], resources: [{resources: [pods/exec, secrets]}]}
- {level: Metadata, omitStages: [ResponseStarted], verbs: [watch], resources: [{resources: ['*']}]}
- {level: Request, omitStages: [ResponseStarted, ResponseComplete], resources: [{resources: [pods/log]}]}
- {level: Metadata, omitStages: [Panic], nonResourceURLs: ['*']}
- {level: RequestResponse, verbs: [get, create, list, watch]}
",
    ),
    (
        "managed fields left out",
        "omitManagedFields: true
rules:
- {level: RequestResponse, omitManagedFields: false, verbs: [update, list], resources: [{resources: [configmaps]}]}
- {level: Request, verbs: [patch, create], namespaces: [load-ID]}
- {level: RequestResponse}
",
    ),
    (
        "no bodies",
        "rules:
- {level: Metadata, omitManagedFields: true}
",
    ),
];

/// Runs the API server with this policy; the usual one comes back at the end.
struct Policy {
    usual: String,
}

impl Policy {
    fn new() -> Policy {
        Policy { usual: fs::read_to_string(POLICY).expect("the cluster has a policy") }
    }

    fn set(&self, text: &str) {
        fs::write(POLICY, text).expect("the test runs as root");
        restart("");
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        self.set(&self.usual);
    }
}

/// The events that the load leaves in the log.
fn recorded(load: &Load) -> Vec<String> {
    let begin = fs::metadata(AUDIT_LOG).expect("the log is there").len();
    load.play();
    let read = || {
        let mut log = File::open(AUDIT_LOG).expect("the log is there");
        log.seek(SeekFrom::Start(begin)).expect("it grows only");
        let mut text = String::new();
        log.read_to_string(&mut text).expect("it is text");
        let is_whole = text.ends_with('\n') || text.is_empty();
        let mine = text.lines().filter(|it| it.contains(&load.agent)).map(str::to_owned);
        (is_whole, mine.collect::<Vec<_>>())
    };
    // The last events are written after the replies.
    let mut last = Vec::new();
    let start = Instant::now();
    loop {
        sleep(Duration::from_millis(400));
        let (is_whole, now) = read();
        if is_whole && now.len() == last.len() {
            return now;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "the load has ended");
        last = now;
    }
}

/// The event without what differs each time.
fn lasting(line: &str) -> String {
    let mut event: Value = serde_json::from_str(line).expect("an event is JSON");
    for key in ["auditID", "requestReceivedTimestamp", "stageTimestamp"] {
        event[key] = Value::Null;
    }
    if let Some(annotations) = event["annotations"].as_object_mut() {
        annotations.retain(|key, _| !key.starts_with("apiserver.latency.k8s.io/"));
        // An API server that was started again may find another of the grants first.
        for key in
            ["authentication.kubernetes.io/issued-credential-id", "authorization.k8s.io/reason"]
        {
            if let Some(value) = annotations.get_mut(key) {
                *value = Value::Null;
            }
        }
    }
    for body in ["objectRef", "requestObject", "responseObject", "responseStatus"] {
        if !event[body].is_null() {
            level(&mut event[body]);
        }
    }
    event.to_string()
}

/// Blanks times, IDs, versions and tokens.
fn level(value: &mut Value) {
    const CHANGING: [&str; 8] = [
        // The age of a row is in them.
        "cells",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "expirationTimestamp",
        "time",
        "token",
        "generation",
    ];
    match value {
        Value::Array(items) => items.iter_mut().for_each(level),
        Value::Object(fields) => {
            for (key, value) in fields {
                if CHANGING.contains(&key.as_str()) {
                    *value = "".into();
                } else {
                    level(value);
                }
            }
        }
        _ => {}
    }
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

/// What the filter makes of the recording.
fn filtered(policy: &str, recording: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("policy.yaml");
    fs::write(&file, policy).expect("the temporary folder can be written");
    let [file, recording] = [&*file, recording].map(|it| it.to_str().expect("it is text"));
    let text = audit(&["policy", "filter", file, recording]).ok();
    sorted(text.lines().map(lasting))
}

/// What docs/guide/limits.md says: the end of a server-side apply in YAML cannot be written with its
/// body, and the API server counts that; with a body in JSON, as in the load, it can.
fn check_yaml(load: &Load) {
    let agent = format!("yaml/{}", load.id);
    load.apply_yaml(&agent);
    sleep(Duration::from_secs(1));
    let log = fs::read_to_string(AUDIT_LOG).expect("the log is there");
    let events = log.lines().filter(|it| it.contains(&agent));
    let stages: Vec<Value> = events
        .map(|it| serde_json::from_str::<Value>(it).expect("an event is JSON")["stage"].clone())
        .collect();
    assert_eq!(stages, ["RequestReceived"]);
    assert!(audit(&["doctor", "-o", "json"]).stdout.contains("lost-events"));
}

/// The API server, started with this policy, has counted at least what a simulation of the load counts.
#[track_caller]
fn check_counts(recording: &Path, name: &str) {
    let recording = recording.to_str().expect("it is text");
    let common = ["policy", "simulate", POLICY, "--calibrate", "-o", "json"];
    let of_two = audit(&[&common[..], &[recording]].concat());
    assert!(of_two.stderr.contains("unknown: which of 2 API servers"), "{}", of_two.stderr);
    assert!(of_two.json()["counted"].is_null(), "never another server's counts");
    let simulate = [&common[..], &["--node", "cp-1", recording]].concat();
    let simulation = audit(&simulate).json();
    let mut simulated = vec![(Value::from("None"), simulation["unmatched"]["requests"].as_u64())];
    let rules = simulation["rules"].as_array().expect("there are rules");
    simulated.extend(rules.iter().map(|it| (it["level"].clone(), it["requests"].as_u64())));
    for level in ["None", "Metadata", "Request", "RequestResponse"] {
        let of_level = simulated.iter().filter(|it| it.0 == level);
        let least: u64 = of_level.map(|it| it.1.expect("a count")).sum();
        let counted = simulation["counted"]["byLevel"][level].as_u64();
        assert!(counted >= Some(least), "{name}: {level} {counted:?} >= {least}");
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn what_the_api_server_logs_is_what_the_filter_leaves() {
    let load = Load::new();
    let policy = Policy::new();
    policy.set(&format!("{HEAD}rules:\n- level: RequestResponse\n"));
    load.prepare();
    let full = recorded(&load);
    assert!(full.len() > 2 * load.len(), "{} events of {} requests", full.len(), load.len());
    check_yaml(&load);
    for written in
        ["\"patch.webhook.", "\"mutation.webhook.", "\"validation.policy.", "managedFields"]
    {
        assert!(full.iter().any(|it| it.contains(written)), "{written} is tried too");
    }
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let recording = folder.path().join("audit.log");
    fs::write(&recording, full.join("\n") + "\n").expect("the temporary folder can be written");
    for (name, rules) in POLICIES {
        let text = format!("{HEAD}{rules}").replace("ID", &load.id);
        policy.set(&text);
        load.warm_up();
        let logged = sorted(recorded(&load).iter().map(|it| lasting(it)));
        let expected = filtered(&text, &recording);
        let missing: Vec<_> = expected.iter().filter(|it| !logged.contains(it)).collect();
        let more: Vec<_> = logged.iter().filter(|it| !expected.contains(it)).collect();
        assert_eq!((&missing, &more), (&vec![], &vec![]), "{name}: expected, but logged");
        assert_eq!(logged.len(), expected.len(), "{name}");
        assert!(!logged.is_empty(), "{name}");
        check_counts(&recording, name);
    }
}
