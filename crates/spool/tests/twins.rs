//! Two record servers record the same segment, and each loses what it loses: a listener hears what either has, once, where it
//! was said, as if one record server had received all of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::net::SocketAddr;
use std::time::Duration;

use media::listen::OpusEncoder;
use media::send::{RtpSender, Sending};
use media::{Frame, StreamReceiver};
use model::{
    CallId, Codec, EndReason, Failure, Gap, GapReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId,
    SegmentRecord, Side, WallTime,
};
use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, proptest};
use spool::assemble::{Assembler, Layout, NoDecoders, Options, Rate};
use spool::memory::MemoryDisk;
use spool::twins::fills;
use spool::{SegmentWriter, layout};

const START: WallTime = WallTime::from_millis(1_795_166_100_000);
const PORT: u16 = 40_000;
/// What a packet takes from its sender to the first record server, in milliseconds.
const TRANSIT_MS: u64 = 30;

fn now(ms: u64) -> Now {
    Now { wall: START, ..Now::default() } + Duration::from_millis(ms)
}

/// What is sent: in tracks, and as whole packets (L16 is none that players know).
fn codecs() -> [(u8, Codec); 5] {
    [
        (0, Codec::new("PCMU", 8_000, 1)),
        (8, Codec::new("PCMA", 8_000, 1)),
        (9, Codec::new("G722", 8_000, 1)),
        (96, Codec::new("L16", 8_000, 1)),
        (111, Codec::new("OPUS", 48_000, 2)),
    ]
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// At the first and at the second record server.
    lost: [bool; 2],
    /// At the second.
    delay_ms: u64,
    silence_ms: u32,
    /// Another source begins.
    anew: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    (0..8_u8, 0..8_u8, 0..30_u64, 0..40_u8, 0..60_u8).prop_map(|(one, two, delay_ms, silence, anew)| Fate {
        lost: [one < 2, two < 2],
        delay_ms,
        silence_ms: if silence == 0 { 400 } else { 0 },
        anew: anew == 0,
    })
}

struct Packet {
    sent_ms: u64,
    octets: Vec<u8>,
    fate: Fate,
}

/// What a sender sends, and what becomes of it. Of each source the first packets arrive, in order: it takes some to be believed,
/// and what comes behind the first of its source but belongs before it is taken for one of the source before.
fn packets(codec: usize, fates: &[Fate]) -> Vec<Packet> {
    let (payload_type, codec) = codecs()[codec].clone();
    let mut opus = OpusEncoder::as_needed(48_000, 1, 24_000).unwrap();
    let sender = |ssrc| {
        let (sequence, timestamp) = (u16::MAX - 20, u32::MAX - 8_000);
        let clock_rate = codec.clock_rate;
        RtpSender::new(Sending { ssrc, payload_type, clock_rate, ptime_ms: 20, sequence, timestamp })
    };
    let (mut ssrc, mut of_source, mut sent_ms) = (1, 0, 0);
    let mut from = sender(ssrc);
    let mut out = Vec::new();
    for (n, fate) in fates.iter().enumerate() {
        if fate.anew && of_source > 10 {
            (ssrc, of_source) = (ssrc + 1, 0);
            from = sender(ssrc);
        }
        if fate.silence_ms > 0 {
            from.skip_silence(fate.silence_ms * codec.clock_rate / 1_000);
            sent_ms += u64::from(fate.silence_ms);
        }
        let octet = |k: usize| u8::try_from((n * 31 + k * 7) % 251).unwrap();
        let payload: Vec<u8> = match payload_type {
            96 => (0..320).map(octet).collect(),
            111 => {
                let tone = |k: usize| i16::try_from((n * 97 + k * k) % 9_001).unwrap() - 4_500;
                opus.encode(&(0..960).map(tone).collect::<Vec<_>>()).unwrap()
            }
            _ => (0..160).map(octet).collect(),
        };
        sent_ms += 20;
        let is_first = of_source < 4;
        let lost = if is_first || n + 4 > fates.len() { [false; 2] } else { fate.lost };
        let delay_ms = if is_first { 0 } else { fate.delay_ms };
        out.push(Packet { sent_ms, octets: from.next(&payload), fate: Fate { lost, delay_ms, ..*fate } });
        of_source += 1;
    }
    out
}

/// What a record server records of what arrives at these times.
fn record(
    node: u16,
    codec: usize,
    arrivals: Vec<(u64, &[u8])>,
    end: EndReason,
    disk: &mut MemoryDisk,
) -> (SegmentRecord, String) {
    let streams = vec![OpenStream::audio(1, Side::Agent, &codecs()[codec..=codec])];
    let open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, streams);
    let mut own = MemoryDisk::new();
    let mut writer = SegmentWriter::open(&open, NodeNumber::new(node).unwrap(), now(0));
    writer.local_address(open.streams[0].stream, SocketAddr::from(([127, 0, 0, 1], PORT)));
    let mut receiver = StreamReceiver::new(&open.streams[0], START);
    let mut arrivals = arrivals;
    arrivals.sort_by_key(|(at, _)| *at);
    let end_ms = arrivals.last().map_or(0, |(at, _)| *at) + 200;
    let mut waiting = arrivals.into_iter().peekable();
    for ms in (0..=end_ms).step_by(100) {
        while let Some((at, packet)) = waiting.next_if(|(at, _)| *at <= ms) {
            let from = SocketAddr::from(([192, 0, 2, 7], 16_384));
            receiver.packet(now(at).wall, from, packet, &mut |f: &Frame<'_>| writer.push(f));
        }
        receiver.tick(now(ms).wall, &mut |f: &Frame<'_>| writer.push(f));
        let mut ops = Vec::new();
        writer.flush(now(ms), Vec::new(), &mut ops);
        own.apply_all(&ops).unwrap();
    }
    receiver.finish(now(end_ms).wall, &mut |f: &Frame<'_>| writer.push(f));
    let mut ops = Vec::new();
    writer.end(now(end_ms), now(end_ms).wall, end, vec![receiver.record(PORT)], &mut ops);
    let record = writer.seal(now(end_ms), &[], &mut ops);
    own.apply_all(&ops).unwrap();
    let directory = format!("{}/of-{node}", layout::twin_directory(writer.directory()));
    for path in own.paths().collect::<Vec<_>>() {
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        disk.put(&format!("{directory}/{name}"), own.bytes(path).unwrap().to_vec());
    }
    (record, directory)
}

fn hear(copies: &[(SegmentRecord, String)], disk: &MemoryDisk) -> Vec<i16> {
    let options = Options { rate: Rate::Full, layout: Layout::Mono };
    let mut assembler = Assembler::new(copies.to_vec(), options);
    let mut heard = Vec::new();
    while let Some(second) = assembler.next(disk, &NoDecoders).unwrap() {
        heard.extend(second);
    }
    assert_eq!(assembler.notes(), []);
    assert_eq!(heard.len() as u64, assembler.total_samples());
    heard
}

/// Both copies, and what one would be that had all that either has.
struct Recorded {
    disk: MemoryDisk,
    both: [(SegmentRecord, String); 2],
    whole: (SegmentRecord, String),
}

/// `later_ms`: how much later the second has everything, by its network and its clock.
fn recorded(codec: usize, sent: &[Packet], later_ms: u64) -> Recorded {
    let mut disk = MemoryDisk::new();
    let first = |p: &Packet| p.sent_ms + TRANSIT_MS;
    let of = |server: usize, at: &dyn Fn(&Packet) -> u64| {
        sent.iter().filter(|p| !p.fate.lost[server]).map(|p| (at(p), &p.octets[..])).collect::<Vec<_>>()
    };
    let second = |p: &Packet| first(p) + later_ms + p.fate.delay_ms;
    let one = record(1, codec, of(0, &first), EndReason::HangUp, &mut disk);
    // It died at the end, so that the first copy is the one that is heard, whatever both have.
    let killed = EndReason::Internal(Failure::Process);
    let two = record(2, codec, of(1, &second), killed, &mut disk);
    let either = sent.iter().filter(|p| p.fate.lost != [true, true]);
    let all = either.map(|p| (first(p), &p.octets[..])).collect();
    let whole = record(3, codec, all, EndReason::HangUp, &mut disk);
    Recorded { disk, both: [one, two], whole }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn what_either_copy_has_is_heard_once_and_in_its_place(
        codec in 0..5_usize,
        fates in proptest::collection::vec(fate(), 12..260),
        later_ms in 0..700_u64,
    ) {
        let sent = packets(codec, &fates);
        let Recorded { disk, both: [one, two], whole } = recorded(codec, &sent, later_ms);
        let expected = hear(&[whole], &disk);
        let heard = hear(&[two.clone(), one.clone()], &disk);
        prop_assert_eq!(heard.len(), expected.len());
        let differ = heard.iter().zip(&expected).position(|(a, b)| a != b);
        prop_assert!(differ.is_none(), "at sample {:?}", differ);
        // What is filled changes what is heard, so the other copy is where it comes from.
        let is_filled = sent.iter().any(|p| p.fate.lost == [true, false]);
        prop_assert_eq!(hear(&[one], &disk) != expected, is_filled);
    }

    #[test]
    fn manifests_tell_how_much_is_filled_and_how_much_is_lost_for_good(
        codec in 0..3_usize,
        lost in proptest::collection::vec((0..5_u8, 0..5_u8), 0..250),
        later_ms in 0..700_u64,
    ) {
        let fate = |(one, two): &(u8, u8)| Fate {
            lost: [*one == 0, *two == 0], delay_ms: 0, silence_ms: 0, anew: false,
        };
        let sent = packets(codec, &lost.iter().map(fate).collect::<Vec<_>>());
        if sent.is_empty() {
            return Ok(());
        }
        let Recorded { both: [one, two], .. } = recorded(codec, &sent, later_ms);
        let count = |what| sent.iter().filter(|p| p.fate.lost == what).count() as u64;
        let fill = fills(&one.0, &two.0).remove(0);
        prop_assert_eq!((fill.filled, fill.missing), (count([true, false]), count([true, true])));
    }
}

/// One packet each 20 ms, of which the first record server loses some and the second none.
fn first_loses(lost: std::ops::Range<usize>, of: usize) -> Vec<Packet> {
    let fate = |n| Fate { lost: [lost.contains(&n), false], delay_ms: 0, silence_ms: 0, anew: false };
    packets(0, &(0..of).map(fate).collect::<Vec<_>>())
}

#[test]
fn what_was_not_to_be_kept_is_not_taken_from_the_other_copy() {
    let sent = first_loses(50..60, 120);
    let Recorded { disk, both: [mut one, two], whole } = recorded(0, &sent, 40);
    assert_eq!(hear(&[one.clone(), two.clone()], &disk), hear(&[whole], &disk));
    let alone = hear(&[one.clone()], &disk);
    for reason in [GapReason::Pause, GapReason::Masked, GapReason::Hold] {
        let gap = one.0.streams[0].gaps.iter_mut().find(|gap| gap.packets == 10).unwrap();
        *gap = Gap { reason, ..*gap };
        assert_eq!(hear(&[one.clone(), two.clone()], &disk), alone, "{reason:?}");
    }
}

#[test]
fn what_a_copy_has_behind_the_end_of_the_other_is_heard() {
    // The other way round than the rest: the one that is heard is shorter, and its source goes on, or another begins.
    for anew in [false, true] {
        let fate = |n: usize| Fate { lost: [false; 2], delay_ms: 0, silence_ms: 0, anew: anew && n == 60 };
        let sent = packets(0, &(0..120).map(fate).collect::<Vec<_>>());
        let mut disk = MemoryDisk::new();
        let arrivals = |of: &[Packet]| -> Vec<(u64, Vec<u8>)> {
            of.iter().map(|p| (p.sent_ms + TRANSIT_MS, p.octets.clone())).collect()
        };
        let mut record_of = |node, of: &[Packet], end| {
            let all = arrivals(of);
            record(node, 0, all.iter().map(|(at, octets)| (*at, &octets[..])).collect(), end, &mut disk)
        };
        let one = record_of(1, &sent[..60], EndReason::HangUp);
        let two = record_of(2, &sent, EndReason::Internal(Failure::Process));
        let whole = record_of(3, &sent, EndReason::HangUp);
        assert_eq!(hear(&[one, two], &disk), hear(&[whole], &disk), "another source: {anew}");
    }
}
