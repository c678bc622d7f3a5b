//! The file of markers of a volume: what says which segments are being written on it ([`spool::markers`]).
//!
//! It stays open, so that a mark is one write and needs no descriptor; it is let go when the volume departs, and read
//! anew when it is back. Nobody holds the table while the disk works: a write that hangs holds up no other. Where it may
//! still come, nobody else is given its place, also when the file is read anew meanwhile.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use faults::{Operation, before};
use model::SegmentId;
use spool::layout;
use spool::markers::{FREE, Marker, NoPlace, Readable, Table, marker, offset};

use super::reserve::Reserve;

/// See the module. The default is not open.
#[derive(Debug, Default)]
pub(super) struct Markers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Open>,
    /// Places that somebody writes to now, in this file or in one that was open before.
    written: Vec<u32>,
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
        let place = self.begin(root, reserve, Missing::IsMade, |table| match table.take(segment) {
            Ok(place) => Ok(Some(place)),
            Err(NoPlace::Marked) => Err(io::Error::new(io::ErrorKind::AlreadyExists, NoPlace::Marked)),
            Err(full) => Err(io::Error::other(full)),
        })?;
        let (file, at) = place.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let written = write(root, Operation::Mark, segment, &file, at, &octets);
        self.end(&file, at, &written, |_| {});
        written
    }

    /// Takes the marker of a segment away; whether it had one.
    pub(super) fn unmark(&self, root: &Path, reserve: &Reserve, segment: SegmentId) -> io::Result<bool> {
        let place = self.begin(root, reserve, Missing::IsNothing, |table| Ok(table.find(segment)))?;
        let Some((file, at)) = place else { return Ok(false) };
        let written = write(root, Operation::Unmark, segment, &file, at, &FREE);
        self.end(&file, at, &written, |table| table.release(segment));
        written.map(|()| true)
    }

    /// Forgets the file when it is not the one in its place any more: somebody removed it, or the volume was unmounted and
    /// mounted again. The next who needs it opens what is there.
    pub(super) fn look(&self, root: &Path) {
        let Some(file) = self.state().open.as_ref().map(|open| Arc::clone(&open.file)) else { return };
        let number = |found: io::Result<Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        let there = number(std::fs::symlink_metadata(root.join(layout::MARKERS_PATH)));
        if there.is_none() || there != number(file.metadata()) {
            self.state().forget(&file);
        }
    }

    /// Closes the file: the volume is not there any more, or nothing is to be done soon.
    pub(super) fn let_go(&self) {
        self.state().open = None;
    }

    /// Chooses a place to write to, for which the file is opened if it is not. None: there is nothing to be written.
    fn begin(
        &self,
        root: &Path,
        reserve: &Reserve,
        missing: Missing,
        choose: impl FnOnce(&mut Table) -> io::Result<Option<u32>>,
    ) -> io::Result<Option<(Arc<File>, u32)>> {
        let mut state = self.state();
        let State { open, written } = &mut *state;
        let open = match open {
            Some(open) => open,
            None => match Open::at(root, reserve, missing) {
                Ok(mut opened) => {
                    written.iter().for_each(|place| opened.table.withhold(*place));
                    open.insert(opened)
                }
                Err(e) if missing == Missing::IsNothing && e.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            },
        };
        let Some(place) = choose(&mut open.table)? else { return Ok(None) };
        written.push(place);
        Ok(Some((Arc::clone(&open.file), place)))
    }

    /// What was written has come to an end. What failed, or came after the file was read anew, is not in the table as it is
    /// on the disk: that is read anew then. A file that cannot be written to may be of a mount that is gone, too.
    fn end(&self, file: &Arc<File>, at: u32, written: &io::Result<()>, known: impl FnOnce(&mut Table)) {
        let mut state = self.state();
        if let Some(index) = state.written.iter().position(|place| *place == at) {
            state.written.swap_remove(index);
        }
        match &mut state.open {
            Some(open) if Arc::ptr_eq(&open.file, file) && written.is_ok() => known(&mut open.table),
            open => *open = None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, file: &Arc<File>) {
        if self.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.file, file)) {
            self.open = None;
        }
    }
}

/// Reads a file of markers as far as the disk can.
pub(crate) fn read_markers(file: &File, path: &Path) -> io::Result<Readable> {
    let octets = file.metadata()?.len();
    Readable::read(octets, |block, at| {
        before(Operation::Read, &path.join(at.to_string()))?;
        file.read_exact_at(block, at)
    })
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
        let found = read_markers(&file, &path)?;
        if found.unreadable() > 0 {
            tracing::warn!(
                "{} places of {} cannot be read and are not used",
                found.unreadable(),
                path.display()
            );
        }
        Ok(Self { table: Table::of(&found), file: Arc::new(file) })
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
    fn a_sector_that_cannot_be_read_stops_nobody() {
        let (dir, reserve, markers) = (tempfile::tempdir().unwrap(), Reserve::default(), Markers::default());
        (1..=20).for_each(|n| markers.mark(dir.path(), &reserve, id(n), &path(n)).unwrap());
        let rule = format!("read~{}/{}/4096:fail@1+", dir.path().display(), layout::MARKERS_PATH);
        faults::give(&rule);
        let later = Markers::default();
        later.mark(dir.path(), &reserve, id(21), &path(21)).unwrap();
        assert!(later.unmark(dir.path(), &reserve, id(3)).unwrap());
        assert!(!later.unmark(dir.path(), &reserve, id(18)).unwrap(), "nobody knows who is there");
        let file = File::open(dir.path().join(layout::MARKERS_PATH)).unwrap();
        let found = read_markers(&file, &dir.path().join(layout::MARKERS_PATH)).unwrap();
        let left: Vec<SegmentId> = found.marked().into_iter().map(|(_, segment, _)| segment).collect();
        assert_eq!(left, [1, 2].into_iter().chain(4..=16).chain([21]).map(id).collect::<Vec<_>>());
        faults::withdraw(&rule);
        assert_eq!(self::found(dir.path()).len(), 20);
    }

    /// A write that hangs may come when the volume has been away and others mark on it.
    #[test]
    fn a_mark_that_comes_late_is_written_over_nobody() {
        let (dir, reserve, markers) = (tempfile::tempdir().unwrap(), Reserve::default(), Markers::default());
        let root = dir.path();
        markers.mark(root, &reserve, id(1), &path(1)).unwrap();
        let rule = format!("mark~{}:delay=0.5s@1+", layout::marker_path(id(0x1A7E)));
        faults::give(&rule);
        std::thread::scope(|scope| {
            let late = scope.spawn(|| markers.mark(root, &reserve, id(0x1A7E), &path(7)));
            while markers.state().written.is_empty() {
                std::thread::yield_now();
            }
            markers.let_go();
            markers.mark(root, &reserve, id(2), &path(2)).unwrap();
            late.join().unwrap().unwrap();
        });
        faults::withdraw(&rule);
        assert_eq!(found(root), [id(1), id(0x1A7E), id(2)]);
        for n in [1, 2, 0x1A7E] {
            assert!(markers.unmark(root, &reserve, id(n)).unwrap(), "{n}");
        }
        assert_eq!(found(root), []);
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
