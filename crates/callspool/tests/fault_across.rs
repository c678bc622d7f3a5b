//! A call whose segments lie at two record servers is played by either of them, and by a proxy that records nothing, as one
//! recording; when one of them is away, the rest of it is played, and what is missing is said.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::cluster::Cluster;
use serde_json::Value;
use support::audio::Sound;
use support::browser::{Browser, address, painted};
use support::party::{Hush, Party};
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, audio, http, wait_until};

const BEFORE: f64 = 440.0;
const AFTER: f64 = 1_300.0;
const STRETCH: Duration = Duration::from_millis(1_200);

/// A call that began at one record server, which was killed and started again, and that ended at the other; nothing is
/// gathered.
struct Scattered {
    cluster: Cluster,
    call: String,
    first: usize,
}

impl Scattered {
    fn make() -> Self {
        let mut cluster = Cluster::gathering(2, &[("GATHERING__MODE", "virtual")]);
        let (before, after) = (Party::new(), Party::new());
        let (sip_call_id, call, first) = std::thread::scope(|scope| {
            let (mut dialog, media) = Dialog::begin(&cluster.proxy, "scattered", before.mouth.port());
            let _at_the_end = Hush(&[&before, &after]);
            before.turn_to(media);
            scope.spawn(|| before.talk(BEFORE));
            std::thread::sleep(STRETCH);
            let [(first, segment)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
            let (first, call) = (*first, segment.record.call.to_string());
            cluster.recorders[first].kill();
            let moved = dialog.accept();
            after.turn_to(moved[0].rtp());
            scope.spawn(|| after.talk(AFTER));
            std::thread::sleep(STRETCH);
            dialog.bye();
            (dialog.call_id().to_owned(), call, first)
        });
        cluster.recorders[first].restart();
        cluster.sealed(&sip_call_id, 2);
        Self { cluster, call, first }
    }

    fn nodes(&self) -> [(&'static str, &Server); 3] {
        let recorder = |n: usize| &self.cluster.recorders[n];
        [
            ("first", recorder(self.first)),
            ("second", recorder(1 - self.first)),
            ("proxy", &self.cluster.proxy),
        ]
    }

    fn ask(&self, server: &Server, rest: &str) -> http::Response {
        let token = std::fs::read_to_string(server.state().join("token")).expect("a token");
        let bearer = format!("Bearer {}", token.trim());
        let path = format!("/api/v1/calls/{}/{rest}", self.call);
        http::get(&server.http_address(), &path, &[("Authorization", &bearer)]).expect("an answer")
    }

    fn places(&self, server: &Server) -> Value {
        serde_json::from_str(&self.ask(server, "places").text()).unwrap_or(Value::Null)
    }

    /// What a node plays, by the interface.
    fn played(&self, server: &Server) -> (http::Response, Vec<Sound>) {
        let answer = self.ask(server, "audio.wav");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let file = server.directory().join("played.wav");
        std::fs::write(&file, &answer.body).unwrap();
        let sounds = audio::wav(&file);
        (answer, sounds)
    }

    /// The same by the command, with how that ended and what it said.
    fn exported(&self, server: &Server) -> (Option<i32>, String, Vec<Sound>) {
        let file = server.directory().join("exported.wav");
        let done = server.callspool(&["export", &self.call, "-o", file.to_str().unwrap(), "--force"]);
        assert!(file.exists(), "{}{}", done.text(), done.err);
        (done.code, done.err, audio::wav(&file))
    }
}

fn loudest(sounds: &[Sound], (from, until): (f64, f64), hertz: f64) -> f64 {
    sounds.iter().map(|sound| sound.cut(from, until).level(hertz)).fold(f64::MIN, f64::max)
}

/// What was said before is heard first, then what was said after.
fn expect_both(whom: &str, sounds: &[Sound]) {
    let seconds = sounds[0].seconds();
    for (place, heard, not) in [((0.3, 0.8), BEFORE, AFTER), ((seconds - 0.8, seconds - 0.3), AFTER, BEFORE)]
    {
        let (heard_at, not_at) = (loudest(sounds, place, heard), loudest(sounds, place, not));
        assert!(heard_at > not_at * 4.0, "{whom}: {place:?} of {seconds} s: {heard_at} {not_at}");
    }
}

#[test]
fn a_call_at_two_record_servers_is_played_by_any_node_and_without_one_of_them_as_far_as_it_is_there() {
    let mut scattered = Scattered::make();
    let all_there = |scattered: &Scattered| {
        wait_until("every node to reach the others", PATIENCE, || {
            for (whom, node) in scattered.nodes() {
                let places = scattered.places(node);
                if places["segments"].as_array().map(Vec::len) != Some(2) {
                    return Err(format!("{whom}: {places}\n{}", node.log()));
                }
            }
            Ok(())
        });
    };
    all_there(&scattered);
    for (whom, node) in scattered.nodes() {
        let (answer, sounds) = scattered.played(node);
        assert_eq!(answer.header("callspool-not-heard"), None, "{whom}");
        expect_both(whom, &sounds);
        let (code, said, sounds) = scattered.exported(node);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{whom}");
        expect_both(whom, &sounds);
        let peaks: Value = serde_json::from_str(&scattered.ask(node, "peaks?width=100").text()).unwrap();
        assert!(peaks["duration_ms"].as_u64().unwrap() > 2_000, "{whom}: {peaks}");
        let verified = node.callspool(&["verify", &scattered.call]);
        assert_eq!(verified.code, Some(0), "{whom}: {}{}", verified.text(), verified.err);
        let shown = node.callspool(&["show", &scattered.call]);
        assert!(shown.text().contains("segments    2 of 2"), "{whom}: {}{}", shown.text(), shown.err);
        // What was fetched to be played is no copy.
        let all = node.callspool(&["verify", "--all"]);
        let files = if whom == "proxy" { "0 calls, 0 files" } else { "1 calls, 3 files" };
        assert!(all.text().contains(files), "{whom}: {}{}", all.text(), all.err);
    }
    let first = scattered.first;
    scattered.cluster.recorders[first].kill();
    let name = format!("rec{}", first + 1);
    let [_, second, proxy] = scattered.nodes();
    for (whom, node) in [second, proxy] {
        let places = wait_until("what is missing to be told", PATIENCE, || {
            let places = scattered.places(node);
            let is_told = places["missing"][0]["text"]
                .as_str()
                .is_some_and(|text| text.starts_with("segment 1 is at ") && text.contains(&name));
            if is_told { Ok(places) } else { Err(format!("{whom}: {places}")) }
        });
        assert!(places["missing"][0]["since"].is_string(), "{whom}: {places}");
        let (answer, sounds) = scattered.played(node);
        let not_heard = answer.header("callspool-not-heard").unwrap_or_default();
        assert!(not_heard.contains("segment 1") && not_heard.contains(&name), "{whom}: {not_heard}");
        let place = (0.3, sounds[0].seconds() - 0.3);
        let (heard, not) = (loudest(&sounds, place, AFTER), loudest(&sounds, place, BEFORE));
        assert!(heard > not * 4.0, "{whom}: {heard} {not}");
        let (code, said, _) = scattered.exported(node);
        assert_eq!(code, Some(1), "{whom}: {said}");
        assert!(said.contains("segment 1") && said.contains(&name), "{whom}: {said}");
        let shown = node.callspool(&["show", &scattered.call]);
        assert!(shown.text().contains("missing     segment 1"), "{whom}: {}{}", shown.text(), shown.err);
    }
}

#[test]
fn the_page_plays_what_other_nodes_have_and_says_what_is_missing() {
    let mut scattered = Scattered::make();
    let second = 1 - scattered.first;
    let mut browser = Browser::start(1_280, 1_100);
    browser.go(&format!("{}#/call/{}", address(&scattered.cluster.recorders[second]), scattered.call));
    let says = |text: &str| format!("document.querySelector('main').textContent.includes({text:?})");
    let name = format!("rec{}", scattered.first + 1);
    browser.wait_for("from where it is played", &says(&format!("Segment 1 is fetched from {name}")));
    browser.wait_for("the picture of all of it", &format!("{} > 200", painted("external")));
    browser.picture("across-all");
    let first = scattered.first;
    scattered.cluster.recorders[first].kill();
    wait_until("the other one to notice", PATIENCE, || {
        let places = scattered.places(&scattered.cluster.recorders[second]);
        match places["missing"].as_array() {
            Some(all) if all.len() == 1 => Ok(()),
            _ => Err(places.to_string()),
        }
    });
    browser.reload();
    browser.wait_for("what is missing", &says(&format!("Not heard: segment 1 is at {name}")));
    browser.picture("across-missing");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
