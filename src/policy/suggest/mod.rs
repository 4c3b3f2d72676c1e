//! A policy for a budget: what a log is made of, and what of it to give up, the least valuable first.
//!
//! Only what is seen in the log is touched. Never given up: that somebody changed something, sessions
//! into workloads, what people do, and what the baseline asks for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Policy, Rule, Stages,
    baseline::{self, Keep},
};
use crate::event::{Level, Stage};

mod manifest;
mod rules;
#[cfg(test)]
mod tests;

pub use manifest::manifest;
pub use rules::PATHS;

/// Requests that the rules of a suggestion cannot tell apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    pub who: Who,
    pub verb: Verb,
    pub what: What,
}

/// Who asked, as far as a suggestion cares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Who {
    /// Members of `system:nodes`.
    Nodes,
    /// A part of the control plane, or a service account in `kube-system`.
    System(String),
    /// Any other service account.
    Account(String),
    /// People, and who is not known.
    Person,
}

/// What a verb does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// `get`, `list`, `watch`
    Read,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`
    Change,
    /// Whatever else a log has.
    Other,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    Resource {
        group: String,
        /// With the subresource: `pods/exec`.
        resource: String,
    },
    /// One of [`PATHS`].
    Path(&'static str),
    /// Everything that no rule is made for.
    Rest,
}

/// How many bytes the same events take under each treatment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub events: u64,
    /// Per level from Metadata on; first with managed fields, then without.
    pub bytes: [[u64; 3]; 2],
}

/// The events of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Those of stage RequestReceived.
    pub arrivals: Sizes,
    pub others: Sizes,
    /// The most that was recorded.
    pub level: Level,
}

impl Sizes {
    pub fn merge(&mut self, other: &Sizes) {
        self.events += other.events;
        for (mine, its) in self.bytes.as_flattened_mut().iter_mut().zip(other.bytes.as_flattened())
        {
            *mine += its;
        }
    }
}

impl Volume {
    pub fn merge(&mut self, other: &Volume) {
        self.arrivals.merge(&other.arrivals);
        self.others.merge(&other.others);
        self.level = self.level.max(other.level);
    }
}

/// What is given up, one thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The events of stage RequestReceived.
    Arrivals,
    ManagedFields,
    /// Requests of a path.
    Path(&'static str),
    /// All requests of somebody of this kind for a thing.
    Requests {
        who: Who,
        verb: Verb,
        what: What,
    },
    /// What is above this level.
    Bodies {
        verb: Verb,
        what: What,
        level: Level,
    },
}

/// A step down, and what it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub loss: Loss,
    /// The tier of the ladder, from 0.
    pub tier: usize,
    pub events: u64,
    pub bytes: u64,
}

/// The tiers of the ladder, the first given up first. What each costs an investigator.
pub const TIERS: [&str; 10] = [
    "that a request arrived: its end is logged",
    "managed fields: bookkeeping of server-side apply",
    "health checks and discovery",
    "heartbeats: leases and events of the system",
    "what the system's own parts read",
    "what was answered to reads",
    "what was answered to changes: the request stays",
    "status updates and access reviews by the system",
    "what other service accounts read",
    "what changes asked for: who changed what stays",
];

/// Down to this tier without a budget: nothing that a person would miss.
const FREE_TIERS: usize = 4;

/// What to give up so that a log of these kinds takes at most `budget` bytes; without one, what nobody
/// would miss. Steps that bring nothing are not taken.
pub fn plan(kinds: &BTreeMap<Kind, Volume>, keep: Keep, budget: Option<u64>) -> Plan {
    let mut plan = Plan::new(kinds, keep);
    let mut total = plan.total(kinds).bytes;
    let tiers = if budget.is_some() { TIERS.len() } else { FREE_TIERS };
    for tier in 0..tiers {
        let mut gains: BTreeMap<Loss, Saved> = BTreeMap::new();
        for (kind, volume) in kinds {
            let Some(loss) = plan.loss(tier, kind) else { continue };
            let (before, after) = (plan.saved(kind, volume), plan.after(&loss, kind, volume));
            let gain = gains.entry(loss).or_default();
            gain.events += before.events.saturating_sub(after.events);
            gain.bytes += before.bytes.saturating_sub(after.bytes);
        }
        let mut gains: Vec<_> = gains.into_iter().filter(|(_, gain)| gain.bytes > 0).collect();
        // The most first; what brings the same stays in the order of names.
        gains.sort_by_key(|(_, gain)| std::cmp::Reverse(gain.bytes));
        for (loss, gain) in gains {
            if budget.is_some_and(|it| total <= it) {
                return plan;
            }
            total = total.saturating_sub(gain.bytes);
            plan.take(&loss);
            plan.steps.push(Step { loss, tier, events: gain.events, bytes: gain.bytes });
        }
    }
    plan
}

/// Events and bytes that a plan keeps of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    pub events: u64,
    pub bytes: u64,
}

impl Saved {
    fn and(self, step: &Step) -> Saved {
        Saved { events: self.events + step.events, bytes: self.bytes + step.bytes }
    }
}

/// What is logged how.
#[derive(Debug, Clone)]
pub struct Plan {
    keep: Keep,
    omit_arrivals: bool,
    omit_managed: bool,
    dropped: BTreeSet<(Who, Verb, What)>,
    paths: BTreeSet<&'static str>,
    levels: BTreeMap<(What, Verb), Level>,
    pub steps: Vec<Step>,
}

impl Plan {
    /// Everything at the level that it was recorded at.
    fn new(kinds: &BTreeMap<Kind, Volume>, keep: Keep) -> Plan {
        let mut levels: BTreeMap<(What, Verb), Level> = BTreeMap::new();
        for (kind, volume) in kinds {
            let has_level = matches!(kind.what, What::Resource { .. }) && kind.verb != Verb::Other;
            if has_level && fixed(kind, keep).is_none() {
                let level = levels.entry((kind.what.clone(), kind.verb)).or_default();
                *level = volume.level.max(*level);
            }
        }
        levels.retain(|_, level| *level > Level::Metadata);
        Plan {
            keep,
            omit_arrivals: false,
            omit_managed: false,
            dropped: BTreeSet::new(),
            paths: BTreeSet::new(),
            levels,
            steps: Vec::new(),
        }
    }

    /// What giving up means for this kind in this tier.
    fn loss(&self, tier: usize, kind: &Kind) -> Option<Loss> {
        let (verb, what) = (kind.verb, kind.what.clone());
        let requests = |is_due: bool| {
            let is_due = is_due && !is_protected(kind, self.keep);
            is_due.then(|| Loss::Requests { who: kind.who.clone(), verb, what: what.clone() })
        };
        let is_system = matches!(kind.who, Who::Nodes | Who::System(_));
        let is_account = is_system || matches!(kind.who, Who::Account(_));
        let level = self.levels.get(&(what.clone(), verb)).copied().unwrap_or(Level::Metadata);
        let bodies =
            |is_due: bool, level| is_due.then(|| Loss::Bodies { verb, what: what.clone(), level });
        match tier {
            0 => Some(Loss::Arrivals),
            1 => Some(Loss::ManagedFields),
            2 => match what {
                What::Path(path) => Some(Loss::Path(path)),
                _ => None,
            },
            3 => requests(is_account && rules::is_heartbeat(&what)),
            4 => requests(is_system && verb == Verb::Read),
            5 => bodies(verb == Verb::Read && level > Level::Metadata, Level::Metadata),
            6 => bodies(level > Level::Request, Level::Request),
            7 => requests(is_system && rules::is_routine(&what)),
            8 => requests(is_account && verb == Verb::Read),
            _ => bodies(level > Level::Metadata, Level::Metadata),
        }
    }

    fn take(&mut self, loss: &Loss) {
        match loss.clone() {
            Loss::Arrivals => self.omit_arrivals = true,
            Loss::ManagedFields => self.omit_managed = true,
            Loss::Path(path) => drop(self.paths.insert(path)),
            Loss::Requests { who, verb, what } => drop(self.dropped.insert((who, verb, what))),
            Loss::Bodies { verb, what, level } => drop(self.levels.insert((what, verb), level)),
        }
    }

    fn level(&self, kind: &Kind) -> Level {
        if let Some(level) = fixed(kind, self.keep) {
            return level;
        }
        let is_path = matches!(kind.what, What::Path(path) if self.paths.contains(path));
        let key = || (kind.who.clone(), kind.verb, kind.what.clone());
        if is_path || (!self.dropped.is_empty() && self.dropped.contains(&key())) {
            return Level::None;
        }
        self.levels.get(&(kind.what.clone(), kind.verb)).copied().unwrap_or(Level::Metadata)
    }

    /// What is kept of a kind.
    fn saved(&self, kind: &Kind, volume: &Volume) -> Saved {
        self.measured(self.level(kind), self.omit_arrivals, self.omit_managed, volume)
    }

    /// What would be kept of it after one more step.
    fn after(&self, loss: &Loss, kind: &Kind, volume: &Volume) -> Saved {
        let (mut arrivals, mut managed) = (self.omit_arrivals, self.omit_managed);
        let mut level = self.level(kind);
        match loss {
            Loss::Arrivals => arrivals = true,
            Loss::ManagedFields => managed = true,
            Loss::Path(_) | Loss::Requests { .. } => level = Level::None,
            Loss::Bodies { level: to, .. } => level = level.min(*to),
        }
        self.measured(level, arrivals, managed, volume)
    }

    fn measured(&self, level: Level, no_arrivals: bool, no_managed: bool, of: &Volume) -> Saved {
        let Some(at) = (level as usize).checked_sub(Level::Metadata as usize) else {
            return Saved::default();
        };
        let bytes = |it: &Sizes| it.bytes[usize::from(no_managed)][at];
        let mut saved = Saved { events: of.others.events, bytes: bytes(&of.others) };
        if !no_arrivals {
            saved.events += of.arrivals.events;
            saved.bytes += bytes(&of.arrivals);
        }
        saved
    }

    /// What is kept of everything.
    pub fn total(&self, kinds: &BTreeMap<Kind, Volume>) -> Saved {
        kinds.iter().fold(Saved::default(), |sum, (kind, volume)| {
            let its = self.saved(kind, volume);
            Saved { events: sum.events + its.events, bytes: sum.bytes + its.bytes }
        })
    }

    /// The policy that logs so.
    pub fn policy(&self) -> Policy {
        let stages = Stages::default();
        Policy {
            omit_stages: if self.omit_arrivals {
                stages.with(Stage::RequestReceived)
            } else {
                stages
            },
            omit_managed_fields: self.omit_managed,
            rules: self.rules().into_iter().map(|it| it.rule).collect(),
        }
    }

    /// What the steps brought whose loss is such.
    fn brought(&self, is_such: impl Fn(&Loss) -> bool) -> Saved {
        self.steps.iter().filter(|it| is_such(&it.loss)).fold(Saved::default(), Saved::and)
    }

    fn rules(&self) -> Vec<Explained> {
        rules::rules(self)
    }
}

/// A rule, why it is there, and what it leaves out of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Explained {
    rule: Rule,
    why: &'static str,
    saves: Saved,
}

/// The level of what is not up to a budget: nobody may read secrets in a log, and the strict baseline
/// wants to see which right was given.
fn fixed(kind: &Kind, keep: Keep) -> Option<Level> {
    let What::Resource { group, resource } = &kind.what else { return None };
    if rules::SECRETS.iter().any(|it| *it == (group, resource)) {
        return Some(Level::Metadata);
    }
    let is_grant = kind.verb == Verb::Change && rules::is_grant(group, resource);
    (keep == Keep::Strict && is_grant).then_some(Level::Request)
}

/// Whether requests of this kind are never dropped.
fn is_protected(kind: &Kind, keep: Keep) -> bool {
    let What::Resource { group, resource } = &kind.what else { return true };
    let is_change = kind.verb != Verb::Read
        && !rules::is_heartbeat(&kind.what)
        && !rules::is_routine(&kind.what);
    let is_door = rules::is_door(resource);
    is_change
        || is_door
        || kind.verb == Verb::Other
        || fixed(kind, keep).is_some()
        || baseline::asks_for(keep, group, resource, kind.verb == Verb::Read)
}
