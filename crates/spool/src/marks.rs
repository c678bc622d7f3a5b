//! Where one may begin to read a long part: its clusters have no length, so whoever would walk to its last minute reads
//! all of it.
//!
//! Marks are made when nothing is added any more, by whoever reads the part for its digest, and stand in the manifest. A part without them is
//! read from its beginning.

use std::io::{self, BufReader};

use model::segment::PartMark;

use crate::mka;
use crate::op::Files;

/// 8 MiB, nine minutes of two sides of G.711: what is shorter is read from its beginning as fast as anybody asks.
pub(crate) const MARKED_OCTETS: u64 = 8 << 20;
/// 64 KiB at once.
const READ_OCTETS: usize = 64 << 10;

/// The marks of a part of so many octets, or of what is no part: none.
///
/// # Errors
/// When the file cannot be read.
pub fn marks_of(files: &dyn Files, path: &str, octets: u64) -> io::Result<Vec<PartMark>> {
    if !path.ends_with(".mka") || octets < MARKED_OCTETS {
        return Ok(Vec::new());
    }
    Ok(mka::scan(BufReader::with_capacity(READ_OCTETS, files.open(path)?))?.marks)
}
