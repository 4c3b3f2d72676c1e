//! Audit logs on control-plane nodes, read through the API server's node proxy.

use std::{sync::Arc, thread, time::Duration};

mod copy;
mod error;
mod file;
mod flags;
mod folder;
#[cfg(test)]
mod hostile_tests;
mod listing;
mod own;
mod plan;
mod search;
#[cfg(test)]
mod tests;

pub use copy::Copied;
pub use error::NodeLogError;
pub use file::NodeFile;
pub(super) use listing::names as listed;
pub use own::own;
pub use search::{ApiServer, api_servers, audit_flags, own_address};

use super::{
    Follow, Found, Input, Log, Place, SourceError, follow::Remote, rotation, rotation::Rotated,
};
pub use crate::cluster::Run;
use crate::{cluster::Cluster, event::Window};
use folder::{NodeFolder, NodeLogs};
use search::{LogPath, log_paths};

/// Which logs of a cluster.
#[derive(Debug, Clone)]
pub struct NodeQuery {
    /// The nodes; empty for all of the control plane.
    pub nodes: Vec<String>,
    /// Where the log is on each of them; looked for if absent.
    pub log_path: Option<String>,
    /// What lies outside need not be read.
    pub window: Window,
    /// How long a node may send nothing.
    pub timeout: Duration,
}

impl Default for NodeQuery {
    fn default() -> NodeQuery {
        let (nodes, log_path, window) = (Vec::new(), None, Window::default());
        NodeQuery { nodes, log_path, window, timeout: Duration::from_secs(30) }
    }
}

/// Finds the audit logs of a cluster, each with the end it has now.
///
/// # Errors
/// If the nodes cannot be found.
pub fn find(cluster: &Cluster, query: &NodeQuery) -> Result<Found, NodeLogError> {
    let servers = api_servers(cluster, &query.nodes)?;
    let look = |server: &ApiServer| {
        let is_silent = Some(Arc::default());
        let logs = NodeLogs::new(cluster, &server.node, query.timeout, is_silent)?;
        let paths = log_paths(&logs, server, query.log_path.as_deref())?;
        let log = |path: &LogPath| log(&logs, path, query.window);
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

/// The logs of a cluster, to be followed with a look at each `interval`; and the nodes that cannot be.
///
/// # Errors
/// If the nodes cannot be found.
pub fn follow(
    cluster: &Cluster,
    query: &NodeQuery,
    interval: Duration,
) -> Result<(Vec<Follow>, Vec<SourceError>), NodeLogError> {
    let servers = api_servers(cluster, &query.nodes)?;
    let look = |server: &ApiServer| {
        let logs = NodeLogs::new(cluster, &server.node, query.timeout, None)?;
        let paths = log_paths(&logs, server, query.log_path.as_deref())?;
        Ok(paths.into_iter().map(|path| (logs.clone(), path)).collect::<Vec<_>>())
    };
    // A node that hangs does not keep the others waiting for longer than itself.
    let answers: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = servers.iter().map(|it| scope.spawn(|| look(it))).collect();
        all.into_iter().map(|it| it.join().expect("looking does not panic")).collect()
    });

    let (mut follows, mut failed) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(logs) => follows.extend(logs.into_iter().map(|(logs, path)| {
                let (name, node) = (path.log_name(&logs.node), logs.node.clone());
                let folder = NodeFolder { logs, folder: path.folder };
                let user_agent = cluster.run().user_agent().to_owned();
                let remote = Remote { node, interval, user_agent };
                Follow::new(Box::new(folder), name, path.live, query.window.since).on_node(remote)
            })),
            Err(err) => failed.push(SourceError::Node(err)),
        }
    }
    Ok((follows, failed))
}

fn log(logs: &NodeLogs, path: &LogPath, window: Window) -> Result<Log, NodeLogError> {
    let inputs = plan::files(logs, &path.folder, &path.live, window)?;
    let input = |it: NodeFile| Input {
        name: format!("{}:{}", it.node(), it.path()),
        place: Place::Node(it),
    };
    Ok(Log { name: path.log_name(&logs.node), inputs: inputs.into_iter().map(input).collect() })
}
