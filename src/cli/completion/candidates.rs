//! What may stand where the cursor is: clap's engine knows the place, `values` the values.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
};

use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::{CompletionCandidate, engine::ArgValueCompleter, engine::complete};

use super::{super::Cli, values::Values};

/// What the shell adds, or leaves out; cobra's numbers, which may be summed.
pub const NO_SPACE: u32 = 2;
pub const NO_FILES: u32 = 4;
pub const FOLDERS: u32 = 16;

/// Stand for what the shell knows better: no value of ours begins so.
const ANY_FILE: &str = "\u{1}file";
const ANY_FOLDER: &str = "\u{1}folder";

/// An answer in cobra's words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What may stand there, with what it means.
    pub candidates: Vec<(String, Option<String>)>,
    pub directive: u32,
}

/// What the last of the words can become.
pub fn of(words: &[OsString]) -> Answer {
    let current = words.last().cloned().unwrap_or_default();
    let mut args = vec![OsString::from("kubectl-audit")];
    args.extend_from_slice(words);
    if words.is_empty() {
        args.push(OsString::new());
    }
    let at = args.len() - 1;
    let mut command = with_values(Cli::command(), &Values::new(words));
    let found = complete(&mut command, args, at, None).unwrap_or_default();
    answer(&found, &current)
}

fn answer(found: &[CompletionCandidate], current: &OsStr) -> Answer {
    // Flags are many: they come when they are asked for.
    let wants_flags = current.as_encoded_bytes().starts_with(b"-");
    // `--flag=FILE` is one word; a PATH that may stand here too does not begin with `-`.
    let has = |what| {
        found.iter().map(|it| it.get_value().to_string_lossy()).any(|it| match it.find(what) {
            Some(0) => !wants_flags,
            at => at.is_some(),
        })
    };
    let candidates: Vec<_> = found
        .iter()
        .filter_map(|it| Some((it.get_value().to_str()?.to_owned(), meaning(it))))
        .filter(|(value, _)| wants_flags || !value.starts_with('-'))
        .filter(|(value, _)| !value.contains('\u{1}'))
        .collect();
    let is_open = candidates.iter().any(|(value, _)| value.ends_with(['=', '.', ':']));
    let directive = match candidates.is_empty() {
        true if has(ANY_FILE) => 0,
        true if has(ANY_FOLDER) => FOLDERS,
        _ if is_open => NO_FILES + NO_SPACE,
        _ => NO_FILES,
    };
    Answer { candidates, directive }
}

/// The first line of a help text, on one line whatever it holds.
fn meaning(candidate: &CompletionCandidate) -> Option<String> {
    let help = candidate.get_help()?.to_string();
    let line = help.lines().next()?.trim();
    (!line.is_empty()).then(|| line.replace(char::is_control, " "))
}

/// Every flag with what is known of its values, by its name or what it calls its value.
fn with_values(command: Command, values: &Values) -> Command {
    let command = command.mut_args(|arg| match values.completer(&arg) {
        Some(completer) => arg.add(completer),
        None => match path_kind(&arg) {
            Some(kind) => arg
                .add(ArgValueCompleter::new(move |_: &OsStr| vec![CompletionCandidate::new(kind)])),
            None => arg,
        },
    });
    command.mut_subcommands(|it| with_values(it, values))
}

/// Files of this computer; `--log-path` is one of a node.
fn path_kind(arg: &Arg) -> Option<&'static str> {
    let name = arg.get_value_names().and_then(|it| it.first()).map(|it| it.as_str());
    match name {
        _ if arg.get_id() == "log_path" => None,
        Some("FOLDER") => Some(ANY_FOLDER),
        Some("FILE" | "PATH") => Some(ANY_FILE),
        _ if arg.get_value_hint() == ValueHint::AnyPath => Some(ANY_FILE),
        _ => None,
    }
}

impl Answer {
    /// Writes it as kubectl reads it.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for (value, meaning) in &self.candidates {
            match meaning {
                Some(meaning) => writeln!(out, "{value}\t{meaning}")?,
                None => writeln!(out, "{value}")?,
            }
        }
        writeln!(out, ":{}", self.directive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The candidates in the order shown, then the directive.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let answer = of(&words);
        let mut text: Vec<String> = answer.candidates.into_iter().map(|it| it.0).collect();
        text.push(format!(":{}", answer.directive));
        assert_eq!(text.join(" "), expected, "{line}");
    }

    #[test]
    fn commands() {
        check("st", "stats :4");
        check("nonsense", ":4");
        check("policy che", "check :4");
        check("completion p", "powershell :4");
    }

    #[test]
    fn flags() {
        check("stats --late", "--latency :4");
        check("stats --lim", "--limit :4");
        check("stats --no-such", ":4");
    }

    #[test]
    fn values() {
        check("stats -o j", "json jsonl :4");
        check("stats -oj", "-ojson -ojsonl :4");
        check("stats --output=j", "--output=json --output=jsonl :4");
        check("stats --verb dele", "delete deletecollection :4");
        check("stats --verb get,dele", "get,delete get,deletecollection :4");
        check("stats -r pods/e", "pods/ephemeralcontainers pods/eviction pods/exec :4");
        check("stats -k user.u", "user.username user.uid :4");
        check("stats -k verb,user.u", "verb,user.username verb,user.uid :4");
        check("stats --code 40", "400 401 403 404 405 408 409 :4");
        check("events --timezone Europe/Berl", "Europe/Berlin :4");
        check("execs --state d", "denied :4");
        check("execs -o c", "csv changeevent :4");
        check("policy check --kube-version 1.3", "1.36 1.35 1.34 1.33 1.32 1.31 1.30 :4");
        check("stats --interval 1", "1m 1h 1d :4");
        check("events --since 1", "15m 1h 1d 1w :4");
    }

    #[test]
    fn an_expression_goes_on_behind_its_key() {
        check("events -F responseStatus.c", "responseStatus.code= :6");
        check("events -F !user.na", ":4");
        check(
            "events -F verb=",
            "verb=create verb=delete verb=deletecollection verb=get \
verb=impersonate verb=list verb=patch verb=post verb=put verb=update verb=watch :4",
        );
    }

    #[test]
    fn files() {
        check("stats ", ":0");
        check("stats exam", ":0");
        check("stats --kubeconfig ", ":0");
        check("fetch -o ", ":16");
        check("stats --log-path ", ":4");
        check("stats --limit ", ":4");
    }

    #[test]
    fn no_names_without_a_cluster() {
        check("stats --kubeconfig /nowhere --context ", ":4");
        check("stats --kubeconfig /nowhere --node ", ":4");
        check("stats --kubeconfig /nowhere -n ", ":4");
    }
}
