//! `kubectl audit policy explain`

use std::{borrow::Cow, io::Write, path::PathBuf};

use serde::Serialize;

use super::super::{Error, Exit, args::OutputArgs};
use crate::{
    event::{Attributes, Level, ResourceRequest, Stage, Target},
    policy::{Evaluator, GroupResources, Mismatch, Policy, Rule, Stages, load::KubeVersion},
    rbac::{What, subject},
    report::{Cell, Column, Report, Table},
};

/// Tell which rule of a policy catches a request, and why none before it does
///
/// The request is named as for `kubectl auth can-i`. Its user is nobody in particular unless --subject
/// says who; the groups that every such user has are added.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # Which rule catches reading a secret?
  kubectl audit policy explain examples/policy.yaml get secrets db -n shop

  # An exec by somebody in the group ops
  kubectl audit policy explain examples/policy.yaml create pods/exec web-0 -n shop --group ops

  # A path that is no resource, asked for by a service account
  kubectl audit policy explain examples/policy.yaml get /metrics --subject monitoring/prometheus")]
pub struct Args {
    /// The policy
    #[arg(value_name = "FILE")]
    policy: PathBuf,
    /// The verb, as in get, list, create
    #[arg(value_name = "VERB")]
    verb: String,
    /// The resource, as in pods, pods/exec or deployments.apps; or a path, as in /metrics
    #[arg(value_name = "RESOURCE[/SUB][.GROUP]|/PATH")]
    resource: String,
    /// The name in the URL; a create has none
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The namespace
    #[arg(short, long, value_name = "N")]
    namespace: Option<String>,
    /// The authenticated user, or NAMESPACE/NAME of a service account
    #[arg(long, value_name = "USER", default_value = "somebody")]
    subject: String,
    /// A group of the user; repeatable
    #[arg(long, value_name = "G")]
    group: Vec<String>,
    /// The release whose API server is meant
    #[arg(long, value_name = "1.N", default_value = "1.36")]
    kube_version: KubeVersion,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyExplanation {
    request: Asked,
    level: Level,
    /// From 0; -1 if no rule matches.
    rule: i64,
    line: Option<usize>,
    omit_stages: Stages,
    omit_managed_fields: bool,
    stages: Vec<Recorded>,
    earlier: Vec<Passed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    user: String,
    groups: Vec<String>,
    verb: String,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
}

/// What is written at a moment of the request.
#[derive(Debug, Serialize)]
struct Recorded {
    stage: Stage,
    logged: bool,
    records: Vec<&'static str>,
}

/// A rule that does not match.
#[derive(Debug, Serialize)]
struct Passed {
    rule: usize,
    line: usize,
    level: Level,
    mismatch: Mismatch,
    why: String,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let policy = super::policy(&args.policy, args.kube_version)?;
    let name = subject::parse(&args.subject);
    let user = subject::user(&name, args.group.iter().map(|it| Cow::Borrowed(it.as_str())));
    let what = What::parse(&args.resource);
    let target = target(args, &what)?;
    let attributes = Attributes { user: &user, verb: &args.verb, target };
    let report = explain(&policy, &attributes, args);
    args.output.write(&report, None::<&()>, out)?;
    Ok(Exit::Done)
}

/// What the URL of such a request names.
fn target<'a>(args: &'a Args, what: &'a What) -> Result<Target<'a>, Error> {
    let (group, resource, subresource) = match what {
        What::Path(path) => return Ok(Target::Path(Cow::Borrowed(path))),
        What::Resource { group: None, resource, .. } => {
            return Err(Error::NoGroup(resource.clone()));
        }
        What::Resource { group: Some(group), resource, subresource } => {
            (group, resource, subresource)
        }
    };
    // The URLs of these end with the resource: names are in the body, where no policy looks.
    let has_no_name =
        args.verb == "deletecollection" || (args.verb == "create" && subresource.is_empty());
    let name = args.name.as_deref().filter(|_| !has_no_name).unwrap_or_default();
    // The URL of a namespace is one inside of it.
    let is_namespace = group.is_empty() && resource == "namespaces" && !name.is_empty();
    let namespace = if is_namespace { name } else { args.namespace.as_deref().unwrap_or_default() };
    Ok(Target::Resource(ResourceRequest {
        api_group: Cow::Borrowed(group),
        namespace: Cow::Borrowed(namespace),
        resource: Cow::Borrowed(resource),
        subresource: Cow::Borrowed(subresource),
        name: Cow::Borrowed(name),
        ..ResourceRequest::default()
    }))
}

fn explain(policy: &Policy, attributes: &Attributes<'_>, args: &Args) -> PolicyExplanation {
    let evaluator = Evaluator::new(policy);
    let config = evaluator.evaluate(attributes);
    let n_passed = config.rule.unwrap_or(policy.rules.len());
    let earlier = policy.rules[..n_passed].iter().enumerate().filter_map(|(n, rule)| {
        let mismatch = evaluator.mismatch(n, attributes)?;
        let why = why(mismatch, rule, attributes);
        Some(Passed { rule: n, line: rule.line, level: rule.level, mismatch, why })
    });
    PolicyExplanation {
        request: Asked {
            user: attributes.user.username.to_string(),
            groups: attributes.user.groups.iter().map(|it| it.to_string()).collect(),
            verb: args.verb.clone(),
            resource: args.resource.clone(),
            namespace: args.namespace.clone(),
            name: args.name.clone(),
        },
        level: config.level,
        rule: config.rule.map_or(-1, |it| it as i64),
        line: config.rule.map(|it| policy.rules[it].line),
        omit_stages: config.omit_stages,
        omit_managed_fields: config.omit_managed_fields,
        stages: Stage::ALL.map(|it| recorded(it, config.level, config.logs(it))).into(),
        earlier: earlier.collect(),
    }
}

/// Source: `staging/src/k8s.io/apiserver/pkg/audit/request.go`: bodies are attached once they were read,
/// and after the first stage has been written.
fn recorded(stage: Stage, level: Level, logged: bool) -> Recorded {
    let mut records = Vec::new();
    if logged {
        records.push("metadata");
        let is_later = stage != Stage::RequestReceived;
        if level >= Level::Request && is_later {
            records.push("request body");
        }
        if level >= Level::RequestResponse && stage == Stage::ResponseComplete {
            records.push("response body");
        }
    }
    Recorded { stage, logged, records }
}

/// What of the rule, and what of the request, do not fit.
fn why(mismatch: Mismatch, rule: &Rule, attributes: &Attributes<'_>) -> String {
    let (user, verb) = (attributes.user, attributes.verb);
    let request = match &attributes.target {
        Target::Resource(it) => it.clone(),
        Target::Path(_) => ResourceRequest::default(),
    };
    let combined = match &*request.subresource {
        "" => request.resource.to_string(),
        sub => format!("{}/{sub}", request.resource),
    };
    let resources = |of: &GroupResources| match of.resources.as_slice() {
        [] => format!("all of {}", group(&of.group)),
        some => format!("{} of {}", some.join(", "), group(&of.group)),
    };
    let names: Vec<&str> =
        rule.resources.iter().flat_map(|it| &it.resource_names).map(String::as_str).collect();
    match mismatch {
        Mismatch::User => format!("it is for the users {}", listed(&rule.users)),
        Mismatch::UserGroups => {
            format!(
                "it is for the groups {}; {} is in none",
                listed(&rule.user_groups),
                user.username
            )
        }
        Mismatch::Verb => format!("it is for {}, not {verb}", listed(&rule.verbs)),
        Mismatch::NoResource => "it is for resources, and a path is none".to_owned(),
        Mismatch::Namespace if request.namespace.is_empty() => {
            format!("it is for the namespaces {}, and there is none", quoted(&rule.namespaces))
        }
        Mismatch::Namespace => format!("it is for the namespaces {}", quoted(&rule.namespaces)),
        Mismatch::Group | Mismatch::Resource => {
            let of: Vec<String> = rule.resources.iter().map(resources).collect();
            format!("it is for {}, not {combined} of {}", of.join("; "), group(&request.api_group))
        }
        Mismatch::ResourceName if request.name.is_empty() => {
            format!("it is for objects named {}, and the URL names none", names.join(", "))
        }
        Mismatch::ResourceName => format!("it is for objects named {}", names.join(", ")),
        Mismatch::NoPath => "it is for paths, and a resource is none".to_owned(),
        Mismatch::Path => format!("it is for the paths {}", listed(&rule.non_resource_urls)),
    }
}

fn group(name: &str) -> String {
    match name {
        "" => "the core group".to_owned(),
        "*" => "any group".to_owned(),
        _ => name.to_owned(),
    }
}

fn listed(all: &[String]) -> String {
    all.join(", ")
}

/// An empty name is one too: it stands for requests without a namespace.
fn quoted(all: &[String]) -> String {
    all.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

impl Report for PolicyExplanation {
    const KIND: &'static str = "PolicyExplanation";
    const EMPTY: &'static str = "No rules found.";
    type Item = PolicyExplanation;

    fn items(&self) -> &[PolicyExplanation] {
        std::slice::from_ref(self)
    }

    fn tables(&self) -> Vec<Table> {
        let columns = vec![
            Column::text("RULE"),
            Column::number("LINE"),
            Column::text("LEVEL"),
            Column::text("MATCHES"),
            Column::text("WHY").shrinking(),
        ];
        let mut rows: Vec<Vec<Cell>> = self
            .earlier
            .iter()
            .map(|it| {
                let (line, level) = (Cell::Number(it.line as u64), it.level.as_str());
                let [level, no, why] = [level, "no", &it.why].map(Cell::from);
                vec![Cell::from(it.rule.to_string()), line, level, no, why]
            })
            .collect();
        let line = self.line.map_or(Cell::None, |it| Cell::Number(it as u64));
        let (rule, why) = match self.rule {
            -1 => ("none".to_owned(), "no rule matches: nothing is logged"),
            n => (n.to_string(), "it is the first that matches"),
        };
        let [level, yes, why] = [self.level.as_str(), "yes", why].map(Cell::from);
        rows.push(vec![Cell::from(rule), line, level, yes, why]);
        let stages = self.stages.iter().map(|it| {
            let records = if it.logged { it.records.join(", ") } else { "not logged".to_owned() };
            vec![Cell::from(it.stage.as_str()), Cell::from(records)]
        });
        let stage_columns = vec![Column::text("STAGE"), Column::text("RECORDS")];
        vec![Table { columns, rows }, Table { rows: stages.collect(), columns: stage_columns }]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// The target is the one that the URL of such a request has.
    #[track_caller]
    fn check(line: &str, uri: &str) {
        let words = ["explain", "p.yaml"].into_iter().chain(line.split(' '));
        let args = Line::parse_from(words).args;
        let what = What::parse(&args.resource);
        let mut expected = Target::of_request(&args.verb, uri);
        if let Target::Resource(it) = &mut expected {
            it.api_version = "".into();
        }
        assert_eq!(target(&args, &what).unwrap(), expected, "{line}");
    }

    #[test]
    fn targets() {
        check("get secrets db -n shop", "/api/v1/namespaces/shop/secrets/db");
        check("create secrets db -n shop", "/api/v1/namespaces/shop/secrets");
        check("create pods/exec web -n shop", "/api/v1/namespaces/shop/pods/web/exec");
        check("deletecollection pods web -n shop", "/api/v1/namespaces/shop/pods");
        check("get namespaces shop", "/api/v1/namespaces/shop");
        check("list namespaces", "/api/v1/namespaces");
        check("get widgets.example.com w", "/apis/example.com/v1/widgets/w");
        check("get /metrics", "/metrics");
    }
    #[test]
    fn unknown_group() {
        let args = Line::parse_from(["explain", "p.yaml", "get", "widgets"]).args;
        let err = target(&args, &What::parse("widgets")).unwrap_err();
        assert_eq!(err.hint(), "name it with its group, as in `widgets.example.com`");
    }
}
