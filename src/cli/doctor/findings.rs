//! What is wrong with a setup, in the words of the CIS Kubernetes Benchmark where it has them.

use super::report::{Finding, ServerSetup};

/// What the benchmark asks of rotation: flag, at least, and its name there.
const ROTATION: [(&str, u64, &str, &str); 3] = [
    ("audit-log-maxage", 30, "CIS-1.2.17", "days"),
    ("audit-log-maxbackup", 10, "CIS-1.2.18", "rotated files"),
    ("audit-log-maxsize", 100, "CIS-1.2.19", "MB a file"),
];

/// The findings about one API server.
pub fn of(server: &ServerSetup) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |id, severity, message: String, hint: &str| {
        let node = Some(server.node.clone());
        findings.push(Finding { id, severity, node, message, hint: hint.to_owned() });
    };
    let flag =
        |name: &str| server.flags.iter().find(|it| it.name == name).map(|it| it.value.as_str());
    if server.is_known {
        let path = flag("audit-log-path");
        if path.is_none() && !server.webhook {
            let message =
                "no audit backend: neither --audit-log-path nor --audit-webhook-config-file";
            add(
                "CIS-1.2.16",
                "error",
                message.into(),
                "set --audit-log-path, and mount its folder from the host",
            );
        }
        if server.policy_file.is_none() {
            let message = "no --audit-policy-file: nothing is audited";
            add(
                "CIS-3.2.1",
                "error",
                message.into(),
                "write an audit policy and set --audit-policy-file",
            );
        }
        if path.is_some() {
            for (name, least, id, unit) in ROTATION {
                let value = flag(name).and_then(|it| it.parse::<u64>().ok());
                if value.is_none_or(|it| it < least && it != 0) {
                    let is = value.map_or("not set".to_owned(), |it| it.to_string());
                    let hint = format!("set --{name}={least} or more");
                    add(
                        id,
                        "warning",
                        format!("--{name} is {is}; the benchmark asks for {least} {unit}"),
                        &hint,
                    );
                }
            }
        }
        if flag("audit-log-truncate-enabled") == Some("true") {
            let message =
                "large events lose their bodies (--audit-log-truncate-enabled)".to_owned();
            add(
                "truncating",
                "info",
                message,
                "raise --audit-log-truncate-max-event-size if bodies matter",
            );
        }
        if flag("audit-log-format") == Some("legacy") {
            let message = "the log is in the legacy text format".to_owned();
            add("legacy-format", "warning", message, "set --audit-log-format=json");
        }
    }
    if server.is_served
        && let Some(hours) = server.hours
        && hours < 24.0
        && server.files > 1
    {
        let message = format!("the log goes back {hours:.1} hours only");
        add(
            "short-history",
            "warning",
            message,
            "raise --audit-log-maxbackup, log less, or collect the log elsewhere",
        );
    }
    if let Some(error) = &server.error {
        add("not-readable", "error", error.clone(), "`kubectl audit stats --node` tells more");
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::report::Flag;

    #[track_caller]
    fn check(flags: &str, expected: &str) {
        let all = flags;
        let flags: Vec<Flag> = all
            .split_whitespace()
            .map(|it| it.split_once('=').unwrap())
            .map(|(name, value)| Flag { name: name.into(), value: value.into() })
            .collect();
        let policy_file =
            flags.iter().find(|it| it.name == "audit-policy-file").map(|it| it.value.clone());
        let webhook = flags.iter().any(|it| it.name == "audit-webhook-config-file");
        let server =
            ServerSetup { is_known: true, flags, policy_file, webhook, ..ServerSetup::default() };
        let ids: Vec<_> = of(&server).iter().map(|it| it.id).collect();
        assert_eq!(ids.join(" "), expected, "{all}");
    }

    #[test]
    fn off() {
        check("", "CIS-1.2.16 CIS-3.2.1");
    }
    #[test]
    fn half() {
        check("audit-log-path=/a", "CIS-3.2.1 CIS-1.2.17 CIS-1.2.18 CIS-1.2.19");
        check("audit-policy-file=/p", "CIS-1.2.16");
    }
    #[test]
    fn webhook_only() {
        check("audit-policy-file=/p audit-webhook-config-file=/w", "");
    }
    #[test]
    fn whole() {
        let rotation = "audit-log-maxage=30 audit-log-maxbackup=10 audit-log-maxsize=100";
        check(&format!("audit-policy-file=/p audit-log-path=/a {rotation}"), "");
        check(
            &format!("audit-policy-file=/p audit-log-path=/a {rotation} audit-log-format=legacy"),
            "legacy-format",
        );
    }
    #[test]
    fn small_values() {
        check(
            "audit-policy-file=/p audit-log-path=/a audit-log-maxage=7 audit-log-maxbackup=0 audit-log-maxsize=1",
            "CIS-1.2.17 CIS-1.2.19",
        );
    }
}
