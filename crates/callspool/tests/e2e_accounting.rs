//! The manifest counts exactly what the sender did, and time is true whatever happened on the way.
//!
//! Each case writes down its packets first; what must be counted follows from that list alone. All cases are
//! calls at once to one server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod support;

use std::time::Duration;

use model::{Accounting, GapReason, StreamRecord};
use serde_json::Value;
use support::calls::place;
use support::recording::{Recorded, expect_close};
use support::rtp::{Mouth, Packet, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, audio, wait_until};

const TONE: f64 = 700.0;
const TALK: Duration = Duration::from_secs(2);
const FRAME: Duration = Duration::from_millis(20);

/// What the sender did, in the manifest's words.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Counts {
    received: u64,
    payload_bytes: u64,
    lost: u64,
    reordered: u64,
    duplicate: u64,
    late: u64,
    invalid: u64,
    ssrc_changes: u32,
}

impl Counts {
    fn of(a: &Accounting) -> Self {
        Self {
            received: a.received,
            payload_bytes: a.payload_bytes,
            lost: a.lost,
            reordered: a.reordered,
            duplicate: a.duplicate,
            late: a.late,
            invalid: a.invalid,
            ssrc_changes: a.ssrc_changes,
        }
    }
}

struct Case {
    name: &'static str,
    packets: Vec<Packet>,
    /// Beyond what the packets say by themselves: those received, and their octets.
    counts: Counts,
    /// Stretches of the talk, in frames, of which nothing was ever sent.
    missing: Vec<(u32, u32)>,
    /// How long it all plays, from the first packet.
    plays: Duration,
}

impl Case {
    fn new(name: &'static str, packets: Vec<Packet>) -> Self {
        Self { name, packets, counts: Counts::default(), missing: Vec::new(), plays: TALK }
    }
}

fn talk() -> Vec<Packet> {
    Talk::new(TONE, TALK).packets()
}

/// As sent, in time.
fn in_time(mut packets: Vec<Packet>) -> Vec<Packet> {
    packets.sort_by_key(|p| p.at);
    packets
}

fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new("undisturbed", talk())];

    let mut lossy = talk();
    lossy.drain(50..55);
    lossy.remove(20);
    cases.push(Case {
        counts: Counts { lost: 6, ..Counts::default() },
        missing: vec![(20, 21), (50, 55)],
        ..Case::new("loss", lossy)
    });

    let mut swapped = talk();
    for n in [10, 30, 31, 60] {
        // It leaves half a frame after the one that follows it.
        swapped[n].at += FRAME * 3 / 2;
    }
    // 30 leaves after the time of 31, which has left its own too: only 31 comes after a later one.
    cases.push(Case {
        counts: Counts { reordered: 3, ..Counts::default() },
        ..Case::new("reordering", in_time(swapped))
    });

    let mut twice = talk();
    for n in [5, 6, 40, 99] {
        let mut again = twice[n].clone();
        again.at += Duration::from_millis(5);
        twice.push(again);
    }
    let mut much_later = twice[70].clone();
    much_later.at += Duration::from_millis(300);
    twice.push(much_later);
    cases.push(Case {
        counts: Counts { duplicate: 5, ..Counts::default() },
        ..Case::new("duplicates", in_time(twice))
    });

    let mut late = talk();
    for n in [25, 26, 70] {
        late[n].at += Duration::from_millis(400);
    }
    cases.push(Case { counts: Counts { late: 3, ..Counts::default() }, ..Case::new("late", in_time(late)) });

    let wraps = Talk { sequence: 65_500, timestamp: u32::MAX - 4_000, ..Talk::new(TONE, TALK) };
    cases.push(Case::new("wrap", wraps.packets()));

    let mut wraps_lossy = Talk { sequence: 65_530, ..Talk::new(TONE, TALK) }.packets();
    wraps_lossy.drain(4..8);
    wraps_lossy[20].at += FRAME * 3 / 2;
    cases.push(Case {
        counts: Counts { lost: 4, reordered: 1, ..Counts::default() },
        missing: vec![(4, 8)],
        ..Case::new("wrap-loss", in_time(wraps_lossy))
    });

    let mut changed = talk();
    for packet in &mut changed[50..] {
        packet.ssrc = 0xfeed_beef;
        packet.sequence = packet.sequence.wrapping_add(30_000);
        packet.timestamp = packet.timestamp.wrapping_add(0x1234_5678);
    }
    cases
        .push(Case { counts: Counts { ssrc_changes: 1, ..Counts::default() }, ..Case::new("ssrc", changed) });

    // Silence suppression: nothing is sent for a while, and the timestamp goes on.
    let mut pauses = talk();
    pauses.drain(40..70);
    for (n, packet) in pauses.iter_mut().enumerate() {
        packet.sequence = 1_000 + n as u16;
    }
    pauses[40].marker = true;
    cases.push(Case { missing: vec![(40, 70)], ..Case::new("dtx", pauses) });

    for (name, ms) in [("ptime-10", 10), ("ptime-30", 30), ("ptime-60", 60)] {
        let talk = Talk { ptime: Duration::from_millis(ms), ..Talk::new(TONE, TALK) };
        let packets = talk.packets();
        let plays = talk.ptime * packets.len() as u32;
        cases.push(Case { plays, ..Case::new(name, packets) });
    }
    cases
}

#[test]
fn the_counts_are_what_the_sender_did_and_time_is_true() {
    let server = Server::start();
    let problems: Vec<String> = std::thread::scope(|scope| {
        let server = &server;
        let calls = cases().into_iter().map(|case| {
            let name = case.name;
            (name, scope.spawn(move || check(server, case)))
        });
        let calls: Vec<_> = calls.collect();
        let ended = calls.into_iter().map(|(name, call)| (name, call.join()));
        ended.filter(|(_, end)| end.is_err()).map(|(name, _)| name.to_owned()).collect()
    });
    assert!(problems.is_empty(), "cases that failed, see above: {problems:?}");
}

fn check(server: &Server, case: Case) {
    let Case { name, packets, counts, missing, plays } = case;
    let scenario = Scenario::new("call").named(name);
    let recorded = place(server, scenario, &Mouth::open(), &packets, "complete").recorded;
    let stream = recorded.stream();
    let sent = packets.len() as u64 - counts.duplicate;
    let octets: u64 = packets.iter().map(|p| p.payload.len() as u64).sum();
    let again = counts.duplicate * packets[0].payload.len() as u64;
    let expected = Counts { received: sent, payload_bytes: octets - again, ..counts };
    assert_eq!(Counts::of(&stream.accounting), expected, "{name}: {:?}", stream.gaps);

    expect_gaps(name, stream, &missing);
    expect_time(server, name, &recorded, &missing, plays);
}

/// The gaps between the first and the last packet are those that the sender made.
fn expect_gaps(name: &str, stream: &StreamRecord, missing: &[(u32, u32)]) {
    let first = stream.anchors[0].position_us;
    let last = first + TALK.as_micros() as i64;
    // A new source is placed by arrival, where a tick and a busy machine may leave some ms.
    let least = if name == "ssrc" { 20_000 } else { 1 };
    let within = |from: i64, until: i64| from >= first && until <= last && until - from >= least;
    let gaps: Vec<_> = stream.gaps.iter().filter(|g| within(g.from_us, g.until_us)).collect();
    let is: Vec<_> = gaps.iter().map(|g| (g.from_us - first, g.until_us - first)).collect();
    let us = |frames: u32| i64::from(frames) * 20_000;
    let expected: Vec<_> = missing.iter().map(|(from, until)| (us(*from), us(*until))).collect();
    assert_eq!(is, expected, "{name}: {gaps:?}");
    for (gap, (from, until)) in gaps.iter().zip(missing) {
        let expected = if name == "dtx" { (GapReason::Silence, 0) } else { (GapReason::Loss, until - from) };
        assert_eq!((gap.reason, gap.packets), expected, "{name}");
    }
}

/// The export plays the tone from the first packet to the end of the last, with zeros where nothing was sent.
fn expect_time(server: &Server, name: &str, recorded: &Recorded, missing: &[(u32, u32)], plays: Duration) {
    let stream = recorded.stream();
    let first = stream.anchors[0].position_us as f64 / 1e6;
    let exported = server.export(&recorded.id(), &["--mono"]).remove(0);
    let sound = exported.cut(first, first + plays.as_secs_f64());
    let silences: Vec<(u32, u32)> = sound
        .silences(0.015)
        .into_iter()
        .map(|(from, until)| ((from * 50.0).round() as u32, (until * 50.0).round() as u32))
        .collect();
    if name != "ssrc" {
        assert_eq!(silences, missing, "{name}: silences in frames");
    }
    let (_, from) = missing.iter().fold((0, 0), |best, (from, until)| best.max((*until - *from, *until)));
    // The sine of a new source goes on where the clock says, not where the old one was.
    let after = if name == "ssrc" { 1.02 } else { f64::from(from) * 0.02 };
    sound.cut(after + 0.02, plays.as_secs_f64() - 0.02).expect_tone(name, TONE, &[1_500.0]);
    let end = exported.samples.iter().rposition(|s| *s != 0).unwrap_or(0) as f64 / 8_000.0;
    expect_close(&format!("{name}: the end of the sound"), end, first + plays.as_secs_f64(), FRAME);
    if name != "late" {
        // What comes late stands late in the file, where ffmpeg plays it, with a word of complaint.
        let decoded = audio::decode(&recorded.parts()[0], 0);
        let length = recorded.segment().parts[0].duration_us as f64 / 1e6;
        expect_close(&format!("{name}: the part, decoded by ffmpeg"), decoded.seconds(), length, FRAME * 3);
    }
}

/// The built-in test caller loses, swaps and doubles at random; what it says that it did is what is counted.
#[test]
fn the_test_caller_and_the_manifest_agree_to_the_packet() {
    let server = Server::start();
    let to = format!("sip:recorder@{}", server.sip_address());
    let checks: Vec<(&str, Vec<&str>)> = vec![
        ("plain", vec![]),
        ("lossy", vec!["--loss", "5%", "--seed", "7"]),
        ("swapped", vec!["--reorder", "5%", "--seed", "8"]),
        ("doubled", vec!["--duplicate", "5%", "--seed", "9"]),
        ("all", vec!["--loss", "3%", "--reorder", "3%", "--duplicate", "3%", "--seed", "10"]),
        ("10 ms", vec!["--ptime", "10", "--loss", "3%", "--seed", "11"]),
        ("30 ms", vec!["--ptime", "30", "--loss", "3%", "--reorder", "3%", "--seed", "12"]),
        ("60 ms", vec!["--ptime", "60", "--loss", "10%", "--seed", "13"]),
        ("ssrc", vec!["--ssrc-change-at", "1s", "--loss", "3%", "--seed", "14"]),
        ("siprec", vec!["--siprec", "--loss", "3%", "--reorder", "3%", "--duplicate", "3%", "--seed", "15"]),
        ("hold", vec!["--siprec", "--hold", "1s@1s", "--loss", "3%", "--seed", "16"]),
        ("a-law over tcp", vec!["--codec", "pcma", "--transport", "tcp", "--loss", "3%", "--seed", "17"]),
        ("delayed", vec!["--delayed-offer", "--reorder", "5%", "--seed", "18"]),
    ];
    let problems: Vec<String> = std::thread::scope(|scope| {
        let (server, to) = (&server, &to);
        let calls = checks.into_iter().map(|(name, arguments)| {
            let call = scope.spawn(move || {
                let mut all = vec!["call", "--to", to, "--duration", "3s", "--json"];
                all.extend(arguments);
                let done = server.callspool(&all).expect_ok(name);
                let report: Value = serde_json::from_str(done.text().lines().next().unwrap()).unwrap();
                expect_agreement(server, name, &report);
            });
            (name, call)
        });
        let calls: Vec<_> = calls.collect();
        let ended = calls.into_iter().map(|(name, call)| (name, call.join()));
        ended.filter(|(_, end)| end.is_err()).map(|(name, _)| name.to_owned()).collect()
    });
    assert!(problems.is_empty(), "cases that failed, see above: {problems:?}");
}

fn expect_agreement(server: &Server, name: &str, report: &Value) {
    let call_id = report["sip_call_id"].as_str().unwrap();
    let recorded = server.wait_for_state(call_id, "complete");
    let sent = report["streams"].as_array().unwrap();
    assert_eq!(recorded.segments.len() as u64, 1 + report["holds"].as_u64().unwrap(), "{name}");
    for (slot, sent) in sent.iter().enumerate() {
        let streams = recorded.segments.iter().map(|s| &s.streams[slot]);
        let mut is = Counts::default();
        for stream in streams {
            let counts = Counts::of(&stream.accounting);
            is.received += counts.received;
            is.payload_bytes += counts.payload_bytes;
            is.lost += counts.lost;
            is.reordered += counts.reordered;
            is.duplicate += counts.duplicate;
            is.late += counts.late;
            is.invalid += counts.invalid;
            is.ssrc_changes += counts.ssrc_changes;
        }
        let number = |key: &str| sent[key].as_u64().unwrap_or_else(|| panic!("{name}: no {key} in {sent}"));
        let expected = Counts {
            received: number("packets"),
            payload_bytes: number("octets"),
            lost: number("skipped"),
            reordered: number("reordered"),
            duplicate: number("duplicated"),
            ssrc_changes: u32::from(name == "ssrc"),
            ..Counts::default()
        };
        assert_eq!(is, expected, "{name}, stream {slot}: {report:#}");
        assert!(expected.received > 30, "{name}: nothing was sent");
    }
}

/// Telephone events go to the sidecar, which tshark reads, and never move time.
#[test]
fn telephone_events_are_kept_beside_and_move_no_time() {
    let server = Server::start();
    let mut packets = talk();
    let sent = packets.len();
    // Key 5 for 100 ms, beside the tone: RFC 4733 section 2.5.1.3, one timestamp for all of it.
    let event = packets[50].clone();
    for n in 0_u8..5 {
        let end = if n == 4 { 0x80 } else { 0 };
        packets.push(Packet {
            at: event.at + FRAME * u32::from(n) + Duration::from_millis(1),
            marker: n == 0,
            payload_type: 101,
            payload: [&[5, 0x0a | end][..], &(160 * (u16::from(n) + 1)).to_be_bytes()].concat(),
            ..event.clone()
        });
    }
    let mut packets = in_time(packets);
    for (n, packet) in packets.iter_mut().enumerate() {
        packet.sequence = 1_000 + n as u16;
    }
    let outcome = place(&server, Scenario::new("call"), &Mouth::open(), &packets, "complete");
    let recorded = outcome.recorded;
    let a = recorded.stream().accounting;
    assert_eq!((a.received, a.lost, a.reordered, a.codec_changes), (sent as u64 + 5, 0, 0, 0), "{a:?}");
    expect_gaps("events", recorded.stream(), &[]);
    expect_time(&server, "events", &recorded, &[], TALK);

    let sidecar = recorded.segment().sidecar.as_ref().expect("a sidecar");
    assert_eq!(sidecar.packets, 5);
    let path = recorded.directory.join(&sidecar.file);
    let mut tshark = std::process::Command::new("tshark");
    tshark.arg("-r").arg(&path).args(["-d", &format!("udp.port=={},rtp", recorded.stream().port)]);
    tshark.args(["-o", "rtpevent.event_payload_type_value:101", "-T", "fields", "-e", "rtp.p_type"]);
    tshark.args(["-e", "rtpevent.event_id", "-e", "rtp.seq", "-e", "udp.dstport"]);
    let done = support::program::run(tshark, PATIENCE).expect_ok("tshark");
    let lines: Vec<Vec<&str>> = done.text().lines().map(|l| l.split('\t').collect()).collect();
    let sequences: Vec<String> =
        packets.iter().filter(|p| p.payload_type == 101).map(|p| p.sequence.to_string()).collect();
    let port = recorded.stream().port.to_string();
    for (line, sequence) in lines.iter().zip(&sequences) {
        assert_eq!(line[..], ["101", "5", sequence, &port], "{}", done.text());
    }
    assert_eq!(lines.len(), 5, "{}", done.text());
    wait_until("verify to be content", PATIENCE, || {
        let done = server.callspool(&["verify", &recorded.id()]);
        if done.code == Some(0) { Ok(()) } else { Err(format!("{}{}", done.text(), done.err)) }
    });
}
