//! File descriptors: how many there are, and what a segment takes of them.
//!
//! Recorders that run out of them lose calls silently; this one counts before it takes a call. Every port is a
//! descriptor, and every file that is being written.

use std::io;

use model::OpenStream;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::http;

/// What the process needs beside segments and SIP connections: every connection to the page, and 200 for logs, the
/// catalogue, who listens and who reads.
pub(crate) const BESIDE_SEGMENTS: u64 = 200 + http::CONNECTIONS_MAX as u64;
/// SIP connections may take a quarter of what is left at most: calls matter more, and most share a connection. With
/// 20,000 descriptors, a common limit, that is still all that are wanted by default.
const CONNECTIONS_PART: u64 = 4;
/// Streams of the usual call: one for each side.
const USUAL_STREAMS: u64 = 2;

/// What a segment takes beside the ports of its streams: the part that is being written.
pub(crate) const OF_PART: u64 = 1;
/// What it takes while it has a second file to write to, its sidecar. Few have one, so it is not taken before.
pub(crate) const OF_SIDECAR: u64 = 1;
/// What the ports of a stream take, where RTCP has its own.
const OF_PORTS: u64 = 2;
/// What the usual call takes at most.
pub(crate) const OF_CALL: u64 = USUAL_STREAMS * OF_PORTS + OF_PART + OF_SIDECAR;

/// What the ports of these streams take: one each where RTCP shares it (RFC 5761), or two.
#[must_use]
pub(crate) fn of_ports<'a>(streams: impl IntoIterator<Item = &'a OpenStream>) -> u64 {
    streams.into_iter().map(|s| if s.rtcp_mux { 1 } else { OF_PORTS }).sum()
}

/// What so many usual calls take at most whose streams all share ports, so many on each pair.
#[must_use]
pub(crate) const fn of_sharing(calls: u64, per_port: usize) -> u64 {
    let pairs = calls.saturating_mul(USUAL_STREAMS).div_ceil(per_port as u64);
    calls.saturating_mul(OF_PART + OF_SIDECAR).saturating_add(pairs * OF_PORTS)
}

/// What is told when there are not enough.
pub(crate) const RUN_OUT: &str = "descriptors run out; raise LimitNOFILE (ulimit -Hn)";

/// Whether an operation failed because there was no descriptor, here or on the whole machine.
#[must_use]
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

/// How the descriptors of the process are divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    /// Connections for SIP: as many as are wanted, unless little is allowed.
    pub(crate) connections: usize,
    /// What segments may take together.
    pub(crate) segments: u64,
}

/// Divides so many descriptors; `connections` are wanted for SIP.
#[must_use]
pub(crate) fn divide(limit: u64, connections: usize) -> Shares {
    let left = limit.saturating_sub(BESIDE_SEGMENTS);
    let connections = usize::try_from(left / CONNECTIONS_PART).unwrap_or(usize::MAX).min(connections);
    Shares { connections, segments: left.saturating_sub(connections as u64) }
}

/// A shell gives 1,024 by habit; the hard limit is ours to take. Gives what there are.
pub(crate) fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1_024 };
    if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// 65,536, what the unit allows: half a MiB of the kernel's memory, which is taken at once.
const ROOM_MAX: u64 = 65_536;

/// Has the kernel make room for so many descriptors now, or for [`ROOM_MAX`]. It doubles its table each time that is full;
/// whoever opens something meanwhile, of all threads, waits until every processor has noticed. While the process
/// has one thread, nobody waits.
pub(crate) fn make_room(descriptors: u64) {
    let highest = i32::try_from(descriptors.min(ROOM_MAX).saturating_sub(1)).unwrap_or(0);
    // A copy of any that is there, with the highest number, for a moment. Failing is no harm: the table grows when it must.
    let _ = rustix::io::fcntl_dupfd_cloexec(io::stderr(), highest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_before_it_is_needed() {
        let (wanted, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        make_room(wanted);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size =
            status.lines().find_map(|l| l.strip_prefix("FDSize:")?.trim().parse::<u64>().ok()).unwrap();
        assert!(size >= wanted.min(ROOM_MAX), "{size} of {wanted}");
    }

    #[test]
    fn connections_get_what_is_wanted_unless_little_is_allowed() {
        let shares = |limit, wanted| {
            let Shares { connections, segments } = divide(limit, wanted);
            (connections, segments)
        };
        assert_eq!(shares(BESIDE_SEGMENTS + 64_000, 4_096), (4_096, 59_904));
        assert_eq!(shares(BESIDE_SEGMENTS + 1_000, 4_096), (250, 750));
        assert_eq!(shares(BESIDE_SEGMENTS + 1_000, 10), (10, 990));
        assert_eq!(shares(BESIDE_SEGMENTS, 4_096), (0, 0));
        assert_eq!(shares(10, 4_096), (0, 0));
    }
}
