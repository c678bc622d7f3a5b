//! What tests of gathering do to a node's disk beside what a node does.

use std::io::Read;

pub(super) use crate::memory::{CachedDisk as Disk, Mood, Sealed};
use crate::op::Files;

/// Room for all that is gathered here.
pub(super) const CAPACITY: u64 = 1 << 30;

/// A bit of a file turns.
pub(super) fn rot(disk: &mut Disk, path: &str) {
    let mut bytes = Vec::new();
    disk.now.open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk.now.put(path, bytes);
    disk.durable = disk.now.clone();
}
