//! Ends that somebody wants: a stop with calls up, a kill while it starts, a second start beside the first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fault_support::caller::Caller;
use fault_support::listing::{Segment, all_calls, directories, segments, wait_for_repair, wait_until_taken};
use fault_support::{Random, sip};
use model::{EndReason, Failure, RecordingState};
use support::program::Program;
use support::server::Server;
use support::{PATIENCE, wait_until};

fn found(server: &Server) -> Vec<Segment> {
    directories(&server.state().join("repository")).iter().flat_map(|d| segments(d)).collect()
}

#[test]
fn a_stop_ends_calls_with_bye_and_seals_them() {
    let mut server = Server::start();
    let arguments = ["--calls", "5", "--rate", "50/s", "--duration", "60s"];
    let callers = [
        Caller::start(&server, "udp", &arguments),
        Caller::start(&server, "tcp", &[&arguments[..], &["--siprec", "--transport", "tcp"]].concat()),
    ];
    wait_until_taken(&server, 10);
    std::thread::sleep(Duration::from_millis(700));
    let asked = Instant::now();
    let status = server.stop();
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    // The grace of these servers is 500 ms; what is left is sealed in 10 s at most, and this is no long call.
    assert!(took < Duration::from_secs(11), "it took {took:?}");
    for report in callers.map(Caller::finish) {
        assert_eq!(report.totals.answered, 5, "{report:?}");
        assert!(report.calls.iter().all(|c| c.ended == "remote-bye"), "{report:?}");
    }
    let found = found(&server);
    assert_eq!(found.len(), 10);
    for Segment { sealed, record, .. } in &found {
        assert!(sealed, "{record:?}");
        assert_eq!(record.end, Some(EndReason::Internal(Failure::Process)), "{record:?}");
        assert_eq!(record.state, RecordingState::PartialInternalError, "{record:?}");
        for stream in &record.streams {
            let counts = stream.accounting;
            assert!(counts.received > 30 && counts.lost == 0 && counts.dropped == 0, "{record:?}");
        }
    }
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    let listed = all_calls(&server);
    assert_eq!(listed.len(), 10, "{listed:?}");
    assert!(listed.iter().all(|c| !c.live && c.state == "complete-internal-error"), "{listed:?}");
}

#[test]
fn calls_that_end_within_the_grace_are_complete_and_new_ones_are_refused() {
    let mut server = Server::with(&[("NODE__SHUTDOWN_GRACE", "20s")]);
    let caller = Caller::start(&server, "calls", &["--calls", "5", "--rate", "50/s", "--duration", "4s"]);
    wait_until_taken(&server, 5);
    let asked = Instant::now();
    let status = std::thread::scope(|scope| {
        let address = server.sip_address();
        let refused = scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            sip::ask_at(&address, "INVITE")
        });
        let status = server.stop();
        let refused = refused.join().expect("an answer");
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert!(refused.header("Retry-After").is_some(), "{}", refused.text);
        status
    });
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(asked.elapsed() < Duration::from_secs(18), "it waited longer than the calls took");
    let report = caller.finish();
    report.expect_all_ok("calls that end by themselves");
    let found = found(&server);
    assert_eq!(found.len(), 5);
    for call in &report.calls {
        let segment = found.iter().find(|s| s.is_of(&call.sip_call_id)).expect("its segment");
        assert_eq!(segment.record.end, Some(EndReason::HangUp));
        assert_eq!(segment.record.streams[0].accounting.received, call.streams[0].packets);
    }
    let listed = all_calls(&server);
    assert!(listed.iter().all(|c| !c.live && c.state == "complete"), "{listed:?}");
}

/// Calls are cut off, then the repair of them is cut off, many times, wherever it happens to be.
#[test]
fn a_start_that_is_killed_is_made_good_by_the_next() {
    const STARTS: usize = 12;
    let mut server = Server::start();
    let caller = Caller::start(
        &server,
        "calls",
        &["--calls", "30", "--rate", "100/s", "--duration", "60s", "--transport", "tcp"],
    );
    wait_until_taken(&server, 30);
    std::thread::sleep(Duration::from_millis(500));
    server.kill();
    let before = found(&server);
    let mut random = Random(0x57a7_7ed5);
    for n in 0..STARTS {
        let mut command = server.command();
        command.arg("serve");
        let mut program = Program::start(command, &server.directory().join(format!("killed-{n}.log")));
        std::thread::sleep(Duration::from_millis(5 + random.next() % 250));
        program.kill();
    }
    server.restart();
    caller.interrupt();
    caller.finish();
    wait_for_repair(&server.state().join("repository"));
    let found = found(&server);
    assert_eq!(found.len(), 30);
    let ids = |of: &[Segment]| of.iter().map(|s| s.record.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&found), ids(&before), "no manifest is lost or new");
    assert!(found.iter().all(|s| s.sealed && s.record.state == RecordingState::PartialInternalError));
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    wait_until("all calls to be concluded", PATIENCE, || {
        let listed = all_calls(&server);
        let right = |c: &&support::recording::ListedCall| !c.live && c.state == "complete-internal-error";
        match listed.iter().filter(right).count() {
            30 => Ok(()),
            _ => Err(format!("{listed:?}")),
        }
    });
}

#[test]
fn a_second_start_on_the_same_directory_is_refused_and_does_no_harm() {
    let mut server = Server::start();
    let caller = Caller::start(&server, "calls", &["--calls", "3", "--duration", "3s"]);
    wait_until_taken(&server, 3);
    for _ in 0..3 {
        let done = server.callspool(&["serve"]);
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains("another callspool"), "{}", done.err);
    }
    assert!(server.is_running());
    caller.finish().expect_all_ok("calls beside a second start");
    // A lock is no file that a kill leaves behind.
    server.kill();
    server.restart();
}
