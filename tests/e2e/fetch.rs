//! `fetch` copies logs that every command reads back.

use std::{fs, path::Path, process::Command};

use super::{
    cluster::{NODES, audit, run},
    nodes::{audit_as, reader},
    stats::{KEYS, check_requests},
    story::Story,
};

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn the_copy_tells_the_story() {
    let story = Story::told();
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let to = folder.path().to_str().expect("it is text");
    // The second run goes on with what the first one copied.
    for compress in [None, None, Some("--compress")] {
        let args: Vec<&str> = ["fetch", "-o", to].into_iter().chain(compress).collect();
        audit_as(reader(), &args).ok();
        if compress.is_some() {
            for node in NODES {
                let copy = folder.path().join(node.name).join("audit.log");
                fs::remove_file(copy).expect("it is there");
            }
        }
        let report = audit(&["stats", "-k", KEYS, "-o", "json", to]).json();
        check_requests(&report, story);
        assert_eq!(report["input"]["logs"], NODES.len());
        let manifest = fs::read(folder.path().join("manifest.json")).expect("it is there");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("it is JSON");
        let items = manifest["items"].as_array().expect("it has items");
        for it in items {
            let file = folder.path().join(it["file"].as_str().expect("a file has a name"));
            if let Ok(metadata) = file.metadata() {
                assert_eq!(it["bytes"], metadata.len());
                let sum = run(Command::new("sha256sum").arg(&file)).ok();
                assert!(sum.starts_with(it["sha256"].as_str().expect("it has a sum")), "{it}");
            }
        }
    }
}

/// A file system of so many bytes at a folder.
struct Disk<'f>(&'f Path);

impl Disk<'_> {
    fn set_size(&self, options: &str) {
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(self.0)).ok();
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        run(Command::new("umount").arg(self.0)).ok();
    }
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn a_full_disk() {
    let story = Story::told();
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let to = folder.path().to_str().expect("it is text");
    let disk = Disk(folder.path());
    disk.set_size("size=128k");
    let ended = audit_as(reader(), &["fetch", "-o", to]);
    assert_eq!(ended.status, Some(2), "{}", ended.stderr);
    let goes_on = "make room and run the same command again: it goes on where it stopped";
    assert!(ended.stderr.contains(goes_on), "{}", ended.stderr);
    let part = folder.path().join("cp-1/audit.log.part");
    assert!(part.is_file() && !part.with_extension("").exists(), "no copy that is not whole");
    disk.set_size("remount,size=64m");
    audit_as(reader(), &["fetch", "-o", to]).ok();
    assert!(!part.exists(), "it has its name now");
    check_requests(&audit(&["stats", "-k", KEYS, "-o", "json", to]).json(), story);
}
