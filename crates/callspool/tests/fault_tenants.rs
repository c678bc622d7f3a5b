//! Two tenants, and a kill: what the next start does about calls that were cut off it does for all of them, not for
//! the node's own alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use fault_support::listing::{expect_sound, wait_for_repair};
use serde_json::Value;
use support::rtp::Mouth;
use support::server::Server;
use support::sipp::Scenario;
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

/// The calls of a tenant, as `callspool ls` has them.
fn listed(server: &Server, tenant: &str) -> Vec<Value> {
    let done = server.callspool(&["ls", "--json", "--tenant", tenant]).expect_ok("ls");
    done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_for(server: &Server, tenant: &str, what: &str, is_so: impl Fn(&Value) -> bool) {
    wait_until(&format!("{tenant}'s call to be {what}"), PATIENCE, || {
        let calls = listed(server, tenant);
        if calls.len() == 1 && is_so(&calls[0]) { Ok(()) } else { Err(format!("{calls:?}")) }
    });
}

#[test]
fn what_a_kill_cut_off_is_concluded_whosever_it_is() {
    let mut server = Server::with(&[
        ("TRUNK__BONN__FROM", "127.0.0.1"),
        ("TRUNK__BONN__TENANT", "bonn"),
        ("TENANT__BONN__DISPLAY_NAME", "Bonn"),
        ("TRUNK__OURS__FROM", "127.0.0.2"),
    ]);
    // On hold: no marker of a live segment leads a start to it, the catalog alone does.
    let mouth = Mouth::open();
    let (mut held, _) = Dialog::begin(&server, "held", mouth.port());
    held.offer("inactive");
    wait_for(&server, "bonn", "on hold", |call| call["state"] == "partial");
    let mut ours = Scenario::new("call").key("audio", 9).from("127.0.0.2").start(&server);
    ours.answer("1 INVITE");
    wait_for(&server, "default", "live", |call| call["live"] == true);
    server.kill();
    drop(ours);
    server.restart();
    wait_for_repair(&server.state().join("repository"));
    let is_over =
        |state: &'static str| move |call: &Value| call["state"] == state && !call["ended"].is_null();
    wait_for(&server, "bonn", "over", is_over("complete"));
    wait_for(&server, "default", "over", is_over("complete-internal-error"));
    expect_sound(server);
}
