//! Files, folders and standard input, as the user named them: which logs they are.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    Archive, Input, Log, Place, Skip, SourceError,
    compression::{Content, Peeked, unpack},
    rotation::{Age, LogNames, Rotated, Siblings},
    sniff::{self, Look},
};
use crate::event::Window;

/// What the paths on a command line lead to.
#[derive(Debug, Default)]
pub struct Found {
    pub logs: Vec<Log>,
    /// What a person should know about what was left out.
    pub notes: Vec<String>,
    /// What could not be looked at.
    pub failed: Vec<SourceError>,
}

/// Finds the logs that `paths` lead to: files, folders with everything in them, `-`.
///
/// A file that is named is an input whatever is in it; in a folder only audit logs are. A path named
/// twice counts twice; another way to the same file, through a link, does not count.
///
/// ```
/// use kubectl_audit::source;
///
/// let found = source::find(&["examples/audit.log".into(), "no-such.log".into()]);
/// assert_eq!(found.logs.len(), 1);
/// assert_eq!(found.failed[0].to_string(), "there is no `no-such.log`");
/// ```
pub fn find(paths: &[PathBuf]) -> Found {
    find_within(paths, Window::default())
}

/// As [`find`]. A rotated file in a folder whose name puts it outside the window is not opened: it is an
/// audit log if its siblings are.
pub fn find_within(paths: &[PathBuf], window: Window) -> Found {
    let mut walk = Walk { window, ..Walk::default() };
    for path in paths {
        walk.argument(path);
    }
    walk.links();
    walk.found()
}

/// The note about files that are no audit logs, if there are any.
pub fn note_of(passed_over: &[String]) -> Option<String> {
    const SHOWN: usize = 3;
    let (n, files) = match passed_over.len() {
        0 => return None,
        1 => (1, "file that is no audit log"),
        n => (n, "files that are no audit logs"),
    };
    let shown = passed_over.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if n > SHOWN { ", ..." } else { "" };
    Some(format!("passed over {n} {files}: {shown}{more}"))
}

/// A walk through everything that was named.
#[derive(Default)]
struct Walk {
    inputs: Vec<(PathBuf, Place)>,
    /// Files and folders that were met, by what they really are, and the way they were reached.
    met: HashMap<PathBuf, PathBuf>,
    /// Links found in folders wait until the end: what they lead to may be met without them.
    links: Vec<(PathBuf, usize)>,
    /// The folders named, and whether something in it was met.
    folders: Vec<(PathBuf, bool)>,
    passed_over: Vec<String>,
    /// The copies that `fetch` has not finished.
    unfinished: Vec<PathBuf>,
    failed: Vec<SourceError>,
    window: Window,
}

impl Walk {
    fn argument(&mut self, path: &Path) {
        if path == Path::new("-") {
            let is_new = self.inputs.iter().all(|(_, place)| !matches!(place, Place::Stdin));
            if is_new {
                self.inputs.push((path.to_owned(), Place::Stdin));
            }
            return;
        }
        match fs::metadata(path) {
            Err(err) => self.fail(path, err),
            Ok(metadata) if metadata.is_dir() => {
                self.folders.push((path.to_owned(), false));
                self.folder(path, self.folders.len() - 1);
            }
            Ok(metadata) => {
                // What a FIFO is called otherwise is nobody's business: `/dev/fd/63` is no path.
                if !metadata.is_file() || self.is_new(path) {
                    self.inputs.push((path.to_owned(), Place::File(path.to_owned())));
                }
            }
        }
    }

    /// Everything in a folder, and in the folders in it; in the order of names, files first.
    fn folder(&mut self, path: &Path, root: usize) {
        let mut open = vec![path.to_owned()];
        while let Some(folder) = open.pop() {
            if !self.is_new(&folder) {
                self.folders[root].1 = true;
                continue;
            }
            let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut entries = match entries {
                Ok(entries) => entries,
                Err(err) => {
                    self.folders[root].1 = true;
                    self.fail(&folder, err);
                    continue;
                }
            };
            entries.sort_by_key(fs::DirEntry::file_name);
            let (mut below, mut files) = (Vec::new(), Vec::new());
            for entry in entries {
                match entry.file_type() {
                    Err(err) => self.fail(&entry.path(), err),
                    Ok(kind) if kind.is_dir() => below.push(entry.path()),
                    Ok(kind) if kind.is_symlink() => self.links.push((entry.path(), root)),
                    Ok(kind) if kind.is_file() => files.push(entry.path()),
                    Ok(_) => self.pass_over(&entry.path()),
                }
            }
            self.files(&files, root);
            open.extend(below.into_iter().rev());
        }
    }

    /// The links in folders; they may lead to folders with more of them.
    fn links(&mut self) {
        while !self.links.is_empty() {
            for (path, root) in std::mem::take(&mut self.links) {
                match fs::metadata(&path) {
                    Ok(metadata) if metadata.is_dir() => self.folder(&path, root),
                    Ok(metadata) if metadata.is_file() => self.file(&path, root),
                    _ => self.pass_over(&path),
                }
            }
        }
    }

    /// The files of a folder. Those that the window and their names leave out wait for what their
    /// siblings are.
    fn files(&mut self, paths: &[PathBuf], root: usize) {
        let outside = outside(paths, self.window);
        let mut known: HashSet<String> = HashSet::new();
        for path in paths.iter().filter(|path| !outside.contains(*path)) {
            let inputs = self.inputs.len();
            self.file(path, root);
            if self.inputs.len() > inputs {
                known.extend(live_name(path));
            }
        }

        for path in paths.iter().filter(|path| outside.contains(*path)) {
            if !live_name(path).is_some_and(|name| known.contains(&name)) {
                self.file(path, root);
            } else if self.is_new(path) {
                self.inputs.push((path.clone(), Place::File(path.clone())));
            }
        }
    }

    /// A file in a folder.
    fn file(&mut self, path: &Path, root: usize) {
        // What OpenShift's API server locks its log with, and what `fetch` leaves beside its copies.
        let has_extension = |extension| path.extension().is_some_and(|it| it == extension);
        if has_extension("part") {
            self.unfinished.push(path.to_owned());
            return;
        }
        if has_extension("lock") || path.file_name().is_some_and(|it| it == "manifest.json") {
            return;
        }
        if !self.is_new(path) {
            self.folders[root].1 = true;
            return;
        }

        match look(path) {
            Ok(Look::AuditLog) => {
                self.folders[root].1 = true;
                self.inputs.push((path.to_owned(), Place::File(path.to_owned())));
            }
            Ok(Look::Empty) => {}
            Ok(Look::Other) => self.pass_over(path),
            Err(err) => {
                self.folders[root].1 = true;
                self.fail(path, err);
            }
        }
    }

    /// Whether a file or folder is met for the first time, or once more on the very same way.
    fn is_new(&mut self, path: &Path) -> bool {
        let way = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let Ok(real) = fs::canonicalize(path) else { return true };
        *self.met.entry(real).or_insert_with(|| way.clone()) == way
    }

    fn pass_over(&mut self, path: &Path) {
        self.passed_over.push(path.display().to_string());
    }

    fn fail(&mut self, path: &Path, err: io::Error) {
        self.failed.push(SourceError::new(&path.display().to_string(), err));
    }

    fn found(mut self) -> Found {
        for (folder, has_something) in &self.folders {
            if !has_something {
                let name = folder.display().to_string();
                let part = self.unfinished.iter().find(|part| part.starts_with(folder));
                self.failed.push(match part {
                    Some(part) => {
                        let part = part.display().to_string();
                        SourceError::Unfinished { name, part }
                    }
                    None => SourceError::NoLogs { name },
                });
            }
        }
        let notes = note_of(&self.passed_over).into_iter().collect();
        Found { logs: grouped(self.inputs), notes, failed: self.failed }
    }
}

/// The name of the live file of a file's log.
fn live_name(path: &Path) -> Option<String> {
    Some(Rotated::of(path.file_name()?.to_str()?).live)
}

/// The files of a folder that their names put outside of a window.
fn outside(paths: &[PathBuf], window: Window) -> HashSet<PathBuf> {
    if window == Window::default() {
        return HashSet::new();
    }
    let mut logs: HashMap<String, Vec<&PathBuf>> = HashMap::new();
    for path in paths {
        if let Some(live) = live_name(path) {
            logs.entry(live).or_default().push(path);
        }
    }

    let mut outside = HashSet::new();
    for files in logs.values() {
        let names: Vec<&str> = files
            .iter()
            .filter_map(|path| path.file_name().and_then(|name| name.to_str()))
            .collect();
        let by_names = Skip::default().by_names(&names, window);
        let files = files.iter().zip(by_names).filter(|(_, file)| file.is_outside);
        outside.extend(files.map(|(path, _)| (*path).clone()));
    }
    outside
}

/// What a file in a folder looks like.
fn look(path: &Path) -> io::Result<Look> {
    match unpack(Box::new(File::open(path)?)) {
        Err(err) if sniff::is_damage(&err) => Ok(Look::Other),
        Err(err) => Err(err),
        Ok(Content::Text(text)) => sniff::look(&mut Peeked::new(text, 0)),
        Ok(Content::Tar(tar)) => {
            let mut has_log = false;
            Archive::new("", tar).each(&mut |_| {
                has_log = true;
                false
            });
            Ok(if has_log { Look::AuditLog } else { Look::Other })
        }
    }
}

/// Rotated siblings become one log. Siblings are in one folder: the same name in another folder is
/// another server's.
fn grouped(inputs: Vec<(PathBuf, Place)>) -> Vec<Log> {
    let mut names = LogNames::default();
    let mut siblings = Siblings::default();
    for (path, place) in inputs {
        let (live, identity, age) = log_of(&path);
        let input = Input { name: path.display().to_string(), place };
        siblings.add(&identity, || names.name(&live, &identity), age, input);
    }
    siblings.logs()
}

/// The path of the live file of a file's log as a person sees it, the same for the machine, and the
/// file's age in it.
fn log_of(path: &Path) -> (String, String, Age) {
    let Some(name) = path.file_name().and_then(|it| it.to_str()) else {
        // A name that is no text is not taken apart.
        return (path.display().to_string(), format!("{path:?}"), Age::Live);
    };
    let Rotated { live, age } = Rotated::of(name);
    let folder = path.parent().filter(|it| *it != Path::new("")).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let identity = folder.join(&live).display().to_string();
    (path.with_file_name(live).display().to_string(), identity, age)
}

#[cfg(test)]
mod tests {
    use super::super::compression::tests::gzip;
    use super::*;

    const EVENT: &str = r#"{"level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/","verb":"get","user":{}}"#;

    /// A folder with these audit logs in it, and with these other files.
    fn folder(logs: &str, others: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for name in logs.split_whitespace() {
            let is_gzip = name.ends_with(".gz");
            let text = EVENT.as_bytes();
            write(name, if is_gzip { gzip(text) } else { text.to_vec() }.as_slice());
        }
        others.split_whitespace().for_each(|name| write(name, b"something else"));
        folder
    }

    /// The logs that `paths` in a folder lead to, each with its inputs, then notes and errors.
    fn found(folder: &tempfile::TempDir, paths: &str) -> String {
        let paths: Vec<PathBuf> = match paths {
            "." => vec![folder.path().to_owned()],
            _ => paths.split_whitespace().map(|it| folder.path().join(it)).collect(),
        };
        let Found { logs, notes, failed } = find(&paths);
        let input = |it: &Input| it.name.rsplit(['/', '\\']).next().unwrap().to_owned();
        let log = |it: &Log| {
            format!("{}: {}", it.name, it.inputs.iter().map(input).collect::<Vec<_>>().join(" "))
        };
        let lines = logs
            .iter()
            .map(log)
            .chain(notes)
            .chain(failed.iter().map(ToString::to_string))
            .collect::<Vec<_>>();
        let here = format!("{}{}", folder.path().display(), std::path::MAIN_SEPARATOR);
        lines.join("\n").replace(&here, "").replace(&folder.path().display().to_string(), ".")
    }

    #[track_caller]
    fn check(logs: &str, others: &str, expected: &str) {
        assert_eq!(found(&folder(logs, others), "."), expected, "{logs}");
    }

    #[test]
    fn rotated_siblings_are_one_log() {
        check(
            "audit.log audit-2026-01-02T03-04-05.678.log audit-2026-01-01T03-04-05.678.log.gz",
            "",
            "audit: audit-2026-01-01T03-04-05.678.log.gz audit-2026-01-02T03-04-05.678.log audit.log",
        );
        check(
            "audit.log.10.gz audit.log.2 audit.log",
            "",
            "audit: audit.log.10.gz audit.log.2 audit.log",
        );
    }

    #[test]
    fn servers_stay_apart() {
        check(
            "cp-1/audit.log cp-2/audit.log cp-2/audit.log.1",
            "",
            "cp-1/audit: audit.log\ncp-2/audit: audit.log.1 audit.log",
        );
        check(
            "m-0.lab-audit.log m-0.lab-audit-2026-11-22T10-11-12.345.log.gz m-1.lab-audit.log",
            "",
            "m-0.lab: m-0.lab-audit-2026-11-22T10-11-12.345.log.gz m-0.lab-audit.log\nm-1.lab: m-1.lab-audit.log",
        );
    }

    #[test]
    fn others_are_named_in_one_note() {
        check(
            "audit.log",
            "README.md audit.log.lock",
            "audit: audit.log\npassed over 1 file that is no audit log: README.md",
        );
        check(
            "z.log",
            "a b c sub/d",
            "z: z.log\npassed over 4 files that are no audit logs: a, b, c, ...",
        );
    }

    #[test]
    fn nothing_in_a_folder() {
        check("", "", "no audit log in `.`");
        check("", "a", "passed over 1 file that is no audit log: a\nno audit log in `.`");
    }

    #[test]
    fn a_named_file_is_always_read() {
        let folder = folder("", "README.md");
        assert_eq!(found(&folder, "README.md"), "README.md: README.md");
        assert_eq!(found(&folder, "README.md none"), "README.md: README.md\nthere is no `none`");
    }

    #[test]
    fn a_path_named_twice_counts_twice() {
        let folder = folder("audit.log", "");
        assert_eq!(found(&folder, "audit.log audit.log"), "audit: audit.log audit.log");
        assert_eq!(found(&folder, "audit.log ./audit.log"), "audit: audit.log audit.log");
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::symlink;

        use super::*;

        #[test]
        fn a_link_beside_its_target() {
            let folder = folder("audit.log", "");
            symlink("audit.log", folder.path().join("a-link.log")).unwrap();
            assert_eq!(found(&folder, "."), "audit: audit.log");
            assert_eq!(found(&folder, "audit.log a-link.log"), "audit: audit.log");
        }

        #[test]
        fn a_link_to_elsewhere() {
            let (here, there) = (folder("", ""), folder("audit.log sub/audit.log", ""));
            symlink(there.path(), here.path().join("logs")).unwrap();
            symlink(there.path().join("audit.log"), here.path().join("x.log")).unwrap();
            assert_eq!(found(&here, "."), "logs/audit: audit.log\nlogs/sub/audit: audit.log");
        }

        #[test]
        fn loops_and_broken_links() {
            let folder = folder("d/audit.log", "");
            symlink("..", folder.path().join("d/up")).unwrap();
            symlink("me", folder.path().join("me")).unwrap();
            assert_eq!(
                found(&folder, "."),
                "d/audit: audit.log\npassed over 1 file that is no audit log: me"
            );
        }

        #[test]
        fn no_text_as_name() {
            use std::os::unix::ffi::OsStrExt;
            let folder = folder("", "");
            for name in [b"a\xff.log", b"a\xfe.log"] {
                let name = std::ffi::OsStr::from_bytes(name);
                fs::write(folder.path().join(name), EVENT).unwrap();
            }
            let logs = find(&[folder.path().to_owned()]).logs;
            assert_eq!(logs.len(), 2);
            assert_ne!(logs[0].name, logs[1].name);
        }
    }
}
