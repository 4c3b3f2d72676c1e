//! Audit logs on control-plane nodes, read through the API server's node proxy.

use std::thread;

mod copy;
mod error;
mod file;
mod flags;
mod folder;
mod listing;
mod plan;
mod search;
mod seek;
#[cfg(test)]
mod tests;

pub use copy::Copied;
pub use error::NodeLogError;
pub use file::NodeFile;
pub(super) use listing::names as listed;
pub use plan::Span;
pub use search::{ApiServer, api_servers, audit_flags};
pub(super) use seek::{SLACK, lower_bound};

use super::{Follow, Found, Input, Log, Place, SourceError, rotation, rotation::Rotated};
use crate::cluster::Cluster;
pub use crate::cluster::Run;
use folder::{NodeFolder, NodeLogs};
use search::{LogPath, log_paths};

/// Which logs of a cluster.
#[derive(Debug, Clone, Default)]
pub struct NodeQuery {
    /// The nodes; empty for all of the control plane.
    pub nodes: Vec<String>,
    /// Where the log is on each of them; looked for if absent.
    pub log_path: Option<String>,
    /// What need not be read.
    pub span: Span,
}

/// Finds the audit logs of a cluster, each with the end it has now.
///
/// # Errors
/// If the nodes cannot be found.
pub fn find(cluster: &Cluster, query: &NodeQuery) -> Result<Found, NodeLogError> {
    let servers = api_servers(cluster, &query.nodes)?;
    let look = |server: &ApiServer| {
        let logs = NodeLogs { cluster: cluster.clone(), node: server.node.clone() };
        let paths = log_paths(&logs, server, query.log_path.as_deref())?;
        let log = |path: &LogPath| log(&logs, path, query.span);
        paths.iter().map(log).collect::<Result<Vec<_>, _>>()
    };
    // A node answers after a few round trips: all at once.
    let answers: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = servers.iter().map(|it| scope.spawn(|| look(it))).collect();
        all.into_iter().map(|it| it.join().expect("looking does not panic")).collect()
    });
    let mut found = Found::default();
    for answer in answers {
        match answer {
            Ok(logs) => found.logs.extend(logs),
            Err(err) => found.failed.push(SourceError::Node(err)),
        }
    }
    Ok(found)
}

/// The logs of a cluster, to be followed; and the nodes that cannot be.
///
/// # Errors
/// If the nodes cannot be found.
pub fn follow(
    cluster: &Cluster,
    query: &NodeQuery,
) -> Result<(Vec<Follow>, Vec<SourceError>), NodeLogError> {
    let (mut follows, mut failed) = (Vec::new(), Vec::new());
    for server in api_servers(cluster, &query.nodes)? {
        let logs = NodeLogs { cluster: cluster.clone(), node: server.node.clone() };
        match log_paths(&logs, &server, query.log_path.as_deref()) {
            Ok(paths) => follows.extend(paths.into_iter().map(|path| {
                let name = path.log_name(&logs.node);
                let folder = NodeFolder { logs: logs.clone(), folder: path.folder };
                let mut follow = Follow::new(Box::new(folder), name, path.live, query.span.since);
                follow.is_remote = true;
                follow
            })),
            Err(err) => failed.push(SourceError::Node(err)),
        }
    }
    Ok((follows, failed))
}

fn log(logs: &NodeLogs, path: &LogPath, span: Span) -> Result<Log, NodeLogError> {
    let inputs = plan::files(logs, &path.folder, &path.live, span)?;
    let input = |it: NodeFile| Input {
        name: format!("{}:{}", it.node(), it.path()),
        place: Place::Node(it),
    };
    Ok(Log { name: path.log_name(&logs.node), inputs: inputs.into_iter().map(input).collect() })
}
