//! Copies of a node's files as evidence: whole or not there, with what proves them.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::NodeFile;
use crate::source::{
    SourceError,
    compression::{Content, unpack},
    time_seek::time_of,
};

/// What is known of a copy: an entry of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    pub node: String,
    /// On the node.
    pub path: String,
    /// Where in that file the copy begins.
    pub offset: u64,
    /// Below the folder of the copies.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    /// The stage timestamps of its first and its last event.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub copied_at: Timestamp,
}

/// How much of both ends is compared before a copy is gone on with.
const COMPARED: u64 = 4096;

impl NodeFile {
    /// Copies it to `target`, or to `target` with `.gz`. What an earlier, broken copy has is used if its
    /// content is still the same. `progress` is told each time some bytes have come.
    ///
    /// # Errors
    /// If it cannot be read or written; what came so far stays for the next time.
    pub fn copy(
        &self,
        target: &Path,
        compress: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, SourceError> {
        let part = with_suffix(target, ".part");
        let cannot_write = |path: &Path, source| SourceError::CannotWrite {
            name: path.display().to_string(),
            source,
        };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|err| cannot_write(folder, err))?;
        }
        // A copy that is whole but of a file that has grown since then is a good beginning too.
        let is_packed = self.start.starts_with(&[0x1f, 0x8b]);
        if !part.exists() && target.exists() {
            fs::copy(target, &part).map_err(|err| cannot_write(&part, err))?;
        } else if !part.exists() && !is_packed {
            // What of it cannot be unpacked comes again.
            let _ = gunzip(&with_suffix(target, ".gz"), &part);
        }
        let options = File::options().create(true).truncate(false).read(true).write(true).clone();
        let mut file = options.open(&part).map_err(|err| cannot_write(&part, err))?;
        let have = self.usable(&mut file)?;
        file.set_len(have)
            .and_then(|()| file.seek(SeekFrom::Start(have)))
            .map_err(|err| cannot_write(&part, err))?;
        let name = format!("{}:{}", self.node(), self.path());
        let from = self.part.start + have;
        let rest = NodeFile { part: from..self.part.end.max(from), ..self.clone() };
        let mut input = rest.open()?;
        let mut buffer = vec![0; 256 << 10];
        progress(have);
        loop {
            let n = input.read(&mut buffer).map_err(|err| SourceError::new(&name, err))?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(|err| cannot_write(&part, err))?;
            progress(n as u64);
        }
        file.sync_all().map_err(|err| cannot_write(&part, err))?;
        if !compress || is_packed {
            fs::rename(&part, target).map_err(|err| cannot_write(target, err))?;
            return Ok(target.to_owned());
        }
        let (packed, target) = (with_suffix(target, ".gz.part"), with_suffix(target, ".gz"));
        gzip(&part, &packed)
            .and_then(|()| fs::rename(&packed, &target))
            .and_then(|()| fs::remove_file(&part))
            .map_err(|err| cannot_write(&target, err))?;
        Ok(target)
    }

    /// How many bytes of an earlier copy are those of this file, as both of its ends tell.
    fn usable(&self, file: &mut File) -> Result<u64, SourceError> {
        let Ok(have) = file.metadata().map(|it| it.len()) else { return Ok(0) };
        if have == 0 || have < self.start.len() as u64 && have < self.size() {
            return Ok(0);
        }
        for at in [0, have.saturating_sub(COMPARED)] {
            let len = COMPARED.min(have - at);
            let mut mine = vec![0; len as usize];
            let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut mine));
            if read.is_err() {
                return Ok(0);
            }
            let path = format!("{}{}", self.folder, self.name);
            let from = self.part.start + at;
            let (theirs, _) = self.logs.read(&path, from..from + len)?;
            if mine != theirs {
                return Ok(0);
            }
        }
        Ok(have)
    }

    /// What proves a copy that was made.
    ///
    /// # Errors
    /// If the copy cannot be read.
    pub fn evidence(&self, root: &Path, copy: &Path) -> io::Result<Copied> {
        let mut file = File::open(copy)?;
        let mut digest = Context::new(&SHA256);
        let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            digest.update(&buffer[..n]);
            bytes += n as u64;
        }
        let sha256 = digest.finish().as_ref().iter().map(|it| format!("{it:02x}")).collect();
        let (from, to) = period(copy)?;
        Ok(Copied {
            node: self.node().to_owned(),
            path: self.path(),
            offset: self.part.start,
            file: copy.strip_prefix(root).unwrap_or(copy).display().to_string(),
            bytes,
            sha256,
            from,
            to,
            copied_at: Timestamp::now(),
        })
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn gzip(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder =
        flate2::write::GzEncoder::new(File::create(to)?, flate2::Compression::default());
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()
}

/// As much as there is of a compressed copy.
fn gunzip(from: &Path, to: &Path) -> io::Result<()> {
    let packed = File::open(from)?;
    io::copy(&mut flate2::read::MultiGzDecoder::new(packed), &mut File::create(to)?)?;
    Ok(())
}

/// The times of the first and the last event in a file.
fn period(path: &Path) -> io::Result<(Option<Timestamp>, Option<Timestamp>)> {
    let Content::Text(text) = unpack(Box::new(File::open(path)?))? else { return Ok((None, None)) };
    let time = |line: &[u8]| time_of(line)?.to_jiff();
    let mut lines = BufReader::with_capacity(256 << 10, text);
    let (mut line, mut last, mut from) = (Vec::new(), Vec::new(), None);
    loop {
        line.clear();
        // A line that is longer than any event is not held in memory.
        if (&mut lines).take(64 << 20).read_until(b'\n', &mut line)? == 0 {
            return Ok((from, time(&last)));
        }
        if from.is_none() {
            from = time(&line);
        }
        std::mem::swap(&mut line, &mut last);
    }
}
