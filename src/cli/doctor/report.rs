//! What is known of a cluster's auditing, as a report.

use serde::Serialize;

use crate::{
    cluster::metrics::Metric,
    report::{Cell, Column, Report, Table},
};

/// How auditing is set up.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditSetup {
    pub server: String,
    pub servers: Vec<ServerSetup>,
    pub findings: Vec<Finding>,
}

/// One API server.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerSetup {
    pub node: String,
    /// Whether the flags are known: they are in the manifest of its pod.
    pub is_known: bool,
    /// Its `--audit-…` flags.
    pub flags: Vec<Flag>,
    pub policy_file: Option<String>,
    pub webhook: bool,
    /// On the host.
    pub log_path: Option<String>,
    /// Whether the node serves the log to us; if not, why.
    pub is_served: bool,
    pub error: Option<String>,
    /// Of the log with its rotated files.
    pub bytes: u64,
    pub files: u64,
    /// How many hours the files go back.
    pub hours: Option<f64>,
    /// The age of the newest event, in seconds.
    pub newest_age: Option<f64>,
    /// How far our clock is before this server's, in seconds.
    pub clock_skew: Option<f64>,
    /// What this server counts itself; `None` if it could not be asked.
    pub metrics: Option<Vec<Metric>>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flag {
    pub name: String,
    pub value: String,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub severity: &'static str,
    /// Absent where it is about the whole cluster.
    pub node: Option<String>,
    pub message: String,
    pub hint: String,
}

impl Report for AuditSetup {
    const KIND: &'static str = "AuditSetup";
    const EMPTY: &'static str = "No API server found.";
    type Item = ServerSetup;

    fn items(&self) -> &[ServerSetup] {
        &self.servers
    }

    fn tables(&self) -> Vec<Table> {
        let text = |it: &str| if it.is_empty() { Cell::None } else { Cell::from(it) };
        let servers = self.servers.iter().map(|it| {
            let flag = |value: Cell| match it.unknown.first().filter(|_| !it.is_known) {
                Some(why) => Cell::from(format!("unknown: {why}")),
                None => value,
            };
            vec![
                text(&it.node),
                text(it.log_path.as_deref().unwrap_or_default()),
                flag(text(it.policy_file.as_deref().unwrap_or_default())),
                if it.is_known {
                    text(if it.webhook { "yes" } else { "no" })
                } else {
                    text("unknown")
                },
                text(if it.is_served { "yes" } else { "no" }),
                Cell::Number(it.files),
                Cell::Number(it.bytes),
                it.hours.map_or(Cell::None, |it| Cell::from(format!("{it:.1}"))),
                it.newest_age.map_or(Cell::None, |it| Cell::from(format!("{it:.0} s"))),
            ]
        });
        let findings = self.findings.iter().map(|it| {
            vec![
                text(it.severity),
                text(it.node.as_deref().unwrap_or_default()),
                text(it.id),
                text(&it.message),
                text(&it.hint),
            ]
        });
        let mut tables = vec![Table {
            columns: vec![
                Column::text("NODE"),
                Column::text("LOG"),
                Column::text("POLICY"),
                Column::text("WEBHOOK"),
                Column::text("SERVED"),
                Column::number("FILES"),
                Column::number("BYTES"),
                Column::number("HOURS"),
                Column::number("NEWEST"),
            ],
            rows: servers.collect(),
        }];
        if !self.findings.is_empty() {
            tables.push(Table {
                columns: vec![
                    Column::text("SEVERITY"),
                    Column::text("NODE"),
                    Column::text("FINDING"),
                    Column::text("MESSAGE"),
                    Column::text("WHAT TO DO"),
                ],
                rows: findings.collect(),
            });
        }
        tables
    }
}
