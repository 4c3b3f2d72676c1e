//! Manifests, dumps and must-gather files → [`Objects`]: YAML or JSON, Lists, many documents.

use serde::Deserialize;
use serde_json::Value;

use super::object::{Named, Objects, Pod, Role, RoleBinding};

/// Why a document cannot be used, and the line it was found on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    pub line: usize,
    pub message: String,
}

/// Reads everything that matters here of a file. What else is in it is passed over; what is broken
/// is told, and the rest is used.
pub fn load(bytes: &[u8]) -> (Objects, Vec<LoadError>) {
    let mut loaded = (Objects::default(), Vec::new());
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let start = bytes.iter().find(|it| !it.is_ascii_whitespace());
    if matches!(start, Some(b'{' | b'[')) && json(bytes, &mut loaded) {
        return loaded;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => yaml(text, &mut loaded),
        Err(err) => {
            let line = line_of(bytes, err.valid_up_to());
            loaded.1.push(LoadError { line, message: "not UTF-8".to_owned() });
        }
    }
    loaded
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', &bytes[..at]).count() + 1
}

/// Values one after the other. Gives whether it is JSON: a flow mapping of YAML begins as it does.
fn json(bytes: &[u8], loaded: &mut (Objects, Vec<LoadError>)) -> bool {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut n = 0;
    loop {
        let start = values.byte_offset();
        let line = line_of(bytes, start);
        match values.next() {
            None => return true,
            Some(Ok(value)) => add(value, None, line, 0, loaded),
            Some(Err(_)) if n == 0 => return false,
            Some(Err(err)) => {
                let message = err.to_string();
                loaded.1.push(LoadError { line: err.line().max(1), message });
                return true;
            }
        }
        n += 1;
    }
}

fn yaml(text: &str, loaded: &mut (Objects, Vec<LoadError>)) {
    for (line, document) in documents(text) {
        let options = serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_events: 20_000_000, max_nodes: 10_000_000, max_total_scalar_bytes: 256 << 20,
            },
        };
        match serde_saphyr::from_str_with_options::<Value>(document, options) {
            Ok(value) => add(value, None, line, 0, loaded),
            Err(err) => {
                let at = err.location().map_or(1, |it| it.line() as usize).max(1);
                let message = err.to_string();
                let message = message.lines().next().unwrap_or_default().to_owned();
                loaded.1.push(LoadError { line: line + at - 1, message });
            }
        }
    }
}

/// The documents of a file, and the lines they begin on. A line that begins with `---` is never
/// content.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut start, mut first, mut at) = (Vec::new(), 0, 1, 0);
    for (n, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|it| it.is_empty() || it.starts_with([' ', '\t', '\n', '\r']));
        if is_marker {
            found.push((first, &text[start..at]));
            // What follows on the marker's line belongs to the document.
            (start, first) = (at + 3, n + 1);
        }
        at += line.len();
    }
    found.push((first, &text[start..]));
    found.retain(|(_, it)| {
        it.lines().any(|it| !it.trim().is_empty() && !it.trim_start().starts_with('#'))
    });
    found
}

/// Lists in lists are no deeper than this.
const MAX_DEPTH: usize = 8;

/// Adds an object, or each of a list. The items of a `RoleList` may leave out their kind.
fn add(
    value: Value,
    kind_of_list: Option<&str>,
    line: usize,
    depth: usize,
    loaded: &mut (Objects, Vec<LoadError>),
) {
    let items = match value {
        Value::Array(items) => items,
        Value::Object(mut map) => {
            let kind = map.get("kind").and_then(Value::as_str).map(str::to_owned);
            let kind = kind.or_else(|| kind_of_list.map(str::to_owned)).unwrap_or_default();
            let list_of = kind.strip_suffix("List");
            match (list_of, map.remove("items")) {
                (Some(of), Some(Value::Array(items))) => {
                    let of = (!of.is_empty()).then_some(of);
                    if depth < MAX_DEPTH {
                        items.into_iter().for_each(|it| add(it, of, line, depth + 1, loaded));
                    }
                }
                _ => object(&kind, Value::Object(map), line, loaded),
            }
            return;
        }
        _ => return,
    };
    if depth < MAX_DEPTH {
        items.into_iter().for_each(|it| add(it, None, line, depth + 1, loaded));
    }
}

fn object(kind: &str, value: Value, line: usize, loaded: &mut (Objects, Vec<LoadError>)) {
    let group = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let group = group.rsplit_once('/').map_or("", |it| it.0);
    let (is_rbac, is_core) =
        (group == "rbac.authorization.k8s.io" || group.is_empty(), group.is_empty());
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?").to_owned();
    let objects = &mut loaded.0;
    let result = match kind {
        "ClusterRole" if is_rbac => read::<Role>(value).map(|mut it| {
            it.metadata.namespace.clear();
            objects.cluster_roles.push(it);
        }),
        "Role" if is_rbac => read::<Role>(value).map(|mut it| {
            default_namespace(&mut it.metadata.namespace);
            objects.roles.push(it);
        }),
        "ClusterRoleBinding" if is_rbac => read::<RoleBinding>(value).map(|mut it| {
            it.metadata.namespace.clear();
            objects.cluster_role_bindings.push(it);
        }),
        "RoleBinding" if is_rbac => read::<RoleBinding>(value).map(|mut it| {
            default_namespace(&mut it.metadata.namespace);
            objects.role_bindings.push(it);
        }),
        "ServiceAccount" if is_core => read::<Named>(value).map(|mut it| {
            default_namespace(&mut it.metadata.namespace);
            objects.service_accounts.get_or_insert_default().push(it);
        }),
        "Node" if is_core => {
            read::<Named>(value).map(|it| objects.nodes.get_or_insert_default().push(it))
        }
        "Pod" if is_core => read::<Pod>(value).map(|mut it| {
            default_namespace(&mut it.metadata.namespace);
            objects.pods.get_or_insert_default().push(it);
        }),
        _ => return,
    };
    if let Err(message) = result {
        loaded.1.push(LoadError { line, message: format!("{kind} `{name}`: {message}") });
    }
}

/// A manifest without one goes to the namespace of whoever applies it; most often this one.
fn default_namespace(namespace: &mut String) {
    if namespace.is_empty() {
        *namespace = "default".to_owned();
    }
}

fn read<T: for<'de> Deserialize<'de>>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let (objects, errors) = load(text.as_bytes());
        let mut found = Vec::new();
        let mut name = |kind: &str, it: &super::super::Metadata| {
            found.push(format!("{kind} {}/{}", it.namespace, it.name));
        };
        objects.cluster_roles.iter().for_each(|it| name("ClusterRole", &it.metadata));
        objects.roles.iter().for_each(|it| name("Role", &it.metadata));
        objects.cluster_role_bindings.iter().for_each(|it| name("CRB", &it.metadata));
        objects.role_bindings.iter().for_each(|it| name("RB", &it.metadata));
        objects.service_accounts.iter().flatten().for_each(|it| name("SA", &it.metadata));
        objects.pods.iter().flatten().for_each(|it| name("Pod", &it.metadata));
        found.extend(errors.iter().map(|it| format!("{}: {}", it.line, it.message)));
        assert_eq!(found.join("; "), expected, "{text}");
    }

    #[test]
    fn documents_and_lists() {
        let role = "kind: Role\nmetadata: {name: a}\n";
        check(role, "Role default/a");
        check(
            &format!("# x\n---\n{role}---\nkind: Pod\nmetadata: {{name: p, namespace: ns}}\n"),
            "Role default/a; Pod ns/p",
        );
        check("{kind: ClusterRole, metadata: {name: flow}}", "ClusterRole /flow");
        check(
            r#"{"kind":"RoleList","items":[{"metadata":{"name":"a","namespace":"n"}}]}"#,
            "Role n/a",
        );
        check(
            r#"{"kind":"List","items":[{"kind":"RoleBinding","metadata":{"name":"b","namespace":"n"}}]}"#,
            "RB n/b",
        );
        check(
            "{\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"a\"}}\n{\"kind\":\"ClusterRoleBinding\",\"metadata\":{\"name\":\"b\"}}",
            "CRB /b; SA default/a",
        );
        check("apiVersion: example.com/v1\nkind: Role\nmetadata: {name: a}", "");
        check(
            "apiVersion: rbac.authorization.k8s.io/v1beta1\nkind: Role\nmetadata: {name: a}",
            "Role default/a",
        );
        check("", "");
        check("--- # nothing\n", "");
        check("--- {kind: Role, metadata: {name: a}}\n", "Role default/a");
    }

    #[test]
    fn what_is_broken_is_told_and_the_rest_used() {
        let text = "kind: Role\nmetadata: {name: a}\n---\nkind: Role\nmetadata: {name: b}\nrules: 7\n---\nkind: Pod\nmetadata: {name: p}\n";
        check(
            text,
            "Role default/a; Pod default/p; 3: Role `b`: invalid type: integer `7`, expected a sequence",
        );
        let (_, errors) = load(b"a: [\n---\nb: {\n");
        assert_eq!(errors.iter().map(|it| it.line).collect::<Vec<_>>().len(), 2);
        let (_, errors) = load(b"kind: Role\n\xFF");
        assert_eq!((errors[0].line, errors[0].message.as_str()), (2, "not UTF-8"));
    }

    #[test]
    fn hostile() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(!load(deep.as_bytes()).1.is_empty());
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for n in 1..40 {
            bomb += &format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1);
        }
        assert!(!load(bomb.as_bytes()).1.is_empty());
    }
}
