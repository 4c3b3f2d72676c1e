//! The API server's own answers, recorded: SubjectAccessReviews over the objects of a cluster.

use std::{borrow::Cow, fs, io::Read, path::PathBuf};

use serde::Deserialize;

use super::{Snapshot, is_master, load};
use crate::event::{Attributes, ResourceRequest, Target, User};

pub fn unpacked(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/rbac").join(name);
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

pub fn snapshot(name: &str) -> Snapshot {
    let (objects, errors) = load::load(unpacked(name).as_bytes());
    assert_eq!(errors, []);
    Snapshot::new(objects)
}

#[derive(Deserialize)]
struct Answer {
    user: String,
    groups: Vec<String>,
    resource: Option<ResourceAttributes>,
    #[serde(rename = "path")]
    non_resource: Option<NonResourceAttributes>,
    allowed: bool,
    reason: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct ResourceAttributes {
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct NonResourceAttributes {
    verb: String,
    path: String,
}

impl Answer {
    /// The verb and the target that were asked about.
    fn asked(&self) -> (&str, Target<'_>) {
        match (&self.resource, &self.non_resource) {
            (Some(it), _) => {
                let target = ResourceRequest {
                    api_group: Cow::Borrowed(&it.group),
                    resource: Cow::Borrowed(&it.resource),
                    subresource: Cow::Borrowed(&it.subresource),
                    namespace: Cow::Borrowed(&it.namespace),
                    name: Cow::Borrowed(&it.name),
                    ..ResourceRequest::default()
                };
                (&it.verb, Target::Resource(target))
            }
            (None, Some(it)) => (&it.verb, Target::Path(Cow::Borrowed(&it.path))),
            (None, None) => panic!("an answer to no question"),
        }
    }
}

#[test]
fn every_recorded_answer() {
    let snapshot = snapshot("objects.json.gz");
    let (mut all, mut named) = (0, 0);
    for line in unpacked("answers.jsonl.gz").lines() {
        let answer: Answer = serde_json::from_str(line).expect(line);
        let user = User {
            username: Cow::Borrowed(&answer.user),
            groups: answer.groups.iter().map(|it| Cow::Borrowed(it.as_str())).collect(),
            ..User::default()
        };
        let (verb, target) = answer.asked();
        let attributes = Attributes { user: &user, verb, target };
        assert_eq!(snapshot.allows(&attributes), answer.allowed, "{line}");
        let grants = snapshot.grants(&attributes);
        all += 1;
        if answer.reason.starts_with("RBAC: allowed by ") {
            named += 1;
            let reasons: Vec<_> = grants.iter().map(|it| it.name().reason()).collect();
            assert!(reasons.contains(&answer.reason), "{line}: {reasons:?}");
        } else {
            assert!(!answer.allowed || is_master(&user), "{line}");
        }
    }
    assert_eq!((all, named > 1_500), (5_069, true));
}
