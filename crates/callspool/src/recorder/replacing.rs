//! How a file is put in place whole: into a spare file of the volume, which is then exchanged with the one that is in
//! the place ([`spares`](super::spares)); where that cannot be, into a file beside, which is renamed over it.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use faults::{Operation, Share, before};
use model::Mono;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use spool::layout;

use super::disk::{Disk, private};
use crate::clock::mono;

impl Disk {
    /// A reader sees the old file or the new one, never a mixture.
    pub(super) fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let target = self.path(path);
        let share = before(Operation::Replace, &target)?;
        let spares = self.spares.as_deref().filter(|_| !self.repairs);
        let spare = spares.and_then(|s| Some((s, s.take(mono(), || self.left_spares().ok())?)));
        let Some((spares, spare)) = spare else { return self.write_beside(&target, bytes, share) };
        match self.write_spare(spare, &target, bytes, share) {
            Err(e) if !is_possible(&e) => {
                spares.rest(spare, mono());
                if spares.give_up() {
                    tracing::info!(
                        "{} exchanges no names of files ({e}): those of replaced manifests are removed",
                        self.path("").display()
                    );
                }
                self.write_beside(&target, bytes, Share::Whole)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Somebody took the directory away.
                spares.forget();
                self.write_beside(&target, bytes, Share::Whole)
            }
            done => {
                spares.rest(spare, mono());
                done
            }
        }
    }

    /// Writes a spare file and exchanges it with what is in the place, if there is something.
    fn write_spare(&self, spare: u32, target: &Path, bytes: &[u8], share: Share) -> io::Result<()> {
        let spare = self.spare(spare);
        {
            // It is empty. That it is emptied again makes file systems that write late allocate what is written when it
            // is closed, as they do for a file that is renamed over another.
            let open = || private().write(true).create(true).truncate(true).open(&spare);
            let mut file = self.reserve.open(open)?;
            share.write(bytes, |bytes| file.write_all(bytes))?;
        }
        before(Operation::Exchange, target)?;
        match renameat2(AT_FDCWD, &spare, AT_FDCWD, target, RenameFlags::RENAME_EXCHANGE) {
            Err(Errno::ENOENT) => std::fs::rename(&spare, target),
            exchanged => Ok(exchanged?),
        }
    }

    /// Writes beside and renames over.
    fn write_beside(&self, target: &Path, bytes: &[u8], share: Share) -> io::Result<()> {
        let beside = target.with_extension("json.new");
        {
            let open = || private().write(true).create(true).truncate(true).open(&beside);
            let mut file = self.reserve.open(open)?;
            share.write(bytes, |bytes| file.write_all(bytes))?;
        }
        before(Operation::Rename, target)?;
        std::fs::rename(&beside, target)
    }

    /// Empties the spare files that have rested, when a sync that began then has succeeded.
    pub(super) fn empty_spares(&self, synced: Mono) {
        let Some(spares) = self.spares.as_deref() else { return };
        for spare in spares.rested(mono(), synced) {
            match self.empty(&self.spare(spare)) {
                Ok(()) => spares.emptied(spare),
                Err(e) => {
                    tracing::debug!(spare, "a spare file is not emptied: {e}");
                    spares.rest(spare, mono());
                }
            }
        }
    }

    fn empty(&self, spare: &Path) -> io::Result<()> {
        before(Operation::Truncate, spare)?;
        let open = || private().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(spare);
        let found = match self.reserve.open(open) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let about = found.metadata()?;
        if about.nlink() != 1 {
            // Somebody made a copy of the repository of such links: what it has stays what it was.
            before(Operation::Remove, spare)?;
            return std::fs::remove_file(spare);
        }
        if about.len() > 0 { found.set_len(0) } else { Ok(()) }
    }

    /// The spare files that there are. Their directory is made, but not what it is in: that is there on a volume, and not in
    /// the empty place of one.
    fn left_spares(&self) -> io::Result<Vec<u32>> {
        let directory = self.path(layout::SPARE_DIR);
        before(Operation::List, &directory)?;
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(found)
    }

    fn spare(&self, spare: u32) -> PathBuf {
        self.path(layout::SPARE_DIR).join(spare.to_string())
    }

    /// The volume is not there any more: nothing of it is kept open or remembered.
    pub(crate) fn let_go(&self) {
        self.markers.let_go();
        if let Some(spares) = &self.spares {
            spares.leave();
        }
    }

    /// What an earlier process left is not needed any more for manifests that a crash damaged.
    pub(crate) fn looked_through(&self) {
        if let Some(spares) = &self.spares {
            spares.looked_through();
        }
    }

    /// The volume is in its place.
    pub(crate) fn is_found(&self) {
        if let Some(spares) = &self.spares {
            spares.come_back();
        }
    }
}

/// Whether a failure is one of the disk, and not of a file system that cannot exchange the two names.
fn is_possible(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    !matches!(errno, Some(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EXDEV))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use spool::FileOp;

    use super::*;

    fn replace(disk: &Disk, path: &str, text: &str) {
        disk.apply_all(vec![FileOp::Replace { path: path.to_owned(), bytes: text.as_bytes().to_vec() }])
            .unwrap();
    }

    fn inode(disk: &Disk, path: &str) -> u64 {
        std::fs::metadata(disk.path(path)).unwrap().ino()
    }

    fn disk() -> (tempfile::TempDir, Disk) {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::with_reserve(dir.path(), 1);
        for name in ["a", layout::LIVE_DIR] {
            std::fs::create_dir(disk.path(name)).unwrap();
        }
        (dir, disk)
    }

    #[test]
    fn a_file_that_is_replaced_becomes_a_spare_and_is_emptied_before_it_is_used_again() {
        let (_dir, disk) = disk();
        let path = "a/001.json";
        replace(&disk, path, "first");
        let mut inodes = BTreeSet::from([inode(&disk, path)]);
        for n in 0..3 {
            replace(&disk, path, &format!("{n}"));
            inodes.insert(inode(&disk, path));
            assert_eq!(std::fs::read_to_string(disk.path(path)).unwrap(), n.to_string());
        }
        assert_eq!(inodes.len(), 4, "none was used again so soon");
        let spare = |n: u32| std::fs::read_to_string(disk.spare(n)).unwrap();
        let before: Vec<String> = disk.left_spares().unwrap().into_iter().map(spare).collect();
        assert_eq!(
            before.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from(["first", "0", "1"])
        );
        for n in disk.left_spares().unwrap() {
            disk.empty(&disk.spare(n)).unwrap();
            assert_eq!(spare(n), "");
            disk.spares.as_ref().unwrap().emptied(n);
        }
        replace(&disk, path, "last");
        assert!(inodes.contains(&inode(&disk, path)), "one of them is used again");
        assert_eq!(std::fs::read_dir(disk.path("a")).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_linked_elsewhere_is_left_to_them() {
        let (dir, disk) = disk();
        replace(&disk, "a/001.json", "theirs");
        let copy = dir.path().join("copy");
        std::fs::hard_link(disk.path("a/001.json"), &copy).unwrap();
        replace(&disk, "a/001.json", "ours");
        for n in disk.left_spares().unwrap() {
            disk.empty(&disk.spare(n)).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), "theirs");
        assert_eq!(disk.left_spares().unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn where_nothing_can_be_exchanged_files_are_renamed_over_others() {
        let (_dir, disk) = disk();
        disk.spares.as_ref().unwrap().give_up();
        for text in ["one", "two"] {
            replace(&disk, "a/001.json", text);
            assert_eq!(std::fs::read_to_string(disk.path("a/001.json")).unwrap(), text);
        }
        assert!(!disk.path(layout::SPARE_DIR).exists());
        assert!(!is_possible(&io::Error::from(Errno::EXDEV)) && is_possible(&io::Error::from(Errno::EIO)));
    }

    #[test]
    fn nothing_is_written_in_the_place_of_a_volume_that_is_not_there() {
        let (_dir, disk) = disk();
        replace(&disk, "a/001.json", "of this volume");
        let op =
            || vec![FileOp::Replace { path: "a/001.json".to_owned(), bytes: b"of this volume".to_vec() }];
        let is_empty = |path: &str| std::fs::read_dir(disk.path(path)).unwrap().next().is_none();
        // Another volume is in its place, or none.
        std::fs::remove_dir_all(disk.path("a")).unwrap();
        std::fs::remove_dir_all(disk.path(layout::SPARE_DIR)).unwrap();
        disk.let_go();
        assert!(disk.apply_all(op()).is_err() && is_empty(layout::LIVE_DIR));
        std::fs::remove_dir(disk.path(layout::LIVE_DIR)).unwrap();
        disk.is_found();
        assert!(disk.apply_all(op()).is_err() && is_empty(""));
    }

    #[test]
    fn a_directory_of_spares_that_was_removed_is_made_again() {
        let (_dir, disk) = disk();
        for (text, is_there) in [("one", true), ("two", false), ("three", true)] {
            replace(&disk, "a/001.json", text);
            assert_eq!(std::fs::read_to_string(disk.path("a/001.json")).unwrap(), text);
            assert_eq!(std::fs::remove_dir_all(disk.path(layout::SPARE_DIR)).is_ok(), is_there);
        }
    }
}
