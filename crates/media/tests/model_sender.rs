//! A model of a sender and a network drives the receiver in virtual time; what the model knows to have
//! happened must be what the receiver counted, and every packet must come out once, where it belongs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod receiving;

use std::collections::{BTreeMap, BTreeSet};

use model::GapReason;
use proptest::prelude::*;
use receiving::{Bench, rtp, sender, stream};

/// 10 s from the segment's start, so that nothing lies before it.
const FIRST_US: i64 = 10_000_000;

/// What the network does to a packet; delays in ms.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives(i64),
    Lost,
    Twice(i64, i64),
}

/// One packet as it is sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    fate: Fate,
    /// Silence before it, in frames, and nothing sent.
    silence: u32,
}

/// One source, from its first packet to its last.
#[derive(Clone, Debug)]
struct Phase {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    ptime_ms: u32,
    packets: Vec<Sent>,
    /// Until the next source begins, in ms.
    pause_ms: i64,
}

#[derive(Clone, Debug)]
struct Script {
    phases: Vec<Phase>,
    ppm: i64,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Datagram {
    arrival_us: i64,
    phase: usize,
    number: i64,
    timestamp: u32,
    id: u32,
    bytes: Vec<u8>,
}

fn fate(delay_max: i64) -> impl Strategy<Value = Fate> {
    let delay = 0..delay_max;
    prop_oneof![
        20 => Just(Fate::Arrives(20)),
        6 => delay.clone().prop_map(Fate::Arrives),
        2 => Just(Fate::Lost),
        2 => (delay.clone(), delay).prop_map(|(a, b)| Fate::Twice(a, b)),
    ]
}

/// `delay_max` in ms: up to 60 everything is out of order by no more than the window of late packets after a
/// change of source; beyond it sources must not follow each other at once.
fn phase(delay_max: i64, silences: bool) -> impl Strategy<Value = Phase> {
    let silence =
        if silences { prop_oneof![15 => Just(0_u32), 1 => 1_u32..300].boxed() } else { Just(0).boxed() };
    let sent = (fate(delay_max), silence).prop_map(|(fate, silence)| Sent { fate, silence });
    let near_wrap_16 = prop_oneof![any::<u16>(), 65_500_u16..=u16::MAX];
    let near_wrap_32 = prop_oneof![any::<u32>(), u32::MAX - 20_000..=u32::MAX];
    let pause = if delay_max > 60 { 600..2_000_i64 } else { 0..2_000 };
    (
        near_wrap_16,
        near_wrap_32,
        prop_oneof![Just(10_u32), Just(20), Just(30), Just(60)],
        proptest::collection::vec(sent, 1..150),
        pause,
    )
        .prop_map(|(sequence, timestamp, ptime_ms, packets, pause_ms)| Phase {
            ssrc: 0,
            sequence,
            timestamp,
            ptime_ms,
            packets,
            pause_ms,
        })
}

fn script(delay_max: i64, silences: bool, phases: usize) -> impl Strategy<Value = Script> {
    let phases = proptest::collection::vec(phase(delay_max, silences), 1..=phases);
    (phases, -200_i64..=200).prop_map(|(mut phases, ppm)| {
        (1_u32..).zip(&mut phases).for_each(|(n, phase)| phase.ssrc = n * 0x0101_0101);
        Script { phases, ppm }
    })
}

/// Everything that arrives, in the order of arrival.
fn network(script: &Script) -> Vec<Datagram> {
    let mut datagrams = Vec::new();
    let (mut clock_us, mut id) = (0_i64, 0_u32);
    let mut sent_us = FIRST_US;
    for (index, phase) in script.phases.iter().enumerate() {
        let mut timestamp = phase.timestamp;
        let frame = phase.ptime_ms * 8;
        for (number, sent) in (0_i64..).zip(&phase.packets) {
            timestamp = timestamp.wrapping_add(sent.silence * frame);
            clock_us += i64::from(sent.silence * phase.ptime_ms) * 1_000;
            sent_us = FIRST_US + clock_us + clock_us * script.ppm / 1_000_000;
            id += 1;
            let sequence = phase.sequence.wrapping_add(u16::try_from(number).unwrap());
            let mut payload = vec![0x55; frame as usize];
            payload[..4].copy_from_slice(&id.to_be_bytes());
            let bytes = rtp(0, sequence, timestamp, phase.ssrc, &payload);
            let mut arrive = |delay_ms: i64| {
                let (phase, bytes) = (index, bytes.clone());
                let arrival_us = sent_us + delay_ms * 1_000;
                datagrams.push(Datagram { arrival_us, phase, number, timestamp, id, bytes });
            };
            match sent.fate {
                Fate::Arrives(delay) => arrive(delay),
                Fate::Lost => {}
                Fate::Twice(a, b) => {
                    arrive(a);
                    arrive(b);
                }
            }
            timestamp = timestamp.wrapping_add(frame);
            clock_us += i64::from(phase.ptime_ms) * 1_000;
        }
        clock_us += phase.pause_ms * 1_000;
    }
    let _ = sent_us;
    datagrams.sort_by_key(|d| d.arrival_us);
    datagrams
}

/// What the model says must have been counted.
#[derive(PartialEq, Eq, Debug, Default)]
struct Expected {
    received: u64,
    payload_bytes: u64,
    duplicate: u64,
    lost: u64,
    /// Out of order: reordered or late.
    behind: u64,
    ssrc_changes: u32,
}

fn expected(datagrams: &[Datagram]) -> Expected {
    let mut numbers: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    let (mut expected, mut newest_phase) = (Expected::default(), 0);
    for datagram in datagrams {
        newest_phase = newest_phase.max(datagram.phase);
        let seen = numbers.entry(datagram.phase).or_default();
        let highest = seen.last().copied().unwrap_or(i64::MIN);
        if !seen.insert(datagram.number) {
            expected.duplicate += 1;
            continue;
        }
        expected.received += 1;
        expected.payload_bytes += datagram.bytes.len() as u64 - 12;
        expected.behind += u64::from(datagram.number < highest || datagram.phase < newest_phase);
    }
    for seen in numbers.values() {
        let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
        expected.lost += u64::try_from(last - first + 1).unwrap() - seen.len() as u64;
    }
    expected.ssrc_changes = u32::try_from(numbers.len().saturating_sub(1)).unwrap();
    expected
}

/// The phases, in the order in which something of each was first seen.
fn order_of_sources(datagrams: &[Datagram]) -> Vec<usize> {
    let mut order = Vec::new();
    for datagram in datagrams {
        if !order.contains(&datagram.phase) {
            order.push(datagram.phase);
        }
    }
    order
}

fn check(script: &Script, loss_is_listed_exactly: bool) -> Result<(), TestCaseError> {
    let datagrams = network(script);
    let mut bench = Bench::new(&stream());
    for datagram in &datagrams {
        bench.packet(datagram.arrival_us, sender(), &datagram.bytes);
    }
    let end = datagrams.last().map_or(FIRST_US, |d| d.arrival_us) + 1_000_000;
    bench.finish(end);
    let record = bench.receiver.record(10_000);
    let (counts, frames) = (record.accounting, &bench.kept.frames);

    let mut expected = expected(&datagrams);
    let order = order_of_sources(&datagrams);
    let seen = Expected {
        received: counts.received,
        payload_bytes: counts.payload_bytes,
        duplicate: counts.duplicate,
        lost: counts.lost,
        behind: counts.reordered + counts.late,
        ssrc_changes: counts.ssrc_changes,
    };
    if !order.is_sorted() {
        // The first packet of a source overtook all of the one before it: nobody can tell which is the later one.
        (expected.behind, expected.ssrc_changes) = (seen.behind, seen.ssrc_changes);
    }
    prop_assert_eq!(seen, expected);
    prop_assert_eq!((counts.invalid, counts.other_source, counts.discarded), (0, 0, 0));

    // Every packet once, byte for byte, and nothing else.
    let ids: BTreeMap<u32, &Datagram> = datagrams.iter().map(|d| (d.id, d)).collect();
    let mut handed_on = BTreeSet::new();
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    for frame in frames {
        let id = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
        let sent = ids[&id];
        prop_assert!(handed_on.insert(id), "packet {} twice", id);
        prop_assert_eq!(&frame.payload, &sent.bytes[12..]);
        prop_assert_eq!(frame.duration_us, Some(u32::try_from(frame.payload.len()).unwrap() * 125));
        prop_assert!(frame.waited_us <= 200_000, "waited {} us", frame.waited_us);
        // The first anchor of its source says where it lies, to the microsecond.
        let anchor = record.anchors.iter().find(|a| a.ssrc == frame.ssrc).unwrap();
        let ticks = i64::from(sent.timestamp.wrapping_sub(anchor.rtp).cast_signed());
        prop_assert_eq!(frame.position_us, anchor.position_us + ticks * 125);
        if !frame.late {
            let before = last.insert(frame.ssrc, sent.number);
            prop_assert!(before.is_none_or(|b| b < sent.number), "out of order without being late");
        }
    }
    prop_assert_eq!(handed_on.len(), ids.len());
    prop_assert_eq!(frames.iter().filter(|f| f.late).count() as u64, counts.late);

    // Anchors are where arrival says, to within half a sample, unless moved behind what was there.
    for (index, phase) in script.phases.iter().enumerate() {
        let Some(first) = datagrams.iter().find(|d| d.phase == index) else { continue };
        let anchor = record.anchors.iter().find(|a| a.ssrc == phase.ssrc).unwrap();
        let off = anchor.position_us - first.arrival_us;
        let most = if index == order[0] { 63 } else { 500_000 };
        prop_assert!((-63..=most).contains(&off), "anchor of source {} is off by {} us", index, off);
    }
    if loss_is_listed_exactly && !datagrams.is_empty() {
        let lost = record.gaps.iter().filter(|g| g.reason == GapReason::Loss);
        // What is missing before the first frame was silence when it came; it is counted, not listed.
        let numbers: BTreeSet<i64> = datagrams.iter().map(|d| d.number).collect();
        let (least, first) = (*numbers.first().unwrap(), datagrams[0].number);
        let before = (least..first).filter(|n| !numbers.contains(n)).count() as u64;
        prop_assert_eq!(lost.map(|g| u64::from(g.packets)).sum::<u64>(), counts.lost - before);
    }
    for gap in &record.gaps {
        prop_assert!(gap.from_us < gap.until_us, "{:?}", gap);
    }
    Ok(())
}

/// A source of one packet, which that of the next source overtakes: counted by arrival, kept where they belong.
#[test]
fn a_source_that_is_overtaken_as_a_whole() {
    let source = |ssrc, delays: &[i64]| {
        let packets = delays.iter().map(|&d| Sent { fate: Fate::Arrives(d), silence: 0 }).collect();
        Phase { ssrc, sequence: 0, timestamp: 0, ptime_ms: 10, packets, pause_ms: 0 }
    };
    let script = Script { phases: vec![source(1, &[28]), source(2, &[0, 20, 20])], ppm: 0 };
    assert!(!order_of_sources(&network(&script)).is_sorted());
    check(&script, false).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_source_through_a_bad_network(script in script(400, true, 1)) {
        check(&script, false)?;
    }

    #[test]
    fn one_source_without_silence_lists_every_loss(script in script(400, false, 1)) {
        check(&script, true)?;
    }

    #[test]
    fn sources_that_follow_each_other_at_once(script in script(60, true, 5)) {
        check(&script, false)?;
    }

    #[test]
    fn sources_with_pauses_between(script in script(400, true, 5)) {
        check(&script, false)?;
    }
}
