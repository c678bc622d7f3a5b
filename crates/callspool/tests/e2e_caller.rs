//! The test caller with WAV files, interrupted, without a reader, and what comes back to it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use model::{EndReason, RecordingState};
use serde_json::Value;
use support::audio::{self, Sound};
use support::program::Program;
use support::server::Server;
use support::{PATIENCE, wait_until};

fn to(server: &Server) -> String {
    format!("sip:recorder@{}", server.sip_address())
}

#[test]
fn wav_files_are_heard_on_their_sides() {
    let server = Server::start();
    let (agent, external) = (server.directory().join("agent.wav"), server.directory().join("external.wav"));
    audio::write_tones(&agent, &[(440.0, 1.0), (600.0, 1.0)]);
    audio::write_tones(&external, &[(1_300.0, 1.0), (1_700.0, 1.0)]);
    let (agent, external) = (agent.to_str().unwrap(), external.to_str().unwrap());
    let arguments = ["call", "--to", &to(&server), "--siprec", "--wav", agent, "--wav", external, "--json"];
    let done = server.callspool(&arguments).expect_ok("callspool call");
    let report: Value = serde_json::from_str(done.text().lines().next().unwrap()).unwrap();
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
    for (stream, sent) in recorded.segment().streams.iter().zip(report["streams"].as_array().unwrap()) {
        let (a, sent) = (stream.accounting, sent["packets"].as_u64().unwrap());
        assert_eq!((a.received, a.lost), (sent, 0), "{report:#}");
        // As long as the file; on a machine that is too busy the caller leaves out what is late at the end.
        assert!((90..=100).contains(&sent), "{sent} packets of a file of 100");
    }
    let exported = server.export(&recorded.id(), &[]);
    let begin = |n: usize| recorded.segment().streams[n].anchors[0].position_us as f64 / 1e6;
    let expect = |sound: &Sound, from: f64, first: f64, second: f64, not: &[f64]| {
        sound.cut(from + 0.05, from + 0.95).expect_tone("the first second", first, not);
        sound.cut(from + 1.05, from + 1.95).expect_tone("the second second", second, not);
    };
    expect(&exported[0], begin(0), 440.0, 600.0, &[1_300.0, 1_700.0]);
    expect(&exported[1], begin(1), 1_300.0, 1_700.0, &[440.0, 600.0]);
}

#[test]
fn an_interrupt_hangs_up_politely() {
    let server = Server::start();
    let mut command = server.command();
    command.args(["call", "--to", &to(&server), "--duration", "60s", "--json"]);
    let mut caller = Program::start(command, &server.directory().join("caller"));
    wait_until("the call to be live", PATIENCE, || match &server.calls()[..] {
        [call] if call.live => Ok(()),
        other => Err(format!("{other:?}")),
    });
    std::thread::sleep(Duration::from_millis(500));
    caller.terminate();
    caller.wait(PATIENCE);
    let output = caller.output();
    let report: Value = serde_json::from_str(output.lines().next().expect("a report")).unwrap();
    assert_eq!((&report["ended"], &report["interrupted"]), (&"bye".into(), &true.into()), "{report:#}");
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
    let segment = recorded.segment();
    assert_eq!((segment.state, &segment.end), (RecordingState::Partial, &Some(EndReason::HangUp)));
    assert_eq!(recorded.stream().accounting.received, report["streams"][0]["packets"].as_u64().unwrap());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_to_speak_of() {
    let server = Server::start();
    let mut command = server.command();
    command.args(["call", "--to", &to(&server), "--duration", "200ms", "--json"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("callspool");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("its end");
    // 128 and the number of SIGPIPE: what a shell says of a program that wrote to nobody.
    assert_eq!(done.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
}

/// RTCP tells the sender what arrived, each five seconds (RFC 3550 section 6.2).
#[test]
fn receiver_reports_come_back() {
    let server = Server::with(&[("LOG__LEVEL", "info")]);
    let arguments =
        ["call", "--to", &to(&server), "--duration", "6500ms", "--loss", "5%", "--seed", "3", "--json"];
    let done = server.callspool(&arguments).expect_ok("callspool call");
    let report: Value = serde_json::from_str(done.text().lines().next().unwrap()).unwrap();
    let stream = &report["streams"][0];
    let number = |key: &str| stream[key].as_u64().unwrap_or_else(|| panic!("no {key}: {report:#}"));
    assert!(number("receiver_reports") >= 1, "{report:#}");
    assert!((1..=number("skipped")).contains(&number("reported_lost")), "{report:#}");
}
