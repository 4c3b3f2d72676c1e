//! The roles with only what was used, as manifests for a person to review.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use super::{
    coverage::Window,
    unused::{self, Scope},
    usage::{RuleUse, Used},
};
use crate::rbac::{
    ALL, Binding, PolicyRule, Snapshot,
    manifest::{ObjectMeta, RoleManifest},
    path_covers,
};

/// Writes a YAML document for each role of which something was not used, and a comment for each
/// binding of which nothing was.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(
    snapshot: &Snapshot,
    used: &Used,
    scope: &Scope,
    window: &Window,
    out: &mut dyn Write,
) -> io::Result<()> {
    let time = |it: Option<crate::event::Timestamp>| it.map_or("?".to_owned(), |it| it.to_string());
    writeln!(out, "# Only what was used from {} to {}.", time(window.from), time(window.to))?;
    if let Some(warning) = &window.warning {
        writeln!(out, "# Beware: {warning}.")?;
    }
    // A role is one thing, whoever is bound to it: what any binding uses of it stays.
    let mut roles: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    for (id, binding) in snapshot.bindings().iter().enumerate() {
        let Some(role) = &binding.role else { continue };
        let key = (role.metadata.namespace.clone(), role.metadata.name.clone());
        roles.entry(key).or_default().push(id);
    }
    for ids in roles.values() {
        if !ids.iter().any(|it| scope.has(*it, &snapshot.bindings()[*it])) {
            continue;
        }
        let bindings: Vec<(usize, &Binding)> =
            ids.iter().map(|it| (*it, &snapshot.bindings()[*it])).collect();
        role(&bindings, used, scope, out)?;
    }
    Ok(())
}

fn role(
    bindings: &[(usize, &Binding)],
    used: &Used,
    scope: &Scope,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some((_, first)) = bindings.first() else { return Ok(()) };
    let Some(role) = &first.role else { return Ok(()) };
    let (mut kept, mut is_narrower) = (Vec::new(), false);
    for (n, rule) in role.rules.iter().enumerate() {
        let mut all = RuleUse::default();
        for of in bindings.iter().filter_map(|(id, _)| used.rules.get(&(*id, n))) {
            all.merge(of);
        }
        is_narrower |= unused::unused(first, n, rule, &all).is_some();
        if all.requests > 0 {
            kept.extend(narrowed(rule, &all));
        }
    }
    for (id, binding) in bindings {
        let is_used = used.rules.range((*id, 0)..=(*id, usize::MAX)).next().is_some();
        if !is_used && scope.has(*id, binding) {
            let name = binding.object_name();
            let place = name.namespace.map(|it| format!(" -n {it}")).unwrap_or_default();
            let kind = name.kind.to_ascii_lowercase();
            writeln!(out, "# not used at all: kubectl delete {kind} {}{place}", name.name)?;
        }
    }
    if !is_narrower || kept.is_empty() {
        return Ok(());
    }
    let metadata = ObjectMeta {
        name: role.metadata.name.clone(),
        namespace: (!role.metadata.namespace.is_empty()).then(|| role.metadata.namespace.clone()),
        annotations: BTreeMap::new(),
    };
    writeln!(out, "---")?;
    if role.aggregation_rule.is_some() {
        writeln!(
            out,
            "# This role is aggregated: a controller writes its rules. Bind a role of its own."
        )?;
    }
    out.write_all(crate::rbac::manifest::yaml(&RoleManifest::new(metadata, kept)).as_bytes())
}

/// The rules that allow what was used of one, and no other verb, resource, path or name. Wildcards
/// become what was used of them.
fn narrowed(rule: &PolicyRule, used: &RuleUse) -> Vec<PolicyRule> {
    let mut verbs_of: BTreeMap<(Option<String>, String), BTreeSet<String>> = BTreeMap::new();
    for (verb, what) in used.pairs() {
        let key = match rule.non_resource_urls.iter().find(|it| path_covers(it, what)) {
            // The pattern stays: paths below it come and go.
            Some(entry) if what.starts_with('/') && entry != ALL => (None, entry.clone()),
            _ if what.starts_with('/') => (None, what.clone()),
            _ => {
                let (kind, group) = what.split_once('.').unwrap_or((what, ""));
                (Some(group.to_owned()), kind.to_owned())
            }
        };
        verbs_of.entry(key).or_default().insert(verb.clone());
    }
    let mut rules: Vec<PolicyRule> = Vec::new();
    for ((group, what), verbs) in verbs_of {
        let verbs: Vec<String> = verbs.into_iter().collect();
        let groups: Vec<String> = group.iter().cloned().collect();
        let is_resource = group.is_some();
        let same = rules.iter_mut().find(|it| {
            it.verbs == verbs && it.api_groups == groups && it.resources.is_empty() != is_resource
        });
        match same {
            Some(it) if is_resource => it.resources.push(what),
            Some(it) => it.non_resource_urls.push(what),
            None => rules.push(PolicyRule {
                api_groups: groups,
                resources: if is_resource { vec![what.clone()] } else { Vec::new() },
                non_resource_urls: if is_resource { Vec::new() } else { vec![what] },
                resource_names: used.names.iter().cloned().collect(),
                verbs,
            }),
        }
    }
    rules
}
