//! What a media thread holds: its segments, and what has yet to be told or written. Which socket of which segment has
//! something, epoll says by the number that it was given.

use std::collections::{BTreeMap, VecDeque};

use model::{EndReason, Mono, Now, Report, SegmentId, WallTime};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::super::handshakes::Door;
use super::super::ingest::{Batch, Left};
use super::super::live::{LiveSegment, Which};
use super::super::writer::Job;

/// How a segment is to end.
pub(super) struct End {
    pub(super) at: WallTime,
    pub(super) reason: EndReason,
    /// Who ordered it.
    pub(super) by: Option<String>,
}

pub(super) struct State {
    pub(super) slots: Vec<Option<Box<LiveSegment>>>,
    pub(super) free: Vec<usize>,
    pub(super) by_id: BTreeMap<SegmentId, usize>,
    /// Ends of segments that are not here yet, and since when.
    pub(super) early_ends: BTreeMap<SegmentId, (Mono, End)>,
    /// Ends of segments whose reports could not be sent yet: the last report of a segment is that it ended.
    pub(super) late_ends: Vec<(SegmentId, End)>,
    pub(super) unsent: VecDeque<Report>,
    /// Sockets that flooded: what is left on them is read at the next tick, as epoll tells only of news.
    pub(super) unread: Vec<u64>,
    /// What this tick has for each volume's writer: it is woken once, not for each segment.
    pub(super) jobs: Vec<Vec<Job>>,
    pub(super) batch: Batch,
    pub(super) rtcp: Vec<u8>,
    /// Who listens, as far as the segments here know of it; none: that is to be asked.
    pub(super) listeners: Option<u64>,
}

impl State {
    pub(super) fn push_job(&mut self, volume: usize, job: Job) {
        if let Some(jobs) = self.jobs.get_mut(volume) {
            jobs.push(job);
        }
    }

    /// Reads the socket that epoll named; how many datagrams came.
    pub(super) fn read(&mut self, socket: u64, now: Now) -> u64 {
        let (slot, stream, which) = unpack(socket);
        let Some(Some(live)) = self.slots.get_mut(slot) else { return 0 };
        let (count, left) = live.read(stream, which, &mut self.batch, now);
        if left == Left::Something {
            self.unread.push(socket);
        }
        count
    }

    pub(super) fn live(&mut self, segment: SegmentId) -> Option<&mut LiveSegment> {
        let slot = *self.by_id.get(&segment)?;
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// The segment, or the one that has this door by now: it took over from it.
    pub(super) fn live_at(&mut self, segment: SegmentId, door: Door) -> Option<&mut LiveSegment> {
        let slot = match self.by_id.get(&segment) {
            Some(slot) => *slot,
            None => self.slots.iter().position(|live| live.as_ref().is_some_and(|l| l.has(door)))?,
        };
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    pub(super) fn remove(&mut self, segment: SegmentId) -> Option<Box<LiveSegment>> {
        let slot = self.by_id.remove(&segment)?;
        self.free.push(slot);
        self.slots.get_mut(slot)?.take()
    }
}

/// Has epoll watch the sockets of these streams. Edge-triggered: each datagram is told once, and
/// no socket is asked a second time whether it is empty now. A socket that is watched already is told of again.
pub(super) fn watch(
    epoll: &Epoll,
    slot: usize,
    live: &LiveSegment,
    streams: impl IntoIterator<Item = usize>,
) {
    let sockets = |stream| live.sockets(stream).map(move |(which, fd)| (stream, which, fd));
    for (stream, which, fd) in streams.into_iter().flat_map(sockets) {
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, pack(slot, stream, which));
        let watched = match epoll.add(fd, event) {
            Err(Errno::EEXIST) => epoll.modify(fd, &mut event),
            added => added,
        };
        if let Err(e) = watched {
            tracing::error!(segment = %live.id, remote = ?live.remote(), "a port cannot be watched: {e}");
        }
    }
}

/// Whether a report of this thread is about the segment.
pub(super) fn concerns(report: &Report, segment: SegmentId) -> bool {
    match report {
        Report::Opened { segment: s, .. }
        | Report::Refused { segment: s, .. }
        | Report::CarriedOut { segment: s, .. }
        | Report::MediaTimedOut { segment: s }
        | Report::Failing { segment: s, .. } => *s == segment,
        Report::Ended { record } => record.id == segment,
    }
}

/// Slot, stream and socket in the 64 bits that epoll gives back.
fn pack(slot: usize, stream: usize, which: Which) -> u64 {
    (slot as u64) << 16 | (stream as u64 & 0x7fff) << 1 | u64::from(which == Which::Rtcp)
}

fn unpack(data: u64) -> (usize, usize, Which) {
    let slot = usize::try_from(data >> 16).unwrap_or(usize::MAX);
    let stream = usize::try_from((data >> 1) & 0x7fff).unwrap_or(usize::MAX);
    (slot, stream, if data & 1 == 1 { Which::Rtcp } else { Which::Rtp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_epoll_carries_comes_back() {
        for (slot, stream, which) in [(0, 0, Which::Rtp), (70_000, 15, Which::Rtcp), (1, 32_767, Which::Rtp)]
        {
            assert_eq!(unpack(pack(slot, stream, which)), (slot, stream, which));
        }
    }
}
