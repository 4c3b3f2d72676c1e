//! The command line as it was typed: by which name, and with what help where it was wrong.

use std::{ffi::OsString, io::Write, path::Path, process::ExitCode};

use clap::{
    Command, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::Cli;

/// Reads the command line; usage and examples print the name it was called by.
///
/// # Errors
/// If it is wrong, or only asks for help: both are for [`report_usage`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let name = args.first().map_or_else(|| "kubectl audit".to_owned(), |it| called(it.as_ref()));
    let command = named(Cli::command(), &name).bin_name(name);
    Cli::from_arg_matches_mut(&mut command.try_get_matches_from(args)?)
}

/// As kubectl finds plugins: `kubectl-audit_log` is `kubectl audit-log`. Any other name is itself.
fn called(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    match name.strip_prefix("kubectl-") {
        Some(plugin) => format!("kubectl {}", plugin.replace('_', "-")),
        None => name.to_owned(),
    }
}

/// The examples with this name.
fn named(command: Command, name: &str) -> Command {
    let examples = command.get_after_help().map(|it| it.to_string().replace("kubectl audit", name));
    let command = match examples {
        Some(examples) => command.after_help(examples),
        None => command,
    };
    command.mut_subcommands(|it| named(it, name))
}

/// Prints what is wrong with the command line, or the help asked for; gives the exit status.
pub fn report_usage(mut err: clap::Error) -> ExitCode {
    let hint = hint(&err);
    if hint.is_some() {
        // The nearest spelling is another thing than what was meant.
        err.remove(ContextKind::SuggestedArg);
        err.remove(ContextKind::Usage);
    }
    let _ = err.print();
    if let Some(hint) = hint {
        let _ = writeln!(std::io::stderr(), "hint: {hint}");
    }
    ExitCode::from(u8::try_from(err.exit_code()).unwrap_or(2))
}

/// What flags of similar tools are called here.
fn hint(err: &clap::Error) -> Option<&'static str> {
    let Some(ContextValue::String(flag)) = err.get(ContextKind::InvalidArg) else { return None };
    if err.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    Some(match flag.as_str() {
        "--by" | "--group-by" => "`-k KEY` counts by a key, such as `-k user.username,verb`",
        "--filter-user" | "--username" | "--by-user" => "`--subject NAME` chooses by user",
        "--file" | "--filename" | "--input" => "files and folders are given without a flag",
        "--from" | "--start" | "--since-time" | "--after" => {
            "`--since` takes a time or a duration back from now"
        }
        "--to" | "--end" | "--before" => "`--until` takes a time or a duration back from now",
        "--format" => "`-o` chooses the format",
        "--tail" => "`events --reverse --limit N` prints the newest N events",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (program, expected) in [
            ("/home/ann/.krew/bin/kubectl-audit", "kubectl audit"),
            ("kubectl-audit_log", "kubectl audit-log"),
            ("kubectl-audit.exe", "kubectl audit"),
            ("./ka", "ka"),
        ] {
            assert_eq!(called(program.as_ref()), expected);
        }
    }

    fn error(line: &str) -> clap::Error {
        parse(line.split(' ').map(OsString::from)).expect_err("this is no command")
    }

    #[test]
    fn help_has_the_name() {
        let help = error("/bin/kubectl-audit_log stats --help").to_string();
        assert!(help.contains("Usage: kubectl audit-log stats [OPTIONS] [PATH]..."), "{help}");
        assert!(help.contains("kubectl audit-log stats --code 403"), "{help}");
        assert!(!help.contains("kubectl audit "), "{help}");
    }

    #[test]
    fn help_fits() {
        for command in Cli::command().get_subcommands() {
            let help = error(&format!("kubectl-audit {} --help", command.get_name())).to_string();
            assert!(help.lines().all(|it| it.chars().count() <= 100), "{help}");
        }
    }

    #[test]
    fn habits_of_others() {
        assert!(hint(&error("x stats --by verb")).is_some_and(|it| it.contains("-k KEY")));
        assert!(hint(&error("x events --username ann")).is_some_and(|it| it.contains("--subject")));
        assert_eq!(hint(&error("x events --nonsense")), None);
        assert_eq!(error("x evnts").exit_code(), 2);
    }
}
