//! What somebody may try to hide, or to pass off as somebody else's.

use std::{process::Command, thread::sleep, time::Duration};

use super::cluster::{NODES, User, audit_logs, kubectl, run};

/// A request that a person made as a service account earns the account no right.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn borrowed_identities_earn_no_rights() {
    kubectl(&["create", "namespace", "trust"]).ok();
    kubectl(&["create", "serviceaccount", "robot", "-n", "trust"]).ok();
    let bind = ["create", "rolebinding", "robot", "-n", "trust", "--clusterrole=view"];
    kubectl(&[&bind[..], &["--serviceaccount=trust:robot"]].concat()).ok();
    sleep(Duration::from_secs(2));
    let name = "system:serviceaccount:trust:robot";
    kubectl(&["get", "configmaps", "-n", "trust", "--as", name]).ok();
    sleep(Duration::from_secs(1));

    let generate = ["rbac", "generate", "--subject", "trust/robot"];
    let ended = audit_logs(&generate);
    assert!(!ended.stdout.contains("configmaps"), "{}", ended.stdout);
    assert!(ended.stderr.contains("kubernetes-admin"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--include-impersonated"), "{}", ended.stderr);
    let ended = audit_logs(&[&generate[..], &["--include-impersonated"]].concat());
    assert!(ended.stdout.contains("configmaps"), "{}\n{}", ended.stdout, ended.stderr);
}

/// A refused impersonation is not a refused request.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn refused_impersonations_are_named() {
    let eve = User::new("eve-of-trust", &[]);
    eve.kubectl(&["get", "pods", "-n", "default", "--as", "alice"]).failed();
    sleep(Duration::from_secs(1));

    let ended =
        audit_logs(&["events", "--subject", "eve-of-trust", "-F", "responseStatus.code=403"]);
    assert!(ended.stdout.contains("cannot impersonate"), "{}\n{}", ended.stdout, ended.stderr);
}

/// The kubelet resolves escapes and dots, so a session behind them is one.
#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn sessions_behind_dots_are_seen() {
    kubectl(&["create", "serviceaccount", "dots", "-n", "kube-system"]).ok();
    let bind = ["create", "clusterrolebinding", "dots-of-trust", "--clusterrole=cluster-admin"];
    kubectl(&[&bind[..], &["--serviceaccount=kube-system:dots"]].concat()).ok();
    let token = kubectl(&["create", "token", "dots", "-n", "kube-system"]).ok();
    sleep(Duration::from_secs(2));
    for node in NODES {
        let path = "proxy/logs/%2e%2e/run/trust-shop/nobody/app?cmd=id";
        let url = format!("{}/api/v1/nodes/{}/{path}", node.server(), node.name);
        let bearer = format!("Authorization: Bearer {}", token.trim());
        let curl = ["-sk", "--max-time", "5", "--path-as-is", "-X", "POST", "-H", &bearer, &url];
        run(Command::new("curl").args(curl)).ok();
    }
    sleep(Duration::from_secs(1));

    let sessions = audit_logs(&["execs", "-o", "json"]).json();
    let items = sessions["items"].as_array().expect("there are sessions");
    let is_here = |item: &&serde_json::Value| item["namespace"] == "trust-shop";
    let items: Vec<_> = items.iter().filter(is_here).collect();
    assert_eq!(items.len(), NODES.len(), "{sessions}");
    for item in items {
        assert_eq!((&item["type"], &item["pod"]), (&"node-run".into(), &"nobody".into()));
        assert_eq!(item["command"], serde_json::json!(["id"]));
        assert_ne!(item["state"], "closed", "there is no such pod");
    }
}
