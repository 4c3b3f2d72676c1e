//! Findings about what a policy does, found by asking the engine: what it would log of sessions,
//! secrets and noise; and names that no request has.

use super::{
    AuditConfig, Evaluator, Policy,
    lint::{Finding, Severity},
    never,
};
use crate::event::{Attributes, Level, ResourceRequest, Stage, Target, User};

/// A name that no policy has.
const FRESH: &str = "\u{10FFFD}";

pub(super) fn advice(policy: &Policy, evaluator: &Evaluator) -> Vec<Finding> {
    let ask = Ask { evaluator, policy };
    let mut findings = Vec::new();
    findings.extend(ask.sessions());
    findings.extend(ask.secrets());
    findings.extend(ask.noise());
    findings.extend(ask.catch_all());
    findings.extend(never::findings(policy));
    findings
}

struct Ask<'p> {
    evaluator: &'p Evaluator,
    policy: &'p Policy,
}

/// A person whom no policy names.
fn somebody() -> User<'static> {
    User { username: FRESH.into(), groups: vec!["system:authenticated".into()], ..User::default() }
}

/// A node.
fn node() -> User<'static> {
    User {
        username: format!("system:node:{FRESH}").into(),
        groups: vec!["system:nodes".into(), "system:authenticated".into()],
        ..User::default()
    }
}

fn target(what: &'static str) -> Target<'static> {
    let (path, group) = what.split_once('.').unwrap_or((what, ""));
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    Target::Resource(ResourceRequest {
        api_group: group.into(),
        api_version: "v1".into(),
        namespace: FRESH.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        name: FRESH.into(),
    })
}

impl Ask<'_> {
    fn config(&self, user: &User<'_>, verb: &str, what: &'static str) -> AuditConfig {
        self.evaluator.evaluate(&Attributes { user, verb, target: target(what) })
    }

    /// Where a rule begins; the whole policy if there is none.
    fn line(&self, rule: Option<usize>) -> usize {
        rule.and_then(|it| self.policy.rules.get(it)).map_or(1, |it| it.line)
    }

    fn finding(
        &self,
        id: &'static str,
        severity: Severity,
        rule: Option<usize>,
        message: String,
        hint: &'static str,
    ) -> Finding {
        Finding { id, severity, rule, line: self.line(rule), message, hint: hint.into() }
    }

    /// Sessions into pods: by `create` over SPDY, by `get` over WebSocket since kubectl 1.30.
    fn sessions(&self) -> Vec<Finding> {
        let is_logged = |it: &AuditConfig| it.logs(Stage::ResponseComplete);
        let mut found = Vec::new();
        let [get, create] =
            ["get", "create"].map(|verb| self.config(&somebody(), verb, "pods/exec"));
        if is_logged(&create) && !is_logged(&get) {
            found.push(
                self.finding(
                    "exec-only-by-create",
                    Severity::Warning,
                    create.rule,
                    "exec is logged as `create` only: kubectl since 1.30 opens sessions with `get`"
                        .to_owned(),
                    "list both verbs, or leave out `verbs`",
                ),
            );
        }
        let bare = self.policy.rules.iter().position(|rule| {
            rule.level > Level::None
                && rule.resources.iter().any(|it| {
                    it.group.is_empty()
                        && it.resource_names.is_empty()
                        && it.resources.iter().any(|it| it == "pods")
                })
        });
        if let Some(rule) = bare.filter(|_| !is_logged(&get) && !is_logged(&create)) {
            found.push(self.finding(
                "bare-pods",
                Severity::Warning,
                Some(rule),
                "`pods` is the resource itself only: exec and other sessions are not logged"
                    .to_owned(),
                "add pods/exec, pods/attach, pods/portforward and pods/ephemeralcontainers, or pods/*",
            ));
        }
        found
    }

    /// Requests and responses that hold secrets.
    fn secrets(&self) -> Vec<Finding> {
        const WRITES: &[&str] = &["create", "update", "patch"];
        const READS: &[&str] = &["get", "list", "create", "update", "patch"];
        // What holds it, from which level on.
        let bodies: [(&str, &[&str], Level, &str); 4] = [
            ("secrets", WRITES, Level::Request, "secrets"),
            ("secrets", READS, Level::RequestResponse, "secrets"),
            ("serviceaccounts/token", &["create"], Level::RequestResponse, "new tokens"),
            (
                "tokenreviews.authentication.k8s.io",
                &["create"],
                Level::Request,
                "tokens under review",
            ),
        ];
        let mut found: Vec<Finding> = Vec::new();
        for (what, verbs, least, name) in bodies {
            let decided = verbs.iter().map(|verb| self.config(&somebody(), verb, what));
            for config in decided.filter(|it| it.level >= least) {
                let message = format!("{name} are written into the log, bodies and all");
                let id = "secret-bodies";
                let hint = "log them at Metadata, by a rule before this one";
                let it = self.finding(id, Severity::Warning, config.rule, message, hint);
                if !found.contains(&it) {
                    found.push(it);
                }
            }
        }
        found
    }

    /// What fills a log with bodies that nobody reads.
    fn noise(&self) -> Vec<Finding> {
        let noisy: [(User<'_>, &str, &str, &str); 3] = [
            (node(), "update", "leases.coordination.k8s.io", "each node's heartbeat"),
            (node(), "patch", "nodes/status", "each node's status"),
            (somebody(), "create", "events.events.k8s.io", "every Event object"),
        ];
        let bodies = noisy.into_iter().filter_map(|(user, verb, what, name)| {
            let config = self.config(&user, verb, what);
            (config.level >= Level::RequestResponse).then(|| {
                self.finding(
                    "noisy",
                    Severity::Info,
                    config.rule,
                    format!("{name} ({verb} {what}) is logged with both bodies"),
                    "log it at Metadata, or not at all, by a rule before this one",
                )
            })
        });
        bodies.collect()
    }

    /// A request that no rule knows is not logged, and nobody notices.
    fn catch_all(&self) -> Option<Finding> {
        let user = somebody();
        let unknown = Target::Resource(ResourceRequest {
            api_group: FRESH.into(),
            resource: FRESH.into(),
            ..ResourceRequest::default()
        });
        let config =
            self.evaluator.evaluate(&Attributes { user: &user, verb: "get", target: unknown });
        config.rule.is_none().then(|| {
            self.finding(
                "no-catch-all",
                Severity::Info,
                self.policy.rules.len().checked_sub(1),
                "what no rule matches is not logged: new kinds of objects, for one".to_owned(),
                "end with `- level: Metadata`, or with `- level: None` if it is meant",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        lint::lint,
        load::{KubeVersion, load},
    };

    #[track_caller]
    fn check(rules: &str, expected: &[&str]) {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
        let loaded = load(text.as_bytes(), KubeVersion::default());
        assert_eq!(loaded.errors, []);
        let policy = loaded.policy.expect("no errors");
        let found = advice(&policy, &Evaluator::new(&policy));
        let found: Vec<String> = found.iter().map(|it| format!("{}:{}", it.id, it.line)).collect();
        assert_eq!(found, expected, "{rules}");
    }

    const REST: &str = "- level: Metadata\n";

    #[test]
    fn sessions() {
        check(
            "- {level: Metadata, resources: [{group: '', resources: [pods]}]}\n- level: None\n",
            &["bare-pods:4"],
        );
        check(
            &format!(
                "- {{level: Metadata, resources: [{{group: '', resources: [pods]}}]}}\n{REST}"
            ),
            &[],
        );
        check(
            "- {level: Metadata, resources: [{group: '', resources: [pods, pods/exec]}]}\n- level: None\n",
            &[],
        );
        check(
            "- {level: Metadata, verbs: [create, update, delete, patch]}\n- level: None\n",
            &["exec-only-by-create:4"],
        );
    }

    #[test]
    fn secrets() {
        check(
            "- level: RequestResponse\n",
            &[
                "secret-bodies:4",
                "secret-bodies:4",
                "secret-bodies:4",
                "noisy:4",
                "noisy:4",
                "noisy:4",
            ],
        );
        check(
            &format!(
                "- {{level: Request, resources: [{{group: '', resources: [secrets]}}]}}\n{REST}"
            ),
            &["secret-bodies:4"],
        );
        check(
            &format!(
                "- {{level: Request, verbs: [get], resources: [{{group: '', resources: [secrets]}}]}}\n{REST}"
            ),
            &[],
        );
    }

    #[test]
    fn names() {
        let rule = |text: &str| format!("- {{level: Metadata, {text}}}\n{REST}");
        let resources = |group: &str, item: &str| {
            rule(&format!("resources: [{{group: '{group}', resources: ['{item}']}}]"))
        };
        check(&resources("", "pod"), &["never-matching-resource:4"]);
        check(&resources("", "Pods"), &["never-matching-resource:4"]);
        check(&resources("", "deployments"), &["never-matching-resource:4"]);
        check(&resources("", "pods/logs"), &["never-matching-resource:4"]);
        check(&resources("", "*/status"), &[]);
        check(&resources("", "pods/*"), &[]);
        check(&resources("example.com", "whatever"), &[]);
        check(&resources("*", "whatever"), &[]);
        check(
            &rule(
                "verbs: [create], resources: [{group: '', resources: [configmaps], resourceNames: [a]}]",
            ),
            &["names-with-create:4"],
        );
        check(
            &rule(
                "verbs: [create], resources: [{group: '', resources: [pods/exec], resourceNames: [a]}]",
            ),
            &[],
        );
        check(
            "- {level: Metadata, verbs: [get]}\n- {level: None, verbs: [list]}\n- {level: Metadata, verbs: [watch], users: [a]}\n",
            &[],
        );
        check("- {level: Metadata, users: [a]}\n", &["no-catch-all:4"]);
    }

    /// Policies that many run: what is said of them, a person would say too.
    #[test]
    fn policies_of_the_wild() {
        for (file, expected) in [
            ("p01-metadata-all.yaml", &[] as &[&str]),
            ("p03-gce.yaml", &[]),
            ("p04-docs-example.yaml", &[]),
            // It ends with `- level: Request`: secrets and tokens too.
            ("p05-openshift-style.yaml", &["secret-bodies", "secret-bodies"]),
            ("wild/falco.yaml", &[]),
            ("wild/rke2.yaml", &[]),
            ("wild/kubeadm.yaml", &[]),
        ] {
            let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("tests/data/policy/policies")
                .join(file);
            let loaded = load(&std::fs::read(path).expect(file), KubeVersion::default());
            let found: Vec<_> = lint(&loaded).iter().map(|it| it.id).collect();
            assert_eq!(found, expected, "{file}");
        }
    }
}
