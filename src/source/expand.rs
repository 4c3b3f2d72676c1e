//! Archives taken apart into the logs in them, for those who read logs in their order.

use std::fs::{self, File};

use super::{
    Archive, Found, Input, Log, Place, Skip, SourceError,
    compression::{Content, unpack},
    note_of,
    rotation::{Siblings, split},
};
use crate::event::Window;

/// Replaces each archive file by the logs in it, each with its files, oldest first.
///
/// That costs a pass through the archive, and opening a file in it reads the archive up to there
/// again: who does not need the order reads the archive itself, once. A file whose name puts it
/// outside the window is not opened. An archive on standard input
/// stays what it is.
pub fn expand(logs: Vec<Log>, skip: Option<Skip>, window: Window) -> Found {
    let mut found = Found::default();
    let mut passed_over = Vec::new();
    for log in logs {
        let by_name = skip.map(|skip| skip.by_name(&log, window)).unwrap_or_default();
        let is_outside = |n: usize| by_name.get(n).is_some_and(|file| file.is_outside);
        let Log { name, inputs } = log;
        let mut files = Vec::new();
        for (n, input) in inputs.into_iter().enumerate() {
            let archive = if is_outside(n) { None } else { tar_of(&input) };
            match archive {
                None => files.push(input),
                Some(archive) => {
                    let Place::File(path) = &input.place else { continue };
                    let mut members = Siblings::default();
                    let left = archive.each(&mut |member| {
                        let place = Place::Member {
                            archive: path.clone(),
                            entries: member.entries.to_vec(),
                        };
                        let input = Input { name: member.name.to_owned(), place };
                        let (_, age) = split(member.name);
                        members.add(member.log, || member.log.to_owned(), age, input);
                        true
                    });
                    if members.is_empty() && left.failed.is_empty() {
                        found.failed.push(SourceError::NoLogs { name: input.name });
                    }
                    found.logs.extend(members.logs());
                    found.failed.extend(left.failed);
                    passed_over.extend(left.passed_over);
                }
            }
        }
        if !files.is_empty() {
            found.logs.push(Log { name, inputs: files });
        }
    }
    found.notes = note_of(&passed_over).into_iter().collect();
    found
}

/// The archive that a file is. What cannot be opened fails again, and is told, when it is read.
fn tar_of(input: &Input) -> Option<Archive> {
    let Place::File(path) = &input.place else { return None };
    // Opening a FIFO would take from it what was meant for the reader.
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    match unpack(Box::new(File::open(path).ok()?)).ok()? {
        Content::Tar(tar) => Some(Archive::new(&input.name, tar)),
        Content::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::source::{Opened, archive::tests::tar, compression::tests::gzip, find};

    const EVENT: &str = r#"{"level":"Metadata","auditID":"1","stage":"Panic","requestURI":"/","verb":"get","user":{}}"#;

    #[test]
    fn an_archive_becomes_its_logs() {
        let folder = tempfile::tempdir().unwrap();
        let of = |n: usize| EVENT.replace("\"1\"", &format!("\"{n}\"")).into_bytes();
        let archive = tar(&[
            ("cp-1/audit.log", &of(3)),
            ("README", b"no log"),
            ("cp-1/audit-2026-01-02T03-04-05.678.log.gz", &gzip(&of(2))),
            ("cp-2.tgz", &gzip(&tar(&[("audit.log", &of(4))]))),
            ("cp-1/audit-2026-01-01T03-04-05.678.log", &of(1)),
        ]);
        fs::write(folder.path().join("a.tar.gz"), gzip(&archive)).unwrap();
        fs::write(folder.path().join("b.log"), of(5)).unwrap();

        let found = expand(find(&[folder.path().to_owned()]).logs, None, Window::default());
        let mut shown = Vec::new();
        for log in &found.logs {
            let name = log.name.rsplit(['!', '/', '\\']).next().unwrap();
            shown.push(format!("{name}:"));
            for input in &log.inputs {
                let mut content: Box<dyn Read> = match input.open().unwrap() {
                    Opened::Plain(file, _) => Box::new(file),
                    Opened::Stream(stream) => stream,
                    Opened::Archive(_) => panic!("an archive is left"),
                };
                let mut text = String::new();
                content.read_to_string(&mut text).unwrap();
                let event: serde_json::Value = serde_json::from_str(&text).unwrap();
                shown.push(event["auditID"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(shown.join(" "), "audit: 1 2 3 audit: 4 b: 5");
        assert_eq!(found.notes.len(), 1);
        assert!(found.failed.is_empty());
    }
}
