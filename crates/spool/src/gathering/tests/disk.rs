//! A node's disk: what a process sees of it, and what a loss of power leaves.

use std::collections::BTreeSet;
use std::io::Read;

use model::{CallKey, CopyOf, NodeNumber, RecordingState, SegmentId};

use super::super::{Got, Local, logs};
use super::world::Rng;
use crate::digest_of;
use crate::log;
use crate::memory::MemoryDisk;
use crate::op::{FileOp, Files};

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) now: MemoryDisk,
    pub(super) durable: MemoryDisk,
    pub(super) capacity: u64,
    /// Names that were given since the last sync.
    settled: Vec<(String, String)>,
}

/// A file of a segment as it was sealed: its path and its octets.
pub(super) type Sealed = Vec<(String, Vec<u8>)>;

impl Disk {
    pub(super) fn new() -> Self {
        Self { now: MemoryDisk::new(), durable: MemoryDisk::new(), capacity: 1 << 30, settled: Vec::new() }
    }

    pub(super) fn used(&self) -> u64 {
        self.now.paths().filter_map(|path| self.now.bytes(path)).map(|bytes| bytes.len() as u64).sum()
    }

    pub(super) fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    /// Does what a machine asked for; `fails`: not, or in part.
    pub(super) fn carry_out(&mut self, local: &Local, fails: bool, rng: &mut Rng) -> Result<Got, String> {
        if let (true, Local::File(op)) = (fails, local) {
            // What is atomic does not happen, of a write some octets may stay.
            let octets = rng.below(600);
            if matches!(op, FileOp::Append { .. } | FileOp::AppendLine { .. } | FileOp::Create { .. }) {
                let _ = self.now.apply_cut(op, usize::try_from(octets).unwrap());
            }
        }
        if fails {
            return Err("the disk failed".to_owned());
        }
        match local {
            Local::Look(directory) => Ok(Got::Names(self.names(directory))),
            Local::Read { path, offset, length } => Ok(self.read(path, *offset, *length)),
            Local::Digest(path) => digest_of(&self.now, path).map(Got::Digest).map_err(|e| e.to_string()),
            Local::Sync => {
                self.durable = self.now.clone();
                self.settled.clear();
                Ok(Got::Done)
            }
            Local::File(op) => {
                let grows = match op {
                    FileOp::Append { bytes, .. } | FileOp::AppendLine { bytes, .. } => bytes.len() as u64,
                    _ => 0,
                };
                if grows > self.room() {
                    return Err("no space left on device".to_owned());
                }
                self.now.apply(op).map_err(|e| e.to_string())?;
                if let FileOp::Settle { from, path } = op {
                    self.settled.push((from.clone(), path.clone()));
                }
                Ok(Got::Done)
            }
        }
    }

    fn names(&self, directory: &str) -> Vec<(String, u64)> {
        let names = self.now.list(directory).unwrap_or_default();
        let len = |name: &str| self.now.len(&format!("{directory}/{name}")).unwrap();
        names.into_iter().map(|name| (name.clone(), len(&name))).collect()
    }

    fn read(&self, path: &str, offset: u64, length: u32) -> Got {
        let whole = self.now.bytes(path).unwrap_or_default();
        let from = usize::try_from(offset).unwrap().min(whole.len());
        let until = from.saturating_add(usize::try_from(length).unwrap()).min(whole.len());
        Got::Octets { octets: whole[from..until].to_vec(), is_end: until == whole.len() }
    }

    /// The power goes: of what was not synced each file is there as it is, as it was, or in part.
    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
        let paths: BTreeSet<String> =
            self.now.paths().chain(self.durable.paths()).map(ToOwned::to_owned).collect();
        let mut left = MemoryDisk::new();
        // What only got another name is as whole as it was.
        let synced: BTreeSet<&[u8]> =
            self.durable.paths().filter_map(|path| self.durable.bytes(path)).collect();
        for path in paths {
            let (was, is) = (self.durable.bytes(&path), self.now.bytes(&path));
            let kept = match (was, is) {
                (was, is) if was == is => is.map(<[u8]>::to_vec),
                (was, Some(is)) if !synced.contains(is) && rng.below(3) == 0 => {
                    // What was synced of a file that only grew is there.
                    let least = was.filter(|was| is.starts_with(was)).map_or(0, <[u8]>::len);
                    let more = usize::try_from(rng.below((is.len() - least) as u64 + 1)).unwrap();
                    Some(is[..least + more].to_vec())
                }
                (was, is) => if rng.below(2) == 0 { was } else { is }.map(<[u8]>::to_vec),
            };
            if let Some(bytes) = kept {
                left.put(&path, bytes);
            }
        }
        // A file has its old name or its new one.
        for (from, path) in std::mem::take(&mut self.settled) {
            if let (None, None, Some(bytes)) = (left.bytes(&from), left.bytes(&path), self.now.bytes(&path)) {
                left.put(&path, bytes.to_vec());
            }
        }
        self.now = left.clone();
        self.durable = left;
    }

    /// Whether a segment is there as it was sealed, durably, and neither the log as it is nor as it would be after a loss
    /// of power gives it up.
    pub(super) fn has(&self, node: NodeNumber, key: &CallKey, segment: SegmentId, sealed: &Sealed) -> bool {
        let is_whole =
            |disk: &MemoryDisk| sealed.iter().all(|(path, bytes)| disk.bytes(path) == Some(bytes.as_slice()));
        let is_kept = |disk: &MemoryDisk| {
            let path = crate::layout::log_path(&logs::directory(key));
            let (lines, _) = log::read(disk.bytes(&path).unwrap_or_default());
            let gone = |line: &log::LogLine| match &line.entry {
                log::Entry::State { copy, .. } => {
                    copy.of == CopyOf::Segment(segment)
                        && copy.at == model::Location::Node(node)
                        && matches!(copy.state, RecordingState::Delete | RecordingState::DeleteInternalError)
                }
                _ => false,
            };
            !lines.iter().any(gone)
        };
        is_whole(&self.durable) && is_whole(&self.now) && is_kept(&self.durable) && is_kept(&self.now)
    }

    /// A bit of a file turns.
    pub(super) fn rot(&mut self, path: &str) {
        let mut bytes = Vec::new();
        self.now.open(path).unwrap().read_to_end(&mut bytes).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.now.put(path, bytes);
        self.durable = self.now.clone();
    }

    /// Whether nothing of a call is there.
    pub(super) fn is_without(&self, key: &CallKey) -> bool {
        let within = format!("{}/", logs::directory(key));
        !self.now.paths().any(|path| path.starts_with(&within))
    }
}
