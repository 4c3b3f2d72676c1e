//! The parsers of this folder as functions of bytes: for fuzz targets, and for the replay of what
//! they found. Nothing else uses them.

use std::io::{Cursor, Read};

use super::{
    Archive,
    compression::{Content, Peeked, unpack},
    node, rotation, sniff,
};

/// Unpacks an input as if it had been named, and reads up to `most` bytes of each text in it.
pub fn read(bytes: &[u8], most: u64) {
    match unpack(Box::new(Cursor::new(bytes.to_vec()))) {
        Ok(Content::Tar(tar)) => {
            let mut left = most;
            Archive::new("x", tar).each(&mut |member| {
                left -= drain(member.content, left);
                left > 0
            });
        }
        Ok(Content::Text(text)) => {
            let mut text = Peeked::new(text, 0);
            // What it looks like is decided, or why not is told; either way it can be read.
            let _ = sniff::look(&mut text);
            drain(&mut text, most);
        }
        Err(_) => {}
    }
}

/// How many bytes there are, counted up to `most`.
fn drain(input: &mut dyn Read, most: u64) -> u64 {
    std::io::copy(&mut input.take(most), &mut std::io::sink()).unwrap_or(most)
}

/// Reads the name of a rotated file, alone and as one of an archive.
pub fn name(name: &str) {
    rotation::Rotated::of(name);
    rotation::split(name);
    rotation::closed_at(name);
}

/// The names in a kubelet's listing of a folder.
pub fn listed(html: &str) -> Vec<String> {
    node::listed(html)
}
