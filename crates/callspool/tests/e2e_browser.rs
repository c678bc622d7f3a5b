//! The page in a browser, over real recordings: lists, waveform, player, orders, live listening.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use support::browser::Browser;
use support::calls::place;
use support::program::Program;
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

fn address(server: &Server) -> String {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    format!("http://{}/?token={}", server.http_address(), token.trim())
}

/// With `CALLSPOOL_PICTURES` set to a directory, what is seen is kept there.
fn picture(browser: &mut Browser, name: &str) {
    if let Some(directory) = std::env::var_os("CALLSPOOL_PICTURES") {
        browser.picture(&PathBuf::from(directory).join(format!("{name}.png")));
    }
}

/// How many points of a canvas have the color of a CSS variable, nearly.
fn painted(variable: &str) -> String {
    format!(
        "(() => {{
            const canvas = document.querySelector('.wave canvas');
            if (!canvas || !canvas.width) return -1;
            const probe = document.createElement('canvas').getContext('2d');
            probe.fillStyle = getComputedStyle(canvas.parentNode).getPropertyValue('--{variable}').trim();
            probe.fillRect(0, 0, 1, 1);
            const wanted = probe.getImageData(0, 0, 1, 1).data;
            const seen = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let i = 0; i < seen.length; i += 4) {{
                const off = Math.abs(seen[i] - wanted[0]) + Math.abs(seen[i + 1] - wanted[1]) + Math.abs(seen[i + 2] - wanted[2]);
                if (seen[i + 3] > 100 && off < 30) count += 1;
            }}
            return count;
        }})()"
    )
}

/// Somebody who hums until told to stop.
struct Hum(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Hum {
    fn begin(mouth: &Mouth, to: std::net::SocketAddr) -> Self {
        let (stop, mouth) = (Arc::new(AtomicBool::new(false)), mouth.share());
        let end = Arc::clone(&stop);
        let hum = std::thread::spawn(move || {
            let mut talk = Talk::new(440.0, Duration::from_secs(1));
            while !end.load(Ordering::Relaxed) {
                mouth.say(to, &talk.packets());
                talk.sequence = talk.sequence.wrapping_add(50);
                talk.timestamp = talk.timestamp.wrapping_add(8_000);
            }
        });
        Self(stop, Some(hum))
    }

    fn end(mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

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
    picture(&mut browser, "list");

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
    picture(&mut browser, "call-light");
    browser.prefer("dark");
    std::thread::sleep(Duration::from_millis(200));
    picture(&mut browser, "call-dark");

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
    picture(&mut browser, "narrow-call");
    browser.eval("location.hash = ''");
    browser.wait_for("the list again", "document.getElementById('past-list').offsetParent !== null");
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    picture(&mut browser, "narrow-list");
    browser.click("button", "Filters");
    browser.wait_for("states to choose from", "document.querySelectorAll('[name=state] option').length > 20");
    picture(&mut browser, "narrow-filters");
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
    picture(&mut browser, "live-paused");
    browser.click("button", "Resume recording");
    browser.wait_for("the voice again", loud);
    browser.wait_for("the pause in the picture", &format!("{} > 20", painted("pause")));
    picture(&mut browser, "live");
    browser.resize(360, 740);
    browser.wait_for("no sideways scrolling", "document.documentElement.scrollWidth <= 360");
    picture(&mut browser, "narrow-live");
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
