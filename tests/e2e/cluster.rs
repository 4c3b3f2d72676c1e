//! The cluster of the tests: kubectl, kubectl-audit and kubeconfigs of users.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The audit log, as each node names it. A test that opens it opens the one of the first node.
pub const AUDIT_LOG: &str = "/var/log/kubernetes/audit/audit.log";

/// The nodes of the test bed. Each has its own API server, kubelet and audit log.
pub const NODES: [Node; 2] = [Node { name: "cp-1", number: 1 }, Node { name: "cp-2", number: 2 }];

/// A control-plane node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub name: &'static str,
    number: usize,
}

impl Node {
    /// The address of its API server and its kubelet.
    pub fn address(self) -> String {
        format!("10.77.0.{}", self.number)
    }

    /// The URL of its API server.
    pub fn server(self) -> String {
        format!("https://{}:6443", self.address())
    }

    /// A file or folder below the node's `/var/log`, as a path that the tests can open.
    pub fn log_path(self, below: &str) -> PathBuf {
        self.state().join("log").join(below)
    }

    /// Its audit log, as a path that the tests can open.
    pub fn audit_log(self) -> PathBuf {
        self.log_path("kubernetes/audit/audit.log")
    }

    /// A command that runs on this node, with its files.
    pub fn command(self, program: impl AsRef<OsStr>) -> Command {
        let pid = std::fs::read_to_string(self.state().join("pid")).expect("the node runs");
        let inside = pid.split_whitespace().last().expect("its record has a pid");
        let mut command = Command::new("nsenter");
        command.args(["--target", inside, "--mount", "--uts", "--"]).arg(program);
        command
    }

    /// Restarts its API server: without some of its usual flags, with more flags.
    pub fn restart(self, without: &str, flags: &str) {
        let mut start = self.command(kit("lib/start"));
        start.args([self.name, &self.number.to_string()]);
        run(start.env("AUDIT_ARGS", flags).env("WITHOUT", without)).ok();
    }

    fn state(self) -> PathBuf {
        Path::new(&std::env::var("STATE").expect("tests/e2e/run sets STATE")).join(self.name)
    }
}

/// A script of the test bed.
fn kit(script: &str) -> PathBuf {
    let kit = std::env::var("CONTROL_PLANE").expect("tests/e2e/run sets CONTROL_PLANE");
    Path::new(&kit).join(script)
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Its output, if it ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its output as JSON, if it ended well.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("the output is JSON")
    }

    /// Its messages, if it ended badly.
    #[track_caller]
    pub fn failed(self) -> String {
        assert_ne!(self.status, Some(0), "succeeded: {}", self.stdout);
        self.stderr
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().expect("the program can be started");
    Ended {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// kubectl, as the cluster's administrator.
pub fn kubectl(args: &[&str]) -> Ended {
    run(Command::new("kubectl").args(args))
}

/// kubectl-audit: the one that was built with the tests, or the one that is named.
pub fn program() -> String {
    std::env::var("KUBECTL_AUDIT").unwrap_or(env!("CARGO_BIN_EXE_kubectl-audit").to_owned())
}

/// kubectl-audit, as the cluster's administrator.
pub fn audit(args: &[&str]) -> Ended {
    run(Command::new(program()).args(args))
}

/// kubectl-audit, as the cluster's administrator, on the audit logs of all nodes, as files.
pub fn audit_logs(args: &[&str]) -> Ended {
    run(Command::new(program()).args(args).args(NODES.map(Node::audit_log)))
}

/// Waits until every API server knows that a user may do this: they learn of a new binding by a watch.
pub fn wait_until_allowed(user: &User, request: &[&str]) {
    for node in NODES {
        let is_allowed = || {
            let question = [&["auth", "can-i"], request].concat();
            run(user.at(node).command("kubectl").args(question)).status == Some(0)
        };
        for _ in 0..50 {
            if is_allowed() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

/// A user of the cluster with a client certificate.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub kubeconfig: PathBuf,
}

impl User {
    /// Makes a certificate for this name and these groups. The user asks the API server of the first node.
    pub fn new(name: &str, groups: &[&str]) -> User {
        let subject = format!("{name}:{}", groups.join(","));
        let path = run(Command::new(kit("users")).arg(subject)).ok();
        User { name: name.to_owned(), kubeconfig: path.trim().into() }
    }

    /// The same user, who asks the API server of this node.
    pub fn at(&self, node: Node) -> User {
        let text = std::fs::read_to_string(&self.kubeconfig).expect("a user has a kubeconfig");
        let kubeconfig = self.kubeconfig.with_extension(format!("{}.conf", node.name));
        std::fs::write(&kubeconfig, text.replace(&NODES[0].server(), &node.server()))
            .expect("the folder can be written");
        User { name: self.name.clone(), kubeconfig }
    }

    /// A command with this user's kubeconfig.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// kubectl, as this user.
    pub fn kubectl(&self, args: &[&str]) -> Ended {
        run(self.command("kubectl").args(args))
    }
}
