//! Every input that a fuzz target was seeded with, or that once made trouble, through the same code.

use std::fs;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn corpora_make_no_trouble() {
    for (name, parse) in targets::TARGETS {
        let Ok(folder) = fs::read_dir(format!("fuzz/corpus/{name}")) else {
            panic!("`{name}` has no seeds in fuzz/corpus");
        };
        for entry in folder {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let result = std::panic::catch_unwind(|| parse(&bytes));
            assert!(result.is_ok(), "{}", path.display());
        }
    }
}

#[test]
fn every_target_is_replayed() {
    let names = |folder: &str| {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|it| it.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let mut replayed: Vec<_> =
        targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    replayed.sort();
    assert_eq!(names("fuzz/fuzz_targets"), replayed);
    assert_eq!(names("fuzz/corpus"), replayed);
}
