//! What a person asked for that no event had: a mistyped name must not look like an answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{operand::Operand, suggest};
use crate::{
    decode::{Lookup, Projection, Record, Values},
    event::{Json, Key, Kind, resources},
};

/// A name in a question, looked for in every event that is read.
#[derive(Debug, Clone)]
pub struct Watch {
    lookup: Lookup,
    asked: Asked,
}

#[derive(Debug, Clone)]
enum Asked {
    /// A key, and the text that its value is compared with.
    Key { key: Key, text: Option<String>, is_expected: bool, takes_list: bool },
    /// A verb, a resource or a subresource: one of these texts.
    Value { what: What, named: String, any: Vec<Operand> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Verb,
    Resource,
    Subresource,
}

/// A message for people, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub hint: Option<String>,
}

/// The verbs of requests: those of resources, and the methods of other paths.
const VERBS: [&str; 13] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "put",
    "post",
    "head",
    "options",
    "connect",
];

impl Watch {
    /// A key that some event should have. `text` is what its value is compared with, if it is.
    pub fn key(key: &Key, text: Option<&str>, projection: &mut Projection) -> Watch {
        let text = text.map(str::to_owned);
        let asked = Asked::Key { key: key.clone(), text, is_expected: true, takes_list: false };
        Watch { lookup: Lookup::new(key, projection), asked }
    }

    /// Whether to say that no event has the key, and whether a list is what the question is for.
    pub(super) fn with(mut self, expected: bool, list: bool) -> Watch {
        if let Asked::Key { is_expected, takes_list, .. } = &mut self.asked {
            (*is_expected, *takes_list) = (expected, list);
        }
        self
    }

    /// A verb, unless it is one that requests have: then none of it is an answer.
    pub fn verb(verb: &str, projection: &mut Projection) -> Option<Watch> {
        let is_known = verb.is_empty() || VERBS.contains(&verb);
        let lookup = projection.want("verb").into();
        (!is_known).then(|| Watch::value(lookup, What::Verb, verb, &[verb.to_owned()]))
    }

    /// A resource by one of its names.
    pub fn resource(named: &str, any: &[String], projection: &mut Projection) -> Watch {
        Watch::value(projection.want("objectRef.resource").into(), What::Resource, named, any)
    }

    /// A subresource, unless it is one of Kubernetes' own.
    pub fn subresource(named: &str, projection: &mut Projection) -> Option<Watch> {
        let lookup = projection.want("objectRef.subresource").into();
        let is_known = resources::is_subresource(named);
        (!is_known).then(|| Watch::value(lookup, What::Subresource, named, &[named.to_owned()]))
    }

    fn value(lookup: Lookup, what: What, named: &str, any: &[String]) -> Watch {
        let any = any.iter().map(|it| Operand::new(it)).collect();
        Watch { lookup, asked: Asked::Value { what, named: named.to_owned(), any } }
    }

    /// Whether the record has it; of a key also what its value is.
    fn see(&self, record: &Record<'_>) -> Option<Shape> {
        self.lookup.with(record, |values| match (&self.asked, values) {
            (_, Values::None) => None,
            (Asked::Key { text: Some(_), .. }, Values::One(json)) => Some(Shape::of(*json)),
            (Asked::Key { .. }, _) => Some(Shape::Text),
            (Asked::Value { any, .. }, Values::One(json)) => {
                any.iter().any(|it| it.is(*json)).then_some(Shape::Text)
            }
            (Asked::Value { .. }, Values::Many(_)) => None,
        })
    }
}

/// What the first value of a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// Something that a text may equal.
    Text,
    List,
    /// With these fields.
    Object(Vec<String>),
}

impl Shape {
    fn of(json: Json<'_>) -> Shape {
        match json.kind() {
            Kind::Object => {
                Shape::Object(json.fields().into_iter().map(|it| it.0.to_string()).collect())
            }
            Kind::List => Shape::List,
            _ => Shape::Text,
        }
    }
}

/// What was seen of the watched names so far.
#[derive(Debug, Clone, Default)]
pub struct Noticed {
    /// The watches that nothing was seen of; `None` where nothing was read.
    pending: Option<BTreeSet<usize>>,
    shapes: BTreeMap<usize, Shape>,
    /// Lines to take nearest names from.
    samples: Vec<Box<[u8]>>,
    events: u64,
}

/// How many lines are kept, each of at most so many bytes.
const SAMPLES: usize = 24;
const SAMPLE_LEN: usize = 64 << 10;

impl Noticed {
    /// Looks for what was not seen yet. Costs next to nothing once everything was.
    #[inline]
    pub fn see(&mut self, watches: &[Watch], record: &Record<'_>) {
        let pending = self.pending.get_or_insert_with(|| (0..watches.len()).collect());
        if !pending.is_empty() {
            self.look(watches, record);
        }
    }

    fn look(&mut self, watches: &[Watch], record: &Record<'_>) {
        let Some(pending) = &mut self.pending else { return };
        pending.retain(|n| match watches[*n].see(record) {
            None => true,
            Some(shape) => {
                if shape != Shape::Text {
                    self.shapes.insert(*n, shape);
                }
                false
            }
        });

        self.events += 1;
        let is_sample = self.events <= 8 || self.events.is_power_of_two();
        if is_sample && self.samples.len() < SAMPLES && record.line().len() <= SAMPLE_LEN {
            self.samples.push(record.line().into());
        }
    }

    /// Adds what another thread saw.
    pub fn merge(&mut self, other: Noticed) {
        self.pending = match (self.pending.take(), other.pending) {
            (Some(mine), Some(its)) => Some(mine.intersection(&its).copied().collect()),
            (mine, its) => mine.or(its),
        };
        for (n, shape) in other.shapes {
            self.shapes.entry(n).or_insert(shape);
        }
        self.samples.extend(other.samples);
        self.samples.sort_unstable();
        self.samples.truncate(4 * SAMPLES);
    }

    /// What to say of names that no event had, and of comparisons that no value can meet.
    pub fn notices(&self, watches: &[Watch]) -> Vec<Notice> {
        let Some(pending) = &self.pending else { return Vec::new() };
        let mut notices: Vec<Notice> = Vec::new();
        let mut names = None;
        for (n, watch) in watches.iter().enumerate() {
            let notice = match (&watch.asked, self.shapes.get(&n)) {
                (Asked::Key { is_expected: false, .. }, None) => None,
                // Reported before anything was read.
                (Asked::Key { key, .. }, None)
                    if suggest::unknown_field(key).flatten().is_some() =>
                {
                    None
                }
                _ if pending.contains(&n) => {
                    let names = names.get_or_insert_with(|| Names::of(&self.samples));
                    Some(unseen(&watch.asked, names))
                }
                (Asked::Key { takes_list: true, .. }, Some(Shape::List)) => None,
                (Asked::Key { key, text: Some(text), .. }, Some(shape)) => misfit(key, text, shape),
                _ => None,
            };
            notices.extend(notice.filter(|it| !notices.contains(it)));
        }
        notices
    }
}

/// What a sample of the events holds.
struct Names {
    /// Each key with the number of its parts.
    keys: BTreeMap<String, usize>,
    verbs: BTreeSet<String>,
    resources: BTreeSet<String>,
    subresources: BTreeSet<String>,
}

/// How deep keys are looked for, and how many are kept.
const MAX_DEPTH: usize = 8;
const MAX_KEYS: usize = 4096;

impl Names {
    fn of(samples: &[Box<[u8]>]) -> Names {
        let mut names = Names {
            keys: BTreeMap::new(),
            verbs: BTreeSet::new(),
            resources: BTreeSet::new(),
            subresources: BTreeSet::new(),
        };
        for line in samples {
            let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
            names.walk(&event, "", 0);
            let mut add = |to: fn(&mut Names) -> &mut BTreeSet<String>, at: &str| {
                let text = event.pointer(at).and_then(|it| it.as_str());
                to(&mut names).extend(text.map(str::to_owned));
            };
            add(|it| &mut it.verbs, "/verb");
            add(|it| &mut it.resources, "/objectRef/resource");
            add(|it| &mut it.subresources, "/objectRef/subresource");
        }
        names
    }

    fn walk(&mut self, value: &serde_json::Value, path: &str, depth: usize) {
        use serde_json::Value;
        if depth > MAX_DEPTH || self.keys.len() > MAX_KEYS {
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{dot}{}", Key::name(name));
                    if !value.is_null() {
                        self.keys.insert(path.clone(), depth + 1);
                    }
                    self.walk(value, &path, depth + 1);
                }
            }
            Value::Array(items) => items.iter().for_each(|it| self.walk(it, path, depth)),
            _ => {}
        }
    }

    /// The keys nearest to one that no event has.
    fn near(&self, key: &Key) -> Vec<String> {
        let asked = key.to_string();
        let keys: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        let mut near = suggest::nearest(&asked, &keys);
        if near.is_empty() {
            near.extend(suggest::unknown_field(key).flatten().map(str::to_owned));
        }
        if near.is_empty() {
            near = self.beside(&asked);
        }
        near
    }

    /// Some of the keys below the longest start of this one that an event has.
    fn beside(&self, asked: &str) -> Vec<String> {
        let mut start = asked;
        while let Some((before, _)) = start.rsplit_once('.') {
            if let Some(depth) = self.keys.get(before) {
                let below = format!("{before}.");
                let is_below =
                    |it: &(&String, &usize)| it.0.starts_with(&below) && *it.1 == depth + 1;
                return self.keys.iter().filter(is_below).take(5).map(|it| it.0.clone()).collect();
            }
            start = before;
        }
        Vec::new()
    }
}

/// What to say of a name that no event had.
fn unseen(asked: &Asked, names: &Names) -> Notice {
    match asked {
        Asked::Key { key, .. } => {
            let near = names.near(key);
            let root = key.parts()[0].name().unwrap_or_default();
            let is_body = matches!(root, "requestObject" | "responseObject");
            let hint = (is_body && near.is_empty() && !names.keys.contains_key(root))
                .then(|| "bodies are recorded at level Request or RequestResponse only".to_owned());
            Notice { text: format!("no event has the key `{key}`{}", listed(&near)), hint }
        }
        Asked::Value { what: What::Verb, named, .. } => {
            let known: Vec<&str> =
                VERBS.iter().copied().chain(names.verbs.iter().map(String::as_str)).collect();
            let hint = resources::is_subresource(named)
                .then(|| format!("`{named}` is a subresource: `-r '*/{named}'` chooses by it"));
            let near = suggest::nearest(named, &known);
            let near = if hint.is_some() { Vec::new() } else { near };
            Notice { text: format!("no event has the verb `{named}`{}", listed(&near)), hint }
        }
        Asked::Value { what: What::Resource, named, .. } => {
            let seen: Vec<&str> = names.resources.iter().map(String::as_str).collect();
            let mut near = suggest::nearest(named, &seen);
            if near.is_empty() {
                near = suggest::nearest(named, &resources::all().collect::<Vec<_>>());
                near.retain(|it| it != named);
            }
            Notice { text: format!("no request is for `{named}`{}", listed(&near)), hint: None }
        }
        Asked::Value { what: What::Subresource, named, .. } => {
            let seen: Vec<&str> = names.subresources.iter().map(String::as_str).collect();
            let near = suggest::nearest(named, &seen);
            let hint = near
                .is_empty()
                .then(|| format!("by the name of an object: `-F objectRef.name={named}`"));
            Notice {
                text: format!("no request has the subresource `{named}`{}", listed(&near)),
                hint,
            }
        }
    }
}

/// What to say of a comparison of a text with an object or a list.
fn misfit(key: &Key, text: &str, shape: &Shape) -> Option<Notice> {
    match shape {
        Shape::Text => None,
        _ if text.is_empty() || text.starts_with(['{', '[']) => None,
        Shape::List => Some(Notice {
            text: format!("`{key}` holds a list, which no text equals"),
            hint: Some(format!("`-F '{key}+={text}'` asks whether it has an element")),
        }),
        Shape::Object(fields) => {
            let below: Vec<String> =
                fields.iter().take(8).map(|it| key.with_field(it).to_string()).collect();
            let first = below.first()?;
            let meant = below.iter().find(|it| it.ends_with("name")).unwrap_or(first);
            Some(Notice {
                text: format!(
                    "`{key}` holds an object, which no text equals; its keys: `{}`",
                    below.join("`, `")
                ),
                hint: Some(format!("`-F '{meant}={text}'`")),
            })
        }
    }
}

fn listed(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        more => format!("; the nearest are `{}`", more.join("`, `")),
    }
}
