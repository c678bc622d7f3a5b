//! The receiver of one stream: takes datagrams, counts them, and hands on frames.

mod order;

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
#[derive(Debug)]
pub struct StreamReceiver {
    open: OpenStream,
    latch: Latch,
    sources: Sources,
    reorder: Reorder,
    delivery: Delivery,
    rtcp: Rtcp,
    /// What is counted directly; the rest is put in by [`StreamReceiver::record`].
    counted: Accounting,
    last_packet: Option<WallTime>,
    last_rtcp: Option<SocketAddr>,
    /// The latest time that anybody told.
    now: WallTime,
}

impl StreamReceiver {
    /// A receiver for a stream of a segment that begins then.
    #[must_use]
    pub fn new(stream: &OpenStream, segment_start: WallTime) -> Self {
        let types = PayloadTypes::new(&stream.codecs, stream.kind);
        let mut delivery = Delivery::new(stream.stream, segment_start, types);
        delivery.hold(segment_start, reason(stream.flowing));
        Self {
            latch: Latch::new(stream.remote),
            sources: Sources::default(),
            reorder: Reorder::default(),
            delivery,
            rtcp: Rtcp::new(stream.stream.as_u64(), segment_start),
            counted: Accounting::default(),
            last_packet: None,
            last_rtcp: None,
            now: segment_start,
            open: stream.clone(),
        }
    }

    /// The same with what is to become of digits that are pressed. Masked, none of them goes on, and all frames
    /// of audio go on later, by 60 ms or so, in the same order and with the same positions.
    #[must_use]
    pub fn masking(mut self, dtmf: Dtmf) -> Self {
        let masks = dtmf == Dtmf::Mask && self.open.kind == MediaKind::Audio;
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
        if stream.codecs != self.open.codecs || stream.kind != self.open.kind {
            self.delivery.retype(PayloadTypes::new(&stream.codecs, stream.kind));
        }
        self.latch.expect(stream.remote);
        if stream.flowing != self.open.flowing {
            // A sender does not know of a pause by order, and goes on: its time is followed all along.
            let pauses = [self.open.flowing, stream.flowing].contains(&Flowing::Paused);
            self.delivery.hold(now, reason(stream.flowing));
            if let Some(source) = self.sources.current().filter(|_| !pauses) {
                source.timeline.expect_jump();
            }
        }
        self.open = stream.clone();
    }

    /// A datagram came to the stream's port. In order, nothing is allocated (but for one anchor a minute).
    pub fn packet<S: FrameSink>(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8], sink: &mut S) {
        self.now = self.now.max(arrival);
        if is_rtcp(bytes) && self.take_rtcp(arrival, from, bytes) {
            return;
        }
        let Some(packet) = Packet::read(arrival, from, bytes) else {
            self.counted.invalid += 1;
            return;
        };
        if !self.is_from_source(&packet) {
            self.counted.other_source += 1;
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
    pub const fn closed(&mut self, why: Closed) {
        match why {
            Closed::Malformed => self.counted.invalid += 1,
            Closed::Replayed => self.counted.duplicate += 1,
            // Of what is too old nobody knows whether somebody plays it again.
            Closed::Old | Closed::Unauthentic => self.counted.unauthenticated += 1,
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
        self.latch.knows(from) || self.open.remote_rtcp.is_some_and(|rtcp| canonical(rtcp) == canonical(from))
    }

    /// Where its packets come from, if one came since then.
    #[must_use]
    pub fn heard_since(&self, since: WallTime) -> Option<SocketAddr> {
        self.latch.source().filter(|_| self.last_packet.is_some_and(|last| last >= since))
    }

    /// A datagram came to the port of an encrypted stream whose keys are not known (yet).
    pub const fn unopened(&mut self) {
        self.counted.unauthenticated += 1;
    }

    /// The same, and it is RTCP; or it is RTCP that cannot be opened.
    pub const fn unopened_rtcp(&mut self) {
        self.counted.rtcp_unauthenticated += 1;
    }

    /// So many datagrams waited for keys that did not come.
    pub const fn given_up(&mut self, datagrams: u64) {
        self.counted.unauthenticated += datagrams;
    }

    /// A datagram came to the RTCP port of a stream that is encrypted.
    pub fn protected_rtcp(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8], srtp: &mut Srtp) {
        match srtp.open_rtcp(arrival, bytes) {
            Ok(plain) => self.rtcp(arrival, from, plain),
            Err(_) => self.unopened_rtcp(),
        }
    }

    /// Hands on what has waited long enough for missing packets. To be called every 100 ms before a flush.
    pub fn tick<S: FrameSink>(&mut self, now: WallTime, sink: &mut S) {
        self.now = self.now.max(now);
        if self.open.flowing == Flowing::Active {
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
        let known = [self.latch.source(), self.open.remote, self.open.remote_rtcp];
        if !known.iter().flatten().any(|a| a.ip().to_canonical() == address) {
            return;
        }
        let told = self.rtcp.read(arrival, bytes);
        if told.valid {
            self.last_rtcp = Some(from);
        }
        if told.bye.is_some() && told.bye == self.sources.current_ref().map(|s| s.ssrc) {
            self.latch.gone();
        }
    }

    /// Appends a receiver report to `out` when one is due, every 5 s, and says where to send it.
    pub fn report(&mut self, now: WallTime, cname: &str, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let open = &self.open;
        let told = rtcp::destination(self.latch.source(), open.remote, open.remote_rtcp, open.rtcp_mux);
        let to = self.last_rtcp.or(told)?;
        if !self.rtcp.is_due(now) {
            return None;
        }
        let reception = self.sources.current_ref().map(|s| Reception {
            ssrc: s.ssrc,
            highest: s.sequence.highest(),
            expected: s.sequence.expected(),
            received: s.sequence.distinct(),
            jitter_ticks: s.sequence.jitter_ticks().0,
        });
        self.rtcp.write(now, cname, reception, out);
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
        self.counted.dropped = self.counted.dropped.saturating_add(packets);
    }

    /// The counts as of now.
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        let (jitter_us, jitter_max_us) = self.sources.jitter_us(self.delivery.clock());
        let (masked, unsearched) = self.delivery.mask.as_ref().map_or((0, 0), |m| m.counts());
        Accounting {
            lost: self.sources.lost(),
            discarded: self.counted.discarded + self.delivery.discarded,
            masked,
            unsearched,
            ssrc_changes: self.sources.changes,
            source_changes: self.latch.changes(),
            codec_changes: self.delivery.codec_changes,
            jitter_us,
            jitter_max_us,
            ..self.counted
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
        StreamRecord {
            id: self.open.stream,
            slot: self.open.slot,
            label: self.open.label.clone(),
            kind: self.open.kind,
            side: self.open.side,
            port,
            source: self.latch.source(),
            ssrcs: self.sources.ssrcs.clone(),
            codecs: self.delivery.codecs.clone(),
            accounting: self.accounting(),
            anchors: self.delivery.anchors.clone(),
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
