//! Help and man pages: the examples in them run.

use std::{fs, path::Path, process::Command};

use super::support::leaves;

/// Our part of a line of a shell that needs no cluster; `tests/e2e/examples.rs` runs the others.
fn call(line: &str) -> Option<&str> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let (_, line) = line.split_once("kubectl audit ")?;
    let line = line.split(" | ").next()?.split(" > ").next()?.trim_end_matches(')');
    let is_offline = line.contains("examples/")
        || line.starts_with("version")
        || line.starts_with("completion") && !line.contains("install");
    is_offline.then_some(line)
}

#[test]
fn examples_run() {
    for (path, command) in leaves() {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in examples.lines().filter_map(call) {
            let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
            let words = shlex::split(line).unwrap();
            if words.iter().any(|it| it == "-f" || it == "--follow") {
                continue;
            }
            let out = program.args(words).env("KUBECONFIG", "/nowhere").output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr);
            if said.contains("no cluster is configured") {
                continue;
            }
            assert!(matches!(out.status.code(), Some(0 | 1)), "{path}: {line}\n{said}");
            let is_answer =
                !out.stdout.is_empty() || said.contains("Nothing found: the API server");
            assert!(is_answer, "{path}: {line} finds nothing\n{said}");
            // That the example is short is no fault of the example.
            let said = said.replace("warning: the logs cover", "");
            assert!(!said.contains("warning") && !said.contains("error"), "{line}\n{said}");
        }
    }
}

#[test]
fn wrong_words_are_answered_with_ours() {
    let said = |words: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
        let out = program.args(words).env("KUBECONFIG", "/nowhere").output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (status, text) = said(&["stats", "--by", "verb", "examples/audit.log"]);
    assert!(status == Some(2) && text.contains("hint: `-k KEY` counts by a key"), "{text}");
    let (status, text) = said(&["stats", "--user", "alice", "examples/audit.log"]);
    assert!(status == Some(0) && text.contains("hint: `--subject alice`"), "{text}");
    let (status, text) = said(&["stat", "examples/audit.log"]);
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn a_man_page_for_every_command() {
    // `cargo test` builds it, `cargo test --test it` alone does not.
    let folder = Path::new(env!("CARGO_BIN_EXE_kubectl-audit")).parent().unwrap();
    let Ok(writer) = folder.join("examples/man_pages").canonicalize() else { return };
    let pages = tempfile::tempdir().unwrap();
    assert!(Command::new(writer).arg(pages.path()).status().unwrap().success());
    for (path, _) in leaves() {
        let name = path.replace(' ', "-");
        let text = fs::read_to_string(pages.path().join(format!("{name}.1"))).unwrap();
        for section in
            [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH EXAMPLES", ".SH OPTIONS"]
        {
            assert!(text.contains(section), "{name} has no {section}");
        }
        // Nothing in it may be taken for a request to the formatter.
        let is_wrong = |it: &&str| {
            it.starts_with(['.', '\'']) && !KNOWN.iter().any(|known| it.starts_with(known))
        };
        let wrong = text.lines().find(is_wrong);
        assert_eq!(wrong, None, "{name}");
    }
}

/// The requests that a page consists of.
const KNOWN: [&str; 13] =
    [".TH", ".SH", ".SS", ".TP", ".RS", ".RE", ".br", ".nf", ".fi", ".ie", ".el", ".IP", ".PP"];
