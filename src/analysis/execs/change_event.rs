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
    source: Source<'a>,
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
struct Source<'a> {
    tool: &'a str,
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
    /// Not in kubechronicle, which keeps no refused attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> From<&'a Item> for ChangeEvent<'a> {
    fn from(item: &'a Item) -> ChangeEvent<'a> {
        // Who acted is who authenticated; kubechronicle does not read whom they acted as.
        let user = &item.user;
        let is_node = item.kind.starts_with("node-");
        let text = |it: &'a Option<String>| it.as_deref().unwrap_or_default();
        let (kind, namespace, name) = match &item.service {
            _ if is_node => ("Node", "", text(&item.node)),
            Some(service) => ("services", text(&item.namespace), service.as_str()),
            None => ("pods", text(&item.namespace), text(&item.pod)),
        };
        // kubechronicle counts nanoseconds; in 128 bits no time of a log is too far.
        let nanos = item.start_time.map_or(0, |it| i128::from(it.0) * 1000);
        let username = user.username.as_str();
        let is_service_account = username.starts_with("system:serviceaccount:");
        let is_refused = matches!(item.state, State::Denied | State::Failed);
        ChangeEvent {
            id: format!("EXEC-{kind}-{name}-{username}-{nanos}"),
            timestamp: item.start_time,
            operation: "EXEC",
            resource_kind: kind,
            namespace,
            name,
            actor: Actor {
                username,
                groups: &user.groups,
                service_account: Some(username).filter(|_| is_service_account),
                source_ip: item.source_ips.first().map_or("", String::as_str),
            },
            source: Source {
                // The same words, but no tool is called kubectl that does not say so.
                tool: match &item.tool {
                    _ if is_service_account => "controller",
                    _ if username.starts_with("system:") => "system",
                    Some(tool) => &tool.name,
                    None => "unknown",
                },
            },
            allowed: !is_refused,
            exec_metadata: ExecMetadata {
                command: &item.command,
                container: item.container.as_deref(),
                stdin: item.stdin == Some(true),
                tty: item.tty == Some(true),
                target_type: if is_node { "node" } else { "pod" },
                node_name: item.node.as_deref(),
                code: item.code.filter(|_| is_refused),
                reason: item.reason.as_deref().filter(|_| is_refused),
            },
        }
    }
}
