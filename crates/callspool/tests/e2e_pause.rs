//! What is said in a pause is nowhere: after calls with pauses every octet on disk, in the log and in answers of
//! the interface is searched for the audio and the digits that were sent in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use model::{GapReason, PauseSource, StreamRecord};
use serde_json::Value;
use support::recording::Recorded;
use support::rtp::{Mouth, Packet};
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, http, wait_until};

const FRAME: Duration = Duration::from_millis(20);
/// Octets in a row that would be a find: of 160 random ones no eight come up by chance.
const RUN: usize = 8;
/// A card number, as digits of INFO.
const CARD: &str = "4929416338071725";

/// Payloads that nobody else makes: octets of a generator, by seed.
fn payload(seed: u64) -> Vec<u8> {
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
struct Talker<'a> {
    mouth: &'a Mouth,
    to: SocketAddr,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    next: Instant,
}

impl<'a> Talker<'a> {
    fn new(mouth: &'a Mouth, to: SocketAddr) -> Self {
        Self { mouth, to, ssrc: 0x5eed, sequence: 100, timestamp: 8_000, next: Instant::now() }
    }

    fn packet(&mut self, payload_type: u8, payload: Vec<u8>) -> Packet {
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
    fn frame(&mut self, payload: &[u8]) -> Packet {
        self.next = (self.next + FRAME).max(Instant::now() - FRAME);
        std::thread::sleep(self.next.saturating_duration_since(Instant::now()));
        let packet = self.packet(0, payload.to_vec());
        self.timestamp = self.timestamp.wrapping_add(160);
        packet
    }

    fn say(&mut self, frames: usize, payload: &[u8]) {
        for _ in 0..frames {
            let packet = self.frame(payload);
            self.send(&packet);
        }
    }

    /// A digit as RFC 4733 sends it, with this event code.
    fn press(&mut self, event: u8) {
        for duration in [160_u16, 320, 480] {
            let [high, low] = duration.to_be_bytes();
            let packet = self.packet(101, vec![event, 0x0a, high, low]);
            self.send(&packet);
        }
    }

    fn send(&self, packet: &Packet) {
        self.mouth.say(self.to, std::slice::from_ref(packet));
    }
}

/// Orders something of the call; how it stands then.
fn order(server: &Server, call: &str, what: &str) -> Value {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let path = format!("/api/v1/calls/{call}/{what}");
    let headers = [("Authorization", bearer.as_str())];
    let response = http::send("POST", &server.http_address(), &path, &headers, "");
    let response = response.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(response.status, 200, "{what}: {}", response.text());
    serde_json::from_slice(&response.body).unwrap()
}

/// The answer of the interface about a call, and the list of calls.
fn answers(server: &Server, call: &str) -> Vec<u8> {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let get =
        |path: &str| http::get(&server.http_address(), path, &[("Authorization", &bearer)]).unwrap().body;
    [get(&format!("/api/v1/calls/{call}")), get("/api/v1/calls")].concat()
}

/// Every file below a directory, with its octets.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
}

/// How many octets of the payload stand in the text, wherever a run of it begins.
fn finds(bytes: &[u8], payload: &[u8]) -> usize {
    let twice = payload.repeat(2);
    let runs: HashSet<&[u8]> = twice.windows(RUN).collect();
    bytes.windows(RUN).filter(|w| runs.contains(w)).count()
}

/// Fails when anything of the secret is in anything that callspool wrote or says.
fn expect_nowhere(server: &Server, call: &str, secrets: &[Vec<u8>]) {
    let mut all = vec![("the interface".to_owned(), answers(server, call))];
    files(server.directory(), &mut all);
    assert!(all.iter().any(|(name, _)| name.ends_with(".mka")), "there is something to search");
    assert!(all.iter().any(|(name, _)| name.ends_with(".log")), "the log is searched");
    for (name, bytes) in &all {
        for secret in secrets {
            assert_eq!(finds(bytes, secret), 0, "audio of the pause is in {name}");
        }
        let card = bytes.windows(CARD.len()).any(|w| w == CARD.as_bytes());
        assert!(!card, "digits of the pause are in {name}");
    }
}

/// How many whole payloads are in the parts.
fn kept(recorded: &Recorded, payload: &[u8]) -> usize {
    let bytes: Vec<u8> = recorded.parts().iter().flat_map(|p| std::fs::read(p).unwrap()).collect();
    bytes.windows(payload.len()).filter(|w| *w == payload).count()
}

fn paused_us(stream: &StreamRecord) -> i64 {
    stream.gaps.iter().filter(|g| g.reason == GapReason::Pause).map(|g| g.until_us - g.from_us).sum()
}

fn id_of(server: &Server, sip_call_id: &str) -> String {
    let look = || server.recorded(sip_call_id).map(|r| r.id()).ok_or_else(|| "no call".to_owned());
    wait_until("the call to be on disk", PATIENCE, look)
}

#[test]
fn nothing_of_a_pause_by_api_is_anywhere_and_all_around_it_is_there() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "api-pause", mouth.port());
    let id = id_of(&server, dialog.call_id());
    let (before, after) = (payload(1), payload(2));
    let secrets: Vec<_> = (3..6).map(payload).collect();
    let mut talker = Talker::new(&mouth, to);
    talker.say(40, &before);
    assert_eq!(order(&server, &id, "pause")["recording"], "paused");
    let began = Instant::now();
    talker.say(20, &secrets[0]);
    (1..=9).for_each(|event| talker.press(event));
    let body = format!("Signal={CARD}\r\nDuration=160\r\n");
    dialog.info("Content-Type: application/dtmf-relay\r\n", &body);
    dialog.offer("sendonly");
    dialog.info("Record: on\r\n", "");
    talker.say(10, &secrets[0]);
    assert_eq!(order(&server, &id, "pause")["changed"], false);
    // Another source, and packets that change places.
    talker.ssrc = 0xcafe;
    for _ in 0..5 {
        let (first, second) = (talker.frame(&secrets[1]), talker.frame(&secrets[1]));
        talker.send(&second);
        talker.send(&first);
    }
    talker.say(10, &secrets[1]);
    // What comes late comes when the pause is over.
    let late: Vec<_> = (0..5).map(|_| talker.frame(&secrets[2])).collect();
    assert_eq!(order(&server, &id, "resume")["recording"], "on");
    let lasted = began.elapsed();
    late.iter().rev().for_each(|p| talker.send(p));
    talker.say(2, &after);
    late.iter().for_each(|p| talker.send(p));
    talker.say(40, &after);
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");

    expect_nowhere(&server, &id, &secrets);
    let (segment, stream) = (recorded.segment(), recorded.stream());
    // What is in the socket at the moment of the order goes with the pause: a frame, or some on a loaded machine.
    assert!((35..=40).contains(&kept(&recorded, &before)), "{}", kept(&recorded, &before));
    assert!((37..=42).contains(&kept(&recorded, &after)), "{}", kept(&recorded, &after));
    let [pause] = &segment.pauses[..] else { panic!("one pause: {:?}", segment.pauses) };
    assert_eq!(
        (&pause.by, &pause.resumed_by),
        (&PauseSource::Api("api".to_owned()), &Some(PauseSource::Api("api".to_owned())),)
    );
    assert!(segment.sidecar.is_none(), "telephone events of the pause: {:?}", segment.sidecar);
    // Silence as long as the pause was, to a few frames of what a loaded machine adds.
    let silent = paused_us(stream);
    let lasted = i64::try_from(lasted.as_micros()).unwrap();
    assert!((silent - lasted).abs() < 150_000, "{silent} µs of pause, it lasted {lasted}: {:?}", stream.gaps);
    assert!(stream.accounting.discarded >= 55, "{:?}", stream.accounting);
    let shown = server.callspool(&["show", &id]).expect_ok("show");
    assert!(shown.text().contains("paused by API (api)"), "{}", shown.text());
}

#[test]
fn a_key_of_the_phone_pauses_and_a_hold_in_the_pause_does_not_end_it() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "info-pause", mouth.port());
    let id = id_of(&server, dialog.call_id());
    let (before, after, secret) = (payload(11), payload(12), payload(13));
    let mut talker = Talker::new(&mouth, to);
    talker.say(25, &before);
    dialog.info("Record: off\r\n", "");
    // INFO is answered by the agent at once; what it orders is in the manifest when it is true.
    let paused = || {
        let segments = server.recorded(dialog.call_id()).map(|r| r.segments).unwrap_or_default();
        if segments.iter().any(|s| s.pauses.len() == 1) { Ok(()) } else { Err(format!("{segments:?}")) }
    };
    wait_until("the pause to be in the manifest", PATIENCE, paused);
    talker.say(15, &secret);
    dialog.offer("inactive");
    talker.say(5, &secret);
    let media = dialog.offer("sendonly");
    talker.to = media[0].rtp();
    talker.say(15, &secret);
    dialog.info("Record: on\r\n", "");
    let resumed = || {
        let segments = server.recorded(dialog.call_id()).map(|r| r.segments).unwrap_or_default();
        let over = segments.iter().any(|s| s.number == 2 && s.pauses.iter().all(|p| p.until.is_some()));
        if over { Ok(()) } else { Err(format!("{segments:?}")) }
    };
    wait_until("the end of the pause to be in the manifest", PATIENCE, resumed);
    talker.say(25, &after);
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    expect_nowhere(&server, &id, &[secret]);
    assert_eq!(recorded.segments.len(), 2);
    assert!((20..=25).contains(&kept(&recorded, &before)), "{}", kept(&recorded, &before));
    assert!((20..=25).contains(&kept(&recorded, &after)), "{}", kept(&recorded, &after));
    let second = &recorded.segments[1].pauses;
    assert!(
        matches!(&second[..], [p] if p.from_us == 0 && p.from < recorded.segments[1].started),
        "{second:?}"
    );
}

#[test]
fn after_a_crash_in_a_pause_it_is_known_and_nothing_of_it_is_anywhere() {
    let mut server = Server::start();
    let mouth = Mouth::open();
    let (dialog, to) = Dialog::begin(&server, "crash-pause", mouth.port());
    let id = id_of(&server, dialog.call_id());
    let (before, secret) = (payload(21), payload(22));
    let mut talker = Talker::new(&mouth, to);
    talker.say(30, &before);
    order(&server, &id, "pause");
    talker.say(25, &secret);
    server.kill();
    server.restart();
    let sealed =
        || server.recorded(dialog.call_id()).filter(|r| r.sealed).ok_or_else(|| "not sealed".to_owned());
    let recorded = wait_until("the repair", PATIENCE, sealed);
    expect_nowhere(&server, &id, &[secret]);
    let pauses = &recorded.segment().pauses;
    assert!(matches!(&pauses[..], [p] if p.until.is_none()), "{pauses:?}");
}

#[test]
fn a_stop_ends_the_recording_while_the_dialog_goes_on() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "stop", mouth.port());
    let id = id_of(&server, dialog.call_id());
    let (before, secret) = (payload(31), payload(32));
    let mut talker = Talker::new(&mouth, to);
    talker.say(25, &before);
    assert_eq!(order(&server, &id, "stop")["recording"], "off");
    talker.say(10, &secret);
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    expect_nowhere(&server, &id, &[secret]);
    assert_eq!(recorded.segment().stopped_by.as_deref(), Some("api"));
    assert_eq!(recorded.segment().end, Some(model::EndReason::Stop));
}
