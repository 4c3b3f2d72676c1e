//! The habits of similar tools: what their flags, commands and formats are called here.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Flags that we do not have, and the word for what is meant.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &[
            "--by",
            "--group-by",
            "--count-by",
            "--top",
            "--column",
            "--columns",
            "--field",
            "--fields",
        ],
        BY,
    ),
    (
        &["-u", "--username", "--by-user", "--filter-user", "--who", "--actor", "--principal"],
        SUBJECT,
    ),
    (&["-s", "--serviceaccount", "--service-account", "--sa"], SUBJECT),
    (
        &[
            "-f",
            "--file",
            "--filename",
            "--files",
            "--input",
            "--audit-log",
            "--log",
            "-R",
            "--recursive",
        ],
        PATHS,
    ),
    (&["--from", "--start", "--since-time", "--after", "--begin", "--time"], SINCE),
    (
        &["--to", "--end", "--before", "--until-time"],
        "`--until` takes a time, or a duration back from now",
    ),
    (
        &["--format", "--json", "--yaml", "--csv", "--out", "--template", "--jsonl", "--ndjson"],
        OUTPUT,
    ),
    (&["--tail", "--last", "--newest"], "`events --reverse --limit N` prints the newest N events"),
    (&["--head", "--max", "--count", "-c", "--number"], "`--limit N` shows at most N"),
    (&["-w", "--watch", "--stream", "--tail-follow"], "`-f`, `--follow` keeps reading"),
    (
        &["--follow"],
        "this command reads to the end; `stats`, `events`, `execs`, `policy evaluate` and `policy filter` can follow",
    ),
    (
        &["--status", "--response-code", "--response", "--http-code"],
        "`--code 403` or `--code 4xx` chooses by the code",
    ),
    (
        &["--verbs", "--action", "--method", "--operation"],
        "`--verb` takes several with commas: `--verb create,delete`",
    ),
    (
        &["--kind", "--type", "--object", "--resources", "--subresource"],
        "`-r pods/exec` chooses by resource and subresource",
    ),
    (&["--name", "--object-name"], "`-F objectRef.name=NAME` chooses by the object's name"),
    (
        &["--ip", "--source-ip", "--sourceip", "--source"],
        "`-F 'sourceIPs+=10.0.0.7'` chooses by the address of the client",
    ),
    (
        &["--user-agent", "--useragent", "--agent"],
        "`-F 'userAgent=~^kubectl'` chooses by the client program",
    ),
    (&["--audit-id", "--auditid", "--id"], "`-F auditID=ID` chooses one request"),
    (&["--level"], "`-F level=Metadata` chooses by level"),
    (&["--stage"], "`-F stage=ResponseComplete` chooses by stage"),
    (
        &["--group", "--user-group"],
        "`-F 'user.groups+=system:masters'` chooses by group; `stats --groups` counts by it",
    ),
    (
        &["--exclude", "-x", "--not", "--ignore", "--invert", "--exclude-user"],
        "`-F 'KEY!=VALUE'` leaves out, such as `-F 'user.username!~^system:'`",
    ),
    (
        &["--include", "--match", "--grep", "--search", "-e", "--regex", "--query", "-q"],
        "`-F 'KEY=~RE'` searches a field, `--where` takes a whole expression",
    ),
    (&["--expr", "--cel", "--expression", "--condition"], "`--where` takes an expression of CEL"),
    (&["--selector", "--field-selector"], "`-F KEY=VALUE` chooses by any field of the event"),
    (
        &["--sort-by", "--order-by", "--order"],
        "`--sort count`, `key`, `bytes` or `latency` orders the rows of `stats`",
    ),
    (
        &["--no-color", "--no-colour", "--colour"],
        "`--color never`, or the variable NO_COLOR, turns colours off",
    ),
    (
        &["-v", "--verbose", "--debug", "--log-level"],
        "there is nothing more to say; `-q` says less",
    ),
    (&["--silent", "--no-progress"], "`-q`, `--quiet` says nothing but errors"),
    (&["--no-header", "--noheaders", "--no-heading"], "`--no-headers` leaves out the header line"),
    (&["--timeout"], "`--request-timeout` says how long to wait for the API server"),
    (
        &["--tz", "--utc", "--local", "--time-zone"],
        "`--timezone Local` shows tables in the time of this computer",
    ),
    (&["--nodes", "--master", "--hostname"], "`--node NAME` reads one node's log; repeatable"),
    (
        &["--path", "--audit-log-path"],
        "`--log-path FILE` is the log on its node; files of this computer need no flag",
    ),
    (&["--role", "--rbac-file"], "`--rbac FILE` takes manifests or a dump of roles and bindings"),
    (
        &["--policy", "--policy-file", "--audit-policy-file"],
        "the policy is the first FILE, without a flag",
    ),
];

const BY: &str = "`-k KEY` counts by a key, such as `-k user.username,verb`";
const SUBJECT: &str =
    "`--subject NAME` chooses by user; a service account is `--subject NAMESPACE/NAME`";
const PATHS: &str = "files and folders are given without a flag, standard input as `-`";
const SINCE: &str = "`--since` takes a time, or a duration back from now";
const OUTPUT: &str = "`-o` chooses the format: table, wide, json, jsonl, yaml, csv";

/// Commands that we do not have.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["sessions", "session", "ssh", "attach", "shells"], "`execs` shows sessions into workloads"),
    (
        &["logs", "log", "get", "list", "show", "cat", "query", "search", "grep", "find", "filter"],
        "`events` prints the matching events",
    ),
    (
        &["top", "count", "summary", "summarize", "report", "groups", "usage"],
        "`stats` counts requests by any keys",
    ),
    (&["tail", "follow", "watch"], "`events --follow` prints events as they are written"),
    (&["lint", "validate", "check"], "`policy check` judges an audit policy"),
    (
        &["simulate", "evaluate", "explain", "diff", "suggest"],
        "`policy` and `rbac` have this as their own command",
    ),
    (&["who-can", "unused", "generate"], "`rbac` has this as its own command"),
    (
        &["whois", "identity", "user", "users", "subject"],
        "`who` tells who somebody is, and what they may do",
    ),
    (
        &["download", "copy", "cp", "pull", "collect", "export"],
        "`fetch` copies the logs from the nodes",
    ),
    (&["status", "setup", "config", "health", "diagnose"], "`doctor` says how auditing is set up"),
    (&["completions", "complete"], "`completion` prints scripts for shells"),
];

/// Formats of kubectl and others.
const FORMATS: &[(&[&str], &str)] = &[
    (&["ndjson", "json-lines", "jsonlines", "raw"], "one JSON object a line is `-o jsonl`"),
    (
        &[
            "jsonpath",
            "go-template",
            "custom-columns",
            "template",
            "name",
            "jsonpath-file",
            "go-template-file",
        ],
        "pipe `-o json` into jq, as in `-o json | jq '.items[].auditID'`",
    ),
    (&["text", "plain", "pretty", "human"], "the table is the default"),
    (&["yml"], "that is `-o yaml`"),
    (&["tsv", "xlsx", "excel"], "spreadsheets read `-o csv`"),
];

/// The word for what was meant, if it is a known habit.
pub fn hint(err: &clap::Error) -> Option<&'static str> {
    let text = |kind| match err.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match err.kind() {
        ErrorKind::UnknownArgument => {
            find(FLAGS, text(ContextKind::InvalidArg)?.split('=').next()?)
        }
        ErrorKind::InvalidSubcommand => find(COMMANDS, text(ContextKind::InvalidSubcommand)?),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = text(ContextKind::InvalidArg)?;
            let value = text(ContextKind::InvalidValue)?;
            match flag {
                _ if flag.starts_with("--output") => find(FORMATS, value.split('=').next()?),
                _ if flag.starts_with("--limit") && value.contains('=') => {
                    Some("`-l` is `--limit`; `-F KEY=VALUE` chooses by any field of the event")
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn find(table: &[(&[&str], &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|it| it.1)
}

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let err = parse(line.split(' ').map(Into::into)).expect_err("this is no command");
        let hint = hint(&err).unwrap_or_default();
        assert!(hint.contains(expected) && hint.is_empty() == expected.is_empty(), "{hint:?}");
    }

    #[test]
    fn flags() {
        check("x stats --by verb", "-k KEY");
        check("x stats --by=verb", "-k KEY");
        check("x events --username ann", "--subject");
        check("x events -u ann", "--subject");
        check("x policy check -f p.yaml", "without a flag");
        check("x stats --file a.log", "without a flag");
        check("x rbac unused -f a.log", "without a flag");
        check("x who ann --follow", "can follow");
        check("x events --since-time 2026-01-01T00:00:00Z", "--since");
        check("x events -w", "--follow");
        check("x events --exclude system:", "!=");
        check("x events --nonsense", "");
    }

    #[test]
    fn commands() {
        check("x sessions", "execs");
        check("x logs", "events");
        check("x lint", "policy check");
        check("x nonsense", "");
    }

    #[test]
    fn formats() {
        check("x events -o ndjson", "jsonl");
        check("x events -o jsonpath={.items}", "jq");
        check("x stats -l app=web", "-F KEY=VALUE");
        check("x stats -o nonsense", "");
    }

    #[test]
    fn no_habit_stands_twice_or_is_ours() {
        use clap::CommandFactory;
        for table in [FLAGS, COMMANDS, FORMATS] {
            let mut all: Vec<_> = table.iter().flat_map(|it| it.0).collect();
            let n = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), n);
        }
        let cli = super::super::Cli::command();
        for (words, _) in COMMANDS {
            assert!(words.iter().all(|it| cli.find_subcommand(it).is_none()), "{words:?}");
        }
    }
}
