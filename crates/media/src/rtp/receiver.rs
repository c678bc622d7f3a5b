//! The receiver of one stream: takes datagrams, counts them, and hands on frames.

mod order;

use std::mem::offset_of;
use std::net::SocketAddr;

use model::peer::Flowing;
use model::{Accounting, Dtmf, GapReason, MediaKind, OpenStream, StreamRecord, WallTime};

use super::FrameSink;
use super::delivery::Delivery;
use super::latch::{Familiar, Latch, canonical};
use super::mask::Mask;
use super::packet::{Packet, is_rtcp};
use super::payload::PayloadTypes;
use super::reorder::Reorder;
use super::rtcp::{self, Reception, Rtcp};
use super::source::Sources;
use crate::srtp::{Closed, Srtp};

/// Receives one stream. See the [module](super) for the way of a packet.
///
/// With thousands of streams, what a packet costs is mostly waiting for the memory of its stream. So all that a packet in
/// order asks for stands together here, in the order in which it does, and everything else is behind boxes.
#[derive(Debug)]
#[repr(C)]
pub struct StreamReceiver {
    latch: Latch,
    last_packet: Option<WallTime>,
    /// The latest time that anybody told.
    now: WallTime,
    /// When a report is due.
    report_at: WallTime,
    received: u64,
    payload_bytes: u64,
    flowing: Flowing,
    reorder: Reorder,
    sources: Sources,
    delivery: Delivery,
    aside: Box<Aside>,
}

/// What no packet in order asks for.
#[derive(Debug)]
struct Aside {
    open: OpenStream,
    rtcp: Rtcp,
    /// What is counted directly, but for what each packet counts; the rest is put in by [`StreamReceiver::accounting`].
    counted: Accounting,
    last_rtcp: Option<SocketAddr>,
}

impl StreamReceiver {
    /// A receiver for a stream of a segment that begins then.
    #[must_use]
    pub fn new(stream: &OpenStream, segment_start: WallTime) -> Self {
        let types = PayloadTypes::new(&stream.codecs, stream.kind);
        let mut delivery = Delivery::new(stream.stream, segment_start, types);
        delivery.hold(segment_start, reason(stream.flowing));
        let rtcp = Rtcp::new(stream.stream.as_u64());
        Self {
            latch: Latch::new(stream.remote),
            last_packet: None,
            now: segment_start,
            report_at: rtcp::first_due(stream.stream.as_u64(), segment_start),
            received: 0,
            payload_bytes: 0,
            flowing: stream.flowing,
            reorder: Reorder::default(),
            sources: Sources::default(),
            delivery,
            aside: Box::new(Aside {
                open: stream.clone(),
                rtcp,
                counted: Accounting::default(),
                last_rtcp: None,
            }),
        }
    }

    /// The same with what is to become of digits that are pressed. Masked, none of them goes on, and all frames
    /// of audio go on later, by 60 ms or so, in the same order and with the same positions.
    #[must_use]
    pub fn masking(mut self, dtmf: Dtmf) -> Self {
        let masks = dtmf == Dtmf::Mask && self.aside.open.kind == MediaKind::Audio;
        self.delivery.mask = masks.then(|| Box::new(Mask::default()));
        self
    }

    /// Our port, to be told in frames.
    pub fn set_port(&mut self, port: u16) {
        self.delivery.port = port;
    }

    /// Codecs, remote addresses or whether media are wanted have changed, as of `now`.
    ///
    /// What still waits for reordering came before: the next call with a sink hands it on.
    pub fn update(&mut self, now: WallTime, stream: &OpenStream) {
        self.now = self.now.max(now);
        if stream.codecs != self.aside.open.codecs || stream.kind != self.aside.open.kind {
            self.delivery.retype(PayloadTypes::new(&stream.codecs, stream.kind));
        }
        self.latch.expect(stream.remote);
        if stream.flowing != self.flowing {
            // A sender does not know of a pause by order, and goes on: its time is followed all along.
            let pauses = [self.flowing, stream.flowing].contains(&Flowing::Paused);
            self.delivery.hold(now, reason(stream.flowing));
            if let Some(source) = self.sources.current().filter(|_| !pauses) {
                source.timeline.expect_jump();
            }
        }
        self.flowing = stream.flowing;
        self.aside.open = stream.clone();
    }

    /// Where that lies which a packet in order asks for, and how many octets it is: whoever has thousands of streams may
    /// have it fetched before the packet comes.
    #[must_use]
    pub const fn at_hand(&self) -> (*const u8, usize) {
        (std::ptr::from_ref(self).cast(), offset_of!(Self, aside))
    }

    /// A datagram came to the stream's port. In order, nothing is allocated (but for one anchor a minute).
    pub fn packet<S: FrameSink>(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8], sink: &mut S) {
        self.now = self.now.max(arrival);
        if is_rtcp(bytes) && self.take_rtcp(arrival, from, bytes) {
            return;
        }
        let Some(packet) = Packet::read(arrival, from, bytes) else {
            self.aside.counted.invalid += 1;
            return;
        };
        if !self.is_from_source(&packet) {
            self.aside.counted.other_source += 1;
            return;
        }
        self.last_packet = Some(arrival);
        if !self.reorder.is_empty() {
            self.release_old(arrival, sink);
        }
        self.take_in(&packet, sink);
    }

    /// A datagram came to the port of a stream that is encrypted. What cannot be opened is counted and kept nowhere.
    pub fn protected<S: FrameSink>(
        &mut self,
        arrival: WallTime,
        from: SocketAddr,
        bytes: &[u8],
        srtp: &mut Srtp,
        sink: &mut S,
    ) {
        if let Err(why) = self.open(arrival, from, bytes, srtp, sink) {
            self.closed(why);
        }
    }

    /// The same, but RTP that cannot be opened is left to the caller: he may try again with other keys.
    ///
    /// # Errors
    /// It cannot be opened; nothing is counted.
    pub fn open<S: FrameSink>(
        &mut self,
        arrival: WallTime,
        from: SocketAddr,
        bytes: &[u8],
        srtp: &mut Srtp,
        sink: &mut S,
    ) -> Result<(), Closed> {
        self.now = self.now.max(arrival);
        let looks_like_rtcp = is_rtcp(bytes);
        if looks_like_rtcp {
            match srtp.open_rtcp(arrival, bytes) {
                Ok(plain) => {
                    self.rtcp(arrival, from, plain);
                    return Ok(());
                }
                Err(Closed::Replayed | Closed::Old) => {
                    self.unopened_rtcp();
                    return Ok(());
                }
                // RTP with a marker and a payload type from 64 to 95 looks like it.
                Err(Closed::Unauthentic | Closed::Malformed) => {}
            }
        }
        match srtp.open_rtp(arrival, bytes) {
            Ok(plain) => self.packet(arrival, from, plain, sink),
            Err(_) if looks_like_rtcp && !self.delivery.types.names(bytes[1] & 0x7f) => self.unopened_rtcp(),
            Err(why) => return Err(why),
        }
        Ok(())
    }

    /// Counts a datagram that could not be opened.
    pub fn closed(&mut self, why: Closed) {
        let counted = &mut self.aside.counted;
        match why {
            Closed::Malformed => counted.invalid += 1,
            Closed::Replayed => counted.duplicate += 1,
            // Of what is too old nobody knows whether somebody plays it again.
            Closed::Old | Closed::Unauthentic => counted.unauthenticated += 1,
        }
    }

    /// A connectivity check says that media come from there.
    pub fn nominate(&mut self, from: SocketAddr) {
        self.latch.expect(Some(from));
    }

    /// Whether its sender is known to be there: signalling names the address, for RTP or for RTCP, or a check does, or
    /// its packets come from there.
    #[must_use]
    pub fn expects(&self, from: SocketAddr) -> bool {
        self.latch.knows(from)
            || self.aside.open.remote_rtcp.is_some_and(|rtcp| canonical(rtcp) == canonical(from))
    }

    /// Where its packets come from, if one came since then.
    #[must_use]
    pub fn heard_since(&self, since: WallTime) -> Option<SocketAddr> {
        self.latch.source().filter(|_| self.last_packet.is_some_and(|last| last >= since))
    }

    /// A datagram came to the stream's port of which it is known, before it is looked into, that it is somebody else's.
    pub fn stranger(&mut self) {
        self.aside.counted.other_source += 1;
    }

    /// A datagram came to the port of an encrypted stream whose keys are not known (yet).
    pub fn unopened(&mut self) {
        self.aside.counted.unauthenticated += 1;
    }

    /// The same, and it is RTCP; or it is RTCP that cannot be opened.
    pub fn unopened_rtcp(&mut self) {
        self.aside.counted.rtcp_unauthenticated += 1;
    }

    /// So many datagrams waited for keys that did not come.
    pub fn given_up(&mut self, datagrams: u64) {
        self.aside.counted.unauthenticated += datagrams;
    }

    /// A datagram came to the RTCP port of a stream that is encrypted.
    pub fn protected_rtcp(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8], srtp: &mut Srtp) {
        match srtp.open_rtcp(arrival, bytes) {
            Ok(plain) => self.rtcp(arrival, from, plain),
            Err(_) => self.unopened_rtcp(),
        }
    }

    /// Whether something waits for packets that are missing, or for time to pass: then [`Self::tick`] is wanted.
    #[inline]
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        !self.reorder.is_empty() || self.delivery.mask.is_some()
    }

    /// Hands on what has waited long enough for missing packets. To be called before a flush, every 100 ms while something
    /// [waits](Self::is_waiting), and before a record is asked for.
    pub fn tick<S: FrameSink>(&mut self, now: WallTime, sink: &mut S) {
        self.now = self.now.max(now);
        if self.flowing == Flowing::Active {
            self.release_old(now, sink);
        } else {
            self.release_all(sink);
            self.delivery.flush(sink);
        }
        self.delivery.time_passed(now, sink);
    }

    /// Hands on everything that waits: the segment ends.
    pub fn finish<S: FrameSink>(&mut self, now: WallTime, sink: &mut S) {
        self.now = self.now.max(now);
        self.release_all(sink);
        self.delivery.flush(sink);
        self.delivery.gaps.finish(self.delivery.position_of(now));
    }

    /// A datagram came to the stream's RTCP port.
    pub fn rtcp(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8]) {
        let address = from.ip().to_canonical();
        let open = &self.aside.open;
        let known = [self.latch.source(), open.remote, open.remote_rtcp];
        if !known.iter().flatten().any(|a| a.ip().to_canonical() == address) {
            return;
        }
        let told = self.aside.rtcp.read(arrival, bytes);
        if told.valid {
            self.aside.last_rtcp = Some(from);
        }
        if told.bye.is_some() && told.bye == self.sources.current_ref().map(|s| s.ssrc) {
            self.latch.gone();
        }
    }

    /// Appends a receiver report to `out` when one is due, every 5 s, and says where to send it.
    pub fn report(&mut self, now: WallTime, cname: &str, out: &mut Vec<u8>) -> Option<SocketAddr> {
        if !rtcp::is_due(self.report_at, now) {
            return None;
        }
        let Aside { open, rtcp, last_rtcp, .. } = &mut *self.aside;
        let told = rtcp::destination(self.latch.source(), open.remote, open.remote_rtcp, open.rtcp_mux);
        let to = last_rtcp.or(told)?;
        let reception = self.sources.current_ref().map(|s| Reception {
            ssrc: s.ssrc,
            highest: s.sequence.highest(),
            expected: s.sequence.expected(),
            received: s.sequence.distinct(),
            jitter_ticks: s.sequence.jitter_ticks().0,
        });
        rtcp.write(now, cname, reception, out);
        self.report_at = rtcp::next_due(now);
        Some(to)
    }

    /// Packets that were listened to, one a second where its codec allows it, and those of them in which something
    /// was heard.
    #[must_use]
    pub const fn listened(&self) -> (u64, u64) {
        self.delivery.level.counts()
    }

    /// Whether digits are to be masked and something went on that could not be looked into.
    #[must_use]
    pub fn keeps_unsearched(&self) -> bool {
        self.delivery.mask.as_ref().is_some_and(|m| m.counts().1 > 0)
    }

    /// When the last valid packet of the stream's source arrived, held or not.
    #[must_use]
    pub const fn last_packet(&self) -> Option<WallTime> {
        self.last_packet
    }

    /// Storage dropped so many packets that had been handed on.
    pub fn note_dropped(&mut self, packets: u64) {
        self.aside.counted.dropped = self.aside.counted.dropped.saturating_add(packets);
    }

    /// The counts as of now.
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        let (jitter_us, jitter_max_us) = self.sources.jitter_us(self.delivery.clock());
        let (masked, unsearched) = self.delivery.mask.as_ref().map_or((0, 0), |m| m.counts());
        Accounting {
            received: self.received,
            payload_bytes: self.payload_bytes,
            lost: self.sources.lost(),
            discarded: self.aside.counted.discarded + self.delivery.noted.discarded,
            masked,
            unsearched,
            ssrc_changes: self.sources.past.changes,
            source_changes: self.latch.changes(),
            codec_changes: self.delivery.noted.codec_changes,
            jitter_us,
            jitter_max_us,
            ..self.aside.counted
        }
    }

    /// All that is known now.
    #[must_use]
    pub fn record(&self, port: u16) -> StreamRecord {
        let (mut gaps, mut gaps_unlisted) = self.delivery.gaps.listed(self.delivery.position_of(self.now));
        if let Some(mask) = &self.delivery.mask {
            let unlisted;
            (gaps, unlisted) = mask.gaps(gaps);
            gaps_unlisted += unlisted;
        }
        let (open, noted) = (&self.aside.open, &self.delivery.noted);
        StreamRecord {
            id: open.stream,
            slot: open.slot,
            label: open.label.clone(),
            kind: open.kind,
            side: open.side,
            port,
            source: self.latch.source(),
            ssrcs: self.sources.past.ssrcs.clone(),
            codecs: noted.codecs.clone(),
            accounting: self.accounting(),
            anchors: noted.anchors.clone(),
            gaps,
            gaps_unlisted,
        }
    }

    /// RTCP on the RTP port. False for what only looks like it: a marker and a payload type from 64 to 95.
    fn take_rtcp(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8]) -> bool {
        let named = self.delivery.types.names(bytes[1] & 0x7f);
        let taken = !named && rtcp::is_valid(bytes);
        if taken {
            self.rtcp(arrival, from, bytes);
        }
        taken
    }

    #[inline]
    fn is_from_source(&mut self, packet: &Packet<'_>) -> bool {
        let (sources, types) = (&self.sources, &self.delivery.types);
        self.latch.accepts(packet, || Familiar {
            payload_type: types.knows(packet.payload_type),
            continues: sources
                .current_ref()
                .is_some_and(|s| s.ssrc == packet.ssrc && s.sequence.continues(packet)),
        })
    }
}

const fn reason(flowing: Flowing) -> Option<GapReason> {
    match flowing {
        Flowing::Active => None,
        Flowing::Held => Some(GapReason::Hold),
        Flowing::Paused => Some(GapReason::Pause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_packet_asks_for_stands_together() {
        // Each cache line (64 octets) more is one more that thousands of streams wait for, packet by packet.
        let size = |what: &str, size: usize, lines: usize| {
            assert!(size <= lines * 64, "{what}: {size} octets are more than {lines} cache lines");
        };
        size("latch", size_of::<Latch>(), 1);
        size("delivery", size_of::<Delivery>(), 5);
        // Of a source the last 136 octets are the bits of numbers seen, of which a packet asks for eight.
        size("sources", size_of::<Sources>(), 7);
        size("receiver", size_of::<StreamReceiver>(), 14);
    }
}
