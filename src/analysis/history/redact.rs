//! Replaces secret values by salted hashes: a change shows, a value does not.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use regex::Regex;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde_json::{Map, Value};

use super::{
    super::execs::mask::{MASK, is_secret_name, mask},
    diff::{Change, parts},
};

/// The annotation in which `kubectl apply` keeps the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Secrets that are known by their beginning, in any text.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = concat!(
        r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?",
        r"|(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))",
        r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_live_|dckr_pat_|npm_|pypi-|hvs\.|AIza|SG\.)[A-Za-z0-9_.-]{16,}",
    );
    Regex::new(pattern).expect("a pattern written in the program is sound")
});

/// Hides secret values, the same one always behind the same hash.
#[derive(Debug, Clone)]
pub struct Redactor(Option<hmac::Key>);

impl Redactor {
    /// With a salt of its own: hashes of two runs have nothing in common.
    pub fn new() -> Redactor {
        let mut salt = [0; 32];
        // Without randomness nothing is guessable either: an empty salt only makes hashes comparable.
        let _ = SystemRandom::new().fill(&mut salt);
        Redactor::with_salt(&salt)
    }

    /// With a chosen salt.
    pub fn with_salt(salt: &[u8]) -> Redactor {
        Redactor(Some(hmac::Key::new(hmac::HMAC_SHA256, salt)))
    }

    /// Shows everything.
    pub fn transparent() -> Redactor {
        Redactor(None)
    }

    /// An object of this resource without its secret values.
    pub fn object(&self, resource: &str, mut object: Value) -> Value {
        if let Some(key) = &self.0 {
            Walk { key }.value(&mut object, "", resource == "secrets");
        }
        object
    }

    /// Operations on an object of this resource without their secret values.
    pub fn changes(&self, resource: &str, changes: Vec<Change>) -> Vec<Change> {
        let Some(key) = &self.0 else { return changes };
        let walk = Walk { key };
        let mut changes = changes;
        for change in &mut changes {
            let way: Vec<String> = parts(change.path()).collect();
            let values = match change {
                Change::Add { value, .. } => [Some(value), None],
                Change::Remove { old_value, .. } => [Some(old_value), None],
                Change::Replace { value, old_value, .. } => [Some(value), Some(old_value)],
            };
            values.into_iter().flatten().for_each(|value| walk.at(&way, value, resource));
        }
        changes
    }
}

impl Default for Redactor {
    fn default() -> Redactor {
        Redactor::new()
    }
}

struct Walk<'k> {
    key: &'k hmac::Key,
}

impl Walk<'_> {
    fn hash(&self, secret: &[u8]) -> String {
        let tag = hmac::sign(self.key, secret);
        let hex: String = tag.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// A value under the field `name`.
    fn value(&self, value: &mut Value, name: &str, is_secret: bool) {
        match value {
            Value::Object(map) => self.object(map, is_secret),
            Value::Array(list) => match name {
                "env" => list.iter_mut().for_each(|entry| self.variable(entry)),
                "args" | "command" => self.arguments(list),
                _ => list.iter_mut().for_each(|entry| self.value(entry, "", is_secret)),
            },
            Value::String(text) => self.text(text, name, is_secret),
            _ => {}
        }
    }

    fn object(&self, map: &mut Map<String, Value>, is_secret: bool) {
        let is_secret = match map.get("kind").and_then(Value::as_str) {
            Some("Secret") => true,
            // A list of them, or one inside an annotation.
            Some(kind) => is_secret && kind.starts_with("Secret"),
            None => is_secret,
        };
        for (name, value) in map.iter_mut() {
            match &**name {
                "data" if is_secret => self.all(value, true),
                "stringData" if is_secret => self.all(value, false),
                "annotations" if is_secret => self.annotations(value),
                _ => self.value(value, name, is_secret),
            }
        }
    }

    /// Every text below a value, decoded first where it is base64.
    fn all(&self, value: &mut Value, is_base64: bool) {
        match value {
            Value::Object(map) => map.values_mut().for_each(|value| self.all(value, is_base64)),
            Value::Array(list) => list.iter_mut().for_each(|value| self.all(value, is_base64)),
            Value::Null => {}
            Value::String(text) => {
                let decoded = if is_base64 { STANDARD.decode(&*text).ok() } else { None };
                *text = self.hash(decoded.as_deref().unwrap_or(text.as_bytes()));
            }
            other => *other = Value::from(self.hash(other.to_string().as_bytes())),
        }
    }

    /// Annotations of a Secret: tools keep copies of the whole object there.
    fn annotations(&self, value: &mut Value) {
        let Value::Object(map) = value else { return self.all(value, false) };
        for (name, value) in map.iter_mut() {
            let is_copy = |text: &str| text.len() > 256 || text.contains(['{', '[']);
            match value {
                Value::String(text) if name != LAST_APPLIED && is_copy(text) => {
                    *text = self.hash(text.as_bytes());
                }
                value => self.value(value, name, true),
            }
        }
    }

    fn text(&self, text: &mut String, name: &str, is_secret: bool) {
        if name == LAST_APPLIED {
            match serde_json::from_str::<Value>(text) {
                Ok(mut object) => {
                    self.value(&mut object, "", is_secret);
                    *text = object.to_string();
                }
                Err(_) => *text = self.hash(text.as_bytes()),
            }
        } else if name != "key" && !text.is_empty() && is_secret_name(name) {
            *text = self.hash(text.as_bytes());
        } else if TOKEN.is_match(text) {
            let hidden = TOKEN
                .replace_all(text, |found: &regex::Captures<'_>| self.hash(found[0].as_bytes()));
            *text = hidden.into_owned();
        }
    }

    /// An entry of `env`: its value is hidden where the table of `execs` hides `NAME=value`.
    fn variable(&self, entry: &mut Value) {
        let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(Value::String(value)) = entry.get_mut("value") {
            let assignment = [format!("{name}={value}")];
            if mask(&assignment) != assignment || TOKEN.is_match(value) {
                *value = self.hash(value.as_bytes());
            }
        }
    }

    /// Arguments of a command: what the table of `execs` hides.
    fn arguments(&self, list: &mut [Value]) {
        let texts: Vec<String> =
            list.iter().map(|it| it.as_str().unwrap_or_default().to_owned()).collect();
        for ((shown, text), value) in mask(&texts).into_iter().zip(&texts).zip(list) {
            if shown != *text {
                *value = Value::from(shown.replace(MASK, &self.hash(text.as_bytes())));
            }
        }
    }

    /// A value at this place of an object.
    fn at(&self, way: &[String], value: &mut Value, resource: &str) {
        let is_secret = resource == "secrets";
        let fields: Vec<&str> = way
            .iter()
            .map(String::as_str)
            .filter(|part| *part != "-" && part.parse::<usize>().is_err())
            .collect();
        let last = way.last().map(String::as_str).unwrap_or_default();
        match fields[..] {
            ["data", ..] if is_secret => self.all(value, true),
            ["stringData", ..] if is_secret => self.all(value, false),
            ["metadata", "annotations"] if is_secret => self.annotations(value),
            // The name is elsewhere.
            [.., "env", "value"] => self.all(value, false),
            [.., "env"] if value.is_object() => self.variable(value),
            [.., "args" | "command"] if value.is_string() => {
                self.arguments(std::slice::from_mut(value));
            }
            _ => self.value(value, last, is_secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn redactor() -> Redactor {
        Redactor::with_salt(b"salt")
    }

    #[track_caller]
    fn hides(resource: &str, object: Value, secret: &str) {
        let shown = redactor().object(resource, object.clone()).to_string();
        assert!(!shown.contains(secret) && shown.contains("sha256:"), "{shown}");
        assert_eq!(Redactor::transparent().object(resource, object.clone()), object);
    }

    #[track_caller]
    fn shows(resource: &str, object: Value) {
        assert_eq!(redactor().object(resource, object.clone()), object);
    }

    #[test]
    fn secrets_are_hidden_everywhere() {
        hides("secrets", json!({"data": {"p": "aHVudGVyMg=="}}), "aHVudGVyMg");
        hides("secrets", json!({"stringData": {"p": "hunter2"}}), "hunter2");
        hides(
            "lists",
            json!({"items": [{"kind": "Secret", "data": {"p": "aHVudGVyMg=="}}]}),
            "aHVu",
        );
        let applied = json!({"kind": "Secret", "stringData": {"p": "hunter2"}}).to_string();
        let with = |text: &str| json!({"metadata": {"annotations": {LAST_APPLIED: text}}});
        hides("secrets", with(&applied), "hunter2");
        hides("secrets", with("not JSON: hunter2"), "hunter2");
        hides("secrets", json!({"metadata": {"annotations": {"other": &applied}}}), "hunter2");
    }

    #[test]
    fn the_same_value_has_the_same_hash() {
        let shown = |object| redactor().object("secrets", object);
        let data = shown(json!({"data": {"p": "aHVudGVyMg=="}}));
        let text = shown(json!({"stringData": {"p": "hunter2"}}));
        assert_eq!(data["data"]["p"], text["stringData"]["p"]);
        let other =
            Redactor::with_salt(b"x").object("secrets", json!({"data": {"p": "aHVudGVyMg=="}}));
        assert_ne!(data, other);
    }

    #[test]
    fn variables_and_arguments_as_in_execs() {
        let pod = |container: Value| json!({"spec": {"containers": [container]}});
        hides(
            "pods",
            pod(json!({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}]})),
            "hunter2",
        );
        hides(
            "pods",
            pod(json!({"env": [{"name": "URL", "value": "pg://u:hunter2@h/d"}]})),
            "hunter2",
        );
        hides("pods", pod(json!({"args": ["--password=hunter2"]})), "hunter2");
        hides("pods", pod(json!({"command": ["mysql", "-phunter2"]})), "hunter2");
        hides("widgets", json!({"spec": {"adminPassword": "hunter2"}}), "hunter2");
        hides("configmaps", json!({"data": {"x": "a eyJhbGciOi.eyJzdWIiOi.c2ln b"}}), "eyJhbG");
    }

    #[test]
    fn everything_else_is_shown() {
        shows(
            "pods",
            json!({"spec": {"containers": [{"env": [{"name": "MODE", "value": "fast"}]}],
            "tolerations": [{"key": "node", "operator": "Exists"}]}}),
        );
        shows("deployments", json!({"spec": {"volumes": [{"secret": {"secretName": "db"}}]}}));
        shows("configmaps", json!({"data": {"app.conf": "a = 1"}}));
    }

    #[test]
    fn operations_are_hidden_by_their_place() {
        let check = |resource: &str, path: &str, value: Value| {
            let add = Change::Add { path: path.into(), value };
            let shown = redactor().changes(resource, vec![add]);
            let text = serde_json::to_string(&shown).unwrap();
            assert!(!text.contains("hunter2") && text.contains("sha256:"), "{text}");
        };
        check("secrets", "/data/p", json!("hunter2"));
        check("secrets", "/data", json!({"p": "hunter2"}));
        check("secrets", "", json!({"stringData": {"p": "hunter2"}}));
        check("pods", "/spec/containers/0/env/3/value", json!("hunter2"));
        check("pods", "/spec/containers/0/env/-", json!({"name": "TOKEN", "value": "hunter2"}));
        check("pods", "/spec/containers/0/args/1", json!("--token=hunter2"));
        check(
            "pods",
            "/spec/containers/-",
            json!({"env": [{"name": "A_KEY", "value": "hunter2"}]}),
        );
    }

    proptest! {
        #[test]
        fn no_value_of_a_secret_is_shown(value in "[a-z]{8,20}", name in "[a-z]{1,5}") {
            let object = json!({"kind": "Secret", "stringData": {name.clone(): value.clone()},
                "data": {name: STANDARD.encode(&value)}});
            let shown = redactor().object("secrets", object).to_string();
            prop_assert!(!shown.contains(&value) && !shown.contains(&STANDARD.encode(&value)));
        }
    }
}
