//! A relay between peers, in virtual time, and what goes out as text.

use std::fmt::Write;
use std::net::SocketAddr;

use expect_test::Expect;
use media::relay::{By, EndId, Event, OpenEnd, Relay, Sends, Which, Why};
use media::srtp::{Closed, Outbound, Srtp, Unsealed};
use model::{Codec, Keys, WallTime};

/// 2026-11-20T09:15:00Z.
pub(crate) const START: WallTime = WallTime(1_795_166_100_000_000_000);

pub(crate) fn at(ms: i64) -> WallTime {
    WallTime(START.0 + ms * 1_000_000)
}

/// Everybody who sends or is sent to, by name.
const PEERS: &[(&str, &str)] = &[
    ("A", "192.0.2.10:4000"),
    ("A+1", "192.0.2.10:4001"),
    ("A2", "192.0.2.10:4400"),
    ("B", "198.51.100.20:5000"),
    ("B+1", "198.51.100.20:5001"),
    ("B2", "198.51.100.20:5500"),
    ("C", "[2001:db8::3]:6000"),
    ("X", "203.0.113.5:7000"),
    ("X+1", "203.0.113.5:7001"),
    ("Y", "203.0.113.6:7000"),
    ("R1", "192.0.2.200:20000"),
    ("R1+1", "192.0.2.200:20001"),
    ("R2", "192.0.2.201:20000"),
    ("R3", "192.0.2.202:20000"),
];

pub(crate) fn peer(name: &str) -> SocketAddr {
    PEERS.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("who is {name}?")).1.parse().unwrap()
}

pub(crate) fn name(address: SocketAddr) -> String {
    let found = PEERS.iter().find(|(_, a)| a.parse() == Ok(address));
    found.map_or_else(|| address.to_string(), |(n, _)| (*n).to_owned())
}

/// PCMU, PCMA, comfort noise, telephone events.
pub(crate) fn codecs() -> Vec<(u8, Codec)> {
    vec![
        (0, Codec::new("PCMU", 8_000, 1)),
        (8, Codec::new("PCMA", 8_000, 1)),
        (13, Codec::new("CN", 8_000, 1)),
        (101, Codec::new("telephone-event", 8_000, 1)),
    ]
}

/// Audio of a leg whose peer is where signalling says.
pub(crate) fn end(leg: u8, remote: &str) -> OpenEnd {
    let remote = (remote != "-").then(|| peer(remote));
    OpenEnd { codecs: codecs(), ..OpenEnd::audio(leg, remote) }
}

pub(crate) fn rtp(payload_type: u8, sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A receiver report, and BYE behind it where `goodbye` says so.
pub(crate) fn rtcp(ssrc: u32, goodbye: bool) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&ssrc.to_be_bytes());
    if goodbye {
        packet.extend_from_slice(&[0x81, 203, 0, 1]);
        packet.extend_from_slice(&ssrc.to_be_bytes());
    }
    packet
}

/// Feedback of a receiver about source 1 (RFC 4585 section 6): that packets are missing, or pictures.
pub(crate) fn feedback(packet_type: u8, ssrc: u32) -> Vec<u8> {
    let lost: &[u8] = if packet_type == 205 { &[0, 7, 0, 1] } else { &[] };
    let length = u8::try_from(2 + lost.len() / 4).unwrap();
    [&[0x81, packet_type, 0, length][..], &ssrc.to_be_bytes(), &1_u32.to_be_bytes(), lost].concat()
}

/// Who has keys: opens what it is sent, protects what it sends.
pub(crate) struct Phone {
    opens: Srtp,
    seals: Outbound,
}

impl Phone {
    /// `theirs` is what we protect by, `own` what it does.
    pub(crate) fn new(theirs: &Keys, own: &Keys) -> Option<Self> {
        Some(Self { opens: Srtp::new(theirs, theirs)?, seals: Outbound::new(own)? })
    }

    pub(crate) fn seal_once(&mut self, packet: &mut Vec<u8>) -> Result<u32, Unsealed> {
        self.seals.seal_once(0, packet)
    }

    pub(crate) fn seal_rtcp(&mut self, now: WallTime, packet: &mut Vec<u8>) -> bool {
        self.seals.seal_rtcp(now, packet)
    }

    pub(crate) fn open_rtp(&mut self, now: WallTime, packet: &[u8]) -> Result<&[u8], Closed> {
        self.opens.open_rtp(now, packet)
    }

    pub(crate) fn open_rtcp(&mut self, now: WallTime, packet: &[u8]) -> Result<&[u8], Closed> {
        self.opens.open_rtcp(now, packet)
    }
}

/// Two legs or more. Time goes on by 20 ms with each step.
pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) ends: Vec<EndId>,
    pub(crate) sends: Sends,
    pub(crate) ms: i64,
}

impl World {
    pub(crate) fn new(ends: &[OpenEnd]) -> Self {
        let mut relay = Relay::default();
        let ends = ends.iter().map(|e| relay.open(e).unwrap()).collect();
        Self { relay, ends, sends: Sends::default(), ms: 0 }
    }

    /// Legs whose peers, A and B, have each been heard once.
    pub(crate) fn talking(ends: &[OpenEnd]) -> Self {
        let mut world = Self::new(ends);
        let told = [world.step("A 0 rtp 1"), world.step("B 1 rtp 1 2")];
        assert!(told.iter().all(|told| told.contains(" → ")), "{told:?}");
        world
    }

    /// `A 0 rtp 7`: A sends packet 7 to end 0. What went out, as lines.
    pub(crate) fn step(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split_whitespace().collect();
        let [from, to, what, rest @ ..] = &words[..] else { panic!("{step}?") };
        let number = |n: usize| rest.get(n).map_or(0, |w| w.parse::<u32>().unwrap());
        let sequence = u16::try_from(number(0)).unwrap();
        let ssrc = if rest.len() > 1 { number(1) } else { 1 };
        let (which, bytes) = match *what {
            "rtp" => (Which::Rtp, rtp(0, sequence, ssrc, b"u-law")),
            "alaw" => (Which::Rtp, rtp(8, sequence, ssrc, b"a-law")),
            "odd" => (Which::Rtp, rtp(77, sequence, ssrc, b"odd")),
            "digit" => (Which::Rtp, rtp(101, sequence, ssrc, &[5, 10, 0, 160])),
            "rtcp" => (Which::Rtcp, rtcp(number(0), false)),
            "mux" => (Which::Rtp, rtcp(number(0), false)),
            "nack" => (Which::Rtcp, feedback(205, number(0))),
            "pli" => (Which::Rtcp, feedback(206, number(0))),
            "bye" => (Which::Rtcp, rtcp(number(0), true)),
            "stun" => (Which::Rtp, vec![0, 1, 0, 0]),
            "dtls" => (Which::Rtp, vec![22, 254, 253]),
            "noise" => (Which::Rtp, vec![0x80; 5]),
            "text" => (Which::Rtp, b"hello".to_vec()),
            _ => panic!("{step}?"),
        };
        let end = self.ends[to.parse::<usize>().unwrap()];
        self.ms += 20;
        let taken = self.relay.receive(at(self.ms), (end, which), peer(from), &bytes, &mut self.sends);
        let mut text = self.out();
        match taken {
            Err(Why::Stun) => text.push_str("  for us: STUN\n"),
            Err(Why::Dtls) => text.push_str("  for us: DTLS\n"),
            Err(why) => writeln!(text, "  dropped: {why:?}").unwrap(),
            Ok(_) => {}
        }
        while let Some(told) = self.relay.poll_event() {
            let event = match told.event {
                Event::Moved { from, to } => {
                    format!("at {}, was {}", name(to), from.map_or("-".to_owned(), name))
                }
                other => format!("{other:?}"),
            };
            writeln!(text, "  end {}: {event}", told.end.index()).unwrap();
        }
        text
    }

    /// What is to be sent and kept.
    pub(crate) fn out(&mut self) -> String {
        let mut text = String::new();
        for sent in self.sends.forwards() {
            let By::End(end, which) = sent.by else { panic!("{sent:?}") };
            let port = if which == Which::Rtp { "" } else { ", port of RTCP" };
            let what = describe(self.sends.octets(sent));
            writeln!(text, "  → {} {what} (end {}{port})", name(sent.to), end.index()).unwrap();
        }
        for sent in self.sends.tees() {
            writeln!(text, "  ⇢ {} {}", name(sent.to), describe(self.sends.octets(sent))).unwrap();
        }
        for kept in self.sends.kept() {
            let what = describe(self.sends.packet(kept));
            writeln!(text, "  kept {what} of {} (end {})", name(kept.from), kept.end.index()).unwrap();
        }
        self.sends.clear();
        text
    }
}

fn describe(bytes: &[u8]) -> String {
    if (192..=223).contains(&bytes[1]) {
        let what = match bytes[1] {
            205 => " nack",
            206 => " pli",
            _ if bytes.len() > 8 => " bye",
            _ => "",
        };
        return format!("rtcp{what} of {}", u32::from_be_bytes(bytes[4..8].try_into().unwrap()));
    }
    let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ssrc = u32::from_be_bytes(bytes[8..12].try_into().unwrap());
    let payload = String::from_utf8(bytes[12..].to_vec()).ok().filter(|t| t.is_ascii() && !t.contains('\n'));
    format!("rtp {sequence} of {ssrc}: {}", payload.unwrap_or_else(|| format!("{} octets", bytes.len() - 12)))
}

/// The steps, each with what went out.
pub(crate) fn check(ends: &[OpenEnd], steps: &str, expected: &Expect) {
    let mut world = World::new(ends);
    play(&mut world, steps, expected);
}

pub(crate) fn play(world: &mut World, steps: &str, expected: &Expect) {
    let mut text = String::new();
    for step in steps.split(" | ") {
        let out = world.step(step);
        write!(text, "{}\n{out}", step.trim()).unwrap();
    }
    expected.assert_eq(&text);
}
