//! What the tests of this crate share: a segment, its streams, frames, a disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use media::{Frame, FrameKind};
use model::{
    CallId, CallKey, Codec, EndReason, Join, JoinReason, Mono, NodeNumber, Now, OpenSegment, OpenStream,
    SegmentId, SegmentRecord, Side, StreamId, WallTime,
};

use crate::memory::MemoryDisk;
use crate::op::{FileOp, Files};
use crate::writer::SegmentWriter;

/// 2026-11-20T09:15:00Z: where every test begins.
pub(crate) const START: WallTime = WallTime::from_millis(1_795_166_100_000);

pub(crate) fn now(ms: u64) -> Now {
    Now { mono: Mono(1_000_000_000), wall: START } + Duration::from_millis(ms)
}

pub(crate) fn pcmu() -> Codec {
    Codec::new("PCMU", 8_000, 1)
}

pub(crate) fn stream(n: u64, side: Side, codecs: &[Codec]) -> OpenStream {
    let codecs: Vec<_> = (0..).zip(codecs.iter().cloned()).collect();
    OpenStream { label: Some(n.to_string()), ..OpenStream::audio(n, side, &codecs) }
}

/// An agent (stream 1) and an external party (stream 2), both µ-law.
pub(crate) fn two_streams() -> Vec<OpenStream> {
    vec![stream(1, Side::Agent, &[pcmu()]), stream(2, Side::External, &[pcmu()])]
}

pub(crate) fn segment(number: u16, start_ms: u64, streams: Vec<OpenStream>) -> OpenSegment {
    let id = SegmentId::from_u64(5_000 + u64::from(number));
    OpenSegment {
        number,
        total: number,
        started: now(start_ms).wall,
        ..OpenSegment::first(id, CallId::from_u64(4_000), START, streams)
    }
}

pub(crate) fn record(number: u16) -> SegmentRecord {
    let open = segment(number, 0, two_streams());
    SegmentWriter::open(&open, NodeNumber::SINGLE, now(0)).record().clone()
}

/// Two calls that turned out to be one.
pub(crate) fn join(into: u64, from: u64) -> Join {
    let key = |n| CallKey { call: CallId::from_u64(n), call_started: START, tenant: Default::default() };
    Join {
        into: key(into),
        from: key(from),
        numbers: vec![(SegmentId::from_u64(from * 10), 2)],
        total: 2,
        at: START,
        why: JoinReason::SessionId,
    }
}

/// A frame to push.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) stream: u64,
    pub(crate) position_ms: i64,
    pub(crate) codec: Option<Codec>,
    pub(crate) kind: FrameKind,
    pub(crate) payload: Vec<u8>,
}

/// 20 ms of µ-law whose every octet is `octet`.
pub(crate) fn heard(stream: u64, position_ms: i64, octet: u8) -> Heard {
    Heard { stream, position_ms, codec: Some(pcmu()), kind: FrameKind::Media, payload: vec![octet; 160] }
}

pub(crate) fn push(writer: &mut SegmentWriter, heard: &Heard) {
    let packet = [&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9], heard.payload.as_slice()].concat();
    let arrival_ms = u64::try_from(heard.position_ms).unwrap_or(0) + 20;
    let codec = heard.codec.clone().map(Arc::new);
    let arrival = writer.record().started + Duration::from_millis(arrival_ms);
    writer.push(&Frame {
        stream: StreamId::from_u64(heard.stream),
        position_us: heard.position_ms * 1_000,
        duration_us: Some(20_000),
        payload_type: 0,
        codec: codec.as_ref(),
        kind: heard.kind,
        payload: &heard.payload,
        packet: &packet,
        source: SocketAddr::from(([192, 0, 2, 7], 16_384)),
        destination_port: 40_000,
        arrival,
        late: false,
    });
}

/// A writer and its disk.
pub(crate) struct Spool {
    pub(crate) disk: MemoryDisk,
    pub(crate) writer: SegmentWriter,
}

impl Spool {
    pub(crate) fn open(disk: MemoryDisk, open: &OpenSegment) -> Self {
        let at = Now { wall: open.started, ..now(0) };
        let names =
            disk.list(&crate::layout::call_directory(&open.tenant, START, open.call)).unwrap_or_default();
        let writer = SegmentWriter::open_beside(open, NodeNumber::SINGLE, at, &names);
        let mut spool = Self { disk, writer };
        spool.flush(0);
        spool
    }

    pub(crate) fn new() -> Self {
        Self::open(MemoryDisk::new(), &segment(1, 0, two_streams()))
    }

    /// `ms` count from the segment's start.
    fn at(&self, ms: u64) -> Now {
        let wall = self.writer.record().started;
        Now { wall, ..now(0) } + Duration::from_millis(ms)
    }

    pub(crate) fn push(&mut self, heard: &Heard) {
        push(&mut self.writer, heard);
    }

    pub(crate) fn flush(&mut self, ms: u64) -> Vec<FileOp> {
        let mut ops = Vec::new();
        self.writer.flush(self.at(ms), Vec::new(), &mut ops);
        self.disk.apply_all(&ops).unwrap();
        ops
    }

    pub(crate) fn finish(&mut self, ms: u64, reason: EndReason) -> SegmentRecord {
        let now = self.at(ms);
        let mut ops = Vec::new();
        self.writer.end(now, now.wall, reason, Vec::new(), &mut ops);
        self.disk.apply_all(&ops).unwrap();
        let digests: Vec<_> = self
            .writer
            .files()
            .into_iter()
            .map(|path| {
                let digest = crate::digest_of(&self.disk, &path).unwrap();
                (path, digest.bytes, digest.sha256)
            })
            .collect();
        let mut ops = Vec::new();
        let record = self.writer.seal(now, &digests, &mut ops);
        self.disk.apply_all(&ops).unwrap();
        record
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.writer.directory())
    }

    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.disk.bytes(&self.path(name)).unwrap_or_else(|| panic!("{name} is not there"))
    }
}
