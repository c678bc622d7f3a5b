//! The wall clock is stepped by an hour, forward and back, under calls: what was recorded is as long as it was, nothing
//! times out, and ids go on.
//!
//! The clock is that of the process alone, by a seam that only a debug build has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fault_support::caller::{Caller, place};
use fault_support::listing::{directories, segments, wait_until_taken};
use media::srtp::Srtp;
use model::{Keys, RecordingState, Suite};
use support::dtls;
use support::rtp::Mouth;
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

/// A server whose clock is off by the seconds that the file says.
fn server_and_clock() -> (Server, PathBuf) {
    let mut server = Server::prepare(&[("MEDIA__MEDIA_TIMEOUT", "2s")]);
    let clock = server.directory().join("clock");
    server.set("DEBUG_CLOCK", clock.to_str().unwrap());
    server.restart();
    (server, clock)
}

fn set(clock: &Path, seconds: i64) {
    let beside = clock.with_extension("new");
    std::fs::write(&beside, seconds.to_string()).unwrap();
    std::fs::rename(beside, clock).unwrap();
}

fn check(steps: &[i64]) {
    let (server, clock) = server_and_clock();
    let repository = server.state().join("repository");
    let caller = Caller::start(&server, "stepped", &["--calls", "2", "--siprec", "--duration", "5s"]);
    wait_until_taken(&server, 2);
    for seconds in steps {
        std::thread::sleep(Duration::from_millis(1_300));
        set(&clock, *seconds);
    }
    let report = caller.finish();
    report.expect_all_ok("a stepped clock");
    let all = wait_until("segments to be sealed", PATIENCE, || {
        let all: Vec<_> = directories(&repository).iter().flat_map(|d| segments(d)).collect();
        if all.iter().all(|s| s.sealed) { Ok(all) } else { Err(format!("{} segments", all.len())) }
    });
    for call in &report.calls {
        let mine: Vec<_> = all.iter().filter(|s| s.is_of(&call.sip_call_id)).collect();
        assert_eq!(mine.len(), 1, "{steps:?}: it is one segment: {mine:#?}");
        let record = &mine[0].record;
        assert_eq!(record.state, RecordingState::Partial, "{steps:?}: {record:#?}");
        for (stream, sent) in record.streams.iter().zip(&call.streams) {
            assert_eq!(stream.accounting.received, sent.packets, "{steps:?}");
            let gaps: i64 = stream.gaps.iter().map(|g| g.until_us - g.from_us).sum();
            assert!(gaps < 1_000_000, "{steps:?}: {:?}", stream.gaps);
        }
        let reach_us = record.parts.iter().map(|p| p.offset_us + p.duration_us).max().unwrap_or(0);
        assert!(
            (4_500_000..6_500_000).contains(&reach_us),
            "{steps:?}: {reach_us} µs of 5 s: {:#?}",
            record.parts
        );
    }
    let newest = all.iter().map(|s| s.record.id.as_u64()).max().unwrap();
    let next = place(&server, "next", &["--duration", "300ms"]);
    let next = wait_until("the next call", PATIENCE, || {
        let all: Vec<_> = directories(&repository).iter().flat_map(|d| segments(d)).collect();
        all.into_iter().find(|s| s.is_of(&next.calls[0].sip_call_id)).ok_or_else(|| "not there".to_owned())
    });
    assert!(next.record.id.as_u64() > newest, "{steps:?}: ids go back");
    assert!(!server.log().contains("media time-out"), "{steps:?}: it timed out");
}

#[test]
fn an_hour_forward_and_back_again() {
    check(&[3_600, 0]);
}

#[test]
fn an_hour_back_and_forward_again() {
    check(&[-3_600, 0]);
}

/// An index of SRTCP that came twice under one key would give away the key of authentication of AES-GCM (RFC 7714
/// section 11.1); our key stays over a hold.
#[test]
fn no_index_of_our_reports_comes_twice_when_the_clock_is_set_back_in_a_hold() {
    let (server, clock) = server_and_clock();
    let mouth = Mouth::open();
    let more =
        "a=rtcp-mux\r\na=crypto:1 AEAD_AES_128_GCM inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==\r\n";
    let (mut dialog, before) = Dialog::begin_by(&server, "index", mouth.port(), "RTP/SAVP", more);
    let keys = Keys::single(Suite::AeadAes128Gcm, (0..28).collect()).unwrap();
    let mut srtp = Srtp::new(&keys, &keys).unwrap();
    let mut talker = Talker::new(&mouth, before.rtp());
    let mut index = |to| {
        talker.to = to;
        let report = wait_until("a report", PATIENCE, || {
            dtls::say(&mut srtp, &mut talker, 5, &payload(1));
            mouth.receive().filter(|r| r.get(1) == Some(&201)).ok_or_else(|| "none".to_owned())
        });
        let word: [u8; 4] = *report.last_chunk().unwrap();
        u32::from_be_bytes(word) & 0x7fff_ffff
    };
    let first = index(before.rtp());
    dialog.offer("inactive");
    set(&clock, -3_600);
    let after = dialog.offer("sendonly").remove(0);
    assert_eq!(after.value("crypto"), before.value("crypto"), "our key stays");
    let second = index(after.rtp());
    assert!(second > first, "{second} comes after {first}");
    dialog.bye();
}
