//! What a media thread holds: its segments, and what has yet to be told or written.

use std::collections::{BTreeMap, VecDeque};

use model::{EndReason, Incident, Mono, Report, SegmentId, WallTime};
use spool::FileOp;

use super::super::delay::Sampling;
use super::super::handshakes::Door;
use super::super::live::{Aside, LiveSegment, Which};
use super::super::ports::Sockets;
use super::super::seats::Seats;
use super::super::source::{Key, Source};
use super::super::tell::Teller;
use super::super::writer::Job;
use super::MediaOrder;

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
    pub(super) source: Source,
    /// Whose is what comes to ports that streams share.
    pub(super) seats: Seats,
    /// What came for segments whose storage failed.
    pub(super) aside: Aside,
    /// Whose waiting is measured.
    pub(super) sampling: Sampling,
    /// All that had come then has been taken.
    pub(super) emptied: Mono,
    /// When shared pairs of ports were closed last.
    pub(super) closed: Mono,
    /// What is carried out now.
    pub(super) orders: Vec<MediaOrder>,
    /// What this tick has for each volume's writer: it is woken once, not for each segment.
    pub(super) jobs: Vec<Vec<Job>>,
    /// What a segment has to write, until it is a job. Empty between.
    pub(super) ops: Vec<FileOp>,
    /// Buffers that came back from writers, for segments to fill: a segment keeps one, not one at the disk too.
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) rtcp: Vec<u8>,
    /// Who listens, as far as the segments here know of it; none: that is to be asked.
    pub(super) listeners: Option<u64>,
}

/// Emptied buffers are kept for one segment in eight: in a tick, one in twenty gives one away. What a stall of the writer
/// had made more would be 8 KiB a call for good.
const SEGMENTS_PER_SPARE: usize = 8;
/// 16, however few segments there are.
const SPARE_LEAST: usize = 16;

impl State {
    /// Keeps emptied buffers.
    pub(super) fn keep(&mut self, buffers: Vec<Vec<u8>>) {
        let most = (self.by_id.len() / SEGMENTS_PER_SPARE).max(SPARE_LEAST);
        let room = most.saturating_sub(self.spare.len());
        self.spare.extend(buffers.into_iter().take(room));
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

/// Packets of which it was told that they come.
#[derive(Default)]
pub(super) struct Foretold {
    keys: [Option<Key>; Self::DEEPER],
    next: usize,
}

impl Foretold {
    /// Packets after which what was fetched is there: what it points to is fetched then.
    const DEEPER: usize = 4;

    /// Has fetched what a packet with this key will ask for.
    #[inline]
    pub(super) fn fetch(&mut self, slots: &[Option<Box<LiveSegment>>], key: Key) {
        let live = |key: Key| slots.get(key.slot()).and_then(Option::as_deref);
        if let Some(live) = live(key) {
            live.fetch();
        }
        let place = self.keys.get_mut(self.next % Self::DEEPER);
        let before = place.and_then(|place| place.replace(key));
        self.next = self.next.wrapping_add(1);
        if let Some(before) = before
            && let Some(live) = live(before)
        {
            live.fetch_deeper(Some(before.stream()));
        }
    }
}

/// Has the source hand out what comes to these streams. A stream that cannot be heard is told of: its segment goes on with
/// the others.
pub(super) fn watch(
    (source, seats): (&mut Source, &mut Seats),
    teller: &Teller,
    (slot, live): (usize, &LiveSegment),
    streams: impl IntoIterator<Item = usize>,
) {
    for stream in streams {
        let own = Key::new(slot, stream, Which::Rtp);
        let (key, shares) = match live.seat(stream) {
            None => (own, 1),
            Some(seat) => (seats.sit(seat.at(), &seat.addresses(), own), seat.streams_max()),
        };
        for (which, socket) in live.sockets(stream) {
            if let Err(e) = source.watch(key.at(which), socket, shares) {
                let record = live.writer.record();
                let text =
                    format!("nothing is heard on a port that was opened: {e}; see the limits of the process");
                teller.alarm(&record.tenant, Incident::NotRecorded, Some(record.call), Some(live.id), text);
            }
        }
    }
}

/// Nothing comes to these any more. A shared pair is listened to as long as it is open: what is late is counted as nobody's.
pub(super) fn forget<'a>(
    (source, seats): (&mut Source, &mut Seats),
    gone: impl IntoIterator<Item = &'a Sockets>,
) {
    for sockets in gone {
        match &sockets.seat {
            Some(seat) => seats.leave(seat.at()),
            None => sockets.each().for_each(|(_, socket)| source.forget(socket)),
        }
    }
}

/// Whether a report of this thread is about the segment.
pub(super) fn concerns(report: &Report, segment: SegmentId) -> bool {
    match report {
        Report::Opened { segment: s, .. }
        | Report::Refused { segment: s, .. }
        | Report::Withdrawn { segment: s }
        | Report::CarriedOut { segment: s, .. }
        | Report::MediaTimedOut { segment: s }
        | Report::Failing { segment: s, .. } => *s == segment,
        Report::Ended { record } => record.id == segment,
    }
}
