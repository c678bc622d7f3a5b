//! Webhooks: a receiver on loopback is told what happens, once, in order, signed, whatever becomes of it meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use support::authority::Authority;
use support::program::Program;
use support::receiver::{Posted, Receiver};
use support::server::Server;
use support::{PATIENCE, http, wait_until};

const SECRET: &str = "a secret of 32 octets or even more";

/// The secret in a file of the server's directory.
fn secret_file(server: &Server) -> String {
    let path = server.directory().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A server that tells a receiver on a port of its calls, and is quick to raise alarms.
fn prepared(port: u16) -> Server {
    let mut server = Server::prepare(&[
        ("WEBHOOK__OPS__EVENTS", "call"),
        ("WEBHOOK__OPS__ALARM_AFTER", "1s"),
        ("ALARMS__REPEAT", "1s"),
    ]);
    server.set("WEBHOOK__OPS__URL", &format!("http://127.0.0.1:{port}/hook?from=callspool"));
    let secret = secret_file(&server);
    server.set("WEBHOOK__OPS__SECRET_FILE", &secret);
    server
}

fn place_call(server: &Server) {
    let to = format!("sip:recorder@{}", server.sip_address());
    server.callspool(&["call", "--to", &to, "--duration", "300ms"]).expect_ok("a call");
}

/// Whether some of it tells the end of so many calls.
fn has_ended(posted: &[Posted], calls: usize) -> bool {
    let ended = posted.iter().filter(|p| p.status == 204).map(Posted::json);
    let ended = ended.filter(|e| !e["body"]["ended"].is_null());
    ended.map(|e| e["call"].to_string()).collect::<BTreeSet<_>>().len() >= calls
}

/// The ids of what was taken, in the order in which it came; each but once.
fn taken(posted: &[Posted]) -> Vec<String> {
    let ids: Vec<String> = posted.iter().filter(|p| p.status == 204).map(Posted::id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "something was told twice: {ids:?}");
    ids
}

fn expect_in_order(ids: &[String]) {
    assert!(ids.is_sorted(), "not in order: {ids:?}");
}

/// The alarm about the webhook, while it is raised.
fn failing(server: &Server) -> Option<Value> {
    let done = server.callspool(&["alarms", "--json"]);
    let alarms = done.text().lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>();
    alarms.into_iter().find(|a| a["kind"] == "webhook-failing")
}

fn bearer(server: &Server) -> String {
    format!("Bearer {}", std::fs::read_to_string(server.state().join("token")).unwrap().trim())
}

fn metric(server: &Server, series: &str) -> f64 {
    let answer =
        http::get(&server.http_address(), "/metrics", &[("Authorization", &bearer(server))]).unwrap().text();
    let line = answer.lines().find_map(|l| l.strip_prefix(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in:\n{answer}")).parse().unwrap()
}

#[test]
fn what_happens_is_told_once_signed_and_as_the_interface_tells_it() {
    let receiver = Receiver::start(0);
    let mut server = prepared(receiver.port());
    server.restart();
    place_call(&server);
    let posted = receiver.wait_for("the end of the call", |posted| has_ended(posted, 1));
    expect_in_order(&taken(&posted));
    for post in &posted {
        let event = post.json();
        assert_eq!(post.path, "/hook?from=callspool");
        assert_eq!((&event["kind"], &event["tenant"]), (&"call".into(), &"default".into()), "{event}");
        assert_eq!(post.header("callspool-event"), Some("call"));
        assert_eq!(post.header("callspool-event-id"), event["id"].as_str());
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert!(post.is_signed_with(SECRET), "{post:?}");
        assert!(!post.is_signed_with("another secret of 32 octets, or more"));
    }
    let call = posted[0].json()["call"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/calls/{call}");
    let answer = http::get(&server.http_address(), &path, &[("Authorization", &bearer(&server))]).unwrap();
    let detail: Value = serde_json::from_slice(&answer.body).unwrap();
    let of_interface = detail["events"].as_array().unwrap();
    for post in &posted {
        assert!(of_interface.contains(&post.json()), "{} is none of {of_interface:#?}", post.json());
    }
    let told = metric(&server, "callspool_webhook_events_total{webhook=\"ops\",outcome=\"delivered\"}");
    assert!((told - posted.len() as f64).abs() < 0.5, "{told}");
}

#[test]
fn what_is_not_taken_is_sent_again_before_anything_else() {
    let receiver = Receiver::start(0);
    receiver.answer(&[500, 302, 204]);
    let mut server = prepared(receiver.port());
    server.restart();
    place_call(&server);
    let posted = receiver.wait_for("the end of the call", |posted| has_ended(posted, 1));
    let first: Vec<String> = posted.iter().take(3).map(Posted::id).collect();
    assert!(first.iter().all(|id| *id == first[0]), "{first:?}");
    expect_in_order(&taken(&posted));
    assert!(metric(&server, "callspool_webhook_failures_total{webhook=\"ops\"}") > 1.5);
    assert!(metric(&server, "callspool_webhook_up{webhook=\"ops\"}") > 0.5);
}

#[test]
fn an_event_that_is_refused_for_what_it_is_does_not_hold_up_the_others() {
    let receiver = Receiver::start(0);
    receiver.answer(&[422, 422, 422, 422]);
    let mut server = prepared(receiver.port());
    server.restart();
    place_call(&server);
    let posted = receiver.wait_for("the end of the call", |posted| has_ended(posted, 1));
    let refused = posted[0].id();
    assert!(posted.iter().take(4).all(|p| p.id() == refused) && !taken(&posted).contains(&refused));
    assert!(server.log().contains("an event is given up"), "{}", server.log());
    let given_up = metric(&server, "callspool_webhook_events_total{webhook=\"ops\",outcome=\"given-up\"}");
    assert!((given_up - 1.0).abs() < 0.5);
}

#[test]
fn a_receiver_that_is_away_is_told_of_and_told_everything_when_it_is_back() {
    let mut server = prepared(0);
    let port = server.ports().next();
    server.set("WEBHOOK__OPS__URL", &format!("http://127.0.0.1:{port}/hook?from=callspool"));
    server.restart();
    place_call(&server);
    let raised = wait_until("the alarm", PATIENCE, || failing(&server).ok_or_else(|| server.log()));
    assert_eq!((&raised["subject"], &raised["severity"]), (&"webhook:ops".into(), &"warning".into()));
    let text = raised["text"].as_str().unwrap();
    assert!(text.contains("cannot connect") && !text.contains("hook?"), "{text}");
    assert!(metric(&server, "callspool_webhook_lag_seconds{webhook=\"ops\"}") > 0.5);
    let receiver = Receiver::start(port);
    let posted = receiver.wait_for("the end of the call", |posted| has_ended(posted, 1));
    expect_in_order(&taken(&posted));
    wait_until("the alarm to be cleared", PATIENCE, || match failing(&server) {
        None => Ok(()),
        Some(alarm) => Err(alarm.to_string()),
    });
}

#[test]
fn how_far_it_has_come_survives_a_restart() {
    let receiver = Receiver::start(0);
    let mut server = prepared(receiver.port());
    server.restart();
    place_call(&server);
    receiver.wait_for("the end of the first call", |posted| has_ended(posted, 1));
    // What happens from here on waits for the next process.
    receiver.answer(&[503; 64]);
    place_call(&server);
    receiver.wait_for("an event that is not taken", |posted| posted.iter().any(|p| p.status == 503));
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    receiver.answer_again();
    server.restart();
    let posted = receiver.wait_for("the end of the second call", |posted| has_ended(posted, 2));
    expect_in_order(&taken(&posted));
}

#[test]
fn a_spoiled_file_is_told_of_and_only_what_is_new_is_told() {
    let receiver = Receiver::start(0);
    let mut server = prepared(receiver.port());
    server.restart();
    place_call(&server);
    let before = receiver.wait_for("the end of the first call", |posted| has_ended(posted, 1));
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    let file = server.state().join("webhooks/ops.json");
    let place: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert!(place["after"].as_str().unwrap() >= before.last().unwrap().id().as_str(), "{place}");
    std::fs::write(&file, "spoiled").unwrap();
    server.restart();
    place_call(&server);
    let after = receiver.wait_for("the end of the second call", |posted| has_ended(posted, 2));
    expect_in_order(&taken(&after));
    assert!(server.log().contains("how far it had come cannot be read"), "{}", server.log());
    assert!(server.state().join("webhooks/ops.json.unreadable").exists());
}

#[test]
fn a_receiver_with_a_certificate_of_ones_own_authority_must_prove_it() {
    let mut server = Server::prepare(&[
        ("WEBHOOK__TRUSTING__EVENTS", "call"),
        ("WEBHOOK__DOUBTING__EVENTS", "call"),
        ("WEBHOOK__DOUBTING__ALARM_AFTER", "1s"),
    ]);
    let authority = Authority::new(server.directory(), "authority");
    let receiver = Receiver::start_tls(&authority.issue("receiver.example"));
    for name in ["TRUSTING", "DOUBTING"] {
        let url = format!("https://127.0.0.1:{}/{}", receiver.port(), name.to_lowercase());
        server.set(&format!("WEBHOOK__{name}__URL"), &url);
    }
    server.set("WEBHOOK__TRUSTING__CA", authority.file().to_str().unwrap());
    server.restart();
    place_call(&server);
    let posted = receiver.wait_for("the end of the call", |posted| has_ended(posted, 1));
    assert!(posted.iter().all(|p| p.path == "/trusting"), "{posted:?}");
    let raised = wait_until("the alarm", PATIENCE, || failing(&server).ok_or_else(|| server.log()));
    assert_eq!(raised["subject"], "webhook:doubting", "{raised}");
    assert!(raised["text"].as_str().unwrap().contains("no TLS"), "{raised}");
}

#[test]
fn a_reload_starts_changes_and_stops_webhooks() {
    let (one, other) = (Receiver::start(0), Receiver::start(0));
    let server = Server::start();
    let write = |text: String| {
        std::fs::write(server.directory().join("callspool.toml"), text).unwrap();
        server.callspool(&["reload"]).expect_ok("a reload").text().to_owned()
    };
    let table = |receiver: &Receiver| {
        format!("[webhook.ops]\nurl = \"http://127.0.0.1:{}/\"\nevents = \"call\"\n", receiver.port())
    };
    let told = write(table(&one));
    assert!(told.contains("in effect now") && told.contains("webhook.ops.url"), "{told}");
    place_call(&server);
    one.wait_for("the end of the first call", |posted| has_ended(posted, 1));
    let secret = secret_file(&server);
    let told = write(format!("{}secret_file = \"secret\"\n", table(&other)));
    assert!(told.contains("webhook.ops.url"), "{told}");
    place_call(&server);
    let posted = other.wait_for("the end of the second call", |posted| has_ended(posted, 1));
    assert!(posted.iter().all(|p| p.is_signed_with(SECRET)), "{posted:?}");
    std::fs::write(secret, "another secret of 32 octets, or more\n").unwrap();
    let told = write(format!("{}secret_file = \"secret\"\n", table(&other)));
    assert!(told.contains("the files of webhook.ops"), "{told}");
    write(String::new());
    place_call(&server);
    // A call may have a last word after its end, so calls are counted.
    let told = [one.posted(), other.posted()].concat();
    let calls: BTreeSet<String> = told.iter().map(|p| p.json()["call"].to_string()).collect();
    assert_eq!(calls.len(), 2, "{told:?}");
    let refused = server.callspool(&["check-config"]);
    assert_eq!(refused.code, Some(0), "{}", refused.err);
    std::fs::write(server.directory().join("callspool.toml"), "[webhook.ops]\nurl = \"ftp://x/\"\n").unwrap();
    let refused = server.callspool(&["reload"]);
    assert!(refused.code == Some(2) && refused.err.contains("neither http"), "{}", refused.err);
}

#[test]
fn a_receiver_that_never_answers_does_not_hold_up_the_stop() {
    let receiver = Receiver::start(0);
    receiver.answer(&[0; 8]);
    let mut server = prepared(receiver.port());
    server.set("WEBHOOK__OPS__TIMEOUT", "60s");
    server.restart();
    place_call(&server);
    receiver.wait_for("a request", |posted| !posted.is_empty());
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
}

#[test]
fn a_backup_holds_the_files_that_webhooks_name() {
    let mut server = prepared(9);
    server.restart();
    let to = server.directory().join("backup.tar");
    server.callspool(&["backup", "-o", to.to_str().unwrap()]).expect_ok("a backup");
    let octets = std::fs::read(to).unwrap();
    let holds = |text: &str| octets.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("webhook.ops.secret_file") && holds(SECRET));
}

/// The receiver that the documentation shows, as it stands there.
#[test]
fn the_receiver_in_the_documentation_takes_what_is_signed_and_nothing_else() {
    let document = include_str!("../../../docs/webhooks.md");
    let program = document.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let mut server = prepared(0);
    let file = server.directory().join("receiver.py");
    std::fs::write(&file, program).unwrap();
    let port = server.ports().next();
    let mut command = Command::new("python3");
    command.args(["-u", file.to_str().unwrap(), &secret_file(&server), &port.to_string()]);
    let receiver = Program::start(command, &server.directory().join("receiver.log"));
    let address = format!("127.0.0.1:{port}");
    let unsigned = wait_until("the receiver", PATIENCE, || {
        http::send("POST", &address, "/", &[], "{}").map_err(|e| format!("{e}: {}", receiver.output()))
    });
    assert_eq!(unsigned.status, 401, "what is not signed is refused");
    let forged = [("Callspool-Signature", "t=1795166100,v1=00")];
    assert_eq!(http::send("POST", &address, "/", &forged, "{}").unwrap().status, 401);
    server.set("WEBHOOK__OPS__URL", &format!("http://{address}/"));
    server.restart();
    place_call(&server);
    wait_until("the receiver to print the end of the call", PATIENCE, || {
        let told = receiver.output();
        let lines = told.lines().filter_map(|l| l.split_once("call "));
        let is_told = lines.filter_map(|(_, body)| serde_json::from_str::<Value>(body).ok());
        if is_told.into_iter().any(|b| !b["ended"].is_null()) { Ok(()) } else { Err(told) }
    });
}
