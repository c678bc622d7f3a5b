//! A disk that takes its time before a call can be recorded: its client is told that something happens, reliably where
//! it demands that (RFC 3262), and the call is complete all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::orders::Orders;
use faults::Operation;
use support::calls::{Way, place};
use support::rtp::Talk;
use support::server::Server;

#[test]
fn a_client_that_waits_is_told_reliably_and_acknowledges_it() {
    let mut server = Server::prepare(&[("RECORDING__STALL", "10s")]);
    let orders = Orders::of(&mut server);
    server.restart();
    let rule = format!("{}~repository:delay=1.3s@1+", Operation::MakeDir.name());
    orders.give(&rule);
    // One after the other: so are segments opened on one volume.
    for way in [Way::Udp, Way::Tcp] {
        let packets = Talk::new(700.0, Duration::from_secs(1)).packets();
        let outcome = place(&server, way.scenario("acknowledged"), &way.mouth(), &packets, "complete");
        assert_eq!(outcome.recorded.stream().accounting.received, packets.len() as u64, "{way:?}");
        let ringing: Vec<_> = outcome.messages.iter().filter(|m| m.status() == Some(180)).collect();
        let [ringing] = &ringing[..] else {
            panic!("{way:?}: {} of 180, acknowledged at once", ringing.len())
        };
        assert_eq!(ringing.header("Require"), Some("100rel"), "{way:?}: {}", ringing.text);
        let accepted = outcome.messages.iter().filter(|m| m.status() == Some(200));
        let order: Vec<&str> = accepted.filter_map(|m| m.header("CSeq")).collect();
        assert_eq!(order[..2], ["2 PRACK", "1 INVITE"], "{way:?}");
    }
    orders.withdraw();
}
