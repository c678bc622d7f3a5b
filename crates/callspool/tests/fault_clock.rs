//! The wall clock is stepped by an hour, forward and back, under calls: what was recorded is as long as it was, nothing
//! times out, and ids go on.
//!
//! The clock is that of the process alone, by a seam that only a debug build has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::caller::{Caller, place};
use fault_support::listing::{directories, segments};
use model::RecordingState;
use support::server::Server;
use support::{PATIENCE, wait_until};

fn check(steps: &[i64]) {
    let mut server = Server::prepare(&[("MEDIA__MEDIA_TIMEOUT", "2s")]);
    let clock = server.directory().join("clock");
    server.set("DEBUG_CLOCK", clock.to_str().unwrap());
    server.restart();
    let repository = server.state().join("repository");
    let step = |seconds: i64| {
        let beside = clock.with_extension("new");
        std::fs::write(&beside, seconds.to_string()).unwrap();
        std::fs::rename(beside, &clock).unwrap();
    };
    let caller = Caller::start(&server, "stepped", &["--calls", "2", "--siprec", "--duration", "5s"]);
    wait_until("calls to be up", PATIENCE, || match directories(&repository).len() {
        2 => Ok(()),
        n => Err(format!("{n} of 2")),
    });
    for seconds in steps {
        std::thread::sleep(Duration::from_millis(1_300));
        step(*seconds);
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
