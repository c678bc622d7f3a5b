//! RTP as the tests send it: packets written down first, sent at their times, so that what was sent is exactly known.
//!
//! Written anew here, from RFC 3550 and ITU-T G.711, so that sender and recorder share no mistake.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The clock of G.711.
pub const RATE: u32 = 8_000;

/// One packet, and when it leaves, from the start of sending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// When it leaves.
    pub at: Duration,
    /// The marker bit.
    pub marker: bool,
    /// The payload type.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// The source.
    pub ssrc: u32,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Packet {
    /// As it goes out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x80, u8::from(self.marker) << 7 | self.payload_type];
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.ssrc.to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// A tone, as one sender sends it: the whole stream, undisturbed.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// The frequency in Hz.
    pub hertz: f64,
    /// How long.
    pub length: Duration,
    /// Media in a packet.
    pub ptime: Duration,
    /// 0 for µ-law, 8 for A-law.
    pub payload_type: u8,
    /// The source.
    pub ssrc: u32,
    /// The first sequence number.
    pub sequence: u16,
    /// The first timestamp.
    pub timestamp: u32,
}

impl Talk {
    /// 20 ms a packet, from numbers that wrap nowhere.
    pub fn new(hertz: f64, length: Duration) -> Self {
        let ssrc = 0x5eed_0000 | hertz as u32;
        let ptime = Duration::from_millis(20);
        Self { hertz, length, ptime, payload_type: 0, ssrc, sequence: 1_000, timestamp: 50_000 }
    }

    /// Its packets.
    pub fn packets(&self) -> Vec<Packet> {
        let count = (self.length.as_micros() / self.ptime.as_micros()) as u32;
        let samples = RATE / 1_000 * self.ptime.as_millis() as u32;
        let encode = if self.payload_type == 8 { alaw } else { ulaw };
        (0..count)
            .map(|n| Packet {
                at: self.ptime * n,
                marker: n == 0,
                payload_type: self.payload_type,
                sequence: self.sequence.wrapping_add(n as u16),
                timestamp: self.timestamp.wrapping_add(n * samples),
                ssrc: self.ssrc,
                payload: (0..samples).map(|s| encode(sine(self.hertz, n * samples + s))).collect(),
            })
            .collect()
    }
}

/// Sample `n` of a sine at -12 dBFS.
fn sine(hertz: f64, n: u32) -> i16 {
    let turns = hertz * f64::from(n) / f64::from(RATE);
    ((turns * std::f64::consts::TAU).sin() * 8_192.0) as i16
}

/// ITU-T G.711, µ-law.
pub fn ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = u32::from(sample.unsigned_abs()).min(32_635) + 0x84;
    let exponent = 24 - magnitude.leading_zeros();
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    !(sign | (exponent as u8) << 4 | mantissa as u8)
}

/// ITU-T G.711, A-law.
pub fn alaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = u32::from((if sample < 0 { !sample } else { sample }) as u16) >> 4;
    let exponent = (28 - u32::min(magnitude.leading_zeros(), 28)).max(1);
    let mantissa =
        if magnitude < 32 { magnitude } else { (magnitude >> (exponent - 1)) + 16 * (exponent - 1) };
    (sign | mantissa as u8) ^ 0x55
}

/// Where media come from: a socket whose port goes into SDP.
pub struct Mouth {
    socket: UdpSocket,
}

impl Mouth {
    /// On IPv4 loopback.
    pub fn open() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").expect("a socket") }
    }

    /// On this port of IPv4 loopback, if nobody has it.
    pub fn at(port: u16) -> Option<Self> {
        UdpSocket::bind(("127.0.0.1", port)).ok().map(|socket| Self { socket })
    }

    /// On IPv6 loopback.
    pub fn open_v6() -> Self {
        Self { socket: UdpSocket::bind("[::1]:0").expect("a socket") }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Sends packets in the order and at the times that they say, counted from now.
    pub fn say(&self, to: SocketAddr, packets: &[Packet]) {
        self.say_from(Instant::now(), to, packets);
    }

    /// The same, counted from `start`.
    pub fn say_from(&self, start: Instant, to: SocketAddr, packets: &[Packet]) {
        for packet in packets {
            std::thread::sleep((start + packet.at).saturating_duration_since(Instant::now()));
            // Nobody may listen any more: a client goes on until it hears of it.
            let _ = self.socket.send_to(&packet.bytes(), to);
        }
    }

    /// Sends bytes as they are.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let _ = self.socket.send_to(bytes, to);
    }

    /// What has come to it, or comes within some 20 ms.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        self.socket.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
    }

    /// Another hold of the same socket, for another thread.
    pub fn share(&self) -> Self {
        Self { socket: self.socket.try_clone().expect("a second descriptor") }
    }
}

/// Somebody who hums until told to stop.
pub struct Hum(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Hum {
    /// Begins with 440 Hz.
    pub fn begin(mouth: &Mouth, to: SocketAddr) -> Self {
        let (stop, mouth) = (Arc::new(AtomicBool::new(false)), mouth.share());
        let end = Arc::clone(&stop);
        let hum = std::thread::spawn(move || {
            let mut talk = Talk::new(440.0, Duration::from_secs(1));
            while !end.load(Ordering::Relaxed) {
                mouth.say(to, &talk.packets());
                talk.sequence = talk.sequence.wrapping_add(50);
                talk.timestamp = talk.timestamp.wrapping_add(8_000);
            }
        });
        Self(stop, Some(hum))
    }

    /// Ends when the second that is being hummed is over.
    pub fn end(mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// How long packets play, the loss between them counted: from the first timestamp to the end of the last packet.
pub fn span(packets: &[Packet]) -> Duration {
    let Some(first) = packets.first() else { return Duration::ZERO };
    let end = |p: &Packet| p.timestamp.wrapping_sub(first.timestamp) + p.payload.len() as u32;
    let ticks = packets.iter().map(end).max().unwrap_or(0);
    Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(RATE))
}
