//! File descriptors: how many there are, and what a segment takes of them.
//!
//! Recorders that run out of them lose calls silently; this one counts before it takes a call. Every port is a
//! descriptor, and every file that is being written.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the process needs beside segments and SIP connections: logs, the catalogue, the page and its listeners.
pub(crate) const BESIDE_SEGMENTS: u64 = 200;
/// Streams of the usual call: one for each side.
pub(crate) const USUAL_STREAMS: usize = 2;

/// What a segment takes: two sockets a stream, a part and a sidecar.
#[must_use]
pub(crate) const fn of_segment(streams: usize) -> u64 {
    of_streams(streams) + 2
}

/// What so many streams take: each two sockets.
#[must_use]
pub(crate) const fn of_streams(streams: usize) -> u64 {
    2 * streams as u64
}

/// A shell gives 1,024 by habit; the hard limit is ours to take. Gives what there are.
pub(crate) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1_024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}
