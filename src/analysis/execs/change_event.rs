//! Sessions in the shape of kubechronicle's ChangeEvent, for its table and its readers.

use serde::Serialize;

use super::report::Item;
use crate::{analysis::execs::State, event::Timestamp};

/// A ChangeEvent; empty texts and lists are left out where kubechronicle leaves them out.
#[derive(Debug, Serialize)]
pub struct ChangeEvent<'a> {
    id: String,
    timestamp: Option<Timestamp>,
    operation: &'static str,
    resource_kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    actor: Actor<'a>,
    source: Source,
    allowed: bool,
    exec_metadata: ExecMetadata<'a>,
}

#[derive(Debug, Serialize)]
struct Actor<'a> {
    username: &'a str,
    groups: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<&'a str>,
    source_ip: &'a str,
}

#[derive(Debug, Serialize)]
struct Source {
    tool: String,
}

#[derive(Debug, Serialize)]
struct ExecMetadata<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'a str>,
    stdin: bool,
    tty: bool,
    target_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_name: Option<&'a str>,
}

impl<'a> From<&'a Item> for ChangeEvent<'a> {
    fn from(item: &'a Item) -> ChangeEvent<'a> {
        let user = item.impersonated_user.as_ref().unwrap_or(&item.user);
        let is_node = item.kind.starts_with("node-");
        let text = |it: &'a Option<String>| it.as_deref().unwrap_or_default();
        let (kind, id_kind, namespace, name) = match &item.service {
            _ if is_node => ("Node", "nodes", "", text(&item.node)),
            Some(service) => ("Service", "services", text(&item.namespace), service.as_str()),
            None => ("Pod", "pods", text(&item.namespace), text(&item.pod)),
        };
        // kubechronicle counts nanoseconds; in 128 bits no time of a log is too far.
        let nanos = item.start_time.map_or(0, |it| i128::from(it.0) * 1000);
        let username = user.username.as_str();
        ChangeEvent {
            id: format!("EXEC-{id_kind}-{name}-{username}-{nanos}"),
            timestamp: item.start_time,
            operation: "EXEC",
            resource_kind: kind,
            namespace,
            name,
            actor: Actor {
                username,
                groups: &user.groups,
                service_account: Some(username)
                    .filter(|it| it.starts_with("system:serviceaccount:")),
                source_ip: item.source_ips.first().map_or("", String::as_str),
            },
            source: Source {
                tool: item.tool.as_ref().map_or("unknown".to_owned(), |it| it.name.clone()),
            },
            allowed: item.state != State::Denied,
            exec_metadata: ExecMetadata {
                command: &item.command,
                container: item.container.as_deref(),
                stdin: item.stdin == Some(true),
                tty: item.tty == Some(true),
                target_type: if is_node { "node" } else { "pod" },
                node_name: item.node.as_deref(),
            },
        }
    }
}
