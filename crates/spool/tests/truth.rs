//! Media truth: eight hours of a call whose two senders have clocks of their own and do what senders do, through a
//! network that delays, loses and repeats; what both said at the same moment is heard at the same moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "eight hours of samples are small numbers"
)]

use std::net::SocketAddr;
use std::time::Duration;

use media::listen::OpusEncoder;
use media::tone::Tone;
use media::{Frame, StreamReceiver, g711};
use model::{
    CallId, Codec, EndReason, NodeNumber, Now, OpenSegment, OpenStream, SegmentId, SegmentRecord, Side,
    WallTime,
};
use spool::SegmentWriter;
use spool::assemble::{Assembler, Layout, NoDecoders, Options, Rate};
use spool::memory::MemoryDisk;

const START: WallTime = WallTime::from_millis(1_795_166_100_000);
const HOURS: f64 = 8.0;
/// A pip of both sides, each so many seconds.
const EVERY_S: f64 = 1_793.0;
/// How long it is.
const PIP_S: f64 = 0.3;
/// From the end of a frame at its sender until it is here, when nothing delays it.
const TRANSIT_S: f64 = 0.02;
/// The longest frame of the two: whose frames are shorter is put later by as much.
const LONGEST_S: f64 = 0.06;

/// Numbers as if drawn.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }
}

/// Of the first pip.
const FIRST_S: f64 = 7.0;

/// When the pips begin, in seconds of true time.
fn pips() -> impl Iterator<Item = f64> {
    (0..).map(|n| FIRST_S + f64::from(n) * EVERY_S).take_while(|at| *at < HOURS * 3_600.0 - 30.0)
}

/// Whether a time is from so long before the beginning of a pip until so long after it; which pip that is.
fn near(time: f64, before: f64, after: f64) -> Option<u32> {
    let since_first = time + before - FIRST_S;
    let inside = since_first >= 0.0 && since_first.rem_euclid(EVERY_S) < before + after;
    inside.then(|| (since_first / EVERY_S) as u32)
}

/// What one sender does.
#[derive(Clone, Copy)]
struct Habits {
    /// Its clock is so much too fast, in millionths.
    ppm: f64,
    /// How long its frames are, in seconds.
    ptime: f64,
    /// It sends while somebody speaks only, and now and then comfort noise.
    discontinuous: bool,
    /// Digits are pressed two seconds before each second pip.
    digits: bool,
    /// Another SSRC so many times, with numbers and timestamps of its own.
    changes: u32,
    /// Its timestamps, and after half of that time its sequence numbers, jump so many times.
    jumps: u32,
}

struct Sender {
    habits: Habits,
    payload_type: u8,
    rate: f64,
    chance: Chance,
    ssrc: u32,
    sequence: u16,
    /// Added to its count of ticks.
    base: u32,
    /// When it changes and jumps next, and how often it has, in seconds.
    changed: u32,
    jumped: u32,
    out: Vec<(f64, Vec<u8>)>,
}

impl Sender {
    fn new(habits: Habits, payload_type: u8, rate: f64, seed: u64) -> Self {
        let (chance, out) = (Chance(seed), Vec::new());
        let mut sender = Self {
            habits,
            payload_type,
            rate,
            chance,
            ssrc: 0,
            sequence: 0,
            base: 0,
            changed: 0,
            jumped: 0,
            out,
        };
        sender.begin_anew();
        sender
    }

    fn draw(&mut self) -> u32 {
        (self.chance.next() * f64::from(u32::MAX)) as u32
    }

    fn begin_anew(&mut self) {
        (self.ssrc, self.sequence, self.base) = (self.draw(), self.draw() as u16, self.draw());
    }

    /// True time of a tick.
    fn time(&self, tick: u64) -> f64 {
        tick as f64 / self.rate / (1.0 + self.habits.ppm / 1e6)
    }

    fn send(&mut self, payload_type: u8, tick: u64, sent: f64, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.base.wrapping_add(tick as u32).to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        // What is lost of a pip is not heard.
        let is_precious = near(sent, 0.2, 0.5).is_some();
        let fate = self.chance.next();
        if fate < 0.01 && !is_precious {
            return;
        }
        // Mostly some milliseconds; now and then a queue.
        let delay = match self.chance.next() {
            rare if rare < 0.002 => 0.08 * self.chance.next(),
            _ => 0.012 * self.chance.next().powi(2),
        };
        if fate > 0.999 {
            self.out.push((sent + TRANSIT_S + delay + 0.003, packet.clone()));
        }
        self.out.push((sent + TRANSIT_S + delay, packet));
    }

    /// All that it sends; `frame` gives the payload of a frame whose first sample is at that true time.
    fn run(mut self, mut frame: impl FnMut(f64) -> Vec<u8>) -> Vec<(f64, Vec<u8>)> {
        let ticks = (self.rate * self.habits.ptime) as u64;
        let count = (HOURS * 3_600.0 / self.habits.ptime) as u64;
        for n in 0..count {
            let tick = n * ticks;
            let begins = self.time(tick);
            let sent = self.time(tick + ticks);
            self.change_and_jump(begins);
            let payload = frame(begins);
            let speaks = !self.habits.discontinuous || near(begins, 1.5, 1.8).is_some() || n < 100;
            if self.habits.digits && Self::is_digit(begins) {
                self.event(tick, begins, sent);
            } else if speaks {
                self.send(self.payload_type, tick, sent, &payload);
            } else if n % 50 == 0 {
                self.send(13, tick, sent, &[60]);
            }
        }
        self.out.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.out
    }

    fn is_digit(time: f64) -> bool {
        near(time, 1.2, -0.9).is_some_and(|pip| pip.is_multiple_of(2))
    }

    /// RFC 4733: the timestamp stays that of the beginning, the duration grows.
    fn event(&mut self, tick: u64, begins: f64, sent: f64) {
        let ticks = (self.rate * self.habits.ptime) as u64;
        let mut first = tick;
        while first >= ticks && Self::is_digit(self.time(first - ticks)) {
            first -= ticks;
        }
        let duration = (tick + ticks - first) as u16;
        let is_last = !Self::is_digit(begins + self.habits.ptime);
        for _ in 0..if is_last { 3 } else { 1 } {
            let end = if is_last { 0x80 } else { 0 };
            self.send(101, first, sent, &[[5, 10 | end], duration.to_be_bytes()].concat());
        }
    }

    fn change_and_jump(&mut self, now: f64) {
        let due = |done: u32, of: u32, phase: f64| {
            done < of && now >= (f64::from(done) + phase) * HOURS * 3_600.0 / f64::from(of)
        };
        if due(self.changed, self.habits.changes, 0.37) {
            self.changed += 1;
            self.begin_anew();
        }
        if due(self.jumped, self.habits.jumps, 0.71) {
            self.jumped += 1;
            if self.jumped.is_multiple_of(2) {
                self.sequence = self.sequence.wrapping_add(9_000);
            } else {
                self.base = self.draw();
            }
        }
    }
}

/// The sample of a pip at a true time, none outside of one.
fn tone(pitch: &mut Tone, time: f64) -> i16 {
    let sample = pitch.sample();
    if near(time, 0.0, PIP_S).is_some() { sample } else { 0 }
}

fn samples(pitch: &mut Tone, begins: f64, rate: f64, habits: Habits) -> Vec<i16> {
    let step = 1.0 / rate / (1.0 + habits.ppm / 1e6);
    (0..(rate * habits.ptime) as u32).map(|n| tone(pitch, begins + f64::from(n) * step)).collect()
}

fn agent(habits: Habits) -> Vec<(f64, Vec<u8>)> {
    let mut pitch = Tone::sine(8_000, 1_000.0, -6.0);
    let silence = vec![0xff; 480];
    Sender::new(habits, 0, 8_000.0, 1).run(|begins| {
        if near(begins, 0.1, 0.4).is_none() {
            return silence.clone();
        }
        let mut out = Vec::new();
        g711::encode_ulaw_into(&samples(&mut pitch, begins, 8_000.0, habits), &mut out);
        out
    })
}

/// In Opus, whose encoder is late by what it looks ahead.
fn external(habits: Habits) -> Vec<(f64, Vec<u8>)> {
    let mut pitch = Tone::sine(48_000, 1_000.0, -6.0);
    let mut encoder = OpusEncoder::as_needed(48_000, 1, 24_000).unwrap();
    let ahead = f64::from(encoder.lookahead().unwrap()) / 48_000.0;
    let silence = (0..20).map(|_| encoder.encode(&[0; 960]).unwrap()).last().unwrap();
    Sender::new(habits, 111, 48_000.0, 2).run(|begins| {
        if near(begins, 0.3, 0.6).is_none() {
            return silence.clone();
        }
        encoder.encode(&samples(&mut pitch, begins + ahead, 48_000.0, habits)).unwrap()
    })
}

fn now(seconds: f64) -> Now {
    Now { wall: START, ..Now::default() } + Duration::from_secs_f64(seconds)
}

fn record(legs: [Vec<(f64, Vec<u8>)>; 2]) -> (SegmentRecord, String, MemoryDisk) {
    let cn = (13, Codec::new("CN", 8_000, 1));
    let events = |rate| (101, Codec::new("TELEPHONE-EVENT", rate, 1));
    let one =
        OpenStream::audio(1, Side::Agent, &[(0, Codec::new("PCMU", 8_000, 1)), cn.clone(), events(8_000)]);
    let other =
        OpenStream::audio(2, Side::External, &[(111, Codec::new("OPUS", 48_000, 2)), cn, events(48_000)]);
    let open = OpenSegment::first(SegmentId::from_u64(2), CallId::from_u64(1), START, vec![one, other]);
    let mut writer = SegmentWriter::open(&open, NodeNumber::SINGLE, now(0.0));
    let mut receivers: Vec<_> = open.streams.iter().map(|s| StreamReceiver::new(s, START)).collect();
    let mut disk = MemoryDisk::new();
    let mut waiting = legs.map(|leg| leg.into_iter().peekable());
    let steps = (HOURS * 36_000.0) as u32 + 100;
    for step in 0..=steps {
        let time = f64::from(step) / 10.0;
        for (leg, receiver) in waiting.iter_mut().zip(&mut receivers) {
            let mut sink = |f: &Frame<'_>| writer.push(f);
            while let Some((at, packet)) = leg.next_if(|(at, _)| *at <= time) {
                receiver.packet(now(at).wall, SocketAddr::from(([192, 0, 2, 7], 16_384)), &packet, &mut sink);
            }
            receiver.tick(now(time).wall, &mut sink);
        }
        let mut ops = Vec::new();
        writer.flush(now(time), Vec::new(), &mut ops);
        disk.apply_all(&ops).unwrap();
    }
    let end = now(f64::from(steps) / 10.0);
    for receiver in &mut receivers {
        receiver.finish(end.wall, &mut |f: &Frame<'_>| writer.push(f));
    }
    let streams = receivers.iter().map(|r| r.record(40_000)).collect();
    let mut ops = Vec::new();
    writer.end(end, end.wall, EndReason::HangUp, streams, &mut ops);
    let record = writer.seal(end, &[], &mut ops);
    disk.apply_all(&ops).unwrap();
    (record, writer.directory().to_owned(), disk)
}

/// When a pip that was said then begins in each channel, in milliseconds from where it should.
fn heard(record: &SegmentRecord, directory: &str, disk: &MemoryDisk, pip: f64) -> [Option<f64>; 2] {
    let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
    let mut assembler = Assembler::new(vec![(record.clone(), directory.to_owned())], options);
    let due = pip + LONGEST_S + TRANSIT_S;
    let from = assembler.seek(((due - 0.5) * 8_000.0) as u64);
    let mut pcm = Vec::new();
    for _ in 0..3 {
        pcm.extend(assembler.next(disk, &NoDecoders).unwrap().unwrap_or_default());
    }
    [0, 1].map(|channel| {
        let first = pcm.chunks_exact(2).position(|pair| pair[channel].unsigned_abs() > 2_000)?;
        Some(((from + first as u64) as f64 / 8.0) - due * 1_000.0)
    })
}

fn check(one: Habits, other: Habits) {
    let (record, directory, disk) = record([agent(one), external(other)]);
    let mut worst = [0.0_f64; 3];
    for pip in pips() {
        let [left, right] = heard(&record, &directory, &disk, pip).map(|h| h.unwrap());
        let off = [left.abs(), right.abs(), (left - right).abs()];
        println!("{pip:>8.0} s: agent {left:>6.1} ms, external {right:>6.1} ms");
        worst = std::array::from_fn(|n| worst[n].max(off[n]));
    }
    // 20 ms would not be heard.
    assert!(worst.iter().all(|ms| *ms <= 10.0), "agent, external and between them: {worst:.1?} ms");
    for (stream, habits) in record.streams.iter().zip([one, other]) {
        assert_eq!(stream.accounting.ssrc_changes, habits.changes, "{:?}", stream.side);
    }
}

#[test]
fn eight_hours_of_everything_that_senders_do() {
    check(
        Habits { ppm: -200.0, ptime: LONGEST_S, discontinuous: true, digits: true, changes: 10, jumps: 6 },
        Habits { ppm: 150.0, ptime: 0.02, discontinuous: false, digits: true, changes: 10, jumps: 7 },
    );
}
