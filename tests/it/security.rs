//! What docs/security.md promises: credentials stay where they are, and logs cannot speak to terminals.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What must not be seen anywhere: a token, a password, and the key of a client.
const SECRETS: [&str; 4] =
    ["t0ps3cret-token", "t0ps3cret-password", "t0ps3cret-key", "dDBwczNjcmV0"];

/// A server that answers every request with the same bytes; gives its URL and how often it was asked.
fn server(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            // The request need not be understood to be answered.
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

/// Runs the program with everything that makes programs talkative.
fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    command.args(args).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
    command.env("KUBECTL_COMMAND_HEADERS", "1").env("HTTP_PROXY", "").output().unwrap()
}

#[track_caller]
fn check(args: &[&str]) {
    let out = run(args);
    for text in [&out.stdout, &out.stderr] {
        let text = String::from_utf8_lossy(text);
        for it in SECRETS.iter().chain(&["Bearer", "Authorization: ", "authorization: "]) {
            assert!(!text.contains(it), "{args:?} tells {it}:\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

const ANSWERS: [&str; 6] = [
    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nnope\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot json!",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "",
];

#[test]
fn no_credential_is_ever_printed() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let config = config.to_str().unwrap();
    for answer in ANSWERS {
        let (url, _) = server(answer);
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{url}'}}}}]\n\
             users: [{{name: u, user: {{token: t0ps3cret-token}}}}]\n"
        );
        fs::write(config, text).unwrap();
        let copies = folder.path().join("copies");
        let fetch = ["fetch", "-o", copies.to_str().unwrap()];
        let commands: [&[&str]; 6] = [
            &["stats"],
            &["execs", "--resolve"],
            &["doctor"],
            &fetch,
            &["who", "ann", "--no-logs"],
            &["rbac", "who-can", "get", "pods"],
        ];
        for command in commands {
            let flags = ["--kubeconfig", config, "--request-timeout", "1s"];
            check(&[command, &flags[..]].concat());
            let flags = ["--server", &url, "--token", "t0ps3cret-token", "--request-timeout", "1s"];
            check(&[command, &flags[..]].concat());
        }
        check(&["__complete", "stats", "--kubeconfig", config, "--node", ""]);
    }
}

#[test]
fn a_broken_kubeconfig_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let users = [
        "{token: [t0ps3cret-token]}",
        "{username: u, password: {t0ps3cret-password: 1}}",
        "{client-certificate-data: eA==, client-key-data: dDBwczNjcmV0LWtleQ==}",
        "{client-certificate-data: eA==, client-key-data: '!t0ps3cret-key'}",
        "{token: 't0ps3cret-token\\n\\u0001 x'}",
        "{token: t0ps3cret-token",
    ];
    for user in users {
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}]\n\
             users: [{{name: u, user: {user}}}]\n"
        );
        fs::write(&config, text).unwrap();
        check(&["stats", "--kubeconfig", config.to_str().unwrap(), "--request-timeout", "1s"]);
    }
}

#[test]
fn a_token_does_not_follow_a_redirect() {
    let (elsewhere, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: {elsewhere}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let (url, first) = server(Box::leak(answer.into_boxed_str()));
    check(&["stats", "--server", &url, "--token", "t0ps3cret-token", "--request-timeout", "1s"]);
    assert!(first.load(Ordering::SeqCst) > 0);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_log_cannot_speak_to_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    // A name that clears the screen, and an event that sets the title, hides text and turns it around.
    let log = folder.path().join("a\u{1b}[2Jb.log");
    let evil = r"\u001b]0;owned\u0007\u001b[8m\u009b31m\u202e\u2066\r\n";
    let event = |stage: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{evil}","stage":"{stage}","requestURI":"/api/v1/namespaces/d/pods/p/exec?command={evil}","verb":"get","user":{{"username":"{evil}","groups":["{evil}"]}},"sourceIPs":["{evil}"],"userAgent":"{evil}","objectRef":{{"resource":"pods","namespace":"{evil}","name":"{evil}","subresource":"exec","apiVersion":"v1"}},"responseStatus":{{"code":101,"message":"{evil}"}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","stageTimestamp":"2026-01-02T03:04:06.000000Z"}}"#
        )
    };
    let text = format!("{}\n{{\"kind\":\"\u{1b}[31m\n", event("ResponseComplete"));
    fs::write(&log, text).unwrap();
    let log = log.to_str().unwrap();
    let commands: [&[&str]; 8] = [
        &["stats", "-k", "user.username,userAgent,objectRef.name"],
        &["stats", "--groups", "-o", "wide"],
        &["events"],
        &["events", "-o", "wide", "--strict"],
        &["execs"],
        &["execs", "-o", "wide"],
        &["stats", "-k", "auditID", "--color", "never", "-o", "json"],
        &["events", "-F", "user\u{1b}=x"],
    ];
    for command in commands {
        let out = run(&[command, &[log]].concat());
        for text in [&out.stdout, &out.stderr] {
            let text = String::from_utf8_lossy(text);
            let raw = |c: char| {
                matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                    || c.is_control() && c != '\n'
            };
            assert!(!text.contains(raw), "{command:?}: {text:?}");
        }
    }
}
