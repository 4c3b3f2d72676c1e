//! The logs of nodes, with a server of the test's own in place of a cluster.

use std::{
    fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use fake::{File, Server, State};
use kubectl_audit::cluster::{Cluster, Connection};

#[allow(dead_code)]
#[path = "../../src/cluster/fake.rs"]
mod fake;

const AUDIT_LOG: &str = "cp-1/kubernetes/audit/audit.log";
/// How much of the log comes before the server goes quiet.
const SENT: u64 = 100_000;

/// A cluster of one node with this log.
fn server(log: &str, mut state: State) -> Server {
    let mut answer = |path: &str, body: &str| {
        let body = format!(r#"{{"metadata":{{}},"items":[{body}]}}"#);
        state.answers.insert(path.to_owned(), (200, body));
    };
    answer(
        "/api/v1/nodes",
        r#"{"metadata":{"name":"cp-1","labels":{"node-role.kubernetes.io/control-plane":""}}}"#,
    );
    answer(
        "/api/v1/namespaces/kube-system/pods",
        r#"{"metadata":{"name":"kube-apiserver-cp-1"},"spec":{"nodeName":"cp-1","containers":[{"name":"kube-apiserver",
        "command":["kube-apiserver","--etcd-servers=x","--audit-log-path","/var/log/kubernetes/audit/audit.log"]}]}}"#,
    );
    answer("/api/v1/namespaces/openshift-kube-apiserver/pods", "");
    state.files.insert(AUDIT_LOG.to_owned(), File::Text(log.as_bytes().to_vec()));
    Server::start(state)
}

fn command(server: &Server, folder: &Path, args: &[&str]) -> Command {
    let kubeconfig = folder.join("kubeconfig");
    fs::write(&kubeconfig, "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    command
        .args(args)
        .args(["--server", &server.url])
        .current_dir(folder)
        .env("KUBECONFIG", kubeconfig)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/","verb":"get","user":{},"stageTimestamp":"2026-11-22T10:00:00.000000Z"}"#;

#[test]
fn an_interrupt_says_how_to_resume() {
    let stalls = State { stall: Some(SENT), ..State::default() };
    let server = server(&format!("{EVENT}\n").repeat(2_000), stalls);
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("copy/cp-1/audit.log.part");
    let mut child = command(&server, folder.path(), &["fetch", "-o", "copy"]).spawn().unwrap();
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |it| it.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(15), "no copy was begun");
        thread::sleep(Duration::from_millis(20));
    }

    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(
        said,
        "interrupted; what was copied so far is kept\n\
         hint: run the same command again to resume: unfinished copies end in `.part`\n"
    );

    // What the message promises: the same command makes the copy whole.
    let kept = fs::metadata(&part).unwrap().len();
    assert!(kept > 0 && kept <= SENT, "{kept}");
    let before = server.state.lock().unwrap().sent;
    let output = command(&server, folder.path(), &["fetch", "-o", "copy"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let File::Text(whole) = server.state.lock().unwrap().files[AUDIT_LOG].clone() else {
        unreachable!("it is text")
    };
    assert!(fs::read(folder.path().join("copy/cp-1/audit.log")).unwrap() == whole);
    assert!(!part.exists());
    let sent = server.state.lock().unwrap().sent - before;
    assert!(sent < whole.len() as u64, "what was there is not copied again: {sent}");
}

#[test]
fn counting_nothing_on_the_nodes_names_doctor() {
    let hint = "note: no event was read from the nodes: `kubectl audit doctor` shows how auditing is set up\n";
    let said = |log: &str, args: &[&str]| {
        let (server, folder) = (server(log, State::default()), tempfile::tempdir().unwrap());
        let output = command(&server, folder.path(), args).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let no_event = "not an event\n";
    assert!(said(no_event, &["stats"]).contains(hint), "{}", said(no_event, &["stats"]));
    assert!(said(no_event, &["stats", "-o", "json"]).contains(hint));
    assert!(!said(no_event, &["stats", "-q"]).contains(hint));
    // Events that no filter lets through are another matter.
    let event = format!("{EVENT}\n");
    assert!(!said(&event, &["stats"]).contains(hint));
    assert!(!said(&event, &["stats", "--verb", "delete"]).contains(hint));
}
