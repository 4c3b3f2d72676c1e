//! Rules about the code itself that no compiler keeps.

use std::{collections::BTreeSet, fs, path::Path};

/// The front door of each module, whose documentation has an example that runs.
const FRONT_DOORS: &[(&str, &str)] = &[
    ("src/analysis/mod.rs", "pub trait Analysis"),
    ("src/cli/usage.rs", "pub fn parse("),
    ("src/cluster/mod.rs", "pub fn connect("),
    ("src/decode/reader/mod.rs", "pub struct Reader"),
    ("src/event/mod.rs", "pub struct Event"),
    ("src/filter/parse.rs", "pub fn parse("),
    ("src/output/mod.rs", "pub fn write<"),
    ("src/pipeline/fold.rs", "pub fn fold<"),
    ("src/policy/mod.rs", "pub struct Evaluator"),
    ("src/rbac/mod.rs", "pub struct Snapshot"),
    ("src/source/local.rs", "pub fn find("),
];

#[test]
fn front_doors_have_an_example() {
    for (file, item) in FRONT_DOORS {
        let text = fs::read_to_string(file).expect("the module is there");
        let (before, _) = text.split_once(item).unwrap_or_else(|| panic!("{file}: no {item}"));
        let about = before.lines().rev();
        let mut about =
            about.take_while(|it| it.trim().is_empty() || it.trim().starts_with(['/', '#']));
        assert!(about.any(|it| it.trim() == "/// ```"), "{file}: {item}");
    }
}

/// Which module may use which: the table of ARCHITECTURE.md. Its one cycle: `report` shows the newer
/// analyses, while the older ones still hold their reports.
const MAY_USE: &[(&str, &[&str])] = &[
    ("event", &[]),
    // Newer analyses have their documents here; older ones still hold theirs, until they move.
    ("report", &["analysis", "event"]),
    ("decode", &["event"]),
    ("filter", &["event", "decode"]),
    ("policy", &["event", "decode"]),
    ("rbac", &["event"]),
    ("cluster", &["rbac"]),
    ("source", &["cluster", "event", "decode"]),
    ("analysis", &["event", "decode", "filter", "policy", "rbac", "report"]),
    ("pipeline", &["source", "decode", "event", "filter", "analysis"]),
    ("output", &["report"]),
];

/// `src/x.rs` and everything below `src/x/`, with the names of the modules it uses.
fn used_by(module: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut open =
        vec![Path::new("src").join(module), Path::new("src").join(format!("{module}.rs"))];
    while let Some(path) = open.pop() {
        if path.to_string_lossy().ends_with("tests.rs") {
            // A test may use anything.
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a source folder can be read");
            open.extend(entries.map(|it| it.expect("an entry can be read").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            // A test may use anything.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (at, _) in text.match_indices("crate::") {
                used.extend(names(&text[at + "crate::".len()..]));
            }
        }
    }
    used.remove(module);
    used
}

/// The module names after `crate::`: one, or those of a `{…}` group.
fn names(text: &str) -> Vec<String> {
    let word = |it: &str| {
        it.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|it| !it.is_empty());
    names
}

#[test]
fn modules_use_only_what_they_may() {
    for (module, allowed) in MAY_USE {
        let used = used_by(module);
        let wrong: Vec<_> = used.iter().filter(|it| !allowed.contains(&it.as_str())).collect();
        assert!(wrong.is_empty(), "`{module}` uses {wrong:?}; it may use {allowed:?} only");
    }
}

#[test]
fn names_of_groups() {
    assert_eq!(names("{a::{b, c}, d, e::f}; rest"), ["a", "d", "e"]);
    assert_eq!(names("a::b;"), ["a"]);
}
