//! File names: which files are one rotated log, and which of them is older.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map::Entry},
};

use super::{Input, Log};
use crate::event::Timestamp;

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rotated {
    /// The name of the file that was written to: `audit.log` for all of its rotated siblings.
    pub(super) live: String,
    pub(super) age: Age,
}

/// Where a file stands among its rotated siblings; older ones are less.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Age {
    /// Named by the time it was closed: the digits of it, filled up to milliseconds.
    Dated(String),
    /// Named by a number that grows with each rotation.
    Numbered(Reverse<u32>),
    /// What an OpenShift API server wrote while it went down.
    Terminating,
    Live,
}

impl Rotated {
    /// Reads a file name. The compressing suffix does not count.
    pub(super) fn of(name: &str) -> Rotated {
        let name = without_suffix(name, &[".gz", ".zst", ".zstd"]);
        if let Some((live, time)) = lumberjack(name).or_else(|| dated(name)) {
            return Rotated { live, age: Age::Dated(format!("{time:0<17}")) };
        }
        if let Some((live, number)) = name.rsplit_once('.')
            && (1..=5).contains(&number.len())
            && !live.is_empty()
            && is_digits(number)
            && let Ok(number) = number.parse()
        {
            return Rotated { live: live.to_owned(), age: Age::Numbered(Reverse(number)) };
        }
        match name.strip_suffix(".terminating") {
            Some(live) if !live.is_empty() => {
                Rotated { live: live.to_owned(), age: Age::Terminating }
            }
            _ => Rotated { live: name.to_owned(), age: Age::Live },
        }
    }
}

/// The path of the live file of the log that `path` belongs to, and its age in it; for a path within
/// an archive.
pub(super) fn split(path: &str) -> (String, Age) {
    let at = path.rfind(['/', '!']).map_or(0, |it| it + 1);
    let Rotated { live, age } = Rotated::of(&path[at..]);
    (format!("{}{live}", &path[..at]), age)
}

/// The names given to logs: two logs never share one.
#[derive(Debug, Default)]
pub(super) struct LogNames {
    /// Whose each name is.
    taken: HashMap<String, String>,
}

impl LogNames {
    /// The name of the log whose live file is at `live_path`, as a person sees it. `identity` is the
    /// same for the same file only.
    pub(super) fn name(&mut self, live_path: &str, identity: &str) -> String {
        let shorter = [log_name(live_path), live_path, identity];
        let free = shorter.into_iter().find(|it| match self.taken.entry((*it).to_owned()) {
            Entry::Occupied(owner) => owner.get() == identity,
            Entry::Vacant(free) => {
                free.insert(identity.to_owned());
                true
            }
        });
        free.unwrap_or(identity).to_owned()
    }
}

/// Files that are gathered into logs.
#[derive(Default)]
pub(super) struct Siblings {
    logs: Vec<(String, Vec<(Age, Input)>)>,
    index: HashMap<String, usize>,
}

impl Siblings {
    /// Adds a file to the log with this `identity`; `name` names a new one.
    pub(super) fn add(
        &mut self,
        identity: &str,
        name: impl FnOnce() -> String,
        age: Age,
        input: Input,
    ) {
        let at = *self.index.entry(identity.to_owned()).or_insert_with(|| {
            self.logs.push((name(), Vec::new()));
            self.logs.len() - 1
        });
        self.logs[at].1.push((age, input));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// The logs in the order they were met, the files of each from the oldest on.
    pub(super) fn logs(self) -> Vec<Log> {
        let sorted = |(name, mut inputs): (String, Vec<(Age, Input)>)| {
            inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
            Log { name, inputs: inputs.into_iter().map(|(_, input)| input).collect() }
        };
        self.logs.into_iter().map(sorted).collect()
    }
}

/// What a log is called whose live file has this path: the node where the name tells one.
fn log_name(live_path: &str) -> &str {
    let stem = without_suffix(live_path, &[".log"]);
    match stem.strip_suffix("-audit") {
        Some(node) if !node.is_empty() && !node.ends_with(['/', '\\', '!']) => node,
        _ => stem,
    }
}

/// When the API server closed a rotated file, as its name tells: after the last line in it. Source:
/// `backupName` of `gopkg.in/natefinch/lumberjack.v2`.
pub(super) fn closed_at(name: &str) -> Option<Timestamp> {
    let (_, digits) = lumberjack(without_suffix(name, &[".gz", ".zst", ".zstd"]))?;
    let part = |from: usize, to: usize| &digits[from..to];
    let time = format!(
        "{}-{}-{}T{}:{}:{}.{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14),
        part(14, 17)
    );
    Timestamp::parse(time.as_bytes())
}

fn without_suffix<'n>(name: &'n str, suffixes: &[&str]) -> &'n str {
    let shorter = suffixes.iter().find_map(|it| name.strip_suffix(it));
    shorter.filter(|it| !it.is_empty()).unwrap_or(name)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

/// `audit-2026-11-22T10-11-12.345.log`: the live name and the digits of the time.
fn lumberjack(name: &str) -> Option<(String, String)> {
    const SHAPE: &[u8] = b"-dddd-dd-ddTdd-dd-dd.ddd";
    let is_shape = |text: &[u8]| {
        text.iter().zip(SHAPE).all(|(c, shape)| match shape {
            b'd' => c.is_ascii_digit(),
            _ => c == shape,
        })
    };
    let bytes = name.as_bytes();
    let at = bytes.windows(SHAPE.len()).rposition(is_shape).filter(|at| *at > 0)?;
    let end = at + SHAPE.len();
    // All of it is ASCII, so both ends are between characters.
    live(&name[..at], &name[end..]).map(|it| (it, digits(&name[at..end])))
}

/// logrotate's `dateext`: `audit.log-20261122`, `audit-20261122.log`, with an hour or the seconds
/// since the epoch behind it, and with dashes between.
fn dated(name: &str) -> Option<(String, String)> {
    name.match_indices(['-', '.']).find_map(|(at, _)| {
        let rest = &name[at + 1..];
        let len = rest.bytes().take_while(|it| it.is_ascii_digit() || *it == b'-').count();
        let digits = digits(&rest[..len]);
        let is_date = rest.starts_with("20")
            && (8..=18).contains(&digits.len())
            && ("01"..="12").contains(&&digits[4..6])
            && ("01"..="31").contains(&&digits[6..8]);
        if at == 0 || !is_date {
            return None;
        }
        live(&name[..at], &rest[len..]).map(|it| (it, digits))
    })
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The live name around a time: nothing may follow it but an extension.
fn live(before: &str, after: &str) -> Option<String> {
    let is_extension = after.is_empty() || (after.starts_with('.') && after.len() > 1);
    is_extension.then(|| format!("{before}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        let Rotated { live, age } = Rotated::of(name);
        let age = match age {
            Age::Dated(digits) => digits.trim_end_matches('0').to_owned(),
            Age::Numbered(Reverse(number)) => format!("#{number}"),
            Age::Terminating => "terminating".to_owned(),
            Age::Live => "live".to_owned(),
        };
        assert_eq!(format!("{live} {age}"), expected, "{name}");
    }

    #[test]
    fn live_files() {
        check("audit.log", "audit.log live");
        check("audit.log.gz", "audit.log live");
        check("kube-apiserver.log", "kube-apiserver.log live");
        check("audit", "audit live");
        check("", " live");
        check(".gz", ".gz live");
        check(".1", ".1 live");
        check("v1.36", "v1 #36");
    }

    #[test]
    fn api_server() {
        check("audit-2026-11-22T10-11-12.345.log", "audit.log 20261122101112345");
        check("audit-2026-11-22T10-11-12.345.log.gz", "audit.log 20261122101112345");
        check("audit-2026-11-22T10-11-12.345", "audit 20261122101112345");
        check("audit-2026-11-22T10-11-12.345x.log", "audit-2026-11-22T10-11-12.345x.log live");
        check("ä-2026-11-22T10-11-12.345.log", "ä.log 20261122101112345");
    }

    #[test]
    fn node_copies() {
        check(
            "master-0.lab-audit-2026-11-22T10-11-12.345.log.gz",
            "master-0.lab-audit.log 20261122101112345",
        );
        check("master-0.lab-audit.log", "master-0.lab-audit.log live");
    }

    #[test]
    fn logrotate() {
        check("audit.log.1", "audit.log #1");
        check("audit.log.12.gz", "audit.log #12");
        check("audit.log-20261122", "audit.log 20261122");
        check("audit.log-20261122.gz", "audit.log 20261122");
        check("audit-20261122.log.zst", "audit.log 20261122");
        check("audit.log-2026112203", "audit.log 2026112203");
        check("audit.log-20261122-1795342272", "audit.log 202611221795342272");
        check("audit.log.2026-11-22", "audit.log 20261122");
        check("audit.log-20269922", "audit.log-20269922 live");
    }

    #[test]
    fn open_shift() {
        check("audit.log.terminating", "audit.log terminating");
        check(".terminating", ".terminating live");
    }

    #[test]
    fn oldest_first() {
        let names = [
            "audit-2026-11-21T10-11-12.345.log.gz",
            "audit.log-20261122",
            "audit-2026-11-22T10-11-12.345.log",
            "audit.log.10",
            "audit.log.9.gz",
            "audit.log.terminating",
            "audit.log",
        ];
        let mut sorted = names;
        sorted.reverse();
        sorted.sort_by_key(|it| Rotated::of(it).age);
        assert_eq!(sorted, names);
    }

    #[test]
    fn names_of_logs() {
        assert_eq!(log_name("logs/audit.log"), "logs/audit");
        assert_eq!(
            log_name("audit_logs/kube-apiserver/master-0.lab-audit.log"),
            "audit_logs/kube-apiserver/master-0.lab"
        );
        assert_eq!(log_name("x/-audit.log"), "x/-audit");
    }

    #[test]
    fn no_two_logs_share_a_name() {
        let mut names = LogNames::default();
        assert_eq!(names.name("a/x.log", "/a/x.log"), "a/x");
        assert_eq!(names.name("a/x", "/a/x"), "/a/x");
        assert_eq!(names.name("a/x-audit.log", "/a/x-audit.log"), "a/x-audit.log");
        assert_eq!(names.name("a/x.log", "/a/x.log"), "a/x");
        assert_eq!(names.name("a/x.log", "/b/x.log"), "a/x.log");
    }

    #[test]
    fn within_archives() {
        assert_eq!(
            split("b-20260102.tar!audit.log.1"),
            ("b-20260102.tar!audit.log".into(), Age::Numbered(Reverse(1)))
        );
        assert_eq!(split("b.tar!../x/audit.log").0, "b.tar!../x/audit.log");
    }

    #[test]
    fn closed() {
        let closed = closed_at("audit-2026-11-22T10-11-12.345.log.gz");
        assert_eq!(closed, Timestamp::parse(b"2026-11-22T10:11:12.345Z"));
        assert_eq!(closed_at("audit.log-20261122"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(name in "(audit|ä)?[-.0-9TZa-zé]{0,40}(\\.log|\\.gz)?") {
            Rotated::of(&name);
            closed_at(&name);
        }
    }
}
