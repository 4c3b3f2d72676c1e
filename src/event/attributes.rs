//! What the API server's authorizer and audit policy look at: user, verb, and the target that the
//! request's URL names.
//!
//! Source: `staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`. Never from
//! `objectRef`: for a create its name was filled in from the body afterwards.

use std::borrow::Cow;

use super::{User, uri};

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
        match resource_of(&path, verb, query) {
            Some(resource) => Target::Resource(resource),
            None => Target::Path(path),
        }
    }
}

/// The resource request of a decoded path, or `None` for any other path.
fn resource_of<'a>(path: &str, verb: &str, query: &str) -> Option<ResourceRequest<'a>> {
    let trimmed = path.trim_matches('/');
    let parts: Vec<&str> =
        if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
    let (api_group, api_version, mut rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return None,
    };
    // The legacy prefixes `proxy/` and `watch/` are verbs; alone they are a resource's name.
    if let [special @ ("proxy" | "watch"), after @ ..] = rest {
        if after.is_empty() {
            return None;
        }
        let _ = special;
        rest = after;
    }
    let mut request = ResourceRequest {
        api_group: Cow::Owned(api_group.to_owned()),
        api_version: Cow::Owned(api_version.to_owned()),
        ..ResourceRequest::default()
    };
    if let ["namespaces", namespace, after @ ..] = rest {
        request.namespace = Cow::Owned((*namespace).to_owned());
        if let [first, ..] = after
            && !matches!(*first, "status" | "finalize")
        {
            rest = after;
        }
    }
    let part = |n: usize| Cow::Owned(rest.get(n).copied().unwrap_or_default().to_owned());
    (request.resource, request.name, request.subresource) = (part(0), part(1), part(2));
    if request.name.is_empty() && matches!(verb, "list" | "watch") {
        request.name = name_in_field_selector(query).map(Cow::Owned).unwrap_or_default();
    }
    Some(request)
}

/// `fieldSelector=metadata.name=X` on a list or watch makes it a request about X.
fn name_in_field_selector(query: &str) -> Option<String> {
    let selector = uri::parameter(query, "fieldSelector")?;
    let name = selector.split(',').find_map(|term| {
        term.strip_prefix("metadata.name==").or_else(|| term.strip_prefix("metadata.name="))
    })?;
    Some(name.to_owned())
}
