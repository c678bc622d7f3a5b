//! What a receiver hands on: one packet, with its place on the segment's time line.

use std::net::SocketAddr;
use std::sync::Arc;

use model::{Codec, StreamId, WallTime};

/// One packet of a stream, handed on once, in order unless it is `late`.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Where it lies on the segment's time line, in microseconds from the segment's start; never negative.
    pub position_us: i64,
    /// How long it plays, when codec and payload tell; always none for telephone events and comfort noise.
    pub duration_us: Option<u32>,
    /// The payload type.
    pub payload_type: u8,
    /// What SDP says that it stands for.
    pub codec: Option<&'a Arc<Codec>>,
    /// What it is.
    pub kind: FrameKind,
    /// The payload, without padding.
    pub payload: &'a [u8],
    /// The whole RTP packet.
    pub packet: &'a [u8],
    /// Where it came from.
    pub source: SocketAddr,
    /// The port of ours that it came to, when [`StreamReceiver::set_port`](super::StreamReceiver::set_port)
    /// told; else 0.
    pub destination_port: u16,
    /// When it arrived.
    pub arrival: WallTime,
    /// Later frames have been handed on before it: its position is true all the same.
    pub late: bool,
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FrameKind {
    /// Audio or video.
    Media,
    /// RFC 4733.
    TelephoneEvent,
    /// RFC 3389.
    ComfortNoise,
    /// A payload type that SDP never named.
    Unknown,
}

/// Takes frames.
pub trait FrameSink {
    /// Takes one. Called for each packet: it must not block and should not allocate.
    fn frame(&mut self, frame: &Frame<'_>);
}

impl<F: FnMut(&Frame<'_>)> FrameSink for F {
    fn frame(&mut self, frame: &Frame<'_>) {
        self(frame);
    }
}
