//! The same requests again and again: most shapes that the API server records in a way of its own.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tempfile::TempDir;

use super::{
    super::cluster::{User, kubectl, run},
    hook::{Hook, URL},
};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// May do everything.
    Owner,
    /// May look at most things in the namespace.
    Guest,
    /// A service account that may do the same.
    Ci,
    /// The owner, as somebody else.
    Impersonated,
    /// Somebody with a token that nobody issued.
    Stranger,
    /// Somebody without any.
    Nobody,
}
use Who::{Ci, Guest, Impersonated, Nobody, Owner, Stranger};

const JSON: &str = "Content-Type: application/json";
const APPLY: &str = "Content-Type: application/apply-patch+yaml";
const MERGE: &str = "Content-Type: application/merge-patch+json";
const STRATEGIC: &str = "Content-Type: application/strategic-merge-patch+json";
const JSON_PATCH: &str = "Content-Type: application/json-patch+json";
const TABLE: &str = "Accept: application/json;as=Table;g=meta.k8s.io;v=v1";
const WEBSOCKET: &str = "Sec-WebSocket-Protocol: v4.channel.k8s.io";

const ONE: &str = r#"{"metadata":{"name":"one","labels":{"load":"ID","hooked":"ID"},"managedFields":[{"manager":"hand","operation":"Update","apiVersion":"v1","time":"2026-01-02T03:04:05Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}}}}]},"data":{"a":"1"}}"#;
const TWO: &str = r#"{"metadata":{"name":"two","labels":{"load":"ID"}},"data":{"a":"2"}}"#;
const SECRET: &str = r#"{"metadata":{"name":"two"},"stringData":{"a":"2"}}"#;
const APPLIED: &str =
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"},"data":{"applied":"yes"}}"#;
const WIDGET: &str = r#"{"apiVersion":"ID.example/v1","kind":"Widget","metadata":{"name":"first"},"spec":{"replicas":1},"status":{"replicas":0}}"#;
const REVIEW: &str =
    r#"{"spec":{"resourceAttributes":{"verb":"get","resource":"pods","namespace":"load-ID"}}}"#;
const ROLE: &str = r#"{"metadata":{"name":"role-ID"},"rules":[{"verbs":["get"],"apiGroups":["ID.example"],"resources":["widgets"]}]}"#;

/// Who, method, path, a header, the body, and the code of the reply. `ID` is the load's.
#[rustfmt::skip]
const LOAD: &[(Who, &str, &str, &str, &str, u16)] = &[
    (Owner, "POST", "/api/v1/namespaces/load-ID/configmaps", JSON, ONE, 201),
    (Owner, "POST", "/api/v1/namespaces/load-ID/configmaps?fieldManager=hand", JSON, ONE, 409),
    (Owner, "POST", "/api/v1/namespaces/load-ID/configmaps?dryRun=All", JSON, TWO, 201),
    (Owner, "POST", "/api/v1/namespaces/other-ID/configmaps", JSON, TWO, 201),
    (Owner, "POST", "/api/v1/namespaces/load-ID/configmaps", JSON, "{", 400),
    (Owner, "GET", "/api/v1/namespaces/load-ID/configmaps/one", "", "", 200),
    (Owner, "HEAD", "/api/v1/namespaces/load-ID/configmaps/one", "", "", 405),
    (Owner, "GET", "/api/v1/namespaces/load-ID/configmaps/missing", "", "", 404),
    (Owner, "GET", "/api/v1/namespaces/load-ID/configmaps", TABLE, "", 200),
    (Owner, "GET", "/api/v1/namespaces/load-ID/configmaps?fieldSelector=metadata.name%3Done", "", "", 200),
    (Owner, "GET", "/api/v1/configmaps?labelSelector=load%3DID", "", "", 200),
    (Owner, "GET", "/api/v1/namespaces/load-ID/configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Done", "", "", 200),
    (Owner, "GET", "/api/v1/watch/namespaces/other-ID/configmaps?timeoutSeconds=1", "", "", 200),
    (Owner, "PUT", "/api/v1/namespaces/load-ID/configmaps/one", JSON, ONE, 200),
    (Owner, "PATCH", "/api/v1/namespaces/load-ID/configmaps/one", STRATEGIC, r#"{"data":{"b":"2"}}"#, 200),
    (Owner, "PATCH", "/api/v1/namespaces/load-ID/configmaps/one", JSON_PATCH, r#"[{"op":"add","path":"/data/c","value":"3"}]"#, 200),
    (Owner, "PATCH", "/api/v1/namespaces/load-ID/configmaps/one?fieldManager=load&force=true", APPLY, APPLIED, 200),
    (Owner, "PATCH", "/api/v1/namespaces/load-ID/configmaps/one", MERGE, r#"{"metadata":{"managedFields":[{}]}}"#, 200),
    (Guest, "GET", "/api/v1/namespaces/load-ID/configmaps/one", "", "", 200),
    (Guest, "GET", "/api/v1/namespaces/load-ID/secrets", "", "", 403),
    (Guest, "DELETE", "/api/v1/namespaces/load-ID/configmaps/one", "", "", 403),
    (Ci, "GET", "/api/v1/namespaces/load-ID/configmaps", "", "", 200),
    (Ci, "POST", "/api/v1/namespaces/load-ID/configmaps", JSON, TWO, 403),
    (Impersonated, "GET", "/api/v1/namespaces/load-ID/configmaps/one", "", "", 200),
    (Stranger, "GET", "/api/v1/namespaces/load-ID/configmaps", "", "", 401),
    (Nobody, "GET", "/api/v1/namespaces/load-ID/configmaps", "", "", 403),
    (Nobody, "GET", "/version", "", "", 200),
    (Owner, "POST", "/api/v1/namespaces/load-ID/secrets", JSON, SECRET, 201),
    (Owner, "GET", "/api/v1/namespaces/load-ID/secrets/two", "", "", 200),
    (Owner, "DELETE", "/api/v1/namespaces/load-ID/secrets/two", "", "", 200),
    (Owner, "POST", "/api/v1/namespaces/load-ID/serviceaccounts/ci/token", JSON, r#"{"spec":{"expirationSeconds":600}}"#, 201),
    (Owner, "GET", "/api/v1/namespaces/load-ID/pods/box/log", "", "", 200),
    (Owner, "GET", "/api/v1/namespaces/load-ID/pods/box/exec?command=true&stdout=true", WEBSOCKET, "", 101),
    (Owner, "POST", "/api/v1/namespaces/load-ID/pods/box/exec?command=true&stdout=true", "", "", 400),
    (Owner, "GET", "/api/v1/namespaces/load-ID/pods/missing/exec?command=true", WEBSOCKET, "", 404),
    (Owner, "POST", "/apis/ID.example/v1/namespaces/load-ID/widgets", JSON, WIDGET, 201),
    (Owner, "GET", "/apis/ID.example/v1/namespaces/load-ID/widgets/first", "", "", 200),
    (Owner, "GET", "/apis/ID.example/v1/namespaces/load-ID/widgets", "", "", 200),
    (Owner, "PATCH", "/apis/ID.example/v1/namespaces/load-ID/widgets/first/status", MERGE, r#"{"status":{"replicas":1}}"#, 200),
    (Owner, "PATCH", "/apis/ID.example/v1/namespaces/load-ID/widgets/first/scale", MERGE, r#"{"spec":{"replicas":2}}"#, 200),
    (Owner, "GET", "/apis/ID.example/v1/namespaces/load-ID/widgets/first/scale", "", "", 200),
    (Owner, "PATCH", "/apis/ID.example/v1/namespaces/load-ID/widgets/first?fieldManager=load", APPLY, WIDGET, 409),
    (Owner, "PATCH", "/apis/ID.example/v1/namespaces/load-ID/widgets/first?fieldManager=load&force=true", APPLY, WIDGET, 200),
    (Owner, "DELETE", "/apis/ID.example/v1/namespaces/load-ID/widgets", "", "", 200),
    (Owner, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", JSON, REVIEW, 201),
    (Owner, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", JSON, ROLE, 201),
    (Owner, "DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/role-ID", "", "", 200),
    (Owner, "GET", "/api/v1/namespaces/load-ID", "", "", 200),
    (Owner, "GET", "/api/v1/namespaces/load-ID/", "", "", 200),
    (Owner, "GET", "/api/v1/nodes/missing/proxy/logs/", "", "", 404),
    (Owner, "GET", "/api", "", "", 200),
    (Owner, "GET", "/apis/", "", "", 200),
    (Owner, "GET", "/apis/ID.example/v1", "", "", 200),
    (Owner, "GET", "/livez/ping?verbose", "", "", 200),
    (Owner, "GET", "/livezz", "", "", 404),
    (Owner, "GET", "/version", "", "", 200),
    (Owner, "HEAD", "/version", "", "", 405),
    (Owner, "POST", "/version", JSON, "{}", 405),
    (Guest, "GET", "/metrics", "", "", 403),
    (Owner, "DELETE", "/api/v1/namespaces/load-ID/configmaps?labelSelector=load%3DID", JSON, r#"{"propagationPolicy":"Background"}"#, 200),
    (Owner, "DELETE", "/api/v1/namespaces/other-ID/configmaps/two?gracePeriodSeconds=0", "", "", 200),
];

/// What the load needs in the cluster. `ID` is the load's.
const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: load-ID}
---
apiVersion: v1
kind: Namespace
metadata: {name: other-ID}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: ci, namespace: load-ID}
---
apiVersion: v1
kind: Pod
metadata: {name: box, namespace: load-ID}
spec:
  serviceAccountName: ci
  containers:
  - {name: box, image: 'registry.example/tools/debug:1', command: [sleep, '10000']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: owner-ID}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: owner-ID}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers, namespace: load-ID}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: ops-ID}
- {kind: ServiceAccount, name: ci, namespace: load-ID}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: imp-ID}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.ID.example}
spec:
  group: ID.example
  scope: Namespaced
  names: {kind: Widget, listKind: Widgets, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: hook-ID}
webhooks:
- name: hook.ID.example
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  timeoutSeconds: 5
  clientConfig: {url: "URL", caBundle: BUNDLE}
  objectSelector: {matchLabels: {hooked: "ID"}}
  rules:
  - {apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: warned-ID}
spec:
  matchConstraints:
    objectSelector: {matchLabels: {hooked: "ID"}}
    resourceRules:
    - {apiGroups: [""], apiVersions: [v1], resources: [configmaps], operations: [CREATE]}
  validations:
  - {expression: "false", message: warned}
  auditAnnotations:
  - {key: who, valueExpression: request.userInfo.username}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: warned-ID}
spec: {policyName: warned-ID, validationActions: [Warn, Audit]}
"#;

/// A load, and what it needs.
pub struct Load {
    pub id: String,
    /// The user agent of its requests.
    pub agent: String,
    folder: TempDir,
    hook: Hook,
}

impl Load {
    pub fn new() -> Load {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        let id = format!("i{}", now.as_millis());
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        let hook = Hook::start(folder.path());
        Load { agent: format!("load/{id}"), id, folder, hook }
    }

    /// How many requests it makes.
    pub fn len(&self) -> usize {
        LOAD.len()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.file(name);
        fs::write(&path, bytes).expect("the temporary folder can be written");
        path.to_str().expect("it is text").to_owned()
    }

    /// Makes users and objects.
    pub fn prepare(&self) {
        let objects = OBJECTS.replace("URL", URL).replace("BUNDLE", &self.hook.bundle);
        let file = self.write("objects.yaml", objects.replace("ID", &self.id).as_bytes());
        kubectl(&["create", "-f", &file]).ok();
        let namespace = format!("load-{}", self.id);
        kubectl(&["-n", &namespace, "wait", "--for=condition=Ready", "pod/box", "--timeout=180s"])
            .ok();
        let token = kubectl(&["-n", &namespace, "create", "token", "ci"]).ok();
        self.write("token", token.trim().as_bytes());
        for (name, group) in [("owner", "dev"), ("guest", "ops")] {
            let (user, group) = (format!("{name}-{}", self.id), format!("{group}-{}", self.id));
            let user = User::new(&user, &[&group]);
            for part in ["client-certificate-data", "client-key-data"] {
                let path = format!("jsonpath={{.users[0].user.{part}}}");
                let text = user.kubectl(&["config", "view", "--raw", "-o", &path]).ok();
                let decoded = BASE64_STANDARD.decode(text.trim()).expect("it is base64");
                self.write(&format!("{name}.{part}"), &decoded);
            }
        }
        self.warm_up();
    }

    /// curl, as somebody.
    fn curl(&self, who: Who, agent: &str, method: &str, path: &str, header: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--http1.1", "--max-time", "3", "--user-agent", agent])
            .args(["--cacert", "/etc/kubernetes/pki/ca.crt"])
            .arg(format!("https://10.77.0.1:6443{}", path.replace("ID", &self.id)));
        match method {
            "HEAD" => curl.arg("--head"),
            method => curl.args(["--request", method]),
        };
        if header == WEBSOCKET {
            curl.args(["--header", "Connection: Upgrade", "--header", "Upgrade: websocket"])
                .args(["--header", "Sec-WebSocket-Version: 13"])
                .args(["--header", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]);
        }
        if !header.is_empty() {
            curl.args(["--header", header]);
        }
        let mut with_certificate = |name: &str| {
            curl.arg("--cert").arg(self.file(&format!("{name}.client-certificate-data")));
            curl.arg("--key").arg(self.file(&format!("{name}.client-key-data")));
        };
        match who {
            Owner | Impersonated => with_certificate("owner"),
            Guest => with_certificate("guest"),
            Ci | Stranger | Nobody => {}
        }
        let token = match who {
            Ci => fs::read_to_string(self.file("token")).expect("it was written"),
            Stranger => "wrong".to_owned(),
            _ => String::new(),
        };
        if !token.is_empty() {
            curl.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        if who == Impersonated {
            curl.args(["--header", &format!("Impersonate-User: imp-{}", self.id)]);
        }
        curl
    }

    /// Waits until the API server that was started again knows what was made.
    pub fn warm_up(&self) {
        let one = ONE.replace("ID", &self.id);
        let configmaps = "/api/v1/namespaces/load-ID/configmaps?dryRun=All";
        let widgets = "/apis/ID.example/v1/namespaces/load-ID/widgets";
        let is_ready = || {
            let mut create = self.curl(Owner, "curl", "POST", configmaps, JSON);
            let reply = run(create.args(["--include", "--data", &one])).stdout;
            let list = run(&mut self.curl(Ci, "curl", "GET", configmaps, "")).stdout;
            let widgets = run(&mut self.curl(Owner, "curl", "GET", widgets, "")).stdout;
            reply.contains("hooked\": \"yes")
                && reply.contains("Warning:")
                && list.contains("ConfigMapList")
                && widgets.contains("Widgets")
        };
        for _ in 0..100 {
            if is_ready() {
                return;
            }
            sleep(Duration::from_millis(200));
        }
        panic!("webhook, admission policy, roles and definition are not at work");
    }

    /// Makes all requests, one after the other.
    pub fn play(&self) {
        let mut odd = Vec::new();
        for (who, method, path, header, body, code) in LOAD {
            let mut curl = self.curl(*who, &self.agent, method, path, header);
            if !body.is_empty() {
                curl.args(["--data", &body.replace("ID", &self.id)]);
            }
            curl.args(["--output", "/dev/null", "--write-out", "%{http_code}"]);
            let replied = run(&mut curl).stdout;
            if replied != code.to_string() {
                odd.push(format!("{replied}, not {code}: {who:?} {method} {path} {header} {body}"));
            }
        }
        assert!(odd.is_empty(), "{odd:#?}");
    }

    /// Applies an object on the server, with a body in YAML that is no JSON.
    pub fn apply_yaml(&self, agent: &str) {
        let path = "/api/v1/namespaces/other-ID/configmaps/yaml?fieldManager=load";
        let mut curl = self.curl(Owner, agent, "PATCH", path, APPLY);
        let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\n";
        let replied = run(curl.args(["--data-binary", body])).stdout;
        assert!(replied.contains("\"kind\":\"ConfigMap\""), "{replied}");
    }
}
