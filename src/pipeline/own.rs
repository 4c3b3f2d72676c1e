//! The requests with which this run reads logs from nodes.

use memchr::memmem::Finder;

use crate::{decode::Record, event::uri, source::node::Run};

/// Tells this run's requests for node logs from all others.
///
/// Anybody may call himself as we do, also by copying the name out of the log. So a request counts as
/// ours only if it reads, and reads a file or listing that this run asked for: whoever imitates that
/// hides nothing but reading an audit log.
pub(super) struct Own {
    run: Run,
    /// Finds the lines that are worth reading as a whole.
    mention: Finder<'static>,
}

impl Own {
    pub(super) fn of_run(run: Run) -> Own {
        let field = format!("\"userAgent\":\"{}\"", run.user_agent());
        Own { run, mention: Finder::new(field.as_bytes()).into_owned() }
    }

    pub(super) fn is_own(&self, record: &Record<'_>) -> bool {
        if self.mention.find(record.line()).is_none() {
            return false;
        }
        let Some(event) = record.event() else { return false };
        event.user_agent == self.run.user_agent()
            && event.verb == "get"
            && self.has_asked(&event.request_uri)
    }

    /// Whether this run asked for what the URI leads to.
    ///
    /// What it asks for has no query, and no `.`, `..` or empty segment. A URI with one of these is
    /// never ours, however its escapes hide it and wherever it leads after how many proxies: then
    /// nobody has to know how often each of them decodes.
    fn has_asked(&self, request_uri: &str) -> bool {
        let path = uri::decoded_path(request_uri);
        !request_uri.contains('?') && self.run.has_asked(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Head, Projection};

    const LOG: &str = "/api/v1/nodes/cp-1/proxy/logs/audit.log";
    const LISTING: &str = "/api/v1/nodes/cp-1/proxy/logs/";

    fn run() -> Run {
        let run = Run::default();
        run.ask(LOG);
        run.ask(LISTING);
        run
    }

    fn is_own(run: &Run, agent: &str, verb: &str, uri: &str) -> bool {
        let line = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","user":{{"username":"u"}},"userAgent":"{agent}","requestReceivedTimestamp":"2026-01-01T00:00:00Z","stageTimestamp":"2026-01-01T00:00:00Z"}}"#
        );
        let projection = Projection::default();
        let record = Record::new("log", line.as_bytes(), Head::default(), &projection, &[]);
        Own::of_run(run.clone()).is_own(&record)
    }

    #[track_caller]
    fn check(uri: &str, expected: bool) {
        let run = run();
        assert_eq!(is_own(&run, run.user_agent(), "get", uri), expected, "{uri}");
    }

    #[test]
    fn reads_of_what_was_asked_for() {
        check(LOG, true);
        check(LISTING, true);
        check("/api/v1/nodes/cp-1/proxy/logs/%61udit.log", true);
    }
    #[test]
    fn other_files_are_shown() {
        check("/api/v1/nodes/cp-2/proxy/logs/audit.log", false);
        check("/api/v1/nodes/cp-1/proxy/logs/containers/web.log", false);
        check("/api/v1/nodes/cp-1/proxy/logs/audit.log.1", false);
        check("/api/v1/namespaces/shop/secrets", false);
        check("/api/v1/nodes/cp-1/proxy/logs/?query=kubelet", false);
        check("/api/v1/nodes/cp-1/proxy/logs/audit.log?x", false);
    }
    #[test]
    fn hidden_ways_are_shown() {
        for way in ["portForward/a/b", "containerLogs/a/b/c", "configz", "exec/a/b/c"] {
            for dots in ["..", "%2e%2e", "%2E.", "%252e%252e", "%25252e%2e"] {
                check(&format!("/api/v1/nodes/cp-1/proxy/logs/{dots}/{way}"), false);
                // Cleaned too early, this would be the log; the kubelet sees `exec`.
                check(&format!("/api/v1/nodes/cp-1/proxy/exec/{dots}/logs/audit.log"), false);
            }
        }
        check("/api/v1/nodes/cp-1/proxy/logs//audit.log", false);
        check("/api/v1/nodes/cp-1/proxy/logs/%2fetc/shadow", false);
    }
    #[test]
    fn others_are_shown() {
        let run = run();
        let other = Run::default();
        for agent in ["kubectl/1.36", "kubectl-audit/0.1.0", other.user_agent()] {
            assert!(!is_own(&run, agent, "get", LOG), "{agent}");
        }
        let longer = format!("{} and more", run.user_agent());
        assert!(!is_own(&run, &longer, "get", LOG));
        assert!(!is_own(&run, run.user_agent(), "create", LOG));
        assert!(!is_own(&other, other.user_agent(), "get", LOG), "not asked for");
    }

    proptest::proptest! {
        /// However a path is written: it is left out only if every reading of it is the log.
        #[test]
        fn no_encoding_hides_another_path(
            segments in proptest::collection::vec(
                "\\.|\\.\\.||logs|audit\\.log|exec|configz|portForward|[a-z%.]{1,3}", 0..6),
            rounds in proptest::collection::vec(0..4_u8, 32),
        ) {
            let below = segments.join("/");
            let escaped: String = below.bytes().enumerate().map(|(at, byte)| match rounds[at % 32] {
                0 => char::from(byte).to_string(),
                1 => format!("%{byte:02x}"),
                2 => format!("%25{byte:02X}"),
                _ => format!("%2525{byte:02x}"),
            }).collect();
            let run = run();
            let uri = format!("/api/v1/nodes/cp-1/proxy/{escaped}");
            if is_own(&run, run.user_agent(), "get", &uri) {
                let mut seen = uri.clone();
                for _ in 0..4 {
                    let canonical = uri::canonical_path(&seen).into_owned();
                    proptest::prop_assert!([LOG, LISTING].contains(&&*canonical), "{} {}", uri, seen);
                    seen = uri::split(&seen).0.into_owned();
                }
            } else {
                let plain = format!("/api/v1/nodes/cp-1/proxy/{below}");
                proptest::prop_assert!(![LOG, LISTING].contains(&&*plain));
            }
        }
    }
}
