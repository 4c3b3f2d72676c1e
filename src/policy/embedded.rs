//! Policies inside other documents: a ConfigMap, the configuration of a cluster, the values of a chart.

use std::io::Read;

use base64::Engine;
use serde::Serialize;

use super::{
    load::{self, KubeVersion, Loaded},
    yaml::{self, Node, Value},
};

/// Where in a file a policy stands that is not the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The kind of the outer document, or what it is where it names none.
    pub kind: Option<String>,
    /// The line on which the policy begins.
    pub line: usize,
    /// The path to it, as in `data.policy` or `spec.files[0].content`.
    pub field: String,
}

impl Place {
    /// What to do with it.
    pub fn hint(&self) -> String {
        let kind = self.kind.as_deref().unwrap_or("document");
        format!(
            "the policy in `{}` of this {kind}, on line {}, must be a file of its own",
            self.field, self.line
        )
    }
}

/// How deep documents may lie in each other.
const MAX_NESTED: usize = 4;
/// How deep a document may be, and how many policies are looked at.
const MAX_DEPTH: usize = 100;
const MAX_FOUND: usize = 100;
/// What may come out of a compressed text.
const MAX_UNPACKED: u64 = 16 << 20;

/// Reads a policy file. Of one that is none, the hint says where a policy stands in it, or that it is a
/// template; with the policies inside, checked where they stand.
pub fn load(bytes: &[u8], version: KubeVersion) -> (Loaded, Vec<(Place, Loaded)>) {
    let mut loaded = load::load(bytes, version);
    let Some(first) = loaded.errors.first_mut() else { return (loaded, Vec::new()) };
    let mut inside = find(bytes, version);
    // A policy that is refused is the file: what is wrong with it has been said.
    inside.retain(|(place, _)| place.field != ".");
    if let Some((place, _)) = inside.first() {
        (first.line, first.hint) = (place.line, Some(place.hint()));
    } else if let Some(line) = template_line(bytes) {
        first.message =
            format!("this is a template, with an action on line {line}: {}", first.message);
        first.hint = Some("render it first, as with `helm template`".to_owned());
    }
    (loaded, inside)
}

/// The policies in the documents of a file that is none itself, checked where they stand.
pub fn find(bytes: &[u8], version: KubeVersion) -> Vec<(Place, Loaded)> {
    let mut search = Search { version, found: Vec::new() };
    search.text(bytes, &Lines::OfFile, None, "", 0);
    search.found
}

/// The line of a template's action in a text, such as Helm's `{{`.
pub fn template_line(bytes: &[u8]) -> Option<usize> {
    let is_action = |line: &[u8]| {
        let line = line.trim_ascii_start();
        let has = |what: &[u8]| memchr::memmem::find(line, what).is_some();
        !line.starts_with(b"#") && (has(b"{{") || has(b"{%") || has(b"${") || has(b"<%"))
    };
    bytes.split(|it| *it == b'\n').position(is_action).map(|it| it + 1)
}

/// How lines of a text are lines of the file.
enum Lines {
    OfFile,
    /// So many more.
    After(usize),
    /// All on one.
    On(usize),
}

impl Lines {
    fn of(&self, line: usize) -> usize {
        match self {
            Lines::OfFile => line,
            Lines::After(before) => before + line,
            Lines::On(line) => *line,
        }
    }
}

struct Search {
    version: KubeVersion,
    found: Vec<(Place, Loaded)>,
}

impl Search {
    /// Looks through the documents of a text; `kind` and `field` are those of what it stands in.
    fn text(&mut self, text: &[u8], lines: &Lines, kind: Option<&str>, field: &str, nested: usize) {
        if nested > MAX_NESTED {
            return;
        }
        let source: Vec<&[u8]> = text.split(|it| *it == b'\n').collect();
        for document in yaml::read_all(text) {
            let own = kind_of(&document);
            let at = At { lines, source: &source, kind: kind.or(own.as_deref()), nested };
            self.node(&document, &at, field, 0);
        }
    }

    fn node(&mut self, node: &Node, at: &At<'_>, field: &str, depth: usize) {
        if depth > MAX_DEPTH || self.found.len() >= MAX_FOUND {
            return;
        }
        match &node.value {
            Value::Map(_) if is_policy(node) => {
                let loaded = moved(load::load_node(node, self.version), at.lines);
                self.add(at, node.line, field, loaded);
            }
            Value::Map(_) => {
                for (key, value) in node.fields() {
                    let dot = if field.is_empty() { "" } else { "." };
                    self.node(value, at, &format!("{field}{dot}{}", key.key()), depth + 1);
                }
            }
            Value::List(items) => {
                for (n, item) in items.iter().enumerate() {
                    self.node(item, at, &format!("{field}[{n}]"), depth + 1);
                }
            }
            Value::Text(text) => self.inside(text, node.line, at, field),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Looks into a text: a policy, a document with one in it, or either of them in base64.
    fn inside(&mut self, text: &str, line: usize, at: &At<'_>, field: &str) {
        let unpacked;
        let (bytes, is_packed) = if has_policy(text.as_bytes()) {
            (text.as_bytes(), false)
        } else {
            let Some(it) = unpack(text).filter(|it| has_policy(it)) else { return };
            unpacked = it;
            (&*unpacked, true)
        };
        let first = at.first_line(bytes, line).filter(|_| !is_packed);
        let lines = match (first, at.lines) {
            (Some(first), Lines::OfFile) => Lines::After(first - 1),
            (Some(first), Lines::After(before)) => Lines::After(before + first - 1),
            (_, lines) => Lines::On(lines.of(line)),
        };

        let loaded = load::load(bytes, self.version);
        let is_policy = loaded.policy.is_some()
            || yaml::read(bytes).is_ok_and(|root| root.is_some_and(|it| is_policy(&it)));
        if is_policy {
            let begins = match &lines {
                Lines::On(line) => *line,
                lines => lines.of(1),
            };
            let loaded = moved(loaded, &lines);
            let place =
                Place { kind: at.kind.map(str::to_owned), line: begins, field: field.to_owned() };
            self.found.push((place, loaded));
        } else {
            self.text(bytes, &lines, at.kind, field, at.nested + 1);
        }
    }

    fn add(&mut self, at: &At<'_>, line: usize, field: &str, loaded: Loaded) {
        let kind = at.kind.map(str::to_owned);
        let field = if field.is_empty() { "." } else { field }.to_owned();
        self.found.push((Place { kind, line: at.lines.of(line), field }, loaded));
    }
}

/// The document that is looked through.
struct At<'a> {
    lines: &'a Lines,
    source: &'a [&'a [u8]],
    kind: Option<&'a str>,
    nested: usize,
}

impl At<'_> {
    /// The line on which a block of text begins, if its lines are lines of the document: at or below
    /// the line of its value.
    fn first_line(&self, text: &[u8], line: usize) -> Option<usize> {
        let mut of_text = text.split(|it| *it == b'\n').map(<[u8]>::trim_ascii);
        let skipped = of_text.clone().take_while(|it| it.is_empty()).count();
        let first = of_text.find(|it| !it.is_empty())?;
        let second = of_text.find(|it| !it.is_empty());
        (line..line + 3 + skipped)
            .find(|n| {
                let is = |n: usize, text: &[u8]| {
                    self.source.get(n - 1).is_some_and(|it| it.trim_ascii() == text)
                };
                let below = || (*n + 1..*n + 4).any(|n| second.is_none_or(|it| is(n, it)));
                is(*n, first) && below()
            })
            .and_then(|n| n.checked_sub(skipped))
            .filter(|it| *it > 0)
    }
}

/// The same with the lines of the file.
fn moved(mut loaded: Loaded, lines: &Lines) -> Loaded {
    let rules = loaded.policy.iter_mut().flat_map(|it| &mut it.rules).map(|it| &mut it.line);
    let errors = loaded.errors.iter_mut().map(|it| &mut it.line);
    let oddities = loaded.oddities.iter_mut().map(|it| &mut it.line);
    for line in rules.chain(errors).chain(oddities).chain(&mut loaded.ignored_from) {
        *line = lines.of(*line);
    }
    loaded
}

fn is_policy(node: &Node) -> bool {
    let text = |name| node.get(name).and_then(Node::text).unwrap_or_default();
    text("kind") == "Policy" && text("apiVersion").starts_with("audit.k8s.io/")
}

/// Whether a text may hold a policy.
fn has_policy(text: &[u8]) -> bool {
    let has = |what: &[u8]| memchr::memmem::find(text, what).is_some();
    has(b"audit.k8s.io/") && has(b"Policy")
}

/// Base64, and gzip in it.
fn unpack(text: &str) -> Option<Vec<u8>> {
    let plain: Vec<u8> = text.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
    let is_base64 =
        |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/' | b'=' | b'-' | b'_');
    if plain.len() < 32 || !plain.iter().all(is_base64) {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(&plain).ok()?;
    if !bytes.starts_with(&[0x1F, 0x8B]) {
        return Some(bytes);
    }
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(&*bytes).take(MAX_UNPACKED);
    reader.read_to_end(&mut unpacked).ok()?;
    Some(unpacked)
}

/// The kind of a document, or what it looks like.
fn kind_of(document: &Node) -> Option<String> {
    if let Some(kind) = document.get("kind").and_then(Node::text) {
        return Some(kind.to_owned());
    }
    let has = |name| document.get(name).is_some();
    let api_server = document.get("services").and_then(|it| it.get("kube-api"));
    let known = match () {
        () if has("machine") || has("cluster") => "Talos machine config",
        () if api_server.is_some() => "RKE cluster config",
        () if has("write_files") => "cloud-init config",
        () => return None,
    };
    Some(known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

    fn indented(by: usize) -> String {
        POLICY.lines().map(|it| format!("{}{it}\n", " ".repeat(by))).collect()
    }

    /// `kind field line`, and the line of the first rule or error.
    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found = find(text.as_bytes(), KubeVersion::default());
        let shown: Vec<String> = found
            .iter()
            .map(|(place, loaded)| {
                let rule = loaded.policy.as_ref().and_then(|it| it.rules.first()).map(|it| it.line);
                let line = rule.or(loaded.errors.first().map(|it| it.line)).unwrap_or(0);
                let kind = place.kind.as_deref().unwrap_or("-");
                format!("{kind} {} {} {line}", place.field, place.line)
            })
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn as_text() {
        let map = "apiVersion: v1\nkind: ConfigMap\ndata:\n  policy.yaml: |\n";
        check(&format!("{map}{}", indented(4)), &["ConfigMap data.policy.yaml 5 8"]);
        let quoted = format!("kind: ConfigMap\ndata:\n  p: {POLICY:?}\n");
        check(&quoted, &["ConfigMap data.p 3 3"]);
        let files = "kind: KubeadmControlPlane\nspec:\n  kubeadmConfigSpec:\n    files:\n    - path: a\n      content: |\n";
        check(
            &format!("{files}{}", indented(8)),
            &["KubeadmControlPlane spec.kubeadmConfigSpec.files[0].content 7 10"],
        );
        let kops = "kind: Cluster\nspec:\n  fileAssets:\n  - name: audit\n    content: |-\n";
        check(&format!("{kops}{}", indented(6)), &["Cluster spec.fileAssets[0].content 6 9"]);
    }

    #[test]
    fn as_an_object() {
        let talos =
            format!("version: v1alpha1\ncluster:\n  apiServer:\n    auditPolicy:\n{}", indented(6));
        check(&talos, &["Talos machine config cluster.apiServer.auditPolicy 5 8"]);
        let rke = format!(
            "services:\n  kube-api:\n    audit_log:\n      configuration:\n        policy:\n{}",
            indented(10)
        );
        check(&rke, &["RKE cluster config services.kube-api.audit_log.configuration.policy 6 9"]);
        check(&format!("auditPolicy:\n{}", indented(2)), &["- auditPolicy 2 5"]);
        let list = format!("kind: List\nitems:\n- {}", indented(2).trim_start());
        check(&list, &["List items[0] 3 6"]);
    }

    #[test]
    fn as_base64() {
        let text = base64::engine::general_purpose::STANDARD.encode(POLICY);
        let secret = format!("kind: Secret\ndata:\n  policy: {text}\n");
        check(&secret, &["Secret data.policy 3 3"]);
    }

    #[test]
    fn in_further_documents_and_in_each_other() {
        let map = "kind: Namespace\n---\nkind: ConfigMap\ndata:\n  p: |\n";
        check(&format!("{map}{}", indented(4)), &["ConfigMap data.p 6 9"]);
        let chart =
            "kind: HelmChartConfig\nspec:\n  valuesContent: |\n    audit:\n      policy: |\n";
        check(
            &format!("{chart}{}", indented(8)),
            &["HelmChartConfig spec.valuesContent.audit.policy 6 9"],
        );
    }

    #[test]
    fn refused_where_it_stands() {
        let map = "kind: ConfigMap\ndata:\n  p: |\n";
        let text = format!("{map}{}", indented(4)).replace("Metadata", "metadata");
        check(&text, &["ConfigMap data.p 4 7"]);
    }

    #[test]
    fn templates() {
        assert_eq!(template_line(b"a: b\nc: {{ .Values.c }}\n"), Some(2));
        assert_eq!(template_line(b"a: ${NAME}"), Some(1));
        assert_eq!(template_line(b"# {{ in a comment }}\na: {b: {}}\n"), None);
    }
}
