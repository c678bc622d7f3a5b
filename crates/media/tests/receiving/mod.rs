//! What the receiver's tests share: a stream, packets, and a sink that remembers.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::SocketAddr;

use media::{Frame, FrameKind, FrameSink, StreamReceiver};
use model::peer::Flowing;
use model::{Codec, OpenStream, Side, WallTime};

/// 2026-11-20T09:15:00Z: where segments of these tests begin.
pub const START: WallTime = WallTime(1_795_166_100_000_000_000);

/// A time in microseconds from the segment's start.
pub fn at(us: i64) -> WallTime {
    WallTime(START.0 + us * 1_000)
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The address that SDP names.
pub fn sender() -> SocketAddr {
    address("192.0.2.10:4000")
}

/// PCMU, PCMA, telephone-event 101, comfort noise 13, Opus 111.
pub fn stream() -> OpenStream {
    let codecs = [
        (0, Codec::new("PCMU", 8_000, 1)),
        (8, Codec::new("PCMA", 8_000, 1)),
        (13, Codec::new("CN", 8_000, 1)),
        (101, Codec::new("telephone-event", 8_000, 1)),
        (111, Codec::new("opus", 48_000, 2)),
    ];
    let stream = OpenStream::audio(77, Side::Agent, &codecs);
    OpenStream { label: Some("1".to_owned()), remote: Some(sender()), ..stream }
}

/// The stream, held or paused or active.
pub fn flowing(flowing: Flowing) -> OpenStream {
    OpenStream { flowing, ..stream() }
}

/// An RTP packet.
pub fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A frame as it was handed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub position_us: i64,
    pub duration_us: Option<u32>,
    pub payload_type: u8,
    pub codec: Option<String>,
    pub kind: FrameKind,
    pub payload: Vec<u8>,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub late: bool,
    /// How long it waited, in microseconds.
    pub waited_us: i64,
}

/// Remembers frames.
#[derive(Default, Debug)]
pub struct Kept {
    pub now: WallTime,
    pub frames: Vec<Seen>,
}

impl FrameSink for Kept {
    fn frame(&mut self, frame: &Frame<'_>) {
        let word = |at: usize| u32::from_be_bytes(frame.packet[at..at + 4].try_into().unwrap());
        self.frames.push(Seen {
            position_us: frame.position_us,
            duration_us: frame.duration_us,
            payload_type: frame.payload_type,
            codec: frame.codec.map(|c| c.name.clone()),
            kind: frame.kind,
            payload: frame.payload.to_vec(),
            sequence: u16::from_be_bytes([frame.packet[2], frame.packet[3]]),
            timestamp: word(4),
            ssrc: word(8),
            late: frame.late,
            waited_us: self.now.nanos_since(frame.arrival) / 1_000,
        });
    }
}

/// A receiver in virtual time, ticked every 100 ms.
#[derive(Debug)]
pub struct Bench {
    pub receiver: StreamReceiver,
    pub kept: Kept,
    ticked_us: i64,
}

impl Bench {
    pub fn new(stream: &OpenStream) -> Self {
        Self { receiver: StreamReceiver::new(stream, START), kept: Kept::default(), ticked_us: 0 }
    }

    /// Time passes until `us`.
    pub fn until(&mut self, us: i64) {
        while self.ticked_us + 100_000 <= us {
            self.ticked_us += 100_000;
            self.kept.now = at(self.ticked_us);
            self.receiver.tick(self.kept.now, &mut self.kept);
        }
    }

    pub fn packet(&mut self, us: i64, from: SocketAddr, bytes: &[u8]) {
        self.until(us);
        self.kept.now = at(us);
        self.receiver.packet(at(us), from, bytes, &mut self.kept);
    }

    pub fn update(&mut self, us: i64, stream: &OpenStream) {
        self.until(us);
        self.receiver.update(at(us), stream);
    }

    pub fn finish(&mut self, us: i64) {
        self.until(us);
        self.kept.now = at(us);
        self.receiver.finish(at(us), &mut self.kept);
    }
}
