//! A client in Node over WSS, with JsSIP's grammar: what browsers' SIP libraries send is taken, what they are sent they
//! can read, and what we ask in the dialog comes over the connection that they opened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use support::authority::Authority;
use support::program::Program;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

/// Where `./dev test` puts the packages.
fn packages() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let modules = target.join("node/node_modules");
    assert!(modules.join("jssip").is_dir(), "{} has no jssip: `./dev test` installs it", modules.display());
    modules
}

#[test]
fn a_client_in_node_is_recorded_over_wss_and_asked_over_its_own_connection() {
    let mut server = Server::prepare(&[]);
    let authority = Authority::new(server.directory(), "authority");
    let identity = authority.issue("recorder.example");
    let wss = server.ports().next();
    server.set("SIP__WSS", &format!("127.0.0.1:{wss}"));
    server.set("TLS__CERTIFICATE", identity.certificate.to_str().unwrap());
    server.set("TLS__KEY", identity.key.to_str().unwrap());
    server.restart();

    let mut command = Command::new("node");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node/call.js"));
    command.arg(format!("wss://127.0.0.1:{wss}")).arg(authority.file()).env("NODE_PATH", packages());
    let mut client = Program::start(command, &server.directory().join("node.log"));
    wait_until("the client to have talked", PATIENCE, || {
        if let Some(status) = client.ended() {
            panic!("the client ended with {status}: {}", client.output());
        }
        if client.output().contains("talked") { Ok(()) } else { Err(client.output()) }
    });
    // A stop is told to the client by a re-INVITE of ours.
    let call = server.calls().first().map(|c| c.id.clone()).expect("a call");
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let path = format!("/api/v1/calls/{call}/stop");
    let stopped =
        http::send("POST", &server.http_address(), &path, &[("Authorization", &bearer)], "").unwrap();
    assert_eq!(stopped.status, 200, "{}", stopped.text());
    let status = client.wait(PATIENCE);
    assert!(status.success(), "{}\n{}", client.output(), server.log());
    let output = client.output();
    let report: Value = serde_json::from_str(output.lines().last().unwrap()).expect("a report");
    assert_eq!(report["asked"], 1, "{report}");
    let recorded = server.wait_for_state(report["sip_call_id"].as_str().unwrap(), "complete");
    assert_eq!(recorded.stream().accounting.received, report["packets"].as_u64().unwrap());
    assert_eq!(recorded.segment().stopped_by.as_deref(), Some("api"));
}
