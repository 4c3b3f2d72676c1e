//! How a run ends: the exit status, and the one place that prints errors.

use std::{
    io::Write,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{
    cluster::ClusterError, decode::Skipped, filter::FilterError, output::escape,
    source::SourceError,
};

/// How a command ended that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// Done, and a check found something.
    Findings,
    /// Done with parts missing.
    Partial,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Findings => 1,
            Exit::Partial => 2,
        })
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{}:{}: {}", .0.input, .0.line, .0.reason)]
    BadLine(Skipped),
    #[error("cannot read the policy `{name}`")]
    PolicyFile { name: String, source: std::io::Error },
    #[error("{name}:{line}: {message}")]
    Policy { name: String, line: usize, message: String, hint: Option<String> },
    #[error("the group of `{0}` is not known")]
    NoGroup(String),
    #[error("the log must be read twice, and this one can be read once only")]
    OnlyOnce,
    #[error("`{0}` is in no folder of PATH")]
    NotOnPath(String),
    #[error("cannot write into `{folder}`")]
    Install { folder: String, source: std::io::Error },
    #[error("cannot read `{name}`")]
    RbacFile { name: String, source: std::io::Error },
    #[error("no pod has the labels `{selector}`")]
    NoPods { selector: String },
    #[error("no role and no binding in `{name}`")]
    NoRbac { name: String },
    #[error("{message}")]
    History { message: String, hint: String },
    #[error("this command prints JSON lines and nothing else")]
    OnlyLines,
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl Error {
    /// What to do about it: every error has something.
    pub fn hint(&self) -> String {
        let hint = match self {
            Error::Source(err) => return err.hint(),
            Error::Filter(err) => err.hint.unwrap_or("`stats --help` shows the forms of a filter"),
            Error::Cluster(err) => return err.hint(),
            Error::BadLine(_) => "without --strict such lines are skipped and counted",
            Error::Policy { hint: Some(hint), .. } => return hint.clone(),
            Error::Policy { name, .. } => {
                return format!("`policy check {name}` tells all that is wrong with it");
            }
            Error::PolicyFile { .. } => "give the file of --audit-policy-file",
            Error::History { hint, .. } => return hint.clone(),
            Error::NoGroup(resource) => {
                return format!("name it with its group, as in `{resource}.example.com`");
            }
            Error::OnlyOnce => "write it to a file first, and name that",
            Error::OnlyLines => {
                "leave -o away, or give `-o jsonl`; `| jq -s .` makes one document of it"
            }
            Error::NotOnPath(_) | Error::Install { .. } => {
                "name a folder of PATH: `completion install FOLDER`"
            }
            Error::NoRbac { .. } | Error::RbacFile { .. } => {
                "`kubectl get clusterroles,roles,clusterrolebindings,rolebindings,serviceaccounts -A -o json` makes such a file"
            }
            Error::NoPods { .. } => {
                "pods come from the cluster, or from a dump that --rbac names; `kubectl get pods -A --show-labels` shows them"
            }
            Error::Output(_) => "is there room, and may you write there?",
        };
        hint.to_owned()
    }
}

/// Prints an error with its causes and what to do; gives the exit status.
pub fn report(err: &Error) -> ExitCode {
    if matches!(err, Error::Output(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::from(141);
    }
    warn(err);
    ExitCode::from(2)
}

/// Prints an error with its causes and what to do, and lets the command go on.
pub fn warn(err: &Error) {
    let mut text = format!("error: {err}");
    let mut cause = std::error::Error::source(err);
    while let Some(it) = cause {
        text += &format!(": {it}");
        cause = it.source();
    }
    match err {
        // A filter's caret stands on a line of its own.
        Error::Filter(_) => text.lines().for_each(say),
        // A line break in a name must not look like a message of its own.
        _ => say(&text),
    }
    say(&format!("hint: {}", err.hint()));
}

/// Whether nothing but errors is told: `--quiet`. One for the program, as its standard error is.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only errors are told.
pub fn hush() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Prints what a person should know but need not act upon.
pub fn note(text: &str) {
    advise(&format!("note: {text}"));
}

/// Prints what may make the answer another one than was asked for.
pub fn warning(text: &str) {
    advise(&format!("warning: {text}"));
}

/// Prints what is no error.
pub fn advise(text: &str) {
    if !IS_QUIET.load(Ordering::Relaxed) {
        say(text);
    }
}

/// A line on standard error. Names come from strangers.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escape(text));
}
