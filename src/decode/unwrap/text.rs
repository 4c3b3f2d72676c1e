//! What stands before an event in a line of text: a host, a time, a container runtime's marks.

use super::shape;
use crate::event::Timestamp;

/// A line's prefix and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prefix<'t> {
    pub host: Option<&'t str>,
    pub time: Option<Timestamp>,
    pub rest: &'t str,
}

/// A prefix is short: further in, a brace belongs to something else.
const MAX_PREFIX: usize = 512;

/// Splits a line at the first `{`: `master-0.lab {…}` of `oc adm node-logs`, `2026-11-22T10:11:12.000Z {…}`
/// of an S3 export, `TIME stdout F {…}` of a container runtime.
pub(super) fn prefix(line: &str) -> Option<Prefix<'_>> {
    let brace = line.find('{').filter(|it| (1..=MAX_PREFIX).contains(it))?;
    let (before, rest) = line.split_at(brace);
    let words: Vec<&str> = before.split_whitespace().collect();
    let time = words.iter().find_map(|it| shape::time(it));
    let is_host =
        |it: &str| it.bytes().all(|it| it.is_ascii_alphanumeric() || b".-_".contains(&it));
    let host = match words.as_slice() {
        [host] if time.is_none() && is_host(host) => Some(*host),
        _ => None,
    };
    Some(Prefix { host, time, rest })
}

/// Whether every second byte is NUL.
pub(super) fn is_utf16(text: &[u8]) -> bool {
    let start = &text[..text.len().min(64)];
    let nuls = |from: usize| start.iter().skip(from).step_by(2).filter(|it| **it == 0).count();
    start.len() >= 8 && nuls(0).abs_diff(nuls(1)) * 4 >= start.len()
}

/// A line of the container runtime interface's log format: `TIME stdout F TEXT`.
///
/// Source: `pkg/kubelet/kuberuntime/logs/logs.go`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CriLine<'t> {
    pub time: Option<Timestamp>,
    pub stream: &'t str,
    /// The text goes on in the next line of the same stream.
    pub is_partial: bool,
    pub text: &'t [u8],
}

pub(super) fn cri(line: &[u8]) -> Option<CriLine<'_>> {
    let mut parts = line.splitn(4, |it| *it == b' ');
    let (time, stream, tag, text) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let stream = match stream {
        b"stdout" => "stdout",
        b"stderr" => "stderr",
        _ => return None,
    };
    // More tags may follow the first behind colons.
    let is_partial = match tag.split(|it| *it == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let time = Some(Timestamp::parse(time)?);
    Some(CriLine { time, stream, is_partial, text })
}
