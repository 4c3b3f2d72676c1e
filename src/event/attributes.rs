//! What the API server's authorizer and audit policy look at: user, verb, and the target that the
//! request's URL names.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`. Never from
//! `objectRef`: for a create its name was filled in from the body afterwards.

use std::borrow::Cow;

use super::{User, list_options, uri};

/// A question to an authorizer or a policy: may, or how is recorded, this user's verb on this target.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    pub user: &'a User<'a>,
    pub verb: &'a str,
    pub target: Target<'a>,
}

/// A resource of the API, or any other path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    Resource(ResourceRequest<'a>),
    /// A path that is no resource, without its query.
    Path(Cow<'a, str>),
}

/// The parts of a resource URL; absent ones are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceRequest<'a> {
    pub api_group: Cow<'a, str>,
    pub api_version: Cow<'a, str>,
    pub namespace: Cow<'a, str>,
    pub resource: Cow<'a, str>,
    pub subresource: Cow<'a, str>,
    pub name: Cow<'a, str>,
}

impl<'a> Attributes<'a> {
    /// The attributes of a recorded request. The verb is taken as recorded, all else from the URI.
    pub fn of_request(user: &'a User<'a>, verb: &'a str, request_uri: &'a str) -> Attributes<'a> {
        Attributes { user, verb, target: Target::of_request(verb, request_uri) }
    }
}

impl<'a> Target<'a> {
    /// What `request_uri` names, for a request whose verb is `verb`.
    pub fn of_request(verb: &str, request_uri: &'a str) -> Target<'a> {
        let (path, query) = uri::split(request_uri);
        match path {
            Cow::Borrowed(path) => match ResourcePath::parse(path) {
                Some(it) => Target::Resource(it.request(verb, query, Cow::Borrowed)),
                None => Target::Path(Cow::Borrowed(path)),
            },
            Cow::Owned(path) => match ResourcePath::parse(&path) {
                Some(it) => {
                    Target::Resource(it.request(verb, query, |part| Cow::Owned(part.to_owned())))
                }
                None => Target::Path(Cow::Owned(path)),
            },
        }
    }
}

/// The parts of a decoded path that is a resource's.
struct ResourcePath<'p> {
    api_group: &'p str,
    api_version: &'p str,
    namespace: &'p str,
    resource: &'p str,
    name: &'p str,
    subresource: &'p str,
    /// The verb stood in the path, so the query decides nothing.
    has_verb: bool,
}

/// The parts between slashes, and how many. Of those behind the ninth none says anything.
fn split(path: &str) -> ([&str; 9], usize) {
    let mut parts = [""; 9];
    let (mut n, mut start) = (0, 0);
    for (at, byte) in path.bytes().enumerate() {
        if byte == b'/' {
            parts[n] = &path[start..at];
            (n, start) = (n + 1, at + 1);
            if n == parts.len() {
                return (parts, n);
            }
        }
    }
    parts[n] = &path[start..];
    (parts, n + 1)
}

impl<'p> ResourcePath<'p> {
    /// `None` for any other path.
    fn parse(path: &'p str) -> Option<ResourcePath<'p>> {
        let (parts, n) = split(path.trim_matches('/'));
        let (api_group, api_version, mut parts) = match &parts[..n] {
            ["api", version, parts @ ..] => ("", *version, parts),
            ["apis", group, version, parts @ ..] => (*group, *version, parts),
            _ => return None,
        };
        if parts.is_empty() {
            return None;
        }
        // The legacy prefixes are verbs; with nothing behind them the server gives up.
        let special = parts.first().copied().filter(|it| matches!(*it, "proxy" | "watch"));
        if special.is_some() {
            parts = &parts[1..];
            if parts.is_empty() {
                return None;
            }
        }
        let mut namespace = "";
        if let ["namespaces", name, after @ ..] = parts {
            namespace = name;
            if after.first().is_some_and(|it| !matches!(*it, "status" | "finalize")) {
                parts = after;
            }
        }
        let part = |at: usize| parts.get(at).copied().unwrap_or_default();
        let subresource = if special == Some("proxy") { "" } else { part(2) };
        Some(ResourcePath {
            api_group,
            api_version,
            namespace,
            resource: part(0),
            name: part(1),
            subresource,
            has_verb: special.is_some(),
        })
    }

    fn request<'a>(
        &self,
        verb: &str,
        query: &str,
        own: impl Fn(&'p str) -> Cow<'a, str>,
    ) -> ResourceRequest<'a> {
        let is_list = self.name.is_empty() && !self.has_verb && matches!(verb, "list" | "watch");
        let selected = if is_list { list_options::selected_name(query) } else { None };
        ResourceRequest {
            api_group: own(self.api_group),
            api_version: own(self.api_version),
            namespace: own(self.namespace),
            resource: own(self.resource),
            subresource: own(self.subresource),
            name: selected.map_or_else(|| own(self.name), Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(verb: &str, uri: &str, expected: &str) {
        let shown = match Target::of_request(verb, uri) {
            Target::Path(path) => format!("path {path}"),
            Target::Resource(it) => format!(
                "{}|{}|{}|{}|{}|{}",
                it.api_group, it.api_version, it.namespace, it.resource, it.subresource, it.name
            ),
        };
        assert_eq!(shown, expected, "{verb} {uri}");
    }

    #[test]
    fn resources() {
        check("get", "/api/v1/nodes/n", "|v1||nodes||n");
        check("list", "/apis/apps/v1/deployments?limit=5", "apps|v1||deployments||");
        check("get", "/api/v1/namespaces/a/pods/p/log?follow=true", "|v1|a|pods|log|p");
        check("get", "/api/v1/namespaces/a/pods/p/proxy/x/y/z", "|v1|a|pods|proxy|p");
        check("get", "/api/v1/namespaces/team-a/pods/%2e%2e", "|v1|team-a|pods||..");
        check("get", "/api/v1/namespaces/a/pods/p%2Flog", "|v1|a|pods|log|p");
    }
    #[test]
    fn namespaces() {
        check("list", "/api/v1/namespaces", "|v1||namespaces||");
        check("get", "/api/v1/namespaces/a", "|v1|a|namespaces||a");
        check("update", "/api/v1/namespaces/a/finalize", "|v1|a|namespaces|finalize|a");
        check("get", "/api/v1/namespaces/a/status", "|v1|a|namespaces|status|a");
    }
    #[test]
    fn other_paths() {
        check("get", "/", "path /");
        check("get", "/api/v1", "path /api/v1");
        check("get", "/apis/apps/v1/", "path /apis/apps/v1/");
        check("get", "/healthz?verbose", "path /healthz");
        check("get", "/apiv1/v1/pods", "path /apiv1/v1/pods");
        check("watch", "/api/v1/watch", "path /api/v1/watch");
    }
    #[test]
    fn doubled_slashes() {
        check("get", "//api/v1/pods/", "|v1||pods||");
        check("get", "/api//v1/pods", "|||v1||pods");
        check("get", "/api/v1/namespaces//pods", "|v1||pods||");
        check("get", "/api/v1/namespaces/a//p", "|v1|a|||p");
    }
    #[test]
    fn legacy_prefixes() {
        check("watch", "/api/v1/watch/namespaces/a/pods/p", "|v1|a|pods||p");
        check("watch", "/api/v1/watch/pods?fieldSelector=metadata.name%3Dx", "|v1||pods||");
        check("proxy", "/api/v1/proxy/namespaces/a/pods/p/some/path", "|v1|a|pods||p");
    }
    #[test]
    fn selected_names() {
        check("list", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "|v1||pods||x");
        check("deletecollection", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "|v1||pods||");
    }
}
