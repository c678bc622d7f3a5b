//! Who must prove who they are: digest authentication, by sipp and by the test caller.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use support::program::Done;
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, http, wait_until};

/// Sets the password of a user of a trunk by the command, with these further arguments.
fn set_password(server: &Server, trunk: &str, user: &str, password: &str, more: &[&str]) {
    let mut command = server.command();
    command.args(["trunks", "password", trunk, user]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    assert!(child.wait().unwrap().success(), "the password of {user} was not set");
}

/// A call of half a second with this user and password.
fn call(server: &Server, login: Option<(&str, &str)>, more: &[&str]) -> Done {
    let to = format!("sip:recorder@{}", server.sip_address());
    let mut arguments = vec!["call", "--to", &to, "--duration", "500ms", "--json"];
    let file: PathBuf = server.directory().join("secret");
    if let Some((user, password)) = login {
        std::fs::write(&file, format!("{password}\n")).unwrap();
        arguments.extend(["--user", user, "--password-file", file.to_str().unwrap()]);
    }
    server.callspool(&[&arguments, more].concat())
}

fn report(done: &Done) -> Value {
    serde_json::from_str(done.text().lines().next().expect("a report")).unwrap()
}

#[test]
fn who_knows_a_password_is_recorded_and_nobody_else() {
    let mut server = Server::prepare(&[
        ("TRUNK__OURS__FROM", "127.0.0.1"),
        ("TRUNK__OURS__USERS_FILE", "users"),
        ("TRUNK__OLD__FROM", "127.0.0.2"),
        ("TRUNK__OLD__USERS_FILE", "old-users"),
        ("TRUNK__OLD__REALM", "old"),
    ]);
    let done = server.callspool(&["check-config"]);
    assert!(done.code == Some(2) && done.err.contains("no such file"), "{}", done.err);
    set_password(&server, "ours", "gateway", "open sesame", &[]);
    set_password(&server, "old", "sbc", "sesame", &["--algorithm", "md5"]);
    server.restart();

    // sipp knows MD5 only.
    let mut sipp = Scenario::new("digest").key("audio", 9).from("127.0.0.2").start(&server);
    let call_id = sipp.call_id().to_owned();
    sipp.answer("2 INVITE");
    sipp.go_on();
    let messages = sipp.finish();
    let challenge = messages.iter().find(|m| m.status() == Some(401)).expect("a challenge");
    assert!(challenge.text.contains("realm=\"old\"") && !challenge.text.contains("SHA-256"));
    let recorded = server.wait_for_state(&call_id, "complete");
    let data = &recorded.segment().data;
    assert_eq!((data.extra["trunk"].as_str(), data.extra["user"].as_str()), ("old", "sbc"));

    let done = call(&server, Some(("gateway", "open sesame")), &["--siprec", "--hold", "100ms@100ms"]);
    let recorded = server.wait_for_state(
        report(&done.expect_ok("a call with a password"))["sip_call_id"].as_str().unwrap(),
        "complete",
    );
    assert_eq!(recorded.segments[0].data.extra["user"], "gateway");

    for login in [None, Some(("gateway", "sesame")), Some(("nobody", "open sesame"))] {
        let done = call(&server, login, &[]);
        assert_eq!(done.code, Some(1), "{login:?}: {}", done.text());
        assert_eq!(report(&done)["status"], 401, "{login:?}");
    }
    assert_eq!(server.calls().len(), 2, "{:?}", server.calls());
    wait_until("an alarm", PATIENCE, || {
        let alarms = server.callspool(&["alarms", "--all", "--json"]);
        match alarms.text().contains("wrong credentials for trunk ours from 127.0.0.1") {
            true => Ok(()),
            false => Err(alarms.text().to_owned()),
        }
    });
    wait_until("the numbers", PATIENCE, || {
        let token = std::fs::read_to_string(server.state().join("token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let metrics =
            http::get(&server.http_address(), "/metrics", &[("Authorization", &bearer)]).unwrap().text();
        // Each of five calls begins without; the password of one user and the name of another were wrong.
        let expected = [
            "callspool_sip_credentials_refused_total{reason=\"missing\"} 5",
            "callspool_sip_credentials_refused_total{reason=\"wrong\"} 2",
            "callspool_sip_credentials_refused_total{reason=\"locked\"} 0",
            "callspool_calls_refused_total{reason=\"credentials\"} 2",
            "callspool_sip_credentials_accepted_total 2",
        ];
        let missing: Vec<&str> = expected.into_iter().filter(|line| !metrics.contains(line)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}:\n{metrics}")) }
    });
    let log = server.log();
    for secret in ["sesame", "response=", "Authorization"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn passwords_change_by_a_reload() {
    let mut server = Server::prepare(&[
        ("TRUNK__OURS__FROM", "127.0.0.1"),
        ("TRUNK__OURS__USERS_FILE", "users"),
        ("TRUNK__OURS__CREDENTIALS_FOR", "all"),
    ]);
    set_password(&server, "ours", "gateway", "one", &["--algorithm", "sha-256"]);
    server.restart();
    call(&server, Some(("gateway", "one")), &["--hold", "100ms@100ms"]).expect_ok("the first password");
    set_password(&server, "ours", "gateway", "two", &[]);
    call(&server, Some(("gateway", "one")), &[]).expect_ok("the first password, which is still in effect");
    let done = server.callspool(&["reload"]).expect_ok("reload");
    assert!(done.text().contains("users of trunks"), "{}", done.text());
    call(&server, Some(("gateway", "two")), &[]).expect_ok("the second password");
    assert_eq!(call(&server, Some(("gateway", "one")), &[]).code, Some(1));
    // What cannot be used changes nothing.
    std::fs::write(server.directory().join("users"), "nonsense\n").unwrap();
    let done = server.callspool(&["reload"]);
    assert!(done.code == Some(1) && done.text().contains("line 1"), "{}{}", done.err, done.text());
    call(&server, Some(("gateway", "two")), &[]).expect_ok("the second password, which is still in effect");
}
