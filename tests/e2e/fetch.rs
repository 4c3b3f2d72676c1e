//! `fetch` copies logs that every command reads back.

use super::{
    cluster::audit,
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
            std::fs::remove_file(folder.path().join("cp-1/audit.log")).expect("it is there");
        }
        let report = audit(&["stats", "-k", KEYS, "-o", "json", to]).json();
        check_requests(&report, story);
        assert_eq!(report["input"]["logs"], 1);
        let manifest = std::fs::read(folder.path().join("manifest.json")).expect("it is there");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("it is JSON");
        let items = manifest["items"].as_array().expect("it has items");
        for it in items {
            let file = folder.path().join(it["file"].as_str().expect("a file has a name"));
            if let Ok(metadata) = file.metadata() {
                assert_eq!(it["bytes"], metadata.len());
                let sum =
                    super::cluster::run(std::process::Command::new("sha256sum").arg(&file)).ok();
                assert!(sum.starts_with(it["sha256"].as_str().expect("it has a sum")), "{it}");
            }
        }
    }
}
