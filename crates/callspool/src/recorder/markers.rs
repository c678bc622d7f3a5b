//! The file of markers of a volume: what says which segments are being written on it ([`spool::markers`]).
//!
//! It stays open, so that a mark is one write and needs no descriptor; it is let go when the volume departs, and read
//! anew when it is back. Nobody holds the table while the disk works: a write that hangs holds up no other.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::{Operation, before};
use model::SegmentId;
use spool::layout;
use spool::markers::{FREE, MARKERS_MAX, Marker, NoPlace, Table, marker, offset};

use super::reserve::Reserve;

/// See the module. The default is not open.
#[derive(Debug, Default)]
pub(super) struct Markers {
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    table: Table,
}

impl Markers {
    /// Marks a segment as live.
    pub(super) fn mark(
        &self,
        root: &Path,
        reserve: &Reserve,
        segment: SegmentId,
        manifest_path: &str,
    ) -> io::Result<()> {
        let octets = marker(segment, manifest_path).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("'{manifest_path}' is too long to be marked"))
        })?;
        let taken = self.with(root, reserve, Missing::IsMade, |open| Some(open.table.take(segment)))?;
        let (file, at) = match taken {
            Some((file, Ok(at))) => (file, at),
            Some((_, Err(NoPlace::Marked))) => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, NoPlace::Marked));
            }
            Some((_, Err(full))) => return Err(io::Error::other(full)),
            None => return Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        write(root, Operation::Mark, segment, &file, at, &octets).inspect_err(|_| self.forget(&file))
    }

    /// Takes the marker of a segment away; whether it had one.
    pub(super) fn unmark(&self, root: &Path, reserve: &Reserve, segment: SegmentId) -> io::Result<bool> {
        let Some((file, at)) =
            self.with(root, reserve, Missing::IsNothing, |open| open.table.find(segment))?
        else {
            return Ok(false);
        };
        write(root, Operation::Unmark, segment, &file, at, &FREE).inspect_err(|_| self.forget(&file))?;
        if let Some(open) = &mut *self.open() {
            open.table.release(segment);
        }
        Ok(true)
    }

    /// Forgets the file when it is not the one in its place any more: somebody removed it, or the volume was unmounted and
    /// mounted again. The next who needs it opens what is there.
    pub(super) fn look(&self, root: &Path) {
        let Some(file) = self.open().as_ref().map(|open| Arc::clone(&open.file)) else { return };
        let number = |found: io::Result<Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        let there = number(std::fs::symlink_metadata(root.join(layout::MARKERS_PATH)));
        if there.is_none() || there != number(file.metadata()) {
            self.forget(&file);
        }
    }

    /// A file that cannot be written to may be of a mount that is gone.
    fn forget(&self, file: &Arc<File>) {
        let mut open = self.open();
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.file, file)) {
            *open = None;
        }
    }

    /// Closes the file: the volume is not there any more, or nothing is to be done soon.
    pub(super) fn let_go(&self) {
        *self.open() = None;
    }

    /// Does something with the table, for which the file is opened if it is not; with the file, if there was something
    /// to be had.
    fn with<T>(
        &self,
        root: &Path,
        reserve: &Reserve,
        missing: Missing,
        find: impl FnOnce(&mut Open) -> Option<T>,
    ) -> io::Result<Option<(Arc<File>, T)>> {
        let mut open = self.open();
        if open.is_none() {
            match Open::at(root, reserve, missing) {
                Ok(opened) => *open = Some(opened),
                Err(e) if missing == Missing::IsNothing && e.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(open.as_mut().and_then(|open| find(open).map(|found| (Arc::clone(&open.file), found))))
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it means that there is no such file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    IsMade,
    IsNothing,
}

impl Open {
    fn at(root: &Path, reserve: &Reserve, missing: Missing) -> io::Result<Self> {
        let path = root.join(layout::MARKERS_PATH);
        before(Operation::Read, &path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        if missing == Missing::IsMade {
            options.create(true).truncate(false);
            match DirBuilder::new().mode(0o700).create(root.join(layout::LIVE_DIR)) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        let file = reserve.open(|| options.open(&path))?;
        let (mut octets, most) = (Vec::new(), offset(MARKERS_MAX));
        (&file).take(most).read_to_end(&mut octets)?;
        Ok(Self { table: Table::of(&octets), file: Arc::new(file) })
    }
}

fn write(
    root: &Path,
    operation: Operation,
    segment: SegmentId,
    file: &File,
    at: u32,
    octets: &Marker,
) -> io::Result<()> {
    let share = before(operation, &root.join(layout::marker_path(segment)))?;
    share.write(octets, |octets| file.write_all_at(octets, offset(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> SegmentId {
        SegmentId::from_u64(n)
    }

    fn path(n: u64) -> String {
        format!("default/2026-11-20/{}/001.json", model::CallId::from_u64(n))
    }

    fn found(root: &Path) -> Vec<SegmentId> {
        let file = std::fs::read(root.join(layout::MARKERS_PATH)).unwrap();
        spool::markers::read(&file).into_iter().map(|(_, segment, _)| segment).collect()
    }

    #[test]
    fn a_mark_stays_until_it_is_taken_away_whoever_reads_it_anew() {
        let (dir, reserve) = (tempfile::tempdir().unwrap(), Reserve::default());
        let root = dir.path();
        let (markers, other) = (Markers::default(), Markers::default());
        assert!(!other.unmark(root, &reserve, id(1)).unwrap(), "nothing was ever marked");
        assert!(!root.join(layout::LIVE_DIR).exists());
        (1..=3).for_each(|n| markers.mark(root, &reserve, id(n), &path(n)).unwrap());
        let again = markers.mark(root, &reserve, id(2), &path(2)).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(found(root), [id(1), id(2), id(3)]);
        assert!(other.unmark(root, &reserve, id(2)).unwrap());
        assert!(
            markers.unmark(root, &reserve, id(1)).unwrap() && !markers.unmark(root, &reserve, id(1)).unwrap()
        );
        assert_eq!(found(root), [id(3)]);
        markers.let_go();
        markers.mark(root, &reserve, id(4), &path(4)).unwrap();
        assert_eq!(found(root), [id(4), id(3)], "the first that is free is taken");
    }

    #[test]
    fn a_file_that_somebody_removed_is_made_anew() {
        let (dir, reserve, markers) = (tempfile::tempdir().unwrap(), Reserve::default(), Markers::default());
        markers.mark(dir.path(), &reserve, id(1), &path(1)).unwrap();
        markers.look(dir.path());
        std::fs::remove_dir_all(dir.path().join(layout::LIVE_DIR)).unwrap();
        markers.look(dir.path());
        markers.mark(dir.path(), &reserve, id(2), &path(2)).unwrap();
        assert_eq!(found(dir.path()), [id(2)]);
    }

    #[test]
    fn a_mark_that_is_torn_says_nothing_and_its_place_is_used_again() {
        let (dir, reserve, markers) = (tempfile::tempdir().unwrap(), Reserve::default(), Markers::default());
        let rule = format!("mark~{}:torn", layout::marker_path(id(0x5107)));
        faults::give(&rule);
        assert!(markers.mark(dir.path(), &reserve, id(0x5107), &path(1)).is_err());
        faults::withdraw(&rule);
        assert_eq!(found(dir.path()), []);
        assert!(!markers.unmark(dir.path(), &reserve, id(0x5107)).unwrap(), "it is read anew");
        markers.mark(dir.path(), &reserve, id(2), &path(2)).unwrap();
        let length = std::fs::metadata(dir.path().join(layout::MARKERS_PATH)).unwrap().len();
        assert_eq!((found(dir.path()), length), (vec![id(2)], 256));
    }
}
