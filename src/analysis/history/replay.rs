//! Replays the requests about wanted objects, with the last known body of each.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;

use super::{
    ChangeKind, DiffSource, Hidden, Item, Keep, ObjectHistory, ObjectId, Question, Target,
    apply::{self, Fields},
    body::{self, Body},
    diff::{self, Change},
    event::{self, Request},
    field,
    labels::LabelSelector,
    patch::{self, Managers},
    related::Relations,
    selection::Need,
};
use crate::event::{Level, Timestamp, resources};

/// How long a request waits for others that were stored before it and logged after it.
const WAIT: i64 = 2_000_000;
/// How many requests wait at most, and with how many bytes.
const MAX_WAITING: usize = 64;
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Replays the events that a [`Selection`](super::Selection) passed on, in the order of the log.
#[derive(Debug)]
pub struct History {
    question: Question,
    target: Target,
    objects: HashMap<ObjectId, Object>,
    lives: Vec<Life>,
    items: Vec<Item>,
    relations: Relations,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    hidden: Hidden,
    kept_bytes: usize,
    body_bytes: usize,
    /// Counts uses of bodies, to forget the one that was not used for longest.
    clock: u64,
}

/// A request that waits for its turn.
#[derive(Debug)]
struct Waiting {
    need: Need,
    request: Request,
    version: Option<u64>,
    bytes: usize,
}

/// What is known of an object at this point of the log.
#[derive(Debug, Default)]
struct Object {
    life: usize,
    is_seen: bool,
    /// Its creation is in the log, so who never applied anything there owns nothing.
    is_from_start: bool,
    known: Known,
    /// What each manager applied last.
    applied: BTreeMap<String, Fields>,
    last_write: Option<LastWrite>,
    used: u64,
}

#[derive(Debug, Default)]
enum Known {
    #[default]
    Unknown,
    /// There is none.
    Absent,
    Body(Box<Body>),
}

/// The last write that changed an object, for messages.
#[derive(Debug, Clone)]
pub struct LastWrite {
    pub time: Option<Timestamp>,
    pub user: String,
    pub verb: String,
    pub level: Level,
}

/// From one creation to the next.
#[derive(Debug, Default)]
struct Life {
    uid: Option<String>,
    /// A body of it matched the selector.
    is_selected: bool,
}

/// An object at a time.
#[derive(Debug)]
pub enum AtTime {
    /// As it was recorded or computed, without secret values.
    Body(Value),
    Deleted(Option<LastWrite>),
    /// The last write before is not recorded well enough.
    Unknown(Option<LastWrite>),
}

/// The bodies before and after, where they are kept for a unified difference.
type Bodies = (Option<Value>, Option<Value>);

/// What a request made of an object.
enum After {
    Body {
        value: Value,
        is_recorded: bool,
    },
    /// It is gone; the last body, if the reply has it.
    Absent(Option<Value>),
    Unknown,
}

impl History {
    pub fn new(question: Question, target: Target) -> History {
        History {
            question,
            target,
            objects: HashMap::new(),
            lives: Vec::new(),
            items: Vec::new(),
            relations: Relations::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            hidden: Hidden::default(),
            kept_bytes: 0,
            body_bytes: 0,
            clock: 0,
        }
    }

    /// Takes what a selection made of an event, in the order of the log.
    pub fn take(&mut self, text: &[u8]) {
        let Some((need, line)) = Need::split(text) else { return };
        let Some(request) = Request::parse(line) else { return };
        if self.question.at.is_some_and(|at| request.received.is_none_or(|time| time > at)) {
            return;
        }
        let version = request.body().filter(|_| !request.is_read()).and_then(body::version);
        let now = request.stage_time;
        self.waiting_bytes += line.len();
        self.waiting.push_back(Waiting { need, request, version, bytes: line.len() });

        let is_due = |waiting: &Waiting| match (waiting.request.stage_time, now) {
            (Some(time), Some(now)) => time.0.saturating_add(WAIT) < now.0,
            _ => true,
        };
        while self.waiting.front().is_some_and(is_due)
            || self.waiting.len() > MAX_WAITING
            || self.waiting_bytes > MAX_WAITING_BYTES && self.waiting.len() > 1
        {
            self.next();
        }
    }

    /// Replays the request that was stored first: the oldest, unless another of its object has an older
    /// version.
    fn next(&mut self) {
        let Some(first) = self.waiting.front() else { return };
        let older = self.waiting.iter().enumerate().filter(|(_, waiting)| {
            waiting.request.object == first.request.object
                && waiting.version < first.version
                && waiting.version.is_some()
        });
        let at = older.min_by_key(|(_, waiting)| waiting.version).map_or(0, |(at, _)| at);
        let Some(Waiting { need, request, bytes, .. }) = self.waiting.remove(at) else { return };
        self.waiting_bytes -= bytes;
        self.observe(need, &request);
    }

    fn observe(&mut self, need: Need, request: &Request) {
        if need == Need::Related {
            return self.relations.observe(request, &self.target);
        }
        match &*request.verb {
            "deletecollection" => {
                // Its entries may be children as well.
                self.relations.observe(request, &self.target);
                self.collection(need, request);
            }
            "list" | "watch" => self.listed(need, request),
            "get" => self.read(need, request),
            _ => self.write(need, request),
        }
    }

    fn object(&mut self, id: &ObjectId) -> &mut Object {
        if !self.objects.contains_key(id) {
            let life = self.new_life();
            self.objects.insert(id.clone(), Object { life, ..Object::default() });
        }
        self.clock += 1;
        let object = self.objects.get_mut(id).expect("it was inserted");
        object.used = self.clock;
        object
    }

    fn new_life(&mut self) -> usize {
        self.lives.push(Life::default());
        self.lives.len() - 1
    }

    /// A request for one object that may have changed it.
    fn write(&mut self, need: Need, request: &Request) {
        let mut id = request.object.clone();
        if id.name.is_empty() {
            let named = request.body().or(request.request.as_ref());
            let Some(name) = named.and_then(|it| body::text(it, "/metadata/name")) else { return };
            id.name = name.to_owned();
            if !self.target.has(&id.resource, &id.group, &id.name) {
                return self.relations.observe(request, &self.target);
            }
        }
        if self.target.is_named() {
            self.relations.observe(request, &self.target);
        }

        if !request.has_succeeded() {
            let is_refused = request.code.is_some_and(|it| it >= 400) && !request.is_uncertain;
            let change = if is_refused { ChangeKind::None } else { ChangeKind::Unknown };
            if !is_refused && !request.is_dry_run {
                self.set(&id, Known::Unknown);
            }
            let words = failure(request);
            return self.push(need, request, &id, change, None, DiffSource::None, None, words);
        }

        let is_new = request.subresource.is_empty()
            && (request.verb == "create" || request.code == Some(201) && request.verb != "delete");
        let after = self.after(request, &id, is_new);
        if !request.is_dry_run {
            self.begin_life(request, &id, &after, is_new);
        }
        self.change(need, request, &id, after, is_new);
    }

    /// Another life begins with a creation, and where the uid is another one.
    fn begin_life(&mut self, request: &Request, id: &ObjectId, after: &After, is_new: bool) {
        let in_body = match after {
            After::Body { value, is_recorded: true } | After::Absent(Some(value)) => {
                body::text(value, "/metadata/uid").map(str::to_owned)
            }
            _ => None,
        };
        let uid = in_body.or_else(|| request.uid.clone().filter(|_| !is_new));
        let object = self.object(id);
        let (life, is_seen) = (object.life, object.is_seen);
        let is_other =
            uid.is_some() && self.lives[life].uid.is_some() && self.lives[life].uid != uid;
        if is_seen && (is_new || is_other) {
            let life = self.new_life();
            self.set(id, Known::Unknown);
            let object = self.object(id);
            object.life = life;
            object.is_from_start = false;
            object.applied.clear();
        }
        let object = self.object(id);
        object.is_seen = true;
        object.is_from_start |= is_new;
        let life = object.life;
        if uid.is_some() {
            self.lives[life].uid = uid;
        }
    }

    /// What the object is after a request that succeeded.
    fn after(&mut self, request: &Request, id: &ObjectId, is_new: bool) -> After {
        let sent = request.request.as_ref();
        let recorded = |value: &Value| After::Body { value: value.clone(), is_recorded: true };
        if request.verb == "delete" {
            return self.after_delete(request, id);
        }
        if let (Some(value), false) = (request.body(), request.subresource == "scale") {
            return recorded(value);
        }
        if is_new {
            let named = sent.filter(|it| event::is_object(it));
            return named.map_or(After::Unknown, |value| After::computed(id, value.clone()));
        }

        let is_apply = request.verb == "patch"
            && sent.is_some_and(|it| patch::is_apply(it, request.field_manager.as_deref()));
        let object = self.object(id);
        let Known::Body(before) = &object.known else {
            let is_whole = request.verb == "update" && request.subresource.is_empty();
            return match sent.filter(|it| is_whole && event::is_object(it)) {
                Some(value) => After::computed(id, value.clone()),
                None => After::Unknown,
            };
        };
        let Some(sent) = sent else { return After::Unknown };
        let computed = match (&*request.verb, &*request.subresource) {
            (_, "scale") => scaled(&before.value, request),
            (_, "binding" | "eviction" | "finalize" | "approval") => None,
            ("update", "") => event::is_object(sent).then(|| sent.clone()),
            ("update", "status") => sent.get("status").map(|status| {
                let mut value = before.value.clone();
                value["status"] = status.clone();
                value
            }),
            ("patch", _) => {
                let managers = is_apply.then(|| object.managers(before, request));
                let kind = (&*id.group, &*id.resource);
                patch::applied(kind, &before.value, sent, managers.as_ref())
            }
            _ => None,
        };
        match computed {
            Some(value) => After::computed(id, value),
            None => After::Unknown,
        }
    }

    fn after_delete(&mut self, request: &Request, id: &ObjectId) -> After {
        let option = |name| request.request.as_ref().and_then(|options| options.get(name));
        let is_at_once = option("gracePeriodSeconds").and_then(Value::as_i64) == Some(0);
        if let Some(value) = request.body() {
            let is_marked = body::text(value, "/metadata/deletionTimestamp").is_some();
            let has_finalizers = !body::finalizers(value).is_empty();
            let is_gone = !is_marked || body::is_gone(value) || is_at_once && !has_finalizers;
            return match is_gone {
                true => After::Absent(Some(value.clone())),
                false => After::Body { value: value.clone(), is_recorded: true },
            };
        }
        if request.response.is_some() {
            return After::Absent(None);
        }
        // Without a reply: what may linger is not known to be gone.
        let is_in_foreground =
            option("propagationPolicy").and_then(Value::as_str) == Some("Foreground");
        let lingers = matches!(&*id.resource, "pods" | "namespaces") && !is_at_once;
        let has_finalizers = match &self.object(id).known {
            Known::Body(before) => !body::finalizers(&before.value).is_empty(),
            _ => false,
        };
        match lingers || is_in_foreground || has_finalizers {
            true => After::Unknown,
            false => After::Absent(None),
        }
    }

    /// Compares before and after, shows it, and remembers what is after.
    fn change(&mut self, need: Need, request: &Request, id: &ObjectId, after: After, is_new: bool) {
        let redactor = self.question.redactor.clone();
        let shown = |value: &Value| body::strip(redactor.object(&id.resource, value.clone()));
        let is_delete = request.verb == "delete";
        let object = self.object(id);
        let known = std::mem::take(&mut object.known);
        // Nobody says what was there before a creation, if not that it is one.
        let before = if is_new { Known::Absent } else { known };

        let usable = match (&before, &after) {
            (Known::Body(before), After::Body { value, is_recorded: true }) => {
                is_next(&before.value, value)
            }
            _ => true,
        };
        let after_shown = match &after {
            After::Body { value, .. } | After::Absent(Some(value)) => Some(shown(value)),
            _ => None,
        };
        let sent = request.request.as_ref().filter(|_| !is_delete);
        let as_sent = || {
            let changes = match &*request.subresource {
                "binding" => bound(sent?),
                _ if request.verb == "patch" => patch::as_sent(sent?),
                _ => None,
            };
            changes.map(|changes| redactor.changes(&id.resource, changes))
        };
        let (changes, source) = match (&before, &after) {
            (Known::Body(before), After::Body { is_recorded, .. }) if usable => {
                let changes = diff::between(&before.shown, after_shown.as_ref().expect("a body"));
                let both = before.is_recorded && *is_recorded;
                (Some(changes), if both { DiffSource::Bodies } else { DiffSource::Patch })
            }
            (Known::Absent, After::Body { is_recorded, .. }) if is_new => {
                let value = after_shown.clone().expect("a body");
                let source = if *is_recorded { DiffSource::Bodies } else { DiffSource::Patch };
                (Some(vec![Change::Add { path: String::new(), value }]), source)
            }
            (_, After::Absent(Some(_))) => {
                let old_value = after_shown.clone().expect("a body");
                let removed = Change::Remove { path: String::new(), old_value };
                (Some(vec![removed]), DiffSource::Bodies)
            }
            (Known::Body(before), After::Absent(None)) => {
                let source =
                    if before.is_recorded { DiffSource::Bodies } else { DiffSource::Patch };
                let old_value = before.shown.clone();
                (Some(vec![Change::Remove { path: String::new(), old_value }]), source)
            }
            _ => match as_sent() {
                Some(changes) => (Some(changes), DiffSource::Patch),
                None => (None, DiffSource::None),
            },
        };

        // Only a write of the status changes it; other changes of it are of writes in between.
        let hides_status = request.subresource != "status"
            && resources::has(&id.group, &id.resource)
            && matches!(&after, After::Body { .. })
            && !is_new;
        let told: Option<Vec<Change>> = changes.as_ref().map(|changes| {
            let is_told = |it: &&Change| !hides_status || !is_of_status(it.path());
            changes.iter().filter(is_told).cloned().collect()
        });
        let is_computed = !matches!((&before, &after), (_, After::Unknown) | (Known::Unknown, _));
        let is_idle = is_computed && usable && changes.as_ref().is_some_and(Vec::is_empty);
        let change = kind_of(request, is_new, is_idle);
        let words = self.words(request, change, told.as_deref(), source, &after);
        let text = (self.question.keep == Keep::Text).then(|| {
            let old = match &before {
                Known::Body(before) if usable => Some(&before.shown),
                _ => match &after {
                    After::Absent(Some(_)) => after_shown.as_ref(),
                    _ => None,
                },
            };
            let new = after_shown.as_ref().filter(|_| matches!(after, After::Body { .. }));
            let mut old = old.cloned();
            if let (true, Some(old), Some(new)) = (hides_status, &mut old, new) {
                match (old.as_object_mut(), new.get("status")) {
                    (Some(old), Some(status)) => drop(old.insert("status".into(), status.clone())),
                    (Some(old), None) => drop(old.shift_remove("status")),
                    _ => {}
                }
            }
            (old, new.cloned())
        });

        // A dry run stores nothing.
        if request.is_dry_run {
            self.object(id).known = before;
        } else {
            self.remember(request, id, before, after, after_shown, usable);
        }
        let version = request.body().and_then(|it| body::text(it, "/metadata/resourceVersion"));
        let version = version.map(str::to_owned).or_else(|| {
            let scale = request.response.as_ref().filter(|_| request.subresource == "scale")?;
            body::text(scale, "/metadata/resourceVersion").map(str::to_owned)
        });
        let diff = changes.map(|changes| (changes, text.unwrap_or_default()));
        self.push(need, request, id, change, diff, source, version, words);
    }

    fn remember(
        &mut self,
        request: &Request,
        id: &ObjectId,
        before: Known,
        after: After,
        after_shown: Option<Value>,
        usable: bool,
    ) {
        let is_late = !usable
            && matches!((&before, &after), (Known::Body(before), After::Body { value, .. })
            if body::version(&before.value) > body::version(value));
        if is_late {
            self.object(id).known = before;
            return;
        }
        self.forget_bytes(&before);
        let known = match after {
            After::Body { value, is_recorded } => {
                self.relations.owned(id, &value, request.received);
                let is_gone = request.verb != "create" && body::is_gone(&value);
                if is_gone { Known::Absent } else { self.body(value, after_shown, is_recorded) }
            }
            After::Absent(value) => {
                if let Some(value) = value {
                    self.relations.owned(id, &value, request.received);
                }
                Known::Absent
            }
            After::Unknown => Known::Unknown,
        };
        if matches!(known, Known::Absent) {
            self.relations.gone(id, request.received);
        }
        if let Known::Body(body) = &known {
            let is_selected = self.question.selector.matches(&body.value);
            let life = self.object(id).life;
            self.lives[life].is_selected |= is_selected;
        }

        let object = self.object(id);
        object.known = known;
        object.last_write = Some(LastWrite {
            time: request.received,
            user: request.impersonated_user.clone().unwrap_or_else(|| request.user.clone()),
            verb: request.verb.clone(),
            level: request.level,
        });
        if let (Some(manager), Some(sent)) = (&request.field_manager, &request.request)
            && request.verb == "patch"
            && patch::is_apply(sent, Some(manager))
        {
            let fields = apply::fields_of(&id.resource, sent);
            object.applied.insert(manager.clone(), fields);
        }
        self.forget_bodies(id);
    }

    fn body(&mut self, value: Value, shown: Option<Value>, is_recorded: bool) -> Known {
        let bytes = size(&value);
        self.body_bytes += bytes;
        let shown = shown.unwrap_or_default();
        Known::Body(Box::new(Body { value, shown, is_recorded, bytes }))
    }

    fn forget_bytes(&mut self, known: &Known) {
        if let Known::Body(body) = known {
            self.body_bytes = self.body_bytes.saturating_sub(body.bytes);
        }
    }

    fn set(&mut self, id: &ObjectId, known: Known) {
        let old = std::mem::replace(&mut self.object(id).known, known);
        self.forget_bytes(&old);
    }

    /// Forgets the bodies that were not used for longest until the others have room.
    fn forget_bodies(&mut self, but: &ObjectId) {
        while self.body_bytes > self.question.max_bytes {
            let with_body = self
                .objects
                .iter()
                .filter(|(id, object)| *id != but && matches!(object.known, Known::Body(_)));
            let Some(id) = with_body.min_by_key(|(_, it)| it.used).map(|(id, _)| id.clone()) else {
                return;
            };
            self.set(&id, Known::Unknown);
            self.hidden.bodies += 1;
        }
    }

    /// What a request did, in a few words.
    fn words(
        &self,
        request: &Request,
        change: ChangeKind,
        changes: Option<&[Change]>,
        source: DiffSource,
        after: &After,
    ) -> String {
        match (change, after) {
            (ChangeKind::Created, _) => String::new(),
            (ChangeKind::Deleted, After::Body { value, .. }) => {
                let how = how_deleted(request);
                match &*body::finalizers(value) {
                    [] => format!("{how}marked for deletion"),
                    names => format!("{how}marked, waits for {}", names.join(", ")),
                }
            }
            (ChangeKind::Deleted, _) => how_deleted(request).trim_end_matches("; ").to_owned(),
            (ChangeKind::None, _) => "nothing changed".to_owned(),
            _ => match (changes, source) {
                (Some(changes), DiffSource::Patch) if matches!(after, After::Unknown) => {
                    format!("as sent: {}", field::words(changes))
                }
                (Some(changes), _) => field::words(changes),
                (None, _) if request.level < Level::Request => {
                    format!("not recorded at level {}", request.level)
                }
                (None, _) => "not known: the body before is not recorded".to_owned(),
            },
        }
    }

    /// A deletion of several objects.
    fn collection(&mut self, need: Need, request: &Request) {
        if !request.has_succeeded() {
            return;
        }
        if let Some(items) = request.list() {
            for item in items {
                let Some(name) = body::text(&item, "/metadata/name") else { continue };
                let id = ObjectId { name: name.to_owned(), ..request.object.clone() };
                if !self.target.has(&id.resource, &id.group, &id.name) {
                    continue;
                }
                let id = ObjectId {
                    namespace: body::text(&item, "/metadata/namespace")
                        .unwrap_or(&id.namespace)
                        .to_owned(),
                    ..id
                };
                // A list tells what was there before; pods, and what has finalizers, linger.
                let lingers = id.resource == "pods" || !body::finalizers(&item).is_empty();
                let after =
                    if lingers { After::Unknown } else { After::Absent(Some(item.clone())) };
                if !request.is_dry_run {
                    let seen = After::Absent(Some(item));
                    self.begin_life(request, &id, &seen, false);
                }
                self.change(need, request, &id, after, false);
            }
            return;
        }

        let selector = request.label_selector.as_deref().map(LabelSelector::parse);
        let mut hit: Vec<ObjectId> = Vec::new();
        for (id, object) in &self.objects {
            let is_of = (&id.resource, &id.group)
                == (&request.object.resource, &request.object.group)
                && (request.object.namespace.is_empty()
                    || id.namespace == request.object.namespace);
            let is_selected = match (&selector, &object.known) {
                // Of selectors by field only the name can be told.
                _ if !request.may_select(&id.name) => false,
                (None, _) => true,
                (Some(Ok(selector)), Known::Body(body)) => selector.matches(&body.value),
                _ => false,
            };
            let is_gone = matches!(object.known, Known::Absent) || object.is_being_deleted();
            if is_of && is_selected && object.is_seen && !is_gone {
                hit.push(id.clone());
            }
        }
        hit.sort();
        for id in hit {
            let lingers = id.resource == "pods";
            let after = if lingers { After::Unknown } else { After::Absent(None) };
            self.change(need, request, &id, after, false);
        }
    }

    /// A read of one object.
    fn read(&mut self, need: Need, request: &Request) {
        let id = request.object.clone();
        if request.has_succeeded()
            && request.subresource.is_empty()
            && let Some(value) = request.body()
        {
            self.saw(request, &id, value.clone());
        }
        if self.question.shows_reads {
            let words = if request.has_succeeded() { String::new() } else { failure(request) };
            self.push(need, request, &id, ChangeKind::None, None, DiffSource::None, None, words);
        }
    }

    /// Objects that a list returned, or a watch may have.
    fn listed(&mut self, need: Need, request: &Request) {
        if request.has_succeeded()
            && let Some(items) = request.list()
        {
            for item in items {
                let Some(name) = body::text(&item, "/metadata/name") else { continue };
                let namespace = body::text(&item, "/metadata/namespace").unwrap_or_default();
                let id = ObjectId {
                    name: name.to_owned(),
                    namespace: namespace.to_owned(),
                    ..request.object.clone()
                };
                if self.target.has(&id.resource, &id.group, &id.name) {
                    self.saw(request, &id, item);
                    let words = "returned in a list".to_owned();
                    let (change, source) = (ChangeKind::None, DiffSource::None);
                    self.push(need, request, &id, change, None, source, None, words);
                }
            }
            return;
        }
        if !request.has_succeeded() && request.code != Some(101) {
            return;
        }
        let selector = request.label_selector.as_deref().map(LabelSelector::parse);
        let mut seen: Vec<ObjectId> = Vec::new();
        for (id, object) in &self.objects {
            let is_of = (&id.resource, &id.group)
                == (&request.object.resource, &request.object.group)
                && (request.object.namespace.is_empty()
                    || id.namespace == request.object.namespace)
                && (request.object.name.is_empty() || id.name == request.object.name);
            let may_match = match (&selector, &object.known) {
                (Some(Ok(selector)), Known::Body(body)) => selector.matches(&body.value),
                _ => true,
            };
            if is_of && may_match && object.is_seen && !matches!(object.known, Known::Absent) {
                seen.push(id.clone());
            }
        }
        seen.sort();
        for id in seen {
            let words = "may be among what it returned".to_owned();
            self.push(need, request, &id, ChangeKind::None, None, DiffSource::None, None, words);
        }
    }

    /// A body that was read is known like one that was written, unless a newer one is.
    fn saw(&mut self, request: &Request, id: &ObjectId, value: Value) {
        let object = self.object(id);
        let uid = body::text(&value, "/metadata/uid").map(str::to_owned);
        let life = object.life;
        let is_newer = match &object.known {
            Known::Body(known) if known.is_recorded => {
                body::version(&known.value) < body::version(&value)
            }
            Known::Absent if object.is_seen => self.lives[life].uid != uid,
            _ => true,
        };
        if !is_newer {
            return;
        }
        let after = After::Body { value, is_recorded: true };
        self.begin_life(request, id, &after, false);
        let After::Body { value, .. } = after else { return };
        self.relations.owned(id, &value, request.received);
        let life = self.object(id).life;
        self.lives[life].is_selected |= self.question.selector.matches(&value);
        let shown = body::strip(self.question.redactor.object(&id.resource, value.clone()));
        let known = self.body(value, Some(shown), true);
        self.set(id, known);
        self.forget_bodies(id);
    }

    #[allow(clippy::too_many_arguments, reason = "an item has as many parts")]
    fn push(
        &mut self,
        need: Need,
        request: &Request,
        id: &ObjectId,
        change: ChangeKind,
        diff: Option<(Vec<Change>, Bodies)>,
        diff_source: DiffSource,
        resource_version: Option<String>,
        words: String,
    ) {
        let object = self.object(id);
        object.is_seen = true;
        let life = object.life;
        if need != Need::Shown || self.question.at.is_some() {
            return;
        }
        let is_status = request.subresource == "status" && !request.is_read();
        if is_status && !self.question.shows_status {
            self.hidden.status += 1;
            return;
        }
        if request.is_dry_run && !self.question.shows_dry_runs {
            self.hidden.dry_runs += 1;
            return;
        }

        let (mut changes, texts) = match diff {
            Some((changes, texts)) => (Some(changes), texts),
            None => (None, (None, None)),
        };
        let mut words = words;
        if let Some(field) = &self.question.field {
            let Some(found) = changes.take() else {
                self.hidden.unknown += u64::from(request.has_succeeded() && !request.is_read());
                return;
            };
            let found = field::of_field(field, found);
            if found.is_empty() {
                return;
            }
            if !matches!(change, ChangeKind::Created | ChangeKind::Deleted) {
                words = field::words(&found);
            }
            changes = Some(found);
        }

        let text = match self.question.keep {
            Keep::Text => text_of(id, request, changes.as_deref(), texts),
            _ => String::new(),
        };
        let diff = if self.question.keep == Keep::Operations { changes } else { None };
        let bytes = text.len() + diff.iter().flatten().map(size_of_change).sum::<usize>();
        let has_room = bytes < 4096 || self.kept_bytes + bytes <= self.question.max_bytes;
        let (diff, text) = if has_room {
            self.kept_bytes += bytes;
            (diff, text)
        } else {
            self.hidden.differences += 1;
            (None, "# left out: the differences take too much memory (--max-memory)\n".to_owned())
        };
        self.items.push(Item {
            time: request.received,
            object: id.clone(),
            uid: None,
            user: request.user.clone(),
            impersonated_user: request.impersonated_user.clone(),
            verb: request.verb.clone(),
            subresource: Some(request.subresource.clone()).filter(|it| !it.is_empty()),
            code: request.code,
            dry_run: request.is_dry_run,
            change,
            diff_source: if has_room { diff_source } else { DiffSource::None },
            diff,
            resource_version,
            audit_id: request.audit_id.clone(),
            action: None,
            words,
            text,
            life,
        });
    }

    /// Everything that was found, in the order of receipt.
    pub fn finish(mut self) -> ObjectHistory {
        while !self.waiting.is_empty() {
            self.next();
        }
        // Of a whole namespace everything is listed anyway, and who asks for a field wants no more.
        let has_relations = self.target.is_named() && self.question.field.is_none();
        let relations = if has_relations { self.relations } else { Relations::default() };
        let has_selector = self.question.selector != LabelSelector::default();
        let lives = &self.lives;
        self.items.retain(|item| !has_selector || lives[item.life].is_selected);
        for item in &mut self.items {
            item.uid.clone_from(&lives[item.life].uid);
        }
        self.items.sort_by_key(|item| item.time);
        let related = relations.finish();
        ObjectHistory { items: self.items, related, hidden: self.hidden }
    }

    /// The objects as they were at the time of the question, by name.
    pub fn finish_at(mut self) -> Vec<(ObjectId, AtTime)> {
        while !self.waiting.is_empty() {
            self.next();
        }
        let has_selector = self.question.selector != LabelSelector::default();
        let (lives, redactor) = (&self.lives, &self.question.redactor);
        let at = |(id, object): (ObjectId, Object)| {
            let is_selected = !has_selector || lives[object.life].is_selected;
            if !object.is_seen || !is_selected {
                return None;
            }
            let at = match object.known {
                Known::Body(body) => AtTime::Body(redactor.object(&id.resource, body.value)),
                Known::Absent => AtTime::Deleted(object.last_write),
                Known::Unknown => AtTime::Unknown(object.last_write),
            };
            Some((id, at))
        };
        let mut all: Vec<_> = self.objects.into_iter().filter_map(at).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }
}

impl After {
    /// A body that was sent or computed, as the server stores it.
    fn computed(id: &ObjectId, value: Value) -> After {
        let mut value = body::unversioned(value);
        if id.resource == "secrets" && id.group.is_empty() {
            body::encode_string_data(&mut value);
        }
        After::Body { value, is_recorded: false }
    }
}

impl Object {
    /// Whether the last write deleted it, though it may linger.
    fn is_being_deleted(&self) -> bool {
        let is_unknown = matches!(self.known, Known::Unknown);
        is_unknown && self.last_write.as_ref().is_some_and(|it| it.verb.starts_with("delete"))
    }

    /// Who owns which fields, as the body before tells it, or else what was applied in the log.
    fn managers(&self, before: &Body, request: &Request) -> Managers {
        let manager = request.field_manager.as_deref().unwrap_or_default();
        let has_fields = before.value.pointer("/metadata/managedFields").is_some();
        if has_fields && before.is_recorded {
            let is_own = |entry: &Value| {
                entry["manager"] == manager
                    && entry["operation"] == "Apply"
                    && entry["subresource"].as_str().unwrap_or_default() == request.subresource
            };
            return Managers {
                own: Some(apply::managed(&before.value, &is_own)),
                others: apply::managed(&before.value, &|entry| !is_own(entry)),
            };
        }
        let others = self.applied.iter().filter(|(name, _)| *name != manager);
        Managers {
            own: match self.applied.get(manager) {
                Some(fields) => Some(fields.clone()),
                None => self.is_from_start.then(Fields::default),
            },
            others: others.flat_map(|(_, fields)| fields.iter().cloned()).collect(),
        }
    }
}

/// Whether one recorded body may directly follow another.
fn is_next(before: &Value, after: &Value) -> bool {
    if let (Some(old), Some(new)) = (body::version(before), body::version(after))
        && new < old
    {
        return false;
    }
    match (body::generation(before), body::generation(after)) {
        // Writes in between are not in the log.
        (Some(old), Some(new)) => new >= old && new - old <= 1,
        _ => true,
    }
}

/// An object with as many replicas as a request for its scale asks for.
fn scaled(before: &Value, request: &Request) -> Option<Value> {
    let replicas = |scale: &Value| scale.pointer("/spec/replicas").cloned();
    let asked = request.response.as_ref().and_then(replicas);
    let replicas = asked.or_else(|| request.request.as_ref().and_then(replicas))?;
    let known = ["deployments", "replicasets", "statefulsets", "replicationcontrollers"];
    if !known.contains(&&*request.object.resource) {
        return None;
    }
    let mut value = before.clone();
    value.get_mut("spec")?.as_object_mut()?.insert("replicas".to_owned(), replicas);
    Some(value)
}

/// Whether a place is in the status.
fn is_of_status(path: &str) -> bool {
    path == "/status" || path.starts_with("/status/")
}

/// What binding a pod to a node changes.
fn bound(binding: &Value) -> Option<Vec<Change>> {
    let value = binding.pointer("/target/name")?.clone();
    Some(vec![Change::Add { path: "/spec/nodeName".to_owned(), value }])
}

fn kind_of(request: &Request, is_new: bool, is_idle: bool) -> ChangeKind {
    match (&*request.verb, &*request.subresource) {
        ("delete" | "deletecollection", _) => ChangeKind::Deleted,
        ("create", "eviction") => ChangeKind::Evicted,
        _ if is_new => ChangeKind::Created,
        _ if is_idle => ChangeKind::None,
        (_, "scale") => ChangeKind::Scaled,
        (_, "status") => ChangeKind::Status,
        ("patch", _) => ChangeKind::Patched,
        _ => ChangeKind::Updated,
    }
}

/// Who really deletes: the words end in `; ` or are empty.
fn how_deleted(request: &Request) -> String {
    let by = match &*request.user {
        "system:serviceaccount:kube-system:generic-garbage-collector" => {
            "by garbage collection, as its owner is gone; "
        }
        "system:serviceaccount:kube-system:namespace-controller" => "with its namespace; ",
        "system:serviceaccount:kube-system:pod-garbage-collector" => "by pod garbage collection; ",
        user if user.starts_with("system:node:") && request.object.resource == "pods" => {
            "removed by its node; "
        }
        _ if request.verb == "deletecollection" => "in a collection; ",
        _ => "",
    };
    by.to_owned()
}

/// Why a request failed.
fn failure(request: &Request) -> String {
    let what = match request.code {
        Some(401 | 403) => "refused",
        Some(404) => "not found",
        Some(409) => "conflict",
        Some(422) => "invalid",
        Some(_) => "failed",
        None => "outcome not recorded",
    };
    what.to_owned()
}

/// About the bytes that a value takes as text.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 16,
        Value::Array(list) => 32 + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => {
            32 + map.iter().map(|(key, it)| key.len() + 32 + size(it)).sum::<usize>()
        }
        _ => 16,
    }
}

fn size_of_change(change: &Change) -> usize {
    let values = [change.value(), change.old_value()];
    change.path().len() + values.into_iter().flatten().map(size).sum::<usize>()
}

/// The YAML before and after as a unified difference, or the patch as sent.
fn text_of(
    id: &ObjectId,
    request: &Request,
    changes: Option<&[Change]>,
    (old, new): Bodies,
) -> String {
    if old.is_some() || new.is_some() {
        return super::text::unified(id, request, old.as_ref(), new.as_ref());
    }
    let mut text = String::new();
    for change in changes.into_iter().flatten() {
        let sign = if change.value().is_some() { '+' } else { '-' };
        let value = change.value().map(|it| format!(": {it}")).unwrap_or_default();
        text += &format!("{sign}{}{value}\n", change.path());
    }
    if text.is_empty() { text } else { format!("# the patch as sent\n{text}") }
}
