//! The redo files of a volume, as its writer has them: `spool::redo` says what is written to them and when.
//!
//! Each is opened once and kept. What an earlier process left in one is not touched: that is for whoever
//! [replays](mod@super::replay) it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use faults::{Operation, before};
use nix::fcntl::OFlag;
use spool::redo::{self, LEAVES_MAX, Write};

use super::replay::FILE_MAX;
use super::reserve::Reserve;
use crate::clock::now;

/// What tells the redo files of this process from those of others: when it began, in nanoseconds.
pub(crate) fn run() -> u64 {
    static RUN: OnceLock<u64> = OnceLock::new();
    *RUN.get_or_init(|| now().wall.0.unsigned_abs())
}

/// The path of a redo file, relative to the volume.
pub(super) fn path_of(index: usize) -> String {
    format!("{}/{index:02}", redo::DIR)
}

/// What is in a redo file that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Nothing,
    /// What this process put there before it lost sight of it, or what nobody can read: its head is torn.
    Own,
    /// What another process left.
    Others,
}

/// The files.
#[derive(Debug)]
pub(super) struct Leaves {
    root: PathBuf,
    run: u64,
    reserve: Arc<Reserve>,
    files: [Option<File>; LEAVES_MAX],
}

impl Leaves {
    pub(super) fn new(root: &Path, run: u64, reserve: Arc<Reserve>) -> Self {
        Self { root: root.to_owned(), run, reserve, files: Default::default() }
    }

    /// Opens one, and makes it when it is not there.
    pub(super) fn open(&mut self, index: usize) -> io::Result<Found> {
        let path = self.root.join(path_of(index));
        before(Operation::RedoOpen, &path)?;
        // Only this one: where the volume was a moment ago there may be nothing.
        match DirBuilder::new().mode(0o700).create(self.root.join(redo::DIR)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(OFlag::O_NOFOLLOW.bits());
        let opened = self.reserve.open(|| options.open(&path));
        self.reserve.refill();
        let file = opened?;
        let mut head = Vec::new();
        (&file).take(redo::HEAD_OCTETS as u64).read_to_end(&mut head)?;
        let found = match redo::number_of(&head) {
            _ if head.is_empty() => Found::Nothing,
            Ok(Some(number)) if number.run != self.run => Found::Others,
            Ok(_) => Found::Own,
            Err(_) => Found::Others,
        };
        if found != Found::Others
            && let Some(place) = self.files.get_mut(index)
        {
            *place = Some(file);
        }
        Ok(found)
    }

    /// Whether one can still be found by who starts after a crash: it was not removed.
    pub(super) fn is_there(&self, index: usize) -> bool {
        self.file(index).and_then(|file| Ok(file.metadata()?.nlink() > 0)).unwrap_or(false)
    }

    /// Writes to one.
    pub(super) fn write(&self, write: &Write<'_>) -> io::Result<()> {
        let share = before(Operation::RedoAppend, &self.root.join(path_of(write.leaf)))?;
        let file = self.file(write.leaf)?;
        share.write(write.bytes, |bytes| file.write_all_at(bytes, write.offset))
    }

    /// All that is in one.
    pub(super) fn read(&self, index: usize) -> io::Result<Vec<u8>> {
        before(Operation::RedoRead, &self.root.join(path_of(index)))?;
        let (file, mut bytes) = (self.file(index)?, Vec::new());
        let octets = file.metadata()?.len().min(FILE_MAX);
        bytes.resize(usize::try_from(octets).unwrap_or_default(), 0);
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Empties one.
    pub(super) fn empty(&self, index: usize) -> io::Result<()> {
        before(Operation::RedoEmpty, &self.root.join(path_of(index)))?;
        self.file(index)?.set_len(0)
    }

    /// Closes one.
    pub(super) fn close(&mut self, index: usize) {
        if let Some(place) = self.files.get_mut(index) {
            *place = None;
        }
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) {
        self.files = Default::default();
    }

    fn file(&self, index: usize) -> io::Result<&File> {
        let opened = self.files.get(index).and_then(Option::as_ref);
        opened.ok_or_else(|| io::Error::other("the redo file is not open"))
    }
}
