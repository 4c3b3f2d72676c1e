//! `docs/checklist.md`: what every command has in common, asked of every command.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{Command, Output, Stdio},
};

use clap::Arg;

use super::support::leaves;

const LOG: &str = "examples/audit.log";

/// Every command that reads events, as far as the PATH.
const READERS: [&str; 15] = [
    "stats",
    "events",
    "execs",
    "actions",
    "history all",
    "policy evaluate examples/policy.yaml",
    "policy simulate examples/policy.yaml",
    "policy diff examples/policy.yaml examples/policy.yaml",
    "policy filter examples/policy.yaml",
    "policy suggest",
    "who team-a/builder --rbac examples/rbac.json",
    "rbac who-can get secrets db --rbac examples/rbac.json",
    "rbac evaluate --rbac examples/rbac.json",
    "rbac unused --rbac examples/rbac.json",
    "rbac generate --subject team-a/builder --rbac examples/rbac.json",
];

/// The others.
const OTHERS: [&str; 6] =
    ["policy check", "policy explain", "fetch", "doctor", "completion", "version"];

/// Those that share one `--limit`.
const LIMITED: [&str; 7] = [
    "policy evaluate examples/policy.yaml",
    "policy filter examples/policy.yaml",
    "policy simulate examples/policy.yaml",
    "policy diff examples/policy.yaml examples/less.yaml",
    "rbac who-can get secrets db --rbac examples/rbac.json",
    "rbac unused --rbac examples/rbac.json",
    "rbac evaluate --rbac examples/rbac.json",
];

fn program(line: &str, rest: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-audit"));
    command.args(line.split(' ')).args(rest).env("KUBECONFIG", "/nowhere").env_remove("NO_COLOR");
    command
}

fn run(line: &str, rest: &[&str]) -> Output {
    program(line, rest).output().unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn no_command_is_forgotten() {
    let words = |line: &str| {
        let is_word = |it: &&str| *it != "all" && !it.contains(['/', '-']) || *it == "who-can";
        let n = if line.starts_with("policy") || line.starts_with("rbac") { 2 } else { 1 };
        line.split(' ').filter(is_word).take(n).collect::<Vec<_>>().join(" ")
    };
    let listed: BTreeSet<String> = READERS.iter().chain(&OTHERS).map(|it| words(it)).collect();
    let all = leaves().into_iter().map(|(path, _)| path.replacen("kubectl audit ", "", 1));
    assert_eq!(listed, all.collect());
    let page = std::fs::read_to_string("docs/checklist.md").unwrap();
    let is_there = |it: &&String| !page.contains(&format!("| `{it}` |"));
    assert_eq!(listed.iter().find(is_there), None, "docs/checklist.md");
}

/// 1: without a cluster, from a file and from standard input.
#[test]
fn works_offline() {
    for line in READERS {
        let from_file = run(line, &[LOG]);
        assert_eq!(from_file.status.code(), Some(0), "{line}\n{}", said(&from_file));
        assert!(!from_file.stdout.is_empty(), "{line}");
        let input = Stdio::from(File::open(LOG).unwrap());
        let piped = program(line, &["-"]).stdin(input).output().unwrap();
        if line == "policy suggest" {
            assert!(said(&piped).contains("hint: write it to a file first"));
        } else {
            assert!(piped.stdout == from_file.stdout, "{line}\n{}", said(&piped));
        }
    }
    let policy = || Stdio::from(File::open("examples/policy.yaml").unwrap());
    for (line, rest) in
        [("policy check", &["-"][..]), ("policy explain", &["-", "get", "secrets", "db"])]
    {
        let out = program(line, rest).stdin(policy()).output().unwrap();
        assert!(matches!(out.status.code(), Some(0 | 1)), "{line}\n{}", said(&out));
        let is_clean = said(&out).contains("Nothing found: the API server");
        assert!(is_clean == out.stdout.is_empty(), "{line}\n{}", said(&out));
    }
}

/// 3: an empty result is clear, and on standard error.
#[test]
fn nothing_is_told_as_nothing() {
    for line in READERS {
        let out = run(line, &["-F", "verb=nonsense", LOG]);
        let text = said(&out);
        assert_eq!(out.status.code(), Some(0), "{line}\n{text}");
        let words = match line.split(' ').next() {
            Some("stats") => "No requests found.",
            Some("execs") => "No sessions found.",
            Some("actions") => "No action found.",
            Some("events") => "No events found.",
            Some("history") => "No changes found.",
            _ if line.starts_with("policy evaluate") => "No events found.",
            _ if line.starts_with("policy filter") => "No events found.",
            _ if line.starts_with("rbac evaluate") => "Nothing would change.",
            _ if line.starts_with("rbac generate") => "made no request that counts",
            // These tell of policies, rights and grants, whether or not somebody used them.
            _ => {
                assert!(!out.stdout.is_empty(), "{line}");
                continue;
            }
        };
        assert!(text.contains(words) && out.stdout.is_empty(), "{line}\n{text}");
    }
}

/// 4: errors end in the next step.
#[test]
fn errors_say_what_to_do() {
    let check = |line: &str, rest: &[&str]| {
        let out = run(line, rest);
        let text = said(&out);
        assert_eq!(out.status.code(), Some(2), "{line} {rest:?}\n{text}");
        assert!(text.starts_with("error: "), "{line} {rest:?}\n{text}");
        let last = text.lines().rfind(|it| !it.is_empty()).unwrap_or_default();
        let is_step = last.starts_with("hint: ") || last.contains("try '--help'");
        assert!(is_step && out.stdout.is_empty(), "{line} {rest:?}\n{text}");
    };
    for line in READERS {
        check(line, &["no-such.log"]);
        check(line, &["--no-such-flag", LOG]);
        check(line, &["-F", "verb", "-F", "a=~(", LOG]);
        check(line, &["-F", "=x", LOG]);
        check(line, &["--where", "1 +", LOG]);
        check(line, &["--since", "tomorrow or so", LOG]);
        check(line, &["-o", "nonsense", LOG]);
        check(line, &["--timezone", "Middle/Earth", LOG]);
        check(line, &["--strict", "README.md"]);
        // Without a PATH the cluster is asked, and there is none; these two do without a log.
        if !line.starts_with("who") && !line.starts_with("rbac who-can") {
            check(line, &[]);
        }
    }
    for (line, rest) in [
        ("history", &["deploy/", LOG][..]),
        ("history", &["deploy/web", "--at", "2026-12-01", "-o", "csv", "examples/changes.log"]),
        ("history", &["deploy/none", "--at", "now", "examples/changes.log"]),
        ("history", &["pods", "-l", "=x", LOG]),
        ("policy check", &["no-such.yaml"][..]),
        ("policy explain", &["no-such.yaml", "get", "pods"]),
        ("policy explain", &["examples/policy.yaml", "get", "widgets"]),
        ("policy simulate", &["README.md", LOG]),
        ("policy filter", &["examples/policy.yaml", "-o", "csv", LOG]),
        ("who", &["ann", "--rbac", "no-such.json", LOG]),
        ("who", &["ann", "--rbac", "examples/policy.yaml", LOG]),
        ("fetch", &[]),
        ("doctor", &[]),
        ("doctor", &["--server", "no address"]),
        ("completion", &["nonsense"]),
        ("completion", &["install", "/no-such-folder"]),
        ("version", &["-o", "nonsense"]),
    ] {
        check(line, rest);
    }
}

/// What nobody can list: numbers, sizes, times, names and texts of the person's own.
const FREE: [&str; 28] = [
    "as_group",
    "as_uid",
    "as_user",
    "as_user_extra",
    "cause_of",
    "command",
    "expressions",
    "group",
    "limit",
    "log_path",
    "longer_than",
    "max_bytes_per_day",
    "max_groups",
    "max_line",
    "max_memory",
    "max_names",
    "max_namespaces",
    "min_confidence",
    "node_timeout",
    "object",
    "poll_interval",
    "request_timeout",
    "selector",
    "server",
    "subject",
    "threads",
    "tls_server_name",
    "token",
];

/// 6: values are completed; those of the kubeconfig and the cluster have their own tests.
#[test]
fn values_are_completed() {
    let (mut open, mut all) = (BTreeMap::new(), BTreeSet::new());
    for (path, command) in leaves() {
        let takes = |it: &&Arg| it.get_action().takes_values() && !it.is_positional();
        for arg in command.get_arguments().filter(takes) {
            let flag = format!("--{}", arg.get_long().unwrap());
            let words = path.split(' ').skip(2).map(str::to_owned).chain([flag, String::new()]);
            let first = ["kubectl-audit", "__complete"].map(str::to_owned);
            let args: Vec<OsString> = first.into_iter().chain(words).map(Into::into).collect();
            let mut out = Vec::new();
            kubectl_audit::cli::answer(&args, &mut out).unwrap().unwrap();
            // Candidates, or that the shell knows better: files, folders.
            all.insert(arg.get_id().to_string());
            if out == b":4\n" {
                open.entry(arg.get_id().to_string())
                    .or_insert_with(BTreeSet::new)
                    .insert(path.clone());
            }
        }
    }
    let of_cluster = ["context", "cluster", "user", "namespace", "names"];
    open.retain(|id, _| !FREE.contains(&id.as_str()) && !of_cluster.contains(&id.as_str()));
    assert_eq!(open, BTreeMap::new());
    assert_eq!(FREE.iter().find(|it| !all.contains(**it)), None);
}

/// 7: no colours but where they are wanted, no width but a terminal's, and a pipe may close.
#[test]
fn pipes_and_colours() {
    for line in READERS {
        let plain = run(line, &[LOG]).stdout;
        assert!(!plain.contains(&0x1b), "{line}");
        let narrow = program(line, &[LOG]).env("COLUMNS", "40").env("NO_COLOR", "1").output();
        assert!(narrow.unwrap().stdout == plain, "{line}");
        let mut child =
            program(line, &[LOG]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(matches!(out.status.code(), Some(0 | 141)), "{line}");
        assert!(!said(&out).contains("error"), "{line}\n{}", said(&out));
    }
}

/// 8: flags of the same name are the same everywhere.
#[test]
fn flags_are_the_same_everywhere() {
    let mut seen: BTreeMap<String, (String, String)> = BTreeMap::new();
    let common =
        ["since", "until", "timezone", "filter", "verb", "kubeconfig", "no-headers", "follow"];
    for (path, command) in leaves() {
        for arg in command.get_arguments() {
            let name = arg.get_long().unwrap_or_default();
            if !common.contains(&name) || path.ends_with("fetch") {
                continue;
            }
            let help = format!("{:?} {}", arg.get_value_names(), arg.get_help().unwrap());
            let (first, of) = seen.entry(name.to_owned()).or_insert((help.clone(), path.clone()));
            assert_eq!(*first, help, "--{name} of {of} and of {path}");
        }
        let path = path.replacen("kubectl audit ", "", 1);
        if READERS.iter().any(|it| it.starts_with(&path)) {
            for name in ["since", "until", "timezone", "filter", "where", "kubeconfig", "namespace"]
            {
                let has = command.get_arguments().any(|it| it.get_long() == Some(name));
                assert!(has, "{path} has no --{name}");
            }
        }
    }
}

/// 9: what looks like a secret is masked unless asked for.
#[test]
fn secrets_are_masked() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let line = std::fs::read_to_string(LOG).unwrap();
    let line = line.lines().find(|it| it.contains("/exec?command=")).unwrap();
    let (start, rest) = line.split_once("/exec?command=").unwrap();
    let secret =
        format!("{start}/exec?command=mysql&command=--password%3Dhunter2&command={rest}\n");
    std::fs::write(&log, secret).unwrap();
    let log = log.to_str().unwrap();
    for format in ["table", "wide", "json", "jsonl", "yaml", "csv", "changeevent"] {
        let shown = |flags: &[&str]| {
            let out = run("execs", &[&["-o", format, log][..], flags].concat()).stdout;
            assert!(!out.is_empty(), "{format}");
            String::from_utf8(out).unwrap().contains("hunter2")
        };
        assert!(!shown(&[]) && shown(&["--show-secrets"]), "{format}");
    }
}

/// 10: what was read is told on standard error, and nothing with `-q`.
#[test]
fn what_was_read_is_told() {
    let summary = "396 events from 1 file, 362.9 kB, 2026-11-22T22:44:14Z to 2026-11-22T23:31:34Z";
    for line in READERS {
        let out = run(line, &[LOG]);
        assert!(said(&out).contains(summary), "{line}\n{}", said(&out));
        let quiet = run(line, &["-q", LOG]);
        assert_eq!(said(&quiet), "", "{line}");
        assert!(out.stdout == quiet.stdout, "{line}");
    }
}

/// A policy is applied to a log as it is written, too.
#[cfg(unix)]
#[test]
fn a_policy_follows() {
    let text = std::fs::read_to_string(LOG).unwrap();
    let [first, second] = ["Complete", "Started"].map(|stage| {
        let stage = format!(r#""stage":"Response{stage}""#);
        format!(
            "{}\n",
            text.lines().find(|it| it.contains(&stage) && it.contains("/team-")).unwrap()
        )
    });
    for command in ["evaluate", "filter"] {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        log.write_all(first.as_bytes()).unwrap();
        let line = format!("policy {command} examples/policy.yaml -f -q");
        let mut command = program(&line, &[log.path().to_str().unwrap()]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("ResponseComplete"), "{line}");
        log.write_all(second.as_bytes()).unwrap();
        assert!(lines.next().unwrap().unwrap().contains("ResponseStarted"), "{line}");
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(kill.unwrap().success() && child.wait().unwrap().success(), "{line}");
    }
}

/// `--limit` of every command that lists: so many rows or lines, and how many more there are.
#[test]
fn a_limit_shows_the_first_rows_and_says_how_many_more() {
    let limited = |line: &str, rest: &[&str]| {
        let all = run(line, &[rest, &["-q", LOG]].concat());
        let cut = run(line, &[rest, &["--limit", "1", LOG]].concat());
        let lines = |out: &Output| {
            String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
        };
        let (all, shown): (Vec<String>, Vec<String>) = (lines(&all), lines(&cut));
        (all, shown, said(&cut))
    };
    for line in LIMITED {
        let is_lines = line.starts_with("policy evaluate") || line.starts_with("policy filter");
        for rest in [&["-o", "jsonl"][..], &["--no-headers"]] {
            let (all, shown, text) = limited(line, rest);
            // `policy diff` has its sums in a second table.
            let n_listed = all.iter().position(String::is_empty).unwrap_or(all.len());
            let n_shown = shown.iter().position(String::is_empty).unwrap_or(shown.len());
            assert_eq!(n_shown, 1, "{line} {rest:?}\n{text}");
            let note = format!("note: {} more: --limit 0 prints all\n", n_listed - 1);
            assert!(n_listed > 1 && text.contains(&note), "{line} {rest:?}: {n_listed}\n{text}");
            assert_eq!(
                run(line, &[rest, &["-q", "-l", "0", LOG]].concat()).stdout,
                run(line, &[rest, &["-q", LOG]].concat()).stdout
            );
        }
        // A document stays whole.
        if !is_lines {
            let (all, shown, text) = limited(line, &["-o", "json"]);
            assert!(all == shown && !text.contains("more: --limit"), "{line}\n{text}");
        }
        for wrong in ["-1", "many"] {
            let out = run(line, &["--limit", wrong, LOG]);
            assert_eq!(out.status.code(), Some(2), "{line} {wrong}");
            assert!(out.stdout.is_empty(), "{line} {wrong}");
        }
    }
    let out = run("rbac unused --rbac examples/rbac.json", &["--patch", "--limit", "1", LOG]);
    assert_eq!(out.status.code(), Some(2), "manifests are no rows");
}

#[test]
fn every_command_that_lists_has_a_limit() {
    let has_none = [
        "policy explain",
        "policy suggest",
        "who",
        "rbac generate",
        "fetch",
        "doctor",
        "completion",
        "version",
        "actions",
        "history",
    ];
    for (path, command) in leaves() {
        let name = path.replacen("kubectl audit ", "", 1);
        let has_limit = command.get_arguments().any(|it| it.get_id() == "limit");
        assert!(has_limit != has_none.iter().any(|it| name.starts_with(it)), "{name}");
    }
}
