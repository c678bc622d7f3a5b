//! What a segment in progress costs in memory, and what waits for its file.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use media::send::{RtpSender, Sending};
use media::{Frame, StreamReceiver};
use model::{
    CallId, Codec, Metadata, Mono, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, WallTime,
};
use spool::redo::{Record, Room, Shelf};
use spool::{FileOp, SegmentWriter};

const START: WallTime = WallTime(1_795_166_100_000_000_000);

fn at(us: u64) -> Now {
    Now { mono: Mono(us * 1_000), wall: WallTime(START.0 + i64::try_from(us).unwrap() * 1_000) }
}

/// Octets that are held after that and were not before.
fn held(run: impl FnOnce()) -> usize {
    usize::try_from(allocation_counter::measure(run).bytes_current).unwrap()
}

fn two_way(metadata: usize) -> OpenSegment {
    let codecs = [(0, Codec::new("PCMU", 8_000, 1)), (8, Codec::new("PCMA", 8_000, 1))];
    let streams =
        [(1, Side::Agent), (2, Side::External)].map(|(n, side)| OpenStream::audio(n, side, &codecs));
    let mut open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, streams.to_vec());
    open.metadata.push(Metadata {
        at: START,
        method: "INVITE".to_owned(),
        content_type: "application/rs-metadata+xml".to_owned(),
        text: "x".repeat(metadata),
        base64: None,
        problem: None,
    });
    open
}

/// Records a segment for so long, with buffers that come back from a disk, and leaves it as it is then.
fn record(open: &OpenSegment, seconds: u64) -> (SegmentWriter, Vec<StreamReceiver>, Vec<Vec<u8>>) {
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let mut writer = SegmentWriter::open(open, NodeNumber::SINGLE, at(0));
    let mut receivers: Vec<_> = open.streams.iter().map(|s| StreamReceiver::new(s, START)).collect();
    let sender = |ssrc| {
        let (payload_type, clock_rate, ptime_ms) = (0, 8_000, 20);
        RtpSender::new(Sending { ssrc, payload_type, clock_rate, ptime_ms, sequence: 0, timestamp: 0 })
    };
    let mut senders = [sender(1), sender(2)];
    let (mut spare, mut ops) = (Vec::<Vec<u8>>::new(), Vec::new());
    for frame in 0..seconds * 50 {
        let now = at(frame * 20_000);
        for (receiver, sender) in receivers.iter_mut().zip(&mut senders) {
            let packet = sender.next(&[0xd5; 160]);
            receiver.packet(now.wall, from, &packet, &mut |frame: &Frame<'_>| writer.push(frame));
        }
        if frame % 5 == 4 {
            if writer.wants_buffer()
                && let Some(buffer) = spare.pop()
            {
                writer.recycle(buffer);
            }
            let due = writer.manifest_due(now);
            let records = if due { receivers.iter().map(|r| r.record(4_000)).collect() } else { Vec::new() };
            writer.flush(now, records, &mut ops);
            spare.extend(ops.drain(..).filter_map(|op| match op {
                FileOp::Append { mut bytes, .. } => {
                    bytes.clear();
                    Some(bytes)
                }
                _ => None,
            }));
        }
    }
    (writer, receivers, spare)
}

#[test]
fn a_segment_of_two_streams_holds_its_metadata_and_little_more() {
    let metadata = 6_000;
    let open = two_way(metadata);
    let mut kept = None;
    let octets = held(|| kept = Some(record(&open, 10))) + size_of::<SegmentWriter>();
    // 14 KiB beside the metadata: a buffer that is filled and one that is at the disk, of 2 to 3 KiB each for 100 ms; two
    // receivers; the record of segment, streams and part. 12.4 are known.
    println!("{octets} octets");
    assert!(octets <= metadata + (14 << 10), "{octets} octets");
    drop(kept);
}

#[test]
fn what_waits_for_its_file_takes_no_more_than_it_is() {
    let bytes = [0x55; 2_000];
    let record = Record { path: "default/2026-11-20/0123456789abcdef/001-01.mka", offset: 0, bytes: &bytes };
    let mut shelf = Shelf::new(1);
    let octets = held(|| {
        for tick in 0..100 {
            while let Room::Wanted(leaf) = shelf.room(Mono(tick * 5_000_000)) {
                shelf.opened(leaf);
            }
            // Fifty of a thousand segments are flushed in a tick.
            for _ in 0..50 {
                shelf.put(&record).unwrap();
            }
            assert!(shelf.unwritten().is_some());
            shelf.written(true);
        }
    });
    assert_eq!(shelf.waiting(), 100 * 50 * bytes.len());
    // Heads and paths are a twentieth; 256 KiB are the buffer that is written from.
    let most = shelf.waiting() * 21 / 20 + (256 << 10);
    println!("{octets} of {most}");
    assert!(octets <= most, "{octets} octets, where {} wait", shelf.waiting());
}
