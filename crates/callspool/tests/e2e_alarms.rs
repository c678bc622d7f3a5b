//! A condition from when it is raised to when it is cleared, as monitoring sees it: by the command and by the
//! interface.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::process::{Child, Stdio};

use serde_json::Value;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

/// One call at most, which ends soon after its client is gone.
const SETTINGS: [(&str, &str); 2] = [("RECORDING__MAX_CALLS", "1"), ("MEDIA__MEDIA_TIMEOUT", "1s")];

/// A call that goes on until it is dropped; then its client is gone without a word.
struct Call(Child);

impl Call {
    fn begin(server: &Server) -> Self {
        let to = format!("sip:recorder@{}", server.sip_address());
        let mut command = server.command();
        command.args(["call", "--to", &to, "--duration", "90s"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// `callspool alarms --json`, and its exit code.
fn listed(server: &Server, arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let mut all = vec!["alarms", "--json"];
    all.extend_from_slice(arguments);
    let done = server.callspool(&all);
    (done.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect(), done.code)
}

fn call_limit(alarms: &[Value]) -> Option<Value> {
    alarms.iter().find(|a| a["kind"] == "call-limit").cloned()
}

fn asked(server: &Server, query: &str) -> Vec<Value> {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let path = format!("/api/v1/alarms{query}");
    let answer = http::get(&server.http_address(), &path, &[("Authorization", &bearer)]).unwrap();
    assert_eq!(answer.status, 200, "{path}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["alarms"].as_array().unwrap().clone()
}

fn wait_until_raised(server: &Server) -> Value {
    wait_until("call-limit to be raised", PATIENCE, || {
        let (alarms, code) = listed(server, &[]);
        let raised = call_limit(&alarms).ok_or_else(|| format!("{alarms:?}"))?;
        assert_eq!(code, Some(1), "something critical is raised");
        Ok(raised)
    })
}

fn wait_until_cleared(server: &Server) -> Value {
    wait_until("call-limit to be cleared", PATIENCE, || {
        let (active, code) = listed(server, &[]);
        if call_limit(&active).is_some() {
            return Err(format!("{active:?}"));
        }
        let is_critical = active.iter().any(|a| a["severity"] == "critical");
        assert_eq!(code, Some(i32::from(is_critical)), "{active:?}");
        Ok(())
    });
    call_limit(&listed(server, &["--all"]).0).expect("it stays in the history")
}

#[test]
fn the_limit_of_calls_is_raised_while_it_is_reached_and_cleared_afterwards() {
    let server = Server::with(&SETTINGS);
    let call = Call::begin(&server);
    let raised = wait_until_raised(&server);
    assert_eq!((&raised["subject"], &raised["active"]), (&"node:0".into(), &true.into()), "{raised}");
    assert!(raised["text"].as_str().unwrap().contains("recording.max_calls"), "{raised}");
    let in_api = call_limit(&asked(&server, "?severity=critical")).expect("the interface has it");
    assert_eq!((&in_api["id"], &in_api["active"]), (&raised["id"], &true.into()), "{in_api}");

    drop(call);
    let cleared = wait_until_cleared(&server);
    assert_eq!((&cleared["raised"], &cleared["active"]), (&raised["raised"], &false.into()), "{cleared}");
    assert!(cleared["cleared"].is_string() && cleared["lasted_s"].as_u64().is_some(), "{cleared}");
    assert_eq!(call_limit(&asked(&server, "")), None);
    assert!(call_limit(&asked(&server, "?active=false&kind=call-limit")).is_some());
}

#[test]
fn what_a_process_that_died_had_raised_is_cleared_by_the_next_one() {
    let mut server = Server::with(&SETTINGS);
    let call = Call::begin(&server);
    let raised = wait_until_raised(&server);
    server.kill();
    drop(call);
    assert!(call_limit(&listed(&server, &[]).0).is_some(), "nobody is there who could clear it");
    server.restart();
    let cleared = wait_until_cleared(&server);
    assert_eq!(cleared["raised"], raised["raised"]);
}
