//! The way of a packet: receiver, segment, flush; as a media thread walks it, without its sockets.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use media::g711::encode_ulaw;
use media::send::{RtpSender, Sending};
use media::speech::Speech;
use media::srtp::Srtp;
use media::{Frame, StreamReceiver};
use model::{
    CallId, Codec, Dtmf, Keys, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, Suite, WallTime,
};
use spool::{FileOp, SegmentWriter};

/// Packets that are prepared, whatever is walked of them.
const PREPARED: usize = 4_000;
/// What a stream brings in 20 ms.
const SAMPLES: usize = 160;
/// Packets of two streams in 100 ms: then the buffer is flushed.
const FLUSH: usize = 10;
pub(crate) const START: WallTime = WallTime::from_millis(1_795_166_100_000);

pub(crate) fn clear(packets: usize) {
    walk(packets, Dtmf::Keep, None);
}

pub(crate) fn encrypted(packets: usize) {
    let suite = Suite::AesCm128HmacSha1Tag80;
    let secret = (0..suite.secret_len()).map(|n| u8::try_from(n).unwrap()).collect();
    walk(packets, Dtmf::Keep, Some(&Keys::single(suite, secret).unwrap()));
}

pub(crate) fn masked(packets: usize) {
    walk(packets, Dtmf::Mask, None);
}

/// A segment of two sides, after four seconds.
pub(crate) fn manifests(rounds: usize) {
    let mut segment = Segment::new(Dtmf::Keep);
    for (number, packet) in prepare(None).iter().take(400).enumerate() {
        segment.packet(number, packet, None);
    }
    for _ in 0..rounds {
        // While nothing but counts changes there is one a minute.
        segment.now = segment.now + Duration::from_secs(61);
        segment.flush();
    }
}

fn walk(packets: usize, dtmf: Dtmf, keys: Option<&Keys>) {
    let prepared = prepare(keys);
    let mut opens = keys.map(|keys| [Srtp::new(keys, keys).unwrap(), Srtp::new(keys, keys).unwrap()]);
    let mut segment = Segment::new(dtmf);
    for (number, packet) in prepared.iter().take(packets).enumerate() {
        segment.packet(number, packet, opens.as_mut().map(|o| &mut o[number % 2]));
        if number % FLUSH == FLUSH - 1 {
            segment.flush();
        }
    }
    let received: u64 = segment.receivers.iter().map(|r| r.accounting().received).sum();
    assert_eq!(received, packets as u64, "packets that were not received");
}

struct Segment {
    now: Now,
    receivers: Vec<StreamReceiver>,
    writer: SegmentWriter,
    ops: Vec<FileOp>,
}

impl Segment {
    fn new(dtmf: Dtmf) -> Self {
        let now = Now { wall: START, ..Now::default() };
        let codecs = [(0, Codec::new("PCMU", 8_000, 1)), (101, Codec::new("TELEPHONE-EVENT", 8_000, 1))];
        let sides = [(1, Side::Agent), (2, Side::External)];
        let streams = sides.map(|(n, side)| OpenStream::audio(n, side, &codecs)).to_vec();
        let open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, streams);
        let receivers = open.streams.iter().map(|s| StreamReceiver::new(s, START).masking(dtmf)).collect();
        let mut ops = Vec::with_capacity(64);
        let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now);
        writer.flush(now, Vec::new(), &mut ops);
        Self { now, receivers, writer, ops }
    }

    fn packet(&mut self, number: usize, packet: &[u8], srtp: Option<&mut Srtp>) {
        if number.is_multiple_of(2) {
            self.now = self.now + Duration::from_millis(20);
        }
        let from = SocketAddr::from(([192, 0, 2, 7], 16_384));
        let (writer, receiver) = (&mut self.writer, &mut self.receivers[number % 2]);
        let mut sink = |frame: &Frame<'_>| writer.push(frame);
        match srtp {
            Some(srtp) => receiver.protected(self.now.wall, from, packet, srtp, &mut sink),
            None => receiver.packet(self.now.wall, from, packet, &mut sink),
        }
    }

    /// As a media thread does: reorder windows, a manifest when one is due, what is buffered.
    fn flush(&mut self) {
        let (now, writer) = (self.now, &mut self.writer);
        for receiver in &mut self.receivers {
            receiver.tick(now.wall, &mut |frame: &Frame<'_>| writer.push(frame));
        }
        let records = match writer.manifest_due(now) {
            true => self.receivers.iter().map(|r| r.record(16_384)).collect(),
            false => Vec::new(),
        };
        writer.flush(now, records, &mut self.ops);
        for op in self.ops.drain(..) {
            if let FileOp::Append { bytes, .. } = black_box(op) {
                writer.recycle(bytes);
            }
        }
    }
}

/// Speech of two sides, in turns.
pub(crate) fn prepare(keys: Option<&Keys>) -> Vec<Vec<u8>> {
    let sending =
        |ssrc| Sending { ssrc, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 0, timestamp: 0 };
    let mut senders = [RtpSender::new(sending(1)), RtpSender::new(sending(2))];
    let mut seals = keys.map(|keys| [Srtp::new(keys, keys).unwrap(), Srtp::new(keys, keys).unwrap()]);
    let mut speech = Speech::new(8_000, 1);
    let packet = |number: usize| {
        let payload: Vec<u8> = (0..SAMPLES).map(|_| encode_ulaw(speech.sample())).collect();
        let mut packet = senders[number % 2].next(&payload);
        if let Some(seals) = &mut seals {
            assert!(seals[number % 2].seal_rtp(&mut packet));
        }
        packet
    };
    (0..PREPARED).map(packet).collect()
}
