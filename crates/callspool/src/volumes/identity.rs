//! What makes a directory the volume that it is taken for: a file in it that names it.
//!
//! ```text
//! <volume>/.callspool-volume       {"format":"callspool-volume","version":1,"id":"5f0c…","name":"disk2"}
//! <data_dir>/volumes.json          {"disk2":{"id":"5f0c…","path":"/mnt/disk2"}, …}
//! ```
//!
//! A mount point whose disk is not mounted is an empty directory on another disk. It has no such file, and the
//! second file remembers that there was one: nothing is ever written there then. A directory that was never
//! seen before gets its file when it is first used.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use faults::{Operation, Share, before};
use model::VolumeName;
use serde::{Deserialize, Serialize};

/// The file that names a volume.
pub(crate) const FILE_NAME: &str = ".callspool-volume";
/// What remembers the volumes of this node, in its data directory.
const MEMORY_NAME: &str = "volumes.json";
const FORMAT: &str = "callspool-volume";
const VERSION: u32 = 1;
/// 64 KiB: some hundred times what is in either file.
const FILE_MAX: u64 = 64 << 10;

/// 64 random bits in hexadecimal: no two volumes share them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct VolumeId(String);

impl VolumeId {
    fn draw() -> io::Result<Self> {
        let mut bits = [0; 8];
        getrandom::fill(&mut bits).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(Self(format!("{:016x}", u64::from_le_bytes(bits))))
    }
}

#[derive(Serialize, Deserialize)]
struct Identity {
    format: String,
    version: u32,
    id: VolumeId,
    name: VolumeName,
}

/// What is remembered of a volume.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) id: VolumeId,
    pub(crate) path: PathBuf,
}

/// The volumes that this node has used.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    /// One change at a time: volumes are looked for side by side.
    changing: Arc<Mutex<()>>,
}

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotHere {
    /// It does not have the file that it had: nothing is mounted there, most likely.
    #[error("nothing says that {0} is this volume: is its disk mounted?")]
    Missing(PathBuf),
    /// Another volume is in its place.
    #[error("{0} is another volume than before")]
    Other(PathBuf),
    /// It cannot be reached, read or written.
    #[error("{0}: {1}")]
    Unreachable(PathBuf, #[source] io::Error),
}

impl Memory {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join(MEMORY_NAME), changing: Arc::default() }
    }

    /// All that is remembered; nothing when there is no such file.
    pub(crate) fn read(&self) -> io::Result<BTreeMap<VolumeName, Remembered>> {
        before(Operation::Memory, &self.path)?;
        match read_file(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(e),
        }
    }

    /// Remembers a volume, or where it is now.
    pub(crate) fn remember(&self, name: &VolumeName, volume: Remembered) -> io::Result<()> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read()?;
        if all.get(name) == Some(&volume) {
            return Ok(());
        }
        all.insert(name.clone(), volume);
        self.write(&all)
    }

    /// Forgets a volume: whatever is in its place is taken for it then. Whether it was known.
    pub(crate) fn forget(&self, name: &VolumeName) -> io::Result<bool> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read()?;
        let was_known = all.remove(name).is_some();
        if was_known {
            self.write(&all)?;
        }
        Ok(was_known)
    }

    fn write(&self, all: &BTreeMap<VolumeName, Remembered>) -> io::Result<()> {
        let text = serde_json::to_string_pretty(all).map_err(io::Error::other)?;
        let share = before(Operation::MemoryWrite, &self.path)?;
        write_beside(&self.path, format!("{text}\n").as_bytes(), share)
    }
}

/// Finds out whether the volume is where it should be, and makes it there when it was never anywhere.
/// `data_dir`: what lies within it and was removed is made again, because no other disk can be meant.
pub(crate) fn identify(
    name: &VolumeName,
    root: &Path,
    memory: &Memory,
    data_dir: &Path,
) -> Result<VolumeId, NotHere> {
    let unreachable = |e| NotHere::Unreachable(root.to_owned(), e);
    let known = memory.read().map_err(|e| NotHere::Unreachable(memory.path.clone(), e))?;
    let known = known.get(name).map(|r| r.id.clone());
    let id = match (read(root).map_err(unreachable)?, known) {
        (Some(found), Some(known)) if found != known => return Err(NotHere::Other(root.to_owned())),
        (Some(found), _) => found,
        (None, Some(known)) if root.starts_with(data_dir) && is_absent(root) => {
            found_volume(name, root, known).map_err(unreachable)?
        }
        (None, Some(_)) => return Err(NotHere::Missing(root.to_owned())),
        (None, None) => VolumeId::draw().and_then(|id| found_volume(name, root, id)).map_err(unreachable)?,
    };
    let remembered = Remembered { id: id.clone(), path: root.to_owned() };
    memory.remember(name, remembered).map_err(|e| NotHere::Unreachable(memory.path.clone(), e))?;
    Ok(id)
}

/// The id of the volume in a directory; none when nothing there says.
pub(crate) fn read(root: &Path) -> io::Result<Option<VolumeId>> {
    before(Operation::Identity, root)?;
    match read_file(&root.join(FILE_NAME)) {
        Ok(bytes) => match serde_json::from_slice::<Identity>(&bytes) {
            Ok(identity) if identity.format == FORMAT => Ok(Some(identity.id)),
            Ok(_) => Err(io::Error::other(format!("{FILE_NAME} is of something else"))),
            Err(e) => Err(io::Error::other(format!("{FILE_NAME} cannot be read: {e}"))),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn found_volume(name: &VolumeName, root: &Path, id: VolumeId) -> io::Result<VolumeId> {
    let path = root.join(FILE_NAME);
    let share = before(Operation::IdentityWrite, &path)?;
    super::make_private_dir(root)?;
    let identity =
        Identity { format: FORMAT.to_owned(), version: VERSION, id: id.clone(), name: name.clone() };
    let text = serde_json::to_string(&identity).map_err(io::Error::other)?;
    write_beside(&path, format!("{text}\n").as_bytes(), share)?;
    Ok(id)
}

fn is_absent(root: &Path) -> bool {
    matches!(std::fs::symlink_metadata(root), Err(e) if e.kind() == io::ErrorKind::NotFound)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whoever reads it finds the old file or the new one, also after a loss of power.
fn write_beside(path: &Path, bytes: &[u8], share: Share) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    share.write(bytes, |bytes| file.write_all(bytes))?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> VolumeName {
        "disk2".parse().unwrap()
    }

    #[test]
    fn an_empty_directory_in_a_volumes_place_is_never_taken_for_it() {
        let (data, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (memory, root) = (Memory::new(data.path()), disks.path().join("disk2"));
        let look = || identify(&name(), &root, &memory, data.path());
        let id = look().unwrap();
        assert_eq!(look().unwrap(), id);
        let mounted = disks.path().join("mounted");
        std::fs::rename(&root, &mounted).unwrap();
        assert!(matches!(look(), Err(NotHere::Missing(_))), "its place is gone");
        std::fs::create_dir(&root).unwrap();
        assert!(matches!(look(), Err(NotHere::Missing(_))), "its place is empty");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "something was written there");
        std::fs::remove_dir(&root).unwrap();
        std::fs::rename(&mounted, &root).unwrap();
        assert_eq!(look().unwrap(), id, "it came back");
    }

    #[test]
    fn another_disk_is_another_volume_until_it_is_accepted() {
        let (data, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (memory, root) = (Memory::new(data.path()), disks.path().join("disk2"));
        let look = || identify(&name(), &root, &memory, data.path());
        let id = look().unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        found_volume(&name(), &root, VolumeId::draw().unwrap()).unwrap();
        assert!(matches!(look(), Err(NotHere::Other(_))));
        assert!(memory.forget(&name()).unwrap());
        assert_ne!(look().unwrap(), id);
    }

    #[test]
    fn what_lies_in_the_data_directory_is_made_again() {
        let data = tempfile::tempdir().unwrap();
        let (memory, root) = (Memory::new(data.path()), data.path().join("repository"));
        let look = || identify(&VolumeName::default(), &root, &memory, data.path());
        let id = look().unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(look().unwrap(), id);
    }

    #[test]
    fn a_spoiled_identity_is_not_overwritten() {
        let data = tempfile::tempdir().unwrap();
        let root = data.path().join("disk2");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join(FILE_NAME), "spoiled").unwrap();
        let looked = identify(&name(), &root, &Memory::new(data.path()), data.path());
        assert!(matches!(looked, Err(NotHere::Unreachable(..))), "{looked:?}");
        assert_eq!(std::fs::read(root.join(FILE_NAME)).unwrap(), b"spoiled");
    }
}
