//! The repository's disk fails under calls: full, no longer writable, gone. What can be recorded is recorded, what
//! cannot is tagged and alarmed, SIP answers all the while, and afterwards it goes on without a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::path::Path;
use std::time::Duration;

use fault_support::caller::{Caller, Report, place};
use fault_support::listing::{Segment, all_calls, directories, segments, wait_for_repair, wait_until_taken};
use fault_support::volume::Volume;
use fault_support::{catalog, sip};
use model::{EndReason, Failure, RecordingState};
use support::recording::ListedCall;
use support::server::Server;
use support::{PATIENCE, wait_until};

const CALLS: usize = 10;
/// Room for what these tests record, ten times over.
const DISK_KIB: u32 = 8 << 10;

/// A server whose repository is a file system of its own.
fn server_on_a_volume() -> (Server, Volume) {
    let volume = Volume::mount(DISK_KIB);
    let repository = volume.path();
    let mut server = Server::prepare(&[
        ("RECORDING__REPOSITORY", repository.to_str().unwrap()),
        ("RECORDING__MIN_FREE_SPACE", "256KiB"),
    ]);
    server.restart();
    (server, volume)
}

fn found(repository: &Path) -> Vec<Segment> {
    directories(repository).iter().flat_map(|d| segments(d)).collect()
}

fn ten_calls(server: &Server) -> Caller {
    let arguments = ["--calls", "10", "--rate", "100/s", "--duration", "25s"];
    let caller = Caller::start(server, "calls", &arguments);
    wait_until_taken(server, CALLS);
    std::thread::sleep(Duration::from_millis(1_500));
    caller
}

/// All calls were ended by the server, and are listed as failed inside.
fn expect_told(server: &Server, report: &Report) {
    assert_eq!(report.totals.answered as usize, CALLS, "{report:?}");
    assert!(report.calls.iter().all(|c| c.ended == "remote-bye"), "clients are told by BYE: {report:?}");
    wait_until("calls to be concluded", PATIENCE, || {
        let listed = all_calls(server);
        let right = |c: &&ListedCall| !c.live && c.state == "complete-internal-error";
        match listed.iter().filter(right).count() {
            CALLS => Ok(()),
            n => Err(format!("{n}: {listed:?}")),
        }
    });
    let alarms = wait_until("alarms in the outbox", PATIENCE, || {
        let alarms = catalog::alarms(server);
        let failed = alarms.iter().filter(|(kind, _)| kind == "internal-failure").count();
        if failed >= CALLS { Ok(alarms) } else { Err(format!("{alarms:?}")) }
    });
    let log = server.log();
    assert!(log.contains("internal-failure"), "nothing in the log of {alarms:?}");
}

/// Somebody is told of the repository as a whole.
fn expect_alarm(server: &Server, word: &str) {
    wait_until(&format!("an alarm about {word}"), PATIENCE, || {
        let alarms = catalog::alarms(server);
        let is_of_volume =
            |kind: &str| matches!(kind, "disk-space" | "unwritable" | "unsynced" | "volume-away");
        let told = alarms.iter().any(|(kind, text)| is_of_volume(kind) && text.contains(word));
        if told { Ok(()) } else { Err(format!("{alarms:?}")) }
    });
}

fn expect_records_again(server: &Server, repository: &Path) {
    let before = found(repository).len();
    wait_until("calls to be taken again", PATIENCE, || match sip_invite_is_refused(server) {
        false => Ok(()),
        true => Err("503".to_owned()),
    });
    let report = place(server, "afterwards", &["--calls", "3", "--duration", "1s", "--siprec"]);
    let all = wait_until("segments to be sealed", PATIENCE, || {
        let all = found(repository);
        let done = report.calls.iter().all(|c| all.iter().any(|s| s.is_of(&c.sip_call_id) && s.sealed));
        if done { Ok(all) } else { Err(format!("{} before, {} now", before, all.len())) }
    });
    for call in &report.calls {
        let segment = all.iter().find(|s| s.is_of(&call.sip_call_id)).unwrap();
        for (stream, sent) in segment.record.streams.iter().zip(&call.streams) {
            assert_eq!(stream.accounting.received, sent.packets, "{segment:?}");
        }
    }
}

/// What could not be sealed while the disk failed is sealed when it is back, without a restart.
fn expect_all_sealed(repository: &Path) -> Vec<Segment> {
    wait_until("cut segments to be sealed", PATIENCE, || {
        let all = found(repository);
        match all.iter().find(|s| !s.sealed) {
            None => Ok(all),
            Some(open) => Err(format!("{:?} is open", open.record.id)),
        }
    })
}

/// A call that is given up at once, to see whether there would be one.
fn sip_invite_is_refused(server: &Server) -> bool {
    let done = server.callspool(&[
        "call",
        "--to",
        &format!("sip:rec@{}", server.sip_address()),
        "--duration",
        "100ms",
        "--quiet",
    ]);
    done.code != Some(0)
}

#[test]
fn a_full_disk_ends_calls_aloud_and_room_brings_them_back() {
    let (server, volume) = server_on_a_volume();
    let repository = volume.path().to_owned();
    let caller = ten_calls(&server);
    volume.fill();
    sip::expect_options(&server, "with a full disk");
    sip::expect_refusal(&server, "with a full disk");
    let report = caller.finish();
    sip::expect_refusal(&server, "with a full disk and no calls");
    expect_told(&server, &report);
    expect_alarm(&server, "space");

    volume.empty();
    expect_records_again(&server, &repository);
    let all = expect_all_sealed(&repository);
    let mut cut = 0;
    for call in &report.calls {
        let segment = all.iter().find(|s| s.is_of(&call.sip_call_id)).expect("its manifest");
        let record = &segment.record;
        assert_eq!(record.state, RecordingState::PartialInternalError, "{record:?}");
        let media_ms: i64 = record.parts.iter().map(|p| p.duration_us / 1_000).sum();
        // It talked for 1.5 s before the disk was full at one blow. What its file did not take then it took later.
        assert!(media_ms >= 1_300, "what had come before is there: {record:?}");
        cut += usize::from(record.end == Some(EndReason::Internal(Failure::DiskFull)));
    }
    assert!(cut > 0, "the reason is named in none of them");
    wait_for_repair(&repository);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

/// A repository that is unmounted or has become read-only: what is open can still be written, nothing else.
/// (The kernel refuses to remount read-only what is open for writing, so another mount lies over it here.)
#[test]
fn a_repository_that_cannot_be_written_ends_calls_aloud() {
    let (server, mut volume) = server_on_a_volume();
    let repository = volume.path().to_owned();
    let caller = ten_calls(&server);
    volume.hide();
    sip::expect_options(&server, "without a repository");
    sip::expect_refusal(&server, "without a repository");
    let report = caller.finish();
    expect_told(&server, &report);
    sip::expect_options(&server, "without a repository and calls");
    expect_alarm(&server, "volume");

    volume.show();
    expect_records_again(&server, &repository);
    let all = expect_all_sealed(&repository);
    for call in &report.calls {
        let segment = all.iter().find(|s| s.is_of(&call.sip_call_id)).expect("its manifest");
        assert_eq!(segment.record.state, RecordingState::PartialInternalError, "{segment:?}");
    }
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

#[test]
fn a_repository_that_is_removed_is_made_anew_and_the_calls_go_on() {
    let server = Server::start();
    let repository = server.state().join("repository");
    let caller = ten_calls(&server);
    std::fs::remove_dir_all(&repository).expect("it is removed");
    sip::expect_options(&server, "without a repository");
    let report = caller.finish();
    report.expect_all_ok("without a repository");
    // Another segment of each took over; of the first ones nothing is left but what the catalog was told.
    wait_until("calls to be concluded", PATIENCE, || {
        let listed = all_calls(&server);
        let right = |c: &&ListedCall| !c.live && c.state == "complete-internal-error-respondent";
        match listed.iter().filter(right).count() {
            CALLS => Ok(()),
            n => Err(format!("{n}: {listed:?}")),
        }
    });
    for call in &report.calls {
        let all = found(&repository);
        let next = all.iter().find(|s| s.is_of(&call.sip_call_id)).expect("what took over");
        assert_eq!(
            (next.record.number, next.record.state),
            (2, RecordingState::PartialInternalErrorRespondent)
        );
        let rest: u64 = next.record.streams.iter().map(|s| s.accounting.received).sum();
        assert!(rest > 500, "of 25 s of packets each 20 ms it has {rest}");
    }
    expect_records_again(&server, &repository);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}
