//! The container that a session went into which named none, where something tells it. Nothing is guessed.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::Item;
use crate::event::{Event, Timestamp};

/// What the recorded bodies of created pods tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    /// By namespace and name, and by the time of their creation: a name may be used again.
    containers: HashMap<[Box<str>; 2], BTreeMap<Timestamp, Box<str>>>,
}

/// How many pods are remembered of a log that never ends.
const MOST: usize = 50_000;

impl Pods {
    /// Remembers a pod that was created, if the event has its body.
    pub(super) fn observe(&mut self, event: &Event<'_>) {
        let code = event.response_status.as_ref().and_then(|it| it.code);
        let (Some(object), Some(201), Some(time)) =
            (&event.object_ref, code, event.stage_timestamp)
        else {
            return;
        };
        // What the server made of it has the containers that webhooks added.
        let bodies = [event.response_object, event.request_object];
        let container = bodies.into_iter().flatten().find_map(|it| Pod::read(it.get().as_bytes()));
        if let Some(container) = container.and_then(Pod::default_container) {
            let pod = [&*object.namespace, &*object.name].map(Box::from);
            self.insert(pod, time, container);
        }
    }

    fn insert(&mut self, pod: [Box<str>; 2], time: Timestamp, container: Box<str>) {
        let known = self.containers.entry(pod).or_default().entry(time);
        // Two that were created at once cannot be told apart: any, but always the same.
        known.and_modify(|it| *it = container.clone().min(it.clone())).or_insert(container);
    }

    pub(super) fn merge(&mut self, other: Pods) {
        for (pod, all) in other.containers {
            for (time, container) in all {
                self.insert(pod.clone(), time, container);
            }
        }
    }

    /// Forgets all if there are too many, for whoever follows a log without end.
    pub(super) fn limit(&mut self) {
        if self.containers.len() > MOST {
            self.containers.clear();
        }
    }

    /// Names the container of a session that got in.
    pub(super) fn complete(&self, mut item: Item) -> Item {
        if item.is_unnamed()
            && !self.containers.is_empty()
            && let (Some(namespace), Some(pod)) = (&item.namespace, &item.pod)
            && let Some(all) = self.containers.get(&[&**namespace, &**pod].map(Box::from))
            && let Some(start) = item.start_time
            && let Some((_, container)) = all.range(..=start).next_back()
        {
            item.container = Some(container.to_string());
        }
        item
    }
}

/// The parts of a pod that tell its default container.
#[derive(Deserialize)]
struct Pod {
    metadata: Option<Metadata>,
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
struct Spec {
    containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

impl Pod {
    fn read(json: &[u8]) -> Option<Pod> {
        serde_json::from_slice(json).ok().filter(|it: &Pod| it.spec.is_some())
    }

    /// The container that is meant where none is named: that of the annotation, else the first.
    ///
    /// Source: `kubectl/pkg/cmd/util/podcmd`; the API server itself takes the only one.
    fn default_container(self) -> Option<Box<str>> {
        const DEFAULT: &str = "kubectl.kubernetes.io/default-container";
        let names: Vec<String> = self.spec?.containers?.into_iter().map(|it| it.name).collect();
        let wanted = self.metadata.and_then(|it| it.annotations?.remove(DEFAULT));
        let named = names.iter().find(|it| Some(*it) == wanted.as_ref());
        named.or(names.first()).map(|it| it.as_str().into())
    }
}

/// Names the container of a session by the pod as the cluster has it now: the same, if it is older than
/// the session.
pub fn complete_from(item: &mut Item, pod: &[u8]) {
    let Some(pod) = Pod::read(pod) else { return };
    let created = pod.metadata.as_ref().and_then(|it| it.creation_timestamp);
    let is_same = item.start_time.zip(created).is_some_and(|(start, created)| {
        // It is told in whole seconds.
        created.as_microsecond() <= start.0
    });
    if is_same && item.is_unnamed() {
        item.container = pod.default_container().map(Into::into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pod: &str, expected: Option<&str>) {
        let container = Pod::read(pod.as_bytes()).and_then(Pod::default_container);
        assert_eq!(container.as_deref(), expected, "{pod}");
    }

    #[test]
    fn default_containers() {
        check(r#"{"spec":{"containers":[{"name":"a","image":"i"}]}}"#, Some("a"));
        check(r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#, Some("a"));
        let annotated = |name: &str| {
            format!(
                r#"{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/default-container":"{name}"}}}},"spec":{{"containers":[{{"name":"a"}},{{"name":"b"}}]}}}}"#
            )
        };
        check(&annotated("b"), Some("b"));
        check(&annotated("gone"), Some("a"));
        for odd in
            ["", "{}", "[]", r#"{"spec":{}}"#, r#"{"spec":{"containers":[]}}"#, r#"{"spec":7}"#]
        {
            check(odd, None);
        }
    }
}
