//! Aggregated ClusterRoles: their rules are those of the ClusterRoles that their selectors choose.
//!
//! Source: `pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go`: selectors in
//! their order, chosen roles by name, never itself, a rule that is there already not again.

use std::collections::HashSet;

use super::{PolicyRule, Role};

/// Fills what a controller has not filled: the aggregated roles that were written by hand. What an
/// API server stored stays as it is, and so does a role of which no part is here.
pub fn fill(roles: &mut [Role]) {
    let mut order: Vec<usize> = (0..roles.len()).collect();
    order.sort_by(|a, b| roles[*a].metadata.name.cmp(&roles[*b].metadata.name));
    let parts: Vec<Option<Vec<usize>>> =
        (0..roles.len()).map(|it| parts(roles, &order, it)).collect();
    let filled: Vec<(usize, Vec<PolicyRule>)> = (0..roles.len())
        .filter(|it| parts[*it].as_ref().is_some_and(|it| !it.is_empty()))
        .map(|it| (it, rules(roles, &parts, it)))
        .collect();
    for (it, rules) in filled {
        roles[it].rules = rules;
    }
}

/// The roles that one to be filled is made of; `None` for one that has its rules.
fn parts(roles: &[Role], order: &[usize], of: usize) -> Option<Vec<usize>> {
    let role = &roles[of];
    let rule = role.aggregation_rule.as_ref().filter(|_| role.metadata.uid.is_empty())?;
    let mut seen = HashSet::from([of]);
    let chosen = rule.cluster_role_selectors.iter().flat_map(|selector| {
        order.iter().copied().filter(|it| selector.matches(&roles[*it].metadata.labels))
    });
    Some(chosen.filter(|it| seen.insert(*it)).collect())
}

/// The rules of everything that can be reached through aggregation; circles end by themselves.
fn rules(roles: &[Role], parts: &[Option<Vec<usize>>], of: usize) -> Vec<PolicyRule> {
    let (mut seen, mut known, mut found) = (HashSet::from([of]), HashSet::new(), Vec::new());
    let of = parts[of].iter().flatten().rev();
    let mut open: Vec<usize> = of.copied().collect();
    while let Some(it) = open.pop() {
        if !seen.insert(it) {
            continue;
        }
        match &parts[it] {
            Some(parts) if !parts.is_empty() => open.extend(parts.iter().rev()),
            _ => found.extend(roles[it].rules.iter().filter(|it| known.insert(*it)).cloned()),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, selects: Option<&str>, verb: Option<&str>) -> Role {
        let selector =
            |it: &str| serde_json::json!({"clusterRoleSelectors": [{"matchLabels": {it: "true"}}]});
        let rules: Vec<_> = verb.iter().map(|it| serde_json::json!({"verbs": [it]})).collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "labels": {label: "true"}},
            "aggregationRule": selects.map(selector), "rules": rules,
        }))
        .expect("a role")
    }

    #[track_caller]
    fn check(roles: &mut [Role], name: &str, expected: &str) {
        fill(roles);
        let role = roles.iter().find(|it| it.metadata.name == name).expect("there");
        let verbs: Vec<_> = role.rules.iter().map(|it| it.verbs.join(",")).collect();
        assert_eq!(verbs.join(" "), expected);
    }

    #[test]
    fn by_name_and_each_rule_once() {
        let mut roles = [
            role("all", "x", Some("part"), None),
            role("b", "part", None, Some("get")),
            role("a", "part", None, Some("list")),
            role("c", "part", None, Some("get")),
        ];
        check(&mut roles, "all", "list get");
    }

    #[test]
    fn through_others_and_in_circles() {
        let mut roles = [
            role("admin", "to-edit", Some("to-admin"), None),
            role("edit", "to-admin", Some("to-edit"), None),
            role("more", "to-edit", None, Some("create")),
        ];
        check(&mut roles, "admin", "create");
        check(&mut roles, "edit", "create");
    }

    #[test]
    fn what_is_filled_stays() {
        let mut stored = role("view", "x", Some("part"), Some("watch"));
        stored.metadata.uid = "1".to_owned();
        check(&mut [stored, role("a", "part", None, Some("get"))], "view", "watch");
        check(&mut [role("view", "x", Some("part"), Some("watch"))], "view", "watch");
    }
}
