//! Which files of a log to read, from where to where, before the first of them is opened.

use jiff::Timestamp;

use super::{
    NodeFile, NodeLogError, Rotated,
    file::START,
    folder::NodeLogs,
    rotation::closed_at,
    seek::{SLACK, lower_bound, stage_timestamp},
};

/// A span of time, each end open if absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// How often to look anew while the log is being rotated.
const ATTEMPTS: usize = 5;

/// The files of the log whose live file is `/var/log/FOLDER NAME`, oldest first.
pub(super) fn files(
    logs: &NodeLogs,
    folder: &str,
    live: &str,
    span: Span,
) -> Result<Vec<NodeFile>, NodeLogError> {
    let mut names = siblings(logs, folder, live)?;
    let mut files = Vec::new();
    for _ in 0..ATTEMPTS {
        files = names
            .iter()
            .map(|name| probe(logs, folder, name, span))
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>()?;
        // A file that was renamed meanwhile is in neither list, or in both: then look again.
        let again = siblings(logs, folder, live)?;
        if again == names {
            break;
        }
        names = again;
    }
    files.dedup_by(|b, a| a.start == b.start);
    if files.is_empty() && names.is_empty() {
        let path = format!("{folder}{live}");
        return Err(NodeLogError::NoSuchFile { node: logs.node.clone(), path });
    }
    narrow(files, span)
}

/// The names of the files of a log, oldest first. Where both are there, the plain file counts and not
/// the one it is just being compressed into.
fn siblings(logs: &NodeLogs, folder: &str, live: &str) -> Result<Vec<String>, NodeLogError> {
    let mut names = logs.list(folder)?;
    names.retain(|it| !it.ends_with(".lock") && Rotated::of(it).live == live);
    names.sort_by_cached_key(|it| (Rotated::of(it).age, it.len()));
    names.dedup_by(|b, a| b.strip_prefix(a.as_str()).is_some_and(|it| it == ".gz"));
    Ok(names)
}

/// Looks at the beginning of a file. `None` if it is empty or gone.
fn probe(
    logs: &NodeLogs,
    folder: &str,
    name: &str,
    span: Span,
) -> Result<Option<NodeFile>, NodeLogError> {
    let is_over = |since: Timestamp| {
        let closed = closed_at(name).and_then(|it| it.parse::<Timestamp>().ok());
        closed.is_some_and(|it| it.checked_add(SLACK).is_ok_and(|it| it < since))
    };
    // A file that is too old is asked for its size only.
    let wanted = if span.since.is_some_and(is_over) { 1 } else { START };
    let (start, size) = match logs.read(&format!("{folder}{name}"), 0..wanted) {
        Err(NodeLogError::NoSuchFile { .. }) => return Ok(None),
        read => read?,
    };
    let is_live = Rotated::of(name).live == name;
    let (from, unread) = if wanted == 1 { (size, size) } else { (0, 0) };
    Ok((size > 0).then(|| NodeFile {
        logs: logs.clone(),
        folder: folder.to_owned(),
        name: name.to_owned(),
        start,
        from,
        to: size,
        is_live,
        unread,
    }))
}

/// Leaves out what is outside a span of time.
fn narrow(files: Vec<NodeFile>, span: Span) -> Result<Vec<NodeFile>, NodeLogError> {
    let mut narrowed: Vec<NodeFile> = Vec::new();
    let mut passed_over = 0;
    for mut file in files {
        if file.from == file.to {
            passed_over += file.unread;
            continue;
        }
        let is_plain = !file.start.starts_with(&[0x1f, 0x8b]);
        let (from, to) = (file.from, file.to);
        if is_plain && let Some(since) = span.since.and_then(|it| it.checked_sub(SLACK).ok()) {
            file.from = seek(&file, since)?;
        }
        if is_plain && let Some(until) = span.until.and_then(|it| it.checked_add(SLACK).ok()) {
            // A line that is newer than the end begins there; the lines before it are enough.
            file.to = end(&file, until)?;
            file.is_live &= file.to == to;
        }
        file.unread = (file.from - from) + (to - file.to);
        if file.from == file.to && !file.is_live {
            passed_over += file.unread;
            continue;
        }
        narrowed.push(file);
    }
    if let Some(first) = narrowed.first_mut() {
        first.unread += passed_over;
    }
    Ok(narrowed)
}

/// Where to begin, so that everything since then is read.
fn seek(file: &NodeFile, since: Timestamp) -> Result<u64, NodeLogError> {
    // Its first line tells already that all of it is wanted.
    if stage_timestamp(&file.start).is_some_and(|it| it >= since) {
        return Ok(file.from);
    }
    let path = format!("{}{}", file.folder, file.name);
    let mut read = |range| file.logs.read(&path, range).map(|(bytes, _)| bytes);
    lower_bound(&mut read, file.from..file.to, since)
}

/// Where to end: as [`seek`], but the undecided span belongs to what is read.
fn end(file: &NodeFile, until: Timestamp) -> Result<u64, NodeLogError> {
    let path = format!("{}{}", file.folder, file.name);
    let mut read = |range| file.logs.read(&path, range).map(|(bytes, _)| bytes);
    super::seek::upper_bound(&mut read, file.from..file.to, until)
}
