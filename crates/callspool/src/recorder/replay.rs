//! Writes from the redo of a volume to the segments' own files what a crash kept from them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use faults::{Operation, before};
use nix::fcntl::OFlag;
use spool::Files;
use spool::layout::ManifestPath;
use spool::redo::{self, Number, Record};

use super::disk::Disk;
use crate::descriptors::is_shortage;

/// 64 MiB: some times as much as a redo file ever holds. What is longer is not ours, and would only fill memory.
pub(super) const FILE_MAX: u64 = 64 << 20;

/// When it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    /// Before anything is recorded: whatever is in the redo is of earlier processes.
    AtTheStart,
    /// Beside the recording: what cannot be told to be of an earlier process may be of this one.
    Later,
}

/// What was done.
#[derive(Default, Debug)]
pub(crate) struct Replayed {
    /// Redo files of earlier processes in which something was.
    pub(crate) files: usize,
    /// Why they are not empty now.
    pub(crate) left: Option<io::Error>,
    /// Octets that segments lacked.
    pub(crate) octets: u64,
    /// Segments that could not be read or written, and why: they must not be closed without what is in the redo for them.
    pub(crate) failed: Vec<(ManifestPath, io::Error)>,
    /// Redo files that cannot be read, by their names; why, and what became of them.
    pub(crate) unreadable: Vec<(String, Unreadable)>,
}

/// A redo file that cannot be read. What is in it is lost to its segments; it is told, and nothing else is kept from
/// being repaired.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) why: io::Error,
    /// Where it lies now, for a person to look at.
    pub(crate) aside: io::Result<String>,
}

/// A redo file in which something is.
struct Found {
    number: Option<Number>,
    name: String,
}

/// Does so for the segments that are marked, and empties what it was in, once all of it is durable. `run` is that of
/// this process, whose own redo files are left alone. Done again, it does the rest. An error is of the redo as a whole;
/// that a segment could not be read or written, a redo file not be read, or nothing be emptied, is told, and no reason
/// not to go on with others.
pub(crate) fn replay(
    disk: &Disk,
    volume: &dyn Files,
    marked: &[ManifestPath],
    run: u64,
    when: When,
) -> io::Result<Replayed> {
    let _one = disk.replaying.lock().unwrap_or_else(PoisonError::into_inner);
    let is_earlier = |number: Option<Number>| match number {
        Some(number) => number.run != run,
        None => when == When::AtTheStart,
    };
    let (mut replayed, read) = restore_all(disk, volume, marked, is_earlier)?;
    if !read.is_empty() && replayed.failed.is_empty() {
        let done = disk.sync().and_then(|_| read.iter().try_for_each(|path| empty(path)));
        replayed.left = done.err();
    }
    // Whoever was away with a file of this process may be about to open it.
    if when == When::AtTheStart {
        replayed.unreadable.iter_mut().for_each(|(name, of)| of.aside = set_aside(disk, name));
    }
    Ok(replayed)
}

/// The same with what this process put there, for segments that are still to be closed. Nothing is emptied.
pub(super) fn replay_own(
    disk: &Disk,
    volume: &dyn Files,
    open: &[ManifestPath],
    run: u64,
) -> io::Result<Replayed> {
    let is_own = |number: Option<Number>| number.is_some_and(|number| number.run == run);
    Ok(restore_all(disk, volume, open, is_own)?.0)
}

/// Writes to segments what they lack of what is in some redo files; which were read.
fn restore_all(
    disk: &Disk,
    volume: &dyn Files,
    marked: &[ManifestPath],
    is_wanted: impl Fn(Option<Number>) -> bool,
) -> io::Result<(Replayed, Vec<PathBuf>)> {
    let (mut replayed, mut all) = (Replayed::default(), Vec::new());
    for Found { name, .. } in find(disk, is_wanted, &mut replayed.unreadable)? {
        let path = path_of(disk, &name);
        let bytes = match read(&path, FILE_MAX) {
            Ok(bytes) => bytes,
            Err(why) => {
                tell(disk, name, why, &mut replayed.unreadable)?;
                continue;
            }
        };
        match restore_file(disk, volume, &bytes, marked) {
            Ok(octets) => replayed.octets += octets,
            // One that cannot be read keeps no other from it.
            Err(_) => {
                for one in marked {
                    match restore_file(disk, volume, &bytes, std::slice::from_ref(one)) {
                        Ok(octets) => replayed.octets += octets,
                        Err(e) => replayed.failed.push((one.clone(), e)),
                    }
                }
            }
        }
        replayed.files += 1;
        all.push(path);
    }
    Ok((replayed, all))
}

/// Writes to segments what they lack of a redo file; how many octets that were.
fn restore_file(disk: &Disk, volume: &dyn Files, redo: &[u8], marked: &[ManifestPath]) -> io::Result<u64> {
    restore(disk, volume, redo::records(redo).map_err(io::Error::other)?, marked)
}

/// Writes to segments what they lack of what was appended to them; how many octets that were.
pub(super) fn restore<'a>(
    disk: &Disk,
    volume: &dyn Files,
    records: impl Iterator<Item = Record<'a>>,
    marked: &[ManifestPath],
) -> io::Result<u64> {
    let mut octets = 0;
    for missing in redo::missing(records, marked, volume)? {
        write(&disk.path(missing.path), missing.offset, missing.bytes)?;
        octets += missing.bytes.len() as u64;
    }
    Ok(octets)
}

/// Redo files of these processes in which something is, in the order in which they were filled.
fn find(
    disk: &Disk,
    is_wanted: impl Fn(Option<Number>) -> bool,
    unreadable: &mut Vec<(String, Unreadable)>,
) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for name in disk.list(redo::DIR)? {
        if name.len() != 2 || !name.bytes().all(|c| c.is_ascii_digit()) {
            continue;
        }
        match read(&path_of(disk, &name), redo::HEAD_OCTETS as u64) {
            Ok(head) if head.is_empty() => {}
            Ok(head) => {
                // One of a newer callspool is for that to read: until then nothing is closed without it.
                let number = redo::number_of(&head).map_err(io::Error::other)?;
                if is_wanted(number) {
                    found.push(Found { number, name });
                }
            }
            Err(why) => tell(disk, name, why, unreadable)?,
        }
    }
    found.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    Ok(found)
}

/// Notes that one cannot be read; an error: that is not its own fault, and a later try may do better.
fn tell(
    disk: &Disk,
    name: String,
    why: io::Error,
    unreadable: &mut Vec<(String, Unreadable)>,
) -> io::Result<()> {
    if is_shortage(&why) || why.kind() == io::ErrorKind::OutOfMemory {
        return Err(why);
    }
    let aside = Ok(path_of(disk, &name).display().to_string());
    unreadable.push((name, Unreadable { why, aside }));
    Ok(())
}

/// Puts one where nobody takes it for a redo file. One that was put there before goes: there are never more than of
/// those in use.
fn set_aside(disk: &Disk, name: &str) -> io::Result<String> {
    let (from, to) = (path_of(disk, name), path_of(disk, &format!("{name}.unreadable")));
    before(Operation::Rename, &from)?;
    std::fs::rename(from, &to)?;
    Ok(to.display().to_string())
}

fn path_of(disk: &Disk, name: &str) -> PathBuf {
    disk.path(&format!("{}/{name}", redo::DIR))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    before(Operation::RedoRead, path)?;
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes what was appended to a file once more, where it is there: what a sync could not make durable is durable with
/// the next one.
pub(super) fn write_again(disk: &Disk, record: &Record<'_>) -> io::Result<()> {
    let path = disk.path(record.path);
    let file = match open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    // What a repair cut off stays so.
    if file.metadata()?.len() < record.offset.saturating_add(record.bytes.len() as u64) {
        return Ok(());
    }
    let share = before(Operation::Append, &path)?;
    share.write(record.bytes, |bytes| file.write_all_at(bytes, record.offset))
}

fn write(path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let share = before(Operation::Append, path)?;
    let file = open(path)?;
    share.write(bytes, |bytes| file.write_all_at(bytes, offset))
}

fn empty(path: &Path) -> io::Result<()> {
    before(Operation::RedoEmpty, path)?;
    open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use spool::redo::{Room, Shelf};

    use super::*;
    use crate::clock::now;
    use crate::repository::Repository;

    const CALL: &str = "t/2026-11-20/06bqx3m8r0400";

    /// A volume with these parts, each of which has its head.
    fn volume(parts: &[&str]) -> (tempfile::TempDir, Disk, Repository) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(CALL)).unwrap();
        std::fs::create_dir(dir.path().join(redo::DIR)).unwrap();
        parts.iter().for_each(|part| std::fs::write(dir.path().join(CALL).join(part), "head").unwrap());
        let (disk, repository) = (Disk::new(dir.path()), Repository::new(dir.path()));
        (dir, disk, repository)
    }

    /// What a process has in a redo file.
    fn redo_of(disk: &Disk, name: &str, run: u64, appended: &[(&str, &[u8])]) {
        let mut shelf = Shelf::new(run);
        while let Room::Wanted(index) = shelf.room(now().mono) {
            shelf.opened(index);
        }
        for (part, bytes) in appended {
            shelf.put(&Record { path: &format!("{CALL}/{part}"), offset: 4, bytes }).unwrap();
        }
        std::fs::write(path_of(disk, name), shelf.unwritten().unwrap().bytes).unwrap();
    }

    fn segment(number: u32) -> ManifestPath {
        ManifestPath::parse(&format!("{CALL}/{number:03}.json")).unwrap()
    }

    #[test]
    fn what_this_process_left_is_put_back_to_what_is_open_and_stays() {
        let (_dir, disk, repository) = volume(&["001-1.mka", "002-1.mka", "003-1.mka"]);
        redo_of(&disk, "00", 3, &[("001-1.mka", b"own"), ("002-1.mka", b"own"), ("003-1.mka", b"own")]);
        redo_of(&disk, "01", 5, &[("003-1.mka", b"of another")]);
        // One that cannot be read keeps no other from it.
        std::fs::remove_file(disk.path(&format!("{CALL}/001-1.mka"))).unwrap();
        std::fs::create_dir(disk.path(&format!("{CALL}/001-1.mka"))).unwrap();
        let replayed = replay_own(&disk, &repository, &[segment(1), segment(3)], 3).unwrap();
        assert_eq!((replayed.files, replayed.octets), (1, 3));
        assert_eq!(replayed.failed.iter().map(|(at, _)| at.clone()).collect::<Vec<_>>(), [segment(1)]);
        let found = |part: &str| std::fs::read_to_string(disk.path(&format!("{CALL}/{part}"))).unwrap();
        assert_eq!((found("002-1.mka"), found("003-1.mka")), ("head".to_owned(), "headown".to_owned()));
        assert!(path_of(&disk, "00").metadata().unwrap().len() > 0);
    }

    #[test]
    fn a_file_of_a_newer_callspool_is_left_and_nothing_goes_on_without_it() {
        let (_dir, disk, repository) = volume(&["001-1.mka"]);
        let (checksum, run, number) = (0xb948_be76_u32, 3_u64, 1_u64);
        let mut file = b"cs-redo\n\x02\0\0\0".to_vec();
        file.extend(checksum.to_le_bytes());
        file.extend([run, number].iter().flat_map(|n| n.to_le_bytes()));
        std::fs::write(path_of(&disk, "00"), &file).unwrap();
        let replayed = replay(&disk, &repository, &[segment(1)], 5, When::AtTheStart);
        assert!(replayed.unwrap_err().to_string().contains("version 2"));
        assert_eq!(std::fs::read(path_of(&disk, "00")).unwrap(), file);
    }

    #[test]
    fn what_is_written_once_more_makes_no_file_longer() {
        let (_dir, disk, _) = volume(&["001-1.mka"]);
        let path = format!("{CALL}/001-1.mka");
        let record = Record { path: &path, offset: 2, bytes: b"ADER" };
        write_again(&disk, &record).unwrap();
        assert_eq!(std::fs::read_to_string(disk.path(&path)).unwrap(), "head");
        std::fs::write(disk.path(&path), "he\0\0\0\0").unwrap();
        write_again(&disk, &record).unwrap();
        assert_eq!(std::fs::read_to_string(disk.path(&path)).unwrap(), "heADER");
        let gone = format!("{CALL}/009-1.mka");
        write_again(&disk, &Record { path: &gone, ..record }).unwrap();
        assert!(!disk.path(&gone).exists());
    }
}
