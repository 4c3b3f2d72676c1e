//! The document, the table and the other views of `actions`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Cell, Column, Report, Table};
use crate::{
    analysis::actions::{
        Action, Step, Totals, command,
        requests::{Person, Request},
    },
    event::{Level, Timestamp},
};

/// `kind: ActionList`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionList {
    pub items: Vec<ActionItem>,
    pub total: Total,
}

/// What was read, in requests.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    pub in_actions: u64,
    pub background: u64,
    /// Writes of machinery without a known cause.
    pub unlinked_writes: u64,
    /// Objects that were forgotten before their time, because there were too many.
    pub dropped_objects: u64,
    /// Steps that were not kept, because an action had too many.
    pub dropped_steps: u64,
}

impl From<Totals> for Total {
    fn from(totals: Totals) -> Total {
        Total {
            in_actions: totals.in_actions,
            background: totals.background,
            unlinked_writes: totals.unlinked_writes,
            dropped_objects: totals.dropped_objects,
            dropped_steps: totals.dropped_steps,
        }
    }
}

/// One action.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionItem {
    pub id: String,
    pub command: String,
    pub object: Option<ObjectName>,
    pub summary: String,
    pub user: Person,
    pub impersonated_user: Option<Person>,
    pub user_agent: String,
    #[serde(rename = "sourceIPs")]
    pub source_ips: Vec<String>,
    pub from: Timestamp,
    pub to: Timestamp,
    pub closed: bool,
    pub level: Level,
    pub dry_run: bool,
    pub outcome: Outcome,
    pub code: Option<i64>,
    pub steps: Vec<StepItem>,
    pub objects: Vec<ChangedObject>,
    pub failures: Vec<Failure>,
    pub counts: Counts,
    /// The number of the action in this run; not in the document.
    #[serde(skip)]
    pub number: u64,
    /// Whether the filters of the command line hold for one of its roots.
    #[serde(skip)]
    pub matches: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectName {
    pub resource: String,
    pub group: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Failed,
    Refused,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::Refused => "refused",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepItem {
    #[serde(rename = "auditID")]
    pub audit_id: String,
    pub time: Timestamp,
    pub user: String,
    pub verb: String,
    pub object: Option<ObjectName>,
    pub subresource: Option<String>,
    pub code: Option<i64>,
    pub root: bool,
    pub parent: Option<String>,
    pub reason: &'static str,
    pub confidence: f64,
    pub path_confidence: f64,
    pub also_by: Vec<String>,
    #[serde(skip)]
    also: Vec<u64>,
}

#[derive(Debug, Serialize)]
pub struct ChangedObject {
    pub object: ObjectName,
    pub uid: Option<String>,
    pub change: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Failure {
    #[serde(rename = "auditID")]
    pub audit_id: String,
    pub code: i64,
    pub message: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub roots: u64,
    pub consequences: u64,
    pub by_reason: BTreeMap<String, u64>,
    pub by_user: BTreeMap<String, u64>,
    /// Failures, without the expected ones. In the document they are a list.
    #[serde(skip)]
    pub failed: u64,
}

impl ActionItem {
    /// The document of an action. Steps below `min_confidence` are left out.
    pub fn new(action: &Action, min_confidence: f64) -> ActionItem {
        let first = action.roots.first();
        let identity = first.map(|root| root.identity.clone());
        let kept = |step: &&Step| step.is_root || step.path_confidence >= min_confidence;
        let mut steps: Vec<&Step> = action.steps.iter().filter(kept).collect();
        steps.sort_by(|a, b| {
            (a.time, !a.is_root, &a.audit_id).cmp(&(b.time, !b.is_root, &b.audit_id))
        });

        let main = main_root(action);
        let failures = failures(action, &steps);
        let root_failure = action
            .roots
            .iter()
            .rev()
            .find(|root| failures.iter().any(|failure| *failure.audit_id == *root.audit_id));
        let outcome = match root_failure.map(|root| root.code) {
            None => Outcome::Ok,
            Some(401 | 403) => Outcome::Refused,
            Some(_) => Outcome::Failed,
        };
        let code = root_failure.map_or(main.map(|root| root.code), |root| Some(root.code));

        let mut counts = Counts { failed: failures.len() as u64, ..Counts::default() };
        for step in &steps {
            if step.is_root {
                counts.roots += 1;
            } else {
                counts.consequences += 1;
                *counts.by_reason.entry(step.reason.as_str().to_owned()).or_default() += 1;
            }
            *counts.by_user.entry(step.identity.user.username.clone()).or_default() += 1;
        }
        counts.consequences += action.n_dropped_steps;
        let objects = changed_objects(&steps);
        let command = command::command(action);
        let object = command::object(action)
            .map(|(key, group)| ObjectName::new(&key.resource, &group, &key.namespace, &key.name));
        let last = steps.last().map(|step| step.time);
        let from = steps.first().map_or(action.last, |step| step.time);

        let mut item = ActionItem {
            id: first.map_or_else(String::new, |root| id(root)),
            summary: String::new(),
            object,
            user: identity.as_ref().map(|it| it.user.clone()).unwrap_or_default(),
            impersonated_user: identity.as_ref().and_then(|it| it.impersonated.clone()),
            user_agent: identity.as_ref().map(|it| it.user_agent.to_string()).unwrap_or_default(),
            source_ips: identity
                .as_ref()
                .map(|it| it.source_ips.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            from,
            to: last.unwrap_or(from),
            closed: action.is_closed,
            level: action.roots.iter().map(|root| root.level).max().unwrap_or_default(),
            dry_run: command::is_dry_run(action),
            outcome,
            code: code.filter(|code| *code != 0),
            steps: steps.iter().map(|step| StepItem::new(step)).collect(),
            objects,
            failures,
            counts,
            number: action.number,
            matches: action.roots.iter().any(|root| root.matches),
            command,
        };
        item.summary = item.sentence();
        item
    }

    /// Frees what only documents and trees show.
    pub fn shorten(&mut self) {
        self.steps = Vec::new();
        self.objects = Vec::new();
    }

    /// `alice deleted namespace shop: 73 requests followed, 41 objects removed, 3 failed`
    fn sentence(&self) -> String {
        let who = match &self.impersonated_user {
            Some(person) => format!("{} as {}", self.user.username, person.username),
            None => self.user.username.clone(),
        };
        let object = self.object.as_ref().map(ObjectName::singular).unwrap_or_default();
        let mut text = match past_tense(&self.command) {
            Some(verb) => format!("{who} {verb} {object}"),
            None => format!("{who} ran `{}` on {object}", self.command),
        };
        if object.is_empty() {
            text = format!("{who} ran `{}`", self.command);
        }
        match self.outcome {
            Outcome::Ok => {}
            Outcome::Failed => {
                text = format!(
                    "{text} (failed{})",
                    self.code.map(|code| format!(", {code}")).unwrap_or_default()
                )
            }
            Outcome::Refused => text = format!("{text} (refused)"),
        }
        if self.dry_run {
            text += " (dry run)";
        }
        let mut parts = Vec::new();
        let mut add = |n: u64, one: &str, many: &str| {
            if n > 0 {
                parts.push(format!("{n} {}", if n == 1 { one } else { many }));
            }
        };
        add(self.counts.consequences, "request followed", "requests followed");
        let removed = self.objects.iter().filter(|it| it.change == "deleted").count();
        let created = self.objects.iter().filter(|it| it.change == "created").count();
        if self.counts.consequences > 0 {
            add(created as u64, "object created", "objects created");
            add(removed as u64, "object removed", "objects removed");
        }
        if self.counts.consequences > 0 {
            add(self.counts.failed, "failed", "failed");
        }
        if parts.is_empty() { text } else { format!("{text}: {}", parts.join(", ")) }
    }

    /// Whether this command is one of those that the action may have been.
    pub fn is_command(&self, command: &str) -> bool {
        self.command.split(" or ").any(|name| {
            name == command || name.strip_prefix(command).is_some_and(|rest| rest.starts_with(' '))
        })
    }

    /// Whether the action has a step on this object.
    pub fn touches(&self, resource: &str, name: &str, namespace: Option<&str>) -> bool {
        self.steps.iter().any(|step| step.is_about(resource, name, namespace))
    }
}

impl StepItem {
    fn new(step: &Step) -> StepItem {
        StepItem {
            audit_id: step.audit_id.to_string(),
            time: step.time,
            user: step.identity.user.username.clone(),
            verb: step.verb.to_string(),
            object: (!step.object.resource.is_empty()).then(|| {
                ObjectName::new(
                    &step.object.resource,
                    &step.group,
                    &step.object.namespace,
                    &step.object.name,
                )
            }),
            subresource: (!step.subresource.is_empty()).then(|| step.subresource.to_string()),
            code: (step.code != 0).then_some(step.code),
            root: step.is_root,
            parent: step.parent.as_ref().map(ToString::to_string),
            reason: step.reason.as_str(),
            confidence: step.confidence,
            path_confidence: step.path_confidence,
            also_by: Vec::new(),
            also: step.also.clone(),
        }
    }

    pub fn is_write(&self) -> bool {
        matches!(&*self.verb, "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    pub fn is_about(&self, resource: &str, name: &str, namespace: Option<&str>) -> bool {
        self.object.as_ref().is_some_and(|object| {
            object.resource == resource
                && object.name.as_deref() == Some(name)
                && namespace.is_none_or(|namespace| object.namespace.as_deref() == Some(namespace))
        })
    }
}

impl ObjectName {
    fn new(resource: &str, group: &str, namespace: &str, name: &str) -> ObjectName {
        let resource = resource
            .strip_suffix(group)
            .and_then(|it| it.strip_suffix('.'))
            .filter(|_| !group.is_empty())
            .unwrap_or(resource);
        let text = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        ObjectName {
            resource: resource.to_owned(),
            group: group.to_owned(),
            namespace: text(namespace),
            name: text(name),
        }
    }

    /// `deployments/web`
    pub fn short(&self) -> String {
        match &self.name {
            Some(name) => format!("{}/{name}", self.resource),
            None => self.resource.clone(),
        }
    }

    /// `deployment shop/web`
    fn singular(&self) -> String {
        let Some(name) = &self.name else {
            return match &self.namespace {
                Some(namespace) => format!("{} in {namespace}", self.resource),
                None => self.resource.clone(),
            };
        };
        let kind = match self.resource.strip_suffix("ies") {
            Some(stem) => format!("{stem}y"),
            None if self.resource.ends_with("sses") => {
                self.resource.trim_end_matches("es").to_owned()
            }
            None if self.resource == "endpoints" => "endpoints".to_owned(),
            None => self.resource.strip_suffix('s').unwrap_or(&self.resource).to_owned(),
        };
        match &self.namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        }
    }
}

impl ActionList {
    /// Puts the actions in the order in which they began, and gives the identifiers of other causes.
    pub fn sort(&mut self) {
        self.items.sort_by_key(|item| (item.from, item.number));
        let ids: BTreeMap<u64, String> =
            self.items.iter().map(|item| (item.number, item.id.clone())).collect();
        for step in self.items.iter_mut().flat_map(|item| &mut item.steps) {
            step.also_by = step.also.iter().filter_map(|number| ids.get(number).cloned()).collect();
        }
    }
}

impl Report for ActionList {
    const KIND: &'static str = "ActionList";
    const EMPTY: &'static str = "No action found.";
    type Item = ActionItem;

    fn items(&self) -> &[ActionItem] {
        &self.items
    }

    fn tables(&self) -> Vec<Table> {
        vec![self.table(true)]
    }

    fn narrow_tables(&self) -> Option<Vec<Table>> {
        Some(vec![self.table(false)])
    }
}

impl ActionList {
    fn table(&self, has_all: bool) -> Table {
        let mut columns = vec![
            Column::text("TIME"),
            Column::text("USER").shrinking_to(8),
            Column::text("ACTION").shrinking_to(12),
            Column::text("OBJECT").shrinking_inside_to(20),
            Column::number("FOLLOWED"),
            Column::number("FAILED"),
        ];
        if has_all {
            columns.push(Column::text("ID").wide());
            columns.push(Column::text("NAMESPACE").wide());
            columns.push(Column::text("OUTCOME").wide());
            columns.push(Column::code("CODE").wide());
            columns.push(Column::number("ROOTS").wide());
            columns.push(Column::text("CLIENT").wide());
            columns.push(Column::text("SUMMARY").wide());
        }
        let row = |item: &ActionItem| {
            let user = match &item.impersonated_user {
                Some(person) => format!("{} as {}", item.user.username, person.username),
                None => item.user.username.clone(),
            };
            let note = match (item.dry_run, item.outcome) {
                (true, _) => " (dry run)",
                (_, Outcome::Refused) => " (refused)",
                (_, Outcome::Failed) => " (failed)",
                _ => "",
            };
            let object = item.object.as_ref();
            let mut cells = vec![
                Cell::Time(item.from.0),
                Cell::from(user),
                Cell::from(format!("{}{note}", item.command)),
                Cell::from(object.map(ObjectName::short)),
                Cell::from(item.counts.consequences),
                Cell::from(item.counts.failed),
            ];
            if has_all {
                cells.push(Cell::from(&*item.id));
                cells.push(Cell::from(object.and_then(|it| it.namespace.clone())));
                cells.push(Cell::from(item.outcome.as_str()));
                cells.push(item.code.map_or(Cell::None, |code| Cell::from(code.unsigned_abs())));
                cells.push(Cell::from(item.counts.roots));
                cells.push(Cell::from(&*item.user_agent));
                cells.push(Cell::from(&*item.summary));
            }
            cells
        };
        Table { columns, rows: self.items.iter().map(row).collect() }
    }
}

/// The root that the action is about.
fn main_root(action: &Action) -> Option<&Request> {
    let write = action.roots.iter().find(|root| root.is_write() || root.is_stream());
    write
        .or_else(|| action.roots.iter().rev().find(|root| root.is_resource()))
        .or(action.roots.last())
        .map(|root| &**root)
}

/// Failures without the expected ones: reads before a create, waits for an end, retries of controllers.
fn failures(action: &Action, steps: &[&Step]) -> Vec<Failure> {
    let has_success =
        action.roots.iter().any(|root| (root.is_write() || root.is_stream()) && !root.has_failed());
    let messages: BTreeMap<&str, &Request> =
        action.roots.iter().map(|root| (&*root.audit_id, &**root)).collect();
    let is_expected = |step: &&Step| {
        if step.is_root {
            let is_read = matches!(&*step.verb, "get" | "list" | "watch");
            let is_gone = step.code == 404 && is_read && has_success;
            is_gone
                || (matches!(step.code, 409 | 429) && has_success)
                || (step.code >= 500 && is_read && has_success)
        } else {
            matches!(step.code, 404 | 409)
        }
    };
    steps
        .iter()
        .filter(|step| step.code >= 400 && !is_expected(step))
        .map(|step| Failure {
            audit_id: step.audit_id.to_string(),
            code: step.code,
            message: messages
                .get(&*step.audit_id)
                .map(|root| root.message.to_string())
                .filter(|it| !it.is_empty()),
        })
        .collect()
}

/// What the action changed: each object once, a deletion above all else.
fn changed_objects(steps: &[&Step]) -> Vec<ChangedObject> {
    let mut found: BTreeMap<ObjectName, (Option<String>, &'static str)> = BTreeMap::new();
    let is_change = |step: &&&Step| {
        step.code < 400
            && !matches!(&*step.object.resource, "" | "events" | "events.events.k8s.io" | "leases")
            && !step.object.name.is_empty()
            && !step.object.resource.ends_with("reviews")
            && !matches!(
                &*step.subresource,
                "exec" | "attach" | "portforward" | "log" | "proxy" | "token"
            )
    };
    for step in steps.iter().filter(is_change) {
        let change = match (&*step.verb, &*step.subresource) {
            ("create", "") => "created",
            ("create", "eviction") | ("delete", "") => "deleted",
            ("create" | "update" | "patch", _) => "changed",
            _ => continue,
        };
        let object = ObjectName::new(
            &step.object.resource,
            &step.group,
            &step.object.namespace,
            &step.object.name,
        );
        let entry = found.entry(object).or_insert((None, change));
        if !step.uid.is_empty() {
            entry.0 = Some(step.uid.to_string());
        }
        if change == "deleted" || (entry.1 == "changed" && change == "created") {
            entry.1 = change;
        }
    }
    let item = |(object, (uid, change))| ChangedObject { object, uid, change };
    found.into_iter().map(item).collect()
}

/// The identifier of an action: the start of a hash over its first request.
fn id(root: &Request) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in
        [&*root.received.to_string(), &root.audit_id, &root.identity.user.username, &root.uri]
    {
        context.update(part.as_bytes());
        context.update(b"\0");
    }
    context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// How a sentence says what a command did.
fn past_tense(command: &str) -> Option<&'static str> {
    Some(match command {
        "get" => "read",
        "delete" => "deleted",
        "edit" => "edited",
        "patch" => "patched",
        "apply" => "applied",
        "scale" => "scaled",
        "drain" => "drained",
        "cordon" => "cordoned",
        "uncordon" => "uncordoned",
        "taint" => "tainted",
        "label" => "labelled",
        "annotate" => "annotated",
        "replace" => "replaced",
        "expose" => "exposed",
        "autoscale" => "set an autoscaler for",
        "describe" => "described",
        "set image" => "changed the image of",
        "set env" => "changed the environment of",
        "rollout restart" => "restarted",
        "rollout undo" => "rolled back",
        "rollout pause" => "paused",
        "rollout resume" => "resumed",
        "rollout history" => "read the history of",
        "exec" => "ran a command in",
        "attach" => "attached to",
        "port-forward" => "forwarded ports of",
        "logs" => "read the log of",
        "debug" => "debugged",
        "cp" => "copied files from or to",
        "run" | "run or create" => "created",
        "create token" => "requested a token of",
        "create job" | "create" => "created",
        _ if command.starts_with("create ") => "created",
        _ => return None,
    })
}

/// A line of the tree of an action.
#[derive(Debug, PartialEq, Eq)]
pub struct TreeLine {
    pub depth: usize,
    pub text: String,
}

impl ActionItem {
    /// The consequences as a tree: requests of the same kind below the same ones are one line.
    pub fn tree(&self) -> Vec<TreeLine> {
        let mut lines = Vec::new();
        let mut below: BTreeMap<&str, Vec<&StepItem>> = BTreeMap::new();
        for step in self.steps.iter().filter(|step| !step.root) {
            below.entry(step.parent.as_deref().unwrap_or_default()).or_default().push(step);
        }
        let roots: Vec<&StepItem> = self.steps.iter().filter(|step| step.root).collect();
        let mut seen: BTreeSet<&str> = roots.iter().map(|step| &*step.audit_id).collect();
        fold(&roots, &below, 1, &mut seen, &mut lines);
        lines
    }
}

/// Requests of one user, verb and resource.
type Group<'s> = ((&'s str, &'s str, String), Vec<&'s StepItem>);

/// Adds the steps that follow from these, folded, and what follows from them.
fn fold<'s>(
    steps: &[&'s StepItem],
    below: &BTreeMap<&str, Vec<&'s StepItem>>,
    depth: usize,
    seen: &mut BTreeSet<&'s str>,
    lines: &mut Vec<TreeLine>,
) {
    const DEEPEST: usize = 12;
    let mut groups: Vec<Group<'s>> = Vec::new();
    for step in steps.iter().flat_map(|step| below.get(&*step.audit_id).into_iter().flatten()) {
        if !seen.insert(&step.audit_id) {
            continue;
        }
        let object = step.object.as_ref().map_or("", |object| &object.resource);
        let what =
            step.subresource.as_ref().map_or(object.to_owned(), |sub| format!("{object}/{sub}"));
        let key = (&*step.user, &*step.verb, what);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(step),
            None => groups.push((key, vec![step])),
        }
    }
    for ((user, verb, what), group) in groups {
        let user = user
            .strip_prefix("system:serviceaccount:kube-system:")
            .or_else(|| user.strip_prefix("system:"))
            .unwrap_or(user);
        let names: BTreeSet<&str> =
            group.iter().filter_map(|step| step.object.as_ref()?.name.as_deref()).collect();
        let count = if group.len() > 1 { format!(" × {}", group.len()) } else { String::new() };
        let mut text = format!("{user}: {verb} {what}{count}");
        if let (1, Some(name)) = (names.len(), names.first()) {
            text += &format!(" {name}");
        } else if names.len() > 1 {
            text += &format!(" ({} objects)", names.len());
        }
        let weakest = group.iter().map(|step| step.path_confidence).fold(1.0, f64::min);
        if weakest < 0.7 {
            text += &format!(" [confidence {weakest:.2}]");
        }
        lines.push(TreeLine { depth, text });
        if depth < DEEPEST {
            fold(&group, below, depth + 1, seen, lines);
        }
    }
}

/// The graph of actions in the language of Graphviz.
pub fn dot(items: &[ActionItem]) -> String {
    let quote =
        |text: &str| format!("\"{}\"", text.escape_default().to_string().replace("\\'", "'"));
    let mut text = String::from(
        "digraph actions {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for item in items {
        let label = format!("{} {}", item.user.username, item.command);
        text += &format!("  {} [label={}, style=bold];\n", quote(&item.id), quote(&label));
        for step in &item.steps {
            let object = step.object.as_ref().map_or(String::new(), ObjectName::short);
            let node = format!("{}/{}", item.id, step.audit_id);
            let label = format!("{} {object}\n{}", step.verb, step.user);
            text += &format!("  {} [label={}];\n", quote(&node), quote(&label));
            let parent = step
                .parent
                .as_ref()
                .map_or(item.id.clone(), |parent| format!("{}/{parent}", item.id));
            text += &format!(
                "  {} -> {} [label={}];\n",
                quote(&parent),
                quote(&node),
                quote(step.reason)
            );
        }
    }
    text + "}\n"
}
