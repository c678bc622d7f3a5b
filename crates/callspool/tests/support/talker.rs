//! A client that talks in frames of the test's own making, which can be found again wherever they end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use media::g711::encode_ulaw;
use media::tone::Tone;

use super::rtp::{Mouth, Packet};

/// What a frame holds.
const FRAME: Duration = Duration::from_millis(20);

/// Payloads that nobody else makes: octets of a generator, by seed.
pub fn payload(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..160)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u8::try_from((state >> 32) & 0xff).unwrap()
        })
        .collect()
}

/// A client that talks in frames of its own making.
pub struct Talker<'a> {
    /// From where.
    pub mouth: &'a Mouth,
    /// Where to.
    pub to: SocketAddr,
    /// The source.
    pub ssrc: u32,
    /// The payload type of frames.
    pub payload_type: u8,
    sequence: u16,
    timestamp: u32,
    next: Instant,
}

impl<'a> Talker<'a> {
    pub fn new(mouth: &'a Mouth, to: SocketAddr) -> Self {
        Self {
            mouth,
            to,
            ssrc: 0x5eed,
            payload_type: 0,
            sequence: 100,
            timestamp: 8_000,
            next: Instant::now(),
        }
    }

    /// As if so many frames had been sent.
    pub fn skip(&mut self, frames: u16) {
        self.sequence = self.sequence.wrapping_add(frames);
        self.timestamp = self.timestamp.wrapping_add(160 * u32::from(frames));
    }

    pub fn packet(&mut self, payload_type: u8, payload: Vec<u8>) -> Packet {
        let packet = Packet {
            at: Duration::ZERO,
            marker: false,
            payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload,
        };
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    /// The next frame, at its time; not sent.
    pub fn frame(&mut self, payload: &[u8]) -> Packet {
        self.next = (self.next + FRAME).max(Instant::now() - FRAME);
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let packet = self.packet(self.payload_type, payload.to_vec());
        self.timestamp = self.timestamp.wrapping_add(160);
        packet
    }

    pub fn say(&mut self, frames: usize, payload: &[u8]) {
        for _ in 0..frames {
            let packet = self.frame(payload);
            self.send(&packet);
        }
    }

    /// A digit as RFC 4733 sends it, with this event code.
    pub fn press(&mut self, event: u8) {
        for duration in [160_u16, 320, 480] {
            let [high, low] = duration.to_be_bytes();
            let packet = self.packet(101, vec![event, 0x0a, high, low]);
            self.send(&packet);
        }
    }

    pub fn send(&self, packet: &Packet) {
        self.mouth.say(self.to, std::slice::from_ref(packet));
    }
}

/// A digit as 60 ms of its two tones and 60 ms of nothing, in frames of µ-law.
pub fn tones(key: char) -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    Tone::dtmf(8_000, key, -12.0).expect("a key").fill(480, &mut samples);
    samples.resize(960, 0);
    samples.chunks(160).map(|frame| frame.iter().map(|s| encode_ulaw(*s)).collect()).collect()
}
