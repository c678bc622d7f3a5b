//! The page in a browser, over real recordings: lists, waveform, player, orders, live listening.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use support::browser::{Browser, address, painted};
use support::calls::place;
use support::program::Program;
use support::rtp::{Hum, Mouth, Packet, Talk, ulaw};
use support::server::Server;
use support::sipp::Scenario;
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

/// A call with two voices that is held for a while, by the built-in caller.
fn two_voices(server: &Server) -> String {
    let mut command = server.command();
    command.args(["call", "--siprec", "--duration", "9s", "--hold", "2s@4s", "--quiet"]);
    command.args(["--from", "sip:+4930555100@pbx.example", "--from-name", "Ann Archer"]);
    command.arg("--to").arg(format!("sip:rec@{}", server.sip_address()));
    let mut caller = Program::start(command, &server.directory().join("caller.log"));
    let status = caller.wait(PATIENCE);
    assert!(status.success(), "{}", caller.output());
    wait_until("the call to be complete", PATIENCE, || {
        let calls = server.calls();
        match calls.iter().find(|c| c.state == "complete" && c.segments == 2) {
            Some(call) => Ok(call.id.clone()),
            None => Err(format!("{calls:?}")),
        }
    })
}

#[test]
fn a_recording_is_listed_drawn_and_played() {
    let server = Server::start();
    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    browser.wait_for("an empty page", "document.getElementById('empty').hidden === false");
    browser.wait_for("a connection", "document.getElementById('link').dataset.state === 'up'");
    let packets = Talk::new(700.0, Duration::from_secs(2)).packets();
    place(&server, Scenario::new("call").key("caller", "+4930555123"), &Mouth::open(), &packets, "complete");
    // By an event: nobody reloads the page.
    browser.wait_for("the call", "document.querySelectorAll('#past-list > li').length === 1");
    let call = two_voices(&server);
    browser.wait_for("both calls", "document.querySelectorAll('#past-list > li').length === 2");
    browser.picture("list");

    browser.eval(&format!("location.hash = '#/call/{call}'"));
    browser.wait_for(
        "both voices in the picture",
        &format!("{} > 200 && {} > 200", painted("agent"), painted("external")),
    );
    browser.wait_for("the hold in the picture", &format!("{} > 20", painted("hold")));
    browser.wait_for("segments", "document.querySelectorAll('.segment').length === 2");
    browser.eval(
        "(async () => {
            const audio = document.querySelector('audio');
            const context = (window.ears = new AudioContext());
            window.analyser = context.createAnalyser();
            context.createMediaElementSource(audio).connect(window.analyser);
            window.analyser.connect(context.destination);
            await context.resume();
        })()",
    );
    browser.click("button", "Play");
    browser.wait_for(
        "sound",
        "(() => {
            const samples = new Float32Array(window.analyser.fftSize);
            window.analyser.getFloatTimeDomainData(samples);
            return Math.sqrt(samples.reduce((sum, s) => sum + s * s, 0) / samples.length) > 0.005;
        })()",
    );
    // A click in the middle of the picture goes there; so does a key.
    browser.eval(
        "(() => {
            const canvas = document.querySelector('.wave canvas');
            const edge = canvas.getBoundingClientRect();
            const at = { clientX: edge.left + edge.width * 0.5, clientY: edge.top + 20, pointerId: 1, bubbles: true };
            canvas.setPointerCapture = () => undefined;
            canvas.dispatchEvent(new PointerEvent('pointerdown', at));
        })()",
    );
    browser.wait_for("the middle", "Math.abs(document.querySelector('audio').currentTime - 4.5) < 1.5");
    browser
        .eval("document.querySelector('.wave').dispatchEvent(new KeyboardEvent('keydown', { key: 'Home' }))");
    browser.wait_for("the beginning", "document.querySelector('audio').currentTime < 2");
    browser.picture("call-light");
    browser.prefer("dark");
    std::thread::sleep(Duration::from_millis(200));
    browser.picture("call-dark");

    browser.eval("(() => { const field = document.querySelector('[aria-label=\"New tag\"]'); field.value = 'complaint'; field.form.requestSubmit(); })()");
    browser.wait_for("the tag", "document.querySelector('.notes .tags').textContent.includes('complaint')");
    browser.wait_for(
        "the tag in the list",
        "document.querySelector('#past-list').textContent.includes('complaint')",
    );
    for format in ["wav", "mp3", "opus", "flac"] {
        let link = format!("document.querySelector('.files a[href*=\"audio.{format}\"]').href");
        let type_of = format!("fetch({link}).then((r) => r.headers.get('content-type'))");
        let kind = browser.eval(&type_of);
        assert!(kind.as_str().is_some_and(|k| k.starts_with("audio/")), "{format}: {kind}");
    }
    // As narrow as a phone: nothing sticks out.
    browser.resize(360, 740);
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    browser.picture("narrow-call");
    browser.eval("location.hash = ''");
    browser.wait_for("the list again", "document.getElementById('past-list').offsetParent !== null");
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    browser.picture("narrow-list");
    browser.click("button", "Filters");
    browser.wait_for("states to choose from", "document.querySelectorAll('[name=state] option').length > 20");
    browser.picture("narrow-filters");
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    let filter = |name: &str, value: &str| {
        format!(
            "(() => {{ const field = document.querySelector('[name={name}]'); field.value = '{value}'; \
             field.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
        )
    };
    browser.eval(&filter("tag", "complaint"));
    browser.wait_for("the one with the tag", "document.querySelectorAll('#past-list > li').length === 1");
    browser.eval(&filter("state", "incomplete"));
    browser.wait_for("none", "document.getElementById('none').hidden === false");
    browser.click("button", "Clear the filters");
    browser.wait_for("both again", "document.querySelectorAll('#past-list > li').length === 2");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

#[test]
fn a_live_call_is_paused_heard_and_over() {
    let mut server = Server::start();
    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(&server));
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "browser", mouth.port());
    let hum = Hum::begin(&mouth, to);
    browser.wait_for("a live call", "document.querySelectorAll('#live-list > li .live').length === 1");
    browser.click("#live-list a", "");
    browser.wait_for("a picture of it", &format!("{} + {} > 100", painted("agent"), painted("external")));
    browser.click("button", "Listen");
    let loud = "[...document.querySelectorAll('meter')].some((m) => !m.hidden && m.value > 0.2)";
    browser.wait_for("the voice", loud);
    browser.click("button", "Pause recording");
    browser.wait_for("the pause", "document.querySelector('#call header').textContent.includes('paused')");
    browser.wait_for("silence in it", &format!("!({loud})"));
    browser.picture("live-paused");
    browser.click("button", "Resume recording");
    browser.wait_for("the voice again", loud);
    browser.wait_for("the pause in the picture", &format!("{} > 20", painted("pause")));
    browser.picture("live");
    browser.resize(360, 740);
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    browser.picture("narrow-live");
    browser.resize(1_280, 860);
    hum.end();
    dialog.bye();
    browser.wait_for("a player of it", "document.querySelector('.player') !== null");
    browser.wait_for("no live call", "document.getElementById('live-box').hidden");
    server.wait_for_state(dialog.call_id(), "complete");

    server.kill();
    browser
        .wait_for("the loss of the connection", "document.getElementById('link').dataset.state === 'down'");
    server.restart();
    browser.wait_for("a connection again", "document.getElementById('link').dataset.state === 'up'");
    let scripts: Vec<_> = browser.complaints().iter().filter(|c| !c.contains("\"network\"")).collect();
    assert!(scripts.is_empty(), "{scripts:#?}");
}

/// In the page: all that goes to the loudspeaker goes through an ear, which notes when a sound begins.
const EAR: &str = "(() => {
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...rest) {
        if (!(to instanceof AudioDestinationNode)) return connect.call(this, to, ...rest);
        if (!window.ear) {
            window.ear = to.context.createAnalyser();
            window.ear.fftSize = 256;
            connect.call(window.ear, to);
        }
        return connect.call(this, window.ear);
    };
    window.heard = [];
    let was = true;
    const samples = new Float32Array(256);
    setInterval(() => {
        if (!window.ear) return;
        window.ear.getFloatTimeDomainData(samples);
        const loud = samples.some((s) => Math.abs(s) > 0.05);
        if (loud && !was) window.heard.push(performance.timeOrigin + performance.now());
        was = loud;
    }, 4);
})()";

/// Beeps of 400 ms, one each 1.2 s. When each began to be sent, in milliseconds since 1970.
fn beep(mouth: &Mouth, to: SocketAddr, count: usize) -> Vec<f64> {
    let (begin, mut sent) = (Instant::now(), Vec::new());
    for n in 0..u32::try_from(count).unwrap() * 60 {
        let is_loud = n % 60 >= 40;
        let say = |s: u32| f64::from(s) / 8_000.0 * 700.0 * std::f64::consts::TAU;
        let sample = |s| if is_loud { (say(n * 160 + s).sin() * 8_192.0) as i16 } else { 0 };
        let packet = Packet {
            at: Duration::from_millis(20) * n,
            marker: n == 0,
            payload_type: 0,
            sequence: n as u16,
            timestamp: n * 160,
            ssrc: 0x5eed,
            payload: (0..160).map(|s| ulaw(sample(s))).collect(),
        };
        mouth.say_from(begin, to, &[packet]);
        if n % 60 == 40 {
            sent.push(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() * 1e3);
        }
    }
    sent
}

#[test]
fn what_is_said_comes_out_of_the_page_each_time() {
    let server = Server::start();
    for (line, path) in [("{}", "live.wav"), ("{ saveData: true }", "live.opus")] {
        let mut browser = Browser::start(1_280, 860);
        browser.go(&address(&server));
        let mouth = Mouth::open();
        let (mut dialog, to) = Dialog::begin(&server, path, mouth.port());
        browser.click("#live-list a", "");
        browser.wait_for("the call", "document.querySelector('.hearing button') !== null");
        browser.eval(&format!("Object.defineProperty(navigator, 'connection', {{ value: {line} }})"));
        browser.eval(EAR);
        browser.click("button", "Listen");
        browser.wait_for("something to come", "Boolean(window.ear)");
        let sent = beep(&mouth, to, 12);
        let last = sent.last().unwrap();
        browser.wait_for("the last beep", &format!("window.heard.some((h) => h > {last})"));
        let asked = "performance.getEntriesByType('resource').map((e) => e.name).filter((n) => n.includes('/live.')).join()";
        let asked = browser.eval(asked);
        assert!(asked.as_str().is_some_and(|names| names.contains(path)) || asked == "", "{asked}");
        let heard = browser.eval("window.heard");
        let heard: Vec<f64> = heard.as_array().unwrap().iter().map(|h| h.as_f64().unwrap()).collect();
        // A machine that is out of breath may tear a beep in two; none of them is missed. How long it takes is for
        // people to read (docs/benchmarks.md).
        let first = |sent: &f64| heard.iter().find(|h| *h > sent).map(|h| h - sent).filter(|d| *d < 1_200.0);
        let delays: Option<Vec<f64>> = sent.iter().map(first).collect();
        let mut delays = delays.unwrap_or_else(|| panic!("one was missed: {sent:?} {heard:?}"));
        delays.sort_by(f64::total_cmp);
        let late = browser.eval("[ear.context.baseLatency, ear.context.outputLatency].map((s) => s * 1000)");
        println!("{path}: from packet to page, ms: {delays:.0?}; the loudspeaker's own: {late}");
        dialog.bye();
        browser.wait_for("the end", "document.getElementById('live-box').hidden");
        let scripts: Vec<_> = browser.complaints().iter().filter(|c| !c.contains("\"network\"")).collect();
        assert!(scripts.is_empty(), "{scripts:#?}");
    }
}
