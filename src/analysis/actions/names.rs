//! Owners by name, where no body tells them.

/// The letters of generated suffixes.
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";

fn is_generated(suffix: &str) -> bool {
    !suffix.is_empty() && suffix.chars().all(|letter| ALPHABET.contains(letter))
}

fn is_number(suffix: &str) -> bool {
    !suffix.is_empty() && suffix.len() <= 10 && suffix.bytes().all(|byte| byte.is_ascii_digit())
}

/// The objects that may own `resource/name`, likeliest first: resource and name.
pub fn owners<'a>(resource: &str, name: &'a str) -> Vec<(&'static str, &'a str)> {
    let mut found = Vec::new();
    let Some((stem, suffix)) = name.rsplit_once('-') else {
        if resource == "endpoints" {
            found.push(("services", name));
        }
        return found;
    };
    match resource {
        "replicasets" if (5..=10).contains(&suffix.len()) && is_generated(suffix) => {
            found.push(("deployments", stem));
        }
        "pods" => {
            if suffix.len() == 5 && is_generated(suffix) {
                found.extend(
                    ["replicasets", "jobs", "daemonsets", "replicationcontrollers"]
                        .map(|kind| (kind, stem)),
                );
            }
            if is_number(suffix) {
                found.push(("statefulsets", stem));
            }
            // An indexed job: `job-0-abcde`.
            if let Some((job, index)) = stem.rsplit_once('-').filter(|(_, index)| is_number(index))
            {
                let _ = index;
                found.push(("jobs", job));
            }
        }
        "controllerrevisions" => {
            found.extend(["statefulsets", "daemonsets"].map(|kind| (kind, stem)))
        }
        "endpointslices" if suffix.len() == 5 && is_generated(suffix) => {
            found.push(("services", stem))
        }
        "endpoints" => found.push(("services", name)),
        "jobs" if is_number(suffix) => found.push(("cronjobs", stem)),
        _ => {}
    }
    found
}

/// The resource of an owner's kind.
pub fn resource_of_kind(kind: &str, group: &str) -> String {
    let plural = match kind {
        "Endpoints" => "endpoints".to_owned(),
        _ => {
            let lower = kind.to_lowercase();
            match lower.as_bytes() {
                [.., before, b'y'] if !b"aeiou".contains(before) => {
                    format!("{}ies", &lower[..lower.len() - 1])
                }
                [.., b's' | b'x' | b'z'] | [.., b'c' | b's', b'h'] => format!("{lower}es"),
                _ => format!("{lower}s"),
            }
        }
    };
    super::requests::resource_name(&plural, group).into_owned()
}

/// The name of the object that an Event is about: the Event's own name is `NAME.16hex`.
pub fn of_event(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, hex)) if hex.len() >= 8 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            stem
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resource: &str, name: &str, expected: &str) {
        let found = owners(resource, name);
        let shown: Vec<_> = found.iter().map(|(kind, name)| format!("{kind}/{name}")).collect();
        assert_eq!(shown.join(" "), expected);
    }

    #[test]
    fn finds_owners_of_builtin_shapes() {
        check("replicasets", "web-6897d74d6d", "deployments/web");
        check("replicasets", "web-six", "");
        check("pods", "db-0", "statefulsets/db");
        check(
            "pods",
            "web-6897d74d6d-bcc6m",
            "replicasets/web-6897d74d6d jobs/web-6897d74d6d daemonsets/web-6897d74d6d replicationcontrollers/web-6897d74d6d",
        );
        check("pods", "web", "");
        check("endpoints", "web", "services/web");
        check("jobs", "tick-29400000", "cronjobs/tick");
    }

    #[test]
    fn plural_of_kinds() {
        assert_eq!(resource_of_kind("NetworkPolicy", "networking.k8s.io"), "networkpolicies");
        assert_eq!(resource_of_kind("Ingress", "networking.k8s.io"), "ingresses");
        assert_eq!(resource_of_kind("Widget", "shop.example.com"), "widgets.shop.example.com");
    }

    #[test]
    fn object_of_an_event() {
        assert_eq!(of_event("web-0.18923abc0123ffaa"), "web-0");
        assert_eq!(of_event("web.example"), "web.example");
    }
}
