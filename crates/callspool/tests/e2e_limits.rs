//! At its limits callspool refuses before it loses; with many calls at once each is counted by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Duration;

use model::{EndReason, Failure, RecordingState};
use serde_json::Value;
use support::messages::SipMessage;
use support::rtp::Mouth;
use support::server::Server;
use support::sipp::Scenario;

/// `callspool call --json`: a report for each call; the summary is left out.
fn call(server: &Server, code: i32, arguments: &[&str]) -> Vec<Value> {
    let to = format!("sip:recorder@{}", server.sip_address());
    let mut all = vec!["call", "--to", &to, "--json"];
    all.extend_from_slice(arguments);
    let done = server.callspool(&all);
    assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.err, done.text());
    let objects = done.text().lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    objects.filter(|o| o["sip_call_id"].is_string()).collect()
}

#[test]
fn many_calls_at_once_are_each_counted_to_the_packet() {
    let server = Server::start();
    let arguments = [
        "--siprec",
        "--calls",
        "25",
        "--rate",
        "50/s",
        "--duration",
        "3s",
        "--loss",
        "2%",
        "--reorder",
        "2%",
    ];
    let reports = call(&server, 0, &arguments);
    assert_eq!(reports.len(), 25);
    for report in &reports {
        let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
        for (stream, sent) in recorded.segment().streams.iter().zip(report["streams"].as_array().unwrap()) {
            let a = stream.accounting;
            let is = [a.received, a.lost, a.reordered, a.duplicate, a.late, a.dropped];
            let number = |key: &str| sent[key].as_u64().unwrap();
            assert_eq!(
                is,
                [number("packets"), number("skipped"), number("reordered"), 0, 0, 0],
                "{report:#}"
            );
        }
    }
    assert_eq!(server.calls().len(), 25);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

#[test]
fn beyond_the_limit_of_calls_a_call_is_refused_and_the_others_go_on() {
    let server = Server::with(&[("RECORDING__MAX_CALLS", "1")]);
    expect_one_refused(&server);
}

#[test]
fn when_ports_run_out_a_call_is_refused_and_the_others_go_on() {
    let mut server = Server::prepare(&[]);
    let (first, last) = (server.ports().media().0, server.ports().media().0 + 1);
    server.set("MEDIA__PORT_MIN", &first.to_string());
    server.set("MEDIA__PORT_MAX", &last.to_string());
    server.restart();
    expect_one_refused(&server);
}

fn expect_one_refused(server: &Server) {
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| call(server, 0, &["--duration", "3s"]).remove(0));
        support::wait_until("the first call to be live", support::PATIENCE, || match &server.calls()[..] {
            [call] if call.live => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let mut sipp = Scenario::new("call").key("audio", Mouth::open().port()).start(server);
        let is_final = |m: &SipMessage| m.answers("1 INVITE") && m.status().is_some_and(|s| s >= 200);
        let refusal = sipp.wait_for("a refusal", is_final);
        assert_eq!(refusal.status(), Some(503), "{}", refusal.text);
        let after = refusal.header("Retry-After").and_then(|v| v.parse::<u32>().ok());
        assert!(after.is_some_and(|s| s > 0), "{}", refusal.text);
        first.join().unwrap()
    });
    let recorded = server.wait_for_state(first["sip_call_id"].as_str().unwrap(), "complete");
    assert_eq!(recorded.stream().accounting.received, first["streams"][0]["packets"].as_u64().unwrap());
    assert_eq!(server.calls().len(), 1, "the refused call left something: {:?}", server.calls());
    // There is room again.
    call(server, 0, &["--duration", "500ms"]);
}

#[test]
fn a_client_that_vanishes_leaves_an_external_error() {
    let server = Server::with(&[("MEDIA__MEDIA_TIMEOUT", "1s")]);
    let report = call(&server, 0, &["--siprec", "--vanish", "--duration", "2s"]).remove(0);
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete-external-error");
    let segment = recorded.segment();
    assert_eq!(segment.state, RecordingState::PartialExternalError);
    assert_eq!(segment.end, Some(EndReason::Upstream(Failure::MediaTimeout)));
    for (stream, sent) in segment.streams.iter().zip(report["streams"].as_array().unwrap()) {
        assert_eq!(stream.accounting.received, sent["packets"].as_u64().unwrap());
    }
    let length = segment.ended.unwrap().since(segment.started);
    assert!(length < Duration::from_secs(20), "it took {length:?} to see that nothing comes");
}
