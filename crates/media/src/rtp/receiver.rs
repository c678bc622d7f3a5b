//! The receiver of one stream.

use std::net::SocketAddr;

use model::{Accounting, OpenStream, StreamRecord, WallTime};
use rtp_types::RtpPacket;

use super::{Frame, FrameKind, FrameSink};

/// Receives one stream.
#[derive(Debug)]
pub struct StreamReceiver {
    open: OpenStream,
    start: WallTime,
    port: u16,
    accounting: Accounting,
    last_packet: Option<WallTime>,
    source: Option<SocketAddr>,
}

impl StreamReceiver {
    /// A receiver for a stream of a segment that begins then.
    #[must_use]
    pub fn new(stream: &OpenStream, segment_start: WallTime) -> Self {
        let open = stream.clone();
        Self {
            open,
            start: segment_start,
            port: 0,
            accounting: Accounting::default(),
            last_packet: None,
            source: None,
        }
    }

    /// Our port, to be told in frames.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Codecs, remote addresses or whether media are wanted have changed.
    pub fn update(&mut self, _now: WallTime, stream: &OpenStream) {
        self.open = stream.clone();
    }

    /// A datagram came to the stream's port.
    pub fn packet<S: FrameSink>(&mut self, arrival: WallTime, from: SocketAddr, bytes: &[u8], sink: &mut S) {
        let Ok(packet) = RtpPacket::parse(bytes) else {
            self.accounting.invalid += 1;
            return;
        };
        self.accounting.received += 1;
        self.last_packet = Some(arrival);
        self.source = Some(from);
        let payload_type = packet.payload_type();
        let codec = self.open.codecs.iter().find(|(n, _)| *n == payload_type).map(|(_, c)| c);
        sink.frame(&Frame {
            stream: self.open.stream,
            position_us: arrival.nanos_since(self.start) / 1_000,
            duration_us: None,
            payload_type,
            codec,
            kind: FrameKind::Media,
            payload: packet.payload(),
            packet: bytes,
            source: from,
            destination_port: self.port,
            arrival,
            late: false,
        });
    }

    /// Hands on what has waited long enough for missing packets. To be called every 100 ms before a flush.
    pub fn tick<S: FrameSink>(&mut self, _now: WallTime, _sink: &mut S) {}

    /// Hands on everything that waits: the segment ends.
    pub fn finish<S: FrameSink>(&mut self, _now: WallTime, _sink: &mut S) {}

    /// A datagram came to the stream's RTCP port.
    pub fn rtcp(&mut self, _arrival: WallTime, _from: SocketAddr, _bytes: &[u8]) {}

    /// Appends a receiver report to `out` when one is due, and says where to send it.
    pub fn report(&mut self, _now: WallTime, _cname: &str, _out: &mut Vec<u8>) -> Option<SocketAddr> {
        None
    }

    /// When the last valid packet arrived.
    #[must_use]
    pub const fn last_packet(&self) -> Option<WallTime> {
        self.last_packet
    }

    /// All that is known now.
    #[must_use]
    pub fn record(&self, port: u16) -> StreamRecord {
        StreamRecord {
            id: self.open.stream,
            slot: self.open.slot,
            label: self.open.label.clone(),
            kind: self.open.kind,
            side: self.open.side,
            port,
            source: self.source,
            ssrcs: Vec::new(),
            codecs: Vec::new(),
            accounting: self.accounting,
            anchors: Vec::new(),
            gaps: Vec::new(),
            gaps_unlisted: 0,
        }
    }
}
