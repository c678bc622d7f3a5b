//! A server whose recordings lie on two volumes, and what may become of calls when one of them fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{RecordingState, SegmentRecord};

use super::caller::{CallReport, Caller};
use super::catalog;
use super::listing::{Segment, all_calls, directories, segments, taken, wait_until_taken};
use super::orders::Orders;
use crate::support::recording::ListedCall;
use crate::support::server::Server;
use crate::support::{PATIENCE, wait_until};

/// Calls that are spread over both volumes.
const CALLS: usize = 6;
/// Kinds of alarms about a volume.
const OF_VOLUMES: [&str; 5] = ["storage", "disk-space", "unwritable", "unsynced", "volume-away"];

/// A server with two volumes.
pub struct Node {
    /// The server.
    pub server: Server,
    /// Where the volumes are.
    pub roots: [PathBuf; 2],
    /// What is to fail.
    pub orders: Orders,
}

/// Starts one, with these further settings.
pub fn node(roots: [&Path; 2], more: &[(&str, &str)]) -> Node {
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
    pub fn on(&self, volume: usize) -> Vec<Segment> {
        directories(&self.roots[volume]).iter().flat_map(|d| segments(d)).collect()
    }

    /// Every segment on both.
    pub fn all(&self) -> Vec<Segment> {
        (0..2).flat_map(|v| self.on(v)).collect()
    }

    /// Calls that are spread over both volumes.
    pub fn calls(&self, seconds: &str) -> Caller {
        let count = |v: usize| directories(&self.roots[v]).len();
        let before = [count(0), count(1)];
        // Over a second: a disk that is slow for a moment takes none of them meanwhile.
        let arguments = ["--calls", "6", "--rate", "6/s", "--siprec", "--duration", seconds];
        let taken = taken(&self.server);
        let caller = Caller::start(&self.server, "spread", &arguments);
        wait_until("calls to be up on both volumes", PATIENCE, || {
            match [0, 1].map(|v| count(v) - before[v]) {
                [a, b] if a + b == CALLS && a > 0 && b > 0 => Ok(()),
                counts => Err(format!("{counts:?}")),
            }
        });
        wait_until_taken(&self.server, taken + CALLS);
        std::thread::sleep(Duration::from_millis(700));
        caller
    }

    /// Waits until every call is concluded, then gives what lies on disk of each.
    pub fn concluded(&self, calls: &[CallReport]) -> Vec<Vec<SegmentRecord>> {
        wait_until("calls to be concluded", PATIENCE, || {
            let listed = all_calls(&self.server);
            let is_over = |c: &ListedCall| !c.live && c.ended.is_some() && c.state.starts_with("complete");
            let over = listed.len() >= calls.len() && listed.iter().all(is_over);
            if over { Ok(()) } else { Err(format!("{listed:#?}")) }
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

    /// Somebody is told of a volume in these words.
    pub fn expect_alarm(&self, word: &str) {
        wait_until(&format!("an alarm about {word}"), PATIENCE, || {
            let alarms = catalog::alarms(&self.server);
            let told =
                alarms.iter().any(|(kind, text)| OF_VOLUMES.contains(&kind.as_str()) && text.contains(word));
            if told { Ok(()) } else { Err(format!("{alarms:?}")) }
        });
    }

    /// All is closed, and what lies on the volumes is what it should be.
    pub fn expect_sound(&self) {
        wait_until("every segment to be sealed", PATIENCE, || {
            let open: Vec<_> = self.all().iter().filter(|s| !s.sealed).map(|s| s.record.id).collect();
            if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
        });
        let done = self.server.callspool(&["verify", "--all"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    }
}

/// Packets that the segments of a call received of each of its streams.
pub fn received(segments: &[SegmentRecord]) -> Vec<u64> {
    let streams = segments.iter().map(|s| s.streams.len()).max().unwrap_or(0);
    let of = |index: usize| {
        let each = segments.iter().filter_map(|s| s.streams.get(index));
        each.map(|s| s.accounting.received).sum()
    };
    (0..streams).map(of).collect()
}

/// What calls that had to go on elsewhere may lose.
#[derive(Clone, Copy)]
pub enum Lost {
    /// They lose nothing.
    Nothing,
    /// Milliseconds of media.
    AtMost(i64),
}

/// Which calls had to go on elsewhere: those that failed have two segments, the second one as a respondent's.
/// The others are complete to the last packet.
pub fn expect_taken_over(calls: &[CallReport], segments: &[Vec<SegmentRecord>], lost_max: Lost) -> usize {
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
