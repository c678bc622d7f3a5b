//! Masked digits are nowhere: after a call in which a card number was keyed in by tones, by telephone events and by
//! INFO, every octet on disk, in the log, in answers and events of the interface is searched for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use model::{Dtmf, GapReason};
use support::rtp::Mouth;
use support::secrets::{CARD, Events, expect_nowhere, finds, id_of, kept};
use support::server::Server;
use support::talker::{Talker, payload, tones};
use support::uac::Dialog;

/// The frames of a digit that hold its tones, whole or in part.
const SOUNDING: usize = 3;

#[test]
fn nothing_of_masked_digits_is_anywhere_and_what_is_said_around_them_is_there() {
    let server = Server::with(&[("RECORDING__DTMF", "mask")]);
    let events = Events::listen(&server);
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "masked", mouth.port());
    let id = id_of(&server, dialog.call_id());
    let (before, after) = (payload(1), payload(2));
    let mut talker = Talker::new(&mouth, to);
    talker.say(40, &before);
    for key in CARD.chars() {
        for frame in tones(key) {
            talker.say(1, &frame);
        }
    }
    talker.say(20, &before);
    for key in CARD.chars() {
        talker.press(u8::try_from(key.to_digit(10).unwrap()).unwrap());
        talker.say(3, &before);
    }
    dialog.info("Content-Type: application/dtmf-relay\r\n", &format!("Signal={CARD}\r\nDuration=160\r\n"));
    dialog.info("Content-Type: application/dtmf\r\n", CARD);
    talker.say(40, &after);
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");

    let secrets: Vec<Vec<u8>> = CARD.chars().flat_map(|key| tones(key).into_iter().take(SOUNDING)).collect();
    expect_nowhere(&server, &events, &id, &secrets);
    let (segment, stream) = (recorded.segment(), recorded.stream());
    assert_eq!(segment.dtmf, Dtmf::Mask);
    assert!(segment.sidecar.is_none(), "telephone events: {:?}", segment.sidecar);
    // All but two frames at each border that belong to the guard.
    assert!(kept(&recorded, &before) >= 54, "{}", kept(&recorded, &before));
    assert!((38..=40).contains(&kept(&recorded, &after)), "{}", kept(&recorded, &after));
    let masked: Vec<_> = stream.gaps.iter().filter(|g| g.reason == GapReason::Masked).collect();
    assert!((2..=32).contains(&masked.len()), "{masked:?}");
    // 3 packets of tone and 3 of telephone event for each digit, at least.
    assert!(stream.accounting.masked >= 96, "{:?}", stream.accounting);
    let listed: u64 = masked.iter().map(|g| u64::from(g.packets)).sum();
    assert_eq!(listed, stream.accounting.masked);
    let shown = server.callspool(&["show", &id]).expect_ok("show");
    assert!(shown.text().contains("masked"), "{}", shown.text());
    // What plays is as long as the call.
    let length = server.export(&id, &[])[0].samples.len();
    assert!(length > 8_000 * 4, "{length} samples");
}

#[test]
fn without_masking_digits_are_kept_so_the_search_can_find_them() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "kept", mouth.port());
    let mut talker = Talker::new(&mouth, to);
    talker.say(20, &payload(1));
    tones('7').iter().for_each(|frame| talker.say(1, frame));
    talker.press(7);
    talker.say(20, &payload(1));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    let parts: Vec<u8> = recorded.parts().iter().flat_map(|p| std::fs::read(p).unwrap()).collect();
    assert!(tones('7').iter().take(SOUNDING).all(|frame| finds(&parts, frame) > 0));
    assert!(recorded.segment().sidecar.is_some());
    assert_eq!((recorded.segment().dtmf, recorded.stream().accounting.masked), (Dtmf::Keep, 0));
}
