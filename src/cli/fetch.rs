//! `kubectl audit fetch`

use std::{
    collections::BTreeMap,
    fs, io,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Error, Exit,
    args::NodeArgs,
    exit,
    filter_args::{FilterArgs, now},
    interrupt,
    summary::size,
};
use crate::{
    output::escape,
    source::{
        Log, Place, SourceError,
        node::{Copied, NodeFile},
    },
};

/// Copy audit logs from control-plane nodes into a folder
///
/// Every other command reads the folder, with each node as a log of its own. A copy that broke off is
/// gone on with by the same command; `manifest.json` says what was copied from where, and its SHA-256.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  # All audit logs of the cluster
  kubectl audit fetch -o incident-17

  # What the last two hours need, compressed
  kubectl audit fetch -o incident-17 --since 2h --compress

  # The log of one node, then a question to the copy
  kubectl audit fetch -o incident-17 --node cp-1 && kubectl audit stats incident-17")]
pub struct Args {
    /// Where to put the copies
    #[arg(short, long, value_name = "FOLDER", default_value = "audit-logs")]
    output: PathBuf,
    /// Only what may be from this time on: a duration back from now (15m, 2h30m, 1d) or a time
    #[arg(long, value_name = "D|T")]
    since: Option<String>,
    /// Compress the copies
    #[arg(long)]
    compress: bool,
    #[command(flatten)]
    nodes: NodeArgs,
}

/// `manifest.json`: the copies in a folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    api_version: String,
    kind: String,
    items: Vec<Copied>,
}

pub fn run(args: Args, out: &mut dyn Write) -> Result<Exit, Error> {
    let filter = FilterArgs { since: args.since.clone(), ..FilterArgs::default() };
    let window = filter.window(now())?;
    let found = args.nodes.find(window)?;
    let has_found = !found.logs.is_empty();
    interrupt::once(|| {
        exit::say("interrupted; what was copied so far is kept");
        exit::say("hint: run the same command again to resume: unfinished copies end in `.part`");
        std::process::exit(INTERRUPTED);
    })?;
    let mut failed = found.failed;
    let progress = Progress::default();
    let copy = |log: &Log| copy(log, &args, &progress);
    let results: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = found.logs.iter().map(|it| scope.spawn(|| copy(it))).collect();
        all.into_iter().map(|it| it.join().expect("copying does not panic")).collect()
    });
    progress.clear();
    let mut copied = Vec::new();
    for (done, err) in results {
        copied.extend(done);
        failed.extend(err);
    }
    if has_found {
        write_manifest(&args.output, &copied)?;
    }
    for it in &copied {
        let file = args.output.join(&it.file).display().to_string();
        writeln!(out, "{} {} {}", escape(&it.node), escape(&file), size(it.bytes))?;
    }
    let is_partial = !failed.is_empty();
    let last = if copied.is_empty() { failed.pop() } else { None };
    failed.into_iter().for_each(|it| exit::warn(&it.into()));
    match last {
        Some(err) => Err(err.into()),
        None => Ok(if is_partial { Exit::Partial } else { Exit::Done }),
    }
}

/// Copies the files of a log; gives what was copied, and why that is not all.
fn copy(log: &Log, args: &Args, progress: &Progress) -> (Vec<Copied>, Option<SourceError>) {
    let mut copied = Vec::new();
    let folder = args.output.join(&log.name);
    for input in &log.inputs {
        let Place::Node(file) = &input.place else { continue };
        if file.is_outside() {
            continue;
        }
        match copy_file(file, &folder, args, &mut |n| progress.add(&log.name, n)) {
            Ok(it) => copied.push(it),
            Err(err) => return (copied, Some(err)),
        }
    }
    (copied, None)
}

fn copy_file(
    file: &NodeFile,
    folder: &Path,
    args: &Args,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, SourceError> {
    let name = local_name(file.file_name());
    let copy = file.copy(&folder.join(name), args.compress, progress)?;
    file.evidence(&args.output, &copy)
        .map_err(|err| SourceError::new(&copy.display().to_string(), err))
}

/// The name of a copy. The server chose the name of the file: what means something to this machine or to
/// a terminal is escaped as in a URL, so that no name leads elsewhere.
fn local_name(name: &str) -> String {
    let mut local = String::new();
    for c in name.chars() {
        let is_special = c.is_control()
            || matches!(c, '/' | '\\' | ':' | '%' | '*' | '?' | '"' | '<' | '>' | '|');
        let is_turned = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if is_special || is_turned || local.is_empty() && c == '.' {
            let mut bytes = [0; 4];
            local.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            local.push(c);
        }
    }
    local
}

/// The exit status of a program that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Adds the copies to the manifest: an entry a file.
fn write_manifest(folder: &Path, copied: &[Copied]) -> Result<(), Error> {
    let path = folder.join("manifest.json");
    let known = fs::read(&path).ok().and_then(|it| serde_json::from_slice::<Manifest>(&it).ok());
    let known = known.map(|it| it.items).unwrap_or_default();
    let is_there = |it: &Copied| folder.join(&it.file).is_file();
    let all: BTreeMap<String, Copied> = known
        .into_iter()
        .filter(is_there)
        .chain(copied.iter().cloned())
        .map(|it| (it.file.clone(), it))
        .collect();
    let manifest = Manifest {
        api_version: "kubectl-audit/v1".to_owned(),
        kind: "FetchManifest".to_owned(),
        items: all.into_values().collect(),
    };
    let part = folder.join("manifest.json.part");
    let write = || {
        fs::create_dir_all(folder)?;
        fs::write(&part, serde_json::to_vec_pretty(&manifest)?)?;
        fs::rename(&part, &path)
    };
    write().map_err(|source| {
        SourceError::CannotWrite { name: path.display().to_string(), source }.into()
    })
}

/// Bytes per log, on a terminal.
#[derive(Default)]
struct Progress(Mutex<(BTreeMap<String, u64>, Option<Instant>)>);

impl Progress {
    fn add(&self, log: &str, n: u64) {
        let (bytes, shown) = &mut *self.0.lock().expect("no holder panics");
        *bytes.entry(log.to_owned()).or_default() += n;
        let is_time = shown.is_none_or(|it| it.elapsed() > Duration::from_millis(300));
        if is_time && io::stderr().is_terminal() {
            *shown = Some(Instant::now());
            let all: Vec<_> = bytes.iter().map(|(log, n)| format!("{log} {}", size(*n))).collect();
            let _ = write!(io::stderr(), "\r\x1b[2K{}", all.join("  "));
        }
    }

    fn clear(&self) {
        if self.0.lock().expect("no holder panics").1.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(local_name(name), expected);
    }

    #[test]
    fn names_of_copies_lead_nowhere_else() {
        check("audit-2026-11-22T10-11-12.345.log.gz", "audit-2026-11-22T10-11-12.345.log.gz");
        check("..", "%2E.");
        check("a/../b", "a%2F..%2Fb");
        check("a\\..\\b", "a%5C..%5Cb");
        check("c:x", "c%3Ax");
        check("a\u{1b}[2J\n", "a%1B[2J%0A");
        check("a\u{202e}b", "a%E2%80%AEb");
        check("100%", "100%25");
    }
}
