//! Joins that are not in both logs yet, as files of the data directory.
//!
//! ```text
//!  <data_dir>/joins/<into>-<from>.json   the join (`model::Join`)
//! ```
//!
//! A file is written before the first of the two lines, and goes when both are on disk. So a start knows what a crash or
//! a disk that was away has left to do, which the logs alone do not tell when both calls are concluded: nobody looks
//! into the logs of those. A reindex that finds a join in one log only leaves such a file too.

use std::io;
use std::path::Path;

use faults::{Operation, before};
use model::Join;
use spool::FileOp;

use crate::recorder::Disk;

/// Below the data directory.
const DIRECTORY: &str = "joins";
/// Files that are read at a start: as many joins as can wait for a disk, four times over. What is beyond waits for
/// another start.
const READ_MAX: usize = 65_536;

/// Joins that are not in both logs yet. Blocks on the disk of the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Pending(Disk);

impl Pending {
    /// Those of a node. Touches nothing.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self(Disk::new(data_dir))
    }

    /// Notes one, durably.
    pub(crate) fn note(&self, join: &Join) -> io::Result<()> {
        let (path, bytes) = (path_of(join), serde_json::to_vec(join)?);
        let directory = FileOp::MakeDir { path: DIRECTORY.to_owned() };
        self.0.apply_all(vec![directory, FileOp::Replace { path: path.clone(), bytes }])?;
        self.0.make_durable(&path)
    }

    /// It is in both logs.
    pub(crate) fn done(&self, join: &Join) -> io::Result<()> {
        self.0.apply_all(vec![FileOp::Remove { path: path_of(join) }])
    }

    /// All of them. One that cannot be read was being written when callspool ended: then no log says it yet, and it goes.
    pub(crate) fn all(&self) -> io::Result<Vec<Join>> {
        let mut all = Vec::new();
        // What is called otherwise is being written.
        let names = self.0.list(DIRECTORY)?.into_iter().filter(|name| name.ends_with(".json"));
        for name in names.take(READ_MAX) {
            let path = format!("{DIRECTORY}/{name}");
            match self.read(&path) {
                Ok(Some(join)) => all.push(join),
                Ok(None) => self.0.apply_all(vec![FileOp::Remove { path }])?,
                // It is done meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        all.sort_by_key(|join| (join.at, join.from.call));
        Ok(all)
    }

    fn read(&self, path: &str) -> io::Result<Option<Join>> {
        let file = self.0.path(path);
        before(Operation::Read, &file)?;
        let join: Option<Join> = serde_json::from_slice(&std::fs::read(file)?).ok();
        Ok(join.filter(|join| join.is_sound() && path_of(join) == path))
    }
}

fn path_of(join: &Join) -> String {
    format!("{DIRECTORY}/{}-{}.json", join.into.call, join.from.call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whole::tests::two;

    #[test]
    fn what_is_noted_is_there_until_it_is_done() {
        let (directory, join) = (tempfile::tempdir().unwrap(), two().join);
        let pending = Pending::new(directory.path());
        assert_eq!(pending.all().unwrap(), []);
        for _ in 0..2 {
            pending.note(&join).unwrap();
            assert_eq!(pending.all().unwrap(), std::slice::from_ref(&join));
        }
        // One that a crash cut.
        let torn = directory.path().join("joins/000000000000a-000000000000b.json");
        std::fs::write(&torn, b"{\"into").unwrap();
        assert_eq!(pending.all().unwrap(), std::slice::from_ref(&join));
        assert!(!torn.exists());
        pending.done(&join).unwrap();
        assert_eq!(pending.all().unwrap(), []);
        pending.done(&join).unwrap();
    }
}
