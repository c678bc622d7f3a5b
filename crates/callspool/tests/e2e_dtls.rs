//! Media whose keys come by handshakes on their ports: after a hold, by strangers who come first or in between, from
//! addresses that nobody named, and of many clients at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use media::srtp::Srtp;
use serde_json::Value;
use support::dtls::{Shaker, say};
use support::messages::Media;
use support::rtp::Mouth;
use support::secrets::kept;
use support::server::Server;
use support::stun::Peer;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

const PROFILE: &str = "UDP/TLS/RTP/SAVP";
const MUX: &str = "a=rtcp-mux\r\n";
const ICE: &str = "a=ice-ufrag:them\r\na=ice-pwd:0123456789012345678901\r\n";

/// A call of a client with one stream, RTCP beside it, and these lines more.
fn begin(server: &Server, name: &str, mouth: &Mouth, shaker: &Shaker, more: &str) -> (Dialog, Media) {
    let lines = format!("{MUX}{}{more}", shaker.lines());
    Dialog::begin_by(server, name, mouth.port(), PROFILE, &lines)
}

fn shake(shaker: &Shaker, mouth: &Mouth, to: SocketAddr) -> Srtp {
    shaker.shake(mouth, to, PATIENCE).expect("keys")
}

/// Talks, holds, talks again from where it was; `again` may begin anew.
fn over_a_hold(name: &str, more: &str, again: impl FnOnce(&Shaker, &Mouth, &Media, &Media, &mut Srtp)) {
    let server = Server::start();
    let (mouth, shaker) = (Mouth::open(), Shaker::new());
    let (mut dialog, before) = begin(&server, name, &mouth, &shaker, more);
    let mut srtp = shake(&shaker, &mouth, before.rtp());
    let mut talker = Talker::new(&mouth, before.rtp());
    say(&mut srtp, &mut talker, 30, &payload(1));
    dialog.offer("inactive");
    let after = dialog.offer("sendonly").remove(0);
    assert_ne!(after.port, before.port);
    again(&shaker, &mouth, &before, &after, &mut srtp);
    talker.to = after.rtp();
    say(&mut srtp, &mut talker, 30, &payload(2));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!(recorded.segments.len(), 2);
    assert_eq!([1, 2].map(|n| kept(&recorded, &payload(n))), [30, 30]);
    for segment in &recorded.segments {
        let a = segment.streams[0].accounting;
        assert_eq!((a.received, a.unauthenticated), (30, 0), "{a:?}");
    }
}

/// RFC 8842 section 4: nothing in the descriptions says that there is another association.
#[test]
fn who_goes_on_with_its_keys_after_a_hold_is_opened() {
    over_a_hold("goes-on", "", |_, _, _, after, _| assert_eq!(after.value("tls-id"), None));
}

#[test]
fn who_begins_anew_after_a_hold_because_we_say_so_is_opened() {
    let id = "a=tls-id:abc3de65cddef001be82\r\n";
    over_a_hold("anew", id, |shaker, mouth, before, after, srtp| {
        let ids = [before, after].map(|m| m.value("tls-id").expect("a=tls-id").to_owned());
        assert_ne!(ids[0], ids[1], "another association");
        *srtp = shake(shaker, mouth, after.rtp());
    });
}

/// New ports are a restart of ICE (RFC 8839 section 4.4.1), which by itself is no new association.
#[test]
fn who_checks_anew_after_a_hold_and_keeps_its_keys_is_opened() {
    over_a_hold("checks", ICE, |_, mouth, before, after, _| {
        let [old, new] =
            [before, after].map(|m| (m.value("ice-ufrag").unwrap().to_owned(), m.value("ice-pwd")));
        assert_ne!(old.0, new.0);
        assert_ne!(old.1, new.1);
        assert_eq!(Peer::of(after).reach(mouth, true).port(), mouth.port());
    });
}

#[test]
fn forged_hellos_keep_no_client_out() {
    let server = Server::start();
    let (told, behind_nat, shaker) = (Mouth::open(), Mouth::open(), Shaker::new());
    let (mut dialog, media) = begin(&server, "forged", &told, &shaker, "");
    let strangers: Vec<Mouth> = (0..60).map(|_| Mouth::open()).collect();
    let stranger = Shaker::new();
    strangers.iter().for_each(|s| s.send(media.rtp(), &stranger.hello()));
    // Whom signalling names.
    let mut srtp =
        shaker.shake(&told, media.rtp(), Duration::from_secs(10)).expect("keys at the place that is named");
    say(&mut srtp, &mut Talker::new(&told, media.rtp()), 20, &payload(1));
    strangers.iter().for_each(|s| s.send(media.rtp(), &stranger.hello()));
    // Whom it does not name, as soon as the others have shown that they are not there.
    let mut srtp = shaker.shake(&behind_nat, media.rtp(), PATIENCE).expect("keys elsewhere");
    let mut talker = Talker::new(&behind_nat, media.rtp());
    talker.ssrc = 7;
    say(&mut srtp, &mut talker, 60, &payload(2));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!(kept(&recorded, &payload(1)), 20);
    // It is followed once the place before has been silent for half a second.
    assert!(kept(&recorded, &payload(2)) >= 30, "{:?}", recorded.stream().accounting);
}

/// Certificates are not asked for, so whoever comes may shake hands.
#[test]
fn a_stranger_does_not_change_keys_that_open_packets() {
    let server = Server::with(&[("MEDIA__DTLS_VERIFY", "false")]);
    let (mouth, stranger, shaker) = (Mouth::open(), Mouth::open(), Shaker::new());
    let (mut dialog, media) = begin(&server, "stranger", &mouth, &shaker, "");
    let mut srtp = shake(&shaker, &mouth, media.rtp());
    let mut talker = Talker::new(&mouth, media.rtp());
    say(&mut srtp, &mut talker, 20, &payload(1));
    let mut theirs = shake(&Shaker::new(), &stranger, media.rtp());
    let mut intruder = Talker::new(&stranger, media.rtp());
    intruder.ssrc = 7;
    say(&mut theirs, &mut intruder, 20, &payload(2));
    // Longer than keys before others hold.
    say(&mut srtp, &mut talker, 150, &payload(3));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!([1, 2, 3].map(|n| kept(&recorded, &payload(n))), [20, 0, 150]);
    assert_eq!(recorded.stream().accounting.unauthenticated, 20);
    assert!(server.log().contains("keys were not taken from an address while media come from another"));
}

/// Where checks are made, they prove more than an address does.
#[test]
fn without_certificates_keys_are_taken_from_where_a_check_proved_the_password() {
    let server = Server::with(&[("MEDIA__DTLS_VERIFY", "false")]);
    let (told, real, stranger, shaker) = (Mouth::open(), Mouth::open(), Mouth::open(), Shaker::new());
    let (mut dialog, media) = begin(&server, "proved", &told, &shaker, ICE);
    Peer::of(&media).reach(&real, true);
    let mut theirs = shake(&Shaker::new(), &stranger, media.rtp());
    say(&mut theirs, &mut Talker::new(&stranger, media.rtp()), 20, &payload(1));
    let mut srtp = shake(&shaker, &real, media.rtp());
    say(&mut srtp, &mut Talker::new(&real, media.rtp()), 20, &payload(2));
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!([1, 2].map(|n| kept(&recorded, &payload(n))), [0, 20]);
}

/// A client that checks first, from another address than its description says, then shakes hands and talks there.
#[test]
fn a_client_that_checks_is_recorded_from_where_its_checks_come() {
    let server = Server::start();
    let (told, real, other, shaker) = (Mouth::open(), Mouth::open(), Mouth::open(), Shaker::new());
    let (mut dialog, media) = begin(&server, "ice", &told, &shaker, ICE);
    let peer = Peer::of(&media);
    // A wrong password is not answered, whoever it comes from.
    other.send(media.rtp(), &peer.with_password("not the password of anybody").check(5, true));
    assert_eq!(peer.reach(&real, false).port(), real.port(), "what it is seen as");
    let mut srtp = shake(&shaker, &real, media.rtp());
    let mut talker = Talker::new(&real, media.rtp());
    say(&mut srtp, &mut talker, 25, &payload(1));
    // The pair that is nominated is another one: no packet of it is lost for that.
    peer.reach(&other, true);
    talker.mouth = &other;
    say(&mut srtp, &mut talker, 25, &payload(2));
    assert!(std::iter::from_fn(|| told.receive()).next().is_none(), "nothing was sent to who did not check");
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!([1, 2].map(|n| kept(&recorded, &payload(n))), [25, 25]);
    let stream = recorded.stream();
    assert_eq!(stream.source.map(|s| s.port()), Some(other.port()));
    assert_eq!((stream.accounting.other_source, stream.accounting.unauthenticated), (0, 0));
}

/// Two hundred clients begin within four seconds.
#[test]
fn many_clients_that_shake_hands_at_once_lose_nothing() {
    // An address of loopback that nobody else has, and ports below those that tests are given: it takes more of them.
    let id = std::process::id();
    let address = format!("127.{}.{}.1", 64 + (id >> 8) % 64, id % 256);
    let ports = [("MEDIA__PORT_MIN", "8000"), ("MEDIA__PORT_MAX", "8999")];
    let server = Server::with(&[("MEDIA__LISTEN_V4", &address), ports[0], ports[1]]);
    let to = format!("sip:recorder@{}", server.sip_address());
    let more = ["--srtp", "dtls", "--calls", "200", "--rate", "50/s", "--duration", "6s", "--json"];
    let done = server.callspool(&[&["call", "--to", &to], &more[..]].concat()).expect_ok("callspool call");
    let reports: Vec<Value> = done.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let calls: Vec<&Value> = reports.iter().filter(|r| r["sip_call_id"].is_string()).collect();
    assert_eq!(calls.len(), 200);
    let all = wait_until("all to be sealed", PATIENCE, || {
        let all = server.recordings();
        let sealed = all.iter().filter(|r| r.sealed).count();
        if sealed == 200 { Ok(all) } else { Err(format!("{sealed} of {}", all.len())) }
    });
    for call in calls {
        let id = call["sip_call_id"].as_str().unwrap();
        let recorded = all.iter().find(|r| r.segment().data.sip_call_ids.iter().any(|i| i == id)).unwrap();
        let (sent, a) = (call["streams"][0]["packets"].as_u64().unwrap(), recorded.stream().accounting);
        assert!(sent > 0, "its keys came in time: {call:#}");
        assert_eq!((a.received, a.unauthenticated), (sent, 0), "{a:?}");
    }
}
