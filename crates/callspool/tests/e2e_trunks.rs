//! Who may send: two trunks with a tenant each, and a stranger.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use serde_json::Value;
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, wait_until};

/// A call that signals only: nobody listens on the discard port.
fn call() -> Scenario {
    Scenario::new("call").key("audio", 9)
}

/// The calls of a tenant, or of `recording.tenant`, as `callspool ls` has them: their ids.
fn listed(server: &Server, more: &[&str]) -> Vec<String> {
    let done = server.callspool(&[&["ls", "--json"], more].concat());
    assert_eq!(done.code, Some(0), "{}", done.err);
    let call = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    done.text().lines().map(call).collect()
}

#[test]
fn each_trunk_has_its_tenant_and_strangers_have_none() {
    let server = Server::with(&[
        ("TRUNK__OURS__FROM", "127.0.0.1,::1"),
        ("TRUNK__BONN__FROM", "127.0.0.2"),
        ("TRUNK__BONN__TENANT", "bonn"),
        ("TRUNK__BONN__TAGS", "site=Bonn"),
        ("TENANT__BONN__MAX_CALLS", "1"),
    ]);
    let mut ours = call().named("ours").start(&server);
    let mut bonn = call().named("bonn").from("127.0.0.2").start(&server);
    ours.answer("1 INVITE");
    bonn.answer("1 INVITE");

    let mut second = call().named("second").from("127.0.0.2").start(&server);
    second.wait_for("a refusal at the limit of the tenant", |m| m.status() == Some(503));
    let mut stranger = call().named("stranger").from("127.0.0.3").start(&server);
    stranger.wait_for("a refusal for a stranger", |m| m.status() == Some(403));

    for mut sipp in [ours, bonn] {
        sipp.go_on();
        sipp.finish();
    }
    for (more, name) in [(&[] as &[&str], "ours"), (&["--tenant", "bonn"], "bonn")] {
        let expected = [server.recorded(&format!("{name}-1@test.invalid")).unwrap().id()];
        wait_until("the call to be listed", PATIENCE, || match listed(&server, more) {
            calls if calls == expected => Ok(()),
            calls => Err(format!("{more:?}: {calls:?}")),
        });
    }
    let recorded = server.recorded("bonn-1@test.invalid").unwrap();
    let data = &recorded.segment().data;
    assert_eq!((data.extra["trunk"].as_str(), data.extra["site"].as_str()), ("bonn", "Bonn"));
    assert_eq!(recorded.segment().tenant.as_str(), "bonn");
    assert!(recorded.directory.components().any(|c| c.as_os_str() == "bonn"), "{:?}", recorded.directory);
}
