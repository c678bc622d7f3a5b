//! What is said in a pause is nowhere: after calls with pauses every octet on disk, in the log and in answers of
//! the interface is searched for the audio and the digits that were sent in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Instant;

use model::{GapReason, PauseSource, StreamRecord};
use support::rtp::Mouth;
use support::secrets::{CARD, Events, expect_nowhere, id_of, kept, order};
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

fn paused_us(stream: &StreamRecord) -> i64 {
    stream.gaps.iter().filter(|g| g.reason == GapReason::Pause).map(|g| g.until_us - g.from_us).sum()
}

#[test]
fn nothing_of_a_pause_by_api_is_anywhere_and_all_around_it_is_there() {
    let server = Server::start();
    let events = Events::listen(&server);
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

    expect_nowhere(&server, &events, &id, &secrets);
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
    let events = Events::listen(&server);
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
    expect_nowhere(&server, &events, &id, &[secret]);
    assert_eq!(recorded.segments.len(), 2);
    assert!((20..=25).contains(&kept(&recorded, &before)), "{}", kept(&recorded, &before));
    assert!((20..=25).contains(&kept(&recorded, &after)), "{}", kept(&recorded, &after));
    let second = &recorded.segments[1].pauses;
    assert!(
        matches!(&second[..], [p] if p.from_us == 0 && p.from < recorded.segments[1].started),
        "{second:?}"
    );
}

/// An SBC and a gateway send the same call by a trunk each; the gateway pauses.
#[test]
fn a_dialog_of_another_trunk_pauses_its_own_streams_and_nothing_of_those_is_anywhere() {
    const SESSION: &str = "Session-ID: ab30317f1a784dc48ff824d0d3715d86\r\n";
    let server =
        Server::with(&[("TRUNK__SBC__FROM", "127.0.0.1,::1"), ("TRUNK__GATEWAY__FROM", "127.0.0.2")]);
    let events = Events::listen(&server);
    let (mouth, guest) = (Mouth::open(), Mouth::open());
    let (mut sbc, to) = Dialog::begin_from(&server, "own", mouth.port(), "127.0.0.1", SESSION);
    let mut of_sbc = Talker::new(&mouth, to);
    let (mut gateway, to) = Dialog::begin_from(&server, "guest", guest.port(), "127.0.0.2", SESSION);
    let mut of_gateway = Talker::new(&guest, to);
    let id = id_of(&server, sbc.call_id());
    assert_eq!(id_of(&server, gateway.call_id()), id, "one call");
    let (own, before, after, secret) = (payload(21), payload(22), payload(23), payload(24));
    of_gateway.say(20, &before);
    gateway.info("Record: off\r\n", "");
    // What was ordered before a request is carried out before that is answered.
    gateway.offer("sendonly");
    std::thread::scope(|scope| {
        scope.spawn(|| of_sbc.say(20, &own));
        of_gateway.say(20, &secret);
    });
    gateway.info("Record: on\r\n", "");
    gateway.offer("sendonly");
    of_gateway.say(20, &after);
    gateway.bye();
    sbc.bye();
    let recorded = server.wait_for_state(sbc.call_id(), "complete");
    expect_nowhere(&server, &events, &id, &[secret]);
    assert!((19..=20).contains(&kept(&recorded, &own)), "{}", kept(&recorded, &own));
    assert!((15..=20).contains(&kept(&recorded, &before)), "{}", kept(&recorded, &before));
    assert!((17..=20).contains(&kept(&recorded, &after)), "{}", kept(&recorded, &after));
    let paused: Vec<_> = recorded.segment().streams.iter().map(|s| paused_us(s) > 0).collect();
    assert_eq!(paused, [false, true], "the streams of the gateway only");
    assert!(recorded.segment().pauses.is_empty(), "the call was not paused");
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
    let events = Events::listen(&server);
    let sealed =
        || server.recorded(dialog.call_id()).filter(|r| r.sealed).ok_or_else(|| "not sealed".to_owned());
    let recorded = wait_until("the repair", PATIENCE, sealed);
    expect_nowhere(&server, &events, &id, &[secret]);
    let pauses = &recorded.segment().pauses;
    assert!(matches!(&pauses[..], [p] if p.until.is_none()), "{pauses:?}");
}

#[test]
fn a_stop_ends_the_recording_while_the_dialog_goes_on() {
    let server = Server::start();
    let events = Events::listen(&server);
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
    expect_nowhere(&server, &events, &id, &[secret]);
    assert_eq!(recorded.segment().stopped_by.as_deref(), Some("api"));
    assert_eq!(recorded.segment().end, Some(model::EndReason::Stop));
}
