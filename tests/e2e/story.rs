//! What several users do in the cluster, played once for all tests. Bob, Mallory and the service account
//! ask the API server of the second node, all others that of the first.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::cluster::{NODES, User, kubectl, run};

/// What was done, and by whom. Names carry a number, so that the story can be played again in a
/// cluster that was kept.
#[derive(Debug)]
pub struct Story {
    pub namespace: String,
    /// May do anything in the namespace: rolls out and deletes.
    pub alice: User,
    /// May look and open sessions: exec, attach, port-forward, cp, debug.
    pub bob: User,
    /// May do nothing: is refused.
    pub mallory: User,
    /// Impersonated by the administrator.
    pub dave: String,
    /// A service account with a bound token.
    pub ci: String,
    /// The requests that were made, as far as the tests count them.
    pub requests: Vec<Request>,
}

/// Requests of a kind, as the audit log should tell them.
#[derive(Debug, Clone)]
pub struct Request {
    pub user: String,
    pub verb: &'static str,
    pub resource: &'static str,
    pub subresource: Option<&'static str>,
    pub code: u16,
    pub count: u64,
}

impl Story {
    /// The story, told when the first test asks for it.
    pub fn told() -> &'static Story {
        static STORY: OnceLock<Story> = OnceLock::new();
        STORY.get_or_init(|| {
            let mut story = Story::begin();
            story.rollout();
            story.sessions();
            story.identities();
            story.refusals();
            story.deletion();
            // The last events are written after the replies.
            sleep(Duration::from_millis(300));
            story
        })
    }

    fn begin() -> Story {
        let id =
            SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_millis();
        let namespace = format!("shop-{id}");
        let user = |name: &str, group: &str| User::new(&format!("{name}-{id}"), &[group]);
        let (alice, bob) = (user("alice", "dev"), user("bob", "oncall").at(NODES[1]));
        let namespaced: [&str; 2] = ["-n", &namespace];
        kubectl(&["create", "namespace", &namespace]).ok();
        let create = |args: &[&str]| kubectl(&[&namespaced[..], &["create"], args].concat()).ok();
        create(&["serviceaccount", "ci"]);
        create(&[
            "rolebinding",
            "admins",
            "--clusterrole=admin",
            &format!("--user={}", alice.name),
        ]);
        create(&["rolebinding", "viewers", "--clusterrole=view", &format!("--user={}", bob.name)]);
        create(&[
            "rolebinding",
            "ci",
            "--clusterrole=view",
            &format!("--serviceaccount={namespace}:ci"),
        ]);
        create(&["rolebinding", "dave", "--clusterrole=view", &format!("--user=dave-{id}")]);
        create(&[
            "role",
            "sessions",
            "--verb=get,create,patch",
            "--resource=pods/exec,pods/attach,pods/portforward,pods/ephemeralcontainers",
        ]);
        create(&["rolebinding", "sessions", "--role=sessions", &format!("--user={}", bob.name)]);
        Story {
            dave: format!("dave-{id}"),
            ci: format!("system:serviceaccount:{namespace}:ci"),
            mallory: user("mallory", "guests").at(NODES[1]),
            namespace,
            alice,
            bob,
            requests: Vec::new(),
        }
    }

    fn did(&mut self, user: &str, verb: &'static str, what: &'static str, code: u16, count: u64) {
        let (resource, subresource) = match what.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (what, None),
        };
        self.requests.push(Request {
            user: user.to_owned(),
            verb,
            resource,
            subresource,
            code,
            count,
        });
    }

    /// Alice brings out a deployment, and a newer image of it.
    fn rollout(&mut self) {
        let alice = self.alice.clone();
        let alice_does =
            |args: &[&str]| alice.kubectl(&[&["-n", &self.namespace], args].concat()).ok();
        alice_does(&[
            "create",
            "deployment",
            "web",
            "--image=registry.example/shop/web:1.0",
            "--",
            "sh",
            "-c",
            "httpd -p 8080 -h /data; while :; do echo tick; sleep 1; done",
        ]);
        alice_does(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        alice_does(&["set", "image", "deployment/web", "web=registry.example/shop/web:1.1"]);
        alice_does(&["rollout", "status", "deployment/web", "--timeout=60s"]);
        alice_does(&[
            "run",
            "box",
            "--image=registry.example/tools/debug:1",
            "--stdin",
            "--attach=false",
            "--",
            "sh",
            "-c",
            "httpd -p 8080 -h /data; while :; do echo tick; sleep 1; done",
        ]);
        alice_does(&["wait", "--for=condition=Ready", "pod/box", "--timeout=60s"]);
        self.did(&alice.name, "create", "deployments", 201, 1);
        self.did(&alice.name, "patch", "deployments", 200, 1);
        self.did(&alice.name, "create", "pods", 201, 1);
    }

    /// Bob opens sessions into a pod, over both protocols.
    fn sessions(&mut self) {
        let bob = self.bob.clone();
        let namespace = self.namespace.clone();
        let kubectl = |args: &[&str]| {
            let mut command = bob.command("kubectl");
            command.args(["-n", &namespace]).args(args);
            command
        };
        run(&mut kubectl(&["exec", "box", "--", "cat", "/data/hello.txt"])).ok();
        let spdy = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS";
        run(kubectl(&["exec", "box", "--", "id"]).env(spdy, "false")).ok();
        run(&mut kubectl(&["cp", "box:/data/hello.txt", "/tmp/hello.txt"])).ok();
        run(kubectl(&["debug", "box", "--image=registry.example/tools/debug:1", "--", "true"])
            .stdin(Stdio::null()))
        .ok();
        attach(&mut kubectl(&["attach", "box"]));
        port_forward(&mut kubectl(&["port-forward", "pod/box"]));
        self.did(&bob.name, "get", "pods/exec", 101, 2);
        self.did(&bob.name, "create", "pods/exec", 101, 1);
        self.did(&bob.name, "patch", "pods/ephemeralcontainers", 200, 1);
        self.did(&bob.name, "get", "pods/attach", 101, 1);
        self.did(&bob.name, "get", "pods/portforward", 101, 1);
    }

    /// A service account with a bound token, and a user whom the administrator impersonates.
    fn identities(&mut self) {
        let token = kubectl(&["-n", &self.namespace, "create", "token", "ci"]).ok();
        with_token(token.trim(), &["-n", &self.namespace, "get", "configmaps"]).ok();
        let impersonating = [
            "-n",
            &self.namespace,
            "get",
            "pods",
            "box",
            "--as",
            &self.dave,
            "--as-group",
            "night",
        ];
        kubectl(&impersonating).ok();
        let ci = self.ci.clone();
        self.did(&ci, "list", "configmaps", 200, 1);
    }

    /// Mallory may not, bob may not everything, and nobody knows who came with that token.
    fn refusals(&mut self) {
        let namespace = self.namespace.clone();
        let mallory = self.mallory.clone();
        mallory.kubectl(&["-n", &namespace, "get", "secrets"]).failed();
        mallory.kubectl(&["-n", &namespace, "delete", "configmap", "kube-root-ca.crt"]).failed();
        self.bob.kubectl(&["-n", &namespace, "get", "secrets"]).failed();
        let told = with_token("wrong", &["-n", &namespace, "get", "endpoints"]).failed();
        assert!(told.contains("Unauthorized"), "{told}");
        self.did(&mallory.name, "list", "secrets", 403, 1);
        self.did(&mallory.name, "delete", "configmaps", 403, 1);
        let bob = self.bob.name.clone();
        self.did(&bob, "list", "secrets", 403, 1);
    }

    fn deletion(&mut self) {
        let alice = self.alice.clone();
        alice.kubectl(&["-n", &self.namespace, "delete", "deployment", "web", "--wait=false"]).ok();
        self.did(&alice.name, "delete", "deployments", 200, 1);
    }
}

/// kubectl with a bearer token and nothing else.
fn with_token(token: &str, args: &[&str]) -> super::cluster::Ended {
    let server = format!("--server={}", NODES[1].server());
    let connection = [
        "--kubeconfig=/dev/null",
        &server,
        "--certificate-authority=/etc/kubernetes/pki/ca.crt",
        "--token",
        token,
    ];
    run(Command::new("kubectl").args(connection).args(args))
}

/// Attaches until the first output.
fn attach(command: &mut Command) {
    let mut child = started(command);
    let mut first = [0];
    child.stdout.take().expect("it is piped").read_exact(&mut first).expect("the pod prints");
    end(child);
}

/// Forwards a local port and asks for a file through it.
fn port_forward(command: &mut Command) {
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|it| it.local_addr())
        .expect("a port is free")
        .port();
    let child = started(command.arg(format!("{port}:8080")));
    let mut stream = (0..100)
        .find_map(|_| {
            sleep(Duration::from_millis(100));
            TcpStream::connect(("127.0.0.1", port)).ok()
        })
        .expect("kubectl forwards the port");
    stream.write_all(b"GET /hello.txt HTTP/1.0\r\n\r\n").expect("the pod listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the pod answers");
    assert!(answer.contains("hello"), "{answer}");
    end(child);
}

fn started(command: &mut Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("kubectl can be started")
}

fn end(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}
