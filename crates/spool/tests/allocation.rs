//! The whole path of a packet in memory, from the datagram to the buffer that goes to the disk, allocates nothing: two
//! streams of G.711 in order, with RTCP, with flushes whose buffers come back.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use media::send::{RtpSender, Sending};
use media::{Frame, StreamReceiver};
use model::{CallId, Codec, Mono, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, WallTime};
use spool::{FileOp, SegmentWriter};

const START: WallTime = WallTime(1_795_166_100_000_000_000);

fn at(us: u64) -> Now {
    Now { mono: Mono(us * 1_000), wall: WallTime(START.0 + i64::try_from(us).unwrap() * 1_000) }
}

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

/// A sender report (RFC 3550 section 6.4.1) without blocks.
fn sender_report(ssrc: u32) -> Vec<u8> {
    let mut report = vec![0x80, 200, 0, 6];
    report.extend_from_slice(&ssrc.to_be_bytes());
    report.resize(28, 0);
    report
}

struct Segment {
    writer: SegmentWriter,
    receivers: Vec<StreamReceiver>,
    senders: Vec<RtpSender>,
    /// What the disk has emptied.
    spare: Vec<Vec<u8>>,
    ops: Vec<FileOp>,
}

impl Segment {
    fn new() -> Self {
        let codecs = [(0, Codec::new("PCMU", 8_000, 1)), (8, Codec::new("PCMA", 8_000, 1))];
        let streams =
            [(1, Side::Agent), (2, Side::External)].map(|(n, side)| OpenStream::audio(n, side, &codecs));
        let open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, streams.to_vec());
        let sender = |ssrc| {
            let (payload_type, clock_rate, ptime_ms) = (0, 8_000, 20);
            RtpSender::new(Sending { ssrc, payload_type, clock_rate, ptime_ms, sequence: 0, timestamp: 0 })
        };
        Self {
            writer: SegmentWriter::open(&open, NodeNumber::SINGLE, at(0)),
            receivers: streams.iter().map(|s| StreamReceiver::new(s, START)).collect(),
            senders: vec![sender(1), sender(2)],
            spare: Vec::new(),
            ops: Vec::new(),
        }
    }

    /// 20 ms: how often was something allocated by packets, and by what is done each 100 ms.
    fn pass(&mut self, frame: u64) -> (u64, u64) {
        let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        let packets: Vec<Vec<u8>> = self.senders.iter_mut().map(|s| s.next(&[0xd5; 160])).collect();
        let reports = [sender_report(1), sender_report(2)];
        let now = at(frame * 20_000);
        let Self { writer, receivers, spare, ops, .. } = self;
        let by_packets = allocations(|| {
            let mut sink = |frame: &Frame<'_>| writer.push(frame);
            for (receiver, packet) in receivers.iter_mut().zip(&packets) {
                receiver.packet(now.wall, from, packet, &mut sink);
            }
            for (receiver, report) in receivers.iter_mut().zip(&reports).filter(|_| frame.is_multiple_of(250))
            {
                receiver.rtcp(now.wall, from, report);
            }
        });
        if !frame.is_multiple_of(5) {
            return (by_packets, 0);
        }
        let by_flush = allocations(|| {
            receivers.iter_mut().for_each(|r| r.tick(now.wall, &mut |frame: &Frame<'_>| writer.push(frame)));
            if writer.wants_buffer()
                && let Some(buffer) = spare.pop()
            {
                writer.recycle(buffer);
            }
            let due = writer.manifest_due(now);
            let records = if due { receivers.iter().map(|r| r.record(4_000)).collect() } else { Vec::new() };
            writer.flush(now, records, ops);
        });
        for op in self.ops.drain(..) {
            if let FileOp::Append { mut bytes, .. } = op {
                bytes.clear();
                self.spare.push(bytes);
            }
        }
        (by_packets, by_flush)
    }
}

#[test]
fn from_datagram_to_disk_nothing_is_allocated_by_packets_at_all() {
    let mut segment = Segment::new();
    // The first packets make the state of their sources, the first flushes the buffers.
    for frame in 0..50 {
        segment.pass(frame);
    }
    let (mut by_packets, mut by_flushes) = (0, 0);
    let frames = 15_000;
    for frame in 50..50 + frames {
        let (packets, flush) = segment.pass(frame);
        (by_packets, by_flushes) = (by_packets + packets, by_flushes + flush);
    }
    assert_eq!(by_packets, 0, "in five minutes of two streams");
    let received: u64 = segment.receivers.iter().map(|r| r.accounting().received).sum();
    assert_eq!(received, 2 * (50 + frames), "all of them were taken");
    // Records each five seconds, a manifest a minute, a stamp each five seconds: nothing by the flush itself.
    let flushes = frames / 5;
    assert!(by_flushes < flushes, "{by_flushes} allocations in {flushes} flushes");
}
