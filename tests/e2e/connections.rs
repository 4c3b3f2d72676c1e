//! Ways to the API server: kubeconfigs in parts, credentials from plugins, proxies, what has expired.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::spawn,
};

use super::{
    cluster::{Ended, kubectl, program, run},
    nodes::reader,
};

/// A kubeconfig for the cluster, with these lines for its user.
fn kubeconfig(folder: &Path, user: &str) -> PathBuf {
    let path = folder.join("config");
    let text = format!("{CLUSTER}users:\n- name: me\n  user:\n{user}");
    fs::write(&path, text).expect("the temporary folder can be written");
    path
}

const CLUSTER: &str = "\
apiVersion: v1
kind: Config
current-context: e2e
contexts:
- name: e2e
  context: {cluster: e2e, user: me}
clusters:
- name: e2e
  cluster: {server: 'https://10.77.0.1:6443', certificate-authority: /etc/kubernetes/pki/ca.crt}
";

fn stats(kubeconfig: &Path) -> Ended {
    let limits = ["stats", "--since", "1m", "--node", "cp-1"];
    run(Command::new(program()).args(limits).env("KUBECONFIG", kubeconfig))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("the temporary folder can be written")
}

/// A token of somebody who may read the logs.
fn token() -> String {
    kubectl(&["create", "serviceaccount", "auditor", "-n", "kube-system"]);
    kubectl(&[
        "create",
        "clusterrolebinding",
        // Not the name of the binding of `nodes::reader`.
        "auditor-by-token",
        "--clusterrole=audit-log-reader",
        "--serviceaccount=kube-system:auditor",
    ]);
    reader();
    kubectl(&["create", "token", "auditor", "-n", "kube-system"]).ok().trim().to_owned()
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_list_of_kubeconfigs() {
    let folder = folder();
    let (first, second) = (folder.path().join("cluster"), folder.path().join("user"));
    fs::write(&first, CLUSTER).expect("the temporary folder can be written");
    let user = format!(
        "apiVersion: v1\nkind: Config\nusers:\n- name: me\n  user: {{token: {}}}\n",
        token()
    );
    fs::write(&second, user).expect("the temporary folder can be written");
    let list = std::env::join_paths([&folder.path().join("none"), &first, &second])
        .expect("their names have no colon");
    stats(Path::new(&list)).ok();
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_credential_plugin() {
    let folder = folder();
    let plugin = |name: &str, script: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let user = format!(
            "    exec: {{apiVersion: client.authentication.k8s.io/v1, command: {}, interactiveMode: Never}}\n",
            path.display()
        );
        kubeconfig(folder.path(), &user)
    };
    let credential = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{}"}}}}"#,
        token()
    );
    stats(&plugin("good", &format!("echo '{credential}'"))).ok();
    let told = stats(&plugin("bad", "echo the password has expired >&2; exit 3")).failed();
    assert!(told.contains("cannot get credentials for `https://10.77.0.1:6443`"), "{told}");
    assert!(told.contains("hint: run `kubectl get nodes` once"), "{told}");
    let user = "    exec: {apiVersion: client.authentication.k8s.io/v1, command: /no/such/plugin, interactiveMode: Never}\n";
    let told = stats(&kubeconfig(folder.path(), user)).failed();
    assert!(told.contains("cannot get credentials"), "{told}");
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn an_expired_certificate() {
    let folder = folder();
    let script = r#"
set -e
cd "$1"
openssl req -new -newkey rsa:2048 -nodes -keyout key -subj /CN=auditor -out request 2>/dev/null
touch index; echo 01 >serial
cat >ca.conf <<END
[ca]
default_ca = it
[it]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = client
[client]
extendedKeyUsage = clientAuth
[any]
commonName = supplied
END
openssl ca -batch -config ca.conf -cert /etc/kubernetes/pki/ca.crt -keyfile /etc/kubernetes/pki/ca.key \
  -startdate 20200101000000Z -enddate 20200102000000Z -in request -out certificate -notext 2>&1
"#;
    run(Command::new("sh").args(["-c", script, "sh"]).arg(folder.path())).ok();
    let at = folder.path().display();
    let user = format!("    client-certificate: {at}/certificate\n    client-key: {at}/key\n");
    let told = stats(&kubeconfig(folder.path(), &user)).failed();
    assert!(told.contains("does not know these credentials (401 Unauthorized)"), "{told}");
    assert!(told.contains("has expired: log in again"), "{told}");
}

/// Hands connections on, as a proxy is asked to with CONNECT; counts them.
fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it has an address"));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    spawn(move || {
        for client in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
            spawn(move || connect(client));
        }
    });
    (url, count)
}

fn connect(mut client: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(client.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let target = first.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    lines.map_while(Result::ok).take_while(|it| !it.is_empty()).for_each(drop);
    let server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut client, &mut { server }).ok()?;
    Some(())
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn proxies() {
    let (url, count) = proxy();
    let through = |variable: &str, url: &str, no_proxy: &str| {
        let mut audit = reader().command(&program());
        audit.args(["stats", "--since", "1m", "--node", "cp-1"]);
        for name in
            ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"]
        {
            audit.env_remove(name);
        }
        run(audit.env(variable, url).env("NO_PROXY", no_proxy))
    };
    through("HTTPS_PROXY", &url, "").ok();
    assert!(count.load(Ordering::Relaxed) > 0, "it was asked");
    let told = through("HTTPS_PROXY", "http://127.0.0.1:1", "").failed();
    assert!(told.contains("cannot reach the API server"), "{told}");
    assert!(told.contains("check the network and proxy settings"), "{told}");
    let before = count.load(Ordering::Relaxed);
    through("HTTPS_PROXY", "http://127.0.0.1:1", "10.77.0.1").ok();
    // A cluster is spoken to with HTTPS, whatever the proxy for HTTP is.
    through("HTTP_PROXY", "http://127.0.0.1:1", "").ok();
    assert_eq!(count.load(Ordering::Relaxed), before, "nobody asked it");
}
