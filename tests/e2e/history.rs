//! `history` against what another client saw: a story of changes, recorded at three levels.

use std::{fs, path::PathBuf, process::Command, thread::sleep, time::Duration};

use serde_json::{Value, json};

use super::cluster::{AUDIT_LOG, Ended, User, audit, kubectl, run};

/// The level at which each namespace is recorded (`control-plane/conf/audit-policy.yaml`).
const BODIES: &str = "history-bodies";
const PATCHES: &str = "history-patches";
const PLAIN: &str = "history-plain";

/// A step: which object it changes, and kubectl's arguments. `{file}` is a file with the text behind `<<<`.
const STEPS: &[(&str, &str)] = &[
    (
        "deploy/web",
        "create deployment web --image=registry.example/shop/web:1.0 --replicas=1 --port=8080",
    ),
    ("deploy/web", "scale deploy/web --replicas=2"),
    ("deploy/web", "set image deploy/web web=registry.example/shop/web:1.1"),
    ("deploy/web", "set env deploy/web MODE=fast DB_PASSWORD=correct-horse"),
    ("deploy/web", "set resources deploy/web --requests=cpu=5m"),
    ("deploy/web", "set serviceaccount deploy/web default"),
    ("deploy/web", "label deploy/web team=a"),
    ("deploy/web", "label deploy/web team=b --overwrite"),
    ("deploy/web", "label deploy/web team-"),
    ("deploy/web", "annotate deploy/web note=x"),
    (
        "deploy/web",
        r#"patch deploy/web -p {"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}"#,
    ),
    (
        "deploy/web",
        r#"patch deploy/web -p {"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","$patch":"delete"}]}]}}}}"#,
    ),
    (
        "deploy/web",
        r#"patch deploy/web -p {"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#,
    ),
    ("deploy/web", r#"patch deploy/web --type=merge -p {"spec":{"minReadySeconds":1}}"#),
    (
        "deploy/web",
        r#"patch deploy/web --type=json -p [{"op":"test","path":"/spec/minReadySeconds","value":1},{"op":"replace","path":"/spec/minReadySeconds","value":2}]"#,
    ),
    (
        "deploy/web",
        r#"patch deploy/web --type=json -p [{"op":"remove","path":"/metadata/annotations/note"},{"op":"add","path":"/metadata/labels/x","value":"y"}]"#,
    ),
    (
        "deploy/web",
        r#"patch deploy/web --subresource=scale --type=merge -p {"spec":{"replicas":1}}"#,
    ),
    ("deploy/web", "rollout pause deploy/web"),
    ("deploy/web", "rollout resume deploy/web"),
    ("deploy/web", "rollout restart deploy/web"),
    ("deploy/web", "rollout undo deploy/web"),
    ("deploy/web", "scale deploy/web --replicas=4 --dry-run=server"),
    ("deploy/web", "label deploy/web x=y"),
    ("deploy/web", r#"patch deploy/web -p {"spec":{"replicas":-1}}"#),
    ("deploy/web", "expose deploy/web --port=80 --target-port=8080"),
    (
        "svc/web",
        r#"patch svc/web -p {"spec":{"ports":[{"port":81,"name":"b"},{"port":80,"name":"a"}]}}"#,
    ),
    ("svc/web", r#"patch svc/web -p {"spec":{"ports":[{"port":81,"$patch":"delete"}]}}"#),
    ("svc/web", "set selector svc/web app=web,tier=front"),
    ("svc/web", "delete svc/web"),
    (
        "cm/conf",
        r#"apply -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":{"a":"1","b":"2"}}"#,
    ),
    (
        "cm/conf",
        r#"apply -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf","labels":{"l":"1"}},"data":{"a":"1","c":"x\ny\n"}}"#,
    ),
    (
        "cm/conf",
        r#"apply -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf","labels":{"l":"1"}},"data":{"a":"1","c":"x\ny\n"}}"#,
    ),
    (
        "cm/conf",
        r#"replace -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"conf"},"data":{"d":"4"}}"#,
    ),
    (
        "cm/conf",
        r#"patch cm/conf -p {"metadata":{"finalizers":["example.com/a","example.com/b"]}}"#,
    ),
    (
        "cm/conf",
        r#"patch cm/conf -p {"metadata":{"$deleteFromPrimitiveList/finalizers":["example.com/a"]}}"#,
    ),
    ("cm/conf", "delete cm/conf --wait=false"),
    ("cm/conf", r#"patch cm/conf --type=merge -p {"metadata":{"finalizers":null}}"#),
    ("cm/conf", "create cm conf --from-literal=new=life"),
    ("cm/conf", "delete cm/conf"),
    (
        "cm/ssa",
        r#"apply --server-side --field-manager=one -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"1","b":"2"}}"#,
    ),
    (
        "cm/ssa",
        r#"apply --server-side --field-manager=two -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"9"}}"#,
    ),
    (
        "cm/ssa",
        r#"apply --server-side --field-manager=two --force-conflicts -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"9","z":"0"}}"#,
    ),
    (
        "cm/ssa",
        r#"apply --server-side --field-manager=one -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"c":"3"}}"#,
    ),
    (
        "cm/ssa",
        r#"apply --server-side --field-manager=two -f {file} <<<{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"9"}}"#,
    ),
    ("cm/ssa", "delete --raw /api/v1/namespaces/{ns}/configmaps?fieldSelector=metadata.name%3Dssa"),
    ("secret/db", "create secret generic db --from-literal=password=correct-horse"),
    ("secret/db", r#"patch secret/db -p {"stringData":{"password":"battery-staple"}}"#),
    (
        "secret/db",
        r#"patch secret/db --type=json -p [{"op":"add","path":"/data/more","value":"YmF0dGVyeS1zdGFwbGU="}]"#,
    ),
    ("secret/db", "delete secret/db"),
    ("hpa/web", "autoscale deploy/web --min=1 --max=3"),
    ("hpa/web", r#"patch hpa/web --type=merge -p {"spec":{"maxReplicas":4}}"#),
    ("hpa/web", "delete hpa/web"),
    ("role/r", "create role r --verb=get --resource=pods"),
    (
        "role/r",
        r#"patch role/r --type=json -p [{"op":"add","path":"/rules/0/verbs/-","value":"list"}]"#,
    ),
    ("role/r", "delete role/r"),
    ("pod/solo", "run solo --image=registry.example/shop/web:1.0"),
    (
        "pod/solo",
        r#"patch pod/solo -p {"spec":{"containers":[{"name":"solo","image":"registry.example/shop/web:1.1"}]}}"#,
    ),
    (
        "pod/solo",
        r#"create --raw /api/v1/namespaces/{ns}/pods/solo/eviction -f {file} <<<{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"solo","namespace":"{ns}"}}"#,
    ),
    ("deploy/web", "delete deploy/web --cascade=orphan"),
];

/// What the observer saw behind a step.
struct Seen {
    step: usize,
    time: String,
    /// `None` if it was not there.
    object: Option<Value>,
}

fn now() -> String {
    kubectl_audit::event::Timestamp(jiff_now()).to_string()
}

fn jiff_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("the clock is set").as_micros()).expect("it is not so late")
}

fn play(alice: &User, namespace: &str, step: &str) -> Ended {
    let step = step.replace("{ns}", namespace);
    let (step, text) = match step.split_once(" <<<") {
        Some((step, text)) => (step.to_owned(), Some(text.to_owned())),
        None => (step, None),
    };
    let file: PathBuf = std::env::temp_dir().join(format!("{namespace}.json"));
    if let Some(text) = text {
        fs::write(&file, text).expect("the temporary folder can be written");
    }
    // The patch is the last argument, with blanks in it or not.
    let (words, patch) = match step.split_once(" -p ") {
        Some((words, patch)) => (words.to_owned(), Some(patch.to_owned())),
        None => (step.clone(), None),
    };
    let words: Vec<String> =
        words.split(' ').map(|word| word.replace("{file}", file.to_str().expect("text"))).collect();
    let mut command: Command = alice.command("kubectl");
    command.args(&words).args(["-n", namespace]);
    if let Some(patch) = patch {
        command.args(["-p", &patch]);
    }
    run(&mut command)
}

/// The object once nobody changes it any more, and a time at which it was so.
fn look(observer: &User, namespace: &str, object: &str) -> (Option<Value>, String) {
    let get = || {
        let ended = observer.kubectl(&[
            "get",
            object,
            "-n",
            namespace,
            "-o",
            "json",
            "--show-managed-fields",
        ]);
        (ended.status == Some(0)).then(|| ended.json())
    };
    let version =
        |value: &Option<Value>| value.as_ref().map(|it| it["metadata"]["resourceVersion"].clone());
    let mut last = get();
    for _ in 0..170 {
        sleep(Duration::from_millis(700));
        let time = now();
        let next = get();
        // A pod that is on its way out is not what the eviction leads to. One that waits for its node is not at
        // rest either: no reply to a binding holds the pod, only the node's first report does.
        let is_going = next.as_ref().is_some_and(|it| {
            it["kind"] == "Pod"
                && (it["metadata"]["deletionTimestamp"].is_string()
                    || it["status"]["phase"] == "Pending")
        });
        if version(&last) == version(&next) && !is_going {
            return (next, time);
        }
        last = next;
    }
    panic!("{object} in {namespace} does not come to rest");
}

fn story(namespace: &str, alice: &User, observer: &User) -> Vec<Seen> {
    kubectl(&["create", "namespace", namespace]).ok();
    sleep(Duration::from_millis(1500));
    let mut seen = Vec::new();
    for (step, (object, command)) in STEPS.iter().enumerate() {
        let ended = play(alice, namespace, command);
        let may_fail = command.contains("-1}") || command.contains("two -f {file} <<<{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"ssa\"},\"data\":{\"a\":\"9\"}}");
        assert!(ended.status == Some(0) || may_fail, "{command}\n{}", ended.stderr);
        let (found, time) = look(observer, namespace, object);
        seen.push(Seen { step, time, object: found });
    }
    seen
}

fn history(namespace: &str, object: &str, more: &[&str]) -> Ended {
    audit(&[&["history", object, "-n", namespace, "-q"], more, &[AUDIT_LOG]].concat())
}

/// The object without what a difference leaves out.
fn stripped(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    object
}

fn items(namespace: &str, object: &str) -> Vec<Value> {
    let shown = history(namespace, object, &["-o", "json", "--status", "--show-secrets"]).json();
    shown["items"].as_array().expect("a list").clone()
}

/// `--at` is the object that the observer saw, and the operations lead from each to the next.
fn check_bodies(namespace: &str, seen: &[Seen]) {
    for Seen { step, time, object } in seen {
        let (target, command) = STEPS[*step];
        let at = history(namespace, target, &["--at", time, "-o", "json", "--show-secrets"]);
        match object {
            Some(object) => assert_eq!(&at.json(), object, "{command}"),
            None => assert!(at.failed().contains("had been deleted"), "{command}"),
        }
    }

    let mut targets: Vec<&str> = STEPS.iter().map(|(target, _)| *target).collect();
    targets.sort_unstable();
    targets.dedup();
    // What binding a pod to its node sets beside the name is in no reply.
    for target in targets.into_iter().filter(|target| *target != "pod/solo") {
        let mut value = Value::Null;
        let items = items(namespace, target);
        let mut next = items.iter().peekable();
        for Seen { step, time, object } in seen.iter().filter(|it| STEPS[it.step].0 == target) {
            while let Some(item) = next.next_if(|it| it["time"].as_str() <= Some(&**time)) {
                let Some(diff) = item["diff"].as_array() else { continue };
                let is_whole = |it: &Value| it["op"] == "remove" && it["path"] == "";
                if diff.iter().any(is_whole) {
                    value = Value::Null;
                    continue;
                }
                let patch: json_patch::Patch =
                    serde_json::from_value(item["diff"].clone()).expect("a patch");
                json_patch::patch(&mut value, &patch).unwrap_or_else(|err| panic!("{err}: {item}"));
            }
            if let Some(object) = object {
                assert_eq!(value, stripped(object.clone()), "{target} after {}", STEPS[*step].1);
            }
        }
    }
}

/// What alice did, without what the levels do not share.
fn list(namespace: &str, target: &str) -> Vec<Value> {
    let is_hers = |item: &&Value| item["user"] == "alice-of-history";
    let items = items(namespace, target);
    let short = |item: &Value| json!([item["verb"], item["subresource"], item["code"]]);
    items.iter().filter(is_hers).map(short).collect()
}

/// Operations on what alice can write, in any order.
fn operations(item: &Value) -> Vec<String> {
    let mut all: Vec<String> = item["diff"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|it| !it["path"].as_str().unwrap_or_default().starts_with("/status"))
        .map(|it| format!("{} {} {}", it["op"], it["path"], it["value"]))
        .collect();
    all.sort();
    all
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn the_same_story_at_three_levels() {
    let alice = User::new("alice-of-history", &["system:masters"]);
    let observer = User::new("observer", &["system:masters"]);
    let (bodies, others) = std::thread::scope(|scope| {
        let bodies = scope.spawn(|| story(BODIES, &alice, &observer));
        let patches = scope.spawn(|| story(PATCHES, &alice, &observer));
        let plain = scope.spawn(|| story(PLAIN, &alice, &observer));
        let join = |it: std::thread::ScopedJoinHandle<'_, Vec<Seen>>| it.join().expect("played");
        (join(bodies), [join(patches), join(plain)])
    });
    assert!(others.iter().all(|it| it.len() == STEPS.len()));
    // The log is written behind the answers.
    sleep(Duration::from_secs(3));
    check_bodies(BODIES, &bodies);

    let mut targets: Vec<&str> = STEPS.iter().map(|(target, _)| *target).collect();
    targets.sort_unstable();
    targets.dedup();
    let (mut equal, mut compared) = (0, 0);
    for target in targets {
        let full = list(BODIES, target);
        assert!(!full.is_empty(), "{target}");
        for namespace in [PATCHES, PLAIN] {
            assert_eq!(list(namespace, target), full, "{target} in {namespace}");
        }
        assert!(items(PLAIN, target).iter().all(|it| it["diff"].is_null()), "{target}");

        let hers = |namespace: &str| -> Vec<Value> {
            let items = items(namespace, target);
            items.into_iter().filter(|it| it["user"] == "alice-of-history").collect()
        };
        for (full, from_patch) in hers(BODIES).iter().zip(&hers(PATCHES)) {
            let is_compared = full["verb"] == "patch"
                && full["diffSource"] == "bodies"
                && from_patch["diffSource"] == "patch";
            if is_compared {
                equal += usize::from(operations(full) == operations(from_patch));
                compared += 1;
            }
        }
    }
    // The others differ in what the server fills in: defaults, times, what was never sent.
    assert!(equal * 2 > compared && compared > 25, "{equal} of {compared}");

    // Nothing of it is shown without being asked for.
    for format in ["json", "diff", "table"] {
        let shown = history(BODIES, "secret/db,deploy/web", &["-o", format]).ok();
        assert!(!shown.contains("correct-horse") && !shown.contains("battery-staple"), "{format}");
    }

    // With the namespace everything goes, and its history says so.
    kubectl(&["create", "cm", "last", "-n", BODIES]).ok();
    kubectl(&["delete", "namespace", BODIES]).ok();
    let words = history(BODIES, "cm/last", &[]).ok();
    assert!(words.contains("deleted") && words.contains("with its namespace"), "{words}");
    kubectl(&["delete", "namespace", PATCHES, PLAIN, "--wait=false"]).ok();
}
