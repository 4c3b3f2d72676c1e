//! The keys of a projection, arranged as the fast reader meets them in a line.

use super::Projection;
use crate::event::{Field, FieldSet, Part};

/// The keys wanted at and below one name of a JSON object.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub name: Box<[u8]>,
    /// How many names lead here, this one included.
    pub depth: usize,
    /// The slot of the key that ends here.
    pub slot: Option<usize>,
    /// The slots of keys that continue below: a list takes the place of them all.
    pub through: Vec<usize>,
    pub children: Vec<Node>,
}

/// The keys of a projection by field, with what the reader needs to know of them for each line.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    fields: [Option<Box<Node>>; Field::ALL.len()],
    /// Keys that are not fields of an event.
    pub others: Vec<Node>,
    pub n_slots: usize,
    /// Whether one object has more wanted names than the reader has bits for: then it reads no line.
    pub is_too_wide: bool,
    /// The fields before the timestamps that must have been read before the rest of a line may be
    /// skipped.
    required: FieldSet,
    /// The wanted fields after the bodies.
    pub after_bodies: FieldSet,
    /// Whether a field up to the stage is wanted.
    pub has_start: bool,
    /// Whether the source addresses or the user agent are wanted.
    pub has_client: bool,
    /// Whether the fields between the user's groups and the object may be skipped: none of them is
    /// wanted, in whichever order the line has them.
    pub may_jump: bool,
    pub username: Option<Box<Node>>,
    pub groups: Option<Box<Node>>,
    /// The object's resource, if nothing else of the object is wanted.
    pub resource: Option<Box<Node>>,
}

/// How many names of one object can be wanted: one bit each.
const MAX_NAMES: usize = 64;

impl Wanted {
    pub(super) fn new(projection: &Projection) -> Wanted {
        let mut root = Node::default();
        for (slot, key) in projection.keys().iter().enumerate() {
            root.insert(slot, key.parts(), 0);
        }

        let mut wanted = Wanted {
            n_slots: projection.keys().len(),
            is_too_wide: root.is_too_wide(),
            required: FieldSet::new(&[
                Field::Kind,
                Field::ApiVersion,
                Field::Level,
                Field::Stage,
                Field::User,
            ]),
            ..Wanted::default()
        };
        for node in root.children {
            match Field::from_name(&node.name) {
                Some(field) => wanted.insert(field, node),
                None => wanted.others.push(node),
            }
        }

        wanted.plan_fast_path();
        wanted
    }

    fn insert(&mut self, field: Field, node: Node) {
        let set = if field.is_after_bodies() { &mut self.after_bodies } else { &mut self.required };
        set.insert(field);
        self.fields[field as usize] = Some(Box::new(node));
    }

    /// Decides which steps of the fast path apply.
    fn plan_fast_path(&mut self) {
        let (user, object) = (self.node(Field::User), self.node(Field::ObjectRef));
        let child = |node: Option<&Node>, name: &[u8]| node?.child(name).cloned().map(Box::new);
        let username = child(user, b"username");
        let groups = child(user, b"groups");
        let resource = child(object.filter(|node| node.has_only(&[b"resource"])), b"resource");

        // Between user and timestamps, only the object is read.
        let between =
            &Field::ALL[Field::ImpersonatedUser as usize..=Field::ResponseObject as usize];
        let is_unwanted = |field: &Field| *field == Field::ObjectRef || self.node(*field).is_none();
        let may_jump = self.others.is_empty()
            && between.iter().all(is_unwanted)
            && user.is_none_or(|node| node.has_only(&[b"username", b"groups"]));

        let start = &Field::ALL[..=Field::Stage as usize];
        self.has_start = start.iter().any(|field| self.node(*field).is_some());
        self.has_client = self.node(Field::SourceIps).or(self.node(Field::UserAgent)).is_some();
        (self.username, self.groups, self.resource) = (username, groups, resource);
        self.may_jump = may_jump;
    }

    /// Returns the keys wanted of a field.
    #[inline(always)]
    pub(super) fn node(&self, field: Field) -> Option<&Node> {
        self.fields[field as usize].as_deref()
    }

    /// Returns whether `seen` has all that is wanted before the timestamps. A key that is no field of
    /// an event may be anywhere, so then the whole line is read.
    #[inline(always)]
    pub(super) fn is_satisfied_by(&self, seen: FieldSet) -> bool {
        seen.contains_all(self.required) && self.others.is_empty()
    }

    /// Returns the same for all fields, those after the bodies included.
    #[inline(always)]
    pub(super) fn is_all_in(&self, seen: FieldSet) -> bool {
        self.is_satisfied_by(seen) && seen.contains_all(self.after_bodies)
    }
}

impl Node {
    fn insert(&mut self, slot: usize, parts: &[Part], depth: usize) {
        let Some((Part::Name(name), rest)) = parts.split_first() else {
            match parts {
                [] => self.slot = Some(slot),
                _ => self.through.push(slot),
            }
            return;
        };
        if depth > 0 {
            self.through.push(slot);
        }

        let known = self.children.iter().position(|child| *child.name == *name.as_bytes());
        let child = known.unwrap_or_else(|| {
            let name = name.as_bytes().into();
            self.children.push(Node { name, depth: depth + 1, ..Node::default() });
            self.children.len() - 1
        });
        self.children[child].insert(slot, rest, depth + 1);
    }

    fn child(&self, name: &[u8]) -> Option<&Node> {
        self.children.iter().find(|child| *child.name == *name)
    }

    /// Returns whether nothing is wanted of this object but whole fields of these names.
    fn has_only(&self, names: &[&[u8]]) -> bool {
        let is_one = |child: &Node| child.children.is_empty() && names.contains(&&*child.name);
        self.slot.is_none() && self.children.iter().all(is_one)
    }

    fn is_too_wide(&self) -> bool {
        self.children.len() > MAX_NAMES || self.children.iter().any(Node::is_too_wide)
    }
}
