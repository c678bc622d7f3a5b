//! The page where things are not as usual: nothing is there, nobody is let in, something is wrong, something was
//! missed; and without a mouse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Duration;

use support::browser::{Browser, address, painted};
use support::calls::place;
use support::rtp::{Hum, Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::uac::Dialog;

/// Whether an element says this: an expression.
fn says(selector: &str, text: &str) -> String {
    format!(
        "(() => {{ const e = document.querySelector({selector:?}); \
         return Boolean(e && e.offsetParent && e.textContent.includes({text:?})); }})()"
    )
}

#[test]
fn an_empty_list_says_how_to_begin_and_who_has_no_token_what_is_missing() {
    let server = Server::start();
    let page = format!("http://{}/", server.http_address());
    let mut browser = Browser::start(1_280, 860);
    for way_in in [page.clone(), format!("{page}?token=wrong")] {
        browser.go(&way_in);
        browser.wait_for("what is wrong", &says("#trouble", "The token is missing or wrong"));
        browser.wait_for("nothing that looks like a list", "document.getElementById('empty').hidden");
        browser.wait_for("the same beside the title", &says("#link", "Not let in"));
    }
    browser.picture("no-token");
    browser.go(&address(&server));
    browser.wait_for("how to begin", &says("#empty", "callspool call --to sip:"));
    browser.wait_for("a connection", &says("#link", "Up to date"));
    browser.wait_for("no token in the address", "location.search === ''");
    assert!(browser.eval("document.getElementById('trouble').hidden").as_bool().unwrap());
    browser.picture("empty");
    browser.resize(360, 740);
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    browser.picture("narrow-empty");
}

#[test]
fn an_alarm_is_shown_while_it_is_raised() {
    let server = Server::with(&[("RECORDING__MAX_CALLS", "1")]);
    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    browser.wait_for("a connection", &says("#link", "Up to date"));
    let limit = says("#alarms li.critical", "recording.max_calls");
    browser.wait_for("no such alarm", &format!("!{limit}"));
    let mouth = Mouth::open();
    let (mut dialog, _) = Dialog::begin(&server, "limit", mouth.port());
    browser.wait_for("the alarm", &limit);
    browser.picture("alarm-light");
    browser.prefer("dark");
    std::thread::sleep(Duration::from_millis(200));
    browser.picture("alarm-dark");
    browser.resize(360, 740);
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    browser.picture("narrow-alarm");
    // Who comes later sees it too.
    browser.reload();
    browser.wait_for("the alarm again", &limit);
    dialog.bye();
    browser.wait_for("its end", &format!("!{limit}"));
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[test]
fn a_pause_and_what_was_lost_are_still_there_after_a_reload() {
    let server = Server::start();
    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "reload", mouth.port());
    // Twenty packets never arrive.
    let mut packets = Talk::new(440.0, Duration::from_secs(2)).packets();
    packets.drain(40..60);
    mouth.say(to, &packets);
    browser.click("#live-list a", "");
    browser.click("button", "Pause recording");
    let paused = says("#call header", "paused");
    browser.wait_for("the pause", &paused);
    browser.reload();
    browser.wait_for("the pause after a reload", &paused);
    browser.wait_for("the pause in the picture", &format!("{} > 20", painted("pause")));
    browser.wait_for("an order that ends it", "[...document.querySelectorAll('button')].some((b) => b.textContent === 'Resume recording' && b.offsetParent)");
    browser.click("button", "Resume recording");
    browser.wait_for("the end of the pause", &format!("!{paused}"));
    let hum = Hum::begin(&mouth, to);
    std::thread::sleep(Duration::from_secs(1));
    hum.end();
    dialog.bye();
    server.wait_for_state(dialog.call_id(), "complete");
    browser.wait_for("a player of it", "document.querySelector('.player') !== null");
    browser.reload();
    browser.wait_for("the player after a reload", "document.querySelector('.player') !== null");
    browser.wait_for("the pause", &format!("{} > 20", painted("pause")));
    browser.wait_for("what was lost", &format!("{} > 20", painted("loss")));
    browser.wait_for("who paused it", &says(".pause-line", "paused by"));
    browser.wait_for("what the colors mean", &says(".legend", "lost on the way"));
    browser.wait_for("the call in the list", "document.querySelectorAll('#past-list > li').length === 1");
    browser.picture("pause-and-loss");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[test]
fn all_of_it_is_reached_by_the_keyboard() {
    let server = Server::start();
    let packets = Talk::new(700.0, Duration::from_secs(3)).packets();
    place(&server, Scenario::new("call").key("caller", "+4930555123"), &Mouth::open(), &packets, "complete");
    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    browser.wait_for("the call", "document.querySelectorAll('#past-list > li').length === 1");
    browser.press("Tab");
    browser.wait_for("the way past the title", "document.activeElement.matches('.skip')");
    browser.wait_for("it to be seen", "document.activeElement.getBoundingClientRect().height > 10");
    browser.tab_to("#past-list .row");
    browser
        .wait_for("where the focus is", "getComputedStyle(document.activeElement).outlineStyle !== 'none'");
    browser.press("Enter");
    browser.wait_for("the picture", &format!("{} > 50", painted("agent")));
    browser.tab_to(".wave");
    browser.picture("focus");
    browser.press(" ");
    browser.wait_for("it to play", "!document.querySelector('audio').paused");
    browser.press(" ");
    browser.wait_for("it to stop", "document.querySelector('audio').paused");
    browser.press("End");
    browser.wait_for("the end", "document.querySelector('audio').currentTime > 2");
    browser.press("Home");
    browser.wait_for("the beginning", "document.querySelector('audio').currentTime < 0.5");
    browser.tab_to(".play");
    browser.press("Enter");
    browser.wait_for("it to play again", "!document.querySelector('audio').paused");
    for element in [".choice select", ".files a", "[aria-label='New tag']", ".scroll"] {
        browser.tab_to(element);
    }
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

/// Who opens the page of a call by its address has the list beside it, also where an answer of the two that make it
/// fails at first: what the other said is not told again before it changes.
#[test]
fn a_call_that_is_opened_by_its_address_has_the_list_beside_it() {
    let server = Server::start();
    let packets = Talk::new(700.0, Duration::from_secs(1)).packets();
    let scenario = Scenario::new("call").key("caller", "+4930555123");
    let recorded = place(&server, scenario, &Mouth::open(), &packets, "complete").recorded;
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "beside", mouth.port());
    let hum = Hum::begin(&mouth, to);
    let mut browser = Browser::start(1_280, 860);
    browser.go(&format!("{}#/call/{}", address(&server), recorded.id()));
    let listed = |list: &str| {
        format!(
            "document.querySelectorAll('#{list} > li').length === 1 && \
             document.getElementById('{list}').offsetParent !== null"
        )
    };
    browser.wait_for("the call", "document.querySelector('.player') !== null");
    browser.wait_for("what was recorded", &listed("past-list"));
    browser.wait_for("what goes on", &listed("live-list"));
    browser.wait_for("which is open", "document.querySelector('#past-list [aria-current]') !== null");
    browser.picture("call-by-address");
    hum.end();
    dialog.bye();
    browser.wait_for("both", "document.querySelectorAll('#past-list > li').length === 2");
    // One of the two answers fails, while the other tells of a call that has begun.
    browser.eval(
        "(() => {
            window.isBroken = true;
            const asked = window.fetch;
            window.fetch = (path, ...rest) => {
                const fails = window.isBroken && String(path).includes('live=false');
                return fails ? Promise.reject(new TypeError('cut off')) : asked(path, ...rest);
            };
        })()",
    );
    let (mut dialog, to) = Dialog::begin(&server, "broken", mouth.port());
    let hum = Hum::begin(&mouth, to);
    browser.wait_for("what is wrong", &says("#trouble", "The server does not answer"));
    browser.eval("window.isBroken = false");
    browser.wait_for("the new call", &listed("live-list"));
    browser.wait_for("nothing wrong", "document.getElementById('trouble').hidden");
    hum.end();
    dialog.bye();
}
