//! Media that are encrypted by keys in SDP: what is opened, what is not, what is said of it, and that no key is
//! anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use model::{RecordingState, Suite};
use serde_json::Value;
use support::recording::Recorded;
use support::rtp::Mouth;
use support::secrets::{Events, answers, files, id_of, kept};
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

use media::srtp::Srtp;
use model::Keys;

const SUITE: Suite = Suite::AesCm128HmacSha1Tag80;

/// Base64 of 30 octets, each key another: what a client writes behind `inline:`.
const KEYS: [&str; 2] =
    ["d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj", "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj"];
const OCTETS: [&[u8; 30]; 2] = [b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#", b"70xwPH5@/,L:S1wY\"~='EpgT%(i_Vc"];

fn crypto(tag: u32, key: usize) -> String {
    format!("a=crypto:{tag} {} inline:{}|2^20\r\n", SUITE.name(), KEYS[key])
}

/// A client that encrypts what it says.
struct Cipher(Srtp);

impl Cipher {
    fn new(key: usize) -> Self {
        let keys = Keys::single(SUITE, OCTETS[key].to_vec()).unwrap();
        Self(Srtp::new(&keys, &keys).unwrap())
    }

    fn say(&mut self, talker: &mut Talker<'_>, frames: usize, octets: &[u8]) {
        for _ in 0..frames {
            let mut packet = talker.frame(octets).bytes();
            assert!(self.0.seal_rtp(&mut packet));
            talker.mouth.send(talker.to, &packet);
        }
    }
}

fn call(server: &Server, more: &[&str]) -> (Value, Recorded) {
    let to = format!("sip:recorder@{}", server.sip_address());
    let arguments = [&["call", "--to", &to, "--siprec", "--srtp", "sdes", "--json"], more].concat();
    let done = server.callspool(&arguments).expect_ok("callspool call");
    let report: Value = serde_json::from_str(done.text().lines().next().unwrap()).unwrap();
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
    (report, recorded)
}

#[test]
fn every_cipher_is_recorded_through_hold_and_a_new_source() {
    let server = Server::start();
    for suite in Suite::ALL {
        let more = [
            "--srtp-suite",
            suite.name(),
            "--duration",
            "2s",
            "--hold",
            "500ms@1s",
            "--ssrc-change-at",
            "600ms",
        ];
        let (report, recorded) = call(&server, &more);
        assert_eq!(recorded.segments.len(), 2, "{suite:?}");
        for (n, sent) in report["streams"].as_array().unwrap().iter().enumerate() {
            let counts = recorded.segments.iter().map(|s| s.streams[n].accounting);
            let (received, unopened) =
                counts.fold((0, 0), |sum, a| (sum.0 + a.received, sum.1 + a.unauthenticated));
            assert_eq!((received, unopened), (sent["packets"].as_u64().unwrap(), 0), "{suite:?}: {report:#}");
        }
    }
}

/// The keys come by handshakes on the media ports; after the hold, on new ones.
#[test]
fn handshakes_give_keys_that_hold_over_a_new_source_and_are_made_again_after_a_hold() {
    let server = Server::start();
    let to = format!("sip:recorder@{}", server.sip_address());
    let more = ["--duration", "3s", "--hold", "500ms@1500ms", "--ssrc-change-at", "700ms", "--json"];
    let arguments = [&["call", "--to", &to, "--siprec", "--srtp", "dtls"], &more[..]].concat();
    let done = server.callspool(&arguments).expect_ok("callspool call");
    let report: Value = serde_json::from_str(done.text().lines().next().unwrap()).unwrap();
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
    assert_eq!(recorded.segments.len(), 2);
    for (n, sent) in report["streams"].as_array().unwrap().iter().enumerate() {
        let counts: Vec<_> = recorded.segments.iter().map(|s| s.streams[n].accounting).collect();
        let received: u64 = counts.iter().map(|a| a.received).sum();
        assert_eq!(received, sent["packets"].as_u64().unwrap(), "{report:#}");
        assert!(counts.iter().all(|a| a.unauthenticated == 0 && a.invalid == 0), "{counts:?}");
        assert!(counts.iter().all(|a| a.received > 0), "{counts:?}");
    }
}

#[test]
fn our_reports_are_encrypted_too() {
    let server = Server::start();
    let (report, _) = call(&server, &["--duration", "11s", "--srtp-suite", "AEAD_AES_256_GCM"]);
    for stream in report["streams"].as_array().unwrap() {
        assert!(stream["receiver_reports"].as_u64().unwrap() >= 1, "{report:#}");
        assert_eq!(stream["reported_lost"], 0, "{report:#}");
    }
}

#[test]
fn another_key_is_an_alarm_and_nothing_in_the_file() {
    let server = Server::with(&[("ALARMS__NO_MEDIA", "60s"), ("ALARMS__ONE_WAY", "60s")]);
    let (report, recorded) = call(&server, &["--duration", "4s", "--wrong-key", "--streams", "1"]);
    let a = recorded.stream().accounting;
    assert_eq!((a.received, a.unauthenticated), (0, report["streams"][0]["packets"].as_u64().unwrap()));
    let sound = &server.export(&recorded.id(), &[])[0];
    assert!(sound.samples.iter().all(|s| s.unsigned_abs() <= 8), "there is something in the file");
    let alarms = server.callspool(&["alarms", "--all", "--json"]).expect_ok("alarms").text().to_owned();
    assert!(alarms.contains("wrong-keys"), "{alarms}");
    let shown = server.callspool(&["show", &recorded.id()]).expect_ok("show");
    assert!(shown.text().contains("not authentic"), "{}", shown.text());
}

/// Keys change in mid-call, then encryption ends, then it begins again; a plain line beside it is plain all along.
#[test]
fn keys_change_and_encryption_ends_and_begins_by_offers() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, media) = Dialog::begin_by(&server, "keys", mouth.port(), "RTP/SAVP", &crypto(1, 0));
    let first = media.value("crypto").expect("a key of ours").to_owned();
    assert!(first.starts_with("1 AES_CM_128_HMAC_SHA1_80 inline:"), "{first}");
    let mut talker = Talker::new(&mouth, media.rtp());
    let sounds: Vec<_> = (1..=5).map(payload).collect();
    let (mut one, mut two) = (Cipher::new(0), Cipher::new(1));
    one.say(&mut talker, 20, &sounds[0]);

    dialog.speak("RTP/SAVP", &crypto(3, 1));
    let again = dialog.offer("sendonly").remove(0);
    assert_eq!(again.port, media.port);
    assert_eq!(again.value("crypto").unwrap()[2..], first[2..], "our key stays, under the tag of the offer");
    assert!(again.value("crypto").unwrap().starts_with("3 "));
    // What was on its way by the old key, then the new one.
    one.say(&mut talker, 5, &sounds[1]);
    two.say(&mut talker, 20, &sounds[1]);

    dialog.speak("RTP/AVP", "");
    assert_eq!(dialog.offer("sendonly")[0].value("crypto"), None);
    talker.say(20, &sounds[2]);

    dialog.speak("RTP/SAVP", &crypto(1, 0));
    assert!(dialog.offer("sendonly")[0].value("crypto").is_some());
    // In the clear where it should not be: not kept.
    talker.say(7, &sounds[3]);
    one.say(&mut talker, 20, &sounds[4]);
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    let found: Vec<_> = sounds.iter().map(|s| kept(&recorded, s)).collect();
    assert_eq!(found, [20, 25, 20, 0, 20]);
    let a = recorded.stream().accounting;
    assert_eq!((a.received, a.unauthenticated), (85, 7), "{a:?}");
    assert_eq!(recorded.segment().state, RecordingState::Partial);
}

#[test]
fn keys_are_nowhere() {
    let server = Server::with(&[("LOG__LEVEL", "trace")]);
    let events = Events::listen(&server);
    let mouth = Mouth::open();
    let (mut dialog, media) = Dialog::begin_by(&server, "secret", mouth.port(), "RTP/SAVP", &crypto(1, 0));
    let id = id_of(&server, dialog.call_id());
    let ours = media.value("crypto").unwrap().split("inline:").nth(1).unwrap().to_owned();
    let mut talker = Talker::new(&mouth, media.rtp());
    Cipher::new(0).say(&mut talker, 30, &payload(1));
    dialog.info(
        "Content-Type: application/sdp\r\n",
        &format!("v=0\r\nm=audio 1 RTP/SAVP 0\r\n{}", crypto(1, 1)),
    );
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!(kept(&recorded, &payload(1)), 30);

    let mut all = vec![("the interface".to_owned(), answers(&server, &id))];
    all.push(("the events".to_owned(), events.heard(&id)));
    files(server.directory(), &mut all);
    assert!(all.iter().any(|(name, _)| name.ends_with(".json")), "there is something to search");
    assert!(all.iter().any(|(name, b)| name.ends_with(".log") && !b.is_empty()), "the log is searched");
    for (name, bytes) in &all {
        for secret in [KEYS[0].as_bytes(), KEYS[1].as_bytes(), ours.as_bytes(), OCTETS[0], OCTETS[1]] {
            assert!(!bytes.windows(20).any(|w| w == &secret[..20]), "a key is in {name}");
        }
    }
}

#[test]
fn what_cannot_be_opened_is_refused_and_told_of() {
    let server = Server::start();
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0\r\n\
               a=crypto:1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n";
    let status = Dialog::refused(&server, "unknown", sdp);
    assert_eq!(status, 488);
    wait_until("an alarm", PATIENCE, || {
        let alarms = server.callspool(&["alarms", "--all", "--json"]).expect_ok("alarms").text().to_owned();
        if alarms.contains("not known here") { Ok(()) } else { Err(alarms) }
    });
}
