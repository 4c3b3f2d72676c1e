//! The requests with which this program reads logs from nodes.

use memchr::memmem::Finder;

use crate::decode::Record;

/// Tells our own requests for node logs from all others.
///
/// Anybody may call himself as we do, so nothing is left out but reading: what such a request does
/// is what we do ourselves.
pub(super) struct Own {
    agent: &'static str,
    /// Finds the lines that are worth reading as a whole.
    mention: Finder<'static>,
}

impl Own {
    pub(super) fn by(agent: &'static str) -> Own {
        let field = format!("\"userAgent\":\"{agent}");
        Own { agent, mention: Finder::new(field.as_bytes()).into_owned() }
    }

    pub(super) fn is_own(&self, record: &Record<'_>) -> bool {
        if self.mention.find(record.line()).is_none() {
            return false;
        }
        let Some(event) = record.event() else { return false };
        let below =
            event.request_uri.strip_prefix("/api/v1/nodes/").and_then(|it| it.split_once('/'));
        let file = below.and_then(|(_, it)| it.strip_prefix("proxy/logs/"));
        let is_log = file.is_some_and(|it| !it.contains('?') && !it.contains(".."));
        event.user_agent.starts_with(self.agent) && event.verb == "get" && is_log
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Head, Projection};

    #[track_caller]
    fn check(agent: &str, verb: &str, uri: &str, expected: bool) {
        let line = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","user":{{"username":"u"}},"userAgent":"{agent}","requestReceivedTimestamp":"2026-01-01T00:00:00Z","stageTimestamp":"2026-01-01T00:00:00Z"}}"#
        );
        let projection = Projection::default();
        let record = Record::new("log", line.as_bytes(), Head::default(), &projection, &[]);
        assert_eq!(Own::by("us/").is_own(&record), expected, "{line}");
    }

    const LOG: &str = "/api/v1/nodes/cp-1/proxy/logs/audit.log";

    #[test]
    fn ours() {
        check("us/1.0", "get", LOG, true);
    }
    #[test]
    fn not_ours() {
        check("kubectl/1.36", "get", LOG, false);
        check("us/1.0", "get", "/api/v1/namespaces/shop/secrets", false);
        check("us/1.0", "create", LOG, false);
        check(
            "us/1.0",
            "get",
            "/api/v1/nodes/cp-1/proxy/exec/a/b/c?command=id&x=/proxy/logs/",
            false,
        );
        check("us/1.0", "get", "/api/v1/nodes/cp-1/proxy/exec/a/b/proxy/logs/", false);
        check("us/1.0", "get", "/api/v1/nodes/cp-1/proxy/logs/../exec/a/b", false);
        check("us/1.0", "get", "/api/v1/nodes/cp-1/proxy/logs/?query=kubelet", false);
    }
}
