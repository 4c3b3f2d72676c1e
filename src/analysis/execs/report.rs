//! Sessions as a document and as a table.

use serde::Serialize;

use super::{
    Session, State,
    mask::mask,
    session::{Person, Protocol},
    shared::Shared,
    tool::Tool,
};
use crate::{
    event::{Attributes, RefusedImpersonation, Timestamp},
    rbac::{Identity, Snapshot, now},
    report::{Cell, Column, Report, Table},
};

/// All sessions found, by their start.
#[derive(Debug, Clone, Serialize)]
pub struct ExecSessionList {
    pub items: Vec<Item>,
}

/// A session as documents show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub protocol: Option<Protocol>,
    pub state: State,
    pub start_time: Option<Timestamp>,
    pub end_time: Option<Timestamp>,
    /// Seconds.
    pub duration: Option<f64>,
    pub user: Shared<Person>,
    pub impersonated_user: Option<Shared<Person>>,
    #[serde(rename = "sourceIPs")]
    pub source_ips: Shared<[String]>,
    pub user_agent: Option<Shared<str>>,
    pub tool: Option<Tool>,
    pub node: Option<String>,
    pub namespace: Option<String>,
    pub pod: Option<String>,
    pub container: Option<String>,
    pub command: Vec<String>,
    pub stdin: Option<bool>,
    pub stdout: Option<bool>,
    pub stderr: Option<bool>,
    pub tty: Option<bool>,
    pub code: Option<i64>,
    pub reason: Option<Shared<str>>,
    pub message: Option<Shared<str>>,
    pub allowed_by: Option<Shared<str>>,
    #[serde(rename = "auditIDs")]
    pub audit_ids: Vec<Box<str>>,
    pub log: Shared<str>,
    /// The service of a service proxy: shown to people.
    #[serde(skip)]
    pub service: Option<String>,
    /// Who came in, as it is today, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The last request, for an authorizer.
    /// Why it was refused, where the reason was impersonation: shown to people.
    #[serde(skip)]
    pub refused_impersonation: Option<RefusedImpersonation>,
    #[serde(skip)]
    verb: Shared<str>,
    #[serde(skip)]
    uri: Box<str>,
}

impl ExecSessionList {
    /// Says of each session who came in, as it is today, and whether it would be let in again.
    pub fn resolve(&mut self, snapshot: &Snapshot) {
        self.items.iter_mut().for_each(|it| it.resolve(snapshot));
    }
}

impl Item {
    /// As [`ExecSessionList::resolve`].
    pub fn resolve(&mut self, snapshot: &Snapshot) {
        let user = self.impersonated_user.as_ref().unwrap_or(&self.user).user();
        let attributes = Attributes::of_request(&user, &self.verb, &self.uri);
        self.identity = Some(snapshot.judged(&attributes));
    }
}

impl Item {
    pub(super) fn of(session: Session, shows_secrets: bool) -> Item {
        let given = |it: Shared<str>| (!it.is_empty()).then_some(it);
        let duration = session.duration().map(|it| it as f64 / 1e6);
        let door = *session.door;
        Item {
            kind: door.kind.as_str(),
            protocol: session.protocol,
            state: session.state,
            start_time: session.start_time,
            end_time: session.end_time,
            duration,
            user: session.user,
            impersonated_user: session.impersonated_user,
            source_ips: session.source_ips,
            tool: Tool::of(&session.user_agent),
            user_agent: given(session.user_agent),
            node: door.node,
            namespace: door.namespace,
            pod: door.pod,
            container: door.container,
            command: if shows_secrets { door.command } else { mask(&door.command) },
            stdin: door.stdin,
            stdout: door.stdout,
            stderr: door.stderr,
            tty: door.tty,
            code: session.code,
            reason: given(session.reason),
            message: given(session.message),
            allowed_by: session.allowed_by.and_then(given),
            audit_ids: session.audit_ids,
            log: session.log,
            service: door.service,
            identity: None,
            refused_impersonation: session.refused_impersonation,
            verb: session.verb,
            uri: session.uri,
        }
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether it got into a container that nobody named.
    pub fn is_unnamed(&self) -> bool {
        self.container.is_none()
            && matches!(self.kind, "exec" | "attach" | "cp")
            && matches!(self.state, State::Open | State::Closed)
    }

    /// The same, with how long it has lasted.
    #[must_use]
    pub fn lasting(mut self, now: Timestamp) -> Item {
        let micros = self.start_time.map(|it| now.0.saturating_sub(it.0).max(0));
        self.duration = micros.map(|it| it as f64 / 1e6);
        self
    }

    fn row(&self, n_times: usize, longest: Option<f64>) -> Vec<Cell> {
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let by = self.impersonated_user.as_ref().map(|_| self.user.username.clone());
        let is_stream = matches!(self.kind, "exec" | "attach" | "cp");
        let container = match &self.container {
            None if is_stream => "<default>".to_owned(),
            it => text(it),
        };
        let times = if n_times > 1 { format!(" ×{n_times}") } else { String::new() };
        let mut state = match (self.state, self.code) {
            (State::Denied | State::Failed, Some(code)) => {
                format!("{} {code}", self.state.as_str())
            }
            _ => self.state.as_str().to_owned(),
        };
        if let Some(refused) = &self.refused_impersonation {
            state += &format!(", cannot {}", refused.label());
        }
        let tool = self.tool.as_ref().map(|it| {
            it.version.as_ref().map_or(it.name.clone(), |version| format!("{} {version}", it.name))
        });
        let protocol = match self.protocol {
            Some(Protocol::WebSocket) => "websocket",
            Some(Protocol::Spdy) => "spdy",
            Some(Protocol::Http) => "http",
            None => "",
        };
        let hop = |it: &String| format!("{it}*");
        let (last, before) =
            self.source_ips.split_last().map_or((None, &[][..]), |(it, all)| (Some(it), all));
        let ips: Vec<String> = before.iter().cloned().chain(last.map(hop)).collect();
        let mut row = vec![
            self.start_time.map_or(Cell::None, |it| Cell::Time(it.0)),
            longest.map_or(Cell::None, Cell::Seconds),
            self.who_by(self.who()).into(),
            format!("{}{times}", self.kind).into(),
            self.target().into(),
            container.into(),
            self.tty.map(|has_tty| if has_tty { "yes" } else { "no" }).into(),
            state.into(),
            quoted(&self.command).into(),
            by.into(),
            self.user.cloud_identity().into(),
            ips.join(",").into(),
            tool.into(),
            protocol.into(),
            text(&self.node).into(),
            self.allowed_by.as_deref().or(self.message.as_deref()).into(),
            self.audit_ids.join(",").into(),
            (*self.log).into(),
        ];
        if let Some(identity) = &self.identity {
            let was_allowed = Some(self.state != State::Denied);
            row.insert(3, identity.label().into());
            row.insert(9, now(identity.allowed_now, was_allowed).into());
            row.push(identity.held().into());
        }
        row
    }

    /// The user that was let in.
    fn who(&self) -> &str {
        &self.impersonated_user.as_ref().unwrap_or(&self.user).username
    }

    /// `alice by dave`, where dave acted as alice.
    fn who_by(&self, who: &str) -> String {
        match &self.impersonated_user {
            Some(_) => format!("{who} by {}", self.user.username),
            None => who.to_owned(),
        }
    }

    /// What was entered.
    fn target(&self) -> String {
        match (&self.namespace, &self.pod, &self.service) {
            (Some(namespace), Some(pod), _) => format!("{namespace}/{pod}"),
            (Some(namespace), None, Some(service)) => format!("{namespace}/svc/{service}"),
            _ => self.pod.clone().unwrap_or_default(),
        }
    }

    /// A row for a terminal that has room for the most important things only.
    fn narrow_row(&self, n_times: usize, longest: Option<f64>) -> Vec<Cell> {
        let lasted = match (self.state, longest) {
            (State::Open | State::Closed, Some(seconds)) => Cell::Seconds(seconds),
            (state, _) => state.as_str().into(),
        };
        let times = if n_times > 1 { format!(" ×{n_times}") } else { String::new() };
        let flags = match (self.stdin, self.tty) {
            (Some(true), Some(true)) => " -it",
            (_, Some(true)) => " -t",
            _ => "",
        };
        let refused = self.refused_impersonation.as_ref();
        let refused = refused.map_or(String::new(), |it| format!(" (cannot {})", it.label()));
        let what = format!("{}{times}{flags}{refused} {}", self.kind, quoted(&self.command));
        vec![
            self.start_time.map_or(Cell::None, |it| Cell::Minute(it.0)),
            lasted,
            // The mark says that something is left out, so that no other user's name is this one.
            match self.who().strip_prefix("system:serviceaccount:") {
                Some(name) => self.who_by(&format!("…:{name}")).into(),
                None => self.who_by(self.who()).into(),
            },
            self.target().into(),
            what.trim_end().into(),
        ]
    }

    /// Whether a person would read the two as the same thing done again.
    fn is_like(&self, other: &Item) -> bool {
        let what = |it: &Item| (it.kind, it.state, it.code, it.tty, it.protocol.map(|it| it as u8));
        what(self) == what(other)
            && self.user.username == other.user.username
            && self.impersonated_user == other.impersonated_user
            && self.refused_impersonation == other.refused_impersonation
            && self.source_ips == other.source_ips
            && (
                &self.node,
                &self.namespace,
                &self.pod,
                &self.service,
                &self.container,
                &self.command,
            ) == (
                &other.node,
                &other.namespace,
                &other.pod,
                &other.service,
                &other.container,
                &other.command,
            )
    }
}

/// A command that can be pasted into a shell. What a terminal would obey is escaped as bash and
/// zsh read it: `$'new\nline'`.
pub(super) fn quoted(command: &[String]) -> String {
    let words = command.iter().map(|it| {
        if it.contains(char::is_control) {
            return format!("$'{}'", it.chars().map(escaped).collect::<String>());
        }
        // Only a NUL cannot be quoted, and it is a control character.
        shlex::try_quote(it).map_or_else(|_| it.clone(), Into::into)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn escaped(letter: char) -> String {
    match letter {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\'' | '\\' => format!("\\{letter}"),
        _ if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        _ => letter.to_string(),
    }
}

/// Like sessions that start at most this many microseconds after one another are one row.
const BURST: i64 = 60_000_000;

impl Report for ExecSessionList {
    const KIND: &'static str = "ExecSessionList";
    const EMPTY: &'static str = "No sessions found.";
    type Item = Item;

    fn items(&self) -> &[Item] {
        &self.items
    }

    fn tables(&self) -> Vec<Table> {
        let row = |(first, n, longest): (&Item, usize, Option<f64>)| first.row(n, longest);
        vec![Table { columns: self.columns(), rows: self.bursts().map(row).collect() }]
    }

    fn narrow_tables(&self) -> Option<Vec<Table>> {
        let row = |(first, n, longest): (&Item, usize, Option<f64>)| first.narrow_row(n, longest);
        // Whoever asks who came in wants to see it.
        let is_resolved = self.items.iter().any(|it| it.identity.is_some());
        (!is_resolved).then(|| {
            vec![Table { columns: narrow_columns(), rows: self.bursts().map(row).collect() }]
        })
    }
}

impl ExecSessionList {
    /// The table with a row for each, also of those that are alike.
    #[must_use]
    pub fn rows(&self) -> Table {
        let rows = self.items.iter().map(|it| it.row(1, it.duration)).collect();
        Table { columns: self.columns(), rows }
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = columns();
        if self.items.iter().any(|it| it.identity.is_some()) {
            columns.insert(3, Column::text("IDENTITY"));
            columns.insert(9, Column::text("NOW"));
            columns.push(Column::text("ROLES").wide());
        }
        columns
    }

    /// The same for a narrow terminal.
    #[must_use]
    pub fn narrow_rows(&self) -> Table {
        let rows = self.items.iter().map(|it| it.narrow_row(1, it.duration)).collect();
        Table { columns: narrow_columns(), rows }
    }

    /// The first of each burst, how many it has, and how long the longest lasted.
    fn bursts(&self) -> impl Iterator<Item = (&Item, usize, Option<f64>)> {
        let is_near = |a: &Item, b: &Item| match (a.start_time, b.start_time) {
            (Some(a), Some(b)) => b.0.saturating_sub(a.0) <= BURST,
            _ => false,
        };
        self.items.chunk_by(move |a, b| a.is_like(b) && is_near(a, b)).filter_map(|burst| {
            let longest = burst.iter().filter_map(|it| it.duration).reduce(f64::max);
            burst.first().map(|first| (first, burst.len(), longest))
        })
    }
}

fn narrow_columns() -> Vec<Column> {
    vec![
        Column::text("START"),
        Column::number("LASTED"),
        Column::text("USER").shrinking_inside_to(16),
        Column::text("POD").shrinking_inside_to(16),
        Column::text("WHAT").shrinking_to(16),
    ]
}

fn columns() -> Vec<Column> {
    let column = Column::text;
    vec![
        column("START"),
        Column::number("DURATION"),
        column("USER"),
        column("TYPE"),
        column("POD"),
        column("CONTAINER"),
        column("TTY"),
        column("STATE"),
        column("COMMAND").shrinking(),
        column("BY").wide(),
        column("CLOUD-IDENTITY").wide(),
        column("FROM").wide(),
        column("TOOL").wide(),
        column("PROTOCOL").wide(),
        column("NODE").wide(),
        column("ALLOWED-BY").wide().shrinking(),
        column("AUDIT-IDS").wide(),
        column("LOG").wide(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(argv: &[&str], expected: &str) {
        let argv: Vec<String> = argv.iter().map(|&it| it.to_owned()).collect();
        assert_eq!(quoted(&argv), expected);
    }

    #[test]
    fn commands_can_be_pasted() {
        check(&["ls", "-l", "a b", ""], "ls -l 'a b' ''");
        check(&["sh", "-c", "echo it's"], r#"sh -c "echo it's""#);
        check(&["new\nline\u{1b}[2J", "\0"], r"$'new\nline\u001b[2J' $'\u0000'");
    }
}
