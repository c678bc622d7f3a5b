//! What waits for its own file, and which redo file holds it meanwhile.
//!
//! ```text
//!  put, put, … ─► unwritten ─(one write)─► written ─► … some flushes later: bytes ─(one write a file)─► done
//!                     │                                                                       │
//!                leaf: empty ─► filling ─► full ─────────────── all of it done ─► settled by the next sync ─► empty
//! ```
//!
//! A *leaf* is a redo file. It is emptied only when all that it holds is in the segments' own files and a sync that
//! began after that has ended: a machine that loses its power finds in one or the other what was synced before. Where
//! no leaf is to be had, or none can be written, there is no room, and media go straight to their files.

use std::collections::VecDeque;
use std::time::Duration;

use model::Mono;

use super::{HEAD_OCTETS, Number, Record, put};

/// 16 MiB: at 1,000 calls (20 MB/s) a leaf a second, and emptying it takes a fraction of a millisecond.
pub const LEAF_MAX: u64 = 16 << 20;
/// 16 leaves: 256 MiB, at 5,000 calls (100 MB/s) what comes until a sync has settled it. What is beyond is written
/// straight to its files.
pub const LEAVES_MAX: usize = 16;
/// 2 s: however little is recorded, it is out of the redo some seconds later.
pub const LEAF_AGE: Duration = Duration::from_secs(2);
/// 1 MiB: what comes in a tick of 10,000 calls. More is written in several pieces.
pub const BATCH_MAX: usize = 1 << 20;
/// 2 MiB: what the buffer that is written from keeps. A stall may have made it longer.
const WRITING_KEPT_MAX: usize = 2 * BATCH_MAX;

/// Whether something can be put on the shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Put it there.
    There,
    /// When the redo file of this number has been opened, and that it is empty been told ([`Shelf::opened`]).
    Wanted(usize),
    /// Nothing can be put there now.
    Nowhere,
}

/// Octets that wait for their own file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    batch: u64,
    from: u32,
    octets: u32,
}

/// What is to be written to a redo file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write<'a> {
    /// Which.
    pub leaf: usize,
    /// Where in it.
    pub offset: u64,
    /// What.
    pub bytes: &'a [u8],
}

/// See the module.
#[derive(Debug)]
pub struct Shelf {
    run: u64,
    files: u64,
    leaves: [Leaf; LEAVES_MAX],
    leaf_max: u64,
    current: Option<usize>,
    /// What comes now is put into the last one, when that is [open](Batch::is_open).
    batches: VecDeque<Batch>,
    /// The number of the first of them.
    first: u64,
    /// What the open one is written from. It has room to grow, which what waits for half a second has not: with a
    /// hundred batches waiting that was most of their memory.
    writing: Vec<u8>,
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    state: State,
    /// Batches in it of which something is not in its own file.
    waits: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nobody has opened it.
    Unknown,
    Empty,
    Filling {
        number: Number,
        octets: u64,
        since: Mono,
    },
    /// Nothing more is written to it.
    Full,
    /// All of it was in its own files when so many syncs had begun.
    Done {
        begun: u64,
    },
    /// It is not to be had.
    Lost,
}

#[derive(Debug)]
struct Batch {
    leaf: usize,
    number: Number,
    /// Once it is written. Until then they are where it is written from.
    bytes: Box<[u8]>,
    /// Pieces that wait.
    pieces: u32,
    is_open: bool,
}

impl Shelf {
    /// An empty one of a process that began then, in nanoseconds.
    #[must_use]
    pub fn new(run: u64) -> Self {
        Self {
            run,
            files: 0,
            leaves: [Leaf { state: State::Unknown, waits: 0 }; LEAVES_MAX],
            leaf_max: LEAF_MAX,
            current: None,
            batches: VecDeque::new(),
            first: 0,
            writing: Vec::new(),
            waiting: 0,
        }
    }

    /// How long a leaf may become, where a disk is small.
    pub fn limit(&mut self, leaf_max: u64) {
        self.leaf_max = leaf_max.min(LEAF_MAX);
    }

    /// Octets that wait for their own files.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Octets that wait for a redo file.
    #[must_use]
    pub fn unwritten_octets(&self) -> usize {
        self.batches.back().filter(|b| b.is_open).map_or(0, |_| self.writing.len())
    }

    /// Whether something is in a redo file, or may be.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let is_empty = |leaf: &Leaf| matches!(leaf.state, State::Unknown | State::Empty | State::Lost);
        !self.batches.is_empty() || !self.leaves.iter().all(is_empty)
    }

    /// Whether there is room.
    pub fn room(&mut self, now: Mono) -> Room {
        if self.batches.back().is_some_and(|b| b.is_open) {
            return Room::There;
        }
        self.turn(now);
        if self.current.is_some() {
            return Room::There;
        }
        let find = |wanted| self.leaves.iter().position(|leaf| leaf.state == wanted);
        match (find(State::Empty), find(State::Unknown)) {
            (Some(index), _) => {
                self.files += 1;
                let number = Number { run: self.run, file: self.files };
                self.set(index, State::Filling { number, octets: 0, since: now });
                self.current = Some(index);
                Room::There
            }
            (None, Some(index)) => Room::Wanted(index),
            (None, None) => Room::Nowhere,
        }
    }

    /// Turns over a leaf that is full or old.
    fn turn(&mut self, now: Mono) {
        let Some(index) = self.current else { return };
        if let Some(Leaf { state: State::Filling { octets, since, .. }, .. }) = self.leaves.get(index)
            && (*octets >= self.leaf_max || now.since(*since) >= LEAF_AGE)
        {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        self.set(index, State::Full);
        self.current = None;
    }

    fn set(&mut self, index: usize, state: State) {
        if let Some(leaf) = self.leaves.get_mut(index) {
            leaf.state = state;
        }
    }

    /// A redo file was opened, and is empty.
    pub fn opened(&mut self, index: usize) {
        self.set(index, State::Empty);
    }

    /// A redo file was opened that this process had filled and lost sight of, or in which nothing can be read. All of that is
    /// in its own files, was given up, or is put there before it is [held](Self::hold) no more.
    pub fn found(&mut self, index: usize) {
        self.set(index, State::Full);
    }

    /// A redo file that is not being filled was closed, as it could not be emptied: it is to be opened anew.
    pub fn closed(&mut self, index: usize) {
        self.set(index, State::Unknown);
    }

    /// A redo file cannot be used.
    pub fn lost(&mut self, index: usize) {
        if self.current == Some(index) {
            self.current = None;
        }
        self.set(index, State::Lost);
    }

    /// Redo files that could not be used are to be opened once more; whether there are any.
    pub fn ask_again(&mut self) -> bool {
        let lost = self.leaves.iter_mut().filter(|leaf| leaf.state == State::Lost);
        lost.map(|leaf| leaf.state = State::Unknown).count() > 0
    }

    /// None of the redo files can be reached any more, and nothing waits. They may be opened anew.
    pub fn forget(&mut self) {
        self.current = None;
        self.leaves.iter_mut().for_each(|leaf| *leaf = Leaf { state: State::Unknown, waits: 0 });
    }

    /// Puts what is to be appended on the shelf. None: it is too long, or there is no [room](Self::room).
    pub fn put(&mut self, record: &Record<'_>) -> Option<Piece> {
        let number = self.open_batch()?.number;
        let range = put(&mut self.writing, number, record)?;
        self.batches.back_mut()?.pieces += 1;
        let (from, octets) = (u32::try_from(range.start).ok()?, u32::try_from(range.len()).ok()?);
        self.waiting += range.len();
        Some(Piece { batch: self.first + self.batches.len() as u64 - 1, from, octets })
    }

    fn open_batch(&mut self) -> Option<&mut Batch> {
        if !self.batches.back().is_some_and(|b| b.is_open) {
            let leaf = self.current?;
            let found = self.leaves.get_mut(leaf)?;
            let State::Filling { number, octets, .. } = found.state else { return None };
            found.waits += 1;
            self.writing.clear();
            if octets == 0 {
                self.writing.extend_from_slice(&number.head());
            }
            self.batches.push_back(Batch { leaf, number, bytes: Box::default(), pieces: 0, is_open: true });
        }
        self.batches.back_mut()
    }

    /// What is to be written to a redo file now; say how that went ([`written`](Self::written)). None when all of it is
    /// in its own files by now.
    #[must_use]
    pub fn unwritten(&self) -> Option<Write<'_>> {
        let batch = self.batches.back().filter(|b| b.is_open && b.pieces > 0)?;
        match self.leaves.get(batch.leaf)?.state {
            State::Filling { octets, .. } => {
                Some(Write { leaf: batch.leaf, offset: octets, bytes: &self.writing })
            }
            _ => None,
        }
    }

    /// What was [unwritten] is written, or nothing was; false: it cannot be, and must go straight to its own files.
    ///
    /// [unwritten]: Self::unwritten
    pub fn written(&mut self, is_written: bool) {
        let Some(batch) = self.batches.back_mut().filter(|b| b.is_open) else { return };
        batch.is_open = false;
        let (leaf, length, pieces) = (batch.leaf, self.writing.len() as u64, batch.pieces);
        if pieces > 0 {
            batch.bytes = self.writing.as_slice().into();
        }
        if self.writing.capacity() > WRITING_KEPT_MAX {
            self.writing = Vec::new();
        }
        if !is_written {
            // What got there of it would stand before what comes next.
            self.close(leaf);
        } else if pieces > 0
            && let Some(Leaf { state: State::Filling { octets, .. }, .. }) = self.leaves.get_mut(leaf)
        {
            *octets += length;
        }
        if pieces == 0 {
            self.let_go(leaf);
        }
        self.drop_done();
    }

    /// The octets of a piece.
    #[must_use]
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        let batch =
            piece.batch.checked_sub(self.first).and_then(|n| self.batches.get(usize::try_from(n).ok()?));
        let (from, octets) = (piece.from as usize, piece.octets as usize);
        let bytes: &[u8] = match batch {
            Some(batch) if batch.is_open => &self.writing,
            Some(batch) => &batch.bytes,
            None => &[],
        };
        bytes.get(from..from + octets).unwrap_or_default()
    }

    /// A piece is in its own file, or nobody will write it there any more.
    pub fn done(&mut self, piece: Piece) {
        let index = piece.batch.checked_sub(self.first).and_then(|n| usize::try_from(n).ok());
        let Some(batch) = index.and_then(|n| self.batches.get_mut(n)) else { return };
        self.waiting = self.waiting.saturating_sub(piece.octets as usize);
        batch.pieces = batch.pieces.saturating_sub(1);
        if batch.pieces == 0 && !batch.is_open {
            // Those before it may wait longer.
            batch.bytes = Box::default();
            let leaf = batch.leaf;
            self.let_go(leaf);
            self.drop_done();
        }
    }

    fn let_go(&mut self, leaf: usize) {
        if let Some(leaf) = self.leaves.get_mut(leaf) {
            leaf.waits = leaf.waits.saturating_sub(1);
        }
    }

    fn drop_done(&mut self) {
        while self.batches.pop_front_if(|b| b.pieces == 0 && !b.is_open).is_some() {
            self.first += 1;
        }
    }

    /// The redo files that may be emptied, when so many syncs have begun, and all up to `ended` have ended. Turns over
    /// what has become old.
    pub fn settled(&mut self, now: Mono, begun: u64, ended: u64) -> impl Iterator<Item = usize> + use<> {
        if !self.batches.back().is_some_and(|b| b.is_open) {
            self.turn(now);
        }
        let mut ready = [false; LEAVES_MAX];
        for (leaf, ready) in self.leaves.iter_mut().zip(&mut ready) {
            match leaf.state {
                State::Full if leaf.waits == 0 => leaf.state = State::Done { begun },
                State::Done { begun } => *ready = ended > begun,
                _ => {}
            }
        }
        ready.into_iter().enumerate().filter_map(|(index, ready)| ready.then_some(index))
    }

    /// Nothing may be emptied yet. What was done is done when this was asked for the last time.
    pub fn hold(&mut self) {
        for leaf in &mut self.leaves {
            if matches!(leaf.state, State::Done { .. }) {
                leaf.state = State::Full;
            }
        }
    }

    /// The redo files in which something is, but for the one that is being filled.
    pub fn full(&self) -> impl Iterator<Item = usize> + use<> {
        let is_full = self.leaves.map(|leaf| matches!(leaf.state, State::Full | State::Done { .. }));
        is_full.into_iter().enumerate().filter_map(|(index, is_full)| is_full.then_some(index))
    }

    /// Ends what is being filled: it is settled as soon as may be.
    pub fn close_all(&mut self) {
        if let Some(index) = self.current {
            self.close(index);
        }
    }

    /// Redo files that are empty may not be where they were: they are to be opened anew.
    pub fn doubt(&mut self) {
        let empty = self.leaves.iter_mut().filter(|leaf| leaf.state == State::Empty);
        empty.for_each(|leaf| leaf.state = State::Unknown);
    }

    /// A redo file is empty.
    pub fn emptied(&mut self, index: usize) {
        self.set(index, State::Empty);
    }
}

const _: () = assert!(HEAD_OCTETS < BATCH_MAX);
