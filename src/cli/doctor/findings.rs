//! What is wrong with a setup, in the words of the CIS Kubernetes Benchmark where it has them.

use std::collections::BTreeSet;

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
    if server.is_known && flag("audit-log-path").is_none() {
        if let Some(path) = &server.log_path {
            let message =
                format!("`{path}` is there, but this server does not write it: it is old");
            add(
                "stale-log",
                "warning",
                message,
                "set --audit-log-path; do not take it for what happens now",
            );
        } else if server.webhook {
            let message = "events go to the webhook only: there is no log on the node".to_owned();
            let hint = "read them where the receiver of --audit-webhook-config-file keeps them, and give the files; \
                        or set --audit-log-path too";
            add("webhook-only", "info", message, hint);
        }
    }
    for why in &server.unknown {
        let hint = "grant it (docs/guide/doctor.md), or ask as somebody who may; what is unknown may be wrong";
        add("unknown", "warning", format!("unknown: {why}"), hint);
    }
    if let Some(skew) = server.clock_skew.filter(|it| it.abs() > 5.0) {
        // Its clock is told in whole seconds.
        let message = format!("this machine's clock and this API server's differ by {skew:.0} s");
        let hint = "--since 10m counts back from this machine's clock: give a time instead";
        add("clock-skew", "warning", message, hint);
    }
    let lost = server.metrics.iter().flatten().filter(|it| {
        it.name.ends_with("error_total") || it.name.ends_with("requests_rejected_total")
    });
    let lost: f64 = lost.map(|it| it.value).sum();
    if lost > 0.0 {
        // A body that is no JSON fails its event: server-side apply takes YAML.
        let message = format!(
            "this API server counts {lost} events that were not written, or requests refused for it, since it started"
        );
        let hint = "look for a full disk, a webhook that does not answer, or server-side apply in YAML, \
                    which no event at level Request can hold";
        add("lost-events", "error", message, hint);
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

/// Flags that servers of one cluster have in different ways: what is recorded depends on who is asked.
pub fn differences(servers: &[ServerSetup]) -> Vec<Finding> {
    let known: Vec<&ServerSetup> = servers.iter().filter(|it| it.is_known).collect();
    let names: BTreeSet<&str> =
        known.iter().flat_map(|it| &it.flags).map(|it| it.name.as_str()).collect();
    let value = |server: &ServerSetup, name: &str| {
        let flag = server.flags.iter().find(|it| it.name == name);
        flag.map_or_else(|| "not set".to_owned(), |it| it.value.clone())
    };

    let mut findings = Vec::new();
    for name in names {
        let values: Vec<String> = known.iter().map(|it| value(it, name)).collect();
        if values.windows(2).all(|pair| pair[0] == pair[1]) {
            continue;
        }
        let shown: Vec<String> =
            known.iter().zip(&values).map(|(it, value)| format!("{}: {value}", it.node)).collect();
        findings.push(Finding {
            id: "servers-differ",
            severity: "warning",
            node: None,
            message: format!("--{name} is not the same everywhere: {}", shown.join(", ")),
            hint: "give all API servers the same audit flags and policy".to_owned(),
        });
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
    fn what_is_unknown_is_a_finding() {
        let unknown = vec!["may not list pods".to_owned()];
        let found = of(&ServerSetup { unknown, ..ServerSetup::default() });
        assert_eq!(found[0].message, "unknown: may not list pods");
    }
    #[test]
    fn an_old_log_is_not_what_happens_now() {
        let log_path = Some("/var/log/audit.log".to_owned());
        let found = of(&ServerSetup { is_known: true, log_path, ..ServerSetup::default() });
        assert!(found.iter().any(|it| it.id == "stale-log"));
    }
    #[test]
    fn servers_differ() {
        let server = |node: &str, value: &str| ServerSetup {
            node: node.to_owned(),
            is_known: true,
            flags: vec![Flag { name: "audit-log-maxage".into(), value: value.into() }],
            ..ServerSetup::default()
        };
        let found = differences(&[server("cp-1", "30"), server("cp-2", "7")]);
        let expected = "--audit-log-maxage is not the same everywhere: cp-1: 30, cp-2: 7";
        assert_eq!(found[0].message, expected);
        assert_eq!(differences(&[server("cp-1", "30"), server("cp-2", "30")]), []);
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
        check("audit-policy-file=/p audit-webhook-config-file=/w", "webhook-only");
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
