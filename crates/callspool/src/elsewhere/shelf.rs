//! What was fetched from other nodes to be played: whole files, known by their digests, of which those go first that were used
//! longest ago.
//!
//! ```text
//!  <data_dir>/elsewhere/<SHA-256>             a whole file that comes to this digest
//!  <data_dir>/elsewhere/<SHA-256>.<n>         one that is being fetched
//! ```
//!
//! Nothing here is a recording, and nothing is called like one: no reindex and no gathering finds a copy here. A file gets
//! its name when all of it came and comes to its digest; nothing is made durable, and each start begins with nothing, so
//! that what a crash tore is served by nobody; what nobody hears for long goes too. Whoever has a file open goes on reading it when it is removed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use faults::{Operation, before};
use model::HeldFile;
use nix::fcntl::OFlag;
use spool::digest::Digester;

use crate::volumes::{free_of, make_private_dir};

/// The directory's name in the data directory.
const NAME: &str = "elsewhere";

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Octets of all files, those that are being fetched too, at most.
    most: u64,
    /// Octets that stay free on the disk, which may be that of recordings.
    reserve: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<String, OnShelf>,
    /// Octets of files that are being fetched.
    coming: u64,
    /// Counts uses, and names files that are being fetched.
    turn: u64,
}

#[derive(Debug)]
struct OnShelf {
    octets: u64,
    used: u64,
    used_at: Instant,
}

/// A file that is being fetched. Without [`Self::finish`] nothing of it stays.
#[derive(Debug)]
pub(super) struct Coming {
    shelf: Shelf,
    wanted: HeldFile,
    path: PathBuf,
    file: File,
    digester: Digester,
}

/// Where a file of this digest is.
pub(super) fn path_of(data_dir: &Path, sha256: &str) -> PathBuf {
    data_dir.join(NAME).join(sha256)
}

/// Opens a file that may be there.
pub(super) fn open(path: &Path) -> io::Result<File> {
    before(Operation::Read, path)?;
    OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

/// Removes all that was fetched before.
pub(super) fn clear(data_dir: &Path) -> io::Result<()> {
    let root = data_dir.join(NAME);
    before(Operation::Remove, &root)?;
    match std::fs::remove_dir_all(&root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Shelf {
    /// An empty one: what is there from before is removed.
    pub(super) fn start(data_dir: &Path, most: u64, reserve: u64) -> io::Result<Self> {
        clear(data_dir)?;
        let root = data_dir.join(NAME);
        before(Operation::MakeDir, &root)?;
        make_private_dir(&root)?;
        Ok(Self(Arc::new(Inner { root, most, reserve, kept: Mutex::default() })))
    }

    /// A file, if it is here.
    pub(super) fn open(&self, sha256: &str) -> Option<File> {
        let mut kept = self.kept();
        kept.turn += 1;
        let turn = kept.turn;
        let on_shelf = kept.files.get_mut(sha256)?;
        (on_shelf.used, on_shelf.used_at) = (turn, Instant::now());
        let file = open(&self.0.root.join(sha256));
        if file.is_err() {
            // Somebody removed it; it is fetched again.
            kept.files.remove(sha256);
        }
        file.ok()
    }

    pub(super) fn has(&self, sha256: &str) -> bool {
        self.kept().files.contains_key(sha256)
    }

    /// Removes what nobody used for so long: what was deleted where it came from does not stay here.
    pub(super) fn put_away(&self, unused_for: Duration) {
        let mut kept = self.kept();
        let is_old = |file: &OnShelf| file.used_at.elapsed() >= unused_for;
        let old: Vec<String> =
            kept.files.iter().filter(|(_, file)| is_old(file)).map(|(name, _)| name.clone()).collect();
        for name in old {
            kept.files.remove(&name);
            if let Err(e) = self.remove(&self.0.root.join(&name)) {
                tracing::warn!("what was fetched from another node stays until the next start: {e}");
            }
        }
    }

    /// Octets that are here.
    pub(super) fn octets(&self) -> u64 {
        self.kept().files.values().map(|file| file.octets).sum()
    }

    /// Octets that may be here.
    pub(super) fn most(&self) -> u64 {
        self.0.most
    }

    /// Makes room for a file and begins it; or says, for people, why it cannot be had here.
    pub(super) fn begin(&self, wanted: &HeldFile) -> Result<Coming, String> {
        let free =
            free_of(&self.0.root).map_err(|e| format!("its disk does not say how much is free: {e}"))?;
        if free < wanted.octets.saturating_add(self.0.reserve) {
            return Err("there is too little space left in node.data_dir to fetch it".to_owned());
        }
        let mut kept = self.kept();
        self.make_room(&mut kept, wanted.octets)?;
        kept.turn += 1;
        let path = self.0.root.join(format!("{}.{}", wanted.sha256, kept.turn));
        let file = self.create(&path).map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
        kept.coming += wanted.octets;
        drop(kept);
        Ok(Coming { shelf: self.clone(), wanted: wanted.clone(), path, file, digester: Digester::new() })
    }

    /// Octets as a file of their own.
    pub(super) fn put(&self, name: &str, octets: &[u8]) -> Result<HeldFile, String> {
        let digest = spool::digest::of_bytes(octets);
        let wanted = HeldFile { name: name.to_owned(), octets: digest.bytes, sha256: digest.sha256 };
        if !self.has(&wanted.sha256) {
            let mut coming = self.begin(&wanted)?;
            coming.append(octets)?;
            coming.finish()?;
        }
        Ok(wanted)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        before(Operation::MakeDir, path)?;
        // Voices of people: for their owner alone.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
    }

    /// Removes what was used longest ago until there is room.
    fn make_room(&self, kept: &mut Kept, octets: u64) -> Result<(), String> {
        let most = self.0.most;
        if octets > most {
            return Err(format!("it is longer than elsewhere.cache allows ({octets} of {most} octets)"));
        }
        let used = |kept: &Kept| kept.files.values().map(|f| f.octets).sum::<u64>() + kept.coming;
        while used(kept) + octets > most {
            let oldest = kept.files.iter().min_by_key(|(_, file)| file.used).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else {
                return Err("as much is being fetched as elsewhere.cache allows; try again".to_owned());
            };
            kept.files.remove(&oldest);
            self.remove(&self.0.root.join(oldest))
                .map_err(|e| format!("the cache cannot be emptied: {e}"))?;
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        before(Operation::Remove, path)?;
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coming {
    /// The next octets.
    pub(super) fn append(&mut self, octets: &[u8]) -> Result<(), String> {
        let written = before(Operation::Output, &self.path)
            .and_then(|share| share.write(octets, |octets| self.file.write_all(octets)));
        written.map_err(|e| format!("{} cannot be written: {e}", self.path.display()))?;
        self.digester.update(octets);
        Ok(())
    }

    /// Gives it its name, if it is what was wanted.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let digest = std::mem::take(&mut self.digester).finish();
        let HeldFile { octets, sha256, .. } = &self.wanted;
        if (digest.bytes, &digest.sha256) != (*octets, sha256) {
            return Err("what was sent is not what was sealed".to_owned());
        }
        let path = self.shelf.0.root.join(sha256);
        let named = before(Operation::Rename, &path).and_then(|_| std::fs::rename(&self.path, &path));
        named.map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
        let mut kept = self.shelf.kept();
        kept.turn += 1;
        let used = kept.turn;
        kept.files.insert(sha256.clone(), OnShelf { octets: *octets, used, used_at: Instant::now() });
        Ok(())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        // After `finish` there is nothing of that name any more.
        if let Err(e) = self.shelf.remove(&self.path) {
            tracing::debug!("{} stays until the next start: {e}", self.path.display());
        }
        let mut kept = self.shelf.kept();
        kept.coming = kept.coming.saturating_sub(self.wanted.octets);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn wanted(octets: &[u8]) -> HeldFile {
        let digest = spool::digest::of_bytes(octets);
        HeldFile { name: "001-1.mka".to_owned(), octets: digest.bytes, sha256: digest.sha256 }
    }

    fn names(directory: &Path) -> usize {
        std::fs::read_dir(directory.join(NAME)).unwrap().count()
    }

    #[test]
    fn what_was_used_longest_ago_goes_and_who_reads_it_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::start(directory.path(), 10, 0).unwrap();
        let [a, b, c] = [&b"aaaa"[..], b"bbbb", b"cccc"].map(|octets| shelf.put("x", octets).unwrap());
        // The first one made room for the third.
        assert_eq!([&a, &b, &c].map(|f| shelf.has(&f.sha256)), [false, true, true]);
        let mut open = shelf.open(&b.sha256).unwrap();
        let d = shelf.put("x", b"dddd").unwrap();
        assert_eq!([&b, &c, &d].map(|f| shelf.has(&f.sha256)), [true, false, true]);
        shelf.put("x", b"eeeeeeeeee").unwrap();
        assert!(shelf.open(&b.sha256).is_none());
        let mut read = String::new();
        open.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), shelf.octets(), names(directory.path())), ("bbbb", 10, 1));
        assert!(shelf.put("x", b"12345678901").unwrap_err().contains("elsewhere.cache"));
        shelf.put_away(Duration::from_secs(3_600));
        assert_eq!(names(directory.path()), 1);
        shelf.put_away(Duration::ZERO);
        assert_eq!((shelf.octets(), names(directory.path())), (0, 0));
        clear(directory.path()).unwrap();
        assert!(!directory.path().join(NAME).exists());
        clear(directory.path()).unwrap();
    }

    #[test]
    fn only_what_comes_to_its_digest_gets_its_name_and_of_the_rest_nothing_stays() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::start(directory.path(), 100, 0).unwrap();
        let good = wanted(b"media");
        let mut coming = shelf.begin(&good).unwrap();
        coming.append(b"medi").unwrap();
        assert!(shelf.open(&good.sha256).is_none());
        assert!(coming.finish().unwrap_err().contains("not what was sealed"));
        let mut coming = shelf.begin(&good).unwrap();
        coming.append(b"medix").unwrap();
        drop(coming);
        assert_eq!(names(directory.path()), 0);
        // Neither keeps its place.
        let all = vec![7; 100];
        assert!(shelf.put("x", &all).is_ok());
        let mut coming = shelf.begin(&good).unwrap();
        assert!(shelf.begin(&wanted(&all)).unwrap_err().contains("try again"));
        coming.append(b"media").unwrap();
        coming.finish().unwrap();
        assert!(shelf.has(&good.sha256));
        // A start begins with nothing, torn or not.
        std::fs::write(directory.path().join(NAME).join("torn.1"), b"x").unwrap();
        let shelf = Shelf::start(directory.path(), 100, 0).unwrap();
        assert!(shelf.open(&good.sha256).is_none());
        assert_eq!(names(directory.path()), 0);
    }

    #[test]
    fn where_recordings_need_the_space_nothing_is_fetched() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::start(directory.path(), 100, u64::MAX).unwrap();
        assert!(shelf.put("x", b"media").unwrap_err().contains("too little space"));
    }
}
