//! What the pure side asks of the disk, and what it reads from it.
//!
//! Nothing in this crate opens a file. Writers return [`FileOp`]s, which the shell carries out in order;
//! readers are handed a [`Files`], which the shell implements over a directory and tests over memory
//! ([`crate::memory`]). All paths are relative to the repository, with `/` between their parts.

use std::io::{self, Read, Seek};
use std::sync::Arc;

use model::SegmentId;

use crate::digest::Digest;

/// One operation on the repository. Operations of one call are carried out in the order in which they were
/// returned; none of them is synced by itself (one `syncfs` a second covers all). Only [`Unmark`](Self::Unmark) waits for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileOp {
    /// Make the directory and those above it; that it exists is no failure.
    MakeDir {
        /// The directory.
        path: String,
    },
    /// Mark a segment as live, before anything else of it is there; that it is marked already is a failure. Where that
    /// is noted is the shell's: in [one file](crate::markers) for each volume.
    Mark {
        /// The [marker](crate::layout::marker_path).
        path: String,
        /// What it [says](crate::layout::marker_bytes).
        bytes: Vec<u8>,
    },
    /// Create a file of mode 0600 with these bytes; that it exists already is a failure.
    Create {
        /// The file.
        path: String,
        /// Its first bytes.
        bytes: Vec<u8>,
    },
    /// Add bytes at the end of a file that was created before. Ten a second for each segment, so its name is shared.
    Append {
        /// The file.
        path: Arc<str>,
        /// The bytes; the buffer is worth giving back (`SegmentWriter::recycle`).
        bytes: Vec<u8>,
    },
    /// Overwrite bytes inside a file; its length stays.
    Patch {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// With what.
        bytes: Vec<u8>,
    },
    /// Put a whole file in place atomically (another file, then rename), whether it exists or not.
    Replace {
        /// The file.
        path: String,
        /// All its bytes.
        bytes: Vec<u8>,
    },
    /// Add whole lines to a log in one write; the file is created when missing.
    AppendLine {
        /// The file.
        path: String,
        /// The lines, each with its line feed.
        bytes: Vec<u8>,
    },
    /// Cut a file to this length (repair only).
    Truncate {
        /// The file.
        path: String,
        /// The length that remains.
        bytes: u64,
    },
    /// Remove a file; that it is gone already is no failure.
    Remove {
        /// The file.
        path: String,
    },
    /// Give a file that is whole its own name, in the same directory; that something has that name already is a failure,
    /// and then nothing is changed.
    Settle {
        /// What it is called now.
        from: String,
        /// What it is to be called.
        path: String,
    },
    /// Remove a directory that nothing is in; that it is gone already is no failure, that something is in it is one.
    RemoveDir {
        /// The directory.
        path: String,
    },
    /// Remove a live marker, but not before all that was asked for before is durable: a machine that loses its
    /// power in between finds the segment by it, and looks whether it is whole. That it is gone already is no failure.
    Unmark {
        /// The marker.
        path: String,
    },
}

impl FileOp {
    /// The path that it works on.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::MakeDir { path }
            | Self::Mark { path, .. }
            | Self::Create { path, .. }
            | Self::Patch { path, .. }
            | Self::Replace { path, .. }
            | Self::AppendLine { path, .. }
            | Self::Truncate { path, .. }
            | Self::Remove { path }
            | Self::Settle { path, .. }
            | Self::RemoveDir { path }
            | Self::Unmark { path } => path,
            Self::Append { path, .. } => path,
        }
    }
}

/// What a file opens as.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A repository to read from.
pub trait Files {
    /// Opens a file for reading, at its beginning.
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>>;
    /// The names (not paths) of the files in a directory, in any order.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// The length of a file in octets.
    fn len(&self, path: &str) -> io::Result<u64>;
    /// Whether a segment may be marked as live. Who does not know says so: to take away a mark that is not there does
    /// nothing.
    fn may_be_marked(&self, segment: SegmentId) -> bool {
        self.len(&crate::layout::marker_path(segment)).is_ok()
    }
}

/// 64 MiB: four times a manifest of 32 streams with 4,096 gaps each. What is longer is not ours, and would
/// only fill memory.
const WHOLE_FILE_MAX: u64 = 64 << 20;

/// Reads a small file whole: a manifest, a log, a marker. None when there is no such file.
pub(crate) fn read_small(files: &dyn Files, path: &str) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match files.open(path) {
        Ok(file) => file.take(WHOLE_FILE_MAX + 1).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if bytes.len() as u64 > WHOLE_FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{path} is longer than 64 MiB")));
    }
    Ok(Some(bytes))
}

/// The names in a directory; none when there is no such directory.
pub(crate) fn list_or_nothing(files: &dyn Files, dir: &str) -> io::Result<Vec<String>> {
    match files.list(dir) {
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The digest of a file, read through once.
pub fn digest_of(files: &dyn Files, path: &str) -> io::Result<Digest> {
    crate::digest::of_reader(&mut *files.open(path)?)
}
