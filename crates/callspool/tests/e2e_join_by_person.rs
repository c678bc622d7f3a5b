//! Two calls that nothing showed to be one, and a person who says so: by HTTP, by command and on the page, of calls that
//! go on and of those that are over, whether or not the process remembers them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use serde_json::{Value, json};
use support::browser::{Browser, address};
use support::listener::bearer;
use support::rtp::Mouth;
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, http, wait_until};

fn ask(server: &Server, method: &str, path: &str) -> (u16, Value) {
    let (address, bearer) = (server.http_address(), bearer(server));
    let answer = http::send(method, &address, path, &[("Authorization", &bearer)], "").expect("an answer");
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

fn join(server: &Server, one: &str, other: &str) -> (u16, Value) {
    ask(server, "PUT", &format!("/api/v1/calls/{one}/joined/{other}"))
}

/// Places calls one after the other, and waits until all are complete: their ids, the oldest first.
fn place(server: &Server, count: usize, all: usize) -> Vec<String> {
    let to = format!("sip:rec@{}", server.sip_address());
    for _ in 0..count {
        server.callspool(&["call", "--to", &to, "--duration", "500ms", "--quiet"]).expect_ok("a call");
    }
    wait_until("complete calls", PATIENCE, || {
        let calls = server.calls();
        let is_so = calls.len() == all && calls.iter().all(|c| c.state == "complete");
        if is_so { Ok(()) } else { Err(format!("{calls:?}")) }
    });
    server.calls().iter().take(count).rev().map(|c| c.id.clone()).collect()
}

/// Waits until a call has these segments and is complete.
fn whole(server: &Server, call: &str, segments: u64) {
    wait_until("one complete call", PATIENCE, || {
        let calls = server.calls();
        let found = calls.iter().find(|c| c.id == call);
        let is_so = found.is_some_and(|c| {
            (c.state.as_str(), c.segments, u64::from(c.total)) == ("complete", segments, segments)
        });
        if is_so { Ok(()) } else { Err(format!("{calls:?}")) }
    });
}

#[test]
fn a_person_joins_calls_that_are_over_by_http_command_and_page() {
    let mut server = Server::start();
    let calls = place(&server, 4, 4);
    let [a, b, c, d] = &calls[..] else { panic!("{calls:?}") };
    // Remembered, as those that ended just now are.
    assert_eq!(join(&server, b, a), (200, json!({ "call": a, "changed": true })));
    whole(&server, a, 2);
    assert_eq!(join(&server, a, b), (200, json!({ "call": a, "changed": false })));
    let told = server.callspool(&["join", a, b, "--json"]).expect_ok("join");
    let told: Value = serde_json::from_slice(&told.out).expect("JSON");
    assert_eq!(told["joined"], json!({ "call": a, "changed": false }));
    let (_, shown) = ask(&server, "GET", &format!("/api/v1/calls/{b}"));
    assert_eq!((&shown["id"], &shown["joined"][0]["why"]), (&json!(a), &json!("said by api")));

    for (other, status, kind) in [(a.as_str(), 400, "bad-request"), ("06jv3kq4g2n00", 404, "no-such-call")] {
        let (code, told) = join(&server, a, other);
        assert_eq!((code, &told["type"]), (status, &json!(format!("/problems/{kind}"))), "{told}");
    }
    let refused = server.callspool(&["join", a, "06jv3kq4g2n00"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("there is no call 06jv3kq4g2n00"),
        "{}",
        refused.err
    );

    // Nothing is remembered after a start; a call that goes on is not joined with one that nobody holds.
    server.stop();
    server.restart();
    let mouth = Mouth::open();
    let (mut goes_on, _) = Dialog::begin(&server, "on", mouth.port());
    let live = wait_until("a live call", PATIENCE, || {
        let calls = server.calls();
        calls.iter().find(|c| c.live).map(|c| c.id.clone()).ok_or_else(|| format!("{calls:?}"))
    });
    let (code, told) = join(&server, c, &live);
    assert_eq!((code, &told["type"]), (409, &json!("/problems/not-allowed")), "{told}");
    goes_on.bye();
    let told = server.callspool(&["join", d, c]).expect_ok("join");
    assert_eq!(told.text().trim(), format!("calls {d} and {c} are one: {c}"));
    whole(&server, c, 2);

    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    browser.wait_for("calls", "document.querySelectorAll('#past-list > li').length === 3");
    browser.eval(&format!("location.hash = '#/call/{c}'"));
    let field = "document.querySelector('[aria-label=\"Id of another call\"]')";
    browser.wait_for("the form", &format!("{field} !== null"));
    browser.eval(&format!("{field}.value = '{a}'"));
    browser.click("button", "Join for good");
    browser.wait_for("the call that it is", &format!("location.hash === '#/call/{a}'"));
    let says = |text: &str| format!("document.getElementById('call').textContent.includes('{text}')");
    browser.wait_for("by whom", &says(&format!("{c} (said by api)")));
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
    whole(&server, a, 4);
    for id in &calls {
        server.callspool(&["verify", id]).expect_ok("verify");
    }
    // And a catalog that is made anew from the files.
    server.stop();
    server.callspool(&["reindex"]).expect_ok("reindex");
    server.restart();
    whole(&server, a, 4);
}

#[test]
fn a_person_joins_calls_that_go_on() {
    let server = Server::start();
    let mouths = [Mouth::open(), Mouth::open()];
    let (mut first, _) = Dialog::begin(&server, "one", mouths[0].port());
    let (mut second, _) = Dialog::begin(&server, "two", mouths[1].port());
    let ids = wait_until("two live calls", PATIENCE, || {
        let calls = server.calls();
        let is_so = calls.len() == 2 && calls.iter().all(|c| c.live);
        if is_so {
            Ok(calls.iter().rev().map(|c| c.id.clone()).collect::<Vec<_>>())
        } else {
            Err(format!("{calls:?}"))
        }
    });
    let told = server.callspool(&["join", &ids[1], &ids[0]]).expect_ok("join");
    assert_eq!(told.text().trim(), format!("calls {} and {} are one: {}", ids[1], ids[0], ids[0]));
    // An order to either is one to both.
    let (_, stands) = ask(&server, "POST", &format!("/api/v1/calls/{}/pause", ids[1]));
    assert_eq!((&stands["call"], &stands["recording"]), (&json!(ids[0]), &json!("paused")));
    second.bye();
    first.bye();
    whole(&server, &ids[0], 2);
}
