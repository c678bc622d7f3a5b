//! The tools of the end-to-end tests, tested: a tool that sees nothing would find nothing wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Duration;

use support::audio::{wav, write_tones};
use support::messages::{Way, read};
use support::rtp::{Talk, alaw, span, ulaw};

#[test]
fn a_trace_is_read() {
    let rule = "----------------------------------------------- 2026-11-21 00:34:19.332907";
    let trace = format!(
        "{rule}\nUDP message sent (10 bytes):\n\nBYE sip:x SIP/2.0\nCSeq: 2 BYE\n\n{rule}\nUDP message received [20] bytes :\n\n\
         SIP/2.0 200 OK\nCSeq: 1 INVITE\n\nc=IN IP4 127.0.0.1\nm=audio 4000 RTP/AVP 0\na=label:1\nm=video 0 RTP/AVP 99\n"
    );
    let messages = read(&trace);
    assert_eq!(messages.iter().map(|m| m.way).collect::<Vec<_>>(), [Way::Sent, Way::Received]);
    let media = messages[1].media();
    assert!(messages[1].answers("1 INVITE") && !messages[0].answers("2 BYE"));
    assert_eq!((media[0].rtp().to_string().as_str(), media[0].has("label:1")), ("127.0.0.1:4000", true));
    assert_eq!(media[1].port, 0);
}

#[test]
fn mu_law_is_as_the_recommendation_says() {
    // Table 2a of G.711: the extremes, zero of both signs, and a value between.
    assert_eq!([32_635, 0, -1, -32_635, 1_000].map(ulaw), [0x80, 0xff, 0x7f, 0x00, 0xce]);
}

/// Against the decoder of the product, which was written from the tables: every value comes back to itself.
#[test]
fn both_laws_are_undone_by_a_decoder() {
    for sample in i16::MIN..=i16::MAX {
        for (encoded, law) in
            [(media::g711::decode_ulaw(ulaw(sample)), "mu"), (media::g711::decode_alaw(alaw(sample)), "A")]
        {
            let off = (i32::from(encoded) - i32::from(sample)).abs();
            let allowed = 16 + i32::from(sample.unsigned_abs() / 16);
            assert!(off <= allowed.max(0), "{law}: {sample} became {encoded}");
        }
    }
}

#[test]
fn packets_follow_each_other() {
    let talk = Talk { sequence: 65_535, timestamp: u32::MAX, ..Talk::new(440.0, Duration::from_millis(60)) };
    let packets = talk.packets();
    assert_eq!(packets.iter().map(|p| p.sequence).collect::<Vec<_>>(), [65_535, 0, 1]);
    assert_eq!(packets.iter().map(|p| p.timestamp).collect::<Vec<_>>(), [u32::MAX, 159, 319]);
    assert_eq!(span(&packets), Duration::from_millis(60));
}

#[test]
fn tones_and_silence_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tones.wav");
    write_tones(&path, &[(440.0, 0.5), (0.0, 0.25), (1_000.0, 0.5)]);
    let sound = wav(&path).remove(0);
    sound.cut(0.0, 0.5).expect_tone("the first half", 440.0, &[1_000.0]);
    sound.cut(0.75, 1.25).expect_tone("the second half", 1_000.0, &[440.0]);
    let [(from, until)] = sound.silences(0.1)[..] else { panic!("one silence: {:?}", sound.silences(0.1)) };
    assert!((from - 0.5).abs() < 0.001 && (until - 0.75).abs() < 0.001, "{from} {until}");
    assert!((sound.cut(0.0, 0.5).level(440.0) + 12.0).abs() < 0.5);
    let wrong = std::panic::catch_unwind(|| sound.cut(0.0, 0.5).expect_tone("", 1_000.0, &[]));
    assert!(wrong.is_err(), "a tone was found that is not there");
}
