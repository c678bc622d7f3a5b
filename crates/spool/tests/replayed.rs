//! A segment that takes over is sent what came before once more: what both have is heard once, where it was said.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use media::send::{RtpSender, Sending};
use media::{Frame, StreamReceiver, g711};
use model::state::Respondent;
use model::{
    CallId, Codec, EndReason, Failure, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, SegmentRecord,
    Side, WallTime,
};
use spool::SegmentWriter;
use spool::assemble::{Assembler, Layout, NoDecoders, Options, Rate};
use spool::memory::MemoryDisk;

const START: WallTime = WallTime::from_millis(1_795_166_100_000);
/// How many packets of 20 ms the sender sends: eight seconds.
const PACKETS: u64 = 400;

fn now(ms: u64) -> Now {
    Now { wall: START, ..Now::default() } + Duration::from_millis(ms)
}

/// What packet `n` sounds like: no neighbor sounds the same.
fn mark(n: u64) -> u8 {
    g711::encode_ulaw(i16::try_from(n % 90 + 10).unwrap() * 200)
}

fn packets() -> Vec<Vec<u8>> {
    let sending =
        Sending { ssrc: 7, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 65_400, timestamp: 1 };
    let mut sender = RtpSender::new(sending);
    (0..PACKETS).map(|n| sender.next(&[mark(n); 160])).collect()
}

/// Records some of the packets as a segment that began then, each as if it had come at a time.
fn record(
    (number, started_ms): (u16, u64),
    numbers: Range<u64>,
    came_ms: impl Fn(u64) -> u64,
    disk: &mut MemoryDisk,
) -> (SegmentRecord, String) {
    let streams = vec![OpenStream::audio(1, Side::Agent, &[(0, Codec::new("PCMU", 8_000, 1))])];
    let id = SegmentId::from_u64(number.into());
    let respondent = if number == 1 { Respondent::No } else { Respondent::Yes };
    let open = OpenSegment {
        number,
        total: number,
        respondent,
        started: now(started_ms).wall,
        ..OpenSegment::first(id, CallId::from_u64(1), START, streams)
    };
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now(started_ms));
    let mut receiver = StreamReceiver::new(&open.streams[0], open.started);
    let (mut ops, mut last_ms, from) = (Vec::new(), 0, SocketAddr::from(([192, 0, 2, 7], 16_384)));
    for (n, packet) in (0..).zip(packets()).filter(|(n, _)| numbers.contains(n)) {
        last_ms = came_ms(n);
        receiver.packet(now(last_ms).wall, from, &packet, &mut |f: &Frame<'_>| writer.push(f));
        writer.flush(now(last_ms), Vec::new(), &mut ops);
    }
    let end = now(last_ms + 20);
    receiver.finish(end.wall, &mut |f: &Frame<'_>| writer.push(f));
    let reason = if number == 1 { EndReason::Internal(Failure::Process) } else { EndReason::HangUp };
    writer.end(end, end.wall, reason, vec![receiver.record(40_000)], &mut ops);
    let record = writer.seal(end, &[], &mut ops);
    disk.apply_all(&ops).unwrap();
    (record, writer.directory().to_owned())
}

/// The first half is recorded as a segment; then another takes over, which is sent the second before once more. How many
/// packets are heard where they were said, and how long the recording is.
fn check(came_again_ms: impl Fn(u64) -> u64) -> (usize, u64) {
    let mut disk = MemoryDisk::new();
    let one = record((1, 0), 0..200, |n| 20 * n, &mut disk);
    let two = record((2, 2_000), 150..PACKETS, came_again_ms, &mut disk);
    let options = Options { rate: Rate::Narrow, layout: Layout::Mono };
    let mut assembler = Assembler::new(vec![one, two], options);
    let mut pcm = Vec::new();
    while let Some(second) = assembler.next(&disk, &NoDecoders).unwrap() {
        pcm.extend(second);
    }
    // The middle of each: media fade at their edges.
    let middle = |n: u64| pcm.get(usize::try_from(n * 160 + 80).unwrap()).copied();
    let in_place = (0..PACKETS).filter(|n| middle(*n) == Some(g711::decode_ulaw(mark(*n)))).count();
    (in_place, assembler.total_samples() / 8)
}

#[test]
fn what_is_replayed_is_heard_once_and_where_it_was_said() {
    // As the relay says when each came.
    assert_eq!(check(|n| 20 * n), (400, 8_000));
}

/// The same by when they arrived, all at once at first.
#[test]
fn by_its_arrival_it_would_be_heard_twice_and_all_else_too_late() {
    let (in_place, length_ms) = check(|n| (20 * n).max(4_200));
    assert!(in_place < 220, "{in_place} are in their places");
    assert!(length_ms > 9_000, "{length_ms} ms");
}
