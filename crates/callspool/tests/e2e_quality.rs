//! Alarms of how a call sounds, raised and cleared while it goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use serde_json::Value;
use support::rtp::Mouth;
use support::secrets::id_of;
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

/// `callspool alarms`: those of this kind.
fn of_kind(server: &Server, kind: &str, more: &[&str]) -> Vec<Value> {
    let done = server.callspool(&[&["alarms", "--json"], more].concat());
    let all = done.text().lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    all.filter(|a| a["kind"] == kind).collect()
}

/// Waits until it is raised; what it is about.
fn raised(server: &Server, kind: &str) -> String {
    let look =
        || of_kind(server, kind, &[]).pop().ok_or_else(|| format!("{:?}", of_kind(server, kind, &["--all"])));
    let alarm = wait_until(&format!("{kind} to be raised"), PATIENCE, look);
    assert!(server.log().contains(&format!("kind={kind}")), "the log tells of {kind}");
    alarm["subject"].as_str().unwrap().to_owned()
}

fn cleared(server: &Server, kind: &str) {
    wait_until(&format!("{kind} to be cleared"), PATIENCE, || {
        let (active, all) = (of_kind(server, kind, &[]), of_kind(server, kind, &["--all"]));
        let is_over = active.is_empty() && all.iter().all(|a| a["cleared"].is_string()) && !all.is_empty();
        if is_over { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

#[test]
fn a_call_without_media_then_silent_then_lossy_is_told_of_and_what_is_over_is_cleared() {
    let server = Server::with(&[
        ("ALARMS__NO_MEDIA", "1s"),
        ("ALARMS__SILENCE", "3s"),
        ("ALARMS__LOSS", "5"),
        ("MEDIA__MEDIA_TIMEOUT", "60s"),
    ]);
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "quality", mouth.port());
    let id = id_of(&server, dialog.call_id());
    assert!(raised(&server, "no-media").starts_with("segment:"));
    // What is silent in µ-law, and every fifth packet is lost.
    let mut talker = Talker::new(&mouth, to);
    for n in 0..600 {
        let frame = talker.frame(&[0xff; 160]);
        if n % 5 != 4 {
            talker.send(&frame);
        }
    }
    cleared(&server, "no-media");
    assert!(raised(&server, "silence").starts_with("stream:"));
    assert!(raised(&server, "loss").starts_with("stream:"));
    talker.say(250, &payload(1));
    cleared(&server, "silence");
    dialog.bye();
    server.wait_for_state(dialog.call_id(), "complete");
    // What was raised about a stream is over with its segment.
    cleared(&server, "loss");
    for kind in ["no-media", "silence", "loss"] {
        assert_eq!(of_kind(&server, kind, &["--all"])[0]["call"], id.as_str(), "{kind}");
    }
}

#[test]
fn a_threshold_that_is_reloaded_is_in_effect_for_calls_that_go_on() {
    let server = Server::with(&[("MEDIA__MEDIA_TIMEOUT", "60s")]);
    let configure = |text: &str| {
        std::fs::write(server.directory().join("callspool.toml"), text).unwrap();
        server.callspool(&["reload"]).expect_ok("a reload").text().to_owned()
    };
    let told = configure("[alarms]\nno_media = \"0s\"\n");
    assert!(told.contains("in effect now: alarms.no_media"), "{told}");
    let mouth = Mouth::open();
    let (mut dialog, _) = Dialog::begin(&server, "quality", mouth.port());
    id_of(&server, dialog.call_id());
    configure("[alarms]\nno_media = \"1s\"\n");
    assert!(raised(&server, "no-media").starts_with("segment:"));
    configure("[alarms]\nno_media = \"0s\"\n");
    cleared(&server, "no-media");
    dialog.bye();
}
