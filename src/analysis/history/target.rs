//! Which objects a history is of: `RESOURCE/NAME[,NAME…]`, `RESOURCE` or `all`.

use std::str::FromStr;

use crate::event::resources;

/// The objects a history is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Empty for `all`.
    resources: Vec<Wanted>,
}

/// Objects of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    /// What the resource may be called in an event.
    resources: Vec<String>,
    group: Option<String>,
    /// Empty for all of it.
    names: Vec<String>,
}

/// Resources that nobody keeps: requests about them are questions. Events and leases say only that
/// something lives; they are shown by name.
const NOT_IN_ALL: [&str; 9] = [
    "events",
    "leases",
    "localsubjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
    "subjectaccessreviews",
    "tokenreviews",
    "componentstatuses",
];

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if text == "all" {
            return Ok(Target { resources: Vec::new() });
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        for part in text.split(',') {
            match (part.split_once('/'), wanted.last_mut()) {
                (Some((resource, name)), _) => {
                    let mut next = Wanted::new(resource)?;
                    next.names.push(name_of(name)?);
                    wanted.push(next);
                }
                // Another name of the same resource.
                (None, Some(last)) if !last.names.is_empty() => last.names.push(name_of(part)?),
                (None, _) => wanted.push(Wanted::new(part)?),
            }
        }
        Ok(Target { resources: wanted })
    }
}

fn name_of(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty() && !text.contains(['/', ' ']);
    is_name.then(|| text.to_owned()).ok_or_else(|| FORMS.to_owned())
}

const FORMS: &str = "give RESOURCE/NAME such as deploy/web, RESOURCE/NAME,NAME, RESOURCE, or all";

impl Wanted {
    fn new(text: &str) -> Result<Wanted, String> {
        let (resource, group) = match text.split_once('.') {
            Some((resource, group)) => (resource, Some(without_version(group).to_owned())),
            None => (text, None),
        };
        if resource.is_empty() || resource.contains(' ') {
            return Err(FORMS.to_owned());
        }
        let resources = resources::meant_by(resource);
        Ok(Wanted { resources, group, names: Vec::new() })
    }

    fn is_resource(&self, resource: &str, group: &str) -> bool {
        self.resources.iter().any(|it| it == resource)
            && self.group.as_ref().is_none_or(|it| it == group)
    }
}

/// `apps` of `v1.apps`, as kubectl takes `deployments.v1.apps`.
fn without_version(group: &str) -> &str {
    let is_version = |text: &str| {
        text.strip_prefix('v').is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
    };
    match group.split_once('.') {
        Some((version, group)) if is_version(version) => group,
        _ => group,
    }
}

impl Target {
    /// Whether objects of this resource are wanted at all.
    pub fn has_resource(&self, resource: &str, group: &str) -> bool {
        match self.resources.is_empty() {
            true => !NOT_IN_ALL.contains(&resource),
            false => self.resources.iter().any(|wanted| wanted.is_resource(resource, group)),
        }
    }

    /// Whether an object of this name is wanted.
    pub fn has(&self, resource: &str, group: &str, name: &str) -> bool {
        match self.resources.is_empty() {
            true => self.has_resource(resource, group),
            false => self.resources.iter().any(|wanted| {
                let is_named = || wanted.names.iter().any(|it| it == name);
                wanted.is_resource(resource, group) && (wanted.names.is_empty() || is_named())
            }),
        }
    }

    /// The names that are asked for; none for a whole resource.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().flat_map(|wanted| &wanted.names).map(String::as_str)
    }

    /// Whether every object has a name here.
    pub fn is_named(&self) -> bool {
        !self.resources.is_empty() && self.resources.iter().all(|it| !it.names.is_empty())
    }

    /// Whether it is one object.
    pub fn is_single(&self) -> bool {
        self.is_named() && self.names().count() == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, (resource, group, name): (&str, &str, &str), expected: bool) {
        let parsed: Target = target.parse().unwrap();
        assert_eq!(parsed.has(resource, group, name), expected, "{target}");
    }

    #[test]
    fn forms_of_targets() {
        let web = ("deployments", "apps", "web");
        for target in [
            "deploy/web",
            "deployment/web",
            "Deployment/web",
            "deployments.apps/web",
            "deployments.v1.apps/web",
            "deploy/api,web",
            "svc/api,deploy/web",
            "deploy",
            "all",
        ] {
            check(target, web, true);
        }
        for target in ["deploy/api", "deployments.extensions/web", "po/web", "svc/web,api", "svc"] {
            check(target, web, false);
        }
        check("all", ("leases", "coordination.k8s.io", "x"), false);
        check("lease/x", ("leases", "coordination.k8s.io", "x"), true);
        check("widget/x", ("widgets", "example.com", "x"), true);
    }

    #[test]
    fn broken_targets_are_refused() {
        for text in ["", "/web", "deploy/", "deploy/a/b", "deploy/a,", ",", ".apps/x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
