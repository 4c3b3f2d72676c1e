//! A kubelet that hangs: it is stopped, and its connections stay open.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    cluster::run,
    follow::Following,
    nodes::{audit_as, reader},
};

/// The kubelets of a node: all nodes share their processes, and each kubelet is told its node's name.
fn kubelets(node: &str) -> Vec<String> {
    let listed = run(Command::new("pgrep").args(["-a", "kubelet"])).stdout;
    let mine = listed.lines().filter(|it| it.contains(node));
    mine.filter_map(|it| it.split(' ').next()).map(str::to_owned).collect()
}

/// Stops a kubelet, and lets it go on when dropped.
struct Stopped(Vec<String>);

impl Stopped {
    fn kubelet(node: &str) -> Stopped {
        let all = kubelets(node);
        assert!(!all.is_empty(), "a kubelet runs for {node}");
        run(Command::new("kill").arg("-STOP").args(&all)).ok();
        Stopped(all)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        run(Command::new("kill").arg("-CONT").args(&self.0));
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_kubelet_that_hangs() {
    let following =
        Following::start(reader(), &["events", "-f", "--since", "5s", "--node-timeout", "2s"]);
    sleep(Duration::from_secs(3));
    {
        let _stopped = Stopped::kubelet("cp-2");
        let started = Instant::now();
        let ended = audit_as(reader(), &["stats", "--node-timeout", "3s", "-o", "json"]);
        let elapsed = started.elapsed();
        assert_eq!(ended.status, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("node `cp-2` sent nothing for 3 s"), "{}", ended.stderr);
        let report: Value =
            serde_json::from_str(&ended.stdout).expect("the other node is reported");
        assert!(report["total"]["events"].as_u64() > Some(0));
        assert!(elapsed < Duration::from_secs(15), "{elapsed:?}");
        following.wait_for("node `cp-2` sent nothing for 2 s", 15);
    }
    following.wait_for("node `cp-2` is back at 2", 30);
    let (_, told) = following.stop();
    assert_eq!(told.matches("waiting for it").count(), 1, "{told}");
    assert_eq!(told.matches("is back at").count(), 1, "{told}");
}
