//! The redo: what was appended to the segments of a volume in the last seconds, once more, written in one piece.
//!
//! An append costs a file system much the same whether it brings a few octets or many. So what comes within a tick for
//! all segments goes to one redo file by one write, and to each segment's own file later, several flushes by one write.
//! A process that is killed in between leaves the octets here, and the next start writes [what is missing](missing) to
//! the files, before anything is repaired.
//!
//! ```text
//! <volume>/.callspool-redo/00, 01, …     each empty, or:
//!   head     "cs-redo\n" · version u32 · CRC-32 u32 · run u64 · number u64                            32 octets
//!   record   CRC-32 u32 · octets u32 · offset u64 · length of the path u16 · path · octets            18 and more
//!   record   …
//! ```
//!
//! All numbers are little-endian. `run` is of one process, later ones have higher ones; `number` counts the files that
//! it filled. The checksum of the head covers what is before and behind it; that of a record the head's `run` and
//! `number` too, so that nothing of an earlier life of the file is taken for a record. A record that is not whole ends
//! the file: it is the write in which the process died.
//!
//! [`Shelf`] decides what is written when, and when a redo file may be emptied. Nothing here opens a file.

mod replay;
mod shelf;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod world;

use std::ops::Range;

pub use replay::{Missing, missing};
pub use shelf::{BATCH_MAX, LEAF_AGE, LEAF_MAX, LEAVES_MAX, Piece, Room, Shelf, Write};

/// The directory of redo files in a volume. It cannot be a tenant.
pub const DIR: &str = ".callspool-redo";
/// The version of the format.
pub const VERSION: u32 = 1;
/// Octets of a head.
pub const HEAD_OCTETS: usize = 32;
/// 512 octets: some eight times the longest path of a part.
pub const PATH_MAX: usize = 512;
/// 4 MiB: four times what a segment buffers. What is longer goes straight to its file.
pub const OCTETS_MAX: usize = 4 << 20;

const MAGIC: &[u8; 8] = b"cs-redo\n";
const RECORD_HEAD: usize = 18;

/// Which redo file of which process it is. Later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Number {
    /// The process: nanoseconds at which it began.
    pub run: u64,
    /// Counts the files that it filled, from 1.
    pub file: u64,
}

/// The content of a redo file cannot be told, because a newer callspool wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "it is of version {0}, which this callspool does not know; start the newer one once, which empties it"
)]
pub struct UnknownVersion(pub u32);

/// What was appended to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The file, relative to the repository.
    pub path: &'a str,
    /// Where in it the octets begin.
    pub offset: u64,
    /// What was appended.
    pub bytes: &'a [u8],
}

impl Number {
    fn head(self) -> [u8; HEAD_OCTETS] {
        let mut head = [0; HEAD_OCTETS];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&self.run.to_le_bytes());
        head[24..].copy_from_slice(&self.file.to_le_bytes());
        let checksum = head_checksum(&head).to_le_bytes();
        head[12..16].copy_from_slice(&checksum);
        head
    }

    fn checksum(self, parts: &[&[u8]]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.run.to_le_bytes());
        crc.update(&self.file.to_le_bytes());
        parts.iter().for_each(|part| crc.update(part));
        crc.finalize()
    }
}

fn head_checksum(head: &[u8; HEAD_OCTETS]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..12]);
    crc.update(&head[16..]);
    crc.finalize()
}

/// Adds a record to what is to be written; where in `out` its octets are. None, and nothing is added, when its path or
/// it is too long.
fn put(out: &mut Vec<u8>, of: Number, record: &Record<'_>) -> Option<Range<usize>> {
    let Record { path, offset, bytes } = *record;
    let length = u16::try_from(path.len()).ok().filter(|_| path.len() <= PATH_MAX)?;
    let octets = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= OCTETS_MAX)?;
    let mut head = [0; RECORD_HEAD];
    head[4..8].copy_from_slice(&octets.to_le_bytes());
    head[8..16].copy_from_slice(&offset.to_le_bytes());
    head[16..].copy_from_slice(&length.to_le_bytes());
    let checksum = of.checksum(&[&head[4..], path.as_bytes(), bytes]);
    head[..4].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(path.as_bytes());
    let from = out.len();
    out.extend_from_slice(bytes);
    Some(from..out.len())
}

/// Which redo file begins so; none when it is empty or its head is torn: then nothing is in it.
pub fn number_of(head: &[u8]) -> Result<Option<Number>, UnknownVersion> {
    let Some(head) = head.first_chunk::<HEAD_OCTETS>() else { return Ok(None) };
    if head[..8] != *MAGIC || u32_at(head, 12) != Some(head_checksum(head)) {
        return Ok(None);
    }
    match (u32_at(head, 8), u64_at(head, 16), u64_at(head, 24)) {
        (Some(VERSION), Some(run), Some(file)) => Ok(Some(Number { run, file })),
        (Some(other), ..) => Err(UnknownVersion(other)),
        _ => Ok(None),
    }
}

/// The records of a redo file, up to the first that is not whole.
pub fn records(file: &[u8]) -> Result<impl Iterator<Item = Record<'_>>, UnknownVersion> {
    let number = number_of(file)?;
    let mut rest = file.get(HEAD_OCTETS..).unwrap_or_default();
    Ok(std::iter::from_fn(move || {
        let (record, behind) = read(number?, rest)?;
        rest = behind;
        Some(record)
    }))
}

fn read(of: Number, bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD)?;
    let octets = usize::try_from(u32_at(head, 4)?).ok().filter(|n| *n <= OCTETS_MAX)?;
    let length = usize::from(u16::from_le_bytes(*head.get(16..)?.first_chunk()?));
    let (path, rest) = rest.split_at_checked(length).filter(|_| length <= PATH_MAX)?;
    let (bytes, rest) = rest.split_at_checked(octets)?;
    if u32_at(head, 0)? != of.checksum(&[head.get(4..)?, path, bytes]) {
        return None;
    }
    let record = Record { path: std::str::from_utf8(path).ok()?, offset: u64_at(head, 8)?, bytes };
    Some((record, rest))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
