//! Where media come from: behind NAT, from a new place in mid-call, from somebody who should not, and as no media at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::recording::Recorded;
use support::rtp::{Mouth, Talk};
use support::secrets::kept;
use support::server::Server;
use support::sipp::Scenario;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

const TONE: f64 = 700.0;
const SECOND: Duration = Duration::from_secs(1);

fn talk() -> Talk {
    Talk::new(TONE, SECOND * 2)
}

/// A call that offers the port of `mouth`; `media` does what it wants with the port of the answer.
fn call(server: &Server, name: &str, mouth: &Mouth, media: impl FnOnce(SocketAddr)) -> Recorded {
    let mut sipp = Scenario::new("call").named(name).key("audio", mouth.port()).start(server);
    media(sipp.answer("1 INVITE").media()[0].rtp());
    sipp.go_on();
    let call_id = sipp.call_id().to_owned();
    sipp.finish();
    server.wait_for_state(&call_id, "complete")
}

/// Two seconds of the tone, unbroken, and nothing else.
fn expect_heard(server: &Server, recorded: &Recorded, not: &[f64]) {
    let stream = recorded.stream();
    let first = stream.anchors[0].position_us as f64 / 1e6;
    let sound = server.export(&recorded.id(), &["--mono"]).remove(0);
    let sound = sound.cut(first, first + 2.0);
    sound.cut(0.02, 1.98).expect_tone("the export", TONE, not);
    assert!(sound.cut(0.0, 1.99).silences(0.015).is_empty(), "{:?}", sound.silences(0.015));
    assert_eq!(stream.accounting.lost, 0);
    assert_eq!(stream.accounting.received, 100, "{:?}", stream.accounting);
}

#[test]
fn media_come_from_another_port_than_sdp_says() {
    let server = Server::start();
    let (told, real) = (Mouth::open(), Mouth::open());
    let recorded = call(&server, "nat", &told, |to| real.say(to, &talk().packets()));
    expect_heard(&server, &recorded, &[]);
    let stream = recorded.stream();
    assert_eq!(stream.source.map(|s| s.port()), Some(real.port()));
    assert_eq!((stream.accounting.other_source, stream.accounting.source_changes), (0, 0));
}

#[test]
fn a_source_that_moves_is_followed_without_a_loss() {
    let server = Server::start();
    let (old, new) = (Mouth::open(), Mouth::open());
    let recorded = call(&server, "moves", &old, |to| {
        let (start, packets) = (Instant::now(), talk().packets());
        let (before, after) = packets.split_at(50);
        old.say_from(start, to, before);
        new.say_from(start, to, after);
    });
    expect_heard(&server, &recorded, &[]);
    let stream = recorded.stream();
    assert_eq!(stream.source.map(|s| s.port()), Some(new.port()));
    assert_eq!((stream.accounting.source_changes, stream.accounting.ssrc_changes), (1, 0));
}

#[test]
fn an_intruder_is_counted_and_not_heard() {
    let server = Server::start();
    let (mouth, intruder) = (Mouth::open(), Mouth::open());
    let intrusion = Talk { ssrc: 0xbad, ..Talk::new(1_500.0, SECOND) };
    let recorded = call(&server, "intruder", &mouth, |to| {
        std::thread::scope(|scope| {
            scope.spawn(|| mouth.say(to, &talk().packets()));
            std::thread::sleep(SECOND / 2);
            scope.spawn(|| intruder.say(to, &intrusion.packets()));
        });
    });
    expect_heard(&server, &recorded, &[1_500.0]);
    let stream = recorded.stream();
    assert_eq!((stream.accounting.other_source, stream.accounting.source_changes), (50, 0));
    assert_eq!(stream.ssrcs, [talk().ssrc]);
}

#[test]
fn what_is_no_rtp_is_counted_and_harms_nothing() {
    let server = Server::start();
    let mouth = Mouth::open();
    let junk: [&[u8]; 6] = [
        b"hello",
        // A STUN binding request (RFC 8489), a DTLS hello, and RTP of version 1, cut, and with a header beyond its end.
        &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        &[0x40, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff],
        &[0x80, 0, 0, 1, 0, 0],
        &[0x9f, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
    ];
    let recorded = call(&server, "junk", &mouth, |to| {
        std::thread::scope(|scope| {
            scope.spawn(|| mouth.say(to, &talk().packets()));
            for _ in 0..10 {
                std::thread::sleep(SECOND / 7);
                junk.iter().for_each(|bytes| mouth.send(to, bytes));
            }
        });
    });
    expect_heard(&server, &recorded, &[]);
    assert_eq!(
        recorded.stream().accounting.invalid,
        10 * junk.len() as u64,
        "{:?}",
        recorded.stream().accounting
    );
}

/// The SDP of two streams whose media come from each other's ports.
#[test]
fn two_ports_that_are_swapped_are_two_streams_all_the_same() {
    let server = Server::start();
    let (one, two) = (Mouth::open(), Mouth::open());
    let second = format!("m=audio {} RTP/AVP 0\r\na=sendonly\r\n", two.port());
    let (mut dialog, _) = Dialog::begin_by(&server, "swapped", one.port(), "RTP/AVP", &second);
    let media = dialog.offer("sendonly");
    let sounds: Vec<_> = (1..=4).map(payload).collect();
    let (mut at_one, mut at_two) = (Talker::new(&two, media[0].rtp()), Talker::new(&one, media[1].rtp()));
    at_two.ssrc = 9;
    for _ in 0..25 {
        at_one.say(1, &sounds[0]);
        at_two.say(1, &sounds[1]);
    }
    // Now as the description says.
    (at_one.mouth, at_two.mouth) = (&one, &two);
    for _ in 0..25 {
        at_one.say(1, &sounds[2]);
        at_two.say(1, &sounds[3]);
    }
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    let found: Vec<_> = sounds.iter().map(|s| kept(&recorded, s)).collect();
    assert_eq!(found, [25, 25, 25, 25]);
    let streams = &recorded.segment().streams;
    let ports: Vec<_> = streams.iter().map(|s| s.source.map(|s| s.port())).collect();
    assert_eq!(ports, [Some(one.port()), Some(two.port())]);
    assert!(streams.iter().all(|s| s.accounting.received == 50), "{streams:#?}");
}

/// Where our receiver reports arrive, by how the client sends RTCP: beside RTP, at the next port, at a port that it names,
/// and from one that it does not.
#[test]
fn reports_go_to_where_the_client_has_rtcp() {
    let server = Server::start();
    let (rtp, next) = std::iter::repeat_with(Mouth::open)
        .find_map(|rtp| Mouth::at(rtp.port().checked_add(1)?).map(|next| (rtp, next)))
        .unwrap();
    let (named, other) = (Mouth::open(), Mouth::open());
    let at_named = format!("a=rtcp:{}\r\n", named.port());
    let ways = [
        ("mux", "a=rtcp-mux\r\n", &rtp, None),
        ("next", "", &next, None),
        ("named", at_named.as_str(), &named, None),
        ("other", "", &other, Some(&other)),
    ];
    for (name, more, expected, from) in ways {
        let (mut dialog, media) = Dialog::begin_by(&server, name, rtp.port(), "RTP/AVP", more);
        let has_mux = more.contains("mux");
        assert_eq!(media.has("rtcp-mux"), has_mux, "{name}");
        let to_rtcp = SocketAddr::new(media.rtp().ip(), media.port + u16::from(!has_mux));
        let mut talker = Talker::new(&rtp, media.rtp());
        let report = wait_until("a report", PATIENCE, || {
            talker.say(5, &payload(1));
            if let Some(mouth) = from {
                // A sender report of the talker (RFC 3550 section 6.4.1).
                let mut report = vec![0x80, 200, 0, 6];
                report.extend(talker.ssrc.to_be_bytes());
                report.extend([0xe9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1f, 0x40, 0, 0, 0, 5, 0, 0, 3, 0x20]);
                mouth.send(to_rtcp, &report);
            }
            expected.receive().ok_or_else(|| format!("{name}: none"))
        });
        assert_eq!(report[1], 201, "{name}: a receiver report: {report:?}");
        dialog.bye();
        // What comes after the call belongs to nobody.
        while expected.receive().is_some() {}
    }
}
