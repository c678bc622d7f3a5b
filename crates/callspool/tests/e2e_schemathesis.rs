//! The interface is asked what its description allows and what it forbids, by schemathesis: no answer is a 5xx, none
//! is of a status, type or shape that the description lacks.
//!
//! Two runs with a fixed seed: one with made-up ids, one with those of calls that there are. The stream of events is
//! left out, as it does not end. `./dev test` installs schemathesis into `target/schemathesis`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::calls::place;
use support::program::run;
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, http, wait_until};

/// A run takes less than a minute; a machine that does several things takes some.
const RUN: Duration = Duration::from_secs(300);

fn schemathesis() -> PathBuf {
    // Beside the profile's directory, whatever the target directory is.
    let target = PathBuf::from(env!("CARGO_BIN_EXE_callspool"));
    let target = target.parent().and_then(|p| p.parent()).expect("target/<profile>/callspool");
    let program = target.join("schemathesis/bin/schemathesis");
    assert!(program.exists(), "no {}: `./dev test` installs it", program.display());
    program
}

/// Runs it with a configuration of its own.
fn ask(server: &Server, name: &str, parameters: &str, more: &[&str]) {
    let token = std::fs::read_to_string(server.state().join("token")).expect("a token").trim().to_owned();
    let config = server.directory().join(format!("{name}.toml"));
    std::fs::write(&config, parameters).unwrap();
    let mut command = Command::new(schemathesis());
    command.current_dir(server.directory()).arg("--config-file").arg(&config);
    command.arg("run").arg(format!("http://{}/api/v1/openapi.json", server.http_address()));
    command.arg("--url").arg(format!("http://{}", server.http_address()));
    command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", "all", "--seed", "1"]);
    command.args(more).args(["--request-timeout", "20", "--no-color"]);
    command.args(["--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"]);
    let done = run(command, RUN);
    assert!(done.code == Some(0), "{name}: {:?}\n{}\n{}", done.code, done.text(), done.err);
    assert!(done.text().contains("No issues found"), "{name}: {}", done.text());
}

#[test]
fn nothing_is_answered_that_is_not_described() {
    let server = Server::start();
    let packets = Talk::new(500.0, Duration::from_millis(600)).packets();
    let recorded = place(&server, Scenario::new("call"), &Mouth::open(), &packets, "complete").recorded;
    let (call, segment) = (recorded.id(), recorded.segment().id.to_string());
    let token = std::fs::read_to_string(server.state().join("token")).unwrap().trim().to_owned();
    let bearer = format!("Bearer {token}");
    wait_until("the call to be told", PATIENCE, || {
        let path = format!("/api/v1/calls/{call}");
        let answer = http::get(&server.http_address(), &path, &[("Authorization", &bearer)]);
        let json: Value =
            answer.map(|a| serde_json::from_slice(&a.body).unwrap_or_default()).unwrap_or_default();
        if json["state"] == "complete" { Ok(()) } else { Err(json.to_string()) }
    });
    let real = format!("[parameters]\n\"path.id\" = \"{call}\"\n\"path.segment\" = \"{segment}\"\n");
    let usual =
        ["--max-examples", "50", "--exclude-path-regex", "/events|/audio|/video|/live|/peaks|/joined|/keys"];
    ask(&server, "made-up", "", &usual);
    ask(&server, "real", &real, &usual);
    // What these take depends on two parameters together, which a description cannot say: a codec and a rate, a call and
    // another, a suite and a key of its length. The call is over, so nobody hears it live.
    let together = [
        "--max-examples",
        "25",
        "--include-path-regex",
        "/audio|/video|/live|/peaks|/joined|/keys",
        "--exclude-checks",
        "positive_data_acceptance",
    ];
    ask(&server, "together", &real, &together);
}
