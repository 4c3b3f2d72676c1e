//! The examples in the help of every command that ask a cluster.

use std::process::Command;

use super::{
    cluster::{audit, program, run},
    story::Story,
};

/// The examples of a command and those below it, without what they are piped into.
fn examples(command: &clap::Command, all: &mut Vec<String>) {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for line in text.lines().filter_map(|it| it.trim_start().strip_prefix("kubectl audit ")) {
        let line = line.split(" | ").next().unwrap_or_default();
        all.extend(line.split(" && kubectl audit ").map(str::to_owned));
    }
    command.get_subcommands().for_each(|it| examples(it, all));
}

#[test]
#[ignore = "needs the control plane of tests/e2e"]
fn examples_run() {
    Story::told();
    let folder =
        std::env::temp_dir().join(format!("kubectl-audit-examples-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let mut all = Vec::new();
    examples(&kubectl_audit::cli::command("kubectl audit"), &mut all);
    let is_offline =
        |it: &str| ["examples/", "completion", "version"].iter().any(|word| it.contains(word));
    all.retain(|it| !is_offline(it) || it.contains("live"));
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::os::unix::fs::symlink(repository.join("examples"), folder.join("examples"))
        .expect("the folder is new");
    std::fs::copy(repository.join("tests/data/checklist.yaml"), folder.join("new.yaml"))
        .expect("it can be copied");
    assert!(all.len() >= 8, "{all:?}");
    for line in all {
        // There is one context only, and who follows does not end.
        let line = line.replace(" --context staging", "").replace(" -f", "");
        let words = shlex::split(&line).expect("quotes are closed");
        let ended = run(Command::new(program()).args(words).current_dir(&folder));
        let is_refused = line.contains("--as ");
        assert!(matches!(ended.status, Some(0 | 1)) || is_refused, "{line}\n{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{line}\n{}", ended.stderr);
    }
    audit(&["stats", folder.join("incident-17").to_str().expect("it is text")]).ok();
    std::fs::remove_dir_all(folder).expect("it was there");
}
