//! Which requests lead into a workload, and what their path and query say about it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{Event, ObjectRef, uri};

/// The way somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    Exec,
    Attach,
    #[serde(rename = "portforward")]
    #[value(name = "portforward")]
    PortForward,
    Debug,
    Cp,
    Proxy,
    NodeExec,
    NodeRun,
    NodeAttach,
    #[serde(rename = "node-portforward")]
    #[value(name = "node-portforward")]
    NodePortForward,
}

impl Type {
    /// The name in documents and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Type::Exec => "exec",
            Type::Attach => "attach",
            Type::PortForward => "portforward",
            Type::Debug => "debug",
            Type::Cp => "cp",
            Type::Proxy => "proxy",
            Type::NodeExec => "node-exec",
            Type::NodeRun => "node-run",
            Type::NodeAttach => "node-attach",
            Type::NodePortForward => "node-portforward",
        }
    }
}

impl Type {
    /// Whether clients open it by an upgrade, and fall back to another one if that fails.
    pub(super) fn is_stream(self) -> bool {
        use Type::{Attach, Cp, Exec, NodeAttach, NodeExec, NodePortForward, PortForward};
        matches!(self, Exec | Attach | PortForward | Cp | NodeExec | NodeAttach | NodePortForward)
    }
}

/// A door: what a request asked to be let into. What the log does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    pub kind: Type,
    pub node: Option<String>,
    pub namespace: Option<String>,
    pub pod: Option<String>,
    /// The service of a service proxy.
    pub service: Option<String>,
    pub container: Option<String>,
    pub command: Vec<String>,
    pub stdin: Option<bool>,
    pub stdout: Option<bool>,
    pub stderr: Option<bool>,
    pub tty: Option<bool>,
}

/// What `kubectl debug node/N` begins the names of its pods with.
pub(super) const NODE_DEBUGGER: &str = "node-debugger-";

impl Door {
    /// The door of a request, if it is one.
    pub fn of(event: &Event<'_>) -> Option<Door> {
        let object = event.object_ref.as_ref()?;
        if !object.api_group.is_empty() {
            return None;
        }
        let (path, query) = uri::split(&event.request_uri);
        let is_change = matches!(&*event.verb, "create" | "patch" | "update");
        match (&*object.resource, &*object.subresource) {
            ("pods", "exec") => Some(Door::stream(Type::Exec, event, object, query)),
            ("pods", "attach") => Some(Door::stream(Type::Attach, event, object, query)),
            ("pods", "portforward") => Some(Door::new(Type::PortForward, object)),
            ("pods", "ephemeralcontainers") if is_change => Some(Door::debug(event, object)),
            ("pods", "") if event.verb == "create" && object.name.starts_with(NODE_DEBUGGER) => {
                Some(Door::node_debug(event, object))
            }
            ("pods" | "services", "proxy") => Some(Door::proxy(object)),
            ("pods" | "services", "") if event.verb == "proxy" => Some(Door::proxy(object)),
            ("nodes", "proxy") => Door::kubelet(object, &path, query),
            ("nodes", "") if event.verb == "proxy" => Door::kubelet(object, &path, query),
            _ => None,
        }
    }

    fn new(kind: Type, object: &ObjectRef<'_>) -> Door {
        let stream = (kind == Type::PortForward).then_some(false);
        Door {
            kind,
            node: None,
            namespace: given(&object.namespace),
            pod: given(&object.name),
            service: None,
            container: None,
            command: Vec::new(),
            stdin: stream,
            stdout: stream,
            stderr: stream,
            tty: stream,
        }
    }

    /// `pods/exec` and `pods/attach`: options are in the query, or in the body where a collector
    /// kept that alone.
    fn stream(kind: Type, event: &Event<'_>, object: &ObjectRef<'_>, query: &str) -> Door {
        let mut door = Door::new(kind, object);
        door.read_query(query, ["stdin", "stdout", "stderr"]);
        let body = event.request_object.and_then(|it| serde_json::from_str(it.get()).ok());
        if query.is_empty()
            && let Some(Container { container, command, stdin, tty, .. }) = body
        {
            door.container = container;
            door.command = command.unwrap_or_default();
            (door.stdin, door.tty) = (stdin, tty);
        }
        if door.command.is_empty()
            && let Some(command) = event.annotations.get(GKE_COMMAND)
        {
            door.command = words(command);
        }
        if kind == Type::Exec && is_copy(&door.command) {
            door.kind = Type::Cp;
        }
        door
    }

    /// A patch of `ephemeralcontainers`: what runs is in the body, if that was recorded.
    ///
    /// The body is a pod or a patch of one, a JSON patch, or the `EphemeralContainers` that kubectl
    /// 1.18 to 1.21 sends with a PUT.
    fn debug(event: &Event<'_>, object: &ObjectRef<'_>) -> Door {
        let mut door = Door::new(Type::Debug, object);
        let body = event.request_object.map(RawValue::get).unwrap_or_default();
        if let Ok(EphemeralContainers { ephemeral_containers: Some(all) }) =
            serde_json::from_str(body)
        {
            door.read_container(all.into_iter().next_back());
        } else if let Ok(operations) = serde_json::from_str::<Vec<PatchOperation>>(body) {
            let added = operations.into_iter().rev().find_map(PatchOperation::container);
            door.read_container(added);
        } else {
            door.read_pod(event, |spec| spec.ephemeral_containers);
        }
        door
    }

    /// A pod of `kubectl debug node/N`: `node-debugger-N-xxxxx`.
    fn node_debug(event: &Event<'_>, object: &ObjectRef<'_>) -> Door {
        let mut door = Door::new(Type::Debug, object);
        let name = object.name.strip_prefix(NODE_DEBUGGER).unwrap_or_default();
        door.node = name.rsplit_once('-').map(|(node, _)| node.to_owned());
        door.read_pod(event, |spec| spec.containers);
        door
    }

    fn read_pod(&mut self, event: &Event<'_>, containers: impl Fn(Spec) -> Option<Vec<Container>>) {
        let pod: Option<Pod> =
            event.request_object.and_then(|it| serde_json::from_str(it.get()).ok());
        // A patch of ephemeral containers names the new one last.
        let last = pod.and_then(|it| it.spec).and_then(containers).and_then(|mut it| it.pop());
        self.read_container(last);
    }

    fn read_container(&mut self, container: Option<Container>) {
        if let Some(container) = container {
            self.container = container.name;
            self.command = container.command.unwrap_or_default();
            self.command.extend(container.args.unwrap_or_default());
            self.stdin = Some(container.stdin.unwrap_or_default());
            self.tty = Some(container.tty.unwrap_or_default());
        }
    }

    fn proxy(object: &ObjectRef<'_>) -> Door {
        let name = given(host(&object.name));
        let door = Door::new(Type::Proxy, object);
        if object.resource == "services" {
            return Door { pod: None, service: name, ..door };
        }
        Door { pod: name, ..door }
    }

    /// The kubelet's own paths behind `nodes/proxy`; other paths of it are no sessions.
    ///
    /// Source: `pkg/kubelet/server/server.go`, `InstallDebuggingHandlers`.
    fn kubelet(object: &ObjectRef<'_>, path: &str, query: &str) -> Option<Door> {
        let mut parts = path.split('/').filter(|it| !it.is_empty());
        // `/api/v1/nodes/N/proxy/…`, and `/api/v1/proxy/nodes/N/…` of old servers.
        let before: Vec<&str> = parts.by_ref().take(5).collect();
        let node = match *before.as_slice() {
            [_, _, "nodes", node, "proxy"] => node,
            [_, _, "proxy", "nodes", node] => node,
            _ => return None,
        };
        // The API server joins and cleans what follows before it passes the request on: `..` leads
        // nowhere above the kubelet's root. A `?` that was escaped is no query.
        // Source: `ResourceLocation` in `pkg/registry/core/node/rest`, `NodeREST.Connect`.
        let rest = parts.collect::<Vec<_>>().join("/").replace('?', "%3f");
        let rest = uri::canonical_path(&rest);
        let rest: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).take(6).collect();
        let (&action, place) = rest.split_first()?;
        let kind = match action {
            "exec" => Type::NodeExec,
            "run" => Type::NodeRun,
            "attach" => Type::NodeAttach,
            "portForward" => Type::NodePortForward,
            // What a container wrote, without a trace in `pods/log`.
            "containerLogs" => Type::Proxy,
            _ => return None,
        };
        let (namespace, pod, container) = match (kind, place) {
            (Type::NodePortForward, &[namespace, pod] | &[namespace, pod, _]) => {
                (namespace, pod, None)
            }
            (Type::Proxy, &[namespace, pod, container]) => {
                (namespace, pod, Some(container.to_owned()))
            }
            (Type::NodePortForward | Type::Proxy, _) => return None,
            (_, &[namespace, pod, container] | &[namespace, pod, _, container]) => {
                (namespace, pod, Some(container.to_owned()))
            }
            _ => return None,
        };
        let mut door = Door::new(kind, object);
        door.node = given(host(node));
        (door.namespace, door.pod) = (given(namespace), given(pod));
        if kind != Type::Proxy {
            (door.stdin, door.stdout, door.stderr, door.tty) =
                (Some(false), Some(false), Some(false), Some(false));
        }
        match kind {
            Type::NodePortForward | Type::Proxy => {}
            Type::NodeRun => {
                // The kubelet splits `cmd` at single spaces, see `getRun`.
                let command = uri::parameter(query, "cmd").unwrap_or_default();
                door.command =
                    command.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect();
            }
            _ => door.read_query(query, ["input", "output", "error"]),
        }
        door.container = container;
        Some(door)
    }

    /// Reads the options of a stream; a query that says nothing leaves them unknown.
    fn read_query(&mut self, query: &str, [stdin, stdout, stderr]: [&str; 3]) {
        if query.is_empty() {
            return;
        }
        let flag = |name| Some(uri::parameter(query, name).is_some_and(|it| is_true(&it)));
        (self.stdin, self.stdout, self.stderr) = (flag(stdin), flag(stdout), flag(stderr));
        self.tty = flag("tty");
        self.container = uri::parameter(query, "container").and_then(|it| given(&it));
        self.command = uri::parameters(query)
            .filter(|(name, _)| name == "command")
            .map(|(_, value)| value.into_owned())
            .collect();
    }
}

/// A flag of a query as the API server converts it: anything but `0` and `false`, also nothing.
///
/// Source: `Convert_Slice_string_To_bool` in `apimachinery/pkg/runtime/conversion.go`.
fn is_true(text: &str) -> bool {
    !(text == "0" || text.eq_ignore_ascii_case("false"))
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT` without scheme and port.
fn host(name: &str) -> &str {
    let mut parts = name.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("http" | "https" | ""), Some(name), Some(_)) => name,
        (Some(name), ..) => name,
        _ => "",
    }
}

/// Where GKE puts the command, since its events have no query.
const GKE_COMMAND: &str = "command.gke.io/command";

/// Splits a command in one text into words: a JSON list, or as a shell does.
fn words(command: &str) -> Vec<String> {
    if let Ok(words) = serde_json::from_str(command) {
        return words;
    }
    // To the splitter a `#` begins a comment, and nothing may be lost.
    let words = if command.contains('#') { None } else { shlex::split(command) };
    words.unwrap_or_else(|| command.split_whitespace().map(str::to_owned).collect())
}

/// Whether this is how `kubectl cp` calls tar.
///
/// Source: `kubectl/pkg/cmd/cp/cp.go`: `tar cf - SRC`, the same in `sh -c` with `tail` for a
/// retry, `tar [--no-same-permissions --no-same-owner] -xmf - [-C DIR]`.
fn is_copy(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["sh", "-c", script] => script.starts_with("tar cf - ") && script.contains("| tail -c+"),
        ["tar", "--no-same-permissions", "--no-same-owner", rest @ ..] | ["tar", rest @ ..] => {
            matches!(rest, ["cf" | "-cf" | "xf" | "-xf" | "xmf" | "-xmf", "-", ..])
        }
        _ => false,
    }
}

/// The parts of a pod, or of a body with a stream's options, that tell what runs.
#[derive(Deserialize)]
struct Pod {
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    containers: Option<Vec<Container>>,
    ephemeral_containers: Option<Vec<Container>>,
}

/// The body of kubectl 1.18 to 1.21 for `ephemeralcontainers`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EphemeralContainers {
    ephemeral_containers: Option<Vec<Container>>,
}

/// An operation of a JSON patch.
#[derive(Deserialize)]
struct PatchOperation<'a> {
    path: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl PatchOperation<'_> {
    /// The ephemeral container that it adds, if it adds one: a single one, or the last of a list.
    fn container(self) -> Option<Container> {
        let at = self.path.strip_prefix("/spec/ephemeralContainers")?;
        let value = self.value?.get();
        if at.is_empty() {
            return serde_json::from_str::<Vec<Container>>(value).ok()?.pop();
        }
        // A path with more parts sets a field of a container that is there already.
        let is_whole = !at[1..].contains('/');
        if is_whole { serde_json::from_str(value).ok() } else { None }
    }
}

#[derive(Deserialize)]
struct Container {
    name: Option<String>,
    container: Option<String>,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    stdin: Option<bool>,
    tty: Option<bool>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn door(resource: &str, verb: &str, uri: &str) -> Option<Door> {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        let name = uri.split('/').nth(6).unwrap_or("n");
        let event = Event {
            verb: verb.into(),
            request_uri: uri.into(),
            object_ref: Some(ObjectRef {
                resource: resource.into(),
                subresource: sub.into(),
                namespace: "ns".into(),
                name: name.into(),
                ..ObjectRef::default()
            }),
            ..Event::default()
        };
        Door::of(&event)
    }

    #[track_caller]
    fn check(resource: &str, verb: &str, uri: &str, expected: &str) {
        let shown = door(resource, verb, uri).map_or("none".to_owned(), |it| {
            let text = |it: Option<String>| it.unwrap_or("-".to_owned());
            let (node, pod) = (text(it.node), text(it.pod));
            format!("{} {node} {pod} {} {:?}", it.kind.as_str(), text(it.container), it.command)
        });
        assert_eq!(shown, expected, "{verb} {uri}");
    }

    const POD: &str = "/api/v1/namespaces/ns/pods/p";

    #[test]
    fn any_verb() {
        for verb in ["get", "create", "connect", "post"] {
            check("pods/exec", verb, &format!("{POD}/exec?command=id"), "exec - p - [\"id\"]");
            check("pods/attach", verb, &format!("{POD}/attach?container=c"), "attach - p c []");
            check("pods/portforward", verb, &format!("{POD}/portforward"), "portforward - p - []");
        }
    }
    #[test]
    fn words_come_back_as_typed() {
        let uri = format!("{POD}/exec?command=a+b&command=&command=%2B%26&command=x%3Dy");
        check("pods/exec", "get", &uri, r#"exec - p - ["a b", "", "+&", "x=y"]"#);
    }
    #[test]
    fn copies() {
        let uri = format!("{POD}/exec?command=tar&command=cf&command=-&command=/x");
        check("pods/exec", "get", &uri, r#"cp - p - ["tar", "cf", "-", "/x"]"#);
        let uri = format!("{POD}/exec?command=tar&command=tf&command=x");
        check("pods/exec", "get", &uri, r#"exec - p - ["tar", "tf", "x"]"#);
    }
    #[test]
    fn proxies() {
        check("pods/proxy", "get", "/api/v1/namespaces/ns/pods/p:80/proxy/x", "proxy - p - []");
        let uri = "/api/v1/namespaces/ns/pods/https:p:80/proxy/";
        check("pods/proxy", "get", uri, "proxy - p - []");
        check("services/proxy", "get", "/api/v1/namespaces/ns/services/s/proxy/", "proxy - - - []");
    }
    #[test]
    fn kubelet() {
        let node = "/api/v1/nodes/n1/proxy";
        let check = |path: &str, expected| {
            check("nodes/proxy", "get", &format!("{node}{path}"), expected);
        };
        // Where `..` leads is what the kubelet gets, however it is escaped.
        check("/logs/%2e%2e/exec/ns/p/c?command=id", r#"node-exec n1 p c ["id"]"#);
        check("/logs/%252e%252e/exec/ns/p/c?command=id", r#"node-exec n1 p c ["id"]"#);
        check("/x/%2E%2e/run/ns/p/c?cmd=id", r#"node-run n1 p c ["id"]"#);
        check("/logs/../%2e./attach/ns/p/c", "node-attach n1 p c []");
        check("/../../%2e%2e/portForward/ns/p", "node-portforward n1 p - []");
        check("/%65xec%2fns%2fp/./c?command=id", r#"node-exec n1 p c ["id"]"#);
        check("/x/..%2fcontainerLogs/ns/p/c", "proxy n1 p c []");
        check("/exec/ns/p/c/../c", "node-exec n1 p c []");
        check("/exec/ns/p/c%3fcommand=id", "node-exec n1 p c?command=id []");
        check("/exec/../logs/audit.log", "none");
        check("/exec/ns/p/c?command=id&command=-u", r#"node-exec n1 p c ["id", "-u"]"#);
        check("//exec//ns/p/uid/c?command=id", r#"node-exec n1 p c ["id"]"#);
        check("/run/ns/p/c?cmd=ls+-l", r#"node-run n1 p c ["ls", "-l"]"#);
        check("/attach/ns/p/c", "node-attach n1 p c []");
        check("/portForward/ns/p", "node-portforward n1 p - []");
        check("/containerLogs/ns/p/c?follow=true", "proxy n1 p c []");
        for path in
            ["/containerLogs/ns/p", "/pods", "/logs/", "/exec", "/exec/ns", "", "/executor/a"]
        {
            check(path, "none");
        }
    }
    #[test]
    fn no_doors() {
        check("pods", "get", "/api/v1/namespaces/ns/pods/executor", "none");
        check("pods/log", "get", "/api/v1/namespaces/ns/pods/p/log", "none");
        check("configmaps/exec", "get", "/api/v1/namespaces/ns/configmaps/p/exec", "none");
        check("pods/ephemeralcontainers", "get", "/x", "none");
        check("nodes/proxy", "get", "not a uri", "none");
        check("nodes/proxy", "get", "", "none");
    }
    #[test]
    fn broken_queries() {
        check(
            "pods/exec",
            "get",
            "/x?command=%zz&command=id&&=&command",
            "exec - n - [\"id\", \"\"]",
        );
        check("pods/exec", "get", "", "exec - n - []");
    }

    proptest! {
        /// As client-go writes a query (Go's `url.Values.Encode`), arguments come back.
        #[test]
        fn arguments_round_trip(argv in proptest::collection::vec(any::<String>(), 1..6)) {
            let encode = |it: &String| -> String {
                it.bytes().map(|byte| match byte {
                    b' ' => "+".to_owned(),
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                    _ => format!("%{byte:02X}"),
                }).collect()
            };
            let query: Vec<String> = argv.iter().map(|it| format!("command={}", encode(it))).collect();
            let uri = format!("{POD}/exec?{}&stdout=true", query.join("&"));
            prop_assert_eq!(door("pods/exec", "get", &uri).map(|it| it.command), Some(argv));
        }
    }
}
