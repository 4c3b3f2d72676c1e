//! Owners and children of the wanted objects, by the owner references in bodies.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;

use super::{ObjectId, Target, event::Request};
use crate::event::{Timestamp, resources};

/// An object that owns a wanted one, or belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Related {
    pub object: ObjectId,
    pub uid: Option<String>,
    pub relation: Relation,
    /// When it is first seen to be related.
    pub from: Option<Timestamp>,
    /// When it was deleted.
    pub to: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    Owner,
    Child,
}

/// Those found so far.
#[derive(Debug, Clone, Default)]
pub struct Relations {
    /// By the owner's uid and the child.
    owners: BTreeMap<(String, ObjectId), Related>,
    children: Vec<Related>,
    /// The last child of each name.
    places: HashMap<ObjectId, usize>,
}

/// An owner in an object's metadata.
struct Owner {
    object: ObjectId,
    uid: String,
}

fn owners_of(body: &Value, namespace: &str) -> Vec<Owner> {
    let list = body.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owner = |entry: &Value| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str);
        let version = text("apiVersion")?;
        // A kind of Kubernetes' own has one name; of others the plural is a guess, and comes last.
        let resource = resources::meant_by(text("kind")?).pop()?;
        let is_cluster_wide = matches!(&*resource, "nodes" | "namespaces");
        Some(Owner {
            object: ObjectId {
                resource,
                group: version.split_once('/').map_or("", |(group, _)| group).to_owned(),
                namespace: if is_cluster_wide { String::new() } else { namespace.to_owned() },
                name: text("name")?.to_owned(),
            },
            uid: text("uid").unwrap_or_default().to_owned(),
        })
    };
    list.into_iter().flatten().filter_map(owner).collect()
}

impl Relations {
    /// Learns the owners of a wanted object.
    pub fn owned(&mut self, object: &ObjectId, body: &Value, time: Option<Timestamp>) {
        for Owner { object: owner, uid } in owners_of(body, &object.namespace) {
            self.owners.entry((uid.clone(), object.clone())).or_insert_with(|| Related {
                object: owner,
                uid: Some(uid).filter(|uid| !uid.is_empty()),
                relation: Relation::Owner,
                from: time,
                to: None,
            });
        }
    }

    /// A wanted object is gone, and its owners own it no more.
    pub fn gone(&mut self, object: &ObjectId, time: Option<Timestamp>) {
        let of_object = self.owners.iter_mut().filter(|((_, child), _)| child == object);
        of_object.for_each(|(_, owner)| owner.to = owner.to.or(time));
    }

    /// Learns of a child from a request about another object.
    pub fn observe(&mut self, request: &Request, target: &Target) {
        if !request.has_succeeded() || request.is_dry_run || !request.subresource.is_empty() {
            return;
        }
        match &*request.verb {
            "create" => self.create(request, target),
            "delete" => {
                if let Some(at) = self.places.get(&request.object) {
                    self.children[*at].to = request.received;
                }
            }
            "deletecollection" if request.label_selector.is_none() => {
                let of = &request.object;
                let is_of = |child: &&mut Related| {
                    let it = &child.object;
                    (&it.resource, &it.group, &it.namespace)
                        == (&of.resource, &of.group, &of.namespace)
                        && child.to.is_none()
                };
                self.children.iter_mut().filter(is_of).for_each(|it| it.to = request.received);
            }
            _ => {}
        }
    }

    fn create(&mut self, request: &Request, target: &Target) {
        let Some(body) = request.body().or(request.request.as_ref()) else { return };
        let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let owners = owners_of(body, &request.object.namespace);
        let is_wanted = |owner: &Owner| {
            target.has(&owner.object.resource, &owner.object.group, &owner.object.name)
        };
        if name.is_empty() || !owners.iter().any(is_wanted) {
            return;
        }
        let object = ObjectId { name: name.to_owned(), ..request.object.clone() };
        let uid = body.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned);
        self.places.insert(object.clone(), self.children.len());
        let (from, relation) = (request.received, Relation::Child);
        self.children.push(Related { object, uid, relation, from, to: None });
    }

    /// All of them, owners first, in the order of time.
    pub fn finish(self) -> Vec<Related> {
        let mut all: Vec<Related> = self.owners.into_values().chain(self.children).collect();
        all.sort_by(|a, b| (a.relation, a.from, &a.object).cmp(&(b.relation, b.from, &b.object)));
        all.dedup_by(|a, b| {
            a.relation == Relation::Owner && a.uid == b.uid && a.object == b.object
        });
        all
    }
}
