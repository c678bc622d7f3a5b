//! Keys that are pressed: who is told of them, how, and when nobody is.

use std::time::Duration;

use ezk_g722::libg722::{Bitrate, encoder::Encoder};
use media::g711::{encode_alaw, encode_ulaw};
use media::relay::{DigitBy, Event, Listening, OpenEnd, Which};
use media::speech::Speech;
use media::tone::Tone;
use model::Codec;

use crate::world::{World, at, end, peer, rtp};

/// How a side codes: payload type, samples a second, and RTP ticks of 20 ms.
#[derive(Clone, Copy, Debug)]
struct Wire {
    payload_type: u8,
    rate: u32,
    ticks: u32,
}

const ULAW: Wire = Wire { payload_type: 0, rate: 8_000, ticks: 160 };
const ALL: [Wire; 5] = [
    ULAW,
    Wire { payload_type: 8, rate: 8_000, ticks: 160 },
    Wire { payload_type: 9, rate: 16_000, ticks: 160 },
    Wire { payload_type: 96, rate: 16_000, ticks: 320 },
    Wire { payload_type: 97, rate: 48_000, ticks: 960 },
];

impl Wire {
    /// Payloads of 20 ms each.
    fn code(self, samples: &[i16]) -> Vec<Vec<u8>> {
        let mut g722 = Encoder::new(Bitrate::Mode1_64000, false, false);
        let code = |samples: &[i16]| match self.payload_type {
            0 => samples.iter().map(|s| encode_ulaw(*s)).collect(),
            8 => samples.iter().map(|s| encode_alaw(*s)).collect(),
            9 => g722.encode(samples),
            _ => samples.iter().flat_map(|s| s.to_be_bytes()).collect(),
        };
        samples.chunks_exact(self.of_ms(20)).map(code).collect()
    }

    fn of_ms(self, ms: u32) -> usize {
        usize::try_from(self.rate / 1_000 * ms).unwrap()
    }

    /// `5 80`: the key 5 for 80 ms; `- 60`: silence.
    fn scene(self, steps: &str) -> Vec<i16> {
        let mut samples = Vec::new();
        for step in steps.split(" | ") {
            let (key, ms) = step.split_once(' ').unwrap();
            let count = self.of_ms(ms.parse().unwrap());
            match Tone::dtmf(self.rate, key.chars().next().unwrap(), -10.0) {
                Some(mut tone) => tone.fill(count, &mut samples),
                None => samples.resize(samples.len() + count, 0),
            }
        }
        samples
    }
}

fn asked(digits: Listening) -> OpenEnd {
    let mut end = end(0, "A");
    end.codecs.extend([
        (9, Codec::new("G722", 8_000, 1)),
        (96, Codec::new("L16", 16_000, 1)),
        (97, Codec::new("L16", 48_000, 1)),
        (98, Codec::new("red", 8_000, 1)),
        (102, Codec::new("telephone-event", 48_000, 1)),
    ]);
    OpenEnd { digits, ..end }
}

/// Says which keys are pressed and released, and for how long.
struct Listener {
    world: World,
    sequence: u16,
    text: String,
    lasted: Vec<Duration>,
}

impl Listener {
    fn new(digits: Listening) -> Self {
        let world = World::new(&[asked(digits), end(1, "B")]);
        Self { world, sequence: 0, text: String::new(), lasted: Vec::new() }
    }

    fn takes(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let mut packet = rtp(payload_type, self.sequence, 1, payload);
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        self.sequence += 1;
        self.world.ms += 20;
        let World { relay, ends, sends, ms } = &mut self.world;
        relay.receive(at(*ms), (ends[0], Which::Rtp), peer("A"), &packet, sends).unwrap();
        assert_eq!(sends.octets(&sends.forwards()[0]), packet, "what passes is not changed");
        sends.clear();
        self.hears();
    }

    fn hears(&mut self) {
        while let Some(told) = self.world.relay.poll_event() {
            let by = |by| if by == DigitBy::Tone { '~' } else { '!' };
            match told.event {
                Event::Pressed { key, by: how } => self.text.extend([by(how), key]),
                Event::Released { key, by: how, lasted } => {
                    self.text.extend([by(how), key, '.', ' ']);
                    self.lasted.push(lasted);
                }
                _ => {}
            }
        }
    }

    /// All of a scene but the packets of these numbers.
    fn plays(&mut self, wire: Wire, samples: &[i16], lost: &[usize]) {
        for (n, payload) in (0..).zip(wire.code(samples)) {
            if lost.contains(&n) {
                self.sequence += 1;
                self.world.ms += 20;
                continue;
            }
            self.takes(wire.payload_type, u32::try_from(n).unwrap() * wire.ticks, &payload);
        }
    }

    fn waits(&mut self, ms: i64) {
        for _ in 0..ms / 100 {
            self.world.ms += 100;
            self.world.relay.pass(at(self.world.ms));
        }
        self.hears();
    }
}

#[test]
fn tones_are_told_in_each_codec_that_can_be_looked_into_with_how_long_they_lasted() {
    for wire in ALL {
        let mut listener = Listener::new(Listening::EventsAndTones);
        let scene: Vec<String> = "123A456B789C*0#D".chars().map(|key| format!("{key} 80 | - 60")).collect();
        listener.plays(wire, &wire.scene(&format!("- 40 | {}", scene.join(" | "))), &[]);
        let told: String = "123A456B789C*0#D".chars().flat_map(|k| ['~', k, '~', k, '.', ' ']).collect();
        assert_eq!(listener.text, told, "{wire:?}");
        let off = |lasted: &&Duration| lasted.as_millis().abs_diff(80) > 15;
        assert_eq!(listener.lasted.iter().find(off), None, "{wire:?}");
    }
}

#[test]
fn who_did_not_ask_is_told_nothing() {
    for digits in [Listening::Nothing, Listening::Events] {
        let mut listener = Listener::new(digits);
        listener.plays(ULAW, &ULAW.scene("5 80 | - 60 | 6 80 | - 60"), &[]);
        assert_eq!(listener.text, "", "{digits:?}");
        listener.takes(101, 99_000, &[5, 0x8a, 0, 160]);
        assert_eq!(listener.text, if digits == Listening::Nothing { "" } else { "!5!5. " });
    }
}

#[test]
fn a_break_or_a_packet_that_is_lost_makes_no_second_press_and_a_pause_does() {
    let told = |scene: &str, lost: &[usize]| {
        let mut listener = Listener::new(Listening::EventsAndTones);
        listener.plays(ULAW, &ULAW.scene(scene), lost);
        listener.waits(300);
        listener.text
    };
    assert_eq!(told("5 200 | - 100", &[4]), "~5~5. ", "20 ms are missing in the middle");
    assert_eq!(told("5 100 | - 10 | 5 90 | - 100", &[]), "~5~5. ", "a break of 10 ms");
    assert_eq!(told("5 80 | - 60 | 5 80 | - 60", &[]), "~5~5. ~5~5. ");
    assert_eq!(told("5 100 | 6 100 | - 100", &[]), "~5~5. ~6~6. ", "one right behind the other");
    assert_eq!(told("5 100", &[]), "~5~5. ", "nothing comes any more");
    assert_eq!(told("5 20 | - 100", &[]), "", "too short for a key");
}

#[test]
fn speech_presses_no_keys() {
    let mut listener = Listener::new(Listening::EventsAndTones);
    let mut speech = Speech::new(8_000, 3);
    let samples: Vec<i16> = (0..60 * 8_000).map(|_| speech.sample()).collect();
    listener.plays(ULAW, &samples, &[]);
    listener.waits(300);
    assert_eq!(listener.text, "");
}

#[test]
fn events_are_told_at_any_clock_in_redundancy_and_where_their_end_is_lost() {
    let mut listener = Listener::new(Listening::Events);
    for ticks in [160_u16, 320, 480] {
        let [high, low] = ticks.to_be_bytes();
        listener.takes(101, 8_000, &[7, 10, high, low]);
    }
    (0..3).for_each(|_| listener.takes(101, 8_000, &[7, 0x8a, 3, 32]));
    let [high, low] = 4_800_u16.to_be_bytes();
    listener.takes(102, 900_000, &[10, 0x8a, high, low]);
    // RFC 2198: an event 20 ms before, and silence now.
    listener.takes(98, 910_160, &[0x80 | 101, 0x02, 0x80, 4, 0, 11, 0x8a, 1, 64, 0xff, 0xff]);
    assert_eq!(listener.text, "!7!7. !*!*. !#!#. ");
    assert_eq!(listener.lasted, [100, 100, 40].map(Duration::from_millis));
    listener.takes(101, 990_000, &[1, 10, 1, 64]);
    listener.waits(200);
    assert!(listener.text.ends_with("!1"), "{}", listener.text);
    listener.waits(100);
    assert!(listener.text.ends_with("!1!1. "), "{}", listener.text);
    // Signalling that changes nothing of it goes on; one that asks no more ends it.
    let World { relay, ends, .. } = &mut listener.world;
    relay.change(ends[0], &asked(Listening::Nothing)).unwrap();
    listener.takes(101, 999_000, &[1, 0x8a, 1, 64]);
    assert!(listener.text.ends_with("!1!1. "), "{}", listener.text);
}
