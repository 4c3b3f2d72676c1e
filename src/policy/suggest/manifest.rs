//! A plan as a file for `--audit-policy-file`.

use std::fmt::Write;

use super::{Explained, Loss, Plan, Saved};
use crate::policy::GroupResources;

/// The plan as YAML, with `head` as comments before it, a line each.
///
/// Text that comes from a log is quoted as JSON, which YAML reads as it is.
pub fn manifest(plan: &Plan, head: &[String]) -> String {
    let mut yaml = String::new();
    for line in head {
        // No line of a comment may end it.
        let line: String = line.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        yaml += &format!("# {line}\n");
    }
    yaml += "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
    if plan.omit_arrivals {
        let saves = saved(plan.brought(|it| *it == Loss::Arrivals));
        yaml += &format!(
            "# Every request is logged when it ends{saves}.\nomitStages: [RequestReceived]\n"
        );
    }
    if plan.omit_managed {
        let saves = saved(plan.brought(|it| *it == Loss::ManagedFields));
        yaml += &format!("# Bookkeeping of server-side apply{saves}.\nomitManagedFields: true\n");
    }
    yaml += "rules:\n";
    for rule in plan.rules() {
        explained(&rule, &mut yaml);
    }
    yaml
}

/// What is saved of the log that the plan was made from.
fn saved(Saved { events, bytes }: Saved) -> String {
    match (events, bytes) {
        (_, 0) => String::new(),
        (0, _) => format!(": saves {bytes} bytes of this log"),
        _ => format!(": saves {bytes} bytes of this log, {events} events"),
    }
}

fn explained(Explained { rule, why, saves }: &Explained, yaml: &mut String) {
    *yaml += &format!("  # {why}{}.\n  - level: {}\n", saved(*saves), rule.level.as_str());
    let mut list = |name: &str, values: &[String]| {
        if !values.is_empty() {
            // Memory can be written.
            let _ = writeln!(yaml, "    {name}: {}", texts(values));
        }
    };
    list("users", &rule.users);
    list("userGroups", &rule.user_groups);
    list("verbs", &rule.verbs);
    list("nonResourceURLs", &rule.non_resource_urls);
    if !rule.resources.is_empty() {
        *yaml += "    resources:\n";
    }
    for GroupResources { group, resources, .. } in &rule.resources {
        let group = quoted(group);
        *yaml += &format!("      - group: {group}\n        resources: {}\n", texts(resources));
    }
}

/// A list in one line.
fn texts(values: &[String]) -> String {
    let words = ["", "null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let text = |it: &String| {
        let is_plain = it.bytes().all(|it| it.is_ascii_lowercase() || it == b'/');
        if is_plain && !words.contains(&it.as_str()) { it.clone() } else { quoted(it) }
    };
    format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// JSON, with what YAML does not allow or a person would not see escaped too (YAML 1.2, section 5.1).
fn quoted(text: &str) -> String {
    let is_hidden = |it: char| {
        it.is_control()
            || matches!(it, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(it, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let json = serde_json::Value::from(text).to_string();
    json.chars().fold(String::with_capacity(json.len()), |mut all, it| {
        if is_hidden(it) {
            all += &format!("\\u{:04x}", it as u32);
        } else {
            all.push(it);
        }
        all
    })
}
