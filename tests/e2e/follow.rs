//! Following the logs of real nodes: what it costs, what it hides, and what it says about nodes that
//! come and go.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    cluster::{User, audit, kubectl, program, run},
    nodes::{audit_as, reader, reader_named},
};

/// A `-f` that runs, with its output in files.
pub struct Following {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Following {
    pub fn start(user: &User, args: &[&str]) -> Following {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        let path =
            |end: &str| std::env::temp_dir().join(format!("follow-{}.{end}", now.as_nanos()));
        let (out, err) = (path("out"), path("err"));
        let create = |path: &Path| fs::File::create(path).expect("it can be written");
        let child = user
            .command(&program())
            .args(args)
            .stdin(Stdio::null())
            .stdout(create(&out))
            .stderr(create(&err))
            .spawn()
            .expect("it can be started");
        Following { child, out, err }
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.out).expect("it is there")
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.err).expect("it is there")
    }

    /// Waits until standard error or standard output mention a text.
    #[track_caller]
    pub fn wait_for(&self, text: &str, seconds: u64) {
        let started = Instant::now();
        while !self.told().contains(text) && !self.printed().contains(text) {
            let is_late = started.elapsed() > Duration::from_secs(seconds);
            assert!(!is_late, "no `{text}` within {seconds} s:\n{}", self.told());
            sleep(Duration::from_millis(200));
        }
    }

    /// Interrupts it; gives what it printed, and what it told.
    pub fn stop(mut self) -> (String, String) {
        run(Command::new("kill").args(["-INT", &self.child.id().to_string()])).ok();
        let status = self.child.wait().expect("it ends");
        let (printed, told) = (self.printed(), self.told());
        assert!(status.success(), "an interrupt is no failure: {told}");
        fs::remove_file(&self.out).expect("it was there");
        fs::remove_file(&self.err).expect("it was there");
        (printed, told)
    }
}

/// All events of the nodes, our own included, since so many seconds.
fn events(since: u64) -> Vec<Value> {
    let args = ["events", "-o", "jsonl", "--include-self", "--since", &format!("{since}s")];
    let lines = audit(&args).ok();
    lines.lines().map(|it| serde_json::from_str(it).expect("an event is JSON")).collect()
}

fn text<'v>(event: &'v Value, key: &str) -> &'v str {
    event[key].as_str().unwrap_or_default()
}

/// The user agent of the one run of this user.
fn agent(user: &User) -> String {
    // With kubectl, the user was only asked about.
    let is_of = |it: &&Value| {
        text(&it["user"], "username") == user.name
            && text(it, "userAgent").starts_with("kubectl-audit/")
    };
    let events = events(10);
    let agents: BTreeSet<&str> =
        events.iter().filter(is_of).map(|it| text(it, "userAgent")).collect();
    assert_eq!(agents.len(), 1, "{agents:?}");
    agents.iter().map(ToString::to_string).collect()
}

/// Thirty seconds of `-f`: at most a request a second for each log, of whatever kind.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn requests_have_a_budget() {
    let user = reader_named("auditor-of-costs");
    let following = Following::start(&user, &["events", "-f", "-o", "jsonl", "--since", "10s"]);
    sleep(Duration::from_secs(5));
    let agent = agent(&user);
    sleep(Duration::from_secs(30));
    let all = events(30);
    let (_, told) = following.stop();
    let own = all.iter().filter(|it| text(it, "userAgent") == agent);
    let own = own.filter(|it| text(it, "stage") == "ResponseComplete").count();
    assert!((10..=60).contains(&own), "{own} requests in 30 s, for two logs");
    assert!(told.contains("of this run that read the logs"), "{told}");
}

/// Whoever takes our name, with the ID of this run, hides nothing but reads of the log.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn nobody_hides_behind_our_name() {
    let user = reader_named("auditor-in-name");
    let following = Following::start(&user, &["events", "-f", "-o", "jsonl", "--since", "5s"]);
    sleep(Duration::from_secs(5));
    let agent = agent(&user);
    let kubeconfig = kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]).json();
    let pem = |key: &str| {
        let user = &kubeconfig["users"][0]["user"];
        if let Some(path) = user[key].as_str() {
            return path.to_owned();
        }
        let data = user[format!("{key}-data")].as_str().expect("it is there or beside");
        let path = std::env::temp_dir().join(format!("follow-{key}"));
        let decode = format!("umask 077; echo '{data}' | base64 -d > {}", path.display());
        run(Command::new("sh").args(["-c", &decode])).ok();
        path.display().to_string()
    };
    let (certificate, key) = (pem("client-certificate"), pem("client-key"));
    let hidden = [
        "%2e%2e/configz",
        "%2e%2e/containerLogs/default/none/app",
        "%2e%2e/portForward/default/none",
        "%252e%252e/configz",
        "../configz",
        "syslog",
    ];
    for path in hidden {
        let url = format!("https://10.77.0.1:6443/api/v1/nodes/cp-1/proxy/logs/{path}");
        let curl =
            ["-sk", "--path-as-is", "-o", "/dev/null", "--cert", &certificate, "--key", &key];
        run(Command::new("curl").args(curl).args(["-A", &agent, &url])).ok();
    }
    sleep(Duration::from_secs(9));
    let (printed, _) = following.stop();
    for path in hidden {
        let path = format!("/api/v1/nodes/cp-1/proxy/logs/{path}");
        let is_shown = printed.lines().any(|it| it.contains(&path) && it.contains(&agent));
        assert!(is_shown, "{path} is hidden");
    }
    let log = "/proxy/logs/kubernetes/audit/audit.log";
    let is_own = |it: &&str| it.contains(log) && it.contains(&agent);
    assert_eq!(printed.lines().find(is_own), None);
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn nodes_with_commas() {
    let report = audit_as(reader(), &["stats", "--node", "cp-1,cp-2", "-o", "json"]).json();
    assert_eq!(report["input"]["logs"], 2);
    let ended = audit(&["stats", "--node", "cp-1,nosuch", "-o", "json"]);
    assert!(ended.stderr.contains("there is no node `nosuch`"), "{}", ended.stderr);
    // The reader may not even know whether there is such a node.
    let ended = audit_as(reader(), &["stats", "--node", "cp-1,nosuch", "-o", "json"]);
    assert!(
        ended.stderr.contains("no permission to read logs of node `nosuch`"),
        "{}",
        ended.stderr
    );
}
