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
            // Where it panics, the last line of what is captured names the input.
            println!("{}", path.display());
            parse(&fs::read(path).unwrap());
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
