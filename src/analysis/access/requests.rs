//! A record as an authorizer sees it: the effective user, the verb, and what the URL names.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::{
    decode::{Projection, Record, Slot},
    event::{Attributes, Json, RefusedImpersonation, ResourceRequest, Target, Timestamp, User},
    rbac::subject::{Kind, implied_groups},
};

/// Reads requests out of records; keeps the users it has met.
#[derive(Debug, Clone)]
pub struct Requests {
    user: Slot,
    impersonated: Slot,
    verb: Slot,
    uri: Slot,
    decision: Slot,
    reason: Slot,
    code: Slot,
    message: Slot,
    users: HashMap<Box<[u8]>, KnownUser, RandomState>,
    /// How many users were read.
    n_read: usize,
}

#[derive(Debug, Clone)]
struct KnownUser {
    user: Arc<User<'static>>,
    number: usize,
}

/// Users kept read; there are few, and an attacker may send many.
const MAX_USERS: usize = 10_000;

/// One request of a record.
pub struct Request<'r> {
    pub user: Arc<User<'static>>,
    /// Of the user: no two users that were read by one [`Requests`] have the same.
    pub user_number: usize,
    pub verb: Cow<'r, str>,
    pub uri: Cow<'r, str>,
    /// As the annotation `authorization.k8s.io/decision` has it: `allow`, `forbid`, or nothing.
    pub decision: Cow<'r, str>,
    reason: Option<Json<'r>>,
    code: Option<Json<'r>>,
    message: Option<Json<'r>>,
    is_impersonated: bool,
    pub time: Option<Timestamp>,
}

impl Request<'_> {
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::of_request(&self.user, &self.verb, &self.uri)
    }

    /// As `authorization.k8s.io/reason` has it.
    pub fn reason(&self) -> Cow<'_, str> {
        text(self.reason)
    }

    /// Whether the API server refused it. Without the annotation the answer says so.
    pub fn is_denied(&self) -> bool {
        self.decision == "forbid" || matches!(&*text(self.code), "401" | "403")
    }

    /// Returns the impersonation that the API server refused, if that is why the request failed: what
    /// it was for was never judged.
    pub fn refused_impersonation(&self) -> Option<RefusedImpersonation> {
        let may_be = !self.is_impersonated && self.decision.is_empty() && text(self.code) == "403";
        if may_be { RefusedImpersonation::parse(&text(self.message)) } else { None }
    }

    /// A patch or an update that made the object was asked for `create` too: 201 says so.
    ///
    /// Source: `createHandler` checks in `endpoints/handlers/{patch,update}.go`.
    pub fn as_create(&self) -> Option<Attributes<'_>> {
        if text(self.code) != "201" || !matches!(&*self.verb, "patch" | "update") {
            return None;
        }
        let mut attributes = Attributes { verb: "create", ..self.attributes() };
        if let Target::Resource(it) = &mut attributes.target {
            it.name = Cow::Borrowed("");
        }
        Some(attributes)
    }

    /// Whether another authorizer than RBAC allowed it: RBAC always names its grant.
    pub fn is_allowed_elsewhere(&self) -> bool {
        // As it is always written; other ways to write it are looked at closely.
        let is_plain = || self.reason.is_some_and(|it| it.bytes().starts_with(b"\"RBAC: "));
        self.decision == "allow" && !is_plain() && !self.reason().starts_with("RBAC: ")
    }
}

impl Requests {
    pub fn new(projection: &mut Projection) -> Requests {
        Requests {
            user: projection.want("user"),
            impersonated: projection.want("impersonatedUser"),
            verb: projection.want("verb"),
            uri: projection.want("requestURI"),
            decision: projection.want(r#"annotations."authorization.k8s.io/decision""#),
            reason: projection.want(r#"annotations."authorization.k8s.io/reason""#),
            code: projection.want("responseStatus.code"),
            message: projection.want("responseStatus.message"),
            users: HashMap::default(),
            n_read: 0,
        }
    }

    pub fn read<'r>(&mut self, record: &Record<'r>) -> Request<'r> {
        let KnownUser { user, number } = self.effective(record);
        Request {
            user,
            user_number: number,
            verb: record.word(self.verb),
            uri: record.text(self.uri),
            decision: record.word(self.decision),
            reason: record.value(self.reason),
            code: record.value(self.code),
            message: record.value(self.message),
            is_impersonated: record.value(self.impersonated).is_some(),
            time: record.stage_timestamp(),
        }
    }

    /// As [`effective_user`](crate::event::Event::effective_user), read once for each that is met.
    pub fn effective_user(&mut self, record: &Record<'_>) -> Arc<User<'static>> {
        self.effective(record).user
    }

    fn effective(&mut self, record: &Record<'_>) -> KnownUser {
        let raw = record.value(self.impersonated).or_else(|| record.value(self.user));
        self.known(raw.map_or(b"{}", |it| it.bytes()))
    }

    /// Whoever authenticated, if somebody else is the effective user.
    pub fn impersonator(&mut self, record: &Record<'_>) -> Option<Arc<User<'static>>> {
        record.value(self.impersonated)?;
        Some(self.known(record.value(self.user).map_or(b"{}", |it| it.bytes())).user)
    }

    /// What an impersonator had to be allowed first, as resources of the verb `impersonate`. Groups that
    /// the API server adds by itself are left out.
    ///
    /// Source: `staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation`.
    pub fn impersonated(user: &User<'_>) -> Vec<ResourceRequest<'static>> {
        let own = |text: &str| Cow::Owned(text.to_owned());
        let mut all = Vec::new();
        all.push(match Kind::of(&user.username) {
            Kind::ServiceAccount { namespace, name } => ResourceRequest {
                resource: "serviceaccounts".into(),
                namespace: own(namespace),
                name: own(name),
                ..ResourceRequest::default()
            },
            _ => ResourceRequest {
                resource: "users".into(),
                name: own(&user.username),
                ..ResourceRequest::default()
            },
        });
        let implied = implied_groups(&user.username);
        for group in user.groups.iter().filter(|it| !implied.iter().any(|by| *it == by)) {
            all.push(ResourceRequest {
                resource: "groups".into(),
                name: own(group),
                ..ResourceRequest::default()
            });
        }
        let authentication = |resource: &'static str, sub: &str, name: &str| ResourceRequest {
            api_group: "authentication.k8s.io".into(),
            resource: resource.into(),
            subresource: own(sub),
            name: own(name),
            ..ResourceRequest::default()
        };
        if !user.uid.is_empty() {
            all.push(authentication("uids", "", &user.uid));
        }
        for (key, values) in &user.extra {
            all.extend(values.iter().map(|it| authentication("userextras", key, it)));
        }
        all
    }

    fn known(&mut self, raw: &[u8]) -> KnownUser {
        if let Some(user) = self.users.get(raw) {
            return user.clone();
        }
        if self.users.len() >= MAX_USERS {
            self.users.clear();
        }
        let read: User<'_> = serde_json::from_slice(raw).unwrap_or_default();
        let user = KnownUser { user: Arc::new(owned(&read)), number: self.n_read };
        self.n_read += 1;
        self.users.insert(raw.into(), user.clone());
        user
    }
}

fn text(value: Option<Json<'_>>) -> Cow<'_, str> {
    value.map(Json::text).unwrap_or_default()
}

fn owned(user: &User<'_>) -> User<'static> {
    let own = |it: &Cow<'_, str>| Cow::Owned(it.to_string());
    let extra = |(key, all): (&Cow<'_, str>, &Vec<Cow<'_, str>>)| {
        (own(key), all.iter().map(own).collect::<Vec<_>>())
    };
    User {
        username: own(&user.username),
        uid: own(&user.uid),
        groups: user.groups.iter().map(own).collect(),
        extra: user.extra.iter().map(extra).collect(),
    }
}
