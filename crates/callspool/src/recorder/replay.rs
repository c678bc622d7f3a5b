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
use spool::redo::{self, Number};

use super::disk::Disk;

/// 64 MiB: some times as much as a redo file ever holds. What is longer is not ours, and would only fill memory.
const FILE_MAX: u64 = 64 << 20;

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
}

/// Does so for the segments that are marked, and empties what it was in, once all of it is durable. `run` is that of
/// this process, whose own redo files are left alone. Done again, it does the rest. An error is of the redo itself; that a
/// segment could not be read or written, or nothing be emptied, is told, and no reason not to go on with others.
pub(crate) fn replay(
    disk: &Disk,
    volume: &dyn Files,
    marked: &[ManifestPath],
    run: u64,
    when: When,
) -> io::Result<Replayed> {
    let _one = disk.replaying.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = earlier(disk, run, when)?;
    found.sort();
    let mut replayed = Replayed::default();
    for (_, path) in &found {
        let bytes = read(path)?;
        match restore(disk, volume, &bytes, marked) {
            Ok(octets) => replayed.octets += octets,
            // One that cannot be read keeps no other from it.
            Err(_) => {
                for one in marked {
                    match restore(disk, volume, &bytes, std::slice::from_ref(one)) {
                        Ok(octets) => replayed.octets += octets,
                        Err(e) => replayed.failed.push((one.clone(), e)),
                    }
                }
            }
        }
        replayed.files += 1;
    }
    if !found.is_empty() && replayed.failed.is_empty() {
        let emptied = disk.sync().and_then(|()| found.iter().try_for_each(|(_, path)| empty(path)));
        replayed.left = emptied.err();
    }
    Ok(replayed)
}

/// Writes to segments what they lack of a redo file; how many octets that were.
fn restore(disk: &Disk, volume: &dyn Files, redo: &[u8], marked: &[ManifestPath]) -> io::Result<u64> {
    let mut octets = 0;
    let records = redo::records(redo).map_err(io::Error::other)?;
    for missing in redo::missing(records, marked, volume)? {
        write(&disk.path(missing.path), missing.offset, missing.bytes)?;
        octets += missing.bytes.len() as u64;
    }
    Ok(octets)
}

/// Redo files in which an earlier process left something, with their numbers.
fn earlier(disk: &Disk, run: u64, when: When) -> io::Result<Vec<(Option<Number>, PathBuf)>> {
    let mut found = Vec::new();
    for name in disk.list(redo::DIR)? {
        if name.len() != 2 || !name.bytes().all(|c| c.is_ascii_digit()) {
            continue;
        }
        let path = disk.path(&format!("{}/{name}", redo::DIR));
        let head = head(&path)?;
        let number = redo::number_of(&head).map_err(io::Error::other)?;
        let is_earlier = match number {
            Some(number) => number.run != run,
            None => !head.is_empty() && when == When::AtTheStart,
        };
        if is_earlier {
            found.push((number, path));
        }
    }
    Ok(found)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    before(Operation::RedoRead, path)?;
    let mut head = Vec::new();
    open(path)?.take(redo::HEAD_OCTETS as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    before(Operation::RedoRead, path)?;
    let mut bytes = Vec::new();
    open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
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
