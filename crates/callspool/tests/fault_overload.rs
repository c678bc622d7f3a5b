//! Many more calls than a disk can begin: those that are taken are complete, the others hear so at once and may go
//! elsewhere, and when it is over the next call is taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use fault_support::caller::{CallReport, Caller, place};
use fault_support::orders::Orders;
use fault_support::sip;
use faults::Operation;
use model::RecordingState;
use support::recording::Recorded;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

/// With one opener, ten calls a second.
const TAKES: &str = "0.1s";

fn expect_whole(server: &Server, call: &CallReport) -> Recorded {
    let recorded = server.wait_for_state(&call.sip_call_id, "complete");
    let segment = recorded.segment();
    assert_eq!(segment.state, RecordingState::Partial, "{call:?}");
    for (stream, sent) in segment.streams.iter().zip(&call.streams) {
        assert_eq!(stream.accounting.received, sent.packets, "{call:?}");
        assert_eq!((stream.accounting.lost, stream.accounting.dropped), (0, 0), "{call:?}");
    }
    recorded
}

/// The value of a line of the metrics that begins so.
fn metric(server: &Server, line: &str) -> f64 {
    let text = http::get(&server.http_address(), "/metrics", &[]).unwrap().text();
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {line} in {text}"))
}

#[test]
fn what_is_more_than_a_disk_can_begin_is_refused_early_and_the_rest_is_whole() {
    let settings = [("RECORDING__OPENERS", "1"), ("RECORDING__STALL", "10s"), ("API__METRICS_OPEN", "true")];
    let mut server = Server::prepare(&settings);
    let orders = Orders::of(&mut server);
    server.restart();
    // Calls that are in progress when it begins, and go on beyond its end.
    let beside = Caller::start(&server, "beside", &["--calls", "4", "--siprec", "--duration", "12s"]);
    wait_until("calls in progress", PATIENCE, || match metric(&server, "callspool_segments_live ") {
        live if live >= 4.0 => Ok(()),
        live => Err(format!("{live}")),
    });
    orders.give(&format!("{}~repository:delay={TAKES}@1+", Operation::MakeDir.name()));
    let flood = ["--calls", "120", "--rate", "40/s", "--siprec", "--duration", "2s"];
    let flood = Caller::start(&server, "flood", &flood);
    // Whoever is refused hears when to come again.
    let mut answered = 0;
    wait_until("a refusal", PATIENCE, || match sip::ask(&server, "INVITE") {
        refused if refused.status == 503 => {
            let after = refused.header("Retry-After").and_then(|v| v.parse::<u32>().ok());
            assert!(after.is_some_and(|s| (1..=3).contains(&s)), "{}", refused.text);
            Ok(())
        }
        answer => {
            answered += 1;
            Err(answer.text)
        }
    });
    let flood = flood.finish();
    // Before its turn at the disk comes, one is cancelled: others are before it.
    orders.give(&format!("{}~repository:delay=0.7s@1+", Operation::MakeDir.name()));
    let crowd = Caller::start(&server, "crowd", &["--calls", "3", "--rate", "100/s", "--duration", "1s"]);
    wait_until("others to be opened", PATIENCE, || match metric(&server, "callspool_segments_opening ") {
        opening if opening >= 2.0 => Ok(()),
        opening => Err(format!("{opening}")),
    });
    sip::cancel_at_once(&server);
    let crowd = crowd.finish();
    orders.withdraw();
    let (taken, refused): (Vec<_>, Vec<_>) = flood.calls.iter().partition(|call| call.status == 200);
    assert!(refused.iter().all(|call| call.status == 503), "{refused:?}");
    assert!(taken.len() >= 10 && refused.len() >= 40, "{} taken, {} refused", taken.len(), refused.len());
    let count = refused.len();
    assert!(metric(&server, "callspool_calls_refused_total{reason=\"overload\"} ") >= count as f64);
    // What is over is over: the next call is taken.
    place(&server, "after", &["--calls", "2", "--siprec", "--duration", "500ms"]);
    let beside = beside.finish();
    beside.expect_all_ok("beside");
    for call in beside.calls.iter().chain(taken.iter().copied()) {
        expect_whole(&server, call);
    }
    let answered = answered + beside.calls.len() + taken.len() + crowd.answered().count() + 2;
    assert_eq!(server.calls().len(), answered, "who was refused or cancelled has no file and no row");
    // One alarm for all of them, not one each.
    let told = server.log().matches("calls were refused").count();
    assert!((1..=4).contains(&told), "{told} lines for {count} refusals");
    assert!(server.log().contains("more calls come than can be opened in time"));
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}
