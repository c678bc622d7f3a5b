//! Carries out file operations on one volume.
//!
//! `spool` says what is to be written, this writes it. Files are readable by their owner only (0600, directories
//! 0700). A failed append leaves no torn block behind: the file is cut back to what it was.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::{Operation, before};
use model::Failure;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use spool::redo::Piece;
use spool::{FileOp, layout};

use super::kept::Unclosed;
use super::markers::Markers;
use super::reserve::Reserve;
use super::spares::Spares;
use super::syncs::{Covers, Syncs};
use crate::clock::mono;

/// A volume's directory.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Markers that go with the next sync. Shared by those who work on the volume.
    unmarked: Arc<Mutex<Vec<String>>>,
    pub(super) reserve: Arc<Reserve>,
    pub(super) markers: Arc<Markers>,
    /// Those who replace files all the time have some.
    pub(super) spares: Option<Arc<Spares>>,
    /// It writes to none of them: they stay as a crash left them until they are looked through.
    pub(super) repairs: bool,
    pub(super) syncs: Arc<Syncs>,
    /// For those the redo is kept.
    pub(super) unclosed: Arc<Unclosed>,
    /// Held while what a crash left in the redo is written: a volume that is slow at the start is asked again.
    pub(super) replaying: Arc<Mutex<()>>,
}

/// Markers that may wait for a sync. What is beyond stays until the next start, which looks whether the segment is
/// whole: a disk that takes writes but no sync for so long is an alarm of its own.
const UNMARKED_MAX: usize = 16_384;

/// What a volume did not do when it was to be settled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsettled {
    #[error("cannot be synced: {0}; what was recorded since is at risk")]
    Synced(#[source] io::Error),
    #[error(
        "cannot be synced as a whole: what an earlier sync failed to make durable is not written once more yet"
    )]
    Doubted,
    #[error("does not let go of a marker: {0}; what has ended is marked as live until it does")]
    Marked(#[source] io::Error),
}

/// A file that is being appended to.
#[derive(Debug)]
pub(super) struct Appending {
    pub(super) name: Arc<str>,
    /// Where it is.
    whole: PathBuf,
    file: File,
    /// How long it is.
    pub(super) len: u64,
    /// What is to be appended later: it is in the redo.
    pub(super) waiting: Vec<Piece>,
    /// Octets of that.
    pub(super) waits: usize,
}

/// Files of one segment that are kept open between flushes: its newest part, and its sidecar while there is a descriptor
/// for that. The part before is closed when the next one begins.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    /// The last used is the first.
    pub(super) files: Vec<Appending>,
    /// Whether there may be two.
    pub(super) has_second: bool,
}

impl Disk {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            unmarked: Arc::default(),
            reserve: Arc::default(),
            markers: Arc::default(),
            spares: None,
            repairs: false,
            syncs: Arc::default(),
            unclosed: Arc::default(),
            replaying: Arc::default(),
        }
    }

    /// The same, with spare files, and with descriptors kept for it and for so many openers.
    pub(crate) fn with_reserve(root: &Path, openers: usize) -> Self {
        Self { reserve: Arc::new(Reserve::fill(openers)), spares: Some(Arc::default()), ..Self::new(root) }
    }

    /// The same for who repairs what a crash left.
    pub(crate) fn repairing(&self) -> Self {
        Self { repairs: true, ..self.clone() }
    }

    /// Makes durable all that was written to the volume, then removes the markers of what was sealed before. Those
    /// that stay are tried again the next time.
    pub(crate) fn settle(&self) -> Result<(), Unsettled> {
        let (sealed, began) = (std::mem::take(&mut *self.unmarked()), mono());
        self.markers.look(&self.root);
        match self.sync() {
            Ok(Covers::All) => {}
            less => {
                self.unmark(sealed);
                return Err(less.map_or_else(Unsettled::Synced, |_| Unsettled::Doubted));
            }
        }
        let (mut left, mut why) = (Vec::new(), None);
        for path in sealed {
            if let Err(e) = self.take_mark(&path) {
                why.get_or_insert(e);
                left.push(path);
            }
        }
        self.unmark(left);
        self.empty_spares(began);
        why.map_or(Ok(()), |e| Err(Unsettled::Marked(e)))
    }

    /// Makes durable all that was written to the volume.
    pub(super) fn sync(&self) -> io::Result<Covers> {
        self.syncs.carry_out(|| {
            // Opened anew each time, so that it is the volume that files are made on now.
            let synced = self.reserve.open(|| File::open(&self.root)).and_then(|volume| {
                before(Operation::Sync, &self.root)?;
                Ok(nix::unistd::syncfs(&volume)?)
            });
            self.reserve.refill();
            synced
        })
    }

    fn unmarked(&self) -> MutexGuard<'_, Vec<String>> {
        self.unmarked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unmark(&self, paths: impl IntoIterator<Item = String>) {
        let mut unmarked = self.unmarked();
        let room = UNMARKED_MAX.saturating_sub(unmarked.len());
        unmarked.extend(paths.into_iter().take(room));
    }

    /// Takes a marker away: one of the file of markers, or a file of a version before.
    fn take_mark(&self, path: &str) -> io::Result<()> {
        match layout::marked_segment(path) {
            Some(segment) if self.markers.unmark(&self.root, &self.reserve, segment)? => Ok(()),
            _ => self.remove(path),
        }
    }

    fn mark(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let segment = layout::marked_segment(path).ok_or_else(|| wrong(format!("'{path}' is no marker")))?;
        let manifest = layout::read_marker(bytes).map_err(|e| wrong(e.to_string()))?;
        self.markers.mark(&self.root, &self.reserve, segment, &manifest.path())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        before(Operation::Remove, &self.path(path))?;
        match std::fs::remove_file(self.path(path)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Gives a file another name, which nothing may have.
    fn rename_to_free(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        before(Operation::Rename, &to)?;
        match renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::RENAME_NOREPLACE) {
            // A file system that does not know of it. A crash in between leaves both names, which is seen then.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                std::fs::hard_link(&from, &to)?;
                std::fs::remove_file(&from)
            }
            renamed => Ok(renamed?),
        }
    }

    fn remove_dir(&self, directory: &str) -> io::Result<()> {
        let path = self.path(directory);
        before(Operation::Remove, &path)?;
        match std::fs::remove_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Makes a directory for its owner alone, and those above it; whether it was there before.
    pub(crate) fn make_dir(&self, directory: &str) -> io::Result<bool> {
        let path = self.path(directory);
        before(Operation::MakeDir, &path)?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map(|()| false)
            }
            Err(e) => Err(e),
        }
    }

    /// Removes a directory, if there is nothing in it.
    pub(crate) fn remove_empty(&self, directory: &str) {
        let path = self.path(directory);
        let _ = before(Operation::Remove, &path).and_then(|_| std::fs::remove_dir(path));
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The names in a directory; none when it is not there.
    pub(crate) fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        before(Operation::List, &self.path(directory))?;
        match std::fs::read_dir(self.path(directory)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect(),
        }
    }

    /// Carries out one operation; what it appended comes back as a buffer to use again.
    pub(crate) fn apply(&self, op: FileOp, open: &mut OpenFiles) -> io::Result<Option<Vec<u8>>> {
        let done = self.carry_out(op, open);
        self.reserve.refill();
        done
    }

    fn carry_out(&self, op: FileOp, open: &mut OpenFiles) -> io::Result<Option<Vec<u8>>> {
        match op {
            FileOp::MakeDir { path } => _ = self.make_dir(&path)?,
            FileOp::Mark { path, bytes } => self.mark(&path, &bytes)?,
            FileOp::Create { path, bytes } => {
                if is_part(&path) {
                    open.files.retain(|file| !is_part(&file.name));
                }
                let share = before(Operation::Create, &self.path(&path))?;
                let mut file =
                    self.reserve.open(|| private().write(true).create_new(true).open(self.path(&path)))?;
                share.write(&bytes, |bytes| file.write_all(bytes))?;
            }
            FileOp::Append { path, bytes } => {
                self.appending(&path, open)?.append(&bytes)?;
                return Ok(Some(bytes));
            }
            FileOp::Patch { path, offset, bytes } => {
                let Appending { file, whole, .. } = self.appending(&path.into(), open)?;
                let share = before(Operation::Patch, whole)?;
                share.write(&bytes, |bytes| file.write_all_at(bytes, offset))?;
            }
            FileOp::Replace { path, bytes } => self.replace(&path, &bytes)?,
            FileOp::AppendLine { path, bytes } => {
                let share = before(Operation::AppendLine, &self.path(&path))?;
                let mut file =
                    self.reserve.open(|| private().append(true).create(true).open(self.path(&path)))?;
                share.write(&bytes, |bytes| file.write_all(bytes))?;
            }
            FileOp::Truncate { path, bytes } => {
                before(Operation::Truncate, &self.path(&path))?;
                open.files.retain(|file| *file.name != *path);
                self.reserve.open(|| private().write(true).open(self.path(&path)))?.set_len(bytes)?;
            }
            FileOp::Remove { path } => self.remove(&path)?,
            FileOp::Settle { from, path } => self.rename_to_free(&from, &path)?,
            FileOp::RemoveDir { path } => self.remove_dir(&path)?,
            FileOp::Unmark { path } => self.unmark([path]),
        }
        Ok(None)
    }

    /// Carries out operations on files that nobody keeps open; stops at the first that fails.
    pub(crate) fn apply_all(&self, ops: Vec<FileOp>) -> io::Result<()> {
        let mut open = OpenFiles::default();
        ops.into_iter().try_for_each(|op| self.apply(op, &mut open).map(drop))
    }

    /// Waits until what was written to a file is on the disk.
    pub(crate) fn make_durable(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        before(Operation::SyncLine, &path)?;
        File::open(path)?.sync_data()
    }

    /// A file to append to, kept open. Another that nothing is to be appended to later may be closed for it.
    pub(super) fn appending<'a>(
        &self,
        path: &Arc<str>,
        open: &'a mut OpenFiles,
    ) -> io::Result<&'a mut Appending> {
        match open.files.iter().position(|file| Arc::ptr_eq(&file.name, path) || file.name == *path) {
            Some(index) => open.files[..=index].rotate_right(1),
            None => {
                let whole = self.path(path);
                let file = self.reserve.open(|| OpenOptions::new().write(true).open(&whole))?;
                let len = file.metadata()?.len();
                open.files.truncate(open.places() - 1);
                let name = Arc::clone(path);
                let appending = Appending { name, whole, file, len, waiting: Vec::new(), waits: 0 };
                open.files.insert(0, appending);
                // Opened with a descriptor that was kept for this, perhaps.
                self.reserve.refill();
            }
        }
        open.files.first_mut().ok_or_else(|| io::Error::other("the file was not kept open"))
    }
}

impl OpenFiles {
    /// Whether this file is open, or can be without another being closed.
    pub(super) fn has_place_for(&self, path: &Arc<str>) -> bool {
        self.files.len() < self.places() || self.files.iter().any(|file| file.name == *path)
    }

    fn places(&self) -> usize {
        1 + usize::from(self.has_second)
    }

    /// Whether something waits to be appended.
    pub(super) fn have_waiting(&self) -> bool {
        self.files.iter().any(|file| !file.waiting.is_empty())
    }
}

impl Appending {
    /// Appends to it.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let share = before(Operation::Append, &self.whole)?;
        if let Err(e) = share.write(bytes, |bytes| self.file.write_all_at(bytes, self.len)) {
            // What got there of it would be a torn block in front of the next one. Where even this fails, the
            // segment is closed all the same, as after a crash: behind its last whole block.
            let _ = before(Operation::Truncate, &self.whole).and_then(|_| self.file.set_len(self.len));
            return Err(e);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Where the next octets belong.
    pub(super) const fn end(&self) -> u64 {
        self.len + self.waits as u64
    }
}

fn is_part(path: &str) -> bool {
    path.ends_with(".mka")
}

pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// What a failed file operation means for the segment.
pub(crate) fn failure(error: &io::Error) -> Failure {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => Failure::DiskFull,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => Failure::Resources(error.to_string()),
        _ if error.kind() == io::ErrorKind::AddrInUse => {
            Failure::Resources("no media port is free".to_owned())
        }
        _ => Failure::Storage(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use model::SegmentId;

    use super::*;

    /// A volume with a segment that is sealed, and not synced.
    fn sealed() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::new(dir.path()), layout::marker_path(SegmentId::from_u64(1)));
        let marker = layout::marker_bytes("t/2026-11-20/06bqx3m8r0400/001.json");
        disk.apply_all(vec![FileOp::Mark { path: path.clone(), bytes: marker }, FileOp::Unmark { path }])
            .unwrap();
        (dir, disk)
    }

    fn is_marked(disk: &Disk) -> bool {
        let file = std::fs::read(disk.path(layout::MARKERS_PATH)).unwrap();
        spool::markers::read(&file).into_iter().next().is_some()
    }

    #[test]
    fn no_marker_goes_by_a_sync_that_does_not_cover_what_one_before_failed_to() {
        let (dir, disk) = sealed();
        disk.syncs.use_redo(true);
        let rule = format!("sync~{}:fail", dir.path().display());
        faults::give(&rule);
        assert!(matches!(disk.settle(), Err(Unsettled::Synced(_))) && is_marked(&disk));
        faults::withdraw(&rule);
        assert!(matches!(disk.settle(), Err(Unsettled::Doubted)) && is_marked(&disk));
        disk.syncs.trust(disk.syncs.failed());
        assert!(disk.settle().is_ok() && !is_marked(&disk));
    }

    #[test]
    fn a_file_gets_a_name_that_is_free_and_a_directory_goes_when_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        let create =
            |path: &str, bytes: &[u8]| FileOp::Create { path: path.to_owned(), bytes: bytes.to_vec() };
        let settle = || FileOp::Settle { from: "a/b.partial".to_owned(), path: "a/b".to_owned() };
        let remove_dir = || FileOp::RemoveDir { path: "a".to_owned() };
        let remove = |path: &str| FileOp::Remove { path: path.to_owned() };
        disk.apply_all(vec![FileOp::MakeDir { path: "a".to_owned() }, create("a/b.partial", b"1"), settle()])
            .unwrap();
        disk.apply_all(vec![create("a/b.partial", b"2")]).unwrap();
        let taken = disk.apply_all(vec![settle()]).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(disk.path("a/b")).unwrap(), b"1");
        assert_eq!(disk.apply_all(vec![remove_dir()]).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        disk.apply_all(vec![remove("a/b"), remove("a/b.partial"), remove_dir(), remove_dir()]).unwrap();
        assert!(!disk.path("a").exists());
    }
}
