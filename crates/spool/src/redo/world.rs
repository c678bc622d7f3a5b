//! A writer as the recorder has one, in virtual time, and what it does to a disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::Mono;

use super::*;
use crate::layout::ManifestPath;
use crate::memory::MemoryDisk;
use crate::op::FileOp;

/// As long as the recorder lets something wait.
const WAITS: Duration = Duration::from_millis(500);

/// What is done to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Op(FileOp),
    Redo {
        leaf: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    Emptied(usize),
    /// What a sync may have failed to make durable is written once more.
    Again {
        path: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// This sync begins; it covers what was done before.
    Begins(u64),
    /// It has ended: what it covers is durable.
    Ends(u64),
    /// It has ended well, and what one before could not write is taken for written.
    EndsInVain,
    /// It has failed: what was written and is not durable may never be.
    Fails,
}

/// A writer as the recorder has one, with what it did and when, in milliseconds.
pub(crate) struct World {
    pub(super) shelf: Shelf,
    pub(super) files: BTreeMap<String, Tail>,
    due: VecDeque<(Mono, String)>,
    pub(crate) done: Vec<(i64, Done)>,
    syncs: (u64, u64),
    /// A sync failed, and what is in the redo was not written once more; it had when the one that goes on began.
    doubts: bool,
    is_in_vain: bool,
    leaves: BTreeMap<usize, Vec<u8>>,
    /// Put on the shelf and not in a redo file yet.
    fresh: Vec<Piece>,
    /// What was done that no redo has: appends by their place in the list.
    pub(super) straight: BTreeSet<usize>,
    /// Redo files cannot be written.
    pub(crate) fails: bool,
}

#[derive(Default)]
pub(super) struct Tail {
    end: u64,
    waiting: Vec<Piece>,
    since: Option<Mono>,
    pub(super) state: Takes,
}

/// Whether a file takes what is written to it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) enum Takes {
    #[default]
    Everything,
    Nothing,
    /// Its segment was given up with this in memory, and a redo that has so much of the file.
    GivenUp {
        kept: Vec<u8>,
        safe: u64,
    },
    Closed,
}

pub(super) fn at(ms: i64) -> Mono {
    Mono(1 + ms.unsigned_abs() * 1_000_000)
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            shelf: Shelf::new(7),
            files: BTreeMap::new(),
            due: VecDeque::new(),
            done: Vec::new(),
            syncs: (0, 0),
            doubts: false,
            is_in_vain: false,
            leaves: BTreeMap::new(),
            fresh: Vec::new(),
            straight: BTreeSet::new(),
            fails: false,
        }
    }

    /// What came in a tick.
    pub(crate) fn flush(&mut self, ms: i64, ops: Vec<FileOp>) {
        for op in ops {
            match op {
                FileOp::Append { path, bytes } => self.append(ms, &path, bytes),
                other => {
                    let all: Vec<String> = self.files.keys().cloned().collect();
                    all.iter().for_each(|path| self.write_out(ms, path));
                    if let FileOp::Create { path, bytes } = &other {
                        self.files.insert(path.clone(), Tail { end: bytes.len() as u64, ..Tail::default() });
                    }
                    self.done.push((ms, Done::Op(other)));
                }
            }
        }
        let write = self.shelf.unwritten().map(|w| (w.leaf, w.offset, w.bytes.to_vec()));
        self.shelf.written(!self.fails);
        match write {
            Some((leaf, offset, bytes)) if !self.fails => {
                let file = self.leaves.entry(leaf).or_default();
                file.truncate(usize::try_from(offset).unwrap());
                file.extend(&bytes);
                self.done.push((ms, Done::Redo { leaf, offset, bytes }));
            }
            Some((leaf, offset, bytes)) => {
                let bytes = bytes[..bytes.len() / 2].to_vec();
                self.done.push((ms, Done::Redo { leaf, offset, bytes }));
                self.write_since(ms, at(ms));
            }
            None => {}
        }
        self.fresh.clear();
        self.look(ms);
    }

    fn append(&mut self, ms: i64, path: &str, bytes: Vec<u8>) {
        while let Room::Wanted(index) = self.shelf.room(at(ms)) {
            self.shelf.opened(index);
        }
        let tail = self.files.get_mut(path).unwrap();
        if matches!(tail.state, Takes::GivenUp { .. } | Takes::Closed) {
            return;
        }
        let piece = self.shelf.put(&Record { path, offset: tail.end, bytes: &bytes });
        tail.end += bytes.len() as u64;
        match piece {
            Some(piece) => {
                self.fresh.push(piece);
                tail.waiting.push(piece);
                if tail.since.is_none() {
                    tail.since = Some(at(ms));
                    self.due.push_back((at(ms), path.to_owned()));
                }
            }
            None => {
                self.write_out(ms, path);
                let length = bytes.len() as u64;
                let tail = self.files.get_mut(path).unwrap();
                match &mut tail.state {
                    Takes::Everything => {
                        self.straight.insert(self.done.len());
                        self.done.push((ms, Done::Op(FileOp::Append { path: path.into(), bytes })));
                    }
                    Takes::GivenUp { kept, safe } => {
                        kept.extend(bytes);
                        *safe = (*safe).min(tail.end - length);
                    }
                    state => *state = Takes::GivenUp { kept: bytes, safe: tail.end - length },
                }
            }
        }
    }

    fn write_out(&mut self, ms: i64, path: &str) {
        let tail = self.files.get_mut(path).unwrap();
        tail.since = None;
        let pieces = std::mem::take(&mut tail.waiting);
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| self.shelf.bytes(*piece).to_vec()).collect();
        if !pieces.is_empty() && tail.state == Takes::Nothing {
            let safe = if self.fails { tail.end - bytes.len() as u64 } else { tail.end };
            tail.state = Takes::GivenUp { kept: bytes, safe };
        } else if !pieces.is_empty() {
            if pieces.iter().any(|piece| self.fresh.contains(piece)) {
                self.straight.insert(self.done.len());
            }
            self.done.push((ms, Done::Op(FileOp::Append { path: path.into(), bytes })));
        }
        pieces.into_iter().for_each(|piece| self.shelf.done(piece));
    }

    fn write_since(&mut self, ms: i64, until: Mono) {
        while let Some((since, path)) = self.due.pop_front_if(|(since, _)| *since <= until) {
            if self.files[&path].since == Some(since) {
                self.write_out(ms, &path);
            }
        }
    }

    /// Time passes.
    pub(crate) fn look(&mut self, ms: i64) {
        let until = at(ms).0.saturating_sub(u64::try_from(WAITS.as_nanos()).unwrap());
        self.write_since(ms, Mono(until));
        if self.files.values().any(|tail| matches!(tail.state, Takes::GivenUp { .. })) {
            return self.shelf.hold();
        }
        if self.doubts {
            self.write_again(ms);
        }
        for index in self.shelf.settled(at(ms), self.syncs.0, self.syncs.1) {
            self.shelf.emptied(index);
            self.done.push((ms, Done::Emptied(index)));
        }
    }

    fn write_again(&mut self, ms: i64) {
        self.write_since(ms, at(ms));
        if self.files.values().any(|tail| matches!(tail.state, Takes::GivenUp { .. })) {
            return;
        }
        self.shelf.close_all();
        for leaf in self.shelf.full() {
            for Record { path, offset, bytes } in
                records(self.leaves.get(&leaf).map_or(&[][..], Vec::as_slice)).unwrap()
            {
                let (path, bytes) = (path.to_owned(), bytes.to_vec());
                self.done.push((ms, Done::Again { path, offset, bytes }));
            }
        }
        self.shelf.hold();
        self.doubts = false;
    }

    /// A segment that was given up is closed, with what its file takes now.
    pub(super) fn close(&mut self, ms: i64, path: &str) {
        let Some(tail) = self.files.get_mut(path) else { return };
        if let Takes::GivenUp { kept, .. } = &tail.state {
            let kept = kept.clone();
            tail.state = Takes::Closed;
            self.straight.insert(self.done.len());
            self.done.push((ms, Done::Op(FileOp::Append { path: path.into(), bytes: kept })));
        }
    }

    /// How much of a file is to be found after a crash, when so much was asked for.
    pub(super) fn safe(&self, path: &str, asked: usize) -> usize {
        match self.files.get(path).map(|tail| &tail.state) {
            Some(Takes::GivenUp { safe, .. }) => asked.min(usize::try_from(*safe).unwrap()),
            _ => asked,
        }
    }

    pub(crate) fn sync_begins(&mut self, ms: i64) {
        self.syncs.0 += 1;
        self.is_in_vain = self.doubts;
        self.done.push((ms, Done::Begins(self.syncs.0)));
    }

    pub(crate) fn sync_ends(&mut self, ms: i64) {
        if self.is_in_vain {
            self.done.push((ms, Done::EndsInVain));
        } else {
            self.syncs.1 = self.syncs.0;
            self.done.push((ms, Done::Ends(self.syncs.0)));
        }
    }

    pub(super) fn sync_fails(&mut self, ms: i64) {
        self.doubts = self.shelf.is_in_use();
        self.done.push((ms, Done::Fails));
    }
}

pub(super) fn leaf_path(leaf: usize) -> String {
    format!("{DIR}/{leaf:02}")
}

/// A file as it is, with zeros where nothing was written.
pub(super) fn write_at(disk: &mut MemoryDisk, path: &str, offset: u64, bytes: &[u8]) {
    let mut file = disk.bytes(path).unwrap_or_default().to_vec();
    let from = usize::try_from(offset).unwrap();
    file.resize(file.len().max(from + bytes.len()), 0);
    file[from..from + bytes.len()].copy_from_slice(bytes);
    disk.put(path, file);
}

impl Done {
    /// What it changes on a disk, of which the process lives to write so many octets.
    pub(crate) fn apply(&self, disk: &mut MemoryDisk, octets: usize) {
        match self {
            Self::Op(op) => disk.apply_cut(op, octets).unwrap(),
            Self::Redo { leaf, offset, bytes } => {
                write_at(disk, &leaf_path(*leaf), *offset, &bytes[..bytes.len().min(octets)]);
            }
            Self::Emptied(leaf) => disk.put(&leaf_path(*leaf), Vec::new()),
            Self::Again { path, offset, bytes } => {
                let end = usize::try_from(*offset).unwrap() + bytes.len();
                if disk.bytes(path).is_some_and(|file| file.len() >= end) {
                    write_at(disk, path, *offset, bytes);
                }
            }
            Self::Begins(_) | Self::Ends(_) | Self::EndsInVain | Self::Fails => {}
        }
    }

    pub(crate) fn octets(&self) -> usize {
        match self {
            Self::Redo { bytes, .. } | Self::Op(FileOp::Append { bytes, .. }) => bytes.len(),
            Self::Op(FileOp::Create { bytes, .. } | FileOp::Replace { bytes, .. }) => bytes.len(),
            Self::Op(FileOp::AppendLine { bytes, .. } | FileOp::Patch { bytes, .. }) => bytes.len(),
            _ => 1,
        }
    }

    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::Op(op) => Some(op.path().to_owned()),
            Self::Redo { leaf, .. } | Self::Emptied(leaf) => Some(leaf_path(*leaf)),
            Self::Again { path, .. } => Some(path.clone()),
            Self::Begins(_) | Self::Ends(_) | Self::EndsInVain | Self::Fails => None,
        }
    }
}

/// As the recorder does at its start.
pub(crate) fn replay(disk: &mut MemoryDisk, marked: &[ManifestPath]) {
    let leaves = |disk: &MemoryDisk| -> Vec<String> {
        disk.paths().filter(|p| p.starts_with(DIR)).map(ToOwned::to_owned).collect()
    };
    let mut found: Vec<_> = leaves(disk)
        .into_iter()
        .filter_map(|path| Some((number_of(disk.bytes(&path)?).unwrap()?, path)))
        .collect();
    found.sort();
    for (_, path) in found {
        let file = disk.bytes(&path).unwrap().to_vec();
        let lacking: Vec<_> = missing(records(&file).unwrap(), marked, disk)
            .unwrap()
            .into_iter()
            .map(|m| (m.path.to_owned(), m.offset, m.bytes.to_vec()))
            .collect();
        lacking.into_iter().for_each(|(path, offset, bytes)| write_at(disk, &path, offset, &bytes));
    }
    for path in leaves(disk) {
        disk.put(&path, Vec::new());
    }
}

impl Done {
    /// The same, of which the disk kept how long it is.
    pub(super) fn zeros(&self) -> Self {
        match self.clone() {
            Self::Redo { leaf, offset, bytes } => Self::Redo { leaf, offset, bytes: vec![0; bytes.len()] },
            Self::Op(FileOp::Append { path, bytes }) => {
                Self::Op(FileOp::Append { path, bytes: vec![0; bytes.len()] })
            }
            Self::Again { path, offset, .. } => Self::Again { path, offset, bytes: Vec::new() },
            other => other,
        }
    }
}
