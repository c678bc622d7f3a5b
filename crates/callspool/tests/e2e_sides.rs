//! Who of a call is the agent and who is external, corrected by command and by HTTP: in a call that goes on, which is
//! then held and resumed, and after it. What was recorded stays as it was; a catalog that is made anew knows it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::audio::Sound;
use support::listener::{Listener, bearer};
use support::program::Program;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

/// What the two streams of the call say, in Hz.
const TONES: [f64; 2] = [440.0, 1_000.0];

fn ask(server: &Server, method: &str, path: &str, body: &str) -> Value {
    let (address, bearer) = (server.http_address(), bearer(server));
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let answer = http::send(method, &address, path, &headers, body).expect("an answer");
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The tone that is heard left, in each of two stretches.
fn left(server: &Server, call: &str) -> [f64; 2] {
    let sounds = server.export(call, &[]);
    let [left, right] = &sounds[..] else { panic!("{} channels", sounds.len()) };
    [(0.3, 1.2), (left.seconds() - 1.2, left.seconds() - 0.3)].map(|(from, until)| {
        let (left, right) = (left.cut(from, until), right.cut(from, until));
        let is = if left.level(TONES[0]) > left.level(TONES[1]) { TONES } else { [TONES[1], TONES[0]] };
        left.expect_tone("left", is[0], &is[1..]);
        right.expect_tone("right", is[1], &is[..1]);
        is[0]
    })
}

/// All sides of streams that a call's segments show.
fn sides(call: &Value) -> Vec<String> {
    let segments = call["segment_list"].as_array().expect("segments");
    let streams = segments.iter().flat_map(|s| s["streams"].as_array().unwrap());
    streams.map(|s| s["side"].as_str().unwrap().to_owned()).collect()
}

fn manifests(directory: &str, server: &Server) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = server.state().join("repository").join(directory);
    let all = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = all.filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    all.sort();
    all.into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect()
}

#[test]
fn sides_are_corrected_while_a_call_goes_on_and_after_it_and_nothing_recorded_changes() {
    let mut server = Server::start();
    let mut command = server.command();
    command.args(["call", "--siprec", "--duration", "7s", "--hold", "1500ms@3s", "--quiet"]);
    command
        .args(["--tone", "440", "--tone", "1000", "--to"])
        .arg(format!("sip:rec@{}", server.sip_address()));
    let mut caller = Program::start(command, &server.directory().join("caller.log"));
    let call = wait_until("a live call", PATIENCE, || {
        let calls = server.calls();
        calls.iter().find(|c| c.live).map(|c| c.id.clone()).ok_or_else(|| format!("{calls:?}"))
    });
    let told = server.callspool(&["sides", &call, "--swap"]).expect_ok("sides");
    assert_eq!(told.text().trim(), format!("the sides of call {call}: swapped"));
    let again = server.callspool(&["sides", &call, "--swap", "--json"]).expect_ok("sides");
    let again: Value = serde_json::from_slice(&again.out).expect("JSON");
    assert_eq!(
        (&again["sides"]["changed"], &again["sides"]["sides"]["swapped"]),
        (&json!(false), &json!(true))
    );
    let status = caller.wait(PATIENCE);
    assert!(status.success(), "{}", caller.output());
    wait_until("the call to be complete", PATIENCE, || {
        let calls = server.calls();
        let is_it = |c: &&support::recording::ListedCall| c.state == "complete" && c.segments == 2;
        calls.iter().find(is_it).map(|_| ()).ok_or_else(|| format!("{calls:?}"))
    });

    let path = format!("/api/v1/calls/{call}");
    let swapped = ask(&server, "GET", &path, "");
    assert_eq!(swapped["sides"]["swapped"], json!(true));
    let written = manifests(swapped["segment_list"][0]["directory"].as_str().unwrap(), &server);
    assert_eq!(written.len(), 2);
    let heard = left(&server, &call);
    assert_eq!(heard[0], heard[1], "the segment after the hold follows");
    let with_swap = sides(&swapped);
    let audio = format!("{path}/audio.wav");
    let tag = |server: &Server| {
        let headers = [("Authorization", bearer(server))];
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = http::get(&server.http_address(), &audio, &headers).expect("an answer");
        answer.header("etag").expect("a version").to_owned()
    };
    let tag_with_swap = tag(&server);

    // Back, by HTTP: as it was recorded.
    let back = ask(&server, "PUT", &format!("{path}/sides"), "{}");
    assert_eq!((&back["changed"], &back["swapped"]), (&json!(true), &json!(false)));
    let streams = back["streams"].as_array().expect("streams");
    assert_eq!(streams.len(), 4);
    assert!(streams.iter().all(|s| s["recorded"] == s["side"]), "{streams:?}");
    let by: Vec<_> = back["history"].as_array().unwrap().iter().map(|h| h["by"].clone()).collect();
    assert_eq!(by, [json!("operator"), json!("api")]);
    assert_ne!(left(&server, &call), heard);
    assert_ne!(tag(&server), tag_with_swap, "players must not take one for the other");
    wait_until("the catalog to say so", PATIENCE, || {
        let shown = ask(&server, "GET", &path, "");
        let differ = sides(&shown) != with_swap && shown["parties"] != swapped["parties"];
        if differ { Ok(()) } else { Err(shown["sides"].to_string()) }
    });

    // One stream by itself, over a catalog that is made anew from the files.
    let stream = streams[0]["stream"].as_str().unwrap();
    let body = json!({ "streams": { stream: "mixed" } }).to_string();
    ask(&server, "PUT", &format!("{path}/sides"), &body);
    server.stop();
    server.callspool(&["reindex"]).expect_ok("reindex");
    server.restart();
    let shown = ask(&server, "GET", &path, "");
    assert_eq!(shown["sides"], json!({ "swapped": false, "streams": { stream: "mixed" } }));
    assert_eq!(sides(&shown)[0], "mixed");
    let text = server.callspool(&["show", &call]).expect_ok("show");
    assert!(text.text().contains("sides swapped (before: as recorded) by operator"), "{}", text.text());
    assert_eq!(manifests(shown["segment_list"][0]["directory"].as_str().unwrap(), &server), written);
    server.callspool(&["verify", &call]).expect_ok("verify");
}

/// Waits until a tone is what is heard left now; which it is, of the two.
fn heard_left(listener: &Listener, wanted: Option<f64>) -> f64 {
    wait_until(&format!("{wanted:?} Hz on the left"), PATIENCE, || {
        let last = |c: &Sound| c.cut(c.seconds() - 0.3, c.seconds());
        let [left, right] = &listener.heard(2).iter().map(last).collect::<Vec<_>>()[..] else {
            unreachable!()
        };
        let is = TONES.map(|tone| (left.level(tone), right.level(tone)));
        let found =
            TONES.into_iter().zip(is).find(|(_, (left, right))| *left > -20.0 && *right < *left - 20.0);
        match found {
            Some((tone, _)) if wanted.is_none_or(|wanted| (wanted - tone).abs() < 1.0) => Ok(tone),
            _ => Err(format!("{is:?}")),
        }
    })
}

#[test]
fn who_listens_to_a_call_that_goes_on_hears_its_sides_as_they_are_corrected() {
    let server = Server::start();
    let mut command = server.command();
    command.args(["call", "--siprec", "--duration", "90s", "--quiet"]);
    command
        .args(["--tone", "440", "--tone", "1000", "--to"])
        .arg(format!("sip:rec@{}", server.sip_address()));
    let _caller = Program::start(command, &server.directory().join("caller.log"));
    let call = wait_until("a live call", PATIENCE, || {
        let calls = server.calls();
        calls.iter().find(|c| c.live).map(|c| c.id.clone()).ok_or_else(|| format!("{calls:?}"))
    });
    let listener = Listener::begin(&server, &call, "layout=stereo");
    let recorded = heard_left(&listener, None);
    let other = TONES.into_iter().find(|tone| (tone - recorded).abs() > 1.0).unwrap();
    server.callspool(&["sides", &call, "--swap"]).expect_ok("sides");
    heard_left(&listener, Some(other));
    // Who comes later hears them so from the beginning.
    let later = Listener::begin(&server, &call, "layout=stereo");
    assert!((heard_left(&later, None) - other).abs() < 1.0);
    server.callspool(&["sides", &call, "--as-recorded"]).expect_ok("sides");
    heard_left(&later, Some(recorded));
}
