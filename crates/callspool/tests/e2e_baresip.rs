//! A softphone calls, as in the first minute of whoever tries callspool: baresip plays known tones, and they are heard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Duration;

use model::RecordingState;
use support::baresip::Baresip;
use support::recording::{Recorded, expect_close};
use support::server::Server;
use support::{PATIENCE, audio, wait_until};

/// One after the other, so that order and time are heard too.
const TONES: [(f64, f64); 2] = [(440.0, 1.5), (1_000.0, 8.5)];

fn check(codec: &str, decoder: &str, encryption: Option<(&str, &str)>) {
    let shakes = encryption.is_some_and(|(module, _)| module == "dtls_srtp");
    // Debian's baresip has a certificate of RSA, which is not verified.
    let server = if shakes { Server::with(&[("MEDIA__DTLS_VERIFY", "false")]) } else { Server::start() };
    let wav = server.directory().join("tones.wav");
    audio::write_tones(&wav, &TONES);
    let length = Duration::from_secs(4);
    let baresip = match encryption {
        Some(way) => Baresip::call_encrypted(&server, "4711", &wav, length, codec, way),
        None => Baresip::call(&server, "4711", &wav, length, codec),
    };
    let sent = baresip.finish();
    let recorded = finished(&server);

    let (segment, stream) = (recorded.segment(), recorded.stream());
    let a = stream.accounting;
    assert_eq!((a.received, a.lost, a.duplicate, a.invalid), (sent, 0, 0, 0), "baresip sent {sent}: {a:?}");
    assert_eq!(a.unauthenticated, 0, "{a:?}");
    // The first RTCP and the last one of this client are in the clear.
    assert!(a.rtcp_unauthenticated <= 2, "{a:?}");
    assert_eq!((segment.state, segment.total), (RecordingState::Partial, 1));
    // The span of RTP: 20 ms a packet, from the first to the end of the last.
    let span = sent as f64 * 0.02;
    assert!(span > 3.0, "baresip talked for {span} s only");
    let first = stream.anchors.first().expect("an anchor").position_us as f64 / 1e6;

    let [part] = &recorded.parts()[..] else { panic!("one part: {:?}", recorded.parts()) };
    let probe = audio::probe(part);
    let streams = probe["streams"].as_array().expect("streams");
    assert_eq!((streams.len(), streams[0]["codec_name"].as_str()), (1, Some(decoder)), "{probe}");
    assert_eq!(streams[0]["sample_rate"], "8000");
    let duration: f64 = probe["format"]["duration"].as_str().unwrap().parse().unwrap();
    let offset = segment.parts[0].offset_us as f64 / 1e6;

    // A sender that starts late, or falls behind, leaves silence: time is the sender's RTP span all the same.
    let tolerance = Duration::from_millis(60);
    expect_close("the file", offset + duration, first + span, tolerance);
    let decoded = audio::decode(part, 0);
    let exported = server.export(&recorded.id(), &[]);
    assert_eq!(exported.len(), 2);
    for (what, sound, begin) in [
        ("the file", &decoded, first - offset),
        ("left", &exported[0], first),
        ("right", &exported[1], first),
    ] {
        sound.cut(begin + 0.1, begin + 1.4).expect_tone(what, 440.0, &[1_000.0]);
        sound.cut(begin + 1.6, begin + span - 0.1).expect_tone(what, 1_000.0, &[440.0]);
        let (heard_from, heard_until) = extent(sound);
        expect_close(&format!("{what}: what is heard"), heard_until - heard_from, span, tolerance);
    }
}

fn finished(server: &Server) -> Recorded {
    wait_until("the call to be complete", PATIENCE, || match &server.calls()[..] {
        [call] if call.state == "complete" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    server.recordings().remove(0)
}

/// Where sound begins and ends, in seconds.
fn extent(sound: &audio::Sound) -> (f64, f64) {
    let loud = |s: &i16| s.unsigned_abs() > 200;
    let first = sound.samples.iter().position(loud).expect("a sound");
    let last = sound.samples.iter().rposition(loud).expect("a sound");
    (first as f64 / f64::from(sound.rate), last as f64 / f64::from(sound.rate))
}

#[test]
fn a_softphone_in_mu_law_is_heard() {
    check("PCMU/8000/1", "pcm_mulaw", None);
}

#[test]
fn a_softphone_in_a_law_is_heard() {
    check("PCMA/8000/1", "pcm_alaw", None);
}

#[test]
fn a_softphone_that_gives_its_key_in_sdp_is_heard() {
    check("PCMU/8000/1", "pcm_mulaw", Some(("srtp", "srtp-mand")));
}

/// The plain profile with a key beside it.
#[test]
fn a_softphone_that_offers_a_key_with_the_plain_profile_is_heard() {
    check("PCMA/8000/1", "pcm_alaw", Some(("srtp", "srtp")));
}

/// Keys by a handshake, on the port of RTP and on that of RTCP.
#[test]
fn a_softphone_that_shakes_hands_is_heard() {
    check("PCMU/8000/1", "pcm_mulaw", Some(("dtls_srtp", "dtls_srtp")));
}
