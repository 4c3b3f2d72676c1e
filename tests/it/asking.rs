//! Questions as people ask them, with their right answers: nothing mistyped is a silent zero.

use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Standard output and standard error of a command that does its work.
#[track_caller]
fn ask(args: &[&str], log: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    command.args(args).arg("-").env("KUBECONFIG", "/nowhere").env_remove("NO_COLOR");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
    let (stdout, stderr) = (text(out.stdout), text(out.stderr));
    assert_eq!(out.status.code(), Some(0), "{args:?}\n{stderr}");
    (stdout, stderr)
}

fn wild(name: &str) -> String {
    std::fs::read_to_string(format!("tests/data/wild/{name}.jsonl")).unwrap()
}

/// How many events `events` prints.
#[track_caller]
fn count(args: &[&str], log: &str, expected: usize) {
    let (stdout, stderr) = ask(&[&["events", "-o", "jsonl"], args].concat(), log);
    assert_eq!(stdout.lines().count(), expected, "{args:?}\n{stdout}{stderr}");
}

/// What standard error has, and what it has not.
#[track_caller]
fn says(args: &[&str], log: &str, expected: &str) {
    let (_, stderr) = ask(args, log);
    assert!(stderr.contains(expected), "{args:?}: {expected:?} is missing in\n{stderr}");
    assert_eq!(stderr.matches(expected).count(), 1, "{args:?}\n{stderr}");
}

#[track_caller]
fn is_silent(args: &[&str], log: &str) {
    let (_, stderr) = ask(args, log);
    assert!(!stderr.contains("warning: ") && !stderr.contains("note: "), "{args:?}\n{stderr}");
}

/// The rows of a count, without the header.
#[track_caller]
fn rows(args: &[&str], log: &str, expected: &str) {
    let (stdout, _) = ask(&[&["stats", "--no-headers"], args].concat(), log);
    let shown: Vec<String> =
        stdout.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(shown.join("; "), expected, "{args:?}");
}

#[test]
fn rows_by_bytes_and_by_latency() {
    let log = wild("08-bytes-sort");
    let by = ["--events", "--bytes", "--sort", "bytes", "-k", "userAgent", "-l", "1"];
    rows(&by, &log, "big/1 1 8.33 20.1 KiB");
    rows(&[&by[..], &["-o", "wide"]].concat(), &log, "big/1 1 8.33 20592");
    let (csv, _) = ask(&[&["stats", "-o", "csv"], &by[..]].concat(), &log);
    assert!(csv.contains("big/1,1,8.3333,20592"), "{csv}");
    let by = ["--latency", "--sort", "latency", "-k", "userAgent", "-l", "1"];
    rows(&by, &log, "slow/1 1 8.33 30.00s 30.00s 30.00s 30.00s");
    rows(
        &["--bytes", "--sort", "bytes", "-k", "user.username"],
        &wild("16-only-requestreceived"),
        "",
    );
}

#[test]
fn annotations_without_quotes() {
    let log = wild("09-annotation-unquoted");
    for key in ["annotations.k8s.io/deprecated", r#"annotations."k8s.io/deprecated""#] {
        count(&["-F", &format!("{key}=true")], &log, 4);
        rows(&["-k", key], &log, "<none> 4 50.00; true 4 50.00");
    }
    count(&["-F", "annotations.authorization.k8s.io/decision=forbid"], &log, 3);
    count(&["-F", "annotations.k8s.io/removed-release"], &log, 4);
    count(&["-F", "!annotations.k8s.io/deprecated"], &log, 4);
    count(&["-F", "annotations.k8s.io/removed-release in (1.25,1.26)"], &log, 4);
    // One that nobody knows, but the log has; and one whose value is an object.
    let own = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{"username":"a","extra":{"iam.example.com/role":["ops"]}},"annotations":{"ticket.example.com/id":"OPS-7","nested":{"a":"1"}}}"#;
    count(&["-F", "annotations.ticket.example.com/id=OPS-7"], own, 1);
    count(&["-F", "annotations.nested.a=1"], own, 1);
    count(&["-F", "user.extra.iam.example.com/role+=ops"], own, 1);
    count(&["-F", "user.extra.iam.example.com/role[0]=ops"], own, 1);
    says(
        &["events", "-F", "annotations.ticket.example.com/ids=1"],
        own,
        r#"did you mean `annotations."ticket.example.com/id"`?"#,
    );
}

#[test]
fn a_key_that_no_event_has_is_reported_once() {
    let log = wild("18-resource-singular");
    says(&["events", "-F", "user.usernam=ann"], &log, "did you mean `user.username`?");
    says(&["stats", "-k", "objectref.name"], &log, "did you mean `objectRef.name`?");
    says(&["stats", "-k", "hostname"], &log, "no event has the key `hostname`");
    says(&["stats", "-F", "cluster.name=x"], &log, "no event has the key `cluster.name`");
    says(
        &["stats", "-F", "requestObject.spec.replicas>3"],
        &log,
        "hint: bodies are recorded at level Request",
    );
    says(&["execs", "-F", "podname=x"], &log, "no event has the key `podname`");
    // Of a collector's own fields those that are there are known, and near ones are named.
    let own = log.replace(r#"{"kind""#, r#"{"clusterName":"prod","kind""#);
    is_silent(&["stats", "-k", "clusterName"], &own);
    says(&["stats", "-k", "clustername"], &own, "did you mean `clusterName`?");
    // Where absence is an answer, nothing is reported.
    is_silent(&["stats", "-F", "!impersonatedUser"], &log);
    is_silent(&["stats", "-F", "impersonatedUser.username!=bob"], &log);
    is_silent(&["stats", "-k", "user.username,path,duration,dryRun"], &log);
}

#[test]
fn objects_and_lists_equal_no_text() {
    let log = wild("18-resource-singular");
    says(&["stats", "-F", "user=nina"], &log, "its keys: `user.username`, `user.groups`");
    says(&["stats", "-F", "user=nina"], &log, "hint: `-F 'user.username=nina'`");
    says(&["events", "-F", "objectRef=pods"], &log, "`objectRef.resource`");
    says(&["events", "-F", "responseStatus>=400"], &log, "`responseStatus.code`");
    says(&["events", "-F", "user!=nina"], &log, "`user.username`");
    says(&["events", "-F", "annotations=forbid"], &log, "authorization.k8s.io/reason");
    says(&["events", "-F", "user.groups=dev"], &log, "`-F 'user.groups+=dev'`");
    says(&["events", "-F", "sourceIPs in (192.0.2.10)"], &log, "`-F 'sourceIPs+=192.0.2.10'`");
    is_silent(&["events", "-F", "sourceIPs+=192.0.2.10"], &log);
    is_silent(&["events", "-F", r#"sourceIPs=["192.0.2.10"]"#], &log);
    is_silent(&["events", "-F", "user"], &log);
}

#[test]
fn resources_as_kubectl_names_them() {
    let log = wild("18-resource-singular");
    for name in ["pods", "pod", "po", "Pod", "Pods", "POD"] {
        count(&["-r", name], &log, 2);
        count(&["-r", &format!("{name}/exec")], &log, 1);
        count(&["-r", &format!("{name}/*")], &log, 3);
        count(&["-r", &format!("{name}.")], &log, 2);
    }
    count(&["-r", "secret"], &log, 2);
    count(&["-r", "cm,Secret"], &log, 2);
    let others = |resource: &str, group: &str| {
        log.replace(
            r#""resource":"secrets""#,
            &format!(r#""resource":"{resource}","apiGroup":"{group}""#),
        )
    };
    for name in ["deploy", "Deployment", "deployment.apps", "deployments.v1.apps"] {
        count(&["-r", name], &others("deployments", "apps"), 2);
    }
    count(&["-r", "deployments.v2.apps"], &others("deployments", "apps"), 0);
    count(&["-r", "NetworkPolicy"], &others("networkpolicies", "networking.k8s.io"), 2);
    count(&["-r", "virtualservice"], &others("virtualservices", "networking.istio.io"), 2);
    count(&["-r", "GitRepository"], &others("gitrepositories", "source.toolkit.fluxcd.io"), 2);
}

#[test]
fn verbs_and_resources_that_no_request_had() {
    let log = wild("18-resource-singular");
    says(
        &["events", "--verb", "deleted"],
        &log,
        "no event has the verb `deleted`; did you mean `delete`?",
    );
    says(&["events", "--verb", "GET"], &log, "did you mean `get`?");
    says(&["events", "-F", "verb=remove"], &log, "no event has the verb `remove`");
    says(&["events", "--verb", "get,exec"], &log, "hint: `exec` is a subresource: `-r '*/exec'`");
    says(&["events", "-r", "deploy"], &log, "no request is for `deploy`");
    says(&["stats", "-r", "secerts"], &log, "did you mean `secrets`?");
    says(&["stats", "-F", "objectRef.resource=pod"], &log, "did you mean `pods`?");
    says(&["events", "-r", "pods/web-1"], &log, "`-F objectRef.name=web-1`");
    // Verbs that requests have may be missing in a log: that is an answer.
    is_silent(&["events", "--verb", "patch"], &log);
    is_silent(&["events", "-r", "pod,secrets"], &log);
}

#[test]
fn a_log_of_received_requests_only() {
    let log = wild("16-only-requestreceived");
    let note = "note: 5 events match, but none ends a request: --events counts them";
    says(&["stats", "-k", "user.username"], &log, note);
    says(&["stats", "--groups"], &log, note);
    rows(&["--events", "-k", "user.username"], &log, "u 5 100.00");
    says(&["stats", "--verb", "list", "-F", "user.username=u"], &log, "--events");
    is_silent(&["stats", "--events"], &log);
    is_silent(&["stats", "-F", "user.username=v"], &log);
}

#[test]
fn dry_runs() {
    let log = wild("15-dryrun");
    let (table, _) = ask(&["events", "-r", "configmaps", "--verb", "patch,delete"], &log);
    assert_eq!(table.matches("(dry run)").count(), 3, "{table}");
    for real in [
        &["--no-dry-run"][..],
        &["-F", "!dryRun"],
        &["-F", "dryRun=false"],
        &["-F", "dryRun!=true"],
    ] {
        count(real, &log, 1);
        let (table, _) = ask(&[&["events"], real].concat(), &log);
        assert!(table.contains(" real "), "{table}");
    }
    count(&["-F", "dryRun"], &log, 3);
    count(&["-F", "dryRun=true"], &log, 3);
    rows(&["-k", "dryRun"], &log, "true 3 75.00; false 1 25.00");
    // GKE tells it by a label.
    let gke = log.lines().nth(1).unwrap().replace(
        r#""requestReceivedTimestamp""#,
        r#""annotations":{"command.gke.io/dryRun":"true"},"requestReceivedTimestamp""#,
    );
    count(&["-F", "dryRun"], &gke, 1);
    // A session does not hide behind a parameter that the server ignores.
    let exec = log
        .lines()
        .next()
        .unwrap()
        .replace(r#""name": "app""#, r#""name": "app", "subresource": "exec""#);
    count(&["--no-dry-run"], &exec, 1);
}

#[test]
fn keys_made_from_fields() {
    let log = wild("15-dryrun");
    count(&["-F", "path=/api/v1/namespaces/shop/configmaps/app"], &log, 4);
    count(&["-F", "path=~configmaps/app$"], &log, 4);
    count(&["-F", "duration>=2"], &log, 3);
    count(&["-F", "duration=2.0"], &log, 1);
    rows(&["-k", "path"], &log, "/api/v1/namespaces/shop/configmaps/app 4 100.00");
    for (than, expected) in [("2s", 2), ("1999ms", 3), ("1h", 0)] {
        count(&["--slower-than", than], &log, expected);
    }
    // What does not end a request took no time.
    count(&["--slower-than", "0s"], &wild("16-only-requestreceived"), 0);
}

#[test]
fn texts_that_read_as_numbers() {
    let log = wild("18-resource-singular").replace("web-1", "0012");
    for filter in ["objectRef.name=12", "objectRef.name=+12", "objectRef.name=1.2e1"] {
        count(&["-F", filter], &log, 2);
    }
    count(&["-F", "objectRef.name=0012x"], &log, 0);
}
