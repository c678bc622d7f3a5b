//! Carries out what the machine asks of a volume. It blocks, and what fails is said, never tried again here.

use std::io::{self, Read, SeekFrom};

use spool::gathering::{Got, Local};
use spool::{FileOp, Files, digest_of};

use crate::recorder::Disk;
use crate::repository::Repository;
use crate::volumes::Volume;

/// A volume, to write to and to read from alone.
pub(super) struct Hand {
    pub(super) volume: std::sync::Arc<Volume>,
    pub(super) disk: Disk,
    pub(super) repository: Repository,
}

impl Hand {
    /// What came of it, or why not, in words.
    pub(super) fn carry_out(&self, local: Local) -> Result<Got, String> {
        let name = &self.volume.name;
        // What looks like an empty volume then is the place of one.
        if self.volume.is_lost() || !self.volume.is_in_its_place().is_ok_and(|is| is) {
            return Err(format!("volume {name} is away"));
        }
        if is_large(&local) && self.volume.is_filling() {
            return Err(format!("recordings need all of volume {name}"));
        }
        self.on_disk(local).map_err(|e| e.to_string())
    }

    fn on_disk(&self, local: Local) -> io::Result<Got> {
        match local {
            Local::Look(directory) => self.names(&directory).map(Got::Names),
            Local::Read { path, offset, length } => self.read(&path, offset, length),
            Local::Digest(path) => digest_of(&self.repository, &path).map(Got::Digest),
            Local::File(op) => self.disk.apply_all(vec![op]).map(|()| Got::Done),
            Local::Sync => self.disk.settle().map(|()| Got::Done).map_err(io::Error::other),
        }
    }

    fn names(&self, directory: &str) -> io::Result<Vec<(String, u64)>> {
        let mut all = Vec::new();
        for name in self.disk.list(directory)? {
            match self.repository.len(&format!("{directory}/{name}")) {
                Ok(octets) => all.push((name, octets)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    fn read(&self, path: &str, offset: u64, length: u32) -> io::Result<Got> {
        let mut file = match self.repository.open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Got::Octets { octets: Vec::new(), is_end: true });
            }
            file => file?,
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut octets = Vec::new();
        // One more shows whether the file ends there.
        file.take(u64::from(length) + 1).read_to_end(&mut octets)?;
        let is_end = octets.len() as u64 <= u64::from(length);
        octets.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Got::Octets { octets, is_end })
    }
}

/// What reads or writes media, which recordings may need the disk for.
fn is_large(local: &Local) -> bool {
    matches!(local, Local::Read { .. } | Local::Digest(_) | Local::File(FileOp::Append { .. }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::volumes::identity::Memory;
    use crate::volumes::{VolumeSpec, Volumes};

    fn hand(directory: &tempfile::TempDir) -> Hand {
        let (name, path) = (model::VolumeName::default(), directory.path().join("volume"));
        let volumes = Volumes::new(vec![VolumeSpec { name, path, weight: 1, min_free: 0 }], 1 << 20);
        let memory = Memory::new(directory.path());
        let arrived = volumes.arrive(&memory, directory.path(), Duration::from_secs(20));
        assert!(arrived.values().all(Result::is_ok), "{arrived:?}");
        let volume = Arc::clone(volumes.iter().next().unwrap());
        Hand { disk: Disk::new(&volume.root), repository: volumes.repository(), volume }
    }

    #[test]
    fn what_is_asked_is_done_and_what_is_not_there_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let hand = hand(&directory);
        let path = "t/2026-11-28/06bqx3m8r0400/001-1.mka".to_owned();
        let within = "t/2026-11-28/06bqx3m8r0400".to_owned();
        let read = |offset, length| hand.carry_out(Local::Read { path: path.clone(), offset, length });
        let octets = |text: &str, is_end| Ok(Got::Octets { octets: text.as_bytes().to_vec(), is_end });
        assert_eq!(read(0, 5), octets("", true));
        assert_eq!(hand.carry_out(Local::Look(within.clone())), Ok(Got::Names(Vec::new())));
        let file = |op| hand.carry_out(Local::File(op));
        assert_eq!(file(FileOp::MakeDir { path: within.clone() }), Ok(Got::Done));
        assert_eq!(file(FileOp::Create { path: path.clone(), bytes: Vec::new() }), Ok(Got::Done));
        let append = FileOp::Append { path: path.as_str().into(), bytes: b"media".to_vec() };
        assert_eq!(file(append), Ok(Got::Done));
        assert_eq!(hand.carry_out(Local::Look(within)), Ok(Got::Names(vec![("001-1.mka".to_owned(), 5)])));
        assert_eq!(
            (read(0, 4), read(0, 5), read(3, 9)),
            (octets("medi", false), octets("media", true), octets("ia", true))
        );
        assert_eq!(read(7, 1), octets("", true));
        assert!(matches!(hand.carry_out(Local::Digest(path.clone())), Ok(Got::Digest(d)) if d.bytes == 5));
        assert_eq!(hand.carry_out(Local::Sync), Ok(Got::Done));
        hand.volume.depart("pulled".to_owned());
        assert!(read(0, 1).unwrap_err().contains("away"));
    }

    #[test]
    fn media_are_not_moved_while_recordings_wait_for_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let hand = hand(&directory);
        hand.volume.backlog.store(1 << 20, std::sync::atomic::Ordering::Relaxed);
        let path = "t/2026-11-28/06bqx3m8r0400/001-1.mka".to_owned();
        let refused = hand.carry_out(Local::Digest(path)).unwrap_err();
        assert!(refused.contains("recordings need"), "{refused}");
        assert_eq!(hand.carry_out(Local::Sync), Ok(Got::Done));
    }
}
