//! Orders to a call on the command line, to the end of the recording and through a start after a stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use model::{PauseSource, StartTrigger};
use serde_json::Value;
use support::rtp::Mouth;
use support::secrets::{Events, expect_nowhere, id_of, kept};
use support::server::Server;
use support::talker::{Talker, payload};
use support::uac::Dialog;

fn json(server: &Server, arguments: &[&str]) -> Value {
    let done = server.callspool(&[arguments, &["--json"]].concat()).expect_ok("an order");
    serde_json::from_slice(&done.out).unwrap()
}

#[test]
fn a_call_is_paused_resumed_stopped_and_started_from_the_command_line() {
    let server = Server::start();
    let events = Events::listen(&server);
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "orders", mouth.port());
    let id = id_of(&server, dialog.call_id());
    let said: Vec<_> = (1..4).map(payload).collect();
    let (in_pause, while_stopped) = (payload(10), payload(11));
    let mut talker = Talker::new(&mouth, to);
    talker.say(25, &said[0]);

    let paused = server.callspool(&["pause", &id, "--timeout", "10m"]).expect_ok("pause");
    assert!(paused.text().contains(&format!("call {id} is paused until ")), "{}", paused.text());
    talker.say(15, &in_pause);
    let again = json(&server, &["pause", &id]);
    assert_eq!((&again["call"]["recording"], &again["call"]["changed"]), (&"paused".into(), &false.into()));
    let resumed = server.callspool(&["resume", &id]).expect_ok("resume");
    assert_eq!(resumed.text().trim(), format!("call {id} is recorded"));
    talker.say(25, &said[1]);

    // The client is told by a re-INVITE that nothing is wanted, and by another one where media go.
    let stopped = json(&server, &["stop", &id]);
    assert_eq!(stopped["call"]["recording"], "off");
    assert!(dialog.accept()[0].has("inactive"));
    talker.say(15, &while_stopped);
    let starting = std::thread::scope(|scope| {
        let start = scope.spawn(|| server.callspool(&["start", &id]));
        let offer = dialog.accept();
        talker.to = offer[0].rtp();
        start.join().unwrap()
    });
    assert_eq!(starting.expect_ok("start").text().trim(), format!("call {id} is recorded"));
    talker.say(25, &said[2]);
    dialog.bye();

    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    expect_nowhere(&server, &events, &id, &[in_pause, while_stopped]);
    for (n, said) in said.iter().enumerate() {
        assert!((20..=25).contains(&kept(&recorded, said)), "{n}: {}", kept(&recorded, said));
    }
    let [first, second] = &recorded.segments[..] else { panic!("two segments: {:?}", recorded.segments) };
    let operator = || PauseSource::Api("operator".to_owned());
    assert!(
        matches!(&first.pauses[..], [p] if p.by == operator() && p.resumed_by == Some(operator())),
        "{:?}",
        first.pauses
    );
    assert_eq!(first.stopped_by.as_deref(), Some("operator"));
    assert!(matches!(&second.trigger, StartTrigger::Api(by) if by == "operator"), "{:?}", second.trigger);

    // What is over takes no orders, and what never was neither; the line says what is wrong.
    for (arguments, expected) in [
        (vec!["pause", id.as_str()], "no such call is live"),
        (vec!["start", "06jv3kq4g2n00"], "no such call is live"),
        (vec!["resume", "06jv3kq4g2n00", "--tenant", "nobody"], "no such call is live"),
    ] {
        let done = server.callspool(&arguments);
        assert_eq!(done.code, Some(1), "{arguments:?}");
        assert!(done.err.contains(expected), "{arguments:?}: {}", done.err);
    }
    let done = server.callspool(&["pause", &id, "--timeout", "0s"]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    // A stop of a call never stops the process.
    assert_eq!(server.callspool(&["stop", &id]).code, Some(1));
    // Nor does a script whose variable is empty.
    let done = server.callspool(&["stop"]);
    assert!(done.code == Some(2) && done.err.contains("name a call's id, or say --node"), "{}", done.err);
    server.callspool(&["status"]).expect_ok("status");
}
