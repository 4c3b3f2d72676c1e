//! The cluster of the tests: kubectl, kubectl-audit and kubeconfigs of users.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// The audit log of the first node, as a path that the tests can open.
pub const AUDIT_LOG: &str = "/var/log/kubernetes/audit/audit.log";

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

/// A user of the cluster with a client certificate.
#[derive(Debug, Clone)]
pub struct User {
    pub name: String,
    pub kubeconfig: PathBuf,
}

impl User {
    /// Makes a certificate for this name and these groups.
    pub fn new(name: &str, groups: &[&str]) -> User {
        let kit = std::env::var("CONTROL_PLANE").expect("tests/e2e/run sets CONTROL_PLANE");
        let subject = format!("{name}:{}", groups.join(","));
        let path = run(Command::new(Path::new(&kit).join("users")).arg(subject)).ok();
        User { name: name.to_owned(), kubeconfig: path.trim().into() }
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
