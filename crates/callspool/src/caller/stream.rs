//! One stream's packets: what is sent when, what is left out, doubled or swapped on purpose, and the counts.
//!
//! ```text
//! frame n:   skip ─────────► its sequence number is never sent
//!            swap ─────────► kept back until the next one has gone out
//!            duplicate ────► sent twice
//!            else ─────────► sent
//! ```
//!
//! The first packet of a run always goes out, so that what was skipped lies between numbers that a receiver
//! knows. No socket and no clock here.

use media::send::{RtpSender, Sending};
use model::WallTime;

use super::plan::Impairments;
use super::report::Run;
use super::voice::Voice;

/// G.711: the RTP clock and the sample rate.
pub(super) const CLOCK_RATE: u32 = 8_000;

/// What is to be sent; false when the kernel did not take it.
pub(super) type Emit<'a> = dyn FnMut(&[u8]) -> bool + 'a;

/// What a stream is made of.
#[derive(Clone, Debug)]
pub(super) struct PacketConfig {
    /// Its payload type.
    pub(super) payload_type: u8,
    /// Samples in a packet.
    pub(super) frame_samples: u32,
    /// On purpose.
    pub(super) impairments: Impairments,
    /// Makes SSRC, sequence and timestamp: differs between streams.
    pub(super) seed: u64,
}

/// The packets of one stream.
pub(super) struct Packets {
    config: PacketConfig,
    chance: Chance,
    rtp: RtpSender,
    /// Where `rtp` stands, in samples since the stream's start.
    position: u64,
    changed_source: bool,
    period: u32,
    /// The next packet begins a run.
    begins: bool,
    held_back: Option<Vec<u8>>,
    payload: Vec<u8>,
    runs: Vec<Run>,
    unsent: u64,
    frames: u64,
}

impl Packets {
    pub(super) fn new(config: PacketConfig) -> Self {
        let mut chance = Chance::new(config.seed);
        let rtp = source(&mut chance, &config);
        Self {
            config,
            chance,
            rtp,
            position: 0,
            changed_source: false,
            period: 0,
            begins: true,
            held_back: None,
            payload: Vec::new(),
            runs: Vec::new(),
            unsent: 0,
            frames: 0,
        }
    }

    /// The frame at `position` samples since the stream's start.
    pub(super) fn frame(&mut self, position: u64, at: WallTime, voice: &Voice, emit: &mut Emit<'_>) {
        self.frames += 1;
        self.change_source_when_due(position, emit);
        let first = self.begins;
        if first {
            self.rtp.skip_silence(ticks(position.wrapping_sub(self.position)));
        }
        self.position = position + u64::from(self.config.frame_samples);
        if !first && self.chance.hits(self.config.impairments.loss) {
            self.rtp.lose();
            self.count(|run| run.skipped_at_end += 1);
            return;
        }
        voice.frame(position, self.config.frame_samples, &mut self.payload);
        let Sending { sequence, timestamp, ssrc, .. } = self.rtp.sending();
        let packet = self.rtp.next(&self.payload);
        self.send(first, Built { packet, sequence, timestamp, ssrc, at }, emit);
    }

    /// Sending pauses: what was kept back goes out, and the next packet begins a run.
    pub(super) fn pause(&mut self, emit: &mut Emit<'_>) {
        self.flush(emit);
        if !self.begins {
            self.period += 1;
        }
        self.begins = true;
    }

    /// A sender report. Asked for before the frame of the same time, it ties the two times exactly.
    pub(super) fn sender_report(&self, at: WallTime, cname: &str) -> Vec<u8> {
        self.rtp.report(at, cname)
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Milliseconds of media that were due.
    pub(super) fn media_ms(&self) -> u64 {
        self.frames * u64::from(self.config.frame_samples) * 1000 / u64::from(CLOCK_RATE)
    }

    fn send(&mut self, first: bool, built: Built, emit: &mut Emit<'_>) {
        let may_swap = !first && self.held_back.is_none();
        if may_swap && self.chance.hits(self.config.impairments.reorder) {
            self.note(first, &built);
            self.held_back = Some(built.packet);
            return;
        }
        if !emit(&built.packet) {
            self.unsent += 1;
            return;
        }
        self.note(first, &built);
        if let Some(earlier) = self.held_back.take() {
            self.emit_held_back(&earlier, emit, 1);
        } else if self.chance.hits(self.config.impairments.duplicate) && emit(&built.packet) {
            self.count(|run| run.duplicated += 1);
        }
    }

    fn flush(&mut self, emit: &mut Emit<'_>) {
        if let Some(earlier) = self.held_back.take() {
            self.emit_held_back(&earlier, emit, 0);
        }
    }

    fn emit_held_back(&mut self, packet: &[u8], emit: &mut Emit<'_>, reordered: u64) {
        if emit(packet) {
            self.count(|run| run.reordered += reordered);
        } else {
            self.unsent += 1;
            self.count(|run| run.packets -= 1);
        }
    }

    fn note(&mut self, first: bool, built: &Built) {
        if first {
            self.begins = false;
            self.runs.push(Run {
                period: self.period,
                ssrc: built.ssrc,
                first_sequence: built.sequence,
                first_rtp: built.timestamp,
                first_at: built.at,
                ..Run::default()
            });
        }
        let octets = u64::from(self.config.frame_samples);
        self.count(|run| {
            run.last_sequence = built.sequence;
            run.last_rtp = built.timestamp;
            run.last_at = built.at;
            run.packets += 1;
            run.octets += octets;
            run.skipped += std::mem::take(&mut run.skipped_at_end);
        });
    }

    fn count(&mut self, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.last_mut() {
            change(run);
        }
    }

    fn change_source_when_due(&mut self, position: u64, emit: &mut Emit<'_>) {
        let due = self.config.impairments.ssrc_change_at.is_some_and(|after| {
            position
                >= u64::try_from(after.as_micros()).unwrap_or(u64::MAX) / 1000 * u64::from(CLOCK_RATE / 1000)
        });
        if !due || self.changed_source {
            return;
        }
        self.flush(emit);
        self.changed_source = true;
        self.rtp = source(&mut self.chance, &self.config);
        self.position = position;
        self.begins = true;
    }
}

struct Built {
    packet: Vec<u8>,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    at: WallTime,
}

/// RTP time wraps.
#[expect(clippy::cast_possible_truncation, reason = "RTP timestamps count modulo 2^32")]
fn ticks(samples: u64) -> u32 {
    samples as u32
}

#[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
fn source(chance: &mut Chance, config: &PacketConfig) -> RtpSender {
    let (ids, starts) = (chance.next(), chance.next());
    RtpSender::new(Sending {
        ssrc: ids as u32,
        payload_type: config.payload_type,
        clock_rate: CLOCK_RATE,
        ptime_ms: config.frame_samples * 1000 / CLOCK_RATE,
        sequence: starts as u16,
        timestamp: (starts >> 32) as u32,
    })
}

/// Dice that fall the same for the same seed (splitmix64).
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    fn hits(&mut self, share: f64) -> bool {
        share > 0.0 && ((self.next() >> 11) as f64) < share * (1u64 << 53) as f64
    }
}
