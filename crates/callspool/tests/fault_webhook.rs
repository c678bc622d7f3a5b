//! The catalog is away, and what is wrong is told all the same: by the interface, the command, the metrics, and a
//! webhook, which is told each event once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;

use fault_support::caller::place;
use fault_support::catalog::{Stranger, path_of};
use fault_support::orders::Orders;
use fault_support::points::{Tried, tried};
use serde_json::Value;
use support::receiver::{Posted, Receiver};
use support::server::Server;
use support::{PATIENCE, http, wait_until};

fn ask(server: &Server, path: &str) -> (u16, String) {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let answer = http::get(&server.http_address(), path, &[("Authorization", &bearer)]).unwrap();
    (answer.status, answer.text())
}

/// Alarms by the interface, and who told them.
fn by_interface(server: &Server) -> (Vec<String>, String) {
    let (status, text) = ask(server, "/api/v1/alarms");
    assert_eq!(status, 200, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    let kinds = body["alarms"].as_array().unwrap().iter().map(|a| a["kind"].as_str().unwrap().to_owned());
    (kinds.collect(), body["source"].as_str().unwrap().to_owned())
}

fn by_command(server: &Server) -> Vec<String> {
    let done = server.callspool(&["alarms", "--json"]);
    let alarms = done.text().lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    alarms.map(|a| a["kind"].as_str().unwrap().to_owned()).collect()
}

fn is_told(posted: &[Posted], alarm: &str, is_cleared: bool) -> bool {
    let mut events = posted.iter().map(Posted::json);
    events.any(|e| e["body"]["alarm"] == alarm && e["body"]["cleared"].is_null() != is_cleared)
}

/// Locks the catalog until `during` is done.
fn check(server: &Server, during: impl FnOnce()) {
    wait_until("the catalog", PATIENCE, || path_of(server).exists().then_some(()).ok_or("none".into()));
    let mut stranger = Stranger::open(&path_of(server));
    stranger.lock();
    // Something to write, which it does not take.
    place(server, "calls", &["--calls", "2", "--duration", "300ms"]);
    during();
    stranger.release();
}

#[test]
fn what_is_wrong_is_listed_while_the_catalog_is_away() {
    let server = Server::start();
    check(&server, || {
        wait_until("catalog-away in the interface", PATIENCE, || {
            let (kinds, source) = by_interface(&server);
            if kinds == ["catalog-away"] && source == "node" { Ok(()) } else { Err(format!("{kinds:?}")) }
        });
        assert_eq!(by_command(&server), ["catalog-away"]);
        let (status, metrics) = ask(&server, "/metrics");
        let series = "callspool_alarms_active{kind=\"catalog-away\",severity=\"warning\"} 1";
        assert!(status == 200 && metrics.contains(series), "{metrics}");
    });
    wait_until("the alarm to be cleared", PATIENCE, || {
        let (kinds, source) = by_interface(&server);
        if kinds.is_empty() && source == "catalog" { Ok(()) } else { Err(format!("{kinds:?} by {source}")) }
    });
    assert_eq!(by_command(&server), Vec::<String>::new());
}

#[test]
fn a_webhook_is_told_that_the_catalog_is_away_and_everything_once() {
    let receiver = Receiver::start(0);
    let mut server = Server::prepare(&[("WEBHOOK__OPS__EVENTS", "*")]);
    server.set("WEBHOOK__OPS__URL", &format!("http://127.0.0.1:{}/", receiver.port()));
    server.restart();
    check(&server, || {
        let told = receiver.wait_for("catalog-away", |posted| is_told(posted, "catalog-away", false));
        let kinds: Vec<Value> = told.iter().map(|p| p.json()["kind"].clone()).collect();
        assert_eq!(kinds.last().unwrap(), "alarm", "{kinds:?}");
    });
    let told = receiver.wait_for("the calls and the end of the alarm", |posted| {
        let ended = posted.iter().map(Posted::json).filter(|e| !e["body"]["ended"].is_null());
        let ended: BTreeSet<String> = ended.map(|e| e["call"].to_string()).collect();
        ended.len() >= 2 && is_told(posted, "catalog-away", true)
    });
    let ids: BTreeSet<String> = told.iter().map(Posted::id).collect();
    assert_eq!(ids.len(), told.len(), "something was told twice");
    let others = told.iter().filter(|p| p.json()["kind"] != "alarm").map(Posted::id);
    assert!(others.is_sorted(), "what waited in the journal keeps its order");
}

/// Whether the ends of so many calls were told.
fn has_ended(posted: &[Posted], calls: usize) -> bool {
    let ended = posted.iter().map(Posted::json).filter(|e| !e["body"]["ended"].is_null());
    ended.map(|e| e["call"].to_string()).collect::<BTreeSet<_>>().len() >= calls
}

#[test]
fn a_webhook_whose_file_fails_is_told_of_and_tells_all_the_same() {
    let receiver = Receiver::start(0);
    for (operation, what, tried) in tried(|t| matches!(t, Tried::WithAWebhook(_))) {
        let Tried::WithAWebhook(words) = tried else { unreachable!() };
        let before = receiver.posted().len();
        let mut server = Server::prepare(&[("WEBHOOK__OPS__EVENTS", "call")]);
        server.set("WEBHOOK__OPS__URL", &format!("http://127.0.0.1:{}/", receiver.port()));
        let orders = Orders::of(&mut server);
        server.restart();
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
        let rule = format!("{}:{what}", operation.name());
        orders.give(&rule);
        server.restart();
        place(&server, "one", &["--duration", "300ms"]);
        receiver.wait_for(&rule, |posted| has_ended(&posted[before..], 1));
        wait_until(words, PATIENCE, || match server.log() {
            log if log.contains(words) => Ok(()),
            log => Err(log),
        });
        orders.withdraw();
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
        server.restart();
        place(&server, "other", &["--duration", "300ms"]);
        let posted = receiver.wait_for(&rule, |posted| has_ended(&posted[before..], 2));
        let ids: Vec<String> = posted[before..].iter().map(Posted::id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{rule}: told twice: {ids:?}");
    }
}

#[test]
fn a_webhook_whose_file_takes_for_ever_tells_all_the_same() {
    let receiver = Receiver::start(0);
    let mut server = Server::prepare(&[("WEBHOOK__OPS__EVENTS", "call")]);
    server.set("WEBHOOK__OPS__URL", &format!("http://127.0.0.1:{}/", receiver.port()));
    let orders = Orders::of(&mut server);
    // Longer than this test waits for anything.
    let rule = "webhook-place-write:delay=600s@1+";
    orders.give(rule);
    server.restart();
    orders.expect_obeyed(&server, rule);
    place(&server, "calls", &["--calls", "3", "--rate", "1/s", "--duration", "300ms"]);
    receiver.wait_for("calls while the file hangs", |posted| has_ended(posted, 3));
    orders.withdraw();
    // What hangs does not hold up a stop either.
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    server.restart();
    place(&server, "after", &["--duration", "300ms"]);
    // What was told may be told again, and nothing is left out.
    receiver.wait_for("a call afterwards", |posted| has_ended(posted, 4));
}
