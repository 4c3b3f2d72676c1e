//! A policy file, accepted or refused as the API server would on start, with its messages.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/audit/policy/reader.go`: decoded strictly, and on unknown
//! or repeated fields once more without regard to them.

use std::{collections::HashSet, rc::Rc};

use super::{
    GroupResources, Policy, Rule, Stages, validate,
    yaml::{self, Node, Value},
};
use crate::event::{Level, Stage};

/// A release of Kubernetes, `1.MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubeVersion(pub u32);

/// The oldest minor version whose rules are known.
pub const OLDEST: u32 = 24;

/// The newest whose rules are known.
impl Default for KubeVersion {
    fn default() -> Self {
        KubeVersion(36)
    }
}

impl std::str::FromStr for KubeVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give a version such as 1.36, not older than 1.24".to_owned();
        let minor = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.").ok_or_else(wrong)?;
        let minor = minor.split(['.', '+', '-']).next().unwrap_or_default();
        let minor: u32 = minor.parse().map_err(|_| wrong())?;
        if minor >= OLDEST { Ok(KubeVersion(minor)) } else { Err(wrong()) }
    }
}

/// What became of a file: a policy exactly when there are no errors.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub policy: Option<Policy>,
    pub errors: Vec<LoadError>,
    /// What the server passes over with a warning in its log.
    pub oddities: Vec<Oddity>,
    /// Further documents, which the server does not read, begin on this line.
    pub ignored_from: Option<usize>,
}

/// Why the server would not start with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The server's words; of a text that is no YAML, this program's own behind `yaml: `.
    pub message: String,
    pub line: usize,
    pub hint: Option<String>,
}

/// A field that the server passes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// As in `rules[3].verb`.
    pub path: String,
    pub line: usize,
    pub rule: Option<usize>,
    pub is_repeated: bool,
    /// The field that may have been meant.
    pub meant: Option<&'static str>,
}

/// Reads the text of a policy file.
pub fn load(bytes: &[u8], version: KubeVersion) -> Loaded {
    let mut loaded = Loaded::default();
    let root = match parse(bytes) {
        Ok(root) => root,
        Err(err) => {
            loaded.errors.push(err);
            return loaded;
        }
    };
    if let Err(err) = check_type(&root) {
        loaded.errors.push(err);
        return loaded;
    }
    let mut loaded = load_node(&root, version);
    if loaded.policy.is_some() {
        loaded.ignored_from = second_document(bytes);
    }
    loaded
}

/// Reads a policy that is already parsed, such as one inside another document.
pub(super) fn load_node(root: &Node, version: KubeVersion) -> Loaded {
    let mut loaded = Loaded::default();
    if let Err(err) = check_type(root) {
        loaded.errors.push(err);
        return loaded;
    }
    let mut decoder = Decoder { error: None, oddities: Vec::new(), rule: None };
    let (policy, places) = decoder.policy(root);
    loaded.oddities = decoder.oddities;
    if let Some((message, line, hint)) = decoder.error {
        let hint = hint.or_else(|| hint_for(&message));
        loaded.errors.push(LoadError {
            message: format!("failed decoding: {message}"),
            line,
            hint,
        });
        return loaded;
    }
    loaded.errors = validate::validate(&policy, &places, version);
    if loaded.errors.is_empty() && policy.rules.is_empty() {
        let hint = Some("add a rule, such as `- level: Metadata`".to_owned());
        let message = "loaded illegal policy with 0 rules".to_owned();
        loaded.errors.push(LoadError {
            message,
            line: root.get("rules").map_or(1, |it| it.line),
            hint,
        });
    }
    if loaded.errors.is_empty() {
        loaded.policy = Some(policy);
    }
    loaded
}

/// What the strings of a policy were, where the policy itself has only what is valid.
#[derive(Debug, Default)]
pub struct Places {
    pub omit_stages: Vec<(String, usize)>,
    pub rules: Vec<RulePlace>,
}

#[derive(Debug, Default)]
pub struct RulePlace {
    pub line: usize,
    pub level: (String, usize),
    pub omit_stages: Vec<(String, usize)>,
    pub urls: usize,
    pub resources: Vec<usize>,
}

/// What begins with a brace must be JSON to its end; anything else is YAML.
fn parse(bytes: &[u8]) -> Result<Node, LoadError> {
    let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
    let failed = |message: String, line| LoadError {
        hint: hint_for(&message),
        message: format!("failed decoding: {message}"),
        line,
    };
    if is_json {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|err| {
            let what = err.to_string();
            let what = what.split(" at line ").next().unwrap_or_default().to_owned();
            let message = format!("couldn't get version/kind; json parse error: {what}");
            LoadError {
                hint: Some("a file that begins with `{` is read as JSON, not as YAML".to_owned()),
                ..failed(message, err.line())
            }
        })?;
    }
    // JSON's blanks may be tabs, which YAML does not allow to indent; strings cannot hold them.
    let untabbed: Vec<u8>;
    let text = if is_json && bytes.contains(&b'\t') {
        untabbed = bytes.iter().map(|it| if *it == b'\t' { b' ' } else { *it }).collect();
        &untabbed
    } else {
        bytes
    };
    let root = yaml::read(text)
        .map_err(|err| failed(format!("yaml: line {}: {}", err.line, err.message), err.line))?;
    // An empty file is an empty object.
    Ok(root.filter(|it| !matches!(it.value, Value::Null)).unwrap_or_else(Node::empty_map))
}

/// The line on which a further document begins.
fn second_document(bytes: &[u8]) -> Option<usize> {
    let is_blank =
        |it: &[u8]| it.trim_ascii().is_empty() || it.trim_ascii_start().starts_with(b"#");
    let mut has_content = false;
    for (n, line) in bytes.split(|it| *it == b'\n').enumerate() {
        if line.starts_with(b"---") && line.get(3).is_none_or(u8::is_ascii_whitespace) {
            if has_content {
                return Some(n + 1);
            }
        } else {
            has_content |= !is_blank(line) && !line.starts_with(b"%");
        }
    }
    None
}

/// What else one may take for a policy file.
fn hint_for(message: &str) -> Option<String> {
    let hint = if message.contains("cannot start any token") || message.contains("tab") {
        "YAML is indented with blanks, never with tabs"
    } else if message.contains("GroupResources") && message.contains("unmarshal string") {
        "write `resources: [{group: \"\", resources: [pods]}]`"
    } else if message.contains("[]v1.PolicyRule") {
        "rules is a list: begin each rule with `- level: …`"
    } else if message.contains("type bool") {
        "write true or false without quotes"
    } else if message.contains("UTF-8") || message.contains("control characters") {
        "this is no text in UTF-8: is it the right file?"
    } else if message.contains("of type string") {
        "put it in quotes"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

const GROUP: &str = "audit.k8s.io";

/// `apiVersion` and `kind`, and the mistakes people make with them.
fn check_type(root: &Node) -> Result<(), LoadError> {
    let fail = |message: String, line, hint: Option<&str>| {
        Err(LoadError { message, line, hint: hint.map(str::to_owned) })
    };
    let head =
        "failed decoding: couldn't get version/kind; json parse error: json: cannot unmarshal";
    if !matches!(root.value, Value::Map(_)) {
        let message = format!(
            r#"{head} {} into Go value of type struct {{ APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }}"#,
            root.value.go_name()
        );
        let hint = "a policy begins with `apiVersion: audit.k8s.io/v1` and `kind: Policy`";
        return fail(message, root.line, Some(hint));
    }
    let mut texts = [("apiVersion", "", 1), ("kind", "", 1)];
    for (name, text, line) in &mut texts {
        let Some(node) = root.get(name) else { continue };
        *line = node.line;
        match &node.value {
            Value::Null => {}
            Value::Text(it) => *text = it,
            other => {
                let message = format!(
                    "{head} {} into Go struct field .{name} of type string",
                    other.go_name()
                );
                return fail(message, node.line, None);
            }
        }
    }
    let [(_, version, line), (_, kind, kind_line)] = texts;
    if version.matches('/').count() > 1 {
        let message = format!(
            "failed decoding: couldn't get version/kind; unexpected GroupVersion string: {version}"
        );
        return fail(message, line, Some("write `apiVersion: audit.k8s.io/v1`"));
    }
    let known = if kind.is_empty() { "Policy" } else { kind };
    let others = [
        "Event",
        "EventList",
        "PolicyList",
        "WatchEvent",
        "ListOptions",
        "GetOptions",
        "DeleteOptions",
        "CreateOptions",
        "UpdateOptions",
        "PatchOptions",
    ];
    match version {
        "audit.k8s.io/v1" if known == "Policy" => Ok(()),
        "audit.k8s.io/v1" if others.contains(&known) => fail(
            format!(
                "failed decoding: converting (v1.{known}) to (audit.Policy): unknown conversion"
            ),
            kind_line,
            Some("write `kind: Policy`"),
        ),
        "" | "audit.k8s.io/__internal" if known == "Policy" => fail(
            format!("unknown group version field {GROUP}/__internal, Kind=Policy in policy"),
            line,
            Some("write `apiVersion: audit.k8s.io/v1`"),
        ),
        _ => {
            let shown = if version.is_empty() { "audit.k8s.io/__internal" } else { version };
            let message = format!(
                "failed decoding: no kind \"{known}\" is registered for version \"{shown}\" in scheme \"pkg/audit/scheme.go:30\""
            );
            fail(message, line, Some("write `apiVersion: audit.k8s.io/v1` and `kind: Policy`"))
        }
    }
}

/// Go's JSON decoding: goes on after a value of a wrong type, and tells the first.
struct Decoder {
    /// The message, its line, and a hint that knows the value.
    error: Option<(String, usize, Option<String>)>,
    oddities: Vec<Oddity>,
    rule: Option<usize>,
}

const POLICY_FIELDS: [&str; 6] =
    ["apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"];
const RULE_FIELDS: [&str; 9] = [
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
];
const RESOURCE_FIELDS: [&str; 3] = ["group", "resources", "resourceNames"];
const METADATA_FIELDS: [&str; 14] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
];

impl Decoder {
    /// A value of a wrong type.
    fn wrong(&mut self, node: &Node, field: &str, go_type: &str) {
        let message = format!(
            "json: cannot unmarshal {} into Go struct field {field} of type {go_type}",
            node.value.go_name()
        );
        self.error.get_or_insert((message, node.line, None));
    }

    /// The same where a list is asked for: a single value is most often its only element.
    fn wrong_list(&mut self, node: &Node, field: &str, go_type: &str) {
        let is_first = self.error.is_none();
        self.wrong(node, field, go_type);
        let name = field.rsplit('.').next().unwrap_or(field);
        let Some((.., hint)) = self.error.as_mut().filter(|_| is_first) else { return };
        *hint = match (&node.value, go_type) {
            (Value::Text(it), "[]v1.GroupResources") => {
                Some(format!("write `{name}: [{{group: \"\", resources: [{}]}}]`", flow(it)))
            }
            (Value::Text(it), "[]string" | "[]v1.Stage") => {
                Some(format!("write `{name}: [{}]`", flow(it)))
            }
            (Value::Number(it), "[]string") => Some(format!("write `{name}: [\"{it}\"]`")),
            (Value::Map(_), "[]v1.GroupResources") => {
                Some(format!("{name} is a list: begin each element with `- `"))
            }
            _ => None,
        };
    }

    /// Notes which fields the server does not know, or found twice.
    fn look(&mut self, node: &Node, path: &str, known: &[&'static str]) {
        let Value::Map(pairs) = &node.value else { return };
        let mut seen = HashSet::new();
        for (key, _) in pairs.iter() {
            let name = key.key();
            let is_repeated = !seen.insert(name.clone());
            if !is_repeated
                && (known.contains(&&*name)
                    || (path.ends_with("metadata") && name == "managedFields"))
            {
                continue;
            }
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            let meant = if is_repeated { None } else { meant(&name, known) };
            self.oddities.push(Oddity {
                path,
                line: key.line,
                rule: self.rule,
                is_repeated,
                meant,
            });
        }
    }

    fn policy(&mut self, root: &Node) -> (Policy, Places) {
        self.look(root, "", &POLICY_FIELDS);
        let mut policy = Policy::default();
        let mut places = Places::default();
        if let Some(metadata) = root.get("metadata") {
            self.metadata(metadata);
        }
        for (key, value) in root.fields() {
            match &*key.key() {
                "omitManagedFields" => {
                    policy.omit_managed_fields =
                        self.bool(value, "Policy.omitManagedFields").unwrap_or_default()
                }
                "omitStages" => {
                    places.omit_stages = self.texts(value, "Policy.omitStages", "v1.Stage")
                }
                "rules" => {
                    let items = self.list(value, "Policy.rules", "[]v1.PolicyRule");
                    for (n, item) in items.iter().enumerate() {
                        self.rule = Some(n);
                        let (rule, place) = self.rule(item, n);
                        policy.rules.push(rule);
                        places.rules.push(place);
                    }
                    self.rule = None;
                }
                _ => {}
            }
        }
        policy.omit_stages = stages(&places.omit_stages);
        (policy, places)
    }

    fn metadata(&mut self, node: &Node) {
        if !self.is_object(node, "Policy.metadata", "v1.ObjectMeta") {
            return;
        }
        self.look(node, "metadata", &METADATA_FIELDS);
        for (key, value) in node.fields() {
            match &*key.key() {
                name @ ("name" | "generateName" | "namespace" | "selfLink" | "uid"
                | "resourceVersion") => {
                    self.text(value, &format!("ObjectMeta.metadata.{name}"), "string");
                }
                name @ ("labels" | "annotations") => {
                    let field = format!("ObjectMeta.metadata.{name}");
                    if self.is_object(value, &field, "map[string]string") {
                        value.fields().iter().for_each(|(_, it)| {
                            self.text(it, &field, "string");
                        });
                    }
                }
                _ => {}
            }
        }
    }

    fn rule(&mut self, node: &Node, n: usize) -> (Rule, RulePlace) {
        let mut rule = Rule { line: node.line, ..Rule::default() };
        let mut place = RulePlace {
            line: node.line,
            urls: node.line,
            level: (String::new(), node.line),
            ..RulePlace::default()
        };
        if !self.is_object(node, "Policy.rules", "v1.PolicyRule") {
            return (rule, place);
        }
        self.look(node, &format!("rules[{n}]"), &RULE_FIELDS);
        let plain = |found: Vec<(String, usize)>| found.into_iter().map(|(it, _)| it).collect();
        for (key, value) in node.fields() {
            let name = key.key();
            let field = format!("PolicyRule.rules.{name}");
            match &*name {
                "level" => {
                    place.level = (self.text(value, &field, "v1.Level"), value.line);
                    rule.level = Level::parse(&place.level.0).unwrap_or_default();
                }
                "users" => rule.users = plain(self.texts(value, &field, "string")),
                "userGroups" => rule.user_groups = plain(self.texts(value, &field, "string")),
                "verbs" => rule.verbs = plain(self.texts(value, &field, "string")),
                "namespaces" => rule.namespaces = plain(self.texts(value, &field, "string")),
                "nonResourceURLs" => {
                    place.urls = value.line;
                    rule.non_resource_urls = plain(self.texts(value, &field, "string"));
                }
                "omitStages" => place.omit_stages = self.texts(value, &field, "v1.Stage"),
                "omitManagedFields" => rule.omit_managed_fields = self.bool(value, &field),
                "resources" => {
                    let items = self.list(value, &field, "[]v1.GroupResources");
                    for (m, item) in items.iter().enumerate() {
                        rule.resources.push(self.resources(item, n, m));
                        place.resources.push(item.line);
                    }
                }
                _ => {}
            }
        }
        rule.omit_stages = stages(&place.omit_stages);
        (rule, place)
    }

    fn resources(&mut self, node: &Node, rule: usize, n: usize) -> GroupResources {
        let mut resources = GroupResources::default();
        if !self.is_object(node, "PolicyRule.rules.resources", "v1.GroupResources") {
            return resources;
        }
        self.look(node, &format!("rules[{rule}].resources[{n}]"), &RESOURCE_FIELDS);
        let plain = |found: Vec<(String, usize)>| found.into_iter().map(|(it, _)| it).collect();
        for (key, value) in node.fields() {
            let name = key.key();
            let field = format!("GroupResources.rules.resources.{name}");
            match &*name {
                "group" => resources.group = self.text(value, &field, "string"),
                "resources" => resources.resources = plain(self.texts(value, &field, "string")),
                "resourceNames" => {
                    resources.resource_names = plain(self.texts(value, &field, "string"))
                }
                _ => {}
            }
        }
        resources
    }

    fn is_object(&mut self, node: &Node, field: &str, go_type: &str) -> bool {
        match node.value {
            Value::Map(_) => true,
            Value::Null => false,
            _ => {
                self.wrong(node, field, go_type);
                false
            }
        }
    }

    fn list(&mut self, node: &Node, field: &str, go_type: &str) -> Rc<Vec<Node>> {
        match &node.value {
            Value::List(items) => return items.clone(),
            Value::Null => {}
            _ => self.wrong_list(node, field, go_type),
        }
        Rc::default()
    }

    fn texts(&mut self, node: &Node, field: &str, go_type: &str) -> Vec<(String, usize)> {
        let items = self.list(node, field, &format!("[]{go_type}"));
        items.iter().map(|it| (self.text(it, field, go_type), it.line)).collect()
    }

    fn text(&mut self, node: &Node, field: &str, go_type: &str) -> String {
        match &node.value {
            Value::Text(it) => return it.to_string(),
            Value::Null => {}
            _ => self.wrong(node, field, go_type),
        }
        String::new()
    }

    fn bool(&mut self, node: &Node, field: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(it) => return Some(*it),
            Value::Null => {}
            _ => self.wrong(node, field, "bool"),
        }
        None
    }
}

/// A text as an element of a list in brackets, in quotes where it needs them.
fn flow(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'/' | b'.' | b'_'));
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

fn stages(names: &[(String, usize)]) -> Stages {
    names.iter().filter_map(|(it, _)| Stage::parse(it)).fold(Stages::default(), Stages::with)
}

/// The known field that differs in case, by an `s`, or by a letter or two.
fn meant(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let plain = |it: &str| it.to_lowercase().trim_end_matches('s').replace(['_', '-'], "");
    known
        .iter()
        .copied()
        .find(|it| plain(it) == plain(name))
        .or_else(|| known.iter().copied().find(|it| it.len() > 4 && differ_by_one(it, name)))
}

/// Whether one letter more, less or other makes the two the same.
fn differ_by_one(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    a.len() - end <= 1 && b.len() - end <= 1
}
