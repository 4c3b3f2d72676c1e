//! RBAC: our engine against the API server's authorizer.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kubectl_audit::{
    event::{Attributes, ResourceRequest, Target, User},
    rbac::{PolicyRule, Snapshot, load, subject},
};
use serde_json::{Value, json};

use super::{
    cluster::{Ended, User as Person, audit, audit_logs, kubectl, run, wait_until_allowed},
    nodes::{audit_as, grant},
    story::Story,
};

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_millis()
}

/// Runs kubectl on a manifest.
fn with_manifest(args: &[&str], manifest: &str) -> Ended {
    let file = std::env::temp_dir().join(format!(
        "manifest-{}-{:?}.json",
        now(),
        std::thread::current().id()
    ));
    fs::write(&file, manifest).expect("the temporary folder can be written");
    let path = file.to_str().expect("it is text");
    let ended = kubectl(&[args, &["-f", path]].concat());
    fs::remove_file(file).expect("it was there");
    ended
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn every_decision_of_the_story() {
    let story = Story::told();
    let text = audit(&["rbac", "evaluate", "-o", "jsonl", "-n", &story.namespace]).ok();
    let (mut allowed, mut refused) = (0, 0);
    for line in text.lines() {
        let it: Value = serde_json::from_str(line).expect("a line is JSON");
        let is_ours = it["reason"].as_str().is_none_or(|it| !it.starts_with("not by RBAC"));
        match it["recorded"].as_str().filter(|_| is_ours) {
            Some("allow") => {
                assert_eq!(it["allowed"], true, "{line}");
                allowed += 1;
            }
            Some("forbid") => {
                assert_eq!(it["allowed"], false, "{line}");
                refused += 1;
            }
            _ => {}
        }
    }
    assert!(allowed > 30 && refused > 0, "{allowed} {refused}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn identities_of_the_story() {
    let story = Story::told();
    let ci = format!("{}/ci", story.namespace);
    let who = audit(&["who", &ci, "-o", "json"]).json();
    assert_eq!(who["exists"], true, "{who}");
    let grants = who["grants"].as_array().expect("a list");
    assert!(grants.iter().any(|it| it["role"]["name"] == "view"), "{who}");
    let credentials = who["seen"]["credentials"].as_object().expect("an object");
    let issued: Vec<&Value> = credentials.values().map(|it| &it["issuedBy"]).collect();
    assert_eq!(issued, ["kubernetes-admin"], "{who}");
    let who = audit(&["who", &story.dave, "-o", "json"]).json();
    assert_eq!(who["seen"]["impersonatedBy"]["kubernetes-admin"], 1, "{who}");
    let can =
        audit(&["rbac", "who-can", "create", "pods/exec", "-n", &story.namespace, "-o", "json"]);
    let can = can.json();
    let names: BTreeSet<&str> = can["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["subject"]["name"].as_str())
        .collect();
    assert!(names.contains(&*story.bob.name) && names.contains(&*story.alice.name), "{names:?}");
    assert!(!names.contains(&*story.mallory.name), "{names:?}");
    let execs = audit(&["execs", "--resolve", "-n", &story.namespace, "-o", "json"]).json();
    let sessions = execs["items"].as_array().expect("a list");
    let of = |name: &str| {
        sessions.iter().filter(|it| it["user"]["username"] == name).collect::<Vec<_>>()
    };
    assert!(of(&story.bob.name).iter().all(|it| it["identity"]["allowedNow"] == true), "{execs}");
}

/// Numbers that are the same for the same seed (a linear congruence is random enough here).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn some<'t>(&mut self, of: &[&'t str]) -> Vec<&'t str> {
        (0..1 + self.below(2)).map(|_| self.one(of)).collect()
    }
}

const VERBS: &[&str] = &["get", "list", "watch", "create", "delete", "patch", "*", "impersonate"];
const GROUPS: &[&str] = &["", "apps", "batch", "*"];
const KINDS: &[&str] =
    &["pods", "pods/exec", "pods/*", "*/scale", "deployments", "deployments/scale", "*", "secrets"];
const ASKED: &[&str] =
    &["pods", "pods/exec", "deployments", "deployments/scale", "secrets", "jobs"];
const NAMES: &[&str] = &["", "", "a", "b"];
const PATHS: &[&str] = &["/metrics", "/metrics/*", "/x*", "/x**", "*", "/logs/*/y"];
const ASKED_PATHS: &[&str] = &["/metrics", "/metrics/", "/metrics/a", "/x", "/xyz", "/logs/a/y"];
const PEOPLE: &[&str] = &["ann", "ben", "cat"];
const TEAMS: &[&str] = &["red", "blue", "system:authenticated"];

fn random_rule(random: &mut Random, is_cluster: bool) -> Value {
    if is_cluster && random.below(4) == 0 {
        return json!({"nonResourceURLs": random.some(PATHS), "verbs": random.some(&["get", "*", "post"])});
    }
    let mut rule = json!({
        "apiGroups": random.some(GROUPS), "resources": random.some(KINDS), "verbs": random.some(VERBS),
    });
    if random.below(3) == 0 {
        rule["resourceNames"] = json!([random.one(&["a", "b"])]);
    }
    rule
}

/// Roles and bindings of all kinds, in two namespaces, labelled so that they can be found again.
fn random_objects(random: &mut Random, id: &str, namespaces: &[String; 2]) -> Vec<Value> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let version = format!("{GROUP}/v1");
    let mut objects = Vec::new();
    for n in 0..24 {
        let is_cluster = random.below(2) == 0;
        let namespace = &namespaces[random.below(2)];
        let rules: Vec<Value> =
            (0..1 + random.below(3)).map(|_| random_rule(random, is_cluster)).collect();
        let name = format!("e2e-{id}-{n}");
        let mut metadata = json!({"name": name, "labels": {"e2e": id}});
        if !is_cluster {
            metadata["namespace"] = json!(namespace);
        }
        let kind = if is_cluster { "ClusterRole" } else { "Role" };
        objects.push(
            json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}),
        );
        let subject = match random.below(3) {
            0 => json!({"kind": "User", "name": random.one(PEOPLE), "apiGroup": GROUP}),
            1 => {
                json!({"kind": "Group", "name": format!("{}-{id}", random.one(&["red", "blue"])), "apiGroup": GROUP})
            }
            _ => {
                json!({"kind": "ServiceAccount", "name": "robot", "namespace": namespaces[random.below(2)]})
            }
        };
        let is_wide = is_cluster && random.below(2) == 0;
        metadata = json!({"name": name, "labels": {"e2e": id}});
        if !is_wide {
            metadata["namespace"] = json!(namespace);
        }
        let binding = if is_wide { "ClusterRoleBinding" } else { "RoleBinding" };
        objects.push(json!({
            "apiVersion": version, "kind": binding, "metadata": metadata, "subjects": [subject],
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
        }));
    }
    objects
}

fn random_review(random: &mut Random, id: &str, namespaces: &[String; 2]) -> Value {
    let user = match random.below(3) {
        0 => subject::username(&namespaces[random.below(2)], "robot"),
        _ => random.one(PEOPLE).to_owned(),
    };
    let team = random.one(TEAMS);
    let group = if team.starts_with("system:") { team.to_owned() } else { format!("{team}-{id}") };
    let mut spec = json!({"user": user, "groups": [group]});
    if random.below(5) == 0 {
        spec["nonResourceAttributes"] =
            json!({"path": random.one(ASKED_PATHS), "verb": random.one(&["get", "post"])});
    } else {
        let (resource, sub) = {
            let asked = random.one(ASKED);
            asked.split_once('/').unwrap_or((asked, ""))
        };
        spec["resourceAttributes"] = json!({
            "verb": random.one(&VERBS[..6]), "group": random.one(&GROUPS[..3]), "resource": resource,
            "subresource": sub, "name": random.one(NAMES),
            "namespace": random.one(&["", &namespaces[0], &namespaces[1]]),
        });
    }
    json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
}

/// Whether our engine allows what a review asks about.
fn allows(snapshot: &Snapshot, spec: &Value) -> bool {
    let text = |at: &Value| at.as_str().unwrap_or_default().to_owned();
    let groups = spec["groups"].as_array().into_iter().flatten();
    let user = User {
        username: text(&spec["user"]).into(),
        groups: groups.map(|it| text(it).into()).collect(),
        ..User::default()
    };
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let (verb, target) = if resource.is_null() {
        (text(&path["verb"]), Target::Path(text(&path["path"]).into()))
    } else {
        let request = ResourceRequest {
            api_group: text(&resource["group"]).into(),
            namespace: text(&resource["namespace"]).into(),
            resource: text(&resource["resource"]).into(),
            subresource: text(&resource["subresource"]).into(),
            name: text(&resource["name"]).into(),
            ..ResourceRequest::default()
        };
        (text(&resource["verb"]), Target::Resource(request))
    };
    snapshot.allows(&Attributes { user: &user, verb: &verb, target })
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn five_hundred_reviews_of_random_roles() {
    let seed = now() as u64;
    let mut random = Random(seed);
    let id = seed.to_string();
    let namespaces = [format!("r1-{id}"), format!("r2-{id}")];
    for namespace in &namespaces {
        kubectl(&["create", "namespace", namespace]).ok();
    }
    let list =
        |items: Vec<Value>| json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    with_manifest(&["create"], &list(random_objects(&mut random, &id, &namespaces))).ok();
    // The authorizer reads what it is told of, not what is stored.
    sleep(Duration::from_secs(2));
    let kinds = "clusterroles,roles,clusterrolebindings,rolebindings";
    let dump = kubectl(&["get", kinds, "-A", "-o", "json"]).ok();
    let (objects, errors) = load::load(dump.as_bytes());
    assert_eq!(errors, []);
    let snapshot = Snapshot::new(objects);
    let reviews = (0..500).map(|_| random_review(&mut random, &id, &namespaces)).collect();
    let text = with_manifest(&["create", "-o", "json"], &list(reviews)).ok();
    let answers: Vec<Value> = serde_json::Deserializer::from_str(&text)
        .into_iter()
        .map(|it| it.expect("a document is JSON"))
        .collect();
    assert_eq!(answers.len(), 500);
    let mut n_allowed = 0;
    for answer in &answers {
        let theirs = answer["status"]["allowed"] == true;
        assert_eq!(allows(&snapshot, &answer["spec"]), theirs, "seed {seed}: {answer}");
        n_allowed += usize::from(theirs);
    }
    assert!(n_allowed > 20 && n_allowed < 480, "seed {seed}: {n_allowed} allowed");
    let label = format!("e2e={id}");
    kubectl(&["delete", "clusterroles,clusterrolebindings", "-l", &label]).ok();
    kubectl(&["delete", "namespace", "--wait=false", &namespaces[0], &namespaces[1]]).ok();
}

/// What the service account does; each step ends well if it may.
fn work(namespace: &str, token: &str) -> Vec<Ended> {
    let step = |args: &[&str]| {
        let server = kubectl(&[
            "config",
            "view",
            "--minify",
            "-o",
            "jsonpath={.clusters[0].cluster.server}",
        ])
        .ok();
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", "/nowhere").args([
            "--server",
            server.trim(),
            "--insecure-skip-tls-verify",
            "--token",
            token,
            "-n",
            namespace,
        ]);
        run(command.args(args))
    };
    let patch = r#"{"data":{"a":"2"}}"#;
    vec![
        step(&["create", "configmap", "work", "--from-literal=a=1"]),
        step(&["get", "configmap", "work"]),
        step(&["patch", "configmap", "work", "-p", patch]),
        step(&["get", "configmaps"]),
        step(&["get", "pods", "-A"]),
        step(&["get", "nodes"]),
        step(&["get", "--raw", "/metrics"]),
        step(&["auth", "can-i", "get", "pods"]),
        step(&["delete", "configmap", "work"]),
    ]
}

fn is_all_well(namespace: &str, token: &str) -> bool {
    let steps = work(namespace, token);
    // What a refused step left behind must not spoil the next time.
    kubectl(&["-n", namespace, "delete", "configmap", "work", "--ignore-not-found"]).ok();
    // "no" is an answer too.
    steps.iter().all(|it| it.status == Some(0) || it.stdout.trim() == "no")
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn generated_roles_are_enough_and_least() {
    let id = now();
    let namespace = format!("work-{id}");
    let admin = format!("work-{id}");
    kubectl(&["create", "namespace", &namespace]).ok();
    kubectl(&["-n", &namespace, "create", "serviceaccount", "worker"]).ok();
    let account = format!("--serviceaccount={namespace}:worker");
    kubectl(&["create", "clusterrolebinding", &admin, "--clusterrole=cluster-admin", &account])
        .ok();
    let token = kubectl(&["-n", &namespace, "create", "token", "worker"]).ok();
    let token = token.trim();
    sleep(Duration::from_secs(1));
    for step in work(&namespace, token) {
        assert!(step.status == Some(0), "{}", step.stderr);
    }
    sleep(Duration::from_millis(500));
    let subject = format!("{namespace}/worker");
    let generated = audit_logs(&["rbac", "generate", "--subject", &subject, "-o", "json"]).json();
    kubectl(&["delete", "clusterrolebinding", &admin]).ok();
    with_manifest(&["apply"], &generated.to_string()).ok();
    sleep(Duration::from_secs(2));
    assert!(is_all_well(&namespace, token), "{generated:#}");
    let mut n_rules = 0;
    for role in generated["items"].as_array().expect("a list") {
        for n in 0..role["rules"].as_array().map_or(0, Vec::len) {
            let mut less = role.clone();
            let gone = less["rules"].as_array_mut().expect("a list").remove(n);
            let gone: PolicyRule = serde_json::from_value(gone).expect("a rule");
            with_manifest(&["apply"], &less.to_string()).ok();
            sleep(Duration::from_secs(1));
            assert!(!is_all_well(&namespace, token), "{gone:?} is not needed");
            with_manifest(&["apply"], &role.to_string()).ok();
            n_rules += 1;
        }
    }
    assert!(n_rules >= 4, "{generated:#}");
    let name = format!("audit:{namespace}:worker");
    kubectl(&["delete", "clusterrole,clusterrolebinding", &name]).ok();
    kubectl(&["delete", "namespace", "--wait=false", &namespace]).ok();
}

/// With the ClusterRole that the guide asks for, and without it.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_reader_needs_no_more() {
    let reader = Person::new("rbac-auditor", &[]);
    let line = ["rbac", "who-can", "get", "secrets", "-o", "json"];
    let told = audit_as(&reader, &line).failed();
    assert!(told.contains("error: the API server refuses") && told.contains("hint: "), "{told}");
    grant("docs/guide/access.md", "rbac-reader.yaml");
    let to = format!("--user={}", reader.name);
    let made = ["create", "clusterrolebinding", "rbac-auditor", "--clusterrole=rbac-reader", &to];
    kubectl(&made).ok();
    wait_until_allowed(&reader, &["list", "clusterroles"]);
    let ended = audit_as(&reader, &line);
    assert!(!ended.stderr.contains("cannot list"), "{}", ended.stderr);
    assert!(ended.json()["items"].as_array().is_some_and(|it| !it.is_empty()));
    let ended = audit_as(&reader, &["who", "somebody", "--no-logs"]);
    assert!(!ended.stderr.contains("cannot list"), "{}", ended.stderr);
    ended.ok();
}
