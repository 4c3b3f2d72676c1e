//! Logs straight from the nodes.

use std::{path::Path, process::Command, sync::OnceLock, time::Instant};

use super::{
    cluster::{
        AUDIT_LOG, NODES, User, audit, audit_logs, kubectl, program, run, wait_until_allowed,
    },
    stats::{KEYS, check_requests},
    story::Story,
};

/// A user with just the permissions that the guide asks for.
pub fn reader() -> &'static User {
    static READER: OnceLock<User> = OnceLock::new();
    READER.get_or_init(|| {
        grant("docs/guide/nodes.md", "audit-log-reader.yaml");
        bind("auditor")
    })
}

/// One more user with the same permissions, whose requests no other test makes.
pub fn reader_named(name: &str) -> User {
    reader();
    bind(name)
}

fn bind(name: &str) -> User {
    let user = User::new(name, &[]);
    let to = format!("--user={name}");
    // They may be there from the run before.
    kubectl(&["create", "clusterrolebinding", name, "--clusterrole=audit-log-reader", &to]);
    let role = "--role=audit-log-reader";
    kubectl(&["create", "-n", "kube-system", "rolebinding", name, role, &to]);
    wait_until_allowed(&user, &["get", "nodes/cp-1", "--subresource=proxy"]);
    wait_until_allowed(&user, &["list", "pods", "-n", "kube-system"]);
    user
}

/// Makes the roles that a page of the guide asks for.
pub fn grant(page: &str, name: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let page = std::fs::read_to_string(page).expect("the page is there");
    let (_, rest) = page.split_once("```yaml\n").expect("it has roles");
    let (roles, _) = rest.split_once("```").expect("they end");
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, roles).expect("the temporary folder can be written");
    kubectl(&["apply", "-f", file.to_str().expect("it is text")]).ok();
}

/// kubectl-audit as that user.
pub fn audit_as(user: &User, args: &[&str]) -> super::cluster::Ended {
    run(user.command(&program()).args(args))
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn stats_from_the_nodes_tell_the_story() {
    let story = Story::told();
    for through in NODES {
        let report = audit_as(&reader().at(through), &["stats", "-k", KEYS, "-o", "json"]).json();
        check_requests(&report, story);
        assert_eq!(report["input"]["skipped"], 0);
        assert_eq!(report["input"]["logs"], NODES.len());
        for node in NODES {
            let only = format!("node={}", node.name);
            let args = ["stats", "-F", &only, "-k", "node,log", "-o", "json"];
            let rows = audit_as(&reader().at(through), &args).json()["rows"].clone();
            assert_eq!(rows[0]["key"], serde_json::json!([node.name, node.name]));
            assert_eq!(rows.as_array().map(Vec::len), Some(1));
        }
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn own_requests_are_left_out_unless_asked_for() {
    let own = |args: &[&str], has_left_out: bool| {
        let common = ["stats", "-k", "userAgent,objectRef.subresource", "-o", "json"];
        let report = audit_as(reader(), &[&common, args].concat()).json();
        let left_out = report["input"]["ownRequests"]["requests"].as_u64().expect("it is a number");
        assert_eq!(left_out > 0, has_left_out, "{left_out}");
        let rows = report["rows"].as_array().expect("a report has rows").clone();
        let is_own = |key: &serde_json::Value| {
            key[0].as_str().is_some_and(|it| it.starts_with("kubectl-audit/")) && key[1] == "proxy"
        };
        rows.iter().filter(|row| is_own(&row["key"])).count()
    };
    // Those of other runs are always shown: here of the run before.
    let before = own(&[], true);
    let all = own(&["--include-self"], false);
    assert!(all >= before + 2, "{before}, then {all}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn refusals_say_what_to_do() {
    let story = Story::told();
    let told = audit_as(&story.mallory, &["stats"]).failed();
    assert!(told.contains("cannot list resource \"nodes\""), "{told}");
    assert!(told.contains("name them with --node"), "{told}");
    for node in NODES {
        let told = audit_as(&story.mallory, &["stats", "--node", node.name]).failed();
        assert!(told.contains("cannot get resource \"nodes/proxy\""), "{told}");
        assert!(told.contains("run commands in every pod"), "{told}");
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn failures_have_names() {
    let told = |args: &[&str]| audit(&[&["stats"], args].concat()).failed();
    let check = |args: &[&str], expected: &str| {
        let told = told(args);
        assert!(told.contains(expected), "{told}");
    };
    check(&["--node", "nosuch"], "there is no node `nosuch`");
    check(&["--log-path", "/var/log/kubernetes/none.log"], "has no `/var/log/kubernetes/none.log`");
    check(&["--log-path", "/var/lib/x"], "outside /var/log");
    check(&["--server", "https://10.77.0.1:1"], "cannot reach the API server");
    check(
        &["--certificate-authority", "/etc/kubernetes/pki/front-proxy-client.crt"],
        "certificate",
    );
    check(&["--kubeconfig", "/nonexistent"], "cannot read the kubeconfig `/nonexistent`");
    let told = run(Command::new(program()).args([
        "stats",
        "--kubeconfig=/dev/null",
        "--server=https://10.77.0.1:6443",
        "--certificate-authority=/etc/kubernetes/pki/ca.crt",
        "--token=wrong",
    ]))
    .failed();
    assert!(told.contains("does not know these credentials"), "{told}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn impersonation() {
    Story::told();
    let told = audit(&["stats", "--as", "erin", "--as-group", "night"]).failed();
    assert!(told.contains("User \"erin\" cannot list"), "{told}");
    let reader = reader();
    audit(&["stats", "--as", &reader.name, "--as-uid", "7", "--as-user-extra", "team=red"]).ok();
    let keys = "impersonatedUser.username,impersonatedUser.uid,impersonatedUser.extra";
    let report = audit_logs(&["stats", "-k", keys, "-o", "json"]).json();
    let key = serde_json::json!([reader.name, "7", "{\"team\":[\"red\"]}"]);
    let rows = report["rows"].as_array().expect("a report has rows");
    assert!(rows.iter().any(|row| row["key"] == key), "{key}");
}

/// Both read the same file through the same proxy; the file is made, so that it is large enough.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn no_slower_than_kubectl() {
    let log = std::fs::read(AUDIT_LOG).expect("the log is there");
    let whole = log.iter().rposition(|it| *it == b'\n').map_or(0, |at| at + 1);
    let times = (200 << 20) / whole + 1;
    std::fs::write("/var/log/kubernetes/large.log", log[..whole].repeat(times))
        .expect("it can be written");
    let time = |work: &dyn Fn()| {
        let seconds = |_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        };
        (0..3).map(seconds).fold(f64::INFINITY, f64::min)
    };
    let raw = "/api/v1/nodes/cp-1/proxy/logs/kubernetes/large.log";
    let kubectl = time(&|| drop(kubectl(&["get", "--raw", raw]).ok()));
    let large = "/var/log/kubernetes/large.log";
    let path = ["stats", "--node", "cp-1", "--log-path", large, "-o", "json"];
    let ours = time(&|| drop(audit(&path).ok()));
    std::fs::remove_file("/var/log/kubernetes/large.log").expect("it was there");
    let size = (whole * times) as f64 / 1e6;
    let told = format!("kubectl {:.0} MB/s, ours {:.0} MB/s", size / kubectl, size / ours);
    // A debug build reads events several times slower than it gets them.
    let is_debug = cfg!(debug_assertions) && std::env::var_os("KUBECTL_AUDIT").is_none();
    let least = if is_debug { 0.1 } else { 0.8 };
    assert!(kubectl / ours >= least, "{told}");
    // Shown with --nocapture.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{told}\n").as_bytes());
}
