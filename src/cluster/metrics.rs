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

/// What an API server itself says when it is asked at its own address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// Its clock, in whole seconds.
    pub date: Option<jiff::Timestamp>,
    pub metrics: Vec<Metric>,
    /// Why the metrics are unknown.
    pub unknown: Option<String>,
}

impl Cluster {
    /// Asks this API server. Call it only on a connection that leads to one server and to no balancer.
    pub fn own(&self) -> Own {
        let unknown = |why: String| Own { unknown: Some(why), ..Own::default() };
        let reply = match self.get("/metrics", None) {
            Ok(reply) => reply,
            Err(err) => return unknown(format!("cannot read metrics: {err}")),
        };

        let date = reply.date.as_deref().and_then(|it| jiff::fmt::rfc2822::parse(it).ok());
        let date = date.map(|it| it.timestamp());
        match reply.status {
            200 => match reply.text(MAX_REPLY) {
                Ok(text) => Own { date, metrics: of_auditing(&text), unknown: None },
                Err(err) => unknown(format!("cannot read metrics: {err}")),
            },
            403 => Own { date, ..unknown("may not get /metrics".to_owned()) },
            status => Own { date, ..unknown(format!("cannot read metrics: status {status}")) },
        }
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
