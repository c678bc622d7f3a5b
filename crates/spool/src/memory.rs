//! A repository in memory, for tests and simulations: carries out operations, whole or cut in the middle.
//!
//! It behaves as a POSIX file system seen by one process does when that process is killed: what was written is
//! there, an append may be there in part, a rename is there or not.

mod cached;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};

use crate::op::{FileOp, Files, ReadSeek};
pub use cached::{CachedDisk, Mood, Sealed};

/// Files and directories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryDisk {
    files: BTreeMap<String, Vec<u8>>,
    dirs: BTreeSet<String>,
}

impl MemoryDisk {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out an operation as a disk would.
    pub fn apply(&mut self, op: &FileOp) -> io::Result<()> {
        self.apply_cut(op, usize::MAX)
    }

    /// Carries out operations until one fails.
    pub fn apply_all<'a>(&mut self, ops: impl IntoIterator<Item = &'a FileOp>) -> io::Result<()> {
        ops.into_iter().try_for_each(|op| self.apply(op))
    }

    /// Carries out an operation of which the process lives to write only the first `octets`. What is atomic
    /// does not happen then, unless `octets` cover it.
    pub fn apply_cut(&mut self, op: &FileOp, octets: usize) -> io::Result<()> {
        let cut = |bytes: &[u8]| bytes[..bytes.len().min(octets)].to_vec();
        match op {
            FileOp::MakeDir { path } => {
                let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
                self.dirs.extend(ends.map(|at| path[..at].to_owned()));
            }
            // A file of its own, as versions before had it: one that is cut in the middle is torn in either way.
            FileOp::Mark { path, bytes } => {
                if self.files.contains_key(path) {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.clone()));
                }
                self.files.insert(path.clone(), cut(bytes));
            }
            FileOp::Create { path, bytes } => {
                self.needs_dir(path)?;
                if self.files.contains_key(path) {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.clone()));
                }
                self.files.insert(path.clone(), cut(bytes));
            }
            FileOp::Append { path, bytes } => self.file(path)?.extend_from_slice(&cut(bytes)),
            FileOp::Patch { path, offset, bytes } => {
                let bytes = cut(bytes);
                let at = usize::try_from(*offset).map_err(io::Error::other)?;
                let place = self.file(path)?.get_mut(at..).and_then(|f| f.get_mut(..bytes.len()));
                place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&bytes);
            }
            FileOp::Replace { path, bytes } => {
                self.needs_dir(path)?;
                if octets >= bytes.len() {
                    self.files.insert(path.clone(), bytes.clone());
                }
            }
            FileOp::AppendLine { path, bytes } => {
                self.needs_dir(path)?;
                self.files.entry(path.clone()).or_default().extend_from_slice(&cut(bytes));
            }
            FileOp::Truncate { path, bytes } => {
                self.file(path)?.truncate(usize::try_from(*bytes).unwrap_or(usize::MAX));
            }
            FileOp::Remove { path } | FileOp::Unmark { path } => {
                self.files.remove(path);
            }
            FileOp::Settle { from, path } => {
                if self.files.contains_key(path) {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, path.clone()));
                }
                let bytes = self.files.remove(from).ok_or_else(|| missing(from))?;
                self.files.insert(path.clone(), bytes);
            }
            FileOp::RemoveDir { path } => {
                let inside = format!("{path}/");
                if self.files.keys().chain(&self.dirs).any(|p| p.starts_with(&inside)) {
                    return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, path.clone()));
                }
                self.dirs.remove(path);
            }
        }
        Ok(())
    }

    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// Puts a file there, whatever was.
    pub fn put(&mut self, path: &str, bytes: Vec<u8>) {
        if let Some((dir, _)) = path.rsplit_once('/') {
            let _ = self.apply(&FileOp::MakeDir { path: dir.to_owned() });
        }
        self.files.insert(path.to_owned(), bytes);
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn file(&mut self, path: &str) -> io::Result<&mut Vec<u8>> {
        self.files.get_mut(path).ok_or_else(|| missing(path))
    }

    fn needs_dir(&self, path: &str) -> io::Result<()> {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        if dir.is_empty() || self.dirs.contains(dir) { Ok(()) } else { Err(missing(dir)) }
    }
}

impl Files for MemoryDisk {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let bytes = self.files.get(path).ok_or_else(|| missing(path))?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        if !self.dirs.contains(dir) {
            return Err(missing(dir));
        }
        let names = self.files.keys().filter_map(|p| p.strip_prefix(dir)?.strip_prefix('/'));
        Ok(names.filter(|n| !n.contains('/')).map(ToOwned::to_owned).collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.files.get(path).map(|b| b.len() as u64).ok_or_else(|| missing(path))
    }
}

fn missing(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.to_owned())
}
