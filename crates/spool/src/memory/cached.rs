//! A disk behind the kernel's memory, for tests and simulations: what a process sees of it, and what a loss of power leaves.
//!
//! ```text
//!  apply ──► now ──sync──► durable
//!             └── the power goes: each file as it is, as it was, or in part ──► both
//! ```
//!
//! It draws nothing itself: whoever wants something to go wrong says how much of it by `draw`, which gives a number below
//! the one that it is asked for.

use std::collections::BTreeSet;
use std::io;

use model::{CallKey, CopyOf, Location, NodeNumber, RecordingState, SegmentId};

use super::MemoryDisk;
use crate::gathering::{Got, Local};
use crate::log::{self, Entry};
use crate::op::{FileOp, Files};
use crate::{digest_of, layout};

/// 600 octets: of a write that fails so many may be there, which is more than most lines of a log have.
const TORN_OCTETS: u64 = 600;

/// A file of a segment as it was sealed: its path and its octets.
pub type Sealed = Vec<(String, Vec<u8>)>;

/// Whether the disk does what it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It does.
    Well,
    /// It fails: what is atomic does not happen, of a write some octets may stay.
    Failing,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct CachedDisk {
    /// As processes see it.
    pub now: MemoryDisk,
    /// What is left for certain when the power goes.
    pub durable: MemoryDisk,
    /// Octets that fit.
    pub capacity: u64,
    /// Paths of which `now` may say something else than `durable`.
    dirty: BTreeSet<String>,
    /// Names that were given since the last sync.
    settled: Vec<(String, String)>,
}

impl CachedDisk {
    /// An empty one.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let (now, durable) = (MemoryDisk::new(), MemoryDisk::new());
        Self { now, durable, capacity, dirty: BTreeSet::new(), settled: Vec::new() }
    }

    /// Octets of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.now.paths().filter_map(|path| self.now.bytes(path)).map(|bytes| bytes.len() as u64).sum()
    }

    /// Octets that may still be written.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    /// Carries out an operation, or fails to.
    ///
    /// # Errors
    /// When the disk is failing or full, or the operation is none that can be carried out.
    pub fn apply(&mut self, op: &FileOp, mood: Mood, draw: &mut impl FnMut(u64) -> u64) -> io::Result<()> {
        self.dirty.insert(op.path().to_owned());
        if mood == Mood::Failing {
            let octets = usize::try_from(draw(TORN_OCTETS)).unwrap_or(0);
            if matches!(op, FileOp::Append { .. } | FileOp::AppendLine { .. } | FileOp::Create { .. }) {
                let _ = self.now.apply_cut(op, octets);
            }
            return Err(io::Error::other("the disk failed"));
        }
        if grows_by(op) > 0 && grows_by(op) > self.room() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.now.apply(op)?;
        if let FileOp::Settle { from, path } = op {
            self.dirty.insert(from.clone());
            self.settled.push((from.clone(), path.clone()));
        }
        Ok(())
    }

    /// All that was done is durable from now on.
    pub fn sync(&mut self) {
        for path in std::mem::take(&mut self.dirty) {
            match self.now.bytes(&path) {
                Some(bytes) => self.durable.put(&path, bytes.to_vec()),
                None => _ = self.durable.files.remove(&path),
            }
        }
        self.settled.clear();
    }

    /// Does what a [`Synchronizer`](crate::gathering::Synchronizer) asks for, or fails to.
    ///
    /// # Errors
    /// What is to be told it.
    pub fn carry_out(
        &mut self,
        local: &Local,
        mood: Mood,
        draw: &mut impl FnMut(u64) -> u64,
    ) -> Result<Got, String> {
        if let Local::File(op) = local {
            return self.apply(op, mood, draw).map(|()| Got::Done).map_err(|e| e.to_string());
        }
        if mood == Mood::Failing {
            return Err("the disk failed".to_owned());
        }
        match local {
            Local::Look(directory) => Ok(Got::Names(self.names(directory))),
            Local::Read { path, offset, length } => Ok(self.read(path, *offset, *length)),
            Local::Digest(path) => digest_of(&self.now, path).map(Got::Digest).map_err(|e| e.to_string()),
            Local::Sync | Local::File(_) => {
                self.sync();
                Ok(Got::Done)
            }
        }
    }

    fn names(&self, directory: &str) -> Vec<(String, u64)> {
        let names = self.now.list(directory).unwrap_or_default();
        let len = |name: &str| self.now.len(&format!("{directory}/{name}")).unwrap_or(0);
        names.into_iter().map(|name| (name.clone(), len(&name))).collect()
    }

    fn read(&self, path: &str, offset: u64, length: u32) -> Got {
        let whole = self.now.bytes(path).unwrap_or_default();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
        let until = from.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(whole.len());
        Got::Octets { octets: whole[from..until].to_vec(), is_end: until == whole.len() }
    }

    /// The power goes: of what was not synced each file is there as it is, as it was, or in part.
    pub fn lose_power(&mut self, draw: &mut impl FnMut(u64) -> u64) {
        let mut left = self.durable.clone();
        // What only got another name is as whole as it was.
        let synced: BTreeSet<Vec<u8>> =
            self.durable.paths().filter_map(|path| self.durable.bytes(path)).map(<[u8]>::to_vec).collect();
        for path in std::mem::take(&mut self.dirty) {
            let (was, is) = (self.durable.bytes(&path), self.now.bytes(&path));
            let kept = match (was, is) {
                (was, is) if was == is => continue,
                (was, Some(is)) if !synced.contains(is) && draw(3) == 0 => {
                    // What was synced of a file that only grew is there.
                    let least = was.filter(|was| is.starts_with(was)).map_or(0, <[u8]>::len);
                    let more = draw((is.len() - least) as u64 + 1);
                    Some(is[..least + usize::try_from(more).unwrap_or(0)].to_vec())
                }
                (was, is) => if draw(2) == 0 { was } else { is }.map(<[u8]>::to_vec),
            };
            match kept {
                Some(bytes) => left.put(&path, bytes),
                None => _ = left.files.remove(&path),
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

    /// Whether a segment is there as it was sealed, durably, in the directory of the call or in that of second copies, and
    /// neither the log as it is nor as it would be after a loss of power gives it up.
    #[must_use]
    pub fn has(&self, node: NodeNumber, key: &CallKey, segment: SegmentId, sealed: &Sealed) -> bool {
        let of_call = directory(key);
        [of_call.clone(), layout::twin_directory(&of_call)].iter().any(|within| {
            let path = |sealed: &str| format!("{within}{}", sealed.strip_prefix(&of_call).unwrap_or(sealed));
            let is_whole = |disk: &MemoryDisk| {
                sealed.iter().all(|(name, bytes)| disk.bytes(&path(name)) == Some(bytes.as_slice()))
            };
            let is_kept = |disk: &MemoryDisk| {
                let (lines, _) = log::read(disk.bytes(&layout::log_path(within)).unwrap_or_default());
                !lines.iter().any(|line| gives_up(&line.entry, node, segment))
            };
            [&self.durable, &self.now].into_iter().all(|disk| is_whole(disk) && is_kept(disk))
        })
    }

    /// Whether nothing of a call is there.
    #[must_use]
    pub fn is_without(&self, key: &CallKey) -> bool {
        let within = format!("{}/", directory(key));
        !self.now.paths().any(|path| path.starts_with(&within))
    }
}

fn directory(key: &CallKey) -> String {
    layout::call_directory(&key.tenant, key.call_started, key.call)
}

/// Whether a line of a log gives up the copy of a segment at a node.
fn gives_up(entry: &Entry, node: NodeNumber, segment: SegmentId) -> bool {
    let Entry::State { copy, .. } = entry else { return false };
    let is_gone = matches!(copy.state, RecordingState::Delete | RecordingState::DeleteInternalError);
    copy.of == CopyOf::Segment(segment) && copy.at == Location::Node(node) && is_gone
}

/// Octets that an operation adds.
fn grows_by(op: &FileOp) -> u64 {
    match op {
        FileOp::Append { bytes, .. } | FileOp::AppendLine { bytes, .. } => bytes.len() as u64,
        _ => 0,
    }
}
