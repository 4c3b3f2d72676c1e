//! What the API server counts of its own auditing.

use serde::Serialize;

use super::Cluster;

/// A number of `/metrics`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    pub name: String,
    pub labels: String,
    pub value: f64,
}

/// More is no answer of an API server.
pub const MAX_REPLY: u64 = 64 << 20;

/// The numbers about auditing in a reply to `/metrics`.
pub fn of_auditing(text: &str) -> Vec<Metric> {
    text.lines().filter_map(metric).collect()
}

impl Cluster {
    /// What the API server that answers counts of auditing; `None` if it does not let us see it.
    pub fn audit_metrics(&self) -> Option<Vec<Metric>> {
        let reply = self.get("/metrics", None).ok().filter(|it| it.status == 200)?;
        reply.text(MAX_REPLY).ok().map(|it| of_auditing(&it))
    }
}

fn metric(line: &str) -> Option<Metric> {
    let line = line.strip_prefix("apiserver_audit_")?;
    let (key, value) = line.rsplit_once(' ')?;
    let (name, labels) = key.split_once('{').unwrap_or((key, ""));
    Some(Metric {
        name: format!("apiserver_audit_{name}"),
        labels: labels.trim_end_matches('}').to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics() {
        let read = |line| metric(line).map(|it| (it.name, it.labels, it.value));
        let expected = ("apiserver_audit_level_total".into(), "level=\"None\"".into(), 12.0);
        assert_eq!(read("apiserver_audit_level_total{level=\"None\"} 12"), Some(expected));
        assert_eq!(read("apiserver_request_total 3"), None);
        assert_eq!(read("# HELP apiserver_audit_event_total x"), None);
    }
}
