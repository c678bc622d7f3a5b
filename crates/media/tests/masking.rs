//! Masked digits: nothing of a tone goes on, and all else does, in order and at its place.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod receiving;

use ezk_g722::libg722::{Bitrate, encoder::Encoder};
use media::g711::{encode_alaw, encode_ulaw};
use media::speech::Speech;
use media::tone::dtmf_frequencies;
use media::{Frame, FrameKind, StreamReceiver};
use model::peer::Flowing;
use model::{Codec, Dtmf, Gap, GapReason, OpenStream};
use receiving::{Bench, START, Seen, at, flowing, rtp, sender, stream};

/// dBm0 of a sine of full scale (G.711 section 5: µ-law 3.17, A-law 3.14).
const FULL_SCALE: f64 = 3.15;

const KEYS: &str = "123A456B789C*0#D";

/// A codec as it goes over the wire: payload type, and samples a second of what it codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wire {
    Ulaw,
    Alaw,
    G722,
    L16,
    L48,
    Opus,
}

impl Wire {
    const ALL: [Self; 5] = [Self::Ulaw, Self::Alaw, Self::G722, Self::L16, Self::L48];

    const fn rate(self) -> usize {
        match self {
            Self::Ulaw | Self::Alaw => 8_000,
            Self::G722 | Self::L16 => 16_000,
            Self::L48 | Self::Opus => 48_000,
        }
    }

    const fn payload_type(self) -> u8 {
        match self {
            Self::Ulaw => 0,
            Self::Alaw => 8,
            Self::G722 => 9,
            Self::L16 => 96,
            Self::L48 => 97,
            Self::Opus => 111,
        }
    }

    /// RTP ticks for so many samples.
    const fn ticks(self, samples: usize) -> usize {
        if matches!(self, Self::G722) { samples / 2 } else { samples }
    }

    fn packets(self, samples: &[i16], each: usize) -> Vec<Vec<u8>> {
        let mut g722 = Encoder::new(Bitrate::Mode1_64000, false, false);
        let code = |samples: &[i16]| match self {
            Self::Ulaw => samples.iter().map(|s| encode_ulaw(*s)).collect(),
            Self::Alaw => samples.iter().map(|s| encode_alaw(*s)).collect(),
            Self::G722 => g722.encode(samples),
            Self::L16 | Self::L48 => samples.iter().flat_map(|s| s.to_be_bytes()).collect(),
            Self::Opus => vec![31 << 3; 40],
        };
        samples.chunks_exact(each).map(code).collect()
    }
}

fn offered() -> OpenStream {
    let mut stream = stream();
    stream.codecs.extend([
        (9, Codec::new("G722", 8_000, 1)),
        (96, Codec::new("L16", 16_000, 1)),
        (97, Codec::new("L16", 48_000, 1)),
        (98, Codec::new("red", 8_000, 1)),
    ]);
    stream
}

/// A press: which key, from when to when in seconds, the level of its louder tone in dBm0, and by how many dB the
/// row is above the column.
#[derive(Clone, Copy, Debug)]
struct Press {
    key: char,
    from: f64,
    until: f64,
    level: f64,
    twist: f64,
}

impl Press {
    const fn new(key: char, from: f64, level: f64, twist: f64) -> Self {
        Self { key, from, until: from + 0.050, level, twist }
    }

    fn at(&self, time: f64) -> f64 {
        if !(self.from..self.until).contains(&time) {
            return 0.0;
        }
        let (row, column) = dtmf_frequencies(self.key).unwrap();
        let amplitude = |dbm0: f64| 32_768.0 * 10_f64.powf((dbm0 - FULL_SCALE) / 20.0);
        let (low, high) = (self.level + self.twist.min(0.0), self.level - self.twist.max(0.0));
        let sine = |hz: f64| (std::f64::consts::TAU * hz * (time - self.from)).sin();
        amplitude(low) * sine(row) + amplitude(high) * sine(column)
    }

    fn overlaps(&self, from_us: i64, until_us: i64) -> bool {
        from_us < (self.until * 1e6) as i64 && until_us > (self.from * 1e6) as i64
    }
}

/// So many seconds with these presses, over a hum of noise.
fn scene(rate: usize, seconds: f64, presses: &[Press]) -> Vec<i16> {
    let mut noise = 1_u32;
    (0..(seconds * rate as f64) as usize)
        .map(|i| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hum = f64::from(noise >> 16) / 65_536.0 * 16.0 - 8.0;
            let tone: f64 = presses.iter().map(|p| p.at(i as f64 / rate as f64)).sum();
            (tone + hum).round().clamp(-32_768.0, 32_767.0) as i16
        })
        .collect()
}

/// What came out of a masking receiver.
struct Outcome {
    frames: Vec<Seen>,
    gaps: Vec<Gap>,
    sent: usize,
    masked: u64,
    unsearched: u64,
    lost: u64,
}

/// Sends samples in packets of `ptime` ms; `drop` says which packets are lost.
fn send(wire: Wire, samples: &[i16], ptime: usize, drop: impl Fn(usize) -> bool) -> Outcome {
    let each = wire.rate() * ptime / 1_000;
    let mut bench = masking();
    let packets = wire.packets(samples, each);
    for (n, payload) in packets.iter().enumerate().filter(|(n, _)| !drop(*n)) {
        let packet = rtp(wire.payload_type(), n as u16, (wire.ticks(each) * n) as u32, 7, payload);
        bench.packet((ptime * n) as i64 * 1_000, sender(), &packet);
    }
    bench.finish((packets.len() * ptime) as i64 * 1_000);
    outcome(bench, packets.len())
}

fn masking() -> Bench {
    let mut bench = Bench::new(&offered());
    bench.receiver = StreamReceiver::new(&offered(), START).masking(Dtmf::Mask);
    bench
}

fn outcome(bench: Bench, sent: usize) -> Outcome {
    let record = bench.receiver.record(4_000);
    let counts = record.accounting;
    Outcome {
        frames: bench.kept.frames,
        gaps: record.gaps,
        sent,
        masked: counts.masked,
        unsearched: counts.unsearched,
        lost: counts.lost,
    }
}

impl Outcome {
    /// Nothing of the presses went on, each packet is in one count, order and places are as they were, nothing
    /// waited for long, and no more than a tone and its surroundings was dropped.
    #[track_caller]
    fn check(&self, presses: &[Press], ptime: i64, what: &str) {
        for frame in &self.frames {
            let until = frame.position_us + ptime * 1_000;
            let tone = presses.iter().find(|p| p.overlaps(frame.position_us, until));
            assert!(tone.is_none(), "{what}: a frame at {} holds some of {tone:?}", frame.position_us);
            assert_eq!(frame.position_us, i64::from(frame.sequence) * ptime * 1_000, "{what}");
            assert!(frame.waited_us <= 70_000 + ptime * 1_000, "{what}: waited {} µs", frame.waited_us);
        }
        assert!(self.frames.is_sorted_by_key(|f| f.sequence), "{what}");
        assert_eq!(self.frames.len() as u64 + self.masked + self.lost, self.sent as u64, "{what}");
        let listed: u64 = self.masked_gaps().map(|g| u64::from(g.packets)).sum();
        assert_eq!(listed, self.masked, "{what}");
        let longest = |p: &Press| ((p.until - p.from) * 1e3) as i64 + 2 * (20 + 13) + 2 * ptime;
        let most: i64 = presses.iter().map(|p| longest(p) / ptime + 1).sum();
        assert!(self.masked <= most as u64, "{what}: {} masked", self.masked);
    }

    fn masked_gaps(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|g| g.reason == GapReason::Masked)
    }
}

#[test]
fn every_key_at_every_level_and_twist_is_masked_in_each_law() {
    for wire in [Wire::Ulaw, Wire::Alaw] {
        for key in KEYS.chars() {
            for level in [-3.0, -10.0, -25.0] {
                for twist in [-6.0, 0.0, 6.0] {
                    // Beginning at any place of a packet: 1.3 ms is in none of its parts.
                    let from = 0.2 + f64::from(key as u32 % 16) * 0.0013;
                    let press = Press::new(key, from, level, twist);
                    let outcome = send(wire, &scene(8_000, 0.5, &[press]), 20, |_| false);
                    outcome.check(&[press], 20, &format!("{wire:?} {press:?}"));
                    assert!(outcome.masked >= 3, "{wire:?} {press:?}: {}", outcome.masked);
                }
            }
        }
    }
}

#[test]
fn every_codec_that_can_be_looked_into_is_in_packets_of_any_length() {
    for wire in Wire::ALL {
        for ptime in [5, 10, 20, 30, 60] {
            let presses: Vec<_> = (0..8_u32)
                .map(|n| {
                    let key = KEYS.chars().nth(n as usize * 5 % 16).unwrap();
                    Press::new(key, 0.2 + f64::from(n) * 0.3017, -10.0, f64::from(n) - 4.0)
                })
                .collect();
            let outcome = send(wire, &scene(wire.rate(), 2.76, &presses), ptime, |_| false);
            outcome.check(&presses, ptime as i64, &format!("{wire:?} {ptime} ms"));
            assert_eq!((outcome.masked_gaps().count(), outcome.unsearched), (8, 0), "{wire:?} {ptime} ms");
        }
    }
}

#[test]
fn digits_in_a_row_are_all_masked() {
    let presses: Vec<_> = KEYS
        .chars()
        .enumerate()
        .map(|(n, key)| Press {
            until: 0.24 + 0.08 * n as f64,
            ..Press::new(key, 0.2 + 0.08 * n as f64, -8.0, 2.0)
        })
        .collect();
    for wire in Wire::ALL {
        let outcome = send(wire, &scene(wire.rate(), 2.0, &presses), 20, |_| false);
        outcome.check(&presses, 20, &format!("{wire:?}"));
    }
}

#[test]
fn a_tone_that_is_cut_by_loss_is_masked() {
    // 50 ms in packets of 20 ms are 3 or 4 packets: any of them is lost, or any two.
    for shift in 0..16 {
        let press = Press::new('7', 0.2 + f64::from(shift) * 0.00125, -10.0, 0.0);
        let samples = scene(8_000, 0.5, &[press]);
        for lost in 0..16_u32 {
            let is_lost = |n: usize| (10..14).contains(&n) && lost & (1 << (n - 10)) != 0;
            let outcome = send(Wire::Ulaw, &samples, 20, is_lost);
            // What is left of it in a packet of which less than a block is tone cannot be known.
            for frame in &outcome.frames {
                let from = frame.position_us.max((press.from * 1e6) as i64);
                let until = (frame.position_us + 20_000).min((press.until * 1e6) as i64);
                assert!(until - from < 13_500, "{lost:04b}, {shift}: {} µs of the tone", until - from);
            }
        }
    }
}

#[test]
fn a_tone_at_the_beginning_at_the_end_and_beside_a_pause_is_masked() {
    let press = Press { until: 0.035, ..Press::new('3', 0.0, -10.0, 0.0) };
    send(Wire::Alaw, &scene(8_000, 0.3, &[press]), 20, |_| false).check(&[press], 20, "at the beginning");
    let press = Press { until: 0.3, ..Press::new('3', 0.262, -10.0, 0.0) };
    send(Wire::Alaw, &scene(8_000, 0.3, &[press]), 20, |_| false).check(&[press], 20, "at the end");
    let press = Press { until: 0.24, ..Press::new('3', 0.16, -10.0, 0.0) };
    let mut bench = masking();
    for (n, payload) in Wire::Ulaw.packets(&scene(8_000, 0.6, &[press]), 160).iter().enumerate() {
        let us = n as i64 * 20_000;
        match n {
            10 => bench.update(us, &OpenStream { flowing: Flowing::Paused, ..offered() }),
            20 => bench.update(us, &offered()),
            _ => {}
        }
        bench.packet(us, sender(), &rtp(0, n as u16, n as u32 * 160, 7, payload));
    }
    bench.finish(600_000);
    let outcome = outcome(bench, 30);
    assert!(outcome.frames.iter().all(|f| !press.overlaps(f.position_us, f.position_us + 20_000)));
    // What came before the pause is let go by its next tick, not by its end.
    assert!(outcome.frames.iter().all(|f| f.waited_us <= 120_000));
    assert!(
        outcome.frames.iter().any(|f| f.sequence == 5) && outcome.frames.iter().any(|f| f.sequence == 25)
    );
}

#[test]
fn behind_a_sender_that_falls_silent_nothing_is_waited_for() {
    let mut bench = masking();
    for n in 0..5_u16 {
        bench.packet(i64::from(n) * 20_000, sender(), &rtp(0, n, u32::from(n) * 160, 7, &[0xd5; 160]));
    }
    bench.until(300_000);
    assert_eq!(bench.kept.frames.len(), 5);
    assert!(bench.kept.frames.iter().all(|f| f.waited_us < 240_000));
}

#[test]
fn voices_are_not_masked() {
    for seed in 0..24 {
        let mut samples = Vec::new();
        Speech::new(8_000, seed).fill(8_000 * 60, &mut samples);
        let wire = if seed % 2 == 0 { Wire::Ulaw } else { Wire::Alaw };
        // With loss too: each makes an edge, where one block is enough.
        let outcome = send(wire, &samples, 20, |n| seed >= 12 && n % 50 == 49);
        assert_eq!(outcome.masked, 0, "seed {seed}");
        assert_eq!(outcome.masked_gaps().count(), 0);
    }
}

#[test]
fn a_voice_around_a_tone_stays() {
    let press = Press { until: 5.1, ..Press::new('5', 5.0, -10.0, 0.0) };
    let mut samples = Vec::new();
    Speech::new(8_000, 3).fill(8_000 * 10, &mut samples);
    // Somebody speaks, stops, presses, and goes on.
    for (i, sample) in samples.iter_mut().enumerate() {
        let time = i as f64 / 8_000.0;
        if (4.9..5.2).contains(&time) {
            *sample = press.at(time).round() as i16;
        }
    }
    let outcome = send(Wire::Ulaw, &samples, 20, |_| false);
    outcome.check(&[press], 20, "in speech");
    assert!((5..=10).contains(&outcome.masked), "{}", outcome.masked);
}

/// A packet that is not audio, and how many packets are masked when it comes between audio.
fn beside(payload_type: u8, payload: &[u8]) -> Outcome {
    let mut bench = masking();
    let audio = Wire::Ulaw.packets(&scene(8_000, 0.6, &[]), 160);
    let mut sequence = 0;
    for (n, payload_of_audio) in audio.iter().enumerate() {
        let us = n as i64 * 20_000;
        if n == 15 {
            for _ in 0..3 {
                bench.packet(us, sender(), &rtp(payload_type, sequence, 15 * 160, 7, payload));
                sequence += 1;
            }
        }
        bench.packet(us, sender(), &rtp(0, sequence, n as u32 * 160, 7, payload_of_audio));
        sequence += 1;
    }
    bench.finish(600_000);
    outcome(bench, audio.len() + 3)
}

#[test]
fn telephone_events_are_masked_by_name_in_redundancy_and_by_their_looks() {
    let event = [5, 0x8a, 0x03, 0x20];
    let red = [0x80 | 101, 0, 0, 4, 0, 5, 10, 0, 160, 1, 2, 3];
    for (payload_type, payload) in [(101, &event[..]), (98, &red[..]), (77, &event[..]), (77, &[1; 8][..])] {
        let outcome = beside(payload_type, payload);
        assert!(outcome.frames.iter().all(|f| f.payload_type == 0), "{payload_type}");
        assert_eq!(outcome.frames.len() as u64 + outcome.masked, outcome.sent as u64);
        // The events, and 20 ms of audio and more on both sides.
        assert!((5..=8).contains(&outcome.masked), "{payload_type}: {}", outcome.masked);
        assert_eq!(outcome.masked_gaps().count(), 1, "{payload_type}: {:?}", outcome.gaps);
    }
    // What is none: comfort noise, redundancy of audio, an unknown payload of another length.
    let noise = beside(13, &[40]);
    assert_eq!(noise.frames.iter().filter(|f| f.kind == FrameKind::ComfortNoise).count(), 3);
    assert_eq!((noise.masked, beside(98, &[0x80, 0, 0, 4, 0, 5, 5, 5, 5, 5]).masked), (0, 0));
    assert_eq!(beside(77, &[1; 33]).masked, 0);
}

#[test]
fn what_comes_late_cannot_be_judged_and_does_not_go_on() {
    let mut bench = masking();
    let packet = |n: u16| rtp(0, n, u32::from(n) * 160, 7, &[0xd5; 160]);
    for n in (0..40).filter(|n| *n != 10) {
        bench.packet(i64::from(n) * 20_000, sender(), &packet(n));
    }
    bench.packet(790_000, sender(), &packet(10));
    bench.finish(800_000);
    let outcome = outcome(bench, 40);
    assert_eq!((outcome.masked, outcome.lost, outcome.frames.len()), (1, 0, 39));
    assert_eq!(
        outcome.masked_gaps().map(|g| (g.from_us, g.until_us)).collect::<Vec<_>>(),
        [(200_000, 220_000)]
    );
}

#[test]
fn a_codec_that_cannot_be_looked_into_goes_on_and_is_counted() {
    let outcome = send(Wire::Opus, &scene(48_000, 1.0, &[]), 20, |_| false);
    assert_eq!((outcome.masked, outcome.unsearched, outcome.frames.len()), (0, 50, 50));
}

#[test]
fn a_stream_that_keeps_digits_is_as_before() {
    let press = Press::new('1', 0.2, -10.0, 0.0);
    let payloads = Wire::Ulaw.packets(&scene(8_000, 0.5, &[press]), 160);
    let mut bench = Bench::new(&flowing(Flowing::Active));
    for (n, payload) in payloads.iter().enumerate() {
        bench.packet(n as i64 * 20_000, sender(), &rtp(0, n as u16, n as u32 * 160, 7, payload));
    }
    assert_eq!(bench.kept.frames.len(), payloads.len());
    assert!(bench.kept.frames.iter().all(|f| f.waited_us == 0));
}

#[test]
fn masking_allocates_nothing_by_packets() {
    for wire in [Wire::Ulaw, Wire::Alaw, Wire::G722, Wire::L16] {
        let mut receiver = StreamReceiver::new(&offered(), START).masking(Dtmf::Mask);
        let mut octets = 0;
        let mut sink = |frame: &Frame<'_>| octets += frame.payload.len();
        let each = wire.rate() / 50;
        let press = Press::new('9', 1.0, -10.0, 0.0);
        let payloads = wire.packets(&scene(wire.rate(), 2.0, &[press]), each);
        let mut by_packets = 0;
        for n in 0..5_000_usize {
            let payload = &payloads[n % payloads.len()];
            let packet = rtp(wire.payload_type(), n as u16, (wire.ticks(each) * n) as u32, 7, payload);
            let now = at(n as i64 * 20_000);
            if n % 5 == 0 {
                receiver.tick(now, &mut sink);
            }
            let count = allocation_counter::measure(|| receiver.packet(now, sender(), &packet, &mut sink));
            // Until the first tone the state of source and codec is made, and as many buffers as will be needed, as
            // long as packets are.
            by_packets += if n < 100 { 0 } else { count.count_total };
        }
        assert_eq!(by_packets, 0, "{wire:?}");
        assert!(receiver.accounting().masked > 100);
        assert!(octets > 0);
    }
}
