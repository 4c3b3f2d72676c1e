//! Asks the cluster for the container of a session that named none.

use super::super::args::SourceArgs;
use crate::{
    analysis::execs::{Item, complete_from},
    cluster::Cluster,
};

/// Pods of the cluster whose logs are read.
pub struct Containers {
    cluster: Cluster,
    /// How many more pods may be asked for: it must not take long.
    left: usize,
}

/// The most pods that are asked for in one go.
const MOST: usize = 100;

/// The largest pod that is read; etcd takes none beyond 1.5 MiB.
const LARGEST: u64 = 4 << 20;

impl Containers {
    /// Where logs are read from a cluster; a file may be of any.
    pub fn of(source: &SourceArgs) -> Option<Containers> {
        let connect = || source.nodes.cluster.connect().ok();
        source
            .paths
            .is_empty()
            .then(connect)
            .flatten()
            .map(|cluster| Containers { cluster, left: MOST })
    }

    /// From now on as many again may be asked for.
    pub fn renew(&mut self) {
        self.left = MOST;
    }

    /// Names the container, if the pod is still there and may be seen: who may not, is told
    /// `<default>`.
    pub fn complete(&mut self, item: &mut Item) {
        let (true, Some(namespace), Some(pod)) = (item.is_unnamed(), &item.namespace, &item.pod)
        else {
            return;
        };
        if self.left == 0 || !is_name(namespace) || !is_name(pod) {
            return;
        }
        self.left -= 1;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}");
        match self.cluster.get(&path, None) {
            Ok(reply) if reply.status == 200 => {
                if let Ok(text) = reply.text(LARGEST) {
                    complete_from(item, text.as_bytes());
                }
            }
            Ok(reply) if reply.status == 404 => {}
            // It would be the same with the others.
            _ => self.left = 0,
        }
    }
}

/// Whether a name from a log is one that an object can have, and no way to another path.
fn is_name(text: &str) -> bool {
    let is_part = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"-.".contains(&it);
    text.bytes().all(is_part) && text.bytes().any(|it| it.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{
            Analysis,
            execs::{ExecSessions, Question},
        },
        cluster::fake::{Server, State},
        decode::{Projection, Reader, Record},
    };

    fn session() -> Item {
        let line = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods/p/exec?command=id","verb":"get","user":{"username":"u"},"objectRef":{"resource":"pods","namespace":"a","name":"p","subresource":"exec"},"responseStatus":{"code":101},"requestReceivedTimestamp":"2026-01-01T00:00:00Z","stageTimestamp":"2026-01-01T00:00:00Z"}"#;
        let mut projection = Projection::default();
        let mut sessions = ExecSessions::new(Question::default(), &mut projection);
        let mut found = Vec::new();
        let head = Reader::new(&projection).read(line, &mut found).expect("an event");
        sessions.observe(&Record::new("l", line, head, &projection, &found));
        sessions.finish().items.remove(0)
    }

    #[track_caller]
    fn check(status: u16, created: &str, expected: Option<&str>) {
        let server = Server::start(State::default());
        let pod = format!(
            r#"{{"metadata":{{"creationTimestamp":"{created}"}},"spec":{{"containers":[{{"name":"app"}}]}}}}"#
        );
        server.answer("/api/v1/namespaces/a/pods/p", status, &pod);
        let mut item = session();
        Containers { cluster: server.cluster(), left: MOST }.complete(&mut item);
        assert_eq!(item.container.as_deref(), expected);
    }

    #[test]
    fn the_pod_of_the_cluster() {
        check(200, "2025-12-31T00:00:00Z", Some("app"));
        check(200, "2026-01-02T00:00:00Z", None);
        check(404, "2025-12-31T00:00:00Z", None);
        check(403, "2025-12-31T00:00:00Z", None);
    }

    #[test]
    fn names() {
        for name in ["web-0", "a.b", "7"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a?b", "A", "a%2fb", "a\n"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
