//! A stream as the segment writer sees it: its codec now, where its packets come to, what had to be dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use model::stream::{Accounting, CodecUse};
use model::{Codec, Gap, GapReason, OpenStream, Protection, Side, StreamId, StreamRecord};

use crate::codec::TrackCodec;

/// 64 stretches of dropped packets per stream: each is a storage stall of its own; more are merged into the
/// last one.
const DROPPED_SPANS_MAX: usize = 64;
/// 1 s: stretches nearer than that are one stall.
const SAME_STALL_US: i64 = 1_000_000;
/// The model's limit of listed gaps.
const GAPS_MAX: usize = 4_096;

/// Where a frame waits for the disk.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    /// In the part's buffer.
    Part = 0,
    /// In the sidecar's.
    Sidecar = 1,
}

/// Frames that wait in a buffer: what is lost if it is dropped.
#[derive(Clone, Copy, Default)]
struct Waiting {
    packets: u64,
    from_us: i64,
    until_us: i64,
}

/// A stream of the segment: first what each frame asks for.
#[repr(C)]
pub(super) struct StreamState {
    pub(super) id: StreamId,
    /// The codec of its last frame of media, and how a part holds it, if it can.
    seen: Option<(Arc<Codec>, Option<TrackCodec>)>,
    /// By destination: part, sidecar.
    waiting: [Waiting; 2],
    /// Its packets wait for keys: they come later, so that nothing fills their place before.
    pub(super) is_awaited: bool,
    /// Whether the last order listed it.
    pub(super) present: bool,
    pub(super) side: Side,
    /// Where its packets come to.
    pub(super) local: SocketAddr,
    /// The last codec that a part can hold, or the first such of SDP.
    pub(super) codec: Option<(TrackCodec, Codec)>,
    dropped: u64,
    spans: Vec<Gap>,
}

impl StreamState {
    pub(super) fn new(open: &OpenStream) -> Self {
        Self {
            id: open.stream,
            seen: None,
            side: open.side,
            present: true,
            is_awaited: open.protection == Protection::Awaited,
            local: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            codec: first_storable(&open.codecs),
            waiting: [Waiting::default(); 2],
            dropped: 0,
            spans: Vec::new(),
        }
    }

    /// What SDP says now: the codec stays when it is still offered.
    pub(super) fn update(&mut self, open: &OpenStream) {
        self.present = true;
        self.is_awaited = open.protection == Protection::Awaited;
        self.side = open.side;
        self.seen = None;
        let current = self.codec.as_ref().map(|(c, _)| *c);
        if !open.codecs.iter().any(|(_, c)| TrackCodec::of(c) == current) || current.is_none() {
            self.codec = first_storable(&open.codecs);
        }
    }

    /// How a part holds the codec of a frame of media, if it can. Told by names, so they are looked at once.
    #[inline]
    pub(super) fn track_codec(&mut self, codec: &Arc<Codec>) -> Option<TrackCodec> {
        match &self.seen {
            Some((seen, track)) if Arc::ptr_eq(seen, codec) => *track,
            _ => self.see(codec),
        }
    }

    #[cold]
    fn see(&mut self, codec: &Arc<Codec>) -> Option<TrackCodec> {
        let track = TrackCodec::of(codec);
        self.seen = Some((Arc::clone(codec), track));
        if let Some(track) = track.filter(|t| self.codec.as_ref().is_none_or(|(c, _)| c != t)) {
            self.codec = Some((track, Codec::clone(codec)));
        }
        track
    }

    /// A frame went into a buffer.
    pub(super) fn waits(&mut self, buffer: Buffer, from_us: i64, duration_us: i64) {
        let until_us = from_us.saturating_add(duration_us);
        let waiting = &mut self.waiting[buffer as usize];
        if waiting.packets == 0 {
            *waiting = Waiting { packets: 1, from_us, until_us };
        } else {
            waiting.packets += 1;
            waiting.from_us = waiting.from_us.min(from_us);
            waiting.until_us = waiting.until_us.max(until_us);
        }
    }

    /// All that waited in a buffer is on its way to the disk.
    pub(super) fn flushed(&mut self, buffer: Buffer) {
        self.waiting[buffer as usize] = Waiting::default();
    }

    /// All that waited is lost. How many packets that is.
    pub(super) fn lose_waiting(&mut self) -> u64 {
        let lost = std::mem::take(&mut self.waiting);
        for w in lost.iter().filter(|w| w.packets > 0) {
            self.lost(w.packets, w.from_us, w.until_us);
        }
        lost.iter().map(|w| w.packets).sum()
    }

    /// Packets that never reached the buffer.
    pub(super) fn lost(&mut self, packets: u64, from_us: i64, until_us: i64) {
        self.dropped += packets;
        let packets = u32::try_from(packets).unwrap_or(u32::MAX);
        let full = self.spans.len() >= DROPPED_SPANS_MAX;
        match self.spans.last_mut() {
            Some(last) if full || from_us.saturating_sub(last.until_us) < SAME_STALL_US => {
                last.from_us = last.from_us.min(from_us);
                last.until_us = last.until_us.max(until_us);
                last.packets = last.packets.saturating_add(packets);
            }
            _ => self.spans.push(Gap { from_us, until_us, reason: GapReason::Dropped, packets }),
        }
    }

    /// Adds what was dropped here to a record of what was received.
    pub(super) fn account(&self, record: &mut StreamRecord) {
        record.accounting.dropped += self.dropped;
        let room = GAPS_MAX.saturating_sub(record.gaps.len());
        record.gaps.extend(self.spans.iter().take(room));
        record.gaps_unlisted += self.spans.len().saturating_sub(room) as u64;
        record.gaps.sort_by_key(|g| g.from_us);
    }
}

/// The first codec of the offer that a part can hold.
fn first_storable(codecs: &[(u8, Codec)]) -> Option<(TrackCodec, Codec)> {
    codecs.iter().find_map(|(_, c)| TrackCodec::of(c).map(|t| (t, c.clone())))
}

/// The record of a stream of which nothing has been received.
pub(super) fn record_of(open: &OpenStream) -> StreamRecord {
    StreamRecord {
        id: open.stream,
        slot: open.slot,
        label: open.label.clone(),
        kind: open.kind,
        side: open.side,
        port: 0,
        source: None,
        ssrcs: Vec::new(),
        codecs: Vec::<CodecUse>::new(),
        accounting: Accounting::default(),
        anchors: Vec::new(),
        gaps: Vec::new(),
        gaps_unlisted: 0,
    }
}
