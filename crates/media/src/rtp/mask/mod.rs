//! Masking: digits that are pressed do not go on to whoever keeps frames.
//!
//! ```text
//!                      ┌───────── delay line ─────────┐
//!  frames in order ──► │ … │ guard │ t o n e │ guard │ … │ ──► FrameSink
//!            │                  └─────┬─────┘
//!            └─► samples ─► ear ──────┴─► dropped, counted, a gap of reason `masked`
//! ```
//!
//! A frame goes on when nothing that is heard later can show that a tone began in it: about 60 ms later, sooner
//! than that behind silence. A tone is four blocks in a row that hold the same key, 25 ms; next to an edge, where
//! packets are missing or a pause begins or ends, one block is enough. 20 ms before and after it go with it.
//! Telephone events (RFC 4733) are dropped whatever they say, in RFC 2198 redundancy too, and what came late is,
//! since what lay beside it has been judged already. Where a frame lies in time is not changed, nor their order.
//!
//! It looks into G.711, G.722 and linear PCM of one channel. Other codecs pass, and are counted as `unsearched`.

mod held;
mod low_band;
mod samples;
mod search;
mod spans;
mod tones;

use std::sync::Arc;

use model::{Codec, Gap, StreamId, WallTime};

use super::packet::{Packet, ticks_to_us};
use super::payload::PayloadTypes;
use super::reorder::WAIT_NS;
use super::{Frame, FrameKind, FrameSink};
use held::{Held, Line};
pub(crate) use samples::Samples;
use search::Search;
use spans::Spans;
pub(crate) use tones::{BLOCK, Ear, Key};

/// 2 ms: what a frame may lie beside where the one before it ends. Beyond, something is missing between.
const SLACK_US: i64 = 2_000;
/// Telephone events are 4 octets each (RFC 4733 section 2.3); more than 4 of them in a packet nobody sends.
const EVENT: usize = 4;
const EVENTS_MAX: usize = 4;

/// Where a packet lies and what it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) position_us: i64,
    pub(super) duration_us: Option<u32>,
    pub(super) kind: FrameKind,
    pub(super) late: bool,
}

/// Whose frames they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose {
    pub(super) stream: StreamId,
    pub(super) port: u16,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Mask {
    search: Search,
    /// What is sent now, and how it is heard; none: it cannot be.
    codec: Option<Arc<Codec>>,
    samples: Option<Samples>,
    /// Where the next frame lies if nothing is missing.
    next_us: i64,
    line: Line,
    spans: Spans,
    masked: u64,
    unsearched: u64,
}

impl Mask {
    /// Takes a packet in order, or a late one. What it lets go goes to the sink.
    #[inline]
    pub(super) fn take<S: FrameSink>(
        &mut self,
        packet: &Packet<'_>,
        placed: Placed,
        types: &PayloadTypes,
        whose: Whose,
        sink: &mut S,
    ) {
        let codec = types.codec(packet.payload_type);
        if is_event(packet, placed.kind, codec, types) {
            let clock = codec.map_or(types.default_clock(), |c| c.clock_rate);
            self.drop_event(placed.position_us, packet.payload, clock);
        } else if placed.late {
            self.drop_frame(placed.position_us, placed.duration_us);
        } else if placed.kind == FrameKind::Media {
            self.media(packet, placed, codec, whose, sink);
        } else {
            self.hold(packet, placed, codec, whose, sink);
        }
        self.settle(whose, sink);
    }

    /// Lets everything go that may: the stream is paused or held, or ends.
    pub(super) fn flush<S: FrameSink>(&mut self, whose: Whose, sink: &mut S) {
        if !self.line.is_empty() {
            self.edge();
            while let Some(held) = self.line.pop() {
                self.let_go(held, whose, sink);
            }
        }
    }

    /// Time has passed: behind a sender that has fallen silent nothing is waited for.
    pub(super) fn tick<S: FrameSink>(&mut self, now: WallTime, whose: Whose, sink: &mut S) {
        if self.line.newest().is_some_and(|at| now.nanos_since(at) >= WAIT_NS) {
            self.flush(whose, sink);
        }
        // Growth is no packet's business.
        self.spans.make_room();
    }

    /// Packets that were not let go, and packets that could not be looked into.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.masked, self.unsearched)
    }

    /// A stream's gaps with those that were made here.
    pub(super) fn gaps(&self, gaps: Vec<Gap>) -> (Vec<Gap>, u64) {
        self.spans.among(gaps)
    }

    fn media<S: FrameSink>(
        &mut self,
        packet: &Packet<'_>,
        placed: Placed,
        codec: Option<&Arc<Codec>>,
        whose: Whose,
        sink: &mut S,
    ) {
        if self.codec.as_ref() != codec {
            self.edge();
            self.codec = codec.cloned();
            self.samples = codec.and_then(|c| Samples::of(c));
        }
        let Some(samples) = &mut self.samples else {
            self.unsearched += 1;
            return self.hold(packet, placed, codec, whose, sink);
        };
        if (placed.position_us - self.next_us).abs() > SLACK_US {
            self.search.edge();
        }
        self.next_us = placed.position_us + placed.duration_us.map_or(0, i64::from);
        let from = self.search.index();
        samples.each(packet.payload, |sample| self.search.hear(sample));
        self.make_place(whose, sink);
        let until = self.search.index();
        self.line.push(packet, placed, codec, from, until, self.search.is_masked(from));
        self.mark();
    }

    /// A frame without samples keeps its place between the others.
    fn hold<S: FrameSink>(
        &mut self,
        packet: &Packet<'_>,
        placed: Placed,
        codec: Option<&Arc<Codec>>,
        whose: Whose,
        sink: &mut S,
    ) {
        self.make_place(whose, sink);
        let at = self.search.index();
        self.line.push(packet, placed, codec, at, at, false);
    }

    /// The line is as long as it may be: the oldest goes, or is dropped when a tone may have begun in it.
    fn make_place<S: FrameSink>(&mut self, whose: Whose, sink: &mut S) {
        if self.line.is_full()
            && let Some(mut held) = self.line.pop()
        {
            held.masked |= self.search.suspects(held.until);
            self.let_go(held, whose, sink);
        }
    }

    /// What comes next does not follow what came before.
    fn edge(&mut self) {
        self.search.edge();
        self.mark();
    }

    fn mark(&mut self) {
        if let Some((from, until)) = self.search.take_found() {
            self.line.mark(from, until);
        }
    }

    /// Lets go what nothing that comes can change any more.
    #[inline]
    fn settle<S: FrameSink>(&mut self, whose: Whose, sink: &mut S) {
        let settled = self.search.settled();
        while let Some(held) = self.line.pop_until(settled) {
            self.let_go(held, whose, sink);
        }
    }

    fn let_go<S: FrameSink>(&mut self, held: Held, whose: Whose, sink: &mut S) {
        if held.masked {
            self.drop_frame(held.placed.position_us, held.placed.duration_us);
        } else if let Some(packet) = Packet::read(held.arrival, held.source, &held.bytes) {
            sink.frame(&Frame {
                stream: whose.stream,
                position_us: held.placed.position_us,
                duration_us: held.placed.duration_us,
                payload_type: packet.payload_type,
                codec: held.codec.as_ref(),
                kind: held.placed.kind,
                payload: packet.payload,
                packet: packet.bytes,
                source: packet.from,
                destination_port: whose.port,
                arrival: packet.arrival,
                late: false,
            });
        }
        self.line.recycle(held);
    }

    fn drop_frame(&mut self, position_us: i64, duration_us: Option<u32>) {
        self.masked += 1;
        self.spans.add(position_us, position_us + duration_us.map_or(0, i64::from));
    }

    /// An event says that a key was pressed: gateways let some of its tone through before they notice.
    fn drop_event(&mut self, position_us: i64, payload: &[u8], clock: u32) {
        self.search.event();
        self.mark();
        self.masked += 1;
        self.spans.add(position_us, position_us + event_us(payload, clock));
    }
}

/// Whether a packet tells of a key: by name, inside of redundancy, or, where SDP never said, by its looks.
fn is_event(packet: &Packet<'_>, kind: FrameKind, codec: Option<&Arc<Codec>>, types: &PayloadTypes) -> bool {
    match kind {
        FrameKind::TelephoneEvent => true,
        FrameKind::Unknown => {
            packet.payload.len().is_multiple_of(EVENT)
                && (EVENT..=EVENT * EVENTS_MAX).contains(&packet.payload.len())
        }
        FrameKind::Media if codec.is_some_and(|c| c.is("RED")) => holds_event(packet.payload, types),
        FrameKind::Media | FrameKind::ComfortNoise => false,
    }
}

/// Whether a block of RFC 2198 redundancy is a telephone event (section 3: headers of 4 octets, the last of 1).
fn holds_event(payload: &[u8], types: &PayloadTypes) -> bool {
    let mut rest = payload;
    while let Some(first) = rest.first() {
        if types.meaning(first & 0x7f).kind == FrameKind::TelephoneEvent {
            return true;
        }
        match rest.get(4..) {
            Some(after) if first & 0x80 != 0 => rest = after,
            _ => return false,
        }
    }
    false
}

/// How long a telephone event has lasted: octets 2 and 3 (RFC 4733 section 2.3).
fn event_us(payload: &[u8], clock: u32) -> i64 {
    let [_, _, high, low, ..] = payload else { return 0 };
    ticks_to_us(i64::from(u16::from_be_bytes([*high, *low])), clock)
}
