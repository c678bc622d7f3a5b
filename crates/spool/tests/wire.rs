//! From the wire to the ear: RTP of test callers through the receiver and the writer onto a disk, which dies at
//! any moment; what had arrived 200 ms before is on disk, at its time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use media::send::{RtpSender, Sending};
use media::{Frame, StreamReceiver, g711};
use model::{CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, Side, WallTime};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use spool::assemble::{Assembler, Layout, NoDecoders, Options, Rate};
use spool::memory::MemoryDisk;
use spool::mka::Reader;
use spool::repair::repair;
use spool::{FileOp, Files, SegmentWriter, layout};

const START: WallTime = WallTime::from_millis(1_795_166_100_000);

fn now(ms: u64) -> Now {
    Now { wall: START, ..Now::default() } + Duration::from_millis(ms)
}

fn open() -> OpenSegment {
    let codecs = [(0, Codec::new("PCMU", 8_000, 1)), (101, Codec::new("TELEPHONE-EVENT", 8_000, 1))];
    let streams = [(1, Side::Agent), (2, Side::External)];
    let streams = streams.map(|(n, side)| OpenStream::audio(n, side, &codecs)).to_vec();
    OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, streams)
}

/// What the network does to one packet.
#[derive(Clone, Copy, Debug)]
struct Fate {
    lost: bool,
    delay_ms: u64,
    silence_ms: u32,
}

fn fate() -> impl Strategy<Value = Fate> {
    (0..20_u8, 0..40_u64, 0..30_u8).prop_map(|(lost, delay, silence)| Fate {
        lost: lost == 0,
        delay_ms: if delay > 35 { delay * 2 } else { delay / 4 },
        silence_ms: if silence == 0 { 400 } else { 0 },
    })
}

/// A packet that arrives: when, on which stream, what it says, and its place by its sender's clock.
struct Arrival {
    at_ms: u64,
    stream: usize,
    packet: Vec<u8>,
    payload: Vec<u8>,
    sent_ms: u64,
}

fn arrivals(fates: &[Fate]) -> Vec<Arrival> {
    let sending = |n| Sending {
        ssrc: n,
        payload_type: 0,
        clock_rate: 8_000,
        ptime_ms: 20,
        sequence: u16::MAX - 20,
        timestamp: u32::MAX - 8_000,
    };
    let mut out = Vec::new();
    for stream in 0..2_usize {
        let mut sender = RtpSender::new(sending(u32::try_from(stream).unwrap() + 1));
        let mut sent_ms = 0;
        for (n, fate) in fates.iter().enumerate().filter(|(n, _)| n % 2 == stream) {
            if fate.silence_ms > 0 {
                sender.skip_silence(fate.silence_ms * 8);
                sent_ms += u64::from(fate.silence_ms);
            }
            let mark = g711::encode_ulaw(i16::try_from(n % 100 + 20).unwrap() * 200);
            let payload = [&[mark; 152][..], &u64::try_from(n).unwrap().to_be_bytes()].concat();
            let packet = sender.next(&payload);
            sent_ms += 20;
            if !fate.lost {
                out.push(Arrival { at_ms: sent_ms + fate.delay_ms, stream, packet, payload, sent_ms });
            }
        }
    }
    out.sort_by_key(|a| a.at_ms);
    out
}

/// Records a call; the operations with their times, and the writer to end it.
fn record(arrivals: &[Arrival]) -> (Vec<(u64, FileOp)>, SegmentWriter, Vec<StreamReceiver>, u64) {
    let open = open();
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now(0));
    let mut receivers: Vec<_> = open.streams.iter().map(|s| StreamReceiver::new(s, START)).collect();
    let mut ops = Vec::new();
    let mut waiting = arrivals.iter().peekable();
    let last = arrivals.last().map_or(0, |a| a.at_ms);
    for ms in (0..=last + 100).step_by(100) {
        while let Some(a) = waiting.next_if(|a| a.at_ms <= ms) {
            let from = SocketAddr::from(([192, 0, 2, 7], 16_384));
            let mut sink = |f: &Frame<'_>| writer.push(f);
            receivers[a.stream].packet(now(a.at_ms).wall, from, &a.packet, &mut sink);
        }
        for receiver in &mut receivers {
            receiver.tick(now(ms).wall, &mut |f: &Frame<'_>| writer.push(f));
        }
        let mut batch = Vec::new();
        writer.flush(now(ms), Vec::new(), &mut batch);
        ops.extend(batch.into_iter().map(|op| (ms, op)));
    }
    (ops, writer, receivers, last + 100)
}

fn readable(disk: &MemoryDisk) -> BTreeSet<Vec<u8>> {
    let mut out = BTreeSet::new();
    for path in disk.paths().filter(|p| p.ends_with(".mka")) {
        let mut reader = Reader::new(disk.open(path).unwrap()).unwrap();
        while let Some(block) = reader.next_block().unwrap() {
            if !block.discardable {
                out.insert(block.payload);
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn what_arrived_200_ms_before_a_crash_is_on_disk(
        fates in proptest::collection::vec(fate(), 2..300),
        at in any::<prop::sample::Index>(),
        inside in 0..400_usize,
    ) {
        let arrivals = arrivals(&fates);
        let (ops, writer, ..) = record(&arrivals);
        let at = at.index(ops.len());
        let died_ms = ops[at].0;
        let mut disk = MemoryDisk::new();
        disk.apply_all(ops[..at].iter().map(|(_, op)| op)).unwrap();
        if inside > 0 {
            disk.apply_cut(&ops[at].1, inside).unwrap();
        }
        if at > 2 {
            let path = layout::ManifestPath::parse(&writer.manifest_path()).unwrap();
            let repaired = repair(now(died_ms + 1), writer.record().id, &path, NodeNumber::SINGLE, &disk).unwrap();
            disk.apply_all(&repaired.ops).unwrap();
        }
        let heard = readable(&disk);
        for a in arrivals.iter().filter(|a| a.at_ms + 200 <= died_ms) {
            prop_assert!(heard.contains(&a.payload), "arrived at {} ms, died at {died_ms} ms", a.at_ms);
        }
    }

    #[test]
    fn a_call_that_ends_is_heard_as_it_was_sent(fates in proptest::collection::vec(fate(), 2..300)) {
        let arrivals = arrivals(&fates);
        let (ops, mut writer, mut receivers, end_ms) = record(&arrivals);
        let mut disk = MemoryDisk::new();
        disk.apply_all(ops.iter().map(|(_, op)| op)).unwrap();
        for receiver in &mut receivers {
            receiver.finish(now(end_ms).wall, &mut |f: &Frame<'_>| writer.push(f));
        }
        let streams = receivers.iter().map(|r| r.record(40_000)).collect();
        let mut ops = Vec::new();
        writer.end(now(end_ms), now(end_ms).wall, EndReason::HangUp, streams, &mut ops);
        let record = writer.seal(now(end_ms), &[], &mut ops);
        disk.apply_all(&ops).unwrap();

        let received: u64 = record.streams.iter().map(|s| s.accounting.received).sum();
        prop_assert_eq!(received, arrivals.len() as u64);
        prop_assert_eq!(readable(&disk).len(), arrivals.len());

        let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
        let mut assembler = Assembler::new(vec![(record.clone(), writer.directory().to_owned())], options);
        let mut pcm = Vec::new();
        while let Some(second) = assembler.next(&disk, &NoDecoders).unwrap() {
            pcm.extend(second);
        }
        // Between any two packets of a stream there is as much time in the recording as at the sender.
        for (channel, stream) in record.streams.iter().enumerate() {
            let Some(first) = stream.anchors.first() else { continue };
            if stream.anchors.len() > 1 {
                continue; // the receiver found that time had jumped
            }
            let of_stream = || arrivals.iter().filter(|a| a.stream == channel);
            let anchored = of_stream().next().unwrap();
            for a in of_stream() {
                let ms = first.position_us / 1_000 + i64::try_from(a.sent_ms).unwrap() - i64::try_from(anchored.sent_ms).unwrap();
                let Ok(ms) = usize::try_from(ms) else { continue };
                // Its middle: at their edges media fade.
                let sample = pcm.get((ms * 8 + 80) * 2 + channel).copied();
                prop_assert_eq!(sample, Some(g711::decode_ulaw(a.payload[0])), "at {} ms", ms);
            }
        }
    }
}
