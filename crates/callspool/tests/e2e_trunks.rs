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
fn a_trunk_is_told_by_what_it_says_and_why_others_are_not_taken() {
    let server = Server::prepare(&[
        ("TRUNK__OURS__FROM", "127.0.0.1"),
        ("TRUNK__SBC__TLS_NAMES", "*.example.com"),
        ("TRUNK__SBC__TENANT", "bonn"),
        ("TENANT__BONN__DISPLAY_NAME", "Bonn office"),
    ]);
    let done = server.callspool(&["trunks"]).expect_ok("trunks");
    for expected in ["from 127.0.0.1/32", "certificate *.example.com", "bonn (Bonn office)"] {
        assert!(done.text().contains(expected), "{expected} in {}", done.text());
    }
    let done = server.callspool(&["trunks", "--match", "127.0.0.1"]).expect_ok("a match");
    assert!(done.text().contains("no certificate with one of its names"), "{}", done.text());
    let with_name = ["--transport", "tls", "--tls-name", "sbc.example.com", "--json"];
    let done = server.callspool(&[&["trunks", "--match", "127.0.0.1"], &with_name[..]].concat());
    let takes: Vec<bool> = done
        .expect_ok("a match")
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["takes"].as_bool().unwrap())
        .collect();
    assert_eq!(takes, [false, true], "what was proved counts more than an address");
    let done = server.callspool(&["trunks", "--match", "127.0.0.9"]);
    assert!(done.code == Some(1) && done.text().contains("403"), "{}", done.text());
}

#[test]
fn what_a_trunk_says_of_its_calls_is_seen_in_them() {
    let server = Server::with(&[
        ("TRUNK__OURS__FROM", "127.0.0.1"),
        ("TRUNK__OURS__AGENT_SIDE", "number:10*"),
        ("TRUNK__OURS__RETENTION", "one-year"),
        ("TRUNK__OURS__ASK_FOR", "PCMA"),
    ]);
    let mut sipp = Scenario::new("delayed").key("audio", 9).start(&server);
    let offer = sipp.answer("1 INVITE");
    assert!(offer.text.contains("PCMA/8000") && !offer.text.contains("PCMU"), "{}", offer.text);
    let call_id = sipp.call_id().to_owned();
    sipp.go_on();
    sipp.finish();
    let recorded = server.recorded(&call_id).unwrap();
    let data = &recorded.segment().data;
    assert_eq!(data.extra["retention"], "one-year");
    let sides: Vec<_> = data.parties.iter().map(|party| party.side).collect();
    assert_eq!(sides, [model::Side::Agent, model::Side::External], "1001 calls");
}

#[test]
fn beyond_its_rate_a_trunk_is_told_to_come_again() {
    let server =
        Server::with(&[("TRUNK__OURS__FROM", "127.0.0.1"), ("TRUNK__OURS__MAX_CALLS_PER_SECOND", "2")]);
    let to = format!("sip:recorder@{}", server.sip_address());
    let eight = ["--calls", "8", "--rate", "200/s", "--duration", "100ms", "--json"];
    let done = server.callspool(&[&["call", "--to", &to], &eight[..]].concat());
    let status = |line: &str| serde_json::from_str::<Value>(line).unwrap()["status"].as_u64();
    let of = |wanted| done.text().lines().filter_map(status).filter(|status| *status == wanted).count();
    assert!(of(200) >= 2 && of(503) >= 1 && of(200) + of(503) == 8, "{}", done.text());
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
