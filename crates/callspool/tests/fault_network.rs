//! A cluster on a network of the test's own. One of its cables is pulled, or one node after the other is started again,
//! while fifty calls go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_wrap, reason = "numbers of a test are small")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::caller::{Caller, Report};
use fault_support::listing::Segment;
use fault_support::network::Network;
use model::RecordingState;
use support::{PATIENCE, wait_until};

const CALLS: usize = 50;
/// RTP of G.711 in packets of 20 ms.
const PACKET: i64 = 160;

/// So many calls by the first proxy, which are up.
fn call(network: &Network, name: &str, duration: &str) -> Caller {
    let caller = network.call(name, CALLS, duration);
    network.wait_until_up(name, CALLS);
    caller
}

/// Pulls the cable of the first record server in the middle of fifty calls; says what became of each.
fn pull(network: &Network) -> (Report, Vec<Vec<(usize, Segment)>>) {
    let caller = call(network, "pulled", "14s");
    std::thread::sleep(Duration::from_millis(1_500));
    let there = network.all().iter().filter(|(n, _)| *n == 0).count();
    assert!(there >= 10, "{there} calls at the first record server");
    network.lan.cable("a", "down");
    let report = caller.finish();
    network.lan.cable("a", "up");
    network.wait_until_ready();
    let calls = network.calls(&report);
    let moved = calls.iter().filter(|segments| segments.len() == 2).count();
    assert_eq!(moved, there, "all that were there are elsewhere, and no others");
    for segments in &calls {
        let states: Vec<_> = segments.iter().map(|(_, s)| s.record.state).collect();
        match &segments[..] {
            [(at, _)] => assert!(*at != 0 && states == [RecordingState::Partial], "{at} {states:?}"),
            [(first, _), (second, _)] => {
                let expected =
                    [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
                assert!(*first == 0 && *second != 0 && states == expected, "{first} {second} {states:?}");
            }
            more => panic!("{more:#?}"),
        }
    }
    for proxy in &network.proxies {
        assert!(proxy.status().contains("0 calls"), "{}", proxy.status());
    }
    (report, calls)
}

#[test]
fn when_the_link_of_a_record_server_goes_down_fifty_calls_go_on() {
    let Some(network) = Network::start(&[]) else { return };
    let (report, _) = pull(&network);
    report.expect_all_ok("the link of a record server went down");
}

#[test]
fn through_the_proxy_no_packet_is_missing_when_the_link_of_a_record_server_goes_down() {
    let Some(network) = Network::start(&[("MEDIA__RELAY", "yes")]) else { return };
    let (report, calls) = pull(&network);
    report.expect_all_ok("the link of a record server went down");
    expect_whole(&report, &calls);
}

#[test]
fn through_the_proxy_no_packet_is_missing_when_every_record_server_is_started_again() {
    let Some(mut network) = Network::start(&[("MEDIA__RELAY", "yes")]) else { return };
    let caller = call(&network, "rolling", "25s");
    for n in 0..network.recorders.len() {
        network.recorders[n].program().terminate();
        assert!(network.recorders[n].program().wait(PATIENCE).success());
        network.recorders[n].restart();
        network.wait_until_ready();
    }
    let report = caller.finish();
    report.expect_all_ok("every record server was started again");
    let calls = network.calls(&report);
    assert!(calls.iter().all(|segments| segments.len() > 1), "each call was moved");
    expect_whole(&report, &calls);
}

#[test]
fn no_packet_is_missing_and_every_call_ends_as_it_should_when_every_node_is_started_again() {
    let Some(mut network) = Network::start(&[("MEDIA__RELAY", "yes")]) else { return };
    let caller = call(&network, "every-node", "34s");
    for n in 0..network.recorders.len() {
        network.recorders[n].program().terminate();
        assert!(network.recorders[n].program().wait(PATIENCE).success());
        network.recorders[n].restart();
        network.wait_until_ready();
    }
    for n in 0..network.proxies.len() {
        network.proxies[n].program().terminate();
        assert!(network.proxies[n].program().wait(PATIENCE).success());
        wait_until("the other to have all calls", PATIENCE, || {
            let status = network.proxies[1 - n].status();
            if status.contains(&format!("recording: {CALLS} calls")) { Ok(()) } else { Err(status) }
        });
        network.proxies[n].restart();
        network.wait_until_ready();
    }
    let report = caller.finish_within(PATIENCE * 2);
    report.expect_all_ok("every node was started again");
    let calls = network.calls(&report);
    assert!(calls.iter().all(|segments| segments.len() > 3), "each call was moved");
    for segments in &calls {
        let end = segments.last().and_then(|(_, segment)| segment.record.end.clone());
        assert_eq!(end, Some(model::EndReason::HangUp), "{segments:#?}");
    }
    for proxy in &network.proxies {
        wait_until("calls to be over", PATIENCE, || {
            let status = proxy.status();
            if status.contains("0 calls") { Ok(()) } else { Err(status) }
        });
    }
    expect_whole(&report, &calls);
}

/// Of each stream every packet that was sent is in a segment.
fn expect_whole(report: &Report, calls: &[Vec<(usize, Segment)>]) {
    for (call, segments) in report.calls.iter().zip(calls) {
        for (n, sent) in call.streams.iter().enumerate() {
            let spans: Vec<(i64, i64)> = segments
                .iter()
                .map(|(_, segment)| {
                    let stream = &segment.record.streams[n];
                    let counts = &stream.accounting;
                    assert_eq!((counts.lost, counts.ssrc_changes), (0, 0), "{stream:?}");
                    let first = i64::from(stream.anchors.first().expect("an anchor").rtp);
                    (first, first + PACKET * counts.received as i64)
                })
                .collect();
            let (begin, end) = (spans[0].0, spans[spans.len() - 1].1);
            // The next one begins where the one before ends, or earlier: by what was replayed.
            assert!(spans.windows(2).all(|pair| pair[1].0 <= pair[0].1), "a hole: {spans:?}");
            assert_eq!((end - begin) / PACKET, sent.packets as i64, "{spans:?}");
        }
    }
}
