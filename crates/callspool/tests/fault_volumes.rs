//! Several volumes, of which one is pulled, filled or stands still under calls: what is recorded there goes on on
//! another in the same dialog, what is recorded elsewhere notices nothing, and what comes back is used again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fault_support::caller::{CallReport, Caller, place};
use fault_support::catalog;
use fault_support::disk::Disk;
use fault_support::listing::{Segment, all_calls, directories, segments};
use fault_support::orders::Orders;
use fault_support::volume::Volume;
use model::{RecordingState, SegmentRecord};
use support::server::Server;
use support::{PATIENCE, wait_until};

const CALLS: usize = 6;
const DISK_KIB: u32 = 16 << 10;

/// Kinds of alarms about a volume.
const OF_VOLUMES: [&str; 5] = ["storage", "disk-space", "unwritable", "unsynced", "volume-away"];

/// A server with two volumes.
struct Node {
    server: Server,
    roots: [PathBuf; 2],
    orders: Orders,
}

fn node(roots: [&Path; 2], more: &[(&str, &str)]) -> Node {
    let volumes =
        format!("disk1={};min_free=256KiB, disk2={};min_free=256KiB", roots[0].display(), roots[1].display());
    let mut server = Server::prepare(&[("RECORDING__VOLUMES", &volumes)]);
    for (key, value) in more {
        server.set(key, value);
    }
    let orders = Orders::new(server.directory());
    server.set("DEBUG_FAULTS", orders.path().to_str().unwrap());
    server.restart();
    Node { server, roots: roots.map(Path::to_owned), orders }
}

impl Node {
    /// Every segment on the volume.
    fn on(&self, volume: usize) -> Vec<Segment> {
        directories(&self.roots[volume]).iter().flat_map(|d| segments(d)).collect()
    }

    fn all(&self) -> Vec<Segment> {
        (0..2).flat_map(|v| self.on(v)).collect()
    }

    /// Calls that are spread over both volumes.
    fn calls(&self, seconds: &str) -> Caller {
        let arguments = ["--calls", "6", "--rate", "50/s", "--siprec", "--duration", seconds];
        let caller = Caller::start(&self.server, "spread", &arguments);
        wait_until("calls to be up on both volumes", PATIENCE, || {
            match [0, 1].map(|v| directories(&self.roots[v]).len()) {
                [a, b] if a + b == CALLS && a > 0 && b > 0 => Ok(()),
                counts => Err(format!("{counts:?}")),
            }
        });
        std::thread::sleep(Duration::from_millis(700));
        caller
    }

    /// Waits until every call is concluded, then gives what lies on disk of each.
    fn concluded(&self, calls: &[CallReport]) -> Vec<Vec<SegmentRecord>> {
        wait_until("calls to be concluded", PATIENCE, || {
            let listed = all_calls(&self.server);
            let over =
                listed.iter().filter(|c| !c.live && c.ended.is_some() && c.state.starts_with("complete"));
            if over.count() >= calls.len() { Ok(()) } else { Err(format!("{listed:#?}")) }
        });
        let all = self.all();
        let of = |call: &CallReport| {
            let mut mine: Vec<_> =
                all.iter().filter(|s| s.is_of(&call.sip_call_id)).map(|s| s.record.clone()).collect();
            mine.sort_by_key(|s| s.number);
            mine
        };
        calls.iter().map(of).collect()
    }

    fn expect_alarm(&self, word: &str) {
        wait_until(&format!("an alarm about {word}"), PATIENCE, || {
            let alarms = catalog::alarms(&self.server);
            let told =
                alarms.iter().any(|(kind, text)| OF_VOLUMES.contains(&kind.as_str()) && text.contains(word));
            if told { Ok(()) } else { Err(format!("{alarms:?}")) }
        });
    }

    fn expect_sound(&self) {
        wait_until("every segment to be sealed", PATIENCE, || {
            let open: Vec<_> = self.all().iter().filter(|s| !s.sealed).map(|s| s.record.id).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
        });
        let done = self.server.callspool(&["verify", "--all"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    }
}

/// Packets that the segments of a call received of each of its streams.
fn received(segments: &[SegmentRecord]) -> Vec<u64> {
    let streams = segments.iter().map(|s| s.streams.len()).max().unwrap_or(0);
    let of = |index: usize| {
        let each = segments.iter().filter_map(|s| s.streams.get(index));
        each.map(|s| s.accounting.received).sum()
    };
    (0..streams).map(of).collect()
}

/// What calls that had to go on elsewhere may lose.
#[derive(Clone, Copy)]
enum Lost {
    Nothing,
    /// Milliseconds of media.
    AtMost(i64),
}

/// Which calls had to go on elsewhere: those that failed have two segments, the second one as a respondent's.
/// The others are complete to the last packet.
fn expect_taken_over(calls: &[CallReport], segments: &[Vec<SegmentRecord>], lost_max: Lost) -> usize {
    let mut moved = 0;
    for (call, segments) in calls.iter().zip(segments) {
        let sent: Vec<u64> = call.streams.iter().map(|s| s.packets).collect();
        let got = received(segments);
        let states: Vec<_> = segments.iter().map(|s| s.state).collect();
        if segments.len() == 1 {
            assert_eq!(states, [RecordingState::Partial], "{call:?}");
            assert_eq!(got, sent, "a call that was not affected lost something: {call:?}");
        } else {
            moved += 1;
            let expected =
                [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
            assert_eq!(states, expected, "{call:?}");
            match lost_max {
                Lost::Nothing => assert_eq!(got, sent, "{segments:#?}"),
                // Counts of a segment that its disk failed are those of its last live manifest; its media tell.
                Lost::AtMost(ms) => {
                    let of = |s: &SegmentRecord| s.parts.iter().map(|p| p.offset_us + p.duration_us).max();
                    let kept_ms: i64 = segments.iter().filter_map(of).sum::<i64>() / 1_000;
                    let sent_ms = i64::try_from(sent[0]).unwrap() * 20;
                    assert!(kept_ms + ms >= sent_ms, "{kept_ms} of {sent_ms} ms: {segments:#?}");
                }
            }
            let ports = |s: &SegmentRecord| s.streams.iter().map(|s| s.port).collect::<Vec<_>>();
            // The first manifest, which is all that may be left of the failed one, has none yet.
            if ports(&segments[0]) != [0, 0] {
                assert_eq!(ports(&segments[0]), ports(&segments[1]), "the client would have to be told");
            }
        }
    }
    moved
}

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
    node.orders.give(&format!("make-dir~{}:delay=6s", node.roots[0].display()));
    let report = place(&node.server, "hanging", &["--calls", "6", "--duration", "3s"]);
    let segments = node.concluded(&report.calls);
    for (call, segments) in report.calls.iter().zip(&segments) {
        assert_eq!(segments.len(), 1, "{segments:#?}");
        assert_eq!(received(segments), [call.streams[0].packets], "{call:?}");
        assert_eq!(segments[0].state, RecordingState::Partial);
    }
    wait_until("disk1 to move again and to have nothing left of what went elsewhere", PATIENCE, || {
        let live: Vec<_> = std::fs::read_dir(node.roots[0].join("live")).into_iter().flatten().collect();
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
