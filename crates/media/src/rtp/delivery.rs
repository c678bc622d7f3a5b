//! Handing on: packets that are in order get their place in time, and what is noted of a stream is noted.

use std::num::NonZeroU32;

use model::stream::CodecUse;
use model::{Anchor, GapReason, StreamId, WallTime};

use super::gaps::GapLog;
use super::level::Level;
use super::mask::{Mask, Placed, Whose};
use super::packet::Packet;
use super::pauses::Pauses;
use super::payload::PayloadTypes;
use super::timeline::{Place, Tick, Timeline};
use super::{Frame, FrameKind, FrameSink};

/// Payload types listed.
const CODECS_LISTED: usize = 64;
/// Anchors listed: 17 hours of one a minute. Beyond, a stream that jumps all the time is known well enough.
const ANCHORS_LISTED: usize = 1_024;
/// Between anchors (nanoseconds).
const ANCHOR_EVERY_NS: i64 = 60_000_000_000;

/// The outgoing side of a receiver: first what each packet asks for.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Delivery {
    pub(super) types: PayloadTypes,
    pub(super) stream: StreamId,
    pub(super) start: WallTime,
    clock: u32,
    pub(super) port: u16,
    last_type: Option<u8>,
    /// There is no room for another anchor.
    anchors_full: bool,
    /// How long the last frame was whose length is known.
    frame_us: Option<NonZeroU32>,
    last_anchor: WallTime,
    /// How late (microseconds) the packet was that was least late since the last anchor.
    soonest_us: i64,
    /// Where digits are not to go on.
    pub(super) mask: Option<Box<Mask>>,
    /// Whether anything is heard.
    pub(super) level: Level,
    pub(super) gaps: GapLog,
    pauses: Pauses,
    pub(super) noted: Box<Noted>,
}

/// What is noted of a stream: touched when there is something to note.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) anchors: Vec<Anchor>,
    pub(super) codecs: Vec<CodecUse>,
    pub(super) codec_changes: u32,
    /// Packets of the last pause that came after it.
    pub(super) discarded: u64,
    last_media_type: Option<u8>,
    /// Of the packets since the last anchor the one that was least late: the network held it up least, so it tells the
    /// source's clock best.
    soonest: Option<Anchor>,
}

impl Delivery {
    pub(super) fn new(stream: StreamId, start: WallTime, types: PayloadTypes) -> Self {
        Self {
            stream,
            start,
            port: 0,
            clock: types.default_clock(),
            types,
            gaps: GapLog::default(),
            anchors_full: false,
            pauses: Pauses::default(),
            mask: None,
            level: Level::default(),
            last_type: None,
            last_anchor: WallTime(i64::MIN),
            frame_us: None,
            soonest_us: i64::MAX,
            noted: Box::new(Noted {
                anchors: Vec::with_capacity(4),
                codecs: Vec::with_capacity(2),
                codec_changes: 0,
                discarded: 0,
                last_media_type: None,
                soonest: None,
            }),
        }
    }

    /// Microseconds from the segment's start.
    #[inline]
    pub(super) fn position_of(&self, time: WallTime) -> i64 {
        time.nanos_since(self.start).div_euclid(1_000)
    }

    /// Hands on the next packet in order; false when its place in time shows only with the packet after it.
    #[inline]
    pub(super) fn next<S: FrameSink>(
        &mut self,
        timeline: &mut Timeline,
        packet: &Packet<'_>,
        number: u64,
        missing: u64,
        sink: &mut S,
    ) -> bool {
        let meaning = self.types.meaning(packet.payload_type);
        let (kind, clock) = (meaning.kind, meaning.clock);
        let duration =
            if kind == FrameKind::Media { meaning.format.duration_us(packet.payload, clock) } else { None };
        let tick = self.tick(packet, number, clock);
        let Some(position) = self.place(timeline, tick, kind, duration, packet) else { return false };
        if missing > 0 {
            self.gaps.missing(missing);
        }
        if self.was_paused(timeline.said_us(position), tick, kind, duration, packet) {
            self.noted.discarded += 1;
            self.gaps.paused_until(position + duration.map_or(0, i64::from));
            return true;
        }
        if kind == FrameKind::Media {
            let frame_us = duration.map_or_else(|| timeline.frame_us(), i64::from);
            self.gaps.media(position, frame_us, frame_us);
            self.frame_us = duration.and_then(NonZeroU32::new).or(self.frame_us);
            self.minute_anchor(packet, position);
            let codec = self.types.codec(packet.payload_type);
            self.level.look(packet.arrival, codec.map(|c| &**c), packet.payload);
        }
        if kind == FrameKind::ComfortNoise && timeline.is_anchored_on(clock) {
            // Where silence is suppressed, little else tells time for long.
            self.minute_anchor(packet, position);
        }
        self.note_type(packet, kind);
        let placed = Placed { position_us: position, duration_us: duration, kind, late: false };
        self.hand_on(packet, placed, sink);
        true
    }

    /// Hands on a packet that comes late, unless it is of the last pause.
    pub(super) fn late<S: FrameSink>(
        &mut self,
        timeline: &Timeline,
        packet: &Packet<'_>,
        number: u64,
        sink: &mut S,
    ) -> bool {
        let meaning = self.types.meaning(packet.payload_type);
        let (kind, clock) = (meaning.kind, meaning.clock);
        let duration = match kind {
            FrameKind::Media => meaning.format.duration_us(packet.payload, clock),
            _ => None,
        };
        let tick = self.tick(packet, number, clock);
        let position = timeline.locate(tick).max(0);
        if self.was_paused(timeline.said_us(position), tick, kind, duration, packet) {
            self.noted.discarded += 1;
            return false;
        }
        if kind == FrameKind::Media {
            let frame_us = duration.map_or_else(|| timeline.frame_us(), i64::from);
            self.gaps.fill(position, frame_us);
        }
        self.note_type(packet, kind);
        let placed = Placed { position_us: position, duration_us: duration, kind, late: true };
        self.hand_on(packet, placed, sink);
        true
    }

    /// The clock of the media.
    pub(super) const fn clock(&self) -> u32 {
        self.clock
    }

    /// SDP has changed what payload types stand for.
    pub(super) fn retype(&mut self, types: PayloadTypes) {
        self.types = types;
        self.last_type = None;
    }

    /// Nothing is kept from now on, or everything again.
    pub(super) fn hold(&mut self, now: WallTime, reason: Option<GapReason>) {
        let now_us = self.position_of(now);
        self.pauses.end(now_us);
        if reason == Some(GapReason::Pause) {
            self.pauses.begin(now_us);
        }
        self.gaps.end_hold(now_us);
        if let Some(reason) = reason {
            self.gaps.begin_hold(now_us, reason);
        }
    }

    /// Lets go what waits to be looked into: nothing follows it.
    pub(super) fn flush<S: FrameSink>(&mut self, sink: &mut S) {
        let whose = self.whose();
        if let Some(mask) = &mut self.mask {
            mask.flush(whose, sink);
        }
    }

    /// Time has passed.
    pub(super) fn time_passed<S: FrameSink>(&mut self, now: WallTime, sink: &mut S) {
        let whose = self.whose();
        if let Some(mask) = &mut self.mask {
            mask.tick(now, whose, sink);
        }
        // Here rather than when a packet comes: growth is no packet's business.
        if std::mem::take(&mut self.anchors_full) {
            self.noted.anchors.reserve(1);
        }
    }

    const fn whose(&self) -> Whose {
        Whose { stream: self.stream, port: self.port }
    }

    /// Whether a packet arrived in a pause that is over, or carries anything that was said in one: it must not be
    /// kept, although it comes now. While a pause goes on nothing comes here but what waited when it began.
    #[inline]
    fn was_paused(
        &self,
        said_us: i64,
        tick: Tick,
        kind: FrameKind,
        duration: Option<u32>,
        packet: &Packet<'_>,
    ) -> bool {
        let arrived_us = tick.arrival_us;
        if self.pauses.hold(arrived_us, arrived_us) {
            return true;
        }
        let began_us = match kind {
            // Its packets keep the time of its beginning, and tell how long it is.
            FrameKind::TelephoneEvent => said_us.min(arrived_us - event_us(packet.payload, tick.clock)),
            _ => said_us - duration.map_or(0, i64::from),
        };
        self.pauses.hold(began_us, said_us.max(began_us))
    }

    /// A packet passes in a pause: nothing of it is kept but how its source's time goes on, so that what comes
    /// after the pause is known for what it is.
    pub(super) fn watch(&self, timeline: &mut Timeline, packet: &Packet<'_>, number: u64) {
        let meaning = self.types.meaning(packet.payload_type);
        if meaning.kind != FrameKind::Media {
            return;
        }
        let duration = meaning.format.duration_us(packet.payload, meaning.clock);
        let tick = self.tick(packet, number, meaning.clock);
        match timeline.place(tick) {
            Place::At(_) => {}
            Place::Jump => _ = timeline.anchor(tick, tick.arrival_us, duration),
            Place::Undecided => timeline.must_jump(),
        }
    }

    #[inline]
    fn tick(&self, packet: &Packet<'_>, number: u64, clock: u32) -> Tick {
        Tick { number, timestamp: packet.timestamp, clock, arrival_us: self.position_of(packet.arrival) }
    }

    #[inline]
    fn place(
        &mut self,
        timeline: &mut Timeline,
        tick: Tick,
        kind: FrameKind,
        duration: Option<u32>,
        packet: &Packet<'_>,
    ) -> Option<i64> {
        let place = match kind {
            FrameKind::Media => timeline.place(tick),
            FrameKind::ComfortNoise if timeline.is_anchored_on(tick.clock) => timeline.place_noise(tick),
            FrameKind::ComfortNoise | FrameKind::TelephoneEvent if !timeline.is_anchored() => Place::Jump,
            _ => Place::At(timeline.locate(tick)),
        };
        match place {
            Place::At(position) => Some(position.max(0)),
            Place::Undecided => None,
            Place::Jump => {
                let position = timeline.anchor(tick, self.gaps.end_us(), duration);
                if kind != FrameKind::Media {
                    timeline.anchored_provisionally();
                }
                self.frame_us = duration.and_then(NonZeroU32::new).or(self.frame_us);
                self.list(packet, anchor_of(packet, position, self.frame_us));
                Some(position)
            }
        }
    }

    #[inline]
    fn minute_anchor(&mut self, packet: &Packet<'_>, position: i64) {
        let late = self.position_of(packet.arrival) - position;
        if late < self.soonest_us {
            self.soonest_us = late;
            self.noted.soonest = Some(anchor_of(packet, position, self.frame_us));
        }
        if packet.arrival.nanos_since(self.last_anchor) >= ANCHOR_EVERY_NS
            && let Some(soonest) = self.noted.soonest
        {
            self.list(packet, soonest);
        }
    }

    fn list(&mut self, newest: &Packet<'_>, anchor: Anchor) {
        self.last_anchor = newest.arrival;
        // What came before says nothing of what comes after a jump.
        self.soonest_us = i64::MAX;
        let Noted { anchors, soonest, .. } = &mut *self.noted;
        *soonest = None;
        if anchors.len() < ANCHORS_LISTED {
            anchors.push(anchor);
            self.anchors_full = anchors.len() == anchors.capacity();
        }
    }

    #[inline]
    fn note_type(&mut self, packet: &Packet<'_>, kind: FrameKind) {
        if self.last_type == Some(packet.payload_type) {
            return;
        }
        self.last_type = Some(packet.payload_type);
        self.types.expect(packet.payload_type);
        let codec = self.types.codec(packet.payload_type).map(|c| &**c);
        let noted = &mut *self.noted;
        let same = |c: &CodecUse| c.payload_type == packet.payload_type && c.codec.as_ref() == codec;
        if noted.codecs.len() < CODECS_LISTED && !noted.codecs.iter().any(same) {
            let (payload_type, codec) = (packet.payload_type, codec.cloned());
            noted.codecs.push(CodecUse { payload_type, codec, from: packet.arrival });
        }
        if matches!(kind, FrameKind::Media | FrameKind::Unknown) {
            self.clock = self.types.meaning(packet.payload_type).clock;
            let before = noted.last_media_type.replace(packet.payload_type);
            if before.is_some_and(|b| b != packet.payload_type) {
                noted.codec_changes = noted.codec_changes.saturating_add(1);
            }
        }
    }

    #[inline]
    fn hand_on<S: FrameSink>(&mut self, packet: &Packet<'_>, placed: Placed, sink: &mut S) {
        let whose = self.whose();
        if let Some(mask) = &mut self.mask {
            return mask.take(packet, placed, &self.types, whose, sink);
        }
        let Placed { position_us, duration_us, kind, late } = placed;
        sink.frame(&Frame {
            stream: self.stream,
            position_us,
            duration_us,
            payload_type: packet.payload_type,
            codec: self.types.codec(packet.payload_type),
            kind,
            payload: packet.payload,
            packet: packet.bytes,
            source: packet.from,
            destination_port: self.port,
            arrival: packet.arrival,
            late,
        });
    }
}

fn anchor_of(packet: &Packet<'_>, position_us: i64, frame_us: Option<NonZeroU32>) -> Anchor {
    Anchor { ssrc: packet.ssrc, rtp: packet.timestamp, at: packet.arrival, position_us, frame_us }
}

/// How long a telephone event has lasted when its packet is sent: octets 2 and 3 (RFC 4733 section 2.3).
fn event_us(payload: &[u8], clock: u32) -> i64 {
    let [_, _, high, low, ..] = payload else { return 0 };
    i64::from(u16::from_be_bytes([*high, *low])) * 1_000_000 / i64::from(clock.max(1))
}
