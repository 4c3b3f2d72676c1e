//! The command line as it was typed: by which name, and with what help where it was wrong.

use std::{ffi::OsString, io::Write, path::Path, process::ExitCode};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, error::ContextKind};

use super::{Cli, hints::hint};

/// Reads the command line; usage and examples print the name it was called by.
///
/// ```
/// use kubectl_audit::cli;
///
/// let line = ["kubectl-audit", "stats", "-k", "verb", "--quiet", "examples/audit.log"];
/// let cli = cli::parse(line.map(Into::into))?;
/// let mut out = Vec::new();
/// cli::run(cli, &mut out)?;
/// assert!(out.starts_with(b"VERB"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If it is wrong, or only asks for help: both are for [`report_usage`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let args: Vec<OsString> = args.into_iter().collect();
    let name = args.first().map_or_else(|| "kubectl audit".to_owned(), |it| called(it.as_ref()));
    let mut matches = command(&name).try_get_matches_from(args)?;
    let is_quiet = is_quiet(&matches);
    Cli::from_arg_matches_mut(&mut matches).map(|cli| Cli { is_quiet, ..cli })
}

/// Whether the command has `--quiet`, wherever in its flags that is.
fn is_quiet(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, below)) => is_quiet(below),
        None => matches.try_get_one("quiet").is_ok_and(|it| it == Some(&true)),
    }
}

/// The whole command line, as a program of this name shows it: for man pages and for tests.
#[must_use]
pub fn command(name: &str) -> Command {
    named(Cli::command(), name).bin_name(name.to_owned())
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

/// kubectl's order: what it does, how it is called, examples, flags.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\n{all-args}";

/// The examples with this name, before the flags.
fn named(command: Command, name: &str) -> Command {
    let examples = command.get_after_help().map(|it| it.to_string().replace("kubectl audit", name));
    let command = match examples {
        Some(examples) => command.after_help(examples).help_template(TEMPLATE),
        None => command,
    };
    command.mut_subcommands(|it| named(it, name))
}

/// Prints what is wrong with the command line, or the help asked for; gives the exit status.
pub fn report_usage(mut err: clap::Error) -> ExitCode {
    let hint = hint(&err);
    if hint.is_some() {
        // The nearest spelling is another thing than what was meant.
        err.remove(ContextKind::Suggested);
        err.remove(ContextKind::SuggestedArg);
        err.remove(ContextKind::SuggestedSubcommand);
        err.remove(ContextKind::SuggestedValue);
        err.remove(ContextKind::Usage);
    }
    let _ = err.print();
    if let Some(hint) = hint {
        let _ = writeln!(std::io::stderr(), "hint: {hint}");
    }
    ExitCode::from(u8::try_from(err.exit_code()).unwrap_or(2))
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

    /// Every command, with the words that lead to it.
    fn all(command: &Command, path: &str, each: &mut impl FnMut(&Command, &str)) {
        for it in command.get_subcommands().filter(|it| it.get_name() != "help") {
            all(it, &format!("{path} {}", it.get_name()), each);
        }
        each(command, path);
    }

    #[test]
    fn help_fits() {
        all(&Cli::command(), "kubectl-audit", &mut |_, path| {
            for flag in ["-h", "--help"] {
                let help = error(&format!("{path} {flag}")).to_string();
                let wide = help.lines().find(|it| it.chars().count() > 100);
                assert_eq!(wide, None, "{path} {flag}");
            }
        });
    }

    #[test]
    fn every_command_has_three_examples_that_can_be_read() {
        all(&Cli::command(), "kubectl audit", &mut |command, path| {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            // Longer ones would be broken in the middle.
            assert!(examples.lines().all(|it| it.chars().count() <= 100), "{examples}");
            let calls: Vec<&str> = examples.lines().filter_map(call).collect();
            assert!(calls.len() >= 3, "`{path}` has {} examples", calls.len());
            for line in calls {
                assert!(line.starts_with(path), "{line}");
                let words = shlex::split(line).expect("quotes are closed");
                let words = words.into_iter().skip(1).map(OsString::from);
                assert!(parse(words).is_ok(), "{line}");
            }
        });
    }

    /// Our part of a line of a shell: not what it is piped to, nor where its output goes.
    fn call(line: &str) -> Option<&str> {
        if line.trim_start().starts_with('#') {
            return None;
        }
        let line = &line[line.find("kubectl audit ")?..];
        let line = line.split(" | ").next()?.split(" > ").next()?.split(" && ").next()?;
        Some(line.trim_end_matches(')'))
    }

    #[test]
    fn near_words() {
        let text = error("x evnts").to_string();
        assert!(text.contains("events") && text.contains("similar"), "{text}");
        let text = error("x stats --latenci").to_string();
        assert!(text.contains("--latency"), "{text}");
        assert_eq!(error("x evnts").exit_code(), 2);
    }
}
