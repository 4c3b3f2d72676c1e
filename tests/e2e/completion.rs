//! `kubectl audit <TAB>`: kubectl itself asks the plugin, the plugin the cluster.

use std::{env, fs, path::Path, process::Command};

use super::{
    cluster::{audit, run},
    story::Story,
};

/// What kubectl's completion scripts get for a line.
#[track_caller]
fn check(line: &[&str], expected: &[&str], directive: &str) {
    let folder =
        Path::new(env!("CARGO_BIN_EXE_kubectl-audit")).parent().expect("it is in a folder");
    let made = env::temp_dir().join(format!("kubectl-audit-completion-{}", std::process::id()));
    fs::create_dir_all(&made).expect("a folder can be made");
    audit(&["completion", "install", made.to_str().expect("its name is text")]).ok();
    let path = env::var("PATH").expect("there is a PATH");
    let path = format!("{}:{}:{path}", made.display(), folder.display());
    let out = run(Command::new("kubectl").arg("__complete").args(line).env("PATH", path)).ok();
    let lines: Vec<&str> = out.lines().filter(|it| !it.starts_with("[Debug]")).collect();
    let values = || lines.iter().map(|it| it.split('\t').next().unwrap_or_default());
    for it in expected {
        assert!(values().any(|value| value == *it), "{it} in {out}");
    }
    assert!(lines.contains(&directive), "{out}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn kubectl_completes() {
    Story::told();
    check(&["audit", ""], &["stats", "events", "doctor"], ":4");
    check(&["audit", "stats", "-o", "j"], &["json", "jsonl"], ":4");
    check(&["audit", "stats", ""], &[], ":0");
    check(&["audit", "events", "-F", "user.user"], &["user.username="], ":6");
    check(&["audit", "doctor", "--node", "cp"], &["cp-1", "cp-2"], ":4");
    check(&["audit", "events", "-n", "kube-"], &["kube-public", "kube-system"], ":4");
    check(&["audit", "events", "--server=https://127.0.0.1:1", "-n", ""], &[], ":4");
}
