//! What the API server refuses in a policy that it could decode.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/apis/audit/validation/validation.go`.

use super::{
    GroupResources, Policy, Rule,
    load::{KubeVersion, LoadError, Places, RulePlace},
};
use crate::event::{Level, Stage};

/// The server's messages in its order.
pub fn validate(policy: &Policy, places: &Places, version: KubeVersion) -> Vec<LoadError> {
    let mut errors = Errors(Vec::new());
    errors.stages("omitStages", &places.omit_stages);
    for (n, (rule, place)) in policy.rules.iter().zip(&places.rules).enumerate() {
        errors.rule(&format!("rules[{n}]"), rule, place, version);
    }
    errors.0
}

struct Errors(Vec<LoadError>);

impl Errors {
    fn add(&mut self, line: usize, message: String, hint: &str) {
        self.0.push(LoadError { message, line, hint: Some(hint.to_owned()) });
    }

    fn rule(&mut self, path: &str, rule: &Rule, place: &RulePlace, version: KubeVersion) {
        self.level(path, &place.level);
        for (n, url) in rule.non_resource_urls.iter().enumerate() {
            self.url(&format!("{path}.nonResourceURLs[{n}]"), url, place.urls);
        }
        for (entry, line) in rule.resources.iter().zip(&place.resources) {
            self.resources(&format!("{path}.resources"), entry, *line, version);
        }
        self.stages(&format!("{path}.omitStages"), &place.omit_stages);
        let urls = &rule.non_resource_urls;
        let is_about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
        if !urls.is_empty() && is_about_resources {
            let message = format!(
                "{path}.nonResourceURLs: Invalid value: {}: rules cannot apply to both regular resources and non-resource URLs",
                go_list(urls)
            );
            self.add(place.urls, message, "make two rules of it");
        }
    }

    fn level(&mut self, path: &str, (level, line): &(String, usize)) {
        let hint = "levels are None, Metadata, Request, RequestResponse, written exactly so";
        if level.is_empty() {
            self.add(*line, format!("{path}.level: Required value"), hint);
        } else if Level::parse(level).is_none() {
            let message = format!(
                "{path}.level: Unsupported value: {}: supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
                go_text(level)
            );
            self.add(*line, message, hint);
        }
    }

    fn stages(&mut self, path: &str, stages: &[(String, usize)]) {
        for (n, (stage, line)) in stages.iter().enumerate() {
            if Stage::parse(stage).is_none() {
                let message = format!(
                    "{path}[{n}]: Invalid value: {}: allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
                    go_text(stage)
                );
                self.add(*line, message, "stages are written exactly so");
            }
        }
    }

    fn url(&mut self, path: &str, url: &str, line: usize) {
        if url == "*" {
            return;
        }
        if !url.starts_with('/') {
            let message = format!(
                "{path}: Invalid value: {}: non-resource URL rules must begin with a '/' character",
                go_text(url)
            );
            self.add(line, message, "write `*` alone, or a path from its first slash");
        }
        if url.char_indices().any(|(at, c)| c == '*' && at + 1 < url.len()) {
            let message = format!(
                "{path}: Invalid value: {}: non-resource URL wildcards '*' must be the final character of the rule",
                go_text(url)
            );
            self.add(line, message, "end the path with its only `*`");
        }
    }

    fn resources(&mut self, path: &str, entry: &GroupResources, line: usize, version: KubeVersion) {
        let group = entry.group.as_str();
        let is_star = group == "*" && version >= KubeVersion(36);
        if !group.is_empty() && !is_star {
            let mut wrong = Vec::new();
            if group.len() > 253 {
                wrong.push("must be no more than 253 characters".to_owned());
            }
            if !is_subdomain(group) {
                wrong.push(SUBDOMAIN.to_owned());
            }
            if !wrong.is_empty() {
                let message =
                    format!("{path}.group: Invalid value: {}: {}", go_text(group), wrong.join(","));
                let hint = match group {
                    "*" => {
                        "every group as `*` is known since Kubernetes 1.36; before, name the groups"
                    }
                    _ if group.contains('/') => {
                        "the group alone, without a version: `apps`, not `apps/v1`"
                    }
                    _ => "the core group is the empty text \"\"",
                };
                self.add(line, message, hint);
            }
        }
        if !entry.resource_names.is_empty() && entry.resources.is_empty() {
            let message = format!(
                "{path}.resourceNames: Invalid value: {}: using resourceNames requires at least one resource",
                go_list(&entry.resource_names)
            );
            self.add(line, message, "name the resources beside resourceNames");
        }
    }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// A DNS subdomain of RFC 1123, whatever its length.
fn is_subdomain(text: &str) -> bool {
    let is_end =
        |it: Option<&u8>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    text.split('.').map(str::as_bytes).all(|label| {
        is_end(label.first())
            && is_end(label.last())
            && label.iter().all(|it| is_end(Some(it)) || *it == b'-')
    })
}

/// As Go's `%q`, near enough: a JSON string.
fn go_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn go_list(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}
