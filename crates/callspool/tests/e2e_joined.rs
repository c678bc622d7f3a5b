//! Two calls that turn out to be one while both are recorded: one in lists, to the ear, on disk, on the page; whichever
//! id is asked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::browser::{Browser, address};
use support::listener::{Listener, bearer};
use support::party::{Hush, Party};
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, http, wait_until};

const ONE: f64 = 440.0;
const TWO: f64 = 1_300.0;
/// What shows that both dialogs are of one conversation (RFC 7989).
const SESSION: &str =
    "Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2\r\n";

fn ask(server: &Server, method: &str, path: &str) -> Value {
    let (address, bearer) = (server.http_address(), bearer(server));
    let answer = http::send(method, &address, path, &[("Authorization", &bearer)], "").expect("an answer");
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// Waits until so many calls are live, and so many segments; the ids of all calls, the oldest first.
fn live(server: &Server, calls: usize, segments: u64) -> Vec<String> {
    wait_until(&format!("{calls} live calls of {segments} segments"), PATIENCE, || {
        let all = server.calls();
        let is_so = all.len() == calls && all.iter().all(|c| c.live && c.segments == segments);
        let ids = || all.iter().rev().map(|c| c.id.clone()).collect();
        if is_so { Ok(ids()) } else { Err(format!("{all:?}")) }
    })
}

#[test]
fn two_live_calls_that_turn_out_to_be_one_are_one_by_either_id() {
    let mut server = Server::start();
    let (one, two) = (Party::new(), Party::new());
    let (survivor, other) = std::thread::scope(|scope| {
        scope.spawn(|| one.talk(ONE));
        scope.spawn(|| two.talk(TWO));
        let _at_the_end = Hush(&[&one, &two]);
        let (mut first, to) = Dialog::begin(&server, "one", one.mouth.port());
        one.turn_to(to);
        live(&server, 1, 1);
        let (mut second, to) = Dialog::begin(&server, "two", two.mouth.port());
        two.turn_to(to);
        let ids = live(&server, 2, 1);
        let [survivor, other] = &ids[..] else { panic!("{ids:?}") };
        assert!(survivor < other);
        first.info(SESSION, "");
        second.info(SESSION, "");
        assert_eq!(live(&server, 1, 2)[0], *survivor);
        for id in [survivor, other] {
            let listener = Listener::begin(&server, id, "layout=mix");
            listener.wait_for_tone(ONE);
            listener.wait_for_tone(TWO);
        }
        // What is noted of the one is noted of the other.
        ask(&server, "PUT", &format!("/api/v1/calls/{other}/tags/vip"));
        // What is ordered of the one is ordered of the one that it is.
        for order in ["pause", "resume"] {
            let stands = ask(&server, "POST", &format!("/api/v1/calls/{other}/{order}"));
            assert_eq!((&stands["call"], &stands["changed"]), (&json!(survivor), &json!(true)), "{order}");
        }
        std::thread::sleep(Duration::from_millis(1_500));
        second.bye();
        std::thread::sleep(Duration::from_millis(1_500));
        first.bye();
        (survivor.clone(), other.clone())
    });
    wait_until("one complete call", PATIENCE, || {
        let calls = server.calls();
        let is_so = |c: &support::recording::ListedCall| {
            (c.state.as_str(), c.segments, c.total) == ("complete", 2, 2)
        };
        if calls.len() == 1 && is_so(&calls[0]) { Ok(()) } else { Err(format!("{calls:?}")) }
    });

    let shown = |server: &Server| {
        let call = ask(server, "GET", &format!("/api/v1/calls/{other}"));
        assert_eq!(call["id"], json!(survivor));
        assert_eq!(
            (&call["joined"][0]["call"], &call["joined"][0]["why"]),
            (&json!(other), &json!("Session-ID"))
        );
        assert_eq!(call["tags"], json!(["vip"]));
        let segments = call["segment_list"].as_array().unwrap().clone();
        let seen: Vec<_> = segments.iter().map(|s| (s["number"].clone(), s["recorded_as"].clone())).collect();
        assert_eq!(seen, [(json!(1), Value::Null), (json!(2), json!(other))]);
        call
    };
    let before = shown(&server);
    assert_eq!(before["sip_call_ids"].as_array().unwrap().len(), 2, "{before}");
    // Files stay, and say what they said.
    let mut recorded = server.recordings();
    recorded.sort_by_key(|r| r.id());
    let said: Vec<_> = recorded.iter().map(|r| (r.id(), r.segment().number)).collect();
    assert_eq!(said, [(survivor.clone(), 1), (other.clone(), 1)]);
    let sound = server.export(&other, &["--mix"]).remove(0);
    let end = sound.seconds();
    let both = sound.cut(end - 3.0, end - 2.0);
    both.expect_tone("both at once", ONE, &[]);
    both.expect_tone("both at once", TWO, &[]);
    sound.cut(end - 1.0, end - 0.3).expect_tone("who stayed", ONE, &[TWO]);
    for id in [&survivor, &other] {
        let text = server.callspool(&["show", id]).expect_ok("show");
        assert!(text.text().contains(&format!("joined from {other}")), "{}", text.text());
        server.callspool(&["verify", id]).expect_ok("verify");
    }

    // A catalog that is made anew from the files.
    server.stop();
    server.callspool(&["reindex"]).expect_ok("reindex");
    server.restart();
    let after = shown(&server);
    for what in ["state", "total", "segments", "started", "ended", "segment_list"] {
        assert_eq!(after[what], before[what], "{what}");
    }

    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    browser.wait_for("one call", "document.querySelectorAll('#past-list > li').length === 1");
    browser.eval(&format!("location.hash = '#/call/{other}'"));
    browser.wait_for("the call that it is", &format!("location.hash === '#/call/{survivor}'"));
    let says = |text: &str| format!("document.getElementById('call').textContent.includes('{text}')");
    browser.wait_for("where it came from", &says(&format!("{other} (Session-ID)")));
    browser.wait_for("as what it was recorded", &says(&format!("recorded as call {other}")));
    browser.wait_for("a player", "document.querySelector('.player') !== null");
    browser.click("button", "Swap agent and external");
    browser.wait_for("it to be so", "document.querySelector('[aria-pressed=true]') !== null");
    browser.wait_for("the player again", "document.querySelector('.player') !== null");
    browser.wait_for("it to be said", &says("swapped against what was recorded"));
    browser.picture("joined");
    browser.click("button", "Swap agent and external");
    browser.wait_for("it to be as before", "document.querySelector('[aria-pressed=false]') !== null");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}
