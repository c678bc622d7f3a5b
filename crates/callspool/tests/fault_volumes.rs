//! Several volumes, of which one is pulled, filled or stands still under calls: what is recorded there goes on on
//! another in the same dialog, what is recorded elsewhere notices nothing, and what comes back is used again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use fault_support::caller::{CallReport, place};
use fault_support::catalog::alarms;
use fault_support::disk::Disk;
use fault_support::listing::directories;
use fault_support::node::{Lost, expect_taken_over, node, received};
use fault_support::volume::Volume;
use model::RecordingState;
use support::recording::marked;
use support::{PATIENCE, wait_until};

const DISK_KIB: u32 = 16 << 10;

#[test]
fn segments_are_spread_and_read_as_one_repository() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = node([one.path(), two.path()], &[]);
    let report = place(
        &node.server,
        "spread",
        &["--calls", "6", "--siprec", "--duration", "1s", "--hold", "200ms@400ms"],
    );
    let segments = node.concluded(&report.calls);
    let spread = [0, 1].map(|v| directories(&node.roots[v]).len());
    assert!(spread[0] + spread[1] == 6 && spread.iter().all(|n| *n >= 2), "{spread:?}");
    for (call, segments) in report.calls.iter().zip(&segments) {
        assert_eq!(received(segments), call.streams.iter().map(|s| s.packets).collect::<Vec<_>>());
        assert_eq!(segments[0].volume, segments[1].volume, "a call stays on its volume");
        let id = segments[0].call.to_string();
        let shown = node.server.show(&id);
        assert_eq!(shown["segments"].as_array().unwrap().len(), 2, "{shown:#}");
        assert!(!node.server.export(&id, &[]).is_empty());
    }
    node.expect_sound();
    let done = node.server.callspool(&["volumes", "--json"]).expect_ok("callspool volumes");
    let names: Vec<_> =
        done.text().lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()).collect();
    assert_eq!(names.iter().map(|v| v["name"].as_str().unwrap()).collect::<Vec<_>>(), ["disk1", "disk2"]);
}

#[test]
fn a_volume_that_is_pulled_is_left_and_used_again_when_it_is_back() {
    let (mut one, two) = (Volume::mount(DISK_KIB), Volume::mount(DISK_KIB));
    let node = node([one.path(), two.path()], &[]);
    let caller = node.calls("5s");
    let pulled = node.on(0).len();
    one.hide();
    let report = caller.finish();
    report.expect_all_ok("a volume is pulled");
    node.expect_alarm("volume disk1 is not there");
    let during = place(&node.server, "during", &["--calls", "2", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 2);
    one.show();
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    // Until it is noticed, at the next look each second, media go to the files that are open.
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::AtMost(1_700)), pulled, "{segments:#?}");
    wait_until("disk1 to be used again", PATIENCE, || {
        place(&node.server, "again", &["--calls", "2", "--duration", "200ms"]);
        if node.on(0).len() > pulled { Ok(()) } else { Err("nothing is there".to_owned()) }
    });
}

/// What was in memory goes with its mount. It is told as lost, the calls go on elsewhere, and the empty place is not
/// written to until somebody says that it is to be the volume.
#[test]
fn a_tmpfs_that_is_unmounted_in_mid_call_is_left_and_what_was_on_it_is_told_as_lost() {
    let (mut one, two) = (Volume::mount(DISK_KIB), Volume::mount(DISK_KIB));
    let node = node([one.path(), two.path()], &[]);
    let caller = node.calls("5s");
    let pulled = node.on(0);
    one.pull();
    let report = caller.finish();
    report.expect_all_ok("a tmpfs is unmounted");
    node.expect_alarm("volume disk1 is not there");
    let during = place(&node.server, "during", &["--calls", "2", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 2);
    let segments = node.concluded(&[&report.calls[..], &during.calls[..]].concat());
    assert_eq!(std::fs::read_dir(one.path()).unwrap().count(), 0, "something is in the empty place");
    let told = alarms(&node.server);
    let failures = told.iter().filter(|(kind, _)| kind == "internal-failure").count();
    assert!(failures >= pulled.len(), "{} segments are lost: {told:?}", pulled.len());

    let is_lost = |call: &CallReport| pulled.iter().any(|s| s.is_of(&call.sip_call_id));
    for (call, segments) in report.calls.iter().zip(&segments) {
        let states: Vec<_> = segments.iter().map(|s| (s.number, s.state)).collect();
        if is_lost(call) {
            assert_eq!(states, [(2, RecordingState::PartialInternalErrorRespondent)], "{call:?}");
            let shown = node.server.show(&segments[0].call.to_string());
            assert_eq!(shown["state"], "complete-internal-error-respondent", "{shown:#}");
        } else {
            assert_eq!(states, [(1, RecordingState::Partial)], "{call:?}");
            assert_eq!(received(segments), call.streams.iter().map(|s| s.packets).collect::<Vec<_>>());
        }
    }
    node.server.callspool(&["volumes", "--accept", "disk1"]).expect_ok("volumes --accept");
    wait_until("disk1 to be used again", PATIENCE, || {
        place(&node.server, "again", &["--calls", "2", "--duration", "200ms"]);
        if node.on(0).is_empty() { Err("nothing is there".to_owned()) } else { Ok(()) }
    });
    node.expect_sound();
}

#[test]
fn a_volume_that_fills_up_is_left() {
    let (one, two) = (Volume::mount(DISK_KIB), Volume::mount(DISK_KIB));
    let node = node([one.path(), two.path()], &[]);
    let caller = node.calls("5s");
    let filled = node.on(0).len();
    one.fill();
    let report = caller.finish();
    report.expect_all_ok("a volume is full");
    node.expect_alarm("volume disk1 has too little space");
    one.empty();
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::AtMost(600)), filled, "{segments:#?}");
}

#[test]
fn a_volume_that_stands_still_is_left_and_keeps_what_it_was_given() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = node([one.path(), two.path()], &[("RECORDING__STALL", "1s")]);
    let caller = node.calls("6s");
    let stalled = node.on(0).len();
    node.orders.give(&format!("append~{}:delay=4s", node.roots[0].display()));
    let report = caller.finish();
    report.expect_all_ok("a volume stands still");
    node.expect_alarm("volume disk1 stands still");
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    // What waited for the disk is written when it moves again: nothing is lost at all.
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::Nothing), stalled, "{segments:#?}");
}

#[test]
fn an_order_to_open_does_not_wait_for_a_disk_that_hangs() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = node([one.path(), two.path()], &[("RECORDING__STALL", "1s")]);
    // Whichever of its openers has it.
    node.orders.give(&format!("make-dir~{}:delay=3s@1+", node.roots[0].display()));
    let report = place(&node.server, "hanging", &["--calls", "6", "--duration", "3s"]);
    let segments = node.concluded(&report.calls);
    for (call, segments) in report.calls.iter().zip(&segments) {
        assert_eq!(segments.len(), 1, "{segments:#?}");
        assert_eq!(received(segments), [call.streams[0].packets], "{call:?}");
        assert_eq!(segments[0].state, RecordingState::Partial);
    }
    wait_until("disk1 to move again and to have nothing left of what went elsewhere", PATIENCE, || {
        let live = marked(&node.roots[0]);
        let moved = node.server.log().contains("volume disk1 moves again");
        if moved && live.is_empty() { Ok(()) } else { Err(format!("{live:?}, {moved}")) }
    });
    node.expect_sound();
}

#[test]
fn a_volume_that_is_not_mounted_at_the_start_is_never_written_to_and_repaired_later() {
    let (mut one, two) = (Volume::mount(DISK_KIB), Volume::mount(DISK_KIB));
    let mut node = node([one.path(), two.path()], &[]);
    let caller = node.calls("20s");
    let left = node.on(0).len();
    node.server.kill();
    drop(caller);
    one.cover();
    node.server.restart();
    place(&node.server, "without", &["--calls", "4", "--duration", "300ms"]);
    assert_eq!(
        std::fs::read_dir(&node.roots[0]).unwrap().count(),
        0,
        "something was written to the empty place"
    );
    node.expect_alarm("volume disk1 is not there");
    one.show();
    node.expect_sound();
    let repaired = node.on(0);
    assert_eq!(repaired.len(), left);
    for segment in repaired {
        assert_eq!(segment.record.state, RecordingState::PartialInternalError, "{segment:?}");
    }
}

#[test]
fn a_disk_that_is_unmounted_under_its_writers_is_left_and_used_again_when_it_is_mounted() {
    let Some(one) = Disk::mount() else { return };
    // As large as that: segments are spread by free space.
    let two = Volume::mount(DISK_KIB);
    let node = node([one.path(), two.path()], &[]);
    let caller = node.calls("5s");
    let pulled = node.on(0).len();
    one.pull();
    let report = caller.finish();
    report.expect_all_ok("a disk is unmounted");
    node.expect_alarm("volume disk1 is not there");
    let during = place(&node.server, "during", &["--calls", "2", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 2);
    assert_eq!(std::fs::read_dir(one.path()).unwrap().count(), 0, "something is in the empty place");
    one.plug();
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::AtMost(1_700)), pulled, "{segments:#?}");
}

#[test]
fn a_disk_whose_writers_stand_still_in_the_kernel_is_left_and_keeps_what_it_was_given() {
    let Some(one) = Disk::mount() else { return };
    // As large as that: segments are spread by free space.
    let two = Volume::mount(DISK_KIB);
    let node = node([one.path(), two.path()], &[("RECORDING__STALL", "1s")]);
    let caller = node.calls("7s");
    let stalled = node.on(0).len();
    let frozen = one.freeze();
    node.expect_alarm("volume disk1 stands still");
    let during = place(&node.server, "during", &["--calls", "2", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 2);
    drop(frozen);
    let report = caller.finish();
    report.expect_all_ok("a disk is frozen");
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::Nothing), stalled, "{segments:#?}");
}
